//! `http.get`, `http.probe` and `http.request`: a request, its answer, and whether it was the one hoped for.

mod get;
mod probe;
mod request;

pub use get::{HttpGet, HttpGetParams};
pub use probe::{HttpProbe, HttpProbeOutput, HttpProbeParams};
pub use request::{HttpRequest, HttpRequestParams};

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::scalar::Scalar;
use crate::action::{ActionContext, ActionError, ErrorKind, refusal};
use crate::base::HumanDuration;
use crate::base::secret::shown;
use crate::http::{DEFAULT_TIMEOUT, Request, Response};

/// How much of an answer's text to keep.
const KEPT: usize = 64 * 1024;

/// Which answer is a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// The status, or a list of them.
    #[schemars(extend("examples" = [200, [200, 503]]))]
    pub status: Statuses,
}

/// One status, or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Statuses {
    /// This one.
    One(u16),
    /// Any of these.
    Any(Vec<u16>),
}

impl Statuses {
    fn contains(&self, status: u16) -> bool {
        match self {
            Self::One(one) => *one == status,
            Self::Any(any) => any.contains(&status),
        }
    }
}

impl std::fmt::Display for Statuses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::One(status) => status.fmt(f),
            Self::Any(any) => f.write_str(&any.iter().map(u16::to_string).collect::<Vec<_>>().join(" or ")),
        }
    }
}

/// An answer. A step that failed has one too: `.outputs.status` is what came, or `null` when nothing came.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct HttpOutput {
    /// The status; `null` when there was no answer.
    pub status: Option<u16>,
    /// Was the status the one hoped for?
    pub ok: bool,
    /// The headers, names in lower case. Of several with one name, the last.
    pub headers: BTreeMap<String, String>,
    /// The body, where it is JSON; otherwise `null`.
    pub json: Value,
    /// The body as text, up to 64 KiB.
    pub body: String,
    /// From the first byte sent to the last byte read, in milliseconds.
    pub elapsed_ms: u64,
    /// Did anything answer at all?
    pub reachable: bool,
}

fn default_timeout() -> HumanDuration {
    HumanDuration(DEFAULT_TIMEOUT)
}

/// Sends the request and holds the answer against what was expected.
async fn exchange(cx: &ActionContext, request: Request, expect: Option<&Expect>) -> Result<HttpOutput, ActionError> {
    let response = match cx.send(request).await {
        Ok(response) => response,
        Err(error) => {
            return Err(match error.kind {
                // Something answered, if only half.
                ErrorKind::InvalidResponse => error.with_outputs(&nothing(true)),
                ErrorKind::Timeout | ErrorKind::Network => error.with_outputs(&nothing(false)),
                _ => error,
            });
        }
    };
    let expected = expect.map_or(response.is_success(), |expect| expect.status.contains(response.status));
    let output = output_of(&response, expected);
    if expected {
        return Ok(output);
    }
    let mut error = refusal(&response, cx.now());
    if let Some(expect) = expect {
        error.message.push_str(&format!("; expected was {}", expect.status));
    }
    Err(error.with_outputs(&output))
}

fn output_of(response: &Response, ok: bool) -> HttpOutput {
    let mut body = response.text();
    if body.len() > KEPT {
        let end = (0..=KEPT).rev().find(|end| body.is_char_boundary(*end)).unwrap_or(0);
        body.truncate(end);
    }
    HttpOutput {
        status: Some(response.status),
        ok,
        headers: response.headers.iter().cloned().collect(),
        json: response.json().unwrap_or(Value::Null),
        body,
        elapsed_ms: u64::try_from(response.elapsed.as_millis()).unwrap_or(u64::MAX),
        reachable: true,
    }
}

fn nothing(reachable: bool) -> HttpOutput {
    HttpOutput {
        status: None,
        ok: false,
        headers: BTreeMap::new(),
        json: Value::Null,
        body: String::new(),
        elapsed_ms: 0,
        reachable,
    }
}

/// What both actions set alike.
fn prepared(
    method: &str,
    url: &str,
    query: &BTreeMap<String, Scalar>,
    headers: &BTreeMap<String, String>,
    timeout: HumanDuration,
) -> Request {
    let mut request = Request::new(method, url).timeout(timeout.0);
    for (name, value) in query {
        request = request.query(name, value.to_string());
    }
    for (name, value) in headers {
        request = request.header(name, value);
    }
    request
}

/// A plan names the headers as well: they decide what a request means.
fn headers_note(headers: &BTreeMap<String, String>) -> Option<crate::action::Intent> {
    let lines: Vec<String> = headers.iter().map(|(name, value)| format!("{name}: {}", shown(value))).collect();
    (!lines.is_empty()).then(|| crate::action::Intent::note(format!("with the headers {}", lines.join(", "))))
}
