//! A step's turn: skip it, ask about it, decide it, or begin a try.

use serde_json::Value;

use super::event::{Cause, Event};
use super::rendering::Rendering;
use super::state::{RunState, StepState};
use crate::action::{ActionError, ErrorKind, Intent};
use crate::base::{StepId, Timestamp, clock};
use crate::runbook::{Does, OnTimeout, Step};

/// The event that a step's turn leads to at `now`. `describe` says for people what a step would do with its parameters.
pub fn take_turn(
    state: &RunState,
    id: &StepId,
    now: Timestamp,
    describe: impl Fn(&Step, &Value) -> Vec<Intent>,
) -> Event {
    turn(state, id, now, describe).unwrap_or_else(|error| Event::StepFailed { step: id.clone(), error })
}

fn turn(
    state: &RunState,
    id: &StepId,
    now: Timestamp,
    describe: impl Fn(&Step, &Value) -> Vec<Intent>,
) -> Result<Event, ActionError> {
    let internal = || ActionError::new(ErrorKind::Internal, "the plan has no such step");
    let rendering = Rendering::new(state, id, now).ok_or_else(internal)?;
    let record = state.record(id).ok_or_else(internal)?;
    let step = state.plan().runbook().step(id).ok_or_else(internal)?;
    let first_time = record.attempts == 0;
    let approved = match &record.state {
        StepState::Approved(digest) => Some(digest),
        _ => None,
    };
    if first_time && approved.is_none() && !rendering.condition_holds()? {
        let condition = step.condition.as_ref().map(ToString::to_string).unwrap_or_default();
        return Ok(Event::StepSkipped { step: id.clone(), because: Cause::Condition { condition } });
    }
    // A gate is asked about exactly this effect; what was approved and what is about to happen must be the same.
    if let Some(approval) = &step.approval
        && first_time
        && let prepared = rendering.prepare()?
        && approved != Some(&prepared.digest)
    {
        let lapses = approval.within.filter(|_| approval.on_timeout == OnTimeout::Reject);
        return Ok(Event::GateOpened {
            step: id.clone(),
            digest: prepared.digest,
            prompt: rendering.prompt()?,
            does: describe(step, &prepared.params),
            expires: lapses.map(|within| clock::after(now, within.0)),
        });
    }
    if step.measure.is_some() && rendering.measure_length().is_none() {
        return Err(ActionError::new(ErrorKind::Template, "`measure.expires` is no duration here"));
    }
    match &step.does {
        Does::Decide(_) => match rendering.decided()? {
            (None, _) => Err(ActionError::new(ErrorKind::Failed, "no arm of the decision holds")),
            (arm, outputs) => Ok(Event::Decided { step: id.clone(), arm, outputs }),
        },
        Does::Manual(_) => Ok(Event::ManualAsked { step: id.clone(), text: rendering.manual_text()? }),
        Does::Call(_) | Does::Gate => Err(ActionError::new(ErrorKind::Internal, "a bare gate has nothing to run")),
        Does::Action { .. } => Ok(Event::AttemptStarted {
            step: id.clone(),
            attempt: state.next_attempt(id),
            params: if first_time { Some(rendering.params()?) } else { None },
        }),
    }
}
