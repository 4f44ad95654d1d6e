//! The run log alone: appending in commits of several events, beside a bare write and `fdatasync` of the same bytes; and
//! reading a long log back, its chain checked. Appending and its limit alternate, so that both meet the same noise.

mod support;

use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use runbook::base::{Attempt, Redactor, StepPath};
use runbook::run::{AttemptResult, Event, Next, Recorded};
use runbook::runlog::{Disk, DiskFile, LogFile, RealDisk, RunLog, read};
use support::{Folder, Rounds, Table, as_f64, ratio, sized};

/// Events a second, with commits of 32.
const AIM: usize = 20_000;

fn main() {
    let folder = Folder::new("log");
    let mut table = Table::new(&[
        "commits of",
        "least",
        "median",
        "most",
        "events/s",
        "bare write + fdatasync",
        "ratio",
        "fdatasyncs",
        "writes",
    ]);
    for batch in [1, 8, 32, 256] {
        table.row(appending(folder.path(), batch, sized(batch * 300, batch * 20)));
    }
    table.print(&format!("appending; the aim is {AIM} events/s with commits of 32"));

    let mut table = Table::new(&["log", "least", "median", "most", "events/s", "MiB"]);
    for (name, secrets) in [("without secrets", 0), ("three secrets known", 3)] {
        table.row(encoding(folder.path(), name, secrets));
    }
    table.print("appending without waiting for the disk, 100,000 events in commits of 32");
    let mut table = Table::new(&["log", "least", "median", "most", "events/s", "MiB"]);
    table.row(reading(folder.path(), sized(100_000, 2_000)));
    table.print("reading, chain checked; the aim is 0.7 s for 100,000 events");
}

/// Half of them begin a try, half end it: what most lines of a run are.
fn events(count: usize) -> Vec<Recorded> {
    let at = "2026-11-23T03:00:00.123456Z".parse().expect("it is a time");
    (0..count)
        .map(|number| {
            let step = StepPath::parse(&format!("step_{}", number / 2)).expect("it is an id");
            let attempt = Attempt::FIRST;
            let event = if number % 2 == 0 {
                let params = serde_json::json!({ "argv": ["/usr/bin/true", "--some", "argument"], "env": {} });
                Event::AttemptStarted { step, attempt, params: Some(params) }
            } else {
                let outputs =
                    serde_json::json!({ "stdout": "done\n", "stderr": "", "exit_code": 0, "truncated": false });
                Event::AttemptFinished {
                    step,
                    attempt,
                    result: AttemptResult::Succeeded { outputs },
                    next: Next::End,
                    met: None,
                }
            };
            Recorded { at, event }
        })
        .collect()
}

fn appending(folder: &Path, batch: usize, count: usize) -> Vec<String> {
    let events = events(count);
    let (mut ours, mut bare) = (Rounds::default(), Rounds::default());
    let mut counted = (0, 0);
    for round in 0..sized(5, 2) {
        let path = folder.join(format!("log-{batch}-{round}"));
        let disk = Counting::default();
        let mut log = LogFile::create_on(Arc::new(disk.clone()), &path, Arc::default()).expect("the log is new");
        ours.time(|| append(&mut log, &events, batch));
        counted = (disk.syncs.load(Ordering::Relaxed), disk.writes.load(Ordering::Relaxed));
        let bytes = std::fs::read(&path).expect("the log was just written");
        let commits: Vec<Vec<u8>> = bytes
            .split_inclusive(|byte| *byte == b'\n')
            .collect::<Vec<_>>()
            .chunks(batch)
            .map(<[&[u8]]>::concat)
            .collect();
        let limit = folder.join("limit");
        let mut file = std::fs::File::create(&limit).expect("there is room on the disk");
        bare.time(|| {
            for commit in &commits {
                file.write_all(commit).and_then(|()| file.sync_data()).expect("there is room on the disk");
            }
        });
        std::fs::remove_file(&limit).expect("the file was just written");
        std::fs::remove_file(&path).expect("the file was just written");
    }
    let [least, median, most] = ours.cells();
    vec![
        format!("{batch}, {count} events"),
        least,
        median,
        most,
        per_second(count, &ours),
        per_second(count, &bare),
        format!("{:.2}", ratio(ours.min(), bare.min())),
        counted.0.to_string(),
        counted.1.to_string(),
    ]
}

