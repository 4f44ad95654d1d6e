//! The behaviour of a run, without a world: rules on hand-written runbooks, refusals, properties over random ones, and
//! logs cut after every event.

mod cuts;
mod driver;
mod ledger;
mod properties;
mod refusals;
mod rules;
mod sketch;
