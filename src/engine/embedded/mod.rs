//! The engine in this process: decide, record, act, wait; one loop, one writer.

mod launch;
mod letters;
mod questions;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::attempt::Report;
use super::{Approvers, Locks, Notice, People};
use crate::action::{ActionError, Doors, Effect, ErrorKind, Intent, Registry, Replay};
use crate::base::secret::disarm_json;
use crate::base::{Attempt, StepPath};
use crate::run::{
    AttemptResult, Directive, Doubt, Event, IllegalEvent, Kept, Outcome, Recorded, Rendering, RunState, Tried,
    UndoResult, UndoState, after_attempt, after_undo, decide, returned, take_turn,
};
use crate::runbook::{Step, Undo};
use crate::runlog::{Inbox, RunLog};

/// How a drive of a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// The run is over.
    Finished(Outcome),
    /// Only people can take it further, and none can be asked here.
    Waiting(Vec<StepPath>),
    /// Steps are in doubt, and nobody can be asked here.
    InDoubt(Vec<StepPath>),
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
    /// What only one run at a time may hold.
    pub locks: Arc<dyn Locks>,
    /// Whoever watches.
    pub notices: std::sync::mpsc::Sender<Notice>,
    /// What other processes want of this one.
    pub inbox: Option<Inbox>,
    /// How the run is told to stop.
    pub stop: Stop,
}

/// Drives one run.
pub struct Embedded {
    parts: Parts,
    /// The run log, except while it is being written.
    log: Option<Box<dyn RunLog>>,
    /// Events applied and not yet in the log.
    batch: Vec<Recorded>,
    /// Checkpoints whose actions wait for the log.
    unacknowledged: Vec<oneshot::Sender<()>>,
    /// Letters that have been read.
    read: BTreeSet<String>,
    /// Letters that are answered once the batch is in the log; with the reason when one is refused.
    answered: Vec<(String, Option<String>)>,
    /// When to look for letters.
    looks: Option<tokio::time::Interval>,
    /// What to begin once the batch is in the log.
    launches: Vec<Launch>,
    tasks: JoinSet<Report>,
    /// What each task is about, in case it panics.
    subjects: BTreeMap<tokio::task::Id, (Subject, AbortHandle)>,
    reports: mpsc::Sender<Report>,
    incoming: mpsc::Receiver<Report>,
    cancels: BTreeMap<StepPath, CancellationToken>,
    /// Steps about which people have been asked.
    asked: BTreeMap<StepPath, Asked>,
    /// Steps whose doubt a probe looks into.
    probing: BTreeMap<StepPath, Asked>,
    /// Steps that cannot begin before a secret is there which is being fetched.
    supplying: BTreeMap<StepPath, AbortHandle>,
    /// Secrets that a person typed.
    typed: Arc<Mutex<BTreeSet<String>>>,
    /// Held by whoever fetches a secret.
    fetching: Arc<tokio::sync::Mutex<()>>,
}

/// Where a question stands.
#[derive(Debug, Clone)]
enum Asked {
    /// No answer yet; by this the question can be taken back.
    Pending(AbortHandle),
    /// Nobody can answer here.
    InVain,
}

/// Something to begin once its intention is in the log.
enum Launch {
    Attempt(StepPath),
    Undo(StepPath),
}

/// What a task is about.
#[derive(Debug, Clone)]
enum Subject {
    Attempt(StepPath, Attempt),
    Undo(StepPath),
    Probe(StepPath),
    Supply(StepPath),
    Question,
}

impl Embedded {
    /// An engine for one run.
    pub fn new(parts: Parts, log: Box<dyn RunLog>) -> Self {
        // Only checkpoints come this way, and each waits for its answer: never more than steps at once.
        let (reports, incoming) = mpsc::channel(64);
        Self {
            parts,
            log: Some(log),
            batch: Vec::new(),
            unacknowledged: Vec::new(),
            read: BTreeSet::new(),
            answered: Vec::new(),
            looks: None,
            launches: Vec::new(),
            tasks: JoinSet::new(),
            subjects: BTreeMap::new(),
            reports,
            incoming,
            cancels: BTreeMap::new(),
            asked: BTreeMap::new(),
            probing: BTreeMap::new(),
            supplying: BTreeMap::new(),
            typed: Arc::default(),
            fetching: Arc::default(),
        }
    }

    /// The state as it is now.
    pub fn state(&self) -> &RunState {
        &self.parts.state
    }

    /// The state as it was left; everything else is given back.
    pub fn into_state(self) -> RunState {
        self.parts.state
    }

