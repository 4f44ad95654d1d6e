//! What people answer and how the rehearsal should end: `decisions` and `expect` in a scenario.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_yaml::Spanned;

use crate::base::HumanDuration;
use crate::drill::observed::{Observed, WriteKind};

/// What a person decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Yes.
    Approve,
    /// No.
    Reject,
    /// Nothing is said.
    Silence,
}

/// What a person answers at a gate.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// Yes, no, or nothing.
    pub decision: Verdict,
    /// Who: `user:NAME`.
    pub by: String,
    /// How long after the question.
    #[serde(default)]
    pub after: HumanDuration,
    /// What they fill in.
    #[serde(default)]
    pub answers: BTreeMap<String, serde_json::Value>,
}

/// How the rehearsal should end.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// The run's outcome.
    pub outcome: Option<Spanned<String>>,
    /// What may be left of the measures taken.
    pub left_standing: Option<Leftovers>,
    /// Whether the app's bypass was to be in force at some time.
    pub bypass: Option<Bypass>,
    /// How many of the sessions that were live at the start are to be so at the end.
    pub sessions_left: Option<u32>,
    /// How many requests the vendors may have refused because there were too many.
    pub throttled_at_most: Option<u32>,
    /// Which category the last `decide` that names one is to name.
    pub category: Option<String>,
    /// How many messages are to be posted in Slack.
    pub messages: Option<u32>,
    /// How many alerts are to be left open at PagerDuty.
    pub alerts_open: Option<u32>,
    /// How many of Clerk's users no webhook may have told of at the end.
    pub users_untold: Option<usize>,
}

/// What may be left standing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leftovers {
    /// Nothing.
    Nothing,
    /// Something has to be: the measure is still needed.
    Something,
}

/// Whether the bypass was to be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bypass {
    /// At some time it was to be in force.
    Opened,
    /// It was never to be in force.
    NeverOpened,
}

impl Expect {
    /// What the world shows otherwise than expected, one sentence each. The run's outcome is not the world's to judge.
    pub fn missed_by(&self, seen: &Observed) -> Vec<String> {
        let mut missed = Vec::new();
        match self.left_standing {
            Some(Leftovers::Nothing) => {
                missed.extend(seen.left_standing.iter().map(|left| format!("left standing: {left}")));
            }
            Some(Leftovers::Something) if seen.left_standing.is_empty() => {
                missed.push("nothing is left standing, and something should be".to_owned());
            }
            Some(Leftovers::Something) | None => {}
        }
        match self.bypass {
            Some(Bypass::Opened) if seen.bypass_in_force.is_empty() => {
                missed.push("the bypass was never in force, and should have been".to_owned());
            }
            Some(Bypass::NeverOpened) if !seen.bypass_in_force.is_empty() => {
                missed.push("the bypass was in force, and should never have been".to_owned());
            }
            Some(Bypass::Opened | Bypass::NeverOpened) | None => {}
        }
        let left = seen.sessions.left_of_the_start;
        if let Some(expected) = self.sessions_left.filter(|expected| *expected != left) {
            missed.push(format!("{left} sessions of the start are live, and {expected} should be"));
        }
        let throttled = seen.refused.iter().filter(|refused| refused.status == Some(429)).count();
        if self.throttled_at_most.is_some_and(|most| throttled > most as usize) {
            missed.push(format!("{throttled} requests were one too many for a vendor's limit"));
        }
        let posted = seen.writes.get(&WriteKind::MessagePosted).copied().unwrap_or_default();
        if let Some(expected) = self.messages.filter(|expected| *expected != posted) {
            missed.push(format!("{posted} messages were posted, and {expected} should have been"));
        }
        if let Some(expected) = self.alerts_open.filter(|expected| *expected != seen.alerts_open) {
            missed.push(format!("{} alerts are open, and {expected} should be", seen.alerts_open));
        }
        if let Some(expected) = self.users_untold.filter(|expected| *expected != seen.users_untold) {
            missed.push(format!("no webhook has told of {} users, and it should be {expected}", seen.users_untold));
        }
        missed
    }
}
