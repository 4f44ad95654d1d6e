//! What the world saw of a rehearsal: the facts a drill is scored by.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::app::policy;
use super::scenario::StandIn;
use super::state::WorldState;
use crate::base::Timestamp;

/// A stretch of the scenario's time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Window {
    /// Its start.
    pub from: Timestamp,
    /// Its end; `None` while it lasts.
    pub until: Option<Timestamp>,
}

/// Something that happened without being asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Happening {
    /// When.
    pub at: Timestamp,
    /// What, in one clause.
    pub what: String,
}

/// Something that was said to people.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Said {
    /// When.
    pub at: Timestamp,
    /// Where.
    pub on: StandIn,
    /// The message, or what was done with which alert.
    pub what: String,
}

/// The kinds of writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WriteKind {
    /// An environment variable was added.
    EnvCreated,
    /// An environment variable was changed.
    EnvUpdated,
    /// An environment variable was removed.
    EnvRemoved,
    /// A deployment was asked for.
    DeploymentCreated,
    /// A deployment was cancelled.
    DeploymentCancelled,
    /// A deployment was promoted.
    Promoted,
    /// The project was rolled back.
    RolledBack,
    /// A new secret key was made, and the old ones end.
    KeyRotated,
    /// A session was revoked by itself.
    SessionRevoked,
    /// Users were banned, by one request.
    UsersBanned,
    /// Users were unbanned, by one request.
    UsersUnbanned,
    /// A user was locked.
    UserLocked,
    /// A user was unlocked.
    UserUnlocked,
    /// A user's password was marked as stolen.
    PasswordCompromised,
    /// A message was posted.
    MessagePosted,
    /// An alert was opened, or told again.
    AlertTriggered,
    /// An alert was acknowledged.
    AlertAcknowledged,
    /// An alert was resolved.
    AlertResolved,
    /// A change was noted beside the alerts.
    ChangeNoted,
    /// A rolling release was given to everybody.
    RollingCompleted,
    /// Items of the Edge Config were set.
    EdgeConfigSet,
    /// A webhook endpoint was enabled or disabled.
    EndpointSwitched,
    /// Webhooks were ordered to be sent again.
    ReplayOrdered,
    /// One webhook was ordered to be sent again.
    MessageResent,
}

/// Why a request was not answered as asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// The vendor would refuse it: the request itself is wrong.
    Rules,
    /// The vendor is not well at this time, or does not grant it: for lack of money or of patience.
    Mode,
    /// The scenario has a fault for it.
    Fault,
    /// The vendor grants only so much: its rate limit is used up, or the plan does not include it.
    Granted,
    /// It was about something that was there, and was gone by then.
    Gone,
}

/// A request that was not answered as asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refused {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub on: StandIn,
    /// `GET`, `POST` …
    pub method: String,
    /// The path.
    pub path: String,
    /// The status; `None` when no answer came.
    pub status: Option<u16>,
    /// Why.
    pub why: Why,
}

/// Something that is there now and was not there at the start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LeftStanding {
    /// An environment variable that is new.
    VariableAdded(String),
    /// An environment variable with another value.
    VariableChanged(String),
    /// An environment variable that is gone.
    VariableRemoved(String),
    /// The deployment that serves lets people in by the bypass.
    BypassInForce(String),
    /// The project stays at a deployment until somebody promotes one.
    ProjectPinned(String),
    /// So many users are banned who were not.
    UsersBanned(u32),
    /// So many users are no longer banned.
    UsersUnbanned(u32),
    /// So many users are locked.
    UsersLocked(u32),
    /// The deployment that serves answers 500 on every route.
    BrokenServes(String),
    /// A deployment reaches a share of the customers only.
    RollingRelease(String),
    /// An item of the Edge Config is new, different or gone.
    EdgeConfigChanged(String),
}

impl fmt::Display for LeftStanding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::VariableAdded(key) => write!(f, "variable `{key}` was added"),
            Self::VariableChanged(key) => write!(f, "variable `{key}` was changed"),
            Self::VariableRemoved(key) => write!(f, "variable `{key}` was removed"),
            Self::BypassInForce(id) => write!(f, "the bypass is in force in deployment `{id}`"),
            Self::ProjectPinned(id) => write!(f, "the project is pinned to deployment `{id}`"),
            Self::UsersBanned(count) => write!(f, "{count} users are banned who were not"),
            Self::UsersUnbanned(count) => write!(f, "{count} users are no longer banned"),
            Self::UsersLocked(count) => write!(f, "{count} users are locked"),
            Self::BrokenServes(id) => write!(f, "deployment `{id}` serves, and answers 500"),
            Self::RollingRelease(id) => write!(f, "deployment `{id}` reaches a share of the customers only"),
            Self::EdgeConfigChanged(key) => write!(f, "item `{key}` of the Edge Config was changed"),
        }
    }
}

