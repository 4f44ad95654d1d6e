//! Exit codes: what a script or a CI job learns without reading a word.

use std::process::ExitCode;

use crate::run::Outcome;

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    /// 0: it did what it should.
    Succeeded,
    /// 1: a step failed.
    Failed,
    /// 2: the command line makes no sense.
    Usage,
    /// 3: the runbook or its inputs are invalid.
    Invalid,
    /// 4: the run waits for a person.
    Waiting,
    /// 5: a step failed, and what was done is undone.
    RolledBack,
    /// 6: an undo failed, or a step is in doubt.
    Stuck,
    /// 7: somebody stopped it.
    Cancelled,
    /// 8: a gate was answered with no, or not at all.
    Rejected,
    /// 9: a policy denies it.
    Denied,
    /// 10: something the run needs is not there.
    Preflight,
    /// 11: another process runs this run.
    Locked,
    /// 70: a mistake of ours, or of the machine.
    Internal,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Succeeded => 0,
            Exit::Failed => 1,
            Exit::Usage => 2,
            Exit::Invalid => 3,
            Exit::Waiting => 4,
            Exit::RolledBack => 5,
            Exit::Stuck => 6,
            Exit::Cancelled => 7,
            Exit::Rejected => 8,
            Exit::Denied => 9,
            Exit::Preflight => 10,
            Exit::Locked => 11,
            Exit::Internal => 70,
        })
    }
}

impl From<Outcome> for Exit {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Succeeded => Self::Succeeded,
            Outcome::Failed => Self::Failed,
            Outcome::RolledBack => Self::RolledBack,
            Outcome::Stuck => Self::Stuck,
            Outcome::Cancelled => Self::Cancelled,
            Outcome::Rejected => Self::Rejected,
        }
    }
}
