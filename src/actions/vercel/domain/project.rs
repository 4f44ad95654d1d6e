//! `vercel.project`: what must be known of a project before anything is changed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::{Scope, Vercel, default_secret, moment};
use super::Project;
use crate::action::{Action, ActionContext, ActionError, Effect, Intent, Need, Replay};

/// Reads what serves a project's customers, and what stands in the way of a change reaching them.
#[derive(Debug)]
pub struct ProjectFacts;

/// Which project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VercelProjectParams {
    /// The project's name or id.
    #[schemars(extend("examples" = ["{{ inputs.project }}"]))]
    pub project: String,
    /// The team's id (`team_…`) or slug, where the project belongs to a team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// The name of the secret that holds a Vercel token.
    #[serde(default = "default_secret")]
    pub secret: String,
}

/// How the project stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VercelProjectOutput {
    /// The project's id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The id of the deployment that customers reach; nothing where none does.
    pub serving: Option<String>,
    /// That deployment's own address.
    pub serving_url: Option<String>,
    /// Does a new production deployment get the domain by itself?
    pub auto_assign: bool,
    /// Was it rolled back? New deployments then wait for a promote.
    pub rolled_back: bool,
    /// Are new deployments given to a share of the customers first?
    pub rolling_release: bool,
    /// Does it answer customers at all, as far as Vercel tells?
    pub live: bool,
    /// Was it paused?
    pub paused: bool,
    /// Which addresses ask for a sign-in at Vercel first, in Vercel's word; nothing where none does.
    pub protection: Option<String>,
    /// The last promote or rollback.
    pub last_move: Option<DomainMove>,
    /// What would keep a change from reaching customers by itself, one sentence each.
    pub obstacles: Vec<String>,
}

/// A promote or a rollback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DomainMove {
    /// `promote` or `rollback`.
    pub way: String,
    /// From which deployment.
    pub from: Option<String>,
    /// To which deployment.
    pub to: Option<String>,
    /// `pending`, `in-progress`, `succeeded`, `failed` or `skipped`.
    pub status: String,
    /// When it was asked for, RFC 3339.
    pub requested_at: Option<String>,
}

impl VercelProjectParams {
    fn scope(&self) -> Scope<'_> {
        Scope { project: &self.project, team: self.team.as_deref() }
    }
}

impl From<&Project> for VercelProjectOutput {
    fn from(project: &Project) -> Self {
        let url = |field: &str| project.targets.pointer(field).and_then(Value::as_str).map(str::to_owned);
        let last_move = project.alias_request().map(|request| DomainMove {
            way: request.way().unwrap_or_default().to_owned(),
            from: request.from().map(str::to_owned),
            to: request.to().map(str::to_owned),
            status: request.status().unwrap_or_default().to_owned(),
            requested_at: request.requested_at().and_then(moment),
        });
        let protection = project.sso_protection.get("deploymentType").and_then(Value::as_str).map(str::to_owned);
        let paused = project.paused == Some(true);
        let mut obstacles = Vec::new();
        let mut say = |so: bool, what: &str| {
            if so {
                obstacles.push(what.to_owned());
            }
        };
        say(project.in_production().is_none(), "no deployment serves production");
        say(paused, "the project is paused");
        say(project.auto_assign_custom_domains == Some(false), "new deployments wait for a promote, by its settings");
        say(project.is_rolled_back(), "it was rolled back: new deployments wait for a promote");
        say(!project.rolling_release.is_null(), "a rolling release gives a change to a share of the customers first");
        say(project.moving().is_some(), "its domain is being moved");
        Self {
            id: project.id.clone(),
            name: project.name.clone(),
            serving: project.in_production().map(str::to_owned),
            serving_url: url("/production/url"),
            auto_assign: project.auto_assign_custom_domains != Some(false),
            rolled_back: project.is_rolled_back(),
            rolling_release: !project.rolling_release.is_null(),
            live: project.live.unwrap_or(true),
            paused,
            protection,
            last_move,
            obstacles,
        }
    }
}

