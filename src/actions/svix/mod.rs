//! Svix: the carrier of Clerk's webhooks, <https://api.svix.com/docs>.
//!
//! Clerk's customers reach it by its portal; only who has a key of Svix itself can use these actions.

mod attempts;
mod enable;
mod endpoints;
mod recover;
mod replay_missing;
mod resend;
mod stats;
mod task;

pub use attempts::{Attempts, SvixAttempt, SvixAttemptStatus, SvixAttemptsOutput, SvixAttemptsParams};
pub use enable::{EndpointEnable, SvixEndpointEnableOutput, SvixEndpointEnableParams};
pub use endpoints::{Endpoints, SvixEndpoint, SvixEndpointsOutput, SvixEndpointsParams};
pub use recover::Recover;
pub use replay_missing::ReplayMissing;
pub use resend::{Resend, SvixResendOutput, SvixResendParams};
pub use stats::{Stats, SvixStatsOutput, SvixStatsParams};
pub use task::{SvixReplayOutput, SvixReplayParams, SvixTaskStatus};

use std::time::Duration;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::action::{ActionContext, ActionError, Need};
use crate::base::HumanDuration;
use crate::http::{Request, path_segment};

/// How many entries a page has at most.
const PAGE: usize = 250;
/// How many pages are read before something must be wrong.
const MOST_PAGES: usize = 400;

/// Where a Svix account lives. Its keys end with it: `….us`, `….eu`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SvixRegion {
    /// United States.
    Us,
    /// European Union.
    Eu,
    /// Canada.
    Ca,
    /// Australia.
    Au,
    /// India.
    In,
}

impl SvixRegion {
    const ALL: [Self; 5] = [Self::Us, Self::Eu, Self::Ca, Self::Au, Self::In];

    fn word(self) -> &'static str {
        match self {
            Self::Us => "us",
            Self::Eu => "eu",
            Self::Ca => "ca",
            Self::Au => "au",
            Self::In => "in",
        }
    }

    /// How a key of this region ends.
    fn ending(self) -> &'static str {
        match self {
            Self::Us => ".us",
            Self::Eu => ".eu",
            Self::Ca => ".ca",
            Self::Au => ".au",
            Self::In => ".in",
        }
    }
}

/// Where the calls of one step go.
#[derive(Debug, Clone, Copy)]
struct Place<'p> {
    app: &'p str,
    region: Option<SvixRegion>,
    timeout: HumanDuration,
}

impl Place<'_> {
    /// A request below the application; `path` is made of checked segments. `host` is the region's.
    fn request(&self, host: &str, method: &str, path: &str) -> Request {
        let app = path_segment(self.app).unwrap_or_default();
        Request::new(method, format!("https://{host}/api/v1/app/{app}{path}")).timeout(self.timeout.0)
    }

    /// The host as far as it is known before the key is.
    fn shown_host(&self) -> String {
        self.region.map_or_else(|| "api.:region.svix.com".to_owned(), host)
    }

    /// What a step will send, for the plan.
    fn shown(&self, method: &str, path: &str) -> Request {
        self.request(&self.shown_host(), method, path)
    }

    /// The key opens the application. Without a region the question has no address yet.
    fn key_is_taken(&self, secret: &str) -> Vec<Need> {
        let Some(region) = self.region else { return Vec::new() };
        vec![Need {
            what: format!("Svix takes the key for the application `{}`", self.app),
            secret: secret.to_owned(),
            question: self.request(&host(region), "GET", "/endpoint").query("limit", "1"),
            told: |_| None,
            help: |error| match error.status {
                Some(401 | 403) => Some("take a key of Svix itself; Clerk's own key is another one"),
                Some(404) => Some("there is no such application for this key: look at `app` and at `region`"),
                _ => None,
            },
        }]
    }
}

fn host(region: SvixRegion) -> String {
    format!("api.{}.svix.com", region.word())
}

/// The client: a place, a key, and the door.
struct Svix<'c> {
    cx: &'c ActionContext,
    place: Place<'c>,
    host: String,
    key: String,
}

impl<'c> Svix<'c> {
    fn new(cx: &'c ActionContext, place: Place<'c>, secret: &str) -> Result<Self, ActionError> {
        check_id("app", place.app)?;
        let key = cx.secret(secret)?;
        let region = match place.region {
            Some(region) => Some(region),
            None => {
                let endings = SvixRegion::ALL.map(SvixRegion::ending);
                cx.secret_ending(secret, &endings)?.map(|index| SvixRegion::ALL[index])
            }
        };
        // Where an older key without a region goes, as in Svix's own clients.
        let host = region.map_or_else(|| "api.svix.com".to_owned(), host);
        Ok(Self { cx, place, host, key })
    }

    /// A request below the application, with the key.
    fn request(&self, method: &str, path: &str) -> Request {
        self.place.request(&self.host, method, path).bearer(&self.key)
    }

    /// A request that creates something: the same for every try of the step, so that Svix does it once.
    fn creating(&self, path: &str) -> Request {
        self.request("POST", path).header("idempotency-key", self.cx.target().key.as_str())
    }

    /// Reads the answer as a `T`.
    async fn read<T: DeserializeOwned>(&self, request: Request) -> Result<T, ActionError> {
        let url = request.url.clone();
        let answer = self.cx.call(request).await?;
        serde_json::from_value(answer)
            .map_err(|error| ActionError::invalid_response(format!("the answer of {url} makes no sense: {error}")))
    }

