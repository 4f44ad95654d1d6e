//! The JSON Schema of test files, made from the tables of fields.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::fields::{ANSWER, DEFINITIONS, FILE, UNDO_ANSWER, VOICE};
use crate::base::HumanDuration;
use crate::runbook::fields::Field;

/// The whole schema (JSON Schema, draft 2020-12).
pub fn schema() -> Value {
    let mut definitions: Map<String, Value> =
        DEFINITIONS.iter().map(|(name, fields, required)| ((*name).to_owned(), object(fields, required))).collect();
    let or_word = |fields: &[Field], word: &str, doc: &str| json!({ "anyOf": [{ "const": word, "description": doc }, object(fields, &[])] });
    definitions.insert("Answer".to_owned(), or_word(ANSWER, "nobody", "Nobody does it: the run waits."));
    definitions.insert("UndoAnswer".to_owned(), or_word(UNDO_ANSWER, "done", "It is undone."));
    definitions.insert("Voice".to_owned(), or_word(VOICE, "nobody", "Nobody answers."));
    let mut generator = SchemaSettings::draft2020_12().into_generator();
    let duration = <HumanDuration as schemars::JsonSchema>::json_schema(&mut generator).to_value();
    definitions.insert("Duration".to_owned(), duration);
    let mut whole = object(FILE, &["cases"]);
    if let Some(top) = whole.as_object_mut() {
        top.shift_insert(0, "$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        top.shift_insert(1, "title".to_owned(), json!("Tests of a runbook"));
        top.insert("$defs".to_owned(), Value::Object(definitions));
    }
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
