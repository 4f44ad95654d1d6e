//! What an author sees in an editor: the schema behind the real YAML language server, driven as an editor drives it.

mod server;

use std::path::{Path, PathBuf};

use runbook::base::Explanation;
use serde_json::json;

use server::Server;

/// The first line by which a runbook in `runbooks/` names its schema.
const MODELINE: &str = "# yaml-language-server: $schema=../schemas/runbook.schema.json\n";

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A runbook with this in its only step.
fn step(body: &str) -> String {
    format!("{MODELINE}runbook: a\nsteps:\n  one:\n    {}\n", body.replace('\n', "\n    "))
}

/// What is offered at `‸`. Whole forms, named after their schema, are left out: each stands there as its fields, too.
fn labels(server: &mut Server, text: &str) -> Vec<String> {
    let offered = server.offered(text);
    offered.into_keys().filter(|label| !label.contains(' ') && label != "runbook").collect()
}

#[test]
fn keys_are_offered_where_they_belong_and_say_what_they_mean() {
    let Some(mut server) = Server::start() else { return };
    let top = server.offered(&format!("{MODELINE}runbook: a\n‸\n"));
    for key in ["title", "inputs", "secrets", "locks", "steps", "on_failure", "finally", "outputs"] {
        assert!(top.contains_key(key), "`{key}` in {top:?}");
    }
    assert_eq!(top["finally"], "Steps that run however the run ended.");

    let keys = server.offered(&step("‸"));
    for field in runbook::runbook::fields::STEP {
        assert!(keys[field.name].starts_with(field.doc), "`{}`: {}", field.name, keys[field.name]);
    }

    let arm = labels(&mut server, &step("uses: decide\nwith:\n  - ‸"));
    assert!(["if", "then"].iter().all(|key| arm.contains(&(*key).to_owned())), "{arm:?}");
}

#[test]
fn actions_are_offered_by_name_each_with_what_it_does() {
    let Some(mut server) = Server::start() else { return };
    let offered = server.offered(&step("uses: ver‸"));
    let vercel: Vec<&String> = offered.keys().filter(|label| label.starts_with("ver")).collect();
    let builtin = runbook::actions::builtin();
    assert_eq!(vercel, builtin.names().filter(|name| name.starts_with("ver")).collect::<Vec<_>>());
    let said = &offered["vercel.env.set"];
    let summary = runbook::actions::builtin().get("vercel.env.set").unwrap().contract().summary;
    assert!(said.starts_with(summary), "{said}");
    assert!(said.contains("`undo: auto` restores the recorded values."), "{said}");
    assert!(said.contains("- `created`: Those that did not exist before this step."), "{said}");

    let all: Vec<String> = offered.into_keys().collect();
    let mut expected: Vec<&str> = runbook::actions::builtin().names().filter(|name| *name != "shell").collect();
    expected.push("decide");
    expected.sort_unstable();
    assert_eq!(all, expected, "`shell` is written as `run` or `argv`");

    let undo = labels(&mut server, &step("run: x\nundo:\n  uses: ‸"));
    assert!(undo.contains(&"shell".to_owned()) && !undo.contains(&"decide".to_owned()), "{undo:?}");
    let looks = labels(&mut server, &step("run: x\nundo:\n  run: y\n  verify:\n    uses: ‸"));
    let reads = |name: &&str| builtin.get(name).unwrap().contract().effect == runbook::action::Effect::Read;
    assert_eq!(looks, builtin.names().filter(reads).collect::<Vec<_>>());
}

#[test]
fn inside_with_exactly_the_fields_of_the_action_are_offered() {
    let Some(mut server) = Server::start() else { return };
    let redeploy = ["deadline", "project", "rolling", "secret", "target", "team"];
    let places = ["uses: vercel.redeploy\nwith:\n  ‸", "run: x\nundo:\n  uses: vercel.redeploy\n  with:\n    ‸"];
    for place in places {
        assert_eq!(labels(&mut server, &step(place)), redeploy, "{place}");
    }
    let remaining = labels(&mut server, &step("uses: vercel.redeploy\nwith: { project: x, t‸ }"));
    assert_eq!(remaining, ["deadline", "rolling", "secret", "target", "team"]);
    let health =
        labels(&mut server, &step("run: x\nundo:\n  run: y\n  verify:\n    uses: clerk.ping\n    with:\n      ‸"));
    assert_eq!(health, ["every", "samples", "secret", "timeout"]);

    let inner = server.offered(&step("uses: http.get\nwith:\n  url: x\n  expect:\n    ‸"));
    assert_eq!(inner["status"], "The status, or a list of them.");
}

