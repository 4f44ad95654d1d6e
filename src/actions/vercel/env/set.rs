//! `vercel.env.set`: sets environment variables, and remembers what they were.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::super::scalar::Scalar;
use super::super::{Scope, Vercel, default_secret, id_segment};
use super::check_names;
use super::prior::Prior;
use super::rows::{Row, new_row};
use super::targets::{EnvTarget, EnvTargets, Share};
use crate::action::{Action, ActionContext, ActionError, Done, Effect, ErrorKind, Intent, Need, Replay, Undone};

/// Sets environment variables of a project. They reach new deployments only: redeploy afterwards. The values
/// from before are kept in the run log, so that an undo can restore them.
#[derive(Debug)]
pub struct EnvSet;

/// Which variables, and to what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VercelEnvSetParams {
    /// The project's name or id.
    #[schemars(extend("examples" = ["{{ inputs.project }}"]))]
    pub project: String,
    /// The environments the variables are for: one, a list, or `existing` for every row they have, as when a key is
    /// rotated. Other environments keep what they have.
    #[serde(default)]
    pub target: EnvTargets,
    /// The variables and their values; numbers and booleans are sent as text. May hold secrets.
    pub values: BTreeMap<String, Scalar>,
    /// The team's id (`team_…`) or slug, where the project belongs to a team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// The name of the secret that holds a Vercel token.
    #[serde(default = "default_secret")]
    pub secret: String,
    /// How Vercel keeps new variables; existing ones stay as they are. `sensitive` can never be read again, not even
    /// to restore it.
    #[serde(default, rename = "type")]
    pub kind: EnvType,
    /// Overwrite variables whose present value cannot be read, or that an integration writes. They cannot be restored.
    #[serde(default)]
    pub overwrite_unreadable: bool,
}

/// How Vercel keeps a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EnvType {
    /// Encrypted, readable with a token.
    #[default]
    Encrypted,
    /// Encrypted, never readable again. Not for `development`.
    Sensitive,
    /// In clear.
    Plain,
}

impl EnvType {
    fn as_str(self) -> &'static str {
        match self {
            Self::Encrypted => "encrypted",
            Self::Sensitive => "sensitive",
            Self::Plain => "plain",
        }
    }
}

/// What was set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VercelEnvSetOutput {
    /// All the names, sorted.
    pub set: Vec<String>,
    /// Those that did not exist before this step.
    pub created: Vec<String>,
    /// Those that did.
    pub updated: Vec<String>,
    /// Those whose value nobody can read again, asked for or by the team's policy: ask the application instead.
    #[serde(default)]
    pub unreadable: Vec<String>,
    /// Those that an integration writes too, and may overwrite at its next turn.
    #[serde(default)]
    pub managed: Vec<String>,
}

impl VercelEnvSetParams {
    fn scope(&self) -> Scope<'_> {
        Scope { project: &self.project, team: self.team.as_deref() }
    }

    fn new_row(&self, name: &str, value: &Scalar, targets: &[EnvTarget]) -> Value {
        let targets: Vec<&str> = targets.iter().map(|target| target.as_str()).collect();
        new_row(name, &value.to_string(), self.kind.as_str(), &targets, None)
    }

    fn check(&self) -> Result<(), ActionError> {
        check_names(self.values.keys())?;
        self.target.check()?;
        let named = self.target.named().unwrap_or_default();
        if self.kind == EnvType::Sensitive && named.contains(&EnvTarget::Development) {
            return Err(ActionError::invalid_params("Vercel keeps no `sensitive` variables for development"));
        }
        Ok(())
    }

    /// `existing` makes nothing new: a name that is nowhere is a mistake.
    fn check_existing(&self, prior: &Prior) -> Result<(), ActionError> {
        match self.values.keys().find(|name| self.target.named().is_none() && !prior.had(name)) {
            Some(name) => {
                let reason = format!("{name} exists in no environment; name the ones it is for in `target`");
                Err(ActionError::new(ErrorKind::Rejected, reason))
            }
            None => Ok(()),
        }
    }

    /// May this row be overwritten?
    fn accept(&self, row: &Row, share: Share, readable: bool) -> Result<(), ActionError> {
        let refuse = |why: &str| {
            Err(ActionError::new(
                ErrorKind::Rejected,
                format!("{} {why}, so an undo could not restore it; set `overwrite_unreadable` to go on", row.key),
            ))
        };
        match row {
            _ if self.overwrite_unreadable => Ok(()),
            row if row.is_managed() => refuse("is written by an integration"),
            // Of a shared row only the targets change; the value need not be known to go back.
            _ if !readable && share == Share::Whole => refuse("has a value that cannot be read"),
            _ => Ok(()),
        }
    }
}

