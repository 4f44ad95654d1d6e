//! `stale`: a runbook that nobody has seen work lately fails, whether its runs are here or come as exports.

use std::fs;

use serde_json::Value;

use crate::support::{Place, Said, shipped};

fn stale(place: &Place, arguments: &[&str]) -> (Said, Value) {
    let said = place.run(&[&["stale", "--format", "json"], arguments].concat());
    let rows = serde_json::from_str(&said.stdout).unwrap_or_else(|error| panic!("{error}\n{}", said.stderr));
    (said, rows)
}

fn drilled(place: &Place, more: &[&str]) -> Option<i32> {
    place.run(&[&["drill", "clerk-triage", "-q"], more].concat()).code
}

#[test]
fn a_runbook_that_was_never_drilled_is_stale_and_a_green_drill_makes_it_fresh() {
    let place = Place::new();
    shipped(&place);
    place.keep("runbooks", &["clerk-outage.yaml", "clerk-triage.yaml", "approvers.yaml", "templates", "drills"]);
    let said = place.run(&["stale"]);
    assert_eq!(
        said.stdout,
        "\
STALE  clerk-outage  it was never drilled with success, and never run; no green drill, no run
STALE  clerk-triage  it was never drilled with success, and never run; no green drill, no run
"
    );
    assert_eq!(
        said.stderr,
        "2 of 2 runbooks are stale: no green drill and no run within 30d\n  help: rehearse it: `runbook drill runbooks/clerk-outage.yaml`\n"
    );
    assert_eq!(said.code, Some(1));
    assert!(!place.state().exists(), "nothing is written");

    assert_eq!(drilled(&place, &[]), Some(0));
    let (said, rows) = stale(&place, &["clerk-triage"]);
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
    let drill = &rows[0]["last_green_drill"];
    assert_eq!(drill["run"], place.newest().as_str());
    assert_eq!((&drill["changed"], &rows[0]["last_run"]), (&Value::from(false), &Value::Null));
    assert_eq!(drill["plan"], drill["plan_now"]);
    assert_eq!(place.run(&["stale"]).code, Some(1), "the other one is still stale");

    let said = place.run(&["stale", "clerk-triage", "--older-than", "1ms"]);
    assert_eq!(said.code, Some(1));
    assert!(
        said.stdout.starts_with("STALE  clerk-triage  it was not seen to work within 1ms; last green drill"),
        "{}",
        said.stdout
    );
}

#[test]
fn a_drill_that_went_wrong_proves_nothing() {
    let place = Place::new();
    shipped(&place);
    let scenario = place.read("runbooks/drills/clerk-triage.yaml");
    let (before, _) = scenario.split_once("expect:").unwrap();
    place.write("runbooks/drills/clerk-triage.red.yaml", &format!("{before}expect: {{ outcome: failed }}\n"));
    assert_eq!(drilled(&place, &["--scenario", "red"]), Some(1));
    let (said, rows) = stale(&place, &["clerk-triage"]);
    assert_eq!((said.code, &rows[0]["last_green_drill"]), (Some(1), &Value::Null));
    // Nor does a score that was written by hand, for another log.
    let run = place.log_path().unwrap().parent().unwrap().to_owned();
    let score = fs::read_to_string(run.join("score.json")).unwrap();
    fs::write(run.join("score.json"), score.replace("false", "true")).unwrap();
    let (said, _) = stale(&place, &["clerk-triage"]);
    assert_eq!(said.code, Some(0), "a score is as good as the folder that it lies in");
    let head = score.split("\"head\":\"").nth(1).unwrap()[..64].to_owned();
    fs::write(run.join("score.json"), score.replace("false", "true").replace(&head, &"0".repeat(64))).unwrap();
    assert_eq!(stale(&place, &["clerk-triage"]).0.code, Some(1));
}

const REAL: &str = "runbook: real\ninputs: { n: { type: integer, default: 1 } }\nsteps:\n  s: { run: 'exit \"$N\"', env: { N: \"{{ inputs.n - 1 }}\" } }\n";

#[test]
fn a_run_that_is_over_counts_and_one_that_was_stopped_or_is_not_over_does_not() {
    let place = Place::new();
    place.write("real.yaml", REAL);
    place.write("waits.yaml", "runbook: waits\nsteps:\n  s: { approval: { prompt: '?', by: ['user:other'] } }\n");
    assert_eq!(place.run(&["run", "waits"]).code, Some(4));
    assert_eq!(stale(&place, &["waits"]).0.code, Some(1), "it is not over");
    let run = place.newest();
    assert_eq!(place.run(&["cancel", &run]).code, Some(0));
    assert_eq!(stale(&place, &["waits"]).0.code, Some(1), "it was stopped");

    for (n, outcome) in [("2", "failed"), ("1", "succeeded")] {
        place.run(&["run", "real", "-i", &format!("n={n}")]);
        let (said, rows) = stale(&place, &["real"]);
        assert_eq!((said.code, &rows[0]["last_run"]["outcome"]), (Some(0), &Value::from(outcome)));
    }
}

