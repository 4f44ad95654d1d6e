//! What an event changes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value;

use super::event::{
    Answer, AttemptResult, Cause, Decision, Doubt, Event, Item, ManualResult, Next, Recorded, Returned, UndoResult, Why,
};
use super::kept::Kept;
use super::legal::IllegalEvent;
use super::rendering::Rendering;
use super::rollback::Rollback;
use super::state::{
    Frame, Gate, Inside, Loop, Node, Reopened, RunState, Started, StepRecord, StepState, UndoState, Wait, Wake,
};
use crate::action::{ActionError, ErrorKind};
use crate::base::{StepPath, Timestamp, clock};
use crate::plan::Plan;
use crate::runbook::{Does, StepResult};

impl RunState {
    /// Takes an event into account. An illegal one is refused and changes nothing.
    pub fn apply(&mut self, recorded: &Recorded) -> Result<(), IllegalEvent> {
        self.check(recorded).map_err(|why| IllegalEvent::new(&recorded.event, why))?;
        self.now = self.now.max(recorded.at);
        match recorded.event.step().and_then(|step| self.place(step)) {
            Some(node) => self.take_step(node, recorded.at, &recorded.event),
            None => self.take_run(recorded.at, &recorded.event),
        }
        Ok(())
    }

    /// An event about the run.
    fn take_run(&mut self, at: Timestamp, event: &Event) {
        match event {
            Event::RunStarted { run, by, drill, limits, .. } => {
                self.started =
                    Some(Started { run: run.clone(), by: by.clone(), drill: drill.clone(), limits: *limits, at });
                if let Some(limit) = self.plan().runbook().timeout {
                    self.wakes.set(Wake::Run, clock::after(at, limit.0));
                }
                self.begin_frame(0);
            }
            Event::RunResumed { .. } => self.resume(),
            Event::CancelRequested { by, .. } => self.cancelled = Some(by.clone()),
            Event::TimerFired { .. } => {
                self.wakes.clear(Wake::Run);
                self.out_of_time = true;
                if self.frames[0].finally.is_none() {
                    self.halt(0, &Cause::TimeUp { step: None });
                    self.to_stop.extend(self.trying.iter().copied());
                }
            }
            Event::UndoRequested { by, only, .. } => self.reopen(by, only),
            Event::RollbackBegan { steps, because, .. } => self.begin_rollback(0, steps, *because),
            Event::FinallyBegan { outcome, .. } => self.begin_finally(0, *outcome),
            Event::RunFinished { outcome } => {
                self.outcome = Some(*outcome);
                self.wakes.clear(Wake::Run);
            }
            // The others are about a step.
            _ => {}
        }
    }

