//! What is known before the run, and what texts and conditions come to with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value;

use super::Verdict;
use crate::base::{StepId, secret};
use crate::plan::Plan;
use crate::plan::suppose::{StepFacts, Supposed, facts_value};
use crate::runbook::template::{Reference, json_value, secret_value};
use crate::runbook::{Expression, InputType, Runbook, Scope, Template, TemplateError, Templated};

/// What is known of one runbook of a plan.
#[derive(Clone)]
pub(in crate::plan) struct Known {
    scope: Scope,
    /// Inputs of a called runbook that only the run can tell.
    later: BTreeSet<String>,
    /// What follows of steps, or is taken as given of them.
    steps: Arc<BTreeMap<StepId, StepFacts>>,
    /// The item of a loop, by the name it has there.
    item: Option<(String, Value)>,
    pub(super) supposed: Supposed,
}

impl Known {
    /// What is known of a runbook that nobody has given inputs: its defaults.
    pub(in crate::plan) fn by_default(runbook: &Runbook) -> Self {
        let defaults = runbook.inputs.iter().filter_map(|(name, input)| {
            let default = input.default.as_ref()?;
            Some((name.clone(), input.read(default).unwrap_or_else(|_| default.clone())))
        });
        let defaults: IndexMap<String, Value> = defaults.collect();
        let later = runbook.inputs.keys().filter(|name| !defaults.contains_key(*name)).cloned().collect();
        let scope = known_scope(runbook, &defaults);
        Self { scope, later, steps: Arc::default(), item: None, supposed: Supposed::default() }
    }

    pub(super) fn of(plan: &Plan, later: BTreeSet<String>, supposed: Supposed) -> Self {
        let inputs = plan.inputs().iter().filter(|(name, _)| !later.contains(*name));
        let inputs: IndexMap<String, Value> = inputs.map(|(name, value)| (name.clone(), value.clone())).collect();
        let mut scope = known_scope(plan.runbook(), &inputs);
        let name = minijinja::Value::from(plan.runbook().name.as_str());
        scope.set("run", minijinja::Value::from_pairs([("name", name)]));
        Self { scope, later, steps: Arc::default(), item: None, supposed }
    }

    /// The same where an item of a loop is known.
    pub(super) fn with_item(&self, name: &str, value: &Value) -> Self {
        Self { item: Some((name.to_owned(), value.clone())), ..self.clone() }
    }

    pub(super) fn learn(&mut self, step: &StepId, facts: StepFacts) {
        Arc::make_mut(&mut self.steps).insert(step.clone(), facts);
    }

    /// Does everything that these names mean stand fast?
    pub(super) fn has(&self, references: &[Reference]) -> bool {
        references.iter().all(|reference| match (reference.root(), reference.path.get(1)) {
            ("inputs", Some(name)) => !self.later.contains(name),
            ("inputs", None) => self.later.is_empty(),
            ("secrets", _) => true,
            ("run", Some(name)) => name == "name",
            (root, _) if self.item.as_ref().is_some_and(|(name, _)| name == root) => true,
            (root, Some(fact)) => self
                .steps
                .get(root)
                .and_then(|facts| facts.get(fact))
                .is_some_and(|part| part.has(&reference.path[2..])),
            (_, None) => false,
        })
    }

    /// What these names mean; `None` where something of it is not known yet.
    pub(super) fn scope_of(&self, references: &[Reference]) -> Option<Scope> {
        if !self.has(references) {
            return None;
        }
        let mut scope = self.scope.clone();
        for root in references.iter().map(Reference::root) {
            if let Some(facts) = self.steps.get(root) {
                scope.set(root, facts_value(facts));
            }
        }
        if let Some((name, value)) = &self.item {
            scope.set(name.as_str(), json_value(value));
        }
        Some(scope)
    }

    /// What is known of a condition.
    pub(super) fn verdict(&self, condition: &Expression) -> Verdict {
        match condition.holds_as_far(&|references| self.scope_of(references)) {
            Ok(Some(true)) => Verdict::Always,
            Ok(Some(false)) => Verdict::Never,
            Ok(None) | Err(_) => Verdict::Open,
        }
    }

