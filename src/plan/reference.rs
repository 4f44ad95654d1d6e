//! The reference text of the language and of every action, made from the schema that editors use.

use schemars::SchemaGenerator;
use serde::Serialize;
use serde_json::{Map, Value};

use super::schema;
use crate::action::{AnyAction, Contract, Effect, Registry, Replay};

/// Everything that can be asked for: each field by its path (`steps.retry.attempts`), each action by its name.
#[derive(Debug)]
pub struct Reference {
    topics: Vec<Topic>,
}

/// Something that can be asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "about", rename_all = "snake_case")]
pub enum Topic {
    /// A field of the language.
    Field {
        /// Where it stands, from the top of the file; names that authors choose are left out.
        path: String,
        /// The field.
        #[serde(flatten)]
        entry: Entry,
        /// What stands in it, where it is a map of known keys.
        fields: Vec<Entry>,
    },
    /// An action.
    Action {
        /// The name after `uses:`.
        name: String,
        /// What it does.
        summary: String,
        /// Does it change the world?
        effect: Effect,
        /// What becomes of a try whose end nobody saw.
        replay: Replay,
        /// What `undo: auto` does.
        undo: Option<String>,
        /// Secrets it takes by name.
        secrets: Vec<String>,
        /// What `with` holds.
        parameters: Vec<Entry>,
        /// What expressions find under `.outputs`.
        outputs: Vec<Entry>,
    },
}

/// A field, a parameter or an output.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// What it may be, in words.
    #[serde(rename = "type")]
    pub kind: String,
    /// What it means.
    pub meaning: String,
    /// Must it be there?
    pub required: bool,
    /// What it is where it is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// Values to show how it is written.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<Value>,
}

impl Topic {
    /// What it is asked for by.
    pub fn name(&self) -> &str {
        match self {
            Self::Field { path, .. } => path,
            Self::Action { name, .. } => name,
        }
    }

    /// What it means, whole.
    pub fn meaning(&self) -> &str {
        match self {
            Self::Field { entry, .. } => &entry.meaning,
            Self::Action { summary, .. } => summary,
        }
    }
}

impl Reference {
    /// The reference of the language with these actions.
    pub fn new(registry: &Registry) -> Self {
        let whole = schema(registry);
        let words = Words { schema: &whole };
        let mut topics = Vec::new();
        words.fields("", &whole, &mut topics);
        topics.push(words.decide());
        if let Some(arm) = words.definition("Arm") {
            words.fields("decide.", arm, &mut topics);
        }
        topics.extend(registry.iter().map(|action| about(action.as_ref())));
        Self { topics }
    }

    /// Everything, the fields before the actions, each in the order of the file.
    pub fn topics(&self) -> &[Topic] {
        &self.topics
    }

    /// What is asked for, and whatever else goes by this name. A path may begin anywhere: `retry.attempts` is enough, and of
    /// several the one nearest to the top of the file is meant.
    pub fn find(&self, name: &str) -> Option<(&Topic, Vec<&Topic>)> {
        let name = match name.strip_prefix("finally.") {
            Some(rest) => &format!("steps.{rest}"),
            None => name,
        };
        let is_called = |topic: &&Topic| {
            topic.name().strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('.'))
        };
        let mut found: Vec<&Topic> = self.topics.iter().filter(is_called).collect();
        found.sort_by_key(|topic| topic.name().matches('.').count());
        let first = found.first().copied()?;
        Some((first, found.split_off(1)))
    }
}

/// A schema, put into words.
struct Words<'s> {
    schema: &'s Value,
}

