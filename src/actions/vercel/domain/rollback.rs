//! `vercel.rollback`: points the production domain back at a deployment that served before, in seconds.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::deployments::{Filter, Listed};
use super::super::watch::Watch;
use super::super::{Scope, Vercel, default_secret};
use super::moving::{Remembered, moved, moved_back};
use super::promote::default_deadline;
use super::{Project, Way};
use crate::action::{
    Action, ActionContext, ActionError, Done, Effect, ErrorKind, Intent, Need, Probed, Replay, Undone,
};
use crate::base::{HumanDuration, Timestamp};

/// How many deployments to look through for the one that served.
const MOST_CANDIDATES: usize = 300;

/// Lets a deployment serve production that did so before: seconds, and no build. It comes with the environment it was
/// built with. The project stays rolled back until a deployment is promoted: new ones reach no customers.
#[derive(Debug)]
pub struct Rollback;

/// To which deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VercelRollbackParams {
    /// The project's name or id.
    #[schemars(extend("examples" = ["{{ inputs.project }}"]))]
    pub project: String,
    /// A deployment's id (`dpl_…`), or `previous`: what served before the one that serves now.
    #[serde(default = "previous")]
    pub to: String,
    /// With `previous`: what served at this time (RFC 3339), such as before the first alarm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// Why, for the team: Vercel keeps it with the rollback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
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
pub struct VercelRollbackOutput {
    /// The deployment that serves.
    pub deployment: String,
    /// The deployment that served before this step; nothing where none did.
    pub previous: Option<String>,
}

fn previous() -> String {
    "previous".to_owned()
}

impl VercelRollbackParams {
    fn scope(&self) -> Scope<'_> {
        Scope { project: &self.project, team: self.team.as_deref() }
    }

    fn at(&self) -> Result<Option<Timestamp>, ActionError> {
        let Some(at) = self.at.as_deref() else { return Ok(None) };
        if self.to != previous() {
            return Err(ActionError::invalid_params("`at` says what `previous` means; a deployment's id needs none"));
        }
        let parsed = at.parse().map(Some);
        parsed.map_err(|_| ActionError::invalid_params(format!("`{at}` is not a time; write it as RFC 3339")))
    }
}

fn output(remembered: Remembered) -> VercelRollbackOutput {
    VercelRollbackOutput { deployment: remembered.to, previous: remembered.from }
}

impl Vercel<'_> {
    /// What served before what serves now, or at a time.
    pub(in super::super) async fn served_before(
        &self,
        project: &Project,
        at: Option<Timestamp>,
    ) -> Result<Option<String>, ActionError> {
        let serving = project.in_production();
        if at.is_none()
            && let Some(last) = project.alias_request()
            && last.status() == Some("succeeded")
            && last.to() == serving
            && last.from() != serving
            && let Some(from) = last.from()
        {
            return Ok(Some(from.to_owned()));
        }
        let filters = [Filter::Target("production"), Filter::States("READY"), Filter::RollbackCandidate];
        let (rows, _) = self.deployments(&project.id, &filters, MOST_CANDIDATES).await?;
        let others = || rows.iter().filter(|row| Some(row.uid.as_str()) != serving);
        let newest = match at {
            Some(at) => {
                others().filter(|row| row.served_from() <= at.as_millisecond()).max_by_key(|row| row.served_from())
            }
            None => {
                // What is newer than the one that serves came to nothing, or waits.
                let made = rows.iter().find(|row| Some(row.uid.as_str()) == serving).map(|row| row.created);
                let made = match (made, serving) {
                    (Some(made), _) => Some(made),
                    // What serves is no candidate for a rollback, so the list may not hold it.
                    (None, Some(serving)) => self.created(serving).await?,
                    (None, None) => None,
                };
                others().filter(|row| made.is_none_or(|made| row.created < made)).max_by_key(|row| row.created)
            }
        };
        Ok(newest.map(|row: &Listed| row.uid.clone()))
    }
}

