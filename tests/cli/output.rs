//! What goes where: stdout is data, everything else is stderr; no colours where nobody can see them.

use crate::support::{Place, said, shipped};

#[test]
fn nothing_is_coloured_without_a_terminal() {
    let place = Place::new();
    shipped(&place);
    place
        .write("bad.yaml", "runbook: a\nsteps:\n  s: {}\n")
        .write("a.yaml", "runbook: a\nsteps:\n  s: { argv: ['true'] }\n");
    for arguments in [&["check", "bad.yaml"][..], &["run", "a"], &["runs"], &["show", "last"], &["plan", "a"]] {
        let said = place.run(arguments);
        assert!(!said.stdout.contains('\u{1b}') && !said.stderr.contains('\u{1b}'), "{arguments:?}");
    }
    let mut command = place.command(&["check", "bad.yaml"]);
    assert!(!crate::support::said(command.env("NO_COLOR", "1")).stderr.contains('\u{1b}'));
}

#[test]
fn a_run_prints_plain_timestamped_lines_on_stderr_and_nothing_on_stdout() {
    let place = Place::new();
    place.write(
        "a.yaml",
        "runbook: a\nsteps:\n  s: { argv: ['true'] }\n  t: { needs: [s], if: '1 == 2', argv: ['true'] }\n",
    );
    let said = place.run(&["run", "a"]);
    assert_eq!((said.code, said.stdout.as_str()), (Some(0), ""));
    let line = said.stderr.lines().find(|line| line.contains(" s ")).unwrap_or_else(|| panic!("{}", said.stderr));
    assert!(line.as_bytes()[2] == b':' && line.as_bytes()[5] == b':', "{line}");
    assert!(said.stderr.contains("`1 == 2` does not hold"), "{}", said.stderr);
    let quiet = place.run(&["run", "a", "--quiet"]);
    assert!(quiet.stderr.lines().count() < said.stderr.lines().count(), "{}", quiet.stderr);
}

#[test]
fn show_tells_a_run_as_text_and_as_data() {
    let place = Place::new();
    place.write("a.yaml", "runbook: a\ntitle: A small one\nsteps:\n  s: { run: 'exit 3' }\n");
    assert_eq!(place.run(&["run", "a"]).code, Some(1));
    let text = place.run(&["show", "last"]).stdout;
    assert!(text.contains("failed") && text.contains("code 3"), "{text}");
    let data: serde_json::Value =
        serde_json::from_str(&place.run(&["show", "last", "--format", "json"]).stdout).unwrap();
    assert_eq!(data["outcome"], "failed");
}

#[test]
fn usage_errors_end_with_2_and_help_with_0() {
    let place = Place::new();
    for arguments in
        [&["frobnicate"][..], &["run"], &["run", "x", "--no-such-flag"], &["show", "nope"], &["resume", "nope"]]
    {
        assert_eq!(place.run(arguments).code, Some(2), "{arguments:?}");
    }
    for arguments in [&["--help"][..], &["--version"], &["run", "--help"]] {
        assert_eq!(place.run(arguments).code, Some(0), "{arguments:?}");
    }
}

#[test]
fn shells_complete_commands_and_runs() {
    let place = Place::new();
    place.write("a.yaml", "runbook: a\nsteps:\n  s: { argv: ['true'] }\n");
    assert_eq!(place.run(&["run", "a"]).code, Some(0));
    assert_eq!(place.run(&["completions", "bash"]).stdout, "source <(COMPLETE=bash runbook)\n");
    let mut command = place.command(&["--", "runbook", "show", ""]);
    command.env("COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", "2").env("_CLAP_IFS", "\n");
    let offered = said(&mut command).stdout;
    assert!(offered.lines().any(|line| line == "last"), "{offered}");
    assert!(offered.lines().any(|line| line.len() == "20261123-000000-abcde".len()), "{offered}");
}

#[test]
fn shells_complete_the_steps_of_the_run_that_was_named() {
    let place = Place::new();
    place.write(
        "a.yaml",
        "runbook: a\nsteps:\n  open: { argv: ['true'], measure: { expires: 1h } }\n  ask: { approval: { prompt: '?' } }\n  after: { needs: [ask], argv: ['true'] }\n",
    );
    assert_eq!(place.run(&["run", "a"]).code, Some(4));
    let offered = |words: &[&str]| {
        let mut command = place.command(&[&["--", "runbook"], words].concat());
        let index = words.len().to_string();
        command.env("COMPLETE", "bash").env("_CLAP_COMPLETE_INDEX", index).env("_CLAP_IFS", "\n");
        said(&mut command).stdout.lines().filter(|line| !line.starts_with('-')).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(offered(&["approve", "last", ""]), ["ask"]);
    assert_eq!(offered(&["undo", "last", "--only", "a"]), ["ask", "after"]);
    assert_eq!(offered(&["measures", "extend", &place.newest(), ""]), ["open"]);
    assert!(offered(&["cancel", ""]).contains(&"last".to_owned()));
}
