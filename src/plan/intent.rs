//! The plan as people read it before it runs: what is decided, what each step would do, what could be undone.

mod fate;
mod known;
mod nested;
mod uses;

pub use fate::Fate;
pub use known::input_values;
pub(super) use known::{Known, known_scope, pieces};
pub use nested::{PlannedCall, PlannedItem, PlannedLock, PlannedLoop};
pub use uses::{Gated, Purpose, Use, Uses, stands_before_the_run, uses};

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::{Value, json};

use self::fate::{Outlook, outlooks};
use self::nested::{call_ahead, locks_ahead, loop_ahead};
use super::blast::{BlastRadius, WriteTarget, blast_radius, writes_to};
use super::suppose::Supposed;
use super::times::{self, Past, Takes};
use super::{Facts, Plan, templates, undo_of};
use crate::action::{Effect, Intent, Registry, Replay};
use crate::base::secret;
use crate::base::{HumanDuration, SecretSource, StepId, StepPath};
use crate::runbook::{Approval, Does, Expression, GivingUp, OnExpiry, OnTimeout, Retry, Step, Undo};

/// The version of a plan as data. It grows; fields are added, none changes its meaning.
pub const PREVIEW_FORMAT: u32 = 1;

/// What a plan is looked at with: what is taken as given, and what whoever may read files has read.
#[derive(Debug, Clone, Default)]
pub struct Foresight {
    /// Results taken as given.
    pub supposed: Supposed,
    /// Who belongs to which group.
    pub groups: BTreeMap<String, Vec<String>>,
    /// What past runs took.
    pub past: Past,
}

/// What is known of a condition before the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It holds whatever happens.
    Always,
    /// It never holds.
    Never,
    /// Only the run can tell: both arms are possible.
    Open,
}

/// One arm of a `decide` step.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Arm {
    /// Its condition, as written; `None` for the last resort.
    #[serde(rename = "if", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub condition: Option<Expression>,
    /// What is known of it.
    pub verdict: Verdict,
    /// Is it the one that is chosen?
    pub chosen: bool,
    /// The outputs it gives, as far as they are known.
    pub then: Value,
}

/// A gate: who is asked what, and for how long.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct PlannedGate {
    /// The question, as far as it is known.
    pub prompt: String,
    /// Who may answer, as written: `user:NAME`, `group:NAME`. Nobody named: whoever is at the terminal.
    pub by: Vec<String>,
    /// The people that this means, groups taken apart.
    pub people: Vec<String>,
    /// How many must agree.
    pub at_least: u32,
    /// Is the person who started the run kept from answering?
    pub not_requester: bool,
    /// How long the question stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub within: Option<HumanDuration>,
    /// What happens when nobody answers in time: `reject` or `hold`.
    #[schemars(with = "String")]
    pub on_timeout: OnTimeout,
    /// What else is asked, by name.
    pub asks: Vec<String>,
}

/// An emergency measure that a step puts in force.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct PlannedMeasure {
    /// How long it may be in force.
    pub expires: String,
    /// The step that ends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub closed_by: Option<StepId>,
    /// `undo` where it is undone when that is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub on_expiry: Option<OnExpiry>,
}

/// What is taken as given of a step.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct PlannedResult {
    /// When it was read from the world; missing where it is only supposed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub read_at: Option<String>,
    /// What is given: `outputs`, `result`, `error` and the like. What is not among it is not known.
    pub facts: Value,
    /// What would follow if it were not taken as given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub against: Option<String>,
}

