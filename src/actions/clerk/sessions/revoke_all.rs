//! `clerk.sessions.revoke_all`: signs everybody out.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::client::Client;
use super::super::instance::{ClerkInstanceParams, Environment, Instance};
use super::super::percent::Share;
use super::super::rows::PAGE;
use super::super::{backend, default_secret, default_timeout, key_is_taken};
use super::cost::Strategy;
use super::one::ClerkSweepFailure;
use super::progress::{Pass, Progress};
use super::sweep::{Sweep, Ways, ids};
use super::{bans, count_users, longest_token};
use crate::action::{Action, ActionContext, ActionError, Done, Effect, ErrorKind, Intent, Need, Replay, Undone};
use crate::base::HumanDuration;

/// More than this would only stand in line for the limit.
const MOST_AT_ONCE: u32 = 64;
/// So many failures are put out; the rest is counted.
const FAILURES_SHOWN: usize = 20;

/// Ends every session of every user: through all pages, the oldest first; then those who signed in meanwhile; then those with
/// whom something failed. It takes a share of the instance's limit, waits while Clerk is under maintenance, and goes on where
/// it was when it is interrupted. Nobody is kept from signing in again, and a token that is out may be taken until it expires.
#[derive(Debug)]
pub struct RevokeAll;

/// How to do it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClerkSessionsRevokeAllParams {
    /// How sessions are ended.
    #[serde(default)]
    pub strategy: Strategy,
    /// Users who stay signed in, by id: those who do this, and those that are no people.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
    /// The instance's id, `ins_…`. Nothing is done when the key opens another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expect_instance: Option<String>,
    /// The instance's environment. Nothing is done when the key opens one of another kind.
    #[serde(default)]
    pub expect_environment: Environment,
    /// The share of the instance's limit that it takes; the application needs the rest.
    #[serde(default = "half")]
    pub share: Share,
    /// How many users are dealt with at once, up to 64.
    #[serde(default = "default_at_once")]
    #[schemars(range(min = 1, max = 64))]
    pub at_once: u32,
    /// How long a maintenance may last before the step fails.
    #[serde(default = "default_patience")]
    pub maintenance_patience: HumanDuration,
    /// What is looked at once more at the end.
    #[serde(default)]
    pub verify: Verify,
    /// The name of the secret that holds the instance's secret key (`sk_live_…` or `sk_test_…`).
    #[serde(default = "default_secret")]
    pub secret: String,
    /// How long each exchange may take.
    #[serde(default = "default_timeout")]
    pub timeout: HumanDuration,
}

/// What is looked at once more at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verify {
    /// Those who signed in while it went on, until nobody is found, and those with whom something failed.
    #[default]
    Changed,
    /// Besides, everybody: as many more requests as there are users.
    Everybody,
}

/// What was done. A step that failed has this, too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClerkSessionsRevokeAllOutput {
    /// The instance's id.
    pub instance: String,
    /// Its environment.
    pub environment: String,
    /// How sessions were ended.
    pub strategy: Strategy,
    /// How many users it went through.
    pub users: u64,
    /// Of these, how many it was told to leave alone.
    pub excluded: u64,
    /// Of these, how many were banned already; only `ban_cycle` tells.
    pub already_banned: u64,
    /// Live sessions that it found: revoked, gone before, or failed.
    pub sessions_found: u64,
    /// Sessions that it revoked one by one.
    pub revoked: u64,
    /// Sessions that were gone when they were to be revoked.
    pub already_gone: u64,
    /// Users whose sessions were ended all at once, by `set_compromised` or `ban_cycle`; nobody knows how many these were.
    pub users_signed_out: u64,
    /// What it found after the first pass: sessions opened meanwhile.
    pub found_later: u64,
    /// How many sessions or users failed to the end.
    pub failures: u64,
    /// The first twenty of these.
    pub failed: Vec<ClerkSweepFailure>,
    /// Passes over all or some of the users.
    pub passes: u32,
    /// For how many more seconds after a session's end its last token may be taken; `null` when that could not be read.
    pub residual_seconds: Option<u64>,
    /// When it was begun.
    pub began: String,
    /// Up to when sessions were ended; later ones are left alone. `null` when the first pass is not over.
    pub up_to: Option<String>,
    /// For how many seconds it ran, over all tries, waits included.
    pub seconds: u64,
    /// Of these, how many it waited for the end of a maintenance.
    pub paused_seconds: u64,
    /// How many requests it made, repeats of failed ones not counted.
    pub requests: u64,
    /// How many requests a second, maintenance not counted.
    pub requests_per_second: f64,
    /// Is nobody left?
    pub complete: bool,
}

