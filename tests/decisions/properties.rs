//! Properties: whatever the runbook, and whatever the world does, the rules hold. The rules stand in `ledger`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use runbook::action::{ActionError, ErrorKind, Undone};
use runbook::base::{StepId, Timestamp};
use runbook::run::{
    Answer, Directive, Doubt, Event, Limits, ManualResult, Outcome, StepState, Timer, UndoResult, decide,
};
use serde_json::{Value, json};

use super::driver::{Driver, answered, assert_same, replay};
use super::sketch::{Sketch, plan_of, sketches};

/// What the world draws its answers from. When nothing is left, everything goes well.
struct Luck {
    draws: Vec<u16>,
    next: usize,
}

impl Luck {
    /// A number below `count`; 0 when no luck is left.
    fn pick(&mut self, count: usize) -> usize {
        let draw = self.draws.get(self.next).copied().unwrap_or(0);
        self.next += 1;
        usize::from(draw) % count.max(1)
    }

    fn one_in(&mut self, count: usize) -> bool {
        self.pick(count) == count - 1
    }
}

/// Something that the world may do next.
enum Happening {
    TryEnds(StepId),
    UndoEnds(StepId),
    PersonAnswers(StepId),
    DoubtEnds(StepId),
    TimeComes(Timestamp, Timer),
    TrySaves(StepId),
    SomebodyCancels,
    ProcessDies,
}

/// Plays a run to its end.
fn play(sketch: &Sketch, draws: Vec<u16>) -> Driver {
    let mut luck = Luck { draws, next: 0 };
    let plan = plan_of(&sketch.yaml());
    let limits = Limits { io: 1 + luck.pick(3), processes: 1 + luck.pick(3) };
    let mut driver = Driver::start(&plan, limits);
    // Every draw can cost at most a crash: each step in doubt, resolved and begun again. The rest is a quiet run.
    let most = 100 + 40 * plan.len() + luck.draws.len() * (1 + 2 * (limits.io + limits.processes));
    loop {
        assert!(driver.log.len() <= most, "it does not end");
        let standing = driver.settle();
        if luck.one_in(25) {
            // Any part of what was to be committed may have reached the disk. A run whose end did is over.
            let ended = usize::from(driver.state.outcome().is_some());
            let kept = driver.committed + luck.pick(driver.log.len() - ended - driver.committed + 1);
            driver.crash(kept);
            continue;
        }
        driver.commit();
        if let Some(outcome) = driver.state.outcome() {
            if outcome == Outcome::Cancelled && luck.pick(3) > 0 {
                driver.crash(driver.log.len());
                continue;
            }
            return driver;
        }
        driver.pass(Duration::from_secs([0, 1, 5, 60][luck.pick(4)]));
        let mut happenings = what_may_happen(&driver, &standing);
        assert!(!happenings.is_empty(), "nothing can happen any more");
        if luck.one_in(12) {
            happenings = vec![Happening::SomebodyCancels];
        } else if luck.one_in(12) {
            happenings = vec![Happening::ProcessDies];
        }
        let chosen = happenings.swap_remove(luck.pick(happenings.len()));
        happen(&mut driver, &mut luck, &standing, chosen);
    }
}

/// What moves the run stands first, so that it ends when luck has run out.
fn what_may_happen(driver: &Driver, standing: &[Directive]) -> Vec<Happening> {
    let mut found: Vec<Happening> = driver.trying.keys().cloned().map(Happening::TryEnds).collect();
    found.extend(driver.undoing.clone().map(Happening::UndoEnds));
    found.extend(standing.iter().filter_map(|directive| match directive {
        Directive::Ask(step) => Some(Happening::PersonAnswers(step.clone())),
        Directive::Resolve(step) => Some(Happening::DoubtEnds(step.clone())),
        Directive::WakeAt(at, timer) => Some(Happening::TimeComes(*at, timer.clone())),
        _ => None,
    }));
    found.extend(driver.trying.keys().cloned().map(Happening::TrySaves));
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
            driver.undoing = None;
            let result = if luck.one_in(5) {
                UndoResult::Failed { error: ActionError::new(ErrorKind::Server, "it did not work") }
            } else {
                UndoResult::Undone { undone: Undone::default() }
            };
            driver.record(Event::UndoFinished { step, result });
        }
        Happening::PersonAnswers(step) => a_person_answers(driver, luck, step),
        Happening::DoubtEnds(step) => {
            let doubt =
                if luck.pick(2) == 0 { Doubt::Happened { outputs: json!({ "status": 200 }) } } else { Doubt::Again };
            driver.record(Event::DoubtResolved { step, doubt, by: "user:ann".to_owned() });
        }
        Happening::TimeComes(at, timer) => {
            driver.pass_until(at);
            driver.record(Event::TimerFired { timer });
        }
        Happening::TrySaves(step) => {
            let attempt = driver.trying[&step];
            driver.record(Event::Checkpoint { step, attempt, value: json!({ "found": "before" }) });
        }
        Happening::SomebodyCancels => driver.record(Event::CancelRequested { by: "user:cat".to_owned(), reason: None }),
        Happening::ProcessDies => driver.crash(driver.log.len()),
    }
}

