//! `ActionContext`: the only way from an action to the world.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{ActionError, ErrorKind};
use crate::base::clock::after;
use crate::base::{Attempt, BoxFuture, Clock, HumanDuration, RunId, Secret, SecretStore, StepPath, Timestamp};
use crate::{database, http, process};

/// Shorter waits for a vendor's limit are not worth a line.
const WORTH_TELLING: Duration = Duration::from_secs(1);
/// How much of a secret's beginning may be asked about.
const LONGEST_PREFIX: usize = 8;

/// The ways to the world, made once for a run. A drill gives other ones to the same engine and the same actions.
pub struct Doors {
    /// The one HTTP client.
    pub http: http::Client,
    /// Starts processes.
    pub processes: Arc<dyn process::Processes>,
    /// Runs statements in databases.
    pub databases: Arc<dyn database::Databases>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Holds the secrets.
    pub secrets: Arc<SecretStore>,
    /// Writes reports from the run log.
    pub reporter: Arc<dyn Reporter>,
    /// The folder for files that the run leaves behind.
    pub artifacts: PathBuf,
}

/// Renders a report of the run so far.
pub trait Reporter: Send + Sync {
    /// The report's text. `template` is a path relative to the runbook, or the name of a built-in one.
    fn render(&self, run: &RunId, template: &str) -> Result<String, String>;
}

/// Keeps an action's checkpoints in the run log.
pub trait Checkpoints: Send + Sync {
    /// Saves; returns once it would survive a power cut.
    fn save(&self, value: Value) -> BoxFuture<'_, Result<(), ActionError>>;
    /// A line about progress, for whoever watches. Lost lines are no harm.
    fn progress(&self, text: String);
}

/// Which attempt this is.
#[derive(Debug, Clone)]
pub struct Target {
    /// The run.
    pub run: RunId,
    /// The step.
    pub step: StepPath,
    /// The try.
    pub attempt: Attempt,
    /// The same for every try of this step in this run: `RUN/STEP`.
    pub key: String,
    /// Set when an earlier try may have done all or part of it.
    pub repeat: bool,
    /// The last checkpoint an earlier try saved.
    pub checkpoint: Option<Value>,
    /// The folder that relative paths in the step's runbook start from.
    pub folder: PathBuf,
    /// Which secret of the run the names in the step's runbook stand for.
    pub secrets: Arc<BTreeMap<String, String>>,
}

/// What an action is given: who it is, and the doors.
pub struct ActionContext {
    target: Target,
    doors: Arc<Doors>,
    checkpoints: Arc<dyn Checkpoints>,
    cancel: CancellationToken,
    delivered: Mutex<Option<Secret>>,
}

impl ActionContext {
    /// A context for one attempt.
    pub fn new(
        target: Target,
        doors: Arc<Doors>,
        checkpoints: Arc<dyn Checkpoints>,
        cancel: CancellationToken,
    ) -> Self {
        Self { target, doors, checkpoints, cancel, delivered: Mutex::default() }
    }

    /// The same, but not ended by a cancelled run: for the few short requests that put right what must not stay half done.
    /// Whoever cancels waits for a while, and no longer.
    #[must_use]
    pub fn undisturbed(&self) -> Self {
        let (doors, checkpoints) = (Arc::clone(&self.doors), Arc::clone(&self.checkpoints));
        Self::new(self.target.clone(), doors, checkpoints, CancellationToken::new())
    }

    /// The run, the step, the try.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Sends a request and reads the whole answer. Waits first when the vendor's limit says so, by the clock of the run.
    /// Ends early when the run is cancelled.
    pub async fn send(&self, request: http::Request) -> Result<http::Response, ActionError> {
        self.send_before(request, Timestamp::MAX).await?.map_err(ActionError::from)
    }

    /// [`ActionContext::send`] that gives up rather than wait for its turn until after `end`.
    pub(super) async fn send_before(
        &self,
        request: http::Request,
        end: Timestamp,
    ) -> Result<Result<http::Response, http::HttpError>, ActionError> {
        let Some(limit) = request.limit.clone() else { return self.exchange(request).await };
        let place = self.wait_for_turn(&limit, end).await?;
        let answer = self.exchange(request).await?;
        let (limits, now) = (self.doors.http.limits(), self.now());
        match &answer {
            Ok(response) if response.status == 429 => {
                limits.refused(&limit, &place, now, response.retry_after(now));
            }
            Ok(_) => limits.accepted(&limit, &place, now),
            Err(_) => {}
        }
        Ok(answer)
    }

