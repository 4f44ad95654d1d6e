//! `runbook undo`: takes back what a run that is over has done.

use std::sync::Arc;

use clap::Args;
use serde_json::Value;

use crate::action::{Intent, Registry};
use crate::actions;
use crate::base::{Redactor, StepPath, Timestamp};
use crate::plan::show_secrets;
use crate::run::{Event, Rendering, RunState, StepState, UndoState, locks_held};
use crate::runbook::{Does, Undo as Inverse};
use crate::runlog::{RunFolder, Store};

use super::drive::{Answers, OpenRun, Surroundings, conclude, console, drive, known_step};
use super::env;
use super::errors::CliError;
use super::exit::Exit;
use super::flags::Endpoints;
use super::known::KnownRun;
use super::locks::StoreLocks;
use super::plan::intent_lines;
use super::terminal::{Terminal, confirm};

/// Arguments of `runbook undo`.
#[derive(Debug, Args)]
pub(super) struct Undo {
    /// The run: its id, a part of it, or `last`.
    #[arg(value_name = "RUN", add = clap_complete::engine::ArgValueCompleter::new(super::completions::runs))]
    run: String,
    /// Only show what would be undone.
    #[arg(long)]
    plan: bool,
    /// Undo only this step; as often as needed. Refused while something that was built on it would stay.
    #[arg(long, value_name = "STEP", add = clap_complete::engine::ArgValueCompleter::new(super::completions::steps))]
    only: Vec<String>,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    how: HowToUndo,
}

/// How something is undone.
#[derive(Debug, Args)]
pub(super) struct HowToUndo {
    /// Do not ask whether to undo. Needed where nobody can be asked.
    #[arg(long, short = 'y')]
    yes: bool,
    #[command(flatten)]
    endpoints: Endpoints,
    /// Show only how it ended.
    #[arg(long, short = 'q')]
    quiet: bool,
}

impl Undo {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let known = KnownRun::find(&self.run)?;
        known.must_be_real()?;
        known.must_be_over()?;
        let only = wanted(&known, &self.only)?;
        if self.plan {
            super::print(&preview(&known.folder, &known.state, &only))?;
            return Ok(Exit::Succeeded);
        }
        undo(known, only, self.reason, &self.how)
    }
}

/// The steps that are named, each as what there is to undo of it.
fn wanted(known: &KnownRun, named: &[String]) -> Result<Vec<StepPath>, CliError> {
    let state = &known.state;
    let mut only = Vec::new();
    for text in named {
        let step = known_step(state, text)?;
        let found = state.to_undo_of(&step);
        if found.is_empty() {
            return Err(CliError::Usage {
                message: format!("there is nothing to undo of step `{step}`: {}", why_not(state, &step)),
                hint: Some(format!("nothing was changed; `runbook undo {} --plan` lists the rest", known.folder.id)),
            });
        }
        only.extend(found.into_iter().filter(|step| !only.contains(step)).collect::<Vec<_>>());
    }
    let remain = state.built_on(&only);
    if !remain.is_empty() {
        let flags: Vec<String> = remain.iter().map(|step| format!("--only {step}")).collect();
        return Err(CliError::Usage {
            message: format!("{} would stay, and was built on what you name", listed(&remain)),
            hint: Some(format!("nothing was changed; add {}", flags.join(" "))),
        });
    }
    Ok(only)
}

fn why_not(state: &RunState, step: &StepPath) -> &'static str {
    match state.record(step) {
        Some(record) if matches!(record.undo, Some(UndoState::Undone(_))) => "it has been undone",
        _ if state.cannot_be_undone().contains(step) => "its runbook has no `undo` for it",
        _ => "it has changed nothing",
    }
}

/// Undoes a run that is over: these steps, or everything when none is named.
pub(super) fn undo(
    known: KnownRun,
    only: Vec<StepPath>,
    reason: Option<String>,
    how: &HowToUndo,
) -> Result<Exit, CliError> {
    let id = known.folder.id.clone();
    let targets: Vec<StepPath> = known.state.undo_order(&only).into_iter().flatten().collect();
    if targets.is_empty() && unseen(&known.state).is_empty() {
        anstream::eprintln!("there is nothing to undo in run {id}");
        return Ok(Exit::Succeeded);
    }
    if !how.yes {
        anstream::eprint!("{}", preview(&known.folder, &known.state, &only));
        if !env::is_attended() {
            return Err(CliError::Usage {
                message: "nobody can be asked here whether to undo this; nothing was changed".to_owned(),
                hint: Some("look at it with `--plan`, then say `--yes`".to_owned()),
            });
        }
        if !confirm("Undo this?") {
            return Err(CliError::usage("not confirmed; nothing was changed"));
        }
    }
    let redactor: Arc<Redactor> = Arc::default();
    let run = OpenRun::open(known.folder, Arc::clone(&redactor))?;
    if run.state.outcome().is_none() {
        return Err(CliError::Unfinished { run: id.to_string() });
    }
    let surroundings = Surroundings::real(&run.plan, how.endpoints.origins()?, redactor);
    surroundings.check_secrets(&run.plan)?;
    let store = Store::new(env::state_folder());
    let locks = StoreLocks::new(&store);
    // Its locks were given back when it was over: they are taken anew, those of the runbooks that it called too.
    let names = locks_held(run.past.iter().map(|recorded| &recorded.event));
    let held = locks.take_all(&run.plan, &id, names.keys().map(|name| (name.clone(), None)))?;
    let by = env::user();
    let mut first = vec![Event::UndoRequested { by: by.clone(), only, reason }];
    if !held.is_empty() {
        first.push(Event::RunResumed { by, locks: held });
    }
    let console = console(&run, how.quiet, 1.0);
    let people = Arc::new(Terminal::new(&Answers::default(), Arc::clone(&console), Arc::clone(&surroundings.clock))?);
    let folder = run.folder.clone();
    let (ending, state) = drive(run, first, &surroundings, people, locks, &console, &store)?;
    let over = state.outcome().map(|_| match targets.iter().all(|step| is_undone(&state, step)) {
        _ if state.is_cancelled() => Exit::Cancelled,
        true => Exit::Succeeded,
        false => Exit::Stuck,
    });
    let exit = conclude(&ending, state, &folder, &console)?;
    Ok(over.unwrap_or(exit))
}

