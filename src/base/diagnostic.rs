//! Diagnostics: what is wrong, where exactly, and one way out. Printed in the manner of rustc.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};
use serde::Serialize;

use super::Code;

/// A file that diagnostics point into.
#[derive(Debug)]
pub struct Source {
    /// The name to print: a path as it was given, or `-` for standard input.
    pub name: String,
    /// The whole text.
    pub text: String,
    /// Where each line begins. Found when first asked for: most files have nothing to complain about.
    lines: OnceLock<Vec<usize>>,
}

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.text == other.text
    }
}

impl Eq for Source {}

impl Source {
    /// A source to share between diagnostics.
    pub fn new(name: impl Into<String>, text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { name: name.into(), text: text.into(), lines: OnceLock::new() })
    }

    /// Line and column of a byte offset, both from 1, the column in characters.
    pub fn place(&self, offset: usize) -> (usize, usize) {
        let offset = floor_boundary(&self.text, offset);
        let lines = self
            .lines
            .get_or_init(|| std::iter::once(0).chain(self.text.match_indices('\n').map(|(at, _)| at + 1)).collect());
        let line = lines.partition_point(|start| *start <= offset).max(1);
        (line, self.text[lines[line - 1]..offset].chars().count() + 1)
    }
}

fn floor_boundary(text: &str, offset: usize) -> usize {
    text.floor_char_boundary(offset.min(text.len()))
}

/// A range of bytes in a [`Source`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash, Serialize)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

impl Span {
    /// The span of these bytes.
    pub fn new(start: usize, end: usize) -> Self {
        Self { start, end: end.max(start) }
    }

    /// From the start of `self` to the end of `other`.
    #[must_use]
    pub fn to(self, other: Self) -> Self {
        Self::new(self.start, other.end)
    }
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Self {
        Self::new(range.start, range.end)
    }
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing runs until it is mended.
    Error,
    /// It runs, and probably does not do what was meant.
    Warning,
}

/// One finding, with its place and a way out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Which kind of finding.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// One lower-case sentence with names in backticks and no full stop.
    pub message: String,
    /// The file it is in.
    pub source: Arc<Source>,
    /// The words it is about; `None` when it is about the file as a whole.
    pub span: Option<Span>,
    /// What to say under the caret; may be empty.
    pub label: String,
    /// Another place that matters ("first defined here").
    pub related: Vec<(Span, String)>,
    /// Places that matter in other files ("declared here", in the runbook that is called).
    pub elsewhere: Vec<Elsewhere>,
    /// A way out.
    pub help: Option<String>,
    /// The way out as a change to the file, where there is only one and it is certain.
    pub fix: Option<Fix>,
}

/// A place in another file than the one that a finding is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elsewhere {
    /// The other file.
    pub source: Arc<Source>,
    /// The words in it.
    pub span: Span,
    /// What they have to do with it.
    pub label: String,
}

/// A change to a file: other words in place of some.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fix {
    /// The words to replace; nothing of them where something is missing.
    pub span: Span,
    /// What to write there.
    pub text: String,
}

