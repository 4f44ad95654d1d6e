//! `runbook stale`: which runbooks nobody has seen work lately.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde::Serialize;

use crate::actions;
use crate::base::clock::SystemClock;
use crate::base::{Clock, Diagnostic, Digest, HumanDuration, RunId, Severity, Timestamp, clock};
use crate::drill::KeptScore;
use crate::plan::{self, Plan};
use crate::run::{Event, Outcome, RunState};
use crate::runbook::Loaded;
use crate::runlog::{ExportError, LogError, Record, Store};

use super::errors::CliError;
use super::exit::Exit;
use super::flags::Format;
use super::{check, env, find};

/// Arguments of `runbook stale`.
#[derive(Debug, Args)]
pub(super) struct Stale {
    /// Runbook files, names, or folders of them. `runbooks` when none is named.
    #[arg(value_name = "FILE|FOLDER")]
    files: Vec<String>,
    /// A green drill or a run longer ago than this does not count.
    #[arg(long, value_name = "AGE", default_value = "30d")]
    older_than: HumanDuration,
    /// What was drilled or run before the runbook was changed does not count either.
    #[arg(long)]
    changed: bool,
    /// Look into exported runs in this folder too: `runbook export`.
    #[arg(long, value_name = "FOLDER")]
    records: Option<PathBuf>,
    /// How to print the list.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

/// What a run of the past proves of the runbooks in it.
struct Past {
    run: RunId,
    at: Timestamp,
    kind: Kind,
    plan: Arc<Plan>,
    /// Runbooks that it called and came to.
    called: Vec<String>,
}

enum Kind {
    /// A drill that went as its scenario expects.
    GreenDrill { scenario: String },
    /// A run that is over, and that nobody stopped.
    Run { outcome: Outcome },
}

/// One runbook of the list.
#[derive(Debug, Serialize)]
struct Row {
    file: String,
    runbook: String,
    stale: bool,
    /// Why it is; `None` when it is not.
    why: Option<String>,
    last_green_drill: Option<Seen>,
    last_run: Option<Seen>,
}

/// The last time that somebody saw it work.
#[derive(Debug, Clone, Serialize)]
struct Seen {
    run: String,
    at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    scenario: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
    /// The runbook that called it, where it was a part of another.
    #[serde(skip_serializing_if = "Option::is_none")]
    part_of: Option<String>,
    /// The digest of the plan that was carried out.
    plan: Digest,
    /// The digest that the file gives now, with the same inputs; `None` when it does not take them any more.
    plan_now: Option<Digest>,
    /// Does it mean something else now?
    changed: bool,
    #[serde(skip)]
    age: std::time::Duration,
}

impl Stale {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let runbooks = self.runbooks()?;
        let past = self.past()?;
        let now = SystemClock.now();
        let rows: Vec<Row> = runbooks.iter().map(|loaded| self.row(loaded, &past, now)).collect();
        match self.format {
            Format::Json => super::print_json(&rows)?,
            Format::Text => super::print(&text(&rows))?,
        }
        let stale: Vec<&Row> = rows.iter().filter(|row| row.stale).collect();
        let Some(first) = stale.first() else { return Ok(Exit::Succeeded) };
        anstream::eprintln!(
            "{} of {} {} stale: no green drill and no run within {}",
            stale.len(),
            rows.len(),
            if rows.len() == 1 { "runbook is" } else { "runbooks are" },
            self.older_than
        );
        anstream::eprintln!("  help: rehearse it: `runbook drill {}`", first.file);
        Ok(Exit::Failed)
    }

    /// The runbooks that were asked for. All mistakes of all files are told.
    fn runbooks(&self) -> Result<Vec<Loaded>, CliError> {
        let named = if self.files.is_empty() { vec!["runbooks".to_owned()] } else { self.files.clone() };
        if self.files.is_empty() && !Path::new("runbooks").is_dir() {
            return Err(CliError::Usage {
                message: "there is no folder `runbooks` here".to_owned(),
                hint: Some("name the files, or the folder that they are in".to_owned()),
            });
        }
        let mut files: Vec<PathBuf> = Vec::new();
        for name in &named {
            if Path::new(name).is_dir() {
                files.extend(runbooks_in(Path::new(name))?);
            } else {
                files.push(find::path(name)?);
            }
        }
        if files.is_empty() {
            return Err(CliError::Usage {
                message: format!("there is no runbook in {}", named.join(", ")),
                hint: Some("name the files, or the folder that they are in".to_owned()),
            });
        }
        let mut problems: Vec<Diagnostic> = Vec::new();
        let mut loaded = Vec::new();
        for file in files {
            match crate::runbook::load_file(&file) {
                Ok(one) => {
                    problems.extend(check::findings(&one)?);
                    loaded.push(one);
                }
                Err(found) => problems.extend(found),
            }
        }
        if problems.iter().any(|problem| problem.severity == Severity::Error) {
            return Err(CliError::Diagnostics(problems));
        }
        Ok(loaded)
    }

