//! The statement for the public: plain words, and nothing of what a log says in words of its own.

use std::collections::{BTreeMap, BTreeSet};

use runbook::action::{ActionError, ErrorKind, Undone};
use runbook::base::{Attempt, Digest};
use runbook::report::{self, PublicView};
use runbook::run::{Answer, Cause, Decision, Event, ManualResult, Next, Outcome, UndoResult, Why};
use serde_json::{Value, json};

use super::incident;
use super::story::{Story, cancelled, id, recovered, rejected, rendered, resumed, rolled_back};

#[test]
fn an_outage_that_was_bridged_is_told_in_plain_words() {
    let mut story = recovered(None);
    story.over(Outcome::Succeeded);
    insta::assert_snapshot!(story.statement());
}

#[test]
fn what_is_not_over_is_not_called_resolved() {
    for (story, state) in [
        (recovered(None), "resolved"),
        (rolled_back(), "under_way"),
        (rejected(), "under_way"),
        (cancelled(), "under_way"),
        (resumed(), "under_way"),
        (incident::told(), "resolved"),
    ] {
        let view = PublicView::of(&story.summary());
        assert_eq!(view.state, state, "{}", story.statement());
    }
    // A triage that ends well has put nothing right.
    let mut story = Story::new(None);
    story.begins(0, "frontend", 1).ends(1, "frontend", 1, json!({ "status": 200 })).happens(
        0,
        Event::Decided { step: id("triage"), arm: Some(1), outputs: json!({ "category": "clerk-backend-degraded" }) },
    );
    assert_eq!(PublicView::of(&story.summary()).state, "under_way");
}

#[test]
fn a_drill_says_so_and_numbers_are_rounded() {
    let mut story = recovered(Some("recovers"));
    story.over(Outcome::Succeeded);
    assert!(story.statement().starts_with("# DRILL: Sign-in was unavailable, 2026-11-23\n\n**This was a DRILL.**"));
    let statement = incident::told().statement();
    assert!(statement.contains("\nAbout 4200 users.\n") && statement.contains("\nNo data was lost.\n"), "{statement}");
}

/// A word that stands nowhere else, one for every place where a log can say something.
fn mark(place: &str) -> String {
    format!("canary-{place}")
}

/// A run with a mark in every field that takes a text.
fn marked() -> Story {
    let runbook = r#"
runbook: canary-runbook
title: canary-title
summary: canary-summary
severity: critical
inputs:
  detected_by: { type: string, description: canary-description }
  project: { type: string }
secrets:
  vercel: { env: CANARY_VARIABLE }
steps:
  canary_look:
    title: canary-look-title
    uses: http.get
    with: { url: "https://canary-host.example.com/" }
    allow_failure: true
  canary_verdict:
    needs: { canary_look: finished }
    uses: decide
    with: [{ then: { category: canary-category, severity: canary-severity, next: canary-next } }]
  canary_open:
    title: canary-open-title
    needs: [canary_verdict]
    approval: { prompt: "canary-prompt {{ inputs.project }}", by: ["user:canary-approver"], ask: { data_loss: { type: string } } }
    uses: vercel.env.set
    with: { project: "{{ inputs.project }}", values: { CANARY_NAME: canary-value } }
    undo: auto
    measure: { expires: 1h }
  canary_manual:
    needs: [canary_verdict]
    manual: { text: canary-manual-text, evidence: { root_cause: { type: string }, detected_by: { type: string } } }
  canary_skipped:
    needs: [canary_verdict]
    if: "inputs.project == 'canary-condition'"
    argv: [canary-command]
  canary_breaks:
    needs: [canary_open]
    argv: [canary-command, canary-argument]
on_failure: rollback
finally:
  canary_report: { uses: report.render, with: { output: canary-report.md } }
"#;
    let inputs: BTreeMap<String, Value> = [("project", mark("project")), ("detected_by", mark("detected"))]
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .into();
    let by = |name: &str| format!("user:{}", mark(name));
    let mut story = Story::of(runbook, &inputs, &by("requester"), Some("canary-scenario"));
    let answers = [("data_loss".to_owned(), json!(mark("loss")))].into_iter().collect();
    let decision = Decision { by: by("approver"), answer: Answer::Approve, answers, via: mark("via") };
    let evidence = [("root_cause", mark("cause")), ("detected_by", mark("evidence"))]
        .map(|(name, value)| (name.to_owned(), json!(value)));
    let mut error = ActionError::new(ErrorKind::Server, mark("error"));
    error.code = Some(mark("code"));
    error.trace = Some(mark("trace"));
    let outputs = json!({
        "category": mark("category"), "severity": mark("severity"), "next": mark("next"), "data_loss": mark("loss-2"),
    });
    let undone = Undone { summary: mark("undone"), left: vec![mark("left")] };
    story
        .begins(0, "canary_look", 1)
        .fails(1, "canary_look", 1, error.clone())
        .happens(0, Event::Decided { step: id("canary_verdict"), arm: Some(0), outputs })
        .happens(
            0,
            Event::StepSkipped {
                step: id("canary_skipped"),
                because: Cause::Person { by: by("skipper"), reason: mark("reason") },
            },
        )
        .happens(
            0,
            Event::GateOpened {
                step: id("canary_open"),
                digest: Digest::of(b"effect"),
                prompt: mark("prompt"),
                does: Vec::new(),
                expires: None,
            },
        )
        .happens(0, Event::ManualAsked { step: id("canary_manual"), text: mark("text") })
        .happens(
            5,
            Event::ManualAnswered {
                step: id("canary_manual"),
                by: by("worker"),
                result: ManualResult::Done { evidence: evidence.into_iter().collect() },
            },
        )
        .happens(30, Event::GateAnswered { step: id("canary_open"), digest: Digest::of(b"effect"), decision })
        .begins(0, "canary_open", 1)
        .ends(
            9,
            "canary_open",
            1,
            json!({ "set": [mark("output")], "users": 12, "incidents": [{ "name": mark("incident") }] }),
        )
        .happens(
            60,
            Event::MeasureExtended {
                step: id("canary_open"),
                until: "2026-11-23T19:00:00Z".parse().unwrap(),
                by: by("extender"),
                reason: mark("longer"),
            },
        )
        .begins(0, "canary_breaks", 1)
        .fails(1, "canary_breaks", 1, error)
        .happens(0, Event::RollbackBegan { within: None, steps: vec![id("canary_open")], because: Why::Failure })
        .happens(0, Event::UndoStarted { step: id("canary_open"), attempt: Attempt::FIRST, params: None })
        .happens(
            2,
            Event::UndoFinished { step: id("canary_open"), result: UndoResult::Undone { undone }, next: Next::End },
        )
        .happens(0, Event::FinallyBegan { outcome: Outcome::RolledBack, within: None })
        .begins(0, "canary_report", 1)
        .ends(1, "canary_report", 1, json!({ "path": mark("path") }))
        .happens(0, Event::RunFinished { outcome: Outcome::RolledBack });
    story
}

