//! Vercel's REST API, as far as a runbook needs it: one project, its environment, its deployments and its domain.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::ask::{Answer, Ask, Carried, refusal};
use super::scenario::{Mode, StandIn, VercelSetting};
use super::state::{Change, Deployment, EnvKind, EnvRow, MoveKind, Stage, Target, WorldState};
use crate::base::Timestamp;

/// Either an answer or a refusal; both go out the same way.
type Outcome = Result<Answer, Answer>;

/// The longest comment on a variable.
const LONGEST_COMMENT: usize = 500;
/// The keys of a variable in a request.
const ENV_KEYS: [&str; 7] = ["key", "value", "type", "target", "gitBranch", "comment", "customEnvironmentIds"];
/// The keys of a request for a deployment.
const DEPLOYMENT_KEYS: [&str; 12] = [
    "customEnvironmentSlugOrId",
    "deploymentId",
    "files",
    "gitMetadata",
    "gitSource",
    "meta",
    "monorepoManager",
    "name",
    "project",
    "projectSettings",
    "target",
    "withLatestCommit",
];

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

fn route(ask: &Ask, world: &WorldState) -> Outcome {
    let refused_key = world.mode(StandIn::Vercel) == Mode::KeyRefused;
    if refused_key || ask.bearer.is_none() || ask.bearer.as_ref() != world.scenario.secrets.get("vercel") {
        return Err(no(403, "forbidden", "Not authorized."));
    }
    let segments = ask.segments();
    if let ("GET", ["v2", "user"]) = (ask.method.as_str(), segments.as_slice()) {
        let user = json!({ "id": "user_drill", "email": "drill@example.com", "username": "drill", "name": "Drill" });
        return Ok(Answer::json(200, &json!({ "user": user })));
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
        _ => Err(not_found("The requested API endpoint was")),
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
        let found = self.world.deployments.iter().find(|deployment| deployment.id == id || self.url(deployment) == id);
        found.ok_or_else(|| not_found("Deployment"))
    }

    fn row(&self, project: &str, id: &str) -> Result<&EnvRow, Answer> {
        self.in_project(project)?;
        self.world.rows.get(id).ok_or_else(|| not_found("Environment variable"))
    }

    // --- the project

    fn project(&self, project: &str) -> Outcome {
        self.in_project(project)?;
        let targets =
            self.world.serving().map_or_else(|| json!({}), |serving| json!({ "production": self.shown(serving) }));
        let body = json!({
            "id": self.project_id(),
            "name": self.setting.project,
            "accountId": self.setting.team.as_deref().unwrap_or("user_drill"),
            "targets": targets,
            "autoAssignCustomDomains": self.setting.auto_alias,
            "lastRollbackTarget": self.world.pinned.as_ref().map(|id| json!({ "id": id })),
            "lastAliasRequest": self.world.last_move.as_ref().map(|moved| json!({
                "fromDeploymentId": moved.from,
                "toDeploymentId": moved.to,
                "jobStatus": if moved.done { "succeeded" } else { "in-progress" },
                "requestedAt": millis(moved.requested),
                "type": moved.kind,
            })),
            "rollingRelease": null,
            "live": true,
            "paused": false,
            "ssoProtection": null,
        });
        Ok(Answer::json(200, &body))
    }

    // --- the environment

    fn env_list(&self, project: &str) -> Outcome {
        self.in_project(project)?;
        let rows: Vec<Value> = self.world.rows.values().map(sealed).collect();
        let count = rows.len();
        Ok(Answer::json(200, &json!({ "envs": rows, "pagination": { "count": count, "next": null, "prev": null } })))
    }

    fn env_get(&self, project: &str, id: &str) -> Outcome {
        Ok(Answer::json(200, &opened(self.row(project, id)?)))
    }

    fn env_set(&self, project: &str) -> Outcome {
        self.in_project(project)?;
        let upsert = match self.ask.query("upsert") {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(bad("`upsert` should be `true` or `false`.")),
        };
        let body = self.body()?;
        let (wanted, single) = match body {
            Value::Array(many) if many.is_empty() => return Err(bad("At least one variable is needed.")),
            Value::Array(many) => (many.iter().map(wanted_row).collect::<Result<Vec<_>, _>>()?, false),
            one => (vec![wanted_row(one)?], true),
        };
        let (mut set, mut failed): (Vec<EnvRow>, Vec<Value>) = (Vec::new(), Vec::new());
        let mut ahead = 0;
        for wanted in wanted {
            let overlapping =
                self.world.rows.values().chain(&set).find(|row| overlap(row, &wanted.key, &wanted.target));
            let (id, created) = match overlapping {
                None => {
                    ahead += 1;
                    (self.world.next_row_id(ahead - 1), self.world.now)
                }
                Some(row) if upsert && same_targets(&row.target, &wanted.target) => (row.id.clone(), row.created),
                Some(row) => {
                    let code = if upsert { "ENV_CONFLICT" } else { "ENV_ALREADY_EXISTS" };
                    if single && !upsert {
                        return Err(no(403, code, format!("A variable `{}` exists already.", wanted.key)));
                    }
                    failed.push(failure(code, row, &wanted));
                    continue;
                }
            };
            set.retain(|row| row.id != id);
            set.push(EnvRow {
                id,
                key: wanted.key,
                value: wanted.value,
                kind: wanted.kind,
                target: wanted.target,
                comment: wanted.comment,
                created,
                updated: self.world.now,
            });
        }
        let created = match set.as_slice() {
            [row] if single => sealed(row),
            rows => rows.iter().map(sealed).collect::<Vec<_>>().into(),
        };
        let answer = Answer::json(201, &json!({ "created": created, "failed": failed }));
        Ok(answer.changing(set.into_iter().map(Change::EnvSet)))
    }

    fn env_edit(&self, project: &str, id: &str) -> Outcome {
        let row = self.row(project, id)?;
        let fields = fields(self.body()?, &ENV_KEYS)?;
        let mut edited = EnvRow { updated: self.world.now, ..row.clone() };
        if let Some(key) = fields.get("key") {
            edited.key = key_of(key)?;
        }
        if let Some(value) = fields.get("value") {
            edited.value = text(value, "value")?;
        }
        if let Some(kind) = fields.get("type") {
            edited.kind = kind_of(kind)?;
        }
        if let Some(target) = fields.get("target") {
            edited.target = target_of(target)?;
        }
        if let Some(comment) = fields.get("comment") {
            edited.comment = Some(comment_of(comment)?);
        }
        check_sensitive(edited.kind, &edited.target)?;
        let others = self.world.rows.values().filter(|other| other.id != row.id);
        if others.into_iter().any(|other| overlap(other, &edited.key, &edited.target)) {
            return Err(no(400, "ENV_CONFLICT", format!("Another variable `{}` has that target.", edited.key)));
        }
        Ok(Answer::json(200, &sealed(&edited)).changing([Change::EnvSet(edited)]))
    }

    fn env_remove(&self, project: &str, id: &str) -> Outcome {
        let row = self.row(project, id)?;
        Ok(Answer::json(200, &sealed(row)).changing([Change::EnvRemoved { id: row.id.clone() }]))
    }

    fn env_remove_many(&self, project: &str) -> Outcome {
        self.in_project(project)?;
        let fields = fields(self.body()?, &["ids"])?;
        let ids = fields.get("ids").and_then(Value::as_array).ok_or_else(|| bad("`ids` is needed."))?;
        if ids.is_empty() || ids.len() > 1000 {
            return Err(bad("`ids` holds 1 to 1000 ids."));
        }
        let ids = ids.iter().map(|id| text(id, "ids")).collect::<Result<std::collections::BTreeSet<_>, _>>()?;
        let found: Vec<String> = ids.into_iter().filter(|id| self.world.rows.contains_key(id)).collect();
        let answer = Answer::json(200, &json!({ "deleted": found.len(), "ids": found }));
        Ok(answer.changing(found.into_iter().map(|id| Change::EnvRemoved { id })))
    }

    // --- deployments

    fn url(&self, deployment: &Deployment) -> String {
        format!("{}-{}.vercel.app", self.setting.project, deployment.id.trim_start_matches("dpl_"))
    }

    fn domain(&self) -> &str {
        self.world.scenario.host_of(StandIn::App).unwrap_or("app.example.com")
    }

    /// What every answer about a deployment says.
    fn shown(&self, deployment: &Deployment) -> Value {
        let serves = self.world.serving().is_some_and(|serving| serving.id == deployment.id);
        let substate = match (deployment.stage, deployment.production) {
            (Stage::Ready, true) if deployment.served_from.is_some() => Some("PROMOTED"),
            (Stage::Ready, true) if deployment.alias_at.is_none() => Some("STAGED"),
            _ => None,
        };
        let error = match deployment.stage {
            Stage::Error => Some(("BUILD_FAILED", "The build command exited with 1.")),
            Stage::Blocked => Some(("BLOCKED", "The deployment is held back.")),
            Stage::Queued | Stage::Building | Stage::Ready | Stage::Canceled => None,
        };
        let begun = (deployment.stage != Stage::Queued).then(|| millis(deployment.building_at));
        json!({
            "id": deployment.id,
            "url": self.url(deployment),
            "name": self.setting.project,
            "projectId": self.project_id(),
            "target": deployment.production.then_some("production"),
            "readyState": deployment.stage.word(),
            "status": deployment.stage.word(),
            "readySubstate": substate,
            "createdAt": millis(deployment.created),
            "buildingAt": begun,
            "ready": (deployment.stage == Stage::Ready).then(|| millis(deployment.built_at)),
            "alias": if serves { vec![self.domain()] } else { Vec::new() },
            // Once the domain was pointed at it, this stays true, whatever serves now.
            "aliasAssigned": deployment.served_from.map_or(Value::Bool(false), |at| millis(at).into()),
            "aliasError": null,
            "inspectorUrl": format!("https://vercel.com/drill/{}/{}", self.setting.project, deployment.id),
            "meta": deployment.meta,
            "source": deployment.source.as_ref().map(|_| "redeploy"),
            "errorCode": error.map(|(code, _)| code),
            "errorMessage": error.map(|(_, message)| message),
        })
    }

    fn listed(&self, deployment: &Deployment) -> Value {
        let mut row = self.shown(deployment);
        row["uid"] = deployment.id.clone().into();
        row["created"] = millis(deployment.created).into();
        row["state"] = deployment.stage.word().into();
        row["isRollbackCandidate"] = self.can_be_rolled_back_to(deployment).into();
        if let Some(fields) = row.as_object_mut() {
            fields.shift_remove("id");
        }
        row
    }

    fn can_be_rolled_back_to(&self, deployment: &Deployment) -> bool {
        let serves = self.world.serving().is_some_and(|serving| serving.id == deployment.id);
        deployment.served_from.is_some() && !serves
    }

    fn deployments(&self) -> Outcome {
        self.team()?;
        let number = |name: &str| match self.ask.query(name) {
            None => Ok(None),
            Some(text) => text.parse::<i64>().map(Some).map_err(|_| bad(format!("`{name}` should be a number."))),
        };
        let (since, until, limit) = (number("since")?, number("until")?, number("limit")?.unwrap_or(20));
        if !(1..=100).contains(&limit) {
            return Err(bad("`limit` should be 1 to 100."));
        }
        if let Some(project) = self.ask.query("projectId") {
            self.in_project(project)?;
        }
        let production = match self.ask.query("target") {
            None => None,
            Some("production") => Some(true),
            Some("preview") => Some(false),
            Some(_) => return Err(bad("`target` should be `production` or `preview`.")),
        };
        let states: Option<Vec<&str>> = self.ask.query("state").map(|states| states.split(',').collect());
        let candidates = self.ask.query("rollbackCandidate") == Some("true");
        let mut found = self
            .world
            .deployments
            .iter()
            .rev()
            .filter(|one| production.is_none_or(|production| one.production == production))
            .filter(|one| states.as_ref().is_none_or(|states| states.contains(&one.stage.word())))
            .filter(|one| since.is_none_or(|since| millis(one.created) >= since))
            .filter(|one| until.is_none_or(|until| millis(one.created) < until))
            .filter(|one| !candidates || self.can_be_rolled_back_to(one));
        let page: Vec<&Deployment> = found.by_ref().take(usize::try_from(limit).unwrap_or(usize::MAX)).collect();
        let next = found.next().and(page.last()).map(|last| millis(last.created));
        let prev = page.first().map(|first| millis(first.created));
        let rows: Vec<Value> = page.iter().map(|one| self.listed(one)).collect();
        let pagination = json!({ "count": rows.len(), "next": next, "prev": prev });
        Ok(Answer::json(200, &json!({ "deployments": rows, "pagination": pagination })))
    }

    fn deploy(&self) -> Outcome {
        self.team()?;
        match self.ask.query("forceNew") {
            Some("1") => {}
            Some("0") | None => {
                return Err(bad("Nothing changed since the last deployment; `forceNew=1` builds again."));
            }
            Some(_) => return Err(bad("`forceNew` should be `0` or `1`.")),
        }
        let fields = fields(self.body()?, &DEPLOYMENT_KEYS)?;
        let name = fields.get("name").ok_or_else(|| bad("Missing required property `name`."))?;
        if text(name, "name")? != self.setting.project {
            return Err(not_found("Project"));
        }
        let production = match fields.get("target") {
            None | Some(Value::Null) => false,
            Some(Value::String(target)) if target == "production" => true,
            Some(Value::String(target)) if target == "staging" => false,
            Some(_) => return Err(bad("`target` should be `production` or `staging`.")),
        };
        let mut meta = BTreeMap::new();
        for (name, value) in fields.get("meta").map(object).transpose()?.into_iter().flatten() {
            meta.insert(name.clone(), text(value, "meta")?);
        }
        let source = fields.get("deploymentId").ok_or_else(|| {
            no(400, "missing_files", "There is nothing to build: name a `deploymentId` to build again.")
        })?;
        let source = self.known(&text(source, "deploymentId")?)?.id.clone();
        let change = Change::Deployed { id: self.world.next_deployment_id(), production, source: Some(source), meta };
        // The answer shows the deployment as it will be found, so it is made on a copy of the world first.
        let mut then = self.world.clone();
        then.apply(
            self.world.now,
            &super::state::Asked {
                on: StandIn::Vercel,
                method: self.ask.method.clone(),
                path: self.ask.path.clone(),
                status: Some(200),
                why: None,
                changes: vec![change.clone()],
            },
        );
        let made = then.deployments.last().map(|made| Api { world: &then, ..*self }.shown(made));
        Ok(Answer::json(200, &made.unwrap_or_default()).changing([change]))
    }

    fn deployment(&self, id: &str) -> Outcome {
        Ok(Answer::json(200, &self.shown(self.known(id)?)))
    }

    fn aliases(&self, id: &str) -> Outcome {
        let deployment = self.known(id)?;
        let serves = self.world.serving().is_some_and(|serving| serving.id == deployment.id);
        let alias = json!({
            "uid": "als_drill",
            "alias": self.domain(),
            "created": deployment.served_from.map(|at| at.to_string()),
            "redirect": null,
        });
        Ok(Answer::json(200, &json!({ "aliases": if serves { vec![alias] } else { Vec::new() } })))
    }

    fn events(&self, id: &str) -> Outcome {
        let deployment = self.known(id)?;
        let mut lines: Vec<(Timestamp, &str, &str)> =
            vec![(deployment.created, "command", "Waiting for a place to build")];
        if deployment.stage != Stage::Queued {
            lines.push((deployment.building_at, "command", "Running the build command"));
        }
        match deployment.stage {
            Stage::Ready => lines.push((deployment.built_at, "stdout", "Build completed")),
            Stage::Error => lines.push((deployment.built_at, "stderr", "Error: the build command exited with 1")),
            Stage::Blocked => lines.push((deployment.built_at, "stderr", "Error: the deployment is held back")),
            Stage::Canceled => lines.push((self.world.now, "stderr", "The deployment was cancelled")),
            Stage::Queued | Stage::Building => {}
        }
        if self.ask.query("direction") == Some("backward") {
            lines.reverse();
        }
        let limit = self.ask.query("limit").and_then(|limit| limit.parse().ok()).unwrap_or(usize::MAX);
        let row = |(at, kind, line): &(Timestamp, &str, &str)| json!({ "type": kind, "created": millis(*at), "payload": { "deploymentId": deployment.id, "text": line } });
        Ok(Answer::json(200, &lines.iter().take(limit).map(row).collect::<Vec<_>>().into()))
    }

    fn cancel(&self, id: &str) -> Outcome {
        let deployment = self.known(id)?;
        self.no_fields()?;
        match deployment.stage {
            Stage::Queued | Stage::Building => {}
            Stage::Ready | Stage::Error | Stage::Blocked | Stage::Canceled => {
                return Err(bad("The deployment is finished and cannot be cancelled."));
            }
        }
        let cancelled = Deployment { stage: Stage::Canceled, ..deployment.clone() };
        Ok(Answer::json(200, &self.shown(&cancelled)).changing([Change::Cancelled { id: deployment.id.clone() }]))
    }

    // --- the domain

    /// What promote and rollback both refuse.
    fn may_move(&self, project: &str, id: &str) -> Result<&Deployment, Answer> {
        self.in_project(project)?;
        let deployment = self.known(id)?;
        self.no_fields()?;
        if self.world.moving() {
            return Err(no(409, "conflict", "The domain is being moved already."));
        }
        if deployment.stage != Stage::Ready || !deployment.production {
            return Err(no(422, "unprocessable", "Only a production deployment that is READY can serve."));
        }
        Ok(deployment)
    }

    fn promote(&self, project: &str, id: &str) -> Outcome {
        let deployment = self.may_move(project, id)?;
        let serves = self.world.serving().is_some_and(|serving| serving.id == deployment.id);
        // Promoting what serves is how a project leaves the rolled-back state; otherwise there is nothing to do.
        if serves && self.world.pinned.is_none() {
            return Err(no(409, "conflict", "The deployment serves already."));
        }
        let change = Change::Moved { kind: MoveKind::Promote, to: deployment.id.clone() };
        Ok(Answer::empty(201).changing([change]))
    }

    fn rollback(&self, project: &str, id: &str) -> Outcome {
        let deployment = self.may_move(project, id)?;
        if !self.can_be_rolled_back_to(deployment) {
            return Err(no(422, "unprocessable", "Only a deployment that served before can be rolled back to."));
        }
        let change = Change::Moved { kind: MoveKind::Rollback, to: deployment.id.clone() };
        Ok(Answer::empty(201).changing([change]))
    }

    fn move_aliases(&self, project: &str) -> Outcome {
        self.in_project(project)?;
        let rows: Vec<Value> = self
            .world
            .last_move
            .iter()
            .filter(|_| self.ask.query("failedOnly") != Some("true"))
            .map(|moved| {
                let status = if moved.done { "completed" } else { "in-progress" };
                json!({ "alias": self.domain(), "status": status, "id": moved.to })
            })
            .collect();
        let count = rows.len();
        let pagination = json!({ "count": count, "next": null, "prev": null });
        Ok(Answer::json(200, &json!({ "aliases": rows, "pagination": pagination })))
    }
}

