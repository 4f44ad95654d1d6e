//! What a plan shows of loops, of called runbooks and of locks before it runs.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use super::known::Known;
use super::{Looking, PlannedStep, Within, steps_ahead};
use crate::action::Intent;
use crate::base::HumanDuration;
use crate::plan::Plan;
use crate::runbook::template::Reference;
use crate::runbook::{Does, Expression, FailAfter, ForEach, InputProblem, Templated};

/// A loop, as far as it is known.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct PlannedLoop {
    /// The list, as written.
    #[serde(rename = "in")]
    #[schemars(with = "String")]
    pub list: Expression,
    /// What an item is called.
    #[serde(rename = "as")]
    pub name: String,
    /// What tells the items apart, as written.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
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
    /// Exactly what it would do for each of the first items.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub each: Vec<PlannedItem>,
    /// Why it could not begin, when that is known already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// What would be done for one item of a loop.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct PlannedItem {
    /// Its key.
    pub key: String,
    /// Exactly what would be done for it.
    pub does: Vec<Intent>,
}

/// How many items are shown one by one.
const SHOWN: usize = 5;

/// A called runbook, with all that it would do.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct PlannedCall {
    /// Its name.
    pub runbook: String,
    /// Its title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Its file.
    pub file: String,
    /// The values of its inputs; `‹…›` where only the run can tell.
    #[schemars(with = "BTreeMap<String, Value>")]
    pub inputs: IndexMap<String, Value>,
    /// Values that it will not take, as far as they are known already.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
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
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct PlannedLock {
    /// Its name.
    pub name: String,
    /// How long to wait for the run that holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub wait: Option<HumanDuration>,
}

pub(super) fn locks_ahead(plan: &Plan, known: &Known) -> Vec<PlannedLock> {
    let locks = plan.runbook().locks.iter();
    locks.map(|lock| PlannedLock { name: known.text(&lock.name), wait: lock.wait }).collect()
}

/// The loop of a step. `does` says what it would do with what is known.
pub(super) fn loop_ahead(each: &ForEach, known: &Known, does: impl Fn(&Known) -> Vec<Intent>) -> PlannedLoop {
    let (items, problem) = match items_ahead(each, known) {
        None => (None, None),
        Some(Ok(items)) => (Some(items), None),
        Some(Err(problem)) => (None, Some(problem)),
    };
    let first = items.iter().flatten().take(SHOWN);
    let shown =
        first.map(|(key, item)| PlannedItem { key: key.clone(), does: does(&known.with_item(&each.name, item)) });
    let shown: Vec<PlannedItem> = shown.filter(|item| !item.does.is_empty()).collect();
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
        items: items.map(|items| items.into_iter().map(|(key, _)| key).collect()),
        each: shown,
        problem,
    }
}

/// The items with their keys, when the list is known, or why the loop could not begin with it.
fn items_ahead(each: &ForEach, known: &Known) -> Option<Result<Vec<(String, Value)>, String>> {
    let items = match known.value(&each.items)? {
        Ok(Value::Array(items)) => items,
        Ok(_) => return Some(Err(format!("`{}` is no list", each.items))),
        Err(error) => return Some(Err(error.message)),
    };
    if !each.key.as_ref().is_none_or(|key| key.references().is_ok_and(|names| is_of_item(each, known, &names))) {
        return None;
    }
    let mut found: Vec<(String, Value)> = Vec::with_capacity(items.len());
    let mut seen = BTreeSet::new();
    for (index, item) in items.into_iter().enumerate() {
        let key = match key_of(each, &item, known) {
            Ok(key) => key,
            Err(reason) => return Some(Err(format!("item {}: {reason}", index + 1))),
        };
        if !seen.insert(key.clone()) {
            return Some(Err(format!("two items have the key `{key}`")));
        }
        found.push((key, item));
    }
    Some(Ok(found))
}

fn is_of_item(each: &ForEach, known: &Known, names: &[Reference]) -> bool {
    let others: Vec<Reference> = names.iter().filter(|name| name.root() != each.name).cloned().collect();
    known.has(&others)
}

fn key_of(each: &ForEach, item: &Value, known: &Known) -> Result<String, String> {
    let found = match &each.key {
        None => item.clone(),
        Some(key) => match known.with_item(&each.name, item).value(key) {
            Some(found) => found.map_err(|error| error.message)?,
            None => return Err("its key is not known yet".to_owned()),
        },
    };
    match found {
        Value::String(text) => Ok(text),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(flag) => Ok(flag.to_string()),
        _ => Err("its key is no text and no number".to_owned()),
    }
}

/// What a call gives, before it runs.
struct CallInputs {
    /// The inputs, as far as they are known.
    values: IndexMap<String, Value>,
    /// Those that only the run can tell.
    later: BTreeSet<String>,
    /// Values that the called runbook will not take.
    problems: Vec<String>,
}

fn inputs_ahead(plan: &Plan, place: usize, known: &Known) -> Option<CallInputs> {
    let Does::Call(call) = &plan.step(place).does else { return None };
    let declared = &plan.called_runbook(place)?.inputs;
    let mut problems = Vec::new();
    let mut later = BTreeSet::new();
    let mut inputs = IndexMap::new();
    for (name, input) in declared {
        let (value, is_known) = match given(&call.with, name) {
            Some(given) => (known.ahead(&given), known.stands_fast(&given)),
            None => (Value::Null, true),
        };
        let value = if value.is_null() { input.default.clone().unwrap_or_default() } else { value };
        if !is_known {
            later.insert(name.clone());
            inputs.insert(name.clone(), value);
        } else if value.is_null() {
            if input.required {
                problems.push(InputProblem::Missing { name: name.clone(), description: None }.to_string());
            }
            inputs.insert(name.clone(), value);
        } else {
            let read = input.read(&value).unwrap_or_else(|reason| {
                problems.push(InputProblem::Unfit { name: name.clone(), reason }.to_string());
                value
            });
            inputs.insert(name.clone(), read);
        }
    }
    Some(CallInputs { values: inputs, later, problems })
}

/// The plan of the runbook that a step calls, and what is known of it.
pub(super) fn known_inside(plan: &Plan, place: usize, known: &Known) -> Option<(Plan, Known)> {
    entered(plan, place, known, inputs_ahead(plan, place, known)?)
}

fn entered(plan: &Plan, place: usize, known: &Known, given: CallInputs) -> Option<(Plan, Known)> {
    let CallInputs { values, later, .. } = given;
    let called = plan.called_ahead(place, values)?;
    let supposed = known.supposed.inside(plan.id(place));
    let known = Known::of(&called, later, supposed);
    Some((called, known))
}

pub(super) fn call_ahead(
    plan: &Plan,
    place: usize,
    looking: &Looking<'_>,
    known: &Known,
    within: &Within,
) -> Option<PlannedCall> {
    let Does::Call(call) = &plan.step(place).does else { return None };
    let mut given = inputs_ahead(plan, place, known)?;
    let problems = std::mem::take(&mut given.problems);
    let (called, mut known) = entered(plan, place, known, given)?;
    let locks = locks_ahead(&called, &known);
    let steps = steps_ahead(&called, looking, &mut known, within);
    let runbook = called.runbook();
    Some(PlannedCall {
        runbook: runbook.name.to_string(),
        title: runbook.title.clone(),
        file: called.file().to_owned(),
        inputs: called.inputs().clone(),
        problems,
        secrets: call.secrets.clone(),
        locks,
        timeout: runbook.timeout,
        on_failure: json!(runbook.on_failure),
        steps,
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
