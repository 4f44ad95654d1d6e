//! `pagerduty.change`: notes a change beside the alerts, and wakes nobody.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Link, Region, default_secret, default_timeout, event, sent};
use crate::action::{Action, ActionContext, ActionError, Effect, Intent, Replay};
use crate::base::HumanDuration;
use crate::base::secret::reference;
use crate::http::Request;

/// Notes a change.
#[derive(Debug)]
pub struct Change;

/// What was changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PagerdutyChangeParams {
    /// One sentence: `the sign-in bypass is open`.
    pub summary: String,
    /// Where it was changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// Anything else that helps, by name.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub details: Map<String, Value>,
    /// Pages to read on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
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

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PagerdutyChangeOutput {
    /// PagerDuty's word, `success`.
    pub status: String,
}

impl PagerdutyChangeParams {
    fn request(&self, routing_key: &str) -> Request {
        let mut payload = json!({ "summary": self.summary });
        if let Some(source) = &self.source {
            payload["source"] = source.as_str().into();
        }
        if !self.details.is_empty() {
            payload["custom_details"] = self.details.clone().into();
        }
        let mut body = json!({ "routing_key": routing_key, "payload": payload });
        if !self.links.is_empty() {
            body["links"] = json!(self.links);
        }
        event(self.region, "change/enqueue", body, self.timeout)
    }
}

impl Action for Change {
    const NAME: &'static str = "pagerduty.change";
    const SUMMARY: &'static str = "Notes a change at PagerDuty, beside the alerts; wakes nobody.";
    const EFFECT: Effect = Effect::Write;
    // A note that stands there twice harms nobody; one that is missing might.
    const REPLAY: Replay = Replay::Safe;
    const SECRETS: &'static [&'static str] = &["pagerduty"];
    type Params = PagerdutyChangeParams;
    type Output = PagerdutyChangeOutput;

    async fn run(
        &self,
        cx: &ActionContext,
        params: PagerdutyChangeParams,
    ) -> Result<PagerdutyChangeOutput, ActionError> {
        if params.summary.trim().is_empty() {
            return Err(ActionError::invalid_params("a change needs a `summary`"));
        }
        let answer = sent(cx, params.request(&cx.secret(&params.secret)?)).await?;
        let status = answer.get("status").and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(PagerdutyChangeOutput { status })
    }

    fn describe(&self, params: &PagerdutyChangeParams) -> Vec<Intent> {
        vec![Intent::from(&params.request(&reference(&params.secret)))]
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Answer, Bench, faults};
    use super::*;
    use crate::action::ErrorKind;

    fn params(params: Value) -> PagerdutyChangeParams {
        serde_json::from_value(params).unwrap()
    }

    #[tokio::test]
    async fn a_change_goes_where_it_wakes_nobody() {
        let bench = Bench::with(|_| Answer::json(202, &json!({ "status": "success" }))).await;
        let with = json!({ "summary": "bypass is open", "source": "shop", "details": { "until": "04:00" } });
        assert_eq!(Change.run(&bench.cx(), params(with)).await.unwrap().status, "success");
        let seen = bench.seen().remove(0);
        assert_eq!(seen.line(), "POST /v2/change/enqueue");
        let payload = json!({ "summary": "bypass is open", "source": "shop", "custom_details": { "until": "04:00" } });
        assert_eq!(seen.body, json!({ "routing_key": "0123456789abcdef0123456789abcdef", "payload": payload }));
        let error = Change.run(&bench.cx(), params(json!({ "summary": "" }))).await.unwrap_err();
        assert_eq!((error.kind, bench.seen().len()), (ErrorKind::InvalidParams, 1));
    }

    #[tokio::test]
    async fn every_fault_has_its_kind() {
        for (answer, kind) in faults() {
            let told = format!("{answer:?}");
            let bench = Bench::with(move |_| answer.clone()).await;
            let error = Change.run(&bench.cx(), params(json!({ "summary": "x" }))).await.unwrap_err();
            assert_eq!((error.kind, bench.seen().len()), (kind, 1), "{told}");
        }
    }
}
