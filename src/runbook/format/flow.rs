//! The spacing of a collection in brackets that stands on one line: `{ a: 1, b: [x, y] }`.

use super::scan::{self, Place, is_blank};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word<'t> {
    Open(char),
    Close(char),
    Comma,
    Colon,
    Text(&'t str),
}

/// The collection with the spacing of the house. `None` when a word of it is not understood.
pub(super) fn spaced(text: &str) -> Option<String> {
    let words = words(text)?;
    let mut spaced = String::with_capacity(text.len() + 8);
    for (index, word) in words.iter().enumerate() {
        let before = index.checked_sub(1).map(|before| words[before]);
        if before.is_some_and(|before| is_apart(before, *word)) {
            spaced.push(' ');
        }
        match word {
            Word::Open(c) | Word::Close(c) => spaced.push(*c),
            Word::Comma => spaced.push(','),
            Word::Colon => spaced.push(':'),
            Word::Text(text) => spaced.push_str(text),
        }
    }
    Some(spaced)
}

/// Does a blank stand between the two?
fn is_apart(before: Word<'_>, word: Word<'_>) -> bool {
    match (before, word) {
        (Word::Open('{'), Word::Close('}')) | (_, Word::Comma) => false,
        (Word::Open(open), _) => open == '{',
        (_, Word::Close(close)) => close == '}',
        // Behind an alias or an anchor a colon would belong to its name.
        (Word::Text(text), Word::Colon) => text.starts_with(['*', '&', '!']),
        (_, Word::Colon) => matches!(before, Word::Comma | Word::Colon),
        (Word::Comma | Word::Colon | Word::Text(_) | Word::Close(_), _) => true,
    }
}

fn words(text: &str) -> Option<Vec<Word<'_>>> {
    let mut words = Vec::new();
    let mut at = 0;
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        let before = words.last().copied();
        let length = match c {
            c if is_blank(c) => {
                at += c.len_utf8();
                continue;
            }
            '[' | '{' => push(&mut words, Word::Open(c), 1),
            ']' | '}' => push(&mut words, Word::Close(c), 1),
            ',' => push(&mut words, Word::Comma, 1),
            ':' if is_colon(rest) || is_adjacent(before, text, at) => push(&mut words, Word::Colon, 1),
            '"' | '\'' => {
                let end = scan::quoted(&[rest], Place { line: 0, at: 0 }, c)?.at;
                push(&mut words, Word::Text(&rest[..end]), end)
            }
            '&' | '!' => {
                let end = rest.find([' ', '\t', ',', '[', ']', '{', '}']).unwrap_or(rest.len());
                push(&mut words, Word::Text(&rest[..end]), end)
            }
            _ => {
                let end = plain(rest);
                push(&mut words, Word::Text(rest[..end].trim_end_matches(is_blank)), end)
            }
        };
        at += length;
    }
    Some(words)
}

fn push<'t>(words: &mut Vec<Word<'t>>, word: Word<'t>, length: usize) -> usize {
    words.push(word);
    length
}

/// Is the colon here one that ends a key?
fn is_colon(text: &str) -> bool {
    let behind = &text[1..];
    behind.is_empty() || behind.starts_with([' ', '\t', ',', '[', ']', '{', '}'])
}

/// Right behind a quoted key a colon needs no blank.
fn is_adjacent(before: Option<Word<'_>>, text: &str, at: usize) -> bool {
    let is_quoted =
        matches!(before, Some(Word::Text(word)) if word.ends_with(['"', '\'']) && word.starts_with(['"', '\'']));
    (is_quoted || matches!(before, Some(Word::Close(_)))) && !text[..at].ends_with(is_blank)
}

/// How long a plain word is, blanks behind it included.
fn plain(text: &str) -> usize {
    let ends = |(at, c): &(usize, char)| match c {
        ',' | '[' | ']' | '{' | '}' => true,
        ':' => is_colon(&text[*at..]),
        _ => false,
    };
    text.char_indices().skip(1).find(ends).map_or(text.len(), |(at, _)| at)
}
