//! Clerk's Backend API, as far as a runbook needs it: it knows its key, counts its users and changes nothing.

use serde_json::{Value, json};

use super::ask::{Answer, Ask, refusal};
use super::scenario::{Mode, StandIn};
use super::state::WorldState;

/// The key set that both of Clerk's APIs publish. The modulus is no real key.
pub(super) fn key_set() -> Value {
    json!({ "keys": [{ "use": "sig", "kty": "RSA", "kid": "ins_drill", "alg": "RS256", "n": "ZHJpbGw", "e": "AQAB" }] })
}

/// Answers a request.
pub(super) fn answer(ask: &Ask, world: &WorldState) -> Answer {
    let no = |status, code, message| refusal(StandIn::Clerk, status, code, message);
    let refused_key = world.mode(StandIn::Clerk) == Mode::KeyRefused;
    let known = world.scenario.secrets.get("clerk");
    match &ask.bearer {
        None => return no(401, "authentication_invalid", "A secret key is needed."),
        Some(bearer) if refused_key || Some(bearer) != known => {
            return no(401, "clerk_key_invalid", "The secret key is not valid.");
        }
        Some(_) => {}
    }
    match (ask.method.as_str(), ask.segments().as_slice()) {
        ("GET", ["v1", "jwks"]) => Answer::json(200, &key_set()),
        ("GET", ["v1", "instance"]) => Answer::json(
            200,
            &json!({
                "object": "instance",
                "id": "ins_drill",
                "environment_type": "production",
                "allowed_origins": [],
                "workspace_id": "ws_drill",
            }),
        ),
        ("GET", ["v1", "users", "count"]) => {
            Answer::json(200, &json!({ "object": "total_count", "total_count": 1203 }))
        }
        _ => no(404, "resource_not_found", "There is no such resource."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::scenario::tests::scenario;
    use std::sync::Arc;

    #[test]
    fn refuses_every_key_but_its_own() {
        let world = WorldState::new(Arc::new(scenario("world: { vercel: { project: shop } }\n")));
        let ask = |bearer: Option<&str>, path: &str| {
            let ask =
                Ask { method: "GET".into(), path: path.into(), bearer: bearer.map(str::to_owned), ..Ask::default() };
            let answer = answer(&ask, &world);
            let body: Value = serde_json::from_str(&answer.content).unwrap();
            (answer.status, body["errors"][0]["code"].as_str().unwrap_or_default().to_owned())
        };
        assert_eq!(ask(None, "/v1/jwks"), (401, "authentication_invalid".into()));
        assert_eq!(ask(Some("sk_test_other"), "/v1/jwks"), (401, "clerk_key_invalid".into()));
        assert_eq!(ask(Some("sk_test_drill"), "/v1/jwks"), (200, String::new()));
        assert_eq!(ask(Some("sk_test_drill"), "/v1/instance"), (200, String::new()));
        assert_eq!(ask(Some("sk_test_drill"), "/v1/users/count"), (200, String::new()));
        assert_eq!(ask(Some("sk_test_drill"), "/v1/nothing"), (404, "resource_not_found".into()));
    }
}
