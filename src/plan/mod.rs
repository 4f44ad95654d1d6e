//! What will happen: a runbook, the actions it uses and its inputs, as a graph that can be drawn, stored and run.

mod blast;
mod check;
pub mod diff;
mod draw;
mod intent;
mod locks;
pub mod policy;
mod readable;
mod reference;
mod schema;
mod suppose;
mod times;

pub use blast::{BlastRadius, TargetWrites, VendorWrites, WriteTarget};
pub use check::check;
pub use draw::{dot, mermaid, svg, svg_within};
pub use intent::{
    Arm, Fate, Foresight, Gated, PREVIEW_FORMAT, PlannedCall, PlannedGate, PlannedItem, PlannedLock, PlannedLoop,
    PlannedMeasure, PlannedResult, PlannedRollback, PlannedStep, Preview, Purpose, Use, Uses, Verdict, input_values,
    preview, preview_with, show_secrets, stands_before_the_run, steps_read, uses,
};
pub use locks::{LockName, lock_names};
pub use readable::{Readable, readable};
pub use reference::{Entry, Reference, Topic};
pub use schema::{preview_schema, schema};
pub use suppose::{SupposeProblem, Supposed};
pub use times::{Past, Takes};

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use indexmap::IndexMap;
use petgraph::Direction;
use petgraph::graph::{DiGraph, NodeIndex};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::action::{Contract, Effect, Load, Registry, Replay};
use crate::base::{Diagnostic, Digest, HumanDuration, RunbookName, SecretSource, StepId};
use crate::runbook::{
    Does, Given, Input, Level, Loaded, Lock, Need, OnFailure, Runbook, Step, Templated, Undo, call_key, resolve_inputs,
};

pub use crate::runbook::InputProblem;

/// The version of the stored form. It grows; a newer major version is refused.
pub const FORMAT: u32 = 2;

/// What a step's action is, kept with the plan so that a later binary resumes the run by the same rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Facts {
    /// Does it change the world?
    pub effect: Effect,
    /// What to do when the end of a try was not seen.
    pub replay: Replay,
    /// Which limit it counts against; `None` for steps that run nothing themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<Load>,
    /// What to do with an undo whose end nobody saw; `None` when the step has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<Replay>,
}

/// What is stored of a plan.
#[derive(Serialize, Deserialize)]
struct Stored<'s> {
    format: u32,
    file: Cow<'s, str>,
    #[serde(default)]
    folder: Cow<'s, Path>,
    source: Cow<'s, Digest>,
    digest: Cow<'s, Digest>,
    runbook: Cow<'s, Runbook>,
    inputs: Cow<'s, IndexMap<String, Value>>,
    facts: Cow<'s, BTreeMap<StepId, Facts>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    called: BTreeMap<String, StoredPart<'s>>,
}

/// What is stored of a runbook that it calls.
#[derive(Serialize, Deserialize)]
struct StoredPart<'s> {
    file: Cow<'s, str>,
    source: Cow<'s, Digest>,
    runbook: Cow<'s, Runbook>,
    facts: Cow<'s, BTreeMap<StepId, Facts>>,
}

/// A runbook with its order worked out: what is the same for every call of it.
#[derive(Debug)]
struct Shape {
    key: String,
    file: String,
    source: Digest,
    runbook: Arc<Runbook>,
    facts: BTreeMap<StepId, Facts>,
    /// The same by place: they are asked for at every turn of a run.
    facts_in_place: Vec<Facts>,
    graph: DiGraph<(), Need>,
    ids: Vec<StepId>,
    places: IndexMap<StepId, usize>,
}

