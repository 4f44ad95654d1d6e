//! A plan as Markdown, for a comment on a pull request: what matters as tables, the exact effects folded away.

use super::words;
use crate::base::StepPath;
use crate::plan::{PlannedStep, Preview};

/// The plan as Markdown.
pub(super) fn markdown(preview: &Preview) -> String {
    let mut out = String::new();
    let title = preview.title.as_deref().unwrap_or(&preview.runbook);
    out.push_str(&format!("## Plan: {}\n\n", inline(title)));
    let digest = preview.digest.get(..12).unwrap_or_default();
    out.push_str(&format!("{} from {}, digest {}\n\n", code(&preview.runbook), code(&preview.file), code(digest)));
    out.push_str(&format!("- {}\n", inline(&words::counts(preview))));
    out.push_str(&format!("- **Blast radius:** {}\n", inline(&words::radius(preview))));
    out.push_str(&format!("- **Time:** {}\n", inline(&words::whole_time(preview).join("; "))));
    for bound in words::bounds(&preview.locks, preview.timeout) {
        out.push_str(&format!("- {}\n", inline(&bound)));
    }
    if !preview.rollback.undone.is_empty() {
        out.push_str(&format!("- **Can be undone, the last first:** {}\n", names(&preview.rollback.undone)));
    }
    if !preview.rollback.stays.is_empty() {
        out.push_str(&format!("- **Cannot be undone:** {}\n", names(&preview.rollback.stays)));
    }
    if !preview.inputs.is_empty() {
        out.push_str("\n| input | value |\n|---|---|\n");
        for (name, value) in &preview.inputs {
            out.push_str(&format!("| {} | {} |\n", code(name), code(&words::input_text(value))));
        }
    }
    if !preview.blast_radius.vendors.is_empty() {
        out.push_str(
            "\n### What is written\n\n| where | what | by | behind a gate | can be undone |\n|---|---|---|---|---|\n",
        );
        for vendor in &preview.blast_radius.vendors {
            for target in &vendor.targets {
                let count = target.steps.len();
                out.push_str(&format!(
                    "| {} | {} | {} | {} of {count} | {} of {count} |\n",
                    inline(&vendor.vendor),
                    code(&target.target),
                    names(&target.steps),
                    target.behind_gate,
                    target.undoable,
                ));
            }
        }
    }
    out.push_str("\n### Steps\n\n| wave | step | does | effect | what becomes of it | gate | undo |\n|---|---|---|---|---|---|---|\n");
    for (path, step) in preview.all_steps() {
        row(&path, step, &mut out);
    }
    out.push_str("\n### Exactly\n");
    for (path, step) in preview.all_steps() {
        details(&path, step, &mut out);
    }
    out
}

fn row(path: &StepPath, step: &PlannedStep, out: &mut String) {
    let wave = if step.is_final { "finally".to_owned() } else { step.wave.to_string() };
    let title = step.title.as_ref().map_or_else(String::new, |title| format!("<br>{}", inline(title)));
    let effect = if words::effect(step) == "read" { "read" } else { "**write**" };
    let fate = words::fate(step).unwrap_or_else(|| "runs".to_owned());
    let gate = step.gate.as_ref().map_or_else(
        || if step.behind_gate { "behind one".to_owned() } else { String::new() },
        |gate| {
            let by = if gate.by.is_empty() { "whoever is at the terminal".to_owned() } else { gate.by.join(", ") };
            format!("**{} of {}**", gate.at_least, inline(&by))
        },
    );
    let undo = match (&step.undo, step.writes()) {
        (Some(undo), _) => inline(undo),
        (None, true) => "**none**".to_owned(),
        (None, false) => String::new(),
    };
    out.push_str(&format!(
        "| {wave} | {}{title} | {} | {effect} | {} | {gate} | {undo} |\n",
        code(path.as_str()),
        code(&step.kind),
        inline(&fate),
    ));
}

/// Everything about a step, folded.
fn details(path: &StepPath, step: &PlannedStep, out: &mut String) {
    let mut lines = Vec::new();
    let facts = words::facts(step).into_iter().map(|fact| (fact.label, fact.lines));
    let calls = step.calls.as_ref().map(|call| ("calls", words::call_lines(call)));
    for (label, said) in facts.chain(calls) {
        for (index, line) in said.iter().enumerate() {
            lines.push(format!("{:<10} {line}", if index == 0 { label } else { "" }).trim_end().to_owned());
        }
    }
    if lines.is_empty() {
        return;
    }
    let text = lines.join("\n");
    let fence = "`".repeat(longest_run(&text).max(2) + 1);
    let summary = html(&format!("{path} [{}]", step.kind));
    out.push_str(&format!(
        "\n<details><summary><code>{summary}</code></summary>\n\n{fence}text\n{text}\n{fence}\n\n</details>\n"
    ));
}

fn names(steps: &[StepPath]) -> String {
    steps.iter().map(|step| code(step.as_str())).collect::<Vec<_>>().join(", ")
}

/// A text that stays a text: nothing in it marks anything up, ends a cell, or calls somebody by name.
fn inline(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in one_line(text).chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '@' => safe.push_str("&#64;"),
            '#' => safe.push_str("&#35;"),
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' | '!' => {
                safe.push('\\');
                safe.push(letter);
            }
            letter => safe.push(letter),
        }
    }
    safe
}

/// A text as code, within a table too.
fn code(text: &str) -> String {
    let text = one_line(text);
    if text.is_empty() {
        return String::new();
    }
    // A bar ends a cell in a span of code as well, and a backslash before it would stay to be seen.
    if text.contains(['|', '`']) {
        return format!("<code>{}</code>", inline(&text));
    }
    format!("`{text}`")
}

fn one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

fn html(text: &str) -> String {
    one_line(text).replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn longest_run(text: &str) -> usize {
    let (mut longest, mut run) = (0, 0);
    for letter in text.chars() {
        run = if letter == '`' { run + 1 } else { 0 };
        longest = longest.max(run);
    }
    longest
}