impl Action for ProjectFacts {
    const NAME: &'static str = "vercel.project";
    const SUMMARY: &'static str = "Reads what serves a Vercel project's customers, and what keeps a change from them.";
    const EFFECT: Effect = Effect::Read;
    const REPLAY: Replay = Replay::Safe;
    const SECRETS: &'static [&'static str] = &["vercel"];
    type Params = VercelProjectParams;
    type Output = VercelProjectOutput;

    async fn run(&self, cx: &ActionContext, params: VercelProjectParams) -> Result<VercelProjectOutput, ActionError> {
        let vercel = Vercel::new(cx, params.scope(), &params.secret)?;
        let project: Project = vercel.read(vercel.scope.get_project()).await?;
        Ok(VercelProjectOutput::from(&project))
    }

    fn describe(&self, params: &VercelProjectParams) -> Vec<Intent> {
        vec![Intent::from(&params.scope().get_project())]
    }

    fn needs(&self, params: &VercelProjectParams) -> Vec<Need> {
        let scope = params.scope();
        vec![scope.token_is_taken(&params.secret), scope.project_is_seen(&params.secret)]
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::super::testing::{Answer, Bench, faults};
    use super::*;
    use crate::action::ErrorKind;
    use serde_json::json;

    fn params() -> VercelProjectParams {
        serde_json::from_value(json!({ "project": "shop", "team": "team_1" })).unwrap()
    }

    async fn told(project: Value) -> VercelProjectOutput {
        let bench = Bench::with(move |_| Answer::json(200, &project)).await;
        let output = ProjectFacts.run(&bench.cx(), params()).await.unwrap();
        let seen = bench.seen().remove(0);
        assert_eq!((seen.line().as_str(), seen.query.as_str()), ("GET /v9/projects/shop", "teamId=team_1"));
        output
    }

    #[tokio::test]
    async fn a_plain_project_has_nothing_in_the_way() {
        let targets = json!({ "production": { "id": "dpl_1", "url": "shop-1.vercel.app" } });
        let output = told(json!({ "id": "prj_1", "name": "shop", "targets": targets })).await;
        assert_eq!(output.serving.as_deref(), Some("dpl_1"));
        assert_eq!(output.serving_url.as_deref(), Some("shop-1.vercel.app"));
        assert_eq!((output.auto_assign, output.live, output.obstacles.len()), (true, true, 0));
    }

    #[tokio::test]
    async fn whatever_stands_in_the_way_is_said() {
        let output = told(json!({
            "id": "prj_1", "name": "shop", "targets": {}, "autoAssignCustomDomains": false, "paused": true, "live": false,
            "lastRollbackTarget": { "id": "dpl_0" }, "rollingRelease": { "target": "production" },
            "ssoProtection": { "deploymentType": "all" },
            "lastAliasRequest": { "fromDeploymentId": "dpl_1", "toDeploymentId": "dpl_0", "jobStatus": "in-progress",
                "requestedAt": 1_700_000_000_000_i64, "type": "rollback" },
        }))
        .await;
        assert_eq!(output.obstacles.len(), 6, "{:?}", output.obstacles);
        assert_eq!((output.protection.as_deref(), output.live), (Some("all"), false));
        let moved = output.last_move.unwrap();
        assert_eq!(
            (moved.way.as_str(), moved.from.as_deref(), moved.to.as_deref()),
            ("rollback", Some("dpl_1"), Some("dpl_0"))
        );
        assert_eq!(moved.requested_at.as_deref(), Some("2023-11-14T22:13:20Z"));
    }

    #[tokio::test]
    async fn every_fault_has_its_kind() {
        for (answer, kind) in faults() {
            let told = format!("{answer:?}");
            let bench = Bench::with(move |_| answer.clone()).await;
            let error = ProjectFacts.run(&bench.cx(), params()).await.unwrap_err();
            assert_eq!((error.kind, bench.seen().len()), (kind, 1), "{told}");
        }
        let bench = Bench::hanging_up().await;
        assert_eq!(ProjectFacts.run(&bench.cx(), params()).await.unwrap_err().kind, ErrorKind::Network);
        let url = "https://api.vercel.com/v9/projects/shop?teamId=team_1";
        assert_eq!(ProjectFacts.describe(&params()), [Intent::request("GET", url)]);
    }
}
