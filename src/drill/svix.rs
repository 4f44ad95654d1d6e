//! Svix: the carrier of Clerk's webhooks.

use super::ask::{Answer, Ask, refusal};
use super::scenario::StandIn;
use super::state::WorldState;

/// Answers a request.
pub(super) fn answer(_ask: &Ask, _world: &WorldState) -> Answer {
    refusal(StandIn::Svix, 404, "not_found", "There is no such resource.")
}
