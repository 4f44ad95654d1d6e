//! Standing rules: what every plan is held against, whether or not anything has changed.

use std::collections::{BTreeMap, BTreeSet};

use super::{Exception, Judge, Subject, Word};
use crate::action::{Intent, Registry};
use crate::base::{HumanDuration, Span};
use crate::plan::diff::{Behind, Groups, Side, host_of};
use crate::plan::{PlannedStep, Preview};
use crate::runbook::{Does, InputType, OnExpiry, Runbook, Step, Template, call_key};

/// Makes the enum and its names from one list.
macro_rules! rules {
    ($($variant:ident => $name:literal, $meaning:literal;)*) => {
        /// A standing rule.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Rule {
            $(#[doc = $meaning] $variant,)*
        }

        impl Rule {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The name as policies have it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Is it a limit, with a key of its own?
            pub const fn is_limit(self) -> bool {
                matches!(self, Self::Hosts | Self::MeasureAtMost | Self::RequireApprovers)
            }

            /// What it denies, in a sentence.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }
        }
    };
}

rules! {
    Command => "command", "A step or its undo is an `argv`.";
    GateWithoutLimit => "gate-without-limit", "The question of a gate never lapses.";
    GateWithoutNames => "gate-without-names", "Whoever is there may open a gate.";
    Hosts => "hosts", "A step or its undo sends requests to a host that `hosts` does not list.";
    MeasureAtMost => "measure_at_most", "A measure may be in force for longer than `measure_at_most`.";
    MeasureWithoutEnd => "measure-without-end", "No step closes a measure, and it is not undone when it expires.";
    RequireApprovers => "require_approvers", "A gate opens after fewer yeses than `require_approvers`.";
    Script => "script", "A step or its undo is a `run`.";
    SelfApproval => "self-approval", "Whoever started the run may open a gate.";
    WriteWithoutGate => "write-without-gate", "A write has no gate, and waits for none.";
    WriteWithoutUndo => "write-without-undo", "A write cannot be undone.";
}

/// Holds every step of a plan against the rules of a policy.
pub(super) fn judge(judge: &mut Judge<'_>, side: Side<'_>, preview: &Preview, registry: &Registry) {
    let mut walk = Walk { judge, side, registry, runbook: &preview.runbook, behind: BTreeMap::new() };
    walk.steps("", &preview.steps, "", false);
}

struct Walk<'w, 'p, 's> {
    judge: &'w mut Judge<'p>,
    side: Side<'s>,
    registry: &'w Registry,
    runbook: &'w str,
    /// Which steps of a runbook wait for a gate.
    behind: BTreeMap<String, Behind<'s>>,
}

