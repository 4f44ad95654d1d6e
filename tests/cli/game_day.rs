//! The game day: every drill of every runbook, told on one board.

use serde_json::Value;

use crate::support::{Place, ended, repository, shipped, signal, until};

/// Two shipped runbooks with the scenarios that are over in a moment, and nothing else.
fn quick() -> Place {
    let place = Place::new();
    shipped(&place);
    place.keep(
        "runbooks/drills",
        &["clerk-outage.false-alarm.yaml", "clerk-triage.yaml", "clerk-triage.page-only.yaml"],
    );
    let kept = ["clerk-outage.yaml", "clerk-triage.yaml", "approvers.yaml", "templates", "drills"];
    place.keep("runbooks", &kept);
    place
}

/// The board's lines without how long anything took on this machine.
fn rows(stdout: &str) -> Vec<Vec<String>> {
    let lines = stdout.lines().take_while(|line| !line.is_empty());
    lines.map(|line| line.split_whitespace().take(4).map(str::to_owned).collect()).collect()
}

#[test]
fn every_drill_of_every_runbook_stands_on_one_board() {
    let place = quick();
    let said = place.run(&["drill", "--all", "--speed", "1000"]);
    assert_eq!(said.code, Some(0), "{}\n{}", said.stdout, said.stderr);
    assert_eq!(
        rows(&said.stdout),
        [
            ["runbook", "scenario", "result", "outcome"],
            ["clerk-outage", "false-alarm", "passed", "succeeded"],
            ["clerk-triage", "(first)", "passed", "succeeded"],
            ["clerk-triage", "page-only", "passed", "succeeded"],
        ]
    );
    assert!(said.stdout.contains("\n3 drills of 2 runbooks: 3 passed, in "), "{}", said.stdout);
    let told: Vec<&str> = said.stderr.lines().collect();
    assert_eq!(told.len(), 3, "one line for each drill: {}", said.stderr);
    assert!(told[0].starts_with("1/3  passed    clerk-outage false-alarm  "), "{}", said.stderr);
    // They are drills like any other: kept, and known to who asks for stale runbooks.
    assert_eq!(std::fs::read_dir(place.state().join("runs")).unwrap().count(), 3);
    assert_eq!(place.run(&["stale", "runbooks"]).code, Some(0));

    let again = place.run(&["drill", "--all", "runbooks", "--speed", "1000", "--jobs", "3", "-q"]);
    assert_eq!(rows(&again.stdout), rows(&said.stdout), "however many at once, the order is that of the folder");
    assert_eq!(again.stderr, "");
    let one = place.run(&["drill", "--all", "clerk-triage", "--filter", "page", "--speed", "1000", "-q"]);
    assert_eq!(rows(&one.stdout)[1..], [["clerk-triage", "page-only", "passed", "succeeded"]]);
}

#[test]
fn a_drill_that_goes_otherwise_and_one_that_cannot_be_held_fail_the_day() {
    let place = quick();
    let scenario = "runbooks/drills/clerk-triage.page-only.yaml";
    place.write(scenario, &place.read(scenario).replace("outcome: succeeded", "outcome: failed"));
    let runbook = "runbooks/clerk-outage.yaml";
    place.write(runbook, &place.read(runbook).replace("uses: vercel.redeploy", "uses: vercel.redeplay"));
    let said = place.run(&["drill", "--all", "--speed", "1000"]);
    assert_eq!(said.code, Some(1), "{}\n{}", said.stdout, said.stderr);
    for words in [
        "clerk-outage false-alarm: NOT HELD\n  - runbooks/clerk-outage.yaml:",
        "clerk-triage page-only: MISSED\n  - the run should have ended `failed`, and ended `succeeded`\n  hold it alone: \
         runbook drill clerk-triage --scenario runbooks/drills/clerk-triage.page-only.yaml\n",
        "3 drills of 2 runbooks: 1 passed, 1 missed, 1 not held, in ",
    ] {
        assert!(said.stdout.contains(words), "{words}\n{}", said.stdout);
    }
    let board: Value =
        serde_json::from_str(&place.run(&["drill", "--all", "--speed", "1000", "--format", "json"]).stdout).unwrap();
    assert_eq!(
        board["total"],
        serde_json::json!({ "passed": 1, "missed": 1, "not_held": 1, "stopped": 0, "not_begun": 0 })
    );
    let of = |name: &str| board["drills"].as_array().unwrap().iter().map(|row| row[name].clone()).collect::<Vec<_>>();
    assert_eq!(of("verdict"), ["not_held", "passed", "missed"]);
    assert_eq!(of("case"), [Value::from("false-alarm"), Value::Null, "page-only".into()]);
    assert_eq!(board["drills"][0]["score"], Value::Null);
    assert!(board["drills"][1]["score"]["time_to_detect"].is_string(), "{board}");
    let junit = place.run(&["drill", "--all", "--speed", "1000", "--format", "junit"]);
    assert_eq!(junit.code, Some(1));
    let head = "<testsuites name=\"runbook drill\" tests=\"3\" failures=\"1\" errors=\"1\" skipped=\"0\" time=\"";
    assert!(junit.stdout.contains(head), "{}", junit.stdout);
}

