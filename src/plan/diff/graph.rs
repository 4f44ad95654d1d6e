//! What comes before what: reachability over many steps at once, in sets of bits.

use super::part::Part;
use crate::runbook::Need;

/// How many sources are looked at in one go: a bound on memory, not on what can be asked.
pub(super) const AT_ONCE: usize = 4096;

/// The steps of a runbook and what each waits for.
pub(super) struct Graph {
    needs: Vec<Vec<(usize, Need)>>,
    /// Every step after all that it waits for.
    order: Vec<usize>,
}

/// Which of some sources come before each step: bit after bit in the order of the sources.
pub(super) struct Reached {
    words: usize,
    bits: Vec<u64>,
}

impl Reached {
    /// The bits of a step.
    pub(super) fn of(&self, place: usize) -> &[u64] {
        &self.bits[place * self.words..(place + 1) * self.words]
    }

    /// Does the source of this number come before the step?
    pub(super) fn has(&self, place: usize, number: usize) -> bool {
        self.of(place)[number / 64] & (1 << (number % 64)) != 0
    }
}

/// The numbers of the bits that are set.
pub(super) fn ones(bits: impl IntoIterator<Item = u64>) -> impl Iterator<Item = usize> {
    bits.into_iter().enumerate().flat_map(|(word, mut left)| {
        std::iter::from_fn(move || {
            (left != 0).then(|| {
                let bit = usize::try_from(left.trailing_zeros()).expect("below 64");
                left &= left - 1;
                word * 64 + bit
            })
        })
    })
}

impl Graph {
    pub(super) fn of(part: &Part<'_>) -> Self {
        let count = part.steps.len();
        let mut needs = Vec::with_capacity(count);
        let mut left = vec![0_usize; count];
        let mut behind = vec![Vec::new(); count];
        for (place, left) in left.iter_mut().enumerate() {
            let found: Vec<(usize, Need)> = part
                .step(place)
                .needs
                .iter()
                .filter_map(|(id, need)| Some((*part.places.get(id)?, need.clone())))
                .collect();
            *left = found.len();
            found.iter().for_each(|(before, _)| behind[*before].push(place));
            needs.push(found);
        }
        let mut order = Vec::with_capacity(count);
        order.extend((0..count).filter(|place| left[*place] == 0));
        let mut next = 0;
        while let Some(place) = order.get(next).copied() {
            next += 1;
            for after in &behind[place] {
                left[*after] -= 1;
                if left[*after] == 0 {
                    order.push(*after);
                }
            }
        }
        Self { needs, order }
    }

    /// Every step after all that it waits for.
    pub(super) fn order(&self) -> &[usize] {
        &self.order
    }

    /// What a step waits for.
    pub(super) fn needs(&self, place: usize) -> &[(usize, Need)] {
        &self.needs[place]
    }

    /// Which of these sources come before each step by links that count. It is not looked beyond a step that `stops`.
    pub(super) fn reach(
        &self,
        sources: &[usize],
        stops: impl Fn(usize) -> bool,
        counts: impl Fn(usize, &Need) -> bool,
    ) -> Reached {
        let words = sources.len().div_ceil(64);
        let mut bits = vec![0_u64; self.needs.len() * words];
        let mut numbers = vec![None; self.needs.len()];
        sources.iter().enumerate().for_each(|(number, source)| numbers[*source] = Some(number));
        for place in &self.order {
            for (before, need) in &self.needs[*place] {
                if !counts(*before, need) {
                    continue;
                }
                if !stops(*before) {
                    for word in 0..words {
                        bits[place * words + word] |= bits[before * words + word];
                    }
                }
                if let Some(number) = numbers[*before] {
                    bits[place * words + number / 64] |= 1 << (number % 64);
                }
            }
        }
        Reached { words, bits }
    }
}
