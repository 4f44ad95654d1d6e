//! The fast way: bans fifty users at a time, which ends their sessions, and lifts the bans at once.
//!
//! Who may be banned by us is in a checkpoint before anybody is, so that whatever happens the bans can be lifted again. Who
//! was banned before is never touched.

use futures_util::stream::{self, StreamExt};
use serde_json::json;

use super::super::client::Client;
use super::super::rows::Id;
use super::cost::BULK;
use super::one::{Tally, ends_everything};
use crate::action::{ActionError, ErrorKind};

/// How many bulks are under way at once.
const AT_ONCE: usize = 2;

/// Bans these users and lifts the bans. `each` is told of every bulk that is done.
pub(super) async fn cycle(
    client: &Client<'_>,
    users: &[Id],
    mut each: impl FnMut(u64, &Tally),
) -> Result<Tally, ActionError> {
    let mut tally = Tally::default();
    let bulks: Vec<Vec<Id>> = users.chunks(BULK).map(<[Id]>::to_vec).collect();
    let mut bulks = stream::iter(bulks).map(|bulk| one_bulk(client, bulk)).buffer_unordered(AT_ONCE);
    while let Some(done) = bulks.next().await {
        let (users, done) = done?;
        each(users, &done);
        tally.add(done);
    }
    Ok(tally)
}

async fn one_bulk(client: &Client<'_>, users: Vec<Id>) -> Result<(u64, Tally), ActionError> {
    let mut tally = Tally::default();
    let failed = turn(client, &users, "ban").await?;
    let not_lifted = turn(client, &users, "unban").await?;
    // A failed unban leaves somebody out: that is no failure to count and go on.
    if let Some((_, error)) = not_lifted.into_iter().next() {
        return Err(error);
    }
    let count = u64::try_from(users.len()).unwrap_or(u64::MAX);
    tally.signed_out = count - u64::try_from(failed.len()).unwrap_or(count);
    tally.failed = failed.iter().map(|(user, error)| Tally::failure(user, None, error)).collect();
    Ok((count, tally))
}

/// Lifts the bans of users who were not banned before.
pub(super) async fn lift(client: &Client<'_>, users: &[Id]) -> Result<(), ActionError> {
    for bulk in users.chunks(BULK) {
        if let Some((_, error)) = turn(client, bulk, "unban").await?.into_iter().next() {
            return Err(error);
        }
    }
    Ok(())
}

/// Bans or unbans users, in one request where that works. Returns those with whom it failed.
async fn turn<'u>(client: &Client<'_>, users: &'u [Id], word: &str) -> Result<Vec<(&'u Id, ActionError)>, ActionError> {
    let ids: Vec<&str> = users.iter().map(Id::as_str).collect();
    match client.write(&format!("/users/{word}"), Some(json!({ "user_ids": ids }))).await {
        Ok(_) => Ok(Vec::new()),
        // One of them is gone by now, most likely: one by one.
        Err(error) if matches!(error.status, Some(400 | 404 | 422)) => {
            let mut failed = Vec::new();
            for user in users {
                match client.write(&format!("/users/{}/{word}", user.as_str()), None).await {
                    Ok(_) => {}
                    Err(error) if error.status == Some(404) => {}
                    Err(error) if ends_everything(&error) => return Err(error),
                    Err(error) => failed.push((user, error)),
                }
            }
            Ok(failed)
        }
        Err(mut error) if error.status == Some(402) => {
            error.kind = ErrorKind::Rejected;
            let help = "the instance's plan does not include bans; take the strategy `revoke`";
            error.message = format!("{}: {help}", error.message);
            Err(error)
        }
        Err(error) => Err(error),
    }
}
