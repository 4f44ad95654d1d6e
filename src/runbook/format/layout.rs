//! Works out what each line is and how far in it belongs.

use super::flow;
use super::scan::{self, Place, blanks, indentation, is_blank, is_dash};

/// A file, line by line.
#[derive(Debug, Default)]
pub(super) struct Laid {
    pub(super) lines: Vec<Line>,
    /// A text that ends with the file ends as it did: a line break would belong to it.
    pub(super) is_open: bool,
}

/// A line as it will stand there.
#[derive(Debug)]
pub(super) enum Line {
    Entry(Entry),
    Comment(Comment),
    /// A further line of something that goes on over several, finished.
    Rest(String),
    Blank,
}

/// A line that begins an item, an entry of a map, or a value.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) indent: usize,
    /// `- key:`, as far as there is such a thing.
    pub(super) head: String,
    /// Where its key began and will begin, if it has one.
    pub(super) key: Option<(usize, usize)>,
    /// Where its value began. In columns, like all that was.
    pub(super) value_was_at: usize,
    /// How many blanks stood before its value.
    pub(super) gap: usize,
    pub(super) value: String,
    /// What is written behind it, and where it began.
    pub(super) comment: Option<(String, usize)>,
    /// Where it ended, without the comment.
    pub(super) ended_at: usize,
}

/// A line that is only a comment.
#[derive(Debug)]
pub(super) struct Comment {
    pub(super) text: String,
    pub(super) was_at: usize,
    pub(super) indent: usize,
}

/// What is not understood, and in which line.
#[derive(Debug)]
pub(super) struct Unknown {
    pub(super) line: usize,
    pub(super) message: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    File,
    Map,
    List,
}

/// A collection that the present line may belong to: how far in it was, and will be. The file itself is one before the edge.
#[derive(Debug, Clone, Copy)]
struct Open {
    kind: Kind,
    was: isize,
    will: isize,
}

const STEP: isize = 2;
const FILE: Open = Open { kind: Kind::File, was: -1, will: -STEP };

/// Lays out a text whose lines end with `\n`.
pub(super) fn lay_out(text: &str) -> Result<Laid, Unknown> {
    let mut lines: Vec<&str> = text.split('\n').collect();
    let ends_with_break = lines.last() == Some(&"");
    if ends_with_break {
        lines.pop();
    }
    let mut layout = Layout { lines, laid: Laid::default(), open: vec![FILE], waiting: Vec::new(), in_text: false };
    let mut at = 0;
    while at < layout.lines.len() {
        at = layout.line(at)?;
    }
    layout.place_comments(None);
    layout.laid.is_open = layout.in_text && !ends_with_break;
    Ok(layout.laid)
}

impl Laid {
    /// All comments, in order.
    pub(super) fn comments(&self) -> Vec<&str> {
        self.lines
            .iter()
            .filter_map(|line| match line {
                Line::Comment(comment) => Some(comment.text.as_str()),
                Line::Entry(entry) => entry.comment.as_ref().map(|(text, _)| text.as_str()),
                Line::Rest(_) | Line::Blank => None,
            })
            .collect()
    }
}

struct Layout<'t> {
    lines: Vec<&'t str>,
    laid: Laid,
    open: Vec<Open>,
    /// Comments whose place depends on what comes next: where in `laid` they are.
    waiting: Vec<usize>,
    /// Does the last line belong to a text that line breaks belong to?
    in_text: bool,
}

fn columns(text: &str) -> usize {
    text.chars().count()
}

