//! In which order things are undone: whatever was built on a step is undone before it, and what stands side by side is
//! undone side by side.

use std::collections::{BTreeMap, BTreeSet};

use super::state::{Inside, RunState, UndoState};
use crate::action::Replay;
use crate::runbook::Undo;

/// A rollback under way.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Rollback {
    /// The frame that is undone as a whole; `None` when only some steps are.
    pub frame: Option<usize>,
    /// The frame that holds them.
    pub within: usize,
    /// Steps that may be undone now.
    pub due: BTreeSet<usize>,
    /// Steps that are to be undone and are not.
    planned: BTreeSet<usize>,
    /// How much stands before a node: what was built on it, and the step around it.
    before: BTreeMap<usize, usize>,
    /// How many nodes inside a node are not out of the way.
    inside: BTreeMap<usize, usize>,
}

impl Rollback {
    /// The steps of `planned`, undone in order. `frame` is the frame that holds them all.
    pub(super) fn new(state: &RunState, frame: usize, is_whole: bool, planned: BTreeSet<usize>) -> Self {
        let mut rollback = Self {
            frame: is_whole.then_some(frame),
            within: frame,
            due: BTreeSet::new(),
            planned,
            before: BTreeMap::new(),
            inside: BTreeMap::new(),
        };
        let mut free = Vec::new();
        rollback.enter(state, frame, 0, &mut free);
        rollback.settle(state, free);
        rollback
    }

    /// Is everything undone that was to be?
    pub(super) fn is_over(&self) -> bool {
        self.planned.is_empty()
    }

    /// A step is undone: what it was built on may follow.
    pub(super) fn undone(&mut self, state: &RunState, node: usize) {
        self.due.remove(&node);
        if self.planned.remove(&node) {
            self.settle(state, vec![Way::Cleared(node)]);
        }
    }

    /// What is to be undone and is not.
    pub(super) fn left(self) -> BTreeSet<usize> {
        self.planned
    }

    /// Nothing more is begun.
    pub(super) fn stop(&mut self) {
        self.due.clear();
        self.planned.clear();
    }

    /// Counts what stands before each step of a frame. `around` is 1 when the step that calls it comes first.
    fn enter(&mut self, state: &RunState, frame: usize, around: usize, free: &mut Vec<Way>) {
        let frame = &state.frames[frame];
        for node in frame.nodes.clone() {
            let dependents = frame.plan.dependents(state.nodes[node].place).len();
            self.wait(state, node, dependents + around, free);
        }
    }

    fn wait(&mut self, state: &RunState, node: usize, before: usize, free: &mut Vec<Way>) {
        if before == 0 {
            free.push(Way::Open(node));
        } else {
            self.before.insert(node, before);
        }
        match state.records[node].inside.as_deref() {
            Some(Inside::Loop(looped)) => {
                self.inside.insert(node, looped.nodes.len());
                for item in looped.nodes.clone() {
                    self.wait(state, item, 1, free);
                }
            }
            Some(Inside::Call(called)) => {
                self.inside.insert(node, state.frames[*called].nodes.len());
                self.enter(state, *called, 1, free);
            }
            None => {}
        }
    }

    /// Goes on from nodes that are open or out of the way, without going deep into the stack.
    fn settle(&mut self, state: &RunState, mut ways: Vec<Way>) {
        while let Some(way) = ways.pop() {
            match way {
                Way::Open(node) if self.inside.get(&node).is_some_and(|inside| *inside > 0) => {
                    for inner in state.inside_of(node) {
                        self.less_before(inner, &mut ways);
                    }
                }
                Way::Open(node) if self.planned.contains(&node) => {
                    self.due.insert(node);
                }
                Way::Open(node) => ways.push(Way::Cleared(node)),
                Way::Cleared(node) => {
                    let place = &state.nodes[node];
                    let around = match place.item {
                        Some((of, _)) => Some(of),
                        None => {
                            for needed in state.written(node).needs.keys() {
                                if let Some(needed) = state.sibling(node, needed) {
                                    self.less_before(needed, &mut ways);
                                }
                            }
                            state.frames[place.frame].caller
                        }
                    };
                    if let Some(around) = around
                        && let Some(inside) = self.inside.get_mut(&around)
                    {
                        *inside -= 1;
                        if *inside == 0 {
                            ways.push(Way::Cleared(around));
                        }
                    }
                }
            }
        }
    }

    fn less_before(&mut self, node: usize, ways: &mut Vec<Way>) {
        if let Some(before) = self.before.get_mut(&node) {
            *before -= 1;
            if *before == 0 {
                self.before.remove(&node);
                ways.push(Way::Open(node));
            }
        }
    }
}

enum Way {
    /// Nothing stands before it any more.
    Open(usize),
    /// It stands before nothing any more.
    Cleared(usize),
}

impl RunState {
    /// Can this step be undone, and is there something to undo?
    pub(super) fn is_to_undo(&self, node: usize) -> bool {
        let record = &self.records[node];
        self.written(node).undo.is_some()
            && !self.is_loop(node)
            && !self.is_final_in_frame(node)
            && record.acted()
            && match record.undo {
                Some(UndoState::Undone(_)) => false,
                // A run that is over may be undone once more, by somebody who has removed the cause.
                Some(UndoState::Failed(_)) => self.outcome.is_some(),
                _ => true,
            }
    }

    /// Is doing its undo twice harmless?
    pub(super) fn is_undo_repeatable(&self, node: usize) -> bool {
        let by_itself = matches!(self.written(node).undo, Some(Undo::Auto));
        by_itself || matches!(self.facts_at(node).undo, Some(Replay::Safe | Replay::Keyed))
    }

    /// Everything to undo in a frame, at any depth; not its final steps, nor those of what it calls.
    pub(super) fn to_undo_in(&self, frame: usize) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        for node in self.frames[frame].ordinary() {
            self.to_undo_at(node, &mut found);
        }
        found
    }

    pub(super) fn to_undo_at(&self, node: usize, found: &mut BTreeSet<usize>) {
        if self.is_to_undo(node) {
            found.insert(node);
        }
        for inner in self.inside_of(node).filter(|inner| !self.is_final_in_frame(*inner)) {
            self.to_undo_at(inner, found);
        }
    }

    /// A step and whatever was built on it in its own runbook, as far as it is to be undone.
    pub(super) fn to_undo_from(&self, node: usize) -> BTreeSet<usize> {
        let frame = &self.frames[self.nodes[node].frame];
        let mut seen = BTreeSet::from([node]);
        let mut queue = vec![node];
        while let Some(node) = queue.pop() {
            for dependent in frame.plan.dependents(self.nodes[node].place) {
                let dependent = frame.nodes.start + dependent;
                if seen.insert(dependent) {
                    queue.push(dependent);
                }
            }
        }
        let mut found = BTreeSet::new();
        seen.into_iter().for_each(|node| self.to_undo_at(node, &mut found));
        found
    }
}
