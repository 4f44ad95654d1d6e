//! Reads the top of a file: its name, inputs, secrets, locks, and what it gives back.

use std::collections::BTreeMap;
use std::path::PathBuf;

use indexmap::IndexMap;

use super::document::{Given, Input, InputType, Level, Lock, OnFailure, OutputType, Runbook};
use super::fields;
use super::node::{Content, Key, Node};
use super::read::{Fields, Reader};
use super::template::has_braces;
use crate::base::Code;
use crate::base::{Late, RunbookName, SecretSource, Span, StepId};

impl Reader<'_> {
    pub(super) fn runbook(&mut self, node: &Node) -> Option<Runbook> {
        let top = self.fields(node, "the runbook", fields::RUNBOOK)?;
        let name = match top.get("runbook") {
            None => {
                self.error(Span::new(top.span.start, top.span.start), Code::MissingKey, "the runbook has no name")
                    .help = Some("begin the file with `runbook: its-name`".to_owned());
                None
            }
            Some(node) => self.text(node, "`runbook`").and_then(|text| match RunbookName::new(&text) {
                Ok(name) => Some(name),
                Err(error) => {
                    let mended: String = text
                        .trim()
                        .to_lowercase()
                        .chars()
                        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
                        .collect();
                    self.error(node.span, Code::InvalidName, format!("`{text}` cannot be a runbook's name: {error}"))
                        .help = Some(match RunbookName::new(&mended) {
                        Ok(mended) => format!("write `{mended}`"),
                        Err(_) => "write for example `payments-down`".to_owned(),
                    });
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
                self.error(Span::new(top.span.start, top.span.start), Code::MissingKey, "the runbook has no `steps`")
                    .help =
                    Some("write `steps:` and below it each step under its id: `look: { argv: [uptime] }`".to_owned());
                IndexMap::new()
            }
        };
        if let Some(node) = top.get("steps").filter(|_| steps.is_empty() && self.problems.is_empty()) {
            self.error(node.span, Code::MissingKey, "a runbook needs at least one step").help =
                Some("write one under its id: `look: { argv: [uptime] }`".to_owned());
        }
        let finally = top.get("finally").map(|node| self.steps(node, "`finally`")).unwrap_or_default();
        for id in finally.keys().filter(|id| steps.contains_key(*id)) {
            let place = node.key_span(&["finally", id.as_str()]);
            let first = node.key_span(&["steps", id.as_str()]);
            let problem =
                self.error(place, Code::DuplicateKey, format!("step `{id}` stands in `steps` and in `finally`"));
            problem.related.push((first, "first given here".to_owned()));
            problem.help = Some("give one of the two another id: the log tells steps apart by it".to_owned());
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
            locks: top.get("locks").map(|node| self.locks(node)).unwrap_or_default(),
            timeout: top.get("timeout").and_then(|node| self.duration(node, "`timeout`")),
            steps,
            on_failure: on_failure.unwrap_or_default(),
            finally,
            outputs: self.given(&top),
        })
    }

    pub(super) fn optional_text(&mut self, fields: &Fields<'_>, name: &str) -> Option<String> {
        fields.get(name).and_then(|node| self.text(node, &format!("`{name}`")))
    }

    pub(super) fn inputs(&mut self, fields: &Fields<'_>, field: &str, what: &str) -> IndexMap<String, Input> {
        let Some(node) = fields.get(field) else { return IndexMap::new() };
        let mut inputs = IndexMap::new();
        for (key, node) in self.entries(node, &format!("`{field}`")) {
            self.identifier(key, what);
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
            self.error(known.span, Code::MissingKey, format!("{what} has no `type`")).help =
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
            let help = if input.values.is_empty() {
                "name its words: `values: [one, other]`"
            } else {
                "write `type: enum`, or take `values` away"
            };
            let place = known.key("values").or_else(|| known.key("type")).map_or(known.span, |key| key.span);
            self.error(place, Code::InvalidInput, message).help = Some(help.to_owned());
            return;
        }
        for (name, limit) in [("min", &input.min), ("max", &input.max)] {
            if let (Some(limit), Some(node)) = (limit, known.get(name)) {
                let has_size = matches!(input.kind, InputType::Integer | InputType::Duration | InputType::String);
                if !has_size || input.limit(limit).is_none() {
                    let message = format!("`{name}` of {what} does not fit its type");
                    self.error(node.span, Code::InvalidInput, message).help = Some(match input.kind {
                        InputType::Duration => format!("write a duration: `{name}: 5m`"),
                        InputType::Integer => format!("write a whole number: `{name}: 5`"),
                        InputType::String => format!("write how many characters: `{name}: 5`"),
                        _ => format!("take it away: only numbers, durations and strings have a `{name}`"),
                    });
                }
            }
        }
        if let (Some(pattern), Some(node)) = (&input.pattern, known.get("pattern"))
            && let Err(error) = regex_lite::Regex::new(pattern)
        {
            self.error(node.span, Code::InvalidInput, format!("the pattern of {what} cannot be read: {error}")).help =
                Some("write a regular expression, such as `[a-z0-9-]+`".to_owned());
            return;
        }
        if let (Some(default), Some(node)) = (&input.default, known.get("default")) {
            if has_braces(&default.to_string()) {
                self.error(node.span, Code::InvalidInput, "templates are not expanded in defaults").help = Some(
                    "write the value, or use `{{ inputs.NAME | default('…', true) }}` where it is needed".to_owned(),
                );
            } else if let Err(reason) = input.read(default) {
                let limit = ["min", "max", "pattern", "values"]
                    .into_iter()
                    .filter(|limit| {
                        reason.contains(&format!("at {}", if *limit == "min" { "least" } else { "most" }))
                            || !["min", "max"].contains(limit)
                    })
                    .find_map(|limit| known.key(limit).map(|key| (key.span, limit)));
                let problem =
                    self.error(node.span, Code::InvalidInput, format!("the default of {what} does not fit: {reason}"));
                problem.related.extend(limit.map(|(span, _)| (span, "its limit".to_owned())));
                problem.help = Some(match limit {
                    Some((_, limit)) => format!("change the default, or `{limit}`"),
                    None => "change the default, or the type".to_owned(),
                });
            }
        }
    }

    fn secrets(&mut self, top: &Fields<'_>) -> BTreeMap<String, SecretSource> {
        let Some(node) = top.get("secrets") else { return BTreeMap::new() };
        let mut secrets = BTreeMap::new();
        for (key, node) in self.entries(node, "`secrets`") {
            let what = format!("secret `{}`", key.text);
            let before = self.problems.len();
            let Some(known) = self.fields(node, &what, fields::SECRET) else { continue };
            let is_told = self.problems.len() > before;
            if is_told && ["env", "file", "step", "prompt"].iter().all(|key| known.get(key).is_none()) {
                // A misspelt source is told already; that there is none would be the same thing again.
                continue;
            }
            let late = (known.get("step"), known.get("prompt"));
            let source = match (known.get("env"), known.get("file"), late) {
                (Some(node), None, (None, None)) => self.text(node, "`env`").map(SecretSource::Env),
                (None, Some(node), (None, None)) => {
                    self.text(node, "`file`").map(|path| SecretSource::File(PathBuf::from(path)))
                }
                (None, None, (step, prompt)) if step.is_some() || prompt.is_some() => self.late(step, prompt),
                _ => {
                    self.error(node.span, Code::SecretSource, format!("{what} needs one source")).help = Some(
                        "write `{ env: VARIABLE }` or `{ file: PATH }`; for one that comes to be during the run \
                         `{ step: STEP }`, `{ prompt: QUESTION }` or both"
                            .to_owned(),
                    );
                    None
                }
            };
            let optional = known.get("optional").map(|node| (node, self.boolean(node, "`optional`")));
            if let (Some((node, Some(_))), Some(SecretSource::Late(_))) = (&optional, &source) {
                let message = format!("{what} cannot be `optional`: it comes to be only during the run");
                self.error(node.span, Code::MisplacedKey, message).help =
                    Some("take `optional` away; a step that takes it fails when it cannot be had".to_owned());
            }
            let source = match optional {
                Some((_, Some(true))) => source.map(|source| SecretSource::Optional(Box::new(source))),
                _ => source,
            };
            if let Some(source) = source {
                secrets.insert(key.text.clone(), source);
            }
        }
        secrets
    }

    /// A secret that comes to be during the run.
    fn late(&mut self, step: Option<&Node>, prompt: Option<&Node>) -> Option<SecretSource> {
        // Both are read before either is missed, so that all mistakes are told.
        let named = step.map(|node| {
            let text = self.text(node, "`step`")?;
            let id = StepId::new(&text).ok();
            if id.is_none() {
                self.error(node.span, Code::UnknownStep, format!("there is no step `{text}`"));
            }
            id
        });
        let asked = prompt.map(|node| self.text(node, "`prompt`"));
        let (step, prompt) =
            (named.map_or(Some(None), |id| id.map(Some)), asked.map_or(Some(None), |text| text.map(Some)));
        Some(SecretSource::Late(Late { step: step?, prompt: prompt? }))
    }

    /// Complains about a name that an expression could not say.
    fn identifier(&mut self, key: &Key, what: &str) {
        let fits = |(index, c): (usize, char)| c == '_' || c.is_ascii_alphabetic() || (index > 0 && c.is_ascii_digit());
        if key.text.is_empty() || !key.text.chars().enumerate().all(fits) {
            self.error(key.span, Code::InvalidName, format!("`{}` cannot be the name of an {what}", key.text)).help =
                Some("use letters, digits and `_`: expressions name it directly".to_owned());
        }
    }

    fn locks(&mut self, node: &Node) -> Vec<Lock> {
        let mut locks: Vec<Lock> = Vec::new();
        for node in self.list(node, "`locks`") {
            let (named, wait) = match &node.content {
                Content::Map(_) => {
                    let Some(known) = self.fields(node, "a lock", fields::LOCK) else { continue };
                    let Some(named) = known.get("name") else {
                        self.error(known.span, Code::MissingKey, "a lock has no `name`").help =
                            Some("write `{ name: \"what:it:is\", wait: 10m }`".to_owned());
                        continue;
                    };
                    (named, known.get("wait").and_then(|node| self.duration(node, "`wait`")))
                }
                _ => (node, None),
            };
            let Some(name) = self.template(named, "a lock") else { continue };
            if name.0.trim().is_empty() {
                self.error(named.span, Code::InvalidName, "a lock needs a name");
                continue;
            }
            if locks.iter().any(|lock| lock.name == name) {
                self.error(named.span, Code::DuplicateKey, format!("the lock `{name}` is named twice")).help =
                    Some("keep one of the two".to_owned());
                continue;
            }
            locks.push(Lock { name, wait });
        }
        locks
    }

    /// What the runbook gives to one that calls it.
    fn given(&mut self, top: &Fields<'_>) -> IndexMap<String, Given> {
        let Some(node) = top.get("outputs") else { return IndexMap::new() };
        let mut outputs = IndexMap::new();
        for (key, node) in self.entries(node, "`outputs`") {
            self.identifier(key, "output");
            let what = format!("output `{}`", key.text);
            let Some(known) = self.fields(node, &what, fields::GIVEN) else { continue };
            let kind = self.output_type(&known, &what);
            let Some(value) = known.get("value") else {
                self.error(known.span, Code::MissingKey, format!("{what} has no `value`")).help =
                    Some("write for example `value: \"{{ step.outputs.name }}\"`".to_owned());
                continue;
            };
            let place = value.span;
            let value = self.templated(value);
            let Some(kind) = kind else { continue };
            if let Some(literal) = value.as_literal()
                && !kind.admits(literal)
            {
                let message = format!("the value of {what} is not of its type, `{}`", kind.as_str());
                self.error(place, Code::WrongType, message);
                continue;
            }
            let description = self.optional_text(&known, "description");
            outputs.insert(key.text.clone(), Given { kind, description, value });
        }
        outputs
    }

    /// The `type` of an output, of a script or of the whole runbook.
    pub(super) fn output_type(&mut self, output: &Fields<'_>, what: &str) -> Option<OutputType> {
        let Some(node) = output.get("type") else {
            self.error(output.span, Code::MissingKey, format!("{what} has no `type`"));
            return None;
        };
        let words = OutputType::ALL.map(|kind| (kind.as_str(), kind));
        self.word(node, &format!("the type of {what}"), &words)
    }
}
