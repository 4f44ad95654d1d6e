//! `pagerduty.trigger`: opens an alert, or adds to the one that this run has opened.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Link, PagerdutyAlertOutput, Region, default_secret, default_timeout, event, key, sent};
use crate::action::{Action, ActionContext, ActionError, Effect, Intent, Replay};
use crate::base::HumanDuration;
use crate::base::secret::reference;
use crate::http::Request;

/// Longer summaries are refused.
const LONGEST_SUMMARY: usize = 1024;

/// Opens an alert.
#[derive(Debug)]
pub struct Trigger;

/// How bad it is, in PagerDuty's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Everything is down.
    Critical,
    /// Something is broken.
    #[default]
    Error,
    /// Something is going to be.
    Warning,
    /// For the record.
    Info,
}

/// What the alert says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PagerdutyTriggerParams {
    /// One sentence, at most 1024 characters: the title of the alert.
    pub summary: String,
    /// What is affected: a host, a service, an address.
    pub source: String,
    /// How bad it is.
    #[serde(default)]
    pub severity: Severity,
    /// The alert's key; the run's id unless said. Events with one key are about one alert.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dedup_key: Option<String>,
    /// Which part of the source it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// Which group of things it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// What kind of event it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
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

impl PagerdutyTriggerParams {
    fn request(&self, routing_key: &str, dedup_key: &str) -> Request {
        let mut payload = json!({ "summary": self.summary, "source": self.source, "severity": self.severity });
        for (name, value) in [("component", &self.component), ("group", &self.group), ("class", &self.class)] {
            if let Some(value) = value {
                payload[name] = value.as_str().into();
            }
        }
        if !self.details.is_empty() {
            payload["custom_details"] = self.details.clone().into();
        }
        let mut body = json!({
            "routing_key": routing_key,
            "event_action": "trigger",
            "dedup_key": dedup_key,
            "client": "runbook",
            "payload": payload,
        });
        if !self.links.is_empty() {
            body["links"] = json!(self.links);
        }
        event(self.region, "enqueue", body, self.timeout)
    }

    fn check(&self) -> Result<(), ActionError> {
        if self.summary.trim().is_empty() || self.source.trim().is_empty() {
            return Err(ActionError::invalid_params("an alert needs a `summary` and a `source`"));
        }
        if self.summary.chars().count() > LONGEST_SUMMARY {
            return Err(ActionError::invalid_params(format!("`summary` is longer than {LONGEST_SUMMARY} characters")));
        }
        Ok(())
    }
}

