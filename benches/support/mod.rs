//! What the benches share: rounds and their spread, tables, runbooks to measure with, memory as the system counts it.

// Each bench is a crate of its own and needs another part of this.
#![allow(dead_code, unreachable_pub, reason = "every bench compiles all of this and uses some of it")]

pub mod engine;
pub mod memory;
pub mod runbooks;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Is this only to see whether the benches still work? Set `BENCH_QUICK=1`.
pub fn is_quick() -> bool {
    std::env::var_os("BENCH_QUICK").is_some_and(|value| value != "0")
}

/// The one number or the other, the second when in a hurry.
pub fn sized<T>(full: T, quick: T) -> T {
    if is_quick() { quick } else { full }
}

/// How long something took, in several rounds.
#[derive(Debug, Clone, Default)]
pub struct Rounds {
    taken: Vec<Duration>,
}

impl Rounds {
    /// Times `work` so many times. What it returns is dropped outside the timed part.
    pub fn of<T>(count: usize, mut work: impl FnMut() -> T) -> Self {
        let mut rounds = Self::default();
        for _ in 0..count.max(1) {
            rounds.time(&mut work);
        }
        rounds
    }

    /// Times `work` once more.
    pub fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let began = Instant::now();
        let result = std::hint::black_box(work());
        self.push(began.elapsed());
        result
    }

    /// Takes a round that was timed elsewhere.
    pub fn push(&mut self, taken: Duration) {
        self.taken.push(taken);
        self.taken.sort_unstable();
    }

    /// The shortest round. On a busy machine it is the one to believe: nothing makes a round shorter than it is.
    pub fn min(&self) -> Duration {
        self.taken.first().copied().unwrap_or_default()
    }

    /// The round in the middle.
    pub fn median(&self) -> Duration {
        self.taken.get(self.taken.len() / 2).copied().unwrap_or_default()
    }

    /// The longest round.
    pub fn max(&self) -> Duration {
        self.taken.last().copied().unwrap_or_default()
    }

    /// The three as cells of a table.
    pub fn cells(&self) -> [String; 3] {
        [self.min(), self.median(), self.max()].map(shown)
    }
}

/// A length of time with three figures.
pub fn shown(duration: Duration) -> String {
    let (value, unit) = match duration.as_secs_f64() {
        seconds if seconds >= 1.0 => (seconds, "s"),
        seconds if seconds >= 1e-3 => (seconds * 1e3, "ms"),
        seconds => (seconds * 1e6, "µs"),
    };
    let places = if value >= 100.0 { 0 } else { 1 + usize::from(value < 10.0) };
    format!("{value:.places$} {unit}")
}

/// What one of `count` costs.
pub fn each(duration: Duration, count: usize) -> String {
    shown(duration.div_f64(as_f64(count.max(1))))
}

/// How many times as long.
pub fn ratio(one: Duration, other: Duration) -> f64 {
    one.as_secs_f64() / other.as_secs_f64().max(f64::MIN_POSITIVE)
}

/// A count as a number to divide by.
pub fn as_f64(count: usize) -> f64 {
    u32::try_from(count).map_or(f64::from(u32::MAX), f64::from)
}

/// A table, printed with its columns aligned.
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub fn new(headings: &[&str]) -> Self {
        Self { rows: vec![headings.iter().map(|heading| (*heading).to_owned()).collect()] }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = impl Into<String>>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// Prints it: the first column to the left, the others to the right.
    pub fn print(&self, title: &str) {
        println!("\n{title}\n");
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            self.rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for (number, row) in self.rows.iter().enumerate() {
            let cells = row.iter().zip(&widths).enumerate().map(|(column, (cell, width))| {
                if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
            });
            println!("  {}", cells.collect::<Vec<_>>().join("   ").trim_end());
            if number == 0 {
                let rules = widths.iter().map(|width| "─".repeat(*width));
                println!("  {}", rules.collect::<Vec<_>>().join("   "));
            }
        }
    }
}

/// A folder for one bench, gone when this is dropped. It lies beside the build, because a temporary folder may be
/// memory, and a log in memory proves nothing about disks.
pub struct Folder {
    path: PathBuf,
}

impl Folder {
    /// An empty folder.
    pub fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("bench-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self { path }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.path);
    }
}
