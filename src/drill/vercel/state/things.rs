//! What a project consists of, and what requests change of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::setting::Serves;
use crate::base::Timestamp;
use crate::drill::scenario::{Aliased, Ends};

/// Where an environment variable applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::drill) enum Target {
    Production,
    Preview,
    Development,
}

/// How an environment variable is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::drill) enum EnvKind {
    Encrypted,
    Plain,
    Sensitive,
}

/// An environment variable of the project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::drill) struct EnvRow {
    pub(in crate::drill) id: String,
    pub(in crate::drill) key: String,
    pub(in crate::drill) value: String,
    pub(in crate::drill) kind: EnvKind,
    pub(in crate::drill) target: Vec<Target>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::drill) comment: Option<String>,
    /// The branch it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::drill) branch: Option<String>,
    /// The integration that writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::drill) integration: Option<String>,
    pub(in crate::drill) created: Timestamp,
    pub(in crate::drill) updated: Timestamp,
}

/// How far a deployment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::drill) enum Stage {
    Queued,
    Building,
    Ready,
    Error,
    Blocked,
    Canceled,
}

impl Stage {
    /// The vendor's word.
    pub(in crate::drill) fn word(self) -> &'static str {
        match self {
            Self::Queued => "QUEUED",
            Self::Building => "BUILDING",
            Self::Ready => "READY",
            Self::Error => "ERROR",
            Self::Blocked => "BLOCKED",
            Self::Canceled => "CANCELED",
        }
    }
}

/// A deployment.
#[derive(Debug, Clone)]
pub(in crate::drill) struct Deployment {
    pub(in crate::drill) id: String,
    pub(in crate::drill) production: bool,
    pub(in crate::drill) source: Option<String>,
    pub(in crate::drill) meta: BTreeMap<String, String>,
    pub(in crate::drill) created: Timestamp,
    pub(in crate::drill) building_at: Timestamp,
    pub(in crate::drill) built_at: Timestamp,
    pub(in crate::drill) ends: Ends,
    pub(in crate::drill) aliased: Option<Aliased>,
    /// What the application is when this serves.
    pub(in crate::drill) app: Serves,
    /// Does it reach a share of the customers only?
    pub(in crate::drill) rolling: bool,
    /// Lines of its build log besides the usual ones.
    pub(in crate::drill) log: Vec<String>,
    pub(in crate::drill) stage: Stage,
    /// When the domain is to be pointed at it, once that is decided.
    pub(in crate::drill) alias_at: Option<Timestamp>,
    /// When the domain was first pointed at it.
    pub(in crate::drill) served_from: Option<Timestamp>,
    /// The environment, frozen when it was created.
    pub(in crate::drill) env: BTreeMap<String, String>,
}

/// Which way the domain is moved by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::drill) enum MoveKind {
    Promote,
    Rollback,
}

/// A promote or a rollback.
#[derive(Debug, Clone)]
pub(in crate::drill) struct Move {
    pub(in crate::drill) kind: MoveKind,
    pub(in crate::drill) from: String,
    pub(in crate::drill) to: String,
    pub(in crate::drill) requested: Timestamp,
    pub(in crate::drill) done_at: Timestamp,
    pub(in crate::drill) stage: MoveStage,
}

/// How far a promote or a rollback is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::drill) enum MoveStage {
    /// A rolling release goes first.
    Waiting,
    Underway,
    Succeeded,
    Failed,
}

impl MoveStage {
    /// The vendor's word.
    pub(in crate::drill) fn word(self) -> &'static str {
        match self {
            Self::Waiting => "pending",
            Self::Underway => "in-progress",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }
}

/// What a request changes. Record lines hold these; applying them again gives the same state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::drill) enum Change {
    /// An environment variable is there, or is different.
    EnvSet(EnvRow),
    /// An environment variable is gone.
    EnvRemoved { id: String },
    /// A deployment was asked for.
    Deployed { id: String, production: bool, source: Option<String>, meta: BTreeMap<String, String> },
    /// A deployment was cancelled.
    Cancelled { id: String },
    /// The domain is to be moved.
    Moved { kind: MoveKind, to: String },
    /// A rolling release goes to everybody.
    Completed { id: String },
    /// Items of the Edge Config are there or different, and others are gone. A `null` is a value like any other.
    EdgeConfigSet {
        set: BTreeMap<String, Value>,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        removed: Vec<String>,
    },
}
