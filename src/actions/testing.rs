//! For tests of actions: a vendor on this machine that says what it is told to, and the doors that lead to it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, Response};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use crate::action::{ActionContext, ActionError, Checkpoints, Doors, Reporter, Target};
use crate::base::{Attempt, BoxFuture, Clock, RunId, SecretStore, StepPath, Timestamp};
use crate::{database, http, process};

/// A request as the vendor saw it.
#[derive(Debug, Clone)]
pub(super) struct Seen {
    pub(super) method: String,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Value,
}

impl Seen {
    /// `GET /path`.
    pub(super) fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// What the vendor answers.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    Whole { status: u16, headers: Vec<(&'static str, String)>, body: String },
    Never,
}

impl Answer {
    pub(super) fn json(status: u16, body: &Value) -> Self {
        Self::text(status, &body.to_string()).header("content-type", "application/json")
    }

    pub(super) fn text(status: u16, body: &str) -> Self {
        Self::Whole { status, headers: Vec::new(), body: body.to_owned() }
    }

    pub(super) fn html(status: u16) -> Self {
        Self::text(status, "<!doctype html><title>Sign in</title>").header("content-type", "text/html")
    }

    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Self::Whole { headers, .. } = &mut self {
            headers.push((name, value.to_owned()));
        }
        self
    }
}

/// Time that passes only where somebody waits.
#[derive(Debug)]
struct StillClock(Mutex<Timestamp>);

impl Clock for StillClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut now = self.0.lock().unwrap();
        *now = crate::base::clock::after(*now, duration);
        Box::pin(tokio::task::yield_now())
    }
}

struct PlainReporter;

impl Reporter for PlainReporter {
    fn render(&self, run: &RunId, template: &str) -> Result<String, String> {
        if template == "missing.j2" {
            Err("`missing.j2` does not exist".into())
        } else {
            Ok(format!("{template} {run}"))
        }
    }
}

/// What actions saved and said.
#[derive(Debug, Default)]
struct Notes {
    saved: Mutex<Vec<Value>>,
    said: Mutex<Vec<String>>,
}

impl Checkpoints for Notes {
    fn save(&self, value: Value) -> BoxFuture<'_, Result<(), ActionError>> {
        self.saved.lock().unwrap().push(value);
        Box::pin(async { Ok(()) })
    }

    fn progress(&self, text: String) {
        self.said.lock().unwrap().push(text);
    }
}

/// The vendors whose requests end up at the stand-in.
const MOVED: [&str; 9] = [
    "https://api.clerk.com",
    "https://api.vercel.com",
    "https://clerk.example.com",
    "https://status.example.com",
    "https://app.example.com",
    "https://api.us.svix.com",
    "https://api.eu.svix.com",
    "https://hooks.slack.com",
    "https://events.pagerduty.com",
];

/// One action's surroundings.
pub(super) struct Bench {
    doors: Arc<Doors>,
    address: Option<String>,
    notes: Arc<Notes>,
    seen: Arc<Mutex<Vec<Seen>>>,
    pub(super) cancel: CancellationToken,
}

impl Bench {
    /// Surroundings without a vendor: every address is closed.
    pub(super) fn new() -> Self {
        Self::leading_to(None, Arc::default())
    }

    /// Surroundings in which every vendor is this one.
    pub(super) async fn with(vendor: impl FnMut(&Seen) -> Answer + Send + 'static) -> Self {
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let vendor = Arc::new(Mutex::new(vendor));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let recorded = Arc::clone(&seen);
        let router = axum::Router::new().fallback(move |request: Request<Body>| {
            let (vendor, recorded) = (Arc::clone(&vendor), Arc::clone(&recorded));
            async move {
                let (head, body) = request.into_parts();
                let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
                let seen = Seen {
                    method: head.method.to_string(),
                    path: head.uri.path().to_owned(),
                    query: head.uri.query().unwrap_or_default().to_owned(),
                    headers: head
                        .headers
                        .iter()
                        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
                        .collect(),
                    body: serde_json::from_slice(&body)
                        .unwrap_or_else(|_| Value::from(String::from_utf8_lossy(&body).into_owned())),
                };
                recorded.lock().unwrap().push(seen.clone());
                let answer = (vendor.lock().unwrap())(&seen);
                match answer {
                    Answer::Whole { status, headers, body } => {
                        let mut built = Response::builder().status(status);
                        for (name, value) in headers {
                            built = built.header(name, value);
                        }
                        built.body(Body::from(body)).unwrap()
                    }
                    Answer::Never => std::future::pending().await,
                }
            }
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self::leading_to(Some(format!("http://{address}")), seen)
    }

    /// Surroundings in which every vendor takes the connection and hangs up.
    pub(super) async fn hanging_up() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { while listener.accept().await.is_ok() {} });
        Self::leading_to(Some(format!("http://{address}")), Arc::default())
    }

    /// Surroundings in which every vendor is at this address. No exchange takes longer than two seconds.
    pub(super) fn at(address: &str) -> Self {
        let mut doors = doors(Some(address), &[]);
        doors.http = doors.http.at_speed(1000.0);
        let (doors, address) = (Arc::new(doors), Some(address.to_owned()));
        Self { doors, address, notes: Arc::default(), seen: Arc::default(), cancel: CancellationToken::new() }
    }

