//! `svix.attempts`: single tries of sending to an endpoint, such as those that failed since a time.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Place, Svix, SvixRegion, check_id, default_secret, default_timeout};
use crate::action::{Action, ActionContext, ActionError, Effect, Intent, Need, Replay};
use crate::base::{HumanDuration, Timestamp};
use crate::http::path_segment;

/// Lists tries of sending, newest first.
#[derive(Debug)]
pub struct Attempts;

/// Which tries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SvixAttemptsParams {
    /// The application, by id (`app_…`) or uid.
    pub app: String,
    /// The endpoint, by id (`ep_…`) or uid.
    pub endpoint: String,
    /// Only tries that ended so.
    #[serde(default)]
    pub status: SvixAttemptStatus,
    /// From when on; an RFC 3339 time. 90 days back, when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub since: Option<Timestamp>,
    /// Until when; now, when it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub until: Option<Timestamp>,
    /// Only tries of this message, by id (`msg_…`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// How many tries to read at most.
    #[serde(default = "default_at_most")]
    #[schemars(range(min = 1, max = 10_000))]
    pub at_most: u32,
    /// Where the account lives; the key's ending tells it, unless it is an old one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<SvixRegion>,
    /// The name of the secret that holds a key of Svix.
    #[serde(default = "default_secret")]
    pub secret: String,
    /// How long each exchange may take.
    #[serde(default = "default_timeout")]
    pub timeout: HumanDuration,
}

fn default_at_most() -> u32 {
    1000
}

/// How a try of sending ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SvixAttemptStatus {
    /// Delivered.
    Success,
    /// To be tried again by itself.
    Pending,
    /// Failed.
    #[default]
    Fail,
    /// Under way.
    Sending,
    /// Cancelled.
    Canceled,
}

impl SvixAttemptStatus {
    /// Svix's number for it.
    fn number(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Pending => 1,
            Self::Fail => 2,
            Self::Sending => 3,
            Self::Canceled => 4,
        }
    }

    fn of_number(number: u8) -> Option<Self> {
        [Self::Success, Self::Pending, Self::Fail, Self::Sending, Self::Canceled]
            .into_iter()
            .find(|status| status.number() == number)
    }
}

/// The tries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SvixAttemptsOutput {
    /// The tries, newest first.
    pub attempts: Vec<SvixAttempt>,
    /// How many.
    pub count: usize,
    /// The messages they are of, each once.
    pub messages: Vec<String>,
    /// Are there more than `at_most` lets through?
    pub truncated: bool,
}

/// One try.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SvixAttempt {
    /// Its id, `atmpt_…`.
    pub id: String,
    /// The message, `msg_…`.
    pub message: String,
    /// How it ended; `null` for a word that is not known here.
    pub status: Option<SvixAttemptStatus>,
    /// The HTTP status that the endpoint answered with; 0 when it answered nothing.
    pub response_status: i64,
    /// When, as Svix says it.
    pub at: String,
}

/// Svix's own words.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    id: String,
    msg_id: String,
    status: u8,
    #[serde(default)]
    response_status_code: i64,
    timestamp: String,
}

impl SvixAttemptsParams {
    fn place(&self) -> Place<'_> {
        Place { app: &self.app, region: self.region, timeout: self.timeout }
    }

    fn path(&self) -> String {
        format!("/attempt/endpoint/{}", path_segment(&self.endpoint).unwrap_or_default())
    }

    fn query(&self) -> Vec<(&'static str, String)> {
        let mut query = vec![("status", self.status.number().to_string()), ("with_content", "false".to_owned())];
        if self.status == SvixAttemptStatus::Canceled {
            // Otherwise Svix calls them successes.
            query.push(("expanded_statuses", "true".to_owned()));
        }
        query.extend(self.since.map(|at| ("after", at.to_string())));
        query.extend(self.until.map(|at| ("before", at.to_string())));
        query
    }
}

