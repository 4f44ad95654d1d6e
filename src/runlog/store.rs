//! The folder of runs: one folder each, named by the run's id.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::blobs::Payload;
use super::disk::{Disk, DiskFile, RealDisk};
use super::entry;
use super::file::LogError;
use crate::base::{RunId, Timestamp};
use crate::plan::{Plan, PlanError};

/// The stored plan, in the run's folder.
pub(super) const PLAN: &str = "plan.json";
/// The log, in the run's folder.
pub(super) const LOG: &str = "log.jsonl";

/// Why a run cannot be found or kept.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The system said no.
    #[error("{path}: {source}")]
    Io {
        /// The file or folder.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// There is no such run.
    #[error("there is no run `{wanted}` in {folder}")]
    NoRun {
        /// What was asked for.
        wanted: String,
        /// Where it was looked for.
        folder: String,
    },
    /// More than one run fits.
    #[error("`{wanted}` could be {}", .fits.join(" or "))]
    Ambiguous {
        /// What was asked for.
        wanted: String,
        /// The runs that fit.
        fits: Vec<String>,
    },
    /// The stored plan cannot be read.
    #[error("{path}: {source}")]
    Plan {
        /// The file.
        path: String,
        /// Why.
        source: PlanError,
    },
    /// The stored plan is not the one that the log's first line names.
    #[error("{path}: the stored plan {reason}")]
    PlanChanged {
        /// The file.
        path: String,
        /// How it differs.
        reason: String,
    },
}

/// All runs on this machine, of one user.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

/// One run's folder.
#[derive(Debug, Clone)]
pub struct RunFolder {
    /// The run's id.
    pub id: RunId,
    path: PathBuf,
}

impl Store {
    /// The store in a folder, which need not exist yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder that holds everything.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder that holds the runs.
    pub fn runs_folder(&self) -> PathBuf {
        self.root.join("runs")
    }

    /// Makes a folder for a new run and stores its plan there, durably.
    pub fn create(&self, plan: &Plan, now: Timestamp) -> Result<RunFolder, StoreError> {
        let runs = self.runs_folder();
        std::fs::create_dir_all(&runs).map_err(|error| io_error(&runs, error))?;
        loop {
            let id = RunId::new(now, entropy());
            let path = runs.join(id.as_str());
            // What steps print is nobody else's business.
            match std::fs::DirBuilder::new().mode(0o700).create(&path) {
                Ok(()) => {
                    let folder = RunFolder { id, path };
                    let made = folder.write_durably(PLAN, plan.to_json().as_bytes()).and_then(|()| {
                        File::open(&runs).and_then(|runs| runs.sync_all()).map_err(|error| io_error(&runs, error))
                    });
                    if made.is_err() {
                        // Nothing has happened in it, so nothing should be listed. The first error is the one to tell.
                        let _ = std::fs::remove_dir_all(&folder.path);
                    }
                    return made.map(|()| folder);
                }
                // Two runs in the same second drew the same letters: draw again.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(io_error(&path, error)),
            }
        }
    }

    /// Every run, the newest first. Ids sort by time, so no log needs reading.
    pub fn list(&self) -> Result<Vec<RunFolder>, StoreError> {
        let runs = self.runs_folder();
        let entries = match std::fs::read_dir(&runs) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(io_error(&runs, error)),
        };
        let mut found: Vec<RunFolder> = entries
            .filter_map(Result::ok)
            .filter_map(|entry| {
                let id = RunId::parse(entry.file_name().to_str()?)?;
                Some(RunFolder { id, path: entry.path() })
            })
            .collect();
        found.sort_by(|one, other| other.id.cmp(&one.id));
        Ok(found)
    }

    /// Finds a run by its id, the start or the end of its id, or `last`.
    pub fn find(&self, wanted: &str) -> Result<RunFolder, StoreError> {
        let all = self.list()?;
        let none = || StoreError::NoRun { wanted: wanted.to_owned(), folder: self.runs_folder().display().to_string() };
        if wanted == "last" {
            return all.into_iter().next().ok_or_else(none);
        }
        let fits: Vec<RunFolder> = all
            .into_iter()
            .filter(|run| {
                !wanted.is_empty() && (run.id.as_str().starts_with(wanted) || run.id.as_str().ends_with(wanted))
            })
            .collect();
        match fits.as_slice() {
            [] => Err(none()),
            [one] => Ok(one.clone()),
            several => Err(StoreError::Ambiguous {
                wanted: wanted.to_owned(),
                fits: several.iter().map(|run| run.id.to_string()).collect(),
            }),
        }
    }
}

/// A run that no process writes while this is held.
#[derive(Debug)]
pub struct RunLock {
    file: Box<dyn DiskFile>,
}

/// What a folder is named while it is being deleted: no id begins so, so nobody lists half a run.
const GOING: &str = ".gone-";

