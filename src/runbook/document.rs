//! The runbook as typed data: what a file says, no more. Stored with every run.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::template::{Expression, Scope, Template, TemplateError};
use crate::base::{HumanDuration, RunbookName, SecretSource, StepId};

/// A whole runbook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Runbook {
    /// Its name.
    pub name: RunbookName,
    /// Its title, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    /// How bad the incident is that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Level>,
    /// Systems that may be assumed to be down while it runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outage_of: Vec<String>,
    /// What it is given.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub inputs: IndexMap<String, Input>,
    /// The secrets it uses, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, SecretSource>,
    /// What only one run at a time may hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locks: Vec<Lock>,
    /// How long the whole run may take, from its beginning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<HumanDuration>,
    /// Its steps, in the order of the file.
    pub steps: IndexMap<StepId, Step>,
    /// What follows the first failure.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// Steps that run however the run ended.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub finally: IndexMap<StepId, Step>,
    /// What it gives to a runbook that calls it.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub outputs: IndexMap<String, Given>,
}

/// Something that only one run at a time may hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// Its name, the same in every runbook that means the same thing: `vercel:shop:production`.
    pub name: Template,
    /// How long to wait for the run that holds it; without it, not at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait: Option<HumanDuration>,
}

/// Something that a called runbook gives back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Given {
    /// What it may be.
    #[serde(rename = "type")]
    pub kind: OutputType,
    /// What it means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its value, once every step has ended.
    pub value: Templated,
}

impl OutputType {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::String, Self::Integer, Self::Number, Self::Boolean, Self::Json];

    /// The word that runbooks use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Json => "json",
        }
    }

    /// Is this value of the type, or a text that reads as one?
    pub fn admits(self, value: &Value) -> bool {
        match (self, value) {
            (Self::Json, _) | (Self::String, Value::String(_) | Value::Number(_) | Value::Bool(_)) => true,
            (Self::Integer, Value::Number(number)) => number.is_i64() || number.is_u64(),
            (Self::Integer, Value::String(text)) => text.trim().parse::<i64>().is_ok(),
            (Self::Number, Value::Number(_)) | (Self::Boolean, Value::Bool(_)) => true,
            (Self::Number, Value::String(text)) => text.trim().parse::<serde_json::Number>().is_ok(),
            (Self::Boolean, Value::String(text)) => text.trim().parse::<bool>().is_ok(),
            _ => false,
        }
    }
}

impl Runbook {
    /// A step, among the ordinary and the final ones.
    pub fn step(&self, id: &StepId) -> Option<&Step> {
        self.steps.get(id).or_else(|| self.finally.get(id))
    }
}

/// How bad an incident is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Everybody is affected.
    Critical,
    /// Many are affected.
    High,
    /// Some are affected.
    Medium,
    /// Hardly anybody notices.
    Low,
}

/// What follows the first failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Undo what was done, in reverse order.
    Rollback,
    /// Leave everything as it is.
    #[default]
    Hold,
    /// Go on with whatever does not need what failed.
    Continue,
}

/// Something a runbook is given.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// What it may be.
    #[serde(rename = "type")]
    pub kind: InputType,
    /// What it means.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Must it be given?
    #[serde(default)]
    pub required: bool,
    /// What it is when it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// The least it may be (integer, duration), or the fewest characters (string).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<Value>,
    /// The most it may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<Value>,
    /// A regular expression that the whole text must match.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// The words an `enum` may be.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<String>,
}

/// A question that a person answers at a gate or a manual step: the same rules as an input.
pub type AskField = Input;

/// What an input may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputType {
    /// Any text.
    String,
    /// A whole number.
    Integer,
    /// `true` or `false`.
    Boolean,
    /// A length of time.
    Duration,
    /// An `http` or `https` address.
    Url,
    /// One of `values`.
    Enum,
}

/// What a declared output of a script may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutputType {
    /// Any text.
    String,
    /// A whole number.
    Integer,
    /// Any number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// Any JSON.
    Json,
}

