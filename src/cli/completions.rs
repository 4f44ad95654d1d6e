//! `runbook completions`: shells complete commands, runbooks, runs and steps by asking the program itself.

use std::ffi::OsStr;

use clap::{Args, ValueEnum};
use clap_complete::engine::CompletionCandidate;

use crate::actions::builtin;
use crate::base::Code;
use crate::plan::Reference;
use crate::runlog::Store;

use super::errors::CliError;
use super::exit::Exit;
use super::known::KnownRun;
use super::{env, find};

/// Arguments of `runbook completions`.
#[derive(Debug, Args)]
pub(super) struct Completions {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Completions {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let (file, line) = match self.shell {
            Shell::Bash => ("~/.bashrc", "source <(COMPLETE=bash runbook)"),
            Shell::Zsh => ("~/.zshrc", "source <(COMPLETE=zsh runbook)"),
            Shell::Fish => ("~/.config/fish/config.fish", "COMPLETE=fish runbook | source"),
        };
        anstream::eprintln!("add this line to {file}:");
        super::print(&format!("{line}\n"))?;
        Ok(Exit::Succeeded)
    }
}

/// Runbooks by name and by file.
pub(super) fn runbooks(typed: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    let mut found = Vec::new();
    for folder in find::folders() {
        let Ok(entries) = std::fs::read_dir(&folder) else { continue };
        for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            let is_one = find::is_runbook(&path);
            if let (true, Some(name)) = (is_one, path.file_stem().and_then(OsStr::to_str)) {
                found.push(name.to_owned());
            }
        }
    }
    found.sort();
    found.dedup();
    found.into_iter().filter(|name| name.starts_with(typed.as_ref())).map(CompletionCandidate::new).collect()
}

/// Scenarios of drills by name.
pub(super) fn scenarios(typed: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    let mut found = Vec::new();
    for folder in find::folders() {
        let Ok(entries) = std::fs::read_dir(folder.join("drills")) else { continue };
        let names = entries.filter_map(Result::ok).filter_map(|entry| entry.file_name().into_string().ok());
        found.extend(names.filter_map(|name| Some(name.strip_suffix(".yaml")?.to_owned())));
    }
    found.sort();
    found.dedup();
    found.into_iter().filter(|name| name.starts_with(typed.as_ref())).map(CompletionCandidate::new).collect()
}

/// Kinds of findings.
pub(super) fn codes(typed: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    let names = Code::ALL.iter().map(|code| code.as_str());
    names.filter(|name| name.starts_with(typed.as_ref())).map(CompletionCandidate::new).collect()
}

/// Fields and actions.
pub(super) fn topics(typed: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    let reference = Reference::new(&builtin());
    let names = reference.topics().iter().map(|topic| topic.name().to_owned());
    names.filter(|name| name.starts_with(typed.as_ref())).map(CompletionCandidate::new).collect()
}

/// Steps of the run that the words before name.
pub(super) fn steps(typed: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    let Some(run) = run_before() else { return Vec::new() };
    let steps: Vec<String> = run.state.records().map(|(path, _)| path.to_string()).collect();
    steps.into_iter().filter(|step| step.starts_with(typed.as_ref())).map(CompletionCandidate::new).collect()
}

/// Steps that wait at their gate.
pub(super) fn gates(typed: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    let Some(run) = run_before() else { return Vec::new() };
    let open = run.state.waiting_for_people().filter(|step| run.state.is_at_gate(step)).map(ToString::to_string);
    open.filter(|step| step.starts_with(typed.as_ref())).map(CompletionCandidate::new).collect()
}

/// Steps whose emergency measure is in force.
pub(super) fn measures(typed: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    let Some(run) = run_before() else { return Vec::new() };
    let in_force = run.state.measures_in_force().into_iter().map(|measure| measure.step.to_string());
    in_force.filter(|step| step.starts_with(typed.as_ref())).map(CompletionCandidate::new).collect()
}

/// The first word of the command line that names a run. A completer sees only the word that is being typed, but the
/// shell hands the whole line to the program.
fn run_before() -> Option<KnownRun> {
    let words = std::env::args().skip_while(|word| word != "--").skip(2);
    let mut named =
        words.filter(|word| !word.starts_with('-') && word.chars().any(|c| c.is_ascii_digit() || word == "last"));
    named.find_map(|word| KnownRun::find(&word).ok())
}

/// Runs, the newest first.
pub(super) fn runs(typed: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    let all = Store::new(env::state_folder()).list().unwrap_or_default();
    let ids = all.into_iter().map(|run| run.id.to_string());
    ids.chain(["last".to_owned()])
        .filter(|id| id.starts_with(typed.as_ref()))
        .take(50)
        .map(CompletionCandidate::new)
        .collect()
}
