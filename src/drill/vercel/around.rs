//! What the vendor's own command line asks besides: the team it works for, environments of one's own, the parts of a
//! build. Paths and fields follow what the CLI sends and reads, version 58.4.

use serde_json::{Value, json};

use super::{Api, Outcome, millis, not_found, shape};
use crate::drill::ask::Answer;

impl Api<'_> {
    /// Answers what is asked about the project's surroundings; `None` when it is about something else.
    pub(super) fn around(&self) -> Option<Outcome> {
        let segments = self.ask.segments();
        // Some addresses carry a version and some do not.
        let known = match segments.as_slice() {
            [version, rest @ ..] if is_version(version) => rest,
            all => all,
        };
        match (self.ask.method.as_str(), known) {
            ("GET", ["teams"]) => Some(self.teams()),
            ("GET", ["teams", id]) => Some(self.team_named(id)),
            ("GET", ["projects", project, "custom-environments"]) => Some(self.environments(project)),
            ("GET", ["deployments", id, "builds"]) => Some(self.builds(id)),
            _ => None,
        }
    }

    fn shown_team(&self) -> Option<Value> {
        let id = self.setting.team.as_deref()?;
        let mut team = shape::team(id);
        shape::add(
            &mut team,
            json!({
                "creatorId": "user_drill",
                "avatar": null,
                "createdAt": 0,
                "membership": { "role": "OWNER", "confirmed": true, "uid": "user_drill", "teamId": id, "created": 0, "createdAt": 0 },
                "billing": { "plan": "pro" },
            }),
        );
        Some(team)
    }

    fn teams(&self) -> Outcome {
        let teams: Vec<Value> = self.shown_team().into_iter().collect();
        let pagination = json!({ "count": teams.len(), "next": null, "prev": null });
        Ok(Answer::json(200, &json!({ "teams": teams, "pagination": pagination })))
    }

    fn team_named(&self, id: &str) -> Outcome {
        let team = self.shown_team().filter(|team| team["id"] == id || team["slug"] == id);
        team.map(|team| Answer::json(200, &team)).ok_or_else(|| not_found("Team"))
    }

    fn environments(&self, project: &str) -> Outcome {
        self.in_project(project)?;
        let limit = json!({ "customEnvironmentsPerProject": 1 });
        Ok(Answer::json(200, &json!({ "environments": [], "accountLimit": limit })))
    }

    fn builds(&self, id: &str) -> Outcome {
        let deployment = self.known(id)?;
        let build = json!({
            "id": format!("bld_{}", deployment.id.trim_start_matches("dpl_")),
            "deploymentId": deployment.id,
            "entrypoint": "package.json",
            "readyState": deployment.stage.word(),
            "readyStateAt": millis(deployment.built_at),
            "createdAt": millis(deployment.created),
            "output": [],
        });
        Ok(Answer::json(200, &json!({ "builds": [build] })))
    }
}

fn is_version(segment: &str) -> bool {
    segment.strip_prefix('v').is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}
