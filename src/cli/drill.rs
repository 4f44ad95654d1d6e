//! `runbook drill`: rehearses the unchanged file against stand-ins on this machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde::{Deserialize, Serialize};

use crate::base::clock::SystemClock;
use crate::base::{Clock, Redactor, SecretStore};
use crate::drill::{KeptScore, Scenario, Score, ScriptedPeople, Setup, World};
use crate::engine::{NoLocks, People};
use crate::http::Origins;
use crate::process::NoProcesses;
use crate::run::Event;
use crate::runlog::Store;
use crate::{actions, plan};

use super::drive::{Answers, OpenRun, Surroundings, conclude, console, drive};
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
    /// The runbook: a file or a name.
    #[arg(value_name = "FILE|NAME", add = clap_complete::engine::ArgValueCompleter::new(super::completions::runbooks))]
    runbook: String,
    /// The scenario: a file, or the part of its name after the runbook's: `drills/RUNBOOK.NAME.yaml`.
    #[arg(long, value_name = "NAME|FILE")]
    scenario: Option<String>,
    /// How many times as fast as the world's clock the drill's clock runs.
    #[arg(long, value_name = "N")]
    speed: Option<f64>,
    /// Ask you instead of letting the scenario answer.
    #[arg(long)]
    ask: bool,
    #[command(flatten)]
    inputs: Inputs,
    #[command(flatten)]
    concurrency: Concurrency,
    /// Write every request to the stand-ins and their answers to this file, one JSON line each.
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    transcript: Option<PathBuf>,
    /// How to print the score.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
    /// Show only the score.
    #[arg(long, short = 'q')]
    quiet: bool,
}

/// How a drill was started, for a drill that is resumed.
#[derive(Debug, Serialize, Deserialize)]
struct Settings {
    speed: Option<f64>,
    ask: bool,
    #[serde(default)]
    transcript: Option<PathBuf>,
}

impl Drill {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        check_speed(self.speed)?;
        let loaded = check::checked(&self.runbook)?;
        let path =
            find_scenario(Path::new(&loaded.source.name), loaded.runbook.name.as_str(), self.scenario.as_deref())?;
        let scenario = Scenario::load(&path).map_err(CliError::Diagnostics)?;
        let mut inputs: std::collections::BTreeMap<_, _> = scenario.inputs.clone().into_iter().collect();
        // A scenario may serve several runbooks: what this one does not ask for is left out.
        inputs.retain(|name, _| loaded.runbook.inputs.contains_key(name));
        inputs.extend(self.inputs.values()?);
        let plan = plan::build(&loaded, &actions::builtin(), &inputs)?.in_folder(find::folder_of(&loaded.source.name));
        let store = Store::new(env::state_folder());
        // The id tells when it was held; the scenario's own time stands in the log.
        let run = OpenRun::create(&store, plan, SystemClock.now(), Arc::default())?;
        // A drill may be resumed from another folder.
        let transcript =
            self.transcript.map(|file| std::path::absolute(&file).map_err(|error| CliError::file(&file, error)));
        let settings = Settings { speed: self.speed, ask: self.ask, transcript: transcript.transpose()? };
        let text = std::fs::read(&path).map_err(|error| CliError::file(&path, error))?;
        run.folder.write_durably(SCENARIO, &text)?;
        run.folder.write_durably(SETTINGS, serde_json::json!(settings).to_string().as_bytes())?;
        let first = started(&run, Some(scenario.scenario.clone()), &self.concurrency);
        rehearse(run, first, &scenario, &settings, &store, self.quiet, self.format)
    }
}

/// Refuses a speed that no clock should run at.
pub(super) fn check_speed(speed: Option<f64>) -> Result<(), CliError> {
    match speed.filter(|speed| !(1.0..=10_000.0).contains(speed)) {
        Some(speed) => Err(CliError::usage(format!("a speed of {speed} makes no sense; take one from 1 to 10000"))),
        None => Ok(()),
    }
}

