//! `vercel.promote`: points the production domain at a deployment that is built, and new ones get it again.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::watch::Watch;
use super::super::{Scope, Vercel, default_secret};
use super::moving::{Remembered, moved, moved_back};
use super::{Project, Way, rolling};
use crate::action::{Action, ActionContext, ActionError, Done, Effect, Intent, Need, Probed, Replay, Undone};
use crate::base::HumanDuration;

/// Lets a deployment that is built serve production, without a build. Ends a rolled-back state: new deployments get the
/// domain again. The deployment keeps the environment it was built with.
#[derive(Debug)]
pub struct Promote;

/// Which deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VercelPromoteParams {
    /// The project's name or id.
    #[schemars(extend("examples" = ["{{ inputs.project }}"]))]
    pub project: String,
    /// The id of the deployment (`dpl_…`) that is to serve.
    pub deployment: String,
    /// The team's id (`team_…`) or slug, where the project belongs to a team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// The name of the secret that holds a Vercel token.
    #[serde(default = "default_secret")]
    pub secret: String,
    /// How long to wait until the domain has moved.
    #[serde(default = "default_deadline")]
    pub deadline: HumanDuration,
}

/// What serves now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VercelPromoteOutput {
    /// The deployment that serves.
    pub deployment: String,
    /// The deployment that served before this step; nothing where none did.
    pub previous: Option<String>,
    /// Did this end a rolled-back state?
    pub unpinned: bool,
}

/// As long as Vercel's own command line waits.
pub(super) fn default_deadline() -> HumanDuration {
    HumanDuration(Duration::from_secs(3 * 60))
}

impl VercelPromoteParams {
    fn scope(&self) -> Scope<'_> {
        Scope { project: &self.project, team: self.team.as_deref() }
    }
}

fn output(remembered: Remembered) -> VercelPromoteOutput {
    VercelPromoteOutput { deployment: remembered.to, previous: remembered.from, unpinned: remembered.pinned }
}

impl Action for Promote {
    const NAME: &'static str = "vercel.promote";
    const SUMMARY: &'static str = "Lets a Vercel deployment that is built serve production.";
    const EFFECT: Effect = Effect::Write;
    const REPLAY: Replay = Replay::Probe;
    const UNDO: Option<&'static str> = Some("lets serve again what served before");
    const SECRETS: &'static [&'static str] = &["vercel"];
    type Params = VercelPromoteParams;
    type Output = VercelPromoteOutput;

    async fn run(&self, cx: &ActionContext, params: VercelPromoteParams) -> Result<VercelPromoteOutput, ActionError> {
        let vercel = Vercel::new(cx, params.scope(), &params.secret)?;
        let watch = Watch::new(cx, params.deadline.0);
        let remembered = match Remembered::known(cx)? {
            Some(remembered) => remembered,
            None => {
                let project: Project = vercel.read(vercel.scope.get_project()).await?;
                if !project.rolling_release.is_null() {
                    return Err(rolling(&project.name));
                }
                Remembered::save(cx, &project, params.deployment.clone()).await?
            }
        };
        vercel.point_domain(&watch, &remembered.to, Way::Promote, None).await?;
        Ok(output(remembered))
    }

    fn needs(&self, params: &VercelPromoteParams) -> Vec<Need> {
        let scope = params.scope();
        vec![scope.token_is_taken(&params.secret), scope.project_is_seen(&params.secret)]
    }

    fn describe(&self, params: &VercelPromoteParams) -> Vec<Intent> {
        let scope = params.scope();
        vec![
            Intent::from(&scope.get_project()),
            Intent::note(format!(
                "and unless {} serves already, and the project is not rolled back:",
                params.deployment
            )),
            Intent::from(&scope.move_domain(":project_id", &params.deployment, Way::Promote)),
            Intent::note(format!("and reads the project until the domain has moved, for at most {}", params.deadline)),
        ]
    }

    async fn probe(
        &self,
        cx: &ActionContext,
        params: VercelPromoteParams,
    ) -> Result<Probed<VercelPromoteOutput>, ActionError> {
        let moved = moved(cx, params.scope(), &params.secret, params.deadline, Way::Promote).await?;
        Ok(moved.map_or(Probed::DidNotHappen, |remembered| Probed::Happened(output(remembered))))
    }

    async fn undo(
        &self,
        cx: &ActionContext,
        params: VercelPromoteParams,
        done: Done<VercelPromoteOutput>,
    ) -> Result<Undone, ActionError> {
        moved_back(cx, params.scope(), &params.secret, params.deadline, done.checkpoint.as_ref()).await
    }
}
