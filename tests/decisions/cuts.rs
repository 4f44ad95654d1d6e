//! Every cut: the log of a run ends after any of its events, what was under way has landed or has not, another process
//! takes over, and in the end the world is as it would have been.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use runbook::action::{ActionError, Effect, ErrorKind, Replay, Undone};
use runbook::base::StepPath;
use runbook::plan::Plan;
use runbook::run::{Answer, Directive, Doubt, Event, Outcome, Recorded, StepState};
use serde_json::{Value, json};

use super::driver::{Driver, LIMITS, answered, path};
use super::sketch::plan_calling;

/// How a try, or a try of an undo, goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Works,
    /// Nothing is changed, and trying again does not help.
    Fails,
    /// Nothing is changed, and it may go better next time.
    Stumbles,
    /// It works, and nobody hears of it.
    Lost,
    /// It does not work, and nobody hears of it.
    Vanishes,
}

impl Fate {
    fn lands(self) -> bool {
        matches!(self, Self::Works | Self::Lost)
    }

    fn error(self) -> ActionError {
        match self {
            Self::Works | Self::Fails => ActionError::new(ErrorKind::Rejected, "it did not work"),
            Self::Stumbles => ActionError::new(ErrorKind::Server, "it did not work"),
            Self::Lost | Self::Vanishes => ActionError::new(ErrorKind::Timeout, "no answer came").uncertain(),
        }
    }
}

/// What is under way: a try of a step, or of its undo.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Act {
    Do(StepPath, u32),
    Undo(StepPath, u32),
}

/// What was changed, and how often.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct World {
    stands: BTreeMap<StepPath, bool>,
    done: BTreeMap<StepPath, u32>,
    undone: BTreeMap<StepPath, u32>,
}

impl World {
    fn lands(&mut self, act: &Act) {
        let (path, stands, counts) = match act {
            Act::Do(path, _) => (path, true, &mut self.done),
            Act::Undo(path, _) => (path, false, &mut self.undone),
        };
        self.stands.insert(path.clone(), stands);
        *counts.entry(path.clone()).or_default() += 1;
    }

    fn standing(&self) -> BTreeSet<&StepPath> {
        self.stands.iter().filter(|(_, stands)| **stands).map(|(path, _)| path).collect()
    }
}

/// A runbook and what its world does.
struct Story {
    yaml: &'static str,
    called: &'static [(&'static str, &'static str)],
    fate: fn(&Act) -> Fate,
    /// Somebody wants it undone when it is over.
    is_undone_after: bool,
}

impl Story {
    fn plan(&self) -> Arc<Plan> {
        plan_calling(self.yaml, self.called)
    }

    /// Drives a run to its end. With `last_first`, what began last ends first.
    fn tell(&self, driver: &mut Driver, world: &mut World, last_first: bool) {
        for _ in 0..400 {
            let standing = driver.settle();
            driver.commit();
            if driver.state.outcome().is_some() {
                if self.is_undone_after && !driver.state.is_reopened() {
                    let by = "user:ann".to_owned();
                    driver.record(Event::UndoRequested { by, only: Vec::new(), reason: None });
                    continue;
                }
                return;
            }
            let mut acts: Vec<Act> = driver.trying.iter().map(|(path, no)| Act::Do(path.clone(), no.0)).collect();
            acts.extend(driver.undoing.iter().map(|(path, no)| Act::Undo(path.clone(), no.0)));
            let next = if last_first { acts.pop() } else { acts.into_iter().next() };
            match next {
                Some(act) => self.end(driver, world, &act),
                None => self.answer(driver, world, &standing),
            }
        }
        panic!("it does not end");
    }

    fn end(&self, driver: &mut Driver, world: &mut World, act: &Act) {
        let fate = (self.fate)(act);
        if fate.lands() {
            world.lands(act);
        }
        let works = fate == Fate::Works;
        match act {
            Act::Do(path, _) => driver.finish(path, if works { Ok(json!({})) } else { Err(fate.error()) }),
            Act::Undo(path, _) => {
                driver.finish_undo(path, if works { Ok(Undone::default()) } else { Err(fate.error()) });
            }
        }
    }

