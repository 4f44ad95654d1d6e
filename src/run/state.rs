//! The state of a run: what is known of every step, and what is ready, open or due because of it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

use super::event::{Cause, Decision, Held, Item, Limits, Outcome, Timer};
use super::kept::Kept;
use super::rollback::Rollback;
pub(super) use super::tree::{Frame, Inside, Loop, Node};
pub(super) use super::wakes::{Wait, Wake, Wakes};
use crate::action::{ActionError, Intent, Load, Undone};
use crate::base::{Attempt, Digest, Late, RunId, StepPath, Timestamp};
use crate::plan::{Facts, Plan};
use crate::runbook::{OnFailure, Step, StepResult};
use indexmap::IndexMap;

/// Where a step stands.
#[derive(Debug, Clone, PartialEq)]
pub enum StepState {
    /// Something it needs has not ended yet.
    Waiting,
    /// It may begin.
    Ready,
    /// People are asked whether it may act.
    AtGate(Box<Gate>),
    /// They said yes to what has this digest; it may act.
    Approved(Digest),
    /// A person is doing it.
    Asked,
    /// A try is under way.
    Running,
    /// Its items, or the steps of the runbook it calls, are under way.
    Within,
    /// The next try waits for its time.
    Pausing,
    /// A try was stopped with the run.
    Interrupted,
    /// A try was under way when its process died, or no answer came: nobody knows whether it happened.
    InDoubt,
    /// It is over.
    Ended(StepResult),
}

/// A question to people.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    /// The digest of what was shown.
    pub digest: Digest,
    /// The question.
    pub prompt: String,
    /// What it would do, for people.
    pub does: Vec<Intent>,
    /// When it lapses.
    pub expires: Option<Timestamp>,
    /// Who has said yes so far.
    pub approvals: Vec<Decision>,
}

/// Where the undo of a step stands.
#[derive(Debug, Clone, PartialEq)]
pub enum UndoState {
    /// Under way.
    Running,
    /// The next try waits for its time.
    Pausing,
    /// Under way when its process died.
    InDoubt,
    /// Done.
    Undone(Box<Undone>),
    /// Not possible.
    Failed(Box<ActionError>),
}

/// What is known of a step.
#[derive(Debug, Clone, PartialEq)]
pub struct StepRecord {
    /// Where it stands.
    pub state: StepState,
    /// How many tries began.
    pub attempts: u32,
    /// When it first began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// What it was given, secrets as references.
    pub params: Option<Kept>,
    /// What it gave.
    pub outputs: Option<Kept>,
    /// Why it failed, or failed last.
    pub error: Option<Box<ActionError>>,
    /// Why it was skipped.
    pub cause: Option<Box<Cause>>,
    /// What its action saved last.
    pub checkpoint: Option<Kept>,
    /// Whoever let it pass, or did not.
    pub decisions: Vec<Decision>,
    /// May an earlier try have done all or part of it?
    pub repeat: bool,
    /// Did its `until` hold at the last look?
    pub met: Option<bool>,
    /// Where its undo stands.
    pub undo: Option<UndoState>,
    /// How many tries of its undo began.
    pub undo_attempts: u32,
    /// What its undo saved last.
    pub undo_checkpoint: Option<Kept>,
    /// Parameters of its undo, where another action does it.
    pub undo_params: Option<Kept>,
    /// Did a person force it to run?
    pub forced: bool,
    /// Is its time up?
    pub out_of_time: bool,
    /// Was a person asked what became of it?
    pub doubt_asked: bool,
    /// Did a try of it do something, whatever came after?
    pub(super) landed: bool,
    /// Is it to be done again to be certain that it is done, even where nothing new begins?
    pub(super) settling: bool,
    /// Was its measure ended by hand?
    pub(super) closed_by_hand: bool,
    /// Until when its measure may be in force, where somebody made that longer.
    pub(super) extended: Option<Timestamp>,
    /// What is inside it.
    pub(super) inside: Option<Box<Inside>>,
}

