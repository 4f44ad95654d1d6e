//! What happened and what happens next: the whole behaviour of a run, as pure functions of its events.
//!
//! Nothing here knows a clock, a disk or a task. Time enters as the time of an event; whatever waits is a timer that
//! some driver lets fire. Living and replaying go through the same two functions, [`RunState::apply`] and [`decide`].

mod decide;
mod event;
mod rendering;
mod retry;
mod state;
mod turn;

pub use decide::{Directive, decide};
pub use event::{
    Answer, AttemptResult, Cause, Decision, Doubt, Event, Limits, ManualResult, Next, Outcome, Recorded, Timer,
    UndoResult,
};
pub use rendering::{Prepared, RenderError, Rendering};
pub use retry::after_attempt;
pub use state::{Gate, IllegalEvent, InForce, LeftStanding, RunState, StepRecord, StepState, UndoState};
pub use turn::take_turn;
