//! What follows a try: the end, another try, or another look.

use std::time::Duration;

use super::event::{AttemptResult, Next};
use crate::action::{ActionError, Effect, ErrorKind, Replay};
use crate::base::{Attempt, Timestamp, clock};
use crate::plan::Facts;
use crate::runbook::{GivingUp, Retry, Step, Undo, Until};

/// A try that ended, and what bears on what follows.
#[derive(Debug, Clone, Copy)]
pub struct Tried<'t> {
    /// The step as it was written.
    pub step: &'t Step,
    /// What its action is.
    pub facts: &'t Facts,
    /// Which try.
    pub attempt: Attempt,
    /// When the first try began.
    pub began: Timestamp,
    /// When this one ended.
    pub now: Timestamp,
    /// Decides the jitter.
    pub entropy: u64,
    /// Is the time of the step, or of something around it, up?
    pub is_out_of_time: bool,
}

/// What follows a try. `met` says whether `until` holds, where the step has one.
pub fn after_attempt(tried: &Tried<'_>, result: AttemptResult, met: Option<bool>) -> (AttemptResult, Next) {
    let Tried { step, now, began, is_out_of_time, .. } = *tried;
    let look_again = |until: &Until| look_again(until, began, now).filter(|_| !is_out_of_time);
    match result {
        AttemptResult::Succeeded { outputs } => match (&step.until, met) {
            (Some(until), Some(false)) => match (look_again(until), until.on_timeout) {
                (Some(at), _) => (AttemptResult::Succeeded { outputs }, Next::Again { at }),
                (None, GivingUp::Succeed) => (AttemptResult::Succeeded { outputs }, Next::End),
                (None, GivingUp::Fail) => {
                    let mut error = not_met(until);
                    error.outputs = Some(Box::new(outputs));
                    (AttemptResult::Failed { error }, Next::End)
                }
            },
            _ => (AttemptResult::Succeeded { outputs }, Next::End),
        },
        AttemptResult::Failed { mut error } => {
            if is_out_of_time && error.kind == ErrorKind::Cancelled {
                // It was told to stop in the middle.
                error.kind = ErrorKind::Timeout;
                "its time was up".clone_into(&mut error.message);
                error.uncertain = true;
            }
            if is_doubtful(&error, tried.facts.effect, tried.facts.replay) {
                return (AttemptResult::Failed { error }, Next::Doubt);
            }
            error.uncertain &= tried.facts.effect == Effect::Write;
            let again = try_again(step.retry.as_deref(), tried, &error)
                // While something is awaited, a failure that may pass only means "not yet".
                .or_else(|| step.until.as_deref().filter(|_| error.kind.is_transient()).and_then(look_again));
            (AttemptResult::Failed { error }, again.map_or(Next::End, |at| Next::Again { at }))
        }
    }
}

/// What follows a try of an undo that failed.
pub fn after_undo(tried: &Tried<'_>, error: &ActionError) -> Next {
    let (retry, replay) = match &tried.step.undo {
        Some(Undo::Action { retry: Some(retry), .. }) => (Some(retry.as_ref()), tried.facts.undo),
        Some(Undo::Action { .. }) => (tried.step.retry.as_deref(), tried.facts.undo),
        Some(Undo::Auto) | None => (tried.step.retry.as_deref(), Some(Replay::Safe)),
    };
    if is_doubtful(error, Effect::Write, replay.unwrap_or(Replay::Once)) {
        return Next::Doubt;
    }
    try_again(retry, tried, error).map_or(Next::End, |at| Next::Again { at })
}

/// Must it be found out what became of it, before it is tried again or given up?
fn is_doubtful(error: &ActionError, effect: Effect, replay: Replay) -> bool {
    error.uncertain && effect == Effect::Write && matches!(replay, Replay::Probe | Replay::Once)
}

fn not_met(until: &Until) -> ActionError {
    ActionError::new(ErrorKind::NotMet, format!("`{}` did not become true within {}", until.condition, until.within))
}

fn look_again(until: &Until, began: Timestamp, now: Timestamp) -> Option<Timestamp> {
    let at = clock::after(now, until.every.0);
    (at <= clock::after(began, until.within.0)).then_some(at)
}

fn try_again(retry: Option<&Retry>, tried: &Tried<'_>, error: &ActionError) -> Option<Timestamp> {
    let retry = retry?;
    let attempt = tried.attempt;
    if attempt.0 >= retry.attempts || error.kind == ErrorKind::Cancelled || tried.is_out_of_time {
        return None;
    }
    let covered = if retry.on.is_empty() {
        error.kind.is_transient()
    } else {
        retry.on.iter().any(|kind| kind == error.kind.as_str())
    };
    // What the other side asks for goes over what was computed here.
    let wait = error
        .retry_after()
        .map_or_else(|| delay(retry, attempt, tried.entropy), |asked| asked.max(delay(retry, attempt, 0)));
    covered.then(|| clock::after(tried.now, wait))
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
