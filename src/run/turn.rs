//! A step's turn: skip it, ask about it, decide it, go into it, or begin a try.

use serde_json::Value;

use super::event::{Cause, Event};
use super::rendering::Rendering;
use super::state::{RunState, StepState};
use crate::action::{ActionError, ErrorKind, Intent};
use crate::base::{StepPath, Timestamp, clock};
use crate::runbook::{Does, OnTimeout, Step};

/// How many items of a loop people are shown one by one.
const SHOWN: usize = 20;

/// The event that a step's turn leads to at `now`. `describe` says for people what a step would do with its parameters.
pub fn take_turn(
    state: &RunState,
    path: &StepPath,
    now: Timestamp,
    describe: impl Fn(&Step, &Value) -> Vec<Intent>,
) -> Event {
    turn(state, path, now, describe).unwrap_or_else(|error| Event::StepFailed { step: path.clone(), error })
}

fn turn(
    state: &RunState,
    path: &StepPath,
    now: Timestamp,
    describe: impl Fn(&Step, &Value) -> Vec<Intent>,
) -> Result<Event, ActionError> {
    let internal = || ActionError::new(ErrorKind::Internal, "the run has no such step");
    let node = state.place(path).ok_or_else(internal)?;
    let rendering = Rendering::new(state, path, now).ok_or_else(internal)?;
    let record = &state.records[node];
    let step = state.written(node);
    let is_item = state.nodes[node].item.is_some();
    let first_time = record.attempts == 0;
    let approved = match &record.state {
        StepState::Approved(digest) => Some(digest),
        _ => None,
    };
    // The condition of a loop is asked once, not for each item.
    if first_time && approved.is_none() && !is_item && !record.forced && !rendering.condition_holds()? {
        let condition = step.condition.as_ref().map(ToString::to_string).unwrap_or_default();
        return Ok(Event::StepSkipped { step: path.clone(), because: Cause::Condition { condition } });
    }
    // A gate is asked about exactly this effect; what was approved and what is about to happen must be the same.
    if let Some(approval) = state.approval(node)
        && first_time
        && let prepared = rendering.prepare()?
        && approved != Some(&prepared.digest)
    {
        let lapses = approval.within.filter(|_| approval.on_timeout == OnTimeout::Reject);
        let does = match (&prepared.params, &prepared.items) {
            (Value::Array(params), Some(keys)) => describe_items(step, keys, params, describe),
            (params, _) => describe(step, params),
        };
        return Ok(Event::GateOpened {
            step: path.clone(),
            digest: prepared.digest,
            prompt: rendering.prompt()?,
            does,
            expires: lapses.map(|within| clock::after(now, within.0)),
        });
    }
    if state.is_loop(node) {
        return Ok(Event::LoopBegan { step: path.clone(), items: rendering.items()? });
    }
    if step.measure.is_some() && rendering.measure_length().is_none() {
        return Err(ActionError::new(ErrorKind::Template, "`measure.expires` is no duration here"));
    }
    match &step.does {
        Does::Decide(_) => match rendering.decided()? {
            (None, _) => Err(ActionError::new(ErrorKind::Failed, "no arm of the decision holds")),
            (arm, outputs) => Ok(Event::Decided { step: path.clone(), arm, outputs }),
        },
        Does::Manual(_) => Ok(Event::ManualAsked { step: path.clone(), text: rendering.manual_text()? }),
        Does::Gate => Err(ActionError::new(ErrorKind::Internal, "a bare gate has nothing to run")),
        Does::Call(_) => call(state, path, &rendering.call_inputs()?),
        Does::Action { .. } => Ok(Event::AttemptStarted {
            step: path.clone(),
            attempt: state.next_attempt(path),
            params: if first_time { Some(rendering.params()?) } else { None },
        }),
    }
}

fn call(
    state: &RunState,
    path: &StepPath,
    given: &std::collections::BTreeMap<String, Value>,
) -> Result<Event, ActionError> {
    let (plan, place) = state.plan_of(path).ok_or_else(|| ActionError::new(ErrorKind::Internal, "no such step"))?;
    let called = plan
        .called(place, given)
        .ok_or_else(|| ActionError::new(ErrorKind::Internal, "the plan does not hold the called runbook"))?;
    let called = called.map_err(|problems| {
        let told: Vec<String> = problems.iter().map(ToString::to_string).collect();
        ActionError::invalid_params(format!("the inputs of the called runbook do not fit: {}", told.join("; ")))
    })?;
    let inputs = called.inputs().clone();
    Ok(Event::CallBegan { step: path.clone(), plan: called.digest().clone(), inputs, locks: Vec::new() })
}

/// The first items one by one, the rest as a number. The digest is of all of them.
fn describe_items(
    step: &Step,
    keys: &[String],
    items: &[Value],
    describe: impl Fn(&Step, &Value) -> Vec<Intent>,
) -> Vec<Intent> {
    let shown: Vec<&str> = keys.iter().take(SHOWN).map(String::as_str).collect();
    let more = if keys.len() > SHOWN { ", …" } else { "" };
    let mut does = vec![Intent::note(format!("for each of {} items: {}{more}", keys.len(), shown.join(", ")))];
    does.extend(items.iter().take(SHOWN).flat_map(|params| describe(step, params)));
    if items.len() > SHOWN {
        does.push(Intent::note(format!("and the same for {} more", items.len() - SHOWN)));
    }
    does
}
