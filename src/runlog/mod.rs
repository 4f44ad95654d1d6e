//! What is remembered: runs on disk, each a stored plan and an append-only, hash-chained list of events.
//!
//! `docs/run-log.md` describes the format.

mod blobs;
mod disk;
mod entry;
#[cfg(test)]
mod faults;
mod file;
mod store;

pub use disk::{Disk, DiskFile, RealDisk};
pub use entry::{Entry, FORMAT, INLINE};
pub use file::{LogError, LogFile, Repair, read};
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
