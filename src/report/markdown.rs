//! Reports: minijinja templates over a [`Summary`]. Values are escaped for the format that the template's name says.

use std::borrow::Cow;
use std::sync::LazyLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, ValueKind};
use minijinja::{AutoEscape, Environment, ErrorKind, Output, State, UndefinedBehavior, Value};

use super::public::{self, PublicView};
use super::summary::Summary;
use super::words;
use crate::base::{HumanDuration, Timestamp};

/// The name of the built-in template.
pub const POST_INCIDENT: &str = "post-incident.md.j2";

/// The name of the built-in template for the public.
pub const PUBLIC_STATEMENT: &str = "public-statement.md.j2";

/// The built-in templates, by name.
pub const BUILT_IN: [(&str, &str); 2] = [
    (POST_INCIDENT, include_str!("../../runbooks/templates/post-incident.md.j2")),
    (PUBLIC_STATEMENT, include_str!("../../runbooks/templates/public-statement.md.j2")),
];

/// How much work a report may do, in minijinja's own units: enough for a run of thousands of steps, not for a bomb.
const FUEL: u64 = 50_000_000;

const MARKDOWN: AutoEscape = AutoEscape::Custom(Cow::Borrowed("markdown"));

/// Why a report cannot be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{template}{}: {message}", .line.map(|line| format!(":{line}")).unwrap_or_default())]
pub struct ReportError {
    /// The template's name.
    pub template: String,
    /// The line of it, from 1, when known.
    pub line: Option<usize>,
    /// What is wrong.
    pub message: String,
}

/// The text of a built-in template.
pub fn built_in(name: &str) -> Option<&'static str> {
    BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// Can this text be read as a template?
pub(super) fn check(name: &str, template: &str) -> Result<(), ReportError> {
    ENVIRONMENT.template_from_named_str(name, template).map(drop).map_err(|error| ReportError {
        template: name.to_owned(),
        line: error.line(),
        message: reason(&error),
    })
}

/// Renders a report. The `name` of the template says how values are escaped: `.md`, `.html` and `.json`, with or without
/// `.j2` after it; anything else takes them as they are. One whose file is called `public-…` sees only a [`PublicView`].
pub fn render(summary: &Summary, name: &str, template: &str) -> Result<String, ReportError> {
    let facts = match public::is_public(name) {
        true => Value::from(Serde(PublicView::of(summary))),
        false => Value::from(Serde(summary)),
    };
    let text = ENVIRONMENT
        .template_from_named_str(name, template)
        .and_then(|template| template.render(facts))
        .map_err(|error| ReportError { template: name.to_owned(), line: error.line(), message: reason(&error) })?;
    Ok(if escaping(name) == MARKDOWN { tidy(&text) } else { text })
}

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_debug(true);
    // A line with nothing but `{% … %}` leaves no empty line behind.
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).keep_trailing_newline(true).build();
    environment.set_syntax(syntax.expect("the usual braces are no conflict"));
    environment.set_auto_escape_callback(escaping);
    environment.set_formatter(write_value);
    environment.add_filter("date", |at: Value| moment(&at, "%Y-%m-%d"));
    environment.add_filter("time", |at: Value| moment(&at, "%H:%M"));
    environment.add_filter("duration", |length: Value| duration(&length));
    environment.add_filter("person", |by: String| words::person(&by).to_owned());
    environment.add_filter("words", |word: String| word.replace('_', " "));
    environment.add_filter("value", |value: Value| plain(&value));
    environment.add_filter("code", |value: Value| plain(&value).map(|text| Value::from_safe_string(code(&text))));
    environment
});

fn escaping(name: &str) -> AutoEscape {
    let name = name.strip_suffix(".j2").or_else(|| name.strip_suffix(".jinja")).unwrap_or(name);
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("md" | "markdown") => MARKDOWN,
        Some("html" | "htm" | "xml") => AutoEscape::Html,
        Some("json") => AutoEscape::Json,
        _ => AutoEscape::None,
    }
}

fn reason(error: &minijinja::Error) -> String {
    match (error.kind(), error.detail()) {
        (ErrorKind::UndefinedError, None) => "a name in it has no value".to_owned(),
        (ErrorKind::OutOfFuel, _) => "it does too much work; the limit is there to end endless loops".to_owned(),
        (_, Some(detail)) => detail.to_owned(),
        (kind, None) => kind.to_string(),
    }
}

/// Writes a value where a template says `{{ … }}`. What is not known (`none`) prints as nothing.
fn write_value(out: &mut Output<'_>, state: &mut State<'_, '_>, value: &Value) -> Result<(), minijinja::Error> {
    match state.auto_escape() {
        AutoEscape::Html | AutoEscape::Json if !value.is_none() || *state.auto_escape() == AutoEscape::Json => {
            minijinja::escape_formatter(out, state, value)
        }
        AutoEscape::Custom(_) if !value.is_safe() => {
            out.write_str(&escape(&plain(value)?)).map_err(minijinja::Error::from)
        }
        _ => out.write_str(&plain(value)?).map_err(minijinja::Error::from),
    }
}

/// A value as text: nothing for `none`, `true` for what Python calls `True`, JSON for lists and maps.
fn plain(value: &Value) -> Result<String, minijinja::Error> {
    match value.kind() {
        ValueKind::Undefined => Err(minijinja::Error::from(ErrorKind::UndefinedError)),
        ValueKind::None => Ok(String::new()),
        ValueKind::Seq | ValueKind::Map | ValueKind::Iterable => serde_json::to_string(value)
            .map_err(|error| minijinja::Error::new(ErrorKind::BadSerialization, error.to_string())),
        ValueKind::Bool => Ok(value.is_true().to_string()),
        _ => Ok(value.to_string()),
    }
}

