//! The plan as people read it before it runs: what is decided, what each step would do, what could be undone.

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Facts, Plan, templates, undo_of};
use crate::action::{Intent, Registry};
use crate::base::StepId;
use crate::base::secret;
use crate::runbook::template::{json_value, secret_value};
use crate::runbook::{Does, Expression, InputType, Runbook, Scope, Step, Template, TemplateError, Templated};

/// What is known of a condition before the run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It holds whatever happens.
    Always,
    /// It never holds.
    Never,
    /// Only the run can tell: both arms are possible.
    Open,
}

/// One arm of a `decide` step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Arm {
    /// Its condition, as written; `None` for the last resort.
    #[serde(rename = "if", skip_serializing_if = "Option::is_none")]
    pub condition: Option<Expression>,
    /// What is known of it.
    pub verdict: Verdict,
    /// The outputs it gives, as far as they are known.
    pub then: Value,
}

/// One step of the plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PlannedStep {
    /// Its id.
    pub id: StepId,
    /// Its title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Which wave it belongs to, from 1.
    pub wave: usize,
    /// Does it belong to `finally`?
    #[serde(rename = "final")]
    pub is_final: bool,
    /// The action, or `decide`, `manual`, `gate`.
    pub kind: String,
    /// What the action is.
    pub facts: Facts,
    /// What it needs, and with which result.
    pub needs: IndexMap<StepId, String>,
    /// Its condition, as written.
    #[serde(rename = "if", skip_serializing_if = "Option::is_none")]
    pub condition: Option<Expression>,
    /// What is known of its condition.
    pub verdict: Verdict,
    /// The arms of a `decide` step.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub arms: Vec<Arm>,
    /// Exactly what it would do, secrets as `‹secret NAME›`, values known only later as `‹…›`.
    pub does: Vec<Intent>,
    /// The question at its gate, who may answer, and how long it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<Value>,
    /// How it would be undone; `None` when it would not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undo: Option<String>,
    /// Set when it puts an emergency measure in force: when that ends, and by which step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measure: Option<Value>,
    /// When it is tried again, how long it may take, what it waits for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<String>,
    /// May the run go on when it fails?
    pub allow_failure: bool,
}

/// The plan as people read it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Preview {
    /// The runbook's name.
    pub runbook: String,
    /// Its title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The file.
    pub file: String,
    /// The digest that approvals and drills refer to.
    pub digest: String,
    /// The digest of the file's bytes.
    pub source: String,
    /// The values of the inputs.
    pub inputs: IndexMap<String, Value>,
    /// Where the secrets come from; never their values.
    pub secrets: Value,
    /// What follows the first failure.
    pub on_failure: Value,
    /// The steps, wave by wave.
    pub steps: Vec<PlannedStep>,
}

impl Preview {
    /// Steps that change something and could not be undone.
    pub fn not_undoable(&self) -> impl Iterator<Item = &PlannedStep> {
        self.steps.iter().filter(|step| step.facts.effect == crate::action::Effect::Write && step.undo.is_none())
    }
}

/// Looks ahead, without asking anybody anything.
pub fn preview(plan: &Plan, registry: &Registry) -> Preview {
    let scope = known_scope(plan.runbook(), plan.inputs());
    let mut steps = Vec::with_capacity(plan.len());
    for (wave, places) in plan.waves().into_iter().enumerate() {
        for place in places {
            steps.push(planned(plan, place, wave + 1, registry, &scope));
        }
    }
    Preview {
        runbook: plan.runbook().name.to_string(),
        title: plan.runbook().title.clone(),
        file: plan.file().to_owned(),
        digest: plan.digest().to_string(),
        source: plan.source_digest().to_string(),
        inputs: plan.inputs().clone(),
        secrets: json!(plan.runbook().secrets),
        on_failure: json!(plan.runbook().on_failure),
        steps,
    }
}

fn planned(plan: &Plan, place: usize, wave: usize, registry: &Registry, scope: &Scope) -> PlannedStep {
    let step = plan.step(place);
    PlannedStep {
        id: plan.id(place).clone(),
        title: step.title.clone(),
        wave,
        is_final: plan.is_final(place),
        kind: kind(step),
        facts: plan.facts(place).clone(),
        needs: step.needs.iter().map(|(id, need)| (id.clone(), need.to_string())).collect(),
        condition: step.condition.clone(),
        verdict: step.condition.as_ref().map_or(Verdict::Always, |condition| verdict(condition, scope)),
        arms: arms(step, scope),
        does: intents(step, registry, scope),
        gate: step.approval.as_ref().map(|approval| {
            json!({
                "prompt": text_ahead(&approval.prompt, scope),
                "by": approval.by,
                "at_least": approval.at_least,
                "not_requester": approval.not_requester,
                "within": approval.within,
                "on_timeout": approval.on_timeout,
                "asks": approval.ask.keys().collect::<Vec<_>>(),
            })
        }),
        undo: undo_of(step, registry).map(|(_, words)| words),
        measure: step
            .measure
            .as_ref()
            .map(|measure| json!({ "expires": text_ahead(&measure.expires, scope), "closed_by": measure.closed_by })),
        limits: limits(step),
        allow_failure: step.allow_failure,
    }
}

/// The action's name, or what the step is when it runs none.
fn kind(step: &Step) -> String {
    match &step.does {
        Does::Action { uses, .. } => uses.clone(),
        Does::Decide(_) => "decide".to_owned(),
        Does::Manual(_) => "manual".to_owned(),
        Does::Gate => "gate".to_owned(),
        Does::Call(call) => format!("call {}", call.file),
    }
}

