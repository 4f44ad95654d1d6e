//! The rules of the language on small runbooks.

use runbook::run::{Answer, Directive, Doubt, ManualResult, Outcome};
use runbook::runbook::StepResult;

use super::driver::{Driver, path, undo_state};

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

// What the random runs found, kept as small as it can be.

const UNDO: &str = "undo: { run: back }";
const UNDO_AGAIN: &str = "undo: { run: back, retry: { attempts: 2, delay: 3s, jitter: false } }";

fn script(name: &str, more: &str) -> String {
    format!("  {name}: {{ {more}{}run: one }}\n", if more.is_empty() { "" } else { ", " })
}

fn skip(driver: &mut Driver, step: &str) {
    let because = runbook::run::Cause::Person { by: "user:ann".to_owned(), reason: "not today".to_owned() };
    driver.record(runbook::run::Event::StepSkipped { step: path(step), because });
    driver.go_on();
}

#[test]
fn a_loop_is_over_only_when_nothing_in_it_is_under_way() {
    let mut driver = Driver::of(&runbook(&[script("each", "for_each: { in: [a, b, c] }")], ""));
    driver.fail("each[a]");
    assert_eq!((result(&driver, "each"), driver.under_way()), (None, vec!["each[b]".to_owned()]));
    driver.succeed("each[b]");
    assert_eq!(result(&driver, "each"), Some(StepResult::Failed));
    assert_eq!(driver.state.record(&path("each[c]")).map(|record| record.attempts), Some(0));
}

#[test]
fn no_more_items_are_under_way_than_may_be_and_a_ramp_doubles() {
    let mut driver = Driver::of(&runbook(&[step("each", "for_each: { in: [a, b, c, d], at_most: 1 }")], ""));
    assert_eq!(driver.under_way(), ["each[a]"]);
    assert_eq!(driver.succeed("each[a]").under_way(), ["each[b]"]);
    let mut driver = Driver::start(
        &super::sketch::plan_of(&runbook(&[step("each", "for_each: { in: [a, b, c, d, e], ramp: true }")], "")),
        runbook::run::Limits { io: 9, processes: 9 },
    );
    assert_eq!(driver.go_on().under_way(), ["each[a]"]);
    assert_eq!(driver.succeed("each[a]").under_way(), ["each[b]", "each[c]"]);
    assert_eq!(driver.succeed("each[c]").under_way(), ["each[b]"], "the whole wave must be over");
    assert_eq!(driver.succeed("each[b]").under_way(), ["each[d]", "each[e]"]);
}

#[test]
fn an_item_that_a_person_skipped_beforehand_is_not_done_and_makes_no_room() {
    let mut driver = Driver::of(&runbook(&[script("each", "for_each: { in: [a, b, c], at_most: 1 }")], ""));
    skip(&mut driver, "each[b]");
    assert_eq!(driver.under_way(), ["each[a]"]);
    assert_eq!(driver.succeed("each[a]").under_way(), ["each[c]"]);
    driver.succeed("each[c]");
    assert_eq!(driver.state.tally(&path("each")), Some([2, 0, 1, 3]));
    assert_eq!(driver.state.outcome(), Some(Outcome::Succeeded));
}

#[test]
fn an_item_is_not_tried_again_when_the_time_of_its_loop_is_up() {
    let more = "for_each: { in: [a] }, retry: { attempts: 3, delay: 2s }, timeout: { step: 70s }";
    let mut driver = Driver::of(&runbook(&[step("each", more)], ""));
    driver.wake().fail_with("each[a]", runbook::action::ErrorKind::Server);
    assert_eq!((driver.under_way(), driver.state.outcome()), (vec![], Some(Outcome::Failed)));
}

#[test]
fn a_final_step_that_a_person_skipped_beforehand_does_not_hold_up_the_end() {
    let mut driver = Driver::of(&runbook(&[script("a", "")], "finally:\n  last: { run: two }"));
    skip(&mut driver, "last");
    assert_eq!(driver.succeed("a").state.outcome(), Some(Outcome::Succeeded));
}

