//! Writes lines that are laid out: what was aligned stays aligned, and there is one blank line at most.

use super::layout::{Entry, Laid, Line};

/// The whole text.
pub(super) fn render(laid: &Laid) -> String {
    let lines = &laid.lines;
    let bodies: Vec<Option<String>> = (0..lines.len()).map(|at| body(lines, at)).collect();
    let columns = comment_columns(lines, &bodies);
    let mut text = String::new();
    let mut blank = false;
    for (at, line) in lines.iter().enumerate() {
        let written = match line {
            Line::Blank => {
                blank = !text.is_empty();
                continue;
            }
            Line::Rest(rest) => rest.clone(),
            Line::Comment(comment) => format!("{}{}", " ".repeat(columns[at].unwrap_or(comment.indent)), comment.text),
            Line::Entry(entry) => {
                let mut body = bodies[at].clone().unwrap_or_default();
                if let (Some((comment, _)), Some(column)) = (&entry.comment, columns[at]) {
                    let gap = column.saturating_sub(body.chars().count()).max(1);
                    body.push_str(&" ".repeat(gap));
                    body.push_str(comment);
                }
                body
            }
        };
        if std::mem::take(&mut blank) {
            text.push('\n');
        }
        text.push_str(&written);
        text.push('\n');
    }
    if laid.is_open {
        text.pop();
    }
    text
}

/// An entry without its comment.
fn body(lines: &[Line], at: usize) -> Option<String> {
    let Line::Entry(entry) = &lines[at] else { return None };
    let mut body = format!("{}{}", " ".repeat(entry.indent), entry.head);
    if !entry.value.is_empty() {
        if !entry.head.is_empty() && !entry.head.ends_with(' ') {
            body.push_str(&" ".repeat(if is_aligned(lines, at) { entry.gap.max(1) } else { 1 }));
        }
        body.push_str(&entry.value);
    }
    Some(body)
}

/// Do the values of an entry and of one beside it stand below each other?
fn is_aligned(lines: &[Line], at: usize) -> bool {
    let Line::Entry(entry) = &lines[at] else { return false };
    let beside = [at.checked_sub(1), Some(at + 1)];
    beside.into_iter().flatten().filter_map(|other| lines.get(other)).any(|other| match other {
        Line::Entry(other) => {
            entry.key.is_some()
                && other.key == entry.key
                && !other.value.is_empty()
                && other.value_was_at == entry.value_was_at
        }
        Line::Comment(_) | Line::Rest(_) | Line::Blank => false,
    })
}

/// Where each comment is to begin. Comments below each other move together, as far as the longest line makes them.
fn comment_columns(lines: &[Line], bodies: &[Option<String>]) -> Vec<Option<usize>> {
    let mut columns = vec![None; lines.len()];
    let mut at = 0;
    while at < lines.len() {
        let Line::Entry(Entry { comment: Some((_, column)), .. }) = &lines[at] else {
            at += 1;
            continue;
        };
        // A comment below, without a line of its own before it, goes on with it.
        let belongs = |line: &Line| match line {
            Line::Entry(entry) => entry.comment.as_ref().is_some_and(|(_, other)| other == column),
            Line::Comment(comment) => comment.was_at == *column,
            Line::Rest(_) | Line::Blank => false,
        };
        let length = lines[at..].iter().take_while(|line| belongs(line)).count();
        let group = at..at + length;
        let grown = group.clone().filter_map(|index| {
            let (Line::Entry(entry), Some(body)) = (&lines[index], &bodies[index]) else { return None };
            Some(isize::try_from(body.chars().count()).ok()? - isize::try_from(entry.ended_at).ok()?)
        });
        let moved = isize::try_from(*column).unwrap_or(0) + grown.max().unwrap_or(0);
        columns[group].fill(usize::try_from(moved).ok());
        at += length;
    }
    columns
}
