//! The locks that a plan needs, by the names that its inputs give them.

use super::Plan;
use super::intent::known_scope;
use crate::base::HumanDuration;
use crate::runbook::TemplateError;

/// A lock by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockName {
    /// Its name.
    pub name: String,
    /// How long to wait for whoever holds it.
    pub wait: Option<HumanDuration>,
}

/// The locks of a plan's own runbook, in the order of their names, each once.
pub fn lock_names(plan: &Plan) -> Result<Vec<LockName>, TemplateError> {
    let scope = known_scope(plan.runbook(), plan.inputs());
    let mut names = Vec::new();
    for lock in &plan.runbook().locks {
        names.push(LockName { name: lock.name.render_text(&scope)?, wait: lock.wait });
    }
    // Two runs that want the same locks take them in the same order, so neither waits for the other for ever.
    names.sort_by(|one, other| one.name.cmp(&other.name));
    names.dedup_by(|one, other| one.name == other.name);
    Ok(names)
}
