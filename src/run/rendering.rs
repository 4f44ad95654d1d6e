//! Expands a step's texts against what has happened: its condition, its parameters, its questions.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use minijinja::Value as Jinja;
use serde_json::{Value, json};

use super::event::{Item, Outcome};
use super::kept::Kept;
use super::state::{Frame, RunState};
use crate::action::{ActionError, ErrorKind};
use crate::base::{Digest, HumanDuration, StepId, StepPath, Timestamp};
use crate::plan::{input_values, steps_read};
use crate::runbook::template::{json_value, moment_value, nothing, secret_value};
use crate::runbook::{Does, Scope, Step, Templated, Undo};

/// What a step is about to do.
#[derive(Debug, Clone, PartialEq)]
pub struct Prepared {
    /// The action's parameters, secrets as references.
    pub params: Value,
    /// The digest approvals are bound to. Moments in it count from `run.now`, which differs between question and act.
    pub digest: Digest,
    /// The keys of the items, when it is a loop; its parameters are then a list.
    pub items: Option<Vec<String>>,
}

/// A text that failed when its values were known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{place}`: {reason}")]
pub struct RenderError {
    /// Where in the step.
    pub place: String,
    /// Why.
    pub reason: String,
}

impl From<RenderError> for ActionError {
    fn from(error: RenderError) -> Self {
        Self::new(ErrorKind::Template, error.to_string())
    }
}

/// The texts of one step, at one moment.
pub struct Rendering<'s> {
    state: &'s RunState,
    step: &'s Step,
    node: usize,
    path: &'s StepPath,
    now: Timestamp,
    /// Put together when the first text needs it: most steps have none.
    scope: OnceCell<Scope>,
}

impl<'s> Rendering<'s> {
    /// The texts of the step at `now`.
    pub fn new(state: &'s RunState, path: &'s StepPath, now: Timestamp) -> Option<Self> {
        let node = state.place(path)?;
        Some(Self { state, step: state.written(node), node, path, now, scope: OnceCell::new() })
    }

    fn scope(&self) -> &Scope {
        self.scope.get_or_init(|| self.scope_at(self.now))
    }

    fn scope_at(&self, now: Timestamp) -> Scope {
        let mut read = steps_read(self.step);
        let own = self.path.id();
        read.retain(|id| *id != own);
        let mut scope = scope(self.state, self.state.nodes[self.node].frame, &read, now);
        scope.set(own.as_str(), step_value(self.state, self.node));
        if let Some((name, item)) = self.state.item(self.path) {
            scope.set(name, json_value(&item.value));
        }
        scope
    }

    fn error(place: impl Into<String>, error: &crate::runbook::TemplateError) -> RenderError {
        RenderError { place: place.into(), reason: error.to_string() }
    }

    /// Does the step's condition hold?
    pub fn condition_holds(&self) -> Result<bool, RenderError> {
        self.step
            .condition
            .as_ref()
            .map_or(Ok(true), |condition| condition.holds(self.scope()).map_err(|error| Self::error("if", &error)))
    }

    /// The action's parameters: what it was given at its first try, if there was one.
    pub fn params(&self) -> Result<Value, RenderError> {
        let Does::Action { with, .. } = &self.step.does else { return Ok(Value::Null) };
        match self.recorded().or_else(|| with.as_literal().cloned()) {
            Some(params) => Ok(params),
            None => render(with, self.scope()),
        }
    }

    /// The inputs of the runbook that the step calls.
    pub fn call_inputs(&self) -> Result<BTreeMap<String, Value>, RenderError> {
        let Does::Call(call) = &self.step.does else { return Ok(BTreeMap::new()) };
        Ok(entries(render(&call.with, self.scope())?))
    }

