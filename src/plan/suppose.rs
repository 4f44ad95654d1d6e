//! Results that a plan takes as given before a run: supposed by whoever asks, or read from the world just now.

mod typed;

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde_json::{Value, json};

use self::typed::{Kind, fact_kind, output_kind};
use super::Plan;
use crate::action::{ActionError, Registry};
use crate::base::diagnostic::nearest;
use crate::base::{StepId, StepPath, Timestamp};
use crate::runbook::template::{json_value, moment_value, nothing, rfc3339};
use crate::runbook::{Does, Step, StepResult};

/// What is known of a value: all of it, or some of what is in it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Part {
    /// All of it.
    Whole(Value),
    /// A moment.
    Moment(Timestamp),
    /// That it is not there: whatever is asked of it has no value.
    Nothing,
    /// These parts of it. What is not among them is not known.
    Parts(BTreeMap<String, Part>),
}

/// What is known of a step: `outputs`, `result`, `error` and the others, by name.
pub(super) type StepFacts = BTreeMap<String, Part>;

impl Part {
    /// Is what this path names known?
    pub(super) fn has(&self, path: &[String]) -> bool {
        match (self, path.split_first()) {
            (Self::Parts(parts), Some((first, rest))) => parts.get(first).is_some_and(|part| part.has(rest)),
            (Self::Parts(_), None) => false,
            (Self::Whole(_) | Self::Moment(_) | Self::Nothing, _) => true,
        }
    }

    /// As expressions see it. What is not known is missing: ask [`Part::has`] first.
    pub(super) fn value(&self) -> minijinja::Value {
        match self {
            Self::Whole(value) => json_value(value),
            Self::Moment(at) => moment_value(*at),
            Self::Nothing => nothing(),
            Self::Parts(parts) => facts_value(parts),
        }
    }

    /// As people and programs see it; `null` for what is not there.
    fn shown(&self) -> Value {
        match self {
            Self::Whole(value) => value.clone(),
            Self::Moment(at) => rfc3339(*at).into(),
            Self::Nothing => Value::Null,
            Self::Parts(parts) => parts.iter().map(|(name, part)| (name.clone(), part.shown())).collect(),
        }
    }

    /// Puts a value at a path. What was known as a whole gives way.
    fn put(&mut self, path: &[String], value: Part) {
        let Some((first, rest)) = path.split_first() else {
            *self = value;
            return;
        };
        match self {
            Self::Parts(parts) => {
                parts.entry(first.clone()).or_insert_with(|| Self::Parts(BTreeMap::new())).put(rest, value);
            }
            Self::Whole(Value::Object(map)) => {
                let mut parts: BTreeMap<String, Part> =
                    map.iter().map(|(name, value)| (name.clone(), Self::Whole(value.clone()))).collect();
                parts.entry(first.clone()).or_insert_with(|| Self::Parts(BTreeMap::new())).put(rest, value);
                *self = Self::Parts(parts);
            }
            _ => {
                *self = Self::Parts(BTreeMap::new());
                self.put(path, value);
            }
        }
    }
}

/// A step as expressions see it.
pub(super) fn facts_value(facts: &StepFacts) -> minijinja::Value {
    minijinja::Value::from_pairs(facts.iter().map(|(name, part)| (name.clone(), part.value())))
}

/// Where what is taken as given comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// Somebody supposes it.
    Supposed,
    /// It was read from the world at this time.
    Read(String),
}

/// What is taken as given of one step.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Guess {
    pub(super) origin: Origin,
    pub(super) facts: StepFacts,
}

impl Guess {
    /// How the step ends by this, if that follows: as said, or failed where there is an error, succeeded where there are
    /// outputs.
    pub(super) fn result(&self) -> Option<StepResult> {
        match self.facts.get("result") {
            Some(Part::Whole(word)) => StepResult::ALL.into_iter().find(|result| word == result.as_str()),
            _ if self.facts.contains_key("error") => Some(StepResult::Failed),
            _ if ["outputs", "met", "finished_at"].iter().any(|fact| self.facts.contains_key(*fact)) => {
                Some(StepResult::Succeeded)
            }
            _ => None,
        }
    }

    /// What is given, for people and programs.
    pub(super) fn shown(&self) -> Value {
        self.facts.iter().map(|(name, part)| (name.clone(), part.shown())).collect()
    }
}

/// Results taken as given, by step.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Supposed {
    steps: BTreeMap<StepPath, Guess>,
}

/// Why something cannot be supposed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SupposeProblem {
    /// What is wrong.
    pub message: String,
    /// A way out.
    pub help: Option<String>,
}

impl SupposeProblem {
    fn new(message: impl Into<String>, help: Option<String>) -> Self {
        Self { message: message.into(), help }
    }
}

/// What of a step can be supposed.
const FACTS: [&str; 8] = ["outputs", "result", "error", "approval", "attempts", "met", "started_at", "finished_at"];
/// What of a failure can be supposed.
const ERROR_FACTS: [&str; 6] = ["kind", "message", "status", "code", "trace", "retry_after_ms"];

