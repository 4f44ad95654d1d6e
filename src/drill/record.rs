//! The world's record: one JSON line for everything that changes it, so that a drill outlives its process.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::database::Wrote;
use super::scenario::Scenario;
use super::state::Asked;
use crate::base::{Digest, Timestamp};

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Line {
    /// The scenario's time.
    pub(super) at: Timestamp,
    /// What the line tells.
    #[serde(flatten)]
    pub(super) entry: Entry,
}

/// What a line tells.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Entry {
    /// The drill began, with this script.
    Opened { scenario: String, digest: Digest },
    /// Somebody runs the drill again.
    Continued { speed: f64 },
    /// Time passed.
    Tick,
    /// Time brought this. It is here for readers: the same time brings it again on replay.
    Happened(String),
    /// Somebody asked a stand-in for something.
    Asked(Asked),
    /// Somebody changed the database.
    Wrote(Wrote),
    /// Nobody runs the drill any more.
    Stopped,
}

/// The open file.
#[derive(Debug)]
pub(super) struct Record {
    file: File,
}

impl Record {
    /// Opens the file for appending and hands over what is in it, line by line: a drill of a whole instance's users leaves
    /// hundreds of thousands. A torn last line is cut off.
    pub(super) fn open(path: &Path, mut each: impl FnMut(Line) -> io::Result<()>) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        let mut reader = BufReader::with_capacity(1 << 16, &file);
        let (mut bytes, mut whole, mut number) = (Vec::new(), 0, 0);
        let torn = loop {
            bytes.clear();
            let read = reader.read_until(b'\n', &mut bytes)?;
            number += 1;
            match bytes.strip_suffix(b"\n") {
                None => break read > 0,
                Some([]) => {}
                Some(line) => each(
                    serde_json::from_slice(line)
                        .map_err(|error| damaged(format!("{}, line {number}: {error}", path.display())))?,
                )?,
            }
            whole += u64::try_from(read).unwrap_or(u64::MAX);
        };
        drop(reader);
        if torn {
            file.set_len(whole)?;
        }
        file.seek(SeekFrom::End(0))?;
        Ok(Self { file })
    }

    /// Writes a line in one piece. It outlives the process once this returns, though not a power cut.
    pub(super) fn append(&mut self, at: Timestamp, entry: Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(&Line { at, entry }).map_err(io::Error::other)?;
        line.push(b'\n');
        self.file.write_all(&line)
    }
}

/// Was the drill begun with this very script? Asked about the record's first line.
pub(super) fn check_script(first: &Line, scenario: &Scenario) -> io::Result<()> {
    match &first.entry {
        Entry::Opened { digest, .. } if *digest == scenario.digest => Ok(()),
        Entry::Opened { scenario: begun, .. } => Err(damaged(format!(
            "this drill was begun with another version of the scenario `{begun}`; begin a new one"
        ))),
        Entry::Continued { .. }
        | Entry::Tick
        | Entry::Happened(_)
        | Entry::Asked(_)
        | Entry::Wrote(_)
        | Entry::Stopped => Err(damaged("the world's record has lost its first line".to_owned())),
    }
}

fn damaged(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