    /// The items of a loop: its list is looked at, each item is given its key, and no two keys are the same.
    pub fn items(&self) -> Result<Vec<Item>, RenderError> {
        let Some(each) = &self.step.for_each else { return Ok(Vec::new()) };
        let refuse = |place: &str, reason: String| RenderError { place: format!("for_each.{place}"), reason };
        let list = each.items.value(self.scope()).map_err(|error| Self::error("for_each.in", &error))?;
        let Value::Array(list) = list else {
            return Err(refuse("in", format!("`{}` is no list here", each.items)));
        };
        let mut items = Vec::with_capacity(list.len());
        let mut seen = BTreeSet::new();
        let mut scope = each.key.as_ref().map(|_| self.scope().clone());
        for value in list {
            let key = match (&each.key, &mut scope) {
                (Some(key), Some(scope)) => {
                    scope.set(each.name.as_str(), json_value(&value));
                    key.value(scope).map_err(|error| Self::error("for_each.key", &error))?
                }
                _ => value.clone(),
            };
            let key = match key {
                Value::String(text) => text,
                Value::Number(number) => number.to_string(),
                Value::Bool(flag) => flag.to_string(),
                _ => {
                    let reason = "an item that is no text or number needs a `key` that tells it from the others";
                    return Err(refuse(if each.key.is_some() { "key" } else { "in" }, reason.to_owned()));
                }
            };
            if !seen.insert(key.clone()) {
                return Err(refuse("key", format!("two items have the key `{key}`")));
            }
            items.push(Item { key, value });
        }
        Ok(items)
    }

    /// What the step is about to do, with the digest that approvals are bound to.
    pub fn prepare(&self) -> Result<Prepared, RenderError> {
        if self.step.for_each.is_some() && self.state.nodes[self.node].item.is_none() {
            return self.prepare_loop();
        }
        let scope = if self.recorded().is_none() && may_name_the_run(self.step) {
            &self.scope_at(Timestamp::UNIX_EPOCH)
        } else {
            self.scope()
        };
        match &self.step.does {
            Does::Action { uses, with } => {
                let params = self.params()?;
                let timeless = match self.recorded().or_else(|| with.as_literal().cloned()) {
                    Some(params) => params,
                    None => render(with, scope)?,
                };
                Ok(Prepared { digest: self.digest(uses, &timeless), params, items: None })
            }
            Does::Call(call) => {
                let digest = self.digest(&format!("call {}", call.file), &render(&call.with, scope)?);
                Ok(Prepared { params: render(&call.with, self.scope())?, digest, items: None })
            }
            Does::Decide(_) | Does::Manual(_) | Does::Gate => {
                Ok(Prepared { params: Value::Null, digest: self.digest("none", &Value::Null), items: None })
            }
        }
    }

    /// What a loop is about to do, item by item.
    fn prepare_loop(&self) -> Result<Prepared, RenderError> {
        let (with, name) = match &self.step.does {
            Does::Action { uses, with } => (with, uses.clone()),
            Does::Call(call) => (&call.with, format!("call {}", call.file)),
            Does::Decide(_) | Does::Manual(_) | Does::Gate => {
                return Ok(Prepared { params: Value::Null, digest: self.digest("none", &Value::Null), items: None });
            }
        };
        let Some(each) = &self.step.for_each else {
            return Ok(Prepared { params: Value::Null, digest: self.digest("none", &Value::Null), items: None });
        };
        let items = self.items()?;
        let all = |now| {
            let mut scope = self.scope_at(now);
            let one = |item: &Item| {
                scope.set(each.name.as_str(), json_value(&item.value));
                render(with, &scope)
            };
            items.iter().map(one).collect::<Result<Vec<Value>, RenderError>>()
        };
        let params = Value::Array(all(self.now)?);
        let timeless = Value::Array(all(Timestamp::UNIX_EPOCH)?);
        let keys = items.into_iter().map(|item| item.key).collect();
        Ok(Prepared { digest: self.digest(&name, &timeless), params, items: Some(keys) })
    }

    fn recorded(&self) -> Option<Value> {
        self.state.records[self.node].params.as_ref().map(Kept::value)
    }

    fn digest(&self, action: &str, params: &Value) -> Digest {
        let plan = self.state.frames[self.state.nodes[self.node].frame].plan.digest();
        Digest::of_json(&json!({ "plan": plan, "step": self.path, "action": action, "params": params }))
    }

    /// Which arm of a `decide` step holds, and its outputs.
    pub fn decided(&self) -> Result<(Option<usize>, Value), RenderError> {
        let Does::Decide(decide) = &self.step.does else { return Ok((None, Value::Null)) };
        for (index, arm) in decide.arms.iter().enumerate() {
            let holds = arm.condition.as_ref().map_or(Ok(true), |condition| condition.holds(self.scope()));
            if holds.map_err(|error| Self::error(format!("with.{index}.if"), &error))? {
                return Ok((Some(index), render(&arm.then, self.scope())?));
            }
        }
        Ok((None, json!({})))
    }

