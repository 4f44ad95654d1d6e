//! Steps that run processes of every bad kind: deaf, loud, binary, daemons. All of them are real.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::{Place, ended, said, signal, until};

/// The processes whose ids stand in a file, one a line.
fn written_ids(place: &Place, file: &str) -> Vec<u32> {
    place.read(file).lines().filter_map(|line| line.trim().parse().ok()).collect()
}

/// Does the process run? One that ended and was not collected does not.
fn is_alive(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    !stat.rsplit_once(')').unwrap().1.trim_start().starts_with('Z')
}

/// Which of them run.
fn alive(pids: &[u32]) -> Vec<u32> {
    pids.iter().copied().filter(|pid| is_alive(*pid)).collect()
}

fn none() -> Vec<u32> {
    Vec::new()
}

/// How many children of a process have ended and were not collected.
fn zombies_of(parent: u32) -> usize {
    let ids = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    ids.filter(|id| id.parse::<u32>().is_ok())
        .filter_map(|id| fs::read_to_string(format!("/proc/{id}/stat")).ok())
        .filter(|stat| {
            let words: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
            words[0] == "Z" && words[1] == parent.to_string()
        })
        .count()
}

/// Ends whatever still runs in a place when a test is over: what was left on purpose, and all of it when the test fails.
struct Leftovers(PathBuf);

impl Leftovers {
    fn of(place: &Place) -> Self {
        Self(place.folder())
    }
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        let Ok(folder) = fs::read_dir("/proc") else { return };
        for entry in folder.filter_map(Result::ok) {
            let id = entry.file_name().into_string().unwrap_or_default();
            if fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == self.0) {
                let _ = std::process::Command::new("kill").args(["-9", &id]).status();
            }
        }
    }
}

/// The outputs of a step that ended.
fn outputs(place: &Place, step: &str) -> Value {
    let log = place.log();
    let of_step = log.iter().map(|line| &line["event"]).filter(|event| event["step"] == step);
    of_step.filter_map(|event| event.pointer("/result/outputs")).next_back().cloned().unwrap_or_default()
}

/// A file that the newest run has left.
fn artifact(place: &Place, name: &Value) -> PathBuf {
    place.log_path().unwrap().with_file_name(name.as_str().unwrap_or("no name"))
}

/// Starts two daemons, by one fork and by two, and one that has forgotten its environment; their ids go to a file.
const DAEMONS: &str = r#"
      setsid sh -c 'echo $$ >> daemons; exec sleep 1000' > /dev/null 2>&1 &
      setsid sh -c 'sh -c "echo \$\$ >> daemons; exec sleep 1000" & exit 0' > /dev/null 2>&1
      env -i PATH="$PATH" setsid sh -c 'echo $$ >> daemons; exec sleep 1000' > /dev/null 2>&1 &
      while [ "$(wc -l < daemons)" -lt 3 ]; do sleep 0.02; done
"#;

#[test]
fn who_ignores_the_request_is_killed_with_all_it_started() {
    let place = Place::new();
    let _leftovers = Leftovers::of(&place);
    place.write(
        "a.yaml",
        &format!(
            r#"runbook: a
steps:
  deaf:
    run: |
      trap '' TERM
      touch daemons
{DAEMONS}
      echo $$ >> group
      sh -c 'while :; do sleep 0.1; done' & echo $! >> group
      touch up
      while :; do sleep 0.1; done
"#
        ),
    );
    let run = place.start(&["run", "a"]);
    until("the step is up", || place.path("up").exists());
    let pids = [written_ids(&place, "daemons"), written_ids(&place, "group")].concat();
    assert!(pids.len() == 5 && pids.iter().all(|pid| is_alive(*pid)), "{pids:?}");
    signal(&run, "INT");
    assert_eq!(ended(run).code, Some(7));
    assert_eq!(alive(&pids), none());
}

