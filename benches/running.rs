//! Runs with a durable log and real processes, against what the machine itself takes for the same: one process and one
//! `fdatasync` for each step. Limits and runs alternate, so that both meet the same noise.

mod support;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use runbook::action::{Doors, Reporter};
use runbook::base::{Clock as _, Redactor, RunId, SecretStore, Source, clock};
use runbook::engine::{Approvers, Embedded, Ending, Nobody, Parts, Stop};
use runbook::http::{Client, Origins};
use runbook::plan::{self, Plan};
use runbook::process::LocalProcesses;
use runbook::run::{Event, Limits, Outcome, Recorded, RunState};
use runbook::runlog::{LogFile, RunLog};
use support::runbooks::Shape;
use support::{Folder, Rounds, Table, each, memory, ratio, sized};

/// The whole of a run may take this many times as long as the bare loop.
const AIM: f64 = 1.6;
/// About what a step leaves in the log.
const LINE: usize = 300;

fn main() {
    let folder = Folder::new("running");
    let cases = [
        (Shape::Chain, sized(1_000, 100)),
        (Shape::Chain, sized(4_000, 200)),
        (Shape::Parallel, sized(1_000, 100)),
        (Shape::FanOut, sized(1_000, 100)),
        (Shape::FanOut, sized(10_000, 200)),
    ];
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let mut table = Table::new(&[
        "run",
        "spawn + wait",
        "+ fdatasync",
        "least",
        "median",
        "most",
        "a step",
        "ratio",
        "fdatasyncs",
        "events",
    ]);
    for (shape, count) in cases {
        let title = format!("{}, {count} steps", shape.name());
        if title.contains(&filter) {
            table.row(measure(folder.path(), title, shape, count));
        }
    }
    table.print(&format!("/usr/bin/true with a durable log; the ratio is least to least, the aim is {AIM}"));
    println!("\n  peak memory of all this: {}", memory::mebibytes(memory::own_peak()));
    println!("  a bare spawn and wait that also reads the output takes {}", piped());
}

/// Interleaves the two limits and the run, round for round.
fn measure(folder: &Path, title: String, shape: Shape, count: usize) -> Vec<String> {
    let plan = plan_of(shape, count);
    let rounds = sized(if count > 2_000 { 3 } else { 7 }, 2);
    let (mut spawns, mut syncs, mut runs) = (Rounds::default(), Rounds::default(), Rounds::default());
    let mut counted = Counts::default();
    for round in 0..rounds {
        spawns.time(|| (0..count).for_each(|_| spawn_and_wait()));
        syncs.time(|| append_and_sync(&folder.join("limit"), count));
        let log = folder.join(format!("log-{round}"));
        let (taken, counts) = run(&plan, folder, &log);
        runs.push(taken);
        counted = counts;
        std::fs::remove_file(&log).expect("the log was just written");
    }
    let limit = spawns.min() + syncs.min();
    let [least, median, most] = runs.cells();
    vec![
        title,
        each(spawns.min(), count),
        each(limit, count),
        least,
        median,
        most,
        each(runs.min(), count),
        format!("{:.2}", ratio(runs.min(), limit)),
        counted.commits.to_string(),
        counted.events.to_string(),
    ]
}

fn plan_of(shape: Shape, count: usize) -> Arc<Plan> {
    let source = Source::new("bench.yaml", shape.runbook(count));
    let loaded = runbook::runbook::load(source).unwrap_or_else(|problems| panic!("{}", problems[0].render(false)));
    let plan = plan::build(&loaded, &runbook::actions::builtin(), &std::collections::BTreeMap::new());
    Arc::new(plan.unwrap_or_else(|_| panic!("the bench's own runbook has mistakes")))
}

/// The least a process costs: std starts it by `posix_spawn`.
fn spawn_and_wait() {
    let mut command = Command::new("/usr/bin/true");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = command.spawn().and_then(|mut child| child.wait()).expect("/usr/bin/true is there");
    assert!(status.success(), "/usr/bin/true does what its name says");
}

