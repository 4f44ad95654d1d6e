//! Which message fared how: told from its time, the endpoint's past, and what was ordered since.
//!
//! Nothing is kept for each message but the tries that were ordered. The rest follows from the setting, so any number of
//! messages costs nothing until somebody asks, and a replay of the record comes to the same.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::setting::SvixSetting;
use crate::base::Timestamp;
use crate::base::clock::{after, before, until};
use crate::drill::observed::WriteKind;

/// When Svix tries again by itself, counted from the first try. Source: Svix's own documentation of retries.
const RETRIES: [Duration; 7] = [
    Duration::from_secs(5),
    Duration::from_secs(5 + 300),
    Duration::from_secs(305 + 1800),
    Duration::from_secs(2105 + 7200),
    Duration::from_secs(9305 + 18_000),
    Duration::from_secs(27_305 + 36_000),
    Duration::from_secs(63_305 + 36_000),
];

/// A message's number: that of the user it tells of.
pub(in crate::drill) type Message = u32;

/// What a request changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::drill) enum Change {
    /// The endpoint was enabled or disabled.
    Endpoint { disabled: bool },
    /// A task was ordered.
    Ordered { kind: TaskKind, since: Timestamp, until: Timestamp, key: Option<String> },
    /// One message is sent once more.
    Resent { message: Message, key: Option<String> },
}

impl Change {
    /// As what kind of write it counts.
    pub(in crate::drill) fn kind(&self) -> WriteKind {
        match self {
            Self::Endpoint { .. } => WriteKind::EndpointSwitched,
            Self::Ordered { .. } => WriteKind::ReplayOrdered,
            Self::Resent { .. } => WriteKind::MessageResent,
        }
    }
}

/// What a task sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::drill) enum TaskKind {
    /// What failed.
    Recover,
    /// What was never tried.
    ReplayMissing,
}

/// A task.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) kind: TaskKind,
    pub(super) ordered: Timestamp,
    pub(super) messages: u32,
    pub(super) ends: Timestamp,
}

/// How a message fared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fared {
    Arrived,
    /// It failed, and Svix will try again by itself.
    Pending,
    Failed,
    /// It was never tried.
    Missing,
}

/// A try of sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Try {
    pub(super) at: Timestamp,
    pub(super) arrived: bool,
    /// Did somebody order it?
    pub(super) by_hand: bool,
}

/// All messages of the endpoint.
#[derive(Debug, Clone)]
pub(in crate::drill) struct Mail {
    pub(super) setting: SvixSetting,
    starts: Timestamp,
    /// From when on it was enabled or disabled; before the first it was enabled.
    switched: Vec<(Timestamp, bool)>,
    pub(super) tasks: Vec<Task>,
    ordered: BTreeMap<Message, Vec<Timestamp>>,
    /// Those that are gone.
    lost: std::ops::Range<Message>,
    /// What was answered to which idempotency key: the task's number, where there was one.
    pub(super) keys: BTreeMap<String, Option<usize>>,
}

impl Mail {
    /// As it is at the start. `sent` are all messages' times, oldest first.
    pub(in crate::drill) fn new(setting: SvixSetting, starts: Timestamp, sent: &[Timestamp]) -> Self {
        let switched = setting.disabled_for.map(|ago| (before(starts, ago.0), true)).into_iter().collect();
        let (tasks, ordered, keys) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        let mut mail = Self { setting, starts, switched, tasks, ordered, keys, lost: 0..0 };
        let first = sent.partition_point(|at| mail.works(*at) && !mail.disabled(*at));
        let first = Message::try_from(first).unwrap_or(Message::MAX);
        mail.lost = first..first.saturating_add(mail.setting.lost);
        mail
    }

    /// Is the endpoint disabled at this time?
    pub(super) fn disabled(&self, at: Timestamp) -> bool {
        self.switched.iter().rev().find(|(from, _)| *from <= at).is_some_and(|(_, disabled)| *disabled)
    }

    /// When the endpoint was last switched.
    pub(super) fn switched_at(&self) -> Option<Timestamp> {
        self.switched.last().map(|(at, _)| *at)
    }

    /// Does the receiver take what is sent to it at this time?
    fn works(&self, at: Timestamp) -> bool {
        at < before(self.starts, self.setting.failing_for.0) || at >= after(self.starts, self.setting.works_from.0)
    }