fn append(log: &mut LogFile, events: &[Recorded], batch: usize) {
    events.chunks(batch).for_each(|commit| log.append(commit).expect("there is room on the disk"));
}

/// What the program itself costs: the disk is not waited for.
fn encoding(folder: &Path, name: &str, secrets: usize) -> Vec<String> {
    let events = events(sized(100_000, 2_000));
    let redactor = Arc::new(Redactor::default());
    (0..secrets).for_each(|number| redactor.learn(&format!("some-secret-value-{number}")));
    let path = folder.join("encoded");
    let mut rounds = Rounds::default();
    let mut length = 0;
    for _ in 0..sized(5, 2) {
        let disk = Arc::new(Counting { patient: false, ..Counting::default() });
        let mut log = LogFile::create_on(disk, &path, Arc::clone(&redactor)).expect("the log is new");
        rounds.time(|| append(&mut log, &events, 32));
        length = std::fs::metadata(&path).map_or(0, |file| file.len());
        std::fs::remove_file(&path).expect("the file was just written");
    }
    row(name, events.len(), &rounds, length)
}

fn reading(folder: &Path, count: usize) -> Vec<String> {
    let path = folder.join("long");
    let disk = Arc::new(Counting { patient: false, ..Counting::default() });
    let mut log = LogFile::create_on(disk, &path, Arc::default()).expect("the log is new");
    append(&mut log, &events(count), 32);
    let length = std::fs::metadata(&path).map_or(0, |file| file.len());
    let rounds = Rounds::of(sized(7, 2), || {
        let began = Instant::now();
        let entries = read(&path).expect("the log was just written");
        assert_eq!(entries.len(), count, "every line is read");
        (entries, began)
    });
    row(&format!("{count} events"), count, &rounds, length)
}

fn row(name: &str, count: usize, rounds: &Rounds, length: u64) -> Vec<String> {
    let [least, median, most] = rounds.cells();
    vec![name.to_owned(), least, median, most, per_second(count, rounds), (length >> 20).to_string()]
}

fn per_second(count: usize, rounds: &Rounds) -> String {
    format!("{:.0}", as_f64(count) / rounds.min().as_secs_f64())
}

/// The real disk, counting. One that is not patient does not wait until bytes are on it.
#[derive(Debug, Clone)]
struct Counting {
    writes: Arc<AtomicU64>,
    syncs: Arc<AtomicU64>,
    patient: bool,
}

impl Default for Counting {
    fn default() -> Self {
        Self { writes: Arc::default(), syncs: Arc::default(), patient: true }
    }
}

#[derive(Debug)]
struct CountingFile {
    file: Box<dyn DiskFile>,
    disk: Counting,
}

impl Counting {
    fn behind(&self, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(CountingFile { file, disk: self.clone() })
    }
}

impl Disk for Counting {
    fn create(&self, path: &Path) -> std::io::Result<Box<dyn DiskFile>> {
        RealDisk.create(path).map(|file| self.behind(file))
    }
    fn open(&self, path: &Path) -> std::io::Result<Box<dyn DiskFile>> {
        RealDisk.open(path).map(|file| self.behind(file))
    }
    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        RealDisk.read(path)
    }
    fn make_folder(&self, path: &Path) -> std::io::Result<()> {
        RealDisk.make_folder(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> std::io::Result<()> {
        RealDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> std::io::Result<()> {
        RealDisk.remove(path)
    }
    fn sync_folder(&self, path: &Path) -> std::io::Result<()> {
        RealDisk.sync_folder(path)
    }
}

impl DiskFile for CountingFile {
    fn length(&self) -> std::io::Result<Option<u64>> {
        self.file.length()
    }

    fn lock(&self) -> Result<(), std::fs::TryLockError> {
        self.file.lock()
    }
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.disk.writes.fetch_add(1, Ordering::Relaxed);
        self.file.write(bytes)
    }
    fn sync(&mut self) -> std::io::Result<()> {
        self.disk.syncs.fetch_add(1, Ordering::Relaxed);
        if self.disk.patient { self.file.sync() } else { Ok(()) }
    }
    fn truncate(&mut self, length: u64) -> std::io::Result<()> {
        self.file.truncate(length)
    }
}
