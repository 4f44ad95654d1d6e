//! `http.probe`: asks an address several times, and says how many answers were good and how long they took.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::sampling::{self, Latency, Tally};
use super::super::scalar::Scalar;
use super::{Expect, headers_note, prepared};
use crate::action::{Action, ActionContext, ActionError, Effect, ErrorKind, Intent, Replay, refusal};
use crate::base::HumanDuration;
use crate::http::{Request, Response};

/// Asks an address several times.
#[derive(Debug)]
pub struct HttpProbe;

/// What to ask, how often, and which answer is good.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HttpProbeParams {
    /// The address. Redirects are not followed: a redirect to a sign-in page is a finding, not a success.
    #[schemars(extend("examples" = ["https://app.example.com/health", "{{ inputs.app_url }}/health"]))]
    pub url: String,
    /// Query parameters to add. No secrets: addresses end up in logs.
    #[serde(default)]
    pub query: BTreeMap<String, Scalar>,
    /// Headers; may hold secrets.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// How often to ask, 1 to 50.
    #[serde(default = "default_samples")]
    pub samples: u32,
    /// The pause between two questions. A longer `Retry-After` goes before it, up to 30 s.
    #[serde(default = "default_every")]
    pub every: HumanDuration,
    /// How long one exchange may take.
    #[serde(default = "default_timeout")]
    pub timeout: HumanDuration,
    /// Which status is good; without it, any 2xx.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect: Option<Expect>,
    /// What the JSON of a good answer holds, by dotted path: `{ healthy: true, "checks.backend_api.ok": true }`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("examples" = [{ "healthy": true }]))]
    pub json: BTreeMap<String, Value>,
    /// How many answers must be good; more than half unless said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at_least: Option<u32>,
}

/// What was seen. A step that failed has it too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HttpProbeOutput {
    /// Were enough answers good?
    pub ok: bool,
    /// How often it was asked.
    pub samples: u32,
    /// How many answers were good.
    pub good: u32,
    /// Failures by their kind, such as `{ rate_limited: 2 }`.
    pub failures: BTreeMap<String, u32>,
    /// The answers by status, such as `{ "200": 3 }`.
    pub statuses: BTreeMap<String, u32>,
    /// The status of the last answer; `null` when none came.
    pub status: Option<u16>,
    /// How long the good answers took; `null` when there was none.
    pub latency_ms: Option<Latency>,
    /// Did anything answer at all?
    pub reachable: bool,
    /// What was wrong with the last answer that was not good.
    pub reason: Option<String>,
}

fn default_samples() -> u32 {
    3
}

fn default_every() -> HumanDuration {
    HumanDuration(Duration::from_secs(2))
}

fn default_timeout() -> HumanDuration {
    HumanDuration(Duration::from_secs(5))
}

impl HttpProbeParams {
    fn request(&self) -> Request {
        prepared("GET", &self.url, &self.query, &self.headers, self.timeout)
    }

    /// What is wrong with an answer; `None` when it is good.
    fn fault(&self, cx: &ActionContext, response: &Response) -> Option<ActionError> {
        let hoped =
            self.expect.as_ref().map_or(response.is_success(), |expect| expect.status.contains(response.status));
        if !hoped {
            return Some(refusal(response, cx.now()));
        }
        if self.json.is_empty() {
            return None;
        }
        let Some(body) = response.json() else {
            return Some(ActionError::invalid_response(format!("{} answered with no JSON", response.url)));
        };
        self.json.iter().find_map(|(path, wanted)| {
            let found = path.split('.').try_fold(&body, |value, key| match value {
                Value::Array(items) => items.get(key.parse::<usize>().ok()?),
                other => other.get(key),
            });
            let told = found.map_or("nothing".to_owned(), Value::to_string);
            (found != Some(wanted)).then(|| {
                let message = format!("{} says {told} for `{path}`; expected was {wanted}", response.url);
                ActionError::new(ErrorKind::Failed, message)
            })
        })
    }
}

impl Action for HttpProbe {
    const NAME: &'static str = "http.probe";
    const SUMMARY: &'static str = "Asks an address several times: how many answers are good, and how long they take.";
    const EFFECT: Effect = Effect::Read;
    const REPLAY: Replay = Replay::Safe;
    type Params = HttpProbeParams;
    type Output = HttpProbeOutput;

