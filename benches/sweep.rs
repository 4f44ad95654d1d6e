//! Signing out a hundred thousand users: how fast without a limit, how close to the limit with one, and how much memory.
//!
//! The stand-in is a process of its own, so that the memory counted here is that of whoever sweeps. Beside the sweep stand
//! plain requests by the same client to the same stand-in, and nothing else: what this machine can do at all.

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use runbook::action::{Action as _, ActionContext, ActionError, Checkpoints, Doors, Reporter, Target};
use runbook::actions::clerk::sessions::{ClerkSessionsRevokeAllOutput, RevokeAll};
use runbook::base::{Attempt, BoxFuture, Redactor, RunId, SecretStore, Source, StepPath, clock};
use runbook::database::RealDatabases;
use runbook::drill::{Scenario, World};
use runbook::http::{Client, Origins, Request};
use runbook::process::NoProcesses;
use support::{Folder, Table, as_f64, memory, shown, sized};

/// The peak that the sweep may reach.
const MOST_MEMORY: u64 = 64 << 20;
/// Revocations in a second that it is to reach when nothing holds it back.
const AIM: f64 = 5_000.0;
/// The share of the allowed rate that it is to keep up.
const KEPT_UP: f64 = 0.9;
/// How many requests are under way at once where nothing but requests is measured.
const AT_ONCE: usize = 32;
/// A clock so fast that a limit of the run's time is none outside.
const WITHOUT_LIMIT: f64 = 10_000.0;

fn main() {
    if let Some(setting) = std::env::var_os("BENCH_STAND_IN") {
        return stand_in(&setting.to_string_lossy());
    }
    let folder = Folder::new("sweep");
    let users = sized(100_000, 3_000);
    let speed = sized(20.0, 60.0);

    let plain = Vendor::start(&folder, "plain", users, 0, WITHOUT_LIMIT);
    let (count, taken) = plain.plain_requests(sized(100_000, 3_000));
    let possible = as_f64(count) / taken.as_secs_f64();
    plain.end();

    let mut table =
        Table::new(&["sweep", "took", "revoked", "revocations/s", "requests/s", "of the limit: requests", "429"]);
    table.row([
        "plain requests, nothing else".to_owned(),
        shown(taken),
        "–".into(),
        "–".into(),
        format!("{possible:.0}"),
        "–".into(),
        "–".into(),
    ]);

    let vendor = Vendor::start(&folder, "free", users, 0, WITHOUT_LIMIT);
    let began = Instant::now();
    let output = vendor.sweep("50%", &folder);
    let taken = began.elapsed();
    let revoked = output.revoked as f64 / taken.as_secs_f64();
    let rate = output.requests as f64 / taken.as_secs_f64();
    table.row([
        format!("{users} users, no limit"),
        shown(taken),
        output.revoked.to_string(),
        format!("{revoked:.0}"),
        format!("{rate:.0}"),
        format!("{:.0}%", rate / possible * 100.0),
        vendor.end().to_string(),
    ]);
    let peak_free = memory::own_peak();

    let vendor = Vendor::start(&folder, "limited", users, 1000, speed);
    let began = Instant::now();
    let output = vendor.sweep("95%", &folder);
    let taken = began.elapsed();
    let kept = output.requests_per_second / 95.0;
    let throttled = vendor.end();
    table.row([
        format!("{users} users, 95% of 1000 in 10 s, clock × {speed}"),
        shown(taken),
        output.revoked.to_string(),
        format!("{:.1} (run's time)", output.revoked as f64 / output.seconds.max(1) as f64),
        format!("{:.1} (run's time)", output.requests_per_second),
        format!("{:.0}% of 95", kept * 100.0),
        throttled.to_string(),
    ]);
    let began = Instant::now();
    Vendor::start(&folder, "limited", users, 1000, speed).end();
    let replayed = began.elapsed();
    table.print("signing everybody out; the limit beside it is the same client asking the same stand-in");
    let peak = memory::own_peak();
    println!(
        "\n  aims: {AIM} revocations/s without a limit, {:.0}% of the allowed rate with one, no 429",
        KEPT_UP * 100.0
    );
    println!(
        "  peak memory: {} without a limit, {} after all of this; at most 64 MiB",
        memory::mebibytes(peak_free),
        memory::mebibytes(peak)
    );
    println!("  the stand-in's record of all requests is replayed in {}", shown(replayed));
    println!(
        "  kept: speed {}, rate {}, 429 {}, memory {}",
        revoked >= AIM,
        kept >= KEPT_UP,
        throttled == 0,
        peak.is_none_or(|peak| peak <= MOST_MEMORY)
    );
}

/// The stand-in, until its input ends; then it says how many requests it refused as one too many.
fn stand_in(setting: &str) {
    let (record, text) = setting.split_once('\n').expect("the bench starts itself");
    let scenario = Scenario::read(&Source::new("bench.yaml", text))
        .unwrap_or_else(|problems| panic!("{}", problems[0].render(false)));
    let world = World::start(&scenario, None, record.as_ref()).expect("a stand-in starts");
    println!("{}", world.origins()[0].1);
    std::io::stdout().flush().expect("the bench listens");
    let _ended = std::io::stdin().lines().next();
    println!("{}", world.observed().refused.iter().filter(|refused| refused.status == Some(429)).count());
}

