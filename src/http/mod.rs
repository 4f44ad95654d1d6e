//! The one HTTP client: limits on time and size, secrets filled in at the last moment, errors with nothing secret in them.

mod address;
mod class;
#[cfg(test)]
mod hostile;
mod origins;
mod rate;

pub use class::{Outcome, Repeat};
pub use origins::{Origins, OriginsError, VENDOR_NAMES, origin};
pub use rate::{Limit, Limits, Place};

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::Value;

use address::Address;

use crate::base::secret::SecretError;
use crate::base::{SecretStore, Timestamp};

/// How long to wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long one exchange may take unless the request says otherwise.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(15);
/// How large an answer may be unless the request says otherwise.
pub const DEFAULT_MAX_BODY: usize = 4 * 1024 * 1024;

/// A request. Header values and the body may hold secret references; the address may not, unless it is one as a whole.
#[derive(Debug, Clone)]
pub struct Request {
    /// `GET`, `POST` …
    pub method: String,
    /// The address, on the vendor's own host; or a reference to it, see [`Request::at_secret`].
    pub url: String,
    /// Query parameters to add, percent-encoded here.
    pub query: Vec<(String, String)>,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Body,
    /// How long the exchange may take.
    pub timeout: Duration,
    /// How large the answer may be.
    pub max_body: usize,
    /// The vendor's limit it counts against. Whoever sends waits for it: see [`Limits`].
    pub limit: Option<Limit>,
    /// The address is a secret as a whole.
    secret: bool,
}

/// What a request carries.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Body {
    /// Nothing.
    #[default]
    Empty,
    /// A JSON document, sent as `application/json`.
    Json(Value),
    /// Text, sent as it is.
    Text(String),
}

impl Request {
    /// A request with nothing but an address.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Self {
            method: method.into(),
            url: url.into(),
            query: Vec::new(),
            headers: Vec::new(),
            body: Body::Empty,
            timeout: DEFAULT_TIMEOUT,
            max_body: DEFAULT_MAX_BODY,
            limit: None,
            secret: false,
        }
    }

    /// A `GET`.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new("GET", url)
    }

    /// A request whose whole address is a secret, such as a Slack webhook. It is filled in when the request is sent, must
    /// be https, and is told as `‹secret slack›` everywhere.
    pub fn at_secret(method: impl Into<String>, reference: impl Into<String>) -> Self {
        Self { secret: true, ..Self::new(method, reference) }
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Adds `Authorization: Bearer …`; the token is a secret reference.
    #[must_use]
    pub fn bearer(self, reference: &str) -> Self {
        self.header("authorization", format!("Bearer {reference}"))
    }

    /// Adds a query parameter.
    #[must_use]
    pub fn query(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.query.push((name.into(), value.into()));
        self
    }

    /// Carries JSON.
    #[must_use]
    pub fn json(mut self, body: Value) -> Self {
        self.body = Body::Json(body);
        self
    }

    /// Sets the limit on time.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Counts against a vendor's limit, together with all other requests of its key.
    #[must_use]
    pub fn limited(mut self, limit: Limit) -> Self {
        self.limit = Some(limit);
        self
    }

    /// The address with its query, as people may see it.
    pub fn address(&self) -> String {
        match reqwest::Url::parse(&self.url) {
            Ok(mut url) => {
                if !self.query.is_empty() {
                    url.query_pairs_mut().extend_pairs(&self.query);
                }
                url.to_string()
            }
            Err(_) => self.url.clone(),
        }
    }
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// Headers, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// From the first byte sent to the last byte read.
    pub elapsed: Duration,
    /// The address that was asked, without its query.
    pub url: String,
}

impl Response {
    /// The first header of this name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Is the status 2xx?
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The body as text, whatever it is.
    pub fn text(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.body).into_owned();
        crate::base::secret::disarm(&mut text);
        text
    }

    /// The body as JSON, if it is that.
    pub fn json(&self) -> Option<Value> {
        let mut value = serde_json::from_slice(&self.body).ok()?;
        crate::base::secret::disarm_json(&mut value);
        Some(value)
    }

    /// How long the other side asks us to wait: seconds or an HTTP date (RFC 9110, section 10.2.3).
    pub fn retry_after(&self, now: Timestamp) -> Option<Duration> {
        parse_retry_after(self.header("retry-after")?, now)
    }
}

