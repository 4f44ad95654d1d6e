//! Masks secrets in text that leaves the process, in every form they are likely to take, across chunk borders.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Arc, RwLock};

use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// What stands where a secret stood.
pub const MASK: &str = "***";

/// Shorter values cannot be masked without masking half of everything else.
pub const SHORTEST_SECRET: usize = 4;

/// Lines of a multi-line secret are masked singly from this length on; shorter ones are markers and braces.
const SHORTEST_LINE: usize = 8;

/// A masked stretch longer than this is let go in parts, so that a hostile stream cannot fill memory.
const LONGEST_HELD: usize = 64 * 1024;

/// Knows every secret of this process and masks it wherever text leaves.
#[derive(Debug, Default)]
pub struct Redactor {
    patterns: RwLock<Patterns>,
}

#[derive(Debug, Default, Clone)]
struct Patterns {
    forms: BTreeSet<Vec<u8>>,
    longest: usize,
    automaton: Option<Arc<AhoCorasick>>,
}

impl Redactor {
    /// Learns a secret. Values under [`SHORTEST_SECRET`] bytes are not learnt: the caller refuses them.
    pub fn learn(&self, secret: &str) {
        if secret.len() < SHORTEST_SECRET {
            return;
        }
        let mut patterns = self.patterns.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let before = patterns.forms.len();
        patterns.forms.extend(forms(secret));
        if patterns.forms.len() == before {
            return;
        }
        patterns.longest = patterns.forms.iter().map(Vec::len).max().unwrap_or(0);
        patterns.automaton =
            AhoCorasick::builder().match_kind(MatchKind::Standard).build(&patterns.forms).map(Arc::new).ok();
    }

    fn automaton(&self) -> Option<(Arc<AhoCorasick>, usize)> {
        let patterns = self.patterns.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        patterns.automaton.clone().map(|automaton| (automaton, patterns.longest))
    }

    /// Where the first of the ends of `bytes` begins that some form of a secret begins with; their length when none does.
    fn open_end(&self, bytes: &[u8]) -> usize {
        let patterns = self.patterns.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let is_open = |from: &usize| {
            let end = &bytes[*from..];
            let after = (std::ops::Bound::Included(end), std::ops::Bound::Unbounded);
            patterns.forms.range::<[u8], _>(after).next().is_some_and(|form| form.starts_with(end))
        };
        (0..bytes.len()).find(is_open).unwrap_or(bytes.len())
    }