fn is_undone(state: &RunState, step: &StepPath) -> bool {
    state.record(step).is_some_and(|record| matches!(record.undo, Some(UndoState::Undone(_))))
}

/// Steps whose end nobody saw.
fn unseen(state: &RunState) -> Vec<StepPath> {
    let unseen = |state: &StepState| matches!(state, StepState::InDoubt | StepState::Interrupted);
    state.records().filter(|(_, record)| unseen(&record.state)).map(|(path, _)| path.clone()).collect()
}

fn listed(steps: &[StepPath]) -> String {
    steps.iter().map(|step| format!("`{step}`")).collect::<Vec<_>>().join(", ")
}

/// What would be undone, in which order and how; what would not.
fn preview(folder: &RunFolder, state: &RunState, only: &[StepPath]) -> String {
    let registry = actions::builtin();
    let mut text = String::new();
    let mut line = |words: &str| {
        text.push_str(words.trim_end());
        text.push('\n');
    };
    let ended = state.outcome().map(|outcome| format!(", {outcome}")).unwrap_or_default();
    line(&format!("undo of run {} ({}{ended})", folder.id, state.plan().runbook().name));
    let waves = state.undo_order(only);
    if waves.is_empty() {
        line("there is nothing to undo");
    }
    for (number, wave) in waves.iter().enumerate() {
        let beside = if wave.len() > 1 { ", side by side" } else { "" };
        line(&format!("wave {}{beside}", number + 1));
        for step in wave {
            let (how, does) = inverse(state, step, &registry, state.now());
            line(&format!("  {step}: {how}"));
            does.iter().flat_map(intent_lines).for_each(|words| line(&format!("      {words}")));
        }
    }
    let mut section = |title: &str, rows: Vec<String>| {
        if !rows.is_empty() {
            line(title);
            rows.iter().for_each(|row| line(&format!("  {row}")));
        }
    };
    let doubtful = unseen(state).iter().map(ToString::to_string).collect();
    section("nobody saw how these ended; that is found out first", doubtful);
    section("cannot be undone, and stay", state.cannot_be_undone().iter().map(ToString::to_string).collect());
    let undone = state.records().filter_map(|(path, record)| match &record.undo {
        Some(UndoState::Undone(undone)) => Some(format!("{path}: {}", undone.summary)),
        _ => None,
    });
    section("undone already", undone.collect());
    text
}

/// How a step would be undone, and exactly what that does as far as it is known.
fn inverse(state: &RunState, path: &StepPath, registry: &Registry, now: Timestamp) -> (String, Vec<Intent>) {
    let (Some(step), Some(record)) = (state.step(path), state.record(path)) else { return Default::default() };
    match (&step.undo, &step.does) {
        (Some(Inverse::Action { uses, .. }), _) => {
            let params = match &record.undo_params {
                Some(params) => Ok(Some(params.value())),
                None => Rendering::new(state, path, now).map_or(Ok(None), |rendering| rendering.undo_params()),
            };
            match params {
                Ok(params) => {
                    let action = registry.get(uses);
                    let mut does =
                        action.and_then(|action| action.describe(&params.unwrap_or_default())).unwrap_or_default();
                    does.iter_mut().for_each(show_secrets);
                    (format!("runs `{uses}`"), does)
                }
                Err(error) => (format!("runs `{uses}`, which will fail: {error}"), Vec::new()),
            }
        }
        (Some(Inverse::Auto), Does::Action { uses, .. }) => {
            let words = registry.get(uses).and_then(|action| action.contract().undo).unwrap_or_default();
            let saved = record.checkpoint.as_ref().map(|kept| saved(&kept.value())).unwrap_or_default();
            (format!("{words}{saved}"), Vec::new())
        }
        _ => Default::default(),
    }
}

fn saved(checkpoint: &Value) -> String {
    format!("\n      from what it saved: {}", crate::base::secret::shown(&checkpoint.to_string()))
}
