//! What was there before a step changed variables, and putting that back.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use super::super::{Vercel, id_segment, is_passing};
use super::rows::{Row, gone_is_fine, new_row};
use super::targets::{EnvTargets, Share};
use crate::action::{ActionError, ErrorKind, Undone};
use crate::base::redact::MASK;

/// The rows that were there before the first try, for each name.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Prior {
    #[serde(deserialize_with = "lists")]
    pub(super) prior: BTreeMap<String, Vec<PriorRow>>,
}

/// A row as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PriorRow {
    pub(super) id: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// Every target it served, ours among them.
    pub(super) targets: Vec<String>,
    /// Did it serve others as well?
    pub(super) shared: bool,
    /// Its value; not there when Vercel would not show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) comment: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) branch: Option<String>,
}

/// Older checkpoints hold one row for a name, or `null`.
fn lists<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Vec<PriorRow>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Known {
        Several(Vec<PriorRow>),
        One(Box<PriorRow>),
        None(()),
    }
    let known = BTreeMap::<String, Known>::deserialize(deserializer)?;
    Ok(known
        .into_iter()
        .map(|(name, rows)| match rows {
            Known::Several(rows) => (name, rows),
            Known::One(row) => (name, vec![*row]),
            Known::None(()) => (name, Vec::new()),
        })
        .collect())
}

impl Prior {
    /// The checkpoint of an earlier try.
    pub(super) fn from_checkpoint(checkpoint: &Value) -> Result<Self, ActionError> {
        Self::deserialize(checkpoint).map_err(|error| {
            let reason = format!("the recorded state from before cannot be read: {error}");
            ActionError::new(ErrorKind::Internal, reason)
        })
    }

    pub(super) fn to_checkpoint(&self) -> Value {
        json!(self)
    }

    /// Was there anything of this name?
    pub(super) fn had(&self, name: &str) -> bool {
        self.prior.get(name).is_some_and(|rows| !rows.is_empty())
    }
}

impl Vercel<'_> {
    /// Records what is there, for each of these names. Refuses what `accept` does not accept.
    pub(super) async fn env_prior(
        &self,
        rows: &[Row],
        names: &[&String],
        targets: &EnvTargets,
        accept: impl Fn(&Row, Share, bool) -> Result<(), ActionError>,
    ) -> Result<Prior, ActionError> {
        let mut prior = Prior::default();
        for name in names {
            let mut recorded = Vec::new();
            for (row, share) in targets.of(rows, name)? {
                let value = match self.env_value(row).await {
                    Ok(value) => value,
                    Err(error) if is_passing(&error) || error.kind == ErrorKind::Cancelled => return Err(error),
                    // Not ours to read: whether that may be overwritten is for `accept` to say.
                    Err(error) => {
                        accept(row, share, false).map_err(|refused| ActionError {
                            message: format!("{} ({error})", refused.message),
                            ..refused
                        })?;
                        None
                    }
                };
                accept(row, share, value.is_some())?;
                recorded.push(PriorRow {
                    id: row.id.clone(),
                    kind: row.kind.clone(),
                    targets: row.targets(),
                    shared: share == Share::Part,
                    value: value.map(|value| self.cx.conceal(&value)),
                    comment: row.comment.clone().filter(|comment| !comment.is_empty()),
                    branch: row.git_branch.clone(),
                });
            }
            prior.prior.insert((*name).clone(), recorded);
        }
        Ok(prior)
    }

    /// Takes what is meant off a row: deletes it, or leaves it to the others it serves.
    pub(super) async fn env_drop(&self, row: &Row, share: Share, targets: &EnvTargets) -> Result<(), ActionError> {
        let id = id_segment(&row.id)?;
        let dropped = match share {
            Share::Part => self.call(self.scope.env_edit(&id, json!({ "target": targets.others(row) }))).await,
            Share::Whole => self.call(self.scope.env_delete(&id)).await,
        };
        dropped.map(drop).or_else(gone_is_fine)
    }

    /// Puts back what was there before.
    pub(super) async fn env_restore(&self, prior: &Prior, targets: &EnvTargets) -> Result<Undone, ActionError> {
        let rows = self.env_rows().await?;
        let mut done = Vec::new();
        let mut left = Vec::new();
        for (name, was) in &prior.prior {
            // What is there besides is what the step made. It goes first: two rows may not serve one target.
            let known: BTreeSet<&str> = was.iter().map(|row| row.id.as_str()).collect();
            let mut removed = false;
            for (row, share) in targets.of(&rows, name)? {
                if !known.contains(row.id.as_str()) && targets.named().is_some() {
                    self.env_drop(row, share, targets).await?;
                    removed = true;
                }
            }
            if was.is_empty() {
                done.push(if removed { format!("removed {name}") } else { format!("{name} was gone already") });
                continue;
            }
            let mut whole = true;
            for row in was {
                let still_there = rows.iter().any(|now| now.id == row.id);
                if let Err(reason) = self.env_restore_row(name, row, still_there).await? {
                    left.push(reason);
                    whole = false;
                }
            }
            if whole {
                done.push(format!("restored {name}"));
            }
        }
        let summary = if done.is_empty() { "nothing could be put back".to_owned() } else { done.join(", ") };
        Ok(Undone { summary, left })
    }

    /// The inner error says what cannot be put back.
    async fn env_restore_row(
        &self,
        name: &str,
        was: &PriorRow,
        still_there: bool,
    ) -> Result<Result<(), String>, ActionError> {
        let id = id_segment(&was.id)?;
        if was.shared && still_there {
            // Its value was never touched, only its targets.
            self.call(self.scope.env_edit(&id, json!({ "target": was.targets }))).await?;
            return Ok(Ok(()));
        }
        let Some(value) = &was.value else {
            return Ok(Err(format!("the former value of {name} could not be read and so is not put back")));
        };
        if value.contains(MASK) {
            return Ok(Err(format!("the former value of {name} was masked in the run log and so is not put back")));
        }
        if still_there {
            self.call(self.scope.env_edit(&id, json!({ "value": value }))).await?;
        } else {
            let kind = if was.kind.is_empty() { "encrypted" } else { was.kind.as_str() };
            let mut row = new_row(name, value, kind, &was.targets, was.comment.as_deref());
            if let (Some(branch), Some(fields)) = (&was.branch, row.as_object_mut()) {
                fields.insert("gitBranch".to_owned(), json!(branch));
            }
            self.env_create(vec![row]).await?;
        }
        Ok(Ok(()))
    }
}