impl StepRecord {
    pub(super) fn new() -> Self {
        Self {
            state: StepState::Waiting,
            attempts: 0,
            started_at: None,
            finished_at: None,
            params: None,
            outputs: None,
            error: None,
            cause: None,
            checkpoint: None,
            decisions: Vec::new(),
            repeat: false,
            met: None,
            undo: None,
            undo_attempts: 0,
            undo_checkpoint: None,
            undo_params: None,
            forced: false,
            out_of_time: false,
            doubt_asked: false,
            landed: false,
            settling: false,
            closed_by_hand: false,
            extended: None,
            inside: None,
        }
    }

    /// How it ended, if it has.
    pub fn result(&self) -> Option<StepResult> {
        match self.state {
            StepState::Ended(result) => Some(result),
            _ => None,
        }
    }

    /// Is there something to reverse: was it done, or did it fail on the way after it had done or saved something?
    pub(super) fn acted(&self) -> bool {
        match self.result() {
            Some(StepResult::Succeeded) => true,
            Some(StepResult::Failed) => self.checkpoint.is_some() || self.landed,
            _ => false,
        }
    }

    /// Did it act, and is that not undone?
    pub fn stands(&self) -> bool {
        self.result() == Some(StepResult::Succeeded) && !matches!(self.undo, Some(UndoState::Undone(_)))
    }

    /// Has it begun to act, and not ended?
    pub(super) fn is_under_way(&self) -> bool {
        matches!(self.state, StepState::Running | StepState::Within | StepState::InDoubt | StepState::Interrupted)
    }
}

/// An emergency measure that is in force.
#[derive(Debug, Clone, PartialEq)]
pub struct InForce {
    /// The step that put it in force.
    pub step: StepPath,
    /// Since when.
    pub since: Timestamp,
}

/// Something a run changed and did not put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftStanding {
    /// The step that did it.
    pub step: StepPath,
    /// What stands.
    pub what: String,
}

/// The state of a run.
#[derive(Debug, Clone)]
pub struct RunState {
    pub(super) frames: Vec<Frame>,
    pub(super) nodes: Vec<Node>,
    pub(super) records: Vec<StepRecord>,
    places: IndexMap<StepPath, usize>,
    /// How many of a step's needs are not met yet.
    pub(super) unmet: Vec<u32>,
    /// Steps that may begin, by what they load.
    pub(super) ready: [BTreeSet<usize>; 3],
    /// How many tries and undos are under way, by what they load.
    pub(super) running: [usize; 3],
    pub(super) trying: BTreeSet<usize>,
    /// Tries that must be stopped because their time is up.
    pub(super) to_stop: BTreeSet<usize>,
    /// Steps whose needs can no longer be met.
    pub(super) doomed: BTreeMap<usize, Cause>,
    pub(super) wakes: Wakes,
    /// Steps that wait for a person.
    pub(super) open: BTreeSet<usize>,
    pub(super) in_doubt: BTreeSet<usize>,
    /// Frames in which nothing new begins.
    pub(super) halted: BTreeMap<usize, Cause>,
    /// Frames of which all steps that had begun to count have ended.
    pub(super) quiet: BTreeSet<usize>,
    /// Loops of which nothing is under way and nothing more begins.
    pub(super) returning: BTreeSet<usize>,
    /// Steps with an emergency measure.
    pub(super) measures: Vec<usize>,
    /// Measures that have expired and are to be undone.
    pub(super) expired: BTreeSet<usize>,
    pub(super) rollback: Option<Rollback>,
    pub(super) undoing: BTreeSet<usize>,
    pub(super) undo_failed: bool,
    /// Is the time of the whole run up?
    pub(super) out_of_time: bool,
    pub(super) started: Option<Started>,
    pub(super) cancelled: Option<String>,
    pub(super) outcome: Option<Outcome>,
    /// Set while a run that was over is being undone: how it had ended.
    pub(super) reopened: Option<Reopened>,
    pub(super) now: Timestamp,
}

