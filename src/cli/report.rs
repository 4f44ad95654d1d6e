//! `runbook report`: writes a run's report from its log.

use std::path::PathBuf;

use clap::Args;

use crate::action::Reporter;
use crate::report::LogReporter;
use crate::runlog::Store;

use super::env;
use super::errors::CliError;
use super::exit::Exit;

/// Arguments of `runbook report`.
#[derive(Debug, Args)]
pub(super) struct Report {
    /// The run: its id, a part of it, or `last`.
    #[arg(value_name = "RUN", add = clap_complete::engine::ArgValueCompleter::new(super::completions::runs))]
    run: String,
    /// The template: a file, or the name of a built-in one.
    #[arg(long, default_value = "post-incident.md.j2")]
    template: String,
    /// Write it to a file instead of printing it.
    #[arg(long, short = 'o', value_name = "FILE")]
    output: Option<PathBuf>,
}

impl Report {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let store = Store::new(env::state_folder());
        let folder = store.find(&self.run)?;
        let here = std::env::current_dir().map_err(|error| CliError::file(std::path::Path::new("."), error))?;
        let text = LogReporter::new(store, &here).render(&folder.id, &self.template).map_err(CliError::Report)?;
        match self.output {
            Some(path) => {
                std::fs::write(&path, text).map_err(|error| CliError::file(&path, error))?;
                anstream::eprintln!("{} written", path.display());
            }
            None => super::print(&text)?,
        }
        Ok(Exit::Succeeded)
    }
}
