//! Reads a log line by line, so that a long one need not be held whole.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;

use super::blobs::BlobFolder;
use super::disk::RealDisk;
use super::entry::{self, Entry};
use super::file::{LogError, damaged};
use crate::base::Digest;

/// The entries of a log, one by one. Ends at the first line that is not what was written, and says so.
pub struct Entries {
    file: BufReader<File>,
    path: String,
    blobs: BlobFolder<'static>,
    line: Vec<u8>,
    head: Digest,
    seq: u64,
    offset: usize,
    is_over: bool,
}

/// Reads a log without changing it. An unfinished last line is left out.
pub fn entries(path: &Path) -> Result<Entries, LogError> {
    let file = File::open(path).map_err(|error| LogError::io(path, error))?;
    Ok(Entries {
        file: BufReader::with_capacity(1 << 16, file),
        path: path.display().to_string(),
        blobs: BlobFolder::beside(path, &RealDisk),
        line: Vec::new(),
        head: Digest::zero(),
        seq: 0,
        offset: 0,
        is_over: false,
    })
}

impl Iterator for Entries {
    type Item = Result<Entry, LogError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.is_over {
            return None;
        }
        self.line.clear();
        if let Err(source) = self.file.read_until(b'\n', &mut self.line) {
            self.is_over = true;
            return Some(Err(LogError::Io { path: self.path.clone(), source }));
        }
        let Some(line) = self.line.strip_suffix(b"\n") else {
            // Every line is written in one piece with its line break, so only the last one can lack it.
            self.is_over = true;
            return None;
        };
        self.seq += 1;
        match entry::read(line, self.seq, &self.head, &self.blobs) {
            Ok(read) => {
                self.head.clone_from(&read.entry.hash);
                self.offset += self.line.len();
                Some(Ok(read.entry))
            }
            Err(reason) => {
                self.is_over = true;
                Some(Err(damaged(&self.path, self.seq, self.offset, reason)))
            }
        }
    }
}
