//! Promote, rollback and what served before, with a Vercel that keeps count.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::super::super::testing::{Answer, Bench, Seen, faults};
use super::*;
use crate::action::{Action, ActionError, Done, ErrorKind, Intent, Probed};

/// A project that three deployments have served, one after another.
#[derive(Clone)]
struct World(Arc<Mutex<State>>);

struct State {
    project: Value,
    /// What promote and rollback answer before they work.
    refusals: Vec<Answer>,
    /// Takes the next move and loses the answer.
    loses: bool,
    /// How a move ends, and how many looks later.
    ends: &'static str,
    looks: usize,
    moved: Option<(String, &'static str)>,
    /// The move before, which one more look still shows where answers lag.
    stale: Option<Value>,
    lags: bool,
    clock: i64,
}

const PROMOTE: &str = "POST /v10/projects/prj_1/promote/";
const ROLLBACK: &str = "POST /v1/projects/prj_1/rollback/";

impl World {
    fn new() -> Self {
        let project = json!({
            "id": "prj_1", "name": "shop", "targets": { "production": { "id": "dpl_3" } }, "lastRollbackTarget": null,
            "lastAliasRequest": null, "rollingRelease": null,
        });
        let state = State {
            project,
            refusals: Vec::new(),
            loses: false,
            ends: "succeeded",
            looks: 2,
            moved: None,
            stale: None,
            lags: false,
            clock: 1_000_000,
        };
        Self(Arc::new(Mutex::new(state)))
    }

    fn with(self, key: &str, value: Value) -> Self {
        self.0.lock().unwrap().project[key] = value;
        self
    }

    fn change(self, change: impl FnOnce(&mut State)) -> Self {
        change(&mut self.0.lock().unwrap());
        self
    }

    async fn bench(&self) -> Bench {
        let world = self.clone();
        Bench::with(move |seen| world.answer(seen)).await
    }

    fn serving(&self) -> String {
        self.0.lock().unwrap().project["targets"]["production"]["id"].as_str().unwrap().to_owned()
    }

    fn answer(&self, seen: &Seen) -> Answer {
        assert!(seen.query.contains("slug=acme"), "{seen:?}");
        let mut state = self.0.lock().unwrap();
        let line = seen.line();
        if let Some(id) = line.strip_prefix(PROMOTE) {
            return state.ask(id, "promote", &seen.body);
        }
        if let Some(id) = line.strip_prefix(ROLLBACK) {
            return state.ask(id, "rollback", &seen.body);
        }
        match line.as_str() {
            "GET /v9/projects/shop" => {
                let mut shown = state.project.clone();
                match state.stale.take() {
                    Some(stale) => shown["lastAliasRequest"] = stale,
                    None => state.look(),
                }
                Answer::json(200, &shown)
            }
            "GET /v7/deployments" => {
                assert!(
                    seen.query.contains("projectId=prj_1") && seen.query.contains("rollbackCandidate=true"),
                    "{seen:?}"
                );
                let row =
                    |id: &str, created: i64| json!({ "uid": id, "created": created, "aliasAssigned": created + 5 });
                let serving = state.project["targets"]["production"]["id"].clone();
                let all = [row("dpl_3", 300), row("dpl_2", 200), row("dpl_1", 100)];
                let rows: Vec<Value> = all.into_iter().filter(|row| row["uid"] != serving).collect();
                Answer::json(200, &json!({ "deployments": rows, "pagination": { "next": null } }))
            }
            other => match other.strip_prefix("GET /v13/deployments/dpl_") {
                Some(number) => Answer::json(200, &json!({ "createdAt": number.parse::<i64>().unwrap() * 100 })),
                None => Answer::json(404, &json!({ "error": { "code": "not_found", "message": other } })),
            },
        }
    }
}

impl State {
    fn ask(&mut self, id: &str, way: &'static str, body: &Value) -> Answer {
        if !self.refusals.is_empty() {
            return self.refusals.remove(0);
        }
        if *body != json!({}) {
            return Answer::json(400, &json!({ "error": { "code": "bad_request", "message": "a body is required" } }));
        }
        if self.moved.is_some() {
            return Answer::json(409, &json!({ "error": { "code": "conflict", "message": "one at a time" } }));
        }
        self.clock += 1;
        self.stale = self.lags.then(|| self.project["lastAliasRequest"].clone());
        self.project["lastAliasRequest"] = json!({
            "fromDeploymentId": self.project["targets"]["production"]["id"], "toDeploymentId": id, "type": way,
            "jobStatus": "pending", "requestedAt": self.clock,
        });
        self.moved = Some((id.to_owned(), way));
        if std::mem::take(&mut self.loses) { Answer::text(502, "bad gateway") } else { Answer::text(201, "") }
    }

