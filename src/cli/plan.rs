//! `runbook plan`: what would happen, in which order, and what could be undone.

mod html;
mod live;
mod markdown;
mod text;
mod words;

pub(super) use words::intent_lines;

use clap::{Args, ValueEnum};
use serde_json::Value;

use crate::action::Registry;
use crate::base::secret;
use crate::engine::Approvers;
use crate::plan::{Foresight, Preview, SupposeProblem};
use crate::report;
use crate::runlog::Store;
use crate::{actions, plan};

use super::errors::CliError;
use super::exit::Exit;
use super::flags::{Endpoints, Inputs};
use super::{check, env, find};

/// Arguments of `runbook plan`.
#[derive(Debug, Args)]
pub(super) struct Plan {
    /// The runbook: a file, a name, or `-` for standard input.
    #[arg(value_name = "FILE|NAME", add = clap_complete::engine::ArgValueCompleter::new(super::completions::runbooks))]
    runbook: String,
    #[command(flatten)]
    inputs: Inputs,
    /// Suppose a result and show what follows: `triage.outputs.category=none`, `app.error.kind=timeout`.
    #[arg(long, value_name = "STEP.WHAT=VALUE")]
    set: Vec<String>,
    /// Ask the world now what the built-in actions that only look would find, and show what follows. Runs no script,
    /// writes nothing, records no run.
    #[arg(long)]
    live_reads: bool,
    #[command(flatten)]
    endpoints: Endpoints,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = PlanFormat::Text)]
    format: PlanFormat,
    #[command(flatten)]
    policy: super::policy::PolicyFlag,
}

/// How a plan is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum PlanFormat {
    /// For people.
    Text,
    /// For programs; `runbook schema --of plan` describes it.
    Json,
    /// For a comment on a pull request.
    Markdown,
    /// A Mermaid flowchart.
    Mermaid,
    /// A Graphviz graph.
    Dot,
    /// A picture.
    Svg,
    /// A page with the picture and all details.
    Html,
}

impl Plan {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let loaded = check::checked(&self.runbook)?;
        let registry = actions::builtin();
        let plan =
            plan::build(&loaded, &registry, &self.inputs.values()?)?.in_folder(find::folder_of(&loaded.source.name));
        let preview = self.preview(&plan, &registry)?;
        self.print(&preview)?;
        self.policy.of_plan(&loaded, &preview, &registry)
    }

    /// The plan with what is supposed, what is read live, who may answer, and what past runs took.
    fn preview(&self, plan: &plan::Plan, registry: &Registry) -> Result<Preview, CliError> {
        let mut foresight = Foresight {
            groups: Approvers::load(&plan.folder())?.groups().clone(),
            past: report::past(&Store::new(env::state_folder()), plan.runbook().name.as_str()),
            ..Foresight::default()
        };
        for text in &self.set {
            // What is typed is no secret, whatever it looks like.
            let mut value = Value::from(text.as_str());
            secret::disarm_json(&mut value);
            foresight.supposed.set(plan, registry, value.as_str().unwrap_or_default()).map_err(refused)?;
        }
        if self.live_reads {
            live::read(plan, registry, &mut foresight, self.endpoints.origins()?)?;
        }
        Ok(plan::preview_with(plan, registry, &foresight))
    }

    fn print(&self, preview: &Preview) -> Result<(), CliError> {
        match self.format {
            PlanFormat::Json => super::print_json(preview),
            PlanFormat::Text => super::print(&text::text(preview)),
            PlanFormat::Markdown => super::print(&markdown::markdown(preview)),
            PlanFormat::Mermaid => super::print(&plan::mermaid(preview)),
            PlanFormat::Dot => super::print(&plan::dot(preview)),
            PlanFormat::Svg => super::print(&plan::svg(preview)),
            PlanFormat::Html => super::print(&html::html(preview)),
        }
    }
}

fn refused(problem: SupposeProblem) -> CliError {
    CliError::Usage { message: problem.message, hint: problem.help }
}