fn limits(step: &Step) -> Vec<String> {
    let mut limits = Vec::new();
    if let Some(timeout) = step.timeout {
        limits.push(format!("each try ends after {timeout}"));
    }
    if let Some(retry) = &step.retry {
        let on = if retry.on.is_empty() { "what may pass".to_owned() } else { retry.on.join(", ") };
        limits.push(format!("up to {} tries on {on}", retry.attempts));
    }
    if let Some(until) = &step.until {
        limits.push(format!("every {} until {} (at most {})", until.every, until.condition, until.within));
    }
    limits
}

fn arms(step: &Step, scope: &Scope) -> Vec<Arm> {
    let Does::Decide(decide) = &step.does else { return Vec::new() };
    decide
        .arms
        .iter()
        .map(|arm| Arm {
            condition: arm.condition.clone(),
            verdict: arm.condition.as_ref().map_or(Verdict::Always, |condition| verdict(condition, scope)),
            then: ahead(&arm.then, scope),
        })
        .collect()
}

fn intents(step: &Step, registry: &Registry, scope: &Scope) -> Vec<Intent> {
    match &step.does {
        Does::Action { uses, with } => {
            let params = ahead(with, scope);
            let described = registry.get(uses).and_then(|action| action.describe(&params));
            let mut intents = described.unwrap_or_else(|| vec![Intent::Note { text: format!("{uses} with {params}") }]);
            intents.iter_mut().for_each(show_secrets);
            intents
        }
        Does::Manual(manual) => vec![Intent::Note { text: text_ahead(&manual.text, scope) }],
        Does::Call(call) => {
            vec![Intent::Note { text: format!("calls {} with {}", call.file, ahead(&call.with, scope)) }]
        }
        Does::Decide(_) | Does::Gate => Vec::new(),
    }
}

/// Puts readable names in the place of secret references.
pub fn show_secrets(intent: &mut Intent) {
    match intent {
        Intent::Request { url, body, .. } => {
            *url = secret::shown(url);
            if let Some(body) = body {
                show_in_json(body);
            }
        }
        Intent::Process { argv, script, .. } => {
            argv.iter_mut().chain(script).for_each(|text| *text = secret::shown(text));
        }
        Intent::Note { text } => *text = secret::shown(text),
    }
}

fn show_in_json(value: &mut Value) {
    match value {
        Value::String(text) => *text = secret::shown(text),
        Value::Array(items) => items.iter_mut().for_each(show_in_json),
        Value::Object(map) => map.values_mut().for_each(show_in_json),
        _ => {}
    }
}

/// What is known before the run: the inputs, and the names of the secrets.
pub(super) fn known_scope(runbook: &Runbook, inputs: &IndexMap<String, Value>) -> Scope {
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

fn is_known(references: &[crate::runbook::template::Reference]) -> bool {
    references.iter().all(|reference| matches!(reference.root(), "inputs" | "secrets"))
}

fn verdict(condition: &Expression, scope: &Scope) -> Verdict {
    match condition.references() {
        Ok(references) if is_known(&references) => match condition.holds(scope) {
            Ok(true) => Verdict::Always,
            Ok(false) => Verdict::Never,
            Err(_) => Verdict::Open,
        },
        _ => Verdict::Open,
    }
}

/// A value with everything expanded that is known; the rest stands as `‹expression›`.
fn ahead(templated: &Templated, scope: &Scope) -> Value {
    templated
        .render_with(&mut |template| Ok::<_, TemplateError>(template_ahead(template, scope)))
        .unwrap_or_else(|(_, error)| Value::String(format!("‹{}›", error.message)))
}

fn template_ahead(template: &Template, scope: &Scope) -> Value {
    match template.references() {
        Ok(references) if is_known(&references) => {
            template.render(scope).unwrap_or_else(|_| Value::String(unknown(template)))
        }
        _ => Value::String(unknown(template)),
    }
}

fn text_ahead(template: &Template, scope: &Scope) -> String {
    let mut shown = String::new();
    // Each expansion for itself, so that one unknown does not hide the known ones beside it.
    for (text, is_expansion) in pieces(&template.0) {
        if is_expansion {
            match template_ahead(&Template(text.to_owned()), scope) {
                Value::String(text) => shown.push_str(&secret::shown(&text)),
                other => shown.push_str(&other.to_string()),
            }
        } else {
            shown.push_str(text);
        }
    }
    shown
}

fn unknown(template: &Template) -> String {
    pieces(&template.0)
        .into_iter()
        .map(
            |(text, is_expansion)| {
                if is_expansion { format!("‹{}›", text.trim_matches(['{', '}', ' '])) } else { text.to_owned() }
            },
        )
        .collect()
}

/// A template cut into text and expansions.
fn pieces(text: &str) -> Vec<(&str, bool)> {
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

/// The steps whose values a step's texts read, besides its own.
pub fn steps_read(step: &Step) -> Vec<StepId> {
    let in_templates = templates(step).into_iter().filter_map(|(_, template)| template.references().ok());
    let in_expressions =
        super::expressions(step).into_iter().filter_map(|(_, expression)| expression.references().ok());
    let mut found: Vec<StepId> = in_templates
        .chain(in_expressions)
        .flatten()
        .filter_map(|reference| StepId::new(reference.root()).ok())
        .collect();
    found.sort();
    found.dedup();
    found
}