/// Goes on with a drill: the world continues where its record ends.
pub(super) fn resume(run: OpenRun, store: &Store, quiet: bool, format: Format) -> Result<Exit, CliError> {
    let scenario = Scenario::load(&run.folder.path().join(SCENARIO)).map_err(CliError::Diagnostics)?;
    let settings = run.folder.read(SETTINGS)?.unwrap_or_default();
    let settings: Settings = serde_json::from_str(&settings)
        .map_err(|error| CliError::Drill(format!("how it was started cannot be read: {error}")))?;
    rehearse(run, Event::RunResumed { by: env::user(), locks: Vec::new() }, &scenario, &settings, store, quiet, format)
}

fn rehearse(
    run: OpenRun,
    first: Event,
    scenario: &Scenario,
    settings: &Settings,
    store: &Store,
    quiet: bool,
    format: Format,
) -> Result<Exit, CliError> {
    let folder = run.folder.clone();
    let setup = Setup {
        speed: settings.speed,
        transcript: settings.transcript.clone(),
        ports: std::collections::BTreeMap::new(),
    };
    let world = World::start_as(scenario, &setup, &folder.path().join(WORLD))
        .map_err(|error| CliError::Drill(error.to_string()))?;
    let speed = settings.speed.unwrap_or(scenario.speed);
    let surroundings = surroundings(&run, &world, scenario, speed)?;
    surroundings.check_secrets(&run.plan)?;
    let console = console(&run, quiet, speed);
    let people: Arc<dyn People> = if settings.ask {
        let stand_for = scenario.decisions.iter().map(|(step, decision)| (step.clone(), decision.by.clone())).collect();
        Arc::new(Terminal::new(&Answers::default(), Arc::clone(&console), world.clock())?.standing_for(stand_for))
    } else {
        Arc::new(ScriptedPeople::new(scenario.decisions.clone(), world.clock()))
    };
    let (ending, state) = drive(run, vec![first], &surroundings, people, Arc::new(NoLocks), &console, store)?;
    conclude(&ending, state.clone(), &folder, &console)?;
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
    match format {
        Format::Text => super::print(&score.text())?,
        Format::Json => super::print_json(&score)?,
    }
    Ok(if score.passed { Exit::Succeeded } else { Exit::Failed })
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
        .keys()
        .filter(|name| !scenario.secrets.contains_key(*name))
        .map(|name| format!("the scenario gives no value for secret `{name}`"))
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
        kill: Arc::new(|| {}),
        speed,
    })
}

/// The scenario file: as named, or `drills/RUNBOOK.NAME.yaml`, or `drills/RUNBOOK.yaml`, or the only one there is.
fn find_scenario(runbook: &Path, name: &str, wanted: Option<&str>) -> Result<PathBuf, CliError> {
    if let Some(path) = wanted.map(PathBuf::from).filter(|path| path.is_file()) {
        return Ok(path);
    }
    let drills = runbook.parent().unwrap_or(Path::new(".")).join("drills");
    let mut there: Vec<(String, PathBuf)> = std::fs::read_dir(&drills)
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter_map(|entry| {
            let file = entry.file_name().to_str()?.to_owned();
            let rest = file.strip_prefix(name)?.strip_suffix(".yaml")?;
            let short = if rest.is_empty() { "" } else { rest.strip_prefix('.')? };
            Some((short.to_owned(), entry.path()))
        })
        .collect();
    there.sort();
    let names = there.iter().map(|(short, _)| short.as_str()).filter(|short| !short.is_empty()).collect::<Vec<_>>();
    let found = match wanted {
        Some(wanted) => there.iter().find(|(short, _)| short == wanted),
        None => there.iter().find(|(short, _)| short.is_empty()).or_else(|| there.first().filter(|_| there.len() == 1)),
    };
    found.map(|(_, path)| path.clone()).ok_or_else(|| {
        let message = match wanted {
            Some(wanted) => format!("there is no scenario `{wanted}` for `{name}` in {}", drills.display()),
            None => format!("there is no scenario for `{name}` in {}", drills.display()),
        };
        let hint = if names.is_empty() {
            format!("write one: {}", drills.join(format!("{name}.yaml")).display())
        } else {
            format!("scenarios: {}", names.join(", "))
        };
        CliError::Usage { message, hint: Some(hint) }
    })
}
