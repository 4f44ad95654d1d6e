//! The engine in this process: decide, record, act, wait; one loop, one writer.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::attempt::{Report, Try};
use super::people::check_answers;
use super::{Approvers, Notice, People, Question, Reply};
use crate::action::{
    ActionError, AnyAction, Done, Doors, ErrorKind, Intent, Probed, Registry, Replay, Target, Undone,
};
use crate::base::secret::disarm_json;
use crate::base::{Attempt, StepId, clock};
use crate::plan::show_secrets;
use crate::run::{
    AttemptResult, Cause, Directive, Doubt, Event, IllegalEvent, ManualResult, Outcome, Recorded, Rendering, RunState,
    StepState, Timer, UndoResult, UndoState, after_attempt, decide,
};
use crate::runbook::{Does, OnTimeout, Step, Undo};
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

/// Drives one run.
pub struct Embedded {
    registry: Registry,
    doors: Arc<Doors>,
    people: Arc<dyn People>,
    approvers: Approvers,
    notices: std::sync::mpsc::Sender<Notice>,
    log: Box<dyn RunLog>,
    state: RunState,
    /// Events applied and not yet in the log.
    batch: Vec<Recorded>,
    /// Checkpoints whose actions wait for the log.
    acknowledge: Vec<oneshot::Sender<()>>,
    /// What to begin once the batch is in the log.
    launches: Vec<Launch>,
    tasks: JoinSet<Report>,
    /// What each task is about, in case it panics.
    task_of: BTreeMap<tokio::task::Id, Task>,
    reports: mpsc::Sender<Report>,
    cancels: BTreeMap<StepId, CancellationToken>,
    /// Steps whose question has been put to people, and whether nobody could be asked.
    asked: BTreeMap<StepId, bool>,
    resolving: BTreeMap<StepId, bool>,
    stop: Stop,
    stopping: bool,
}

enum Launch {
    Attempt(StepId, Attempt),
    Undo(StepId),
}

#[derive(Debug, Clone)]
enum Task {
    Attempt(StepId, Attempt),
    Undo(StepId),
    Probe(StepId),
    Question(StepId),
}

impl Embedded {
    /// An engine for a run in `state`, which is the fold over what `log` already holds. The receiving end of checkpoints
    /// is returned to [`Self::drive`].
    #[expect(clippy::too_many_arguments, reason = "each is one door or one part of the run, given once")]
    pub fn new(
        state: RunState,
        registry: Registry,
        doors: Arc<Doors>,
        people: Arc<dyn People>,
        approvers: Approvers,
        notices: std::sync::mpsc::Sender<Notice>,
        log: Box<dyn RunLog>,
        stop: Stop,
    ) -> (Self, mpsc::Receiver<Report>) {
        // A task that reports waits when the driver is busy; there are never more tasks than steps running at once.
        let (reports, inbox) = mpsc::channel(64);
        let engine = Self {
            registry,
            doors,
            people,
            approvers,
            notices,
            log,
            state,
            batch: Vec::new(),
            acknowledge: Vec::new(),
            launches: Vec::new(),
            tasks: JoinSet::new(),
            task_of: BTreeMap::new(),
            reports,
            cancels: BTreeMap::new(),
            asked: BTreeMap::new(),
            resolving: BTreeMap::new(),
            stop,
            stopping: false,
        };
        (engine, inbox)
    }
}
