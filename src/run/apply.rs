//! What an event changes.

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value;

use super::event::{Answer, AttemptResult, Cause, Decision, Doubt, Event, ManualResult, Next, Recorded, Why};
use super::kept::Kept;
use super::legal::IllegalEvent;
use super::state::{Frame, Gate, Node, RunState, Started, StepRecord, StepState, UndoState, Wait, Wake};
use crate::action::{ActionError, ErrorKind};
use crate::base::{StepPath, Timestamp, clock};
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
            Event::CallBegan { .. } => self.begin_call(node, event, at),
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

    pub(super) fn doubt(&mut self, node: usize) {
        self.to_stop.remove(&node);
        self.records[node].state = StepState::InDoubt;
        self.in_doubt.insert(node);
    }

    pub(super) fn begin(&mut self, node: usize, at: Timestamp) {
        if self.records[node].started_at.is_some() {
            return;
        }
        self.begin_item(node);
        self.records[node].started_at = Some(at);
        if let Some(limit) = self.limit(node) {
            self.wakes.set(Wake::Node(node, Wait::Deadline), clock::after(at, limit));
        }
    }

    pub(super) fn leave_queue(&mut self, node: usize) {
        let queue = self.queue_of(node);
        self.ready[queue].remove(&node);
    }

    pub(super) fn make_ready(&mut self, node: usize) {
        self.records[node].state = StepState::Ready;
        let queue = self.queue_of(node);
        self.ready[queue].insert(node);
    }

    /// A step that needs nothing more may begin.
    pub(super) fn release(&mut self, node: usize) {
        // Final steps have their own time.
        let is_time = !self.is_final_in_frame(node) || self.frames[self.nodes[node].frame].finally.is_some();
        let waits = self.records[node].state == StepState::Waiting && !self.doomed.contains_key(&node);
        if self.unmet[node] == 0 && waits && is_time {
            self.make_ready(node);
        }
    }

    pub(super) fn begin_frame(&mut self, frame: usize) {
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
    pub(super) fn review_frame(&mut self, frame: usize) {
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

    /// Is it one of the final steps of its own runbook?
    pub(super) fn is_final_in_frame(&self, node: usize) -> bool {
        let node = &self.nodes[node];
        self.frames[node.frame].plan.is_final(node.place)
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

    /// A step is over: whatever waited for this result may begin, whatever waited for another one never will.
    pub(super) fn end(&mut self, node: usize, result: StepResult, at: Timestamp) {
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

    pub(super) fn end_step(&mut self, node: usize, result: StepResult) {
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
}
