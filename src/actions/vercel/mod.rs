//! Vercel: environment variables and deployments, <https://vercel.com/docs/rest-api>.

mod deployments;
mod domain;
mod edge_config;
mod env;
mod watch;

pub use deployments::{
    BuildLog, Cancel, DeploymentFacts, Deployments, ListedDeployment, LogLine, Redeploy, RedeployTarget, Rolling,
    VercelBuildLogOutput, VercelBuildLogParams, VercelCancelOutput, VercelCancelParams, VercelDeploymentOutput,
    VercelDeploymentParams, VercelDeploymentsOutput, VercelDeploymentsParams, VercelRedeployOutput,
    VercelRedeployParams,
};
pub use domain::{
    DomainMove, ProjectFacts, Promote, Rollback, VercelProjectOutput, VercelProjectParams, VercelPromoteOutput,
    VercelPromoteParams, VercelRollbackOutput, VercelRollbackParams,
};
pub use edge_config::{EdgeConfigSet, VercelEdgeConfigSetOutput, VercelEdgeConfigSetParams};
pub use env::{
    EnvGet, EnvList, EnvRemove, EnvSet, EnvTarget, EnvTargets, EnvType, Existing, ListedVariable, VercelEnvGetOutput,
    VercelEnvGetParams, VercelEnvListOutput, VercelEnvListParams, VercelEnvRemoveOutput, VercelEnvRemoveParams,
    VercelEnvSetOutput, VercelEnvSetParams,
};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::action::{ActionContext, ActionError, ErrorKind, Need};
use crate::base::Timestamp;
use crate::http::{Limit, Request, path_segment};

const BASE: &str = "https://api.vercel.com";

/// Codes that ask for a person at a browser: a token cannot answer them.
const STEP_UP: [&str; 3] = ["challenge_required", "challenge_required_email_otp", "user_auth_required"];

/// Where the calls of one step go: the team is named on every one of them, or a team's project is not found.
#[derive(Debug, Clone, Copy)]
struct Scope<'p> {
    project: &'p str,
    team: Option<&'p str>,
}

impl Scope<'_> {
    /// A request; `path` is made of checked segments.
    fn request(&self, method: &str, path: &str) -> Request {
        let request = Request::new(method, format!("{BASE}{path}")).limited(limit(method, path));
        match self.team {
            Some(team) if team.starts_with("team_") => request.query("teamId", team),
            Some(team) => request.query("slug", team),
            None => request,
        }
    }

    /// The project as a segment of a path. A name that is none was refused by [`Scope::check`].
    fn project(&self) -> String {
        path_segment(self.project).unwrap_or_default()
    }

    fn check(&self) -> Result<(), ActionError> {
        match path_segment(self.project) {
            Some(_) => Ok(()),
            None => Err(ActionError::invalid_params(format!("`{}` is no project's name or id", self.project))),
        }
    }
}

/// Vercel limits each endpoint for itself and says how much only with a 429: that one holds back its endpoint, and a
/// deployment too many leaves the way to the variables open.
fn limit(method: &str, path: &str) -> Limit {
    let path = path.split_once('?').map_or(path, |(path, _)| path);
    let endpoint: Vec<_> = path.split('/').take(3).collect();
    Limit::unstated(format!("vercel {method} {}", endpoint.join("/")))
}

/// Questions that only read: is the token good, and does it see what a step will change?
impl Scope<'_> {
    /// The token is one of Vercel's, and has not expired.
    fn token_is_taken(&self, secret: &str) -> Need {
        Need {
            what: "Vercel takes the token".to_owned(),
            secret: secret.to_owned(),
            // Without the team: a token is good or not, whatever it may see.
            question: Request::get(format!("{BASE}/v2/user")),
            told: |answer| {
                let user = answer.get("user").unwrap_or(answer);
                user.get("username").and_then(Value::as_str).map(|name| format!("it is one of {name}"))
            },
            help: |error| {
                token_is_refused(error)
                    .then_some("it has expired, or is no token: make a new one in Vercel's account settings")
            },
        }
    }

    /// The token sees the project.
    fn project_is_seen(&self, secret: &str) -> Need {
        Need {
            what: format!("the token sees {}", self.words()),
            secret: secret.to_owned(),
            question: self.request("GET", &format!("/v9/projects/{}", self.project())),
            told: |answer| answer.get("id").and_then(Value::as_str).map(str::to_owned),
            help: scope_help,
        }
    }

    /// The token may list the project's variables.
    fn env_is_seen(&self, secret: &str) -> Need {
        Need {
            what: format!("the token reads the environment variables of {}", self.words()),
            secret: secret.to_owned(),
            question: self.env_list(),
            told: |_| None,
            help: scope_help,
        }
    }

    fn words(&self) -> String {
        match self.team {
            Some(team) => format!("project `{}` of team `{team}`", self.project),
            None => format!("project `{}`", self.project),
        }
    }
}