/// A process whose output is read, as a step's is: two pipes more than the limit has.
fn piped() -> String {
    let count = sized(1_000, 50);
    let rounds = Rounds::of(sized(5, 2), || {
        for _ in 0..count {
            let output = Command::new("/usr/bin/true").stdin(Stdio::null()).output().expect("/usr/bin/true is there");
            assert!(output.status.success(), "/usr/bin/true does what its name says");
        }
    });
    each(rounds.min(), count)
}

/// The least a durable step costs: its line, and one wait for the disk.
fn append_and_sync(path: &Path, count: usize) {
    let mut file = std::fs::File::create(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for _ in 0..count {
        file.write_all(&[b'x'; LINE]).and_then(|()| file.sync_data()).expect("there is room on the disk");
    }
    std::fs::remove_file(path).expect("the file was just written");
}

/// What a log was asked to do.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    commits: u64,
    events: u64,
}

/// The real log, counting.
struct Counting {
    log: LogFile,
    commits: Arc<AtomicU64>,
    events: Arc<AtomicU64>,
}

impl RunLog for Counting {
    fn append(&mut self, events: &[Recorded]) -> std::io::Result<()> {
        self.commits.fetch_add(1, Ordering::Relaxed);
        self.events.fetch_add(u64::try_from(events.len()).unwrap_or(0), Ordering::Relaxed);
        self.log.append(events)
    }
}

struct NoReports;

impl Reporter for NoReports {
    fn render(&self, _run: &RunId, _template: &str) -> Result<String, String> {
        Err("no step of the bench reports".to_owned())
    }
}

/// One run, from an empty log to its end. Planning is not part of it.
fn run(plan: &Arc<Plan>, folder: &Path, log: &Path) -> (Duration, Counts) {
    let secrets = Arc::new(SecretStore::new(std::collections::BTreeMap::new(), Arc::new(Redactor::default())));
    let doors = Doors {
        http: Client::new(Origins::default(), Arc::clone(&secrets)),
        processes: Arc::new(LocalProcesses::new(Arc::clone(&secrets))),
        clock: Arc::new(clock::SystemClock),
        secrets: Arc::clone(&secrets),
        reporter: Arc::new(NoReports),
        folder: folder.to_owned(),
        artifacts: folder.to_owned(),
    };
    // Nobody watches: the receiver is gone, and what is told to it is dropped.
    let (notices, _) = std::sync::mpsc::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let (commits, events) = <(Arc<AtomicU64>, Arc<AtomicU64>)>::default();

    let began = Instant::now();
    let file = LogFile::create(log, Arc::clone(secrets.redactor())).expect("the log is new");
    let log = Counting { log: file, commits: Arc::clone(&commits), events: Arc::clone(&events) };
    let mut engine = Embedded::new(Parts {
        state: RunState::new(Arc::clone(plan)),
        registry: runbook::actions::builtin(),
        doors: Arc::new(doors),
        people: Arc::new(Nobody),
        approvers: Approvers::default(),
        notices,
        log: Box::new(log),
        stop: Stop::default(),
    });
    let processes = std::thread::available_parallelism().map_or(2, std::num::NonZero::get) * 2;
    let now = clock::SystemClock.now();
    let first = Event::RunStarted {
        run: RunId::new(now, 0),
        runbook: "bench".to_owned(),
        plan: plan.digest().clone(),
        by: "user:bench".to_owned(),
        drill: None,
        limits: Limits { io: 16, processes },
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let ending = runtime.block_on(engine.drive(first)).unwrap_or_else(|error| panic!("{error}"));
    let taken = began.elapsed();
    assert_eq!(ending, Ending::Finished(Outcome::Succeeded), "every step of the bench succeeds");
    let counts = Counts { commits: commits.load(Ordering::Relaxed), events: events.load(Ordering::Relaxed) };
    (taken, counts)
}
