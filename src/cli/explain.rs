//! `runbook explain`: what a finding means, and the way out.

use clap::Args;
use clap_complete::engine::ArgValueCompleter;

use crate::base::diagnostic::nearest;
use crate::base::{Code, Explanation};

use super::errors::CliError;
use super::exit::Exit;
use super::{completions, env};

/// Arguments of `runbook explain`.
#[derive(Debug, Args)]
pub(super) struct Explain {
    /// The name of the finding, as it stands in brackets. Without one, all are listed.
    #[arg(value_name = "CODE", add = ArgValueCompleter::new(completions::codes))]
    code: Option<String>,
}

impl Explain {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let styled = env::stdout_is_styled();
        match self.code {
            Some(name) => super::print(&section(&find(&name)?, styled))?,
            None => super::print(&list(styled))?,
        }
        Ok(Exit::Succeeded)
    }
}

/// The section of a finding. Its name may be pasted as it was printed: `error[unknown-step]`.
fn find(name: &str) -> Result<Explanation, CliError> {
    let bare = name.split_once('[').map_or(name, |(_, rest)| rest).trim_end_matches([']', ':']);
    bare.parse().ok().and_then(Explanation::of).ok_or_else(|| CliError::Usage {
        message: format!("there is no finding `{bare}`"),
        hint: Some(match nearest(bare, Code::ALL.iter().map(|code| code.as_str())) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`runbook explain` lists them all".to_owned(),
        }),
    })
}

fn section(section: &Explanation, styled: bool) -> String {
    let mut text = format!("{}\n\n", bold(&format!("# {}", section.name), styled));
    for line in section.markdown.lines() {
        let is_mark = line == "Wrong:" || line == "Right:";
        text.push_str(&bold(line, styled && is_mark));
        text.push('\n');
    }
    text
}

fn list(styled: bool) -> String {
    let width = Explanation::all().map(|section| section.name.len()).max().unwrap_or_default();
    Explanation::all()
        .map(|section| {
            let name = format!("{:width$}", section.name);
            format!("{}  {}\n", bold(&name, styled), section.first_sentence())
        })
        .collect()
}

/// A heading.
pub(super) fn bold(text: &str, styled: bool) -> String {
    let style = if styled { anstyle::Style::new().bold() } else { anstyle::Style::new() };
    format!("{style}{text}{style:#}")
}
