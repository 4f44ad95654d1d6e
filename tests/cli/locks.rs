//! Locks across runs: refused, waited for, given back, broken, and never held by two.

use std::io::{BufRead as _, BufReader, Read as _};

use serde_json::Value;

use crate::support::{Place, Said, ended, until, waits_for};

/// Holds a lock until the file `go` is there.
const HOLDER: &str = "runbook: holder\nlocks: ['shop:production']\nsteps:\n  keep: { effect: read, run: 'KEEP' }\n";
/// Wants the same lock.
const OTHER: &str = "runbook: other\nlocks: ['shop:production']\nsteps:\n  act: { run: 'echo other >> world' }\n";
/// Holds it at a gate.
const GATE: &str = "runbook: gate\nlocks: ['shop:production']\nsteps:\n  act: { approval: { prompt: '?' }, run: 'echo gate >> world' }\n";

fn place() -> Place {
    let place = Place::new();
    place.write("holder.yaml", &HOLDER.replace("KEEP", &waits_for("go")));
    place.write("other.yaml", OTHER).write("gate.yaml", GATE);
    place.write("waiter.yaml", &OTHER.replace("'shop:production'", "{ name: 'shop:production', wait: 10m }"));
    place
}

fn held(place: &Place) -> Vec<Value> {
    serde_json::from_str(&place.run(&["locks", "--format", "json"]).stdout).unwrap()
}

fn runs(place: &Place) -> usize {
    std::fs::read_dir(place.state().join("runs")).unwrap().count()
}

/// What was said, with the id of a run as `RUN` and its time as `HH:MM`.
fn told(said: &Said, run: &str) -> String {
    let mut text = said.stderr.replace(run, "RUN");
    if let Some(at) = text.find("since ") {
        text.replace_range(at + 6..at + 11, "HH:MM");
    }
    text
}

#[test]
fn a_second_run_is_refused_while_the_first_is_under_way_and_leaves_no_trace() {
    let place = place();
    let child = place.start(&["run", "holder"]);
    place.sees("attempt_started keep");
    let run = place.newest();
    let said = place.run(&["run", "other"]);
    let expected = "error: the lock `shop:production` is held by run RUN of user:tester since HH:MM\n  help: wait for it, or `runbook watch RUN`; `locks: [{ name: …, wait: 10m }]` waits by itself\n";
    assert_eq!((said.code, told(&said, &run).as_str()), (Some(11), expected));
    assert_eq!((runs(&place), place.read("world")), (1, String::new()));
    let listed = held(&place);
    assert_eq!((&listed[0]["name"], &listed[0]["is_led"]), (&"shop:production".into(), &true.into()));
    let said = place.run(&["locks", "break", "shop:production", "--reason", "x"]);
    assert_eq!(said.code, Some(11), "a lock whose run is led is not broken: {}", said.stderr);
    place.write("go", "");
    assert_eq!(ended(child).code, Some(0));
    assert_eq!(held(&place), Vec::<Value>::new(), "it is given back");
    assert_eq!(place.run(&["run", "other"]).code, Some(0));
}

#[test]
fn a_run_may_wait_for_the_lock() {
    let place = place();
    let holder = place.start(&["run", "holder"]);
    place.sees("attempt_started keep");
    let mut waiter = place.start(&["run", "waiter"]);
    let mut says = BufReader::new(waiter.stderr.take().unwrap());
    let mut line = String::new();
    says.read_line(&mut line).unwrap();
    assert!(line.contains("waiting for it, at most 10m"), "{line}");
    assert_eq!(place.read("world"), "");
    let cancel = place.run(&["cancel", "last"]);
    let expected = "error: run `RUN` has not begun yet: nothing was done\n  help: it may wait for a lock; `runbook locks` lists them. Stop it with Ctrl-C where it runs\n";
    assert_eq!((cancel.code, cancel.stderr.replace(&place.newest(), "RUN").as_str()), (Some(2), expected));
    place.write("go", "");
    assert_eq!(ended(holder).code, Some(0));
    let mut rest = String::new();
    says.read_to_string(&mut rest).unwrap();
    assert_eq!((ended(waiter).code, place.read("world").as_str()), (Some(0), "other\n"), "{rest}");
}

#[test]
fn a_run_that_waits_for_a_person_holds_its_lock_all_night() {
    let place = place();
    assert_eq!(place.run(&["run", "gate"]).code, Some(4));
    let run = place.newest();
    let said = place.run(&["run", "other"]);
    let expected = "error: the lock `shop:production` is held by run RUN of user:tester since HH:MM, which no process leads at the moment\n  help: go on with it: `runbook resume RUN`, or free it: `runbook locks break 'shop:production' --reason …`\n";
    assert_eq!((said.code, told(&said, &run).as_str()), (Some(11), expected));
    assert_eq!(place.run(&["resume", "last", "--approve", "act"]).code, Some(0));
    assert_eq!(place.run(&["run", "other"]).code, Some(0));
    assert_eq!(place.read("world"), "gate\nother\n");
}