impl Diagnostic {
    /// An error at a place.
    pub fn error(source: &Arc<Source>, span: Span, code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: Severity::Error,
            message: message.into(),
            source: Arc::clone(source),
            span: Some(span),
            label: String::new(),
            related: Vec::new(),
            elsewhere: Vec::new(),
            help: None,
            fix: None,
        }
    }

    /// A warning at a place.
    pub fn warning(source: &Arc<Source>, span: Span, code: Code, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(source, span, code, message) }
    }

    /// An error about a file as a whole.
    pub fn whole_file(source: &Arc<Source>, code: Code, message: impl Into<String>) -> Self {
        Self { span: None, ..Self::error(source, Span::default(), code, message) }
    }

    /// Says something under the caret.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Points at a second place.
    #[must_use]
    pub fn related(mut self, span: Span, label: impl Into<String>) -> Self {
        self.related.push((span, label.into()));
        self
    }

    /// Points at a place in another file.
    #[must_use]
    pub fn elsewhere(mut self, source: &Arc<Source>, span: Span, label: impl Into<String>) -> Self {
        self.elsewhere.push(Elsewhere { source: Arc::clone(source), span, label: label.into() });
        self
    }

    /// Shows a way out.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Says how to mend it, where nobody could mean anything else.
    #[must_use]
    pub fn fix(mut self, span: Span, text: impl Into<String>) -> Self {
        self.fix = Some(Fix { span, text: text.into() });
        self
    }

    /// Line and column of the words it is about.
    pub fn place(&self) -> Option<(usize, usize)> {
        self.span.map(|span| self.source.place(span.start))
    }

    /// The finding as data, for `--format json`.
    pub fn to_json(&self) -> serde_json::Value {
        let place = self.place();
        let end = self.span.map(|span| self.source.place(span.end));
        serde_json::json!({
            "code": self.code,
            "severity": self.severity,
            "message": self.message,
            "file": self.source.name,
            "line": place.map(|(line, _)| line),
            "column": place.map(|(_, column)| column),
            "end_line": end.map(|(line, _)| line),
            "end_column": end.map(|(_, column)| column),
            "label": Some(&self.label).filter(|label| !label.is_empty()),
            "related": self.related.iter().map(|(span, label)| {
                let (line, column) = self.source.place(span.start);
                serde_json::json!({ "file": self.source.name, "line": line, "column": column, "label": label })
            }).chain(self.elsewhere.iter().map(|place| {
                let (line, column) = place.source.place(place.span.start);
                serde_json::json!({ "file": place.source.name, "line": line, "column": column, "label": place.label })
            })).collect::<Vec<_>>(),
            "help": self.help,
            "fix": self.fix.as_ref().map(|fix| {
                let ((line, column), (end_line, end_column)) = (self.source.place(fix.span.start), self.source.place(fix.span.end));
                serde_json::json!({ "line": line, "column": column, "end_line": end_line, "end_column": end_column, "text": fix.text })
            }),
        })
    }

    /// The finding as people read it. `styled` adds terminal colours.
    pub fn render(&self, styled: bool) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let title = level.primary_title(self.message.as_str()).id(self.code.as_str());
        // The title and the file are cleaned by the crate. The rest may hold an author's words too, and those could be
        // commands to the terminal.
        let safe = |text: &str| annotate_snippets::normalize_untrusted_str(text);
        let excerpts: Vec<Excerpt> = match self.span {
            None => Vec::new(),
            Some(span) => {
                let own = self.related.iter().map(|(span, label)| (*span, label.as_str()));
                let others = self.elsewhere.iter().map(|place| Excerpt::new(&place.source, [(place.span, "")], false));
                std::iter::once(Excerpt::new(
                    &self.source,
                    std::iter::once((span, self.label.as_str())).chain(own),
                    true,
                ))
                .chain(others)
                .collect()
            }
        };
        let mut group = Group::with_title(title);
        if excerpts.is_empty() {
            group = group.element(Origin::path(self.source.name.as_str()));
        }
        let labels = std::iter::once(None).chain(self.elsewhere.iter().map(|place| Some(place.label.as_str())));
        for (excerpt, label) in excerpts.iter().zip(labels) {
            if let Some((line, column)) = excerpt.cut {
                group = group.element(Origin::path(excerpt.name).line(line).char_column(column));
            }
            group = group.element(excerpt.snippet(label));
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(safe(help)));
        }
        let renderer = if styled { Renderer::styled() } else { Renderer::plain() };
        let width = if excerpts.iter().any(|excerpt| excerpt.text.lines().any(|line| line.len() > READABLE)) {
            NARROW
        } else {
            4096
        };
        let shown = renderer.decor_style(DecorStyle::Ascii).term_width(width).render(&[group]);
        // The crate knows only half of the control characters; terminals obey the other half as well.
        shown.replace(|c| ('\u{80}'..='\u{9f}').contains(&c), "\u{FFFD}")
    }
}

/// A line longer than this is shown only around its caret.
const READABLE: usize = 400;
/// How much of a long line is shown.
const NARROW: usize = 140;
/// How much of a file is looked at for one finding.
const LONGEST: usize = 64 * 1024;

/// The part of a file that a finding shows, with its line ends as printers expect them.
struct Excerpt<'d> {
    name: &'d str,
    text: String,
    line_start: usize,
    /// The place, where a line is too long to be shown from its beginning.
    cut: Option<(usize, usize)>,
    marks: Vec<(Range<usize>, &'d str)>,
    is_primary: bool,
}

