//! `runbook show`: what is known of a run.

use std::sync::Arc;

use clap::Args;

use crate::report::{Console, Mode};
use crate::runlog::{Record, Store};

use super::env;
use super::errors::CliError;
use super::exit::Exit;
use super::flags::Format;

/// Arguments of `runbook show`.
#[derive(Debug, Args)]
pub(super) struct Show {
    /// The run: its id, a part of it, or `last`; or a file: an export.
    #[arg(value_name = "RUN|FILE", add = clap_complete::engine::ArgValueCompleter::new(super::completions::runs))]
    run: String,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

impl Show {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let record = Record::find(&Store::new(env::state_folder()), &self.run)?;
        let plan = Arc::new(record.plan()?);
        let entries = record.entries()?;
        let summary = super::report::summary(&self.run, &plan, entries.clone())?;
        match self.format {
            Format::Json => super::print_json(&summary)?,
            Format::Text => {
                // The same lines as while it ran.
                let mut console = Console::new(plan, Mode::Plain, std::io::stdout()).log(record.log_path());
                entries.iter().for_each(|entry| console.event(&entry.recorded));
                console.finish(&summary);
            }
        }
        Ok(Exit::Succeeded)
    }
}
