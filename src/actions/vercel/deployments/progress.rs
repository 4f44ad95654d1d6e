//! How far a deployment is, as far as one answer tells.

use serde_json::Value;

use super::super::Scope;
use crate::http::Request;

/// Its stages.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Not there yet.
    Underway(String),
    /// Built; its domains are being assigned.
    Assigning,
    /// Built, and waiting to be promoted.
    Staged,
    /// A share of the customers reaches it.
    Rolling,
    /// Customers reach it.
    Serving,
    /// It will never be.
    Over(String),
}

impl Scope<'_> {
    pub(super) fn get_deployment(&self, id: &str) -> Request {
        self.request("GET", &format!("/v13/deployments/{id}"))
    }
}

pub(super) fn state_of(deployment: &Value) -> &str {
    let state = deployment.get("readyState").or_else(|| deployment.get("state")).or_else(|| deployment.get("status"));
    state.and_then(Value::as_str).unwrap_or("in an unnamed state")
}

/// A state that never turns into another, `READY` aside. Values not known here are waited for, up to the deadline.
pub(super) fn is_over(state: &str) -> bool {
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
        Some("ROLLING") => return Progress::Rolling,
        _ => {}
    }
    let assigned = deployment.get("aliasAssigned").is_some_and(is_true);
    if assigned { Progress::Serving } else { Progress::Assigning }
}

/// A boolean by the contract, a time in milliseconds in practice.
pub(super) fn is_true(assigned: &Value) -> bool {
    match assigned {
        Value::Bool(assigned) => *assigned,
        Value::Number(at) => at.as_f64().is_some_and(|at| at > 0.0),
        _ => false,
    }
}
