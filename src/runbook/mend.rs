//! Changes to a file that are certain: nobody who wrote these words could mean anything else.
//!
//! What is not certain has a help and no fix. A duration without its unit may be seconds or minutes. A template in a script
//! cannot simply become `$NAME`: within single quotes it would not be expanded, and without quotes its words would be taken
//! apart. A secret that is not used may be needed by a step that is still to be written.

use std::str::FromStr;

use super::fields::Field;
use super::node::Node;
use crate::base::{Fix, HumanDuration, Source, Span};

/// `true` or `false` for the words that older YAML took for them, and for the words in quotes or capitals.
pub(super) fn boolean(span: Span, text: &str) -> Option<Fix> {
    let meant = match text.to_ascii_lowercase().as_str() {
        "yes" | "on" | "true" => "true",
        "no" | "off" | "false" => "false",
        _ => return None,
    };
    Some(Fix { span, text: meant.to_owned() })
}

/// The key that was meant, where two letters stand the wrong way round (`tiemout`) and the map has no such key yet.
///
/// Any other slip is left to people, even when a known key is only one letter away. Such a word may be one that means
/// something elsewhere: `args` leaves out the command that begins `argv`, `value` of an input would be its default and not the
/// `values` of an enum. The same letters in another order are never another word.
pub(super) fn key(span: Span, wrong: &str, known: &[Field], present: impl Fn(&str) -> bool) -> Option<Fix> {
    let mut meant = known.iter().filter(|field| are_swapped(wrong, field.name));
    let only = meant.next().filter(|field| !present(field.name))?;
    meant.next().is_none().then(|| Fix { span, text: only.name.to_owned() })
}

/// Is one word the other with two neighbouring letters swapped? Words of three letters have too many neighbours.
fn are_swapped(wrong: &str, right: &str) -> bool {
    let (wrong, right) = (wrong.as_bytes(), right.as_bytes());
    let differing: Vec<usize> = (0..right.len()).filter(|index| wrong.get(*index) != right.get(*index)).collect();
    match differing.as_slice() {
        [one, other] => {
            wrong.len() == right.len()
                && right.len() > 3
                && one + 1 == *other
                && wrong[*one] == right[*other]
                && wrong[*other] == right[*one]
        }
        _ => false,
    }
}

/// One of some words, where only capitals differ: `High`.
pub(super) fn word<'w>(span: Span, found: &str, mut words: impl Iterator<Item = &'w str>) -> Option<Fix> {
    words.find(|word| word.eq_ignore_ascii_case(found)).map(|word| Fix { span, text: word.to_owned() })
}

/// The units people write out, and ours.
const UNITS: [(&str, &[&str]); 5] = [
    ("d", &["d", "day", "days"]),
    ("h", &["h", "hr", "hrs", "hour", "hours"]),
    ("m", &["m", "min", "mins", "minute", "minutes"]),
    ("s", &["s", "sec", "secs", "second", "seconds"]),
    ("ms", &["ms", "millisecond", "milliseconds"]),
];

/// A duration whose units are written out: `5 minutes`. Capitals are left alone, as `M` may be a month.
pub(super) fn duration(span: Span, text: &str) -> Option<Fix> {
    let mut rest = text.trim();
    let mut written = String::new();
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|length| *length > 0)?;
        written.push_str(&rest[..digits]);
        rest = rest[digits..].trim_start();
        let letters = rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(rest.len());
        let (unit, _) = UNITS.iter().find(|(_, names)| names.contains(&&rest[..letters]))?;
        written.push_str(unit);
        rest = rest[letters..].trim_start();
    }
    HumanDuration::from_str(&written).is_ok().then_some(Fix { span, text: written })
}

/// An expression without the braces around the whole of it. Its quotes stay as they are.
pub(super) fn without_braces(source: &Source, span: Span, expression: &str) -> Option<Fix> {
    let inner = expression.trim().strip_prefix("{{")?.strip_suffix("}}")?;
    let is_plain = !inner.contains(['{', '}', '%', '#']) && !inner.trim().is_empty();
    let raw = source.text.get(span.start..span.end).filter(|_| is_plain)?;
    // In any other style the text may be folded or indented.
    let quote = raw.chars().next().filter(|first| ['"', '\''].contains(first))?;
    let (open, close) = (raw.find("{{")?, raw.rfind("}}")?);
    let kept = raw.get(open + 2..close)?.trim();
    Some(Fix { span, text: format!("{quote}{kept}{quote}") })
}

