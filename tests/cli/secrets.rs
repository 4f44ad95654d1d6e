//! Secrets that come to be during a run: typed by a person, given by a step, found again after a crash; and never kept.

use serde_json::{Value, json};

use crate::people::Screen;
use crate::support::{Place, ended, shipped, signal, until};

const TYPED: &str = "card-code-4711";

const CODE: &str = r#"runbook: code
secrets: { code: { prompt: "The code on the card" } }
steps:
  first: { run: 'printf %s "$CODE" >> world; echo "it is $CODE"', env: { CODE: "{{ secrets.code }}" } }
  wait: { needs: [first], approval: { prompt: "Go on?" } }
  second: { needs: [wait], run: 'printf %s "$CODE" >> world', env: { CODE: "{{ secrets.code }}" } }
"#;

const PROMPT: &str = "it is not shown: ";

/// Every byte of every file of every run.
fn kept(place: &Place) -> String {
    fn collect(folder: &std::path::Path, text: &mut String) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, text);
            } else {
                text.push_str(&String::from_utf8_lossy(&std::fs::read(path).unwrap()));
            }
        }
    }
    let mut text = String::new();
    collect(&place.state(), &mut text);
    text
}

#[test]
fn what_is_typed_is_hidden_used_and_not_kept_and_is_asked_for_again_after_a_crash() {
    let place = Place::new();
    place.write("code.yaml", CODE);
    let mut screen = Screen::of(&place, &["run", "code", "--yes"]);
    screen.waits_for(PROMPT);
    assert!(!screen.echoes());
    assert!(place.log_path().is_some_and(|_| place.count("attempt_started first") == 0), "nothing is begun yet");
    screen.types("abc");
    screen.waits_for("A secret has at least 4 characters");
    until("asked again", || screen.count(PROMPT) == 2);
    screen.types(TYPED);
    screen.waits_for("Type `yes` or `no`");
    assert!(screen.echoes(), "what is no secret is shown again");
    assert_eq!(place.read("world"), TYPED);
    screen.child().kill().unwrap();
    let (_, shown) = screen.ends();
    assert!(shown.contains("first needs the secret code") && shown.contains("The code on the card"), "{shown}");
    assert!(!shown.contains(TYPED), "{shown}");

    let mut screen = Screen::of(&place, &["resume", "last"]);
    screen.waits_for("Type `yes` or `no`");
    screen.types("yes");
    screen.waits_for("second needs the secret code");
    screen.waits_for(PROMPT);
    screen.types(TYPED);
    let (code, shown) = screen.ends();
    assert_eq!(code, Some(0), "{shown}");
    assert_eq!(place.read("world"), format!("{TYPED}{TYPED}"));
    let kept = kept(&place);
    assert!(!kept.contains(TYPED) && kept.contains("it is ***"), "{kept}");
}

#[test]
fn a_kill_while_somebody_types_leaves_nothing_in_doubt() {
    let place = Place::new();
    place.write("code.yaml", CODE);
    let mut screen = Screen::of(&place, &["run", "code", "--yes"]);
    screen.waits_for(PROMPT);
    // The question may be there a moment before the first line of the log is.
    until("the run has begun", || {
        place.log_path().and_then(|path| std::fs::read(path).ok()).is_some_and(|log| log.contains(&b'\n'))
    });
    screen.child().kill().unwrap();
    screen.ends();
    let mut screen = Screen::of(&place, &["resume", "last"]);
    screen.waits_for(PROMPT);
    screen.types(TYPED);
    screen.waits_for("Type `yes` or `no`");
    screen.types("no");
    assert_eq!(screen.ends().0, Some(8));
    assert_eq!((place.count("attempt_started first"), place.read("world")), (1, TYPED.to_owned()));
}

