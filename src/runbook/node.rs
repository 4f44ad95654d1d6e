//! A YAML document as a tree in which every key and value knows its place.

mod words;

use std::sync::Arc;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::Spanned;

use crate::base::{Diagnostic, Source, Span};

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
    parse_within(source, MOST_NODES)
}

/// Reads a document that holds no more than so many values.
fn parse_within(source: &Arc<Source>, most: usize) -> Result<Node, Box<Diagnostic>> {
    let Spanned { value, referenced, .. } =
        serde_yaml::from_str_with_options::<Spanned<Content>>(&source.text, options(most))
            .map_err(|error| Box::new(words::diagnose(source, &error)))?;
    Ok(Node::new(value, span_of(&referenced)))
}

/// How many values a file may hold.
const MOST_NODES: usize = 4_000_000;
/// How many bytes of text a file may hold.
pub(super) const LARGEST: usize = 64 * 1024 * 1024;
/// How deep maps and lists may lie in each other.
const DEEPEST: usize = 64;
/// How many values may come of names for other values (`*name`).
const MOST_REPEATED: usize = 100_000;

fn options(most: usize) -> serde_yaml::Options {
    serde_yaml::options! {
        // Budgets bound what a hostile file can cost; the limits allow a hundred thousand steps.
        budget: serde_yaml::budget! {
            max_events: most.saturating_mul(2),
            max_nodes: most,
            max_total_scalar_bytes: LARGEST,
            max_depth: DEEPEST,
            flow_nesting_limit: DEEPEST,
            max_documents: 1,
            max_recorded_anchor_events: MOST_REPEATED,
        },
        alias_limits: serde_yaml::alias_limits! { max_total_replayed_events: MOST_REPEATED },
        reject_unsupported_tags: true,
        // Passed through so that every duplicate can be reported, with both places.
        duplicate_keys: serde_yaml::options::DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        with_snippet: false,
    }
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
    fn more_values_than_a_file_may_hold_are_refused_where_they_begin_to_be_too_many() {
        let refused = |text: &str| {
            let source = Source::new("t.yaml", text);
            parse_within(&source, 1000).map(drop).map_err(|problem| problem.render(false))
        };
        assert_eq!(refused(&format!("a: [{}]\n", "x, ".repeat(900))), Ok(()));
        for text in [format!("a: [{}]\n", "x, ".repeat(1100)), format!("a:\n{}", "  - x\n".repeat(1100))] {
            let said = refused(&text).unwrap_err();
            assert!(said.starts_with("error[yaml]: this file holds more than"), "{said}");
            assert!(said.contains("--> t.yaml:"), "{said}");
        }
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