/// One step of the plan.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct PlannedStep {
    /// Its id.
    #[schemars(with = "String")]
    pub id: StepId,
    /// Its title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// Which wave it belongs to, from 1.
    pub wave: usize,
    /// Does it belong to `finally`?
    #[serde(rename = "final")]
    pub is_final: bool,
    /// The action, or `decide`, `manual`, `gate`.
    pub kind: String,
    /// What the action is.
    pub facts: Facts,
    /// What becomes of it, as far as that is known.
    pub fate: Fate,
    /// Why it is left out, or why only the run can tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub because: Option<String>,
    /// What is taken as given of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub given: Option<PlannedResult>,
    /// What happens when a try of it is cut off and nobody saw how it ended.
    pub after_crash: String,
    /// What it needs, and with which result.
    #[schemars(with = "BTreeMap<String, String>")]
    pub needs: IndexMap<StepId, String>,
    /// Its condition, as written.
    #[serde(rename = "if", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub condition: Option<Expression>,
    /// What is known of its condition.
    pub verdict: Verdict,
    /// The arms of a `decide` step.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub arms: Vec<Arm>,
    /// Set when it is done once for each item of a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub for_each: Option<PlannedLoop>,
    /// The runbook it calls, with all that this one would do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calls: Option<PlannedCall>,
    /// Exactly what it would do, for a sample item of a loop; secrets as `‹secret NAME›`, values known only later as `‹…›`.
    pub does: Vec<Intent>,
    /// The question at its gate, who may answer, and how long it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gate: Option<PlannedGate>,
    /// Does nothing of it happen without somebody's yes, at its own gate or at one before it?
    pub behind_gate: bool,
    /// What it changes, where it writes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub writes_to: Vec<WriteTarget>,
    /// How it would be undone; `None` when it would not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undo: Option<String>,
    /// Exactly what the undo would do, where another action does it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub undo_does: Vec<Intent>,
    /// How long that may take, when it is tried again, and how it is seen that it has worked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub undo_limits: Vec<String>,
    /// Set when it puts an emergency measure in force: when that ends, and by which step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub measure: Option<PlannedMeasure>,
    /// When it is tried again, how long it may take, what it waits for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<String>,
    /// How long it took in past runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub takes: Option<Takes>,
    /// How long it may take by the limits of the file, its gate included.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub at_most: Option<HumanDuration>,
    /// May the run go on when it fails?
    pub allow_failure: bool,
}

/// The plan as people read it.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Preview {
    /// The version of this form.
    pub format: u32,
    /// The runbook's name.
    pub runbook: String,
    /// Its title.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// The file.
    pub file: String,
    /// The digest that approvals and drills refer to.
    pub digest: String,
    /// The digest of the file's bytes.
    pub source: String,
    /// The values of the inputs.
    #[schemars(with = "BTreeMap<String, Value>")]
    pub inputs: IndexMap<String, Value>,
    /// Where the secrets come from; never their values.
    pub secrets: BTreeMap<String, SecretSource>,
    /// What only one run at a time may hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub locks: Vec<PlannedLock>,
    /// How long the whole run may take.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<HumanDuration>,
    /// What follows the first failure.
    pub on_failure: Value,
    /// How long past runs took that succeeded. Drills do not count.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub takes: Option<Takes>,
    /// The longest way through the steps by the limits of the file.
    pub at_most: HumanDuration,
    /// How many steps have no limit in the file, and so are not in `at_most`.
    pub without_limit: usize,
    /// What its writes touch.
    pub blast_radius: BlastRadius,
    /// What would be undone, in this order, if everything had run and then a failure came, and what could not be.
    pub rollback: PlannedRollback,
    /// The steps, wave by wave.
    pub steps: Vec<PlannedStep>,
}

/// What could be taken back.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct PlannedRollback {
    /// Steps that would be undone, the last first.
    #[schemars(with = "Vec<String>")]
    pub undone: Vec<StepPath>,
    /// Steps that write and could not be undone: what they do stays.
    #[schemars(with = "Vec<String>")]
    pub stays: Vec<StepPath>,
}

impl PlannedStep {
    /// Does it change something by itself? A call does not: the steps that it calls do.
    pub fn writes(&self) -> bool {
        self.facts.effect == Effect::Write && self.calls.is_none()
    }
}

