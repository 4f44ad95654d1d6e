//! `runbook undo`: takes back what a run that is over has done, in order, and nothing that others were built on.

use crate::support::{Place, Said, ended, said, until, waits_for};

/// Two built on each other, one beside them, one that cannot be undone.
const BUILT: &str = r#"runbook: built
secrets: { token: { env: TOKEN } }
steps:
  act: { argv: [sh, -c, "echo act >> world"], undo: { argv: [sh, -c, "echo undo-act >> world"] } }
  activate:
    needs: [act]
    argv: [sh, -c, "echo activate >> world"]
    undo: { run: 'echo undo-activate >> world', env: { T: "{{ secrets.token }}" } }
  beside: { argv: [sh, -c, "echo beside >> world"], undo: { argv: [sh, -c, "echo undo-beside >> world"] } }
  stays: { needs: [activate], argv: [sh, -c, "echo stays >> world"] }
"#;

fn built() -> Place {
    let place = Place::new();
    place.write("built.yaml", BUILT);
    let said = with_token(&place, &["run", "built", "--concurrency", "1"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    place
}

fn with_token(place: &Place, arguments: &[&str]) -> Said {
    said(place.command(arguments).env("TOKEN", "hunter2hunter2"))
}

fn told(place: &Place, said: &Said) -> String {
    said.stderr.replace(&place.newest(), "RUN")
}

fn undone(place: &Place) -> Vec<String> {
    place.read("world").lines().filter(|line| line.starts_with("undo")).map(str::to_owned).collect()
}

#[test]
fn the_plan_of_an_undo_shows_order_effects_and_what_stays_and_changes_nothing() {
    let place = built();
    let before = place.log_bytes();
    let said = with_token(&place, &["undo", "last", "--plan"]);
    let expected = "undo of run RUN (built, succeeded)
wave 1, side by side
  activate: runs `shell`
      /bin/sh
        | echo undo-activate >> world
        with T
  beside: runs `shell`
      sh -c 'echo undo-beside >> world'
wave 2
  act: runs `shell`
      sh -c 'echo undo-act >> world'
cannot be undone, and stay
  stays
";
    assert_eq!((said.code, said.stdout.replace(&place.newest(), "RUN").as_str()), (Some(0), expected));
    assert_eq!((place.log_bytes(), undone(&place)), (before, vec![]));
}

#[test]
fn what_was_built_on_a_step_keeps_it_from_being_undone_alone() {
    let place = built();
    let before = place.log_bytes();
    let cases = [
        (
            &["undo", "last", "--yes", "--only", "act"][..],
            "error: `activate` would stay, and was built on what you name\n  help: nothing was changed; add --only activate\n",
        ),
        (
            &["undo", "last", "--yes", "--only", "stays"],
            "error: there is nothing to undo of step `stays`: its runbook has no `undo` for it\n  help: nothing was changed; `runbook undo RUN --plan` lists the rest\n",
        ),
        (
            &["undo", "last", "--yes", "--only", "acts"],
            "error: the run has no step `acts`\n  help: did you mean `act`?\n",
        ),
    ];
    for (arguments, message) in cases {
        let said = with_token(&place, arguments);
        assert_eq!((said.code, told(&place, &said).as_str()), (Some(2), message), "{arguments:?}");
    }
    // Nobody can be asked, so nothing is done unless told so; what it would be is shown.
    let said = with_token(&place, &["undo", "last"]);
    assert_eq!(said.code, Some(2));
    assert!(
        told(&place, &said).ends_with("  stays\nerror: nobody can be asked here whether to undo this; nothing was changed\n  help: look at it with `--plan`, then say `--yes`\n"),
        "{}",
        said.stderr
    );
    assert_eq!((place.log_bytes(), undone(&place)), (before, vec![]));
}

#[test]
fn steps_are_undone_by_name_then_the_rest_then_nothing() {
    let place = built();
    let said = with_token(&place, &["undo", "last", "-y", "--only", "act", "--only", "activate", "--reason", "wrong"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(said.stderr.contains("tester wants the run undone: wrong"), "{}", said.stderr);
    assert_eq!(undone(&place), ["undo-activate", "undo-act"]);
    let again = with_token(&place, &["undo", "last", "-y", "--only", "act"]);
    assert_eq!(again.code, Some(2));
    assert!(again.stderr.contains("there is nothing to undo of step `act`: it has been undone"), "{}", again.stderr);
    let plan = with_token(&place, &["undo", "last", "--plan"]).stdout;
    assert!(plan.contains("undone already\n  act: ") && plan.contains("wave 1\n  beside: "), "{plan}");

    assert_eq!(with_token(&place, &["undo", "last", "-y"]).code, Some(0));
    assert_eq!(undone(&place), ["undo-activate", "undo-act", "undo-beside"]);
    let before = place.log_bytes();
    let nothing = with_token(&place, &["undo", "last"]);
    assert_eq!((nothing.code, told(&place, &nothing).as_str()), (Some(0), "there is nothing to undo in run RUN\n"));
    assert_eq!(place.log_bytes(), before);
}

#[test]
fn a_run_that_is_not_over_is_not_undone() {
    let place = Place::new();
    place.write("g.yaml", "runbook: g\nsteps:\n  one: { argv: ['true'], undo: { argv: ['true'] } }\n  act: { needs: [one], approval: { prompt: '?' }, argv: ['true'] }\n");
    assert_eq!(place.run(&["run", "g"]).code, Some(4));
    let before = place.log_bytes();
    let said = place.run(&["undo", "last", "--yes"]);
    let expected = "error: run `RUN` is not over, and no process leads it; nothing was changed\n  help: go on with it: `runbook resume RUN`, or stop it where it is: `runbook cancel RUN`\n";
    assert_eq!((said.code, told(&place, &said).as_str()), (Some(2), expected));
    assert_eq!(place.log_bytes(), before);
    // Stopped, it can be; and nobody is asked any more what it had asked.
    assert_eq!(place.run(&["cancel", "last"]).code, Some(0));
    let said = place.run(&["undo", "last", "--yes"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(place.count("undo_finished one"), 1);
    assert_eq!(place.run(&["resume", "last"]).code, Some(2));
}

#[test]
fn an_undo_that_failed_is_tried_again_once_its_cause_is_gone() {
    let place = Place::new();
    place.write(
        "a.yaml",
        "runbook: a\nsteps:\n  one: { run: 'true', undo: { run: 'echo undo-one >> world' } }\n  two: { needs: [one], run: 'true', undo: { run: '[ -e fixed ] || exit 9; echo undo-two >> world' } }\n  bad: { needs: [two], run: 'exit 1' }\non_failure: rollback\n",
    );
    assert_eq!(place.run(&["run", "a"]).code, Some(6));
    let said = ended(place.start(&["undo", "last", "-y"]));
    assert_eq!((said.code, place.read("world").as_str()), (Some(6), ""), "{}", said.stderr);
    place.write("fixed", "");
    let said = ended(place.start(&["undo", "last", "-y"]));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(place.read("world"), "undo-two\nundo-one\n");
    assert!(place.run(&["runs"]).stdout.contains("rolled back"));
}

/// The undo is a run like any other: killed, it is resumed, and what was under way is found out first.
#[test]
fn an_undo_that_was_killed_is_gone_on_with() {
    let place = Place::new();
    place.write(
        "a.yaml",
        &format!(
            "runbook: a\nsteps:\n  one: {{ run: 'true', undo: {{ run: 'echo undo-one >> world' }} }}\n  two: {{ needs: [one], run: 'true', undo: {{ run: 'echo undo-two >> world; {}' }} }}\n",
            waits_for("go")
        ),
    );
    assert_eq!(place.run(&["run", "a"]).code, Some(0));
    let mut child = place.start(&["undo", "last", "-y"]);
    until("the undo runs", || !place.read("world").is_empty());
    let said = place.run(&["undo", "last", "-y"]);
    assert_eq!(said.code, Some(11), "{}", said.stderr);
    child.kill().unwrap();
    child.wait().unwrap();
    place.write("go", "");
    let said = ended(place.start(&["resume", "last"]));
    assert_eq!(said.code, Some(6), "{}", said.stderr);
    assert!(said.stderr.contains("--happened two"), "{}", said.stderr);
    let said = place.run(&["resume", "last", "--happened", "two"]);
    assert_eq!(said.code, Some(5), "{}", said.stderr);
    assert_eq!(place.read("world"), "undo-two\nundo-one\n");
}

#[test]
fn what_a_called_runbook_did_is_undone_after_what_was_built_on_it() {
    let place = Place::new();
    place.write(
        "top.yaml",
        "runbook: top\nsteps:\n  region: { call: region.yaml }\n  after: { needs: [region], run: 'true', undo: { run: 'echo undo-after >> world' } }\n",
    );
    place.write(
        "region.yaml",
        "runbook: region\nsteps:\n  each: { for_each: { in: \"['a', 'b']\", as: x }, run: 'true', undo: { run: 'echo \"undo-$X\" >> world', env: { X: '{{ x }}' } } }\n  last: { needs: [each], run: 'true', undo: { run: 'echo undo-last >> world' } }\n",
    );
    let said = place.run(&["run", "top"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let said = place.run(&["undo", "last", "-y", "--only", "region/each"]);
    assert_eq!(
        said.stderr,
        "error: `after`, `region/last` would stay, and was built on what you name\n  help: nothing was changed; add --only after --only region/last\n"
    );
    let all = ["undo", "last", "-y", "--only", "region/each", "--only", "after", "--only", "region/last"];
    let said = place.run(&all);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let world = place.read("world");
    let lines: Vec<&str> = world.lines().collect();
    assert_eq!(lines[..2], ["undo-after", "undo-last"]);
    let mut items = lines[2..].to_vec();
    items.sort_unstable();
    assert_eq!(items, ["undo-a", "undo-b"]);
}

/// What it would go on with stands on what is undone.
#[test]
fn a_run_that_was_stopped_and_partly_undone_is_not_gone_on_with() {
    let place = Place::new();
    place.write(
        "a.yaml",
        "runbook: a\nsteps:\n  one: { run: 'true', undo: { run: 'true' } }\n  two: { run: 'true', undo: { run: 'true' } }\n  ask: { needs: [one, two], approval: { prompt: '?' } }\n",
    );
    assert_eq!(place.run(&["run", "a"]).code, Some(4));
    assert_eq!(place.run(&["cancel", "last"]).code, Some(0));
    let said = place.run(&["undo", "last", "-y", "--only", "one"]);
    assert_eq!((said.code, said.stderr.contains("go on with")), (Some(0), false), "{}", said.stderr);
    let said = place.run(&["resume", "last"]);
    let expected = "error: run `RUN` is over: cancelled\n  help: `runbook show RUN` tells how it went\n";
    assert_eq!((said.code, told(&place, &said).as_str()), (Some(2), expected));
}

#[test]
fn a_drill_is_not_undone() {
    let place = Place::new();
    crate::support::shipped(&place);
    place.run(&["drill", "clerk-outage", "--scenario", "false-alarm", "-q"]);
    let said = place.run(&["undo", "last", "-y"]);
    let expected = "error: run `RUN` was a drill: nothing of what it did is in the world\n  help: a drill is gone on with by `runbook resume`; to forget it, delete its folder\n";
    assert_eq!((said.code, told(&place, &said).as_str()), (Some(2), expected));
}
