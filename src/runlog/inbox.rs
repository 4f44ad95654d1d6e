//! The inbox of a run: what other processes want of the one that leads it. They leave letters; only the leader writes
//! the log.

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::entry::Entry;
use crate::base::{Digest, StepPath, Timestamp};
use crate::run::{Decision, Doubt, Event, ManualResult};

/// The folder of letters in a run's folder.
pub(super) const INBOX: &str = "inbox";

/// How the name of a letter ends that was refused; it holds the reason.
const REFUSED: &str = "refused";

/// Something that another process wants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "wants", rename_all = "snake_case")]
pub enum Letter {
    /// The run is to stop.
    Cancel {
        /// Who wants it.
        by: String,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// An answer at a gate.
    Gate {
        /// The step.
        step: StepPath,
        /// The digest of what whoever answers was shown.
        digest: Digest,
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

impl Letter {
    /// Does this event grant it?
    fn is_granted_by(&self, event: &Event) -> bool {
        match (self, event) {
            (Self::Cancel { by, .. }, Event::CancelRequested { by: other, .. }) => by == other,
            (
                Self::Gate { step, digest, decision },
                Event::GateAnswered { step: at, digest: about, decision: given },
            ) => {
                // What else was answered has been read as the types that were asked for.
                (step, digest, &decision.by, decision.answer) == (at, about, &given.by, given.answer)
            }
            (Self::Manual { step, by, .. }, Event::ManualAnswered { step: at, by: other, .. }) => {
                (step, by) == (at, other)
            }
            (Self::Doubt { step, undo, by, .. }, Event::DoubtResolved { step: at, undo: of, by: other, .. }) => {
                (step, undo, by) == (at, of, other)
            }
            (Self::Extend { step, until, by, .. }, Event::MeasureExtended { step: at, until: to, by: other, .. }) => {
                (step, until, by) == (at, to, other)
            }
            (Self::Close { step, by, .. }, Event::MeasureClosed { step: at, by: other, .. }) => {
                (step, by) == (at, other)
            }
            _ => false,
        }
    }
}

/// A letter on disk.
#[derive(Serialize, Deserialize)]
struct Sheet {
    /// How many entries the log had when it was left: what grants it comes after them.
    after: u64,
    #[serde(flatten)]
    letter: Letter,
}

/// A letter that is there.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// Its name in the inbox.
    pub name: String,
    /// What it says; the reason when it cannot be read.
    pub letter: Result<Letter, String>,
    after: u64,
}

/// What became of a letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is still there.
    Unread,
    /// What it wants is in the log.
    Granted,
    /// It was refused.
    Refused(String),
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

    /// Leaves a letter. It is there whole or not at all, and survives a power cut. `after` is how many entries of the log
    /// its writer has seen. Returns its name.
    pub fn put(&self, letter: &Letter, after: u64, now: Timestamp) -> io::Result<String> {
        // Names sort by time, so that letters are read in the order in which they were left.
        let name = format!("{:020}-{}.json", now.as_nanosecond().max(0), std::process::id());
        self.write(&name, &serde_json::to_vec(&Sheet { after, letter: letter.clone() })?)?;
        Ok(name)
    }

    /// Every letter that is there, the oldest first.
    pub fn letters(&self) -> Vec<Received> {
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return Vec::new() };
        let mut names: Vec<String> = entries
            .filter_map(Result::ok)
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| name.ends_with(".json") && !name.starts_with('.'))
            .collect();
        names.sort();
        names
            .into_iter()
            .filter_map(|name| {
                let text = match std::fs::read(self.folder.join(&name)) {
                    Ok(text) => text,
                    // Whoever left it has taken it back.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
                    Err(error) => return Some(Received { name, letter: Err(error.to_string()), after: 0 }),
                };
                Some(match serde_json::from_slice(&text) {
                    Ok(Sheet { after, letter }) => Received { name, letter: Ok(letter), after },
                    Err(error) => Received { name, letter: Err(format!("it is no letter: {error}")), after: 0 },
                })
            })
            .collect()
    }

    /// Removes a letter: what it wants is in the log, or nobody wants it any more. Says whether it was still there.
    pub fn remove(&self, name: &str) -> bool {
        std::fs::remove_file(self.folder.join(name)).is_ok()
    }

    /// Refuses a letter, and leaves the reason for whoever wrote it.
    pub fn refuse(&self, name: &str, reason: &str) {
        // An answer that cannot be written leaves the letter unread, and its writer says so after a while.
        if self.write(&answer_to(name), reason.as_bytes()).is_ok() {
            self.remove(name);
        }
    }

    /// What became of a letter. Whoever asks takes the answer along.
    pub fn fate(&self, name: &str) -> Fate {
        if self.folder.join(name).exists() {
            return Fate::Unread;
        }
        let answer = self.folder.join(answer_to(name));
        match std::fs::read_to_string(&answer) {
            Ok(reason) => {
                // One that stays is in nobody's way.
                let _ = std::fs::remove_file(answer);
                Fate::Refused(reason)
            }
            Err(_) => Fate::Granted,
        }
    }

    /// Clears away what needs no reading any more, before a run goes on: letters that were granted by a process that died
    /// before it could remove them, and letters that came too late for a run that was over.
    pub fn clear(&self, entries: &[Entry]) {
        for Received { name, letter, after } in self.letters() {
            let Ok(letter) = letter else { continue };
            let since = || entries.iter().filter(|entry| entry.seq > after).map(|entry| &entry.recorded.event);
            if since().any(|event| letter.is_granted_by(event)) {
                self.remove(&name);
            } else if since().any(|event| matches!(event, Event::RunFinished { .. })) {
                self.refuse(&name, "the run was over before it was read");
            }
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        std::fs::create_dir_all(&self.folder)?;
        let temporary = self.folder.join(format!(".{name}"));
        let mut file = std::fs::File::create(&temporary)?;
        file.write_all(bytes)?;
        file.sync_data()?;
        std::fs::rename(&temporary, self.folder.join(name))?;
        std::fs::File::open(&self.folder)?.sync_all()
    }
}

