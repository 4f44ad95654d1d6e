//! People: who may answer, what they are asked, and the door to them.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::Value;

use crate::action::Intent;
use crate::base::{BoxFuture, Digest, Secret, StepPath, Timestamp};
use crate::run::{Answer, Decision, Doubt, Gate, ManualResult};
use crate::runbook::{Approval, AskField};

/// Something only a person can answer.
#[derive(Debug, Clone)]
pub enum Question {
    /// May the step act?
    Gate {
        /// The step.
        step: StepPath,
        /// The rules of its gate.
        approval: Approval,
        /// Everybody who may answer, groups taken apart; nobody named means whoever is there.
        members: Vec<String>,
        /// The question.
        prompt: String,
        /// Exactly what it would do.
        does: Vec<Intent>,
        /// The digest of that.
        digest: Digest,
        /// When the question lapses.
        expires: Option<Timestamp>,
    },
    /// Something to do by hand.
    Manual {
        /// The step.
        step: StepPath,
        /// What to do.
        text: String,
        /// What to hand in.
        evidence: IndexMap<String, AskField>,
    },
    /// Did it happen?
    Doubt {
        /// The step.
        step: StepPath,
        /// What it was doing.
        does: Vec<Intent>,
        /// Is it the undo that is in doubt?
        undo: bool,
    },
}

impl Question {
    /// The step it is about.
    pub fn step(&self) -> &StepPath {
        match self {
            Self::Gate { step, .. } | Self::Manual { step, .. } | Self::Doubt { step, .. } => step,
        }
    }
}

/// What a person answered.
#[derive(Debug, Clone)]
pub enum Reply {
    /// To a gate.
    Gate(Decision),
    /// To something done by hand.
    Manual {
        /// Who.
        by: String,
        /// How it went.
        result: ManualResult,
    },
    /// To a doubt.
    Doubt {
        /// Who.
        by: String,
        /// What became of it.
        doubt: Doubt,
        /// Is it the undo that was in doubt?
        undo: bool,
    },
}

/// The door to people: a terminal, the flags of a command line, a rehearsal's script.
pub trait People: Send + Sync {
    /// Asks. `None` when nobody can be asked here: the run then waits, and may be taken up elsewhere.
    fn ask(&self, question: Question) -> BoxFuture<'static, Option<Reply>>;

    /// Asks for a secret, hidden while it is typed. `None` when nobody can be asked here. The answer goes to the doors and
    /// nowhere else: no event holds it.
    fn ask_secret(&self, _asked: AskedSecret) -> BoxFuture<'static, Option<Secret>> {
        Box::pin(async { None })
    }
}

/// A secret that a person is asked for.
#[derive(Debug, Clone)]
pub struct AskedSecret {
    /// Its name in the run: within a call it stands after the step that calls.
    pub name: String,
    /// The step that cannot go on without it.
    pub step: StepPath,
    /// What the runbook says to whoever is asked.
    pub prompt: String,
    /// Why it has to be asked for, where a step was to give it.
    pub because: Option<String>,
}

/// Nobody is there.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nobody;

impl People for Nobody {
    fn ask(&self, _question: Question) -> BoxFuture<'static, Option<Reply>> {
        Box::pin(async { None })
    }
}

impl AskedSecret {
    /// Its value among those of a scenario, by its name in the run or in its own runbook.
    pub fn in_scenario(&self, secrets: &[(String, Secret)]) -> Option<Secret> {
        let own = self.name.rsplit('/').next().unwrap_or_default();
        let find = |wanted: &str| secrets.iter().find(|(name, _)| name == wanted).map(|(_, secret)| secret.clone());
        find(&self.name).or_else(|| find(own))
    }
}

/// The groups that runbooks name in `by`, from the `approvers.yaml` beside them.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approvers {
    /// Members by group: `oncall: [alice, bob]`.
    #[serde(default)]
    groups: BTreeMap<String, Vec<String>>,
}

/// Why the approvers file cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct ApproversError {
    path: String,
    reason: String,
}

/// Why an answer was not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The gate names others.
    #[error("`{by}` is not among those who may answer: {}", .named.join(", "))]
    NotNamed {
        /// Who answered.
        by: String,
        /// Whom the gate names.
        named: Vec<String>,
    },
    /// Whoever started the run may not answer.
    #[error("`{by}` started this run, and this gate wants somebody else")]
    Requester {
        /// Who answered.
        by: String,
    },
    /// The question has lapsed.
    #[error("the question has lapsed")]
    Lapsed,
    /// The same person has answered before.
    #[error("`{by}` has answered already")]
    Twice {
        /// Who answered.
        by: String,
    },
    /// An answer to what else was asked is missing or does not fit.
    #[error("`{name}`: {reason}")]
    Answer {
        /// Which answer.
        name: String,
        /// Why.
        reason: String,
    },
}

