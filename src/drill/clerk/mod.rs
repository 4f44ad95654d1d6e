//! Clerk's Backend API: whose key it is, how often it may be asked, and who answers.

mod filter;
mod keys;
mod numbers;
mod people;
mod population;
mod setting;

pub use keys::KeysByHand;
pub(super) use keys::{KeyChange, Keys};
pub(super) use people::user_id;
pub(super) use population::{Change, Flow, Population};
pub use setting::{ClerkEnvironment, ClerkSetting};

use serde_json::{Value, json};

use super::ask::{Answer, Ask, refusal};
use super::observed::Why;
use super::scenario::{Mode, StandIn};
use super::state::WorldState;

/// Asking for the keys costs nothing.
const FREE: &str = "/v1/jwks";

/// The key set that both of Clerk's APIs publish. The modulus is no real key.
pub(super) fn key_set() -> Value {
    json!({ "keys": [{ "use": "sig", "kty": "RSA", "kid": "ins_drill", "alg": "RS256", "n": "ZHJpbGw", "e": "AQAB" }] })
}

/// Answers a request.
pub(super) fn answer(ask: &Ask, world: &WorldState) -> Answer {
    if keys::is_platform(&ask.path) {
        return keys::platform(ask, world);
    }
    if let Some(refused) = keys::refused(ask, world, world.mode(StandIn::Clerk) == Mode::KeyRefused) {
        return refused;
    }
    let key = ask.bearer.as_deref().unwrap_or_default();
    if ask.path != FREE
        && let Some(seconds) = world.people.throttled_for(key, world.now)
    {
        let answer = no(429, "too_many_requests", "Too many requests. Please try again in a bit.");
        return answer.header("retry-after", seconds.to_string()).because(Why::Granted);
    }
    match (ask.method.as_str(), ask.segments().as_slice()) {
        ("GET", ["v1", "jwks"]) => Answer::json(200, &key_set()),
        ("GET", ["v1", "instance"]) => Answer::json(
            200,
            &json!({
                "object": "instance",
                "id": world.people.setting.instance,
                "environment_type": world.people.setting.environment.word(),
                "allowed_origins": [],
                "workspace_id": "ws_drill",
            }),
        ),
        ("POST", ["v1", "webhooks", "svix_url"]) => keys::svix_url(world),
        _ => people::answer(ask, world).unwrap_or_else(|| no(404, "resource_not_found", "There is no such resource.")),
    }
}

/// Does this request count against the instance's limit?
pub(super) fn is_counted(path: &str, status: Option<u16>) -> bool {
    path != FREE && !keys::is_platform(path) && status.is_some_and(|status| status != 429)
}

/// A refusal in Clerk's shape.
fn no(status: u16, code: &str, message: &str) -> Answer {
    refusal(StandIn::Clerk, status, code, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::scenario::tests::scenario;
    use crate::drill::state::Asked;
    use std::sync::Arc;

    fn ask(bearer: Option<&str>, path: &str) -> Ask {
        Ask { method: "GET".into(), path: path.into(), bearer: bearer.map(str::to_owned), ..Ask::default() }
    }

    #[test]
    fn refuses_every_key_but_its_own() {
        let world = WorldState::new(Arc::new(scenario("world: { vercel: { project: shop } }\n")));
        let ask = |bearer: Option<&str>, path: &str| {
            let answer = answer(&ask(bearer, path), &world);
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

    #[test]
    fn all_requests_share_the_limit_and_asking_for_the_keys_is_free() {
        let more = "world: { vercel: { project: shop }, clerk: { requests_per_ten_seconds: 3 } }\n";
        let mut world = WorldState::new(Arc::new(scenario(more)));
        let mut told = Vec::new();
        for path in
            ["/v1/jwks", "/v1/users/count", "/v1/jwks", "/v1/instance", "/v1/jwt_templates", "/v1/users", "/v1/jwks"]
        {
            let answer = answer(&ask(Some("sk_test_drill"), path), &world);
            told.push(answer.status);
            let asked = Asked {
                on: StandIn::Clerk,
                method: "GET".into(),
                path: path.into(),
                status: Some(answer.status),
                why: answer.why,
                changes: Vec::new(),
            };
            let now = world.now;
            world.apply(now, &asked);
        }
        assert_eq!(told, [200, 200, 200, 200, 200, 429, 200]);
    }
}
