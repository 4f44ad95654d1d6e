//! What runs leave behind: records of every version keep loading, are checked, and travel to another machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Place, ended, repository, shipped, signal, until};

/// Where a record of each version is kept for ever: `vN/NAME/`, with what it must say in `expected.json`.
const FIXTURES: &str = "tests/fixtures/logs";

/// A kept record.
struct Kept {
    folder: PathBuf,
    name: String,
    run: String,
    expected: Value,
}

/// Every kept record of every version.
fn kept() -> Vec<Kept> {
    let mut found = Vec::new();
    for version in fs::read_dir(repository(FIXTURES)).unwrap().map(|entry| entry.unwrap()) {
        for folder in fs::read_dir(version.path()).unwrap().map(|entry| entry.unwrap().path()) {
            let name = folder.strip_prefix(repository(FIXTURES)).unwrap().display().to_string();
            let text = fs::read_to_string(folder.join("expected.json")).unwrap();
            let expected: Value = serde_json::from_str(&text).unwrap();
            let run = expected["run"].as_str().unwrap().to_owned();
            found.push(Kept { folder, name, run, expected });
        }
    }
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

impl Kept {
    /// Lays the record into the state folder of a place.
    fn lay(&self, place: &Place) -> PathBuf {
        let run = place.state().join("runs").join(&self.run);
        copy(&self.folder, &run);
        fs::remove_file(run.join("expected.json")).unwrap();
        run
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(|entry| entry.unwrap()) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// What a record says of itself, in whole words.
fn told(place: &Place, run: &str) -> Value {
    let rows: Vec<Value> = serde_json::from_str(&place.run(&["runs", "--format", "json"]).stdout).unwrap();
    let row = rows.iter().find(|row| row["run"] == run).unwrap();
    let said = place.run(&["show", run, "--format", "json"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let shown: Value = serde_json::from_str(&said.stdout).unwrap();
    let steps: serde_json::Map<String, Value> = shown["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| (step["id"].as_str().unwrap().to_owned(), step["result"].clone()))
        .collect();
    json!({
        "run": run,
        "runbook": row["runbook"],
        "state": row["state"],
        "drill": row["drill"],
        "in_force": row["in_force"],
        "outcome": shown["outcome"],
        "head": shown["evidence"]["log_head"],
        "lines": shown["timeline"].as_array().unwrap().len(),
        "steps": steps,
    })
}

#[test]
fn every_record_of_every_version_still_loads() {
    let all = kept();
    assert!(all.len() >= 10, "the records are there");
    for kept in all {
        let place = Place::new();
        kept.lay(&place);
        assert_eq!(told(&place, &kept.run), kept.expected, "{}", kept.name);
        for command in ["show", "report"] {
            let said = place.run(&[command, &kept.run]);
            assert_eq!(said.code, Some(0), "{command} {}: {}", kept.name, said.stderr);
            assert!(said.stdout.lines().count() > 3, "{command} {}: {}", kept.name, said.stdout);
        }
    }
}

/// Makes the records of the present version. Run it once for each version of the format, and never again:
/// `cargo test --test cli -- --ignored make_the_records_of_this_version`.
#[test]
#[ignore = "writes into the repository"]
fn make_the_records_of_this_version() {
    let place = Place::new();
    let keep = |name: &str| {
        let log = place.log_path().unwrap();
        let from = log.parent().unwrap();
        let first: Value = serde_json::from_str(fs::read_to_string(&log).unwrap().lines().next().unwrap()).unwrap();
        let to = repository(FIXTURES).join(format!("v{}", first["v"])).join(name);
        assert!(!to.exists(), "{} is kept already", to.display());
        copy(from, &to);
        let expected = told(&place, from.file_name().unwrap().to_str().unwrap());
        fs::write(to.join("expected.json"), serde_json::to_string_pretty(&expected).unwrap() + "\n").unwrap();
        // The folder it was made in is nobody's business, and not part of the digest.
        for file in ["plan.json", "log.jsonl", "report.md"].map(|file| to.join(file)) {
            let Ok(text) = fs::read_to_string(&file) else { continue };
            let there = place.folder().display().to_string();
            if file.ends_with("plan.json") {
                fs::write(&file, text.replace(&there, "/srv/runbooks")).unwrap();
            } else {
                assert!(!text.contains(env!("CARGO_TARGET_TMPDIR")), "{} names this machine", file.display());
            }
        }
        // Ids name the second and some letters: the newest must stay the newest.
        next_second();
    };
    let run = |name: &str, text: &str, arguments: &[&str], code: i32| {
        place.write("approvers.yaml", "groups: { oncall: [tester] }\n");
        place.write("r.yaml", text);
        let said = place.run(&[&["run", "r.yaml"], arguments].concat());
        assert_eq!(said.code, Some(code), "{name}: {} {}", said.stdout, said.stderr);
    };

    run(
        "succeeded",
        "runbook: succeeded\ntitle: Everything goes well in the end\ninputs: { who: { type: string, default: \"w\u{f6}rld \\\"1\\\"\" } }\nsteps:\n  hello: { argv: [echo, 'hello {{ inputs.who }}'] }\n  flaky: { needs: [hello], effect: read, run: 'n=$(cat n 2>/dev/null || echo 0); n=$((n+1)); echo $n > n; [ $n -gt 2 ]', retry: { attempts: 4, delay: 10ms, jitter: false } }\n  polled: { needs: [flaky], effect: read, run: 'n=$(cat n); n=$((n+1)); echo $n > n; echo $n', until: { if: \"outputs.stdout != '4\\n'\", every: 10ms, within: 1m } }\n  choose:\n    needs: [polled]\n    uses: decide\n    with:\n      - if: hello.outputs.exit_code == 1\n        then: { category: odd }\n      - then: { category: even, severity: low }\n  skipped: { needs: [choose], if: \"choose.outputs.category == 'odd'\", argv: ['false'] }\n  after: { needs: { skipped: skipped }, argv: ['true'] }\nfinally:\n  last: { argv: [echo, '{{ run.outcome }}'] }\n",
        &[],
        0,
    );
    keep("succeeded");

    let gated = "runbook: gated\nsteps:\n  act:\n    approval: { prompt: 'Really act?', by: ['group:oncall'], within: 1h, ask: { reason: { type: string, required: true } } }\n    argv: [echo, act]\n  after: { needs: [act], argv: [echo, '{{ act.approval.reason }}'] }\n";
    run("waiting", gated, &[], 4);
    keep("waiting");
    run("approved", gated, &["--approve", "act", "--answer", "act.reason=because"], 0);
    keep("approved");
    run("rejected", gated, &["--reject", "act"], 8);
    keep("rejected");

    let lapsing = "runbook: lapsing\nsteps:\n  act: { approval: { prompt: '?', within: 1s }, argv: ['true'] }\n";
    run("lapsed", lapsing, &[], 4);
    next_second();
    next_second();
    assert_eq!(place.run(&["resume", "last"]).code, Some(8));
    keep("lapsed");

    run(
        "rolled-back",
        "runbook: rolled-back\nsteps:\n  one: { argv: ['true'], undo: { uses: shell, with: { script: 'echo undone' } } }\n  two: { needs: [one], argv: ['true'], undo: { uses: shell, with: { script: 'true' } } }\n  may: { argv: ['false'], allow_failure: true }\n  bad: { needs: [two, { may: finished }], run: 'echo oh >&2; exit 3' }\n  never: { needs: [bad], argv: ['true'] }\non_failure: rollback\nfinally:\n  last: { argv: [echo, '{{ run.outcome }}'] }\n"
            .replace("[two, { may: finished }]", "{ two: succeeded, may: finished }")
            .as_str(),
        &[],
        5,
    );
    keep("rolled-back");
    run(
        "stuck",
        "runbook: stuck\nsteps:\n  one: { argv: ['true'], undo: { uses: shell, with: { script: 'exit 9' } } }\n  bad: { needs: [one], run: exit 3 }\non_failure: rollback\n",
        &[],
        6,
    );
    keep("stuck");
    run(
        "failed",
        "runbook: failed\nsteps:\n  a: { argv: ['true'] }\n  bad: { needs: [a], argv: [echo, '{{ a.outputs.stdout // 2 }}'] }\n",
        &[],
        1,
    );
    keep("failed");

    place.write("r.yaml", "runbook: doubt\nsteps:\n  pay: { run: 'echo pay >> world; [ -e go ] || sleep 1000' }\n  done: { needs: [pay], argv: ['true'] }\n");
    let mut child = place.start(&["run", "r.yaml"]);
    until("the step runs", || !place.read("world").is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    next_second();
    assert_eq!(place.run(&["resume", "last"]).code, Some(6));
    keep("in-doubt");
    place.write("go", "");
    assert_eq!(place.run(&["resume", "last", "--again", "pay"]).code, Some(0));
    keep("done-again");
    fs::remove_file(place.path("go")).unwrap();
    fs::remove_file(place.path("world")).unwrap();
    let mut child = place.start(&["run", "r.yaml"]);
    until("the step runs", || !place.read("world").is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(place.run(&["resume", "last", "--happened", "pay"]).code, Some(0));
    keep("happened");

    fs::remove_file(place.path("world")).unwrap();
    let child = place.start(&["run", "r.yaml"]);
    until("the step runs", || !place.read("world").is_empty());
    signal(&child, "INT");
    assert_eq!(ended(child).code, Some(7));
    keep("cancelled");

    shipped(&place);
    // The report's whole path stands in the log: one that is nobody's.
    let link = Path::new("/tmp/runbook-records");
    std::os::unix::fs::symlink(place.state(), link).unwrap();
    let mut command = place.command(&["drill", "clerk-outage", "--speed", "400", "-q"]);
    let said = crate::support::said(command.env("RUNBOOK_STATE", link));
    fs::remove_file(link).unwrap();
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    keep("drill");
    place.write("m.yaml", "runbook: m\nsteps:\n  post: { manual: { text: 'Post the statement.', evidence: { link: { type: url } } } }\n  fails: { needs: [post], manual: { text: 'And this.' }, allow_failure: true }\n");
    place.write("drills/m.yaml", "scenario: m\ntitle: People do things\nstarts: 2026-02-19T16:11:00Z\nspeed: 600\nsecrets: { clerk: sk_test_drill_0000000000000000 }\nstand_ins: { 'https://api.clerk.com': clerk }\ndecisions:\n  post: { decision: approve, by: 'user:lead', after: 9s, answers: { link: 'https://example.com/1' } }\n  fails: { decision: reject, by: 'user:lead', after: 9s, answers: { reason: 'no time' } }\nexpect: { outcome: succeeded }\n");
    let said = place.run(&["drill", "m.yaml", "-q"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    keep("manual");
}

fn next_second() {
    let began = Instant::now();
    until("the next second", || began.elapsed() > Duration::from_millis(1100));
}
