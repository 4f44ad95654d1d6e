//! `vercel.redeploy`: builds anew what serves now, and sees it through until customers reach it.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::domain::{Project, rolling};
use super::super::watch::Watch;
use super::super::{Scope, Vercel, default_secret, id_segment, typed};
use super::{Progress, RedeployTarget, progress};
use crate::action::{Action, ActionContext, ActionError, Done, Effect, ErrorKind, Intent, Need, Replay, Undone};
use crate::base::clock::until;
use crate::base::{HumanDuration, Timestamp};

/// How long an undo waits for the roll-back; Vercel's own command line waits as long.
const ROLLBACK_DEADLINE: Duration = Duration::from_secs(180);
/// How far Vercel's clock may be behind ours when we look for our own deployment.
const CLOCK_SKEW: Duration = Duration::from_secs(300);
/// How many pages of deployments to look through for our own.
const MOST_PAGES: usize = 10;

/// Deploys anew what serves now, with the environment variables of now.
#[derive(Debug)]
pub struct Redeploy;

/// Which project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VercelRedeployParams {
    /// The project's name or id.
    #[schemars(extend("examples" = ["{{ inputs.project }}"]))]
    pub project: String,
    /// Which of its environments to deploy to.
    #[serde(default)]
    pub target: RedeployTarget,
    /// The team's id (`team_…`) or slug, where the project belongs to a team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// The name of the secret that holds a Vercel token.
    #[serde(default = "default_secret")]
    pub secret: String,
    /// How long to wait until customers reach the new deployment. Builds may take 45 minutes.
    #[serde(default = "default_deadline")]
    pub deadline: HumanDuration,
}

fn default_deadline() -> HumanDuration {
    HumanDuration(Duration::from_secs(20 * 60))
}

/// What serves now. That it is ready does not prove that the application does what it should: ask the application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VercelRedeployOutput {
    /// The new deployment's id.
    pub deployment: String,
    /// Its own address.
    pub url: String,
    /// The id of the deployment that served before.
    pub previous: String,
    /// From the request until it served, in seconds.
    pub ready_after_seconds: u64,
}

/// What a later try and the undo must know.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Remembered {
    /// What served before the first try.
    previous: String,
    /// The project's id.
    project: String,
    /// When the first try began.
    since: Timestamp,
    /// The deployment that was made, once it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    deployment: Option<String>,
}

impl VercelRedeployParams {
    fn scope(&self) -> Scope<'_> {
        Scope { project: &self.project, team: self.team.as_deref() }
    }
}

