//! The inbox of a run: what other processes want of the one that leads it. They leave letters; only the leader writes
//! the log.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::base::{StepPath, Timestamp};
use crate::run::{Decision, Doubt, ManualResult};

/// The folder of letters in a run's folder.
pub(super) const INBOX: &str = "inbox";

/// Something that another process wants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "wants", rename_all = "snake_case")]
pub enum Letter {
    /// The run is to stop.
    Cancel {
        /// Who wants it.
        by: String,
    },
    /// An answer at a gate.
    Gate {
        /// The step.
        step: StepPath,
        /// The answer.
        decision: Decision,
    },
    /// How something a person did went.
    Manual {
        /// The step.
        step: StepPath,
        /// Who did it.
        by: String,
        /// How it went.
        result: ManualResult,
    },
    /// What became of a step in doubt.
    Doubt {
        /// The step.
        step: StepPath,
        /// Is it the undo that is in doubt?
        #[serde(default)]
        undo: bool,
        /// Who found out.
        by: String,
        /// What became of it.
        doubt: Doubt,
    },
    /// More time for an emergency measure.
    Extend {
        /// The step that put it in force.
        step: StepPath,
        /// When it must be over.
        until: Timestamp,
        /// Who wants it.
        by: String,
        /// Why.
        reason: String,
    },
    /// An emergency measure was ended by hand.
    Close {
        /// The step that put it in force.
        step: StepPath,
        /// Who ended it.
        by: String,
        /// How, or why.
        reason: String,
    },
}

/// The inbox of one run.
#[derive(Debug, Clone)]
pub struct Inbox {
    folder: PathBuf,
}

impl Inbox {
    /// The inbox in a run's folder. It need not exist yet.
    pub fn of(run: &Path) -> Self {
        Self { folder: run.join(INBOX) }
    }

    /// Leaves a letter. It is there whole or not at all, and survives a power cut.
    pub fn put(&self, letter: &Letter, now: Timestamp) -> io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        // Names sort by time, so that letters are read in the order in which they were left.
        let name = format!("{:020}-{}.json", now.as_nanosecond().max(0), std::process::id());
        let temporary = self.folder.join(format!(".{name}"));
        let file = std::fs::File::create(&temporary)?;
        serde_json::to_writer(&file, letter)?;
        file.sync_data()?;
        std::fs::rename(&temporary, self.folder.join(name))?;
        std::fs::File::open(&self.folder)?.sync_all()
    }

    /// Every letter that is there, the oldest first, each with the file to remove once it has been dealt with. What
    /// cannot be read is no letter.
    pub fn letters(&self) -> Vec<(PathBuf, Letter)> {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return Vec::new() };
        let mut paths: Vec<PathBuf> = entries
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .filter(|path| path.extension().is_some_and(|ending| ending == "json"))
            .filter(|path| !path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.')))
            .collect();
        paths.sort();
        paths
            .into_iter()
            .filter_map(|path| {
                let text = std::fs::read_to_string(&path).ok()?;
                Some((path, serde_json::from_str(&text).ok()?))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_read_in_the_order_they_were_left() {
        let folder = std::env::temp_dir().join(format!("runbook-inbox-{}", std::process::id()));
        let inbox = Inbox::of(&folder);
        assert_eq!(inbox.letters(), []);
        let letters: Vec<Letter> = ["ann", "ben"].map(|by| Letter::Cancel { by: by.to_owned() }).into();
        for (second, letter) in letters.iter().enumerate() {
            let second = i64::try_from(second).unwrap();
            inbox.put(letter, Timestamp::from_second(1_700_000_000 + second).unwrap()).unwrap();
        }
        std::fs::write(folder.join(INBOX).join("00-torn.json"), "{\"wants\":").unwrap();
        assert_eq!(inbox.letters().into_iter().map(|(_, letter)| letter).collect::<Vec<_>>(), letters);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
