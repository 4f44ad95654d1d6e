//! Properties: whatever the runbook, and whatever the world does, the rules hold. The rules stand in `ledger`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use runbook::action::{ActionError, ErrorKind, Undone};
use runbook::base::{StepPath, Timestamp};
use runbook::run::{
    Answer, Directive, Doubt, Event, Limits, ManualResult, Outcome, Recorded, StepState, Timer, decide,
};
use serde_json::{Value, json};

use super::driver::{Driver, answered, assert_same, replay, whole};
use super::ledger::SAID;
use super::sketch::{Sketch, sketches};

/// What the world draws its answers from. When nothing is left, everything goes well.
pub(crate) struct Luck {
    draws: Vec<u16>,
    next: usize,
}

impl Luck {
    pub(crate) fn new(draws: Vec<u16>) -> Self {
        Self { draws, next: 0 }
    }

    /// A number below `count`; 0 when no luck is left.
    pub(crate) fn pick(&mut self, count: usize) -> usize {
        let draw = self.draws.get(self.next).copied().unwrap_or(0);
        self.next += 1;
        usize::from(draw) % count.max(1)
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.pick(count) == count - 1
    }

    fn is_left(&self) -> bool {
        self.next < self.draws.len()
    }
}

/// Something that the world may do next.
#[derive(Debug)]
enum Happening {
    TryEnds(StepPath),
    UndoEnds(StepPath),
    PersonAnswers(StepPath),
    DoubtEnds(StepPath),
    UndoDoubtEnds(StepPath),
    TimeComes(Timestamp, Timer),
    TrySaves(StepPath),
    UndoSaves(StepPath),
    SomebodyCancels,
    SomebodyMeddles,
    ProcessDies,
}

/// Plays a run to its end. `look` sees every state in which the world is awaited.
fn play(sketch: &Sketch, draws: Vec<u16>, mut look: impl FnMut(&mut Driver, &mut Luck)) -> Driver {
    let mut luck = Luck::new(draws);
    let plan = sketch.plan();
    let limits = Limits { io: 1 + luck.pick(3), processes: 1 + luck.pick(3) };
    let mut driver = Driver::start(&plan, limits);
    // Every draw can cost at most a crash: each step in doubt, resolved and begun again. The rest is a quiet run.
    let most = 200 + 60 * sketch.size() + luck.draws.len() * (4 + 3 * (limits.io + limits.processes));
    loop {
        assert!(driver.log.len() <= most, "it does not end");
        let standing = driver.settle();
        if luck.one_in(25) {
            // Any part of what was to be committed may have reached the disk. A run whose end did is over.
            let ended = usize::from(driver.state.outcome().is_some());
            let kept = driver.committed + luck.pick((driver.log.len() - driver.committed + 1).saturating_sub(ended));
            driver.crash(kept);
            continue;
        }
        driver.commit();
        look(&mut driver, &mut luck);
        if let Some(outcome) = driver.state.outcome() {
            if outcome == Outcome::Cancelled && driver.state.may_be_resumed() && luck.pick(3) > 0 {
                driver.crash(driver.log.len());
                continue;
            }
            if luck.is_left() && luck.pick(3) > 0 {
                ask_for_an_undo(&mut driver, &mut luck);
                continue;
            }
            return driver;
        }
        driver.pass(Duration::from_secs([0, 1, 5, 60][luck.pick(4)]));
        let mut happenings = what_may_happen(&driver, &standing);
        assert!(!happenings.is_empty(), "nothing can happen any more: {standing:?}");
        if luck.one_in(16) {
            happenings = vec![Happening::SomebodyCancels];
        } else if luck.one_in(12) {
            happenings = vec![Happening::ProcessDies];
        } else if luck.one_in(12) {
            happenings = vec![Happening::SomebodyMeddles];
        }
        let chosen = happenings.swap_remove(luck.pick(happenings.len()));
        happen(&mut driver, &mut luck, &standing, chosen);
    }
}

/// What moves the run stands first, so that it ends when luck has run out.
fn what_may_happen(driver: &Driver, standing: &[Directive]) -> Vec<Happening> {
    let mut found: Vec<Happening> = driver.trying.keys().cloned().map(Happening::TryEnds).collect();
    found.extend(driver.undoing.keys().cloned().map(Happening::UndoEnds));
    found.extend(standing.iter().filter_map(|directive| match directive {
        Directive::Ask(step) => Some(Happening::PersonAnswers(step.clone())),
        Directive::Resolve(step) => Some(Happening::DoubtEnds(step.clone())),
        Directive::ResolveUndo(step) => Some(Happening::UndoDoubtEnds(step.clone())),
        Directive::WakeAt(at, timer) => Some(Happening::TimeComes(*at, timer.clone())),
        _ => None,
    }));
    found.extend(driver.trying.keys().cloned().map(Happening::TrySaves));
    found.extend(driver.undoing.keys().cloned().map(Happening::UndoSaves));
    found
}

