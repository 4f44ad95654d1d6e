//! Clerk: its Backend API, with a secret key, and its Frontend API, without.

mod client;
mod frontend_health;
mod instance;
mod percent;
mod ping;
mod rows;
mod session_refresh;
pub mod sessions;
pub mod users;

pub use frontend_health::{ClerkFrontendHealthOutput, ClerkFrontendHealthParams, FrontendHealth};
pub use instance::{ClerkInstanceOutput, ClerkInstanceParams, Environment, Instance};
pub use percent::{Share, ShareError};
mod jwt_templates;
mod platform;
mod svix_portal;

pub use jwt_templates::{ClerkJwtTemplatesOutput, ClerkJwtTemplatesParams, JwtTemplate, JwtTemplates};
pub use ping::{ClerkPingOutput, ClerkPingParams, Ping};
pub use platform::{
    Application, ClerkPlatformApplicationOutput, ClerkPlatformApplicationParams, ClerkPlatformRotateSecretKeyOutput,
    ClerkPlatformRotateSecretKeyParams, PlatformInstance, RotateSecretKey,
};
pub use session_refresh::{ClerkSessionRefreshOutput, ClerkSessionRefreshParams, SessionRefresh};
pub use svix_portal::{ClerkSvixPortalOutput, ClerkSvixPortalParams, SvixPortal};

use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::action::{ActionContext, ActionError, Need};
use crate::base::HumanDuration;
use crate::base::secret::shown;
use crate::http::{Limit, Request};

/// The Backend API, <https://clerk.com/docs/reference/backend-api>.
const BACKEND: &str = "https://api.clerk.com/v1";
/// The version that our requests are written for. Without it the instance's own default applies.
const VERSION: &str = "2026-05-12";

/// A request to the Backend API; the key is a secret reference.
fn backend(method: &str, path: &str, timeout: HumanDuration) -> Request {
    Request::new(method, format!("{BACKEND}{path}")).header("clerk-api-version", VERSION).timeout(timeout.0)
}

/// Half of what Clerk takes of an instance in 10 s: 1000 requests in production, 100 in development. All keys and the
/// living application share them, and it must not starve. `GET /jwks` has no limit.
/// <https://clerk.com/docs/guides/how-clerk-works/system-limits>
pub fn limit(cx: &ActionContext, secret: &str) -> Result<Limit, ActionError> {
    let half = if cx.secret_begins(secret, "sk_live_")? { 500 } else { 50 };
    let key = format!("clerk with {}", shown(&cx.secret(secret)?));
    Ok(Limit::new(key, half, Duration::from_secs(10)))
}

/// The key opens an instance; which one is told.
fn key_is_taken(secret: &str, timeout: HumanDuration) -> Need {
    Need {
        what: "Clerk's Backend API takes the key".to_owned(),
        secret: secret.to_owned(),
        question: backend("GET", "/instance", timeout),
        told: |answer| {
            let text = |key: &str| answer.get(key).and_then(Value::as_str);
            Some(format!("opens the {} instance {}", text("environment_type")?, text("id")?))
        },
        help: |error: &ActionError| match error.status {
            Some(401) => Some("take an instance's secret key, `sk_live_…` or `sk_test_…`, from its dashboard"),
            Some(403) => Some("take a secret key of this instance, not one of the Platform API"),
            _ => None,
        },
    }
}

/// Reads an answer as a `T`. Unknown fields are no fault; missing ones are.
fn typed<T: DeserializeOwned>(answer: Value, url: &str) -> Result<T, ActionError> {
    serde_json::from_value(answer)
        .map_err(|error| ActionError::invalid_response(format!("{url} answered something unexpected: {error}")))
}

fn default_secret() -> String {
    "clerk".to_owned()
}

/// Is this a host, with a port if need be, and nothing else?
fn is_host(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':'))
}

/// One look, unless a runbook asks for several.
fn once() -> u32 {
    1
}

/// The pause between two looks.
fn default_every() -> HumanDuration {
    HumanDuration(Duration::from_secs(2))
}

fn default_timeout() -> HumanDuration {
    HumanDuration(Duration::from_secs(10))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::super::testing::Bench;
    use super::*;
    use crate::action::ErrorKind;

    #[tokio::test]
    async fn half_of_the_instances_budget_is_ours() {
        for (key, requests) in [("sk_live_0123456789", 500), ("sk_test_0123456789", 50), ("whatever", 50)] {
            let bench = Bench::hanging_up().await.with_secret("clerk", key);
            let limit = limit(&bench.cx(), "clerk").unwrap();
            assert_eq!(
                (limit.requests, limit.within.as_secs(), limit.key.as_str()),
                (requests, 10, "clerk with ‹secret clerk›")
            );
        }
    }

    #[tokio::test]
    async fn no_more_than_the_kind_of_a_key_can_be_asked() {
        let bench = Bench::hanging_up().await;
        assert_eq!(bench.cx().secret_begins("clerk", "sk_test_0").unwrap_err().kind, ErrorKind::Internal);
        assert_eq!(bench.cx().secret_begins("nowhere", "sk_").unwrap_err().kind, ErrorKind::Secret);
    }
}
