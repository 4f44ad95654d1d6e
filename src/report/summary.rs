//! `Summary`: all there is to tell of a run, as a fold over its plan and its events.

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::Value;

use super::words::{self, Kind, Line};
use crate::action::{ActionError, Effect, ErrorKind};
use crate::base::{Digest, HumanDuration, RunId, StepPath, Timestamp, clock};
use crate::plan::{Plan, action_name};
use crate::run::{
    Answer, AttemptResult, Event, IllegalEvent, Kept, Next, Outcome, Recorded, RunState, StepRecord, StepState, Timer,
    UndoState,
};
use crate::runbook::{Does, Step, StepResult};

/// A wait for an answer longer than this asks for a look, where the gate sets no limit of its own.
const LONG_WAIT: std::time::Duration = std::time::Duration::from_secs(600);

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
    /// What happened, in order.
    pub timeline: Vec<Line>,
    /// Every step, in the order of the file; then the steps of called runbooks, and items that did not succeed.
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
    /// The run's beginning. The incident began earlier; the log cannot know when.
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
    /// What ended it: `closed` by its step, or `undone`.
    pub how: Option<&'static str>,
    /// How long it was in force, or has been so far.
    pub lasted: HumanDuration,
    /// How much longer than it should have been.
    pub overdue: Option<HumanDuration>,
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
    /// The digest of the plan.
    pub plan: Digest,
    /// The hash of the last line of the log, when the log was read from disk.
    pub log_head: Option<Digest>,
    /// How many events there were.
    pub events: usize,
    /// The version of the program that started the run.
    pub version: String,
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

/// What is kept on the way, beside the state.
struct Fold {
    state: RunState,
    timeline: Vec<Line>,
    gates: Vec<GateRow>,
    measures: Vec<MeasureRow>,
    /// Tries that failed and were made again, with the last reason.
    retried: BTreeMap<StepPath, (u32, String)>,
    category: Option<(Timestamp, String)>,
    severity: Option<String>,
    first_decision: Option<Timestamp>,
    ended: Option<Timestamp>,
    /// How often a process died while steps were under way.
    lost: u32,
    version: String,
}

impl Fold {
    fn new(plan: &Arc<Plan>) -> Self {
        Self {
            state: RunState::new(Arc::clone(plan)),
            timeline: Vec::new(),
            gates: Vec::new(),
            measures: Vec::new(),
            retried: BTreeMap::new(),
            category: None,
            severity: None,
            first_decision: None,
            ended: None,
            lost: 0,
            version: String::new(),
        }
    }

    fn take(&mut self, recorded: &Recorded) -> Result<(), IllegalEvent> {
        // A run that was stopped in good order has no step running when it is taken up again.
        let lost = matches!(recorded.event, Event::RunResumed { .. })
            && self.state.records().any(|(_, record)| record.state == StepState::Running);
        let lines = words::apply(&mut self.state, recorded)?;
        for line in &lines {
            self.take_measure(line, &recorded.event);
        }
        // Items that did what they should are counted by their loop.
        let is_quiet = |line: &Line| {
            line.kind == Kind::Succeeded && line.step.as_ref().is_some_and(|step| self.state.is_item(step))
        };
        self.timeline.extend(lines.into_iter().filter(|line| !line.kind.is_passing() && !is_quiet(line)));
        let at = recorded.at;
        match &recorded.event {
            Event::RunStarted { version, .. } => self.version.clone_from(version),
            Event::RunResumed { .. } => {
                self.ended = None;
                self.lost += u32::from(lost);
            }
            Event::Decided { outputs, .. } => {
                self.first_decision.get_or_insert(at);
                if let Some(category) = outputs.get("category") {
                    self.category = Some((at, words::brief(category)));
                }
                if let Some(severity) = outputs.get("severity") {
                    self.severity = Some(words::brief(severity));
                }
            }
            Event::GateOpened { step, prompt, expires, .. } => {
                self.settle_gate(step, at, "withdrawn");
                self.gates.push(GateRow {
                    step: step.clone(),
                    prompt: prompt.clone(),
                    opened: at,
                    expires: *expires,
                    closed: None,
                    waited: HumanDuration::default(),
                    answer: None,
                    answers: Vec::new(),
                });
            }
            Event::GateAnswered { step, decision, .. } => {
                if let Some(gate) = self.open_gate(step) {
                    gate.answers.push(GateAnswer {
                        time: at,
                        by: decision.by.clone(),
                        answer: decision.answer,
                        via: decision.via.clone(),
                        asked: decision.answers.clone(),
                    });
                }
                let still_open = matches!(self.state.record(step).map(|r| &r.state), Some(StepState::AtGate(_)));
                match decision.answer {
                    Answer::Approve if still_open => {}
                    Answer::Approve => self.settle_gate(step, at, "approved"),
                    Answer::Reject => self.settle_gate(step, at, "rejected"),
                }
            }
            Event::TimerFired { timer: Timer::Gate { step } } => self.settle_gate(step, at, "lapsed"),
            Event::StepSkipped { step, .. } | Event::StepFailed { step, .. } => {
                self.settle_gate(step, at, "withdrawn");
            }
            Event::AttemptFinished {
                step, result: AttemptResult::Failed { error }, next: Next::Again { .. }, ..
            } if self.step(step).is_some_and(|step| step.until.is_none()) => {
                let known = self.retried.entry(step.clone()).or_default();
                *known = (known.0 + 1, error.message.clone());
            }
            Event::RunFinished { .. } => self.ended = Some(at),
            _ => {}
        }
        Ok(())
    }

