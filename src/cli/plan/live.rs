//! `--live-reads`: runs what only looks, so that conditions are decided by what is so now.
//!
//! The only thing that is handed to the doors is a [`Look`], and there is no way to make one of an action that writes,
//! of a script, or of a step that stands behind a gate or behind a write. The door to processes is shut besides.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::action::{
    ActionContext, ActionError, AnyAction, Checkpoints, Doors, Effect, ErrorKind, Registry, Reporter, Target,
};
use crate::base::clock::SystemClock;
use crate::base::{Attempt, BoxFuture, Clock, HumanDuration, Redactor, RunId, StepPath};
use crate::cli::drive::Surroundings;
use crate::cli::errors::CliError;
use crate::http::{Client, Origins};
use crate::plan::{Foresight, Plan, Readable, readable};
use crate::process::{Finished, ProcessError, Processes, Spec};

/// How long one look may take, where its step sets no shorter limit.
const LONGEST: Duration = Duration::from_secs(20);

/// Something that can be read: an action that only looks, with parameters that are known.
struct Look {
    action: Arc<dyn AnyAction>,
    step: Readable,
}

impl Look {
    /// `None` for everything but an action that only looks, and for `shell` whatever its step says of it.
    fn of(step: Readable, registry: &Registry) -> Option<Self> {
        let action = Arc::clone(registry.get(&step.uses)?);
        let contract = action.contract();
        (contract.effect == Effect::Read && contract.name != "shell").then_some(Self { action, step })
    }

    async fn take(&self, doors: &Arc<Doors>, run: &RunId) -> Result<Value, ActionError> {
        let target = Target {
            run: run.clone(),
            step: self.step.path.clone(),
            attempt: Attempt(1),
            key: format!("{run}/{}", self.step.path),
            repeat: false,
            checkpoint: None,
            folder: self.step.folder.clone(),
            secrets: Arc::new(self.step.secrets.clone()),
        };
        let cancel = CancellationToken::new();
        let cx = ActionContext::new(target, Arc::clone(doors), Arc::new(Forgets), cancel.clone());
        let limit = self.step.timeout.map_or(LONGEST, |limit| limit.0.min(LONGEST));
        match tokio::time::timeout(limit, self.action.run(&cx, self.step.params.clone())).await {
            Ok(result) => result,
            Err(_) => {
                cancel.cancel();
                Err(ActionError::new(ErrorKind::Timeout, format!("it took longer than {}", HumanDuration(limit))))
            }
        }
    }
}

/// Reads until nothing more can be read, wave by wave: what was read may tell which step is next.
pub(super) fn read(
    plan: &Plan,
    registry: &Registry,
    foresight: &mut Foresight,
    origins: Origins,
) -> Result<(), CliError> {
    let surroundings = Surroundings::real(plan, origins, Arc::new(Redactor::default()));
    let doors = Arc::new(Doors {
        http: Client::new(surroundings.origins.clone(), Arc::clone(&surroundings.secrets)),
        processes: Arc::new(Shut),
        databases: Arc::clone(&surroundings.databases),
        clock: Arc::clone(&surroundings.clock),
        secrets: Arc::clone(&surroundings.secrets),
        reporter: Arc::new(Shut),
        // A name under a file, where nothing can be made.
        artifacts: PathBuf::from("/dev/null/no-run"),
    });
    let run = RunId::new(SystemClock.now(), 0);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::Machine(format!("no runtime could be started: {error}")))?;
    let redactor = surroundings.secrets.redactor();
    // Looks that could not be taken at all. They say nothing of the world.
    let mut left: BTreeSet<StepPath> = BTreeSet::new();
    loop {
        let mut steps = readable(plan, registry, foresight);
        steps.retain(|step| !left.contains(&step.path));
        let looks: Vec<Look> = steps.into_iter().filter_map(|step| Look::of(step, registry)).collect();
        if looks.is_empty() {
            return Ok(());
        }
        for (step, result) in runtime.block_on(all(looks, &doors, &run)) {
            let result = match result {
                Ok(mut outputs) => {
                    redactor.mask_json(&mut outputs);
                    Ok(outputs)
                }
                Err(mut error) => {
                    error.message = redactor.mask(&error.message).into_owned();
                    if matches!(error.kind, ErrorKind::Secret | ErrorKind::InvalidParams | ErrorKind::Internal) {
                        anstream::eprintln!("`{step}` was not read: {}", error.message);
                        left.insert(step);
                        continue;
                    }
                    if let Some(outputs) = error.outputs.as_deref_mut() {
                        redactor.mask_json(outputs);
                    }
                    Err(error)
                }
            };
            foresight.supposed.read(step, SystemClock.now(), &result);
        }
    }
}

/// All looks of a wave side by side.
async fn all(looks: Vec<Look>, doors: &Arc<Doors>, run: &RunId) -> BTreeMap<StepPath, Result<Value, ActionError>> {
    let mut taken = tokio::task::JoinSet::new();
    for look in looks {
        let (doors, run) = (Arc::clone(doors), run.clone());
        taken.spawn(async move { (look.step.path.clone(), look.take(&doors, &run).await) });
    }
    let mut found = BTreeMap::new();
    while let Some(ended) = taken.join_next().await {
        if let Ok((step, result)) = ended {
            found.insert(step, result);
        }
    }
    found
}

/// Remembers nothing: there is no run.
struct Forgets;

impl Checkpoints for Forgets {
    fn save(&self, _value: Value) -> BoxFuture<'_, Result<(), ActionError>> {
        Box::pin(async { Err(ActionError::new(ErrorKind::Internal, "a look saves nothing")) })
    }

    fn progress(&self, _text: String) {}
}

/// A door that leads nowhere.
struct Shut;

impl Processes for Shut {
    fn run(&self, spec: Spec, _cancel: CancellationToken) -> BoxFuture<'_, Result<Finished, ProcessError>> {
        let program = spec.argv.first().cloned().unwrap_or_default();
        Box::pin(
            async move { Err(ProcessError::NotStarted { program, reason: "a look starts no process".to_owned() }) },
        )
    }
}

impl Reporter for Shut {
    fn render(&self, _run: &RunId, _template: &str) -> Result<String, String> {
        Err("there is no run to report of".to_owned())
    }
}
