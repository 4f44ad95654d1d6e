//! An export: one file that holds a run's plan, log, payloads and artifacts, and a list of what they are.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::blobs::{BLOBS, Payload};
use super::file::LogError;
use super::inbox::INBOX;
use super::store::{LOG, PLAN, RunFolder, StoreError};
use super::{record::Record, tar};
use crate::base::Digest;

/// The version of the form. It only grows.
pub const EXPORT_FORMAT: u32 = 1;

/// The list of what an export holds; its first file.
pub(super) const MANIFEST: &str = "manifest.json";
/// The signature over the bytes of the list.
pub(super) const SIGNATURE: &str = "manifest.json.sig";

/// A drill's scenario holds the keys of its stand-ins in clear.
const LEFT_OUT: &str = "scenario.yaml";

/// Why a run cannot be exported, or an export cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The log cannot be used.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The run cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system said no.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is not what was written.
    #[error("{path}: the export is damaged (byte {offset}): {reason}")]
    Damaged {
        /// The file.
        path: String,
        /// Where.
        offset: usize,
        /// What is wrong.
        reason: String,
    },
    /// It was written by a newer version of this program.
    #[error("{path}: the export has format {format}; this version knows formats up to {EXPORT_FORMAT}")]
    Newer {
        /// The file.
        path: String,
        /// Its format.
        format: u32,
    },
    /// A file of the run cannot go into an export.
    #[error("{path}: its name is too long for an export")]
    Name {
        /// The file.
        path: String,
    },
    /// The run has no line yet.
    #[error("{path}: nothing has happened in this run yet")]
    Empty {
        /// Its log.
        path: String,
    },
}

/// What an export holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The version of the form.
    pub export: u32,
    /// The run's id.
    pub run: String,
    /// The hash of the log's last line.
    pub head: Digest,
    /// How many lines the log has.
    pub lines: u64,
    /// Every file, in the order they stand.
    pub files: Vec<Listed>,
}

/// A file in an export.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// How many bytes it has.
    pub bytes: u64,
    /// Their SHA-256.
    pub sha256: Digest,
}

impl Manifest {
    /// Its one form, which a signature is over.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec(self).expect("texts and numbers are JSON");
        bytes.push(b'\n');
        bytes
    }
}

/// A run's files, ready to be written as one.
#[derive(Debug)]
pub struct Export {
    /// What it holds.
    pub manifest: Manifest,
    /// Files of the run that do not go with it, each with the reason.
    pub left_out: Vec<(String, &'static str)>,
    files: Vec<(String, Vec<u8>)>,
}

impl Export {
    /// Gathers a run. Damage in its log or its plan is refused: a bundle is only as good as what went in.
    pub fn of(folder: &RunFolder) -> Result<Self, ExportError> {
        let mut record = Record::of_run(folder)?;
        let scan = record.scan();
        let (whole, payloads) = (scan.whole, scan.payloads.clone());
        let entries = scan.entries()?;
        record.plan()?;
        let Some(last) = entries.last() else {
            return Err(ExportError::Empty { path: folder.log().display().to_string() });
        };
        // What is torn was never acknowledged.
        record.log.truncate(whole);
        let mut files = vec![(PLAN.to_owned(), record.plan.take().unwrap_or_default()), (LOG.to_owned(), record.log)];
        let mut names: Vec<String> = payloads.iter().map(|payload| format!("{BLOBS}/{}", payload.hash)).collect();
        let mut left_out = Vec::new();
        artifacts(folder.path(), folder.path(), &mut names, &mut left_out)?;
        names.sort();
        names.dedup();
        for name in names {
            let path = folder.path().join(&name);
            files.push((name, std::fs::read(&path).map_err(|error| io_error(&path, error))?));
        }
        let listed = files.iter().map(|(name, bytes)| {
            let Payload { hash, bytes } = Payload::of(bytes);
            Listed { name: name.clone(), bytes, sha256: hash }
        });
        let manifest = Manifest {
            export: EXPORT_FORMAT,
            run: folder.id.to_string(),
            head: last.hash.clone(),
            lines: last.seq,
            files: listed.collect(),
        };
        Ok(Self { manifest, left_out, files })
    }

    /// Every file with its bytes.
    pub fn files(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.files.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
    }