impl Preview {
    /// Every step, those of called runbooks behind the step that calls them.
    pub fn all_steps(&self) -> Vec<(StepPath, &PlannedStep)> {
        fn walk<'p>(steps: &'p [PlannedStep], above: Option<&StepPath>, found: &mut Vec<(StepPath, &'p PlannedStep)>) {
            for step in steps {
                let path = above.map_or_else(|| StepPath::from(&step.id), |above| above.inside(&step.id));
                found.push((path.clone(), step));
                if let Some(call) = &step.calls {
                    walk(&call.steps, Some(&path), found);
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.steps, None, &mut found);
        found
    }

    /// Steps that change something and could not be undone. What is certainly left out is not among them.
    pub fn not_undoable(&self) -> Vec<StepPath> {
        let stays = |step: &PlannedStep| step.writes() && step.undo.is_none() && step.fate != Fate::Skipped;
        self.all_steps().into_iter().filter(|(_, step)| stays(step)).map(|(path, _)| path).collect()
    }

    fn undone(&self) -> Vec<StepPath> {
        let goes = |step: &PlannedStep| step.undo.is_some() && !step.is_final && step.fate != Fate::Skipped;
        let steps = self.all_steps().into_iter().filter(|(_, step)| goes(step)).map(|(path, _)| path);
        steps.collect::<Vec<_>>().into_iter().rev().collect()
    }
}

/// Looks ahead, without asking anybody anything.
pub fn preview(plan: &Plan, registry: &Registry) -> Preview {
    preview_with(plan, registry, &Foresight::default())
}

/// Looks ahead with what is taken as given and what was read.
pub fn preview_with(plan: &Plan, registry: &Registry, foresight: &Foresight) -> Preview {
    let looking = Looking { registry, foresight };
    let mut known = Known::of(plan, BTreeSet::new(), foresight.supposed.clone());
    let (at_most, without_limit) = times::whole(plan);
    let nothing =
        BlastRadius { writes: 0, undecided: 0, behind_gate: 0, undoable: 0, left_out: 0, vendors: Vec::new() };
    let mut preview = Preview {
        format: PREVIEW_FORMAT,
        runbook: plan.runbook().name.to_string(),
        title: plan.runbook().title.clone(),
        file: plan.file().to_owned(),
        digest: plan.digest().to_string(),
        source: plan.source_digest().to_string(),
        inputs: plan.inputs().clone(),
        secrets: plan.runbook().secrets.clone(),
        locks: locks_ahead(plan, &known),
        timeout: plan.runbook().timeout,
        on_failure: json!(plan.runbook().on_failure),
        takes: Takes::of(&foresight.past.whole),
        at_most: HumanDuration(at_most),
        without_limit,
        blast_radius: nothing,
        rollback: PlannedRollback { undone: Vec::new(), stays: Vec::new() },
        steps: steps_ahead(plan, &looking, &mut known, &Within::default()),
    };
    preview.blast_radius = blast_radius(&preview);
    preview.rollback = PlannedRollback { undone: preview.undone(), stays: preview.not_undoable() };
    preview
}

/// The parameters of the step at a place as a run would have them, secrets as references; nothing where only the run can
/// tell.
pub(super) fn params_known<'p>(plan: &'p Plan, foresight: &Foresight) -> impl Fn(usize) -> Option<Value> + use<'p> {
    let mut known = Known::of(plan, BTreeSet::new(), foresight.supposed.clone());
    outlooks(plan, &mut known);
    move |place| match &plan.step(place).does {
        Does::Action { with, .. } if known.stands_fast(with) => Some(known.ahead(with)),
        _ => None,
    }
}

/// What everything is looked at with.
struct Looking<'l> {
    registry: &'l Registry,
    foresight: &'l Foresight,
}

