//! Every operation of the files, asked of the stand-in that plays it.

use std::collections::BTreeSet;

use crate::asking::StandIns;
use crate::judged;
use crate::vendors::Vendors;

const CLERK: &str = "sk_test_case_0000000000000000";
const VERCEL: &str = "case_vercel_token_0000";

const SCENARIO: &str = "
scenario: operations
title: Everything is there
starts: 2026-11-23T03:00:00Z
secrets: { clerk: sk_test_case_0000000000000000, vercel: case_vercel_token_0000 }
stand_ins: { https://api.clerk.com: clerk, https://api.vercel.com: vercel, https://shop.example.com: app }
world:
  clerk: { users: 40, sessions_per_user: 3, pending: 0.3, old_sessions_per_user: 2, banned: 2, without_password: 0.5, jwt_templates: { hasura: 10m } }
  vercel: { project: shop, environment: { FLAGS: \"on\" } }
  app: { project: shop }
";

/// Operations that no stand-in plays, and why.
const UNPLAYED: [(&str, &str); 2] = [
    ("clerk-backend: POST /users/{user_id}/remove_password", "no action removes a password: it cannot be put back"),
    ("clerk-backend: PATCH /instance/restrictions", "no action changes who may sign up"),
];

#[test]
fn every_operation_of_clerk_and_vercel_is_answered_as_declared() {
    let Some(vendors) = Vendors::load() else { return };
    let stand_ins = StandIns::of(SCENARIO);
    let clerk = |request: &str, body: &str| stand_ins.ask("clerk", CLERK, request, body);
    let users = clerk("GET /v1/users?limit=5&order_by=%2Bcreated_at", "").body;
    let user = |at: usize| users[at]["id"].as_str().unwrap().to_owned();
    let (first, second) = (user(0), user(1));
    let session =
        clerk(&format!("GET /v1/sessions?user_id={first}&limit=20"), "").body[0]["id"].as_str().unwrap().to_owned();
    let pair = format!(r#"{{"user_ids":["{first}","{second}"]}}"#);
    for (request, body) in [
        (format!("GET /v1/users?limit=3&starting_after={first}&order_by=%2Bcreated_at&banned=false"), ""),
        (format!("GET /v1/users?user_id={first}&user_id={second}"), ""),
        ("GET /v1/users/count?last_sign_in_at_after=1700000000000".to_owned(), ""),
        (format!("GET /v1/users/{first}"), ""),
        ("GET /v1/users/user_nobody".to_owned(), ""),
        (format!("GET /v1/sessions?user_id={first}&status=active&offset=1"), ""),
        (format!("GET /v1/sessions/{session}"), ""),
        ("GET /v1/sessions/sess_nothing".to_owned(), ""),
        (format!("POST /v1/sessions/{session}/revoke"), ""),
        (format!("POST /v1/users/{first}/ban"), ""),
        (format!("POST /v1/users/{first}/unban"), ""),
        ("POST /v1/users/ban".to_owned(), pair.as_str()),
        ("POST /v1/users/unban".to_owned(), pair.as_str()),
        (format!("POST /v1/users/{second}/lock"), ""),
        (format!("POST /v1/users/{second}/unlock"), ""),
        (format!("POST /v1/users/{first}/password/set_compromised"), r#"{"revoke_all_sessions":true}"#),
        (format!("POST /v1/users/{}/password/set_compromised", user(2)), r#"{"revoke_all_sessions":true}"#),
        ("GET /v1/jwks".to_owned(), ""),
        ("GET /v1/jwt_templates".to_owned(), ""),
        ("GET /v1/instance".to_owned(), ""),
        ("POST /v1/webhooks/svix_url".to_owned(), ""),
    ] {
        clerk(&request, body);
    }
    let vercel = |request: &str, body: &str| stand_ins.ask("vercel", VERCEL, request, body);
    let row = r#"{"key":"A","value":"1","type":"encrypted","target":["production"],"comment":"for the test"}"#;
    let made = vercel("POST /v10/projects/shop/env", row).body["created"]["id"].as_str().unwrap().to_owned();
    let many = format!("[{row},{}]", row.replace("\"A\"", "\"B\"").replace("encrypted", "sensitive"));
    let again = r#"{"name":"shop","deploymentId":"dpl_drill0001","target":"production","meta":{"action":"redeploy"}}"#;
    let next = vercel("POST /v13/deployments?forceNew=1", again).body["id"].as_str().unwrap().to_owned();
    for (request, body) in [
        ("GET /v2/user".to_owned(), ""),
        ("GET /v9/projects/shop".to_owned(), ""),
        ("GET /v10/projects/shop/env".to_owned(), ""),
        (format!("GET /v1/projects/shop/env/{made}"), ""),
        ("POST /v10/projects/shop/env?upsert=true".to_owned(), many.as_str()),
        ("POST /v10/projects/shop/env".to_owned(), row),
        (format!("PATCH /v9/projects/shop/env/{made}"), r#"{"value":"2","comment":"changed"}"#),
        (format!("DELETE /v9/projects/shop/env/{made}"), ""),
        ("DELETE /v1/projects/shop/env".to_owned(), r#"{"ids":["env_drill0001"]}"#),
        ("GET /v6/deployments?projectId=prj_drill_shop&target=production&state=READY,ERROR&limit=5".to_owned(), ""),
        ("GET /v7/deployments?projectId=prj_drill_shop&rollbackCandidate=true&since=1&limit=5".to_owned(), ""),
        (format!("GET /v13/deployments/{next}"), ""),
        ("GET /v13/deployments/dpl_drill0001".to_owned(), ""),
        ("GET /v13/deployments/dpl_nothing".to_owned(), ""),
        (format!("GET /v3/deployments/{next}/events?direction=backward&limit=10&builds=1"), ""),
        (format!("PATCH /v12/deployments/{next}/cancel"), ""),
        ("GET /v2/deployments/dpl_drill0001/aliases".to_owned(), ""),
        ("GET /v1/projects/prj_drill_shop/promote/aliases?failedOnly=true&limit=5".to_owned(), ""),
        ("GET /v1/projects/prj_drill_shop/promote/aliases".to_owned(), ""),
        ("POST /v10/projects/prj_drill_shop/promote/dpl_drill0001".to_owned(), "{}"),
        ("POST /v1/projects/prj_drill_shop/rollback/dpl_drill0001?description=test".to_owned(), "{}"),
    ] {
        vercel(&request, body);
    }
    // Whoever has no key is refused in the vendor's own shape.
    stand_ins.ask("clerk", "sk_test_wrong", "GET /v1/instance", "");
    stand_ins.ask("vercel", "wrong", "GET /v2/user", "");
    let seen = judged(&vendors, &stand_ins.heard());
    let unplayed: BTreeSet<&str> = UNPLAYED.iter().map(|(operation, _)| *operation).collect();
    let mut asked_for_nothing = Vec::new();
    for file in ["clerk-backend", "vercel"] {
        for operation in vendors.contract(file).operations() {
            let name = format!("{file}: {operation}");
            if !seen.contains_key(&name) && !unplayed.contains(name.as_str()) {
                asked_for_nothing.push(name);
            }
        }
    }
    assert!(asked_for_nothing.is_empty(), "these operations were not asked for: {asked_for_nothing:#?}");
}
