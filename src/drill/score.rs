//! The score of a rehearsal: how long it took to see, to mitigate, to restore, and what was left behind.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::observed::Observed;
use super::scenario::{Scenario, StandIn};
use crate::base::{Digest, HumanDuration, RunId, Timestamp, clock};
use crate::engine::Ending;
use crate::run::{Event, Recorded, RunState};
use crate::runlog::Entry;

/// How a rehearsal went.
#[derive(Debug, Clone, Serialize)]
pub struct Score {
    /// Always true: nothing here happened for real.
    pub drill: bool,
    /// The scenario's name.
    pub scenario: String,
    /// The run.
    pub run: RunId,
    /// The digest of the runbook's file: the same file as in production has the same digest.
    pub runbook_digest: Digest,
    /// Did everything go as the scenario expects?
    pub passed: bool,
    /// What did not.
    pub missed: Vec<String>,
    /// How the run ended: an outcome, or `waiting`, or `in_doubt`.
    pub outcome: String,
    /// From the start of the outage to the decision what it is.
    pub time_to_detect: Option<HumanDuration>,
    /// From the start of the outage until people could go on.
    pub time_to_mitigate: Option<HumanDuration>,
    /// From the start of the outage until everything was as before.
    pub time_to_restore: Option<HumanDuration>,
    /// How long the emergency measure was in force.
    pub bypass_for: Option<HumanDuration>,
    /// Gates that were opened, and answered.
    pub gates: Gates,
    /// Writes that the vendors saw, by kind.
    pub writes: serde_json::Value,
    /// What is left standing, in the world and by the run's own account.
    pub left_standing: Vec<String>,
    /// Requests that break a vendor's rules: mistakes of the runbook or of an action.
    pub refused_requests: Vec<String>,
}

/// A score as it is kept beside the run's log, so that `runbook stale` knows a green drill from another.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeptScore {
    /// The hash of the log's last line: the score is that of this log, and of no longer one.
    pub head: Digest,
    /// The scenario's name.
    pub scenario: String,
    /// Did everything go as the scenario expects?
    pub passed: bool,
    /// What did not.
    #[serde(default)]
    pub missed: Vec<String>,
}

impl KeptScore {
    /// The file's name.
    pub const FILE: &'static str = "score.json";
}

/// The gates of a run, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Gates {
    /// Questions put to people.
    pub opened: usize,
    /// Answers that were yes.
    pub approved: usize,
    /// Answers that were no, and questions that lapsed.
    pub refused: usize,
}

