//! What ending all sessions costs: requests and time, by strategy.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::rows::PAGE;
use crate::base::HumanDuration;

/// How many users one bulk request may name.
pub(super) const BULK: usize = 50;

/// How to end everybody's sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Strategy {
    /// Lists each user's sessions and revokes them one by one. Changes nothing else.
    #[default]
    Revoke,
    /// Marks each user's password as stolen, which ends the sessions in the same request. The user must set a new password at
    /// the next sign-in. Users without a password are done by `revoke`.
    SetCompromised,
    /// Bans fifty users at a time, which ends their sessions, and lifts the ban at once. By far the fastest, but the plan must
    /// include bans, nobody can sign in while banned, and the application sees `user.updated` events.
    BanCycle,
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Revoke => "revoke",
            Self::SetCompromised => "set_compromised",
            Self::BanCycle => "ban_cycle",
        })
    }
}

/// What a strategy costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClerkSweepCost {
    /// How many requests.
    pub requests: u64,
    /// How long at the share of the limit that is asked for.
    pub takes: HumanDuration,
}

impl Strategy {
    /// What it costs for so many users with so many live sessions, at so many requests a second.
    pub(super) fn cost(self, users: u64, sessions: u64, per_second: f64) -> ClerkSweepCost {
        let bulk = u64::try_from(BULK).unwrap_or(1);
        let pages = users / u64::try_from(PAGE).unwrap_or(1) + 1;
        let requests = match self {
            Self::Revoke => pages + users + sessions,
            Self::SetCompromised => pages + users,
            Self::BanCycle => pages + 2 * users.div_ceil(bulk),
        };
        let seconds = (requests as f64 / per_second.max(0.01)).ceil();
        ClerkSweepCost { requests, takes: HumanDuration(Duration::from_secs_f64(seconds.min(1e12))) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fast_way_is_fast_and_the_gentle_one_takes_its_time() {
        let cost = |strategy: Strategy| {
            let cost = strategy.cost(10_000, 13_000, 50.0);
            (cost.requests, cost.takes.to_string())
        };
        assert_eq!(cost(Strategy::Revoke), (23_021, "7m41s".to_owned()));
        assert_eq!(cost(Strategy::SetCompromised), (10_021, "3m21s".to_owned()));
        assert_eq!(cost(Strategy::BanCycle), (421, "9s".to_owned()));
        assert_eq!(Strategy::Revoke.cost(0, 0, 0.0).requests, 1);
    }
}