    /// Every try of a message up to now, in order; and when Svix will try again, if it will.
    pub(super) fn tries(&self, message: Message, sent: Timestamp, now: Timestamp) -> (Vec<Try>, Option<Timestamp>) {
        let mut tries = Vec::new();
        let mut next = None;
        if !self.is_kept(message) {
            return (tries, next);
        }
        if !self.disabled(sent) {
            let mut at = sent;
            let mut retries = RETRIES.iter();
            loop {
                if at > now {
                    next = Some(at);
                    break;
                }
                // What waits for its next try when the endpoint is disabled has failed.
                if self.disabled(at) {
                    break;
                }
                let arrived = self.works(at);
                tries.push(Try { at, arrived, by_hand: false });
                match retries.next() {
                    Some(wait) if !arrived => at = after(sent, *wait),
                    Some(_) | None => break,
                }
            }
        }
        for at in self.ordered.get(&message).into_iter().flatten().filter(|at| **at <= now) {
            tries.push(Try { at: *at, arrived: self.works(*at) && !self.disabled(*at), by_hand: true });
        }
        tries.sort_by_key(|tried| tried.at);
        (tries, next)
    }

    /// How a message fared up to now, and when it arrived first.
    pub(super) fn fared(&self, message: Message, sent: Timestamp, now: Timestamp) -> (Fared, Option<Timestamp>) {
        let (tries, next) = self.tries(message, sent, now);
        match tries.iter().find(|tried| tried.arrived) {
            Some(arrived) => (Fared::Arrived, Some(arrived.at)),
            None if tries.is_empty() => (Fared::Missing, None),
            None if next.is_some() => (Fared::Pending, None),
            None => (Fared::Failed, None),
        }
    }

    /// When a message arrived, if it did by now.
    pub(in crate::drill) fn arrived(&self, message: Message, sent: Timestamp, now: Timestamp) -> Option<Timestamp> {
        self.fared(message, sent, now).1
    }

    /// Is there such a message at Svix?
    pub(super) fn is_kept(&self, message: Message) -> bool {
        !self.lost.contains(&message)
    }

    /// Applies a change. `sent` are all messages' times, oldest first.
    pub(in crate::drill) fn change(&mut self, change: &Change, now: Timestamp, sent: &[Timestamp]) {
        match change {
            Change::Endpoint { disabled } => self.switched.push((now, *disabled)),
            Change::Resent { message, key } => {
                self.ordered.entry(*message).or_default().push(after(now, Duration::from_secs(1)));
                self.keys.extend(key.clone().map(|key| (key, None)));
            }
            Change::Ordered { kind, since, until, key } => {
                let chosen: Vec<Message> = (0..)
                    .zip(sent)
                    .filter(|(message, at)| {
                        (*since..=*until).contains(*at)
                            && self.is_kept(*message)
                            && match self.fared(*message, **at, now).0 {
                                Fared::Failed | Fared::Pending => *kind == TaskKind::Recover,
                                Fared::Missing => *kind == TaskKind::ReplayMissing,
                                Fared::Arrived => false,
                            }
                    })
                    .map(|(message, _)| message)
                    .collect();
                let batch = self.setting.batch.max(1);
                let mut ends = after(now, self.setting.batch_time.0);
                for (place, message) in (0_u32..).zip(&chosen) {
                    let at = after(now, self.setting.batch_time.0 * (place / batch + 1));
                    self.ordered.entry(*message).or_default().push(at);
                    ends = ends.max(at);
                }
                let messages = u32::try_from(chosen.len()).unwrap_or(u32::MAX);
                self.keys.extend(key.clone().map(|key| (key, Some(self.tasks.len()))));
                self.tasks.push(Task { kind: *kind, ordered: now, messages, ends });
            }
        }
    }

    /// How many messages a task has sent by now.
    pub(super) fn sent_by(&self, task: &Task, now: Timestamp) -> u32 {
        let step = self.setting.batch_time.0.max(Duration::from_millis(1)).as_millis();
        let batches = until(task.ordered, now).as_millis() / step;
        let sent = batches.saturating_mul(u128::from(self.setting.batch.max(1)));
        u32::try_from(sent).unwrap_or(u32::MAX).min(task.messages)
    }
}