/// Reads both forms of `Retry-After`; more than a day is held to a day.
pub fn parse_retry_after(text: &str, now: Timestamp) -> Option<Duration> {
    const LONGEST: Duration = Duration::from_secs(86_400);
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds).min(LONGEST));
    }
    let date = jiff::fmt::rfc2822::DateTimeParser::new().relaxed_weekday(true).parse_timestamp(text).ok()?;
    Some(crate::base::clock::until(now, date).min(LONGEST))
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HttpError {
    /// No answer in time.
    #[error("{method} {url} got no answer within {limit:?}")]
    Timeout {
        /// `GET` …
        method: String,
        /// The address without its query.
        url: String,
        /// The limit that passed.
        limit: Duration,
        /// May the request have arrived?
        sent: bool,
    },
    /// No connection, or it broke.
    #[error("{method} {url} failed: {reason}")]
    Network {
        /// `GET` …
        method: String,
        /// The address without its query.
        url: String,
        /// The innermost cause.
        reason: String,
        /// May the request have arrived?
        sent: bool,
    },
    /// The answer broke off, or was no HTTP.
    #[error("the answer to {method} {url} broke off: {reason}")]
    Broken {
        /// `GET` …
        method: String,
        /// The address without its query.
        url: String,
        /// The innermost cause.
        reason: String,
    },
    /// The answer is larger than allowed.
    #[error("the answer to {method} {url} is larger than {limit} bytes")]
    TooLarge {
        /// `GET` …
        method: String,
        /// The address without its query.
        url: String,
        /// The limit in bytes.
        limit: usize,
    },
    /// This client may not speak to that host: a drill has no stand-in for it.
    #[error("{url} has no stand-in in this drill; nothing was sent")]
    Refused {
        /// The address without its query.
        url: String,
    },
    /// The request itself makes no sense.
    #[error("{0}")]
    BadRequest(String),
    /// A secret could not be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// Sends requests. One per run; cheap to clone.
#[derive(Clone)]
pub struct Client {
    inner: Arc<Inner>,
    /// By how much a drill's clock runs faster than the world's. Limits are in the time of the run.
    speed: f64,
}

/// A drill's limits get no shorter than this: loopback is quick, a busy machine is not.
const SHORTEST_LIMIT: Duration = Duration::from_secs(2);

struct Inner {
    /// Built when first needed: loading the system's roots takes milliseconds that most commands should not pay.
    client: OnceLock<Result<reqwest::Client, String>>,
    origins: Origins,
    secrets: Arc<SecretStore>,
    limits: Limits,
    connect_timeout: Duration,
}

impl Client {
    /// A client that sends to `origins` and fills in `secrets`.
    pub fn new(origins: Origins, secrets: Arc<SecretStore>) -> Self {
        let limits = Limits::default();
        let inner = Inner { client: OnceLock::new(), origins, secrets, limits, connect_timeout: CONNECT_TIMEOUT };
        Self { inner: Arc::new(inner), speed: 1.0 }
    }

    #[cfg(test)]
    fn connecting_within(self, connect_timeout: Duration) -> Self {
        let inner = Arc::into_inner(self.inner).expect("nobody else has it yet");
        Self { inner: Arc::new(Inner { connect_timeout, ..inner }), ..self }
    }

    /// How fast each vendor may be asked; one account for all clones.
    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    /// The same client for a run whose clock runs `speed` times as fast as the world's.
    #[must_use]
    pub fn at_speed(mut self, speed: f64) -> Self {
        self.speed = speed.max(1.0);
        self
    }

    /// How long an exchange may take outside.
    fn limit(&self, limit: Duration) -> Duration {
        if self.speed > 1.0 { limit.div_f64(self.speed).max(SHORTEST_LIMIT).min(limit) } else { limit }
    }

    fn client(&self) -> Result<&reqwest::Client, HttpError> {
        let built = self.inner.client.get_or_init(|| {
            // Installing twice fails harmlessly: the provider is the same.
            let _ = rustls::crypto::ring::default_provider().install_default();
            let builder = reqwest::Client::builder();
            // Stand-ins are on this machine: no proxy may come between.
            let builder = if self.inner.origins.is_closed() { builder.no_proxy() } else { builder };
            builder
                .user_agent(concat!("runbook/", env!("CARGO_PKG_VERSION")))
                .connect_timeout(self.inner.connect_timeout)
                // A redirect to a sign-in page is a finding, not a success.
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .map_err(|error| innermost(&error))
        });
        built.as_ref().map_err(|reason| HttpError::BadRequest(format!("the HTTP client cannot start: {reason}")))
    }

    /// Sends a request and reads the whole answer, within its limits of time and size.
    pub async fn send(&self, request: Request) -> Result<Response, HttpError> {
        let address = Address::of(&request, &self.inner.secrets, &self.inner.origins)?;
        let method = reqwest::Method::from_bytes(request.method.as_bytes())
            .map_err(|_| HttpError::BadRequest(format!("`{}` is not an HTTP method", request.method)))?;

        let mut outgoing = self.client()?.request(method, address.url.clone()).timeout(self.limit(request.timeout));
        for (name, value) in &request.headers {
            outgoing = outgoing.header(name, self.inner.secrets.reveal(value)?);
        }
        outgoing = match &request.body {
            Body::Empty => outgoing,
            Body::Json(body) => outgoing
                .header("content-type", "application/json")
                .body(reveal_json(&self.inner.secrets, body.clone())?.to_string()),
            Body::Text(text) => outgoing.body(self.inner.secrets.reveal(text)?),
        };

        let began = std::time::Instant::now();
        let connect_timeout = self.inner.connect_timeout;
        let failed = |error: reqwest::Error| classify(&request, &address, connect_timeout, &error.without_url());
        let mut answer = outgoing.send().await.map_err(failed)?;
        let status = answer.status().as_u16();
        let headers = answer
            .headers()
            .iter()
            .map(|(name, value)| {
                let mut value = String::from_utf8_lossy(value.as_bytes()).into_owned();
                crate::base::secret::disarm(&mut value);
                (name.as_str().to_owned(), value)
            })
            .collect();
        let too_large = || HttpError::TooLarge {
            method: request.method.clone(),
            url: address.told.clone(),
            limit: request.max_body,
        };
        if answer
            .content_length()
            .is_some_and(|length| usize::try_from(length).map_or(true, |length| length > request.max_body))
        {
            return Err(too_large());
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if body.len() + chunk.len() > request.max_body {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Response { status, headers, body, elapsed: began.elapsed(), url: address.told })
    }
}

fn classify(request: &Request, address: &Address, connect_timeout: Duration, error: &reqwest::Error) -> HttpError {
    let (method, url, reason) = (request.method.clone(), address.told.clone(), address.masked(innermost(error)));
    if error.is_timeout() {
        let (limit, sent) = if error.is_connect() { (connect_timeout, false) } else { (request.timeout, true) };
        HttpError::Timeout { method, url, limit, sent }
    } else if error.is_builder() {
        HttpError::BadRequest(format!("{method} {url} cannot be sent: {reason}"))
    } else if error.is_body() || error.is_decode() || is_no_http(error) {
        HttpError::Broken { method, url, reason }
    } else {
        HttpError::Network { method, url, reason, sent: !error.is_connect() }
    }
}

/// Did something answer that is no HTTP?
fn is_no_http(error: &reqwest::Error) -> bool {
    let mut cause = std::error::Error::source(error);
    while let Some(deeper) = cause {
        if deeper.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_parse) {
            return true;
        }
        cause = deeper.source();
    }
    false
}

/// The innermost cause is the one that says something: `Connection refused`, not `error sending request`.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

fn reveal_json(secrets: &SecretStore, value: Value) -> Result<Value, SecretError> {
    Ok(match value {
        Value::String(text) => Value::String(secrets.reveal(&text)?),
        Value::Array(items) => {
            Value::Array(items.into_iter().map(|item| reveal_json(secrets, item)).collect::<Result<_, _>>()?)
        }
        Value::Object(map) => Value::Object(
            map.into_iter()
                .map(|(key, item)| Ok((key, reveal_json(secrets, item)?)))
                .collect::<Result<_, SecretError>>()?,
        ),
        other => other,
    })
}

/// Percent-encodes one segment of a path. `None` for a segment that would change the path: empty, `.` or `..`.
pub fn path_segment(text: &str) -> Option<String> {
    if text.is_empty() || text == "." || text == ".." {
        return None;
    }
    Some(
        text.bytes()
            .map(|b| {
                if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) {
                    char::from(b).to_string()
                } else {
                    format!("%{b:02X}")
                }
            })
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_forms_of_retry_after() {
        let now = "2026-11-23T03:00:00Z".parse().unwrap();
        assert_eq!(parse_retry_after("7", now), Some(Duration::from_secs(7)));
        assert_eq!(parse_retry_after("Mon, 23 Nov 2026 03:01:00 GMT", now), Some(Duration::from_secs(60)));
        assert_eq!(parse_retry_after("Mon, 23 Nov 2026 02:00:00 GMT", now), Some(Duration::ZERO));
        assert_eq!(parse_retry_after("99999999", now), Some(Duration::from_secs(86_400)));
        assert_eq!(parse_retry_after("soon", now), None);
    }

    #[test]
    fn a_path_segment_cannot_leave_its_place() {
        assert_eq!(path_segment("my app/../x"), Some("my%20app%2F..%2Fx".into()));
        assert_eq!(path_segment(".."), None);
        assert_eq!(path_segment(""), None);
    }
}
