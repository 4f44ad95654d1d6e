//! The JSON Schema of runbook files, made from the tables of fields and the parameters of every action.
//!
//! `enumDescriptions`, `markdownDescription` and `errorMessage` are no words of JSON Schema itself. The language servers that
//! editors use show them; everybody else ignores them.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::Preview;
use crate::action::{AnyAction, Effect, ErrorKind, Registry, Replay};
use crate::base::HumanDuration;
use crate::runbook::fields::{ACTS, COMPANY, DEFINITIONS, Field, RUNBOOK, STEP, describe, words};

/// Where a template may stand for a value.
const TEMPLATE: &str = r"\{\{";

/// The schema of a plan as data (JSON Schema, draft 2020-12).
pub fn preview_schema() -> Value {
    let schema = SchemaSettings::draft2020_12().for_serialize().into_generator().into_root_schema_for::<Preview>();
    let mut schema = schema.to_value();
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("title".to_owned(), "A plan, as `runbook plan --format json` prints it".into());
    }
    schema
}

/// The whole schema (JSON Schema, draft 2020-12).
pub fn schema(registry: &Registry) -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let actions: Vec<&dyn AnyAction> = registry.iter().map(AsRef::as_ref).collect();
    let params: Vec<Value> = actions.iter().map(|action| action.params_schema(&mut generator).to_value()).collect();
    let mut definitions = Map::new();
    for (name, fields, required) in DEFINITIONS {
        definitions.insert((*name).to_owned(), object(&spoken(name), fields, required));
    }
    definitions.insert("Step".to_owned(), object("step", STEP, &[]));
    extend(&mut definitions, "Step", step());
    extend(&mut definitions, "Undo", undo());
    extend(&mut definitions, "Verify", parameters());
    extend(&mut definitions, "Secret", secret());
    extend(&mut definitions, "Approval", open_for_ever());
    extend(&mut definitions, "Input", words_of_an_enum());
    definitions.insert("Parameters".to_owned(), per_action(&actions, &params));
    let in_steps = actions.iter().copied().filter(|action| action.contract().name != "shell");
    definitions.insert("ActionName".to_owned(), action_names(std::iter::once(decide()).chain(in_steps.map(named))));
    definitions.insert("UndoActionName".to_owned(), action_names(actions.iter().copied().map(named)));
    let looking = actions.iter().copied().filter(|action| action.contract().effect == Effect::Read);
    definitions.insert("LookingActionName".to_owned(), action_names(looking.map(named)));
    definitions.insert("ErrorKind".to_owned(), error_kinds(&mut generator));
    let duration = <HumanDuration as schemars::JsonSchema>::json_schema(&mut generator).to_value();
    definitions.insert("TemplatedDuration".to_owned(), templated_duration(&duration));
    definitions.insert("Duration".to_owned(), duration);
    let derived = generator.take_definitions(true);
    let texts: Vec<String> =
        derived.iter().filter(|(_, definition)| takes_any_text(definition)).map(|(name, _)| name.clone()).collect();
    for (name, mut definition) in derived {
        as_words(&mut definition);
        allow_templates_within(&mut definition, &texts);
        definitions.entry(name).or_insert(definition);
    }
    for (action, params) in actions.iter().zip(&params) {
        let title = format!("parameters of {}", action.contract().name);
        if let Some(definition) = referred(params).and_then(|name| definitions.get_mut(name)) {
            definition["title"] = title.into();
        }
    }
    let mut whole = object("runbook", RUNBOOK, &["runbook", "steps"]);
    if let Some(top) = whole.as_object_mut() {
        top.shift_insert(0, "$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        top.insert("$defs".to_owned(), Value::Object(definitions));
    }
    add_markdown(&mut whole);
    whole
}

/// A description is plain text to an editor, backticks and all. So it is given as what it is too: Markdown.
fn add_markdown(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            for (plain, marked) in
                [("description", "markdownDescription"), ("enumDescriptions", "markdownEnumDescriptions")]
            {
                let text = object.get(plain).filter(|text| !text.is_object()).cloned();
                if let Some(text) = text.filter(|_| !object.contains_key(marked)) {
                    object.insert(marked.to_owned(), text);
                }
            }
            object.values_mut().for_each(add_markdown);
        }
        Value::Array(items) => items.iter_mut().for_each(add_markdown),
        _ => {}
    }
}

/// `ForEach` as people say it: `for_each`. Editors put it above what they show.
fn spoken(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}

fn object(title: &str, fields: &[Field], required: &[&str]) -> Value {
    let properties: Map<String, Value> =
        fields.iter().map(|field| (field.name.to_owned(), field.to_schema())).collect();
    json!({ "title": title, "type": "object", "additionalProperties": false, "required": required, "properties": properties })
}

