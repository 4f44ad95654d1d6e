//! Drives a run from the command line: opens its doors, shows how it goes, hears signals, tells how it ended.

use std::collections::BTreeMap;
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::action::{Doors, Registry};
use crate::actions;
use crate::base::{Clock, Redactor, SecretStore, StepPath, Timestamp};
use crate::database::{Databases, RealDatabases};
use crate::engine::{Approvers, Embedded, Ending, EngineError, Locks, Notice, Parts, People, Stop};
use crate::http::{Client, Origins};
use crate::plan::Plan;
use crate::process::{LocalProcesses, Processes};
use crate::report::{Console, LogReporter, Mode, Summary};
use crate::run::{Cause, Event, Recorded, RunState};
use crate::runlog::{Entry, Inbox, LogError, LogFile, Repair, RunFolder, Store};

use super::env;
use super::errors::CliError;
use super::exit::Exit;

/// A run with its log open for writing.
pub(super) struct OpenRun {
    pub(super) folder: RunFolder,
    pub(super) plan: Arc<Plan>,
    pub(super) state: RunState,
    pub(super) log: LogFile,
    pub(super) repair: Option<Repair>,
    /// What happened before this process.
    pub(super) past: Vec<Recorded>,
}

impl OpenRun {
    /// Begins a new run: its plan is stored before anything else happens.
    pub(super) fn create(store: &Store, plan: Plan, now: Timestamp, redactor: Arc<Redactor>) -> Result<Self, CliError> {
        let folder = store.create(&plan, now)?;
        let log = LogFile::create(&folder.log(), redactor)?;
        let plan = Arc::new(plan);
        Ok(Self { folder, state: RunState::new(Arc::clone(&plan)), plan, log, repair: None, past: Vec::new() })
    }

    /// A run that could not begin leaves no trace.
    pub(super) fn forget(self, error: impl Into<CliError>) -> CliError {
        // What cannot be removed is an empty run, which `runbook runs` shows as such.
        let _ = std::fs::remove_dir_all(self.folder.path());
        error.into()
    }

    /// Opens a run to go on with it, from the plan that is stored with it.
    pub(super) fn open(folder: RunFolder, redactor: Arc<Redactor>) -> Result<Self, CliError> {
        let plan = Arc::new(folder.plan()?);
        let (log, entries, repair) = open_log(&folder, &redactor)?;
        Inbox::of(folder.path()).clear(&entries);
        let past = crate::runlog::events(entries);
        let state = replay(&folder, &plan, &past)?;
        Ok(Self { folder, plan, state, log, repair, past })
    }
}

