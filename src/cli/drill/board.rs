//! The scoreboard of a game day: for people, for programs, and for whoever reads JUnit.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::table;
use crate::base::HumanDuration;
use crate::drill::Score;
use crate::testing::xml;

/// How many of the slowest drills are named.
const SLOWEST: usize = 3;
/// What the first scenario of a runbook is called: `drills/RUNBOOK.yaml` has no name of its own.
const FIRST: &str = "(first)";

/// One drill of a game day, and how it went.
#[derive(Debug)]
pub(super) struct Row {
    /// The runbook's name.
    pub(super) runbook: String,
    /// The scenario's part of the file's name; nothing for the first one.
    case: String,
    /// The scenario's file.
    file: PathBuf,
    /// The score; or why there is none.
    held: Result<Score, String>,
    /// How long it took on this machine.
    took: Duration,
    /// Did somebody stop it?
    stopped: bool,
}

/// How a drill went, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// As its scenario expects.
    Passed,
    /// Otherwise.
    Missed,
    /// It could not be held at all.
    NotHeld,
    /// Somebody stopped it.
    Stopped,
}

impl Verdict {
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Missed => "MISSED",
            Self::NotHeld => "NOT HELD",
            Self::Stopped => "stopped",
        }
    }
}

impl Row {
    /// A drill that began at `began` and is over now.
    pub(super) fn of(runbook: &str, file: &Path, held: Result<Score, String>, began: Instant) -> Self {
        let name = file.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let case = name.strip_prefix(runbook).unwrap_or(name).trim_start_matches('.').to_owned();
        Self { runbook: runbook.to_owned(), case, file: file.to_owned(), held, took: began.elapsed(), stopped: false }
    }

    /// The same, after somebody asked for the end of it all: one that ended as cancelled was stopped, not missed.
    pub(super) fn when_stopping(mut self, stopping: bool) -> Self {
        self.stopped = stopping && self.held.as_ref().is_ok_and(|score| score.outcome == "cancelled");
        self
    }

    pub(super) fn verdict(&self) -> Verdict {
        match &self.held {
            _ if self.stopped => Verdict::Stopped,
            Ok(score) if score.passed => Verdict::Passed,
            Ok(_) => Verdict::Missed,
            Err(_) => Verdict::NotHeld,
        }
    }

    /// The scenario's name in the board.
    pub(super) fn case(&self) -> &str {
        if self.case.is_empty() { FIRST } else { &self.case }
    }

    pub(super) fn took(&self) -> String {
        HumanDuration(self.took).rounded()
    }

    /// What was not as expected.
    fn missed(&self) -> &[String] {
        match &self.held {
            Ok(score) => &score.missed,
            Err(why) => std::slice::from_ref(why),
        }
    }

    fn left(&self) -> &[String] {
        self.held.as_ref().map(|score| score.left_standing.as_slice()).unwrap_or_default()
    }

    /// What to type to hold it alone.
    fn again(&self) -> String {
        format!("runbook drill {} --scenario {}", self.runbook, self.file.display())
    }

    /// The cells of its line: runbook, scenario, result, outcome, four times, what was left, how long it took.
    fn cells(&self) -> [String; table::COLUMNS] {
        let shown = |length: Option<HumanDuration>| length.map_or_else(|| "-".to_owned(), HumanDuration::rounded);
        let score = self.held.as_ref().ok();
        let time = |of: fn(&Score) -> Option<HumanDuration>| shown(score.and_then(of));
        [
            self.runbook.clone(),
            self.case().to_owned(),
            self.verdict().word().to_owned(),
            score.map_or_else(|| "-".to_owned(), |score| score.outcome.replace('_', " ")),
            time(|score| score.time_to_detect),
            time(|score| score.time_to_mitigate),
            time(|score| score.time_to_restore),
            time(|score| score.bypass_for),
            if self.left().is_empty() { "-".to_owned() } else { self.left().len().to_string() },
            self.took(),
        ]
    }
}

/// A game day.
#[derive(Debug, Default)]
pub(super) struct Board {
    /// The drills that were held or tried, in the order in which they stand in their folders.
    pub(super) rows: Vec<Row>,
    /// Drills that were not begun, because somebody stopped the day.
    pub(super) not_begun: usize,
    /// Runbooks that have no drill.
    pub(super) undrilled: Vec<String>,
    /// Scenario files that belong to no runbook.
    pub(super) strays: Vec<String>,
    /// Are these two faults?
    pub(super) require_all: bool,
    /// How long it all took on this machine.
    pub(super) took: Duration,
}

impl Board {
    fn count(&self, verdict: Verdict) -> usize {
        self.rows.iter().filter(|row| row.verdict() == verdict).count()
    }

