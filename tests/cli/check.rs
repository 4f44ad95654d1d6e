//! `check` and `plan`: every mistake at once, with its place and a way out; nothing is started.

use crate::support::{Place, repository, shipped};

/// A file in which nearly every line is wrong.
const WRONG: &str = r#"runbook: sample
titel: x
inputs:
  n: { type: integr }
steps:
  one:
    needs: [two]
    uses: vercel.env.st
  two:
    needs: [one, nope]
    run: "echo {{ inputs.n }}"
    timeout: 10
  smoke-tests: { uses: http.get, with: { url: "{{ inputs.x }}/{{ three.outputs.y }}" } }
  three:
    if: "{{ two.outputs.x }}"
    approval: { prompt: "ok?", on_timeout: approve }
"#;

#[test]
fn every_mistake_is_reported_at_once_with_its_place_and_a_way_out() {
    let place = Place::new();
    let said = place.write("wrong.yaml", WRONG).run(&["check", "wrong.yaml"]);
    assert_eq!(said.stdout, "");
    assert_eq!(said.stderr, include_str!("wrong.txt"), "{}", said.stderr);
    assert_eq!(said.code, Some(3));
}

#[test]
fn findings_are_data_when_asked_for() {
    let place = Place::new();
    let said = place.write("wrong.yaml", WRONG).run(&["check", "--format", "json", "wrong.yaml"]);
    let findings: Vec<serde_json::Value> = serde_json::from_str(&said.stdout).unwrap();
    let first = &findings[0];
    assert_eq!(
        (first["code"].as_str(), first["line"].as_u64(), first["column"].as_u64()),
        (Some("unknown-key"), Some(2), Some(1))
    );
    assert_eq!((said.code, said.stderr.as_str()), (Some(3), ""));
}

/// One mistake each: the code, and what must stand under the caret or in the message.
#[test]
fn each_mistake_gets_its_own_message() {
    let step = |body: &str| format!("runbook: a\nsteps:\n  s:\n    {}\n", body.replace('\n', "\n    "));
    let cases: Vec<(String, &str, &str)> = vec![
        (step("uses: http.get"), "missing-param", "`http.get` needs the parameter `url`"),
        (step("uses: http.get\nwith: { urll: x }"), "unknown-param", "did you mean `url`?"),
        (
            step("uses: http.get\nwith: { url: 'x', timeout: soon }"),
            "wrong-param",
            "wants a duration such as `90s` or `15m`, and `soon` is a text",
        ),
        (step("run: x\nargv: [x]"), "two-acts", "both `run` and `argv`"),
        (step("title: x"), "no-act", "step `s` does nothing"),
        (step("argv: [echo, '{{ secrets.x }}']"), "unknown-name", "there is no secret `x`"),
        (step("argv: [echo, '{{ t.outputs.x }}']"), "unknown-name", "there is no step `t`"),
        (step("argv: [echo, '{{ inputs.x | uper }}']"), "template", "did you mean `upper`?"),
        (step("argv: [echo, '{{ 1 + }}']"), "template", "the expression breaks off here"),
        (step("argv: [echo]\nneeds: [s]"), "unknown-step", "step `s` needs itself"),
        (step("argv: [echo]\nwith: { a: b }"), "misplaced-key", "it belongs to `uses`"),
        (step("uses: http.get\nwith: { url: x }\nundo: auto"), "no-undo", "does not know how to undo itself"),
        (step("uses: clerk.ping"), "missing-secret", "takes the secret `clerk`, which is not declared"),
        (step("argv: [echo]\nretry: { attempts: 2, on: [tiemout] }"), "unknown-word", "did you mean `timeout`?"),
        (step("argv: [echo]\nuntil: { if: 'true', every: 0s, within: 1m }"), "invalid-duration", "without a pause"),
        (step("approval: { prompt: 'x', by: ['bob'] }"), "invalid-approver", "write `user:NAME` or `group:NAME`"),
        (step("approval: { prompt: 'x', by: ['group:ops'] }"), "unknown-group", "nobody knows who is in group `ops`"),
        (step("allow_failure: yes\nargv: [echo]"), "wrong-type", "in YAML 1.2 `yes` is a text"),
        (step("uses: decide\nwith: [{ then: { a: 1 } }, { then: { a: 2 } }]"), "dead-arm", "can never be chosen"),
        (step("url: {{ x }}"), "yaml", "needs quotes"),
        ("steps: {}\n".to_owned(), "missing-key", "the runbook has no name"),
        ("runbook: a\n".to_owned(), "missing-key", "the runbook has no `steps`"),
        ("a: b: c\n".to_owned(), "yaml", "a text with `: ` in it reads as a map"),
        ("runbook: a\n\tsteps: {}\n".to_owned(), "yaml", "a tab cannot indent a line"),
        ("".to_owned(), "wrong-type", "the runbook must be a map, not nothing"),
        ("runbook: a\u{0}\n".to_owned(), "encoding", "a control character stands here"),
    ];
    for (text, code, words) in cases {
        let place = Place::new();
        let said = place.write("a.yaml", &text).run(&["check", "a.yaml"]);
        assert_eq!(said.code, Some(3), "{text}\n{}", said.stderr);
        assert!(said.stderr.contains(&format!("error[{code}]")), "{text}\n{}", said.stderr);
        assert!(said.stderr.contains(words), "{text}\n{}", said.stderr);
        assert!(said.stderr.contains("a.yaml"), "{text}\n{}", said.stderr);
        assert!(!place.state().exists(), "nothing is started");
    }
}