#[test]
fn a_deaf_daemon_without_parent_group_and_environment_is_killed() {
    let place = Place::new();
    let _leftovers = Leftovers::of(&place);
    place.write("deaf", "trap '' TERM\necho $$ > daemons\nwhile :; do sleep 0.1; done\n");
    // Its parent hears the request and ends first.
    let script = r#"env -i PATH="$PATH" setsid sh deaf & while :; do sleep 0.1; done"#;
    place.write("a.yaml", &format!("runbook: a\nsteps:\n  s: {{ run: '{script}' }}\n"));
    let run = place.start(&["run", "a"]);
    until("the daemon is up", || written_ids(&place, "daemons").len() == 1);
    let pids = written_ids(&place, "daemons");
    signal(&run, "INT");
    assert_eq!((ended(run).code, alive(&pids)), (Some(7), none()));
}

#[test]
fn who_is_started_in_answer_to_the_request_is_stopped_too() {
    let place = Place::new();
    let _leftovers = Leftovers::of(&place);
    place.write("deaf", "trap '' TERM\necho $$ > daemons\nwhile :; do sleep 0.1; done\n");
    let script = "trap \"setsid sh deaf & exit 0\" TERM; touch up; while :; do sleep 0.05; done";
    place.write("a.yaml", &format!("runbook: a\nsteps:\n  s: {{ run: '{script}' }}\n"));
    let run = place.start(&["run", "a"]);
    until("the step is up", || place.path("up").exists());
    signal(&run, "INT");
    let said = ended(run);
    let pids = written_ids(&place, "daemons");
    // The step itself ended well, and so did the run's only step; the daemon it then left is no one's wish.
    assert_eq!((pids.len(), alive(&pids)), (1, none()), "{}", said.stderr);
}

#[test]
fn a_daemon_is_asked_before_it_is_killed_and_given_time() {
    let place = Place::new();
    let _leftovers = Leftovers::of(&place);
    place.write(
        "daemon",
        "trap 'sleep 0.3; echo tidied > tidied; exit 0' TERM\necho $$ > daemons\nwhile :; do sleep 0.05; done\n",
    );
    place.write("a.yaml", "runbook: a\nsteps:\n  s: { run: 'setsid sh daemon & while :; do sleep 0.1; done' }\n");
    let run = place.start(&["run", "a"]);
    until("the daemon is up", || written_ids(&place, "daemons").len() == 1);
    signal(&run, "TERM");
    let said = ended(run);
    assert_eq!((said.code, place.read("tidied").as_str()), (Some(7), "tidied\n"), "{}", said.stderr);
    assert!(!is_alive(written_ids(&place, "daemons")[0]));
}

#[test]
fn a_step_that_took_too_long_leaves_no_daemon() {
    let place = Place::new();
    let _leftovers = Leftovers::of(&place);
    place.write("daemons", "");
    let script = format!("{DAEMONS}      echo so far\n      while :; do sleep 0.1; done\n");
    place.write("a.yaml", &format!("runbook: a\nsteps:\n  slow:\n    timeout: 3s\n    run: |\n{script}"));
    let said = place.run(&["run", "a"]);
    let pids = written_ids(&place, "daemons");
    assert!(said.stderr.contains("it took longer than 3s") && pids.len() == 3, "{pids:?} {}", said.stderr);
    let log = place.log();
    let mut errors = log.iter().map(|line| &line["event"]["result"]["error"]);
    assert!(errors.any(|error| error["outputs"]["stdout"] == "so far\n"), "what it wrote is kept");
    assert_eq!(alive(&pids), none());
}

