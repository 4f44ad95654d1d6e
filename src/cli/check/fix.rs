//! `--fix`: makes the changes that are certain, and only in the files that were named.

use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::files::Target;
use crate::base::{Code, Diagnostic, Fix, Source};
use crate::runbook::node;

/// How often a text is looked at again after it was mended. YAML stops at its first mistake, so each look may show one more.
const MOST_LOOKS: usize = 200;

/// A text after its fixes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Mended {
    /// The text.
    pub(super) text: String,
    /// What was mended, and on which line it stood.
    pub(super) done: Vec<(Code, usize)>,
}

/// Mends a text for as long as `look` finds something that can be mended with certainty.
pub(super) fn mend(text: &str, look: impl Fn(&str) -> Vec<Diagnostic>) -> Mended {
    let mut mended = Mended { text: text.to_owned(), done: Vec::new() };
    for _ in 0..MOST_LOOKS {
        let problems = look(&mended.text);
        let chosen = apart(&problems);
        let next = applied(&mended.text, chosen.iter().map(|(fix, _)| *fix));
        if chosen.is_empty() || next == mended.text || !reads_further(&mended.text, &next) {
            break;
        }
        mended
            .done
            .extend(chosen.iter().map(|(_, problem)| (problem.code, problem.place().map_or(1, |(line, _)| line))));
        mended.text = next;
    }
    mended
}

/// The fixes that do not touch each other, in the order of the text. Of two that do, the first is made; the other is found
/// again at the next look, if there is still something to it.
fn apart(problems: &[Diagnostic]) -> Vec<(&Fix, &Diagnostic)> {
    let mut fixes: Vec<(&Fix, &Diagnostic)> =
        problems.iter().filter_map(|problem| Some((problem.fix.as_ref()?, problem))).collect();
    fixes.sort_by_key(|(fix, _)| fix.span);
    let mut end = 0;
    let mut is_first = true;
    fixes.retain(|(fix, _)| {
        let is_apart = is_first || fix.span.start > end;
        if is_apart {
            (end, is_first) = (fix.span.end, false);
        }
        is_apart
    });
    fixes
}

fn applied<'f>(text: &str, fixes: impl Iterator<Item = &'f Fix>) -> String {
    let mut mended = String::with_capacity(text.len());
    let mut at = 0;
    for fix in fixes {
        mended.push_str(text.get(at..fix.span.start).unwrap_or_default());
        mended.push_str(&fix.text);
        at = fix.span.end;
    }
    mended.push_str(text.get(at..).unwrap_or_default());
    mended
}

/// Can YAML read the new text at least as far as the old one? Whatever a fix is worth, it must not break a file.
fn reads_further(before: &str, after: &str) -> bool {
    let breaks_at =
        |text: &str| node::parse(&Source::new("", text)).err().map(|problem| problem.place().unwrap_or_default());
    match (breaks_at(before), breaks_at(after)) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some(before), Some(after)) => after > before,
    }
}

/// Everything that is wrong with a target itself, were this its text. What it calls is not ours to change.
pub(super) fn own_findings(target: &Target, text: &str) -> Vec<Diagnostic> {
    let mut problems = match target.load_with(text.to_owned()) {
        Ok(loaded) => crate::plan::check(&loaded, &crate::actions::builtin()),
        Err(problems) => problems,
    };
    let name = target.name();
    problems.retain(|problem| problem.source.name == name);
    problems
}

/// Writes a file in one piece: whoever reads it meanwhile sees the old text or the new one. Its permissions stay, and a link
/// stays a link.
pub(super) fn replace(path: &Path, text: &str) -> io::Result<()> {
    let path = path.canonicalize()?;
    let permissions = std::fs::metadata(&path)?.permissions();
    if permissions.readonly() {
        // A rename would not mind. Whoever took away the permission to write does.
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "it is read-only"));
    }
    let beside = beside(&path);
    let written = (|| {
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        file.write_all(text.as_bytes())?;
        file.set_permissions(permissions)?;
        file.sync_all()?;
        std::fs::rename(&beside, &path)
    })();
    if written.is_err() {
        let _ = std::fs::remove_file(&beside);
    }
    written
}

/// A name in the same folder that nobody else has.
fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.{}.fixed", std::process::id()))
}

/// What was mended, on one line: `2 fixed: wrong-type (lines 4, 7)`.
pub(super) fn summary(done: &[(Code, usize)]) -> String {
    let mut codes: Vec<Code> = done.iter().map(|(code, _)| *code).collect();
    codes.sort_unstable();
    codes.dedup();
    let told: Vec<String> = codes
        .into_iter()
        .map(|code| {
            let mut lines: Vec<usize> = done.iter().filter(|(c, _)| *c == code).map(|(_, line)| *line).collect();
            lines.sort_unstable();
            let word = if lines.len() == 1 { "line" } else { "lines" };
            let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
            format!("{code} ({word} {})", lines.join(", "))
        })
        .collect();
    format!("{} fixed: {}", done.len(), told.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::Span;

    fn finding(text: &str, span: (usize, usize), fix: (usize, usize, &str)) -> Diagnostic {
        let source = Source::new("t", text);
        Diagnostic::error(&source, Span::new(span.0, span.1), Code::WrongType, "m").fix(Span::new(fix.0, fix.1), fix.2)
    }

    #[test]
    fn fixes_that_touch_each_other_are_made_one_after_the_other() {
        let mended = mend("a: bcd\n", |text| match text {
            "a: bcd\n" => vec![finding(text, (3, 5), (3, 5, "XY")), finding(text, (4, 6), (4, 6, "ZZ"))],
            "a: XYd\n" => vec![finding(text, (5, 6), (5, 6, "!"))],
            _ => Vec::new(),
        });
        assert_eq!(mended.text, "a: XY!\n");
        assert_eq!(mended.done.len(), 2);
    }

    #[test]
    fn a_fix_that_would_break_the_file_is_not_made() {
        let mended =
            mend("a: b\n", |text| vec![finding(text, (3, 4), (3, 4, "[")), finding(text, (0, 1), (0, 1, "a"))]);
        assert_eq!(mended, Mended { text: "a: b\n".to_owned(), done: Vec::new() });
    }

    #[test]
    fn a_fix_that_never_helps_comes_to_an_end() {
        let mended = mend("a: b\n", |text| vec![finding(text, (3, 4), (3, 4, "b"))]);
        assert_eq!(mended.text, "a: b\n");
        assert!(mended.done.is_empty());
    }
}
