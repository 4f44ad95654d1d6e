//! The stand-in asked without any network in between.

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
        let more =
            format!("world: {{ vercel: {{ project: shop, team: {team}, environment: {{ CLERK_JWT_KEY: pem }} }} }}\n");
        Self(WorldState::new(Arc::new(scenario(&more))))
    }

    /// A project of no team, set up further.
    fn set_up(more: &str) -> Self {
        Self(WorldState::new(Arc::new(scenario(&format!("world: {{ vercel: {{ project: shop, {more} }} }}\n")))))
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
            idempotency_key: None,
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
    assert_eq!(desk.0.vercel.rows[&id].value, "5");
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
    let (_, events) = desk.ask("GET", "/v3/deployments/dpl_drill0004/events?direction=backward&limit=1", Value::Null);
    assert_eq!(events[0]["payload"]["text"], json!("The deployment was cancelled"));
}

#[test]
fn variables_of_others_and_sensitive_ones_are_what_they_are() {
    let mut desk = Desk::set_up(
        "variables: [{ key: S, value: hidden, type: sensitive }, { key: M, value: m, integration: icfg_1 }, \
         { key: B, value: b, target: [preview], branch: next }]",
    );
    let (_, list) = desk.ask("GET", "/v10/projects/shop/env", Value::Null);
    assert_eq!(list["envs"][0]["type"], json!("sensitive"));
    assert_eq!(list["envs"][1]["configurationId"], json!("icfg_1"));
    assert_eq!(list["envs"][2]["gitBranch"], json!("next"));
    let (_, one) = desk.ask("GET", "/v1/projects/shop/env/env_drill0001", Value::Null);
    assert!(!one.to_string().contains("hidden"), "nobody reads it: {one}");
    let change = json!({ "value": "x" });
    assert_eq!(desk.ask("PATCH", "/v9/projects/shop/env/env_drill0002", change).0, 403);
    assert_eq!(desk.ask("DELETE", "/v9/projects/shop/env/env_drill0002", Value::Null).0, 403);
    let upsert = json!([{ "key": "M", "value": "x", "type": "plain", "target": ["production"] }]);
    let (_, answer) = desk.ask("POST", "/v10/projects/shop/env?upsert=true", upsert);
    assert_eq!(answer["failed"][0]["error"]["code"], json!("FORBIDDEN"));
    let beside = json!({ "key": "B", "value": "x", "type": "plain", "target": ["preview"] });
    assert_eq!(desk.ask("POST", "/v10/projects/shop/env", beside).0, 201, "a branch's row is another one");
}

#[test]
fn a_team_may_keep_everything_sensitive() {
    let mut desk = Desk::set_up("force_sensitive: true, env_list: list");
    let row = |target: &str| json!({ "key": "A", "value": "1", "type": "encrypted", "target": [target] });
    let (_, answer) = desk.ask("POST", "/v10/projects/shop/env?upsert=true", row("production"));
    assert_eq!(answer["created"]["type"], json!("sensitive"));
    let (_, answer) = desk.ask("POST", "/v10/projects/shop/env?upsert=true", row("development"));
    assert_eq!(answer["created"]["type"], json!("encrypted"), "development takes none");
    let (_, list) = desk.ask("GET", "/v10/projects/shop/env", Value::Null);
    assert!(list["envs"].is_array() && list.get("pagination").is_none());
}

#[test]
fn a_single_variable_may_be_listed_as_itself() {
    let mut desk = Desk::set_up("env_list: single, environment: { A: one }");
    assert_eq!(desk.ask("GET", "/v10/projects/shop/env", Value::Null).1["key"], json!("A"));
}

#[test]
fn the_hobby_plan_goes_back_one_step_and_no_further() {
    let mut desk = Desk::set_up("plan: hobby, history: [{ ago: 3d }, { ago: 2d }, { ago: 1d }]");
    let (status, answer) = desk.ask("POST", "/v1/projects/shop/rollback/dpl_drill0001", json!({}));
    assert_eq!((status, &answer["error"]["code"]), (402, &json!("payment_required")));
    assert_eq!(desk.ask("POST", "/v1/projects/shop/rollback/dpl_drill0002", json!({})).0, 201);
}

