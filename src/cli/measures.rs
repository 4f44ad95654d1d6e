//! `runbook measures`: every emergency measure still in force over all runs; makes one longer, or ends it.

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::base::clock::SystemClock;
use crate::base::{Clock, HumanDuration, StepPath, Timestamp, clock};
use crate::run::Event;
use crate::runbook::OnExpiry;
use crate::runlog::{Letter, Store};

use super::drive::known_step;
use super::env;
use super::errors::CliError;
use super::exit::Exit;
use super::flags::Format;
use super::known::{KnownRun, Sent};
use super::undo::{HowToUndo, undo};

/// Arguments of `runbook measures`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Measures {
    #[command(subcommand)]
    action: Option<Action>,
    /// Drills too.
    #[arg(long)]
    all: bool,
    /// How to print them.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Give an emergency measure more time.
    Extend(Extend),
    /// End an emergency measure: undo its step and what was built on it.
    Close(Close),
}

#[derive(Debug, Args)]
struct Extend {
    #[command(flatten)]
    which: Which,
    /// By how much, from the moment when it was to be over: `30m`.
    #[arg(long, value_name = "DURATION")]
    by: HumanDuration,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT")]
    reason: String,
}

#[derive(Debug, Args)]
struct Close {
    #[command(flatten)]
    which: Which,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// It was ended already, by hand: only record that.
    #[arg(long, conflicts_with_all = ["yes", "endpoint", "quiet"])]
    by_hand: bool,
    #[command(flatten)]
    how: HowToUndo,
}

/// One measure.
#[derive(Debug, Args)]
struct Which {
    /// The run: its id, a part of it, or `last`.
    #[arg(value_name = "RUN", add = clap_complete::engine::ArgValueCompleter::new(super::completions::runs))]
    run: String,
    /// The step that put it in force.
    #[arg(value_name = "STEP", add = clap_complete::engine::ArgValueCompleter::new(super::completions::measures))]
    step: String,
}

/// A measure in force.
#[derive(Debug, Serialize)]
struct Row {
    run: String,
    runbook: String,
    step: StepPath,
    since: Timestamp,
    age: HumanDuration,
    expires: Option<Timestamp>,
    overdue: Option<HumanDuration>,
    on_expiry: OnExpiry,
    by: String,
    is_led: bool,
    drill: Option<String>,
}

impl Measures {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        match self.action {
            Some(Action::Extend(extend)) => extend.run(),
            Some(Action::Close(close)) => close.run(),
            None => list(self.all, self.format),
        }
    }
}

fn list(all: bool, format: Format) -> Result<Exit, CliError> {
    let mut rows = Vec::new();
    let mut all_read = true;
    for folder in Store::new(env::state_folder()).list()? {
        let id = folder.id.clone();
        match KnownRun::of(folder) {
            Ok(run) if run.state.drill().is_none() || all => rows.extend(rows_of(&run)),
            Ok(_) => {}
            // A run that died before its first entry has done nothing.
            Err(error) if error.is_not_begun() => {}
            Err(error) => {
                anstream::eprintln!("run {id} cannot be read, and may have measures in force: {error}");
                all_read = false;
            }
        }
    }
    match format {
        Format::Json => super::print_json(&rows)?,
        Format::Text if rows.is_empty() && all_read => anstream::eprintln!("no emergency measure is in force"),
        Format::Text => rows.iter().try_for_each(|row| super::print(&text(row)))?,
    }
    Ok(if rows.iter().any(|row| row.overdue.is_some()) {
        Exit::Failed
    } else if all_read {
        Exit::Succeeded
    } else {
        Exit::Internal
    })
}

fn rows_of(run: &KnownRun) -> Vec<Row> {
    let state = &run.state;
    // A drill has a time of its own.
    let now = if state.drill().is_some() { state.now() } else { SystemClock.now() };
    let row = |measure: crate::run::InForce| {
        let expires = state.measure_expiry(&measure.step);
        let overdue =
            expires.filter(|expires| *expires <= now).map(|expires| HumanDuration(clock::until(expires, now)));
        let on_expiry = state.step(&measure.step).and_then(|step| step.measure.as_ref());
        Row {
            run: run.folder.id.to_string(),
            runbook: state.plan().runbook().name.to_string(),
            since: measure.since,
            age: HumanDuration(clock::until(measure.since, now)),
            expires,
            overdue,
            on_expiry: on_expiry.map(|measure| measure.on_expiry).unwrap_or_default(),
            by: state.started_by().unwrap_or_default().to_owned(),
            is_led: run.is_led(),
            drill: state.drill().map(str::to_owned),
            step: measure.step,
        }
    };
    state.measures_in_force().into_iter().map(row).collect()
}

