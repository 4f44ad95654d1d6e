//! Secrets: names until the moment of use.
//!
//! A template that says `{{ secrets.vercel }}` renders to a *reference*: the name between two code points that Unicode
//! reserves for internal use. Plans, logs, digests and screens hold the reference. The doors to the world (HTTP,
//! processes) put the value in its place and nobody else ever sees it.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};

use super::id::StepId;
use super::redact::{MASK, Redactor, SHORTEST_SECRET};

/// U+FDD0 and U+FDD1 are noncharacters "intended for process-internal use" (Unicode 16, section 23.7).
const OPEN: char = '\u{FDD0}';
const CLOSE: char = '\u{FDD1}';

/// A secret's value. Prints as `***`; readable only through [`Secret::expose`], at the last door.
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    /// Wraps a value.
    pub fn new(value: String) -> Self {
        Self(SecretString::from(value))
    }

    /// The value itself. Call this only where it leaves for the system it belongs to.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that opens the wrapper")]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// Where a secret comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretSource {
    /// An environment variable of the process that runs the runbook.
    Env(String),
    /// A file; one line break at its end is left out.
    File(PathBuf),
    /// It is not there before the run: it comes to be while the run is under way.
    Late(Late),
    /// The run begins without it; only the steps that take it fail.
    Optional(Box<Self>),
}

/// Where a secret comes from that is not there before the run. With both, the step's counts if the step has succeeded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct Late {
    /// The step that gives it when it succeeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub step: Option<StepId>,
    /// What a person is asked for it, hidden, when it is first needed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
}

impl SecretSource {
    /// The source, when the secret comes to be only during the run.
    pub fn late(&self) -> Option<&Late> {
        match self {
            Self::Late(late) => Some(late),
            Self::Env(_) | Self::File(_) | Self::Optional(_) => None,
        }
    }

    /// Must its value be there when the run begins?
    pub fn is_needed_before(&self) -> bool {
        matches!(self, Self::Env(_) | Self::File(_))
    }

    /// The place itself, needed or not.
    pub fn place(&self) -> &Self {
        match self {
            Self::Optional(place) => place.place(),
            Self::Env(_) | Self::File(_) | Self::Late(_) => self,
        }
    }

    /// The same with its path, if it is one, worked on.
    #[must_use]
    pub fn with_path(self, work: impl FnOnce(PathBuf) -> PathBuf) -> Self {
        match self {
            Self::File(path) => Self::File(work(path)),
            Self::Optional(place) => Self::Optional(Box::new(place.with_path(work))),
            Self::Env(_) | Self::Late(_) => self,
        }
    }
}

/// Why a secret could not be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecretError {
    /// The runbook declares no secret of this name.
    #[error("the runbook declares no secret `{0}`")]
    Undeclared(String),
    /// The environment variable is not there.
    #[error("secret `{name}` is not set: the environment has no `{variable}`")]
    NotSet {
        /// The secret's name in the runbook.
        name: String,
        /// The variable that should hold it.
        variable: String,
    },
    /// The file cannot be read.
    #[error("secret `{name}` cannot be read from `{path}`: {reason}")]
    Unreadable {
        /// The secret's name in the runbook.
        name: String,
        /// The file that should hold it.
        path: String,
        /// What the system said.
        reason: String,
    },
    /// A rehearsal takes what its scenario gives, and no secret of yours.
    #[error("secret `{0}` is not given by the scenario")]
    NotGiven(String),
    /// It comes to be during the run, and has not yet.
    #[error("secret `{0}` is not there yet: it comes to be while the run is under way")]
    NotYet(String),
    /// Too short to be masked safely.
    #[error("secret `{0}` has fewer than {SHORTEST_SECRET} characters and could not be masked")]
    TooShort(String),
}

/// Holds where each secret comes from, fetches it when first needed and teaches it to the redactor.
pub struct SecretStore {
    sources: BTreeMap<String, SecretSource>,
    /// Made-up values, and nothing else.
    given: Option<BTreeMap<String, String>>,
    known: Mutex<BTreeMap<String, Secret>>,
    redactor: Arc<Redactor>,
}

impl fmt::Debug for SecretStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretStore").field("sources", &self.sources).finish_non_exhaustive()
    }
}

impl SecretStore {
    /// A store over the sources a runbook declares.
    pub fn new(sources: BTreeMap<String, SecretSource>, redactor: Arc<Redactor>) -> Self {
        Self { sources, given: None, known: Mutex::default(), redactor }
    }

    /// Takes these values and asks no source; a drill's made-up keys.
    #[must_use]
    pub fn with_given(mut self, given: BTreeMap<String, String>) -> Self {
        self.given = Some(given);
        self
    }

    /// The redactor that knows every secret fetched so far.
    pub fn redactor(&self) -> &Arc<Redactor> {
        &self.redactor
    }

