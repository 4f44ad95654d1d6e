//! `svix.resend`: sends one message once more, to see whether the endpoint takes it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Place, Svix, SvixRegion, check_id, default_secret, default_timeout};
use crate::action::{Action, ActionContext, ActionError, Effect, Intent, Need, Replay};
use crate::base::{HumanDuration, Timestamp};
use crate::http::path_segment;

/// Has one message sent once more. Svix takes the order; whether it arrived is a question for `svix.attempts`.
#[derive(Debug)]
pub struct Resend;

/// Which message, where to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SvixResendParams {
    /// The application, by id (`app_…`) or uid.
    pub app: String,
    /// The endpoint, by id (`ep_…`) or uid.
    pub endpoint: String,
    /// The message, by id (`msg_…`).
    pub message: String,
    /// Where the account lives; the key's ending tells it, unless it is an old one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<SvixRegion>,
    /// The name of the secret that holds a key of Svix.
    #[serde(default = "default_secret")]
    pub secret: String,
    /// How long the exchange may take.
    #[serde(default = "default_timeout")]
    pub timeout: HumanDuration,
}

/// What was ordered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SvixResendOutput {
    /// The message.
    pub message: String,
    /// When it was asked for, by the clock of the run.
    #[schemars(with = "String")]
    pub asked_at: Timestamp,
}

impl SvixResendParams {
    fn place(&self) -> Place<'_> {
        Place { app: &self.app, region: self.region, timeout: self.timeout }
    }

    fn path(&self) -> String {
        let segment = |id: &str| path_segment(id).unwrap_or_default();
        format!("/msg/{}/endpoint/{}/resend", segment(&self.message), segment(&self.endpoint))
    }
}

impl Action for Resend {
    const NAME: &'static str = "svix.resend";
    const SUMMARY: &'static str = "Has Svix send one webhook message once more.";
    const EFFECT: Effect = Effect::Write;
    const REPLAY: Replay = Replay::Keyed;
    const SECRETS: &'static [&'static str] = &["svix"];
    type Params = SvixResendParams;
    type Output = SvixResendOutput;

    async fn run(&self, cx: &ActionContext, params: SvixResendParams) -> Result<SvixResendOutput, ActionError> {
        check_id("endpoint", &params.endpoint)?;
        check_id("message", &params.message)?;
        let svix = Svix::new(cx, params.place(), &params.secret)?;
        let asked_at = cx.now();
        cx.call(svix.creating(&params.path())).await?;
        Ok(SvixResendOutput { message: params.message, asked_at })
    }

    fn describe(&self, params: &SvixResendParams) -> Vec<Intent> {
        vec![Intent::from(&params.place().shown("POST", &params.path()))]
    }

    fn needs(&self, params: &SvixResendParams) -> Vec<Need> {
        params.place().key_is_taken(&params.secret)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Answer, Bench, faults};
    use super::*;
    use crate::action::ErrorKind;
    use serde_json::json;

    fn params(timeout: &str) -> SvixResendParams {
        let with = json!({ "app": "app_1", "endpoint": "ep_1", "message": "msg_1", "timeout": timeout });
        serde_json::from_value(with).unwrap()
    }

    #[tokio::test]
    async fn every_try_has_the_same_key() {
        let bench = Bench::with(|_| Answer::json(202, &json!({}))).await;
        Resend.run(&bench.cx(), params("5s")).await.unwrap();
        Resend.run(&bench.again(), params("5s")).await.unwrap();
        for seen in bench.seen() {
            assert_eq!(seen.line(), "POST /api/v1/app/app_1/msg/msg_1/endpoint/ep_1/resend");
            assert_eq!(seen.headers["idempotency-key"], "20261123-030000-test/the_step");
            assert!(!seen.headers.contains_key("content-type"));
        }
        assert_eq!(bench.lines().len(), 2);
    }

    #[tokio::test]
    async fn every_fault_has_its_kind_and_is_asked_once() {
        for (answer, kind) in faults() {
            // Any JSON will do here: Svix promises an empty object.
            let told = format!("{answer:?}");
            let bench = Bench::with(move |_| answer.clone()).await;
            match Resend.run(&bench.cx(), params("5s")).await {
                Ok(_) => assert_eq!(kind, ErrorKind::InvalidResponse, "{told}"),
                Err(error) => assert_eq!(error.kind, kind, "{told}"),
            }
            assert_eq!(bench.lines().len(), 1);
        }
        let error = Resend.run(&Bench::hanging_up().await.cx(), params("5s")).await.unwrap_err();
        assert_eq!((error.kind, error.uncertain), (ErrorKind::Network, true));
        let error = Resend.run(&Bench::with(|_| Answer::Never).await.cx(), params("30ms")).await.unwrap_err();
        assert_eq!((error.kind, error.uncertain), (ErrorKind::Timeout, true));
        assert_eq!(Resend::REPLAY, Replay::Keyed);
    }
}
