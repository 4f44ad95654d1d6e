//! `runbook fmt`: YAML files laid out as the house does, values and comments untouched.

use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;

use crate::base::{Diagnostic, Source};
use crate::runbook::format;

use super::errors::CliError;
use super::exit::Exit;
use super::find;
use super::unified::unified;

/// Arguments of `runbook fmt`.
#[derive(Debug, Args)]
pub(super) struct Fmt {
    /// YAML files, folders with some, or `-` for standard input, which is printed as it should be. Without any: `runbooks/`.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Only show what would change, and fail if anything would.
    #[arg(long)]
    check: bool,
}

impl Fmt {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        if self.files.iter().any(|file| file.as_os_str() == "-") {
            if self.files.len() > 1 {
                return Err(CliError::usage("`-` stands alone: files beside it would be written, and it is printed"));
            }
            return self.standard_input();
        }
        let files = if self.files.is_empty() { vec![PathBuf::from("runbooks")] } else { self.files };
        let files = find::yaml_files(files.iter().map(PathBuf::as_path))?;
        let mut problems: Vec<Diagnostic> = Vec::new();
        let mut changed = Vec::new();
        for file in &files {
            let source = find::source(file)?;
            match source.and_then(|source| Ok((format(&source)?, source))) {
                Ok((text, source)) if text != source.text => changed.push((file, source, text)),
                Ok(_) => {}
                Err(problem) => problems.push(*problem),
            }
        }
        // All or nothing: with one file that cannot be read, what was meant is not clear.
        if !problems.is_empty() {
            return Err(CliError::Diagnostics(problems));
        }
        if self.check {
            for (_, source, text) in &changed {
                super::print(&unified(&source.name, &source.text, text))?;
            }
            return if changed.is_empty() {
                Ok(Exit::Succeeded)
            } else {
                Err(CliError::Unformatted { count: changed.len() })
            };
        }
        for (file, _, text) in &changed {
            find::replace(file, text)?;
            anstream::eprintln!("{} formatted", file.display());
        }
        if changed.is_empty() {
            let count = files.len();
            anstream::eprintln!("{count} {}, nothing to change", if count == 1 { "file" } else { "files" });
        }
        Ok(Exit::Succeeded)
    }

    fn standard_input(&self) -> Result<Exit, CliError> {
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut std::io::stdin(), &mut bytes)
            .map_err(|error| CliError::file(std::path::Path::new("-"), error))?;
        let source: Arc<Source> = find::text("-", bytes).map_err(|problem| CliError::Diagnostics(vec![*problem]))?;
        let text = format(&source).map_err(|problem| CliError::Diagnostics(vec![*problem]))?;
        if !self.check {
            super::print(&text)?;
        } else if text != source.text {
            super::print(&unified("-", &source.text, &text))?;
            return Err(CliError::Unformatted { count: 1 });
        }
        Ok(Exit::Succeeded)
    }
}
