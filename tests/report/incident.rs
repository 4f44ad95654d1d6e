//! What only people know, and what the steps counted: by the names of inputs, answers, evidence and outputs.

use std::collections::BTreeMap;

use runbook::base::{Digest, Timestamp};
use runbook::run::{Answer, Decision, Event, ManualResult, Outcome};
use serde_json::{Value, json};

use super::story::{Story, id};

const RUNBOOK: &str = r#"
runbook: everybody-out
title: Everybody out
severity: medium
inputs:
  detected_by: { type: string }
  detected_at: { type: string }
steps:
  count:
    uses: http.get
    with: { url: "https://users.example.com/count" }
  verdict:
    needs: [count]
    uses: decide
    with: [{ then: { category: mass-logout, severity: medium } }]
  sign_out:
    title: Sign everybody out
    needs: [verdict]
    approval: { prompt: "Sign everybody out?", ask: { data_loss: { type: string }, users_affected: { type: integer } } }
    argv: [./sign-out]
    measure: { expires: 1h }
  look_back:
    needs: [sign_out]
    manual: { text: "Find out why.", evidence: { root_cause: { type: string, required: true } } }
"#;

fn begun(detected_at: &str) -> Story {
    let inputs: BTreeMap<String, Value> =
        [("detected_by".to_owned(), json!("user report")), ("detected_at".to_owned(), json!(detected_at))].into();
    let mut story = Story::of(RUNBOOK, &inputs, "user:alice", None);
    let outputs = json!({ "category": "mass-logout", "severity": "medium", "still_missing": ["user_1", "user_2"] });
    story
        .begins(0, "count", 1)
        .ends(1, "count", 1, json!({ "status": 200, "users": 5200, "elapsed_ms": 12 }))
        .happens(0, Event::Decided { step: id("verdict"), arm: Some(0), outputs })
        .happens(
            0,
            Event::GateOpened {
                step: id("sign_out"),
                digest: Digest::of(b"effect"),
                prompt: "Sign everybody out?".to_owned(),
                does: Vec::new(),
                expires: None,
            },
        );
    story
}

fn signed_out(answers: Value) -> Story {
    let mut story = begun("2026-11-23 15:58 UTC");
    let answers = answers.as_object().unwrap().clone().into_iter().collect();
    let decision = Decision { by: "user:bob".to_owned(), answer: Answer::Approve, answers, via: "terminal".to_owned() };
    story
        .happens(30, Event::GateAnswered { step: id("sign_out"), digest: Digest::of(b"effect"), decision })
        .begins(0, "sign_out", 1)
        .ends(
            95,
            "sign_out",
            1,
            json!({ "exit_code": 0, "users": 5000, "users_done": 4120, "sessions_revoked": 6200, "failed": 0 }),
        );
    story
}

/// A run in which everything there is to say was said.
pub(crate) fn told() -> Story {
    let mut story = signed_out(json!({ "data_loss": "None", "users_affected": 4123 }));
    let until: Timestamp = "2026-11-23T18:00:00Z".parse().unwrap();
    let evidence = [("root_cause".to_owned(), json!("a cookie | domain"))].into_iter().collect();
    let (by, reason) = ("user:carol".to_owned(), "more time".to_owned());
    story
        .happens(60, Event::MeasureExtended { step: id("sign_out"), until, by: by.clone(), reason })
        .happens(0, Event::ManualAsked { step: id("look_back"), text: "Find out why.".to_owned() })
        .happens(
            60,
            Event::ManualAnswered { step: id("look_back"), by: by.clone(), result: ManualResult::Done { evidence } },
        )
        .happens(0, Event::FinallyBegan { outcome: Outcome::Succeeded, within: None })
        .happens(0, Event::RunFinished { outcome: Outcome::Succeeded })
        .happens(600, Event::MeasureClosed { step: id("sign_out"), by, reason: "it is over".to_owned() });
    story
}

#[test]
fn what_people_said_stands_where_the_review_asks_for_it() {
    let report = told().report();
    for line in [
        "| **Date** | 2026-11-23 15:58 UTC |",
        "| Incident detected | 15:58 | user report (says the inputs) |",
        "- **15:58** the incident was detected: user report",
        "- Users affected: 4123 (says bob)",
        "- Data loss: None (says bob)",
        "a cookie \\| domain (says carol)",
        "| `sign_out` | 16:13 | bob | 18:00 | 16:25, after 12m | `carol` |",
        "- 16:14 `sign_out`: made longer until 18:00 by carol: more time",
        "| `count` | users (only looked) | 5200 |",
        "| `verdict` | still missing (only looked) | 2 |",
        "| `sign_out` | sessions revoked | 6200 |",
        "- [ ] add monitoring that notices it before people do (it was detected by: user report)",
    ] {
        assert!(report.lines().any(|known| known == line), "{line}\n{report}");
    }
    assert!(!report.contains("elapsed") && !report.contains("| failed | 0 |"), "{report}");
    let summary = told().summary();
    assert_eq!(summary.times.detected, "2026-11-23T15:58:00Z".parse().unwrap());
    // From the moment it was noticed to the moment the measure was ended by hand.
    assert_eq!(summary.times.to_restore.map(|length| length.rounded()).as_deref(), Some("27m6s"));
}

#[test]
fn where_nobody_said_how_many_users_the_largest_count_of_a_change_is_a_lower_limit() {
    let summary = signed_out(json!({ "data_loss": null })).summary();
    let users = summary.incident.users_affected.unwrap();
    assert_eq!((users.count, users.by.as_str(), users.at_least), (4120, "sign_out", true));
    // Whoever went through 5000 users and did something to none of them says so.
    let mut story = begun("soon");
    let answers = [("data_loss".to_owned(), Value::Null)].into_iter().collect();
    let decision = Decision { by: "user:bob".to_owned(), answer: Answer::Approve, answers, via: String::new() };
    story
        .happens(30, Event::GateAnswered { step: id("sign_out"), digest: Digest::of(b"effect"), decision })
        .begins(0, "sign_out", 1)
        .ends(95, "sign_out", 1, json!({ "exit_code": 0, "users": 5000, "users_done": 0 }));
    assert_eq!(story.summary().incident.users_affected, None);
    // To have looked at them all concerns nobody.
    assert_eq!(begun("soon").summary().incident.users_affected, None);
}

#[test]
fn a_moment_after_the_beginning_is_no_beginning() {
    for text in ["soon", "", "2026-11-23T17:00:00Z"] {
        let summary = begun(text).summary();
        assert_eq!(summary.times.detected, summary.started, "{text}");
    }
}
