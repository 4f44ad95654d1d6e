//! `runbook plan`: what would happen, in which order, and what could be undone.

use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::action::{Effect, Intent};
use crate::base::HumanDuration;
use crate::plan::{PlannedCall, PlannedLock, PlannedLoop, PlannedStep, Preview, Verdict};
use crate::{actions, plan};

use super::errors::CliError;
use super::exit::Exit;
use super::flags::Inputs;
use super::{check, find};

/// Arguments of `runbook plan`.
#[derive(Debug, Args)]
pub(super) struct Plan {
    /// The runbook: a file, a name, or `-` for standard input.
    #[arg(value_name = "FILE|NAME", add = clap_complete::engine::ArgValueCompleter::new(super::completions::runbooks))]
    runbook: String,
    #[command(flatten)]
    inputs: Inputs,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = PlanFormat::Text)]
    format: PlanFormat,
}

/// How a plan is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PlanFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// A Mermaid flowchart.
    Mermaid,
}

impl Plan {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let loaded = check::checked(&self.runbook)?;
        let registry = actions::builtin();
        let plan =
            plan::build(&loaded, &registry, &self.inputs.values()?)?.in_folder(find::folder_of(&loaded.source.name));
        let preview = plan::preview(&plan, &registry);
        match self.format {
            PlanFormat::Json => super::print_json(&preview)?,
            PlanFormat::Mermaid => super::print(&plan::mermaid(&preview))?,
            PlanFormat::Text => super::print(&text(&preview))?,
        }
        Ok(Exit::Succeeded)
    }
}

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
            line(&format!("  {name:width$}  {}", input_text(value)));
        }
    }
    if !preview.locks.is_empty() || preview.timeout.is_some() {
        line("");
        line("The run");
        bounds(&preview.locks, preview.timeout).iter().for_each(|bound| line(&format!("  {bound}")));
    }
    steps_text(&preview.steps, true, &mut line);
    line("");
    undo_text(preview, &mut line);
    out
}

