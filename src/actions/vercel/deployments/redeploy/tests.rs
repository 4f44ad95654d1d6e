//! A redeploy, against a Vercel with one project.

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
                self.made = Some(json!({ "uid": "dpl_new", "state": "BUILDING", "meta": seen.body["meta"] }));
                Answer::json(200, &json!({ "id": "dpl_new", "url": "shop-new.vercel.app", "readyState": "QUEUED" }))
            }
            "POST /v1/projects/prj_1/rolling-release/complete" => Answer::json(200, &json!({})),
            "GET /v13/deployments/dpl_new" => {
                let place = self.polls.min(self.states.len() - 1);
                self.polls += 1;
                let state = self.states[place].clone();
                if format!("{state:?}").contains("PROMOTED") {
                    self.project["targets"]["production"]["id"] = json!("dpl_new");
                }
                state
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
    let states =
        vec![is("QUEUED"), is("BUILDING"), Answer::text(502, "bad"), busy, Answer::html(200), is("READY"), serving()];
    let bench = bench(World::new(states)).await;
    let output = Redeploy.run(&bench.cx(), params()).await.unwrap();
    assert_eq!((output.deployment.as_str(), output.previous.as_str()), ("dpl_new", "dpl_old"));
    assert_eq!(output.url, "shop-new.vercel.app");
    assert!(output.ready_after_seconds >= 44, "{output:?}");
    let post = bench.seen().into_iter().find(|seen| seen.method == "POST").unwrap();
    let meta = json!({ "action": "redeploy", "runbookRun": "20261123-030000-test/the_step" });
    assert_eq!(post.body, json!({ "name": "shop", "deploymentId": "dpl_old", "target": "production", "meta": meta }));
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
    let output = Redeploy.run(&bench.again(), params()).await.unwrap();
    assert_eq!(output.previous, "dpl_old", "although the new one serves by now");
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
        (with(json!({ "readySubstate": "ROLLING", "aliasAssigned": true })), "a share of the customers only"),
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
async fn domains_that_do_not_come_are_fetched_by_a_promote() {
    let bench = bench(World::new(vec![is("READY")])).await;
    Redeploy.run(&bench.cx(), params()).await.unwrap();
    assert!(bench.said().iter().any(|said| said.contains("its domains have not come in 3m")), "{:?}", bench.said());
    assert!(bench.lines().contains(&"POST /v10/projects/prj_1/promote/dpl_new".to_owned()));
}

#[tokio::test]
async fn what_was_built_and_never_served_is_not_taken_up_again() {
    let world = World::new(vec![with(json!({ "aliasError": { "message": "taken" } })), serving()]);
    let bench = bench(world).await;
    assert_eq!(Redeploy.run(&bench.cx(), params()).await.unwrap_err().kind, ErrorKind::Failed);
    assert_eq!(bench.saved().pop().unwrap()["dead"], json!(["dpl_new"]));
    bench.lines();
    // The list still shows it as READY, and it is ours.
    Redeploy.run(&bench.again(), params()).await.unwrap();
    assert_eq!(bench.lines().iter().filter(|line| line.starts_with("POST /v13")).count(), 1);
}

#[tokio::test]
async fn a_rolling_release_is_completed_where_that_is_wanted() {
    let rolling = with(json!({ "readySubstate": "ROLLING", "aliasAssigned": true }));
    let world = World::new(vec![is("BUILDING"), rolling, serving()]).with("rollingRelease", json!({ "stages": [] }));
    let bench = bench(world).await;
    let wanted = VercelRedeployParams { rolling: Rolling::Complete, ..params() };
    assert!(format!("{:?}", Redeploy.describe(&wanted)).contains("rolling-release/complete"));
    Redeploy.run(&bench.cx(), wanted).await.unwrap();
    let completed = bench.seen().into_iter().find(|seen| seen.path.ends_with("/rolling-release/complete")).unwrap();
    assert_eq!(completed.body, json!({ "canaryDeploymentId": "dpl_new" }));
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
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Timeout, "after 20m, deployment dpl_new is BUILDING"));
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
        dead: Vec::new(),
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
    let body =
        json!({ "name": ":project_name", "deploymentId": ":serving_deployment", "target": "production", "meta": meta });
    let url = "https://api.vercel.com/v13/deployments?teamId=team_1&forceNew=1";
    assert!(intents.contains(&Intent::request_with("POST", url, body)));
}
