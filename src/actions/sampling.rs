//! Looking more than once: one answer is an anecdote, several are a measurement.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::action::{ActionContext, ActionError, ErrorKind};

/// More looks than this are load, not a probe.
const MOST: u32 = 50;
/// A vendor that asks for more patience than this between two looks is asked again all the same: somebody waits.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Refuses numbers that make no measurement.
pub(super) fn check(samples: u32) -> Result<(), ActionError> {
    if (1..=MOST).contains(&samples) {
        return Ok(());
    }
    Err(ActionError::invalid_params(format!("`samples` is {samples}; take 1 to {MOST}")))
}

/// Waits between two looks; longer when the other side asked for it.
pub(super) async fn pause(cx: &ActionContext, every: Duration, asked: Option<Duration>) -> Result<(), ActionError> {
    cx.sleep(every.max(asked.unwrap_or_default().min(LONGEST_PAUSE))).await
}

/// How long the good answers took, in milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Latency {
    /// The quickest.
    pub min: u64,
    /// Half of them took no longer.
    pub p50: u64,
    /// Of twenty, nineteen took no longer.
    pub p95: u64,
    /// The slowest.
    pub max: u64,
}

/// What was seen so far.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) good: u32,
    pub(super) kinds: BTreeMap<ErrorKind, u32>,
    elapsed: Vec<u64>,
}

impl Tally {
    pub(super) fn good(&mut self, elapsed_ms: u64) {
        self.good += 1;
        self.elapsed.push(elapsed_ms);
    }

    pub(super) fn bad(&mut self, kind: ErrorKind) {
        *self.kinds.entry(kind).or_default() += 1;
    }

    /// The most frequent kind of failure; of equals the first in their order.
    pub(super) fn usual_failure(&self) -> Option<ErrorKind> {
        self.kinds.iter().max_by_key(|(kind, count)| (**count, std::cmp::Reverse(**kind))).map(|(kind, _)| *kind)
    }

    /// Failures by their kind, as outputs hold them.
    pub(super) fn by_kind(&self) -> BTreeMap<String, u32> {
        self.kinds.iter().map(|(kind, count)| (kind.to_string(), *count)).collect()
    }

    /// `None` without a good answer.
    pub(super) fn latency(&self) -> Option<Latency> {
        let mut sorted = self.elapsed.clone();
        sorted.sort_unstable();
        // The nearest rank: a number that was measured, never one between two.
        let rank = |percent: usize| sorted.get((sorted.len() * percent).div_ceil(100).saturating_sub(1)).copied();
        Some(Latency { min: *sorted.first()?, p50: rank(50)?, p95: rank(95)?, max: *sorted.last()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_numbers_that_were_measured() {
        let mut tally = Tally::default();
        assert_eq!(tally.latency(), None);
        tally.good(7);
        assert_eq!(tally.latency(), Some(Latency { min: 7, p50: 7, p95: 7, max: 7 }));
        let mut tally = Tally::default();
        (1..=20).rev().for_each(|ms| tally.good(ms));
        assert_eq!(tally.latency(), Some(Latency { min: 1, p50: 10, p95: 19, max: 20 }));
    }

    #[test]
    fn the_usual_failure_is_the_most_frequent() {
        let mut tally = Tally::default();
        assert_eq!(tally.usual_failure(), None);
        [ErrorKind::Timeout, ErrorKind::Server, ErrorKind::Timeout].into_iter().for_each(|kind| tally.bad(kind));
        assert_eq!(tally.usual_failure(), Some(ErrorKind::Timeout));
        tally.bad(ErrorKind::Server);
        assert_eq!(tally.usual_failure(), Some(ErrorKind::Server), "of equals the first");
    }

    #[test]
    fn no_look_and_a_flood_are_refused() {
        assert!([0, 51].iter().all(|samples| check(*samples).is_err()) && check(1).is_ok() && check(50).is_ok());
    }
}