fn text(row: &Row) -> String {
    let Row { run, runbook, step, .. } = row;
    let minute = |at: Timestamp| at.strftime("%Y-%m-%d %H:%M UTC");
    let drill = row.drill.as_ref().map(|scenario| format!(", drill {scenario}")).unwrap_or_default();
    let expiry = match (row.expires, row.overdue) {
        (Some(at), Some(by)) => format!("OVERDUE by {}, was to be over by {}", by.rounded(), minute(at)),
        (Some(at), None) => format!("to be over by {}", minute(at)),
        (None, _) => "when it must be over is not known".to_owned(),
    };
    let then = match (row.on_expiry, row.is_led) {
        (OnExpiry::Hold, _) => format!("nothing ends it by itself: runbook measures close {run} {step} --reason …"),
        (OnExpiry::Undo, true) => "undone by itself when that is over".to_owned(),
        (OnExpiry::Undo, false) => {
            format!("undone when that is over, but no process leads the run: runbook resume {run}")
        }
    };
    let by = row.by.trim_start_matches("user:");
    format!(
        "{run}  {runbook}{drill}  {step}  in force for {}, since {}, by {by}\n    {expiry}; {then}\n",
        row.age.rounded(),
        minute(row.since)
    )
}

impl Which {
    /// The run and the step, whose measure is in force.
    fn find(&self) -> Result<(KnownRun, StepPath), CliError> {
        let known = KnownRun::find(&self.run)?;
        known.must_be_real()?;
        let step = known_step(&known.state, &self.step)?;
        let in_force = known.state.measures_in_force();
        if !in_force.iter().any(|measure| measure.step == step) {
            let others: Vec<String> = in_force.iter().map(|measure| format!("`{}`", measure.step)).collect();
            return Err(CliError::Usage {
                message: format!("step `{step}` has no emergency measure in force"),
                hint: Some(match others.as_slice() {
                    [] => "none of this run is; `runbook measures` lists those of all runs".to_owned(),
                    others => format!("in force are those of {}", others.join(", ")),
                }),
            });
        }
        Ok((known, step))
    }
}

impl Extend {
    fn run(self) -> Result<Exit, CliError> {
        let (known, step) = self.which.find()?;
        let now = SystemClock.now();
        let was = known.state.measure_expiry(&step).unwrap_or(now);
        let until = clock::after(was, self.by.0);
        if until <= now {
            let late = HumanDuration(clock::until(was, now)).rounded();
            return Err(CliError::Usage {
                message: format!(
                    "the measure of `{step}` is overdue by {late}: {} more would be over already",
                    self.by
                ),
                hint: Some(format!("nothing was changed; give it more than {late}")),
            });
        }
        let (by, reason) = (env::user(), self.reason);
        let id = known.folder.id.clone();
        let sent = if known.is_led() {
            known.send(&Letter::Extend { step: step.clone(), until, by, reason })?
        } else {
            known.record(Event::MeasureExtended { step: step.clone(), until, by, reason })?;
            Sent::Granted
        };
        Ok(told(
            sent,
            &id,
            &format!("the measure of `{step}` may be in force until {}", until.strftime("%Y-%m-%d %H:%M UTC")),
        ))
    }
}

impl Close {
    fn run(self) -> Result<Exit, CliError> {
        let (known, step) = self.which.find()?;
        if !self.by_hand {
            known.must_be_over()?;
            let mut only = known.state.to_undo_of(&step);
            if only.is_empty() {
                return Err(CliError::Usage {
                    message: format!("step `{step}` cannot be undone: its runbook has no `undo` for it"),
                    hint: Some("end it by hand, then say so with `--by-hand`; nothing was changed".to_owned()),
                });
            }
            let built_on_it = known.state.built_on(&only);
            only.extend(built_on_it);
            return undo(known, only, Some(self.reason), &self.how);
        }
        let (by, reason) = (env::user(), self.reason);
        let id = known.folder.id.clone();
        let sent = if known.is_led() {
            known.send(&Letter::Close { step: step.clone(), by, reason })?
        } else {
            known.record(Event::MeasureClosed { step: step.clone(), by, reason })?;
            Sent::Granted
        };
        Ok(told(sent, &id, &format!("the measure of `{step}` counts as ended")))
    }
}

fn told(sent: Sent, run: &crate::base::RunId, what: &str) -> Exit {
    match sent {
        Sent::Granted => {
            anstream::eprintln!("{what}");
            Exit::Succeeded
        }
        Sent::Left => {
            anstream::eprintln!("that was left with run {run}, which no process has taken up");
            anstream::eprintln!("go on with: runbook resume {run}");
            Exit::Waiting
        }
    }
}
