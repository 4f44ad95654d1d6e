//! The game day: every scenario of every runbook, one after the other or a few at once.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::board::{Board, Row};
use super::{CliError, Drill, Exit, Output, Settings, Told, begin, scenarios};
use crate::base::Severity;
use crate::cli::{check, env, find};
use crate::runbook::{Loaded, load_file};
use crate::runlog::Store;

/// How often the line that moves is drawn again.
const TICK: Duration = Duration::from_millis(120);
/// No machine is asked for more drills at once unless somebody says so: their clocks would go by its load.
const MOST_AT_ONCE: usize = 4;

/// A runbook with its scenarios.
struct Runbook {
    name: String,
    file: PathBuf,
    /// Without a mistake; or what is wrong with it.
    loaded: Result<Loaded, String>,
    scenarios: Vec<scenarios::Scenario>,
}

/// Holds every drill that is wanted, and prints how they went.
pub(super) fn hold(drill: &Drill, settings: &Settings) -> Result<Exit, CliError> {
    let began = Instant::now();
    let (runbooks, strays) = find_all(drill.runbook.as_deref())?;
    let is_wanted = |runbook: &Runbook, scenario: &scenarios::Scenario| {
        let name = scenario.path.file_stem().unwrap_or_default().to_string_lossy();
        drill.filter.as_ref().is_none_or(|text| runbook.name.contains(text.as_str()) || name.contains(text.as_str()))
    };
    let wanted: Vec<(&Runbook, &scenarios::Scenario)> = runbooks
        .iter()
        .flat_map(|runbook| runbook.scenarios.iter().map(move |scenario| (runbook, scenario)))
        .filter(|(runbook, scenario)| is_wanted(runbook, scenario))
        .collect();
    if wanted.is_empty() {
        return Err(nothing(drill, &runbooks));
    }
    let stop = stop_flag()?;
    let progress = Progress::new(wanted.len(), drill.quiet);
    let store = Store::new(env::state_folder());
    let one = |(runbook, scenario): (&Runbook, &scenarios::Scenario)| {
        let began = Instant::now();
        progress.begins(&runbook.name);
        let score = match &runbook.loaded {
            Ok(loaded) => {
                let given = std::collections::BTreeMap::new();
                begin(loaded, &scenario.path, given, settings, &drill.concurrency, &store, Told::Nothing)
                    .map_err(|error| error.in_words())
            }
            Err(why) => Err(why.clone()),
        };
        let row = Row::of(&runbook.name, &scenario.path, score, began).when_stopping(stop.load(Ordering::Relaxed));
        progress.ends(&row);
        row
    };
    let jobs = drill.jobs.map_or_else(at_once, usize::from).min(wanted.len());
    let rows = side_by_side(&wanted, jobs, &stop, one);
    progress.over();
    // What is left out on purpose says nothing about what there is.
    let is_whole = drill.filter.is_none();
    let board = Board {
        not_begun: wanted.len() - rows.len(),
        rows,
        undrilled: runbooks
            .iter()
            .filter(|runbook| is_whole && runbook.scenarios.is_empty())
            .map(|runbook| runbook.name.clone())
            .collect(),
        strays: strays.into_iter().filter(|_| is_whole).map(|path| path.display().to_string()).collect(),
        require_all: drill.require_all,
        took: began.elapsed(),
    };
    match drill.format {
        Output::Text => crate::cli::print(&board.text(env::stdout_width()))?,
        Output::Json => crate::cli::print_json(&board.json())?,
        Output::Junit => crate::cli::print(&board.junit())?,
    }
    Ok(match (board.was_stopped(), board.passed()) {
        (true, _) => Exit::Cancelled,
        (false, true) => Exit::Succeeded,
        (false, false) => Exit::Failed,
    })
}

/// Every runbook that is meant, with its scenarios; and the scenarios that belong to none of them.
fn find_all(wanted: Option<&str>) -> Result<(Vec<Runbook>, Vec<PathBuf>), CliError> {
    let folders: Vec<PathBuf> = match wanted {
        Some(wanted) if Path::new(wanted).is_dir() => vec![PathBuf::from(wanted)],
        Some(wanted) => return Ok((vec![Runbook::read(find::path(wanted)?)?], Vec::new())),
        None => find::folders(),
    };
    let mut seen = BTreeSet::new();
    let mut runbooks = Vec::new();
    for file in find::yaml_beside(folders.iter().map(PathBuf::as_path)) {
        let is_new = file.canonicalize().is_ok_and(|path| seen.insert(path));
        if is_new && find::is_runbook(&file) {
            runbooks.push(Runbook::read(file)?);
        }
    }
    let drills: BTreeSet<PathBuf> = runbooks.iter().map(|runbook| scenarios::folder(&runbook.file)).collect();
    let taken: BTreeSet<&Path> = runbooks.iter().flat_map(|it| &it.scenarios).map(|it| it.path.as_path()).collect();
    let all = find::yaml_beside(drills.iter().map(PathBuf::as_path));
    let strays = all.into_iter().filter(|path| !taken.contains(path.as_path())).collect();
    Ok((runbooks, strays))
}

