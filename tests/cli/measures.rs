//! Emergency measures: listed over all runs, made longer, ended; their time survives whoever counts it.

use std::fs;

use serde_json::Value;

use crate::support::{Place, Said, ended, until, waits_for};

/// A measure that is overdue at once, and a step that was built on it.
const OPEN: &str = r#"runbook: open
inputs: { for: { type: duration, default: 1ms } }
steps:
  open:
    argv: [sh, -c, "echo open >> world"]
    undo: { argv: [sh, -c, "echo close >> world"] }
    measure: { expires: "{{ inputs.for }}" }
  built: { needs: [open], argv: [sh, -c, "echo built >> world"], undo: { argv: [sh, -c, "echo unbuilt >> world"] } }
"#;

fn opened(length: &str) -> Place {
    let place = Place::new();
    place.write("open.yaml", OPEN);
    assert_eq!(place.run(&["run", "open", "-i", &format!("for={length}")]).code, Some(0));
    place
}

fn told(place: &Place, said: &Said) -> String {
    said.stderr.replace(&place.newest(), "RUN")
}

fn rows(place: &Place) -> (Option<i32>, Vec<Value>) {
    let said = place.run(&["measures", "--format", "json"]);
    (said.code, serde_json::from_str(&said.stdout).unwrap())
}

#[test]
fn every_measure_in_force_is_listed_and_an_overdue_one_fails() {
    let place = Place::new();
    let none = place.run(&["measures"]);
    assert_eq!((none.code, none.stderr.as_str()), (Some(0), "no emergency measure is in force\n"));
    place.write("open.yaml", OPEN);
    assert_eq!(place.run(&["run", "open", "-i", "for=2h"]).code, Some(0));
    let (code, listed) = rows(&place);
    assert_eq!((code, listed.len()), (Some(0), 1));
    let row = &listed[0];
    assert_eq!((&row["step"], &row["by"], &row["runbook"]), (&"open".into(), &"user:tester".into(), &"open".into()));
    assert_eq!((&row["overdue"], &row["is_led"], &row["on_expiry"]), (&Value::Null, &false.into(), &"hold".into()));

    assert_eq!(place.run(&["run", "open"]).code, Some(0));
    let said = place.run(&["measures"]);
    assert_eq!(said.code, Some(1), "{}", said.stdout);
    assert_eq!(said.stdout.matches("open  in force for").count(), 2, "{}", said.stdout);
    assert_eq!(said.stdout.matches("OVERDUE by").count(), 1, "{}", said.stdout);

    // What cannot be read is named, and hides nothing.
    let log = place.log_path().unwrap();
    let text = fs::read_to_string(&log).unwrap();
    fs::write(&log, text.replacen("\"runbook\":\"open\"", "\"runbook\":\"opem\"", 1)).unwrap();
    let said = place.run(&["measures"]);
    assert_eq!(said.stdout.matches("open  in force for").count(), 1, "{}", said.stdout);
    assert!(said.stderr.contains("cannot be read, and may have measures in force"), "{}", said.stderr);
    assert_eq!(said.code, Some(70), "nobody knows what it left in force");
}

