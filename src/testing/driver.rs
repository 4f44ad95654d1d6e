//! Plays a case: answers directives as an engine does, under a clock that moves only when nothing else can happen.
//!
//! No task, no disk, no network, no process. What follows from what is decided in `run` alone, as in a real run; here
//! stands only what an engine does for each directive, with canned results in the place of the world.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::document::{Doubt as CannedDoubt, Script};
use super::tries::Coming;
use crate::action::{ActionError, Effect, ErrorKind, Registry, Replay};
use crate::base::secret::disarm_json;
use crate::base::{Attempt, RunId, StepPath, Timestamp, clock};
use crate::engine::{Approvers, describe, describe_doubtful};
use crate::plan::{Plan, lock_names};
use crate::run::{
    AttemptResult, Directive, Doubt, Event, Held, IllegalEvent, Limits, Next, Outcome, Recorded, Rendering, RunState,
    StepState, Timer, Tried, UndoResult, UndoState, after_attempt, after_undo, decide, returned, take_turn,
};
use crate::runbook::Undo;

/// How many steps run at once: as on a machine with one core.
const LIMITS: Limits = Limits { io: 8, processes: 2 };
/// More events than this come of a runbook that does not end.
const MOST_EVENTS: usize = 100_000;

/// How a run ended, or why it went no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It is over.
    Over(Outcome),
    /// It waits for a person.
    Waiting,
    /// Something is in doubt, and nobody can say what became of it.
    InDoubt,
}

impl Ended {
    /// The words for it, in the order of [`Self::ALL`].
    pub const WORDS: [&'static str; 8] =
        ["succeeded", "failed", "rolled_back", "stuck", "cancelled", "rejected", "waiting", "in_doubt"];
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Over(Outcome::Succeeded),
        Self::Over(Outcome::Failed),
        Self::Over(Outcome::RolledBack),
        Self::Over(Outcome::Stuck),
        Self::Over(Outcome::Cancelled),
        Self::Over(Outcome::Rejected),
        Self::Waiting,
        Self::InDoubt,
    ];

    /// The word in a test file.
    pub fn word(self) -> &'static str {
        match self {
            Self::Over(outcome) => outcome.word(),
            Self::Waiting => "waiting",
            Self::InDoubt => "in_doubt",
        }
    }

    /// The code that `runbook run` ends with.
    pub fn exit(self) -> u8 {
        match self {
            Self::Over(Outcome::Succeeded) => 0,
            Self::Over(Outcome::Failed) => 1,
            Self::Waiting => 4,
            Self::Over(Outcome::RolledBack) => 5,
            Self::Over(Outcome::Stuck) | Self::InDoubt => 6,
            Self::Over(Outcome::Cancelled) => 7,
            Self::Over(Outcome::Rejected) => 8,
        }
    }
}

/// Why a case could not be played to its end: it says nothing of something that happened in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// A step ran.
    #[error("step `{0}` ran, and the case says nothing of it")]
    NoAnswer(StepPath),
    /// A gate opened.
    #[error("the gate of `{step}` opened, and the case says nothing of it: {prompt}")]
    NoVoice {
        /// The step.
        step: StepPath,
        /// The question.
        prompt: String,
    },
    /// A person was asked to do something.
    #[error("a person was asked to do `{0}`, and the case says nothing of it")]
    NoHand(StepPath),
    /// A step was undone.
    #[error("step `{0}` was undone, and the case says nothing of how that goes")]
    NoUndo(StepPath),
    /// The look after an undo was made.
    #[error("after the undo of `{0}` somebody looks, and the case says nothing of what they find")]
    NoLook(StepPath),
    /// Something is in doubt.
    #[error("nobody saw how {} `{step}` ended, and the case says nothing of what became of it", if *.undo { "the undo of" } else { "" })]
    NoTruth {
        /// The step.
        step: StepPath,
        /// Is it the undo?
        undo: bool,
    },
    /// It does not end.
    #[error("the run does not come to an end: {MOST_EVENTS} things have happened in it")]
    Endless,
    /// Nothing is under way, and nothing will ever happen.
    #[error("nothing would ever happen again; please report this")]
    Stalled,
    /// A mistake of ours.
    #[error("{0}; please report this")]
    Illegal(#[from] IllegalEvent),
}

