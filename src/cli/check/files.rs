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
        } else if find::is_runbook(&path) {
            files.push(path);
        }
    }
    Ok(())
}
