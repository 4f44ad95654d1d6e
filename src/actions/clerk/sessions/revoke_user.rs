//! `clerk.sessions.revoke_user`: signs one user out everywhere.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::client::Client;
use super::super::percent::Share;
use super::super::rows::given_id;
use super::super::{backend, default_secret, default_timeout, key_is_taken};
use super::longest_token;
use super::one::{ClerkSweepFailure, Cut, sign_out};
use crate::action::{Action, ActionContext, ActionError, Effect, ErrorKind, Intent, Need, Replay};
use crate::base::HumanDuration;

/// Ends all live sessions of one user, pending ones included. The user may sign in again: ban or lock to prevent that.
#[derive(Debug)]
pub struct RevokeUser;

/// Whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClerkSessionsRevokeUserParams {
    /// The user's id, `user_…`.
    pub user_id: String,
    /// The name of the secret that holds the instance's secret key (`sk_live_…` or `sk_test_…`).
    #[serde(default = "default_secret")]
    pub secret: String,
    /// How long each exchange may take.
    #[serde(default = "default_timeout")]
    pub timeout: HumanDuration,
}

/// What was done. A step that failed has this, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClerkSessionsRevokeUserOutput {
    /// The user's id.
    pub user_id: String,
    /// How many sessions were revoked.
    pub revoked: u64,
    /// How many were gone when they were to be revoked.
    pub already_gone: u64,
    /// Those that could not be ended.
    pub failed: Vec<ClerkSweepFailure>,
    /// For how many more seconds the user's last token may be taken; `null` when that could not be read.
    pub residual_seconds: Option<u64>,
}

impl Action for RevokeUser {
    const NAME: &'static str = "clerk.sessions.revoke_user";
    const SUMMARY: &'static str = "Ends all sessions of one user of a Clerk instance.";
    const EFFECT: Effect = Effect::Write;
    const REPLAY: Replay = Replay::Safe;
    const SECRETS: &'static [&'static str] = &["clerk"];
    type Params = ClerkSessionsRevokeUserParams;
    type Output = ClerkSessionsRevokeUserOutput;

    async fn run(
        &self,
        cx: &ActionContext,
        params: ClerkSessionsRevokeUserParams,
    ) -> Result<ClerkSessionsRevokeUserOutput, ActionError> {
        let user = given_id(&params.user_id)?;
        let client = Client::new(cx, &params.secret, Share::HALF, params.timeout)?;
        let mut tally = sign_out(&client, &user, Cut::default()).await?;
        let residual_seconds = match longest_token(&client).await {
            Err(error) if error.kind == ErrorKind::Cancelled => return Err(error),
            read => read.ok(),
        };
        let output = ClerkSessionsRevokeUserOutput {
            user_id: params.user_id,
            revoked: tally.revoked,
            already_gone: tally.gone,
            failed: std::mem::take(&mut tally.failed),
            residual_seconds,
        };
        match output.failed.first() {
            None => Ok(output),
            Some(first) => Err(ActionError::new(first.kind, first.message.clone()).with_outputs(&output)),
        }
    }

    fn describe(&self, params: &ClerkSessionsRevokeUserParams) -> Vec<Intent> {
        let list = backend("GET", "/sessions", params.timeout).query("user_id", &params.user_id).query("limit", "500");
        vec![
            Intent::from(&list),
            Intent::from(&backend("POST", "/sessions/:session/revoke", params.timeout)),
            Intent::note("for each session that is active or pending; tokens that are out are taken until they expire"),
        ]
    }

    fn needs(&self, params: &ClerkSessionsRevokeUserParams) -> Vec<Need> {
        vec![key_is_taken(&params.secret, params.timeout)]
    }
}
