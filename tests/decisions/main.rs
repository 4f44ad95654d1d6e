//! The behaviour of a run, without a world: rules on hand-written runbooks, refusals, and properties over random ones.

mod driver;
mod ledger;
mod properties;
mod refusals;
mod rules;
mod sketch;
