//! Which environments a step is about, and what a row is to it.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rows::Row;
use crate::action::{ActionError, ErrorKind};

/// The environment the variables are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EnvTarget {
    /// What customers see.
    #[default]
    Production,
    /// Deployments of branches.
    Preview,
    /// `vercel dev`.
    Development,
}

impl EnvTarget {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Preview => "preview",
            Self::Development => "development",
        }
    }
}

/// One environment, several, or wherever the variable is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
#[schemars(transform = undescribed)]
pub enum EnvTargets {
    /// One environment.
    One(EnvTarget),
    /// Several.
    Several(Vec<EnvTarget>),
    /// Every row the variable has, those of branches and of the team's own environments too.
    Wherever(Existing),
}

/// An editor shows the words of the first way to write it instead of those of the field, which say more.
fn undescribed(schema: &mut schemars::Schema) {
    let ways = schema.get_mut("anyOf").and_then(serde_json::Value::as_array_mut);
    for way in ways.into_iter().flatten().filter_map(serde_json::Value::as_object_mut) {
        way.remove("description");
    }
}

/// The word for "wherever it is".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Existing {
    /// Wherever the variable is, and nowhere else.
    Existing,
}

impl Default for EnvTargets {
    fn default() -> Self {
        Self::One(EnvTarget::Production)
    }
}

/// What a row is to a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    /// Everything it serves is meant.
    Whole,
    /// It serves others as well, which keep what they have.
    Part,
}

impl EnvTargets {
    /// The environments by name, in order; `None` for wherever it is.
    pub(super) fn named(&self) -> Option<BTreeSet<EnvTarget>> {
        match self {
            Self::One(target) => Some(BTreeSet::from([*target])),
            Self::Several(targets) => Some(targets.iter().copied().collect()),
            Self::Wherever(Existing::Existing) => None,
        }
    }

    /// `production and preview`.
    pub(super) fn words(&self) -> String {
        match self.named() {
            None => "each environment that has it".to_owned(),
            Some(named) => named.into_iter().map(EnvTarget::as_str).collect::<Vec<_>>().join(" and "),
        }
    }

    pub(super) fn check(&self) -> Result<(), ActionError> {
        match self {
            Self::Several(targets) if targets.is_empty() => Err(ActionError::invalid_params("no `target` is named")),
            Self::One(_) | Self::Several(_) | Self::Wherever(_) => Ok(()),
        }
    }

    /// What this row is to a step about `name`; `None` when it is another variable. Rows for one branch are other
    /// variables, unless the step is about every row there is.
    pub(super) fn share(&self, row: &Row, name: &str) -> Option<Share> {
        if row.key != name {
            return None;
        }
        let Some(named) = self.named() else { return Some(Share::Whole) };
        let served = row.targets();
        let meant = |served: &String| named.iter().any(|target| target.as_str() == served);
        if row.git_branch.is_some() || !served.iter().any(meant) {
            return None;
        }
        Some(if served.iter().all(meant) && !row.is_custom() { Share::Whole } else { Share::Part })
    }

    /// The rows that hold this name, and what each is to the step.
    pub(super) fn of<'r>(&self, rows: &'r [Row], name: &str) -> Result<Vec<(&'r Row, Share)>, ActionError> {
        let found: Vec<(&Row, Share)> =
            rows.iter().filter_map(|row| self.share(row, name).map(|share| (row, share))).collect();
        if let Some(named) = self.named() {
            for target in named {
                let serving = found.iter().filter(|(row, _)| row.targets().iter().any(|one| one == target.as_str()));
                if serving.count() > 1 {
                    let reason = format!(
                        "several rows of the project hold {name} for {}; remove all but one by hand",
                        target.as_str()
                    );
                    return Err(ActionError::new(ErrorKind::Rejected, reason));
                }
            }
        }
        Ok(found)
    }

    /// The targets of a row that are not meant, so that it keeps them.
    pub(super) fn others(&self, row: &Row) -> Vec<String> {
        let named = self.named().unwrap_or_default();
        row.targets().into_iter().filter(|served| !named.iter().any(|target| target.as_str() == served)).collect()
    }

    /// The environments that none of these rows serves.
    pub(super) fn missing(&self, wholes: &[&Row]) -> Vec<EnvTarget> {
        let served: BTreeSet<String> = wholes.iter().flat_map(|row| row.targets()).collect();
        let named = self.named().unwrap_or_default();
        named.into_iter().filter(|target| !served.contains(target.as_str())).collect()
    }
}
