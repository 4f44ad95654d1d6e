//! `clerk.sessions.count`: how many sessions are live, and what ending them would cost. The plan before the gate, and the
//! proof after it.

use std::collections::BTreeSet;

use futures_util::stream::{self, StreamExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::client::Client;
use super::super::percent::Share;
use super::super::rows::{Id, PAGE, SessionRow, UserRow, sessions_of};
use super::super::{backend, default_secret, default_timeout, key_is_taken};
use super::cost::{ClerkSweepCost, Strategy};
use super::{count_users, longest_token};
use crate::action::{Action, ActionContext, ActionError, Effect, Intent, Need, Replay};
use crate::base::{HumanDuration, Timestamp};

const AT_ONCE: usize = 16;

/// Counts the users, looks at the sessions of some of them or of all, and says what each way of ending all sessions would
/// take. Shows no person's data.
#[derive(Debug)]
pub struct Count;

/// What to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClerkSessionsCountParams {
    /// How many users to look at, half of them the oldest and half the newest; one request each.
    #[serde(default = "default_sample")]
    pub sample: u32,
    /// Look at every user instead: exact, and as many requests as there are users.
    #[serde(default)]
    pub everybody: bool,
    /// Count those apart that were opened up to this time, such as the `up_to` of a `clerk.sessions.revoke_all`: none of these
    /// should be left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["{{ revoke_all.outputs.up_to }}"]))]
    pub opened_up_to: Option<String>,
    /// Users who do not count, by id.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
    /// The share of the instance's limit that looking takes, and for which the costs are worked out.
    #[serde(default = "half")]
    pub share: Share,
    /// The name of the secret that holds the instance's secret key (`sk_live_…` or `sk_test_…`).
    #[serde(default = "default_secret")]
    pub secret: String,
    /// How long each exchange may take.
    #[serde(default = "default_timeout")]
    pub timeout: HumanDuration,
}

/// What there is, and what it would take.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ClerkSessionsCountOutput {
    /// How many users there are.
    pub users: u64,
    /// How many of these were looked at.
    pub looked_at: u64,
    /// How many live sessions these have.
    pub live: u64,
    /// Of these, how many are pending: signed in, with something left to do.
    pub pending: u64,
    /// Of the live ones, how many were opened up to `opened_up_to`.
    pub opened_in_time: u64,
    /// Up to five users who have one of these.
    pub still_signed_in: Vec<String>,
    /// How many live sessions there are in all: counted, or worked out from those looked at.
    pub sessions: u64,
    /// Was everybody looked at?
    pub exact: bool,
    /// For how many seconds a token may be taken after its session was ended.
    pub residual_seconds: u64,
    /// What each way of ending all sessions costs, at the share that was asked for.
    pub costs: ClerkSweepCosts,
}

/// What each strategy of `clerk.sessions.revoke_all` costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClerkSweepCosts {
    /// One by one.
    pub revoke: ClerkSweepCost,
    /// With the password, user by user.
    pub set_compromised: ClerkSweepCost,
    /// By bans, fifty users at a time.
    pub ban_cycle: ClerkSweepCost,
}

fn default_sample() -> u32 {
    200
}

fn half() -> Share {
    Share::HALF
}

/// What was seen so far.
#[derive(Default)]
struct Seen {
    looked_at: u64,
    live: u64,
    pending: u64,
    in_time: u64,
    still: Vec<String>,
}

struct Looker<'a> {
    client: Client<'a>,
    except: BTreeSet<String>,
    up_to: Option<i64>,
}

