//! Whatever a log says, and wherever it stops: it is told.

use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;
use runbook::action::{ActionError, ErrorKind};
use runbook::plan::Plan;
use runbook::report::{self, Summary};
use runbook::run::{Answer, Outcome, Recorded};
use runbook::runlog;
use serde_json::json;

use super::incident;
use super::story::{Story, cancelled, recovered, rejected, rendered, resumed, rolled_back};

/// Every log that is kept, with its plan.
fn kept() -> Vec<(String, Arc<Plan>, Vec<Recorded>)> {
    let logs = PathBuf::from("tests/fixtures/logs");
    let versions = std::fs::read_dir(logs).unwrap().map(|entry| entry.unwrap().path());
    let folders = versions.flat_map(|version| std::fs::read_dir(version).unwrap().map(|entry| entry.unwrap().path()));
    let read = |folder: PathBuf| {
        let text = std::fs::read_to_string(folder.join("plan.json")).unwrap();
        let plan = Plan::from_json(&text).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let entries = runlog::read(&folder.join("log.jsonl")).unwrap();
        let events = entries.into_iter().map(|entry| entry.recorded).collect();
        (folder.display().to_string(), Arc::new(plan), events)
    };
    folders.map(read).collect()
}

fn stories() -> Vec<(String, Arc<Plan>, Vec<Recorded>)> {
    let mut over = recovered(Some("recovers"));
    over.over(Outcome::Succeeded);
    [over, rolled_back(), rejected(), cancelled(), resumed(), incident::told()]
        .into_iter()
        .enumerate()
        .map(|(number, story)| (format!("story {number}"), story.plan, story.events))
        .collect()
}

#[test]
fn a_log_is_told_wherever_it_stops() {
    let mut told = 0;
    for (name, plan, events) in kept().into_iter().chain(stories()) {
        for length in 1..=events.len() {
            let summary = Summary::of(&plan, &events[..length]).unwrap_or_else(|error| panic!("{name}: {error}"));
            for (template, _) in report::BUILT_IN {
                let text = rendered(&summary, template);
                is_tidy(&text);
                told += 1;
            }
        }
    }
    assert!(told > 1000, "only {told}");
}

fn is_tidy(text: &str) {
    assert!(text.lines().all(|line| line.trim_end() == line), "{text}");
    assert!(!text.contains("\n\n\n") && text.ends_with('\n') && !text.ends_with("\n\n"), "{text}");
    // Every row of a table has as many cells as its head.
    let bars = |line: &str| line.replace("\\|", "").matches('|').count();
    let mut head = None;
    for line in text.lines() {
        head = line.starts_with('|').then(|| head.unwrap_or_else(|| bars(line)));
        assert!(head.is_none_or(|head| head == bars(line)), "{line}\n{text}");
    }
}

#[test]
fn a_long_run_is_told_in_part_and_says_so() {
    let mut story = Story::new(None);
    story.bypassed();
    for attempt in 1..700 {
        let refused = ActionError::new(ErrorKind::Failed, format!("refused {attempt}"));
        story.pauses("deploy", attempt, runbook::run::AttemptResult::Failed { error: refused }).begins(
            0,
            "deploy",
            attempt + 1,
        );
    }
    let report = story.report();
    assert!(report.contains("more lines: `runbook show 20261123-161100-abcd`_\n"), "{report}");
    assert!(report.lines().count() < 600, "{}", report.lines().count());
}

