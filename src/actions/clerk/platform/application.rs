//! `clerk.platform.application`: what is known of an application, and fingerprints of its keys.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::default_timeout;
use super::{application_is_seen, default_secret, fingerprint, read_request, told};
use crate::action::{Action, ActionContext, ActionError, Effect, Intent, Need, Replay};
use crate::base::HumanDuration;

/// Reads an application and its instances from the Platform API. Of secret keys it gives fingerprints at most.
#[derive(Debug)]
pub struct Application;

/// Which application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClerkPlatformApplicationParams {
    /// The application's id, `app_…`.
    pub application: String,
    /// Read the secret keys as well, and give their fingerprints: the first twelve hexadecimal digits of the SHA-256.
    #[serde(default)]
    pub fingerprints: bool,
    /// The name of the secret that holds a Platform API key (`ak_…`).
    #[serde(default = "default_secret")]
    pub secret: String,
    /// How long the exchange may take.
    #[serde(default = "default_timeout")]
    pub timeout: HumanDuration,
}

/// The application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClerkPlatformApplicationOutput {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its instances.
    pub instances: Vec<PlatformInstance>,
}

/// An instance of an application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlatformInstance {
    /// Its id, `ins_…`.
    pub id: String,
    /// `production` or `development`.
    pub environment: String,
    /// Its publishable key, which is no secret.
    pub publishable_key: Option<String>,
    /// The fingerprint of its secret key, where it was asked for.
    pub fingerprint: Option<String>,
}

impl Action for Application {
    const NAME: &'static str = "clerk.platform.application";
    const SUMMARY: &'static str = "Reads an application and fingerprints of its secret keys from Clerk's Platform API.";
    const EFFECT: Effect = Effect::Read;
    const REPLAY: Replay = Replay::Safe;
    const SECRETS: &'static [&'static str] = &["clerk_platform"];
    type Params = ClerkPlatformApplicationParams;
    type Output = ClerkPlatformApplicationOutput;

    async fn run(
        &self,
        cx: &ActionContext,
        params: ClerkPlatformApplicationParams,
    ) -> Result<ClerkPlatformApplicationOutput, ActionError> {
        let request = read_request(&params.application, params.fingerprints, params.timeout)?;
        let found = told(cx, request, &params.secret).await?;
        let instances = found.instances.into_iter().map(|told| PlatformInstance {
            fingerprint: told.secret_key.as_deref().filter(|_| params.fingerprints).map(fingerprint),
            id: told.instance_id,
            environment: told.environment_type,
            publishable_key: told.publishable_key,
        });
        Ok(ClerkPlatformApplicationOutput {
            instances: instances.collect(),
            id: found.application_id,
            name: found.name,
        })
    }

    fn describe(&self, params: &ClerkPlatformApplicationParams) -> Vec<Intent> {
        let request = read_request(&params.application, params.fingerprints, params.timeout);
        request.iter().map(Intent::from).collect()
    }

    fn needs(&self, params: &ClerkPlatformApplicationParams) -> Vec<Need> {
        application_is_seen(&params.application, &params.secret, params.timeout).into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::super::testing::{Answer, Bench, faults};
    use super::super::tests::{NEW, application};
    use super::*;
    use crate::action::ErrorKind;
    use serde_json::{Value, json};

    fn params(more: Value) -> ClerkPlatformApplicationParams {
        let mut params = json!({ "application": "app_1" });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(params).unwrap()
    }

    #[tokio::test]
    async fn gives_fingerprints_when_asked_and_keys_never() {
        let bench = Bench::with(|seen| {
            let mut told = application(NEW);
            if seen.query.is_empty() {
                told["instances"][1].as_object_mut().unwrap().remove("secret_key");
            }
            Answer::json(200, &told)
        })
        .await;
        let output = Application.run(&bench.cx(), params(json!({}))).await.unwrap();
        assert_eq!((output.id.as_str(), output.name.as_str()), ("app_1", "Shop"));
        assert!(output.instances.iter().all(|instance| instance.fingerprint.is_none()));
        let output = Application.run(&bench.cx(), params(json!({ "fingerprints": true }))).await.unwrap();
        let production = &output.instances[1];
        assert_eq!((production.id.as_str(), production.environment.as_str()), ("ins_1", "production"));
        assert_eq!(production.fingerprint.as_deref(), Some(super::super::fingerprint(NEW).as_str()));
        let output = serde_json::to_string(&output).unwrap();
        assert!(!output.contains("sk_") && output.contains("pk_live_1"), "{output}");
        let seen = bench.seen();
        assert_eq!(seen[0].line(), "GET /v1/platform/applications/app_1");
        assert_eq!((seen[0].query.as_str(), seen[1].query.as_str()), ("", "include_secret_keys=true"));
        assert_eq!(seen[0].headers["authorization"], "Bearer ak_0123456789abcdef");
        assert_eq!(bench.mask(&format!("it is {NEW}")), "it is ***", "whatever is logged from here on is masked");
        let url = "https://api.clerk.com/v1/platform/applications/app_1?include_secret_keys=true";
        let intents = Application.describe(&params(json!({ "fingerprints": true })));
        assert_eq!(intents, [Intent::request("GET", url)]);
    }

    #[tokio::test]
    async fn a_workspace_without_access_is_told_what_to_do() {
        for status in [401, 403] {
            let refused = json!({ "errors": [{ "message": "no", "code": "authorization_invalid" }] });
            let bench = Bench::with(move |_| Answer::json(status, &refused)).await;
            let error = Application.run(&bench.cx(), params(json!({}))).await.unwrap_err();
            assert_eq!((error.kind, error.status), (ErrorKind::Unauthorized, Some(status)));
            assert!(error.message.ends_with("change the key by hand, in the dashboard"), "{error}");
        }
    }

    #[tokio::test]
    async fn every_fault_has_its_kind_and_is_asked_once() {
        for (answer, kind) in faults() {
            let told = format!("{answer:?}");
            let bench = Bench::with(move |_| answer.clone()).await;
            let error = Application.run(&bench.cx(), params(json!({ "fingerprints": true }))).await.unwrap_err();
            assert_eq!((error.kind, bench.seen().len()), (kind, 1), "{told}");
        }
        let bench = Bench::hanging_up().await;
        assert_eq!(Application.run(&bench.cx(), params(json!({}))).await.unwrap_err().kind, ErrorKind::Network);
        let bench = Bench::with(|_| Answer::Never).await;
        let error = Application.run(&bench.cx(), params(json!({ "timeout": "30ms" }))).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Timeout);
    }
}