/// Half-done work may stand behind it: a lock whose run was killed is not simply free.
#[test]
fn a_run_that_was_killed_keeps_its_lock_until_somebody_decides() {
    let place = place();
    let mut child = place.start(&["run", "holder"]);
    place.sees("attempt_started keep");
    child.kill().unwrap();
    child.wait().unwrap();
    place.write("go", "");
    assert_eq!(place.run(&["run", "other"]).code, Some(11));
    assert_eq!(place.run(&["resume", "last"]).code, Some(0));
    assert_eq!(place.run(&["run", "other"]).code, Some(0));
}

/// A process that was killed after the end of its run and before it could give the lock back.
#[test]
fn the_lock_of_a_run_that_is_over_is_free() {
    let place = place();
    assert_eq!(place.run(&["run", "gate"]).code, Some(4));
    let folder = place.state().join("locks");
    let file = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|ending| ending == "json"))
        .unwrap();
    let before = std::fs::read(&file).unwrap();
    assert_eq!(place.run(&["resume", "last", "--approve", "act"]).code, Some(0));
    std::fs::write(&file, before).unwrap();
    assert_eq!(held(&place), Vec::<Value>::new());
    assert_eq!(place.run(&["run", "other"]).code, Some(0));
}

#[test]
fn whoever_lost_its_lock_cannot_go_on_as_if_it_held_it() {
    let place = place();
    assert_eq!(place.run(&["run", "gate"]).code, Some(4));
    let run = place.newest();
    let said = place.run(&["locks", "break", "shop:production", "--reason", "the laptop is lost"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(
        said.stderr.replace(&run, "RUN"),
        "the lock `shop:production` is free; run RUN must take it anew before it can go on\n"
    );
    let before = place.log_bytes();
    let said = place.run(&["resume", &run, "--approve", "act"]);
    let expected = "error: the lock `shop:production` has changed hands since this run held it: it had number 1, and has number 2 now\n  help: look what was done meanwhile, then `runbook resume RUN --take-locks`; nothing was changed\n";
    assert_eq!((said.code, said.stderr.as_str()), (Some(11), expected));
    let cancelled = place.run(&["cancel", &run]);
    assert_eq!((cancelled.code, cancelled.stderr.as_str()), (Some(11), expected), "its final steps need it too");
    assert_eq!((place.log_bytes(), place.read("world")), (before, String::new()));

    assert_eq!(place.run(&["run", "other"]).code, Some(0));
    let said = place.run(&["resume", &run, "--approve", "act", "--take-locks"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(place.read("world"), "other\ngate\n");
    let said = place.run(&["locks", "break", "shop:production", "--reason", "x"]);
    let expected = "error: nobody holds a lock `shop:production`\n  help: `runbook locks` lists those that are held\n";
    assert_eq!((said.code, said.stderr.as_str()), (Some(2), expected));
}

/// What a called runbook holds is held by the run: after a crash it counts on it as on its own.
#[test]
fn the_lock_of_a_called_runbook_is_fenced_too() {
    let place = place();
    place.write("top.yaml", "runbook: top\nsteps:\n  call: { call: gate.yaml }\n");
    assert_eq!(place.run(&["run", "top"]).code, Some(4));
    let run = place.newest();
    assert_eq!(place.run(&["run", "other"]).code, Some(11));
    assert_eq!(place.run(&["locks", "break", "shop:production", "--reason", "x"]).code, Some(0));
    assert_eq!(place.run(&["run", "other"]).code, Some(0));
    let said = place.run(&["resume", &run, "--approve", "call/act"]);
    assert_eq!(said.code, Some(11), "{}", said.stderr);
    assert_eq!(place.read("world"), "other\n");
    assert_eq!(place.run(&["resume", &run, "--approve", "call/act", "--take-locks"]).code, Some(0));
    assert_eq!((place.read("world").as_str(), held(&place)), ("other\ngate\n", vec![]));
}

#[test]
fn an_undo_takes_the_locks_of_its_run_anew() {
    let place = place();
    place.write(
        "does.yaml",
        "runbook: does\nlocks: ['shop:production']\nsteps:\n  act: { run: 'echo act >> world', undo: { run: 'echo undo >> world' } }\n",
    );
    assert_eq!(place.run(&["run", "does"]).code, Some(0));
    let run = place.newest();
    let child = place.start(&["run", "holder"]);
    until("the holder holds it", || !held(&place).is_empty());
    let said = place.run(&["undo", &run, "-y"]);
    assert_eq!((said.code, place.read("world").as_str()), (Some(11), "act\n"), "{}", said.stderr);
    place.write("go", "");
    assert_eq!(ended(child).code, Some(0));
    let said = place.run(&["undo", &run, "-y"]);
    assert_eq!((said.code, place.read("world").as_str()), (Some(0), "act\nundo\n"), "{}", said.stderr);
    assert_eq!(held(&place), Vec::<Value>::new());
}
