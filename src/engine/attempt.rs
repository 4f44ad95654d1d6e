//! One try of one step, on a task of its own: the action, its limit on time, its checkpoints.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::Notice;
use super::supply::Supply;
use crate::action::{
    ActionContext, ActionError, AnyAction, Checkpoints, Done, Doors, ErrorKind, Probed, Target, Undone,
};
use crate::base::{Attempt, BoxFuture, HumanDuration, Secret, StepPath};

/// How long an action may take to end after it was told to. Stopping a process group takes its grace and a little more.
pub(super) const ENDING: Duration = Duration::from_secs(10);

/// What a task tells the driver.
#[derive(Debug)]
pub(super) enum Report {
    /// A try ended.
    Finished { step: StepPath, attempt: Attempt, result: Result<Value, ActionError> },
    /// An action wants something remembered before it goes on.
    Checkpoint { step: StepPath, attempt: Attempt, value: Value, saved: oneshot::Sender<()> },
    /// An undo ended.
    Undone { step: StepPath, result: Result<Undone, ActionError> },
    /// A probe found something out.
    Probed { step: StepPath, found: Result<Probed<Value>, ActionError> },
    /// Somebody looked whether an undo had worked.
    Verified { step: StepPath, holds: Result<bool, ActionError> },
    /// The secrets that a step cannot begin without are there, or cannot be had.
    Supplied { step: StepPath, result: Result<(), ActionError> },
    /// A question was taken back.
    Withdrawn,
    /// People answered; `None` when nobody can be asked.
    Replied { step: StepPath, reply: Option<super::Reply> },
}

/// What a try is made of.
pub(super) struct Try {
    pub action: Arc<dyn AnyAction>,
    pub params: Value,
    pub target: Target,
    pub doors: Arc<Doors>,
    pub timeout: Option<HumanDuration>,
    pub cancel: CancellationToken,
    pub reports: mpsc::Sender<Report>,
    pub notices: std::sync::mpsc::Sender<Notice>,
    /// The secrets of the run that this step gives.
    pub gives: Vec<String>,
    /// The secrets that it needs and that are not there.
    pub lacks: Supply,
}

impl Try {
    fn context(&self) -> ActionContext {
        let remember = Remember {
            step: self.target.step.clone(),
            attempt: self.target.attempt,
            reports: self.reports.clone(),
            notices: self.notices.clone(),
        };
        ActionContext::new(self.target.clone(), Arc::clone(&self.doors), Arc::new(remember), self.cancel.clone())
    }

    /// Runs the action within its limit on time.
    pub(super) async fn run(mut self) -> Result<Value, ActionError> {
        let cx = self.context();
        std::mem::take(&mut self.lacks).fetch().await?;
        let params = std::mem::take(&mut self.params);
        let output = self.within_time(self.action.run(&cx, params)).await?;
        self.keep(&cx)?;
        Ok(output)
    }

    /// What the action delivered is there for later steps before anybody hears that it has succeeded.
    fn keep(&self, cx: &ActionContext) -> Result<(), ActionError> {
        let Some(secret) = cx.delivered() else { return Ok(()) };
        self.gives.iter().try_for_each(|name| Ok(self.doors.secrets.put(name, secret.clone())?))
    }

    /// Finds again the secret that an earlier try gave.
    pub(super) async fn recall(mut self, output: Value) -> Result<Secret, ActionError> {
        let cx = self.context();
        std::mem::take(&mut self.lacks).fetch().await?;
        let params = std::mem::take(&mut self.params);
        let secret = self.within_time(self.action.recall(&cx, params, output)).await?;
        self.gives.iter().try_for_each(|name| self.doors.secrets.put(name, secret.clone()))?;
        Ok(secret)
    }

    /// Waits for what was begun, but not for longer than allowed.
    async fn within_time<T>(&self, mut acting: BoxFuture<'_, Result<T, ActionError>>) -> Result<T, ActionError> {
        let Some(HumanDuration(limit)) = self.timeout else { return acting.await };
        tokio::select! {
            biased;
            result = &mut acting => result,
            () = self.doors.clock.sleep(limit) => {
                // Told to stop, and given the time to do so: dropping a future stops no process.
                self.cancel.cancel();
                let stopped = tokio::time::timeout(ENDING, acting).await;
                let message = format!("it took longer than {}", HumanDuration(limit));
                // Nobody saw how far it came; what it has left may tell.
                let mut late = ActionError::new(ErrorKind::Timeout, message).uncertain();
                late.outputs = stopped.ok().and_then(Result::err).and_then(|stopped| stopped.outputs);
                Err(late)
            }
        }
    }

    /// Finds out what became of an earlier try.
    pub(super) async fn probe(mut self) -> Result<Probed<Value>, ActionError> {
        let cx = self.context();
        std::mem::take(&mut self.lacks).fetch().await?;
        let params = std::mem::take(&mut self.params);
        let found = self.action.probe(&cx, params).await?;
        if matches!(found, Probed::Happened(_)) {
            self.keep(&cx)?;
        }
        Ok(found)
    }

    /// Reverses what was done.
    pub(super) async fn undo(mut self, done: Done<Value>) -> Result<Undone, ActionError> {
        let cx = self.context();
        std::mem::take(&mut self.lacks).fetch().await?;
        let params = std::mem::take(&mut self.params);
        self.within_time(self.action.undo(&cx, params, done)).await
    }
}

/// Carries an action's checkpoints to the driver, who alone writes the log.
struct Remember {
    step: StepPath,
    attempt: Attempt,
    reports: mpsc::Sender<Report>,
    notices: std::sync::mpsc::Sender<Notice>,
}

impl Checkpoints for Remember {
    fn save(&self, value: Value) -> BoxFuture<'_, Result<(), ActionError>> {
        Box::pin(async move {
            let lost = || ActionError::new(ErrorKind::Internal, "the run log takes no more checkpoints");
            let (saved, is_saved) = oneshot::channel();
            let report = Report::Checkpoint { step: self.step.clone(), attempt: self.attempt, value, saved };
            self.reports.send(report).await.map_err(|_| lost())?;
            is_saved.await.map_err(|_| lost())
        })
    }

    fn progress(&self, text: String) {
        // Nobody watching is no failure.
        let _ = self.notices.send(Notice::Progress { step: self.step.clone(), text });
    }
}
