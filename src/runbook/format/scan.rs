//! Finds out where the words of a line end: keys, quoted texts, plain ones, comments, collections in brackets.

/// A place in a file: the line, and the byte in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: usize,
    pub(super) at: usize,
}

/// Blanks that may stand between words.
pub(super) fn is_blank(c: char) -> bool {
    c == ' ' || c == '\t'
}

/// How many bytes of blanks a text begins with.
pub(super) fn blanks(text: &str) -> usize {
    text.len() - text.trim_start_matches(is_blank).len()
}

/// How many spaces a line begins with.
pub(super) fn indentation(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// Does an item of a list begin here?
pub(super) fn is_dash(text: &str) -> bool {
    text.strip_prefix('-').is_some_and(|rest| rest.is_empty() || rest.starts_with(is_blank))
}

/// How long the anchors and tags before a value are, with the blanks behind them.
pub(super) fn properties(text: &str) -> usize {
    let mut at = 0;
    while text[at..].starts_with(['&', '!']) {
        let word = text[at..].find(is_blank).unwrap_or(text.len() - at);
        at += word;
        at += blanks(&text[at..]);
    }
    at
}

/// Where a key ends, behind its colon. `None` when no key begins here.
pub(super) fn key(text: &str) -> Option<usize> {
    let start = properties(text);
    let rest = &text[start..];
    let is_colon = |at: usize| {
        rest[at..].strip_prefix(':').is_some_and(|behind| behind.is_empty() || behind.starts_with(is_blank))
    };
    match rest.chars().next()? {
        quote @ ('"' | '\'') => {
            let end = quoted_on_line(rest, quote)?;
            let at = end + blanks(&rest[end..]);
            is_colon(at).then_some(start + at + 1)
        }
        '[' | '{' | '|' | '>' | '#' => None,
        _ => {
            let end = comment(rest).unwrap_or(rest.len());
            rest[..end].char_indices().map(|(at, _)| at).find(|at| is_colon(*at)).map(|at| start + at + 1)
        }
    }
}

/// Where a comment begins that ends a line of plain words.
pub(super) fn comment(text: &str) -> Option<usize> {
    let mut before = Some(' ');
    for (at, c) in text.char_indices() {
        if c == '#' && before.is_none_or(is_blank) {
            return Some(at);
        }
        before = Some(c);
    }
    None
}

/// Where a quoted text ends that begins here, behind its second quote.
fn quoted_on_line(text: &str, quote: char) -> Option<usize> {
    quoted(&[text], Place { line: 0, at: 0 }, quote).map(|place| place.at)
}

/// Where a quoted text ends that begins at a place, behind its second quote.
pub(super) fn quoted(lines: &[&str], from: Place, quote: char) -> Option<Place> {
    let mut at = from.at + 1;
    for (line, text) in lines.iter().enumerate().skip(from.line) {
        let mut rest = text.get(at..)?.char_indices();
        while let Some((found, c)) = rest.next() {
            if c == '\\' && quote == '"' {
                rest.next();
            } else if c == quote {
                let end = at + found + 1;
                // In single quotes a quote is written twice.
                if quote == '\'' && text[end..].starts_with('\'') {
                    rest.next();
                } else {
                    return Some(Place { line, at: end });
                }
            }
        }
        at = 0;
    }
    None
}

/// A collection in brackets: where it ends, and the lines that end inside quotes, whose last blanks stay.
#[derive(Debug)]
pub(super) struct Bracketed {
    pub(super) end: Place,
    pub(super) open_quotes: Vec<usize>,
}

/// Where a collection in brackets ends that begins at a place, behind its last bracket.
pub(super) fn bracketed(lines: &[&str], from: Place) -> Option<Bracketed> {
    let mut open_quotes = Vec::new();
    let mut depth = 0_usize;
    let mut place = from;
    // Inside a plain word a quote is a letter, and a `#` without a blank before it as well.
    let mut may_begin = true;
    while place.line < lines.len() {
        let rest = lines[place.line].get(place.at..)?;
        let Some(c) = rest.chars().next() else {
            place = Place { line: place.line + 1, at: 0 };
            may_begin = true;
            continue;
        };
        let after_blank = place.at == 0 || lines[place.line][..place.at].ends_with(is_blank);
        match c {
            '#' if after_blank => {
                place = Place { line: place.line + 1, at: 0 };
                may_begin = true;
                continue;
            }
            '"' | '\'' if may_begin => {
                let end = quoted(lines, place, c)?;
                open_quotes.extend(place.line..end.line);
                place = end;
                may_begin = false;
                continue;
            }
            '[' | '{' => {
                depth += 1;
                may_begin = true;
            }
            ']' | '}' => {
                depth = depth.checked_sub(1)?;
                may_begin = false;
                if depth == 0 {
                    return Some(Bracketed { end: Place { line: place.line, at: place.at + 1 }, open_quotes });
                }
            }
            ',' => may_begin = true,
            ':' => {
                let behind = &rest[1..];
                let is_colon = behind.is_empty() || behind.starts_with([' ', '\t', ',', '[', ']', '{', '}']);
                let after_quote = lines[place.line][..place.at].ends_with(['"', '\'']);
                may_begin = is_colon || after_quote;
            }
            '&' | '!' if may_begin => {
                let word = rest.find([' ', '\t', ',', '[', ']', '{', '}']).unwrap_or(rest.len());
                place.at += word;
                continue;
            }
            c if is_blank(c) => {}
            _ => may_begin = false,
        }
        place.at += c.len_utf8();
    }
    None
}
