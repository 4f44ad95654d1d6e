//! The log as a file: appended durably, read whole, mended only where a power cut can have torn it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::RunLog;
use super::blobs::{BlobFolder, BlobSource, BlobWriter, Payload};
use super::disk::{self, Disk, DiskFile, RealDisk};
use super::entry::{self, Entry, LineError};
use super::store::PLAN;
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
    /// A line was written by a newer version of this program.
    #[error(
        "{path}:{line}: the log goes on in format {format} here (byte {offset}); this version knows formats up to {}",
        entry::FORMAT
    )]
    Newer {
        /// The file.
        path: String,
        /// The line, from 1.
        line: u64,
        /// Where the line begins.
        offset: usize,
        /// Its format.
        format: u32,
    },
    /// Another process writes it.
    #[error("{path}: another process is running this run")]
    Locked {
        /// The file.
        path: String,
    },
}

impl LogError {
    pub(super) fn io(path: &Path, source: io::Error) -> Self {
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
    file: Box<dyn DiskFile>,
    disk: Arc<dyn Disk>,
    path: PathBuf,
    seq: u64,
    head: Digest,
    /// What the stored plan is, for the first line to name.
    plan: Option<Payload>,
    blobs: BlobWriter,
    redactor: Arc<Redactor>,
    buffer: Vec<u8>,
    /// How long the file is, as far as this process wrote it.
    length: u64,
    /// Set when a write failed: what is on disk is unknown, so nothing more may follow it.
    broken: bool,
}

impl LogFile {
    /// Starts a log. The plan stored beside it, if there is one, is named in its first line.
    pub fn create(path: &Path, redactor: Arc<Redactor>) -> Result<Self, LogError> {
        Self::create_on(Arc::new(RealDisk), path, redactor)
    }

