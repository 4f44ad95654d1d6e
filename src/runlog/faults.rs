//! The faults of a disk, one by one: each is refused with its place or mended, never taken for the truth.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use super::disk::{Disk, DiskFile, RealDisk};
use super::{INLINE, LogError, LogFile, RunLog, Store, StoreError, read};
use crate::base::{Attempt, Redactor, StepPath};
use crate::run::{AttemptResult, Cause, Event, Next, Recorded};
use serde_json::json;

/// What is wrong with a disk. Everything it says is counted over all files.
#[derive(Debug, Default)]
struct Faults {
    /// So many bytes fit.
    room: Option<usize>,
    /// At most so many bytes are taken at once.
    gulp: Option<usize>,
    /// This sync fails, counted from 1.
    bad_sync: Option<usize>,
    /// Nothing can be changed.
    read_only: bool,
    writes: usize,
    syncs: usize,
}

#[derive(Debug, Clone, Default)]
struct BadDisk(Arc<Mutex<Faults>>);

#[derive(Debug)]
struct BadFile {
    file: Box<dyn DiskFile>,
    faults: Arc<Mutex<Faults>>,
}

impl BadDisk {
    fn with(faults: Faults) -> Self {
        Self(Arc::new(Mutex::new(faults)))
    }

    /// Writes and syncs so far.
    fn counts(&self) -> (usize, usize) {
        let faults = self.0.lock().unwrap();
        (faults.writes, faults.syncs)
    }

    fn check(&self) -> io::Result<()> {
        if self.0.lock().unwrap().read_only { Err(io::ErrorKind::ReadOnlyFilesystem.into()) } else { Ok(()) }
    }

    fn behind(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(BadFile { file, faults: Arc::clone(&self.0) })
    }

    fn synced(faults: &Mutex<Faults>) -> io::Result<()> {
        let mut faults = faults.lock().unwrap();
        faults.syncs += 1;
        if faults.bad_sync == Some(faults.syncs) { Err(io::Error::from_raw_os_error(5)) } else { Ok(()) }
    }
}

impl Disk for BadDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.check()?;
        RealDisk.create(path).map(|file| self.behind(file))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        self.check()?;
        RealDisk.open(path).map(|file| self.behind(file))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        RealDisk.read(path)
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        self.check()?;
        RealDisk.make_folder(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check()?;
        RealDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.check()?;
        RealDisk.remove(path)
    }

    fn sync_folder(&self, _path: &Path) -> io::Result<()> {
        Self::synced(&self.0)
    }
}

impl DiskFile for BadFile {
    fn lock(&self) -> Result<(), fs::TryLockError> {
        self.file.lock()
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = {
            let mut faults = self.faults.lock().unwrap();
            faults.writes += 1;
            let room = faults.room.unwrap_or(usize::MAX);
            if room == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let count = bytes.len().min(room).min(faults.gulp.unwrap_or(usize::MAX));
            faults.room = faults.room.map(|room| room - count);
            count
        };
        let taken = self.file.write(&bytes[..count])?;
        assert_eq!(taken, count);
        Ok(count)
    }

    fn sync(&mut self) -> io::Result<()> {
        BadDisk::synced(&self.faults)
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.file.truncate(length)
    }

    fn length(&self) -> io::Result<Option<u64>> {
        self.file.length()
    }
}