impl Looker<'_> {
    async fn page(&self, order: &str, limit: usize, last: Option<String>) -> Result<Vec<UserRow>, ActionError> {
        let mut query = vec![("limit", limit.to_string()), ("order_by", order.to_owned())];
        query.extend(last.map(|last| ("starting_after", last)));
        self.client.list("/users", &query).await
    }

    async fn look(&self, users: &[UserRow], seen: &mut Seen) -> Result<(), ActionError> {
        let wanted: Vec<Id> = users.iter().map(|user| user.id.clone()).collect();
        let wanted = wanted.into_iter().filter(|user| !self.except.contains(user.as_str()));
        let mut each = stream::iter(wanted)
            .map(|user| async move {
                let listed = sessions_of(&self.client, &user, None).await;
                (user, listed)
            })
            .buffer_unordered(AT_ONCE);
        while let Some((user, listed)) = each.next().await {
            let live = match listed {
                Ok(listed) => listed.live,
                Err(error) if error.status == Some(404) => Vec::new(),
                Err(error) => return Err(error),
            };
            let count = |wanted: &dyn Fn(&SessionRow) -> bool| {
                u64::try_from(live.iter().filter(|session| wanted(session)).count()).unwrap_or(u64::MAX)
            };
            let in_time = count(&|session| self.up_to.is_some_and(|up_to| session.created_at <= up_to));
            seen.looked_at += 1;
            seen.live += count(&|_| true);
            seen.pending += count(&|session| session.status == "pending");
            seen.in_time += in_time;
            if in_time > 0 && seen.still.len() < 5 {
                seen.still.push(user.as_str().to_owned());
            }
        }
        Ok(())
    }

    /// All users, page by page.
    async fn everybody(&self, seen: &mut Seen, total: u64) -> Result<(), ActionError> {
        let mut last = None;
        loop {
            let users = self.page("+created_at", PAGE, last).await?;
            self.look(&users, seen).await?;
            let Some(newest) = users.last().filter(|_| users.len() == PAGE) else { return Ok(()) };
            last = Some(newest.id.as_str().to_owned());
            let looked_at = seen.looked_at;
            self.client.cx.progress(format!("{looked_at} of {total} users looked at, {} live sessions", seen.live));
        }
    }

    /// Some of the oldest and some of the newest.
    async fn some(&self, seen: &mut Seen, wanted: u32) -> Result<(), ActionError> {
        let mut known = BTreeSet::new();
        for (order, share) in [("+created_at", wanted / 2), ("-created_at", wanted - wanted / 2)] {
            let mut left = usize::try_from(share).unwrap_or(PAGE);
            let mut last = None;
            while left > 0 {
                let limit = left.min(PAGE);
                let mut users = self.page(order, limit, last).await?;
                let whole = users.len() == limit;
                left -= users.len().min(left);
                last = users.last().map(|user| user.id.as_str().to_owned());
                // Where there are few users, both ends meet.
                users.retain(|user| known.insert(user.id.clone()));
                self.look(&users, seen).await?;
                if !whole {
                    break;
                }
            }
        }
        Ok(())
    }
}

impl Action for Count {
    const NAME: &'static str = "clerk.sessions.count";
    const SUMMARY: &'static str =
        "Counts live sessions of a Clerk instance, and says what ending all of them would take.";
    const EFFECT: Effect = Effect::Read;
    const REPLAY: Replay = Replay::Safe;
    const SECRETS: &'static [&'static str] = &["clerk"];
    type Params = ClerkSessionsCountParams;
    type Output = ClerkSessionsCountOutput;

    async fn run(
        &self,
        cx: &ActionContext,
        params: ClerkSessionsCountParams,
    ) -> Result<ClerkSessionsCountOutput, ActionError> {
        let up_to = params.opened_up_to.as_deref().map(|text| {
            let time: Result<Timestamp, _> = text.parse();
            time.map(Timestamp::as_millisecond)
                .map_err(|_| ActionError::invalid_params(format!("`opened_up_to`: `{text}` is not a time")))
        });
        let up_to = up_to.transpose()?;
        let client = Client::new(cx, &params.secret, params.share, params.timeout)?;
        let looker = Looker { client, except: params.except.iter().cloned().collect(), up_to };
        let users = count_users(&looker.client).await?;
        let residual_seconds = longest_token(&looker.client).await?;
        let mut seen = Seen::default();
        let exact = params.everybody || users <= u64::from(params.sample);
        if exact {
            looker.everybody(&mut seen, users).await?;
        } else {
            looker.some(&mut seen, params.sample).await?;
        }
        let sessions = match seen.looked_at {
            _ if exact => seen.live,
            0 => users,
            looked_at => (u128::from(users) * u128::from(seen.live) / u128::from(looked_at)) as u64,
        };
        let limit = looker.client.limit();
        let per_second = f64::from(limit.requests) / limit.within.as_secs_f64();
        let cost = |strategy: Strategy| strategy.cost(users, sessions, per_second);
        Ok(ClerkSessionsCountOutput {
            users,
            looked_at: seen.looked_at,
            live: seen.live,
            pending: seen.pending,
            opened_in_time: seen.in_time,
            still_signed_in: seen.still,
            sessions,
            exact,
            residual_seconds,
            costs: ClerkSweepCosts {
                revoke: cost(Strategy::Revoke),
                set_compromised: cost(Strategy::SetCompromised),
                ban_cycle: cost(Strategy::BanCycle),
            },
        })
    }

    fn describe(&self, params: &ClerkSessionsCountParams) -> Vec<Intent> {
        let request = |path: &str| backend("GET", path, params.timeout);
        let whom = if params.everybody { "every user".to_owned() } else { format!("{} users", params.sample) };
        vec![
            Intent::from(&request("/users/count")),
            Intent::from(&request("/jwt_templates").query("limit", "500").query("offset", "0")),
            Intent::from(&request("/users").query("limit", ":page").query("order_by", "+created_at")),
            Intent::note(format!("for {whom}, within {} of the instance's limit:", params.share)),
            Intent::from(&request("/sessions").query("user_id", ":user").query("limit", "500")),
        ]
    }

    fn needs(&self, params: &ClerkSessionsCountParams) -> Vec<Need> {
        vec![key_is_taken(&params.secret, params.timeout)]
    }
}
