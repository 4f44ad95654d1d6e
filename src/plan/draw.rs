//! Draws the plan as a Mermaid flowchart (<https://mermaid.js.org/syntax/flowchart.html>).

use super::Preview;
use super::intent::{PlannedStep, Verdict};
use crate::action::Effect;

/// The plan as Mermaid text: gates are hexagons, decisions diamonds, writes are marked, undecided ways dotted.
pub fn mermaid(preview: &Preview) -> String {
    let mut text = String::from("flowchart TD\n");
    for step in &preview.steps {
        text.push_str(&format!("    {}{}\n", node(step.id.as_str()), shape(step)));
    }
    for step in &preview.steps {
        for (needed, result) in &step.needs {
            let arrow = match step.verdict {
                Verdict::Always => "-->",
                Verdict::Open => "-.->",
                Verdict::Never => "-. never .->",
            };
            let label = if result == "succeeded" || step.verdict == Verdict::Never {
                String::new()
            } else {
                format!("|{}|", escaped(result))
            };
            let (from, to) = (node(needed.as_str()), node(step.id.as_str()));
            text.push_str(&format!("    {from} {arrow}{label} {to}\n"));
        }
    }
    text.push_str("    classDef write stroke-width:3px\n    classDef final stroke-dasharray:4 3\n");
    for (class, belongs) in [
        ("write", (|step| step.facts.effect == Effect::Write) as fn(&PlannedStep) -> bool),
        ("final", |step| step.is_final),
    ] {
        let members: Vec<String> =
            preview.steps.iter().filter(|step| belongs(step)).map(|step| node(step.id.as_str())).collect();
        if !members.is_empty() {
            text.push_str(&format!("    class {} {class}\n", members.join(",")));
        }
    }
    text
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
    if step.gate.is_some() {
        lines.push("approval".to_owned());
    }
    let label = lines.iter().map(|line| escaped(line)).collect::<Vec<_>>().join("<br/>");
    match step.kind.as_str() {
        "decide" => format!("{{\"{label}\"}}"),
        _ if step.gate.is_some() => format!("{{{{\"{label}\"}}}}"),
        "manual" => format!("[/\"{label}\"/]"),
        _ => format!("[\"{label}\"]"),
    }
}

/// Mermaid takes entity codes for what would end a label.
fn escaped(text: &str) -> String {
    text.replace('&', "#amp;").replace('"', "#quot;").replace('<', "#lt;").replace('>', "#gt;").replace('|', "#124;")
}