#[test]
fn a_second_signal_kills_everything_at_once() {
    let place = Place::new();
    let _leftovers = Leftovers::of(&place);
    place.write(
        "a.yaml",
        &format!(
            r#"runbook: a
steps:
  stubborn:
    run: |
      trap 'touch asked' TERM
      touch daemons
{DAEMONS}
      setsid sh -c 'trap "" TERM; echo $$ >> daemons; touch up; while :; do sleep 0.1; done' &
      while :; do sleep 0.1; done
"#
        ),
    );
    let run = place.start(&["run", "a"]);
    until("the step is up", || place.path("up").exists());
    signal(&run, "INT");
    until("the step was asked", || place.path("asked").exists());
    signal(&run, "INT");
    let said = ended(run);
    let pids = written_ids(&place, "daemons");
    assert_eq!((said.code, pids.len()), (None, 4), "{}", said.stderr);
    assert_eq!(alive(&pids), none());
}

#[test]
fn of_twenty_steps_with_daemons_only_the_stopped_one_loses_its_own() {
    let place = Place::new();
    let _leftovers = Leftovers::of(&place);
    let mut text = "runbook: a\nsteps:\n".to_owned();
    for number in 0..20 {
        let limit = if number == 7 { ", timeout: 4s, effect: read" } else { "" };
        let start = format!("setsid sh -c \"echo \\$\\$ > daemon{number}; exec sleep 1000\" > /dev/null 2>&1 &");
        let wait = format!("while [ ! -e go{} ]; do sleep 0.1; done", if number == 7 { "_never" } else { "" });
        text += &format!("  s{number}: {{ run: '{start} {wait}'{limit} }}\n");
    }
    place.write("a.yaml", &text);
    let run = place.start(&["run", "a", "--concurrency", "20"]);
    let ids = |number: u32| written_ids(&place, &format!("daemon{number}"));
    until("all daemons are up", || (0..20).all(|number| ids(number).len() == 1));
    let others: Vec<u32> = (0..20).filter(|number| *number != 7).flat_map(ids).collect();
    until("the seventh was stopped", || !is_alive(ids(7)[0]));
    until("its end is in the log", || place.events().iter().any(|event| event.starts_with("attempt_finished s7")));
    assert_eq!(alive(&others), others);
    place.write("go", "");
    assert_eq!(ended(run).code, Some(1));
    // They were left behind by steps that succeeded, and the run was not stopped.
    assert_eq!(alive(&others).len(), 19);
}

#[test]
fn what_a_step_left_running_on_purpose_outlives_the_stopped_run() {
    let place = Place::new();
    let _leftovers = Leftovers::of(&place);
    place.write(
        "a.yaml",
        r#"runbook: a
steps:
  serve: { run: 'nohup sh -c "echo \$\$ > server; exec sleep 1000" > /dev/null 2>&1 & while [ ! -s server ]; do sleep 0.02; done' }
  wait: { needs: [serve], run: 'touch up; while :; do sleep 0.1; done' }
"#,
    );
    let run = place.start(&["run", "a"]);
    until("the second step is up", || place.path("up").exists());
    let server = written_ids(&place, "server");
    signal(&run, "INT");
    assert_eq!(ended(run).code, Some(7));
    assert_eq!(alive(&server).len(), 1);
}

#[test]
fn a_daemon_of_a_runbook_within_a_step_belongs_to_that_step() {
    let place = Place::new();
    let _leftovers = Leftovers::of(&place);
    place.write("deaf", "trap '' TERM\necho $$ > daemons\nwhile :; do sleep 0.1; done\n");
    place.write(
        "inner.yaml",
        "runbook: inner\nsteps:\n  s: { run: '(setsid sh deaf &); while :; do sleep 0.1; done' }\n",
    );
    // The inner program is killed, and can stop nothing any more.
    let script =
        r#""$BINARY" run inner.yaml & while [ ! -s daemons ]; do sleep 0.02; done; kill -9 $!; touch up; sleep 1000"#;
    place.write("outer.yaml", &format!("runbook: outer\nsteps:\n  s:\n    run: |\n      {script}\n"));
    let mut command = place.command(&["run", "outer"]);
    let run = command.env("BINARY", env!("CARGO_BIN_EXE_runbook")).spawn().unwrap();
    until("the inner one is gone", || place.path("up").exists());
    let pids = written_ids(&place, "daemons");
    assert_eq!(alive(&pids).len(), 1);
    signal(&run, "INT");
    assert_eq!((ended(run).code, alive(&pids)), (Some(7), none()));
}

