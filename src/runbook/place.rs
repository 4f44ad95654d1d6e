//! Finds words of a decoded YAML text again in the file, so that a caret can stand under them.

use std::ops::Range;

use crate::base::{Source, Span};

/// The place in `source` of `range` of the decoded text of the scalar that stands at `span`.
pub(super) fn locate(source: &Source, span: Span, decoded: &str, range: &Range<usize>) -> Span {
    let Some(raw) = source.text.get(span.start..span.end) else { return span };
    let start = raw_offset(raw, decoded, range.start);
    let end = raw_offset(raw, decoded, range.end);
    let found = match (start, end) {
        (Some(start), Some(end)) if end > start => start..end,
        (Some(start), _) => start..(start + 1).min(raw.len()),
        _ => return span,
    };
    // Whole characters, however odd an escape was.
    Span::new(span.start + raw.floor_char_boundary(found.start), span.start + raw.ceil_char_boundary(found.end))
}

/// Walks raw and decoded text together up to `target` bytes of the decoded one. `None` when they part ways.
fn raw_offset(raw: &str, decoded: &str, target: usize) -> Option<usize> {
    let style = raw.chars().next()?;
    let mut at = match style {
        '"' | '\'' => 1,
        '|' | '>' => raw.find('\n')? + 1,
        _ => 0,
    };
    let mut done = 0;
    for wanted in decoded.chars() {
        at = skip_layout(raw, at, wanted, style);
        if done >= target {
            return Some(at);
        }
        let rest = raw.get(at..)?;
        let found = rest.chars().next()?;
        at += match (style, found) {
            ('"', '\\') => escape_length(rest),
            ('\'', '\'') => 2,
            // A folded line break stands for a space.
            (_, '\n') if wanted == ' ' => 1,
            _ if found == wanted => found.len_utf8(),
            _ => return None,
        };
        done += wanted.len_utf8();
    }
    (done >= target).then_some(at)
}

/// Skips what the decoded text does not show: indentation and folded line breaks before `wanted`.
fn skip_layout(raw: &str, mut at: usize, wanted: char, style: char) -> usize {
    // Looked up once: a line may be endless.
    let mut only_blanks = None;
    loop {
        let Some(found) = raw.get(at..).and_then(|rest| rest.chars().next()) else { return at };
        let line_start = at == 0 || raw.as_bytes()[at - 1] == b'\n';
        let folded = found == '\n' && wanted != '\n' && wanted != ' ';
        let indent =
            found == ' ' && wanted != ' ' && (line_start || *only_blanks.get_or_insert_with(|| indented(raw, at)));
        let carriage = found == '\r' && wanted != '\r';
        let continued = style == '"' && raw[at..].starts_with("\\\n");
        if continued || folded {
            only_blanks = Some(true);
        }
        if continued {
            at += 2;
        } else if folded || indent || carriage {
            at += 1;
        } else {
            return at;
        }
    }
}

/// Is everything between the start of the line and `at` blank?
fn indented(raw: &str, at: usize) -> bool {
    let start = raw[..at].rfind('\n').map_or(0, |newline| newline + 1);
    start > 0 && raw[start..at].bytes().all(|b| b == b' ')
}

fn escape_length(rest: &str) -> usize {
    match rest.as_bytes().get(1) {
        Some(b'x') => 4,
        Some(b'u') => 6,
        Some(b'U') => 10,
        _ => 1 + rest.chars().nth(1).map_or(0, char::len_utf8),
    }
    .min(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runbook::node;

    /// The words of the file that stand for `word` in the decoded value of `key`.
    fn found(yaml: &str, word: &str) -> String {
        let source = Source::new("t", yaml);
        let tree = node::parse(&source).unwrap();
        let value = tree.at(&["k"]);
        let node::Content::Text(decoded) = &value.content else { panic!("not a text") };
        let start = decoded.find(word).unwrap();
        let span = locate(&source, value.span, decoded, &(start..start + word.len()));
        source.text[span.start..span.end].to_owned()
    }

    #[test]
    fn finds_a_word_in_every_style_of_scalar() {
        for yaml in [
            "k: one two three\n",
            "k: 'it''s one two'\n",
            "k: \"tab\\t \\u00fc one two\"\n",
            "k: |\n  one\n  two\n",
            "k: |-\n    one\n      two\n",
            "k: >-\n  one\n  two\n",
            "k: one\n  two\n",
        ] {
            assert_eq!(found(yaml, "two"), "two", "{yaml}");
            assert_eq!(found(yaml, "one"), "one", "{yaml}");
        }
    }
}
