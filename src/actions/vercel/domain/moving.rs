//! Pointing the production domain at another deployment, and waiting until it is done.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::watch::Watch;
use super::super::{Scope, Vercel, id_segment};
use super::Project;
use crate::action::{ActionContext, ActionError, ErrorKind, Undone};
use crate::base::HumanDuration;
use crate::http::Request;

/// How often to try again when something else moves the domain at the same time.
const MOST_CONFLICTS: u32 = 5;

/// The two ways to point the domain at a deployment that is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Way {
    /// New deployments get the domain again.
    Promote,
    /// The project is pinned to it until one is promoted.
    Rollback,
}

impl Way {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Promote => "promote",
            Self::Rollback => "rollback",
        }
    }
}

/// What a later try, a probe and the undo must know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Remembered {
    /// What served before the first try.
    pub(super) from: Option<String>,
    /// What is to serve.
    pub(super) to: String,
    /// Was the project rolled back before?
    pub(super) pinned: bool,
}

impl Remembered {
    /// What an earlier try saved.
    pub(super) fn known(cx: &ActionContext) -> Result<Option<Self>, ActionError> {
        cx.checkpoint().map(Self::read).transpose()
    }

    fn read(checkpoint: &serde_json::Value) -> Result<Self, ActionError> {
        Self::deserialize(checkpoint).map_err(|error| {
            let reason = format!("what an earlier try recorded cannot be read: {error}");
            ActionError::new(ErrorKind::Internal, reason)
        })
    }

    /// Saves how things stand, before anything is moved.
    pub(super) async fn save(cx: &ActionContext, project: &Project, to: String) -> Result<Self, ActionError> {
        let from = project.in_production().map(str::to_owned);
        let remembered = Self { from, to, pinned: project.is_rolled_back() };
        cx.save_checkpoint(json!(remembered)).await?;
        Ok(remembered)
    }
}

impl Scope<'_> {
    /// Without a body Vercel refuses either, whatever its contract says.
    pub(in super::super) fn move_domain(&self, project: &str, id: &str, way: Way) -> Request {
        let path = match way {
            Way::Promote => format!("/v10/projects/{project}/promote/{id}"),
            Way::Rollback => format!("/v1/projects/{project}/rollback/{id}"),
        };
        self.request("POST", &path).json(json!({}))
    }
}