    fn step(&self, id: &StepPath) -> Option<&Step> {
        self.state.step(id)
    }

    fn open_gate(&mut self, step: &StepPath) -> Option<&mut GateRow> {
        self.gates.iter_mut().rev().find(|gate| gate.step == *step && gate.closed.is_none())
    }

    fn settle_gate(&mut self, step: &StepPath, at: Timestamp, answer: &'static str) {
        if let Some(gate) = self.open_gate(step) {
            gate.closed = Some(at);
            gate.answer = Some(answer);
        }
    }

    fn take_measure(&mut self, line: &Line, event: &Event) {
        let Some(step) = &line.step else { return };
        match line.kind {
            Kind::InForce => {
                self.measures.retain(|measure| measure.step != *step);
                self.measures.push(MeasureRow {
                    step: step.clone(),
                    since: self.state.record(step).and_then(|record| record.finished_at).unwrap_or(line.time),
                    expires: self.state.measure_expiry(step),
                    closed: None,
                    how: None,
                    lasted: HumanDuration::default(),
                    overdue: None,
                });
            }
            Kind::Extended => {
                if let Some(measure) = self.measures.iter_mut().find(|measure| measure.step == *step) {
                    measure.expires = self.state.measure_expiry(step);
                }
            }
            Kind::Closed => {
                let how = if matches!(event, Event::UndoFinished { .. }) { "undone" } else { "closed" };
                if let Some(measure) = self.measures.iter_mut().find(|measure| measure.step == *step) {
                    (measure.closed, measure.how) = (Some(line.time), Some(how));
                }
            }
            _ => {}
        }
    }

    fn finish(mut self, events: usize) -> Result<Summary, SummaryError> {
        let (Some(run), Some(by), Some(started)) =
            (self.state.run().cloned(), self.state.started_by().map(str::to_owned), self.state.started_at())
        else {
            return Err(SummaryError::NotBegun);
        };
        let as_of = self.state.now();
        for gate in &mut self.gates {
            gate.waited = span(gate.opened, gate.closed.unwrap_or(as_of));
        }
        for measure in &mut self.measures {
            let end = measure.closed.unwrap_or(as_of);
            measure.lasted = span(measure.since, end);
            measure.overdue = measure.expires.filter(|expires| *expires < end).map(|expires| span(expires, end));
        }
        let state = &self.state;
        let plan = state.plan();
        let runbook = plan.runbook();
        let standing: Vec<Standing> =
            state.left_standing().into_iter().map(|left| Standing { step: left.step, what: left.what }).collect();
        let written = runbook.severity.and_then(|level| serde_json::to_value(level).ok());
        Ok(Summary {
            run,
            runbook: runbook.name.to_string(),
            title: runbook.title.clone().unwrap_or_else(|| runbook.name.to_string()),
            drill: state.drill().map(str::to_owned),
            category: self.category.as_ref().map(|(_, category)| category.clone()),
            severity: self.severity.clone().or_else(|| written.as_ref().map(words::brief)),
            by,
            started,
            ended: self.ended,
            as_of,
            duration: span(started, self.ended.unwrap_or(as_of)),
            outcome: state.outcome().or_else(|| state.outcome_before_finally()),
            first_failure: state.first_failure().cloned(),
            times: self.key_times(started),
            steps: state.records().filter_map(|(path, record)| row(state, path, record)).collect(),
            undone: state.records().filter_map(|(id, record)| undone(id, record)).collect(),
            in_doubt: state.steps_in_doubt().cloned().collect(),
            waiting: self.waiting(),
            follow_ups: self.follow_ups(&standing),
            left_standing: standing,
            reports: reports(state),
            inputs: plan.inputs().clone(),
            evidence: Evidence {
                file: plan.file().to_owned(),
                source: plan.source_digest().clone(),
                plan: plan.digest().clone(),
                log_head: None,
                events,
                version: self.version,
            },
            timeline: self.timeline,
            gates: self.gates,
            measures: self.measures,
        })
    }

