//! A client for many requests: within a share of the instance's limit, each repeated by its class, and patient while the
//! vendor is under maintenance.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::sync::RwLock;

use super::percent::Share;
use super::{backend, limit};
use crate::action::{ActionContext, ActionError, ErrorKind, Patience, refusal};
use crate::base::clock::until;
use crate::base::{HumanDuration, Timestamp};
use crate::http::{Limit, Repeat, Request, Response};

/// The failure's code while all writes are refused.
pub(super) const MAINTENANCE: &str = "maintenance_mode";
/// How often to try whether the maintenance is over.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// Users carry metadata of all kinds; five hundred of them make large pages.
const LARGEST_PAGE: usize = 32 * 1024 * 1024;
/// How often a page that cannot be read is asked for.
const READS: u32 = 3;

/// Asks the Backend API, again and again.
pub(super) struct Client<'a> {
    pub(super) cx: &'a ActionContext,
    key: String,
    timeout: HumanDuration,
    limit: Limit,
    requests: AtomicU64,
    /// How long a maintenance may last before it is a failure.
    maintenance_for: Duration,
    /// Held for writing by whoever tries whether the maintenance is over, and for reading by all who write.
    open: RwLock<()>,
    /// How often a maintenance was seen to end.
    ended: AtomicU64,
    /// For how long maintenance has held up the writes, in milliseconds.
    paused: AtomicU64,
}

impl<'a> Client<'a> {
    /// A client that takes this share of the instance's limit.
    pub(super) fn new(
        cx: &'a ActionContext,
        secret: &str,
        share: Share,
        timeout: HumanDuration,
    ) -> Result<Self, ActionError> {
        let half = limit(cx, secret)?;
        let limit = Limit { requests: share.of(half.requests.saturating_mul(2)), ..half };
        Ok(Self {
            cx,
            key: cx.secret(secret)?,
            timeout,
            limit,
            requests: AtomicU64::new(0),
            maintenance_for: Duration::ZERO,
            open: RwLock::new(()),
            ended: AtomicU64::new(0),
            paused: AtomicU64::new(0),
        })
    }

    /// Waits so long for the end of a maintenance.
    #[must_use]
    pub(super) fn waiting_for(mut self, maintenance_for: Duration) -> Self {
        self.maintenance_for = maintenance_for;
        self
    }