    /// The environment variables that hold secrets: no child process inherits them.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.sources.values().filter_map(|source| match source.place() {
            SecretSource::Env(variable) => Some(variable.as_str()),
            SecretSource::File(_) | SecretSource::Late(_) | SecretSource::Optional(_) => None,
        })
    }

    /// Is its value in memory?
    pub fn is_known(&self, name: &str) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).contains_key(name)
    }

    /// Takes the value of a secret that has come to be; from here on it is masked, and the doors put it in.
    pub fn put(&self, name: &str, secret: Secret) -> Result<(), SecretError> {
        if secret.expose().len() < SHORTEST_SECRET {
            return Err(SecretError::TooShort(name.to_owned()));
        }
        self.redactor.learn(secret.expose());
        self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), secret);
        Ok(())
    }

    /// Forgets the value of a secret, so that it is asked for again. It stays masked.
    pub fn forget(&self, name: &str) {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Fetches a secret; the second time from memory. One that comes to be during the run is there once it was [put].
    ///
    /// [put]: SecretStore::put
    pub fn get(&self, name: &str) -> Result<Secret, SecretError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(secret) = known.get(name) {
            return Ok(secret.clone());
        }
        let value = self.fetch(name)?;
        if value.len() < SHORTEST_SECRET {
            return Err(SecretError::TooShort(name.to_owned()));
        }
        self.redactor.learn(&value);
        let secret = Secret::new(value);
        known.insert(name.to_owned(), secret.clone());
        Ok(secret)
    }

    fn fetch(&self, name: &str) -> Result<String, SecretError> {
        let source = self.sources.get(name).map(SecretSource::place);
        if let Some(SecretSource::Late(_)) = source {
            return Err(SecretError::NotYet(name.to_owned()));
        }
        if let Some(given) = &self.given {
            let missing = || match source {
                Some(_) => SecretError::NotGiven(name.to_owned()),
                None => SecretError::Undeclared(name.to_owned()),
            };
            return given.get(name).cloned().ok_or_else(missing);
        }
        match source {
            None | Some(SecretSource::Late(_) | SecretSource::Optional(_)) => {
                Err(SecretError::Undeclared(name.to_owned()))
            }
            Some(SecretSource::Env(variable)) => match std::env::var(variable) {
                Ok(value) if !value.is_empty() => Ok(value),
                _ => Err(SecretError::NotSet { name: name.to_owned(), variable: variable.clone() }),
            },
            Some(SecretSource::File(path)) => match std::fs::read_to_string(path) {
                Ok(text) => Ok(text.strip_suffix('\n').map_or(text.as_str(), |t| t.trim_end_matches('\r')).to_owned()),
                Err(error) => Err(SecretError::Unreadable {
                    name: name.to_owned(),
                    path: path.display().to_string(),
                    reason: error.to_string(),
                }),
            },
        }
    }

    /// Puts references in the place of the values fetched so far: the inverse of [`SecretStore::reveal`], for what must
    /// be logged and later be sent again.
    pub fn conceal(&self, text: &str) -> String {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        // Long before short: one secret may hold another.
        let mut known: Vec<_> = known.iter().collect();
        known.sort_by_key(|(_, secret)| std::cmp::Reverse(secret.expose().len()));
        known.into_iter().fold(text.to_owned(), |text, (name, secret)| text.replace(secret.expose(), &reference(name)))
    }

    /// Puts values in the place of references. Only the doors call this, on what is about to leave.
    pub fn reveal(&self, text: &str) -> Result<String, SecretError> {
        let mut revealed = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, name, after)) = next_reference(rest) {
            revealed.push_str(before);
            revealed.push_str(self.get(name)?.expose());
            rest = after;
        }
        revealed.push_str(rest);
        Ok(revealed)
    }
}

/// The reference to a secret, as templates render it.
pub fn reference(name: &str) -> String {
    format!("{OPEN}{name}{CLOSE}")
}

/// Does this text refer to a secret?
pub fn has_reference(text: &str) -> bool {
    next_reference(text).is_some()
}

