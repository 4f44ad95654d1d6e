//! `runbook report`: writes a run's report from its log.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use crate::plan::Plan;
use crate::report::{self, Summary};
use crate::runlog::{Entry, Record, Store};

use super::env;
use super::errors::CliError;
use super::exit::Exit;

/// Arguments of `runbook report`.
#[derive(Debug, Args)]
pub(super) struct Report {
    /// The run: its id, a part of it, or `last`; or a file: an export.
    #[arg(value_name = "RUN|FILE", add = clap_complete::engine::ArgValueCompleter::new(super::completions::runs))]
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
        let record = Record::find(&Store::new(env::state_folder()), &self.run)?;
        let summary = summary(&self.run, &Arc::new(record.plan()?), record.entries()?)?;
        let here = std::env::current_dir().map_err(|error| CliError::file(std::path::Path::new("."), error))?;
        let text = report::render_with(&summary, &here, &self.template).map_err(CliError::Report)?;
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

/// All there is to tell of a record.
pub(super) fn summary(run: &str, plan: &Arc<Plan>, entries: Vec<Entry>) -> Result<Summary, CliError> {
    report::summary_of(plan, entries)
        .map_err(|refused| CliError::Replay { run: run.to_owned(), reason: refused.to_string() })
}
