//! An OpenAPI file (3.0 or 3.1) as what it demands of requests and answers.
//!
//! A small reader of its own: what the vendors' files use, and a panic for what they do not, so that no demand is dropped
//! without a word.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use jsonschema::Validator;
use runbook::drill::{Answering, Asking};
use serde_json::{Map, Value, json};

/// One vendor's file.
pub(crate) struct Contract {
    /// The file's name, without its ending.
    pub(crate) name: String,
    document: Value,
    operations: Vec<Operation>,
    compiled: Mutex<BTreeMap<String, Arc<Validator>>>,
}

/// One operation.
#[derive(Debug)]
pub(crate) struct Operation {
    /// `GET /users/{user_id}`.
    pub(crate) name: String,
    method: String,
    segments: Vec<String>,
    /// Where it stands in the document.
    pointer: String,
    parameters: Vec<Value>,
}

/// What an answer may be, by the file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Declared {
    /// It is as declared.
    Fits,
    /// The file has no such status for this operation.
    Undeclared,
}

const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

impl Contract {
    pub(crate) fn load(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let name = path.file_name().unwrap().to_str().unwrap().trim_end_matches(".openapi.json").to_owned();
        Self::read(&name, &text)
    }

    pub(crate) fn read(name: &str, text: &str) -> Self {
        let mut document: Value = serde_json::from_str(text).unwrap();
        if document["openapi"].as_str().unwrap().starts_with("3.0") {
            admit_null(&mut document);
        }
        let mut contract = Self { name: name.to_owned(), document, operations: Vec::new(), compiled: Mutex::default() };
        contract.operations = contract.all();
        contract
    }