    /// The question at the step's gate.
    pub fn prompt(&self) -> Result<String, RenderError> {
        let Some(approval) = &self.step.approval else { return Ok(String::new()) };
        approval.prompt.render_text(self.scope()).map_err(|error| Self::error("approval.prompt", &error))
    }

    /// What a person is to do.
    pub fn manual_text(&self) -> Result<String, RenderError> {
        let Does::Manual(manual) = &self.step.does else { return Ok(String::new()) };
        manual.text.render_text(self.scope()).map_err(|error| Self::error("manual.text", &error))
    }

    /// Does `until` hold with these outputs? `None` when the step has none.
    pub fn until_holds(&self, outputs: &Value) -> Result<Option<bool>, RenderError> {
        let Some(until) = &self.step.until else { return Ok(None) };
        let mut scope = self.scope().clone();
        scope.set("outputs", json_value(outputs));
        until.condition.holds(&scope).map(Some).map_err(|error| Self::error("until.if", &error))
    }

    /// Does what is looked at after an undo hold?
    pub fn verify_holds(&self, outputs: &Value) -> Result<bool, RenderError> {
        let Some(Undo::Action { verify: Some(verify), .. }) = &self.step.undo else { return Ok(true) };
        let Some(condition) = &verify.condition else { return Ok(true) };
        let mut scope = self.scope().clone();
        scope.set("outputs", json_value(outputs));
        condition.holds(&scope).map_err(|error| Self::error("undo.verify.if", &error))
    }

    /// The parameters of the look after an undo.
    pub fn verify_params(&self) -> Result<Option<Value>, RenderError> {
        match &self.step.undo {
            Some(Undo::Action { verify: Some(verify), .. }) => render(&verify.with, self.scope()).map(Some),
            _ => Ok(None),
        }
    }

    /// The parameters of the action that undoes the step; `None` when the step's own action does.
    pub fn undo_params(&self) -> Result<Option<Value>, RenderError> {
        match &self.step.undo {
            Some(Undo::Action { with, .. }) => render(with, self.scope()).map(Some),
            Some(Undo::Auto) | None => Ok(None),
        }
    }

    /// How long the step's emergency measure may be in force.
    pub fn measure_length(&self) -> Option<Duration> {
        let text = self.step.measure.as_ref()?.expires.render_text(self.scope()).ok()?;
        text.parse::<HumanDuration>().ok().map(|duration| duration.0)
    }

    /// The time the texts are expanded for.
    pub fn now(&self) -> Timestamp {
        self.now
    }
}

/// What a called runbook gives back, each output as the type it is declared with.
pub(super) fn outputs_of(state: &RunState, frame: usize, now: Timestamp) -> Result<Value, RenderError> {
    let plan = &state.frames[frame].plan;
    let mut given = serde_json::Map::new();
    if plan.runbook().outputs.is_empty() {
        return Ok(Value::Object(given));
    }
    let all: Vec<StepId> = plan.runbook().steps.keys().cloned().collect();
    let scope = scope(state, frame, &all, now);
    for (name, output) in &plan.runbook().outputs {
        let refuse = |reason: String| RenderError { place: format!("outputs.{name}"), reason };
        let value = output.value.render(&scope).map_err(|(_, error)| refuse(error.to_string()))?;
        let value = output.kind.read(value).map_err(refuse)?;
        given.insert(name.clone(), value);
    }
    Ok(Value::Object(given))
}

/// May a text in its parameters depend on the time? That stands in `run.now` and nowhere else.
fn may_name_the_run(step: &Step) -> bool {
    let with = match &step.does {
        Does::Action { with, .. } => with,
        Does::Call(call) => &call.with,
        Does::Decide(_) | Does::Manual(_) | Does::Gate => return false,
    };
    let mut found = false;
    with.visit(&mut Vec::new(), &mut |_, template| found |= template.0.contains("run"));
    found
}

fn entries(value: Value) -> BTreeMap<String, Value> {
    match value {
        Value::Object(map) => map.into_iter().collect(),
        _ => BTreeMap::new(),
    }
}

fn render(templated: &Templated, scope: &Scope) -> Result<Value, RenderError> {
    templated.render(scope).map_err(|(path, error)| RenderError {
        place: ["with".to_owned()].into_iter().chain(path).collect::<Vec<_>>().join("."),
        reason: error.to_string(),
    })
}

