//! What is written: a runbook file as typed data, with the place of every word kept for messages.

mod act;
pub mod document;
pub mod fields;
mod format;
mod input;
mod load;
mod mend;
pub mod node;
mod place;
pub(crate) mod read;
mod step;
pub mod template;
mod top;

pub use document::{
    Approval, Arm, AskField, Backoff, Call, Decide, Does, FailAfter, ForEach, Given, GivingUp, Input, InputType, Level,
    Lock, Manual, Measure, Need, OnExpiry, OnFailure, OnTimeout, OutputType, Retry, Runbook, Step, StepResult,
    Templated, Undo, Until, Verify, call_key,
};
pub use format::format;
pub use input::{InputProblem, OF_THE_INCIDENT, resolve as resolve_inputs};
pub use load::{Disk, Files, Loaded, load, load_as, load_file, load_from, load_in, read_source};
pub use template::{Expression, Scope, Template, TemplateError};
