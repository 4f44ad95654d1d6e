//! What a supposed value may be, from what the step declares: its action's output schema, its script's outputs, its arms.

use std::collections::BTreeSet;

use schemars::SchemaGenerator;
use serde_json::Value;

use super::Part;
use crate::action::{ErrorKind, Registry};
use crate::base::Timestamp;
use crate::base::diagnostic::nearest;
use crate::plan::Plan;
use crate::runbook::{Decide, Does, Input, OutputType, Templated};

/// What a value may be.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// Any text.
    Text,
    /// A whole number.
    Integer,
    /// Any number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A moment.
    Moment,
    /// JSON with names in it.
    Map,
    /// JSON in a row.
    List,
    /// Not declared: JSON where it is some, else text.
    Any,
    /// One of these.
    Words(Vec<String>),
    /// One of these values, each as people write it.
    Values(Vec<Value>),
    /// What a person would answer.
    Answer(Box<Input>),
    /// One of several; `null` where that is among them.
    OneOf(Vec<Kind>),
    /// Nothing.
    Null,
}

/// Why an output has no kind.
pub(super) enum Missing {
    /// There is no such output; these there are.
    Output(BTreeSet<String>),
    /// There is nothing of this name in it.
    Inside(String),
}

type Refusal = (String, Option<String>);

impl Kind {
    pub(super) fn words<const N: usize>(words: [&str; N]) -> Self {
        Self::Words(words.map(str::to_owned).into())
    }

    /// Reads what somebody typed.
    pub(super) fn read(&self, text: &str) -> Result<Part, Refusal> {
        let json = || serde_json::from_str::<Value>(text);
        let refuse = |what: &str| Err((what.to_owned(), None));
        match self {
            Self::Text => Ok(Part::Whole(text.into())),
            Self::Integer => match text.parse::<i64>() {
                Ok(number) => Ok(Part::Whole(number.into())),
                Err(_) => refuse("it is no whole number"),
            },
            Self::Number => match json() {
                Ok(number @ Value::Number(_)) => Ok(Part::Whole(number)),
                _ => refuse("it is no number"),
            },
            Self::Boolean => match text.parse::<bool>() {
                Ok(flag) => Ok(Part::Whole(flag.into())),
                Err(_) => refuse("it is neither `true` nor `false`"),
            },
            Self::Moment => match text.parse::<Timestamp>() {
                Ok(at) => Ok(Part::Moment(at)),
                Err(_) => refuse("it is no time such as `2026-11-24T03:00:00Z`"),
            },
            Self::Map => match json() {
                Ok(map @ Value::Object(_)) => Ok(Part::Whole(map)),
                _ => refuse("it is no JSON object"),
            },
            Self::List => match json() {
                Ok(list @ Value::Array(_)) => Ok(Part::Whole(list)),
                _ => refuse("it is no list; write it as JSON: `[1, 2]`"),
            },
            Self::Any => Ok(Part::Whole(json().unwrap_or_else(|_| text.into()))),
            Self::Words(words) if words.iter().any(|word| word == text) => Ok(Part::Whole(text.into())),
            Self::Words(words) => {
                let near = nearest(text, words.iter().map(String::as_str));
                let help = near.map_or_else(
                    || format!("there are: {}", words.join(", ")),
                    |near| format!("did you mean `{near}`?"),
                );
                Err(("there is no such word".to_owned(), Some(help)))
            }
            Self::Values(values) => {
                let written = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                match values.iter().find(|value| written(value) == text) {
                    Some(value) => Ok(Part::Whole(value.clone())),
                    None => {
                        let known: Vec<String> = values.iter().map(written).collect();
                        let near = nearest(text, known.iter().map(String::as_str));
                        let help = near.map_or_else(
                            || format!("its arms give: {}", known.join(", ")),
                            |near| format!("did you mean `{near}`?"),
                        );
                        Err(("no arm gives that".to_owned(), Some(help)))
                    }
                }
            }
            Self::Answer(input) => match input.read(&Value::from(text)) {
                Ok(value) => Ok(Part::Whole(value)),
                Err(reason) => Err((reason, None)),
            },
            Self::Null if text == "null" => Ok(Part::Whole(Value::Null)),
            Self::Null => refuse("it can only be `null`"),
            Self::OneOf(kinds) => {
                // `null` is a text only where nothing else would do.
                let in_order = kinds
                    .iter()
                    .filter(|kind| **kind == Self::Null)
                    .chain(kinds.iter().filter(|kind| **kind != Self::Null));
                let mut last = None;
                for kind in in_order {
                    match kind.read(text) {
                        Ok(part) => return Ok(part),
                        Err(refusal) => last = Some(refusal),
                    }
                }
                Err(last.unwrap_or_default())
            }
        }
    }
}

