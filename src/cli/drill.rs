//! `runbook drill`: rehearses the unchanged file against stand-ins on this machine.

mod board;
mod game_day;
mod scenarios;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::clock::SystemClock;
use crate::base::{Clock, Redactor, SecretStore};
use crate::drill::{KeptScore, Scenario, Score, ScriptedPeople, Setup, World};
use crate::engine::{NoLocks, People};
use crate::http::Origins;
use crate::process::NoProcesses;
use crate::run::Event;
use crate::runbook::Loaded;
use crate::runlog::Store;
use crate::{actions, plan};

use super::drive::{Answers, OpenRun, Surroundings, conclude, console, drive, silent_console};
use super::errors::CliError;
use super::exit::Exit;
use super::flags::{Concurrency, Format, Inputs};
use super::run::started;
use super::terminal::Terminal;
use super::{check, env, find};

/// The scenario, as it was when the drill began.
const SCENARIO: &str = "scenario.yaml";
/// How the drill was started.
const SETTINGS: &str = "drill.json";
/// What happened to the world.
const WORLD: &str = "world.jsonl";

/// Arguments of `runbook drill`.
#[derive(Debug, Args)]
pub(super) struct Drill {
    /// The runbook: a file or a name. With `--all` it may be a folder, or be left out.
    #[arg(value_name = "FILE|NAME", required_unless_present = "all", add = clap_complete::engine::ArgValueCompleter::new(super::completions::runbooks))]
    runbook: Option<String>,
    /// The game day: every scenario of every runbook, with a scoreboard at the end.
    #[arg(long, conflicts_with_all = ["scenario", "ask", "input", "input_file"])]
    all: bool,
    /// The scenario: a file, or the part of its name after the runbook's: `drills/RUNBOOK.NAME.yaml`.
    #[arg(long, value_name = "NAME|FILE")]
    scenario: Option<String>,
    /// How many times as fast as the world's clock the drill's clock runs.
    #[arg(long, value_name = "N")]
    speed: Option<f64>,
    /// Ask you instead of letting the scenario answer.
    #[arg(long)]
    ask: bool,
    /// With `--all`: only drills that have this text in the runbook's name or the scenario's.
    #[arg(long, value_name = "TEXT", requires = "all")]
    filter: Option<String>,
    /// With `--all`: how many drills at once; by default one for every two cores, and four at most.
    #[arg(long, value_name = "N", requires = "all", value_parser = clap::value_parser!(u16).range(1..=64))]
    jobs: Option<u16>,
    /// With `--all`: fail when a runbook has no drill, or a scenario no runbook.
    #[arg(long, requires = "all", conflicts_with = "filter")]
    require_all: bool,
    #[command(flatten)]
    inputs: Inputs,
    #[command(flatten)]
    concurrency: Concurrency,
    /// Write every request to the stand-ins and their answers to this file, one JSON line each.
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    transcript: Option<PathBuf>,
    /// How to print the score.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    format: Output,
    /// Show only the score.
    #[arg(long, short = 'q')]
    quiet: bool,
}

/// How a score or the scoreboard is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For what shows test results.
    Junit,
}

/// How a drill was started, for a drill that is resumed.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Settings {
    speed: Option<f64>,
    ask: bool,
    #[serde(default)]
    transcript: Option<PathBuf>,
}

/// What a drill tells on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// Everything that happens, and how it ended.
    All,
    /// How it ended.
    End,
    /// Nothing: somebody else tells.
    Nothing,
}

impl Told {
    fn unless(quiet: bool) -> Self {
        if quiet { Self::End } else { Self::All }
    }
}

impl Drill {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        check_speed(self.speed)?;
        // A drill may be resumed from another folder.
        let whole = |file: &PathBuf| std::path::absolute(file).map_err(|error| CliError::file(file, error));
        let transcript = self.transcript.as_ref().map(whole).transpose()?;
        let settings = Settings { speed: self.speed, ask: self.ask, transcript };
        if self.all {
            return game_day::hold(&self, &settings);
        }
        let loaded = check::checked(self.runbook.as_deref().unwrap_or_default())?;
        let name = loaded.runbook.name.as_str();
        let path = scenarios::find(Path::new(&loaded.source.name), name, self.scenario.as_deref())?;
        let store = Store::new(env::state_folder());
        let began = std::time::Instant::now();
        let given = self.inputs.values()?;
        let score = begin(&loaded, &path, given, &settings, &self.concurrency, &store, Told::unless(self.quiet))?;
        match self.format {
            Output::Text => super::print(&score.text())?,
            Output::Json => super::print_json(&score)?,
            Output::Junit => {
                let rows = vec![board::Row::of(name, &path, Ok(score.clone()), began)];
                super::print(&board::Board { rows, took: began.elapsed(), ..Default::default() }.junit())?;
            }
        }
        Ok(if score.passed { Exit::Succeeded } else { Exit::Failed })
    }
}

/// Refuses a speed that no clock should run at.
pub(super) fn check_speed(speed: Option<f64>) -> Result<(), CliError> {
    match speed.filter(|speed| !(1.0..=10_000.0).contains(speed)) {
        Some(speed) => Err(CliError::usage(format!("a speed of {speed} makes no sense; take one from 1 to 10000"))),
        None => Ok(()),
    }
}