/// What a case is played with: the same for all cases of a file.
pub struct Surroundings<'s> {
    /// Every action by name.
    pub registry: &'s Registry,
    /// Who belongs to which group.
    pub approvers: &'s Approvers,
    /// The text of a report's template, by the name a runbook gives it.
    pub template: &'s dyn Fn(&str) -> Result<String, String>,
}

/// What came of playing a case.
#[derive(Debug)]
pub struct Played {
    /// What happened.
    pub log: Vec<Recorded>,
    /// Where that leads.
    pub state: RunState,
    /// How it ended, or why it could not be played to its end.
    pub ended: Result<Ended, Broken>,
    /// Answers that were not taken: when, where, whose, and why.
    pub refused: Vec<Refused>,
    /// The report that was written last.
    pub report: Option<String>,
}

/// An answer that was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// When.
    pub at: Timestamp,
    /// The step.
    pub step: StepPath,
    /// Whose.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// Plays a case with the plan that its inputs give.
pub fn play(plan: &Arc<Plan>, script: &Script, around: &Surroundings<'_>) -> Played {
    let mut driver = Driver::new(plan, script, around);
    let ended = driver.play();
    let Driver { log, state, refused, report, .. } = driver;
    Played { log, state, ended, refused, report }
}

/// A run, and what is under way in it.
pub(super) struct Driver<'d> {
    pub(super) script: &'d Script,
    pub(super) around: &'d Surroundings<'d>,
    pub(super) state: RunState,
    pub(super) log: Vec<Recorded>,
    pub(super) now: Timestamp,
    /// What the world is going to say, by time and then as it began.
    pub(super) coming: BTreeMap<(Timestamp, u64), Coming>,
    pub(super) launches: Vec<Launch>,
    /// How many answers each step has had.
    pub(super) given: BTreeMap<StepPath, u32>,
    /// How many answers the undo of each step has had.
    pub(super) undone: BTreeMap<StepPath, u32>,
    /// What is known of tries whose end nobody saw.
    pub(super) doubts: BTreeMap<StepPath, CannedDoubt>,
    /// Steps about which people have been asked, with how many answers are still to come.
    pub(super) asked: BTreeMap<StepPath, usize>,
    /// Doubts into which a probe or a look has looked in vain, and those into which one looks now.
    pub(super) probed: BTreeMap<StepPath, Look>,
    pub(super) refused: Vec<Refused>,
    pub(super) report: Option<String>,
    begun: u64,
}

/// Where a look into a doubt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    UnderWay,
    InVain,
}

/// Something to begin once its intention is in the log.
#[derive(Debug, Clone)]
pub(super) enum Launch {
    Attempt(StepPath),
    Undo(StepPath),
}

impl<'d> Driver<'d> {
    fn new(plan: &Arc<Plan>, script: &'d Script, around: &'d Surroundings<'d>) -> Self {
        Self {
            script,
            around,
            state: RunState::new(Arc::clone(plan)),
            log: Vec::new(),
            now: script.starts,
            coming: BTreeMap::new(),
            launches: Vec::new(),
            given: BTreeMap::new(),
            undone: BTreeMap::new(),
            doubts: BTreeMap::new(),
            asked: BTreeMap::new(),
            probed: BTreeMap::new(),
            refused: Vec::new(),
            report: None,
            begun: 0,
        }
    }

