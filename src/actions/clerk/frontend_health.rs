//! `clerk.frontend_health`: can people sign in? The Backend API may be well while this is not.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::sampling;
use super::{default_every, default_timeout, is_host, millis, once};
use crate::action::{Action, ActionContext, ActionError, Effect, ErrorKind, Intent, Replay, refusal};
use crate::base::HumanDuration;
use crate::http::{Request, Response};

/// Asks an instance's Frontend API how it is. Sign-in and token refresh go through it.
#[derive(Debug)]
pub struct FrontendHealth;

/// Whom to ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClerkFrontendHealthParams {
    /// The instance's Frontend API host, such as `clerk.example.com`.
    #[schemars(extend("examples" = ["clerk.example.com"]))]
    pub host: String,
    /// How often to look, 1 to 50; what more than half of the looks see counts.
    #[serde(default = "once")]
    pub samples: u32,
    /// The pause between two looks.
    #[serde(default = "default_every")]
    pub every: HumanDuration,
    /// How long each of the two exchanges may take.
    #[serde(default = "default_timeout")]
    pub timeout: HumanDuration,
}

/// How the Frontend API is. An unhealthy or unreachable host is a finding, not a failed step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClerkFrontendHealthOutput {
    /// Did anything answer, whatever it said?
    pub reachable: bool,
    /// Did `/v1/health` answer 200 and `healthy`, more often than not?
    pub healthy: bool,
    /// Does `/v1/environment` say that writes are rejected? `null` when that could not be read.
    pub maintenance_mode: Option<bool>,
    /// The status of `/v1/health`; `null` when there was no answer.
    pub status: Option<u16>,
    /// How long `/v1/health` took, in milliseconds; `null` when there was no answer.
    pub elapsed_ms: Option<u64>,
    /// What is wrong, in words; `null` when nothing is.
    pub reason: Option<String>,
    /// How often it was looked at.
    #[serde(default = "once")]
    pub samples: u32,
    /// How many looks found it healthy.
    #[serde(default)]
    pub good: u32,
}

impl ClerkFrontendHealthParams {
    fn requests(&self) -> [Request; 2] {
        ["health", "environment"]
            .map(|name| Request::get(format!("https://{}/v1/{name}", self.host)).timeout(self.timeout.0))
    }

    fn check(&self) -> Result<(), ActionError> {
        if !is_host(&self.host) {
            let reason = format!("`{}` is not a host; write for example `clerk.example.com`", self.host);
            return Err(ActionError::invalid_params(reason));
        }
        sampling::check(self.samples)
    }
}

impl Action for FrontendHealth {
    const NAME: &'static str = "clerk.frontend_health";
    const SUMMARY: &'static str = "Asks a Clerk instance's Frontend API whether people can sign in.";
    const EFFECT: Effect = Effect::Read;
    const REPLAY: Replay = Replay::Safe;
    type Params = ClerkFrontendHealthParams;
    type Output = ClerkFrontendHealthOutput;

    async fn run(
        &self,
        cx: &ActionContext,
        params: ClerkFrontendHealthParams,
    ) -> Result<ClerkFrontendHealthOutput, ActionError> {
        params.check()?;
        let mut good = 0;
        let (mut well, mut ill): (Option<ClerkFrontendHealthOutput>, Option<ClerkFrontendHealthOutput>) = (None, None);
        for number in 1..=params.samples {
            let seen = look(cx, &params).await?;
            good += u32::from(seen.healthy);
            if seen.healthy {
                well = Some(seen);
            } else {
                ill = Some(seen);
            }
            if number < params.samples {
                sampling::pause(cx, params.every.0, None).await?;
            }
        }
        let answered = [&well, &ill].into_iter().flatten().any(|seen| seen.reachable);
        let maintenance = [&well, &ill].into_iter().flatten().find_map(|seen| seen.maintenance_mode);
        let (most, least) = if good * 2 > params.samples { (well, ill) } else { (ill, well) };
        let mut output = most.or(least).expect("at least one look, as was checked");
        output.reachable = answered;
        output.maintenance_mode = output.maintenance_mode.or(maintenance);
        (output.samples, output.good) = (params.samples, good);
        Ok(output)
    }

