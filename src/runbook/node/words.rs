//! What the YAML parser says, in words that an author can act on.

use std::sync::Arc;

use serde_yaml::budget::BudgetBreach;

use super::{DEEPEST, LARGEST, MOST_NODES, MOST_REPEATED, span_of};
use crate::base::{Code, Diagnostic, Source, Span};

/// A mistake in the YAML itself: what is wrong, where, and what to write.
pub(super) fn diagnose(source: &Arc<Source>, error: &serde_yaml::Error) -> Diagnostic {
    let error = error.without_snippet();
    let span = error.location().map(|location| {
        let span = span_of(&location);
        if span.end > 0 || location.line() <= 1 {
            span
        } else {
            at_line(&source.text, location.line(), location.column())
        }
    });
    let rest = span.map_or("", |span| source.text.get(span.start..).unwrap_or_default());
    let line = span.map_or("", |span| line_around(&source.text, span.start));
    if let Some(problem) = unquoted_template(source, span, line) {
        return problem;
    }
    let Words { message, help } = limit(error)
        .or_else(|| known(&plain(error), rest, line))
        .unwrap_or_else(|| Words { message: format!("not valid YAML: {}", plain(error)), help: None });
    // The parser names the beginning of what the tab is in.
    let tab = span.filter(|_| is_tab(&plain(error))).and_then(|span| indenting_tab(&source.text, span.start));
    let mut problem = match tab.or(span) {
        Some(span) => Diagnostic::error(source, shown(&source.text, span), Code::Yaml, message),
        None => Diagnostic::whole_file(source, Code::Yaml, message),
    };
    problem.help = help;
    problem
}

/// A message and a way out.
struct Words {
    message: String,
    help: Option<String>,
}

impl Words {
    fn new(message: impl Into<String>, help: impl Into<String>) -> Option<Self> {
        Some(Self { message: message.into(), help: Some(help.into()) })
    }
}

/// What is too much of something.
fn limit(error: &serde_yaml::Error) -> Option<Words> {
    match error {
        serde_yaml::Error::Budget { breach, .. } => match breach {
            BudgetBreach::Depth { .. } => deep(),
            BudgetBreach::Documents { .. } => several(),
            BudgetBreach::ScalarBytes { .. } => Words::new(
                format!("this file holds more than {} MiB of text", LARGEST >> 20),
                "keep data in files of their own, and let a step read them",
            ),
            BudgetBreach::Nodes { .. } | BudgetBreach::Events { .. } => Words::new(
                format!("this file holds more than {MOST_NODES} values"),
                "keep data in files of their own, and let a step read them",
            ),
            _ => repeated(),
        },
        serde_yaml::Error::AliasReplayLimitExceeded { .. }
        | serde_yaml::Error::AliasExpansionLimitExceeded { .. }
        | serde_yaml::Error::AliasReplayStackDepthExceeded { .. } => repeated(),
        serde_yaml::Error::MultipleDocuments { .. } => several(),
        _ => None,
    }
}

fn repeated() -> Option<Words> {
    Words::new(
        format!("names for other values (`*name`) make more than {MOST_REPEATED} values of this file"),
        "write the values out; a runbook needs no such trick",
    )
}

fn deep() -> Option<Words> {
    Words::new(
        format!("maps and lists lie deeper in each other than {DEEPEST}"),
        "a runbook needs no more than a dozen",
    )
}

fn several() -> Option<Words> {
    Words::new("a second document begins here", "a file holds one runbook: put the other into a file of its own")
}

fn is_tab(said: &str) -> bool {
    ["tabs disallowed", "tab character", "found a tab"].iter().any(|words| said.contains(words))
}

/// The first tab that indents a line, from here on.
fn indenting_tab(text: &str, from: usize) -> Option<Span> {
    let mut start = text.get(..from)?.rfind('\n').map_or(0, |at| at + 1);
    for line in text[start..].split_inclusive('\n') {
        let indent = line.len() - line.trim_start_matches([' ', '\t']).len();
        if let Some(at) = line[..indent].find('\t') {
            return Some(Span::new(start + at, start + at + 1));
        }
        start += line.len();
    }
    None
}

