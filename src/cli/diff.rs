//! `runbook diff`: what two versions of a runbook mean differently.

mod markdown;
mod text;

use clap::{Args, ValueEnum};

use crate::actions;
use crate::plan::diff;
use crate::plan::policy::Answer;

use super::errors::CliError;
use super::exit::Exit;
use super::policy::{self, PolicyFlag};
use super::version::Version;

/// Arguments of `runbook diff`.
#[derive(Debug, Args)]
pub(super) struct Diff {
    /// The version before: a file, a name, `git:REV:path`, or `/dev/null` where there was none.
    #[arg(value_name = "OLD", add = clap_complete::engine::ArgValueCompleter::new(super::completions::runbooks))]
    old: String,
    /// The version after: a file, a name, `git:REV:path`, or `/dev/null` where there is none any more.
    #[arg(value_name = "NEW", add = clap_complete::engine::ArgValueCompleter::new(super::completions::runbooks))]
    new: String,
    #[command(flatten)]
    policy: PolicyFlag,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = DiffFormat::Text)]
    format: DiffFormat,
    /// End with code 1 when there are differences, as `git diff --exit-code` does.
    #[arg(long)]
    exit_code: bool,
}

/// How a difference is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum DiffFormat {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For a comment on a pull request.
    Markdown,
}

impl Diff {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let rules = self.policy.read()?;
        let (old, new) = both(Version::load(&self.old), Version::load(&self.new))?;
        let mistakes: Vec<_> = old.iter().chain(&new).flat_map(Version::mistakes).collect();
        if !mistakes.is_empty() {
            return Err(CliError::Diagnostics(mistakes));
        }
        if old.is_none() && new.is_none() {
            return Err(CliError::Usage {
                message: "neither version is there".to_owned(),
                hint: Some("a path after `git:REV:` starts from the top of the repository, or write `./`".to_owned()),
            });
        }
        let registry = actions::builtin();
        let found = diff::diff(old.as_ref().map(Version::side), new.as_ref().map(Version::side), &registry);
        let verdict = rules.as_ref().map(|rules| PolicyFlag::of_diff(rules, &found));
        let denied = verdict.as_ref().map(|verdict| verdict.denials.as_slice());
        match self.format {
            DiffFormat::Text => super::print(&text::text(&found, denied.unwrap_or_default(), stdout_is_styled()))?,
            DiffFormat::Json => super::print_json(&Answer { diff: &found, denied })?,
            DiffFormat::Markdown => super::print(&markdown::markdown(&found, denied.unwrap_or_default()))?,
        }
        let judged = rules.as_ref().zip(verdict.as_ref()).map(|(rules, verdict)| policy::tell(rules, verdict));
        Ok(match judged {
            Some(Exit::Denied) => Exit::Denied,
            _ if self.exit_code && !found.findings.is_empty() => Exit::Failed,
            _ => Exit::Succeeded,
        })
    }
}

/// Both versions, or everything that is wrong with either.
fn both<T>(old: Result<T, CliError>, new: Result<T, CliError>) -> Result<(T, T), CliError> {
    match (old, new) {
        (Ok(old), Ok(new)) => Ok((old, new)),
        (Err(CliError::Diagnostics(mut problems)), Err(CliError::Diagnostics(more))) => {
            problems.extend(more);
            Err(CliError::Diagnostics(problems))
        }
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

fn stdout_is_styled() -> bool {
    anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never
}

/// The heading: which runbook, and how much of each class there is.
fn heading(found: &diff::Diff) -> String {
    let what = match (&found.old, &found.new) {
        (None, _) => " (new)",
        (_, None) => " (gone)",
        _ => "",
    };
    if found.findings.is_empty() {
        return format!("{}{what}: no difference in meaning", found.runbook);
    }
    let counts: Vec<String> = diff::Class::ALL
        .into_iter()
        .map(|class| (found.count(class), class))
        .filter(|(count, _)| *count > 0)
        .map(|(count, class)| format!("{count} {class}"))
        .collect();
    format!("{}{what}: {}", found.runbook, counts.join(", "))
}

/// A value as lines: texts as they are, everything else as JSON.
fn lines(value: &serde_json::Value) -> Vec<String> {
    let text = match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let lines = text.trim_end().lines().map(|line| {
        // What a terminal or a browser could take for an order of its own is not printed.
        line.chars().map(|c| if c.is_control() && c != '\t' { '\u{FFFD}' } else { c }).collect()
    });
    lines.collect()
}
