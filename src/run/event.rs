//! Events: everything that can happen to a run. The run log is a list of these.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::action::{ActionError, Intent, Undone};
use crate::base::{Attempt, Digest, RunId, StepPath, Timestamp};

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
        /// The locks it holds.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        locks: Vec<Held>,
    },
    /// A new process took the run over. Whatever was running is in doubt from here on.
    RunResumed {
        /// Who resumed it.
        by: String,
        /// The locks it holds.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        locks: Vec<Held>,
    },
    /// A person wants a step to run although its condition or what it needs would keep it from running.
    StepForced {
        /// The step.
        step: StepPath,
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// A step will not run.
    StepSkipped {
        /// The step.
        step: StepPath,
        /// Because of what.
        because: Cause,
    },
    /// A step could not even begin: a template or a condition failed when its values were known.
    StepFailed {
        /// The step.
        step: StepPath,
        /// Why.
        error: ActionError,
    },
    /// A `decide` step chose an arm.
    Decided {
        /// The step.
        step: StepPath,
        /// Which arm, from 0; `None` when none held.
        arm: Option<usize>,
        /// Its outputs.
        outputs: Value,
    },
    /// People are asked whether a step may act.
    GateOpened {
        /// The step.
        step: StepPath,
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
        step: StepPath,
        /// The digest they were shown.
        digest: Digest,
        /// What they said.
        decision: Decision,
    },
    /// A person is asked to do something.
    ManualAsked {
        /// The step.
        step: StepPath,
        /// What to do.
        text: String,
    },
    /// The person said how it went.
    ManualAnswered {
        /// The step.
        step: StepPath,
        /// Who.
        by: String,
        /// How it went.
        result: ManualResult,
    },
    /// A step begins to be done once for each item of a list.
    LoopBegan {
        /// The step.
        step: StepPath,
        /// The items, in order.
        items: Vec<Item>,
    },
    /// A step begins to run another runbook.
    CallBegan {
        /// The step.
        step: StepPath,
        /// The digest of the called runbook's own plan.
        plan: Digest,
        /// The values of its inputs.
        inputs: IndexMap<String, Value>,
        /// The locks that it holds besides.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        locks: Vec<Held>,
    },
    /// All items of a step, or all steps of the runbook it calls, are over.
    StepReturned {
        /// The step.
        step: StepPath,
        /// What came of it.
        result: Returned,
    },
    /// A try begins. Written before anything is done.
    AttemptStarted {
        /// The step.
        step: StepPath,
        /// Which try.
        attempt: Attempt,
        /// The action's parameters, secrets as references. Only with the first try: later ones use the same.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        params: Option<Value>,
    },
    /// An action saved what a later try, a probe or an undo must know.
    Checkpoint {
        /// The step.
        step: StepPath,
        /// Which try.
        attempt: Attempt,
        /// What it saved.
        value: Value,
    },
    /// A try ended.
    AttemptFinished {
        /// The step.
        step: StepPath,
        /// Which try.
        attempt: Attempt,
        /// How.
        result: AttemptResult,
        /// What follows.
        #[serde(default, skip_serializing_if = "Next::is_end")]
        next: Next,
        /// Does its `until` hold? Left out where it has none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        met: Option<bool>,
    },
    /// Time has come for something that waited.
    TimerFired {
        /// For what.
        timer: Timer,
    },
    /// Only a person can say what became of a try, or of an undo, whose end nobody saw: they are asked.
    DoubtAsked {
        /// The step.
        step: StepPath,
        /// What it was doing.
        does: Vec<Intent>,
        /// Is it the undo that is in doubt?
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        undo: bool,
    },
    /// It was found out what became of a try, or of an undo, whose end nobody saw.
    DoubtResolved {
        /// The step.
        step: StepPath,
        /// Is it the undo that was in doubt?
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        undo: bool,
        /// What became of it.
        doubt: Doubt,
        /// Who or what found out.
        by: String,
    },
    /// The run is to stop.
    CancelRequested {
        /// Who asked.
        by: String,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// The time of an emergency measure was made longer.
    MeasureExtended {
        /// The step that put it in force.
        step: StepPath,
        /// When it must be over now.
        until: Timestamp,
        /// Who.
        by: String,
        /// Why.
        reason: String,
    },
    /// Somebody ended an emergency measure by hand, outside this run.
    MeasureClosed {
        /// The step that put it in force.
        step: StepPath,
        /// Who.
        by: String,
        /// How, or why.
        reason: String,
    },
    /// Somebody wants a run that is over to be undone.
    UndoRequested {
        /// Who.
        by: String,
        /// Only these steps; all of them when none is named.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        only: Vec<StepPath>,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// What was done begins to be undone.
    RollbackBegan {
        /// The step whose called runbook is undone; left out when it is the run itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        within: Option<StepPath>,
        /// Exactly these steps.
        steps: Vec<StepPath>,
        /// Why.
        because: Why,
    },
    /// A step is being undone. Written before anything is done.
    UndoStarted {
        /// The step.
        step: StepPath,
        /// Which try of the undo.
        /// 0 in logs of format 1, which did not count them.
        #[serde(default = "uncounted")]
        attempt: Attempt,
        /// Parameters of the undoing action, where it is not the step's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        params: Option<Value>,
    },
    /// An undo ended.
    UndoFinished {
        /// The step.
        step: StepPath,
        /// How.
        result: UndoResult,
        /// What follows.
        #[serde(default, skip_serializing_if = "Next::is_end")]
        next: Next,
    },
    /// The ordinary steps are over; the final ones begin.
    FinallyBegan {
        /// How the run would end if they all succeed.
        outcome: Outcome,
        /// The step whose called runbook it is about; left out when it is the run itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        within: Option<StepPath>,
    },
    /// The run is over.
    RunFinished {
        /// How.
        outcome: Outcome,
    },
}

impl Event {
    /// May it stop what stands around it, so that what was decided before is out of date? A driver then asks again.
    pub fn may_halt(&self) -> bool {
        matches!(
            self,
            Self::StepFailed { .. }
                | Self::StepReturned { .. }
                | Self::DoubtResolved { .. }
                | Self::UndoFinished { .. }
        )
    }

    /// The step it is about, if it is about one.
    pub fn step(&self) -> Option<&StepPath> {
        match self {
            Self::StepSkipped { step, .. }
            | Self::StepFailed { step, .. }
            | Self::StepForced { step, .. }
            | Self::Decided { step, .. }
            | Self::GateOpened { step, .. }
            | Self::GateAnswered { step, .. }
            | Self::ManualAsked { step, .. }
            | Self::ManualAnswered { step, .. }
            | Self::LoopBegan { step, .. }
            | Self::CallBegan { step, .. }
            | Self::StepReturned { step, .. }
            | Self::AttemptStarted { step, .. }
            | Self::Checkpoint { step, .. }
            | Self::AttemptFinished { step, .. }
            | Self::DoubtAsked { step, .. }
            | Self::DoubtResolved { step, .. }
            | Self::MeasureExtended { step, .. }
            | Self::MeasureClosed { step, .. }
            | Self::UndoStarted { step, .. }
            | Self::UndoFinished { step, .. } => Some(step),
            Self::TimerFired { timer } => timer.step(),
            Self::FinallyBegan { within, .. } | Self::RollbackBegan { within, .. } => within.as_ref(),
            Self::RunStarted { .. }
            | Self::RunResumed { .. }
            | Self::CancelRequested { .. }
            | Self::UndoRequested { .. }
            | Self::RunFinished { .. } => None,
        }
    }
}

fn uncounted() -> Attempt {
    Attempt(0)
}

/// Why something is undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// A failure stopped the run, and its runbook says so.
    Failure,
    /// An emergency measure expired.
    Expiry,
    /// A person wants it.
    Request,
}

/// A lock that a run holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Its name.
    pub name: String,
    /// How often the lock had changed hands when this run got it. Whoever holds a lower number holds it no more.
    pub epoch: u64,
}