    async fn exchange(&self, request: http::Request) -> Result<Result<http::Response, http::HttpError>, ActionError> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(ActionError::cancelled()),
            answer = self.doors.http.send(request) => Ok(answer),
        }
    }

    async fn wait_for_turn(&self, limit: &http::Limit, end: Timestamp) -> Result<http::Place, ActionError> {
        let mut place = http::Place::default();
        let mut told = false;
        loop {
            let now = self.now();
            let wait = self.doors.http.limits().reserve(limit, &mut place, now);
            if wait.is_zero() {
                return Ok(place);
            }
            if after(now, wait) > end {
                let mut error = ActionError::new(
                    ErrorKind::RateLimited,
                    format!("`{}` takes no request for {}; nothing was sent", limit.key, HumanDuration(wait)),
                );
                error.retry_after_ms = u64::try_from(wait.as_millis()).ok();
                return Err(error);
            }
            if !told && wait >= WORTH_TELLING {
                self.progress(format!("waits {}: `{}` takes no request before", HumanDuration(wait), limit.key));
                told = true;
            }
            self.sleep(wait).await?;
        }
    }

    /// The part of a limit's stated rate that is used now: 1, and less after a 429, down to a sixteenth.
    pub fn share(&self, limit: &http::Limit) -> f64 {
        self.doors.http.limits().share(&limit.key)
    }

    /// How many requests a second leave at most now for this limit; `None` when it states no number.
    pub fn rate(&self, limit: &http::Limit) -> Option<f64> {
        self.doors.http.limits().rate(limit)
    }

    /// Sends a request whose answer must be 2xx and JSON; an empty answer reads as `null`.
    pub async fn call(&self, request: http::Request) -> Result<Value, ActionError> {
        self.json(&self.send(request).await?)
    }

    /// The JSON of a 2xx answer, `null` for an empty one; the failure that any other answer stands for.
    pub fn json(&self, response: &http::Response) -> Result<Value, ActionError> {
        super::answer::json(response, self.now())
    }

    /// Runs a process to its end. When the run is cancelled, it and all it started are stopped first. Whoever watches
    /// sees its lines, and what it writes goes whole into a file beside the run log when it is more than is kept, unless
    /// the spec says otherwise.
    pub async fn run_process(&self, mut spec: process::Spec) -> Result<process::Finished, ActionError> {
        let checkpoints = Arc::clone(&self.checkpoints);
        spec.listener.get_or_insert_with(|| process::Listener::new(move |line| checkpoints.progress(line)));
        spec.spool.get_or_insert_with(|| {
            process::Spool::new(self.artifacts().to_owned(), self.target.step.as_str(), self.target.attempt)
        });
        Ok(self.doors.processes.run(spec, self.cancel.clone()).await?)
    }

    /// Runs one statement in a database. When the run is cancelled, it is stopped there first.
    pub async fn query(&self, query: database::Query) -> Result<database::Table, ActionError> {
        Ok(self.doors.databases.query(query, self.cancel.clone()).await?)
    }

    /// Was the action told to stop? What it returns after that counts only if it succeeded.
    pub fn is_cancelled(&self) -> bool {
        self.cancel.is_cancelled()
    }

    /// The time, by the clock of this run.
    pub fn now(&self) -> Timestamp {
        self.doors.clock.now()
    }

    /// Waits, by the clock of this run. Ends early with an error when the run is cancelled.
    pub async fn sleep(&self, duration: Duration) -> Result<(), ActionError> {
        tokio::select! {
            biased;
            () = self.cancel.cancelled() => Err(ActionError::cancelled()),
            () = self.doors.clock.sleep(duration) => Ok(()),
        }
    }

    /// A reference to a secret that the HTTP door will fill in. Fails at once when the secret cannot be had.
    pub fn secret(&self, name: &str) -> Result<String, ActionError> {
        let name = self.target.secrets.get(name).map_or(name, String::as_str);
        self.doors.secrets.get(name)?;
        Ok(crate::base::secret::reference(name))
    }

    /// Which of these public endings a secret's value has. Some keys carry the region of their account so.
    pub fn secret_ending(&self, name: &str, endings: &[&str]) -> Result<Option<usize>, ActionError> {
        let name = self.target.secrets.get(name).map_or(name, String::as_str);
        let secret = self.doors.secrets.get(name)?;
        Ok(endings.iter().position(|ending| secret.expose().ends_with(ending)))
    }

    /// Teaches the masker a value that must not be shown, such as a key in an answer. Do it before anything else is made
    /// of the answer.
    pub fn learn(&self, value: &str) {
        self.doors.secrets.redactor().learn(value);
    }

    /// Gives the secret that the action is for. It is masked from here on, and when the action succeeds, later steps of
    /// the run find it under the names that the runbook gives it. It is kept in memory only: after a crash it is asked for
    /// with [`Action::recall`](super::Action::recall).
    pub fn deliver(&self, secret: Secret) {
        self.learn(secret.expose());
        *self.delivered.lock().unwrap_or_else(PoisonError::into_inner) = Some(secret);
    }

    /// What was delivered.
    pub fn delivered(&self) -> Option<Secret> {
        self.delivered.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Does a secret begin with these characters? At most eight of them: enough for the kind of a key (`sk_live_`), too few
    /// to learn anything else.
    pub fn secret_begins(&self, name: &str, prefix: &str) -> Result<bool, ActionError> {
        if prefix.len() > LONGEST_PREFIX {
            let most = format!("the first {LONGEST_PREFIX} characters of a secret may be asked for, no more");
            return Err(ActionError::new(ErrorKind::Internal, most));
        }
        let name = self.target.secrets.get(name).map_or(name, String::as_str);
        Ok(self.doors.secrets.get(name)?.expose().starts_with(prefix))
    }

    /// The text with references in the place of secrets. A checkpoint that is to be sent again must hold these: the
    /// run log masks what it is given, and a mask cannot be undone.
    pub fn conceal(&self, text: &str) -> String {
        self.doors.secrets.conceal(text)
    }

    /// Is this text what is expected, which may hold references to secrets? The values themselves stay behind the door.
    pub fn is_expected(&self, text: &str, expected: &str) -> Result<bool, ActionError> {
        Ok(self.doors.secrets.reveal(expected)? == text)
    }

    /// What an earlier try of this step saved.
    pub fn checkpoint(&self) -> Option<&Value> {
        self.target.checkpoint.as_ref()
    }

    /// Saves what a later try, a probe or an undo must know. Returns once it would survive a power cut.
    pub async fn save_checkpoint(&self, value: Value) -> Result<(), ActionError> {
        self.checkpoints.save(value).await
    }

    /// Tells whoever watches how it is going.
    pub fn progress(&self, text: impl Into<String>) {
        self.checkpoints.progress(text.into());
    }

    /// Renders a report of the run so far.
    pub fn render_report(&self, template: &str) -> Result<String, ActionError> {
        self.doors
            .reporter
            .render(&self.target.run, template)
            .map_err(|reason| ActionError::new(ErrorKind::Template, reason))
    }

    /// The folder that relative paths in the runbook start from.
    pub fn folder(&self) -> &std::path::Path {
        &self.target.folder
    }

    /// The folder for files that the run leaves behind.
    pub fn artifacts(&self) -> &std::path::Path {
        &self.doors.artifacts
    }
}