#[test]
fn a_forced_final_step_waits_for_its_time_all_the_same() {
    let last = "finally:\n  last: { if: \"run.by == 'nobody'\", run: two }";
    let mut driver = Driver::of(&runbook(&[script("a", "")], last));
    assert_eq!(driver.force("last").under_way(), ["a"]);
    assert_eq!(driver.succeed("a").under_way(), ["last"]);
}

#[test]
fn a_forced_step_runs_although_what_it_needs_failed_but_not_before_that_ended() {
    let mut driver = Driver::of(&runbook(&[script("a", "allow_failure: true"), script("b", "needs: [a]")], ""));
    assert_eq!(driver.force("b").under_way(), ["a"]);
    driver.fail("a").succeed("b");
    assert_eq!(result(&driver, "b"), Some(StepResult::Succeeded));
}

#[test]
fn an_undo_and_a_step_share_the_room_there_is() {
    let measure = "undo: { run: back }, measure: { expires: 10s, on_expiry: undo }";
    let steps = [script("m", measure), script("one", ""), script("two", ""), script("three", "")];
    let mut driver = Driver::of(&runbook(&steps, ""));
    driver.succeed("m");
    assert_eq!(driver.under_way(), ["one", "two"]);
    assert_eq!(driver.wake().under_way(), ["one", "two"]);
    assert_eq!(driver.succeed("one").under_way(), ["two", "undo m"]);
    assert_eq!(driver.undo("m").under_way(), ["three", "two"]);
    driver.succeed("two").succeed("three");
    assert_eq!(driver.state.outcome(), Some(Outcome::Succeeded));
}

#[test]
fn a_rollback_that_was_stopped_with_its_run_goes_on_when_the_run_does() {
    let steps = [script("a", UNDO), script("b", &format!("needs: [a], {UNDO}")), script("bad", "needs: [b]")];
    let mut driver = Driver::of(&runbook(&steps, "on_failure: rollback\nfinally:\n  last: { run: two }"));
    driver.succeed("a").succeed("b").fail("bad").cancel();
    assert_eq!(driver.under_way(), ["undo b"], "an undo is let end");
    driver.undo("b");
    assert_eq!(driver.under_way(), ["last"], "no undo begins beside the final steps of a stopped run");
    driver.succeed("last");
    assert_eq!(driver.state.outcome(), Some(Outcome::Cancelled));
    driver.resume().undo("a").succeed("last");
    assert_eq!(driver.state.outcome(), Some(Outcome::RolledBack));
}

#[test]
fn a_process_that_dies_beside_a_failed_undo_leaves_a_run_that_ends() {
    let steps = [script("a", UNDO), script("b", UNDO), script("bad", "needs: [a, b]")];
    let mut driver = Driver::of(&runbook(&steps, "on_failure: rollback"));
    driver.succeed("a").succeed("b").fail("bad").fail_undo("a").resume();
    assert_eq!(driver.state.outcome(), Some(Outcome::Stuck));
    assert_eq!(undo_state(&driver, "b"), Some(&runbook::run::UndoState::InDoubt));
    assert_eq!(driver.state.left_standing().len(), 2);
}

#[test]
fn what_could_not_be_undone_is_tried_once_more_when_somebody_asks_for_it() {
    let mut driver = Driver::of(&runbook(&[script("a", UNDO), script("bad", "needs: [a]")], "on_failure: rollback"));
    driver.succeed("a").fail("bad").fail_undo("a");
    assert_eq!(driver.state.outcome(), Some(Outcome::Stuck));
    driver.request_undo(&[]).undo("a");
    assert_eq!(driver.state.outcome(), Some(Outcome::RolledBack));
}

#[test]
fn a_called_runbook_among_the_final_steps_ends_although_the_run_was_stopped() {
    let yaml = runbook(&[script("a", "")], "finally:\n  c: { call: c.yaml }");
    let mut driver =
        Driver::calling(&yaml, &[("c.yaml", "runbook: c\nsteps:\n  x: { run: two }\nfinally:\n  y: { run: three }\n")]);
    driver.succeed("a").cancel().succeed("c/x").succeed("c/y");
    assert_eq!(driver.state.outcome(), Some(Outcome::Succeeded));
}