fn how_it_ends(luck: &mut Luck) -> Result<Value, ActionError> {
    let kinds = [ErrorKind::Server, ErrorKind::Rejected, ErrorKind::Timeout, ErrorKind::Unauthorized];
    match luck.pick(20) {
        0..=10 => Ok(json!({ "status": 200 })),
        11 | 12 => Ok(json!({ "status": 500 })),
        13 => Ok(json!({})),
        // Nobody asked it to stop, and it says it was stopped.
        14 => Err(ActionError::cancelled()),
        _ => Err(ActionError::new(kinds[luck.pick(kinds.len())], "it did not work")),
    }
}

fn a_person_answers(driver: &mut Driver, luck: &mut Luck, step: StepId) {
    let record = driver.state.record(&step).expect("directives name steps of the plan").clone();
    let StepState::AtGate(gate) = &record.state else {
        let result = match luck.pick(6) {
            4 => ManualResult::Failed { reason: "it did not work".to_owned() },
            5 => ManualResult::Skipped { reason: "not needed".to_owned() },
            _ => ManualResult::Done { evidence: indexmap::IndexMap::new() },
        };
        driver.record(Event::ManualAnswered { step, by: "user:ann".to_owned(), result });
        return;
    };
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
    (sketches(), vec(any::<u16>(), 0..160))
}

/// Few cases, so that nobody waits; `PROPTEST_CASES=20000` searches longer.
fn searching(cases: u32) -> ProptestConfig {
    let given = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { given.cases } else { cases };
    ProptestConfig { failure_persistence: None, cases, ..given }
}

proptest! {
    #![proptest_config(searching(150))]

    #[test]
    fn every_run_ends_and_keeps_every_rule((sketch, draws) in runs()) {
        let mut driver = play(&sketch, draws);
        assert_same(&driver.state, &replay(&driver.plan(), &driver.log));
        assert_eq!(decide(&driver.state), []);
        // The end is the end: whatever comes late is refused and changes nothing.
        let before = format!("{:?}", driver.state);
        let resumable = driver.state.outcome() == Some(Outcome::Cancelled);
        for recorded in driver.log.clone() {
            if resumable && matches!(recorded.event, Event::RunResumed { .. }) {
                continue;
            }
            driver.offer(recorded.event).expect_err("the run is over");
        }
        assert_eq!(format!("{:?}", driver.state), before);
    }

}

proptest! {
    #![proptest_config(searching(40))]

    #[test]
    fn every_event_taken_twice_is_refused_or_changes_nothing((sketch, draws) in runs()) {
        let driver = play(&sketch, draws);
        let mut state = runbook::run::RunState::new(driver.plan());
        for recorded in &driver.log {
            state.apply(recorded).expect("it was not refused before");
            if matches!(recorded.event, Event::Checkpoint { .. }) {
                continue; // An action may save as often as it likes.
            }
            let before = format!("{state:?}");
            let _ = state.apply(recorded);
            prop_assert_eq!(format!("{:?}", state), before, "{:?}", recorded.event);
        }
    }
}

#[test]
fn the_random_runs_go_everywhere() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for _ in 0..100 {
        let (sketch, draws) = runs().new_tree(&mut runner).expect("the strategy refuses nothing").current();
        let driver = play(&sketch, draws);
        for recorded in &driver.log {
            let event = serde_json::to_value(&recorded.event).expect("events are made of maps with text keys");
            let kind = event["type"].as_str().unwrap_or_default();
            let detail = event["result"]["how"].as_str().or_else(|| event["outcome"].as_str()).unwrap_or_default();
            *seen.entry(format!("{kind} {detail}").trim_end().to_owned()).or_default() += 1;
        }
    }
    let wanted = [
        "attempt_finished failed",
        "attempt_finished succeeded",
        "cancel_requested",
        "checkpoint",
        "decided",
        "doubt_resolved",
        "gate_answered",
        "gate_opened",
        "manual_answered done",
        "manual_answered failed",
        "manual_answered skipped",
        "run_finished cancelled",
        "run_finished failed",
        "run_finished rejected",
        "run_finished rolled_back",
        "run_finished stuck",
        "run_finished succeeded",
        "run_resumed",
        "step_failed",
        "step_skipped",
        "timer_fired",
        "undo_finished failed",
        "undo_finished undone",
    ];
    let missing: BTreeSet<&str> = wanted.into_iter().filter(|kind| !seen.contains_key(*kind)).collect();
    assert!(missing.is_empty(), "never happened: {missing:?} among {seen:#?}");
}