impl Supposed {
    /// Is nothing taken as given?
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    pub(super) fn of(&self, step: &str) -> Option<&Guess> {
        self.steps.get(step)
    }

    /// What is taken as given of the runbook that this step calls.
    pub(super) fn inside(&self, caller: &StepId) -> Self {
        let begins = format!("{caller}/");
        let inner = self.steps.iter().filter_map(|(path, guess)| {
            Some((StepPath::parse(path.as_str().strip_prefix(&begins)?).ok()?, guess.clone()))
        });
        Self { steps: inner.collect() }
    }

    /// Supposes what a text of the form `step.outputs.name=VALUE` says. The value is read as the type that the step
    /// declares; without one, as JSON where it is some.
    pub fn set(&mut self, plan: &Plan, registry: &Registry, text: &str) -> Result<(), SupposeProblem> {
        let form = || {
            let help = "write for example `triage.outputs.category=none` or `backend_api.error.kind=timeout`";
            SupposeProblem::new(format!("`{text}` is not of the form STEP.WHAT=VALUE"), Some(help.to_owned()))
        };
        let (name, value) = text.split_once('=').ok_or_else(form)?;
        let (step, rest) = name.trim().split_once('.').ok_or_else(form)?;
        let path: Vec<String> = rest.split('.').map(str::to_owned).collect();
        if path.iter().any(String::is_empty) {
            return Err(form());
        }
        let (at, plan, place) = found(plan, step)?;
        let kind = kind_of(&plan, place, &path, registry)?;
        let read = kind.read(value).map_err(|(reason, help)| {
            SupposeProblem::new(format!("`{}` cannot be `{value}`: {reason}", name.trim()), help)
        })?;
        let guess = self.steps.entry(at).or_insert_with(|| Guess { origin: Origin::Supposed, facts: StepFacts::new() });
        let mut all = Part::Parts(std::mem::take(&mut guess.facts));
        all.put(&path, read);
        if let Part::Parts(facts) = all {
            guess.facts = facts;
        }
        self.consistent(step)
    }

    /// What is said of one step must be able to hold together.
    fn consistent(&self, step: &str) -> Result<(), SupposeProblem> {
        let Some(guess) = self.steps.get(step) else { return Ok(()) };
        let said = guess.result();
        let clash = match said {
            Some(result @ (StepResult::Succeeded | StepResult::Skipped | StepResult::Rejected))
                if guess.facts.contains_key("error") =>
            {
                Some((result, "error"))
            }
            Some(result @ (StepResult::Skipped | StepResult::Rejected)) if guess.facts.contains_key("outputs") => {
                Some((result, "outputs"))
            }
            _ => None,
        };
        match clash {
            None => Ok(()),
            Some((result, fact)) => Err(SupposeProblem::new(
                format!("step `{step}` cannot have ended `{result}` and have `{fact}`"),
                Some("suppose one of the two".to_owned()),
            )),
        }
    }

    /// Takes what was read as given.
    pub fn read(&mut self, step: StepPath, at: Timestamp, result: &Result<Value, ActionError>) {
        let mut facts = StepFacts::new();
        let word = if result.is_ok() { StepResult::Succeeded } else { StepResult::Failed };
        facts.insert("result".to_owned(), Part::Whole(word.as_str().into()));
        match result {
            Ok(outputs) => {
                facts.insert("outputs".to_owned(), Part::Whole(outputs.clone()));
            }
            Err(error) => {
                let outputs = error.outputs.as_deref().map_or(Part::Nothing, |outputs| Part::Whole(outputs.clone()));
                facts.insert("outputs".to_owned(), outputs);
                let told = json!({
                    "kind": error.kind,
                    "message": error.message,
                    "status": error.status,
                    "code": error.code,
                    "trace": error.trace,
                    "retry_after_ms": error.retry_after_ms,
                });
                facts.insert("error".to_owned(), Part::Whole(told));
            }
        }
        self.steps.insert(step, Guess { origin: Origin::Read(rfc3339(at)), facts });
    }
}