impl Action for EnvSet {
    const NAME: &'static str = "vercel.env.set";
    const SUMMARY: &'static str = "Sets environment variables of a Vercel project.";
    const EFFECT: Effect = Effect::Write;
    const REPLAY: Replay = Replay::Safe;
    const UNDO: Option<&'static str> = Some("restores the recorded values");
    const SECRETS: &'static [&'static str] = &["vercel"];
    type Params = VercelEnvSetParams;
    type Output = VercelEnvSetOutput;

    async fn run(&self, cx: &ActionContext, params: VercelEnvSetParams) -> Result<VercelEnvSetOutput, ActionError> {
        params.check()?;
        let vercel = Vercel::new(cx, params.scope(), &params.secret)?;
        let rows = vercel.env_rows().await?;
        let prior = match cx.checkpoint() {
            // What counts is what was there before the first try.
            Some(checkpoint) => Prior::from_checkpoint(checkpoint)?,
            None => {
                let names: Vec<&String> = params.values.keys().collect();
                let accept = |row: &Row, share, readable| params.accept(row, share, readable);
                let prior = vercel.env_prior(&rows, &names, &params.target, accept).await?;
                params.check_existing(&prior)?;
                cx.save_checkpoint(prior.to_checkpoint()).await?;
                prior
            }
        };

        let (mut unreadable, mut managed) = (BTreeSet::new(), BTreeSet::new());
        let mut note = |row: &Row| {
            if row.is_unreadable() {
                unreadable.insert(row.key.clone());
            }
            if row.is_managed() {
                managed.insert(row.key.clone());
            }
        };
        let mut missing = Vec::new();
        for (name, value) in &params.values {
            let wanted = value.to_string();
            let mut wholes = Vec::new();
            for (row, share) in params.target.of(&rows, name)? {
                note(row);
                if share == Share::Part {
                    // Others share this row and must keep their value, so what is meant gets a row of its own.
                    vercel.env_drop(row, share, &params.target).await?;
                    continue;
                }
                wholes.push(row);
                if cx.target().repeat
                    && let Some(value) = vercel.env_value(row).await?
                    && cx.is_expected(&value, &wanted)?
                {
                    continue;
                }
                let id = id_segment(&row.id)?;
                let answer = vercel.call(vercel.scope.env_edit(&id, json!({ "value": wanted }))).await;
                let answer = answer.map_err(|error| refused_change(row, error))?;
                if let Ok(changed) = serde_json::from_value::<Row>(answer) {
                    note(&changed);
                }
            }
            let targets = params.target.missing(&wholes);
            if !targets.is_empty() {
                missing.push(params.new_row(name, value, &targets));
            }
        }
        vercel.env_create(missing).await?.iter().for_each(&mut note);

        let (updated, created) = params.values.keys().cloned().partition(|name| prior.had(name));
        Ok(VercelEnvSetOutput {
            set: params.values.keys().cloned().collect(),
            created,
            updated,
            unreadable: unreadable.into_iter().collect(),
            managed: managed.into_iter().collect(),
        })
    }

    fn needs(&self, params: &VercelEnvSetParams) -> Vec<Need> {
        let scope = params.scope();
        vec![
            scope.token_is_taken(&params.secret),
            scope.project_is_seen(&params.secret),
            scope.env_is_seen(&params.secret),
        ]
    }

    fn describe(&self, params: &VercelEnvSetParams) -> Vec<Intent> {
        let scope = params.scope();
        let mut intents = vec![
            Intent::from(&scope.env_list()),
            Intent::note("reads the present value of each of them and keeps it in the run log, for the undo"),
        ];
        match params.target.named() {
            Some(named) => {
                let named: Vec<EnvTarget> = named.into_iter().collect();
                let rows = params.values.iter().map(|(name, value)| params.new_row(name, value, &named)).collect();
                intents.push(Intent::from(&scope.env_create(rows)));
                for (name, value) in &params.values {
                    intents.push(Intent::note(format!("or, where {name} exists already, instead of creating it:")));
                    intents.push(Intent::from(&scope.env_edit(":id", json!({ "value": value.to_string() }))));
                }
                intents.push(Intent::note(format!(
                    "a variable that serves other environments than {} too leaves {} (PATCH `target`) and is created anew",
                    params.target.words(),
                    if named.len() == 1 { "this one" } else { "these" },
                )));
            }
            None => {
                for (name, value) in &params.values {
                    intents.push(Intent::note(format!("for each row that {name} has, whatever it is for:")));
                    intents.push(Intent::from(&scope.env_edit(":id", json!({ "value": value.to_string() }))));
                }
            }
        }
        if params.overwrite_unreadable {
            intents.push(Intent::note("overwrites what it cannot read, which no undo can restore"));
        }
        intents
    }

    async fn undo(
        &self,
        cx: &ActionContext,
        params: VercelEnvSetParams,
        done: Done<VercelEnvSetOutput>,
    ) -> Result<Undone, ActionError> {
        let checkpoint = done.checkpoint.as_ref().ok_or_else(|| {
            ActionError::new(ErrorKind::Internal, "no record of the values from before; nothing was changed")
        })?;
        let prior = Prior::from_checkpoint(checkpoint)?;
        Vercel::new(cx, params.scope(), &params.secret)?.env_restore(&prior, &params.target).await
    }
}

/// Says whose the row is, where Vercel only says no.
fn refused_change(row: &Row, mut error: ActionError) -> ActionError {
    if row.is_managed() && matches!(error.status, Some(400 | 403 | 409)) {
        error.kind = ErrorKind::Rejected;
        error.message.push_str(&format!("; {} is written by an integration: change it there", row.key));
    }
    error
}

#[cfg(test)]
mod tests;