impl Vercel<'_> {
    /// Points the domain at a deployment, and returns once that is so. Where it is so already, nothing is sent.
    pub(in super::super) async fn point_domain(
        &self,
        watch: &Watch,
        id: &str,
        way: Way,
        description: Option<&str>,
    ) -> Result<(), ActionError> {
        let mut project = self.project(watch).await?;
        // An earlier move to the same deployment says nothing about ours.
        let earlier = project.alias_request().filter(|request| request.is(id, way) && request.is_over());
        let earlier = earlier.and_then(|request| request.requested_at());
        let mut request = self.scope.move_domain(&id_segment(&project.id)?, &id_segment(id)?, way);
        if let Some(description) = description {
            request = request.query("description", description);
        }
        for _ in 0..MOST_CONFLICTS {
            if project.stands_at(id, way) {
                return Ok(());
            }
            match project.moving() {
                Some(moving) if moving.is(id, way) => return self.domain_moved(watch, id, way, earlier).await,
                Some(moving) => {
                    let told = format!("the domain is on its way to {}", moving.to().unwrap_or("another deployment"));
                    watch.pause(self.cx, &told).await?;
                    project = self.project(watch).await?;
                    continue;
                }
                None => {}
            }
            match watch.insist(self.cx, || self.call(request.clone())).await {
                Ok(_) => return self.domain_moved(watch, id, way, earlier).await,
                // Something else moved it in between, or our own request was taken and its answer lost.
                Err(error) if error.status == Some(409) => {
                    self.cx.progress(format!("waits: {}", error.message));
                    watch.pause(self.cx, &error.message).await?;
                    project = self.project(watch).await?;
                    if project.moving().is_none() && !project.stands_at(id, way) {
                        return Err(explained_move(error, id, way));
                    }
                }
                Err(error) => return Err(explained_move(error, id, way)),
            }
        }
        let reason = format!("something else keeps moving the domain; the {} to {id} was given up", way.as_str());
        Err(ActionError::new(ErrorKind::Failed, reason))
    }

    /// Waits until the domain has moved: promoting and rolling back answer before the work is done.
    async fn domain_moved(&self, watch: &Watch, id: &str, way: Way, earlier: Option<i64>) -> Result<(), ActionError> {
        let kind = way.as_str();
        loop {
            let project = self.project(watch).await?;
            let ours = project
                .alias_request()
                .filter(|request| request.is(id, way))
                .filter(|request| earlier.is_none() || request.requested_at() != earlier);
            match ours.and_then(|request| request.status()) {
                Some("succeeded") => return Ok(()),
                // Skipped, because it serves already: fine. For any other reason: not.
                Some("skipped") if project.in_production() == Some(id) => return Ok(()),
                Some(status @ ("failed" | "skipped")) => {
                    let reason = format!("Vercel {status} the {kind} to {id}; the domains stay where they were");
                    return Err(ActionError::new(ErrorKind::Failed, reason));
                }
                Some("pending") if !project.rolling_release.is_null() => {
                    watch
                        .pause(self.cx, &format!("the {kind} to {id} waits for a rolling release to be completed"))
                        .await?;
                }
                _ => watch.pause(self.cx, &format!("the {kind} to {id} is not done")).await?,
            }
        }
    }

    /// How a move in doubt ended, as far as the project tells.
    async fn has_moved(&self, watch: &Watch, remembered: &Remembered, way: Way) -> Result<bool, ActionError> {
        let to = &remembered.to;
        let project = self.project(watch).await?;
        if project.moving().is_some_and(|moving| moving.is(to, way)) {
            return match self.domain_moved(watch, to, way, None).await {
                Ok(()) => Ok(true),
                Err(error) if error.kind == ErrorKind::Failed => Ok(false),
                Err(error) => Err(error),
            };
        }
        Ok(project.stands_at(to, way))
    }

    /// Points the domain back at what served before.
    async fn move_back(&self, watch: &Watch, remembered: &Remembered) -> Result<Undone, ActionError> {
        let project = self.project(watch).await?;
        let unchanged = |summary: String, left: Option<String>| Undone { summary, left: left.into_iter().collect() };
        let Some(from) = &remembered.from else {
            let left = format!("{} keeps the domain: nothing served before it", remembered.to);
            return Ok(unchanged("nothing to go back to".to_owned(), Some(left)));
        };
        let way = if remembered.pinned { Way::Rollback } else { Way::Promote };
        if project.stands_at(from, way) {
            return Ok(unchanged(format!("{from} serves already"), None));
        }
        let serving = project.in_production().unwrap_or("nothing");
        if serving != remembered.to && serving != from && project.moving().is_none() {
            let left = format!("{serving} serves now, which this step did not put there");
            return Ok(unchanged("the domain was moved by somebody else since".to_owned(), Some(left)));
        }
        self.point_domain(watch, from, way, None).await?;
        let left = remembered.pinned.then(|| {
            format!("project `{}` is pinned to {from}, as it was: new deployments wait for a promote", project.name)
        });
        Ok(unchanged(format!("{from} serves again"), left))
    }
}

/// What a try in doubt was to do, when it has happened.
pub(super) async fn moved(
    cx: &ActionContext,
    scope: Scope<'_>,
    secret: &str,
    deadline: HumanDuration,
    way: Way,
) -> Result<Option<Remembered>, ActionError> {
    // What is to happen is recorded before it is asked for.
    let Some(remembered) = Remembered::known(cx)? else { return Ok(None) };
    let vercel = Vercel::new(cx, scope, secret)?;
    let moved = vercel.has_moved(&Watch::new(cx, deadline.0), &remembered, way).await?;
    Ok(moved.then_some(remembered))
}

/// Undoes a move of the domain, by what its step recorded.
pub(super) async fn moved_back(
    cx: &ActionContext,
    scope: Scope<'_>,
    secret: &str,
    deadline: HumanDuration,
    checkpoint: Option<&serde_json::Value>,
) -> Result<Undone, ActionError> {
    let Some(checkpoint) = checkpoint else {
        return Ok(Undone { summary: "nothing had been moved".to_owned(), left: Vec::new() });
    };
    let remembered = Remembered::read(checkpoint)?;
    let vercel = Vercel::new(cx, scope, secret)?;
    vercel.move_back(&Watch::new(cx, deadline.0), &remembered).await
}

/// Says what a refusal means for a move of the domain, and what can be done instead.
fn explained_move(mut error: ActionError, id: &str, way: Way) -> ActionError {
    let advice = match (error.status, way) {
        (Some(402), Way::Rollback) => {
            "the plan goes back to the deployment just before only: use `to: previous`, or promote it instead"
        }
        (Some(409), _) => "it serves already, or another promote or rollback stands in the way",
        (Some(422), Way::Rollback) => {
            "only a production deployment that is READY and served before can be rolled back to: `vercel.deployments` \
             with `rollback_candidate: true` lists them"
        }
        (Some(422), Way::Promote) => "only a production deployment that is READY can be promoted",
        (Some(404), _) => "there is no such deployment in this project",
        _ => return error,
    };
    error.message.push_str(&format!("; the {} to {id} was refused: {advice}", way.as_str()));
    error
}
