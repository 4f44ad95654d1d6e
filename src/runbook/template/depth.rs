//! How deep an expression may go. What reads it calls itself for every level, and a stack has an end.

use std::ops::Range;

use super::TemplateError;

/// How many operators, brackets and attributes may lie in each other.
const DEEPEST: usize = 200;

/// Refuses an expression that goes too deep, without reading it.
pub(super) fn check_expression(text: &str) -> Result<(), TemplateError> {
    let mut levels = Levels::default();
    let mut at = 0;
    while at < text.len() {
        at = levels.step(text, at)?;
    }
    Ok(())
}

/// Refuses a text in which an expansion goes too deep.
pub(super) fn check_template(text: &str) -> Result<(), TemplateError> {
    // Comments and statements are refused later, and until then could hide where an expansion begins: count everything.
    let is_plain = !text.contains("{%") && !text.contains("{#");
    let mut levels = Levels::default();
    let mut at = 0;
    let mut inside = false;
    while at < text.len() {
        if !is_plain {
            levels.count(text, at)?;
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        } else if !inside {
            let Some(begin) = text[at..].find("{{") else { return Ok(()) };
            at += begin + 2;
            inside = true;
            levels = Levels::default();
        } else if levels.open.len() == 1 && text[at..].starts_with("}}") {
            at += 2;
            inside = false;
        } else {
            at = levels.step(text, at)?;
        }
    }
    Ok(())
}

/// How many levels each open bracket has added so far.
struct Levels {
    open: Vec<usize>,
    total: usize,
}

impl Default for Levels {
    fn default() -> Self {
        Self { open: vec![0], total: 0 }
    }
}

impl Levels {
    /// Takes one word or sign. Returns where the next begins.
    fn step(&mut self, text: &str, at: usize) -> Result<usize, TemplateError> {
        let bytes = text.as_bytes();
        match bytes[at] {
            quote @ (b'"' | b'\'') => return Ok(after_text(bytes, at + 1, quote)),
            b'(' | b'[' | b'{' => {
                self.add(text, at, 1)?;
                self.open.push(0);
            }
            // One too many is a mistake that is told when the expression is read.
            b')' | b']' | b'}' if self.open.len() > 1 => self.total -= self.open.pop().unwrap_or(0),
            b')' | b']' | b'}' => {}
            // What follows stands beside what went before, not in it.
            b',' | b':' => {
                if let Some(last) = self.open.last_mut() {
                    self.total -= *last;
                    *last = 0;
                }
            }
            byte if byte.is_ascii_alphabetic() || byte == b'_' => {
                let end = (at..bytes.len()).find(|end| !bytes[*end].is_ascii_alphanumeric() && bytes[*end] != b'_');
                let end = end.unwrap_or(bytes.len());
                if ["not", "and", "or", "if", "else", "is", "in"].contains(&&text[at..end]) {
                    self.add(text, at, 1)?;
                }
                return Ok(end);
            }
            byte if byte.is_ascii_punctuation() => self.add(text, at, 1)?,
            _ => {}
        }
        Ok(at + text[at..].chars().next().map_or(1, char::len_utf8))
    }

    /// Counts a sign or the first letter of a word, and forgets nothing.
    fn count(&mut self, text: &str, at: usize) -> Result<(), TemplateError> {
        let byte = text.as_bytes()[at];
        let begins_word = byte.is_ascii_alphabetic() && !text[..at].ends_with(|c: char| c.is_ascii_alphanumeric());
        if byte.is_ascii_punctuation() || begins_word { self.add(text, at, 1) } else { Ok(()) }
    }

    fn add(&mut self, text: &str, at: usize, levels: usize) -> Result<(), TemplateError> {
        if let Some(last) = self.open.last_mut() {
            *last += levels;
        }
        self.total += levels;
        // A bracket's own level stays counted with the one around it.
        if self.total <= DEEPEST {
            return Ok(());
        }
        let place: Range<usize> = at..(at + text[at..].chars().next().map_or(1, char::len_utf8));
        Err(TemplateError::at(place, format!("this expression has more than {DEEPEST} parts that lie in each other"))
            .help("let a script work it out, or divide it among several steps"))
    }
}

/// Where a text in quotes is over.
fn after_text(bytes: &[u8], mut at: usize, quote: u8) -> usize {
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use crate::runbook::{Expression, Template};

    #[test]
    fn whatever_goes_on_for_ever_is_refused_before_it_is_read() {
        let many = 100_000;
        for text in [
            format!("{}1{}", "(".repeat(many), ")".repeat(many)),
            format!("1{}", " | abs".repeat(many)),
            format!("{}1", "not ".repeat(many)),
            format!("{}1", "-".repeat(many)),
            format!("a{}", ".b".repeat(many)),
            format!("a{}", "[0]".repeat(many)),
            format!("a{}", "()".repeat(many)),
            format!("1{}", " and 1".repeat(many)),
            format!("1{}", " - 1".repeat(many)),
            format!("1{}", " if 1 else 1".repeat(many)),
            format!("1{}", " is odd".repeat(many)),
            format!("{}1", "{'a': ".repeat(many)),
            format!("{}1", "[1, ".repeat(many)),
            format!("{}1", "f(1, ".repeat(many)),
            format!("1{}", " ~ 1".repeat(many)),
            format!("1{}", " in 1".repeat(many)),
        ] {
            let refused = Expression(text.clone()).references().unwrap_err();
            assert!(refused.message.contains("lie in each other"), "{}: {}", &text[..20], refused.message);
            for (before, after) in
                [("{{ ", " }}"), ("x {{ 1 }} {{ ", " }}"), ("{# {{ \" #}{{", ""), ("{% if 1 %}{{", "")]
            {
                let refused = Template(format!("{before}{text}{after}")).references().unwrap_err();
                assert!(refused.message.contains("lie in each other"), "{before}{}: {}", &text[..20], refused.message);
            }
        }
    }

    #[test]
    fn what_stands_side_by_side_may_be_long() {
        let items = (0..20_000).map(|number| format!("{{'id': -{number}, 'name': \"a-b.c\"}}")).collect::<Vec<_>>();
        assert_eq!(Expression(format!("[{}]", items.join(", "))).references(), Ok(Vec::new()));
        let text = "{{ inputs.name | default('-') }} and ".repeat(20_000);
        assert_eq!(Template(text).references().map(|names| names.len()), Ok(20_000));
        let text = format!("{{{{ inputs.name }}}} {}", "- = ( [ ".repeat(20_000));
        assert_eq!(Template(text).references().map(|names| names.len()), Ok(1));
    }
}
