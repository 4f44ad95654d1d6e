//! A run that another process may lead: what its log says of it, and letters to whoever leads it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::base::clock::SystemClock;
use crate::base::{Clock, Redactor};
use crate::plan::Plan;
use crate::run::{Event, Recorded, RunState};
use crate::runlog::{Entry, Fate, Inbox, Letter, RunFolder, RunLog, Store, is_led};

use super::drive::{OpenRun, replay};
use super::env;
use super::errors::CliError;

/// How long an answer to a letter is waited for.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked for.
const EVERY: Duration = Duration::from_millis(20);

/// A run as its log tells it. Nothing is locked and nothing is changed.
pub(super) struct KnownRun {
    pub(super) folder: RunFolder,
    pub(super) plan: Arc<Plan>,
    pub(super) entries: Vec<Entry>,
    pub(super) state: RunState,
}

/// What became of a letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// What it wants is in the log.
    Granted,
    /// It lies in the inbox, for whoever leads the run next.
    Left,
}

impl KnownRun {
    /// Finds a run and reads it.
    pub(super) fn find(wanted: &str) -> Result<Self, CliError> {
        Self::of(Store::new(env::state_folder()).find(wanted)?)
    }

    /// Reads a run.
    pub(super) fn of(folder: RunFolder) -> Result<Self, CliError> {
        let plan = Arc::new(folder.plan()?);
        let entries = crate::runlog::read(&folder.log())?;
        let state = replay(&folder, &plan, entries.iter().map(|entry| &entry.recorded))?;
        if state.run().is_none() {
            return Err(CliError::not_begun(&folder));
        }
        Ok(Self { folder, plan, entries, state })
    }

    /// Does a process lead it now?
    pub(super) fn is_led(&self) -> bool {
        is_led(&self.folder.log())
    }

    /// Refuses a run that is not over.
    pub(super) fn must_be_over(&self) -> Result<(), CliError> {
        let run = self.folder.id.to_string();
        if self.is_led() {
            return Err(CliError::Led { run });
        }
        if self.state.outcome().is_none() { Err(CliError::Unfinished { run }) } else { Ok(()) }
    }

    /// Refuses a run that is over.
    pub(super) fn must_go_on(&self) -> Result<(), CliError> {
        match self.state.outcome() {
            Some(outcome) => Err(CliError::Over { run: self.folder.id.to_string(), outcome: outcome.to_string() }),
            None => Ok(()),
        }
    }

    /// Refuses a drill: its world ended with it.
    pub(super) fn must_be_real(&self) -> Result<(), CliError> {
        match self.state.drill() {
            Some(_) => Err(CliError::Usage {
                message: format!("run `{}` was a drill: nothing of what it did is in the world", self.folder.id),
                hint: Some("a drill is gone on with by `runbook resume`; to forget it, delete its folder".to_owned()),
            }),
            None => Ok(()),
        }
    }

    /// Leaves a letter for the process that leads the run, and waits until it is answered.
    pub(super) fn send(&self, letter: &Letter) -> Result<Sent, CliError> {
        self.wait_for(&self.leave(letter)?)
    }

    /// Waits until a letter is answered.
    pub(super) fn wait_for(&self, name: &str) -> Result<Sent, CliError> {
        let inbox = Inbox::of(self.folder.path());
        let began = Instant::now();
        let mut last_look = false;
        loop {
            match inbox.fate(name) {
                Fate::Granted => return Ok(Sent::Granted),
                Fate::Refused(reason) => return Err(CliError::Refused { run: self.folder.id.to_string(), reason }),
                Fate::Unread if last_look => return Ok(Sent::Left),
                // It may have been answered just before its reader went away.
                Fate::Unread if !self.is_led() => last_look = true,
                Fate::Unread if began.elapsed() > PATIENCE => return Ok(Sent::Left),
                Fate::Unread => std::thread::sleep(EVERY),
            }
        }
    }

    /// Leaves a letter for whoever leads the run next. Returns its name.
    pub(super) fn leave(&self, letter: &Letter) -> Result<String, CliError> {
        let after = self.entries.last().map_or(0, |entry| entry.seq);
        Inbox::of(self.folder.path())
            .put(letter, after, SystemClock.now())
            .map_err(|error| CliError::file(self.folder.path(), error))
    }

    /// Records an event in a run that no process leads.
    pub(super) fn record(self, event: Event) -> Result<RunState, CliError> {
        let mut run = OpenRun::open(self.folder, Arc::<Redactor>::default())?;
        let recorded = Recorded { at: SystemClock.now(), event };
        run.state.apply(&recorded).map_err(|refused| CliError::usage(refused.to_string()))?;
        run.log.append(&[recorded]).map_err(|error| CliError::Engine(crate::engine::EngineError::Log(error)))?;
        Ok(run.state)
    }
}
