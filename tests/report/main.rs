//! Reports and consoles, held against whole runs: hand-made events through the real fold.

mod every_log;
mod incident;
mod statement;
mod story;

use std::sync::Arc;

use runbook::action::{ActionError, ErrorKind, Reporter};
use runbook::base::Redactor;
use runbook::report::{self, Console, LogReporter, Mode};
use runbook::run::{Answer, Event, Outcome, Timer};
use runbook::runlog::{LogFile, RunLog, Store};
use serde_json::Value;

use story::{Shared, Story, cancelled, id, recovered, rejected, resumed, rolled_back};

#[test]
fn a_recovery_is_reported_before_it_is_over() {
    insta::assert_snapshot!(recovered(None).report());
}

#[test]
fn a_recovery_on_a_console() {
    let mut story = recovered(None);
    story.over(Outcome::Succeeded);
    insta::assert_snapshot!(story.console(Mode::Plain));
}

#[test]
fn a_quiet_console_tells_only_the_end() {
    let mut story = recovered(None);
    story.over(Outcome::Succeeded);
    insta::assert_snapshot!(story.console(Mode::Quiet));
}

#[test]
fn a_drill_says_so_first_and_last() {
    let mut story = recovered(Some("recovers"));
    story.over(Outcome::Succeeded);
    let report = story.report();
    assert!(report.starts_with("# DRILL: Incident report: Sign-in outage\n\n**This was a DRILL**"), "{report}");
    let console = story.console(Mode::Plain);
    let lines: Vec<_> = console.lines().collect();
    assert_eq!(
        lines[0],
        "16:11:00 run             DRILL, scenario `recovers`: run 20261123-161100-abcd of `outage` was started by alice"
    );
    assert_eq!(lines.last(), Some(&"DRILL: that was scenario `recovers`, not an incident"));
    insta::assert_snapshot!(story.console(Mode::Live));
}

#[test]
fn a_failure_that_was_rolled_back() {
    insta::assert_snapshot!(rolled_back().report());
    insta::assert_snapshot!(rolled_back().console(Mode::Plain));
}

#[test]
fn a_gate_that_was_answered_with_no() {
    insta::assert_snapshot!(rejected().report());
    insta::assert_snapshot!(rejected().console(Mode::Plain));
}

#[test]
fn a_run_that_was_cancelled() {
    insta::assert_snapshot!(cancelled().report());
    insta::assert_snapshot!(cancelled().console(Mode::Plain));
}

#[test]
fn a_run_that_was_resumed_and_its_doubt_resolved() {
    let story = resumed();
    insta::assert_snapshot!(story.report());
    insta::assert_snapshot!(story.console(Mode::Plain));
}

#[test]
fn a_run_in_doubt_and_one_that_waits_say_so() {
    let mut story = Story::new(None);
    story.bypassed().happens(300, Event::RunResumed { by: "user:dave".to_owned(), locks: Vec::new() });
    let summary = story.summary();
    assert_eq!(summary.in_doubt, [id("deploy")]);
    assert!(story.console(Mode::Quiet).starts_with("in doubt after"), "{}", story.console(Mode::Quiet));

    let mut story = Story::new(None);
    story.triaged();
    insta::assert_snapshot!(story.console(Mode::Quiet));
}

#[test]
fn a_console_that_takes_over_tells_only_what_is_new() {
    let mut story = Story::new(Some("recovers"));
    story.bypassed().happens(300, Event::RunResumed { by: "user:dave".to_owned(), locks: Vec::new() });
    let out = Shared::default();
    let mut console = Console::new(Arc::clone(&story.plan), Mode::Plain, out.clone());
    let (last, before) = story.events.split_last().unwrap();
    console.known(before);
    console.event(last);
    // What cannot follow is not told, and nothing falls over it.
    console.event(&story.events[3]);
    console.progress(&id("deploy"), "building");
    console.note(&id("deploy"), "bob may not answer");
    console.pause();
    console.unpause();
    let told = String::from_utf8(out.0.lock().unwrap().clone()).unwrap();
    assert_eq!(
        told,
        "16:18:05 run             DRILL, scenario `recovers`: the run was taken up again by dave; nobody saw what became \
         of `deploy`\n16:18:05 deploy          bob may not answer\n"
    );
}

#[test]
fn a_gate_that_lapsed_becomes_an_action_item() {
    let mut story = Story::new(None);
    story.triaged().happens(900, Event::TimerFired { timer: Timer::Gate { step: id("open_bypass") } });
    let summary = story.summary();
    assert_eq!(summary.gates[0].answer, Some("lapsed"));
    assert_eq!(summary.follow_ups[0].what, "find out why nobody answered in time");
}

#[test]
fn a_measure_that_outlived_its_limit_is_told_with_by_how_much() {
    let summary = recovered(None).summary();
    assert_eq!(summary.measures[0].overdue.map(runbook::base::HumanDuration::rounded).as_deref(), Some("6m39s"));
}

#[test]
fn hostile_values_stay_where_they_belong() {
    let hostile = "| `x` | <script>alert(1)</script>\n# Owned\n- [ ] **do** `this | that`";
    let mut story = Story::new(None);
    story.triaged().told_customers().answers(90, Answer::Approve, hostile).begins(0, "open_bypass", 1).fails(
        3,
        "open_bypass",
        1,
        ActionError::new(ErrorKind::Rejected, hostile),
    );
    let report = story.report();
    assert!(!report.contains("<script"), "{report}");
    assert!(!report.contains("\n# Owned"), "{report}");
    let tables = report.lines().filter(|line| line.starts_with("| `open_bypass`"));
    let widths: Vec<_> = tables.map(|row| row.replace("\\|", "").matches('|').count()).collect();
    assert_eq!(widths, [8, 8], "{report}");
    insta::assert_snapshot!(report);
}