fn token_is_refused(error: &ActionError) -> bool {
    matches!(error.status, Some(401 | 403))
}

fn scope_help(error: &ActionError) -> Option<&'static str> {
    match error.status {
        Some(401) => Some("it has expired, or is no token: make a new one in Vercel's account settings"),
        Some(403) => Some("make a token whose scope is the team that owns the project, or correct `team`"),
        Some(404) => Some(
            "there is no such project for this token: look at `project` and at `team`, which a team's project needs",
        ),
        _ => None,
    }
}

/// The client: a scope, a key, and the door.
struct Vercel<'c> {
    cx: &'c ActionContext,
    scope: Scope<'c>,
    key: String,
}

impl<'c> Vercel<'c> {
    fn new(cx: &'c ActionContext, scope: Scope<'c>, secret: &str) -> Result<Self, ActionError> {
        scope.check()?;
        Self::of_team(cx, scope, secret)
    }

    /// For what is not asked about by its project.
    fn of_team(cx: &'c ActionContext, scope: Scope<'c>, secret: &str) -> Result<Self, ActionError> {
        Ok(Self { cx, scope, key: cx.secret(secret)? })
    }

    /// Sends a request made by the scope; the answer must be 2xx and JSON.
    async fn call(&self, request: Request) -> Result<Value, ActionError> {
        self.cx.call(request.bearer(&self.key)).await.map_err(explained)
    }

    /// Like [`Vercel::call`], and reads the answer as a `T`.
    async fn read<T: DeserializeOwned>(&self, request: Request) -> Result<T, ActionError> {
        let url = request.url.clone();
        typed(self.call(request).await?, &url)
    }
}

/// Reads an answer as a `T`. Unknown fields are no fault; missing ones are.
fn typed<T: DeserializeOwned>(answer: Value, url: &str) -> Result<T, ActionError> {
    serde_json::from_value(answer)
        .map_err(|error| ActionError::invalid_response(format!("{url} answered something unexpected: {error}")))
}

/// An id out of an answer, as a segment of a path.
fn id_segment(id: &str) -> Result<String, ActionError> {
    path_segment(id).ok_or_else(|| ActionError::invalid_response(format!("Vercel answered with the id `{id}`")))
}

/// Corrects the class of answers whose status misleads, and says what to do about those a token cannot get past.
fn explained(mut error: ActionError) -> ActionError {
    if error.status == Some(400) && error.message.contains("ongoing update") {
        // Another change to the same variables is being written; a moment later this one goes through.
        error.kind = ErrorKind::Server;
    }
    if error.code.as_deref().is_some_and(|code| STEP_UP.contains(&code)) {
        error.kind = ErrorKind::Unauthorized;
        error.message.push_str("; Vercel wants a person to confirm this in a browser, which a token cannot do");
    }
    error
}

/// Has this failure a chance to pass by itself?
fn is_passing(error: &ActionError) -> bool {
    matches!(
        error.kind,
        ErrorKind::RateLimited
            | ErrorKind::Server
            | ErrorKind::Timeout
            | ErrorKind::Network
            | ErrorKind::InvalidResponse
    )
}

/// A time as Vercel writes it, in milliseconds, as text (RFC 3339, UTC).
fn moment(millis: i64) -> Option<String> {
    Timestamp::from_millisecond(millis).ok().map(|at| at.to_string())
}

fn default_secret() -> String {
    "vercel".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_team_goes_by_id_or_by_slug() {
        let request = |team| Scope { project: "my app", team }.request("GET", "/x").address();
        assert_eq!(request(Some("team_1")), "https://api.vercel.com/x?teamId=team_1");
        assert_eq!(request(Some("acme")), "https://api.vercel.com/x?slug=acme");
        assert_eq!(request(None), "https://api.vercel.com/x");
        assert_eq!(Scope { project: "my app", team: None }.project(), "my%20app");
        assert!(Scope { project: "..", team: None }.check().is_err());
    }

    #[test]
    fn each_endpoint_is_held_back_for_itself() {
        let key = |method, path| Scope { project: "p", team: None }.request(method, path).limit.unwrap().key;
        assert_eq!(key("POST", "/v13/deployments?forceNew=1"), "vercel POST /v13/deployments");
        assert_eq!(key("GET", "/v13/deployments/dpl_1"), "vercel GET /v13/deployments");
        assert_eq!(limit("GET", "/v9/projects/p"), Limit::unstated("vercel GET /v9/projects"));
    }

    #[test]
    fn misleading_answers_are_explained() {
        let mut busy = ActionError::new(ErrorKind::Rejected, "an ongoing update env update is already happening");
        busy.status = Some(400);
        assert_eq!(explained(busy).kind, ErrorKind::Server);
        let mut step_up = ActionError::new(ErrorKind::Rejected, "no");
        step_up.code = Some("challenge_required".into());
        assert!(explained(step_up).message.contains("confirm this in a browser"));
    }
}