/// The facts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Observed {
    /// The scenario's time at which these are the facts.
    pub now: Timestamp,
    /// When nobody could sign in.
    pub sign_in_broken: Vec<Window>,
    /// When the app's bypass let people in.
    pub bypass_in_force: Vec<Window>,
    /// How many writes of each kind were carried out.
    pub writes: BTreeMap<WriteKind, u32>,
    /// What is left standing.
    pub left_standing: Vec<LeftStanding>,
    /// How many requests each stand-in got.
    pub requests: BTreeMap<StandIn, u32>,
    /// The requests that were not answered as asked, in order.
    pub refused: Vec<Refused>,
    /// What happened by itself, in order.
    pub happenings: Vec<Happening>,
    /// Who is signed in.
    pub sessions: Sessions,
    /// What was said to people, in Slack and at PagerDuty, in order.
    pub said: Vec<Said>,
    /// How many alerts are not resolved.
    pub alerts_open: u32,
    /// How many of Clerk's users no webhook has told of.
    pub users_untold: usize,
}

/// The sessions of Clerk's users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Sessions {
    /// How many of those that were live at the start still are.
    pub left_of_the_start: u32,
    /// How many were opened during the drill.
    pub opened: u32,
    /// How many of these are live.
    pub left_of_the_opened: u32,
}

impl Observed {
    /// From the first moment in which nobody could sign in to the last; `None` when sign-in always worked.
    pub fn outage(&self) -> Option<Window> {
        whole(&self.sign_in_broken)
    }

    /// From the first moment of the bypass to the last; `None` when it never was in force.
    pub fn bypass(&self) -> Option<Window> {
        whole(&self.bypass_in_force)
    }

    /// The requests that were wrong in themselves: a runbook or an action has to be mended.
    pub fn wrong_requests(&self) -> impl Iterator<Item = &Refused> {
        self.refused.iter().filter(|refused| refused.why == Why::Rules)
    }

    /// The facts of a state.
    pub(super) fn of(world: &WorldState) -> Self {
        Self {
            now: world.now,
            sign_in_broken: world.sign_in_broken.clone(),
            bypass_in_force: bypass_in_force(world),
            writes: world.writes.clone(),
            left_standing: world.left_standing(),
            requests: world.requests.clone(),
            refused: world.refused.clone(),
            happenings: world.happenings.clone(),
            sessions: Sessions {
                left_of_the_start: world.people.left_of_the_start(),
                opened: world.people.opened(),
                left_of_the_opened: world.people.left_of_the_opened(),
            },
            said: said(world),
            alerts_open: world.pagerduty.open(),
            users_untold: (0..)
                .zip(world.people.made())
                .filter(|(user, made)| world.mail.arrived(*user, *made, world.now).is_none())
                .count(),
        }
    }
}

fn whole(windows: &[Window]) -> Option<Window> {
    let (first, last) = (windows.first()?, windows.last()?);
    Some(Window { from: first.from, until: last.until })
}

fn said(world: &WorldState) -> Vec<Said> {
    let mut said: Vec<Said> = world.slack.said.iter().chain(&world.pagerduty.said).cloned().collect();
    said.sort_by_key(|said| said.at);
    said
}

/// The windows in which a serving deployment's policy let people in; neighbours are one window.
fn bypass_in_force(world: &WorldState) -> Vec<Window> {
    let mut windows: Vec<Window> = Vec::new();
    for (index, (from, id)) in world.vercel.served.iter().enumerate() {
        let to = world.vercel.served.get(index + 1).map_or(world.now, |(next, _)| *next);
        let Some((since, until)) =
            world.vercel.deployment(id).and_then(|deployment| policy(&deployment.env, *from).window)
        else {
            continue;
        };
        let (opens, closes) = ((*from).max(since), to.min(until));
        // At this very moment it may open, and then it has no end yet.
        let still = index + 1 == world.vercel.served.len() && world.now < until;
        if opens > closes || (opens == closes && !still) {
            continue;
        }
        let ends = (!still).then_some(closes);
        match windows.last_mut() {
            Some(before) if before.until == Some(opens) => before.until = ends,
            Some(_) | None => windows.push(Window { from: opens, until: ends }),
        }
    }
    windows
}