    fn leading_to(address: Option<String>, seen: Arc<Mutex<Vec<Seen>>>) -> Self {
        let doors = Arc::new(doors(address.as_deref(), &[]));
        Self { doors, address, notes: Arc::default(), seen, cancel: CancellationToken::new() }
    }

    /// The same surroundings with another value of a secret.
    pub(super) fn with_secret(mut self, name: &str, value: &str) -> Self {
        self.doors = Arc::new(doors(self.address.as_deref(), &[(name, value)]));
        self
    }

    /// The context of a first try.
    pub(super) fn cx(&self) -> ActionContext {
        self.context(None)
    }

    /// The context of a later try, which finds the last checkpoint of the earlier ones.
    pub(super) fn again(&self) -> ActionContext {
        let checkpoint = self.saved().pop();
        self.context(Some(checkpoint))
    }

    fn context(&self, earlier: Option<Option<Value>>) -> ActionContext {
        let run = RunId::parse("20261123-030000-test").unwrap();
        let target = Target {
            key: format!("{run}/the_step"),
            run,
            step: StepPath::parse("the_step").unwrap(),
            attempt: if earlier.is_some() { Attempt::FIRST.next() } else { Attempt::FIRST },
            repeat: earlier.is_some(),
            checkpoint: earlier.flatten(),
            folder: std::env::temp_dir(),
            secrets: Arc::default(),
        };
        let notes: Arc<dyn Checkpoints> = self.notes.clone();
        ActionContext::new(target, Arc::clone(&self.doors), notes, self.cancel.clone())
    }

    pub(super) fn artifacts(&self) -> &std::path::Path {
        &self.doors.artifacts
    }

    /// The text as it would be logged.
    pub(super) fn mask(&self, text: &str) -> String {
        self.doors.secrets.redactor().mask(text).into_owned()
    }

    pub(super) fn saved(&self) -> Vec<Value> {
        self.notes.saved.lock().unwrap().clone()
    }

    pub(super) fn said(&self) -> Vec<String> {
        self.notes.said.lock().unwrap().clone()
    }

    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// `METHOD /path` of every request so far; forgets them.
    pub(super) fn lines(&self) -> Vec<String> {
        std::mem::take(&mut *self.seen.lock().unwrap()).iter().map(Seen::line).collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(self.artifacts());
    }
}

fn doors(address: Option<&str>, besides: &[(&str, &str)]) -> Doors {
    let mut origins = http::Origins::default();
    if let Some(address) = address {
        for origin in MOVED {
            origins.set(origin, address).unwrap();
        }
    }
    origins.close();
    let given = [
        ("clerk", "sk_test_0123456789"),
        ("clerk_platform", "ak_0123456789abcdef"),
        ("vercel", "vc_0123456789"),
        ("svix", "testsk_0123456789.us"),
        ("slack", "https://hooks.slack.com/services/T000/B000/abcdefghijkl"),
        ("pagerduty", "0123456789abcdef0123456789abcdef"),
    ];
    let given = given.iter().chain(besides).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let secrets = SecretStore::new(BTreeMap::new(), Arc::default()).with_given(given.collect());
    let secrets = Arc::new(secrets);
    Doors {
        http: http::Client::new(origins, Arc::clone(&secrets)),
        processes: Arc::new(process::LocalProcesses::new(Arc::clone(&secrets))),
        databases: Arc::new(database::RealDatabases::new(Arc::clone(&secrets))),
        clock: Arc::new(StillClock(Mutex::new("2026-11-23T03:00:00Z".parse().unwrap()))),
        secrets,
        reporter: Arc::new(PlainReporter),
        artifacts: fresh_folder(),
    }
}

pub(super) fn fresh_folder() -> std::path::PathBuf {
    static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    std::env::temp_dir().join(format!("runbook-actions-test-{}-{count}", std::process::id()))
}

/// What a vendor's API can answer that is no success, and the kind of failure each is.
pub(super) fn faults() -> Vec<(Answer, crate::action::ErrorKind)> {
    use crate::action::ErrorKind as Kind;
    let maintenance = serde_json::json!({
        "shortMessage": "System under maintenance", "longMessage": "Back soon", "code": "maintenance_mode"
    });
    vec![
        (Answer::html(200), Kind::InvalidResponse),
        (Answer::text(200, r#"{"keys":[{"kid"#), Kind::InvalidResponse),
        (Answer::json(200, &serde_json::json!([1, "two"])), Kind::InvalidResponse),
        (Answer::json(200, &Value::Null), Kind::InvalidResponse),
        (Answer::text(200, ""), Kind::InvalidResponse),
        (Answer::text(302, "").header("location", "https://example.com/sign-in"), Kind::Rejected),
        (Answer::json(401, &serde_json::json!({ "errors": [{ "code": "clerk_key_invalid" }] })), Kind::Unauthorized),
        (Answer::json(403, &serde_json::json!({ "error": { "code": "forbidden" } })), Kind::Unauthorized),
        (Answer::html(404), Kind::Rejected),
        (Answer::json(409, &serde_json::json!({ "error": { "code": "conflict" } })), Kind::Rejected),
        (Answer::text(429, "").header("retry-after", "7"), Kind::RateLimited),
        (Answer::text(429, "").header("retry-after", "Mon, 23 Nov 2026 03:01:00 GMT"), Kind::RateLimited),
        (Answer::text(500, "boom"), Kind::Server),
        (Answer::json(503, &maintenance), Kind::Server),
    ]
}
