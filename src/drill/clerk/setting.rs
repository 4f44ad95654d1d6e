//! How Clerk's instance is set up at the start of a drill.

use indexmap::IndexMap;
use serde::Deserialize;

use crate::base::HumanDuration;

/// The instance: how many people, what its plan allows, how often it may be asked.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClerkSetting {
    /// The instance's id.
    pub instance: String,
    /// What kind of instance it is.
    pub environment: ClerkEnvironment,
    /// The id of the application that the instance belongs to, as the Platform API knows it.
    pub application: String,
    /// Has the workspace access to the Platform API? Otherwise that answers 403.
    pub platform: bool,
    /// More keys of the instance, by their names among `secrets`: those of others who use it.
    pub other_keys: Vec<String>,
    /// How many users there are.
    pub users: u32,
    /// How long after each other they were made; the last one this long before the drill.
    pub new_user_every: HumanDuration,
    /// How many live sessions a user has, on average.
    pub sessions_per_user: f64,
    /// How many sessions that ended before the drill a user still has in the list, on average.
    pub old_sessions_per_user: f64,
    /// Which part of the live sessions is `pending`, from 0 to 1.
    pub pending: f64,
    /// How many users are banned.
    pub banned: u32,
    /// Which part of the users has no password, from 0 to 1.
    pub without_password: f64,
    /// How many users sign in again while the drill goes on.
    pub sign_ins_per_minute: f64,
    /// How many new users sign up, and in, while the drill goes on.
    pub sign_ups_per_minute: f64,
    /// How many sessions end by themselves while the drill goes on.
    pub sign_outs_per_minute: f64,
    /// Does the plan include bans? Otherwise they are answered with 402.
    pub ban: bool,
    /// Can users be locked? Otherwise that is answered with 403.
    pub lockout: bool,
    /// JWT templates, and how long their tokens last.
    pub jwt_templates: IndexMap<String, HumanDuration>,
    /// How many requests are taken in ten seconds; 0 for any number. Unless said, 1000 with a key `sk_live_…`, else 100.
    pub requests_per_ten_seconds: Option<u32>,
}

/// What kind of instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClerkEnvironment {
    /// For people.
    #[default]
    Production,
    /// For trying things out.
    Development,
}

impl ClerkEnvironment {
    /// The vendor's word.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Development => "development",
        }
    }
}

impl ClerkSetting {
    /// How many requests are taken in ten seconds with this key; `None` for any number.
    /// <https://clerk.com/docs/guides/how-clerk-works/system-limits>
    pub(super) fn limit(&self, key: &str) -> Option<u32> {
        match self.requests_per_ten_seconds {
            None => Some(if key.starts_with("sk_live_") { 1000 } else { 100 }),
            Some(0) => None,
            Some(limit) => Some(limit),
        }
    }
}

impl Default for ClerkSetting {
    fn default() -> Self {
        Self {
            instance: "ins_drill".to_owned(),
            environment: ClerkEnvironment::Production,
            application: "app_drill".to_owned(),
            platform: true,
            other_keys: Vec::new(),
            users: 1203,
            new_user_every: HumanDuration(std::time::Duration::from_secs(60)),
            sessions_per_user: 1.3,
            old_sessions_per_user: 0.0,
            pending: 0.0,
            banned: 0,
            without_password: 0.0,
            sign_ins_per_minute: 0.0,
            sign_ups_per_minute: 0.0,
            sign_outs_per_minute: 0.0,
            ban: true,
            lockout: true,
            jwt_templates: IndexMap::new(),
            requests_per_ten_seconds: None,
        }
    }
}
