//! May an event follow? All refusals stand here, so that applying an event only changes.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::event::{Cause, Event, Outcome, Recorded, Why};
use super::state::{Inside, RunState, StepState, UndoState, Wait, Wake};
use crate::base::{StepPath, Timestamp};
use crate::plan::Plan;
use crate::runbook::{Approval, Does, StepResult};

/// An event that cannot follow what happened before. The state is as it was.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} cannot happen now: {why}")]
pub struct IllegalEvent {
    /// Which event.
    pub what: String,
    /// Why not.
    pub why: String,
}

impl IllegalEvent {
    pub(super) fn new(event: &Event, why: String) -> Self {
        Self { what: name(event), why }
    }
}

type Verdict = Result<(), String>;

fn refuse(why: &str) -> Verdict {
    Err(why.to_owned())
}

impl RunState {
    /// May this event follow?
    pub(super) fn check(&self, recorded: &Recorded) -> Verdict {
        let event = &recorded.event;
        if let Event::RunStarted { plan, .. } = event {
            return match &self.started {
                Some(_) => refuse("the run has begun already"),
                None if plan != self.plan().digest() => refuse("the log belongs to another plan"),
                None => Ok(()),
            };
        }
        if self.started.is_none() {
            return refuse("the run has not begun");
        }
        let node = match event.step() {
            Some(step) => Some(self.place(step).ok_or_else(|| format!("the run has no step `{step}`"))?),
            None => None,
        };
        if self.outcome.is_some() {
            return self.check_after_the_end(event, node);
        }
        match (event, node) {
            (Event::RunStarted { .. } | Event::RunResumed { .. } | Event::CancelRequested { .. }, _) => Ok(()),
            (Event::UndoRequested { .. }, _) => refuse("the run is not over"),
            (Event::RunFinished { .. }, _) => match self.may_finish() {
                Some(_) => Ok(()),
                None => refuse("something is under way or still to be done"),
            },
            (Event::FinallyBegan { within, .. }, _) => {
                let frame = match within {
                    None => Some(0),
                    Some(_) => node.and_then(|node| self.frame_inside(node)),
                };
                if frame.is_some_and(|frame| self.may_begin_finally(frame).is_some()) {
                    Ok(())
                } else {
                    refuse("ordinary steps are under way or still to be done, or the final ones have begun")
                }
            }
            (Event::RollbackBegan { within, steps, because }, _) => {
                let frame = match within {
                    None => Some(0),
                    Some(_) => node.and_then(|node| self.frame_inside(node)),
                };
                frame.map_or_else(|| refuse("it calls no runbook"), |frame| self.check_rollback(frame, steps, *because))
            }
            (Event::TimerFired { timer }, _) => match self.wake(timer).and_then(|wake| self.wakes.of(wake)) {
                Some(_) => Ok(()),
                None => refuse("nothing waits for that time"),
            },
            (_, Some(node)) => self.check_step(event, node, recorded.at),
            // Every other event is about a step.
            (_, None) => refuse("it names no step"),
        }
    }

    /// What may follow the end: taking up a run that was stopped, undoing it, and what became of its measures.
    fn check_after_the_end(&self, event: &Event, node: Option<usize>) -> Verdict {
        match event {
            Event::RunResumed { .. } if self.may_be_resumed() => Ok(()),
            Event::UndoRequested { only, .. } => {
                match only.iter().find(|step| !self.place(step).is_some_and(|node| self.is_to_undo(node))) {
                    Some(step) => Err(format!("there is nothing to undo of `{step}`")),
                    None => Ok(()),
                }
            }
            Event::MeasureExtended { .. } | Event::MeasureClosed { .. } => self.check_measure(node),
            _ => refuse("the run is over"),
        }
    }

    /// May it be gone on with? One that was stopped may, unless something of it has been undone since.
    pub fn may_be_resumed(&self) -> bool {
        match self.outcome {
            None => true,
            Some(Outcome::Cancelled) => self.reopened.as_ref().is_none_or(|reopened| !reopened.is_over),
            Some(_) => false,
        }
    }

