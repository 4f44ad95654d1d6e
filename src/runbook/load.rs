//! Loads a runbook: YAML with places, then types, with every problem reported at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::{Value, json};

use super::document::{
    Approval, Arm, AskField, Backoff, Decide, Does, GivingUp, Input, InputType, Level, Manual, Measure, Need, OnExpiry,
    OnFailure, OnTimeout, OutputType, Retry, Runbook, Step, StepResult, Templated, Undo, Until,
};
use super::fields;
use super::node::{self, Content, Node};
use super::read::{Fields, Reader, template_problem};
use super::template::{Template, TemplateError, has_braces};
use crate::base::{Diagnostic, HumanDuration, RunbookName, SecretSource, Source, Span, StepId};

/// A runbook together with the file it came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What the file says.
    pub runbook: Runbook,
    /// The file.
    pub source: Arc<Source>,
    /// What could not be read of it. Whatever could be is in [`Self::runbook`], so that one look finds every mistake.
    pub problems: Vec<Diagnostic>,
    /// Every runbook that it calls, and that those call, by [`super::call_key`].
    pub called: BTreeMap<String, Loaded>,
    node: Arc<Node>,
}

impl Loaded {
    /// The place of the value at a path of keys: `["steps", "triage", "if"]`.
    pub fn span(&self, path: &[&str]) -> Span {
        self.node.at(path).span
    }

    /// The place of the key at a path.
    pub fn key_span(&self, path: &[&str]) -> Span {
        self.node.key_span(path)
    }

    /// The names that stand under a key at the top of the file, whether or not what they name could be read.
    pub fn names(&self, section: &str) -> impl Iterator<Item = &str> + Clone {
        let entries = match self.node.entry(section) {
            Some((_, Node { content: Content::Map(entries), .. })) => entries.as_slice(),
            _ => &[],
        };
        entries.iter().map(|(key, _)| key.text.as_str())
    }

    /// A problem inside the text at a path, with the caret under the exact words.
    pub fn template_problem(&self, path: &[&str], error: &TemplateError) -> Diagnostic {
        let node = self.node.at(path);
        match &node.content {
            Content::Text(text) => template_problem(&self.source, node, text, error),
            _ => {
                let mut problem = Diagnostic::error(&self.source, node.span, "template", error.message.clone());
                problem.help.clone_from(&error.help);
                problem
            }
        }
    }
}

/// Loads a file.
pub fn load_file(path: &Path) -> Result<Loaded, Vec<Diagnostic>> {
    let name = path.display().to_string();
    match std::fs::read(path) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => load(Source::new(name, text)),
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                let span = Span::new(valid, valid + '\u{FFFD}'.len_utf8());
                Err(vec![Diagnostic::error(&Source::new(name, text), span, "encoding", "not valid UTF-8")])
            }
        },
        Err(error) => {
            let source = Source::new(name, "");
            Err(vec![Diagnostic::whole_file(&source, "unreadable", format!("cannot be read: {error}"))])
        }
    }
}

/// Loads a text. An error only when nothing of it can be read; other problems stand in [`Loaded::problems`].
pub fn load(source: Arc<Source>) -> Result<Loaded, Vec<Diagnostic>> {
    if let Some(at) = source.text.find(['\0', '\u{FDD0}', '\u{FDD1}']) {
        let problem = Diagnostic::error(&source, Span::new(at, at + 1), "encoding", "a control character stands here");
        return Err(vec![problem.help("take it out; YAML is plain text")]);
    }
    let node = node::parse(&source).map_err(|problem| vec![*problem])?;
    let mut reader = Reader::new(&source);
    let runbook = reader.runbook(&node);
    let problems = reader.problems;
    match runbook {
        Some(runbook) => Ok(Loaded { runbook, source, problems, called: BTreeMap::new(), node: Arc::new(node) }),
        None => Err(problems),
    }
}