    fn play(&mut self) -> Result<Ended, Broken> {
        let plan = Arc::clone(self.state.plan());
        self.record(Event::RunStarted {
            run: RunId::new(self.script.starts, 0),
            runbook: plan.runbook().name.to_string(),
            plan: plan.digest().clone(),
            by: self.script.by.clone(),
            drill: None,
            limits: LIMITS,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            locks: self.held(&plan).unwrap_or_default(),
        })?;
        if let Some(stop) = &self.script.stop {
            self.comes_after(stop.after, Coming::Stop);
        }
        loop {
            let standing = self.settle()?;
            if let Some(outcome) = self.state.outcome() {
                return Ok(Ended::Over(outcome));
            }
            for launch in std::mem::take(&mut self.launches) {
                match launch {
                    Launch::Attempt(step) => self.launch_attempt(&step)?,
                    Launch::Undo(step) => self.launch_undo(&step)?,
                }
            }
            self.attend(&standing)?;
            if let Some(ended) = self.nobody_left(&standing) {
                return Ok(ended);
            }
            self.wait(&standing)?;
        }
    }

    /// Takes an event into account.
    pub(super) fn record(&mut self, event: Event) -> Result<(), Broken> {
        if self.log.len() >= MOST_EVENTS {
            return Err(Broken::Endless);
        }
        let recorded = Recorded { at: self.now, event };
        self.state.apply(&recorded)?;
        self.log.push(recorded);
        Ok(())
    }

    /// Something will happen after a while.
    pub(super) fn comes_after(&mut self, after: std::time::Duration, coming: Coming) {
        self.begun += 1;
        self.coming.insert((clock::after(self.now, after), self.begun), coming);
    }

    /// Answers every directive that can be answered at once. Returns those that stand until the world answers.
    fn settle(&mut self) -> Result<Vec<Directive>, Broken> {
        loop {
            let mut standing = Vec::new();
            let before = self.log.len();
            for directive in decide(&self.state) {
                if let Some(stands) = self.carry_out(directive)? {
                    standing.push(stands);
                }
                // It may have stopped the run: what was decided before it is out of date.
                if self.log[before..].last().is_some_and(|recorded| recorded.event.may_halt()) {
                    break;
                }
            }
            if self.log.len() == before {
                return Ok(standing);
            }
        }
    }

