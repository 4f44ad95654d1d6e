//! The blast radius: what the writes of a plan touch, by vendor and target, and what holds them back.

use indexmap::IndexMap;
use schemars::{JsonSchema, SchemaGenerator};
use serde::Serialize;
use serde_json::Value;

use super::intent::{Fate, Preview};
use crate::action::{AnyAction, Intent};
use crate::base::StepPath;

/// What scripts and commands touch.
const MACHINE: &str = "this machine";
/// The longest command that is told whole.
const LONGEST: usize = 80;
/// Parameters that say what an action of a vendor touches.
const NAMING: [&str; 7] = ["project", "target", "host", "instance", "user_id", "domain", "name"];

/// Something that a step changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct WriteTarget {
    /// Whose it is: a vendor, a host, or `this machine`.
    pub vendor: String,
    /// What it is there: a project and its environment, a path, a command.
    pub target: String,
}

/// All that a plan would change.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct BlastRadius {
    /// How many steps write, those that are certainly left out not counted.
    pub writes: usize,
    /// How many of them only the run can decide about.
    pub undecided: usize,
    /// How many of them do nothing without somebody's yes, at their own gate or at one before them.
    pub behind_gate: usize,
    /// How many of them could be undone.
    pub undoable: usize,
    /// How many steps that write are certainly left out.
    pub left_out: usize,
    /// What they touch, by vendor.
    pub vendors: Vec<VendorWrites>,
}

/// What is touched of one vendor.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct VendorWrites {
    /// The vendor, the host, or `this machine`.
    pub vendor: String,
    /// How many steps write there.
    pub writes: usize,
    /// What they touch.
    pub targets: Vec<TargetWrites>,
}

/// What one target is touched by.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct TargetWrites {
    /// What it is.
    pub target: String,
    /// The steps that touch it.
    #[schemars(with = "Vec<String>")]
    pub steps: Vec<StepPath>,
    /// How many of them do nothing without somebody's yes.
    pub behind_gate: usize,
    /// How many of them could be undone.
    pub undoable: usize,
}

/// Adds up what the steps of a preview touch. Vendors and targets stand in the order in which they are first touched.
pub(super) fn blast_radius(preview: &Preview) -> BlastRadius {
    let mut radius =
        BlastRadius { writes: 0, undecided: 0, behind_gate: 0, undoable: 0, left_out: 0, vendors: Vec::new() };
    let mut vendors: IndexMap<&str, (Vec<StepPath>, IndexMap<&str, TargetWrites>)> = IndexMap::new();
    for (path, step) in preview.all_steps().into_iter().filter(|(_, step)| step.writes()) {
        if step.fate == Fate::Skipped {
            radius.left_out += 1;
            continue;
        }
        let (gated, undoable) = (usize::from(step.behind_gate), usize::from(step.undo.is_some()));
        radius.writes += 1;
        radius.undecided += usize::from(step.fate == Fate::Open);
        radius.behind_gate += gated;
        radius.undoable += undoable;
        for touched in &step.writes_to {
            let (steps, targets) = vendors.entry(&touched.vendor).or_default();
            if steps.last() != Some(&path) {
                steps.push(path.clone());
            }
            let target = targets.entry(&touched.target).or_insert_with(|| TargetWrites {
                target: touched.target.clone(),
                steps: Vec::new(),
                behind_gate: 0,
                undoable: 0,
            });
            target.steps.push(path.clone());
            target.behind_gate += gated;
            target.undoable += undoable;
        }
    }
    radius.vendors = vendors
        .into_iter()
        .map(|(vendor, (steps, targets))| VendorWrites {
            vendor: vendor.to_owned(),
            writes: steps.len(),
            targets: targets.into_values().collect(),
        })
        .collect();
    radius
}

/// What a step that writes touches, from its parameters as far as they are known and from what it says it does.
pub(super) fn writes_to(action: &dyn AnyAction, params: &Value, does: &[Intent]) -> Vec<WriteTarget> {
    let name = action.contract().name;
    let mut found: Vec<WriteTarget> = Vec::new();
    let mut add = |vendor: String, target: String| {
        let touched = WriteTarget { vendor, target };
        if !found.contains(&touched) {
            found.push(touched);
        }
    };
    let vendor = name.split('.').next().unwrap_or(name);
    if name.contains('.') && vendor != "http" {
        let named = named(action, params);
        if !named.is_empty() {
            add(vendor.to_owned(), named);
            return found;
        }
    }
    for intent in does {
        match intent {
            Intent::Request { method, url, .. } if !only_looks(method) => {
                let (host, path) = split(url);
                if vendor == "http" || !name.contains('.') {
                    add(host, path)
                } else {
                    add(vendor.to_owned(), format!("{host}{path}"))
                }
            }
            Intent::Process { argv, script, .. } => {
                let text = match script {
                    Some(script) => {
                        script.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned()
                    }
                    None => argv.join(" "),
                };
                add(MACHINE.to_owned(), shortened(&text));
            }
            Intent::Request { .. } | Intent::Note { .. } => {}
        }
    }
    if found.is_empty() {
        found.push(WriteTarget { vendor: vendor.to_owned(), target: name.to_owned() });
    }
    found
}

/// Does this method only look?
fn only_looks(method: &str) -> bool {
    ["GET", "HEAD", "OPTIONS"].iter().any(|looks| method.eq_ignore_ascii_case(looks))
}

/// The names that the parameters give to what is touched: `shop, production`.
fn named(action: &dyn AnyAction, params: &Value) -> String {
    let given = |name: &str| params.get(name).filter(|value| !value.is_null());
    // What is not written has its default, which the schema tells; it is asked only where that matters.
    let schema = std::cell::OnceCell::new();
    let value = |name: &str| -> Option<String> {
        let value = match given(name) {
            Some(value) => value.clone(),
            None => {
                let schema = schema.get_or_init(|| {
                    let mut generator = SchemaGenerator::default();
                    let schema = action.params_schema(&mut generator).to_value();
                    let name = schema.get("$ref").and_then(Value::as_str).and_then(|path| path.rsplit('/').next());
                    name.and_then(|name| generator.definitions().get(name).cloned()).unwrap_or(schema)
                });
                schema.get("properties")?.get(name)?.get("default").filter(|value| !value.is_null())?.clone()
            }
        };
        Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned))
    };
    if NAMING.iter().all(|name| given(name).is_none()) {
        return String::new();
    }
    NAMING.iter().filter_map(|name| value(name)).collect::<Vec<_>>().join(", ")
}

/// The host of an address, and its path without the query.
fn split(url: &str) -> (String, String) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or_default();
    match rest.find('/') {
        Some(at) => (rest[..at].to_owned(), rest[at..].to_owned()),
        None => (rest.to_owned(), "/".to_owned()),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