#[test]
fn the_final_steps_of_a_called_runbook_are_not_undone_nor_what_these_call() {
    let yaml = runbook(&["  c: { call: c.yaml }\n".to_owned(), script("bad", "needs: [c]")], "on_failure: rollback");
    let called = "runbook: c\nsteps:\n  x: { run: two, undo: { run: back } }\nfinally:\n  d: { call: d.yaml }\n";
    let deeper = "runbook: d\nsteps:\n  y: { run: three, undo: { run: back } }\n";
    let mut driver = Driver::calling(&yaml, &[("c.yaml", called), ("d.yaml", deeper)]);
    driver.succeed("c/x").succeed("c/d/y").fail("bad");
    assert_eq!(driver.under_way(), ["undo c/x"]);
    assert_eq!(driver.undo("c/x").state.outcome(), Some(Outcome::RolledBack));
}

#[test]
fn what_was_in_doubt_and_waits_to_be_done_again_is_not_dropped_by_a_failure() {
    let poke = |name: &str| format!("  {name}: {{ uses: test.poke, with: {{}}, undo: auto }}\n");
    let plan = super::sketch::plan_of(&runbook(&[poke("a"), poke("b")], "on_failure: rollback"));
    let mut driver = Driver::start(&plan, runbook::run::Limits { io: 1, processes: 1 });
    driver.go_on().succeed("a").resume();
    driver.resolve("b", Doubt::Again);
    assert_eq!(driver.under_way(), ["b"]);
    let mut driver = Driver::start(&plan, runbook::run::Limits { io: 2, processes: 1 });
    driver.go_on().resume().resolve("a", Doubt::Again);
    driver.record(runbook::run::Event::DoubtResolved {
        step: path("b"),
        doubt: Doubt::Again,
        by: "a probe".to_owned(),
        undo: false,
    });
    driver.fail("a");
    assert_eq!(driver.under_way(), ["b"], "it may have happened: it is done, and then undone");
    driver.succeed("b").undo("b");
    assert_eq!(driver.state.outcome(), Some(Outcome::RolledBack));
}

#[test]
fn a_final_step_that_only_looks_is_done_again_after_a_crash_whatever_failed_before() {
    let last = "finally:\n  last: { uses: http.get, with: { url: 'http://a.example' } }";
    let mut driver = Driver::of(&runbook(&[script("a", "")], last));
    driver.fail("a").resume();
    assert_eq!(driver.under_way(), ["last"]);
    driver.succeed("last");
    assert_eq!(driver.state.outcome(), Some(Outcome::Failed));
}

#[test]
fn an_expired_measure_and_a_failure_are_undone_one_after_the_other() {
    let measure = "undo: { run: back }, measure: { expires: 10s, on_expiry: undo }";
    let steps = [script("m", measure), script("a", UNDO), step("bad", "needs: [m, a]")];
    let mut driver = Driver::of(&runbook(&steps, "on_failure: rollback"));
    driver.succeed("a").succeed("m").wake();
    assert_eq!(driver.under_way(), ["bad", "undo m"]);
    assert_eq!(driver.fail("bad").under_way(), ["undo m"], "one rollback at a time");
    assert_eq!(driver.undo("m").under_way(), ["undo a"]);
    assert_eq!(driver.undo("a").state.outcome(), Some(Outcome::RolledBack));
}

#[test]
fn a_run_does_not_end_before_a_measure_that_undoes_itself_is_over() {
    let measure = "undo: { run: back }, measure: { expires: 60m, on_expiry: undo }";
    let mut driver = Driver::of(&runbook(&[script("m", measure)], ""));
    driver.succeed("m");
    assert_eq!((driver.state.outcome(), driver.state.outcome_before_finally()), (None, None));
    driver.wake().undo("m");
    assert_eq!((driver.state.outcome(), driver.state.left_standing()), (Some(Outcome::Succeeded), vec![]));
}

#[test]
fn a_run_that_is_undone_later_first_finds_out_what_is_in_doubt() {
    let steps = [script("a", UNDO), script("b", UNDO)];
    let mut driver = Driver::of(&runbook(&steps, ""));
    driver.succeed("a").cancel().fail_with("b", runbook::action::ErrorKind::Cancelled).request_undo(&[]);
    assert_eq!(driver.under_way(), Vec::<String>::new(), "nothing is undone beside a doubt");
    assert_eq!(driver.resolve("b", Doubt::Again).under_way(), ["b"], "to be certain that it is done");
    driver.succeed("b");
    assert_eq!(driver.under_way(), ["undo a", "undo b"]);
    assert_eq!(driver.undo("b").undo("a").state.outcome(), Some(Outcome::RolledBack));
}