/// What a fact about a failure may be.
pub(super) fn fact_kind(name: &str) -> Kind {
    match name {
        "kind" => Kind::words(ErrorKind::ALL.map(ErrorKind::as_str)),
        "status" | "retry_after_ms" => Kind::OneOf(vec![Kind::Integer, Kind::Null]),
        "code" | "trace" => Kind::OneOf(vec![Kind::Text, Kind::Null]),
        _ => Kind::Text,
    }
}

impl From<OutputType> for Kind {
    fn from(kind: OutputType) -> Self {
        match kind {
            OutputType::String => Self::Text,
            OutputType::Integer => Self::Integer,
            OutputType::Number => Self::Number,
            OutputType::Boolean => Self::Boolean,
            OutputType::Json => Self::Any,
        }
    }
}

/// What an output of a step may be, or what stands in it at `inner`.
pub(super) fn output_kind(
    plan: &Plan,
    place: usize,
    name: &str,
    inner: &[String],
    registry: &Registry,
) -> Result<Kind, Missing> {
    let step = plan.step(place);
    let missing = |known: &mut dyn Iterator<Item = &str>| Err(Missing::Output(known.map(str::to_owned).collect()));
    if step.for_each.is_some() {
        return match name {
            "items" => below(Kind::List, inner),
            "total" | "succeeded" | "failed" | "skipped" => below(Kind::Integer, inner),
            _ => missing(&mut ["items", "total", "succeeded", "failed", "skipped"].into_iter()),
        };
    }
    match &step.does {
        Does::Action { uses, with } => {
            let declared = match with {
                Templated::Map(map) if uses == "shell" => map.get("outputs").and_then(Templated::as_literal),
                Templated::Literal(Value::Object(map)) if uses == "shell" => map.get("outputs"),
                _ => None,
            };
            if let Some(declared) = declared.and_then(|declared| declared.get(name)) {
                let word = declared.as_str().or_else(|| declared.get("type").and_then(Value::as_str));
                let kind = OutputType::ALL.into_iter().find(|kind| Some(kind.as_str()) == word);
                return below(kind.map_or(Kind::Any, Kind::from), inner);
            }
            let Some(action) = registry.get(uses) else { return Ok(Kind::Any) };
            let mut generator = SchemaGenerator::default();
            let schema = action.output_schema(&mut generator).to_value();
            let is_shell = uses == "shell";
            in_schema(&schema, name, inner, &mut generator, is_shell).map_err(|missing| match missing {
                Missing::Output(mut known) => {
                    known.extend(
                        declared.and_then(Value::as_object).into_iter().flatten().map(|(name, _)| name.clone()),
                    );
                    Missing::Output(known)
                }
                other => other,
            })
        }
        Does::Decide(decide) => {
            let names = arm_names(decide);
            if !names.contains(name) {
                return Err(Missing::Output(names));
            }
            if inner.is_empty() { Ok(arm_values(decide, name)) } else { Ok(Kind::Any) }
        }
        Does::Manual(manual) => match manual.evidence.get(name) {
            Some(field) => below(Kind::Answer(Box::new(field.clone())), inner),
            None if name == "by" => below(Kind::Text, inner),
            None => missing(&mut manual.evidence.keys().map(String::as_str).chain(["by"])),
        },
        Does::Call(_) => {
            let Some(called) = plan.called_runbook(place) else { return Ok(Kind::Any) };
            match called.outputs.get(name) {
                Some(given) => below(given.kind.into(), inner),
                None => missing(&mut called.outputs.keys().map(String::as_str)),
            }
        }
        Does::Gate => missing(&mut std::iter::empty()),
    }
}

/// The names that the arms of a decision give.
fn arm_names(decide: &Decide) -> BTreeSet<String> {
    let names = |then: &Templated| match then {
        Templated::Literal(Value::Object(map)) => map.keys().cloned().collect::<Vec<_>>(),
        Templated::Map(map) => map.keys().cloned().collect(),
        _ => Vec::new(),
    };
    decide.arms.iter().flat_map(|arm| names(&arm.then)).collect()
}