/// Adds what a table cannot say to its definition.
fn extend(definitions: &mut Map<String, Value>, name: &str, more: Value) {
    if let (Some(definition), Value::Object(more)) = (definitions.get_mut(name).and_then(Value::as_object_mut), more) {
        definition.extend(more);
    }
}

/// `with` as the action needs it.
fn parameters() -> Value {
    json!({ "allOf": [{ "$ref": "#/$defs/Parameters" }] })
}

/// Exactly one of some keys: one must be there, and none beside an earlier one.
fn one_of(keys: &[&str], rule: &str) -> Value {
    let any: Vec<Value> = keys.iter().map(|key| json!({ "required": [key], "errorMessage": rule })).collect();
    json!({ "anyOf": any, "dependentSchemas": alone(keys, rule) })
}

/// Where a secret comes from: one place before the run, or a step of it, a question, or both.
fn secret() -> Value {
    let rule = "a secret has one source: `env`, `file`, or `step` and `prompt`";
    let any: Vec<Value> = ["env", "file", "step", "prompt"]
        .iter()
        .map(|key| json!({ "required": [key], "errorMessage": rule }))
        .collect();
    let alone = json!({
        "env": refused(&["file", "step", "prompt"], rule),
        "file": refused(&["step", "prompt"], rule),
    });
    json!({ "anyOf": any, "dependentSchemas": alone })
}

/// What each of some keys that exclude each other forbids. Each pair once, so that one mistake has one mark.
fn alone(keys: &[&str], rule: &str) -> Map<String, Value> {
    let others = keys.iter().enumerate().map(|(index, key)| (key, &keys[index + 1..]));
    others
        .filter(|(_, others)| !others.is_empty())
        .map(|(key, others)| ((*key).to_owned(), refused(others, rule)))
        .collect()
}

/// Keys that may not be there, and what to say of them.
fn refused(keys: &[&str], why: &str) -> Value {
    let keys: Map<String, Value> = keys.iter().map(|key| ((*key).to_owned(), Value::Bool(false))).collect();
    json!({ "properties": keys, "errorMessage": why })
}

/// What a step may hold beside what it does.
fn step() -> Value {
    let rule = "a step does one thing: one of `uses`, `run`, `argv`, `call`, `manual`, or `approval` alone";
    let mut some: Vec<&str> = ACTS.to_vec();
    some.push("approval");
    let any: Vec<Value> = some.iter().map(|key| json!({ "required": [key], "errorMessage": rule })).collect();
    let mut beside: Vec<Value> = ACTS
        .iter()
        .map(|act| json!({ "if": { "required": [act] }, "then": { "allOf": misplaced(Some(act)) } }))
        .collect();
    let gate = json!({ "not": { "anyOf": ACTS.map(|act| json!({ "required": [act] })) }, "required": ["approval"] });
    beside.push(json!({ "if": gate, "then": { "allOf": misplaced(None) } }));
    let once = "a loop has no `until` and no `measure`: call a runbook for each item instead";
    beside.push(json!({ "if": { "required": ["for_each"] }, "then": refused(&["until", "measure"], once) }));
    beside.push(arms());
    beside.push(json!({ "$ref": "#/$defs/Parameters" }));
    json!({ "anyOf": any, "dependentSchemas": alone(&ACTS, rule), "allOf": beside })
}

/// The fields that mean nothing beside an act, or beside no act at all.
fn misplaced(act: Option<&str>) -> Vec<Value> {
    let groups = COMPANY.iter().filter(|(_, acts)| !act.is_some_and(|act| acts.contains(&act)));
    groups
        .map(|(fields, acts)| refused(fields, &format!("it has no meaning here: it belongs to {}", listed(acts))))
        .collect()
}

/// `decide` has arms instead of parameters, and nothing to repeat or to undo.
fn arms() -> Value {
    let acts: Vec<&str> = COMPANY
        .iter()
        .filter(|(_, acts)| acts.contains(&"run") && acts.contains(&"uses"))
        .flat_map(|(fields, _)| fields.iter().copied())
        .collect();
    let mut then = refused(&acts, "it has no meaning here: `decide` runs no action");
    then["properties"]["with"] = json!({
        "type": "array", "minItems": 1, "items": { "$ref": "#/$defs/Arm" },
        "errorMessage": "`decide` needs a list of arms: `- if: …` and `then: { … }`",
    });
    json!({
        "if": { "properties": { "uses": { "const": "decide" } }, "required": ["uses"] },
        "then": { "allOf": [then, { "required": ["with"], "errorMessage": "`decide` needs its arms in `with`" }] },
    })
}

