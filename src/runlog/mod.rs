//! What is remembered: runs on disk, each a stored plan and an append-only, hash-chained list of events.
//!
//! `docs/run-log.md` describes the format.

mod entry;
mod file;
mod inbox;
mod locks;
mod store;

pub use entry::{Entry, FORMAT};
pub use file::{LogError, LogFile, Repair, is_led, read};
pub use inbox::{Fate, Inbox, Letter, Received};
pub use locks::{Holder, LockError, LockStore};
pub use store::{RunFolder, Store, StoreError};

use crate::run::Recorded;

/// Remembers events.
pub trait RunLog: Send {
    /// Appends events as one commit. Returns once they would survive a power cut.
    fn append(&mut self, events: &[Recorded]) -> std::io::Result<()>;
}

/// The events of these entries.
pub fn events(entries: Vec<Entry>) -> Vec<Recorded> {
    entries.into_iter().map(|entry| entry.recorded).collect()
}
