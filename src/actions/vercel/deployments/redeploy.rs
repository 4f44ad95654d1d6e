//! `vercel.redeploy`: builds anew what serves now, and sees it through until customers reach it.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::domain::{Project, Way, rolling};
use super::super::watch::Watch;
use super::super::{Scope, Vercel, default_secret, id_segment, typed};
use super::progress::{Progress, is_over, progress};
use super::{Filter, RedeployTarget};
use crate::action::{Action, ActionContext, ActionError, Done, Effect, ErrorKind, Intent, Need, Replay, Undone};
use crate::base::clock::until;
use crate::base::{HumanDuration, Timestamp};
use crate::http::Request;

/// How long an undo waits for the roll-back; Vercel's own command line waits as long.
const ROLLBACK_DEADLINE: Duration = Duration::from_secs(180);
/// How far Vercel's clock may be behind ours when we look for our own deployment.
const CLOCK_SKEW: Duration = Duration::from_secs(300);
/// How long a deployment that is ready may wait for its domains before it is promoted by hand.
const ALIAS_PATIENCE: Duration = Duration::from_secs(180);
/// How many pages of deployments to look through for our own.
const MOST_PAGES: usize = 10;

/// Deploys anew what serves now, with the environment variables of now.
#[derive(Debug)]
pub struct Redeploy;

/// Which project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VercelRedeployParams {
    /// The project's name or id.
    #[schemars(extend("examples" = ["{{ inputs.project }}"]))]
    pub project: String,
    /// Which of its environments to deploy to.
    #[serde(default)]
    pub target: RedeployTarget,
    /// The team's id (`team_…`) or slug, where the project belongs to a team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// The name of the secret that holds a Vercel token.
    #[serde(default = "default_secret")]
    pub secret: String,
    /// How long to wait until customers reach the new deployment. Builds may take 45 minutes.
    #[serde(default = "default_deadline")]
    pub deadline: HumanDuration,
    /// What to do where the project gives new deployments to a share of the customers first.
    #[serde(default)]
    pub rolling: Rolling,
}

/// What to do about a rolling release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Rolling {
    /// Deploy nothing: only a share of the customers would have it.
    #[default]
    Refuse,
    /// Give it to everybody as soon as it is ready.
    Complete,
}

fn default_deadline() -> HumanDuration {
    HumanDuration(Duration::from_secs(20 * 60))
}

/// What serves now. That it is ready does not prove that the application does what it should: ask the application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VercelRedeployOutput {
    /// The new deployment's id.
    pub deployment: String,
    /// Its own address.
    pub url: String,
    /// The id of the deployment that served before.
    pub previous: String,
    /// From the request until it served, in seconds.
    pub ready_after_seconds: u64,
}

/// What a later try and the undo must know.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Remembered {
    /// What served before the first try.
    previous: String,
    /// The project's id.
    project: String,
    /// When the first try began.
    since: Timestamp,
    /// The deployment that was made, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deployment: Option<String>,
    /// Deployments of this step that were built and could not be given the domain: dead ends.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    dead: Vec<String>,
}

impl VercelRedeployParams {
    fn scope(&self) -> Scope<'_> {
        Scope { project: &self.project, team: self.team.as_deref() }
    }
}

/// The requests. Plans show them and runs send them.
impl Scope<'_> {
    fn create_deployment(&self, name: &str, from: &str, target: RedeployTarget, key: &str) -> Request {
        let mut body = json!({ "name": name, "deploymentId": from });
        if let (RedeployTarget::Production, Some(fields)) = (target, body.as_object_mut()) {
            // Vercel knows `production` by name; without a name it deploys a preview.
            fields.insert("target".to_owned(), json!("production"));
        }
        if let Some(fields) = body.as_object_mut() {
            fields.insert("meta".to_owned(), json!({ "action": "redeploy", "runbookRun": key }));
        }
        self.request("POST", "/v13/deployments").query("forceNew", "1").json(body)
    }

    fn complete_rolling(&self, project: &str, id: &str) -> Request {
        let path = format!("/v1/projects/{project}/rolling-release/complete");
        self.request("POST", &path).json(json!({ "canaryDeploymentId": id }))
    }
}

