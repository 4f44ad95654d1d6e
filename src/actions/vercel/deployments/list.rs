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

#[cfg(test)]
mod tests {
    use super::super::super::super::testing::{Answer, Bench, Seen, faults};
    use super::*;
    use crate::action::ErrorKind;
    use serde_json::{Value, json};

    fn params(more: Value) -> VercelDeploymentsParams {
        let mut params = json!({ "project": "shop", "team": "acme" });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(params).unwrap()
    }

    /// A project with 250 deployments, made a second apart; the newest serves.
    fn answer(seen: &Seen) -> Answer {
        if seen.path == "/v9/projects/shop" {
            let targets = json!({ "production": { "id": "dpl_250" } });
            return Answer::json(200, &json!({ "id": "prj_1", "name": "shop", "targets": targets }));
        }
        if seen.path.starts_with("/v13/deployments/") {
            return Answer::json(200, &json!({ "createdAt": 250_000 }));
        }
        let query = |name: &str| {
            seen.query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}="))).map(str::to_owned)
        };
        let until = query("until").map_or(i64::MAX, |until| until.parse().unwrap());
        let candidates = query("rollbackCandidate").is_some();
        let rows: Vec<Value> = (1..=250_i64)
            .rev()
            .filter(|number| number * 1000 < until && !(candidates && *number == 250))
            .take(query("limit").unwrap().parse().unwrap())
            .map(|number| {
                json!({
                    "uid": format!("dpl_{number}"), "id": "other", "created": number * 1000, "createdAt": number * 1000, "state": "READY", "target": "production",
                    "isRollbackCandidate": number < 250, "aliasAssigned": number * 1000 + 9,
                    "meta": { "githubCommitSha": "abc", "githubCommitMessage": "fix: one\n\nmore" },
                })
            })
            .collect();
        let last = rows.last().map(|row| row["created"].clone()).filter(|_| rows.len() == 100);
        Answer::json(200, &json!({ "deployments": rows, "pagination": { "count": rows.len(), "next": last } }))
    }

    #[tokio::test]
    async fn pages_are_read_to_the_limit_and_no_further() {
        for (limit, expected, more, pages) in
            [(20, 20, true, 1), (100, 100, true, 1), (240, 240, true, 3), (1000, 250, false, 3)]
        {
            let bench = Bench::with(answer).await;
            let output = Deployments.run(&bench.cx(), params(json!({ "limit": limit }))).await.unwrap();
            assert_eq!((output.deployments.len(), output.more), (expected, more), "{limit}");
            let read = bench
                .seen()
                .into_iter()
                .filter(|seen| seen.path == "/v7/deployments" && !seen.query.contains("rollbackCandidate"));
            assert_eq!(read.count(), pages, "{limit}");
        }
        let bench = Bench::with(answer).await;
        let output = Deployments.run(&bench.cx(), params(json!({ "limit": 2 }))).await.unwrap();
        assert_eq!((output.serving.as_deref(), output.previous.as_deref()), (Some("dpl_250"), Some("dpl_249")));
        let (first, second) = (&output.deployments[0], &output.deployments[1]);
        assert_eq!((first.serves, first.rollback_candidate, second.serves), (true, false, false));
        assert_eq!(
            (second.subject.as_deref(), second.created_at.as_deref()),
            (Some("fix: one"), Some("1970-01-01T00:04:09Z"))
        );
    }

    #[tokio::test]
    async fn what_is_asked_for_is_in_the_request() {
        let bench = Bench::with(answer).await;
        let wanted = json!({ "target": "production", "state": ["READY", "ERROR"], "rollback_candidate": true,
            "since": "1970-01-01T00:00:01Z", "before": "1970-01-01T00:00:09Z" });
        Deployments.run(&bench.cx(), params(wanted)).await.unwrap();
        let seen = bench.seen().remove(1);
        assert_eq!(
            seen.query,
            "slug=acme&projectId=prj_1&target=production&state=READY%2CERROR&rollbackCandidate=true&since=1000&until=9000&limit=100"
        );
        for wrong in [json!({ "state": ["ready"] }), json!({ "since": "yesterday" }), json!({ "limit": 0 })] {
            let error = Deployments.run(&Bench::new().cx(), params(wrong)).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::InvalidParams);
        }
    }

    #[tokio::test]
    async fn every_fault_has_its_kind() {
        for (answer, kind) in faults() {
            let told = format!("{answer:?}");
            let bench = Bench::with(move |_| answer.clone()).await;
            let error = Deployments.run(&bench.cx(), params(json!({}))).await.unwrap_err();
            assert_eq!((error.kind, bench.seen().len()), (kind, 1), "{told}");
        }
        let bench = Bench::with(|seen| match seen.path.as_str() {
            "/v7/deployments" => Answer::json(200, &json!({ "deployments": 1 })),
            _ => answer(seen),
        });
        let error = Deployments.run(&bench.await.cx(), params(json!({}))).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidResponse);
    }
}
