//! What happens next, given what has happened.

use super::event::{Cause, Outcome, Timer, Why};
use super::state::{RunState, UndoState, Wait, Wake};
use crate::base::{StepPath, Timestamp};

/// Something a driver is to do. All but [`Directive::Ask`], [`Directive::Stop`], [`Directive::Resolve`],
/// [`Directive::ResolveUndo`] and [`Directive::WakeAt`] are answered by an event at once; those five stand until the
/// world answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Directive {
    /// Let this step begin: hold its condition against what is known, open its gate, or start a try.
    Begin(StepPath),
    /// Record that this step will not run.
    Skip(StepPath, Cause),
    /// All items of this step, or all steps of the runbook it calls, are over: record what came of them.
    Return(StepPath),
    /// Ask people about this step.
    Ask(StepPath),
    /// Let this timer fire when its time has come. It is the earliest one.
    WakeAt(Timestamp, Timer),
    /// Find out what became of the try of this step whose end nobody saw.
    Resolve(StepPath),
    /// Find out what became of the undo of this step whose end nobody saw.
    ResolveUndo(StepPath),
    /// Stop the try of this step.
    Stop(StepPath),
    /// Begin to undo these steps. With a step: those of the runbook that it calls.
    BeginRollback(Option<StepPath>, Vec<StepPath>, Why),
    /// Undo this step.
    Undo(StepPath),
    /// Let the final steps begin. With a step: those of the runbook that it calls.
    BeginFinally(Option<StepPath>, Outcome),
    /// The run is over.
    Finish(Outcome),
}

impl Directive {
    /// The step about which the world is asked, where this stands until somebody answers.
    pub fn asks_about(&self) -> Option<&StepPath> {
        match self {
            Self::Ask(step) | Self::Resolve(step) | Self::ResolveUndo(step) => Some(step),
            Self::Begin(_)
            | Self::Skip(..)
            | Self::Return(_)
            | Self::WakeAt(..)
            | Self::Stop(_)
            | Self::BeginRollback(..)
            | Self::Undo(_)
            | Self::BeginFinally(..)
            | Self::Finish(_) => None,
        }
    }
}

/// How many steps that run nothing are begun in one go: enough to be quick, few enough to keep batches small.
const INSTANT_STEPS: usize = 64;

/// What happens next. The same state gives the same directives in the same order.
pub fn decide(state: &RunState) -> Vec<Directive> {
    if state.run().is_none() || state.outcome().is_some() {
        return Vec::new();
    }
    // Once the final steps have begun, the ordinary ones stay as they are: a resumed run takes them up again.
    let only_final = state.outcome_before_finally().is_some() && state.reopened.is_none();
    if state.is_cancelled() && !only_final {
        return stopping(state);
    }
    let counts = |node: &usize| !only_final || state.nodes[*node].is_final;
    let path = |node: &usize| state.path(*node).clone();
    let mut directives = Vec::new();

    // What is in doubt is found out before anything is built on it or undone.
    directives.extend(state.in_doubt.iter().filter(|node| counts(node)).map(|node| Directive::Resolve(path(node))));
    directives.extend(state.to_stop.iter().filter(|node| counts(node)).map(|node| Directive::Stop(path(node))));
    directives.extend(
        state
            .doomed
            .iter()
            .filter(|(node, _)| counts(node) && !state.records[**node].is_under_way())
            .map(|(node, cause)| Directive::Skip(path(node), cause.clone())),
    );
    let limits = state.limits();
    // What is undone and what begins share the room that there is.
    let mut room = [usize::MAX, limits.io, limits.processes];
    for (room, running) in room.iter_mut().zip(state.running) {
        *room = room.saturating_sub(running);
    }
    undos(state, only_final, &mut room, &mut directives);
    begins(state, only_final, room, &mut directives);
    directives.extend(state.returning.iter().filter(|node| counts(node)).map(|node| Directive::Return(path(node))));
    frames(state, only_final, &mut directives);
    if state.reopened.is_none() {
        directives.extend(state.open.iter().filter(|node| counts(node)).map(|node| Directive::Ask(path(node))));
    }
    directives.extend(earliest(state, only_final));
    directives
}

/// The run is to stop: tries are stopped, undos may end, everything else stays as it is.
fn stopping(state: &RunState) -> Vec<Directive> {
    if state.reopened.is_some() {
        return state.may_finish().map(Directive::Finish).into_iter().collect();
    }
    match state.may_begin_finally(0) {
        Some(outcome) => vec![Directive::BeginFinally(None, outcome)],
        None => state.trying.iter().map(|node| Directive::Stop(state.path(*node).clone())).collect(),
    }
}