impl Action for Redeploy {
    const NAME: &'static str = "vercel.redeploy";
    const SUMMARY: &'static str = "Deploys anew what serves now, so that changed environment variables are felt.";
    const EFFECT: Effect = Effect::Write;
    const REPLAY: Replay = Replay::Keyed;
    const UNDO: Option<&'static str> = Some("rolls back to the deployment that served before");
    const SECRETS: &'static [&'static str] = &["vercel"];
    type Params = VercelRedeployParams;
    type Output = VercelRedeployOutput;

    async fn run(&self, cx: &ActionContext, params: VercelRedeployParams) -> Result<VercelRedeployOutput, ActionError> {
        let vercel = Vercel::new(cx, params.scope(), &params.secret)?;
        let watch = Watch::new(cx, params.deadline.0);
        let project: Project = vercel.read(vercel.scope.get_project()).await?;
        let rolls = params.target == RedeployTarget::Production && !project.rolling_release.is_null();
        if rolls && params.rolling == Rolling::Refuse {
            return Err(rolling(&project.name));
        }
        let mut remembered = remembered(cx, &project, params.target).await?;
        let id = match vercel.own_deployment(&remembered, params.target).await? {
            Some(id) => {
                cx.progress(format!("an earlier try made {id}"));
                id
            }
            None => {
                let key = &cx.target().key;
                let request = vercel.scope.create_deployment(&project.name, &remembered.previous, params.target, key);
                let url = request.url.clone();
                let made: Made = typed(vercel.call(request).await?, &url)?;
                cx.progress(format!("made {}", made.id));
                made.id
            }
        };
        remembered.deployment = Some(id.clone());
        cx.save_checkpoint(json!(remembered)).await?;
        let seen = vercel.see_through(&watch, &id, &params).await;
        if let Err(error) = &seen
            && error.kind == ErrorKind::Failed
        {
            // It will never serve: the next try makes another one.
            remembered.dead.push(id.clone());
            remembered.deployment = None;
            cx.save_checkpoint(json!(remembered)).await?;
        }
        let url = seen?;
        Ok(VercelRedeployOutput {
            deployment: id,
            url,
            previous: remembered.previous,
            ready_after_seconds: until(remembered.since, cx.now()).as_secs(),
        })
    }

    fn needs(&self, params: &VercelRedeployParams) -> Vec<Need> {
        let scope = params.scope();
        vec![scope.token_is_taken(&params.secret), scope.project_is_seen(&params.secret)]
    }

    fn describe(&self, params: &VercelRedeployParams) -> Vec<Intent> {
        let scope = params.scope();
        let target = params.target;
        let mut intents = vec![
            Intent::from(&scope.get_project()),
            Intent::note(format!("takes the {} deployment that serves now as the source", target.as_str())),
            Intent::from(
                &scope.list_deployments(":project_id", &[Filter::Target(target.as_str()), Filter::Since(":start")]),
            ),
            Intent::note("and only where this step has made no deployment yet:"),
            Intent::from(&scope.create_deployment(":project_name", ":serving_deployment", target, ":run/:step")),
            Intent::note(format!("until it serves, for at most {}:", params.deadline)),
            Intent::from(&scope.get_deployment(":id")),
        ];
        if target == RedeployTarget::Production {
            intents.push(Intent::note("and only where the project does not assign its domains by itself:"));
            intents.push(Intent::from(&scope.move_domain(":project_id", ":id", Way::Promote)));
            intents.push(Intent::note("and reads the project until the domains have moved"));
            if params.rolling == Rolling::Complete {
                intents.push(Intent::note("and where the project has a rolling release, gives it to everybody:"));
                intents.push(Intent::from(&scope.complete_rolling(":project_id", ":id")));
            }
        }
        intents
    }

    async fn undo(
        &self,
        cx: &ActionContext,
        params: VercelRedeployParams,
        done: Done<VercelRedeployOutput>,
    ) -> Result<Undone, ActionError> {
        if params.target == RedeployTarget::Preview {
            let left = done.output.map(|output| format!("the preview {} stays where it is", output.deployment));
            let summary = "a preview serves no customers: nothing to roll back".to_owned();
            return Ok(Undone { summary, left: left.into_iter().collect() });
        }
        let Some(remembered) = done.checkpoint.as_ref().and_then(|value| Remembered::deserialize(value).ok()) else {
            return Ok(Undone { summary: "nothing had been deployed".to_owned(), left: Vec::new() });
        };
        let vercel = Vercel::new(cx, params.scope(), &params.secret)?;
        let project: Project = vercel.read(vercel.scope.get_project()).await?;
        let previous = &remembered.previous;
        if project.serving(params.target) == Some(previous.as_str()) {
            return Ok(Undone { summary: format!("{previous} serves already"), left: Vec::new() });
        }
        let watch = Watch::new(cx, ROLLBACK_DEADLINE);
        vercel.point_domain(&watch, previous, Way::Rollback, None).await?;
        let left = format!(
            "project `{}` stays pinned to {previous}: new deployments reach no customers until one is promoted",
            project.name
        );
        Ok(Undone { summary: format!("rolled back to {previous}"), left: vec![left] })
    }
}

/// What Vercel says of a deployment just made.
#[derive(Deserialize)]
struct Made {
    id: String,
}

/// What an earlier try remembered, or what is so now; saved before anything is made.
async fn remembered(cx: &ActionContext, project: &Project, target: RedeployTarget) -> Result<Remembered, ActionError> {
    if let Some(checkpoint) = cx.checkpoint() {
        return Remembered::deserialize(checkpoint).map_err(|error| {
            let reason = format!("what an earlier try recorded cannot be read: {error}");
            ActionError::new(ErrorKind::Internal, reason)
        });
    }
    let Some(previous) = project.serving(target) else {
        let reason = format!("project `{}` has no {} deployment to deploy anew", project.name, target.as_str());
        return Err(ActionError::new(ErrorKind::Rejected, reason));
    };
    let remembered = Remembered {
        previous: previous.to_owned(),
        project: project.id.clone(),
        since: cx.now(),
        deployment: None,
        dead: Vec::new(),
    };
    cx.save_checkpoint(json!(remembered)).await?;
    Ok(remembered)
}