    fn check_rollback(&self, frame: usize, steps: &[StepPath], because: Why) -> Verdict {
        if self.rollback.is_some() || !self.undoing.is_empty() {
            return refuse("another rollback is under way");
        }
        if self.undo_failed {
            return refuse("another undo has failed");
        }
        if self.cancelled.is_some() && !self.is_frame_final(frame) {
            return refuse("the run is to stop");
        }
        if let Some(step) = steps.iter().find(|step| !self.place(step).is_some_and(|node| self.is_to_undo(node))) {
            return Err(format!("there is nothing to undo of `{step}`"));
        }
        let planned: BTreeSet<usize> = steps.iter().filter_map(|step| self.place(step)).collect();
        let is_due = match because {
            Why::Failure => self.is_settled(frame) && self.must_roll_back(frame) && planned == self.to_undo_in(frame),
            Why::Expiry => {
                let is_meant = |node: &usize| self.nodes[*node].frame == frame && self.to_undo_from(*node) == planned;
                self.is_certain() && self.reopened.is_none() && self.expired.iter().any(is_meant)
            }
            Why::Request => {
                let is_open = self.reopened.as_ref().is_some_and(|reopened| !reopened.is_over);
                is_open && self.is_certain() && self.trying.is_empty() && frame == 0
            }
        };
        if is_due { Ok(()) } else { refuse("nothing asks for exactly that") }
    }

    /// Is nothing in doubt, nor waiting to be done again because it was?
    pub(super) fn is_certain(&self) -> bool {
        self.in_doubt.is_empty() && !self.ready.iter().flatten().any(|node| self.records[*node].settling)
    }

    /// May something new begin where this step stands, or this step again?
    fn check_begin(&self, node: usize) -> Verdict {
        let is_final = self.nodes[node].is_final;
        let settling = self.records[node].settling;
        if self.doomed.contains_key(&node) {
            refuse("it is to be skipped")
        } else if self.reopened.is_some() {
            if settling { Ok(()) } else { refuse("the run is being undone") }
        } else if !is_final && (self.cancelled.is_some() || self.frames[0].finally.is_some()) {
            refuse("the run is to stop")
        } else {
            Ok(())
        }
    }

    /// Is as much under way of what this step loads as may be?
    fn is_full(&self, node: usize) -> bool {
        let limits = self.limits();
        let queue = self.queue_of(node);
        self.running[queue] >= [usize::MAX, limits.io, limits.processes][queue]
    }

    /// Does a step need another one to end otherwise than it has?
    fn lacks(&self, node: usize, step: &StepPath, result: StepResult) -> bool {
        let need = self.written(node).needs.get(&step.id());
        let ended = self.place(step).is_some_and(|other| {
            self.sibling(node, &step.id()) == Some(other) && self.records[other].result() == Some(result)
        });
        ended && !self.records[node].forced && need.is_some_and(|need| !need.accepts(result))
    }

    fn check_measure(&self, node: Option<usize>) -> Verdict {
        match node {
            Some(node) if self.is_in_force(node) => Ok(()),
            _ => refuse("it has no emergency measure in force"),
        }
    }

