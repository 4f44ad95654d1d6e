//! `http.get`: asks an address and looks at the answer.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::scalar::Scalar;
use super::{Expect, HttpOutput, default_timeout, exchange, headers_note, prepared};
use crate::action::{Action, ActionContext, ActionError, Effect, Intent, Replay};
use crate::base::HumanDuration;
use crate::http::Request;

/// Asks an address.
#[derive(Debug)]
pub struct HttpGet;

/// What to ask.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpGetParams {
    /// The address. Redirects are not followed: a redirect to a sign-in page is a finding, not a success.
    #[schemars(extend("examples" = ["https://app.example.com/health", "{{ inputs.app_url }}/health"]))]
    pub url: String,
    /// Query parameters to add. No secrets: addresses end up in logs.
    #[serde(default)]
    pub query: BTreeMap<String, Scalar>,
    /// Headers; may hold secrets.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// How long the exchange may take.
    #[serde(default = "default_timeout")]
    pub timeout: HumanDuration,
    /// Which answer is a success; without it, any 2xx.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Expect>,
}

impl HttpGetParams {
    fn request(&self) -> Request {
        prepared("GET", &self.url, &self.query, &self.headers, self.timeout)
    }
}

impl Action for HttpGet {
    const NAME: &'static str = "http.get";
    const SUMMARY: &'static str = "Asks an address and looks at the answer.";
    const EFFECT: Effect = Effect::Read;
    const REPLAY: Replay = Replay::Safe;
    type Params = HttpGetParams;
    type Output = HttpOutput;

    async fn run(&self, cx: &ActionContext, params: HttpGetParams) -> Result<HttpOutput, ActionError> {
        exchange(cx, params.request(), params.expect.as_ref()).await
    }

    fn describe(&self, params: &HttpGetParams) -> Vec<Intent> {
        [Intent::from(&params.request())].into_iter().chain(headers_note(&params.headers)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Answer, Bench, faults};
    use super::*;
    use crate::action::ErrorKind;
    use serde_json::{Value, json};

    fn params(more: Value) -> HttpGetParams {
        let mut params = json!({ "url": "https://app.example.com/api/health" });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(params).unwrap()
    }

    #[tokio::test]
    async fn an_answer_is_there_as_text_and_as_json() {
        let bench = Bench::with(|_| Answer::json(200, &json!({ "bypass": true })).header("x-a", "1")).await;
        let more =
            json!({ "query": { "n": 1, "q": "a b" }, "headers": { "X-Key": crate::base::secret::reference("clerk") } });
        let output = HttpGet.run(&bench.cx(), params(more.clone())).await.unwrap();
        assert_eq!((output.status, output.ok, &output.json["bypass"]), (Some(200), true, &json!(true)));
        assert_eq!((output.body.as_str(), output.headers["x-a"].as_str()), (r#"{"bypass":true}"#, "1"));
        let seen = bench.seen().remove(0);
        assert_eq!((seen.query.as_str(), seen.headers["x-key"].as_str()), ("n=1&q=a+b", "sk_test_0123456789"));
        let intents = HttpGet.describe(&params(more));
        assert_eq!(intents[0], Intent::request("GET", "https://app.example.com/api/health?n=1&q=a+b"));
        assert_eq!(intents[1], Intent::note("with the headers X-Key: ‹secret clerk›"));
    }

    #[tokio::test]
    async fn a_failure_has_outputs_too() {
        let bench = Bench::with(|_| Answer::json(500, &json!({ "message": "middleware" }))).await;
        let error = HttpGet.run(&bench.cx(), params(json!({ "expect": { "status": 200 } }))).await.unwrap_err();
        assert_eq!(error.message, "https://app.example.com/api/health answered 500: middleware; expected was 200");
        let outputs = error.outputs.unwrap();
        assert_eq!(
            (&outputs["status"], &outputs["ok"], &outputs["reachable"]),
            (&json!(500), &json!(false), &json!(true))
        );
    }

    #[tokio::test]
    async fn an_expected_status_is_a_success_whatever_it_is() {
        let bench = Bench::with(|_| Answer::html(404)).await;
        let output = HttpGet.run(&bench.cx(), params(json!({ "expect": { "status": [404, 410] } }))).await.unwrap();
        assert!(output.ok && output.json.is_null());
        let bench = Bench::with(|_| Answer::text(204, "")).await;
        let error = HttpGet.run(&bench.cx(), params(json!({ "expect": { "status": 200 } }))).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Rejected);
    }

    #[tokio::test]
    async fn every_status_fails_with_its_class() {
        for (answer, kind) in faults().into_iter().filter(|(_, kind)| *kind != ErrorKind::InvalidResponse) {
            let told = format!("{answer:?}");
            let bench = Bench::with(move |_| answer.clone()).await;
            let error = HttpGet.run(&bench.cx(), params(json!({}))).await.unwrap_err();
            assert_eq!(error.kind, kind, "{told}");
            assert_eq!(error.retry_after_ms.is_some(), kind == ErrorKind::RateLimited);
        }
    }

    #[tokio::test]
    async fn no_answer_is_told_apart_from_a_bad_one() {
        let error = HttpGet.run(&Bench::hanging_up().await.cx(), params(json!({}))).await.unwrap_err();
        assert_eq!((error.kind, &error.outputs.unwrap()["reachable"]), (ErrorKind::Network, &json!(false)));
        let bench = Bench::with(|_| Answer::Never).await;
        let error = HttpGet.run(&bench.cx(), params(json!({ "timeout": "30ms" }))).await.unwrap_err();
        assert_eq!((error.kind, &error.outputs.unwrap()["status"]), (ErrorKind::Timeout, &Value::Null));
    }

    #[tokio::test]
    async fn a_long_answer_is_kept_in_part() {
        let bench = Bench::with(|_| Answer::text(200, &"ä".repeat(50_000))).await;
        let output = HttpGet.run(&bench.cx(), params(json!({}))).await.unwrap();
        assert_eq!(output.body.len(), 64 * 1024);
    }
}
