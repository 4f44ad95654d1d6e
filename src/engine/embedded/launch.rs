//! Begins what the log holds the intention of: tries and undos, each on a task of its own.

use std::sync::Arc;

use serde_json::Value;
use tokio::task::JoinError;
use tokio_util::sync::CancellationToken;

use super::super::attempt::{Report, Try};
use super::{Embedded, Launch, Subject, written};
use crate::action::{ActionError, AnyAction, Done, ErrorKind, Target, Undone};
use crate::base::{Attempt, StepId};
use crate::run::Rendering;
use crate::runbook::{Does, Undo};

impl Embedded {
    /// Begins what the log now holds the intention of.
    pub(super) fn launch(&mut self) {
        for launch in std::mem::take(&mut self.launches) {
            match launch {
                Launch::Attempt(id) => self.launch_attempt(id),
                Launch::Undo(id) => self.launch_undo(id),
            }
        }
    }

    pub(super) fn spawn(&mut self, subject: Subject, task: impl Future<Output = Report> + Send + 'static) {
        let handle = self.tasks.spawn(task);
        self.subjects.insert(handle.id(), (subject, handle));
    }

    fn action(&self, name: &str) -> Option<Arc<dyn AnyAction>> {
        self.parts.registry.get(name).cloned()
    }

    /// A try of a step, ready to run on a task of its own. `None` when this version has no such action any more.
    pub(super) fn a_try(
        &self,
        id: &StepId,
        uses: &str,
        params: Value,
        cancel: CancellationToken,
        undo: bool,
    ) -> Option<Try> {
        let state = &self.parts.state;
        let record = state.record(id)?;
        let run = state.run()?.clone();
        let suffix = if undo { "/undo" } else { "" };
        let target = Target {
            key: format!("{run}/{id}{suffix}"),
            run,
            step: id.clone(),
            attempt: Attempt(record.attempts),
            repeat: record.repeat,
            checkpoint: record.checkpoint.clone(),
        };
        Some(Try {
            action: self.action(uses)?,
            params,
            target,
            doors: Arc::clone(&self.parts.doors),
            timeout: if undo { None } else { written(state.plan(), id).timeout },
            cancel,
            reports: self.reports.clone(),
            notices: self.parts.notices.clone(),
        })
    }

    fn launch_attempt(&mut self, id: StepId) {
        let plan = self.plan();
        let Does::Action { uses, .. } = &written(&plan, &id).does else { return };
        let uses = uses.clone();
        let Some(record) = self.parts.state.record(&id) else { return };
        let attempt = Attempt(record.attempts);
        let params = record.params.as_deref().cloned().unwrap_or_default();
        let cancel = CancellationToken::new();
        self.cancels.insert(id.clone(), cancel.clone());
        let a_try = self.a_try(&id, &uses, params, cancel, false);
        let step = id.clone();
        self.spawn(Subject::Attempt(id, attempt), async move {
            let result = match a_try {
                Some(a_try) => a_try.run().await,
                None => Err(no_such_action(&uses)),
            };
            Report::Finished { step, attempt, result }
        });
    }

    fn launch_undo(&mut self, id: StepId) {
        let plan = self.plan();
        let step = written(&plan, &id);
        let Some(record) = self.parts.state.record(&id) else { return };
        let done = Done { output: record.outputs.as_deref().cloned(), checkpoint: record.checkpoint.clone() };
        let done = if record.error.is_some() { Done { output: None, ..done } } else { done };
        let cancel = CancellationToken::new();
        let now = self.parts.doors.clock.now();
        let (name, params, own) = match (&step.undo, &step.does) {
            (Some(Undo::Action { uses, .. }), _) => {
                let rendered = Rendering::new(&self.parts.state, &id, now).map(|rendering| rendering.undo_params());
                (uses.clone(), rendered.and_then(Result::ok).flatten().unwrap_or_default(), false)
            }
            (_, Does::Action { uses, .. }) => {
                (uses.clone(), record.params.as_deref().cloned().unwrap_or_default(), true)
            }
            _ => return,
        };
        let a_try = self.a_try(&id, &name, params, cancel, true);
        let report_for = id.clone();
        self.spawn(Subject::Undo(id), async move {
            let result = match a_try {
                None => Err(no_such_action(&name)),
                Some(a_try) if own => a_try.undo(done).await,
                Some(a_try) => a_try.run().await.map(|_| Undone { summary: format!("ran `{name}`"), left: Vec::new() }),
            };
            Report::Undone { step: report_for, result }
        });
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
                let error_of = || ActionError::new(ErrorKind::Internal, why);
                match self.subjects.remove(&error.id()).map(|(subject, _)| subject) {
                    Some(Subject::Attempt(step, attempt)) => {
                        Report::Finished { step, attempt, result: Err(error_of()) }
                    }
                    Some(Subject::Undo(step)) => Report::Undone { step, result: Err(error_of()) },
                    Some(Subject::Probe(step)) => Report::Probed { step, found: Err(error_of()) },
                    Some(Subject::Question(step)) => Report::Replied { step, reply: None },
                    None => unreachable!("every task has a subject"),
                }
            }
        }
    }
}

pub(super) fn no_such_action(name: &str) -> ActionError {
    ActionError::new(ErrorKind::Internal, format!("this version has no action `{name}`"))
}
