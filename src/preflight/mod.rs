//! What a run would miss, found out before there is an incident: secrets, accounts, tools, hosts, people, the machine.
//!
//! Everything is looked at, and told at once. Nothing is written, and nothing is sent but questions that only read.

mod accounts;
mod hosts;
mod machine;
mod people;
mod script;
mod secrets;
mod tools;

use std::fmt::Write as _;
use std::sync::Arc;

use serde::Serialize;

use crate::action::Registry;
use crate::base::{Digest, SecretStore, StepPath};
use crate::engine::Approvers;
use crate::http::Client;
use crate::plan::{self, Plan, Uses};
use crate::runlog::Store;

/// How many questions are under way at once.
const AT_ONCE: usize = 8;

/// Where, and for whom, is looked.
pub struct Here<'h> {
    /// What would be run.
    pub plan: &'h Plan,
    /// The actions there are.
    pub registry: &'h Registry,
    /// The door to the network: the endpoints, the proxy and the secrets of the run.
    pub http: Client,
    /// The secrets of the run.
    pub secrets: Arc<SecretStore>,
    /// Who is in which group.
    pub approvers: &'h Approvers,
    /// Where the run would be kept.
    pub store: &'h Store,
    /// Who would run it: `user:NAME`.
    pub requester: &'h str,
}

/// What a line of the list is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Area {
    /// Keys and tokens: are they there?
    Secrets,
    /// What vendors say to them.
    Accounts,
    /// Programs and scripts.
    Tools,
    /// Hosts that requests go to.
    Hosts,
    /// Who may open the gates.
    Approvers,
    /// State folder, locks, templates.
    Machine,
}

impl Area {
    const ALL: [Self; 6] = [Self::Secrets, Self::Accounts, Self::Tools, Self::Hosts, Self::Approvers, Self::Machine];

    fn as_str(self) -> &'static str {
        match self {
            Self::Secrets => "secrets",
            Self::Accounts => "accounts",
            Self::Tools => "tools",
            Self::Hosts => "hosts",
            Self::Approvers => "approvers",
            Self::Machine => "machine",
        }
    }
}

/// How it stands with one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is there.
    Ok,
    /// It is there, and something about it should be looked at.
    Warning,
    /// It cannot be told from here, or not now.
    Unknown,
    /// A run would fail for want of it.
    Missing,
}

impl Verdict {
    /// A word and no sign: it survives logs without colours and without Unicode.
    fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Unknown => "unknown",
            Self::Missing => "MISSING",
        }
    }
}

/// One line of the list.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Item {
    /// What it is about.
    pub area: Area,
    /// How it stands.
    pub verdict: Verdict,
    /// What was looked at.
    pub what: String,
    /// What was found.
    pub found: Option<String>,
    /// A way out.
    pub help: Option<String>,
    /// The steps that need it.
    pub steps: Vec<StepPath>,
    /// The system of `outage_of` that it depends on: what is so today may not be so then.
    pub outage_of: Option<String>,
}

impl Item {
    fn new(area: Area, verdict: Verdict, what: impl Into<String>) -> Self {
        Self { area, verdict, what: what.into(), found: None, help: None, steps: Vec::new(), outage_of: None }
    }

    fn found(mut self, found: impl Into<String>) -> Self {
        self.found = Some(found.into());
        self
    }

    fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    fn of_steps(mut self, steps: &[StepPath]) -> Self {
        self.steps = steps.to_vec();
        self
    }
}

/// Everything that was looked at.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Checklist {
    /// The runbook.
    pub runbook: String,
    /// The digest of the plan that was looked at.
    pub plan: Digest,
    /// Is nothing missing?
    pub ready: bool,
    /// How many are missing.
    pub missing: usize,
    /// How many should be looked at.
    pub warnings: usize,
    /// How many could not be told.
    pub unknown: usize,
    /// The list.
    pub items: Vec<Item>,
}

