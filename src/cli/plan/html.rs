//! A plan as one page: the picture, and everything in words. No script, nothing from elsewhere.

use std::fmt::Write as _;

use super::words;
use crate::base::StepPath;
use crate::plan::{self, PlannedStep, Preview};

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #172033; --soft: #516079; --ground: #ffffff; --line: #d5dce6; --card: #f7f9fc; --warn: #b9690a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8edf6; --soft: #9fb0c8; --ground: #0f1520; --line: #2f3b4f; --card: #18212f; --warn: #e9a44c; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--ground); margin: 0 auto; max-width: 1280px; padding: 24px; }
h1 { font-size: 22px; margin: 0; } h2 { font-size: 17px; margin: 32px 0 8px; }
p, li { color: var(--soft); } .picture { overflow-x: auto; border: 1px solid var(--line); border-radius: 10px; }
svg.plan { display: block; max-width: 100%; height: auto; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; padding: 6px 10px; border-bottom: 1px solid var(--line); vertical-align: top; }
th { color: var(--soft); font-weight: 600; } code, pre { font: 13px/1.45 ui-monospace, monospace; }
details { border: 1px solid var(--line); border-radius: 8px; background: var(--card); margin: 8px 0; padding: 8px 12px; }
summary { cursor: pointer; } pre { white-space: pre-wrap; overflow-wrap: anywhere; margin: 8px 0 2px; } span.write { color: var(--warn); font-weight: 700; }
";

/// The plan as a page.
pub(super) fn html(preview: &Preview) -> String {
    let title = preview.title.as_deref().unwrap_or(&preview.runbook);
    let mut out = String::from("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    out.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    let _ = writeln!(out, "<title>Plan: {}</title>\n<style>{STYLE}</style>\n</head>\n<body>", safe(title));
    let digest = preview.digest.get(..12).unwrap_or_default();
    let _ = writeln!(out, "<h1>{}</h1>", safe(title));
    let _ = writeln!(
        out,
        "<p><code>{}</code> from <code>{}</code>, digest <code>{digest}</code></p>",
        safe(&preview.runbook),
        safe(&preview.file)
    );
    let _ = writeln!(out, "<div class=\"picture\">\n{}</div>", plan::svg_within(preview));
    out.push_str("<h2>In short</h2>\n<ul>\n");
    let list = |steps: &[StepPath]| steps.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let mut facts = vec![
        words::counts(preview),
        format!("Blast radius: {}", words::radius(preview)),
        format!("Time: {}", words::whole_time(preview).join("; ")),
    ];
    facts.extend(words::bounds(&preview.locks, preview.timeout));
    if !preview.rollback.undone.is_empty() {
        facts.push(format!("Can be undone, the last first: {}", list(&preview.rollback.undone)));
    }
    if !preview.rollback.stays.is_empty() {
        facts.push(format!("Cannot be undone: {}", list(&preview.rollback.stays)));
    }
    for fact in facts {
        let _ = writeln!(out, "<li>{}</li>", safe(&fact));
    }
    out.push_str("</ul>\n");
    if !preview.inputs.is_empty() {
        out.push_str("<h2>Inputs</h2>\n<table>\n");
        for (name, value) in &preview.inputs {
            let value = safe(&words::input_text(value));
            let _ = writeln!(
                out,
                "<tr><th scope=\"row\"><code>{}</code></th><td><code>{value}</code></td></tr>",
                safe(name)
            );
        }
        out.push_str("</table>\n");
    }
    if !preview.blast_radius.vendors.is_empty() {
        out.push_str("<h2>What is written</h2>\n<table>\n<tr><th>where</th><th>what</th><th>by</th><th>behind a gate</th><th>can be undone</th></tr>\n");
        for vendor in &preview.blast_radius.vendors {
            for target in &vendor.targets {
                let count = target.steps.len();
                let _ = writeln!(
                    out,
                    "<tr><td>{}</td><td><code>{}</code></td><td>{}</td><td>{} of {count}</td><td>{} of {count}</td></tr>",
                    safe(&vendor.vendor),
                    safe(&target.target),
                    safe(&list(&target.steps)),
                    target.behind_gate,
                    target.undoable,
                );
            }
        }
        out.push_str("</table>\n");
    }
    out.push_str("<h2>Steps</h2>\n");
    for (path, step) in preview.all_steps() {
        details(&path, step, &mut out);
    }
    out.push_str("</body>\n</html>\n");
    out
}

fn details(path: &StepPath, step: &PlannedStep, out: &mut String) {
    let wave = if step.is_final { "finally".to_owned() } else { format!("wave {}", step.wave) };
    let effect = if words::effect(step) == "read" { "read" } else { "<span class=\"write\">write</span>" };
    let title = step.title.as_deref().map_or_else(String::new, |title| format!(" {}", safe(title)));
    let fate = words::fate(step).map_or_else(String::new, |fate| format!(" <em>{}</em>", safe(&fate)));
    let mut text = String::new();
    let facts = words::facts(step).into_iter().map(|fact| (fact.label, fact.lines));
    let calls = step.calls.as_ref().map(|call| ("calls", words::call_lines(call)));
    for (label, lines) in facts.chain(calls) {
        for (index, line) in lines.iter().enumerate() {
            let line = format!("{:<10} {line}", if index == 0 { label } else { "" });
            let _ = writeln!(text, "{}", safe(line.trim_end()));
        }
    }
    let open = if step.gate.is_some() { " open" } else { "" };
    let _ = writeln!(
        out,
        "<details{open}><summary>{wave}: <code>{}</code> [{}, {effect}]{title}{fate}</summary>\n<pre>{text}</pre></details>",
        safe(path.as_str()),
        safe(&step.kind),
    );
}

fn safe(text: &str) -> String {
    text.chars()
        .filter(|letter| *letter == '\n' || !letter.is_control())
        .collect::<String>()
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}