#[test]
fn a_rolling_release_is_told_and_completed() {
    let mut desk = Desk::set_up("rolling_release: true");
    assert!(!desk.ask("GET", "/v9/projects/shop", Value::Null).1["rollingRelease"].is_null());
    desk.ask("POST", "/v13/deployments?forceNew=1", redeploy());
    desk.wait(60);
    let (_, rolling) = desk.ask("GET", "/v13/deployments/dpl_drill0002", Value::Null);
    assert_eq!((&rolling["readyState"], &rolling["readySubstate"]), (&json!("READY"), &json!("ROLLING")));
    assert_ne!(rolling["aliasAssigned"], json!(false));
    assert_eq!(desk.ask("POST", "/v10/projects/shop/promote/dpl_drill0002", json!({})).0, 202);
    let complete = "/v1/projects/shop/rolling-release/complete";
    assert_eq!(desk.ask("POST", complete, json!({ "canaryDeploymentId": "dpl_drill0001" })).0, 409);
    assert_eq!(desk.ask("POST", complete, json!({ "canaryDeploymentId": "dpl_drill0002" })).0, 200);
    desk.wait(30);
    assert_eq!(desk.0.vercel.serving().unwrap().id, "dpl_drill0002");
}

#[test]
fn an_endpoint_that_is_asked_too_often_says_when_to_come_back() {
    let mut desk = Desk::set_up("limits: [{ request: GET /v9/projects/*, requests: 2, within: 60s }]");
    let ask = |desk: &mut Desk| desk.ask("GET", "/v9/projects/shop", Value::Null);
    assert_eq!((ask(&mut desk).0, ask(&mut desk).0), (200, 200));
    desk.wait(20);
    let (status, answer) = ask(&mut desk);
    assert_eq!((status, &answer["error"]["code"]), (429, &json!("rate_limited")));
    assert_eq!((&answer["error"]["limit"]["remaining"], &answer["error"]["limit"]["total"]), (&json!(0), &json!(2)));
    assert_eq!(desk.ask("GET", "/v10/projects/shop/env", Value::Null).0, 200, "the others are as before");
    desk.wait(41);
    assert_eq!(ask(&mut desk).0, 200);
}

#[test]
fn an_edge_config_is_read_and_changed_item_by_item() {
    let mut desk = Desk::set_up("edge_config: { id: ecfg_1, items: { flag: false } }");
    let set = |operation: &str, key: &str| json!({ "items": [{ "operation": operation, "key": key, "value": true }] });
    assert_eq!(desk.ask("PATCH", "/v1/edge-config/ecfg_2/items", set("upsert", "flag")).0, 404);
    assert_eq!(desk.ask("PATCH", "/v1/edge-config/ecfg_1/items", set("create", "flag")).0, 409);
    assert_eq!(desk.ask("PATCH", "/v1/edge-config/ecfg_1/items", set("put", "flag")).0, 400);
    assert_eq!(desk.ask("PATCH", "/v1/edge-config/ecfg_1/items", json!({ "items": [] })).0, 400);
    assert_eq!(desk.ask("PATCH", "/v1/edge-config/ecfg_1/items", set("upsert", "flag")).0, 200);
    assert_eq!(desk.ask("GET", "/v1/edge-config/ecfg_1/item/flag", Value::Null).1["value"], json!(true));
    assert_eq!(desk.ask("GET", "/v1/edge-config/ecfg_1/item/other", Value::Null).0, 404);
    assert_eq!(desk.0.left_standing()[0].to_string(), "item `flag` of the Edge Config was changed");
    assert_eq!(desk.ask("PATCH", "/v1/edge-config/ecfg_1/items", set("delete", "flag")).0, 200);
    assert_eq!(desk.ask("GET", "/v1/edge-config/ecfg_1/items", Value::Null).1, json!([]));
}

#[test]
fn a_null_in_an_edge_config_is_a_value_that_a_record_keeps() {
    let mut desk = Desk::set_up("edge_config: { id: ecfg_1 }");
    let items = json!({ "items": [{ "operation": "upsert", "key": "until", "value": null }] });
    assert_eq!(desk.ask("PATCH", "/v1/edge-config/ecfg_1/items", items).0, 200);
    let change = Change::EdgeConfigSet { set: [("until".to_owned(), Value::Null)].into(), removed: Vec::new() };
    let line = serde_json::to_string(&change).unwrap();
    assert_eq!(serde_json::from_str::<Change>(&line).unwrap(), change, "{line}");
    assert_eq!(desk.ask("GET", "/v1/edge-config/ecfg_1/item/until", Value::Null).1["value"], Value::Null);
    assert_eq!(desk.0.left_standing().len(), 1);
}

#[test]
fn the_log_of_a_past_build_says_what_it_said() {
    let mut desk = Desk::set_up("history: [{ ago: 2d }, { ago: 1h, ends: ERROR, log: [matcher changed] }]");
    let (_, events) = desk.ask("GET", "/v3/deployments/dpl_drill0002/events?limit=100", Value::Null);
    let lines: Vec<&str> =
        events.as_array().unwrap().iter().filter_map(|row| row["payload"]["text"].as_str()).collect();
    assert!(lines.contains(&"matcher changed") && lines.last().unwrap().starts_with("Error"), "{lines:?}");
    assert_eq!(desk.0.vercel.serving().unwrap().id, "dpl_drill0001");
}