/// A run that was over and is being undone.
#[derive(Debug, Clone)]
pub(super) struct Reopened {
    pub before: Outcome,
    pub only: Vec<usize>,
    pub is_over: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Started {
    pub run: RunId,
    pub by: String,
    pub drill: Option<String>,
    pub limits: Limits,
    pub at: Timestamp,
}

/// Which queue a step waits in: steps that run nothing themselves, the network, processes.
pub(super) fn queue(load: Option<Load>) -> usize {
    match load {
        None => 0,
        Some(Load::Io) => 1,
        Some(Load::Process) => 2,
    }
}

impl RunState {
    /// The state before anything has happened.
    pub fn new(plan: Arc<Plan>) -> Self {
        let count = plan.len();
        let mut state = Self {
            frames: Vec::new(),
            nodes: Vec::with_capacity(count),
            records: Vec::with_capacity(count),
            places: IndexMap::with_capacity(count),
            unmet: Vec::with_capacity(count),
            ready: Default::default(),
            running: [0; 3],
            trying: BTreeSet::new(),
            to_stop: BTreeSet::new(),
            doomed: BTreeMap::new(),
            wakes: Wakes::default(),
            open: BTreeSet::new(),
            in_doubt: BTreeSet::new(),
            halted: BTreeMap::new(),
            quiet: BTreeSet::new(),
            returning: BTreeSet::new(),
            measures: Vec::new(),
            expired: BTreeSet::new(),
            rollback: None,
            undoing: BTreeSet::new(),
            undo_failed: false,
            out_of_time: false,
            started: None,
            cancelled: None,
            outcome: None,
            reopened: None,
            now: Timestamp::MIN,
        };
        let secrets = plan.secrets_given(&BTreeMap::new(), &BTreeMap::new());
        state.open_frame(plan, None, Arc::new(secrets));
        state
    }

    /// Makes room for the steps of a runbook.
    pub(super) fn open_frame(
        &mut self,
        plan: Arc<Plan>,
        caller: Option<usize>,
        secrets: Arc<BTreeMap<String, String>>,
    ) -> usize {
        let frame = self.frames.len();
        let first = self.nodes.len();
        let ordinary = plan.runbook().steps.len();
        for place in 0..plan.len() {
            let (path, inherited) = match caller {
                Some(caller) => {
                    let caller = &self.nodes[caller];
                    (caller.path.inside(plan.id(place)), caller.is_final)
                }
                None => (plan.id(place).into(), false),
            };
            let is_final = inherited || (caller.is_none() && plan.is_final(place));
            let needs = u32::try_from(plan.step(place).needs.len()).unwrap_or(u32::MAX);
            if plan.step(place).measure.is_some() {
                self.measures.push(self.nodes.len());
            }
            self.add(Node { path, frame, place, item: None, is_final }, needs);
        }
        let nodes = first..self.nodes.len();
        let unended = (first..first + ordinary).collect();
        self.frames.push(Frame {
            plan,
            caller,
            nodes,
            secrets,
            unended,
            first_failure: None,
            is_undone: false,
            finally: None,
        });
        frame
    }

    /// Adds a step to the run.
    pub(super) fn add(&mut self, node: Node, needs: u32) {
        self.places.insert(node.path.clone(), self.nodes.len());
        self.nodes.push(node);
        self.records.push(StepRecord::new());
        self.unmet.push(needs);
    }

    /// The plan it follows.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.frames[0].plan
    }

    /// The plan of the runbook that a step stands in, and the step's place there.
    pub fn plan_of(&self, path: &StepPath) -> Option<(&Arc<Plan>, usize)> {
        let node = &self.nodes[self.place(path)?];
        Some((&self.frames[node.frame].plan, node.place))
    }

    /// The step as it was written.
    pub fn step(&self, path: &StepPath) -> Option<&Step> {
        self.place(path).map(|node| self.written(node))
    }

    /// What the action of a step is.
    pub fn facts(&self, path: &StepPath) -> Option<&Facts> {
        self.place(path).map(|node| self.facts_at(node))
    }

