//! What will happen: a runbook, the actions it uses and its inputs, as a graph that can be drawn, stored and run.

mod check;
mod draw;
mod intent;
mod schema;

pub use check::check;
pub use draw::mermaid;
pub use intent::{Arm, PlannedStep, Preview, Verdict, input_values, preview, show_secrets, steps_read};
pub use schema::schema;

use std::collections::BTreeMap;

use indexmap::IndexMap;
use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::action::{Contract, Effect, Load, Registry, Replay};
use crate::base::{Diagnostic, Digest, RunbookName, SecretSource, StepId};
use crate::runbook::{Does, Input, Level, Loaded, Need, OnFailure, Runbook, Step, Templated, Undo, resolve_inputs};

pub use crate::runbook::InputProblem;

/// The version of the stored form. It grows; a newer major version is refused.
pub const FORMAT: u32 = 1;

/// What a step's action is, kept with the plan so that a later binary resumes the run by the same rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Does it change the world?
    pub effect: Effect,
    /// What to do when the end of a try was not seen.
    pub replay: Replay,
    /// Which limit it counts against; `None` for steps that run nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
}

/// What is stored of a plan.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Stored {
    format: u32,
    file: String,
    #[serde(default)]
    folder: std::path::PathBuf,
    source: Digest,
    digest: Digest,
    runbook: Runbook,
    inputs: IndexMap<String, Value>,
    facts: BTreeMap<StepId, Facts>,
}

/// A plan, ready to run.
#[derive(Debug, Clone)]
pub struct Plan {
    stored: Stored,
    graph: DiGraph<(), Need>,
    ids: Vec<StepId>,
    places: IndexMap<StepId, usize>,
}

/// Why a stored plan cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// No JSON, or not of a plan's form.
    #[error("the stored plan cannot be read: {0}")]
    Unreadable(String),
    /// Written by a newer version of this program.
    #[error("the stored plan has format {0}; this version knows formats up to {FORMAT}")]
    Newer(u32),
    /// Its content does not match its digest: somebody changed it.
    #[error("the stored plan does not match its digest {0}")]
    Tampered(Digest),
}

/// Why no plan could be made.
#[derive(Debug)]
pub enum Unplanned {
    /// The runbook has mistakes.
    Runbook(Vec<Diagnostic>),
    /// The inputs do not fit.
    Inputs(Vec<InputProblem>),
}

/// Makes a plan. Reads nothing and writes nothing.
pub fn build(loaded: &Loaded, registry: &Registry, given: &BTreeMap<String, Value>) -> Result<Plan, Unplanned> {
    let problems = check(loaded, registry);
    if problems.iter().any(|problem| problem.severity == crate::base::Severity::Error) {
        return Err(Unplanned::Runbook(problems));
    }
    let inputs = resolve_inputs(&loaded.runbook.inputs, given).map_err(Unplanned::Inputs)?;
    let runbook = loaded.runbook.clone();
    let facts: BTreeMap<StepId, Facts> =
        runbook.steps.iter().chain(&runbook.finally).map(|(id, step)| (id.clone(), facts(step, registry))).collect();
    let digest = digest(&runbook, &inputs, &facts);
    Ok(Plan::assemble(Stored {
        format: FORMAT,
        file: loaded.source.name.clone(),
        folder: std::path::PathBuf::new(),
        source: Digest::of(loaded.source.text.as_bytes()),
        digest,
        runbook,
        inputs,
        facts,
    }))
}

/// What is digested: what is to be done, with which inputs, by which rules. Not the file's name or bytes, and not the
/// order in which steps, inputs and outputs stand.
#[derive(Serialize)]
struct Meaning<'m> {
    format: u32,
    name: &'m RunbookName,
    title: &'m Option<String>,
    summary: &'m Option<String>,
    severity: &'m Option<Level>,
    outage_of: &'m [String],
    inputs: BTreeMap<&'m String, &'m Input>,
    secrets: &'m BTreeMap<String, SecretSource>,
    steps: BTreeMap<&'m StepId, &'m Step>,
    on_failure: OnFailure,
    finally: BTreeMap<&'m StepId, &'m Step>,
    values: BTreeMap<&'m String, &'m Value>,
    facts: &'m BTreeMap<StepId, Facts>,
}

fn digest(runbook: &Runbook, inputs: &IndexMap<String, Value>, facts: &BTreeMap<StepId, Facts>) -> Digest {
    // Taken apart by name, so that a new field cannot be forgotten here.
    let Runbook { name, title, summary, severity, outage_of, inputs: declared, secrets, steps, on_failure, finally } =
        runbook;
    Digest::of_serialized(&Meaning {
        format: FORMAT,
        name,
        title,
        summary,
        severity,
        outage_of,
        inputs: declared.iter().collect(),
        secrets,
        steps: steps.iter().collect(),
        on_failure: *on_failure,
        finally: finally.iter().collect(),
        values: inputs.iter().collect(),
        facts,
    })
}