/// Opens a log for writing. Whoever looks whether a run is led holds its log for a moment: only one that stays locked has
/// somebody who leads it.
fn open_log(folder: &RunFolder, redactor: &Arc<Redactor>) -> Result<(LogFile, Vec<Entry>, Option<Repair>), LogError> {
    let mut looks = 0;
    loop {
        match LogFile::open(&folder.log(), Arc::clone(redactor)) {
            Err(LogError::Locked { .. }) if looks < 10 => looks += 1,
            other => return other,
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Everything that is known of a run.
pub(super) fn summary(folder: &RunFolder) -> Result<Summary, CliError> {
    summary_by(folder, &Arc::new(folder.plan()?))
}

/// The same for whoever has the plan already.
fn summary_by(folder: &RunFolder, plan: &Arc<Plan>) -> Result<Summary, CliError> {
    crate::report::summary_by(folder, plan)
        .map_err(|refused| CliError::Replay { run: folder.id.to_string(), reason: refused.to_string() })
}

/// The state after these events.
pub(super) fn replay<'e>(
    folder: &RunFolder,
    plan: &Arc<Plan>,
    events: impl IntoIterator<Item = &'e crate::run::Recorded>,
) -> Result<RunState, CliError> {
    let mut state = RunState::new(Arc::clone(plan));
    for recorded in events {
        state
            .apply(recorded)
            .map_err(|refused| CliError::Replay { run: folder.id.to_string(), reason: refused.to_string() })?;
    }
    Ok(state)
}

/// The ways to the world of one run.
pub(super) struct Surroundings {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) origins: Origins,
    pub(super) secrets: Arc<SecretStore>,
    pub(super) processes: Arc<dyn Processes>,
    pub(super) databases: Arc<dyn Databases>,
    /// Stops every process at once; for a second signal.
    pub(super) kill: Arc<dyn Fn() + Send + Sync>,
    /// By how much the run's clock is faster than the world's.
    pub(super) speed: f64,
}

impl Surroundings {
    /// The world as it is.
    pub(super) fn real(plan: &Plan, origins: Origins, redactor: Arc<Redactor>) -> Self {
        // Every path in a runbook starts from its own folder.
        let sources = plan
            .secrets()
            .into_iter()
            .map(|(name, (source, folder))| (name, source.with_path(|path| folder.join(path))));
        let secrets = Arc::new(SecretStore::new(sources.collect(), redactor));
        let processes = Arc::new(LocalProcesses::new(Arc::clone(&secrets)));
        let to_kill = Arc::clone(&processes);
        Self {
            clock: Arc::new(crate::base::clock::SystemClock),
            origins,
            databases: Arc::new(RealDatabases::new(Arc::clone(&secrets))),
            secrets,
            processes,
            kill: Arc::new(move || to_kill.kill_all()),
            speed: 1.0,
        }
    }

    /// Fetches every declared secret now, so that a missing one is found before anything has happened. Those that come to
    /// be during the run are not there yet, and optional ones need not be.
    pub(super) fn check_secrets(&self, plan: &Plan) -> Result<(), CliError> {
        let missing: Vec<String> = plan
            .secrets()
            .into_iter()
            .filter(|(_, (source, _))| source.is_needed_before())
            .filter_map(|(name, _)| self.secrets.get(&name).err())
            .map(|error| error.to_string())
            .collect();
        if missing.is_empty() { Ok(()) } else { Err(CliError::Secrets(missing)) }
    }

    fn doors(&self, run: &OpenRun, store: &Store) -> Arc<Doors> {
        Arc::new(Doors {
            http: Client::new(self.origins.clone(), Arc::clone(&self.secrets)).at_speed(self.speed),
            processes: Arc::clone(&self.processes),
            databases: Arc::clone(&self.databases),
            clock: Arc::clone(&self.clock),
            secrets: Arc::clone(&self.secrets),
            reporter: Arc::new(LogReporter::new(store.clone(), run.plan.folder())),
            artifacts: run.folder.path().to_owned(),
        })
    }
}

/// The console, shared between whoever shows events and whoever asks questions.
pub(super) type SharedConsole = Arc<Mutex<Console>>;

/// A console for a run.
pub(super) fn console(run: &OpenRun, quiet: bool, speed: f64) -> SharedConsole {
    let mode = match (quiet, env::stderr_is_terminal()) {
        (true, _) => Mode::Quiet,
        (false, true) => Mode::Live,
        (false, false) => Mode::Plain,
    };
    let mut console = Console::new(Arc::clone(&run.plan), mode, anstream::stderr()).log(run.folder.log()).speed(speed);
    console.known(&run.past);
    Arc::new(Mutex::new(console))
}

/// A console that tells nothing: for whoever holds several runs and tells them together.
pub(super) fn silent_console(run: &OpenRun) -> SharedConsole {
    Arc::new(Mutex::new(Console::new(Arc::clone(&run.plan), Mode::Quiet, std::io::sink())))
}

/// Drives the run until it ends or cannot go on here. Returns how, and the run's state.
pub(super) fn drive(
    run: OpenRun,
    first: Vec<Event>,
    surroundings: &Surroundings,
    people: Arc<dyn People>,
    locks: Arc<dyn Locks>,
    console: &SharedConsole,
    store: &Store,
) -> Result<(Ending, RunState), CliError> {
    let doors = surroundings.doors(&run, store);
    let approvers = Approvers::load(&run.plan.folder())?;
    let registry: Registry = actions::builtin();
    let folder = run.folder.id.clone();
    if let Some(repair) = run.repair {
        anstream::eprintln!("the log ended in the middle of a line; {} bytes were dropped", repair.dropped);
    }
    let (notices, watch) = std::sync::mpsc::channel();
    let watcher = spawn_watcher(watch, Arc::clone(console))?;
    let stop = Stop::default();
    let parts = Parts {
        state: run.state,
        registry,
        doors,
        people,
        approvers,
        locks: Arc::clone(&locks),
        notices,
        inbox: Some(Inbox::of(run.folder.path())),
        stop: stop.clone(),
    };
    let mut engine = Embedded::new(parts, Box::new(run.log));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::Machine(format!("no runtime could be started: {error}")))?;
    let ended: Result<Ending, EngineError> = runtime.block_on(async {
        tokio::spawn(hear_signals(stop, Arc::clone(&surroundings.kill)));
        engine.drive(first).await
    });
    // With the engine the channel is closed, which ends the watcher.
    let state = engine.into_state();
    runtime.shutdown_background();
    let _ = watcher.join();
    let ending = ended?;
    if state.outcome().is_some() {
        // A run that goes on later goes on holding them.
        locks.release(&folder);
    }
    Ok((ending, state))
}

