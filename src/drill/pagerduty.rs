//! PagerDuty's Events API.

use super::ask::{Answer, Ask, refusal};
use super::scenario::StandIn;
use super::state::WorldState;

/// Answers a request.
pub(super) fn answer(_ask: &Ask, _world: &WorldState) -> Answer {
    refusal(StandIn::Pagerduty, 404, "not_found", "There is no such resource.")
}