    /// An event about a step.
    fn take_step(&mut self, node: usize, at: Timestamp, event: &Event) {
        match event {
            Event::StepSkipped { because, .. } => {
                // Between two tries it had begun: it ends with what went wrong last.
                let began = self.records[node].attempts > 0;
                self.records[node].cause = Some(Box::new(because.clone()));
                self.end(node, if began { StepResult::Failed } else { StepResult::Skipped }, at);
            }
            Event::StepFailed { error, .. } => {
                self.records[node].error = Some(Box::new(error.clone()));
                self.end(node, StepResult::Failed, at);
            }
            Event::StepForced { .. } => self.force(node),
            Event::Decided { outputs, .. } => {
                self.begin(node, at);
                self.records[node].outputs = Some(Kept::of(outputs));
                self.end(node, StepResult::Succeeded, at);
            }
            Event::GateOpened { digest, prompt, does, expires, .. } => {
                let gate = Gate {
                    digest: digest.clone(),
                    prompt: prompt.clone(),
                    does: does.clone(),
                    expires: *expires,
                    approvals: Vec::new(),
                };
                self.leave_queue(node);
                self.records[node].state = StepState::AtGate(Box::new(gate));
                self.open.insert(node);
                if let Some(expires) = expires {
                    self.wakes.set(Wake::Node(node, Wait::Gate), *expires);
                }
            }
            Event::GateAnswered { decision, .. } => self.answer_gate(node, decision, at),
            Event::ManualAsked { .. } => {
                self.leave_queue(node);
                self.begin(node, at);
                self.records[node].state = StepState::Asked;
                self.open.insert(node);
            }
            Event::ManualAnswered { by, result, .. } => self.answer_manual(node, by, result, at),
            Event::LoopBegan { items, .. } => self.begin_loop(node, items, at),
            Event::CallBegan { step, .. } => self.begin_call(node, step, event, at),
            Event::StepReturned { result, .. } => self.come_back(node, result, at),
            Event::AttemptStarted { attempt, params, .. } => {
                self.leave_queue(node);
                self.begin(node, at);
                let record = &mut self.records[node];
                record.attempts = attempt.0;
                record.state = StepState::Running;
                record.settling = false;
                // What became of the last try is known by now.
                record.error.iter_mut().for_each(|error| error.uncertain = false);
                if let Some(params) = params {
                    record.params = Some(Kept::of(params));
                }
                self.trying.insert(node);
                self.running[self.queue_of(node)] += 1;
            }
            Event::Checkpoint { value, .. } => {
                let record = &mut self.records[node];
                if record.undo.is_some() {
                    record.undo_checkpoint = Some(Kept::of(value));
                } else {
                    record.checkpoint = Some(Kept::of(value));
                }
            }
            Event::AttemptFinished { result, next, met, .. } => {
                self.records[node].met = *met;
                self.finish_attempt(node, result, *next, at);
            }
            Event::TimerFired { timer } => {
                if let Some(Wake::Node(_, wait)) = self.wake(timer) {
                    self.wakes.clear(Wake::Node(node, wait));
                    self.wake_up(node, wait, at);
                }
            }
            Event::DoubtAsked { .. } => self.records[node].doubt_asked = true,
            Event::DoubtResolved { doubt, undo: true, .. } => self.resolve_undo(node, doubt),
            Event::DoubtResolved { doubt, .. } => self.resolve(node, doubt, at),
            Event::MeasureExtended { until, .. } => {
                self.records[node].extended = Some(*until);
                if self.is_measure_undone_by_itself(node) {
                    self.expired.remove(&node);
                    self.wakes.set(Wake::Node(node, Wait::Measure), *until);
                }
            }
            Event::MeasureClosed { .. } => {
                self.records[node].closed_by_hand = true;
                self.forget_measure(node);
            }
            Event::RollbackBegan { steps, because, .. } => {
                if let Some(frame) = self.frame_inside(node) {
                    self.begin_rollback(frame, steps, *because);
                }
            }
            Event::UndoStarted { attempt, params, .. } => {
                if self.rollback.is_none() {
                    let steps: Vec<StepPath> =
                        self.to_undo_in(0).into_iter().map(|node| self.path(node).clone()).collect();
                    self.begin_rollback(0, &steps, Why::Failure);
                }
                let record = &mut self.records[node];
                record.undo = Some(UndoState::Running);
                record.undo_attempts = attempt.0.max(record.undo_attempts + 1);
                if params.is_some() {
                    record.undo_params = params.as_ref().map(Kept::of);
                }
                record.doubt_asked = false;
                self.undoing.insert(node);
                self.wakes.clear(Wake::Node(node, Wait::UndoAgain));
                self.running[self.queue_of(node)] += 1;
            }
            Event::UndoFinished { result, next, .. } => self.finish_undo(node, result, *next),
            Event::FinallyBegan { outcome, .. } => {
                if let Some(frame) = self.frame_inside(node) {
                    self.begin_finally(frame, *outcome);
                }
            }
            // The others are about the run.
            _ => {}
        }
    }