/// The step of this name, within called runbooks too: its path, its plan, its place there.
fn found(plan: &Plan, name: &str) -> Result<(StepPath, Plan, usize), SupposeProblem> {
    if name.contains(['[', ']']) {
        let help = "suppose what the loop gives: `step.outputs.failed=2`, or `step.outputs.items=[…]`";
        return Err(SupposeProblem::new(
            format!("`{name}` is one item of a loop; items are known only to the run"),
            Some(help.to_owned()),
        ));
    }
    let mut plan = plan.clone();
    let mut parts = name.split('/').peekable();
    let mut above = String::new();
    while let Some(part) = parts.next() {
        let place = StepId::new(part).ok().and_then(|id| plan.place(&id));
        let Some(place) = place else {
            let known: Vec<String> = (0..plan.len()).map(|place| format!("{above}{}", plan.id(place))).collect();
            let wanted = format!("{above}{part}");
            let help = match nearest(&wanted, known.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "a step of a called runbook is named like `call/step`".to_owned(),
            };
            return Err(SupposeProblem::new(format!("there is no step `{wanted}`"), Some(help)));
        };
        if parts.peek().is_none() {
            let path = StepPath::parse(name)
                .map_err(|error| SupposeProblem::new(format!("there is no step `{name}`: {error}"), None))?;
            return Ok((path, plan, place));
        }
        let Some(called) = plan.called_ahead(place, IndexMap::new()) else {
            return Err(SupposeProblem::new(format!("step `{above}{part}` calls no runbook"), None));
        };
        above = format!("{above}{part}/");
        plan = called;
    }
    Err(SupposeProblem::new(format!("there is no step `{name}`"), None))
}

/// What a value at this path of a step may be.
fn kind_of(plan: &Plan, place: usize, path: &[String], registry: &Registry) -> Result<Kind, SupposeProblem> {
    let (id, step) = (plan.id(place), plan.step(place));
    let unknown = |what: &str, name: &str, known: &[&str]| {
        let help = match nearest(name, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "it has none".to_owned(),
            None => format!("there are: {}", known.join(", ")),
        };
        SupposeProblem::new(format!("step `{id}` has no {what} `{name}`"), Some(help))
    };
    let fact = path.first().map_or("", String::as_str);
    let below = &path[1..];
    let leaf = |kind: Kind| match below.first() {
        None => Ok(kind),
        Some(more) => Err(SupposeProblem::new(format!("`{id}.{fact}` has nothing called `{more}` in it"), None)),
    };
    match fact {
        "result" => leaf(Kind::words(StepResult::ALL.map(StepResult::as_str))),
        "attempts" => leaf(Kind::Integer),
        "started_at" | "finished_at" => leaf(Kind::Moment),
        "met" if step.until.is_none() => Err(SupposeProblem::new(
            format!("step `{id}` has no `until`, so `{id}.met` is always `none`"),
            Some(format!("suppose `{id}.result=…` or one of its outputs")),
        )),
        "met" => leaf(Kind::Boolean),
        "error" => match below {
            [] => Ok(Kind::Map),
            [name] if ERROR_FACTS.contains(&name.as_str()) => Ok(fact_kind(name)),
            [name, ..] => Err(unknown("fact about a failure", name, &ERROR_FACTS)),
        },
        "approval" => {
            let Some(approval) = &step.approval else {
                return Err(SupposeProblem::new(format!("step `{id}` has no gate"), None));
            };
            match below {
                [] => Ok(Kind::Map),
                [name] if name == "by" => Ok(Kind::Text),
                [name] if approval.ask.contains_key(name) => Ok(Kind::Answer(Box::new(approval.ask[name].clone()))),
                [name, ..] => {
                    let known: Vec<&str> = approval.ask.keys().map(String::as_str).chain(["by"]).collect();
                    Err(unknown("answer", name, &known))
                }
            }
        }
        "outputs" => match below {
            [] => Ok(Kind::Map),
            [name, inner @ ..] => output_kind(plan, place, name, inner, registry).map_err(|problem| match problem {
                typed::Missing::Output(known) => {
                    unknown("output", name, &known.iter().map(String::as_str).collect::<Vec<_>>())
                }
                typed::Missing::Inside(message) => {
                    SupposeProblem::new(format!("`{id}.{}`: {message}", path.join(".")), None)
                }
            }),
        },
        other => Err(unknown("fact", other, &FACTS)),
    }
}

/// What follows of a step from how it ended, beside what is given of it.
pub(super) fn follows(step: &Step, result: StepResult, facts: &mut StepFacts) {
    let mut also = |name: &str, part: Part| {
        facts.entry(name.to_owned()).or_insert(part);
    };
    also("result", Part::Whole(result.as_str().into()));
    if step.until.is_none() {
        also("met", Part::Whole(Value::Null));
    }
    match result {
        StepResult::Succeeded => {
            also("error", Part::Nothing);
            if step.does == Does::Gate {
                also("outputs", Part::Whole(json!({})));
            }
        }
        // What it found out although it failed is not known.
        StepResult::Failed => {}
        StepResult::Skipped => {
            also("outputs", Part::Nothing);
            also("error", Part::Nothing);
            also("attempts", Part::Whole(0.into()));
            also("met", Part::Whole(Value::Null));
            also("started_at", Part::Whole(Value::Null));
            also("approval", Part::Nothing);
        }
        StepResult::Rejected => {
            also("outputs", Part::Nothing);
            also("error", Part::Nothing);
            also("attempts", Part::Whole(0.into()));
            also("met", Part::Whole(Value::Null));
            also("started_at", Part::Whole(Value::Null));
        }
    }
    if step.approval.is_none() {
        also("approval", Part::Nothing);
    }
}
