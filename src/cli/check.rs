//! `runbook check`: every mistake that can be found before anything runs.

mod files;
mod fix;
mod github;
mod sarif;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use clap::{Args, ValueEnum};
use clap_complete::engine::ArgValueCompleter;

use crate::action::Registry;
use crate::actions;
use crate::base::{Code, Diagnostic, Severity};
use crate::engine::Approvers;
use crate::runbook::{Loaded, Runbook};

use super::errors::CliError;
use super::exit::Exit;
use super::{completions, find};
use files::Target;

/// Arguments of `runbook check`.
#[derive(Debug, Args)]
pub(super) struct Check {
    /// Runbook files or names, folders with runbooks, or `-` for standard input.
    #[arg(required = true, value_name = "FILE|FOLDER", add = ArgValueCompleter::new(completions::runbooks))]
    files: Vec<String>,
    /// How to print the findings.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// What fails the check besides errors.
    #[arg(long, value_enum, value_name = "WHAT")]
    deny: Option<Deny>,
    /// Mend what can be mended with certainty, then check again. Files that are only called are left alone.
    #[arg(long)]
    fix: bool,
    /// The file that standard input is the text of: findings name it, and calls start from its folder.
    #[arg(long, value_name = "FILE")]
    stdin_path: Option<PathBuf>,
}

/// How findings are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For code scanning and editors: SARIF 2.1.0.
    Sarif,
    /// For GitHub Actions: annotations of a pull request.
    Github,
}

/// What may fail a check besides errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Deny {
    /// Warnings.
    Warnings,
}

impl Check {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let reads_stdin = self.files.iter().any(|file| file == "-");
        if self.stdin_path.is_some() && !reads_stdin {
            return Err(CliError::Usage {
                message: "`--stdin-path` names the file that standard input is the text of, and none is read"
                    .to_owned(),
                hint: Some("add `-` to the files".to_owned()),
            });
        }
        if self.fix && reads_stdin && self.format != Format::Text {
            return Err(CliError::usage("with `--fix -` standard output is the mended text; leave `--format` out"));
        }
        let (mut targets, mut failures) = files::targets(&self.files, self.stdin_path.as_deref());
        if self.fix {
            for target in &mut targets {
                failures.extend(mend(target).err());
            }
        }
        let mut problems = Vec::new();
        for target in &targets {
            match target.load().map_err(CliError::Diagnostics).and_then(|loaded| findings(&loaded)) {
                Ok(found) | Err(CliError::Diagnostics(found)) => problems.extend(found),
                Err(failure) => failures.push(failure),
            }
        }
        // A file that is named here and called by another is told of once.
        let mut told = BTreeSet::new();
        problems.retain(|problem| told.insert((problem.source.name.clone(), problem.span, problem.message.clone())));
        self.print(&problems, targets.len(), failures.is_empty())?;
        let found = self.verdict(&problems);
        // What could not be looked at is told of last, and once: a broken file of approvers concerns all beside it.
        let mut told = BTreeSet::new();
        failures.retain(|failure| told.insert(failure.to_string()));
        let failed = failures.iter().map(CliError::tell).fold(Exit::Succeeded, |first, exit| match first {
            Exit::Succeeded => exit,
            _ => first,
        });
        Ok(if found == Exit::Succeeded { failed } else { found })
    }

    fn verdict(&self, problems: &[Diagnostic]) -> Exit {
        let fails = |problem: &Diagnostic| problem.severity == Severity::Error || self.deny == Some(Deny::Warnings);
        if problems.iter().any(fails) { Exit::Invalid } else { Exit::Succeeded }
    }

    fn print(&self, problems: &[Diagnostic], count: usize, is_all: bool) -> Result<(), CliError> {
        let folder = std::env::current_dir().unwrap_or_default();
        match self.format {
            Format::Json => super::print_json(&problems.iter().map(Diagnostic::to_json).collect::<Vec<_>>()),
            Format::Sarif => super::print_json(&sarif::log(problems, &folder)),
            Format::Github => super::print(&github::commands(problems, &folder)),
            Format::Text => {
                self.tell(problems, count, is_all);
                Ok(())
            }
        }
    }

    /// The findings for people, and where to read on.
    fn tell(&self, problems: &[Diagnostic], count: usize, is_all: bool) {
        if problems.iter().any(|problem| problem.severity == Severity::Error) {
            CliError::Diagnostics(problems.to_vec()).tell();
        } else {
            warn(problems);
            if self.verdict(problems) == Exit::Invalid {
                CliError::Denied(problems.len()).tell();
            } else if is_all {
                anstream::eprintln!("{count} {} checked, no errors", if count == 1 { "runbook" } else { "runbooks" });
            }
        }
        let gravest = problems.iter().min_by_key(|problem| problem.severity);
        if let Some(problem) = gravest {
            anstream::eprintln!("explain a finding: runbook explain {}", problem.code);
        }
    }
}

/// Mends what can be mended with certainty, and says what it was.
fn mend(target: &mut Target) -> Result<(), CliError> {
    let name = target.name();
    let path = match target {
        Target::File(path) => path.clone(),
        Target::Text { text, .. } => {
            let before = text.clone();
            let mended = fix::mend(&before, |text| fix::own_findings(target, text));
            super::print(&mended.text)?;
            if !mended.done.is_empty() {
                anstream::eprintln!("{name}: {}", fix::summary(&mended.done));
            }
            if let Target::Text { text, .. } = target {
                *text = mended.text;
            }
            return Ok(());
        }
    };
    // What cannot be read is told of when it is checked.
    let Ok(before) = std::fs::read_to_string(&path) else { return Ok(()) };
    let mended = fix::mend(&before, |text| fix::own_findings(target, text));
    if !mended.done.is_empty() {
        fix::replace(&path, &mended.text).map_err(|source| CliError::Unmended { path: name.clone(), source })?;
        anstream::eprintln!("{name}: {}", fix::summary(&mended.done));
    }
    Ok(())
}

/// A path as it is seen from a folder, for programs that know the folder.
fn relative(path: &str, folder: &Path) -> String {
    let path = Path::new(path);
    let path = path.strip_prefix(folder).unwrap_or(path);
    path.strip_prefix(".").unwrap_or(path).display().to_string()
}

/// What is found, and the way out on a line of its own.
fn with_help(problem: &Diagnostic) -> String {
    match &problem.help {
        Some(help) => format!("{}\n{help}", problem.message),
        None => problem.message.clone(),
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
    // One for all files: what is worked out about an action is kept with it.
    static ACTIONS: LazyLock<Registry> = LazyLock::new(actions::builtin);
    let mut problems = crate::plan::check(loaded, &ACTIONS);
    let approvers = Approvers::load(&find::folder_of(&loaded.source.name))?;
    // A called runbook asks the people of the runbook that calls it.
    for part in std::iter::once(loaded).chain(loaded.called.values()) {
        problems.extend(unknown_groups(part, &approvers));
        problems.extend(super::quorum::problems(part, &approvers));
    }
    Ok(problems)
}

/// Gates that name groups nobody has written down: nobody could ever open them.
pub(super) fn unknown_groups(loaded: &Loaded, approvers: &Approvers) -> Vec<Diagnostic> {
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
