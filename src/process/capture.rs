//! Reads one output stream: masked first, then kept in part, the head and the tail; told line by line; spooled whole.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::lines::{Lines, Listener};
use super::spool::{Spool, Spooled, Spooling};
use crate::base::Redactor;
use crate::base::redact::StreamMasker;

/// What was kept of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Captured {
    /// The text, masked; the middle is left out when there was too much.
    pub text: String,
    /// How many bytes the process wrote.
    pub bytes: u64,
    /// Was the middle left out?
    pub truncated: bool,
    /// The file that holds the whole of it, masked, when the middle was left out: a path below the spool's folder.
    pub file: Option<String>,
}

/// A stream being read.
pub(super) struct Capture<R> {
    stream: Option<R>,
    name: &'static str,
    masker: StreamMasker,
    head: Vec<u8>,
    tail: VecDeque<u8>,
    /// How much to keep of each end.
    half: usize,
    bytes: u64,
    truncated: bool,
    spooling: Spooling,
    lines: Option<Lines>,
}

impl<R: AsyncRead + Unpin> Capture<R> {
    pub(super) fn new(name: &'static str, stream: Option<R>, redactor: &Arc<Redactor>, keep: usize) -> Self {
        Self {
            stream,
            name,
            masker: redactor.stream(),
            head: Vec::new(),
            tail: VecDeque::new(),
            half: keep / 2,
            bytes: 0,
            truncated: false,
            spooling: Spooling::Not(None),
            lines: None,
        }
    }

    /// Puts the whole stream in a file, should it be more than is kept.
    pub(super) fn spooled(mut self, spool: Option<Spool>) -> Self {
        self.spooling = Spooling::Not(spool);
        self
    }

    /// Tells lines as they come.
    pub(super) fn told(mut self, listener: Option<Listener>) -> Self {
        self.lines = listener.map(Lines::new);
        self
    }

    /// Reads to the end. May be dropped at any moment: what was read by then is kept.
    pub(super) async fn read(&mut self) {
        let Some(mut stream) = self.stream.take() else { return };
        let mut chunk = vec![0; 16 * 1024];
        let mut shown = Vec::new();
        loop {
            let read = tokio::select! {
                biased;
                () = Lines::due(self.lines.as_ref()) => {
                    if let Some(lines) = &mut self.lines {
                        lines.tell(&self.masker.peek());
                    }
                    continue;
                }
                read = stream.read(&mut chunk) => read,
            };
            // An error is an end like any other: the exit code says how the process fared.
            let Ok(read @ 1..) = read else { return };
            self.bytes += u64::try_from(read).unwrap_or(0);
            self.masker.push(&chunk[..read], &mut shown);
            self.keep(&shown);
            shown.clear();
        }
    }

    fn keep(&mut self, mut shown: &[u8]) {
        if let Some(lines) = &mut self.lines {
            lines.push(shown);
        }
        // Until the first byte is left out, head and tail are the whole of it.
        if self.truncated {
            self.spooling.write(self.name, &[shown]);
        } else if self.head.len() + self.tail.len() + shown.len() > self.half * 2 {
            let (early, late) = self.tail.as_slices();
            self.spooling.write(self.name, &[&self.head, early, late, shown]);
        }
        let room = self.half.saturating_sub(self.head.len()).min(shown.len());
        self.head.extend_from_slice(&shown[..room]);
        shown = &shown[room..];
        self.tail.extend(shown);
        if self.tail.len() > self.half {
            self.tail.drain(..self.tail.len() - self.half);
            self.truncated = true;
        }
    }

    /// What was kept.
    pub(super) fn finish(mut self) -> Captured {
        let mut rest = Vec::new();
        self.masker.finish(&mut rest);
        self.keep(&rest);
        let mut text = String::from_utf8_lossy(&self.head).into_owned();
        let spooled = self.spooling.finish(self.bytes);
        if self.truncated {
            match &spooled {
                Spooled::Nothing | Spooled::At(_) => text.push_str("\n[… the middle is left out …]\n"),
                Spooled::Broken(reason) => {
                    text.push_str(&format!(
                        "\n[… the middle is left out, and could not be put in a file: {reason} …]\n"
                    ));
                }
            }
        }
        text.push_str(&String::from_utf8_lossy(self.tail.make_contiguous()));
        crate::base::secret::disarm(&mut text);
        let file = match spooled {
            Spooled::At(file) => Some(file),
            Spooled::Nothing | Spooled::Broken(_) => None,
        };
        Captured { text, bytes: self.bytes, truncated: self.truncated, file }
    }
}