impl Reader<'_> {
    fn runbook(&mut self, node: &Node) -> Option<Runbook> {
        let top = self.fields(node, "the runbook", fields::RUNBOOK)?;
        let name = match top.get("runbook") {
            None => {
                self.error(Span::new(top.span.start, top.span.start), "missing-key", "the runbook has no name").help =
                    Some("begin the file with `runbook: its-name`".to_owned());
                None
            }
            Some(node) => self.text(node, "`runbook`").and_then(|text| match RunbookName::new(&text) {
                Ok(name) => Some(name),
                Err(error) => {
                    self.error(node.span, "name", format!("`{text}` cannot be a runbook's name: {error}"));
                    None
                }
            }),
        };
        let severity = top.get("severity").and_then(|node| {
            let words =
                [("critical", Level::Critical), ("high", Level::High), ("medium", Level::Medium), ("low", Level::Low)];
            self.word(node, "`severity`", &words)
        });
        let on_failure = top.get("on_failure").and_then(|node| {
            let words =
                [("rollback", OnFailure::Rollback), ("hold", OnFailure::Hold), ("continue", OnFailure::Continue)];
            self.word(node, "`on_failure`", &words)
        });
        let inputs = self.inputs(&top, "inputs", "input");
        let secrets = self.secrets(&top);
        let steps = match top.get("steps") {
            Some(node) => self.steps(node, "`steps`"),
            None => {
                self.error(Span::new(top.span.start, top.span.start), "missing-key", "the runbook has no `steps`");
                IndexMap::new()
            }
        };
        if let Some(node) = top.get("steps").filter(|_| steps.is_empty() && self.problems.is_empty()) {
            self.error(node.span, "missing-key", "a runbook needs at least one step");
        }
        let finally = top.get("finally").map(|node| self.steps(node, "`finally`")).unwrap_or_default();
        for id in finally.keys().filter(|id| steps.contains_key(*id)) {
            let place = node.key_span(&["finally", id.as_str()]);
            let first = node.key_span(&["steps", id.as_str()]);
            self.error(place, "duplicate-key", format!("step `{id}` stands in `steps` and in `finally`"))
                .related
                .push((first, "first given here".to_owned()));
        }
        // Whatever it is called, the rest is read too.
        let name = name.or_else(|| RunbookName::new("unnamed").ok())?;
        Some(Runbook {
            name,
            title: self.optional_text(&top, "title"),
            summary: self.optional_text(&top, "summary"),
            severity,
            outage_of: top.get("outage_of").map(|node| self.texts(node, "`outage_of`")).unwrap_or_default(),
            inputs,
            secrets,
            locks: Vec::new(),
            timeout: None,
            steps,
            on_failure: on_failure.unwrap_or_default(),
            finally,
            outputs: IndexMap::new(),
        })
    }

    fn optional_text(&mut self, fields: &Fields<'_>, name: &str) -> Option<String> {
        fields.get(name).and_then(|node| self.text(node, &format!("`{name}`")))
    }

    fn inputs(&mut self, fields: &Fields<'_>, field: &str, what: &str) -> IndexMap<String, Input> {
        let Some(node) = fields.get(field) else { return IndexMap::new() };
        let mut inputs = IndexMap::new();
        for (key, node) in self.entries(node, &format!("`{field}`")) {
            let identifier = key
                .text
                .chars()
                .enumerate()
                .all(|(index, c)| c == '_' || c.is_ascii_alphabetic() || (index > 0 && c.is_ascii_digit()));
            if !identifier || key.text.is_empty() {
                self.error(key.span, "name", format!("`{}` cannot be the name of an {what}", key.text)).help =
                    Some("use letters, digits and `_`: expressions name it directly".to_owned());
            }
            if let Some(input) = self.input(node, &format!("{what} `{}`", key.text)) {
                inputs.insert(key.text.clone(), input);
            }
        }
        inputs
    }

    fn input(&mut self, node: &Node, what: &str) -> Option<Input> {
        let known = self.fields(node, what, fields::INPUT)?;
        let words = [
            ("string", InputType::String),
            ("integer", InputType::Integer),
            ("boolean", InputType::Boolean),
            ("duration", InputType::Duration),
            ("url", InputType::Url),
            ("enum", InputType::Enum),
        ];
        let Some(kind) = known.get("type") else {
            self.error(known.span, "missing-key", format!("{what} has no `type`")).help =
                Some("write for example `type: string`".to_owned());
            return None;
        };
        let kind = self.word(kind, &format!("the type of {what}"), &words)?;
        let input = Input {
            kind,
            description: self.optional_text(&known, "description"),
            required: known.get("required").and_then(|node| self.boolean(node, "`required`")).unwrap_or(false),
            default: known.get("default").map(Node::to_json).filter(|value| !value.is_null()),
            min: known.get("min").map(Node::to_json),
            max: known.get("max").map(Node::to_json),
            pattern: self.optional_text(&known, "pattern"),
            values: known.get("values").map(|node| self.texts(node, "`values`")).unwrap_or_default(),
        };
        self.check_input(&input, &known, what);
        Some(input)
    }

    /// The parts of an input must fit each other, or nobody could ever give a value.
    fn check_input(&mut self, input: &Input, known: &Fields<'_>, what: &str) {
        if (input.kind == InputType::Enum) == input.values.is_empty() {
            let message = if input.values.is_empty() {
                format!("{what} is an `enum` without `values`")
            } else {
                format!("{what} has `values` but is no `enum`")
            };
            self.error(known.key("values").map_or(known.span, |key| key.span), "input", message);
            return;
        }
        for (name, limit) in [("min", &input.min), ("max", &input.max)] {
            if let (Some(limit), Some(node)) = (limit, known.get(name)) {
                let has_size = matches!(input.kind, InputType::Integer | InputType::Duration | InputType::String);
                if !has_size || input.limit(limit).is_none() {
                    let message = format!("`{name}` of {what} does not fit its type");
                    self.error(node.span, "input", message);
                }
            }
        }
        if let (Some(pattern), Some(node)) = (&input.pattern, known.get("pattern"))
            && let Err(error) = regex_lite::Regex::new(pattern)
        {
            self.error(node.span, "input", format!("the pattern of {what} cannot be read: {error}"));
            return;
        }
        if let (Some(default), Some(node)) = (&input.default, known.get("default")) {
            if has_braces(&default.to_string()) {
                self.error(node.span, "input", "templates are not expanded in defaults");
            } else if let Err(reason) = input.read(default) {
                self.error(node.span, "input", format!("the default of {what} does not fit: {reason}"));
            }
        }
    }

    fn secrets(&mut self, top: &Fields<'_>) -> BTreeMap<String, SecretSource> {
        let Some(node) = top.get("secrets") else { return BTreeMap::new() };
        let mut secrets = BTreeMap::new();
        for (key, node) in self.entries(node, "`secrets`") {
            let what = format!("secret `{}`", key.text);
            let Some(known) = self.fields(node, &what, fields::SECRET) else { continue };
            let source = match (known.get("env"), known.get("file")) {
                (Some(node), None) => self.text(node, "`env`").map(SecretSource::Env),
                (None, Some(node)) => self.text(node, "`file`").map(|path| SecretSource::File(PathBuf::from(path))),
                _ => {
                    self.error(node.span, "secret", format!("{what} needs one source")).help =
                        Some("write `{ env: VARIABLE }` or `{ file: PATH }`".to_owned());
                    None
                }
            };
            if let Some(source) = source {
                secrets.insert(key.text.clone(), source);
            }
        }
        secrets
    }

    fn steps(&mut self, node: &Node, what: &str) -> IndexMap<StepId, Step> {
        let entries = self.entries(node, what);
        let mut steps = IndexMap::with_capacity(entries.len());
        for (key, node) in entries {
            let id = StepId::new(&key.text).map_err(|error| {
                let mended: String =
                    key.text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
                let problem = self.error(key.span, "name", format!("`{}` cannot be a step's id: {error}", key.text));
                if StepId::new(&mended).is_ok() && mended != key.text {
                    problem.help = Some(format!("write `{mended}`"));
                }
            });
            let step = self.step(node, &key.text);
            if let (Ok(id), Some(step)) = (id, step) {
                steps.insert(id, step);
            }
        }
        steps
    }

    fn step(&mut self, node: &Node, id: &str) -> Option<Step> {
        let what = format!("step `{id}`");
        let known = self.fields(node, &what, fields::STEP)?;
        let does = self.does(&known, &what);
        let step = Step {
            title: self.optional_text(&known, "title"),
            needs: known.get("needs").map(|node| self.needs(node, &what)).unwrap_or_default(),
            condition: known.get("if").and_then(|node| self.expression(node, "`if`")),
            approval: known.get("approval").and_then(|node| self.approval(node, &what)),
            allow_failure: self.optional_flag(&known, "allow_failure"),
            for_each: None,
            timeout: known.get("timeout").and_then(|node| self.duration(node, "`timeout`")),
            deadline: None,
            retry: known.get("retry").and_then(|node| self.retry(node, &what)),
            until: known.get("until").and_then(|node| self.until(node, &what)),
            undo: known.get("undo").and_then(|node| self.undo(node, &what)),
            measure: known.get("measure").and_then(|node| self.measure(node, &what)),
            only_reads: known
                .get("effect")
                .and_then(|node| self.word(node, "`effect`", &[("read", true), ("write", false)]))
                .unwrap_or(false),
            does: does?,
        };
        self.check_company(&step, &known, &what);
        Some(step)
    }

    fn optional_flag(&mut self, fields: &Fields<'_>, name: &str) -> bool {
        fields.get(name).and_then(|node| self.boolean(node, &format!("`{name}`"))).unwrap_or(false)
    }

    /// Exactly one of `uses`, `run`, `argv`, `manual`, or `approval` alone.
    fn does(&mut self, known: &Fields<'_>, what: &str) -> Option<Does> {
        let kinds: Vec<&str> =
            ["uses", "run", "argv", "manual"].into_iter().filter(|kind| known.get(kind).is_some()).collect();
        match kinds.as_slice() {
            [] if known.get("approval").is_some() => Some(Does::Gate),
            [] => {
                self.error(known.span, "no-act", format!("{what} does nothing")).help =
                    Some("give it one of `uses`, `run`, `argv`, `manual`, or `approval` alone".to_owned());
                None
            }
            ["uses"] => {
                let node = known.get("uses")?;
                let uses = self.text(node, "`uses`")?;
                if uses == "decide" {
                    return self.decide(known, what);
                }
                if uses == "shell" {
                    // `run` and `argv` say whether a shell reads the words; `uses: shell` would hide it.
                    self.error(node.span, "misplaced-key", format!("{what} uses `shell` by name")).help =
                        Some("write `run: |` for a script, or `argv: [command, word]` for a command".to_owned());
                    return None;
                }
                let with = match known.get("with") {
                    Some(node) => match node.content {
                        Content::Map(_) => self.templated(node),
                        Content::Null => Templated::Literal(json!({})),
                        _ => {
                            self.error(node.span, "wrong-type", format!("`with` of {what} must be a map"));
                            return None;
                        }
                    },
                    None => Templated::Literal(json!({})),
                };
                Some(Does::Action { uses, with })
            }
            ["run" | "argv"] => self.shell(known, what),
            ["manual"] => {
                let manual = self.fields(known.get("manual")?, &format!("`manual` of {what}"), fields::MANUAL)?;
                let Some(text) = manual.get("text") else {
                    self.error(manual.span, "missing-key", format!("`manual` of {what} has no `text`"));
                    return None;
                };
                let text = self.template(text, "`text`")?;
                Some(Does::Manual(Manual { text, evidence: self.asked(&manual, "evidence", "evidence") }))
            }
            [first, second, ..] => {
                let place = known.key(second).map_or(known.span, |key| key.span);
                let before = known.key(first).map_or(known.span, |key| key.span);
                let problem = self.error(
                    place,
                    "two-acts",
                    format!("{what} has both `{first}` and `{second}`; a step does one thing"),
                );
                problem.related.push((before, "the other one".to_owned()));
                problem.help = Some("make two steps of it".to_owned());
                None
            }
            [_] => None,
        }
    }

    fn asked(&mut self, fields: &Fields<'_>, field: &str, what: &str) -> IndexMap<String, AskField> {
        self.inputs(fields, field, what)
    }

    /// `run` and `argv` are the action `shell`.
    fn shell(&mut self, known: &Fields<'_>, what: &str) -> Option<Does> {
        let mut with = IndexMap::new();
        if let Some(node) = known.get("run") {
            let script = self.text(node, "`run`")?;
            if let Some(at) = script.find("{{") {
                self.templated_script(node, &script, at);
            }
            with.insert("script".to_owned(), Templated::Literal(script.into()));
        }
        if let Some(node) = known.get("argv") {
            let words = self.list(node, "`argv`");
            if words.is_empty() {
                self.error(node.span, "wrong-type", format!("`argv` of {what} needs at least the command"));
                return None;
            }
            let words = words.iter().filter_map(|word| self.template(word, "a word of `argv`")).map(plain_or_template);
            with.insert("argv".to_owned(), Templated::List(words.collect()));
        }
        if let Some(node) = known.get("env") {
            let mut env = IndexMap::new();
            for (key, node) in self.entries(node, &format!("`env` of {what}")) {
                if key.text.is_empty() || key.text.contains(['=', '\0', ' ']) {
                    self.error(key.span, "name", format!("`{}` cannot be the name of a variable", key.text));
                }
                if let Some(value) = self.template(node, &format!("`{}`", key.text)) {
                    env.insert(key.text.clone(), plain_or_template(value));
                }
            }
            with.insert("env".to_owned(), Templated::Map(env));
        }
        if let Some(node) = known.get("outputs") {
            let mut outputs = serde_json::Map::new();
            let words = [
                ("string", OutputType::String),
                ("integer", OutputType::Integer),
                ("number", OutputType::Number),
                ("boolean", OutputType::Boolean),
                ("json", OutputType::Json),
            ];
            for (key, node) in self.entries(node, &format!("`outputs` of {what}")) {
                let Some(output) = self.fields(node, &format!("output `{}`", key.text), fields::OUTPUT) else {
                    continue;
                };
                match output.get("type") {
                    Some(node) => {
                        if let Some(kind) = self.word(node, &format!("the type of output `{}`", key.text), &words) {
                            outputs.insert(key.text.clone(), json!(kind));
                        }
                    }
                    None => {
                        self.error(output.span, "missing-key", format!("output `{}` has no `type`", key.text));
                    }
                }
            }
            with.insert("outputs".to_owned(), Templated::Literal(Value::Object(outputs)));
        }
        Some(Does::Action { uses: "shell".to_owned(), with: Templated::Map(with) })
    }

    /// A template inside a script is refused, and the help shows the line to write instead.
    fn templated_script(&mut self, node: &Node, script: &str, at: usize) {
        let end = script[at..].find("}}").map_or(script.len(), |length| at + length + 2);
        let inside = script[at..end].trim_matches(['{', '}', ' ']);
        let name: String = inside
            .rsplit('.')
            .next()
            .unwrap_or("VALUE")
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
            .collect();
        let error = TemplateError {
            range: Some(at..end),
            message: "a script is never templated: whoever controls the value would control the script".to_owned(),
            help: Some(format!("write `env: {{ {name}: \"{{{{ {inside} }}}}\" }}` and use \"${name}\" in the script")),
        };
        let mut problem = template_problem(self.source, node, script, &error);
        problem.code = "templated-script";
        self.problems.push(problem);
    }

    fn decide(&mut self, known: &Fields<'_>, what: &str) -> Option<Does> {
        let Some(node) = known.get("with") else {
            self.error(known.span, "missing-key", format!("{what} decides between nothing: it has no `with`")).help =
                Some("write `with: [{ if: \"…\", then: { … } }, { then: { … } }]`".to_owned());
            return None;
        };
        let mut arms = Vec::new();
        let nodes = self.list(node, &format!("`with` of {what}"));
        for (index, node) in nodes.iter().enumerate() {
            let Some(arm) = self.fields(node, &format!("an arm of {what}"), fields::ARM) else { continue };
            let Some(then) = arm.get("then") else {
                self.error(arm.span, "missing-key", format!("an arm of {what} has no `then`"));
                continue;
            };
            let condition = arm.get("if").and_then(|node| self.expression(node, "`if`"));
            if condition.is_none() && arm.get("if").is_none() && index + 1 < nodes.len() {
                self.error(arm.span, "dead-arm", format!("the arms of {what} after this one can never be chosen"))
                    .help = Some("give it an `if`, or move it to the end".to_owned());
            }
            if !matches!(then.content, Content::Map(_)) {
                self.error(then.span, "wrong-type", format!("`then` in {what} must be a map of outputs"));
                continue;
            }
            arms.push(Arm { condition, then: self.templated(then) });
        }
        Some(Does::Decide(Decide { arms }))
    }

    fn needs(&mut self, node: &Node, what: &str) -> IndexMap<StepId, Need> {
        let mut needs = IndexMap::new();
        let results = [
            ("succeeded", Some(StepResult::Succeeded)),
            ("failed", Some(StepResult::Failed)),
            ("skipped", Some(StepResult::Skipped)),
            ("rejected", Some(StepResult::Rejected)),
            ("finished", None),
        ];
        match &node.content {
            Content::List(items) => {
                for item in items {
                    if let Some(id) = self.needed(item, what) {
                        needs.insert(id, Need::success());
                    }
                }
            }
            Content::Map(_) => {
                for (key, node) in self.entries(node, &format!("`needs` of {what}")) {
                    let Ok(id) = StepId::new(&key.text) else {
                        self.error(
                            key.span,
                            "unknown-step",
                            format!("{what} needs `{}`, which does not exist", key.text),
                        );
                        continue;
                    };
                    let wanted: Vec<Option<StepResult>> = match &node.content {
                        Content::List(items) => {
                            items.iter().filter_map(|item| self.word(item, "a needed result", &results)).collect()
                        }
                        _ => self.word(node, "a needed result", &results).into_iter().collect(),
                    };
                    let need =
                        if wanted.contains(&None) { Need::any() } else { Need(wanted.into_iter().flatten().collect()) };
                    needs.insert(id, need);
                }
            }
            _ => {
                self.error(node.span, "wrong-type", format!("`needs` of {what} must be a list or a map")).help =
                    Some("write `needs: [step]` or `needs: { step: finished }`".to_owned());
            }
        }
        needs
    }

    fn needed(&mut self, node: &Node, what: &str) -> Option<StepId> {
        let text = self.text(node, "a needed step")?;
        StepId::new(&text)
            .map_err(|_| {
                self.error(node.span, "unknown-step", format!("{what} needs `{text}`, which does not exist"));
            })
            .ok()
    }

    fn approval(&mut self, node: &Node, what: &str) -> Option<Approval> {
        let known = self.fields(node, &format!("`approval` of {what}"), fields::APPROVAL)?;
        let Some(prompt) = known.get("prompt") else {
            self.error(known.span, "missing-key", format!("`approval` of {what} has no `prompt`")).help =
                Some("ask the question: `prompt: \"…?\"`".to_owned());
            return None;
        };
        let prompt = self.template(prompt, "`prompt`")?;
        let by = known.get("by").map(|node| self.texts(node, "`by`")).unwrap_or_default();
        if let Some(node) = known.get("by") {
            for (index, who) in by.iter().enumerate() {
                let named = who
                    .split_once(':')
                    .is_some_and(|(kind, name)| ["user", "group"].contains(&kind) && !name.is_empty());
                if !named {
                    let span = node.at(&[&index.to_string()]).span;
                    self.error(span, "approver", format!("`{who}` names nobody")).help =
                        Some("write `user:NAME` or `group:NAME`".to_owned());
                }
            }
        }
        let holds = known.get("on_timeout").is_some_and(|node| node.content == Content::Text("hold".to_owned()));
        if let Some(key) = known.key("within").filter(|_| holds) {
            self.error(key.span, "misplaced-key", "`within` has no meaning beside `on_timeout: hold`").help =
                Some("a question that never lapses has no time; take one of the two away".to_owned());
        }
        Some(Approval {
            prompt,
            by,
            at_least: known.get("at_least").and_then(|node| self.count(node, "`at_least`")).unwrap_or(1),
            not_requester: self.optional_flag(&known, "not_requester"),
            within: known.get("within").and_then(|node| self.duration(node, "`within`")),
            on_timeout: known
                .get("on_timeout")
                .and_then(|node| {
                    if node.content == Content::Text("approve".to_owned()) {
                        self.error(node.span, "silent-consent", "silence is never consent").help =
                            Some("write `on_timeout: reject` or `on_timeout: hold`".to_owned());
                        return None;
                    }
                    self.word(node, "`on_timeout`", &[("reject", OnTimeout::Reject), ("hold", OnTimeout::Hold)])
                })
                .unwrap_or_default(),
            ask: self.asked(&known, "ask", "question"),
        })
    }

    fn retry(&mut self, node: &Node, what: &str) -> Option<Retry> {
        let known = self.fields(node, &format!("`retry` of {what}"), fields::RETRY)?;
        let Some(attempts) = known.get("attempts") else {
            self.error(known.span, "missing-key", format!("`retry` of {what} has no `attempts`"));
            return None;
        };
        let attempts = self.count(attempts, "`attempts`")?;
        let backoff = match known.get("backoff") {
            None => Backoff(2000),
            Some(node) => match &node.content {
                Content::Number(number) => match thousandths(number) {
                    Some(factor @ 1000..) => Backoff(factor),
                    _ => {
                        self.error(node.span, "wrong-type", "`backoff` must be a number from 1");
                        return None;
                    }
                },
                _ => {
                    self.error(node.span, "wrong-type", "`backoff` must be a number from 1");
                    return None;
                }
            },
        };
        Some(Retry {
            attempts,
            delay: match known.get("delay") {
                Some(node) => self.duration(node, "`delay`")?,
                None => HumanDuration(std::time::Duration::from_secs(1)),
            },
            backoff,
            max_delay: known.get("max_delay").and_then(|node| self.duration(node, "`max_delay`")),
            jitter: known.get("jitter").and_then(|node| self.boolean(node, "`jitter`")).unwrap_or(true),
            on: known.get("on").map(|node| self.texts(node, "`on`")).unwrap_or_default(),
        })
    }

    fn until(&mut self, node: &Node, what: &str) -> Option<Until> {
        let known = self.fields(node, &format!("`until` of {what}"), fields::UNTIL)?;
        for name in ["if", "every", "within"] {
            if known.get(name).is_none() {
                self.error(known.span, "missing-key", format!("`until` of {what} has no `{name}`")).help =
                    Some("write `until: { if: \"…\", every: 5s, within: 5m }`".to_owned());
            }
        }
        let every = self.duration(known.get("every")?, "`every`")?;
        if every.0.is_zero() {
            self.error(known.get("every")?.span, "duration", "`every` of 0 would ask without a pause");
            return None;
        }
        Some(Until {
            condition: self.expression(known.get("if")?, "`if`")?,
            every,
            within: self.duration(known.get("within")?, "`within`")?,
            on_timeout: GivingUp::Fail,
        })
    }

    fn undo(&mut self, node: &Node, what: &str) -> Option<Undo> {
        if let Content::Text(word) = &node.content {
            if word == "auto" {
                return Some(Undo::Auto);
            }
            self.error(
                node.span,
                "unknown-word",
                format!("`undo` of {what} must be `auto` or an action, not `{word}`"),
            );
            return None;
        }
        let known = self.fields(node, &format!("`undo` of {what}"), fields::UNDO)?;
        let Some(uses) = known.get("uses") else {
            self.error(known.span, "missing-key", format!("`undo` of {what} has no `uses`"));
            return None;
        };
        let uses = self.text(uses, "`uses`")?;
        let with = known.get("with").map_or_else(|| Templated::Literal(json!({})), |node| self.templated(node));
        if let (Templated::Map(map), Some(node)) = (&with, known.get("with"))
            && let Some(Templated::Template(script)) = map.get("script").filter(|_| uses == "shell")
        {
            let at = script.0.find("{{").unwrap_or(0);
            self.templated_script(node.at(&["script"]), &script.0, at);
        }
        Some(Undo::Action { uses, with, timeout: None, retry: None, verify: None })
    }

    fn measure(&mut self, node: &Node, what: &str) -> Option<Measure> {
        let known = self.fields(node, &format!("`measure` of {what}"), fields::MEASURE)?;
        let Some(expires) = known.get("expires") else {
            self.error(known.span, "missing-key", format!("`measure` of {what} has no `expires`")).help =
                Some("an emergency measure has an end: `expires: 60m`".to_owned());
            return None;
        };
        let expires = self.template(expires, "`expires`")?;
        if expires.is_plain()
            && let Err(error) = expires.0.parse::<HumanDuration>()
        {
            self.error(known.get("expires")?.span, "duration", format!("`expires`: {error}"));
        }
        Some(Measure {
            expires,
            closed_by: known.get("closed_by").and_then(|node| self.needed(node, what)),
            on_expiry: OnExpiry::Hold,
        })
    }

    /// A value in which any text may be a template. Parts without one are kept as plain JSON.
    fn templated(&mut self, node: &Node) -> Templated {
        match &node.content {
            Content::Text(text) if has_braces(text) => {
                let template = Template(text.clone());
                if let Err(error) = template.references() {
                    self.template_error(node, text, &error);
                }
                Templated::Template(template)
            }
            Content::List(items) => {
                let items: Vec<Templated> = items.iter().map(|item| self.templated(item)).collect();
                if items.iter().all(|item| item.as_literal().is_some()) {
                    return Templated::Literal(node.to_json());
                }
                Templated::List(items)
            }
            Content::Map(_) => {
                let entries: IndexMap<String, Templated> = self
                    .entries(node, "this map")
                    .into_iter()
                    .map(|(key, node)| (key.text.clone(), self.templated(node)))
                    .collect();
                if entries.values().all(|item| item.as_literal().is_some()) {
                    return Templated::Literal(node.to_json());
                }
                Templated::Map(entries)
            }
            _ => Templated::Literal(node.to_json()),
        }
    }

    /// Fields that make no sense beside what the step does.
    fn check_company(&mut self, step: &Step, known: &Fields<'_>, what: &str) {
        let shell = matches!(&step.does, Does::Action { uses, .. } if uses == "shell" && known.get("uses").is_none());
        let acts = matches!(step.does, Does::Action { .. });
        let mut refuse = |names: &[&str], why: &str| {
            for name in names {
                if let Some(key) = known.key(name) {
                    self.error(key.span, "misplaced-key", format!("`{name}` has no meaning in {what}: {why}"));
                }
            }
        };
        if !shell {
            refuse(&["env", "outputs", "effect"], "it belongs to `run` and `argv`");
        }
        if !acts {
            refuse(&["timeout", "retry", "until", "undo", "measure"], "the step runs no action");
        }
        if known.get("uses").is_none() {
            refuse(&["with"], "it belongs to `uses`");
        }
    }
}

fn plain_or_template(template: Template) -> Templated {
    if template.is_plain() { Templated::Literal(template.0.into()) } else { Templated::Template(template) }
}

/// A number in thousandths, read from its digits: `1.5` is 1500.
fn thousandths(number: &serde_json::Number) -> Option<u64> {
    let text = number.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let fraction: String = fraction.chars().chain("000".chars()).take(3).collect();
    let whole: u64 = whole.parse().ok()?;
    whole.checked_mul(1000)?.checked_add(fraction.parse().ok()?)
}