/// Holds a drill of a runbook that was checked, from its beginning.
fn begin(
    loaded: &Loaded,
    path: &Path,
    given: BTreeMap<String, Value>,
    settings: &Settings,
    concurrency: &Concurrency,
    store: &Store,
    told: Told,
) -> Result<Score, CliError> {
    let scenario = Scenario::load(path).map_err(CliError::Diagnostics)?;
    let mut inputs: BTreeMap<_, _> = scenario.inputs.clone().into_iter().collect();
    // A scenario may serve several runbooks: what this one does not ask for is left out.
    inputs.retain(|name, _| loaded.runbook.inputs.contains_key(name));
    inputs.extend(given);
    let plan = plan::build(loaded, &actions::builtin(), &inputs)?.in_folder(find::folder_of(&loaded.source.name));
    // The id tells when it was held; the scenario's own time stands in the log.
    let run = OpenRun::create(store, plan, SystemClock.now(), Arc::default())?;
    let text = std::fs::read(path).map_err(|error| CliError::file(path, error))?;
    run.folder.write_durably(SCENARIO, &text)?;
    run.folder.write_durably(SETTINGS, serde_json::json!(settings).to_string().as_bytes())?;
    let first = started(&run, Some(scenario.scenario.clone()), concurrency);
    rehearse(run, first, &scenario, settings, store, told)
}

/// Goes on with a drill: the world continues where its record ends.
pub(super) fn resume(run: OpenRun, store: &Store, quiet: bool, format: Format) -> Result<Exit, CliError> {
    let scenario = Scenario::load(&run.folder.path().join(SCENARIO)).map_err(CliError::Diagnostics)?;
    let settings = run.folder.read(SETTINGS)?.unwrap_or_default();
    let settings: Settings = serde_json::from_str(&settings)
        .map_err(|error| CliError::Drill(format!("how it was started cannot be read: {error}")))?;
    let first = Event::RunResumed { by: env::user(), locks: Vec::new() };
    let score = rehearse(run, first, &scenario, &settings, store, Told::unless(quiet))?;
    match format {
        Format::Text => super::print(&score.text())?,
        Format::Json => super::print_json(&score)?,
    }
    Ok(if score.passed { Exit::Succeeded } else { Exit::Failed })
}

fn rehearse(
    run: OpenRun,
    first: Event,
    scenario: &Scenario,
    settings: &Settings,
    store: &Store,
    told: Told,
) -> Result<Score, CliError> {
    let folder = run.folder.clone();
    let setup = Setup { speed: settings.speed, transcript: settings.transcript.clone(), ports: BTreeMap::new() };
    let world = World::start_as(scenario, &setup, &folder.path().join(WORLD))
        .map_err(|error| CliError::Drill(error.to_string()))?;
    let speed = settings.speed.unwrap_or(scenario.speed);
    let surroundings = surroundings(&run, &world, scenario, speed)?;
    surroundings.check_secrets(&run.plan)?;
    let console = match told {
        Told::All | Told::End => console(&run, told == Told::End, speed),
        Told::Nothing => silent_console(&run),
    };
    let people: Arc<dyn People> = if settings.ask {
        let stand_for = scenario.decisions.iter().map(|(step, decision)| (step.clone(), decision.by.clone())).collect();
        Arc::new(
            Terminal::new(&Answers::default(), Arc::clone(&console), world.clock())?
                .standing_for(stand_for)
                .knowing(world.secrets()),
        )
    } else {
        Arc::new(ScriptedPeople::new(scenario.decisions.clone(), world.secrets(), world.clock()))
    };
    let (ending, state) = drive(run, vec![first], &surroundings, people, Arc::new(NoLocks), &console, store)?;
    if told != Told::Nothing {
        conclude(&ending, state.clone(), &folder, &console)?;
    }
    if let Some(reason) = world.broken() {
        return Err(CliError::Drill(format!("what the world saw cannot be written: {reason}")));
    }
    let entries = crate::runlog::read(&folder.log())?;
    let score = Score::of(scenario, &entries, &state, &ending, &world.observed());
    let kept = KeptScore {
        head: entries.last().map_or_else(crate::base::Digest::zero, |entry| entry.hash.clone()),
        scenario: score.scenario.clone(),
        passed: score.passed,
        missed: score.missed.clone(),
    };
    folder.write_durably(KeptScore::FILE, serde_json::json!(kept).to_string().as_bytes())?;
    Ok(score)
}

/// Doors that lead to the stand-ins and nowhere else.
fn surroundings(run: &OpenRun, world: &World, scenario: &Scenario, speed: f64) -> Result<Surroundings, CliError> {
    let mut origins = Origins::default();
    for (origin, target) in world.origins() {
        origins.set(&origin, &target)?;
    }
    origins.close();
    let given = scenario.secrets.clone().into_iter().collect();
    let missing: Vec<String> = run
        .plan
        .secrets()
        .into_iter()
        // One that comes to be during the drill may never be asked for.
        .filter(|(name, (source, _))| source.is_needed_before() && !scenario.secrets.contains_key(name))
        .map(|(name, _)| format!("the scenario gives no value for secret `{name}`"))
        .collect();
    if !missing.is_empty() {
        return Err(CliError::Secrets(missing));
    }
    let redactor: Arc<Redactor> = Arc::default();
    let sources = run.plan.secrets().into_iter().map(|(name, (source, _))| (name, source)).collect();
    let secrets = SecretStore::new(sources, redactor).with_given(given);
    Ok(Surroundings {
        clock: world.clock(),
        origins,
        secrets: Arc::new(secrets),
        processes: Arc::new(NoProcesses),
        databases: world.databases(),
        kill: Arc::new(|| {}),
        speed,
    })
}
