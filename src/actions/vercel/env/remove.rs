//! `vercel.env.remove`: removes environment variables, and remembers what they were.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::{Scope, Vercel, default_secret};
use super::check_names;
use super::prior::Prior;
use super::rows::Row;
use super::targets::{EnvTargets, Share};
use crate::action::{Action, ActionContext, ActionError, Done, Effect, ErrorKind, Intent, Need, Replay, Undone};

/// Removes environment variables of a project. It takes a new deployment for that to be felt: redeploy afterwards.
#[derive(Debug)]
pub struct EnvRemove;

/// Which variables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VercelEnvRemoveParams {
    /// The project's name or id.
    #[schemars(extend("examples" = ["{{ inputs.project }}"]))]
    pub project: String,
    /// The environments to remove them from: one, a list, or `existing` for every row they have. Others keep them.
    #[serde(default)]
    pub target: EnvTargets,
    /// The variables' names. One that is not there is no fault.
    pub names: Vec<String>,
    /// The team's id (`team_…`) or slug, where the project belongs to a team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// The name of the secret that holds a Vercel token.
    #[serde(default = "default_secret")]
    pub secret: String,
}

/// What was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VercelEnvRemoveOutput {
    /// Those that were there before this step.
    pub removed: Vec<String>,
    /// Those that were not.
    pub absent: Vec<String>,
}

impl VercelEnvRemoveParams {
    fn scope(&self) -> Scope<'_> {
        Scope { project: &self.project, team: self.team.as_deref() }
    }

    fn names(&self) -> Vec<&String> {
        let mut names: Vec<&String> = self.names.iter().collect();
        names.sort();
        names.dedup();
        names
    }
}

impl Action for EnvRemove {
    const NAME: &'static str = "vercel.env.remove";
    const SUMMARY: &'static str = "Removes environment variables of a Vercel project.";
    const EFFECT: Effect = Effect::Write;
    const REPLAY: Replay = Replay::Safe;
    const UNDO: Option<&'static str> = Some("restores the recorded values");
    const SECRETS: &'static [&'static str] = &["vercel"];
    type Params = VercelEnvRemoveParams;
    type Output = VercelEnvRemoveOutput;

    async fn run(
        &self,
        cx: &ActionContext,
        params: VercelEnvRemoveParams,
    ) -> Result<VercelEnvRemoveOutput, ActionError> {
        check_names(&params.names)?;
        params.target.check()?;
        let vercel = Vercel::new(cx, params.scope(), &params.secret)?;
        let rows = vercel.env_rows().await?;
        let names = params.names();
        let prior = match cx.checkpoint() {
            Some(checkpoint) => Prior::from_checkpoint(checkpoint)?,
            None => {
                let prior = vercel.env_prior(&rows, &names, &params.target, accept).await?;
                cx.save_checkpoint(prior.to_checkpoint()).await?;
                prior
            }
        };
        for name in &names {
            for (row, share) in params.target.of(&rows, name)? {
                vercel.env_drop(row, share, &params.target).await?;
            }
        }
        let (removed, absent) = names.into_iter().cloned().partition(|name| prior.had(name));
        Ok(VercelEnvRemoveOutput { removed, absent })
    }

    fn needs(&self, params: &VercelEnvRemoveParams) -> Vec<Need> {
        let scope = params.scope();
        vec![
            scope.token_is_taken(&params.secret),
            scope.project_is_seen(&params.secret),
            scope.env_is_seen(&params.secret),
        ]
    }

    fn describe(&self, params: &VercelEnvRemoveParams) -> Vec<Intent> {
        let scope = params.scope();
        let mut intents = vec![
            Intent::from(&scope.env_list()),
            Intent::note("reads the present value of each of them and keeps it in the run log, for the undo"),
        ];
        for name in params.names() {
            intents.push(Intent::note(format!("where {name} exists for {}:", params.target.words())));
            intents.push(Intent::from(&scope.env_delete(":id")));
        }
        intents.push(Intent::note("a variable that serves other environments too stays there (PATCH `target`)"));
        intents.push(Intent::note("a `sensitive` value cannot be read: it is removed, and no undo can restore it"));
        intents
    }

    async fn undo(
        &self,
        cx: &ActionContext,
        params: VercelEnvRemoveParams,
        done: Done<VercelEnvRemoveOutput>,
    ) -> Result<Undone, ActionError> {
        let checkpoint = done.checkpoint.as_ref().ok_or_else(|| {
            ActionError::new(ErrorKind::Internal, "no record of the values from before; nothing was changed")
        })?;
        let mut prior = Prior::from_checkpoint(checkpoint)?;
        // What was not there before was not removed: there is nothing to put back.
        prior.prior.retain(|_, was| !was.is_empty());
        Vercel::new(cx, params.scope(), &params.secret)?.env_restore(&prior, &params.target).await
    }
}

