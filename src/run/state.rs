//! The state of a run: a fold over its events. Illegal events are refused and change nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value;

use super::event::{
    Answer, AttemptResult, Cause, Decision, Doubt, Event, Limits, ManualResult, Next, Outcome, Recorded, Timer,
    UndoResult,
};
use crate::action::{ActionError, Effect, ErrorKind, Load, Undone};
use crate::base::{Attempt, Digest, RunId, StepId, Timestamp};
use crate::plan::Plan;
use crate::runbook::{Does, OnFailure, StepResult};

/// Where a step stands.
#[derive(Debug, Clone, PartialEq)]
pub enum StepState {
    /// Something it needs has not ended yet.
    Waiting,
    /// It may begin.
    Ready,
    /// People are asked whether it may act.
    AtGate(Gate),
    /// They said yes to what has this digest; it may act.
    Approved(Digest),
    /// A person is doing it.
    Asked,
    /// A try is under way.
    Running,
    /// The next try waits for its time.
    Pausing,
    /// A try was stopped with the run.
    Interrupted,
    /// A try was under way when its process died: nobody knows whether it happened.
    InDoubt,
    /// It is over.
    Ended(StepResult),
}

/// A question to people.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// The digest of what was shown.
    pub digest: Digest,
    /// The question.
    pub prompt: String,
    /// When it lapses.
    pub expires: Option<Timestamp>,
    /// Who has said yes so far.
    pub approvals: Vec<Decision>,
}

/// Where the undo of a step stands.
#[derive(Debug, Clone, PartialEq)]
pub enum UndoState {
    /// Under way.
    Running,
    /// Under way when its process died.
    InDoubt,
    /// Done.
    Undone(Undone),
    /// Not possible.
    Failed(ActionError),
}

/// What is known of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepRecord {
    /// Where it stands.
    pub state: StepState,
    /// How many tries began.
    pub attempts: u32,
    /// When it first began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// What it was given, secrets as references.
    pub params: Option<Arc<Value>>,
    /// What it gave.
    pub outputs: Option<Arc<Value>>,
    /// Why it failed, or failed last.
    pub error: Option<ActionError>,
    /// Why it was skipped.
    pub cause: Option<Cause>,
    /// What its action saved last.
    pub checkpoint: Option<Value>,
    /// Whoever let it pass, or did not.
    pub decisions: Vec<Decision>,
    /// May an earlier try have done all or part of it?
    pub repeat: bool,
    /// Where its undo stands.
    pub undo: Option<UndoState>,
}

impl StepRecord {
    fn new() -> Self {
        Self {
            state: StepState::Waiting,
            attempts: 0,
            started_at: None,
            finished_at: None,
            params: None,
            outputs: None,
            error: None,
            cause: None,
            checkpoint: None,
            decisions: Vec::new(),
            repeat: false,
            undo: None,
        }
    }

    /// How it ended, if it has.
    pub fn result(&self) -> Option<StepResult> {
        match self.state {
            StepState::Ended(result) => Some(result),
            _ => None,
        }
    }

    /// Is there something to reverse: was it done, or did it fail on the way after saving what it found?
    pub(super) fn acted(&self) -> bool {
        match self.result() {
            Some(StepResult::Succeeded) => true,
            Some(StepResult::Failed) => self.checkpoint.is_some(),
            _ => false,
        }
    }

    /// Did it act, and is that not undone?
    pub fn stands(&self) -> bool {
        self.result() == Some(StepResult::Succeeded) && !matches!(self.undo, Some(UndoState::Undone(_)))
    }
}

/// An event that cannot follow what happened before. The state is as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} cannot happen now: {why}")]
pub struct IllegalEvent {
    /// Which event.
    pub what: String,
    /// Why not.
    pub why: String,
}

/// An emergency measure that is in force.
#[derive(Debug, Clone, PartialEq)]
pub struct InForce {
    /// The step that put it in force.
    pub step: StepId,
    /// Since when.
    pub since: Timestamp,
}

/// Something a run changed and did not put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftStanding {
    /// The step that did it.
    pub step: StepId,
    /// What stands.
    pub what: String,
}

