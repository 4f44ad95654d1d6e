//! What came of a step with others inside it: a loop, or a call of another runbook.

use serde_json::json;

use super::event::{Outcome, Returned};
use super::rendering::outputs_of;
use super::state::{Inside, Loop, RunState};
use crate::action::{ActionError, ErrorKind};
use crate::base::{StepPath, Timestamp};

/// What came of the items of this step, or of the runbook it calls, now that they are over.
pub fn returned(state: &RunState, path: &StepPath, now: Timestamp) -> Returned {
    let internal = || Returned::Failed { error: ActionError::new(ErrorKind::Internal, "nothing is inside this step") };
    let Some(node) = state.place(path) else { return internal() };
    match state.records[node].inside.as_deref() {
        Some(Inside::Loop(looped)) => of_loop(state, node, looped),
        Some(Inside::Call(frame)) => of_call(state, node, *frame, now),
        None => internal(),
    }
}

fn of_loop(state: &RunState, node: usize, looped: &Loop) -> Returned {
    let total = looped.nodes.len();
    let left = total - looped.ended();
    let outputs = json!({
        "total": total,
        "succeeded": looped.succeeded,
        "failed": looped.failed,
        "skipped": looped.skipped + left,
    });
    let error = if state.records[node].out_of_time {
        state.out_of_time_error(node)
    } else if looped.failed >= looped.tolerates {
        let first = looped.first_failure.map(|item| why(state, item)).unwrap_or_default();
        let message = format!("{} of {total} items failed; the first: {first}", looped.failed);
        ActionError::new(ErrorKind::Failed, message)
    } else if left > 0 {
        ActionError::new(ErrorKind::Failed, format!("the run stopped with {left} of {total} items not begun"))
    } else {
        return Returned::Succeeded { outputs };
    };
    Returned::Failed { error: error.with_outputs(&outputs) }
}

fn of_call(state: &RunState, node: usize, frame: usize, now: Timestamp) -> Returned {
    let it = &state.frames[frame];
    let outcome = state.with_final_failure(frame, it.finally.unwrap_or(Outcome::Failed));
    match outcome {
        Outcome::Succeeded => match outputs_of(state, frame, now) {
            Ok(outputs) => Returned::Succeeded { outputs },
            Err(error) => Returned::Failed { error: error.into() },
        },
        Outcome::Rejected => {
            let gate = state.unhandled_rejection(frame).unwrap_or(node);
            Returned::Rejected { step: state.path(gate).clone() }
        }
        Outcome::Failed | Outcome::RolledBack | Outcome::Stuck | Outcome::Cancelled => {
            let mut error = if state.records[node].out_of_time {
                state.out_of_time_error(node)
            } else {
                let failed = it.first_failure.or_else(|| {
                    let is_failure = |node: &usize| state.records[*node].error.is_some();
                    it.finals().find(is_failure)
                });
                let message = match (failed, outcome) {
                    (Some(failed), Outcome::RolledBack) => format!("{}; it was rolled back", why(state, failed)),
                    (Some(failed), Outcome::Stuck) => format!("{}; an undo failed", why(state, failed)),
                    (Some(failed), _) => why(state, failed),
                    (None, _) => "the run stopped".to_owned(),
                };
                ActionError::new(ErrorKind::Failed, message)
            };
            error.code = Some(outcome.word().to_owned());
            Returned::Failed { error }
        }
    }
}

/// Which step failed, and why.
fn why(state: &RunState, node: usize) -> String {
    let path = state.path(node);
    match &state.records[node].error {
        Some(error) => format!("`{path}` failed: {}", error.message),
        None => format!("`{path}` did not succeed"),
    }
}