/// A bypass that a team's policy made unreadable must still be removable; what an integration writes is not ours.
fn accept(row: &Row, _share: Share, _readable: bool) -> Result<(), ActionError> {
    if row.is_managed() {
        let reason = format!("{} is written by an integration; remove it there", row.key);
        return Err(ActionError::new(ErrorKind::Rejected, reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::super::super::testing::{Answer, Bench, faults};
    use super::super::tests::{World, row};
    use super::*;
    use serde_json::json;

    fn params() -> VercelEnvRemoveParams {
        serde_json::from_value(json!({ "project": "shop", "names": ["B", "A", "C"] })).unwrap()
    }

    #[tokio::test]
    async fn removes_what_is_there_for_this_environment_only_and_puts_it_back() {
        let rows = vec![row("a", "A", "1", &["production"]), row("b", "B", "2", &["preview", "production"])];
        let world = World::of(rows);
        let before = world.shown();
        let bench = world.bench().await;
        let output = EnvRemove.run(&bench.cx(), params()).await.unwrap();
        assert_eq!(
            (output.removed.clone(), output.absent.clone()),
            (vec!["A".to_owned(), "B".to_owned()], vec!["C".to_owned()])
        );
        assert_eq!(world.shown(), ["B=2 preview"]);

        let repeated = EnvRemove.run(&bench.again(), params()).await.unwrap();
        assert_eq!((repeated, bench.saved().len()), (output.clone(), 1));

        let done = Done { output: Some(output), checkpoint: bench.saved().pop() };
        let undone = EnvRemove.undo(&bench.cx(), params(), done).await.unwrap();
        assert_eq!((undone.summary.as_str(), undone.left.len()), ("restored A, restored B", 0));
        assert_eq!(world.shown(), before);
    }

    #[tokio::test]
    async fn what_vanishes_meanwhile_is_fine() {
        let world = World::of(vec![row("a", "A", "1", &["production"])]);
        world.writes.lock().unwrap().push(Answer::html(404));
        assert_eq!(EnvRemove.run(&world.bench().await.cx(), params()).await.unwrap().removed, ["A"]);
    }

    #[tokio::test]
    async fn what_an_integration_writes_is_left_alone() {
        let mut managed = row("a", "A", "1", &["production"]);
        managed["configurationId"] = json!("icfg_1");
        let world = World::of(vec![managed]);
        let error = EnvRemove.run(&world.bench().await.cx(), params()).await.unwrap_err();
        assert_eq!((error.kind, world.shown().len()), (ErrorKind::Rejected, 1));
    }

    #[tokio::test]
    async fn every_fault_has_its_kind() {
        for (answer, kind) in faults() {
            let told = format!("{answer:?}");
            let bench = Bench::with(move |_| answer.clone()).await;
            assert_eq!(EnvRemove.run(&bench.cx(), params()).await.unwrap_err().kind, kind, "{told}");
        }
    }

    #[test]
    fn says_what_it_will_do() {
        let url = "https://api.vercel.com/v9/projects/shop/env/:id";
        assert!(EnvRemove.describe(&params()).contains(&Intent::request("DELETE", url)));
    }
}
