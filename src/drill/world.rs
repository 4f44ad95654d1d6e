//! The world of a drill: starts the stand-ins, keeps their state, and lets time pass.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinSet;

use super::ask::{Answer, Ask, Carried, Reply, out_of_order, refusal, throttled};
use super::database::{self, Store, Wrote};
use super::drip::{A_BYTE, Content};
use super::observed::{Observed, Why};
use super::record::{Entry, Record, check_script};
use super::scenario::{FaultAnswer, Mode, Scenario, StandIn};
use super::state::{Asked, WorldState};
use super::transcript::{Heard, Spoiled, Transcript};
use super::{app, clerk, clerk_frontend, faults, pagerduty, slack, status_page, svix, vercel};
use crate::base::clock::{ScaledClock, after, until};
use crate::base::{Clock, Secret, Timestamp};
use crate::database::{Access, DatabaseError, Databases, NoDatabases, Query, Table};

/// How often the record notes the time, in the world outside.
const HEARTBEAT: Duration = Duration::from_millis(250);
/// How long a stand-in that hangs holds the line, in the scenario's time.
const HOLDS_THE_LINE: Duration = Duration::from_secs(120);
/// Larger requests are none of ours.
const LARGEST_BODY: usize = 1024 * 1024;

/// The stand-ins of a drill, running. Dropping it stops them and waits for that.
pub struct World {
    shared: Arc<Shared>,
    origins: Vec<(String, String)>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// How a world is started, where it is not as usual.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    /// How many times as fast as the world's the clock runs, instead of the scenario's own.
    pub speed: Option<f64>,
    /// The ports that stand-ins listen at; those that are not named take any that is free.
    pub ports: BTreeMap<StandIn, u16>,
    /// The file that every exchange is written to.
    pub transcript: Option<PathBuf>,
}

/// What the stand-ins share.
struct Shared {
    transcript: Option<Transcript>,
    clock: ScaledClock,
    inner: Mutex<Inner>,
    /// Wakes the timekeeper when a request brought something new to wait for.
    changed: watch::Sender<()>,
}

struct Inner {
    state: WorldState,
    /// The customer's database, if there is one.
    store: Option<Store>,
    record: Record,
    told: usize,
    /// Set once the record cannot be written: from then on nothing may change.
    broken: Option<io::ErrorKind>,
}

impl World {
    /// Starts the stand-ins of a scenario, at its beginning or where the record ends.
    ///
    /// `speed` overrides the scenario's own. The time while nobody ran the drill is not counted.
    pub fn start(scenario: &Scenario, speed: Option<f64>, record: &Path) -> io::Result<Self> {
        Self::start_as(scenario, &Setup { speed, ..Setup::default() }, record)
    }

