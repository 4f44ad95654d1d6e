//! The tree that a run grows into: steps of the runbook, items of loops, steps of called runbooks.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use super::event::{Item, Outcome};
use crate::base::StepPath;
use crate::plan::Plan;

/// A step as it stands in a run: which step of which runbook, and which item of it.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub path: StepPath,
    pub frame: usize,
    /// Its place in the plan of its frame.
    pub place: usize,
    /// The loop that it is an item of, and which one.
    pub item: Option<(usize, usize)>,
    /// Does it belong to the final steps of the run, or stand inside one of them?
    pub is_final: bool,
}

/// A runbook being followed: the run's own, or a called one.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    pub plan: Arc<Plan>,
    /// The node that calls it.
    pub caller: Option<usize>,
    /// The nodes of its steps.
    pub nodes: Range<usize>,
    /// Which secret its names stand for.
    pub secrets: Arc<BTreeMap<String, String>>,
    /// Ordinary steps, and once they have begun the final ones, that have not ended.
    pub unended: BTreeSet<usize>,
    pub first_failure: Option<usize>,
    pub is_undone: bool,
    pub finally: Option<Outcome>,
}

impl Frame {
    pub(super) fn ordinary(&self) -> Range<usize> {
        self.nodes.start..self.nodes.start + self.plan.runbook().steps.len()
    }

    pub(super) fn finals(&self) -> Range<usize> {
        self.ordinary().end..self.nodes.end
    }
}

/// What is inside a step.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Inside {
    Loop(Loop),
    /// The steps of a called runbook: which frame.
    Call(usize),
}

/// A loop under way, or over.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Loop {
    pub items: Arc<Vec<Item>>,
    /// The nodes of its items.
    pub nodes: Range<usize>,
    /// How many were let begin.
    pub admitted: usize,
    /// How many have begun and not ended.
    pub active: usize,
    pub succeeded: usize,
    pub failed: usize,
    pub skipped: usize,
    /// Items that a person skipped before they were let begin.
    pub ahead: BTreeSet<usize>,
    /// How many failures end it.
    pub tolerates: usize,
    /// How many may be under way at once.
    pub most: usize,
    /// Until how many were let begin the present wave lasts; only with a ramp.
    pub wave: Option<(usize, usize)>,
    pub first_failure: Option<usize>,
}

impl Loop {
    pub(super) fn ended(&self) -> usize {
        self.succeeded + self.failed + self.skipped
    }
}
