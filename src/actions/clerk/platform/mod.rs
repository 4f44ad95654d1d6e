//! Clerk's Platform API: applications, and the keys of their instances. In private beta, granted workspace by workspace.

mod application;
mod rotate;

pub use application::{Application, ClerkPlatformApplicationOutput, ClerkPlatformApplicationParams, PlatformInstance};
pub use rotate::{ClerkPlatformRotateSecretKeyOutput, ClerkPlatformRotateSecretKeyParams, RotateSecretKey};

use serde::Deserialize;
use serde_json::Value;

use super::{BACKEND, typed};
use crate::action::{ActionContext, ActionError, ErrorKind, Need};
use crate::base::{Digest, HumanDuration};
use crate::http::{Request, path_segment};

/// How a key of an instance begins.
const KEY: &str = "sk_";

/// An application, as the Platform API tells of it.
#[derive(Deserialize)]
struct Told {
    application_id: String,
    #[serde(default)]
    name: String,
    instances: Vec<ToldInstance>,
}

/// One of its instances. The key is there only when it was asked for.
#[derive(Deserialize)]
struct ToldInstance {
    instance_id: String,
    environment_type: String,
    #[serde(default)]
    secret_key: Option<String>,
    #[serde(default)]
    publishable_key: Option<String>,
}

impl Told {
    /// The instance of this environment or id.
    fn instance(&self, wanted: &str) -> Result<&ToldInstance, ActionError> {
        let is_it = |told: &&ToldInstance| told.instance_id == wanted || told.environment_type == wanted;
        self.instances.iter().find(is_it).ok_or_else(|| {
            let there: Vec<String> =
                self.instances.iter().map(|told| format!("{} ({})", told.instance_id, told.environment_type)).collect();
            let message =
                format!("application {} has no instance `{wanted}`; it has {}", self.application_id, there.join(", "));
            ActionError::new(ErrorKind::Rejected, message)
        })
    }
}

impl ToldInstance {
    fn key(&self) -> Result<&str, ActionError> {
        self.secret_key.as_deref().ok_or_else(|| {
            ActionError::invalid_response(format!("Clerk told of instance {} without its secret key", self.instance_id))
        })
    }
}

/// What tells two keys apart without showing either: the first twelve hexadecimal digits of the SHA-256.
fn fingerprint(key: &str) -> String {
    Digest::of(key.as_bytes()).short().to_owned()
}

/// The path of an application.
fn application_path(application: &str) -> Result<String, ActionError> {
    let id = path_segment(application)
        .ok_or_else(|| ActionError::invalid_params(format!("`{application}` is no application's id")))?;
    Ok(format!("/platform/applications/{id}"))
}

fn platform(method: &str, path: &str, timeout: HumanDuration) -> Request {
    Request::new(method, format!("{BACKEND}{path}")).timeout(timeout.0)
}

/// The request that reads an application.
fn read_request(application: &str, with_keys: bool, timeout: HumanDuration) -> Result<Request, ActionError> {
    let request = platform("GET", &application_path(application)?, timeout);
    Ok(if with_keys { request.query("include_secret_keys", "true") } else { request })
}

/// Sends a request and reads the application in its answer. Keys in it are masked before anything is made of it.
async fn told(cx: &ActionContext, request: Request, secret: &str) -> Result<Told, ActionError> {
    let url = request.url.clone();
    let answer = cx.call(request.bearer(&cx.secret(secret)?)).await.map_err(explained)?;
    learn_keys(cx, &answer);
    typed(answer, &url)
}

fn learn_keys(cx: &ActionContext, answer: &Value) {
    match answer {
        Value::String(text) if text.starts_with(KEY) => cx.learn(text),
        Value::Array(items) => items.iter().for_each(|item| learn_keys(cx, item)),
        Value::Object(map) => map.iter().for_each(|(name, item)| match item {
            // Whatever a key looks like, this is one.
            Value::String(text) if name == "secret_key" => cx.learn(text),
            _ => learn_keys(cx, item),
        }),
        _ => {}
    }
}

/// Says what a refusal means: most workspaces have no access.
fn explained(mut error: ActionError) -> ActionError {
    if error.kind == ErrorKind::Unauthorized {
        error.message.push_str(
            "; the workspace has no access to the Platform API, or this is none of its keys (`ak_…`): change the key by \
             hand, in the dashboard",
        );
    }
    error
}

/// The key opens the application.
fn application_is_seen(application: &str, secret: &str, timeout: HumanDuration) -> Option<Need> {
    Some(Need {
        what: "Clerk's Platform API takes the key, and it sees the application".to_owned(),
        secret: secret.to_owned(),
        question: read_request(application, false, timeout).ok()?,
        told: |answer| answer.get("name").and_then(Value::as_str).map(|name| format!("it is called {name}")),
        help: |error| match error.status {
            Some(401 | 403) => {
                Some("take a Platform API key (`ak_…`) of a workspace that has access to the Platform API")
            }
            Some(404) => Some("take the application's id, `app_…`, from its dashboard"),
            _ => None,
        },
    })
}

fn default_secret() -> String {
    "clerk_platform".to_owned()
}

/// What both actions' tests answer with.
#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    pub(super) const OLD: &str = "sk_live_0000000000000000old";
    pub(super) const NEW: &str = "sk_live_1111111111111111new";

    /// An application whose production key is this one.
    pub(super) fn application(key: &str) -> Value {
        json!({ "application_id": "app_1", "name": "Shop", "added_later": 1, "instances": [
            { "instance_id": "ins_dev", "environment_type": "development",
              "secret_key": "sk_test_222222222222", "publishable_key": "pk_test_1" },
            { "instance_id": "ins_1", "environment_type": "production",
              "secret_key": key, "publishable_key": "pk_live_1" },
        ] })
    }

    #[test]
    fn an_id_that_would_leave_its_place_is_refused() {
        assert_eq!(application_path("..").unwrap_err().kind, ErrorKind::InvalidParams);
        assert_eq!(application_path("app_1/x").unwrap(), "/platform/applications/app_1%2Fx");
    }

    #[test]
    fn a_fingerprint_is_twelve_digits_of_the_digest() {
        assert_eq!(fingerprint("abc"), "ba7816bf8f01");
    }
}
