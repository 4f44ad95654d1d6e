//! `Summary`: all there is to tell of a run. `fold` makes it of a plan and events.

use std::sync::Arc;

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::Value;

use super::fold::Fold;
use super::words::Line;
use crate::action::ActionError;
use crate::base::{Digest, HumanDuration, RunId, StepPath, Timestamp};
use crate::plan::Plan;
use crate::run::{Answer, IllegalEvent, Kept, Outcome, Recorded};

/// Why a run cannot be summed up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SummaryError {
    /// Its log is empty.
    #[error("the run has not begun: its log is empty")]
    NotBegun,
    /// Its log does not fit its plan.
    #[error("the log does not fit the plan: {0}")]
    Illegal(#[from] IllegalEvent),
}

/// All there is to tell of a run. Fields that are not known are `null` in JSON, never left out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Summary {
    /// The run's id.
    pub run: RunId,
    /// The runbook's name.
    pub runbook: String,
    /// The runbook's title, or its name when it has none.
    pub title: String,
    /// The drill's scenario, when it was one.
    pub drill: Option<String>,
    /// The category that a `decide` step named.
    pub category: Option<String>,
    /// The severity that a `decide` step named, else the runbook's.
    pub severity: Option<String>,
    /// Who started the run.
    pub by: String,
    /// When it began.
    pub started: Timestamp,
    /// When it ended, if it has.
    pub ended: Option<Timestamp>,
    /// The time of the last event: everything is told as of then.
    pub as_of: Timestamp,
    /// From the beginning to the end, or to the last event.
    pub duration: HumanDuration,
    /// How it ended. While the final steps run: how it ends if they succeed. `null` before that.
    pub outcome: Option<Outcome>,
    /// The step whose failure stopped the run.
    pub first_failure: Option<StepPath>,
    /// The moments that a review asks for.
    pub times: KeyTimes,
    /// What the log says of the incident itself, by well-known names.
    pub incident: Incident,
    /// What the steps counted, in the order of the steps.
    pub figures: Vec<Figure>,
    /// What the run saw of the cause, in the order of the steps.
    pub clues: Vec<Standing>,
    /// What happened, in order.
    pub timeline: Vec<Line>,
    /// Every step, in the order of the file. After a call stand the steps of its runbook, after a loop those of its items
    /// that did not do what they should.
    pub steps: Vec<StepRow>,
    /// Every question to an approver.
    pub gates: Vec<GateRow>,
    /// Every emergency measure that came into force.
    pub measures: Vec<MeasureRow>,
    /// Every step that was undone, or could not be.
    pub undone: Vec<UndoneRow>,
    /// What the run changed and did not put back.
    pub left_standing: Vec<Standing>,
    /// Steps of which nobody knows whether they happened.
    pub in_doubt: Vec<StepPath>,
    /// Steps that wait for a person, and for what.
    pub waiting: Vec<Standing>,
    /// What the facts suggest to look into.
    pub follow_ups: Vec<FollowUp>,
    /// Files of reports that the run wrote.
    pub reports: Vec<String>,
    /// The values of the inputs.
    pub inputs: IndexMap<String, Value>,
    /// What identifies the run's plan and log.
    pub evidence: Evidence,
}

/// The moments that a review asks for, from the log alone.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct KeyTimes {
    /// When the incident was noticed, if somebody said so; else the run's beginning, which is later.
    pub detected: Timestamp,
    /// When the category was named.
    pub decided: Option<Timestamp>,
    /// When the first emergency measure was seen to work: the first success of a step with `until` that comes after
    /// the measure and not after its end. The finish of the measure's own step where the runbook has no such step.
    pub mitigated: Option<Timestamp>,
    /// When that measure was closed by the step that closes it. Without any measure: when the last step that changed
    /// something was done, in a run that succeeded.
    pub restored: Option<Timestamp>,
    /// From `detected` to `mitigated`.
    pub to_mitigate: Option<HumanDuration>,
    /// From `detected` to `restored`.
    pub to_restore: Option<HumanDuration>,
}

/// What only people know of an incident, where they said it: in an input, at a gate, as evidence of a manual step, or in
/// an output of a step. The last one counts.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Incident {
    /// `detected_by`: how it was noticed.
    pub detected_by: Option<Said>,
    /// `detected_at`: when it was noticed.
    pub detected_at: Option<Timestamp>,
    /// `users_affected`: how many users it concerned. Where nobody said: at least as many as a step did something about.
    pub users_affected: Option<Users>,
    /// `data_loss`: what was lost.
    pub data_loss: Option<Said>,
    /// `root_cause`: why it happened.
    pub root_cause: Option<Said>,
}

/// Something that was said.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Said {
    /// What.
    pub what: String,
    /// By whom: `user:NAME`, a step, or `the inputs`.
    pub by: String,
}

/// A number of users.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Users {
    /// How many.
    pub count: u64,
    /// By whom: `user:NAME`, a step, or `the inputs`.
    pub by: String,
    /// Is it only a lower limit?
    pub at_least: bool,
}