impl Layout<'_> {
    /// Lays out the line, and whatever further lines belong to it. Says which is next.
    fn line(&mut self, number: usize) -> Result<usize, Unknown> {
        let line = self.lines[number];
        let unknown = |message| Err(Unknown { line: number, message });
        let words = line.trim_end_matches(is_blank);
        let was = indentation(line);
        if words.is_empty() {
            self.laid.lines.push(Line::Blank);
            return Ok(number + 1);
        }
        self.in_text = false;
        let rest = &words[was..];
        if rest.starts_with('\t') {
            return unknown("a tab stands where only spaces may");
        }
        if rest.starts_with('#') {
            self.waiting.push(self.laid.lines.len());
            self.laid.lines.push(Line::Comment(Comment { text: rest.to_owned(), was_at: was, indent: 0 }));
            return Ok(number + 1);
        }
        if was == 0 && (words.starts_with("---") || words.starts_with("...") || words.starts_with('%')) {
            if words.starts_with("--- ") {
                return unknown("what stands behind `---` is not formatted");
            }
            self.place_comments(None);
            self.open = vec![FILE];
            self.laid.lines.push(Line::Rest(words.to_owned()));
            return Ok(number + 1);
        }
        self.entry(number, was)
    }

    /// The innermost collection.
    fn inner(&self) -> Open {
        self.open.last().copied().unwrap_or(FILE)
    }

    fn entry(&mut self, number: usize, was: usize) -> Result<usize, Unknown> {
        let line = self.lines[number];
        let unknown = |message| Err(Unknown { line: number, message });
        let column = isize::try_from(was).unwrap_or(isize::MAX);
        let before = self.open.clone();
        let is_item = is_dash(&line[was..]);
        while self.inner().was > column || (self.inner().was == column && self.inner().kind == Kind::List && !is_item) {
            self.open.pop();
        }
        let parent = self.inner();
        // A list may stand as far in as the key it belongs to.
        let goes_on = parent.was == column && (parent.kind == Kind::List) == is_item;
        let mut will = if goes_on { parent.will } else { parent.will + STEP };
        let after = std::mem::replace(&mut self.open, before);
        self.place_comments(Some((column, will, after.last().copied().unwrap_or(FILE))));
        self.open = after;

        let mut entry = Entry { indent: usize::try_from(will).unwrap_or(0), ..Entry::default() };
        let (mut at, mut is_first) = (was, true);
        loop {
            let rest = &line[at..];
            let place = isize::try_from(at).unwrap_or(isize::MAX);
            if is_dash(rest) {
                if !(is_first && goes_on) {
                    self.open.push(Open { kind: Kind::List, was: place, will });
                }
                entry.head.push('-');
                at += 1 + blanks(&rest[1..]);
                if line.len() == at || line[at..].starts_with('#') {
                    break;
                }
                entry.head.push(' ');
                will += STEP;
                is_first = false;
                continue;
            }
            if rest == "?" || rest.starts_with("? ") {
                return unknown("a key written with `?` is not formatted");
            }
            if let Some(end) = scan::key(rest) {
                if !(is_first && goes_on) {
                    self.open.push(Open { kind: Kind::Map, was: place, will });
                }
                entry.key = Some((at, usize::try_from(will).unwrap_or(0)));
                entry.head.push_str(&rest[..end]);
                at += end;
            }
            break;
        }
        entry.ended_at = columns(line[..at].trim_end_matches(is_blank));
        let gap = blanks(&line[at..]);
        // A tab is no measure.
        entry.gap = if line[at..at + gap].contains('\t') { 1 } else { gap };
        self.value(number, at + gap, entry)
    }

    /// The value that begins in the line, if any, with all its further lines.
    fn value(&mut self, number: usize, at: usize, mut entry: Entry) -> Result<usize, Unknown> {
        let line = self.lines[number];
        let unknown = |message| Err(Unknown { line: number, message });
        let shift = isize::try_from(entry.indent).unwrap_or(0) - isize::try_from(indentation(line)).unwrap_or(0);
        entry.value_was_at = columns(&line[..at]);
        let start = at + scan::properties(&line[at..]);
        let owner = self.inner();
        let end = match line[start..].chars().next() {
            None | Some('#') => Place { line: number, at: start },
            Some('|' | '>') => return self.block(number, at, start, entry),
            Some(quote @ ('"' | '\'')) => {
                let Some(end) = scan::quoted(&self.lines, Place { line: number, at: start }, quote) else {
                    return unknown("this quote is never closed");
                };
                if end.line > number {
                    entry.value = line[at..].to_owned();
                    self.laid.lines.push(Line::Entry(entry));
                    let inside: Vec<usize> = (number..end.line).collect();
                    self.further(number + 1, end.line, &inside, shift, owner);
                    return Ok(end.line + 1);
                }
                end
            }
            Some('[' | '{') => {
                let Some(found) = scan::bracketed(&self.lines, Place { line: number, at: start }) else {
                    return unknown("this bracket is never closed");
                };
                if found.end.line > number {
                    let words =
                        if found.open_quotes.contains(&number) { line } else { line.trim_end_matches(is_blank) };
                    entry.value = words[at..].to_owned();
                    self.laid.lines.push(Line::Entry(entry));
                    self.further(number + 1, found.end.line, &found.open_quotes, shift, owner);
                    return Ok(found.end.line + 1);
                }
                found.end
            }
            Some(_) => {
                let words = line.trim_end_matches(is_blank);
                let comment = scan::comment(&words[start..]).map(|comment| start + comment);
                let end = words[..comment.unwrap_or(words.len())].trim_end_matches(is_blank).len();
                let last = if comment.is_some() { number } else { self.last_of_plain(number, owner) };
                if last > number {
                    entry.value = words[at..].to_owned();
                    self.laid.lines.push(Line::Entry(entry));
                    self.further(number + 1, last, &[], shift, owner);
                    return Ok(last + 1);
                }
                Place { line: number, at: end }
            }
        };
        let behind = line[end.at..].trim_matches(is_blank);
        if !(behind.is_empty() || behind.starts_with('#')) {
            return unknown("what stands behind this value is not understood");
        }
        let value = line[at..end.at].trim_end_matches(is_blank);
        entry.value = match line[start..].chars().next() {
            Some('[' | '{') => {
                let Some(spaced) = flow::spaced(&line[start..end.at]) else {
                    return unknown("what stands in these brackets is not understood");
                };
                format!("{}{spaced}", &line[at..start])
            }
            _ => value.to_owned(),
        };
        if !value.is_empty() {
            entry.ended_at = columns(&line[..at + value.len()]);
        }
        if !behind.is_empty() {
            let comment_at = line.len() - line[end.at..].trim_start_matches(is_blank).len();
            entry.comment = Some((behind.to_owned(), columns(&line[..comment_at])));
        }
        self.laid.lines.push(Line::Entry(entry));
        Ok(number + 1)
    }

    /// The last line of plain words that begin in a line.
    fn last_of_plain(&self, number: usize, owner: Open) -> usize {
        let mut last = number;
        for (next, line) in self.lines.iter().enumerate().skip(number + 1) {
            let words = line.trim_matches(is_blank);
            if words.is_empty() {
                continue;
            }
            let column = isize::try_from(indentation(line)).unwrap_or(isize::MAX);
            if words.starts_with('#') || column <= owner.was {
                break;
            }
            last = next;
            if scan::comment(words).is_some() {
                break;
            }
        }
        last
    }

    /// Moves further lines as far as their first one was moved, but never out of what they belong to.
    fn further(&mut self, first: usize, last: usize, in_quotes: &[usize], shift: isize, owner: Open) {
        for number in first..=last {
            let line = self.lines[number];
            let words = if in_quotes.contains(&number) { line } else { line.trim_end_matches(is_blank) };
            let words = words.trim_start_matches(is_blank);
            let was = isize::try_from(blanks(line)).unwrap_or(0);
            let indent = usize::try_from((was + shift).max(owner.will + STEP)).unwrap_or(0);
            let moved = if words.is_empty() { String::new() } else { format!("{}{words}", " ".repeat(indent)) };
            self.laid.lines.push(Line::Rest(moved));
        }
    }

    /// A text of several lines behind `|` or `>`: how far in it stands is changed, and nothing within it.
    fn block(&mut self, number: usize, at: usize, start: usize, mut entry: Entry) -> Result<usize, Unknown> {
        let line = self.lines[number].trim_end_matches(is_blank);
        let owner = self.inner();
        let comment = scan::comment(&line[start..]).map(|comment| start + comment);
        let header_end = line[..comment.unwrap_or(line.len())].trim_end_matches(is_blank).len();
        let header = &line[start..header_end];
        entry.value = line[at..header_end].to_owned();
        entry.ended_at = columns(&line[..header_end]);
        entry.comment = comment.map(|comment| (line[comment..].to_owned(), columns(&line[..comment])));
        self.laid.lines.push(Line::Entry(entry));

        let given = header.chars().find_map(|c| c.to_digit(10)).and_then(|digit| isize::try_from(digit).ok());
        let keeps_all = header.contains('+');
        let rest = &self.lines[number + 1..];
        let first_words = rest.iter().find(|line| !line.trim_matches(' ').is_empty());
        let found = first_words.map(|line| isize::try_from(indentation(line)).unwrap_or(isize::MAX));
        let was = match given {
            Some(given) => owner.was.max(0) + given,
            None => found.filter(|found| *found > owner.was).unwrap_or(isize::MAX),
        };
        let was = usize::try_from(was).unwrap_or(usize::MAX);
        let will = usize::try_from(given.map_or(owner.will + STEP, |given| owner.will.max(0) + given)).unwrap_or(0);
        // A line of blanks is empty as long as it does not reach further in than the text.
        let is_empty = |line: &str| line.trim_matches(' ').is_empty() && line.len() <= was;
        let length = rest.iter().take_while(|line| is_empty(line) || indentation(line) >= was).count();
        let words = rest[..length].iter().rposition(|line| !is_empty(line)).map_or(0, |last| last + 1);
        let kept = if keeps_all { length } else { words };
        for line in &rest[..kept] {
            let moved = if is_empty(line) { String::new() } else { format!("{}{}", " ".repeat(will), &line[was..]) };
            self.laid.lines.push(Line::Rest(moved));
        }
        self.in_text = kept > 0 || keeps_all;
        Ok(number + 1 + kept)
    }

    /// Puts comments where what comes next is, or where what came before goes on. `next` is where the next line was and will
    /// be, and what it stands in.
    fn place_comments(&mut self, next: Option<(isize, isize, Open)>) {
        for index in std::mem::take(&mut self.waiting) {
            let Some(Line::Comment(comment)) = self.laid.lines.get_mut(index) else { continue };
            let was = isize::try_from(comment.was_at).unwrap_or(isize::MAX);
            let with_next = next.filter(|(next, _, parent)| was == *next || (*next > parent.was && was > parent.was));
            let will = with_next.map(|(_, will, _)| will).or_else(|| {
                let inner = self.open.iter().rev().find(|open| open.was <= was && open.kind != Kind::File);
                inner.map(|open| open.will)
            });
            comment.indent = usize::try_from(will.unwrap_or(0)).unwrap_or(0);
        }
    }
}
