//! The moments that a review asks for.

use super::{Fold, span};
use crate::action::Effect;
use crate::base::StepPath;
use crate::base::Timestamp;
use crate::plan::Plan;
use crate::report::summary::{KeyTimes, MeasureRow};
use crate::run::Outcome;
use crate::runbook::{Does, StepResult};

impl Fold {
    pub(super) fn key_times(&self, started: Timestamp) -> KeyTimes {
        // Whoever says that it was noticed after the run began means something else.
        let detected = self.incident.detected_at.filter(|at| *at < started).unwrap_or(started);
        let (mitigated, restored) = match self.measures.first() {
            Some(measure) => {
                let restored = measure.closed.filter(|_| matches!(measure.how, Some("closed" | "ended")));
                (self.mitigated(measure), restored)
            }
            None => (None, self.all_done()),
        };
        KeyTimes {
            detected,
            decided: self.category.as_ref().map(|named| named.at).or(self.first_decision),
            mitigated,
            restored,
            to_mitigate: mitigated.map(|at| span(detected, at)),
            to_restore: restored.map(|at| span(detected, at)),
        }
    }

    /// When the measure was seen to work.
    fn mitigated(&self, measure: &MeasureRow) -> Option<Timestamp> {
        let (plan, place) = self.state.plan_of(&measure.step)?;
        let closing = plan.step(place).measure.as_ref()?.closed_by.as_ref().and_then(|id| plan.place(id));
        let checks: Vec<usize> = downstream(plan, place, closing)
            .into_iter()
            .filter(|place| plan.step(*place).until.is_some() && !plan.is_final(*place))
            .collect();
        if checks.is_empty() {
            return Some(measure.since);
        }
        let succeeded = checks.into_iter().filter_map(|place| self.state.beside(&measure.step, place));
        succeeded
            .filter(|record| record.result() == Some(StepResult::Succeeded))
            .filter_map(|record| record.finished_at)
            .min()
    }

    /// When the last step that changed something was done, in a run that went well.
    fn all_done(&self) -> Option<Timestamp> {
        let outcome = self.state.outcome().or_else(|| self.state.outcome_before_finally());
        if outcome != Some(Outcome::Succeeded) {
            return None;
        }
        let changes = |path: &StepPath| {
            let writes = self.state.facts(path).is_some_and(|facts| facts.effect == Effect::Write);
            writes || self.state.step(path).is_some_and(|step| matches!(step.does, Does::Manual(_)))
        };
        self.state
            .records()
            .filter(|(path, record)| record.stands() && !self.state.is_final(path) && changes(path))
            .map(|(_, record)| record)
            .filter_map(|record| record.finished_at)
            .max()
    }
}

/// The places of all steps after `place`, but neither `without` nor what comes after that.
fn downstream(plan: &Plan, place: usize, without: Option<usize>) -> Vec<usize> {
    let mut found = vec![false; plan.len()];
    let mut next = plan.dependents(place);
    while let Some(place) = next.pop() {
        if Some(place) != without && !std::mem::replace(&mut found[place], true) {
            next.extend(plan.dependents(place));
        }
    }
    found.iter().enumerate().filter(|(_, found)| **found).map(|(place, _)| place).collect()
}