#[test]
fn an_undo_waits_for_its_next_try_while_another_goes_on_and_fails() {
    let steps = [script("a", UNDO_AGAIN), script("b", UNDO), script("bad", "needs: [a, b]")];
    let mut driver = Driver::of(&runbook(&steps, "on_failure: rollback"));
    driver.succeed("a").succeed("b").fail("bad");
    driver.fail_undo_with("a", runbook::action::ActionError::new(runbook::action::ErrorKind::Server, "later"));
    assert_eq!(driver.under_way(), ["undo b"]);
    driver.fail_undo("b");
    assert_eq!(driver.state.outcome(), Some(Outcome::Stuck), "nothing more is begun");
}

#[test]
fn a_lost_undo_is_not_repeated_without_a_word() {
    let mut driver = Driver::of(&runbook(&[script("a", UNDO), script("bad", "needs: [a]")], "on_failure: rollback"));
    let lost = runbook::action::ActionError::new(runbook::action::ErrorKind::Timeout, "no answer").uncertain();
    driver.succeed("a").fail("bad").fail_undo_with("a", lost);
    assert_eq!(driver.under_way(), Vec::<String>::new());
    assert_eq!(driver.resolve_undo("a", Doubt::Again).under_way(), ["undo a"]);
    assert_eq!(driver.undo("a").state.outcome(), Some(Outcome::RolledBack));
}

#[test]
fn a_called_runbook_that_a_person_turns_down_is_rejected_where_it_is_called() {
    let yaml = runbook(&["  c: { call: c.yaml }\n".to_owned(), script("no", "needs: { c: rejected }")], "");
    let gate = "runbook: c\nsteps:\n  g: { approval: { prompt: '?' }, run: two }\n";
    let mut driver = Driver::calling(&yaml, &[("c.yaml", gate)]);
    driver.answer("c/g", "user:ann", Answer::Reject);
    assert_eq!(result(&driver, "c"), Some(StepResult::Rejected));
    assert_eq!(driver.succeed("no").state.outcome(), Some(Outcome::Succeeded));
}

#[test]
fn a_called_runbook_of_which_nothing_was_left_out_has_done_its_work() {
    // A failure beside the call stops the run. What the called runbook still had to do decides how it ends.
    for (steps, expected) in [
        ("  x: { run: two }\n", StepResult::Succeeded),
        ("  x: { run: two }\n  y: { needs: [x], run: three }\n", StepResult::Failed),
    ] {
        let yaml = runbook(&["  c: { call: c.yaml }\n".to_owned(), script("bad", "")], "");
        let mut driver = Driver::calling(&yaml, &[("c.yaml", &format!("runbook: c\nsteps:\n{steps}"))]);
        driver.fail("bad").succeed("c/x");
        assert_eq!(result(&driver, "c"), Some(expected), "{steps}");
        assert_eq!(driver.state.outcome(), Some(Outcome::Failed));
    }
}

#[test]
fn when_the_time_of_a_call_is_up_its_runbook_stops_and_is_rolled_back() {
    let yaml = runbook(&["  c: { call: c.yaml, timeout: 2m }\n".to_owned()], "");
    let called = "runbook: c\non_failure: rollback\nsteps:\n  x: { run: two, undo: { run: back } }\n  y: { needs: [x], run: three }\n";
    let mut driver = Driver::calling(&yaml, &[("c.yaml", called)]);
    driver.succeed("c/x").wake();
    assert!(runbook::run::decide(&driver.state).contains(&Directive::Stop(path("c/y"))));
    driver.fail("c/y").undo("c/x");
    assert_eq!((result(&driver, "c"), driver.state.outcome()), (Some(StepResult::Failed), Some(Outcome::Failed)));
}

#[test]
fn a_lost_answer_is_found_out_before_anything_is_built_on_it_or_undone() {
    let steps = [script("a", UNDO), script("b", "needs: [a]"), script("bad", "")];
    let mut driver = Driver::of(&runbook(&steps, "on_failure: rollback"));
    driver.lose("a").fail("bad");
    assert_eq!(driver.under_way(), Vec::<String>::new());
    driver.resolve("a", Doubt::Happened { outputs: serde_json::Value::Null });
    assert_eq!(driver.under_way(), ["undo a"]);
}

