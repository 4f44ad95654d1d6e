//! A YAML document as a tree in which every key and value knows its place.

use std::sync::Arc;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::Spanned;

use crate::base::{Code, Diagnostic, Source, Span};

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it stands. For a block map or list: from its first to its last entry.
    pub span: Span,
    /// What it is.
    pub content: Content,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// `null`, `~`, or nothing at all.
    Null,
    /// `true` or `false`; YAML 1.2 knows no `yes`.
    Bool(bool),
    /// A number.
    Number(serde_json::Number),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A map, in the order of the file, duplicates included.
    Map(Vec<(Key, Node)>),
}

/// A map's key and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The key.
    pub text: String,
    /// Where it stands.
    pub span: Span,
}

impl Node {
    /// What it is, for messages.
    pub fn kind(&self) -> &'static str {
        match self.content {
            Content::Null => "nothing",
            Content::Bool(_) => "a boolean",
            Content::Number(_) => "a number",
            Content::Text(_) => "a text",
            Content::List(_) => "a list",
            Content::Map(_) => "a map",
        }
    }

    /// The entry of a map.
    pub fn entry(&self, key: &str) -> Option<(&Key, &Node)> {
        match &self.content {
            Content::Map(entries) => entries.iter().find(|(known, _)| known.text == key).map(|(key, node)| (key, node)),
            _ => None,
        }
    }

    /// The node under a key of a map, or at an index of a list.
    pub fn child(&self, name: &str) -> Option<&Self> {
        match &self.content {
            Content::Map(_) => self.entry(name).map(|(_, node)| node),
            Content::List(items) => name.parse::<usize>().ok().and_then(|index| items.get(index)),
            _ => None,
        }
    }

    /// The node at a path of keys and indices, or the deepest one on the way there.
    pub fn at(&self, path: &[&str]) -> &Self {
        let Some((first, rest)) = path.split_first() else { return self };
        self.child(first).map_or(self, |node| node.at(rest))
    }

    /// The place of the key at the end of a path, or of the deepest thing on the way there.
    pub fn key_span(&self, path: &[&str]) -> Span {
        match path.split_last() {
            Some((last, before)) => {
                let parent = self.at(before);
                parent.entry(last).map_or(parent.span, |(key, _)| key.span)
            }
            None => self.span,
        }
    }

    /// The value as JSON. Of duplicate keys the last one counts; they are reported elsewhere.
    pub fn to_json(&self) -> serde_json::Value {
        match &self.content {
            Content::Null => serde_json::Value::Null,
            Content::Bool(value) => (*value).into(),
            Content::Number(value) => serde_json::Value::Number(value.clone()),
            Content::Text(text) => text.as_str().into(),
            Content::List(items) => items.iter().map(Self::to_json).collect(),
            Content::Map(entries) => serde_json::Value::Object(
                entries.iter().map(|(key, node)| (key.text.clone(), node.to_json())).collect(),
            ),
        }
    }
}

/// Reads a document.
pub fn parse(source: &Arc<Source>) -> Result<Node, Box<Diagnostic>> {
    let Spanned { value, referenced, .. } =
        serde_yaml::from_str_with_options::<Spanned<Content>>(&source.text, options())
            .map_err(|error| Box::new(diagnose(source, &error)))?;
    Ok(Node::new(value, span_of(&referenced)))
}

fn options() -> serde_yaml::Options {
    serde_yaml::options! {
        // Budgets bound what a hostile file can cost; the limits allow a hundred thousand steps.
        budget: serde_yaml::budget! {
            max_events: 20_000_000,
            max_nodes: 10_000_000,
            max_total_scalar_bytes: 64 * 1024 * 1024,
            max_depth: 64,
            max_documents: 1,
        },
        // Passed through so that every duplicate can be reported, with both places.
        duplicate_keys: serde_yaml::options::DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        with_snippet: false,
    }
}

fn diagnose(source: &Arc<Source>, error: &serde_yaml::Error) -> Diagnostic {
    let error = error.without_snippet();
    let mut message = error.render_with_options(serde_yaml::RenderOptions::default());
    let span = error.location().map(|location| {
        let span = span_of(&location);
        if span.end > 0 || location.line() <= 1 {
            span
        } else {
            at_line(&source.text, location.line(), location.column())
        }
    });
    // The place is shown by the caret; the words need not repeat it.
    if let Some(cut) = message.rfind(" at line ") {
        message.truncate(cut);
    }
    if let Some(rest) = message.strip_prefix("error: ") {
        message = rest.to_owned();
    }
    let message = format!("not valid YAML: {message}");
    let unquoted = span.is_some_and(|span| {
        let line = line_around(&source.text, span.start);
        line.contains(": {{") || line.contains("- {{")
    });
    let diagnostic = match span {
        Some(span) => Diagnostic::error(source, span, Code::Yaml, message),
        None => Diagnostic::whole_file(source, Code::Yaml, message),
    };
    if unquoted { diagnostic.help("a value that begins with `{{` needs quotes: `\"{{ … }}\"`") } else { diagnostic }
}