#[test]
fn a_secret_among_arguments_or_worked_on_is_refused() {
    let place = Place::new();
    place.write(
        "a.yaml",
        "runbook: a\nsecrets: { k: { env: K } }\nsteps:\n  s: { argv: [echo, '{{ secrets.k }}'] }\n  t: { run: 'true', env: { A: '{{ secrets.k | upper }}' } }\n",
    );
    let said = place.run(&["check", "a.yaml"]);
    assert!(said.stderr.contains("arguments are visible to everybody on the machine"), "{}", said.stderr);
    assert!(said.stderr.contains("a secret cannot be worked on"), "{}", said.stderr);
}

#[test]
fn a_cycle_is_told_all_the_way_round() {
    let place = Place::new();
    place.write(
        "a.yaml",
        "runbook: a\nsteps:\n  a: { needs: [c], argv: [echo] }\n  b: { needs: [a], argv: [echo] }\n  c: { needs: [b], argv: [echo] }\n",
    );
    let said = place.run(&["check", "a.yaml"]);
    assert!(
        said.stderr.contains("these steps wait for each other: `a` needs `c` needs `b` needs `a`"),
        "{}",
        said.stderr
    );
}

#[test]
fn a_step_that_may_not_have_ended_cannot_be_read() {
    let place = Place::new();
    place.write(
        "a.yaml",
        "runbook: a\nsteps:\n  a: { argv: [echo] }\n  b: { argv: [echo, '{{ a.outputs.stdout }}'] }\n",
    );
    let said = place.run(&["check", "a.yaml"]);
    assert!(said.stderr.contains("step `b` does not wait for `a`"), "{}", said.stderr);
    assert!(said.stderr.contains("write `needs: [a]`, or"), "{}", said.stderr);
}

#[test]
fn a_file_that_is_no_text_or_not_there_is_refused() {
    let place = Place::new();
    std::fs::write(place.path("bytes.yaml"), [b'a', 0xff, 0xfe]).unwrap();
    let said = place.run(&["check", "bytes.yaml"]);
    assert!(said.stderr.contains("the byte 0xff here is not UTF-8"), "{}", said.stderr);
    let said = place.run(&["check", "nowhere"]);
    assert_eq!(said.code, Some(3));
    assert!(
        said.stderr.contains("there is no runbook `nowhere`; looked for nowhere, ./nowhere.yaml"),
        "{}",
        said.stderr
    );
}

#[test]
fn what_ships_passes_and_plans_without_reading_or_writing_anything() {
    let place = Place::new();
    shipped(&place);
    let files: Vec<String> = std::fs::read_dir(repository("runbooks"))
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
        .filter(|name| name.ends_with(".yaml") && !name.ends_with(".test.yaml") && name != "approvers.yaml")
        .map(|name| format!("runbooks/{name}"))
        .collect();
    assert!(files.len() >= 2);
    let known = [
        "project=shop",
        "app_url=https://shop.example.com",
        "frontend_host=clerk.example.com",
        "since=2026-03-10T15:53:00Z",
        "endpoint=https://shop.example.com/api/webhooks",
    ];
    for file in &files {
        assert_eq!(place.run(&["check", file]).code, Some(0), "{file}");
        let text = place.read(file);
        let takes = |input: &&str| text.contains(&format!("\n  {}:", input.split('=').next().unwrap()));
        let inputs: Vec<&str> = known.into_iter().filter(takes).flat_map(|input| ["-i", input]).collect();
        let steps = text.split_once("\nsteps:\n").unwrap().1.lines();
        let first = steps.map(str::trim).find(|line| !line.starts_with('#')).unwrap().trim_end_matches(':');
        for format in ["text", "json", "mermaid"] {
            let said = place.run(&[&["plan", file, "--format", format], &inputs[..]].concat());
            assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{file} {format}");
            assert!(said.stdout.contains(first), "{file} {format}");
        }
    }
    assert!(!place.state().exists(), "a plan leaves nothing behind");
}

