//! The production domain: which deployment it points at, and moving it.

mod facts;
mod moving;
mod project;
mod promote;
mod rollback;
#[cfg(test)]
mod tests;

pub(super) use facts::{Project, rolling};
pub(super) use moving::Way;
pub use project::{DomainMove, ProjectFacts, VercelProjectOutput, VercelProjectParams};
pub use promote::{Promote, VercelPromoteOutput, VercelPromoteParams};
pub use rollback::{Rollback, VercelRollbackOutput, VercelRollbackParams};