impl OutputType {
    /// The value as this type. A text is read as a number or a flag; the text says what does not fit.
    pub fn read(self, value: Value) -> Result<Value, String> {
        let word = match self {
            Self::Json => return Ok(value),
            Self::String => "text",
            Self::Integer => "whole number",
            Self::Number => "number",
            Self::Boolean => "`true` or `false`",
        };
        let read = match (self, value) {
            (Self::String, Value::String(text)) => Some(Value::String(text)),
            (Self::Integer, Value::Number(number)) if number.is_i64() || number.is_u64() => Some(Value::Number(number)),
            (Self::Number, Value::Number(number)) => Some(Value::Number(number)),
            (Self::Boolean, Value::Bool(flag)) => Some(Value::Bool(flag)),
            (Self::String, value @ (Value::Number(_) | Value::Bool(_))) => Some(Value::String(value.to_string())),
            (Self::Integer, Value::String(text)) => text.trim().parse::<i64>().ok().map(Value::from),
            (Self::Number, Value::String(text)) => serde_json::from_str(text.trim()).ok().filter(Value::is_number),
            (Self::Boolean, Value::String(text)) => text.trim().parse::<bool>().ok().map(Value::from),
            _ => None,
        };
        read.ok_or_else(|| format!("it is no {word}"))
    }
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepResult {
    /// It did what it should.
    Succeeded,
    /// It did not.
    Failed,
    /// It was never its turn.
    Skipped,
    /// A person said no.
    Rejected,
}

impl StepResult {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Succeeded, Self::Failed, Self::Skipped, Self::Rejected];

    /// The word that runbooks use.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
            Self::Rejected => "rejected",
        }
    }
}

impl std::fmt::Display for StepResult {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Which results of another step a step can begin after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Need(pub Vec<StepResult>);

impl Need {
    /// `needs: [a]`.
    pub fn success() -> Self {
        Self(vec![StepResult::Succeeded])
    }

    /// `finished`: any result.
    pub fn any() -> Self {
        Self(StepResult::ALL.to_vec())
    }

    /// Is this result one of them?
    pub fn accepts(&self, result: StepResult) -> bool {
        self.0.contains(&result)
    }
}

impl std::fmt::Display for Need {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.len() == StepResult::ALL.len() {
            return f.write_str("finished");
        }
        for (index, result) in self.0.iter().enumerate() {
            f.write_str(if index > 0 { " or " } else { "" })?;
            f.write_str(result.as_str())?;
        }
        Ok(())
    }
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// What it is called, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// What must have ended before it begins, and how.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub needs: IndexMap<StepId, Need>,
    /// It is skipped unless this holds.
    #[serde(default, rename = "if", skip_serializing_if = "Option::is_none")]
    pub condition: Option<Expression>,
    /// What it does.
    pub does: Does,
    /// Who must agree before it acts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<Box<Approval>>,
    /// May the run go on when it fails?
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub allow_failure: bool,
    /// Set when it is done once for each item of a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_each: Option<Box<ForEach>>,
    /// How long one try may take; of a call, how long the called runbook may take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<HumanDuration>,
    /// How long the step may take with all its tries, pauses and items, from the moment it begins to act.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<HumanDuration>,
    /// When to try again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<Box<Retry>>,
    /// What must become true for it to have succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Box<Until>>,
    /// How it is reversed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<Undo>,
    /// Set when it puts an emergency measure in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measure: Option<Box<Measure>>,
    /// Set by `effect: read`: its script only looks.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub only_reads: bool,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Does {
    /// Runs an action. `run:` and `argv:` are the action `shell`.
    Action {
        /// The action's name.
        uses: String,
        /// Its parameters.
        with: Templated,
    },
    /// Runs another runbook, in the same run.
    Call(Call),
    /// Chooses the first arm whose condition holds.
    Decide(Decide),
    /// Asks a person to do something.
    Manual(Manual),
    /// Only asks for an approval.
    Gate,
}

/// A call of another runbook.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Its file, relative to the folder of the runbook that calls it.
    pub file: String,
    /// Its inputs.
    pub with: Templated,
    /// Secrets it is given, by the name it knows them by: the value is the name they have here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, String>,
}

