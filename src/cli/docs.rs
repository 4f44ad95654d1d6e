//! `runbook docs`: what a field or an action means, from the same definitions as the schema.

use std::fmt::Write;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use serde_json::Value;

use crate::action::{Effect, Replay};
use crate::actions;
use crate::base::diagnostic::nearest;
use crate::plan::{Entry, Reference, Topic};

use super::errors::CliError;
use super::exit::Exit;
use super::explain::bold;
use super::flags::Format;
use super::{completions, env};

/// How long a line of prose may be.
const WIDTH: usize = 96;

/// Arguments of `runbook docs`.
#[derive(Debug, Args)]
pub(super) struct Docs {
    /// A field by its path, such as `steps.retry`, or an action. Without one, all are listed.
    #[arg(value_name = "FIELD|ACTION", add = ArgValueCompleter::new(completions::topics))]
    name: Option<String>,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

impl Docs {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let reference = Reference::new(&actions::builtin());
        let styled = env::stdout_is_styled();
        let Some(name) = &self.name else {
            self.list(&reference.topics().iter().collect::<Vec<_>>(), styled)?;
            return Ok(Exit::Succeeded);
        };
        match reference.find(name) {
            Some((topic, others)) => match self.format {
                Format::Text => super::print(&shown(topic, &others, styled))?,
                Format::Json => super::print_json(topic)?,
            },
            None => {
                // All actions of a vendor.
                let under = |topic: &&Topic| topic.name().strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
                let group: Vec<&Topic> = reference.topics().iter().filter(under).collect();
                if group.is_empty() {
                    return Err(unknown(name, &reference));
                }
                self.list(&group, styled)?;
            }
        }
        Ok(Exit::Succeeded)
    }

    fn list(&self, topics: &[&Topic], styled: bool) -> Result<(), CliError> {
        match self.format {
            Format::Text => super::print(&listed(topics, styled)),
            Format::Json => super::print_json(&topics),
        }
    }
}

/// Nothing goes by this name: the nearest that does. Paths are compared whole and by their last word.
fn unknown(name: &str, reference: &Reference) -> CliError {
    let names = || reference.topics().iter().map(Topic::name);
    let short = |name: &'_ str| name.strip_prefix("steps.").map(str::to_owned);
    let shortened: Vec<String> = names().filter_map(short).collect();
    let near = nearest(name, names().chain(shortened.iter().map(String::as_str)));
    let near = near.map_or_else(String::new, |near| format!("did you mean `{near}`? "));
    CliError::Usage {
        message: format!("there is no field or action `{name}`"),
        hint: Some(format!("{near}`runbook docs` lists them all")),
    }
}

/// Everything, a line each, in parts.
fn listed(topics: &[&Topic], styled: bool) -> String {
    let is_step = |topic: &Topic| topic.name().starts_with("steps.") && topic.name().matches('.').count() == 1;
    // Steps name it as they name an action.
    let is_field = |topic: &Topic| matches!(topic, Topic::Field { path, .. } if path != "decide");
    let parts: [(&str, Vec<&Topic>); 4] = [
        ("The file", topics.iter().copied().filter(|topic| is_field(topic) && !topic.name().contains('.')).collect()),
        ("A step", topics.iter().copied().filter(|topic| is_field(topic) && is_step(topic)).collect()),
        (
            "Within these",
            topics
                .iter()
                .copied()
                .filter(|topic| is_field(topic) && topic.name().contains('.') && !is_step(topic))
                .collect(),
        ),
        ("Actions", topics.iter().copied().filter(|topic| !is_field(topic)).collect()),
    ];
    let mut text = String::new();
    for (title, topics) in parts.iter().filter(|(_, topics)| !topics.is_empty()) {
        let width = topics.iter().map(|topic| topic.name().len()).max().unwrap_or_default();
        let space = if text.is_empty() { "" } else { "\n" };
        let _ = writeln!(text, "{space}{}", bold(title, styled));
        for topic in topics {
            let _ = writeln!(text, "  {:width$}  {}", topic.name(), first_sentence(topic.meaning()));
        }
    }
    text
}