    /// Like [`World::start`], and sets up as told.
    pub fn start_as(scenario: &Scenario, setup: &Setup, record: &Path) -> io::Result<Self> {
        let speed = setup.speed.unwrap_or(scenario.speed).max(1.0);
        let transcript = setup.transcript.as_deref().map(Transcript::open).transpose()?;
        let mut state = WorldState::new(Arc::new(scenario.clone()));
        let mut store = scenario.world.database.as_ref().map(Store::open).transpose().map_err(io::Error::other)?;
        let mut left = Left::default();
        let record = Record::open(record, |line| {
            if left.last.is_none() {
                check_script(&line, scenario)?;
            }
            match &line.entry {
                Entry::Asked(asked) => state.apply(line.at, asked),
                Entry::Wrote(wrote) => {
                    state.advance(line.at);
                    if let Some(store) = &mut store {
                        store.catch_up(&state).map_err(io::Error::other)?;
                        store.again(wrote);
                    }
                }
                Entry::Opened { .. } | Entry::Continued { .. } | Entry::Tick | Entry::Happened(_) | Entry::Stopped => {
                    state.advance(line.at);
                }
            }
            left.with(&line.entry);
            Ok(())
        })?;
        let told = state.happenings.len();
        let begins = left.continue_at(&state);
        let mut inner = Inner { state, store, record, told, broken: None };
        if left.last.is_none() {
            inner.told = 0;
            let opened = Entry::Opened { scenario: scenario.scenario.clone(), digest: scenario.digest.clone() };
            inner.record.append(begins, opened)?;
        }
        inner.record.append(begins, Entry::Continued { speed })?;
        inner.advance(begins)?;

        let mut listeners = BTreeMap::new();
        let mut origins = Vec::new();
        for (origin, stand_in) in &scenario.stand_ins {
            if !listeners.contains_key(stand_in) {
                let listener =
                    TcpListener::bind((Ipv4Addr::LOCALHOST, setup.ports.get(stand_in).copied().unwrap_or(0)))?;
                listener.set_nonblocking(true)?;
                listeners.insert(*stand_in, listener);
            }
            let port = listeners[stand_in].local_addr()?.port();
            origins.push((origin.clone(), format!("http://127.0.0.1:{port}")));
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listeners = {
            let _inside = runtime.enter();
            let open = |(stand_in, listener)| Ok((stand_in, tokio::net::TcpListener::from_std(listener)?));
            listeners.into_iter().map(open).collect::<io::Result<Vec<_>>>()?
        };
        let clock = ScaledClock::new(begins, speed);
        let shared = Arc::new(Shared { transcript, clock, inner: Mutex::new(inner), changed: watch::Sender::new(()) });
        let (stop, stopped) = oneshot::channel();
        let everyone = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("drill-world".to_owned()).spawn(move || {
            runtime.block_on(everyone.live(listeners, stopped));
        })?;
        Ok(Self { shared, origins, stop: Some(stop), thread: Some(thread) })
    }

    /// The drill's clock. Everything in the drill goes by it.
    pub fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.shared.clock.clone())
    }

    /// Which address is answered where.
    pub fn origins(&self) -> Vec<(String, String)> {
        self.origins.clone()
    }

    /// The door to the customer's database.
    pub fn databases(&self) -> Arc<dyn Databases> {
        if self.shared.lock().store.is_none() {
            return Arc::new(NoDatabases);
        }
        Arc::new(database::Door(Arc::clone(&self.shared) as Arc<dyn database::Keeper>))
    }

    /// The secrets of the scenario.
    pub fn secrets(&self) -> Vec<(String, Secret)> {
        self.shared.lock().state.scenario.secret_values()
    }

    /// What the world has seen up to now.
    pub fn observed(&self) -> Observed {
        let mut inner = self.shared.lock();
        // Whatever could not be noted is noted as broken; the facts are still the facts.
        let _noted = inner.advance(self.shared.clock.now());
        Observed::of(&inner.state)
    }

    /// Why the record cannot be written any more, if so: the stand-ins then answer nothing.
    pub fn broken(&self) -> Option<io::ErrorKind> {
        self.shared.lock().broken
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // The thread may have ended by itself; either way there is nobody left to tell.
        let _told = self.stop.take().map(|stop| stop.send(()));
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
    }
}

/// How the last one who ran the drill left it.
#[derive(Default)]
struct Left {
    speed: Option<f64>,
    last: Option<Parting>,
}

/// The record's last line.
enum Parting {
    Stopped,
    InTheMiddle,
}

impl Left {
    fn with(&mut self, entry: &Entry) {
        self.last = Some(match entry {
            Entry::Stopped => Parting::Stopped,
            Entry::Continued { speed } => {
                self.speed = Some(*speed);
                Parting::InTheMiddle
            }
            Entry::Opened { .. } | Entry::Tick | Entry::Happened(_) | Entry::Asked(_) | Entry::Wrote(_) => {
                Parting::InTheMiddle
            }
        });
    }

    /// Where the clock goes on. After a kill that is later than the last line by as much as a line may be late on a busy
    /// machine, so that no time comes twice.
    fn continue_at(&self, state: &WorldState) -> Timestamp {
        match self.last {
            None | Some(Parting::Stopped) => state.now,
            Some(Parting::InTheMiddle) => after(state.now, (2 * HEARTBEAT).mul_f64(self.speed.unwrap_or(1.0))),
        }
    }
}

impl Inner {
    /// Lets time pass and notes what it brought.
    fn advance(&mut self, to: Timestamp) -> io::Result<()> {
        self.state.advance(to);
        while let Some(happening) = self.state.happenings.get(self.told) {
            let entry = Entry::Happened(happening.what.clone());
            let at = happening.at;
            self.note(at, entry)?;
            self.told += 1;
        }
        Ok(())
    }

    fn note(&mut self, at: Timestamp, entry: Entry) -> io::Result<()> {
        self.record.append(at, entry).inspect_err(|error| self.broken = Some(error.kind()))
    }

    /// Deals with a request: decides, notes, then changes the state. What cannot be noted does not happen.
    fn deal_with(&mut self, on: StandIn, ask: &Ask, now: Timestamp) -> (Reply, Spoiled) {
        if self.advance(now).is_err() || self.broken.is_some() {
            return (Reply::Closed, Spoiled(true));
        }
        let (mut reply, why, changes) = decide(&self.state, on, ask);
        if matches!(on, StandIn::Clerk | StandIn::ClerkFrontend) {
            reply.name_plainly();
        }
        let spoiled = matches!(why, Some(Why::Fault | Why::Mode));
        let (method, path) = (ask.method.clone(), ask.path.clone());
        let asked = Asked { on, method, path, status: reply.status(), why, changes };
        let at = self.state.now;
        if self.note(at, Entry::Asked(asked.clone())).is_err() {
            return (Reply::Closed, Spoiled(true));
        }
        self.state.apply(at, &asked);
        (reply, Spoiled(spoiled))
    }
}

