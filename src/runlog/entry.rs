//! One line of a run log: an event, its number and time, its payloads out of line, and its link in the chain of hashes.

use std::collections::BTreeMap;
use std::io::{self, Write as _};

use serde::Deserialize;
use serde_json::Value;

use super::blobs::{BlobSource, Payload, is_hash};
use crate::base::{Digest, Redactor, Timestamp};
use crate::run::{Event, Recorded};

/// The version of the line format. It only grows: a reader refuses what is newer.
pub const FORMAT: u32 = 2;

/// Payloads longer than this, as JSON, are kept out of line.
pub const INLINE: usize = 16 * 1024;

/// Where events carry what may be large. More may come: a line says itself what it keeps elsewhere.
const LARGE: [&str; 9] = [
    "/result/outputs",
    "/result/error/outputs",
    "/value",
    "/params",
    "/items",
    "/does",
    "/doubt/outputs",
    "/inputs",
    "/steps",
];

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

/// What a line begins with, beside the event.
pub(super) struct Head<'h> {
    pub(super) seq: u64,
    /// Only in the first line: what the stored plan is, byte by byte.
    pub(super) plan: Option<&'h Payload>,
    pub(super) prev: &'h Digest,
}

/// Writes a line, its line break included, secrets masked, and returns its hash. Payloads that must be kept before the
/// line is written are added to `blobs`.
pub(super) fn write(
    out: &mut Vec<u8>,
    blobs: &mut Vec<(Payload, Vec<u8>)>,
    recorded: &Recorded,
    head: &Head<'_>,
    redactor: &Redactor,
) -> io::Result<Digest> {
    let start = out.len();
    write!(out, "{{\"v\":{FORMAT},\"seq\":{},\"time\":\"{}\"", head.seq, recorded.at)?;
    if let Some(plan) = head.plan {
        out.extend_from_slice(b",\"plan\":");
        serde_json::to_writer(&mut *out, plan)?;
    }
    let before = out.len();
    out.extend_from_slice(b",\"event\":");
    let event = out.len();
    serde_json::to_writer(&mut *out, &recorded.event)?;
    let is_large = out.len() - event > INLINE;
    let text = std::str::from_utf8(&out[event..]).map_err(io::Error::other)?;
    let has_secrets = matches!(redactor.mask(text), std::borrow::Cow::Owned(_));
    if is_large || has_secrets {
        out.truncate(before);
        write_with_care(out, blobs, &recorded.event, redactor, has_secrets)?;
    }
    out.extend_from_slice(b",\"prev\":\"");
    out.extend_from_slice(head.prev.as_str().as_bytes());
    out.push(b'"');
    let hash = Digest::of(&out[start..]);
    out.extend_from_slice(b",\"hash\":\"");
    out.extend_from_slice(hash.as_str().as_bytes());
    out.extend_from_slice(b"\"}\n");
    Ok(hash)
}

/// An event that is large or holds secrets: masked value by value, so that it stays JSON, and without what goes out of
/// line.
fn write_with_care(
    out: &mut Vec<u8>,
    blobs: &mut Vec<(Payload, Vec<u8>)>,
    event: &Event,
    redactor: &Redactor,
    has_secrets: bool,
) -> io::Result<()> {
    let mut value = serde_json::to_value(event)?;
    if has_secrets {
        redactor.mask_json(&mut value);
    }
    let mut elsewhere: BTreeMap<&str, Payload> = BTreeMap::new();
    for pointer in LARGE {
        let Some(part) = value.pointer_mut(pointer) else { continue };
        let bytes = serde_json::to_vec(part)?;
        if bytes.len() > INLINE {
            *part = Value::Null;
            let payload = Payload::of(&bytes);
            elsewhere.insert(pointer, payload.clone());
            blobs.push((payload, bytes));
        }
    }
    if !elsewhere.is_empty() {
        out.extend_from_slice(b",\"out\":");
        serde_json::to_writer(&mut *out, &elsewhere)?;
    }
    out.extend_from_slice(b",\"event\":");
    serde_json::to_writer(out, &value)?;
    Ok(())
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
    #[error("its payload at `{pointer}`, blobs/{hash}, {reason}")]
    Payload { pointer: String, hash: String, reason: String },
}

/// A line taken apart, its hash not yet compared.
struct Parts<'l> {
    seq: u64,
    time: Timestamp,
    plan: Option<Payload>,
    elsewhere: BTreeMap<String, Payload>,
    event: &'l [u8],
    prev: &'l [u8],
    hash: &'l [u8],
    /// What the hash is over.
    body: &'l [u8],
}

/// `,"prev":"…","hash":"…"}`: what every line ends with.
const PREV: &[u8] = b",\"prev\":\"";
const HASH: &[u8] = b"\",\"hash\":\"";
const END: &[u8] = b"\"}";
const DIGITS: usize = 64;

/// Takes a line apart by the fixed order of its fields: the hash is over bytes, so nothing may stand elsewhere.
fn parts(line: &[u8], version: u32) -> Option<Parts<'_>> {
    let mut rest = line.strip_prefix(b"{\"v\":")?;
    number(&mut rest)?;
    rest = rest.strip_prefix(b",\"seq\":")?;
    let seq = number(&mut rest)?;
    rest = rest.strip_prefix(b",\"time\":\"")?;
    let end = rest.iter().position(|byte| *byte == b'"')?;
    let time = std::str::from_utf8(&rest[..end]).ok()?.parse().ok()?;
    rest = &rest[end + 1..];
    let (mut plan, mut elsewhere) = (None, BTreeMap::new());
    if version >= 2 {
        if let Some(after) = rest.strip_prefix(b",\"plan\":") {
            rest = after;
            plan = Some(json(&mut rest)?);
        }
        if let Some(after) = rest.strip_prefix(b",\"out\":") {
            rest = after;
            elsewhere = json(&mut rest)?;
        }
    }
    rest = rest.strip_prefix(b",\"event\":")?;
    rest = rest.strip_suffix(END)?;
    let (rest, hash) = rest.split_at_checked(rest.len().checked_sub(DIGITS)?)?;
    let rest = rest.strip_suffix(HASH)?;
    let (rest, prev) = rest.split_at_checked(rest.len().checked_sub(DIGITS)?)?;
    let event = rest.strip_suffix(PREV)?;
    // Up to the quotation mark that ends `prev`.
    let body = &line[..line.len() - END.len() - DIGITS - HASH.len() + 1];
    Some(Parts { seq, time, plan, elsewhere, event, prev, hash, body })
}

