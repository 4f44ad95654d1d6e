//! Reports and consoles, held against whole runs: hand-made events through the real fold.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};

use runbook::action::{ActionError, ErrorKind, Reporter, Undone};
use runbook::actions;
use runbook::base::{Attempt, Digest, Redactor, RunId, Source, StepPath, Timestamp};
use runbook::plan::{self, Plan};
use runbook::report::{self, Console, LogReporter, Mode, Summary};
use runbook::run::{
    Answer, AttemptResult, Cause, Decision, Doubt, Event, Limits, ManualResult, Next, Outcome, Recorded, Timer,
    UndoResult, Why,
};
use runbook::runbook::StepResult;
use runbook::runlog::{LogFile, RunLog, Store};
use serde_json::{Value, json};

const RUNBOOK: &str = r#"
runbook: outage
title: Sign-in outage
severity: high
inputs:
  bypass_for: { type: duration, default: 60m }
steps:
  frontend:
    uses: http.get
    with: { url: "https://clerk.example.com/health" }
    allow_failure: true
  triage:
    needs: { frontend: finished }
    uses: decide
    with:
      - { if: "frontend.result == 'failed'", then: { category: clerk-outage, severity: critical } }
      - { then: { category: none, severity: low } }
  open_bypass:
    title: Open the bypass
    needs: [triage]
    if: "triage.outputs.category == 'clerk-outage'"
    approval:
      prompt: "Open the bypass for {{ inputs.bypass_for }}?"
      within: 15m
      ask: { reason: { type: string, required: true } }
    argv: ["./bypass", "on"]
    undo: { uses: http.request, with: { method: DELETE, url: "https://app.example.com/bypass" } }
    measure: { expires: "{{ inputs.bypass_for }}", closed_by: close_bypass }
  deploy:
    needs: [open_bypass]
    argv: ["./deploy"]
    retry: { attempts: 3, delay: 5s, on: [failed] }
  bypass_works:
    needs: [deploy]
    uses: http.get
    with: { url: "https://app.example.com/health" }
    until: { if: "outputs.status == 200", every: 5s, within: 5m }
  close_bypass:
    title: Close the bypass
    needs: [bypass_works]
    argv: ["./bypass", "off"]
  tell_customers:
    needs: [triage]
    if: "triage.outputs.category == 'clerk-outage'"
    manual: { text: "Post the statement.", evidence: { link: { type: url } } }
on_failure: rollback
finally:
  report:
    uses: report.render
"#;

fn plan() -> Arc<Plan> {
    let loaded = runbook::runbook::load(Source::new("runbooks/outage.yaml", RUNBOOK)).unwrap_or_else(|problems| {
        panic!("{}", problems.iter().map(|problem| problem.render(false)).collect::<String>());
    });
    match plan::build(&loaded, &actions::builtin(), &BTreeMap::new()) {
        Ok(plan) => Arc::new(plan),
        Err(plan::Unplanned::Runbook(problems)) => {
            panic!("{}", problems.iter().map(|problem| problem.render(false)).collect::<String>())
        }
        Err(other) => panic!("{other:?}"),
    }
}

fn id(text: &str) -> StepPath {
    StepPath::parse(text).unwrap()
}

/// Events, written down as they would have been.
struct Story {
    plan: Arc<Plan>,
    events: Vec<Recorded>,
    now: Timestamp,
}

impl Story {
    fn new(drill: Option<&str>) -> Self {
        let plan = plan();
        let now = "2026-11-23T16:11:00Z".parse().unwrap();
        let mut story = Self { events: Vec::new(), now, plan };
        let started = Event::RunStarted {
            run: RunId::parse("20261123-161100-abcd").unwrap(),
            runbook: "outage".to_owned(),
            plan: story.plan.digest().clone(),
            by: "user:alice".to_owned(),
            drill: drill.map(str::to_owned),
            limits: Limits { io: 8, processes: 2 },
            version: "0.1.0".to_owned(),
            locks: Vec::new(),
        };
        story.happens(0, started);
        story
    }

    fn happens(&mut self, after_seconds: i64, event: Event) -> &mut Self {
        self.now = self.now.saturating_add(jiff::SignedDuration::from_secs(after_seconds)).unwrap();
        self.events.push(Recorded { at: self.now, event });
        self
    }