    fn waiting(&self) -> Vec<Standing> {
        let prompt = |id: &StepPath| match self.state.record(id).map(|record| &record.state) {
            Some(StepState::AtGate(gate)) => gate.prompt.clone(),
            _ => {
                let asked =
                    self.timeline.iter().rev().find(|line| line.step.as_ref() == Some(id) && line.kind == Kind::Asked);
                asked.map(|line| line.text.clone()).unwrap_or_default()
            }
        };
        self.state.waiting_for_people().map(|id| Standing { step: id.clone(), what: prompt(id) }).collect()
    }

    fn key_times(&self, detected: Timestamp) -> KeyTimes {
        let (mitigated, restored) = match self.measures.first() {
            Some(measure) => {
                let restored = measure.closed.filter(|_| measure.how == Some("closed"));
                (self.mitigated(measure), restored)
            }
            None => (None, self.all_done()),
        };
        KeyTimes {
            detected,
            decided: self.category.as_ref().map(|(at, _)| *at).or(self.first_decision),
            mitigated,
            restored,
            to_mitigate: mitigated.map(|at| span(detected, at)),
            to_restore: restored.map(|at| span(detected, at)),
        }
    }

    /// When the measure was seen to work.
    fn mitigated(&self, measure: &MeasureRow) -> Option<Timestamp> {
        let (plan, place) = self.state.plan_of(&measure.step)?;
        let closing = plan.step(place).measure.as_ref()?.closed_by.as_ref().and_then(|id| plan.place(id));
        let checks: Vec<usize> = downstream(plan, place, closing)
            .into_iter()
            .filter(|place| plan.step(*place).until.is_some() && !plan.is_final(*place))
            .collect();
        if checks.is_empty() {
            return Some(measure.since);
        }
        let succeeded = checks.into_iter().filter_map(|place| self.state.beside(&measure.step, place));
        succeeded
            .filter(|record| record.result() == Some(StepResult::Succeeded))
            .filter_map(|record| record.finished_at)
            .min()
    }

    /// When the last step that changed something was done, in a run that went well.
    fn all_done(&self) -> Option<Timestamp> {
        let outcome = self.state.outcome().or_else(|| self.state.outcome_before_finally());
        if outcome != Some(Outcome::Succeeded) {
            return None;
        }
        let changes = |path: &StepPath| {
            let writes = self.state.facts(path).is_some_and(|facts| facts.effect == Effect::Write);
            writes || self.state.step(path).is_some_and(|step| matches!(step.does, Does::Manual(_)))
        };
        self.state
            .records()
            .filter(|(path, record)| record.stands() && !self.state.is_final(path) && changes(path))
            .map(|(_, record)| record)
            .filter_map(|record| record.finished_at)
            .max()
    }

    fn follow_ups(&self, standing: &[Standing]) -> Vec<FollowUp> {
        let mut found = Vec::new();
        let mut add = |step: Option<&StepPath>, what: &str, because: Option<String>| {
            found.push(FollowUp { step: step.cloned(), what: what.to_owned(), because });
        };
        for measure in self.measures.iter().filter(|measure| measure.closed.is_none()) {
            let must = |at: Timestamp| if at < self.state.now() { "had" } else { "has" };
            let until = measure.expires.map(|at| format!("it {} to be over by {}", must(at), words::minute(at)));
            add(Some(&measure.step), "close its emergency measure, which is still in force", until);
        }
        for left in standing {
            if !self.measures.iter().any(|measure| measure.step == left.step && measure.closed.is_none()) {
                add(Some(&left.step), "decide what becomes of what it left", Some(left.what.clone()));
            }
        }
        for (id, record) in self.state.records() {
            let looks = self.state.facts(id).is_some_and(|facts| facts.effect == Effect::Read);
            let allowed = self.step(id).is_some_and(|step| step.allow_failure);
            let error = record.error.as_ref().filter(|error| error.kind != ErrorKind::Cancelled);
            // A look that may fail is an observation: often the incident itself.
            if record.result() == Some(StepResult::Failed) && !(looks && allowed) {
                add(Some(id), "look into why it failed", error.map(|error| error.message.clone()));
            } else if let Some((times, message)) = self.retried.get(id) {
                let what = match times {
                    1 => "look into why it failed once".to_owned(),
                    times => format!("look into why it failed {times} times"),
                };
                add(Some(id), &what, Some(message.clone()));
            }
        }
        for gate in &self.gates {
            let limit = gate.expires.map_or(LONG_WAIT, |expires| clock::until(gate.opened, expires) / 2);
            let waited = gate.waited.rounded();
            if gate.answer == Some("lapsed") {
                add(
                    Some(&gate.step),
                    "find out why nobody answered in time",
                    Some(format!("it was open for {waited}")),
                );
            } else if gate.waited.0 > limit {
                add(Some(&gate.step), "find out why the answer took so long", Some(format!("it took {waited}")));
            }
        }
        for measure in self.measures.iter().filter(|measure| measure.closed.is_some()) {
            if let Some(overdue) = measure.overdue {
                let because = format!("it was in force {} too long", overdue.rounded());
                add(Some(&measure.step), "find out why its emergency measure outlived its limit", Some(because));
            }
        }
        if self.lost > 0 {
            let because = format!("it was lost {} with steps under way", times(self.lost));
            add(None, "find out why the process that ran this ended", Some(because));
        }
        found
    }
}

