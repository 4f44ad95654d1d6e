//! The world that a killed run leaves its marks in: a file that scripts append to, and a server that counts.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::{Place, until};

/// Numbers that look random and are the same for the same seed: `SplitMix64`.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }
}

type Counts = BTreeMap<String, usize>;

/// A server on this machine that counts what it is asked to do, until it is dropped.
pub(crate) struct Server {
    address: String,
    seen: Arc<Mutex<Vec<(String, String)>>>,
    _stop: tokio::sync::oneshot::Sender<()>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let seen: Arc<Mutex<Vec<(String, String)>>> = Arc::default();
        let counted = Arc::clone(&seen);
        let (told, address) = std::sync::mpsc::channel();
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
                told.send(format!("http://{}", listener.local_addr().unwrap())).unwrap();
                tokio::select! {
                    _ = axum::serve(listener, counting(counted)) => {}
                    _ = stopped => {}
                }
            });
        });
        Self { address: address.recv().unwrap(), seen, _stop: stop }
    }

    pub(crate) fn address(&self) -> String {
        self.address.clone()
    }
}

fn counting(seen: Arc<Mutex<Vec<(String, String)>>>) -> axum::Router {
    let count = async move |path: axum::extract::Path<(String, String)>| {
        seen.lock().unwrap().push(path.0);
        // Between the act and the answer there is time to be killed.
        tokio::time::sleep(Duration::from_millis(5)).await;
        "{}"
    };
    axum::Router::new()
        .route("/health", axum::routing::get(async || "{}"))
        .route("/{what}/{step}", axum::routing::post(count))
}

/// What has happened, how often, by step.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) did: Counts,
    pub(crate) undone: Counts,
}

impl World {
    pub(crate) fn of(place: &Place, server: &Server) -> Self {
        let text = place.read("world");
        let by_scripts = text.lines().filter_map(|line| line.split_once(' '));
        let marks = by_scripts.map(|(what, step)| (what.to_owned(), step.to_owned()));
        let asked = server.seen.lock().unwrap().clone();
        // The server knows steps by their last name; only one of them stands in the called runbook.
        let asked = asked.into_iter().map(|(what, step)| {
            let step = if step == "two" { "inner/two".to_owned() } else { step };
            (what, step)
        });
        let (mut did, mut undone) = (Counts::new(), Counts::new());
        for (what, step) in marks.chain(asked) {
            let counts = if what == "did" { &mut did } else { &mut undone };
            *counts.entry(step).or_default() += 1;
        }
        Self { did, undone }
    }

    /// What somebody who looks says about every step that may be in doubt.
    pub(crate) fn truth_about(&self, log: &[Value]) -> Vec<String> {
        let mut flags = Vec::new();
        for (step, undo) in begun_and_not_ended(log) {
            let counts = if undo { &self.undone } else { &self.did };
            let flag = if counts.get(&step).copied().unwrap_or(0) > 0 { "--happened" } else { "--again" };
            flags.extend([flag.to_owned(), step]);
        }
        flags
    }
}

/// How the run ended, if its log says so.
pub(crate) fn outcome(log: &[Value]) -> Option<String> {
    let last = &log.last()?["event"];
    (last["type"] == "run_finished").then(|| last["outcome"].as_str().unwrap_or_default().to_owned())
}

/// Tries and undos whose beginning is in the log and whose end is not.
fn begun_and_not_ended(log: &[Value]) -> Vec<(String, bool)> {
    let mut open: BTreeMap<(String, bool), bool> = BTreeMap::new();
    for line in log {
        let event = &line["event"];
        let Some(step) = event["step"].as_str().map(str::to_owned) else { continue };
        let (undo, is_open) = match event["type"].as_str().unwrap_or_default() {
            "attempt_started" => (false, true),
            "attempt_finished" => (false, event["next"]["then"] == "doubt"),
            "undo_started" => (true, true),
            "undo_finished" => (true, event["next"]["then"] == "doubt"),
            "doubt_resolved" => (event["undo"] == true, false),
            _ => continue,
        };
        open.insert((step, undo), is_open);
    }
    open.into_iter().filter(|(_, is_open)| *is_open).map(|(what, _)| what).collect()
}

/// Kills it after a random number of further lines in its log, fewer than `reach`, and a random while. False when it ended before.
pub(crate) fn kill_at_some_moment(child: &mut Child, place: &Place, reach: u64, random: &mut Random) -> bool {
    let lines = || place.log_path().and_then(|path| std::fs::read(path).ok()).map_or(0, |log| count(&log));
    let target = lines() + usize::try_from(random.below(reach)).unwrap();
    let pause = Duration::from_micros(random.below(12_000));
    let began = Instant::now();
    while lines() < target && began.elapsed() < Duration::from_secs(20) {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        std::thread::yield_now();
    }
    std::thread::sleep(pause);
    if child.try_wait().unwrap().is_some() {
        return false;
    }
    child.kill().unwrap();
    true
}

fn count(log: &[u8]) -> usize {
    log.iter().filter(|byte| **byte == b'\n').count()
}

/// Scripts outlive a program that is killed. Whoever looks what happened waits until they have ended.
pub(crate) fn wait_for_orphans(folder: &Path) {
    let folder = folder.canonicalize().unwrap();
    until("the scripts of the killed program have ended", || {
        let Ok(processes) = std::fs::read_dir("/proc") else { return true };
        !processes
            .filter_map(Result::ok)
            .any(|process| std::fs::read_link(process.path().join("cwd")).is_ok_and(|cwd| cwd == folder))
    });
}

pub(crate) fn make_executable(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}