/// The values that the arms of a decision give under a name, where all of them are written out.
fn arm_values(decide: &Decide, name: &str) -> Kind {
    let mut values: Vec<Value> = Vec::new();
    for arm in &decide.arms {
        let value = match &arm.then {
            Templated::Literal(Value::Object(map)) => map.get(name).cloned(),
            Templated::Map(map) => match map.get(name) {
                None => None,
                Some(Templated::Literal(value)) => Some(value.clone()),
                Some(_) => return Kind::Any,
            },
            _ => return Kind::Any,
        };
        values.extend(value.filter(|value| !values.contains(value)));
    }
    Kind::Values(values)
}

/// What stands in something of this kind.
fn below(kind: Kind, inner: &[String]) -> Result<Kind, Missing> {
    match (&kind, inner.first()) {
        (_, None) => Ok(kind),
        (Kind::Any | Kind::Map, Some(_)) => Ok(Kind::Any),
        (Kind::List, Some(_)) => Err(Missing::Inside("it is a list; give it whole, as JSON".to_owned())),
        (_, Some(name)) => Err(Missing::Inside(format!("there is nothing called `{name}` in it"))),
    }
}

fn in_schema(
    schema: &Value,
    name: &str,
    inner: &[String],
    generator: &mut SchemaGenerator,
    is_shell: bool,
) -> Result<Kind, Missing> {
    let schema = followed(schema, generator);
    let properties = schema.get("properties").and_then(Value::as_object);
    if let Some(property) = properties.and_then(|properties| properties.get(name)) {
        return kind_in(property, inner, generator);
    }
    // `shell` lets in what its step declares, and that was looked at before.
    let open = !is_shell && schema.get("additionalProperties").is_some_and(|more| *more != Value::Bool(false));
    match properties {
        Some(properties) if !open => Err(Missing::Output(properties.keys().cloned().collect())),
        _ => Ok(Kind::Any),
    }
}

fn kind_in(schema: &Value, inner: &[String], generator: &mut SchemaGenerator) -> Result<Kind, Missing> {
    let schema = followed(schema, generator);
    if let Some((name, rest)) = inner.split_first() {
        let types = types(&schema);
        if types.contains(&"array") {
            return below(Kind::List, inner);
        }
        if !types.is_empty() && !types.contains(&"object") {
            return Err(Missing::Inside(format!("there is nothing called `{name}` in it")));
        }
        return match schema.pointer("/properties").and_then(|properties| properties.get(name)) {
            Some(property) => kind_in(property, rest, generator),
            None if schema.get("properties").is_some()
                && schema.get("additionalProperties").is_none_or(|more| *more == Value::Bool(false)) =>
            {
                Err(Missing::Inside(format!("there is nothing called `{name}` in it")))
            }
            None => Ok(Kind::Any),
        };
    }
    if let Some(words) = schema.get("enum").and_then(Value::as_array) {
        return Ok(Kind::Words(words.iter().filter_map(|word| word.as_str().map(str::to_owned)).collect()));
    }
    for several in ["anyOf", "oneOf"] {
        if let Some(schemas) = schema.get(several).and_then(Value::as_array) {
            let words: Option<Vec<String>> =
                schemas.iter().map(|schema| schema.get("const")?.as_str().map(str::to_owned)).collect();
            if let Some(words) = words {
                return Ok(Kind::Words(words));
            }
            let kinds: Result<Vec<Kind>, Missing> =
                schemas.iter().map(|schema| kind_in(schema, &[], generator)).collect();
            return Ok(Kind::OneOf(kinds?));
        }
    }
    let kinds: Vec<Kind> = types(&schema)
        .into_iter()
        .map(|word| match word {
            "string" => Kind::Text,
            "integer" => Kind::Integer,
            "number" => Kind::Number,
            "boolean" => Kind::Boolean,
            "object" => Kind::Map,
            "array" => Kind::List,
            "null" => Kind::Null,
            _ => Kind::Any,
        })
        .collect();
    Ok(match kinds.as_slice() {
        [] => Kind::Any,
        [one] => one.clone(),
        _ => Kind::OneOf(kinds),
    })
}

fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(word)) => vec![word],
        Some(Value::Array(words)) => words.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn followed(schema: &Value, generator: &mut SchemaGenerator) -> Value {
    let Some(reference) = schema.get("$ref").and_then(Value::as_str) else { return schema.clone() };
    let name = reference.rsplit('/').next().unwrap_or_default();
    generator.definitions().get(name).cloned().unwrap_or_else(|| schema.clone())
}