impl Approvers {
    /// Reads the file beside a runbook; none there means no groups.
    pub fn load(folder: &std::path::Path) -> Result<Self, ApproversError> {
        let path = folder.join("approvers.yaml");
        let refuse = |reason: String| ApproversError { path: path.display().to_string(), reason };
        match std::fs::read_to_string(&path) {
            Ok(text) => Self::read(&path.display().to_string(), &text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(refuse(error.to_string())),
        }
    }

    /// Reads the text of such a file.
    pub fn read(name: &str, text: &str) -> Result<Self, ApproversError> {
        serde_yaml::from_str(text).map_err(|error| ApproversError { path: name.to_owned(), reason: error.to_string() })
    }

    /// Members by group.
    pub fn groups(&self) -> &BTreeMap<String, Vec<String>> {
        &self.groups
    }

    /// The groups that `by` names and the file does not have.
    pub fn unknown_groups<'a>(&self, by: &'a [String]) -> Vec<&'a str> {
        by.iter()
            .filter_map(|who| who.strip_prefix("group:"))
            .filter(|group| !self.groups.contains_key(*group))
            .collect()
    }

    /// The groups that `by` names and nobody is in.
    pub fn empty_groups<'a>(&self, by: &'a [String]) -> Vec<&'a str> {
        by.iter()
            .filter_map(|who| who.strip_prefix("group:"))
            .filter(|group| self.groups.get(*group).is_some_and(Vec::is_empty))
            .collect()
    }

    /// Everybody whom a gate names, groups taken apart.
    pub fn members(&self, approval: &Approval) -> Vec<String> {
        let mut members: Vec<String> = Vec::new();
        for who in &approval.by {
            match who.strip_prefix("group:") {
                Some(group) => {
                    let people = self.groups.get(group).into_iter().flatten();
                    members.extend(people.map(|member| format!("user:{}", member.trim_start_matches("user:"))));
                }
                None => members.push(who.clone()),
            }
        }
        members.sort();
        members.dedup();
        members
    }

    /// May this decision count at this gate?
    pub fn admit(&self, approval: &Approval, decision: &Decision, requester: Option<&str>) -> Result<(), Refusal> {
        let by = decision.by.as_str();
        let named = approval.by.is_empty() || self.members(approval).iter().any(|member| member == by);
        if !named {
            return Err(Refusal::NotNamed { by: by.to_owned(), named: approval.by.clone() });
        }
        if approval.not_requester && requester == Some(by) {
            return Err(Refusal::Requester { by: by.to_owned() });
        }
        Ok(())
    }
}

impl Approvers {
    /// The decision as it counts at an open gate, what else was asked read as the types that were asked for; or why it
    /// does not count.
    pub fn take(
        &self,
        approval: &Approval,
        gate: &Gate,
        mut decision: Decision,
        requester: Option<&str>,
        now: Timestamp,
    ) -> Result<Decision, Refusal> {
        self.admit(approval, &decision, requester)?;
        match read_answers(&approval.ask, &decision.answers) {
            Ok(answers) => decision.answers = answers,
            // Whoever says no need not fill in the form.
            Err(_) if decision.answer == Answer::Reject => {}
            Err(refusal) => return Err(refusal),
        }
        if gate.expires.is_some_and(|expires| expires <= now) {
            return Err(Refusal::Lapsed);
        }
        if gate.approvals.iter().any(|before| before.by == decision.by) {
            return Err(Refusal::Twice { by: decision.by });
        }
        Ok(decision)
    }
}

/// The answers with their types, defaults filled in. An answer to what was not asked is refused like one that does not fit.
pub fn read_answers(
    asked: &IndexMap<String, AskField>,
    answers: &IndexMap<String, Value>,
) -> Result<IndexMap<String, Value>, Refusal> {
    let refuse = |name: &String, reason: &str| Refusal::Answer { name: name.clone(), reason: reason.to_owned() };
    if let Some(unknown) = answers.keys().find(|name| !asked.contains_key(*name)) {
        return Err(refuse(unknown, "nothing of this name was asked"));
    }
    let mut read = IndexMap::new();
    for (name, field) in asked {
        match answers.get(name).filter(|value| value.as_str() != Some("")).or(field.default.as_ref()) {
            Some(value) => {
                read.insert(name.clone(), field.read(value).map_err(|reason| refuse(name, &reason))?);
            }
            None if field.required => return Err(refuse(name, "an answer is required")),
            None => {}
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runbook::{OnTimeout, Template};

    fn approval(by: &[&str], not_requester: bool) -> Approval {
        Approval {
            prompt: Template("?".into()),
            by: by.iter().map(|who| (*who).to_owned()).collect(),
            at_least: 1,
            not_requester,
            within: None,
            on_timeout: OnTimeout::Reject,
            ask: IndexMap::new(),
        }
    }

    fn says(by: &str) -> Decision {
        Decision { by: by.into(), answer: Answer::Approve, answers: IndexMap::new(), via: "terminal".into() }
    }

    #[test]
    fn only_those_the_gate_names_may_answer() {
        let approvers: Approvers = serde_yaml::from_str("groups: { oncall: [alice, bob] }").unwrap();
        let gate = approval(&["group:oncall", "user:lead"], true);
        assert_eq!(approvers.admit(&gate, &says("user:alice"), Some("user:eve")), Ok(()));
        assert_eq!(approvers.admit(&gate, &says("user:lead"), None), Ok(()));
        assert!(matches!(approvers.admit(&gate, &says("user:eve"), None), Err(Refusal::NotNamed { .. })));
        assert!(matches!(approvers.admit(&gate, &says("user:bob"), Some("user:bob")), Err(Refusal::Requester { .. })));
        assert_eq!(approvers.unknown_groups(&["group:ops".to_owned(), "group:oncall".to_owned()]), ["ops"]);
    }

    #[test]
    fn a_gate_that_names_nobody_takes_whoever_is_there() {
        assert_eq!(Approvers::default().admit(&approval(&[], false), &says("user:anyone"), None), Ok(()));
    }
}
