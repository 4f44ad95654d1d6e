//! What a plan shows of loops, of called runbooks and of locks before it runs.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Known, PlannedStep, ahead, steps_ahead, template_ahead, text_ahead};
use crate::action::Registry;
use crate::base::HumanDuration;
use crate::plan::Plan;
use crate::runbook::template::json_value;
use crate::runbook::{Does, Expression, FailAfter, ForEach, Templated};

/// A loop, as far as it is known.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedLoop {
    /// The list, as written.
    #[serde(rename = "in")]
    pub list: Expression,
    /// What an item is called.
    #[serde(rename = "as")]
    pub name: String,
    /// What tells the items apart, as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Expression>,
    /// How many items at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_most: Option<u32>,
    /// Does it begin with one item, then two, then four?
    pub ramp: bool,
    /// How many failed items make it fail: a number, or a part such as `10%`.
    pub fail_after: Value,
    /// The keys of its items; `None` when only the run can tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<Vec<String>>,
}

/// A called runbook, with all that it would do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedCall {
    /// Its name.
    pub runbook: String,
    /// Its title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Its file.
    pub file: String,
    /// The values of its inputs; `‹…›` where only the run can tell.
    pub inputs: IndexMap<String, Value>,
    /// The secrets it is given: by the name it knows them by, the name that the caller knows.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
    /// What only one run at a time may hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub locks: Vec<PlannedLock>,
    /// How long it may take by its own word.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<HumanDuration>,
    /// What follows its first failure.
    pub on_failure: Value,
    /// Its steps, wave by wave.
    pub steps: Vec<PlannedStep>,
}

/// A lock, by the name it will have.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedLock {
    /// Its name.
    pub name: String,
    /// How long to wait for the run that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<HumanDuration>,
}

pub(super) fn locks_ahead(plan: &Plan, known: &Known) -> Vec<PlannedLock> {
    let locks = plan.runbook().locks.iter();
    locks.map(|lock| PlannedLock { name: text_ahead(&lock.name, known), wait: lock.wait }).collect()
}

pub(super) fn loop_ahead(each: &ForEach, known: &Known) -> PlannedLoop {
    PlannedLoop {
        list: each.items.clone(),
        name: each.name.clone(),
        key: each.key.clone(),
        at_most: each.at_most,
        ramp: each.ramp,
        fail_after: match each.fail_after {
            FailAfter::Items(count) => count.into(),
            FailAfter::Percent(percent) => format!("{percent}%").into(),
        },
        items: keys_ahead(each, known),
    }
}

/// The keys of the items, when the list is known.
fn keys_ahead(each: &ForEach, known: &Known) -> Option<Vec<String>> {
    if !known.has(&each.items.references().ok()?) {
        return None;
    }
    let Ok(Value::Array(items)) = each.items.value(&known.scope) else { return None };
    let key_of = |item: &Value| {
        let found = match &each.key {
            None => item.clone(),
            Some(key) => {
                let mut scope = known.scope.clone();
                scope.set(each.name.as_str(), json_value(item));
                key.value(&scope).ok()?
            }
        };
        Some(match found {
            Value::String(text) => text,
            other => other.to_string(),
        })
    };
    items.iter().map(key_of).collect()
}

pub(super) fn call_ahead(plan: &Plan, place: usize, registry: &Registry, known: &Known) -> Option<PlannedCall> {
    let Does::Call(call) = &plan.step(place).does else { return None };
    let declared = &plan.called_runbook(place)?.inputs;
    let mut later = BTreeSet::new();
    let mut inputs = IndexMap::new();
    for (name, input) in declared {
        let (value, is_known) = match given(&call.with, name) {
            Some(given) => (ahead(&given, known), stands_fast(&given, known)),
            None => (Value::Null, true),
        };
        let value = if value.is_null() { input.default.clone().unwrap_or_default() } else { value };
        let read = if is_known && !value.is_null() { input.read(&value).ok() } else { None };
        if !is_known {
            later.insert(name.clone());
        }
        inputs.insert(name.clone(), read.unwrap_or(value));
    }
    let called = plan.called_ahead(place, inputs)?;
    let known = Known::of(&called, later);
    let runbook = called.runbook();
    Some(PlannedCall {
        runbook: runbook.name.to_string(),
        title: runbook.title.clone(),
        file: called.file().to_owned(),
        inputs: called.inputs().clone(),
        secrets: call.secrets.clone(),
        locks: locks_ahead(&called, &known),
        timeout: runbook.timeout,
        on_failure: json!(runbook.on_failure),
        steps: steps_ahead(&called, registry, &known),
    })
}

/// What a call gives as this input.
fn given(with: &Templated, name: &str) -> Option<Templated> {
    match with {
        Templated::Map(map) => map.get(name).cloned(),
        Templated::Literal(Value::Object(map)) => map.get(name).cloned().map(Templated::Literal),
        _ => None,
    }
}

fn stands_fast(given: &Templated, known: &Known) -> bool {
    let mut all = true;
    given.visit(&mut Vec::new(), &mut |_, template| all &= template_ahead(template, known).is_some());
    all
}