fn answer_to(name: &str) -> String {
    format!("{}.{REFUSED}", name.trim_end_matches(".json"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::Recorded;

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> Self {
            Self(std::env::temp_dir().join(format!("runbook-inbox-{name}-{}", std::process::id())))
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    fn cancel(by: &str) -> Letter {
        Letter::Cancel { by: by.to_owned(), reason: None }
    }

    fn entry(seq: u64, event: Event) -> Entry {
        Entry { seq, recorded: Recorded { at: second(0), event }, hash: Digest::zero() }
    }

    #[test]
    fn letters_are_read_in_the_order_they_were_left_and_what_is_no_letter_is_told() {
        let place = Place::new("order");
        let inbox = Inbox::of(&place.0);
        assert_eq!(inbox.letters(), []);
        for (at, by) in [(0, "ann"), (1, "ben")] {
            inbox.put(&cancel(by), 3, second(at)).unwrap();
        }
        std::fs::write(place.0.join(INBOX).join("00-torn.json"), "{\"wants\":").unwrap();
        let letters = inbox.letters();
        let read: Vec<_> = letters.iter().filter_map(|received| received.letter.clone().ok()).collect();
        assert_eq!(read, [cancel("ann"), cancel("ben")]);
        assert!(letters[0].letter.as_ref().is_err_and(|reason| reason.starts_with("it is no letter")), "{letters:?}");
    }

    #[test]
    fn whoever_left_a_letter_learns_what_became_of_it() {
        let place = Place::new("fate");
        let inbox = Inbox::of(&place.0);
        let [granted, refused] = [0, 1].map(|at| inbox.put(&cancel("ann"), 0, second(at)).unwrap());
        assert_eq!(inbox.fate(&granted), Fate::Unread);
        assert!(inbox.remove(&granted));
        inbox.refuse(&refused, "no");
        assert_eq!((inbox.fate(&granted), inbox.fate(&refused)), (Fate::Granted, Fate::Refused("no".to_owned())));
        assert_eq!(inbox.letters(), []);
        assert!(!inbox.remove(&granted));
    }

    #[test]
    fn what_the_log_holds_already_is_not_read_again() {
        let place = Place::new("clear");
        let inbox = Inbox::of(&place.0);
        let asked = |seq| entry(seq, Event::CancelRequested { by: "ann".to_owned(), reason: None });
        let over = |seq| entry(seq, Event::RunFinished { outcome: crate::run::Outcome::Cancelled });
        let before = inbox.put(&cancel("ann"), 2, second(0)).unwrap();
        inbox.clear(&[asked(2)]);
        assert_eq!(inbox.fate(&before), Fate::Unread, "an earlier wish of the same person is another one");
        inbox.clear(&[asked(2), asked(3)]);
        assert_eq!(inbox.fate(&before), Fate::Granted);
        let late = inbox.put(&cancel("ben"), 2, second(1)).unwrap();
        inbox.clear(&[asked(2), over(3)]);
        assert_eq!(inbox.fate(&late), Fate::Refused("the run was over before it was read".to_owned()));
    }
}
