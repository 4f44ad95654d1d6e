//! Ends the sessions of one user.

use futures_util::stream::{self, StreamExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::super::client::{Client, is_maintenance};
use super::super::rows::{Id, SessionRow, sessions_of};
use crate::action::{ActionError, ErrorKind};

/// How many sessions of one user are ended at once.
const AT_ONCE: usize = 8;
/// A user who keeps opening sessions is left after so many rounds.
const ROUNDS: u32 = 5;

/// Somebody or something that could not be signed out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClerkSweepFailure {
    /// The user's id.
    pub user_id: String,
    /// The session's id; `null` when the user's sessions could not be listed.
    pub session_id: Option<String>,
    /// The kind of the failure.
    pub kind: ErrorKind,
    /// What happened.
    pub message: String,
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) revoked: u64,
    pub(super) gone: u64,
    /// Users whose sessions were all ended by one request, nobody knows how many.
    pub(super) signed_out: u64,
    pub(super) failed: Vec<ClerkSweepFailure>,
}

impl Tally {
    pub(super) fn failure(user: &Id, session: Option<&Id>, error: &ActionError) -> ClerkSweepFailure {
        ClerkSweepFailure {
            user_id: user.as_str().to_owned(),
            session_id: session.map(|id| id.as_str().to_owned()),
            kind: error.kind,
            message: error.message.clone(),
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.revoked += other.revoked;
        self.gone += other.gone;
        self.signed_out += other.signed_out;
        self.failed.extend(other.failed);
    }
}

/// Which sessions count.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Cut {
    /// Only those opened up to then, in milliseconds.
    pub(super) opened_until: Option<i64>,
    /// Count those as done that were revoked since then: an interrupted try did it.
    pub(super) revoked_since: Option<i64>,
}

/// Would the next request fail in the same way? Then nothing is gained by going on.
pub(super) fn ends_everything(error: &ActionError) -> bool {
    match error.kind {
        ErrorKind::Cancelled
        | ErrorKind::Unauthorized
        | ErrorKind::Secret
        | ErrorKind::InvalidParams
        | ErrorKind::Internal => true,
        _ => is_maintenance(error),
    }
}

/// Ends all live sessions of a user. What is gone by then is no failure. A failure that would repeat itself with everybody is
/// an error; any other is counted.
pub(super) async fn sign_out(client: &Client<'_>, user: &Id, cut: Cut) -> Result<Tally, ActionError> {
    let mut tally = Tally::default();
    for round in 0..ROUNDS {
        let since = cut.revoked_since.filter(|_| round == 0);
        let listed = match sessions_of(client, user, since).await {
            Ok(listed) => listed,
            Err(error) if error.status == Some(404) => return Ok(tally),
            Err(error) if ends_everything(&error) => return Err(error),
            Err(error) => {
                tally.failed.push(Tally::failure(user, None, &error));
                return Ok(tally);
            }
        };
        tally.revoked += listed.revoked_since;
        let counts = |session: &SessionRow| cut.opened_until.is_none_or(|until| session.created_at <= until);
        let live: Vec<Id> = listed.live.into_iter().filter(counts).map(|session| session.id).collect();
        let (found, failed_before) = (live.len(), tally.failed.len());
        let mut ends = stream::iter(live).map(|session| end(client, session)).buffer_unordered(AT_ONCE);
        while let Some(ended) = ends.next().await {
            match ended {
                (_, Ok(End::Revoked)) => tally.revoked += 1,
                (_, Ok(End::Gone)) => tally.gone += 1,
                (_, Err(error)) if ends_everything(&error) => return Err(error),
                (session, Err(error)) => tally.failed.push(Tally::failure(user, Some(&session), &error)),
            }
        }
        // A long list may have moved while it was read: it is read again until nobody is left.
        if !listed.is_long || found == 0 || tally.failed.len() > failed_before {
            break;
        }
    }
    Ok(tally)
}

enum End {
    Revoked,
    Gone,
}

async fn end(client: &Client<'_>, session: Id) -> (Id, Result<End, ActionError>) {
    let ended = match client.write(&format!("/sessions/{}/revoke", session.as_str()), None).await {
        Ok(response) => match serde_json::from_slice::<SessionRow>(&response.body) {
            Ok(row) if !row.is_live() => Ok(End::Revoked),
            Ok(row) => Err(ActionError::new(
                ErrorKind::Failed,
                format!("Clerk took the request to revoke {} and says that it is {}", session.as_str(), row.status),
            )),
            Err(error) => {
                Err(ActionError::invalid_response(format!("{} answered something unexpected: {error}", response.url)))
            }
        },
        Err(error) if error.status == Some(404) => Ok(End::Gone),
        Err(error) => Err(error),
    };
    (session, ended)
}
