//! Loads a runbook: YAML with places, then types, with every problem reported at once.

mod calls;
mod encoding;
mod files;

pub use files::{Disk, Files};

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::document::Runbook;
use super::mend;
use super::node::{self, Content, Node};
use super::read::{Reader, template_problem};
use super::template::TemplateError;
use crate::base::{Code, Diagnostic, Source, Span};

/// A runbook together with the file it came from.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What the file says.
    pub runbook: Arc<Runbook>,
    /// The file.
    pub source: Arc<Source>,
    /// What could not be read of it. Whatever could be is in [`Self::runbook`], so that one look finds every mistake.
    pub problems: Vec<Diagnostic>,
    /// Every runbook that it calls, and that those call, by [`super::call_key`].
    pub called: BTreeMap<String, Loaded>,
    node: Arc<Node>,
}

impl Loaded {
    /// The place of the value at a path of keys: `["steps", "triage", "if"]`.
    pub fn span(&self, path: &[&str]) -> Span {
        self.node.at(path).span
    }

    /// Is there something at this path?
    pub fn has(&self, path: &[&str]) -> bool {
        path.split_last().is_none_or(|(last, before)| self.has(before) && self.node.at(before).child(last).is_some())
    }

    /// The whole file as a tree, for whoever asks for many places.
    pub fn tree(&self) -> &Node {
        &self.node
    }

    /// The text at a path, if one stands there.
    pub fn text(&self, path: &[&str]) -> Option<&str> {
        match &self.node.at(path).content {
            Content::Text(text) if self.has(path) => Some(text),
            _ => None,
        }
    }

    /// The place of the key at a path.
    pub fn key_span(&self, path: &[&str]) -> Span {
        self.node.key_span(path)
    }

    /// The names that stand under a key at the top of the file, whether or not what they name could be read.
    pub fn names(&self, section: &str) -> impl Iterator<Item = &str> + Clone {
        let entries = match self.node.entry(section) {
            Some((_, Node { content: Content::Map(entries), .. })) => entries.as_slice(),
            _ => &[],
        };
        entries.iter().map(|(key, _)| key.text.as_str())
    }

    /// A problem inside the text at a path, with the caret under the exact words.
    pub fn template_problem(&self, path: &[&str], error: &TemplateError) -> Diagnostic {
        let node = self.node.at(path);
        match &node.content {
            Content::Text(text) => template_problem(&self.source, node, text, error),
            _ => {
                let mut problem = Diagnostic::error(&self.source, node.span, Code::Template, error.message.clone());
                problem.help.clone_from(&error.help);
                problem
            }
        }
    }
}

/// Loads a file, and every runbook that it calls.
pub fn load_file(path: &Path) -> Result<Loaded, Vec<Diagnostic>> {
    load_from(&Disk, path)
}

/// Loads a file, and every runbook that it calls, from wherever files come from.
pub fn load_from(files: &dyn Files, path: &Path) -> Result<Loaded, Vec<Diagnostic>> {
    let mut loaded = load(read(files, path)?)?;
    calls::load_called(files, &mut loaded, path.parent().unwrap_or(Path::new("")), Some(path));
    Ok(loaded)
}

/// Loads a text that is to stand in a file, as an editor holds it, and every runbook that it calls.
pub fn load_as(path: &Path, text: String) -> Result<Loaded, Vec<Diagnostic>> {
    let mut loaded = load(Source::new(path.display().to_string(), text))?;
    calls::load_called(&Disk, &mut loaded, path.parent().unwrap_or(Path::new("")), Some(path));
    Ok(loaded)
}

/// Loads a text that stands in no file, and every runbook that it calls, whose files are looked for from `folder`.
pub fn load_in(folder: &Path, source: Arc<Source>) -> Result<Loaded, Vec<Diagnostic>> {
    let mut loaded = load(source)?;
    calls::load_called(&Disk, &mut loaded, folder, None);
    Ok(loaded)
}

/// Reads a file. The error says why it cannot be read.
pub fn read_source(path: &Path) -> Result<Arc<Source>, Vec<Diagnostic>> {
    read(&Disk, path)
}

fn read(files: &dyn Files, path: &Path) -> Result<Arc<Source>, Vec<Diagnostic>> {
    let name = files.name(path);
    let whole = |code, message: String| vec![Diagnostic::whole_file(&Source::new(name.as_str(), ""), code, message)];
    let bytes = files.read(path).map_err(|error| whole(Code::Unreadable, format!("cannot be read: {error}")))?;
    if bytes.len() > node::LARGEST {
        let message = format!("is larger than {} MiB; a runbook is a text that people read", node::LARGEST >> 20);
        return Err(whole(Code::Unreadable, message));
    }
    encoding::decode(&name, bytes).map_err(|problem| vec![*problem])
}

/// Loads a text, without the runbooks that it calls. An error only when nothing of it can be read; other problems stand
/// in [`Loaded::problems`].
pub fn load(source: Arc<Source>) -> Result<Loaded, Vec<Diagnostic>> {
    if let Some(problem) = encoding::refused(&source) {
        return Err(vec![problem]);
    }
    let node = node::parse(&source).map_err(|problem| vec![mendable(*problem)])?;
    let mut reader = Reader::new(&source);
    let runbook = reader.runbook(&node);
    let problems = reader.problems;
    match runbook {
        Some(runbook) => {
            Ok(Loaded { runbook: Arc::new(runbook), source, problems, called: BTreeMap::new(), node: Arc::new(node) })
        }
        None => Err(problems),
    }
}

/// A file that YAML cannot read may lack no more than quotes.
fn mendable(mut problem: Diagnostic) -> Diagnostic {
    if problem.code == Code::Yaml {
        problem.fix = problem.span.and_then(|span| mend::quoted_template(&problem.source.text, span.start));
    }
    problem
}
