//! What the parser of expressions says, in words that an author can act on.

use std::ops::Range;

use super::TemplateError;

/// A mistake in the syntax.
pub(super) fn explain(error: &minijinja::Error) -> TemplateError {
    explain_in("", error)
}

/// A mistake in the syntax of this text.
pub(super) fn explain_in(text: &str, error: &minijinja::Error) -> TemplateError {
    let said = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    let range = error.range();
    let at = range.clone().unwrap_or(0..0);
    let rest = text.get(at.start..).unwrap_or_default();
    let (message, help) = words(text, &said, rest, at.start);
    let range = range.map(|range| widened(text, range, rest));
    TemplateError { range, message, help }
}

fn words(text: &str, said: &str, rest: &str, at: usize) -> (String, Option<String>) {
    let told = |message: &str, help: &str| (message.to_owned(), Some(help.to_owned()));
    if rest.starts_with('=') && !rest.starts_with("==") {
        return told("`=` compares nothing", "write `==`");
    }
    for (sign, word) in [("&&", "and"), ("||", "or"), ("!", "not"), ("===", "==")] {
        if rest.starts_with(sign) && !rest.starts_with("!=") || sign == "||" && is_second_bar(text, at) {
            return told(&format!("`{sign}` is no operator"), &format!("write `{word}`"));
        }
    }
    if rest.starts_with('?') {
        return told("`?` is no operator", "write `this if condition else that`");
    }
    if said.contains("input after expression") {
        return told(
            "the expression is over before this word",
            "join the two with `and`, `or` or `==`, or take one away",
        );
    }
    if said.contains("end of string") {
        return told("this text is never closed", "close it with the quote that began it");
    }
    if said.contains("recursion") {
        return told(
            "this expression has too many parts that lie in each other",
            "let a script work it out, or divide it among several steps",
        );
    }
    if said.contains("unexpected `}`, expected end of variable block") || said == "unexpected `}`" {
        return told("`}` stands where `}}` should", "close the expansion with `}}`");
    }
    let breaks_off = said.contains("unexpected end of variable block")
        || said.contains("unexpected end of input")
        || said.contains("unexpected end of template");
    if breaks_off {
        let is_open = text.contains("{{") && !text.contains("}}");
        return if is_open {
            told("`{{` is never closed", "close it with `}}`")
        } else {
            told("the expression breaks off here", "write what is missing, or take away the sign before")
        };
    }
    if said.contains("template data") {
        return told("`{{` is never closed", "close it with `}}`");
    }
    if said.contains("end of variable block") {
        return told(
            "the expression is over before this word",
            "join the two with `and`, `or` or `~`, or close with `}}`",
        );
    }
    if said.contains("unexpected character") {
        return told("this sign means nothing in an expression", "texts stand in quotes: `'…'`");
    }
    (said.to_owned(), Some("see which operators, filters and functions there are in `docs/language.md`".to_owned()))
}

/// The second of two bars: the first was taken for a filter's.
fn is_second_bar(text: &str, at: usize) -> bool {
    text.get(..at).is_some_and(|before| before.ends_with('|'))
        && text.get(at..).is_some_and(|rest| rest.starts_with('|'))
}

/// The whole sign that is wrong, and never nothing.
fn widened(text: &str, range: Range<usize>, rest: &str) -> Range<usize> {
    if is_second_bar(text, range.start) {
        return range.start - 1..range.start + 1;
    }
    let sign = ["===", "&&", "||"].into_iter().find(|sign| rest.starts_with(sign)).map_or(1, str::len);
    let least = range.start + sign.max(rest.chars().next().map_or(1, char::len_utf8));
    // minijinja may place a mistake in the middle of a character.
    text.floor_char_boundary(range.start)..text.ceil_char_boundary(range.end.max(least))
}