/// A folder of a test's own, gone when it is over.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("runbook-faults-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn log(&self) -> PathBuf {
        self.0.join("log.jsonl")
    }

    fn clear(&self) {
        let _ = fs::remove_file(self.log());
        let _ = fs::remove_dir_all(self.0.join("blobs"));
    }

    /// The only payload that is kept out of line.
    fn blob(&self) -> PathBuf {
        let mut found = fs::read_dir(self.0.join("blobs")).unwrap().map(|entry| entry.unwrap().path());
        let first = found.next().unwrap();
        assert_eq!(found.next(), None);
        first
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn small(number: usize) -> Recorded {
    let because = Cause::Condition { condition: format!("number {number} of \u{fc}") };
    let step = StepPath::parse("a").unwrap();
    Recorded { at: "2026-11-23T03:00:00Z".parse().unwrap(), event: Event::StepSkipped { step, because } }
}

fn large(text: &str) -> Recorded {
    let outputs = json!({ "stdout": text.repeat(INLINE / text.len() + 1), "n": [1, null, 2.5] });
    let event = Event::AttemptFinished {
        step: StepPath::parse("b").unwrap(),
        attempt: Attempt::FIRST,
        result: AttemptResult::Succeeded { outputs },
        next: Next::End,
        met: None,
    };
    Recorded { event, ..small(0) }
}

/// Three commits: two lines, one with a payload out of line, one more.
fn commits() -> [Vec<Recorded>; 3] {
    [vec![small(0), small(1)], vec![large("x\n")], vec![small(2)]]
}

/// Appends the commits until one fails. Returns how many events were acknowledged, and the log.
fn append_all(disk: &BadDisk, folder: &Folder) -> (usize, Option<LogFile>) {
    let Ok(mut log) = LogFile::create_on(Arc::new(disk.clone()), &folder.log(), Arc::default()) else {
        return (0, None);
    };
    let mut acknowledged = 0;
    for commit in commits() {
        if log.append(&commit).is_err() {
            break;
        }
        acknowledged += commit.len();
    }
    (acknowledged, Some(log))
}

fn written(folder: &Folder) -> Vec<u8> {
    folder.clear();
    assert_eq!(append_all(&BadDisk::default(), folder).0, 4);
    fs::read(folder.log()).unwrap()
}

/// After a fault: nothing more is appended, what was acknowledged is there, and the log can be gone on with.
fn survives(folder: &Folder, acknowledged: usize, log: Option<LogFile>, what: &str) {
    let all: Vec<Recorded> = commits().concat();
    if let Some(mut log) = log.filter(|_| acknowledged < all.len()) {
        let before = fs::read(folder.log()).unwrap();
        assert!(log.append(&[small(9)]).is_err(), "{what}: nothing may follow an error");
        assert_eq!(fs::read(folder.log()).unwrap(), before, "{what}");
    }
    if !folder.log().exists() {
        assert_eq!(acknowledged, 0, "{what}");
        return;
    }
    // A healthy disk that only does not wait: there are many cases.
    let (mut log, entries, _) = LogFile::open_on(Arc::new(BadDisk::default()), &folder.log(), Arc::default()).unwrap();
    let events = super::events(entries);
    assert!(events.len() >= acknowledged && all.starts_with(&events), "{what}: {} events", events.len());
    let rest = &all[events.len()..];
    if !rest.is_empty() {
        log.append(rest).unwrap();
    }
    assert_eq!(super::events(read(&folder.log()).unwrap()), all, "{what}");
}

#[test]
fn a_disk_that_is_full_at_any_byte_loses_nothing_that_was_acknowledged() {
    let folder = Folder::new();
    let line = written(&folder).len();
    let blob = usize::try_from(fs::metadata(folder.blob()).unwrap().len()).unwrap();
    let first: usize =
        fs::read(folder.log()).unwrap().split_inclusive(|byte| *byte == b'\n').take(2).map(<[u8]>::len).sum();
    let all = line + blob;
    // Every byte of the lines; of the payload its ends and some places between.
    let payload = first + 50..first + blob - 50;
    for room in (0..=all).filter(|room| !payload.contains(room) || room.is_multiple_of(1999)) {
        folder.clear();
        let disk = BadDisk::with(Faults { room: Some(room), ..Faults::default() });
        let (acknowledged, log) = append_all(&disk, &folder);
        assert_eq!(acknowledged == 4, room == all, "room for {room}");
        survives(&folder, acknowledged, log, &format!("room for {room}"));
    }
}

#[test]
fn short_writes_write_the_same() {
    let folder = Folder::new();
    let whole = written(&folder);
    for gulp in [1, 2, 7, 100, 1000] {
        folder.clear();
        let disk = BadDisk::with(Faults { gulp: Some(gulp), ..Faults::default() });
        assert_eq!(append_all(&disk, &folder).0, 4);
        assert_eq!(fs::read(folder.log()).unwrap(), whole, "{gulp} at once");
    }
}

#[test]
fn a_sync_that_fails_is_the_end_of_that_log() {
    let folder = Folder::new();
    written(&folder);
    folder.clear();
    let healthy = BadDisk::default();
    append_all(&healthy, &folder);
    let syncs = healthy.0.lock().unwrap().syncs;
    // One for the log's name, one for each commit, and three for a first payload: two folders and its bytes.
    assert_eq!(syncs, 1 + 3 + 3);
    for bad in 1..=syncs {
        folder.clear();
        let disk = BadDisk::with(Faults { bad_sync: Some(bad), ..Faults::default() });
        let (acknowledged, log) = append_all(&disk, &folder);
        assert!(acknowledged < 4, "sync {bad}");
        survives(&folder, acknowledged, log, &format!("sync {bad}"));
    }
}

#[test]
fn a_commit_is_one_write_and_one_sync() {
    let folder = Folder::new();
    let disk = BadDisk::default();
    let mut log = LogFile::create_on(Arc::new(disk.clone()), &folder.log(), Arc::default()).unwrap();
    for batch in [1, 2, 32, 1000] {
        let before = disk.counts();
        log.append(&(0..batch).map(small).collect::<Vec<_>>()).unwrap();
        let after = disk.counts();
        assert_eq!((after.0 - before.0, after.1 - before.1), (1, 1), "{batch} events");
    }
}

#[test]
fn a_disk_that_cannot_be_written_is_told_with_the_file() {
    let folder = Folder::new();
    let disk = BadDisk::with(Faults { read_only: true, ..Faults::default() });
    let refused = LogFile::create_on(Arc::new(disk.clone()), &folder.log(), Arc::default()).unwrap_err();
    assert_eq!(refused.to_string(), format!("{}: read-only filesystem or storage medium", folder.log().display()));
    written(&folder);
    assert!(matches!(LogFile::open_on(Arc::new(disk), &folder.log(), Arc::default()), Err(LogError::Io { .. })));
    assert_eq!(read(&folder.log()).unwrap().len(), 4, "reading takes no writing");
}

#[test]
fn a_log_cut_at_any_byte_of_its_last_kilobyte_keeps_its_whole_lines() {
    let folder = Folder::new();
    let bytes = written(&folder);
    let all = commits().concat();
    for cut in bytes.len().saturating_sub(1024)..bytes.len() {
        fs::write(folder.log(), &bytes[..cut]).unwrap();
        let whole = bytes[..cut].iter().filter(|byte| **byte == b'\n').count();
        let disk = Arc::new(BadDisk::default());
        let (_, entries, repair) = LogFile::open_on(disk, &folder.log(), Arc::default()).unwrap();
        assert_eq!(super::events(entries), all[..whole], "cut at {cut}");
        assert_eq!(repair.is_none(), cut == 0 || bytes[cut - 1] == b'\n', "cut at {cut}");
        survives(&folder, whole, None, &format!("cut at {cut}"));
    }
}

#[test]
fn any_flipped_bit_of_a_log_is_refused_with_its_line() {
    let folder = Folder::new();
    let bytes = written(&folder);
    let last = bytes.len() - 1;
    // Every byte, and of each another bit; all bits of the byte that ends the log.
    for (at, bit) in (0..bytes.len()).map(|at| (at, at % 8)).chain((0..8).map(|bit| (last, bit))) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << bit;
        fs::write(folder.log(), &flipped).unwrap();
        let expected = 1 + bytes[..at].iter().filter(|byte| **byte == b'\n').count() as u64;
        match read(&folder.log()) {
            Err(LogError::Damaged { line, .. } | LogError::Newer { line, .. }) => {
                assert_eq!(line, expected, "byte {at}, bit {bit}");
            }
            // Without its line break the last line is a torn one.
            Ok(entries) => assert!(at == last && entries.len() == 3, "byte {at}, bit {bit}"),
            other => panic!("byte {at}, bit {bit}: {other:?}"),
        }
    }
}