    fn check_step(&self, event: &Event, node: usize, at: Timestamp) -> Verdict {
        let record = &self.records[node];
        let state = &record.state;
        let is_ready = matches!(state, StepState::Ready | StepState::Approved(_));
        let its_turn = is_ready && self.check_begin(node).is_ok();
        let allowed = self.is_allowed(node);
        match event {
            Event::StepSkipped { because, .. } => match state {
                StepState::Running | StepState::Within | StepState::InDoubt | StepState::Interrupted => {
                    refuse("it is under way")
                }
                StepState::Ended(_) => refuse("it has ended"),
                _ => match because {
                    Cause::Person { .. } => Ok(()),
                    Cause::Condition { .. } if its_turn => Ok(()),
                    cause if self.doomed.get(&node) == Some(cause) => Ok(()),
                    // More than one thing may keep it from running; any of them will do.
                    Cause::Need { step, result } if self.lacks(node, step, *result) => Ok(()),
                    _ => refuse("nothing keeps it from running"),
                },
            },
            Event::StepForced { .. } => match state {
                _ if self.nodes[node].item.is_some() => refuse("an item begins with its loop"),
                StepState::Waiting | StepState::Ready if record.attempts == 0 => match self.stop_cause(node) {
                    Some(cause) => Err(format!("nothing more begins there: {cause}")),
                    None => Ok(()),
                },
                _ => refuse("it has begun already"),
            },
            Event::StepFailed { .. } if its_turn => Ok(()),
            Event::StepFailed { .. } => refuse("it is not its turn"),
            Event::GateOpened { .. } if !its_turn => refuse("it is not its turn"),
            Event::GateOpened { .. } if self.approval(node).is_none() => refuse("it has no gate"),
            Event::GateOpened { .. } if record.attempts > 0 => refuse("it has begun already"),
            Event::GateOpened { .. } => Ok(()),
            Event::GateAnswered { digest, decision, .. } => match state {
                StepState::AtGate(gate) if gate.digest != *digest => refuse("the answer is about something else"),
                StepState::AtGate(gate) if gate.expires.is_some_and(|expires| expires <= at) => {
                    refuse("the question has lapsed")
                }
                StepState::AtGate(gate) if gate.approvals.iter().any(|before| before.by == decision.by) => {
                    refuse("the same person has answered already")
                }
                StepState::AtGate(_) => Ok(()),
                _ => refuse("its gate is not open"),
            },
            Event::Decided { .. } => match self.written(node).does {
                Does::Decide(_) if its_turn && allowed => Ok(()),
                _ => refuse("it is not its turn"),
            },
            Event::ManualAsked { .. } => match self.written(node).does {
                Does::Manual(_) if its_turn && allowed => Ok(()),
                _ => refuse("it is not its turn"),
            },
            Event::ManualAnswered { .. } => match state {
                StepState::Asked => Ok(()),
                _ => refuse("nobody was asked"),
            },
            Event::LoopBegan { items, .. } => {
                if !(its_turn && allowed && self.is_loop(node)) {
                    return refuse("it is not its turn");
                }
                let mut keys: Vec<&str> = items.iter().map(|item| item.key.as_str()).collect();
                keys.sort_unstable();
                match keys.windows(2).find(|pair| pair[0] == pair[1]) {
                    Some(pair) => Err(format!("two of its items have the key `{}`", pair[0])),
                    None => Ok(()),
                }
            }
            Event::CallBegan { .. } if !(its_turn && allowed) || self.is_loop(node) => refuse("it is not its turn"),
            Event::CallBegan { plan, .. } => match self.called_plan(event) {
                Some(called) if called.digest() == plan => Ok(()),
                Some(_) => refuse("it calls another plan"),
                None => refuse("it calls no runbook, or with inputs that do not fit"),
            },
            Event::StepReturned { .. } => {
                if self.may_return(node) {
                    Ok(())
                } else {
                    refuse("something in it is under way or still to be done")
                }
            }
            Event::AttemptStarted { attempt, .. } => match &self.written(node).does {
                Does::Action { .. } if !self.is_loop(node) && its_turn && allowed => {
                    match record.attempts + 1 == attempt.0 {
                        true if self.is_full(node) => refuse("as many are under way as may be"),
                        true => Ok(()),
                        false => refuse("the tries are counted one by one"),
                    }
                }
                _ => refuse("it is not its turn"),
            },
            Event::Checkpoint { attempt, .. } => match (state, &record.undo) {
                (StepState::Running, _) if record.attempts == attempt.0 => Ok(()),
                (_, Some(UndoState::Running)) if record.undo_attempts == attempt.0 => Ok(()),
                _ => refuse("no such try is under way"),
            },
            Event::AttemptFinished { attempt, .. } => match state {
                StepState::Running if record.attempts == attempt.0 => Ok(()),
                _ => refuse("no such try is under way"),
            },
            Event::DoubtAsked { undo, .. } | Event::DoubtResolved { undo, .. } => {
                let in_doubt =
                    if *undo { record.undo == Some(UndoState::InDoubt) } else { *state == StepState::InDoubt };
                match event {
                    _ if !in_doubt => refuse("it is not in doubt"),
                    Event::DoubtAsked { .. } if record.doubt_asked => refuse("people are asked about it already"),
                    _ => Ok(()),
                }
            }
            Event::MeasureExtended { .. } | Event::MeasureClosed { .. } => self.check_measure(Some(node)),
            Event::UndoStarted { attempt, .. } => {
                let due = match &self.rollback {
                    Some(rollback) => rollback.due.contains(&node),
                    // Format 1 had no event for the beginning of a rollback.
                    None => attempt.0 == 0 && self.is_to_undo(node) && self.frames[0].unended.is_empty(),
                };
                match &record.undo {
                    _ if !due => refuse("it is not to be undone now"),
                    _ if self.undo_failed => refuse("another undo has failed"),
                    _ if self.cancelled.is_some() && !self.nodes[node].is_final => refuse("the run is to stop"),
                    Some(UndoState::InDoubt) if attempt.0 != 0 && !self.is_undo_repeatable(node) => {
                        refuse("nobody knows whether it was undone already")
                    }
                    Some(UndoState::Running) => refuse("it is being undone already"),
                    _ if attempt.0 != 0 && self.is_full(node) => refuse("as many are under way as may be"),
                    _ if attempt.0 != 0 && record.undo_attempts + 1 != attempt.0 => {
                        refuse("the tries are counted one by one")
                    }
                    _ => Ok(()),
                }
            }
            Event::UndoFinished { .. } => match &record.undo {
                Some(UndoState::Running) => Ok(()),
                _ => refuse("its undo is not under way"),
            },
            // The events that are not about one step were answered before.
            _ => Ok(()),
        }
    }