fn half() -> Share {
    Share::HALF
}

fn default_at_once() -> u32 {
    16
}

fn default_patience() -> HumanDuration {
    HumanDuration(std::time::Duration::from_secs(2 * 3600))
}

impl ClerkSessionsRevokeAllParams {
    fn check(&self) -> Result<(), ActionError> {
        if self.at_once == 0 || self.at_once > MOST_AT_ONCE {
            return Err(ActionError::invalid_params(format!("`at_once` takes from 1 to {MOST_AT_ONCE}")));
        }
        // A misspelt exception would sign out somebody who is to stay.
        if let Some(wrong) = self.except.iter().find(|id| !id.starts_with("user_")) {
            let message = format!("`except`: `{wrong}` is no user's id; they begin with `user_`");
            return Err(ActionError::invalid_params(message));
        }
        ids(&self.except).map(drop)
    }

    fn client<'a>(&self, cx: &'a ActionContext) -> Result<Client<'a>, ActionError> {
        let client = Client::new(cx, &self.secret, self.share, self.timeout)?;
        Ok(client.waiting_for(self.maintenance_patience.0))
    }

    fn ways(&self) -> Ways {
        Ways {
            except: self.except.iter().cloned().collect::<BTreeSet<_>>(),
            at_once: usize::try_from(self.at_once).unwrap_or(1),
            verify_all: self.verify == Verify::Everybody,
        }
    }
}

/// What an earlier try left, held against what is asked now.
fn read_progress(value: &serde_json::Value, strategy: Strategy, instance: &str) -> Result<Progress, ActionError> {
    let progress: Progress = serde_json::from_value(value.clone())
        .map_err(|error| ActionError::invalid_params(format!("the checkpoint cannot be read: {error}")))?;
    if progress.instance != instance || progress.strategy != strategy {
        return Err(ActionError::new(
            ErrorKind::Rejected,
            format!(
                "it was begun with the instance {} by {}, and is to go on with {instance} by {strategy}",
                progress.instance, progress.strategy
            ),
        ));
    }
    Ok(progress)
}

fn output(progress: &Progress, environment: &str, residual: Option<u64>) -> ClerkSessionsRevokeAllOutput {
    let failures = u64::try_from(progress.failed.len()).unwrap_or(u64::MAX);
    let working = progress.spent_ms.saturating_sub(progress.paused_ms);
    let rate = if working > 0 { progress.requests as f64 * 1000.0 / working as f64 } else { 0.0 };
    ClerkSessionsRevokeAllOutput {
        instance: progress.instance.clone(),
        environment: environment.to_owned(),
        strategy: progress.strategy,
        users: progress.users,
        excluded: progress.excluded,
        already_banned: progress.already_banned,
        sessions_found: progress.revoked + progress.gone + failures,
        revoked: progress.revoked,
        already_gone: progress.gone,
        users_signed_out: progress.signed_out,
        found_later: progress.later,
        failures,
        failed: progress.failed.iter().take(FAILURES_SHOWN).cloned().collect(),
        passes: progress.passes,
        residual_seconds: residual,
        began: progress.began.to_string(),
        up_to: progress.over.map(|over| over.to_string()),
        seconds: progress.spent_ms / 1000,
        paused_seconds: progress.paused_ms / 1000,
        requests: progress.requests,
        requests_per_second: (rate * 10.0).round() / 10.0,
        complete: progress.pass == Pass::Done,
    }
}