fn shown(topic: &Topic, others: &[&Topic], styled: bool) -> String {
    let mut text = String::new();
    match topic {
        Topic::Field { path, entry, fields } => {
            push_head(&mut text, 0, path, entry, styled);
            let _ = write!(text, "\n{}", wrapped(&entry.meaning, 0));
            if let Some(examples) = examples(entry) {
                text.push_str(&wrapped(&examples, 0));
            }
            push_entries(&mut text, "", fields, styled);
        }
        Topic::Action { name, summary, effect, replay, undo, secrets, parameters, outputs } => {
            let _ = writeln!(text, "{}\n\n{}", bold(name, styled), wrapped(summary, 0));
            let _ = writeln!(text, "  effect   {}", effect_in_words(*effect));
            let _ = writeln!(text, "  replay   {}", replay_in_words(*replay));
            let undo = undo.as_ref().map_or("none; name what reverses it".to_owned(), |undo| format!("`auto`: {undo}"));
            let _ = writeln!(text, "  undo     {undo}");
            let secrets = if secrets.is_empty() { "none".to_owned() } else { format!("`{}`", secrets.join("`, `")) };
            let _ = writeln!(text, "  secrets  {secrets}");
            if name == "shell" {
                text.push_str("\nIn a step it is written as `run` or `argv`; see `runbook docs steps.run`.\n");
            }
            push_entries(&mut text, "Parameters (`with`)", parameters, styled);
            push_entries(&mut text, "Outputs (`STEP.outputs`)", outputs, styled);
        }
    }
    if !others.is_empty() {
        let names: Vec<String> = others.iter().map(|topic| format!("`{}`", topic.name())).collect();
        let _ = write!(text, "\n{}", wrapped(&format!("Of the same name: {}", names.join(", ")), 0));
    }
    text
}

fn push_entries(text: &mut String, title: &str, entries: &[Entry], styled: bool) {
    if entries.is_empty() {
        return;
    }
    text.push('\n');
    if !title.is_empty() {
        let _ = writeln!(text, "{}\n", bold(title, styled));
    }
    for entry in entries {
        push_head(text, 2, &entry.name, entry, styled);
        text.push_str(&wrapped(&entry.meaning, 6));
        if let Some(examples) = examples(entry) {
            text.push_str(&wrapped(&examples, 6));
        }
    }
}

/// The name of an entry and what it may be. Only its first line is not indented further.
fn push_head(text: &mut String, indent: usize, name: &str, entry: &Entry, styled: bool) {
    let lines = wrapped(&format!("{name}: {}", facts(entry)), indent + 4);
    let head = lines.trim_start().strip_prefix(name).unwrap_or_default();
    let _ = write!(text, "{}{}{head}", " ".repeat(indent), bold(name, styled));
}

/// What it may be, whether it must be there, and what it is otherwise.
fn facts(entry: &Entry) -> String {
    let mut facts = entry.kind.clone();
    if entry.required {
        facts.push_str("; must be there");
    }
    if let Some(default) = &entry.default {
        let _ = write!(facts, "; `{}` unless given", written(default));
    }
    facts
}

fn examples(entry: &Entry) -> Option<String> {
    let examples: Vec<String> = entry.examples.iter().map(|example| format!("`{}`", written(example))).collect();
    (!examples.is_empty()).then(|| format!("For example {}.", examples.join(", ")))
}

/// A value as an author would write it.
fn written(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn effect_in_words(effect: Effect) -> &'static str {
    match effect {
        Effect::Read => "read: it only looks",
        Effect::Write => "write: it changes something",
    }
}

/// What becomes of a try whose end nobody saw.
fn replay_in_words(replay: Replay) -> &'static str {
    match replay {
        Replay::Safe => "safe: a try whose end nobody saw is done again without asking",
        Replay::Keyed => {
            "keyed: a try whose end nobody saw is done again under the same key, which keeps it from being done twice"
        }
        Replay::Probe => "probe: after a try whose end nobody saw it is looked whether it happened",
        Replay::Once => "once: after a try whose end nobody saw a person is asked whether it happened",
    }
}

fn first_sentence(text: &str) -> &str {
    let end = text.find(". ").map_or(text.len(), |at| at + 1);
    &text[..end]
}

/// Prose in lines, each indented.
fn wrapped(text: &str, indent: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= WIDTH - indent => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.iter().map(|line| format!("{}{line}\n", " ".repeat(indent))).collect()
}
