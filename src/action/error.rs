//! How an action fails: a kind that runbooks can branch on, and the facts.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::base::secret::SecretError;

/// The kind of a failure. Runbooks name these in `retry.on` and read them as `.error.kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// 401 or 403: the key is wrong, or may not do this.
    Unauthorized,
    /// 429: asked too often.
    RateLimited,
    /// 5xx: the other side is broken.
    Server,
    /// No answer in time.
    Timeout,
    /// No connection: DNS, refused, reset, TLS.
    Network,
    /// Any other refusal (4xx): asking again the same way cannot help.
    Rejected,
    /// An answer that makes no sense: HTML, cut-off JSON, a wrong shape.
    InvalidResponse,
    /// The process ended with a code other than 0, or the thing itself failed.
    Failed,
    /// `until` was not met in time.
    NotMet,
    /// The parameters do not fit the action.
    InvalidParams,
    /// An expression or a template failed when its values were known.
    Template,
    /// A secret could not be had.
    Secret,
    /// Stopped because the run was cancelled.
    Cancelled,
    /// A mistake of ours.
    Internal,
}

impl ErrorKind {
    /// Every kind, in the order they are documented.
    pub const ALL: [Self; 14] = [
        Self::Unauthorized,
        Self::RateLimited,
        Self::Server,
        Self::Timeout,
        Self::Network,
        Self::Rejected,
        Self::InvalidResponse,
        Self::Failed,
        Self::NotMet,
        Self::InvalidParams,
        Self::Template,
        Self::Secret,
        Self::Cancelled,
        Self::Internal,
    ];

    /// The class of a status that is not the one hoped for.
    pub fn of_status(status: u16) -> Self {
        match status {
            401 | 403 => Self::Unauthorized,
            429 => Self::RateLimited,
            500..=599 => Self::Server,
            _ => Self::Rejected,
        }
    }

    /// The word that runbooks use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unauthorized => "unauthorized",
            Self::RateLimited => "rate_limited",
            Self::Server => "server",
            Self::Timeout => "timeout",
            Self::Network => "network",
            Self::Rejected => "rejected",
            Self::InvalidResponse => "invalid_response",
            Self::Failed => "failed",
            Self::NotMet => "not_met",
            Self::InvalidParams => "invalid_params",
            Self::Template => "template",
            Self::Secret => "secret",
            Self::Cancelled => "cancelled",
            Self::Internal => "internal",
        }
    }

    /// Could trying again the same way help? What `retry` without `on` repeats.
    pub fn is_transient(self) -> bool {
        match self {
            Self::RateLimited | Self::Server | Self::Timeout | Self::Network | Self::InvalidResponse | Self::Failed => {
                true
            }
            Self::Unauthorized
            | Self::Rejected
            | Self::NotMet
            | Self::InvalidParams
            | Self::Template
            | Self::Secret
            | Self::Cancelled
            | Self::Internal => false,
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A failure, as data: logged, branched on, reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, thiserror::Error)]
#[error("{message}")]
pub struct ActionError {
    /// The kind.
    pub kind: ErrorKind,
    /// What happened, in one sentence, secrets masked.
    pub message: String,
    /// The HTTP status, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// The vendor's own error code, such as `maintenance_mode`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The vendor's trace id: their support asks for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace: Option<String>,
    /// How long the other side asked us to wait, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// Nobody knows whether it happened: no answer came, or only a part of one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub uncertain: bool,
    /// What was found out although it failed; expressions read it as `.outputs` of the failed step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Box<Value>>,
}

impl ActionError {
    /// A failure of a kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            status: None,
            code: None,
            trace: None,
            retry_after_ms: None,
            uncertain: false,
            outputs: None,
        }
    }

    /// Adds what was found out although it failed.
    #[must_use]
    pub fn with_outputs(mut self, outputs: &impl Serialize) -> Self {
        self.outputs = serde_json::to_value(outputs).ok().map(Box::new);
        self
    }

    /// The same failure of something that may have happened all the same.
    #[must_use]
    pub fn uncertain(mut self) -> Self {
        self.uncertain = true;
        self
    }

    /// The parameters do not fit.
    pub fn invalid_params(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidParams, message)
    }

    /// The answer makes no sense.
    pub fn invalid_response(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::InvalidResponse, message)
    }

    /// The run is being cancelled.
    pub fn cancelled() -> Self {
        Self::new(ErrorKind::Cancelled, "stopped because the run was cancelled")
    }

    /// How long the other side asked us to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after_ms.map(Duration::from_millis)
    }
}

impl From<SecretError> for ActionError {
    fn from(error: SecretError) -> Self {
        Self::new(ErrorKind::Secret, error.to_string())
    }
}
