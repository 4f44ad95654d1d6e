//! The kinds of differences: what each is called, whether it makes a runbook riskier, and what undoes it.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

/// What a difference means for whoever runs the runbook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// More can go wrong, or fewer people look before it does.
    Riskier,
    /// Something else than before; a reader must say whether that is good.
    Neutral,
    /// Less can go wrong, or more people look before it does.
    Safer,
}

impl Class {
    /// All of them, the one to read first in front.
    pub const ALL: [Self; 3] = [Self::Riskier, Self::Neutral, Self::Safer];

    /// The word that policies use.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Riskier => "riskier",
            Self::Neutral => "neutral",
            Self::Safer => "safer",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Makes the enum and everything that goes through all of it from one list: name, class, the kind that the same
/// difference is when it is read backwards, and its meaning.
macro_rules! kinds {
    ($($variant:ident => $name:literal, $class:ident, $back:ident, $meaning:literal;)*) => {
        /// What kind of difference it is: stable, so that policies can name it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $(#[doc = $meaning] $variant,)*
        }

        impl Kind {
            /// All of them, in the order of their names.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name as it is printed, such as `gate-weakened`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Whether it makes a runbook riskier.
            pub const fn class(self) -> Class {
                match self { $(Self::$variant => Class::$class,)* }
            }

            /// What the same difference is when the sides are swapped.
            pub const fn backwards(self) -> Self {
                match self { $(Self::$variant => Self::$back,)* }
            }

            /// What it means, in a sentence.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }
        }
    };
}