/// What stands around the steps of a called runbook.
#[derive(Debug, Clone, Default)]
struct Within {
    /// The step that calls.
    caller: Option<StepPath>,
    /// What keeps it from running, or may.
    fate: Option<(Fate, String)>,
    behind_gate: bool,
}

impl Within {
    fn path(&self, id: &StepId) -> StepPath {
        self.caller.as_ref().map_or_else(|| StepPath::from(id), |caller| caller.inside(id))
    }

    /// What stands around the steps of the runbook that this step calls.
    fn inside(&self, id: &StepId, outlook: &Outlook) -> Self {
        let fate = match outlook.fate {
            Fate::Skipped => Some((Fate::Skipped, format!("`{id}` is left out"))),
            Fate::Open => Some((Fate::Open, format!("`{id}` may be left out"))),
            Fate::Supposed => Some((Fate::Open, format!("how `{id}` ends is supposed"))),
            Fate::Runs | Fate::Read => None,
        };
        Self { caller: Some(self.path(id)), fate, behind_gate: outlook.behind_gate }
    }

    /// A step inside of something that is left out is left out.
    fn around(&self, outlook: &mut Outlook) {
        outlook.behind_gate |= self.behind_gate;
        if let Some((fate, because)) = &self.fate
            && matches!((outlook.fate, fate), (Fate::Runs, _) | (Fate::Open, Fate::Skipped))
        {
            outlook.fate = *fate;
            outlook.because = Some(because.clone());
        }
    }
}

fn steps_ahead(plan: &Plan, looking: &Looking<'_>, known: &mut Known, within: &Within) -> Vec<PlannedStep> {
    let mut outlooks: Vec<Option<Outlook>> = outlooks(plan, known)
        .into_iter()
        .map(|mut outlook| {
            within.around(&mut outlook);
            Some(outlook)
        })
        .collect();
    let mut steps = Vec::with_capacity(plan.len());
    for (wave, places) in plan.waves().into_iter().enumerate() {
        for place in places {
            let outlook = outlooks[place].take().expect("every step stands in one wave");
            steps.push(planned(plan, place, wave + 1, looking, known, within, outlook));
        }
    }
    steps
}

fn planned(
    plan: &Plan,
    place: usize,
    wave: usize,
    looking: &Looking<'_>,
    known: &Known,
    within: &Within,
    outlook: Outlook,
) -> PlannedStep {
    let step = plan.step(place);
    let (id, facts) = (plan.id(place), plan.facts(place));
    let registry = looking.registry;
    let (params, does) = intents(step, registry, known);
    let action = super::action_name(step).and_then(|name| registry.get(name)).filter(|_| facts.effect == Effect::Write);
    let past = &looking.foresight.past.steps;
    PlannedStep {
        id: id.clone(),
        title: step.title.clone(),
        wave,
        is_final: plan.is_final(place),
        kind: kind(step),
        facts: facts.clone(),
        fate: outlook.fate,
        given: outlook.given.as_ref().map(|facts| PlannedResult {
            read_at: known.supposed.of(id.as_str()).and_then(|guess| match &guess.origin {
                super::suppose::Origin::Read(at) => Some(at.clone()),
                super::suppose::Origin::Supposed => None,
            }),
            facts: facts.clone(),
            against: outlook.against.clone(),
        }),
        after_crash: after_crash(step, facts.replay).to_owned(),
        needs: step.needs.iter().map(|(id, need)| (id.clone(), need.to_string())).collect(),
        condition: step.condition.clone(),
        verdict: outlook.verdict,
        arms: arms(step, known, &outlook),
        for_each: step.for_each.as_ref().map(|each| loop_ahead(each, known, |known| intents(step, registry, known).1)),
        calls: call_ahead(plan, place, looking, known, &within.inside(id, &outlook)),
        writes_to: action.map(|action| writes_to(action.as_ref(), &params, &does)).unwrap_or_default(),
        does,
        gate: step.approval.as_deref().map(|approval| gate(approval, known, &looking.foresight.groups)),
        behind_gate: outlook.behind_gate,
        undo: undo_of(step, registry).map(|(_, words)| words),
        undo_does: undo_intents(step, registry, known),
        undo_limits: undo_limits(step),
        measure: step.measure.as_ref().map(|measure| PlannedMeasure {
            expires: known.text(&measure.expires),
            closed_by: measure.closed_by.clone(),
            on_expiry: (measure.on_expiry == OnExpiry::Undo).then_some(measure.on_expiry),
        }),
        limits: limits(step),
        // Most plans have no past, and then no path is worth writing out.
        takes: if past.is_empty() { None } else { past.get(within.path(id).as_str()).and_then(|took| Takes::of(took)) },
        at_most: times::bound(plan, place).filter(|bound| !bound.is_zero()).map(HumanDuration),
        allow_failure: step.allow_failure,
        because: outlook.because,
    }
}