/// What a called runbook is known by within a plan: its path from the folder of the plan's own runbook. `caller` is the
/// key of the runbook that names `file`, empty for the plan's own.
pub fn call_key(caller: &str, file: &str) -> String {
    if file.starts_with('/') {
        return file.to_owned();
    }
    let mut parts: Vec<&str> = match caller.rsplit_once('/') {
        Some((folder, _)) => folder.split('/').collect(),
        None => Vec::new(),
    };
    for part in file.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| !last.is_empty() && *last != "..") => {
                parts.pop();
            }
            other => parts.push(other),
        }
    }
    parts.join("/")
}

/// A step that is done once for each item of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ForEach {
    /// The list. It is looked at once, when the step begins.
    #[serde(rename = "in")]
    pub items: Expression,
    /// What the item is called in the step's texts.
    #[serde(rename = "as")]
    pub name: String,
    /// What tells the items apart; without it, the item itself where it is a text or a number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Expression>,
    /// How many items at once; without it, as many as the run lets steps run at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_most: Option<u32>,
    /// Begin with one item, then two, then four, each time when all before have ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ramp: bool,
    /// How many failed items make the step fail; no further item begins then.
    #[serde(default)]
    pub fail_after: FailAfter,
}

impl ForEach {
    /// What an item is called when the author gave it no name.
    pub const USUAL_NAME: &'static str = "item";
}

/// How many failed items make a loop fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailAfter {
    /// So many.
    Items(u32),
    /// So many of a hundred, but at least one.
    Percent(u32),
}

impl Default for FailAfter {
    fn default() -> Self {
        Self::Items(1)
    }
}

impl FailAfter {
    /// How many failures that is for a list of this length.
    pub fn of(self, items: usize) -> usize {
        match self {
            Self::Items(count) => usize::try_from(count).unwrap_or(usize::MAX).max(1),
            Self::Percent(percent) => {
                let percent = usize::try_from(percent).unwrap_or(100);
                (items.saturating_mul(percent)).div_ceil(100).max(1)
            }
        }
    }
}

/// The arms of a `decide` step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Decide {
    /// In order; the first that holds wins.
    pub arms: Vec<Arm>,
}

/// One arm of a `decide` step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Arm {
    /// When it is chosen; an arm without one always is.
    #[serde(default, rename = "if", skip_serializing_if = "Option::is_none")]
    pub condition: Option<Expression>,
    /// The outputs it gives.
    pub then: Templated,
}

/// Something a person does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manual {
    /// What to do.
    pub text: Template,
    /// What to hand in as evidence.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub evidence: IndexMap<String, AskField>,
}

/// Who must agree before a step acts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Approval {
    /// The question.
    pub prompt: Template,
    /// Who may answer: `user:NAME`, `group:NAME`. Nobody named: whoever is at the terminal.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by: Vec<String>,
    /// How many must agree.
    pub at_least: u32,
    /// Is the person who started the run kept from answering?
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub not_requester: bool,
    /// How long the question stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<HumanDuration>,
    /// What happens when nobody answers in time.
    #[serde(default)]
    pub on_timeout: OnTimeout,
    /// What else is asked; the answers become outputs under `approval`.
    #[serde(default, skip_serializing_if = "IndexMap::is_empty")]
    pub ask: IndexMap<String, AskField>,
}

/// What happens when nobody answers in time. Silence is never consent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum OnTimeout {
    /// As if somebody had said no.
    #[default]
    Reject,
    /// The question stays open.
    Hold,
}

/// When to try again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Retry {
    /// How many tries in all.
    pub attempts: u32,
    /// How long to wait before the second try.
    pub delay: HumanDuration,
    /// What each wait is multiplied by for the next.
    pub backoff: Backoff,
    /// The longest wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_delay: Option<HumanDuration>,
    /// Is the wait varied at random, so that many do not come back at once?
    pub jitter: bool,
    /// Which kinds of failure; none named: those that may pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub on: Vec<String>,
}

/// A factor in thousandths: whole numbers give the same wait on every machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Backoff(pub u64);

/// What must become true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Until {
    /// The condition; `outputs` are the step's own.
    #[serde(rename = "if")]
    pub condition: Expression,
    /// How long between two looks.
    pub every: HumanDuration,
    /// How long to go on looking.
    pub within: HumanDuration,
    /// What it means when it has not become true by then.
    #[serde(default, skip_serializing_if = "GivingUp::is_failure")]
    pub on_timeout: GivingUp,
}