#[test]
fn a_grandchild_that_holds_the_output_open_does_not_hold_the_step() {
    let place = Place::new();
    let _leftovers = Leftovers::of(&place);
    place.write("a.yaml", "runbook: a\nsteps:\n  s: { run: 'sleep 1000 & echo $! > holder; echo said; exit 0' }\n");
    let said = place.run(&["run", "a"]);
    assert_eq!((said.code, outputs(&place, "s")["stdout"].as_str()), (Some(0), Some("said\n")), "{}", said.stderr);
    assert_eq!(alive(&written_ids(&place, "holder")).len(), 1, "the step did not end because of it");
}

#[test]
fn a_process_that_closes_its_output_goes_on() {
    let place = Place::new();
    let _leftovers = Leftovers::of(&place);
    place.write(
        "a.yaml",
        "runbook: a\nsteps:\n  s: { run: 'echo early; exec >&- 2>&-; touch closed; while [ ! -e go ]; do sleep 0.02; done; echo 1 > done' }\n",
    );
    let run = place.start(&["run", "a"]);
    until("it has closed its output", || place.path("closed").exists());
    place.write("go", "");
    assert_eq!(ended(run).code, Some(0));
    assert_eq!((place.read("done").as_str(), outputs(&place, "s")["stdout"].as_str()), ("1\n", Some("early\n")));
}