impl Action for Attempts {
    const NAME: &'static str = "svix.attempts";
    const SUMMARY: &'static str = "Lists tries of sending to a webhook endpoint at Svix, such as those that failed.";
    const EFFECT: Effect = Effect::Read;
    const REPLAY: Replay = Replay::Safe;
    const SECRETS: &'static [&'static str] = &["svix"];
    type Params = SvixAttemptsParams;
    type Output = SvixAttemptsOutput;

    async fn run(&self, cx: &ActionContext, params: SvixAttemptsParams) -> Result<SvixAttemptsOutput, ActionError> {
        check_id("endpoint", &params.endpoint)?;
        let svix = Svix::new(cx, params.place(), &params.secret)?;
        let most = usize::try_from(params.at_most).unwrap_or(usize::MAX);
        let (rows, truncated) = svix.list::<Row>(&params.path(), &params.query(), most).await?;
        let attempts: Vec<SvixAttempt> = rows
            .into_iter()
            .filter(|row| params.message.as_ref().is_none_or(|message| row.msg_id == *message))
            .map(|row| SvixAttempt {
                id: row.id,
                message: row.msg_id,
                status: SvixAttemptStatus::of_number(row.status),
                response_status: row.response_status_code,
                at: row.timestamp,
            })
            .collect();
        let mut messages: Vec<String> = Vec::new();
        let mut known = std::collections::BTreeSet::new();
        for attempt in &attempts {
            if known.insert(attempt.message.as_str()) {
                messages.push(attempt.message.clone());
            }
        }
        Ok(SvixAttemptsOutput { count: attempts.len(), messages, truncated, attempts })
    }

    fn describe(&self, params: &SvixAttemptsParams) -> Vec<Intent> {
        let mut request = params.place().shown("GET", &params.path());
        for (name, value) in params.query() {
            request = request.query(name, value);
        }
        vec![Intent::from(&request)]
    }

    fn needs(&self, params: &SvixAttemptsParams) -> Vec<Need> {
        params.place().key_is_taken(&params.secret)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Answer, Bench, faults};
    use super::*;
    use crate::action::ErrorKind;
    use serde_json::{Value, json};

    fn params(more: Value) -> SvixAttemptsParams {
        let mut params = json!({ "app": "app_1", "endpoint": "ep_1" });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(params).unwrap()
    }

    fn row(id: u32, message: &str, status: u8) -> Value {
        json!({ "id": format!("atmpt_{id}"), "msgId": message, "status": status, "statusText": "x", "response": "",
            "responseStatusCode": 503, "timestamp": "2026-11-22T10:00:00Z", "url": "https://a", "triggerType": 0 })
    }

    #[tokio::test]
    async fn a_message_that_failed_twice_is_one_message() {
        let rows = [row(3, "msg_b", 2), row(2, "msg_a", 2), row(1, "msg_b", 2)];
        let bench =
            Bench::with(move |_| Answer::json(200, &json!({ "data": rows, "iterator": null, "done": true }))).await;
        let since = json!({ "since": "2026-11-20T00:00:00Z" });
        let output = Attempts.run(&bench.cx(), params(since)).await.unwrap();
        assert_eq!((output.count, output.messages, output.truncated), (3, vec!["msg_b".into(), "msg_a".into()], false));
        assert_eq!(output.attempts[0].status, Some(SvixAttemptStatus::Fail));
        let query = "limit=250&status=2&with_content=false&after=2026-11-20T00%3A00%3A00Z";
        assert_eq!(bench.seen()[0].query, query);
        let output = Attempts.run(&bench.cx(), params(json!({ "message": "msg_a" }))).await.unwrap();
        assert_eq!(output.count, 1);
        let output = Attempts.run(&bench.cx(), params(json!({ "at_most": 2 }))).await.unwrap();
        assert_eq!((output.count, output.truncated), (2, true));
        let _ = Attempts.run(&bench.cx(), params(json!({ "status": "canceled" }))).await.unwrap();
        assert!(bench.seen()[3].query.contains("status=4&with_content=false&expanded_statuses=true"));
    }

    #[tokio::test]
    async fn every_fault_has_its_kind_and_is_asked_once() {
        for (answer, kind) in faults() {
            let told = format!("{answer:?}");
            let bench = Bench::with(move |_| answer.clone()).await;
            assert_eq!(Attempts.run(&bench.cx(), params(json!({}))).await.unwrap_err().kind, kind, "{told}");
            assert_eq!(bench.lines().len(), 1);
        }
        let bench = Bench::hanging_up().await;
        assert_eq!(Attempts.run(&bench.cx(), params(json!({}))).await.unwrap_err().kind, ErrorKind::Network);
    }
}
