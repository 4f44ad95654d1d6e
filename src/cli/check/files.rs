//! Which files are to be checked: those that are named, and the runbooks in the folders that are named.

use std::io::Read;
use std::path::{Path, PathBuf};

use crate::base::{Diagnostic, Source};
use crate::cli::errors::CliError;
use crate::cli::find;
use crate::runbook::{Loaded, load_as, load_file, load_in};

/// One runbook to check.
#[derive(Debug)]
pub(super) enum Target {
    /// A file.
    File(PathBuf),
    /// What came on standard input, and the file it is the text of, if it is one.
    Text {
        /// The text.
        text: String,
        /// Where it would stand.
        path: Option<PathBuf>,
    },
}

impl Target {
    /// The name that its findings have.
    pub(super) fn name(&self) -> String {
        match self {
            Self::File(path) | Self::Text { path: Some(path), .. } => path.display().to_string(),
            Self::Text { path: None, .. } => "-".to_owned(),
        }
    }

    /// Loads it as it stands.
    pub(super) fn load(&self) -> Result<Loaded, Vec<Diagnostic>> {
        match self {
            Self::File(path) => load_file(path),
            Self::Text { text, .. } => self.load_with(text.clone()),
        }
    }

    /// Loads it as if it had another text.
    pub(super) fn load_with(&self, text: String) -> Result<Loaded, Vec<Diagnostic>> {
        match self {
            Self::File(path) | Self::Text { path: Some(path), .. } => load_as(path, text),
            Self::Text { path: None, .. } => load_in(Path::new(""), Source::new("-", text)),
        }
    }
}

/// Everything that was asked for, in the order it was asked for. What cannot be found is told beside it, so that one slip
/// does not hide the findings of the rest.
pub(super) fn targets(wanted: &[String], stdin_path: Option<&Path>) -> (Vec<Target>, Vec<CliError>) {
    let (mut targets, mut failures) = (Vec::new(), Vec::new());
    for name in wanted {
        match one(name, stdin_path) {
            Ok(found) => targets.extend(found),
            Err(failure) => failures.push(failure),
        }
    }
    (targets, failures)
}

fn one(name: &str, stdin_path: Option<&Path>) -> Result<Vec<Target>, CliError> {
    if name == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(|error| CliError::file(Path::new("-"), error))?;
        return Ok(vec![Target::Text { text, path: stdin_path.map(Path::to_owned) }]);
    }
    let path = find::path(name)?;
    if !path.is_dir() {
        return Ok(vec![Target::File(path)]);
    }
    let mut files = Vec::new();
    collect(&path, &mut files).map_err(|error| CliError::file(&path, error))?;
    files.sort();
    if files.is_empty() {
        return Err(CliError::Usage {
            message: format!("no runbook lies in `{name}`"),
            hint: Some("a runbook is a `.yaml` or `.yml` file with `runbook:` at its top".to_owned()),
        });
    }
    Ok(files.into_iter().map(Target::File).collect())
}

/// The runbooks in a folder and in the folders in it. Links to folders are not followed: they may lead round in a circle.
fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let path = entry.path();
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if entry.file_type()?.is_dir() {
            collect(&path, files)?;
        } else if is_runbook(&path) {
            files.push(path);
        }
    }
    Ok(())
}

/// Does it look like a runbook? Read without YAML, so that one which is broken is checked and not skipped.
fn is_runbook(path: &Path) -> bool {
    let is_yaml = path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml");
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let is_test = name.ends_with(".test.yaml") || name.ends_with(".test.yml");
    is_yaml && !is_test && std::fs::read(path).is_ok_and(|bytes| names_a_runbook(&String::from_utf8_lossy(&bytes)))
}

/// Does `runbook` stand among the keys at its top? Those of a scenario may follow one of that name.
fn names_a_runbook(text: &str) -> bool {
    let mut keys = text.trim_start_matches('\u{FEFF}').lines().filter_map(|line| {
        let (key, _) = line.trim_start_matches(['{', ' ']).split_once(':')?;
        let is_top = line.starts_with(|c: char| c.is_alphabetic() || ['"', '\'', '{'].contains(&c));
        is_top.then(|| key.trim().trim_matches(['"', '\'']))
    });
    keys.find(|key| ["runbook", "scenario"].contains(key)) == Some("runbook")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_runbook_is_known_by_its_top() {
        for text in [
            "runbook: a\n",
            "# note\ntitle: x\nrunbook: a\n",
            "\u{FEFF}runbook: a\r\n",
            "\"runbook\": a\n",
            "{ runbook: a, steps: {} }\n",
            "runbook: a\nsteps: [\n",
        ] {
            assert!(names_a_runbook(text), "{text}");
        }
        for text in ["groups: {}\n", "scenario: s\nrunbook: a\n", "a:\n  runbook: x\n", "# runbook: a\n", ""] {
            assert!(!names_a_runbook(text), "{text}");
        }
    }
}