impl Action for Trigger {
    const NAME: &'static str = "pagerduty.trigger";
    const SUMMARY: &'static str = "Opens an alert at PagerDuty, or adds to the one this run has opened.";
    const EFFECT: Effect = Effect::Write;
    const REPLAY: Replay = Replay::Keyed;
    const SECRETS: &'static [&'static str] = &["pagerduty"];
    type Params = PagerdutyTriggerParams;
    type Output = PagerdutyAlertOutput;

    async fn run(
        &self,
        cx: &ActionContext,
        params: PagerdutyTriggerParams,
    ) -> Result<PagerdutyAlertOutput, ActionError> {
        params.check()?;
        let key = key(cx, params.dedup_key.as_ref())?;
        let answer = sent(cx, params.request(&cx.secret(&params.secret)?, &key)).await?;
        let text = |name: &str| answer.get(name).and_then(Value::as_str).map(str::to_owned);
        Ok(PagerdutyAlertOutput {
            dedup_key: text("dedup_key").unwrap_or(key),
            status: text("status").unwrap_or_default(),
        })
    }

    fn describe(&self, params: &PagerdutyTriggerParams) -> Vec<Intent> {
        let key = params.dedup_key.as_deref().unwrap_or("the run's id");
        vec![Intent::from(&params.request(&reference(&params.secret), key))]
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Answer, Bench, faults};
    use super::*;
    use crate::action::ErrorKind;

    fn params(more: Value) -> PagerdutyTriggerParams {
        let mut params = json!({ "summary": "Sign-in is down", "source": "shop" });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(params).unwrap()
    }

    fn accepted() -> Answer {
        let body = json!({ "status": "success", "message": "Event processed", "dedup_key": "20261123-030000-test" });
        Answer::json(202, &body)
    }

    #[tokio::test]
    async fn one_alert_for_one_run() {
        let bench = Bench::with(|_| accepted()).await;
        let more = json!({
            "severity": "critical", "component": "sign-in", "details": { "category": "clerk-outage" },
            "links": [{ "href": "https://status.example.com", "text": "Status" }],
        });
        let output = Trigger.run(&bench.cx(), params(more.clone())).await.unwrap();
        assert_eq!((output.dedup_key.as_str(), output.status.as_str()), ("20261123-030000-test", "success"));
        let seen = bench.seen().remove(0);
        assert_eq!(seen.line(), "POST /v2/enqueue");
        assert_eq!(
            seen.body,
            json!({
                "routing_key": "0123456789abcdef0123456789abcdef",
                "event_action": "trigger",
                "dedup_key": "20261123-030000-test",
                "client": "runbook",
                "payload": {
                    "summary": "Sign-in is down", "source": "shop", "severity": "critical", "component": "sign-in",
                    "custom_details": { "category": "clerk-outage" },
                },
                "links": [{ "href": "https://status.example.com", "text": "Status" }],
            })
        );
        let [Intent::Request { url, body: Some(body), .. }] = &Trigger.describe(&params(more))[..] else {
            panic!("one request")
        };
        assert_eq!(url, "https://events.pagerduty.com/v2/enqueue");
        assert_eq!(
            (&body["routing_key"], &body["dedup_key"]),
            (&json!(reference("pagerduty")), &json!("the run's id"))
        );
    }

    #[tokio::test]
    async fn an_account_in_europe_is_asked_there() {
        let url = |region: &str| {
            let intents = Trigger.describe(&params(json!({ "region": region, "dedup_key": "k" })));
            let [Intent::Request { url, .. }] = &intents[..] else { panic!("one request") };
            url.clone()
        };
        assert_eq!(url("eu"), "https://events.eu.pagerduty.com/v2/enqueue");
        assert_eq!(url("us"), "https://events.pagerduty.com/v2/enqueue");
    }

    #[tokio::test]
    async fn what_the_vendor_finds_wrong_is_told_without_the_key() {
        let body = json!({ "status": "invalid event", "message": "Event object is invalid", "errors": ["'severity' is invalid"] });
        let bench = Bench::with(move |_| Answer::json(400, &body)).await;
        let error = Trigger.run(&bench.cx(), params(json!({}))).await.unwrap_err();
        assert_eq!((error.kind, error.uncertain), (ErrorKind::Rejected, false));
        assert!(error.message.ends_with("Event object is invalid ('severity' is invalid)"), "{}", error.message);
        assert!(!error.message.contains("0123456789abcdef"));
    }

    #[tokio::test]
    async fn every_fault_has_its_kind_and_one_request() {
        for (answer, kind) in faults() {
            let told = format!("{answer:?}");
            let bench = Bench::with(move |_| answer.clone()).await;
            let error = Trigger.run(&bench.cx(), params(json!({}))).await.unwrap_err();
            assert_eq!((error.kind, bench.seen().len()), (kind, 1), "{told}");
        }
        let error = Trigger.run(&Bench::hanging_up().await.cx(), params(json!({}))).await.unwrap_err();
        assert_eq!((error.kind, error.uncertain), (ErrorKind::Network, true));
        let bench = Bench::with(|_| Answer::Never).await;
        let error = Trigger.run(&bench.cx(), params(json!({ "timeout": "30ms" }))).await.unwrap_err();
        assert_eq!((error.kind, error.uncertain), (ErrorKind::Timeout, true));
    }

    #[tokio::test]
    async fn what_the_vendor_would_refuse_is_not_sent() {
        let bench = Bench::with(|_| accepted()).await;
        for wrong in [
            json!({ "summary": " " }),
            json!({ "source": "" }),
            json!({ "summary": "x".repeat(1025) }),
            json!({ "dedup_key": "" }),
            json!({ "dedup_key": "x".repeat(256) }),
        ] {
            assert_eq!(Trigger.run(&bench.cx(), params(wrong)).await.unwrap_err().kind, ErrorKind::InvalidParams);
        }
        let error = Trigger.run(&bench.cx(), params(json!({ "secret": "other" }))).await.unwrap_err();
        assert_eq!((error.kind, bench.seen().len()), (ErrorKind::Secret, 0));
    }
}
