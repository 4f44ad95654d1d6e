//! Events that do not fit are refused with a sentence and change nothing.

use indexmap::IndexMap;
use runbook::base::{Attempt, Digest};
use runbook::run::{Answer, AttemptResult, Cause, Decision, Doubt, Event, Next, Outcome, Timer, Why};
use serde_json::json;

use super::driver::{Driver, path, started};

const GATED: &str = "runbook: a\nsteps:\n  s: { approval: { prompt: '?' }, uses: http.get, with: { url: 'http://a.example' } }\n  t: { uses: http.get, with: { url: 'http://a.example' } }\n";

/// Offers an event that must be refused, and holds the state against what it was.
fn refused(driver: &mut Driver, event: Event) -> String {
    let before = format!("{:?}", driver.state);
    let refusal = driver.offer(event.clone()).expect_err(&format!("{event:?}"));
    assert_eq!(format!("{:?}", driver.state), before, "a refused event changes nothing");
    refusal.to_string()
}

fn decision(by: &str) -> Decision {
    Decision { by: by.to_owned(), answer: Answer::Approve, answers: IndexMap::new(), via: "terminal".to_owned() }
}

fn finished(step: &str, attempt: u32) -> Event {
    let result = AttemptResult::Succeeded { outputs: json!({}) };
    Event::AttemptFinished { step: path(step), attempt: Attempt(attempt), result, next: Next::End, met: None }
}

#[test]
fn late_and_double_events_are_refused() {
    let mut driver = Driver::of(GATED);
    let said = refused(&mut driver, finished("t", 2));
    assert_eq!(said, "`attempt_finished` of step `t` cannot happen now: no such try is under way");
    driver.succeed("t");
    refused(&mut driver, finished("t", 1));
    refused(&mut driver, Event::AttemptStarted { step: path("t"), attempt: Attempt(2), params: None });
    refused(
        &mut driver,
        Event::StepSkipped { step: path("t"), because: Cause::Condition { condition: "x".to_owned() } },
    );
    refused(&mut driver, Event::TimerFired { timer: Timer::Again { step: path("t") } });
    refused(
        &mut driver,
        Event::DoubtResolved { step: path("t"), doubt: Doubt::Again, by: "user:ann".to_owned(), undo: false },
    );
}

#[test]
fn an_answer_counts_once_for_one_person_about_what_they_were_shown() {
    let mut driver = Driver::of(&GATED.replace("prompt: '?'", "prompt: '?', at_least: 2"));
    let other =
        Event::GateAnswered { step: path("s"), digest: Digest::of(b"something else"), decision: decision("user:ann") };
    assert!(refused(&mut driver, other).contains("the answer is about something else"));
    driver.approve("s", "user:ann");
    let runbook::run::StepState::AtGate(gate) = driver.state.record(&path("s")).unwrap().state.clone() else {
        panic!()
    };
    let again = Event::GateAnswered { step: path("s"), digest: gate.digest, decision: decision("user:ann") };
    assert!(refused(&mut driver, again).contains("the same person has answered already"));
    refused(&mut driver, Event::AttemptStarted { step: path("s"), attempt: Attempt(1), params: None });
}

#[test]
fn nothing_follows_the_end_and_no_step_of_another_plan_is_known() {
    let mut driver = Driver::of(GATED);
    refused(&mut driver, finished("t", 7));
    let mut unknown = finished("t", 1);
    if let Event::AttemptFinished { step, .. } = &mut unknown {
        *step = path("stranger");
    }
    assert!(refused(&mut driver, unknown).contains("the run has no step `stranger`"));
    refused(&mut driver, Event::RunFinished { outcome: Outcome::Succeeded });
    driver.succeed("t").answer("s", "user:ann", Answer::Reject);
    assert_eq!(driver.state.outcome(), Some(Outcome::Rejected));
    assert!(
        refused(&mut driver, Event::RunResumed { by: "user:ann".to_owned(), locks: Vec::new() })
            .contains("the run is over")
    );
    refused(&mut driver, Event::CancelRequested { by: "user:ann".to_owned(), reason: None });
    refused(&mut driver, Event::FinallyBegan { outcome: Outcome::Succeeded, within: None });
}

#[test]
fn a_log_of_another_plan_is_refused_from_its_first_event() {
    let one = Driver::of(GATED);
    let other = Driver::of(&GATED.replace("a.example", "b.example"));
    let mut empty = Driver::before(&other.plan());
    let first = one.log.first().unwrap().event.clone();
    assert!(refused(&mut empty, first).contains("the log belongs to another plan"));
    refused(&mut empty, finished("t", 1));
}