impl Walk<'_, '_, '_> {
    /// `is_covered`: does whoever calls these steps wait for a gate?
    fn steps(&mut self, key: &str, steps: &[PlannedStep], above: &str, is_covered: bool) {
        let loaded = if key.is_empty() { Some(self.side.loaded) } else { self.side.loaded.called.get(key) };
        let Some(loaded) = loaded else { return };
        let runbook = loaded.runbook.as_ref();
        for planned in steps {
            let Some(step) = runbook.step(&planned.id) else { continue };
            let path = format!("{above}{}", planned.id);
            let (side, registry) = (self.side, self.registry);
            let behind = self.behind.entry(key.to_owned()).or_insert_with(|| Behind::of(side, key, registry));
            let covered = is_covered || step.approval.is_some() || behind.has(&planned.id);
            self.step(key, runbook, step, planned, &path, covered);
            if let (Some(call), Does::Call(written)) = (&planned.calls, &step.does) {
                self.steps(&call_key(key, &written.file), &call.steps, &format!("{path}/"), covered);
            }
        }
    }

    fn step(&mut self, key: &str, runbook: &Runbook, step: &Step, planned: &PlannedStep, path: &str, is_covered: bool) {
        let id = &planned.id;
        let mut broken: Vec<(Rule, &[&str], String)> = Vec::new();
        if planned.writes() {
            if planned.undo.is_none() {
                broken.push((Rule::WriteWithoutUndo, &[], format!("the write `{path}` cannot be undone")));
            }
            if !is_covered {
                let message = format!("the write `{path}` has no gate, and waits for none");
                broken.push((Rule::WriteWithoutGate, &[], message));
            }
        }
        let undo = [("the undo of ", &planned.undo_does, true), ("", &planned.does, false)];
        for (what, intents, is_undo) in undo.into_iter().rev() {
            for intent in intents {
                let Intent::Process { script, .. } = intent else { continue };
                let (rule, word, at): (Rule, &str, &[&str]) = match (script, is_undo) {
                    (Some(_), false) => (Rule::Script, "a script", &["run"]),
                    (Some(_), true) => (Rule::Script, "a script", &["undo", "run"]),
                    (None, false) => (Rule::Command, "a command", &["argv"]),
                    (None, true) => (Rule::Command, "a command", &["undo", "argv"]),
                };
                broken.push((rule, at, format!("{what}`{path}` is {word}")));
            }
        }
        if let Some(approval) = &step.approval {
            if approval.by.is_empty() {
                let message = format!("the gate of `{path}` may be opened by whoever is there");
                broken.push((Rule::GateWithoutNames, &["approval"], message));
            }
            if approval.within.is_none() {
                let message = format!("the question at the gate of `{path}` never lapses");
                broken.push((Rule::GateWithoutLimit, &["approval"], message));
            }
            if !approval.not_requester {
                let message = format!("whoever started the run may open the gate of `{path}`");
                broken.push((Rule::SelfApproval, &["approval"], message));
            }
        }
        if let Some(measure) = &step.measure
            && measure.closed_by.is_none()
            && measure.on_expiry == OnExpiry::Hold
        {
            let message = format!("no step closes the measure of `{path}`, and it is not undone when it expires");
            broken.push((Rule::MeasureWithoutEnd, &["measure"], message));
        }
        for (rule, at, message) in broken {
            let denied = self.judge.policy.deny.iter().find(|word| word.value == Word::Rule(rule));
            if let Some(span) = denied.map(|word| word.span) {
                self.deny(rule, span, key, id.as_str(), path, at, message);
            }
        }
        self.limits(key, runbook, step, planned, path);
    }

    fn limits(&mut self, key: &str, runbook: &Runbook, step: &Step, planned: &PlannedStep, path: &str) {
        let id = planned.id.as_str();
        let policy = self.judge.policy;
        if let (Some(limit), Some(measure)) = (&policy.measure_at_most, &step.measure) {
            let shown = planned.measure.as_ref().map_or("", |measure| measure.expires.as_str());
            let longest = longest(&measure.expires, shown, key, runbook);
            let message = match longest {
                Some(longest) if longest <= limit.value => None,
                Some(longest) => {
                    Some(format!("the measure of `{path}` may be in force for {longest}, more than {}", limit.value))
                }
                None => Some(format!("nothing limits how long the measure of `{path}` is in force")),
            };
            if let Some(message) = message {
                self.deny(Rule::MeasureAtMost, limit.span, key, id, path, &["measure", "expires"], message);
            }
        }
        if let (Some(least), Some(approval)) = (&policy.require_approvers, &step.approval) {
            let (people, groups) = (distinct(&approval.by, self.side.groups), !approval.by.is_empty());
            if approval.at_least < least.value {
                let message = format!(
                    "the gate of `{path}` opens after {} yes{}, fewer than {}",
                    approval.at_least,
                    if approval.at_least == 1 { "" } else { "es" },
                    least.value
                );
                self.deny(Rule::RequireApprovers, least.span, key, id, path, &["approval", "at_least"], message);
            } else if groups && people < least.value {
                let message = format!("only {people} may open the gate of `{path}`, fewer than {}", least.value);
                self.deny(Rule::RequireApprovers, least.span, key, id, path, &["approval", "by"], message);
            }
        }
        if let Some(hosts) = &policy.hosts {
            let sides =
                [("", &planned.does, ["with", "url"].as_slice()), ("the undo of ", &planned.undo_does, &["undo"])];
            let mut found: BTreeSet<(&str, String, &[&str])> = BTreeSet::new();
            for (what, intents, at) in sides {
                let urls = intents.iter().filter_map(|intent| match intent {
                    Intent::Request { url, .. } => Some(url.as_str()),
                    Intent::Process { .. } | Intent::Note { .. } => None,
                });
                found.extend(
                    urls.filter_map(host_of).filter(|host| !is_listed(&hosts.value, host)).map(|host| (what, host, at)),
                );
            }
            for (what, host, at) in found {
                let message = format!("{what}`{path}` sends requests to `{host}`, which `hosts` does not list");
                self.deny(Rule::Hosts, hosts.span, key, id, path, at, message);
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "a rule, where it stands, and what it is about, in one call")]
    fn deny(&mut self, rule: Rule, span: Span, key: &str, id: &str, path: &str, at: &[&str], message: String) {
        let spot = self.behind.get(key).and_then(|behind| behind.spot(id, at));
        let subject = Subject { runbook: self.runbook, step: Some(path), at: spot };
        let is_named = |exception: &Exception| exception.rule == Word::Rule(rule);
        self.judge.deny(rule.as_str(), span, subject, message, is_named);
    }
}

/// How many people that is, groups taken apart.
fn distinct(by: &[String], groups: &Groups) -> u32 {
    let people: BTreeSet<String> = by
        .iter()
        .flat_map(|who| match who.strip_prefix("group:") {
            Some(group) => groups
                .get(group)
                .into_iter()
                .flatten()
                .map(|m| format!("user:{}", m.trim_start_matches("user:")))
                .collect(),
            None => vec![who.clone()],
        })
        .collect();
    u32::try_from(people.len()).unwrap_or(u32::MAX)
}

/// How long a measure may be in force at the most: of an input of the plan's own runbook, whatever it admits.
fn longest(expires: &Template, shown: &str, key: &str, runbook: &Runbook) -> Option<HumanDuration> {
    let references = expires.references().unwrap_or_default();
    let input = match references.as_slice() {
        [only] if only.root() == "inputs" && only.alone && key.is_empty() => only.path.get(1),
        _ => None,
    };
    match input.and_then(|name| runbook.inputs.get(name)).filter(|input| input.kind == InputType::Duration) {
        Some(input) => input.max.as_ref()?.as_str()?.parse().ok(),
        None => shown.parse().ok(),
    }
}

/// Is a host one of these, or below one that begins with `*.`?
fn is_listed(hosts: &[String], host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    hosts.iter().any(|listed| match listed.strip_prefix('*') {
        Some(end) => host.ends_with(end) && host.len() > end.len() && !host.contains('‹'),
        None => *listed == host,
    })
}
