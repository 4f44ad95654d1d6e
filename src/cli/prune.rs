//! `runbook runs prune`: removes runs that are over and old; never one that somebody may still need.

use std::time::Duration;

use clap::Args;

use crate::base::clock::SystemClock;
use crate::base::{Clock, HumanDuration, RunId, Timestamp, clock};
use crate::run::RunState;
use crate::runlog::{LogError, RunFolder, RunLock, Store};

use super::errors::CliError;
use super::exit::Exit;
use super::runs::{state_of, state_word};
use super::terminal::confirm;
use super::{env, print};

/// Arguments of `runbook runs prune`.
#[derive(Debug, Args)]
pub(super) struct Prune {
    /// Remove runs, drills too, whose last entry is older than this: `90d`.
    #[arg(long, value_name = "AGE")]
    older_than: HumanDuration,
    /// Only tell what would go.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(long, short = 'y')]
    yes: bool,
}

/// What becomes of an old run.
enum Fate {
    /// It goes. Held, so that nobody goes on with it meanwhile.
    Goes { held: RunLock, state: Box<RunState>, age: Duration },
    /// It stays, because of this.
    Stays(String),
    /// It is not old enough to be looked at.
    Young,
}

impl Prune {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let store = Store::new(env::state_folder());
        let now = SystemClock.now();
        let mut going: Vec<(RunFolder, String)> = Vec::new();
        // The oldest first. Locks are let go again before anybody is asked: people think for minutes.
        for folder in store.list()?.into_iter().rev() {
            match fate(&folder, self.older_than.0, now) {
                Fate::Goes { state, age, .. } => {
                    let age = HumanDuration(age).rounded();
                    let line =
                        format!("{}  {}  {}, {age} old", folder.id, state.plan().runbook().name, state_word(&state));
                    going.push((folder, line));
                }
                Fate::Stays(why) => print(&format!("stays  {}  {why}\n", folder.id))?,
                Fate::Young => {}
            }
        }
        if self.dry_run {
            let mut bytes = 0;
            for (folder, line) in &going {
                bytes += folder.size()?;
                print(&format!("would go  {line}\n"))?;
            }
            print(&format!("{} would go, {}\n", runs(going.len()), size(bytes)))?;
            return Ok(Exit::Succeeded);
        }
        if !going.is_empty() && !self.yes {
            if !env::is_attended() {
                return Err(CliError::Usage {
                    message: format!(
                        "{} would go, and nobody can be asked here; nothing was removed",
                        runs(going.len())
                    ),
                    hint: Some("look with `--dry-run`, then say `--yes`".to_owned()),
                });
            }
            going.iter().for_each(|(_, line)| anstream::eprintln!("{line}"));
            if !confirm(&format!("Remove {} for good?", runs(going.len()))) {
                return Err(CliError::usage("not confirmed; nothing was removed"));
            }
        }
        // What an earlier one that was killed has left.
        let mut bytes = store.sweep()?;
        let mut count = 0;
        for (folder, line) in going {
            match fate(&folder, self.older_than.0, now) {
                Fate::Goes { held, .. } => {
                    bytes += store.remove(&folder, held)?;
                    count += 1;
                    print(&format!("removed  {line}\n"))?;
                }
                Fate::Stays(why) => print(&format!("stays  {}  {why}\n", folder.id))?,
                Fate::Young => {}
            }
        }
        print(&format!("{} removed, {} freed\n", runs(count), size(bytes)))?;
        Ok(Exit::Succeeded)
    }
}

fn fate(folder: &RunFolder, limit: Duration, now: Timestamp) -> Fate {
    // A run is at least as old as its last entry, and that came after its beginning.
    let Some(begun) = begun(&folder.id) else { return Fate::Stays("its id does not tell how old it is".to_owned()) };
    if clock::until(begun, now) < limit {
        return Fate::Young;
    }
    let held = match folder.lock() {
        Ok(held) => held,
        Err(LogError::Locked { .. }) => return Fate::Stays("another process is running it".to_owned()),
        Err(error) => return Fate::Stays(format!("it cannot be looked at: {error}")),
    };
    let state = match state_of(folder) {
        Ok(state) => state,
        Err(error) => return Fate::Stays(format!("it cannot be looked at: {error}")),
    };
    // A drill's events tell the scenario's time.
    let last = if state.drill().is_some() { begun } else { begun.max(state.now()) };
    let age = clock::until(last, now);
    if age < limit {
        return Fate::Young;
    }
    let in_force: Vec<String> = state.measures_in_force().iter().map(|measure| format!("`{}`", measure.step)).collect();
    if !in_force.is_empty() && state.drill().is_none() {
        return Fate::Stays(format!("an emergency measure is in force: {}", in_force.join(", ")));
    }
    if state.outcome().is_none() {
        return Fate::Stays(state_word(&state).to_owned());
    }
    Fate::Goes { held, state: Box::new(state), age }
}

/// When a run began, from its id: `20261123-201758-…`.
fn begun(id: &RunId) -> Option<Timestamp> {
    let text = id.as_str();
    let part = |from: usize, to: usize| text.get(from..to);
    let (date, time) = (part(0, 8)?, part(9, 15)?);
    let split = |text: &'_ str, at: [usize; 2]| {
        Some([text.get(..at[0])?, text.get(at[0]..at[1])?, text.get(at[1]..)?].map(str::to_owned))
    };
    let ([year, month, day], [hour, minute, second]) = (split(date, [4, 6])?, split(time, [2, 4])?);
    format!("{year}-{month}-{day}T{hour}:{minute}:{second}Z").parse().ok()
}

fn runs(count: usize) -> String {
    if count == 1 { "1 run".to_owned() } else { format!("{count} runs") }
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} B"),
        1024..1_048_576 => format!("{} KiB", bytes / 1024),
        _ => format!("{} MiB", bytes / 1_048_576),
    }
}
