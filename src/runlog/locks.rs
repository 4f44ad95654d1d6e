//! Locks across runs: what only one run at a time may hold, by name, with a number that grows at every change of hands.
//!
//! A lock belongs to a run, not to a process: a run that waits for a person overnight holds its locks all night. A lock
//! whose run is over, or gone, is free. A lock whose run is neither over nor being led stays held, because half-done work
//! may stand behind it; a person resumes that run, or breaks the lock.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::store::Store;
use crate::base::{Digest, RunId, Timestamp};
use crate::run::{Event, Held};

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The lock's name.
    pub name: String,
    /// How often it has changed hands.
    pub epoch: u64,
    /// The run that holds it; `None` when nobody does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// Since when, or when it became free.
    pub since: Timestamp,
    /// Who started that run, or broke the lock.
    pub by: String,
    /// Why it was broken, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<String>,
}

/// Why a lock cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another run holds it.
    #[error(
        "the lock `{}` is held by run {} of {} since {}{}",
        .holder.name,
        .holder.run.as_ref().map(RunId::as_str).unwrap_or("?"),
        .holder.by,
        .holder.since.strftime("%H:%M"),
        if *.is_led { "" } else { ", which no process leads at the moment" }
    )]
    Held {
        /// Who.
        holder: Box<Holder>,
        /// Does a process lead that run now?
        is_led: bool,
    },
    /// The run held it, and lost it meanwhile.
    #[error(
        "the lock `{name}` has changed hands since this run held it: it had number {had}, and has number {has} now"
    )]
    Fenced {
        /// Its name.
        name: String,
        /// The number the run knows.
        had: u64,
        /// The number it has now.
        has: u64,
    },
    /// There is no such lock.
    #[error("nobody holds a lock `{0}`")]
    Unknown(String),
    /// The system said no.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

/// All locks on this machine, of one user.
#[derive(Debug, Clone)]
pub struct LockStore {
    store: Store,
    folder: PathBuf,
}

impl LockStore {
    /// The locks of the runs in a store.
    pub fn of(store: &Store) -> Self {
        Self { folder: store.root().join("locks"), store: store.clone() }
    }

    /// Takes a lock for a run. `had` is the number the run knows it by, when it held it before and has not been over
    /// since.
    pub fn take(&self, name: &str, run: &RunId, by: &str, had: Option<u64>, now: Timestamp) -> Result<Held, LockError> {
        let _alone = self.alone()?;
        let before = self.read(name)?;
        let has = before.as_ref().map_or(0, |holder| holder.epoch);
        if let Some(had) = had.filter(|had| *had != has) {
            return Err(LockError::Fenced { name: name.to_owned(), had, has });
        }
        if let Some(holder) = before
            && let Some(other) = &holder.run
        {
            if other == run {
                return Ok(Held { name: name.to_owned(), epoch: has });
            }
            if !self.is_over(other) {
                let is_led = self.store.find(other.as_str()).is_ok_and(|folder| super::file::is_led(&folder.log()));
                return Err(LockError::Held { holder: Box::new(holder), is_led });
            }
        }
        let epoch = has + 1;
        let (name, by) = (name.to_owned(), by.to_owned());
        self.write(&Holder { name: name.clone(), epoch, run: Some(run.clone()), since: now, by, broken: None })?;
        Ok(Held { name, epoch })
    }

    /// Gives back every lock that a run holds.
    pub fn release(&self, run: &RunId, now: Timestamp) -> Result<(), LockError> {
        if !self.folder.exists() {
            return Ok(());
        }
        let _alone = self.alone()?;
        for mut holder in self.list()?.into_iter().filter(|holder| holder.run.as_ref() == Some(run)) {
            (holder.run, holder.since) = (None, now);
            self.write(&holder)?;
        }
        Ok(())
    }

    /// Breaks a lock whose run nobody leads. That run cannot go on as if it still held it.
    pub fn break_open(&self, name: &str, by: &str, reason: &str, now: Timestamp) -> Result<Holder, LockError> {
        let _alone = self.alone()?;
        let Some(holder) = self.read(name)?.filter(|holder| holder.run.is_some()) else {
            return Err(LockError::Unknown(name.to_owned()));
        };
        let run = holder.run.as_ref().and_then(|run| self.store.find(run.as_str()).ok());
        if run.is_some_and(|folder| super::file::is_led(&folder.log())) {
            return Err(LockError::Held { holder: Box::new(holder), is_led: true });
        }
        let (epoch, by, broken) = (holder.epoch + 1, by.to_owned(), Some(reason.to_owned()));
        self.write(&Holder { name: name.to_owned(), epoch, run: None, since: now, by, broken })?;
        Ok(holder)
    }

    /// Every lock that a run holds which is not over, by name; and whether a process leads that run.
    pub fn held(&self) -> Result<Vec<(Holder, bool)>, LockError> {
        let held = self.list()?.into_iter().filter_map(|holder| {
            let run = holder.run.clone()?;
            let is_led = self.store.find(run.as_str()).is_ok_and(|folder| super::file::is_led(&folder.log()));
            (!self.is_over(&run)).then_some((holder, is_led))
        });
        Ok(held.collect())
    }

    /// Is a run over, or gone? What cannot be read may still be going on.
    fn is_over(&self, run: &RunId) -> bool {
        let Ok(folder) = self.store.find(run.as_str()) else { return true };
        let Ok(entries) = super::entries(&folder.log()) else { return false };
        matches!(entries.last(), Some(Ok(entry)) if matches!(entry.recorded.event, Event::RunFinished { .. }))
    }

    fn list(&self) -> Result<Vec<Holder>, LockError> {
        let entries = match std::fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(self.io(&self.folder, error)),
        };
        let mut found: Vec<Holder> = entries
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
            .filter_map(|path| serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok())
            .collect();
        found.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(found)
    }

    fn path(&self, name: &str) -> PathBuf {
        // A name may hold what a file's name may not.
        self.folder.join(format!("{}.json", Digest::of(name.as_bytes())))
    }

    fn read(&self, name: &str) -> Result<Option<Holder>, LockError> {
        let path = self.path(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text).map(Some).map_err(|error| self.io(&path, error.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.io(&path, error)),
        }
    }

    fn write(&self, holder: &Holder) -> Result<(), LockError> {
        let path = self.path(&holder.name);
        let temporary = path.with_extension("new");
        let write = || {
            let mut file = File::create(&temporary)?;
            file.write_all(serde_json::to_string(holder)?.as_bytes())?;
            file.sync_data()?;
            std::fs::rename(&temporary, &path)?;
            File::open(&self.folder)?.sync_all()
        };
        write().map_err(|error| self.io(&path, error))
    }

    /// Nobody else looks at or changes a lock while this lives.
    fn alone(&self) -> Result<File, LockError> {
        let path = self.folder.join(".alone");
        let open = || {
            std::fs::create_dir_all(&self.folder)?;
            let file = std::fs::OpenOptions::new().create(true).truncate(false).write(true).open(&path)?;
            file.lock()?;
            Ok(file)
        };
        open().map_err(|error| self.io(&path, error))
    }

    fn io(&self, path: &Path, source: io::Error) -> LockError {
        LockError::Io { path: path.display().to_string(), source }
    }
}