    fn describe(&self, params: &ClerkFrontendHealthParams) -> Vec<Intent> {
        params.requests().iter().map(Intent::from).collect()
    }
}

/// One look at both.
async fn look(
    cx: &ActionContext,
    params: &ClerkFrontendHealthParams,
) -> Result<ClerkFrontendHealthOutput, ActionError> {
    let [health, environment] = params.requests();
    let (health, environment) = tokio::join!(cx.send(health), cx.send(environment));
    let (health, environment) = (found(health)?, found(environment)?);

    let mut reasons = Vec::new();
    let mut output = ClerkFrontendHealthOutput {
        reachable: health.answered() || environment.answered(),
        healthy: false,
        maintenance_mode: None,
        status: None,
        elapsed_ms: None,
        reason: None,
        samples: 1,
        good: 0,
    };
    match health {
        Found::Answer(response) => {
            output.status = Some(response.status);
            output.elapsed_ms = Some(millis(response.elapsed));
            output.healthy = is_healthy(&response);
            if !output.healthy {
                reasons.push(told(cx, &response));
            }
        }
        Found::Half(reason) | Found::Nothing(reason) => reasons.push(reason),
    }
    match environment {
        Found::Answer(response) => {
            let answer = response.json().filter(|_| response.is_success());
            output.maintenance_mode = answer.and_then(|answer| answer.get("maintenance_mode")?.as_bool());
            match output.maintenance_mode {
                Some(true) => reasons.push("maintenance mode is on: reads work, writes are rejected".to_owned()),
                Some(false) => {}
                None => reasons.push(told(cx, &response)),
            }
        }
        Found::Half(reason) | Found::Nothing(reason) => reasons.push(reason),
    }
    output.reason = (!reasons.is_empty()).then(|| reasons.join("; "));
    Ok(output)
}

/// What came back.
enum Found {
    Answer(Response),
    /// Something answered, and then broke off.
    Half(String),
    Nothing(String),
}

impl Found {
    fn answered(&self) -> bool {
        match self {
            Self::Answer(_) | Self::Half(_) => true,
            Self::Nothing(_) => false,
        }
    }
}

/// Failures of the other side are findings; failures of ours stay failures.
fn found(answer: Result<Response, ActionError>) -> Result<Found, ActionError> {
    match answer {
        Ok(response) => Ok(Found::Answer(response)),
        Err(error) => match error.kind {
            ErrorKind::Timeout | ErrorKind::Network => Ok(Found::Nothing(error.message)),
            ErrorKind::InvalidResponse => Ok(Found::Half(error.message)),
            _ => Err(error),
        },
    }
}

fn is_healthy(response: &Response) -> bool {
    response.status == 200
        && response.json().is_some_and(|body| body.get("status").and_then(Value::as_str) == Some("healthy"))
}