    /// The value of an expression, when it is known; or why it has none.
    pub(super) fn value(&self, expression: &Expression) -> Option<Result<Value, TemplateError>> {
        let scope = self.scope_of(&expression.references().ok()?)?;
        Some(expression.value(&scope))
    }

    /// A value with everything expanded that is known; the rest stands as `‹expression›`.
    pub(in crate::plan) fn ahead(&self, templated: &Templated) -> Value {
        templated
            .render_with(&mut |template| Ok::<_, TemplateError>(self.expanded(template)))
            .unwrap_or_else(|(_, error)| Value::String(format!("‹{}›", error.message)))
    }

    pub(super) fn stands_fast(&self, given: &Templated) -> bool {
        let mut all = true;
        given.visit(&mut Vec::new(), &mut |_, template| all = all && self.template(template).is_some());
        all
    }

    pub(in crate::plan) fn text(&self, template: &Template) -> String {
        let shown = match self.expanded(template) {
            Value::String(text) => text,
            other => other.to_string(),
        };
        secret::shown(&shown)
    }

    /// What a template comes to, when that is known.
    pub(in crate::plan) fn template(&self, template: &Template) -> Option<Value> {
        template.render_as_far(&|references| self.scope_of(references)).ok().flatten()
    }

    fn expanded(&self, template: &Template) -> Value {
        if template.is_plain() {
            return Value::String(template.0.clone());
        }
        self.template(template).unwrap_or_else(|| Value::String(self.partly(template)))
    }

    /// A template with each expansion for itself, so that one unknown does not hide the known ones beside it.
    fn partly(&self, template: &Template) -> String {
        let mut shown = String::new();
        let pieces = pieces(&template.0);
        let is_alone = pieces.len() == 1;
        for (text, is_expansion) in pieces {
            if !is_expansion {
                shown.push_str(text);
                continue;
            }
            let value = if is_alone { None } else { self.template(&Template(text.to_owned())) };
            match value {
                None => shown.push_str(&format!("‹{}›", text.trim_matches(['{', '}', ' ']))),
                Some(Value::String(text)) => shown.push_str(&text),
                Some(other) => shown.push_str(&other.to_string()),
            }
        }
        shown
    }
}

/// What is known before the run: the inputs, and the names of the secrets.
pub(in crate::plan) fn known_scope(runbook: &Runbook, inputs: &IndexMap<String, Value>) -> Scope {
    let mut scope = Scope::default();
    scope.set("inputs", input_values(runbook, inputs));
    scope.set(
        "secrets",
        minijinja::Value::from_pairs(runbook.secrets.keys().map(|name| (name.clone(), secret_value(name)))),
    );
    scope
}

/// Inputs as expressions see them: durations add to moments.
pub fn input_values(runbook: &Runbook, inputs: &IndexMap<String, Value>) -> minijinja::Value {
    minijinja::Value::from_pairs(inputs.iter().map(|(name, value)| {
        let is_duration = runbook.inputs.get(name).is_some_and(|input| input.kind == InputType::Duration);
        let duration = value.as_str().filter(|_| is_duration).and_then(|text| text.parse().ok());
        let value = match duration {
            Some(crate::base::HumanDuration(duration)) => crate::runbook::template::duration_value(duration),
            None => json_value(value),
        };
        (name.clone(), value)
    }))
}

/// A template cut into text and expansions.
pub(in crate::plan) fn pieces(text: &str) -> Vec<(&str, bool)> {
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("{{") {
        let end = rest[start..].find("}}").map_or(rest.len(), |length| start + length + 2);
        if start > 0 {
            pieces.push((&rest[..start], false));
        }
        pieces.push((&rest[start..end], true));
        rest = &rest[end..];
    }
    if !rest.is_empty() {
        pieces.push((rest, false));
    }
    pieces
}