/// A table: in this run, each of these is refused with this reason.
fn table(driver: &mut Driver, rows: Vec<(Event, &str)>) {
    for (event, why) in rows {
        let told = format!("{event:?}");
        let said = refused(driver, event);
        assert!(said.ends_with(why), "{told}: {said}");
    }
}

fn start(step: &str, attempt: u32) -> Event {
    Event::AttemptStarted { step: path(step), attempt: Attempt(attempt), params: None }
}

fn undo(step: &str, attempt: u32) -> Event {
    Event::UndoStarted { step: path(step), attempt: Attempt(attempt), params: None }
}

fn rollback(steps: &[&str], because: Why) -> Event {
    Event::RollbackBegan { within: None, steps: steps.iter().map(|step| path(step)).collect(), because }
}

fn forced(step: &str) -> Event {
    Event::StepForced { step: path(step), by: "user:ann".to_owned(), reason: "it must".to_owned() }
}

fn request(only: &[&str]) -> Event {
    let only = only.iter().map(|step| path(step)).collect();
    Event::UndoRequested { by: "user:ann".to_owned(), only, reason: None }
}

fn skipped(step: &str, because: Cause) -> Event {
    Event::StepSkipped { step: path(step), because }
}

const UNDONE: &str = "runbook: a
on_failure: rollback
steps:
  a: { run: one, undo: { run: back } }
  b: { needs: [a], run: two, undo: { run: back } }
  bad: { needs: [b], run: three }
  later: { needs: [bad], run: four }
finally:
  last: { run: five }
";

#[test]
fn what_does_not_follow_is_refused_at_every_stage_of_a_run() {
    let finally = || Event::FinallyBegan { outcome: Outcome::Failed, within: None };
    let early = "something is under way or still to be done";
    let mut driver = Driver::of(UNDONE);
    let again = started(&driver.plan(), super::driver::LIMITS);
    table(
        &mut driver,
        vec![
            (again, "the run has begun already"),
            (start("b", 1), "it is not its turn"),
            (start("last", 1), "it is not its turn"),
            (start("a", 1), "it is not its turn"),
            (start("a", 2), "it is not its turn"),
            (finished("a", 2), "no such try is under way"),
            (start("stranger", 1), "the run has no step `stranger`"),
            (finally(), "or the final ones have begun"),
            (Event::RunFinished { outcome: Outcome::Succeeded }, early),
            (undo("a", 1), "it is not to be undone now"),
            (rollback(&["a"], Why::Failure), "there is nothing to undo of `a`"),
            (request(&[]), "the run is not over"),
            (forced("a"), "it has begun already"),
            (skipped("a", Cause::Person { by: "x".to_owned(), reason: "y".to_owned() }), "it is under way"),
            (skipped("b", Cause::Stuck), "nothing keeps it from running"),
            (Event::TimerFired { timer: Timer::Run }, "nothing waits for that time"),
            (
                Event::MeasureClosed { step: path("a"), by: "x".to_owned(), reason: "y".to_owned() },
                "it has no emergency measure in force",
            ),
            (Event::Checkpoint { step: path("a"), attempt: Attempt(2), value: json!(1) }, "no such try is under way"),
        ],
    );
    driver.succeed("a");
    table(
        &mut driver,
        vec![
            (rollback(&["a"], Why::Failure), "nothing asks for exactly that"),
            (rollback(&["a"], Why::Expiry), "nothing asks for exactly that"),
            (rollback(&["a"], Why::Request), "nothing asks for exactly that"),
            (undo("a", 1), "it is not to be undone now"),
        ],
    );
    driver.succeed("b").fail("bad");
    assert_eq!(driver.under_way(), ["undo b"]);
    table(
        &mut driver,
        vec![
            (undo("a", 1), "it is not to be undone now"),
            (undo("b", 2), "it is being undone already"),
            (start("later", 1), "it is not its turn"),
            (forced("later"), "it has begun already"),
            (rollback(&["a", "b"], Why::Failure), "another rollback is under way"),
            (finally(), "or the final ones have begun"),
        ],
    );
    driver.undo("b");
    table(&mut driver, vec![(undo("b", 2), "it is not to be undone now")]);
    driver.undo("a");
    assert_eq!(driver.under_way(), ["last"]);
    table(
        &mut driver,
        vec![
            (Event::RunFinished { outcome: Outcome::RolledBack }, early),
            (finally(), "or the final ones have begun"),
            (undo("a", 2), "it is not to be undone now"),
        ],
    );
    driver.succeed("last");
    table(&mut driver, vec![(request(&["a"]), "there is nothing to undo of `a`"), (finally(), "the run is over")]);
}

