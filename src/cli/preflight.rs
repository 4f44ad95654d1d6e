//! `runbook preflight`: what a run would miss, told before there is an incident.

use std::sync::Arc;

use clap::Args;

use crate::actions;
use crate::base::{Code, Redactor, Severity};
use crate::engine::Approvers;
use crate::http::Client;
use crate::plan;
use crate::preflight::{Here, examine};
use crate::runbook::Loaded;
use crate::runlog::Store;

use super::drive::Surroundings;
use super::errors::CliError;
use super::exit::Exit;
use super::flags::{Endpoints, Format, Inputs};
use super::{check, env, find};

/// Arguments of `runbook preflight`.
#[derive(Debug, Args)]
pub(super) struct Preflight {
    /// The runbook: a file or a name.
    #[arg(value_name = "FILE|NAME", add = clap_complete::engine::ArgValueCompleter::new(super::completions::runbooks))]
    runbook: String,
    #[command(flatten)]
    inputs: Inputs,
    #[command(flatten)]
    endpoints: Endpoints,
    /// How to print the list.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

impl Preflight {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let loaded = sound(&self.runbook)?;
        let registry = actions::builtin();
        let folder = find::folder_of(&loaded.source.name);
        let plan = plan::build(&loaded, &registry, &self.inputs.values()?)?.in_folder(folder);
        let approvers = Approvers::load(&plan.folder())?;
        let surroundings = Surroundings::real(&plan, self.endpoints.origins()?, Arc::<Redactor>::default());
        let store = Store::new(env::state_folder());
        let here = Here {
            plan: &plan,
            registry: &registry,
            http: Client::new(surroundings.origins.clone(), Arc::clone(&surroundings.secrets)),
            secrets: Arc::clone(&surroundings.secrets),
            approvers: &approvers,
            store: &store,
            requester: &env::user(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| CliError::Machine(format!("no runtime could be started: {error}")))?;
        let list = runtime.block_on(examine(&here));
        // A name that is being looked up cannot be called back.
        runtime.shutdown_background();
        match self.format {
            Format::Text => super::print(&list.text())?,
            Format::Json => super::print_json(&list)?,
        }
        Ok(if list.ready { Exit::Succeeded } else { Exit::Preflight })
    }
}

/// The runbook, when it could be planned. What only `check` has to say of it is left to `check`; who could open a gate is
/// told in the list, beside everything else that is missing.
fn sound(wanted: &str) -> Result<Loaded, CliError> {
    let loaded = find::runbook(wanted)?;
    let mut problems = check::findings(&loaded)?;
    problems.retain(|problem| !matches!(problem.code, Code::Quorum | Code::UnknownGroup));
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(CliError::Diagnostics(problems));
    }
    Ok(loaded)
}