impl Runbook {
    /// A runbook with mistakes is no reason to hold no drill at all: its own are then told as not held.
    fn read(file: PathBuf) -> Result<Self, CliError> {
        let loaded = match load_file(&file) {
            Ok(loaded) => match check::findings(&loaded) {
                Ok(found) if found.iter().any(|problem| problem.severity == Severity::Error) => {
                    Err(CliError::Diagnostics(found))
                }
                Ok(_) => Ok(loaded),
                Err(error) => Err(error),
            },
            Err(found) => Err(CliError::Diagnostics(found)),
        };
        let stem = || file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let name = loaded.as_ref().map_or_else(|_| stem(), |loaded| loaded.runbook.name.to_string());
        let scenarios = scenarios::of(&file, &name);
        Ok(Self { name, file, loaded: loaded.map_err(|error| error.in_words()), scenarios })
    }
}

/// Why there is nothing to hold.
fn nothing(drill: &Drill, runbooks: &[Runbook]) -> CliError {
    let (message, hint) = match (&drill.filter, runbooks.is_empty()) {
        (Some(text), _) => (format!("no drill has `{text}` in its name"), None),
        (None, true) => (
            "there are no runbooks here".to_owned(),
            Some("name the folder they are in: runbook drill --all FOLDER".to_owned()),
        ),
        (None, false) => (
            "none of the runbooks here has a drill".to_owned(),
            Some("write one: drills/RUNBOOK.yaml beside the runbook".to_owned()),
        ),
    };
    CliError::Usage { message, hint }
}

/// How many drills at once, unless somebody says.
fn at_once() -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    (cores / 2).clamp(1, MOST_AT_ONCE)
}

/// Becomes true at the first signal. Each drill under way hears it as well, and stops in order.
fn stop_flag() -> Result<Arc<AtomicBool>, CliError> {
    use tokio::signal::unix::SignalKind;
    let flag = Arc::new(AtomicBool::new(false));
    for kind in [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()] {
        signal_hook::flag::register(kind.as_raw_value(), Arc::clone(&flag))
            .map_err(|error| CliError::Machine(format!("signals cannot be heard: {error}")))?;
    }
    Ok(flag)
}

/// Does `one` with each of these, `jobs` at once, until somebody stops it. The results stand in the order of the items.
fn side_by_side<T: Copy + Sync>(
    items: &[T],
    jobs: usize,
    stop: &AtomicBool,
    one: impl Fn(T) -> Row + Sync,
) -> Vec<Row> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Row)>> = Mutex::default();
    std::thread::scope(|threads| {
        for _ in 0..jobs {
            threads.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(place) else { break };
                    let row = one(*item);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((place, row));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, row)| row).collect()
}

/// A line on stderr for each drill that is over, and on a terminal one that moves.
struct Progress {
    bar: ProgressBar,
    all: usize,
    over: AtomicUsize,
    quiet: bool,
}

impl Progress {
    fn new(all: usize, quiet: bool) -> Self {
        let moves = !quiet && env::stderr_is_terminal();
        let target = if moves { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(None, target).with_style(
            ProgressStyle::with_template("  {spinner} {elapsed} {wide_msg}").expect("the template is this constant"),
        );
        if moves {
            bar.enable_steady_tick(TICK);
        }
        Self { bar, all, over: AtomicUsize::new(0), quiet }
    }

    fn begins(&self, name: &str) {
        self.bar.set_message(format!("{name} is rehearsed"));
    }

    fn ends(&self, row: &Row) {
        let over = self.over.fetch_add(1, Ordering::Relaxed) + 1;
        if !self.quiet {
            let (all, width) = (self.all, self.all.to_string().len());
            let (word, name, case, took) = (row.verdict().word(), &row.runbook, row.case(), row.took());
            self.bar.suspend(|| anstream::eprintln!("{over:>width$}/{all}  {word:<8}  {name} {case}  {took}"));
        }
    }

    fn over(&self) {
        self.bar.finish_and_clear();
    }
}