/// What a stand-in answers, why it is not what was asked for, and what changes.
fn decide(state: &WorldState, on: StandIn, ask: &Ask) -> (Reply, Option<Why>, Vec<super::state::Change>) {
    let behaviour = state.behaviour(on);
    if state.refuses_next(on) {
        return (Reply::Answer(throttled(on)), Some(Why::Mode), Vec::new());
    }
    if let Some(reply) = out_of_order(on, behaviour.mode, ask) {
        return (reply.late(behaviour.slow.0), Some(Why::Mode), Vec::new());
    }
    let fault = faults::striking(&state.scenario.faults, state.seen_by_faults(), on, ask);
    match fault {
        Some(FaultAnswer::Dropped) => return (Reply::Closed, Some(Why::Fault), Vec::new()),
        Some(FaultAnswer::Hang) => return (Reply::Hangs, Some(Why::Fault), Vec::new()),
        Some(FaultAnswer::Status { status, retry_after }) => {
            let seconds = retry_after.map(|wait| wait.0.as_secs_f64().ceil() as u64);
            return (Reply::Answer(faults::answer(on, *status, seconds)), Some(Why::Fault), Vec::new());
        }
        Some(FaultAnswer::Page { status }) => {
            return (Reply::Answer(Answer::page(*status, "Bad gateway")), Some(Why::Fault), Vec::new());
        }
        Some(FaultAnswer::Reset) => return (Reply::Reset, Some(Why::Fault), Vec::new()),
        Some(FaultAnswer::Lost | FaultAnswer::Truncated | FaultAnswer::Drip | FaultAnswer::Slow(_)) | None => {}
    }
    let mut answer = match on {
        StandIn::Clerk => clerk::answer(ask, state),
        StandIn::ClerkFrontend => clerk_frontend::answer(ask, state),
        StandIn::StatusPage => status_page::answer(ask, state),
        StandIn::Vercel => vercel::answer(ask, state),
        StandIn::App => app::answer(ask, state),
        StandIn::Svix => svix::answer(ask, state),
        StandIn::Slack => slack::answer(ask, state),
        StandIn::Pagerduty => pagerduty::answer(ask, state),
    };
    let changes = std::mem::take(&mut answer.changes);
    let spoilt = match fault {
        Some(FaultAnswer::Truncated) => Some(Reply::Answer(answer.clone().cut())),
        Some(FaultAnswer::Drip) => Some(Reply::Drips(answer.clone())),
        Some(FaultAnswer::Slow(late)) => Some(Reply::Answer(answer.clone()).late(late.0)),
        Some(_) => Some(Reply::Closed),
        None => None,
    };
    if let Some(reply) = spoilt {
        return (reply, Some(Why::Fault), changes);
    }
    match behaviour.mode {
        Mode::Truncated => return (Reply::Answer(answer.cut()).late(behaviour.slow.0), Some(Why::Mode), changes),
        Mode::Drip => return (Reply::Drips(answer), Some(Why::Mode), changes),
        _ => {}
    }
    let why = match (on, answer.status, behaviour.mode) {
        (..) if answer.why.is_some() => answer.why,
        (_, ..=399, _) => None,
        (_, 401 | 403, Mode::KeyRefused) => Some(Why::Mode),
        // The app reports its own illness with 503, and a broken one has 500 for everything.
        (StandIn::App, 500.., _) => Some(Why::Mode),
        // Nobody can tell from outside what is paid for, or how many others are asking.
        (_, 402 | 429, _) => Some(Why::Mode),
        _ => Some(Why::Rules),
    };
    (Reply::Answer(answer).late(behaviour.slow.0), why, changes)
}

