//! The world's record: one JSON line for everything that changes it, so that a drill outlives its process.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

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
    /// Nobody runs the drill any more.
    Stopped,
}

/// The open file.
#[derive(Debug)]
pub(super) struct Record {
    file: File,
}

impl Record {
    /// Opens the file for appending and reads what is in it; a torn last line is cut off.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Vec<Line>)> {
        let mut options = OpenOptions::new();
        options.read(true).append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(path)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let mut lines = Vec::new();
        for (index, line) in bytes[..whole].split(|byte| *byte == b'\n').enumerate() {
            if line.is_empty() {
                continue;
            }
            let line = serde_json::from_slice(line)
                .map_err(|error| damaged(format!("{}, line {}: {error}", path.display(), index + 1)))?;
            lines.push(line);
        }
        if whole < bytes.len() {
            file.set_len(u64::try_from(whole).unwrap_or(u64::MAX))?;
            file.seek(SeekFrom::End(0))?;
        }
        Ok((Self { file }, lines))
    }

    /// Writes a line in one piece. It outlives the process once this returns, though not a power cut.
    pub(super) fn append(&mut self, at: Timestamp, entry: Entry) -> io::Result<()> {
        let mut line = serde_json::to_vec(&Line { at, entry }).map_err(io::Error::other)?;
        line.push(b'\n');
        self.file.write_all(&line)
    }
}

/// Was the drill begun with this very script?
pub(super) fn check_script(lines: &[Line], scenario: &Scenario) -> io::Result<()> {
    match lines.first().map(|line| &line.entry) {
        None => Ok(()),
        Some(Entry::Opened { digest, .. }) if *digest == scenario.digest => Ok(()),
        Some(Entry::Opened { scenario: begun, .. }) => Err(damaged(format!(
            "this drill was begun with another version of the scenario `{begun}`; begin a new one"
        ))),
        Some(Entry::Continued { .. } | Entry::Tick | Entry::Happened(_) | Entry::Asked(_) | Entry::Stopped) => {
            Err(damaged("the world's record has lost its first line".to_owned()))
        }
    }
}

fn damaged(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
