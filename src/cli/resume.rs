//! `runbook resume`: goes on with a run, from the plan that is stored with it.

use std::sync::Arc;

use clap::Args;

use crate::base::Redactor;
use crate::run::{Event, Outcome};
use crate::runlog::Store;

use super::drive::{Answers, OpenRun, Surroundings, conclude, console, drive};
use super::errors::CliError;
use super::exit::Exit;
use super::flags::{Endpoints, Format};
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
        if let Some(outcome) = run.state.outcome().filter(|outcome| *outcome != Outcome::Cancelled) {
            return Err(CliError::Over { run: folder.id.to_string(), outcome: outcome.to_string() });
        }
        self.answers.check(&run.plan)?;
        if run.state.run().is_none() {
            return Err(CliError::Replay {
                run: folder.id.to_string(),
                reason: "it died before its first entry; nothing was done, so start it anew".to_owned(),
            });
        }
        if run.state.drill().is_some() {
            if !self.answers.is_empty() {
                let message = "a drill is answered by its scenario, or by you when it was begun with `--ask`";
                return Err(CliError::usage(message));
            }
            return drill::resume(run, &store, self.quiet, self.format);
        }
        let surroundings = Surroundings::real(&run.plan, self.endpoints.origins()?, redactor);
        surroundings.check_secrets(&run.plan)?;
        let console = console(&run, self.quiet, 1.0);
        let people = Arc::new(Terminal::new(&self.answers, Arc::clone(&console), Arc::clone(&surroundings.clock))?);
        let first = Event::RunResumed { by: env::user() };
        let (ending, summary, state) = drive(run, first, &surroundings, people, &console, &store)?;
        Ok(conclude((&ending, &summary, &state), &folder, &console))
    }
}