    async fn run(&self, cx: &ActionContext, params: HttpProbeParams) -> Result<HttpProbeOutput, ActionError> {
        sampling::check(params.samples)?;
        let at_least = params.at_least.unwrap_or(params.samples / 2 + 1);
        if at_least > params.samples {
            let message = format!("`at_least` is {at_least}, and only {} are asked for", params.samples);
            return Err(ActionError::invalid_params(message));
        }
        let mut tally = Tally::default();
        let mut statuses: BTreeMap<String, u32> = BTreeMap::new();
        let (mut last, mut worst): (Option<u16>, Option<ActionError>) = (None, None);
        for number in 1..=params.samples {
            let fault = match cx.send(params.request()).await {
                Ok(response) => {
                    *statuses.entry(response.status.to_string()).or_default() += 1;
                    last = Some(response.status);
                    let fault = params.fault(cx, &response);
                    if fault.is_none() {
                        tally.good(u64::try_from(response.elapsed.as_millis()).unwrap_or(u64::MAX));
                    }
                    fault
                }
                Err(error) if is_ours(error.kind) => return Err(error),
                Err(error) => {
                    last = None;
                    Some(error)
                }
            };
            let asked = fault.as_ref().and_then(ActionError::retry_after);
            if let Some(error) = fault {
                tally.bad(error.kind);
                worst = Some(error);
            }
            if number < params.samples {
                sampling::pause(cx, params.every.0, asked).await?;
            }
        }
        let output = HttpProbeOutput {
            ok: tally.good >= at_least,
            samples: params.samples,
            good: tally.good,
            failures: tally.by_kind(),
            reachable: !statuses.is_empty() || tally.kinds.contains_key(&ErrorKind::InvalidResponse),
            statuses,
            status: last,
            latency_ms: tally.latency(),
            reason: worst.as_ref().map(|error| error.message.clone()),
        };
        let (false, Some(mut error), Some(kind)) = (output.ok, worst, tally.usual_failure()) else {
            return Ok(output);
        };
        error.message = format!("{} of {} answers were good; {}", output.good, output.samples, error.message);
        error.kind = kind;
        // A question is never in doubt.
        error.uncertain = false;
        Err(error.with_outputs(&output))
    }

    fn describe(&self, params: &HttpProbeParams) -> Vec<Intent> {
        let often = Intent::note(format!("{} times, {} apart", params.samples, params.every));
        [Intent::from(&params.request()), often].into_iter().chain(headers_note(&params.headers)).collect()
    }
}

