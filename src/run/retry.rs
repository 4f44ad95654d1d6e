//! What follows a try: the end, another try, or another look.

use std::time::Duration;

use super::event::{AttemptResult, Next};
use crate::action::{ActionError, ErrorKind};
use crate::base::{Attempt, Timestamp, clock};
use crate::runbook::{Retry, Step, Until};

/// What follows a try that ended at `now`. `met` says whether `until` holds, where the step has one; `began` is the
/// start of its first try; `entropy` decides the jitter.
pub fn after_attempt(
    step: &Step,
    attempt: Attempt,
    result: AttemptResult,
    met: Option<bool>,
    (began, now): (Timestamp, Timestamp),
    entropy: u64,
) -> (AttemptResult, Next) {
    match result {
        AttemptResult::Succeeded { outputs } => match (&step.until, met) {
            (Some(until), Some(false)) => look_again(until, began, now).map_or_else(
                || {
                    let mut error = not_met(until);
                    error.outputs = Some(Box::new(outputs.clone()));
                    (AttemptResult::Failed { error }, Next::End)
                },
                |at| (AttemptResult::Succeeded { outputs: outputs.clone() }, Next::Again { at }),
            ),
            _ => (AttemptResult::Succeeded { outputs }, Next::End),
        },
        AttemptResult::Failed { error } => {
            let at = try_again(step, attempt, &error, now, entropy)
                // While something is awaited, a failure that may pass only means "not yet".
                .or_else(|| {
                    step.until
                        .as_ref()
                        .filter(|_| error.kind.is_transient())
                        .and_then(|until| look_again(until, began, now))
                });
            (AttemptResult::Failed { error }, at.map_or(Next::End, |at| Next::Again { at }))
        }
    }
}

fn not_met(until: &Until) -> ActionError {
    ActionError::new(ErrorKind::NotMet, format!("`{}` did not become true within {}", until.condition, until.within))
}

fn look_again(until: &Until, began: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let at = clock::after(now, until.every.0);
    (at <= clock::after(began, until.within.0)).then_some(at)
}

fn try_again(step: &Step, attempt: Attempt, error: &ActionError, now: Timestamp, entropy: u64) -> Option<Timestamp> {
    let retry = step.retry.as_ref()?;
    if attempt.0 >= retry.attempts || error.kind == ErrorKind::Cancelled {
        return None;
    }
    let covered = if retry.on.is_empty() {
        error.kind.is_transient()
    } else {
        retry.on.iter().any(|kind| kind == error.kind.as_str())
    };
    // What the other side asks for goes over what was computed here.
    let wait =
        error.retry_after().map_or_else(|| delay(retry, attempt, entropy), |asked| asked.max(delay(retry, attempt, 0)));
    covered.then(|| clock::after(now, wait))
}

/// The wait before the try after `attempt`, in whole milliseconds: every machine computes the same.
fn delay(retry: &Retry, attempt: Attempt, entropy: u64) -> Duration {
    let limit = retry.max_delay.map_or(u64::MAX, |limit| u64::try_from(limit.0.as_millis()).unwrap_or(u64::MAX));
    let mut wait = u64::try_from(retry.delay.0.as_millis()).unwrap_or(u64::MAX).min(limit);
    for _ in 1..attempt.0 {
        if wait >= limit {
            break;
        }
        wait = (wait.saturating_mul(retry.backoff.0) / 1000).min(limit);
    }
    if retry.jitter && wait > 1 {
        let half = wait / 2;
        wait = half + entropy % (wait - half + 1);
    }
    Duration::from_millis(wait)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::HumanDuration;
    use crate::runbook::Backoff;
    use proptest::prelude::*;

    fn retry(jitter: bool) -> Retry {
        Retry {
            attempts: 5,
            delay: HumanDuration(Duration::from_secs(5)),
            backoff: Backoff(2000),
            max_delay: Some(HumanDuration(Duration::from_secs(30))),
            jitter,
            on: Vec::new(),
        }
    }

    #[test]
    fn waits_grow_to_their_limit() {
        let waits: Vec<u64> = (1..6).map(|n| delay(&retry(false), Attempt(n), 0).as_secs()).collect();
        assert_eq!(waits, [5, 10, 20, 30, 30]);
    }

    proptest! {
        #[test]
        fn jitter_stays_between_half_and_all(attempt in 1u32..1000, entropy: u64) {
            let full = delay(&retry(false), Attempt(attempt), 0);
            let varied = delay(&retry(true), Attempt(attempt), entropy);
            prop_assert!(varied >= full / 2 && varied <= full);
        }
    }
}
