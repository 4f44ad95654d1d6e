//! Begins what the log holds the intention of: tries, undos and looks, each on a task of its own.

use std::sync::{Arc, PoisonError};

use serde_json::Value;
use tokio::task::{AbortHandle, JoinError};
use tokio_util::sync::CancellationToken;

use super::super::attempt::{Report, Try};
use super::super::supply::{From, Lack, Supply, taken};
use super::{Embedded, EngineError, Launch, Subject};
use crate::action::{ActionError, AnyAction, Done, ErrorKind, Target, Undone};
use crate::base::{Attempt, HumanDuration, StepPath};
use crate::run::{Event, Kept, Rendering, StepState};
use crate::runbook::{Does, StepResult, Undo};

/// What a try is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum For {
    /// To do it, or to find out whether it was done.
    Act,
    /// To undo it.
    Undo,
    /// To see whether it is undone.
    Verify,
}

impl Embedded {
    /// Begins what the log now holds the intention of.
    pub(super) fn launch(&mut self) {
        for launch in std::mem::take(&mut self.launches) {
            match launch {
                Launch::Attempt(path) => self.launch_attempt(path),
                Launch::Undo(path) => self.launch_undo(path),
            }
        }
    }

    pub(super) fn spawn(
        &mut self,
        subject: Subject,
        task: impl Future<Output = Report> + Send + 'static,
    ) -> AbortHandle {
        let handle = self.tasks.spawn(task);
        self.subjects.insert(handle.id(), (subject, handle.clone()));
        handle
    }

    fn action(&self, name: &str) -> Option<Arc<dyn AnyAction>> {
        self.parts.registry.get(name).cloned()
    }

    /// A try of a step, ready to run on a task of its own. `None` when this version has no such action any more.
    pub(super) fn a_try(
        &self,
        path: &StepPath,
        uses: &str,
        params: Value,
        cancel: CancellationToken,
        what_for: For,
    ) -> Option<Try> {
        let state = &self.parts.state;
        let record = state.record(path)?;
        let step = state.step(path)?;
        let run = state.run()?.clone();
        let (suffix, attempt, repeat, checkpoint, timeout) = match (what_for, &step.undo) {
            (For::Act, _) => ("", record.attempts, record.repeat, &record.checkpoint, step.timeout),
            (_, undo) => {
                let timeout = match undo {
                    Some(Undo::Action { timeout, .. }) => *timeout,
                    Some(Undo::Auto) | None => step.timeout,
                };
                let suffix = if what_for == For::Undo { "/undo" } else { "/verify" };
                (suffix, record.undo_attempts, record.undo_attempts > 1, &record.undo_checkpoint, timeout)
            }
        };
        let target = Target {
            key: format!("{run}/{path}{suffix}"),
            run,
            step: path.clone(),
            attempt: Attempt(attempt),
            repeat,
            checkpoint: checkpoint.as_ref().map(Kept::value),
            folder: state.plan_of(path)?.0.folder(),
            secrets: Arc::clone(state.secrets_of(path)?),
        };
        let lacks = self.lacks(path, uses, &params, target.checkpoint.as_ref(), &mut Vec::new());
        Some(self.made_try(self.action(uses)?, params, target, timeout, cancel, lacks))
    }

    /// The secrets that a step needs to do this, that come to be during the run, and that are not in memory. `asked` are
    /// those that are being looked for already, further up.
    fn lacks(
        &self,
        path: &StepPath,
        uses: &str,
        params: &Value,
        checkpoint: Option<&Value>,
        asked: &mut Vec<String>,
    ) -> Supply {
        let state = &self.parts.state;
        let Some(names) = state.secrets_of(path) else { return Supply::default() };
        let contract = self.action(uses).map(|action| action.contract());
        let mut lacks = Vec::new();
        for name in taken(contract.as_ref(), names, params, checkpoint) {
            let Some((late, gives)) = state.late_secret(&name) else { continue };
            if self.parts.doors.secrets.is_known(&name) || asked.contains(&name) {
                continue;
            }
            asked.push(name.clone());
            let from = gives.map_or(From::Nowhere, |gives| self.gives_again(&gives, asked));
            lacks.push(Lack {
                name,
                step: path.clone(),
                from,
                prompt: late.prompt.clone(),
                secrets: Arc::clone(&self.parts.doors.secrets),
                people: Arc::clone(&self.parts.people),
                typed: Arc::clone(&self.typed),
                turn: Arc::clone(&self.fetching),
            });
        }
        Supply(lacks)
    }