/// What it means when something has not become true in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum GivingUp {
    /// The step has failed.
    #[default]
    Fail,
    /// The step has succeeded all the same; `STEP.met` is false.
    Succeed,
}

impl GivingUp {
    fn is_failure(&self) -> bool {
        *self == Self::Fail
    }
}

/// How a step is reversed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Undo {
    /// The action knows.
    Auto,
    /// By another action.
    Action {
        /// The action's name.
        uses: String,
        /// Its parameters.
        with: Templated,
        /// How long one try may take.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        timeout: Option<HumanDuration>,
        /// When to try again; without it, as the step itself is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry: Option<Box<Retry>>,
        /// How it is seen that the step is reversed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        verify: Option<Box<Verify>>,
    },
}

/// How it is seen that a step is reversed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verify {
    /// An action that only looks.
    pub uses: String,
    /// Its parameters.
    pub with: Templated,
    /// What must hold; `outputs` are those of the look. Without it, the look must succeed.
    #[serde(default, rename = "if", skip_serializing_if = "Option::is_none")]
    pub condition: Option<Expression>,
}

/// An emergency measure that a step puts in force.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// When it must be over.
    pub expires: Template,
    /// The step that ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_by: Option<StepId>,
    /// What happens when it expires.
    #[serde(default, skip_serializing_if = "OnExpiry::holds")]
    pub on_expiry: OnExpiry,
}

/// What happens when an emergency measure expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum OnExpiry {
    /// Nothing by itself: it is overdue, and told as such.
    #[default]
    Hold,
    /// The step is undone. The run is not over before.
    Undo,
}

impl OnExpiry {
    fn holds(&self) -> bool {
        *self == Self::Hold
    }
}

/// A value in which some texts are templates.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Templated {
    /// Nothing to expand in it.
    Literal(Value),
    /// A text to expand.
    Template(Template),
    /// A list of such values.
    List(Vec<Templated>),
    /// A map of such values.
    Map(IndexMap<String, Templated>),
}

impl Templated {
    /// Expands every template in it. The error names the path to the one that failed.
    pub fn render(&self, scope: &Scope) -> Result<Value, (Vec<String>, TemplateError)> {
        self.render_with(&mut |template| template.render(scope))
    }

    /// Expands every template in it with `expand`.
    pub fn render_with(
        &self,
        expand: &mut dyn FnMut(&Template) -> Result<Value, TemplateError>,
    ) -> Result<Value, (Vec<String>, TemplateError)> {
        let under = |name: String| {
            move |(mut path, error): (Vec<String>, TemplateError)| {
                path.insert(0, name);
                (path, error)
            }
        };
        match self {
            Self::Literal(value) => Ok(value.clone()),
            Self::Template(template) => expand(template).map_err(|error| (Vec::new(), error)),
            Self::List(items) => items
                .iter()
                .enumerate()
                .map(|(index, item)| item.render_with(expand).map_err(under(index.to_string())))
                .collect(),
            Self::Map(entries) => {
                let mut map = serde_json::Map::new();
                for (key, item) in entries {
                    map.insert(key.clone(), item.render_with(expand).map_err(under(key.clone()))?);
                }
                Ok(Value::Object(map))
            }
        }
    }

    /// Calls `see` with the path and text of every template in it.
    pub fn visit<'t>(&'t self, path: &mut Vec<String>, see: &mut dyn FnMut(&[String], &'t Template)) {
        match self {
            Self::Literal(_) => {}
            Self::Template(template) => see(path, template),
            Self::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    path.push(index.to_string());
                    item.visit(path, see);
                    path.pop();
                }
            }
            Self::Map(entries) => {
                for (key, item) in entries {
                    path.push(key.clone());
                    item.visit(path, see);
                    path.pop();
                }
            }
        }
    }

    /// Is there nothing to expand in it?
    pub fn as_literal(&self) -> Option<&Value> {
        match self {
            Self::Literal(value) => Some(value),
            _ => None,
        }
    }
}