#[test]
fn words_are_offered_with_their_meaning() {
    let Some(mut server) = Server::start() else { return };
    let words = server.offered(&format!("{MODELINE}runbook: a\nsteps:\n  one: {{ run: x }}\non_failure: ‸\n"));
    let expected = [
        ("continue", "The run goes on with what does not need the failed step."),
        ("hold", "Nothing new begins, and everything stays as it is."),
        ("rollback", "What was done is undone, in reverse order."),
    ];
    assert_eq!(words, expected.map(|(word, meaning)| (word.to_owned(), meaning.to_owned())).into());
    let targets = server.offered(&step("uses: vercel.env.set\nwith:\n  target: ‸"));
    assert_eq!(targets["preview"], "Deployments of branches.");
    let kinds = labels(&mut server, &step("run: x\nretry:\n  attempts: 3\n  on:\n    - ‸"));
    assert!(kinds.contains(&"rate_limited".to_owned()), "{kinds:?}");
    assert!(labels(&mut server, &step("run: x\nundo: ‸")).contains(&"auto".to_owned()));
}

#[test]
fn a_field_under_the_pointer_is_explained() {
    let Some(mut server) = Server::start() else { return };
    let cases: [(&str, &[&str]); 6] = [
        ("ne‸eds: [two]\nrun: x", &["What must have ended before the step begins.", "`finished` (any)", "- triage"]),
        ("timeout‸: 5m\nrun: x", &["How long one try may take", "20m"]),
        (
            "uses: vercel.env.set\nwith:\n  pro‸ject: x\n  values: { A: b }",
            &["parameters of vercel.env.set", "The project's name or id.", "\"{{ inputs.project }}\""],
        ),
        (
            "uses: vercel.env.set\nwith:\n  tar‸get: preview\n  project: x\n  values: { A: b }",
            &["The environment the variables are for.", "* `preview`: Deployments of branches."],
        ),
        ("uses: http.g‸et\nwith: { url: x }", &["Asks an address", "It only looks.", "- `status`: The status"]),
        ("run: x\neffect‸: read", &["* `read`: It only looks", "* `write`: It changes something"]),
    ];
    for (body, expected) in cases {
        let shown = server.hover(&step(body));
        for words in expected {
            assert!(shown.contains(words), "`{words}` for\n{body}\n{shown}");
        }
    }
}

