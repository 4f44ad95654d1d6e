//! Who does it: drives a run by its decisions, records every step of it, and lets people and the world answer.

mod attempt;
mod embedded;
mod people;

pub use embedded::{Embedded, Ending, EngineError, Parts, Stop};
pub use people::{Approvers, ApproversError, Nobody, People, Question, Refusal, Reply};

use crate::base::StepId;
use crate::run::Recorded;

/// Something a watcher may want to know. Whoever watches can neither fail nor slow a run.
#[derive(Debug, Clone)]
pub enum Notice {
    /// An event is in the log.
    Recorded(Recorded),
    /// A step says how it is going.
    Progress {
        /// The step.
        step: StepId,
        /// In its own words.
        text: String,
    },
    /// An answer was not taken.
    Refused {
        /// The step it was about.
        step: StepId,
        /// Why.
        reason: String,
    },
}
