//! How fast a vendor may be asked: one account of slots per key, shared by all steps of a run.
//!
//! It knows no clock: the time of the run is given in, so that a drill compresses it. A slot is a moment at which one
//! request may leave (a GCRA: the next slot is one interval after the last). A 429 holds back everybody who uses the key;
//! when its wait is over one request goes first, and only its success lets the others follow.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::base::Timestamp;
use crate::base::clock::{after, until};

/// The rate is counted in sixteenths of what the limit states; one is the least there is.
const WHOLE: u32 = 16;
/// How long a 429 holds back at least: one with `Retry-After: 0`, or without any, must not become a loop.
const SHORTEST_HOLD: Duration = Duration::from_secs(1);
/// How long a 429 without `Retry-After` holds back at most; each one in a row doubles the hold.
const LONGEST_GUESS: Duration = Duration::from_secs(60);
/// How often those who wait for the outcome of another's probe ask again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How many requests a vendor takes in a length of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// Whose limit: requests with one key share it.
    pub key: String,
    /// How many requests; none when the vendor states no number. Then nothing waits until a 429 comes.
    pub requests: u32,
    /// In how long.
    pub within: Duration,
}

impl Limit {
    /// So many requests in so long.
    pub fn new(key: impl Into<String>, requests: u32, within: Duration) -> Self {
        Self { key: key.into(), requests, within }
    }

    /// No stated number: only a 429 holds back.
    pub fn unstated(key: impl Into<String>) -> Self {
        Self::new(key, 0, Duration::ZERO)
    }

    /// How many may leave at once after a quiet time: a twentieth, so that a short runbook never waits.
    pub fn burst(&self) -> u32 {
        (self.requests / 20).clamp(1, 10)
    }

    /// From one slot to the next, at the whole rate.
    fn interval(&self) -> Duration {
        self.within.checked_div(self.requests).unwrap_or(Duration::ZERO)
    }
}

/// Where a request stands in line. Made anew for each request.
#[derive(Debug, Clone, Default)]
pub struct Place {
    slot: Option<Timestamp>,
    /// Slots taken before a refusal are void after it.
    age: u64,
    probes: bool,
}

#[derive(Debug)]
struct Account {
    /// The theoretical time of the next slot, were there no burst.
    next: Option<Timestamp>,
    /// The rate now, in sixteenths of the stated one.
    share: u32,
    /// When it last changed.
    changed: Timestamp,
    hold: Option<Hold>,
    /// Counts refusals.
    age: u64,
}

#[derive(Debug, Clone, Copy)]
struct Hold {
    until: Timestamp,
    pause: Duration,
    probing: bool,
}

impl Account {
    fn interval(&self, limit: &Limit) -> Duration {
        limit.interval() * WHOLE / self.share
    }

    /// How far slots may be taken ahead of their theoretical time.
    fn ahead(&self, limit: &Limit) -> Duration {
        self.interval(limit) * (limit.burst() - 1)
    }
}

/// The accounts of a run.
#[derive(Debug, Default)]
pub struct Limits {
    accounts: Mutex<BTreeMap<String, Account>>,
}

impl Limits {
    fn with<T>(&self, key: &str, now: Timestamp, act: impl FnOnce(&mut Account) -> T) -> T {
        let mut accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Account { next: None, share: WHOLE, changed: now, hold: None, age: 0 };
        act(accounts.entry(key.to_owned()).or_insert_with(new))
    }

    /// Takes a slot and says how long to wait for it. Whoever has waited asks again, with the same place: a 429 may have
    /// come meanwhile. Nothing to wait means: send now.
    pub fn reserve(&self, limit: &Limit, place: &mut Place, now: Timestamp) -> Duration {
        self.with(&limit.key, now, |account| {
            if let Some(hold) = &mut account.hold {
                place.slot = None;
                let left = until(now, hold.until);
                if !left.is_zero() {
                    return if hold.probing { left.min(LOOK_AGAIN) } else { left };
                }
                // The first to ask probes. Should nobody hear what became of it, the next one may after the same pause.
                *hold = Hold { until: after(now, hold.pause), probing: true, ..*hold };
                (place.age, place.probes) = (account.age, true);
                return Duration::ZERO;
            }
            if place.age != account.age {
                *place = Place { age: account.age, ..Place::default() };
            }
            let slot = place.slot.unwrap_or_else(|| {
                let next = account.next.unwrap_or(now).max(now);
                account.next = Some(after(next, account.interval(limit)));
                let ahead = account.ahead(limit);
                next.saturating_sub(ahead).unwrap_or(Timestamp::MIN).max(now)
            });
            place.slot = Some(slot);
            until(now, slot)
        })
    }