impl Score {
    /// Judges a rehearsal by its log, its end, and what the world saw.
    pub fn of(scenario: &Scenario, entries: &[Entry], state: &RunState, ending: &Ending, seen: &Observed) -> Self {
        let events: Vec<&Recorded> = entries.iter().map(|entry| &entry.recorded).collect();
        let outage = seen.outage().map(|window| window.from);
        let since = |at: Option<Timestamp>| outage.zip(at).map(|(from, at)| length(clock::until(from, at)));
        let bypass = seen.bypass();
        let decided = events.iter().find(|recorded| matches!(recorded.event, Event::Decided { .. }));
        let ended = events.iter().rev().find(|recorded| matches!(recorded.event, Event::FinallyBegan { .. }));
        let outcome = match ending {
            Ending::Finished(outcome) => {
                serde_json::to_value(outcome).ok().and_then(|word| word.as_str().map(str::to_owned))
            }
            Ending::Waiting(_) => Some("waiting".to_owned()),
            Ending::InDoubt(_) => Some("in_doubt".to_owned()),
        }
        .unwrap_or_default();

        let mut left_standing: Vec<String> = seen.left_standing.iter().map(ToString::to_string).collect();
        left_standing.extend(state.left_standing().iter().map(|left| format!("`{}`: {}", left.step, left.what)));
        let refused_requests: Vec<String> = seen
            .wrong_requests()
            // A page is asked for both families' addresses in turn: a 404 from it is an answer like any other.
            .filter(|refused| refused.on != StandIn::StatusPage)
            .map(|refused| {
                format!("{} {} was refused by the {} stand-in", refused.method, refused.path, refused.on.name())
            })
            .collect();

        let mut missed = scenario.expect.missed_by(seen);
        match &scenario.expect.outcome {
            Some(expected) if expected.value != outcome => {
                missed.push(format!("the run should have ended `{}`, and ended `{outcome}`", expected.value));
            }
            None if !matches!(ending, Ending::Finished(_)) => {
                missed.push(format!("the run did not end: it is {outcome}"))
            }
            Some(_) | None => {}
        }
        let category = events.iter().rev().find_map(|recorded| match &recorded.event {
            Event::Decided { outputs, .. } => outputs.get("category").and_then(|word| word.as_str()),
            _ => None,
        });
        if let Some(expected) = scenario.expect.category.as_deref().filter(|expected| category != Some(expected)) {
            let named = category.map_or("nothing".to_owned(), |category| format!("`{category}`"));
            missed.push(format!("`decide` should have named `{expected}`, and named {named}"));
        }
        missed.extend(refused_requests.iter().cloned());
        Self {
            drill: true,
            scenario: scenario.scenario.clone(),
            run: state.run().cloned().unwrap_or_else(|| RunId::new(seen.now, 0)),
            runbook_digest: state.plan().source_digest().clone(),
            passed: missed.is_empty(),
            missed,
            outcome,
            time_to_detect: since(decided.map(|recorded| recorded.at)),
            time_to_mitigate: since(bypass.map(|window| window.from)),
            time_to_restore: bypass
                .and_then(|window| window.until)
                .and_then(|_| since(ended.map(|recorded| recorded.at))),
            bypass_for: bypass.map(|window| length(clock::until(window.from, window.until.unwrap_or(seen.now)))),
            gates: gates(&events),
            writes: serde_json::to_value(&seen.writes).unwrap_or_default(),
            left_standing,
            refused_requests,
        }
    }

    /// The score for people.
    pub fn text(&self) -> String {
        let shown = |duration: Option<HumanDuration>| duration.map_or_else(|| "-".to_owned(), HumanDuration::rounded);
        let mut lines = vec![
            format!("DRILL {}: {}", self.scenario, if self.passed { "passed" } else { "NOT passed" }),
            String::new(),
            format!("  outcome           {}", self.outcome.replace('_', " ")),
            format!("  time to detect    {}", shown(self.time_to_detect)),
            format!("  time to mitigate  {}", shown(self.time_to_mitigate)),
            format!("  time to restore   {}", shown(self.time_to_restore)),
            format!("  bypass in force   {}", shown(self.bypass_for)),
            format!(
                "  gates             {} opened, {} approved, {} refused",
                self.gates.opened, self.gates.approved, self.gates.refused
            ),
            format!("  left standing     {}", if self.left_standing.is_empty() { "nothing" } else { "" })
                .trim_end()
                .to_owned(),
        ];
        lines.extend(self.left_standing.iter().map(|left| format!("    - {left}")));
        lines.push(format!("  runbook digest    {}", self.runbook_digest.short()));
        if !self.missed.is_empty() {
            lines.push(String::new());
            lines.push("  not as expected:".to_owned());
            lines.extend(self.missed.iter().map(|missed| format!("    - {missed}")));
        }
        lines.push(String::new());
        lines.join("\n")
    }
}

fn length(duration: Duration) -> HumanDuration {
    HumanDuration(Duration::from_secs(duration.as_secs()))
}

fn gates(events: &[&Recorded]) -> Gates {
    let mut gates = Gates::default();
    for recorded in events {
        match &recorded.event {
            Event::GateOpened { .. } => gates.opened += 1,
            Event::GateAnswered { decision, .. } => match decision.answer {
                crate::run::Answer::Approve => gates.approved += 1,
                crate::run::Answer::Reject => gates.refused += 1,
            },
            Event::TimerFired { timer: crate::run::Timer::Gate { .. } } => gates.refused += 1,
            _ => {}
        }
    }
    gates
}
