//! `clerk.users.ban`, `unban`, `lock` and `unlock`: who may sign in. Each undoes the other, where it changed something.

use std::marker::PhantomData;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::rows::{Id, UserRow, given_id};
use super::super::{backend, default_secret, default_timeout, key_is_taken, limit, typed};
use crate::action::{Action, ActionContext, ActionError, Done, Effect, ErrorKind, Intent, Need, Replay, Undone};
use crate::base::HumanDuration;

/// Which user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClerkUserParams {
    /// The user's id, `user_…`.
    pub user_id: String,
    /// The name of the secret that holds the instance's secret key (`sk_live_…` or `sk_test_…`).
    #[serde(default = "default_secret")]
    pub secret: String,
    /// How long each exchange may take.
    #[serde(default = "default_timeout")]
    pub timeout: HumanDuration,
}

/// How the user stands now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClerkUserStandingOutput {
    /// The user's id.
    pub user_id: String,
    /// Is the user banned?
    pub banned: bool,
    /// Is the user locked?
    pub locked: bool,
    /// For how many more seconds a locked user is; `null` for ever, and when not locked.
    pub lockout_expires_in_seconds: Option<i64>,
    /// Did this step change it? An undo takes back only what it changed.
    pub changed: bool,
}

/// One way a user's standing can be turned.
pub trait Turn: Send + Sync + 'static {
    /// The action's name.
    const NAME: &'static str;
    /// One line about it.
    const SUMMARY: &'static str;
    /// What its inverse does.
    const UNDO: &'static str;
    /// The last part of the address.
    const WORD: &'static str;
    /// The same of the inverse.
    const INVERSE: &'static str;
    /// Does this user stand as wanted?
    fn holds(user: &Standing) -> bool;
    /// A way out for a refusal.
    fn help(status: u16) -> Option<&'static str>;
    /// What the inverse cannot put back.
    const LOST: Option<&'static str> = None;
}

/// What counts of a user's standing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    banned: bool,
    locked: bool,
}

/// Turns a user's standing.
#[derive(Debug)]
pub struct Turning<T>(PhantomData<T>);

impl<T> Turning<T> {
    /// The action.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T> Default for Turning<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Bans a user: ends every session, and keeps the user out until somebody lifts it.
pub type Ban = Turning<ToBanned>;
/// Lifts a ban.
pub type Unban = Turning<ToUnbanned>;
/// Locks a user out for as long as the instance's setting says. Ends no session.
pub type Lock = Turning<ToLocked>;
/// Lifts a lock.
pub type Unlock = Turning<ToUnlocked>;

const NO_BANS: &str = "the instance's plan does not include bans; lock the user and revoke the sessions instead";
const NO_LOCKS: &str =
    "user lockout is off in this instance; switch it on under Attack protection in the dashboard, or ban the user";

/// See [`Ban`].
#[derive(Debug)]
pub struct ToBanned;
impl Turn for ToBanned {
    const NAME: &'static str = "clerk.users.ban";
    const SUMMARY: &'static str = "Bans a user of a Clerk instance and ends all of their sessions.";
    const UNDO: &'static str = "lifts the ban, unless the user was banned before";
    const WORD: &'static str = "ban";
    const INVERSE: &'static str = "unban";
    const LOST: Option<&'static str> = Some("the sessions that the ban ended; the user signs in again");
    fn holds(user: &Standing) -> bool {
        user.banned
    }
    fn help(status: u16) -> Option<&'static str> {
        (status == 402).then_some(NO_BANS)
    }
}

/// See [`Unban`].
#[derive(Debug)]
pub struct ToUnbanned;
impl Turn for ToUnbanned {
    const NAME: &'static str = "clerk.users.unban";
    const SUMMARY: &'static str = "Lifts the ban of a user of a Clerk instance.";
    const UNDO: &'static str = "bans the user again, unless there was no ban before";
    const WORD: &'static str = "unban";
    const INVERSE: &'static str = "ban";
    fn holds(user: &Standing) -> bool {
        !user.banned
    }
    fn help(status: u16) -> Option<&'static str> {
        (status == 402).then_some(NO_BANS)
    }
}

