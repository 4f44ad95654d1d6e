//! Sessions of a Clerk instance: how many, and ending them, for one user or for all.

mod bans;
mod cost;
mod count;
mod meter;
mod one;
mod progress;
mod revoke_all;
mod revoke_user;
mod sweep;
#[cfg(test)]
mod sweeping;
#[cfg(test)]
mod vendor;

pub use cost::{ClerkSweepCost, Strategy};
pub use count::{ClerkSessionsCountOutput, ClerkSessionsCountParams, ClerkSweepCosts, Count};
pub use one::ClerkSweepFailure;
pub use revoke_all::{ClerkSessionsRevokeAllOutput, ClerkSessionsRevokeAllParams, RevokeAll, Verify};
pub use revoke_user::{ClerkSessionsRevokeUserOutput, ClerkSessionsRevokeUserParams, RevokeUser};

use serde::Deserialize;

use super::client::Client;
use crate::action::ActionError;

/// A session's token lasts so many seconds unless the instance says otherwise, and that cannot be read.
const SESSION_TOKEN: u64 = 60;

/// How many users there are.
async fn count_users(client: &Client<'_>) -> Result<u64, ActionError> {
    #[derive(Deserialize)]
    struct Total {
        total_count: u64,
    }
    Ok(client.read::<Total>("/users/count", &[]).await?.total_count)
}

/// For how many seconds a token that was made just before its session ended may still be taken: whoever checks it does not
/// ask Clerk. The longest of the session's own and of all templates.
async fn longest_token(client: &Client<'_>) -> Result<u64, ActionError> {
    #[derive(Deserialize)]
    struct Template {
        lifetime: u64,
    }
    let mut longest = SESSION_TOKEN;
    let mut offset = 0;
    loop {
        let query = [("limit", "500".to_owned()), ("offset", offset.to_string())];
        let page: Vec<Template> = client.list("/jwt_templates", &query).await?;
        longest = page.iter().map(|template| template.lifetime).fold(longest, u64::max);
        if page.len() < 500 {
            return Ok(longest);
        }
        offset += page.len();
    }
}
