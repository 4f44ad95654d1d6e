//! The rows of a summary that follow from where the steps stand.

use std::collections::{BTreeMap, BTreeSet};

use super::span;
use crate::action::Effect;
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
        changes: changes(state, path),
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

/// Does a step change something, itself or by the hands of a person? A call does by what is in it.
fn changes(state: &RunState, path: &StepPath) -> bool {
    let writes = state.facts(path).is_some_and(|facts| facts.effect == Effect::Write);
    state.step(path).is_some_and(|step| match step.does {
        Does::Manual(_) => true,
        Does::Call(_) => false,
        Does::Action { .. } | Does::Decide(_) | Does::Gate => writes,
    })
}

/// The rows with what is inside a step right after it; otherwise in their order.
pub(super) fn nested(rows: Vec<StepRow>) -> Vec<StepRow> {
    let mut inside: BTreeMap<Option<String>, Vec<StepRow>> = BTreeMap::new();
    let known: BTreeSet<String> = rows.iter().map(|row| row.id.to_string()).collect();
    for row in rows {
        let around = ancestors(row.id.as_str()).find(|around| known.contains(*around)).map(str::to_owned);
        inside.entry(around).or_default().push(row);
    }
    let mut ordered = Vec::new();
    let mut next: Vec<StepRow> = inside.remove(&None).unwrap_or_default().into_iter().rev().collect();
    while let Some(row) = next.pop() {
        next.extend(inside.remove(&Some(row.id.to_string())).unwrap_or_default().into_iter().rev());
        ordered.push(row);
    }
    ordered
}

/// What a path lies in, the nearest first: `a[k]/b` in `a[k]`, and that in `a`.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    let cut = |path: &'_ str| path.rfind(['/', '[']);
    std::iter::successors(cut(path).map(|at| &path[..at]), move |path| cut(path).map(|at| &path[..at]))
}

/// The files that `report.render` steps say they wrote.
pub(super) fn reports(state: &RunState) -> Vec<String> {
    let rendered = state.records().filter(|(id, record)| {
        let step = state.step(id);
        step.and_then(action_name) == Some("report.render") && record.result() == Some(StepResult::Succeeded)
    });
    let mut files: Vec<String> = Vec::new();
    for (_, record) in rendered {
        let path = record.outputs.as_ref().and_then(|outputs| outputs.value().get("path")?.as_str().map(str::to_owned));
        // A called runbook writes its own, and whoever calls may write over it.
        files.extend(path.filter(|path| !files.contains(path)));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_step_lies_in_is_found_from_the_inside() {
        let found: Vec<&str> = ancestors("regions[e%2Fu]/go[1]").collect();
        assert_eq!(found, ["regions[e%2Fu]/go", "regions[e%2Fu]", "regions"]);
        assert_eq!(ancestors("alone").count(), 0);
    }
}
