//! Who does it: drives a run by its decisions, records every step of it, and lets people and the world answer.

mod attempt;
mod describe;
mod embedded;
mod people;
mod supply;

/// What only one run at a time may hold.
pub trait Locks: Send + Sync {
    /// Takes a lock for a run that may hold it already. The text says who holds it, and what to do.
    fn take(&self, run: &crate::base::RunId, name: &str) -> Result<crate::run::Held, String>;

    /// Gives back every lock that a run holds, once it is over.
    fn release(&self, run: &crate::base::RunId);
}

/// No locks: nothing is held by anybody. For rehearsals.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoLocks;

impl Locks for NoLocks {
    fn take(&self, _run: &crate::base::RunId, name: &str) -> Result<crate::run::Held, String> {
        Ok(crate::run::Held { name: name.to_owned(), epoch: 0 })
    }

    fn release(&self, _run: &crate::base::RunId) {}
}

pub use describe::{describe, describe_doubtful};
pub use embedded::{Embedded, Ending, EngineError, Parts, Stop};
pub use people::{Approvers, ApproversError, AskedSecret, Nobody, People, Question, Refusal, Reply, read_answers};

use crate::base::StepPath;
use crate::run::Recorded;

/// Something a watcher may want to know. Whoever watches can neither fail nor slow a run.
#[derive(Debug, Clone)]
pub enum Notice {
    /// An event is in the log.
    Recorded(Recorded),
    /// A step says how it is going.
    Progress {
        /// The step.
        step: StepPath,
        /// In its own words.
        text: String,
    },
    /// An answer was not taken.
    Refused {
        /// The step it was about.
        step: StepPath,
        /// Why.
        reason: String,
    },
}
