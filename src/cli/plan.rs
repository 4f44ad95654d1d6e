//! `runbook plan`: what would happen, in which order, and what could be undone.

use clap::{Args, ValueEnum};

use crate::action::{Effect, Intent};
use crate::plan::{PlannedStep, Preview, Verdict};
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
            let shown = match value {
                serde_json::Value::Null => "(not given)".to_owned(),
                serde_json::Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            line(&format!("  {name:width$}  {shown}"));
        }
    }
    let mut wave = 0;
    for step in &preview.steps {
        if step.wave != wave {
            wave = step.wave;
            line("");
            line(&format!("Wave {wave}{}", if step.is_final { " (however the run ended)" } else { "" }));
        }
        step_text(step, &mut line);
    }
    line("");
    undo_text(preview, &mut line);
    out
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
        line(&format!(
            "      measure    in force for at most {}{closed}",
            measure["expires"].as_str().unwrap_or_default()
        ));
    }
    if step.facts.effect == Effect::Write {
        line(&format!("      undo       {}", step.undo.as_deref().unwrap_or("none: what it does stays")));
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
    let writes: Vec<&PlannedStep> = preview.steps.iter().filter(|step| step.facts.effect == Effect::Write).collect();
    let gates = preview.steps.iter().filter(|step| step.gate.is_some()).count();
    line(&format!(
        "{} steps, {} of them write, {gates} behind a gate; on failure: {}",
        preview.steps.len(),
        writes.len(),
        preview.on_failure.as_str().unwrap_or_default()
    ));
    let stay: Vec<&str> = preview.not_undoable().map(|step| step.id.as_str()).collect();
    if !stay.is_empty() {
        line(&format!("cannot be undone: {}", stay.join(", ")));
    }
}
