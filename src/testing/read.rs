//! Reads a test file and holds it against its runbook: every mistake with its place, all of them at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::document::{Case, Script, Spot, Wish};
use super::fields::{CASE, FILE, SCRIPT, STOP};
use super::outputs::{Of, Outputs};
use crate::action::Registry;
use crate::base::diagnostic::nearest;
use crate::base::secret::disarm_json;
use crate::base::{Code, Diagnostic, Source, Span, StepPath, Timestamp};
use crate::runbook::node::{self, Content, Node};
use crate::runbook::read::Reader;
use crate::runbook::{Does, Input, InputProblem, Loaded, Step, call_key, read_source, resolve_inputs};

/// When runs begin whose case does not say.
const USUAL_START: &str = "2026-01-01T12:00:00Z";
/// Who starts runs whose case does not say.
const USUAL_PERSON: &str = "user:tester";

/// A test file that has been read as YAML, before it is held against its runbook.
#[derive(Debug)]
pub struct Draft {
    /// The file.
    pub source: Arc<Source>,
    /// The runbook that it tests.
    pub runbook: PathBuf,
    /// Where the file names it, if it does.
    pub named_at: Option<Span>,
    node: Node,
}

impl Draft {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, Vec<Diagnostic>> {
        Self::of(read_source(path)?, path)
    }

    /// Reads a text as if it stood in a file.
    pub fn of(source: Arc<Source>, path: &Path) -> Result<Self, Vec<Diagnostic>> {
        if let Some(at) = source.text.find(['\0', '\u{FDD0}', '\u{FDD1}']) {
            let message = "a control character stands here";
            return Err(vec![Diagnostic::error(&source, Span::new(at, at + 1), Code::Encoding, message)]);
        }
        let node = node::parse(&source).map_err(|problem| vec![*problem])?;
        let named = node.entry("test").map(|(_, named)| named);
        let folder = path.parent().unwrap_or(Path::new(""));
        let runbook = match named.map(|named| &named.content) {
            Some(Content::Text(name)) => folder.join(name),
            _ => beside(path),
        };
        Ok(Self { named_at: named.map(|named| named.span), source, runbook, node })
    }

    /// The file's cases, held against its runbook. An error holds everything that is wrong with it.
    pub(super) fn cases(&self, loaded: &Loaded, registry: &Registry) -> Result<Vec<Case>, Vec<Diagnostic>> {
        let outputs = Outputs::new(loaded, registry);
        let mut reading = Reading { reader: Reader::new(&self.source), loaded, registry, outputs: &outputs };
        let cases = reading.file(&self.node);
        let problems = reading.reader.problems;
        if problems.is_empty() { Ok(cases) } else { Err(problems) }
    }
}

/// The runbook beside a test file that does not name one.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let stem = name.strip_suffix(".test.yaml").or_else(|| name.strip_suffix(".test.yml")).unwrap_or(name);
    let short = path.with_file_name(format!("{stem}.yml"));
    if short.exists() { short } else { path.with_file_name(format!("{stem}.yaml")) }
}

/// A file that is being read.
pub(super) struct Reading<'r> {
    pub(super) reader: Reader<'r>,
    pub(super) loaded: &'r Loaded,
    pub(super) registry: &'r Registry,
    pub(super) outputs: &'r Outputs<'r>,
}

/// A step that a path of the test file names.
#[derive(Clone, Copy)]
pub(super) struct Found<'l> {
    pub(super) key: &'l str,
    pub(super) id: &'l crate::base::StepId,
    pub(super) step: &'l Step,
}

impl<'l> Found<'l> {
    pub(super) fn of(self) -> Of<'l> {
        Of { key: self.key, id: self.id, step: self.step }
    }
}

/// A script as it is being put together: what a case says goes before the defaults.
#[derive(Default, Clone)]
struct Parts {
    inputs: BTreeMap<String, Spot<Value>>,
    starts: Option<Timestamp>,
    by: Option<String>,
    steps: BTreeMap<StepPath, Vec<super::document::Answer>>,
    undos: BTreeMap<StepPath, Vec<super::document::UndoAnswer>>,
    gates: BTreeMap<StepPath, Vec<super::document::Voice>>,
    stop: Option<Wish>,
}

impl Parts {
    fn over(self, mut defaults: Self) -> Self {
        defaults.inputs.extend(self.inputs);
        defaults.steps.extend(self.steps);
        defaults.undos.extend(self.undos);
        defaults.gates.extend(self.gates);
        Self {
            starts: self.starts.or(defaults.starts),
            by: self.by.or(defaults.by),
            stop: self.stop.or(defaults.stop),
            ..defaults
        }
    }