fn happen(driver: &mut Driver, luck: &mut Luck, standing: &[Directive], chosen: Happening) {
    match chosen {
        Happening::TryEnds(step) => {
            let result = if standing.contains(&Directive::Stop(step.clone())) && luck.pick(3) < 2 {
                Err(ActionError::cancelled())
            } else {
                how_it_ends(luck)
            };
            driver.finish(&step, result);
        }
        Happening::UndoEnds(step) => {
            let result = match luck.pick(16) {
                11 => Err(ActionError::new(ErrorKind::Rejected, "it did not work")),
                12 | 13 => Err(ActionError::new(ErrorKind::Server, "it did not work")),
                14 | 15 => Err(ActionError::new(ErrorKind::Timeout, "no answer came").uncertain()),
                _ => Ok(Undone::default()),
            };
            driver.finish_undo(&step, result);
        }
        Happening::PersonAnswers(step) => a_person_answers(driver, luck, step),
        Happening::DoubtEnds(step) => {
            let happened = Doubt::Happened { outputs: json!({ "status": 200 }) };
            let (doubt, by) = if driver.can_probe(&step) {
                match luck.pick(3) {
                    0 => (happened, "a probe"),
                    1 => (driver.after_it_did_not_happen(&step), "a probe"),
                    _ => {
                        driver.vain.insert(step);
                        return;
                    }
                }
            } else {
                (vec![happened, Doubt::Again, Doubt::DidNotHappen].swap_remove(luck.pick(3)), "user:ann")
            };
            driver.record(Event::DoubtResolved { step, doubt, by: by.to_owned(), undo: false });
        }
        Happening::UndoDoubtEnds(step) => {
            let doubt = if driver.can_verify(&step) {
                if luck.pick(2) == 1 {
                    driver.vain.insert(step);
                    return;
                }
                Doubt::Happened { outputs: Value::Null }
            } else {
                vec![Doubt::Happened { outputs: Value::Null }, Doubt::Again, Doubt::DidNotHappen]
                    .swap_remove(luck.pick(3))
            };
            driver.record(Event::DoubtResolved { step, doubt, by: "user:ann".to_owned(), undo: true });
        }
        Happening::TimeComes(at, timer) => {
            driver.pass_until(at);
            driver.record(Event::TimerFired { timer });
        }
        Happening::TrySaves(step) => {
            let attempt = driver.trying[&step];
            driver.record(Event::Checkpoint { step, attempt, value: json!({ "found": "before" }) });
        }
        Happening::UndoSaves(step) => {
            let attempt = driver.undoing[&step];
            driver.record(Event::Checkpoint { step, attempt, value: json!({ "found": "after" }) });
        }
        Happening::SomebodyCancels => driver.record(Event::CancelRequested { by: "user:cat".to_owned(), reason: None }),
        Happening::SomebodyMeddles => somebody_meddles(driver, luck),
        Happening::ProcessDies => driver.crash(driver.log.len()),
    }
}

/// Somebody wants something of the run from outside. It may not be possible; then it is refused and changes nothing.
fn somebody_meddles(driver: &mut Driver, luck: &mut Luck) {
    let steps: Vec<StepPath> = driver.state.records().map(|(path, _)| path.clone()).collect();
    let step = steps[luck.pick(steps.len())].clone();
    let (by, reason) = ("user:cat".to_owned(), "it is better so".to_owned());
    let measure = driver.state.measures_in_force().first().map_or_else(|| step.clone(), |it| it.step.clone());
    let event = match luck.pick(5) {
        0 => Event::StepSkipped { step, because: runbook::run::Cause::Person { by, reason } },
        1 => Event::StepForced { step, by, reason },
        2 => Event::MeasureClosed { step: measure, by, reason },
        3 => {
            let until = runbook::base::clock::after(driver.now(), Duration::from_secs(90));
            Event::MeasureExtended { step: measure, until, by, reason }
        }
        _ => Event::UndoRequested { by, only: vec![step], reason: Some(reason) },
    };
    let before = whole(&driver.state);
    if driver.offer(event).is_err() {
        assert_eq!(whole(&driver.state), before, "a refused event changes nothing");
    }
}

