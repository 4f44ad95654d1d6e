//! Draws the plan for Graphviz (<https://graphviz.org/doc/info/lang.html>).

use crate::plan::{Fate, PlannedStep, Preview};

/// The plan as a Graphviz digraph: decisions are diamonds, gates hexagons, writes have a thick line, what is left out is
/// grey. A called runbook is a cluster beside the step that calls it.
pub fn dot(preview: &Preview) -> String {
    let mut text = format!("digraph {} {{\n", quoted(&preview.runbook));
    text.push_str("    rankdir=LR;\n    node [shape=box, fontname=\"Helvetica\", fontsize=11];\n");
    text.push_str("    edge [fontname=\"Helvetica\", fontsize=9];\n");
    nodes(&preview.steps, "", 1, &mut text);
    arrows(&preview.steps, "", &mut text);
    text.push_str("}\n");
    text
}

fn nodes(steps: &[PlannedStep], above: &str, depth: usize, text: &mut String) {
    let indent = "    ".repeat(depth);
    for step in steps.iter().filter(|step| !step.is_final) {
        node(step, above, depth, text);
    }
    if steps.iter().any(|step| step.is_final) {
        text.push_str(&format!("{indent}subgraph {} {{\n", quoted(&format!("cluster_{above}finally"))));
        text.push_str(&format!("{indent}    label=\"finally\"; style=dashed;\n"));
        for step in steps.iter().filter(|step| step.is_final) {
            node(step, above, depth + 1, text);
        }
        text.push_str(&format!("{indent}}}\n"));
    }
}

fn node(step: &PlannedStep, above: &str, depth: usize, text: &mut String) {
    let indent = "    ".repeat(depth);
    let name = format!("{above}{}", step.id);
    let mut lines = vec![step.id.to_string(), step.kind.clone()];
    lines.extend(step.condition.as_ref().map(|condition| format!("if {condition}")));
    lines.extend(step.for_each.as_ref().map(|each| format!("for each {} in {}", each.name, each.list)));
    lines.extend(step.gate.as_ref().map(|gate| format!("gate: {} of {}", gate.at_least, who(&gate.by))));
    if step.writes() {
        lines.push(if step.undo.is_some() { "can be undone" } else { "cannot be undone" }.to_owned());
    }
    lines.extend(step.measure.as_ref().map(|measure| format!("measure: at most {}", measure.expires)));
    let mut attributes = vec![format!("label={}", quoted(&lines.join("\n")))];
    let shape = match step.kind.as_str() {
        "decide" => Some("diamond"),
        _ if step.gate.is_some() => Some("hexagon"),
        "manual" => Some("parallelogram"),
        _ if step.calls.is_some() => Some("component"),
        _ => None,
    };
    attributes.extend(shape.map(|shape| format!("shape={shape}")));
    if step.writes() {
        attributes.push("penwidth=2.5".to_owned());
    }
    match step.fate {
        Fate::Skipped => attributes.push("style=dotted, color=gray, fontcolor=gray".to_owned()),
        Fate::Open => attributes.push("style=dashed".to_owned()),
        Fate::Supposed | Fate::Read => attributes.push("style=filled, fillcolor=lightyellow".to_owned()),
        Fate::Runs => {}
    }
    text.push_str(&format!("{indent}{} [{}];\n", quoted(&name), attributes.join(", ")));
    if let Some(call) = &step.calls {
        text.push_str(&format!("{indent}subgraph {} {{\n", quoted(&format!("cluster_{name}"))));
        let title = call.title.as_deref().unwrap_or(&call.runbook);
        text.push_str(&format!("{indent}    label={};\n", quoted(title)));
        nodes(&call.steps, &format!("{name}/"), depth + 1, text);
        text.push_str(&format!("{indent}}}\n"));
    }
}

fn arrows(steps: &[PlannedStep], above: &str, text: &mut String) {
    for step in steps {
        let to = quoted(&format!("{above}{}", step.id));
        for (needed, result) in &step.needs {
            let mut attributes = Vec::new();
            if result != "succeeded" {
                attributes.push(format!("label={}", quoted(result)));
            }
            match step.fate {
                Fate::Skipped => attributes.push("style=dotted, color=gray".to_owned()),
                Fate::Open => attributes.push("style=dashed".to_owned()),
                Fate::Runs | Fate::Supposed | Fate::Read => {}
            }
            let attributes =
                if attributes.is_empty() { String::new() } else { format!(" [{}]", attributes.join(", ")) };
            text.push_str(&format!("    {} -> {to}{attributes};\n", quoted(&format!("{above}{needed}"))));
        }
        if let Some(call) = &step.calls {
            let name = format!("{above}{}", step.id);
            for first in call.steps.iter().filter(|inner| inner.needs.is_empty() && !inner.is_final) {
                let inner = quoted(&format!("{name}/{}", first.id));
                text.push_str(&format!("    {to} -> {inner} [style=bold, arrowhead=empty];\n"));
            }
            arrows(&call.steps, &format!("{name}/"), text);
        }
    }
}

fn who(by: &[String]) -> String {
    if by.is_empty() { "whoever is at the terminal".to_owned() } else { by.join(", ") }
}

/// A quoted name or label. Only a quote and a backslash end or change it; a line break is written out.
fn quoted(text: &str) -> String {
    let text: String = text.chars().filter(|c| *c == '\n' || !c.is_control()).collect();
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