impl database::Keeper for Shared {
    fn run(&self, query: &Query, noted: Wrote) -> Result<Table, DatabaseError> {
        let now = self.clock.now();
        let mut inner = self.lock();
        let gone =
            |_| DatabaseError::Unreachable { reason: "the drill's record is broken".to_owned(), uncertain: true };
        inner.advance(now).map_err(gone)?;
        if query.access == Access::Write {
            let at = inner.state.now;
            inner.note(at, Entry::Wrote(noted)).map_err(gone)?;
        }
        let Inner { state, store, .. } = &mut *inner;
        let store = store.as_mut().ok_or(DatabaseError::NoStandIn)?;
        store.catch_up(state)?;
        store.run(&query.sql, &query.parameters, query.access, query.limits)
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change is made after its line is written, so a panic elsewhere leaves nothing half done.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs the stand-ins until told to stop.
    async fn live(self: Arc<Self>, listeners: Vec<(StandIn, tokio::net::TcpListener)>, stopped: oneshot::Receiver<()>) {
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(&self).keep_time());
        for (stand_in, listener) in listeners {
            tasks.spawn(Arc::clone(&self).open_door(stand_in, listener));
        }
        // An error means that the `World` is gone without a word, which asks for the same.
        let _told = stopped.await;
        tasks.shutdown().await;
        let mut inner = self.lock();
        let now = self.clock.now();
        if inner.advance(now).is_ok() {
            // A missing last line only costs a heartbeat of the scenario's time.
            let _noted = inner.note(now, Entry::Stopped);
        }
    }

    /// Lets time bring what is due, and notes the time at least at every heartbeat.
    async fn keep_time(self: Arc<Self>) {
        let mut changed = self.changed.subscribe();
        let mut noted = tokio::time::Instant::now();
        loop {
            let due = {
                let mut inner = self.lock();
                let now = self.clock.now();
                if inner.advance(now).is_err() {
                    return;
                }
                if noted.elapsed() >= HEARTBEAT {
                    if inner.note(now, Entry::Tick).is_err() {
                        return;
                    }
                    noted = tokio::time::Instant::now();
                }
                inner.state.next_due().map(|due| self.clock.real(until(now, due)))
            };
            let left = HEARTBEAT.saturating_sub(noted.elapsed());
            tokio::select! {
                () = tokio::time::sleep(due.unwrap_or(left).min(left)) => {}
                // The sender lives as long as `self`.
                _ = changed.changed() => {}
            }
        }
    }

    /// Takes connections for one stand-in.
    async fn open_door(self: Arc<Self>, on: StandIn, listener: tokio::net::TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => {
                        let shared = Arc::clone(&self);
                        connections.spawn(async move {
                            let service = service_fn(|request| {
                                let shared = Arc::clone(&shared);
                                Box::pin(async move { shared.serve(on, request).await })
                            });
                            let mut connection =
                                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                            // A connection that ends badly is the other side's business, or the point of the mode.
                            let ended = std::future::poll_fn(|cx| connection.poll_without_shutdown(cx)).await;
                            if ended.is_err_and(|error| NoAnswer::of(&error) == Some(NoAnswer::Reset)) {
                                // What is closed without lingering is reset.
                                let _set = connection.into_parts().io.into_inner().set_zero_linger();
                            }
                        });
                    }
                    // Out of file handles, most likely; the next one may fare better.
                    Err(_) => tokio::time::sleep(HEARTBEAT).await,
                },
                Some(_ended) = connections.join_next() => {}
            }
        }
    }

    /// Writes an exchange into the transcript, where there is one.
    fn tell(&self, on: StandIn, ask: &Ask, heard: &Heard, reply: &Reply, spoiled: Spoiled) {
        let Some(transcript) = &self.transcript else { return };
        if let Err(error) = transcript.write(self.clock.now(), on, ask, heard, reply, spoiled) {
            self.lock().broken = Some(error.kind());
        }
    }

    /// Serves one request. An error closes the connection without an answer.
    async fn serve(&self, on: StandIn, request: Request<Incoming>) -> Result<Response<Content>, NoAnswer> {
        let answer = match read(request).await {
            Some((ask, heard)) => {
                let ((reply, spoiled), sooner) = {
                    let mut inner = self.lock();
                    let due = inner.state.next_due();
                    let reply = inner.deal_with(on, &ask, self.clock.now());
                    (reply, inner.state.next_due() != due)
                };
                if sooner {
                    self.changed.send_replace(());
                }
                self.tell(on, &ask, &heard, &reply, spoiled);
                match reply {
                    Reply::Answer(answer) => answer,
                    Reply::Late(by, answer) => {
                        self.clock.sleep(by).await;
                        answer
                    }
                    Reply::Drips(answer) => {
                        let content = Content::dripping(answer.content.clone(), self.clock.real(A_BYTE));
                        return Ok(respond(&answer, content));
                    }
                    Reply::Closed => return Err(NoAnswer::Closed),
                    Reply::Reset => return Err(NoAnswer::Reset),
                    Reply::Hangs => {
                        self.clock.sleep(HOLDS_THE_LINE).await;
                        return Err(NoAnswer::Closed);
                    }
                }
            }
            None => refusal(on, 413, "payload_too_large", "The request is too large."),
        };
        let content = Content::whole(answer.content.clone());
        Ok(respond(&answer, content))
    }
}

