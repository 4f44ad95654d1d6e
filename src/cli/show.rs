//! `runbook show`: what is known of a run.

use std::sync::Arc;

use clap::Args;

use crate::report::{Console, Mode};
use crate::runlog::Store;

use super::drive::summary;
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
            Format::Text => {
                // The same lines as while it ran.
                let mut console =
                    Console::new(Arc::new(folder.plan()?), Mode::Plain, std::io::stdout()).log(folder.log());
                crate::runlog::read(&folder.log())?.iter().for_each(|entry| console.event(&entry.recorded));
                console.finish(&summary);
            }
        }
        Ok(Exit::Succeeded)
    }
}