fn moment(at: &Value, format: &str) -> Result<String, minijinja::Error> {
    if at.is_none() {
        return Ok(String::new());
    }
    let text = plain(at)?;
    let at: Timestamp = text.parse().map_err(|_| {
        minijinja::Error::new(ErrorKind::InvalidOperation, format!("`{text}` is not a moment such as `started`"))
    })?;
    Ok(at.strftime(format).to_string())
}

/// A length of time to the second.
fn duration(length: &Value) -> Result<String, minijinja::Error> {
    if length.is_none() {
        return Ok(String::new());
    }
    let text = plain(length)?;
    text.parse::<HumanDuration>()
        .map(HumanDuration::rounded)
        .map_err(|error| minijinja::Error::new(ErrorKind::InvalidOperation, error.to_string()))
}

/// The text as Markdown that shows it, on one line, wherever it stands: in a paragraph, a list, a cell of a table.
/// Pairs of single ticks stay code, because our own messages use them and nothing is obeyed inside them.
pub(super) fn escape(text: &str) -> String {
    let text = words::one_line(text);
    let mut out = String::with_capacity(text.len() + 8);
    let mut rest = text.as_str();
    while let Some(start) = rest.find('`') {
        escape_into(&mut out, &rest[..start]);
        let run = rest[start..].bytes().take_while(|byte| *byte == b'`').count();
        let inside = &rest[start + run..];
        match inside.find('`') {
            Some(end) if run == 1 && end > 0 && !inside[end..].starts_with("``") && !inside[..end].contains('|') => {
                out.push_str(&rest[start..=start + 1 + end]);
                rest = &inside[end + 1..];
            }
            _ => {
                (0..run).for_each(|_| out.push_str("\\`"));
                rest = inside;
            }
        }
    }
    escape_into(&mut out, rest);
    at_line_start(out)
}

/// Escapes what means something anywhere in a line.
fn escape_into(out: &mut String, text: &str) {
    let mut before = ' ';
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let next = chars.peek().copied().unwrap_or(' ');
        match c {
            // Entities rather than `\<`: they hold in places that know HTML but no Markdown.
            '<' => out.push_str("&lt;"),
            '&' if next.is_ascii_alphabetic() || next == '#' => out.push_str("&amp;"),
            // Inside a word it emphasizes nothing, and `open_bypass` reads better so.
            '_' if before.is_alphanumeric() && next.is_alphanumeric() => out.push('_'),
            '\\' | '*' | '_' | '[' | ']' | '|' | '~' => out.extend(['\\', c]),
            _ => out.push(c),
        }
        before = c;
    }
}

/// Escapes what means something only where a line begins: headings, quotes, lists.
fn at_line_start(text: String) -> String {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let at = match text.as_bytes().get(digits) {
        Some(b'#' | b'>' | b'-' | b'+' | b'=') if digits == 0 => 0,
        Some(b'.' | b')') if digits > 0 && text.as_bytes().get(digits + 1).is_none_or(|byte| *byte == b' ') => digits,
        _ => return text,
    };
    format!("{}\\{}", &text[..at], &text[at..])
}

/// The text as a span of code. A bar would end the cell of a table even there, so such a text is escaped instead.
fn code(text: &str) -> String {
    let text = words::one_line(text);
    if text.is_empty() || text.contains('|') {
        return escape(&text);
    }
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let space = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{space}{text}{space}{fence}")
}

/// No blanks at the ends of lines, no two empty lines in a row, one line break at the end.
fn tidy(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut empty = true;
    for line in text.lines().map(str::trim_end) {
        if !(empty && line.is_empty()) {
            out.push_str(line);
            out.push('\n');
        }
        empty = line.is_empty();
    }
    let end = out.trim_end().len();
    out.truncate(end);
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_cannot_leave_their_place() {
        for (value, expected) in [
            ("a | b\n| c |", "a \\| b \\| c \\|"),
            ("<script>alert(1)</script>", "&lt;script>alert(1)&lt;/script>"),
            ("step `triage` failed", "step `triage` failed"),
            ("`<b>` and ` alone", "`<b>` and \\` alone"),
            ("`a|b`", "\\`a\\|b\\`"),
            ("``` fence", "\\`\\`\\` fence"),
            ("*bold* _it_ open_bypass ~~no~~", "\\*bold\\* \\_it\\_ open_bypass \\~\\~no\\~\\~"),
            ("[click](http://evil)", "\\[click\\](http://evil)"),
            ("# heading", "\\# heading"),
            ("- item", "\\- item"),
            ("1. item", "1\\. item"),
            ("1.5s", "1.5s"),
            ("&lt; & co", "&amp;lt; & co"),
            ("a\\", "a\\\\"),
        ] {
            assert_eq!(escape(value), expected);
        }
    }

    #[test]
    fn code_has_a_fence_longer_than_any_in_it() {
        assert_eq!(code("open_bypass"), "`open_bypass`");
        assert_eq!(code("a `b` c"), "``a `b` c``");
        assert_eq!(code("`a"), "`` `a ``");
        assert_eq!(code("a|b"), "a\\|b");
    }

    #[test]
    fn a_report_is_tidy() {
        assert_eq!(tidy("\n\na  \n\n\n\nb\n\n"), "a\n\nb\n");
    }

    #[test]
    fn the_name_says_how_values_are_escaped() {
        assert_eq!(escaping("post-incident.md.j2"), MARKDOWN);
        assert_eq!(escaping("page.html"), AutoEscape::Html);
        assert_eq!(escaping("run.json.j2"), AutoEscape::Json);
        assert_eq!(escaping("mail.txt.j2"), AutoEscape::None);
    }
}