    /// Records `first` (the run's beginning or its resumption, and what was wished for with it) and drives the run until
    /// it ends, or only people or nobody can take it further.
    pub async fn drive(&mut self, first: Vec<Event>) -> Result<Ending, EngineError> {
        let ended = self.drive_on(first).await;
        self.stop_tasks().await;
        ended
    }

    /// Whoever spawns, joins: when the log fails, steps may still be running, and dropping a future stops no process.
    async fn stop_tasks(&mut self) {
        self.cancels.values().for_each(CancellationToken::cancel);
        self.incoming.close();
        for (subject, handle) in self.subjects.values() {
            if matches!(subject, Subject::Question | Subject::Probe(_) | Subject::Supply(_)) {
                handle.abort();
            }
        }
        let _ = tokio::time::timeout(super::attempt::ENDING, async { while self.tasks.join_next().await.is_some() {} })
            .await;
    }

    async fn drive_on(&mut self, first: Vec<Event>) -> Result<Ending, EngineError> {
        first.into_iter().try_for_each(|event| self.record(event))?;
        // What was left while nobody led the run comes before anybody is asked.
        self.read_letters()?;
        loop {
            let standing = self.settle()?;
            self.commit().await?;
            if let Some(outcome) = self.parts.state.outcome() {
                self.refuse_letters();
                return Ok(Ending::Finished(outcome));
            }
            self.launch();
            self.attend(&standing);
            if let Some(ending) = self.nobody_left(&standing) {
                // Whoever could take it further may just have written.
                self.read_letters()?;
                if self.answered.is_empty() {
                    return Ok(ending);
                }
                continue;
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
                if let Some(standing_on) = self.carry_out(directive)? {
                    standing.push(standing_on);
                }
                // It may have stopped the run: what was decided before it is out of date.
                if self.batch[before..].last().is_some_and(|recorded| recorded.event.may_halt()) {
                    break;
                }
            }
            if self.batch.len() == before {
                return Ok(standing);
            }
        }
    }

    /// Answers a directive, or gives it back when only the world can.
    fn carry_out(&mut self, directive: Directive) -> Result<Option<Directive>, EngineError> {
        match directive {
            Directive::Begin(step) => {
                if !self.begin(&step)? {
                    return Ok(Some(Directive::Begin(step)));
                }
            }
            Directive::Skip(step, because) => self.record(Event::StepSkipped { step, because })?,
            Directive::Return(step) => {
                let result = returned(&self.parts.state, &step, self.parts.doors.clock.now());
                self.record(Event::StepReturned { step, result })?;
            }
            Directive::BeginRollback(within, steps, because) => {
                self.record(Event::RollbackBegan { within, steps, because })?;
            }
            Directive::Undo(step) => self.begin_undo(&step)?,
            Directive::BeginFinally(within, outcome) => self.record(Event::FinallyBegan { outcome, within })?,
            Directive::Finish(outcome) => self.record(Event::RunFinished { outcome })?,
            Directive::Resolve(step) => {
                if let Some((doubt, by)) = self.resolved_without_asking(&step) {
                    let by = by.to_owned();
                    self.record(Event::DoubtResolved { step, doubt, by, undo: false })?;
                } else {
                    if !self.can_probe(&step) {
                        self.ask_about_doubt(&step, false)?;
                    }
                    return Ok(Some(Directive::Resolve(step)));
                }
            }
            Directive::ResolveUndo(step) => {
                if !self.can_verify(&step) {
                    self.ask_about_doubt(&step, true)?;
                }
                return Ok(Some(Directive::ResolveUndo(step)));
            }
            Directive::Ask(_) | Directive::WakeAt(..) | Directive::Stop(_) => return Ok(Some(directive)),
        }
        Ok(None)
    }

    /// Writes what was applied to the log, then tells whoever waits or watches.
    async fn commit(&mut self) -> Result<(), EngineError> {
        if !self.batch.is_empty() {
            self.append().await.map_err(EngineError::Log)?;
        }
        for saved in self.unacknowledged.drain(..) {
            // An action that was dropped meanwhile needs no answer.
            let _ = saved.send(());
        }
        for (letter, refused) in self.answered.drain(..) {
            let Some(inbox) = &self.parts.inbox else { continue };
            match refused {
                // One that stays is not read again here, and the next process finds what it wants in the log.
                None => drop(inbox.remove(&letter)),
                Some(reason) => inbox.refuse(&letter, &reason),
            }
        }
        for recorded in self.batch.drain(..) {
            let _ = self.parts.notices.send(Notice::Recorded(recorded));
        }
        Ok(())
    }

