//! Ten thousand steps that each send one request, against the same requests sent by the same client without an engine.
//!
//! The server is in this process, on a thread of its own, and answers at once; what is left between the two figures is
//! what deciding, recording durably and starting a task cost.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use runbook::base::{Redactor, SecretStore};
use runbook::http::{Client, Origins, Request};
use runbook::run::Limits;
use support::{Folder, Rounds, Table, each, engine, memory, ratio, sized};

/// What the engine may add to a step.
const AIM: Duration = Duration::from_micros(100);
/// How many requests are under way at once.
const AT_ONCE: usize = 16;

fn main() {
    let folder = Folder::new("requests");
    let address = serve();
    let count = sized(10_000, 200);
    let mut table =
        Table::new(&["run", "bare, a request", "least", "a step", "engine's share", "fdatasyncs", "events"]);
    for (title, text) in [
        (format!("{count} steps side by side"), steps(&address, count)),
        (format!("one loop over {count} items"), a_loop(&address, count)),
    ] {
        table.row(measure(folder.path(), &title, text, &address, count, sized(5, 2)));
    }
    let many = sized(100_000, 2_000);
    table.row(measure(
        folder.path(),
        &format!("one loop over {many} items"),
        a_loop(&address, many),
        &address,
        many,
        1,
    ));
    table.print(&format!("`http.get` against a server on this machine, {AT_ONCE} at once; the aim is {AIM:?} a step"));
    println!("\n  peak memory of all this: {}", memory::mebibytes(memory::own_peak()));
}

fn measure(folder: &Path, title: &str, text: String, address: &str, count: usize, rounds: usize) -> Vec<String> {
    let plan = engine::plan_of(text);
    let limits = Limits { io: AT_ONCE, processes: 2 };
    let (mut bare, mut runs) = (Rounds::default(), Rounds::default());
    let mut counts = engine::Counts::default();
    for round in 0..rounds {
        bare.push(without_engine(address, count));
        let log = folder.join(format!("log-{round}"));
        let (taken, counted) = engine::run(&plan, folder, &log, limits);
        runs.push(taken);
        counts = counted;
        std::fs::remove_file(&log).expect("the log was just written");
    }
    let share = runs.min().saturating_sub(bare.min());
    vec![
        title.to_owned(),
        each(bare.min(), count),
        support::shown(runs.min()),
        each(runs.min(), count),
        format!("{} ({:.2} times bare)", each(share, count), ratio(runs.min(), bare.min())),
        counts.commits.to_string(),
        counts.events.to_string(),
    ]
}

fn steps(address: &str, count: usize) -> String {
    let step = |number| format!("  s{number}: {{ uses: http.get, with: {{ url: \"{address}\" }} }}\n");
    format!("runbook: bench\nsteps:\n{}", (0..count).map(step).collect::<String>())
}

fn a_loop(address: &str, count: usize) -> String {
    format!(
        "runbook: bench\nsteps:\n  each: {{ for_each: {{ in: \"range({count})\", as: n }}, uses: http.get, with: {{ url: \
         \"{address}\" }} }}\n"
    )
}

/// The same requests by the same client, as many at once, and nothing else.
fn without_engine(address: &str, count: usize) -> Duration {
    let secrets = Arc::new(SecretStore::new(std::collections::BTreeMap::new(), Arc::new(Redactor::default())));
    let client = Arc::new(Client::new(Origins::default(), secrets));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let began = Instant::now();
    runtime.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for sent in 0..count {
            if sent >= AT_ONCE {
                tasks.join_next().await.expect("requests are under way").expect("none panics");
            }
            let (client, request) = (Arc::clone(&client), Request::get(address));
            tasks.spawn(async move {
                let response = client.send(request).await.expect("the server answers");
                assert!(response.is_success());
            });
        }
        while tasks.join_next().await.is_some() {}
    });
    began.elapsed()
}

/// A server on a thread of its own. Returns its address.
fn serve() -> String {
    let (told, address) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime starts");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port is free");
            told.send(listener.local_addr().expect("it is bound")).expect("somebody waits for it");
            let app = axum::Router::new().route("/", axum::routing::get(async || "ok"));
            axum::serve(listener, app).await.expect("it serves until the bench ends");
        });
    });
    format!("http://{}/", address.recv().expect("the server starts"))
}