#[test]
fn a_payload_that_is_missing_or_changed_is_damage_with_its_place() {
    let folder = Folder::new();
    written(&folder);
    let blob = folder.blob();
    let bytes = fs::read(&blob).unwrap();
    let offset: usize =
        fs::read(folder.log()).unwrap().split_inclusive(|byte| *byte == b'\n').take(2).map(<[u8]>::len).sum();
    let name = blob.file_name().unwrap().to_str().unwrap().to_owned();
    let refused = |reason: &str| {
        let expected = format!(
            "{}:3: the log is damaged here (byte {offset}): its payload at `/result/outputs`, blobs/{name}, {reason}",
            folder.log().display()
        );
        assert_eq!(read(&folder.log()).unwrap_err().to_string(), expected);
        assert!(LogFile::open(&folder.log(), Arc::default()).is_err());
    };
    for cut in [0, 1, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&blob, &bytes[..cut]).unwrap();
        refused(&format!("has {cut} bytes where {} were written", bytes.len()));
    }
    for (at, bit) in (0..bytes.len()).step_by(101).map(|at| (at, at % 8)) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << bit;
        fs::write(&blob, &flipped).unwrap();
        refused("is not what was written: its content does not match its hash");
    }
    fs::remove_file(&blob).unwrap();
    refused("is missing");
}

