//! Runs with a durable log and real processes, against what the machine itself takes for the same: one process and one
//! `fdatasync` for each step. Limits and runs alternate, so that both meet the same noise.

mod support;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use runbook::run::Limits;
use support::engine::{self, Counts};
use support::runbooks::Shape;
use support::{Folder, Rounds, Table, each, memory, ratio, sized};

/// The whole of a run may take this many times as long as the bare loop.
const AIM: f64 = 1.6;
/// About what a step leaves in the log.
const LINE: usize = 300;

fn main() {
    let folder = Folder::new("running");
    let cases = [
        (Shape::Chain, sized(1_000, 100)),
        (Shape::Chain, sized(4_000, 200)),
        (Shape::Parallel, sized(1_000, 100)),
        (Shape::FanOut, sized(1_000, 100)),
        (Shape::FanOut, sized(10_000, 200)),
    ];
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let mut table = Table::new(&[
        "run",
        "spawn + wait",
        "+ fdatasync",
        "least",
        "median",
        "most",
        "a step",
        "ratio",
        "fdatasyncs",
        "events",
    ]);
    for (shape, count) in cases {
        let title = format!("{}, {count} steps", shape.name());
        if title.contains(&filter) {
            table.row(measure(folder.path(), title, shape, count));
        }
    }
    table.print(&format!("/usr/bin/true with a durable log; the ratio is least to least, the aim is {AIM}"));
    println!("\n  peak memory of all this: {}", memory::mebibytes(memory::own_peak()));
    println!("  a bare spawn and wait that also reads the output takes {}", piped());
}

/// Interleaves the two limits and the run, round for round.
fn measure(folder: &Path, title: String, shape: Shape, count: usize) -> Vec<String> {
    let plan = engine::plan_of(shape.runbook(count));
    let processes = std::thread::available_parallelism().map_or(2, std::num::NonZero::get) * 2;
    let limits = Limits { io: 16, processes };
    let rounds = sized(if count > 2_000 { 3 } else { 7 }, 2);
    let (mut spawns, mut syncs, mut runs) = (Rounds::default(), Rounds::default(), Rounds::default());
    let mut counted = Counts::default();
    for round in 0..rounds {
        spawns.time(|| (0..count).for_each(|_| spawn_and_wait()));
        syncs.time(|| append_and_sync(&folder.join("limit"), count));
        let log = folder.join(format!("log-{round}"));
        let (taken, counts) = engine::run(&plan, folder, &log, limits);
        runs.push(taken);
        counted = counts;
        std::fs::remove_file(&log).expect("the log was just written");
    }
    let limit = spawns.min() + syncs.min();
    let [least, median, most] = runs.cells();
    vec![
        title,
        each(spawns.min(), count),
        each(limit, count),
        least,
        median,
        most,
        each(runs.min(), count),
        format!("{:.2}", ratio(runs.min(), limit)),
        counted.commits.to_string(),
        counted.events.to_string(),
    ]
}

/// The least a process costs: std starts it by `posix_spawn`.
fn spawn_and_wait() {
    let mut command = Command::new("/usr/bin/true");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = command.spawn().and_then(|mut child| child.wait()).expect("/usr/bin/true is there");
    assert!(status.success(), "/usr/bin/true does what its name says");
}

/// A process whose output is read, as a step's is: two pipes more than the limit has.
fn piped() -> String {
    let count = sized(1_000, 50);
    let rounds = Rounds::of(sized(5, 2), || {
        for _ in 0..count {
            let output = Command::new("/usr/bin/true").stdin(Stdio::null()).output().expect("/usr/bin/true is there");
            assert!(output.status.success(), "/usr/bin/true does what its name says");
        }
    });
    each(rounds.min(), count)
}

/// The least a durable step costs: its line, and one wait for the disk.
fn append_and_sync(path: &Path, count: usize) {
    let mut file = std::fs::File::create(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    for _ in 0..count {
        file.write_all(&[b'x'; LINE]).and_then(|()| file.sync_data()).expect("there is room on the disk");
    }
    std::fs::remove_file(path).expect("the file was just written");
}
