//! `svix.recover`: sends again what failed and never arrived.

use std::time::Duration;

use super::task::{SvixReplayOutput, SvixReplayParams};
use crate::action::{Action, ActionContext, ActionError, Effect, Intent, Need, Replay};

/// How long a stretch Svix's server takes. Source: `recover` in its own server's code.
const LONGEST: Duration = Duration::from_secs(14 * 86_400);

/// Has Svix resend every message that failed since a time and was never delivered. The endpoint must take messages again.
#[derive(Debug)]
pub struct Recover;

impl Action for Recover {
    const NAME: &'static str = "svix.recover";
    const SUMMARY: &'static str = "Has Svix resend the webhook messages that failed since a time.";
    const EFFECT: Effect = Effect::Write;
    const REPLAY: Replay = Replay::Keyed;
    const SECRETS: &'static [&'static str] = &["svix"];
    type Params = SvixReplayParams;
    type Output = SvixReplayOutput;

    async fn run(&self, cx: &ActionContext, params: SvixReplayParams) -> Result<SvixReplayOutput, ActionError> {
        params.carry_out(cx, "recover", Some(LONGEST)).await
    }

    fn describe(&self, params: &SvixReplayParams) -> Vec<Intent> {
        params.describe("recover", "resends what failed in that time and was never delivered")
    }

    fn needs(&self, params: &SvixReplayParams) -> Vec<Need> {
        params.place().key_is_taken(&params.secret)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::Bench;
    use super::super::task::tests::{every_fault_of_the_order, orders_once_and_waits, params};
    use super::*;
    use crate::action::ErrorKind;
    use serde_json::json;

    #[tokio::test]
    async fn it_is_ordered_once_and_waited_for() {
        orders_once_and_waits(Recover, "recover").await;
    }

    #[tokio::test]
    async fn every_fault_has_its_kind_and_is_asked_once() {
        every_fault_of_the_order(Recover).await;
        assert_eq!(Recover::REPLAY, Replay::Keyed);
    }

    #[tokio::test]
    async fn more_than_two_weeks_at_once_are_refused_before_anything_is_sent() {
        // It is 2026-11-23T03:00:00Z there.
        let error =
            Recover.run(&Bench::new().cx(), params(json!({ "since": "2026-11-09T02:59:59Z" }))).await.unwrap_err();
        assert!(
            error.kind == ErrorKind::InvalidParams
                && error.message.contains("14d")
                && error.message.contains("`until`"),
            "{error}"
        );
        // One second less gets as far as the address, which has no stand-in here.
        let error =
            Recover.run(&Bench::new().cx(), params(json!({ "since": "2026-11-09T03:00:00Z" }))).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Rejected);
    }

    #[test]
    fn says_what_it_will_do() {
        let intents = Recover.describe(&params(json!({ "region": "us" })));
        let url = "https://api.us.svix.com/api/v1/app/app_1/endpoint/ep_1/recover";
        assert_eq!(intents[0], Intent::request_with("POST", url, json!({ "since": "2026-11-20T00:00:00Z" })));
    }
}
