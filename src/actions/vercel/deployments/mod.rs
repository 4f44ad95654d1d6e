//! Deployments: the requests about them, and how far one is.

mod redeploy;

pub use redeploy::{Redeploy, VercelRedeployOutput, VercelRedeployParams};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Scope;
use crate::http::Request;

/// An environment that can be deployed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RedeployTarget {
    /// What customers see.
    #[default]
    Production,
    /// An address of its own.
    Preview,
}

impl RedeployTarget {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Preview => "preview",
        }
    }
}

/// How far a deployment is, as far as one answer tells.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Not there yet.
    Underway(String),
    /// Built; its domains are being assigned.
    Assigning,
    /// Built, and waiting to be promoted.
    Staged,
    /// Customers reach it.
    Serving,
    /// It will never be.
    Over(String),
}

/// The requests. Plans show them and runs send them.
impl Scope<'_> {
    pub(super) fn list_deployments(&self, project: &str, target: RedeployTarget, since: &str) -> Request {
        self.request("GET", "/v7/deployments")
            .query("projectId", project)
            .query("target", target.as_str())
            .query("since", since)
            .query("limit", "100")
    }

    pub(super) fn create_deployment(&self, name: &str, from: &str, target: RedeployTarget, key: &str) -> Request {
        let mut body = json!({ "name": name, "deploymentId": from });
        if let (RedeployTarget::Production, Some(fields)) = (target, body.as_object_mut()) {
            // Vercel knows `production` by name; without a name it deploys a preview.
            fields.insert("target".to_owned(), json!("production"));
        }
        if let Some(fields) = body.as_object_mut() {
            fields.insert("meta".to_owned(), json!({ "action": "redeploy", "runbookRun": key }));
        }
        self.request("POST", "/v13/deployments").query("forceNew", "1").json(body)
    }

    pub(super) fn get_deployment(&self, id: &str) -> Request {
        self.request("GET", &format!("/v13/deployments/{id}"))
    }
}

fn state_of(deployment: &Value) -> &str {
    let state = deployment.get("readyState").or_else(|| deployment.get("state")).or_else(|| deployment.get("status"));
    state.and_then(Value::as_str).unwrap_or("in an unnamed state")
}

/// A state that never turns into another, `READY` aside. Values not known here are waited for, up to the deadline.
fn is_over(state: &str) -> bool {
    matches!(state, "ERROR" | "CANCELED" | "BLOCKED" | "DELETED") || state.ends_with("_ERROR")
}

pub(super) fn progress(deployment: &Value) -> Progress {
    let state = state_of(deployment);
    let words = |pointer: &str| deployment.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    if is_over(state) {
        let why = words("/errorMessage").or_else(|| words("/errorCode"));
        return Progress::Over(match why {
            Some(why) => format!("ended as {state}: {why}"),
            None => format!("ended as {state}"),
        });
    }
    if let Some(error) = deployment.get("aliasError").filter(|error| !error.is_null()) {
        let why =
            error.get("message").or_else(|| error.get("code")).and_then(Value::as_str).unwrap_or("no reason given");
        return Progress::Over(format!("could not be given its domains: {why}"));
    }
    let alias_check = words("/checks/deployment-alias/state");
    if words("/checksConclusion").as_deref() == Some("failed") || alias_check.as_deref() == Some("failed") {
        return Progress::Over("failed its checks".to_owned());
    }
    if state != "READY" {
        return Progress::Underway(state.to_owned());
    }
    match deployment.get("readySubstate").and_then(Value::as_str) {
        Some("STAGED") => return Progress::Staged,
        Some("ROLLING") => {
            let reason = "serves a share of the customers only, by a rolling release; complete that release";
            return Progress::Over(reason.to_owned());
        }
        _ => {}
    }
    // A boolean by the contract, a time in milliseconds in practice.
    let assigned = match deployment.get("aliasAssigned") {
        Some(Value::Bool(assigned)) => *assigned,
        Some(Value::Number(at)) => at.as_f64().is_some_and(|at| at > 0.0),
        _ => false,
    };
    if assigned { Progress::Serving } else { Progress::Assigning }
}