    fn begins(&mut self, after: i64, step: &str, attempt: u32) -> &mut Self {
        let params = (attempt == 1).then(|| json!({}));
        self.happens(after, Event::AttemptStarted { step: id(step), attempt: Attempt(attempt), params })
    }

    fn ends(&mut self, after: i64, step: &str, attempt: u32, outputs: Value) -> &mut Self {
        let result = AttemptResult::Succeeded { outputs };
        self.happens(
            after,
            Event::AttemptFinished { step: id(step), attempt: Attempt(attempt), result, next: Next::End, met: None },
        )
    }

    fn fails(&mut self, after: i64, step: &str, attempt: u32, error: ActionError) -> &mut Self {
        let result = AttemptResult::Failed { error };
        self.happens(
            after,
            Event::AttemptFinished { step: id(step), attempt: Attempt(attempt), result, next: Next::End, met: None },
        )
    }

    fn pauses(&mut self, step: &str, attempt: u32, result: AttemptResult) -> &mut Self {
        let at = self.now.saturating_add(jiff::SignedDuration::from_secs(5)).unwrap();
        let next = Next::Again { at };
        self.happens(0, Event::AttemptFinished { step: id(step), attempt: Attempt(attempt), result, next, met: None })
            .happens(5, Event::TimerFired { timer: Timer::Again { step: id(step) } })
    }

    fn skipped(&mut self, step: &str, because: Cause) -> &mut Self {
        self.happens(0, Event::StepSkipped { step: id(step), because })
    }

    fn needs(&mut self, step: &str, need: &str, result: StepResult) -> &mut Self {
        self.skipped(step, Cause::Need { step: id(need), result })
    }

    fn answers(&mut self, after: i64, answer: Answer, reason: &str) -> &mut Self {
        let decision = Decision {
            by: "user:bob".to_owned(),
            answer,
            answers: [("reason".to_owned(), json!(reason))].into_iter().collect(),
            via: "terminal".to_owned(),
        };
        self.happens(after, Event::GateAnswered { step: id("open_bypass"), digest: Digest::of(b"effect"), decision })
    }

    /// Up to the open gate.
    fn triaged(&mut self) -> &mut Self {
        self.begins(0, "frontend", 1)
            .fails(2, "frontend", 1, ActionError::new(ErrorKind::Server, "the server said 503"))
            .happens(
                0,
                Event::Decided {
                    step: id("triage"),
                    arm: Some(0),
                    outputs: json!({ "category": "clerk-outage", "severity": "critical" }),
                },
            )
            .happens(0, Event::ManualAsked { step: id("tell_customers"), text: "Post the statement.".to_owned() });
        let expires = self.now.saturating_add(jiff::SignedDuration::from_mins(15)).unwrap();
        self.happens(
            0,
            Event::GateOpened {
                step: id("open_bypass"),
                digest: Digest::of(b"effect"),
                prompt: "Open the bypass for 1h?".to_owned(),
                does: Vec::new(),
                expires: Some(expires),
            },
        )
    }

    fn told_customers(&mut self) -> &mut Self {
        let evidence = [("link".to_owned(), json!("https://status.example.com/1"))].into_iter().collect();
        let result = ManualResult::Done { evidence };
        self.happens(30, Event::ManualAnswered { step: id("tell_customers"), by: "user:carol".to_owned(), result })
    }

    fn bypassed(&mut self) -> &mut Self {
        self.triaged()
            .told_customers()
            .answers(90, Answer::Approve, "sign-in is down everywhere")
            .begins(0, "open_bypass", 1)
            .ends(3, "open_bypass", 1, json!({}))
            .begins(0, "deploy", 1)
    }

    fn finally(&mut self, outcome: Outcome) -> &mut Self {
        self.happens(0, Event::FinallyBegan { outcome, within: None }).begins(0, "report", 1)
    }

    fn over(&mut self, outcome: Outcome) -> &mut Self {
        self.ends(1, "report", 1, json!({ "path": "artifacts/report.md" })).happens(0, Event::RunFinished { outcome })
    }

    fn summary(&self) -> Summary {
        Summary::of(&self.plan, &self.events).unwrap_or_else(|error| panic!("{error}"))
    }

