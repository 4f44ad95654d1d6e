//! Numbers from which a population follows: spread evenly, kept as bits, paced, and some that look like chance.

use std::time::Duration;

use crate::base::Timestamp;
use crate::base::clock::after;

/// Numbers spread evenly over others: of `each` there are so many thousandths.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spread {
    thousandths: u64,
}

impl Spread {
    pub(super) fn of(average: f64) -> Self {
        // Negative and absurd settings are held to what there can be.
        Self { thousandths: (average.clamp(0.0, 1_000_000.0) * 1000.0).round() as u64 }
    }

    /// How many the first `count` have together; also the number of the first one after them.
    pub(super) fn before(self, count: u32) -> u32 {
        u32::try_from(u64::from(count) * self.thousandths / 1000).unwrap_or(u32::MAX)
    }

    /// Whose is this one?
    pub(super) fn whose(self, number: u32) -> u32 {
        let whose = ((u64::from(number) + 1) * 1000).div_ceil(self.thousandths.max(1)) - 1;
        u32::try_from(whose).unwrap_or(u32::MAX)
    }

    /// Is this one among the chosen part?
    pub(super) fn takes(self, number: u32) -> bool {
        self.before(number.saturating_add(1)) > self.before(number)
    }
}

/// When something happens again and again.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    every: Option<Duration>,
    pub(super) done: u32,
}

impl Pace {
    pub(super) fn of(per_minute: f64) -> Self {
        let every = (per_minute > 0.0).then(|| Duration::from_secs_f64(60.0 / per_minute.min(1_000_000.0)));
        Self { every, done: 0 }
    }

    pub(super) fn next(&self, starts: Timestamp) -> Option<Timestamp> {
        Some(after(starts, self.every?.saturating_mul(self.done.saturating_add(1))))
    }
}

/// As many bits as needed; those that nobody set are off.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    pub(super) fn get(&self, at: u32) -> bool {
        self.0.get(at as usize / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    pub(super) fn set(&mut self, at: u32, on: bool) {
        let word = at as usize / 64;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        if on {
            self.0[word] |= 1 << (at % 64);
        } else {
            self.0[word] &= !(1 << (at % 64));
        }
    }

    /// How many bytes they take.
    #[cfg(test)]
    pub(super) fn bytes(&self) -> usize {
        self.0.len() * 8
    }

    /// How many are on here and off there.
    pub(super) fn beyond(&self, other: &Self) -> u32 {
        let there = |at: usize| other.0.get(at).copied().unwrap_or(0);
        self.0.iter().enumerate().map(|(at, word)| (word & !there(at)).count_ones()).sum()
    }
}

/// Some number below `limit`, the same for the same `number` and `salt`: `SplitMix64`.
pub(super) fn any(number: u32, salt: u64, limit: u32) -> u32 {
    let mut mixed = (u64::from(number) + salt * 0x1_0000_0000).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    u32::try_from((mixed ^ (mixed >> 31)) % u64::from(limit.max(1))).unwrap_or_default()
}

pub(super) fn count<T>(found: impl Iterator<Item = T>) -> u32 {
    u32::try_from(found.count()).unwrap_or(u32::MAX)
}