    /// Every past run that proves something, the newest first. A record that cannot be believed proves nothing.
    fn past(&self) -> Result<Vec<Past>, CliError> {
        let mut found: BTreeMap<RunId, Past> = BTreeMap::new();
        for folder in Store::new(env::state_folder()).list()? {
            keep(&folder.id.to_string(), Record::of_run(&folder), &mut found);
        }
        if let Some(folder) = &self.records {
            let entries =
                std::fs::read_dir(folder).map_err(|error| CliError::usage(format!("{}: {error}", folder.display())))?;
            let mut files: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
            files.retain(|file| file.is_file() && file.extension().is_some_and(|ending| ending == "tar"));
            files.sort();
            for file in files {
                keep(&file.display().to_string(), Record::of_file(&file), &mut found);
            }
        }
        Ok(found.into_values().rev().collect())
    }

    fn row(&self, loaded: &Loaded, past: &[Past], now: Timestamp) -> Row {
        let name = loaded.runbook.name.as_str();
        let seen: Vec<Seen> = past.iter().filter_map(|past| seen(loaded, name, past, now)).collect();
        let is_recent = |seen: &&Seen| seen.age <= self.older_than.0;
        let counts = |seen: &&Seen| is_recent(seen) && !(self.changed && seen.changed);
        let why = if seen.iter().any(|seen| counts(&seen)) {
            None
        } else if seen.iter().any(|seen| is_recent(&seen)) {
            Some("it has changed since it was last seen to work".to_owned())
        } else if seen.is_empty() {
            Some("it was never drilled with success, and never run".to_owned())
        } else {
            Some(format!("it was not seen to work within {}", self.older_than))
        };
        Row {
            file: loaded.source.name.clone(),
            runbook: name.to_owned(),
            stale: why.is_some(),
            why,
            last_green_drill: seen.iter().find(|seen| seen.scenario.is_some()).cloned(),
            last_run: seen.iter().find(|seen| seen.outcome.is_some()).cloned(),
        }
    }
}

/// The runbooks that lie in a folder, but not below it: drills and templates do.
fn runbooks_in(folder: &Path) -> Result<Vec<PathBuf>, CliError> {
    let entries = std::fs::read_dir(folder).map_err(|error| CliError::file(folder, error))?;
    let mut files: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    files.sort();
    files.retain(|file| {
        let is_yaml = file.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
        // Other files may lie beside them, such as the one that says who is in which group.
        is_yaml
            && std::fs::read(file)
                .is_ok_and(|text| text.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"runbook:")))
    });
    Ok(files)
}

fn keep(name: &str, record: Result<Record, ExportError>, found: &mut BTreeMap<RunId, Past>) {
    match record.map_err(|error| error.to_string()).and_then(|record| proves(&record)) {
        Ok(Some(past)) => {
            found.entry(past.run.clone()).or_insert(past);
        }
        Ok(None) => {}
        Err(reason) => anstream::eprintln!("warning: {name} is not believed: {reason}"),
    }
}