#[test]
fn a_flood_costs_no_memory_and_its_beginning_is_on_disk() {
    let place = Place::new();
    let _leftovers = Leftovers::of(&place);
    // The step's parent is the program itself; what it needed at most is read before and after.
    place.write(
        "a.yaml",
        r#"runbook: a
steps:
  flood:
    run: |
      grep VmHWM "/proc/$PPID/status" > before
      yes 0123456789abcde | head -c 100000000
      echo small >&2
      grep VmHWM "/proc/$PPID/status" > after
"#,
    );
    let said = place.run(&["run", "a"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let kib = |file| place.read(file).split_whitespace().nth(1).unwrap().parse::<u64>().unwrap();
    let (before, after) = (kib("before"), kib("after"));
    assert!(after < before + 4 * 1024, "{before} KiB before, {after} KiB after");

    let outputs = outputs(&place, "flood");
    assert!(outputs["stdout"].as_str().unwrap().len() < 70_000 && outputs["truncated"] == true);
    assert_eq!(outputs["stdout_file"], "output/flood.1.stdout.txt");
    assert_eq!(outputs["stderr_file"], Value::Null);
    let file = artifact(&place, &outputs["stdout_file"]);
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let bytes = fs::read(&file).unwrap();
    let limit = 64 * 1024 * 1024;
    assert!(bytes[..limit].chunks(16).all(|line| line == b"0123456789abcde\n"));
    assert_eq!(
        String::from_utf8_lossy(&bytes[limit..]),
        "\n[… the rest is left out: the process wrote 100000000 bytes, and only 67108864 are kept …]\n"
    );
    let left: Vec<_> = fs::read_dir(file.parent().unwrap()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["flood.1.stdout.txt"]);
}

#[test]
fn binary_output_is_kept_byte_by_byte_and_small_output_leaves_no_file() {
    let place = Place::new();
    let _leftovers = Leftovers::of(&place);
    place.write(
        "a.yaml",
        r#"runbook: a
steps:
  small: { run: "printf 'a\\000\\377b'" }
  large: { run: "head -c 70000 /dev/zero; head -c 70000 /dev/zero | tr '\\000' '\\377'; head -c 70001 /dev/zero >&2; exit 3" }
"#,
    );
    assert_eq!(place.run(&["run", "a"]).code, Some(1));
    assert_eq!(outputs(&place, "small")["stdout"], "a\0\u{FFFD}b");
    assert_eq!(outputs(&place, "small")["stdout_file"], Value::Null);
    let log = place.log();
    let failure =
        log.iter().map(|line| &line["event"]["result"]["error"]["outputs"]).find(|outputs| outputs.is_object());
    let outputs = failure.unwrap_or_else(|| panic!("{log:#?}"));
    let written = |name: &str| fs::read(artifact(&place, &outputs[name])).unwrap();
    assert!(written("stdout_file") == [[0; 70_000], [255; 70_000]].concat() && written("stderr_file") == [0; 70_001]);
}

#[test]
fn a_secret_is_masked_in_the_file_wherever_it_was_cut() {
    let place = Place::new();
    let _leftovers = Leftovers::of(&place);
    // Seventeen bytes a time: whatever the size of a chunk, its border moves through the secret.
    place.write(
        "a.yaml",
        r#"runbook: a
secrets: { token: { env: TOKEN } }
steps:
  tells:
    run: awk 'BEGIN { for (i = 0; i < 60000; i++) printf "%s.", ENVIRON["T"] }'
    env: { T: "{{ secrets.token }}" }
"#,
    );
    let said = said(place.command(&["run", "a"]).env("TOKEN", "hunter2-hunter2!"));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let text = fs::read_to_string(artifact(&place, &outputs(&place, "tells")["stdout_file"])).unwrap();
    assert_eq!(text.len(), 4 * 60_000);
    assert!(text == "***.".repeat(60_000));
}

#[test]
fn a_full_disk_costs_the_file_and_not_the_step() {
    let place = Place::new();
    let _leftovers = Leftovers::of(&place);
    place.write("a.yaml", "runbook: a\nsteps:\n  s: { run: 'yes | head -c 3000000; echo end' }\n");
    // A limit on the size of files stands for the full disk; the log stays below it.
    let mut limited = std::process::Command::new("sh");
    limited
        .args(["-c", "trap '' XFSZ; ulimit -f 1000; exec \"$0\" run a", env!("CARGO_BIN_EXE_runbook")])
        .current_dir(place.folder())
        .env("RUNBOOK_STATE", place.state())
        .env("USER", "tester");
    let said = said(&mut limited);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let outputs = outputs(&place, "s");
    let stdout = outputs["stdout"].as_str().unwrap();
    assert!(
        stdout.contains("\n[… the middle is left out, and could not be put in a file: File too large"),
        "{stdout:.200}"
    );
    assert!(stdout.ends_with("y\nend\n") && outputs["stdout_file"] == Value::Null);
    let left = fs::read_dir(place.log_path().unwrap().with_file_name("output")).unwrap().count();
    assert_eq!(left, 0, "what was written made room again");
}

#[test]
fn orphans_that_end_are_collected_while_their_step_goes_on() {
    let place = Place::new();
    let _leftovers = Leftovers::of(&place);
    place.write(
        "a.yaml",
        r#"runbook: a
steps:
  s:
    run: |
      for i in 1 2 3 4 5 6 7 8 9 10; do
        setsid sh -c 'sh -c "echo \$\$ >> orphans" &'
        sh -c 'sh -c "echo \$\$ >> orphans" &'
      done
      while [ ! -e go ]; do sleep 0.05; done
"#,
    );
    let run = place.start(&["run", "a"]);
    until("all orphans were there", || written_ids(&place, "orphans").len() == 20);
    until("all orphans are collected", || {
        written_ids(&place, "orphans").iter().all(|pid| !PathBuf::from(format!("/proc/{pid}")).exists())
    });
    assert_eq!(zombies_of(run.id()), 0);
    place.write("go", "");
    assert_eq!(ended(run).code, Some(0), "the step's own end was seen");
}