impl Vercel<'_> {
    /// The deployment that this step of this run made before, unless it came to nothing.
    async fn own_deployment(
        &self,
        remembered: &Remembered,
        target: RedeployTarget,
    ) -> Result<Option<String>, ActionError> {
        let since = remembered.since.as_millisecond() - i64::try_from(CLOCK_SKEW.as_millis()).unwrap_or(0);
        let since = since.to_string();
        let base = [Filter::Target(target.as_str()), Filter::Since(&since)];
        let mut until: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let mut filters = base.to_vec();
            filters.extend(until.as_deref().map(Filter::Until));
            let (rows, next) = self.page_of_deployments(&remembered.project, &filters).await?;
            let own = rows.iter().find(|row| {
                row.meta("runbookRun") == Some(self.cx.target().key.as_str())
                    && !remembered.dead.contains(&row.uid)
                    && !is_over(row.state())
            });
            if let Some(own) = own {
                return Ok(Some(own.uid.clone()));
            }
            let Some(next) = next else { return Ok(None) };
            until = Some(next);
        }
        // Thousands of deployments since this step began: to make one more could be to make it twice.
        Err(ActionError::invalid_response("Vercel's list of deployments does not end"))
    }

    /// Watches a deployment until customers reach it; promotes it where the project does not. Returns its address.
    async fn see_through(&self, watch: &Watch, id: &str, params: &VercelRedeployParams) -> Result<String, ActionError> {
        let segment = id_segment(id)?;
        let production = params.target == RedeployTarget::Production;
        let mut told = String::new();
        let mut assigning_since: Option<Timestamp> = None;
        loop {
            let request = self.scope.get_deployment(&segment);
            let deployment = watch.insist(self.cx, || self.call(request.clone())).await?;
            let url = deployment.get("url").and_then(Value::as_str).unwrap_or_default().to_owned();
            let progress = progress(&deployment);
            let words = match &progress {
                Progress::Underway(state) => state.clone(),
                Progress::Assigning => "READY, its domains are being assigned".to_owned(),
                Progress::Staged => "READY, waiting to be promoted".to_owned(),
                Progress::Rolling => "READY, reaching a share of the customers".to_owned(),
                Progress::Serving => "READY, serving".to_owned(),
                Progress::Over(reason) => {
                    let page = deployment.get("inspectorUrl").and_then(Value::as_str).unwrap_or("the dashboard");
                    let reason = format!("deployment {id} {reason}; see {page}");
                    return Err(ActionError::new(ErrorKind::Failed, reason));
                }
            };
            if told != words {
                self.cx.progress(format!("{id} is {words}"));
                told.clone_from(&words);
            }
            match progress {
                Progress::Serving => return Ok(url),
                Progress::Staged if production => {
                    self.promote_own(watch, id, "the project does not assign its domains by itself").await?;
                    return Ok(url);
                }
                Progress::Assigning if production => {
                    let since = *assigning_since.get_or_insert_with(|| self.cx.now());
                    let project = self.project(watch).await?;
                    if project.is_pinned() {
                        self.promote_own(watch, id, "the project does not assign its domains by itself").await?;
                        return Ok(url);
                    }
                    if until(since, self.cx.now()) >= ALIAS_PATIENCE {
                        let why = format!("its domains have not come in {}", HumanDuration(ALIAS_PATIENCE));
                        self.promote_own(watch, id, &why).await?;
                        return Ok(url);
                    }
                }
                Progress::Rolling if params.rolling == Rolling::Complete => self.complete_own(watch, &segment).await?,
                Progress::Rolling => {
                    let project = self.project(watch).await?;
                    let mut error = rolling(&project.name);
                    error.kind = ErrorKind::Failed;
                    return Err(error);
                }
                Progress::Staged => return Ok(url),
                Progress::Assigning | Progress::Underway(_) | Progress::Over(_) => {}
            }
            watch.pause(self.cx, &format!("deployment {id} is {words}")).await?;
        }
    }

    async fn promote_own(&self, watch: &Watch, id: &str, why: &str) -> Result<(), ActionError> {
        self.cx.progress(format!("promotes {id}: {why}"));
        self.point_domain(watch, id, Way::Promote, None).await
    }

    /// Gives the rolling release to everybody.
    async fn complete_own(&self, watch: &Watch, id: &str) -> Result<(), ActionError> {
        let project = self.project(watch).await?;
        self.cx.progress(format!("completes the rolling release of {id}"));
        let request = self.scope.complete_rolling(&id_segment(&project.id)?, id);
        match watch.insist(self.cx, || self.call(request.clone())).await {
            // Somebody else completed it, or our own answer was lost: the next look tells.
            Err(error) if error.status == Some(409) => Ok(()),
            completed => completed.map(drop),
        }
    }
}

#[cfg(test)]
mod tests;
