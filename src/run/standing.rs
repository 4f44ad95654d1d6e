//! What a run leaves in the world: measures in force, and what it changed and did not put back.

use std::collections::BTreeSet;

use super::rendering::Rendering;
use super::state::{InForce, LeftStanding, RunState, StepState, UndoState};
use crate::action::Effect;
use crate::base::{StepPath, Timestamp, clock};
use crate::runbook::{Does, StepResult};

impl RunState {
    /// Emergency measures that are in force now.
    pub fn measures_in_force(&self) -> Vec<InForce> {
        let in_force = self.measures.iter().filter(|node| self.is_in_force(**node));
        in_force
            .filter_map(|node| {
                let since = self.records[*node].finished_at?;
                Some(InForce { step: self.path(*node).clone(), since })
            })
            .collect()
    }

    /// When the measure of a step must be over. Its time runs from the moment its step began to act: that is what its
    /// parameters were made for, and so what the other side holds itself to.
    pub fn measure_expiry(&self, step: &StepPath) -> Option<Timestamp> {
        let record = self.record(step)?;
        if record.extended.is_some() {
            return record.extended;
        }
        let began = record.started_at?;
        let length = Rendering::new(self, step, began)?.measure_length()?;
        Some(clock::after(began, length))
    }

    /// Which steps would be undone, those that were built on others first. Nothing is done.
    pub fn undo_order(&self, only: &[StepPath]) -> Vec<Vec<StepPath>> {
        let mut planned = self.to_undo_in(0);
        planned.retain(|node| only.is_empty() || only.contains(self.path(*node)));
        let mut rollback = super::rollback::Rollback::new(self, 0, true, planned);
        let mut waves = Vec::new();
        while !rollback.due.is_empty() {
            let wave: Vec<usize> = rollback.due.iter().copied().collect();
            waves.push(wave.iter().map(|node| self.path(*node).clone()).collect());
            wave.into_iter().for_each(|node| rollback.undone(self, node));
        }
        waves
    }

    /// What there is to undo of a step: itself, its items, or the steps that it called.
    pub fn to_undo_of(&self, step: &StepPath) -> Vec<StepPath> {
        let Some(node) = self.place(step) else { return Vec::new() };
        let mut found = BTreeSet::new();
        self.to_undo_at(node, &mut found);
        found.into_iter().map(|node| self.path(node).clone()).collect()
    }

    /// What stands in the way of undoing only these steps: whatever was built on them and would not be undone.
    pub fn built_on(&self, only: &[StepPath]) -> Vec<StepPath> {
        let named: BTreeSet<usize> = only.iter().filter_map(|step| self.place(step)).collect();
        let mut found = BTreeSet::new();
        for node in &named {
            // What needs a called runbook was built on all that is in it.
            let mut at = Some(*node);
            while let Some(node) = at {
                let mut own = BTreeSet::new();
                self.to_undo_at(node, &mut own);
                found.extend(self.to_undo_from(node).into_iter().filter(|other| !own.contains(other)));
                at = self.frames[self.nodes[node].frame].caller;
            }
        }
        found.difference(&named).map(|node| self.path(*node).clone()).collect()
    }

    /// Steps that changed something and whose runbook has no way to undo that.
    pub fn cannot_be_undone(&self) -> Vec<StepPath> {
        let stays = |node: &usize| {
            let record = &self.records[*node];
            let is_around = self.is_loop(*node) || matches!(self.written(*node).does, Does::Call(_));
            !is_around
                && record.acted()
                && self.written(*node).undo.is_none()
                && self.facts_at(*node).effect == Effect::Write
                && !self.nodes[*node].is_final
        };
        (0..self.nodes.len()).filter(stays).map(|node| self.path(node).clone()).collect()
    }

    /// What the run changed and did not put back: measures in force, undone writes that left something, writes after
    /// a failure that nobody undid.
    pub fn left_standing(&self) -> Vec<LeftStanding> {
        let mut left: Vec<LeftStanding> = Vec::new();
        let in_force = self.measures_in_force();
        for measure in &in_force {
            left.push(LeftStanding {
                step: measure.step.clone(),
                what: "its emergency measure is in force".to_owned(),
            });
        }
        let root = &self.frames[0];
        let went_wrong =
            root.first_failure.is_some() || self.cancelled.is_some() || self.out_of_time || self.undo_failed;
        for (node, record) in self.records.iter().enumerate() {
            let step = self.path(node);
            match &record.undo {
                Some(UndoState::Undone(undone)) => {
                    left.extend(undone.left.iter().map(|what| LeftStanding { step: step.clone(), what: what.clone() }));
                }
                Some(UndoState::Failed(error)) => {
                    let what = format!("its undo failed: {}", error.message);
                    left.push(LeftStanding { step: step.clone(), what });
                }
                Some(UndoState::Running | UndoState::InDoubt | UndoState::Pausing) => {
                    left.push(LeftStanding { step: step.clone(), what: "its undo was not seen to end".to_owned() });
                }
                None => {
                    // A loop and a call change nothing themselves; what is inside them does.
                    let is_around = self.is_loop(node) || matches!(self.written(node).does, Does::Call(_));
                    let named = in_force.iter().any(|measure| measure.step == *step);
                    if is_around || named || self.facts_at(node).effect != Effect::Write {
                        continue;
                    }
                    let in_frame = self.frames[self.nodes[node].frame].first_failure.is_some();
                    let uncertain = record.error.as_ref().is_some_and(|error| error.uncertain);
                    let what = match &record.state {
                        StepState::InDoubt | StepState::Interrupted => "nobody knows whether it happened",
                        StepState::Ended(StepResult::Failed) if record.acted() => "what it did was not undone",
                        StepState::Ended(StepResult::Failed) if uncertain => "nobody knows whether it happened",
                        _ if (went_wrong || in_frame) && record.stands() && !self.nodes[node].is_final => {
                            "what it did was not undone"
                        }
                        _ => continue,
                    };
                    left.push(LeftStanding { step: step.clone(), what: what.to_owned() });
                }
            }
        }
        left
    }
}
