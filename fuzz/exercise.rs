//! What is done with hostile input, and what must hold whatever it is. Shared by the fuzz targets and by `tests/fuzz.rs`,
//! which does the same with every input that is kept here.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use runbook::action::Registry;
use runbook::actions;
use runbook::base::{Diagnostic, Severity, Source, Span};
use runbook::plan::{self, Plan};
use runbook::runbook::template::{duration_value, json_value, moment_value, nothing, secret_value};
use runbook::runbook::{Expression, Loaded, Scope, Template, TemplateError, load};
use serde_json::json;

static REGISTRY: LazyLock<Registry> = LazyLock::new(actions::builtin);

/// Any bytes as a runbook file: read, checked, every finding shown; planned when nothing is wrong.
pub(crate) fn check(data: &[u8]) {
    let source = Source::new("fuzzed.yaml", String::from_utf8_lossy(data));
    if let Some(loaded) = looked_at(source) {
        let _ = planned(&loaded);
    }
}

/// Any text as a template and as an expression: its names, its value, and the place of what is wrong with it.
pub(crate) fn template(data: &[u8]) {
    let text = String::from_utf8_lossy(data).into_owned();
    let scope = scope();
    let template = Template(text.clone());
    match template.references() {
        Ok(references) => {
            for reference in references {
                assert!(!reference.path.is_empty());
                stands_in(&text, Span::from(reference.range));
            }
        }
        Err(error) => wrong_in(&text, &error),
    }
    for rendered in [template.render(&scope).map(drop), template.render_text(&scope).map(drop)] {
        rendered.unwrap_or_else(|error| wrong_in(&text, &error));
    }
    let expression = Expression(text.clone());
    for worked_out in
        [expression.references().map(drop), expression.value(&scope).map(drop), expression.holds(&scope).map(drop)]
    {
        worked_out.unwrap_or_else(|error| wrong_in(&text, &error));
    }
    // The same text in every form that YAML has for it: its mistakes are shown where they stand.
    let quoted = json!(text);
    let doubled = text.replace('\'', "''");
    let indented = text.replace('\n', "\n        ");
    for written in [
        format!("{quoted}"),
        format!("'{doubled}'"),
        format!("|\n        {indented}\n"),
        format!(">-\n        {indented}\n"),
        text.clone(),
    ] {
        let _ = looked_at(Source::new(
            "fuzzed.yaml",
            format!(
                "runbook: a\nsteps:\n  a:\n    argv: [echo]\n  b:\n    needs: [a]\n    if: {written}\n    argv:\n      - {written}\n"
            ),
        ));
    }
}

/// A runbook that can be read, with any texts in its templates and expressions: planned, drawn, stored and read again.
pub(crate) fn plan(data: &[u8]) {
    plan_of(data);
}

/// The same. `None` when the runbook is refused.
pub(crate) fn plan_of(data: &[u8]) -> Option<Plan> {
    let text = String::from_utf8_lossy(data);
    let mut texts = text.split('\n').map(|text| json!(text).to_string()).filter(|text| text != "\"\"");
    let mut filled = String::new();
    for (index, part) in SKELETON.split('§').enumerate() {
        match index % 2 {
            0 => filled.push_str(part),
            _ => filled.push_str(&texts.next().unwrap_or_else(|| json!(part).to_string())),
        }
    }
    planned(&looked_at(Source::new("fuzzed.yaml", filled))?)
}

/// A whole runbook. Texts of the input take the places of those between `§`, one after the other.
const SKELETON: &str = "\
runbook: a
title: §1§
inputs:
  x: { type: string, default: §1§ }
  d: { type: duration, default: 5m }
