//! Finds a runbook by its file or its name.

use std::path::{Path, PathBuf};

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

/// The file that was asked for.
pub(super) fn path(wanted: &str) -> Result<PathBuf, CliError> {
    let direct = PathBuf::from(wanted);
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

/// The folder that relative paths in a runbook start from.
pub(super) fn folder_of(file: &str) -> PathBuf {
    let folder = Path::new(file).parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned())
}