#[test]
fn whoever_stops_the_run_instead_of_typing_gets_their_terminal_back() {
    let place = Place::new();
    place.write("code.yaml", CODE);
    let mut screen = Screen::of(&place, &["run", "code", "--yes"]);
    screen.waits_for(PROMPT);
    signal(screen.child(), "INT");
    screen.waits_for("stopping");
    until("it shows what is typed", || screen.echoes());
    assert_eq!(screen.ends().0, Some(7));
    assert_eq!(place.read("world"), "");
}

#[test]
fn without_a_terminal_the_step_fails_and_says_what_to_do() {
    let place = Place::new();
    place.write("code.yaml", CODE);
    let said = place.run(&["run", "code"]);
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    let expected = "secret `code` cannot be had: it is asked for at a terminal, and nobody can be asked here";
    assert!(said.stderr.contains(expected), "{}", said.stderr);
    let failed = place.log().into_iter().find(|line| line["event"]["type"] == "step_failed").unwrap();
    assert_eq!(failed["event"]["error"]["kind"], "secret");
    assert_eq!(place.count("attempt_started first"), 0, "nothing was tried, so nothing can be in doubt");
}

#[test]
fn each_call_of_a_runbook_has_its_own_and_what_the_caller_gives_counts() {
    let place = Place::new();
    let inner = "runbook: inner\nsecrets: { code: { prompt: 'The code' } }\nsteps:\n  use: { run: 'echo \"$CODE\" >> world', env: { CODE: '{{ secrets.code }}' } }\n";
    let outer = "runbook: outer\nsecrets: { ours: { env: OURS } }\nsteps:\n  one: { call: inner.yaml }\n  two: { needs: [one], call: inner.yaml }\n  three: { needs: [two], call: inner.yaml, secrets: { code: ours } }\n";
    place.write("inner.yaml", inner).write("outer.yaml", outer).write("ours", "code-of-the-caller");
    let outer = outer.replace("{ env: OURS }", "{ file: ours }");
    place.write("outer.yaml", &outer);
    let mut screen = Screen::of(&place, &["run", "outer", "--yes"]);
    screen.waits_for("one/use needs the secret one/code");
    screen.waits_for(PROMPT);
    screen.types("code-number-one");
    screen.waits_for("two/use needs the secret two/code");
    until("asked again", || screen.count(PROMPT) == 2);
    screen.types("code-number-two");
    assert_eq!(screen.ends().0, Some(0));
    assert_eq!(place.read("world"), "code-number-one\ncode-number-two\ncode-of-the-caller\n");
}

