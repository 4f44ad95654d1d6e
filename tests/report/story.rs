//! Hand-made events of a run, written down as they would have been.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex};

use runbook::action::{ActionError, ErrorKind, Undone};
use runbook::actions;
use runbook::base::{Attempt, Digest, RunId, Source, StepPath, Timestamp};
use runbook::plan::{self, Plan};
use runbook::report::{self, Console, Mode, Summary};
use runbook::run::{
    Answer, AttemptResult, Cause, Decision, Doubt, Event, Limits, ManualResult, Next, Outcome, Recorded, Timer,
    UndoResult, Why,
};
use runbook::runbook::StepResult;
use serde_json::{Value, json};

pub(crate) const RUNBOOK: &str = r#"
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

pub(crate) fn plan(runbook: &str, inputs: &BTreeMap<String, Value>) -> Arc<Plan> {
    let loaded = runbook::runbook::load(Source::new("runbooks/outage.yaml", runbook)).unwrap_or_else(|problems| {
        panic!("{}", problems.iter().map(|problem| problem.render(false)).collect::<String>());
    });
    match plan::build(&loaded, &actions::builtin(), inputs) {
        Ok(plan) => Arc::new(plan),
        Err(plan::Unplanned::Runbook(problems)) => {
            panic!("{}", problems.iter().map(|problem| problem.render(false)).collect::<String>())
        }
        Err(other) => panic!("{other:?}"),
    }
}

pub(crate) fn id(text: &str) -> StepPath {
    StepPath::parse(text).unwrap()
}

/// Events, written down as they would have been.
pub(crate) struct Story {
    pub(crate) plan: Arc<Plan>,
    pub(crate) events: Vec<Recorded>,
    pub(crate) now: Timestamp,
}

impl Story {
    pub(crate) fn new(drill: Option<&str>) -> Self {
        Self::of(RUNBOOK, &BTreeMap::new(), "user:alice", drill)
    }

    /// The story of a run of another runbook.
    pub(crate) fn of(runbook: &str, inputs: &BTreeMap<String, Value>, by: &str, drill: Option<&str>) -> Self {
        let plan = plan(runbook, inputs);
        let now = "2026-11-23T16:11:00Z".parse().unwrap();
        let mut story = Self { events: Vec::new(), now, plan };
        let started = Event::RunStarted {
            run: RunId::parse("20261123-161100-abcd").unwrap(),
            runbook: story.plan.runbook().name.to_string(),
            plan: story.plan.digest().clone(),
            by: by.to_owned(),
            drill: drill.map(str::to_owned),
            limits: Limits { io: 8, processes: 2 },
            version: "0.1.0".to_owned(),
            locks: Vec::new(),
        };
        story.happens(0, started);
        story
    }

    pub(crate) fn happens(&mut self, after_seconds: i64, event: Event) -> &mut Self {
        self.now = self.now.saturating_add(jiff::SignedDuration::from_secs(after_seconds)).unwrap();
        self.events.push(Recorded { at: self.now, event });
        self
    }

    pub(crate) fn begins(&mut self, after: i64, step: &str, attempt: u32) -> &mut Self {
        let params = (attempt == 1).then(|| json!({}));
        self.happens(after, Event::AttemptStarted { step: id(step), attempt: Attempt(attempt), params })
    }

    pub(crate) fn ends(&mut self, after: i64, step: &str, attempt: u32, outputs: Value) -> &mut Self {
        let result = AttemptResult::Succeeded { outputs };
        self.happens(
            after,
            Event::AttemptFinished { step: id(step), attempt: Attempt(attempt), result, next: Next::End, met: None },
        )
    }

    pub(crate) fn fails(&mut self, after: i64, step: &str, attempt: u32, error: ActionError) -> &mut Self {
        let result = AttemptResult::Failed { error };
        self.happens(
            after,
            Event::AttemptFinished { step: id(step), attempt: Attempt(attempt), result, next: Next::End, met: None },
        )
    }

    pub(crate) fn pauses(&mut self, step: &str, attempt: u32, result: AttemptResult) -> &mut Self {
        let at = self.now.saturating_add(jiff::SignedDuration::from_secs(5)).unwrap();
        let next = Next::Again { at };
        self.happens(0, Event::AttemptFinished { step: id(step), attempt: Attempt(attempt), result, next, met: None })
            .happens(5, Event::TimerFired { timer: Timer::Again { step: id(step) } })
    }

    pub(crate) fn skipped(&mut self, step: &str, because: Cause) -> &mut Self {
        self.happens(0, Event::StepSkipped { step: id(step), because })
    }

    pub(crate) fn needs(&mut self, step: &str, need: &str, result: StepResult) -> &mut Self {
        self.skipped(step, Cause::Need { step: id(need), result })
    }

    pub(crate) fn answers(&mut self, after: i64, answer: Answer, reason: &str) -> &mut Self {
        let decision = Decision {
            by: "user:bob".to_owned(),
            answer,
            answers: [("reason".to_owned(), json!(reason))].into_iter().collect(),
            via: "terminal".to_owned(),
        };
        self.happens(after, Event::GateAnswered { step: id("open_bypass"), digest: Digest::of(b"effect"), decision })
    }

    /// Up to the open gate.
    pub(crate) fn triaged(&mut self) -> &mut Self {
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

    pub(crate) fn told_customers(&mut self) -> &mut Self {
        let evidence = [("link".to_owned(), json!("https://status.example.com/1"))].into_iter().collect();
        let result = ManualResult::Done { evidence };
        self.happens(30, Event::ManualAnswered { step: id("tell_customers"), by: "user:carol".to_owned(), result })
    }

    pub(crate) fn bypassed(&mut self) -> &mut Self {
        self.triaged()
            .told_customers()
            .answers(90, Answer::Approve, "sign-in is down everywhere")
            .begins(0, "open_bypass", 1)
            .ends(3, "open_bypass", 1, json!({}))
            .begins(0, "deploy", 1)
    }

    pub(crate) fn finally(&mut self, outcome: Outcome) -> &mut Self {
        self.happens(0, Event::FinallyBegan { outcome, within: None }).begins(0, "report", 1)
    }

    pub(crate) fn over(&mut self, outcome: Outcome) -> &mut Self {
        self.ends(1, "report", 1, json!({ "path": "artifacts/report.md" })).happens(0, Event::RunFinished { outcome })
    }

    pub(crate) fn summary(&self) -> Summary {
        Summary::of(&self.plan, &self.events).unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) fn report(&self) -> String {
        rendered(&self.summary(), report::POST_INCIDENT)
    }

    /// What is told the public.
    pub(crate) fn statement(&self) -> String {
        rendered(&self.summary(), report::PUBLIC_STATEMENT)
    }

    pub(crate) fn console(&self, mode: Mode) -> String {
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
pub(crate) struct Shared(pub(crate) Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A summary with a built-in template.
pub(crate) fn rendered(summary: &Summary, template: &str) -> String {
    let text = report::built_in(template).unwrap();
    report::render(summary, template, text).unwrap_or_else(|error| panic!("{template}: {error}"))
}

/// A yes, a bypass, one failed deployment, a check that looks three times, and the end of it all.
pub(crate) fn recovered(drill: Option<&str>) -> Story {
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

pub(crate) fn rolled_back() -> Story {
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

pub(crate) fn rejected() -> Story {
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

pub(crate) fn cancelled() -> Story {
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
pub(crate) fn resumed() -> Story {
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