#[test]
fn a_measure_is_given_more_time_but_not_in_the_past() {
    let place = opened("1h");
    let said = place.run(&["measures", "extend", "last", "open", "--by", "30m", "--reason", "not fixed yet"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(said.stderr.starts_with("the measure of `open` may be in force until 20"), "{}", said.stderr);
    let (_, listed) = rows(&place);
    let length = |row: &Value| {
        let at = |name: &str| row[name].as_str().unwrap().parse::<runbook::base::Timestamp>().unwrap();
        at("expires").duration_since(at("since")).as_secs()
    };
    assert!((5300..=5400).contains(&length(&listed[0])), "{listed:?}");
    let recorded = place.log().pop().unwrap();
    assert_eq!(
        (&recorded["event"]["type"], &recorded["event"]["by"]),
        (&"measure_extended".into(), &"user:tester".into())
    );

    let place = opened("1ms");
    let before = place.log_bytes();
    let said = place.run(&["measures", "extend", "last", "open", "--by", "1ms", "--reason", "x"]);
    assert_eq!(said.code, Some(2));
    assert!(said.stderr.starts_with("error: the measure of `open` is overdue by "), "{}", said.stderr);
    assert!(said.stderr.contains("nothing was changed; give it more than"), "{}", said.stderr);
    let cases = [
        (
            &["measures", "extend", "last", "built", "--by", "1h", "--reason", "x"][..],
            "error: step `built` has no emergency measure in force\n  help: in force are those of `open`\n",
        ),
        (
            &["measures", "close", "last", "opem", "--reason", "x"],
            "error: the run has no step `opem`\n  help: did you mean `open`?\n",
        ),
    ];
    for (arguments, message) in cases {
        let said = place.run(arguments);
        assert_eq!((said.code, said.stderr.as_str()), (Some(2), message));
    }
    assert_eq!(place.run(&["measures", "extend", "last", "open", "--by", "1h"]).code, Some(2), "a reason is needed");
    assert_eq!(place.log_bytes(), before);
    let said = place.run(&["measures", "extend", "last", "open", "--by", "1h", "--reason", "x"]);
    assert_eq!((said.code, rows(&place).0), (Some(0), Some(0)), "{}", said.stderr);
}

#[test]
fn a_measure_is_closed_with_all_that_was_built_on_it() {
    let place = opened("1ms");
    let said = place.run(&["measures", "close", "last", "open", "--reason", "over", "-y"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(place.read("world"), "open\nbuilt\nunbuilt\nclose\n");
    assert_eq!(rows(&place), (Some(0), vec![]));
    let said = place.run(&["measures", "close", "last", "open", "--reason", "over", "-y"]);
    let expected = "error: step `open` has no emergency measure in force\n  help: none of this run is; `runbook measures` lists those of all runs\n";
    assert_eq!((said.code, told(&place, &said).as_str()), (Some(2), expected));
}

#[test]
fn a_measure_that_was_ended_by_hand_is_only_recorded() {
    let place = opened("1ms");
    let said = place.run(&["measures", "close", "last", "open", "--reason", "removed in the console", "--by-hand"]);
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), "the measure of `open` counts as ended\n"));
    assert_eq!((place.read("world").as_str(), rows(&place)), ("open\nbuilt\n", (Some(0), vec![])));
    let show = place.run(&["show", "last"]).stdout;
    assert!(show.contains("its emergency measure was ended by tester: removed in the console"), "{show}");
}

/// A measure whose run is led: what others want of it goes through that process.
#[test]
fn the_measure_of_a_run_under_way_is_changed_by_the_process_that_leads_it() {
    let place = Place::new();
    place.write(
        "a.yaml",
        &format!(
            "runbook: a\nsteps:\n  open: {{ argv: ['true'], undo: {{ argv: ['true'] }}, measure: {{ expires: 1h }} }}\n  keep: {{ needs: [open], effect: read, run: '{}' }}\n",
            waits_for("go")
        ),
    );
    let child = place.start(&["run", "a"]);
    place.sees("attempt_started keep");
    assert_eq!(rows(&place).1[0]["is_led"], true);
    let said = place.run(&["measures", "extend", "last", "open", "--by", "1h", "--reason", "slow"]);
    assert_eq!((said.code, place.count("measure_extended open")), (Some(0), 1), "{}", said.stderr);
    let said = place.run(&["measures", "close", "last", "open", "--reason", "x", "-y"]);
    assert_eq!(said.code, Some(11), "{}", said.stderr);
    let said = place.run(&["measures", "close", "last", "open", "--reason", "x", "--by-hand"]);
    assert_eq!((said.code, place.count("measure_closed open")), (Some(0), 1), "{}", said.stderr);
    place.write("go", "");
    let run = ended(child);
    assert_eq!(run.code, Some(0), "{}", run.stderr);
    assert!(run.stderr.contains("its emergency measure was ended by tester: x"), "{}", run.stderr);
}

const EXPIRES: &str = r#"runbook: expires
inputs: { for: { type: duration, default: 300ms } }
steps:
  open:
    run: 'echo open >> world'
    undo: { run: 'echo close >> world' }
    measure: { expires: "{{ inputs.for }}", on_expiry: undo }
"#;

#[test]
fn a_measure_that_expires_is_undone_while_the_run_is_led() {
    let place = Place::new();
    place.write("expires.yaml", EXPIRES);
    let said = ended(place.start(&["run", "expires"]));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(place.read("world"), "open\nclose\n");
    assert!(said.stderr.contains("its emergency measure has expired, and is undone"), "{}", said.stderr);
}

#[test]
fn a_measure_that_expired_while_nobody_led_the_run_is_undone_when_somebody_does() {
    let place = Place::new();
    place.write("expires.yaml", EXPIRES);
    let mut child = place.start(&["run", "expires", "-i", "for=2s"]);
    place.sees("attempt_finished open");
    child.kill().unwrap();
    child.wait().unwrap();
    let (_, listed) = rows(&place);
    assert_eq!((&listed[0]["on_expiry"], &listed[0]["is_led"]), (&"undo".into(), &false.into()), "{listed:?}");
    let text = place.run(&["measures"]).stdout;
    assert!(text.contains("undone when that is over, but no process leads the run: runbook resume "), "{text}");
    until("it is overdue", || rows(&place).0 == Some(1));
    assert_eq!(place.read("world"), "open\n");
    let said = ended(place.start(&["resume", "last"]));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!((place.read("world").as_str(), rows(&place)), ("open\nclose\n", (Some(0), vec![])));
}

/// What was given more time is not undone at the old one, also by a process that did not give it.
#[test]
fn more_time_counts_after_a_restart() {
    let place = Place::new();
    place.write("expires.yaml", EXPIRES);
    let mut child = place.start(&["run", "expires", "-i", "for=1h"]);
    place.sees("attempt_finished open");
    child.kill().unwrap();
    child.wait().unwrap();
    let said = place.run(&["measures", "extend", "last", "open", "--by", "1h", "--reason", "x"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let child = place.start(&["resume", "last"]);
    place.sees("run_resumed");
    let said = place.run(&["measures", "close", "last", "open", "--reason", "gone", "--by-hand"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(ended(child).code, Some(0), "nothing keeps the run from ending");
    assert_eq!(place.read("world"), "open\n");
}