    /// Answers a directive, or gives it back when only the world can.
    fn carry_out(&mut self, directive: Directive) -> Result<Option<Directive>, Broken> {
        match directive {
            Directive::Begin(step) => self.begin(&step)?,
            Directive::Skip(step, because) => self.record(Event::StepSkipped { step, because })?,
            Directive::Return(step) => {
                let result = returned(&self.state, &step, self.now);
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
                    self.record(Event::DoubtResolved { step, doubt, by: by.to_owned(), undo: false })?;
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

    /// What is known of a doubt without asking anybody: doing it again is harmless.
    fn resolved_without_asking(&self, path: &StepPath) -> Option<(Doubt, &'static str)> {
        let facts = self.state.facts(path)?;
        if !matches!(facts.replay, Replay::Safe | Replay::Keyed) {
            return None;
        }
        if facts.effect == Effect::Read && self.state.is_halted(path) {
            return Some((Doubt::DidNotHappen, "it only looks, and nothing waits for what it sees"));
        }
        Some((Doubt::Again, "doing it again is harmless"))
    }

    fn ask_about_doubt(&mut self, path: &StepPath, undo: bool) -> Result<(), Broken> {
        let (Some(record), Some(step)) = (self.state.record(path), self.state.step(path)) else { return Ok(()) };
        if record.doubt_asked {
            return Ok(());
        }
        let does = describe_doubtful(self.around.registry, step, record, undo);
        self.record(Event::DoubtAsked { step: path.clone(), does, undo })
    }

    /// A step's turn has come.
    fn begin(&mut self, path: &StepPath) -> Result<(), Broken> {
        let registry = self.around.registry;
        let mut event = take_turn(&self.state, path, self.now, |step, params| describe(registry, step, params));
        if let Event::CallBegan { step, locks, .. } = &mut event {
            match self.called_locks(path) {
                Ok(held) => *locks = held,
                Err(error) => event = Event::StepFailed { step: step.clone(), error },
            }
        }
        if matches!(event, Event::AttemptStarted { .. }) {
            self.launches.push(Launch::Attempt(path.clone()));
        }
        self.record(event)
    }

    /// The locks of the runbook that a step is about to call: nobody else holds one.
    fn called_locks(&self, path: &StepPath) -> Result<Vec<Held>, ActionError> {
        let Some((plan, place)) = self.state.plan_of(path) else { return Ok(Vec::new()) };
        let Some(rendering) = Rendering::new(&self.state, path, self.now) else { return Ok(Vec::new()) };
        let Some(Ok(called)) = plan.called(place, &rendering.call_inputs()?) else { return Ok(Vec::new()) };
        self.held(&called)
    }

    fn held(&self, plan: &Plan) -> Result<Vec<Held>, ActionError> {
        let names =
            lock_names(plan).map_err(|error| ActionError::new(ErrorKind::Template, format!("`locks`: {error}")))?;
        Ok(names.into_iter().map(|lock| Held { name: lock.name, epoch: 0 }).collect())
    }

    fn begin_undo(&mut self, path: &StepPath) -> Result<(), Broken> {
        let Some(record) = self.state.record(path) else { return Ok(()) };
        let attempt = Attempt(record.undo_attempts + 1);
        let params = match &record.undo_params {
            // Later tries use what the first one was given.
            Some(_) => Ok(None),
            None => Rendering::new(&self.state, path, self.now).map_or(Ok(None), |rendering| rendering.undo_params()),
        };
        let rendered = params.as_ref().ok().cloned().flatten();
        self.record(Event::UndoStarted { step: path.clone(), attempt, params: rendered })?;
        match params {
            Err(error) => self.finish_undo(path, Err(error.into())),
            Ok(_) => {
                self.launches.push(Launch::Undo(path.clone()));
                Ok(())
            }
        }
    }

    /// Lets the next thing happen: what the world says, or a timer whose time has come.
    fn wait(&mut self, standing: &[Directive]) -> Result<(), Broken> {
        let timer = standing.iter().find_map(|directive| match directive {
            Directive::WakeAt(at, timer) => Some((*at, timer.clone())),
            _ => None,
        });
        let next = self.coming.first_key_value().map(|(key, _)| *key);
        match (next, timer) {
            // What ends at the very moment of a limit has ended in time.
            (Some((at, _)), timer) if timer.as_ref().is_none_or(|(due, _)| at <= *due) => {
                let (_, coming) = self.coming.pop_first().ok_or(Broken::Stalled)?;
                self.now = self.now.max(at);
                self.take(coming)
            }
            (_, Some((due, timer))) => {
                self.now = self.now.max(due);
                self.record(Event::TimerFired { timer })
            }
            (_, None) => Err(Broken::Stalled),
        }
    }

    pub(super) fn finish_attempt(
        &mut self,
        step: &StepPath,
        attempt: Attempt,
        result: Result<Value, ActionError>,
    ) -> Result<(), Broken> {
        let result = match result {
            Ok(mut outputs) => {
                disarm_json(&mut outputs);
                AttemptResult::Succeeded { outputs }
            }
            Err(error) => AttemptResult::Failed { error },
        };
        let (result, met) = match &result {
            AttemptResult::Succeeded { outputs } => {
                let rendering = Rendering::new(&self.state, step, self.now);
                match rendering.map_or(Ok(None), |rendering| rendering.until_holds(outputs)) {
                    Ok(met) => (result, met),
                    Err(error) => (AttemptResult::Failed { error: error.into() }, None),
                }
            }
            AttemptResult::Failed { .. } => (result, None),
        };
        let Some(tried) = self.tried(step, attempt) else { return Ok(()) };
        let (result, next) = after_attempt(&tried, result, met);
        self.record(Event::AttemptFinished { step: step.clone(), attempt, result, next, met })
    }

    pub(super) fn tried(&self, step: &StepPath, attempt: Attempt) -> Option<Tried<'_>> {
        Some(Tried {
            step: self.state.step(step)?,
            facts: self.state.facts(step)?,
            attempt,
            began: self.state.record(step)?.started_at.unwrap_or(self.now),
            now: self.now,
            // A wait that is varied is the shortest it can be, so that a test takes the same time again.
            entropy: 0,
            is_out_of_time: self.state.is_out_of_time(step),
        })
    }

    pub(super) fn finish_undo(
        &mut self,
        step: &StepPath,
        result: Result<crate::action::Undone, ActionError>,
    ) -> Result<(), Broken> {
        let Some(record) = self.state.record(step).filter(|record| record.undo == Some(UndoState::Running)) else {
            return Ok(());
        };
        let attempt = Attempt(record.undo_attempts);
        let (result, next) = match result {
            Ok(undone) => (UndoResult::Undone { undone }, Next::End),
            Err(error) => {
                let next = self.tried(step, attempt).map_or_else(Default::default, |tried| after_undo(&tried, &error));
                (UndoResult::Failed { error }, next)
            }
        };
        self.record(Event::UndoFinished { step: step.clone(), result, next })
    }

    /// Is the undo of this step followed by a look whether it worked?
    pub(super) fn can_verify(&self, path: &StepPath) -> bool {
        let undo = self.state.step(path).and_then(|step| step.undo.as_ref());
        matches!(undo, Some(Undo::Action { verify: Some(_), .. })) && self.probed.get(path) != Some(&Look::InVain)
    }

    /// Can a probe find out what became of this step, and has none done so in vain?
    pub(super) fn can_probe(&self, path: &StepPath) -> bool {
        let by_probe = self.state.facts(path).is_some_and(|facts| facts.replay == Replay::Probe);
        by_probe && self.probed.get(path) != Some(&Look::InVain)
    }

    /// The program dies, and the run is taken up again: whatever was under way is in doubt.
    pub(super) fn crash(&mut self) -> Result<(), Broken> {
        // People who were asked are asked again, and answer as they would have.
        self.coming.retain(|_, coming| matches!(coming, Coming::Voice { .. } | Coming::Hand { .. } | Coming::Stop));
        let state = &self.state;
        self.asked.retain(|step, _| {
            let record = state.record(step);
            record.is_some_and(|record| matches!(record.state, StepState::AtGate(_) | StepState::Asked))
        });
        self.probed.clear();
        self.launches.clear();
        let locks = self.held(&Arc::clone(self.state.plan())).unwrap_or_default();
        self.record(Event::RunResumed { by: self.script.by.clone(), locks })
    }

    /// Nothing is under way, and whatever is open waits for people who cannot be asked.
    fn nobody_left(&self, standing: &[Directive]) -> Option<Ended> {
        let may_come = self.coming.values().any(|coming| !matches!(coming, Coming::Stop));
        let listens = |step: &StepPath| self.is_waited_for(step);
        let is_open = standing.iter().any(|directive| match directive {
            Directive::Ask(step) => listens(step),
            _ => false,
        });
        // Time brings these about without anybody.
        let waits_for_time = standing.iter().any(|directive| {
            matches!(
                directive,
                Directive::WakeAt(_, Timer::Again { .. } | Timer::UndoAgain { .. } | Timer::Measure { .. })
            )
        });
        if may_come || is_open || waits_for_time {
            return None;
        }
        let doubtful = |it: &Directive| matches!(it, Directive::Resolve(_) | Directive::ResolveUndo(_));
        if standing.iter().any(doubtful) {
            return Some(Ended::InDoubt);
        }
        standing.iter().any(|directive| matches!(directive, Directive::Ask(_))).then_some(Ended::Waiting)
    }
}