/// An undo is an action, a script or a command.
fn undo() -> Value {
    let acts = ["uses", "run", "argv"];
    let mut undo = one_of(&acts, "an undo does one thing: one of `uses`, `run`, `argv`");
    let belongs = |key: &str, to: &str| format!("it has no meaning here: `{key}` belongs to {to}");
    undo["allOf"] = json!([
        { "if": { "required": ["uses"] }, "then": refused(&["env"], &belongs("env", "`run` and `argv`")),
          "else": refused(&["with"], &belongs("with", "`uses`")) },
        { "$ref": "#/$defs/Parameters" },
    ]);
    undo
}

/// A question that never lapses has no time.
fn open_for_ever() -> Value {
    json!({
        "if": { "properties": { "on_timeout": { "const": "hold" } }, "required": ["on_timeout"] },
        "then": refused(&["within"], "`within` has no meaning beside `on_timeout: hold`"),
    })
}

/// `values` and the type `enum` belong together.
fn words_of_an_enum() -> Value {
    json!({
        "if": { "properties": { "type": { "const": "enum" } }, "required": ["type"] },
        "then": { "required": ["values"], "errorMessage": "an `enum` needs its words in `values`" },
        "else": refused(&["values"], "`values` belong to the type `enum`"),
    })
}

/// `if` this action is used, `then` its `with` must fit. Derived enums give useless messages; this gives exact ones.
fn per_action(actions: &[&dyn AnyAction], params: &[Value]) -> Value {
    let cases = actions.iter().zip(params).map(|(action, params)| {
        let name = action.contract().name;
        let mut then = json!({ "properties": { "with": params } });
        let needed = resolved_params(*action);
        let needed: Vec<&str> = needed["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        if !needed.is_empty() {
            then["required"] = json!(["with"]);
            then["errorMessage"] = format!("`{name}` needs {} in `with`", listed(&needed)).into();
        }
        json!({ "if": { "properties": { "uses": { "const": name } }, "required": ["uses"] }, "then": then })
    });
    json!({ "allOf": cases.collect::<Vec<_>>() })
}

/// The schema of an action's parameters as a whole, where it would only point to one.
pub(super) fn resolved_params(action: &dyn AnyAction) -> Value {
    let mut generator = SchemaGenerator::default();
    let schema = action.params_schema(&mut generator).to_value();
    let Some(reference) = schema.get("$ref").and_then(Value::as_str) else { return schema };
    let name = reference.rsplit('/').next().unwrap_or_default();
    generator.definitions().get(name).cloned().unwrap_or(schema)
}

/// `a`, `b` and `c`.
fn listed(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    match names.split_last() {
        Some((last, before)) if !before.is_empty() => format!("{} and {last}", before.join(", ")),
        _ => names.concat(),
    }
}

fn action_names(names: impl Iterator<Item = Value>) -> Value {
    json!({ "type": "string", "oneOf": names.collect::<Vec<_>>() })
}

fn decide() -> Value {
    json!({
        "const": "decide",
        "description": "Chooses the first arm whose condition holds.",
        "markdownDescription": "Chooses the first arm whose condition holds. The outputs are what its `then` gives.",
    })
}

/// An action's name with a line about it; where there is room, also with what it does to the world and what it gives.
fn named(action: &dyn AnyAction) -> Value {
    let contract = action.contract();
    let effect = match (contract.effect, contract.replay) {
        (Effect::Read, _) => "It only looks.",
        (Effect::Write, Replay::Safe | Replay::Keyed) => "It changes something; doing it again is harmless.",
        (Effect::Write, Replay::Probe) => "It changes something; after a crash it is looked up whether it happened.",
        (Effect::Write, Replay::Once) => "It changes something; after a crash a person must say whether it happened.",
    };
    let mut text = format!("{}\n\n{effect}", contract.summary);
    if let Some(undo) = contract.undo {
        text.push_str(&format!(" `undo: auto` {undo}."));
    }
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let output = action.output_schema(&mut generator).to_value();
    let output = referred(&output).and_then(|name| generator.definitions().get(name)).unwrap_or(&output);
    let outputs = output.get("properties").and_then(Value::as_object).into_iter().flatten();
    for (index, (name, output)) in outputs.enumerate() {
        text.push_str(if index == 0 { "\n\nOutputs:\n" } else { "" });
        let meaning = output.get("description").and_then(Value::as_str).unwrap_or_default();
        text.push_str(&format!("\n- `{name}`: {}", meaning.replace('\n', " ")));
    }
    json!({ "const": contract.name, "description": contract.summary, "markdownDescription": text })
}

/// The kinds of failure, with what their own documentation says.
fn error_kinds(generator: &mut SchemaGenerator) -> Value {
    let mut derived = <ErrorKind as schemars::JsonSchema>::json_schema(generator).to_value();
    as_words(&mut derived);
    derived
}