fn facts(step: &Step, registry: &Registry) -> Facts {
    let contract = action_name(step).and_then(|name| registry.get(name)).map(|action| action.contract());
    match contract {
        Some(contract) => {
            let (effect, replay) =
                if step.only_reads { (Effect::Read, Replay::Safe) } else { (contract.effect, contract.replay) };
            Facts { effect, replay, load: Some(contract.load) }
        }
        None => Facts { effect: Effect::Read, replay: Replay::Safe, load: None },
    }
}

/// The action a step runs.
pub fn action_name(step: &Step) -> Option<&str> {
    match &step.does {
        Does::Action { uses, .. } => Some(uses),
        Does::Decide(_) | Does::Manual(_) | Does::Gate => None,
    }
}

/// The contract of the action that reverses a step, and the words for what it does.
fn undo_of(step: &Step, registry: &Registry) -> Option<(Contract, String)> {
    match (step.undo.as_ref()?, &step.does) {
        (Undo::Auto, Does::Action { uses, .. }) => {
            let contract = registry.get(uses)?.contract();
            let words = contract.undo?.to_owned();
            Some((contract, words))
        }
        (Undo::Action { uses, .. }, _) => {
            let contract = registry.get(uses)?.contract();
            let words = format!("runs `{uses}`: {}", contract.summary);
            Some((contract, words))
        }
        (Undo::Auto, _) => None,
    }
}

/// Every template of a step, each with its path below the step.
fn templates(step: &Step) -> Vec<(Vec<String>, &crate::runbook::Template)> {
    let mut found = Vec::new();
    match &step.does {
        Does::Action { uses, with } if uses == "shell" => {
            // `run`, `argv`, `env` stand beside each other in the file, not under `with`.
            if let Templated::Map(entries) = with {
                for (key, value) in entries {
                    collect(&[key.as_str()], value, &mut found);
                }
            }
        }
        Does::Action { with, .. } => collect(&["with"], with, &mut found),
        Does::Decide(decide) => {
            for (index, arm) in decide.arms.iter().enumerate() {
                collect(&["with", &index.to_string(), "then"], &arm.then, &mut found);
            }
        }
        Does::Manual(manual) => found.push((path(&["manual", "text"]), &manual.text)),
        Does::Gate => {}
    }
    if let Some(Undo::Action { with, .. }) = &step.undo {
        collect(&["undo", "with"], with, &mut found);
    }
    if let Some(approval) = &step.approval {
        found.push((path(&["approval", "prompt"]), &approval.prompt));
    }
    if let Some(measure) = &step.measure {
        found.push((path(&["measure", "expires"]), &measure.expires));
    }
    found
}

fn collect<'t>(base: &[&str], templated: &'t Templated, found: &mut Vec<(Vec<String>, &'t crate::runbook::Template)>) {
    let mut at = path(base);
    templated.visit(&mut at, &mut |path, template| found.push((path.to_vec(), template)));
}

fn path(parts: &[&str]) -> Vec<String> {
    parts.iter().map(|part| (*part).to_owned()).collect()
}

/// Every expression of a step, each with its path below the step.
fn expressions(step: &Step) -> Vec<(Vec<String>, &crate::runbook::Expression)> {
    let mut found = Vec::new();
    if let Some(condition) = &step.condition {
        found.push((path(&["if"]), condition));
    }
    if let Some(until) = &step.until {
        found.push((path(&["until", "if"]), &until.condition));
    }
    if let Does::Decide(decide) = &step.does {
        for (index, arm) in decide.arms.iter().enumerate() {
            if let Some(condition) = &arm.condition {
                found.push((path(&["with", &index.to_string(), "if"]), condition));
            }
        }
    }
    found
}

impl Plan {
    fn assemble(stored: Stored) -> Self {
        let runbook = &stored.runbook;
        let ids: Vec<StepId> = runbook.steps.keys().chain(runbook.finally.keys()).cloned().collect();
        let places: IndexMap<StepId, usize> = ids.iter().cloned().enumerate().map(|(index, id)| (id, index)).collect();
        let edges = runbook.steps.values().chain(runbook.finally.values()).map(|step| step.needs.len()).sum();
        let mut graph = DiGraph::with_capacity(ids.len(), edges);
        for _ in &ids {
            graph.add_node(());
        }
        for (index, step) in runbook.steps.values().chain(runbook.finally.values()).enumerate() {
            for (needed, need) in &step.needs {
                if let Some(from) = places.get(needed) {
                    graph.add_edge(NodeIndex::new(*from), NodeIndex::new(index), need.clone());
                }
            }
        }
        Self { stored, graph, ids, places }
    }

