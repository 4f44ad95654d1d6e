//! The log as a file: appended durably, read whole, mended only where a power cut can have torn it.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::RunLog;
use super::entry::{self, Entry, LineError};
use crate::base::{Digest, Redactor};
use crate::run::Recorded;

/// Why a log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The system said no.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A line in the middle is not what was written.
    #[error("{path}:{line}: the log is damaged here (byte {offset}): {reason}")]
    Damaged {
        /// The file.
        path: String,
        /// The line, from 1.
        line: u64,
        /// Where the line begins.
        offset: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// Another process writes it.
    #[error("{path}: another process is running this run")]
    Locked {
        /// The file.
        path: String,
    },
}

impl LogError {
    fn io(path: &Path, source: io::Error) -> Self {
        Self::Io { path: path.display().to_string(), source }
    }
}

/// What was mended when a log was opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repair {
    /// How many bytes of an unfinished last line were dropped.
    pub dropped: usize,
}

/// A log open for appending. Holds a lock on the file: one writer per run.
#[derive(Debug)]
pub struct LogFile {
    file: File,
    path: PathBuf,
    seq: u64,
    head: Digest,
    redactor: Arc<Redactor>,
    buffer: Vec<u8>,
    /// Set when a write failed: what is on disk is unknown, so nothing more may follow it.
    broken: bool,
}

impl LogFile {
    /// Starts a log.
    pub fn create(path: &Path, redactor: Arc<Redactor>) -> Result<Self, LogError> {
        let file = OpenOptions::new().write(true).create_new(true).open(path).map_err(|e| LogError::io(path, e))?;
        lock(&file, path)?;
        sync_folder(path)?;
        Ok(Self {
            file,
            path: path.to_owned(),
            seq: 0,
            head: Digest::zero(),
            redactor,
            buffer: Vec::new(),
            broken: false,
        })
    }

    /// Opens a log to go on with it. An unfinished last line is dropped: its commit never returned.
    pub fn open(path: &Path, redactor: Arc<Redactor>) -> Result<(Self, Vec<Entry>, Option<Repair>), LogError> {
        let mut file =
            OpenOptions::new().read(true).write(true).open(path).map_err(|error| LogError::io(path, error))?;
        lock(&file, path)?;
        let (entries, whole, torn) = read_all(path)?;
        let repair = (torn > 0).then_some(Repair { dropped: torn });
        if repair.is_some() {
            let length = u64::try_from(whole).unwrap_or(u64::MAX);
            file.set_len(length).and_then(|()| file.sync_data()).map_err(|error| LogError::io(path, error))?;
        }
        file.seek(SeekFrom::End(0)).map_err(|error| LogError::io(path, error))?;
        let log = Self {
            file,
            path: path.to_owned(),
            seq: entries.last().map_or(0, |entry| entry.seq),
            head: entries.last().map_or_else(Digest::zero, |entry| entry.hash.clone()),
            redactor,
            buffer: Vec::new(),
            broken: false,
        };
        Ok((log, entries, repair))
    }

    /// The hash of the last line.
    pub fn head(&self) -> &Digest {
        &self.head
    }
}

impl RunLog for LogFile {
    fn append(&mut self, events: &[Recorded]) -> io::Result<()> {
        if self.broken {
            let path = self.path.display();
            return Err(io::Error::other(format!("{path}: an earlier write failed, so nothing more is written")));
        }
        self.buffer.clear();
        let (mut seq, mut head) = (self.seq, self.head.clone());
        for recorded in events {
            seq += 1;
            head = entry::write(&mut self.buffer, recorded, seq, &head, &self.redactor)?;
        }
        // After a failed fsync the kernel may have thrown the pages away, so a later success would prove nothing.
        self.broken = true;
        self.file.write_all(&self.buffer)?;
        self.file.sync_data()?;
        self.broken = false;
        (self.seq, self.head) = (seq, head);
        Ok(())
    }
}

/// Does a process lead the run that this log belongs to? It may have ended by the time this returns.
pub fn is_led(path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    matches!(file.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock))
}

fn lock(file: &File, path: &Path) -> Result<(), LogError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(std::fs::TryLockError::WouldBlock) => Err(LogError::Locked { path: path.display().to_string() }),
        Err(std::fs::TryLockError::Error(error)) => Err(LogError::io(path, error)),
    }
}

/// The name of a new file is durable only when its folder is.
fn sync_folder(path: &Path) -> Result<(), LogError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| LogError::io(folder, error))
}

/// Reads a log without changing it. An unfinished last line is left out.
pub fn read(path: &Path) -> Result<Vec<Entry>, LogError> {
    read_all(path).map(|(entries, _, _)| entries)
}

