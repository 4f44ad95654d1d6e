//! What the facts suggest to look into.

use super::Fold;
use crate::action::{Effect, ErrorKind};
use crate::base::{StepPath, Timestamp, clock};
use crate::report::summary::{FollowUp, Standing};
use crate::report::words;
use crate::runbook::{Does, StepResult};

/// A wait for an answer longer than this asks for a look, where the gate sets no limit of its own.
const LONG_WAIT: std::time::Duration = std::time::Duration::from_secs(600);

impl Fold {
    pub(super) fn follow_ups(&self, standing: &[Standing]) -> Vec<FollowUp> {
        let mut found = Vec::new();
        let mut add = |step: Option<&StepPath>, what: &str, because: Option<String>| {
            found.push(FollowUp { step: step.cloned(), what: what.to_owned(), because });
        };
        for measure in self.measures.iter().filter(|measure| measure.closed.is_none()) {
            let must = |at: Timestamp| if at < self.state.now() { "had" } else { "has" };
            let until = measure.expires.map(|at| format!("it {} to be over by {}", must(at), words::minute(at)));
            add(Some(&measure.step), "close its emergency measure, which is still in force", until);
        }
        for left in standing {
            if !self.measures.iter().any(|measure| measure.step == left.step && measure.closed.is_none()) {
                add(Some(&left.step), "decide what becomes of what it left", Some(left.what.clone()));
            }
        }
        for (id, record) in self.state.records() {
            let looks = self.state.facts(id).is_some_and(|facts| facts.effect == Effect::Read);
            let allowed = self.step(id).is_some_and(|step| step.allow_failure);
            let error = record.error.as_ref().filter(|error| error.kind != ErrorKind::Cancelled);
            // A look that may fail is an observation: often the incident itself.
            if record.result() == Some(StepResult::Failed) && !(looks && allowed) {
                if self.failed_inside(id) {
                    continue;
                }
                add(Some(id), "look into why it failed", error.map(|error| error.message.clone()));
            } else if let Some((times, message)) = self.retried.get(id) {
                let what = match times {
                    1 => "look into why it failed once".to_owned(),
                    times => format!("look into why it failed {times} times"),
                };
                add(Some(id), &what, Some(message.clone()));
            }
        }
        for gate in &self.gates {
            let limit = gate.expires.map_or(LONG_WAIT, |expires| clock::until(gate.opened, expires) / 2);
            let waited = gate.waited.rounded();
            if gate.answer == Some("lapsed") {
                add(
                    Some(&gate.step),
                    "find out why nobody answered in time",
                    Some(format!("it was open for {waited}")),
                );
            } else if gate.waited.0 > limit {
                add(Some(&gate.step), "find out why the answer took so long", Some(format!("it took {waited}")));
            }
        }
        for measure in self.measures.iter().filter(|measure| measure.closed.is_some()) {
            if let Some(overdue) = measure.overdue {
                let because = format!("it was in force {} too long", overdue.rounded());
                add(Some(&measure.step), "find out why its emergency measure outlived its limit", Some(because));
            }
        }
        if let Some(said) = self.incident.detected_by.as_ref().filter(|said| is_a_person(&said.what)) {
            let because = format!("it was detected by: {}", said.what);
            add(None, "add monitoring that notices it before people do", Some(because));
        }
        if self.lost > 0 {
            let because = format!("it was lost {} with steps under way", times(self.lost));
            add(None, "find out why the process that ran this ended", Some(because));
        }
        found
    }

    /// Is it a call that failed because of a step in it? Then that step is the item.
    fn failed_inside(&self, call: &StepPath) -> bool {
        let inside = format!("{call}/");
        self.step(call).is_some_and(|step| matches!(step.does, Does::Call(_)))
            && self.state.records().any(|(path, record)| {
                path.as_str().starts_with(&inside)
                    && record.result() == Some(StepResult::Failed)
                    && !self.step(path).is_some_and(|step| step.allow_failure)
            })
    }
}

/// Did people notice it, rather than a machine?
fn is_a_person(detected_by: &str) -> bool {
    let said = detected_by.to_lowercase();
    ["user", "customer", "manual", "by hand", "support"].iter().any(|word| said.contains(word))
}

fn times(count: u32) -> String {
    match count {
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        more => format!("{more} times"),
    }
}