/// Words with a meaning each are derived as a list of schemas. One list of words gives editors better messages.
fn as_words(definition: &mut Value) {
    let meanings: Option<Vec<(String, String)>> = definition.get("oneOf").and_then(Value::as_array).and_then(|cases| {
        let word = |case: &Value| {
            Some((case.get("const")?.as_str()?.to_owned(), case.get("description")?.as_str()?.to_owned()))
        };
        cases.iter().map(word).collect()
    });
    if let (Some(meanings), Some(definition)) = (meanings, definition.as_object_mut())
        && let Value::Object(list) = words(meanings.iter().map(|(word, meaning)| (word.as_str(), meaning.as_str())))
    {
        definition.remove("oneOf");
        definition.extend(list);
    }
}

fn referred(schema: &Value) -> Option<&str> {
    schema.get("$ref").and_then(Value::as_str).and_then(|reference| reference.strip_prefix("#/$defs/"))
}

fn templated_duration(duration: &Value) -> Value {
    let mut templated = duration.clone();
    if let Some(pattern) = duration.get("pattern").and_then(Value::as_str) {
        templated["pattern"] = format!("{pattern}|{TEMPLATE}").into();
    }
    templated
}

fn kind_in_words(kind: &str) -> Option<&'static str> {
    match kind {
        "boolean" => Some("`true` or `false`"),
        "integer" => Some("a whole number"),
        "number" => Some("a number"),
        "array" => Some("a list"),
        "object" => Some("a map"),
        _ => None,
    }
}

/// May it be any text? Then it may be a template as it is.
fn takes_any_text(definition: &Value) -> bool {
    let cases = definition.get("anyOf").and_then(Value::as_array).into_iter().flatten();
    cases.into_iter().any(|case| {
        case.get("type").and_then(Value::as_str) == Some("string")
            && ["const", "enum"].iter().all(|key| case.get(key).is_none())
    })
}

/// Wherever an action wants a number, a boolean, a list, a map or a word of a list, a template may stand for it.
/// `texts` are the definitions that take any text.
fn allow_templates_within(definition: &mut Value, texts: &[String]) {
    let Some(definition) = definition.as_object_mut() else { return };
    if let Some(properties) = definition.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(|property| allow_template(property, texts));
    }
    for list in ["items", "additionalProperties"] {
        if let Some(inner) = definition.get_mut(list).filter(|inner| inner.is_object()) {
            allow_template(inner, texts);
        }
    }
    for cases in ["anyOf", "oneOf"] {
        let cases = definition.get_mut(cases).and_then(Value::as_array_mut);
        cases.into_iter().flatten().for_each(|case| allow_templates_within(case, texts));
    }
}

fn allow_template(schema: &mut Value, texts: &[String]) {
    allow_templates_within(schema, texts);
    match referred(schema) {
        Some("Duration") => {
            schema["$ref"] = json!("#/$defs/TemplatedDuration");
            return;
        }
        Some(name) if texts.iter().any(|text| text == name) => return,
        Some(_) | None => {}
    }
    let Some(object) = schema.as_object_mut() else { return };
    // Nothing at all is no default that anybody would want to have inserted.
    object.retain(|key, value| key != "default" || ![json!({}), json!([])].contains(value));
    let kinds: Vec<Value> = match object.get("type") {
        Some(Value::Array(kinds)) => kinds.clone(),
        Some(kind) => vec![kind.clone()],
        None => Vec::new(),
    };
    if !kinds.is_empty() {
        // It was no text, so a text in its place can only be a template.
        if !kinds.contains(&json!("string")) {
            let wanted = kinds.iter().find_map(|kind| kind_in_words(kind.as_str()?)).unwrap_or("something else");
            object.insert("type".to_owned(), kinds.into_iter().chain([json!("string")]).collect());
            object.insert("pattern".to_owned(), TEMPLATE.into());
            object.insert("errorMessage".to_owned(), format!("{wanted} is wanted here, or a template for it").into());
        }
        return;
    }
    if !object.contains_key("$ref") && !object.contains_key("anyOf") {
        return;
    }
    let doc = object.get("description").and_then(Value::as_str).unwrap_or_default().to_owned();
    let said: Map<String, Value> =
        ["description", "default", "examples"].iter().filter_map(|key| object.remove_entry(*key)).collect();
    let mut other = std::mem::take(schema);
    // Of two alternatives that say the same, editors show both: the template says nothing.
    describe(&mut other, &doc);
    *schema = json!({ "anyOf": [other, { "type": "string", "pattern": TEMPLATE }] });
    schema.as_object_mut().into_iter().for_each(|object| object.extend(said.clone()));
}
