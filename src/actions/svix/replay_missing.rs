//! `svix.replay_missing`: sends what was never attempted.

use super::task::{SvixReplayOutput, SvixReplayParams};
use crate::action::{Action, ActionContext, ActionError, Effect, Intent, Need, Replay};

/// Has Svix send every message since a time that it never tried to send to this endpoint: those of the time in which the
/// endpoint was disabled, or was not there.
#[derive(Debug)]
pub struct ReplayMissing;

impl Action for ReplayMissing {
    const NAME: &'static str = "svix.replay_missing";
    const SUMMARY: &'static str = "Has Svix send the webhook messages that it never tried to send since a time.";
    const EFFECT: Effect = Effect::Write;
    const REPLAY: Replay = Replay::Keyed;
    const SECRETS: &'static [&'static str] = &["svix"];
    type Params = SvixReplayParams;
    type Output = SvixReplayOutput;

    async fn run(&self, cx: &ActionContext, params: SvixReplayParams) -> Result<SvixReplayOutput, ActionError> {
        params.carry_out(cx, "replay-missing", None).await
    }

    fn describe(&self, params: &SvixReplayParams) -> Vec<Intent> {
        params.describe("replay-missing", "sends what was never attempted in that time")
    }

    fn needs(&self, params: &SvixReplayParams) -> Vec<Need> {
        params.place().key_is_taken(&params.secret)
    }
}

#[cfg(test)]
mod tests {
    use super::super::task::tests::{every_fault_of_the_order, orders_once_and_waits, params};
    use super::*;
    use serde_json::json;

    #[tokio::test]
    async fn it_is_ordered_once_and_waited_for() {
        orders_once_and_waits(ReplayMissing, "replay-missing").await;
    }

    #[tokio::test]
    async fn every_fault_has_its_kind_and_is_asked_once() {
        every_fault_of_the_order(ReplayMissing).await;
        assert_eq!(ReplayMissing::REPLAY, Replay::Keyed);
    }

    #[test]
    fn says_what_it_will_do() {
        let intents = ReplayMissing.describe(&params(json!({ "region": "us" })));
        let url = "https://api.us.svix.com/api/v1/app/app_1/endpoint/ep_1/replay-missing";
        assert_eq!(intents[0], Intent::request_with("POST", url, json!({ "since": "2026-11-20T00:00:00Z" })));
    }
}
