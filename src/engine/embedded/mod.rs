//! The engine in this process: decide, record, act, wait; one loop, one writer.

mod launch;
mod questions;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::attempt::Report;
use super::{Approvers, Notice, People};
use crate::action::{ActionError, Doors, ErrorKind, Intent, Probed, Registry, Replay};
use crate::base::secret::disarm_json;
use crate::base::{Attempt, StepId};
use crate::plan::{Plan, show_secrets};
use crate::run::{
    AttemptResult, Directive, Doubt, Event, IllegalEvent, Outcome, Recorded, Rendering, RunState, UndoResult,
    UndoState, after_attempt, decide, take_turn,
};
use crate::runbook::{Does, Step, Undo};
use crate::runlog::RunLog;

/// How a drive of a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The run is over.
    Finished(Outcome),
    /// Only people can take it further, and none can be asked here.
    Waiting(Vec<StepId>),
    /// Steps are in doubt, and nobody can be asked here.
    InDoubt(Vec<StepId>),
}

/// Why a drive could not go on. What was recorded stays, and the run can be resumed.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The log cannot be written: nothing more was started.
    #[error("the run log cannot be written, so nothing more was started: {0}")]
    Log(#[source] std::io::Error),
    /// A mistake of ours.
    #[error("an event was refused: {0}")]
    Illegal(#[from] IllegalEvent),
}

/// How a run is told to stop.
#[derive(Debug, Clone, Default)]
pub struct Stop {
    token: CancellationToken,
}

impl Stop {
    /// Asks the run to stop: running steps are stopped, the final ones run.
    pub fn request(&self) {
        self.token.cancel();
    }
}

/// What a run is driven with.
pub struct Parts {
    /// The fold over what the log already holds.
    pub state: RunState,
    /// Every action by name.
    pub registry: Registry,
    /// The ways to the world.
    pub doors: Arc<Doors>,
    /// The door to people.
    pub people: Arc<dyn People>,
    /// Who belongs to which group.
    pub approvers: Approvers,
    /// Whoever watches.
    pub notices: std::sync::mpsc::Sender<Notice>,
    /// The run log.
    pub log: Box<dyn RunLog>,
    /// How the run is told to stop.
    pub stop: Stop,
}

/// Drives one run.
pub struct Embedded {
    parts: Parts,
    /// Events applied and not yet in the log.
    batch: Vec<Recorded>,
    /// Checkpoints whose actions wait for the log.
    unacknowledged: Vec<oneshot::Sender<()>>,
    /// What to begin once the batch is in the log.
    launches: Vec<Launch>,
    tasks: JoinSet<Report>,
    /// What each task is about, in case it panics.
    subjects: BTreeMap<tokio::task::Id, (Subject, AbortHandle)>,
    reports: mpsc::Sender<Report>,
    inbox: mpsc::Receiver<Report>,
    cancels: BTreeMap<StepId, CancellationToken>,
    /// Steps about which people have been asked.
    asked: BTreeMap<StepId, Asked>,
    /// Steps whose doubt a probe looks into.
    probing: BTreeMap<StepId, Asked>,
}

/// Where a question stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    /// No answer yet.
    Pending,
    /// Nobody can answer here.
    InVain,
}

/// Something to begin once its intention is in the log.
enum Launch {
    Attempt(StepId),
    Undo(StepId),
}

/// What a task is about.
#[derive(Debug, Clone)]
enum Subject {
    Attempt(StepId, Attempt),
    Undo(StepId),
    Probe(StepId),
    Question(StepId),
}

impl Embedded {
    /// An engine for one run.
    pub fn new(parts: Parts) -> Self {
        // Only checkpoints come this way, and each waits for its answer: never more than steps at once.
        let (reports, inbox) = mpsc::channel(64);
        Self {
            parts,
            batch: Vec::new(),
            unacknowledged: Vec::new(),
            launches: Vec::new(),
            tasks: JoinSet::new(),
            subjects: BTreeMap::new(),
            reports,
            inbox,
            cancels: BTreeMap::new(),
            asked: BTreeMap::new(),
            probing: BTreeMap::new(),
        }
    }

    /// The state as it is now.
    pub fn state(&self) -> &RunState {
        &self.parts.state
    }

    /// Records `first` (the run's beginning, or its resumption) and drives the run until it ends, or only people or
    /// nobody can take it further.
    pub async fn drive(&mut self, first: Event) -> Result<Ending, EngineError> {
        let ended = self.drive_on(first).await;
        self.stop_tasks().await;
        ended
    }

    /// Whoever spawns, joins: when the log fails, steps may still be running, and dropping a future stops no process.
    async fn stop_tasks(&mut self) {
        self.cancels.values().for_each(CancellationToken::cancel);
        self.inbox.close();
        for (subject, handle) in self.subjects.values() {
            if matches!(subject, Subject::Question(_) | Subject::Probe(_)) {
                handle.abort();
            }
        }
        let _ = tokio::time::timeout(super::attempt::ENDING, async { while self.tasks.join_next().await.is_some() {} })
            .await;
    }