    /// Has it the approval it needs, or none to need?
    fn is_allowed(&self, node: usize) -> bool {
        let record = &self.records[node];
        self.approval(node).is_none() || record.attempts > 0 || matches!(record.state, StepState::Approved(_))
    }

    /// The gate of a step. One gate stands before a whole loop, none before its items.
    pub(super) fn approval(&self, node: usize) -> Option<&Approval> {
        match self.nodes[node].item {
            Some(_) => None,
            None => self.written(node).approval.as_deref(),
        }
    }

    /// The frame of the runbook that a step called.
    pub(super) fn frame_inside(&self, node: usize) -> Option<usize> {
        match self.records[node].inside.as_deref() {
            Some(Inside::Call(frame)) => Some(*frame),
            _ => None,
        }
    }

    /// The plan that a call follows.
    pub(super) fn called_plan(&self, event: &Event) -> Option<Arc<Plan>> {
        let Event::CallBegan { step, inputs, .. } = event else { return None };
        let (plan, place) = self.plan_of(step)?;
        let given = inputs.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        plan.called(place, &given)?.ok().map(Arc::new)
    }

    /// Is its emergency measure in force?
    pub(super) fn is_in_force(&self, node: usize) -> bool {
        let Some(measure) = &self.written(node).measure else { return false };
        let record = &self.records[node];
        let closing = measure.closed_by.as_ref().and_then(|id| self.sibling(node, id));
        let closed = closing.is_some_and(|closing| self.records[closing].stands());
        record.stands() && !record.closed_by_hand && !closed
    }

    /// Is a loop, or a called runbook, over?
    fn may_return(&self, node: usize) -> bool {
        self.records[node].state == StepState::Within
            && match self.records[node].inside.as_deref() {
                Some(Inside::Loop(_)) => self.returning.contains(&node),
                Some(Inside::Call(frame)) => self.is_frame_over(*frame),
                None => false,
            }
    }

    /// Have the final steps of this frame ended too?
    pub(super) fn is_frame_over(&self, frame: usize) -> bool {
        self.frames[frame].finally.is_some() && self.frames[frame].unended.is_empty() && !self.is_undoing_in(frame)
    }

    /// Is it about a runbook that a final step of the run calls?
    pub(super) fn is_frame_final(&self, frame: usize) -> bool {
        self.frames[frame].caller.is_some_and(|caller| self.nodes[caller].is_final)
    }

    fn is_undoing_in(&self, frame: usize) -> bool {
        !self.undoing.is_empty()
            && self.undoing.iter().any(|node| {
                let mut at = Some(self.nodes[*node].frame);
                while let Some(inner) = at {
                    if inner == frame {
                        return true;
                    }
                    at = self.frames[inner].caller.map(|caller| self.nodes[caller].frame);
                }
                false
            })
    }

    /// Have the ordinary steps of a frame ended, and is none being undone? In a run that is stopped, nothing must be
    /// under way.
    fn is_settled(&self, frame: usize) -> bool {
        let it = &self.frames[frame];
        if it.finally.is_some() || self.reopened.is_some() {
            return false;
        }
        if self.cancelled.is_some() && !self.is_frame_final(frame) {
            return frame == 0 && self.trying.is_empty() && self.undoing.is_empty();
        }
        let rolling_back = self.rollback.as_ref().is_some_and(|rollback| rollback.within == frame);
        it.unended.is_empty() && !rolling_back && !self.is_undoing_in(frame)
    }

    /// How a frame would end, when its final steps may begin now.
    pub(super) fn may_begin_finally(&self, frame: usize) -> Option<Outcome> {
        if !self.is_settled(frame) {
            return None;
        }
        if self.cancelled.is_some() && !self.is_frame_final(frame) {
            // Everything stays as it is; a failed undo is told as such, whoever stops the run after it.
            return Some(if self.undo_failed { Outcome::Stuck } else { Outcome::Cancelled });
        }
        (!self.must_roll_back(frame) && !self.owes_an_undo(frame)).then(|| self.outcome_of(frame))
    }

