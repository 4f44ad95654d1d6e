//! `runbook stand-ins`: the stand-ins of a drill by themselves, for `curl`, for a client, for an application on this machine.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::drill::{Scenario, Setup, StandIn, World};

use super::errors::CliError;
use super::exit::Exit;
use super::find;
use super::flags::Format;

/// Arguments of `runbook stand-ins`.
#[derive(Debug, Args)]
pub(super) struct StandIns {
    /// The scenario: a file, or the name of one in a folder `drills` beside runbooks.
    #[arg(value_name = "FILE|NAME", add = clap_complete::engine::ArgValueCompleter::new(super::completions::scenarios))]
    scenario: String,
    /// Let a stand-in listen at this port; otherwise any that is free is taken.
    #[arg(long = "port", value_name = "NAME=PORT", value_parser = port)]
    ports: Vec<(StandIn, u16)>,
    /// How many times as fast as the world's clock the scenario's clock runs.
    #[arg(long, value_name = "N")]
    speed: Option<f64>,
    /// Write every request and its answer to this file, one JSON line each.
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    transcript: Option<PathBuf>,
    /// Also stop when standard input ends.
    #[arg(long)]
    until_eof: bool,
    /// How to print the addresses.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// What is printed once all of them listen.
#[derive(Debug, Serialize)]
struct Ready {
    scenario: String,
    /// The scenario's time at the beginning.
    starts: crate::base::Timestamp,
    speed: f64,
    stand_ins: Vec<Listening>,
}

/// One address of a scenario.
#[derive(Debug, Serialize)]
struct Listening {
    name: StandIn,
    /// The address that runbooks and clients know.
    address: String,
    /// Where the stand-in listens.
    url: String,
}

impl StandIns {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        super::drill::check_speed(self.speed)?;
        let path = find_scenario(&self.scenario)?;
        let scenario = Scenario::load(&path).map_err(CliError::Diagnostics)?;
        let ports: BTreeMap<StandIn, u16> = self.ports.iter().copied().collect();
        if let Some(absent) = ports.keys().find(|name| !scenario.stand_ins.values().any(|played| played == *name)) {
            return Err(CliError::usage(format!("`{absent}` does not play in {}", path.display())));
        }
        let folder = Folder::new()?;
        let setup = Setup { speed: self.speed, ports, transcript: self.transcript };
        // Before anything is printed: whoever reads the addresses may send a signal at once.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| CliError::Machine(format!("nothing can be waited for: {error}")))?;
        let told = {
            let _inside = runtime.enter();
            stop(self.until_eof)?
        };
        let world = World::start_as(&scenario, &setup, &folder.0.join("world.jsonl"))
            .map_err(|error| CliError::Machine(format!("the stand-ins cannot be started: {error}")))?;
        let ready = Ready::of(&scenario, &world, self.speed);
        match self.format {
            Format::Text => super::print(&ready.text())?,
            Format::Json => super::print(&format!("{}\n", serde_json::json!(ready)))?,
        }
        runtime.block_on(told);
        if let Some(reason) = world.broken() {
            return Err(CliError::Machine(format!("what the stand-ins saw cannot be written: {reason}")));
        }
        Ok(Exit::Succeeded)
    }
}

impl Ready {
    fn of(scenario: &Scenario, world: &World, speed: Option<f64>) -> Self {
        let listening = |(address, url): (String, String)| {
            let name = scenario.stand_ins.get(&address).copied();
            name.map(|name| Listening { name, address, url })
        };
        Self {
            scenario: scenario.scenario.clone(),
            starts: scenario.starts,
            speed: speed.unwrap_or(scenario.speed),
            stand_ins: world.origins().into_iter().filter_map(listening).collect(),
        }
    }

    fn text(&self) -> String {
        let name = self.stand_ins.iter().map(|one| one.name.name().len()).max().unwrap_or(0);
        let url = self.stand_ins.iter().map(|one| one.url.len()).max().unwrap_or(0);
        let mut text = String::new();
        for one in &self.stand_ins {
            text += &format!("{:name$}  {:url$}  for {}\n", one.name, one.url, one.address);
        }
        text
    }
}

/// What tells the stand-ins to stop: a signal, or the end of standard input where that counts.
fn stop(until_eof: bool) -> Result<impl Future<Output = ()>, CliError> {
    use tokio::signal::unix::{SignalKind, signal};
    let deaf = |error: std::io::Error| CliError::Machine(format!("signals cannot be heard: {error}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(deaf)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(deaf)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(deaf)?;
    let (ends, ended) = tokio::sync::oneshot::channel::<()>();
    if until_eof {
        let reader = std::thread::Builder::new().name("stdin".to_owned()).spawn(move || {
            // What is typed means nothing; a standard input that cannot be read has ended.
            let mut ignored = [0; 4096];
            while std::io::stdin().read(&mut ignored).is_ok_and(|read| read > 0) {}
            drop(ends);
        });
        // It is not waited for: it may read until the program ends.
        drop(reader.map_err(|error| CliError::Machine(format!("no thread could be started: {error}")))?);
    }
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
            _ = ended, if until_eof => {}
        }
    })
}

fn port(text: &str) -> Result<(StandIn, u16), String> {
    let (name, port) = text.split_once('=').ok_or("write NAME=PORT, such as `clerk=4010`")?;
    let name = StandIn::ALL.into_iter().find(|one| one.name() == name.trim()).ok_or_else(|| {
        let known = StandIn::ALL.map(StandIn::name).join(", ");
        format!("there is no stand-in `{name}`; there are: {known}")
    })?;
    let port = port.trim().parse().map_err(|_| format!("`{port}` is not a port"))?;
    Ok((name, port))
}

/// A file as named, or `drills/NAME.yaml` beside the runbooks that can be found by name.
fn find_scenario(wanted: &str) -> Result<PathBuf, CliError> {
    let file = PathBuf::from(wanted);
    if file.is_file() {
        return Ok(file);
    }
    let folders: Vec<PathBuf> = find::folders().into_iter().map(|folder| folder.join("drills")).collect();
    let found = folders.iter().map(|folder| folder.join(format!("{wanted}.yaml"))).find(|path| path.is_file());
    found.ok_or_else(|| {
        let looked = folders.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ");
        CliError::Usage {
            message: format!("there is no scenario `{wanted}`"),
            hint: Some(format!("name a file, or one of those in: {looked}")),
        }
    })
}

/// Where the world keeps its record; nobody goes on with it, so it is gone at the end.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Result<Self, CliError> {
        let path = std::env::temp_dir().join(format!("runbook-stand-ins-{}", std::process::id()));
        std::fs::create_dir_all(&path).map_err(|error| CliError::file(&path, error))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left in the folder for temporary files is the system's to clear.
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}
