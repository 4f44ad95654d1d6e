//! A plan as text, for people at a terminal.

use super::words;
use crate::plan::{PlannedStep, Preview};

/// The plan for people.
pub(super) fn text(preview: &Preview) -> String {
    let mut out = String::new();
    let mut line = |text: &str| {
        out.push_str(text.trim_end());
        out.push('\n');
    };
    line(&format!(
        "Plan for {}{}",
        preview.runbook,
        preview.title.as_ref().map_or_else(String::new, |t| format!(": {t}"))
    ));
    line(&format!("digest {}", preview.digest.get(..12).unwrap_or_default()));
    if !preview.inputs.is_empty() {
        line("");
        line("Inputs");
        let width = preview.inputs.keys().map(String::len).max().unwrap_or(0);
        for (name, value) in &preview.inputs {
            line(&format!("  {name:width$}  {}", words::input_text(value)));
        }
    }
    if !preview.locks.is_empty() || preview.timeout.is_some() {
        line("");
        line("The run");
        words::bounds(&preview.locks, preview.timeout).iter().for_each(|bound| line(&format!("  {bound}")));
    }
    steps(&preview.steps, true, &mut line);
    line("");
    end(preview, &mut line);
    out
}

/// Steps under the heading of their wave. A called runbook stands closer together.
fn steps(steps: &[PlannedStep], spaced: bool, line: &mut dyn FnMut(&str)) {
    let mut wave = 0;
    for planned in steps {
        if planned.wave != wave {
            wave = planned.wave;
            if spaced {
                line("");
            }
            line(&format!("Wave {wave}{}", if planned.is_final { " (however the run ended)" } else { "" }));
        }
        step(planned, line);
    }
}

fn step(step: &PlannedStep, line: &mut dyn FnMut(&str)) {
    use crate::plan::Fate;
    let title = step.title.as_ref().map_or_else(String::new, |title| format!("  {title}"));
    let fate = match step.fate {
        Fate::Runs => "",
        Fate::Open => ", open",
        Fate::Skipped => ", SKIPPED",
        Fate::Supposed => ", supposed",
        Fate::Read => ", read live",
    };
    line(&format!("  {} [{}, {}{fate}]{title}", step.id, step.kind, words::effect(step)));
    for fact in words::facts(step) {
        said(fact.label, &fact.lines, line);
    }
    if let Some(call) = &step.calls {
        said("calls", &words::call_lines(call), line);
        steps(&call.steps, false, &mut |text| line(&format!("        {text}")));
    }
}

fn said(label: &str, lines: &[String], line: &mut dyn FnMut(&str)) {
    for (index, text) in lines.iter().enumerate() {
        line(&format!("      {:<10} {text}", if index == 0 { label } else { "" }));
    }
}

fn end(preview: &Preview, line: &mut dyn FnMut(&str)) {
    line(&format!("Blast radius: {}", words::radius(preview)));
    let vendors = &preview.blast_radius.vendors;
    for vendor in vendors {
        line(&format!("  {}", vendor.vendor));
        for target in &vendor.targets {
            let steps: Vec<String> = target.steps.iter().map(ToString::to_string).collect();
            line(&format!("    {}: {}", target.target, steps.join(", ")));
        }
    }
    line(&format!("Time: {}", words::whole_time(preview).join("; ")));
    line(&words::counts(preview));
    let list = |steps: &[crate::base::StepPath]| steps.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if !preview.rollback.undone.is_empty() {
        line(&format!("can be undone, the last first: {}", list(&preview.rollback.undone)));
    }
    if !preview.rollback.stays.is_empty() {
        line(&format!("cannot be undone: {}", list(&preview.rollback.stays)));
    }
}