    /// The export as the bytes of one file, with a signature of the manifest if there is one.
    pub fn to_bytes(&self, signature: Option<&str>) -> Result<Vec<u8>, ExportError> {
        let mut out = Vec::new();
        let manifest = self.manifest.to_bytes();
        let signature = signature.map(|text| (SIGNATURE, text.as_bytes()));
        for (name, bytes) in [(MANIFEST, manifest.as_slice())].into_iter().chain(signature).chain(self.files()) {
            tar::add(&mut out, name, bytes).ok_or_else(|| ExportError::Name { path: name.to_owned() })?;
        }
        tar::finish(&mut out);
        Ok(out)
    }
}

/// The files that a run left beside its plan and log. Hidden ones are drafts; what is no file is left out.
fn artifacts(
    root: &Path,
    folder: &Path,
    names: &mut Vec<String>,
    left_out: &mut Vec<(String, &'static str)>,
) -> Result<(), ExportError> {
    let entries = std::fs::read_dir(folder).map_err(|error| io_error(folder, error))?;
    for entry in entries {
        let entry = entry.map_err(|error| io_error(folder, error))?;
        let path = entry.path();
        let kind = entry.file_type().map_err(|error| io_error(&path, error))?;
        let inside = path.strip_prefix(root).unwrap_or(&path);
        let Some(name) = inside.to_str() else {
            left_out.push((inside.display().to_string(), "its name is no text"));
            continue;
        };
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        match name {
            _ if hidden => {}
            // What other processes wanted is in the log once it was dealt with.
            PLAN | LOG | BLOBS | INBOX => {}
            MANIFEST | SIGNATURE => left_out.push((name.to_owned(), "an export has a file of this name itself")),
            LEFT_OUT => left_out.push((name.to_owned(), "it holds the drill's keys in clear")),
            _ if kind.is_dir() => artifacts(root, &path, names, left_out)?,
            _ if kind.is_file() => names.push(name.to_owned()),
            _ => left_out.push((name.to_owned(), "it is no plain file")),
        }
    }
    Ok(())
}

/// An export, opened: every byte of it is accounted for.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) manifest: Manifest,
    pub(super) manifest_bytes: Vec<u8>,
    pub(super) signature: Option<String>,
    pub(super) files: BTreeMap<String, Vec<u8>>,
}

/// Opens an export and holds its files against its list.
pub(super) fn open(path: &str, bytes: &[u8]) -> Result<Opened, ExportError> {
    let damaged = |offset: usize, reason: String| ExportError::Damaged { path: path.to_owned(), offset, reason };
    let mut members = tar::files(bytes).map_err(|error| damaged(error.offset, error.reason))?.into_iter();
    let Some(tar::Member { at, content: manifest_bytes, .. }) = members.next().filter(|file| file.name == MANIFEST)
    else {
        return Err(damaged(0, format!("its first file is not `{MANIFEST}`")));
    };
    #[derive(Deserialize)]
    struct Version {
        export: u32,
    }
    let no_list = |error: serde_json::Error| damaged(at, format!("`{MANIFEST}` cannot be read: {error}"));
    let Version { export } = serde_json::from_slice(manifest_bytes).map_err(no_list)?;
    if export > EXPORT_FORMAT {
        return Err(ExportError::Newer { path: path.to_owned(), format: export });
    }
    let manifest: Manifest = serde_json::from_slice(manifest_bytes).map_err(no_list)?;
    if manifest.to_bytes() != manifest_bytes {
        return Err(damaged(at, format!("`{MANIFEST}` is not in the form it was written in")));
    }
    let mut members = members.peekable();
    let signature = match members.next_if(|file| file.name == SIGNATURE) {
        Some(tar::Member { at, content: text, .. }) => {
            Some(String::from_utf8(text.to_vec()).map_err(|_| damaged(at, format!("`{SIGNATURE}` is no text")))?)
        }
        None => None,
    };
    let mut files = BTreeMap::new();
    for listed in &manifest.files {
        let Some(tar::Member { name, at, content }) = members.next() else {
            return Err(damaged(bytes.len(), format!("`{}` is missing", listed.name)));
        };
        if name != listed.name {
            return Err(damaged(at, format!("`{name}` stands where `{}` was due", listed.name)));
        }
        let expected = Payload { hash: listed.sha256.clone(), bytes: listed.bytes };
        if let Some(reason) = expected.differs(content) {
            return Err(damaged(at, format!("`{name}` {reason}")));
        }
        files.insert(name, content.to_vec());
    }
    if let Some(tar::Member { name, at, .. }) = members.next() {
        return Err(damaged(at, format!("`{name}` is not in the list")));
    }
    Ok(Opened { manifest, manifest_bytes: manifest_bytes.to_vec(), signature, files })
}

pub(super) fn io_error(path: &Path, source: std::io::Error) -> ExportError {
    ExportError::Io { path: path.display().to_string(), source }
}