fn number(rest: &mut &[u8]) -> Option<u64> {
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (text, after) = rest.split_at(digits);
    // A number has one way to be written here.
    if text.starts_with(b"0") {
        return None;
    }
    *rest = after;
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn json<'l, T: Deserialize<'l>>(rest: &mut &'l [u8]) -> Option<T> {
    let mut values = serde_json::Deserializer::from_slice(rest).into_iter();
    let value = values.next()?.ok()?;
    let end = values.byte_offset();
    *rest = rest.get(end..)?;
    Some(value)
}

/// The version of a line, whatever else it holds: a newer one may look different in everything else.
pub(super) fn version(line: &[u8]) -> Result<u32, LineError> {
    let known = line.strip_prefix(b"{\"v\":").and_then(|mut rest| number(&mut rest).zip(rest.first()));
    if let Some((version, b',')) = known {
        return Ok(u32::try_from(version).unwrap_or(u32::MAX));
    }
    #[derive(Deserialize)]
    struct Version {
        v: u32,
    }
    let read: Result<Version, _> = serde_json::from_slice(line);
    read.map(|read| read.v).map_err(|error| LineError::Unreadable(error.to_string()))
}

/// A line and what it says beside its event.
pub(super) struct Read {
    pub(super) entry: Entry,
    /// What the stored plan must be, if the line says.
    pub(super) plan: Option<Payload>,
    /// The payloads that were read for it.
    pub(super) payloads: Vec<Payload>,
}

/// Reads a line (without its line break) that must follow `prev` with the number `seq`.
pub(super) fn read(line: &[u8], seq: u64, prev: &Digest, blobs: &dyn BlobSource) -> Result<Read, LineError> {
    let version = version(line)?;
    if version > FORMAT {
        return Err(LineError::Newer(version));
    }
    let parts = parts(line, version).ok_or_else(|| unreadable(line))?;
    let hash = Digest::of(parts.body);
    if hash.as_str().as_bytes() != parts.hash {
        return Err(LineError::Hash);
    }
    if parts.seq != seq {
        return Err(LineError::Number { found: parts.seq, expected: seq });
    }
    if parts.prev != prev.as_str().as_bytes() {
        return Err(LineError::Chain);
    }
    let no_entry = |error: serde_json::Error| LineError::Unreadable(error.to_string());
    let event: Event = if parts.elsewhere.is_empty() {
        serde_json::from_slice(parts.event).map_err(no_entry)?
    } else {
        let mut value: Value = serde_json::from_slice(parts.event).map_err(no_entry)?;
        for (pointer, payload) in &parts.elsewhere {
            put_back(&mut value, pointer, payload, blobs)?;
        }
        serde_json::from_value(value).map_err(no_entry)?
    };
    let recorded = Recorded { at: parts.time, event };
    let payloads = parts.elsewhere.into_values().collect();
    Ok(Read { entry: Entry { seq, recorded, hash }, plan: parts.plan, payloads })
}

/// Puts a payload where the event has a gap for it.
fn put_back(value: &mut Value, pointer: &str, payload: &Payload, blobs: &dyn BlobSource) -> Result<(), LineError> {
    let wrong =
        |reason: String| LineError::Payload { pointer: pointer.to_owned(), hash: payload.hash.to_string(), reason };
    if !is_hash(payload.hash.as_str()) {
        return Err(wrong("has no hash for a name".to_owned()));
    }
    let Some(gap @ Value::Null) = value.pointer_mut(pointer) else {
        return Err(wrong("has no gap to go to".to_owned()));
    };
    let bytes = blobs.get(payload.hash.as_str()).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => wrong("is missing".to_owned()),
        _ => wrong(format!("cannot be read: {error}")),
    })?;
    if let Some(reason) = payload.differs(&bytes) {
        return Err(wrong(reason));
    }
    *gap = serde_json::from_slice(&bytes).map_err(|error| wrong(format!("is no JSON: {error}")))?;
    Ok(())
}

/// Why a line could not be taken apart.
fn unreadable(line: &[u8]) -> LineError {
    let reason = match serde_json::from_slice::<serde::de::IgnoredAny>(line) {
        Err(error) => error.to_string(),
        Ok(_) => "its fields are not those of the format, in their order".to_owned(),
    };
    LineError::Unreadable(reason)
}

/// The plan that a first line names, without checking anything else of it.
pub(super) fn plan_named(line: &[u8]) -> Option<Payload> {
    match version(line) {
        Ok(version) if version <= FORMAT => parts(line, version).and_then(|parts| parts.plan),
        _ => None,
    }
}

/// The step that a line seems to be about. For telling only: the line need not be whole.
pub(super) fn step_named(line: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(line).ok()?;
    let event = value.get("event")?;
    let step = event.get("step").or_else(|| event.pointer("/timer/step"))?;
    step.as_str().map(str::to_owned)
}