fn spawn_watcher(watch: Receiver<Notice>, console: SharedConsole) -> Result<std::thread::JoinHandle<()>, CliError> {
    std::thread::Builder::new()
        .name("console".to_owned())
        .spawn(move || {
            for notice in watch {
                let mut console = console.lock().unwrap_or_else(PoisonError::into_inner);
                match notice {
                    Notice::Recorded(recorded) => console.event(&recorded),
                    Notice::Progress { step, text } => console.progress(&step, &text),
                    Notice::Refused { step, reason } => console.note(&step, &format!("answer not taken: {reason}")),
                }
            }
        })
        .map_err(|error| CliError::Machine(format!("no thread could be started: {error}")))
}

/// The first signal stops the run in order; the second kills what runs and ends the program as the signal would have.
async fn hear_signals(stop: Stop, kill: Arc<dyn Fn() + Send + Sync>) {
    use tokio::signal::unix::{SignalKind, signal};
    let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
    let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = kinds.map(signal) else { return };
    let mut times = 0;
    loop {
        let number = tokio::select! {
            _ = interrupt.recv() => SignalKind::interrupt().as_raw_value(),
            _ = terminate.recv() => SignalKind::terminate().as_raw_value(),
            _ = hangup.recv() => SignalKind::hangup().as_raw_value(),
        };
        times += 1;
        if times == 1 {
            // Of several runs in this process each hears it.
            static TOLD: std::sync::Once = std::sync::Once::new();
            TOLD.call_once(|| anstream::eprintln!("stopping; once more to kill what runs and leave at once"));
            stop.request();
        } else {
            kill();
            super::terminal::show_typing();
            let _ = signal_hook::low_level::emulate_default_handler(number);
        }
    }
}

/// Says how a drive ended, what to type next, and which code that is.
pub(super) fn conclude(
    ending: &Ending,
    state: RunState,
    folder: &RunFolder,
    console: &SharedConsole,
) -> Result<Exit, CliError> {
    let (steps, may_be_resumed) = match ending {
        Ending::Waiting(steps) => (steps.as_slice(), true),
        _ => (&[][..], state.may_be_resumed()),
    };
    let at_gate: Vec<StepPath> = steps.iter().filter(|step| state.is_at_gate(step)).cloned().collect();
    // The log tells it again from the beginning; a long run need not be held twice.
    let plan = Arc::clone(state.plan());
    drop(state);
    let summary = summary_by(folder, &plan)?;
    console.lock().unwrap_or_else(PoisonError::into_inner).finish(&summary);
    let run = &folder.id;
    let words =
        |steps: &[crate::base::StepPath]| steps.iter().map(|step| format!("`{step}`")).collect::<Vec<_>>().join(", ");
    Ok(match ending {
        Ending::Finished(outcome) => {
            if *outcome == crate::run::Outcome::Cancelled && may_be_resumed {
                anstream::eprintln!("go on with: runbook resume {run}");
            }
            Exit::from(*outcome)
        }
        Ending::Waiting(steps) => {
            anstream::eprintln!("the run waits for a person: {}", words(steps));
            anstream::eprintln!("answer at a terminal:    runbook resume {run}");
            for step in at_gate {
                anstream::eprintln!("or without one:          runbook resume {run} --approve {step}");
            }
            Exit::Waiting
        }
        Ending::InDoubt(steps) => {
            anstream::eprintln!("nobody saw how these ended: {}", words(steps));
            for step in steps {
                anstream::eprintln!("look, then say:  runbook resume {run} --happened {step}");
                anstream::eprintln!("            or:  runbook resume {run} --did-not-happen {step}");
                anstream::eprintln!("            or:  runbook resume {run} --again {step}");
            }
            Exit::Stuck
        }
    })
}

