//! `vercel.deployment`: how one deployment is.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::{Scope, Vercel, default_secret, moment};
use super::progress::{Progress, is_true, progress, state_of};
use crate::action::{Action, ActionContext, ActionError, Effect, Intent, Need, Replay};
use crate::http::path_segment;

/// Reads how one deployment is: its state, and whether customers reach it.
#[derive(Debug)]
pub struct DeploymentFacts;

/// Which deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VercelDeploymentParams {
    /// Its id (`dpl_…`) or its own address, without `https://`.
    pub deployment: String,
    /// The team's id (`team_…`) or slug, where the project belongs to a team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// The name of the secret that holds a Vercel token.
    #[serde(default = "default_secret")]
    pub secret: String,
}

/// How it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VercelDeploymentOutput {
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
    /// Will it never be another one, for good or bad?
    pub over: bool,
    /// Was it built, and did it get its domains? That says nothing of whether it still has them.
    pub done: bool,
    /// Has it ever had its domains?
    pub aliased: bool,
    /// Why it came to nothing, where it did.
    pub problem: Option<String>,
    /// When it was made, RFC 3339.
    pub created_at: Option<String>,
    /// The domains it has.
    pub domains: Vec<String>,
    /// What was noted when it was made, such as the run that made it.
    pub meta: serde_json::Map<String, Value>,
    /// The page about it in the dashboard.
    pub inspector: Option<String>,
}

impl VercelDeploymentParams {
    fn scope(&self) -> Scope<'_> {
        Scope { project: "", team: self.team.as_deref() }
    }
}

/// A deployment's id or address as a segment of a path.
pub(super) fn deployment_segment(deployment: &str) -> Result<String, ActionError> {
    let bare = deployment.strip_prefix("https://").unwrap_or(deployment).trim_end_matches('/');
    path_segment(bare).ok_or_else(|| ActionError::invalid_params(format!("`{deployment}` is no deployment's id")))
}

fn output(deployment: &Value) -> Option<VercelDeploymentOutput> {
    let text = |key: &str| deployment.get(key).and_then(Value::as_str).map(str::to_owned);
    let state = state_of(deployment).to_owned();
    let progress = progress(deployment);
    let problem = match &progress {
        Progress::Over(reason) => Some(reason.clone()),
        _ => None,
    };
    let domains = deployment.get("alias").and_then(Value::as_array).into_iter().flatten();
    Some(VercelDeploymentOutput {
        id: text("id").or_else(|| text("uid"))?,
        url: text("url"),
        target: text("target").unwrap_or_else(|| "preview".to_owned()),
        over: problem.is_some() || state == "READY",
        state,
        substate: text("readySubstate"),
        done: progress == Progress::Serving,
        aliased: deployment.get("aliasAssigned").is_some_and(is_true),
        problem,
        created_at: deployment.get("createdAt").and_then(Value::as_i64).and_then(moment),
        domains: domains.filter_map(Value::as_str).map(str::to_owned).collect(),
        meta: deployment.get("meta").and_then(Value::as_object).cloned().unwrap_or_default(),
        inspector: text("inspectorUrl"),
    })
}

impl Action for DeploymentFacts {
    const NAME: &'static str = "vercel.deployment";
    const SUMMARY: &'static str = "Reads how one Vercel deployment is.";
    const EFFECT: Effect = Effect::Read;
    const REPLAY: Replay = Replay::Safe;
    const SECRETS: &'static [&'static str] = &["vercel"];
    type Params = VercelDeploymentParams;
    type Output = VercelDeploymentOutput;

    async fn run(
        &self,
        cx: &ActionContext,
        params: VercelDeploymentParams,
    ) -> Result<VercelDeploymentOutput, ActionError> {
        let segment = deployment_segment(&params.deployment)?;
        let vercel = Vercel::of_team(cx, params.scope(), &params.secret)?;
        let deployment = vercel.call(vercel.scope.get_deployment(&segment)).await?;
        output(&deployment).ok_or_else(|| ActionError::invalid_response("Vercel answered a deployment without its id"))
    }

    fn describe(&self, params: &VercelDeploymentParams) -> Vec<Intent> {
        let segment = deployment_segment(&params.deployment).unwrap_or_default();
        vec![Intent::from(&params.scope().get_deployment(&segment))]
    }

    fn needs(&self, params: &VercelDeploymentParams) -> Vec<Need> {
        vec![params.scope().token_is_taken(&params.secret)]
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::super::testing::{Answer, Bench, faults};
    use super::*;
    use serde_json::json;

    fn params(deployment: &str) -> VercelDeploymentParams {
        serde_json::from_value(json!({ "deployment": deployment, "team": "acme" })).unwrap()
    }

    #[tokio::test]
    async fn tells_what_is_done_from_what_is_only_ready() {
        let base = json!({ "id": "dpl_1", "url": "shop-1.vercel.app", "target": "production", "createdAt": 1_700_000_000_000_i64,
            "alias": ["shop.example.com"], "meta": { "runbookRun": "r/s" } });
        for (more, over, done, problem) in [
            (json!({ "readyState": "BUILDING" }), false, false, None),
            (json!({ "readyState": "READY", "aliasAssigned": false }), true, false, None),
            (json!({ "readyState": "READY", "aliasAssigned": true, "readySubstate": "ROLLING" }), true, false, None),
            (json!({ "readyState": "READY", "aliasAssigned": 1_700_000_000_001_i64 }), true, true, None),
            (
                json!({ "readyState": "ERROR", "errorMessage": "npm failed" }),
                true,
                false,
                Some("ended as ERROR: npm failed"),
            ),
            (json!({ "readyState": "BLOCKED" }), true, false, Some("ended as BLOCKED")),
            (
                json!({ "readyState": "READY", "aliasError": { "message": "taken" } }),
                true,
                false,
                Some("could not be given its domains: taken"),
            ),
        ] {
            let mut body = base.clone();
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            let bench = Bench::with(move |_| Answer::json(200, &body)).await;
            let output = DeploymentFacts.run(&bench.cx(), params("https://shop-1.vercel.app/")).await.unwrap();
            assert_eq!((output.over, output.done, output.problem.as_deref()), (over, done, problem), "{more}");
            assert_eq!((output.domains.len(), output.meta["runbookRun"].as_str()), (1, Some("r/s")));
            let seen = bench.seen().remove(0);
            assert_eq!(
                (seen.line().as_str(), seen.query.as_str()),
                ("GET /v13/deployments/shop-1.vercel.app", "slug=acme")
            );
        }
    }

    #[tokio::test]
    async fn every_fault_has_its_kind() {
        for (answer, kind) in faults() {
            let told = format!("{answer:?}");
            let bench = Bench::with(move |_| answer.clone()).await;
            let error = DeploymentFacts.run(&bench.cx(), params("dpl_1")).await.unwrap_err();
            assert_eq!((error.kind, bench.seen().len()), (kind, 1), "{told}");
        }
        let error = DeploymentFacts.run(&Bench::new().cx(), params("..")).await.unwrap_err();
        assert_eq!(error.kind, crate::action::ErrorKind::InvalidParams);
        let url = "https://api.vercel.com/v13/deployments/dpl_1?slug=acme";
        assert_eq!(DeploymentFacts.describe(&params("dpl_1")), [Intent::request("GET", url)]);
    }
}