/// Something that a step counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Figure {
    /// The step.
    pub step: StepPath,
    /// The name of the output.
    pub name: String,
    /// Its value.
    pub count: u64,
    /// Does the step change something? Then so many were changed; else so many were seen.
    pub changed: bool,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StepRow {
    /// Its id.
    pub id: StepPath,
    /// Its title.
    pub title: Option<String>,
    /// Its action, or `decide`, `manual`, `gate`.
    pub kind: String,
    /// Does it belong to `finally`?
    #[serde(rename = "final")]
    pub is_final: bool,
    /// How it ended: `succeeded`, `failed`, `skipped`, `rejected`; else where it stands: `waiting`, `ready`,
    /// `at_gate`, `approved`, `asked`, `running`, `within` (its items, or the steps it calls, are), `pausing`,
    /// `interrupted`, `in_doubt`.
    pub result: &'static str,
    /// Does it change something: the world, or by the hands of a person?
    pub changes: bool,
    /// May it fail without stopping the run?
    pub allow_failure: bool,
    /// When it began to act.
    pub started: Option<Timestamp>,
    /// When it ended.
    pub finished: Option<Timestamp>,
    /// From the one to the other.
    pub duration: Option<HumanDuration>,
    /// How many tries began.
    pub attempts: u32,
    /// Why it failed, or failed last.
    pub error: Option<ActionError>,
    /// Why it was skipped.
    pub cause: Option<String>,
    /// What it gave.
    pub outputs: Option<Kept>,
    /// Who approved it.
    pub approved_by: Vec<String>,
}

/// One question to approvers.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GateRow {
    /// The step behind the gate.
    pub step: StepPath,
    /// The question.
    pub prompt: String,
    /// When it was asked.
    pub opened: Timestamp,
    /// When it was to lapse.
    pub expires: Option<Timestamp>,
    /// When it was settled.
    pub closed: Option<Timestamp>,
    /// How long the answer took, or has taken so far.
    pub waited: HumanDuration,
    /// How it was settled: `approved`, `rejected`, `lapsed`, `withdrawn`; `null` while it is open.
    pub answer: Option<&'static str>,
    /// What people said.
    pub answers: Vec<GateAnswer>,
}

/// What one person said at a gate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GateAnswer {
    /// When.
    pub time: Timestamp,
    /// Who.
    pub by: String,
    /// `approve` or `reject`.
    pub answer: Answer,
    /// How it was given.
    pub via: String,
    /// Answers to what else was asked, such as a reason.
    pub asked: IndexMap<String, Value>,
}

/// One emergency measure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MeasureRow {
    /// The step that put it in force.
    pub step: StepPath,
    /// Since when.
    pub since: Timestamp,
    /// When it had to be over, counted from the moment the step began to act.
    pub expires: Option<Timestamp>,
    /// When it was over.
    pub closed: Option<Timestamp>,
    /// What ended it: `closed` by a step, `undone`, or `ended` by a person outside this run.
    pub how: Option<&'static str>,
    /// Who agreed to it, where a gate stood before it.
    pub approved_by: Vec<String>,
    /// Who ended it: a step, or `user:NAME`.
    pub closed_by: Option<String>,
    /// Who made it longer.
    pub extended: Vec<Extension>,
    /// How long it was in force, or has been so far.
    pub lasted: HumanDuration,
    /// How much longer than it should have been.
    pub overdue: Option<HumanDuration>,
}

/// One time that an emergency measure was made longer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Extension {
    /// When.
    pub time: Timestamp,
    /// When it had to be over then.
    pub until: Timestamp,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// One step that was undone, or could not be.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UndoneRow {
    /// The step.
    pub step: StepPath,
    /// Is it reversed?
    pub succeeded: bool,
    /// What was done, or why it was not possible.
    pub what: String,
    /// What could not be put back.
    pub left: Vec<String>,
}

/// Something about a step that is so now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Standing {
    /// The step.
    pub step: StepPath,
    /// What is so.
    pub what: String,
}

/// Something to look into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FollowUp {
    /// The step it is about, if it is about one.
    pub step: Option<StepPath>,
    /// What to do.
    pub what: String,
    /// The fact behind it.
    pub because: Option<String>,
}

/// What identifies the run's plan and log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// The runbook's file, as it was named.
    pub file: String,
    /// The digest of the file's bytes.
    pub source: Digest,
    /// The files of the runbooks that it calls, each once.
    pub called: Vec<CalledFile>,
    /// The digest of the plan.
    pub plan: Digest,
    /// The hash of the last line of the log, when the log was read from disk.
    pub log_head: Option<Digest>,
    /// How many events there were.
    pub events: usize,
    /// The version of the program that started the run.
    pub version: String,
}

/// The file of a called runbook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CalledFile {
    /// The file, as it was named.
    pub file: String,
    /// The digest of its bytes.
    pub source: Digest,
}

impl Summary {
    /// Sums up what happened so far.
    pub fn of(plan: &Arc<Plan>, events: &[Recorded]) -> Result<Self, SummaryError> {
        Self::of_each(plan, events.iter().map(|recorded| Ok::<_, SummaryError>(recorded.clone())))
    }

    /// Sums up events as they come, so that a long log need not be held whole.
    pub fn of_each<E: From<SummaryError>>(
        plan: &Arc<Plan>,
        events: impl IntoIterator<Item = Result<Recorded, E>>,
    ) -> Result<Self, E> {
        let mut fold = Fold::new(plan);
        let mut count = 0;
        for recorded in events {
            fold.take(&recorded?).map_err(SummaryError::from)?;
            count += 1;
        }
        Ok(fold.finish(count)?)
    }

    /// Adds the hash of the log's last line.
    #[must_use]
    pub fn with_log_head(mut self, head: Digest) -> Self {
        self.evidence.log_head = Some(head);
        self
    }

    /// Is the run over?
    pub fn is_over(&self) -> bool {
        self.ended.is_some()
    }

    /// Emergency measures that are in force.
    pub fn in_force(&self) -> impl Iterator<Item = &MeasureRow> {
        self.measures.iter().filter(|measure| measure.closed.is_none())
    }

    /// The row of a step.
    pub fn step(&self, id: &StepPath) -> Option<&StepRow> {
        self.steps.iter().find(|row| row.id == *id)
    }
}