/// See [`Lock`].
#[derive(Debug)]
pub struct ToLocked;
impl Turn for ToLocked {
    const NAME: &'static str = "clerk.users.lock";
    const SUMMARY: &'static str = "Locks a user of a Clerk instance out of signing in. Ends no session.";
    const UNDO: &'static str = "unlocks the user, unless locked before";
    const WORD: &'static str = "lock";
    const INVERSE: &'static str = "unlock";
    fn holds(user: &Standing) -> bool {
        user.locked
    }
    fn help(status: u16) -> Option<&'static str> {
        (status == 403).then_some(NO_LOCKS)
    }
}

/// See [`Unlock`].
#[derive(Debug)]
pub struct ToUnlocked;
impl Turn for ToUnlocked {
    const NAME: &'static str = "clerk.users.unlock";
    const SUMMARY: &'static str = "Lifts the lock of a user of a Clerk instance.";
    const UNDO: &'static str = "locks the user again, unless not locked before";
    const WORD: &'static str = "unlock";
    const INVERSE: &'static str = "lock";
    fn holds(user: &Standing) -> bool {
        !user.locked
    }
    fn help(status: u16) -> Option<&'static str> {
        (status == 403).then_some(NO_LOCKS)
    }
}

async fn read(cx: &ActionContext, key: &str, params: &ClerkUserParams, id: &Id) -> Result<UserRow, ActionError> {
    let request = backend("GET", &format!("/users/{}", id.as_str()), params.timeout).bearer(key);
    let request = request.limited(limit(cx, &params.secret)?);
    let response = cx.send(request).await?;
    typed(cx.json(&response)?, &response.url)
}

async fn turn<T: Turn>(
    cx: &ActionContext,
    key: &str,
    params: &ClerkUserParams,
    id: &Id,
    word: &str,
) -> Result<UserRow, ActionError> {
    let request = backend("POST", &format!("/users/{}/{word}", id.as_str()), params.timeout).bearer(key);
    let request = request.limited(limit(cx, &params.secret)?);
    let response = cx.send(request).await?;
    let answer = cx.json(&response).map_err(|mut error| {
        if let Some(help) = error.status.and_then(T::help) {
            error.message = format!("{}: {help}", error.message);
        }
        error
    })?;
    typed(answer, &response.url)
}

fn output(user: &UserRow, changed: bool) -> ClerkUserStandingOutput {
    ClerkUserStandingOutput {
        user_id: user.id.as_str().to_owned(),
        banned: user.banned,
        locked: user.locked,
        lockout_expires_in_seconds: user.lockout_expires_in_seconds,
        changed,
    }
}

