//! What two versions of a runbook mean differently. Comments, formatting and order in the file mean nothing.

mod acts;
mod gates;
mod graph;
mod kind;
mod order;
mod part;
mod rename;
mod steps;
mod text;
mod top;

pub(super) use acts::host as host_of;
pub use kind::{Class, Kind};
pub(super) use order::Behind;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use self::acts::Actions;
use self::part::Part;
use self::rename::Names;
use crate::action::Registry;
use crate::base::StepId;
use crate::runbook::{Arm, Does, Loaded, Undo};

/// Members by group, from the `approvers.yaml` of a side.
pub type Groups = BTreeMap<String, Vec<String>>;

/// One of two versions.
#[derive(Debug, Clone, Copy)]
pub struct Side<'s> {
    /// The runbook, with all that it calls. It has no mistakes.
    pub loaded: &'s Loaded,
    /// Who belongs to which group.
    pub groups: &'s Groups,
}

/// All that differs.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Diff {
    /// The runbook's name, on the new side where there is one.
    pub runbook: String,
    /// The file of the old side; `null` where the runbook is new.
    pub old: Option<String>,
    /// The file of the new side; `null` where the runbook is gone.
    pub new: Option<String>,
    /// The differences: first what is riskier, then what is neutral, then what is safer.
    pub findings: Vec<Finding>,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Finding {
    /// What kind of difference.
    pub kind: Kind,
    /// Whether it makes the runbook riskier. It follows from the kind.
    pub class: Class,
    /// The step, with the calls that lead to it: `cleanup/report`. `null` for the runbook as a whole. A step that is gone
    /// has its old name, every other its new one.
    pub step: Option<String>,
    /// One sentence about it.
    pub message: String,
    /// Where the old side says so; `null` where it says nothing.
    pub old: Option<Spot>,
    /// Where the new side says so; `null` where it says nothing.
    pub new: Option<Spot>,
}

/// A place in a file, and what stands there.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Spot {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What it says; `null` where it says nothing.
    pub value: Option<Value>,
}

impl Diff {
    /// How many findings there are of a class.
    pub fn count(&self, class: Class) -> usize {
        self.findings.iter().filter(|finding| finding.class == class).count()
    }
}

/// Compares two versions of a runbook. `None` stands for a version in which it is not there.
pub fn diff(old: Option<Side<'_>>, new: Option<Side<'_>>, registry: &Registry) -> Diff {
    let runbook = new.or(old).map(|side| side.loaded.runbook.name.to_string()).unwrap_or_default();
    let file = |side: Option<Side<'_>>| side.map(|side| side.loaded.source.name.clone());
    let mut differ =
        Differ { old, new, registry, actions: Actions::new(registry), findings: Vec::new(), seen: BTreeMap::new() };
    differ.runbooks(Some(""), Some(""), "");
    let mut findings = differ.findings;
    findings.sort_by_key(|finding| finding.class);
    Diff { runbook, old: file(old), new: file(new), findings }
}

struct Differ<'d> {
    old: Option<Side<'d>>,
    new: Option<Side<'d>>,
    registry: &'d Registry,
    actions: Actions<'d>,
    findings: Vec<Finding>,
    /// Pairs of called runbooks that have been compared, each with the call at which that is told.
    seen: BTreeMap<(Option<String>, Option<String>), String>,
}

/// A step, on each side where it is.
#[derive(Debug, Clone, Copy)]
struct Both<'b> {
    id: &'b StepId,
    old: Option<usize>,
    new: Option<usize>,
}

/// A pair of runbooks, and what is found of them.
struct Told<'p, 's> {
    old: &'p Part<'s>,
    new: &'p Part<'s>,
    /// The calls that lead here: `cleanup/`.
    above: &'p str,
    findings: Vec<Finding>,
}

/// What both sides say.
type Values = (Option<Value>, Option<Value>);

impl Told<'_, '_> {
    /// Tells of a step.
    fn step(&mut self, kind: Kind, at: Both<'_>, path: &[&str], message: impl Into<String>, (old, new): Values) {
        self.findings.push(Finding {
            kind,
            class: kind.class(),
            step: Some(format!("{}{}", self.above, at.id)),
            message: message.into(),
            old: at.old.and_then(|place| self.old.spot(place, path, old)),
            new: at.new.and_then(|place| self.new.spot(place, path, new)),
        });
    }

    /// Tells of the runbook as a whole. A side that says nothing has no place.
    fn top(&mut self, kind: Kind, path: &[&str], message: impl Into<String>, (old, new): Values) {
        let step = self.above.strip_suffix('/').map(str::to_owned);
        let old = self.old.top(path, old);
        let new = self.new.top(path, new);
        self.findings.push(Finding { kind, class: kind.class(), step, message: message.into(), old, new });
    }

    /// In the order of the file: of the new side where it is there, else of the old one.
    fn sorted(mut self) -> Vec<Finding> {
        self.findings.sort_by_key(|finding| {
            let spot = finding.new.as_ref().or(finding.old.as_ref());
            spot.map_or(0, |spot| spot.line)
        });
        self.findings
    }
}

