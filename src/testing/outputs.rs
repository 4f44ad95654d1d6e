//! Canned outputs: held against what the action could give, and filled in where the runbook never looks.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::action::{ActionError, ErrorKind, Registry};
use crate::base::diagnostic::nearest;
use crate::base::{Code, Span, StepId};
use crate::plan::{expressions, templates};
use crate::runbook::node::{Content, Node};
use crate::runbook::read::Reader;
use crate::runbook::{Does, Loaded, OutputType, Runbook, Step, Templated, Undo};

/// The schema of what an action gives.
#[derive(Debug)]
pub(super) struct Shape {
    root: Value,
    definitions: Map<String, Value>,
}

/// Which outputs of a step its runbook looks at.
#[derive(Debug, Default, Clone)]
pub(super) struct Reads {
    names: BTreeSet<String>,
    /// The same with all that is named below them.
    paths: BTreeSet<Vec<String>>,
    /// It may look at any of them.
    all: bool,
    /// What is looked at of the look after its undo.
    looks: BTreeSet<String>,
}

impl Reads {
    fn wants(&self, name: &str) -> bool {
        self.all || self.names.contains(name)
    }

    /// What is looked at: an output, and what is named below it.
    pub(super) fn paths(&self) -> impl Iterator<Item = &[String]> {
        self.paths.iter().map(Vec::as_slice)
    }

