//! What happens inside a step: the items of a loop, let begin one after the other, and the steps of a called runbook.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::event::{Event, Item, Returned};
use super::kept::Kept;
use super::state::{Inside, Loop, Node, RunState, StepState};
use crate::base::Timestamp;
use crate::runbook::{Does, StepResult};

impl RunState {
    pub(super) fn begin_loop(&mut self, node: usize, items: &[Item], at: Timestamp) {
        self.leave_queue(node);
        self.begin(node, at);
        let Some(each) = self.written(node).for_each.clone() else { return };
        let first = self.nodes.len();
        let Node { path, frame, place, is_final, .. } = self.nodes[node].clone();
        for (index, item) in items.iter().enumerate() {
            let path = path.item(&item.key);
            self.add(Node { path, frame, place, item: Some((node, index)), is_final }, 0);
        }
        let most = each.at_most.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX).max(1));
        self.records[node].state = StepState::Within;
        self.records[node].inside = Some(Box::new(Inside::Loop(Loop {
            items: Arc::new(items.to_vec()),
            nodes: first..self.nodes.len(),
            admitted: 0,
            active: 0,
            succeeded: 0,
            failed: 0,
            skipped: 0,
            ahead: BTreeSet::new(),
            tolerates: each.fail_after.of(items.len()),
            most,
            wave: each.ramp.then_some((1, 1)),
            first_failure: None,
        })));
        self.admit(node);
    }

    /// Lets items begin, as many as may be under way.
    pub(super) fn admit(&mut self, node: usize) {
        let is_stopped = self.is_stopped(node);
        let mut admitted = Vec::new();
        let Some(Inside::Loop(looped)) = self.records[node].inside.as_deref_mut() else { return };
        while !is_stopped && looped.failed < looped.tolerates && looped.admitted < looped.nodes.len() {
            let ended = looped.ended() - looped.ahead.len();
            if let Some((until, width)) = &mut looped.wave
                && ended >= *until
            {
                // The whole wave is over: the next is twice as wide.
                *width = width.saturating_mul(2).min(looped.most);
                *until = until.saturating_add(*width);
            }
            let by_wave = looped.wave.map_or(usize::MAX, |(until, _)| until);
            if looped.admitted >= ended.saturating_add(looped.most).min(by_wave) {
                break;
            }
            let item = looped.nodes.start + looped.admitted;
            looped.admitted += 1;
            if !looped.ahead.remove(&item) {
                admitted.push(item);
            }
        }
        admitted.into_iter().for_each(|item| self.make_ready(item));
        self.review_loop(node);
    }

    /// Notes whether a loop has nothing more to wait for.
    pub(super) fn review_loop(&mut self, node: usize) {
        let is_stopped = self.is_stopped(node);
        let Some(Inside::Loop(looped)) = self.records[node].inside.as_deref() else { return };
        let nothing_more = is_stopped || looped.failed >= looped.tolerates || looped.ended() == looped.nodes.len();
        if nothing_more && looped.active == 0 && self.records[node].state == StepState::Within {
            self.returning.insert(node);
        } else {
            self.returning.remove(&node);
        }
    }

    /// An item that was let begin and has not: it waits again.
    pub(super) fn hold_back(&mut self, item: usize) {
        self.leave_queue(item);
        self.records[item].state = StepState::Waiting;
    }

    pub(super) fn begin_call(&mut self, node: usize, event: &Event, at: Timestamp) {
        self.leave_queue(node);
        self.begin(node, at);
        let (Some(plan), Does::Call(call)) = (self.called_plan(event), &self.written(node).does) else { return };
        let mut secrets = plan.secrets_given(&call.secrets, &self.frames[self.nodes[node].frame].secrets);
        // One that comes to be during the run belongs to this call: the same runbook called again makes another.
        let caller = self.path(node);
        for (name, source) in &plan.runbook().secrets {
            if source.late().is_some() && !call.secrets.contains_key(name) {
                secrets.insert(name.clone(), format!("{caller}/{name}"));
            }
        }
        let frame = self.open_frame(plan, Some(node), Arc::new(secrets));
        self.records[node].state = StepState::Within;
        self.records[node].inside = Some(Box::new(Inside::Call(frame)));
        self.begin_frame(frame);
    }

    /// An item of a loop is under way from here on.
    pub(super) fn begin_item(&mut self, node: usize) {
        if self.records[node].started_at.is_none()
            && let Some((of, _)) = self.nodes[node].item
            && let Some(Inside::Loop(looped)) = self.records[of].inside.as_deref_mut()
        {
            looped.active += 1;
        }
    }

    pub(super) fn come_back(&mut self, node: usize, result: &Returned, at: Timestamp) {
        self.returning.remove(&node);
        if let Some(frame) = self.frame_inside(node) {
            self.quiet.remove(&frame);
            self.halted.remove(&frame);
        }
        match result {
            Returned::Succeeded { outputs } => {
                self.records[node].outputs = Some(Kept::of(outputs));
                self.end(node, StepResult::Succeeded, at);
            }
            Returned::Failed { error } => {
                self.records[node].outputs = error.outputs.as_deref().map(Kept::of);
                self.records[node].error = Some(Box::new(error.clone()));
                self.end(node, StepResult::Failed, at);
            }
            Returned::Rejected { .. } => self.end(node, StepResult::Rejected, at),
        }
    }

    pub(super) fn end_item(&mut self, node: usize, of: usize, result: StepResult) {
        let Some(Inside::Loop(looped)) = self.records[of].inside.as_deref_mut() else { return };
        looped.active = looped.active.saturating_sub(1);
        if node >= looped.nodes.start + looped.admitted {
            looped.ahead.insert(node);
        }
        match result {
            StepResult::Succeeded => looped.succeeded += 1,
            StepResult::Failed | StepResult::Rejected => {
                looped.failed += 1;
                looped.first_failure.get_or_insert(node);
            }
            StepResult::Skipped => looped.skipped += 1,
        }
        if looped.failed == looped.tolerates && matches!(result, StepResult::Failed | StepResult::Rejected) {
            // No further item begins.
            let admitted = looped.nodes.start..looped.nodes.start + looped.admitted;
            for item in admitted {
                if self.records[item].state == StepState::Ready && self.records[item].started_at.is_none() {
                    self.hold_back(item);
                }
            }
        }
        self.admit(of);
    }
}
