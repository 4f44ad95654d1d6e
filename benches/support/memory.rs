//! Memory and processor time as the kernel counts them, read from `/proc`. Linux only; elsewhere the figures are missing.

use std::process::Child;
use std::time::Duration;

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// `NOWAIT` leaves an ended child in the table of processes, so that its clock can still be read.
const ENDED: WaitIdOptions = WaitIdOptions::EXITED.union(WaitIdOptions::NOWAIT);

/// The peak of this process so far.
pub fn own_peak() -> Option<u64> {
    peak("self")
}

fn peak(process: &str) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1024)
}

/// Watches a child to its end, which is still to be waited for, and returns its peak. Looked at every millisecond, so
/// up to a millisecond's growth too low.
pub fn watch(child: &Child) -> Option<u64> {
    let process = child.id().to_string();
    let mut highest = None;
    loop {
        highest = peak(&process).or(highest);
        match waitid(WaitId::Pid(Pid::from_child(child)), ENDED | WaitIdOptions::NOHANG) {
            Ok(None) => std::thread::sleep(Duration::from_millis(1)),
            Ok(Some(_)) | Err(_) => return highest,
        }
    }
}

/// Waits until a child has ended, and leaves it there to be waited for.
pub fn until_ended(child: &Child) {
    let _ = waitid(WaitId::Pid(Pid::from_child(child)), ENDED);
}

/// Processor time of the main thread of a child that has ended and was not waited for yet.
pub fn main_thread_of(child: &Child) -> Option<Duration> {
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