/// The stand-in says nothing, and how it hangs up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
enum NoAnswer {
    #[error("the stand-in closed the connection")]
    Closed,
    #[error("the stand-in reset the connection")]
    Reset,
}

impl NoAnswer {
    fn of(error: &hyper::Error) -> Option<Self> {
        std::error::Error::source(error).and_then(|source| source.downcast_ref::<Self>()).copied()
    }
}

/// Reads a request; `None` when it is too large or breaks off.
async fn read(request: Request<Incoming>) -> Option<(Ask, Heard)> {
    let (head, body) = request.into_parts();
    let bytes = Limited::new(body, LARGEST_BODY).collect().await.ok()?.to_bytes();
    let bearer = head
        .headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.strip_prefix("Bearer "))
        .map(str::to_owned);
    // The base is only there because the parser wants a whole address.
    let address = reqwest::Url::parse("http://stand-in/").and_then(|base| base.join(&head.uri.to_string())).ok();
    let idempotency_key = head.headers.get("idempotency-key").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let query = address.map(|url| url.query_pairs().into_owned().collect()).unwrap_or_default();
    let carried = if bytes.is_empty() {
        Carried::Nothing
    } else {
        serde_json::from_slice(&bytes).map_or(Carried::Unreadable, Carried::Json)
    };
    let ask = Ask {
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        query,
        bearer,
        idempotency_key,
        body: carried,
    };
    Some((ask, Heard { headers: head.headers, body: bytes }))
}

