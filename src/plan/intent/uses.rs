//! Every action that a plan may run, with its parameters as far as they are known before it runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;

use super::Verdict;
use super::known::Known;
use super::nested::known_inside;
use crate::base::StepPath;
use crate::plan::{Plan, Supposed};
use crate::runbook::{Approval, Does, ForEach, Templated, Undo};

/// How many items of a known list are looked at.
const MOST_ITEMS: usize = 100;

/// What a step runs an action for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// It is what the step does.
    Act,
    /// It takes back what the step has done.
    Undo,
    /// It looks whether that has worked.
    Verify,
}

/// One action that the plan may run.
#[derive(Debug, Clone, PartialEq)]
pub struct Use {
    /// The step, through all calls.
    pub step: StepPath,
    /// What for.
    pub purpose: Purpose,
    /// The action's name.
    pub action: String,
    /// Its parameters, secrets as references; `‹…›` where only the run can tell.
    pub params: Value,
    /// The folder that relative paths start from.
    pub folder: PathBuf,
    /// Which secret of the whole plan the names in its runbook stand for.
    pub secrets: BTreeMap<String, String>,
}

/// One gate of the plan.
#[derive(Debug, Clone, PartialEq)]
pub struct Gated {
    /// The step behind it, through all calls.
    pub step: StepPath,
    /// Its rules.
    pub approval: Approval,
}

/// What the steps of a plan use, those of called runbooks included. Steps whose condition can never hold are left out.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Uses {
    /// The actions.
    pub actions: Vec<Use>,
    /// The gates.
    pub gates: Vec<Gated>,
    /// The names of the locks; `‹…›` where only the run can tell.
    pub locks: BTreeSet<String>,
}

/// Can this text be known before the run?
pub fn stands_before_the_run(text: &str) -> bool {
    !text.contains('‹') && !text.contains("%E2%80%B9")
}

/// Collects what a plan uses. Asks nobody anything.
pub fn uses(plan: &Plan) -> Uses {
    let mut found = Uses::default();
    let names = plan.secrets_given(&BTreeMap::new(), &BTreeMap::new());
    collect(plan, &Known::of(plan, BTreeSet::new(), Supposed::default()), None, &names, &mut found);
    found
}

fn collect(plan: &Plan, known: &Known, above: Option<&StepPath>, names: &BTreeMap<String, String>, found: &mut Uses) {
    found.locks.extend(plan.runbook().locks.iter().map(|lock| known.text(&lock.name)));
    for place in 0..plan.len() {
        let (id, step) = (plan.id(place), plan.step(place));
        if step.condition.as_ref().is_some_and(|condition| known.verdict(condition) == Verdict::Never) {
            continue;
        }
        let path = above.map_or_else(|| StepPath::from(id), |above| above.inside(id));
        if let Some(approval) = &step.approval {
            found.gates.push(Gated { step: path.clone(), approval: (**approval).clone() });
        }
        let mut parts = Vec::new();
        match &step.does {
            Does::Action { uses, with } => parts.push((Purpose::Act, uses, with)),
            Does::Call(call) => {
                if let Some((called, inside)) = known_inside(plan, place, known) {
                    let names = called.secrets_given(&call.secrets, names);
                    collect(&called, &inside, Some(&path), &names, found);
                }
            }
            Does::Decide(_) | Does::Manual(_) | Does::Gate => {}
        }
        if let Some(Undo::Action { uses, with, verify, .. }) = &step.undo {
            parts.push((Purpose::Undo, uses, with));
            parts.extend(verify.iter().map(|verify| (Purpose::Verify, &verify.uses, &verify.with)));
        }
        for (purpose, action, with) in parts {
            for params in params_ahead(with, step.for_each.as_deref(), known) {
                found.actions.push(Use {
                    step: path.clone(),
                    purpose,
                    action: action.clone(),
                    params,
                    folder: plan.folder(),
                    secrets: names.clone(),
                });
            }
        }
    }
}

/// The parameters as far as they are known; those of every item, where a loop's list is known.
fn params_ahead(with: &Templated, each: Option<&ForEach>, known: &Known) -> Vec<Value> {
    let Some(each) = each else { return vec![known.ahead(with)] };
    match known.value(&each.items) {
        Some(Ok(Value::Array(items))) => {
            items.iter().take(MOST_ITEMS).map(|item| known.with_item(&each.name, item).ahead(with)).collect()
        }
        _ => vec![known.ahead(with)],
    }
}