/// The state of a run.
#[derive(Debug, Clone)]
pub struct RunState {
    plan: Arc<Plan>,
    records: Vec<StepRecord>,
    dependents: Vec<Vec<usize>>,
    unmet: Vec<usize>,
    pub(super) ready: [BTreeSet<usize>; 3],
    pub(super) running: [usize; 3],
    pub(super) doomed: BTreeMap<usize, Cause>,
    pub(super) timers: BTreeSet<(Timestamp, Timer)>,
    pub(super) open: BTreeSet<usize>,
    pub(super) in_doubt: BTreeSet<usize>,
    pub(super) unended: BTreeSet<usize>,
    finished_order: Vec<usize>,
    pub(super) undoing: Option<usize>,
    pub(super) undo_failed: bool,
    started: Option<Started>,
    first_failure: Option<StepId>,
    cancelled: Option<String>,
    finally: Option<Outcome>,
    outcome: Option<Outcome>,
    now: Timestamp,
}

#[derive(Debug, Clone)]
struct Started {
    run: RunId,
    by: String,
    drill: Option<String>,
    limits: Limits,
    at: Timestamp,
}

/// Which queue a step waits in: steps that run nothing, the network, processes.
pub(super) fn queue(load: Option<Load>) -> usize {
    match load {
        None => 0,
        Some(Load::Io) => 1,
        Some(Load::Process) => 2,
    }
}

impl RunState {
    /// The state before anything has happened.
    pub fn new(plan: Arc<Plan>) -> Self {
        let count = plan.len();
        let ordinary = plan.runbook().steps.len();
        Self {
            records: (0..count).map(|_| StepRecord::new()).collect(),
            dependents: (0..count).map(|place| plan.dependents(place)).collect(),
            unmet: (0..count).map(|place| plan.step(place).needs.len()).collect(),
            ready: Default::default(),
            running: [0; 3],
            doomed: BTreeMap::new(),
            timers: BTreeSet::new(),
            open: BTreeSet::new(),
            in_doubt: BTreeSet::new(),
            unended: (0..ordinary).collect(),
            finished_order: Vec::new(),
            undoing: None,
            undo_failed: false,
            started: None,
            first_failure: None,
            cancelled: None,
            finally: None,
            outcome: None,
            now: Timestamp::MIN,
            plan,
        }
    }

    /// The plan it follows.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// What is known of a step.
    pub fn record(&self, id: &StepId) -> Option<&StepRecord> {
        self.plan.place(id).map(|place| &self.records[place])
    }

    pub(super) fn at(&self, place: usize) -> &StepRecord {
        &self.records[place]
    }

    /// Every step with what is known of it, in the order of the file.
    pub fn records(&self) -> impl Iterator<Item = (&StepId, &StepRecord)> {
        self.records.iter().enumerate().map(|(place, record)| (self.plan.id(place), record))
    }

    /// The run's id, once it has begun.
    pub fn run(&self) -> Option<&RunId> {
        self.started.as_ref().map(|started| &started.run)
    }

    /// Who started it.
    pub fn started_by(&self) -> Option<&str> {
        self.started.as_ref().map(|started| started.by.as_str())
    }

    /// When it began.
    pub fn started_at(&self) -> Option<Timestamp> {
        self.started.as_ref().map(|started| started.at)
    }

    /// The drill's scenario, when it is one.
    pub fn drill(&self) -> Option<&str> {
        self.started.as_ref().and_then(|started| started.drill.as_deref())
    }

    pub(super) fn limits(&self) -> Limits {
        self.started.as_ref().map_or(Limits { io: 1, processes: 1 }, |started| started.limits)
    }

    /// The time of the last event.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The step whose failure stopped the run.
    pub fn first_failure(&self) -> Option<&StepId> {
        self.first_failure.as_ref()
    }