    /// Which secrets the names in the runbook of a step stand for.
    pub fn secrets_of(&self, path: &StepPath) -> Option<&Arc<BTreeMap<String, String>>> {
        self.place(path).map(|node| &self.frames[self.nodes[node].frame].secrets)
    }

    /// Where a secret of the run comes from, when it comes to be only during the run, and the step that gives it. `name`
    /// is its name in the run: within a call it stands after the step that calls, behind a `/`.
    pub fn late_secret(&self, name: &str) -> Option<(&Late, Option<StepPath>)> {
        let (caller, name) = match name.rsplit_once('/') {
            Some((caller, name)) => (Some(StepPath::parse(caller).ok()?), name),
            None => (None, name),
        };
        let frame = match &caller {
            Some(caller) => match self.record(caller)?.inside.as_deref()? {
                Inside::Call(frame) => *frame,
                Inside::Loop(_) => return None,
            },
            None => 0,
        };
        let late = self.frames[frame].plan.runbook().secrets.get(name)?.late()?;
        let gives = late.step.as_ref().map(|id| match &caller {
            Some(caller) => caller.inside(id),
            None => id.into(),
        });
        Some((late, gives))
    }

    /// The secrets of the run that a step gives when it succeeds.
    pub fn secrets_from(&self, path: &StepPath) -> Vec<String> {
        let Some((plan, _)) = self.plan_of(path) else { return Vec::new() };
        let Some(names) = self.secrets_of(path) else { return Vec::new() };
        let id = path.id();
        let caller = path.as_str().rsplit_once('/').map(|(caller, _)| caller);
        let sources = plan.runbook().secrets.iter();
        let given = sources.filter(|(_, source)| source.late().and_then(|late| late.step.as_ref()) == Some(&id));
        let own =
            given.map(|(name, _)| (name, caller.map_or_else(|| name.clone(), |caller| format!("{caller}/{name}"))));
        // What the caller gives under a name is the caller's to say.
        own.filter(|(name, own)| names.get(*name) == Some(own)).map(|(_, own)| own).collect()
    }

    pub(super) fn place(&self, path: &StepPath) -> Option<usize> {
        self.places.get(path).copied()
    }

    pub(super) fn path(&self, node: usize) -> &StepPath {
        &self.nodes[node].path
    }

    pub(super) fn written(&self, node: usize) -> &Step {
        let node = &self.nodes[node];
        self.frames[node.frame].plan.step(node.place)
    }

    pub(super) fn facts_at(&self, node: usize) -> &Facts {
        let node = &self.nodes[node];
        self.frames[node.frame].plan.facts(node.place)
    }

    /// Which queue a node waits in. A loop runs nothing itself; its items do.
    pub(super) fn queue_of(&self, node: usize) -> usize {
        if self.is_loop(node) { 0 } else { queue(self.facts_at(node).load) }
    }

    /// Is it the step itself of a loop, not one of its items?
    pub(super) fn is_loop(&self, node: usize) -> bool {
        self.nodes[node].item.is_none() && self.written(node).for_each.is_some()
    }

    /// What is known of a step.
    pub fn record(&self, path: &StepPath) -> Option<&StepRecord> {
        self.place(path).map(|node| &self.records[node])
    }

    /// Every step that the run has come to know, with what is known of it: those of the runbook in the order of the
    /// file, then items and called steps as they came.
    pub fn records(&self) -> impl Iterator<Item = (&StepPath, &StepRecord)> {
        self.nodes.iter().zip(&self.records).map(|(node, record)| (&node.path, record))
    }

    /// What is known of the step at a place of the runbook that another step stands in.
    pub fn beside(&self, path: &StepPath, place: usize) -> Option<&StepRecord> {
        let frame = self.nodes[self.place(path)?].frame;
        self.records.get(self.frames[frame].nodes.start + place)
    }