impl<T: Turn> Action for Turning<T> {
    const NAME: &'static str = T::NAME;
    const SUMMARY: &'static str = T::SUMMARY;
    const EFFECT: Effect = Effect::Write;
    const REPLAY: Replay = Replay::Safe;
    const UNDO: Option<&'static str> = Some(T::UNDO);
    const SECRETS: &'static [&'static str] = &["clerk"];
    type Params = ClerkUserParams;
    type Output = ClerkUserStandingOutput;

    async fn run(&self, cx: &ActionContext, params: ClerkUserParams) -> Result<ClerkUserStandingOutput, ActionError> {
        let id = given_id(&params.user_id)?;
        let key = cx.secret(&params.secret)?;
        let user = read(cx, &key, &params, &id).await?;
        let holds = T::holds(&Standing { banned: user.banned, locked: user.locked });
        // What counts is how it was before the first try.
        let held_before = match cx.checkpoint().and_then(|checkpoint| checkpoint.get("held")?.as_bool()) {
            Some(held) => held,
            None => {
                cx.save_checkpoint(json!({ "held": holds })).await?;
                holds
            }
        };
        if holds {
            return Ok(output(&user, !held_before));
        }
        let user = turn::<T>(cx, &key, &params, &id, T::WORD).await?;
        if !T::holds(&Standing { banned: user.banned, locked: user.locked }) {
            let message = format!("Clerk took the request to {} {} and nothing changed", T::WORD, id.as_str());
            return Err(ActionError::new(ErrorKind::Failed, message));
        }
        Ok(output(&user, true))
    }

    fn describe(&self, params: &ClerkUserParams) -> Vec<Intent> {
        let request = |method, rest: &str| {
            Intent::from(&backend(method, &format!("/users/{}{rest}", params.user_id), params.timeout))
        };
        vec![
            request("GET", ""),
            Intent::note("keeps how it was in the run log, for the undo; does nothing when it is so already"),
            request("POST", &format!("/{}", T::WORD)),
        ]
    }

    fn needs(&self, params: &ClerkUserParams) -> Vec<Need> {
        vec![key_is_taken(&params.secret, params.timeout)]
    }

    async fn undo(
        &self,
        cx: &ActionContext,
        params: ClerkUserParams,
        done: Done<ClerkUserStandingOutput>,
    ) -> Result<Undone, ActionError> {
        let id = given_id(&params.user_id)?;
        let held = done.checkpoint.as_ref().and_then(|checkpoint| checkpoint.get("held")?.as_bool());
        if held != Some(false) {
            return Ok(Undone { summary: format!("{} is as before", id.as_str()), left: Vec::new() });
        }
        let key = cx.secret(&params.secret)?;
        match turn::<T>(cx, &key, &params, &id, T::INVERSE).await {
            Ok(_) => {
                let left = T::LOST.iter().map(|lost| (*lost).to_owned()).collect();
                Ok(Undone { summary: format!("{} {}", past(T::INVERSE), id.as_str()), left })
            }
            Err(error) if error.status == Some(404) => {
                Ok(Undone { summary: format!("{} is gone by now", id.as_str()), left: Vec::new() })
            }
            Err(error) => Err(error),
        }
    }
}