    fn script(self) -> Script {
        let usual = || USUAL_START.parse().expect("it is a moment");
        Script {
            inputs: self.inputs.into_iter().map(|(name, spot)| (name, spot.value)).collect(),
            starts: self.starts.unwrap_or_else(usual),
            by: self.by.unwrap_or_else(|| USUAL_PERSON.to_owned()),
            steps: self.steps,
            undos: self.undos,
            gates: self.gates,
            stop: self.stop,
        }
    }
}

impl<'r> Reading<'r> {
    fn file(&mut self, node: &Node) -> Vec<Case> {
        let Some(fields) = self.reader.fields(node, "the test file", FILE) else { return Vec::new() };
        if let Some(named) = fields.get("test") {
            self.reader.text(named, "`test`");
        }
        let defaults = fields.get("defaults").map(|node| self.defaults(node)).unwrap_or_default();
        let Some(cases) = fields.get("cases") else {
            self.reader.error(fields.span, Code::MissingKey, "the test file has no `cases`").help =
                Some("add `cases: { what happens and what follows: { expect: { outcome: succeeded } } }`".to_owned());
            return Vec::new();
        };
        let mut found = Vec::new();
        for (key, node) in self.reader.entries(cases, "`cases`") {
            if let Some(case) = self.case(&key.text, key.span, node, &defaults) {
                found.push(case);
            }
        }
        if found.is_empty() && self.reader.problems.is_empty() {
            self.reader.error(cases.span, Code::EmptyList, "there are no cases");
        }
        found
    }

    fn defaults(&mut self, node: &Node) -> Parts {
        let fields = self.reader.fields(node, "`defaults`", SCRIPT);
        fields.map(|fields| self.parts(&fields)).unwrap_or_default()
    }

    fn case(&mut self, name: &str, span: Span, node: &Node, defaults: &Parts) -> Option<Case> {
        let what = format!("case `{name}`");
        let fields = self.reader.fields(node, &what, CASE)?;
        let parts = self.parts(&fields).over(defaults.clone());
        self.inputs_fit(&parts.inputs, span);
        let expect = match fields.get("expect") {
            Some(node) => self.expect(node),
            None => Default::default(),
        };
        let says_something = matches!(fields.get("expect").map(|node| &node.content), Some(Content::Map(entries)) if !entries.is_empty());
        if !says_something {
            let message = format!("case `{name}` expects nothing, so it proves nothing");
            self.reader.error(span, Code::NoExpectation, message).help =
                Some("say at least how the run ends: `expect: { outcome: succeeded }`".to_owned());
        }
        Some(Case { name: Spot { value: name.to_owned(), span }, script: parts.script(), expect })
    }

    fn parts(&mut self, fields: &crate::runbook::read::Fields<'_>) -> Parts {
        let mut parts = Parts::default();
        if let Some(node) = fields.get("inputs") {
            for (key, value) in self.reader.entries(node, "`inputs`") {
                let mut json = value.to_json();
                disarm_json(&mut json);
                parts.inputs.insert(key.text.clone(), Spot { value: json, span: key.span });
            }
        }
        parts.starts = fields.get("starts").and_then(|node| self.moment(node));
        parts.by = fields.get("by").and_then(|node| self.person(node, "`by`"));
        if let Some(node) = fields.get("steps") {
            for (path, found, node) in self.by_step(node, "`steps`") {
                let answers = self.answers(found, node);
                parts.steps.insert(path, answers);
            }
        }
        if let Some(node) = fields.get("undos") {
            for (path, found, node) in self.by_step(node, "`undos`") {
                let answers = self.undo_answers(found, node);
                parts.undos.insert(path, answers);
            }
        }
        if let Some(node) = fields.get("gates") {
            for (path, found, node) in self.by_step(node, "`gates`") {
                let voices = self.voices(found, node);
                parts.gates.insert(path, voices);
            }
        }
        parts.stop = fields.get("stop").and_then(|node| self.stop(node));
        parts
    }

