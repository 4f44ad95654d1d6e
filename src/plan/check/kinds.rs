//! What kind of value something is, as far as that is known before the run: from schemas, declarations and expressions.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::Checker;
use super::names::{LOOP_OUTPUTS, Place};
use crate::action::{AnyAction, ErrorKind};
use crate::runbook::template::shape::{Shape, What};
use crate::runbook::{Does, Input, InputType, OutputType, Step, StepResult, Templated, Undo, call_key};

/// A kind of value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// Any text.
    Text,
    /// A text in which no template may stand; values have the parameter of this name.
    Untemplated(String),
    /// A text of a form that only the run can judge: an address.
    Url,
    /// A whole number between two limits.
    Integer(Option<i64>, Option<i64>),
    Number,
    Boolean,
    /// `1h30m`, with which one can calculate.
    Duration,
    /// A moment, with which one can calculate.
    Moment,
    /// One of some words.
    Words(Vec<String>),
    List(Arc<Kind>),
    Map(Arc<Fields>),
    /// One of several kinds.
    Any(Vec<Kind>),
    Null,
    /// Only the run can tell.
    Unknown,
}

/// What a map holds.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Fields {
    /// Fields by name: what they are, and what is written about them.
    pub(super) known: BTreeMap<String, (Kind, Option<String>)>,
    pub(super) required: Vec<String>,
    /// What other fields are; nothing when there can be none.
    pub(super) others: Option<Kind>,
}

/// What an action takes and gives.
#[derive(Debug)]
pub(super) struct Signature {
    pub(super) params: Kind,
    pub(super) outputs: Kind,
}

impl Signature {
    pub(super) fn of(action: &dyn AnyAction) -> Self {
        let mut generator = schemars::SchemaGenerator::default();
        let params = action.params_schema(&mut generator).to_value();
        let outputs = action.output_schema(&mut generator).to_value();
        let definitions = generator.take_definitions(true);
        Self { params: of_schema(&params, &definitions, 0), outputs: of_schema(&outputs, &definitions, 0) }
    }
}

/// The kind that a JSON Schema describes.
fn of_schema(schema: &Value, definitions: &Map<String, Value>, depth: usize) -> Kind {
    const DEEPEST: usize = 12;
    if depth > DEEPEST {
        return Kind::Unknown;
    }
    let inner = |schema: &Value| of_schema(schema, definitions, depth + 1);
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let name = reference.rsplit('/').next().unwrap_or_default();
        if name == "Duration" {
            return Kind::Duration;
        }
        return definitions.get(name).map_or(Kind::Unknown, inner);
    }
    if let Some(values) = schema.get("x-untemplated").and_then(Value::as_str) {
        return Kind::Untemplated(values.to_owned());
    }
    if let Some(word) = schema.get("const").and_then(Value::as_str) {
        return Kind::Words(vec![word.to_owned()]);
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        let texts: Option<Vec<String>> = words.iter().map(|word| word.as_str().map(str::to_owned)).collect();
        return texts.map_or(Kind::Unknown, Kind::Words);
    }
    if let Some(choices) = ["anyOf", "oneOf"].iter().find_map(|key| schema.get(*key)).and_then(Value::as_array) {
        return any(choices.iter().map(inner));
    }
    let of_type = |kind: &str| match kind {
        "string" => Kind::Text,
        "integer" => {
            let limit = |key: &str| schema.get(key).and_then(Value::as_i64);
            Kind::Integer(limit("minimum"), limit("maximum"))
        }
        "number" => Kind::Number,
        "boolean" => Kind::Boolean,
        "null" => Kind::Null,
        "array" => Kind::List(Arc::new(schema.get("items").map_or(Kind::Unknown, inner))),
        "object" => {
            let known = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
            let known = known.map(|(name, field)| {
                let doc = field.get("description").and_then(Value::as_str).map(str::to_owned);
                (name.clone(), (inner(field), doc))
            });
            let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
            let others = match schema.get("additionalProperties") {
                Some(Value::Bool(false)) => None,
                Some(Value::Bool(true)) => Some(Kind::Unknown),
                Some(others) => Some(inner(others)),
                // What is written out as a list of fields has no others, whatever JSON Schema allows.
                None => schema.get("properties").is_none().then_some(Kind::Unknown),
            };
            let required = required.filter_map(Value::as_str).map(str::to_owned).collect();
            Kind::Map(Arc::new(Fields { known: known.collect(), required, others }))
        }
        _ => Kind::Unknown,
    };
    match schema.get("type") {
        Some(Value::String(kind)) => of_type(kind),
        Some(Value::Array(kinds)) => any(kinds.iter().filter_map(Value::as_str).map(of_type)),
        _ => Kind::Unknown,
    }
}

