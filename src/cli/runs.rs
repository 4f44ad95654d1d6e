//! `runbook runs`: the runs on this machine, the newest first; and their removal.

use std::sync::Arc;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::base::{HumanDuration, clock};
use crate::run::RunState;
use crate::runlog::{RunFolder, Store};

use super::drive::replay;
use super::env;
use super::errors::CliError;
use super::exit::Exit;
use super::flags::Format;
use super::prune::Prune;

/// Arguments of `runbook runs`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, disable_help_subcommand = true)]
pub(super) struct Runs {
    #[command(subcommand)]
    command: Option<Command>,
    /// At most this many.
    #[arg(long, short = 'n', default_value_t = 20)]
    most: usize,
    /// How to print them.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Remove runs that are over and old.
    Prune(Prune),
}

#[derive(Debug, Serialize)]
struct Row {
    run: String,
    runbook: String,
    state: String,
    drill: Option<String>,
    by: String,
    duration: Option<HumanDuration>,
    in_force: usize,
}

impl Runs {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        if let Some(Command::Prune(prune)) = self.command {
            return prune.run();
        }
        let folders = Store::new(env::state_folder()).list()?;
        let rows: Vec<Row> = folders.iter().take(self.most).map(row).collect();
        match self.format {
            Format::Json => super::print_json(&rows)?,
            Format::Text if rows.is_empty() => anstream::eprintln!("no runs yet"),
            Format::Text => super::print(&table(&rows))?,
        }
        Ok(Exit::Succeeded)
    }
}

/// A run that cannot be read is listed all the same, with the reason.
fn row(folder: &RunFolder) -> Row {
    match state_of(folder) {
        Ok(state) => Row {
            run: folder.id.to_string(),
            runbook: state.plan().runbook().name.to_string(),
            state: state_word(&state).to_owned(),
            drill: state.drill().map(str::to_owned),
            by: state.started_by().unwrap_or_default().to_owned(),
            duration: state.started_at().map(|from| HumanDuration(clock::until(from, state.now()))),
            in_force: state.measures_in_force().len(),
        },
        Err(error) => Row {
            run: folder.id.to_string(),
            runbook: "?".to_owned(),
            state: format!("unreadable: {error}"),
            drill: None,
            by: String::new(),
            duration: None,
            in_force: 0,
        },
    }
}

/// The state of a run, from its folder.
pub(super) fn state_of(folder: &RunFolder) -> Result<RunState, CliError> {
    let plan = Arc::new(folder.plan()?);
    let entries = crate::runlog::read(&folder.log())?;
    replay(folder, &plan, entries.iter().map(|entry| &entry.recorded))
}

/// Where a run stands, in a word or two.
pub(super) fn state_word(state: &RunState) -> &'static str {
    match state.outcome() {
        Some(outcome) => outcome.as_str(),
        None if state.waiting_for_people().next().is_some() => "waiting for a person",
        None => "not finished",
    }
}

fn table(rows: &[Row]) -> String {
    let cells: Vec<[String; 6]> = rows
        .iter()
        .map(|row| {
            let mut state = row.state.clone();
            if row.in_force > 0 {
                state.push_str(&format!(", {} in force", row.in_force));
            }
            [
                row.run.clone(),
                row.runbook.clone(),
                state,
                row.duration.map(HumanDuration::rounded).unwrap_or_default(),
                row.by.trim_start_matches("user:").to_owned(),
                row.drill.as_ref().map(|name| format!("drill {name}")).unwrap_or_default(),
            ]
        })
        .collect();
    let widths: Vec<usize> =
        (0..6).map(|column| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)).collect();
    cells
        .iter()
        .map(|row| {
            let line: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}", width = *width)).collect();
            format!("{}\n", line.join("  ").trim_end())
        })
        .collect()
}