fn gate(approval: &Approval, known: &Known, groups: &BTreeMap<String, Vec<String>>) -> PlannedGate {
    let mut people: BTreeSet<String> = BTreeSet::new();
    for who in &approval.by {
        match who.strip_prefix("group:") {
            Some(group) => {
                let members = groups.get(group).into_iter().flatten();
                people.extend(members.map(|member| member.trim_start_matches("user:").to_owned()));
            }
            None => {
                people.insert(who.trim_start_matches("user:").to_owned());
            }
        }
    }
    PlannedGate {
        prompt: known.text(&approval.prompt),
        by: approval.by.clone(),
        people: people.into_iter().collect(),
        at_least: approval.at_least,
        not_requester: approval.not_requester,
        within: approval.within,
        on_timeout: approval.on_timeout,
        asks: approval.ask.keys().cloned().collect(),
    }
}

/// What happens when a try is cut off and nobody saw how it ended, in words.
fn after_crash(step: &Step, replay: Replay) -> &'static str {
    match (&step.does, replay) {
        (Does::Decide(_), _) => "decided again, from the same results",
        (Does::Manual(_) | Does::Gate, _) => "the question stands as before",
        (Does::Call(_), _) => "goes on inside, step by step",
        (Does::Action { .. }, Replay::Safe) => "done again: that is harmless",
        (Does::Action { .. }, Replay::Keyed) => "done again under the same key, so that it counts once",
        (Does::Action { .. }, Replay::Probe) => "looked up first: it is done again only where it did not happen",
        (Does::Action { .. }, Replay::Once) => "a person is asked whether it happened",
    }
}

/// The action's name, or what the step is when it runs none.
fn kind(step: &Step) -> String {
    match &step.does {
        Does::Action { uses, .. } => uses.clone(),
        Does::Decide(_) => "decide".to_owned(),
        Does::Manual(_) => "manual".to_owned(),
        Does::Gate => "gate".to_owned(),
        Does::Call(call) => format!("call {}", call.file),
    }
}

fn limits(step: &Step) -> Vec<String> {
    let mut limits = Vec::new();
    let looped = step.for_each.is_some();
    if let Some(timeout) = step.timeout {
        limits.push(match &step.does {
            Does::Call(_) => format!("the called runbook ends after {timeout}"),
            _ if looped => format!("each try of an item ends after {timeout}"),
            _ => format!("each try ends after {timeout}"),
        });
    }
    if let Some(deadline) = step.deadline {
        let whole = if looped { "the whole loop" } else { "the step, with all its tries," };
        limits.push(format!("{whole} ends after {deadline}"));
    }
    if let Some(retry) = &step.retry {
        limits.push(tries(retry));
    }
    if let Some(until) = &step.until {
        let given_up = match until.on_timeout {
            GivingUp::Fail => "",
            GivingUp::Succeed => ", then it counts as done all the same",
        };
        limits.push(format!("every {} until {} (at most {}{given_up})", until.every, until.condition, until.within));
    }
    limits
}