    /// Nothing is under way: people answer what is so, probes see what is so, or time passes.
    fn answer(&self, driver: &mut Driver, world: &World, standing: &[Directive]) {
        let happened = Doubt::Happened { outputs: Value::Null };
        let by = "user:ann".to_owned();
        for directive in standing {
            match directive {
                Directive::Resolve(step) => {
                    let doubt = match world.stands.get(step) {
                        Some(true) => happened,
                        _ if driver.can_probe(step) => driver.after_it_did_not_happen(step),
                        _ if driver.state.is_halted(step) => Doubt::DidNotHappen,
                        _ => Doubt::Again,
                    };
                    return driver.record(Event::DoubtResolved { step: step.clone(), doubt, by, undo: false });
                }
                Directive::ResolveUndo(step) => {
                    let doubt = if world.stands.get(step) == Some(&false) { happened } else { Doubt::Again };
                    return driver.record(Event::DoubtResolved { step: step.clone(), doubt, by, undo: true });
                }
                Directive::Ask(step) => {
                    let state = driver.state.record(step).map(|record| record.state.clone());
                    let Some(StepState::AtGate(gate)) = state else { panic!("`{step}` asks for something else") };
                    return driver.record(answered(step, &gate.digest, "user:ann", Answer::Approve));
                }
                _ => {}
            }
        }
        let (at, timer) = driver.earliest().expect("something can happen");
        driver.pass_until(at);
        driver.record(Event::TimerFired { timer });
    }

    /// What was under way at the end of this log, as far as it may have landed, and the world before any of it did.
    fn at_the_cut(&self, log: &[Recorded]) -> (Vec<Act>, World) {
        let mut world = World::default();
        let mut open: BTreeMap<(StepPath, bool), Act> = BTreeMap::new();
        for recorded in log {
            match &recorded.event {
                Event::AttemptStarted { step, attempt, .. } => {
                    open.insert((step.clone(), false), Act::Do(step.clone(), attempt.0));
                }
                Event::UndoStarted { step, attempt, .. } => {
                    open.insert((step.clone(), true), Act::Undo(step.clone(), attempt.0));
                }
                Event::AttemptFinished { step, .. } => self.lands(open.remove(&(step.clone(), false)), &mut world),
                Event::UndoFinished { step, .. } => self.lands(open.remove(&(step.clone(), true)), &mut world),
                _ => {}
            }
        }
        (open.into_values().filter(|act| (self.fate)(act).lands()).collect(), world)
    }

    fn lands(&self, act: Option<Act>, world: &mut World) {
        if let Some(act) = act.filter(|act| (self.fate)(act).lands()) {
            world.lands(&act);
        }
    }

    /// Cuts the log of the whole run after every event, lands every part of what was under way, and compares.
    fn survives_every_cut(&self) -> Driver {
        let mut cuts = 0;
        let mut kept = None;
        for last_first in [false, true] {
            let (mut whole, mut expected) = (Driver::start(&self.plan(), LIMITS), World::default());
            self.tell(&mut whole, &mut expected, last_first);
            self.check(&whole, &expected, &expected, whole.state.outcome());
            for cut in 1..whole.log.len() {
                let (open, before) = self.at_the_cut(&whole.log[..cut]);
                for landed in 0..1_u32 << open.len() {
                    let mut world = before.clone();
                    for (_, act) in open.iter().enumerate().filter(|(bit, _)| landed & (1 << bit) != 0) {
                        world.lands(act);
                    }
                    for again in [false, true] {
                        let mut world = world.clone();
                        let mut driver = Driver::resumed(&self.plan(), &whole.log[..cut]);
                        if again {
                            // The second process dies as well, before anything that it began has landed.
                            driver.go_on();
                            driver.crash(driver.log.len());
                        }
                        self.tell(&mut driver, &mut world, last_first);
                        self.check(&driver, &world, &expected, whole.state.outcome());
                        cuts += 1;
                    }
                }
            }
            kept = Some(whole);
        }
        assert!(cuts > 10, "the run was hardly cut");
        kept.expect("the run was told")
    }

    fn check(&self, driver: &Driver, world: &World, expected: &World, outcome: Option<Outcome>) {
        assert_eq!(world.standing(), expected.standing(), "what stands in the end");
        // What was lost before it did anything needs no undo; then nothing was rolled back.
        let near = |outcome| match outcome {
            Some(Outcome::RolledBack) => Some(Outcome::Failed),
            other => other,
        };
        assert_eq!(near(driver.state.outcome()), near(outcome));
        for (step, times) in &world.done {
            let facts = driver.state.facts(step).expect("a step of the run");
            let repeatable = facts.effect == Effect::Read || matches!(facts.replay, Replay::Safe | Replay::Keyed);
            assert!(*times == 1 || repeatable, "`{step}` was done {times} times");
        }
        for (step, times) in &world.undone {
            let by_another = driver.state.facts(step).and_then(|facts| facts.undo) == Some(Replay::Once);
            assert!(*times == 1 || !by_another, "`{step}` was undone {times} times");
            assert!(world.done.contains_key(step), "`{step}` was undone and never done");
        }
        let told: BTreeSet<StepPath> = driver.state.left_standing().into_iter().map(|left| left.step).collect();
        let failed = !matches!(driver.state.outcome(), Some(Outcome::Succeeded));
        for step in world.standing().into_iter().filter(|_| failed && !self.is_undone_after) {
            assert!(told.contains(step), "`{step}` stands, and nobody is told");
        }
    }
}

