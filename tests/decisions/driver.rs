//! A driver without a world: it answers directives as an engine does, under a clock that moves only when told to.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use runbook::action::{ActionError, ErrorKind, Replay, Undone};
use runbook::base::{Attempt, RunId, StepId, Timestamp, clock};
use runbook::plan::Plan;
use runbook::run::{
    Answer, AttemptResult, Decision, Directive, Doubt, Event, IllegalEvent, Limits, ManualResult, Recorded, Rendering,
    RunState, StepState, Timer, UndoResult, UndoState, after_attempt, decide, take_turn,
};
use runbook::runbook::Undo;
use serde_json::{Value, json};

use super::ledger::{Ledger, Line};
use super::sketch::plan_of;

pub(crate) const LIMITS: Limits = Limits { io: 2, processes: 2 };

/// A run, what is under way in it, and the log as it would stand on the disk.
pub(crate) struct Driver {
    pub(crate) state: RunState,
    pub(crate) log: Vec<Recorded>,
    /// How much of the log would survive a power cut.
    pub(crate) committed: usize,
    pub(crate) trying: BTreeMap<StepId, Attempt>,
    pub(crate) undoing: Option<StepId>,
    ledger: Ledger,
    now: Timestamp,
}

impl Driver {
    /// A run that has just begun.
    pub(crate) fn start(plan: &Arc<Plan>, limits: Limits) -> Self {
        let mut driver = Self::before(plan);
        driver.record(started(plan, limits));
        driver
    }

    /// A run before its first event.
    pub(crate) fn before(plan: &Arc<Plan>) -> Self {
        Self {
            state: RunState::new(Arc::clone(plan)),
            log: Vec::new(),
            committed: 0,
            trying: BTreeMap::new(),
            undoing: None,
            ledger: Ledger::new(Arc::clone(plan)),
            now: Timestamp::from_second(1_767_225_600).expect("a time of our days"),
        }
    }

    /// A run of this runbook, up to where the world must answer.
    pub(crate) fn of(yaml: &str) -> Self {
        let mut driver = Self::start(&plan_of(yaml), LIMITS);
        driver.settle();
        driver.commit();
        driver
    }

    pub(crate) fn plan(&self) -> Arc<Plan> {
        Arc::clone(self.state.plan())
    }

    pub(crate) fn pass(&mut self, duration: Duration) {
        self.now = clock::after(self.now, duration);
    }

    pub(crate) fn pass_until(&mut self, at: Timestamp) {
        self.now = self.now.max(at);
    }

    /// Records an event that nobody may refuse.
    pub(crate) fn record(&mut self, event: Event) {
        let recorded = Recorded { at: self.now, event };
        self.ledger.take(&recorded.event);
        if let Err(refusal) = self.state.apply(&recorded) {
            panic!("{refusal}");
        }
        self.log.push(recorded);
        self.compare();
    }

    /// Offers an event to the state alone, and to nobody else when it is refused.
    pub(crate) fn offer(&mut self, event: Event) -> Result<(), IllegalEvent> {
        let recorded = Recorded { at: self.now, event };
        self.state.apply(&recorded)?;
        self.ledger.take(&recorded.event);
        self.log.push(recorded);
        Ok(())
    }

    /// The state and the second account agree.
    fn compare(&self) {
        let told = self.state.records().map(|(id, record)| {
            let line = Line { result: record.result(), tries: record.attempts };
            (id.clone(), line)
        });
        assert_eq!(told.collect::<BTreeMap<_, _>>(), self.ledger.lines());
    }