    /// Reads a list to its end, or to `most` entries. Returns whether there is more.
    async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
        most: usize,
    ) -> Result<(Vec<T>, bool), ActionError> {
        let mut found: Vec<T> = Vec::new();
        let mut iterator: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let mut request = self.request("GET", path).query("limit", PAGE.to_string());
            for (name, value) in query {
                request = request.query(*name, value.as_str());
            }
            if let Some(iterator) = &iterator {
                request = request.query("iterator", iterator.as_str());
            }
            let page: Page<T> = self.read(request).await?;
            found.extend(page.data);
            if found.len() > most {
                found.truncate(most);
                return Ok((found, true));
            }
            if page.done {
                return Ok((found, false));
            }
            // A list that says it goes on and not where would be read for ever.
            match page.iterator {
                Some(next) if iterator.as_ref() != Some(&next) => iterator = Some(next),
                Some(_) | None => break,
            }
        }
        Err(ActionError::invalid_response(format!("the list at {path} has no end")))
    }
}

/// One page of a list.
#[derive(Debug, Deserialize)]
struct Page<T> {
    data: Vec<T>,
    #[serde(default)]
    iterator: Option<String>,
    done: bool,
}

/// Svix's ids and our own names for them: letters, digits, `-`, `_`, `.`.
fn check_id(what: &str, id: &str) -> Result<(), ActionError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if id.is_empty() || id.len() > 256 || !id.chars().all(plain) || path_segment(id).is_none() {
        return Err(ActionError::invalid_params(format!("`{id}` is no id for `{what}`")));
    }
    Ok(())
}

fn default_secret() -> String {
    "svix".to_owned()
}

fn default_timeout() -> HumanDuration {
    HumanDuration(Duration::from_secs(15))
}

/// A number that may come as nothing.
fn count(value: &Value, key: &str) -> Option<u64> {
    value.get(key).and_then(Value::as_u64)
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Answer, Bench};
    use super::*;
    use crate::action::{Action, ErrorKind};
    use serde_json::json;

    fn params(more: Value) -> SvixStatsParams {
        let mut params = json!({ "app": "app_1", "endpoint": "ep_1" });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(params).unwrap()
    }

    #[tokio::test]
    async fn the_region_is_the_keys_unless_it_is_named() {
        let well = || Answer::json(200, &json!({ "success": 0, "pending": 0, "sending": 0, "fail": 0, "canceled": 0 }));
        let bench = Bench::with(move |_| well()).await;
        Stats.run(&bench.cx(), params(json!({}))).await.unwrap();
        Stats.run(&bench.cx(), params(json!({ "region": "eu" }))).await.unwrap();
        let hosts: Vec<String> = bench.seen().iter().map(|seen| seen.headers["authorization"].clone()).collect();
        assert_eq!(hosts, ["Bearer testsk_0123456789.us"; 2]);
        // No stand-in is named for these: the address shows where they would have gone.
        for (with, url) in [
            (json!({ "region": "ca" }), "https://api.ca.svix.com/"),
            (json!({ "secret": "vercel" }), "https://api.svix.com/"),
        ] {
            let error = Stats.run(&bench.cx(), params(with)).await.unwrap_err();
            assert!(error.kind == ErrorKind::Rejected && error.message.contains(url), "{error}");
        }
    }

    #[tokio::test]
    async fn what_is_no_id_is_refused_before_anything_is_sent() {
        let bench = Bench::new();
        for (app, endpoint) in [("", "ep_1"), ("..", "ep_1"), ("app/1", "ep_1"), ("app_1", "ep 1"), ("app_1", "ep?1")] {
            let with = SvixStatsParams { app: app.into(), endpoint: endpoint.into(), ..params(json!({})) };
            assert_eq!(Stats.run(&bench.cx(), with).await.unwrap_err().kind, ErrorKind::InvalidParams);
        }
    }

    #[tokio::test]
    async fn refusals_are_told_in_words() {
        let code = json!({ "code": "not_found", "detail": "Entity not found" });
        let invalid = json!({ "detail": [
            { "loc": ["body", "since"], "msg": "invalid datetime", "type": "value_error" },
            { "loc": ["query", "limit"], "msg": "too large", "type": "value_error.number" },
        ] });
        for (status, body, told, kept) in [
            (404, code, "Entity not found (code `not_found`)", Some("not_found")),
            (422, invalid, "`body.since`: invalid datetime; `query.limit`: too large", Some("value_error")),
        ] {
            let bench = Bench::with(move |_| Answer::json(status, &body)).await;
            let error = Stats.run(&bench.cx(), params(json!({}))).await.unwrap_err();
            assert!(error.kind == ErrorKind::Rejected && error.message.contains(told), "{error}");
            assert_eq!(error.code.as_deref(), kept);
        }
    }

    #[test]
    fn a_question_beforehand_needs_the_region() {
        assert!(Stats.needs(&params(json!({}))).is_empty());
        let needs = Stats.needs(&params(json!({ "region": "eu" })));
        assert_eq!(needs[0].question.address(), "https://api.eu.svix.com/api/v1/app/app_1/endpoint?limit=1");
    }
}