#[test]
fn a_report_has_no_trailing_blanks_and_no_double_gaps() {
    for story in [recovered(None), rolled_back(), rejected(), cancelled(), resumed()] {
        let report = story.report();
        assert!(report.lines().all(|line| line.trim_end() == line), "{report}");
        assert!(!report.contains("\n\n\n") && report.ends_with('\n') && !report.ends_with("\n\n"), "{report}");
    }
}

#[test]
fn a_mistake_in_a_template_is_told_with_its_line() {
    let summary = resumed().summary();
    let told = |text: &str| report::render(&summary, "mine.md.j2", text).unwrap_err().to_string();
    assert_eq!(told("a\n{{ titel }}\n"), "mine.md.j2:2: `titel` is undefined");
    assert_eq!(told("{% for x in steps %}\n"), "mine.md.j2:1: unexpected end of input, expected end of block");
    assert_eq!(told("\n\n{{ title | shout }}"), "mine.md.j2:3: filter shout is unknown");
    assert_eq!(told("{{ title | time }}"), "mine.md.j2:1: `Sign-in outage` is not a moment such as `started`");
}

#[test]
fn other_formats_escape_their_own_way() {
    let summary = recovered(None).summary();
    let render = |name: &str, text: &str| report::render(&summary, name, text).unwrap();
    assert_eq!(render("a.html.j2", "{{ '<b>' }}{{ ended }}"), "&lt;b&gt;");
    assert_eq!(render("a.json.j2", "{{ title }} {{ ended }}"), "\"Sign-in outage\" null");
    assert_eq!(render("a.txt", "{{ '<b> | ' }}{{ ended }}{{ steps[0].allow_failure }}"), "<b> | true");
}

/// The paths in the first column of the tables of `docs/report.md`, such as `steps[].error.kind`.
fn documented() -> Vec<String> {
    let text = std::fs::read_to_string("docs/report.md").unwrap();
    let fields = text.split("## Fields").nth(1).unwrap().split("\n## ").next().unwrap().to_owned();
    let rows = fields.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    rows.map(|(path, _)| path.to_owned()).collect()
}

fn reached<'v>(value: &'v Value, path: &str) -> Vec<&'v Value> {
    path.split('.').fold(vec![value], |values, part| {
        let (name, is_list) = part.strip_suffix("[]").map_or((part, false), |name| (name, true));
        let found = values.into_iter().filter_map(|value| value.get(name));
        if is_list { found.filter_map(Value::as_array).flatten().collect() } else { found.collect() }
    })
}

#[test]
fn every_documented_field_exists_and_every_field_is_documented() {
    let mut waits = Story::new(None);
    waits.triaged();
    let mut in_doubt = Story::new(None);
    in_doubt.bypassed().happens(300, Event::RunResumed { by: "user:dave".to_owned(), locks: Vec::new() });
    let mut over = recovered(None);
    over.over(Outcome::Succeeded);
    let stories = [over, rolled_back(), waits, in_doubt, incident::told()];
    let summaries = stories.iter().map(Story::summary).chain([every_log::grown()]);
    let samples: Vec<Value> = summaries.map(|summary| serde_json::to_value(summary).unwrap()).collect();
    let documented = documented();
    for path in &documented {
        assert!(samples.iter().any(|sample| !reached(sample, path).is_empty()), "`{path}` does not exist");
    }
    let mut undocumented = Vec::new();
    for sample in &samples {
        walk(sample, "", &documented, &mut undocumented);
    }
    assert!(undocumented.is_empty(), "not in docs/report.md: {undocumented:?}");
}

/// Collects the paths of all fields that are not documented; what lies below a documented free-form value is its own.
fn walk(value: &Value, at: &str, documented: &[String], missing: &mut Vec<String>) {
    match value {
        Value::Object(map) if !at.ends_with("outputs") && !at.ends_with("asked") && at != "inputs" => {
            for (name, value) in map {
                let path = if at.is_empty() { name.clone() } else { format!("{at}.{name}") };
                let known = documented
                    .iter()
                    .any(|d| *d == path || d.starts_with(&format!("{path}.")) || d.starts_with(&format!("{path}[]")));
                if !known && !missing.contains(&path) {
                    missing.push(path.clone());
                }
                walk(value, &path, documented, missing);
            }
        }
        Value::Array(items) => {
            for item in items {
                walk(item, &format!("{at}[]"), documented, missing);
            }
        }
        _ => {}
    }
}

#[test]
fn a_report_is_rendered_from_the_run_on_disk() {
    let root = std::env::temp_dir().join(format!("runbook-report-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&root);
    let store = Store::new(root.join("store"));
    let story = rolled_back();
    let folder = store.create(&story.plan, story.now).unwrap();
    // The log is open, and locked, while the final steps run.
    let mut log = LogFile::create(&folder.log(), Arc::new(Redactor::default())).unwrap();
    log.append(&story.events).unwrap();
    let templates = root.join("runbooks");
    std::fs::create_dir_all(&templates).unwrap();
    std::fs::write(templates.join("mine.txt"), "{{ outcome | words }}, head {{ evidence.log_head }}").unwrap();

    let reporter = LogReporter::new(store, &templates);
    assert!(
        reporter.render(&folder.id, report::POST_INCIDENT).unwrap().starts_with("# Incident report: Sign-in outage")
    );
    assert_eq!(reporter.render(&folder.id, "mine.txt"), Ok(format!("rolled back, head {}", log.head())));
    let missing = reporter.render(&folder.id, "other.j2").unwrap_err();
    assert!(
        missing.ends_with("(os error 2); built in is `post-incident.md.j2`, `public-statement.md.j2`"),
        "{missing}"
    );
    std::fs::remove_dir_all(&root).unwrap();
}