    /// Is the run to stop?
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.is_some()
    }

    /// How the run ended, if it has.
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    /// How the run would end if the final steps succeed, once they have begun.
    pub fn outcome_before_finally(&self) -> Option<Outcome> {
        self.finally
    }

    /// Are new ordinary steps out of the question?
    pub(super) fn is_halted(&self) -> bool {
        self.first_failure.is_some() && self.plan.runbook().on_failure != OnFailure::Continue
    }

    /// Does this step wait at its gate?
    pub fn is_at_gate(&self, id: &StepId) -> bool {
        self.record(id).is_some_and(|record| matches!(record.state, StepState::AtGate(_)))
    }

    /// Steps that wait for a person.
    pub fn waiting_for_people(&self) -> impl Iterator<Item = &StepId> {
        self.open.iter().map(|place| self.plan.id(*place))
    }

    /// Steps of which nobody knows whether they happened.
    pub fn steps_in_doubt(&self) -> impl Iterator<Item = &StepId> {
        self.in_doubt.iter().map(|place| self.plan.id(*place))
    }

    /// Steps to undo, the last one done first.
    pub(super) fn to_undo(&self) -> impl Iterator<Item = usize> {
        self.finished_order.iter().rev().copied().filter(|place| {
            let record = &self.records[*place];
            self.plan.step(*place).undo.is_some()
                && record.acted()
                && !matches!(record.undo, Some(UndoState::Undone(_) | UndoState::Failed(_)))
        })
    }

    /// Emergency measures that are in force now.
    pub fn measures_in_force(&self) -> Vec<InForce> {
        let mut found = Vec::new();
        for (place, record) in self.records.iter().enumerate() {
            let Some(measure) = &self.plan.step(place).measure else { continue };
            let closed = measure.closed_by.as_ref().and_then(|id| self.record(id)).is_some_and(StepRecord::stands);
            let (true, false, Some(since)) = (record.stands(), closed, record.finished_at) else { continue };
            found.push(InForce { step: self.plan.id(place).clone(), since });
        }
        found
    }

    /// What the run changed and did not put back: measures in force, undone writes that left something, writes after
    /// a failure that nobody undid.
    pub fn left_standing(&self) -> Vec<LeftStanding> {
        let mut left: Vec<LeftStanding> = Vec::new();
        for in_force in self.measures_in_force() {
            left.push(LeftStanding { step: in_force.step, what: "its emergency measure is in force".to_owned() });
        }
        let went_wrong = self.first_failure.is_some() || self.cancelled.is_some();
        for (place, record) in self.records.iter().enumerate() {
            let step = self.plan.id(place);
            match &record.undo {
                Some(UndoState::Undone(undone)) => {
                    left.extend(undone.left.iter().map(|what| LeftStanding { step: step.clone(), what: what.clone() }));
                }
                Some(UndoState::Failed(error)) => {
                    let what = format!("its undo failed: {}", error.message);
                    left.push(LeftStanding { step: step.clone(), what });
                }
                Some(UndoState::Running | UndoState::InDoubt) => {
                    left.push(LeftStanding { step: step.clone(), what: "its undo was not seen to end".to_owned() });
                }
                None => {
                    let acted = matches!(record.state, StepState::InDoubt | StepState::Interrupted)
                        || (went_wrong && record.stands() && !self.plan.is_final(place));
                    if acted && self.plan.facts(place).effect == Effect::Write && !left.iter().any(|l| l.step == *step)
                    {
                        let what = match record.state {
                            StepState::InDoubt | StepState::Interrupted => "nobody knows whether it happened",
                            _ => "what it did was not undone",
                        };
                        left.push(LeftStanding { step: step.clone(), what: what.to_owned() });
                    }
                }
            }
        }
        left
    }

    /// Takes an event into account. An illegal one is refused and changes nothing.
    pub fn apply(&mut self, recorded: &Recorded) -> Result<(), IllegalEvent> {
        self.check(&recorded.event).map_err(|why| IllegalEvent { what: name(&recorded.event), why })?;
        self.now = self.now.max(recorded.at);
        self.take(recorded.at, &recorded.event);
        Ok(())
    }

    /// May this event follow? All refusals stand here, so that [`Self::take`] only changes.
    fn check(&self, event: &Event) -> Result<(), String> {
        if let Event::RunStarted { plan, .. } = event {
            if self.started.is_some() {
                return Err("the run has begun already".to_owned());
            }
            if plan != self.plan.digest() {
                return Err("the log belongs to another plan".to_owned());
            }
            return Ok(());
        }
        if self.started.is_none() {
            return Err("the run has not begun".to_owned());
        }
        let resumable = matches!(self.outcome, None | Some(Outcome::Cancelled));
        if self.outcome.is_some() && !(matches!(event, Event::RunResumed { .. }) && resumable) {
            return Err("the run is over".to_owned());
        }
        let place = match event.step() {
            Some(step) => Some(self.plan.place(step).ok_or_else(|| format!("the plan has no step `{step}`"))?),
            None => None,
        };
        let record = place.map(|place| &self.records[place]);
        let state = record.map(|record| &record.state);
        let refuse = |why: &str| Err(why.to_owned());
        match event {
            Event::RunStarted { .. } | Event::RunResumed { .. } => Ok(()),
            Event::StepSkipped { .. } => match state {
                Some(StepState::Running | StepState::InDoubt | StepState::Interrupted) => refuse("it is under way"),
                Some(StepState::Ended(_)) => refuse("it has ended"),
                _ => Ok(()),
            },
            Event::StepFailed { .. } => match state {
                Some(StepState::Ready | StepState::Approved(_) | StepState::Pausing | StepState::AtGate(_)) => Ok(()),
                _ => refuse("it is not its turn"),
            },
            Event::Decided { .. } | Event::ManualAsked { .. } => match state {
                Some(StepState::Ready | StepState::Approved(_)) => Ok(()),
                _ => refuse("it is not its turn"),
            },
            Event::GateOpened { .. } => match state {
                Some(StepState::Ready | StepState::Approved(_)) => Ok(()),
                _ => refuse("it is not its turn"),
            },
            Event::GateAnswered { digest, decision, .. } => match state {
                Some(StepState::AtGate(gate)) if gate.digest != *digest => refuse("the answer is about something else"),
                Some(StepState::AtGate(gate)) if gate.approvals.iter().any(|before| before.by == decision.by) => {
                    refuse("the same person has answered already")
                }
                Some(StepState::AtGate(_)) => Ok(()),
                _ => refuse("its gate is not open"),
            },
            Event::ManualAnswered { .. } => match state {
                Some(StepState::Asked) => Ok(()),
                _ => refuse("nobody was asked"),
            },
            Event::AttemptStarted { attempt, .. } => match (state, record) {
                (Some(StepState::Ready | StepState::Approved(_)), Some(record)) if record.attempts + 1 == attempt.0 => {
                    Ok(())
                }
                (Some(StepState::Ready | StepState::Approved(_)), _) => refuse("the tries are counted one by one"),
                _ => refuse("it is not its turn"),
            },
            Event::Checkpoint { attempt, .. } | Event::AttemptFinished { attempt, .. } => match (state, record) {
                (Some(StepState::Running), Some(record)) if record.attempts == attempt.0 => Ok(()),
                _ => refuse("no such try is under way"),
            },
            Event::TimerFired { timer } => {
                if self.timers.iter().any(|(_, known)| known == timer) {
                    Ok(())
                } else {
                    refuse("nothing waits for that time")
                }
            }
            Event::DoubtResolved { .. } => match state {
                Some(StepState::InDoubt) => Ok(()),
                _ => refuse("it is not in doubt"),
            },
            Event::CancelRequested { .. } => Ok(()),
            Event::UndoStarted { .. } => match record {
                _ if self.undoing.is_some() => refuse("another undo is under way"),
                Some(record) if !record.acted() => refuse("it was not done"),
                Some(record) if matches!(record.undo, Some(UndoState::Undone(_))) => refuse("it is undone"),
                _ => Ok(()),
            },
            Event::UndoFinished { .. } => match record.map(|record| &record.undo) {
                Some(Some(UndoState::Running | UndoState::InDoubt)) => Ok(()),
                _ => refuse("its undo is not under way"),
            },
            Event::FinallyBegan { .. } if self.finally.is_some() => refuse("the final steps have begun already"),
            Event::FinallyBegan { .. } => Ok(()),
            Event::RunFinished { .. } if self.running.iter().sum::<usize>() > 0 => refuse("steps are under way"),
            Event::RunFinished { .. } => Ok(()),
        }
    }

    /// Changes the state by an event that [`Self::check`] let pass.
    fn take(&mut self, at: Timestamp, event: &Event) {
        let place = event.step().and_then(|step| self.plan.place(step));
        match (event, place) {
            (Event::RunStarted { run, by, drill, limits, .. }, _) => {
                self.started =
                    Some(Started { run: run.clone(), by: by.clone(), drill: drill.clone(), limits: *limits, at });
                for place in 0..self.plan.runbook().steps.len() {
                    self.release(place);
                }
            }
            (Event::RunResumed { .. }, _) => self.resume(),
            (Event::StepSkipped { because, .. }, Some(place)) => {
                // Between two tries it had begun: it ends with what went wrong last.
                let began = self.records[place].attempts > 0;
                self.records[place].cause = Some(because.clone());
                self.end(place, if began { StepResult::Failed } else { StepResult::Skipped }, at);
            }
            (Event::StepFailed { error, .. }, Some(place)) => {
                self.records[place].error = Some(error.clone());
                self.end(place, StepResult::Failed, at);
            }
            (Event::Decided { outputs, .. }, Some(place)) => {
                self.begin(place, at);
                self.records[place].outputs = Some(Arc::new(outputs.clone()));
                self.end(place, StepResult::Succeeded, at);
            }
            (Event::GateOpened { digest, prompt, expires, .. }, Some(place)) => {
                let gate =
                    Gate { digest: digest.clone(), prompt: prompt.clone(), expires: *expires, approvals: Vec::new() };
                self.leave_queue(place);
                self.records[place].state = StepState::AtGate(gate);
                self.open.insert(place);
                if let Some(expires) = expires {
                    self.timers.insert((*expires, Timer::Gate { step: self.plan.id(place).clone() }));
                }
            }
            (Event::GateAnswered { decision, .. }, Some(place)) => self.answer_gate(place, decision, at),
            (Event::ManualAsked { .. }, Some(place)) => {
                self.leave_queue(place);
                self.begin(place, at);
                self.records[place].state = StepState::Asked;
                self.open.insert(place);
            }
            (Event::ManualAnswered { by, result, .. }, Some(place)) => self.answer_manual(place, by, result, at),
            (Event::AttemptStarted { attempt, params, .. }, Some(place)) => {
                self.leave_queue(place);
                self.begin(place, at);
                let record = &mut self.records[place];
                record.attempts = attempt.0;
                record.state = StepState::Running;
                if let Some(params) = params {
                    record.params = Some(Arc::new(params.clone()));
                }
                self.running[self.queue_of(place)] += 1;
            }
            (Event::Checkpoint { value, .. }, Some(place)) => self.records[place].checkpoint = Some(value.clone()),
            (Event::AttemptFinished { result, next, .. }, Some(place)) => self.finish_attempt(place, result, *next, at),
            (Event::TimerFired { timer }, Some(place)) => {
                self.timers.retain(|(_, known)| known != timer);
                match timer {
                    Timer::Gate { .. } => {
                        self.open.remove(&place);
                        self.end(place, StepResult::Rejected, at);
                    }
                    Timer::Again { .. } => self.make_ready(place),
                }
            }
            (Event::DoubtResolved { doubt, .. }, Some(place)) => {
                self.in_doubt.remove(&place);
                match doubt {
                    Doubt::Happened { outputs } => {
                        // A person who says that it happened may not know what came of it.
                        self.records[place].outputs = (!outputs.is_null()).then(|| Arc::new(outputs.clone()));
                        self.end(place, StepResult::Succeeded, at);
                    }
                    Doubt::Again => {
                        self.records[place].repeat = true;
                        self.make_ready(place);
                    }
                }
            }
            (Event::CancelRequested { by }, _) => self.cancelled = Some(by.clone()),
            (Event::UndoStarted { .. }, Some(place)) => {
                self.records[place].undo = Some(UndoState::Running);
                self.undoing = Some(place);
            }
            (Event::UndoFinished { result, .. }, Some(place)) => {
                self.undoing = None;
                self.records[place].undo = Some(match result {
                    UndoResult::Undone { undone } => UndoState::Undone(undone.clone()),
                    UndoResult::Failed { error } => {
                        self.undo_failed = true;
                        UndoState::Failed(error.clone())
                    }
                });
            }
            (Event::FinallyBegan { outcome }, _) => {
                self.finally = Some(*outcome);
                let final_steps = self.plan.runbook().steps.len()..self.plan.len();
                self.unended.extend(final_steps.clone());
                for place in final_steps {
                    self.release(place);
                }
            }
            (Event::RunFinished { outcome }, _) => self.outcome = Some(*outcome),
            // Every event about a step has a place: `check` refused the others.
            (_, None) => {}
        }
    }

    /// A new process: what was running is in doubt, what waited for people or time still does.
    fn resume(&mut self) {
        if self.outcome == Some(Outcome::Cancelled) {
            // The final steps run again, however the resumed run ends.
            self.outcome = None;
            self.finally = None;
            for place in self.plan.runbook().steps.len()..self.plan.len() {
                self.records[place] = StepRecord::new();
                self.unmet[place] = self.plan.step(place).needs.len();
                self.ready.iter_mut().for_each(|queue| {
                    queue.remove(&place);
                });
                self.doomed.remove(&place);
                self.unended.remove(&place);
            }
        }
        self.cancelled = None;
        for place in 0..self.records.len() {
            match self.records[place].state {
                StepState::Running => {
                    self.running[self.queue_of(place)] -= 1;
                    self.records[place].state = StepState::InDoubt;
                    self.in_doubt.insert(place);
                }
                StepState::Interrupted => {
                    self.records[place].state = StepState::InDoubt;
                    self.in_doubt.insert(place);
                }
                _ => {}
            }
            if self.records[place].undo == Some(UndoState::Running) {
                self.records[place].undo = Some(UndoState::InDoubt);
                self.undoing = None;
            }
        }
    }

    fn queue_of(&self, place: usize) -> usize {
        queue(self.plan.facts(place).load)
    }

    fn begin(&mut self, place: usize, at: Timestamp) {
        self.records[place].started_at.get_or_insert(at);
    }

    fn leave_queue(&mut self, place: usize) {
        let queue = self.queue_of(place);
        self.ready[queue].remove(&place);
    }

    fn make_ready(&mut self, place: usize) {
        self.records[place].state = StepState::Ready;
        let queue = self.queue_of(place);
        self.ready[queue].insert(place);
    }

    /// A step that needs nothing more may begin.
    fn release(&mut self, place: usize) {
        if self.unmet[place] == 0
            && self.records[place].state == StepState::Waiting
            && !self.doomed.contains_key(&place)
        {
            self.make_ready(place);
        }
    }

    fn answer_gate(&mut self, place: usize, decision: &Decision, at: Timestamp) {
        let needed = self.plan.step(place).approval.as_ref().map_or(1, |approval| approval.at_least);
        let record = &mut self.records[place];
        record.decisions.push(decision.clone());
        let StepState::AtGate(gate) = &mut record.state else { return };
        let passed = match decision.answer {
            Answer::Approve => {
                gate.approvals.push(decision.clone());
                let count = u32::try_from(gate.approvals.len()).unwrap_or(u32::MAX);
                (count >= needed).then(|| gate.digest.clone())
            }
            Answer::Reject => {
                self.close_gate(place);
                self.end(place, StepResult::Rejected, at);
                return;
            }
        };
        if let Some(digest) = passed {
            self.close_gate(place);
            if self.plan.step(place).does == Does::Gate {
                self.begin(place, at);
                self.records[place].outputs = Some(Arc::new(Value::Object(serde_json::Map::new())));
                self.end(place, StepResult::Succeeded, at);
            } else {
                self.records[place].state = StepState::Approved(digest);
                let queue = self.queue_of(place);
                self.ready[queue].insert(place);
            }
        }
    }

    fn close_gate(&mut self, place: usize) {
        self.open.remove(&place);
        let step = self.plan.id(place).clone();
        self.timers.retain(|(_, timer)| *timer != Timer::Gate { step: step.clone() });
    }

    fn answer_manual(&mut self, place: usize, by: &str, result: &ManualResult, at: Timestamp) {
        self.open.remove(&place);
        match result {
            ManualResult::Done { evidence } => {
                let mut outputs: IndexMap<String, Value> = evidence.clone();
                outputs.insert("by".to_owned(), by.into());
                self.records[place].outputs = Some(Arc::new(outputs.into_iter().collect()));
                self.end(place, StepResult::Succeeded, at);
            }
            ManualResult::Failed { reason } => {
                self.records[place].error = Some(ActionError::new(ErrorKind::Failed, format!("{by}: {reason}")));
                self.end(place, StepResult::Failed, at);
            }
            ManualResult::Skipped { reason } => {
                self.records[place].cause = Some(Cause::Person { by: by.to_owned(), reason: reason.clone() });
                self.end(place, StepResult::Skipped, at);
            }
        }
    }

    fn finish_attempt(&mut self, place: usize, result: &AttemptResult, next: Next, at: Timestamp) {
        let queue = self.queue_of(place);
        self.running[queue] -= 1;
        let record = &mut self.records[place];
        let succeeded = match result {
            AttemptResult::Succeeded { outputs } => {
                record.outputs = Some(Arc::new(outputs.clone()));
                record.error = None;
                true
            }
            AttemptResult::Failed { error } => {
                record.error = Some(error.clone());
                record.outputs = error.outputs.as_deref().cloned().map(Arc::new);
                false
            }
        };
        match next {
            Next::Again { at } => {
                record.state = StepState::Pausing;
                record.repeat = true;
                self.timers.insert((at, Timer::Again { step: self.plan.id(place).clone() }));
            }
            Next::End if succeeded => self.end(place, StepResult::Succeeded, at),
            // Only whoever was told to stop was stopped with the run; final steps never are.
            Next::End
                if self.cancelled.is_some()
                    && self.finally.is_none()
                    && record.error.as_ref().is_some_and(|error| error.kind == ErrorKind::Cancelled) =>
            {
                record.state = StepState::Interrupted;
            }
            Next::End => self.end(place, StepResult::Failed, at),
        }
    }

    /// A step is over: whatever waited for this result may begin, whatever waited for another one never will.
    fn end(&mut self, place: usize, result: StepResult, at: Timestamp) {
        self.leave_queue(place);
        self.open.remove(&place);
        self.doomed.remove(&place);
        self.unended.remove(&place);
        let step = self.plan.id(place).clone();
        if matches!(self.records[place].state, StepState::Pausing | StepState::AtGate(_)) {
            self.timers.retain(|(_, Timer::Again { step: waiting } | Timer::Gate { step: waiting })| *waiting != step);
        }
        let record = &mut self.records[place];
        record.state = StepState::Ended(result);
        record.finished_at = Some(at);
        self.finished_order.push(place);
        let is_failure = result == StepResult::Failed && !self.plan.step(place).allow_failure;
        if is_failure && !self.plan.is_final(place) {
            self.first_failure.get_or_insert_with(|| step.clone());
        }
        for dependent in std::mem::take(&mut self.dependents[place]) {
            self.dependents[place].push(dependent);
            let accepted = self.plan.step(dependent).needs.get(&step).is_some_and(|need| need.accepts(result));
            if accepted {
                self.unmet[dependent] -= 1;
                self.release(dependent);
            } else if self.records[dependent].state == StepState::Waiting {
                self.doomed.entry(dependent).or_insert_with(|| Cause::Need { step: step.clone(), result });
            }
        }
    }

    /// Is a try of this step the first one?
    pub fn next_attempt(&self, id: &StepId) -> Attempt {
        Attempt(self.record(id).map_or(0, |record| record.attempts) + 1)
    }

    /// Did a final step fail?
    pub(super) fn final_failure(&self) -> bool {
        (self.plan.runbook().steps.len()..self.plan.len()).any(|place| {
            self.records[place].result() == Some(StepResult::Failed) && !self.plan.step(place).allow_failure
        })
    }

    /// Was a gate answered with no, and did nobody act on that?
    pub(super) fn unhandled_rejection(&self) -> bool {
        (0..self.plan.runbook().steps.len()).any(|place| {
            self.records[place].result() == Some(StepResult::Rejected)
                && !self.dependents[place].iter().any(|dependent| {
                    let wants_no =
                        self.plan.step(*dependent).needs.get(self.plan.id(place)).is_some_and(|need| {
                            need.accepts(StepResult::Rejected) && !need.accepts(StepResult::Succeeded)
                        });
                    wants_no && self.records[*dependent].result() == Some(StepResult::Succeeded)
                })
        })
    }
}

fn name(event: &Event) -> String {
    let kind = serde_json::to_value(event).ok().and_then(|value| value["type"].as_str().map(str::to_owned));
    let kind = kind.unwrap_or_else(|| "an event".to_owned());
    match event.step() {
        Some(step) => format!("`{kind}` of step `{step}`"),
        None => format!("`{kind}`"),
    }
}
