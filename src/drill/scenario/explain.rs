//! Says what could not be read, where, and what was meant instead.

use std::sync::Arc;

use serde_yaml::{Error as YamlError, Spanned};

use crate::base::diagnostic::nearest;
use crate::base::{Code, Diagnostic, Source, Span};

/// A YAML error as a diagnostic, with the nearest known name for a misspelt one.
pub(super) fn explain(source: &Arc<Source>, error: &YamlError) -> Diagnostic {
    let at = error.location();
    let say = |code, message: String| match at {
        Some(at) => Diagnostic::error(source, span_at(source, at), code, message),
        None => Diagnostic::whole_file(source, code, message),
    };
    match error {
        YamlError::SerdeUnknownField { field, expected, .. } => {
            say(Code::UnknownKey, format!("unknown key `{field}`")).help(known(field, expected))
        }
        YamlError::SerdeUnknownVariant { variant, expected, .. } => {
            say(Code::UnknownWord, format!("`{variant}` means nothing here")).help(known(variant, expected))
        }
        YamlError::SerdeMissingField { field, .. } => say(Code::MissingKey, format!("the key `{field}` is missing"))
            .label("beside this one")
            .help(format!("add `{field}: …`")),
        YamlError::DuplicateMappingKey { key: Some(key), .. } => {
            say(Code::DuplicateKey, format!("`{key}` is there twice"))
        }
        other => {
            let text = other.to_string();
            let first = text.lines().next().unwrap_or_default();
            let sentence =
                first.split_once(": ").filter(|(place, _)| place.contains("line")).map_or(first, |(_, rest)| rest);
            let sentence = sentence.split(" at line ").next().unwrap_or(sentence);
            say(Code::InvalidScenario, sentence.trim_end_matches('.').to_owned())
        }
    }
}

pub(super) fn known(wrong: &str, expected: &[&str]) -> String {
    match nearest(wrong, expected.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known here: {}", expected.join(", ")),
    }
}

pub(super) fn span_of<T>(value: &Spanned<T>) -> Span {
    let span = value.referenced.span();
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let start = number(span.byte_offset().unwrap_or_else(|| span.offset()));
    Span::new(start, start.saturating_add(number(span.byte_len().unwrap_or_else(|| span.len()))))
}

/// The word at a place. The parser knows where it stopped, not always how long the word is.
fn span_at(source: &Source, at: serde_yaml::Location) -> Span {
    let line = usize::try_from(at.line()).unwrap_or(1).max(1) - 1;
    let column = usize::try_from(at.column()).unwrap_or(1).max(1) - 1;
    let line_start: usize = source.text.split_inclusive('\n').take(line).map(str::len).sum();
    let rest = source.text.get(line_start..).unwrap_or_default();
    let offset = rest.char_indices().nth(column).map_or(rest.len(), |(offset, _)| offset);
    let length = rest[offset..].find(|c: char| c.is_whitespace() || ",:{}[]".contains(c)).unwrap_or(0).max(1);
    Span::new(line_start + offset, line_start + offset + length)
}