/// Looks at everything that a run of this plan would need.
pub async fn examine(here: &Here<'_>) -> Checklist {
    let uses = plan::uses(here.plan);
    let systems = assumed_down(here.plan);
    let mut items = secrets::items(here, &uses);
    let accounts = accounts::ask(here, &uses, &systems).await;
    items.extend(accounts.items);
    items.extend(tools::items(&uses, &systems));
    items.extend(hosts::reach(here, &uses, &accounts.origins, &systems).await);
    items.extend(people::items(here, &uses));
    items.extend(machine::items(here, &uses));
    // What vendors say may repeat what they were sent.
    let redactor = here.secrets.redactor();
    for text in items.iter_mut().filter_map(|item| item.found.as_mut()) {
        *text = redactor.mask(text).into_owned();
    }
    let count = |verdict| items.iter().filter(|item| item.verdict == verdict).count();
    let missing = count(Verdict::Missing);
    Checklist {
        runbook: here.plan.runbook().name.to_string(),
        plan: here.plan.digest().clone(),
        ready: missing == 0,
        missing,
        warnings: count(Verdict::Warning),
        unknown: count(Verdict::Unknown),
        items,
    }
}

/// The systems that this runbook, or one that it calls, is for the outage of.
fn assumed_down(plan: &Plan) -> Vec<String> {
    let mut systems: Vec<String> =
        plan.runbooks().flat_map(|(_, runbook)| &runbook.outage_of).map(|system| system.to_lowercase()).collect();
    systems.sort();
    systems.dedup();
    systems
}

/// The system that a host or a program belongs to by its name: `api.clerk.com` to `clerk`.
fn system_of(name: &str, systems: &[String]) -> Option<String> {
    let name = name.to_lowercase();
    let mut words = name.split(|c: char| !c.is_ascii_alphanumeric());
    words.find_map(|word| systems.iter().find(|system| *system == word)).cloned()
}

/// The steps of some uses, each once, in the order of the file.
fn steps_of<'u>(uses: impl IntoIterator<Item = &'u plan::Use>) -> Vec<StepPath> {
    let mut steps: Vec<StepPath> = Vec::new();
    for used in uses {
        if !steps.contains(&used.step) {
            steps.push(used.step.clone());
        }
    }
    steps
}

/// What a plan uses, by what it uses.
fn uses_by<K: Ord>(uses: &Uses, mut keys: impl FnMut(&plan::Use) -> Vec<K>) -> Vec<(K, Vec<&plan::Use>)> {
    let mut places: std::collections::BTreeMap<K, Vec<&plan::Use>> = std::collections::BTreeMap::new();
    for used in &uses.actions {
        for key in keys(used) {
            places.entry(key).or_default().push(used);
        }
    }
    places.into_iter().collect()
}

impl Checklist {
    /// The list as people read it.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for area in Area::ALL {
            let mut items = self.items.iter().filter(|item| item.area == area).peekable();
            if items.peek().is_none() {
                continue;
            }
            let _ = writeln!(text, "{}", area.as_str());
            for item in items {
                let found = item.found.as_ref().map(|found| format!(": {found}")).unwrap_or_default();
                let _ = writeln!(text, "  {:<8} {}{found}", item.verdict.word(), item.what);
                let mut more = |what: &str, said: &str| {
                    let _ = writeln!(text, "           {what}: {said}");
                };
                if item.verdict != Verdict::Ok && !item.steps.is_empty() {
                    let steps: Vec<_> = item.steps.iter().map(|step| format!("`{step}`")).collect();
                    more("needed by", &steps.join(", "));
                }
                if let Some(help) = &item.help {
                    more("help", help);
                }
                if let Some(system) = &item.outage_of {
                    more("note", &format!("during an outage of `{system}` this cannot be known"));
                }
            }
            text.push('\n');
        }
        let _ = writeln!(text, "preflight of {}: {}", self.runbook, self.summary());
        text
    }

    fn summary(&self) -> String {
        let counted = |count: usize, word: &str| (count > 0).then(|| format!("{count} {word}"));
        let parts: Vec<String> = [
            Some(if self.missing == 0 { "nothing is missing".to_owned() } else { format!("{} missing", self.missing) }),
            counted(self.warnings, if self.warnings == 1 { "warning" } else { "warnings" }),
            counted(self.unknown, "unknown"),
        ]
        .into_iter()
        .flatten()
        .collect();
        parts.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_belongs_to_a_system_by_a_word_of_its_name() {
        let systems = ["clerk".to_owned(), "payments".to_owned()];
        assert_eq!(system_of("https://api.clerk.com", &systems).as_deref(), Some("clerk"));
        assert_eq!(system_of("https://eu-payments.example.com:8443", &systems).as_deref(), Some("payments"));
        assert_eq!(system_of("https://clerkish.example.com", &systems), None);
    }
}