impl<'d> Differ<'d> {
    /// Compares two runbooks of the plans, and then what they call.
    fn runbooks(&mut self, old_key: Option<&str>, new_key: Option<&str>, above: &str) {
        let loaded = |side: Option<Side<'d>>, key: Option<&str>| -> Option<(Side<'d>, &'d Loaded)> {
            let (side, key) = (side?, key?);
            Some((side, if key.is_empty() { side.loaded } else { side.loaded.called.get(key)? }))
        };
        let (old, new) = (loaded(self.old, old_key), loaded(self.new, new_key));
        let names = match (&old, &new) {
            (Some((_, old)), Some((_, new))) => rename::renames(&old.runbook, &new.runbook),
            _ => Names::new(),
        };
        let Some(beside) = new.or(old).map(|(_, loaded)| loaded) else { return };
        let part = |side: Option<(Side<'d>, &'d Loaded)>, key: Option<&str>, names: &Names| {
            side.zip(key)
                .and_then(|((side, _), key)| Part::of(side, key, self.registry, names))
                .unwrap_or_else(|| Part::nothing(&beside.runbook))
        };
        let (old, new) = (part(old, old_key, &names), part(new, new_key, &Names::new()));
        let mut told = Told { old: &old, new: &new, above, findings: Vec::new() };
        for (was, is) in &names {
            let both = Both { id: is, old: old.places.get(is).copied(), new: new.places.get(is).copied() };
            let message = format!("step `{was}` is called `{is}`");
            told.step(Kind::StepRenamed, both, &[], message, (Some(was.as_str().into()), Some(is.as_str().into())));
        }
        top::compare(&mut told);
        steps::compare(&mut told, &mut self.actions);
        order::compare(&mut told);
        let calls = told.calls();
        self.findings.extend(told.sorted());
        for (id, old_key, new_key) in calls {
            self.call(&old, &new, above, &id, old_key, new_key);
        }
    }

    /// Compares what a step calls, once for each pair of runbooks.
    fn call(
        &mut self,
        old: &Part<'_>,
        new: &Part<'_>,
        above: &str,
        id: &StepId,
        old_key: Option<String>,
        new_key: Option<String>,
    ) {
        let path = format!("{above}{id}");
        let both = Both { id, old: old.places.get(id).copied(), new: new.places.get(id).copied() };
        let keys = (old_key.clone(), new_key.clone());
        if let Some(first) = self.seen.get(&keys).cloned() {
            let has_changed = |finding: &Finding| {
                finding.step.as_deref().is_some_and(|step| step == first || step.starts_with(&format!("{first}/")))
            };
            if !first.is_empty() && old_key.is_some() && new_key.is_some() && self.findings.iter().any(has_changed) {
                let mut told = Told { old, new, above, findings: Vec::new() };
                let message = format!("`{id}` calls what `{first}` calls too; what has changed in it is told there");
                told.step(Kind::CallChanged, both, &["call"], message, (None, None));
                self.findings.extend(told.findings);
            }
            return;
        }
        self.seen.insert(keys, path.clone());
        self.runbooks(old_key.as_deref(), new_key.as_deref(), &format!("{path}/"));
    }
}

impl Told<'_, '_> {
    /// Every call, with what is called on each side.
    fn calls(&self) -> Vec<(StepId, Option<String>, Option<String>)> {
        let mut calls = Vec::new();
        for (place, entry) in self.new.steps.iter().enumerate() {
            let new = self.new.called(place);
            let old = self.old.counterpart(entry).and_then(|place| self.old.called(place));
            if new.is_some() || old.is_some() {
                calls.push((entry.id.clone(), old, new));
            }
        }
        for (place, entry) in self.old.steps.iter().enumerate() {
            if self.new.counterpart(entry).is_none() {
                calls.extend(self.old.called(place).map(|key| (entry.id.clone(), Some(key), None)));
            }
        }
        calls
    }
}

/// What a step does, as somebody would have written it.
fn does(does: &Does) -> Option<Value> {
    Some(match does {
        Does::Action { uses, with } if uses == "shell" => text::written(with),
        Does::Action { uses, with } => json!({ "uses": uses, "with": text::written(with) }),
        Does::Call(call) => json!({ "call": call.file, "with": text::written(&call.with), "secrets": call.secrets }),
        Does::Decide(decide) => {
            let arm = |arm: &Arm| match &arm.condition {
                Some(condition) => json!({ "if": condition, "then": text::written(&arm.then) }),
                None => json!({ "then": text::written(&arm.then) }),
            };
            decide.arms.iter().map(arm).collect()
        }
        Does::Manual(manual) => json!({ "manual": manual.text }),
        Does::Gate => return None,
    })
}

/// How a step is undone, as somebody would have written it.
fn undone(undo: &Undo) -> Option<Value> {
    Some(match undo {
        Undo::Auto => json!("auto"),
        Undo::Action { uses, with, .. } => return does(&Does::Action { uses: uses.clone(), with: with.clone() }),
    })
}

/// What somebody wrote, as a value to show.
fn value(of: &impl Serialize) -> Option<Value> {
    serde_json::to_value(of).ok().filter(|value| !value.is_null())
}