    /// Is it one item of a loop?
    pub fn is_item(&self, path: &StepPath) -> bool {
        self.place(path).is_some_and(|node| self.nodes[node].item.is_some())
    }

    /// Does it belong to the final steps of the run, or stand inside one of them?
    pub fn is_final(&self, path: &StepPath) -> bool {
        self.place(path).is_some_and(|node| self.nodes[node].is_final)
    }

    /// The step of the same runbook with this id, seen from a step.
    pub(super) fn sibling(&self, node: usize, id: &crate::base::StepId) -> Option<usize> {
        let frame = &self.frames[self.nodes[node].frame];
        frame.plan.place(id).map(|place| frame.nodes.start + place)
    }

    /// The item that a step is done for: what it is called, and its value.
    pub fn item(&self, path: &StepPath) -> Option<(&str, &Item)> {
        let node = self.place(path)?;
        let (of, index) = self.nodes[node].item?;
        let name = self.written(node).for_each.as_ref()?.name.as_str();
        match self.records[of].inside.as_deref() {
            Some(Inside::Loop(looped)) => Some((name, looped.items.get(index)?)),
            _ => None,
        }
    }

    /// The items of a loop, each with what is known of it. `None` when the step is no loop, or has not begun.
    pub fn items(&self, path: &StepPath) -> Option<impl Iterator<Item = (&Item, &StepRecord)>> {
        match self.record(path)?.inside.as_deref() {
            Some(Inside::Loop(looped)) => {
                Some(looped.items.iter().zip(looped.nodes.clone().map(|node| &self.records[node])))
            }
            _ => None,
        }
    }

    /// How far a loop is: how many items ended well, badly, were skipped, and how many there are.
    pub fn tally(&self, path: &StepPath) -> Option<[usize; 4]> {
        match self.record(path)?.inside.as_deref() {
            Some(Inside::Loop(looped)) => Some([looped.succeeded, looped.failed, looped.skipped, looped.items.len()]),
            _ => None,
        }
    }

    /// The steps directly inside a step: items, or the steps of a called runbook.
    pub(super) fn inside_of(&self, node: usize) -> Range<usize> {
        match self.records[node].inside.as_deref() {
            Some(Inside::Loop(looped)) => looped.nodes.clone(),
            Some(Inside::Call(frame)) => self.frames[*frame].nodes.clone(),
            None => 0..0,
        }
    }

    /// Calls `see` with every node inside a node, at any depth.
    pub(super) fn each_inside(&self, node: usize, see: &mut dyn FnMut(usize)) {
        for inner in self.inside_of(node) {
            see(inner);
            self.each_inside(inner, see);
        }
    }

    /// The run's id, once it has begun.
    pub fn run(&self) -> Option<&RunId> {
        self.started.as_ref().map(|started| &started.run)
    }

    /// Who started it.
    pub fn started_by(&self) -> Option<&str> {
        self.started.as_ref().map(|started| started.by.as_str())
    }

    /// When it began.
    pub fn started_at(&self) -> Option<Timestamp> {
        self.started.as_ref().map(|started| started.at)
    }

    /// The drill's scenario, when it is one.
    pub fn drill(&self) -> Option<&str> {
        self.started.as_ref().and_then(|started| started.drill.as_deref())
    }

    pub(super) fn limits(&self) -> Limits {
        self.started.as_ref().map_or(Limits { io: 1, processes: 1 }, |started| started.limits)
    }

    /// The time of the last event.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The step whose failure stopped the run.
    pub fn first_failure(&self) -> Option<&StepPath> {
        self.frames[0].first_failure.map(|node| self.path(node))
    }

