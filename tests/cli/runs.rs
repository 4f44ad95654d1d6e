//! Runs with real processes: failing, rolling back, cancelled, killed, resumed; and the log they leave.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::Value;

use crate::support::{Place, ended, signal, until};

/// A step that adds its name to the file `world`.
fn adds(name: &str, more: &str) -> String {
    format!(
        "  {name}: {{ {more}{}argv: [sh, -c, \"echo {name} >> world\"] }}\n",
        if more.is_empty() { "" } else { ", " }
    )
}

#[test]
fn outputs_flow_from_step_to_step_with_their_types() {
    let place = Place::new();
    place.write(
        "a.yaml",
        r#"runbook: a
inputs: { who: { type: string, default: world } }
steps:
  one:
    run: |
      echo "ticket=INC-$WHO" >> "$RUNBOOK_OUTPUT"
      echo "count=3" >> "$RUNBOOK_OUTPUT"
    env: { WHO: "{{ inputs.who }}" }
    outputs: { ticket: { type: string }, count: { type: integer } }
  two:
    needs: [one]
    if: "one.outputs.count == 3"
    argv: [sh, -c, 'printf "%s" "$1" > world', sh, "{{ one.outputs.ticket }} {{ one.outputs.count + 1 }}"]
"#,
    );
    let said = place.run(&["run", "a", "-i", "who=x"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(place.read("world"), "INC-x 4");
}

/// Values that would run something if any of them ever became part of a script.
#[test]
fn hostile_values_stay_values() {
    let hostile = [
        "$(touch evidence)",
        "`touch evidence`",
        "'; touch evidence; '",
        "\"; touch evidence; \"",
        "${X:-$(touch evidence)}",
        "\n touch evidence\n",
        "{{ run.id }}",
        "$((touch))",
        "-n",
        "EOF\ntouch evidence\nEOF",
        "; touch evidence #",
        "&& touch evidence",
        "\u{FDD0}token\u{FDD1}",
    ];
    let place = Place::new();
    place.write(
        "a.yaml",
        r#"runbook: a
inputs: { x: { type: string, required: true } }
secrets: { token: { env: TOKEN } }
steps:
  script: { run: 'printf "%s" "$X" > script', env: { X: "{{ inputs.x }}" } }
  words: { argv: [sh, -c, 'printf "%s" "$1" > words', sh, "{{ inputs.x }}"] }
  uses_it: { run: 'true', env: { T: "{{ secrets.token }}" } }
"#,
    );
    for value in hostile {
        let mut command = place.command(&["run", "a", "-i", &format!("x={value}")]);
        let said = crate::support::said(command.env("TOKEN", "hunter2hunter2"));
        assert_eq!(said.code, Some(0), "{value:?}: {}", said.stderr);
        let expected = value.replace(['\u{FDD0}', '\u{FDD1}'], "\u{FFFD}");
        assert_eq!((place.read("script"), place.read("words")), (expected.clone(), expected), "{value:?}");
        assert!(!place.path("evidence").exists(), "{value:?} ran");
    }
}

#[test]
fn a_failure_is_rolled_back_in_reverse_order() {
    let place = Place::new();
    let undo = |name: &str| format!("undo: {{ uses: shell, with: {{ argv: [sh, -c, 'echo undo-{name} >> world'] }} }}");
    place.write(
        "a.yaml",
        &format!(
            "runbook: a\nsteps:\n{}{}{}{}on_failure: rollback\nfinally:\n  last: {{ argv: [sh, -c, 'echo \"last $0\" >> world', '{{{{ run.outcome }}}}'] }}\n",
            adds("one", &undo("one")),
            adds("two", &format!("needs: [one], {}", undo("two"))),
            "  bad: { needs: [two], run: 'echo bad >> world; exit 3', retry: { attempts: 2, delay: 1ms } }\n",
            adds("never", "needs: [bad]"),
        ),
    );
    let said = place.run(&["run", "a"]);
    assert_eq!(said.code, Some(5), "{}", said.stderr);
    assert_eq!(place.read("world"), "one\ntwo\nbad\nbad\nundo-two\nundo-one\nlast rolled_back\n");
    assert_eq!(place.run(&["resume", "last"]).code, Some(2), "a run that is over stays over");
}

#[test]
fn an_undo_that_fails_stops_everything_and_tells_both_failures() {
    let place = Place::new();
    place.write(
        "a.yaml",
        "runbook: a\nsteps:\n  one: { argv: ['true'], undo: { uses: shell, with: { script: 'echo undo-one >> world' } } }\n  two: { needs: [one], argv: ['true'], undo: { uses: shell, with: { script: 'echo oh no >&2; exit 9' } } }\n  bad: { needs: [two], run: exit 3 }\non_failure: rollback\n",
    );
    let said = place.run(&["run", "a"]);
    assert_eq!(said.code, Some(6), "{}", said.stderr);
    assert_eq!(place.read("world"), "", "nothing more is undone");
    assert!(said.stderr.contains("code 3") && said.stderr.contains("code 9"), "{}", said.stderr);
}

#[test]
fn continue_goes_on_with_what_does_not_need_the_failure() {
    let place = Place::new();
    place.write(
        "a.yaml",
        &format!(
            "runbook: a\nsteps:\n  bad: {{ run: exit 1 }}\n{}{}{}on_failure: continue\n",
            adds("handles", "needs: { bad: failed }"),
            adds("never", "needs: [bad]"),
            adds("beside", "")
        ),
    );
    let said = place.run(&["run", "a"]);
    assert_eq!(said.code, Some(1));
    let mut world: Vec<String> = place.read("world").lines().map(str::to_owned).collect();
    world.sort();
    assert_eq!(world, ["beside", "handles"]);
}

#[test]
fn a_timeout_stops_the_whole_group() {
    let place = Place::new();
    place.write("a.yaml", "runbook: a\nsteps:\n  s:\n    run: |\n      sleep 1000 &\n      echo $! > child\n      wait\n    timeout: 300ms\n");
    let said = ended(place.start(&["run", "a"]));
    // Nobody knows how far a script came that was cut off: a person must say.
    assert_eq!(said.code, Some(6), "{}", said.stderr);
    assert!(said.stderr.contains("it took longer than 300ms"), "{}", said.stderr);
    assert_gone(place.read("child").trim());
    let said = place.run(&["resume", "last", "--did-not-happen", "s"]);
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    assert!(said.stderr.contains("did not happen (tester)"), "{}", said.stderr);
}

fn assert_gone(pid: &str) {
    assert!(!pid.is_empty());
    until("the grandchild is gone", || {
        fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "))
    });
}

#[test]
fn a_signal_stops_in_order_and_the_run_can_be_resumed() {
    let place = Place::new();
    place.write(
        "a.yaml",
        "runbook: a\nsteps:\n  one: { run: 'echo one >> world' }\n  slow: { needs: [one], effect: read, run: 'echo up >> world; [ -e go ] || { sleep 1000 & echo $! > child; wait; }' }\n  two: { needs: [slow], run: 'echo two >> world' }\nfinally:\n  last: { run: 'echo last >> world' }\n",
    );
    let child = place.start(&["run", "a"]);
    until("the slow step runs", || !place.read("child").is_empty());
    signal(&child, "INT");
    let said = ended(child);
    assert_eq!(said.code, Some(7), "{}", said.stderr);
    assert!(said.stderr.contains("go on with: runbook resume"), "{}", said.stderr);
    assert_gone(place.read("child").trim());
    assert_eq!(place.read("world"), "one\nup\nlast\n");

    place.write("go", "");
    let said = place.run(&["resume", "last"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(
        place.read("world"),
        "one\nup\nlast\nup\ntwo\nlast\n",
        "only what had not finished, and the final steps"
    );
}

#[test]
fn what_may_not_be_done_twice_is_asked_about_after_a_kill() {
    let place = Place::new();
    place.write(
        "a.yaml",
        "runbook: a\nsteps:\n  pay: { run: 'echo pay >> world; [ -e go ] || sleep 1000' }\n  done: { needs: [pay], run: 'echo done >> world' }\n",
    );
    let mut child = place.start(&["run", "a"]);
    until("the step runs", || !place.read("world").is_empty());
    let group = place.log().iter().filter(|line| line["event"]["type"] == "attempt_started").count();
    assert_eq!(group, 1);
    child.kill().unwrap();
    child.wait().unwrap();
    // Were the step done again by itself, this would not end.
    let said = ended(place.start(&["resume", "last"]));
    assert_eq!(said.code, Some(6), "{}", said.stderr);
    assert!(said.stderr.contains("--happened pay") && said.stderr.contains("--again pay"), "{}", said.stderr);
    assert_eq!(place.read("world"), "pay\n", "nothing is done twice by itself");
    assert!(said.stderr.contains("of step `pay` has outlived the program that started it"), "{}", said.stderr);

    // Its script still sleeps: to begin it again would be to do it twice.
    let before = place.log().len();
    let said = place.run(&["resume", "last", "--again", "pay"]);
    assert_eq!(said.code, Some(2), "{}", said.stderr);
    assert!(said.stderr.contains("nobody can say yet what becomes of `pay`: its process"), "{}", said.stderr);
    assert_eq!(place.log().len(), before, "nothing was changed");

    let said = place.run(&["resume", "last", "--happened", "pay"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(place.read("world"), "pay\ndone\n");
    let _ = std::process::Command::new("pkill").args(["-f", &place.folder().display().to_string()]).status();
}

#[test]
fn a_run_belongs_to_one_process() {
    let place = Place::new();
    place.write("a.yaml", "runbook: a\nsteps:\n  s: { run: 'echo up > world; sleep 1000' }\n");
    let child = place.start(&["run", "a"]);
    until("it runs", || !place.read("world").is_empty());
    let said = place.run(&["resume", "last"]);
    assert_eq!(said.code, Some(11), "{}", said.stderr);
    signal(&child, "TERM");
    assert_eq!(ended(child).code, Some(7));
}

#[test]
fn a_second_signal_kills_at_once() {
    let place = Place::new();
    place.write(
        "a.yaml",
        "runbook: a\nsteps:\n  s: { run: 'trap \"\" TERM; echo $$ > world; while :; do sleep 1000; done' }\n",
    );
    let child = place.start(&["run", "a"]);
    until("it runs", || !place.read("world").is_empty());
    signal(&child, "INT");
    until("it is stopping", || place.events().iter().any(|event| event == "cancel_requested"));
    signal(&child, "INT");
    let said = ended(child);
    assert_eq!(said.code, None, "it ended by the signal: {}", said.stderr);
    assert_gone(place.read("world").trim());
}

#[test]
fn a_torn_last_line_is_mended_and_a_damaged_middle_is_refused_with_its_place() {
    let place = Place::new();
    place.write("a.yaml", "runbook: a\nsteps:\n  s: { approval: { prompt: '?' }, argv: ['true'] }\n");
    assert_eq!(place.run(&["run", "a"]).code, Some(4));
    let path = place.log_path().unwrap();
    let whole = fs::read(&path).unwrap();

    fs::write(&path, [whole.as_slice(), b"{\"v\":1,\"seq\":99,\"ti"].concat()).unwrap();
    let said = place.run(&["resume", "last"]);
    assert_eq!(said.code, Some(4), "{}", said.stderr);
    assert!(said.stderr.contains("the log ended in the middle of a line; 19 bytes were dropped"), "{}", said.stderr);

    let text = String::from_utf8(whole).unwrap();
    fs::write(&path, text.replacen("\"runbook\":\"a\"", "\"runbook\":\"b\"", 1)).unwrap();
    let said = place.run(&["resume", "last"]);
    assert_eq!(said.code, Some(70), "{}", said.stderr);
    assert!(
        said.stderr.contains("log.jsonl:1: the log is damaged here (byte 0): its content does not match its hash"),
        "{}",
        said.stderr
    );
    assert!(place.run(&["runs"]).stdout.contains("unreadable"));
}

#[test]
fn a_plan_that_was_edited_is_refused() {
    let place = Place::new();
    place.write("a.yaml", "runbook: a\nsteps:\n  s: { approval: { prompt: '?' }, argv: [echo, safe] }\n");
    assert_eq!(place.run(&["run", "a"]).code, Some(4));
    let path = place.log_path().unwrap().with_file_name("plan.json");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, text.replace("safe", "evil")).unwrap();
    let said = place.run(&["resume", "last", "--approve", "s"]);
    assert!(said.stderr.contains("does not match its digest"), "{}", said.stderr);
}

#[test]
fn the_run_goes_on_from_its_stored_plan_not_from_the_edited_file() {
    let place = Place::new();
    place.write(
        "a.yaml",
        "runbook: a\nsteps:\n  s: { approval: { prompt: '?' }, argv: [sh, -c, 'echo old > world'] }\n",
    );
    assert_eq!(place.run(&["run", "a"]).code, Some(4));
    place.write("a.yaml", "runbook: a\nsteps:\n  s: { argv: [sh, -c, 'echo new > world'] }\n");
    assert_eq!(place.run(&["resume", "last", "--approve", "s"]).code, Some(0));
    assert_eq!(place.read("world"), "old\n");
}

#[test]
fn a_state_folder_that_cannot_be_written_stops_before_acting() {
    let place = Place::new();
    place.write("a.yaml", "runbook: a\nsteps:\n  s: { run: 'echo s > world' }\n");
    // A file where the folder should be: refused for everybody, root included.
    place.write("file", "");
    let said = crate::support::said(place.command(&["run", "a"]).env("RUNBOOK_STATE", place.path("file")));
    assert_eq!(said.code, Some(10), "{}", said.stderr);
    assert!(
        said.stderr.contains("set RUNBOOK_STATE to a folder that can be written; nothing was started"),
        "{}",
        said.stderr
    );
    assert_eq!(place.read("world"), "");
}

#[test]
fn a_full_disk_stops_before_acting() {
    let place = Place::new();
    place.write("a.yaml", "runbook: a\nsteps:\n  one: { approval: { prompt: '?' }, run: 'echo one > world' }\n");
    assert_eq!(place.run(&["run", "a"]).code, Some(4));
    let whole = fs::read(place.log_path().unwrap()).unwrap();
    // From here on the log cannot grow: a limit on the size of files stands for the full disk, and holds for root too.
    // Shells count in blocks of 512 or 1024 bytes; either way the log is at the limit already.
    let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$0\" resume last --approve one", whole.len() / 1024);
    let binary = env!("CARGO_BIN_EXE_runbook");
    let mut padded = std::process::Command::new("sh");
    padded
        .args(["-c", &script, binary])
        .current_dir(place.folder())
        .env("RUNBOOK_STATE", place.state())
        .env("USER", "tester");
    let said = crate::support::said(&mut padded);
    assert_eq!(said.code, Some(70), "{}", said.stderr);
    assert!(said.stderr.contains("the run log cannot be written, so nothing more was started"), "{}", said.stderr);
    assert_eq!(place.read("world"), "", "the intention was not in the log, so nothing was done");
}

#[test]
fn secrets_reach_their_step_and_nothing_else() {
    let place = Place::new();
    place.write(
        "a.yaml",
        r#"runbook: a
secrets: { token: { env: TOKEN }, other: { file: secret.txt } }
steps:
  uses_it:
    run: |
      [ "$T" = "$EXPECTED" ] && echo same
      echo "token $T" ; echo "$T" | base64 >&2
      [ -z "${TOKEN+x}" ] && echo "not inherited"
      [ "$O" = filesecret ] && echo "from file"
    env: { T: "{{ secrets.token }}", EXPECTED: "hunter2-hunter2", O: "{{ secrets.other }}" }
  passes_on: { needs: [uses_it], argv: [echo, "{{ uses_it.outputs.stdout }}"] }
"#,
    );
    place.write("secret.txt", "filesecret\n");
    let mut command = place.command(&["run", "a"]);
    let said = crate::support::said(command.env("TOKEN", "hunter2-hunter2"));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let log = place.log();
    let stdout = log.iter().find_map(|line| line["event"]["result"]["outputs"]["stdout"].as_str()).unwrap();
    assert_eq!(stdout, "same\ntoken ***\nnot inherited\nfrom file\n");
    let everything = written(&place.state()) + &said.stdout + &said.stderr;
    // The runbook itself says `hunter2-hunter2` in EXPECTED, and the plan stores the runbook; the log must not.
    let without_plan =
        everything.replace(&fs::read_to_string(place.log_path().unwrap().with_file_name("plan.json")).unwrap(), "");
    for form in ["hunter2-hunter2", "aHVudGVyMi1odW50ZXIy", "filesecret"] {
        assert!(!without_plan.contains(form), "{form} was written");
    }
}

/// Every byte under a folder, as text.
fn written(folder: &std::path::Path) -> String {
    let mut text = String::new();
    for entry in fs::read_dir(folder).unwrap().filter_map(Result::ok) {
        if entry.file_type().unwrap().is_dir() {
            text += &written(&entry.path());
        } else {
            text += &String::from_utf8_lossy(&fs::read(entry.path()).unwrap());
        }
    }
    text
}

#[test]
fn endpoints_can_be_set_by_flag_environment_and_profile() {
    let place = Place::new();
    place.write("a.yaml", "runbook: a\nsecrets: { clerk: { env: KEY } }\nsteps:\n  ping: { uses: clerk.ping }\n");
    // Nobody listens on port 1: the address in the error says where it went.
    let variable = ("RUNBOOK_ENDPOINT_CLERK", "http://127.0.0.1:1");
    let cases = [
        (vec!["--endpoint", "clerk=http://127.0.0.1:1"], None),
        (vec![], Some(variable)),
        (vec!["--profile", "p.yaml"], None),
    ];
    place.write("p.yaml", "endpoints: { clerk: 'http://127.0.0.1:1' }\n");
    for (flags, variable) in cases {
        let mut command = place.command(&[&["run", "a"], flags.as_slice()].concat());
        command.env("KEY", "sk_test_0123456789").envs(variable);
        let said = crate::support::said(&mut command);
        assert_eq!(said.code, Some(1), "{flags:?}: {}", said.stderr);
        assert!(said.stderr.contains("Connection refused"), "{flags:?}: {}", said.stderr);
    }
}

#[test]
fn a_manual_step_waits_for_a_person() {
    let place = Place::new();
    place.write("a.yaml", "runbook: a\nsteps:\n  post: { manual: { text: 'Post the statement.', evidence: { link: { type: url, required: true } } } }\n");
    let said = place.run(&["run", "a"]);
    assert_eq!(said.code, Some(4), "{}", said.stderr);
}

#[test]
fn files_of_a_run_are_for_their_owner_only() {
    let place = Place::new();
    place.write("a.yaml", "runbook: a\nsteps:\n  s: { argv: ['true'] }\n");
    assert_eq!(place.run(&["run", "a"]).code, Some(0));
    let run = place.log_path().unwrap();
    let mode = fs::metadata(run.parent().unwrap()).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "outputs of steps are nobody else's business: {mode:o}");
}

#[test]
fn runs_are_listed_as_data_and_a_closed_pipe_is_no_failure() {
    let place = Place::new();
    place.write("a.yaml", "runbook: a\nsteps:\n  s: { argv: ['true'] }\n");
    for _ in 0..3 {
        assert_eq!(place.run(&["run", "a"]).code, Some(0));
    }
    let rows: Vec<Value> = serde_json::from_str(&place.run(&["runs", "--format", "json"]).stdout).unwrap();
    assert_eq!((rows.len(), &rows[0]["state"], &rows[0]["runbook"]), (3, &"succeeded".into(), &"a".into()));
    let mut shell = std::process::Command::new("sh");
    let binary = env!("CARGO_BIN_EXE_runbook");
    let script = "set -o pipefail 2>/dev/null; \"$0\" plan a.yaml | true; \"$0\" runs | head -n 1";
    shell.args(["-c", script, binary]).current_dir(place.folder()).env("RUNBOOK_STATE", place.state());
    let said = crate::support::said(&mut shell);
    assert!(!said.stderr.contains("panicked"), "{}", said.stderr);
}

#[test]
fn steps_beside_each_other_run_at_once_up_to_the_limit() {
    let place = Place::new();
    // Each waits for the other's file: only together can they end.
    let meets = |own: &str, other: &str| {
        format!(
            "  {own}: {{ run: 'touch {own}; n=0; until [ -e {other} ]; do n=$((n+1)); [ $n -lt 3000 ] || exit 1; sleep 0.01; done' }}\n"
        )
    };
    place.write("a.yaml", &format!("runbook: a\nsteps:\n{}{}", meets("a", "b"), meets("b", "a")));
    assert_eq!(place.run(&["run", "a", "--concurrency", "2"]).code, Some(0));
}
