//! One version of a runbook: a file, a name, or a file of a revision, with its own called runbooks and its own approvers.

use std::path::Path;

use crate::base::{Diagnostic, Severity};
use crate::engine::Approvers;
use crate::plan::diff::Side;
use crate::runbook::{Files, Loaded, load_from};

use super::errors::CliError;
use super::git::Named;
use super::{check, find};

/// A runbook and who may open its gates.
#[derive(Debug)]
pub(super) struct Version {
    loaded: Loaded,
    approvers: Approvers,
}

impl Version {
    /// The version that was asked for. `None` for `/dev/null`, and for a file that its revision does not have.
    pub(super) fn load(wanted: &str) -> Result<Option<Self>, CliError> {
        if wanted == "/dev/null" {
            return Ok(None);
        }
        let Some(named) = Named::parse(wanted) else {
            let loaded = find::runbook(wanted)?;
            let approvers = Approvers::load(&find::folder_of(&loaded.source.name))?;
            return Ok(Some(Self { loaded, approvers }));
        };
        let (revision, path) = named?.open()?;
        if !revision.has(&path) {
            anstream::eprintln!("{wanted} is not there");
            return Ok(None);
        }
        let loaded = load_from(&revision, &path).map_err(CliError::Diagnostics)?;
        let beside = path.parent().unwrap_or(Path::new("")).join("approvers.yaml");
        let approvers = match revision.read(&beside) {
            Ok(text) => Approvers::read(&revision.name(&beside), &String::from_utf8_lossy(&text))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Approvers::default(),
            Err(error) => return Err(CliError::File { path: revision.name(&beside), source: error }),
        };
        Ok(Some(Self { loaded, approvers }))
    }

    /// Every mistake in it.
    pub(super) fn mistakes(&self) -> Vec<Diagnostic> {
        let mut problems = crate::plan::check(&self.loaded, &crate::actions::builtin());
        for part in std::iter::once(&self.loaded).chain(self.loaded.called.values()) {
            problems.extend(check::unknown_groups(part, &self.approvers));
        }
        problems.retain(|problem| problem.severity == Severity::Error);
        problems
    }

    /// The version as it is compared.
    pub(super) fn side(&self) -> Side<'_> {
        Side { loaded: &self.loaded, groups: self.approvers.groups() }
    }
}
