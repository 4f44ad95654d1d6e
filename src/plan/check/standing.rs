//! Writes that a rollback would leave as they are.

use super::Checker;
use crate::action::Effect;
use crate::base::{Code, Diagnostic, StepId};
use crate::runbook::{Does, OnFailure, Step};

impl Checker<'_> {
    /// A runbook that rolls back says of every write that others are built on how it is undone, or that it is not.
    pub(super) fn left_standing(&mut self, id: &StepId, step: &Step) {
        let Does::Action { uses, .. } = &step.does else { return };
        let rolls_back = self.loaded.runbook.on_failure == OnFailure::Rollback;
        // `undo: none` is an answer too, and one that cannot be read has been told of.
        if !rolls_back || !self.needed.contains(id) || self.loaded.has(&["steps", id.as_str(), "undo"]) {
            return;
        }
        let Some(contract) = self.registry.get(uses).map(|action| action.contract()) else { return };
        if step.only_reads || contract.effect == Effect::Read {
            return;
        }
        let help = match contract.undo {
            Some(words) => format!("write `undo: auto`, which {words}, or `undo: none` where that is meant to stay"),
            None => {
                "say how, with `undo: { run: … }` or another action, or write `undo: none` where that is meant to stay"
                    .to_owned()
            }
        };
        let message = format!("step `{id}` changes something, and a rollback would leave it so");
        let loaded = self.loaded;
        self.problems.push(
            Diagnostic::warning(&loaded.source, loaded.key_span(&["steps", id.as_str()]), Code::LeftStanding, message)
                .related(loaded.span(&["on_failure"]), "this rolls back")
                .help(help),
        );
    }
}