#[test]
fn a_payload_is_kept_once_and_comes_back_as_it_was() {
    let folder = Folder::new();
    let mut log = LogFile::create(&folder.log(), Arc::default()).unwrap();
    log.append(&[large("same"), large("same")]).unwrap();
    log.append(&[large("same")]).unwrap();
    drop(log);
    let (mut log, ..) = LogFile::open(&folder.log(), Arc::default()).unwrap();
    log.append(&[large("same")]).unwrap();
    folder.blob();
    let events = super::events(read(&folder.log()).unwrap());
    assert_eq!(events, vec![large("same"); 4]);
    assert!(fs::metadata(folder.log()).unwrap().len() < 4 * 1024);
}

#[test]
fn what_a_user_writes_is_never_taken_for_a_payload_elsewhere() {
    let folder = Folder::new();
    let mut log = LogFile::create(&folder.log(), Arc::default()).unwrap();
    let mut event = large("x");
    if let Event::AttemptFinished { result: AttemptResult::Succeeded { outputs }, .. } = &mut event.event {
        *outputs = json!({
            "out": { "/result/outputs": { "hash": "0".repeat(64), "bytes": 1 } },
            "text": ",\"out\":{\"/value\":{\"hash\":\"x\",\"bytes\":1}},\"event\":{}",
            "null": null,
        });
    }
    log.append(&[event.clone()]).unwrap();
    assert_eq!(super::events(read(&folder.log()).unwrap()), [event]);
}

#[test]
fn a_secret_reaches_neither_the_line_nor_the_payload() {
    let folder = Folder::new();
    let redactor = Arc::new(Redactor::default());
    redactor.learn("hun\"ter22");
    let mut log = LogFile::create(&folder.log(), redactor).unwrap();
    log.append(&[large(&format!("it was hun\"ter22 {}\n", "-".repeat(500)))]).unwrap();
    let kept = fs::read_to_string(folder.blob()).unwrap();
    assert!(!kept.contains("ter22") && kept.contains("it was ***"), "{kept:.80}");
    assert_eq!(read(&folder.log()).unwrap().len(), 1);
}

/// A run with a stored plan and a first line that names it.
fn with_plan(folder: &Folder) -> super::RunFolder {
    let source = crate::base::Source::new(
        "some/where.yaml",
        "runbook: a\nsteps:\n  a: { approval: { prompt: '?' } }\n".to_owned(),
    );
    let loaded = crate::runbook::load(source).unwrap_or_else(|problems| panic!("{}", problems[0].render(false)));
    let registry = crate::action::Registry::default();
    let plan = crate::plan::build(&loaded, &registry, &std::collections::BTreeMap::new()).unwrap();
    let run = Store::new(&folder.0).create(&plan.in_folder("/some/where".into()), small(0).at).unwrap();
    let mut log = LogFile::create(&run.log(), Arc::default()).unwrap();
    log.append(&[small(0)]).unwrap();
    run
}

#[test]
fn any_flipped_bit_of_the_plan_is_refused() {
    let folder = Folder::new();
    let run = with_plan(&folder);
    let path = run.path().join("plan.json");
    let bytes = fs::read(&path).unwrap();
    assert!(run.plan().is_ok());
    for (at, bit) in (0..bytes.len()).flat_map(|at| (0..8).map(move |bit| (at, bit))) {
        let mut flipped = bytes.clone();
        flipped[at] ^= 1 << bit;
        fs::write(&path, &flipped).unwrap();
        match run.plan() {
            Err(StoreError::Plan { path: named, .. } | StoreError::PlanChanged { path: named, .. }) => {
                assert_eq!(named, path.display().to_string());
            }
            other => panic!("byte {at}, bit {bit}: {other:?}"),
        }
    }
    for cut in 0..bytes.len() {
        fs::write(&path, &bytes[..cut]).unwrap();
        assert!(matches!(run.plan(), Err(StoreError::Plan { .. })), "cut at {cut}");
    }
}