/// One of several kinds; words of several lists are words of one.
pub(super) fn any(kinds: impl Iterator<Item = Kind>) -> Kind {
    let mut found: Vec<Kind> = Vec::new();
    let mut all: Vec<String> = Vec::new();
    for kind in kinds {
        match kind {
            Kind::Unknown => return Kind::Unknown,
            Kind::Words(words) => all.extend(words),
            Kind::Any(kinds) => found.extend(kinds),
            kind if found.contains(&kind) => {}
            kind => found.push(kind),
        }
    }
    if !all.is_empty() {
        found.insert(0, Kind::Words(all));
    }
    if found.len() == 1 { found.remove(0) } else { Kind::Any(found) }
}

impl Kind {
    /// In words, with its article: `a duration`.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Text | Self::Untemplated(_) => "a text".to_owned(),
            Self::Url => "an address".to_owned(),
            Self::Integer(None, None) | Self::Integer(Some(i64::MIN..0), _) => "a whole number".to_owned(),
            Self::Integer(Some(least), Some(most)) => format!("a whole number from {least} to {most}"),
            Self::Integer(Some(least), None) => format!("a whole number from {least}"),
            Self::Integer(None, Some(most)) => format!("a whole number up to {most}"),
            Self::Number => "a number".to_owned(),
            Self::Boolean => "`true` or `false`".to_owned(),
            Self::Duration => "a duration such as `90s` or `15m`".to_owned(),
            Self::Moment => "a moment".to_owned(),
            Self::Words(words) => match words.as_slice() {
                [only] => format!("`{only}`"),
                words => {
                    format!("one of {}", words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "))
                }
            },
            Self::List(_) => "a list".to_owned(),
            Self::Map(_) => "a map".to_owned(),
            Self::Null => "nothing".to_owned(),
            Self::Any(kinds) => {
                let kinds: Vec<String> = kinds.iter().filter(|kind| **kind != Self::Null).map(Self::words).collect();
                kinds.join(" or ")
            }
            Self::Unknown => "something".to_owned(),
        }
    }

    /// In a few words, for what is given and not for what is wanted.
    pub(super) fn name(&self) -> String {
        match self {
            Self::Integer(..) => "a whole number".to_owned(),
            Self::Duration => "a duration".to_owned(),
            Self::Boolean => "a boolean".to_owned(),
            Self::Words(_) => "a text".to_owned(),
            Self::Any(kinds) => {
                kinds.iter().filter(|kind| **kind != Self::Null).map(Self::name).collect::<Vec<_>>().join(" or ")
            }
            other => other.words(),
        }
    }

    /// What is found under a name in it; nothing when it is certain that there is nothing.
    pub(super) fn field(&self, name: &str) -> Option<Self> {
        match self {
            Self::Map(fields) => fields.known.get(name).map(|(kind, _)| kind.clone()).or_else(|| fields.others.clone()),
            Self::Any(kinds) => {
                let mut found =
                    kinds.iter().filter(|kind| **kind != Self::Null).filter_map(|kind| kind.field(name)).peekable();
                found.peek()?;
                Some(any(found))
            }
            Self::Unknown => Some(Self::Unknown),
            _ => None,
        }
    }

    /// The names that are known in it.
    pub(super) fn field_names(&self) -> Vec<String> {
        match self {
            Self::Map(fields) => fields.known.keys().cloned().collect(),
            Self::Any(kinds) => kinds.iter().flat_map(Self::field_names).collect(),
            _ => Vec::new(),
        }
    }

    /// What an entry of a list is.
    pub(super) fn item(&self) -> Self {
        match self {
            Self::List(item) => item.as_ref().clone(),
            Self::Any(kinds) => any(kinds.iter().filter(|kind| **kind != Self::Null).map(Self::item)),
            _ => Self::Unknown,
        }
    }

    /// Could a value of this kind be taken where `wanted` is wanted?
    pub(super) fn fits(&self, wanted: &Self) -> bool {
        match (self, wanted) {
            (Self::Unknown | Self::Null, _) | (_, Self::Unknown) => true,
            (Self::Any(kinds), _) => kinds.iter().any(|kind| kind.fits(wanted)),
            (_, Self::Any(wanted)) => wanted.iter().any(|wanted| self.fits(wanted)),
            // A text may be of the form that is wanted; the run tells.
            (Self::Text, Self::Text | Self::Url | Self::Words(_) | Self::Duration | Self::Moment) => true,
            (Self::Url | Self::Duration | Self::Moment, Self::Text) => true,
            (Self::Words(_), Self::Text | Self::Url) => true,
            (Self::Words(given), Self::Words(wanted)) => given.iter().any(|word| wanted.contains(word)),
            (Self::Words(given), Self::Duration) => {
                given.iter().any(|word| word.parse::<crate::base::HumanDuration>().is_ok())
            }
            (Self::Integer(..), Self::Integer(..) | Self::Number) => true,
            (Self::Number, Self::Number | Self::Integer(..)) => true,
            (Self::List(given), Self::List(wanted)) => given.fits(wanted),
            (Self::Map(_), Self::Map(_)) => true,
            (one, other) => one == other,
        }
    }

    /// Could a value of this kind be equal to one of the other, or come before it? Nothing equals `none` but `none`, which
    /// anything may be.
    pub(super) fn compares(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any(kinds), other) | (other, Self::Any(kinds)) => kinds.iter().any(|kind| kind.compares(other)),
            (Self::Duration | Self::Moment, other) | (other, Self::Duration | Self::Moment) => {
                self == other
                    || matches!((self, other), (Self::Unknown | Self::Null, _) | (_, Self::Unknown | Self::Null))
            }
            // A boolean is taken for a number there.
            (Self::Boolean, Self::Integer(..) | Self::Number) | (Self::Integer(..) | Self::Number, Self::Boolean) => {
                true
            }
            (Self::Text | Self::Url, Self::Text | Self::Url | Self::Words(_)) => true,
            (one, other) => one.fits(other) || other.fits(one),
        }
    }
}

