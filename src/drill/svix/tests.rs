use std::sync::Arc;

use super::*;
use crate::base::HumanDuration;
use crate::base::clock::after;
use crate::drill::observed::WriteKind;
use crate::drill::scenario::tests::scenario_of;
use crate::drill::state::Asked;

const APP: &str = "/api/v1/app/app_drill0000000000000000000001";
const EP: &str = "ep_drill0000000000000000000001";
const SVIX: &str = r#"
scenario: test
title: A test
starts: 2026-03-18T09:00:00Z
secrets: { svix: testsk_drill.us }
stand_ins: { https://api.us.svix.com: svix }
"#;

/// Somebody who asks the stand-in, at a time.
struct Caller {
    world: WorldState,
    key: Option<String>,
    token: Option<String>,
}

impl Caller {
    fn new(more: &str) -> Self {
        let scenario = scenario_of(&format!("{SVIX}{more}"));
        Self { world: WorldState::new(Arc::new(scenario)), key: None, token: Some("testsk_drill.us".to_owned()) }
    }

    fn at(&mut self, since_start: &str) -> &mut Self {
        let to = after(self.world.scenario.starts, since_start.parse::<HumanDuration>().unwrap().0);
        self.world.advance(to);
        self
    }

    fn ask(&mut self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let query = query.split('&').filter_map(|pair| pair.split_once('='));
        let ask = Ask {
            method: method.to_owned(),
            path: path.to_owned(),
            query: query.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            bearer: self.token.clone(),
            idempotency_key: self.key.clone(),
            body: if body.is_null() { Carried::Nothing } else { Carried::Json(body) },
        };
        let mut answer = answer(&ask, &self.world);
        let asked = Asked {
            on: StandIn::Svix,
            method: ask.method,
            path: ask.path,
            status: Some(answer.status),
            why: None,
            changes: std::mem::take(&mut answer.changes),
        };
        // What a record holds must come to the same when it is read again.
        let asked: Asked = serde_json::from_value(serde_json::to_value(&asked).unwrap()).unwrap();
        let now = self.world.now;
        self.world.apply(now, &asked);
        (answer.status, serde_json::from_str(&answer.content).unwrap_or_default())
    }

    fn get(&mut self, path: &str) -> (u16, Value) {
        self.ask("GET", path, Value::Null)
    }

    /// Success, pending, sending, fail.
    fn stats(&mut self) -> [u64; 4] {
        let (status, stats) = self.get(&format!("{APP}/endpoint/{EP}/stats?since=2026-03-01T00:00:00Z"));
        assert_eq!(status, 200);
        ["success", "pending", "sending", "fail"].map(|key| stats[key].as_u64().unwrap())
    }

    fn order(&mut self, verb: &str, since: &str) -> (u16, Value) {
        self.ask("POST", &format!("{APP}/endpoint/{EP}/{verb}"), json!({ "since": since }))
    }

    fn enable(&mut self) {
        let (status, endpoint) = self.ask("PATCH", &format!("{APP}/endpoint/{EP}"), json!({ "disabled": false }));
        assert_eq!((status, &endpoint["disabled"]), (200, &json!(false)));
    }
}

/// Two hundred users, one every hour; failing for five days, disabled for two.
const DAYS: &str = "world:
  clerk: { users: 200, new_user_every: 1h }
  svix: { failing_for: 120h, disabled_for: 48h, batch: 10, batch_time: 5s, lost: 2 }
";

#[test]
fn what_failed_is_told_from_what_was_never_tried() {
    let mut svix = Caller::new(DAYS);
    // 200 users: 80 before it began to fail, 72 failed (two of them are gone), 48 never tried.
    assert_eq!(svix.stats(), [80, 0, 0, 70]);
    let (_, endpoint) = svix.get(&format!("{APP}/endpoint/{EP}"));
    assert_eq!((&endpoint["disabled"], &endpoint["updatedAt"]), (&json!(true), &json!("2026-03-16T09:00:00Z")));
    // Nothing can be sent to what is disabled.
    assert_eq!(svix.order("recover", "2026-03-10T00:00:00Z").0, 400);
    svix.enable();

    let (status, task) = svix.order("recover", "2026-03-10T00:00:00Z");
    assert_eq!((status, &task["status"], &task["task"]), (202, &json!("running"), &json!("endpoint.recover")));
    let task = format!("/api/v1/background-task/{}", task["id"].as_str().unwrap());
    assert_eq!(svix.at("12s").get(&task).1["data"]["messagesSent"], 20);
    assert_eq!(svix.stats(), [100, 0, 50, 50]);
    let (_, done) = svix.at("1m").get(&task);
    assert_eq!((&done["status"], &done["data"]["messagesSent"]), (&json!("finished"), &json!(70)));
    assert_eq!(svix.stats(), [150, 0, 0, 0]);

    let (_, task) = svix.order("replay-missing", "2026-03-10T00:00:00Z");
    let task = format!("/api/v1/background-task/{}", task["id"].as_str().unwrap());
    assert_eq!(svix.at("2m").get(&task).1["data"]["messagesSent"], 48);
    assert_eq!(svix.stats(), [198, 0, 0, 0]);
    let untold = crate::drill::Observed::of(&svix.world).users_untold;
    assert_eq!(untold, 2, "no replay brings what is gone");
    assert_eq!(svix.world.writes[&WriteKind::ReplayOrdered], 2);
}

#[test]
fn an_order_with_a_known_key_is_the_same_order() {
    let mut svix = Caller::new("world: { clerk: { users: 90 }, svix: { failing_for: 30m } }\n");
    svix.key = Some("run/recover".to_owned());
    let first = svix.order("recover", "2026-03-18T08:00:00Z");
    let second = svix.at("1s").order("recover", "2026-03-18T08:00:00Z");
    assert_eq!((first.0, &first.1["id"]), (second.0, &second.1["id"]));
    svix.key = Some("run/other".to_owned());
    assert_ne!(svix.order("recover", "2026-03-18T08:00:00Z").1["id"], first.1["id"]);
    assert_eq!(svix.world.writes[&WriteKind::ReplayOrdered], 2);

    svix.key = Some("run/one".to_owned());
    let resend = format!("{APP}/msg/msg_drill0000000000000000000085/endpoint/{EP}/resend");
    assert_eq!(svix.ask("POST", &resend, Value::Null), (202, json!({})));
    assert_eq!(svix.ask("POST", &resend, Value::Null).0, 202);
    assert_eq!(svix.world.writes[&WriteKind::MessageResent], 1);
    assert_eq!(svix.order("recover", "2026-03-18T08:00:00Z").0, 409, "the key was another request's");
}

#[test]
fn svix_tries_again_by_itself_and_what_is_sent_too_early_fails_again() {
    let mut svix = Caller::new("world: { clerk: { users: 60 }, svix: { failing_for: 10m, works_from: 20m } }\n");
    assert_eq!(svix.stats(), [50, 10, 0, 0]);
    // The receiver is not mended yet: a try fails like the others.
    let message = "msg_drill0000000000000000000058";
    let resend = format!("{APP}/msg/{message}/endpoint/{EP}/resend");
    assert_eq!(svix.ask("POST", &resend, Value::Null).0, 202);
    svix.at("5s");
    let failed = format!("{APP}/attempt/endpoint/{EP}?status=2&after=2026-03-18T09:00:00Z");
    let (_, attempts) = svix.get(&failed);
    let by_hand: Vec<_> = attempts["data"].as_array().unwrap().iter().filter(|row| row["triggerType"] == 1).collect();
    assert_eq!((by_hand.len(), &by_hand[0]["msgId"], &by_hand[0]["statusText"]), (1, &json!(message), &json!("fail")));
    // Five, thirty-five minutes after the first try: by then it works.
    assert_eq!(svix.at("40m").stats(), [60, 0, 0, 0]);
    let (_, attempts) = svix.get(&format!("{APP}/attempt/endpoint/{EP}?status=0&after=2026-03-18T09:00:00Z"));
    assert_eq!(attempts["data"].as_array().unwrap().len(), 10);
}

#[test]
fn lists_have_pages() {
    let mut svix = Caller::new("world: { svix: { others: 4 } }\n");
    let mut found = Vec::new();
    let mut path = format!("{APP}/endpoint?limit=2");
    loop {
        let (status, page) = svix.get(&path);
        assert_eq!(status, 200);
        found.extend(page["data"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap().to_owned()));
        if page["done"] == true {
            break;
        }
        path = format!("{APP}/endpoint?limit=2&iterator={}", page["iterator"].as_str().unwrap());
    }
    assert_eq!(found.len(), 5);
    assert!(found.iter().all(|id| id.len() == 30), "{found:?}");
}

#[test]
fn it_refuses_what_svix_refuses_in_its_shapes() {
    let mut svix = Caller::new(DAYS);
    svix.enable();
    let endpoint = format!("{APP}/endpoint/{EP}");
    for (method, path, body, status, told) in [
        ("POST", format!("{endpoint}/recover"), json!({ "since": "yesterday" }), 422, "/detail/0/msg"),
        ("POST", format!("{endpoint}/recover"), json!({ "since": 1_741_600_000 }), 422, "/detail/0/msg"),
        ("POST", format!("{endpoint}/recover"), json!({}), 422, "/detail/0/msg"),
        ("POST", format!("{endpoint}/recover"), Value::Null, 422, "/detail/0/msg"),
        ("POST", format!("{endpoint}/recover"), json!({ "since": "2026-03-04T08:54:59Z" }), 422, "/detail/0/msg"),
        (
            "POST",
            format!("{endpoint}/replay-missing"),
            json!({ "since": "2026-03-19T00:00:00Z" }),
            422,
            "/detail/0/msg",
        ),
        ("PATCH", endpoint.clone(), json!({ "disabled": "no" }), 422, "/detail/0/msg"),
        ("GET", format!("{APP}/endpoint?limit=251"), Value::Null, 422, "/detail/0/msg"),
        ("GET", format!("{APP}/endpoint?iterator=ep_other"), Value::Null, 422, "/detail/0/msg"),
        ("GET", format!("{endpoint}/stats?since=yesterday"), Value::Null, 422, "/detail/0/msg"),
        ("GET", format!("{APP}/attempt/endpoint/{EP}?status=9"), Value::Null, 422, "/detail/0/msg"),
        ("GET", format!("{APP}/endpoint/ep_other"), Value::Null, 404, "/code"),
        ("GET", "/api/v1/app/app_other/endpoint".to_owned(), Value::Null, 404, "/code"),
        ("GET", "/api/v1/background-task/qtask_drill0000000000000000000009".to_owned(), Value::Null, 404, "/code"),
        ("POST", format!("{APP}/msg/msg_other/endpoint/{EP}/resend"), Value::Null, 404, "/code"),
        ("DELETE", endpoint.clone(), Value::Null, 404, "/code"),
    ] {
        let (found, body) = svix.ask(method, &path, body);
        assert_eq!(found, status, "{method} {path}");
        assert!(body.pointer(told).is_some_and(Value::is_string), "{method} {path}: {body}");
    }
    assert_eq!(svix.order("recover", "2026-03-04T08:55:00Z").0, 202, "fourteen days and five minutes");
    for token in [None, Some("testsk_other.us".to_owned())] {
        svix.token = token;
        let (status, body) = svix.get(&endpoint);
        assert_eq!((status, &body["code"]), (401, &json!("authentication_failed")));
    }
    let mut svix = Caller::new("timeline: [{ at: 0s, svix: key_refused }]\n");
    assert_eq!(svix.get(&endpoint).0, 401);
    let mut svix = Caller::new("world: { svix: { tasks_readable: false } }\n");
    assert_eq!(svix.get("/api/v1/background-task/qtask_drill0000000000000000000001").0, 403);
}
