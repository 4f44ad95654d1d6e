//! Expands a step's texts against what has happened: its condition, its parameters, its questions.

use std::cell::OnceCell;
use std::time::Duration;

use minijinja::Value as Jinja;
use serde_json::{Value, json};

use super::event::Outcome;
use super::state::{RunState, StepRecord};
use crate::action::{ActionError, ErrorKind};
use crate::base::{Digest, HumanDuration, StepId, Timestamp};
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
    id: &'s StepId,
    now: Timestamp,
    /// Put together when the first text needs it: most steps have none.
    scope: OnceCell<Scope>,
}

impl<'s> Rendering<'s> {
    /// The texts of the step at `now`.
    pub fn new(state: &'s RunState, id: &'s StepId, now: Timestamp) -> Option<Self> {
        let step = state.plan().runbook().step(id)?;
        Some(Self { state, step, id, now, scope: OnceCell::new() })
    }

    fn scope(&self) -> &Scope {
        self.scope.get_or_init(|| scope(self.state, self.step, self.id, self.now))
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
        match self.recorded().or(with.as_literal()) {
            Some(params) => Ok(params.clone()),
            None => render(with, self.scope()),
        }
    }

    /// What the step is about to do, with the digest that approvals are bound to.
    pub fn prepare(&self) -> Result<Prepared, RenderError> {
        let params = self.params()?;
        let digest = match &self.step.does {
            Does::Action { uses, with } if self.recorded().is_none() && may_name_the_run(with) => {
                let timeless = render(with, &scope(self.state, self.step, self.id, Timestamp::UNIX_EPOCH))?;
                self.digest(uses, &timeless)
            }
            Does::Action { uses, .. } => self.digest(uses, &params),
            Does::Call(_) | Does::Decide(_) | Does::Manual(_) | Does::Gate => self.digest("none", &Value::Null),
        };
        Ok(Prepared { params, digest })
    }

    fn recorded(&self) -> Option<&'s Value> {
        self.state.record(self.id).and_then(|record| record.params.as_deref())
    }

    fn digest(&self, action: &str, params: &Value) -> Digest {
        let plan = self.state.plan().digest();
        Digest::of_json(&json!({ "plan": plan, "step": self.id, "action": action, "params": params }))
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

/// May a text in it depend on the time? That stands in `run.now` and nowhere else.
fn may_name_the_run(templated: &Templated) -> bool {
    let mut found = false;
    templated.visit(&mut Vec::new(), &mut |_, template| found |= template.0.contains("run"));
    found
}

fn render(templated: &Templated, scope: &Scope) -> Result<Value, RenderError> {
    templated.render(scope).map_err(|(path, error)| RenderError {
        place: ["with".to_owned()].into_iter().chain(path).collect::<Vec<_>>().join("."),
        reason: error.to_string(),
    })
}

/// What the names in a step's texts mean. Only the steps that it reads are put together.
fn scope(state: &RunState, step: &Step, id: &StepId, now: Timestamp) -> Scope {
    let runbook = state.plan().runbook();
    let mut scope = Scope::default();
    scope.set("inputs", input_values(runbook, state.plan().inputs()));
    scope.set("secrets", Jinja::from_pairs(runbook.secrets.keys().map(|name| (name.clone(), secret_value(name)))));
    scope.set("run", run_value(state, now));
    let own = state.record(id).into_iter().map(|record| (id.clone(), record));
    let read = steps_read(step);
    for (id, record) in read.into_iter().filter_map(|id| state.record(&id).map(|record| (id, record))).chain(own) {
        scope.set(id.as_str(), step_value(record));
    }
    scope
}

fn run_value(state: &RunState, now: Timestamp) -> Jinja {
    let text = |text: Option<&str>| text.map_or_else(|| Jinja::from(()), Jinja::from);
    Jinja::from_pairs([
        ("id", text(state.run().map(crate::base::RunId::as_str))),
        ("name", Jinja::from(state.plan().runbook().name.as_str())),
        ("now", moment_value(now)),
        ("started_at", state.started_at().map_or_else(|| Jinja::from(()), moment_value)),
        ("by", text(state.started_by())),
        ("drill", Jinja::from(state.drill().is_some())),
        ("outcome", text(state.outcome_before_finally().map(Outcome::word))),
    ])
}

fn step_value(record: &StepRecord) -> Jinja {
    let moment = |at: Option<Timestamp>| at.map_or_else(|| Jinja::from(()), moment_value);
    let outputs = record.outputs.as_deref().map_or_else(nothing, json_value);
    let error = record.error.as_ref().map_or_else(nothing, |error| {
        Jinja::from_pairs([
            ("kind", Jinja::from(error.kind.as_str())),
            ("message", Jinja::from(error.message.as_str())),
            ("status", error.status.map_or_else(|| Jinja::from(()), Jinja::from)),
            ("code", error.code.as_deref().map_or_else(|| Jinja::from(()), Jinja::from)),
            ("trace", error.trace.as_deref().map_or_else(|| Jinja::from(()), Jinja::from)),
            ("retry_after_ms", error.retry_after_ms.map_or_else(|| Jinja::from(()), Jinja::from)),
        ])
    });
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
        ("started_at", moment(record.started_at)),
        ("finished_at", moment(record.finished_at)),
        ("approval", approval),
    ])
}