fn line_around(text: &str, offset: usize) -> &str {
    let offset = text.floor_char_boundary(offset.min(text.len()));
    let start = text[..offset].rfind('\n').map_or(0, |at| at + 1);
    let end = text[offset..].find('\n').map_or(text.len(), |at| offset + at);
    &text[start..end]
}

fn at_line(text: &str, line: u64, column: u64) -> Span {
    let index = |number: u64| usize::try_from(number.saturating_sub(1)).unwrap_or(0);
    let start: usize = text.split_inclusive('\n').take(index(line)).map(str::len).sum();
    let within: usize = text[start..].chars().take(index(column)).map(char::len_utf8).sum();
    let end = start + within;
    Span::new(end, text.ceil_char_boundary((end + 1).min(text.len())))
}

fn span_of(location: &serde_yaml::Location) -> Span {
    let span = location.span();
    let (offset, length) = (span.byte_offset(), span.byte_len());
    let index = |number: Option<u64>| number.and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
    let start = index(offset);
    Span::new(start, start + index(length))
}

impl Node {
    fn new(content: Content, span: Span) -> Self {
        // The parser gives block collections no extent: take it from what they hold.
        let span = match &content {
            Content::Map(entries) => match (entries.first(), entries.last()) {
                (Some((first, _)), Some((key, value))) => {
                    first.span.to(if value.span.end > key.span.end { value.span } else { key.span })
                }
                _ => span,
            },
            Content::List(items) => match (items.first(), items.last()) {
                (Some(first), Some(last)) => first.span.to(last.span),
                _ => span,
            },
            _ => span,
        };
        Self { span, content }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, .. } = Spanned::<Content>::deserialize(deserializer)?;
        Ok(Self::new(value, span_of(&referenced)))
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a YAML value")
    }
    fn visit_unit<E: de::Error>(self) -> Result<Content, E> {
        Ok(Content::Null)
    }
    fn visit_none<E: de::Error>(self) -> Result<Content, E> {
        Ok(Content::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Content, D::Error> {
        deserializer.deserialize_any(self)
    }
    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Bool(value))
    }
    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Content, E> {
        Ok(Content::Number(value.into()))
    }
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Content, E> {
        Ok(Content::Number(value.into()))
    }
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Content, E> {
        serde_json::Number::from_f64(value).map(Content::Number).ok_or_else(|| E::custom("not a finite number"))
    }
    fn visit_str<E: de::Error>(self, value: &str) -> Result<Content, E> {
        Ok(Content::Text(value.to_owned()))
    }
    fn visit_string<E: de::Error>(self, value: String) -> Result<Content, E> {
        Ok(Content::Text(value))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Content, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Content::List(list))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Content, A::Error> {
        let mut map = Vec::new();
        while let Some(Spanned { value: text, referenced, .. }) = entries.next_key::<Spanned<String>>()? {
            let key = Key { text, span: span_of(&referenced) };
            map.push((key, entries.next_value()?));
        }
        Ok(Content::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (Arc<Source>, Node) {
        let source = Source::new("t.yaml", text);
        let node = parse(&source).unwrap_or_else(|d| panic!("{}", d.render(false)));
        (source, node)
    }

    fn words<'s>(source: &'s Source, node: &Node) -> &'s str {
        &source.text[node.span.start..node.span.end]
    }

    #[test]
    fn every_word_knows_its_place() {
        let (source, node) = parsed("a: ü\nb:\n  - one\n  - 'two'\nc: {x: 1}\nd: no\n");
        assert_eq!(words(&source, node.at(&["a"])), "ü");
        assert_eq!(words(&source, node.at(&["b", "1"])), "'two'");
        assert_eq!(words(&source, node.at(&["c", "x"])), "1");
        assert_eq!(&source.text[node.key_span(&["c", "x"]).start..][..1], "x");
        assert_eq!(node.at(&["d"]).content, Content::Text("no".into()));
    }

    #[test]
    fn duplicate_keys_are_kept_so_that_they_can_be_shown() {
        let (_, node) = parsed("a: 1\na: 2\n");
        assert!(matches!(&node.content, Content::Map(entries) if entries.len() == 2));
    }

    #[test]
    fn an_unquoted_template_gets_its_own_advice() {
        let source = Source::new("t.yaml", "a: 1\nurl: {{ inputs.x }}\n");
        let shown = parse(&source).map(drop).unwrap_err().render(false);
        assert!(shown.contains("needs quotes"), "{shown}");
        assert!(shown.contains("t.yaml:2:"), "{shown}");
    }
}
