//! Repeats inside an action: for those that make many requests, each of which must not fail the whole.

use std::time::Duration;

use serde_json::Value;

use super::{ActionContext, ActionError, ErrorKind, refusal};
use crate::base::HumanDuration;
use crate::base::clock::{after, until};
use crate::http::{HttpError, Outcome, Repeat, Request, Response};

/// How often and how long a request is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// How the request bears being sent twice.
    pub class: Repeat,
    /// How many tries in all, at least one.
    pub tries: u32,
    /// The wait after the first try. Each further one doubles it.
    pub delay: Duration,
    /// The longest wait of our own choice. A vendor's `Retry-After` may ask for more.
    pub max_delay: Duration,
    /// From the first try to the beginning of the last, by the clock of the run. A longer `Retry-After` ends it at once.
    pub deadline: Duration,
}

impl Patience {
    /// Five tries within five minutes, waiting a second at first and half a minute at most.
    pub fn of(class: Repeat) -> Self {
        Self {
            class,
            tries: 5,
            delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(30),
            deadline: Duration::from_secs(300),
        }
    }

    /// Our own wait after a try: it doubles up to its longest, and is varied between half and all of it so that steps do
    /// not come in step. The variation comes from what is sent, not from chance: the same run waits the same.
    fn own_wait(&self, attempt: u32, seed: &str) -> Duration {
        let doubled = self.delay.saturating_mul(2_u32.saturating_pow(attempt.saturating_sub(1)));
        let wait = doubled.min(self.max_delay);
        wait / 2 + varied(wait / 2, attempt, seed)
    }
}

/// A part of `most`, the same for the same attempt and seed.
fn varied(most: Duration, attempt: u32, seed: &str) -> Duration {
    // FNV-1a, and the mixing step of SplitMix64: neighbours must not get the same.
    let hash = seed
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mut mixed = hash.wrapping_add(u64::from(attempt).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let thousandths = u32::try_from((mixed ^ (mixed >> 31)) % 1001).unwrap_or(1000);
    most * thousandths / 1000
}

/// A try that did not get through, and may be followed by another.
struct Missed {
    error: ActionError,
    may_repeat: bool,
}

impl ActionContext {
    /// Sends a request again and again, as its class allows, until an answer comes that is to be kept: a success, or a
    /// refusal that asking again cannot change. Waits as long as the vendor asks, or else a growing while.
    ///
    /// Fails with the last failure when tries or time have run out; `uncertain` then says whether any of the tries may have
    /// done it. Maintenance mode is an answer that is kept: see [`Repeat::may`].
    pub async fn send_patiently(&self, request: Request, patience: Patience) -> Result<Response, ActionError> {
        self.patiently(request, patience, |response| match self.judged(&response, patience.class) {
            Some(missed) => Err(missed),
            None => Ok(response),
        })
        .await
    }

    /// [`ActionContext::call`], sent again as its class allows. An answer that is no whole JSON is no answer.
    pub async fn call_patiently(&self, request: Request, patience: Patience) -> Result<Value, ActionError> {
        self.patiently(request, patience, |response| match self.judged(&response, patience.class) {
            Some(missed) => Err(missed),
            None => self.json(&response).map_err(|error| {
                let garbled = error.kind == ErrorKind::InvalidResponse;
                let may_repeat = garbled && patience.class.may(Outcome::Garbled);
                Missed { error: if garbled { error.uncertain() } else { error }, may_repeat }
            }),
        })
        .await
    }

    /// Is the answer one that asking again may change?
    fn judged(&self, response: &Response, class: Repeat) -> Option<Missed> {
        if response.is_success() {
            return None;
        }
        let error = refusal(response, self.now());
        let outcome = Outcome::Answered { status: response.status, code: error.code.as_deref() };
        let may_repeat = class.may(outcome);
        may_repeat.then_some(Missed { error, may_repeat })
    }

    async fn patiently<T>(
        &self,
        request: Request,
        patience: Patience,
        judge: impl Fn(Response) -> Result<T, Missed>,
    ) -> Result<T, ActionError> {
        let end = after(self.now(), patience.deadline);
        let seed = format!("{} {} {}", self.target().key, request.method, request.url);
        let mut in_doubt = false;
        let mut attempt = 1;
        loop {
            let turn = self.send_before(request.clone(), end).await;
            let answer = turn.map_err(|error| if in_doubt { error.uncertain() } else { error })?;
            let missed = match answer {
                Ok(response) => match judge(response) {
                    Ok(kept) => return Ok(kept),
                    Err(missed) => missed,
                },
                Err(error) => {
                    let may_repeat = patience.class.may(outcome_of(&error));
                    Missed { error: error.into(), may_repeat }
                }
            };
            in_doubt |= missed.error.uncertain;
            let own = patience.own_wait(attempt, &seed);
            // Not on the second at which the vendor opens again, together with everybody else.
            let asked = missed.error.retry_after().map(|wait| wait + varied(patience.delay, attempt, &seed));
            let wait = asked.unwrap_or(own).max(own);
            if !missed.may_repeat || attempt >= patience.tries || wait > until(self.now(), end) {
                return Err(if in_doubt { missed.error.uncertain() } else { missed.error });
            }
            attempt += 1;
            let (error, wait_told, tries) = (&missed.error, HumanDuration(wait).rounded(), patience.tries);
            self.progress(format!("{error}; waits {wait_told}, then try {attempt} of {tries}"));
            self.sleep(wait).await?;
        }
    }
}

fn outcome_of(error: &HttpError) -> Outcome<'static> {
    match error {
        HttpError::Timeout { sent, .. } | HttpError::Network { sent, .. } => Outcome::Silent { sent: *sent },
        HttpError::Broken { .. } => Outcome::Garbled,
        // A second answer would be as large.
        HttpError::TooLarge { .. } | HttpError::Refused { .. } | HttpError::BadRequest(_) | HttpError::Secret(_) => {
            Outcome::Ours
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_waits_double_within_their_bounds_and_differ_from_step_to_step() {
        let patience = Patience { tries: 9, ..Patience::of(Repeat::Always) };
        let mut longest = Duration::from_secs(1);
        for attempt in 1..9 {
            let wait = patience.own_wait(attempt, "run/step GET /x");
            assert!(wait >= longest / 2 && wait <= longest, "{attempt}: {wait:?}");
            assert_eq!(wait, patience.own_wait(attempt, "run/step GET /x"));
            assert_ne!(wait, patience.own_wait(attempt, "run/other GET /x"));
            longest = (longest * 2).min(patience.max_delay);
        }
    }
}
