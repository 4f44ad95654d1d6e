//! Tells whoever watches how a process is going: the last whole line it wrote, now and again.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

/// How much time lies between two lines. A process that ends sooner tells none: how it ended says more.
const PAUSE: Duration = Duration::from_millis(500);
/// The longest line that is told, in characters.
const LONGEST: usize = 200;
/// How many bytes of a line are looked at: the longest line, were every character of it four bytes, and some colours.
const LOOKED_AT: usize = LONGEST * 4 + 256;

/// Hears lines of output: masked, without control characters, of bounded length.
#[derive(Clone)]
pub struct Listener(Arc<dyn Fn(String) + Send + Sync>);

impl Listener {
    /// A listener that does this with each line. It must not wait: the process's output is read by whoever calls.
    pub fn new(hear: impl Fn(String) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hear))
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}

/// The lines of one stream.
#[derive(Debug)]
pub(super) struct Lines {
    listener: Listener,
    /// The last whole line, unless it was told.
    last: Option<Vec<u8>>,
    /// What came after it.
    begun: Vec<u8>,
    next: Instant,
}

impl Lines {
    pub(super) fn new(listener: Listener) -> Self {
        Self { listener, last: None, begun: Vec::new(), next: Instant::now() + PAUSE }
    }

    /// Takes more of the stream, masked.
    pub(super) fn push(&mut self, shown: &[u8]) {
        // A bar of progress ends its lines with a carriage return.
        let mut lines = shown.rsplit(|byte| matches!(byte, b'\n' | b'\r'));
        let rest = lines.next().unwrap_or_default();
        if rest.len() < shown.len() {
            let whole = lines.find(|line| !is_blank(line));
            // The earliest line of these began before them.
            let first = shown.split(|byte| matches!(byte, b'\n' | b'\r')).next().unwrap_or_default();
            if whole.is_none_or(|line| std::ptr::eq(line, first)) {
                append(&mut self.begun, first);
                if !is_blank(&self.begun) {
                    self.last = Some(std::mem::take(&mut self.begun));
                }
            } else if let Some(line) = whole {
                self.last = Some(line[..line.len().min(LOOKED_AT)].to_vec());
            }
            self.begun.clear();
        }
        append(&mut self.begun, rest);
    }

    /// Returns when there is a line to tell and it is time to; never when there is none.
    pub(super) async fn due(lines: Option<&Self>) {
        match lines.filter(|lines| lines.last.is_some()) {
            Some(lines) => tokio::time::sleep_until(lines.next).await,
            None => std::future::pending().await,
        }
    }

    /// Tells the last line.
    pub(super) fn tell(&mut self) {
        self.next = Instant::now() + PAUSE;
        if let Some(line) = self.last.take().map(|line| readable(&line)).filter(|line| !line.is_empty()) {
            (self.listener.0)(line);
        }
    }
}

fn append(line: &mut Vec<u8>, more: &[u8]) {
    let room = LOOKED_AT.saturating_sub(line.len()).min(more.len());
    line.extend_from_slice(&more[..room]);
}

fn is_blank(line: &[u8]) -> bool {
    line.iter().all(u8::is_ascii_whitespace)
}

/// A line as it may stand on somebody's terminal.
fn readable(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let plain = anstream::adapter::strip_str(&text).to_string();
    let plain: String = plain.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let mut text: String = plain.trim().chars().take(LONGEST).collect();
    if text.len() < plain.trim().len() {
        text.push('…');
    }
    crate::base::secret::disarm(&mut text);
    text
}

#[cfg(test)]
mod tests {
    use std::sync::{Mutex, PoisonError};

    use super::*;

    fn last_of(chunks: &[&[u8]]) -> Option<String> {
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let told = Arc::clone(&heard);
        let mut lines = Lines::new(Listener::new(move |line| {
            told.lock().unwrap_or_else(PoisonError::into_inner).push(line);
        }));
        for chunk in chunks {
            lines.push(chunk);
        }
        lines.tell();
        heard.lock().unwrap().pop()
    }

    #[test]
    fn the_last_whole_line_is_told_however_it_was_cut() {
        let text = b"first\nsecond line\n\nthird, not yet";
        for cut in 0..=text.len() {
            let (one, other) = text.split_at(cut);
            assert_eq!(last_of(&[one, other]).as_deref(), Some("second line"), "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(last_of(&bytes).as_deref(), Some("second line"));
        assert_eq!(last_of(&[b"10%\r20%\r30"]).as_deref(), Some("20%"));
        assert_eq!(last_of(&[b"no end of the line"]), None);
        assert_eq!(last_of(&[b"\n\n", b" \n"]), None);
    }

    #[test]
    fn a_line_is_short_and_plain() {
        assert_eq!(last_of(&[b"\x1b[31mred\x1b[0m\tand\x07 \xff\n"]).as_deref(), Some("red and \u{FFFD}"));
        let long = last_of(&["ä".repeat(5000).as_bytes(), b"\n"]).unwrap();
        assert_eq!(long.chars().count(), LONGEST + 1);
        let mut lines = Lines::new(Listener::new(|_| ()));
        (0..1000).for_each(|_| lines.push(&[b'x'; 4096]));
        assert!(lines.begun.len() <= LOOKED_AT);
    }
}
