//! Finds scenarios: `drills/RUNBOOK.yaml` and `drills/RUNBOOK.CASE.yaml` beside a runbook.

use std::path::{Path, PathBuf};

use super::CliError;

/// A scenario file of a runbook.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Scenario {
    /// The part of its name after the runbook's; nothing for `RUNBOOK.yaml`.
    pub(super) case: String,
    /// The file.
    pub(super) path: PathBuf,
}

/// The folder of the scenarios of a runbook's file.
pub(super) fn folder(runbook: &Path) -> PathBuf {
    runbook.parent().unwrap_or(Path::new(".")).join("drills")
}

/// Every scenario of the runbook called `name`, sorted. A folder that is not there has none.
pub(super) fn of(runbook: &Path, name: &str) -> Vec<Scenario> {
    let entries = std::fs::read_dir(folder(runbook)).into_iter().flatten().filter_map(Result::ok);
    let mut there: Vec<Scenario> = entries
        .filter_map(|entry| {
            let file = entry.file_name().to_str()?.to_owned();
            let rest = file.strip_prefix(name)?.strip_suffix(".yaml")?;
            let case = if rest.is_empty() { "" } else { rest.strip_prefix('.')? };
            Some(Scenario { case: case.to_owned(), path: entry.path() })
        })
        .collect();
    there.sort();
    there
}

/// The scenario file: as named, or `drills/RUNBOOK.NAME.yaml`, or `drills/RUNBOOK.yaml`, or the only one there is.
pub(super) fn find(runbook: &Path, name: &str, wanted: Option<&str>) -> Result<PathBuf, CliError> {
    if let Some(path) = wanted.map(PathBuf::from).filter(|path| path.is_file()) {
        return Ok(path);
    }
    let there = of(runbook, name);
    let found = match wanted {
        Some(wanted) => there.iter().find(|scenario| scenario.case == wanted),
        None => {
            let first = there.iter().find(|scenario| scenario.case.is_empty());
            first.or_else(|| there.first().filter(|_| there.len() == 1))
        }
    };
    found.map(|scenario| scenario.path.clone()).ok_or_else(|| {
        let drills = folder(runbook);
        let message = match wanted {
            Some(wanted) => format!("there is no scenario `{wanted}` for `{name}` in {}", drills.display()),
            None => format!("there is no scenario for `{name}` in {}", drills.display()),
        };
        let names: Vec<&str> =
            there.iter().map(|scenario| scenario.case.as_str()).filter(|case| !case.is_empty()).collect();
        let hint = if names.is_empty() {
            format!("write one: {}", drills.join(format!("{name}.yaml")).display())
        } else {
            format!("scenarios: {}", names.join(", "))
        };
        CliError::Usage { message, hint: Some(hint) }
    })
}