#[test]
fn a_long_loop_takes_a_number_of_events_that_grows_with_its_items_and_no_faster() {
    let events = |items: usize| {
        let keys: Vec<String> = (0..items).map(|index| format!("k{index}")).collect();
        let yaml = runbook(&[step("each", &format!("for_each: {{ in: [{}], at_most: 2 }}", keys.join(", ")))], "");
        let mut driver = Driver::of(&yaml);
        let mut directives = 0;
        while driver.state.outcome().is_none() {
            let under_way = driver.under_way();
            directives += runbook::run::decide(&driver.state).len();
            driver.succeed(under_way.first().expect("an item is under way"));
        }
        (driver.log.len(), directives)
    };
    assert_eq!(events(10), (10 * 2 + 5, 0), "the world is awaited with nothing left to direct");
    assert_eq!(events(100), (100 * 2 + 5, 0));
}

#[test]
fn a_doubt_that_ends_in_a_failure_lets_nothing_begin_that_was_decided_with_it() {
    let more = "timeout: { attempt: 30s, step: 70s }";
    let steps = [step("a", more), step("b", ""), step("c", "")];
    let mut driver = Driver::of(&runbook(&steps, ""));
    driver.wake().resume();
    assert_eq!(result(&driver, "a"), Some(StepResult::Failed), "its time was up, and it only looks");
    assert_eq!((driver.under_way(), driver.state.outcome()), (vec![], Some(Outcome::Failed)));
}

#[test]
fn a_step_that_did_something_before_it_failed_is_undone() {
    let until = "until: { if: 'outputs.status == 200', every: 5s, within: 15s }";
    let mut driver = Driver::of(&runbook(&[step("a", &format!("{until}, {UNDO}"))], "on_failure: rollback"));
    driver.finish(&path("a"), Ok(serde_json::json!({ "status": 500 })));
    driver.go_on().wake().fail("a");
    assert_eq!(driver.under_way(), ["undo a"]);
}

#[test]
fn a_measure_that_cannot_be_undone_stops_the_run() {
    let measure = "undo: { run: back }, measure: { expires: 10s, on_expiry: undo }";
    let steps = [script("m", measure), script("a", ""), script("b", "needs: [a]")];
    let mut driver = Driver::of(&runbook(&steps, ""));
    driver.succeed("m").wake().fail_undo("m");
    assert_eq!(result(&driver, "b"), Some(StepResult::Skipped));
    driver.succeed("a");
    assert_eq!((driver.under_way(), driver.state.outcome()), (vec![], Some(Outcome::Stuck)));
}

#[test]
fn a_step_stopped_between_two_tries_is_undone_later_when_it_did_something() {
    let retry = "retry: { attempts: 3, delay: 9s, jitter: false }";
    let mut driver = Driver::of(&runbook(&[step("a", &format!("{retry}, {UNDO}"))], ""));
    driver.save("a").fail_with("a", runbook::action::ErrorKind::Server).cancel();
    assert_eq!(driver.state.outcome(), Some(Outcome::Cancelled));
    assert_eq!(driver.request_undo(&[]).under_way(), ["undo a"]);
    assert_eq!(driver.undo("a").state.outcome(), Some(Outcome::RolledBack));
}

#[test]
fn a_measure_that_is_closed_by_hand_in_the_middle_of_its_undo_holds_up_the_end_until_that_is_seen() {
    let measure = "undo: { run: back }, measure: { expires: 10s, on_expiry: undo }";
    let mut driver = Driver::of(&runbook(&[script("m", measure)], ""));
    driver.succeed("m").wake();
    let (by, reason) = ("user:ann".to_owned(), "it is off".to_owned());
    driver.record(runbook::run::Event::MeasureClosed { step: path("m"), by, reason });
    driver.go_on().resume();
    assert_eq!(driver.state.outcome(), None);
    driver.resolve_undo("m", Doubt::Happened { outputs: serde_json::Value::Null });
    assert_eq!(driver.state.outcome(), Some(Outcome::Succeeded));
}
