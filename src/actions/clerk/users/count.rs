//! `clerk.users.count`: how many users are there?

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::{backend, default_secret, default_timeout, key_is_taken, limit, typed};
use super::milliseconds;
use crate::action::{Action, ActionContext, ActionError, Effect, Intent, Need, Replay};
use crate::base::HumanDuration;
use crate::http::Request;

/// Counts the users of an instance. Shows no person's data.
#[derive(Debug)]
pub struct Count;

/// Whom to count.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClerkUsersCountParams {
    /// Only those who are banned, or only those who are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub banned: Option<bool>,
    /// Only those who signed in after this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["{{ run.started_at }}"]))]
    pub signed_in_after: Option<String>,
    /// Only those who were made after this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created_after: Option<String>,
    /// The name of the secret that holds the instance's secret key (`sk_live_…` or `sk_test_…`).
    #[serde(default = "default_secret")]
    pub secret: String,
    /// How long the exchange may take.
    #[serde(default = "default_timeout")]
    pub timeout: HumanDuration,
}

/// How many there are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClerkUsersCountOutput {
    /// How many.
    pub total: u64,
}

#[derive(Deserialize)]
struct Total {
    total_count: u64,
}

impl ClerkUsersCountParams {
    fn request(&self) -> Result<Request, ActionError> {
        let mut request = backend("GET", "/users/count", self.timeout);
        if let Some(banned) = self.banned {
            request = request.query("banned", banned.to_string());
        }
        if let Some(time) = &self.signed_in_after {
            request = request.query("last_sign_in_at_after", milliseconds("signed_in_after", time)?);
        }
        if let Some(time) = &self.created_after {
            request = request.query("created_at_after", milliseconds("created_after", time)?);
        }
        Ok(request)
    }
}

impl Action for Count {
    const NAME: &'static str = "clerk.users.count";
    const SUMMARY: &'static str = "Counts the users of a Clerk instance.";
    const EFFECT: Effect = Effect::Read;
    const REPLAY: Replay = Replay::Safe;
    const SECRETS: &'static [&'static str] = &["clerk"];
    type Params = ClerkUsersCountParams;
    type Output = ClerkUsersCountOutput;

    async fn run(
        &self,
        cx: &ActionContext,
        params: ClerkUsersCountParams,
    ) -> Result<ClerkUsersCountOutput, ActionError> {
        let request = params.request()?;
        let key = cx.secret(&params.secret)?;
        let response = cx.send(request.bearer(&key).limited(limit(cx, &params.secret)?)).await?;
        let total: Total = typed(cx.json(&response)?, &response.url)?;
        Ok(ClerkUsersCountOutput { total: total.total_count })
    }

    fn describe(&self, params: &ClerkUsersCountParams) -> Vec<Intent> {
        params.request().iter().map(Intent::from).collect()
    }

    fn needs(&self, params: &ClerkUsersCountParams) -> Vec<Need> {
        vec![key_is_taken(&params.secret, params.timeout)]
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::super::testing::{Answer, Bench, faults};
    use super::*;
    use crate::action::ErrorKind;
    use serde_json::{Value, json};

    fn params(params: Value) -> ClerkUsersCountParams {
        serde_json::from_value(params).unwrap()
    }

    #[tokio::test]
    async fn counts_with_the_filters_that_are_asked_for() {
        let bench = Bench::with(|_| Answer::json(200, &json!({ "object": "total_count", "total_count": 12 }))).await;
        let output = Count.run(&bench.cx(), params(json!({}))).await.unwrap();
        assert_eq!(output.total, 12);
        let some = json!({ "banned": true, "signed_in_after": "2026-02-19T16:11:00Z", "created_after": "2026-02-19T16:11:00.5Z" });
        Count.run(&bench.cx(), params(some)).await.unwrap();
        let seen: Vec<_> = bench.seen().into_iter().map(|seen| (seen.line(), seen.query)).collect();
        let line = "GET /v1/users/count".to_owned();
        let filters = "banned=true&last_sign_in_at_after=1771517460000&created_at_after=1771517460500".to_owned();
        assert_eq!(seen, [(line.clone(), String::new()), (line, filters)]);
    }

    #[tokio::test]
    async fn a_time_that_is_none_asks_nothing() {
        let bench = Bench::with(|_| Answer::json(200, &json!({ "total_count": 1 }))).await;
        let error = Count.run(&bench.cx(), params(json!({ "created_after": "yesterday" }))).await.unwrap_err();
        assert_eq!((error.kind, bench.seen().len()), (ErrorKind::InvalidParams, 0));
    }

    #[tokio::test]
    async fn every_fault_has_its_kind() {
        for (answer, kind) in faults() {
            let told = format!("{answer:?}");
            let bench = Bench::with(move |_| answer.clone()).await;
            assert_eq!(Count.run(&bench.cx(), params(json!({}))).await.unwrap_err().kind, kind, "{told}");
            assert_eq!(bench.seen().len(), 1, "{told}");
        }
        let error = Count.run(&Bench::hanging_up().await.cx(), params(json!({}))).await.unwrap_err();
        assert_eq!((error.kind, error.uncertain), (ErrorKind::Network, true));
        let bench = Bench::with(|_| Answer::Never).await;
        let error = Count.run(&bench.cx(), params(json!({ "timeout": "30ms" }))).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Timeout);
    }
}
