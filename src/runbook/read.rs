//! Reads nodes into types and keeps every problem, so that one look at a file finds them all.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use super::fields::Field;
use super::mend;
use super::node::{Content, Key, Node};
use super::place::locate;
use super::template::{Expression, Template, TemplateError};
use crate::base::diagnostic::nearest;
use crate::base::{Code, Diagnostic, HumanDuration, Source, Span};

/// Collects problems while it reads.
pub(crate) struct Reader<'s> {
    pub(crate) source: &'s Arc<Source>,
    pub(crate) problems: Vec<Diagnostic>,
}

/// The entries of a map whose keys are known.
pub(crate) struct Fields<'n> {
    entries: Vec<(&'n Key, &'n Node)>,
    /// Where the map stands, for what is missing from it.
    pub(crate) span: Span,
}

impl<'n> Fields<'n> {
    /// The entry of this name.
    pub(crate) fn get(&self, name: &str) -> Option<&'n Node> {
        self.entries.iter().find(|(key, _)| key.text == name).map(|(_, node)| *node)
    }

    /// The key of this name.
    pub(crate) fn key(&self, name: &str) -> Option<&'n Key> {
        self.entries.iter().find(|(key, _)| key.text == name).map(|(key, _)| *key)
    }
}

impl<'s> Reader<'s> {
    pub(crate) fn new(source: &'s Arc<Source>) -> Self {
        Self { source, problems: Vec::new() }
    }

    /// Keeps an error.
    pub(crate) fn error(&mut self, span: Span, code: Code, message: impl Into<String>) -> &mut Diagnostic {
        self.problems.push(Diagnostic::error(self.source, span, code, message));
        let last = self.problems.len() - 1;
        &mut self.problems[last]
    }

    /// Says that a node is of the wrong type.
    fn wrong_type(&mut self, node: &Node, what: &str, wanted: &str) {
        let found = node.kind();
        let help = match (&node.content, wanted) {
            (Content::List(_), "a map") => "write `name: …` for each entry, without the `-` before it".to_owned(),
            (_, "a map") => "write `{ name: value }`, or the entries below it, indented".to_owned(),
            (_, "a list") => "write `[one, other]`, or the entries below it, each behind a `-`".to_owned(),
            (Content::Null, "a text") => "write the text behind the colon, or take the key away".to_owned(),
            (_, "a text") => "a text with `{`, `[` or `: ` in it stands in quotes".to_owned(),
            _ => format!("write {wanted}"),
        };
        let span = self.first_line(node.span);
        self.error(span, Code::WrongType, format!("{what} must be {wanted}, not {found}")).help = Some(help);
    }

    /// A place as far as its first line goes: a caret under twenty lines shows nothing.
    pub(super) fn first_line(&self, span: Span) -> Span {
        let text = self.source.text.get(span.start..span.end).unwrap_or_default();
        let length = text.find('\n').map_or(text.len(), |end| text[..end].trim_end().len());
        Span::new(span.start, span.start + length)
    }