/// The same value in quotes, where a value that begins with `{{` stands without. YAML reads it as a map in a map, which
/// nothing in a runbook can be.
pub(super) fn quoted_template(text: &str, near: usize) -> Option<Fix> {
    let near = text.floor_char_boundary(near.min(text.len()));
    let start = text[..near].rfind('\n').map_or(0, |at| at + 1);
    let end = text[near..].find(['\n', '\r']).map_or(text.len(), |at| near + at);
    let line = &text[start..end];
    let at = [": {{", "- {{"].iter().filter_map(|mark| line.find(mark)).min()? + 2;
    let before = &line[..at];
    if before.contains(['"', '\'', '#', '{', '[']) {
        // Within quotes, a comment, or another map or list it is not plain where the value ends.
        return None;
    }
    let value = line[at..].split(" #").next().unwrap_or_default().trim_end();
    let is_whole = value.matches("{{").count() == value.matches("}}").count()
        && value.replace("{{", "").replace("}}", "").chars().all(|c| !['{', '}'].contains(&c));
    let quote = match (value.contains('"'), value.contains('\'')) {
        (false, _) => '"',
        (true, false) => '\'',
        (true, true) => return None,
    };
    // A backslash means something between double quotes.
    if !is_whole || value.contains('\\') {
        return None;
    }
    let span = Span::new(start + at, start + at + value.len());
    Some(Fix { span, text: format!("{quote}{value}{quote}") })
}

/// A list without one of its items, which is not the first.
pub(super) fn without_item(source: &Source, before: &Node, item: &Node) -> Option<Fix> {
    let span = Span::new(before.span.end, item.span.end);
    let taken = source.text.get(span.start..item.span.start)?;
    // Only what parts two items goes with it. A comment between them is somebody's thought.
    let is_plain = taken.chars().all(|c| c.is_whitespace() || c == ',' || c == '-');
    is_plain.then(|| Fix { span, text: String::new() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runbook::fields::{INPUT, RUNBOOK, STEP};

    fn mended(fix: Option<Fix>) -> Option<String> {
        fix.map(|fix| fix.text)
    }

    #[test]
    fn a_key_is_certain_only_when_two_letters_are_swapped() {
        let key = |wrong: &str, known: &[Field]| mended(super::key(Span::default(), wrong, known, |_| false));
        assert_eq!(key("tiemout", STEP).as_deref(), Some("timeout"));
        assert_eq!(key("titel", RUNBOOK).as_deref(), Some("title"));
        for (wrong, known) in [("args", STEP), ("need", STEP), ("urn", STEP), ("value", INPUT), ("mxi", INPUT)] {
            assert_eq!(key(wrong, known), None, "{wrong}");
        }
        assert_eq!(super::key(Span::default(), "titel", RUNBOOK, |name| name == "title"), None);
    }

    #[test]
    fn units_that_are_written_out_are_certain_and_missing_ones_are_not() {
        let duration = |text: &str| mended(super::duration(Span::default(), text));
        for (text, meant) in [("5min", "5m"), ("90 s", "90s"), ("1 hour 30 minutes", "1h30m"), ("2days", "2d")] {
            assert_eq!(duration(text).as_deref(), Some(meant));
        }
        for text in ["90", "5M", "1.5h", "soon", "30 minutes 1 hour", "m", ""] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn a_template_without_quotes_gets_them_where_its_end_is_plain() {
        let quoted = |line: &str| {
            quoted_template(line, 0)
                .map(|fix| format!("{}{}{}", &line[..fix.span.start], fix.text, &line[fix.span.end..]))
        };
        for (line, meant) in [
            ("url: {{ a }}", "url: \"{{ a }}\""),
            ("  url: {{ a }}/x # why", "  url: \"{{ a }}/x\" # why"),
            ("  - {{ a }}{{ b }}\r\n", "  - \"{{ a }}{{ b }}\"\r\n"),
            ("url: {{ a | default(\"x\") }}", "url: '{{ a | default(\"x\") }}'"),
        ] {
            assert_eq!(quoted(line).as_deref(), Some(meant));
        }
        for line in [
            "with: { url: {{ a }} }",
            "url: {{ a }",
            "a: b",
            "url: {{ \"a\" ~ 'b' }}",
            "# url: {{ a }}",
            "u: {{ a }} }",
        ] {
            assert_eq!(quoted(line), None, "{line}");
        }
    }

    #[test]
    fn braces_come_off_an_expression_and_its_quotes_stay() {
        let bare = |raw: &str, decoded: &str| {
            let source = Source::new("t", raw);
            mended(without_braces(&source, Span::new(0, raw.len()), decoded))
        };
        assert_eq!(bare("\"{{ a.b }}\"", "{{ a.b }}").as_deref(), Some("\"a.b\""));
        assert_eq!(bare("'{{ a == ''x'' }}'", "{{ a == 'x' }}").as_deref(), Some("'a == ''x'''"));
        assert_eq!(bare("\"{{ a }} and {{ b }}\"", "{{ a }} and {{ b }}"), None);
        assert_eq!(bare("\"not {{ a }}\"", "not {{ a }}"), None);
    }
}