/// What a record proves, once it is known to be what was written; `None` when it proves nothing.
fn proves(record: &Record) -> Result<Option<Past>, String> {
    let entries = match record.entries() {
        Ok(entries) => entries,
        Err(LogError::Newer { .. }) => return Err("a newer version of `runbook` wrote it".to_owned()),
        Err(error) => return Err(error.to_string()),
    };
    let Some(last) = entries.last() else { return Ok(None) };
    let verdict = record.verify().map_err(|error| error.to_string())?;
    if let Some(finding) = verdict.finding {
        return Err(finding.what);
    }
    let plan = Arc::new(record.plan().map_err(|error| error.to_string())?);
    let mut state = RunState::new(Arc::clone(&plan));
    let mut called = Vec::new();
    for entry in &entries {
        state.apply(&entry.recorded).map_err(|error| error.to_string())?;
        if let Event::CallBegan { step, .. } = &entry.recorded.event
            && let Some((plan, place)) = state.plan_of(step)
            && let Some(runbook) = plan.called_runbook(place)
        {
            called.push(runbook.name.to_string());
        }
    }
    // A drill has its own time; when it was held stands in its id.
    let Some((run, at)) = state.run().and_then(|run| Some((run.clone(), run.started()?))) else { return Ok(None) };
    let kind = if state.drill().is_some() {
        let score: Option<KeptScore> =
            record.file(KeptScore::FILE).and_then(|bytes| serde_json::from_slice(&bytes).ok());
        match score.filter(|score| score.passed && score.head == last.hash) {
            Some(score) => Kind::GreenDrill { scenario: score.scenario },
            None => return Ok(None),
        }
    } else {
        match state.outcome() {
            Some(outcome) if outcome != Outcome::Cancelled => Kind::Run { outcome },
            _ => return Ok(None),
        }
    };
    Ok(Some(Past { run, at, kind, plan, called }))
}

/// What a past run says of a runbook; `None` when it says nothing of this one.
fn seen(loaded: &Loaded, name: &str, past: &Past, now: Timestamp) -> Option<Seen> {
    let caller = past.plan.runbook().name.as_str();
    let part_of = match caller == name {
        true => None,
        false if past.called.iter().any(|called| called == name) => Some(caller.to_owned()),
        false => return None,
    };
    let (scenario, outcome) = match &past.kind {
        Kind::GreenDrill { scenario } => (Some(scenario.clone()), None),
        Kind::Run { outcome } => (None, Some(*outcome)),
    };
    let (plan, plan_now) = match &part_of {
        None => (past.plan.digest().clone(), digest_now(loaded, &past.plan)),
        // A part has no plan of its own in the record: what its file said is compared.
        Some(_) => (past.plan.source_digest_of(name)?.clone(), Some(Digest::of(loaded.source.text.as_bytes()))),
    };
    Some(Seen {
        run: past.run.to_string(),
        at: past.at,
        scenario,
        outcome,
        part_of,
        changed: plan_now.as_ref() != Some(&plan),
        plan,
        plan_now,
        age: clock::until(past.at, now),
    })
}

/// The digest of the plan that the file gives now, with the inputs of then.
fn digest_now(loaded: &Loaded, then: &Plan) -> Option<Digest> {
    let inputs = then.inputs().iter().map(|(name, value)| (name.clone(), value.clone()));
    // An input that is gone changes the plan's meaning anyhow; one that is new may have a default.
    let inputs = inputs.filter(|(name, value)| loaded.runbook.inputs.contains_key(name) && !value.is_null()).collect();
    plan::build(loaded, &actions::builtin(), &inputs).ok().map(|plan| plan.digest().clone())
}

fn text(rows: &[Row]) -> String {
    let width = rows.iter().map(|row| row.runbook.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for row in rows {
        let state = if row.stale { "STALE" } else { "fresh" };
        let why = row.why.as_ref().map(|why| format!("{why}; ")).unwrap_or_default();
        let drill = row.last_green_drill.as_ref().map_or("no green drill".to_owned(), |seen| {
            let scenario = seen.scenario.as_deref().unwrap_or_default();
            format!("last green drill {} ({scenario})", told(seen))
        });
        let run = row.last_run.as_ref().map_or("no run".to_owned(), |seen| {
            let outcome = seen.outcome.map(|outcome| outcome.to_string()).unwrap_or_default();
            format!("last run {} ({outcome})", told(seen))
        });
        text.push_str(&format!("{state}  {:width$}  {why}{drill}, {run}\n", row.runbook));
    }
    text
}

/// When it was, and whether the file still says the same.
fn told(seen: &Seen) -> String {
    let age = HumanDuration(seen.age).rounded();
    let part = seen.part_of.as_ref().map(|caller| format!(" as a part of {caller}")).unwrap_or_default();
    let changed = if seen.changed { ", before it was changed" } else { "" };
    format!("{age} ago{part}{changed}")
}