    /// The entries of a map by step, those that name one.
    fn by_step<'n>(&mut self, node: &'n Node, what: &str) -> Vec<(StepPath, Found<'r>, &'n Node)> {
        let entries = self.reader.entries(node, what);
        entries
            .into_iter()
            .filter_map(|(key, node)| {
                let (path, found) = self.step(&key.text, key.span)?;
                Some((path, found, node))
            })
            .collect()
    }

    /// The step that a text names: its id, `call/step` inside a call, `step[key]` for an item.
    pub(super) fn step(&mut self, text: &str, span: Span) -> Option<(StepPath, Found<'r>)> {
        let found = StepPath::parse(text).ok().and_then(|path| Some((path, self.find(text)?)));
        if found.is_none() {
            let known = self.every_step();
            let near = nearest(text, known.iter().map(String::as_str)).map(|near| format!("did you mean `{near}`?"));
            let message = format!("the runbook has no step `{text}`");
            self.reader.error(span, Code::UnknownStep, message).help = near.or_else(|| {
                Some("steps of a called runbook are named like `call/step`, items like `step[key]`".to_owned())
            });
        }
        found
    }

    fn find(&self, text: &str) -> Option<Found<'r>> {
        let mut key: &'r str = "";
        let mut part = self.loaded;
        let mut segments = text.split('/').peekable();
        while let Some(segment) = segments.next() {
            let (name, item) = match segment.split_once('[') {
                Some((name, _)) => (name, true),
                None => (segment, false),
            };
            let steps = part.runbook.steps.iter().chain(&part.runbook.finally);
            let (id, step) = steps.into_iter().find(|(id, _)| id.as_str() == name)?;
            if item && step.for_each.is_none() {
                return None;
            }
            if segments.peek().is_none() {
                return Some(Found { key, id, step });
            }
            let Does::Call(call) = &step.does else { return None };
            let (called, found) = self.loaded.called.get_key_value(&call_key(key, &call.file))?;
            (key, part) = (called, found);
        }
        None
    }

    /// The names of all steps, those of called runbooks behind the step that calls.
    fn every_step(&self) -> Vec<String> {
        fn walk(root: &Loaded, key: &str, part: &Loaded, before: &str, found: &mut Vec<String>) {
            for (id, step) in part.runbook.steps.iter().chain(&part.runbook.finally) {
                let name = format!("{before}{id}");
                if let Does::Call(call) = &step.does {
                    let key = call_key(key, &call.file);
                    // Enough to suggest from; calls that call twice have no end of names.
                    if let Some(called) = root.called.get(&key).filter(|_| found.len() < 1_000) {
                        walk(root, &key, called, &format!("{name}/"), found);
                    }
                }
                found.push(name);
            }
        }
        let mut found = Vec::new();
        walk(self.loaded, "", self.loaded, "", &mut found);
        found
    }

    fn stop(&mut self, node: &Node) -> Option<Wish> {
        let fields = self.reader.fields(node, "`stop`", STOP)?;
        let Some(after) = fields.get("after") else {
            self.reader.error(fields.span, Code::MissingKey, "`stop` needs `after`").help =
                Some("say how long after the beginning: `stop: { after: 5m }`".to_owned());
            return None;
        };
        let after = self.reader.duration(after, "`after`")?.0;
        let by = fields.get("by").and_then(|node| self.person(node, "`by`"));
        let reason = fields.get("reason").and_then(|node| self.reader.text(node, "`reason`"));
        Some(Wish { after, by: by.unwrap_or_else(|| USUAL_PERSON.to_owned()), reason })
    }

    fn moment(&mut self, node: &Node) -> Option<Timestamp> {
        let text = self.reader.text(node, "`starts`")?;
        let read = text.parse();
        if read.is_err() {
            let message = format!("`{text}` is not a time");
            self.reader.error(node.span, Code::WrongType, message).help =
                Some("write for example `2026-02-19T16:11:00Z`".to_owned());
        }
        read.ok()
    }

    /// Somebody: `user:alice`, or `alice`.
    pub(super) fn person(&mut self, node: &Node, what: &str) -> Option<String> {
        let name = self.reader.text(node, what)?;
        if name.starts_with("group:") {
            let message = format!("{what} must be a person, and `{name}` is a group");
            self.reader.error(node.span, Code::InvalidApprover, message).help =
                Some("name somebody who is in it: `user:NAME`".to_owned());
            return None;
        }
        Some(if name.contains(':') { name } else { format!("user:{name}") })
    }

    pub(super) fn time(&mut self, node: Option<&Node>, what: &str) -> Duration {
        node.and_then(|node| self.reader.duration(node, what)).map_or(Duration::ZERO, |length| length.0)
    }

    /// Do the inputs of a case fit the runbook?
    fn inputs_fit(&mut self, inputs: &BTreeMap<String, Spot<Value>>, case: Span) {
        let given = inputs.iter().map(|(name, spot)| (name.clone(), spot.value.clone())).collect();
        let declared: &indexmap::IndexMap<String, Input> = &self.loaded.runbook.inputs;
        let Err(problems) = resolve_inputs(declared, &given) else { return };
        for problem in problems {
            let at = |name: &String| inputs.get(name).map_or(case, |spot| spot.span);
            let (span, code, help) = match &problem {
                InputProblem::Missing { name, .. } => {
                    (case, Code::MissingInput, Some(format!("add `inputs: {{ {name}: … }}`")))
                }
                InputProblem::Unknown { name, .. } => (at(name), Code::UnknownInput, None),
                InputProblem::Unfit { name, .. } => (at(name), Code::WrongInput, None),
            };
            let message = problem.to_string();
            // What stands in the defaults is told once and not for every case.
            let told = |before: &Diagnostic| before.span == Some(span) && before.message == message;
            if !self.reader.problems.iter().any(told) {
                self.reader.error(span, code, message).help = help;
            }
        }
    }
}