impl Action for Rollback {
    const NAME: &'static str = "vercel.rollback";
    const SUMMARY: &'static str = "Lets a Vercel deployment serve production that did so before, in seconds.";
    const EFFECT: Effect = Effect::Write;
    const REPLAY: Replay = Replay::Probe;
    const UNDO: Option<&'static str> = Some("lets serve again what served before");
    const SECRETS: &'static [&'static str] = &["vercel"];
    type Params = VercelRollbackParams;
    type Output = VercelRollbackOutput;

    async fn run(&self, cx: &ActionContext, params: VercelRollbackParams) -> Result<VercelRollbackOutput, ActionError> {
        let at = params.at()?;
        let vercel = Vercel::new(cx, params.scope(), &params.secret)?;
        let watch = Watch::new(cx, params.deadline.0);
        let remembered = match Remembered::known(cx)? {
            // What `previous` means is settled once: afterwards something else serves.
            Some(remembered) => remembered,
            None => {
                let project: Project = vercel.read(vercel.scope.get_project()).await?;
                let to = match params.to.as_str() {
                    "previous" => {
                        vercel.served_before(&project, at).await?.ok_or_else(|| nothing_before(&project, at))?
                    }
                    id => id.to_owned(),
                };
                cx.progress(format!("rolls back to {to}"));
                Remembered::save(cx, &project, to).await?
            }
        };
        vercel.point_domain(&watch, &remembered.to, Way::Rollback, params.description.as_deref()).await?;
        Ok(output(remembered))
    }

    fn needs(&self, params: &VercelRollbackParams) -> Vec<Need> {
        let scope = params.scope();
        vec![scope.token_is_taken(&params.secret), scope.project_is_seen(&params.secret)]
    }

    fn describe(&self, params: &VercelRollbackParams) -> Vec<Intent> {
        let scope = params.scope();
        let mut intents = vec![Intent::from(&scope.get_project())];
        let to = if params.to == previous() {
            let filters = [Filter::Target("production"), Filter::States("READY"), Filter::RollbackCandidate];
            intents.push(Intent::from(&scope.list_deployments(":project_id", &filters)));
            intents.push(Intent::note(match &params.at {
                Some(at) => format!("takes the deployment that served at {at}"),
                None => "takes the deployment that served before the one that serves now".to_owned(),
            }));
            ":previous_deployment"
        } else {
            &params.to
        };
        let mut request = scope.move_domain(":project_id", to, Way::Rollback);
        if let Some(description) = &params.description {
            request = request.query("description", description);
        }
        intents.push(Intent::from(&request));
        intents.push(Intent::note(format!(
            "and reads the project until the domain has moved, for at most {}",
            params.deadline
        )));
        intents.push(Intent::note("new deployments then reach no customers until one is promoted"));
        intents
    }

    async fn probe(
        &self,
        cx: &ActionContext,
        params: VercelRollbackParams,
    ) -> Result<Probed<VercelRollbackOutput>, ActionError> {
        let moved = moved(cx, params.scope(), &params.secret, params.deadline, Way::Rollback).await?;
        Ok(moved.map_or(Probed::DidNotHappen, |remembered| Probed::Happened(output(remembered))))
    }

    async fn undo(
        &self,
        cx: &ActionContext,
        params: VercelRollbackParams,
        done: Done<VercelRollbackOutput>,
    ) -> Result<Undone, ActionError> {
        moved_back(cx, params.scope(), &params.secret, params.deadline, done.checkpoint.as_ref()).await
    }
}

fn nothing_before(project: &Project, at: Option<Timestamp>) -> ActionError {
    let when = at.map_or_else(|| "before the one that serves".to_owned(), |at| format!("at {at}"));
    let reason = format!("no deployment of project `{}` that can still be rolled back to served {when}", project.name);
    ActionError::new(ErrorKind::Rejected, reason)
}