/// The kind of a value that is written out.
pub(super) fn of_value(value: &Value) -> Kind {
    match value {
        Value::Null => Kind::Null,
        Value::Bool(_) => Kind::Boolean,
        Value::Number(number) if number.is_f64() => Kind::Number,
        Value::Number(_) => Kind::Integer(None, None),
        Value::String(text) => Kind::Words(vec![text.clone()]),
        Value::Array(items) => {
            Kind::List(Arc::new(if items.is_empty() { Kind::Unknown } else { any(items.iter().map(of_value)) }))
        }
        Value::Object(map) => {
            let known = map.iter().map(|(name, value)| (name.clone(), (of_value(value), None))).collect();
            Kind::Map(Arc::new(Fields { known, required: Vec::new(), others: None }))
        }
    }
}

pub(super) fn of_input(input: &Input) -> Kind {
    match input.kind {
        InputType::String => Kind::Text,
        InputType::Integer => Kind::Integer(None, None),
        InputType::Boolean => Kind::Boolean,
        InputType::Duration => Kind::Duration,
        InputType::Url => Kind::Url,
        InputType::Enum => Kind::Words(input.values.clone()),
    }
}

/// What a person answers is kept as JSON, in which a duration is a text.
fn of_answer(input: &Input) -> Kind {
    match input.kind {
        InputType::Duration => Kind::Text,
        _ => of_input(input),
    }
}

fn of_output(kind: OutputType) -> Kind {
    match kind {
        OutputType::String => Kind::Text,
        OutputType::Integer => Kind::Integer(None, None),
        OutputType::Number => Kind::Number,
        OutputType::Boolean => Kind::Boolean,
        OutputType::Json => Kind::Unknown,
    }
}

fn words(all: impl IntoIterator<Item = &'static str>) -> Kind {
    Kind::Words(all.into_iter().map(str::to_owned).collect())
}

fn map_of(known: impl IntoIterator<Item = (String, Kind)>) -> Kind {
    let known = known.into_iter().map(|(name, kind)| (name, (kind, None))).collect();
    Kind::Map(Arc::new(Fields { known, required: Vec::new(), others: None }))
}