fn all_works(_: &Act) -> Fate {
    Fate::Works
}

/// A step called `bad` fails, whatever is tried.
fn bad_fails(act: &Act) -> Fate {
    match act {
        Act::Do(path, _) if path.id().as_str() == "bad" => Fate::Fails,
        _ => Fate::Works,
    }
}

fn story(yaml: &'static str, fate: fn(&Act) -> Fate) -> Story {
    Story { yaml, called: &[], fate, is_undone_after: false }
}

const CHAIN: &str = "
runbook: a
steps:
  a: { run: one }
  b: { needs: [a], uses: test.poke, with: {} }
  c: { needs: [b], run: three }
finally:
  last: { run: four }
";

const DIAMOND: &str = "
runbook: a
steps:
  a: { run: one }
  b: { needs: [a], run: two }
  c: { needs: [a], uses: http.request, with: { url: 'http://a.example' } }
  d: { needs: [b, c], run: four }
";

const FAN: &str = "
runbook: a
steps:
  a: { run: one }
  b: { run: two }
  c: { run: three }
  d: { uses: test.poke, with: {} }
  e: { needs: [a, b, c, d], run: five }
";

const BESIDE: &str = "
runbook: a
on_failure: rollback
steps:
  a: { run: one, undo: { run: back } }
  b: { needs: [a], run: two, undo: { run: back } }
  bad: { needs: [a], uses: test.poke, with: {} }
  never: { needs: [bad], run: three }
";

const UNDO_RETRIED: &str = "
runbook: a
on_failure: rollback
steps:
  a: { run: one, undo: { run: back, retry: { attempts: 3, delay: 3s, jitter: false } } }
  b: { needs: [a], uses: test.poke, with: {}, undo: auto, retry: { attempts: 3, delay: 3s, jitter: false } }
  bad: { needs: [b], run: three }
";

const SIDE_BY_SIDE: &str = "
runbook: a
on_failure: rollback
steps:
  root: { run: zero, undo: { run: back } }
  a: { needs: [root], run: one, undo: { run: back } }
  b: { needs: [root], uses: test.poke, with: {}, undo: auto }
  bad: { needs: [a, b], run: three }
";

const GATED: &str = "
runbook: a
steps:
  a: { run: one }
  b: { needs: [a], approval: { prompt: '?' }, run: two }
  c: { run: three }
";

const LOOP: &str = "
runbook: a
steps:
  a: { run: one }
  each: { needs: [a], for_each: { in: [a, b, c, d, e], ramp: true, at_most: 2 }, run: two }
  pokes: { for_each: { in: [a, b], at_most: 1 }, uses: test.poke, with: {} }
  b: { needs: [each, pokes], run: three }
";

const LOOP_BACK: &str = "
runbook: a
on_failure: rollback
steps:
  each: { for_each: { in: [a, b, c], at_most: 2 }, run: one, undo: { run: back } }
  bad: { needs: [each], run: two }
";

const CALLS: &str = "
runbook: a
on_failure: rollback
steps:
  a: { run: one, undo: { run: back } }
  c: { needs: [a], call: inner.yaml }
  after: { needs: [c], run: two }
";

const INNER: &str = "
runbook: inner
on_failure: rollback
steps:
  x: { run: one, undo: { run: back } }
  y: { uses: test.poke, with: {}, undo: auto }
  bad: { needs: [x, y], run: three }
finally:
  last: { run: four }
";

const MEASURE: &str = "
runbook: a
steps:
  m: { run: one, undo: { run: back }, measure: { expires: 10s, on_expiry: undo } }
  built: { needs: [m], uses: test.poke, with: {}, undo: auto }
  stays: { run: three }
";

const DOUBTFUL: &str = "
runbook: a
steps:
  once: { run: one }
  probe: { uses: test.poke, with: {} }
  after: { needs: [once, probe], run: two }
