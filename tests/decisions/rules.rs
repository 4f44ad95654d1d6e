//! The rules of the language on small runbooks.

use runbook::run::{Answer, Directive, Doubt, ManualResult, Outcome};
use runbook::runbook::StepResult;

use super::driver::{Driver, path};

/// A step that runs an action, with more of its fields.
fn step(name: &str, more: &str) -> String {
    format!(
        "  {name}: {{ {more}{}uses: http.get, with: {{ url: 'http://a.example' }} }}\n",
        if more.is_empty() { "" } else { ", " }
    )
}

/// The same runbook, with an action that must not be repeated by itself.
fn once(yaml: &str) -> String {
    yaml.replace("http.get", "http.request")
}

fn runbook(steps: &[String], more: &str) -> String {
    format!("runbook: a\nsteps:\n{}{more}\n", steps.concat())
}

fn result(driver: &Driver, name: &str) -> Option<StepResult> {
    driver.state.record(&path(name)).and_then(runbook::run::StepRecord::result)
}

#[test]
fn a_step_whose_need_ended_the_wrong_way_is_skipped_and_the_log_says_because_of_what() {
    let mut driver = Driver::of(&runbook(
        &[step("a", "allow_failure: true"), step("b", "needs: [a]"), step("c", "needs: { b: skipped }")],
        "",
    ));
    driver.fail("a").succeed("c");
    assert!(driver.told().contains("`a` failed"), "{}", driver.told());
    assert_eq!((result(&driver, "b"), driver.state.outcome()), (Some(StepResult::Skipped), Some(Outcome::Succeeded)));
}

#[test]
fn a_failure_beside_a_step_in_flight_lets_it_end_and_undoes_it_too() {
    let undo = "undo: { uses: shell, with: { script: 'true' } }";
    let mut driver = Driver::of(&runbook(
        &[step("one", undo), step("bad", ""), step("later", "needs: [bad]")],
        "on_failure: rollback",
    ));
    driver.fail("bad");
    assert_eq!(driver.state.outcome_before_finally(), None, "what runs is let end");
    driver.succeed("one").undo("one");
    assert_eq!(
        (result(&driver, "later"), driver.state.outcome()),
        (Some(StepResult::Skipped), Some(Outcome::RolledBack))
    );
}

#[test]
fn undo_goes_back_the_way_it_came_and_stops_at_the_first_that_fails() {
    let undo = "undo: { uses: shell, with: { script: 'true' } }";
    let steps = [
        step("a", undo),
        step("b", &format!("needs: [a], {undo}")),
        step("c", &format!("needs: [b], {undo}")),
        step("bad", "needs: [c]"),
    ];
    let mut driver = Driver::of(&runbook(&steps, "on_failure: rollback"));
    driver.succeed("a").succeed("b").succeed("c").fail("bad").undo("c").fail_undo("b");
    assert_eq!(driver.state.outcome(), Some(Outcome::Stuck));
    assert!(driver.state.record(&path("a")).is_some_and(|record| record.undo.is_none()), "nothing more is undone");
}

#[test]
fn a_yes_needs_as_many_people_as_it_says_and_a_no_needs_one() {
    let gate = "approval: { prompt: '?', at_least: 2 }";
    let mut driver = Driver::of(&runbook(&[step("a", gate), step("b", gate)], ""));
    driver.approve("a", "user:ann");
    assert!(driver.state.is_at_gate(&path("a")));
    driver.approve("a", "user:ben").succeed("a").answer("b", "user:ann", Answer::Reject);
    assert_eq!((result(&driver, "b"), driver.state.outcome()), (Some(StepResult::Rejected), Some(Outcome::Rejected)));
}

#[test]
fn a_rejection_that_somebody_acts_on_is_no_bad_end() {
    let mut driver =
        Driver::of(&runbook(&[step("a", "approval: { prompt: '?' }"), step("no", "needs: { a: rejected }")], ""));
    driver.answer("a", "user:ann", Answer::Reject).succeed("no");
    assert_eq!(driver.state.outcome(), Some(Outcome::Succeeded));
}

#[test]
fn a_stopped_run_goes_on_where_it_was_and_its_final_steps_run_again() {
    let last = "finally:\n  last: { uses: http.get, with: { url: 'http://a.example' } }";
    let mut driver = Driver::of(&once(&runbook(&[step("a", ""), step("b", "needs: [a]")], last)));
    driver.succeed("a").cancel().fail_with("b", runbook::action::ErrorKind::Cancelled).succeed("last");
    assert_eq!(driver.state.outcome(), Some(Outcome::Cancelled));
    driver.resume();
    assert_eq!(driver.state.steps_in_doubt().collect::<Vec<_>>(), [&path("b")], "nobody knows how far it came");
    driver.resolve("b", Doubt::Again).succeed("b").succeed("last");
    assert_eq!(driver.state.outcome(), Some(Outcome::Succeeded));
    assert_eq!(result(&driver, "a"), Some(StepResult::Succeeded));
}

#[test]
fn what_a_person_says_happened_is_not_done_again() {
    let mut driver = Driver::of(&once(&runbook(&[step("a", ""), step("b", "needs: [a]")], "")));
    driver.resume().resolve("a", Doubt::Happened { outputs: serde_json::Value::Null }).succeed("b");
    assert_eq!(driver.state.outcome(), Some(Outcome::Succeeded));
    assert!(driver.state.record(&path("a")).is_some_and(|record| record.attempts == 1 && record.outputs.is_none()));
}

#[test]
fn a_person_who_leaves_a_manual_step_out_skips_what_needs_it() {
    let mut driver = Driver::of(
        "runbook: a\nsteps:\n  m: { manual: { text: do it } }\n  after: { needs: [m], approval: { prompt: '?' } }\n",
    );
    assert!(runbook::run::decide(&driver.state).contains(&Directive::Ask(path("m"))));
    driver.done_by_hand("m", ManualResult::Skipped { reason: "no time".to_owned() });
    assert_eq!(
        (result(&driver, "after"), driver.state.outcome()),
        (Some(StepResult::Skipped), Some(Outcome::Succeeded))
    );
}

#[test]
fn a_checkpoint_makes_a_failed_step_worth_undoing() {
    let undo = "undo: { uses: shell, with: { script: 'true' } }";
    let mut driver = Driver::of(&runbook(&[step("a", undo)], "on_failure: rollback"));
    driver.save("a").fail("a").undo("a");
    assert_eq!(driver.state.outcome(), Some(Outcome::RolledBack));
}

#[test]
fn a_failure_that_may_pass_is_tried_again_as_often_as_it_says() {
    use runbook::action::ErrorKind;
    let retry = "retry: { attempts: 2, delay: 5s, jitter: false, on: [server] }";
    let mut driver = Driver::of(&runbook(&[step("a", retry)], ""));
    driver.fail_with("a", ErrorKind::Server).wake().fail_with("a", ErrorKind::Server);
    assert_eq!((result(&driver, "a"), driver.state.outcome()), (Some(StepResult::Failed), Some(Outcome::Failed)));
    let mut driver = Driver::of(&runbook(&[step("a", retry)], ""));
    driver.fail_with("a", ErrorKind::Rejected);
    assert_eq!(driver.state.outcome(), Some(Outcome::Failed), "only what `on` names is tried again");
}