    /// The same, for what must be put right although the run is being cancelled.
    pub(super) fn beside<'b>(&self, cx: &'b ActionContext) -> Client<'b> {
        Client {
            cx,
            key: self.key.clone(),
            timeout: self.timeout,
            limit: self.limit.clone(),
            requests: AtomicU64::new(0),
            maintenance_for: Duration::ZERO,
            open: RwLock::new(()),
            ended: AtomicU64::new(0),
            paused: AtomicU64::new(0),
        }
    }

    /// How many requests were made.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// How many requests a second the limit lets through now.
    pub(super) fn rate(&self) -> f64 {
        self.cx.rate(&self.limit).unwrap_or(f64::INFINITY)
    }

    /// The limit.
    pub(super) fn limit(&self) -> &Limit {
        &self.limit
    }

    /// For how long maintenance has held up the writes.
    pub(super) fn paused(&self) -> Duration {
        Duration::from_millis(self.paused.load(Ordering::Relaxed))
    }

    fn request(&self, method: &str, path: &str) -> Request {
        let mut request = backend(method, path, self.timeout).bearer(&self.key).limited(self.limit.clone());
        request.max_body = LARGEST_PAGE;
        request
    }

    async fn send(&self, request: Request, class: Repeat) -> Result<Response, ActionError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.cx.send_patiently(request, Patience::of(class)).await
    }

    /// Reads one thing.
    pub(super) async fn read<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<T, ActionError> {
        let mut request = self.request("GET", path);
        for (name, value) in query {
            request = request.query(*name, value);
        }
        let mut reads = 1;
        loop {
            let response = self.send(request.clone(), Repeat::Always).await?;
            match self.parsed(&response) {
                Err(error) if error.kind == ErrorKind::InvalidResponse && reads < READS => reads += 1,
                parsed => return parsed,
            }
            self.cx.sleep(Duration::from_secs(1)).await?;
        }
    }

    /// Reads a list: the bare one, or the one with its number.
    pub(super) async fn list<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, String)],
    ) -> Result<Vec<T>, ActionError> {
        Ok(self.read::<Rows<T>>(path, query).await?.0)
    }

    fn parsed<T: DeserializeOwned>(&self, response: &Response) -> Result<T, ActionError> {
        if !response.is_success() {
            return Err(refusal(response, self.cx.now()));
        }
        // Straight from the bytes: a page of users as a tree would be ten times as large.
        serde_json::from_slice(&response.body).map_err(|error| {
            let mut failure = match self.cx.json(response) {
                Err(failure) => failure,
                Ok(_) => {
                    ActionError::invalid_response(format!("{} answered something unexpected: {error}", response.url))
                }
            };
            failure.status = Some(response.status);
            failure
        })
    }

    /// Sets a state. While the vendor is under maintenance it waits, and so does every other write.
    ///
    /// An answer that is no success is an error; a 404 is one as well, and the caller knows what it means.
    pub(super) async fn write(&self, path: &str, body: Option<Value>) -> Result<Response, ActionError> {
        let request = self.request("POST", path);
        let request = match body {
            Some(body) => request.json(body),
            None => request,
        };
        let ended = self.ended.load(Ordering::Relaxed);
        let refused = {
            let _writing = self.open.read().await;
            match self.write_once(&request).await {
                Err(error) if is_maintenance(&error) => error,
                answered => return answered,
            }
        };
        self.wait_for_its_end(&request, refused, ended).await
    }

    async fn write_once(&self, request: &Request) -> Result<Response, ActionError> {
        let response = self.send(request.clone(), Repeat::SameState).await?;
        if response.is_success() { Ok(response) } else { Err(refusal(&response, self.cx.now())) }
    }

    /// One tries again now and then, alone; the others wait for it.
    async fn wait_for_its_end(
        &self,
        request: &Request,
        mut refused: ActionError,
        ended: u64,
    ) -> Result<Response, ActionError> {
        let _alone = self.open.write().await;
        let began = self.cx.now();
        // Somebody else may have seen its end meanwhile.
        let mut wait = if self.ended.load(Ordering::Relaxed) == ended { LOOK_AGAIN } else { Duration::ZERO };
        loop {
            let waited = until(began, self.cx.now());
            if waited >= self.maintenance_for {
                self.count_pause(began);
                return Err(refused);
            }
            if !wait.is_zero() {
                let left = HumanDuration(self.maintenance_for.saturating_sub(waited)).rounded();
                self.cx.progress(format!("Clerk is under maintenance and takes no changes; waits, {left} at most"));
                self.cx.sleep(wait.min(self.maintenance_for)).await?;
            }
            match self.write_once(request).await {
                Err(error) if is_maintenance(&error) => refused = error,
                answered => {
                    self.ended.fetch_add(1, Ordering::Relaxed);
                    self.count_pause(began);
                    return answered;
                }
            }
            wait = LOOK_AGAIN;
        }
    }

    fn count_pause(&self, began: Timestamp) {
        self.paused.fetch_add(super::millis(until(began, self.cx.now())), Ordering::Relaxed);
    }
}

/// Does the vendor refuse all changes for now?
pub(super) fn is_maintenance(error: &ActionError) -> bool {
    error.code.as_deref() == Some(MAINTENANCE)
}

/// A list, bare or under `data`.
struct Rows<T>(Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Rows<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(std::marker::PhantomData<T>);
        #[derive(Deserialize)]
        struct Page<T> {
            data: Vec<T>,
        }
        impl<'de, T: Deserialize<'de>> serde::de::Visitor<'de> for Either<T> {
            type Value = Rows<T>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list, or one under `data`")
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, seq: A) -> Result<Rows<T>, A::Error> {
                Vec::deserialize(serde::de::value::SeqAccessDeserializer::new(seq)).map(Rows)
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Rows<T>, A::Error> {
                let page = Page::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                Ok(Rows(page.data))
            }
        }
        deserializer.deserialize_any(Either(std::marker::PhantomData))
    }
}
