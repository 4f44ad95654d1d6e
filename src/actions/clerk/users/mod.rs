//! Users of a Clerk instance: how many, which, and who may sign in.

mod count;
mod list;
mod standing;

pub use count::{ClerkUsersCountOutput, ClerkUsersCountParams, Count};
pub use list::{ClerkUser, ClerkUserPerson, ClerkUsersListOutput, ClerkUsersListParams, List, Order};
pub use standing::{Ban, ClerkUserParams, ClerkUserStandingOutput, Lock, Unban, Unlock};

use crate::action::ActionError;
use crate::base::Timestamp;

/// A time as Clerk takes it: milliseconds.
fn milliseconds(name: &str, text: &str) -> Result<String, ActionError> {
    let time: Timestamp = text.parse().map_err(|_| {
        ActionError::invalid_params(format!(
            "`{name}`: `{text}` is not a time; write for example `2026-02-19T16:11:00Z`"
        ))
    })?;
    Ok(time.as_millisecond().to_string())
}

/// A time as runbooks read it.
fn shown(milliseconds: i64) -> String {
    Timestamp::from_millisecond(milliseconds).map_or_else(|_| milliseconds.to_string(), |time| time.to_string())
}
