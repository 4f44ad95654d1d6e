//! Reads one output stream: masked first, then kept in part, the head and the tail.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt as _};

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
}

/// A stream being read.
pub(super) struct Capture<R> {
    stream: Option<R>,
    masker: StreamMasker,
    head: Vec<u8>,
    tail: VecDeque<u8>,
    /// How much to keep of each end.
    half: usize,
    bytes: u64,
    truncated: bool,
}

impl<R: AsyncRead + Unpin> Capture<R> {
    pub(super) fn new(stream: Option<R>, redactor: &Arc<Redactor>, keep: usize) -> Self {
        Self {
            stream,
            masker: redactor.stream(),
            head: Vec::new(),
            tail: VecDeque::new(),
            half: keep / 2,
            bytes: 0,
            truncated: false,
        }
    }

    /// Reads to the end. May be dropped at any moment: what was read by then is kept.
    pub(super) async fn read(&mut self) {
        let Some(mut stream) = self.stream.take() else { return };
        let mut chunk = vec![0; 16 * 1024];
        let mut shown = Vec::new();
        // An error is an end like any other: the exit code says how the process fared.
        while let Ok(read @ 1..) = stream.read(&mut chunk).await {
            self.bytes += u64::try_from(read).unwrap_or(0);
            self.masker.push(&chunk[..read], &mut shown);
            self.keep(&shown);
            shown.clear();
        }
    }

    fn keep(&mut self, mut shown: &[u8]) {
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
        if self.truncated {
            text.push_str("\n[… the middle is left out …]\n");
        }
        text.push_str(&String::from_utf8_lossy(self.tail.make_contiguous()));
        crate::base::secret::disarm(&mut text);
        Captured { text, bytes: self.bytes, truncated: self.truncated }
    }
}
