//! The JSON Schema of runbook files, made from the tables of fields and the parameters of every action.

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::action::{ErrorKind, Registry};
use crate::base::HumanDuration;
use crate::runbook::fields::{DEFINITIONS, Field, RUNBOOK, STEP};

/// The whole schema (JSON Schema, draft 2020-12).
pub fn schema(registry: &Registry) -> Value {
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let mut definitions = Map::new();
    for (name, fields, required) in DEFINITIONS {
        definitions.insert((*name).to_owned(), object(fields, required));
    }
    let per_action: Vec<Value> = registry.iter().map(|action| per_action(action.as_ref(), &mut generator)).collect();
    if let Some(undo) = definitions.get_mut("Undo").and_then(Value::as_object_mut) {
        undo.insert("anyOf".to_owned(), json!(["uses", "run", "argv"].map(|act| json!({ "required": [act] }))));
        undo.insert("allOf".to_owned(), json!(per_action));
    }
    if let Some(verify) = definitions.get_mut("Verify").and_then(Value::as_object_mut) {
        verify.insert("allOf".to_owned(), json!(per_action));
    }
    definitions.insert("Step".to_owned(), step(per_action));
    definitions.insert("ActionName".to_owned(), action_names(registry));
    definitions.insert("ErrorKind".to_owned(), json!({ "enum": ErrorKind::ALL.map(ErrorKind::as_str) }));
    let duration = <HumanDuration as schemars::JsonSchema>::json_schema(&mut generator).to_value();
    definitions.insert("Duration".to_owned(), duration);
    for (name, definition) in generator.take_definitions(true) {
        definitions.entry(name).or_insert(definition);
    }
    let mut whole = object(RUNBOOK, &["runbook", "steps"]);
    if let Some(top) = whole.as_object_mut() {
        top.shift_insert(0, "$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        top.shift_insert(1, "title".to_owned(), json!("Runbook"));
        top.insert("$defs".to_owned(), Value::Object(definitions));
    }
    allow_templates(&mut whole);
    whole
}

fn object(fields: &[Field], required: &[&str]) -> Value {
    let properties: Map<String, Value> = fields
        .iter()
        .map(|field| {
            let mut schema = (field.schema)();
            if let Some(schema) = schema.as_object_mut() {
                schema.insert("description".to_owned(), field.doc.into());
            }
            (field.name.to_owned(), schema)
        })
        .collect();
    json!({ "type": "object", "additionalProperties": false, "required": required, "properties": properties })
}

/// `if` the step uses this action, `then` its `with` must fit. Derived enums give useless messages; this gives exact ones.
fn per_action(action: &dyn crate::action::AnyAction, generator: &mut SchemaGenerator) -> Value {
    let name = action.contract().name;
    let params = action.params_schema(generator).to_value();
    json!({
        "if": { "properties": { "uses": { "const": name } }, "required": ["uses"] },
        "then": { "properties": { "with": params } },
    })
}

fn step(per_action: Vec<Value>) -> Value {
    let mut step = object(STEP, &[]);
    let arms = json!({
        "if": { "properties": { "uses": { "const": "decide" } }, "required": ["uses"] },
        "then": { "required": ["with"], "properties": { "with": { "type": "array", "minItems": 1, "items": { "$ref": "#/$defs/Arm" } } } },
    });
    if let Some(step) = step.as_object_mut() {
        let acts = ["uses", "run", "argv", "manual", "call", "approval"].map(|act| json!({ "required": [act] }));
        step.insert("anyOf".to_owned(), json!(acts));
        step.insert("allOf".to_owned(), std::iter::once(arms).chain(per_action).collect());
    }
    step
}

fn action_names(registry: &Registry) -> Value {
    let decide = json!({ "const": "decide", "description": "Chooses the first arm whose condition holds." });
    let actions = registry.iter().map(|action| {
        let contract = action.contract();
        json!({ "const": contract.name, "description": contract.summary })
    });
    json!({ "oneOf": std::iter::once(decide).chain(actions).collect::<Vec<_>>() })
}

/// Wherever an action wants a number, a boolean or a word of a list, a template may stand for it.
fn allow_templates(schema: &mut Value) {
    let Some(definitions) = schema.pointer_mut("/$defs").and_then(Value::as_object_mut) else { return };
    let ours: Vec<&str> =
        DEFINITIONS.iter().map(|(name, _, _)| *name).chain(["Step", "ActionName", "ErrorKind", "Duration"]).collect();
    for (name, definition) in definitions.iter_mut().filter(|(name, _)| !ours.contains(&name.as_str())) {
        let _ = name;
        let Some(properties) = definition.get_mut("properties").and_then(Value::as_object_mut) else { continue };
        for property in properties.values_mut() {
            let text_already = property.get("type").is_some_and(|kind| {
                *kind == json!("string") || kind.as_array().is_some_and(|kinds| kinds.contains(&json!("string")))
            });
            if text_already
                || property.get("type").is_none() && property.get("$ref").is_none() && property.get("anyOf").is_none()
            {
                continue;
            }
            let description = property.get("description").cloned();
            let mut widened = json!({ "anyOf": [property.take(), { "type": "string", "pattern": "\\{\\{" }] });
            if let (Some(widened), Some(description)) = (widened.as_object_mut(), description) {
                widened.insert("description".to_owned(), description);
            }
            *property = widened;
        }
    }
}
