//! Keeps the whole of a stream in a file, when it is more than is kept in memory, up to a limit.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;

use crate::base::{Attempt, Digest};

/// The folder of these files, below the folder of the run.
const FOLDER: &str = "output";
/// How much of a stream such a file holds.
const LIMIT: u64 = 64 * 1024 * 1024;
/// The longest name of a step that stands in a file's name as it is; file systems take 255 bytes in all.
const LONGEST_NAME: usize = 160;

/// Where to put the whole of what a process writes. A process that writes little leaves no file.
#[derive(Debug, Clone)]
pub struct Spool {
    /// The folder that the paths of files start from.
    folder: PathBuf,
    /// The file's path below it, without what tells the stream.
    name: String,
    limit: u64,
}

impl Spool {
    /// Files named after a step and its try, below the folder of a run. A step may have any name.
    pub fn new(folder: PathBuf, step: &str, attempt: Attempt) -> Self {
        Self { folder, name: format!("{FOLDER}/{}.{attempt}", file_name(step)), limit: LIMIT }
    }

    /// Sets how much of each stream a file holds.
    #[must_use]
    pub fn with_limit(mut self, limit: u64) -> Self {
        self.limit = limit;
        self
    }
}

/// A stream's way into its file.
#[derive(Debug)]
pub(super) enum Spooling {
    /// Not needed so far; `None` when it never will be.
    Not(Option<Spool>),
    /// Under way.
    Open(SpoolFile),
    /// Given up, and why.
    Broken(String),
}

/// What became of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Spooled {
    Nothing,
    At(String),
    Broken(String),
}

impl Spooling {
    /// Takes more of the stream, the beginning first. The file is made by the first call.
    pub(super) fn write(&mut self, stream: &str, parts: &[&[u8]]) {
        let outcome = match self {
            Self::Not(None) | Self::Broken(_) => return,
            Self::Not(Some(spool)) => SpoolFile::create(spool, stream).and_then(|mut file| {
                let written = file.write_all(parts);
                *self = Self::Open(file);
                written
            }),
            Self::Open(file) => file.write_all(parts),
        };
        if let Err(error) = outcome {
            self.give_up(&error);
        }
    }

    /// The stream has ended after so many bytes: the file gets its name.
    pub(super) fn finish(mut self, bytes: u64) -> Spooled {
        if let Self::Open(file) = &mut self
            && let Err(error) = file.finish(bytes)
        {
            self.give_up(&error);
        }
        match self {
            Self::Not(_) => Spooled::Nothing,
            Self::Open(file) => Spooled::At(file.name),
            Self::Broken(reason) => Spooled::Broken(reason),
        }
    }

    /// A disk that is full, or a folder that cannot be written, fails no step. What was written makes room again: the
    /// run log may need it.
    fn give_up(&mut self, error: &std::io::Error) {
        if let Self::Open(file) = self {
            let _ = std::fs::remove_file(&file.part);
        }
        *self = Self::Broken(error.to_string());
    }
}

/// A file being written. It has another name until it is whole; after a crash that name is what is left.
#[derive(Debug)]
pub(super) struct SpoolFile {
    file: File,
    part: PathBuf,
    whole: PathBuf,
    /// Its path below the folder of the run.
    name: String,
    room: u64,
    limit: u64,
}

impl SpoolFile {
    fn create(spool: &Spool, stream: &str) -> std::io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o700).create(spool.folder.join(FOLDER))?;
        // An undo is a try of its step, too; what the step itself wrote stays.
        for count in 1_u32.. {
            let again = if count == 1 { String::new() } else { format!("-{count}") };
            let name = format!("{}{again}.{stream}.txt", spool.name);
            let (part, whole) = (spool.folder.join(format!("{name}.part")), spool.folder.join(&name));
            match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
                Ok(_) if whole.symlink_metadata().is_ok() => std::fs::remove_file(&part)?,
                Ok(file) => return Ok(Self { file, part, whole, name, room: spool.limit, limit: spool.limit }),
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }

    fn write_all(&mut self, parts: &[&[u8]]) -> std::io::Result<()> {
        for part in parts {
            let fits = usize::try_from(self.room).map_or(part.len(), |room| room.min(part.len()));
            self.file.write_all(&part[..fits])?;
            self.room -= u64::try_from(fits).unwrap_or(self.room);
        }
        Ok(())
    }

    fn finish(&mut self, bytes: u64) -> std::io::Result<()> {
        // Masks have changed the length a little, so a stream of about the limit is said to have been cut once too often
        // rather than never.
        if self.room == 0 && bytes > self.limit {
            let limit = self.limit;
            writeln!(
                self.file,
                "\n[… the rest is left out: the process wrote {bytes} bytes, and only {limit} are kept …]"
            )?;
        }
        std::fs::rename(&self.part, &self.whole)
    }
}

/// A step's name as a file's: whatever is not a letter, a digit, `_` or `-` is written as `%` and its code.
fn file_name(step: &str) -> String {
    let mut name = String::new();
    for byte in step.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-') {
            name.push(char::from(byte));
        } else {
            name.push_str(&format!("%{byte:02X}"));
        }
    }
    if name.len() > LONGEST_NAME {
        name.truncate(LONGEST_NAME);
        name = format!("{name}~{}", Digest::of(step.as_bytes()).short());
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_of_any_name_has_a_file_of_its_own() {
        assert_eq!(file_name("drain_it-2"), "drain_it-2");
        assert_eq!(file_name("each[a/b].100%"), "each%5Ba%2Fb%5D%2E100%25");
        assert_eq!(file_name(".."), "%2E%2E");
        let [one, other] = ["a", "b"].map(|last| file_name(&format!("{}{last}", "/".repeat(300))));
        assert!(one != other && one.len() < 200, "{one}");
    }

    #[test]
    fn what_stands_there_already_is_not_written_over() {
        let folder = std::env::temp_dir().join(format!("runbook-spool-test-{}", std::process::id()));
        let spool = Spool::new(folder.clone(), "s", Attempt::FIRST).with_limit(5);
        let spooled = |text: &[u8]| {
            let mut spooling = Spooling::Not(Some(spool.clone()));
            spooling.write("stdout", &[&text[..2], &text[2..]]);
            spooling.write("stdout", &[text]);
            spooling.finish(2 * u64::try_from(text.len()).unwrap())
        };
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
        assert_eq!(spooled(b"one"), Spooled::At("output/s.1.stdout.txt".to_owned()));
        // A crash leaves a part behind.
        std::fs::write(folder.join("output/s.1-2.stdout.txt.part"), "").unwrap();
        assert_eq!(spooled(b"two"), Spooled::At("output/s.1-3.stdout.txt".to_owned()));
        let cut =
            |text| format!("{text}\n[… the rest is left out: the process wrote 6 bytes, and only 5 are kept …]\n");
        assert_eq!([read("output/s.1.stdout.txt"), read("output/s.1-3.stdout.txt")], [cut("oneon"), cut("twotw")]);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_folder_that_cannot_be_written_is_told() {
        let file = std::env::temp_dir().join(format!("runbook-spool-test-file-{}", std::process::id()));
        std::fs::write(&file, "").unwrap();
        let mut spooling = Spooling::Not(Some(Spool::new(file.clone(), "s", Attempt::FIRST)));
        spooling.write("stdout", &[b"one"]);
        assert!(matches!(spooling.finish(3), Spooled::Broken(reason) if reason.starts_with("Not a directory")));
        std::fs::remove_file(file).unwrap();
    }
}