    /// Appends the batch. While the disk takes its time, tries that are under way go on: what ends meanwhile shares the
    /// next commit. Nothing new begins before this has returned.
    async fn append(&mut self) -> std::io::Result<()> {
        let lost = || std::io::Error::other("the thread that writes the run log was lost");
        let mut log = self.log.take().ok_or_else(lost)?;
        if self.tasks.is_empty() {
            let result = log.append(&self.batch);
            self.log = Some(log);
            return result;
        }
        let batch = std::mem::take(&mut self.batch);
        let writing = tokio::task::spawn_blocking(move || {
            let result = log.append(&batch);
            (log, batch, result)
        });
        let (log, batch, result) = writing.await.map_err(|_| lost())?;
        (self.log, self.batch) = (Some(log), batch);
        result
    }

    /// The step as it was written.
    fn written(&self, path: &StepPath) -> &Step {
        self.parts.state.step(path).expect("directives name steps of the run")
    }

    /// What is known of a doubt without asking anybody: doing it again is harmless.
    fn resolved_without_asking(&self, path: &StepPath) -> Option<(Doubt, &'static str)> {
        let facts = self.parts.state.facts(path)?;
        if !matches!(facts.replay, Replay::Safe | Replay::Keyed) {
            return None;
        }
        if facts.effect == Effect::Read && self.parts.state.is_halted(path) {
            return Some((Doubt::DidNotHappen, "it only looks, and nothing waits for what it sees"));
        }
        Some((Doubt::Again, "doing it again is harmless"))
    }

    /// A step's turn has come: skip it, ask about it, decide it, go into it, or begin a try. Not yet when it waits for a
    /// secret.
    fn begin(&mut self, path: &StepPath) -> Result<bool, EngineError> {
        let now = self.parts.doors.clock.now();
        let mut event = take_turn(&self.parts.state, path, now, |step, params| self.describe(step, params));
        if let Event::CallBegan { step, locks, .. } = &mut event {
            match self.called_locks(&step.clone(), now) {
                Ok(held) => *locks = held,
                Err(error) => event = Event::StepFailed { step: step.clone(), error },
            }
        }
        if let Event::AttemptStarted { params, .. } = &event {
            let recorded = || self.parts.state.record(path).and_then(|record| record.params.as_ref()).map(Kept::value);
            let params = params.clone().or_else(recorded).unwrap_or_default();
            if !self.is_supplied(path, &params) {
                return Ok(false);
            }
            self.launches.push(Launch::Attempt(path.clone()));
        }
        self.record(event)?;
        Ok(true)
    }

    /// Takes the locks of the runbook that a step is about to call.
    fn called_locks(&self, path: &StepPath, now: crate::base::Timestamp) -> Result<Vec<crate::run::Held>, ActionError> {
        let state = &self.parts.state;
        let (Some((plan, place)), Some(run)) = (state.plan_of(path), state.run()) else { return Ok(Vec::new()) };
        let Some(rendering) = Rendering::new(state, path, now) else { return Ok(Vec::new()) };
        let Some(Ok(called)) = plan.called(place, &rendering.call_inputs()?) else { return Ok(Vec::new()) };
        let names = crate::plan::lock_names(&called)
            .map_err(|error| ActionError::new(ErrorKind::Template, format!("`locks`: {error}")))?;
        let mut held = Vec::new();
        for lock in names {
            held.push(self.parts.locks.take(run, &lock.name).map_err(|reason| {
                let mut error = ActionError::new(ErrorKind::Failed, reason);
                error.code = Some("locked".to_owned());
                error
            })?);
        }
        Ok(held)
    }

    fn describe(&self, step: &Step, params: &Value) -> Vec<Intent> {
        super::describe(&self.parts.registry, step, params)
    }

