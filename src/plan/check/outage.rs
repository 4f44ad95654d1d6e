//! Steps that need a system which is assumed to be down.

use std::collections::BTreeSet;

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
    fn waits_for(&self, id: &StepId, system: &str) -> bool {
        let steps = &self.loaded.runbook.steps;
        let mut seen = BTreeSet::new();
        let mut queue = vec![id];
        while let Some(id) = queue.pop() {
            let Some(step) = steps.get(id) else { continue };
            for needed in step.needs.keys().filter(|needed| seen.insert((*needed).clone())) {
                let waits = steps.get(needed).is_some_and(|before| {
                    before.until.is_some() && self.asks(before).is_some_and(|(_, asked, _)| asked == system)
                });
                if waits {
                    return true;
                }
                queue.push(needed);
            }
        }
        false
    }
}

/// The host of an address, if it is written out.
fn host_of(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"))?;
    let host = rest.split(['/', ':', '?', '#']).next()?;
    (!host.contains('{') && !host.is_empty()).then_some(host)
}
