//! What happened and what happens next: the whole behaviour of a run, as pure functions of its events.
//!
//! Nothing here knows a clock, a disk or a task. Time enters as the time of an event; whatever waits is a timer that
//! some driver lets fire. Living and replaying go through the same two functions, [`RunState::apply`] and [`decide`].

mod apply;
mod decide;
mod event;
mod halting;
mod kept;
mod legal;
mod loops;
mod rendering;
mod retry;
mod returned;
mod rollback;
mod standing;
mod state;
mod tree;
mod turn;
mod undoing;
mod wakes;

pub use decide::{Directive, decide};
pub use event::{
    Answer, AttemptResult, Cause, Decision, Doubt, Event, Held, Item, Limits, ManualResult, Next, Outcome, Recorded,
    Returned, Timer, UndoResult, Why,
};
pub use kept::Kept;
pub use legal::IllegalEvent;
pub use rendering::{Prepared, RenderError, Rendering};
pub use retry::{Tried, after_attempt, after_undo};
pub use returned::returned;
pub use state::{Gate, InForce, LeftStanding, RunState, StepRecord, StepState, UndoState, locks_held};
pub use turn::take_turn;
