//! Gates that cover nothing, and limits that end nothing.

use super::Checker;
use crate::action::Effect;
use crate::base::{Code, Diagnostic, StepId};
use crate::runbook::{Does, Step};

impl Checker<'_> {
    /// A gate guards what comes after it. One that nobody waits for guards nothing.
    pub(super) fn gate(&mut self, section: &str, id: &StepId, step: &Step) {
        if step.approval.is_none() {
            return;
        }
        let runbook = &self.loaded.runbook;
        let steps = if section == "steps" { &runbook.steps } else { &runbook.finally };
        let is_needed = self.needed.contains(id);
        let (message, help) = match &step.does {
            _ if is_needed => return,
            // One that comes last signs off the whole run, and one that stands alone is what a caller waits for.
            Does::Gate if !step.needs.is_empty() || steps.len() == 1 => return,
            Does::Gate => (
                format!("no step waits for gate `{id}`, so the others go on whatever is answered"),
                format!("let the steps it is about need it: `needs: [{id}]`"),
            ),
            Does::Action { uses, .. } => {
                let reads = step.only_reads
                    || self.registry.get(uses).is_some_and(|action| action.contract().effect == Effect::Read);
                if !reads {
                    return;
                }
                (
                    format!("the gate of step `{id}` covers a step that only looks, and nothing waits for it"),
                    "put the approval on the step that changes something".to_owned(),
                )
            }
            _ => return,
        };
        let span = self.loaded.key_span(&[section, id.as_str(), "approval"]);
        self.problems.push(Diagnostic::warning(&self.loaded.source, span, Code::IdleGate, message).help(help));
    }

    /// What may take longer than the run, or than the step that it is part of, never comes to its own end.
    pub(super) fn limits(&mut self, section: &str, id: &StepId, step: &Step) {
        let run = self.loaded.runbook.timeout.filter(|_| section == "steps");
        let within = step.approval.as_ref().and_then(|approval| approval.within);
        if let (Some(within), Some(run)) = (within, run)
            && within > run
        {
            let message = format!("the question stands for {within}, and the whole run ends after {run}");
            self.dead_limit(
                &[section, id.as_str(), "approval", "within"],
                message,
                &["timeout"],
                "the limit of the run",
            );
        }
        let Some(until) = &step.until else { return };
        if let Some(limit) = step.deadline.filter(|limit| until.within > *limit) {
            let message = format!("`until` goes on for {}, and the step ends after {limit}", until.within);
            let other = [section, id.as_str(), "timeout", "step"];
            self.dead_limit(&[section, id.as_str(), "until", "within"], message, &other, "the limit of the step");
        } else if let Some(limit) = run.filter(|limit| until.within > *limit) {
            let message = format!("`until` goes on for {}, and the whole run ends after {limit}", until.within);
            self.dead_limit(&[section, id.as_str(), "until", "within"], message, &["timeout"], "the limit of the run");
        }
    }

    fn dead_limit(&mut self, at: &[&str], message: String, other: &[&str], label: &str) {
        let loaded = self.loaded;
        self.problems.push(
            Diagnostic::warning(&loaded.source, loaded.span(at), Code::DeadLimit, message)
                .related(loaded.span(other), label)
                .help("make the one shorter or the other longer"),
        );
    }

    /// `until` does its step again and again. Of an action that writes, that is seldom meant.
    pub(super) fn repeated_write(&mut self, section: &str, id: &StepId, step: &Step) {
        let (Some(_), Does::Action { uses, .. }) = (&step.until, &step.does) else { return };
        let writes =
            !step.only_reads && self.registry.get(uses).is_some_and(|action| action.contract().effect == Effect::Write);
        if !writes {
            return;
        }
        let message = format!("`until` does step `{id}` again and again, and `{}` writes", shown(uses, step));
        let help = if uses == "shell" {
            "if it only looks, say so: `effect: read`; otherwise let a step of its own look".to_owned()
        } else {
            "let a step of its own look, such as `http.get`, and put the `until` there".to_owned()
        };
        let span = self.loaded.key_span(&[section, id.as_str(), "until"]);
        self.problems.push(Diagnostic::warning(&self.loaded.source, span, Code::RepeatedWrite, message).help(help));
    }

    /// An input that nothing asks for is typed in vain.
    pub(super) fn unused_inputs(&mut self) {
        let loaded = self.loaded;
        for name in loaded.runbook.inputs.keys() {
            // The report reads these by their names.
            let is_told = crate::runbook::OF_THE_INCIDENT.contains(&name.as_str());
            if !is_told && !self.used_inputs.contains(name) {
                let span = loaded.key_span(&["inputs", name]);
                let message = format!("input `{name}` is never used");
                self.problems.push(
                    Diagnostic::warning(&loaded.source, span, Code::UnusedInput, message)
                        .help("take it away, so that nobody has to think of a value"),
                );
            }
        }
    }
}

/// What a step does, as its author wrote it.
fn shown<'u>(uses: &'u str, step: &Step) -> &'u str {
    match &step.does {
        Does::Action { with: crate::runbook::Templated::Map(map), .. } if uses == "shell" => {
            if map.contains_key("script") { "run" } else { "argv" }
        }
        _ => uses,
    }
}
