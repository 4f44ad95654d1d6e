//! A driver without a world: it answers directives as an engine does, under a clock that moves only when told to.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use runbook::action::{ActionError, Effect, ErrorKind, Replay, Undone};
use runbook::base::{Attempt, RunId, StepPath, Timestamp, clock};
use runbook::plan::Plan;
use runbook::run::{
    Answer, AttemptResult, Decision, Directive, Doubt, Event, IllegalEvent, Limits, ManualResult, Next, Recorded,
    Rendering, RunState, StepState, Timer, Tried, UndoResult, UndoState, after_attempt, after_undo, decide, returned,
    take_turn,
};
use runbook::runbook::Undo;
use serde_json::{Value, json};

use super::ledger::Ledger;
use super::sketch::plan_calling;

pub(crate) const LIMITS: Limits = Limits { io: 2, processes: 2 };

/// A run, what is under way in it, and the log as it would stand on the disk.
pub(crate) struct Driver {
    pub(crate) state: RunState,
    pub(crate) log: Vec<Recorded>,
    /// How much of the log would survive a power cut.
    pub(crate) committed: usize,
    pub(crate) trying: BTreeMap<StepPath, Attempt>,
    pub(crate) undoing: BTreeMap<StepPath, Attempt>,
    /// Doubts into which a probe or a look has looked in vain: only a person is left.
    pub(crate) vain: BTreeSet<StepPath>,
    pub(crate) ledger: Ledger,
    /// The most undos that were under way at once.
    pub(crate) side_by_side: usize,
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
            undoing: BTreeMap::new(),
            vain: BTreeSet::new(),
            ledger: Ledger::new(Arc::clone(plan)),
            side_by_side: 0,
            now: Timestamp::from_second(1_767_225_600).expect("a time of our days"),
        }
    }

    /// A run of this runbook, up to where the world must answer.
    pub(crate) fn of(yaml: &str) -> Self {
        Self::calling(yaml, &[])
    }

    /// A run of a runbook that calls these others, by file.
    pub(crate) fn calling(yaml: &str, called: &[(&str, &str)]) -> Self {
        let mut driver = Self::start(&plan_calling(yaml, called), LIMITS);
        driver.go_on();
        driver
    }

    /// What stands in a log, taken up by a new process.
    pub(crate) fn resumed(plan: &Arc<Plan>, log: &[Recorded]) -> Self {
        let mut driver = Self::before(plan);
        driver.log = log.to_vec();
        driver.now = log.last().expect("a log with a beginning").at;
        driver.committed = log.len();
        driver.crash(log.len());
        driver
    }

    pub(crate) fn plan(&self) -> Arc<Plan> {
        Arc::clone(self.state.plan())
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    pub(crate) fn pass(&mut self, duration: Duration) {
        self.now = clock::after(self.now, duration);
    }

    pub(crate) fn pass_until(&mut self, at: Timestamp) {
        self.now = self.now.max(at);
    }

    /// Records an event that nobody may refuse.
    pub(crate) fn record(&mut self, event: Event) {
        if let Err(refusal) = self.offer(event) {
            panic!("{refusal}");
        }
        self.compare();
    }

    /// Offers an event to the state alone, and to nobody else when it is refused.
    pub(crate) fn offer(&mut self, event: Event) -> Result<(), IllegalEvent> {
        let recorded = Recorded { at: self.now, event };
        self.state.apply(&recorded)?;
        let told = self.ledger.take(&recorded.event);
        self.log.push(recorded);
        if let Err(broken) = told {
            panic!("a rule is broken: {broken}");
        }
        Ok(())
    }

    /// The state and the second account agree.
    fn compare(&self) {
        let told = self.state.records().map(|(path, record)| (path.clone(), (record.result(), record.attempts)));
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
                if let Some(stands) = self.carry_out(directive) {
                    standing.push(stands);
                }
                // It may have stopped the run: what was decided before it is out of date.
                if self.log[before..].last().is_some_and(|recorded| recorded.event.may_halt()) {
                    break;
                }
            }
            if self.log.len() == before {
                if let Err(idle) = self.ledger.is_nothing_idle() {
                    panic!("{idle}");
                }
                self.vain.retain(|path| {
                    standing.iter().any(|directive| match directive {
                        Directive::Resolve(step) | Directive::ResolveUndo(step) => step == path,
                        _ => false,
                    })
                });
                return standing;
            }
        }
    }

    fn carry_out(&mut self, directive: Directive) -> Option<Directive> {
        match directive {
            Directive::Begin(step) => {
                let event = take_turn(&self.state, &step, self.now, |_, _| Vec::new());
                self.record(event);
            }
            Directive::Skip(step, because) => self.record(Event::StepSkipped { step, because }),
            Directive::Return(step) => {
                let result = returned(&self.state, &step, self.now);
                self.record(Event::StepReturned { step, result });
            }
            Directive::BeginRollback(within, steps, because) => {
                self.record(Event::RollbackBegan { within, steps, because });
            }
            Directive::Undo(step) => self.begin_undo(step),
            Directive::BeginFinally(within, outcome) => self.record(Event::FinallyBegan { outcome, within }),
            Directive::Finish(outcome) => self.record(Event::RunFinished { outcome }),
            Directive::Resolve(step) => {
                let Some(doubt) = self.resolved_without_asking(&step) else {
                    if !self.can_probe(&step) {
                        self.ask_about_doubt(&step, false);
                    }
                    return Some(Directive::Resolve(step));
                };
                self.record(Event::DoubtResolved { step, doubt, by: "nobody".to_owned(), undo: false });
            }
            Directive::ResolveUndo(step) => {
                if !self.can_verify(&step) {
                    self.ask_about_doubt(&step, true);
                }
                return Some(Directive::ResolveUndo(step));
            }
            Directive::Ask(_) | Directive::WakeAt(..) | Directive::Stop(_) => return Some(directive),
        }
        None
    }

    fn resolved_without_asking(&self, path: &StepPath) -> Option<Doubt> {
        let facts = self.state.facts(path)?;
        if !matches!(facts.replay, Replay::Safe | Replay::Keyed) {
            return None;
        }
        let idle = facts.effect == Effect::Read && self.state.is_halted(path);
        Some(if idle { Doubt::DidNotHappen } else { Doubt::Again })
    }

    fn ask_about_doubt(&mut self, path: &StepPath, undo: bool) {
        if self.state.record(path).is_some_and(|record| !record.doubt_asked) {
            self.record(Event::DoubtAsked { step: path.clone(), does: Vec::new(), undo });
        }
    }

    pub(crate) fn can_probe(&self, path: &StepPath) -> bool {
        self.state.facts(path).is_some_and(|facts| facts.replay == Replay::Probe) && !self.vain.contains(path)
    }

    pub(crate) fn can_verify(&self, path: &StepPath) -> bool {
        let undo = self.state.step(path).and_then(|step| step.undo.as_ref());
        matches!(undo, Some(Undo::Action { verify: Some(_), .. })) && !self.vain.contains(path)
    }

    /// Puts the log on the disk and begins what it now holds the intention of.
    pub(crate) fn commit(&mut self) {
        for recorded in &self.log[self.committed..] {
            match &recorded.event {
                Event::AttemptStarted { step, attempt, .. } => {
                    self.trying.insert(step.clone(), *attempt);
                }
                Event::UndoStarted { step, attempt, .. } => {
                    self.undoing.insert(step.clone(), *attempt);
                }
                _ => {}
            }
        }
        self.side_by_side = self.side_by_side.max(self.undoing.len());
        self.committed = self.log.len();
    }

    /// The process dies after so many events reached the disk, and another one takes the run over.
    pub(crate) fn crash(&mut self, kept: usize) {
        assert!((self.committed..=self.log.len()).contains(&kept), "what is on the disk stays there");
        let all_survived = kept == self.log.len();
        self.log.truncate(kept);
        let plan = self.plan();
        let live = std::mem::replace(&mut self.state, replay(&plan, &self.log));
        if all_survived && live.run().is_some() {
            assert_same(&live, &self.state);
        }
        self.ledger = Ledger::new(Arc::clone(&plan));
        for recorded in &self.log {
            if let Err(broken) = self.ledger.take(&recorded.event) {
                panic!("a rule is broken on reading: {broken}");
            }
        }
        self.trying.clear();
        self.undoing.clear();
        self.vain.clear();
        if self.log.is_empty() {
            self.record(started(&plan, LIMITS));
        } else if self.state.may_be_resumed() {
            self.record(Event::RunResumed { by: "user:ben".to_owned(), locks: Vec::new() });
        }
        self.committed = kept;
    }

    fn begin_undo(&mut self, path: StepPath) {
        let record = self.state.record(&path).expect("directives name steps of the run");
        let attempt = Attempt(record.undo_attempts + 1);
        let params = match &record.undo_params {
            Some(_) => None,
            None => Rendering::new(&self.state, &path, self.now)
                .expect("directives name steps of the run")
                .undo_params()
                .expect("the undos here hold no templates"),
        };
        self.record(Event::UndoStarted { step: path, attempt, params });
    }

    fn tried(&self, path: &StepPath, attempt: Attempt) -> Tried<'_> {
        Tried {
            step: self.state.step(path).expect("tries are of steps of the run"),
            facts: self.state.facts(path).expect("tries are of steps of the run"),
            attempt,
            began: self.state.record(path).and_then(|record| record.started_at).unwrap_or(self.now),
            now: self.now,
            entropy: 7,
            is_out_of_time: self.state.is_out_of_time(path),
        }
    }

    /// A try ends, and what follows it is worked out as an engine does.
    pub(crate) fn finish(&mut self, path: &StepPath, result: Result<Value, ActionError>) {
        let attempt = self.trying.remove(path).unwrap_or_else(|| panic!("no try of `{path}` is under way"));
        let result = match result {
            Ok(outputs) => AttemptResult::Succeeded { outputs },
            Err(error) => AttemptResult::Failed { error },
        };
        let (result, met) = match &result {
            AttemptResult::Succeeded { outputs } => {
                let rendering = Rendering::new(&self.state, path, self.now).expect("tries are of steps of the run");
                match rendering.until_holds(outputs) {
                    Ok(met) => (result, met),
                    Err(error) => (AttemptResult::Failed { error: error.into() }, None),
                }
            }
            AttemptResult::Failed { .. } => (result, None),
        };
        let (result, next) = after_attempt(&self.tried(path, attempt), result, met);
        self.record(Event::AttemptFinished { step: path.clone(), attempt, result, next, met });
    }

    /// A try of an undo ends.
    pub(crate) fn finish_undo(&mut self, path: &StepPath, result: Result<Undone, ActionError>) {
        let attempt = self.undoing.remove(path).unwrap_or_else(|| panic!("no undo of `{path}` is under way"));
        let (result, next) = match result {
            Ok(undone) => (UndoResult::Undone { undone }, Next::End),
            Err(error) => {
                let next = after_undo(&self.tried(path, attempt), &error);
                (UndoResult::Failed { error }, next)
            }
        };
        self.record(Event::UndoFinished { step: path.clone(), result, next });
    }

    /// What a probe that saw nothing of it leads to, as an engine does it.
    pub(crate) fn after_it_did_not_happen(&self, path: &StepPath) -> Doubt {
        let record = self.state.record(path).expect("doubts are about steps of the run");
        let Some(mut error) = record.error.clone().filter(|error| error.uncertain) else {
            return if self.state.is_halted(path) { Doubt::DidNotHappen } else { Doubt::Again };
        };
        error.uncertain = false;
        let tried = self.tried(path, Attempt(record.attempts));
        match after_attempt(&tried, AttemptResult::Failed { error: *error }, None).1 {
            Next::Again { .. } if !self.state.is_halted(path) => Doubt::Again,
            _ => Doubt::DidNotHappen,
        }
    }

    // What the tests with hand-written runbooks say, one line each. After each, the driver settles.

    /// Carries on until the world must answer.
    pub(crate) fn go_on(&mut self) -> &mut Self {
        self.settle();
        self.commit();
        self
    }

    pub(crate) fn succeed(&mut self, step: &str) -> &mut Self {
        self.finish(&path(step), Ok(json!({ "status": 200 })));
        self.go_on()
    }

    pub(crate) fn fail(&mut self, step: &str) -> &mut Self {
        self.fail_with(step, ErrorKind::Rejected)
    }

    pub(crate) fn fail_with(&mut self, step: &str, kind: ErrorKind) -> &mut Self {
        self.finish(&path(step), Err(ActionError::new(kind, "it did not work")));
        self.go_on()
    }

    /// The answer is lost: nobody knows whether it happened.
    pub(crate) fn lose(&mut self, step: &str) -> &mut Self {
        self.finish(&path(step), Err(ActionError::new(ErrorKind::Timeout, "no answer came").uncertain()));
        self.go_on()
    }

    pub(crate) fn save(&mut self, step: &str) -> &mut Self {
        let attempt = self.trying[&path(step)];
        self.record(Event::Checkpoint { step: path(step), attempt, value: json!({ "found": "before" }) });
        self.go_on()
    }

    pub(crate) fn answer(&mut self, step: &str, by: &str, answer: Answer) -> &mut Self {
        let Some(StepState::AtGate(gate)) = self.state.record(&path(step)).map(|record| record.state.clone()) else {
            panic!("the gate of `{step}` is not open");
        };
        self.record(answered(&path(step), &gate.digest, by, answer));
        self.go_on()
    }

    pub(crate) fn approve(&mut self, step: &str, by: &str) -> &mut Self {
        self.answer(step, by, Answer::Approve)
    }

    pub(crate) fn done_by_hand(&mut self, step: &str, result: ManualResult) -> &mut Self {
        self.record(Event::ManualAnswered { step: path(step), by: "user:ann".to_owned(), result });
        self.go_on()
    }

    /// The earliest timer.
    pub(crate) fn earliest(&self) -> Option<(Timestamp, Timer)> {
        decide(&self.state).into_iter().find_map(|directive| match directive {
            Directive::WakeAt(at, timer) => Some((at, timer)),
            _ => None,
        })
    }

    /// The earliest timer fires.
    pub(crate) fn wake(&mut self) -> &mut Self {
        let (at, timer) = self.earliest().unwrap_or_else(|| panic!("nothing waits for a time"));
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
        self.record(Event::DoubtResolved { step: path(step), doubt, by: "user:ann".to_owned(), undo: false });
        self.go_on()
    }

    pub(crate) fn resolve_undo(&mut self, step: &str, doubt: Doubt) -> &mut Self {
        self.record(Event::DoubtResolved { step: path(step), doubt, by: "user:ann".to_owned(), undo: true });
        self.go_on()
    }

    pub(crate) fn force(&mut self, step: &str) -> &mut Self {
        let (by, reason) = ("user:ann".to_owned(), "it must".to_owned());
        self.record(Event::StepForced { step: path(step), by, reason });
        self.go_on()
    }

    pub(crate) fn request_undo(&mut self, only: &[&str]) -> &mut Self {
        let only = only.iter().map(|step| path(step)).collect();
        self.record(Event::UndoRequested { by: "user:ann".to_owned(), only, reason: None });
        self.go_on()
    }

    pub(crate) fn undo(&mut self, step: &str) -> &mut Self {
        self.finish_undo(&path(step), Ok(Undone::default()));
        self.go_on()
    }

    pub(crate) fn fail_undo(&mut self, step: &str) -> &mut Self {
        self.fail_undo_with(step, ActionError::new(ErrorKind::Rejected, "it did not work"))
    }

    pub(crate) fn fail_undo_with(&mut self, step: &str, error: ActionError) -> &mut Self {
        self.finish_undo(&path(step), Err(error));
        self.go_on()
    }

    /// What is under way: tries, then undos.
    pub(crate) fn under_way(&self) -> Vec<String> {
        let undoing = self.undoing.keys().map(|path| format!("undo {path}"));
        self.trying.keys().map(ToString::to_string).chain(undoing).collect()
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

/// Everything that there is to see of a state.
pub(crate) fn whole(state: &RunState) -> String {
    format!("{state:?}")
}

/// Two states that nobody can tell apart.
pub(crate) fn assert_same(one: &RunState, other: &RunState) {
    assert_eq!(one.records().collect::<Vec<_>>(), other.records().collect::<Vec<_>>());
    assert_eq!(decide(one), decide(other));
    assert_eq!(one.outcome(), other.outcome());
    assert_eq!(one.outcome_before_finally(), other.outcome_before_finally());
    assert_eq!(one.left_standing(), other.left_standing());
    assert_eq!(one.measures_in_force(), other.measures_in_force());
    assert_eq!(whole(one), whole(other));
}

pub(crate) fn path(step: &str) -> StepPath {
    StepPath::parse(step).expect("tests name steps by their paths")
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
        locks: Vec::new(),
    }
}

