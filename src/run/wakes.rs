//! Everything that waits for a time.

use std::collections::{BTreeMap, BTreeSet};

use crate::base::Timestamp;

/// What waits for a time: which node (the run itself is before all of them), and for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wake {
    Run,
    Node(usize, Wait),
}

/// What a node waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wait {
    Gate,
    Again,
    UndoAgain,
    Deadline,
    Measure,
}

/// Everything that waits for a time, by time and by who waits.
#[derive(Debug, Clone, Default)]
pub(super) struct Wakes {
    by_time: BTreeSet<(Timestamp, Wake)>,
    times: BTreeMap<Wake, Timestamp>,
}

impl Wakes {
    pub(super) fn set(&mut self, wake: Wake, at: Timestamp) {
        self.clear(wake);
        self.times.insert(wake, at);
        self.by_time.insert((at, wake));
    }

    pub(super) fn clear(&mut self, wake: Wake) {
        if let Some(at) = self.times.remove(&wake) {
            self.by_time.remove(&(at, wake));
        }
    }

    pub(super) fn of(&self, wake: Wake) -> Option<Timestamp> {
        self.times.get(&wake).copied()
    }

    pub(super) fn in_order(&self) -> impl Iterator<Item = (Timestamp, Wake)> {
        self.by_time.iter().copied()
    }
}
