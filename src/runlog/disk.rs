//! The disk behind a run log, as a door: the real one, and room for one that fails or counts.

use std::fmt::Debug;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// What a log needs of the disk. [`RealDisk`] is the real one; tests put one that fails in its place, benches one that
/// counts.
pub trait Disk: Debug + Send + Sync {
    /// Makes a file that must not exist yet, for appending.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file that exists, for appending.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;

    /// Reads a file whole.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Makes a folder that only its owner can read, unless it is there.
    fn make_folder(&self, path: &Path) -> io::Result<()>;

    /// Gives a file another name, in one piece.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Returns once the names in a folder would survive a power cut.
    fn sync_folder(&self, path: &Path) -> io::Result<()>;
}

/// A file open for appending.
pub trait DiskFile: Debug + Send {
    /// Takes the file for this process alone, or says that another one has it.
    fn lock(&self) -> Result<(), TryLockError>;

    /// Appends bytes, perhaps not all of them, and returns how many.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Returns once what was written would survive a power cut.
    fn sync(&mut self) -> io::Result<()>;

    /// Cuts the file to a length.
    fn truncate(&mut self, length: u64) -> io::Result<()>;

    /// How long the file is now; `None` when it has no name any more.
    fn length(&self) -> io::Result<Option<u64>>;
}

/// Appends all of the bytes. A write that took some of them is gone on with; one that took none is an error.
pub(super) fn write_whole(file: &mut dyn DiskFile, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The disk of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let file = OpenOptions::new().append(true).create_new(true).open(path)?;
        Ok(Box::new(RealFile(file)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(RealFile(OpenOptions::new().append(true).open(path)?)))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    fn make_folder(&self, path: &Path) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            made => made,
        }
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_folder(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }
}

#[derive(Debug)]
struct RealFile(File);

impl DiskFile for RealFile {
    fn lock(&self) -> Result<(), TryLockError> {
        self.0.try_lock()
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn length(&self) -> io::Result<Option<u64>> {
        let metadata = self.0.metadata()?;
        Ok((std::os::unix::fs::MetadataExt::nlink(&metadata) > 0).then_some(metadata.len()))
    }
}