    /// Answers every directive that can be answered at once. Returns those that stand until the world answers.
    pub(crate) fn settle(&mut self) -> Vec<Directive> {
        loop {
            let directives = decide(&self.state);
            assert_eq!(directives, decide(&self.state), "the same state gives the same directives");
            let mut standing = Vec::new();
            let before = self.log.len();
            for directive in directives {
                match directive {
                    Directive::Begin(step) => {
                        let event = take_turn(&self.state, &step, self.now, |_, _| Vec::new());
                        let failed = matches!(event, Event::StepFailed { .. });
                        self.record(event);
                        if failed {
                            // It may have stopped the run: what was decided before it is out of date.
                            break;
                        }
                    }
                    Directive::Skip(step, because) => self.record(Event::StepSkipped { step, because }),
                    Directive::Undo(step) => self.begin_undo(step),
                    Directive::BeginFinally(outcome) => self.record(Event::FinallyBegan { outcome }),
                    Directive::Finish(outcome) => self.record(Event::RunFinished { outcome }),
                    Directive::Resolve(step) if self.is_harmless_to_repeat(&step) => {
                        self.record(Event::DoubtResolved { step, doubt: Doubt::Again, by: "nobody".to_owned() });
                    }
                    Directive::Ask(_) | Directive::WakeAt(..) | Directive::Resolve(_) | Directive::Stop(_) => {
                        standing.push(directive);
                    }
                }
            }
            if self.log.len() == before {
                return standing;
            }
        }
    }

    /// Puts the log on the disk and begins what it now holds the intention of.
    pub(crate) fn commit(&mut self) {
        for recorded in &self.log[self.committed..] {
            match &recorded.event {
                Event::AttemptStarted { step, attempt, .. } => {
                    self.trying.insert(step.clone(), *attempt);
                }
                Event::UndoStarted { step, .. } => self.undoing = Some(step.clone()),
                Event::UndoFinished { .. } => self.undoing = None,
                _ => {}
            }
        }
        self.committed = self.log.len();
    }

    /// The process dies after so many events reached the disk, and another one takes the run over.
    pub(crate) fn crash(&mut self, kept: usize) {
        assert!((self.committed..=self.log.len()).contains(&kept), "what is on the disk stays there");
        let all_survived = kept == self.log.len();
        self.log.truncate(kept);
        let plan = self.plan();
        let live = std::mem::replace(&mut self.state, replay(&plan, &self.log));
        if all_survived {
            assert_same(&live, &self.state);
        }
        self.ledger = Ledger::new(Arc::clone(&plan));
        self.log.iter().for_each(|recorded| self.ledger.take(&recorded.event));
        self.trying.clear();
        self.undoing = None;
        if self.log.is_empty() {
            self.record(started(&plan, LIMITS));
        } else {
            self.record(Event::RunResumed { by: "user:ben".to_owned() });
        }
        self.committed = kept;
    }

    fn is_harmless_to_repeat(&self, id: &StepId) -> bool {
        let plan = self.state.plan();
        plan.place(id).is_some_and(|place| matches!(plan.facts(place).replay, Replay::Safe | Replay::Keyed))
    }

    fn begin_undo(&mut self, id: StepId) {
        let record = self.state.record(&id).expect("directives name steps of the plan");
        let in_doubt = record.undo == Some(UndoState::InDoubt);
        let plan = self.plan();
        let undo = plan.runbook().step(&id).and_then(|step| step.undo.as_ref());
        let repeatable = matches!(undo, Some(Undo::Action { uses, .. }) if uses == "http.get");
        let rendering = Rendering::new(&self.state, &id, self.now).expect("directives name steps of the plan");
        let params = rendering.undo_params().expect("the undos here hold no templates");
        self.record(Event::UndoStarted { step: id.clone(), params });
        if in_doubt && !repeatable {
            let error = ActionError::new(ErrorKind::Failed, "it must not be done twice");
            self.record(Event::UndoFinished { step: id, result: UndoResult::Failed { error } });
        }
    }

    /// A try ends, and what follows it is worked out as an engine does.
    pub(crate) fn finish(&mut self, id: &StepId, result: Result<Value, ActionError>) {
        let attempt = self.trying.remove(id).expect("a try is under way");
        let result = match result {
            Ok(outputs) => AttemptResult::Succeeded { outputs },
            Err(error) => AttemptResult::Failed { error },
        };
        let began = self.state.record(id).and_then(|record| record.started_at).unwrap_or(self.now);
        let (result, met) = match &result {
            AttemptResult::Succeeded { outputs } => {
                let rendering = Rendering::new(&self.state, id, self.now).expect("tries are of steps of the plan");
                match rendering.until_holds(outputs) {
                    Ok(met) => (result, met),
                    Err(error) => (AttemptResult::Failed { error: error.into() }, None),
                }
            }
            AttemptResult::Failed { .. } => (result, None),
        };
        let plan = self.plan();
        let step = plan.runbook().step(id).expect("tries are of steps of the plan");
        let (result, next) = after_attempt(step, attempt, result, met, (began, self.now), 7);
        self.record(Event::AttemptFinished { step: id.clone(), attempt, result, next });
    }

