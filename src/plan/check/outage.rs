//! Steps that need a system which is assumed to be down.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Checker;
use crate::base::{Code, Diagnostic, StepId};
use crate::runbook::{Does, Step, Templated};

impl Checker<'_> {
    /// A step that must succeed, and asks a system of `outage_of`. One that waits until the system is back is meant so, and
    /// so is whatever comes after it.
    pub(super) fn outage(&mut self, id: &StepId, step: &Step) {
        let loaded = self.loaded;
        if loaded.runbook.outage_of.is_empty() || step.allow_failure || step.until.is_some() {
            return;
        }
        let Some((index, system, path)) = self.asks(step) else { return };
        if self.waits_for(id, &system) {
            return;
        }
        let at: Vec<&str> = ["steps", id.as_str()].into_iter().chain(path).collect();
        let index = index.to_string();
        let message = format!("step `{id}` needs `{system}`, which is assumed to be down");
        self.problems.push(
            Diagnostic::warning(&loaded.source, loaded.span(&at), Code::NeedsWhatIsDown, message)
                .related(loaded.span(&["outage_of", index.as_str()]), "assumed here")
                .help("let it fail with `allow_failure: true`, let it wait with `until`, or find another way"),
        );
    }

    /// The system that a step asks, by the name of its action or by the host that it asks.
    fn asks(&self, step: &Step) -> Option<(usize, String, Vec<&'static str>)> {
        let Does::Action { uses, with } = &step.does else { return None };
        let vendor = uses.split('.').next().unwrap_or_default();
        let url = match with {
            Templated::Literal(Value::Object(map)) => map.get("url").and_then(Value::as_str),
            Templated::Map(map) => match map.get("url") {
                Some(Templated::Literal(value)) => value.as_str(),
                Some(Templated::Template(template)) => Some(template.0.as_str()),
                _ => None,
            },
            _ => None,
        };
        let host = url.and_then(host_of);
        self.loaded.runbook.outage_of.iter().enumerate().find_map(|(index, system)| {
            let name = system.to_lowercase();
            if vendor == name {
                return Some((index, system.clone(), vec!["uses"]));
            }
            // A page that tells of outages is kept elsewhere, for this very reason.
            let is_theirs = host.is_some_and(|host| {
                let labels: Vec<&str> = host.split('.').collect();
                let domain = labels.len().checked_sub(2).map(|at| labels[at]);
                host == name || domain == Some(name.as_str()) && labels.first() != Some(&"status")
            });
            is_theirs.then(|| (index, system.clone(), vec!["with", "url"]))
        })
    }

    /// Does a step before this one wait until the system answers?
    fn waits_for(&mut self, id: &StepId, system: &str) -> bool {
        if !self.recovered.contains_key(system) {
            let after = self.after_waiting(system);
            self.recovered.insert(system.to_owned(), after);
        }
        self.recovered.get(system).is_some_and(|after| after.contains(id))
    }

    /// Every step that comes after one that waits until the system answers.
    fn after_waiting(&self, system: &str) -> BTreeSet<StepId> {
        let steps = &self.loaded.runbook.steps;
        let mut next: BTreeMap<&StepId, Vec<&StepId>> = BTreeMap::new();
        for (id, step) in steps {
            for needed in step.needs.keys() {
                next.entry(needed).or_default().push(id);
            }
        }
        let waits = steps
            .iter()
            .filter(|(_, step)| step.until.is_some() && self.asks(step).is_some_and(|(_, asked, _)| asked == system));
        let mut queue: Vec<&StepId> = waits.map(|(id, _)| id).collect();
        let mut after = BTreeSet::new();
        while let Some(id) = queue.pop() {
            for later in next.get(id).into_iter().flatten() {
                if after.insert((*later).clone()) {
                    queue.push(later);
                }
            }
        }
        after
    }
}

/// The host of an address, if it is written out.
fn host_of(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let host = rest.split(['/', ':', '?', '#']).next()?;
    (!host.contains('{') && !host.is_empty()).then_some(host)
}
