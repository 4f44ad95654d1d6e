//! Environment variables: listing, reading, setting and removing them, and putting back what was there.

mod get;
mod list;
mod prior;
mod remove;
mod rows;
mod set;
mod targets;
#[cfg(test)]
pub(super) mod tests;

pub use get::{EnvGet, VercelEnvGetOutput, VercelEnvGetParams};
pub use list::{EnvList, ListedVariable, VercelEnvListOutput, VercelEnvListParams};
pub use remove::{EnvRemove, VercelEnvRemoveOutput, VercelEnvRemoveParams};
pub use set::{EnvSet, EnvType, VercelEnvSetOutput, VercelEnvSetParams};
pub use targets::{EnvTarget, EnvTargets, Existing};

use crate::action::ActionError;

/// Can this name a variable?
pub(super) fn check_names<'n>(names: impl IntoIterator<Item = &'n String>) -> Result<(), ActionError> {
    let mut none = true;
    for name in names {
        none = false;
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !plain || name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(ActionError::invalid_params(format!("`{name}` cannot name an environment variable")));
        }
    }
    if none { Err(ActionError::invalid_params("no environment variable is named")) } else { Ok(()) }
}
