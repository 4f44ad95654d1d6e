//! `--policy`: reads the file, says what it denies, and ends with the code for that.

use std::path::Path;

use clap::Args;

use crate::action::Registry;
use crate::base::{Clock, Code, Diagnostic, Source, clock};
use crate::engine::Approvers;
use crate::plan::policy::{Date, Policy, Verdict};
use crate::plan::{Preview, diff};
use crate::runbook::{Disk, Files, Loaded};

use super::errors::CliError;
use super::exit::Exit;
use super::find;
use super::git::Named;

/// The flag that names a policy.
#[derive(Debug, Args, Default)]
pub(super) struct PolicyFlag {
    /// End with code 9 when this policy denies something: a file, or `git:REV:path`.
    #[arg(long, value_name = "FILE")]
    policy: Option<String>,
}

impl PolicyFlag {
    /// The policy, if one is named.
    pub(super) fn read(&self) -> Result<Option<Policy>, CliError> {
        let Some(wanted) = &self.policy else { return Ok(None) };
        let (files, path): (Box<dyn Files>, _) = match Named::parse(wanted) {
            Some(named) => {
                let (revision, path) = named?.open()?;
                (Box::new(revision), path)
            }
            None => (Box::new(Disk), Path::new(wanted).to_owned()),
        };
        let name = files.name(&path);
        let refuse = |reason: String| {
            let source = Source::new(name.clone(), "");
            CliError::Diagnostics(vec![Diagnostic::whole_file(&source, Code::Unreadable, reason)])
        };
        let bytes = files.read(&path).map_err(|error| refuse(format!("cannot be read: {error}")))?;
        let text = String::from_utf8(bytes).map_err(|_| refuse("not valid UTF-8".to_owned()))?;
        Policy::read(&Source::new(name.clone(), text)).map(Some).map_err(CliError::Diagnostics)
    }

    /// What the policy says of a difference.
    pub(super) fn of_diff(policy: &Policy, found: &diff::Diff) -> Verdict {
        policy.judge_diff(found, today())
    }

    /// Says what the policy denies of a plan.
    pub(super) fn of_plan(&self, loaded: &Loaded, preview: &Preview, registry: &Registry) -> Result<Exit, CliError> {
        let Some(policy) = self.read()? else { return Ok(Exit::Succeeded) };
        let approvers = Approvers::load(&find::folder_of(&loaded.source.name))?;
        let verdict = policy.judge_plan(loaded, preview, approvers.groups(), registry, today());
        Ok(tell(&policy, &verdict))
    }
}

/// The day it is, in UTC.
fn today() -> Date {
    clock::SystemClock.now().to_zoned(jiff::tz::TimeZone::UTC).date()
}

/// Says what is denied, with the place in the policy.
pub(super) fn tell(policy: &Policy, verdict: &Verdict) -> Exit {
    let styled = super::env::stderr_is_styled();
    for ended in &verdict.ended {
        anstream::eprintln!("{}\n", ended.render(styled));
    }
    for denial in &verdict.denials {
        anstream::eprintln!("{}\n", policy.explain(denial).render(styled));
    }
    match verdict.denials.len() {
        0 => return Exit::Succeeded,
        1 => anstream::eprintln!("the policy denies 1 finding"),
        many => anstream::eprintln!("the policy denies {many} findings"),
    }
    Exit::Denied
}
