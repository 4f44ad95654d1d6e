//! How long it takes: what past runs took, where there are some, and the limits that the file sets.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::Plan;
use crate::base::HumanDuration;
use crate::runbook::{Does, OnTimeout, Retry, Step};

/// What past runs of a runbook took. Whoever may read files collects it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Past {
    /// How long each run took that succeeded.
    pub whole: Vec<Duration>,
    /// How long each step took that succeeded, by its path without the keys of items.
    pub steps: BTreeMap<String, Vec<Duration>>,
}

/// How long something took in past runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Takes {
    /// How many runs this is from.
    pub runs: usize,
    /// Half of them were faster, half slower.
    pub median: HumanDuration,
    /// The fastest.
    pub fastest: HumanDuration,
    /// The slowest.
    pub slowest: HumanDuration,
}

impl Takes {
    pub(super) fn of(lengths: &[Duration]) -> Option<Self> {
        let mut sorted = lengths.to_vec();
        sorted.sort_unstable();
        let (fastest, slowest) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2 };
        let shown = |length| HumanDuration(rounded(length));
        Some(Self { runs: sorted.len(), median: shown(median), fastest: shown(fastest), slowest: shown(slowest) })
    }
}

/// As exact as anybody reads it: milliseconds below a second, tenths below ten, then seconds.
fn rounded(length: Duration) -> Duration {
    let unit: u128 = match length.as_millis() {
        0..1_000 => 1,
        1_000..10_000 => 100,
        _ => 1_000,
    };
    let millis = (length.as_millis() + unit / 2) / unit * unit;
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

/// How long a step may take by the limits that the file sets, its gate included; `None` where it sets none.
pub(super) fn bound(plan: &Plan, place: usize) -> Option<Duration> {
    let step = plan.step(place);
    let asks = match &step.approval {
        Some(approval) if approval.on_timeout == OnTimeout::Hold => return None,
        Some(approval) => approval.within?.0,
        None => Duration::ZERO,
    };
    Some(asks.saturating_add(acts(plan, place, step)?))
}

fn acts(plan: &Plan, place: usize, step: &Step) -> Option<Duration> {
    let deadline = step.deadline.map(|deadline| deadline.0);
    let by_itself = match &step.does {
        Does::Gate | Does::Decide(_) => Some(Duration::ZERO),
        Does::Manual(_) => None,
        // How many items there are, only the run can tell.
        _ if step.for_each.is_some() => None,
        Does::Call(_) => {
            let own = plan.called_runbook(place).and_then(|called| called.timeout);
            let limits = [step.timeout, own].into_iter().flatten().map(|limit| limit.0);
            let called = plan.called_ahead(place, indexmap::IndexMap::new());
            let steps = called.map(|called| whole(&called)).filter(|(_, without)| *without == 0).map(|(all, _)| all);
            limits.chain(steps).min()
        }
        Does::Action { .. } => match (&step.until, step.timeout) {
            (Some(until), timeout) => {
                Some(until.within.0.saturating_add(timeout.map_or(Duration::ZERO, |limit| limit.0)))
            }
            (None, Some(timeout)) => Some(tries(timeout.0, step.retry.as_deref())),
            (None, None) => None,
        },
    };
    [deadline, by_itself].into_iter().flatten().min()
}

/// All tries, with the longest waits between them.
fn tries(timeout: Duration, retry: Option<&Retry>) -> Duration {
    let Some(retry) = retry else { return timeout };
    let mut all = timeout;
    let mut wait = retry.delay.0;
    for _ in 1..retry.attempts {
        let longest = retry.max_delay.map_or(wait, |most| wait.min(most.0));
        all = all.saturating_add(longest).saturating_add(timeout);
        let millis = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        wait = Duration::from_millis(millis.saturating_mul(retry.backoff.0) / 1000);
    }
    all
}

/// The longest way through the steps by their limits, and how many steps have none.
pub(super) fn whole(plan: &Plan) -> (Duration, usize) {
    let mut ends: Vec<Duration> = vec![Duration::ZERO; plan.len()];
    let mut without = 0;
    let (mut ordinary, mut finals) = (Duration::ZERO, Duration::ZERO);
    for place in plan.waves().into_iter().flatten() {
        let needs = plan.step(place).needs.keys().filter_map(|id| plan.place(id));
        let begins = needs.filter(|at| plan.is_final(*at) == plan.is_final(place)).map(|at| ends[at]).max();
        let bound = bound(plan, place);
        without += usize::from(bound.is_none());
        ends[place] = begins.unwrap_or_default().saturating_add(bound.unwrap_or_default());
        let last = if plan.is_final(place) { &mut finals } else { &mut ordinary };
        *last = (*last).max(ends[place]);
    }
    let limit = plan.runbook().timeout.map_or(Duration::MAX, |limit| limit.0);
    (ordinary.min(limit).saturating_add(finals), without)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(all: &[u64]) -> Vec<Duration> {
        all.iter().map(|seconds| Duration::from_secs(*seconds)).collect()
    }

    #[test]
    fn the_median_is_the_middle_and_the_range_the_ends() {
        let told = |all: &[u64]| {
            Takes::of(&seconds(all))
                .map(|takes| format!("{} {} {} {}", takes.runs, takes.median, takes.fastest, takes.slowest))
        };
        assert_eq!(told(&[]), None);
        assert_eq!(told(&[30]).as_deref(), Some("1 30s 30s 30s"));
        assert_eq!(told(&[90, 10, 20]).as_deref(), Some("3 20s 10s 1m30s"));
        assert_eq!(told(&[40, 10, 20, 90]).as_deref(), Some("4 30s 10s 1m30s"));
    }

    #[test]
    fn lengths_are_told_as_exactly_as_anybody_reads_them() {
        let told = |millis| HumanDuration(rounded(Duration::from_millis(millis))).to_string();
        assert_eq!([told(3), told(1_234), told(12_700)], ["3ms", "1s200ms", "13s"]);
    }

    #[test]
    fn waits_between_tries_count_and_have_an_end() {
        let retry = Retry {
            attempts: 4,
            delay: HumanDuration(Duration::from_secs(5)),
            backoff: crate::runbook::Backoff(2000),
            max_delay: Some(HumanDuration(Duration::from_secs(8))),
            jitter: false,
            on: Vec::new(),
        };
        assert_eq!(tries(Duration::from_secs(60), Some(&retry)), Duration::from_secs(4 * 60 + 5 + 8 + 8));
        assert_eq!(tries(Duration::from_secs(60), None), Duration::from_secs(60));
    }
}