/// One item of a loop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// What tells it from the others.
    pub key: String,
    /// The item.
    pub value: Value,
}

/// What came of the items of a step, or of the runbook it called.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "how", rename_all = "snake_case")]
pub enum Returned {
    /// What should happen did.
    Succeeded {
        /// The outputs.
        outputs: Value,
    },
    /// It did not.
    Failed {
        /// Why.
        error: ActionError,
    },
    /// A person said no in it, and nothing in it acted on that.
    Rejected {
        /// Where.
        step: StepPath,
    },
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
        step: StepPath,
        /// How it ended.
        result: crate::runbook::StepResult,
    },
    /// The run stopped at the failure of another step.
    Halted {
        /// That step.
        step: StepPath,
    },
    /// The time of a step around it, or of the whole run, was up.
    TimeUp {
        /// That step; left out when it is the run.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        step: Option<StepPath>,
    },
    /// An undo failed, so nothing more is started.
    Stuck,
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
            Self::TimeUp { step: Some(step) } => write!(f, "the time of `{step}` was up"),
            Self::TimeUp { step: None } => f.write_str("the time of the run was up"),
            Self::Stuck => f.write_str("an undo failed, so nothing more was started"),
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
    /// How it was given: `terminal`, `flag`, `scenario`, `letter`.
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
    /// Nobody knows whether it happened, and that must be found out first.
    Doubt,
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
        step: StepPath,
    },
    /// A step is tried again.
    Again {
        /// The step.
        step: StepPath,
    },
    /// The undo of a step is tried again.
    UndoAgain {
        /// The step.
        step: StepPath,
    },
    /// The time of a step is up.
    Deadline {
        /// The step.
        step: StepPath,
    },
    /// An emergency measure expires.
    Measure {
        /// The step that put it in force.
        step: StepPath,
    },
    /// The time of the whole run is up.
    Run,
}

impl Timer {
    /// The step that waits.
    pub fn step(&self) -> Option<&StepPath> {
        match self {
            Self::Gate { step }
            | Self::Again { step }
            | Self::UndoAgain { step }
            | Self::Deadline { step }
            | Self::Measure { step } => Some(step),
            Self::Run => None,
        }
    }
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
    /// It did not happen, and is not simply done again: it has failed.
    DidNotHappen,
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
