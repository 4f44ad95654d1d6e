//! Drills: the unchanged file against stand-ins, scored; killed at any moment and resumed, with nothing done twice.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::{Place, ended, repository, shipped, until};

fn score(stdout: &str) -> Value {
    serde_json::from_str(stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"))
}

#[test]
fn an_outage_is_bridged_and_everything_is_put_back() {
    let place = Place::new();
    shipped(&place);
    let said = place.run(&["drill", "runbooks/clerk-outage.yaml", "--format", "json"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let score = score(&said.stdout);
    assert_eq!(score["outcome"], "succeeded");
    assert_eq!(score["left_standing"], Value::Array(Vec::new()));
    assert_eq!(score["gates"]["approved"], 1);
    // One request answered 429 and one build that failed: the third request makes the deployment that serves.
    assert_eq!(score["writes"]["deployment_created"], 3);
    let file = std::fs::read(repository("runbooks/clerk-outage.yaml")).unwrap();
    let digest = runbook::base::Digest::of(&file);
    assert_eq!(score["runbook_digest"], digest.as_str(), "the file is the one used in production");
    assert!(said.stderr.contains("DRILL"), "{}", said.stderr);

    let report = place.run(&["report", "last"]);
    for words in [
        "Clerk outage, emergency auth bypass",
        "clerk-outage",
        "critical",
        "approved by lead",
        "sign-in is down, rehearsal",
        "drill",
    ] {
        assert!(report.stdout.to_lowercase().contains(&words.to_lowercase()), "{words}\n{}", report.stdout);
    }
}

#[test]
fn a_false_alarm_opens_nothing() {
    let place = Place::new();
    shipped(&place);
    let said = place.run(&["drill", "clerk-outage", "--scenario", "false-alarm", "--format", "json"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(score(&said.stdout)["writes"], serde_json::json!({}));
}

#[test]
fn a_no_changes_nothing() {
    let place = Place::new();
    shipped(&place);
    let said = place.run(&["drill", "clerk-outage", "--scenario", "rejected", "--format", "json"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let score = score(&said.stdout);
    assert_eq!((&score["outcome"], &score["writes"]), (&"rejected".into(), &serde_json::json!({})));
}

#[test]
fn triage_names_the_category_and_only_looks() {
    let place = Place::new();
    shipped(&place);
    let scenarios = [
        (None, "clerk-outage"),
        (Some("page-only"), "vendor-reports-trouble"),
        (Some("maintenance"), "clerk-maintenance"),
        (Some("wrong-key"), "key-problem"),
        (Some("backend-only"), "clerk-backend-degraded"),
        (Some("app-broken"), "middleware-failure"),
    ];
    for (scenario, category) in scenarios {
        let mut arguments = vec!["drill", "clerk-triage", "--format", "json"];
        arguments.extend(scenario.iter().flat_map(|name| ["--scenario", name]));
        let said = place.run(&arguments);
        assert_eq!(said.code, Some(0), "{}\n{}", said.stdout, said.stderr);
        assert_eq!(score(&said.stdout)["writes"], serde_json::json!({}));
        let decided = place.log().into_iter().find(|line| line["event"]["type"] == "decided").unwrap();
        assert_eq!(decided["event"]["outputs"]["category"], category);
    }
}

/// A deployment that never succeeds: what was set is taken back, and the run says so.
#[test]
fn when_the_deployment_never_works_the_bypass_is_taken_back() {
    let place = Place::new();
    shipped(&place);
    let scenario = place.read("runbooks/drills/clerk-outage.yaml");
    let faults = (1..=6).map(|n| format!("  - {{ on: vercel, deployment: {n}, ends: ERROR }}\n")).collect::<String>();
    let (before, rest) = scenario.split_once("faults:\n").unwrap();
    let decisions = rest.split_once("decisions:").unwrap().1.split_once("expect:").unwrap().0;
    let text = format!(
        "{before}faults:\n{faults}\ndecisions:{decisions}\nexpect: {{ outcome: rolled_back, left_standing: nothing, bypass: never_opened }}\n"
    );
    place.write("runbooks/drills/clerk-outage.broken-builds.yaml", &text);
    let said = place.run(&["drill", "clerk-outage", "--scenario", "broken-builds", "--format", "json"]);
    assert_eq!(said.code, Some(0), "{}\n{}", said.stdout, said.stderr);
    let score = score(&said.stdout);
    assert_eq!((&score["outcome"], &score["writes"]["env_removed"]), (&"rolled_back".into(), &3.into()), "{score}");
}

#[test]
fn a_drill_never_leaves_this_machine() {
    let place = Place::new();
    shipped(&place);
    place.write(
        "runbooks/clerk-outage.yaml",
        "runbook: clerk-outage\nsteps:\n  out: { uses: http.get, with: { url: 'https://example.com/' }, allow_failure: true }\n  sh: { argv: [touch, evidence], allow_failure: true }\n",
    );
    let said = place.run(&["drill", "clerk-outage"]);
    assert!(said.stderr.contains("has no stand-in in this drill"), "{}", said.stderr);
    assert!(said.stderr.contains("the drill starts no processes"), "{}", said.stderr);
    assert!(!place.path("evidence").exists());
}

#[test]
fn an_unknown_scenario_names_those_there_are() {
    let place = Place::new();
    shipped(&place);
    let said = place.run(&["drill", "clerk-outage", "--scenario", "nonsense"]);
    assert_eq!(said.code, Some(2));
    assert!(said.stderr.contains("scenarios: false-alarm, inherited, maintenance"), "{}", said.stderr);
}

/// What the world saw of writes, and how often each step ended well, after a drill was killed once its log held `kill_at`
/// entries, and resumed.
fn killed_and_resumed(kill_at: usize) -> (Value, BTreeMap<String, usize>) {
    let place = Place::new();
    shipped(&place);
    let mut child = place.start(&["drill", "clerk-outage"]);
    until("the log is long enough", || {
        let text = place.log_path().and_then(|path| std::fs::read(path).ok()).unwrap_or_default();
        text.iter().filter(|byte| **byte == b'\n').count() >= kill_at || child.try_wait().unwrap().is_some()
    });
    child.kill().unwrap();
    child.wait().unwrap();
    let said = ended(place.start(&["resume", "last", "--format", "json"]));
    assert_eq!(said.code, Some(0), "killed at {kill_at}: {}\n{}", said.stdout, said.stderr);
    let mut successes = BTreeMap::new();
    for line in place.log() {
        let event = &line["event"];
        let ended_well =
            event["type"] == "attempt_finished" && event["result"]["how"] == "succeeded" && event["next"].is_null();
        if ended_well {
            *successes.entry(event["step"].as_str().unwrap().to_owned()).or_default() += 1;
        }
    }
    (score(&said.stdout), successes)
}

#[test]
fn killed_at_any_moment_and_resumed_it_does_nothing_twice() {
    let moments = [2, 7, 12, 15, 17, 19, 21, 24, 27, 33];
    // Side by side: each drill waits most of its time.
    let results = std::thread::scope(|threads| {
        let started = moments.map(|kill_at| (kill_at, threads.spawn(move || killed_and_resumed(kill_at))));
        started.map(|(kill_at, thread)| (kill_at, thread.join().unwrap()))
    });
    for (kill_at, (score, successes)) in results {
        assert_eq!(score["outcome"], "succeeded", "killed at {kill_at}");
        assert_eq!(
            score["writes"],
            serde_json::json!({
                "env_created": 3, "env_removed": 3, "deployment_created": 3, "rolled_back": 1, "promoted": 1
            }),
            "killed at {kill_at}"
        );
        assert_eq!(score["left_standing"], Value::Array(Vec::new()), "killed at {kill_at}");
        assert!(successes.values().all(|count| *count == 1), "killed at {kill_at}: {successes:?}");
    }
}