impl Checker<'_> {
    /// What an action takes and gives. Found once for each action and file.
    pub(super) fn signature(&mut self, uses: &str) -> Option<Arc<Signature>> {
        let action = self.registry.get(uses)?;
        let name = action.contract().name;
        if let Some(known) = self.signatures.get(name) {
            return Some(Arc::clone(known));
        }
        let found = self.registry.remembered(name, || Arc::new(Signature::of(action.as_ref())));
        self.signatures.insert(name, Arc::clone(&found));
        Some(found)
    }

    /// What one try of a step gives.
    pub(super) fn outputs_of(&mut self, step: &Step) -> Kind {
        match &step.does {
            Does::Action { uses, with } => {
                let Some(signature) = self.signature(uses) else { return Kind::Unknown };
                if uses != "shell" {
                    return signature.outputs.clone();
                }
                let Kind::Map(fields) = &signature.outputs else { return Kind::Unknown };
                let mut known = fields.known.clone();
                if let Templated::Map(map) = with
                    && let Some(Templated::Literal(Value::Object(declared))) = map.get("outputs")
                {
                    for (name, kind) in declared {
                        let kind = serde_json::from_value(kind.clone()).map_or(Kind::Unknown, of_output);
                        known.insert(name.clone(), (kind, None));
                    }
                }
                Kind::Map(Arc::new(Fields { known, required: Vec::new(), others: None }))
            }
            Does::Decide(decide) => {
                let mut found: BTreeMap<String, Vec<Kind>> = BTreeMap::new();
                for arm in &decide.arms {
                    let given: Vec<(&String, Kind)> = match &arm.then {
                        Templated::Literal(Value::Object(map)) => {
                            map.iter().map(|(name, value)| (name, of_value(value))).collect()
                        }
                        Templated::Map(map) => map
                            .iter()
                            .map(|(name, value)| (name, value.as_literal().map_or(Kind::Unknown, of_value)))
                            .collect(),
                        _ => Vec::new(),
                    };
                    for (name, kind) in given {
                        found.entry(name.clone()).or_default().push(kind);
                    }
                }
                map_of(found.into_iter().map(|(name, kinds)| (name, any(kinds.into_iter()))))
            }
            Does::Manual(manual) => {
                let evidence = manual.evidence.iter().map(|(name, asked)| (name.clone(), of_answer(asked)));
                map_of(evidence.chain([("by".to_owned(), Kind::Text)]))
            }
            Does::Call(call) => {
                let Some(called) = self.called.get(&call_key(self.key, &call.file)) else { return Kind::Unknown };
                let names = called.names("outputs").map(|name| {
                    let given = called.runbook.outputs.get(name);
                    (name.to_owned(), given.map_or(Kind::Unknown, |given| of_output(given.kind)))
                });
                map_of(names)
            }
            Does::Gate => map_of([]),
        }
    }

    /// What a loop makes of its items.
    pub(super) fn loop_outputs(&mut self, step: &Step) -> Kind {
        let item = map_of([
            ("key".to_owned(), Kind::Text),
            ("result".to_owned(), words(StepResult::ALL.map(StepResult::as_str))),
            ("outputs".to_owned(), self.outputs_of(step)),
            ("error".to_owned(), error_kind()),
        ]);
        map_of(LOOP_OUTPUTS.map(|name| {
            let kind = if name == "items" { Kind::List(Arc::new(item.clone())) } else { Kind::Integer(None, None) };
            (name.to_owned(), kind)
        }))
    }

    /// What an expression's value is.
    pub(super) fn kind(&mut self, place: &Place<'_>, step: Option<&Step>, shape: &Shape) -> Kind {
        match &shape.what {
            What::Name(name) => self.kind_of_name(place, step, &name.path),
            What::Within(inner, key) => {
                let inner = self.kind(place, step, inner);
                match key {
                    Some(key) => inner.field(key).unwrap_or(Kind::Unknown),
                    None => inner.item(),
                }
            }
            What::Literal(value) => of_value(value),
            What::List(items) => {
                let kinds: Vec<Kind> = items.iter().map(|item| self.kind(place, step, item)).collect();
                Kind::List(Arc::new(if kinds.is_empty() { Kind::Unknown } else { any(kinds.into_iter()) }))
            }
            What::Not(_) | What::Compare(..) | What::Test(_) => Kind::Boolean,
            What::And(one, other) | What::Or(one, other) => {
                match (self.kind(place, step, one), self.kind(place, step, other)) {
                    (Kind::Boolean, Kind::Boolean) => Kind::Boolean,
                    _ => Kind::Unknown,
                }
            }
            What::Plus(one, other) | What::Minus(one, other) => {
                let is_plus = matches!(shape.what, What::Plus(..));
                match (self.kind(place, step, one), self.kind(place, step, other)) {
                    (Kind::Moment, Kind::Duration) => Kind::Moment,
                    (Kind::Duration, Kind::Moment) if is_plus => Kind::Moment,
                    (Kind::Moment, Kind::Moment) if !is_plus => Kind::Duration,
                    (Kind::Duration, Kind::Duration) => Kind::Duration,
                    (Kind::Integer(..), Kind::Integer(..)) => Kind::Integer(None, None),
                    _ => Kind::Unknown,
                }
            }
            What::Joined => Kind::Text,
            What::Filter(name, inner, arguments) => {
                let inner = inner.as_ref().map_or(Kind::Unknown, |inner| self.kind(place, step, inner));
                match name.as_str() {
                    "length" | "count" | "int" => Kind::Integer(None, None),
                    "float" => Kind::Number,
                    "bool" => Kind::Boolean,
                    "upper" | "lower" | "trim" | "string" | "join" | "replace" | "title" | "capitalize" | "tojson" => {
                        Kind::Text
                    }
                    "default" | "d" => match arguments.first() {
                        Some(usual) => {
                            let usual = self.kind(place, step, usual);
                            any([inner, usual].into_iter())
                        }
                        None => inner,
                    },
                    "first" | "last" => inner.item(),
                    "split" | "lines" => Kind::List(Arc::new(Kind::Text)),
                    "sort" | "unique" | "reverse" | "list" if matches!(inner, Kind::List(_)) => inner,
                    _ => Kind::Unknown,
                }
            }
            What::Choice(one, Some(other)) => {
                let kinds = [self.kind(place, step, one), self.kind(place, step, other)];
                any(kinds.into_iter())
            }
            What::Call(function) if function == "duration" => Kind::Duration,
            What::Call(function) if function == "range" => Kind::List(Arc::new(Kind::Integer(None, None))),
            What::Map | What::Arithmetic | What::Choice(_, None) | What::Call(_) | What::Other => Kind::Unknown,
        }
    }

    fn kind_of_name(&mut self, place: &Place<'_>, step: Option<&Step>, path: &[String]) -> Kind {
        let [root, rest @ ..] = path else { return Kind::Unknown };
        if let Some(each) = step.and_then(|step| step.for_each.as_ref()).filter(|each| each.name == *root) {
            let list = each.items.shape().map_or(Kind::Unknown, |list| self.kind(place, None, &list));
            return within(list.item(), rest);
        }
        let second = rest.first().map(String::as_str);
        match root.as_str() {
            "inputs" => {
                let input = second.and_then(|name| self.loaded.runbook.inputs.get(name));
                input.map_or(Kind::Unknown, of_input)
            }
            "run" => match second {
                Some("id" | "name" | "by") => Kind::Text,
                Some("now" | "started_at") => Kind::Moment,
                Some("outcome") => words(["succeeded", "failed", "rolled_back", "stuck", "cancelled", "rejected"]),
                _ => Kind::Unknown,
            },
            "secrets" => Kind::Text,
            "outputs" => match step {
                Some(step) if place.starts_with(&["until"]) => within(self.outputs_of(step), rest),
                Some(step) => match &step.undo {
                    Some(Undo::Action { verify: Some(verify), .. }) => {
                        self.signature(&verify.uses).map_or(Kind::Unknown, |known| within(known.outputs.clone(), rest))
                    }
                    _ => Kind::Unknown,
                },
                None => Kind::Unknown,
            },
            name => {
                let Some((id, step)) = self.known_step(name).ok().flatten() else { return Kind::Unknown };
                match second {
                    Some("outputs") => {
                        let own_try = *place.id == id && place.starts_with(&["undo"]);
                        let outputs = if step.for_each.is_some() && !own_try {
                            self.loop_outputs(step)
                        } else {
                            self.outputs_of(step)
                        };
                        within(outputs, &rest[1..])
                    }
                    Some("result") => words(StepResult::ALL.map(StepResult::as_str)),
                    Some("error") => within(error_kind(), &rest[1..]),
                    Some("attempts") => Kind::Integer(None, None),
                    Some("met") => Kind::Boolean,
                    Some("started_at" | "finished_at") => Kind::Moment,
                    Some("approval") => match rest.get(1).map(String::as_str) {
                        Some("by") => Kind::Text,
                        Some(name) => {
                            let asked = step.approval.as_ref().and_then(|approval| approval.ask.get(name));
                            asked.map_or(Kind::Unknown, of_answer)
                        }
                        None => Kind::Unknown,
                    },
                    _ => Kind::Unknown,
                }
            }
        }
    }
}

fn error_kind() -> Kind {
    map_of([
        ("kind".to_owned(), words(ErrorKind::ALL.map(ErrorKind::as_str))),
        ("message".to_owned(), Kind::Text),
        ("status".to_owned(), Kind::Integer(None, None)),
        ("code".to_owned(), Kind::Text),
        ("trace".to_owned(), Kind::Text),
        ("retry_after_ms".to_owned(), Kind::Integer(None, None)),
    ])
}

fn within(kind: Kind, path: &[String]) -> Kind {
    path.iter().fold(kind, |kind, name| kind.field(name).unwrap_or(Kind::Unknown))
}
