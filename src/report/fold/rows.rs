//! The rows of a summary that follow from where the steps stand.

use super::span;
use crate::base::StepPath;
use crate::plan::action_name;
use crate::report::summary::{StepRow, UndoneRow};
use crate::run::{Answer, RunState, StepRecord, StepState, UndoState};
use crate::runbook::{Does, StepResult};

/// The row of a step. Items that did what they should are counted by their loop, and have none.
pub(super) fn row(state: &RunState, path: &StepPath, record: &StepRecord) -> Option<StepRow> {
    let step = state.step(path)?;
    let is_item = state.is_item(path);
    let is_quiet = matches!(
        record.state,
        StepState::Waiting | StepState::Ready | StepState::Ended(StepResult::Succeeded | StepResult::Skipped)
    );
    if is_item && is_quiet {
        return None;
    }
    let kind = match &step.does {
        Does::Action { .. } => action_name(step).unwrap_or_default(),
        Does::Decide(_) => "decide",
        Does::Manual(_) => "manual",
        Does::Gate => "gate",
        Does::Call(_) => "call",
    };
    Some(StepRow {
        id: path.clone(),
        title: step.title.clone(),
        kind: kind.to_owned(),
        is_final: state.is_final(path),
        result: standing_word(&record.state),
        allow_failure: step.allow_failure,
        started: record.started_at,
        finished: record.finished_at,
        duration: record.started_at.zip(record.finished_at).map(|(from, to)| span(from, to)),
        attempts: record.attempts,
        error: record.error.as_deref().cloned(),
        cause: record.cause.as_ref().map(ToString::to_string),
        outputs: record.outputs.clone(),
        approved_by: approvers(record),
    })
}

fn approvers(record: &StepRecord) -> Vec<String> {
    let approved = record.decisions.iter().filter(|decision| decision.answer == Answer::Approve);
    approved.map(|decision| decision.by.clone()).collect()
}

/// Who agreed to what a step does.
pub(super) fn approved_by(state: &RunState, path: &StepPath) -> Vec<String> {
    state.record(path).map(approvers).unwrap_or_default()
}

fn standing_word(state: &StepState) -> &'static str {
    match state {
        StepState::Waiting => "waiting",
        StepState::Ready => "ready",
        StepState::AtGate(_) => "at_gate",
        StepState::Approved(_) => "approved",
        StepState::Asked => "asked",
        StepState::Running => "running",
        StepState::Within => "within",
        StepState::Pausing => "pausing",
        StepState::Interrupted => "interrupted",
        StepState::InDoubt => "in_doubt",
        StepState::Ended(result) => result.as_str(),
    }
}

pub(super) fn undone(id: &StepPath, record: &StepRecord) -> Option<UndoneRow> {
    match record.undo.as_ref()? {
        UndoState::Undone(undone) => Some(UndoneRow {
            step: id.clone(),
            succeeded: true,
            what: undone.summary.clone(),
            left: undone.left.clone(),
        }),
        UndoState::Failed(error) => {
            Some(UndoneRow { step: id.clone(), succeeded: false, what: error.message.clone(), left: Vec::new() })
        }
        UndoState::Running | UndoState::Pausing | UndoState::InDoubt => None,
    }
}

/// The files that `report.render` steps say they wrote.
pub(super) fn reports(state: &RunState) -> Vec<String> {
    let rendered = state.records().filter(|(id, record)| {
        let step = state.step(id);
        step.and_then(action_name) == Some("report.render") && record.result() == Some(StepResult::Succeeded)
    });
    rendered
        .filter_map(|(_, record)| record.outputs.as_ref()?.value().get("path")?.as_str().map(str::to_owned))
        .collect()
}