#[test]
fn a_plan_shows_the_exact_requests_with_secrets_by_name_only() {
    let place = Place::new();
    place.write(
        "a.yaml",
        r#"runbook: a
inputs: { go: { type: boolean, default: false } }
secrets: { token: { env: TOKEN } }
steps:
  call:
    uses: http.request
    with: { method: PUT, url: "https://api.example.com/x", json: { token: "{{ secrets.token }}", go: "{{ inputs.go }}" } }
  never: { if: "inputs.go", argv: [echo, "a b"] }
  later: { needs: [call], argv: [echo, "{{ call.outputs.status }}"] }
"#,
    );
    let mut command = place.command(&["plan", "a.yaml"]);
    let said = crate::support::said(command.env("TOKEN", "hunter2hunter2"));
    for words in [
        "PUT https://api.example.com/x",
        r#"{"token":"‹secret token›","go":false}"#,
        "(never: it is skipped)",
        "echo 'a b'",
        "echo ‹call.outputs.status›",
        "cannot be undone: call, later",
    ] {
        assert!(said.stdout.contains(words), "{words}\n{}", said.stdout);
    }
    assert!(!said.stdout.contains("hunter2"));
}

#[test]
fn inputs_that_do_not_fit_are_all_told_and_nothing_is_started() {
    let place = Place::new();
    shipped(&place);
    let said = place.run(&["run", "clerk-outage", "-i", "projct=x", "-i", "bypass_for=9h", "-i", "bypass_mode=open"]);
    assert_eq!(said.code, Some(3));
    for words in [
        "there is no input `projct`; did you mean `project`?",
        "input `project` is required (The Vercel project that serves the application)",
        "input `bypass_for`: at most 4h is expected, not `9h`",
        "input `bypass_mode`: one of grace, readonly is expected, not `open`",
    ] {
        assert!(said.stderr.contains(words), "{words}\n{}", said.stderr);
    }
    assert!(!place.state().exists());
}

#[test]
fn missing_secrets_are_all_told_and_nothing_is_started() {
    let place = Place::new();
    shipped(&place);
    let said = place.run(&[
        "run",
        "clerk-outage",
        "-i",
        "project=x",
        "-i",
        "app_url=https://a.example",
        "-i",
        "frontend_host=c.example",
    ]);
    assert_eq!(said.code, Some(3));
    assert!(
        said.stderr.contains("secret `clerk` is not set: the environment has no `CLERK_SECRET_KEY`"),
        "{}",
        said.stderr
    );
    assert!(
        said.stderr.contains("secret `vercel` is not set: the environment has no `VERCEL_TOKEN`"),
        "{}",
        said.stderr
    );
    assert!(!place.state().exists());
}

#[test]
fn the_committed_schema_is_what_this_version_writes() {
    let place = Place::new();
    let said = place.run(&["schema"]);
    let committed = std::fs::read_to_string(repository("schemas/runbook.schema.json")).unwrap();
    assert!(said.stdout == committed, "run `cargo run -- schema --write` and commit the result");
}

#[test]
fn hostile_yaml_is_refused_quickly_with_a_place() {
    let bomb = "a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\nc: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c]\ne: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d]\nf: &f [*e, *e, *e, *e, *e, *e, *e, *e, *e]\ng: &g [*f, *f, *f, *f, *f, *f, *f, *f, *f]\nh: [*g, *g, *g, *g, *g, *g, *g, *g, *g]\n";
    let deep = format!("a: {}{}\n", "[".repeat(10_000), "]".repeat(10_000));
    for text in [bomb, deep.as_str()] {
        let place = Place::new();
        let said = place.write("a.yaml", text).run(&["check", "a.yaml"]);
        assert_eq!(said.code, Some(3), "{}", said.stderr);
        assert!(said.stderr.contains("a.yaml:"), "{}", said.stderr);
        assert!(said.stderr.len() < 20_000, "{}", said.stderr.len());
    }
}

#[test]
fn a_step_may_be_named_like_a_word_of_mermaid() {
    let place = Place::new();
    place.write(
        "a.yaml",
        "runbook: a\nsteps:\n  end: { argv: [echo] }\n  next: { needs: [end], argv: [echo, 'a \"b\" <c>'] }\n",
    );
    let said = place.run(&["plan", "a", "--format", "mermaid"]);
    let expected = "\
flowchart TD
    end_[\"end<br/>shell\"]
    next[\"next<br/>shell\"]
    end_ --> next
    classDef write stroke-width:3px
    classDef final stroke-dasharray:4 3
    class end_,next write
";
    assert_eq!(said.stdout, expected);
}

#[test]
fn a_plans_digest_follows_its_meaning_and_not_its_looks() {
    let place = Place::new();
    let digest = |text: &str, input: &str| {
        place.write("a.yaml", text);
        let said = place.run(&["plan", "a", "--format", "json", "-i", input]);
        let plan: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
        plan["digest"].as_str().unwrap().to_owned()
    };
    let one = "runbook: a\ninputs: { x: { type: string } }\nsteps:\n  s: { argv: [echo, '{{ inputs.x }}'] }\n  t: { argv: [ls] }\n";
    let moved = "# a comment\nrunbook: a\nsteps:\n  t:\n    argv: [ls]\n  s: { argv: [echo, '{{ inputs.x }}'] }\ninputs: { x: { type: string } }\n";
    assert_eq!(digest(one, "x=1"), digest(moved, "x=1"));
    assert_ne!(digest(one, "x=1"), digest(one, "x=2"));
    assert_ne!(digest(one, "x=1"), digest(&one.replace("[ls]", "[rm]"), "x=1"));
}
