//! Vercel's REST API, as far as a runbook needs it: one project, its environment, its deployments and its domain.

mod around;
mod deployments;
mod domain;
mod edge_config;
mod env;
mod setting;
mod shape;
mod state;

pub use setting::{EdgeConfig, EndpointLimit, ListShape, Past, Plan, Serves, Variable, VercelSetting};
pub(super) use state::{Change, Due, State};

use self::state::{Deployment, EnvRow};
use serde_json::{Map, Value, json};

use super::ask::{Answer, Ask, Carried, refusal};
use super::scenario::{Mode, StandIn};
use super::state::WorldState;
use crate::base::Timestamp;

/// Either an answer or a refusal; both go out the same way.
type Outcome = Result<Answer, Answer>;

/// Answers a request.
pub(super) fn answer(ask: &Ask, world: &WorldState) -> Answer {
    route(ask, world).unwrap_or_else(|refused| refused)
}

fn no(status: u16, code: &str, message: impl AsRef<str>) -> Answer {
    refusal(StandIn::Vercel, status, code, message.as_ref())
}

fn bad(message: impl AsRef<str>) -> Answer {
    no(400, "bad_request", message)
}

fn not_found(what: &str) -> Answer {
    no(404, "not_found", format!("{what} not found."))
}

/// One endpoint was asked too often; the others are as before.
fn too_many(total: u32, reset: Timestamp, now: Timestamp) -> Answer {
    let wait = crate::base::clock::until(now, reset).as_secs_f64().ceil();
    let limit = json!({ "remaining": 0, "reset": reset.as_second(), "resetMs": millis(reset), "total": total });
    let body = json!({ "error": { "code": "rate_limited", "message": "Rate limit exceeded", "limit": limit } });
    Answer::json(429, &body).header("retry-after", format!("{wait:.0}"))
}

fn route(ask: &Ask, world: &WorldState) -> Outcome {
    let refused_key = world.mode(StandIn::Vercel) == Mode::KeyRefused;
    if refused_key || ask.bearer.is_none() || ask.bearer.as_ref() != world.scenario.secrets.get("vercel") {
        return Err(no(403, "forbidden", "Not authorized."));
    }
    if let Some((total, reset)) = world.vercel.limited(&ask.method, &ask.path, world.now) {
        return Err(too_many(total, reset, world.now));
    }
    let segments = ask.segments();
    if let ("GET", ["v2", "user"]) = (ask.method.as_str(), segments.as_slice()) {
        return Ok(Answer::json(200, &json!({ "user": shape::user() })));
    }
    let Some(setting) = &world.scenario.world.vercel else { return Err(not_found("Project")) };
    let api = Api { ask, world, setting };
    match (ask.method.as_str(), segments.as_slice()) {
        ("GET", ["v9", "projects", project]) => api.project(project),
        ("GET", ["v8" | "v9" | "v10", "projects", project, "env"]) => api.env_list(project),
        ("POST", ["v10", "projects", project, "env"]) => api.env_set(project),
        ("GET", ["v1", "projects", project, "env", id]) => api.env_get(project, id),
        ("PATCH", ["v9", "projects", project, "env", id]) => api.env_edit(project, id),
        ("DELETE", ["v9" | "v10", "projects", project, "env", id]) => api.env_remove(project, id),
        ("DELETE", ["v1", "projects", project, "env"]) => api.env_remove_many(project),
        ("GET", ["v6" | "v7", "deployments"]) => api.deployments(),
        ("POST", ["v13", "deployments"]) => api.deploy(),
        ("GET", ["v13", "deployments", id]) => api.deployment(id),
        ("GET", ["v2", "deployments", id, "aliases"]) => api.aliases(id),
        ("GET", ["v3", "deployments", id, "events"]) => api.events(id),
        ("PATCH", ["v12", "deployments", id, "cancel"]) => api.cancel(id),
        ("POST", ["v10", "projects", project, "promote", id]) => api.promote(project, id),
        ("GET", ["v1", "projects", project, "promote", "aliases"]) => api.move_aliases(project),
        ("POST", ["v1" | "v9", "projects", project, "rollback", id]) => api.rollback(project, id),
        ("POST", ["v1", "projects", project, "rolling-release", "complete"]) => api.complete(project),
        ("GET", ["v1", "edge-config", id, "items"]) => api.edge_items(id),
        ("GET", ["v1", "edge-config", id, "item", key]) => api.edge_item(id, key),
        ("PATCH", ["v1", "edge-config", id, "items"]) => api.edge_set(id),
        _ => api.around().unwrap_or_else(|| Err(not_found("The requested API endpoint was"))),
    }
}

