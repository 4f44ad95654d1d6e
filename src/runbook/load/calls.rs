//! Loads every runbook that a runbook calls, each file once, and refuses one that would call itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Files, Loaded, load, read};
use crate::base::diagnostic::nearest;
use crate::base::{Code, Diagnostic};
use crate::runbook::{Call, Does, call_key};

/// How deep calls may lie in each other.
const DEEPEST: usize = 32;
/// How many steps a run may have with those of every call. Calls that call twice grow beyond any measure.
const MOST_STEPS: usize = 1_000_000;

/// Reads what `root` calls, from its folder on. What is wrong stands in the problems of whoever calls.
pub(super) fn load_called(files: &dyn Files, root: &mut Loaded, folder: &Path, file: Option<&Path>) {
    let mut loader = Loader { files, folder, root, seen: BTreeMap::new(), way: Vec::new() };
    let name = file.map_or_else(|| loader.root.source.name.clone(), |file| file_name(file).to_owned());
    loader.follow("", name, file.and_then(|file| files.identity(file).ok()));
}

struct Loader<'l> {
    files: &'l dyn Files,
    /// Where the runbook of the whole plan lies.
    folder: &'l Path,
    root: &'l mut Loaded,
    /// What has been found under each key: each file is read once, and what is wrong with it is told once.
    seen: BTreeMap<String, Extent>,
    /// The runbooks that are being followed, from the root on.
    way: Vec<Caller>,
}

/// How much there is of a runbook with all that it calls.
#[derive(Debug, Clone, Copy, Default)]
struct Extent {
    /// How deep its calls lie in each other.
    depth: usize,
    steps: usize,
}

/// A runbook on the way to the one that is looked at.
struct Caller {
    key: String,
    name: String,
    /// Which file it is whatever it is called, if it is one.
    file: Option<PathBuf>,
}

impl Loader<'_> {
    /// Loads what the runbook of this key calls.
    fn follow(&mut self, key: &str, name: String, file: Option<PathBuf>) -> Extent {
        self.way.push(Caller { key: key.to_owned(), name, file });
        let runbook = &self.runbook(key).runbook;
        let mut extent = Extent { depth: 0, steps: runbook.steps.len() + runbook.finally.len() };
        for (section, id, call) in calls(self.runbook(key)) {
            let at = [section, id.as_str(), "call"];
            match self.called(key, &call, &at) {
                Ok(inner) => {
                    let before = extent.steps;
                    extent.depth = extent.depth.max(inner.depth + 1);
                    extent.steps = before.saturating_add(inner.steps);
                    // Told at the call that makes it too much, and not again by everybody above.
                    if extent.steps > MOST_STEPS && before.max(inner.steps) <= MOST_STEPS {
                        let from = self.runbook(key);
                        let message = format!("with this call a run would have more than {MOST_STEPS} steps");
                        let problem = Diagnostic::error(&from.source, from.span(&at), Code::TooManySteps, message);
                        self.runbook_mut(key).problems.push(problem);
                    }
                }
                Err(problems) => self.runbook_mut(key).problems.extend(problems),
            }
        }
        self.way.pop();
        extent
    }

    fn called(&mut self, caller: &str, call: &Call, at: &[&str]) -> Result<Extent, Vec<Diagnostic>> {
        let key = call_key(caller, &call.file);
        let path = self.folder.join(&key);
        let problem = |loader: &Self, code, message: String| {
            let from = loader.runbook(caller);
            Diagnostic::error(&from.source, from.span(at), code, message)
        };
        let canonical = match self.files.identity(&path) {
            Ok(canonical) => canonical,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let mut problem = problem(self, Code::NoRunbook, format!("there is no file `{}`", path.display()));
                problem.help = near(self.files, &path, &call.file).map(|near| format!("did you mean `{near}`?"));
                return Err(vec![problem]);
            }
            Err(error) => {
                return Err(vec![problem(
                    self,
                    Code::Unreadable,
                    format!("`{}` cannot be read: {error}", path.display()),
                )]);
            }
        };
        let begun = self.way.iter().position(|on| on.key == key || on.file.as_ref() == Some(&canonical));
        if let Some(begun) = begun {
            let round: Vec<&str> =
                self.way[begun..].iter().map(|on| on.name.as_str()).chain([self.way[begun].name.as_str()]).collect();
            let message = format!("this runbook would call itself: {}", round.join(" calls "));
            return Err(vec![
                problem(self, Code::Recursion, message).help("a run must come to an end; take one of these calls away"),
            ]);
        }
        let seen = self.seen.get(&key).copied();
        if self.way.len() + seen.unwrap_or_default().depth > DEEPEST {
            let message = format!("calls lie deeper in each other than {DEEPEST}");
            return Err(vec![problem(self, Code::Recursion, message)]);
        }
        if let Some(extent) = seen {
            return Ok(extent);
        }
        self.seen.insert(key.clone(), Extent::default());
        let loaded = match read(self.files, &path) {
            Ok(source) => load(source)?,
            Err(problems) => match problems.as_slice() {
                // Why a file cannot be read is told where it is called; there is no place in it.
                [only] if only.span.is_none() && only.message.starts_with("cannot be read") => {
                    let message = format!("`{}` {}", path.display(), only.message);
                    return Err(vec![problem(self, only.code, message)]);
                }
                _ => return Err(problems),
            },
        };
        self.root.called.insert(key.clone(), loaded);
        let extent = self.follow(&key, key.clone(), Some(canonical));
        self.seen.insert(key, extent);
        Ok(extent)
    }

    fn runbook(&self, key: &str) -> &Loaded {
        self.root.called.get(key).unwrap_or(self.root)
    }

    fn runbook_mut(&mut self, key: &str) -> &mut Loaded {
        if self.root.called.contains_key(key) {
            return self.root.called.get_mut(key).expect("it was there a line ago");
        }
        self.root
    }
}

/// Every call of a runbook, with the section and the id of the step that calls.
fn calls(loaded: &Loaded) -> Vec<(&'static str, String, Call)> {
    let runbook = &loaded.runbook;
    [("steps", &runbook.steps), ("finally", &runbook.finally)]
        .into_iter()
        .flat_map(|(section, steps)| steps.iter().map(move |(id, step)| (section, id, step)))
        .filter_map(|(section, id, step)| match &step.does {
            Does::Call(call) => Some((section, id.to_string(), call.clone())),
            _ => None,
        })
        .collect()
}

/// The file in the same folder whose name is nearest, written as the call writes its own.
fn near(files: &dyn Files, path: &Path, written: &str) -> Option<String> {
    let mut names = files.names(path.parent().unwrap_or(Path::new("")));
    names.retain(|name| name.ends_with(".yaml") || name.ends_with(".yml"));
    names.sort();
    let found = nearest(file_name(path), names.iter().map(String::as_str))?;
    Some(match written.rsplit_once('/') {
        Some((before, _)) => format!("{before}/{found}"),
        None => found.to_owned(),
    })
}

fn file_name(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap_or_default()
}