    async fn drive_on(&mut self, first: Event) -> Result<Ending, EngineError> {
        self.record(first)?;
        loop {
            let standing = self.settle()?;
            self.commit()?;
            if let Some(outcome) = self.parts.state.outcome() {
                return Ok(Ending::Finished(outcome));
            }
            self.launch();
            self.attend(&standing);
            if let Some(ending) = self.nobody_left(&standing) {
                return Ok(ending);
            }
            self.wait(&standing).await?;
        }
    }

    /// Takes an event into account; it is in the log after the next commit.
    fn record(&mut self, event: Event) -> Result<(), EngineError> {
        let recorded = Recorded { at: self.parts.doors.clock.now(), event };
        self.parts.state.apply(&recorded)?;
        self.batch.push(recorded);
        Ok(())
    }

    /// Answers every directive that can be answered at once. Returns those that stand until the world answers.
    fn settle(&mut self) -> Result<Vec<Directive>, EngineError> {
        loop {
            let mut standing = Vec::new();
            let before = self.batch.len();
            for directive in decide(&self.parts.state) {
                match directive {
                    Directive::Begin(step) => self.begin(&step)?,
                    Directive::Skip(step, because) => self.record(Event::StepSkipped { step, because })?,
                    Directive::Undo(step) => self.begin_undo(&step)?,
                    Directive::BeginFinally(outcome) => self.record(Event::FinallyBegan { outcome })?,
                    Directive::Finish(outcome) => self.record(Event::RunFinished { outcome })?,
                    Directive::Resolve(step) if self.is_harmless_to_repeat(&step) => {
                        let by = "doing it again is harmless".to_owned();
                        self.record(Event::DoubtResolved { step, doubt: Doubt::Again, by })?;
                    }
                    Directive::Ask(_) | Directive::WakeAt(..) | Directive::Resolve(_) | Directive::Stop(_) => {
                        standing.push(directive);
                    }
                }
            }
            if self.batch.len() == before {
                return Ok(standing);
            }
        }
    }