/// Texts that mean something in Markdown, in HTML, in a template or on a terminal.
fn hostile() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just("| `x` |".to_owned()),
        Just("\n# Owned\n".to_owned()),
        Just("\n- [ ] done\n".to_owned()),
        Just("{{ run }}{% for %}".to_owned()),
        Just("<script>alert(1)</script>".to_owned()),
        Just("<!-- ".to_owned()),
        Just("`".to_owned()),
        Just("```\n".to_owned()),
        Just("\\".to_owned()),
        Just("]( http://evil )".to_owned()),
        Just("![x](y)".to_owned()),
        Just("\u{1b}[31m\u{202e}".to_owned()),
        Just("\r\n---\r\n".to_owned()),
        Just("&lt;".to_owned()),
        "[ -~]{0,8}",
        "\\PC{0,4}",
    ];
    proptest::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// What people and vendors say stays in its line and its cell, and is markup nowhere.
    #[test]
    fn nothing_that_is_said_becomes_markup(said in hostile(), error in hostile(), output in hostile(), done in 0..3_u8) {
        let mut story = Story::new(Some("hostile"));
        story.triaged().told_customers().answers(90, Answer::Approve, &said).begins(0, "open_bypass", 1);
        match done {
            0 => drop(story.fails(3, "open_bypass", 1, ActionError::new(ErrorKind::Rejected, error))),
            1 => drop(story.ends(3, "open_bypass", 1, json!({ "data_loss": output, "root_cause": error, "detected_by": said, "users": 3 }))),
            _ => {}
        }
        let report = story.report();
        is_tidy(&report);
        let outside = without_code(&report);
        prop_assert!(!outside.contains('<'), "{report}");
        let own = ["# ", "## ", "### "];
        let headings = report.lines().filter(|line| own.iter().any(|mark| line.starts_with(mark))).count();
        let plain = plain_story(done).report();
        let known = plain.lines().filter(|line| own.iter().any(|mark| line.starts_with(mark))).count();
        prop_assert_eq!(headings, known, "{}", report);
        let commands = report.contains(['\u{1b}', '\u{202e}']);
        prop_assert!(!commands, "{report:?}");
        // A statement cannot know what was said.
        prop_assert_eq!(story.statement(), plain_story(done).statement());
    }
}

fn plain_story(done: u8) -> Story {
    let mut story = Story::new(Some("hostile"));
    story.triaged().told_customers().answers(90, Answer::Approve, "plain").begins(0, "open_bypass", 1);
    match done {
        0 => drop(story.fails(3, "open_bypass", 1, ActionError::new(ErrorKind::Rejected, "plain"))),
        1 => drop(story.ends(3, "open_bypass", 1, json!({ "users": 3 }))),
        _ => {}
    }
    story
}

/// The text without its spans of code, in which nothing is obeyed.
fn without_code(text: &str) -> String {
    let mut out = String::new();
    for line in text.lines() {
        let mut rest = line;
        while let Some(start) = rest.find('`') {
            let escaped = rest[..start].ends_with('\\');
            let run = rest[start..].bytes().take_while(|byte| *byte == b'`').count();
            let fence = "`".repeat(run);
            let inside = &rest[start + run..];
            out.push_str(&rest[..start]);
            rest = match inside.find(&fence).filter(|_| !escaped) {
                Some(end) => &inside[end + run..],
                None => inside,
            };
        }
        out.push_str(rest);
        out.push('\n');
    }
    out
}

/// A run with a loop, a call, and steps that somebody skipped and forced.
pub(crate) fn grown() -> Summary {
    let (_, plan, events) = kept().into_iter().find(|(name, ..)| name.ends_with("v2/grown")).unwrap();
    Summary::of(&plan, &events).unwrap()
}

#[test]
fn what_is_inside_a_step_follows_it() {
    let summary = grown();
    let ids: Vec<&str> = summary.steps.iter().map(|row| row.id.as_str()).collect();
    let expected =
        ["each", "each[d]", "inner", "inner/one", "inner/two", "inner/bye", "left_out", "forced", "late", "bad"];
    assert_eq!(ids, expected);
    let looks: Vec<&str> = summary.steps.iter().filter(|row| !row.changes).map(|row| row.id.as_str()).collect();
    assert_eq!(looks, ["inner", "late"], "a call changes nothing itself");
    let called: Vec<&str> = summary.evidence.called.iter().map(|called| called.file.as_str()).collect();
    assert_eq!(called, ["inner.yaml"]);
}