/// Collects the names of the secrets that the texts of a value refer to.
pub fn references(value: &serde_json::Value, found: &mut std::collections::BTreeSet<String>) {
    use serde_json::Value;
    match value {
        Value::String(text) => {
            let mut rest = text.as_str();
            while let Some((_, name, after)) = next_reference(rest) {
                found.insert(name.to_owned());
                rest = after;
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        Value::Object(map) => map.values().for_each(|item| references(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Is this text one reference and nothing else?
pub fn is_reference(text: &str) -> bool {
    next_reference(text).is_some_and(|(before, _, after)| before.is_empty() && after.is_empty())
}

/// The text as people may see it: `‹secret vercel›` in the place of a reference.
pub fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, name, after)) = next_reference(rest) {
        shown.push_str(before);
        shown.push_str(&format!("‹secret {name}›"));
        rest = after;
    }
    shown.push_str(rest);
    shown
}

fn next_reference(text: &str) -> Option<(&str, &str, &str)> {
    let (before, rest) = text.split_once(OPEN)?;
    let (name, after) = rest.split_once(CLOSE)?;
    Some((before, name, after))
}

/// Takes the marks out of a text that came from outside, so that nobody can smuggle in a reference.
pub fn disarm(text: &mut String) {
    if text.contains([OPEN, CLOSE]) {
        *text = text.replace([OPEN, CLOSE], "\u{FFFD}");
    }
}

/// [`disarm`] for every string in a JSON value.
pub fn disarm_json(value: &mut serde_json::Value) {
    use serde_json::Value;
    match value {
        Value::String(text) => disarm(text),
        Value::Array(items) => items.iter_mut().for_each(disarm_json),
        Value::Object(map) => {
            if map.keys().any(|key| key.contains([OPEN, CLOSE])) {
                for (mut key, item) in std::mem::take(map) {
                    disarm(&mut key);
                    map.insert(key, item);
                }
            }
            map.values_mut().for_each(disarm_json);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store(given: &[(&str, &str)]) -> SecretStore {
        SecretStore::new(BTreeMap::new(), Arc::default())
            .with_given(given.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn a_reference_becomes_the_value_only_when_revealed() {
        let store = store(&[("vercel", "tok_12345")]);
        let header = format!("Bearer {}", reference("vercel"));
        assert_eq!(shown(&header), "Bearer ‹secret vercel›");
        assert_eq!(store.reveal(&header).unwrap(), "Bearer tok_12345");
        assert_eq!(store.redactor().mask("it was tok_12345"), "it was ***");
    }

    #[test]
    fn what_was_concealed_is_revealed_again() {
        let store = store(&[("vercel", "tok_12345")]);
        assert_eq!(store.conceal("it was tok_12345"), "it was tok_12345");
        store.get("vercel").unwrap();
        assert_eq!(store.conceal("it was tok_12345"), format!("it was {}", reference("vercel")));
        assert_eq!(store.reveal(&store.conceal("it was tok_12345")).unwrap(), "it was tok_12345");
    }

    #[test]
    fn what_comes_to_be_during_the_run_is_there_once_it_was_put_and_masked_from_then_on() {
        let late = Late { step: Some(StepId::new("rotate").unwrap()), prompt: None };
        let sources = BTreeMap::from([("new".to_owned(), SecretSource::Late(late))]);
        // A made-up key of a drill answers the prompt; it is not there by itself.
        let given = BTreeMap::from([("new".to_owned(), "sk_given".to_owned())]);
        let store = SecretStore::new(sources, Arc::default()).with_given(given);
        assert_eq!(store.get("new").unwrap_err(), SecretError::NotYet("new".into()));
        assert_eq!(store.put("new", Secret::new("abc".into())), Err(SecretError::TooShort("new".into())));
        assert!(!store.is_known("new"));
        store.put("new", Secret::new("sk_put".into())).unwrap();
        assert_eq!((store.is_known("new"), store.get("new").unwrap().expose()), (true, "sk_put"));
        assert_eq!(store.reveal(&reference("new")).unwrap(), "sk_put");
        assert_eq!(store.redactor().mask("c2tfcHV0 sk_put"), "*** ***");
    }

    #[test]
    fn a_rehearsal_reads_no_secret_of_ours() {
        // `PATH` is set wherever tests run.
        let source = SecretSource::Optional(Box::new(SecretSource::Env("PATH".into())));
        let sources = BTreeMap::from([("mine".to_owned(), source)]);
        let store = SecretStore::new(sources.clone(), Arc::default());
        assert_eq!(store.variables().collect::<Vec<_>>(), ["PATH"]);
        assert!(store.get("mine").is_ok());
        let drill = SecretStore::new(sources, Arc::default()).with_given(BTreeMap::new());
        assert_eq!(drill.get("mine").unwrap_err(), SecretError::NotGiven("mine".into()));
        assert_eq!(drill.get("other").unwrap_err(), SecretError::Undeclared("other".into()));
    }

    #[test]
    fn a_vendor_cannot_smuggle_in_a_reference() {
        let mut answer = serde_json::json!({ "name": reference("clerk"), reference("k"): ["x"] });
        disarm_json(&mut answer);
        assert!(!has_reference(&answer.to_string()));
    }

    #[test]
    fn debug_shows_no_value() {
        assert_eq!(format!("{:?}", Secret::new("hunter22".into())), "***");
        assert!(!format!("{:?}", store(&[("a", "hunter22")])).contains("hunter22"));
    }

    #[test]
    fn what_is_too_short_to_mask_is_refused() {
        assert_eq!(store(&[("pin", "123")]).get("pin").unwrap_err(), SecretError::TooShort("pin".into()));
    }
}
