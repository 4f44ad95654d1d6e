//! What the vendors' files do not say, and a stand-in knows all the same.

use serde_json::json;

use crate::asking::StandIns;
use crate::judged;
use crate::vendors::Vendors;

const KEY: &str = "sk_test_case_0000000000000000";

fn clerk(setting: &str, timeline: &str) -> StandIns {
    StandIns::of(&format!(
        "scenario: clerk\ntitle: Clerk\nstarts: 2026-11-23T03:00:00Z\nsecrets: {{ clerk: {KEY} }}\n\
         stand_ins: {{ https://api.clerk.com: clerk }}\nworld: {{ clerk: {setting} }}\ntimeline: {timeline}\n"
    ))
}

#[test]
fn who_asks_clerk_too_often_is_told_how_long_to_wait() {
    let Some(vendors) = Vendors::load() else { return };
    let clerk = clerk("{ users: 20, requests_per_ten_seconds: 3 }", "[]");
    let statuses: Vec<u16> = (0..5).map(|_| clerk.ask("clerk", KEY, "GET /v1/users/count", "").status).collect();
    assert_eq!(statuses[..3], [200; 3]);
    let refused = clerk.ask("clerk", KEY, "GET /v1/users/count", "");
    assert_eq!(refused.status, 429, "{refused:?}");
    let wait: u64 = refused.head.split("retry-after: ").nth(1).unwrap().split("\r\n").next().unwrap().parse().unwrap();
    assert!((1..=10).contains(&wait), "whole seconds: {wait}");
    assert_eq!(clerk.ask("clerk", KEY, "GET /v1/jwks", "").status, 200, "the key set has no limit");
    judged(&vendors, &clerk.heard());
}

#[test]
fn sessions_are_listed_for_somebody_and_pending_ones_are_among_them() {
    let Some(vendors) = Vendors::load() else { return };
    let clerk = clerk("{ users: 20, sessions_per_user: 3, pending: 0.5 }", "[]");
    let ask = |query: &str| clerk.ask("clerk", KEY, &format!("GET /v1/sessions?{query}"), "");
    for refused in ["limit=5", "status=active"] {
        assert!(matches!(ask(refused).status, 400 | 422), "neither `user_id` nor `client_id`: {:?}", ask(refused));
    }
    let users = clerk.ask("clerk", KEY, "GET /v1/users?limit=20", "").body;
    let ids: Vec<&str> = users.as_array().unwrap().iter().map(|user| user["id"].as_str().unwrap()).collect();
    let states: Vec<String> = ids
        .iter()
        .flat_map(|id| ask(&format!("user_id={id}&limit=100")).body.as_array().unwrap().clone())
        .map(|session| session["status"].as_str().unwrap().to_owned())
        .collect();
    assert!(states.iter().any(|state| state == "pending") && states.iter().any(|state| state == "active"));
    let paged = ask(&format!("user_id={}&paginated=true", ids[0])).body;
    assert!(paged["data"].is_array() && paged["total_count"].is_u64(), "{paged}");
    // The filter is refused, so the request is wrong by the file, too: it is not held against it.
    assert_eq!(ask(&format!("user_id={}&status=pending", ids[0])).status, 422);
    let heard = clerk.heard();
    let (refused, good): (Vec<_>, Vec<_>) = heard.into_iter().partition(|exchange| {
        exchange.request.query.iter().any(|(name, value)| name == "status" && value == "pending" || name == "paginated")
    });
    judged(&vendors, &good);
    assert_eq!(refused.len(), 2);
}

#[test]
fn maintenance_lets_reads_through_and_speaks_in_another_shape() {
    let Some(vendors) = Vendors::load() else { return };
    let clerk = clerk("{ users: 20 }", "[{ at: 0s, clerk: maintenance }]");
    let users = clerk.ask("clerk", KEY, "GET /v1/users?limit=1", "");
    assert_eq!(users.status, 200);
    let id = users.body[0]["id"].as_str().unwrap();
    let refused = clerk.ask("clerk", KEY, &format!("POST /v1/users/{id}/lock"), "");
    assert_eq!((refused.status, &refused.body["code"]), (503, &json!("maintenance_mode")));
    assert_eq!(refused.body["errors"], json!(null));
    judged(&vendors, &clerk.heard());
}

#[test]
fn a_promotion_takes_an_empty_object_and_nothing_else() {
    let Some(vendors) = Vendors::load() else { return };
    let vercel = StandIns::of(
        "scenario: vercel\ntitle: Vercel\nstarts: 2026-11-23T03:00:00Z\nsecrets: { vercel: case_token_00000000 }\n\
         stand_ins: { https://api.vercel.com: vercel }\nworld: { vercel: { project: shop } }\n",
    );
    let promote = |body: &str| {
        let path = "POST /v10/projects/prj_drill_shop/promote/dpl_drill0001";
        vercel.ask("vercel", "case_token_00000000", path, body)
    };
    // It serves already: that is the answer to a request that is well formed.
    assert_eq!((promote("{}").status, promote("").status), (409, 409));
    assert_eq!(promote(r#"{"force":true}"#).status, 400);
    let mut heard = vercel.heard();
    heard.pop();
    judged(&vendors, &heard);
}