    /// The plan as it is stored with a run.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(&self.stored).expect("a plan is made of maps with text keys")
    }

    /// Reads a stored plan and holds it against its digest.
    pub fn from_json(text: &str) -> Result<Self, PlanError> {
        let value: Value = serde_json::from_str(text).map_err(|error| PlanError::Unreadable(error.to_string()))?;
        let format = value.get("format").and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok()).unwrap_or(0);
        if format > FORMAT {
            return Err(PlanError::Newer(format));
        }
        let stored: Stored = serde_json::from_value(value).map_err(|error| PlanError::Unreadable(error.to_string()))?;
        if digest(&stored.runbook, &stored.inputs, &stored.facts) != stored.digest {
            return Err(PlanError::Tampered(stored.digest));
        }
        Ok(Self::assemble(stored))
    }

    /// The runbook.
    pub fn runbook(&self) -> &Runbook {
        &self.stored.runbook
    }

    /// The file it came from, as it was named.
    pub fn file(&self) -> &str {
        &self.stored.file
    }

    /// The folder that relative paths in the runbook start from.
    pub fn folder(&self) -> &std::path::Path {
        &self.stored.folder
    }

    /// The same plan for a runbook in this folder. Where a file lies changes nothing of what it means.
    #[must_use]
    pub fn in_folder(mut self, folder: std::path::PathBuf) -> Self {
        self.stored.folder = folder;
        self
    }

    /// The values of all inputs.
    pub fn inputs(&self) -> &IndexMap<String, Value> {
        &self.stored.inputs
    }

    /// The digest of the runbook's meaning and its inputs.
    pub fn digest(&self) -> &Digest {
        &self.stored.digest
    }

    /// The digest of the file's bytes.
    pub fn source_digest(&self) -> &Digest {
        &self.stored.source
    }

    /// How many steps there are, the final ones included.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Is there no step at all?
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The id of the step at a place.
    pub fn id(&self, place: usize) -> &StepId {
        &self.ids[place]
    }

    /// The step at a place.
    pub fn step(&self, place: usize) -> &Step {
        let ordinary = self.stored.runbook.steps.len();
        let found = match place.checked_sub(ordinary) {
            None => self.stored.runbook.steps.get_index(place),
            Some(place) => self.stored.runbook.finally.get_index(place),
        };
        found.expect("places come from this plan").1
    }

    /// The place of a step.
    pub fn place(&self, id: &StepId) -> Option<usize> {
        self.places.get(id).copied()
    }

    /// Does the step at this place belong to `finally`?
    pub fn is_final(&self, place: usize) -> bool {
        place >= self.stored.runbook.steps.len()
    }

    /// What the action of the step at this place is.
    pub fn facts(&self, place: usize) -> &Facts {
        self.stored.facts.get(&self.ids[place]).expect("every step has facts")
    }

    /// The places of the steps that need the step at `place`, in the order of the file.
    pub fn dependents(&self, place: usize) -> Vec<usize> {
        let mut found: Vec<usize> =
            self.graph.neighbors_directed(NodeIndex::new(place), Direction::Outgoing).map(NodeIndex::index).collect();
        found.sort_unstable();
        found
    }

    /// Topological waves: the steps of a wave need only steps of earlier ones. Final steps stand in waves of their own.
    pub fn waves(&self) -> Vec<Vec<usize>> {
        let mut level = vec![0_usize; self.len()];
        let order = petgraph::algo::toposort(&self.graph, None).expect("cycles were refused when the plan was checked");
        let mut last_ordinary = 0;
        for pass in [false, true] {
            for node in order.iter().map(|node| node.index()).filter(|place| self.is_final(*place) == pass) {
                let base = if pass { last_ordinary + 1 } else { 0 };
                level[node] = self
                    .graph
                    .neighbors_directed(NodeIndex::new(node), Direction::Incoming)
                    .map(|before| level[before.index()] + 1)
                    .chain([base])
                    .max()
                    .unwrap_or(base);
            }
            last_ordinary = level.iter().copied().max().unwrap_or(0);
        }
        let mut waves = vec![Vec::new(); level.iter().copied().max().map_or(0, |deepest| deepest + 1)];
        for (place, level) in level.into_iter().enumerate() {
            waves[level].push(place);
        }
        waves.retain(|wave| !wave.is_empty());
        waves
    }
}