";

const REOPENED: &str = "
runbook: a
steps:
  a: { run: one, undo: { run: back } }
  b: { needs: [a], uses: test.poke, with: {}, undo: auto }
  c: { needs: [a], run: three, undo: { run: back } }
finally:
  last: { uses: http.get, with: { url: 'http://a.example' } }
";

#[test]
fn a_chain_survives_every_cut() {
    let driver = story(CHAIN, all_works).survives_every_cut();
    assert_eq!(driver.state.outcome(), Some(Outcome::Succeeded));
}

#[test]
fn a_diamond_survives_every_cut() {
    story(DIAMOND, all_works).survives_every_cut();
}

#[test]
fn a_fan_survives_every_cut() {
    story(FAN, all_works).survives_every_cut();
}

#[test]
fn a_failure_beside_a_step_in_flight_survives_every_cut() {
    let driver = story(BESIDE, bad_fails).survives_every_cut();
    assert_eq!(driver.state.outcome(), Some(Outcome::RolledBack));
}

#[test]
fn an_undo_that_is_tried_again_survives_every_cut() {
    let driver = story(UNDO_RETRIED, |act| match act {
        Act::Undo(_, 1) => Fate::Stumbles,
        act => bad_fails(act),
    })
    .survives_every_cut();
    assert!(driver.state.record(&path("a")).is_some_and(|record| record.undo_attempts == 2));
}

#[test]
fn an_undo_whose_answer_is_lost_survives_every_cut() {
    let driver = story(UNDO_RETRIED, |act| match act {
        Act::Undo(_, 1) => Fate::Lost,
        act => bad_fails(act),
    })
    .survives_every_cut();
    assert_eq!(driver.state.outcome(), Some(Outcome::RolledBack));
}

#[test]
fn undos_side_by_side_survive_every_cut() {
    let driver = story(SIDE_BY_SIDE, bad_fails).survives_every_cut();
    assert_eq!(driver.side_by_side, 2);
}

#[test]
fn an_open_gate_survives_every_cut() {
    story(GATED, all_works).survives_every_cut();
}

#[test]
fn a_loop_half_done_survives_every_cut() {
    let driver = story(LOOP, all_works).survives_every_cut();
    assert_eq!(driver.state.tally(&path("each")), Some([5, 0, 0, 5]));
}

#[test]
fn a_loop_that_is_undone_survives_every_cut() {
    let driver = story(LOOP_BACK, bad_fails).survives_every_cut();
    assert_eq!((driver.side_by_side, driver.state.outcome()), (2, Some(Outcome::RolledBack)));
}

#[test]
fn a_called_runbook_survives_every_cut() {
    let called = &[("inner.yaml", INNER)];
    let driver = Story { called, ..story(CALLS, all_works) }.survives_every_cut();
    assert_eq!(driver.state.outcome(), Some(Outcome::Succeeded));
}

#[test]
fn a_called_runbook_that_is_rolled_back_survives_every_cut() {
    let called = &[("inner.yaml", INNER)];
    let driver = Story { called, ..story(CALLS, bad_fails) }.survives_every_cut();
    let begun = driver.log.iter().filter(|recorded| matches!(recorded.event, Event::RollbackBegan { .. })).count();
    assert_eq!((begun, driver.state.outcome()), (2, Some(Outcome::RolledBack)));
}

#[test]
fn a_measure_that_expires_survives_every_cut() {
    let driver = story(MEASURE, all_works).survives_every_cut();
    assert_eq!(driver.state.measures_in_force(), []);
}

#[test]
fn a_lost_answer_survives_every_cut() {
    for fate in [Fate::Lost, Fate::Vanishes] {
        let story = match fate {
            Fate::Lost => story(DOUBTFUL, |act| match act {
                Act::Do(path, 1) if path.as_str() != "after" => Fate::Lost,
                _ => Fate::Works,
            }),
            _ => story(DOUBTFUL, |act| match act {
                Act::Do(path, 1) if path.as_str() == "once" => Fate::Vanishes,
                _ => Fate::Works,
            }),
        };
        let driver = story.survives_every_cut();
        assert_eq!(driver.state.outcome(), Some(Outcome::Succeeded));
    }
}

#[test]
fn a_run_that_is_undone_later_survives_every_cut() {
    let driver = Story { is_undone_after: true, ..story(REOPENED, all_works) }.survives_every_cut();
    assert_eq!(driver.state.outcome(), Some(Outcome::RolledBack));
}
