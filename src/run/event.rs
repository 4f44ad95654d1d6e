//! Events: everything that can happen to a run. The run log is a list of these.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::action::{ActionError, Intent, Undone};
use crate::base::{Attempt, Digest, RunId, StepId, Timestamp};

/// An event and when it was recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// When.
    pub at: Timestamp,
    /// What.
    pub event: Event,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// The run began.
    RunStarted {
        /// Its id.
        run: RunId,
        /// The runbook's name.
        runbook: String,
        /// The plan's digest; the plan itself is stored beside the log.
        plan: Digest,
        /// Who started it, as the machine knows them.
        by: String,
        /// The drill's scenario, when it is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        drill: Option<String>,
        /// How many steps may run at once.
        limits: Limits,
        /// The version of the program.
        version: String,
    },
    /// A new process took the run over. Whatever was running is in doubt from here on.
    RunResumed {
        /// Who resumed it.
        by: String,
    },
    /// A step will not run.
    StepSkipped {
        /// The step.
        step: StepId,
        /// Because of what.
        because: Cause,
    },
    /// A step could not even begin: a template or a condition failed when its values were known.
    StepFailed {
        /// The step.
        step: StepId,
        /// Why.
        error: ActionError,
    },
    /// A `decide` step chose an arm.
    Decided {
        /// The step.
        step: StepId,
        /// Which arm, from 0; `None` when none held.
        arm: Option<usize>,
        /// Its outputs.
        outputs: Value,
    },
    /// People are asked whether a step may act.
    GateOpened {
        /// The step.
        step: StepId,
        /// The digest of exactly what it would do.
        digest: Digest,
        /// The question.
        prompt: String,
        /// What it would do, for people.
        does: Vec<Intent>,
        /// When the question lapses.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires: Option<Timestamp>,
    },
    /// Somebody answered.
    GateAnswered {
        /// The step.
        step: StepId,
        /// The digest they were shown.
        digest: Digest,
        /// What they said.
        decision: Decision,
    },
    /// A person is asked to do something.
    ManualAsked {
        /// The step.
        step: StepId,
        /// What to do.
        text: String,
    },
    /// The person said how it went.
    ManualAnswered {
        /// The step.
        step: StepId,
        /// Who.
        by: String,
        /// How it went.
        result: ManualResult,
    },
    /// A try begins. Written before anything is done.
    AttemptStarted {
        /// The step.
        step: StepId,
        /// Which try.
        attempt: Attempt,
        /// The action's parameters, secrets as references. Only with the first try: later ones use the same.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        params: Option<Value>,
    },
    /// An action saved what a later try, a probe or an undo must know.
    Checkpoint {
        /// The step.
        step: StepId,
        /// Which try.
        attempt: Attempt,
        /// What it saved.
        value: Value,
    },
    /// A try ended.
    AttemptFinished {
        /// The step.
        step: StepId,
        /// Which try.
        attempt: Attempt,
        /// How.
        result: AttemptResult,
        /// What follows.
        #[serde(default, skip_serializing_if = "Next::is_end")]
        next: Next,
    },
    /// Time has come for something that waited.
    TimerFired {
        /// For what.
        timer: Timer,
    },
    /// It was found out what became of a try whose end nobody saw.
    DoubtResolved {
        /// The step.
        step: StepId,
        /// What became of it.
        doubt: Doubt,
        /// Who or what found out.
        by: String,
    },
    /// The run is to stop.
    CancelRequested {
        /// Who asked.
        by: String,
    },
    /// A step is being undone. Written before anything is done.
    UndoStarted {
        /// The step.
        step: StepId,
        /// Parameters of the undoing action, where it is not the step's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        params: Option<Value>,
    },
    /// An undo ended.
    UndoFinished {
        /// The step.
        step: StepId,
        /// How.
        result: UndoResult,
    },
    /// The ordinary steps are over; the final ones begin.
    FinallyBegan {
        /// How the run would end if they all succeed.
        outcome: Outcome,
    },
    /// The run is over.
    RunFinished {
        /// How.
        outcome: Outcome,
    },
}

impl Event {
    /// The step it is about, if it is about one.
    pub fn step(&self) -> Option<&StepId> {
        match self {
            Self::StepSkipped { step, .. }
            | Self::StepFailed { step, .. }
            | Self::Decided { step, .. }
            | Self::GateOpened { step, .. }
            | Self::GateAnswered { step, .. }
            | Self::ManualAsked { step, .. }
            | Self::ManualAnswered { step, .. }
            | Self::AttemptStarted { step, .. }
            | Self::Checkpoint { step, .. }
            | Self::AttemptFinished { step, .. }
            | Self::DoubtResolved { step, .. }
            | Self::UndoStarted { step, .. }
            | Self::UndoFinished { step, .. } => Some(step),
            Self::TimerFired { timer: Timer::Gate { step } | Timer::Again { step } } => Some(step),
            Self::RunStarted { .. }
            | Self::RunResumed { .. }
            | Self::CancelRequested { .. }
            | Self::FinallyBegan { .. }
            | Self::RunFinished { .. } => None,
        }
    }
}