fn ask_for_an_undo(driver: &mut Driver, luck: &mut Luck) {
    let steps: Vec<StepPath> = driver.state.undo_order(&[]).concat();
    let only =
        if steps.is_empty() || luck.pick(2) == 0 { Vec::new() } else { vec![steps[luck.pick(steps.len())].clone()] };
    driver.record(Event::UndoRequested { by: "user:cat".to_owned(), only, reason: None });
}

fn how_it_ends(luck: &mut Luck) -> Result<Value, ActionError> {
    let kinds = [ErrorKind::Server, ErrorKind::Rejected, ErrorKind::Timeout, ErrorKind::Unauthorized];
    match luck.pick(22) {
        0..=11 => Ok(json!({ "status": 200 })),
        12 | 13 => Ok(json!({ "status": 500 })),
        14 => Ok(json!({})),
        // Nobody asked it to stop, and it says it was stopped.
        15 => Err(ActionError::cancelled()),
        16 | 17 => Err(ActionError::new(ErrorKind::Timeout, "no answer came").uncertain()),
        _ => Err(ActionError::new(kinds[luck.pick(kinds.len())], "it did not work")),
    }
}

fn a_person_answers(driver: &mut Driver, luck: &mut Luck, step: StepPath) {
    let record = driver.state.record(&step).expect("directives name steps of the run").clone();
    let StepState::AtGate(gate) = &record.state else {
        let result = match luck.pick(6) {
            4 => ManualResult::Failed { reason: "it did not work".to_owned() },
            5 => ManualResult::Skipped { reason: "not needed".to_owned() },
            _ => ManualResult::Done { evidence: indexmap::IndexMap::new() },
        };
        driver.record(Event::ManualAnswered { step, by: "user:ann".to_owned(), result });
        return;
    };
    if gate.expires.is_some_and(|expires| expires <= driver.now()) {
        let late = answered(&step, &gate.digest, "user:ann", Answer::Approve);
        driver.offer(late).expect_err("an answer that is too late");
        driver.record(Event::TimerFired { timer: Timer::Gate { step } });
        return;
    }
    let said: Vec<&str> = gate.approvals.iter().map(|decision| decision.by.as_str()).collect();
    if let Some(by) = said.first() {
        let again = answered(&step, &gate.digest, by, Answer::Approve);
        driver.offer(again).expect_err("nobody counts twice");
    }
    let open: Vec<&str> =
        ["user:ann", "user:ben", "user:cat"].into_iter().filter(|person| !said.contains(person)).collect();
    let by = open[luck.pick(open.len())];
    let answer = if luck.one_in(5) { Answer::Reject } else { Answer::Approve };
    driver.record(answered(&step, &gate.digest, by, answer));
}

fn runs() -> impl Strategy<Value = (Sketch, Vec<u16>)> {
    (sketches(), vec(any::<u16>(), 0..200))
}

/// Few cases, so that nobody waits; `PROPTEST_CASES=20000` searches longer.
fn searching(cases: u32) -> ProptestConfig {
    let given = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { given.cases } else { cases };
    // The same cases every time; `PROPTEST_RNG_SEED` draws others.
    let seeded = std::env::var_os("PROPTEST_RNG_SEED").is_some();
    let rng_seed = if seeded { given.rng_seed } else { RngSeed::Fixed(3) };
    ProptestConfig {
        failure_persistence: None,
        cases,
        rng_seed,
        max_shrink_iters: given.max_shrink_iters.min(1000),
        ..given
    }
}

proptest! {
    #![proptest_config(searching(150))]

    #[test]
    fn every_run_ends_and_keeps_every_rule((sketch, draws) in runs()) {
        let mut driver = play(&sketch, draws, |_, _| {});
        assert_same(&driver.state, &replay(&driver.plan(), &driver.log));
        assert_eq!(decide(&driver.state), []);
        // The end is the end: whatever comes late is refused and changes nothing.
        let before = whole(&driver.state);
        for recorded in driver.log.clone() {
            let may_follow = matches!(
                recorded.event,
                Event::RunResumed { .. } | Event::UndoRequested { .. } | Event::MeasureExtended { .. }
                    | Event::MeasureClosed { .. }
            );
            if !may_follow {
                driver.offer(recorded.event).expect_err("the run is over");
            }
        }
        assert_eq!(whole(&driver.state), before);
    }
}