fn texts(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::String(text) => drop(found.insert(text.clone())),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(map) => map.iter().for_each(|(name, value)| {
            found.insert(name.clone());
            texts(value, found);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[test]
fn no_word_of_a_log_gets_into_the_statement() {
    let story = marked();
    let report = story.report();
    let statement = story.statement().to_lowercase();
    // The marks are there to be found: the report for the team has them.
    for place in
        ["requester", "prompt", "approver", "loss-2", "cause", "error", "undone", "left", "extender", "category"]
    {
        assert!(report.contains(&mark(place)), "{place}\n{report}");
    }
    assert!(!statement.contains("canary"), "{statement}");
    for length in 1..=story.events.len() {
        let summary = report::Summary::of(&story.plan, &story.events[..length]).unwrap();
        let statement = rendered(&summary, report::PUBLIC_STATEMENT).to_lowercase();
        assert!(!statement.contains("canary"), "after {length} events:\n{statement}");
    }
}

/// Not only marks: whatever text there is in a summary, ids and digests too.
#[test]
fn what_the_public_sees_has_no_text_but_its_own_words() {
    let own = [
        "sign_in_outage",
        "other",
        "under_way",
        "mitigated",
        "resolved",
        "temporary_access",
        "signed_out",
        "deployed",
        "earlier_version",
        "credentials",
        "sent_again",
    ];
    let mut over = recovered(Some("recovers"));
    over.over(Outcome::Succeeded);
    for story in [marked(), over, rolled_back(), rejected(), cancelled(), resumed(), incident::told()] {
        let view = serde_json::to_value(PublicView::of(&story.summary())).unwrap();
        let mut inside = BTreeSet::new();
        view.as_object().unwrap().values().for_each(|value| texts(value, &mut inside));
        let fields = ["what", "time", "until"];
        inside.retain(|text| !own.contains(&text.as_str()) && !fields.contains(&text.as_str()));
        let is_time = |text: &String| {
            text.parse::<runbook::base::Timestamp>().is_ok() || text.parse::<runbook::base::HumanDuration>().is_ok()
        };
        assert!(inside.iter().all(is_time), "{inside:?}");
    }
}

#[test]
fn a_template_of_ones_own_for_the_public_sees_no_more() {
    let summary = marked().summary();
    for field in ["title", "by", "steps", "timeline", "gates", "inputs", "evidence", "run", "category", "incident"] {
        let template = format!("{{{{ {field} }}}}");
        let refused = report::render(&summary, "templates/public-page.html.j2", &template).unwrap_err();
        assert_eq!(refused.message, format!("`{field}` is undefined"));
        assert!(report::render(&summary, "page.html.j2", &template).is_ok(), "{field}");
    }
}
