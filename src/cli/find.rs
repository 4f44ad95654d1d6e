//! Finds a runbook by its file or its name.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::base::{Code, Diagnostic, Source, Span};
use crate::runbook::{Loaded, load_file, load_in};

use super::errors::CliError;

/// Loads the runbook that was asked for: a file, `-` for standard input, or a name in `.`, `runbooks/` or
/// `RUNBOOK_PATH`.
pub(super) fn runbook(wanted: &str) -> Result<Loaded, CliError> {
    if wanted == "-" {
        use std::io::Read;
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(|error| CliError::file(Path::new("-"), error))?;
        return load_in(Path::new(""), crate::base::Source::new("-", text)).map_err(CliError::Diagnostics);
    }
    load_file(&path(wanted)?).map_err(CliError::Diagnostics)
}

/// Is it the file with a runbook's tests?
pub(super) fn is_test(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.ends_with(".test.yaml") || name.ends_with(".test.yml")
}

/// The file that was asked for.
pub(super) fn path(wanted: &str) -> Result<PathBuf, CliError> {
    let direct = PathBuf::from(wanted);
    if is_test(&direct) {
        return Err(CliError::Usage {
            message: format!("`{wanted}` holds the tests of a runbook, and is none"),
            hint: Some(format!("run them: runbook test {wanted}")),
        });
    }
    if direct.exists() {
        return Ok(direct);
    }
    let mut looked = vec![wanted.to_owned()];
    let is_name = !wanted.contains('/') && !wanted.contains('.');
    if is_name {
        for folder in folders() {
            for ending in ["yaml", "yml"] {
                let candidate = folder.join(format!("{wanted}.{ending}"));
                if candidate.exists() {
                    return Ok(candidate);
                }
                looked.push(candidate.display().to_string());
            }
        }
    }
    Err(CliError::NoRunbook { wanted: wanted.to_owned(), looked })
}

/// Where names are looked up.
pub(super) fn folders() -> Vec<PathBuf> {
    let more = std::env::var_os("RUNBOOK_PATH");
    let more = more.iter().flat_map(std::env::split_paths);
    [PathBuf::from("."), PathBuf::from("runbooks")].into_iter().chain(more).collect()
}

/// Does a file look like a runbook? Read without YAML, so that one which is broken is checked and not skipped.
pub(super) fn is_runbook(path: &Path) -> bool {
    is_yaml(path)
        && !is_test(path)
        && std::fs::read(path).is_ok_and(|bytes| names_a_runbook(&String::from_utf8_lossy(&bytes)))
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

fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml") && path.is_file()
}

/// The YAML files in some folders, not below them, sorted. A folder that is not there has none.
pub(super) fn yaml_beside<'f>(folders: impl IntoIterator<Item = &'f Path>) -> Vec<PathBuf> {
    let entries = folders.into_iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten();
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<PathBuf> = paths
        .filter(|path| is_yaml(path))
        .map(|path| path.strip_prefix(".").map(Path::to_owned).unwrap_or(path))
        .collect();
    files.sort();
    files
}

/// These files, and the YAML files in and below these folders, sorted. What is hidden is left out, as are folders that
/// others fill.
pub(super) fn yaml_files<'f>(wanted: impl IntoIterator<Item = &'f Path>) -> Result<Vec<PathBuf>, CliError> {
    let mut files = Vec::new();
    for path in wanted {
        if path.is_dir() {
            below(path, &mut files)?;
        } else if path.exists() {
            files.push(path.to_owned());
        } else {
            return Err(CliError::usage(format!("there is no file `{}`", path.display())));
        }
    }
    files.sort();
    files.dedup();
    Ok(files)
}

fn below(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), CliError> {
    for entry in std::fs::read_dir(folder).map_err(|error| CliError::file(folder, error))? {
        let entry = entry.map_err(|error| CliError::file(folder, error))?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        // A link to a folder may lead back to where it stands.
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder && !name.starts_with('.') && !["target", "node_modules"].contains(&name.as_ref()) {
            below(&path, files)?;
        } else if !name.starts_with('.') && is_yaml(&path) {
            files.push(path);
        }
    }
    Ok(())
}

/// What stands in a file; a diagnostic where it is no text.
pub(super) fn source(path: &Path) -> Result<Result<Arc<Source>, Box<Diagnostic>>, CliError> {
    let bytes = std::fs::read(path).map_err(|error| CliError::file(path, error))?;
    Ok(text(&path.display().to_string(), bytes))
}

/// Bytes as the text of a file of this name.
pub(super) fn text(name: &str, bytes: Vec<u8>) -> Result<Arc<Source>, Box<Diagnostic>> {
    String::from_utf8(bytes).map(|text| Source::new(name, text)).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
        Box::new(Diagnostic::error(&Source::new(name, text), Span::new(at, at + 1), Code::Encoding, "not valid UTF-8"))
    })
}

/// Puts other text into a file, all of it or nothing: readers see the old or the new, and its permissions stay.
pub(super) fn replace(path: &Path, text: &str) -> Result<(), CliError> {
    // Through a link, to the file itself: a rename would put a file in the place of the link.
    let file = std::fs::canonicalize(path).map_err(|error| CliError::file(path, error))?;
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let beside = file.with_file_name(format!(".{name}.{}.part", std::process::id()));
    let write = || {
        let permissions = std::fs::metadata(&file)?.permissions();
        let mut written = std::fs::File::create_new(&beside)?;
        std::io::Write::write_all(&mut written, text.as_bytes())?;
        written.set_permissions(permissions)?;
        written.sync_all()?;
        std::fs::rename(&beside, &file)
    };
    write().map_err(|error| {
        let _ = std::fs::remove_file(&beside);
        CliError::file(path, error)
    })
}

/// The folder that relative paths in a runbook start from.
pub(super) fn folder_of(file: &str) -> PathBuf {
    let folder = Path::new(file).parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned())
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