    /// Is the run to stop?
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.is_some()
    }

    /// How the run ended, if it has.
    pub fn outcome(&self) -> Option<Outcome> {
        self.outcome
    }

    /// Is a run that was over being undone?
    pub fn is_reopened(&self) -> bool {
        self.reopened.is_some()
    }

    /// How the run would end if the final steps succeed, once they have begun.
    pub fn outcome_before_finally(&self) -> Option<Outcome> {
        self.frames[0].finally
    }

    /// How the runbook that a step stands in would end, once its final steps have begun.
    pub fn outcome_around(&self, path: &StepPath) -> Option<Outcome> {
        self.place(path).and_then(|node| self.frames[self.nodes[node].frame].finally)
    }

    /// Does a failure in this frame keep new steps from beginning?
    pub(super) fn stops_at_failure(&self, frame: usize) -> bool {
        self.frames[frame].plan.runbook().on_failure != OnFailure::Continue
    }

    /// Is nothing new begun where this step stands? Final steps run whatever was before.
    pub fn is_halted(&self, path: &StepPath) -> bool {
        self.reopened.is_some() || self.place(path).is_some_and(|node| self.stop_cause(node).is_some())
    }

    /// Is the time of this step, or of something around it, up?
    pub fn is_out_of_time(&self, path: &StepPath) -> bool {
        self.place(path).is_some_and(|node| self.to_stop.contains(&node) || self.records[node].out_of_time)
    }

    /// Does this step wait at its gate?
    pub fn is_at_gate(&self, path: &StepPath) -> bool {
        self.record(path).is_some_and(|record| matches!(record.state, StepState::AtGate(_)))
    }

    /// Steps that wait for a person.
    pub fn waiting_for_people(&self) -> impl Iterator<Item = &StepPath> {
        self.open.iter().map(|node| self.path(*node))
    }

    /// Steps of which nobody knows whether they happened.
    pub fn steps_in_doubt(&self) -> impl Iterator<Item = &StepPath> {
        self.in_doubt.iter().map(|node| self.path(*node))
    }

    /// The number of the next try of a step.
    pub fn next_attempt(&self, path: &StepPath) -> Attempt {
        Attempt(self.record(path).map_or(0, |record| record.attempts) + 1)
    }

    /// The name of a timer.
    pub(super) fn timer(&self, wake: Wake) -> Timer {
        match wake {
            Wake::Run => Timer::Run,
            Wake::Node(node, wait) => {
                let step = self.path(node).clone();
                match wait {
                    Wait::Gate => Timer::Gate { step },
                    Wait::Again => Timer::Again { step },
                    Wait::UndoAgain => Timer::UndoAgain { step },
                    Wait::Deadline => Timer::Deadline { step },
                    Wait::Measure => Timer::Measure { step },
                }
            }
        }
    }

    /// What a timer is about.
    pub(super) fn wake(&self, timer: &Timer) -> Option<Wake> {
        let node = |step: &StepPath, wait| self.place(step).map(|node| Wake::Node(node, wait));
        match timer {
            Timer::Run => Some(Wake::Run),
            Timer::Gate { step } => node(step, Wait::Gate),
            Timer::Again { step } => node(step, Wait::Again),
            Timer::UndoAgain { step } => node(step, Wait::UndoAgain),
            Timer::Deadline { step } => node(step, Wait::Deadline),
            Timer::Measure { step } => node(step, Wait::Measure),
        }
    }

    /// Does the run undo the measure of this step when it expires? What is done at the very end stays.
    pub(super) fn is_measure_undone_by_itself(&self, node: usize) -> bool {
        !self.nodes[node].is_final
            && !self.is_final_in_frame(node)
            && self
                .written(node)
                .measure
                .as_ref()
                .is_some_and(|measure| measure.on_expiry == crate::runbook::OnExpiry::Undo)
    }
}

/// The locks that these events name, the newest number of each.
pub fn locks_held<'e>(events: impl IntoIterator<Item = &'e super::Event>) -> BTreeMap<String, u64> {
    let mut held = BTreeMap::new();
    for event in events {
        let locks: &[Held] = match event {
            super::Event::RunStarted { locks, .. }
            | super::Event::RunResumed { locks, .. }
            | super::Event::CallBegan { locks, .. } => locks,
            _ => &[],
        };
        held.extend(locks.iter().map(|lock| (lock.name.clone(), lock.epoch)));
    }
    held
}
