//! What could be looked at before a run: steps that only look, that certainly run, and that nothing is built on before.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;

use super::intent::{Fate, Foresight, PlannedStep, params_known, preview_with};
use super::{Plan, action_name};
use crate::action::{Effect, Intent, Registry};
use crate::base::{HumanDuration, StepPath};

/// A look that could be taken now.
#[derive(Debug, Clone)]
pub struct Readable {
    /// The step.
    pub path: StepPath,
    /// Its action.
    pub uses: String,
    /// Its parameters, all of them known; secrets as references.
    pub params: Value,
    /// How long a try may take.
    pub timeout: Option<HumanDuration>,
    /// The folder that relative paths start from.
    pub folder: PathBuf,
    /// Which secret of the plan the names in its runbook stand for.
    pub secrets: BTreeMap<String, String>,
}

/// The looks that could be taken now, given what is taken as given already. A step is among them only when
/// - its action only sends requests that only look,
/// - it certainly runs, once and not in a loop, and everything before it is known,
/// - no gate stands before it, and no write that would have changed what it sees,
/// - it does not wait for something to become so, of which one look would say nothing,
/// - all its parameters are known.
pub fn readable(plan: &Plan, registry: &Registry, foresight: &Foresight) -> Vec<Readable> {
    let preview = preview_with(plan, registry, foresight);
    let steps: BTreeMap<_, &PlannedStep> = preview.steps.iter().map(|step| (&step.id, step)).collect();
    let names = plan.secrets_given(&BTreeMap::new(), &BTreeMap::new());
    let params = params_known(plan, foresight);
    let mut built_on: BTreeSet<usize> = BTreeSet::new();
    let mut found = Vec::new();
    for place in plan.waves().into_iter().flatten() {
        let (id, step) = (plan.id(place), plan.step(place));
        let Some(planned) = steps.get(id) else { continue };
        let before: Vec<usize> = step.needs.keys().filter_map(|id| plan.place(id)).collect();
        let acts = planned.facts.effect == Effect::Write && planned.fate != Fate::Skipped;
        // Scripts that only look may do anything all the same, and what they would find is not known.
        if acts || before.iter().any(|at| built_on.contains(at)) {
            built_on.insert(place);
            continue;
        }
        let is_known = |at: &usize| {
            steps.get(plan.id(*at)).is_some_and(|step| match step.fate {
                Fate::Supposed | Fate::Read | Fate::Skipped => true,
                Fate::Runs => step.arms.iter().any(|arm| arm.chosen),
                Fate::Open => false,
            })
        };
        let Some(uses) = action_name(step) else { continue };
        let only_asks = planned.does.iter().all(|intent| match intent {
            Intent::Request { method, .. } => ["GET", "HEAD", "OPTIONS"].contains(&method.as_str()),
            Intent::Note { .. } => true,
            Intent::Process { .. } => false,
        });
        let asks = planned.does.iter().any(|intent| matches!(intent, Intent::Request { .. }));
        let may = planned.fate == Fate::Runs
            && planned.given.is_none()
            && !planned.is_final
            && !planned.behind_gate
            && step.for_each.is_none()
            && step.until.is_none()
            && planned.facts.effect == Effect::Read
            && only_asks
            && asks
            && before.iter().all(is_known);
        if !may {
            continue;
        }
        if let Some(params) = params(place) {
            found.push(Readable {
                path: StepPath::from(id),
                uses: uses.to_owned(),
                params,
                timeout: step.timeout,
                folder: plan.folder(),
                secrets: names.clone(),
            });
        }
    }
    found
}
