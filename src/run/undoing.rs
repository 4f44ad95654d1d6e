//! What undoing changes: a rollback begins, its undos end well or badly, and a run that was over is opened again for it.

use super::event::{Cause, Doubt, Next, UndoResult, Why};
use super::rendering::Rendering;
use super::rollback::Rollback;
use super::state::{Reopened, RunState, StepState, UndoState, Wait, Wake};
use crate::base::{StepPath, Timestamp, clock};

impl RunState {
    pub(super) fn reopen(&mut self, by: &str, only: &[StepPath]) {
        let before = self.outcome.take().unwrap_or(super::Outcome::Failed);
        let only = only.iter().filter_map(|step| self.place(step)).collect();
        self.reopened = Some(Reopened { before, only, is_over: false });
        self.cancelled = None;
        self.abandon_rollback();
        // Somebody asks for it: what could not be undone is tried once more.
        self.undo_failed = false;
        for node in 0..self.records.len() {
            if self.records[node].state == StepState::Interrupted {
                self.doubt(node);
            }
            // Between two tries it may have done something, and there will be no other: it ends with what it did.
            let record = &self.records[node];
            let between = matches!(record.state, StepState::Pausing | StepState::Ready);
            if between && record.attempts > 0 && !record.settling {
                let reason = "the run is undone".to_owned();
                self.doom(node, &Cause::Person { by: by.to_owned(), reason });
            }
            if matches!(self.records[node].undo, Some(UndoState::Failed(_))) {
                self.records[node].undo = Some(UndoState::Pausing);
            }
        }
    }

    /// A rollback is given up where it stands. Whoever goes on with it later plans it again.
    pub(super) fn abandon_rollback(&mut self) {
        let Some(rollback) = self.rollback.take() else { return };
        for node in rollback.left() {
            // Whoever plans it again may find more that must be undone before it.
            self.wakes.clear(Wake::Node(node, Wait::UndoAgain));
            let is_overdue = self.is_measure_undone_by_itself(node)
                && self.is_in_force(node)
                && self.wakes.of(Wake::Node(node, Wait::Measure)).is_none();
            if is_overdue {
                self.expired.insert(node);
            }
        }
    }

    pub(super) fn begin_rollback(&mut self, frame: usize, steps: &[StepPath], because: Why) {
        let planned = steps.iter().filter_map(|step| self.place(step)).collect();
        for step in steps {
            if let Some(node) = self.place(step) {
                self.expired.remove(&node);
            }
        }
        self.rollback = Some(Rollback::new(self, frame, because != Why::Expiry, planned));
        self.review_rollback();
    }

    pub(super) fn finish_undo(&mut self, node: usize, result: &UndoResult, next: Next) {
        if self.undoing.remove(&node) {
            self.running[self.queue_of(node)] -= 1;
        }
        match (result, next) {
            (UndoResult::Undone { undone }, _) => {
                self.records[node].undo = Some(UndoState::Undone(Box::new(undone.clone())));
                self.forget_measure(node);
                if let Some(mut rollback) = self.rollback.take() {
                    rollback.undone(self, node);
                    self.rollback = Some(rollback);
                }
            }
            (UndoResult::Failed { .. }, Next::Again { at }) if !self.undo_failed => {
                self.records[node].undo = Some(UndoState::Pausing);
                if let Some(rollback) = &mut self.rollback {
                    rollback.due.remove(&node);
                }
                self.wakes.set(Wake::Node(node, Wait::UndoAgain), at);
            }
            (UndoResult::Failed { .. }, Next::Doubt) => {
                self.records[node].undo = Some(UndoState::InDoubt);
                if let Some(rollback) = &mut self.rollback {
                    rollback.due.insert(node);
                }
            }
            (UndoResult::Failed { error }, _) => {
                self.records[node].undo = Some(UndoState::Failed(Box::new(error.clone())));
                self.undo_failed = true;
                self.expired.clear();
                if let Some(rollback) = &mut self.rollback {
                    rollback.stop();
                }
                // Nothing more is started, anywhere.
                if self.reopened.is_none() && self.frames[0].finally.is_none() {
                    self.halt(0, &Cause::Stuck);
                }
            }
        }
        self.review_rollback();
    }

    pub(super) fn resolve_undo(&mut self, node: usize, doubt: &Doubt) {
        self.records[node].doubt_asked = false;
        match doubt {
            Doubt::Happened { .. } => {
                let summary = "it had been undone already".to_owned();
                let undone = crate::action::Undone { summary, left: Vec::new() };
                self.finish_undo(node, &UndoResult::Undone { undone }, Next::End);
            }
            Doubt::Again | Doubt::DidNotHappen => {
                self.records[node].undo = Some(UndoState::Pausing);
                if let Some(rollback) = &mut self.rollback {
                    rollback.due.insert(node);
                }
            }
        }
    }

    /// A rollback that has nothing more to do is over.
    pub(super) fn review_rollback(&mut self) {
        let Some(rollback) = &self.rollback else { return };
        if !rollback.is_over() || !self.undoing.is_empty() {
            return;
        }
        let frame = rollback.frame;
        self.rollback = None;
        if let Some(reopened) = &mut self.reopened {
            reopened.is_over = true;
        } else if let Some(frame) = frame
            && !self.undo_failed
        {
            self.frames[frame].is_undone = true;
        }
    }

    pub(super) fn forget_measure(&mut self, node: usize) {
        self.wakes.clear(Wake::Node(node, Wait::Measure));
        self.expired.remove(&node);
    }

    /// A measure comes into force with the success of its step, and its time runs from the step's beginning.
    pub(super) fn put_in_force(&mut self, node: usize, at: Timestamp) {
        if self.nodes[node].item.is_some() || !self.is_measure_undone_by_itself(node) {
            return;
        }
        let began = self.records[node].started_at.unwrap_or(at);
        let path = self.path(node).clone();
        let length = Rendering::new(self, &path, began).and_then(|rendering| rendering.measure_length());
        if let Some(length) = length {
            self.wakes.set(Wake::Node(node, Wait::Measure), clock::after(began, length));
        }
    }
}