fn past(word: &str) -> String {
    match word {
        "ban" | "unban" => format!("{word}ned"),
        other => format!("{other}ed"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::super::testing::{Answer, Bench, Seen, faults};
    use super::*;
    use std::sync::{Arc, Mutex};

    fn params() -> ClerkUserParams {
        serde_json::from_value(json!({ "user_id": "user_1" })).unwrap()
    }

    /// Is the user banned, is the user locked?
    type User = Arc<Mutex<(bool, bool)>>;

    async fn vendor(user: &User) -> Bench {
        let user = Arc::clone(user);
        Bench::with(move |seen: &Seen| {
            let mut user = user.lock().unwrap();
            match seen.path.rsplit('/').next().unwrap() {
                "ban" => user.0 = true,
                "unban" => user.0 = false,
                "lock" => user.1 = true,
                "unlock" => user.1 = false,
                _ => {}
            }
            let left = if user.1 { json!(3600) } else { json!(null) };
            Answer::json(
                200,
                &json!({ "id": "user_1", "banned": user.0, "locked": user.1, "lockout_expires_in_seconds": left }),
            )
        })
        .await
    }

    fn done(bench: &Bench) -> Done<ClerkUserStandingOutput> {
        Done { output: None, checkpoint: bench.saved().pop() }
    }

    #[tokio::test]
    async fn each_turn_is_taken_back_by_the_other_and_only_where_it_changed_something() {
        async fn try_out<T: Turn>(before: (bool, bool), between: (bool, bool)) {
            let user: User = Arc::new(Mutex::new(before));
            let bench = vendor(&user).await;
            let action = Turning::<T>::new();
            let output = action.run(&bench.cx(), params()).await.unwrap();
            assert_eq!((output.banned, output.locked, output.changed), (between.0, between.1, true), "{}", T::NAME);
            let word = T::WORD;
            assert_eq!(bench.lines(), ["GET /v1/users/user_1".to_owned(), format!("POST /v1/users/user_1/{word}")]);
            action.undo(&bench.cx(), params(), done(&bench)).await.unwrap();
            assert_eq!(*user.lock().unwrap(), before, "{}", T::NAME);

            // As wanted before: nothing to do, and nothing to take back.
            let user: User = Arc::new(Mutex::new(between));
            let bench = vendor(&user).await;
            let output = action.run(&bench.cx(), params()).await.unwrap();
            assert!(!output.changed);
            action.undo(&bench.cx(), params(), done(&bench)).await.unwrap();
            assert_eq!((*user.lock().unwrap(), bench.lines().len()), (between, 1), "{}", T::NAME);
        }
        try_out::<ToBanned>((false, false), (true, false)).await;
        try_out::<ToUnbanned>((true, true), (false, true)).await;
        try_out::<ToLocked>((false, false), (false, true)).await;
        try_out::<ToUnlocked>((true, true), (true, false)).await;
    }

    #[tokio::test]
    async fn a_repeat_remembers_how_it_was_before_the_first_try() {
        let user: User = Arc::new(Mutex::new((false, false)));
        let bench = vendor(&user).await;
        Ban::new().run(&bench.cx(), params()).await.unwrap();
        let output = Ban::new().run(&bench.again(), params()).await.unwrap();
        assert!(output.changed, "the first try changed it");
        let undone = Ban::new().undo(&bench.cx(), params(), done(&bench)).await.unwrap();
        assert_eq!(undone.summary, "unbanned user_1");
        assert_eq!(undone.left, ["the sessions that the ban ended; the user signs in again"]);
        assert!(!user.lock().unwrap().0);
    }

    #[tokio::test]
    async fn what_the_plan_or_the_setting_forbids_is_explained() {
        async fn refused<T: Turn>(status: u16) -> String {
            let bench = Bench::with(move |seen| match seen.method.as_str() {
                "GET" => Answer::json(200, &json!({ "id": "user_1", "banned": false, "locked": false })),
                _ => {
                    Answer::json(status, &json!({ "errors": [{ "message": "no", "long_message": "no", "code": "x" }] }))
                }
            })
            .await;
            Turning::<T>::new().run(&bench.cx(), params()).await.unwrap_err().message
        }
        assert!(refused::<ToBanned>(402).await.contains("plan does not include bans"));
        assert!(refused::<ToLocked>(403).await.contains("user lockout is off"));
        assert!(!refused::<ToLocked>(409).await.contains("lockout"));
    }

    #[tokio::test]
    async fn every_fault_has_its_kind_and_nothing_is_written_after_a_failed_read() {
        for (answer, kind) in faults() {
            let told = format!("{answer:?}");
            let bench = Bench::with(move |_| answer.clone()).await;
            assert_eq!(Ban::new().run(&bench.cx(), params()).await.unwrap_err().kind, kind, "{told}");
            assert_eq!(bench.lines(), ["GET /v1/users/user_1"], "{told}");
        }
        let bench = Bench::with(|seen| match seen.method.as_str() {
            "GET" => Answer::json(200, &json!({ "id": "user_1" })),
            _ => Answer::Never,
        })
        .await;
        let slow = ClerkUserParams { timeout: "30ms".parse().unwrap(), ..params() };
        let error = Ban::new().run(&bench.cx(), slow).await.unwrap_err();
        assert_eq!((error.kind, error.uncertain), (ErrorKind::Timeout, true));
    }

    #[tokio::test]
    async fn a_user_who_is_gone_needs_no_undo() {
        let bench = Bench::with(|_| Answer::json(404, &json!({ "errors": [{ "code": "resource_not_found" }] }))).await;
        let done = Done { output: None, checkpoint: Some(json!({ "held": false })) };
        let undone = Ban::new().undo(&bench.cx(), params(), done).await.unwrap();
        assert_eq!(undone.summary, "user_1 is gone by now");
        let error =
            Ban::new().run(&bench.cx(), ClerkUserParams { user_id: "a/b".into(), ..params() }).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidParams);
    }
}