    /// What can be had from a step that gives a secret.
    fn gives_again(&self, path: &StepPath, asked: &mut Vec<String>) -> From {
        let state = &self.parts.state;
        let nothing = |why: &str| From::Nothing(format!("step `{path}`, which gives it, {why}"));
        let Some(record) = state.record(path) else { return nothing("is not known") };
        if !matches!(record.state, StepState::Ended(StepResult::Succeeded)) {
            return nothing("has not succeeded");
        }
        let (Some(Does::Action { uses, .. }), Some(output)) =
            (state.step(path).map(|step| &step.does), &record.outputs)
        else {
            return nothing("gave no outputs");
        };
        let params = record.params.as_ref().map(Kept::value).unwrap_or_default();
        let lacks = self.lacks(path, uses, &params, None, asked);
        let (Some(run), Some(names), Some((plan, _)), Some(action)) =
            (state.run(), state.secrets_of(path), state.plan_of(path), self.action(uses))
        else {
            return nothing("cannot be asked for it");
        };
        let target = Target {
            key: format!("{run}/{path}"),
            run: run.clone(),
            step: path.clone(),
            attempt: Attempt(record.attempts),
            repeat: true,
            checkpoint: record.checkpoint.as_ref().map(Kept::value),
            folder: plan.folder(),
            secrets: Arc::clone(names),
        };
        let timeout = state.step(path).and_then(|step| step.timeout);
        let a_try = self.made_try(action, params, target, timeout, CancellationToken::new(), lacks);
        From::Step(Box::new(a_try), output.value())
    }

    /// Has a step what it needs to begin? If not, it is fetched, and the step begins when it is there: nothing is
    /// recorded of a try that could not act, and a person may think for as long as they like.
    pub(super) fn is_supplied(&mut self, path: &StepPath, params: &Value) -> bool {
        if self.supplying.contains_key(path) {
            return false;
        }
        let Does::Action { uses, .. } = &self.written(path).does else { return true };
        let checkpoint = self.parts.state.record(path).and_then(|record| record.checkpoint.as_ref()).map(Kept::value);
        let supply = self.lacks(path, &uses.clone(), params, checkpoint.as_ref(), &mut Vec::new());
        if supply.is_empty() {
            return true;
        }
        let step = path.clone();
        let handle = self.spawn(Subject::Supply(step.clone()), async move {
            let result = supply.fetch().await;
            Report::Supplied { step, result }
        });
        self.supplying.insert(path.clone(), handle);
        false
    }

    /// A key that was refused may have been typed wrongly: before the next try it is asked for again.
    pub(super) fn distrust_typed(&self, path: &StepPath) {
        let state = &self.parts.state;
        let (Does::Action { uses, .. }, Some(names)) = (&self.written(path).does, state.secrets_of(path)) else {
            return;
        };
        let params = state.record(path).and_then(|record| record.params.as_ref()).map(Kept::value).unwrap_or_default();
        let contract = self.action(uses).map(|action| action.contract());
        let mut typed = self.typed.lock().unwrap_or_else(PoisonError::into_inner);
        for name in taken(contract.as_ref(), names, &params, None).iter().filter(|name| typed.remove(name.as_str())) {
            self.parts.doors.secrets.forget(name);
        }
    }

    /// The secrets of a step are there, or cannot be had.
    pub(super) fn take_supply(&mut self, step: StepPath, result: Result<(), ActionError>) -> Result<(), EngineError> {
        if self.supplying.remove(&step).is_none() {
            return Ok(());
        }
        match result {
            Ok(()) => Ok(()),
            Err(error) => {
                let error = self.masked(error);
                self.record(Event::StepFailed { step, error })
            }
        }
    }

    fn made_try(
        &self,
        action: Arc<dyn AnyAction>,
        params: Value,
        target: Target,
        timeout: Option<HumanDuration>,
        cancel: CancellationToken,
        lacks: Supply,
    ) -> Try {
        Try {
            gives: self.parts.state.secrets_from(&target.step),
            lacks,
            action,
            params,
            target,
            doors: Arc::clone(&self.parts.doors),
            timeout,
            cancel,
            reports: self.reports.clone(),
            notices: self.parts.notices.clone(),
        }
    }

    fn launch_attempt(&mut self, path: StepPath) {
        let Does::Action { uses, .. } = &self.written(&path).does else { return };
        let uses = uses.clone();
        let Some(record) = self.parts.state.record(&path) else { return };
        let attempt = Attempt(record.attempts);
        let params = record.params.as_ref().map(Kept::value).unwrap_or_default();
        let cancel = CancellationToken::new();
        self.cancels.insert(path.clone(), cancel.clone());
        let a_try = self.a_try(&path, &uses, params, cancel, For::Act);
        let step = path.clone();
        self.spawn(Subject::Attempt(path, attempt), async move {
            let result = match a_try {
                Some(a_try) => a_try.run().await,
                None => Err(no_such_action(&uses)),
            };
            Report::Finished { step, attempt, result }
        });
    }

