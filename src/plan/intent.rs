//! The plan as people read it before it runs: what is decided, what each step would do, what could be undone.

mod nested;
mod uses;

pub use nested::{PlannedCall, PlannedLock, PlannedLoop};
pub use uses::{Gated, Purpose, Use, Uses, stands_before_the_run, uses};

use std::collections::BTreeSet;

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::{Value, json};

use self::nested::{call_ahead, locks_ahead, loop_ahead};
use super::{Facts, Plan, templates, undo_of};
use crate::action::{Effect, Intent, Registry};
use crate::base::secret;
use crate::base::{HumanDuration, StepId, StepPath};
use crate::runbook::template::{json_value, secret_value};
use crate::runbook::{
    Does, Expression, GivingUp, InputType, OnExpiry, Retry, Runbook, Scope, Step, Template, TemplateError, Templated,
    Undo,
};

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
    /// Set when it is done once for each item of a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub for_each: Option<PlannedLoop>,
    /// The runbook it calls, with all that this one would do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<PlannedCall>,
    /// Exactly what it would do, for a sample item of a loop; secrets as `‹secret NAME›`, values known only later as `‹…›`.
    pub does: Vec<Intent>,
    /// The question at its gate, who may answer, and how long it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<Value>,
    /// How it would be undone; `None` when it would not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undo: Option<String>,
    /// Exactly what the undo would do, where another action does it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub undo_does: Vec<Intent>,
    /// How long that may take, when it is tried again, and how it is seen that it has worked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub undo_limits: Vec<String>,
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
    /// What only one run at a time may hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub locks: Vec<PlannedLock>,
    /// How long the whole run may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<HumanDuration>,
    /// What follows the first failure.
    pub on_failure: Value,
    /// The steps, wave by wave.
    pub steps: Vec<PlannedStep>,
}

impl PlannedStep {
    /// Does it change something by itself? A call does not: the steps that it calls do.
    pub fn writes(&self) -> bool {
        self.facts.effect == Effect::Write && self.calls.is_none()
    }
}

