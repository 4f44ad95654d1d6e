//! What keeps steps from beginning: a failure that stops the run, a time that is up, an undo that failed.

use super::event::Cause;
use super::state::{Inside, RunState, StepState};
use crate::action::{ActionError, ErrorKind};
use crate::base::Timestamp;
use crate::runbook::{Does, StepResult};

impl RunState {
    /// Nothing new begins in a frame: what has not begun never will, what is under way may end.
    pub(super) fn halt(&mut self, frame: usize, cause: &Cause) {
        if self.halted.contains_key(&frame) {
            return;
        }
        self.halted.insert(frame, cause.clone());
        let ordinary = self.frames[frame].ordinary();
        let unended: Vec<usize> = self.frames[frame].unended.range(ordinary).copied().collect();
        for node in unended {
            if self.records[node].is_under_way() {
                self.halt_inside(node, cause);
            } else if !self.records[node].settling {
                self.doom(node, cause);
            }
        }
    }

    pub(super) fn halt_inside(&mut self, node: usize, cause: &Cause) {
        match self.records[node].inside.as_deref() {
            Some(Inside::Call(frame)) => self.halt(*frame, cause),
            Some(Inside::Loop(looped)) => {
                for item in looped.nodes.clone() {
                    match self.records[item].state {
                        StepState::Ready if self.records[item].started_at.is_none() => self.hold_back(item),
                        StepState::Ready if self.records[item].settling => {}
                        StepState::Pausing | StepState::Ready => self.doom(item, cause),
                        StepState::Within => self.halt_inside(item, cause),
                        _ => {}
                    }
                }
                self.review_loop(node);
            }
            None => {}
        }
    }

    pub(super) fn doom(&mut self, node: usize, cause: &Cause) {
        self.leave_queue(node);
        self.doomed.entry(node).or_insert_with(|| cause.clone());
    }

    /// Does nothing new begin inside this step, or again?
    pub(super) fn is_stopped(&self, node: usize) -> bool {
        self.stop_cause(node).is_some()
    }

    /// Why this step does not begin again, nor anything new inside it.
    pub(super) fn stop_cause(&self, node: usize) -> Option<Cause> {
        let time_up = |node: usize| self.records[node].out_of_time;
        let around = self.nodes[node].item.map(|(of, _)| of);
        if let Some(late) = [Some(node), around].into_iter().flatten().find(|node| time_up(*node)) {
            return Some(Cause::TimeUp { step: Some(self.path(late).clone()) });
        }
        self.halted.get(&self.nodes[node].frame).filter(|_| !self.is_final_in_frame(node)).cloned()
    }

    pub(super) fn time_is_up(&mut self, node: usize, at: Timestamp) {
        self.records[node].out_of_time = true;
        match self.records[node].state {
            StepState::Running => {
                self.to_stop.insert(node);
            }
            // It is done again to be certain that it is done.
            StepState::Ready if self.records[node].settling => {}
            StepState::Pausing | StepState::Ready | StepState::Asked | StepState::Approved(_) => {
                self.records[node].error = Some(Box::new(self.out_of_time_error(node)));
                self.end(node, StepResult::Failed, at);
            }
            StepState::Within => {
                let cause = Cause::TimeUp { step: Some(self.path(node).clone()) };
                self.halt_inside(node, &cause);
                let mut running = Vec::new();
                self.each_inside(node, &mut |inner| running.push(inner));
                running.retain(|inner| self.trying.contains(inner));
                self.to_stop.extend(running);
            }
            // What is in doubt is found out first.
            _ => {}
        }
    }

    /// How long a step may take in all.
    pub(super) fn limit(&self, node: usize) -> Option<std::time::Duration> {
        let step = self.written(node);
        let is_item = self.nodes[node].item.is_some();
        // What a called runbook takes is one try of the step that calls it.
        let calls = matches!(step.does, Does::Call(_)) && !self.is_loop(node);
        let place = &self.nodes[node];
        let called = self.frames[place.frame].plan.called_runbook(place.place).and_then(|called| called.timeout);
        let limits = [step.timeout.filter(|_| calls), called.filter(|_| calls), step.deadline.filter(|_| !is_item)];
        limits.into_iter().flatten().map(|limit| limit.0).min()
    }

    /// What a step says whose time is up.
    pub(super) fn out_of_time_error(&self, node: usize) -> ActionError {
        let limit = self.limit(node).map(crate::base::HumanDuration).unwrap_or_default();
        ActionError::new(ErrorKind::Timeout, format!("it took longer than {limit} in all"))
    }
}
