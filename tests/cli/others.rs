//! Other processes: they watch, decide and cancel a run that one process leads, and never write its log.

use std::fs;
use std::path::PathBuf;

use crate::support::{Place, Said, ended, said, until, waits_for};

/// A gate beside a step that keeps the run going until the file `go` is there.
fn gated() -> Place {
    let place = Place::new();
    place.write(
        "g.yaml",
        &format!(
            r#"runbook: g
steps:
  act:
    approval: {{ prompt: "Act?", by: ["group:ops"], ask: {{ reason: {{ type: string, required: true }} }} }}
    argv: [sh, -c, "echo act >> world"]
  keep: {{ effect: read, run: '{}' }}
  plain: {{ argv: ["true"] }}
  late: {{ needs: [keep], approval: {{ prompt: "Later?" }}, argv: ["true"] }}
"#,
            waits_for("go")
        ),
    );
    place.write("approvers.yaml", "groups: { ops: [tester] }\n");
    place
}

fn inbox(place: &Place) -> PathBuf {
    place.log_path().unwrap().with_file_name("inbox")
}

fn letters(place: &Place, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(inbox(place)).into_iter().flatten().filter_map(Result::ok);
    let mut found: Vec<PathBuf> =
        entries.map(|entry| entry.path()).filter(|path| path.to_string_lossy().ends_with(ending)).collect();
    found.sort();
    found
}

/// What a command said, with the id of the newest run as `RUN`.
fn told(place: &Place, said: &Said) -> String {
    said.stderr.replace(&place.newest(), "RUN")
}

fn digest(place: &Place, step: &str) -> String {
    let log = place.log();
    let opened = log.iter().find(|line| line["event"]["type"] == "gate_opened" && line["event"]["step"] == step);
    opened.unwrap()["event"]["digest"].as_str().unwrap().to_owned()
}

