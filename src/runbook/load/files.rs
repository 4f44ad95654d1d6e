//! Where the files of a runbook come from: the disk, or whatever can stand for it.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::runbook::node::LARGEST;

/// Files by their paths.
pub trait Files {
    /// The bytes of a file; of one that is too large for a runbook, enough to see that.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Which file a path leads to: two paths that lead to the same one give the same answer.
    fn identity(&self, path: &Path) -> io::Result<PathBuf>;

    /// The names of what lies in a folder, as far as they can be had; for suggestions only.
    fn names(&self, folder: &Path) -> Vec<String>;

    /// What to call a file in messages.
    fn name(&self, path: &Path) -> String {
        path.display().to_string()
    }
}

/// The files of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disk;

impl Files for Disk {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        // Nobody waits for an endless one, such as a device.
        let most = u64::try_from(LARGEST).unwrap_or(u64::MAX);
        std::fs::File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    fn identity(&self, path: &Path) -> io::Result<PathBuf> {
        path.canonicalize()
    }

    fn names(&self, folder: &Path) -> Vec<String> {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let entries = std::fs::read_dir(folder).into_iter().flatten();
        entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect()
    }
}
