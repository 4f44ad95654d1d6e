//! What happens next, given what has happened.

use super::event::{Cause, Outcome, Timer};
use super::state::{RunState, StepState, UndoState};
use crate::base::{StepId, Timestamp};
use crate::runbook::OnFailure;

/// Something a driver is to do. All but [`Directive::Ask`], [`Directive::Stop`], [`Directive::Resolve`] and
/// [`Directive::WakeAt`] are answered by an event at once; those four stand until the world answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Directive {
    /// Let this step begin: hold its condition against what is known, open its gate, or start a try.
    Begin(StepId),
    /// Record that this step will not run.
    Skip(StepId, Cause),
    /// Ask people about this step.
    Ask(StepId),
    /// Let this timer fire when its time has come. It is the earliest one.
    WakeAt(Timestamp, Timer),
    /// Find out what became of the try of this step that was under way when its process died.
    Resolve(StepId),
    /// Stop the try of this step.
    Stop(StepId),
    /// Undo this step.
    Undo(StepId),
    /// Let the final steps begin.
    BeginFinally(Outcome),
    /// The run is over.
    Finish(Outcome),
}

/// How many steps that run nothing are begun in one go: enough to be quick, few enough to keep batches small.
const INSTANT_STEPS: usize = 64;

/// What happens next. The same state gives the same directives in the same order.
pub fn decide(state: &RunState) -> Vec<Directive> {
    if state.run().is_none() || state.outcome().is_some() {
        return Vec::new();
    }
    let plan = state.plan();
    let id = |place: usize| plan.id(place).clone();
    let in_finally = state.outcome_before_finally().is_some();
    // Once the final steps have begun, the ordinary ones stay as they are: a resumed run takes them up again.
    let first = if in_finally { plan.runbook().steps.len() } else { 0 };
    let mut directives = Vec::new();

    if state.is_cancelled() && !in_finally {
        let running = (0..plan.len()).filter(|place| state.at(*place).state == StepState::Running);
        directives.extend(running.map(|place| Directive::Stop(id(place))));
        if directives.is_empty() && state.undoing.is_none() {
            // A failed undo is told as such, whoever stops the run after it.
            let outcome = if state.undo_failed { Outcome::Stuck } else { Outcome::Cancelled };
            directives.push(Directive::BeginFinally(outcome));
        }
        return directives;
    }

    // A try in doubt is found out before anything is built on it or undone.
    directives.extend(state.in_doubt.range(first..).map(|place| Directive::Resolve(id(*place))));

    if state.is_halted() && !in_finally {
        return halted(state, directives);
    }

    directives.extend(state.doomed.range(first..).map(|(place, cause)| Directive::Skip(id(*place), cause.clone())));
    let limits = state.limits();
    let room =
        [INSTANT_STEPS, limits.io.saturating_sub(state.running[1]), limits.processes.saturating_sub(state.running[2])];
    for (queue, room) in state.ready.iter().zip(room) {
        directives.extend(queue.range(first..).take(room).map(|place| Directive::Begin(id(*place))));
    }
    directives.extend(state.open.range(first..).map(|place| Directive::Ask(id(*place))));
    directives.extend(earliest_timer(state, first));

    if directives.is_empty() && state.running.iter().sum::<usize>() == 0 {
        directives.push(match state.outcome_before_finally() {
            Some(outcome) => Directive::Finish(with_final_failure(outcome, state)),
            None => Directive::BeginFinally(forward_outcome(state)),
        });
    }
    directives
}

/// The first failure stopped the run: running steps end, waiting ones are skipped, then what was done is undone.
fn halted(state: &RunState, mut directives: Vec<Directive>) -> Vec<Directive> {
    let plan = state.plan();
    let failed = state.first_failure().cloned().expect("a halted run has a first failure");
    let never = |place: &usize| !matches!(state.at(*place).state, StepState::Running | StepState::InDoubt);
    directives.extend(state.unended.iter().filter(|place| never(place)).map(|place| {
        let cause = state.doomed.get(place).cloned().unwrap_or_else(|| Cause::Halted { step: failed.clone() });
        Directive::Skip(plan.id(*place).clone(), cause)
    }));
    if !directives.is_empty() || state.running.iter().sum::<usize>() > 0 || state.undoing.is_some() {
        return directives;
    }
    let rolls_back = plan.runbook().on_failure == OnFailure::Rollback;
    if rolls_back
        && !state.undo_failed
        && let Some(place) = state.to_undo().next()
    {
        return vec![Directive::Undo(plan.id(place).clone())];
    }
    let undid_any = state.records().any(|(_, record)| matches!(record.undo, Some(UndoState::Undone(_))));
    let outcome = match (state.undo_failed, rolls_back && undid_any) {
        (true, _) => Outcome::Stuck,
        (false, true) => Outcome::RolledBack,
        (false, false) => Outcome::Failed,
    };
    vec![Directive::BeginFinally(outcome)]
}

fn earliest_timer(state: &RunState, first: usize) -> Option<Directive> {
    let counts = |timer: &Timer| {
        let (Timer::Gate { step } | Timer::Again { step }) = timer;
        state.plan().place(step).is_some_and(|place| place >= first)
    };
    state.timers.iter().find(|(_, timer)| counts(timer)).map(|(at, timer)| Directive::WakeAt(*at, timer.clone()))
}

fn forward_outcome(state: &RunState) -> Outcome {
    if state.first_failure().is_some() {
        Outcome::Failed
    } else if state.unhandled_rejection() {
        Outcome::Rejected
    } else {
        Outcome::Succeeded
    }
}

fn with_final_failure(outcome: Outcome, state: &RunState) -> Outcome {
    if outcome == Outcome::Succeeded && state.final_failure() { Outcome::Failed } else { outcome }
}
