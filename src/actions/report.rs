//! `report.render`: writes a report of the run so far.

use std::io::Write as _;
use std::path::{Component, Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::action::{Action, ActionContext, ActionError, Effect, ErrorKind, Intent, Replay};

/// Writes a report.
#[derive(Debug)]
pub struct Render;

/// Which report, and where it goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReportRenderParams {
    /// The template: a path relative to the runbook, or the name of a built-in one.
    #[serde(default = "default_template")]
    pub template: String,
    /// The file to write, in the run's folder of artifacts.
    #[serde(default = "default_output")]
    pub output: String,
}

/// Where the report is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ReportRenderOutput {
    /// The file's path.
    pub path: String,
}

fn default_template() -> String {
    "post-incident.md.j2".to_owned()
}

fn default_output() -> String {
    "report.md".to_owned()
}

impl Action for Render {
    const NAME: &'static str = "report.render";
    const SUMMARY: &'static str = "Writes a report of the run so far.";
    const EFFECT: Effect = Effect::Read;
    const REPLAY: Replay = Replay::Safe;
    type Params = ReportRenderParams;
    type Output = ReportRenderOutput;

    async fn run(&self, cx: &ActionContext, params: ReportRenderParams) -> Result<ReportRenderOutput, ActionError> {
        let path = inside(cx.artifacts(), &params.output)?;
        let text = cx.render_report(&params.template)?;
        write_whole(&path, &text).map_err(|error| {
            ActionError::new(ErrorKind::Failed, format!("`{}` cannot be written: {error}", path.display()))
        })?;
        Ok(ReportRenderOutput { path: path.display().to_string() })
    }

    fn describe(&self, params: &ReportRenderParams) -> Vec<Intent> {
        vec![Intent::note(format!("writes `{}` from `{}`, in the run's artifacts", params.output, params.template))]
    }
}

/// What a run's folder holds besides: nothing may be written over it.
const KEPT: [&str; 9] =
    ["plan.json", "log.jsonl", "blobs", "inbox", "output", "scenario.yaml", "drill.json", "score.json", "world.jsonl"];

/// The place of `name` in `folder`; refuses names that lead out of it or to the record itself.
fn inside(folder: &Path, name: &str) -> Result<PathBuf, ActionError> {
    let plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if name.is_empty() || name.ends_with('/') || name.contains('\0') || !plain {
        return Err(ActionError::invalid_params(format!("`{name}` is not the name of a file inside the artifacts")));
    }
    let first = name.split('/').next().unwrap_or_default();
    if KEPT.contains(&first) || first.starts_with('.') {
        return Err(ActionError::invalid_params(format!("`{name}` is kept for the record of the run itself")));
    }
    Ok(folder.join(name))
}

/// Writes beside the file and renames, so that nobody reads half a report.
fn write_whole(path: &Path, text: &str) -> std::io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(std::io::ErrorKind::InvalidFilename.into());
    };
    std::fs::create_dir_all(folder)?;
    let draft = folder.join(format!(".{}.{}", name.to_string_lossy(), std::process::id()));
    let written = std::fs::File::create(&draft)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&draft, path));
    if written.is_err() {
        // The first error is the one to tell.
        let _ = std::fs::remove_file(&draft);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::super::testing::Bench;
    use super::*;
    use serde_json::json;

    #[tokio::test]
    async fn a_report_is_written_whole_and_leaves_no_draft() {
        let bench = Bench::new();
        for _ in 0..2 {
            let params = serde_json::from_value(json!({})).unwrap();
            let output = Render.run(&bench.cx(), params).await.unwrap();
            let text = std::fs::read_to_string(&output.path).unwrap();
            assert_eq!(text, "post-incident.md.j2 20261123-030000-test");
        }
        assert_eq!(std::fs::read_dir(bench.artifacts()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn a_name_cannot_leave_the_folder() {
        let bench = Bench::new();
        for name in ["../x.md", "/etc/x.md", "", "a/../../x", "./x", "x/", ".", "log.jsonl", "blobs/x", ".x"] {
            let params = ReportRenderParams { template: default_template(), output: name.into() };
            assert_eq!(Render.run(&bench.cx(), params).await.unwrap_err().kind, ErrorKind::InvalidParams, "{name}");
        }
        let params = ReportRenderParams { template: default_template(), output: "a/b.md".into() };
        assert!(Render.run(&bench.cx(), params).await.unwrap().path.ends_with("/a/b.md"));
    }

    #[tokio::test]
    async fn a_template_that_fails_says_why() {
        let params = ReportRenderParams { template: "missing.j2".into(), output: default_output() };
        let error = Render.run(&Bench::new().cx(), params).await.unwrap_err();
        assert_eq!((error.kind, error.message.as_str()), (ErrorKind::Template, "`missing.j2` does not exist"));
    }
}