/// What the names in a runbook's texts mean. Only the steps that are read are put together.
fn scope(state: &RunState, frame: usize, read: &[StepId], now: Timestamp) -> Scope {
    let frame = &state.frames[frame];
    let runbook = frame.plan.runbook();
    let mut scope = Scope::default();
    scope.set("inputs", input_values(runbook, frame.plan.inputs()));
    scope.set(
        "secrets",
        Jinja::from_pairs(frame.secrets.iter().map(|(name, secret)| (name.clone(), secret_value(secret)))),
    );
    scope.set("run", run_value(state, frame, now));
    for id in read {
        if let Some(place) = frame.plan.place(id) {
            scope.set(id.as_str(), step_value(state, frame.nodes.start + place));
        }
    }
    scope
}

fn run_value(state: &RunState, frame: &Frame, now: Timestamp) -> Jinja {
    let text = |text: Option<&str>| text.map_or_else(|| Jinja::from(()), Jinja::from);
    Jinja::from_pairs([
        ("id", text(state.run().map(crate::base::RunId::as_str))),
        ("name", Jinja::from(frame.plan.runbook().name.as_str())),
        ("now", moment_value(now)),
        ("started_at", state.started_at().map_or_else(|| Jinja::from(()), moment_value)),
        ("by", text(state.started_by())),
        ("drill", Jinja::from(state.drill().is_some())),
        ("outcome", text(frame.finally.map(Outcome::word))),
    ])
}

fn step_value(state: &RunState, node: usize) -> Jinja {
    let record = &state.records[node];
    let moment = |at: Option<Timestamp>| at.map_or_else(|| Jinja::from(()), moment_value);
    let outputs = match loop_outputs(state, node) {
        Some(outputs) => outputs,
        None => record.outputs.as_ref().map_or_else(nothing, kept_value),
    };
    let error = record.error.as_deref().map_or_else(nothing, error_value);
    let last = record.decisions.last();
    let approval = last.map_or_else(nothing, |decision| {
        let answers = decision.answers.iter().map(|(name, value)| (name.clone(), json_value(value)));
        Jinja::from_pairs(answers.chain([("by".to_owned(), Jinja::from(decision.by.as_str()))]))
    });
    Jinja::from_pairs([
        ("outputs", outputs),
        ("result", record.result().map_or_else(|| Jinja::from(()), |result| Jinja::from(result.as_str()))),
        ("error", error),
        ("attempts", Jinja::from(record.attempts)),
        ("met", record.met.map_or_else(|| Jinja::from(()), Jinja::from)),
        ("started_at", moment(record.started_at)),
        ("finished_at", moment(record.finished_at)),
        ("approval", approval),
    ])
}

fn kept_value(kept: &Kept) -> Jinja {
    json_value(&kept.value())
}

fn error_value(error: &ActionError) -> Jinja {
    Jinja::from_pairs([
        ("kind", Jinja::from(error.kind.as_str())),
        ("message", Jinja::from(error.message.as_str())),
        ("status", error.status.map_or_else(|| Jinja::from(()), Jinja::from)),
        ("code", error.code.as_deref().map_or_else(|| Jinja::from(()), Jinja::from)),
        ("trace", error.trace.as_deref().map_or_else(|| Jinja::from(()), Jinja::from)),
        ("retry_after_ms", error.retry_after_ms.map_or_else(|| Jinja::from(()), Jinja::from)),
    ])
}

/// The outputs of a loop that is over: how its items fared, and what each of them gave.
fn loop_outputs(state: &RunState, node: usize) -> Option<Jinja> {
    let path = state.path(node);
    if !state.is_loop(node) || state.records[node].result().is_none() {
        return None;
    }
    let [succeeded, failed, _, total] = state.tally(path)?;
    let items = state.items(path)?.map(|(item, record)| {
        Jinja::from_pairs([
            ("key", Jinja::from(item.key.as_str())),
            ("result", record.result().map_or_else(|| Jinja::from(()), |result| Jinja::from(result.as_str()))),
            ("outputs", record.outputs.as_ref().map_or_else(nothing, kept_value)),
            ("error", record.error.as_deref().map_or_else(nothing, error_value)),
        ])
    });
    Some(Jinja::from_pairs([
        ("total", Jinja::from(total)),
        ("succeeded", Jinja::from(succeeded)),
        ("failed", Jinja::from(failed)),
        // Items that never began were left out as well.
        ("skipped", Jinja::from(total - succeeded - failed)),
        ("items", items.collect::<Vec<_>>().into()),
    ]))
}
