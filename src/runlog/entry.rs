//! One line of a run log: an event, its number and time, and its link in the chain of hashes.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::base::{Digest, Redactor, Timestamp};
use crate::run::{Event, Recorded};

/// The version of the line format. It only grows: a reader refuses what is newer.
pub const FORMAT: u32 = 1;

/// A line, read.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its number, from 1.
    pub seq: u64,
    /// The event and its time.
    pub recorded: Recorded,
    /// The hash of the line.
    pub hash: Digest,
}

/// What a line holds, in this order. `hash` is over every byte of the line before `,"hash"`.
#[derive(Serialize, Deserialize)]
struct Line<'l> {
    v: u32,
    seq: u64,
    time: Timestamp,
    #[serde(borrow)]
    event: Cow<'l, serde_json::value::RawValue>,
    prev: Digest,
    hash: Digest,
}

/// Writes a line, its line break included, secrets masked, and returns its hash.
pub(super) fn write(
    out: &mut Vec<u8>,
    recorded: &Recorded,
    seq: u64,
    prev: &Digest,
    redactor: &Redactor,
) -> std::io::Result<Digest> {
    let start = out.len();
    let event = masked(&recorded.event, redactor)?;
    let head = format!("{{\"v\":{FORMAT},\"seq\":{seq},\"time\":\"{}\",\"event\":", recorded.at);
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(event.as_bytes());
    out.extend_from_slice(format!(",\"prev\":\"{prev}\"").as_bytes());
    let hash = Digest::of(&out[start..]);
    out.extend_from_slice(format!(",\"hash\":\"{hash}\"}}\n").as_bytes());
    Ok(hash)
}

/// The event as JSON. Masked as text where that changes nothing, else value by value, so that it stays JSON.
fn masked(event: &Event, redactor: &Redactor) -> std::io::Result<String> {
    let text = serde_json::to_string(event)?;
    if matches!(redactor.mask(&text), Cow::Borrowed(_)) {
        return Ok(text);
    }
    let mut value = serde_json::to_value(event)?;
    redactor.mask_json(&mut value);
    Ok(value.to_string())
}

/// Why a line is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum LineError {
    #[error("it is no entry: {0}")]
    Unreadable(String),
    #[error("its content does not match its hash")]
    Hash,
    #[error("it does not follow the line before: the hash it names is another one")]
    Chain,
    #[error("it has number {found} where {expected} was due")]
    Number { found: u64, expected: u64 },
    #[error("it has format {0}; this version knows formats up to {FORMAT}")]
    Newer(u32),
}

/// Reads a line (without its line break) that must follow `prev` with the number `seq`.
pub(super) fn read(line: &[u8], seq: u64, prev: &Digest) -> Result<Entry, LineError> {
    #[derive(Deserialize)]
    struct Version {
        v: u32,
    }
    let unreadable = |error: serde_json::Error| LineError::Unreadable(error.to_string());
    // The version first: a newer line may look different in everything else.
    let Version { v } = serde_json::from_slice(line).map_err(unreadable)?;
    if v > FORMAT {
        return Err(LineError::Newer(v));
    }
    let parsed: Line<'_> = serde_json::from_slice(line).map_err(unreadable)?;
    let tail = format!(",\"hash\":\"{}\"}}", parsed.hash);
    let body = line.strip_suffix(tail.as_bytes()).ok_or(LineError::Hash)?;
    if Digest::of(body) != parsed.hash {
        return Err(LineError::Hash);
    }
    if parsed.seq != seq {
        return Err(LineError::Number { found: parsed.seq, expected: seq });
    }
    if parsed.prev != *prev {
        return Err(LineError::Chain);
    }
    let event = serde_json::from_str(parsed.event.get()).map_err(unreadable)?;
    Ok(Entry { seq: parsed.seq, recorded: Recorded { at: parsed.time, event }, hash: parsed.hash })
}
