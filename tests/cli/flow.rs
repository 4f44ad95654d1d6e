//! Loops, calls, deadlines, undo and wishes, as they go in real runs with real processes.

use std::io::{Read as _, Write as _};

use serde_json::Value;

use crate::support::{Place, ended, said, until, waits_for};

fn lines(place: &Place) -> Vec<String> {
    place.read("world").lines().map(str::to_owned).collect()
}

fn sorted(place: &Place) -> Vec<String> {
    let mut lines = lines(place);
    lines.sort();
    lines
}

/// What a loop, or a call, gave back: in the log of the newest run.
fn returned(place: &Place, step: &str) -> Value {
    let log = place.log();
    let event = log.iter().find(|line| line["event"]["type"] == "step_returned" && line["event"]["step"] == step);
    event.unwrap_or_else(|| panic!("{step} did not come back: {:?}", place.events()))["event"]["result"].clone()
}

#[test]
fn a_loop_does_each_item_under_its_key_and_collects_what_they_gave() {
    let place = Place::new();
    place.write(
        "a.yaml",
        r#"runbook: a
steps:
  each:
    for_each: { in: [{ id: u1, n: "1" }, { id: u2, n: "2" }], as: user, key: user.id }
    run: 'echo "doubled=$((N * 2))" >> "$RUNBOOK_OUTPUT"; echo "$RUNBOOK_STEP" >> world'
    env: { N: "{{ user.n }}" }
    outputs: { doubled: { type: integer } }
  after:
    needs: [each]
    argv: [sh, -c, 'echo "$0" >> world', "{{ each.outputs.total }} {{ each.outputs.items[1].outputs.doubled }}"]
"#,
    );
    let said = place.run(&["run", "a"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(sorted(&place), ["2 4", "each[u1]", "each[u2]"]);
    assert_eq!(place.count("attempt_finished each[u2]"), 1);
    assert!(said.stderr.contains("succeeded in") && said.stderr.contains("all 2 items"), "{}", said.stderr);
}

#[test]
fn two_items_with_one_key_fail_before_anything_is_done() {
    let place = Place::new();
    place.write(
        "a.yaml",
        "runbook: a\nsteps:\n  list: { run: 'echo \"xs=[\\\"same\\\", \\\"same\\\"]\" >> \"$RUNBOOK_OUTPUT\"', outputs: { xs: { type: json } } }\n  each: { needs: [list], for_each: { in: list.outputs.xs, as: x }, run: 'echo no >> world' }\n",
    );
    let said = place.run(&["run", "a"]);
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    assert!(said.stderr.contains("`same`"), "{}", said.stderr);
    assert_eq!(place.read("world"), "");
}

/// Each item notes when it begins and ends: never more than two between the two.
#[test]
fn at_most_so_many_items_are_under_way_at_once() {
    let place = Place::new();
    place.write(
        "a.yaml",
        "runbook: a\nsteps:\n  each: { for_each: { in: [1, 2, 3, 4, 5, 6], at_most: 2 }, run: 'echo + >> world; sleep 0.02; echo - >> world' }\n",
    );
    let said = place.run(&["run", "a", "--concurrency", "6"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let (mut now, mut most) = (0, 0);
    for line in lines(&place) {
        now += if line == "+" { 1 } else { -1 };
        most = most.max(now);
    }
    assert!((1..=2).contains(&most), "{most}");
    assert_eq!(lines(&place).len(), 12);
}

/// One, then two, then four: of seven items that all wait, only one is begun; when it is over, two.
#[test]
fn a_ramp_begins_with_one() {
    let place = Place::new();
    place.write(
        "a.yaml",
        &format!(
            "runbook: a\nsteps:\n  each: {{ for_each: {{ in: ['1', '2', '3', '4', '5', '6', '7'], as: x, ramp: true }}, effect: read, run: 'echo \"$X\" >> world; {}', env: {{ X: '{{{{ x }}}}' }} }}\n",
            waits_for("\"go$X\"")
        ),
    );
    let child = place.start(&["run", "a", "--concurrency", "7"]);
    let began = |place: &Place| place.events().iter().filter(|event| event.starts_with("attempt_started")).count();
    until("the first began", || began(&place) == 1);
    place.write("go1", "");
    until("two more began", || began(&place) == 3);
    assert_eq!(place.events().iter().filter(|event| event.starts_with("attempt_finished")).count(), 1);
    place.write("go2", "");
    until("one of the two is over", || place.count("attempt_finished each[2]") == 1);
    assert_eq!(began(&place), 3, "the wave is not over");
    place.write("go3", "");
    until("four more began", || began(&place) == 7);
    for number in 4..=7 {
        place.write(&format!("go{number}"), "");
    }
    assert_eq!(ended(child).code, Some(0));
}

#[test]
fn a_loop_ends_when_too_many_items_have_failed() {
    // A count: the second failure ends it, and what had not begun never does.
    let place = Place::new();
    let text = |fail_after: &str| {
        format!(
            "runbook: a\nsteps:\n  each: {{ for_each: {{ in: ['1', '2', '3', '4', '5', '6', '7', '8', '9', '10'], as: x, at_most: 1, fail_after: {fail_after} }}, run: 'echo \"$X\" >> world; [ $((X % 2)) = 0 ]', env: {{ X: '{{{{ x }}}}' }} }}\n  after: {{ needs: {{ each: finished }}, argv: [sh, -c, 'echo \"$0\" >> world', '{{{{ each.outputs.failed }}}} {{{{ each.outputs.skipped }}}} {{{{ each.outputs.items[0].result }}}}'] }}\non_failure: continue\n"
        )
    };
    place.write("a.yaml", &text("2"));
    let said = place.run(&["run", "a"]);
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    assert_eq!(lines(&place), ["1", "2", "3", "2 7 failed"]);

    // A share: of ten items, 40% are four.
    let place = Place::new();
    place.write("a.yaml", &text("40%"));
    assert_eq!(place.run(&["run", "a"]).code, Some(1));
    assert_eq!(lines(&place), ["1", "2", "3", "4", "5", "6", "7", "4 3 failed"]);

    // Fewer do no harm.
    let place = Place::new();
    place.write("a.yaml", &text("6"));
    assert_eq!(place.run(&["run", "a"]).code, Some(0));
    assert_eq!(lines(&place).last().map(String::as_str), Some("5 0 failed"));
}

#[test]
fn a_loop_that_was_killed_goes_on_with_the_items_it_has_not_done() {
    let place = Place::new();
    place.write(
        "a.yaml",
        &format!(
            "runbook: a\nsteps:\n  each: {{ for_each: {{ in: [a, b, c, d], as: x, at_most: 1 }}, run: 'echo \"$X\" >> world; [ \"$X\" != c ] || {{ {}; }}', env: {{ X: '{{{{ x }}}}' }} }}\n",
            waits_for("go")
        ),
    );
    let mut child = place.start(&["run", "a"]);
    until("the third is under way", || lines(&place).len() == 3);
    child.kill().unwrap();
    child.wait().unwrap();
    place.write("go", "");
    let said = ended(place.start(&["resume", "last"]));
    assert_eq!(said.code, Some(6), "{}", said.stderr);
    assert!(
        said.stderr.contains("--happened 'each[c]'") || said.stderr.contains("--happened each[c]"),
        "{}",
        said.stderr
    );
    let said = place.run(&["resume", "last", "--happened", "each[c]"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(lines(&place), ["a", "b", "c", "d"], "none twice, none left out");
}

const REGION: &str = r#"runbook: region
inputs: { name: { type: string, required: true }, size: { type: integer, default: 1 } }
secrets: { token: { env: REGION_TOKEN } }
steps:
  go:
    approval: { prompt: "Into {{ inputs.name }}?" }
    run: '[ "$T" = top-secret-1 ] || exit 3; echo "go $NAME $SIZE" >> world'
    env: { NAME: "{{ inputs.name }}", SIZE: "{{ (inputs.size + 1) | string }}", T: "{{ secrets.token }}" }
outputs:
  place: { type: string, value: "{{ inputs.name }}.example" }
  twice: { type: integer, value: "{{ inputs.size * 2 }}" }
"#;

#[test]
fn a_call_takes_typed_inputs_a_secret_by_name_and_an_answer_at_its_gate() {
    let place = Place::new();
    place.write("region.yaml", REGION).write(
        "top.yaml",
        r#"runbook: top
secrets: { ours: { env: OURS } }
steps:
  eu: { call: region.yaml, with: { name: eu, size: 4 }, secrets: { token: ours } }
  after: { needs: [eu], argv: [sh, -c, 'echo "$0" >> world', "{{ eu.outputs.place }} {{ eu.outputs.twice + 1 }}"] }
"#,
    );
    // REGION_TOKEN is not there, and need not be: the call is given what it needs.
    let said = said(place.command(&["run", "top", "--approve", "eu/go"]).env("OURS", "top-secret-1"));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(lines(&place), ["go eu 5", "eu.example 9"]);
    assert_eq!(place.count("gate_answered eu/go"), 1);
    let everything = String::from_utf8(place.log_bytes()).unwrap() + &said.stderr;
    assert!(!everything.contains("top-secret-1"));
}

#[test]
fn a_failure_in_a_call_is_undone_there_and_told_here() {
    let place = Place::new();
    place.write(
        "inner.yaml",
        "runbook: inner\nsteps:\n  one: { run: 'echo one >> world', undo: { run: 'echo undo-one >> world' } }\n  bad: { needs: [one], run: 'exit 7' }\non_failure: rollback\nfinally:\n  tidy: { run: 'echo tidy >> world' }\n",
    );
    place.write(
        "top.yaml",
        "runbook: top\nsteps:\n  call: { call: inner.yaml, allow_failure: true }\n  after: { needs: { call: failed }, argv: [sh, -c, 'echo \"$0\" >> world', '{{ call.error.code }}'] }\n",
    );
    let said = place.run(&["run", "top"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(lines(&place), ["one", "undo-one", "tidy", "rolled_back"]);
}

#[test]
fn a_rollback_reaches_into_what_was_called() {
    let place = Place::new();
    place.write(
        "inner.yaml",
        "runbook: inner\nsteps:\n  one: { run: 'true', undo: { run: 'echo undo-one >> world' } }\n  two: { needs: [one], run: 'true', undo: { run: 'echo undo-two >> world' } }\n",
    );
    place.write(
        "top.yaml",
        "runbook: top\nsteps:\n  first: { run: 'true', undo: { run: 'echo undo-first >> world' } }\n  call: { needs: [first], call: inner.yaml }\n  last: { needs: [call], run: 'true', undo: { run: 'echo undo-last >> world' } }\n  bad: { needs: [last], run: 'exit 1' }\non_failure: rollback\n",
    );
    let said = place.run(&["run", "top"]);
    assert_eq!(said.code, Some(5), "{}", said.stderr);
    assert_eq!(lines(&place), ["undo-last", "undo-two", "undo-one", "undo-first"]);
}

#[test]
fn a_call_has_a_time_of_its_own() {
    let place = Place::new();
    place.write(
        "inner.yaml",
        "runbook: inner\nsteps:\n  slow: { effect: read, run: 'exec sleep 1000' }\n  never: { needs: [slow], run: 'echo never >> world' }\n",
    );
    place.write(
        "top.yaml",
        "runbook: top\nsteps:\n  call: { call: inner.yaml, timeout: 300ms }\n  beside: { run: 'echo beside >> world' }\n",
    );
    let said = ended(place.start(&["run", "top"]));
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    assert_eq!(
        (returned(&place, "call")["error"]["kind"].clone(), lines(&place)),
        ("timeout".into(), vec!["beside".to_owned()])
    );
}

#[test]
fn a_runbook_that_would_call_itself_is_refused_with_the_way_round() {
    let place = Place::new();
    place.write("one.yaml", "runbook: one\nsteps:\n  a: { call: two.yaml }\n");
    place.write("two.yaml", "runbook: two\nsteps:\n  b: { call: one.yaml }\n");
    let said = place.run(&["run", "one"]);
    assert_eq!(said.code, Some(3), "{}", said.stderr);
    assert!(said.stderr.contains("one.yaml") && said.stderr.contains("two.yaml"), "{}", said.stderr);
    assert!(!place.state().exists(), "nothing was started");
}

#[test]
fn a_call_that_was_killed_goes_on_inside() {
    let place = Place::new();
    place.write(
        "inner.yaml",
        &format!(
            "runbook: inner\nsteps:\n  one: {{ run: 'echo one >> world' }}\n  look: {{ needs: [one], effect: read, run: '{}' }}\n  two: {{ needs: [look], run: 'echo two >> world' }}\n",
            waits_for("go")
        ),
    );
    place.write(
        "top.yaml",
        "runbook: top\nsteps:\n  call: { call: inner.yaml }\n  after: { needs: [call], run: 'echo after >> world' }\n",
    );
    let mut child = place.start(&["run", "top"]);
    place.sees("attempt_started call/look");
    child.kill().unwrap();
    child.wait().unwrap();
    place.write("go", "");
    let said = ended(place.start(&["resume", "last"]));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(lines(&place), ["one", "two", "after"]);
    assert_eq!(place.count("call_began call"), 1);
}

#[test]
fn an_until_that_gives_up_may_count_as_done() {
    let place = Place::new();
    let text = |on_timeout: &str| {
        format!(
            "runbook: a\nsteps:\n  look: {{ effect: read, run: 'true', until: {{ if: 'run.drill', every: 5ms, within: 30ms{on_timeout} }} }}\n  after: {{ needs: [look], argv: [sh, -c, 'echo \"$0\" >> world', 'met {{{{ look.met }}}}'] }}\n"
        )
    };
    place.write("a.yaml", &text(", on_timeout: succeed"));
    let said = place.run(&["run", "a"]);
    assert_eq!((said.code, lines(&place)), (Some(0), vec!["met false".to_owned()]), "{}", said.stderr);
    place.write("a.yaml", &text(""));
    assert_eq!(place.run(&["run", "a"]).code, Some(1));
    assert_eq!(lines(&place).len(), 1);
}

#[test]
fn a_step_has_a_time_for_all_its_tries_and_a_run_for_all_its_steps() {
    let place = Place::new();
    place.write(
        "a.yaml",
        "runbook: a\nsteps:\n  s: { effect: read, run: 'exit 1', retry: { attempts: 1000, delay: 20ms, backoff: 1, on: [failed] }, timeout: { step: 300ms } }\n",
    );
    let said = ended(place.start(&["run", "a"]));
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    let tries = place.count("attempt_started s");
    assert!((1..1000).contains(&tries), "{tries}");

    let place = Place::new();
    place.write(
        "b.yaml",
        "runbook: b\ntimeout: 500ms\nsteps:\n  done: { run: 'echo done >> world', undo: { run: 'echo undone >> world' } }\n  slow: { needs: [done], effect: read, run: 'exec sleep 1000' }\n  never: { needs: [slow], run: 'echo never >> world' }\non_failure: rollback\nfinally:\n  last: { run: 'echo last >> world' }\n",
    );
    let said = ended(place.start(&["run", "b"]));
    assert_eq!(said.code, Some(5), "{}", said.stderr);
    assert_eq!(lines(&place), ["done", "undone", "last"]);
    assert!(said.stderr.contains("the time of the run is up"), "{}", said.stderr);
}

/// Answers every request with whether the file `closed` is there.
fn tells_whether_closed(place: &Place) -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, closed) = (listener.local_addr().unwrap(), place.path("closed"));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut request = [0; 1024];
            let _ = stream.read(&mut request);
            let body = format!("{{\"closed\":{}}}", closed.exists());
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length";
            let _ = stream.write_all(format!("{head}: {}\r\n\r\n{body}", body.len()).as_bytes());
        }
    });
    address
}

/// What the undo says of itself is not believed: only its third try is seen to have worked.
#[test]
fn an_undo_is_looked_at_and_tried_again() {
    let place = Place::new();
    let text = |attempts: u32| {
        format!(
            r#"runbook: a
steps:
  one:
    run: 'true'
    undo:
      run: 'echo try >> world; [ "$(wc -l < world)" -lt 3 ] || touch closed'
      retry: {{ attempts: {attempts}, delay: 1ms, on: [failed, not_met] }}
      verify: {{ uses: http.get, with: {{ url: "http://{}/" }}, if: "outputs.json.closed" }}
  bad: {{ needs: [one], run: 'exit 1' }}
on_failure: rollback
"#,
            tells_whether_closed(&place)
        )
    };
    place.write("a.yaml", &text(2));
    let said = place.run(&["run", "a"]);
    assert_eq!((said.code, lines(&place).len()), (Some(6), 2), "{}", said.stderr);
    std::fs::remove_file(place.path("world")).unwrap();
    place.write("a.yaml", &text(5));
    let said = place.run(&["run", "a"]);
    assert_eq!((said.code, lines(&place).len()), (Some(5), 3), "{}", said.stderr);
}

/// Each waits for the other: only side by side can they end.
#[test]
fn what_stands_side_by_side_is_undone_side_by_side() {
    let place = Place::new();
    let meets = |own: &str, other: &str| {
        format!("  {own}: {{ run: 'true', undo: {{ run: 'touch {own}; {}' }} }}\n", waits_for(other))
    };
    place.write(
        "a.yaml",
        &format!(
            "runbook: a\nsteps:\n{}{}  bad: {{ needs: [a, b], run: 'exit 1' }}\non_failure: rollback\n",
            meets("a", "b"),
            meets("b", "a")
        ),
    );
    let said = ended(place.start(&["run", "a", "--concurrency", "2"]));
    assert_eq!(said.code, Some(5), "{}", said.stderr);
}

#[test]
fn an_allowed_failure_stops_nothing_and_stays_a_failure() {
    let place = Place::new();
    place.write(
        "a.yaml",
        "runbook: a\nsteps:\n  may: { run: 'exit 1', allow_failure: true }\n  wants: { needs: [may], run: 'echo wants >> world' }\n  takes: { needs: { may: finished }, run: 'echo takes >> world' }\n",
    );
    let said = place.run(&["run", "a"]);
    assert_eq!((said.code, lines(&place)), (Some(0), vec!["takes".to_owned()]), "{}", said.stderr);
    assert!(said.stderr.contains("`may` failed"), "{}", said.stderr);
}

const WISHED: &str = "runbook: w\nsteps:\n  bad: { run: 'echo bad >> world; exit 1' }\n  after: { needs: { bad: finished }, run: 'echo after >> world' }\n  never: { if: 'run.drill', run: 'echo never >> world' }\n  gated: { if: 'run.drill', approval: { prompt: '?' }, run: 'echo gated >> world' }\n";

#[test]
fn a_step_is_left_out_or_forced_and_the_log_says_by_whom_and_why() {
    let place = Place::new();
    place.write("w.yaml", WISHED);
    let said = place.run(&["run", "w", "--skip", "bad", "--force", "never", "--reason", "known broken"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(sorted(&place), ["after", "never"]);
    let wished = |kind: &str| place.log().into_iter().find(|line| line["event"]["type"] == kind).unwrap();
    let skipped = wished("step_skipped");
    assert_eq!(skipped["event"]["because"]["why"], "person");
    assert_eq!(
        (&skipped["event"]["because"]["by"], &skipped["event"]["because"]["reason"]),
        (&"user:tester".into(), &"known broken".into())
    );
    assert_eq!(wished("step_forced")["event"]["reason"], "known broken");

    // A gate is not opened by it.
    let said = place.run(&["run", "w", "--force", "gated", "--skip", "bad", "--reason", "x"]);
    assert_eq!(said.code, Some(4), "{}", said.stderr);
    assert!(!place.read("world").contains("gated"));
    let said = place.run(&["resume", "last", "--skip", "gated", "--reason", "not needed"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
}

#[test]
fn wishes_that_cannot_be_granted_are_refused_with_nothing_changed() {
    let place = Place::new();
    place.write("w.yaml", WISHED);
    let cases = [
        (
            &["run", "w", "--skip", "afterr", "--reason", "x"][..],
            "error: the run has no step `afterr`\n  help: did you mean `after`?\n",
        ),
        (
            &["run", "w", "--skip", "zzz", "--reason", "x"],
            "error: the run has no step `zzz`\n  help: steps of a called runbook are named like `call/step`, items like `step[key]`, once they are known\n",
        ),
    ];
    for (arguments, message) in cases {
        let said = place.run(arguments);
        assert_eq!((said.code, said.stderr.as_str()), (Some(2), message), "{arguments:?}");
    }
    assert_eq!(place.run(&["run", "w", "--skip", "bad"]).code, Some(2), "a reason is needed");
    assert!(place.log_path().is_none(), "no run is left behind");

    assert_eq!(place.run(&["run", "w", "--force", "gated", "--skip", "bad", "--reason", "x"]).code, Some(4));
    let before = place.log_bytes();
    let said = place.run(&["resume", "last", "--skip", "after", "--reason", "x"]);
    let expected = "error: `step_skipped` of step `after` cannot happen now: it has ended\n  help: nothing was changed; `runbook show RUN` tells where each step stands\n";
    assert_eq!((said.code, said.stderr.as_str()), (Some(2), expected));
    assert_eq!(place.log_bytes(), before);
}

#[test]
fn a_run_that_is_over_is_not_resumed_and_nothing_changes() {
    let place = Place::new();
    place.write("a.yaml", "runbook: a\nsteps:\n  s: { argv: ['true'] }\n");
    assert_eq!(place.run(&["run", "a"]).code, Some(0));
    let before = place.log_bytes();
    let said = place.run(&["resume", "last"]);
    let expected = "error: run `RUN` is over: succeeded\n  help: `runbook show RUN` tells how it went\n";
    assert_eq!((said.code, said.stderr.replace(&place.newest(), "RUN").as_str()), (Some(2), expected));
    assert_eq!(place.log_bytes(), before);
}