impl<'d> Excerpt<'d> {
    /// The whole lines around some places: a huge file is not searched for one caret.
    fn new(source: &'d Source, marks: impl IntoIterator<Item = (Span, &'d str)>, is_primary: bool) -> Self {
        let text = &source.text;
        let marks: Vec<(Span, &str)> = marks.into_iter().collect();
        let primary = marks.first().map_or(0, |(span, _)| span.start);
        let first = marks.iter().map(|(span, _)| span.start).min().unwrap_or(0);
        let last = marks.iter().map(|(span, _)| span.end).max().unwrap_or(0);
        let first = floor_boundary(text, first);
        let last = floor_boundary(text, last).max(first);
        let start = text[..first].rfind('\n').map_or(0, |at| at + 1);
        let end = text[last..].find('\n').map_or(text.len(), |at| last + at);
        // One endless line is cut too, or a minified file would fill the terminal.
        let line_start = start;
        let start = floor_boundary(text, start.max(first.saturating_sub(LONGEST)));
        let end = floor_boundary(text, end.min(last.saturating_add(LONGEST)));
        let raw = &text[start..end];
        // A carriage return before a line break belongs to the break and would be printed as a sign of its own.
        let local = |offset: usize| {
            let at = floor_boundary(text, offset).clamp(start, end) - start;
            at - raw[..at].matches("\r\n").count()
        };
        let marks = marks.iter().map(|(span, label)| (local(span.start)..local(span.end), *label)).collect();
        let shown = raw.strip_suffix('\r').unwrap_or(raw).replace("\r\n", "\n");
        let cut = (start > line_start).then(|| source.place(primary));
        let mut excerpt =
            Self { name: &source.name, text: shown, line_start: source.place(start).0, cut, marks, is_primary };
        let length = excerpt.text.len();
        for (range, _) in &mut excerpt.marks {
            *range = range.start.min(length)..range.end.min(length);
        }
        excerpt
    }

    fn snippet<'e>(&'e self, label: Option<&'e str>) -> Snippet<'e, annotate_snippets::Annotation<'e>> {
        let annotations = self.marks.iter().enumerate().map(|(index, (range, own))| {
            let kind = if self.is_primary && index == 0 { AnnotationKind::Primary } else { AnnotationKind::Context };
            let annotation = kind.span(range.clone());
            match label.unwrap_or(own) {
                "" => annotation,
                words => annotation.label(annotate_snippets::normalize_untrusted_str(words)),
            }
        });
        let snippet = Snippet::source(self.text.as_str()).line_start(self.line_start).annotations(annotations);
        if self.cut.is_some() { snippet } else { snippet.path(self.name) }
    }
}

/// The known name nearest to a misspelt one, if any is near enough to suggest.
pub fn nearest<'n>(wrong: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let limit = (wrong.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(wrong, name), name))
        .filter(|(distance, name)| *distance <= limit || (wrong.len() >= 3 && name.starts_with(wrong)))
        .min()
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_of_an_author_is_a_command_to_the_terminal() {
        let source = Source::new("a.yaml", "a\u{9b}31m: \u{1b}[31m\n");
        let problem = Diagnostic::error(&source, Span::new(0, 1), Code::Yaml, "\u{1b}[31m \u{9b}31m")
            .label("\u{1b}[31m")
            .related(Span::new(2, 3), "\u{1b}]0;x\u{7}")
            .help("\u{1b}[2J\t");
        assert!(!problem.render(false).contains(|c: char| c.is_control() && c != '\n'), "{}", problem.render(false));
    }

    #[test]
    fn shows_the_place_the_caret_and_the_way_out() {
        let source = Source::new("a.yaml", "runbook: a\nsteps:\n  x:\n    need: [y]\n");
        let shown = Diagnostic::error(&source, Span::new(27, 31), Code::UnknownKey, "unknown key `need` in step `x`")
            .label("did you mean `needs`?")
            .help("write `needs`")
            .render(false);
        assert_eq!(
            shown,
            "\
error[unknown-key]: unknown key `need` in step `x`
 --> a.yaml:4:5
  |
4 |     need: [y]
  |     ^^^^ did you mean `needs`?
  |
  = help: write `needs`"
        );
    }

    #[test]
    fn suggests_only_what_is_near() {
        assert_eq!(nearest("need", ["needs", "uses"]), Some("needs"));
        assert_eq!(nearest("vercel.env.st", ["vercel.env.set", "vercel.redeploy"]), Some("vercel.env.set"));
        assert_eq!(nearest("banana", ["needs", "uses"]), None);
    }

    #[test]
    fn a_span_past_the_end_is_no_panic() {
        let source = Source::new("a", "é");
        let diagnostic = Diagnostic::error(&source, Span::new(1, 99), Code::Yaml, "m").related(Span::new(50, 60), "r");
        assert!(diagnostic.render(false).contains("error[yaml]: m"));
    }
}