/// A plan, ready to run.
#[derive(Debug, Clone)]
pub struct Plan {
    format: u32,
    /// Where the runbook of the whole plan lies.
    folder: PathBuf,
    inputs: IndexMap<String, Value>,
    digest: Digest,
    shape: Arc<Shape>,
    called: Arc<BTreeMap<String, Arc<Shape>>>,
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
    let shape_of = |key: &str, part: &Loaded| {
        let facts = part.runbook.steps.iter().chain(&part.runbook.finally);
        let facts = facts.map(|(id, step)| (id.clone(), facts_of(step, key, loaded, registry))).collect();
        let source = Digest::of(part.source.text.as_bytes());
        Arc::new(Shape::new(key.to_owned(), part.source.name.clone(), source, Arc::clone(&part.runbook), facts))
    };
    let called: BTreeMap<_, _> = loaded.called.iter().map(|(key, part)| (key.clone(), shape_of(key, part))).collect();
    let shape = shape_of("", loaded);
    let digest = digest(FORMAT, &shape, &called, &inputs);
    Ok(Plan { format: FORMAT, folder: PathBuf::new(), inputs, digest, shape, called: Arc::new(called) })
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
    #[serde(skip_serializing_if = "Option::is_none")]
    values: Option<BTreeMap<&'m String, &'m Value>>,
    facts: &'m BTreeMap<StepId, Facts>,
    // What format 1 had no words for is left out where there is nothing to say, so that old digests still match.
    #[serde(skip_serializing_if = "<[Lock]>::is_empty")]
    locks: &'m [Lock],
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<HumanDuration>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    outputs: BTreeMap<&'m String, &'m Given>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    called: BTreeMap<&'m String, Meaning<'m>>,
}

impl<'m> Meaning<'m> {
    fn of(format: u32, shape: &'m Shape) -> Self {
        // Taken apart by name, so that a new field cannot be forgotten here.
        let Runbook {
            name,
            title,
            summary,
            severity,
            outage_of,
            inputs,
            secrets,
            locks,
            timeout,
            steps,
            on_failure,
            finally,
            outputs,
        } = shape.runbook.as_ref();
        Self {
            format,
            name,
            title,
            summary,
            severity,
            outage_of,
            inputs: inputs.iter().collect(),
            secrets,
            steps: steps.iter().collect(),
            on_failure: *on_failure,
            finally: finally.iter().collect(),
            values: None,
            facts: &shape.facts,
            locks,
            timeout: *timeout,
            outputs: outputs.iter().collect(),
            called: BTreeMap::new(),
        }
    }
}

fn digest(
    format: u32,
    shape: &Shape,
    called: &BTreeMap<String, Arc<Shape>>,
    inputs: &IndexMap<String, Value>,
) -> Digest {
    let mut meaning = Meaning::of(format, shape);
    meaning.values = Some(inputs.iter().collect());
    meaning.called = called.iter().map(|(key, shape)| (key, Meaning::of(format, shape))).collect();
    Digest::of_serialized(&meaning)
}

/// What the action of a step of the runbook `key` is. A call writes when anything that it calls does.
fn facts_of(step: &Step, key: &str, loaded: &Loaded, registry: &Registry) -> Facts {
    if let Does::Call(call) = &step.does {
        let effect = if writes(&call_key(key, &call.file), loaded, registry, &mut BTreeSet::new()) {
            Effect::Write
        } else {
            Effect::Read
        };
        return Facts { effect, replay: Replay::Safe, load: None, undo: None };
    }
    let undo = match &step.undo {
        // An action's own inverse starts from what is there now, so it can be repeated.
        Some(Undo::Auto) => Some(Replay::Safe),
        Some(Undo::Action { uses, .. }) => registry.get(uses).map(|action| action.contract().replay),
        None => None,
    };
    let contract = action_name(step).and_then(|name| registry.get(name)).map(|action| action.contract());
    match contract {
        Some(contract) => {
            let (effect, replay) =
                if step.only_reads { (Effect::Read, Replay::Safe) } else { (contract.effect, contract.replay) };
            Facts { effect, replay, load: Some(contract.load), undo }
        }
        None => Facts { effect: Effect::Read, replay: Replay::Safe, load: None, undo },
    }
}

fn writes(key: &str, loaded: &Loaded, registry: &Registry, seen: &mut BTreeSet<String>) -> bool {
    let Some(part) = loaded.called.get(key).filter(|_| seen.insert(key.to_owned())) else { return false };
    part.runbook.steps.values().chain(part.runbook.finally.values()).any(|step| match &step.does {
        Does::Call(call) => writes(&call_key(key, &call.file), loaded, registry, seen),
        _ => facts_of(step, key, loaded, registry).effect == Effect::Write,
    })
}

/// The name of a runbook's secret among those of a whole plan.
fn own_secret(key: &str, name: &str) -> String {
    if key.is_empty() { name.to_owned() } else { format!("{key}#{name}") }
}

/// Where the runbook of this key lies.
fn folder_of(folder: &Path, key: &str) -> PathBuf {
    match Path::new(key).parent() {
        Some(below) if !below.as_os_str().is_empty() => folder.join(below),
        _ => folder.to_owned(),
    }
}