impl<'s> Words<'s> {
    fn definition(&self, name: &str) -> Option<&'s Value> {
        self.schema.get("$defs")?.get(name)
    }

    /// What a schema refers to, with the name of it.
    fn referred(&self, schema: &'s Value) -> Option<(&'s str, &'s Value)> {
        let name = schema.get("$ref")?.as_str()?.rsplit('/').next()?;
        Some((name, self.definition(name)?))
    }

    /// Every field of a map, and of the maps in it.
    fn fields(&self, prefix: &str, table: &'s Value, topics: &mut Vec<Topic>) {
        for (name, schema) in properties(table) {
            let path = format!("{prefix}{name}");
            // The steps of `finally` are those of `steps` over again.
            let inner = self.table(schema).filter(|_| path != "finally");
            let fields = inner.map(|inner| self.entries(inner)).unwrap_or_default();
            topics.push(Topic::Field { path: path.clone(), entry: self.entry(name, schema, table), fields });
            if let Some(inner) = inner {
                self.fields(&format!("{path}."), inner, topics);
            }
        }
    }

    fn decide(&self) -> Topic {
        let entry = Entry {
            name: "decide".to_owned(),
            kind: "list of arms".to_owned(),
            meaning: "`uses: decide` takes the first arm whose `if` holds. Its `then` are the step's outputs."
                .to_owned(),
            required: false,
            default: None,
            examples: Vec::new(),
        };
        let fields = self.definition("Arm").map(|arm| self.entries(arm)).unwrap_or_default();
        Topic::Field { path: "decide".to_owned(), entry, fields }
    }

    fn entries(&self, table: &'s Value) -> Vec<Entry> {
        properties(table).map(|(name, schema)| self.entry(name, schema, table)).collect()
    }

    /// Every entry of a map, and those of the maps in it by their path: `expect.status`, `incidents[].name`.
    fn deep_entries(&self, prefix: &str, table: &'s Value, into: &mut Vec<Entry>) {
        for (name, schema) in properties(table) {
            let entry = self.entry(name, schema, table);
            let path = format!("{prefix}{name}");
            let step = if entry.kind.starts_with("list") { "[]." } else { "." };
            into.push(Entry { name: path.clone(), ..entry });
            if let Some(inner) = self.table(schema) {
                self.deep_entries(&format!("{path}{step}"), inner, into);
            }
        }
    }

    fn entry(&self, name: &str, schema: &'s Value, table: &Value) -> Entry {
        let required = table.get("required").and_then(Value::as_array).into_iter().flatten();
        let meaning = schema.get("description").and_then(Value::as_str).unwrap_or_default();
        Entry {
            name: name.to_owned(),
            kind: self.kind(schema),
            meaning: meaning.split_whitespace().collect::<Vec<_>>().join(" "),
            required: required.into_iter().any(|required| required == name),
            default: schema.get("default").filter(|default| !is_nothing(default)).cloned(),
            examples: schema.get("examples").and_then(Value::as_array).cloned().unwrap_or_default(),
        }
    }

    /// The map of known keys that stands somewhere in a schema: in it, in each entry of it, or as one way to write it.
    fn table(&self, schema: &'s Value) -> Option<&'s Value> {
        if schema.get("properties").is_some() {
            return Some(schema);
        }
        if let Some((_, definition)) = self.referred(schema) {
            return self.table(definition);
        }
        let within = ["additionalProperties", "items", "then", "else"].into_iter().filter_map(|key| schema.get(key));
        within.chain(alternatives(schema)).find_map(|part| self.table(part))
    }

    /// What a value may be, in words.
    fn kind(&self, schema: &'s Value) -> String {
        let mut kinds = Vec::new();
        self.kinds(schema, &mut kinds);
        let mut told: Vec<String> = Vec::new();
        for kind in kinds {
            if !told.contains(&kind) {
                told.push(kind);
            }
        }
        // Nothing at all is told of last.
        if let Some(at) = told.iter().position(|kind| kind == "none") {
            let none = told.remove(at);
            told.push(none);
        }
        if told.is_empty() { "anything".to_owned() } else { told.join(" or ") }
    }

    fn kinds(&self, schema: &'s Value, kinds: &mut Vec<String>) {
        if let Some((name, definition)) = self.referred(schema) {
            return match name {
                _ if name.ends_with("Duration") => kinds.push("duration".to_owned()),
                _ if name.ends_with("ActionName") => kinds.push("action".to_owned()),
                _ => self.kinds(definition, kinds),
            };
        }
        let constants: Vec<&Value> = alternatives(schema).filter_map(|part| part.get("const")).collect();
        if schema.get("properties").is_some() {
            kinds.push("map".to_owned());
        } else if let Some(words) = schema.get("enum").and_then(Value::as_array) {
            kinds.push(one_of(words.iter()));
        } else if let Some(word) = schema.get("const") {
            kinds.push(one_of([word].into_iter()));
        } else if constants.len() > 1 {
            kinds.push(one_of(constants.into_iter()));
        } else if alternatives(schema).next().is_some() || schema.get("then").is_some() {
            let either = ["then", "else"].into_iter().filter_map(|key| schema.get(key));
            alternatives(schema).chain(either).for_each(|part| self.kinds(part, kinds));
        } else {
            self.plain(schema, kinds);
        }
    }

    /// A type by its name. A text may always be written as a number or a boolean, so those are not told beside it.
    fn plain(&self, schema: &'s Value, kinds: &mut Vec<String>) {
        let types: Vec<&str> = match schema.get("type") {
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(many)) => many.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        };
        let is_text = types.contains(&"string");
        for name in types {
            match name {
                "string" => kinds.push("text".to_owned()),
                "null" => kinds.push("none".to_owned()),
                "integer" => kinds.push(match schema.get("minimum").and_then(Value::as_u64) {
                    Some(least @ 1..) => format!("whole number from {least}"),
                    _ => "whole number".to_owned(),
                }),
                "number" if !is_text => kinds.push(match schema.get("minimum") {
                    Some(least) => format!("number from {least}"),
                    None => "number".to_owned(),
                }),
                "boolean" if !is_text => kinds.push("`true` or `false`".to_owned()),
                "array" => kinds.push(format!("list{}", self.of_each(schema.get("items")))),
                "object" => kinds.push(format!("map{}", self.of_each(schema.get("additionalProperties")))),
                _ => {}
            }
        }
    }

    /// What each entry of a list or a map is, where that says something.
    fn of_each(&self, inner: Option<&'s Value>) -> String {
        let Some(inner) = inner.filter(|inner| inner.is_object()) else { return String::new() };
        match self.kind(inner).as_str() {
            "anything" => String::new(),
            plain @ ("text" | "whole number" | "number" | "map" | "duration") => format!(" of {plain}s"),
            other => format!(", each {other}"),
        }
    }
}

