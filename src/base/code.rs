//! The kinds of findings, by the name that is printed in brackets. `docs/diagnostics.md` explains every one of them.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// Makes the enum and everything that goes through all of it from one list.
macro_rules! codes {
    ($($variant:ident => $name:literal,)*) => {
        /// What kind of finding it is: stable, so that people can look it up and policies can name it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        impl Code {
            /// All of them, in the order of their names.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name as it is printed, such as `unknown-step`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

codes! {
    ConstantCondition => "constant-condition",
    Counting => "counting",
    Cycle => "cycle",
    DeadArm => "dead-arm",
    DeadLimit => "dead-limit",
    Denied => "denied",
    DuplicateKey => "duplicate-key",
    EmptyList => "empty-list",
    Encoding => "encoding",
    EndedException => "ended-exception",
    GivesNoSecret => "gives-no-secret",
    IdleGate => "idle-gate",
    ImpossibleResult => "impossible-result",
    Injection => "injection",
    InvalidAddress => "invalid-address",
    InvalidApprover => "invalid-approver",
    InvalidDuration => "invalid-duration",
    InvalidInput => "invalid-input",
    InvalidName => "invalid-name",
    InvalidScenario => "invalid-scenario",
    InvalidSpeed => "invalid-speed",
    InvalidStatus => "invalid-status",
    ItemKey => "item-key",
    Keyless => "keyless",
    LeftStanding => "left-standing",
    MisplacedKey => "misplaced-key",
    MissingInput => "missing-input",
    MissingKey => "missing-key",
    MissingParam => "missing-param",
    MissingProject => "missing-project",
    MissingResult => "missing-result",
    MissingSecret => "missing-secret",
    NeedsWhatIsDown => "needs-what-is-down",
    NeverEqual => "never-equal",
    NeverMet => "never-met",
    NeverRuns => "never-runs",
    NoAct => "no-act",
    NoExpectation => "no-expectation",
    NoRunbook => "no-runbook",
    NoStandIn => "no-stand-in",
    NoUndo => "no-undo",
    NotAList => "not-a-list",
    Quorum => "quorum",
    Recursion => "recursion",
    RepeatedWrite => "repeated-write",
    SecretInFile => "secret-in-file",
    SecretLeak => "secret-leak",
    SecretSource => "secret-source",
    SecretTooEarly => "secret-too-early",
    SilentConsent => "silent-consent",
    Template => "template",
    TemplatedQuery => "templated-query",
    TemplatedScript => "templated-script",
    TooManySteps => "too-many-steps",
    TwoActs => "two-acts",
    UnclearFault => "unclear-fault",
    UnknownAction => "unknown-action",
    UnknownGroup => "unknown-group",
    UnknownInput => "unknown-input",
    UnknownKey => "unknown-key",
    UnknownName => "unknown-name",
    UnknownOutcome => "unknown-outcome",
    UnknownParam => "unknown-param",
    UnknownProject => "unknown-project",
    UnknownRequest => "unknown-request",
    UnknownSecret => "unknown-secret",
    UnknownStandIn => "unknown-stand-in",
    UnknownStep => "unknown-step",
    UnknownWord => "unknown-word",
    UnmetExpectation => "unmet-expectation",
    Unordered => "unordered",
    Unreadable => "unreadable",
    UnusedInput => "unused-input",
    UnusedSecret => "unused-secret",
    VerifyWrites => "verify-writes",
    WrongInput => "wrong-input",
    WrongParam => "wrong-param",
    WrongType => "wrong-type",
    Yaml => "yaml",
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Code {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL.iter().copied().find(|code| code.as_str() == name).ok_or(())
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_stand_in_the_order_of_their_names_and_are_read_as_they_are_printed() {
        assert!(Code::ALL.is_sorted_by(|one, other| one.as_str() < other.as_str()));
        assert!(Code::ALL.iter().all(|code| code.as_str().parse() == Ok(*code)));
        assert_eq!("no-such-thing".parse::<Code>(), Err(()));
    }
}
