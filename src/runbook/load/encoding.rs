//! The bytes of a file as text: UTF-8 without control characters, or a message that says what it is instead.

use std::sync::Arc;

use crate::base::{Code, Diagnostic, Source, Span};

/// Reads bytes as UTF-8.
pub(super) fn decode(name: &str, bytes: Vec<u8>) -> Result<Arc<Source>, Box<Diagnostic>> {
    let wide = [("UTF-32", &[0xff, 0xfe, 0, 0][..]), ("UTF-16", &[0xff, 0xfe]), ("UTF-16", &[0xfe, 0xff])];
    if let Some((kind, _)) = wide.into_iter().find(|(_, mark)| bytes.starts_with(mark)) {
        let source = Source::new(name, "");
        let problem =
            Diagnostic::whole_file(&source, Code::Encoding, format!("this file is {kind}, and a runbook is UTF-8"));
        return Err(Box::new(problem.help(format!("save it as UTF-8, or write `iconv -f {kind} -t UTF-8`"))));
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Source::new(name, text)),
        Err(error) => {
            let valid = error.utf8_error().valid_up_to();
            let found = error.as_bytes().get(valid).copied().unwrap_or_default();
            let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
            let span = Span::new(valid, valid + '\u{FFFD}'.len_utf8());
            let message = format!("the byte {found:#04x} here is not UTF-8");
            let problem = Diagnostic::error(&Source::new(name, text), span, Code::Encoding, message);
            Err(Box::new(problem.help("save the file as UTF-8; an editor may have written it as Latin-1")))
        }
    }
}

/// A character that may not stand in a runbook, if there is one. A mark of byte order may, at the very beginning, and so
/// may carriage returns before line breaks.
pub(super) fn refused(source: &Arc<Source>) -> Option<Diagnostic> {
    let at = |at: usize, character: char, message: &str, help: &str| {
        let span = Span::new(at, at + character.len_utf8());
        Some(Diagnostic::error(source, span, Code::Encoding, message).help(help))
    };
    let mut characters = source.text.char_indices().peekable();
    while let Some((offset, character)) = characters.next() {
        match character {
            '\n' | '\t' => {}
            '\r' if characters.peek().is_some_and(|(_, next)| *next == '\n') => {}
            '\r' => {
                let help = "end lines with a line feed; an old editor may have left it";
                return at(offset, character, "a carriage return stands here without a line feed", help);
            }
            '\u{FEFF}' if offset > 0 => {
                return at(
                    offset,
                    character,
                    "a mark of byte order stands here",
                    "take it out; it cannot be seen in most editors",
                );
            }
            // Two that mark secrets where texts are put together, and those that turn the order of reading around.
            '\u{FDD0}' | '\u{FDD1}' => {
                return at(
                    offset,
                    character,
                    "a character that is no text stands here",
                    "take it out; YAML is plain text",
                );
            }
            '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => {
                let help = "take it out: a reader would see something else than what runs";
                return at(offset, character, "a character that turns the order of reading around stands here", help);
            }
            _ if character.is_control() && character != '\u{85}' => {
                return at(offset, character, "a control character stands here", "take it out; YAML is plain text");
            }
            _ => {}
        }
    }
    None
}