/// The answers that the flags of a command line give.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Answers {
    /// Open the gate of a step. Counts only when the gate names you.
    #[arg(long, value_name = "STEP")]
    pub(super) approve: Vec<String>,
    /// Say no at the gate of a step. Counts only when the gate names you.
    #[arg(long, value_name = "STEP")]
    pub(super) reject: Vec<String>,
    /// Answer a question that a gate asks: `open_bypass.reason=…`.
    #[arg(long, value_name = "STEP.NAME=VALUE")]
    pub(super) answer: Vec<String>,
    /// Say that a step in doubt did happen.
    #[arg(long, value_name = "STEP")]
    pub(super) happened: Vec<String>,
    /// Say that a step in doubt is to be done again.
    #[arg(long, value_name = "STEP")]
    pub(super) again: Vec<String>,
    /// Say that a step in doubt did not happen: it counts as failed.
    #[arg(long, value_name = "STEP")]
    pub(super) did_not_happen: Vec<String>,
}

/// What somebody wants of single steps, whatever the runbook says.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Wishes {
    /// Leave a step out. Needs `--reason`.
    #[arg(long, value_name = "STEP", requires = "reason")]
    skip: Vec<String>,
    /// Run a step although its condition does not hold, or what it needs ended otherwise. Opens no gate. Needs `--reason`.
    #[arg(long, value_name = "STEP", requires = "reason")]
    force: Vec<String>,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl Wishes {
    /// The events that record these wishes after `first`. Refused when the run cannot grant one, with nothing changed.
    pub(super) fn events(&self, state: &RunState, first: &Event, now: Timestamp) -> Result<Vec<Event>, CliError> {
        let (by, reason) = (env::user(), self.reason.clone().unwrap_or_default());
        let because = Cause::Person { by: by.clone(), reason: reason.clone() };
        let mut wanted = Vec::new();
        for step in &self.skip {
            wanted.push(Event::StepSkipped { step: known_step(state, step)?, because: because.clone() });
        }
        for step in &self.force {
            let step = known_step(state, step)?;
            wanted.push(Event::StepForced { step, by: by.clone(), reason: reason.clone() });
        }
        if wanted.is_empty() {
            return Ok(wanted);
        }
        let mut ahead = state.clone();
        for event in std::iter::once(first).chain(&wanted) {
            ahead.apply(&Recorded { at: now, event: event.clone() }).map_err(|refused| CliError::Usage {
                message: refused.to_string(),
                hint: Some("nothing was changed; `runbook show RUN` tells where each step stands".to_owned()),
            })?;
        }
        Ok(wanted)
    }
}

/// The step of a run that somebody named.
pub(super) fn known_step(state: &RunState, text: &str) -> Result<StepPath, CliError> {
    let named = StepPath::parse(text).ok().filter(|path| state.record(path).is_some());
    named.ok_or_else(|| {
        let known = state.records().map(|(path, _)| path.as_str());
        let near = crate::base::diagnostic::nearest(text, known);
        let hint = match near {
            Some(near) => format!("did you mean `{near}`?"),
            None => "steps of a called runbook are named like `call/step`, items like `step[key]`, once they are known"
                .to_owned(),
        };
        CliError::Usage { message: format!("the run has no step `{text}`"), hint: Some(hint) }
    })
}

impl Answers {
    /// Was anything answered?
    pub(super) fn is_empty(&self) -> bool {
        let given = [&self.approve, &self.reject, &self.answer, &self.happened, &self.again, &self.did_not_happen];
        given.iter().all(|given| given.is_empty())
    }

    /// Refuses flags that name no step of the run. A step of a called runbook may not be known before it is called.
    pub(super) fn check(&self, state: &RunState) -> Result<(), CliError> {
        let answered = self.parsed()?;
        let named = [&self.approve, &self.reject, &self.happened, &self.again, &self.did_not_happen];
        for step in named.into_iter().flatten().chain(answered.keys()).filter(|step| !step.contains(['/', '['])) {
            known_step(state, step)?;
        }
        for step in self.approve.iter().chain(&self.reject) {
            let written = StepPath::parse(step).ok().and_then(|path| state.step(&path));
            if written.is_some_and(|step| step.approval.is_none()) {
                return Err(CliError::usage(format!("step `{step}` has no gate to open")));
            }
        }
        Ok(())
    }

    /// Answers by step and name.
    pub(super) fn parsed(&self) -> Result<BTreeMap<String, BTreeMap<String, String>>, CliError> {
        let mut parsed: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
        for text in &self.answer {
            let split = text.split_once('=').and_then(|(name, value)| Some((name.split_once('.')?, value)));
            let Some(((step, name), value)) = split else {
                return Err(CliError::usage(format!("`{text}` is not of the form STEP.NAME=VALUE")));
            };
            parsed.entry(step.to_owned()).or_default().insert(name.to_owned(), value.to_owned());
        }
        Ok(parsed)
    }
}