#[test]
fn nothing_begins_in_a_run_that_is_to_stop_or_beyond_its_limits() {
    let yaml = "runbook: a
steps:
  a: { run: one }
  b: { run: two }
  c: { run: three }
  g: { approval: { prompt: '?' }, run: four }
";
    let mut driver = Driver::of(yaml);
    table(&mut driver, vec![(start("c", 1), "as many are under way as may be")]);
    table(&mut driver, vec![(start("g", 1), "it is not its turn")]);
    driver.cancel().fail_with("a", runbook::action::ErrorKind::Cancelled);
    table(&mut driver, vec![(start("c", 1), "it is not its turn")]);
}

#[test]
fn a_step_is_not_forced_where_nothing_more_begins() {
    let yaml = "runbook: a
steps:
  a: { run: one }
  b: { run: two }
  c: { needs: [a], run: three }
";
    let mut driver = Driver::of(yaml);
    driver.finish(&path("a"), Err(runbook::action::ActionError::new(runbook::action::ErrorKind::Rejected, "no")));
    let why = "nothing more begins there: the run stopped when `a` failed";
    table(&mut driver, vec![(forced("c"), why), (start("c", 1), "it is not its turn")]);
}

#[test]
fn a_gate_is_not_answered_late_or_twice() {
    let mut driver = Driver::of(&GATED.replace("prompt: '?'", "prompt: '?', within: 90s, on_timeout: reject"));
    let runbook::run::StepState::AtGate(gate) = driver.state.record(&path("s")).unwrap().state.clone() else {
        panic!()
    };
    let answer =
        || Event::GateAnswered { step: path("s"), digest: gate.digest.clone(), decision: decision("user:ann") };
    driver.pass(std::time::Duration::from_secs(90));
    table(&mut driver, vec![(answer(), "the question has lapsed")]);
    let mut driver = Driver::of(GATED);
    driver.approve("s", "user:ann");
    table(&mut driver, vec![(answer(), "its gate is not open"), (start("s", 2), "it is not its turn")]);
}

#[test]
fn a_loop_has_no_item_twice_and_its_items_have_no_life_of_their_own() {
    use runbook::run::{Item, Limits, Returned};
    let yaml = "runbook: a\nsteps:\n  each: { for_each: { in: [a, b, c], at_most: 1 }, run: one }\n";
    let mut driver = Driver::start(&super::sketch::plan_of(yaml), Limits { io: 4, processes: 4 });
    let item = |key: &str| Item { key: key.to_owned(), value: json!(key) };
    let twice = Event::LoopBegan { step: path("each"), items: vec![item("a"), item("b"), item("a")] };
    table(&mut driver, vec![(twice, "two of its items have the key `a`"), (start("each", 1), "it is not its turn")]);
    driver.go_on();
    let over = Event::StepReturned { step: path("each"), result: Returned::Succeeded { outputs: json!({}) } };
    table(
        &mut driver,
        vec![
            (start("each[b]", 1), "it is not its turn"),
            (start("each[z]", 1), "the run has no step `each[z]`"),
            (forced("each[b]"), "an item begins with its loop"),
            (over, "something in it is under way or still to be done"),
        ],
    );
}

#[test]
fn a_call_follows_the_plan_that_was_approved() {
    let called = "runbook: c\ninputs:\n  n: { type: integer, default: 1 }\nsteps:\n  x: { run: one }\n";
    let yaml = "runbook: a\nsteps:\n  c: { call: c.yaml }\n";
    let plan = super::sketch::plan_calling(yaml, &[("c.yaml", called)]);
    let mut driver = Driver::start(&plan, super::driver::LIMITS);
    let call = |plan: Digest, n: serde_json::Value| {
        let inputs = IndexMap::from([("n".to_owned(), n)]);
        Event::CallBegan { step: path("c"), plan, inputs, locks: Vec::new() }
    };
    let other = plan.called(0, &std::collections::BTreeMap::from([("n".to_owned(), json!(2))]));
    let other = other.unwrap().unwrap().digest().clone();
    table(
        &mut driver,
        vec![
            (call(Digest::of(b"another"), json!(1)), "it calls another plan"),
            (call(other, json!(1)), "it calls another plan"),
            (call(Digest::of(b"another"), json!("x")), "it calls no runbook, or with inputs that do not fit"),
            (start("c", 1), "it is not its turn"),
            (start("c/x", 1), "the run has no step `c/x`"),
        ],
    );
    driver.go_on();
    let within = Event::FinallyBegan { outcome: Outcome::Succeeded, within: Some(path("c")) };
    table(&mut driver, vec![(within, "or the final ones have begun")]);
}
