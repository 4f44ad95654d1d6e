//! Steps that can never run: what they need can never be so.

use std::collections::BTreeSet;

use indexmap::IndexMap;
use petgraph::graph::{DiGraph, NodeIndex};

use super::Checker;
use crate::base::{Code, Diagnostic, StepId};
use crate::runbook::{Does, Need, Step, StepResult};

impl Checker<'_> {
    /// Tells of every step whose needs contradict what its neighbours can come to, in both sections.
    pub(super) fn reach(&mut self) {
        let runbook = &self.loaded.runbook;
        for (section, steps) in [("steps", &runbook.steps), ("finally", &runbook.finally)] {
            self.reach_in(section, steps);
        }
        self.closers();
    }

    fn reach_in(&mut self, section: &str, steps: &IndexMap<StepId, Step>) {
        let mut graph = DiGraph::<(), ()>::with_capacity(steps.len(), steps.len());
        steps.iter().for_each(|_| {
            graph.add_node(());
        });
        for (index, step) in steps.values().enumerate() {
            for needed in step.needs.keys().filter_map(|needed| steps.get_index_of(needed)) {
                graph.add_edge(NodeIndex::new(needed), NodeIndex::new(index), ());
            }
        }
        // Steps that wait for each other are told elsewhere.
        let Ok(order) = petgraph::algo::toposort(&graph, None) else { return };
        let mut possible: Vec<BTreeSet<StepResult>> = vec![BTreeSet::new(); steps.len()];
        for index in order.into_iter().map(NodeIndex::index) {
            let Some((id, step)) = steps.get_index(index) else { continue };
            let condition = self.conditions.get(id).copied();
            let mut can_be_skipped = step.condition.is_some() && condition != Some(true);
            let mut never = condition == Some(false);
            for (needed, need) in &step.needs {
                let Some(results) = steps.get_index_of(needed).map(|index| &possible[index]) else { continue };
                if results.is_empty() {
                    continue;
                }
                can_be_skipped |= !results.iter().all(|result| need.accepts(*result));
                if !results.iter().any(|result| need.accepts(*result)) {
                    if !never {
                        self.never_runs(section, id, needed, need, results, &steps[needed]);
                    }
                    never = true;
                }
            }
            possible[index] = results_of(step, can_be_skipped, never);
            if never {
                self.never_run.insert(id.clone());
            }
        }
    }

    fn never_runs(
        &mut self,
        section: &str,
        id: &StepId,
        needed: &StepId,
        need: &Need,
        results: &BTreeSet<StepResult>,
        other: &Step,
    ) {
        let why = match results.iter().copied().collect::<Vec<_>>().as_slice() {
            [StepResult::Skipped] => format!("`{needed}` is always skipped"),
            _ if need.0 == [StepResult::Rejected] => match other.does {
                Does::Call(_) => return,
                _ => format!("`{needed}` asks nobody"),
            },
            _ if need.0 == [StepResult::Skipped] => format!("`{needed}` is never skipped"),
            _ => {
                let all = results.iter().map(|result| format!("`{result}`")).collect::<Vec<_>>().join(" or ");
                format!("`{needed}` ends as {all}")
            }
        };
        let help = if results.iter().eq([&StepResult::Skipped]) {
            format!("mend what keeps `{needed}` from running, or take `{id}` away")
        } else if need.0 == [StepResult::Rejected] {
            format!("give `{needed}` an `approval`, or write `{needed}: failed`")
        } else if need.0 == [StepResult::Skipped] {
            format!("give `{needed}` an `if`, or take `{id}` away")
        } else {
            format!("write a result that `{needed}` can have")
        };
        let span = self.needed_span(section, id, needed);
        let wanted = match need.0.as_slice() {
            [StepResult::Succeeded] => "to succeed".to_owned(),
            [StepResult::Failed] => "to fail".to_owned(),
            _ => format!("to be {need}"),
        };
        let message = format!("step `{id}` can never run: it needs `{needed}` {wanted}, and {why}");
        self.problems.push(Diagnostic::warning(&self.loaded.source, span, Code::NeverRuns, message).help(help));
    }

    /// A measure that only a step which never runs would close.
    fn closers(&mut self) {
        let loaded = self.loaded;
        for (id, step) in &loaded.runbook.steps {
            let Some(closer) = step.measure.as_ref().and_then(|measure| measure.closed_by.as_ref()) else { continue };
            if self.never_run.contains(closer) {
                let span = loaded.span(&["steps", id.as_str(), "measure", "closed_by"]);
                let message = format!("the measure of step `{id}` is closed by `{closer}`, which can never run");
                self.problems.push(
                    Diagnostic::warning(&loaded.source, span, Code::NeverRuns, message)
                        .help("name a step that runs, or the measure stays in force until it expires"),
                );
            }
        }
    }
}

/// How a step can end. A run that stops or is cancelled skips more, but then nothing else begins either.
fn results_of(step: &Step, can_be_skipped: bool, never: bool) -> BTreeSet<StepResult> {
    let mut results = BTreeSet::new();
    if never {
        results.insert(StepResult::Skipped);
        return results;
    }
    results.extend([StepResult::Succeeded, StepResult::Failed]);
    // A person may leave out what is done by hand.
    if can_be_skipped || matches!(step.does, Does::Manual(_)) {
        results.insert(StepResult::Skipped);
    }
    if step.approval.is_some() || matches!(step.does, Does::Call(_) | Does::Gate) {
        results.insert(StepResult::Rejected);
    }
    results
}
