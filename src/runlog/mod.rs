//! What is remembered: runs on disk, each a stored plan and an append-only, hash-chained list of events.
//!
//! `docs/run-log.md` describes the format.

mod blobs;
mod disk;
mod entries;
mod entry;
mod export;
#[cfg(test)]
mod faults;
mod file;
mod inbox;
mod locks;
mod record;
mod sshsig;
mod store;
mod tar;
mod verify;

pub use disk::{Disk, DiskFile, RealDisk};
pub use entries::{Entries, entries};
pub use entry::{Entry, FORMAT, INLINE};
pub use export::{EXPORT_FORMAT, Export, ExportError, Listed, Manifest};
pub use file::{LogError, LogFile, Repair, is_led, read};
pub use inbox::{Fate, Inbox, Letter, Received};
pub use locks::{Holder, LockError, LockStore};
pub use record::{Exported, Record};
pub use sshsig::{Fingerprint, NAMESPACE, SignError, Signed, SigningKey};
pub use store::{RunFolder, RunLock, Store, StoreError};
pub use verify::{Finding, Verdict};

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