    fn all(&self) -> Vec<Operation> {
        let server = self.document["servers"][0]["url"].as_str().unwrap();
        let base = server.splitn(4, '/').nth(3).map(|path| format!("/{path}")).unwrap_or_default();
        let mut found = Vec::new();
        for (path, item) in self.document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                if !METHODS.contains(&method.as_str()) {
                    assert!(method == "parameters" || method == "summary", "`{method}` of {path} is not understood");
                    continue;
                }
                let shared = item["parameters"].as_array().into_iter().flatten();
                let own = operation["parameters"].as_array().into_iter().flatten();
                found.push(Operation {
                    name: format!("{} {path}", method.to_uppercase()),
                    method: method.to_uppercase(),
                    segments: format!("{base}{path}").split('/').map(str::to_owned).collect(),
                    pointer: format!("/paths/{}/{method}", path.replace('~', "~0").replace('/', "~1")),
                    parameters: shared.chain(own).map(|one| self.resolved(one).clone()).collect(),
                });
            }
        }
        // `/users/count` before `/users/{user_id}`.
        found.sort_by_key(|operation| operation.segments.iter().filter(|segment| segment.starts_with('{')).count());
        found
    }

    fn resolved<'d>(&'d self, value: &'d Value) -> &'d Value {
        match value["$ref"].as_str() {
            Some(place) => self.document.pointer(place.strip_prefix('#').unwrap()).unwrap(),
            None => value,
        }
    }

    pub(crate) fn operations(&self) -> impl Iterator<Item = &str> {
        self.operations.iter().map(|operation| operation.name.as_str())
    }

    /// The operation that a method and a path mean.
    pub(crate) fn operation(&self, method: &str, path: &str) -> Option<&Operation> {
        let asked: Vec<&str> = path.split('/').collect();
        self.operations.iter().find(|operation| {
            operation.method == method
                && operation.segments.len() == asked.len()
                && operation
                    .segments
                    .iter()
                    .zip(&asked)
                    .all(|(known, asked)| (known.starts_with('{') && !asked.is_empty()) || known == asked)
        })
    }

    /// What is wrong with a request, one sentence each.
    pub(crate) fn wrong_with_request(&self, operation: &Operation, request: &Asking) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut known = Vec::new();
        for (index, parameter) in operation.parameters.iter().enumerate() {
            let name = parameter["name"].as_str().unwrap();
            let place = parameter["in"].as_str().unwrap();
            let values: Vec<String> = match place {
                "path" => {
                    let at = operation.segments.iter().position(|segment| *segment == format!("{{{name}}}")).unwrap();
                    vec![decoded(request.path.split('/').nth(at).unwrap())]
                }
                "query" => {
                    known.push(name);
                    request.query.iter().filter(|(given, _)| given == name).map(|(_, value)| value.clone()).collect()
                }
                "header" => request.headers.get(&name.to_lowercase()).cloned().into_iter().collect(),
                other => panic!("parameters in `{other}` are not understood"),
            };
            if values.is_empty() {
                if parameter["required"] == true {
                    wrong.push(format!("the {place} parameter `{name}` is missing"));
                }
                continue;
            }
            let key = format!("{}/parameters/{index}", operation.pointer);
            let validator = self.validator(&key, &parameter["schema"]);
            let joined = parameter["explode"] == false || place == "header";
            if !readings(&values, joined).iter().any(|reading| validator.is_valid(reading)) {
                wrong.push(format!("the {place} parameter `{name}` cannot be {values:?}"));
            }
        }
        for (name, _) in &request.query {
            if !known.contains(&name.as_str()) {
                wrong.push(format!("there is no query parameter `{name}`"));
            }
        }
        wrong.extend(self.wrong_with_body(operation, request));
        wrong
    }

    fn wrong_with_body(&self, operation: &Operation, request: &Asking) -> Vec<String> {
        let declared = self.resolved(&self.document.pointer(&operation.pointer).unwrap()["requestBody"]);
        if request.body.is_empty() {
            let required = declared["required"] == true;
            return if required { vec!["the body is missing".to_owned()] } else { Vec::new() };
        }
        if declared.is_null() {
            return vec![format!("there is no body: {}", request.body)];
        }
        let kind = request.headers.get("content-type").map_or("", String::as_str);
        let kind = kind.split(';').next().unwrap_or_default();
        let schema = &declared["content"][kind]["schema"];
        if schema.is_null() {
            return vec![format!("the body cannot be `{kind}`")];
        }
        self.wrong_with(&format!("{}/requestBody/{kind}", operation.pointer), schema, &request.body)
    }

    /// What is wrong with an answer, and whether its status was declared at all.
    pub(crate) fn wrong_with_answer(&self, operation: &Operation, answer: &Answering) -> (Declared, Vec<String>) {
        let responses = &self.document.pointer(&operation.pointer).unwrap()["responses"];
        let status = answer.status.to_string();
        let declared = self.resolved(&responses[&status]);
        if declared.is_null() {
            assert!(responses["default"].is_null(), "`default` answers are not understood");
            return (Declared::Undeclared, Vec::new());
        }
        let wrong = match declared["content"].as_object().filter(|content| !content.is_empty()) {
            None if answer.body.is_empty() => Vec::new(),
            None => vec![format!("the answer {status} has no body: {}", answer.body)],
            Some(content) => {
                let kind = answer.content_type.split(';').next().unwrap_or_default();
                match content.get(kind) {
                    None => vec![format!("the answer {status} cannot be `{kind}`: {}", answer.body)],
                    Some(media) => {
                        let key = format!("{}/responses/{status}/{kind}", operation.pointer);
                        self.wrong_with(&key, &media["schema"], &answer.body)
                    }
                }
            }
        };
        (Declared::Fits, wrong)
    }

    /// What is wrong with a text that should be what a schema of the components says.
    pub(crate) fn wrong_with_component(&self, name: &str, text: &str) -> Vec<String> {
        let schema = json!({ "$ref": format!("#/components/schemas/{name}") });
        self.wrong_with(&format!("/components/{name}"), &schema, text)
    }

    fn wrong_with(&self, key: &str, schema: &Value, text: &str) -> Vec<String> {
        let value: Value = match serde_json::from_str(text) {
            Ok(value) => value,
            Err(error) => return vec![format!("it is no JSON ({error}): {text}")],
        };
        let validator = self.validator(key, schema);
        let found: Vec<String> = validator.iter_errors(&value).flat_map(|error| causes(&error)).collect();
        found
    }

    fn validator(&self, key: &str, schema: &Value) -> Arc<Validator> {
        let mut compiled = self.compiled.lock().unwrap();
        if let Some(known) = compiled.get(key) {
            return Arc::clone(known);
        }
        // The components stand beside it, so that references within the document are found.
        let whole = json!({ "allOf": [schema], "components": self.document["components"] });
        let made = jsonschema::options()
            .with_draft(jsonschema::Draft::Draft202012)
            .should_validate_formats(true)
            .should_ignore_unknown_formats(true)
            .build(&whole)
            .unwrap_or_else(|error| panic!("{}: {key}: {error}", self.name));
        let made = Arc::new(made);
        compiled.insert(key.to_owned(), Arc::clone(&made));
        made
    }
}