    /// A new process: what was running is in doubt, what waited for people or time still does.
    fn resume(&mut self) {
        if self.outcome.take().is_some() && self.reopened.is_none() {
            // The final steps run again, however the resumed run ends.
            let finals = self.frames[0].finals();
            self.frames[0].finally = None;
            for node in finals {
                self.leave_queue(node);
                self.records[node] = StepRecord::new();
                let needs = self.written(node).needs.len();
                self.unmet[node] = u32::try_from(needs).unwrap_or(u32::MAX);
                self.doomed.remove(&node);
                self.frames[0].unended.remove(&node);
            }
            if let (Some(limit), Some(began)) = (self.plan().runbook().timeout, self.started_at())
                && !self.out_of_time
            {
                self.wakes.set(Wake::Run, clock::after(began, limit.0));
            }
        }
        self.cancelled = None;
        let lost: Vec<usize> = std::mem::take(&mut self.trying).into_iter().collect();
        for node in lost {
            self.running[self.queue_of(node)] -= 1;
            self.doubt(node);
        }
        for node in 0..self.records.len() {
            if self.records[node].state == StepState::Interrupted {
                self.doubt(node);
            }
            self.records[node].doubt_asked = false;
        }
        for node in std::mem::take(&mut self.undoing) {
            self.running[self.queue_of(node)] -= 1;
            self.records[node].undo = Some(UndoState::InDoubt);
        }
        // Where an undo has failed, the others were only let end.
        self.review_rollback();
        self.review_frame(0);
    }

    fn doubt(&mut self, node: usize) {
        self.to_stop.remove(&node);
        self.records[node].state = StepState::InDoubt;
        self.in_doubt.insert(node);
    }

