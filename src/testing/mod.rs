//! Tests of runbooks: canned results, canned people and a clock that only moves when nothing else can happen.
//!
//! Everything is decided by the same functions that decide a real run; what is made up is only what the world answers.
//! `docs/testing.md` is the language of the files.

mod answers;
mod cover;
mod document;
mod driver;
mod expectations;
pub mod fields;
mod init;
mod judge;
mod outputs;
mod people;
mod read;
mod schema;
mod suite;
mod tell;
mod tries;

pub use cover::{Coverage, Kind, Place, Total};
pub use document::{
    Answer, Case, Doubt, Expect, Hand, Judged, LostBy, Script, Spot, Truth, UndoAnswer, Voice, What, Wish,
};
pub use driver::{Broken, Ended, Played, Surroundings, play};
pub use init::first_tests;
pub use read::Draft;
pub use schema::schema;
pub use suite::{Suite, Verdict};
pub use tell::{Told, json, junit, text};
pub(crate) use tell::{total, xml};