    /// Does a measure in this frame still have to be undone when it expires?
    fn owes_an_undo(&self, frame: usize) -> bool {
        !self.undo_failed
            && self.measures.iter().any(|node| {
                self.nodes[*node].frame == frame
                    && self.is_measure_undone_by_itself(*node)
                    && self.is_in_force(*node)
                    && (self.wakes.of(Wake::Node(*node, Wait::Measure)).is_some()
                        || self.expired.contains(node)
                        || self.rollback.is_some())
            })
    }

    /// Has a failure of its own stopped this frame, and is what it did still to be undone?
    pub(super) fn must_roll_back(&self, frame: usize) -> bool {
        let it = &self.frames[frame];
        let own_failure = it.first_failure.is_some() || self.is_frame_out_of_time(frame);
        own_failure
            && !self.undo_failed
            && !it.is_undone
            && it.plan.runbook().on_failure == crate::runbook::OnFailure::Rollback
            && !self.to_undo_in(frame).is_empty()
    }

    pub(super) fn is_frame_out_of_time(&self, frame: usize) -> bool {
        match self.frames[frame].caller {
            None => self.out_of_time,
            Some(caller) => self.records[caller].out_of_time,
        }
    }

    /// Did a step of this frame not run only because something around it stopped?
    fn was_cut_short(&self, frame: usize) -> bool {
        self.frames[frame].ordinary().any(|node| {
            let cause = self.records[node].cause.as_deref();
            matches!(cause, Some(Cause::Halted { .. } | Cause::TimeUp { .. } | Cause::Stuck))
        })
    }

    /// How a frame ends, now that its ordinary steps have.
    fn outcome_of(&self, frame: usize) -> Outcome {
        let it = &self.frames[frame];
        let failed = it.first_failure.is_some()
            || self.is_frame_out_of_time(frame)
            || (it.caller.is_some() && self.halted.contains_key(&frame) && self.was_cut_short(frame));
        if self.undo_failed {
            Outcome::Stuck
        } else if it.is_undone {
            Outcome::RolledBack
        } else if failed {
            Outcome::Failed
        } else if self.unhandled_rejection(frame).is_some() {
            Outcome::Rejected
        } else {
            Outcome::Succeeded
        }
    }

    /// How the run ends, when it may end now.
    pub(super) fn may_finish(&self) -> Option<Outcome> {
        let idle = self.trying.is_empty() && self.undoing.is_empty();
        if let Some(reopened) = &self.reopened {
            if self.cancelled.is_some() {
                return idle.then_some(Outcome::Cancelled);
            }
            return (idle && reopened.is_over && self.rollback.is_none()).then_some(match reopened.only.is_empty() {
                _ if self.undo_failed => Outcome::Stuck,
                true => Outcome::RolledBack,
                false => reopened.before,
            });
        }
        let outcome = self.frames[0].finally?;
        let finals_ended = self.frames[0].unended.iter().all(|node| !self.nodes[*node].is_final);
        (idle && finals_ended && self.rollback.is_none()).then(|| self.with_final_failure(0, outcome))
    }

    /// A failure among the final steps turns a success into a failure, and nothing else.
    pub(super) fn with_final_failure(&self, frame: usize, outcome: Outcome) -> Outcome {
        let failed =
            |node: usize| self.records[node].result() == Some(StepResult::Failed) && !self.written(node).allow_failure;
        if outcome == Outcome::Succeeded && self.frames[frame].finals().any(failed) { Outcome::Failed } else { outcome }
    }

    /// A gate that was answered with no, when nobody acted on that.
    pub(super) fn unhandled_rejection(&self, frame: usize) -> Option<usize> {
        let it = &self.frames[frame];
        it.ordinary().find(|node| {
            self.records[*node].result() == Some(StepResult::Rejected)
                && !it.plan.dependents(self.nodes[*node].place).into_iter().any(|dependent| {
                    let id = it.plan.id(self.nodes[*node].place);
                    let wants_no =
                        it.plan.step(dependent).needs.get(id).is_some_and(|need| {
                            need.accepts(StepResult::Rejected) && !need.accepts(StepResult::Succeeded)
                        });
                    let record = &self.records[it.nodes.start + dependent];
                    wants_no && record.result() == Some(StepResult::Succeeded)
                })
        })
    }
}

fn name(event: &Event) -> String {
    let kind = serde_json::to_value(event).ok().and_then(|value| value["type"].as_str().map(str::to_owned));
    let kind = kind.unwrap_or_else(|| "an event".to_owned());
    match event.step() {
        Some(step) => format!("`{kind}` of step `{step}`"),
        None => format!("`{kind}`"),
    }
}
