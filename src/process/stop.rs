//! Stops a process group: ask, wait, kill.

use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Child;

/// Asks the whole group to end, waits `grace`, then kills what is left of it.
pub(super) async fn stop_group(child: &mut Child, group: Option<u32>, grace: Duration) -> std::io::Result<ExitStatus> {
    signal(group, Signal::TERM);
    let ended = tokio::time::timeout(grace, child.wait()).await;
    // Even when the leader ended in time, a child of its own may have ignored the request.
    signal(group, Signal::KILL);
    match ended {
        Ok(status) => status,
        Err(_) => child.wait().await,
    }
}

/// Kills a group without asking.
pub(super) fn kill_group(group: u32) {
    signal(Some(group), Signal::KILL);
}

/// A group that is gone already is what was wanted, so an error says nothing new.
fn signal(group: Option<u32>, signal: Signal) {
    if let Some(pid) = group.and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
        let _ = kill_process_group(pid, signal);
    }
}
