//! Says for people what a step, or its undo, does: at gates, in doubt, and wherever a run is played through.

use serde_json::Value;

use crate::action::{Intent, Registry};
use crate::plan::show_secrets;
use crate::run::{Kept, StepRecord};
use crate::runbook::{Does, Step, Undo};

/// What a step would do with these parameters, secrets by their names.
pub fn describe(registry: &Registry, step: &Step, params: &Value) -> Vec<Intent> {
    let mut does = match &step.does {
        Does::Action { uses, .. } => registry.get(uses).and_then(|action| action.describe(params)).unwrap_or_default(),
        Does::Call(call) => vec![Intent::note(format!("runs {} with {params}", call.file))],
        Does::Decide(_) | Does::Manual(_) | Does::Gate => Vec::new(),
    };
    does.iter_mut().for_each(show_secrets);
    does
}

/// What a step, or its undo, was doing when it was lost sight of.
pub fn describe_doubtful(registry: &Registry, step: &Step, record: &StepRecord, undo: bool) -> Vec<Intent> {
    match &step.undo {
        Some(Undo::Action { uses, .. }) if undo => {
            let params = record.undo_params.as_ref().map(Kept::value).unwrap_or_default();
            let mut does = registry.get(uses).and_then(|action| action.describe(&params)).unwrap_or_default();
            does.iter_mut().for_each(show_secrets);
            does
        }
        _ => describe(registry, step, &record.params.as_ref().map(Kept::value).unwrap_or_default()),
    }
}