impl Preview {
    /// Every step, those of called runbooks behind the step that calls them.
    pub fn all_steps(&self) -> Vec<(StepPath, &PlannedStep)> {
        fn walk<'p>(steps: &'p [PlannedStep], above: Option<&StepPath>, found: &mut Vec<(StepPath, &'p PlannedStep)>) {
            for step in steps {
                let path = above.map_or_else(|| StepPath::from(&step.id), |above| above.inside(&step.id));
                found.push((path.clone(), step));
                if let Some(call) = &step.calls {
                    walk(&call.steps, Some(&path), found);
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.steps, None, &mut found);
        found
    }

    /// Steps that change something and could not be undone.
    pub fn not_undoable(&self) -> Vec<StepPath> {
        let stays = |step: &PlannedStep| step.writes() && step.undo.is_none();
        self.all_steps().into_iter().filter(|(_, step)| stays(step)).map(|(path, _)| path).collect()
    }
}

/// Looks ahead, without asking anybody anything.
pub fn preview(plan: &Plan, registry: &Registry) -> Preview {
    let known = Known::of(plan, BTreeSet::new());
    Preview {
        runbook: plan.runbook().name.to_string(),
        title: plan.runbook().title.clone(),
        file: plan.file().to_owned(),
        digest: plan.digest().to_string(),
        source: plan.source_digest().to_string(),
        inputs: plan.inputs().clone(),
        secrets: json!(plan.runbook().secrets),
        locks: locks_ahead(plan, &known),
        timeout: plan.runbook().timeout,
        on_failure: json!(plan.runbook().on_failure),
        steps: steps_ahead(plan, registry, &known),
    }
}

fn steps_ahead(plan: &Plan, registry: &Registry, known: &Known) -> Vec<PlannedStep> {
    let mut steps = Vec::with_capacity(plan.len());
    for (wave, places) in plan.waves().into_iter().enumerate() {
        for place in places {
            steps.push(planned(plan, place, wave + 1, registry, known));
        }
    }
    steps
}

fn planned(plan: &Plan, place: usize, wave: usize, registry: &Registry, known: &Known) -> PlannedStep {
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
        verdict: step.condition.as_ref().map_or(Verdict::Always, |condition| verdict(condition, known)),
        arms: arms(step, known),
        for_each: step.for_each.as_ref().map(|each| loop_ahead(each, known)),
        calls: call_ahead(plan, place, registry, known),
        does: intents(step, registry, known),
        gate: step.approval.as_ref().map(|approval| {
            json!({
                "prompt": text_ahead(&approval.prompt, known),
                "by": approval.by,
                "at_least": approval.at_least,
                "not_requester": approval.not_requester,
                "within": approval.within,
                "on_timeout": approval.on_timeout,
                "asks": approval.ask.keys().collect::<Vec<_>>(),
            })
        }),
        undo: undo_of(step, registry).map(|(_, words)| words),
        undo_does: undo_intents(step, registry, known),
        undo_limits: undo_limits(step),
        measure: step.measure.as_ref().map(|measure| {
            let mut shown = json!({ "expires": text_ahead(&measure.expires, known), "closed_by": measure.closed_by });
            if measure.on_expiry == OnExpiry::Undo {
                shown["on_expiry"] = json!(measure.on_expiry);
            }
            shown
        }),
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
    let looped = step.for_each.is_some();
    if let Some(timeout) = step.timeout {
        limits.push(match &step.does {
            Does::Call(_) => format!("the called runbook ends after {timeout}"),
            _ if looped => format!("each try of an item ends after {timeout}"),
            _ => format!("each try ends after {timeout}"),
        });
    }
    if let Some(deadline) = step.deadline {
        let whole = if looped { "the whole loop" } else { "the step, with all its tries," };
        limits.push(format!("{whole} ends after {deadline}"));
    }
    if let Some(retry) = &step.retry {
        limits.push(tries(retry));
    }
    if let Some(until) = &step.until {
        let given_up = match until.on_timeout {
            GivingUp::Fail => "",
            GivingUp::Succeed => ", then it counts as done all the same",
        };
        limits.push(format!("every {} until {} (at most {}{given_up})", until.every, until.condition, until.within));
    }
    limits
}

fn tries(retry: &Retry) -> String {
    let on = if retry.on.is_empty() { "what may pass".to_owned() } else { retry.on.join(", ") };
    format!("up to {} tries on {on}", retry.attempts)
}

fn undo_limits(step: &Step) -> Vec<String> {
    let Some(Undo::Action { timeout, retry, verify, .. }) = &step.undo else { return Vec::new() };
    let mut limits: Vec<String> = timeout.iter().map(|timeout| format!("each try ends after {timeout}")).collect();
    limits.extend(retry.as_deref().map(tries));
    limits.extend(verify.as_ref().map(|verify| {
        let holds = verify.condition.as_ref().map_or_else(String::new, |condition| format!(" shows {condition}"));
        format!("it has worked when `{}`{}", verify.uses, if holds.is_empty() { " succeeds" } else { &holds })
    }));
    limits
}

fn arms(step: &Step, known: &Known) -> Vec<Arm> {
    let Does::Decide(decide) = &step.does else { return Vec::new() };
    decide
        .arms
        .iter()
        .map(|arm| Arm {
            condition: arm.condition.clone(),
            verdict: arm.condition.as_ref().map_or(Verdict::Always, |condition| verdict(condition, known)),
            then: ahead(&arm.then, known),
        })
        .collect()
}

fn intents(step: &Step, registry: &Registry, known: &Known) -> Vec<Intent> {
    match &step.does {
        Does::Action { uses, with } => described(uses, with, registry, known),
        Does::Manual(manual) => vec![Intent::Note { text: text_ahead(&manual.text, known) }],
        // What a call does is what the called runbook does.
        Does::Call(_) | Does::Decide(_) | Does::Gate => Vec::new(),
    }
}

fn undo_intents(step: &Step, registry: &Registry, known: &Known) -> Vec<Intent> {
    match &step.undo {
        Some(Undo::Action { uses, with, .. }) => described(uses, with, registry, known),
        Some(Undo::Auto) | None => Vec::new(),
    }
}

fn described(uses: &str, with: &Templated, registry: &Registry, known: &Known) -> Vec<Intent> {
    let params = ahead(with, known);
    let described = registry.get(uses).and_then(|action| action.describe(&params));
    let mut intents = described.unwrap_or_else(|| vec![Intent::Note { text: format!("{uses} with {params}") }]);
    intents.iter_mut().for_each(show_secrets);
    intents
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

/// What is known of one runbook of a plan.
struct Known {
    scope: Scope,
    /// Inputs of a called runbook that only the run can tell.
    later: BTreeSet<String>,
}

impl Known {
    fn of(plan: &Plan, later: BTreeSet<String>) -> Self {
        let runbook = plan.runbook();
        let inputs = plan.inputs().iter().filter(|(name, _)| !later.contains(*name));
        let inputs: IndexMap<String, Value> = inputs.map(|(name, value)| (name.clone(), value.clone())).collect();
        Self { scope: known_scope(runbook, &inputs), later }
    }

    /// Does everything that these names mean stand fast?
    fn has(&self, references: &[crate::runbook::template::Reference]) -> bool {
        references.iter().all(|reference| match (reference.root(), reference.path.get(1)) {
            ("inputs", Some(name)) => !self.later.contains(name),
            ("inputs", None) => self.later.is_empty(),
            ("secrets", _) => true,
            _ => false,
        })
    }
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

fn verdict(condition: &Expression, known: &Known) -> Verdict {
    match condition.references() {
        Ok(references) if known.has(&references) => match condition.holds(&known.scope) {
            Ok(true) => Verdict::Always,
            Ok(false) => Verdict::Never,
            Err(_) => Verdict::Open,
        },
        _ => Verdict::Open,
    }
}

/// A value with everything expanded that is known; the rest stands as `‹expression›`.
fn ahead(templated: &Templated, known: &Known) -> Value {
    templated
        .render_with(&mut |template| {
            let value = template_ahead(template, known);
            Ok::<_, TemplateError>(value.unwrap_or_else(|| Value::String(partly(template, known))))
        })
        .unwrap_or_else(|(_, error)| Value::String(format!("‹{}›", error.message)))
}

/// What a template comes to, when that is known.
fn template_ahead(template: &Template, known: &Known) -> Option<Value> {
    let references = template.references().ok()?;
    if known.has(&references) { template.render(&known.scope).ok() } else { None }
}

fn text_ahead(template: &Template, known: &Known) -> String {
    secret::shown(&partly(template, known))
}

/// A template with each expansion for itself, so that one unknown does not hide the known ones beside it.
fn partly(template: &Template, known: &Known) -> String {
    let mut shown = String::new();
    for (text, is_expansion) in pieces(&template.0) {
        if !is_expansion {
            shown.push_str(text);
            continue;
        }
        match template_ahead(&Template(text.to_owned()), known) {
            None => shown.push_str(&format!("‹{}›", text.trim_matches(['{', '}', ' ']))),
            Some(Value::String(text)) => shown.push_str(&text),
            Some(other) => shown.push_str(&other.to_string()),
        }
    }
    shown
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
