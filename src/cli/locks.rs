//! `runbook locks`: what only one run at a time may hold, who holds it, and how to break it open.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::base::clock::SystemClock;
use crate::base::{Clock, RunId, Timestamp};
use crate::engine::Locks;
use crate::plan::{LockName, Plan, lock_names};
use crate::run::Held;
use crate::runlog::{Holder, LockError, LockStore, Store};

use super::env;
use super::errors::CliError;
use super::exit::Exit;
use super::flags::Format;

/// How often a lock that somebody waits for is looked at.
const EVERY: Duration = Duration::from_millis(200);

/// Arguments of `runbook locks`.
#[derive(Debug, Args)]
pub(super) struct LocksCommand {
    #[command(subcommand)]
    action: Option<Action>,
    /// How to print them.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Break a lock whose run nobody leads. That run cannot go on as if it still held it.
    Break {
        /// The lock's name.
        name: String,
        /// Why.
        #[arg(long)]
        reason: String,
    },
}

#[derive(Debug, Serialize)]
struct Row {
    #[serde(flatten)]
    holder: Holder,
    is_led: bool,
}

impl LocksCommand {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let store = Store::new(env::state_folder());
        let locks = LockStore::of(&store);
        match self.action {
            Some(Action::Break { name, reason }) => {
                let holder = locks.break_open(&name, &env::user(), &reason, SystemClock.now())?;
                let run = holder.run.as_ref().map(ToString::to_string).unwrap_or_default();
                anstream::eprintln!("the lock `{name}` is free; run {run} must take it anew before it can go on");
            }
            None => {
                let rows: Vec<Row> = locks.held()?.into_iter().map(|(holder, is_led)| Row { holder, is_led }).collect();
                match self.format {
                    Format::Json => super::print_json(&rows)?,
                    Format::Text if rows.is_empty() => anstream::eprintln!("no run holds a lock"),
                    Format::Text => rows.iter().try_for_each(|row| super::print(&line(row)))?,
                }
            }
        }
        Ok(Exit::Succeeded)
    }
}

fn line(row: &Row) -> String {
    let Holder { name, epoch, run, since, by, .. } = &row.holder;
    let run = run.as_ref().map(RunId::as_str).unwrap_or("?");
    let led = if row.is_led { "" } else { "  no process leads it" };
    let since = since.strftime("%Y-%m-%d %H:%M");
    format!("{name}  held by {run} of {} since {since} UTC, number {epoch}{led}\n", by.trim_start_matches("user:"))
}

/// The locks of this machine, for one run.
pub(super) struct StoreLocks {
    locks: LockStore,
    by: String,
}

impl StoreLocks {
    pub(super) fn new(store: &Store) -> Arc<Self> {
        Arc::new(Self { locks: LockStore::of(store), by: env::user() })
    }

    /// Takes every lock that a plan names, waiting where it says so, and every other that the run has held before: called
    /// runbooks name their own. What was taken before one could not be had is given back. `had` says which number the run
    /// knows a lock by.
    pub(super) fn take_all(
        &self,
        plan: &Plan,
        run: &RunId,
        had: impl IntoIterator<Item = (String, Option<u64>)>,
    ) -> Result<Vec<Held>, CliError> {
        let mut had: BTreeMap<String, Option<u64>> = had.into_iter().collect();
        let mut wanted = Vec::new();
        for lock in lock_names(plan).map_err(|error| CliError::usage(format!("`locks`: {error}")))? {
            let number = had.remove(&lock.name).flatten();
            wanted.push((lock, number));
        }
        wanted.extend(had.into_iter().map(|(name, number)| (LockName { name, wait: None }, number)));
        let mut held = Vec::new();
        for (lock, number) in wanted {
            match self.wait_for(&lock, run, number) {
                Ok(one) => held.push(one),
                Err(error) => {
                    self.release(run);
                    return Err(error.into());
                }
            }
        }
        Ok(held)
    }

    fn wait_for(&self, lock: &LockName, run: &RunId, had: Option<u64>) -> Result<Held, LockError> {
        let began = Instant::now();
        let mut told = false;
        loop {
            match self.locks.take(&lock.name, run, &self.by, had, SystemClock.now()) {
                Err(error @ LockError::Held { .. }) => {
                    let Some(wait) = lock.wait.filter(|wait| began.elapsed() < wait.0) else { return Err(error) };
                    if !told {
                        anstream::eprintln!("{error}; waiting for it, at most {wait}");
                        told = true;
                    }
                    std::thread::sleep(EVERY);
                }
                other => return other,
            }
        }
    }
}

impl Locks for StoreLocks {
    fn take(&self, run: &RunId, name: &str) -> Result<Held, String> {
        let now: Timestamp = SystemClock.now();
        self.locks.take(name, run, &self.by, None, now).map_err(|error| error.to_string())
    }

    fn release(&self, run: &RunId) {
        if let Err(error) = self.locks.release(run, SystemClock.now()) {
            anstream::eprintln!(
                "its locks were not given back: {error}; they are free all the same, since the run is over"
            );
        }
    }
}