#[test]
fn an_optional_secret_may_be_missing_until_a_step_takes_it() {
    let place = Place::new();
    let text = "runbook: o\nsecrets: { token: { env: NOT_SET_ANYWHERE, optional: true } }\nsteps:\n  free: { run: 'echo free >> world' }\n  bound: { needs: [free], run: 'echo bound >> world', env: { T: '{{ secrets.token }}' }, allow_failure: true }\n  after: { needs: { bound: failed }, if: \"bound.error.kind == 'secret'\", run: 'echo after >> world' }\n";
    place.write("o.yaml", text);
    let said = place.run(&["run", "o", "--yes"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(place.read("world"), "free\nafter\n");
}

fn score(stdout: &str) -> Value {
    serde_json::from_str(stdout).unwrap_or_else(|error| panic!("{error}: {stdout}"))
}

/// The key that the first rotation of a drill makes.
const ROTATED: &str = "sk_live_drill_rotated_00000001";

/// What a run keeps of a drill, without the vendors' own record.
fn told(place: &Place) -> String {
    let folder = place.log_path().unwrap().parent().unwrap().to_owned();
    ["log.jsonl", "plan.json", "report.md"]
        .map(|name| std::fs::read_to_string(folder.join(name)).unwrap_or_default())
        .concat()
}

#[test]
fn a_leaked_key_is_rotated_in_a_drill_whatever_becomes_of_the_answer() {
    for scenario in [None, Some("lost")] {
        let place = Place::new();
        shipped(&place);
        let mut arguments = vec!["drill", "clerk-key-rotation", "--format", "json"];
        arguments.extend(scenario.iter().flat_map(|name| ["--scenario", name]));
        let said = place.run(&arguments);
        assert_eq!(said.code, Some(0), "{scenario:?} {}\n{}", said.stdout, said.stderr);
        let mut writes = score(&said.stdout)["writes"].clone();
        // The first one signs everybody out, the other does not.
        let revoked = writes.as_object_mut().unwrap().remove("session_revoked").and_then(|count| count.as_u64());
        assert_eq!(revoked.is_some_and(|count| count > 100), scenario.is_none(), "{revoked:?}");
        assert_eq!(writes, json!({ "key_rotated": 1, "env_updated": 1, "deployment_created": 1 }), "{scenario:?}");
        let told = told(&place);
        assert!(!told.contains(ROTATED) && !said.stderr.contains(ROTATED), "{scenario:?} {told}");
        assert!(told.contains("‹secret new_key›") || told.contains("new_key"), "{told}");
        assert_eq!(place.count("doubt_resolved rotate"), usize::from(scenario.is_some()));
    }
}

#[test]
fn without_access_to_the_platform_a_person_gives_the_key() {
    let place = Place::new();
    shipped(&place);
    let said = place.run(&["drill", "clerk-key-rotation", "--scenario", "by-hand", "--format", "json"]);
    assert_eq!(said.code, Some(0), "{}\n{}", said.stdout, said.stderr);
    assert_eq!(score(&said.stdout)["writes"], json!({ "env_updated": 1, "deployment_created": 1 }));
    assert!(!told(&place).contains("sk_live_drill_made_by_hand_00"));
}

#[test]
fn a_no_rotates_nothing() {
    let place = Place::new();
    shipped(&place);
    let said = place.run(&["drill", "clerk-key-rotation", "--scenario", "rejected", "--format", "json"]);
    assert_eq!(said.code, Some(0), "{}\n{}", said.stdout, said.stderr);
    assert_eq!(score(&said.stdout)["writes"], json!({}));
}

/// Kills a drill once its log holds these words, and resumes it.
fn killed_at(words: &str) -> (Place, Value) {
    let place = Place::new();
    shipped(&place);
    let mut child = place.start(&["drill", "clerk-key-rotation"]);
    until(words, || {
        let text = place.log_path().and_then(|path| std::fs::read_to_string(path).ok()).unwrap_or_default();
        text.contains(words) || child.try_wait().unwrap().is_some()
    });
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(place.log_path().is_some_and(|path| !std::fs::read_to_string(path).unwrap().contains("run_finished")));
    let said = ended(place.start(&["resume", "last", "--format", "json"]));
    assert_eq!(said.code, Some(0), "{words}: {}\n{}", said.stdout, said.stderr);
    (place, score(&said.stdout))
}

#[test]
fn killed_right_after_the_rotation_the_new_key_is_found_again() {
    let moments = [
        r#""type":"attempt_started","step":"rotate""#,
        r#""type":"checkpoint","step":"rotate""#,
        r#""type":"attempt_finished","step":"rotate""#,
        r#""type":"attempt_finished","step":"same_instance""#,
        r#""type":"attempt_started","step":"set_production""#,
        r#""type":"attempt_started","step":"redeploy""#,
    ];
    let results = std::thread::scope(|threads| {
        let started = moments.map(|words| (words, threads.spawn(move || killed_at(words))));
        started.map(|(words, thread)| (words, thread.join().unwrap()))
    });
    for (words, (place, score)) in results {
        assert_eq!(score["outcome"], "succeeded", "{words}");
        assert_eq!(score["writes"]["key_rotated"], 1, "killed at {words}: never twice");
        assert_eq!(score["writes"]["deployment_created"], 1, "{words}");
        assert!(!told(&place).contains(ROTATED), "{words}");
    }
}