    /// Did somebody stop it?
    pub(super) fn was_stopped(&self) -> bool {
        self.not_begun > 0 || self.count(Verdict::Stopped) > 0
    }

    /// Did every drill go as its scenario expects, and is none missing that must be there?
    pub(super) fn passed(&self) -> bool {
        self.rows.iter().all(|row| row.verdict() == Verdict::Passed)
            && !(self.require_all && (!self.undrilled.is_empty() || !self.strays.is_empty()))
    }

    /// For people, in a terminal of this width or in none.
    pub(super) fn text(&self, width: Option<usize>) -> String {
        let cells: Vec<_> = self.rows.iter().map(Row::cells).collect();
        let mut out = table::of(&cells, width);
        for row in self.rows.iter().filter(|row| matches!(row.verdict(), Verdict::Missed | Verdict::NotHeld)) {
            let _ = writeln!(out, "\n{} {}: {}", row.runbook, row.case(), row.verdict().word());
            for missed in row.missed() {
                let _ = writeln!(out, "  - {missed}");
            }
            let _ = writeln!(out, "  hold it alone: {}", row.again());
        }
        let left: Vec<&Row> = self.rows.iter().filter(|row| !row.left().is_empty()).collect();
        if !left.is_empty() {
            out.push_str("\nleft standing:\n");
        }
        for row in left {
            for what in row.left() {
                let _ = writeln!(out, "  {} {}: {what}", row.runbook, row.case());
            }
        }
        self.lists(&mut out);
        let _ = writeln!(out, "\n{}", self.total());
        out
    }

    /// What is missing, and what took longest.
    fn lists(&self, out: &mut String) {
        let word = if self.require_all { "MISSING" } else { "note" };
        for runbook in &self.undrilled {
            let _ = writeln!(out, "\n{word}: `{runbook}` has no drill");
        }
        for stray in &self.strays {
            let _ = writeln!(out, "\n{word}: {stray} belongs to no runbook here");
        }
        let mut slowest: Vec<&Row> = self.rows.iter().collect();
        slowest.sort_by_key(|row| std::cmp::Reverse(row.took));
        let slowest = slowest.iter().take(SLOWEST);
        let named: Vec<String> =
            slowest.map(|row| format!("{} {} ({})", row.runbook, row.case(), row.took())).collect();
        if self.rows.len() > SLOWEST {
            let _ = writeln!(out, "\nslowest: {}", named.join(", "));
        }
    }

    /// `11 drills of 2 runbooks: 10 passed, 1 missed, in 1m4s`.
    fn total(&self) -> String {
        let mut runbooks: Vec<&str> = self.rows.iter().map(|row| row.runbook.as_str()).collect();
        runbooks.sort_unstable();
        runbooks.dedup();
        let of = |count: usize, one: &str| format!("{count} {one}{}", if count == 1 { "" } else { "s" });
        let mut text = format!("{} of {}", of(self.rows.len(), "drill"), of(runbooks.len(), "runbook"));
        let _ = write!(text, ": {} passed", self.count(Verdict::Passed));
        let told = [
            (self.count(Verdict::Missed), "missed"),
            (self.count(Verdict::NotHeld), "not held"),
            (self.count(Verdict::Stopped), "stopped"),
            (self.not_begun, "not begun"),
        ];
        for (count, word) in told.into_iter().filter(|(count, _)| *count > 0) {
            let _ = write!(text, ", {count} {word}");
        }
        let _ = write!(text, ", in {}", HumanDuration(self.took).rounded());
        text
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let row = |row: &Row| {
            json!({
                "runbook": row.runbook,
                "case": (!row.case.is_empty()).then_some(&row.case),
                "file": row.file.display().to_string(),
                "verdict": row.verdict().word().to_lowercase().replace(' ', "_"),
                "why": row.missed(),
                "took": HumanDuration(row.took),
                "score": row.held.as_ref().ok(),
            })
        };
        json!({
            "drills": self.rows.iter().map(row).collect::<Vec<_>>(),
            "undrilled": self.undrilled,
            "strays": self.strays,
            "total": {
                "passed": self.count(Verdict::Passed),
                "missed": self.count(Verdict::Missed),
                "not_held": self.count(Verdict::NotHeld),
                "stopped": self.count(Verdict::Stopped),
                "not_begun": self.not_begun,
            },
            "took": HumanDuration(self.took),
            "passed": self.passed(),
        })
    }