    /// The outputs among these that are looked at.
    pub(super) fn among(&self, outputs: &Map<String, Value>) -> Map<String, Value> {
        outputs.iter().filter(|(name, _)| self.wants(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

/// What the actions of a runbook could give, and what of it is looked at.
pub(super) struct Outputs<'r> {
    registry: &'r Registry,
    shapes: RefCell<BTreeMap<String, Rc<Shape>>>,
    reads: BTreeMap<String, BTreeMap<StepId, Reads>>,
}

/// A step, and which runbook of the plan it stands in.
#[derive(Clone, Copy)]
pub(super) struct Of<'s> {
    pub(super) key: &'s str,
    pub(super) id: &'s StepId,
    pub(super) step: &'s Step,
}

impl<'r> Outputs<'r> {
    pub(super) fn new(loaded: &Loaded, registry: &'r Registry) -> Self {
        let parts = std::iter::once(("", loaded)).chain(loaded.called.iter().map(|(key, part)| (key.as_str(), part)));
        let reads = parts.map(|(key, part)| (key.to_owned(), reads_of(&part.runbook))).collect();
        Self { registry, shapes: RefCell::default(), reads }
    }

    /// What the runbook looks at of a step.
    pub(super) fn reads(&self, of: Of<'_>) -> Reads {
        self.reads.get(of.key).and_then(|steps| steps.get(of.id)).cloned().unwrap_or_default()
    }

    /// The schema of what an action gives.
    pub(super) fn shape(&self, action: &str) -> Option<Rc<Shape>> {
        if let Some(known) = self.shapes.borrow().get(action) {
            return Some(Rc::clone(known));
        }
        let found = self.registry.get(action)?;
        let mut generator = SchemaSettings::draft2020_12().into_generator();
        let root = found.output_schema(&mut generator).to_value();
        let shape = Rc::new(Shape { root, definitions: generator.take_definitions(true) });
        self.shapes.borrow_mut().insert(action.to_owned(), Rc::clone(&shape));
        Some(shape)
    }

    /// The outputs of a success.
    pub(super) fn given(&self, reader: &mut Reader<'_>, of: Of<'_>, node: &Node) -> Option<Value> {
        let Does::Action { uses, with } = &of.step.does else { return None };
        let reads = self.reads(of);
        let mut outputs = self.read(reader, of, uses, node)?;
        let status = |outputs: &Map<String, Value>| outputs.get("status").and_then(Value::as_u64);
        match uses.as_str() {
            "shell" => {
                if outputs.get("exit_code").is_some_and(|code| *code != json!(0)) {
                    let span = node.child("exit_code").map_or(node.span, |node| node.span);
                    let message = format!("`{}` would have failed: a process that succeeds ends with code 0", of.id);
                    impossible(reader, span, message, "write `fails: failed` with these outputs");
                }
                for name in declared(with).keys().filter(|name| !outputs.contains_key(*name)) {
                    let message = format!("`{}` must write its output `{name}`, or it fails", of.id);
                    impossible(reader, node.span, message, &format!("add `{name}: …`"));
                }
                fill(&mut outputs, &of_process(0));
                return Some(Value::Object(outputs));
            }
            "http.get" | "http.request" => {
                let came = status(&outputs).and_then(|came| u16::try_from(came).ok()).unwrap_or(200);
                let span = ["status", "ok", "reachable"]
                    .iter()
                    .find_map(|name| node.child(name))
                    .map_or(node.span, |node| node.span);
                let is_false = |name: &str| outputs.get(name) == Some(&json!(false));
                if is_false("reachable") || outputs.get("status").is_some_and(Value::is_null) {
                    let message = format!("`{}` would have failed: nothing answered", of.id);
                    impossible(reader, span, message, "write `fails: network`");
                } else if hopes_for(with, came) == Some(false) || is_false("ok") {
                    let message = format!("`{}` would have failed with status {came}", of.id);
                    let kind = ErrorKind::of_status(came);
                    impossible(reader, span, message, &format!("write `fails: {kind}` and `status: {came}`"));
                }
                fill(&mut outputs, &of_answer(came, true));
            }
            _ => {}
        }
        let shape = self.shape(uses)?;
        for name in shape.required().filter(|name| !outputs.contains_key(*name)).collect::<Vec<_>>() {
            if reads.wants(name) {
                let message = format!("the runbook looks at `{name}` of `{}`, so it must be given", of.id);
                let problem = reader.error(node.span, Code::ImpossibleResult, message);
                problem.help = Some(format!("add `{name}: …`; what the runbook never looks at may be left out"));
            }
        }
        shape.complete(&mut outputs);
        Some(Value::Object(outputs))
    }

    /// The outputs of a failure, where its action has any.
    pub(super) fn of_failure(
        &self,
        reader: &mut Reader<'_>,
        of: Of<'_>,
        node: Option<&Node>,
        error: &ActionError,
    ) -> Option<Value> {
        let Does::Action { uses, .. } = &of.step.does else { return None };
        let mut outputs = match node {
            Some(node) => self.read(reader, of, uses, node)?,
            None => Map::new(),
        };
        let filled = match (uses.as_str(), error.kind, error.status) {
            ("shell", ErrorKind::Failed, _) => of_process(1),
            ("http.get" | "http.request", _, Some(status)) => of_answer(status, false),
            ("http.get" | "http.request", ErrorKind::InvalidResponse, None) => nothing_came(true),
            ("http.get" | "http.request", ErrorKind::Timeout | ErrorKind::Network, None) => nothing_came(false),
            _ => {
                if let Some(node) = node {
                    let message = format!("`{}` gives no outputs when it fails with `{}`", of.id, error.kind);
                    impossible(reader, node.span, message, "leave `outputs` out");
                }
                return None;
            }
        };
        fill(&mut outputs, &filled);
        Some(Value::Object(outputs))
    }

    /// What the look after an undo finds.
    pub(super) fn of_look(&self, reader: &mut Reader<'_>, of: Of<'_>, node: &Node) -> Option<Value> {
        let Some(Undo::Action { verify: Some(verify), .. }) = &of.step.undo else { return None };
        let mut outputs = self.read(reader, of, &verify.uses, node)?;
        if matches!(verify.uses.as_str(), "http.get" | "http.request") {
            let came = outputs.get("status").and_then(Value::as_u64).and_then(|came| u16::try_from(came).ok());
            let came = came.unwrap_or(200);
            fill(&mut outputs, &of_answer(came, true));
        }
        let shape = self.shape(&verify.uses)?;
        let looks = self.reads(of).looks;
        for name in
            shape.required().filter(|name| !outputs.contains_key(*name) && looks.contains(*name)).collect::<Vec<_>>()
        {
            let message = format!("`undo.verify.if` of `{}` looks at `{name}`, so it must be given", of.id);
            reader.error(node.span, Code::ImpossibleResult, message).help = Some(format!("add `{name}: …`"));
        }
        shape.complete(&mut outputs);
        Some(Value::Object(outputs))
    }

    /// The entries of canned outputs, each held against what the action could give.
    fn read(&self, reader: &mut Reader<'_>, of: Of<'_>, uses: &str, node: &Node) -> Option<Map<String, Value>> {
        let what = format!("the outputs of `{}`", of.id);
        let own = match &of.step.does {
            Does::Action { uses: own, with } if own == "shell" && uses == "shell" => declared(with),
            _ => BTreeMap::new(),
        };
        let shape = self.shape(uses)?;
        let mut outputs = Map::new();
        let known: Vec<&str> = shape.properties().chain(own.keys().map(String::as_str)).collect();
        for (key, value) in reader.entries(node, &what) {
            let name = key.text.as_str();
            if let Some(kind) = own.get(name) {
                if !kind.admits(&value.to_json()) || matches!(value.content, Content::Null) && *kind != OutputType::Json
                {
                    let message = format!("output `{name}` of `{}` must be of type `{}`", of.id, kind.as_str());
                    reader.error(value.span, Code::ImpossibleResult, message);
                }
            } else if let Some(schema) = shape.property(name) {
                let mut misfits = Vec::new();
                shape.hold(schema, value, &format!("output `{name}` of `{}`", of.id), &mut misfits);
                for Misfit { span, message, help } in misfits {
                    reader.error(span, Code::ImpossibleResult, message).help = help;
                }
            } else {
                let message = format!("`{uses}` gives no output `{name}`");
                let near = nearest(name, known.iter().copied()).map(|near| format!("did you mean `{near}`?"));
                let help = near.or_else(|| Some(format!("it gives: {}", known.join(", "))));
                reader.error(key.span, Code::ImpossibleResult, message).help = help;
                continue;
            }
            outputs.insert(name.to_owned(), value.to_json());
        }
        Some(outputs)
    }
}

fn impossible(reader: &mut Reader<'_>, span: Span, message: String, help: &str) {
    reader.error(span, Code::ImpossibleResult, message).help = Some(help.to_owned());
}

/// Adds what is missing.
fn fill(outputs: &mut Map<String, Value>, with: &Value) {
    for (name, value) in with.as_object().into_iter().flatten() {
        outputs.entry(name.clone()).or_insert_with(|| value.clone());
    }
    if let (Some(body), Some(json)) = (outputs.get("body"), outputs.get("json"))
        && *body == json!("")
        && !json.is_null()
    {
        let body = json.to_string();
        outputs.insert("body".to_owned(), body.into());
    }
}

/// What a process that said nothing leaves behind.
fn of_process(code: i32) -> Value {
    json!({
        "exit_code": code, "stdout": "", "stderr": "", "truncated": false, "stdout_file": null, "stderr_file": null,
    })
}

/// An answer of which only the status matters.
fn of_answer(status: u16, ok: bool) -> Value {
    json!({
        "status": status, "ok": ok, "headers": {}, "json": null, "body": "", "elapsed_ms": 0, "reachable": true,
    })
}

fn nothing_came(reachable: bool) -> Value {
    json!({
        "status": null, "ok": false, "headers": {}, "json": null, "body": "", "elapsed_ms": 0, "reachable": reachable,
    })
}

/// Does a request with these parameters hope for this status? `None` where only the run can tell.
pub(super) fn hopes_for(with: &Templated, status: u16) -> Option<bool> {
    let Some(expect) = entry(with, "expect") else { return Some((200..300).contains(&status)) };
    match expect.as_literal()?.get("status")? {
        Value::Array(statuses) => Some(statuses.contains(&json!(status))),
        one => Some(*one == json!(status)),
    }
}

fn entry(with: &Templated, name: &str) -> Option<Templated> {
    match with {
        Templated::Map(entries) => entries.get(name).cloned(),
        Templated::Literal(value) => value.get(name).cloned().map(Templated::Literal),
        Templated::Template(_) | Templated::List(_) => None,
    }
}

/// The outputs that a script promises to write.
pub(super) fn declared(with: &Templated) -> BTreeMap<String, OutputType> {
    let outputs = entry(with, "outputs");
    let outputs = outputs.as_ref().and_then(Templated::as_literal).and_then(Value::as_object);
    let kind = |value: &Value| {
        let word = value.get("type").unwrap_or(value);
        OutputType::ALL.into_iter().find(|kind| word.as_str() == Some(kind.as_str()))
    };
    outputs.into_iter().flatten().filter_map(|(name, value)| Some((name.clone(), kind(value)?))).collect()
}

/// Which outputs of each step a runbook looks at.
fn reads_of(runbook: &Runbook) -> BTreeMap<StepId, Reads> {
    let mut reads: BTreeMap<StepId, Reads> = BTreeMap::new();
    let all_steps = || runbook.steps.iter().chain(&runbook.finally);
    let is_loop = |id: &StepId| runbook.step(id).is_some_and(|step| step.for_each.is_some());
    let mut note = |by: Option<&StepId>, path: &[String]| {
        let Some(id) = path.first().and_then(|name| StepId::new(name).ok()) else { return };
        if runbook.step(&id).is_none() || path.get(1).map(String::as_str) != Some("outputs") {
            return;
        }
        let of = reads.entry(id.clone()).or_default();
        match path.get(2) {
            // From outside, a loop shows its items and not what each of them gave.
            Some(name) if is_loop(&id) && by != Some(&id) => of.all |= name == "items",
            Some(name) => {
                of.names.insert(name.clone());
                of.paths.insert(path[2..].to_vec());
            }
            None => of.all = true,
        }
    };
    for (id, step) in all_steps() {
        for (_, template) in templates(step) {
            template.references().unwrap_or_default().iter().for_each(|reference| note(Some(id), &reference.path));
        }
        for (at, expression) in expressions(step) {
            for reference in expression.references().unwrap_or_default() {
                if reference.root() != "outputs" {
                    note(Some(id), &reference.path);
                } else if at.first().is_some_and(|first| first == "until") {
                    let own: Vec<String> = std::iter::once(id.to_string()).chain(reference.path.clone()).collect();
                    note(Some(id), &own);
                }
            }
        }
    }
    for output in runbook.outputs.values() {
        output.value.visit(&mut Vec::new(), &mut |_, template| {
            template.references().unwrap_or_default().iter().for_each(|reference| note(None, &reference.path));
        });
    }
    for (id, step) in all_steps() {
        let Some(Undo::Action { verify: Some(verify), .. }) = &step.undo else { continue };
        let Some(condition) = &verify.condition else { continue };
        for reference in condition.references().unwrap_or_default() {
            if let (true, Some(name)) = (reference.root() == "outputs", reference.path.get(1)) {
                reads.entry(id.clone()).or_default().looks.insert(name.clone());
            }
        }
    }
    reads
}

/// Something that does not fit a schema.
struct Misfit {
    span: Span,
    message: String,
    help: Option<String>,
}

impl Shape {
    fn resolved<'s>(&'s self, schema: &'s Value) -> &'s Value {
        let name = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next());
        match name.and_then(|name| self.definitions.get(name)) {
            Some(found) => self.resolved(found),
            None => schema,
        }
    }

    fn fields(&self) -> Option<&Map<String, Value>> {
        self.resolved(&self.root).get("properties").and_then(Value::as_object)
    }

    /// The names of what it gives.
    pub(super) fn properties(&self) -> impl Iterator<Item = &str> {
        self.fields().into_iter().flat_map(|fields| fields.keys().map(String::as_str))
    }

    fn property(&self, name: &str) -> Option<&Value> {
        self.fields()?.get(name)
    }

    /// What is always there, and is not nothing.
    fn required(&self) -> impl Iterator<Item = &str> {
        let required = self.resolved(&self.root).get("required").and_then(Value::as_array);
        required.into_iter().flatten().filter_map(Value::as_str)
    }

    /// Gives what is left out its plain value: nothing where it may be nothing.
    fn complete(&self, outputs: &mut Map<String, Value>) {
        let required: BTreeSet<&str> = self.required().collect();
        for name in self.properties() {
            if !outputs.contains_key(name) {
                let plain = match self.property(name) {
                    Some(schema) if required.contains(name) => self.plain(schema, Taste::Plain, name),
                    _ => Value::Null,
                };
                outputs.insert(name.to_owned(), plain);
            }
        }
    }

    /// Outputs that a healthy world would give.
    pub(super) fn healthy(&self) -> Map<String, Value> {
        let required: BTreeSet<&str> = self.required().collect();
        let fields = self.fields().into_iter().flatten().filter(|(name, _)| required.contains(name.as_str()));
        fields.map(|(name, schema)| (name.clone(), self.plain(schema, Taste::Healthy, name))).collect()
    }

    /// Is this output a boolean?
    pub(super) fn is_flag(&self, name: &str) -> bool {
        let kinds = self.property(name).map(|schema| self.resolved(schema)).and_then(|schema| schema.get("type"));
        kinds.is_some_and(|kinds| *kinds == json!("boolean") || *kinds == json!(["boolean", "null"]))
    }

    /// The words that an output may be.
    pub(super) fn words(&self, name: &str) -> Vec<String> {
        let Some(schema) = self.property(name).map(|schema| self.resolved(schema)) else { return Vec::new() };
        let consts = schema.get("oneOf").and_then(Value::as_array).into_iter().flatten();
        let words = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
        let consts = consts.filter_map(|one| one.get("const"));
        consts.chain(words).filter_map(Value::as_str).map(str::to_owned).collect()
    }

    fn plain(&self, schema: &Value, taste: Taste, name: &str) -> Value {
        let schema = self.resolved(schema);
        let first = |key: &str| schema.get(key).and_then(Value::as_array).and_then(|all| all.first());
        if let Some(value) = schema.get("const").or_else(|| first("enum")) {
            return value.clone();
        }
        if let Some(one) = first("oneOf").or_else(|| first("anyOf")) {
            return self.plain(one, taste, name);
        }
        let kind = match schema.get("type") {
            Some(Value::Array(kinds)) => kinds.first().and_then(Value::as_str),
            kind => kind.and_then(Value::as_str),
        };
        match (kind, taste) {
            (Some("string"), Taste::Healthy) => name.into(),
            (Some("string"), Taste::Plain) => "".into(),
            (Some("integer" | "number"), _) => 0.into(),
            (Some("boolean"), _) => (taste == Taste::Healthy).into(),
            (Some("array"), _) => json!([]),
            (Some("object"), _) => {
                let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
                let fields = required.filter_map(Value::as_str).filter_map(|name| {
                    Some((name.to_owned(), self.plain(schema.get("properties")?.get(name)?, taste, name)))
                });
                Value::Object(fields.collect())
            }
            _ => Value::Null,
        }
    }

    /// Everything about a node that does not fit a schema.
    fn hold(&self, schema: &Value, node: &Node, what: &str, found: &mut Vec<Misfit>) {
        let schema = self.resolved(schema);
        let forms = ["anyOf", "oneOf"].iter().find_map(|key| schema.get(*key)).and_then(Value::as_array);
        if let Some(forms) = forms {
            return self.hold_one(forms, node, what, found);
        }
        if let Some(word) = schema.get("const") {
            return self.hold_word(&[word], node, what, found);
        }
        if let Some(words) = schema.get("enum").and_then(Value::as_array) {
            return self.hold_word(&words.iter().collect::<Vec<_>>(), node, what, found);
        }
        let kinds: Vec<&str> = match schema.get("type") {
            Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
            Some(kind) => kind.as_str().into_iter().collect(),
            None => return,
        };
        let is = |kind: &&str| match (*kind, &node.content) {
            ("null", Content::Null)
            | ("boolean", Content::Bool(_))
            | ("number", Content::Number(_))
            | ("string", Content::Text(_))
            | ("array", Content::List(_))
            | ("object", Content::Map(_)) => true,
            ("integer", Content::Number(number)) => {
                let least = schema.get("minimum").and_then(Value::as_f64);
                (number.is_i64() || number.is_u64())
                    && least.is_none_or(|least| number.as_f64().is_some_and(|it| it >= least))
            }
            _ => false,
        };
        if !kinds.iter().any(is) {
            let wanted: Vec<&str> = kinds.iter().map(|kind| worded(kind)).collect();
            let message = format!("{what} must be {}, not {}", wanted.join(" or "), node.kind());
            found.push(Misfit { span: node.span, message, help: None });
            return;
        }
        match &node.content {
            Content::List(items) => {
                if let Some(schema) = schema.get("items") {
                    items.iter().for_each(|item| self.hold(schema, item, &format!("an item of {what}"), found));
                }
            }
            Content::Map(entries) => {
                let fields = schema.get("properties").and_then(Value::as_object);
                let more = schema.get("additionalProperties");
                for (key, value) in entries {
                    match (fields.and_then(|fields| fields.get(&key.text)), more) {
                        (Some(schema), _) | (None, Some(schema)) => {
                            self.hold(schema, value, &format!("`{}` in {what}", key.text), found);
                        }
                        (None, None) => {
                            let known = fields.into_iter().flat_map(Map::keys).map(String::as_str);
                            let near = nearest(&key.text, known).map(|near| format!("did you mean `{near}`?"));
                            let message = format!("{what} has no `{}`", key.text);
                            found.push(Misfit { span: key.span, message, help: near });
                        }
                    }
                }
                let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
                for name in required.filter_map(Value::as_str).filter(|name| node.child(name).is_none()) {
                    let message = format!("{what} needs `{name}`");
                    found.push(Misfit { span: node.span, message, help: Some(format!("add `{name}: …`")) });
                }
            }
            _ => {}
        }
    }

    fn hold_one(&self, forms: &[Value], node: &Node, what: &str, found: &mut Vec<Misfit>) {
        let words: Vec<&Value> = forms.iter().filter_map(|form| self.resolved(form).get("const")).collect();
        if words.len() == forms.len() {
            return self.hold_word(&words, node, what, found);
        }
        let mut best: Option<Vec<Misfit>> = None;
        for form in forms {
            let mut own = Vec::new();
            self.hold(form, node, what, &mut own);
            if own.is_empty() {
                return;
            }
            if self.resolved(form).get("type") != Some(&json!("null")) {
                best.get_or_insert(own);
            }
        }
        found.extend(best.into_iter().flatten());
    }

    fn hold_word(&self, words: &[&Value], node: &Node, what: &str, found: &mut Vec<Misfit>) {
        let value = node.to_json();
        if words.contains(&&value) {
            return;
        }
        let texts: Vec<String> = words.iter().map(|word| shown(word)).collect();
        let near = value.as_str().and_then(|wrong| nearest(wrong, texts.iter().map(String::as_str)));
        let all = texts.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        let message = format!("{what} must be one of {all}, not `{}`", shown(&value));
        let help = near.map(|near| format!("did you mean `{near}`?"));
        found.push(Misfit { span: node.span, message, help });
    }
}

/// What sort of value to make up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taste {
    /// The least there is.
    Plain,
    /// What a healthy world would give.
    Healthy,
}

fn worded(kind: &str) -> &'static str {
    match kind {
        "null" => "`null`",
        "boolean" => "`true` or `false`",
        "integer" => "a whole number",
        "number" => "a number",
        "array" => "a list",
        "object" => "a map",
        _ => "a text",
    }
}

fn shown(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