/// The action a step runs.
pub fn action_name(step: &Step) -> Option<&str> {
    match &step.does {
        Does::Action { uses, .. } => Some(uses),
        Does::Call(_) | Does::Decide(_) | Does::Manual(_) | Does::Gate => None,
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
pub(crate) fn templates(step: &Step) -> Vec<(Vec<String>, &crate::runbook::Template)> {
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
        Does::Call(call) => collect(&["with"], &call.with, &mut found),
        Does::Gate => {}
    }
    if let Some(Undo::Action { with, verify, .. }) = &step.undo {
        collect(&["undo", "with"], with, &mut found);
        if let Some(verify) = verify {
            collect(&["undo", "verify", "with"], &verify.with, &mut found);
        }
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
pub(crate) fn expressions(step: &Step) -> Vec<(Vec<String>, &crate::runbook::Expression)> {
    let mut found = Vec::new();
    if let Some(condition) = &step.condition {
        found.push((path(&["if"]), condition));
    }
    if let Some(until) = &step.until {
        found.push((path(&["until", "if"]), &until.condition));
    }
    if let Some(each) = &step.for_each {
        found.push((path(&["for_each", "in"]), &each.items));
        found.extend(each.key.iter().map(|key| (path(&["for_each", "key"]), key)));
    }
    if let Some(Undo::Action { verify: Some(verify), .. }) = &step.undo
        && let Some(condition) = &verify.condition
    {
        found.push((path(&["undo", "verify", "if"]), condition));
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

impl Shape {
    fn new(key: String, file: String, source: Digest, runbook: Arc<Runbook>, facts: BTreeMap<StepId, Facts>) -> Self {
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
        // A stored plan that lacks some was changed by somebody; its digest tells. The most careful ones do until then.
        let careful = Facts { effect: Effect::Write, replay: Replay::Once, load: None, undo: None };
        let facts_in_place = ids.iter().map(|id| facts.get(id).unwrap_or(&careful).clone()).collect();
        Self { key, file, source, runbook, facts, facts_in_place, graph, ids, places }
    }

    /// Which secret of the whole plan each name in this runbook stands for when it is called: what the caller gives under
    /// that name, else its own. `names` says the same of the caller.
    fn secrets_given(
        &self,
        given: &BTreeMap<String, String>,
        names: &BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        let stands_for = |name: &String| {
            let given = given.get(name).and_then(|ours| names.get(ours)).cloned();
            (name.clone(), given.unwrap_or_else(|| own_secret(&self.key, name)))
        };
        self.runbook.secrets.keys().map(stands_for).collect()
    }

    fn stored(&self) -> StoredPart<'_> {
        StoredPart {
            file: Cow::Borrowed(&self.file),
            source: Cow::Borrowed(&self.source),
            runbook: Cow::Borrowed(self.runbook.as_ref()),
            facts: Cow::Borrowed(&self.facts),
        }
    }

    fn read(key: String, part: StoredPart<'_>) -> Arc<Self> {
        let StoredPart { file, source, runbook, facts } = part;
        let (file, source) = (file.into_owned(), source.into_owned());
        Arc::new(Self::new(key, file, source, Arc::new(runbook.into_owned()), facts.into_owned()))
    }
}

impl Plan {
    /// The plan as it is stored with a run.
    pub fn to_json(&self) -> String {
        let stored = Stored {
            format: self.format,
            folder: Cow::Borrowed(&self.folder),
            digest: Cow::Borrowed(&self.digest),
            inputs: Cow::Borrowed(&self.inputs),
            file: Cow::Borrowed(&self.shape.file),
            source: Cow::Borrowed(&self.shape.source),
            runbook: Cow::Borrowed(self.shape.runbook.as_ref()),
            facts: Cow::Borrowed(&self.shape.facts),
            called: self.called.iter().map(|(key, shape)| (key.clone(), shape.stored())).collect(),
        };
        serde_json::to_string(&stored).expect("a plan is made of maps with text keys")
    }

    /// Reads a stored plan and holds it against its digest.
    pub fn from_json(text: &str) -> Result<Self, PlanError> {
        #[derive(Deserialize)]
        struct Version {
            #[serde(default)]
            format: u32,
        }
        let unreadable = |error: serde_json::Error| PlanError::Unreadable(error.to_string());
        let Version { format } = serde_json::from_str(text).map_err(unreadable)?;
        if format > FORMAT {
            return Err(PlanError::Newer(format));
        }
        let stored: Stored<'_> = serde_json::from_str(text).map_err(unreadable)?;
        let called: BTreeMap<String, Arc<Shape>> =
            stored.called.into_iter().map(|(key, part)| (key.clone(), Shape::read(key, part))).collect();
        let own = StoredPart { file: stored.file, source: stored.source, runbook: stored.runbook, facts: stored.facts };
        let shape = Shape::read(String::new(), own);
        let inputs = stored.inputs.into_owned();
        if digest(format, &shape, &called, &inputs) != *stored.digest {
            return Err(PlanError::Tampered(stored.digest.into_owned()));
        }
        let (folder, digest) = (stored.folder.into_owned(), stored.digest.into_owned());
        Ok(Self { format, folder, inputs, digest, shape, called: Arc::new(called) })
    }

    /// The runbook.
    pub fn runbook(&self) -> &Runbook {
        &self.shape.runbook
    }

    /// The file it came from, as it was named.
    pub fn file(&self) -> &str {
        &self.shape.file
    }

    /// The folder that relative paths in the runbook start from.
    pub fn folder(&self) -> PathBuf {
        folder_of(&self.folder, &self.shape.key)
    }

    /// The same plan for a runbook in this folder. Where a file lies changes nothing of what it means.
    #[must_use]
    pub fn in_folder(mut self, folder: PathBuf) -> Self {
        self.folder = folder;
        self
    }

    /// The same plan with other inputs. The runbook is not looked at again.
    pub fn with_inputs(&self, given: &BTreeMap<String, Value>) -> Result<Self, Vec<InputProblem>> {
        let inputs = resolve_inputs(&self.shape.runbook.inputs, given)?;
        let digest = digest(self.format, &self.shape, &self.called, &inputs);
        Ok(Self { inputs, digest, ..self.clone() })
    }

    /// The values of all inputs.
    pub fn inputs(&self) -> &IndexMap<String, Value> {
        &self.inputs
    }

    /// The digest of the runbook's meaning and its inputs.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The digest of the file's bytes.
    pub fn source_digest(&self) -> &Digest {
        &self.shape.source
    }

    /// The digest of the bytes of the first file of a name: this runbook, or one that it calls.
    pub fn source_digest_of(&self, name: &str) -> Option<&Digest> {
        let mut shapes = std::iter::once(&self.shape).chain(self.called.values());
        shapes.find(|shape| shape.runbook.name.as_str() == name).map(|shape| &shape.source)
    }

    /// The plan of the runbook that the step at a place calls, with these inputs. `None` when it calls none.
    pub fn called(&self, place: usize, given: &BTreeMap<String, Value>) -> Option<Result<Self, Vec<InputProblem>>> {
        let shape = self.called_shape(place)?;
        Some(resolve_inputs(&shape.runbook.inputs, given).map(|inputs| {
            // The plan that calls has the meaning of every called runbook in its own digest.
            #[derive(Serialize)]
            struct Called<'c> {
                by: &'c Digest,
                key: &'c str,
                values: BTreeMap<&'c String, &'c Value>,
            }
            let meaning = Called { by: &self.digest, key: &shape.key, values: inputs.iter().collect() };
            let digest = Digest::of_serialized(&meaning);
            let (format, folder) = (self.format, self.folder.clone());
            Self { format, folder, inputs, digest, shape, called: Arc::clone(&self.called) }
        }))
    }

    /// The same with inputs that nobody has looked at: to look ahead, and for nothing else.
    fn called_ahead(&self, place: usize, inputs: IndexMap<String, Value>) -> Option<Self> {
        let shape = self.called_shape(place)?;
        Some(Self { inputs, shape, ..self.clone() })
    }

    fn called_shape(&self, place: usize) -> Option<Arc<Shape>> {
        let Does::Call(call) = &self.step(place).does else { return None };
        self.called.get(&call_key(&self.shape.key, &call.file)).cloned()
    }

    /// The runbook that the step at a place calls.
    pub fn called_runbook(&self, place: usize) -> Option<&Runbook> {
        let Does::Call(call) = &self.step(place).does else { return None };
        self.called.get(&call_key(&self.shape.key, &call.file)).map(|shape| shape.runbook.as_ref())
    }

    /// Which secret of the whole plan each name in this runbook stands for when it is called: what the caller gives under
    /// that name, else its own. `names` says the same of the caller.
    pub fn secrets_given(
        &self,
        given: &BTreeMap<String, String>,
        names: &BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        self.shape.secrets_given(given, names)
    }

    /// Every secret that the whole plan needs, by its name in the plan: where it comes from, and the folder that a
    /// relative path starts from. A called runbook's secret that is given by its caller is not needed from elsewhere.
    pub fn secrets(&self) -> BTreeMap<String, (SecretSource, PathBuf)> {
        let mut found = BTreeMap::new();
        let names = self.secrets_given(&BTreeMap::new(), &BTreeMap::new());
        self.collect_secrets(&self.shape, &names, &mut BTreeSet::new(), &mut found);
        found
    }

    fn collect_secrets(
        &self,
        shape: &Shape,
        names: &BTreeMap<String, String>,
        seen: &mut BTreeSet<(String, BTreeMap<String, String>)>,
        found: &mut BTreeMap<String, (SecretSource, PathBuf)>,
    ) {
        if !seen.insert((shape.key.clone(), names.clone())) {
            return;
        }
        for (name, source) in &shape.runbook.secrets {
            let own = own_secret(&shape.key, name);
            if names.get(name) == Some(&own) {
                found.insert(own, (source.clone(), folder_of(&self.folder, &shape.key)));
            }
        }
        for step in shape.runbook.steps.values().chain(shape.runbook.finally.values()) {
            let Does::Call(call) = &step.does else { continue };
            let Some(called) = self.called.get(&call_key(&shape.key, &call.file)) else { continue };
            self.collect_secrets(called, &called.secrets_given(&call.secrets, names), seen, found);
        }
    }

    /// Every runbook of the plan, its own first, each with its key.
    pub fn runbooks(&self) -> impl Iterator<Item = (&str, &Runbook)> {
        std::iter::once(&self.shape)
            .chain(self.called.values())
            .map(|shape| (shape.key.as_str(), shape.runbook.as_ref()))
    }

    /// How many steps there are, the final ones included.
    pub fn len(&self) -> usize {
        self.shape.ids.len()
    }

    /// Is there no step at all?
    pub fn is_empty(&self) -> bool {
        self.shape.ids.is_empty()
    }

    /// The id of the step at a place.
    pub fn id(&self, place: usize) -> &StepId {
        &self.shape.ids[place]
    }

    /// The step at a place.
    pub fn step(&self, place: usize) -> &Step {
        let ordinary = self.shape.runbook.steps.len();
        let found = match place.checked_sub(ordinary) {
            None => self.shape.runbook.steps.get_index(place),
            Some(place) => self.shape.runbook.finally.get_index(place),
        };
        found.expect("places come from this plan").1
    }

    /// The place of a step.
    pub fn place(&self, id: &StepId) -> Option<usize> {
        self.shape.places.get(id).copied()
    }

    /// Does the step at this place belong to `finally`?
    pub fn is_final(&self, place: usize) -> bool {
        place >= self.shape.runbook.steps.len()
    }

    /// What the action of the step at this place is.
    pub fn facts(&self, place: usize) -> &Facts {
        &self.shape.facts_in_place[place]
    }

    /// The places of the steps that need the step at `place`, in the order of the file.
    pub fn dependents(&self, place: usize) -> Vec<usize> {
        let mut found: Vec<usize> = self
            .shape
            .graph
            .neighbors_directed(NodeIndex::new(place), Direction::Outgoing)
            .map(NodeIndex::index)
            .collect();
        found.sort_unstable();
        found
    }

    /// Topological waves: the steps of a wave need only steps of earlier ones. Final steps stand in waves of their own.
    pub fn waves(&self) -> Vec<Vec<usize>> {
        let mut level = vec![0_usize; self.len()];
        let order =
            petgraph::algo::toposort(&self.shape.graph, None).expect("cycles were refused when the plan was checked");
        let mut last_ordinary = 0;
        for pass in [false, true] {
            for node in order.iter().map(|node| node.index()).filter(|place| self.is_final(*place) == pass) {
                let base = if pass { last_ordinary + 1 } else { 0 };
                level[node] = self
                    .shape
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