proptest! {
    #![proptest_config(searching(40))]

    #[test]
    fn every_event_taken_twice_is_refused_or_changes_nothing((sketch, draws) in runs()) {
        let driver = play(&sketch, draws, |_, _| {});
        let mut state = runbook::run::RunState::new(driver.plan());
        for recorded in &driver.log {
            state.apply(recorded).expect("it was not refused before");
            // An action may save as often as it likes, and a time may be made longer twice.
            if matches!(recorded.event, Event::Checkpoint { .. } | Event::RunResumed { .. }) {
                continue;
            }
            let before = whole(&state);
            let mut twice = state.clone();
            let _ = twice.apply(recorded);
            prop_assert_eq!(whole(&twice), before, "{:?}", recorded.event);
        }
    }

    /// Whatever the state takes, the second account takes too; whatever it refuses changes nothing.
    #[test]
    fn every_illegal_event_is_refused_and_changes_nothing((sketch, draws) in runs(), (_, other) in runs()) {
        let pool = play(&sketch, other, |_, _| {}).log.clone();
        play(&sketch, draws, |driver, luck| {
            let before = whole(&driver.state);
            let from = luck.pick(pool.len());
            for recorded in pool.iter().cycle().skip(from).take(6).chain(driver.log.iter().rev().take(2)) {
                let recorded = Recorded { at: driver.now(), event: recorded.event.clone() };
                let mut state = driver.state.clone();
                match state.apply(&recorded) {
                    Err(_) => assert_eq!(whole(&state), before, "{:?} was refused", recorded.event),
                    Ok(()) => {
                        let told = driver.ledger.clone().take(&recorded.event);
                        let is_fine = told.as_ref().map_or_else(|told| told.starts_with(SAID), |()| true);
                        assert!(is_fine, "{:?} was taken: {told:?}", recorded.event);
                    }
                }
            }
        });
    }
}

#[test]
fn the_random_runs_go_everywhere() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut side_by_side = 0;
    for _ in 0..300 {
        let (sketch, draws) = runs().new_tree(&mut runner).expect("the strategy refuses nothing").current();
        let driver = play(&sketch, draws, |_, _| {});
        side_by_side = side_by_side.max(driver.side_by_side);
        for recorded in &driver.log {
            let event = serde_json::to_value(&recorded.event).expect("events are made of maps with text keys");
            let kind = event["type"].as_str().unwrap_or_default();
            let details = ["/result/how", "/outcome", "/because", "/timer/for", "/next/then", "/doubt/it"];
            for detail in details.iter().filter_map(|detail| event.pointer(detail)?.as_str()).chain([""]) {
                *seen.entry(format!("{kind} {detail}").trim_end().to_owned()).or_default() += 1;
            }
            if recorded.event.step().is_some_and(|step| step.as_str().matches('/').count() == 2) {
                *seen.entry(format!("{kind} deep")).or_default() += 1;
            }
        }
    }
    let wanted = [
        "attempt_finished again",
        "attempt_finished doubt",
        "attempt_finished failed",
        "attempt_finished succeeded",
        "attempt_started deep",
        "call_began",
        "cancel_requested",
        "checkpoint",
        "decided",
        "doubt_asked",
        "doubt_resolved again",
        "doubt_resolved did_not_happen",
        "doubt_resolved happened",
        "finally_began rolled_back",
        "gate_answered",
        "gate_opened",
        "gate_opened deep",
        "loop_began",
        "manual_answered done",
        "manual_answered failed",
        "manual_answered skipped",
        "measure_closed",
        "measure_extended",
        "rollback_began expiry",
        "rollback_began failure",
        "rollback_began request",
        "run_finished cancelled",
        "run_finished failed",
        "run_finished rejected",
        "run_finished rolled_back",
        "run_finished stuck",
        "run_finished succeeded",
        "run_resumed",
        "step_failed",
        "step_forced",
        "step_returned failed",
        "step_returned rejected",
        "step_returned succeeded",
        "step_skipped",
        "timer_fired again",
        "timer_fired deadline",
        "timer_fired gate",
        "timer_fired measure",
        "timer_fired run",
        "timer_fired undo_again",
        "undo_finished again",
        "undo_finished doubt",
        "undo_finished failed",
        "undo_finished undone",
        "undo_requested",
        "undo_started deep",
    ];
    let missing: BTreeSet<&str> = wanted.into_iter().filter(|kind| !seen.contains_key(*kind)).collect();
    assert!(missing.is_empty(), "never happened: {missing:?} among {seen:#?}");
    assert!(side_by_side >= 2, "no two undos were under way at once");
}