/// The entries, how many bytes they take, and how many torn bytes follow.
fn read_all(path: &Path) -> Result<(Vec<Entry>, usize, usize), LogError> {
    let bytes = std::fs::read(path).map_err(|error| LogError::io(path, error))?;
    let mut entries: Vec<Entry> = Vec::new();
    let mut head = Digest::zero();
    let mut offset = 0;
    while let Some(length) = bytes[offset..].iter().position(|byte| *byte == b'\n') {
        let line = &bytes[offset..offset + length];
        let seq = entries.last().map_or(1, |entry| entry.seq + 1);
        match entry::read(line, seq, &head) {
            Ok(entry) => {
                head = entry.hash.clone();
                entries.push(entry);
            }
            Err(reason) => return Err(damaged(path, seq, offset, &reason)),
        }
        offset += length + 1;
    }
    // Every line is written in one piece with its line break, so only a line without one can be torn.
    Ok((entries, offset, bytes.len() - offset))
}

fn damaged(path: &Path, line: u64, offset: usize, reason: &LineError) -> LogError {
    LogError::Damaged { path: path.display().to_string(), line, offset, reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::StepPath;
    use crate::run::{Cause, Event};
    use proptest::prelude::*;

    fn event(number: usize) -> Recorded {
        let because = Cause::Condition { condition: format!("number {number}") };
        let step = StepPath::parse("a").unwrap();
        Recorded { at: "2026-11-23T03:00:00Z".parse().unwrap(), event: Event::StepSkipped { step, because } }
    }

    fn written(count: usize) -> (PathBuf, Vec<u8>) {
        let folder =
            std::env::temp_dir().join(format!("runbook-log-{}-{:?}", std::process::id(), std::thread::current().id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("log.jsonl");
        let _ = std::fs::remove_file(&path);
        let mut log = LogFile::create(&path, Arc::default()).unwrap();
        for number in 0..count {
            log.append(&[event(number)]).unwrap();
        }
        let bytes = std::fs::read(&path).unwrap();
        (path, bytes)
    }

    #[test]
    fn what_is_written_reads_back_and_can_be_continued() {
        let (path, _) = written(3);
        let (mut log, entries, repair) = LogFile::open(&path, Arc::default()).unwrap();
        assert_eq!((entries.len(), repair), (3, None));
        log.append(&[event(3), event(4)]).unwrap();
        assert_eq!(read(&path).unwrap().last().map(|entry| entry.seq), Some(5));
    }

    #[test]
    fn a_second_writer_is_refused() {
        let (path, _) = written(1);
        let _first = LogFile::open(&path, Arc::default()).unwrap();
        assert!(matches!(LogFile::open(&path, Arc::default()), Err(LogError::Locked { .. })));
    }

    #[test]
    fn a_log_cut_at_any_byte_is_mended_to_its_last_whole_line() {
        let (path, bytes) = written(3);
        let ends: Vec<usize> = bytes.iter().enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| at + 1).collect();
        for cut in 0..=bytes.len() {
            std::fs::write(&path, &bytes[..cut]).unwrap();
            let (_, entries, repair) = LogFile::open(&path, Arc::default()).unwrap();
            let whole = ends.iter().filter(|end| **end <= cut).count();
            assert_eq!(entries.len(), whole, "cut at {cut}");
            assert_eq!(repair.is_some(), cut > 0 && !ends.contains(&cut), "cut at {cut}");
        }
    }

    #[test]
    fn a_secret_never_reaches_the_file() {
        let (path, _) = written(0);
        std::fs::remove_file(&path).unwrap();
        let redactor = Arc::new(Redactor::default());
        redactor.learn("hun\"ter22");
        let mut log = LogFile::create(&path, redactor).unwrap();
        let because = Cause::Condition { condition: "it was hun\"ter22".into() };
        let event = Event::StepSkipped { step: StepPath::parse("a").unwrap(), because };
        log.append(&[Recorded { event, ..event_at() }]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains("ter22") && text.contains("***"), "{text}");
        assert_eq!(read(&path).unwrap().len(), 1);
    }

    fn event_at() -> Recorded {
        event(0)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn a_flipped_bit_is_never_accepted(at in 0.0f64..1.0, bit in 0u8..8) {
            let (path, mut bytes) = written(3);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "an index from a fraction")]
            let index = ((bytes.len() - 1) as f64 * at) as usize;
            bytes[index] ^= 1 << bit;
            std::fs::write(&path, &bytes).unwrap();
            // Only the very last line break can go unnoticed as damage: then the last line is torn and dropped.
            match LogFile::open(&path, Arc::default()) {
                Err(LogError::Damaged { .. }) => {}
                Ok((_, entries, Some(_))) => prop_assert!(index == bytes.len() - 1 && entries.len() == 2),
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }
}
