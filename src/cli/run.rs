//! `runbook run`: runs a runbook.

use std::sync::Arc;

use clap::Args;

use crate::base::Clock;
use crate::base::clock::SystemClock;
use crate::plan::{self, Plan};
use crate::run::{Event, RunState};
use crate::runlog::Store;
use crate::{actions, base};

use super::drive::{Answers, OpenRun, Surroundings, Wishes, conclude, console, drive};
use super::errors::CliError;
use super::exit::Exit;
use super::flags::{Concurrency, Endpoints, Inputs};
use super::locks::StoreLocks;
use super::terminal::{Terminal, confirm};
use super::{check, env, find};

/// Arguments of `runbook run`.
#[derive(Debug, Args)]
pub(super) struct Run {
    /// The runbook: a file or a name.
    #[arg(value_name = "FILE|NAME", add = clap_complete::engine::ArgValueCompleter::new(super::completions::runbooks))]
    runbook: String,
    #[command(flatten)]
    inputs: Inputs,
    /// Answer prompts for confirmation. Never answers a gate.
    #[arg(long, short = 'y')]
    yes: bool,
    #[command(flatten)]
    answers: Answers,
    #[command(flatten)]
    wishes: Wishes,
    #[command(flatten)]
    endpoints: Endpoints,
    #[command(flatten)]
    concurrency: Concurrency,
    /// Show only how it ended.
    #[arg(long, short = 'q')]
    quiet: bool,
}

impl Run {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let loaded = check::checked(&self.runbook)?;
        let plan = plan::build(&loaded, &actions::builtin(), &self.inputs.values()?)?
            .in_folder(find::folder_of(&loaded.source.name));
        // What places in the file are for has been used; a long run should not carry it along.
        drop(loaded);
        if !self.answers.is_empty() {
            self.answers.check(&RunState::new(Arc::new(plan.clone())))?;
        }
        let redactor: Arc<base::Redactor> = Arc::default();
        let surroundings = Surroundings::real(&plan, self.endpoints.origins()?, Arc::clone(&redactor));
        surroundings.check_secrets(&plan)?;
        if env::is_attended() && !self.yes && !confirm_writes(&plan) {
            return Err(CliError::usage("not confirmed; nothing was started"));
        }
        let store = Store::new(env::state_folder());
        let run = OpenRun::create(&store, plan, SystemClock.now(), redactor)?;
        let locks = StoreLocks::new(&store);
        let mut first = started(&run, None, &self.concurrency);
        let wishes = match self.wishes.events(&run.state, &first, SystemClock.now()) {
            Ok(wishes) => wishes,
            Err(error) => return Err(run.forget(error)),
        };
        match locks.take_all(&run.plan, &run.folder.id, []) {
            Ok(taken) => {
                if let Event::RunStarted { locks, .. } = &mut first {
                    *locks = taken;
                }
            }
            Err(error) => return Err(run.forget(error)),
        }
        let first = std::iter::once(first).chain(wishes).collect();
        let console = console(&run, self.quiet, 1.0);
        let people = Arc::new(Terminal::new(&self.answers, Arc::clone(&console), Arc::clone(&surroundings.clock))?);
        let folder = run.folder.clone();
        let (ending, state) = drive(run, first, &surroundings, people, locks, &console, &store)?;
        conclude(&ending, state, &folder, &console)
    }
}

/// The event that begins a run.
pub(super) fn started(run: &OpenRun, drill: Option<String>, concurrency: &Concurrency) -> Event {
    Event::RunStarted {
        run: run.folder.id.clone(),
        runbook: run.plan.runbook().name.to_string(),
        plan: run.plan.digest().clone(),
        by: env::user(),
        drill,
        limits: concurrency.limits(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        locks: Vec::new(),
    }
}

/// Writes that no gate stands before are confirmed once, before anything begins.
fn confirm_writes(plan: &Plan) -> bool {
    let preview = plan::preview(plan, &actions::builtin());
    // A call is told by the steps in it that write.
    let ungated: Vec<String> = preview
        .all_steps()
        .into_iter()
        .filter(|(_, step)| step.writes() && step.gate.is_none() && step.calls.is_none())
        .map(|(path, _)| path.to_string())
        .collect();
    if ungated.is_empty() {
        return true;
    }
    anstream::eprintln!("{} will write without asking again in: {}", plan.runbook().name, ungated.join(", "));
    confirm("Run it?")
}