    /// Writes what was applied to the log, then tells whoever waits or watches.
    fn commit(&mut self) -> Result<(), EngineError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        self.parts.log.append(&self.batch).map_err(EngineError::Log)?;
        for saved in self.unacknowledged.drain(..) {
            // An action that was dropped meanwhile needs no answer.
            let _ = saved.send(());
        }
        for recorded in self.batch.drain(..) {
            let _ = self.parts.notices.send(Notice::Recorded(recorded));
        }
        Ok(())
    }

    fn plan(&self) -> Arc<Plan> {
        Arc::clone(self.parts.state.plan())
    }

    fn is_harmless_to_repeat(&self, id: &StepId) -> bool {
        let plan = self.parts.state.plan();
        plan.place(id).is_some_and(|place| matches!(plan.facts(place).replay, Replay::Safe | Replay::Keyed))
    }

    /// A step's turn has come: skip it, ask about it, decide it, or begin a try.
    fn begin(&mut self, id: &StepId) -> Result<(), EngineError> {
        let now = self.parts.doors.clock.now();
        let event = take_turn(&self.parts.state, id, now, |step, params| self.describe(step, params));
        if matches!(event, Event::AttemptStarted { .. }) {
            self.launches.push(Launch::Attempt(id.clone()));
        }
        self.record(event)
    }

    fn describe(&self, step: &Step, params: &Value) -> Vec<Intent> {
        let Does::Action { uses, .. } = &step.does else { return Vec::new() };
        let mut does = self.parts.registry.get(uses).and_then(|action| action.describe(params)).unwrap_or_default();
        does.iter_mut().for_each(show_secrets);
        does
    }

    fn begin_undo(&mut self, id: &StepId) -> Result<(), EngineError> {
        let plan = self.plan();
        let step = written(&plan, id);
        let in_doubt = self.parts.state.record(id).is_some_and(|record| record.undo == Some(UndoState::InDoubt));
        let params = Rendering::new(&self.parts.state, id, self.parts.doors.clock.now())
            .map_or(Ok(None), |rendering| rendering.undo_params());
        self.record(Event::UndoStarted { step: id.clone(), params: params.as_ref().ok().cloned().flatten() })?;
        let refusal = match (&step.undo, params) {
            (_, Err(error)) => Some(ActionError::from(error)),
            (Some(Undo::Action { uses, .. }), Ok(_)) if in_doubt && !self.is_repeatable(uses) => {
                let reason = "its undo was under way when the process died, and must not be done twice";
                Some(ActionError::new(ErrorKind::Failed, reason))
            }
            _ => None,
        };
        match refusal {
            Some(error) => self.record(Event::UndoFinished { step: id.clone(), result: UndoResult::Failed { error } }),
            None => {
                self.launches.push(Launch::Undo(id.clone()));
                Ok(())
            }
        }
    }

    fn is_repeatable(&self, action: &str) -> bool {
        let contract = self.parts.registry.get(action).map(|action| action.contract());
        contract.is_some_and(|contract| matches!(contract.replay, Replay::Safe | Replay::Keyed))
    }

    /// Waits for the next thing to happen, and takes everything that has happened by then.
    async fn wait(&mut self, standing: &[Directive]) -> Result<(), EngineError> {
        let timer = standing.iter().find_map(|directive| match directive {
            Directive::WakeAt(at, timer) => Some((*at, timer.clone())),
            _ => None,
        });
        let clock = Arc::clone(&self.parts.doors.clock);
        let due = async {
            match &timer {
                Some((at, _)) => clock.sleep_until(*at).await,
                None => std::future::pending().await,
            }
        };
        let stopping = self.parts.state.is_cancelled();
        let mut finished = None;
        let mut checkpoint = None;
        let mut fired = None;
        let mut stop = false;
        tokio::select! {
            biased;
            () = self.parts.stop.token.cancelled(), if !stopping => stop = true,
            Some(report) = self.inbox.recv() => checkpoint = Some(report),
            Some(joined) = self.tasks.join_next_with_id() => finished = Some(joined),
            () = due => fired = timer.map(|(_, timer)| timer),
        }
        if stop {
            self.record(Event::CancelRequested { by: "a signal".to_owned() })?;
            return Ok(());
        }
        if let Some(timer) = fired {
            return self.record(Event::TimerFired { timer });
        }
        // Everything that is there already shares one commit.
        while let Some(report) = checkpoint.take().or_else(|| self.inbox.try_recv().ok()) {
            self.take(report)?;
        }
        while let Some(joined) = finished.take().or_else(|| self.tasks.try_join_next_with_id()) {
            let report = self.report_of(joined);
            self.take(report)?;
        }
        Ok(())
    }

    /// Takes a report into account. Late ones, about what is already settled, change nothing.
    fn take(&mut self, report: Report) -> Result<(), EngineError> {
        match report {
            Report::Checkpoint { step, attempt, mut value, saved } => {
                disarm_json(&mut value);
                self.record(Event::Checkpoint { step, attempt, value })?;
                self.unacknowledged.push(saved);
                Ok(())
            }
            Report::Finished { step, attempt, result } => self.finish_attempt(step, attempt, result),
            Report::Undone { step, result } => {
                let result = match result {
                    Ok(undone) => UndoResult::Undone { undone },
                    Err(error) => UndoResult::Failed { error: self.masked(error) },
                };
                self.record(Event::UndoFinished { step, result })
            }
            Report::Probed { step, found } => {
                let by = "a probe".to_owned();
                match found {
                    Ok(Probed::Happened(mut outputs)) => {
                        self.clean(&mut outputs);
                        self.record(Event::DoubtResolved { step, doubt: Doubt::Happened { outputs }, by })
                    }
                    Ok(Probed::DidNotHappen) => self.record(Event::DoubtResolved { step, doubt: Doubt::Again, by }),
                    Ok(Probed::Unknown) | Err(_) => {
                        self.probing.insert(step, Asked::InVain);
                        Ok(())
                    }
                }
            }
            Report::Replied { step, reply } => self.take_reply(step, reply),
        }
    }

    fn finish_attempt(
        &mut self,
        step: StepId,
        attempt: Attempt,
        result: Result<Value, ActionError>,
    ) -> Result<(), EngineError> {
        self.cancels.remove(&step);
        let now = self.parts.doors.clock.now();
        let result = match result {
            Ok(mut outputs) => {
                self.clean(&mut outputs);
                AttemptResult::Succeeded { outputs }
            }
            Err(error) => AttemptResult::Failed { error: self.masked(error) },
        };
        let began = self.parts.state.record(&step).and_then(|record| record.started_at).unwrap_or(now);
        let (result, met) = match &result {
            AttemptResult::Succeeded { outputs } => {
                let rendering = Rendering::new(&self.parts.state, &step, now);
                match rendering.map_or(Ok(None), |rendering| rendering.until_holds(outputs)) {
                    Ok(met) => (result, met),
                    Err(error) => (AttemptResult::Failed { error: error.into() }, None),
                }
            }
            AttemptResult::Failed { .. } => (result, None),
        };
        let entropy = u64::try_from(now.as_nanosecond().unsigned_abs() % 1_000_000_007).unwrap_or(0);
        let plan = self.plan();
        let (result, next) = after_attempt(written(&plan, &step), attempt, result, met, (began, now), entropy);
        self.record(Event::AttemptFinished { step, attempt, result, next })
    }

    /// What comes from outside: no reference to a secret may hide in it, and no secret may stand in it.
    fn clean(&self, value: &mut Value) {
        disarm_json(value);
        self.parts.doors.secrets.redactor().mask_json(value);
    }

    fn masked(&self, mut error: ActionError) -> ActionError {
        error.message = self.parts.doors.secrets.redactor().mask(&error.message).into_owned();
        if let Some(outputs) = error.outputs.as_deref_mut() {
            disarm_json(outputs);
            self.parts.doors.secrets.redactor().mask_json(outputs);
        }
        error
    }
}

/// The step as it was written.
fn written<'p>(plan: &'p Plan, id: &StepId) -> &'p Step {
    plan.runbook().step(id).expect("directives name steps of the plan")
}