fn told(cx: &ActionContext, response: &Response) -> String {
    if response.is_success() {
        return match cx.json(response) {
            Ok(_) => format!("{} answered {} without what was asked for", response.url, response.status),
            Err(error) => error.message,
        };
    }
    let error = refusal(response, cx.now());
    match error.kind {
        ErrorKind::RateLimited => format!("{}; asked too often, which says nothing about sign-in", error.message),
        _ => error.message,
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Answer, Bench, faults};
    use super::*;
    use serde_json::json;

    fn params(timeout: &str) -> ClerkFrontendHealthParams {
        serde_json::from_value(json!({ "host": "clerk.example.com", "timeout": timeout })).unwrap()
    }

    async fn health(health: Answer, environment: Answer) -> ClerkFrontendHealthOutput {
        let bench = Bench::with(move |seen| match seen.path.as_str() {
            "/v1/health" => health.clone(),
            _ => environment.clone(),
        });
        FrontendHealth.run(&bench.await.cx(), params("10s")).await.unwrap()
    }

    fn well() -> Answer {
        Answer::json(200, &json!({ "status": "healthy" }))
    }

    fn environment(maintenance: bool) -> Answer {
        Answer::json(200, &json!({ "maintenance_mode": maintenance, "auth_config": {} }))
    }

    #[tokio::test]
    async fn a_healthy_host_needs_no_reason() {
        let output = health(well(), environment(false)).await;
        assert!(output.reachable && output.healthy && output.reason.is_none());
        assert_eq!((output.status, output.maintenance_mode), (Some(200), Some(false)));
    }

    #[tokio::test]
    async fn maintenance_is_seen_while_everything_else_is_green() {
        let output = health(well(), environment(true)).await;
        assert!(output.healthy && output.maintenance_mode == Some(true));
        assert_eq!(output.reason.unwrap(), "maintenance mode is on: reads work, writes are rejected");
    }

    #[tokio::test]
    async fn an_unhealthy_host_is_told_from_one_that_is_not_there() {
        let sick = Answer::json(503, &json!({ "status": "unhealthy", "message": "no database" }));
        let output = health(sick, environment(false)).await;
        assert!(output.reachable && !output.healthy);
        assert_eq!(output.reason.unwrap(), "https://clerk.example.com/v1/health answered 503: no database");

        let output = health(Answer::text(429, ""), environment(false)).await;
        assert!(output.reachable && output.status == Some(429) && output.reason.unwrap().contains("asked too often"));

        let output = FrontendHealth.run(&Bench::hanging_up().await.cx(), params("10s")).await.unwrap();
        assert!(!output.reachable && output.status.is_none() && output.reason.unwrap().contains("failed:"));

        let bench = Bench::with(|_| Answer::Never).await;
        let output = FrontendHealth.run(&bench.cx(), params("30ms")).await.unwrap();
        assert!(!output.reachable && output.reason.unwrap().contains("got no answer within 30ms"));
    }

    #[tokio::test]
    async fn no_answer_fails_the_step_and_none_passes_as_healthy() {
        for (answer, _) in faults() {
            let output = health(answer.clone(), answer.clone()).await;
            assert!(output.reachable && !output.healthy && output.reason.is_some(), "{answer:?}");
        }
    }

    #[tokio::test]
    async fn what_most_looks_see_counts() {
        for (healthy, expected) in [([true, false, true], true), ([false, true, false], false)] {
            let mut answers = healthy.into_iter();
            let bench = Bench::with(move |seen| match seen.path.as_str() {
                "/v1/health" if answers.next().unwrap() => Answer::json(200, &json!({ "status": "healthy" })),
                "/v1/health" => Answer::text(429, ""),
                _ => Answer::json(200, &json!({ "maintenance_mode": false })),
            });
            let params = ClerkFrontendHealthParams { samples: 3, ..params("10s") };
            let output = FrontendHealth.run(&bench.await.cx(), params).await.unwrap();
            let good = healthy.into_iter().filter(|good| *good).count();
            assert_eq!((output.healthy, output.good as usize, output.samples), (expected, good, 3));
            assert_eq!((output.reason.is_some(), output.status), (!expected, Some(if expected { 200 } else { 429 })));
        }
    }

    #[tokio::test]
    async fn what_is_no_host_is_refused() {
        for host in ["", "https://clerk.example.com", "clerk.example.com/x", "a@b", "a?b"] {
            let params = ClerkFrontendHealthParams { host: host.into(), ..params("1s") };
            let error = FrontendHealth.run(&Bench::new().cx(), params).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::InvalidParams);
        }
        // A drill without a stand-in is a mistake in the drill, not an outage.
        let error = FrontendHealth.run(&Bench::new().cx(), params("1s")).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Rejected);
    }
}