    /// A 429: nothing with this key before `retry_after` is over, and then half as fast as before, down to a sixteenth.
    pub fn refused(&self, limit: &Limit, place: &Place, now: Timestamp, retry_after: Option<Duration>) {
        self.with(&limit.key, now, |account| {
            // Many were on their way when the vendor began to refuse. They say together what one of them says.
            let news = place.age == account.age;
            let guess = match account.hold {
                Some(hold) if news => (hold.pause * 2).min(LONGEST_GUESS),
                Some(hold) => hold.pause,
                None => SHORTEST_HOLD,
            };
            let pause = retry_after.unwrap_or(guess).max(SHORTEST_HOLD).max(limit.interval());
            if news {
                account.age += 1;
                account.share = (account.share / 2).max(1);
                account.changed = now;
            }
            let before = account.hold.filter(|_| !news);
            let end = before.map_or(Timestamp::MIN, |hold| hold.until).max(after(now, pause));
            let probing = before.is_some_and(|hold| hold.probing);
            account.hold = Some(Hold { until: end, pause, probing });
        });
    }

    /// Any other answer: the hold ends when it was the probe's. Apart from that the rate comes back by a sixteenth, at most
    /// once in half the limit's time.
    pub fn accepted(&self, limit: &Limit, place: &Place, now: Timestamp) {
        self.with(&limit.key, now, |account| {
            if account.hold.is_some() {
                if place.probes && place.age == account.age {
                    account.hold = None;
                    account.changed = now;
                    // No burst at once: those who waited go one by one.
                    let full = after(after(now, account.ahead(limit)), account.interval(limit));
                    account.next = Some(full);
                }
                return;
            }
            if account.share < WHOLE && until(account.changed, now) >= limit.within / 2 {
                account.share += 1;
                account.changed = now;
            }
        });
    }

    /// The part of the stated rate that is used now, from a sixteenth to 1.
    pub fn share(&self, key: &str) -> f64 {
        let accounts = self.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        accounts.get(key).map_or(1.0, |account| f64::from(account.share) / f64::from(WHOLE))
    }

