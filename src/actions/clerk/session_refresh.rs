//! `clerk.session_refresh`: do the sessions of people who are signed in live on? Sign-in may be down while they do.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::sampling;
use super::{default_every, default_timeout, is_host, millis, once};
use crate::action::{Action, ActionContext, ActionError, Effect, ErrorKind, Intent, Replay, refusal};
use crate::base::HumanDuration;
use crate::http::Request;

/// Asks the Frontend API for a token of a session that does not exist. One that says so could refresh those that do; a
/// broken one says something else. Nothing is changed by it, although it is a `POST`.
///
/// That an unknown session is refused as the caller's mistake (a 4xx with a reason), also by a fail-over for sessions alone,
/// is inferred from the Frontend API's own specification; no account was asked.
#[derive(Debug)]
pub struct SessionRefresh;

/// Whom to ask, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClerkSessionRefreshParams {
    /// The instance's Frontend API host, such as `clerk.example.com`.
    #[schemars(extend("examples" = ["clerk.example.com"]))]
    pub host: String,
    /// How often to ask, 1 to 50; what more than half of the answers say counts.
    #[serde(default = "once")]
    pub samples: u32,
    /// The pause between two questions. A longer `Retry-After` goes before it, up to 30 s.
    #[serde(default = "default_every")]
    pub every: HumanDuration,
    /// How long one exchange may take.
    #[serde(default = "default_timeout")]
    pub timeout: HumanDuration,
}

/// Whether sessions are refreshed. That they are not is a finding, not a failed step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClerkSessionRefreshOutput {
    /// Would a session be refreshed?
    pub works: bool,
    /// How often it was asked.
    pub samples: u32,
    /// How many answers were as they should be.
    pub good: u32,
    /// The status of the last answer; `null` when none came.
    pub status: Option<u16>,
    /// How long the last good exchange took, in milliseconds; `null` when there was none.
    pub elapsed_ms: Option<u64>,
    /// What is wrong, in words; `null` when nothing is.
    pub reason: Option<String>,
}

impl ClerkSessionRefreshParams {
    fn request(&self) -> Request {
        let address = format!("https://{}/v1/client/sessions/sess_runbook_probe/tokens", self.host);
        Request::new("POST", address).timeout(self.timeout.0)
    }
}

impl Action for SessionRefresh {
    const NAME: &'static str = "clerk.session_refresh";
    const SUMMARY: &'static str = "Asks whether the sessions of people who are signed in would be refreshed.";
    const EFFECT: Effect = Effect::Read;
    const REPLAY: Replay = Replay::Safe;
    type Params = ClerkSessionRefreshParams;
    type Output = ClerkSessionRefreshOutput;

    async fn run(
        &self,
        cx: &ActionContext,
        params: ClerkSessionRefreshParams,
    ) -> Result<ClerkSessionRefreshOutput, ActionError> {
        if !is_host(&params.host) {
            let reason = format!("`{}` is not a host; write for example `clerk.example.com`", params.host);
            return Err(ActionError::invalid_params(reason));
        }
        sampling::check(params.samples)?;
        let mut output = ClerkSessionRefreshOutput {
            works: false,
            samples: params.samples,
            good: 0,
            status: None,
            elapsed_ms: None,
            reason: None,
        };
        for number in 1..=params.samples {
            let mut asked = None;
            match cx.send(params.request()).await {
                Ok(response) => {
                    output.status = Some(response.status);
                    // It knows its sessions: this one is none of them, or there is nobody to give a token to.
                    let refused = matches!(response.status, 400..=407 | 409..=428 | 430..=499);
                    if refused && response.json().is_some() {
                        output.good += 1;
                        output.elapsed_ms = Some(millis(response.elapsed));
                    } else {
                        let error = refusal(&response, cx.now());
                        asked = error.retry_after();
                        output.reason = Some(error.message);
                    }
                }
                Err(error) => match error.kind {
                    ErrorKind::Timeout | ErrorKind::Network | ErrorKind::InvalidResponse => {
                        output.status = None;
                        output.reason = Some(error.message);
                    }
                    _ => return Err(error),
                },
            }
            if number < params.samples {
                sampling::pause(cx, params.every.0, asked).await?;
            }
        }
        output.works = output.good * 2 > params.samples;
        Ok(output)
    }

    fn describe(&self, params: &ClerkSessionRefreshParams) -> Vec<Intent> {
        vec![Intent::from(&params.request()), Intent::note("a session that does not exist: nothing is changed")]
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Answer, Bench, faults};
    use super::*;
    use serde_json::{Value, json};

    fn params(more: Value) -> ClerkSessionRefreshParams {
        let mut params = json!({ "host": "clerk.example.com" });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(params).unwrap()
    }

    fn unknown(status: u16) -> Answer {
        Answer::json(status, &json!({ "errors": [{ "code": "resource_not_found" }] }))
    }

    #[tokio::test]
    async fn an_api_that_knows_no_such_session_would_refresh_others() {
        for status in [400, 401, 403, 404, 422] {
            let bench = Bench::with(move |_| unknown(status)).await;
            let output = SessionRefresh.run(&bench.cx(), params(json!({}))).await.unwrap();
            assert_eq!((output.works, output.status, output.reason), (true, Some(status), None));
            assert_eq!(bench.lines(), ["POST /v1/client/sessions/sess_runbook_probe/tokens"]);
        }
        let bench = Bench::with(|_| Answer::html(404)).await;
        let output = SessionRefresh.run(&bench.cx(), params(json!({}))).await.unwrap();
        assert!(!output.works, "a page of somebody else's says nothing about sessions");
    }

    #[tokio::test]
    async fn every_other_answer_is_a_finding() {
        for (answer, _) in faults() {
            let told = format!("{answer:?}");
            if [401, 403, 409].iter().any(|status| told.contains(&format!("status: {status}"))) {
                continue;
            }
            let bench = Bench::with(move |_| answer.clone()).await;
            let output = SessionRefresh.run(&bench.cx(), params(json!({}))).await.unwrap();
            assert!(!output.works && output.reason.is_some(), "{told}: {output:?}");
        }
        let output = SessionRefresh.run(&Bench::hanging_up().await.cx(), params(json!({}))).await.unwrap();
        assert_eq!((output.works, output.status), (false, None));
        let bench = Bench::with(|_| Answer::Never).await;
        let output = SessionRefresh.run(&bench.cx(), params(json!({ "timeout": "30ms" }))).await.unwrap();
        assert!(output.reason.unwrap().contains("within 30ms"));
    }

    #[tokio::test]
    async fn what_most_answers_say_counts() {
        let mut answers =
            vec![unknown(401), Answer::text(429, "").header("retry-after", "9"), unknown(401)].into_iter();
        let bench = Bench::with(move |_| answers.next().unwrap()).await;
        let cx = bench.cx();
        let began = cx.now();
        let output = SessionRefresh.run(&cx, params(json!({ "samples": 3 }))).await.unwrap();
        assert_eq!((output.works, output.good, output.samples), (true, 2, 3));
        assert_eq!(cx.now().duration_since(began).as_secs(), 2 + 9);
    }

    #[tokio::test]
    async fn what_is_no_host_is_refused() {
        let bench = Bench::with(|_| unknown(404)).await;
        for wrong in [json!({ "host": "a/b" }), json!({ "host": "" }), json!({ "samples": 0 })] {
            let error = SessionRefresh.run(&bench.cx(), params(wrong)).await.unwrap_err();
            assert_eq!((error.kind, bench.seen().len()), (ErrorKind::InvalidParams, 0));
        }
    }
}
