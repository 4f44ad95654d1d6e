//! `runbook show`: what is known of a run.

use std::sync::Arc;

use clap::Args;

use crate::report::Summary;
use crate::runlog::{RunFolder, Store};

use super::env;
use super::errors::CliError;
use super::exit::Exit;
use super::flags::Format;

/// Arguments of `runbook show`.
#[derive(Debug, Args)]
pub(super) struct Show {
    /// The run: its id, a part of it, or `last`.
    #[arg(value_name = "RUN", add = clap_complete::engine::ArgValueCompleter::new(super::completions::runs))]
    run: String,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

impl Show {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let folder = Store::new(env::state_folder()).find(&self.run)?;
        let summary = summary(&folder)?;
        match self.format {
            Format::Json => super::print_json(&summary)?,
            Format::Text => super::print(&summary.text())?,
        }
        Ok(Exit::Succeeded)
    }
}

/// Everything that is known of a run.
pub(super) fn summary(folder: &RunFolder) -> Result<Summary, CliError> {
    let plan = Arc::new(folder.plan()?);
    let entries = crate::runlog::read(&folder.log())?;
    Summary::of(&plan, &crate::runlog::events(entries))
        .map_err(|refused| CliError::Replay { run: folder.id.to_string(), reason: refused.to_string() })
}
