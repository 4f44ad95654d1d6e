//! `runbook check`: every mistake that can be found before anything runs.

use std::collections::BTreeSet;

use clap::Args;

use crate::actions;
use crate::base::{Code, Diagnostic, Severity};
use crate::engine::Approvers;
use crate::runbook::{Loaded, Runbook};

use super::errors::CliError;
use super::exit::Exit;
use super::find;
use super::flags::Format;

/// Arguments of `runbook check`.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// Runbook files, names, or `-` for standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
    /// How to print the findings.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

impl Check {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let mut problems = Vec::new();
        for file in &self.files {
            match find::runbook(file) {
                Ok(loaded) => problems.extend(findings(&loaded)?),
                Err(CliError::Diagnostics(found)) => problems.extend(found),
                Err(other) => return Err(other),
            }
        }
        // A file that is named here and called by another is told of once.
        let mut told = BTreeSet::new();
        problems.retain(|problem| told.insert((problem.source.name.clone(), problem.span, problem.message.clone())));
        let failed = problems.iter().any(|problem| problem.severity == Severity::Error);
        match self.format {
            Format::Json => {
                super::print_json(&problems.iter().map(Diagnostic::to_json).collect::<Vec<_>>())?;
                Ok(if failed { Exit::Invalid } else { Exit::Succeeded })
            }
            Format::Text if failed => Err(CliError::Diagnostics(problems)),
            Format::Text => {
                warn(&problems);
                let count = self.files.len();
                anstream::eprintln!("{count} {} checked, no errors", if count == 1 { "runbook" } else { "runbooks" });
                Ok(Exit::Succeeded)
            }
        }
    }
}

/// Prints warnings on stderr.
pub(super) fn warn(problems: &[Diagnostic]) {
    let styled = super::env::stderr_is_styled();
    for problem in problems.iter().filter(|problem| problem.severity == Severity::Warning) {
        anstream::eprintln!("{}\n", problem.render(styled));
    }
}

/// Everything that can be found: in the file, in those that it calls, and in the approvers file beside it.
pub(super) fn findings(loaded: &Loaded) -> Result<Vec<Diagnostic>, CliError> {
    let mut problems = crate::plan::check(loaded, &actions::builtin());
    let approvers = Approvers::load(&find::folder_of(&loaded.source.name))?;
    // A called runbook asks the people of the runbook that calls it.
    for part in std::iter::once(loaded).chain(loaded.called.values()) {
        problems.extend(unknown_groups(part, &approvers));
    }
    Ok(problems)
}

/// Gates that name groups nobody has written down: nobody could ever open them.
fn unknown_groups(loaded: &Loaded, approvers: &Approvers) -> Vec<Diagnostic> {
    let Runbook { steps, finally, .. } = loaded.runbook.as_ref();
    let mut problems = Vec::new();
    for (section, steps) in [("steps", steps), ("finally", finally)] {
        for (id, step) in steps {
            let Some(approval) = &step.approval else { continue };
            for group in approvers.unknown_groups(&approval.by) {
                let index = approval.by.iter().position(|who| who.strip_prefix("group:") == Some(group)).unwrap_or(0);
                let span = loaded.span(&[section, id.as_str(), "approval", "by", &index.to_string()]);
                problems.push(
                    Diagnostic::error(
                        &loaded.source,
                        span,
                        Code::UnknownGroup,
                        format!("nobody knows who is in group `{group}`"),
                    )
                    .help(format!(
                        "write it down in `approvers.yaml` beside the runbook: `groups: {{ {group}: [NAME] }}`"
                    )),
                );
            }
        }
    }
    problems
}

/// Loads a runbook, and refuses it with everything that is wrong with it. Warnings are printed.
pub(super) fn checked(wanted: &str) -> Result<Loaded, CliError> {
    let loaded = find::runbook(wanted)?;
    let problems = findings(&loaded)?;
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(CliError::Diagnostics(problems));
    }
    warn(&problems);
    Ok(loaded)
}
