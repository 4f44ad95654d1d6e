//! Reads what a step does: an action, a script, a command, a call, a decision, or something for a person.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde_json::{Value, json};

use super::document::{Arm, AskField, Call, Decide, Does, Manual, Templated};
use super::fields;
use super::node::{Content, Node};
use super::read::{Fields, Reader, template_problem};
use super::template::{Template, TemplateError, has_braces};
use crate::base::{Code, Diagnostic};

impl Reader<'_> {
    /// Exactly one of `uses`, `run`, `argv`, `manual`, `call`, or `approval` alone.
    pub(super) fn does(&mut self, known: &Fields<'_>, what: &str) -> Option<Does> {
        let kinds: Vec<&str> =
            ["uses", "run", "argv", "manual", "call"].into_iter().filter(|kind| known.get(kind).is_some()).collect();
        match kinds.as_slice() {
            [] if known.get("approval").is_some() => Some(Does::Gate),
            [] => {
                self.error(known.span, Code::NoAct, format!("{what} does nothing")).help =
                    Some("give it one of `uses`, `run`, `argv`, `manual`, `call`, or `approval` alone".to_owned());
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
                    self.error(node.span, Code::MisplacedKey, format!("{what} uses `shell` by name")).help =
                        Some("write `run: |` for a script, or `argv: [command, word]` for a command".to_owned());
                    return None;
                }
                Some(Does::Action { uses, with: self.with(known, what)? })
            }
            ["run" | "argv"] => {
                let with = self.shell(known, what)?;
                Some(Does::Action { uses: "shell".to_owned(), with })
            }
            ["call"] => self.call(known, what),
            ["manual"] => {
                let manual = self.fields(known.get("manual")?, &format!("`manual` of {what}"), fields::MANUAL)?;
                let Some(text) = manual.get("text") else {
                    self.error(manual.span, Code::MissingKey, format!("`manual` of {what} has no `text`")).help =
                        Some("say what is to be done: `text: \"…\"`".to_owned());
                    return None;
                };
                let text = self.template(text, "`text`")?;
                Some(Does::Manual(Manual { text, evidence: self.asked(&manual, "evidence", "evidence") }))
            }
            [first, second, ..] => {
                self.two_acts(known, first, second, what, "a step does one thing").help =
                    Some("make two steps of it".to_owned());
                None
            }
            [_] => None,
        }
    }

    /// Two things that exclude each other.
    pub(super) fn two_acts(
        &mut self,
        known: &Fields<'_>,
        first: &str,
        second: &str,
        what: &str,
        rule: &str,
    ) -> &mut Diagnostic {
        let place = known.key(second).map_or(known.span, |key| key.span);
        let before = known.key(first).map_or(known.span, |key| key.span);
        let problem = self.error(place, Code::TwoActs, format!("{what} has both `{first}` and `{second}`; {rule}"));
        problem.related.push((before, "the other one".to_owned()));
        problem
    }

    /// `with`: a map of parameters or inputs, none when it is not there. Nothing when it is something else.
    pub(super) fn with(&mut self, known: &Fields<'_>, what: &str) -> Option<Templated> {
        match known.get("with") {
            Some(node) => match node.content {
                Content::Map(_) => Some(self.templated(node)),
                Content::Null => Some(Templated::Literal(json!({}))),
                _ => {
                    self.error(node.span, Code::WrongType, format!("`with` of {what} must be a map")).help =
                        Some("write `with: { name: value }`".to_owned());
                    None
                }
            },
            None => Some(Templated::Literal(json!({}))),
        }
    }

    /// A call of another runbook. Whether the file is there is seen when it is loaded.
    fn call(&mut self, known: &Fields<'_>, what: &str) -> Option<Does> {
        let node = known.get("call")?;
        let file = self.text(node, "`call`")?;
        let with = self.with(known, what);
        let secrets = known.get("secrets").map(|node| self.passed(node, what)).unwrap_or_default();
        if has_braces(&file) {
            self.error(
                node.span,
                Code::Template,
                "`call` is never templated: what is called is known before the run",
            )
            .help = Some("make a step for each runbook, each with its own `if`".to_owned());
            return None;
        }
        if file.trim().is_empty() {
            self.error(node.span, Code::MissingKey, format!("`call` of {what} names no file")).help =
                Some("name the runbook's file, from the folder of this one: `call: close.yaml`".to_owned());
            return None;
        }
        Some(Does::Call(Call { file, with: with?, secrets }))
    }

    /// The secrets a called runbook is given: by the name it knows them by, or a list where the names are the same.
    fn passed(&mut self, node: &Node, what: &str) -> BTreeMap<String, String> {
        let what = format!("`secrets` of {what}");
        match &node.content {
            Content::List(_) => self.texts(node, &what).into_iter().map(|name| (name.clone(), name)).collect(),
            Content::Map(_) => {
                let mut passed = BTreeMap::new();
                for (key, node) in self.entries(node, &what) {
                    if let Some(ours) = self.text(node, &format!("`{}`", key.text)) {
                        passed.insert(key.text.clone(), ours);
                    }
                }
                passed
            }
            _ => {
                self.error(node.span, Code::WrongType, format!("{what} must be a list or a map")).help =
                    Some("write `secrets: [name]` or `secrets: { its_name: our_name }`".to_owned());
                BTreeMap::new()
            }
        }
    }

    pub(super) fn asked(&mut self, fields: &Fields<'_>, field: &str, what: &str) -> IndexMap<String, AskField> {
        self.inputs(fields, field, what)
    }

    /// `run` and `argv` are the action `shell`.
    pub(super) fn shell(&mut self, known: &Fields<'_>, what: &str) -> Option<Templated> {
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
                self.error(node.span, Code::WrongType, format!("`argv` of {what} needs at least the command"));
                return None;
            }
            let words = words.iter().filter_map(|word| self.template(word, "a word of `argv`")).map(plain_or_template);
            with.insert("argv".to_owned(), Templated::List(words.collect()));
        }
        if let Some(node) = known.get("env") {
            let mut env = IndexMap::new();
            for (key, node) in self.entries(node, &format!("`env` of {what}")) {
                if key.text.is_empty() || key.text.contains(['=', '\0', ' ']) {
                    self.error(key.span, Code::InvalidName, format!("`{}` cannot be the name of a variable", key.text));
                }
                if let Some(value) = self.template(node, &format!("`{}`", key.text)) {
                    env.insert(key.text.clone(), plain_or_template(value));
                }
            }
            with.insert("env".to_owned(), Templated::Map(env));
        }
        if let Some(node) = known.get("outputs") {
            let mut outputs = serde_json::Map::new();
            for (key, node) in self.entries(node, &format!("`outputs` of {what}")) {
                let Some(output) = self.fields(node, &format!("output `{}`", key.text), fields::OUTPUT) else {
                    continue;
                };
                if let Some(kind) = self.output_type(&output, &format!("output `{}`", key.text)) {
                    outputs.insert(key.text.clone(), json!(kind));
                }
            }
            with.insert("outputs".to_owned(), Templated::Literal(Value::Object(outputs)));
        }
        Some(Templated::Map(with))
    }

    /// A template inside a script is refused, and the help shows the line to write instead.
    pub(super) fn templated_script(&mut self, node: &Node, script: &str, at: usize) {
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
        problem.code = Code::TemplatedScript;
        self.problems.push(problem);
    }

    fn decide(&mut self, known: &Fields<'_>, what: &str) -> Option<Does> {
        let Some(node) = known.get("with") else {
            self.error(known.span, Code::MissingKey, format!("{what} decides between nothing: it has no `with`"))
                .help = Some("write `with: [{ if: \"…\", then: { … } }, { then: { … } }]`".to_owned());
            return None;
        };
        let mut arms = Vec::new();
        let nodes = self.list(node, &format!("`with` of {what}"));
        for (index, node) in nodes.iter().enumerate() {
            let Some(arm) = self.fields(node, &format!("an arm of {what}"), fields::ARM) else { continue };
            let Some(then) = arm.get("then") else {
                self.error(arm.span, Code::MissingKey, format!("an arm of {what} has no `then`")).help =
                    Some("say what it gives: `then: { category: … }`".to_owned());
                continue;
            };
            let condition = arm.get("if").and_then(|node| self.expression(node, "`if`"));
            if condition.is_none() && arm.get("if").is_none() && index + 1 < nodes.len() {
                self.error(arm.span, Code::DeadArm, format!("the arms of {what} after this one can never be chosen"))
                    .help = Some("give it an `if`, or move it to the end".to_owned());
            }
            if !matches!(then.content, Content::Map(_)) {
                self.error(then.span, Code::WrongType, format!("`then` in {what} must be a map of outputs"));
                continue;
            }
            arms.push(Arm { condition, then: self.templated(then) });
        }
        Some(Does::Decide(Decide { arms }))
    }

    /// A value in which any text may be a template. Parts without one are kept as plain JSON.
    pub(super) fn templated(&mut self, node: &Node) -> Templated {
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
}

fn plain_or_template(template: Template) -> Templated {
    if template.is_plain() { Templated::Literal(template.0.into()) } else { Templated::Template(template) }
}
