//! Stops a step's processes: ask, wait, kill.

use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;
use tokio::process::Child;

use super::tree::{Tree, collect_orphans};

/// How often it is looked who is left; the pauses grow from the first to the second, except while killing: whoever goes on
/// starting others must be outrun.
const PAUSES: (Duration, Duration) = (Duration::from_millis(2), Duration::from_millis(100));
/// How long killing is tried. Only what hangs in the system itself outlives a kill, and nothing here can help it.
const KILLING: Duration = Duration::from_secs(2);

/// Asks all of them to end, waits `grace` for all of them, then kills who is left. The child itself may have ended.
pub(super) async fn stop(child: &mut Child, tree: &Tree, grace: Duration) -> std::io::Result<ExitStatus> {
    tree.signal(Signal::TERM);
    let all = async {
        let status = child.wait().await;
        tree.collect_group();
        gone(tree, None).await;
        status
    };
    if let Ok(status) = tokio::time::timeout(grace, all).await {
        return status;
    }
    tree.signal(Signal::KILL);
    let status = child.wait().await;
    tree.collect_group();
    let _ = tokio::time::timeout(KILLING, gone(tree, Some(Signal::KILL))).await;
    status
}

/// Returns when nobody is left; whoever is left meanwhile is sent `signal`.
async fn gone(tree: &Tree, signal: Option<Signal>) {
    let mut pause = PAUSES.0;
    loop {
        collect_orphans();
        if !tree.is_alive() {
            return;
        }
        match signal {
            Some(signal) => tree.signal(signal),
            None => pause = (pause * 2).min(PAUSES.1),
        }
        tokio::time::sleep(pause).await;
    }
}

/// Kills all of them without asking, and again those who were started meanwhile.
pub(super) fn kill(trees: &[Tree]) {
    let began = std::time::Instant::now();
    loop {
        for tree in trees {
            tree.signal(Signal::KILL);
        }
        if began.elapsed() > KILLING || !trees.iter().any(Tree::is_alive) {
            return;
        }
        std::thread::sleep(PAUSES.0);
    }
}