    /// The entries of a map with any keys; duplicates are reported and the first one counts.
    pub(crate) fn entries<'n>(&mut self, node: &'n Node, what: &str) -> Vec<(&'n Key, &'n Node)> {
        let Content::Map(entries) = &node.content else {
            self.wrong_type(node, what, "a map");
            return Vec::new();
        };
        let mut first: BTreeMap<&str, Span> = BTreeMap::new();
        let mut kept = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            if let Some(before) = first.get(key.text.as_str()) {
                let before = *before;
                let problem =
                    self.error(key.span, Code::DuplicateKey, format!("`{}` is given twice in {what}", key.text));
                problem.related.push((before, "first given here".to_owned()));
                problem.help = Some("keep one of the two".to_owned());
            } else {
                first.insert(&key.text, key.span);
                kept.push((key, value));
            }
        }
        kept
    }

    /// The entries of a map whose keys are known; unknown ones are reported with the nearest known one.
    pub(crate) fn fields<'n>(&mut self, node: &'n Node, what: &str, known: &[Field]) -> Option<Fields<'n>> {
        if !matches!(node.content, Content::Map(_)) {
            self.wrong_type(node, what, "a map");
            return None;
        }
        let mut entries = self.entries(node, what);
        let is_present = |name: &str| node.entry(name).is_some();
        entries.retain(|(key, _)| {
            let is_known = known.iter().any(|field| field.name == key.text);
            if !is_known {
                // A file with thousands of unknown keys has another mistake than misspelt ones.
                let near = (self.problems.len() < 1000)
                    .then(|| nearest(&key.text, known.iter().map(|field| field.name)))
                    .flatten();
                let problem = self.error(key.span, Code::UnknownKey, format!("unknown key `{}` in {what}", key.text));
                problem.help = Some(match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => {
                        format!("known keys: {}", known.iter().map(|field| field.name).collect::<Vec<_>>().join(", "))
                    }
                });
                problem.fix = mend::key(key.span, &key.text, known, is_present);
            }
            is_known
        });
        Some(Fields { entries, span: self.first_line(node.span) })
    }

    /// A text; numbers and booleans are taken as they are written.
    pub(crate) fn text(&mut self, node: &Node, what: &str) -> Option<String> {
        match &node.content {
            Content::Text(text) => Some(text.clone()),
            Content::Number(number) => Some(number.to_string()),
            Content::Bool(value) => Some(value.to_string()),
            Content::Null | Content::List(_) | Content::Map(_) => {
                self.wrong_type(node, what, "a text");
                None
            }
        }
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&mut self, node: &Node, what: &str) -> Option<bool> {
        match &node.content {
            Content::Bool(value) => Some(*value),
            Content::Text(text) if ["yes", "no", "on", "off"].contains(&text.to_lowercase().as_str()) => {
                let meant = if ["yes", "on"].contains(&text.to_lowercase().as_str()) { "true" } else { "false" };
                let problem = self.error(node.span, Code::WrongType, format!("{what} must be `true` or `false`"));
                problem.help = Some(format!("in YAML 1.2 `{text}` is a text; write `{meant}`"));
                problem.fix = mend::boolean(node.span, text);
                None
            }
            other => {
                self.wrong_type(node, what, "`true` or `false`");
                if let (Content::Text(text), Some(problem)) = (other, self.problems.last_mut()) {
                    problem.fix = mend::boolean(node.span, text);
                }
                None
            }
        }
    }

    /// A whole number from 1.
    pub(crate) fn count(&mut self, node: &Node, what: &str) -> Option<u32> {
        let number = match &node.content {
            Content::Number(number) => number.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| *n >= 1),
            _ => None,
        };
        if number.is_none() {
            self.error(node.span, Code::WrongType, format!("{what} must be a whole number from 1")).help =
                Some("write the number without quotes: `1`, `2`, `3` …".to_owned());
        }
        number
    }

    /// A length of time.
    pub(crate) fn duration(&mut self, node: &Node, what: &str) -> Option<HumanDuration> {
        let text = match &node.content {
            Content::Text(text) => text.clone(),
            Content::Number(number) => number.to_string(),
            _ => {
                self.wrong_type(node, what, "a duration such as `90s` or `15m`");
                return None;
            }
        };
        match HumanDuration::from_str(&text) {
            Ok(duration) => Some(duration),
            Err(error) => {
                let problem = self.error(node.span, Code::InvalidDuration, format!("{what}: {error}"));
                problem.fix = mend::duration(node.span, &text);
                problem.help = if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
                    Some(format!("a number needs its unit: `{text}s`"))
                } else {
                    problem.fix.as_ref().map(|fix| format!("write `{}`", fix.text))
                };
                None
            }
        }
    }

    /// One of some words.
    pub(crate) fn word<T>(&mut self, node: &Node, what: &str, words: &[(&str, T)]) -> Option<T>
    where
        T: Copy,
    {
        let found = match &node.content {
            Content::Text(text) => text.as_str(),
            _ => "",
        };
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == found) {
            return Some(*value);
        }
        let all = words.iter().map(|(word, _)| format!("`{word}`")).collect::<Vec<_>>().join(", ");
        let near = nearest(found, words.iter().map(|(word, _)| *word)).map(|near| format!("did you mean `{near}`?"));
        let shown = if found.is_empty() { node.kind().to_owned() } else { format!("`{found}`") };
        let problem = self.error(node.span, Code::UnknownWord, format!("{what} must be one of {all}, not {shown}"));
        problem.help = near;
        problem.fix = mend::word(node.span, found, words.iter().map(|(word, _)| *word));
        None
    }

    /// A list of nodes.
    pub(crate) fn list<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        match &node.content {
            Content::List(items) => items,
            _ => {
                self.wrong_type(node, what, "a list");
                &[]
            }
        }
    }

    /// A list of texts.
    pub(crate) fn texts(&mut self, node: &Node, what: &str) -> Vec<String> {
        self.list(node, what).iter().filter_map(|item| self.text(item, what)).collect()
    }

    /// A text that may hold `{{ … }}`; its syntax is checked here.
    pub(crate) fn template(&mut self, node: &Node, what: &str) -> Option<Template> {
        let template = Template(self.text(node, what)?);
        if !template.is_plain()
            && let Err(error) = template.references()
        {
            self.template_error(node, &template.0, &error);
        }
        Some(template)
    }

    /// An expression; its syntax is checked here.
    pub(crate) fn expression(&mut self, node: &Node, what: &str) -> Option<Expression> {
        let expression = Expression(self.text(node, what)?);
        if let Err(error) = expression.references() {
            self.template_error(node, &expression.0, &error);
            if let Some(problem) = self.problems.last_mut() {
                problem.fix = mend::without_braces(self.source, node.span, &expression.0);
            }
        }
        Some(expression)
    }

    /// Keeps a problem inside a text, with the caret under the exact words.
    pub(crate) fn template_error(&mut self, node: &Node, decoded: &str, error: &TemplateError) {
        let problem = template_problem(self.source, node, decoded, error);
        self.problems.push(problem);
    }
}

/// A problem inside a text, with the caret under the exact words.
pub(crate) fn template_problem(source: &Arc<Source>, node: &Node, decoded: &str, error: &TemplateError) -> Diagnostic {
    let span = match &error.range {
        Some(range) => locate(source, node.span, decoded, range),
        None => node.span,
    };
    let mut problem = Diagnostic::error(source, span, Code::Template, error.message.clone());
    problem.help.clone_from(&error.help);
    problem
}