    fn launch_undo(&mut self, path: StepPath) {
        let step = self.written(&path);
        let Some(record) = self.parts.state.record(&path) else { return };
        // What failed on the way has outputs that tell of the failure, not of what was done.
        let output = record.outputs.as_ref().filter(|_| record.error.is_none()).map(Kept::value);
        let done = Done { output, checkpoint: record.checkpoint.as_ref().map(Kept::value) };
        let (name, params, own) = match (&step.undo, &step.does) {
            (Some(Undo::Action { uses, .. }), _) => {
                (uses.clone(), record.undo_params.as_ref().map(Kept::value).unwrap_or_default(), false)
            }
            (_, Does::Action { uses, .. }) => {
                (uses.clone(), record.params.as_ref().map(Kept::value).unwrap_or_default(), true)
            }
            _ => return,
        };
        let cancel = CancellationToken::new();
        let a_try = self.a_try(&path, &name, params, cancel.clone(), For::Undo);
        let look = self.a_look(&path);
        let report_for = path.clone();
        self.spawn(Subject::Undo(path), async move {
            let result = match a_try {
                None => Err(no_such_action(&name)),
                Some(a_try) if own => a_try.undo(done).await,
                Some(a_try) => a_try.run().await.map(|_| Undone { summary: format!("ran `{name}`"), left: Vec::new() }),
            };
            let result = match (result, look) {
                (Ok(undone), Some(look)) => look.holds().await.and_then(|holds| {
                    let unseen = "it was done, but the look afterwards does not show it";
                    if holds { Ok(undone) } else { Err(ActionError::new(ErrorKind::NotMet, unseen)) }
                }),
                (result, _) => result,
            };
            Report::Undone { step: report_for, result }
        });
    }

    /// Looks whether an undo whose end nobody saw has worked.
    pub(super) fn launch_look(&mut self, path: &StepPath) -> AbortHandle {
        let look = self.a_look(path);
        let step = path.clone();
        self.spawn(Subject::Probe(path.clone()), async move {
            let holds = match look {
                Some(look) => look.holds().await,
                None => Err(ActionError::new(ErrorKind::Internal, "there is nothing to look at")),
            };
            Report::Verified { step, holds }
        })
    }

    /// The look after an undo, where the step has one.
    fn a_look(&self, path: &StepPath) -> Option<Look> {
        let Some(Undo::Action { verify: Some(verify), .. }) = &self.written(path).undo else { return None };
        let rendering = Rendering::new(&self.parts.state, path, self.parts.doors.clock.now())?;
        let params = rendering.verify_params();
        let state = self.parts.state.clone();
        let rendered = params.as_ref().ok().cloned().flatten().unwrap_or_default();
        let a_try = self.a_try(path, &verify.uses, rendered, CancellationToken::new(), For::Verify);
        let now = self.parts.doors.clock.now();
        Some(Look { a_try, broken: params.err().map(ActionError::from), state, path: path.clone(), now })
    }

    /// What a finished task says; a panic becomes a failure of what it was about.
    pub(super) fn report_of(&mut self, joined: Result<(tokio::task::Id, Report), JoinError>) -> Report {
        match joined {
            Ok((id, report)) => {
                self.subjects.remove(&id);
                report
            }
            Err(error) => {
                let why = if error.is_panic() { "it panicked; this is a mistake of ours" } else { "its task was lost" };
                let error_of = || ActionError::new(ErrorKind::Internal, why).uncertain();
                match self.subjects.remove(&error.id()).map(|(subject, _)| subject) {
                    Some(Subject::Attempt(step, attempt)) => {
                        Report::Finished { step, attempt, result: Err(error_of()) }
                    }
                    Some(Subject::Undo(step)) => Report::Undone { step, result: Err(error_of()) },
                    Some(Subject::Probe(step)) => Report::Probed { step, found: Err(error_of()) },
                    Some(Subject::Supply(step)) => Report::Supplied { step, result: Err(error_of()) },
                    // A question that was taken back: nobody is told.
                    Some(Subject::Question) => Report::Withdrawn,
                    None => unreachable!("every task has a subject"),
                }
            }
        }
    }
}

/// A look whether an undo has worked.
struct Look {
    a_try: Option<Try>,
    broken: Option<ActionError>,
    state: crate::run::RunState,
    path: StepPath,
    now: crate::base::Timestamp,
}

impl Look {
    async fn holds(self) -> Result<bool, ActionError> {
        if let Some(broken) = self.broken {
            return Err(broken);
        }
        let a_try = self.a_try.ok_or_else(|| no_such_action("of the look after the undo"))?;
        let outputs = a_try.run().await?;
        let rendering = Rendering::new(&self.state, &self.path, self.now);
        rendering.map_or(Ok(true), |rendering| rendering.verify_holds(&outputs)).map_err(ActionError::from)
    }
}

pub(super) fn no_such_action(name: &str) -> ActionError {
    ActionError::new(ErrorKind::Internal, format!("this version has no action `{name}`"))
}
