//! `vercel.deployments`: which deployments a project has, and which one served before.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::domain::Project;
use super::super::{Scope, Vercel, default_secret, moment};
use super::{Filter, Listed, RedeployTarget};
use crate::action::{Action, ActionContext, ActionError, Effect, Intent, Need, Replay};
use crate::base::Timestamp;

/// States that a list can be narrowed down to.
const STATES: [&str; 8] = ["BUILDING", "ERROR", "INITIALIZING", "QUEUED", "READY", "CANCELED", "DELETED", "BLOCKED"];

/// Lists a project's deployments, newest first, and says which one serves and which one served before.
#[derive(Debug)]
pub struct Deployments;

/// Which ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VercelDeploymentsParams {
    /// The project's name or id.
    #[schemars(extend("examples" = ["{{ inputs.project }}"]))]
    pub project: String,
    /// Only those for this environment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<RedeployTarget>,
    /// Only those in these states, in Vercel's words: `READY`, `ERROR` …
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub state: Vec<String>,
    /// Only those made at this time (RFC 3339) or after it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// Only those made before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// Only those that can be rolled back to.
    #[serde(default)]
    pub rollback_candidate: bool,
    /// How many at the most.
    #[serde(default = "default_limit")]
    pub limit: u16,
    /// The team's id (`team_…`) or slug, where the project belongs to a team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// The name of the secret that holds a Vercel token.
    #[serde(default = "default_secret")]
    pub secret: String,
}

/// What there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VercelDeploymentsOutput {
    /// The deployments, newest first.
    pub deployments: Vec<ListedDeployment>,
    /// Are there more than `limit`?
    pub more: bool,
    /// The deployment that serves production.
    pub serving: Option<String>,
    /// The deployment that served before it, and can serve again; nothing where none can.
    pub previous: Option<String>,
}

/// A deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ListedDeployment {
    /// Its id.
    pub id: String,
    /// Its own address.
    pub url: Option<String>,
    /// `production` or `preview`.
    pub target: String,
    /// Its state, in Vercel's word.
    pub state: String,
    /// `STAGED`, `ROLLING` or `PROMOTED`, where Vercel says so.
    pub substate: Option<String>,
    /// When it was made, RFC 3339.
    pub created_at: Option<String>,
    /// Does it serve production?
    pub serves: bool,
    /// Has it ever had its domains?
    pub aliased: bool,
    /// Can it be rolled back to?
    pub rollback_candidate: bool,
    /// How it came about: `git`, `redeploy`, `cli` …
    pub source: Option<String>,
    /// The commit it was built from, where Vercel knows.
    pub commit: Option<String>,
    /// The first line of that commit's message.
    pub subject: Option<String>,
    /// Why it failed, where it did.
    pub error: Option<String>,
    /// The page about it in the dashboard.
    pub inspector: Option<String>,
}

fn default_limit() -> u16 {
    20
}

impl ListedDeployment {
    fn of(row: &Listed, serving: Option<&str>) -> Self {
        let meta = |keys: [&str; 3]| keys.iter().find_map(|key| row.meta(key));
        let commit = meta(["githubCommitSha", "gitlabCommitSha", "bitbucketCommitSha"]);
        let message = meta(["githubCommitMessage", "gitlabCommitMessage", "bitbucketCommitMessage"]);
        Self {
            id: row.uid.clone(),
            url: row.url.clone(),
            target: row.target.clone().unwrap_or_else(|| "preview".to_owned()),
            state: row.state().to_owned(),
            substate: row.ready_substate.clone(),
            created_at: moment(row.created),
            serves: serving == Some(row.uid.as_str()),
            aliased: row.is_aliased(),
            rollback_candidate: row.is_rollback_candidate == Some(true),
            source: row.source.clone(),
            commit: commit.map(str::to_owned),
            subject: message.and_then(|message| message.lines().next()).map(str::to_owned),
            error: row.error_message.clone().or_else(|| row.error_code.clone()),
            inspector: row.inspector_url.clone(),
        }
    }
}

impl VercelDeploymentsParams {
    fn scope(&self) -> Scope<'_> {
        Scope { project: &self.project, team: self.team.as_deref() }
    }

    /// States joined, and times in milliseconds.
    fn words(&self) -> Result<(String, Option<String>, Option<String>), ActionError> {
        if let Some(unknown) = self.state.iter().find(|state| !STATES.contains(&state.as_str())) {
            let reason = format!("`{unknown}` is no state; Vercel has {}", STATES.join(", "));
            return Err(ActionError::invalid_params(reason));
        }
        if self.limit == 0 {
            return Err(ActionError::invalid_params("`limit` is 1 or more"));
        }
        let millis = |time: &Option<String>| match time.as_deref().map(str::parse::<Timestamp>) {
            None => Ok(None),
            Some(Ok(at)) => Ok(Some(at.as_millisecond().to_string())),
            Some(Err(_)) => {
                let told = time.as_deref().unwrap_or_default();
                Err(ActionError::invalid_params(format!("`{told}` is not a time; write it as RFC 3339")))
            }
        };
        Ok((self.state.join(","), millis(&self.since)?, millis(&self.before)?))
    }

    fn filters<'f>(&self, states: &'f str, since: Option<&'f str>, before: Option<&'f str>) -> Vec<Filter<'f>> {
        let target = self.target.map(|target| Filter::Target(target.as_str()));
        let states = (!states.is_empty()).then_some(Filter::States(states));
        let candidate = self.rollback_candidate.then_some(Filter::RollbackCandidate);
        let times = [since.map(Filter::Since), before.map(Filter::Until)];
        [target, states, candidate].into_iter().chain(times).flatten().collect()
    }
}

impl Action for Deployments {
    const NAME: &'static str = "vercel.deployments";
    const SUMMARY: &'static str = "Lists a Vercel project's deployments, and says which one served before.";
    const EFFECT: Effect = Effect::Read;
    const REPLAY: Replay = Replay::Safe;
    const SECRETS: &'static [&'static str] = &["vercel"];
    type Params = VercelDeploymentsParams;
    type Output = VercelDeploymentsOutput;

    async fn run(
        &self,
        cx: &ActionContext,
        params: VercelDeploymentsParams,
    ) -> Result<VercelDeploymentsOutput, ActionError> {
        let (states, since, before) = params.words()?;
        let vercel = Vercel::new(cx, params.scope(), &params.secret)?;
        let project: Project = vercel.read(vercel.scope.get_project()).await?;
        let filters = params.filters(&states, since.as_deref(), before.as_deref());
        let (rows, more) = vercel.deployments(&project.id, &filters, usize::from(params.limit)).await?;
        let serving = project.serving(RedeployTarget::Production);
        let previous = vercel.served_before(&project, None).await?;
        Ok(VercelDeploymentsOutput {
            deployments: rows.iter().map(|row| ListedDeployment::of(row, serving)).collect(),
            more,
            serving: serving.map(str::to_owned),
            previous,
        })
    }

    fn describe(&self, params: &VercelDeploymentsParams) -> Vec<Intent> {
        let scope = params.scope();
        let states = params.state.join(",");
        let filters = params.filters(&states, params.since.as_deref(), params.before.as_deref());
        vec![
            Intent::from(&scope.get_project()),
            Intent::from(&scope.list_deployments(":project_id", &filters)),
            Intent::note("and, to know which one served before, those that can be rolled back to"),
        ]
    }

    fn needs(&self, params: &VercelDeploymentsParams) -> Vec<Need> {
        let scope = params.scope();
        vec![scope.token_is_taken(&params.secret), scope.project_is_seen(&params.secret)]
    }
}