/// An action, from its contract and its types.
fn about(action: &dyn AnyAction) -> Topic {
    let mut generator = SchemaGenerator::default();
    let params = action.params_schema(&mut generator).to_value();
    let output = action.output_schema(&mut generator).to_value();
    let definitions: Map<String, Value> = generator.take_definitions(true);
    let whole = serde_json::json!({ "$defs": definitions, "params": params, "output": output });
    let words = Words { schema: &whole };
    let of = |part: &str| {
        let mut entries = Vec::new();
        if let Some(table) = whole.get(part).and_then(|schema| words.table(schema)) {
            words.deep_entries("", table, &mut entries);
        }
        entries
    };
    let (mut parameters, mut outputs) = (of("params"), of("output"));
    // A parameter that may be left out may be `none`; that says nothing more either.
    parameters.iter_mut().for_each(|parameter| parameter.kind = parameter.kind.replace(" or none", ""));
    // An output is there or `none`; that it need not be there says nothing more.
    outputs.iter_mut().for_each(|output| output.required = false);
    let Contract { name, summary, effect, replay, undo, secrets, .. } = action.contract();
    Topic::Action {
        name: name.to_owned(),
        summary: summary.to_owned(),
        effect,
        replay,
        undo: undo.map(str::to_owned),
        secrets: secrets.iter().map(|secret| (*secret).to_owned()).collect(),
        parameters,
        outputs,
    }
}

fn properties(table: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let properties = table.get("properties").and_then(Value::as_object).into_iter().flatten();
    properties.map(|(name, schema)| (name.as_str(), schema))
}

fn alternatives(schema: &Value) -> impl Iterator<Item = &Value> {
    ["anyOf", "oneOf"].into_iter().filter_map(|key| schema.get(key)?.as_array()).flatten()
}

fn one_of<'v>(words: impl Iterator<Item = &'v Value>) -> String {
    let words: Vec<String> =
        words.map(|word| format!("`{}`", word.as_str().map_or_else(|| word.to_string(), str::to_owned))).collect();
    match words.as_slice() {
        [one] => one.clone(),
        _ => format!("one of {}", words.join(", ")),
    }
}

/// A default that says no more than that nothing is given.
fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}