    fn begin_undo(&mut self, path: &StepPath) -> Result<(), EngineError> {
        let now = self.parts.doors.clock.now();
        let Some(record) = self.parts.state.record(path) else { return Ok(()) };
        let attempt = Attempt(record.undo_attempts + 1);
        let params = match &record.undo_params {
            // Later tries use what the first one was given.
            Some(_) => Ok(None),
            None => Rendering::new(&self.parts.state, path, now).map_or(Ok(None), |rendering| rendering.undo_params()),
        };
        let rendered = params.as_ref().ok().cloned().flatten();
        self.record(Event::UndoStarted { step: path.clone(), attempt, params: rendered })?;
        match params {
            Err(error) => self.finish_undo(path.clone(), Err(error.into())),
            Ok(_) => {
                self.launches.push(Launch::Undo(path.clone()));
                Ok(())
            }
        }
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
        let letters = letters::letters_due(self.parts.inbox.as_ref(), &mut self.looks);
        let mut finished = None;
        let mut checkpoint = None;
        let mut fired = None;
        let mut stop = false;
        tokio::select! {
            biased;
            () = self.parts.stop.token.cancelled(), if !stopping => stop = true,
            () = letters => return self.read_letters(),
            Some(report) = self.incoming.recv() => checkpoint = Some(report),
            Some(joined) = self.tasks.join_next_with_id() => finished = Some(joined),
            () = due => fired = timer.map(|(_, timer)| timer),
        }
        if stop {
            return self.record(Event::CancelRequested { by: "a signal".to_owned(), reason: None });
        }
        if let Some(timer) = fired {
            return self.record(Event::TimerFired { timer });
        }
        // Everything that is there already shares one commit.
        while let Some(report) = checkpoint.take().or_else(|| self.incoming.try_recv().ok()) {
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
            Report::Undone { step, result } => self.finish_undo(step, result),
            Report::Probed { step, found } => self.take_probe(step, found),
            Report::Verified { step, holds } => self.take_verification(step, holds),
            Report::Replied { step, reply } => self.take_reply(step, reply),
            Report::Supplied { step, result } => self.take_supply(step, result),
            Report::Withdrawn => Ok(()),
        }
    }

    fn finish_attempt(
        &mut self,
        step: StepPath,
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
        if matches!(&result, AttemptResult::Failed { error } if error.kind == ErrorKind::Unauthorized) {
            self.distrust_typed(&step);
        }
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
        let Some(tried) = self.tried(&step, attempt, now) else { return Ok(()) };
        let (result, next) = after_attempt(&tried, result, met);
        self.record(Event::AttemptFinished { step, attempt, result, next, met })
    }

    fn tried(&self, step: &StepPath, attempt: Attempt, now: crate::base::Timestamp) -> Option<Tried<'_>> {
        let state = &self.parts.state;
        Some(Tried {
            step: state.step(step)?,
            facts: state.facts(step)?,
            attempt,
            began: state.record(step)?.started_at.unwrap_or(now),
            now,
            entropy: u64::try_from(now.as_nanosecond().unsigned_abs() % 1_000_000_007).unwrap_or(0),
            is_out_of_time: state.is_out_of_time(step),
        })
    }

    fn finish_undo(
        &mut self,
        step: StepPath,
        result: Result<crate::action::Undone, ActionError>,
    ) -> Result<(), EngineError> {
        self.cancels.remove(&step);
        let Some(record) = self.parts.state.record(&step) else { return Ok(()) };
        if record.undo != Some(UndoState::Running) {
            return Ok(());
        }
        let attempt = Attempt(record.undo_attempts);
        let now = self.parts.doors.clock.now();
        let (result, next) = match result {
            Ok(undone) => (UndoResult::Undone { undone }, crate::run::Next::End),
            Err(error) => {
                let error = self.masked(error);
                let next =
                    self.tried(&step, attempt, now).map_or_else(Default::default, |tried| after_undo(&tried, &error));
                (UndoResult::Failed { error }, next)
            }
        };
        self.record(Event::UndoFinished { step, result, next })
    }

    /// What comes from outside: no reference to a secret may hide in it, and no secret may stand in it.
    fn clean(&self, value: &mut Value) {
        disarm_json(value);
        self.parts.doors.secrets.redactor().mask_json(value);
    }

    fn masked(&self, mut error: ActionError) -> ActionError {
        error.message = self.parts.doors.secrets.redactor().mask(&error.message).into_owned();
        if let Some(outputs) = error.outputs.as_deref_mut() {
            self.clean(outputs);
        }
        error
    }

    /// Is the undo of this step followed by a look whether it worked?
    fn can_verify(&self, path: &StepPath) -> bool {
        let verified = matches!(self.written(path).undo, Some(Undo::Action { verify: Some(_), .. }));
        verified && !matches!(self.probing.get(path), Some(Asked::InVain))
    }

    /// Can a probe find out what became of this step, and has none done so in vain?
    fn can_probe(&self, path: &StepPath) -> bool {
        let by_probe = self.parts.state.facts(path).is_some_and(|facts| facts.replay == Replay::Probe);
        by_probe && !matches!(self.probing.get(path), Some(Asked::InVain))
    }
}
