//! `runbook watch`: follows a run that another process leads. Only reads.

use std::time::{Duration, Instant};

use clap::Args;

use crate::base::StepPath;
use crate::report::{Console, Mode};
use crate::runlog::{RunFolder, Store};

use super::drive::summary;
use super::env;
use super::errors::CliError;
use super::exit::Exit;
use super::known::KnownRun;

/// How often a log is looked at.
const EVERY: Duration = Duration::from_millis(100);

/// Arguments of `runbook watch`.
#[derive(Debug, Args)]
pub(super) struct Watch {
    /// The run: its id, a part of it, or `last`.
    #[arg(value_name = "RUN", add = clap_complete::engine::ArgValueCompleter::new(super::completions::runs))]
    run: String,
}

impl Watch {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let folder = Store::new(env::state_folder()).find(&self.run)?;
        let mode = if env::stdout_is_terminal() { Mode::Live } else { Mode::Plain };
        let mut console = Console::new(folder.plan()?.into(), mode, anstream::stdout()).log(folder.log());
        let mut told = 0;
        let mut length = None;
        loop {
            let began = Instant::now();
            // Asked for before the log is read: whoever has ended by then has written all it ever will.
            let is_led = crate::runlog::is_led(&folder.log());
            let now = std::fs::metadata(folder.log()).map(|log| log.len()).ok();
            if now != length || !is_led {
                length = now;
                // A last line that is not whole yet is left for the next look.
                let entries = crate::runlog::read(&folder.log())?;
                entries.iter().skip(told).for_each(|entry| console.event(&entry.recorded));
                told = told.max(entries.len());
            }
            if !is_led {
                return tell_end(&folder, console);
            }
            // A long log takes a while to read; whoever watches must not keep the machine from its work.
            std::thread::sleep(EVERY.max(began.elapsed() * 4));
        }
    }
}

/// The run is over, or nobody leads it: says how it ended, or how to go on.
fn tell_end(folder: &RunFolder, mut console: Console) -> Result<Exit, CliError> {
    let run = KnownRun::of(folder.clone())?;
    console.finish(&summary(folder)?);
    if let Some(outcome) = run.state.outcome() {
        return Ok(outcome.into());
    }
    let id = &folder.id;
    anstream::eprintln!("no process leads this run; go on with: runbook resume {id}");
    let waiting: Vec<&StepPath> = run.state.waiting_for_people().collect();
    for step in waiting.iter().filter(|step| run.state.is_at_gate(step)) {
        anstream::eprintln!("or answer first:              runbook approve {id} {step}");
    }
    Ok(if waiting.is_empty() { Exit::Stuck } else { Exit::Waiting })
}
