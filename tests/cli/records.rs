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
        let said = place.run(&["verify", &kept.run, "--format", "json"]);
        assert_eq!(said.code, Some(0), "{}: {}", kept.name, said.stdout);
        let found: Value = serde_json::from_str(&said.stdout).unwrap();
        for (one, other) in [("head", "head"), ("run", "run"), ("runbook", "runbook")] {
            assert_eq!(found[one], kept.expected[other], "{}", kept.name);
        }
        assert_eq!((&found["whole"], &found["torn"]), (&json!(true), &json!(0)), "{}", kept.name);

        let said = place.run(&["export", &kept.run, "-o", "moved.tar"]);
        assert_eq!(said.code, Some(0), "{}: {}", kept.name, said.stderr);
        // Another machine: no state folder, only the file.
        let elsewhere = Place::new();
        fs::copy(place.path("moved.tar"), elsewhere.path("moved.tar")).unwrap();
        for command in [vec!["verify"], vec!["show"], vec!["show", "--format", "json"], vec!["report"]] {
            let here = place.run(&[command.as_slice(), &[&kept.run]].concat());
            let there = elsewhere.run(&[command.as_slice(), &["moved.tar"]].concat());
            assert_eq!(there.code, Some(0), "{command:?} {}: {}", kept.name, there.stderr);
            // Only the place of the log differs.
            let log = place.state().join("runs").join(&kept.run).join("log.jsonl").display().to_string();
            assert_eq!(there.stdout, here.stdout.replace(&log, "moved.tar/log.jsonl"), "{command:?} {}", kept.name);
        }
    }
}

/// A run with a gate that is still open, and a place for it.
fn waiting() -> (Place, PathBuf) {
    let place = Place::new();
    place.write("a.yaml", "runbook: a\ninputs: { who: { type: string, default: me } }\nsteps:\n  one: { argv: [echo, one] }\n  act: { needs: [one], approval: { prompt: '?' }, argv: [echo, '{{ inputs.who }}'] }\n");
    assert_eq!(place.run(&["run", "a"]).code, Some(4));
    let folder = place.log_path().unwrap().parent().unwrap().to_owned();
    (place, folder)
}