/// The parser's commonest complaints.
fn known(said: &str, rest: &str, line: &str) -> Option<Words> {
    let quotes = |sign: char| {
        Words::new(
            format!("a text cannot begin with `{sign}` here"),
            format!("put it into quotes: `{}`", quoted(rest.lines().next().unwrap_or_default())),
        )
    };
    let begins = rest.chars().next();
    if said.contains("RecordedAnchor") || said.contains("AliasAnchorRatio") || said.contains("alias replay") {
        return repeated();
    }
    if said.contains("recursion limit") {
        return deep();
    }
    if said.contains("mapping values are not allowed") {
        return match after_first_colon(line) {
            Some(value) if value.contains(": ") => Words::new(
                "a text with `: ` in it reads as a map",
                format!("put the text into quotes: `{}`", quoted(value)),
            ),
            _ => Words::new(
                "a map begins where none can stand",
                "look at the line before: its value is not finished, or this line is indented too far",
            ),
        };
    }
    if is_tab(said) {
        return Words::new("a tab cannot indent a line", "indent with blanks: two for each level");
    }
    if said.contains("unclosed quote") || said.contains("unexpected end of stream") && said.contains("quoted") {
        return Words::new("this quote is never closed", "close it at the end of its text");
    }
    if let Some((open, close)) = mismatched(said) {
        return Words::new(
            format!("`{open}` is closed by `{close}`"),
            format!("close it with `{}`", if open == '[' { ']' } else { '}' }),
        );
    }
    if said.contains("unclosed bracket") {
        let open = begins.filter(|sign| ['[', '{'].contains(sign)).unwrap_or('[');
        let close = if open == '[' { ']' } else { '}' };
        return Words::new(format!("this `{open}` is never closed"), format!("close it with `{close}`"));
    }
    if said.contains("did not find expected key") || said.contains("did not find expected '-'") {
        return Words::new(
            "this line fits no level of the lines above it",
            "indent it as far as the entries it belongs to, all of them by blanks",
        );
    }
    if said.contains("unknown anchor") {
        return Words::new(
            "`*` begins a name for another value, and nothing has that name",
            format!(
                "a text that begins with `*` stands in quotes: `{}`",
                quoted(rest.lines().next().unwrap_or_default())
            ),
        );
    }
    if said.contains("unknown escape") || said.contains("escape") && begins == Some('"') {
        return Words::new(
            "a backslash in this text begins no escape that YAML knows",
            "double the backslash, or use single quotes, in which it means itself",
        );
    }
    if said.contains("unexpected character") {
        return match begins {
            Some(sign @ ('@' | '`' | '%')) => quotes(sign),
            Some(sign) if sign.is_control() => {
                Words::new("a control character stands here", "take it out; YAML is plain text")
            }
            _ => None,
        };
    }
    if said.contains("expected string scalar") || said.contains("null into string") {
        return Words::new("a key must be a text", "write `name: value`, the name in quotes if need be");
    }
    if said.contains("non-finite") {
        return Words::new("a number must have an end", "write the number, or put the text into quotes");
    }
    if said.contains("tag") {
        return Words::new(
            "a tag (`!…`) means nothing in a runbook",
            "take it away; a text that begins with `!` stands in quotes",
        );
    }
    None
}

/// `{{ … }}` without quotes reads as a map within a map.
fn unquoted_template(source: &Arc<Source>, span: Option<Span>, line: &str) -> Option<Diagnostic> {
    let span = span?;
    let at = [": {{", "- {{", "[{{", ", {{", "[ {{"]
        .iter()
        .filter_map(|begin| Some(line.find(begin)? + begin.len() - 2))
        .min()?;
    let line_start = source.text[..span.start.min(source.text.len())].rfind('\n').map_or(0, |newline| newline + 1);
    let value = &line[at..];
    // In a flow list or map the value ends with its braces; on a line of its own it is all that follows.
    let in_flow = line[..at].contains(['{', '[']);
    let before_comment = value.split(" #").next().unwrap_or(value).trim_end().len();
    let end = if in_flow { value.find("}}").map_or(value.len(), |end| end + 2) } else { before_comment };
    let whole = Span::new(line_start + at, line_start + at + end);
    let value = &value[..end];
    let problem =
        Diagnostic::error(source, whole, Code::Yaml, "a value that begins with `{{` needs quotes, or YAML reads a map")
            .help(format!("write `{}`", quoted(value)));
    Some(problem)
}

/// The text in quotes that need no escapes.
fn quoted(text: &str) -> String {
    let text = text.trim();
    if text.contains(['"', '\\']) { format!("'{}'", text.replace('\'', "''")) } else { format!("\"{text}\"") }
}

fn after_first_colon(line: &str) -> Option<&str> {
    let value = line.split_once(": ")?.1.trim();
    (!value.is_empty() && !value.starts_with(['"', '\'', '{', '['])).then_some(value)
}

fn mismatched(said: &str) -> Option<(char, char)> {
    let mut signs = said.split_once("mismatched bracket")?.1.chars().filter(|c| "[]{}".contains(*c));
    Some((signs.next()?, signs.next()?))
}

/// The parser's own words, without the place, which the caret shows.
fn plain(error: &serde_yaml::Error) -> String {
    let mut message = error.render_with_options(serde_yaml::RenderOptions::default());
    if let Some(cut) = message.find(" at line ") {
        message.truncate(cut);
    }
    message.strip_prefix("error: ").map_or(message.clone(), str::to_owned)
}

/// A place is at least one character wide and does not go beyond its line.
fn shown(text: &str, span: Span) -> Span {
    let start = text.floor_char_boundary(span.start.min(text.len()));
    let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
    let least = text.ceil_char_boundary((start + 1).min(text.len()));
    Span::new(start, span.end.min(line_end).max(least))
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
