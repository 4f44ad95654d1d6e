//! Memory and processor time as the kernel counts them, read from `/proc`. Linux only; elsewhere the figures are missing.

use std::process::Child;
use std::time::Duration;

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// The peak of this process so far.
pub fn own_peak() -> Option<u64> {
    peak("self")
}

fn peak(process: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// What a child cost.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// Its peak of memory, looked at every millisecond, so up to a millisecond's growth too low.
    pub peak: Option<u64>,
    /// Processor time of its main thread.
    pub main_thread: Option<Duration>,
}

/// Watches a child to its end. It is still to be waited for afterwards.
pub fn watch(child: &Child) -> Cost {
    let process = child.id().to_string();
    let mut cost = Cost::default();
    loop {
        cost.peak = peak(&process).or(cost.peak);
        // `NOWAIT` leaves the ended child in the table, so that its clock can still be read.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
        match waitid(WaitId::Pid(Pid::from_child(child)), options) {
            Ok(None) => std::thread::sleep(Duration::from_millis(1)),
            Ok(Some(_)) | Err(_) => break,
        }
    }
    cost.main_thread = main_thread(&process);
    cost
}

/// Waits for a child without looking at it meanwhile, and reads the clock of its main thread.
pub fn clock_at_end(child: &Child) -> Option<Duration> {
    waitid(WaitId::Pid(Pid::from_child(child)), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).ok()?;
    main_thread(&child.id().to_string())
}

fn main_thread(process: &str) -> Option<Duration> {
    let schedule = std::fs::read_to_string(format!("/proc/{process}/schedstat")).ok()?;
    schedule.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

/// Processor time of all children waited for so far, and of theirs: every thread, in steps of 10 ms.
pub fn of_children() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name in brackets may hold spaces; fields are counted after it. Fields 16 and 17 of proc_pid_stat(5).
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: u64 = fields.split_whitespace().skip(13).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Some(Duration::from_millis(ticks * 10))
}

/// Mebibytes, for people.
pub fn mebibytes(bytes: Option<u64>) -> String {
    match bytes {
        Some(bytes) => format!("{}.{} MiB", bytes >> 20, ((bytes & 0xF_FFFF) * 10) >> 20),
        None => "–".to_owned(),
    }
}
