//! Tells how the cases went: for people, for programs, and for whoever reads JUnit.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::cover::{Coverage, Kind, Total};
use super::suite::Verdict;
use crate::base::{Code, HumanDuration, Timestamp, clock};
use crate::report::Line;

/// A test file and how its cases went, each with how long playing it took.
pub type Told<'t> = (&'t str, &'t [(Verdict, Duration)]);

/// How the cases went, for people.
pub fn text(files: &[Told<'_>], coverages: &[Coverage]) -> String {
    let mut out = String::new();
    for (file, verdicts) in files {
        let _ = writeln!(out, "{file}");
        let widest = verdicts.iter().map(|(verdict, _)| verdict.name.chars().count()).max().unwrap_or(0);
        for (verdict, _) in *verdicts {
            let word = if verdict.passed() { "ok  " } else { "FAIL" };
            let _ = writeln!(out, "  {word}  {:widest$}  {}", verdict.name, length(verdict.took.0));
        }
        out.push('\n');
    }
    for (file, verdicts) in files {
        for (verdict, _) in verdicts.iter().filter(|(verdict, _)| !verdict.passed()) {
            let _ = writeln!(out, "FAIL {file}: {}\n", verdict.name);
            for miss in &verdict.misses {
                let _ = writeln!(out, "{}\n", miss.render(false));
            }
            out.push_str("what happened:\n");
            out.push_str(&story(&verdict.story, verdict.began));
            out.push('\n');
        }
    }
    for coverage in coverages {
        let _ = writeln!(out, "coverage of {}: {}", coverage.file, measured(|kind| coverage.total(kind)));
        for place in coverage.uncovered() {
            let _ = writeln!(out, "  {}:{}: {}", coverage.file, place.line, place.what);
        }
    }
    if coverages.len() > 1 {
        let _ = writeln!(out, "coverage of all: {}", measured(|kind| total(coverages, kind)));
    }
    if !coverages.is_empty() {
        out.push('\n');
    }
    out.push_str(&summary(files));
    out.push('\n');
    out
}

/// How much of a kind is covered over all runbooks.
pub(crate) fn total(coverages: &[Coverage], kind: Option<Kind>) -> Total {
    coverages.iter().map(|coverage| coverage.total(kind)).fold(Total::default(), Total::and)
}

fn measured(of: impl Fn(Option<Kind>) -> Total) -> String {
    let each = Kind::ALL.map(|kind| {
        let total = of(Some(kind));
        format!("{} {}/{}", kind.as_str(), total.covered, total.of)
    });
    format!("{} % ({})", of(None).percent(), each.join(", "))
}

/// `12 cases, 11 passed, 1 failed`.
fn summary(files: &[Told<'_>]) -> String {
    let all = || files.iter().flat_map(|(_, verdicts)| verdicts.iter());
    let (count, failed) = (all().count(), all().filter(|(verdict, _)| !verdict.passed()).count());
    let cases = if count == 1 { "1 case".to_owned() } else { format!("{count} cases") };
    let failed = if failed == 0 { String::new() } else { format!(", {failed} failed") };
    let passed = all().filter(|(verdict, _)| verdict.passed()).count();
    format!("{cases}, {passed} passed{failed}")
}

/// A length of time in a few letters.
fn length(length: Duration) -> String {
    if length.is_zero() { "0s".to_owned() } else { HumanDuration(length).rounded() }
}

/// The lines of a run, with the time since its beginning.
fn story(lines: &[Line], began: Timestamp) -> String {
    let step = |line: &Line| line.step.as_ref().map(ToString::to_string).unwrap_or_default();
    let since = |line: &Line| {
        let since = clock::until(began, line.time);
        format!("{}{}", if since.is_zero() { "" } else { "+" }, length(since))
    };
    let widest = lines.iter().map(|line| step(line).chars().count()).max().unwrap_or(0).min(40);
    let late = lines.iter().map(|line| since(line).len()).max().unwrap_or(0);
    let mut out = String::new();
    for line in lines {
        let _ = writeln!(out, "  {:>late$}  {:widest$}  {}", since(line), step(line), line.text);
    }
    out
}

/// How the cases went, for programs.
pub fn json(files: &[Told<'_>], coverages: &[Coverage]) -> Value {
    let told = |(verdict, _): &(Verdict, Duration)| {
        json!({
            "name": verdict.name,
            "passed": verdict.passed(),
            "outcome": verdict.played.ended.as_ref().ok().map(|ended| ended.word()),
            "took": verdict.took,
            "failures": verdict.misses.iter().map(crate::base::Diagnostic::to_json).collect::<Vec<_>>(),
            "story": verdict.story,
        })
    };
    let of = |total: &dyn Fn(Option<Kind>) -> Total| {
        let mut kinds: serde_json::Map<String, Value> =
            Kind::ALL.iter().map(|kind| (kind.as_str().to_owned(), json!(total(Some(*kind))))).collect();
        kinds.insert("percent".to_owned(), total(None).percent().into());
        Value::Object(kinds)
    };
    let all = || files.iter().flat_map(|(_, verdicts)| verdicts.iter());
    json!({
        "files": files.iter().map(|(file, verdicts)| {
            json!({ "file": file, "cases": verdicts.iter().map(told).collect::<Vec<_>>() })
        }).collect::<Vec<_>>(),
        "coverage": coverages.iter().map(|coverage| {
            json!({
                "runbook": coverage.file,
                "total": of(&|kind| coverage.total(kind)),
                "uncovered": coverage.uncovered(),
            })
        }).collect::<Vec<_>>(),
        "total": {
            "cases": all().count(),
            "passed": all().filter(|(verdict, _)| verdict.passed()).count(),
            "failed": all().filter(|(verdict, _)| !verdict.passed()).count(),
            "coverage": of(&|kind| total(coverages, kind)),
        },
    })
}

/// How the cases went, as JUnit's XML: a suite for each file.
pub fn junit(files: &[Told<'_>]) -> String {
    let seconds = |length: Duration| format!("{:.3}", length.as_secs_f64());
    let counts = |verdicts: &[(Verdict, Duration)]| {
        let is_error = |verdict: &Verdict| verdict.played.ended.is_err();
        let errors = verdicts.iter().filter(|(verdict, _)| is_error(verdict)).count();
        let failures = verdicts.iter().filter(|(verdict, _)| !verdict.passed() && !is_error(verdict)).count();
        let time = verdicts.iter().map(|(_, took)| *took).sum::<Duration>();
        (verdicts.len(), failures, errors, time)
    };
    let whole = files.iter().map(|(_, verdicts)| counts(verdicts));
    let (tests, failures, errors, time) =
        whole.fold((0, 0, 0, Duration::ZERO), |sum, one| (sum.0 + one.0, sum.1 + one.1, sum.2 + one.2, sum.3 + one.3));
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(
        out,
        "<testsuites name=\"runbook test\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" time=\"{}\">",
        seconds(time)
    );
    for (file, verdicts) in files {
        let (tests, failures, errors, time) = counts(verdicts);
        let _ = writeln!(
            out,
            "  <testsuite name=\"{}\" tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"0\" time=\"{}\">",
            xml(file),
            seconds(time)
        );
        for (verdict, took) in *verdicts {
            let (name, file, took) = (xml(&verdict.name), xml(file), seconds(*took));
            let _ = write!(out, "    <testcase name=\"{name}\" classname=\"{file}\" file=\"{file}\" time=\"{took}\"");
            let Some(first) = verdict.misses.first() else {
                out.push_str("/>\n");
                continue;
            };
            let element = if first.code == Code::MissingResult { "error" } else { "failure" };
            let mut told: String = verdict.misses.iter().map(|miss| format!("{}\n\n", miss.render(false))).collect();
            let _ = write!(told, "what happened:\n{}", story(&verdict.story, verdict.began));
            let label = if first.label.is_empty() { String::new() } else { format!("; {}", first.label) };
            let _ = writeln!(
                out,
                ">\n      <{element} message=\"{}\" type=\"{}\">{}</{element}>\n    </testcase>",
                xml(&format!("{}{label}", first.message)),
                first.code,
                xml(&told)
            );
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

/// A text as XML may hold it.
pub(crate) fn xml(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            // XML 1.0 has no way to write these.
            c if c.is_control() || matches!(c, '\u{FFFE}' | '\u{FFFF}') => out.push('\u{FFFD}'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xml_holds_no_markup_and_no_control_character_of_a_text() {
        assert_eq!(xml("<a> & \"b\"\u{1b}[1m\n"), "&lt;a&gt; &amp; &quot;b&quot;\u{FFFD}[1m\n");
    }

    #[test]
    fn a_hundred_percent_is_all_of_it() {
        assert_eq!(Total { covered: 999, of: 1000 }.percent(), 99);
        assert_eq!(Total { covered: 0, of: 0 }.percent(), 100);
    }
}