/// How many steps may run at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Steps that wait for the network.
    pub io: usize,
    /// Steps that run a process.
    pub processes: usize,
}

/// Why a step was skipped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum Cause {
    /// Its condition does not hold.
    Condition {
        /// The condition.
        condition: String,
    },
    /// A step it needs ended the wrong way.
    Need {
        /// That step.
        step: StepId,
        /// How it ended.
        result: crate::runbook::StepResult,
    },
    /// The run stopped at the failure of another step.
    Halted {
        /// That step.
        step: StepId,
    },
    /// A person skipped it.
    Person {
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
}

impl std::fmt::Display for Cause {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Condition { condition } => write!(f, "`{condition}` does not hold"),
            Self::Need { step, result } => write!(
                f,
                "`{step}` {}",
                match result {
                    crate::runbook::StepResult::Succeeded => "succeeded",
                    crate::runbook::StepResult::Failed => "failed",
                    crate::runbook::StepResult::Skipped => "was skipped",
                    crate::runbook::StepResult::Rejected => "was rejected",
                }
            ),
            Self::Halted { step } => write!(f, "the run stopped when `{step}` failed"),
            Self::Person { by, reason } => write!(f, "{by} skipped it: {reason}"),
        }
    }
}

/// What an approver said.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decision {
    /// Who: `user:NAME`.
    pub by: String,
    /// Yes or no.
    pub answer: Answer,
    /// Answers to what else was asked.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub answers: IndexMap<String, Value>,
    /// How it was given: `terminal`, `flag`, `scenario`.
    pub via: String,
}

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Go ahead.
    Approve,
    /// Do not.
    Reject,
}

/// How something a person did went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "snake_case")]
pub enum ManualResult {
    /// It is done; the evidence becomes the step's outputs.
    Done {
        /// The evidence.
        evidence: IndexMap<String, Value>,
    },
    /// It did not work.
    Failed {
        /// Why.
        reason: String,
    },
    /// It was left out.
    Skipped {
        /// Why.
        reason: String,
    },
}

/// How a try ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "snake_case")]
pub enum AttemptResult {
    /// The action did what it should.
    Succeeded {
        /// Its outputs.
        outputs: Value,
    },
    /// It did not.
    Failed {
        /// Why.
        error: ActionError,
    },
}

/// What follows a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "then", rename_all = "snake_case")]
pub enum Next {
    /// The step has ended.
    #[default]
    End,
    /// It is tried again.
    Again {
        /// When.
        at: Timestamp,
    },
}

impl Next {
    fn is_end(&self) -> bool {
        matches!(self, Self::End)
    }
}

/// Something that waits for a time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(tag = "for", rename_all = "snake_case")]
pub enum Timer {
    /// A gate lapses.
    Gate {
        /// The step behind it.
        step: StepId,
    },
    /// A step is tried again.
    Again {
        /// The step.
        step: StepId,
    },
}

/// What became of a try whose end nobody saw.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "it", rename_all = "snake_case")]
pub enum Doubt {
    /// It happened.
    Happened {
        /// Its outputs, as far as they are known.
        outputs: Value,
    },
    /// It is done again: it did not happen, or doing it twice is harmless.
    Again,
}

/// How an undo ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "snake_case")]
pub enum UndoResult {
    /// It is reversed.
    Undone {
        /// What was done, and what could not be put back.
        undone: Undone,
    },
    /// It could not be reversed.
    Failed {
        /// Why.
        error: ActionError,
    },
}

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Everything that should happen did.
    Succeeded,
    /// A step failed; what was done stands.
    Failed,
    /// A step failed, and what was done is undone.
    RolledBack,
    /// An undo failed, or a step stayed in doubt: a person must look.
    Stuck,
    /// Somebody stopped it.
    Cancelled,
    /// A gate was answered with no, or not at all.
    Rejected,
}

impl Outcome {
    /// The word in logs and expressions.
    pub fn word(self) -> &'static str {
        match self {
            Self::RolledBack => "rolled_back",
            other => other.as_str(),
        }
    }

    /// The word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::RolledBack => "rolled back",
            Self::Stuck => "stuck",
            Self::Cancelled => "cancelled",
            Self::Rejected => "rejected",
        }
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}