impl From<database::DatabaseError> for ActionError {
    fn from(error: database::DatabaseError) -> Self {
        use database::{DatabaseError, Refusal};
        let (kind, uncertain) = match &error {
            DatabaseError::Statement(_) | DatabaseError::Url(_) | DatabaseError::SameName(_) => {
                (ErrorKind::InvalidParams, false)
            }
            DatabaseError::Unreadable { .. } => (ErrorKind::InvalidParams, false),
            DatabaseError::Unreachable { uncertain, .. } => (ErrorKind::Network, *uncertain),
            DatabaseError::Timeout { uncertain, .. } => (ErrorKind::Timeout, *uncertain),
            DatabaseError::Refused { refusal, .. } => match refusal {
                Refusal::Unauthorized => (ErrorKind::Unauthorized, false),
                Refusal::Unwell => (ErrorKind::Server, false),
                Refusal::TooLong => (ErrorKind::Timeout, false),
                Refusal::Statement => (ErrorKind::Rejected, false),
            },
            DatabaseError::NoStandIn => (ErrorKind::Rejected, false),
            DatabaseError::Cancelled => return Self::cancelled(),
            DatabaseError::Secret(_) => (ErrorKind::Secret, false),
        };
        let code = match &error {
            DatabaseError::Refused { code, .. } => Some(code.clone()),
            _ => None,
        };
        Self { code, uncertain, ..Self::new(kind, error.to_string()) }
    }
}

impl From<http::HttpError> for ActionError {
    fn from(error: http::HttpError) -> Self {
        let kind = match &error {
            http::HttpError::Timeout { .. } => ErrorKind::Timeout,
            http::HttpError::Network { .. } => ErrorKind::Network,
            http::HttpError::TooLarge { .. } | http::HttpError::Broken { .. } => ErrorKind::InvalidResponse,
            http::HttpError::Refused { .. } => ErrorKind::Rejected,
            http::HttpError::BadRequest(_) => ErrorKind::InvalidParams,
            http::HttpError::Secret(_) => ErrorKind::Secret,
        };
        // Whoever got no answer, or half of one, cannot know what the other side did with the request.
        let uncertain = match &error {
            http::HttpError::Timeout { sent, .. } | http::HttpError::Network { sent, .. } => *sent,
            http::HttpError::TooLarge { .. } | http::HttpError::Broken { .. } => true,
            http::HttpError::Refused { .. } | http::HttpError::BadRequest(_) | http::HttpError::Secret(_) => false,
        };
        let failure = Self::new(kind, error.to_string());
        if uncertain { failure.uncertain() } else { failure }
    }
}

impl From<process::ProcessError> for ActionError {
    fn from(error: process::ProcessError) -> Self {
        let kind = match &error {
            process::ProcessError::Secret(_) | process::ProcessError::SecretInArgv { .. } => ErrorKind::Secret,
            process::ProcessError::NotStarted { .. } | process::ProcessError::Lost { .. } => ErrorKind::Failed,
            process::ProcessError::Refused { .. } => ErrorKind::Rejected,
        };
        Self::new(kind, error.to_string())
    }
}