fn times(count: u32) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        more => format!("{more} times"),
    }
}

fn span(from: Timestamp, to: Timestamp) -> HumanDuration {
    HumanDuration(clock::until(from, to))
}

/// The places of all steps after `place`, but neither `without` nor what comes after that.
fn downstream(plan: &Plan, place: usize, without: Option<usize>) -> Vec<usize> {
    let mut found = vec![false; plan.len()];
    let mut next = plan.dependents(place);
    while let Some(place) = next.pop() {
        if Some(place) != without && !std::mem::replace(&mut found[place], true) {
            next.extend(plan.dependents(place));
        }
    }
    found.iter().enumerate().filter(|(_, found)| **found).map(|(place, _)| place).collect()
}

/// The row of a step. Items that did what they should are counted by their loop, and have none.
fn row(state: &RunState, path: &StepPath, record: &StepRecord) -> Option<StepRow> {
    let step = state.step(path)?;
    let is_item = state.is_item(path);
    let is_quiet = matches!(
        record.state,
        StepState::Waiting | StepState::Ready | StepState::Ended(StepResult::Succeeded | StepResult::Skipped)
    );
    if is_item && is_quiet {
        return None;
    }
    let kind = match &step.does {
        Does::Action { .. } => action_name(step).unwrap_or_default(),
        Does::Decide(_) => "decide",
        Does::Manual(_) => "manual",
        Does::Gate => "gate",
        Does::Call(_) => "call",
    };
    let approved = record.decisions.iter().filter(|decision| decision.answer == Answer::Approve);
    Some(StepRow {
        id: path.clone(),
        title: step.title.clone(),
        kind: kind.to_owned(),
        is_final: state.is_final(path),
        result: standing_word(&record.state),
        allow_failure: step.allow_failure,
        started: record.started_at,
        finished: record.finished_at,
        duration: record.started_at.zip(record.finished_at).map(|(from, to)| span(from, to)),
        attempts: record.attempts,
        error: record.error.as_deref().cloned(),
        cause: record.cause.as_ref().map(ToString::to_string),
        outputs: record.outputs.clone(),
        approved_by: approved.map(|decision| decision.by.clone()).collect(),
    })
}

fn standing_word(state: &StepState) -> &'static str {
    match state {
        StepState::Waiting => "waiting",
        StepState::Ready => "ready",
        StepState::AtGate(_) => "at_gate",
        StepState::Approved(_) => "approved",
        StepState::Asked => "asked",
        StepState::Running => "running",
        StepState::Within => "within",
        StepState::Pausing => "pausing",
        StepState::Interrupted => "interrupted",
        StepState::InDoubt => "in_doubt",
        StepState::Ended(result) => result.as_str(),
    }
}

fn undone(id: &StepPath, record: &StepRecord) -> Option<UndoneRow> {
    match record.undo.as_ref()? {
        UndoState::Undone(undone) => Some(UndoneRow {
            step: id.clone(),
            succeeded: true,
            what: undone.summary.clone(),
            left: undone.left.clone(),
        }),
        UndoState::Failed(error) => {
            Some(UndoneRow { step: id.clone(), succeeded: false, what: error.message.clone(), left: Vec::new() })
        }
        UndoState::Running | UndoState::Pausing | UndoState::InDoubt => None,
    }
}

/// The files that `report.render` steps say they wrote.
fn reports(state: &RunState) -> Vec<String> {
    let rendered = state.records().filter(|(id, record)| {
        let step = state.step(id);
        step.and_then(action_name) == Some("report.render") && record.result() == Some(StepResult::Succeeded)
    });
    rendered
        .filter_map(|(_, record)| record.outputs.as_ref()?.value().get("path")?.as_str().map(str::to_owned))
        .collect()
}