    fn report(&self) -> String {
        let template = report::built_in(report::POST_INCIDENT).unwrap();
        report::render(&self.summary(), report::POST_INCIDENT, template).unwrap_or_else(|error| panic!("{error}"))
    }

    fn console(&self, mode: Mode) -> String {
        let out = Shared::default();
        let console = Console::new(Arc::clone(&self.plan), mode, out.clone()).log("runs/1/log.jsonl");
        let mut console = console.drawn_on(indicatif::ProgressDrawTarget::hidden());
        for recorded in &self.events {
            console.event(recorded);
        }
        console.finish(&self.summary());
        drop(console);
        let bytes = out.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A yes, a bypass, one failed deployment, a check that looks three times, and the end of it all.
fn recovered(drill: Option<&str>) -> Story {
    let mut story = Story::new(drill);
    let not_yet = || AttemptResult::Succeeded { outputs: json!({ "status": 503 }) };
    let refused = ActionError::new(ErrorKind::Failed, "the build was refused");
    story
        .bypassed()
        .pauses("deploy", 1, AttemptResult::Failed { error: refused })
        .begins(0, "deploy", 2)
        .ends(80, "deploy", 2, json!({}))
        .begins(0, "bypass_works", 1)
        .pauses("bypass_works", 1, not_yet())
        .begins(0, "bypass_works", 2)
        .pauses("bypass_works", 2, not_yet())
        .begins(0, "bypass_works", 3)
        .ends(1, "bypass_works", 3, json!({ "status": 200 }))
        .begins(0, "close_bypass", 1)
        .ends(3900, "close_bypass", 1, json!({}))
        .finally(Outcome::Succeeded);
    story
}

fn rolled_back() -> Story {
    let mut story = Story::new(None);
    let error = ActionError::new(ErrorKind::Rejected, "the vendor said 403");
    let undone = Undone {
        summary: "DELETE https://app.example.com/bypass".to_owned(),
        left: vec!["the preview deployments keep it".to_owned()],
    };
    story
        .bypassed()
        .fails(20, "deploy", 1, error)
        .needs("bypass_works", "deploy", StepResult::Failed)
        .needs("close_bypass", "bypass_works", StepResult::Skipped)
        .happens(0, Event::RollbackBegan { within: None, steps: vec![id("open_bypass")], because: Why::Failure })
        .happens(0, Event::UndoStarted { step: id("open_bypass"), attempt: Attempt::FIRST, params: None })
        .happens(
            2,
            Event::UndoFinished { step: id("open_bypass"), result: UndoResult::Undone { undone }, next: Next::End },
        )
        .finally(Outcome::RolledBack)
        .over(Outcome::RolledBack);
    story
}

fn rejected() -> Story {
    let mut story = Story::new(None);
    story
        .triaged()
        .told_customers()
        .answers(30, Answer::Reject, "it is only our own network")
        .needs("deploy", "open_bypass", StepResult::Rejected)
        .needs("bypass_works", "deploy", StepResult::Skipped)
        .needs("close_bypass", "bypass_works", StepResult::Skipped)
        .finally(Outcome::Rejected)
        .over(Outcome::Rejected);
    story
}

fn cancelled() -> Story {
    let mut story = Story::new(None);
    story
        .bypassed()
        .happens(12, Event::CancelRequested { by: "a signal".to_owned(), reason: None })
        .fails(1, "deploy", 1, ActionError::cancelled())
        .finally(Outcome::Cancelled)
        .over(Outcome::Cancelled);
    story
}

/// The process died while it deployed; another one took over.
fn resumed() -> Story {
    let mut story = Story::new(None);
    story
        .bypassed()
        .happens(300, Event::RunResumed { by: "user:dave".to_owned(), locks: Vec::new() })
        .happens(
            60,
            Event::DoubtResolved {
                undo: false,
                step: id("deploy"),
                doubt: Doubt::Happened { outputs: json!({}) },
                by: "user:dave".to_owned(),
            },
        )
        .begins(0, "bypass_works", 1);
    story
}

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
    let samples: Vec<Value> = [over, rolled_back(), waits, in_doubt]
        .iter()
        .map(|story| serde_json::to_value(story.summary()).unwrap())
        .collect();
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
        missing.ends_with("No such file or directory (os error 2); built in is `post-incident.md.j2`"),
        "{missing}"
    );
    std::fs::remove_dir_all(&root).unwrap();
}
