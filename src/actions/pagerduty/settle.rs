//! `pagerduty.acknowledge` and `pagerduty.resolve`: what becomes of an alert.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{PagerdutyAlertOutput, Region, default_secret, default_timeout, event, key, sent};
use crate::action::{Action, ActionContext, ActionError, Effect, Intent, Replay};
use crate::base::HumanDuration;
use crate::base::secret::reference;
use crate::http::Request;

/// Says that somebody is at it.
#[derive(Debug)]
pub struct Acknowledge;

/// Says that it is over.
#[derive(Debug)]
pub struct Resolve;

/// Which alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PagerdutySettleParams {
    /// The alert's key; the run's id unless said, which is the alert that `pagerduty.trigger` opens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedup_key: Option<String>,
    /// Where the account is.
    #[serde(default)]
    pub region: Region,
    /// The name of the secret that holds the integration's routing key.
    #[serde(default = "default_secret")]
    pub secret: String,
    /// How long the exchange may take.
    #[serde(default = "default_timeout")]
    pub timeout: HumanDuration,
}

impl PagerdutySettleParams {
    fn request(&self, action: &str, routing_key: &str, dedup_key: &str) -> Request {
        let body = json!({ "routing_key": routing_key, "event_action": action, "dedup_key": dedup_key });
        event(self.region, "enqueue", body, self.timeout)
    }

    async fn settle(&self, cx: &ActionContext, action: &str) -> Result<PagerdutyAlertOutput, ActionError> {
        let key = key(cx, self.dedup_key.as_ref())?;
        let answer = sent(cx, self.request(action, &cx.secret(&self.secret)?, &key)).await?;
        let status = answer.get("status").and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(PagerdutyAlertOutput { dedup_key: key, status })
    }

    fn intents(&self, action: &str) -> Vec<Intent> {
        let key = self.dedup_key.as_deref().unwrap_or("the run's id");
        vec![Intent::from(&self.request(action, &reference(&self.secret), key))]
    }
}

impl Action for Acknowledge {
    const NAME: &'static str = "pagerduty.acknowledge";
    const SUMMARY: &'static str = "Says at PagerDuty that somebody is at the alert.";
    const EFFECT: Effect = Effect::Write;
    const REPLAY: Replay = Replay::Keyed;
    const SECRETS: &'static [&'static str] = &["pagerduty"];
    type Params = PagerdutySettleParams;
    type Output = PagerdutyAlertOutput;

    async fn run(
        &self,
        cx: &ActionContext,
        params: PagerdutySettleParams,
    ) -> Result<PagerdutyAlertOutput, ActionError> {
        params.settle(cx, "acknowledge").await
    }

    fn describe(&self, params: &PagerdutySettleParams) -> Vec<Intent> {
        params.intents("acknowledge")
    }
}

impl Action for Resolve {
    const NAME: &'static str = "pagerduty.resolve";
    const SUMMARY: &'static str = "Says at PagerDuty that the alert is over.";
    const EFFECT: Effect = Effect::Write;
    const REPLAY: Replay = Replay::Keyed;
    const SECRETS: &'static [&'static str] = &["pagerduty"];
    type Params = PagerdutySettleParams;
    type Output = PagerdutyAlertOutput;

    async fn run(
        &self,
        cx: &ActionContext,
        params: PagerdutySettleParams,
    ) -> Result<PagerdutyAlertOutput, ActionError> {
        params.settle(cx, "resolve").await
    }

    fn describe(&self, params: &PagerdutySettleParams) -> Vec<Intent> {
        params.intents("resolve")
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Answer, Bench, faults};
    use super::*;
    use crate::action::ErrorKind;

    fn params(params: Value) -> PagerdutySettleParams {
        serde_json::from_value(params).unwrap()
    }

    #[tokio::test]
    async fn the_alert_is_the_one_of_this_run_unless_another_is_named() {
        for (named, key) in [(json!({}), "20261123-030000-test"), (json!({ "dedup_key": "other" }), "other")] {
            let bench = Bench::with(|_| Answer::json(202, &json!({ "status": "success" }))).await;
            Acknowledge.run(&bench.cx(), params(named.clone())).await.unwrap();
            let output = Resolve.run(&bench.cx(), params(named)).await.unwrap();
            assert_eq!((output.dedup_key.as_str(), output.status.as_str()), (key, "success"));
            let told: Vec<_> = bench.seen().into_iter().map(|seen| (seen.line(), seen.body)).collect();
            let body = |action: &str| json!({ "routing_key": "0123456789abcdef0123456789abcdef", "event_action": action, "dedup_key": key });
            let line = "POST /v2/enqueue".to_owned();
            assert_eq!(told, [(line.clone(), body("acknowledge")), (line, body("resolve"))]);
        }
    }

    #[tokio::test]
    async fn every_fault_has_its_kind() {
        for (answer, kind) in faults() {
            let told = format!("{answer:?}");
            let bench = Bench::with(move |_| answer.clone()).await;
            assert_eq!(Resolve.run(&bench.cx(), params(json!({}))).await.unwrap_err().kind, kind, "{told}");
        }
        let error = Acknowledge.run(&Bench::hanging_up().await.cx(), params(json!({}))).await.unwrap_err();
        assert_eq!((error.kind, error.uncertain), (ErrorKind::Network, true));
    }
}
