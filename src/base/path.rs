//! Where a step stands in a run: `triage`, `revoke[u_42]`, `cleanup/report`, `regions[eu]/deploy`.

use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::id::{NameError, StepId};

/// The place of a step in a run. A step of the runbook itself is named by its id; an item of a loop has its key in
/// brackets; a step of a called runbook stands after the step that calls, behind a `/`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct StepPath(Arc<str>);

/// Why a text is no path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// A part is no step's id.
    #[error(transparent)]
    Name(#[from] NameError),
    /// Brackets that do not close, close too early, or hold nothing.
    #[error("`{0}` has brackets in the wrong place; an item is named like `step[key]`")]
    Brackets(String),
}

impl StepPath {
    /// Reads a path as [`Display`](fmt::Display) writes it.
    pub fn parse(text: &str) -> Result<Self, PathError> {
        for part in text.split('/') {
            let (id, key) = match part.split_once('[') {
                Some((id, rest)) => (id, Some(rest.strip_suffix(']').unwrap_or_default())),
                None => (part, None),
            };
            StepId::new(id)?;
            if key.is_some_and(|key| key.is_empty() || key.contains(['[', ']'])) {
                return Err(PathError::Brackets(part.to_owned()));
            }
        }
        Ok(Self(text.into()))
    }

    /// One item of this step.
    #[must_use]
    pub fn item(&self, key: &str) -> Self {
        let mut text = String::with_capacity(self.0.len() + key.len() + 2);
        text.push_str(&self.0);
        text.push('[');
        if key.is_empty() {
            // An empty key has a form of its own, so that brackets are never empty.
            text.push('%');
        }
        for c in key.chars() {
            if matches!(c, '%' | '/' | '[' | ']') || c.is_control() || c.is_whitespace() {
                let mut bytes = [0; 4];
                for byte in c.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(text, "%{byte:02X}");
                }
            } else {
                text.push(c);
            }
        }
        text.push(']');
        Self(text.into())
    }

    /// A step of the runbook that this step calls.
    #[must_use]
    pub fn inside(&self, id: &StepId) -> Self {
        Self(format!("{}/{id}", self.0).into())
    }

    /// The step's id in its own runbook.
    pub fn id(&self) -> StepId {
        let last = self.0.rsplit('/').next().unwrap_or_default();
        let id = last.split('[').next().unwrap_or_default();
        StepId::new(id).expect("a path is made of ids")
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<StepId> for StepPath {
    fn from(id: StepId) -> Self {
        Self(id.as_str().into())
    }
}

impl From<&StepId> for StepPath {
    fn from(id: &StepId) -> Self {
        Self(id.as_str().into())
    }
}

impl TryFrom<String> for StepPath {
    type Error = PathError;
    fn try_from(text: String) -> Result<Self, PathError> {
        Self::parse(&text)
    }
}

impl From<StepPath> for String {
    fn from(path: StepPath) -> Self {
        path.0.as_ref().to_owned()
    }
}

impl std::borrow::Borrow<str> for StepPath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<StepId> for StepPath {
    fn eq(&self, id: &StepId) -> bool {
        self.as_str() == id.as_str()
    }
}

impl fmt::Display for StepPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(text: &str) -> StepPath {
        StepPath::parse(text).unwrap()
    }

    #[test]
    fn a_path_names_its_last_step() {
        assert_eq!(path("cleanup/report").id().as_str(), "report");
        assert_eq!(path("regions[eu]/deploy[a]").id().as_str(), "deploy");
        assert_eq!(path("triage"), StepId::new("triage").unwrap());
    }

    #[test]
    fn brackets_must_fit() {
        for wrong in ["a[", "a[]", "a[b]c", "a[b[c]]", "a]", "/a", "a/", "a b", ""] {
            assert!(StepPath::parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn every_key_makes_a_path_that_reads_back_and_two_keys_make_two(one: String, other: String) {
            let step = path("each");
            let item = step.item(&one);
            prop_assert_eq!(StepPath::parse(item.as_str()), Ok(item.clone()));
            prop_assert_eq!(item.id(), StepId::new("each").unwrap());
            prop_assert_eq!(step.item(&other) == item, one == other);
        }
    }
}