    /// How many requests a second leave at most now; `None` when no number is stated.
    pub fn rate(&self, limit: &Limit) -> Option<f64> {
        let stated = f64::from(limit.requests) / limit.within.as_secs_f64();
        (limit.requests > 0).then(|| stated * self.share(&limit.key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn start() -> Timestamp {
        "2026-11-23T03:00:00Z".parse().unwrap()
    }

    fn at(millis: u64) -> Timestamp {
        after(start(), Duration::from_millis(millis))
    }

    fn fifty() -> Limit {
        Limit::new("clerk", 50, Duration::from_secs(10))
    }

    const fn secs(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Sends when it may; the moment and the place it had.
    fn send(limits: &Limits, limit: &Limit, mut now: Timestamp) -> (Timestamp, Place) {
        let mut place = Place::default();
        loop {
            let wait = limits.reserve(limit, &mut place, now);
            if wait.is_zero() {
                return (now, place);
            }
            now = after(now, wait);
        }
    }

    #[test]
    fn a_few_leave_at_once_and_the_rest_in_step() {
        let limits = Limits::default();
        let waits: Vec<_> =
            (0..4).map(|_| limits.reserve(&fifty(), &mut Place::default(), start()).as_millis()).collect();
        assert_eq!(waits, [0, 0, 200, 400], "50 in 10 s are one in 200 ms, and two of them at once");
        assert!(limits.reserve(&Limit::new("other", 50, secs(10)), &mut Place::default(), start()).is_zero());
        assert!((0..99).all(|_| limits.reserve(&Limit::unstated("u"), &mut Place::default(), start()).is_zero()));
    }

    #[test]
    fn who_asks_again_keeps_the_slot() {
        let limits = Limits::default();
        let mut place = Place::default();
        let _ = (send(&limits, &fifty(), start()), send(&limits, &fifty(), start()));
        assert_eq!(limits.reserve(&fifty(), &mut place, start()).as_millis(), 200);
        assert_eq!(limits.reserve(&fifty(), &mut place, at(150)).as_millis(), 50);
        assert!(limits.reserve(&fifty(), &mut place, at(200)).is_zero());
    }

    #[test]
    fn a_refusal_holds_back_everybody_and_also_those_who_wait() {
        let limits = Limits::default();
        let (_, first) = send(&limits, &fifty(), start());
        let _ = send(&limits, &fifty(), start());
        let mut waits = Place::default();
        assert_eq!(limits.reserve(&fifty(), &mut waits, start()).as_millis(), 200);
        limits.refused(&fifty(), &first, at(100), Some(secs(7)));
        assert_eq!(limits.reserve(&fifty(), &mut waits, at(200)).as_millis(), 6900);
        assert_eq!(limits.reserve(&fifty(), &mut Place::default(), at(300)).as_millis(), 6800);
    }

    #[test]
    fn one_goes_first_and_the_others_follow_its_success_at_half_the_rate() {
        let limits = Limits::default();
        let (_, first) = send(&limits, &fifty(), start());
        limits.refused(&fifty(), &first, start(), Some(secs(7)));
        let (mut probe, mut other, mut third) = (Place::default(), Place::default(), Place::default());
        assert!(limits.reserve(&fifty(), &mut probe, at(7000)).is_zero());
        assert_eq!(limits.reserve(&fifty(), &mut other, at(7000)), LOOK_AGAIN);
        limits.accepted(&fifty(), &first, at(7100));
        assert!(!limits.reserve(&fifty(), &mut other, at(7100)).is_zero(), "an earlier request's answer says nothing");
        limits.accepted(&fifty(), &probe, at(8000));
        assert_eq!(limits.reserve(&fifty(), &mut other, at(8000)).as_millis(), 400);
        assert_eq!(limits.reserve(&fifty(), &mut third, at(8000)).as_millis(), 800);
        assert_eq!(limits.rate(&fifty()), Some(2.5));
    }

    #[test]
    fn a_probe_that_nobody_hears_of_is_followed_by_another() {
        let limits = Limits::default();
        let (_, first) = send(&limits, &fifty(), start());
        limits.refused(&fifty(), &first, start(), Some(secs(7)));
        assert!(limits.reserve(&fifty(), &mut Place::default(), at(7000)).is_zero());
        assert!(!limits.reserve(&fifty(), &mut Place::default(), at(13_999)).is_zero());
        assert!(limits.reserve(&fifty(), &mut Place::default(), at(14_000)).is_zero());
    }

    #[test]
    fn refusals_of_what_was_on_its_way_halve_the_rate_once() {
        let limits = Limits::default();
        let on_their_way: Vec<_> = (0..2).map(|_| send(&limits, &fifty(), start()).1).collect();
        for place in &on_their_way {
            limits.refused(&fifty(), place, at(50), Some(secs(2)));
        }
        assert!((limits.share("clerk") - 0.5).abs() < 1e-9);
    }

    #[test]
    fn without_a_word_from_the_vendor_the_hold_doubles_to_a_minute() {
        let limits = Limits::default();
        let limit = Limit::unstated("vercel");
        let (mut now, mut place) = send(&limits, &limit, start());
        let mut holds = Vec::new();
        for _ in 0..8 {
            limits.refused(&limit, &place, now, None);
            let (next, probe) = send(&limits, &limit, now);
            holds.push(until(now, next).as_secs());
            (now, place) = (next, probe);
        }
        assert_eq!(holds, [1, 2, 4, 8, 16, 32, 60, 60]);
    }

    #[test]
    fn the_rate_falls_to_a_sixteenth_and_comes_back_whole() {
        let limits = Limits::default();
        let mut now = start();
        for _ in 0..9 {
            let (sent, place) = send(&limits, &fifty(), now);
            limits.refused(&fifty(), &place, sent, Some(secs(10)));
            now = sent;
        }
        assert!((limits.share("clerk") - 1.0 / 16.0).abs() < 1e-9);
        let began = now;
        while limits.share("clerk") < 1.0 {
            let (sent, place) = send(&limits, &fifty(), now);
            limits.accepted(&fifty(), &place, sent);
            now = sent;
        }
        let took = until(began, now);
        assert!(took > secs(75) && took < secs(100), "fifteen steps of five seconds and the hold: {took:?}");
    }

    /// What happens next to a caller: the vendor's answer to what it sends.
    fn answers() -> impl Strategy<Value = Vec<(u64, Option<Option<u64>>)>> {
        let retry_after = proptest::option::of(0u64..20);
        proptest::collection::vec((0u64..900, proptest::option::weighted(0.2, retry_after)), 1..200)
    }

    proptest! {
        #[test]
        fn never_more_than_the_limit_and_a_burst_in_any_window(
            requests in 1u32..60, within in 1u64..15, answers in answers(), callers in 1usize..6,
        ) {
            let limits = Limits::default();
            let limit = Limit::new("k", requests, secs(within));
            let mut sent = Vec::new();
            let mut line: Vec<(Timestamp, Place)> = vec![(start(), Place::default()); callers];
            let mut answers = answers.into_iter();
            loop {
                let turn = (0..callers).min_by_key(|i| line[*i].0).unwrap();
                let (now, mut place) = line[turn].clone();
                let wait = limits.reserve(&limit, &mut place, now);
                if !wait.is_zero() {
                    line[turn] = (after(now, wait), place);
                    continue;
                }
                sent.push(now);
                let Some((pause, answer)) = answers.next() else { break };
                match answer {
                    Some(retry_after) => limits.refused(&limit, &place, now, retry_after.map(secs)),
                    None => limits.accepted(&limit, &place, now),
                }
                line[turn] = (after(now, Duration::from_millis(pause)), Place::default());
            }
            let most = usize::try_from(requests + limit.burst()).unwrap();
            for (i, from) in sent.iter().enumerate() {
                let inside = sent[i..].iter().take_while(|at| until(*from, **at) < limit.within).count();
                prop_assert!(inside <= most, "{inside} of at most {most} after {from}");
            }
        }

        #[test]
        fn a_storm_of_refusals_gets_one_probe_for_each_retry_after(
            retry_after in 1u64..30, callers in 1usize..20, requests in 0u32..100, answers_after in 0u64..900,
        ) {
            let limits = Limits::default();
            let limit = Limit::new("k", requests, secs(1));
            let (_, first) = send(&limits, &limit, start());
            limits.refused(&limit, &first, start(), Some(secs(retry_after)));
            // Each caller waits for its turn, or for an answer; an answer takes its time, and others ask meanwhile.
            let mut line: Vec<(Timestamp, Place, bool)> = vec![(start(), Place::default(), false); callers];
            let mut sent = vec![start()];
            while sent.len() < 20 {
                let turn = (0..callers).min_by_key(|i| line[*i].0).unwrap();
                let (now, mut place, is_out) = line[turn].clone();
                if is_out {
                    limits.refused(&limit, &place, now, Some(secs(retry_after)));
                    line[turn] = (now, Place::default(), false);
                    continue;
                }
                let wait = limits.reserve(&limit, &mut place, now);
                if wait.is_zero() {
                    sent.push(now);
                    line[turn] = (after(now, Duration::from_millis(answers_after)), place, true);
                } else {
                    line[turn] = (after(now, wait), place, false);
                }
            }
            prop_assert!(sent.windows(2).all(|two| until(two[0], two[1]) >= secs(retry_after)), "{sent:?}");
        }
    }
}