fn input_text(value: &Value) -> String {
    match value {
        Value::Null => "(not given)".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// What a run holds alone, and how long it may take.
fn bounds(locks: &[PlannedLock], timeout: Option<HumanDuration>) -> Vec<String> {
    let held = locks.iter().map(|lock| {
        let wait = lock.wait.map_or_else(|| "at once or not at all".to_owned(), |wait| format!("waits up to {wait}"));
        format!("holds {} alone; {wait}", lock.name)
    });
    held.chain(timeout.map(|timeout| format!("ends after {timeout}"))).collect()
}

/// Steps under the heading of their wave. A called runbook stands closer together.
fn steps_text(steps: &[PlannedStep], spaced: bool, line: &mut dyn FnMut(&str)) {
    let mut wave = 0;
    for step in steps {
        if step.wave != wave {
            wave = step.wave;
            if spaced {
                line("");
            }
            line(&format!("Wave {wave}{}", if step.is_final { " (however the run ended)" } else { "" }));
        }
        step_text(step, line);
    }
}

fn loop_text(each: &PlannedLoop, line: &mut dyn FnMut(&str)) {
    let key = each.key.as_ref().map_or_else(String::new, |key| format!(", told apart by {key}"));
    line(&format!("      for each   {} in {}{key}", each.name, each.list));
    if let Some(items) = &each.items {
        const SHOWN: usize = 10;
        let more = if items.len() > SHOWN { format!(" and {} more", items.len() - SHOWN) } else { String::new() };
        let count = if items.len() == 1 { "1 item".to_owned() } else { format!("{} items", items.len()) };
        let listed = items.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
        line(&format!("                 {count}: {listed}{more}"));
    }
    if let Some(problem) = &each.problem {
        line(&format!("                 CANNOT BEGIN: {problem}"));
    }
    let at_once = each
        .at_most
        .map_or_else(|| "as many at once as the run allows".to_owned(), |most| format!("at most {most} at once"));
    let ramp = if each.ramp { ", beginning with 1, then 2, then 4" } else { "" };
    let failures = match &each.fail_after {
        Value::String(part) => format!("when {part} of them have failed"),
        count if *count == 1 => "at the first that fails".to_owned(),
        count => format!("when {count} of them have failed"),
    };
    line(&format!("                 {at_once}{ramp}; ends {failures}"));
}

/// The called runbook, with its own steps below the one that calls.
fn call_text(call: &PlannedCall, line: &mut dyn FnMut(&str)) {
    let title = call.title.as_ref().map_or_else(String::new, |title| format!(": {title}"));
    line(&format!("      calls      {}{title} ({})", call.runbook, call.file));
    let width = call.inputs.keys().map(String::len).max().unwrap_or(0);
    for (name, value) in &call.inputs {
        line(&format!("                 {name:width$}  {}", input_text(value)));
    }
    for problem in &call.problems {
        line(&format!("                 CANNOT BEGIN: {problem}"));
    }
    for (theirs, ours) in &call.secrets {
        line(&format!("                 is given the secret {ours} as {theirs}"));
    }
    for bound in bounds(&call.locks, call.timeout) {
        line(&format!("                 {bound}"));
    }
    line(&format!("                 on failure: {}", call.on_failure.as_str().unwrap_or_default()));
    steps_text(&call.steps, false, &mut |text| line(&format!("        {text}")));
}

fn step_text(step: &PlannedStep, line: &mut dyn FnMut(&str)) {
    let effect = match step.facts.effect {
        Effect::Read => "read",
        Effect::Write => "WRITE",
    };
    let title = step.title.as_ref().map_or_else(String::new, |title| format!("  {title}"));
    line(&format!("  {} [{}, {effect}]{title}", step.id, step.kind));
    if !step.needs.is_empty() {
        let needs: Vec<String> = step
            .needs
            .iter()
            .map(|(id, result)| if result == "succeeded" { id.to_string() } else { format!("{id} ({result})") })
            .collect();
        line(&format!("      after      {}", needs.join(", ")));
    }
    if let Some(condition) = &step.condition {
        let known = match step.verdict {
            Verdict::Always => "  (always: it runs)",
            Verdict::Never => "  (never: it is skipped)",
            Verdict::Open => "  (only the run can tell: it runs, or is skipped with all that needs it)",
        };
        line(&format!("      if         {condition}{known}"));
    }
    for arm in &step.arms {
        let condition =
            arm.condition.as_ref().map_or_else(|| "otherwise".to_owned(), |condition| format!("if {condition}"));
        let known = match arm.verdict {
            Verdict::Never => " (never)",
            Verdict::Always | Verdict::Open => "",
        };
        line(&format!("      arm        {condition}{known} -> {}", arm.then));
    }
    if let Some(gate) = &step.gate {
        let by =
            gate["by"].as_array().map(|by| by.iter().filter_map(|who| who.as_str()).collect::<Vec<_>>().join(", "));
        let by = by.filter(|by| !by.is_empty()).unwrap_or_else(|| "whoever is at the terminal".to_owned());
        line(&format!("      gate       {}", gate["prompt"].as_str().unwrap_or_default()));
        let within = gate["within"].as_str().map_or_else(String::new, |within| {
            format!(", within {within}, else {}", gate["on_timeout"].as_str().unwrap_or_default())
        });
        line(&format!("                 {} of {by}{within}", gate["at_least"]));
    }
    if let Some(each) = &step.for_each {
        loop_text(each, line);
    }
    for intent in &step.does {
        intent_lines(intent).iter().enumerate().for_each(|(index, text)| {
            line(&format!("      {}{text}", if index == 0 { "does       " } else { "           " }));
        });
    }
    for limit in &step.limits {
        line(&format!("      limit      {limit}"));
    }
    if step.allow_failure {
        line("      failure    the run goes on without it");
    }
    if let Some(measure) = &step.measure {
        let closed = measure["closed_by"].as_str().map_or_else(String::new, |step| format!(", closed by {step}"));
        let undone = if measure["on_expiry"] == "undo" { ", undone when that is over" } else { "" };
        line(&format!(
            "      measure    in force for at most {}{closed}{undone}",
            measure["expires"].as_str().unwrap_or_default()
        ));
    }
    if step.writes() {
        line(&format!("      undo       {}", step.undo.as_deref().unwrap_or("none: what it does stays")));
    }
    for text in step.undo_does.iter().flat_map(intent_lines) {
        line(&format!("                 {text}"));
    }
    for limit in &step.undo_limits {
        line(&format!("                 {limit}"));
    }
    if let Some(call) = &step.calls {
        call_text(call, line);
    }
}

/// An intent as lines for people.
pub(super) fn intent_lines(intent: &Intent) -> Vec<String> {
    match intent {
        Intent::Request { method, url, body } => {
            let mut lines = vec![format!("{method} {url}")];
            lines.extend(body.as_ref().map(|body| format!("  {body}")));
            lines
        }
        Intent::Process { argv, script, env } => {
            let mut lines = match script {
                Some(script) => {
                    std::iter::once("/bin/sh".to_owned()).chain(script.lines().map(|l| format!("  | {l}"))).collect()
                }
                None => vec![argv.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")],
            };
            if !env.is_empty() {
                lines.push(format!("  with {}", env.join(", ")));
            }
            lines
        }
        Intent::Note { text } => text.lines().map(str::to_owned).collect(),
    }
}

fn quoted(word: &str) -> String {
    let plain = !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || "-_./:=@%+,‹›".contains(c));
    if plain { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

fn undo_text(preview: &Preview, line: &mut dyn FnMut(&str)) {
    let steps = preview.all_steps();
    let writes = steps.iter().filter(|(_, step)| step.writes()).count();
    let gates = steps.iter().filter(|(_, step)| step.gate.is_some()).count();
    line(&format!(
        "{} steps, {writes} of them write, {gates} behind a gate; on failure: {}",
        steps.len(),
        preview.on_failure.as_str().unwrap_or_default()
    ));
    let stay: Vec<String> = preview.not_undoable().iter().map(ToString::to_string).collect();
    if !stay.is_empty() {
        line(&format!("cannot be undone: {}", stay.join(", ")));
    }
}