    // What the tests with hand-written runbooks say, one line each. After each, the driver settles.

    /// Carries on until the world must answer.
    pub(crate) fn go_on(&mut self) -> &mut Self {
        self.settle();
        self.commit();
        self
    }

    pub(crate) fn succeed(&mut self, step: &str) -> &mut Self {
        self.finish(&id(step), Ok(json!({ "status": 200 })));
        self.go_on()
    }

    pub(crate) fn fail(&mut self, step: &str) -> &mut Self {
        self.fail_with(step, ErrorKind::Rejected)
    }

    pub(crate) fn fail_with(&mut self, step: &str, kind: ErrorKind) -> &mut Self {
        self.finish(&id(step), Err(ActionError::new(kind, "it did not work")));
        self.go_on()
    }

    pub(crate) fn save(&mut self, step: &str) -> &mut Self {
        let attempt = self.trying[&id(step)];
        self.record(Event::Checkpoint { step: id(step), attempt, value: json!({ "found": "before" }) });
        self.go_on()
    }

    pub(crate) fn answer(&mut self, step: &str, by: &str, answer: Answer) -> &mut Self {
        let Some(StepState::AtGate(gate)) = self.state.record(&id(step)).map(|record| record.state.clone()) else {
            panic!("the gate of `{step}` is not open");
        };
        self.record(answered(&id(step), &gate.digest, by, answer));
        self.go_on()
    }

    pub(crate) fn approve(&mut self, step: &str, by: &str) -> &mut Self {
        self.answer(step, by, Answer::Approve)
    }

    pub(crate) fn done_by_hand(&mut self, step: &str, result: ManualResult) -> &mut Self {
        self.record(Event::ManualAnswered { step: id(step), by: "user:ann".to_owned(), result });
        self.go_on()
    }

    /// The earliest timer fires.
    pub(crate) fn wake(&mut self) -> &mut Self {
        let timer = decide(&self.state).into_iter().find_map(|directive| match directive {
            Directive::WakeAt(at, timer) => Some((at, timer)),
            _ => None,
        });
        let (at, timer) = timer.unwrap_or_else(|| panic!("nothing waits for a time"));
        self.pass_until(at);
        self.record(Event::TimerFired { timer });
        self.go_on()
    }

    pub(crate) fn cancel(&mut self) -> &mut Self {
        self.record(Event::CancelRequested { by: "user:ann".to_owned(), reason: None });
        self.go_on()
    }

    pub(crate) fn resume(&mut self) -> &mut Self {
        self.crash(self.log.len());
        self.go_on()
    }

    pub(crate) fn resolve(&mut self, step: &str, doubt: Doubt) -> &mut Self {
        self.record(Event::DoubtResolved { step: id(step), doubt, by: "user:ann".to_owned() });
        self.go_on()
    }

    pub(crate) fn undo(&mut self, step: &str) -> &mut Self {
        assert_eq!(self.undoing.take(), Some(id(step)));
        self.record(Event::UndoFinished { step: id(step), result: UndoResult::Undone { undone: Undone::default() } });
        self.go_on()
    }

    pub(crate) fn fail_undo(&mut self, step: &str) -> &mut Self {
        assert_eq!(self.undoing.take(), Some(id(step)));
        let error = ActionError::new(ErrorKind::Server, "it did not work");
        self.record(Event::UndoFinished { step: id(step), result: UndoResult::Failed { error } });
        self.go_on()
    }

    /// What happened, one line an event.
    pub(crate) fn told(&self) -> String {
        self.log.iter().fold(String::new(), |mut text, recorded| {
            let _ = writeln!(text, "{}", tell(&recorded.event));
            text
        })
    }
}

/// A test that fails in the middle of a run shows how the run came there.
impl Drop for Driver {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.told());
        }
    }
}

/// The fold over a log, read back from its bytes.
pub(crate) fn replay(plan: &Arc<Plan>, log: &[Recorded]) -> RunState {
    let mut state = RunState::new(Arc::clone(plan));
    for recorded in log {
        let text = serde_json::to_string(&recorded.event).expect("events are made of maps with text keys");
        let event: Event = serde_json::from_str(&text).expect("what was written can be read");
        assert_eq!(event, recorded.event, "an event is read as it was written");
        state.apply(&Recorded { at: recorded.at, event }).expect("what was recorded is not refused when it is read");
    }
    state
}

