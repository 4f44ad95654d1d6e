//! Payloads out of line: large parts of events, kept beside the log under the hash of their bytes.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::disk::{self, Disk};
use crate::base::Digest;

/// The folder of payloads, in the run's folder.
pub(super) const BLOBS: &str = "blobs";

/// Where a payload is kept and how long it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Payload {
    /// The SHA-256 of its bytes, which is its name.
    pub(super) hash: Digest,
    /// How many bytes it has.
    pub(super) bytes: u64,
}

impl Payload {
    /// What names these bytes.
    pub(super) fn of(bytes: &[u8]) -> Self {
        Self { hash: Digest::of(bytes), bytes: u64::try_from(bytes.len()).unwrap_or(u64::MAX) }
    }

    /// Why bytes are not what this names, if they are not.
    pub(super) fn differs(&self, bytes: &[u8]) -> Option<String> {
        let found = Self::of(bytes);
        if found.bytes != self.bytes {
            return Some(format!("has {} bytes where {} were written", found.bytes, self.bytes));
        }
        (found.hash != self.hash).then(|| "is not what was written: its content does not match its hash".to_owned())
    }
}

/// Where payloads are read from.
pub(super) trait BlobSource {
    /// The bytes kept under this hash.
    fn get(&self, hash: &str) -> io::Result<Cow<'_, [u8]>>;
}

/// The payloads of a run's folder.
pub(super) struct BlobFolder<'d> {
    folder: PathBuf,
    disk: &'d dyn Disk,
}

impl<'d> BlobFolder<'d> {
    /// The payloads that belong to the log at `log`.
    pub(super) fn beside(log: &Path, disk: &'d dyn Disk) -> Self {
        Self { folder: log.with_file_name(BLOBS), disk }
    }
}

impl BlobSource for BlobFolder<'_> {
    fn get(&self, hash: &str) -> io::Result<Cow<'_, [u8]>> {
        self.disk.read(&self.folder.join(hash)).map(Cow::Owned)
    }
}

/// Is this the form of a hash? Anything else must never become part of a path.
pub(super) fn is_hash(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Keeps payloads, each content once.
#[derive(Debug)]
pub(super) struct BlobWriter {
    folder: PathBuf,
    known: BTreeSet<Digest>,
}

impl BlobWriter {
    /// Keeps payloads beside the log at `log`.
    pub(super) fn beside(log: &Path) -> Self {
        Self { folder: log.with_file_name(BLOBS), known: BTreeSet::new() }
    }

    /// Returns once all of these would survive a power cut.
    pub(super) fn keep(&mut self, blobs: &[(Payload, Vec<u8>)], disk: &dyn Disk) -> io::Result<()> {
        let mut written: Vec<&Payload> = Vec::new();
        for (payload, bytes) in blobs {
            if self.known.contains(&payload.hash) || written.iter().any(|before| before.hash == payload.hash) {
                continue;
            }
            if written.is_empty() && self.known.is_empty() {
                disk.make_folder(&self.folder)?;
                disk.sync_folder(self.folder.parent().unwrap_or(Path::new(".")))?;
            }
            let path = self.folder.join(payload.hash.as_str());
            // An earlier process may have kept it, and may have been stopped on the way.
            if !disk.read(&path).is_ok_and(|there| there == *bytes) {
                self.write(&path, payload, bytes, disk)?;
            }
            written.push(payload);
        }
        if !written.is_empty() {
            disk.sync_folder(&self.folder)?;
            self.known.extend(written.into_iter().map(|payload| payload.hash.clone()));
        }
        Ok(())
    }

    fn write(&self, path: &Path, payload: &Payload, bytes: &[u8], disk: &dyn Disk) -> io::Result<()> {
        let draft = self.folder.join(format!(".{}.new", payload.hash));
        match disk.remove(&draft) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = disk.create(&draft)?;
        disk::write_whole(file.as_mut(), bytes)?;
        file.sync()?;
        disk.rename(&draft, path)
    }
}