impl Action for RevokeAll {
    const NAME: &'static str = "clerk.sessions.revoke_all";
    const SUMMARY: &'static str = "Signs all users of a Clerk instance out, within a share of its limit.";
    const EFFECT: Effect = Effect::Write;
    const REPLAY: Replay = Replay::Safe;
    const UNDO: Option<&'static str> =
        Some("lifts bans that an interrupted `ban_cycle` left; ended sessions stay ended");
    const SECRETS: &'static [&'static str] = &["clerk"];
    type Params = ClerkSessionsRevokeAllParams;
    type Output = ClerkSessionsRevokeAllOutput;

    async fn run(
        &self,
        cx: &ActionContext,
        params: ClerkSessionsRevokeAllParams,
    ) -> Result<ClerkSessionsRevokeAllOutput, ActionError> {
        params.check()?;
        let expected = ClerkInstanceParams {
            secret: params.secret.clone(),
            expect_id: params.expect_instance.clone(),
            expect_environment: Some(params.expect_environment),
            timeout: params.timeout,
        };
        let instance = Instance.run(cx, expected).await?;
        let mut progress = match cx.checkpoint() {
            Some(checkpoint) => read_progress(checkpoint, params.strategy, &instance.id)?,
            None => Progress::new(instance.id.clone(), params.strategy, cx.now()),
        };
        let client = params.client(cx)?;
        // Neither is worth failing for: one is for the report, the other for the time left.
        let residual = match longest_token(&client).await {
            Err(error) if error.kind == ErrorKind::Cancelled => return Err(error),
            read => read.ok(),
        };
        let total = count_users(&client).await.unwrap_or(progress.users);
        let sweep = Sweep::new(client, params.ways(), &progress, total);
        let swept = sweep.run(&mut progress).await;
        sweep.spent(&mut progress);
        let output = output(&progress, &instance.environment_type, residual);
        match swept {
            Err(error) => Err(error.with_outputs(&output)),
            Ok(()) if progress.failed.is_empty() => Ok(output),
            Ok(()) => {
                let (count, first) = (output.failures, &output.failed[0]);
                let message = format!("{count} could not be signed out; {}: {}", first.user_id, first.message);
                Err(ActionError::new(ErrorKind::Failed, message).with_outputs(&output))
            }
        }
    }

    fn describe(&self, params: &ClerkSessionsRevokeAllParams) -> Vec<Intent> {
        let request = |method, path: &str| backend(method, path, params.timeout);
        let write = |path: &str, body: serde_json::Value| Intent::from(&request("POST", path).json(body));
        let mut intents = vec![Intent::from(&request("GET", "/instance"))];
        let page = request("GET", "/users").query("limit", PAGE.to_string()).query("order_by", "+created_at");
        intents.push(Intent::note("then, page by page through all users:"));
        intents.push(Intent::from(&page.query("starting_after", ":last")));
        let list = Intent::from(&request("GET", "/sessions").query("user_id", ":user").query("limit", "500"));
        let revoke = Intent::from(&request("POST", "/sessions/:session/revoke"));
        match params.strategy {
            Strategy::Revoke => intents.extend([list, revoke]),
            Strategy::SetCompromised => {
                let body = serde_json::json!({ "revoke_all_sessions": true });
                intents.push(write("/users/:user/password/set_compromised", body));
                intents.push(Intent::note("everybody must set a new password at the next sign-in"));
            }
            Strategy::BanCycle => {
                let body = serde_json::json!({ "user_ids": [":users"] });
                intents.extend([write("/users/ban", body.clone()), write("/users/unban", body)]);
                intents.push(Intent::note("fifty users at a time; who was banned before stays banned"));
            }
        }
        intents.push(Intent::note(format!(
            "takes {} of the instance's limit; then looks for those who signed in meanwhile",
            params.share
        )));
        if !params.except.is_empty() {
            intents.push(Intent::note(format!("leaves alone: {}", params.except.join(", "))));
        }
        intents.push(Intent::note(
            "tokens that are out are taken until they expire; API keys, machine tokens and OAuth grants stay as they are",
        ));
        intents
    }

    fn needs(&self, params: &ClerkSessionsRevokeAllParams) -> Vec<Need> {
        vec![key_is_taken(&params.secret, params.timeout)]
    }

    async fn undo(
        &self,
        cx: &ActionContext,
        params: ClerkSessionsRevokeAllParams,
        done: Done<ClerkSessionsRevokeAllOutput>,
    ) -> Result<Undone, ActionError> {
        let Some(checkpoint) = done.checkpoint else {
            return Ok(Undone { summary: "nobody had been signed out".to_owned(), left: Vec::new() });
        };
        let progress: Progress = serde_json::from_value(checkpoint)
            .map_err(|error| ActionError::invalid_params(format!("the checkpoint cannot be read: {error}")))?;
        let banned = ids(&progress.banning)?;
        let summary = if banned.is_empty() {
            "no ban was left".to_owned()
        } else {
            bans::lift(&params.client(cx)?, &banned).await?;
            format!("lifted the bans of up to {} users", banned.len())
        };
        let ended = progress.revoked + progress.signed_out;
        let left = (ended > 0 || progress.pass != Pass::Everybody || progress.after.is_some())
            .then(|| "the sessions that were ended; people sign in again".to_owned());
        Ok(Undone { summary, left: left.into_iter().collect() })
    }
}
