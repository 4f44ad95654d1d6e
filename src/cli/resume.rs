//! `runbook resume`: goes on with a run, from the plan that is stored with it.

use std::sync::Arc;

use clap::Args;

use crate::base::{Redactor, RunId};
use crate::process::{Survivor, survivors};
use crate::run::{Event, locks_held};
use crate::runlog::Store;

use super::drive::{Answers, OpenRun, Surroundings, Wishes, conclude, console, drive};
use super::errors::CliError;
use super::exit::Exit;
use super::flags::{Endpoints, Format};
use super::locks::StoreLocks;
use super::terminal::Terminal;
use super::{drill, env};

/// Arguments of `runbook resume`.
#[derive(Debug, Args)]
pub(super) struct Resume {
    /// The run: its id, a part of it, or `last`.
    #[arg(value_name = "RUN", add = clap_complete::engine::ArgValueCompleter::new(super::completions::runs))]
    run: String,
    #[command(flatten)]
    answers: Answers,
    #[command(flatten)]
    wishes: Wishes,
    /// Take locks anew that have changed hands since the run held them. Look first what the other run did.
    #[arg(long)]
    take_locks: bool,
    #[command(flatten)]
    endpoints: Endpoints,
    /// Show only how it ended.
    #[arg(long, short = 'q')]
    quiet: bool,
    /// How to print the score, when it is a drill.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

impl Resume {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let store = Store::new(env::state_folder());
        let folder = store.find(&self.run)?;
        let redactor: Arc<Redactor> = Arc::default();
        let run = OpenRun::open(folder.clone(), Arc::clone(&redactor))?;
        if let Some(outcome) = run.state.outcome().filter(|_| !run.state.may_be_resumed()) {
            return Err(CliError::Over { run: folder.id.to_string(), outcome: outcome.to_string() });
        }
        self.answers.check(&run.state)?;
        if run.state.run().is_none() {
            return Err(CliError::not_begun(&folder));
        }
        if run.state.drill().is_some() {
            if !self.answers.is_empty() {
                let message = "a drill is answered by its scenario, or by you when it was begun with `--ask`";
                return Err(CliError::usage(message));
            }
            return drill::resume(run, &store, self.quiet, self.format);
        }
        self.heed_survivors(&folder.id)?;
        let surroundings = Surroundings::real(&run.plan, self.endpoints.origins()?, redactor);
        surroundings.check_secrets(&run.plan)?;
        let console = console(&run, self.quiet, 1.0);
        let people = Arc::new(Terminal::new(&self.answers, Arc::clone(&console), Arc::clone(&surroundings.clock))?);
        let locks = StoreLocks::new(&store);
        let first = resumed(&run, &locks, self.take_locks)?;
        let wishes = self.wishes.events(&run.state, &first, surroundings.clock.now())?;
        let first = std::iter::once(first).chain(wishes).collect();
        let (ending, state) = drive(run, first, &surroundings, people, locks, &console, &store)?;
        conclude(&ending, state, &folder, &console)
    }
}

impl Resume {
    /// Processes that have outlived the program that started them are named. To do again what still goes on would be to
    /// do it twice, so nobody may ask for that.
    fn heed_survivors(&self, run: &RunId) -> Result<(), CliError> {
        let survivors = survivors(run.as_str());
        for Survivor { pid, step } in &survivors {
            anstream::eprintln!(
                "process {pid} of step `{step}` has outlived the program that started it, and still runs"
            );
        }
        let unwise = |survivor: &&Survivor| {
            self.answers.again.contains(&survivor.step) || self.answers.did_not_happen.contains(&survivor.step)
        };
        match survivors.iter().find(unwise) {
            Some(Survivor { pid, step }) => Err(CliError::Usage {
                message: format!("nobody can say yet what becomes of `{step}`: its process {pid} still runs"),
                hint: Some(format!("wait until it has ended, or end it (`kill {pid}`), and look; nothing was changed")),
            }),
            None => Ok(()),
        }
    }
}

/// The event that takes a run up again, with the locks that it needs.
pub(super) fn resumed(run: &OpenRun, locks: &StoreLocks, take_anew: bool) -> Result<Event, CliError> {
    // A run that was over has given its locks back; any other still counts on them.
    let counts_on_them = run.state.outcome().is_none() && !take_anew;
    let had = locks_held(run.past.iter().map(|recorded| &recorded.event));
    let had = had.into_iter().map(|(name, number)| (name, counts_on_them.then_some(number)));
    let locks = locks.take_all(&run.plan, &run.folder.id, had)?;
    Ok(Event::RunResumed { by: env::user(), locks })
}