/// A variable as a request asks for it.
struct Wanted {
    key: String,
    value: String,
    kind: EnvKind,
    target: Vec<Target>,
    comment: Option<String>,
}

fn wanted_row(body: &Value) -> Result<Wanted, Answer> {
    let fields = fields(body, &ENV_KEYS)?;
    let need = |name: &str| fields.get(name).ok_or_else(|| bad(format!("Missing required property `{name}`.")));
    let wanted = Wanted {
        key: key_of(need("key")?)?,
        value: text(need("value")?, "value")?,
        kind: kind_of(need("type")?)?,
        target: target_of(need("target")?)?,
        comment: fields.get("comment").map(comment_of).transpose()?,
    };
    check_sensitive(wanted.kind, &wanted.target)?;
    Ok(wanted)
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

fn key_of(value: &Value) -> Result<String, Answer> {
    let key = text(value, "key")?;
    let fits = |(index, c): (usize, char)| c == '_' || c.is_ascii_alphabetic() || (index > 0 && c.is_ascii_digit());
    if key.is_empty() || !key.chars().enumerate().all(fits) {
        return Err(no(400, "KEY_INVALID_CHARACTERS", "The name holds a character that is not allowed."));
    }
    if key.starts_with("VERCEL_") {
        return Err(no(400, "RESERVED_ENV_VARIABLE", format!("`{key}` is reserved.")));
    }
    Ok(key)
}

fn kind_of(value: &Value) -> Result<EnvKind, Answer> {
    serde_json::from_value(value.clone()).map_err(|_| bad("`type` should be `encrypted`, `plain` or `sensitive`."))
}

fn target_of(value: &Value) -> Result<Vec<Target>, Answer> {
    let target: Vec<Target> = serde_json::from_value(value.clone())
        .map_err(|_| bad("`target` should be a list of `production`, `preview` and `development`."))?;
    if target.is_empty() { Err(bad("`target` should not be empty.")) } else { Ok(target) }
}

fn comment_of(value: &Value) -> Result<String, Answer> {
    let comment = text(value, "comment")?;
    if comment.chars().count() > LONGEST_COMMENT { Err(bad("`comment` is too long.")) } else { Ok(comment) }
}

fn check_sensitive(kind: EnvKind, target: &[Target]) -> Result<(), Answer> {
    if kind == EnvKind::Sensitive && target.contains(&Target::Development) {
        return Err(bad("A sensitive variable cannot have the target `development`."));
    }
    Ok(())
}

fn overlap(row: &EnvRow, key: &str, target: &[Target]) -> bool {
    row.key == key && row.target.iter().any(|one| target.contains(one))
}

fn same_targets(one: &[Target], other: &[Target]) -> bool {
    one.iter().all(|target| other.contains(target)) && other.iter().all(|target| one.contains(target))
}

fn failure(code: &str, row: &EnvRow, wanted: &Wanted) -> Value {
    let message = format!("A variable `{}` exists already with another target.", wanted.key);
    json!({ "error": { "code": code, "message": message, "key": wanted.key, "envVarId": row.id, "target": row.target } })
}

/// A variable as lists show it: values that are kept encrypted stay closed.
fn sealed(row: &EnvRow) -> Value {
    let value = match row.kind {
        EnvKind::Plain => row.value.as_str(),
        EnvKind::Encrypted => "c2VhbGVk",
        EnvKind::Sensitive => "",
    };
    shown_row(row, value, row.kind == EnvKind::Plain)
}

/// A variable as asking for it alone shows it.
fn opened(row: &EnvRow) -> Value {
    match row.kind {
        EnvKind::Plain | EnvKind::Encrypted => shown_row(row, &row.value, true),
        EnvKind::Sensitive => shown_row(row, "", false),
    }
}

fn shown_row(row: &EnvRow, value: &str, decrypted: bool) -> Value {
    json!({
        "id": row.id,
        "key": row.key,
        "value": value,
        "decrypted": decrypted,
        "type": row.kind,
        "target": row.target,
        "comment": row.comment,
        "createdAt": millis(row.created),
        "updatedAt": millis(row.updated),
        "configurationId": null,
        "gitBranch": null,
    })
}

fn millis(at: Timestamp) -> i64 {
    at.as_millisecond()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::after;
    use crate::drill::scenario::tests::scenario;
    use crate::drill::state::Asked;
    use std::sync::Arc;
    use std::time::Duration;

    /// A world that is asked without any network in between.
    struct Desk(WorldState);

    impl Desk {
        fn new(team: &str) -> Self {
            let more = format!(
                "world: {{ vercel: {{ project: shop, team: {team}, environment: {{ CLERK_JWT_KEY: pem }} }} }}\n"
            );
            Self(WorldState::new(Arc::new(scenario(&more))))
        }

        fn ask(&mut self, method: &str, path: &str, body: Value) -> (u16, Value) {
            self.ask_as("drill_token", method, path, body)
        }

        fn ask_as(&mut self, bearer: &str, method: &str, path: &str, body: Value) -> (u16, Value) {
            let (path, query) = path.split_once('?').unwrap_or((path, ""));
            let ask = Ask {
                method: method.into(),
                path: path.into(),
                query: query
                    .split('&')
                    .filter_map(|pair| pair.split_once('='))
                    .map(|(a, b)| (a.into(), b.into()))
                    .collect(),
                bearer: Some(bearer.into()),
                body: if body.is_null() { Carried::Nothing } else { Carried::Json(body) },
            };
            let answer = answer(&ask, &self.0);
            let asked = Asked {
                on: StandIn::Vercel,
                method: ask.method,
                path: ask.path,
                status: Some(answer.status),
                why: None,
                changes: answer.changes,
            };
            self.0.apply(self.0.now, &asked);
            (answer.status, serde_json::from_str(&answer.content).unwrap_or_default())
        }

        fn wait(&mut self, seconds: u64) {
            self.0.advance(after(self.0.now, Duration::from_secs(seconds)));
        }
    }

    fn redeploy() -> Value {
        json!({ "name": "shop", "deploymentId": "dpl_drill0001", "target": "production", "meta": { "run": "r1" } })
    }

    #[test]
    fn refuses_what_the_vendor_refuses() {
        let mut desk = Desk::new("null");
        let row = json!({ "key": "A", "value": "1", "type": "plain", "target": ["production"] });
        let with = |name: &str, value: Value| {
            let mut changed = row.clone();
            changed[name] = value;
            changed
        };
        let deploy = |name: &str, value: Value| {
            let mut changed = redeploy();
            changed[name] = value;
            changed
        };
        let table = [
            ("GET", "/v9/projects/other", Value::Null, 404, "not_found"),
            ("GET", "/v9/projects/shop?teamId=team_x", Value::Null, 403, "forbidden"),
            ("GET", "/v99/projects/shop", Value::Null, 404, "not_found"),
            ("POST", "/v10/projects/shop/env", Value::Null, 400, "bad_request"),
            ("POST", "/v10/projects/shop/env?upsert=yes", row.clone(), 400, "bad_request"),
            ("POST", "/v10/projects/shop/env", with("colour", json!("red")), 400, "bad_request"),
            ("POST", "/v10/projects/shop/env", with("value", json!(1)), 400, "bad_request"),
            ("POST", "/v10/projects/shop/env", with("type", json!("secret")), 400, "bad_request"),
            ("POST", "/v10/projects/shop/env", with("target", json!(["prod"])), 400, "bad_request"),
            ("POST", "/v10/projects/shop/env", with("target", json!([])), 400, "bad_request"),
            ("POST", "/v10/projects/shop/env", with("key", json!("1A")), 400, "KEY_INVALID_CHARACTERS"),
            ("POST", "/v10/projects/shop/env", with("key", json!("VERCEL_URL")), 400, "RESERVED_ENV_VARIABLE"),
            ("POST", "/v10/projects/shop/env", with("key", json!("CLERK_JWT_KEY")), 403, "ENV_ALREADY_EXISTS"),
            ("PATCH", "/v9/projects/shop/env/env_no", json!({ "value": "x" }), 404, "not_found"),
            ("PATCH", "/v9/projects/shop/env/env_drill0001", json!({ "id": "x" }), 400, "bad_request"),
            ("DELETE", "/v9/projects/shop/env/env_no", Value::Null, 404, "not_found"),
            ("DELETE", "/v1/projects/shop/env", json!({ "ids": [] }), 400, "bad_request"),
            ("POST", "/v13/deployments", redeploy(), 400, "bad_request"),
            ("POST", "/v13/deployments?forceNew=true", redeploy(), 400, "bad_request"),
            ("POST", "/v13/deployments?forceNew=1", json!({ "name": "shop" }), 400, "missing_files"),
            ("POST", "/v13/deployments?forceNew=1", json!({ "deploymentId": "dpl_drill0001" }), 400, "bad_request"),
            ("POST", "/v13/deployments?forceNew=1", deploy("target", json!("prod")), 400, "bad_request"),
            ("POST", "/v13/deployments?forceNew=1", deploy("meta", json!({ "n": 1 })), 400, "bad_request"),
            ("POST", "/v13/deployments?forceNew=1", deploy("force", json!(true)), 400, "bad_request"),
            ("POST", "/v13/deployments?forceNew=1", deploy("deploymentId", json!("dpl_no")), 404, "not_found"),
            ("GET", "/v13/deployments/dpl_no", Value::Null, 404, "not_found"),
            ("PATCH", "/v12/deployments/dpl_drill0001/cancel", Value::Null, 400, "bad_request"),
            ("POST", "/v10/projects/shop/promote/dpl_no", json!({}), 404, "not_found"),
            ("POST", "/v10/projects/shop/promote/dpl_drill0001", json!({}), 409, "conflict"),
            ("POST", "/v1/projects/shop/rollback/dpl_drill0001", json!({}), 422, "unprocessable"),
            ("GET", "/v7/deployments?limit=0", Value::Null, 400, "bad_request"),
        ];
        for (method, path, body, status, code) in table {
            let (got, answer) = desk.ask(method, path, body.clone());
            assert_eq!((got, answer["error"]["code"].as_str()), (status, Some(code)), "{method} {path} {body}");
        }
        assert_eq!(desk.ask_as("other", "GET", "/v2/user", Value::Null).0, 403);
        assert!(desk.0.writes.is_empty(), "nothing that was refused changed anything");
    }

    #[test]
    fn a_teams_project_needs_the_team() {
        let mut desk = Desk::new("team_a");
        assert_eq!(desk.ask("GET", "/v9/projects/shop", Value::Null).0, 404);
        assert_eq!(desk.ask("GET", "/v9/projects/shop?teamId=team_b", Value::Null).0, 403);
        assert_eq!(desk.ask("GET", "/v9/projects/shop?teamId=team_a", Value::Null).0, 200);
        assert_eq!(desk.ask("GET", "/v2/user", Value::Null).0, 200);
    }

    #[test]
    fn variables_are_added_changed_read_and_removed() {
        let mut desk = Desk::new("null");
        let row = |key: &str, value: &str, kind: &str| json!({ "key": key, "value": value, "type": kind, "target": ["production"] });
        let many = json!([row("A", "1", "encrypted"), row("B", "2", "sensitive")]);
        let (status, answer) = desk.ask("POST", "/v10/projects/shop/env?upsert=true", many);
        assert_eq!((status, answer["created"].as_array().map(Vec::len)), (201, Some(2)));
        let id = answer["created"][0]["id"].as_str().unwrap().to_owned();
        let (_, answer) = desk.ask("POST", "/v10/projects/shop/env?upsert=true", row("A", "3", "encrypted"));
        assert_eq!(answer["created"]["id"], json!(id), "the same row");
        let (_, list) = desk.ask("GET", "/v10/projects/prj_drill_shop/env", Value::Null);
        assert_eq!(list["envs"].as_array().map(Vec::len), Some(3));
        assert_ne!(list["envs"][1]["value"], json!("3"), "a list does not open what is encrypted");
        let (_, one) = desk.ask("GET", &format!("/v1/projects/shop/env/{id}"), Value::Null);
        assert_eq!((&one["value"], &one["decrypted"]), (&json!("3"), &json!(true)));
        let wide = json!({ "key": "A", "value": "4", "type": "plain", "target": ["production", "preview"] });
        let (status, answer) = desk.ask("POST", "/v10/projects/shop/env?upsert=true", wide);
        assert_eq!((status, &answer["failed"][0]["error"]["code"]), (201, &json!("ENV_CONFLICT")));
        assert_eq!(desk.ask("PATCH", &format!("/v9/projects/shop/env/{id}"), json!({ "value": "5" })).0, 200);
        assert_eq!(desk.0.rows[&id].value, "5");
        assert_eq!(desk.ask("DELETE", &format!("/v9/projects/shop/env/{id}"), Value::Null).0, 200);
        let (_, gone) = desk.ask("DELETE", "/v1/projects/shop/env", json!({ "ids": ["env_drill0003", "env_no"] }));
        assert_eq!(gone, json!({ "deleted": 1, "ids": ["env_drill0003"] }));
        assert_eq!(desk.0.left_standing(), []);
        let (_, again) = desk.ask("POST", "/v10/projects/shop/env", row("A", "6", "plain"));
        assert_eq!(again["created"]["id"], json!("env_drill0004"), "ids are never used twice");
    }

    #[test]
    fn a_redeploy_serves_and_a_rollback_pins() {
        let mut desk = Desk::new("null");
        let (status, made) = desk.ask("POST", "/v13/deployments?forceNew=1", redeploy());
        assert_eq!((status, &made["id"], &made["readyState"]), (200, &json!("dpl_drill0002"), &json!("QUEUED")));
        desk.wait(42);
        let (_, built) = desk.ask("GET", "/v13/deployments/dpl_drill0002", Value::Null);
        assert_eq!((&built["readyState"], &built["aliasAssigned"]), (&json!("READY"), &json!(false)));
        desk.wait(5);
        let (_, project) = desk.ask("GET", "/v9/projects/shop", Value::Null);
        assert_eq!(project["targets"]["production"]["id"], json!("dpl_drill0002"));
        let (_, candidates) = desk.ask("GET", "/v7/deployments?projectId=shop&rollbackCandidate=true", Value::Null);
        assert_eq!(candidates["deployments"][0]["uid"], json!("dpl_drill0001"));
        assert_eq!(desk.ask("POST", "/v1/projects/shop/rollback/dpl_drill0001", json!({})).0, 201);
        assert_eq!(desk.ask("POST", "/v1/projects/shop/rollback/dpl_drill0001", json!({})).0, 409, "one at a time");
        let (_, project) = desk.ask("GET", "/v9/projects/shop", Value::Null);
        assert_eq!(project["lastAliasRequest"]["jobStatus"], json!("in-progress"));
        desk.wait(5);
        let (_, project) = desk.ask("GET", "/v9/projects/shop", Value::Null);
        assert_eq!(project["lastAliasRequest"]["jobStatus"], json!("succeeded"));
        assert_eq!(project["lastAliasRequest"]["type"], json!("rollback"));
        assert_eq!(project["lastRollbackTarget"]["id"], json!("dpl_drill0001"));
        assert_eq!(desk.ask("POST", "/v13/deployments?forceNew=1", redeploy()).0, 200);
        desk.wait(60);
        let (_, staged) = desk.ask("GET", "/v13/deployments/dpl_drill0003", Value::Null);
        assert_eq!((&staged["readySubstate"], &staged["aliasAssigned"]), (&json!("STAGED"), &json!(false)));
        assert_eq!(desk.ask("POST", "/v10/projects/shop/promote/dpl_drill0003", json!({})).0, 201);
        desk.wait(5);
        let (_, project) = desk.ask("GET", "/v9/projects/shop", Value::Null);
        assert_eq!(project["targets"]["production"]["id"], json!("dpl_drill0003"));
        assert_eq!(project["lastRollbackTarget"], Value::Null);
    }

    #[test]
    fn a_page_of_deployments_says_where_the_next_begins() {
        let mut desk = Desk::new("null");
        for _ in 0..3 {
            desk.wait(1);
            desk.ask("POST", "/v13/deployments?forceNew=1", redeploy());
        }
        let (_, first) = desk.ask("GET", "/v7/deployments?limit=3", Value::Null);
        assert_eq!(first["deployments"][0]["uid"], json!("dpl_drill0004"), "newest first");
        assert_eq!(first["deployments"][0]["meta"], json!({ "run": "r1" }));
        let next = first["pagination"]["next"].as_i64().unwrap();
        let (_, second) = desk.ask("GET", &format!("/v7/deployments?limit=3&until={next}"), Value::Null);
        assert_eq!(second["deployments"].as_array().map(Vec::len), Some(1));
        assert_eq!(second["pagination"]["next"], Value::Null);
        assert_eq!(desk.ask("PATCH", "/v12/deployments/dpl_drill0004/cancel", Value::Null).0, 200);
        let (_, cancelled) = desk.ask("GET", "/v7/deployments?state=CANCELED", Value::Null);
        assert_eq!(cancelled["deployments"].as_array().map(Vec::len), Some(1));
        let (_, events) =
            desk.ask("GET", "/v3/deployments/dpl_drill0004/events?direction=backward&limit=1", Value::Null);
        assert_eq!(events[0]["payload"]["text"], json!("The deployment was cancelled"));
    }
}