pub(crate) fn answered(step: &StepPath, digest: &runbook::base::Digest, by: &str, answer: Answer) -> Event {
    let decision = Decision { by: by.to_owned(), answer, answers: indexmap::IndexMap::new(), via: "test".to_owned() };
    Event::GateAnswered { step: step.clone(), digest: digest.clone(), decision }
}

pub(crate) fn undo_state<'d>(driver: &'d Driver, step: &str) -> Option<&'d UndoState> {
    driver.state.record(&path(step)).and_then(|record| record.undo.as_ref())
}

fn tell(event: &Event) -> String {
    match event {
        Event::StepSkipped { step, because } => format!("{step} is skipped: {because}"),
        Event::StepFailed { step, error } => format!("{step} cannot begin: {}", error.message),
        Event::AttemptFinished { step, result: AttemptResult::Failed { error }, next, .. } => {
            let doubt = if error.uncertain { ", nobody knows" } else { "" };
            format!("{step} fails ({}{doubt}), then {next:?}", error.kind)
        }
        Event::AttemptFinished { step, next, .. } => format!("{step} gives something, then {next:?}"),
        Event::RollbackBegan { within, steps, because } => {
            let steps: Vec<&str> = steps.iter().map(StepPath::as_str).collect();
            format!(
                "rollback within {}: {} ({because:?})",
                within.as_ref().map_or("-", StepPath::as_str),
                steps.join(" ")
            )
        }
        Event::FinallyBegan { outcome, within } => {
            format!("the final steps of {} begin: {outcome}", within.as_ref().map_or("the run", StepPath::as_str))
        }
        Event::UndoFinished { step, result, next } => match result {
            UndoResult::Undone { .. } => format!("{step} is undone"),
            UndoResult::Failed { .. } => format!("{step} cannot be undone, then {next:?}"),
        },
        Event::RunFinished { outcome } => format!("the run ends: {outcome}"),
        other => {
            let told = serde_json::to_value(other).expect("events are made of maps with text keys");
            let more = ["attempt", "doubt", "timer", "decision", "result", "undo", "by", "only", "outcome"];
            let more: Vec<String> = more.iter().filter_map(|key| told.get(key)).map(ToString::to_string).collect();
            let step = other.step().map_or("-", StepPath::as_str);
            format!("{step} {} {}", told["type"].as_str().unwrap_or_default(), more.join(" "))
        }
    }
}
