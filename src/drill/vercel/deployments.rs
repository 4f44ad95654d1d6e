//! The project's deployments.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::state::{Change, Deployment, Stage};
use super::{Api, Outcome, bad, fields, millis, no, not_found, object, shape, text};
use crate::base::Timestamp;
use crate::drill::ask::Answer;
use crate::drill::scenario::StandIn;

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

impl Api<'_> {
    pub(super) fn url(&self, deployment: &Deployment) -> String {
        format!("{}-{}.vercel.app", self.setting.project, deployment.id.trim_start_matches("dpl_"))
    }

    pub(super) fn domain(&self) -> &str {
        self.world.scenario.host_of(StandIn::App).unwrap_or("app.example.com")
    }

    /// What every answer about a deployment says.
    pub(super) fn shown(&self, deployment: &Deployment) -> Value {
        let serves = self.world.vercel.serving().is_some_and(|serving| serving.id == deployment.id);
        let substate = match (deployment.stage, deployment.production) {
            (Stage::Ready, true) if deployment.rolling => Some("ROLLING"),
            (Stage::Ready, true) if deployment.served_from.is_some() => Some("PROMOTED"),
            // Nothing says why the domain does not come.
            (Stage::Ready, true) if deployment.alias_at.is_none() && deployment.aliased.is_none() => Some("STAGED"),
            _ => None,
        };
        let error = match deployment.stage {
            Stage::Error => Some(("BUILD_FAILED", "The build command exited with 1.")),
            Stage::Blocked => Some(("BLOCKED", "The deployment is held back.")),
            Stage::Queued | Stage::Building | Stage::Ready | Stage::Canceled => None,
        };
        // The share that has it already counts as assigned.
        let assigned = deployment.served_from.or(deployment.rolling.then_some(deployment.built_at));
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
            "aliasAssigned": assigned.map_or(Value::Bool(false), |at| millis(at).into()),
            "aliasError": null,
            "inspectorUrl": format!("https://vercel.com/drill/{}/{}", self.setting.project, deployment.id),
            "meta": deployment.meta,
            "type": "LAMBDAS",
            "creator": { "uid": "user_drill", "username": "drill" },
            "source": if deployment.source.is_some() { "redeploy" } else { "git" },
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
        shape::listed(row)
    }

    pub(super) fn can_be_rolled_back_to(&self, deployment: &Deployment) -> bool {
        let serves = self.world.vercel.serving().is_some_and(|serving| serving.id == deployment.id);
        deployment.served_from.is_some() && !serves
    }

    pub(super) fn deployments(&self) -> Outcome {
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
            .vercel
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

    pub(super) fn deploy(&self) -> Outcome {
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
        let change =
            Change::Deployed { id: self.world.vercel.next_deployment_id(), production, source: Some(source), meta };
        // The answer shows the deployment as it will be found, so it is made on a copy of the world first.
        let mut then = self.world.clone();
        then.vercel.change(&change, self.world.now);
        let made = then
            .vercel
            .deployments
            .last()
            .map(|made| shape::deployment(Api { world: &then, ..*self }.shown(made), self.owner()));
        Ok(Answer::json(200, &made.unwrap_or_default()).changing([change]))
    }

    pub(super) fn deployment(&self, id: &str) -> Outcome {
        Ok(Answer::json(200, &shape::deployment(self.shown(self.known(id)?), self.owner())))
    }

    pub(super) fn aliases(&self, id: &str) -> Outcome {
        let deployment = self.known(id)?;
        let serves = self.world.vercel.serving().is_some_and(|serving| serving.id == deployment.id);
        let alias = json!({
            "uid": "als_drill",
            "alias": self.domain(),
            "created": deployment.served_from.map(|at| at.to_string()),
            "redirect": null,
        });
        Ok(Answer::json(200, &json!({ "aliases": if serves { vec![alias] } else { Vec::new() } })))
    }

    pub(super) fn events(&self, id: &str) -> Outcome {
        let deployment = self.known(id)?;
        let mut lines: Vec<(Timestamp, &str, &str)> =
            vec![(deployment.created, "command", "Waiting for a place to build")];
        if deployment.stage != Stage::Queued {
            lines.push((deployment.building_at, "command", "Running the build command"));
        }
        lines.extend(deployment.log.iter().map(|line| (deployment.building_at, "stdout", line.as_str())));
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
        let row = |(at, kind, line): &(Timestamp, &str, &str)| {
            let (at, id) = (millis(*at), format!("{}{}", millis(*at), line.len()));
            json!({ "type": kind, "created": at, "payload": {
                "id": id, "serial": id, "date": at, "deploymentId": deployment.id, "text": line,
            } })
        };
        Ok(Answer::json(200, &lines.iter().take(limit).map(row).collect::<Vec<_>>().into()))
    }

    pub(super) fn cancel(&self, id: &str) -> Outcome {
        let deployment = self.known(id)?;
        self.no_fields()?;
        match deployment.stage {
            Stage::Queued | Stage::Building => {}
            Stage::Ready | Stage::Error | Stage::Blocked | Stage::Canceled => {
                return Err(bad("The deployment is finished and cannot be cancelled."));
            }
        }
        let cancelled = Deployment { stage: Stage::Canceled, ..deployment.clone() };
        let shown = shape::deployment(self.shown(&cancelled), self.owner());
        Ok(Answer::json(200, &shown).changing([Change::Cancelled { id: deployment.id.clone() }]))
    }
}
