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
    /// Was there anything since a line was told?
    fresh: bool,
    told: String,
    next: Instant,
}

impl Lines {
    pub(super) fn new(listener: Listener) -> Self {
        let next = Instant::now() + PAUSE;
        Self { listener, last: None, begun: Vec::new(), fresh: false, told: String::new(), next }
    }

    /// Takes more of the stream, masked.
    pub(super) fn push(&mut self, shown: &[u8]) {
        if let Some(line) = last_line(&self.begun, shown) {
            self.last = Some(line);
        }
        let rest = shown.rsplit(is_end).next().unwrap_or_default();
        if rest.len() < shown.len() {
            self.begun.clear();
        }
        append(&mut self.begun, rest);
        self.fresh = true;
    }

    /// Returns when there may be a line to tell and it is time to; never when there is none.
    pub(super) async fn due(lines: Option<&Self>) {
        match lines.filter(|lines| lines.fresh) {
            Some(lines) => tokio::time::sleep_until(lines.next).await,
            None => std::future::pending().await,
        }
    }

    /// Tells the last line, unless it was told. `ahead` is what a masker holds back and may be shown nevertheless.
    pub(super) fn tell(&mut self, ahead: &[u8]) {
        self.next = Instant::now() + PAUSE;
        self.fresh = false;
        let last = self.last.take();
        let Some(line) = last_line(&self.begun, ahead).or(last) else { return };
        let line = readable(&line);
        // What was seen ahead comes again.
        if !line.is_empty() && line != self.told {
            self.told.clone_from(&line);
            (self.listener.0)(line);
        }
    }
}

/// The last whole line of `more` that is not blank, `begun` standing before it.
fn last_line(begun: &[u8], more: &[u8]) -> Option<Vec<u8>> {
    // What follows the last end of a line is no whole one.
    let mut whole = &more[..more.iter().rposition(is_end)?];
    while let Some(end) = whole.iter().rposition(is_end) {
        let line = &whole[end + 1..];
        if !is_blank(line) {
            return Some(line[..line.len().min(LOOKED_AT)].to_vec());
        }
        whole = &whole[..end];
    }
    let mut line = begun.to_vec();
    append(&mut line, whole);
    Some(line).filter(|line| !is_blank(line))
}

/// A bar of progress ends its lines with a carriage return.
fn is_end(byte: &u8) -> bool {
    matches!(byte, b'\n' | b'\r')
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
    use std::sync::Mutex;

    use super::*;

    fn last_of(chunks: &[&[u8]]) -> Option<String> {
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let told = Arc::clone(&heard);
        let mut lines = Lines::new(Listener::new(move |line| {
            told.lock().unwrap().push(line);
        }));
        for chunk in chunks {
            lines.push(chunk);
        }
        lines.tell(b"");
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
    fn what_was_seen_ahead_is_told_once() {
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let told = Arc::clone(&heard);
        let mut lines = Lines::new(Listener::new(move |line| told.lock().unwrap().push(line)));
        lines.push(b"one\ntw");
        lines.tell(b"o\n");
        lines.push(b"o\n");
        lines.tell(b"");
        lines.push(b"three\n");
        lines.tell(b"fo");
        assert_eq!(*heard.lock().unwrap(), ["two", "three"]);
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
