//! `clerk.ping`: does the Backend API answer to our key?

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::sampling::{self, Tally};
use super::{backend, default_every, default_secret, default_timeout, key_is_taken, millis, once};
use crate::action::{Action, ActionContext, ActionError, Effect, ErrorKind, Intent, Need, Replay};
use crate::base::HumanDuration;

/// Asks the Backend API for its public keys: proves the key and the API, costs no rate limit, shows no person's data.
#[derive(Debug)]
pub struct Ping;

/// With which key to ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClerkPingParams {
    /// The name of the secret that holds the instance's secret key (`sk_live_…` or `sk_test_…`).
    #[serde(default = "default_secret")]
    pub secret: String,
    /// How often to ask, 1 to 50; what more than half of the answers say counts.
    #[serde(default = "once")]
    pub samples: u32,
    /// The pause between two questions. A longer `Retry-After` goes before it, up to 30 s.
    #[serde(default = "default_every")]
    pub every: HumanDuration,
    /// How long the exchange may take.
    #[serde(default = "default_timeout")]
    pub timeout: HumanDuration,
}

/// What the Backend API answered. When it does not, the step fails with the kind of the failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClerkPingOutput {
    /// Did it answer with at least one key?
    pub ok: bool,
    /// How many public keys the instance signs with.
    pub keys: u64,
    /// How long the last good exchange took, in milliseconds.
    pub elapsed_ms: u64,
    /// How often it was asked.
    #[serde(default = "once")]
    pub samples: u32,
    /// How many answers were good.
    #[serde(default)]
    pub good: u32,
}

impl Action for Ping {
    const NAME: &'static str = "clerk.ping";
    const SUMMARY: &'static str = "Asks whether Clerk's Backend API answers to our secret key.";
    const EFFECT: Effect = Effect::Read;
    const REPLAY: Replay = Replay::Safe;
    const SECRETS: &'static [&'static str] = &["clerk"];
    type Params = ClerkPingParams;
    type Output = ClerkPingOutput;

    async fn run(&self, cx: &ActionContext, params: ClerkPingParams) -> Result<ClerkPingOutput, ActionError> {
        sampling::check(params.samples)?;
        let key = cx.secret(&params.secret)?;
        let mut tally = Tally::default();
        let (mut answered, mut missed) = (None, None);
        for number in 1..=params.samples {
            let asked = match ask(cx, &key, params.timeout).await {
                Ok(output) => {
                    tally.good(output.elapsed_ms);
                    answered = Some(output);
                    None
                }
                Err(error) if error.kind == ErrorKind::Cancelled => return Err(error),
                Err(error) => {
                    tally.bad(error.kind);
                    let asked = error.retry_after();
                    missed = Some(error);
                    asked
                }
            };
            if number < params.samples {
                sampling::pause(cx, params.every.0, asked).await?;
            }
        }
        match (answered, missed, tally.usual_failure()) {
            (Some(output), _, _) if tally.good * 2 > params.samples => {
                Ok(ClerkPingOutput { samples: params.samples, good: tally.good, ..output })
            }
            (_, Some(mut error), Some(kind)) => {
                if params.samples > 1 {
                    error.message =
                        format!("{} of {} answers were good; {}", tally.good, params.samples, error.message);
                    error.kind = kind;
                }
                Err(error)
            }
            (_, _, _) => Err(ActionError::new(ErrorKind::Internal, "a look was neither good nor bad")),
        }
    }

    fn describe(&self, params: &ClerkPingParams) -> Vec<Intent> {
        vec![Intent::from(&backend("GET", "/jwks", params.timeout))]
    }

    fn needs(&self, params: &ClerkPingParams) -> Vec<Need> {
        vec![key_is_taken(&params.secret, params.timeout)]
    }
}

