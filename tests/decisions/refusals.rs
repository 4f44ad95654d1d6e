//! Events that do not fit are refused with a sentence and change nothing.

use indexmap::IndexMap;
use runbook::base::{Attempt, Digest};
use runbook::run::{Answer, AttemptResult, Cause, Decision, Doubt, Event, Next, Outcome, Timer};
use serde_json::json;

use super::driver::{Driver, path};

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
    refused(&mut driver, Event::StepSkipped { step: path("t"), because: Cause::Condition { condition: "x".to_owned() } });
    refused(&mut driver, Event::TimerFired { timer: Timer::Again { step: path("t") } });
    refused(&mut driver, Event::DoubtResolved { step: path("t"), doubt: Doubt::Again, by: "user:ann".to_owned(), undo: false });
}

#[test]
fn an_answer_counts_once_for_one_person_about_what_they_were_shown() {
    let mut driver = Driver::of(&GATED.replace("prompt: '?'", "prompt: '?', at_least: 2"));
    let other =
        Event::GateAnswered { step: path("s"), digest: Digest::of(b"something else"), decision: decision("user:ann") };
    assert!(refused(&mut driver, other).contains("the answer is about something else"));
    driver.approve("s", "user:ann");
    let runbook::run::StepState::AtGate(gate) = driver.state.record(&path("s")).unwrap().state.clone() else { panic!() };
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
    assert!(refused(&mut driver, Event::RunResumed { by: "user:ann".to_owned(), locks: Vec::new() }).contains("the run is over"));
    refused(&mut driver, Event::CancelRequested { by: "user:ann".to_owned() });
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