secrets: { k: { env: K } }
locks: [{ name: §1§ }]
steps:
  a: { uses: http.get, with: { url: §1§, headers: { A: §1§, B: '{{ secrets.k }}' } } }
  b: { needs: [a], uses: decide, with: [{ if: §1§, then: { v: §1§ } }, { then: { v: §1§ } }] }
  c:
    needs: [b]
    if: §1§
    approval: { prompt: §1§ }
    argv: [echo, §1§]
    env: { A: §1§ }
    undo: { uses: http.request, with: { method: DELETE, url: §1§ }, verify: { uses: http.get, with: { url: §1§ }, if: §1§ } }
    measure: { expires: §5m§, closed_by: e }
  d: { needs: [b], for_each: { in: §[1]§, key: §1§ }, argv: [echo, §1§] }
  e: { needs: [c, d], manual: { text: §1§ } }
  g: { needs: [b], argv: [echo], until: { if: §1§, every: 1s, within: 1m } }
finally:
  f: { argv: [echo, §1§] }
outputs: { o: { type: string, value: §1§ } }
";

/// Reads a file and shows everything that is wrong with it. What it holds, when that is no error.
fn looked_at(source: Arc<Source>) -> Option<Loaded> {
    match load(source) {
        Err(problems) => {
            assert!(!problems.is_empty(), "refused without a reason");
            problems.iter().for_each(shown);
            None
        }
        Ok(loaded) => {
            let problems = plan::check(&loaded, &REGISTRY);
            problems.iter().for_each(shown);
            problems.iter().all(|problem| problem.severity != Severity::Error).then_some(loaded)
        }
    }
}

/// A finding can be shown in every form, points into its file, and harms no terminal.
fn shown(problem: &Diagnostic) {
    let text = &problem.source.text;
    for span in problem.span.iter().chain(problem.related.iter().map(|(span, _)| span)) {
        stands_in(text, *span);
    }
    assert!(!problem.message.is_empty());
    let plain = problem.render(false);
    let harmful = plain.chars().find(|c| c.is_control() && *c != '\n');
    assert!(harmful.is_none(), "a message carries {harmful:?} to the terminal:\n{plain:?}");
    problem.render(true);
    problem.to_json().to_string();
    if let Some(fix) = &problem.fix {
        stands_in(text, fix.span);
        let mut mended = text.clone();
        mended.replace_range(fix.span.start..fix.span.end, &fix.text);
        let _ = load(Source::new("mended.yaml", mended));
    }
}

/// A file without errors makes a plan, which survives being stored. Inputs may be missing.
fn planned(loaded: &Loaded) -> Option<Plan> {
    let plan = plan::build(loaded, &REGISTRY, &BTreeMap::new()).ok()?;
    let preview = plan::preview(&plan, &REGISTRY);
    plan::mermaid(&preview);
    serde_json::to_string(&preview).expect("a preview is made of maps with text keys");
    let again = Plan::from_json(&plan.to_json()).expect("what was just written can be read");
    assert_eq!(again.digest(), plan.digest());
    Some(plan)
}

fn wrong_in(text: &str, error: &TemplateError) {
    assert!(!error.message.is_empty());
    if let Some(range) = &error.range {
        stands_in(text, Span::from(range.clone()));
    }
}

fn stands_in(text: &str, span: Span) {
    assert!(text.get(span.start..span.end).is_some(), "{span:?} is no part of {text:?}");
}

/// A little of everything that a run knows.
fn scope() -> Scope {
    let mut scope = Scope::default();
    let inputs =
        json!({ "x": "shop", "n": 3, "f": 1.5, "yes": true, "none": null, "list": [1, "two", { "three": 3 }] });
    scope.set("inputs", json_value(&inputs));
    let outputs = json!({ "outputs": { "status": 200, "json": { "users": [{ "id": "u_1", "banned": false }] }, "stdout": "ü\n" } });
    scope.set("a", json_value(&outputs));
    scope.set("b", nothing());
    scope.set("now", moment_value(runbook::base::Timestamp::UNIX_EPOCH));
    scope.set("length", duration_value(Duration::from_secs(90)));
    scope.set("secret", secret_value("k"));
    scope
}
