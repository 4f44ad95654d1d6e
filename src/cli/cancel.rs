//! `runbook cancel`: stops a run from another terminal, or one that nobody leads any more.

use std::sync::Arc;

use clap::Args;

use crate::base::Redactor;
use crate::engine::{Ending, Nobody};
use crate::run::Event;
use crate::runlog::{Inbox, Letter, Store};

use super::drive::{OpenRun, Surroundings, conclude, console, drive};
use super::env;
use super::errors::CliError;
use super::exit::Exit;
use super::flags::Endpoints;
use super::known::{KnownRun, Sent};
use super::locks::StoreLocks;
use super::resume;

/// Arguments of `runbook cancel`.
#[derive(Debug, Args)]
pub(super) struct Cancel {
    /// The run: its id, a part of it, or `last`.
    #[arg(value_name = "RUN", add = clap_complete::engine::ArgValueCompleter::new(super::completions::runs))]
    run: String,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    endpoints: Endpoints,
    /// Show only how it ended.
    #[arg(long, short = 'q')]
    quiet: bool,
}

impl Cancel {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let known = KnownRun::find(&self.run)?;
        known.must_go_on()?;
        if known.is_led() { self.ask_whoever_leads(&known) } else { self.lead_to_the_end(known) }
    }

    fn ask_whoever_leads(self, known: &KnownRun) -> Result<Exit, CliError> {
        let id = &known.folder.id;
        anstream::eprintln!("waiting until the process that leads run {id} takes note");
        let name = known.leave(&Letter::Cancel { by: env::user(), reason: self.reason })?;
        match known.wait_for(&name)? {
            Sent::Granted => {
                anstream::eprintln!("run {id} is stopping; see how it ends with: runbook watch {id}");
                Ok(Exit::Succeeded)
            }
            // Whoever goes on with the run later must not find it there.
            Sent::Left if Inbox::of(known.folder.path()).remove(&name) => Err(CliError::Usage {
                message: format!("the process that led run `{id}` did not take note; nothing was changed"),
                hint: Some(format!("`runbook show {id}` tells where it stands; then `runbook cancel {id}` once more")),
            }),
            Sent::Left => Ok(Exit::Succeeded),
        }
    }

    /// Nobody leads it: the final steps are run here.
    fn lead_to_the_end(self, known: KnownRun) -> Result<Exit, CliError> {
        if known.state.drill().is_some() {
            return Err(CliError::Usage {
                message: format!(
                    "run `{}` is a drill that no process leads: there is nothing to stop",
                    known.folder.id
                ),
                hint: Some("go on with it by `runbook resume`, or delete its folder".to_owned()),
            });
        }
        let store = Store::new(env::state_folder());
        let redactor: Arc<Redactor> = Arc::default();
        let run = OpenRun::open(known.folder, Arc::clone(&redactor))?;
        let surroundings = Surroundings::real(&run.plan, self.endpoints.origins()?, redactor);
        let locks = StoreLocks::new(&store);
        let first = resume::resumed(&run, &locks, false)?;
        let console = console(&run, self.quiet, 1.0);
        let folder = run.folder.clone();
        let first = vec![first, Event::CancelRequested { by: env::user(), reason: self.reason }];
        let (ending, state) = drive(run, first, &surroundings, Arc::new(Nobody), locks, &console, &store)?;
        let exit = conclude(&ending, state, &folder, &console)?;
        Ok(if matches!(ending, Ending::Finished(_)) { Exit::Succeeded } else { exit })
    }
}