/// Each mistake: what is marked, and what is said of it. Nothing else may be.
#[test]
fn mistakes_are_marked_at_their_words() {
    let Some(mut server) = Server::start() else { return };
    let act = "a step does one thing: one of `uses`, `run`, `argv`, `call`, `manual`, or `approval` alone";
    let shell = "it has no meaning here: it belongs to `run` and `argv`";
    let moment = "not a duration: write for example `90s`, `15m` or `1h30m`";
    let acts = "it has no meaning here: it belongs to `uses`, `run` and `argv`";
    let cases: Vec<(&str, Vec<String>)> = vec![
        ("run: x\ntimeot: 5m", vec!["timeot: Property timeot is not allowed.".into()]),
        ("uses: http.get\nwith: { url: x, timeot: 5s }", vec!["timeot: Property timeot is not allowed.".into()]),
        ("uses: vercel.env.set\nwith: { project: x }", vec!["with: Missing property \"values\".".into()]),
        ("uses: vercel.env.set", vec!["one: `vercel.env.set` needs `project` and `values` in `with`".into()]),
        (
            "uses: vercel.env.set\nwith: { project: x, values: { A: b }, overwrite_unreadable: 3 }",
            vec!["3: `true` or `false` is wanted here, or a template for it".into()],
        ),
        (
            "uses: vercel.redeploy\nwith: { project: x, target: prod }",
            vec!["prod: Value is not accepted. Valid values: \"production\", \"preview\".".into()],
        ),
        ("uses: http.get\nwith: { url: x, timeout: soon }", vec![format!("soon: {moment}")]),
        (
            "uses: http.get\nwith: { url: x, headers: [a] }",
            vec!["[a]: a map is wanted here, or a template for it".into()],
        ),
        (
            "run: x\nundo: { uses: http.get, with: { url: x, urll: y } }",
            vec!["urll: Property urll is not allowed.".into()],
        ),
        (
            "run: x\nundo: { run: y, verify: { uses: http.get, with: { url: x, urll: y } } }",
            vec!["urll: Property urll is not allowed.".into()],
        ),
        (
            "run: x\nundo: { run: y, argv: [z] }",
            vec!["argv: an undo does one thing: one of `uses`, `run`, `argv`".into()],
        ),
        ("run: x\nundo: atuo", vec!["atuo: Value is not accepted. Valid values: \"auto\", \"none\".".into()]),
        ("title: x", vec![format!("one: {act}")]),
        ("run: x\nargv: [y]", vec![format!("argv: {act}")]),
        ("uses: http.get\nwith: { url: x }\nenv: { A: b }", vec![format!("env: {shell}")]),
        ("approval: { prompt: ok }\neffect: read", vec![format!("effect: {shell}")]),
        ("call: b.yaml\nretry: { attempts: 2 }", vec![format!("retry: {acts}")]),
        ("run: x\nwith: { a: b }", vec!["with: it has no meaning here: it belongs to `uses` and `call`".into()]),
        ("run: x\nretry: { attempts: 2, delay: 5 }", vec![format!("5: {moment}")]),
        ("run: x\nretry: { delay: 5s }", vec!["retry: Missing property \"attempts\".".into()]),
        ("run: x\ntimeout: { atempt: 5s }", vec!["atempt: Property atempt is not allowed.".into()]),
        ("run: x\ntimeout: soon", vec![format!("soon: {moment}")]),
        (
            "run: x\nneeds: { two: suceeded }",
            vec![
                "suceeded: Value is not accepted. Valid values: \"succeeded\", \"failed\", \"skipped\", \"rejected\", \
                 \"finished\"."
                    .into(),
            ],
        ),
        (
            "run: x\nneeds: two",
            vec![
                "two: a list of steps that must have succeeded, or a map of steps and results: `[a]`, `{ a: finished }`"
                    .into(),
            ],
        ),
        (
            "run: x\nif: \"{{ a }}\"",
            vec!["\"{{ a }}\": an expression, without braces: `triage.outputs.category == 'outage'`".into()],
        ),
        ("uses: decide\nwith: [{ then: { a: b }, iff: x }]", vec!["iff: Property iff is not allowed.".into()]),
        ("uses: decide", vec!["one: `decide` needs its arms in `with`".into()]),
        (
            "uses: decide\nwith: [{ then: { a: b } }]\nretry: { attempts: 2 }",
            vec!["retry: it has no meaning here: `decide` runs no action".into()],
        ),
        ("approval: { prompt: x, by: [bob] }", vec!["bob: names nobody: write `user:NAME` or `group:NAME`".into()]),
        (
            "approval: { prompt: x, on_timeout: hold, within: 5m }",
            vec!["within: `within` has no meaning beside `on_timeout: hold`".into()],
        ),
        (
            "run: x\nfor_each: { in: [a] }\nuntil: { if: b, every: 1s, within: 2s }",
            vec!["until: a loop has no `until` and no `measure`: call a runbook for each item instead".into()],
        ),
        (
            "run: x\nfor_each: { in: [a], fail_after: 200% }",
            vec!["200%: a number from 1, or a part of the list such as `10%`".into()],
        ),
    ];
    for (body, expected) in cases {
        let (_, marks) = server.open(&step(body));
        let marks: Vec<String> = marks.into_iter().map(|mark| mark.text).collect();
        assert_eq!(marks, expected, "\n{body}");
    }
}

#[test]
fn mistakes_around_the_steps_are_marked_too() {
    let Some(mut server) = Server::start() else { return };
    let steps = "steps:\n  one: { run: x }\n";
    let cases = [
        (format!("runbook: a\ntitel: x\n{steps}"), vec!["titel: Property titel is not allowed."]),
        (format!("runbook: A b\n{steps}"), vec!["A b: a runbook's name is a-z, 0-9 and `-`, a letter first"]),
        ("runbook: a\n".to_owned(), vec!["r: Missing property \"steps\"."]),
        (
            "runbook: a\nsteps:\n  one-two: { run: x }\n".to_owned(),
            vec!["one-two: a step's id is letters, digits and `_`, no digit first: expressions name it directly"],
        ),
        (
            format!("runbook: a\n{steps}on_failure: undo\n"),
            vec!["undo: Value is not accepted. Valid values: \"rollback\", \"hold\", \"continue\"."],
        ),
        (
            format!("runbook: a\ninputs: {{ a: {{ type: enum }} }}\n{steps}"),
            vec!["a: an `enum` needs its words in `values`"],
        ),
        (
            format!("runbook: a\ninputs: {{ a: {{ type: url, values: [b] }} }}\n{steps}"),
            vec!["values: `values` belong to the type `enum`"],
        ),
        (
            format!("runbook: a\nsecrets: {{ a: {{}} }}\n{steps}"),
            vec!["a: a secret has one source: `env`, `file`, or `step` and `prompt`"],
        ),
        (
            format!("runbook: a\nsecrets: {{ a: {{ env: A, file: b }} }}\n{steps}"),
            vec!["file: a secret has one source: `env`, `file`, or `step` and `prompt`"],
        ),
    ];
    for (text, expected) in cases {
        let (_, marks) = server.open(&format!("{MODELINE}{text}"));
        let marks: Vec<String> = marks.into_iter().map(|mark| mark.text).collect();
        assert_eq!(marks, expected, "\n{text}");
    }
}

