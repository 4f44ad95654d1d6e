//! Lays a YAML file out as the house does, and changes nothing else: only blanks and line ends differ afterwards.
//!
//! The file is taken line by line, because what a parser makes of it no longer knows comments or spacing. That this is right
//! is not hoped for: the text that comes out is read again, and must hold the same values and the same comments.

mod flow;
mod layout;
mod render;
mod scan;

use std::sync::Arc;

use super::node::{self, Content, Node};
use crate::base::{Code, Diagnostic, Source, Span};

/// The text as it should stand there. A file that cannot be read, or that would not say the same afterwards, is refused.
pub fn format(source: &Arc<Source>) -> Result<String, Box<Diagnostic>> {
    let before = node::parse(source)?;
    let text = source.text.trim_start_matches('\u{feff}').replace("\r\n", "\n").replace('\r', "\n");
    let laid = layout::lay_out(&text).map_err(|unknown| {
        let problem = Diagnostic::error(source, line_span(&source.text, unknown.line), Code::Yaml, unknown.message);
        Box::new(problem.help("nothing was changed; write it in a plainer way, or leave this file out"))
    })?;
    let after = render::render(&laid);
    let refuse = |what: &str| {
        let message = format!("formatting would change {what}; nothing was changed");
        Err(Box::new(
            Diagnostic::whole_file(source, Code::Yaml, message).help("this is a mistake of ours: please report it"),
        ))
    };
    let again = Source::new(source.name.as_str(), after.as_str());
    match node::parse(&again) {
        Ok(node) if is_same(&before, &node) => {}
        Ok(_) | Err(_) => return refuse("what the file says"),
    }
    if !inked(&text).eq(inked(&after)) || layout::lay_out(&after).is_ok_and(|again| again.comments() != laid.comments())
    {
        return refuse("its comments");
    }
    Ok(after)
}

/// All but blanks: of these, formatting may touch nothing.
fn inked(text: &str) -> impl Iterator<Item = char> {
    text.chars().filter(|c| !c.is_whitespace())
}

/// Do they hold the same, wherever it stands?
fn is_same(one: &Node, other: &Node) -> bool {
    match (&one.content, &other.content) {
        (Content::List(these), Content::List(those)) => {
            these.len() == those.len() && these.iter().zip(those).all(|(one, other)| is_same(one, other))
        }
        (Content::Map(these), Content::Map(those)) => {
            let same = |((key, one), (name, other)): (&(node::Key, Node), &(node::Key, Node))| {
                key.text == name.text && is_same(one, other)
            };
            these.len() == those.len() && these.iter().zip(those).all(same)
        }
        (one, other) => one == other,
    }
}

fn line_span(text: &str, line: usize) -> Span {
    let start: usize = text.split_inclusive('\n').take(line).map(str::len).sum();
    let length = text[start..].lines().next().unwrap_or_default().len();
    let blanks = text[start..].len() - text[start..].trim_start_matches(' ').len();
    Span::new(start + blanks.min(length), start + length)
}

#[cfg(test)]
mod tests;