fn undos(state: &RunState, only_final: bool, room: &mut [usize; 3], directives: &mut Vec<Directive>) {
    let Some(rollback) = &state.rollback else {
        // Asked first, because it is cheap: the rest looks at everything that is ready.
        let is_wanted = !state.expired.is_empty() || state.reopened.as_ref().is_some_and(|reopened| !reopened.is_over);
        if !is_wanted {
            return;
        }
        // A step that is skipped between two tries may have done something: it is looked at once more.
        let skips = directives.iter().any(|directive| matches!(directive, Directive::Skip(..)));
        if state.undo_failed || only_final || skips || !state.is_certain() {
            return;
        }
        if let Some(node) = state.expired.first().filter(|_| state.reopened.is_none()) {
            let steps = state.to_undo_from(*node).into_iter().map(|node| state.path(node).clone()).collect();
            let caller = state.frames[state.nodes[*node].frame].caller;
            let within = caller.map(|caller| state.path(caller).clone());
            directives.push(Directive::BeginRollback(within, steps, Why::Expiry));
        } else if let Some(reopened) = state.reopened.as_ref().filter(|reopened| !reopened.is_over)
            && state.trying.is_empty()
        {
            let mut planned = state.to_undo_in(0);
            planned.retain(|node| reopened.only.is_empty() || reopened.only.contains(node));
            let steps = planned.into_iter().map(|node| state.path(node).clone()).collect();
            directives.push(Directive::BeginRollback(None, steps, Why::Request));
        }
        return;
    };
    for node in &rollback.due {
        match &state.records[*node].undo {
            Some(UndoState::Running) => {}
            // Whoever may not repeat it must find out first what became of it.
            Some(UndoState::InDoubt) if !state.is_undo_repeatable(*node) => {
                directives.push(Directive::ResolveUndo(state.path(*node).clone()));
            }
            _ => {
                let room = &mut room[state.queue_of(*node)];
                if *room > 0 {
                    *room -= 1;
                    directives.push(Directive::Undo(state.path(*node).clone()));
                }
            }
        }
    }
}

fn begins(state: &RunState, only_final: bool, room: [usize; 3], directives: &mut Vec<Directive>) {
    let room = [INSTANT_STEPS, room[1], room[2]];
    let may = |node: &&usize| {
        let record = &state.records[**node];
        (!only_final || state.nodes[**node].is_final) && (state.reopened.is_none() || record.settling)
    };
    for (queue, room) in state.ready.iter().zip(room) {
        directives.extend(queue.iter().filter(may).take(room).map(|node| Directive::Begin(state.path(*node).clone())));
    }
}

/// Frames of which all steps have ended go on: to their rollback, to their final steps, to their end.
fn frames(state: &RunState, only_final: bool, directives: &mut Vec<Directive>) {
    if state.reopened.is_some() {
        directives.extend(state.may_finish().map(Directive::Finish));
        return;
    }
    // One rollback at a time, and an expired measure comes first.
    let begun = state.rollback.is_some() || directives.iter().any(|it| matches!(it, Directive::BeginRollback(..)));
    let counts = |frame: &&usize| !only_final || **frame == 0 || state.is_frame_final(**frame);
    for frame in state.quiet.iter().filter(counts) {
        let caller = state.frames[*frame].caller.map(|caller| state.path(caller).clone());
        if state.frames[*frame].finally.is_some() {
            match caller {
                Some(caller) if state.is_frame_over(*frame) => directives.push(Directive::Return(caller)),
                Some(_) => {}
                None => directives.extend(state.may_finish().map(Directive::Finish)),
            }
        } else if let Some(outcome) = state.may_begin_finally(*frame) {
            directives.push(Directive::BeginFinally(caller, outcome));
        } else if !begun && state.undoing.is_empty() && state.must_roll_back(*frame) {
            let steps = state.to_undo_in(*frame).into_iter().map(|node| state.path(node).clone()).collect();
            directives.push(Directive::BeginRollback(caller, steps, Why::Failure));
            return;
        }
    }
}

fn earliest(state: &RunState, only_final: bool) -> Option<Directive> {
    let counts = |wake: Wake| match wake {
        Wake::Run => !only_final,
        // An undo that is tried again belongs to a rollback, whatever else is going on.
        Wake::Node(_, Wait::UndoAgain) => state.rollback.is_some(),
        Wake::Node(node, Wait::Measure) => !only_final && state.reopened.is_none() && state.records[node].stands(),
        Wake::Node(node, _) => state.reopened.is_none() && (!only_final || state.nodes[node].is_final),
    };
    let found = state.wakes.in_order().find(|(_, wake)| counts(*wake));
    found.map(|(at, wake)| Directive::WakeAt(at, state.timer(wake)))
}