#[test]
fn an_unknown_field_can_be_mended_with_a_click() {
    let Some(mut server) = Server::start() else { return };
    let (document, marks) = server.open(&step("uses: http.get\nwith: { url: x, timeot: 5s }"));
    let mark = &marks[0].sent;
    let context = json!({ "diagnostics": [mark] });
    let place = json!({ "textDocument": { "uri": document }, "range": mark["range"], "context": context });
    let offered = server.ask("textDocument/codeAction", &place);
    let titles: Vec<&str> = offered.as_array().unwrap().iter().filter_map(|action| action["title"].as_str()).collect();
    assert!(titles.contains(&"timeout"), "{titles:?}");
}

#[test]
fn a_template_may_stand_for_any_parameter() {
    let Some(mut server) = Server::start() else { return };
    let bodies = [
        "uses: vercel.env.set\nwith: { project: '{{ a }}', values: '{{ b }}', target: '{{ c }}', overwrite_unreadable: '{{ d }}' }",
        "uses: vercel.env.set\nwith: { project: x, values: { A: '{{ b }}', B: 3, C: true }, type: '{{ c }}' }",
        "uses: http.get\nwith: { url: '{{ a }}', timeout: '{{ b }}', headers: '{{ c }}', expect: { status: [200, '{{ d }}'] } }",
        "uses: http.request\nwith: { url: x, json: '{{ a }}', expect: '{{ b }}' }",
        "uses: vercel.env.remove\nwith: { project: x, names: '{{ a }}' }",
        "run: x\nundo: { uses: shell, with: { argv: [sleep, 5], env: { A: 3 } } }",
    ];
    for body in bodies {
        let (_, marks) = server.open(&step(body));
        assert!(marks.is_empty(), "{body}\n{marks:?}");
    }
}

#[test]
fn nothing_is_marked_in_a_good_runbook() {
    let Some(mut server) = Server::start() else { return };
    let mut texts: Vec<(String, String)> = Vec::new();
    for entry in std::fs::read_dir(repository("runbooks")).unwrap() {
        let path = entry.unwrap().path();
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        if text.lines().any(|line| line.starts_with("runbook:")) {
            assert!(text.starts_with(MODELINE), "{} names its schema", path.display());
            texts.push((path.display().to_string(), text));
        }
    }
    assert!(texts.len() >= 2, "there are runbooks");
    let pages = std::fs::read_dir(repository("docs")).unwrap().map(|entry| entry.unwrap().path());
    // The page of findings is full of mistakes on purpose; what it says of the way out is good.
    let is_of_findings = |page: &std::path::PathBuf| page.ends_with("docs/diagnostics.md");
    for section in Explanation::all() {
        for (_, text) in section.right().files {
            if text.starts_with("runbook:") {
                texts.push((format!("docs/diagnostics.md, {}", section.name), format!("{MODELINE}{text}")));
            }
        }
    }
    for page in pages.filter(|page| !is_of_findings(page)).chain([repository("README.md")]) {
        let text = std::fs::read_to_string(&page).unwrap();
        for block in text.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            if block.lines().any(|line| line.starts_with("runbook:")) {
                let block = block.strip_prefix(MODELINE).unwrap_or(block);
                texts.push((page.display().to_string(), format!("{MODELINE}{block}")));
            }
        }
    }
    for (name, text) in texts {
        let (_, marks) = server.open(&text);
        assert!(marks.is_empty(), "{name}\n{marks:?}\n{text}");
    }
}