fn tries(retry: &Retry) -> String {
    let on = if retry.on.is_empty() { "what may pass".to_owned() } else { retry.on.join(", ") };
    format!("up to {} tries on {on}", retry.attempts)
}

fn undo_limits(step: &Step) -> Vec<String> {
    let Some(Undo::Action { timeout, retry, verify, .. }) = &step.undo else { return Vec::new() };
    let mut limits: Vec<String> = timeout.iter().map(|timeout| format!("each try ends after {timeout}")).collect();
    limits.extend(retry.as_deref().map(tries));
    limits.extend(verify.as_ref().map(|verify| {
        let holds = verify.condition.as_ref().map_or_else(String::new, |condition| format!(" shows {condition}"));
        format!("it has worked when `{}`{}", verify.uses, if holds.is_empty() { " succeeds" } else { &holds })
    }));
    limits
}

fn arms(step: &Step, known: &Known, outlook: &Outlook) -> Vec<Arm> {
    let Does::Decide(decide) = &step.does else { return Vec::new() };
    let verdicts = decide.arms.iter().zip(&outlook.arms).enumerate();
    verdicts
        .map(|(index, (arm, verdict))| Arm {
            condition: arm.condition.clone(),
            verdict: *verdict,
            chosen: outlook.chosen == Some(index),
            then: known.ahead(&arm.then),
        })
        .collect()
}

/// The parameters of a step's action, and exactly what it would do with them.
fn intents(step: &Step, registry: &Registry, known: &Known) -> (Value, Vec<Intent>) {
    match &step.does {
        Does::Action { uses, with } => {
            let params = known.ahead(with);
            let does = described(uses, &params, registry);
            (params, does)
        }
        Does::Manual(manual) => (Value::Null, vec![Intent::Note { text: known.text(&manual.text) }]),
        // What a call does is what the called runbook does.
        Does::Call(_) | Does::Decide(_) | Does::Gate => (Value::Null, Vec::new()),
    }
}

fn undo_intents(step: &Step, registry: &Registry, known: &Known) -> Vec<Intent> {
    match &step.undo {
        Some(Undo::Action { uses, with, .. }) => described(uses, &known.ahead(with), registry),
        Some(Undo::Auto) | None => Vec::new(),
    }
}

fn described(uses: &str, params: &Value, registry: &Registry) -> Vec<Intent> {
    let described = registry.get(uses).and_then(|action| action.describe(params));
    let mut intents = described.unwrap_or_else(|| vec![Intent::Note { text: format!("{uses} with {params}") }]);
    intents.iter_mut().for_each(show_secrets);
    intents
}

/// Puts readable names in the place of secret references.
pub fn show_secrets(intent: &mut Intent) {
    match intent {
        Intent::Request { url, body, .. } => {
            *url = secret::shown(url);
            if let Some(body) = body {
                show_in_json(body);
            }
        }
        Intent::Process { argv, script, .. } => {
            argv.iter_mut().chain(script).for_each(|text| *text = secret::shown(text));
        }
        Intent::Note { text } => *text = secret::shown(text),
    }
}

fn show_in_json(value: &mut Value) {
    match value {
        Value::String(text) => *text = secret::shown(text),
        Value::Array(items) => items.iter_mut().for_each(show_in_json),
        Value::Object(map) => map.values_mut().for_each(show_in_json),
        _ => {}
    }
}

/// The steps whose values a step's texts read, besides its own.
pub fn steps_read(step: &Step) -> Vec<StepId> {
    let in_templates = templates(step).into_iter().filter_map(|(_, template)| template.references().ok());
    let in_expressions =
        super::expressions(step).into_iter().filter_map(|(_, expression)| expression.references().ok());
    let mut found: Vec<StepId> = in_templates
        .chain(in_expressions)
        .flatten()
        .filter_map(|reference| StepId::new(reference.root()).ok())
        .collect();
    found.sort();
    found.dedup();
    found
}