struct Api<'a> {
    ask: &'a Ask,
    world: &'a WorldState,
    setting: &'a VercelSetting,
}

impl Api<'_> {
    fn project_id(&self) -> String {
        format!("prj_drill_{}", self.setting.project)
    }

    /// A team's project is out of sight for whoever does not name the team.
    fn team(&self) -> Result<(), Answer> {
        let named = self.ask.query("teamId").or_else(|| self.ask.query("slug"));
        match (&self.setting.team, named) {
            (None, None) => Ok(()),
            (Some(team), Some(named)) if team == named => Ok(()),
            (Some(_), None) => Err(not_found("Project")),
            (None | Some(_), Some(_)) => Err(no(403, "forbidden", "Not authorized for this team.")),
        }
    }

    fn in_project(&self, project: &str) -> Result<(), Answer> {
        self.team()?;
        if project == self.setting.project || project == self.project_id() { Ok(()) } else { Err(not_found("Project")) }
    }

    fn body(&self) -> Result<&Value, Answer> {
        match &self.ask.body {
            Carried::Json(value) => Ok(value),
            Carried::Nothing => Err(bad("A body is needed.")),
            Carried::Unreadable => Err(bad("The body is not JSON.")),
        }
    }

    fn no_fields(&self) -> Result<(), Answer> {
        match &self.ask.body {
            Carried::Nothing => Ok(()),
            Carried::Json(Value::Object(fields)) if fields.is_empty() => Ok(()),
            Carried::Json(_) | Carried::Unreadable => Err(bad("The body should be empty.")),
        }
    }

    fn known(&self, id: &str) -> Result<&Deployment, Answer> {
        self.team()?;
        let found =
            self.world.vercel.deployments.iter().find(|deployment| deployment.id == id || self.url(deployment) == id);
        found.ok_or_else(|| not_found("Deployment"))
    }

    fn row(&self, project: &str, id: &str) -> Result<&EnvRow, Answer> {
        self.in_project(project)?;
        self.world.vercel.rows.get(id).ok_or_else(|| not_found("Environment variable"))
    }

    // --- the project

    fn project(&self, project: &str) -> Outcome {
        self.in_project(project)?;
        let targets = self.world.vercel.serving().map_or_else(
            || json!({}),
            |serving| json!({ "production": shape::target(self.shown(serving), self.owner()) }),
        );
        let body = json!({
            "id": self.project_id(),
            "name": self.setting.project,
            "accountId": self.owner(),
            "targets": targets,
            "autoAssignCustomDomains": self.setting.auto_alias,
            "lastRollbackTarget": self.world.vercel.pinned.as_ref().map(|id| json!({ "id": id })),
            "lastAliasRequest": self.world.vercel.last_move.as_ref().map(|moved| json!({
                "fromDeploymentId": moved.from,
                "toDeploymentId": moved.to,
                "jobStatus": moved.stage.word(),
                "requestedAt": millis(moved.requested),
                "type": moved.kind,
            })),
            "rollingRelease": self.setting.rolling_release.then(|| json!({
                "target": "production",
                "stages": [{ "targetPercentage": 10, "requireApproval": true }, { "targetPercentage": 100 }],
            })),
            "live": true,
            "paused": false,
            "ssoProtection": null,
        });
        Ok(Answer::json(200, &shape::project(body)))
    }

    /// Whose the project is.
    fn owner(&self) -> &str {
        self.setting.team.as_deref().unwrap_or("user_drill")
    }
}

fn object(value: &Value) -> Result<&Map<String, Value>, Answer> {
    value.as_object().ok_or_else(|| bad("An object is needed."))
}

fn fields<'v>(value: &'v Value, known: &[&str]) -> Result<&'v Map<String, Value>, Answer> {
    let fields = object(value)?;
    match fields.keys().find(|key| !known.contains(&key.as_str())) {
        Some(unknown) => Err(bad(format!("Should not have additional property `{unknown}`."))),
        None => Ok(fields),
    }
}

fn text(value: &Value, name: &str) -> Result<String, Answer> {
    value.as_str().map(str::to_owned).ok_or_else(|| bad(format!("`{name}` should be a string.")))
}

fn millis(at: Timestamp) -> i64 {
    at.as_millisecond()
}

#[cfg(test)]
mod tests;
