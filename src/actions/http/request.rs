//! `http.request`: sends a request that changes something.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::scalar::Scalar;
use super::{Expect, HttpOutput, default_timeout, exchange, headers_note, prepared};
use crate::action::{Action, ActionContext, ActionError, Effect, Intent, Replay};
use crate::base::HumanDuration;
use crate::http::{Body, Request};

/// Sends a request.
#[derive(Debug)]
pub struct HttpRequest;

/// What to send.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpRequestParams {
    /// The method: `POST`, `PUT`, `PATCH`, `DELETE` …
    #[serde(default = "post")]
    pub method: String,
    /// The address. Redirects are not followed.
    #[schemars(extend("examples" = ["https://app.example.com/admin/queue", "{{ inputs.app_url }}/admin/queue"]))]
    pub url: String,
    /// Query parameters to add. No secrets: addresses end up in logs.
    #[serde(default)]
    pub query: BTreeMap<String, Scalar>,
    /// Headers; may hold secrets.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// A JSON body, sent as `application/json`; may hold secrets. Not together with `body`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub json: Option<Value>,
    /// A text body, sent as it is; may hold secrets. Name its `content-type` in `headers`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// How long the exchange may take.
    #[serde(default = "default_timeout")]
    pub timeout: HumanDuration,
    /// Which answer is a success; without it, any 2xx.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Expect>,
}

fn post() -> String {
    "POST".to_owned()
}

impl HttpRequestParams {
    fn request(&self) -> Request {
        let mut request = prepared(&self.method, &self.url, &self.query, &self.headers, self.timeout);
        request.body = match (&self.json, &self.body) {
            (Some(json), _) => Body::Json(json.clone()),
            (None, Some(text)) => Body::Text(text.clone()),
            (None, None) => Body::Empty,
        };
        request
    }

    fn check(&self) -> Result<(), ActionError> {
        if self.json.is_some() && self.body.is_some() {
            return Err(ActionError::invalid_params("a request carries `json` or `body`, not both"));
        }
        let typed = self.headers.keys().any(|name| name.eq_ignore_ascii_case("content-type"));
        if self.json.is_some() && typed {
            return Err(ActionError::invalid_params(
                "`json` is sent as `application/json`; for another content type use `body`",
            ));
        }
        Ok(())
    }
}

impl Action for HttpRequest {
    const NAME: &'static str = "http.request";
    const SUMMARY: &'static str = "Sends a request that changes something.";
    const EFFECT: Effect = Effect::Write;
    const REPLAY: Replay = Replay::Once;
    type Params = HttpRequestParams;
    type Output = HttpOutput;

    async fn run(&self, cx: &ActionContext, params: HttpRequestParams) -> Result<HttpOutput, ActionError> {
        params.check()?;
        exchange(cx, params.request(), params.expect.as_ref()).await
    }

    fn describe(&self, params: &HttpRequestParams) -> Vec<Intent> {
        [Intent::from(&params.request())].into_iter().chain(headers_note(&params.headers)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Answer, Bench};
    use super::*;
    use crate::action::ErrorKind;
    use serde_json::json;

    fn params(params: Value) -> HttpRequestParams {
        serde_json::from_value(params).unwrap()
    }

    #[tokio::test]
    async fn sends_what_it_says_it_will() {
        let bench = Bench::with(|_| Answer::json(201, &json!({ "id": 7 }))).await;
        let body = json!({ "key": crate::base::secret::reference("clerk"), "n": 1 });
        let params = params(json!({ "url": "https://app.example.com/hook", "json": body }));
        let output = HttpRequest.run(&bench.cx(), params.clone()).await.unwrap();
        assert_eq!((output.status, &output.json["id"]), (Some(201), &json!(7)));
        let seen = bench.seen().remove(0);
        assert_eq!(seen.line(), "POST /hook");
        assert_eq!(seen.body, json!({ "key": "sk_test_0123456789", "n": 1 }));
        assert_eq!(HttpRequest.describe(&params), [Intent::request_with("POST", "https://app.example.com/hook", body)]);
    }

    #[tokio::test]
    async fn sends_text_with_the_type_it_was_given() {
        let bench = Bench::with(|_| Answer::text(204, "")).await;
        let params = params(json!({
            "method": "PUT", "url": "https://app.example.com/x", "body": "a=b",
            "headers": { "content-type": "application/x-www-form-urlencoded" },
        }));
        HttpRequest.run(&bench.cx(), params).await.unwrap();
        let seen = bench.seen().remove(0);
        assert_eq!((seen.line().as_str(), seen.body), ("PUT /x", json!("a=b")));
        assert_eq!(seen.headers["content-type"], "application/x-www-form-urlencoded");
    }

    #[tokio::test]
    async fn what_makes_no_sense_is_refused_and_nothing_is_sent() {
        let bench = Bench::with(|_| Answer::text(204, "")).await;
        for wrong in [
            json!({ "url": "https://app.example.com/", "json": 1, "body": "x" }),
            json!({ "url": "https://app.example.com/", "json": 1, "headers": { "Content-Type": "text/plain" } }),
            json!({ "url": "not an address" }),
            json!({ "url": "https://app.example.com/", "method": "NO WAY" }),
            json!({ "url": "https://app.example.com/", "query": { "k": crate::base::secret::reference("clerk") } }),
        ] {
            let error = HttpRequest.run(&bench.cx(), params(wrong)).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::InvalidParams, "{error}");
        }
        assert!(bench.seen().is_empty());
    }
}