    /// As JUnit's XML: a suite for each runbook.
    pub(super) fn junit(&self) -> String {
        let mut cases: Vec<(&str, Case)> = self.rows.iter().map(|row| (row.runbook.as_str(), Case::of(row))).collect();
        let missing = |name: &str, message: String| Case {
            name: name.to_owned(),
            file: String::new(),
            took: Duration::ZERO,
            fault: Some((if self.require_all { "failure" } else { "skipped" }, message, String::new())),
        };
        for runbook in &self.undrilled {
            cases.push((runbook, missing("has a drill", "it has none".to_owned())));
        }
        for stray in &self.strays {
            cases.push((stray, missing("belongs to a runbook", "it belongs to none here".to_owned())));
        }
        junit_of(&cases, self.took)
    }
}

/// A test case of JUnit's.
struct Case {
    name: String,
    file: String,
    took: Duration,
    /// The element, its message, and its text.
    fault: Option<(&'static str, String, String)>,
}

impl Case {
    fn of(row: &Row) -> Self {
        let message = row.missed().first().cloned().unwrap_or_default();
        let mut text = row.missed().join("\n");
        for left in row.left() {
            let _ = write!(text, "\nleft standing: {left}");
        }
        let _ = write!(text, "\nhold it alone: {}", row.again());
        let fault = match row.verdict() {
            Verdict::Passed => None,
            Verdict::Missed => Some(("failure", message, text)),
            Verdict::NotHeld => Some(("error", message, text)),
            Verdict::Stopped => Some(("skipped", "somebody stopped it".to_owned(), String::new())),
        };
        Self { name: row.case().to_owned(), file: row.file.display().to_string(), took: row.took, fault }
    }
}

fn junit_of(cases: &[(&str, Case)], took: Duration) -> String {
    let seconds = |length: Duration| format!("{:.3}", length.as_secs_f64());
    let counts = |suite: Option<&str>| {
        let of = |element: &str| {
            let mine = cases.iter().filter(|(name, _)| suite.is_none_or(|suite| *name == suite));
            mine.filter(|(_, case)| case.fault.as_ref().map_or("", |(kind, ..)| *kind) == element).count()
        };
        let (failures, errors, skipped) = (of("failure"), of("error"), of("skipped"));
        let tests = failures + errors + skipped + of("");
        format!("tests=\"{tests}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"{skipped}\"")
    };
    let mut suites: Vec<&str> = Vec::new();
    for (suite, _) in cases {
        if !suites.contains(suite) {
            suites.push(suite);
        }
    }
    let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
    let _ = writeln!(out, "<testsuites name=\"runbook drill\" {} time=\"{}\">", counts(None), seconds(took));
    for suite in suites {
        let mine = || cases.iter().filter(|(name, _)| *name == suite).map(|(_, case)| case);
        let time = seconds(mine().map(|case| case.took).sum());
        let _ = writeln!(out, "  <testsuite name=\"{}\" {} time=\"{time}\">", xml(suite), counts(Some(suite)));
        for case in mine() {
            let (name, file, time) = (xml(&case.name), xml(&case.file), seconds(case.took));
            let _ = write!(out, "    <testcase name=\"{name}\" classname=\"{}\"", xml(suite));
            if !file.is_empty() {
                let _ = write!(out, " file=\"{file}\"");
            }
            let _ = match &case.fault {
                None => writeln!(out, " time=\"{time}\"/>"),
                Some((kind, message, text)) => writeln!(
                    out,
                    " time=\"{time}\">\n      <{kind} message=\"{}\">{}</{kind}>\n    </testcase>",
                    xml(message),
                    xml(text)
                ),
            };
        }
        out.push_str("  </testsuite>\n");
    }
    out.push_str("</testsuites>\n");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drill_that_could_not_be_held_is_an_error_in_every_form() {
        let row =
            Row::of("shop", Path::new("drills/shop.dark.yaml"), Err("a <key> is wrong".to_owned()), Instant::now());
        let board = Board { rows: vec![row], ..Board::default() };
        assert!(!board.passed() && !board.was_stopped());
        assert!(board.text(None).contains("shop dark: NOT HELD\n  - a <key> is wrong\n"), "{}", board.text(None));
        assert_eq!(board.json()["drills"][0]["verdict"], "not_held");
        assert!(board.junit().contains("<error message=\"a &lt;key&gt; is wrong\">"), "{}", board.junit());
    }

    #[test]
    fn what_is_missing_fails_the_day_only_where_all_is_required() {
        let mut board = Board { undrilled: vec!["shop".to_owned()], ..Board::default() };
        assert!(board.passed());
        assert!(board.junit().contains("<skipped message=\"it has none\">"), "{}", board.junit());
        board.require_all = true;
        assert!(!board.passed());
        assert!(board.junit().contains("<failure message=\"it has none\">"), "{}", board.junit());
    }
}