async fn ask(cx: &ActionContext, key: &str, timeout: HumanDuration) -> Result<ClerkPingOutput, ActionError> {
    let response = cx.send(backend("GET", "/jwks", timeout).bearer(key)).await?;
    let elapsed_ms = millis(response.elapsed);
    let answer = cx.json(&response)?;
    let Some(Value::Array(keys)) = answer.get("keys") else {
        return Err(ActionError::invalid_response(format!("{} answered without `keys`", response.url)));
    };
    let keys = u64::try_from(keys.len()).unwrap_or(u64::MAX);
    Ok(ClerkPingOutput { ok: keys > 0, keys, elapsed_ms, samples: 1, good: 1 })
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Answer, Bench, faults};
    use super::*;
    use serde_json::json;

    fn params(params: Value) -> ClerkPingParams {
        serde_json::from_value(params).unwrap()
    }

    #[tokio::test]
    async fn counts_the_keys() {
        let bench = Bench::with(|_| Answer::json(200, &json!({ "keys": [{ "kid": "a" }, { "kid": "b" }] }))).await;
        let output = Ping.run(&bench.cx(), params(json!({}))).await.unwrap();
        assert_eq!((output.ok, output.keys), (true, 2));
        let seen = bench.seen().remove(0);
        assert_eq!(seen.line(), "GET /v1/jwks");
        assert_eq!(seen.headers["authorization"], "Bearer sk_test_0123456789");
        assert_eq!(seen.headers["clerk-api-version"], "2026-05-12");
        assert_eq!(Ping.describe(&params(json!({}))), [Intent::request("GET", "https://api.clerk.com/v1/jwks")]);
    }

    #[tokio::test]
    async fn every_fault_has_its_kind() {
        for (answer, kind) in faults() {
            let told = format!("{answer:?}");
            let bench = Bench::with(move |_| answer.clone()).await;
            assert_eq!(Ping.run(&bench.cx(), params(json!({}))).await.unwrap_err().kind, kind, "{told}");
        }
        let bench = Bench::hanging_up().await;
        assert_eq!(Ping.run(&bench.cx(), params(json!({}))).await.unwrap_err().kind, ErrorKind::Network);
        let bench = Bench::with(|_| Answer::Never).await;
        let error = Ping.run(&bench.cx(), params(json!({ "timeout": "30ms" }))).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Timeout);
    }

    #[tokio::test]
    async fn what_most_answers_say_counts() {
        let keys = || Answer::json(200, &json!({ "keys": [{ "kid": "a" }] }));
        let three = json!({ "samples": 3 });
        let mut answers = vec![keys(), Answer::text(429, "").header("retry-after", "9"), keys()].into_iter();
        let bench = Bench::with(move |_| answers.next().unwrap()).await;
        let cx = bench.cx();
        let began = cx.now();
        let output = Ping.run(&cx, params(three.clone())).await.unwrap();
        assert_eq!((output.ok, output.samples, output.good), (true, 3, 2));
        assert_eq!(cx.now().duration_since(began).as_secs(), 2 + 9);
        let mut answers = vec![Answer::text(500, ""), Answer::text(429, ""), Answer::text(429, "")];
        let bench = Bench::with(move |_| answers.pop().unwrap()).await;
        let error = Ping.run(&bench.cx(), params(three)).await.unwrap_err();
        assert_eq!((error.kind, bench.seen().len()), (ErrorKind::RateLimited, 3));
        assert!(error.message.starts_with("0 of 3 answers were good; "), "{}", error.message);
    }

    #[tokio::test]
    async fn maintenance_keeps_its_code_and_the_edge_its_trace() {
        let body = json!({ "shortMessage": "System under maintenance", "code": "maintenance_mode" });
        let bench = Bench::with(move |_| Answer::json(503, &body).header("cf-ray", "8f0-AMS")).await;
        let error = Ping.run(&bench.cx(), params(json!({}))).await.unwrap_err();
        assert_eq!(
            (error.kind, error.code.as_deref(), error.trace.as_deref()),
            (ErrorKind::Server, Some("maintenance_mode"), Some("8f0-AMS"))
        );
    }

    #[tokio::test]
    async fn a_secret_that_cannot_be_had_fails_before_anything_is_sent() {
        let bench = Bench::with(|_| Answer::text(200, "")).await;
        let error = Ping.run(&bench.cx(), params(json!({ "secret": "other" }))).await.unwrap_err();
        assert_eq!((error.kind, bench.seen().len()), (ErrorKind::Secret, 0));
    }

    #[tokio::test]
    async fn a_cancelled_run_asks_nothing() {
        let bench = Bench::with(|_| Answer::Never).await;
        bench.cancel.cancel();
        assert_eq!(Ping.run(&bench.cx(), params(json!({}))).await.unwrap_err().kind, ErrorKind::Cancelled);
    }
}