impl Action for Redeploy {
    const NAME: &'static str = "vercel.redeploy";
    const SUMMARY: &'static str = "Deploys anew what serves now, so that changed environment variables are felt.";
    const EFFECT: Effect = Effect::Write;
    const REPLAY: Replay = Replay::Keyed;
    const UNDO: Option<&'static str> = Some("rolls back to the deployment that served before");
    const SECRETS: &'static [&'static str] = &["vercel"];
    type Params = VercelRedeployParams;
    type Output = VercelRedeployOutput;

    async fn run(&self, cx: &ActionContext, params: VercelRedeployParams) -> Result<VercelRedeployOutput, ActionError> {
        let vercel = Vercel::new(cx, params.scope(), &params.secret)?;
        let watch = Watch::new(cx, params.deadline.0);
        let project: Project = vercel.read(vercel.scope.get_project()).await?;
        if params.target == RedeployTarget::Production && !project.rolling_release.is_null() {
            return Err(rolling(&project.name));
        }
        let mut remembered = remembered(cx, &project, params.target).await?;
        let id = match vercel.own_deployment(&remembered, params.target).await? {
            Some(id) => {
                cx.progress(format!("an earlier try made {id}"));
                id
            }
            None => {
                let key = &cx.target().key;
                let request = vercel.scope.create_deployment(&project.name, &remembered.previous, params.target, key);
                let url = request.url.clone();
                let made: Made = typed(vercel.call(request).await?, &url)?;
                cx.progress(format!("made {}", made.id));
                made.id
            }
        };
        remembered.deployment = Some(id.clone());
        cx.save_checkpoint(json!(remembered)).await?;
        let url = vercel.see_through(watch, &id, params.target).await?;
        Ok(VercelRedeployOutput {
            deployment: id,
            url,
            previous: remembered.previous,
            ready_after_seconds: until(remembered.since, cx.now()).as_secs(),
        })
    }

    fn needs(&self, params: &VercelRedeployParams) -> Vec<Need> {
        let scope = params.scope();
        vec![scope.token_is_taken(&params.secret), scope.project_is_seen(&params.secret)]
    }

    fn describe(&self, params: &VercelRedeployParams) -> Vec<Intent> {
        let scope = params.scope();
        let target = params.target;
        let mut intents = vec![
            Intent::from(&scope.get_project()),
            Intent::note(format!("takes the {} deployment that serves now as the source", target.as_str())),
            Intent::from(&scope.list_deployments(":project_id", target, ":start")),
            Intent::note("and only where this step has made no deployment yet:"),
            Intent::from(&scope.create_deployment(":project_name", ":serving_deployment", target, ":run/:step")),
            Intent::note(format!("until it serves, for at most {}:", params.deadline)),
            Intent::from(&scope.get_deployment(":id")),
        ];
        if target == RedeployTarget::Production {
            intents.push(Intent::note("and only where the project does not assign its domains by itself:"));
            intents.push(Intent::from(&scope.promote(":project_id", ":id")));
            intents.push(Intent::note("and reads the project until the domains have moved"));
        }
        intents
    }

    async fn undo(
        &self,
        cx: &ActionContext,
        params: VercelRedeployParams,
        done: Done<VercelRedeployOutput>,
    ) -> Result<Undone, ActionError> {
        if params.target == RedeployTarget::Preview {
            let left = done.output.map(|output| format!("the preview {} stays where it is", output.deployment));
            let summary = "a preview serves no customers: nothing to roll back".to_owned();
            return Ok(Undone { summary, left: left.into_iter().collect() });
        }
        let Some(remembered) = done.checkpoint.as_ref().and_then(|value| Remembered::deserialize(value).ok()) else {
            return Ok(Undone { summary: "nothing had been deployed".to_owned(), left: Vec::new() });
        };
        let vercel = Vercel::new(cx, params.scope(), &params.secret)?;
        let project: Project = vercel.read(vercel.scope.get_project()).await?;
        let previous = &remembered.previous;
        if project.serving(params.target) == Some(previous.as_str()) {
            return Ok(Undone { summary: format!("{previous} serves already"), left: Vec::new() });
        }
        let watch = Watch::new(cx, ROLLBACK_DEADLINE);
        let request = vercel.scope.roll_back(&id_segment(&project.id)?, &id_segment(previous)?);
        watch.insist(cx, || vercel.call(request.clone())).await?;
        vercel.alias_moved(&watch, previous, "rollback").await?;
        let left = format!(
            "project `{}` stays pinned to {previous}: new deployments reach no customers until one is promoted",
            project.name
        );
        Ok(Undone { summary: format!("rolled back to {previous}"), left: vec![left] })
    }
}

/// What Vercel says of a deployment just made.
#[derive(Deserialize)]
struct Made {
    id: String,
}

/// What an earlier try remembered, or what is so now; saved before anything is made.
async fn remembered(cx: &ActionContext, project: &Project, target: RedeployTarget) -> Result<Remembered, ActionError> {
    if let Some(checkpoint) = cx.checkpoint() {
        return Remembered::deserialize(checkpoint).map_err(|error| {
            let reason = format!("what an earlier try recorded cannot be read: {error}");
            ActionError::new(ErrorKind::Internal, reason)
        });
    }
    let Some(previous) = project.serving(target) else {
        let reason = format!("project `{}` has no {} deployment to deploy anew", project.name, target.as_str());
        return Err(ActionError::new(ErrorKind::Rejected, reason));
    };
    let remembered =
        Remembered { previous: previous.to_owned(), project: project.id.clone(), since: cx.now(), deployment: None };
    cx.save_checkpoint(json!(remembered)).await?;
    Ok(remembered)
}