    /// The text with every known secret masked.
    pub fn mask<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let Some((automaton, _)) = self.automaton() else { return Cow::Borrowed(text) };
        let covered = covered(&automaton, text.as_bytes());
        if covered.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut masked = Vec::with_capacity(text.len());
        let mut from = 0;
        for (start, end) in covered {
            masked.extend_from_slice(&text.as_bytes()[from..start]);
            masked.extend_from_slice(MASK.as_bytes());
            from = end;
        }
        masked.extend_from_slice(&text.as_bytes()[from..]);
        Cow::Owned(String::from_utf8_lossy(&masked).into_owned())
    }

    /// Masks every string inside a JSON value, keys included.
    pub fn mask_json(&self, value: &mut serde_json::Value) {
        use serde_json::Value;
        match value {
            Value::String(text) => {
                if let Cow::Owned(masked) = self.mask(text) {
                    *text = masked;
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.mask_json(item)),
            Value::Object(map) => {
                for (key, mut item) in std::mem::take(map) {
                    self.mask_json(&mut item);
                    map.insert(self.mask(&key).into_owned(), item);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    /// A masker for one stream of bytes, which may cut a secret anywhere.
    pub fn stream(self: &Arc<Self>) -> StreamMasker {
        StreamMasker { redactor: Arc::clone(self), held: Vec::new(), already_masked: 0 }
    }
}

/// Masks a stream chunk by chunk. Holds back as many bytes as could still become the start of a secret.
#[derive(Debug)]
pub struct StreamMasker {
    redactor: Arc<Redactor>,
    held: Vec<u8>,
    /// How many of the held bytes belong to a stretch whose mask has been written already.
    already_masked: usize,
}

impl StreamMasker {
    /// Takes a chunk and appends to `out` what can be shown by now.
    pub fn push(&mut self, chunk: &[u8], out: &mut Vec<u8>) {
        self.held.extend_from_slice(chunk);
        let Some((automaton, longest)) = self.redactor.automaton() else {
            out.append(&mut self.held);
            return;
        };
        let sure = self.held.len().saturating_sub(longest.saturating_sub(1));
        self.release(&automaton, sure, out);
    }

    /// What of the held bytes can be shown to whoever watches: all but an end that a secret may begin with. They stay
    /// held; too slow for every chunk.
    pub fn peek(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some((automaton, _)) = self.redactor.automaton() {
            let (held, already_masked) = (self.held.clone(), self.already_masked);
            let sure = self.redactor.open_end(&held);
            let mut copy = Self { redactor: Arc::clone(&self.redactor), held, already_masked };
            copy.release(&automaton, sure, &mut out);
        }
        out
    }

    /// The stream has ended: shows what was held back.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        match self.redactor.automaton() {
            Some((automaton, _)) => self.release(&automaton, self.held.len(), out),
            None => out.append(&mut self.held),
        }
        self.already_masked = 0;
    }

    /// Writes out the first `sure` bytes: any secret that starts there is complete in what is held.
    fn release(&mut self, automaton: &AhoCorasick, sure: usize, out: &mut Vec<u8>) {
        let mut stretches = covered(automaton, &self.held);
        if self.already_masked > 0 {
            stretches.insert(0, (0, self.already_masked));
            stretches = merged(stretches);
        }
        let mut from = 0;
        let mut masked_to = 0;
        for (start, end) in stretches {
            if start >= sure {
                break;
            }
            out.extend_from_slice(&self.held[from..start]);
            let continues = start == 0 && self.already_masked > 0;
            if !continues || end > LONGEST_HELD {
                out.extend_from_slice(MASK.as_bytes());
            }
            from = end;
            masked_to = end;
        }
        if from < sure {
            out.extend_from_slice(&self.held[from..sure]);
        }
        self.held.drain(..sure);
        self.already_masked = masked_to.saturating_sub(sure);
    }
}

/// The stretches of `bytes` that some pattern covers, in order, overlapping ones joined.
fn covered(automaton: &AhoCorasick, bytes: &[u8]) -> Vec<(usize, usize)> {
    let mut stretches: Vec<(usize, usize)> =
        automaton.find_overlapping_iter(bytes).map(|found| (found.start(), found.end())).collect();
    stretches.sort_unstable();
    merged(stretches)
}

fn merged(stretches: Vec<(usize, usize)>) -> Vec<(usize, usize)> {
    let mut joined: Vec<(usize, usize)> = Vec::with_capacity(stretches.len());
    for (start, end) in stretches {
        match joined.last_mut() {
            Some(last) if start < last.1 => last.1 = last.1.max(end),
            _ => joined.push((start, end)),
        }
    }
    joined
}

/// Every form a secret is likely to take: plain, JSON-, URL- and shell-escaped, hex, base64 at each alignment, and
/// the single lines of a long one.
fn forms(secret: &str) -> BTreeSet<Vec<u8>> {
    let mut forms: BTreeSet<Vec<u8>> = BTreeSet::new();
    forms.insert(secret.as_bytes().to_vec());
    let json = serde_json::Value::from(secret).to_string();
    forms.insert(json.as_bytes()[1..json.len() - 1].to_vec());
    forms.insert(url_escaped(secret, "%20").into_bytes());
    forms.insert(url_escaped(secret, "+").into_bytes());
    forms.insert(secret.replace('\'', r"'\''").into_bytes());
    forms.insert(secret.replace('\'', r#"'"'"'"#).into_bytes());
    forms.insert(secret.bytes().flat_map(|b| format!("{b:02x}").into_bytes()).collect());
    forms.insert(secret.bytes().flat_map(|b| format!("{b:02X}").into_bytes()).collect());
    for lead in 0..3 {
        forms.extend(base64_inside(secret.as_bytes(), lead));
    }
    for line in secret.lines().map(str::trim).filter(|line| line.len() >= SHORTEST_LINE && *line != secret) {
        forms.insert(line.as_bytes().to_vec());
    }
    forms.retain(|form| form.len() >= SHORTEST_SECRET);
    forms
}

fn url_escaped(text: &str, space: &str) -> String {
    text.bytes()
        .map(|b| match b {
            b' ' => space.to_owned(),
            b if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) => char::from(b).to_string(),
            b => format!("%{b:02X}"),
        })
        .collect()
}

/// The base64 digits that depend on the secret alone when `lead` other bytes stand before it in their group of three.
fn base64_inside(secret: &[u8], lead: usize) -> [Vec<u8>; 2] {
    let mut padded = vec![0; lead];
    padded.extend_from_slice(secret);
    let first = (lead * 8).div_ceil(6);
    let last = padded.len() * 8 / 6;
    [STANDARD_NO_PAD.encode(&padded), URL_SAFE_NO_PAD.encode(&padded)]
        .map(|text| text.as_bytes().get(first..last).unwrap_or_default().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn knowing(secrets: &[&str]) -> Arc<Redactor> {
        let redactor = Arc::new(Redactor::default());
        secrets.iter().for_each(|secret| redactor.learn(secret));
        redactor
    }

    #[test]
    fn masks_each_form() {
        let secret = "s3cr'et/+ \"x\ny";
        let redactor = knowing(&[secret]);
        let base = base64::engine::general_purpose::STANDARD;
        let shown = [
            secret.to_owned(),
            serde_json::to_string(secret).unwrap(),
            url_escaped(secret, "%20"),
            secret.replace('\'', r"'\''"),
            base.encode(secret),
            base.encode(format!("a{secret}")),
            base.encode(format!("ab{secret}cd")),
        ];
        for text in shown {
            let masked = redactor.mask(&text).into_owned();
            assert!(masked.contains(MASK) && masked.len() < text.len(), "{text:?} became {masked:?}");
        }
    }

    #[test]
    fn a_periodic_secret_in_a_periodic_stream_stays_masked_and_bounded() {
        let redactor = knowing(&["aaaa"]);
        let mut masker = redactor.stream();
        let mut out = Vec::new();
        for _ in 0..1000 {
            masker.push(&[b'a'; 997], &mut out);
            assert!(masker.held.len() < 10_000);
        }
        masker.finish(&mut out);
        assert!(!String::from_utf8(out).unwrap().contains('a'));
    }

    #[test]
    fn a_look_ahead_holds_back_only_what_a_secret_may_begin_with() {
        let redactor = knowing(&["0123456789-0123456789"]);
        let mut masker = redactor.stream();
        let mut out = Vec::new();
        masker.push(b"waiting\n", &mut out);
        assert_eq!((out.as_slice(), masker.peek().as_slice()), (&b""[..], &b"waiting\n"[..]));
        masker.push(b"0123", &mut out);
        assert_eq!([out, masker.peek()].concat(), b"waiting\n");
    }

    proptest! {
        #[test]
        fn however_a_stream_is_cut_it_shows_what_the_whole_text_would(
            secrets in prop::collection::vec("[ab/+ ]{4,9}", 1..4),
            text in prop::collection::vec(prop_oneof!["[abc/+ ]{0,12}", Just("@".to_owned())], 0..12),
            cuts in prop::collection::vec(1usize..6, 1..60),
        ) {
            let redactor = knowing(&secrets.iter().map(String::as_str).collect::<Vec<_>>());
            let text: String = text.iter().map(|part| part.replace('@', &secrets[0])).collect();
            let mut masker = redactor.stream();
            let mut shown = Vec::new();
            let mut rest = text.as_bytes();
            let mut cuts = cuts.iter().cycle();
            let mut peeks = Vec::new();
            while !rest.is_empty() {
                let cut = (*cuts.next().unwrap()).min(rest.len());
                masker.push(&rest[..cut], &mut shown);
                rest = &rest[cut..];
                peeks.push([&shown[..], &masker.peek()].concat());
            }
            masker.finish(&mut shown);
            for peek in peeks {
                prop_assert!(shown.starts_with(&peek), "a look ahead shows what is shown later and nothing else");
            }
            let shown = String::from_utf8(shown).unwrap();
            prop_assert_eq!(&shown, &redactor.mask(&text).into_owned());
            for secret in &secrets {
                prop_assert!(!shown.contains(secret.as_str()));
            }
        }
    }
}