/// Two states that nobody can tell apart.
pub(crate) fn assert_same(one: &RunState, other: &RunState) {
    assert_eq!(one.records().collect::<Vec<_>>(), other.records().collect::<Vec<_>>());
    assert_eq!(decide(one), decide(other));
    assert_eq!(one.outcome(), other.outcome());
    assert_eq!(one.outcome_before_finally(), other.outcome_before_finally());
    assert_eq!(one.left_standing(), other.left_standing());
    assert_eq!(one.measures_in_force(), other.measures_in_force());
    assert_eq!(format!("{one:?}"), format!("{other:?}"));
}

pub(crate) fn id(step: &str) -> StepId {
    StepId::new(step).expect("tests name steps by their ids")
}

pub(crate) fn started(plan: &Plan, limits: Limits) -> Event {
    Event::RunStarted {
        run: RunId::parse("r1").expect("a run's id"),
        runbook: plan.runbook().name.to_string(),
        plan: plan.digest().clone(),
        by: "user:ann".to_owned(),
        drill: None,
        limits,
        version: "0.1.0".to_owned(),
    }
}

pub(crate) fn answered(step: &StepId, digest: &runbook::base::Digest, by: &str, answer: Answer) -> Event {
    let decision = Decision { by: by.to_owned(), answer, answers: indexmap::IndexMap::new(), via: "test".to_owned() };
    Event::GateAnswered { step: step.clone(), digest: digest.clone(), decision }
}

fn tell(event: &Event) -> String {
    match event {
        Event::RunStarted { .. } => "the run begins".to_owned(),
        Event::RunResumed { .. } => "the run is resumed".to_owned(),
        Event::StepSkipped { step, because } => format!("{step} is skipped: {because}"),
        Event::StepFailed { step, error } => format!("{step} cannot begin: {}", error.message),
        Event::Decided { step, arm, .. } => format!("{step} decides for arm {}", arm.unwrap_or(usize::MAX)),
        Event::GateOpened { step, .. } => format!("{step} opens its gate"),
        Event::GateAnswered { step, decision, .. } => format!("{step}: {} says {:?}", decision.by, decision.answer),
        Event::ManualAsked { step, .. } => format!("{step} asks a person"),
        Event::ManualAnswered { step, result, .. } => match result {
            ManualResult::Done { .. } => format!("{step} is done by hand"),
            ManualResult::Failed { .. } => format!("{step} fails by hand"),
            ManualResult::Skipped { .. } => format!("{step} is left out by hand"),
        },
        Event::AttemptStarted { step, attempt, .. } => format!("{step} begins try {attempt}"),
        Event::Checkpoint { step, .. } => format!("{step} saves what it found"),
        Event::AttemptFinished { step, result, next, .. } => {
            let how = match result {
                AttemptResult::Succeeded { .. } => "succeeds".to_owned(),
                AttemptResult::Failed { error } => format!("fails ({})", error.kind),
            };
            let then = if *next == runbook::run::Next::End { "" } else { ", again later" };
            format!("{step} {how}{then}")
        }
        Event::TimerFired { timer: Timer::Gate { step } } => format!("{step}: nobody answered in time"),
        Event::TimerFired { timer: Timer::Again { step } } => format!("{step} may try again"),
        Event::DoubtResolved { step, doubt: Doubt::Happened { .. }, .. } => format!("{step} happened"),
        Event::DoubtResolved { step, doubt: Doubt::Again, .. } => format!("{step} is to be done again"),
        Event::CancelRequested { .. } => "somebody cancels".to_owned(),
        Event::UndoStarted { step, .. } => format!("{step} is being undone"),
        Event::UndoFinished { step, result: UndoResult::Undone { .. } } => format!("{step} is undone"),
        Event::UndoFinished { step, result: UndoResult::Failed { .. } } => format!("{step} cannot be undone"),
        Event::FinallyBegan { outcome } => format!("the final steps begin: {outcome}"),
        Event::RunFinished { outcome } => format!("the run ends: {outcome}"),
    }
}