/// An error as one line; one of many alternatives is told by the alternative that came closest.
fn causes(error: &jsonschema::ValidationError<'_>) -> Vec<String> {
    let place = error.instance_path().to_string();
    let at = if place.is_empty() { "the whole".to_owned() } else { format!("`{place}`") };
    if let jsonschema::error::ValidationErrorKind::AnyOf { context } = error.kind() {
        // An alternative of another type altogether is not what was meant.
        let closest = context.iter().min_by_key(|errors| {
            let is_other = errors.iter().any(|one| {
                matches!(one.kind(), jsonschema::error::ValidationErrorKind::Type { .. })
                    && one.instance_path() == error.instance_path()
            });
            (is_other, errors.len())
        });
        let inner: Vec<String> = closest.into_iter().flatten().flat_map(causes).collect();
        return vec![format!("{at} fits none of the forms; of the closest: {}", inner.join("; "))];
    }
    let mut told = error.to_string();
    if told.len() > 300 {
        let cut = (0..=300).rev().find(|at| told.is_char_boundary(*at)).unwrap_or(0);
        told.truncate(cut);
        told.push('…');
    }
    vec![format!("{at}: {told} (by {})", error.schema_path())]
}

/// Writes `nullable` of OpenAPI 3.0 as JSON Schema has it.
fn admit_null(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(admit_null),
        Value::Object(fields) => {
            fields.values_mut().for_each(admit_null);
            if fields.get("nullable") == Some(&Value::Bool(true)) {
                fields.shift_remove("nullable");
                *value = nullable(std::mem::take(fields));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn nullable(mut schema: Map<String, Value>) -> Value {
    let plain = schema.get("type").and_then(Value::as_str).map(str::to_owned);
    let Some(kind) = plain.filter(|_| !schema.contains_key("$ref") && !schema.contains_key("allOf")) else {
        return json!({ "anyOf": [schema, { "type": "null" }] });
    };
    schema.insert("type".to_owned(), json!([kind, "null"]));
    if let Some(Value::Array(words)) = schema.get_mut("enum")
        && !words.contains(&Value::Null)
    {
        words.push(Value::Null);
    }
    match schema.contains_key("anyOf") || schema.contains_key("oneOf") {
        true => json!({ "anyOf": [schema, { "type": "null" }] }),
        false => schema.into(),
    }
}

/// What the text of a parameter may mean: itself, a number, a truth, or a list of these.
fn readings(values: &[String], joined: bool) -> Vec<Value> {
    let one = |text: &str| {
        let mut meanings = vec![Value::from(text)];
        if let Ok(value @ (Value::Number(_) | Value::Bool(_))) = serde_json::from_str(text) {
            meanings.push(value);
        }
        meanings
    };
    let parts: Vec<String> = match values {
        [single] if joined => single.split(',').map(str::to_owned).collect(),
        many => many.to_vec(),
    };
    let texts: Vec<Value> = parts.iter().map(|part| part.as_str().into()).collect();
    let typed: Vec<Value> = parts.iter().filter_map(|part| one(part).pop()).collect();
    let mut found = match values {
        [single] => one(single),
        _ => Vec::new(),
    };
    found.extend([texts.into(), typed.into()]);
    found
}

/// A segment of a path, decoded.
fn decoded(segment: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = segment.as_bytes();
    while let Some((&first, more)) = rest.split_first() {
        let code = more.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) if first == b'%' => {
                bytes.push(byte);
                rest = &more[2..];
            }
            _ => {
                bytes.push(first);
                rest = more;
            }
        }
    }
    String::from_utf8(bytes).unwrap()
}