impl Vercel<'_> {
    /// The deployment that this step of this run made before, unless it came to nothing.
    async fn own_deployment(
        &self,
        remembered: &Remembered,
        target: RedeployTarget,
    ) -> Result<Option<String>, ActionError> {
        let since = remembered.since.as_millisecond() - i64::try_from(CLOCK_SKEW.as_millis()).unwrap_or(0);
        let mut page = self.scope.list_deployments(&remembered.project, target, &since.to_string());
        for _ in 0..MOST_PAGES {
            let url = page.url.clone();
            let answer = self.call(page).await?;
            let Some(deployments) = answer.get("deployments").and_then(Value::as_array) else {
                return Err(ActionError::invalid_response(format!("{url} answered without `deployments`")));
            };
            let own = deployments.iter().find(|deployment| {
                let key = deployment.pointer("/meta/runbookRun").and_then(Value::as_str);
                key == Some(self.cx.target().key.as_str()) && !matches!(progress(deployment), Progress::Over(_))
            });
            if let Some(id) = own.and_then(|own| own.get("uid").or_else(|| own.get("id"))).and_then(Value::as_str) {
                return Ok(Some(id.to_owned()));
            }
            let Some(next) = answer.pointer("/pagination/next").and_then(Value::as_u64) else { return Ok(None) };
            page = self
                .scope
                .list_deployments(&remembered.project, target, &since.to_string())
                .query("until", next.to_string());
        }
        // Thousands of deployments since this step began: to make one more could be to make it twice.
        Err(ActionError::invalid_response("Vercel's list of deployments does not end"))
    }

    /// Watches a deployment until customers reach it; promotes it where the project does not. Returns its address.
    async fn see_through(&self, watch: Watch, id: &str, target: RedeployTarget) -> Result<String, ActionError> {
        let segment = id_segment(id)?;
        let mut told = String::new();
        loop {
            let request = self.scope.get_deployment(&segment);
            let deployment = watch.insist(self.cx, || self.call(request.clone())).await?;
            let url = || deployment.get("url").and_then(Value::as_str).unwrap_or_default().to_owned();
            let progress = progress(&deployment);
            let words = match &progress {
                Progress::Underway(state) => state.clone(),
                Progress::Assigning => "READY, its domains are being assigned".to_owned(),
                Progress::Staged => "READY, waiting to be promoted".to_owned(),
                Progress::Serving => "READY, serving".to_owned(),
                Progress::Over(reason) => {
                    let page = deployment.get("inspectorUrl").and_then(Value::as_str).unwrap_or("the dashboard");
                    let reason = format!("deployment {id} {reason}; see {page}");
                    return Err(ActionError::new(ErrorKind::Failed, reason));
                }
            };
            if told != words {
                self.cx.progress(format!("{id} is {words}"));
                told.clone_from(&words);
            }
            match progress {
                Progress::Serving => return Ok(url()),
                Progress::Staged if target == RedeployTarget::Production => {
                    self.promote(&watch, &segment).await?;
                    return Ok(url());
                }
                Progress::Assigning if target == RedeployTarget::Production => {
                    let project = self.project(&watch).await?;
                    if !project.rolling_release.is_null() {
                        return Err(rolling(&project.name));
                    }
                    if project.is_pinned() {
                        self.promote(&watch, &segment).await?;
                        return Ok(url());
                    }
                }
                Progress::Staged => return Ok(url()),
                Progress::Assigning | Progress::Underway(_) | Progress::Over(_) => {}
            }
            watch.pause(self.cx, &format!("deployment {id} is {words}")).await?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::super::testing::{Answer, Bench, Seen};
    use super::*;

    /// A Vercel with one project. `states` are what the new deployment is, poll after poll; the last one stays.
    struct World {
        project: Value,
        states: Vec<Answer>,
        made: Option<Value>,
        create: Vec<Answer>,
        polls: usize,
    }

    impl World {
        fn new(states: Vec<Answer>) -> Self {
            let project = json!({
                "id": "prj_1", "name": "shop", "targets": { "production": { "id": "dpl_old" } }, "rollingRelease": null,
            });
            Self { project, states, made: None, create: Vec::new(), polls: 0 }
        }

        fn with(mut self, key: &str, value: Value) -> Self {
            self.project[key] = value;
            self
        }

        fn answer(&mut self, seen: &Seen) -> Answer {
            assert!(seen.query.contains("teamId=team_1"), "{seen:?}");
            let line = seen.line();
            match line.as_str() {
                "GET /v9/projects/shop" => Answer::json(200, &self.project),
                "GET /v7/deployments" => {
                    let made: Vec<&Value> = self.made.iter().collect();
                    Answer::json(200, &json!({ "deployments": made, "pagination": { "next": null } }))
                }
                "POST /v13/deployments" => {
                    if !self.create.is_empty() {
                        return self.create.remove(0);
                    }
                    assert!(seen.query.contains("forceNew=1"));
                    self.project["targets"]["production"]["id"] = json!("dpl_new");
                    self.made = Some(json!({ "uid": "dpl_new", "state": "BUILDING", "meta": seen.body["meta"] }));
                    Answer::json(200, &json!({ "id": "dpl_new", "url": "shop-new.vercel.app", "readyState": "QUEUED" }))
                }
                "GET /v13/deployments/dpl_new" => {
                    let place = self.polls.min(self.states.len() - 1);
                    self.polls += 1;
                    self.states[place].clone()
                }
                _ => {
                    let (kind, id) = match line.as_str() {
                        "POST /v10/projects/prj_1/promote/dpl_new" => ("promote", "dpl_new"),
                        "POST /v1/projects/prj_1/rollback/dpl_old" => ("rollback", "dpl_old"),
                        other => {
                            return Answer::json(404, &json!({ "error": { "code": "not_found", "message": other } }));
                        }
                    };
                    if seen.body != json!({}) {
                        return Answer::json(
                            400,
                            &json!({ "error": { "code": "bad_request", "message": "a body is required" } }),
                        );
                    }
                    let request = json!({ "toDeploymentId": id, "type": kind, "jobStatus": "succeeded" });
                    self.project["lastAliasRequest"] = request;
                    self.project["targets"]["production"]["id"] = json!(id);
                    Answer::text(201, "")
                }
            }
        }
    }

    async fn bench(mut world: World) -> Bench {
        Bench::with(move |seen| world.answer(seen)).await
    }

    fn params() -> VercelRedeployParams {
        serde_json::from_value(json!({ "project": "shop", "team": "team_1" })).unwrap()
    }

    fn is(state: &str) -> Answer {
        Answer::json(
            200,
            &json!({ "readyState": state, "url": "shop-new.vercel.app", "aliasAssigned": false, "aliasError": null }),
        )
    }

    fn with(more: Value) -> Answer {
        let mut body = json!({ "readyState": "READY", "url": "shop-new.vercel.app", "inspectorUrl": "https://v/1" });
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        Answer::json(200, &body)
    }

    fn serving() -> Answer {
        with(json!({ "aliasAssigned": 1_700_000_000_000_u64, "readySubstate": "PROMOTED" }))
    }

    #[tokio::test]
    async fn builds_what_serves_now_and_waits_until_it_serves() {
        let busy = Answer::text(429, "").header("retry-after", "40");
        let states = vec![
            is("QUEUED"),
            is("BUILDING"),
            Answer::text(502, "bad"),
            busy,
            Answer::html(200),
            is("READY"),
            serving(),
        ];
        let bench = bench(World::new(states)).await;
        let output = Redeploy.run(&bench.cx(), params()).await.unwrap();
        assert_eq!((output.deployment.as_str(), output.previous.as_str()), ("dpl_new", "dpl_old"));
        assert_eq!(output.url, "shop-new.vercel.app");
        assert!(output.ready_after_seconds >= 44, "{output:?}");
        let post = bench.seen().into_iter().find(|seen| seen.method == "POST").unwrap();
        let meta = json!({ "action": "redeploy", "runbookRun": "20261123-030000-test/the_step" });
        assert_eq!(
            post.body,
            json!({ "name": "shop", "deploymentId": "dpl_old", "target": "production", "meta": meta })
        );
        assert_eq!(bench.saved()[0].get("deployment"), None);
        assert_eq!(bench.saved()[1]["deployment"], "dpl_new");
        assert!(bench.said().contains(&"dpl_new is BUILDING".to_owned()));
    }

    #[tokio::test]
    async fn a_later_try_finds_what_an_earlier_one_made() {
        let world = World::new(vec![Answer::html(403), serving()]);
        let bench = bench(world).await;
        let error = Redeploy.run(&bench.cx(), params()).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unauthorized);
        let output = Redeploy.run(&bench.again(), params()).await.unwrap();
        assert_eq!(output.previous, "dpl_old");
        assert_eq!(bench.lines().iter().filter(|line| line.starts_with("POST")).count(), 1);
    }

    #[tokio::test]
    async fn a_refused_request_fails_with_its_class_and_the_next_try_makes_one() {
        let mut world = World::new(vec![serving()]);
        world.create = vec![Answer::text(429, "").header("retry-after", "9"), Answer::text(500, "")];
        let bench = bench(world).await;
        let error = Redeploy.run(&bench.cx(), params()).await.unwrap_err();
        assert_eq!((error.kind, error.retry_after_ms), (ErrorKind::RateLimited, Some(9000)));
        assert_eq!(Redeploy.run(&bench.again(), params()).await.unwrap_err().kind, ErrorKind::Server);
        assert!(Redeploy.run(&bench.again(), params()).await.is_ok());
    }

    #[tokio::test]
    async fn every_bad_end_has_a_name() {
        for (last, told) in [
            (with(json!({ "readyState": "ERROR", "errorMessage": "npm failed" })), "ended as ERROR: npm failed"),
            (is("CANCELED"), "ended as CANCELED"),
            (is("BLOCKED"), "ended as BLOCKED"),
            (is("DELETED"), "ended as DELETED"),
            (is("BUILD_UTILS_SPAWN_ERROR"), "ended as BUILD_UTILS_SPAWN_ERROR"),
            (
                with(json!({ "aliasError": { "code": "x", "message": "domain taken" } })),
                "could not be given its domains: domain taken",
            ),
            (with(json!({ "checksConclusion": "failed" })), "failed its checks"),
            (with(json!({ "checks": { "deployment-alias": { "state": "failed" } } })), "failed its checks"),
            (
                with(json!({ "readySubstate": "ROLLING", "aliasAssigned": true })),
                "serves a share of the customers only",
            ),
        ] {
            let bench = bench(World::new(vec![is("BUILDING"), last])).await;
            let error = Redeploy.run(&bench.cx(), params()).await.unwrap_err();
            assert!(error.kind == ErrorKind::Failed && error.message.contains(told), "{error}");
        }
    }

    #[tokio::test]
    async fn what_is_staged_is_promoted() {
        let staged = with(json!({ "readySubstate": "STAGED", "aliasAssigned": false }));
        let bench_staged = bench(World::new(vec![staged])).await;
        Redeploy.run(&bench_staged.cx(), params()).await.unwrap();
        assert!(bench_staged.lines().contains(&"POST /v10/projects/prj_1/promote/dpl_new".to_owned()));

        for world in [
            World::new(vec![is("READY")]).with("lastRollbackTarget", json!({})),
            World::new(vec![is("READY")]).with("autoAssignCustomDomains", json!(false)),
        ] {
            let bench = bench(world).await;
            Redeploy.run(&bench.cx(), params()).await.unwrap();
            assert!(bench.lines().contains(&"POST /v10/projects/prj_1/promote/dpl_new".to_owned()));
        }
    }

    #[tokio::test]
    async fn what_cannot_work_is_refused_before_anything_is_made() {
        for world in [
            World::new(vec![serving()]).with("rollingRelease", json!({ "target": "production" })),
            World::new(vec![serving()]).with("targets", json!({})),
        ] {
            let bench = bench(world).await;
            assert_eq!(Redeploy.run(&bench.cx(), params()).await.unwrap_err().kind, ErrorKind::Rejected);
            assert_eq!(bench.lines(), ["GET /v9/projects/shop"]);
        }
    }

    #[tokio::test]
    async fn the_deadline_says_how_far_it_came_and_looks_ever_more_seldom() {
        let bench = bench(World::new(vec![is("BUILDING")])).await;
        let error = Redeploy.run(&bench.cx(), params()).await.unwrap_err();
        assert_eq!(
            (error.kind, error.message.as_str()),
            (ErrorKind::Timeout, "after 20m, deployment dpl_new is BUILDING")
        );
        let polls = bench.lines().iter().filter(|line| line.ends_with("/dpl_new")).count();
        assert!((60..90).contains(&polls), "{polls}");
    }

    #[tokio::test]
    async fn an_undo_rolls_back_and_says_what_that_leaves() {
        let project = json!({ "production": { "id": "dpl_new" } });
        let bench = bench(World::new(vec![serving()]).with("targets", project)).await;
        let remembered = Remembered {
            previous: "dpl_old".into(),
            project: "prj_1".into(),
            since: Timestamp::UNIX_EPOCH,
            deployment: None,
        };
        let done = Done { output: None, checkpoint: Some(json!(remembered)) };
        let undone = Redeploy.undo(&bench.cx(), params(), done.clone()).await.unwrap();
        assert_eq!(undone.summary, "rolled back to dpl_old");
        assert!(undone.left[0].contains("stays pinned to dpl_old"));
        let undone = Redeploy.undo(&bench.cx(), params(), done).await.unwrap();
        assert_eq!(undone, Undone { summary: "dpl_old serves already".into(), left: Vec::new() });
    }

    #[tokio::test]
    async fn no_answer_makes_it_panic() {
        for body in [json!(null), json!([]), json!({ "deployments": 1 }), json!({ "id": 7, "name": [] }), json!("x")] {
            let told = body.clone();
            let bench = Bench::with(move |_| Answer::json(200, &body)).await;
            let error = Redeploy.run(&bench.cx(), params()).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::InvalidResponse, "{told}");
        }
    }

    #[test]
    fn says_what_it_will_do() {
        let intents = Redeploy.describe(&params());
        let meta = json!({ "action": "redeploy", "runbookRun": ":run/:step" });
        let body = json!({ "name": ":project_name", "deploymentId": ":serving_deployment", "target": "production", "meta": meta });
        let url = "https://api.vercel.com/v13/deployments?teamId=team_1&forceNew=1";
        assert!(intents.contains(&Intent::request_with("POST", url, body)));
    }
}
