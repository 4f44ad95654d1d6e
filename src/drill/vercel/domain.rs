//! The production domain: moving it from one deployment to another.

use serde_json::{Value, json};

use super::setting::Plan;
use super::state::{Change, Deployment, MoveKind, MoveStage, Stage};
use super::{Api, Outcome, fields, no, text};
use crate::drill::ask::Answer;

impl Api<'_> {
    /// What promote and rollback both refuse.
    fn may_move(&self, project: &str, id: &str) -> Result<&Deployment, Answer> {
        self.in_project(project)?;
        let deployment = self.known(id)?;
        self.no_fields()?;
        if self.world.vercel.moving() {
            return Err(no(409, "conflict", "The domain is being moved already."));
        }
        if deployment.stage != Stage::Ready || !deployment.production {
            return Err(no(422, "unprocessable", "Only a production deployment that is READY can serve."));
        }
        Ok(deployment)
    }

    pub(super) fn promote(&self, project: &str, id: &str) -> Outcome {
        let deployment = self.may_move(project, id)?;
        let serves = self.world.vercel.serving().is_some_and(|serving| serving.id == deployment.id);
        // Promoting what serves is how a project leaves the rolled-back state; otherwise there is nothing to do.
        if serves && self.world.vercel.pinned.is_none() {
            return Err(no(409, "conflict", "The deployment serves already."));
        }
        let change = Change::Moved { kind: MoveKind::Promote, to: deployment.id.clone() };
        // It is taken, and waits for the rolling release before it.
        let status = if self.world.vercel.is_rolling() { 202 } else { 201 };
        Ok(Answer::empty(status).changing([change]))
    }

    pub(super) fn rollback(&self, project: &str, id: &str) -> Outcome {
        let deployment = self.may_move(project, id)?;
        if !self.can_be_rolled_back_to(deployment) {
            return Err(no(422, "unprocessable", "Only a deployment that served before can be rolled back to."));
        }
        if self.setting.plan == Plan::Hobby && self.world.vercel.served_before() != Some(deployment.id.as_str()) {
            let reason = "Rolling back further than to the previous deployment needs a Pro plan.";
            return Err(no(402, "payment_required", reason));
        }
        let change = Change::Moved { kind: MoveKind::Rollback, to: deployment.id.clone() };
        Ok(Answer::empty(201).changing([change]))
    }

    pub(super) fn move_aliases(&self, project: &str) -> Outcome {
        self.in_project(project)?;
        let rows: Vec<Value> = self
            .world
            .vercel
            .last_move
            .iter()
            .filter(|moved| self.ask.query("failedOnly") != Some("true") || moved.stage == MoveStage::Failed)
            .map(|moved| {
                let status = if moved.stage == MoveStage::Succeeded { "completed" } else { moved.stage.word() };
                json!({ "alias": self.domain(), "status": status, "id": moved.to })
            })
            .collect();
        let count = rows.len();
        let pagination = json!({ "count": count, "next": null, "prev": null });
        Ok(Answer::json(200, &json!({ "aliases": rows, "pagination": pagination })))
    }

    pub(super) fn complete(&self, project: &str) -> Outcome {
        self.in_project(project)?;
        let fields = fields(self.body()?, &["canaryDeploymentId"])?;
        let id =
            fields.get("canaryDeploymentId").ok_or_else(|| no(400, "bad_request", "Missing `canaryDeploymentId`."))?;
        let deployment = self.known(&text(id, "canaryDeploymentId")?)?;
        if !deployment.rolling {
            return Err(no(409, "conflict", "No rolling release of this deployment is under way."));
        }
        Ok(Answer::json(200, &json!({ "rollingRelease": null }))
            .changing([Change::Completed { id: deployment.id.clone() }]))
    }
}