fn verified(place: &Place, arguments: &[&str]) -> (Option<i32>, Value) {
    let said = place.run(&[&["verify"], arguments, &["--format", "json"]].concat());
    (said.code, serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{}{}", said.stdout, said.stderr)))
}

#[test]
fn verify_tells_of_an_unfinished_run_that_it_is_whole() {
    let (place, folder) = waiting();
    let said = place.run(&["verify", "last"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let log = place.log();
    let id = folder.file_name().unwrap().to_str().unwrap();
    let expected = format!(
        "{id} of a is whole: {} entries\n  ended:    not over\n  plan:     {}\n  head:     {}\n",
        log.len(),
        log[0]["event"]["plan"].as_str().unwrap(),
        log.last().unwrap()["hash"].as_str().unwrap(),
    );
    assert_eq!(said.stdout, expected);
    // The log alone, and the folder, say the same.
    for file in [folder.join("log.jsonl"), folder.clone()] {
        assert_eq!(place.run(&["verify", file.to_str().unwrap()]).stdout, expected);
    }
}

#[test]
fn verify_names_the_first_entry_that_is_not_what_was_written() {
    let (place, folder) = waiting();
    let path = folder.join("log.jsonl");
    let whole = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = whole.split_inclusive('\n').collect();
    let joined = |order: &[usize]| order.iter().map(|line| lines[*line]).collect::<String>();
    let edited = whole.replacen("one\\n", "two\\n", 1);
    assert_ne!(edited, whole);
    let at = |line: usize| lines[..line].iter().map(|line| line.len()).sum::<usize>();
    let last = lines.len() - 1;
    let without_second: Vec<usize> = (0..=last).filter(|line| *line != 1).collect();
    let cases = [
        (edited, 2, "one", "its content does not match its hash"),
        (joined(&without_second), 1, "one", "it has number 3 where 2 was due"),
        (whole.clone() + lines[last], last + 1, "act", "it has number 4 where 5 was due"),
        (
            whole.replacen("{\"v\":2,\"seq\":2", "{\"v\":2 ,\"seq\":2", 1),
            1,
            "one",
            "it is no entry: its fields are not those of the format, in their order",
        ),
    ];
    assert_eq!(last, 3, "{whole}");
    for (text, line, step, what) in cases {
        fs::write(&path, text).unwrap();
        let (code, found) = verified(&place, &["last"]);
        assert_eq!(code, Some(1), "{found}");
        let expected = json!({
            "file": path.display().to_string(), "line": line + 1, "byte": at(line), "step": step, "what": what,
        });
        assert_eq!((&found["finding"], &found["lines"]), (&expected, &json!(line)));
        let said = place.run(&["verify", "last"]);
        let first = format!("damaged: {}:{} (byte {}, step `{step}`): {what}\n", path.display(), line + 1, at(line));
        assert!(said.stdout.starts_with(&first), "{}", said.stdout);
        // Everybody else refuses it too.
        for command in [["show", "last"], ["report", "last"], ["resume", "last"], ["export", "last"]] {
            let said = place.run(&command);
            assert_eq!(said.code, Some(70), "{command:?}");
            assert!(
                said.stderr.contains(&format!("log.jsonl:{}: the log is damaged here", line + 1)),
                "{}",
                said.stderr
            );
        }
    }
}

#[test]
fn a_log_written_anew_is_caught_by_its_order_and_by_the_noted_head() {
    let (place, folder) = waiting();
    let path = folder.join("log.jsonl");
    let whole = fs::read_to_string(&path).unwrap();
    let head = place.log().last().unwrap()["hash"].as_str().unwrap().to_owned();
    let (code, found) = verified(&place, &["last", "--head", &head[..16]]);
    assert_eq!((code, &found["since_head"]), (Some(0), &json!(0)));

    // Whole lines cut off the end leave a chain that holds.
    let cut: String = whole.split_inclusive('\n').take(3).collect();
    fs::write(&path, cut).unwrap();
    assert_eq!(verified(&place, &["last"]).0, Some(0));
    let (code, found) = verified(&place, &["last", "--head", &head]);
    assert_eq!(code, Some(1), "{found}");
    assert_eq!(
        found["finding"]["what"],
        format!("no line has the hash {head}: lines were cut off its end, or it is another log")
    );

    // Somebody who can compute hashes leaves an entry out: its chain holds, its events do not follow.
    rewritten(&path, &whole, |event| event["type"] != "attempt_started");
    let (code, found) = verified(&place, &["last"]);
    assert_eq!(code, Some(1), "{found}");
    let finding = &found["finding"];
    assert_eq!((&finding["line"], &finding["step"]), (&json!(2), &json!("one")), "{found}");
    let what = finding["what"].as_str().unwrap();
    assert!(
        what.starts_with("it does not fit the plan: `attempt_finished` of step `one`")
            && what.ends_with("no such try is under way"),
        "{what}"
    );

    assert_eq!(place.run(&["verify", "last", "--head", "zz"]).code, Some(2));
}

/// Writes a log anew with some of its events, every hash as it should be.
fn rewritten(path: &Path, whole: &str, keep: impl Fn(&Value) -> bool) {
    let mut text = String::new();
    let mut prev = "0".repeat(64);
    let kept = whole.lines().filter(|line| keep(&serde_json::from_str::<Value>(line).unwrap()["event"]));
    for (number, line) in kept.enumerate() {
        let value: Value = serde_json::from_str(line).unwrap();
        let (_, after) = line.split_once(",\"time\"").unwrap();
        let (middle, _) = after.split_once(",\"prev\":\"").unwrap();
        let body = format!("{{\"v\":{},\"seq\":{},\"time\"{middle},\"prev\":\"{prev}\"", value["v"], number + 1);
        let hash = runbook::base::Digest::of(body.as_bytes());
        text += &format!("{body},\"hash\":\"{hash}\"}}\n");
        prev = hash.to_string();
    }
    fs::write(path, text).unwrap();
}

#[test]
fn a_torn_last_line_is_told_as_torn_and_not_as_damage() {
    let (place, folder) = waiting();
    let path = folder.join("log.jsonl");
    let mut bytes = fs::read(&path).unwrap();
    bytes.truncate(bytes.len() - 30);
    fs::write(&path, &bytes).unwrap();
    let torn = bytes.len() - bytes.iter().rposition(|byte| *byte == b'\n').unwrap() - 1;
    let said = place.run(&["verify", "last"]);
    assert_eq!(said.code, Some(0), "{}", said.stdout);
    let line = format!("  torn:     {torn} bytes of a last line that was never finished; `resume` drops them\n");
    assert!(said.stdout.contains(&line), "{}", said.stdout);
    // What is torn does not travel.
    assert_eq!(place.run(&["export", "last", "-o", "x.tar"]).code, Some(0));
    assert_eq!(verified(&place, &["x.tar"]).1["torn"], 0);
}

#[test]
fn a_newer_log_is_refused_with_its_place_and_what_to_do() {
    let (place, folder) = waiting();
    let path = folder.join("log.jsonl");
    let whole = fs::read_to_string(&path).unwrap();
    fs::write(&path, whole.clone() + "{\"v\":3,\"something\":\"else\"}\n").unwrap();
    for command in ["verify", "show", "resume", "export"] {
        let said = place.run(&[command, "last"]);
        assert_eq!(said.code, Some(70), "{command}");
        let expected = format!(
            "error: {}:5: the log goes on in format 3 here (byte {}); this version knows formats up to 2\n  help: use the version of `runbook` that wrote it, or a later one; nothing was changed\n",
            path.display(),
            whole.len()
        );
        assert_eq!(said.stderr, expected, "{command}");
    }
}

#[test]
fn what_steps_print_goes_out_of_line_and_comes_back() {
    let place = Place::new();
    place.write("a.yaml", "runbook: a\nsteps:\n  big: { run: 'seq 1 5000' }\n  act: { needs: [big], approval: { prompt: '?' }, run: 'printf %s \"$T\" | tail -n 1', env: { T: '{{ big.outputs.stdout }}' } }\n");
    assert_eq!(place.run(&["run", "a"]).code, Some(4));
    let folder = place.log_path().unwrap().parent().unwrap().to_owned();
    let blobs: Vec<PathBuf> = fs::read_dir(folder.join("blobs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(!blobs.is_empty());
    assert!(fs::metadata(folder.join("log.jsonl")).unwrap().len() < 40_000);
    let said = place.run(&["resume", "last", "--approve", "act"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let shown: Value = serde_json::from_str(&place.run(&["show", "last", "--format", "json"]).stdout).unwrap();
    let outputs = |step: usize| shown["steps"][step]["outputs"]["stdout"].as_str().unwrap().to_owned();
    assert!(outputs(0).ends_with("4999\n5000\n"));
    assert_eq!(outputs(1), "5000\n");
    let (code, found) = verified(&place, &["last"]);
    assert!(code == Some(0) && found["payloads"].as_u64().unwrap() >= 1, "{found}");
    assert_eq!(place.run(&["export", "last", "-o", "x.tar"]).code, Some(0));
    assert_eq!(verified(&place, &["x.tar"]).1["payload_bytes"], found["payload_bytes"]);

    fs::remove_file(&blobs[0]).unwrap();
    let (code, found) = verified(&place, &["last"]);
    assert_eq!((code, &found["finding"]["step"]), (Some(1), &json!("big")), "{found}");
    let what = found["finding"]["what"].as_str().unwrap();
    assert!(what.starts_with("its payload at `/result/outputs`, blobs/") && what.ends_with(" is missing"), "{what}");
}

#[test]
fn an_export_is_written_whole_or_not_at_all_and_never_over_another_file() {
    let (place, folder) = waiting();
    let id = folder.file_name().unwrap().to_str().unwrap().to_owned();
    let said = place.run(&["export", "last"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let file = place.path(&format!("{id}.tar"));
    let bytes = fs::read(&file).unwrap();
    let head = place.log().last().unwrap()["hash"].as_str().unwrap().to_owned();
    assert_eq!(
        said.stderr,
        format!(
            "{id}.tar written: {} bytes, 2 files\nthe inputs stand in it in clear: who\nhead of the log: {head}\n",
            bytes.len()
        )
    );
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&file).unwrap().permissions());
    assert_eq!(mode & 0o077, 0, "{mode:o}");

    fs::write(&file, "mine").unwrap();
    let said = place.run(&["export", "last"]);
    assert_eq!(said.code, Some(2));
    assert!(said.stderr.contains("is there already") && said.stderr.contains("--force"), "{}", said.stderr);
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    assert_eq!(place.run(&["export", "last", "--force"]).code, Some(0));
    assert_eq!(fs::read(&file).unwrap(), bytes, "the same run gives the same bytes");

    let said = place.run(&["export", "last", "-o", "nowhere/x.tar"]);
    assert_eq!(said.code, Some(70), "{}", said.stderr);
    let there: Vec<_> = fs::read_dir(place.folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(there.len(), 2, "no drafts are left: {there:?}");
    // Whoever has nothing but tar can look into it.
    let listed = std::process::Command::new("tar").args(["-tf", file.to_str().unwrap()]).output().unwrap();
    assert_eq!(String::from_utf8(listed.stdout).unwrap(), "manifest.json\nplan.json\nlog.jsonl\n");
}

#[test]
fn an_export_that_was_cut_or_changed_anywhere_is_refused() {
    let (place, folder) = waiting();
    // No hash in the log stands for what a run left; only the list does.
    fs::write(folder.join("report.md"), "what happened\n").unwrap();
    place.write("key", KEY);
    assert_eq!(place.run(&["export", "last", "-o", "x.tar", "--sign", "key"]).code, Some(0));
    let bytes = fs::read(place.path("x.tar")).unwrap();
    let refused = |changed: &[u8], what: &str| {
        fs::write(place.path("y.tar"), changed).unwrap();
        let verdict = runbook::runlog::Record::of_file(&place.path("y.tar")).map(|record| {
            let exported = record.exported().unwrap_or_else(|| panic!("{what}: taken for a log"));
            let signed = exported.signature.as_ref().map(|text| runbook::runlog::Signed::check(text, &exported.signed));
            record.verify().is_ok_and(|verdict| verdict.whole) && matches!(signed, Some(Ok(_)))
        });
        // A first byte that is a brace makes it a log, and no whole one.
        assert!(!verdict.unwrap_or(false), "{what}");
    };
    for cut in (0..bytes.len()).step_by(61).chain([bytes.len() - 1]) {
        refused(&bytes[..cut], &format!("cut at {cut}"));
    }
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        // Line breaks inside the armor of a signature may be of any kind.
        if !changed[at].is_ascii_whitespace() || !bytes[at].is_ascii_whitespace() {
            refused(&changed, &format!("byte {at}"));
        }
    }
    for command in ["verify", "show", "report"] {
        fs::write(place.path("y.tar"), &bytes[..bytes.len() / 2]).unwrap();
        let said = place.run(&[command, "y.tar"]);
        assert_eq!(said.code, Some(if command == "verify" { 1 } else { 70 }), "{command}");
        let said = said.stdout + &said.stderr;
        assert!(said.contains("y.tar") && said.contains(&format!("byte {}", bytes.len() / 2)), "{command}: {said}");
    }
}

#[test]
fn an_export_never_holds_a_secret() {
    let place = Place::new();
    place.write("a.yaml", "runbook: a\nsecrets: { token: { env: TOKEN } }\nsteps:\n  s: { run: 'echo \"$T\"; seq 1 5000; echo \"$T\"', env: { T: '{{ secrets.token }}' } }\n");
    let run = |arguments: &[&str]| crate::support::said(place.command(arguments).env("TOKEN", "hunter2-hunter2"));
    assert_eq!(run(&["run", "a"]).code, Some(0));
    assert_eq!(run(&["export", "last", "-o", "x.tar"]).code, Some(0));
    assert!(!String::from_utf8_lossy(&fs::read(place.path("x.tar")).unwrap()).contains("hunter2"));
    // A step may have left it in a file of the run.
    fs::write(place.log_path().unwrap().with_file_name("left.txt"), "it is hunter2-hunter2").unwrap();
    let said = run(&["export", "last", "-o", "y.tar"]);
    assert_eq!(said.code, Some(2), "{}", said.stderr);
    assert!(
        said.stderr.contains("`left.txt` holds the value of secret `token`; nothing was written"),
        "{}",
        said.stderr
    );
    assert!(!place.path("y.tar").exists());
}

/// Made for these tests with `ssh-keygen -t ed25519 -N '' -C maker`; it opens nothing.
const KEY: &str = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\nQyNTUxOQAAACAP+kF7DguEGKrfurv4tZMvoF74Mt2OGCiIc45YEurTVQAAAIj7p6Nk+6ej\nZAAAAAtzc2gtZWQyNTUxOQAAACAP+kF7DguEGKrfurv4tZMvoF74Mt2OGCiIc45YEurTVQ\nAAAEDdSjSeUmnUJsAkUkRXTHTlf3tGM6+IOlTnFK0wx3Jt+w/6QXsOC4QYqt+6u/i1ky+g\nXvgy3Y4YKIhzjlgS6tNVAAAABW1ha2Vy\n-----END OPENSSH PRIVATE KEY-----\n";
const PUBLIC: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA/6QXsOC4QYqt+6u/i1ky+gXvgy3Y4YKIhzjlgS6tNV maker";

#[test]
fn a_signed_export_says_who_signed_it() {
    let (place, _) = waiting();
    place.write("key", KEY);
    let said = place.run(&["export", "last", "-o", "x.tar", "--sign", "key"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let (_, public) = PUBLIC.split_once(' ').unwrap();
    let blob = public.split_once(' ').unwrap().0;
    let other = "lead ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let cases = [
        (format!("# who may\n{other}\nlead@example.com ssh-ed25519 {blob}\n"), Some("lead@example.com"), ""),
        (PUBLIC.to_owned(), Some("maker"), ""),
        (format!("lead namespaces=\"file,runbook\" ssh-ed25519 {blob}"), Some("lead"), ""),
        (format!("lead namespaces=\"file\" ssh-ed25519 {blob}"), None, "which is not understood here"),
        (format!("lead cert-authority ssh-ed25519 {blob}"), None, "which is not understood here"),
        (other.to_owned(), None, "which is not among the allowed signers"),
        (String::new(), None, "which is not among the allowed signers"),
    ];
    for (allowed, name, why) in cases {
        place.write("allowed", &allowed);
        let (code, found) = verified(&place, &["x.tar", "--signed-by", "allowed"]);
        match name {
            Some(name) => assert_eq!((code, &found["signed_by"]), (Some(0), &json!(name)), "{found}"),
            None => {
                assert_eq!(code, Some(1), "{allowed}: {found}");
                assert!(found["finding"]["what"].as_str().unwrap().ends_with(why), "{found}");
            }
        }
    }
    assert_eq!(place.run(&["export", "last", "-o", "plain.tar"]).code, Some(0));
    let (code, found) = verified(&place, &["plain.tar", "--signed-by", "allowed"]);
    assert_eq!((code, &found["finding"]["what"]), (Some(1), &json!("it is not signed")));
}

#[test]
fn ssh_keygen_takes_our_signatures_and_we_take_its_keys() {
    let Ok(version) = std::process::Command::new("ssh-keygen").arg("-?").output() else {
        eprintln!("SKIPPED: there is no ssh-keygen on this machine");
        return;
    };
    drop(version);
    let (place, _) = waiting();
    let keygen = |arguments: &[&str], input: Option<&str>| {
        let mut command = std::process::Command::new("ssh-keygen");
        command.args(arguments).current_dir(place.folder());
        if let Some(input) = input {
            command.stdin(fs::File::open(place.path(input)).unwrap());
        }
        command.output().unwrap()
    };
    assert!(keygen(&["-q", "-t", "ed25519", "-N", "", "-C", "new", "-f", "new"], None).status.success());
    assert!(keygen(&["-q", "-t", "ed25519", "-N", "secret", "-f", "closed"], None).status.success());
    assert!(keygen(&["-q", "-t", "ecdsa", "-N", "", "-f", "other"], None).status.success());
    assert_eq!(place.run(&["export", "last", "-o", "x.tar", "--sign", "new"]).code, Some(0));
    let unpacked = std::process::Command::new("tar").args(["-xf", "x.tar"]).current_dir(place.folder()).status();
    assert!(unpacked.unwrap().success());
    let public = place.read("new.pub");
    place.write("allowed", &format!("me@example.com {public}"));
    let check = ["-Y", "verify", "-f", "allowed", "-I", "me@example.com", "-n", "runbook", "-s", "manifest.json.sig"];
    let checked = keygen(&check, Some("manifest.json"));
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    place.write("changed.json", &place.read("manifest.json").replace("\"lines\":4", "\"lines\":5"));
    assert!(!keygen(&check, Some("changed.json")).status.success());
    assert_eq!(verified(&place, &["x.tar", "--signed-by", "allowed"]).1["signed_by"], "me@example.com");
    // Its fingerprint is told as ssh-keygen tells it.
    let told = String::from_utf8(keygen(&["-l", "-f", "new.pub"], None).stdout).unwrap();
    let key = verified(&place, &["x.tar"]).1["key"].as_str().unwrap().to_owned();
    assert!(told.contains(&key), "{told} {key}");

    for (file, message, hint) in [
        ("closed", "the key is protected by a passphrase, which cannot be asked for here", "ssh-keygen -p -N ''"),
        (
            "other",
            "it is a key of kind `ecdsa-sha2-nistp256`; only `ssh-ed25519` keys sign here",
            "ssh-keygen -t ed25519",
        ),
        ("new.pub", "it is no private key in OpenSSH's form", "ssh-keygen -t ed25519"),
    ] {
        let said = place.run(&["export", "last", "-o", "z.tar", "--sign", file]);
        assert_eq!(said.code, Some(2), "{}", said.stderr);
        assert!(said.stderr.contains(message) && said.stderr.contains(hint), "{}", said.stderr);
        assert!(!place.path("z.tar").exists());
    }
}

/// The program that `docs/run-log.md` gives to whoever has nothing else.
fn verify_py() -> String {
    let page = fs::read_to_string(repository("docs/run-log.md")).unwrap();
    page.split_once("```python\n").unwrap().1.split_once("```").unwrap().0.to_owned()
}

#[test]
fn a_few_lines_of_python_and_sha256sum_check_every_record() {
    let python = |file: &Path| {
        let mut command = std::process::Command::new("python3");
        let place = Place::new();
        command.arg(place.write("verify.py", &verify_py()).path("verify.py")).arg(file);
        crate::support::said(&mut command)
    };
    if std::process::Command::new("python3").arg("--version").output().is_err() {
        eprintln!("SKIPPED: there is no python3 on this machine");
        return;
    }
    for kept in kept() {
        let said = python(&kept.folder.join("log.jsonl"));
        let head = kept.expected["head"].as_str().unwrap();
        assert!(
            said.stdout.ends_with(&format!(" lines, head {head}\n")),
            "{}: {}{}",
            kept.name,
            said.stdout,
            said.stderr
        );
    }
    let (place, folder) = waiting();
    let log = folder.join("log.jsonl");
    let page = fs::read_to_string(repository("docs/run-log.md")).unwrap();
    let line = page
        .lines()
        .find_map(|line| line.strip_prefix("$ sed -n 2p ").map(|rest| format!("sed -n 2p {rest}")))
        .unwrap();
    let mut shell = std::process::Command::new("sh");
    let said = crate::support::said(shell.args(["-c", &line]).current_dir(&folder));
    assert!(said.stdout.starts_with(place.log()[1]["hash"].as_str().unwrap()), "{}", said.stdout);
    let whole = fs::read_to_string(&log).unwrap();
    fs::write(&log, whole.replacen("one\\n", "two\\n", 1)).unwrap();
    assert_eq!(python(&log).stderr, "line 3 is not what was written\n");
    fs::write(&log, &whole[..whole.len() - 9]).unwrap();
    assert!(python(&log).stderr.starts_with("line 4 is torn: 3 whole lines, head "));
    fs::write(&log, &whole).unwrap();
    let plan = folder.join("plan.json");
    fs::write(&plan, fs::read_to_string(&plan).unwrap() + " ").unwrap();
    assert_eq!(python(&log).stderr, "plan.json is not what was written\n");
}

#[test]
fn a_small_disk_that_fills_up_stops_the_run_and_lets_it_go_on_later() {
    let place = Place::new();
    fs::create_dir_all(place.state()).unwrap();
    let state = place.state().display().to_string();
    let mount =
        std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=256k", "runbook-test", &state]).output();
    if !mount.is_ok_and(|mount| mount.status.success()) {
        eprintln!("SKIPPED: this machine does not let a small filesystem be mounted");
        return;
    }
    let _unmount = Unmount(state);
    // Each step leaves some 40 KiB: the disk is full after a few of them.
    let steps: String = (0..12)
        .map(|n| {
            format!(
                "  s{n}: {{ {} run: 'echo {n} >> world; seq {n}00000 {n}06000' }}\n",
                if n > 0 { format!("needs: [s{}],", n - 1) } else { String::new() }
            )
        })
        .collect();
    place.write("a.yaml", &format!("runbook: a\nsteps:\n{steps}"));
    let said = place.run(&["run", "a"]);
    assert_eq!(said.code, Some(70), "{}", said.stderr);
    assert!(said.stderr.contains("the run log cannot be written, so nothing more was started: "), "{}", said.stderr);
    assert!(said.stderr.contains("help: free some space"), "{}", said.stderr);
    let done = place.read("world").lines().count();
    assert!((1..12).contains(&done), "{done}");
    // What is there is whole, and names every step that was begun.
    let (code, found) = verified(&place, &["last"]);
    assert_eq!((code, &found["outcome"]), (Some(0), &Value::Null), "{found}");
    let begun = place.events().iter().filter(|event| event.starts_with("attempt_started")).count();
    assert!(begun >= done, "{done} were done and {begun} are in the log");
    // Nothing can begin there either.
    fs::write(place.state().join("filler"), vec![0; 256 * 1024]).unwrap_err();
    let said = place.run(&["run", "a"]);
    assert_eq!(said.code, Some(10), "{}", said.stderr);
    assert_eq!(place.read("world").lines().count(), done);

    fs::remove_file(place.state().join("filler")).unwrap();
    let larger = std::process::Command::new("mount")
        .args(["-o", "remount,size=8m", &place.state().display().to_string()])
        .status();
    assert!(larger.unwrap().success());
    let step = format!("s{}", done - 1);
    assert_eq!(place.run(&["resume", "last"]).code, Some(6), "the last one's end was not written");
    let said = place.run(&["resume", "last", "--happened", &step]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(place.read("world").lines().count(), 12, "nothing was done twice");
    assert_eq!(verified(&place, &["last"]).0, Some(0));
}

/// Takes a small disk away when a test is over, however it ends.
struct Unmount(String);

impl Drop for Unmount {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").args(["-l", &self.0]).status();
    }
}

/// Makes the newest run look as if it had happened in 2001.
fn aged(place: &Place) -> PathBuf {
    let log = place.log_path().unwrap();
    let text = fs::read_to_string(&log).unwrap();
    let id = log.parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    let year = &id[..4];
    rewritten(&log, &text.replace(&format!("\"time\":\"{year}-"), "\"time\":\"2001-"), |_| true);
    let old = place.state().join("runs").join(format!("2001{}", &id[4..]));
    fs::rename(log.parent().unwrap(), &old).unwrap();
    old
}

#[test]
fn prune_removes_what_is_over_and_old_and_nothing_else() {
    let place = Place::new();
    place.write("done.yaml", "runbook: done\nsteps:\n  s: { argv: [echo, hello] }\n");
    place.write("open.yaml", "runbook: open\nsteps:\n  s: { approval: { prompt: '?' }, argv: ['true'] }\n");
    place.write("measure.yaml", "runbook: measure\nsteps:\n  s: { argv: ['true'], measure: { expires: 1h } }\n");
    let run = |file: &str, code: i32| assert_eq!(place.run(&["run", file]).code, Some(code), "{file}");
    let make = |file: &str, code: i32| {
        run(file, code);
        aged(&place)
    };
    let prune = |arguments: &[&str]| place.run(&[&["runs", "prune", "--older-than", "90d"], arguments].concat());
    let [old, held, damaged] = [make("done.yaml", 0), make("done.yaml", 0), make("done.yaml", 0)];
    let (open, measure) = (make("open.yaml", 4), make("measure.yaml", 0));
    // A drill's own time is the scenario's: its id tells when it was held.
    let drill = place.state().join("runs/20020101-000000-drill");
    copy(&repository(FIXTURES).join("v1/drill"), &drill);
    let half = place.state().join("runs/.gone-20010101-000000-aaaaa");
    fs::create_dir_all(&half).unwrap();
    fs::write(half.join("log.jsonl"), "left by a removal that was killed").unwrap();
    run("done.yaml", 0);
    let young = place.log_path().unwrap();
    fs::write(damaged.join("log.jsonl"), "nonsense\n").unwrap();
    let lock = fs::File::open(held.join("log.jsonl")).unwrap();
    lock.lock().unwrap();

    let listed = place.run(&["runs"]).stdout;
    assert!(!listed.contains("gone"), "{listed}");
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let told = |said: &crate::support::Said, path: &Path| {
        let line = said.stdout.lines().find(|line| line.contains(&name(path))).unwrap_or_default();
        line.replace(&name(path), "RUN").replace(&path.display().to_string(), "PATH")
    };
    for (arguments, word, code) in [(vec!["--dry-run"], "would go", 0), (vec![], "", 2), (vec!["--yes"], "removed", 0)]
    {
        let said = prune(&arguments);
        assert_eq!(said.code, Some(code), "{}", said.stderr);
        assert_eq!(told(&said, &held), "stays  RUN  another process is running it");
        assert_eq!(told(&said, &open), "stays  RUN  waiting for a person");
        assert_eq!(told(&said, &measure), "stays  RUN  an emergency measure is in force: `s`");
        assert!(told(&said, &damaged).starts_with("stays  RUN  it cannot be looked at: "), "{}", said.stdout);
        if code == 2 {
            assert!(
                said.stderr.contains("2 runs would go, and nobody can be asked here; nothing was removed"),
                "{}",
                said.stderr
            );
        } else {
            assert!(told(&said, &old).starts_with(&format!("{word}  RUN  done  succeeded, ")), "{}", said.stdout);
            assert!(
                told(&said, &drill).starts_with(&format!("{word}  RUN  clerk-outage  succeeded, ")),
                "{}",
                said.stdout
            );
            assert!(said.stdout.contains("2 runs ") && said.stdout.contains(" KiB"), "{}", said.stdout);
        }
        let removed = word == "removed";
        assert_eq!((old.exists(), drill.exists(), half.exists()), (!removed, !removed, !removed));
        assert!([&held, &open, &measure, &damaged, &young].iter().all(|path| path.exists()));
    }
    drop(lock);
    assert_eq!(prune(&["--yes"]).code, Some(0));
    assert!(!held.exists() && young.exists());
}

/// Makes the records of the present version. Run it once for each version of the format, and never again:
/// `cargo test --test cli -- --ignored make_the_records_of_this_version`.
#[test]
#[ignore = "writes into the repository"]
fn make_the_records_of_this_version() {
    // Plans and reports name the folder they were made in: one that is nobody's.
    let place = Place::at(Path::new("/tmp/runbook-records"));
    let keep = |name: &str| {
        let log = place.log_path().unwrap();
        let from = log.parent().unwrap();
        let first: Value = serde_json::from_str(fs::read_to_string(&log).unwrap().lines().next().unwrap()).unwrap();
        let to = repository(FIXTURES).join(format!("v{}", first["v"])).join(name);
        assert!(!to.exists(), "{} is kept already", to.display());
        copy(from, &to);
        let expected = told(&place, from.file_name().unwrap().to_str().unwrap());
        fs::write(to.join("expected.json"), serde_json::to_string_pretty(&expected).unwrap() + "\n").unwrap();
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

    run(
        "large",
        "runbook: large\nsteps:\n  big: { run: 'seq 1 5000' }\n  same: { needs: [big], run: 'seq 1 5000' }\n",
        &[],
        0,
    );
    keep("large");

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

    place.write("inner.yaml", "runbook: inner\ninputs: { n: { type: integer, required: true } }\noutputs: { twice: { type: integer, value: '{{ inputs.n * 2 }}' } }\nsteps:\n  one: { argv: ['true'], undo: { argv: ['true'] } }\n  two: { needs: [one], approval: { prompt: 'Two?' }, argv: ['true'], undo: { argv: ['true'], verify: { uses: report.render, with: { output: seen.md } } } }\nfinally:\n  bye: { argv: ['true'] }\n");
    run(
        "grown",
        "runbook: grown\nlocks: ['records:all']\ntimeout: 1h\nsteps:\n  each: { for_each: { in: [a, 'b/c', d, e], as: name, at_most: 2, ramp: true, fail_after: 50% }, run: 'echo \"$N\"; [ \"$N\" != d ]', env: { N: '{{ name }}' }, undo: { argv: ['true'] } }\n  inner: { needs: [each], call: inner.yaml, with: { n: '{{ each.outputs.succeeded }}' } }\n  left_out: { needs: [inner], argv: ['true'] }\n  forced: { needs: { left_out: skipped }, if: 'false', argv: ['true'] }\n  late: { needs: [forced], effect: read, run: 'sleep 1000', timeout: { step: 200ms }, allow_failure: true }\n  bad: { needs: { late: finished, forced: succeeded }, run: 'exit 3', retry: { attempts: 2, delay: 10ms } }\non_failure: rollback\n",
        &["--approve", "inner/two", "--skip", "left_out", "--force", "forced", "--reason", "for the record"],
        5,
    );
    keep("grown");
    let measured = "runbook: measured\nsteps:\n  open: { argv: ['true'], undo: { argv: ['true'] }, measure: { expires: 1s, on_expiry: undo } }\n  built: { needs: [open], argv: ['true'], undo: { argv: ['true'] } }\n";
    run("expired", measured, &[], 0);
    keep("expired");
    run("undone", &measured.replace("expires: 1s, on_expiry: undo", "expires: 1h"), &[], 0);
    for command in
        [vec!["measures", "extend", "last", "open", "--by", "1h", "--reason", "not yet"], vec!["undo", "last", "-y"]]
    {
        let said = place.run(&command);
        assert_eq!(said.code, Some(0), "{command:?}: {}", said.stderr);
    }
    keep("undone");

    place.write("r.yaml", "runbook: doubt\nsteps:\n  pay: { run: 'echo pay >> world; [ -e go ] || sleep 1000' }\n  done: { needs: [pay], argv: ['true'] }\n");
    let mut child = place.start(&["run", "r.yaml"]);
    until("the step runs", || !place.read("world").is_empty());
    child.kill().unwrap();
    child.wait().unwrap();
    next_second();
    assert_eq!(place.run(&["resume", "last"]).code, Some(6));
    keep("in-doubt");
    place.write("go", "");
    end_survivors(&place);
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
    run("did-not-happen", "runbook: late\nsteps:\n  pay: { run: 'sleep 1000', timeout: 200ms }\n", &[], 6);
    assert_eq!(place.run(&["resume", "last", "--did-not-happen", "pay"]).code, Some(1));
    keep("did-not-happen");
    place.write("r.yaml", "runbook: doubt\nsteps:\n  pay: { run: 'echo pay >> world; [ -e go ] || sleep 1000' }\n  done: { needs: [pay], argv: ['true'] }\n");

    fs::remove_file(place.path("world")).unwrap();
    let child = place.start(&["run", "r.yaml"]);
    until("the step runs", || !place.read("world").is_empty());
    signal(&child, "INT");
    assert_eq!(ended(child).code, Some(7));
    keep("cancelled");

    shipped(&place);
    let said = place.run(&["drill", "clerk-outage", "--speed", "400", "-q"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    keep("drill");
    place.write("m.yaml", "runbook: m\nsteps:\n  post: { manual: { text: 'Post the statement.', evidence: { link: { type: url } } } }\n  fails: { needs: [post], manual: { text: 'And this.' }, allow_failure: true }\n");
    place.write("drills/m.yaml", "scenario: m\ntitle: People do things\nstarts: 2026-02-19T16:11:00Z\nspeed: 600\nsecrets: { clerk: sk_test_drill_0000000000000000 }\nstand_ins: { 'https://api.clerk.com': clerk }\ndecisions:\n  post: { decision: approve, by: 'user:lead', after: 9s, answers: { link: 'https://example.com/1' } }\n  fails: { decision: reject, by: 'user:lead', after: 9s, answers: { reason: 'no time' } }\nexpect: { outcome: succeeded }\n");
    let said = place.run(&["drill", "m.yaml", "-q"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    keep("manual");
}

/// What a killed program has left running would be asked about.
fn end_survivors(place: &Place) {
    let run = place.log_path().unwrap().parent().unwrap().file_name().unwrap().to_str().unwrap().to_owned();
    for survivor in runbook::process::survivors(&run) {
        std::process::Command::new("kill").args(["-KILL", &survivor.pid.to_string()]).status().unwrap();
    }
    until("they have ended", || runbook::process::survivors(&run).is_empty());
}

fn next_second() {
    let began = Instant::now();
    until("the next second", || began.elapsed() > Duration::from_millis(1100));
}
