//! `clerk.jwt_templates`: for how long do tokens work on after their session was ended?

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{backend, default_secret, default_timeout, key_is_taken, limit, typed};
use crate::action::{Action, ActionContext, ActionError, Effect, Intent, Need, Replay};
use crate::base::HumanDuration;
use crate::http::Request;

/// How long a session token works, in seconds, unless the instance says otherwise; it cannot be read.
/// <https://clerk.com/docs/guides/sessions/session-tokens>
const SESSION_TOKEN: u64 = 60;
/// The most that Clerk gives in one answer; without it, ten.
const PAGE: usize = 500;

/// Lists the instance's JWT templates. A token is checked without asking Clerk: whoever has one gets in until it expires,
/// whatever becomes of their session. The longest lifetime is the time to wait before a sweep can be called complete.
#[derive(Debug)]
pub struct JwtTemplates;

/// With which key to ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClerkJwtTemplatesParams {
    /// The name of the secret that holds the instance's secret key (`sk_live_…` or `sk_test_…`).
    #[serde(default = "default_secret")]
    pub secret: String,
    /// How long each exchange may take.
    #[serde(default = "default_timeout")]
    pub timeout: HumanDuration,
}

/// The templates, and what follows from them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClerkJwtTemplatesOutput {
    /// The templates.
    pub templates: Vec<JwtTemplate>,
    /// For how many seconds a token may work on after its session has ended: the longest lifetime of a template, at least
    /// the 60 of a session token. A longer lifetime of session tokens, which only the dashboard shows, is not in it.
    pub residual_seconds: u64,
}

/// A JWT template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JwtTemplate {
    /// Its name.
    pub name: String,
    /// How long its tokens work, in seconds.
    pub lifetime: u64,
}

fn page(offset: usize, timeout: HumanDuration) -> Request {
    backend("GET", "/jwt_templates", timeout).query("limit", PAGE.to_string()).query("offset", offset.to_string())
}

impl Action for JwtTemplates {
    const NAME: &'static str = "clerk.jwt_templates";
    const SUMMARY: &'static str = "Tells how long tokens work on after their session has ended.";
    const EFFECT: Effect = Effect::Read;
    const REPLAY: Replay = Replay::Safe;
    const SECRETS: &'static [&'static str] = &["clerk"];
    type Params = ClerkJwtTemplatesParams;
    type Output = ClerkJwtTemplatesOutput;

    async fn run(
        &self,
        cx: &ActionContext,
        params: ClerkJwtTemplatesParams,
    ) -> Result<ClerkJwtTemplatesOutput, ActionError> {
        let key = cx.secret(&params.secret)?;
        let limit = limit(cx, &params.secret)?;
        let mut templates: Vec<JwtTemplate> = Vec::new();
        loop {
            let request = page(templates.len(), params.timeout).bearer(&key).limited(limit.clone());
            let url = request.url.clone();
            let more: Vec<JwtTemplate> = typed(cx.call(request).await?, &url)?;
            let is_last = more.len() < PAGE;
            templates.extend(more);
            if is_last {
                break;
            }
        }
        let longest = templates.iter().map(|template| template.lifetime).max().unwrap_or_default();
        Ok(ClerkJwtTemplatesOutput { templates, residual_seconds: longest.max(SESSION_TOKEN) })
    }

    fn describe(&self, params: &ClerkJwtTemplatesParams) -> Vec<Intent> {
        vec![Intent::from(&page(0, params.timeout))]
    }

    fn needs(&self, params: &ClerkJwtTemplatesParams) -> Vec<Need> {
        vec![key_is_taken(&params.secret, params.timeout)]
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Answer, Bench, faults};
    use super::*;
    use crate::action::ErrorKind;
    use serde_json::{Value, json};

    fn params(params: Value) -> ClerkJwtTemplatesParams {
        serde_json::from_value(params).unwrap()
    }

    async fn residual(lifetimes: &[u64]) -> (u64, usize, Vec<String>) {
        let all: Vec<Value> =
            lifetimes.iter().map(|lifetime| json!({ "name": "api", "lifetime": lifetime, "claims": {} })).collect();
        let bench = Bench::with(move |seen| {
            let offset: usize = seen.query.rsplit('=').next().unwrap().parse().unwrap();
            let page: Vec<&Value> = all.iter().skip(offset).take(500).collect();
            Answer::json(200, &json!(page))
        })
        .await;
        let output = JwtTemplates.run(&bench.cx(), params(json!({}))).await.unwrap();
        let seen = bench.seen();
        assert!(seen.iter().all(|seen| seen.line() == "GET /v1/jwt_templates"));
        (output.residual_seconds, output.templates.len(), seen.into_iter().map(|seen| seen.query).collect())
    }

    #[tokio::test]
    async fn the_longest_lifetime_counts_and_a_session_tokens_at_least() {
        let once = vec!["limit=500&offset=0".to_owned()];
        assert_eq!(residual(&[]).await, (60, 0, once.clone()));
        assert_eq!(residual(&[30]).await, (60, 1, once.clone()));
        assert_eq!(residual(&[30, 86_400, 60]).await, (86_400, 3, once));
        let mut many = vec![60; 500];
        many.push(7200);
        assert_eq!(residual(&many).await.2, ["limit=500&offset=0", "limit=500&offset=500"]);
        assert_eq!(residual(&many).await.0, 7200, "the one on the second page is the longest");
    }

    #[tokio::test]
    async fn every_fault_has_its_kind_and_is_asked_once() {
        for (answer, kind) in faults() {
            let told = format!("{answer:?}");
            let bench = Bench::with(move |_| answer.clone()).await;
            let error = JwtTemplates.run(&bench.cx(), params(json!({}))).await.unwrap_err();
            assert_eq!((error.kind, bench.seen().len()), (kind, 1), "{told}");
        }
        let bench = Bench::hanging_up().await;
        assert_eq!(JwtTemplates.run(&bench.cx(), params(json!({}))).await.unwrap_err().kind, ErrorKind::Network);
        let url = "https://api.clerk.com/v1/jwt_templates?limit=500&offset=0";
        assert_eq!(JwtTemplates.describe(&params(json!({}))), [Intent::request("GET", url)]);
    }
}
