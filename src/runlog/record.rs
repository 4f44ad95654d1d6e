//! A run's record, wherever it is kept: in its folder, or in one file on another machine.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::blobs::{BLOBS, BlobFolder, BlobSource};
use super::disk::RealDisk;
use super::entry::Entry;
use super::export::{self, ExportError, Manifest, io_error};
use super::file::{LogError, Scan, scan};
use super::store::{LOG, PLAN, RunFolder, Store, StoreError, plan_of};
use super::{entry, tar};
use crate::plan::Plan;

/// The plan and the log of a run, read and not yet believed.
#[derive(Debug)]
pub struct Record {
    /// Where the log is, for messages.
    pub(super) log_path: String,
    pub(super) log: Vec<u8>,
    /// Where the plan is, for messages.
    pub(super) plan_path: String,
    /// A log alone may have no plan beside it.
    pub(super) plan: Option<Vec<u8>>,
    payloads: Payloads,
    /// What an export says of itself.
    pub(super) exported: Option<Exported>,
}

/// What an export says of itself.
#[derive(Debug, Clone)]
pub struct Exported {
    /// Its list of files.
    pub manifest: Manifest,
    /// The bytes of the list, which a signature is over.
    pub signed: Vec<u8>,
    /// The signature, if it has one.
    pub signature: Option<String>,
}

#[derive(Debug)]
enum Payloads {
    Beside(PathBuf),
    Within(BTreeMap<String, Vec<u8>>),
}

impl BlobSource for Payloads {
    fn get(&self, hash: &str) -> io::Result<Cow<'_, [u8]>> {
        match self {
            Self::Beside(log) => {
                let bytes = BlobFolder::beside(log, &RealDisk).get(hash)?.into_owned();
                Ok(Cow::Owned(bytes))
            }
            Self::Within(files) => files
                .get(&format!("{BLOBS}/{hash}"))
                .map(|bytes| Cow::Borrowed(bytes.as_slice()))
                .ok_or_else(|| io::ErrorKind::NotFound.into()),
        }
    }
}

impl Record {
    /// The record of a run in the store, or the one in a file: an export, a log, or a run's folder.
    pub fn find(store: &Store, wanted: &str) -> Result<Self, ExportError> {
        let path = Path::new(wanted);
        // Ids of runs have neither.
        if wanted.contains(['/', '.']) && path.exists() {
            return Self::of_file(path);
        }
        match store.find(wanted) {
            Ok(folder) => Self::of_run(&folder),
            Err(StoreError::NoRun { .. }) if path.exists() => Self::of_file(path),
            Err(error) => Err(error.into()),
        }
    }

    /// The record of a run in the store.
    pub fn of_run(folder: &RunFolder) -> Result<Self, ExportError> {
        let log = folder.log();
        let bytes = std::fs::read(&log).map_err(|error| io_error(&log, error))?;
        Self::of_log(&log, bytes)
    }

    /// The record in a file: an export, a log, or a run's folder.
    pub fn of_file(path: &Path) -> Result<Self, ExportError> {
        let path = if path.is_dir() { path.join(LOG) } else { path.to_owned() };
        let bytes = std::fs::read(&path).map_err(|error| io_error(&path, error))?;
        let begins_like_a_log = bytes.first().is_none_or(|byte| *byte == b'{') && !tar::is_one(&bytes);
        let name = path.display().to_string();
        if begins_like_a_log {
            let record = Self::of_log(&path, bytes)?;
            // A run that has not begun has an empty log, but never without its plan.
            return match (&record.plan, record.log.as_slice()) {
                (None, []) => Err(ExportError::Damaged { path: name, offset: 0, reason: "it is empty".to_owned() }),
                _ => Ok(record),
            };
        }
        let mut opened = export::open(&name, &bytes)?;
        let mut take = |file: &str| {
            opened.files.remove(file).ok_or_else(|| ExportError::Damaged {
                path: name.clone(),
                offset: 0,
                reason: format!("it holds no `{file}`"),
            })
        };
        let (plan, log) = (take(PLAN)?, take(LOG)?);
        Ok(Self {
            log_path: format!("{name}/{LOG}"),
            log,
            plan_path: format!("{name}/{PLAN}"),
            plan: Some(plan),
            payloads: Payloads::Within(opened.files),
            exported: Some(Exported {
                manifest: opened.manifest,
                signed: opened.manifest_bytes,
                signature: opened.signature,
            }),
        })
    }

    fn of_log(path: &Path, log: Vec<u8>) -> Result<Self, ExportError> {
        let beside = path.with_file_name(PLAN);
        let plan = match std::fs::read(&beside) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(io_error(&beside, error)),
        };
        Ok(Self {
            log_path: path.display().to_string(),
            log,
            plan_path: beside.display().to_string(),
            plan,
            payloads: Payloads::Beside(path.to_owned()),
            exported: None,
        })
    }

    /// What an export says of itself; `None` when this is no export.
    pub fn exported(&self) -> Option<&Exported> {
        self.exported.as_ref()
    }

    /// Another file of the run, such as an artifact; `None` when there is none of this name.
    pub fn file(&self, name: &str) -> Option<Vec<u8>> {
        match &self.payloads {
            Payloads::Within(files) => files.get(name).cloned(),
            Payloads::Beside(log) => std::fs::read(log.with_file_name(name)).ok(),
        }
    }

    /// Where the log is, for people.
    pub fn log_path(&self) -> &str {
        &self.log_path
    }

    /// The entries, unless one is damaged.
    pub fn entries(&self) -> Result<Vec<Entry>, LogError> {
        self.scan().entries()
    }

    /// The stored plan, held against its digest and the log's first line.
    pub fn plan(&self) -> Result<Plan, StoreError> {
        let Some(bytes) = &self.plan else {
            let source = io::ErrorKind::NotFound.into();
            return Err(StoreError::Io { path: self.plan_path.clone(), source });
        };
        let first = self.log.iter().position(|byte| *byte == b'\n').and_then(|end| self.log.get(..end));
        plan_of(bytes, first.and_then(entry::plan_named).as_ref(), &self.plan_path)
    }

    pub(super) fn scan(&self) -> Scan {
        scan(&self.log, &self.log_path, &self.payloads)
    }
}
