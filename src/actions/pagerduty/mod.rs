//! PagerDuty: alerts and changes by its Events API, <https://developer.pagerduty.com/docs/events-api-v2-overview>.

mod change;
mod settle;
mod trigger;

pub use change::{Change, PagerdutyChangeOutput, PagerdutyChangeParams};
pub use settle::{Acknowledge, PagerdutySettleParams, Resolve};
pub use trigger::{PagerdutyTriggerParams, Severity, Trigger};

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::action::{ActionContext, ActionError};
use crate::base::HumanDuration;
use crate::http::{Limit, Request};

/// Where the account is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Region {
    /// `events.pagerduty.com`.
    #[default]
    Us,
    /// `events.eu.pagerduty.com`.
    Eu,
}

/// A page that PagerDuty leads to, beside an alert or a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// The address.
    pub href: String,
    /// What it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// Which alert it was about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PagerdutyAlertOutput {
    /// The alert's key: further events with it are about the same alert.
    pub dedup_key: String,
    /// PagerDuty's word, `success`.
    pub status: String,
}

/// Keys longer than this are refused.
const LONGEST_KEY: usize = 255;

/// The run's id, unless the runbook names a key: one alert for one run.
fn key(cx: &ActionContext, named: Option<&String>) -> Result<String, ActionError> {
    let key = named.cloned().unwrap_or_else(|| cx.target().run.to_string());
    if key.is_empty() || key.chars().count() > LONGEST_KEY {
        return Err(ActionError::invalid_params(format!("`dedup_key` must have 1 to {LONGEST_KEY} characters")));
    }
    Ok(key)
}

/// An event on its way; `path` is `enqueue` or `change/enqueue`.
fn event(region: Region, path: &str, body: Value, timeout: HumanDuration) -> Request {
    let host = match region {
        Region::Us => "https://events.pagerduty.com",
        Region::Eu => "https://events.eu.pagerduty.com",
    };
    // How much an integration may send is not told; a 429 holds back.
    Request::new("POST", format!("{host}/v2/{path}"))
        .json(body)
        .timeout(timeout.0)
        .limited(Limit::unstated("pagerduty"))
}

/// PagerDuty's answer to an event: 202, and what it made of it.
async fn sent(cx: &ActionContext, request: Request) -> Result<Value, ActionError> {
    let response = cx.send(request).await?;
    let answer = cx.json(&response).map_err(|error| explained(error, response.json().as_ref()))?;
    if answer.get("status").and_then(Value::as_str).is_none() {
        let message = format!("{} answered {} without `status`", response.url, response.status);
        return Err(ActionError::invalid_response(message));
    }
    Ok(answer)
}

/// What is wrong with an event stands in `errors`, beside a general sentence.
fn explained(mut error: ActionError, body: Option<&Value>) -> ActionError {
    let errors = body.and_then(|body| body.get("errors")?.as_array().cloned()).unwrap_or_default();
    let words: Vec<&str> = errors.iter().filter_map(Value::as_str).take(5).collect();
    if !words.is_empty() {
        error.message.push_str(&format!(" ({})", words.join("; ")));
    }
    error
}

fn default_secret() -> String {
    "pagerduty".to_owned()
}

fn default_timeout() -> HumanDuration {
    HumanDuration(Duration::from_secs(10))
}