    fn reopen(&mut self, by: &str, only: &[StepPath]) {
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
    fn abandon_rollback(&mut self) {
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

    fn begin(&mut self, node: usize, at: Timestamp) {
        if self.records[node].started_at.is_some() {
            return;
        }
        self.begin_item(node);
        self.records[node].started_at = Some(at);
        if let Some(limit) = self.limit(node) {
            self.wakes.set(Wake::Node(node, Wait::Deadline), clock::after(at, limit));
        }
    }

    /// How long a step may take in all.
    fn limit(&self, node: usize) -> Option<std::time::Duration> {
        let step = self.written(node);
        let is_item = self.nodes[node].item.is_some();
        // What a called runbook takes is one try of the step that calls it.
        let calls = matches!(step.does, Does::Call(_)) && !self.is_loop(node);
        let place = &self.nodes[node];
        let called = self.frames[place.frame].plan.called_runbook(place.place).and_then(|called| called.timeout);
        let limits = [step.timeout.filter(|_| calls), called.filter(|_| calls), step.deadline.filter(|_| !is_item)];
        limits.into_iter().flatten().map(|limit| limit.0).min()
    }

    pub(super) fn leave_queue(&mut self, node: usize) {
        let queue = self.queue_of(node);
        self.ready[queue].remove(&node);
    }

    fn make_ready(&mut self, node: usize) {
        self.records[node].state = StepState::Ready;
        let queue = self.queue_of(node);
        self.ready[queue].insert(node);
    }

    /// A step that needs nothing more may begin.
    fn release(&mut self, node: usize) {
        // Final steps have their own time.
        let is_time = !self.is_final_in_frame(node) || self.frames[self.nodes[node].frame].finally.is_some();
        let waits = self.records[node].state == StepState::Waiting && !self.doomed.contains_key(&node);
        if self.unmet[node] == 0 && waits && is_time {
            self.make_ready(node);
        }
    }

    fn begin_frame(&mut self, frame: usize) {
        for node in self.frames[frame].ordinary() {
            self.release(node);
        }
        self.review_frame(frame);
    }

    fn begin_finally(&mut self, frame: usize, outcome: super::Outcome) {
        self.frames[frame].finally = Some(outcome);
        self.quiet.remove(&frame);
        let finals = self.frames[frame].finals();
        // Of a run that was stopped, ordinary steps stay behind, and so does a rollback; they no longer count.
        if frame == 0 {
            self.abandon_rollback();
        }
        // A person may have skipped some beforehand.
        let left: Vec<usize> = finals.clone().filter(|node| self.records[*node].result().is_none()).collect();
        self.frames[frame].unended.extend(left);
        for node in finals {
            self.release(node);
        }
        self.review_frame(frame);
    }

    /// Notes whether anything of a frame is still to end.
    fn review_frame(&mut self, frame: usize) {
        let it = &self.frames[frame];
        let is_quiet = match it.finally {
            Some(_) => it.unended.range(it.finals()).next().is_none(),
            None => it.unended.is_empty(),
        };
        if is_quiet {
            self.quiet.insert(frame);
        } else {
            self.quiet.remove(&frame);
        }
    }

    /// Nothing new begins in a frame: what has not begun never will, what is under way may end.
    fn halt(&mut self, frame: usize, cause: &Cause) {
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

    fn halt_inside(&mut self, node: usize, cause: &Cause) {
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

    /// An item that was let begin and has not: it waits again.
    fn hold_back(&mut self, item: usize) {
        self.leave_queue(item);
        self.records[item].state = StepState::Waiting;
    }

    fn doom(&mut self, node: usize, cause: &Cause) {
        self.leave_queue(node);
        self.doomed.entry(node).or_insert_with(|| cause.clone());
    }

    fn force(&mut self, node: usize) {
        self.records[node].forced = true;
        self.doomed.remove(&node);
        let waits_for =
            |state: &Self, id| state.sibling(node, id).is_some_and(|needed| state.records[needed].result().is_none());
        let needs: Vec<_> = self.written(node).needs.keys().cloned().collect();
        let unmet = needs.iter().filter(|id| waits_for(self, id)).count();
        self.unmet[node] = u32::try_from(unmet).unwrap_or(u32::MAX);
        self.release(node);
    }

    fn answer_gate(&mut self, node: usize, decision: &Decision, at: Timestamp) {
        let needed = self.written(node).approval.as_ref().map_or(1, |approval| approval.at_least);
        let record = &mut self.records[node];
        record.decisions.push(decision.clone());
        let StepState::AtGate(gate) = &mut record.state else { return };
        let passed = match decision.answer {
            Answer::Approve => {
                gate.approvals.push(decision.clone());
                let count = u32::try_from(gate.approvals.len()).unwrap_or(u32::MAX);
                (count >= needed).then(|| gate.digest.clone())
            }
            Answer::Reject => return self.end(node, StepResult::Rejected, at),
        };
        let Some(digest) = passed else { return };
        if self.written(node).does == Does::Gate {
            self.begin(node, at);
            self.records[node].outputs = Some(Kept::of(&Value::Object(serde_json::Map::new())));
            return self.end(node, StepResult::Succeeded, at);
        }
        self.open.remove(&node);
        self.wakes.clear(Wake::Node(node, Wait::Gate));
        self.make_ready(node);
        self.records[node].state = StepState::Approved(digest);
    }

    fn answer_manual(&mut self, node: usize, by: &str, result: &ManualResult, at: Timestamp) {
        match result {
            ManualResult::Done { evidence } => {
                let mut outputs: IndexMap<String, Value> = evidence.clone();
                outputs.insert("by".to_owned(), by.into());
                self.records[node].outputs = Some(Kept::of(&outputs.into_iter().collect()));
                self.end(node, StepResult::Succeeded, at);
            }
            ManualResult::Failed { reason } => {
                self.records[node].error =
                    Some(Box::new(ActionError::new(ErrorKind::Failed, format!("{by}: {reason}"))));
                self.end(node, StepResult::Failed, at);
            }
            ManualResult::Skipped { reason } => {
                self.records[node].cause = Some(Box::new(Cause::Person { by: by.to_owned(), reason: reason.clone() }));
                self.end(node, StepResult::Skipped, at);
            }
        }
    }

    fn begin_loop(&mut self, node: usize, items: &[Item], at: Timestamp) {
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
    fn admit(&mut self, node: usize) {
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

    /// Does nothing new begin inside this step, or again?
    fn is_stopped(&self, node: usize) -> bool {
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

    /// Is it one of the final steps of its own runbook?
    pub(super) fn is_final_in_frame(&self, node: usize) -> bool {
        let node = &self.nodes[node];
        self.frames[node.frame].plan.is_final(node.place)
    }

    /// Notes whether a loop has nothing more to wait for.
    fn review_loop(&mut self, node: usize) {
        let is_stopped = self.is_stopped(node);
        let Some(Inside::Loop(looped)) = self.records[node].inside.as_deref() else { return };
        let nothing_more = is_stopped || looped.failed >= looped.tolerates || looped.ended() == looped.nodes.len();
        if nothing_more && looped.active == 0 && self.records[node].state == StepState::Within {
            self.returning.insert(node);
        } else {
            self.returning.remove(&node);
        }
    }

    fn begin_call(&mut self, node: usize, step: &StepPath, event: &Event, at: Timestamp) {
        self.leave_queue(node);
        self.begin(node, at);
        let (Some(plan), Does::Call(call)) = (self.called_plan(event), &self.written(node).does) else { return };
        let secrets = secrets_inside(&plan, &call.secrets, self.secrets_of(step));
        let frame = self.open_frame(plan, Some(node), Arc::new(secrets));
        self.records[node].state = StepState::Within;
        self.records[node].inside = Some(Box::new(Inside::Call(frame)));
        self.begin_frame(frame);
    }

    /// An item of a loop is under way from here on.
    fn begin_item(&mut self, node: usize) {
        if self.records[node].started_at.is_none()
            && let Some((of, _)) = self.nodes[node].item
            && let Some(Inside::Loop(looped)) = self.records[of].inside.as_deref_mut()
        {
            looped.active += 1;
        }
    }

    fn come_back(&mut self, node: usize, result: &Returned, at: Timestamp) {
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

    fn finish_attempt(&mut self, node: usize, result: &AttemptResult, next: Next, at: Timestamp) {
        self.trying.remove(&node);
        self.to_stop.remove(&node);
        self.running[self.queue_of(node)] -= 1;
        let is_stopping = self.cancelled.is_some() && self.frames[0].finally.is_none();
        let record = &mut self.records[node];
        let succeeded = match result {
            AttemptResult::Succeeded { outputs } => {
                record.outputs = Some(Kept::of(outputs));
                record.error = None;
                record.landed = true;
                true
            }
            AttemptResult::Failed { error } => {
                // What it found out all the same is kept once, as its outputs.
                record.error = Some(Box::new(ActionError { outputs: None, ..error.clone() }));
                record.outputs = error.outputs.as_deref().map(Kept::of);
                false
            }
        };
        match next {
            // It was done again to be certain, in a run that is being undone: there is no other try.
            Next::Again { .. } if self.reopened.is_some() => self.end(node, StepResult::Failed, at),
            Next::Again { at } => {
                record.state = StepState::Pausing;
                record.repeat = true;
                self.wakes.set(Wake::Node(node, Wait::Again), at);
                if let Some(cause) = self.stop_cause(node) {
                    self.doom(node, &cause);
                }
            }
            Next::Doubt => {
                record.doubt_asked = false;
                self.doubt(node);
            }
            Next::End if succeeded => self.end(node, StepResult::Succeeded, at),
            // Only whoever was told to stop was stopped with the run; final steps never are.
            Next::End
                if is_stopping && record.error.as_ref().is_some_and(|error| error.kind == ErrorKind::Cancelled) =>
            {
                record.state = StepState::Interrupted;
            }
            Next::End => self.end(node, StepResult::Failed, at),
        }
    }

    fn wake_up(&mut self, node: usize, wait: Wait, at: Timestamp) {
        match wait {
            Wait::Gate => self.end(node, StepResult::Rejected, at),
            Wait::Again => {
                if !self.doomed.contains_key(&node) {
                    self.make_ready(node);
                }
            }
            Wait::UndoAgain => {
                if let Some(rollback) = &mut self.rollback
                    && !self.undo_failed
                {
                    rollback.due.insert(node);
                }
            }
            Wait::Deadline => self.time_is_up(node, at),
            Wait::Measure => {
                if self.is_in_force(node) && !self.to_undo_from(node).is_empty() {
                    self.expired.insert(node);
                }
            }
        }
    }

    fn time_is_up(&mut self, node: usize, at: Timestamp) {
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

    /// What a step says whose time is up.
    pub(super) fn out_of_time_error(&self, node: usize) -> ActionError {
        let limit = self.limit(node).map(crate::base::HumanDuration).unwrap_or_default();
        ActionError::new(ErrorKind::Timeout, format!("it took longer than {limit} in all"))
    }

    fn resolve(&mut self, node: usize, doubt: &Doubt, at: Timestamp) {
        self.in_doubt.remove(&node);
        let record = &mut self.records[node];
        record.doubt_asked = false;
        match doubt {
            Doubt::Happened { outputs } => {
                // A person who says that it happened may not know what came of it.
                record.outputs = (!outputs.is_null()).then(|| Kept::of(outputs));
                record.error = None;
                record.landed = true;
                self.end(node, StepResult::Succeeded, at);
            }
            Doubt::Again => {
                record.repeat = true;
                // It may have happened: it is done again even where nothing new begins, to be certain that it is done.
                record.settling = true;
                self.make_ready(node);
            }
            Doubt::DidNotHappen => {
                let lost = || ActionError::new(ErrorKind::Failed, "it was cut off, and did not happen");
                record.error.get_or_insert_with(|| Box::new(lost())).uncertain = false;
                self.end(node, StepResult::Failed, at);
            }
        }
    }

    fn resolve_undo(&mut self, node: usize, doubt: &Doubt) {
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

    fn begin_rollback(&mut self, frame: usize, steps: &[StepPath], because: Why) {
        let planned = steps.iter().filter_map(|step| self.place(step)).collect();
        for step in steps {
            if let Some(node) = self.place(step) {
                self.expired.remove(&node);
            }
        }
        self.rollback = Some(Rollback::new(self, frame, because != Why::Expiry, planned));
        self.review_rollback();
    }

    fn finish_undo(&mut self, node: usize, result: &UndoResult, next: Next) {
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

    /// A rollback that has nothing more to do is over.
    fn review_rollback(&mut self) {
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

    fn forget_measure(&mut self, node: usize) {
        self.wakes.clear(Wake::Node(node, Wait::Measure));
        self.expired.remove(&node);
    }

    /// A step is over: whatever waited for this result may begin, whatever waited for another one never will.
    fn end(&mut self, node: usize, result: StepResult, at: Timestamp) {
        self.leave_queue(node);
        self.open.remove(&node);
        self.in_doubt.remove(&node);
        self.doomed.remove(&node);
        for wait in [Wait::Gate, Wait::Again, Wait::Deadline] {
            self.wakes.clear(Wake::Node(node, wait));
        }
        self.begin_item(node);
        let record = &mut self.records[node];
        record.state = StepState::Ended(result);
        record.finished_at = Some(at);
        record.settling = false;
        if result == StepResult::Succeeded {
            self.put_in_force(node, at);
        }
        match self.nodes[node].item {
            Some((of, _)) => self.end_item(node, of, result),
            None => self.end_step(node, result),
        }
    }

    fn end_item(&mut self, node: usize, of: usize, result: StepResult) {
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

    fn end_step(&mut self, node: usize, result: StepResult) {
        let Node { frame, place, .. } = self.nodes[node];
        self.frames[frame].unended.remove(&node);
        let Frame { plan, nodes, .. } = &self.frames[frame];
        let (plan, first) = (Arc::clone(plan), nodes.start);
        let is_final = plan.is_final(place);
        let id = plan.id(place);
        for dependent in plan.dependents(place) {
            let accepted = plan.step(dependent).needs.get(id).is_some_and(|need| need.accepts(result));
            let dependent = first + dependent;
            if accepted || self.records[dependent].forced {
                self.unmet[dependent] = self.unmet[dependent].saturating_sub(1);
                self.release(dependent);
            } else if self.records[dependent].state == StepState::Waiting {
                let step = self.path(node).clone();
                self.doomed.entry(dependent).or_insert(Cause::Need { step, result });
            }
        }
        let is_failure = result == StepResult::Failed && !self.written(node).allow_failure;
        if is_failure && !is_final {
            self.frames[frame].first_failure.get_or_insert(node);
            if self.stops_at_failure(frame) {
                self.halt(frame, &Cause::Halted { step: self.path(node).clone() });
            }
        }
        if self.frames[frame].finally.is_none() || is_final {
            self.review_frame(frame);
        }
    }

    /// A measure comes into force with the success of its step, and its time runs from the step's beginning.
    fn put_in_force(&mut self, node: usize, at: Timestamp) {
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

/// Which secret each name in a called runbook stands for: those that it is given, else its own.
fn secrets_inside(
    plan: &Plan,
    given: &BTreeMap<String, String>,
    ours: Option<&Arc<BTreeMap<String, String>>>,
) -> BTreeMap<String, String> {
    plan.runbook()
        .secrets
        .keys()
        .map(|name| {
            let given = given.get(name).and_then(|mine| ours.and_then(|ours| ours.get(mine)).cloned());
            (name.clone(), given.unwrap_or_else(|| plan.own_secret(name)))
        })
        .collect()
}
