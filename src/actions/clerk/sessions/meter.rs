//! Tells how a sweep goes: a line now and then, with rate, share of the limit and time left.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::super::client::Client;
use super::one::Tally;
use super::progress::{Pass, Progress};
use crate::base::clock::until;
use crate::base::{HumanDuration, Timestamp};

/// How long it is silent between two lines.
const BETWEEN: Duration = Duration::from_secs(10);

/// What this try has done so far.
pub(super) struct Meter {
    /// How many users there are, as far as known.
    total: u64,
    users: AtomicU64,
    ended: AtomicU64,
    /// Failures in a row.
    failed: AtomicU64,
    last: Mutex<Mark>,
    first: Mark,
}

#[derive(Clone, Copy)]
struct Mark {
    at: Timestamp,
    requests: u64,
    users: u64,
}

impl Meter {
    pub(super) fn new(progress: &Progress, total: u64, client: &Client<'_>) -> Self {
        let first = Mark { at: client.cx.now(), requests: client.requests(), users: progress.users };
        Self {
            total,
            users: AtomicU64::new(progress.users),
            ended: AtomicU64::new(progress.revoked + progress.signed_out),
            failed: AtomicU64::new(0),
            last: Mutex::new(first),
            first,
        }
    }

    /// So many more users were dealt with. Returns how many in a row have failed.
    pub(super) fn count(&self, client: &Client<'_>, pass: Pass, users: u64, tally: &Tally) -> u64 {
        if pass == Pass::Everybody {
            self.users.fetch_add(users, Ordering::Relaxed);
        }
        self.ended.fetch_add(tally.revoked + tally.signed_out, Ordering::Relaxed);
        let failed = if tally.failed.is_empty() {
            self.failed.store(0, Ordering::Relaxed);
            0
        } else {
            self.failed.fetch_add(users, Ordering::Relaxed) + users
        };
        self.tell(client, pass);
        failed
    }

    fn tell(&self, client: &Client<'_>, pass: Pass) {
        let now = client.cx.now();
        let mark = Mark { at: now, requests: client.requests(), users: self.users.load(Ordering::Relaxed) };
        let before = {
            let Ok(mut last) = self.last.lock() else { return };
            if until(last.at, now) < BETWEEN {
                return;
            }
            std::mem::replace(&mut *last, mark)
        };
        client.cx.progress(self.line(client, pass, before, mark));
    }

    fn line(&self, client: &Client<'_>, pass: Pass, before: Mark, now: Mark) -> String {
        let rate = per_second(now.requests - before.requests, before.at, now.at);
        let limit = client.limit();
        let most = f64::from(limit.requests) / limit.within.as_secs_f64();
        let held = client.rate();
        let held = if held < most { format!(", held to {held:.1} after a 429") } else { String::new() };
        let pace = format!("{rate:.1} requests/s, {:.0}% of what it may{held}", rate / most * 100.0);
        let ended = self.ended.load(Ordering::Relaxed);
        if pass != Pass::Everybody {
            return format!("{}: {ended} signed out in all; {pace}", words(pass));
        }
        let total = self.total.max(now.users);
        let speed = per_second(now.users.saturating_sub(self.first.users), self.first.at, now.at);
        let left = if speed > 0.0 {
            let seconds = (total - now.users) as f64 / speed;
            format!("about {} left", HumanDuration(Duration::from_secs(seconds.min(1e9) as u64)).rounded())
        } else {
            "no saying how long".to_owned()
        };
        format!("{} of {total} users, {ended} signed out; {pace}; {left}", now.users)
    }
}

fn words(pass: Pass) -> &'static str {
    match pass {
        Pass::Everybody => "everybody",
        Pass::SignedIn(_) => "those who signed in meanwhile",
        Pass::Made(_) => "those who are new",
        Pass::Verify => "everybody once more",
        Pass::Again => "those with whom something failed",
        Pass::Done => "done",
    }
}

/// So many in this time, a second.
pub(super) fn per_second(count: u64, from: Timestamp, to: Timestamp) -> f64 {
    let seconds = until(from, to).as_secs_f64();
    if seconds > 0.0 { count as f64 / seconds } else { 0.0 }
}
