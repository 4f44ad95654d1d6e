//! `clerk.instance`: which instance does our key open?

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{backend, default_secret, default_timeout, key_is_taken, limit, typed};
use crate::action::{Action, ActionContext, ActionError, Effect, ErrorKind, Intent, Need, Replay};
use crate::base::HumanDuration;

/// The failure's code when the key opens another instance than the one expected.
const OTHER_INSTANCE: &str = "other_instance";

/// Asks which instance the key opens, and fails when it is not the one that is meant. Put it before whatever destroys
/// something: a key in the wrong variable opens somebody else's instance without a word.
#[derive(Debug)]
pub struct Instance;

/// With which key to ask, and what to expect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClerkInstanceParams {
    /// The name of the secret that holds the instance's secret key (`sk_live_…` or `sk_test_…`).
    #[serde(default = "default_secret")]
    pub secret: String,
    /// The instance's id, `ins_…`. The step fails as `rejected` when the key opens another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_id: Option<String>,
    /// The instance's environment. The step fails as `rejected` when the key opens one of another kind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_environment: Option<Environment>,
    /// How long the exchange may take.
    #[serde(default = "default_timeout")]
    pub timeout: HumanDuration,
}

/// What an instance is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Environment {
    /// Real users.
    #[default]
    Production,
    /// Trying things out.
    Development,
}

impl Environment {
    /// The word that Clerk uses.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Development => "development",
        }
    }
}

/// The instance that the key opens. A step that failed because it is another one has this, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClerkInstanceOutput {
    /// Its id, `ins_…`.
    pub id: String,
    /// `production`, `development`, or a word that came later.
    pub environment_type: String,
    /// Origins that may use it besides its own domain.
    #[serde(default, deserialize_with = "null_is_empty")]
    pub allowed_origins: Vec<String>,
    /// The workspace that owns it, if one does.
    #[serde(default)]
    pub workspace_id: Option<String>,
}

fn null_is_empty<'de, D: serde::Deserializer<'de>>(origins: D) -> Result<Vec<String>, D::Error> {
    Option::deserialize(origins).map(Option::unwrap_or_default)
}

impl ClerkInstanceParams {
    /// Is it the one that is meant?
    fn check(&self, found: &ClerkInstanceOutput) -> Result<(), ActionError> {
        let kind = self.expect_environment.map(Environment::as_str).filter(|wanted| *wanted != found.environment_type);
        let id = self.expect_id.as_deref().filter(|wanted| *wanted != found.id);
        if kind.is_none() && id.is_none() {
            return Ok(());
        }
        let wanted = match (kind, id) {
            (Some(kind), Some(id)) => format!("the {kind} instance {id}"),
            (Some(kind), None) => format!("a {kind} instance"),
            (None, id) => id.unwrap_or_default().to_owned(),
        };
        let message = format!(
            "the key in secret `{}` opens the {} instance {}, not {wanted}",
            self.secret, found.environment_type, found.id
        );
        let mut error = ActionError::new(ErrorKind::Rejected, message).with_outputs(found);
        error.code = Some(OTHER_INSTANCE.to_owned());
        Err(error)
    }
}

impl Action for Instance {
    const NAME: &'static str = "clerk.instance";
    const SUMMARY: &'static str =
        "Asks which instance our secret key opens, and fails when it is another than expected.";
    const EFFECT: Effect = Effect::Read;
    const REPLAY: Replay = Replay::Safe;
    const SECRETS: &'static [&'static str] = &["clerk"];
    type Params = ClerkInstanceParams;
    type Output = ClerkInstanceOutput;

    async fn run(&self, cx: &ActionContext, params: ClerkInstanceParams) -> Result<ClerkInstanceOutput, ActionError> {
        let key = cx.secret(&params.secret)?;
        let limit = limit(cx, &params.secret)?;
        let response = cx.send(backend("GET", "/instance", params.timeout).bearer(&key).limited(limit)).await?;
        let found: ClerkInstanceOutput = typed(cx.json(&response)?, &response.url)?;
        params.check(&found)?;
        Ok(found)
    }

    fn describe(&self, params: &ClerkInstanceParams) -> Vec<Intent> {
        vec![Intent::from(&backend("GET", "/instance", params.timeout))]
    }

    fn needs(&self, params: &ClerkInstanceParams) -> Vec<Need> {
        vec![key_is_taken(&params.secret, params.timeout)]
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Answer, Bench, faults};
    use super::*;
    use serde_json::{Value, json};

    fn params(params: Value) -> ClerkInstanceParams {
        serde_json::from_value(params).unwrap()
    }

    fn instance() -> Value {
        json!({
            "object": "instance", "id": "ins_1", "environment_type": "development",
            "allowed_origins": null, "workspace_id": null, "added_later": 1
        })
    }

    #[tokio::test]
    async fn tells_which_instance_the_key_opens() {
        let bench = Bench::with(|_| Answer::json(200, &instance())).await;
        let wanted = json!({ "expect_id": "ins_1", "expect_environment": "development" });
        let output = Instance.run(&bench.cx(), params(wanted)).await.unwrap();
        let expected = json!({
            "id": "ins_1", "environment_type": "development", "allowed_origins": [], "workspace_id": null
        });
        assert_eq!(serde_json::to_value(output).unwrap(), expected);
        let seen = bench.seen().remove(0);
        assert_eq!(seen.line(), "GET /v1/instance");
        assert_eq!(seen.headers["authorization"], "Bearer sk_test_0123456789");
        assert_eq!(seen.headers["clerk-api-version"], "2026-05-12");
        let url = "https://api.clerk.com/v1/instance";
        assert_eq!(Instance.describe(&params(json!({}))), [Intent::request("GET", url)]);
    }

    #[tokio::test]
    async fn another_instance_than_expected_is_a_failure_that_tells_which() {
        let bench = Bench::with(|_| Answer::json(200, &instance())).await;
        for (wanted, told) in [
            (json!({ "expect_id": "ins_2" }), "opens the development instance ins_1, not ins_2"),
            (
                json!({ "expect_environment": "production" }),
                "opens the development instance ins_1, not a production instance",
            ),
            (
                json!({ "expect_id": "ins_2", "expect_environment": "production" }),
                "opens the development instance ins_1, not the production instance ins_2",
            ),
        ] {
            let error = Instance.run(&bench.cx(), params(wanted)).await.unwrap_err();
            assert_eq!(error.message, format!("the key in secret `clerk` {told}"));
            assert_eq!((error.kind, error.code.as_deref()), (ErrorKind::Rejected, Some("other_instance")));
            assert_eq!(error.outputs.unwrap()["id"], "ins_1");
        }
    }

    #[tokio::test]
    async fn every_fault_has_its_kind_and_is_asked_once() {
        for (answer, kind) in faults() {
            let told = format!("{answer:?}");
            let bench = Bench::with(move |_| answer.clone()).await;
            let error = Instance.run(&bench.cx(), params(json!({}))).await.unwrap_err();
            assert_eq!((error.kind, bench.seen().len()), (kind, 1), "{told}");
        }
        let bench = Bench::hanging_up().await;
        assert_eq!(Instance.run(&bench.cx(), params(json!({}))).await.unwrap_err().kind, ErrorKind::Network);
        let bench = Bench::with(|_| Answer::Never).await;
        let error = Instance.run(&bench.cx(), params(json!({ "timeout": "30ms" }))).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Timeout);
    }
}