#[test]
fn a_change_of_meaning_is_told_and_counts_when_that_is_wanted() {
    let place = Place::new();
    place.write("real.yaml", REAL);
    assert_eq!(place.run(&["run", "real"]).code, Some(0));
    place.write("real.yaml", &format!("# Only a word for people.\n{REAL}"));
    assert_eq!(place.run(&["stale", "real", "--changed"]).code, Some(0), "it means the same");
    place.write("real.yaml", &format!("{REAL}  t: {{ run: 'true' }}\n"));
    let (said, rows) = stale(&place, &["real"]);
    assert_eq!((said.code, &rows[0]["last_run"]["changed"]), (Some(0), &Value::from(true)));
    let said = place.run(&["stale", "real", "--changed"]);
    assert!(
        said.stdout.contains("STALE  real  it has changed since it was last seen to work; no green drill, last run"),
        "{}",
        said.stdout
    );
    assert!(said.stdout.contains("ago, before it was changed (succeeded)"), "{}", said.stdout);
    assert_eq!(said.code, Some(1));
}

#[test]
fn a_part_of_another_runbook_is_seen_with_it_when_it_was_come_to() {
    let place = Place::new();
    place.write("part.yaml", "runbook: part\nsteps:\n  s: { run: 'true' }\n");
    place.write("other.yaml", "runbook: other\nsteps:\n  s: { run: 'true' }\n");
    place.write(
        "whole.yaml",
        "runbook: whole\nsteps:\n  a: { call: part.yaml }\n  b: { if: 'false', call: other.yaml }\n",
    );
    assert_eq!(place.run(&["run", "whole"]).code, Some(0));
    let (said, rows) = stale(&place, &["."]);
    let found: Vec<_> = rows
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["runbook"].as_str().unwrap(), row["stale"].as_bool().unwrap(), &row["last_run"]["part_of"]))
        .collect();
    assert_eq!(
        found,
        [("other", true, &Value::Null), ("part", false, &Value::from("whole")), ("whole", false, &Value::Null)]
    );
    assert_eq!(said.code, Some(1));
}

/// Continuous integration keeps no state: exports of drills come from where they were held.
#[test]
fn exported_runs_count_where_their_records_are_whole() {
    let place = Place::new();
    shipped(&place);
    assert_eq!(drilled(&place, &[]), Some(0));
    fs::create_dir(place.path("records")).unwrap();
    assert_eq!(place.run(&["export", "last", "-o", "records/drill.tar"]).code, Some(0));
    fs::remove_dir_all(place.state()).unwrap();

    assert_eq!(place.run(&["stale", "clerk-triage"]).code, Some(1));
    let (said, rows) = stale(&place, &["clerk-triage", "--records", "records", "--changed"]);
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
    assert_eq!(rows[0]["last_green_drill"]["changed"], false);

    let mut bytes = fs::read(place.path("records/drill.tar")).unwrap();
    let at = bytes.windows(11).position(|word| word == b"run_started").unwrap();
    bytes[at] = b'R';
    fs::write(place.path("records/drill.tar"), bytes).unwrap();
    let (said, _) = stale(&place, &["clerk-triage", "--records", "records"]);
    assert!(said.stderr.starts_with("warning: records/drill.tar is not believed: "), "{}", said.stderr);
    assert_eq!(said.code, Some(1));
}

#[test]
fn what_cannot_be_looked_for_is_refused() {
    let place = Place::new();
    let said = place.run(&["stale"]);
    assert_eq!(
        said.stderr,
        "error: there is no folder `runbooks` here\n  help: name the files, or the folder that they are in\n"
    );
    assert_eq!(said.code, Some(2));
    place.write("real.yaml", REAL);
    assert_eq!(place.run(&["stale", "real", "--records", "nowhere"]).code, Some(2));
    assert_eq!(place.run(&["stale", "nowhere"]).code, Some(3));
    place.write("wrong.yaml", "runbook: wrong\nsteps: { s: {} }\n");
    assert_eq!(place.run(&["stale", "."]).code, Some(3));
}
