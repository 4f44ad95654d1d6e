//! Clerk's Frontend API: the host that browsers talk to when they sign in.

use serde_json::json;

use super::ask::{Answer, Ask, refusal};
use super::clerk::key_set;
use super::observed::Why;
use super::scenario::{Mode, StandIn};
use super::state::WorldState;

/// Answers a request.
pub(super) fn answer(ask: &Ask, world: &WorldState) -> Answer {
    let maintenance = world.mode(StandIn::ClerkFrontend) == Mode::Maintenance;
    match (ask.method.as_str(), ask.segments().as_slice()) {
        ("GET", ["v1", "health"]) => Answer::json(200, &json!({ "status": "healthy" })),
        ("GET", ["v1", "environment"]) => {
            Answer::json(200, &json!({ "object": "environment", "maintenance_mode": maintenance }))
        }
        // No browser is signed in here, so there is no session to refresh. That it says so shows that it could.
        ("POST", ["v1", "client", "sessions", _, "tokens"]) => {
            refusal(StandIn::ClerkFrontend, 401, "authentication_invalid", "There is no such session.")
                .because(Why::Mode)
        }
        ("GET", [".well-known", "jwks.json"]) => Answer::json(200, &key_set()),
        _ => refusal(StandIn::ClerkFrontend, 404, "resource_not_found", "There is no such resource."),
    }
}
