//! What a project says about where requests go.

use serde::Deserialize;
use serde_json::Value;

use super::super::deployments::RedeployTarget;
use super::super::watch::Watch;
use super::super::{Scope, Vercel};
use super::Way;
use crate::action::{ActionError, ErrorKind};
use crate::http::Request;

/// The parts of a project that say where requests go.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in super::super) struct Project {
    pub(in super::super) id: String,
    pub(in super::super) name: String,
    #[serde(default)]
    pub(super) targets: Value,
    #[serde(default)]
    pub(super) auto_assign_custom_domains: Option<bool>,
    #[serde(default)]
    pub(super) last_rollback_target: Value,
    #[serde(default)]
    pub(super) last_alias_request: Value,
    #[serde(default)]
    pub(in super::super) rolling_release: Value,
    #[serde(default)]
    pub(super) live: Option<bool>,
    #[serde(default)]
    pub(super) paused: Option<bool>,
    #[serde(default)]
    pub(super) sso_protection: Value,
}

/// The last promote or rollback of a project.
#[derive(Debug, Clone, Copy)]
pub(super) struct AliasRequest<'p>(&'p Value);

impl<'p> AliasRequest<'p> {
    fn field(self, name: &str) -> Option<&'p str> {
        self.0.get(name).and_then(Value::as_str)
    }

    pub(super) fn to(self) -> Option<&'p str> {
        self.field("toDeploymentId")
    }

    pub(super) fn from(self) -> Option<&'p str> {
        self.field("fromDeploymentId")
    }

    pub(super) fn way(self) -> Option<&'p str> {
        self.field("type")
    }

    pub(super) fn status(self) -> Option<&'p str> {
        self.field("jobStatus")
    }

    /// When it was asked for, in milliseconds.
    pub(super) fn requested_at(self) -> Option<i64> {
        self.0.get("requestedAt")?.as_f64().map(|at| at as i64)
    }

    pub(super) fn is_over(self) -> bool {
        matches!(self.status(), Some("succeeded" | "failed" | "skipped"))
    }

    pub(super) fn is(self, id: &str, way: Way) -> bool {
        self.to() == Some(id) && self.way() == Some(way.as_str())
    }
}

impl Project {
    pub(in super::super) fn serving(&self, target: RedeployTarget) -> Option<&str> {
        self.targets.get(target.as_str())?.get("id")?.as_str()
    }

    pub(super) fn in_production(&self) -> Option<&str> {
        self.serving(RedeployTarget::Production)
    }

    /// Do the domains stay where they are when something new is ready?
    pub(in super::super) fn is_pinned(&self) -> bool {
        self.auto_assign_custom_domains == Some(false) || self.is_rolled_back()
    }

    /// Was it rolled back, with no promote since?
    pub(super) fn is_rolled_back(&self) -> bool {
        !self.last_rollback_target.is_null()
    }

    pub(super) fn alias_request(&self) -> Option<AliasRequest<'_>> {
        (!self.last_alias_request.is_null()).then_some(AliasRequest(&self.last_alias_request))
    }

    /// A promote or rollback that is not over.
    pub(super) fn moving(&self) -> Option<AliasRequest<'_>> {
        self.alias_request().filter(|request| request.status().is_some() && !request.is_over())
    }

    /// Is everything as a move this way would leave it?
    pub(super) fn stands_at(&self, id: &str, way: Way) -> bool {
        let serves = self.in_production() == Some(id) && self.moving().is_none();
        match way {
            // Promoting what serves is how a project leaves the rolled-back state.
            Way::Promote => serves && !self.is_rolled_back(),
            Way::Rollback => serves,
        }
    }
}

impl Scope<'_> {
    pub(in super::super) fn get_project(&self) -> Request {
        self.request("GET", &format!("/v9/projects/{}", self.project()))
    }
}

impl Vercel<'_> {
    pub(in super::super) async fn project(&self, watch: &Watch) -> Result<Project, ActionError> {
        let request = self.scope.get_project();
        watch.insist(self.cx, || self.read(request.clone())).await
    }
}

pub(in super::super) fn rolling(project: &str) -> ActionError {
    let reason = format!(
        "project `{project}` has a rolling release, which would give the change to a share of the customers only; \
         set `rolling: complete`, or turn rolling releases off in the project's settings, then run this step again"
    );
    ActionError::new(ErrorKind::Rejected, reason)
}