#[test]
fn a_gate_is_answered_from_another_process() {
    let place = gated();
    let child = place.start(&["run", "g"]);
    place.sees("gate_opened act");
    let said = place.run(&["approve", "last", "act", "--answer", "reason=because"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let short = digest(&place, "act")[..12].to_owned();
    let expected = "user:tester says yes to `act`: Act?\n    sh -c 'echo act >> world'\n  digest SHORT\nwaiting until the process that leads run RUN takes note\nyour answer is in the log; see how it goes with: runbook watch RUN\n";
    assert_eq!(told(&place, &said).replace(&short, "SHORT"), expected);
    assert_eq!((place.count("gate_answered act"), letters(&place, "")), (1, vec![]), "said once, and cleared away");
    place.write("go", "");
    place.sees("gate_opened late");
    assert_eq!(ended(child).code, Some(4));
    assert_eq!(place.read("world"), "act\n");
    let answered = place.log().into_iter().find(|line| line["event"]["type"] == "gate_answered").unwrap();
    assert_eq!(answered["event"]["decision"]["via"], "letter");
    assert_eq!(answered["event"]["decision"]["answers"]["reason"], "because");
}

#[test]
fn a_no_from_another_process_rejects() {
    let place = gated();
    let child = place.start(&["run", "g", "--approve", "late"]);
    place.sees("gate_opened act");
    let said = place.run(&["reject", "last", "act"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    place.write("go", "");
    assert_eq!(ended(child).code, Some(8));
    assert_eq!(place.read("world"), "");
}

#[test]
fn whoever_may_not_answer_learns_it_and_nothing_changes() {
    let place = gated();
    assert_eq!(place.run(&["run", "g", "--approve", "late", "--skip", "keep", "--reason", "x"]).code, Some(4));
    let before = place.log_bytes();
    let mallory = said(place.command(&["approve", "last", "act", "--answer", "reason=x"]).env("USER", "mallory"));
    assert_eq!(mallory.code, Some(8), "{}", mallory.stderr);
    assert!(
        told(&place, &mallory).ends_with(
            "error: it was refused: `user:mallory` is not among those who may answer: group:ops\n  help: nothing was changed; `runbook show RUN` tells where the run stands\n"
        ),
        "{}",
        mallory.stderr
    );
    let silent = place.run(&["approve", "last", "act"]);
    assert_eq!(silent.code, Some(8));
    assert!(silent.stderr.contains("it was refused: `reason`: an answer is required"), "{}", silent.stderr);
    let cases = [
        (&["approve", "last", "plain"][..], "error: step `plain` has no gate to open\n"),
        (&["approve", "last", "late"], "error: the gate of `late` is not open now\n  help: open are: `act`\n"),
        (&["reject", "last", "act2"], "error: the run has no step `act2`\n  help: did you mean `act`?\n"),
        (&["approve", "last", "act", "--answer", "reason"], "error: `reason` is not of the form NAME=VALUE\n"),
    ];
    for (arguments, message) in cases {
        let said = place.run(arguments);
        assert_eq!((said.code, said.stderr.as_str()), (Some(2), message), "{arguments:?}");
    }
    let other = place.run(&["approve", "last", "act", "--answer", "reason=x", "--digest", "0000"]);
    assert_eq!(other.code, Some(2));
    let short = &digest(&place, "act")[..12];
    let expected = format!(
        "error: the gate of `act` asks about {short}, not about 0000\n  help: nothing was changed; `runbook show RUN` tells what it asks\n"
    );
    assert_eq!(told(&place, &other), expected);
    assert_eq!((place.log_bytes(), letters(&place, "")), (before, vec![]), "nothing changed");
}

/// What is left while nobody leads the run counts as soon as somebody does.
#[test]
fn an_answer_left_overnight_is_taken_by_the_one_who_resumes() {
    let place = gated();
    place.write("go", "");
    assert_eq!(place.run(&["run", "g", "--approve", "late"]).code, Some(4));
    let short = digest(&place, "act")[..12].to_owned();
    let said = place.run(&["approve", "last", "act", "--answer", "reason=x", "--digest", &short]);
    assert_eq!(said.code, Some(4), "{}", said.stderr);
    assert!(
        told(&place, &said).ends_with(
            "your answer was left with the run, which no process has taken up\ngo on with: runbook resume RUN\n"
        ),
        "{}",
        said.stderr
    );
    assert_eq!((letters(&place, ".json").len(), place.count("gate_answered act")), (1, 0));
    let said = place.run(&["resume", "last"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!((place.read("world").as_str(), letters(&place, "")), ("act\n", vec![]));
}

/// The process that leads the run judges by itself, whatever whoever left the letter has checked.
#[test]
fn letters_that_do_not_count_are_refused_with_a_reason_and_stop_nothing() {
    let place = gated();
    let child = place.start(&["run", "g", "--approve", "late"]);
    place.sees("gate_opened act");
    fs::create_dir_all(inbox(&place)).unwrap();
    let right = digest(&place, "act");
    let gate = |step: &str, digest: &str, by: &str| {
        format!(
            r#"{{"after":1,"wants":"gate","step":"{step}","digest":"{digest}","decision":{{"by":"{by}","answer":"approve","answers":{{"reason":"x"}},"via":"letter"}}}}"#
        )
    };
    let other = right.replace(|c: char| c.is_ascii_hexdigit(), "0");
    let cases = [
        ("1", "no letter at all".to_owned(), "it is no letter: expected ident at line 1 column 2"),
        ("2", gate("act", &other, "user:tester"), "the gate asks about something else by now"),
        ("3", gate("act", &right, "user:mallory"), "`user:mallory` is not among those who may answer: group:ops"),
        ("4", gate("nope", &right, "user:tester"), "the run has no step `nope`"),
        ("5", gate("plain", &right, "user:tester"), "nothing of the kind is asked about it now"),
        (
            "6",
            r#"{"after":1,"wants":"close","step":"act","by":"x","reason":"x"}"#.to_owned(),
            "it has no emergency measure in force",
        ),
    ];
    for (name, text, _) in &cases {
        fs::write(inbox(&place).join(format!(".{name}")), text).unwrap();
        fs::rename(inbox(&place).join(format!(".{name}")), inbox(&place).join(format!("{name}.json"))).unwrap();
    }
    until("all are refused", || {
        letters(&place, ".refused").len() == cases.len() && letters(&place, ".json").is_empty()
    });
    for (name, _, reason) in &cases {
        let told = fs::read_to_string(inbox(&place).join(format!("{name}.refused"))).unwrap();
        assert!(told.starts_with(reason), "{name}: {told}");
    }
    assert_eq!(place.count("gate_answered act"), 0);
    let said = place.run(&["approve", "last", "act", "--answer", "reason=x"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    place.write("go", "");
    let said = ended(child);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(said.stderr.contains("answer not taken: `user:mallory` is not among"), "{}", said.stderr);
}

/// Whoever leads the run has read who may answer when it began, and goes by that.
#[test]
fn whoever_is_refused_by_the_one_who_leads_is_told() {
    let place = gated();
    let child = place.start(&["run", "g", "--approve", "late"]);
    place.sees("gate_opened act");
    place.write("approvers.yaml", "groups: { ops: [tester, mallory] }\n");
    let said = said(place.command(&["approve", "last", "act", "--answer", "reason=x"]).env("USER", "mallory"));
    assert_eq!(said.code, Some(8), "{}", said.stderr);
    assert!(
        told(&place, &said).ends_with(
            "waiting until the process that leads run RUN takes note\nerror: it was refused: `user:mallory` is not among those who may answer: group:ops\n  help: nothing was changed; `runbook show RUN` tells where the run stands\n"
        ),
        "{}",
        said.stderr
    );
    assert_eq!((place.count("gate_answered act"), letters(&place, "")), (0, vec![]));
    assert_eq!(place.run(&["reject", "last", "act"]).code, Some(0));
    place.write("go", "");
    assert_eq!(ended(child).code, Some(8));
}

/// A process that was killed between recording what a letter wants and removing it leaves the letter behind.
#[test]
fn a_letter_is_dealt_with_once_whenever_its_reader_dies() {
    let place = gated();
    let mut child = place.start(&["run", "g"]);
    place.sees("gate_opened act");
    place.sees("attempt_finished plain");
    child.kill().unwrap();
    child.wait().unwrap();
    fs::create_dir_all(inbox(&place)).unwrap();
    let after = place.log().len();
    let letter = format!(r#"{{"after":{after},"wants":"cancel","by":"user:tester"}}"#);
    let name = inbox(&place).join("1.json");
    fs::write(&name, &letter).unwrap();
    let said = ended(place.start(&["resume", "last"]));
    assert_eq!((said.code, name.exists()), (Some(7), false), "{}", said.stderr);
    // As if it had been killed just before it could remove it.
    let text = String::from_utf8(place.log_bytes()).unwrap();
    let recorded = text.lines().position(|line| line.contains("\"cancel_requested\"")).unwrap();
    let kept: String = text.split_inclusive('\n').take(recorded + 1).collect();
    fs::write(place.log_path().unwrap(), kept).unwrap();
    fs::write(&name, &letter).unwrap();
    place.write("go", "");
    let said = ended(place.start(&["resume", "last"]));
    assert_eq!((said.code, name.exists()), (Some(4), false), "it is not stopped again: {}", said.stderr);
    assert_eq!(place.count("cancel_requested"), 1);
    assert_eq!(letters(&place, ".refused").len(), 0);
}

/// Whenever the one who leads the run is killed, an answer counts once and is lost never.
#[test]
fn an_answer_survives_the_death_of_whoever_was_to_take_it() {
    type Moment = fn(&Place) -> bool;
    let moments: [(&str, Moment); 4] = [
        ("at once", |_| true),
        ("the letter is there", |place| !letters(place, ".json").is_empty() || place.count("gate_answered ask") > 0),
        ("it is in the log", |place| place.count("gate_answered ask") > 0),
        ("the letter is gone", |place| place.count("gate_answered ask") > 0 && letters(place, ".json").is_empty()),
    ];
    for (what, moment) in moments {
        let place = Place::new();
        place.write(
            "a.yaml",
            &format!(
                "runbook: a\nsteps:\n  ask: {{ approval: {{ prompt: '?' }} }}\n  keep: {{ effect: read, run: '{}' }}\n",
                waits_for("go")
            ),
        );
        let mut leader = place.start(&["run", "a"]);
        place.sees("gate_opened ask");
        let approver = place.start(&["approve", "last", "ask"]);
        until(what, || moment(&place));
        leader.kill().unwrap();
        leader.wait().unwrap();
        let approver = ended(approver);
        place.write("go", "");
        // An approver that found nobody leading leaves its letter for the next one; one that had not come so far is late.
        assert!(matches!(approver.code, Some(0 | 4)), "{what}: {}", approver.stderr);
        let said = ended(place.start(&["resume", "last"]));
        assert_eq!(said.code, Some(0), "{what}: {}", said.stderr);
        assert_eq!((place.count("gate_answered ask"), letters(&place, "")), (1, vec![]), "{what}");
    }
}

#[test]
fn a_run_is_cancelled_from_another_process() {
    let place = Place::new();
    place.write(
        "a.yaml",
        "runbook: a\nsteps:\n  slow: { effect: read, run: 'echo up > up; exec sleep 1000' }\nfinally:\n  last: { run: 'echo last >> world' }\n",
    );
    let child = place.start(&["run", "a"]);
    until("it runs", || !place.read("up").is_empty());
    let said = place.run(&["cancel", "last", "--reason", "wrong project"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(
        told(&place, &said),
        "waiting until the process that leads run RUN takes note\nrun RUN is stopping; see how it ends with: runbook watch RUN\n"
    );
    let run = ended(child);
    assert_eq!(run.code, Some(7), "{}", run.stderr);
    assert!(run.stderr.contains("the run was stopped by tester: wrong project"), "{}", run.stderr);
    assert_eq!(place.read("world"), "last\n");

    let before = place.log_bytes();
    let again = place.run(&["cancel", "last"]);
    let expected = "error: run `RUN` is over: cancelled\n  help: `runbook show RUN` tells how it went\n";
    assert_eq!((again.code, told(&place, &again).as_str()), (Some(2), expected));
    assert_eq!(place.log_bytes(), before);
}

/// Something happens all the time in it; the inbox is looked into all the same.
#[test]
fn a_busy_run_reads_its_letters_too() {
    let place = Place::new();
    place.write(
        "a.yaml",
        "runbook: a\nsteps:\n  look: { effect: read, run: 'true', until: { if: '1 == 2', every: 1ms, within: 10m } }\n",
    );
    let child = place.start(&["run", "a", "-q"]);
    place.sees("attempt_started look");
    let said = place.run(&["cancel", "last"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(ended(child).code, Some(7));
}

#[test]
fn a_run_that_nobody_leads_is_cancelled_here_and_can_be_resumed() {
    let place = gated();
    place.write(
        "f.yaml",
        "runbook: f\nsteps:\n  ask: { approval: { prompt: '?' } }\n  act: { needs: [ask], run: 'echo act >> world' }\nfinally:\n  last: { run: 'echo last >> world' }\n",
    );
    assert_eq!(place.run(&["run", "f"]).code, Some(4));
    let said = place.run(&["cancel", "last", "--reason", "not today"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(said.stderr.contains("the run was stopped by tester: not today"), "{}", said.stderr);
    assert_eq!(place.read("world"), "last\n");
    assert_eq!(place.events().last().map(String::as_str), Some("run_finished"));
    let said = place.run(&["resume", "last", "--approve", "ask"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(place.read("world"), "last\nact\nlast\n");
}

#[test]
fn watching_shows_the_same_lines_ends_as_the_run_does_and_writes_nothing() {
    let place = Place::new();
    place.write(
        "a.yaml",
        &format!(
            "runbook: a\nsteps:\n  keep: {{ effect: read, run: '{}' }}\n  bad: {{ needs: [keep], run: 'exit 3' }}\n",
            waits_for("go")
        ),
    );
    let child = place.start(&["run", "a"]);
    place.sees("attempt_started keep");
    let watch = place.start(&["watch", "last"]);
    place.write("go", "");
    let (run, watch) = (ended(child), ended(watch));
    assert_eq!((run.code, watch.code), (Some(1), Some(1)), "{}", watch.stderr);
    assert_eq!(watch.stdout, run.stderr, "the same lines");
    let before = place.log_bytes();
    let after = place.run(&["watch", "last"]);
    assert_eq!((after.code, after.stdout, after.stderr.as_str()), (Some(1), run.stderr, ""));
    assert_eq!(place.log_bytes(), before);
}

#[test]
fn watching_a_run_that_nobody_leads_says_how_to_go_on() {
    let place = gated();
    place.write("go", "");
    assert_eq!(place.run(&["run", "g", "--approve", "late"]).code, Some(4));
    // A last line that is not whole yet is no damage, and not mended by whoever only reads.
    let mut torn = place.log_bytes();
    torn.extend_from_slice(b"{\"v\":1,\"se");
    fs::write(place.log_path().unwrap(), &torn).unwrap();
    let said = place.run(&["watch", "last"]);
    let expected = "no process leads this run; go on with: runbook resume RUN\nor answer first:              runbook approve RUN act\n";
    assert_eq!((said.code, told(&place, &said).as_str()), (Some(4), expected));
    assert_eq!(place.log_bytes(), torn);

    let place = gated();
    let mut child = place.start(&["run", "g"]);
    place.sees("attempt_started keep");
    let watch = place.start(&["watch", "last"]);
    child.kill().unwrap();
    child.wait().unwrap();
    let said = ended(watch);
    assert!(matches!(said.code, Some(4 | 6)), "{}", said.stderr);
    assert!(said.stderr.starts_with("no process leads this run; go on with: runbook resume"), "{}", said.stderr);
    place.write("go", "");
}

#[test]
fn what_only_the_leader_may_do_is_refused_while_there_is_one() {
    let place = gated();
    let child = place.start(&["run", "g", "--approve", "late"]);
    place.sees("gate_opened act");
    let said = place.run(&["undo", "last", "--yes"]);
    let expected = "error: run `RUN` is under way: another process leads it; nothing was changed\n  help: see how it goes: `runbook watch RUN`, or stop it: `runbook cancel RUN`\n";
    assert_eq!((said.code, told(&place, &said).as_str()), (Some(11), expected));
    assert_eq!(place.run(&["undo", "last", "--plan"]).code, Some(11));
    assert_eq!(place.run(&["resume", "last"]).code, Some(11));
    assert_eq!(place.run(&["reject", "last", "act"]).code, Some(0));
    place.write("go", "");
    assert_eq!(ended(child).code, Some(8));
}