    /// The work goes on between two looks.
    fn look(&mut self) {
        let Some((id, way)) = self.moved.clone() else { return };
        if self.looks > 0 {
            self.looks -= 1;
            self.project["lastAliasRequest"]["jobStatus"] = json!("in-progress");
            return;
        }
        self.moved = None;
        self.looks = 2;
        self.project["lastAliasRequest"]["jobStatus"] = json!(self.ends);
        if self.ends == "succeeded" {
            self.project["targets"]["production"]["id"] = json!(id);
            self.project["lastRollbackTarget"] = if way == "rollback" { json!({ "id": id }) } else { Value::Null };
        }
    }
}

fn back(more: Value) -> VercelRollbackParams {
    let mut params = json!({ "project": "shop", "team": "acme" });
    params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    serde_json::from_value(params).unwrap()
}

fn promote(id: &str) -> VercelPromoteParams {
    serde_json::from_value(json!({ "project": "shop", "team": "acme", "deployment": id })).unwrap()
}

fn posts(bench: &Bench) -> Vec<String> {
    bench.lines().into_iter().filter(|line| line.starts_with("POST")).collect()
}

fn refused(status: u16) -> Answer {
    Answer::json(status, &json!({ "error": { "code": "no", "message": "no" } }))
}

#[tokio::test]
async fn a_rollback_returns_once_the_domain_has_moved() {
    let world = World::new();
    let bench = world.bench().await;
    let output = Rollback.run(&bench.cx(), back(json!({ "to": "dpl_1", "description": "middleware" }))).await.unwrap();
    assert_eq!((output.deployment.as_str(), output.previous.as_deref()), ("dpl_1", Some("dpl_3")));
    assert_eq!(world.serving(), "dpl_1");
    let post = bench.seen().into_iter().find(|seen| seen.method == "POST").unwrap();
    assert_eq!((post.line(), post.query.as_str()), (format!("{ROLLBACK}dpl_1"), "slug=acme&description=middleware"));
    assert!(bench.lines().iter().filter(|line| line.starts_with("GET /v9")).count() > 3, "it looks until it is done");
    assert_eq!(bench.saved(), [json!({ "from": "dpl_3", "to": "dpl_1", "pinned": false })]);
}

#[tokio::test]
async fn previous_is_what_served_before() {
    let bench = World::new().bench().await;
    assert_eq!(Rollback.run(&bench.cx(), back(json!({}))).await.unwrap().deployment, "dpl_2");
    // A later try goes to the same one, although something else serves now.
    assert_eq!(Rollback.run(&bench.again(), back(json!({}))).await.unwrap().deployment, "dpl_2");

    // What Vercel says of the last move goes before the order in which deployments were made.
    let moved = json!({ "fromDeploymentId": "dpl_1", "toDeploymentId": "dpl_3", "type": "promote", "jobStatus": "succeeded", "requestedAt": 1 });
    let bench = World::new().with("lastAliasRequest", moved).bench().await;
    assert_eq!(Rollback.run(&bench.cx(), back(json!({}))).await.unwrap().deployment, "dpl_1");

    // At a time: the newest that had the domain by then.
    let bench = World::new().bench().await;
    let output = Rollback.run(&bench.cx(), back(json!({ "at": "1970-01-01T00:00:00.110Z" }))).await.unwrap();
    assert_eq!(output.deployment, "dpl_1");

    // What served after it was made again by a rollback is none.
    let rolled_back = World::new().with("targets", json!({ "production": { "id": "dpl_1" } }));
    let error = Rollback.run(&rolled_back.bench().await.cx(), back(json!({}))).await.unwrap_err();
    assert!(error.kind == ErrorKind::Rejected && error.message.contains("no deployment of project `shop`"), "{error}");

    for wrong in [json!({ "at": "yesterday" }), json!({ "to": "dpl_1", "at": "2026-01-01T00:00:00Z" })] {
        let error = Rollback.run(&Bench::new().cx(), back(wrong)).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidParams);
    }
}

#[tokio::test]
async fn a_promote_leaves_the_rolled_back_state_and_does_nothing_twice() {
    let world = World::new().with("lastRollbackTarget", json!({ "id": "dpl_3" }));
    let bench = world.bench().await;
    let output = Promote.run(&bench.cx(), promote("dpl_3")).await.unwrap();
    assert_eq!(
        (output.unpinned, posts(&bench).len()),
        (true, 1),
        "what serves is promoted to end the rolled-back state"
    );
    let output = Promote.run(&bench.cx(), promote("dpl_3")).await.unwrap();
    assert_eq!((output.unpinned, posts(&bench).len()), (false, 0), "and then there is nothing to do");
}