kinds! {
    ActionChanged => "action-changed", Neutral, ActionChanged, "A step does its work by another action, or by other means.";
    AllowFailureAdded => "allow-failure-added", Riskier, AllowFailureRemoved, "The run goes on when a step fails.";
    AllowFailureRemoved => "allow-failure-removed", Safer, AllowFailureAdded, "The run stops when a step fails.";
    CallChanged => "call-changed", Neutral, CallChanged, "A step calls another file, or one whose changes are told at another call.";
    CommandAdded => "command-added", Riskier, CommandRemoved, "A step, or its undo, runs a command or a script that it did not run.";
    CommandRemoved => "command-removed", Safer, CommandAdded, "A step, or its undo, no longer runs a command or a script.";
    ConditionAdded => "condition-added", Safer, ConditionRemoved, "A write that always ran has a condition.";
    ConditionChanged => "condition-changed", Neutral, ConditionChanged, "A condition is another; of a step that only reads, also a new one or none.";
    ConditionRemoved => "condition-removed", Riskier, ConditionAdded, "A write that had a condition runs always.";
    DecisionChanged => "decision-changed", Neutral, DecisionChanged, "The arms of a `decide` step are others, or stand in another order.";
    EffectNarrowed => "effect-narrowed", Safer, EffectWidened, "A step that changed something only looks.";
    EffectWidened => "effect-widened", Riskier, EffectNarrowed, "A step that only looked changes something.";
    EnvironmentChanged => "environment-changed", Neutral, EnvironmentChanged, "A process is given other environment variables.";
    EvidenceAdded => "evidence-added", Safer, EvidenceRemoved, "A manual step asks for more evidence.";
    EvidenceRemoved => "evidence-removed", Riskier, EvidenceAdded, "A manual step asks for less evidence.";
    FinalStepAdded => "final-step-added", Safer, FinalStepRemoved, "One more step runs however the run ended.";
    FinalStepRemoved => "final-step-removed", Riskier, FinalStepAdded, "A step that ran however the run ended is gone.";
    GateAdded => "gate-added", Safer, GateRemoved, "A step waits for a yes.";
    GateChanged => "gate-changed", Neutral, GateChanged, "The question of a gate is another, or what it asks besides, or how it names the same people.";
    GateRemoved => "gate-removed", Riskier, GateAdded, "A step no longer waits for a yes.";
    GateStrengthened => "gate-strengthened", Safer, GateWeakened, "A gate is harder to open: more yeses, fewer people, not whoever started the run, a shorter time, more to answer.";
    GateWeakened => "gate-weakened", Riskier, GateStrengthened, "A gate is easier to open: fewer yeses, more people, whoever started the run, a longer time, less to answer.";
    HostAdded => "host-added", Riskier, HostRemoved, "A step, or its undo, sends requests to a host that it did not send to.";
    HostRemoved => "host-removed", Safer, HostAdded, "A step, or its undo, no longer sends requests to a host.";
    InputAdded => "input-added", Neutral, InputRemoved, "The runbook takes one more input.";
    InputChanged => "input-changed", Neutral, InputChanged, "An input has another type or pattern, or has to be given, or no longer.";
    InputDefaultChanged => "input-default-changed", Neutral, InputDefaultChanged, "An input that is not given is something else.";
    InputNarrowed => "input-narrowed", Safer, InputWidened, "An input admits less.";
    InputRemoved => "input-removed", Neutral, InputAdded, "The runbook no longer takes an input.";
    InputWidened => "input-widened", Riskier, InputNarrowed, "An input admits more.";
    LockAdded => "lock-added", Safer, LockRemoved, "Two runs are kept from working at the same thing.";
    LockRemoved => "lock-removed", Riskier, LockAdded, "Two runs are no longer kept from working at the same thing.";
    LoopAdded => "loop-added", Riskier, LoopRemoved, "A step that was done once is done for each item of a list.";
    LoopChanged => "loop-changed", Neutral, LoopChanged, "A loop goes over another list, or tells its items apart otherwise.";
    LoopNarrowed => "loop-narrowed", Safer, LoopWidened, "A loop does less at once, begins with one item, ends after fewer failures, or has fewer items.";
    LoopRemoved => "loop-removed", Safer, LoopAdded, "A step that was done for each item of a list is done once.";
    LoopWidened => "loop-widened", Riskier, LoopNarrowed, "A loop does more at once, no longer begins with one item, bears more failures, or has more items.";
    ManualChanged => "manual-changed", Neutral, ManualChanged, "What a person is told to do, or what they hand in, is something else.";
    MeasureAdded => "measure-added", Safer, MeasureRemoved, "What a step puts in force is told as a measure that expires.";
    MeasureChanged => "measure-changed", Neutral, MeasureChanged, "A measure is closed by another step, or its length is written otherwise.";
    MeasureLonger => "measure-longer", Riskier, MeasureShorter, "A measure may be in force for longer.";
    MeasureRemoved => "measure-removed", Riskier, MeasureAdded, "What a step puts in force is no longer a measure that expires.";
    MeasureShorter => "measure-shorter", Safer, MeasureLonger, "A measure may not be in force for as long.";
    MeasureStrengthened => "measure-strengthened", Safer, MeasureWeakened, "A measure is closed by a step, or undone when it expires.";
    MeasureWeakened => "measure-weakened", Riskier, MeasureStrengthened, "No step closes a measure any more, or it is no longer undone when it expires.";
    NeedsChanged => "needs-changed", Neutral, NeedsChanged, "A step waits for other steps, or for other results of them.";
    NeedsLoosened => "needs-loosened", Riskier, NeedsTightened, "A write no longer waits for a step, or goes on after more of its results.";
    NeedsTightened => "needs-tightened", Safer, NeedsLoosened, "A write waits for one more step, or goes on after fewer of its results.";
    OnFailureStrengthened => "on-failure-strengthened", Safer, OnFailureWeakened, "A failure stops more, or is undone.";
    OnFailureWeakened => "on-failure-weakened", Riskier, OnFailureStrengthened, "A failure is no longer undone, or no longer stops the run.";
    OrderGained => "order-gained", Safer, OrderLost, "A write waits for another, and did not.";
    OrderLost => "order-lost", Riskier, OrderGained, "A write no longer waits for another: they may run side by side, or the other way round.";
    OutageChanged => "outage-changed", Neutral, OutageChanged, "Other systems may be down while it runs.";
    OutputAdded => "output-added", Neutral, OutputRemoved, "The runbook gives its callers one more output.";
    OutputChanged => "output-changed", Neutral, OutputChanged, "An output of the runbook has another type or value.";
    OutputRemoved => "output-removed", Neutral, OutputAdded, "The runbook no longer gives its callers an output.";
    ParametersChanged => "parameters-changed", Neutral, ParametersChanged, "An action, an undo or a called runbook is given other parameters.";
    ReplayStrengthened => "replay-strengthened", Safer, ReplayWeakened, "A try whose end nobody saw is safer to repeat.";
    ReplayWeakened => "replay-weakened", Riskier, ReplayStrengthened, "A try whose end nobody saw is less safe to repeat.";
    RequestAdded => "request-added", Riskier, RequestRemoved, "A write sends a request that it did not send.";
    RequestRemoved => "request-removed", Safer, RequestAdded, "A write no longer sends a request.";
    RetriesLowered => "retries-lowered", Safer, RetriesRaised, "A write that is not safe to repeat is tried less often, or after fewer kinds of failure.";
    RetriesRaised => "retries-raised", Riskier, RetriesLowered, "A write that is not safe to repeat is tried more often, or after more kinds of failure.";
    RunbookRenamed => "runbook-renamed", Neutral, RunbookRenamed, "The runbook has another name.";
    SecretAdded => "secret-added", Riskier, SecretRemoved, "A step, or its undo, is given a secret that it was not given.";
    SecretHostAdded => "secret-host-added", Riskier, SecretHostRemoved, "A secret that a step uses already is sent to one more host.";
    SecretHostRemoved => "secret-host-removed", Safer, SecretHostAdded, "A secret that a step uses is no longer sent to a host.";
    SecretRemoved => "secret-removed", Safer, SecretAdded, "A step, or its undo, is no longer given a secret.";
    SecretSourceChanged => "secret-source-changed", Neutral, SecretSourceChanged, "A secret comes from another variable or file.";
    StepAdded => "step-added", Neutral, StepRemoved, "A step that changes nothing is new.";
    StepReachable => "step-reachable", Neutral, StepUnreachable, "A step that could never run can.";
    StepRemoved => "step-removed", Neutral, StepAdded, "A step that changed nothing is gone.";
    StepRenamed => "step-renamed", Neutral, StepRenamed, "The same step has another id.";
    StepUnreachable => "step-unreachable", Neutral, StepReachable, "A step can never run any more.";
    TargetAdded => "target-added", Riskier, TargetRemoved, "A step, or its undo, works at a project, an environment or a variable that it did not work at.";
    TargetRemoved => "target-removed", Safer, TargetAdded, "A step, or its undo, no longer works at a project, an environment or a variable.";
    TimingChanged => "timing-changed", Neutral, TimingChanged, "A time limit, a pause or the number of harmless tries is another.";
    UndoAdded => "undo-added", Safer, UndoRemoved, "A step can be undone.";
    UndoChanged => "undo-changed", Neutral, UndoChanged, "A step is undone by other means, or an undo is verified otherwise.";
    UndoRemoved => "undo-removed", Riskier, UndoAdded, "A step can no longer be undone.";
    UndoVerifyAdded => "undo-verify-added", Safer, UndoVerifyRemoved, "It is looked whether an undo has worked.";
    UndoVerifyRemoved => "undo-verify-removed", Riskier, UndoVerifyAdded, "It is no longer looked whether an undo has worked.";
    UntilChanged => "until-changed", Neutral, UntilChanged, "A step waits for something else to become true.";
    UntilStrengthened => "until-strengthened", Safer, UntilWeakened, "A step waits for something to become true, or fails when it does not.";
    UntilWeakened => "until-weakened", Riskier, UntilStrengthened, "A step no longer waits for something to become true, or no longer fails when it does not.";
    WordingChanged => "wording-changed", Neutral, WordingChanged, "A title, a summary, a severity or a description is another.";
    WriteAdded => "write-added", Riskier, WriteRemoved, "A step that changes something, and can be undone, is new.";
    WriteCovered => "write-covered", Safer, WriteUncovered, "A write runs only after a gate that was there already.";
    WriteReachable => "write-reachable", Riskier, WriteUnreachable, "A write that could never run can.";
    WriteRemoved => "write-removed", Safer, WriteAdded, "A step that changed something, and could be undone, is gone.";
    WriteUncovered => "write-uncovered", Riskier, WriteCovered, "A write no longer waits for a gate that is still there.";
    WriteUnreachable => "write-unreachable", Safer, WriteReachable, "A write can never run any more.";
    WriteWithoutUndoAdded => "write-without-undo-added", Riskier, WriteWithoutUndoRemoved, "A step that changes something for good is new.";
    WriteWithoutUndoRemoved => "write-without-undo-removed", Safer, WriteWithoutUndoAdded, "A step that changed something for good is gone.";
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Kind {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == name).ok_or(())
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl JsonSchema for Kind {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Kind".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "enum": Self::ALL })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_stand_in_the_order_of_their_names_and_are_read_as_they_are_printed() {
        assert!(Kind::ALL.is_sorted_by(|one, other| one.as_str() < other.as_str()));
        assert!(Kind::ALL.iter().all(|kind| kind.as_str().parse() == Ok(*kind)));
        assert_eq!("riskier".parse::<Kind>(), Err(()), "a class is no kind");
    }

    #[test]
    fn what_is_riskier_is_safer_backwards() {
        for kind in Kind::ALL {
            assert_eq!(kind.backwards().backwards(), *kind);
            let expected = match kind.class() {
                Class::Riskier => Class::Safer,
                Class::Neutral => Class::Neutral,
                Class::Safer => Class::Riskier,
            };
            assert_eq!(kind.backwards().class(), expected, "{kind}");
        }
    }
}