/// Failures that no other look can change.
fn is_ours(kind: ErrorKind) -> bool {
    !matches!(kind, ErrorKind::Timeout | ErrorKind::Network | ErrorKind::InvalidResponse)
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Answer, Bench, faults};
    use super::*;
    use serde_json::json;

    fn params(more: Value) -> HttpProbeParams {
        let mut params = json!({ "url": "https://app.example.com/health" });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(params).unwrap()
    }

    async fn saying(answers: Vec<Answer>) -> Bench {
        let mut answers = answers.into_iter();
        Bench::with(move |_| answers.next().unwrap_or(Answer::json(200, &json!({ "healthy": true })))).await
    }

    #[tokio::test]
    async fn one_bad_answer_of_three_is_no_outage() {
        let bench = saying(vec![Answer::text(500, "boom")]).await;
        let cx = bench.cx();
        let began = cx.now();
        let output = HttpProbe.run(&cx, params(json!({}))).await.unwrap();
        assert_eq!((output.ok, output.samples, output.good, output.status), (true, 3, 2, Some(200)));
        assert_eq!(json!(output.failures), json!({ "server": 1 }));
        assert_eq!(json!(output.statuses), json!({ "200": 2, "500": 1 }));
        assert!(output.latency_ms.is_some() && output.reason.unwrap().contains("boom"));
        assert_eq!(cx.now().duration_since(began).as_secs(), 4, "two pauses of two seconds");
    }

    #[tokio::test]
    async fn more_than_half_must_be_good_unless_said() {
        let two_bad = || vec![Answer::text(500, "boom"), Answer::text(500, "boom")];
        for (more, ok) in [
            (json!({}), false),
            (json!({ "samples": 4 }), false),
            (json!({ "samples": 5 }), true),
            (json!({ "at_least": 1 }), true),
            (json!({ "samples": 5, "at_least": 4 }), false),
        ] {
            let told = more.to_string();
            let probed = HttpProbe.run(&saying(two_bad()).await.cx(), params(more)).await;
            assert_eq!(probed.is_ok(), ok, "{told}");
        }
    }

    #[tokio::test]
    async fn the_failure_is_the_usual_one_and_tells_all_that_was_seen() {
        let bench = saying(vec![Answer::text(429, ""), Answer::text(429, ""), Answer::text(500, "boom")]).await;
        let error = HttpProbe.run(&bench.cx(), params(json!({}))).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::RateLimited);
        assert!(error.message.starts_with("0 of 3 answers were good; "), "{}", error.message);
        let outputs = error.outputs.unwrap();
        assert_eq!(outputs["failures"], json!({ "rate_limited": 2, "server": 1 }));
        assert_eq!(
            (&outputs["ok"], &outputs["reachable"], &outputs["latency_ms"]),
            (&json!(false), &json!(true), &Value::Null)
        );
    }

    #[tokio::test]
    async fn a_vendor_that_asks_for_patience_gets_it_up_to_half_a_minute() {
        for (retry_after, seconds) in [("7", 7), ("3600", 30), ("1", 2)] {
            let bench = saying(vec![Answer::text(429, "").header("retry-after", retry_after)]).await;
            let cx = bench.cx();
            let began = cx.now();
            HttpProbe.run(&cx, params(json!({ "samples": 2, "at_least": 1 }))).await.unwrap();
            assert_eq!(cx.now().duration_since(began).as_secs(), seconds);
        }
    }

    #[tokio::test]
    async fn the_json_must_hold_what_was_promised() {
        let body = json!({ "healthy": false, "checks": { "list": [{ "ok": true }] } });
        for (wanted, ok) in [
            (json!({ "healthy": false }), true),
            (json!({ "healthy": true }), false),
            (json!({ "checks.list.0.ok": true, "healthy": false }), true),
            (json!({ "checks.list.1.ok": true }), false),
            (json!({ "checks.none": null }), false),
        ] {
            let bench = Bench::with({
                let body = body.clone();
                move |_| Answer::json(200, &body)
            });
            let told = wanted.to_string();
            let probed = HttpProbe.run(&bench.await.cx(), params(json!({ "samples": 1, "json": wanted }))).await;
            assert_eq!(probed.as_ref().is_ok_and(|output| output.ok), ok, "{told}: {probed:?}");
        }
        let bench = Bench::with(|_| Answer::html(200)).await;
        let error = HttpProbe.run(&bench.cx(), params(json!({ "json": { "a": 1 } }))).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidResponse);
    }

    #[tokio::test]
    async fn every_fault_has_its_kind() {
        for (answer, kind) in faults().into_iter().filter(|(_, kind)| *kind != ErrorKind::InvalidResponse) {
            let bench = Bench::with(move |_| answer.clone()).await;
            let error = HttpProbe.run(&bench.cx(), params(json!({ "samples": 2 }))).await.unwrap_err();
            assert_eq!((error.kind, bench.seen().len()), (kind, 2));
        }
        let error = HttpProbe.run(&Bench::hanging_up().await.cx(), params(json!({}))).await.unwrap_err();
        assert_eq!((error.kind, error.uncertain), (ErrorKind::Network, false));
        assert_eq!(error.outputs.unwrap()["reachable"], json!(false));
        let bench = Bench::with(|_| Answer::Never).await;
        let error = HttpProbe.run(&bench.cx(), params(json!({ "timeout": "30ms", "samples": 1 }))).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Timeout);
    }

    #[tokio::test]
    async fn numbers_that_make_no_sense_send_nothing() {
        let bench = Bench::with(|_| Answer::text(200, "")).await;
        for wrong in [json!({ "samples": 0 }), json!({ "samples": 51 }), json!({ "samples": 2, "at_least": 3 })] {
            assert_eq!(HttpProbe.run(&bench.cx(), params(wrong)).await.unwrap_err().kind, ErrorKind::InvalidParams);
        }
        assert_eq!(bench.seen().len(), 0);
        let intents = HttpProbe.describe(&params(json!({})));
        assert_eq!(intents[0], Intent::request("GET", "https://app.example.com/health"));
        assert_eq!(intents[1], Intent::note("3 times, 2s apart"));
    }

    #[tokio::test]
    async fn a_cancelled_run_looks_no_further() {
        let bench = Bench::with(|_| Answer::text(200, "")).await;
        bench.cancel.cancel();
        let error = HttpProbe.run(&bench.cx(), params(json!({}))).await.unwrap_err();
        assert_eq!((error.kind, bench.seen().len()), (ErrorKind::Cancelled, 0));
    }
}