fn respond(answer: &Answer, content: Content) -> Response<Content> {
    let mut response = Response::new(content);
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(answer.content_type));
    for (name, value) in &answer.headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            response.headers_mut().insert(*name, value);
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::observed::{LeftStanding, WriteKind};
    use crate::drill::scenario::tests::scenario;
    use serde_json::{Value, json};
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Instant;

    const PROJECT: &str = "world: { vercel: { project: shop } }\n";
    /// Generous: the machine may be busy. Reached only when something is wrong.
    const DEADLINE: Duration = Duration::from_secs(20);

    /// A folder of its own, gone at the end.
    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let folder = std::env::temp_dir().join(format!("runbook-world-{}-{number}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            Self(folder)
        }

        fn file(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _gone = std::fs::remove_dir_all(&self.0);
        }
    }

    /// Somebody who asks the stand-ins over real connections, which are kept open.
    struct Caller {
        client: reqwest::Client,
        origins: BTreeMap<String, String>,
    }

    impl Caller {
        fn new(world: &World) -> Self {
            // A second test finds it installed.
            let _installed = rustls::crypto::ring::default_provider().install_default();
            let client = reqwest::Client::builder().no_proxy().timeout(DEADLINE).build().unwrap();
            Self { client, origins: world.origins().into_iter().collect() }
        }

        async fn try_ask(
            &self,
            method: &str,
            url: &str,
            bearer: &str,
            body: Value,
        ) -> reqwest::Result<(u16, Value, String)> {
            let (origin, path) = url.split_at(url[8..].find('/').map_or(url.len(), |at| at + 8));
            let method = reqwest::Method::from_bytes(method.as_bytes()).unwrap();
            let mut request =
                self.client.request(method, format!("{}{path}", self.origins[origin])).bearer_auth(bearer);
            if !body.is_null() {
                request = request.body(body.to_string());
            }
            let response = request.send().await?;
            let status = response.status().as_u16();
            let retry_after = response
                .headers()
                .get("retry-after")
                .map(|value| value.to_str().unwrap().to_owned())
                .unwrap_or_default();
            let text = response.text().await?;
            Ok((status, serde_json::from_str(&text).unwrap_or(Value::String(text)), retry_after))
        }

        async fn get(&self, url: &str, bearer: &str) -> (u16, Value) {
            let (status, body, _) = self.try_ask("GET", url, bearer, Value::Null).await.unwrap();
            (status, body)
        }

        async fn vercel(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
            let url = format!("https://api.vercel.com{path}");
            let (status, body, _) = self.try_ask(method, &url, "drill_token", body).await.unwrap();
            (status, body)
        }
    }

    async fn until_true(what: &str, mut ask: impl AsyncFnMut() -> bool) {
        let begun = Instant::now();
        while !ask().await {
            assert!(begun.elapsed() < DEADLINE, "not in time: {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn redeploy() -> Value {
        json!({ "name": "shop", "deploymentId": "dpl_drill0001", "target": "production" })
    }

    #[tokio::test]
    async fn every_stand_in_answers_at_its_own_address() {
        let folder = Folder::new();
        let world = World::start(&scenario(PROJECT), None, &folder.file("world.jsonl")).unwrap();
        let caller = Caller::new(&world);
        for (url, bearer, status) in [
            ("https://api.clerk.com/v1/jwks", "sk_test_drill", 200),
            ("https://api.clerk.com/v1/jwks", "drill_token", 401),
            ("https://clerk.shop.example.com/v1/health", "", 200),
            ("https://clerk.shop.example.com/v1/environment", "", 200),
            ("https://clerk.shop.example.com/.well-known/jwks.json", "", 200),
            ("https://clerk.shop.example.com/v1/client", "", 404),
            ("https://status.clerk.com/api/v2/summary.json", "", 200),
            ("https://status.clerk.com/api/v1/status", "", 404),
            ("https://api.vercel.com/v9/projects/shop", "drill_token", 200),
            ("https://api.vercel.com/v9/projects/shop", "sk_test_drill", 403),
            ("https://shop.example.com/api/clerk-health", "", 200),
            ("https://shop.example.com/", "", 200),
            ("https://shop.example.com/admin", "", 404),
        ] {
            assert_eq!(caller.get(url, bearer).await.0, status, "{url}");
        }
        let broken = caller.try_ask("POST", "https://shop.example.com/", "", Value::Null).await.unwrap();
        assert_eq!(broken.0, 405);
        let seen = world.observed();
        assert_eq!(seen.requests[&StandIn::ClerkFrontend], 4);
        let wrong: Vec<_> = seen.wrong_requests().map(|refused| (refused.on, refused.status)).collect();
        assert_eq!(
            wrong,
            [
                (StandIn::Clerk, Some(401)),
                (StandIn::ClerkFrontend, Some(404)),
                (StandIn::StatusPage, Some(404)),
                (StandIn::Vercel, Some(403)),
                (StandIn::App, Some(404)),
                (StandIn::App, Some(405)),
            ]
        );
    }

    #[tokio::test]
    async fn an_open_connection_notices_that_its_stand_in_went_down() {
        let folder = Folder::new();
        let more = format!(
            "{PROJECT}timeline:
  - {{ at: 30s, clerk: down, clerk_frontend: maintenance, vercel: rate_limited }}
"
        );
        let world = World::start(&scenario(&more), Some(120.0), &folder.file("world.jsonl")).unwrap();
        let caller = Caller::new(&world);
        let ask = async || caller.try_ask("GET", "https://api.clerk.com/v1/jwks", "sk_test_drill", Value::Null).await;
        until_true("down", async || ask().await.is_err()).await;
        let throttled =
            caller.try_ask("GET", "https://api.vercel.com/v2/user", "drill_token", Value::Null).await.unwrap();
        assert_eq!((throttled.0, throttled.2.as_str()), (429, "10"));
        let (_, environment) = caller.get("https://clerk.shop.example.com/v1/environment", "").await;
        assert_eq!(environment["maintenance_mode"], json!(true));
        let write = caller.try_ask("POST", "https://clerk.shop.example.com/v1/client", "", json!({})).await.unwrap();
        assert_eq!((write.0, &write.1["code"]), (503, &json!("maintenance_mode")));
        let outage = world.observed().outage().unwrap();
        assert_eq!(outage.from, after(world.shared.lock().state.scenario.starts, Duration::from_secs(30)));
        assert_eq!(outage.until, None);
    }

    #[tokio::test]
    async fn a_stand_in_that_hangs_lets_go_in_the_scenarios_time() {
        let folder = Folder::new();
        let more = format!("{PROJECT}timeline: [{{ at: 0s, clerk: hang }}]\n");
        let world = World::start(&scenario(&more), Some(600.0), &folder.file("world.jsonl")).unwrap();
        let caller = Caller::new(&world);
        let begun = world.clock().now();
        let ask = caller.try_ask("GET", "https://api.clerk.com/v1/jwks", "sk_test_drill", Value::Null).await;
        assert!(ask.is_err());
        assert!(until(begun, world.clock().now()) >= HOLDS_THE_LINE);
    }

    #[tokio::test]
    async fn the_bypass_is_opened_closed_and_accounted_for() {
        let folder = Folder::new();
        let more = format!(
            "{PROJECT}faults:
  - {{ on: vercel, request: POST /v13/deployments, nth: 1, answer: {{ status: 429, retry_after: 20s }} }}
  - {{ on: vercel, request: POST /v1/projects/*/rollback/*, nth: 1, answer: lost }}
"
        );
        let world = World::start(&scenario(&more), Some(300.0), &folder.file("world.jsonl")).unwrap();
        let caller = Caller::new(&world);
        let now = world.clock().now();
        let row = |key: &str, value: String| json!({ "key": key, "value": value, "type": "encrypted", "target": ["production"] });
        let rows = json!([
            row("CLERK_EMERGENCY_BYPASS_MODE", "grace".into()),
            row("CLERK_EMERGENCY_BYPASS_SINCE", now.to_string()),
            row("CLERK_EMERGENCY_BYPASS_UNTIL", after(now, Duration::from_secs(3600)).to_string()),
        ]);
        assert_eq!(caller.vercel("POST", "/v10/projects/shop/env?upsert=true", rows).await.0, 201);
        let throttled = caller
            .try_ask("POST", "https://api.vercel.com/v13/deployments?forceNew=1", "drill_token", redeploy())
            .await
            .unwrap();
        assert_eq!((throttled.0, throttled.2.as_str()), (429, "20"));
        assert_eq!(caller.vercel("POST", "/v13/deployments?forceNew=1", redeploy()).await.0, 200);
        let health = async || caller.get("https://shop.example.com/api/clerk-health", "").await.1;
        assert_eq!(health().await["bypass_active"], json!(false), "the deployment that serves knows nothing of it");
        until_true("bypass", async || health().await["bypass"]["active"] == json!(true)).await;
        assert_eq!(health().await["deployment"], json!("dpl_drill0002"));
        assert_eq!(world.observed().bypass().unwrap().until, None);

        let url = "https://api.vercel.com/v1/projects/shop/rollback/dpl_drill0001";
        let lost = caller.try_ask("POST", url, "drill_token", json!({})).await;
        assert!(lost.is_err(), "the answer is lost, and the rollback is done all the same");
        until_true("no bypass", async || health().await["bypass_active"] == json!(false)).await;
        let ids = json!({ "ids": ["env_drill0001", "env_drill0002"] });
        assert_eq!(caller.vercel("DELETE", "/v1/projects/shop/env", ids).await.0, 200);

        let seen = world.observed();
        let bypass = seen.bypass().unwrap();
        assert!(bypass.until.is_some_and(|until| until > bypass.from));
        assert_eq!(
            seen.writes,
            BTreeMap::from([
                (WriteKind::EnvCreated, 3),
                (WriteKind::EnvRemoved, 2),
                (WriteKind::DeploymentCreated, 1),
                (WriteKind::RolledBack, 1)
            ])
        );
        assert_eq!(
            seen.left_standing,
            [
                LeftStanding::VariableAdded("CLERK_EMERGENCY_BYPASS_UNTIL".into()),
                LeftStanding::ProjectPinned("dpl_drill0001".into())
            ]
        );
        assert_eq!(seen.wrong_requests().count(), 0);
        assert_eq!(seen.refused.iter().map(|refused| refused.status).collect::<Vec<_>>(), [Some(429), None]);
    }

    #[tokio::test]
    async fn after_a_kill_the_world_goes_on_where_it_was() {
        let folder = Folder::new();
        let script = scenario(&format!("{PROJECT}timeline: [{{ at: 0s, clerk: down }}]\n"));
        let world = World::start(&script, Some(60.0), &folder.file("world.jsonl")).unwrap();
        let caller = Caller::new(&world);
        assert_eq!(caller.vercel("POST", "/v13/deployments?forceNew=1", redeploy()).await.0, 200);
        assert_eq!(caller.vercel("GET", "/v9/projects/other", Value::Null).await.0, 404);
        let before = world.observed();
        // What a kill leaves behind: all the lines so far, and half of the next.
        let mut left = std::fs::read(folder.file("world.jsonl")).unwrap();
        left.extend_from_slice(b"{\"at\":\"2026-02");
        std::fs::write(folder.file("killed.jsonl"), left).unwrap();
        let at_the_kill = world.clock().now();
        drop(world);

        let world = World::start(&script, None, &folder.file("killed.jsonl")).unwrap();
        let again = world.observed();
        assert!(again.now >= at_the_kill, "no time comes twice: {} {at_the_kill}", again.now);
        assert!(until(at_the_kill, again.now) < Duration::from_secs(300), "the world stood still meanwhile");
        assert_eq!(again.requests, before.requests);
        assert_eq!(again.writes, before.writes);
        assert_eq!(again.refused, before.refused);
        assert_eq!(again.sign_in_broken, before.sign_in_broken);
        let caller = Caller::new(&world);
        let (status, deployment) = caller.vercel("GET", "/v13/deployments/dpl_drill0002", Value::Null).await;
        assert_eq!((status, &deployment["target"]), (200, &json!("production")));
        drop(world);
        assert!(
            Record::open(&folder.file("killed.jsonl"), |_| Ok(())).is_ok(),
            "the torn line was cut off, not written on"
        );
    }

    #[tokio::test]
    async fn a_clean_stop_costs_no_time_and_every_line_reads_back() {
        let folder = Folder::new();
        let script = scenario(PROJECT);
        let file = folder.file("world.jsonl");
        drop(World::start(&script, Some(600.0), &file).unwrap());
        let mut last = None;
        let read = Record::open(&file, |line| {
            last = Some(line);
            Ok(())
        });
        assert!(read.is_ok());
        let last = last.unwrap();
        assert_eq!(last.entry, Entry::Stopped);
        let world = World::start(&script, Some(1.0), &file).unwrap();
        assert!(until(last.at, world.clock().now()) < DEADLINE);
    }

    const NOISY: &str = "world: { vercel: { project: shop } }
faults:
  - { on: vercel, request: GET /v9/projects/shop, nth: 1, answer: truncated }
  - { on: vercel, request: GET /v9/projects/shop, nth: 2, answer: reset }
  - { on: vercel, request: GET /v9/projects/shop, nth: 3, answer: { status: 503, html: true } }
  - { on: vercel, request: GET /v9/projects/shop, nth: 4, answer: { slow: 2m } }
  - { on: vercel, request: GET /v9/projects/shop, nth: 5, answer: drip }
  - { on: vercel, request: POST /v13/deployments, nth: 1, answer: truncated }
timeline:
  - { at: 0s, clerk: { refused: 95%, slow: 30s }, clerk_frontend: sessions_only, app: drip }
";

    #[tokio::test]
    async fn every_way_of_breaking_an_answer_is_told_apart() {
        let folder = Folder::new();
        let world = World::start(&scenario(NOISY), Some(600.0), &folder.file("world.jsonl")).unwrap();
        let mut caller = Caller::new(&world);
        let project = "https://api.vercel.com/v9/projects/shop";
        let (status, body) = caller.get(project, "drill_token").await;
        assert!(status == 200 && body.as_str().is_some_and(|half| half.starts_with('{')), "{body}");
        let reset = caller.try_ask("GET", project, "drill_token", Value::Null).await.unwrap_err();
        let mut cause: &dyn std::error::Error = &reset;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        let kind = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        assert_eq!(kind, Some(io::ErrorKind::ConnectionReset), "{reset:?}");
        let (status, page) = caller.get(project, "drill_token").await;
        assert!(status == 503 && page.as_str().is_some_and(|page| page.starts_with("<!doctype")), "{page}");
        let begun = world.clock().now();
        assert_eq!(caller.get(project, "drill_token").await.0, 200);
        assert!(until(begun, world.clock().now()) >= Duration::from_secs(120), "it came late");
        caller.client = reqwest::Client::builder().timeout(Duration::from_millis(500)).build().unwrap();
        let endless = caller.try_ask("GET", project, "drill_token", Value::Null).await.unwrap_err();
        assert!(endless.is_timeout(), "{endless:?}");
        let app = caller.try_ask("GET", "https://shop.example.com/", "", Value::Null).await.unwrap_err();
        assert!(app.is_timeout(), "{app:?}");
        caller.vercel("POST", "/v13/deployments?forceNew=1", redeploy()).await;
        assert_eq!(world.observed().writes[&WriteKind::DeploymentCreated], 1, "half an answer, and yet it was done");
    }

    #[tokio::test]
    async fn a_vendor_that_refuses_most_is_an_outage_and_lets_the_same_ones_through() {
        let folder = Folder::new();
        let world = World::start(&scenario(NOISY), Some(600.0), &folder.file("world.jsonl")).unwrap();
        let caller = Caller::new(&world);
        let begun = world.clock().now();
        let mut answered = Vec::new();
        for number in 1..=40 {
            let (status, _) = caller.get("https://api.clerk.com/v1/jwks", "sk_test_drill").await;
            if status == 200 {
                answered.push(number);
            }
        }
        assert_eq!(answered, [20, 40]);
        assert!(until(begun, world.clock().now()) >= Duration::from_secs(60), "both were slow");
        let refresh = "https://clerk.shop.example.com/v1/client/sessions/sess_x/tokens";
        assert_eq!(caller.try_ask("POST", refresh, "", Value::Null).await.unwrap().0, 401);
        assert_eq!(caller.get("https://clerk.shop.example.com/v1/health", "").await.0, 429);
        assert!(world.observed().outage().is_some());
        assert_eq!(world.observed().wrong_requests().count(), 0);
    }

    #[test]
    fn another_script_cannot_go_on_with_the_same_record() {
        let folder = Folder::new();
        let file = folder.file("world.jsonl");
        drop(World::start(&scenario(PROJECT), None, &file).unwrap());
        let error = World::start(&scenario(&format!("{PROJECT}speed: 2\n")), None, &file).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert_eq!(
            error.to_string(),
            "this drill was begun with another version of the scenario `test`; begin a new one"
        );
    }
}