impl Store {
    /// Removes a run whole. First its name goes, in one piece. Returns how many bytes it had.
    pub fn remove(&self, folder: &RunFolder, held: RunLock) -> Result<u64, StoreError> {
        let bytes = folder.size()?;
        let going = self.runs_folder().join(format!("{GOING}{}", folder.id));
        std::fs::rename(&folder.path, &going).map_err(|error| io_error(&folder.path, error))?;
        let runs = self.runs_folder();
        File::open(&runs).and_then(|runs| runs.sync_all()).map_err(|error| io_error(&runs, error))?;
        drop(held.file);
        std::fs::remove_dir_all(&going).map_err(|error| io_error(&going, error))?;
        Ok(bytes)
    }

    /// Removes what a removal that was killed has left. Returns how many bytes that were.
    pub fn sweep(&self) -> Result<u64, StoreError> {
        let runs = self.runs_folder();
        let entries = match std::fs::read_dir(&runs) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(io_error(&runs, error)),
        };
        let mut bytes = 0;
        for path in entries.filter_map(Result::ok).map(|entry| entry.path()) {
            let is_going = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(GOING.as_bytes()));
            if is_going && path.is_dir() {
                bytes += size(&path).map_err(|error| io_error(&path, error))?;
                std::fs::remove_dir_all(&path).map_err(|error| io_error(&path, error))?;
            }
        }
        Ok(bytes)
    }
}

/// How many bytes the files of a folder have.
fn size(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() { size(&entry.path())? } else { entry.metadata()?.len() };
    }
    Ok(bytes)
}

impl RunFolder {
    /// How many bytes its files have.
    pub fn size(&self) -> Result<u64, StoreError> {
        size(&self.path).map_err(|error| io_error(&self.path, error))
    }

    /// Keeps every other process from writing this run.
    pub fn lock(&self) -> Result<RunLock, LogError> {
        let path = self.log();
        let file = RealDisk.open(&path).map_err(|error| LogError::io(&path, error))?;
        super::file::lock(file.as_ref(), &path)?;
        Ok(RunLock { file })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The run log.
    pub fn log(&self) -> PathBuf {
        self.path.join(LOG)
    }

    /// The stored plan.
    pub fn plan(&self) -> Result<Plan, StoreError> {
        let path = self.path.join(PLAN);
        let bytes = std::fs::read(&path).map_err(|error| io_error(&path, error))?;
        let named = first_line(&self.log()).and_then(|line| entry::plan_named(&line));
        plan_of(&bytes, named.as_ref(), &path.display().to_string())
    }

    /// Writes a file of this run so that it is there whole or not at all, even after a power cut.
    pub fn write_durably(&self, name: &str, bytes: &[u8]) -> Result<(), StoreError> {
        let path = self.path.join(name);
        let temporary = self.path.join(format!(".{name}.new"));
        let write = || {
            let mut file = File::create(&temporary)?;
            file.write_all(bytes)?;
            file.sync_data()?;
            std::fs::rename(&temporary, &path)?;
            File::open(&self.path)?.sync_all()
        };
        write().map_err(|error| io_error(&path, error))
    }

    /// Reads a file of this run; `None` when there is none of this name.
    pub fn read(&self, name: &str) -> Result<Option<String>, StoreError> {
        let path = self.path.join(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(io_error(&path, error)),
        }
    }
}

/// A plan from its stored form, held against its digest and, where a log's first line names its bytes, against those.
pub(super) fn plan_of(bytes: &[u8], named: Option<&Payload>, path: &str) -> Result<Plan, StoreError> {
    let unreadable = |source| StoreError::Plan { path: path.to_owned(), source };
    let text = std::str::from_utf8(bytes).map_err(|error| unreadable(PlanError::Unreadable(error.to_string())))?;
    let plan = Plan::from_json(text).map_err(unreadable)?;
    match named.and_then(|named| named.differs(bytes)) {
        Some(reason) => Err(StoreError::PlanChanged { path: path.to_owned(), reason }),
        None => Ok(plan),
    }
}

/// The first line of a log without its line break; `None` while there is none. The rest is not read.
fn first_line(log: &Path) -> Option<Vec<u8>> {
    use std::io::BufRead;
    let mut line = Vec::new();
    io::BufReader::new(File::open(log).ok()?).read_until(b'\n', &mut line).ok()?;
    (line.pop() == Some(b'\n')).then_some(line)
}

fn io_error(path: &Path, source: io::Error) -> StoreError {
    StoreError::Io { path: path.display().to_string(), source }
}

/// Differs from run to run. Names need not be unguessable, only distinct, so the hasher's seed from the system will do.
fn entropy() -> u64 {
    use std::hash::{BuildHasher, Hasher};
    std::collections::hash_map::RandomState::new().build_hasher().finish()
}
