//! A run as the program drives it, with the real log, counting what the log is asked to do.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use runbook::action::{Doors, Reporter};
use runbook::base::{Clock as _, Redactor, RunId, SecretStore, Source, clock};
use runbook::database::RealDatabases;
use runbook::engine::{Approvers, Embedded, Ending, NoLocks, Nobody, Parts, Stop};
use runbook::http::{Client, Origins};
use runbook::plan::{self, Plan};
use runbook::process::LocalProcesses;
use runbook::run::{Event, Limits, Outcome, Recorded, RunState};
use runbook::runlog::{LogFile, RunLog};

/// What a log was asked to do.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// How often it was made durable.
    pub commits: u64,
    /// How many events it took.
    pub events: u64,
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

/// The plan of a runbook of the bench's own.
pub fn plan_of(text: String) -> Arc<Plan> {
    let source = Source::new("bench.yaml", text);
    let loaded = runbook::runbook::load(source).unwrap_or_else(|problems| panic!("{}", problems[0].render(false)));
    let plan = plan::build(&loaded, &runbook::actions::builtin(), &std::collections::BTreeMap::new());
    let plan = plan.unwrap_or_else(|_| panic!("the bench's own runbook has mistakes"));
    // Processes start in the folder of their runbook.
    Arc::new(plan.in_folder(std::env::temp_dir()))
}

/// The event that begins a run.
pub fn started(plan: &Plan, limits: Limits) -> Event {
    let now = clock::SystemClock.now();
    Event::RunStarted {
        run: RunId::new(now, 0),
        runbook: "bench".to_owned(),
        plan: plan.digest().clone(),
        by: "user:bench".to_owned(),
        drill: None,
        limits,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        locks: Vec::new(),
    }
}

/// One run, from an empty log to its end. Planning is not part of it.
pub fn run(plan: &Arc<Plan>, folder: &Path, log: &Path, limits: Limits) -> (Duration, Counts) {
    let secrets = Arc::new(SecretStore::new(std::collections::BTreeMap::new(), Arc::new(Redactor::default())));
    let doors = Doors {
        http: Client::new(Origins::default(), Arc::clone(&secrets)),
        processes: Arc::new(LocalProcesses::new(Arc::clone(&secrets))),
        databases: Arc::new(RealDatabases::new(Arc::clone(&secrets))),
        clock: Arc::new(clock::SystemClock),
        secrets: Arc::clone(&secrets),
        reporter: Arc::new(NoReports),
        artifacts: folder.to_owned(),
    };
    // Nobody watches: the receiver is gone, and what is told to it is dropped.
    let (notices, _) = std::sync::mpsc::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let (commits, events) = <(Arc<AtomicU64>, Arc<AtomicU64>)>::default();

    let began = Instant::now();
    let file = LogFile::create(log, Arc::clone(secrets.redactor())).expect("the log is new");
    let log = Counting { log: file, commits: Arc::clone(&commits), events: Arc::clone(&events) };
    let parts = Parts {
        state: RunState::new(Arc::clone(plan)),
        registry: runbook::actions::builtin(),
        doors: Arc::new(doors),
        people: Arc::new(Nobody),
        approvers: Approvers::default(),
        locks: Arc::new(NoLocks),
        notices,
        inbox: None,
        stop: Stop::default(),
    };
    let mut engine = Embedded::new(parts, Box::new(log));
    let first = vec![started(plan, limits)];
    let ending = runtime.block_on(engine.drive(first)).unwrap_or_else(|error| panic!("{error}"));
    let taken = began.elapsed();
    assert_eq!(ending, Ending::Finished(Outcome::Succeeded), "every step of the bench succeeds");
    let counts = Counts { commits: commits.load(Ordering::Relaxed), events: events.load(Ordering::Relaxed) };
    (taken, counts)
}
