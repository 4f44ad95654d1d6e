//! `runbook schema`: the JSON Schema of runbook files.

use std::path::PathBuf;

use clap::Args;

use super::errors::CliError;
use super::exit::Exit;

/// Where the schema is kept, relative to the folder the command runs in.
const DEFAULT: &str = "schemas/runbook.schema.json";

/// Arguments of `runbook schema`.
#[derive(Debug, Args)]
pub(super) struct Schema {
    /// Write it to a file instead of printing it.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = DEFAULT)]
    write: Option<PathBuf>,
    /// Only say whether the file is what this version would write.
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = DEFAULT, conflicts_with = "write")]
    check: Option<PathBuf>,
}

impl Schema {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let schema = crate::plan::schema(&crate::actions::builtin());
        let text =
            format!("{}\n", serde_json::to_string_pretty(&schema).map_err(|error| CliError::Output(error.into()))?);
        if let Some(path) = self.check {
            let found = std::fs::read_to_string(&path).map_err(|error| CliError::file(&path, error))?;
            return if found == text { Ok(Exit::Succeeded) } else { Err(CliError::Stale(path.display().to_string())) };
        }
        match self.write {
            Some(path) => {
                if let Some(folder) = path.parent() {
                    std::fs::create_dir_all(folder).map_err(|error| CliError::file(folder, error))?;
                }
                std::fs::write(&path, text).map_err(|error| CliError::file(&path, error))?;
                anstream::eprintln!("{} written", path.display());
            }
            None => super::print(&text)?,
        }
        Ok(Exit::Succeeded)
    }
}