#[tokio::test]
async fn an_earlier_move_to_the_same_deployment_is_not_taken_for_ours() {
    let before = json!({ "toDeploymentId": "dpl_1", "type": "rollback", "jobStatus": "succeeded", "requestedAt": 5 });
    let world = World::new().with("lastAliasRequest", before).change(|state| {
        state.ends = "failed";
        state.lags = true;
    });
    let error = Rollback.run(&world.bench().await.cx(), back(json!({ "to": "dpl_1" }))).await.unwrap_err();
    assert_eq!(
        (error.kind, error.message.as_str()),
        (ErrorKind::Failed, "Vercel failed the rollback to dpl_1; the domains stay where they were",)
    );
    assert_eq!(world.serving(), "dpl_3");
}

#[tokio::test]
async fn a_lost_answer_is_looked_into_and_not_repeated_blindly() {
    let world = World::new().change(|state| state.loses = true);
    let bench = world.bench().await;
    Rollback.run(&bench.cx(), back(json!({ "to": "dpl_1" }))).await.unwrap();
    assert_eq!(world.serving(), "dpl_1");
}

#[tokio::test]
async fn what_is_on_its_way_elsewhere_goes_first() {
    let other = json!({ "toDeploymentId": "dpl_2", "type": "promote", "jobStatus": "in-progress", "requestedAt": 9 });
    let world =
        World::new().with("lastAliasRequest", other).change(|state| state.moved = Some(("dpl_2".into(), "promote")));
    let bench = world.bench().await;
    Rollback.run(&bench.cx(), back(json!({ "to": "dpl_1" }))).await.unwrap();
    assert_eq!((world.serving().as_str(), posts(&bench).len()), ("dpl_1", 1));
}

#[tokio::test]
async fn refusals_say_what_can_be_done_instead() {
    for (status, kind, way_out) in [
        (402, ErrorKind::Rejected, "use `to: previous`, or promote it instead"),
        (409, ErrorKind::Rejected, "another promote or rollback stands in the way"),
        (422, ErrorKind::Rejected, "READY and served before"),
        (404, ErrorKind::Rejected, "no such deployment in this project"),
        (403, ErrorKind::Unauthorized, "answered 403"),
    ] {
        let world = World::new().change(|state| state.refusals = vec![refused(status)]);
        let bench = world.bench().await;
        let error = Rollback.run(&bench.cx(), back(json!({ "to": "dpl_1" }))).await.unwrap_err();
        assert!(error.kind == kind && error.message.contains(way_out), "{error}");
        assert_eq!((posts(&bench).len(), error.status), (1, Some(status)), "it is not asked again");
    }
    let world = World::new().change(|state| state.refusals = vec![refused(422)]);
    let error = Promote.run(&world.bench().await.cx(), promote("dpl_1")).await.unwrap_err();
    assert!(error.message.contains("only a production deployment that is READY can be promoted"), "{error}");
}

#[tokio::test]
async fn what_may_pass_is_waited_for_until_the_deadline() {
    let busy = Answer::text(429, "").header("retry-after", "40");
    let world = World::new().change(|state| state.refusals = vec![busy, refused(503), Answer::html(200)]);
    let bench = world.bench().await;
    Promote.run(&bench.cx(), promote("dpl_1")).await.unwrap();
    assert_eq!((world.serving().as_str(), posts(&bench).len()), ("dpl_1", 4), "a page is no answer");

    let world = World::new().change(|state| state.looks = usize::MAX);
    let error = Promote.run(&world.bench().await.cx(), promote("dpl_1")).await.unwrap_err();
    let told = "after 3m, the promote to dpl_1 is not done";
    assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Timeout, told));
}

#[tokio::test]
async fn a_rolling_release_is_refused_before_anything_is_moved() {
    let world = World::new().with("rollingRelease", json!({ "target": "production" }));
    let bench = world.bench().await;
    let error = Promote.run(&bench.cx(), promote("dpl_1")).await.unwrap_err();
    assert!(error.kind == ErrorKind::Rejected && posts(&bench).is_empty(), "{error}");
}