struct Vendor {
    child: Child,
    output: std::io::BufReader<std::process::ChildStdout>,
    address: String,
    speed: f64,
}

impl Vendor {
    fn start(folder: &Folder, name: &str, users: usize, limit: u32, speed: f64) -> Self {
        let record = folder.path().join(format!("{name}.jsonl"));
        let scenario = format!(
            "scenario: bench\ntitle: A sweep\nstarts: 2026-03-10T15:53:00Z\nspeed: {speed}\nsecrets: {{ clerk: sk_live_bench }}\nstand_ins: {{ https://api.clerk.com: clerk }}\nworld: {{ clerk: {{ users: {users}, sessions_per_user: 1.3, pending: 0.05, requests_per_ten_seconds: {limit} }} }}\n"
        );
        let mut child = Command::new(std::env::current_exe().expect("it runs"))
            .env("BENCH_STAND_IN", format!("{}\n{scenario}", record.display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the bench starts itself");
        let mut output = std::io::BufReader::new(child.stdout.take().expect("it is piped"));
        let mut address = String::new();
        output.read_line(&mut address).expect("the stand-in says where it is");
        Self { child, output, address: address.trim().to_owned(), speed }
    }

    /// Ends it; returns how often it said that it was too much.
    fn end(mut self) -> u64 {
        drop(self.child.stdin.take());
        let mut text = String::new();
        self.output.read_line(&mut text).expect("the stand-in says what it saw");
        self.child.wait().expect("it ends");
        text.trim().parse().expect("it is a number")
    }

    fn client(&self) -> (Client, Arc<SecretStore>) {
        let given = BTreeMap::from([("clerk".to_owned(), "sk_live_bench".to_owned())]);
        let secrets = SecretStore::new(BTreeMap::new(), Arc::new(Redactor::default())).with_given(given);
        let secrets = Arc::new(secrets);
        let mut origins = Origins::default();
        origins.set("https://api.clerk.com", &self.address).expect("both are addresses");
        origins.close();
        (Client::new(origins, Arc::clone(&secrets)).at_speed(self.speed), secrets)
    }

    fn plain_requests(&self, count: usize) -> (usize, Duration) {
        let (client, secrets) = self.client();
        let key = secrets.get("clerk").map(|_| runbook::base::secret::reference("clerk")).expect("it is given");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
        let began = Instant::now();
        runtime.block_on(async {
            let mut tasks = tokio::task::JoinSet::new();
            for sent in 0..count {
                if sent >= AT_ONCE {
                    tasks.join_next().await.expect("requests are under way").expect("none panics");
                }
                let request = Request::get("https://api.clerk.com/v1/sessions")
                    .query("user_id", format!("user_drill{:07}", sent % 1000 + 1))
                    .bearer(&key);
                let client = client.clone();
                tasks.spawn(async move {
                    let response = client.send(request).await.expect("the stand-in answers");
                    assert!(response.is_success(), "{}", response.text());
                });
            }
            while tasks.join_next().await.is_some() {}
        });
        (count, began.elapsed())
    }

    fn sweep(&self, share: &str, folder: &Folder) -> ClerkSessionsRevokeAllOutput {
        let (http, secrets) = self.client();
        let starts = "2026-03-10T15:53:00Z".parse().expect("it is a time");
        let doors = Doors {
            http,
            processes: Arc::new(NoProcesses),
            databases: Arc::new(RealDatabases::new(Arc::clone(&secrets))),
            clock: Arc::new(clock::ScaledClock::new(starts, self.speed)),
            secrets,
            reporter: Arc::new(NoReports),
            artifacts: folder.path().to_owned(),
        };
        let run = RunId::new(starts, 0);
        let target = Target {
            key: format!("{run}/sweep"),
            run,
            step: StepPath::parse("sweep").expect("it is a step's name"),
            attempt: Attempt::FIRST,
            repeat: false,
            checkpoint: None,
            folder: folder.path().to_owned(),
            secrets: Arc::default(),
        };
        let file = std::fs::File::create(folder.path().join("checkpoints")).expect("there is room on the disk");
        let checkpoints = Arc::new(OnDisk(Mutex::new(file)));
        let cx = ActionContext::new(target, Arc::new(doors), checkpoints, tokio_util::sync::CancellationToken::new());
        let params = serde_json::json!({ "share": share, "at_once": 32 });
        let params = serde_json::from_value(params).expect("these are its parameters");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
        let output = runtime.block_on(RevokeAll.run(&cx, params)).unwrap_or_else(|error| panic!("{error}"));
        assert!(output.complete && output.failures == 0, "{output:?}");
        output
    }
}

/// Keeps checkpoints as the run log does: whole, and through a power cut.
struct OnDisk(Mutex<std::fs::File>);

impl Checkpoints for OnDisk {
    fn save(&self, value: serde_json::Value) -> BoxFuture<'_, Result<(), ActionError>> {
        let mut file = self.0.lock().expect("nobody panics with it");
        writeln!(file, "{value}").and_then(|()| file.sync_data()).expect("there is room on the disk");
        Box::pin(async { Ok(()) })
    }

    fn progress(&self, _text: String) {}
}

struct NoReports;

impl Reporter for NoReports {
    fn render(&self, _run: &RunId, _template: &str) -> Result<String, String> {
        Err("no step of the bench reports".to_owned())
    }
}
