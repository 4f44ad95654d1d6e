//! What an action is: the contract between the engine and everything that touches the world.

mod answer;
mod context;
mod error;
mod need;
mod patience;
mod registry;

pub use answer::refusal;
pub use context::{ActionContext, Checkpoints, Doors, Reporter, Target};
pub use error::{ActionError, ErrorKind};
pub use need::Need;
pub use patience::Patience;
pub use registry::{AnyAction, Contract, Registry, Undone};

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::Secret;

/// Does it change the world?
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// It only looks.
    Read,
    /// It changes something.
    Write,
}

/// What to do with an attempt whose end nobody saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Replay {
    /// Doing it again is harmless.
    Safe,
    /// Doing it again with the same idempotency key is harmless.
    Keyed,
    /// [`Action::probe`] can find out whether it happened.
    Probe,
    /// Only a person can say whether it happened.
    Once,
}

/// Which limit on steps at once a step counts against.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Load {
    /// Waits for the network most of the time.
    Io,
    /// Runs a process on this machine.
    Process,
}

/// One thing an action means to do, for the plan and the gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Intent {
    /// An HTTP request.
    Request {
        /// `GET`, `POST` …
        method: String,
        /// The address, on the vendor's own host.
        url: String,
        /// The JSON body, secrets as references.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        body: Option<Value>,
    },
    /// A process on this machine.
    Process {
        /// The words of the command.
        argv: Vec<String>,
        /// A script for the shell, word for word.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        script: Option<String>,
        /// Names of the environment variables it is given.
        env: Vec<String>,
    },
    /// Something that is neither, in a few words.
    Note {
        /// The words.
        text: String,
    },
}

impl Intent {
    /// A request without a body.
    pub fn request(method: &str, url: impl Into<String>) -> Self {
        Self::Request { method: method.to_owned(), url: url.into(), body: None }
    }

    /// A request with a JSON body.
    pub fn request_with(method: &str, url: impl Into<String>, body: Value) -> Self {
        Self::Request { method: method.to_owned(), url: url.into(), body: Some(body) }
    }

    /// A few words.
    pub fn note(text: impl Into<String>) -> Self {
        Self::Note { text: text.into() }
    }
}

/// The very request that will be sent, so that what is shown and what is done come from one place.
impl From<&crate::http::Request> for Intent {
    fn from(request: &crate::http::Request) -> Self {
        use crate::http::Body;
        Self::Request {
            method: request.method.clone(),
            url: request.address(),
            body: match &request.body {
                Body::Empty => None,
                Body::Json(body) => Some(body.clone()),
                Body::Text(text) => Some(Value::from(text.as_str())),
            },
        }
    }
}

/// What a probe found out about an attempt in doubt.
#[derive(Debug, Clone, PartialEq)]
pub enum Probed<Output> {
    /// It happened, and this is its output.
    Happened(Output),
    /// It did not happen.
    DidNotHappen,
    /// Still not known: a person must say.
    Unknown,
}

/// What is known about the act that an undo is to reverse.
#[derive(Debug, Clone)]
pub struct Done<Output> {
    /// The act's output; `None` when it failed on the way, having done a part.
    pub output: Option<Output>,
    /// The last checkpoint it saved, such as the state it found before it changed anything.
    pub checkpoint: Option<Value>,
}

/// Something a step can do: one file, one type. `Params` and `Output` are the schema, the documentation and the type.
pub trait Action: Send + Sync + 'static {
    /// The name after `uses:`, such as `vercel.env.set`.
    const NAME: &'static str;
    /// One line for `runbook docs` and for editors.
    const SUMMARY: &'static str;
    /// Does it change the world?
    const EFFECT: Effect;
    /// What to do with an attempt whose end nobody saw.
    const REPLAY: Replay;
    /// What [`Action::undo`] does, in a few words; `None` when the action knows no inverse.
    const UNDO: Option<&'static str> = None;
    /// Secrets it takes from the runbook by name, unless its parameters say otherwise.
    const SECRETS: &'static [&'static str] = &[];
    /// The secret that it gives when it succeeds, in a few words; `None` when it gives none. See
    /// [`ActionContext::deliver`].
    const GIVES: Option<&'static str> = None;
    /// Which limit it counts against.
    const LOAD: Load = Load::Io;
    /// What `with:` holds.
    type Params: DeserializeOwned + JsonSchema + Send + Sync;
    /// What expressions find under `.outputs`.
    type Output: Serialize + DeserializeOwned + JsonSchema + Send;

    /// Does it. Retries, timeouts and polling belong to the engine; an action tries once.
    fn run(
        &self,
        cx: &ActionContext,
        params: Self::Params,
    ) -> impl Future<Output = Result<Self::Output, ActionError>> + Send;

    /// What it is going to do, without doing or asking anything.
    fn describe(&self, params: &Self::Params) -> Vec<Intent>;

    /// What the other side must grant before it can work, as far as reading can tell: first of all that the key is taken.
    /// Asks nothing by itself.
    fn needs(&self, _params: &Self::Params) -> Vec<Need> {
        Vec::new()
    }

    /// Finds out whether an attempt in doubt happened. Only looks.
    fn probe(
        &self,
        _cx: &ActionContext,
        _params: Self::Params,
    ) -> impl Future<Output = Result<Probed<Self::Output>, ActionError>> + Send {
        async { Ok(Probed::Unknown) }
    }

    /// Finds again the secret that an earlier run of it gave, for a process that has not seen it. `output` is what it gave
    /// besides. Only looks. Whoever cannot find the very same value again refuses.
    fn recall(
        &self,
        _cx: &ActionContext,
        _params: Self::Params,
        _output: Self::Output,
    ) -> impl Future<Output = Result<Secret, ActionError>> + Send {
        async {
            let what = Self::GIVES.unwrap_or("a secret");
            Err(ActionError::new(
                ErrorKind::Secret,
                format!("`{}` gave {what} once and cannot find it again", Self::NAME),
            ))
        }
    }

    /// Reverses what was done. Called only where [`Action::UNDO`] says that the action knows how.
    fn undo(
        &self,
        _cx: &ActionContext,
        _params: Self::Params,
        _done: Done<Self::Output>,
    ) -> impl Future<Output = Result<Undone, ActionError>> + Send {
        async { Err(ActionError::new(ErrorKind::Internal, format!("`{}` knows no inverse", Self::NAME))) }
    }
}
