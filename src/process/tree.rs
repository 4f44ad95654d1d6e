//! Finds who descends from a step's process, also those that have left its group, and takes in the orphans.
//!
//! A daemon leaves its group, its session and its parent; what it keeps is its environment. So every process is started
//! with a mark in it, and whoever carries the mark, or has a parent who does, belongs to the step. For an orphan to be
//! found at all it must stay below this program: that is what a *subreaper* is (`PR_SET_CHILD_SUBREAPER`, prctl(2)).
//! Where there is no `/proc`, a step's process group is all that is known of it.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Once, PoisonError};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, kill_process_group, waitpgid};

/// The variable that holds the mark. Its value is a path: a runbook that is run by a step of another one adds to it.
pub(super) const VARIABLE: &str = "RUNBOOK_PROCESS";

/// How often it is looked in a row whether somebody runs, while others come and go.
const LOOKS: usize = 10;

/// The children that this program has started and waits for itself; held while one is being started.
static STARTED: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

/// Makes orphaned descendants children of this program instead of the system's first process.
pub(super) fn adopt_orphans() {
    static ONCE: Once = Once::new();
    // Without it daemons are not found; everything else goes on working.
    #[cfg(target_os = "linux")]
    ONCE.call_once(|| {
        let _ = rustix::process::set_child_subreaper(Some(rustix::process::getpid()));
    });
    #[cfg(not(target_os = "linux"))]
    ONCE.call_once(|| ());
}

/// A mark that no other process of this program carries.
pub(super) fn mark() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let own = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    match std::env::var(VARIABLE) {
        Ok(outer) if !outer.is_empty() => format!("{outer}/{own}"),
        _ => own,
    }
}

/// A child that this program has started and waits for; while this lives, nobody else may collect its exit code.
#[derive(Debug)]
pub(super) struct Started(u32);

impl Started {
    /// Starts a child. It may end before its id is known here, so the list is held until it is.
    pub(super) fn start<C>(
        spawn: impl FnOnce() -> std::io::Result<C>,
        id: impl FnOnce(&C) -> Option<u32>,
    ) -> std::io::Result<(C, Option<Self>)> {
        let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
        let child = spawn()?;
        let id = id(&child);
        started.extend(id);
        Ok((child, id.map(Self)))
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        STARTED.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

/// What descends from one step's process.
#[derive(Debug, Clone)]
pub(super) struct Tree {
    /// The step's process, and its group.
    root: u32,
    /// What stands in the environment of all of them.
    mark: String,
    /// Who was found so far, by id and start: one that has wiped its environment is known by its parent, until that ends.
    known: Arc<Mutex<BTreeSet<(u32, u64)>>>,
}

impl Tree {
    pub(super) fn new(root: u32, mark: String) -> Self {
        Self { root, mark, known: Arc::default() }
    }

    /// The step's process.
    pub(super) fn root(&self) -> u32 {
        self.root
    }

    /// Sends a signal to the group and to everybody who has left it.
    pub(super) fn signal(&self, signal: Signal) {
        // Looked up first: with the group go the parents by whom the others are found.
        let members = self.members(&descendants());
        // Who is gone already is what was wanted, so an error says nothing new.
        if let Some(group) = pid(self.root) {
            let _ = kill_process_group(group, signal);
        }
        for member in members {
            if let Some(pid) = pid(member.pid).filter(|_| member.group != self.root) {
                let _ = kill_process(pid, signal);
            }
        }
    }

    /// Does any of them still run?
    pub(super) fn is_alive(&self) -> bool {
        if !cfg!(target_os = "linux") {
            return pid(self.root).is_some_and(|group| rustix::process::test_kill_process_group(group).is_ok());
        }
        // Whoever starts another and ends while it is being looked has ended when its line is read, and the other was not
        // in the list yet. So nobody is there only when two looks find the same dead; nothing is collected in between.
        let mut dead = None;
        for _ in 0..LOOKS {
            let all = descendants();
            if !self.members(&all).is_empty() {
                return true;
            }
            let now: BTreeSet<_> = all.iter().filter(|seen| !seen.runs).map(|seen| (seen.pid, seen.start)).collect();
            if dead.replace(now.clone()) == Some(now) {
                return false;
            }
        }
        true
    }

    /// Collects the orphans of the group. Only after the step's own process was waited for: it is in there, too.
    pub(super) fn collect_group(&self) {
        let Some(group) = pid(self.root) else { return };
        while let Ok(Some(_)) = waitpgid(group, WaitOptions::NOHANG) {}
    }

    /// Those of the descendants of this program who run and belong to the step.
    fn members(&self, all: &[Seen]) -> Vec<Seen> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut ids = BTreeSet::new();
        for seen in all {
            // Parents stand before their children.
            let related = seen.pid == self.root || seen.group == self.root || ids.contains(&seen.parent);
            if related || known.contains(&(seen.pid, seen.start)) || self.is_marked(seen.pid) {
                ids.insert(seen.pid);
                known.insert((seen.pid, seen.start));
            }
        }
        all.iter().copied().filter(|seen| seen.runs && ids.contains(&seen.pid)).collect()
    }

    fn is_marked(&self, pid: u32) -> bool {
        // Unreadable is the environment of a program that has changed its user; its parent or group may still tell.
        let Ok(environment) = std::fs::read(format!("/proc/{pid}/environ")) else { return false };
        environment.split(|byte| *byte == 0).any(|variable| {
            let path = variable.strip_prefix(VARIABLE.as_bytes()).and_then(|rest| rest.strip_prefix(b"="));
            let below = path.and_then(|path| path.strip_prefix(self.mark.as_bytes()));
            below.is_some_and(|below| below.first().is_none_or(|byte| *byte == b'/'))
        })
    }
}

/// Collects orphans that have ended: nobody else will, and their ids would stay taken.
pub(super) fn collect_orphans() {
    use rustix::process::{WaitId, WaitIdOptions, waitid};
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    // One call says that there is nothing to collect, which is the rule.
    if !matches!(waitid(WaitId::All, look), Ok(Some(_))) {
        return;
    }
    let started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
    let own = pid_number(rustix::process::getpid());
    let own_group = pid_number(rustix::process::getpgrp());
    for seen in processes() {
        // Who stays in our own group was started by another part of this program, which waits for it itself.
        let orphan = seen.parent == own && !seen.runs && seen.group != own_group && !started.contains(&seen.pid);
        if let Some(pid) = pid(seen.pid).filter(|_| orphan) {
            let _ = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG);
        }
    }
}

