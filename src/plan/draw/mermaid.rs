//! Draws the plan as a Mermaid flowchart (<https://mermaid.js.org/syntax/flowchart.html>).

use crate::action::Effect;
use crate::plan::{Fate, PlannedStep, Preview, Verdict};

/// The plan as Mermaid text: gates are hexagons, decisions diamonds, writes are marked, undecided ways dotted. A called
/// runbook is a box of its own beside the step that calls it.
pub fn mermaid(preview: &Preview) -> String {
    let mut text = String::from("flowchart TD\n");
    nodes(&preview.steps, "", 1, &mut text);
    arrows(&preview.steps, "", &mut text);
    text.push_str("    classDef write stroke-width:3px\n    classDef final stroke-dasharray:4 3\n");
    for (class, belongs) in [
        ("write", (|step| step.facts.effect == Effect::Write) as fn(&PlannedStep) -> bool),
        ("final", |step| step.is_final),
    ] {
        let mut members = Vec::new();
        members_of(&preview.steps, "", belongs, &mut members);
        if !members.is_empty() {
            text.push_str(&format!("    class {} {class}\n", members.join(",")));
        }
    }
    text
}

/// The steps, each called runbook in a box of its own. `above` is what the names of its nodes begin with.
fn nodes(steps: &[PlannedStep], above: &str, depth: usize, text: &mut String) {
    let indent = "    ".repeat(depth);
    for step in steps {
        let name = format!("{above}{}", node(step.id.as_str()));
        text.push_str(&format!("{indent}{name}{}\n", shape(step)));
        if let Some(call) = &step.calls {
            let label = escaped(call.title.as_deref().unwrap_or(&call.runbook));
            text.push_str(&format!("{indent}subgraph {name}-in[\"{label}\"]\n"));
            nodes(&call.steps, &format!("{name}-"), depth + 1, text);
            text.push_str(&format!("{indent}end\n"));
        }
    }
}

fn arrows(steps: &[PlannedStep], above: &str, text: &mut String) {
    for step in steps {
        for (needed, result) in &step.needs {
            let never = step.verdict == Verdict::Never || step.fate == Fate::Skipped;
            let arrow = match step.verdict {
                _ if never => "-. never .->",
                Verdict::Open => "-.->",
                Verdict::Always | Verdict::Never => "-->",
            };
            let label = if result == "succeeded" || never { String::new() } else { format!("|{}|", escaped(result)) };
            let (from, to) = (node(needed.as_str()), node(step.id.as_str()));
            text.push_str(&format!("    {above}{from} {arrow}{label} {above}{to}\n"));
        }
        if let Some(call) = &step.calls {
            let name = format!("{above}{}", node(step.id.as_str()));
            text.push_str(&format!("    {name} ==> {name}-in\n"));
            arrows(&call.steps, &format!("{name}-"), text);
        }
    }
}

fn members_of(steps: &[PlannedStep], above: &str, belongs: fn(&PlannedStep) -> bool, found: &mut Vec<String>) {
    for step in steps {
        let name = format!("{above}{}", node(step.id.as_str()));
        if let Some(call) = &step.calls {
            members_of(&call.steps, &format!("{name}-"), belongs, found);
        }
        if belongs(step) {
            found.push(name);
        }
    }
}

/// A node's name. Mermaid reads some words as its own wherever they stand.
fn node(id: &str) -> String {
    let taken = ["end", "graph", "subgraph", "flowchart", "class", "click", "style", "linkStyle", "default"];
    if taken.contains(&id) { format!("{id}_") } else { id.to_owned() }
}

fn shape(step: &PlannedStep) -> String {
    let mut lines = vec![step.id.to_string(), step.kind.clone()];
    if let Some(condition) = &step.condition {
        lines.push(format!("if {condition}"));
    }
    if let Some(each) = &step.for_each {
        lines.push(format!("for each {} in {}", each.name, each.list));
    }
    if step.gate.is_some() {
        lines.push("approval".to_owned());
    }
    let label = lines.iter().map(|line| escaped(line)).collect::<Vec<_>>().join("<br/>");
    match step.kind.as_str() {
        "decide" => format!("{{\"{label}\"}}"),
        _ if step.gate.is_some() => format!("{{{{\"{label}\"}}}}"),
        "manual" => format!("[/\"{label}\"/]"),
        _ if step.calls.is_some() => format!("[[\"{label}\"]]"),
        _ => format!("[\"{label}\"]"),
    }
}

/// Mermaid takes entity codes for what would end a label.
fn escaped(text: &str) -> String {
    text.replace('&', "#amp;").replace('"', "#quot;").replace('<', "#lt;").replace('>', "#gt;").replace('|', "#124;")
}
