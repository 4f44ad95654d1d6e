//! What was asked of the stand-ins and what they answered, word for word: one JSON line for each exchange.
//!
//! The record says what changed and is needed to go on after a kill; a transcript is for reading, and only there when
//! somebody asked for it.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, COOKIE, HeaderMap};
use serde::{Deserialize, Serialize};

use super::ask::{Ask, Reply};
use super::scenario::StandIn;
use crate::base::Timestamp;

/// One exchange.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Exchange {
    /// The scenario's time.
    pub at: Timestamp,
    /// Who was asked.
    pub on: StandIn,
    /// What was asked.
    pub request: Asking,
    /// Did the scenario tell the stand-in to answer so, whatever the vendor would say?
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub spoiled: bool,
    /// What came back; nothing when the connection was closed or held without an answer.
    pub answer: Option<Answering>,
}

/// A request as it arrived.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Asking {
    /// `GET`, `POST` …
    pub method: String,
    /// The path, as it was encoded.
    pub path: String,
    /// The query's names and values, decoded, in order.
    pub query: Vec<(String, String)>,
    /// The headers, without those that hold a key.
    pub headers: BTreeMap<String, String>,
    /// The body, as text.
    pub body: String,
}

/// An answer as it was sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answering {
    /// The status.
    pub status: u16,
    /// The content's type.
    pub content_type: String,
    /// The other headers.
    pub headers: BTreeMap<String, String>,
    /// The body, as text.
    pub body: String,
}

/// What of a request its reader does not keep.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// Whether the scenario told the stand-in to answer so.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spoiled(pub(super) bool);

/// The open file.
#[derive(Debug)]
pub(super) struct Transcript(Mutex<File>);

impl Transcript {
    /// Opens the file and appends to what is in it.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        Ok(Self(Mutex::new(options.open(path)?)))
    }

    /// Writes an exchange in one piece.
    pub(super) fn write(
        &self,
        at: Timestamp,
        on: StandIn,
        ask: &Ask,
        heard: &Heard,
        reply: &Reply,
        Spoiled(spoiled): Spoiled,
    ) -> io::Result<()> {
        let kept = heard.headers.iter().filter(|(name, _)| !matches!(**name, AUTHORIZATION | COOKIE));
        let request = Asking {
            method: ask.method.clone(),
            path: ask.path.clone(),
            query: ask.query.clone(),
            headers: kept
                .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
                .collect(),
            body: String::from_utf8_lossy(&heard.body).into_owned(),
        };
        let answer = reply.answer().map(|answer| Answering {
            status: answer.status,
            content_type: answer.content_type.to_owned(),
            headers: answer.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
            body: answer.content.clone(),
        });
        let mut line = serde_json::to_vec(&Exchange { at, on, request, spoiled, answer }).map_err(io::Error::other)?;
        line.push(b'\n');
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line)
    }
}
