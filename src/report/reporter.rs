//! Reads a run from its folder and renders its report: what `report.render` and `runbook report` use.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::markdown::{self, BUILT_IN};
use super::summary::{Summary, SummaryError};
use crate::action::Reporter;
use crate::base::RunId;
use crate::plan::Plan;
use crate::runlog::{self, Entry, LogError, RunFolder, Store, StoreError};

/// Why a run cannot be read from its folder.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The run or its plan cannot be found.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The log cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The log cannot be summed up.
    #[error(transparent)]
    Summary(#[from] SummaryError),
}

/// Sums up a run from its stored plan and its log. The log may still be written meanwhile.
pub fn summary(folder: &RunFolder) -> Result<Summary, ReadError> {
    summary_by(folder, &Arc::new(folder.plan()?))
}

/// The same for whoever has the plan already.
pub fn summary_by(folder: &RunFolder, plan: &Arc<Plan>) -> Result<Summary, ReadError> {
    let mut head = None;
    let events = runlog::entries(&folder.log())?.map(|entry| {
        let entry = entry?;
        head = Some(entry.hash);
        Ok::<_, ReadError>(entry.recorded)
    });
    let summary = Summary::of_each(plan, events)?;
    Ok(match head {
        Some(head) => summary.with_log_head(head),
        None => summary,
    })
}

/// Sums up what a plan and the entries of its log say.
pub fn summary_of(plan: &Arc<Plan>, entries: Vec<Entry>) -> Result<Summary, SummaryError> {
    let head = entries.last().map(|entry| entry.hash.clone());
    let events: Vec<_> = entries.into_iter().map(|entry| entry.recorded).collect();
    let summary = Summary::of(plan, &events)?;
    Ok(match head {
        Some(head) => summary.with_log_head(head),
        None => summary,
    })
}

/// Renders reports of runs in a store.
#[derive(Debug, Clone)]
pub struct LogReporter {
    store: Store,
    templates: PathBuf,
}

impl LogReporter {
    /// A reporter for the runs in `store`. Paths of templates that are not built in start from `templates`, usually the
    /// folder of the runbook.
    pub fn new(store: Store, templates: impl Into<PathBuf>) -> Self {
        Self { store, templates: templates.into() }
    }
}

impl Reporter for LogReporter {
    fn render(&self, run: &RunId, template: &str) -> Result<String, String> {
        let folder = self.store.find(run.as_str()).map_err(|error| error.to_string())?;
        let summary = summary(&folder).map_err(|error| error.to_string())?;
        render_with(&summary, &self.templates, template)
    }
}

/// Renders a report with a template: a path from the folder `templates`, or the name of a built-in one.
pub fn render_with(summary: &Summary, templates: &Path, template: &str) -> Result<String, String> {
    let text = template_text(templates, template)?;
    markdown::render(summary, template, &text).map_err(|error| error.to_string())
}

/// Is there such a template, and can it be read? The text says what is wrong.
pub fn check_template(templates: &Path, template: &str) -> Result<(), String> {
    let text = template_text(templates, template)?;
    markdown::check(template, &text).map_err(|error| error.to_string())
}

/// The text of a template: of the file, if there is one, else of the built-in one of this name.
fn template_text(folder: &Path, name: &str) -> Result<String, String> {
    let path = folder.join(name);
    match (std::fs::read_to_string(&path), markdown::built_in(name)) {
        (Ok(text), _) => Ok(text),
        (Err(error), Some(text)) if error.kind() == std::io::ErrorKind::NotFound => Ok(text.to_owned()),
        (Err(error), _) => {
            let known: Vec<_> = BUILT_IN.iter().map(|(name, _)| format!("`{name}`")).collect();
            Err(format!("{}: {error}; built in is {}", path.display(), known.join(", ")))
        }
    }
}