    /// Starts a log on some disk.
    pub fn create_on(disk: Arc<dyn Disk>, path: &Path, redactor: Arc<Redactor>) -> Result<Self, LogError> {
        let failed = |error| LogError::io(path, error);
        let plan = match disk.read(&path.with_file_name(PLAN)) {
            Ok(bytes) => Some(Payload::of(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(LogError::io(&path.with_file_name(PLAN), error)),
        };
        let file = disk.create(path).map_err(failed)?;
        lock(file.as_ref(), path)?;
        // The name of a new file is durable only when its folder is.
        disk.sync_folder(path.parent().unwrap_or(Path::new("."))).map_err(failed)?;
        Ok(Self {
            file,
            disk,
            path: path.to_owned(),
            seq: 0,
            head: Digest::zero(),
            plan,
            blobs: BlobWriter::beside(path),
            redactor,
            buffer: Vec::new(),
            length: 0,
            broken: false,
        })
    }

    /// Opens a log to go on with it. An unfinished last line is dropped: its commit never returned.
    pub fn open(path: &Path, redactor: Arc<Redactor>) -> Result<(Self, Vec<Entry>, Option<Repair>), LogError> {
        Self::open_on(Arc::new(RealDisk), path, redactor)
    }

    /// Opens a log on some disk.
    pub fn open_on(
        disk: Arc<dyn Disk>,
        path: &Path,
        redactor: Arc<Redactor>,
    ) -> Result<(Self, Vec<Entry>, Option<Repair>), LogError> {
        let failed = |error| LogError::io(path, error);
        let mut file = disk.open(path).map_err(failed)?;
        lock(file.as_ref(), path)?;
        let bytes = disk.read(path).map_err(failed)?;
        let scan = scan(&bytes, &path.display().to_string(), &BlobFolder::beside(path, disk.as_ref()));
        if let Some(damage) = scan.damage {
            return Err(damage);
        }
        let repair = (scan.torn > 0).then_some(Repair { dropped: scan.torn });
        if repair.is_some() {
            let length = u64::try_from(scan.whole).unwrap_or(u64::MAX);
            file.truncate(length).and_then(|()| file.sync()).map_err(failed)?;
        }
        // A run that died before its first line still names its plan in it.
        let plan = match scan.entries.last() {
            None => disk.read(&path.with_file_name(PLAN)).ok().map(|bytes| Payload::of(&bytes)),
            Some(_) => None,
        };
        let log = Self {
            file,
            path: path.to_owned(),
            seq: scan.entries.last().map_or(0, |entry| entry.seq),
            head: scan.entries.last().map_or_else(Digest::zero, |entry| entry.hash.clone()),
            plan,
            blobs: BlobWriter::beside(path),
            disk,
            redactor,
            buffer: Vec::new(),
            length: u64::try_from(scan.whole).unwrap_or(u64::MAX),
            broken: false,
        };
        Ok((log, scan.entries, repair))
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
        self.still_leads()?;
        self.buffer.clear();
        let mut blobs = Vec::new();
        let (mut seq, mut head) = (self.seq, self.head.clone());
        for recorded in events {
            seq += 1;
            let before = entry::Head { seq, plan: self.plan.as_ref().filter(|_| seq == 1), prev: &head };
            head = entry::write(&mut self.buffer, &mut blobs, recorded, &before, &self.redactor)?;
        }
        // After a failed fsync the kernel may have thrown the pages away, so a later success would prove nothing.
        self.broken = true;
        self.blobs.keep(&blobs, self.disk.as_ref())?;
        disk::write_whole(self.file.as_mut(), &self.buffer)?;
        self.file.sync()?;
        self.broken = false;
        self.length += u64::try_from(self.buffer.len()).unwrap_or(0);
        (self.seq, self.head) = (seq, head);
        Ok(())
    }
}

impl LogFile {
    /// The lock is the lease: whoever holds it is the only one to write. Where the file was moved away, replaced or
    /// written to all the same, this process leads the run no more.
    fn still_leads(&self) -> io::Result<()> {
        let path = self.path.display();
        match self.file.length()? {
            Some(length) if length == self.length => Ok(()),
            Some(_) => {
                Err(io::Error::other(format!("{path}: somebody else has written to it, so nothing more is written")))
            }
            None => Err(io::Error::other(format!("{path}: it was removed, so nothing more is written"))),
        }
    }
}

/// Does a process lead the run that this log belongs to? It may have ended by the time this returns.
pub fn is_led(path: &Path) -> bool {
    let Ok(file) = std::fs::File::open(path) else { return false };
    matches!(file.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock))
}

/// How often a lock is tried, and how long between two tries.
const TRIES: (u32, std::time::Duration) = (5, std::time::Duration::from_millis(10));

pub(super) fn lock(file: &dyn DiskFile, path: &Path) -> Result<(), LogError> {
    for more in (0..TRIES.0).rev() {
        match file.lock() {
            Ok(()) => return Ok(()),
            // Whoever only asks whether the run is led holds it for a moment, too.
            Err(std::fs::TryLockError::WouldBlock) if more > 0 => std::thread::sleep(TRIES.1),
            Err(std::fs::TryLockError::WouldBlock) => break,
            Err(std::fs::TryLockError::Error(error)) => return Err(LogError::io(path, error)),
        }
    }
    Err(LogError::Locked { path: path.display().to_string() })
}

/// Reads a log without changing it. An unfinished last line is left out.
pub fn read(path: &Path) -> Result<Vec<Entry>, LogError> {
    let bytes = RealDisk.read(path).map_err(|error| LogError::io(path, error))?;
    scan(&bytes, &path.display().to_string(), &BlobFolder::beside(path, &RealDisk)).entries()
}

/// What a log holds, up to the first line that is not what was written.
pub(super) struct Scan {
    /// The entries before it.
    pub(super) entries: Vec<Entry>,
    /// How many bytes they take.
    pub(super) whole: usize,
    /// How many bytes of an unfinished last line follow.
    pub(super) torn: usize,
    /// What the stored plan must be, if the log says.
    pub(super) plan: Option<Payload>,
    /// The payloads out of line that the entries use.
    pub(super) payloads: Vec<Payload>,
    /// Why reading ended early, if it did.
    pub(super) damage: Option<LogError>,
}

impl Scan {
    /// The entries of a log that is not damaged.
    pub(super) fn entries(self) -> Result<Vec<Entry>, LogError> {
        match self.damage {
            None => Ok(self.entries),
            Some(damage) => Err(damage),
        }
    }
}

/// Reads the bytes of a log.
pub(super) fn scan(bytes: &[u8], path: &str, blobs: &dyn BlobSource) -> Scan {
    let mut scan = Scan { entries: Vec::new(), whole: 0, torn: 0, plan: None, payloads: Vec::new(), damage: None };
    let mut head = Digest::zero();
    let mut seq = 1;
    while let Some(length) = bytes[scan.whole..].iter().position(|byte| *byte == b'\n') {
        let line = &bytes[scan.whole..scan.whole + length];
        match entry::read(line, seq, &head, blobs) {
            Ok(read) => {
                head.clone_from(&read.entry.hash);
                if seq == 1 {
                    scan.plan = read.plan;
                }
                scan.payloads.extend(read.payloads);
                scan.entries.push(read.entry);
            }
            Err(reason) => {
                scan.damage = Some(damaged(path, seq, scan.whole, reason));
                return scan;
            }
        }
        seq += 1;
        scan.whole += length + 1;
    }
    // Every line is written in one piece with its line break, so only a line without one can be torn.
    scan.torn = bytes.len() - scan.whole;
    scan
}

pub(super) fn damaged(path: &str, line: u64, offset: usize, reason: LineError) -> LogError {
    let path = path.to_owned();
    match reason {
        LineError::Newer(format) => LogError::Newer { path, line, offset, format },
        reason => LogError::Damaged { path, line, offset, reason: reason.to_string() },
    }
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
    fn whoever_has_lost_the_file_writes_no_more() {
        let lost: [fn(&Path); 3] = [
            |path| std::fs::remove_file(path).unwrap(),
            |path| std::fs::rename(path, path.with_extension("away")).unwrap(),
            |path| std::io::Write::write_all(&mut append_to(path), b"{}\n").unwrap(),
        ];
        for (number, lose) in lost.into_iter().enumerate() {
            let (path, _) = written(1);
            let (mut log, _, _) = LogFile::open(&path, Arc::default()).unwrap();
            lose(&path);
            let moved = path.with_extension("away");
            let before = std::fs::read(if moved.exists() { &moved } else { &path }).unwrap_or_default();
            let result = log.append(&[event(1)]);
            // A file that was only moved is still this one; whoever moved it back loses nothing.
            assert_eq!(result.is_ok(), number == 1, "{result:?}");
            if number == 2 {
                assert_eq!(std::fs::read(&path).unwrap(), before);
            }
            let _ = std::fs::remove_file(moved);
        }
    }

    fn append_to(path: &Path) -> std::fs::File {
        std::fs::OpenOptions::new().append(true).open(path).unwrap()
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
                // A bit of the version makes it one that is not known yet, which is refused as well.
                Err(LogError::Damaged { .. } | LogError::Newer { .. }) => {}
                Ok((_, entries, Some(_))) => prop_assert!(index == bytes.len() - 1 && entries.len() == 2),
                other => prop_assert!(false, "{other:?}"),
            }
        }
    }
}
