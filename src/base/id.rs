//! Names of things: runbooks, steps, runs, attempts.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing between the quotes.
    #[error("a name cannot be empty")]
    Empty,
    /// A character outside the allowed set; `allowed` says which.
    #[error("`{found}` cannot stand in a name; allowed are {allowed}")]
    Character {
        /// The first offending character.
        found: char,
        /// The allowed set, in words.
        allowed: &'static str,
    },
    /// The name means something else inside expressions.
    #[error("`{0}` has a meaning of its own in expressions")]
    Reserved(String),
    /// Longer than 64 bytes.
    #[error("a name has at most 64 characters")]
    TooLong,
}

const LONGEST: usize = 64;

/// Names that expressions use for something else, so no step may carry them.
pub const RESERVED: [&str; 20] = [
    "inputs", "secrets", "run", "outputs", "error", "item", "steps", "not", "and", "or", "in", "is", "if", "else",
    "true", "false", "none", "True", "False", "None",
];

/// A runbook's name: `[a-z0-9-]`, starting with a letter.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunbookName(String);

impl RunbookName {
    /// Reads a name.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let allowed = "a-z, 0-9 and `-`, a letter first";
        check(text, allowed, |index, c| c.is_ascii_lowercase() || (index > 0 && (c.is_ascii_digit() || c == '-')))?;
        Ok(Self(text.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunbookName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for RunbookName {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(&text)
    }
}

impl From<RunbookName> for String {
    fn from(name: RunbookName) -> Self {
        name.0
    }
}

/// A step's id. Expressions name steps directly, so it is an identifier: `[A-Za-z_][A-Za-z0-9_]*`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StepId(Arc<str>);

impl StepId {
    /// Reads an id; the error says what an author must change.
    pub fn new(text: &str) -> Result<Self, NameError> {
        let allowed = "letters, digits and `_`, no digit first, because expressions name steps directly";
        check(text, allowed, |index, c| c == '_' || c.is_ascii_alphabetic() || (index > 0 && c.is_ascii_digit()))?;
        if RESERVED.contains(&text) {
            return Err(NameError::Reserved(text.to_owned()));
        }
        Ok(Self(text.into()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StepId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl std::borrow::Borrow<str> for StepId {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for StepId {
    type Error = NameError;
    fn try_from(text: String) -> Result<Self, NameError> {
        Self::new(&text)
    }
}

impl From<StepId> for String {
    fn from(id: StepId) -> Self {
        id.0.as_ref().to_owned()
    }
}

fn check(text: &str, allowed: &'static str, fits: impl Fn(usize, char) -> bool) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if text.len() > LONGEST {
        return Err(NameError::TooLong);
    }
    match text.chars().enumerate().find(|(index, c)| !fits(*index, *c)) {
        Some((_, found)) => Err(NameError::Character { found, allowed }),
        None => Ok(()),
    }
}

/// A run's id: the second it started, two letters for the millisecond and three at random, so that ids sort by time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RunId(String);

impl RunId {
    /// A fresh id. `entropy` decides the last three letters.
    pub fn new(start: Timestamp, entropy: u64) -> Self {
        // Ascending, so that ids sort as the numbers do; without `l` and `o`, which look like digits.
        const LETTERS: &[u8; 32] = b"23456789abcdefghijkmnpqrstuvwxyz";
        let letter = |number: u64| char::from(LETTERS[usize::try_from(number & 31).unwrap_or(0)]);
        let millisecond = u64::from(start.subsec_nanosecond().unsigned_abs() / 1_000_000);
        let suffix: String =
            [millisecond >> 5, millisecond, entropy, entropy >> 5, entropy >> 10].map(letter).iter().collect();
        Self(format!("{}-{suffix}", start.strftime("%Y%m%d-%H%M%S")))
    }

    /// Takes an id as a person typed it. `None` when it could not name a run folder.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        fits.then(|| Self(text.to_owned()))
    }

    /// The second it started; `None` for a word that is no id.
    pub fn started(&self) -> Option<Timestamp> {
        let (day, rest) = self.0.split_once('-')?;
        let (time, _) = rest.split_once('-')?;
        let moment = jiff::civil::DateTime::strptime("%Y%m%d-%H%M%S", format!("{day}-{time}")).ok()?;
        moment.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|moment| moment.timestamp())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Which try of a step this is, counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Attempt(pub u32);

impl Attempt {
    /// The first try.
    pub const FIRST: Self = Self(1);

    /// The try after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_id_is_what_an_expression_can_name() {
        assert!(StepId::new("open_bypass").is_ok());
        assert_eq!(
            StepId::new("smoke-tests").unwrap_err().to_string(),
            "`-` cannot stand in a name; allowed are letters, digits and `_`, no digit first, because expressions name \
             steps directly"
        );
        assert_eq!(StepId::new("inputs"), Err(NameError::Reserved("inputs".into())));
        assert_eq!(StepId::new(""), Err(NameError::Empty));
    }

    #[test]
    fn run_ids_sort_by_the_time_they_started() {
        let id = |at: &str, entropy| RunId::new(at.parse().unwrap(), entropy);
        let times =
            ["2026-11-23T03:00:00Z", "2026-11-23T03:00:00.009Z", "2026-11-23T03:00:00.999Z", "2026-11-23T03:00:01Z"];
        for pair in times.windows(2) {
            assert!(id(pair[0], u64::MAX) < id(pair[1], 0), "{pair:?}");
        }
        assert_eq!(id(times[3], 0).as_str(), "20261123-030001-22222");
        assert_eq!(id(times[2], 0).started(), Some(times[0].parse().unwrap()));
        assert_eq!(RunId::parse("last").unwrap().started(), None);
    }

    #[test]
    fn a_run_id_cannot_leave_the_folder_of_runs() {
        assert_eq!(RunId::parse("../../etc"), None);
        assert!(RunId::parse("20261123-030001-aaaa").is_some());
    }
}