#[test]
fn a_runbook_without_a_drill_is_named_and_fails_the_day_only_where_all_is_required() {
    let place = quick();
    place.write("runbooks/forgotten.yaml", "runbook: forgotten\nsteps: { look: { argv: [ls], effect: read } }\n");
    place.write("runbooks/drills/clerk-outge.yaml", &place.read("runbooks/drills/clerk-triage.yaml"));
    let said = place.run(&["drill", "--all", "--speed", "1000", "-q"]);
    assert_eq!(said.code, Some(0), "{}", said.stdout);
    let missing = "`forgotten` has no drill\n\nnote: runbooks/drills/clerk-outge.yaml belongs to no runbook here\n";
    assert!(said.stdout.contains(missing), "{}", said.stdout);
    let said = place.run(&["drill", "--all", "--speed", "1000", "-q", "--require-all"]);
    assert_eq!(said.code, Some(1));
    assert!(said.stdout.contains("MISSING: `forgotten` has no drill\n"), "{}", said.stdout);
    // What is left out on purpose is not missing.
    let said = place.run(&["drill", "--all", "--speed", "1000", "-q", "--filter", "page-only"]);
    assert!(said.code == Some(0) && !said.stdout.contains("has no drill"), "{}", said.stdout);
}

#[test]
fn the_board_fits_the_terminal() {
    let place = quick();
    let long = "clerk-triage.a-page-that-nobody-has-looked-at-for-a-very-long-time.yaml";
    place.write(&format!("runbooks/drills/{long}"), &place.read("runbooks/drills/clerk-triage.page-only.yaml"));
    for width in [80, 200] {
        let mut command = place.command(&["drill", "--all", "--speed", "1000", "-q"]);
        let said = crate::support::said(command.env("COLUMNS", width.to_string()));
        assert_eq!(said.code, Some(0), "{}", said.stderr);
        let table: Vec<&str> = said.stdout.lines().take_while(|line| !line.is_empty()).collect();
        assert!(table.iter().all(|line| line.chars().count() <= width), "{}", said.stdout);
        // Every cell of the column ends where its head does.
        let end = table[0].find("detect").unwrap() + "detect".len();
        let drills: Vec<&&str> = table[1..].iter().filter(|line| line.contains("passed")).collect();
        assert_eq!(drills.len(), 4, "{}", said.stdout);
        for line in drills {
            let cells: Vec<char> = line.chars().collect();
            assert!(cells[end - 1] != ' ' && cells[end] == ' ', "{width}: {}", said.stdout);
        }
        assert_eq!(said.stdout.contains('…'), width == 80, "{}", said.stdout);
    }
}

#[test]
fn a_signal_stops_the_day_in_order_and_the_board_tells_what_was_done() {
    let place = quick();
    // Real time: this one would take a quarter of an hour.
    place.keep("runbooks/drills", &["clerk-triage.yaml"]);
    let long = "runbooks/drills/clerk-outage.yaml";
    place.write(long, &std::fs::read_to_string(repository(long)).unwrap());
    let child = place.start(&["drill", "--all", "--speed", "1"]);
    place_sees(&place, "gate_opened");
    signal(&child, "INT");
    let said = ended(child);
    assert_eq!(said.code, Some(7), "{}\n{}", said.stdout, said.stderr);
    assert_eq!(rows(&said.stdout)[1..], [["clerk-outage", "(first)", "stopped", "cancelled"]]);
    assert!(said.stdout.contains("1 drill of 1 runbook: 0 passed, 1 stopped, 1 not begun, in "), "{}", said.stdout);
    assert_eq!(said.stderr.matches("stopping; once more").count(), 1, "{}", said.stderr);
}

fn place_sees(place: &Place, kind: &str) {
    until(kind, || place.events().iter().any(|event| event.starts_with(kind)));
}

#[test]
fn flags_that_mean_nothing_together_are_refused() {
    let place = quick();
    for arguments in [
        &["drill"][..],
        &["drill", "clerk-triage", "--jobs", "2"],
        &["drill", "clerk-triage", "--filter", "x"],
        &["drill", "--all", "--ask"],
        &["drill", "--all", "--scenario", "x"],
        &["drill", "--all", "-i", "project=x"],
        &["drill", "--all", "--filter", "nothing-is-called-so"],
        &["drill", "--all", "runbooks/drills"],
    ] {
        assert_eq!(place.run(arguments).code, Some(2), "{arguments:?}");
    }
    let one = place.run(&["drill", "clerk-triage", "--speed", "1000", "-q", "--format", "junit"]);
    assert_eq!(one.code, Some(0));
    assert!(one.stdout.contains("<testcase name=\"(first)\" classname=\"clerk-triage\""), "{}", one.stdout);
}