/// A process as `/proc` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    pid: u32,
    parent: u32,
    group: u32,
    /// When it was started, in the system's own count: ids are used again.
    start: u64,
    /// Has it not ended yet? One that has ended and was not collected is still listed.
    runs: bool,
}

/// What descends from this program, parents before their children.
fn descendants() -> Vec<Seen> {
    let mut rest = processes();
    let mut found: Vec<Seen> = Vec::new();
    let mut parents = BTreeSet::from([pid_number(rustix::process::getpid())]);
    while !parents.is_empty() {
        let (children, others) = rest.into_iter().partition::<Vec<_>, _>(|seen| parents.contains(&seen.parent));
        parents = children.iter().map(|seen| seen.pid).collect();
        found.extend(children);
        rest = others;
    }
    found
}

/// Every process of this machine that `/proc` shows.
fn processes() -> Vec<Seen> {
    let Ok(folder) = std::fs::read_dir("/proc") else { return Vec::new() };
    let ids = folder.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    ids.filter_map(|pid| read_stat(pid, &std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)).collect()
}

/// `PID (NAME) STATE PARENT GROUP …`, with the start as the 22nd word, proc_pid_stat(5). The name may hold anything, brackets and spaces too.
fn read_stat(pid: u32, stat: &str) -> Option<Seen> {
    let mut words = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = words.next()?;
    let parent = words.next()?.parse().ok()?;
    let group = words.next()?.parse().ok()?;
    let start = words.nth(16)?.parse().ok()?;
    Some(Seen { pid, parent, group, start, runs: !matches!(state, "Z" | "X" | "x") })
}

fn pid(number: u32) -> Option<Pid> {
    i32::try_from(number).ok().and_then(Pid::from_raw)
}

fn pid_number(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_may_be_named_like_anything() {
        let rest = "0 -1 4194560 98 0 0 0 0 0 0 0 20 0 1 0 8123 2732032 217";
        let seen = read_stat(7, &format!("7 (a) S 1 2 3) R 4 5 6 {rest}")).unwrap();
        assert_eq!(seen, Seen { pid: 7, parent: 4, group: 5, start: 8123, runs: true });
        assert!(!read_stat(7, &format!("7 (sh) Z 1 7 7 {rest}")).unwrap().runs);
        assert_eq!(read_stat(7, "7 (sh"), None);
    }

    #[test]
    fn no_two_processes_carry_the_same_mark() {
        let (one, other) = (mark(), mark());
        assert!(one != other && !other.starts_with(&format!("{one}/")));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn an_exit_code_belongs_to_whoever_waits_for_it() {
        use std::os::unix::process::CommandExt as _;
        let spawn = || std::process::Command::new("/bin/sh").args(["-c", "exit 3"]).process_group(0).spawn();
        let has_ended = |id: u32| {
            let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok();
            stat.is_some_and(|stat| read_stat(id, &stat).is_some_and(|seen| !seen.runs))
        };
        let (mut child, started) = Started::start(spawn, |child| Some(child.id())).unwrap();
        while !has_ended(child.id()) {
            std::thread::yield_now();
        }
        collect_orphans();
        assert!(has_ended(child.id()), "it was not collected");
        // Nobody waits for it any more.
        drop(started);
        collect_orphans();
        assert!(!has_ended(child.id()) && child.try_wait().is_err());
    }
}
