//! The production domain: which deployment it points at, and moving it.

use serde::Deserialize;
use serde_json::{Value, json};

use super::deployments::RedeployTarget;
use super::watch::Watch;
use super::{Scope, Vercel, id_segment};
use crate::action::{ActionError, ErrorKind};
use crate::http::Request;

/// The parts of a project that say where requests go.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Project {
    pub(super) id: String,
    pub(super) name: String,
    #[serde(default)]
    pub(super) targets: Value,
    #[serde(default)]
    pub(super) auto_assign_custom_domains: Option<bool>,
    #[serde(default)]
    pub(super) last_rollback_target: Value,
    #[serde(default)]
    pub(super) last_alias_request: Value,
    #[serde(default)]
    pub(super) rolling_release: Value,
}

impl Project {
    pub(super) fn serving(&self, target: RedeployTarget) -> Option<&str> {
        self.targets.get(target.as_str())?.get("id")?.as_str()
    }

    /// Do the domains stay where they are when something new is ready?
    pub(super) fn is_pinned(&self) -> bool {
        self.auto_assign_custom_domains == Some(false) || !self.last_rollback_target.is_null()
    }
}

/// The requests. Plans show them and runs send them.
impl Scope<'_> {
    pub(super) fn get_project(&self) -> Request {
        self.request("GET", &format!("/v9/projects/{}", self.project()))
    }

    /// Without a body Vercel refuses this, whatever its contract says.
    pub(super) fn promote(&self, project: &str, id: &str) -> Request {
        self.request("POST", &format!("/v10/projects/{project}/promote/{id}")).json(json!({}))
    }

    pub(super) fn roll_back(&self, project: &str, id: &str) -> Request {
        self.request("POST", &format!("/v1/projects/{project}/rollback/{id}")).json(json!({}))
    }
}

pub(super) fn rolling(project: &str) -> ActionError {
    let reason = format!(
        "project `{project}` has a rolling release, which would give the change to a share of the customers only; \
         complete it and turn rolling releases off in the project's settings, then run this step again"
    );
    ActionError::new(ErrorKind::Rejected, reason)
}

impl Vercel<'_> {
    pub(super) async fn project(&self, watch: &Watch) -> Result<Project, ActionError> {
        let request = self.scope.get_project();
        watch.insist(self.cx, || self.read(request.clone())).await
    }

    pub(super) async fn promote(&self, watch: &Watch, id: &str) -> Result<(), ActionError> {
        let project = self.project(watch).await?;
        if !project.rolling_release.is_null() {
            return Err(rolling(&project.name));
        }
        self.cx.progress(format!("promotes {id}: the project does not assign its domains by itself"));
        let request = self.scope.promote(&id_segment(&project.id)?, id);
        watch.insist(self.cx, || self.call(request.clone())).await?;
        self.alias_moved(watch, id, "promote").await
    }

    /// Waits until the domains have moved: promoting and rolling back answer before the work is done.
    pub(super) async fn alias_moved(&self, watch: &Watch, id: &str, kind: &str) -> Result<(), ActionError> {
        loop {
            let project = self.project(watch).await?;
            let request = &project.last_alias_request;
            let field = |name: &str| request.get(name).and_then(Value::as_str);
            let ours = field("toDeploymentId") == Some(id) && field("type") == Some(kind);
            match field("jobStatus").filter(|_| ours) {
                Some("succeeded") => return Ok(()),
                // Skipped, because it serves already: fine. For any other reason: not.
                Some("skipped") if project.serving(RedeployTarget::Production) == Some(id) => return Ok(()),
                Some(status @ ("failed" | "skipped")) => {
                    let reason = format!("Vercel {status} the {kind} to {id}; the domains stay where they were");
                    return Err(ActionError::new(ErrorKind::Failed, reason));
                }
                _ => watch.pause(self.cx, &format!("the {kind} to {id} is not done")).await?,
            }
        }
    }
}
