//! Users and sessions as the Backend API lists them: the few fields that count.

use serde::Deserialize;

use super::client::Client;
use crate::action::ActionError;

/// The most rows that one page holds.
pub(super) const PAGE: usize = 500;
/// Nobody has more live sessions than this; a longer list is one that never ends.
const MOST_SESSIONS: usize = 20_000;

/// A user.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct UserRow {
    pub(super) id: Id,
    #[serde(default)]
    pub(super) banned: bool,
    #[serde(default)]
    pub(super) locked: bool,
    #[serde(default)]
    pub(super) lockout_expires_in_seconds: Option<i64>,
    #[serde(default)]
    pub(super) created_at: i64,
    #[serde(default)]
    pub(super) last_sign_in_at: Option<i64>,
    #[serde(default)]
    pub(super) last_active_at: Option<i64>,
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct SessionRow {
    pub(super) id: Id,
    pub(super) status: String,
    #[serde(default)]
    pub(super) created_at: i64,
    #[serde(default)]
    pub(super) updated_at: i64,
}

impl SessionRow {
    /// Is somebody signed in by it? A `pending` one becomes active when its task is done.
    pub(super) fn is_live(&self) -> bool {
        matches!(self.status.as_str(), "active" | "pending")
    }
}

/// An id that can stand in a path as it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(super) struct Id(String);

impl Id {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Id {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        if !text.is_empty() && text.len() <= 128 && text.bytes().all(is_plain) {
            Ok(Self(text))
        } else {
            Err(format!("`{}` is no id", text.escape_default()))
        }
    }
}

/// An id that somebody wrote in a runbook.
pub(super) fn given_id(text: &str) -> Result<Id, ActionError> {
    Id::try_from(text.to_owned()).map_err(|error| ActionError::invalid_params(format!("{error} of a user")))
}

/// All live sessions of a user, and those that were revoked since a time, for counting.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub(super) live: Vec<SessionRow>,
    pub(super) revoked_since: u64,
    /// Did the list take more than one page?
    pub(super) is_long: bool,
}

/// Reads a user's sessions to the end. Nothing is filtered by the vendor: it refuses to filter by `pending`.
pub(super) async fn sessions_of(client: &Client<'_>, user: &Id, since: Option<i64>) -> Result<Listed, ActionError> {
    let mut listed = Listed::default();
    let mut offset = 0;
    loop {
        let query =
            [("user_id", user.as_str().to_owned()), ("limit", PAGE.to_string()), ("offset", offset.to_string())];
        let page: Vec<SessionRow> = client.list("/sessions", &query).await?;
        let rows = page.len();
        for session in page {
            if session.is_live() {
                listed.live.push(session);
            } else if session.status == "revoked" && since.is_some_and(|since| session.updated_at >= since) {
                listed.revoked_since += 1;
            }
        }
        offset += rows;
        if rows < PAGE {
            return Ok(listed);
        }
        listed.is_long = true;
        if offset > MOST_SESSIONS {
            return Err(ActionError::invalid_response(format!(
                "the list of sessions of {} goes on after {offset} rows",
                user.as_str()
            )));
        }
    }
}
