//! `vercel.cancel`: stops a deployment that is not built yet.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::{Scope, Vercel, default_secret};
use super::progress::state_of;
use super::show::deployment_segment;
use crate::action::{Action, ActionContext, ActionError, Effect, ErrorKind, Intent, Need, Replay};
use crate::http::Request;

/// Stops a deployment that waits or is being built. What is built already cannot be stopped, only rolled back from.
#[derive(Debug)]
pub struct Cancel;

/// Which deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VercelCancelParams {
    /// Its id (`dpl_…`).
    pub deployment: String,
    /// The team's id (`team_…`) or slug, where the project belongs to a team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// The name of the secret that holds a Vercel token.
    #[serde(default = "default_secret")]
    pub secret: String,
}

/// How it ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VercelCancelOutput {
    /// The deployment.
    pub deployment: String,
    /// Its state now, in Vercel's word.
    pub state: String,
    /// Was there something to stop? Not where it had come to nothing by itself.
    pub cancelled: bool,
}

impl VercelCancelParams {
    fn scope(&self) -> Scope<'_> {
        Scope { project: "", team: self.team.as_deref() }
    }
}

impl Scope<'_> {
    fn cancel(&self, id: &str) -> Request {
        self.request("PATCH", &format!("/v12/deployments/{id}/cancel"))
    }
}

impl Action for Cancel {
    const NAME: &'static str = "vercel.cancel";
    const SUMMARY: &'static str = "Stops a Vercel deployment that is not built yet.";
    const EFFECT: Effect = Effect::Write;
    const REPLAY: Replay = Replay::Safe;
    const SECRETS: &'static [&'static str] = &["vercel"];
    type Params = VercelCancelParams;
    type Output = VercelCancelOutput;

    async fn run(&self, cx: &ActionContext, params: VercelCancelParams) -> Result<VercelCancelOutput, ActionError> {
        let segment = deployment_segment(&params.deployment)?;
        let vercel = Vercel::of_team(cx, params.scope(), &params.secret)?;
        let told = |state: &str, cancelled| {
            Ok(VercelCancelOutput { deployment: params.deployment.clone(), state: state.to_owned(), cancelled })
        };
        match vercel.call(vercel.scope.cancel(&segment)).await {
            Ok(answer) => match state_of(&answer) {
                "CANCELED" => told("CANCELED", true),
                other => {
                    let reason = format!("Vercel took the request, and {} is {other}", params.deployment);
                    Err(ActionError::invalid_response(reason))
                }
            },
            // It has ended, one way or another: which way decides whether that is what was wanted.
            Err(refused) if refused.status == Some(400) => {
                let deployment: Value = vercel.call(vercel.scope.get_deployment(&segment)).await?;
                match state_of(&deployment) {
                    state @ ("CANCELED" | "ERROR" | "BLOCKED" | "DELETED") => told(state, false),
                    "READY" => {
                        let reason = format!("{} is built already: roll back from it instead", params.deployment);
                        Err(ActionError { message: reason, kind: ErrorKind::Rejected, ..refused })
                    }
                    _ => Err(refused),
                }
            }
            Err(error) => Err(error),
        }
    }

    fn describe(&self, params: &VercelCancelParams) -> Vec<Intent> {
        let segment = deployment_segment(&params.deployment).unwrap_or_default();
        vec![Intent::from(&params.scope().cancel(&segment))]
    }

    fn needs(&self, params: &VercelCancelParams) -> Vec<Need> {
        vec![params.scope().token_is_taken(&params.secret)]
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::super::testing::{Answer, Bench, faults};
    use super::*;
    use serde_json::json;

    fn params() -> VercelCancelParams {
        serde_json::from_value(json!({ "deployment": "dpl_1", "team": "team_1" })).unwrap()
    }

    #[tokio::test]
    async fn stops_what_is_being_built() {
        let bench = Bench::with(|_| Answer::json(200, &json!({ "id": "dpl_1", "readyState": "CANCELED" }))).await;
        let output = Cancel.run(&bench.cx(), params()).await.unwrap();
        assert_eq!((output.state.as_str(), output.cancelled), ("CANCELED", true));
        let seen = bench.seen().remove(0);
        assert_eq!(
            (seen.line().as_str(), seen.query.as_str()),
            ("PATCH /v12/deployments/dpl_1/cancel", "teamId=team_1")
        );
        assert_eq!(seen.body, json!(""), "it carries nothing");
    }

    #[tokio::test]
    async fn what_has_ended_is_told_from_what_serves() {
        let over = json!({ "error": { "code": "bad_request", "message": "it is finished" } });
        for (state, expected) in [("CANCELED", Some(false)), ("ERROR", Some(false)), ("READY", None)] {
            let over = over.clone();
            let bench = Bench::with(move |seen| match seen.method.as_str() {
                "PATCH" => Answer::json(400, &over),
                _ => Answer::json(200, &json!({ "id": "dpl_1", "readyState": state })),
            });
            let bench = bench.await;
            let result = Cancel.run(&bench.cx(), params()).await;
            assert_eq!(result.as_ref().ok().map(|output| output.cancelled), expected, "{state}: {result:?}");
            if let Err(error) = result {
                assert!(error.kind == ErrorKind::Rejected && error.message.contains("roll back"), "{error}");
            }
        }
    }

    #[tokio::test]
    async fn every_fault_has_its_kind() {
        for (answer, kind) in faults() {
            let told = format!("{answer:?}");
            let bench = Bench::with(move |_| answer.clone()).await;
            let error = Cancel.run(&bench.cx(), params()).await.unwrap_err();
            assert_eq!((error.kind, bench.seen().len()), (kind, 1), "{told}");
        }
        let error = Cancel.run(&Bench::hanging_up().await.cx(), params()).await.unwrap_err();
        assert_eq!((error.kind, error.uncertain), (ErrorKind::Network, true));
    }
}