#[tokio::test]
async fn a_probe_tells_what_became_of_it() {
    let world = World::new();
    let bench = world.bench().await;
    let none = Rollback.probe(&bench.cx(), back(json!({}))).await.unwrap();
    assert_eq!(none, Probed::DidNotHappen, "nothing was recorded, so nothing was sent");
    // The process died between the record and the request.
    let deadline = json!({ "to": "dpl_1" });
    world.0.lock().unwrap().refusals = vec![refused(403)];
    Rollback.run(&bench.cx(), back(deadline.clone())).await.unwrap_err();
    assert_eq!(Rollback.probe(&bench.again(), back(deadline.clone())).await.unwrap(), Probed::DidNotHappen);
    // It died while Vercel was at work: the probe sees that through.
    world.0.lock().unwrap().ask("dpl_1", "rollback", &json!({}));
    let probed = Rollback.probe(&bench.again(), back(deadline.clone())).await.unwrap();
    let output = VercelRollbackOutput { deployment: "dpl_1".into(), previous: Some("dpl_3".into()) };
    assert_eq!(probed, Probed::Happened(output));
    // And one that failed did not happen.
    world.0.lock().unwrap().ends = "failed";
    let bench = world.bench().await;
    Promote.run(&bench.cx(), promote("dpl_2")).await.unwrap_err();
    assert_eq!(Promote.probe(&bench.again(), promote("dpl_2")).await.unwrap(), Probed::DidNotHappen);
}

#[tokio::test]
async fn an_undo_goes_back_the_way_it_came() {
    let world = World::new();
    let bench = world.bench().await;
    Rollback.run(&bench.cx(), back(json!({ "to": "dpl_1" }))).await.unwrap();
    let done = || Done { output: None, checkpoint: bench.saved().pop() };
    bench.lines();
    let undone = Rollback.undo(&bench.cx(), back(json!({ "to": "dpl_1" })), done()).await.unwrap();
    assert_eq!((undone.summary.as_str(), undone.left.len()), ("dpl_3 serves again", 0));
    assert_eq!(posts(&bench), [format!("{PROMOTE}dpl_3")], "a promote, so that the project is not left rolled back");
    let again = Rollback.undo(&bench.cx(), back(json!({ "to": "dpl_1" })), done()).await.unwrap();
    assert_eq!(again.summary, "dpl_3 serves already");

    // A project that was rolled back before is so again.
    let world = World::new().with("lastRollbackTarget", json!({ "id": "dpl_3" }));
    let bench = world.bench().await;
    Promote.run(&bench.cx(), promote("dpl_2")).await.unwrap();
    let done = || Done { output: None, checkpoint: bench.saved().pop() };
    bench.lines();
    let undone = Promote.undo(&bench.cx(), promote("dpl_2"), done()).await.unwrap();
    assert_eq!((posts(&bench), undone.left.len()), (vec![format!("{ROLLBACK}dpl_3")], 1));

    // What somebody else did since is not undone.
    world.0.lock().unwrap().project["targets"]["production"]["id"] = json!("dpl_9");
    world.0.lock().unwrap().project["lastAliasRequest"] = Value::Null;
    let undone = Promote.undo(&bench.cx(), promote("dpl_2"), done()).await.unwrap();
    assert_eq!(
        (posts(&bench).len(), undone.left[0].as_str()),
        (0, "dpl_9 serves now, which this step did not put there")
    );

    let nothing =
        Rollback.undo(&Bench::new().cx(), back(json!({})), Done { output: None, checkpoint: None }).await.unwrap();
    assert_eq!(nothing.summary, "nothing had been moved");
}

#[tokio::test]
async fn every_fault_has_its_kind() {
    for (answer, kind) in faults() {
        let told = format!("{answer:?}");
        let one = answer.clone();
        let bench = Bench::with(move |_| one.clone()).await;
        let error = Promote.run(&bench.cx(), promote("dpl_1")).await.unwrap_err();
        assert_eq!((error.kind, bench.seen().len()), (kind, 1), "{told}");
        let bench = Bench::with(move |_| answer.clone()).await;
        let error = Rollback.run(&bench.cx(), back(json!({ "to": "dpl_1" }))).await.unwrap_err();
        assert_eq!((error.kind, bench.seen().len()), (kind, 1), "{told}");
    }
    let network = |error: ActionError| assert_eq!((error.kind, error.uncertain), (ErrorKind::Network, true));
    network(Promote.run(&Bench::hanging_up().await.cx(), promote("dpl_1")).await.unwrap_err());
    network(Rollback.run(&Bench::hanging_up().await.cx(), back(json!({}))).await.unwrap_err());
}

#[test]
fn they_say_what_they_will_do() {
    let url = "https://api.vercel.com/v10/projects/:project_id/promote/dpl_1?slug=acme";
    assert!(Promote.describe(&promote("dpl_1")).contains(&Intent::request_with("POST", url, json!({}))));
    let url = "https://api.vercel.com/v1/projects/:project_id/rollback/:previous_deployment?slug=acme";
    assert!(Rollback.describe(&back(json!({}))).contains(&Intent::request_with("POST", url, json!({}))));
}
