//! How far a sweep is: what its checkpoints hold.

use serde::{Deserialize, Serialize};

use super::cost::Strategy;
use super::one::{ClerkSweepFailure, Tally};
use crate::action::{ActionError, ErrorKind};
use crate::base::Timestamp;

/// More failures than these are not kept: they stand in every checkpoint, and a sweep that fails so often is given up.
pub(super) const MOST_FAILED: usize = 200;

/// How far it is. A checkpoint follows each page of users; whoever goes on repeats at most one of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// The instance it was begun with.
    pub(super) instance: String,
    pub(super) strategy: Strategy,
    /// When it was begun.
    pub(super) began: Timestamp,
    /// When the first pass was over: what is opened later is no business of the sweep.
    pub(super) over: Option<Timestamp>,
    pub(super) pass: Pass,
    /// The last user of the last whole page.
    pub(super) after: Option<String>,
    pub(super) users: u64,
    pub(super) excluded: u64,
    pub(super) already_banned: u64,
    pub(super) revoked: u64,
    pub(super) gone: u64,
    pub(super) signed_out: u64,
    /// Of these, how many after the first pass.
    pub(super) later: u64,
    /// How many this round has found.
    pub(super) in_round: u64,
    pub(super) passes: u32,
    /// Users to be done again.
    pub(super) failed: Vec<ClerkSweepFailure>,
    /// Users who may be banned by us at this moment. None of them was banned before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) banning: Vec<String>,
    pub(super) requests: u64,
    pub(super) spent_ms: u64,
    pub(super) paused_ms: u64,
}

/// Whom it goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Pass {
    /// All users.
    Everybody,
    /// Those who signed in since it began, in this round.
    SignedIn(u32),
    /// Those who were made since it began, in this round.
    Made(u32),
    /// All users once more.
    Verify,
    /// Those with whom something failed.
    Again,
    /// Nobody any more.
    Done,
}

impl Progress {
    pub(super) fn new(instance: String, strategy: Strategy, began: Timestamp) -> Self {
        Self {
            instance,
            strategy,
            began,
            over: None,
            pass: Pass::Everybody,
            after: None,
            users: 0,
            excluded: 0,
            already_banned: 0,
            revoked: 0,
            gone: 0,
            signed_out: 0,
            later: 0,
            in_round: 0,
            passes: 1,
            failed: Vec::new(),
            banning: Vec::new(),
            requests: 0,
            spent_ms: 0,
            paused_ms: 0,
        }
    }

    /// Adds what was done with a page.
    pub(super) fn add(&mut self, tally: Tally) -> Result<(), ActionError> {
        let ended = tally.revoked + tally.gone + tally.signed_out;
        self.revoked += tally.revoked;
        self.gone += tally.gone;
        self.signed_out += tally.signed_out;
        if self.pass != Pass::Everybody {
            self.later += ended;
            self.in_round += ended;
        }
        self.failed.extend(tally.failed);
        if self.failed.len() > MOST_FAILED {
            let last = self.failed.last().map(|failure| failure.message.clone()).unwrap_or_default();
            let message = format!("more than {MOST_FAILED} sessions could not be ended; the last failure: {last}");
            return Err(ActionError::new(ErrorKind::Failed, message));
        }
        Ok(())
    }

    /// The next pass. `rounds` is the most rounds for those who signed in meanwhile.
    pub(super) fn advance(&mut self, now: Timestamp, rounds: u32, verify_all: bool) {
        self.after = None;
        let settled = if verify_all { Pass::Verify } else { self.then_again() };
        self.pass = match self.pass {
            Pass::Everybody => {
                self.over = Some(now);
                Pass::SignedIn(1)
            }
            Pass::SignedIn(round) => Pass::Made(round),
            // A round that found somebody is followed by another, which is to find nobody.
            Pass::Made(round) if self.in_round > 0 && round < rounds => Pass::SignedIn(round + 1),
            Pass::Made(_) => settled,
            Pass::Verify => self.then_again(),
            Pass::Again | Pass::Done => Pass::Done,
        };
        match self.pass {
            Pass::SignedIn(_) => {
                self.in_round = 0;
                self.passes += 1;
            }
            Pass::Verify | Pass::Again => self.passes += 1,
            Pass::Everybody | Pass::Made(_) | Pass::Done => {}
        }
    }

    fn then_again(&self) -> Pass {
        if self.failed.is_empty() { Pass::Done } else { Pass::Again }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn progress() -> Progress {
        Progress::new("ins_1".into(), Strategy::Revoke, Timestamp::UNIX_EPOCH)
    }

    fn passes(mut progress: Progress, verify_all: bool, mut found: impl FnMut(Pass) -> u64) -> Vec<Pass> {
        let mut seen = vec![progress.pass];
        while progress.pass != Pass::Done {
            let tally = Tally { revoked: found(progress.pass), ..Tally::default() };
            progress.add(tally).unwrap();
            progress.advance(Timestamp::UNIX_EPOCH, 3, verify_all);
            seen.push(progress.pass);
        }
        seen
    }

    #[test]
    fn rounds_follow_until_one_finds_nobody() {
        let quiet = passes(progress(), false, |pass| u64::from(pass == Pass::Everybody));
        assert_eq!(quiet, [Pass::Everybody, Pass::SignedIn(1), Pass::Made(1), Pass::Done]);
        let one = passes(progress(), true, |pass| u64::from(pass == Pass::SignedIn(1)));
        let expected = [
            Pass::Everybody,
            Pass::SignedIn(1),
            Pass::Made(1),
            Pass::SignedIn(2),
            Pass::Made(2),
            Pass::Verify,
            Pass::Done,
        ];
        assert_eq!(one, expected);
        assert_eq!(passes(progress(), false, |_| 1).len(), 8, "it ends, whatever happens");
    }

    #[test]
    fn who_failed_is_done_again_at_the_end() {
        let failure = ClerkSweepFailure {
            user_id: "user_1".into(),
            session_id: None,
            kind: ErrorKind::Server,
            message: "500".into(),
        };
        let mut failing = progress();
        failing.add(Tally { failed: vec![failure.clone()], ..Tally::default() }).unwrap();
        let seen = passes(failing, false, |_| 0);
        assert_eq!(seen[3..], [Pass::Again, Pass::Done]);
        let many = Tally { failed: vec![failure; MOST_FAILED + 1], ..Tally::default() };
        assert_eq!(progress().add(many).unwrap_err().kind, ErrorKind::Failed);
    }

    #[test]
    fn a_checkpoint_reads_back() {
        let mut before = progress();
        before.pass = Pass::SignedIn(2);
        before.banning = vec!["user_1".into()];
        let read: Progress = serde_json::from_value(serde_json::to_value(&before).unwrap()).unwrap();
        assert_eq!(read, before);
    }
}
