//! `runbook completions`: shells complete commands, runbooks, runs and steps by asking the program itself.

use std::ffi::OsStr;

use clap::{Args, ValueEnum};
use clap_complete::engine::CompletionCandidate;

use crate::runlog::Store;

use super::errors::CliError;
use super::exit::Exit;
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
            let is_yaml = path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
            let looks_like_one = std::fs::read_to_string(&path)
                .is_ok_and(|text| is_yaml && text.lines().any(|line| line.starts_with("runbook:")));
            if let (true, Some(name)) = (looks_like_one, path.file_stem().and_then(OsStr::to_str)) {
                found.push(name.to_owned());
            }
        }
    }
    found.sort();
    found.dedup();
    found.into_iter().filter(|name| name.starts_with(typed.as_ref())).map(CompletionCandidate::new).collect()
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
