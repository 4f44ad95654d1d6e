//! A second account of a run, kept from its events alone, that objects when an event breaks a rule of the language.
//!
//! It shares no code with `run::state`: what a step's result is, who approved, what is inside what and what is to be
//! undone is worked out here a second time, slowly and from the rules.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use runbook::action::{Effect, ErrorKind, Load, Replay};
use runbook::base::{Digest, StepId, StepPath};
use runbook::plan::{Facts, Plan};
use runbook::run::{
    Answer, AttemptResult, Cause, Doubt, Event, Limits, ManualResult, Next, Outcome, Returned, Timer, UndoResult, Why,
};
use runbook::runbook::{Does, OnExpiry, OnFailure, Step, StepResult, Undo};

/// What the account says of an event: fine, or which rule it breaks.
pub(crate) type Rule = Result<(), String>;

macro_rules! rule {
    ($holds:expr, $($told:tt)*) => {
        if !$holds {
            return Err(format!($($told)*));
        }
    };
}

/// What an event only says of itself, such as how the run ends: no state could refuse it by that.
pub(crate) const SAID: &str = "it is said that ";

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Undoing {
    #[default]
    No,
    Running,
    Pausing,
    InDoubt,
    Done,
    Failed,
}

#[derive(Debug, Clone, Default)]
struct Page {
    result: Option<StepResult>,
    tries: u32,
    /// Has it begun to act: a try, a question to a person, its items, its runbook?
    begun: bool,
    running: bool,
    in_doubt: bool,
    /// Stopped with the run: in doubt as soon as the run is taken up.
    interrupted: bool,
    pausing: bool,
    /// Is it done again only to be certain that it is done?
    settles: bool,
    within: bool,
    asked: bool,
    forced: bool,
    time_up: bool,
    saved: bool,
    landed: bool,
    gate: Option<(Digest, BTreeSet<String>)>,
    approved: bool,
    undo: Undoing,
    undo_tries: u32,
    overdue: bool,
    closed: bool,
    /// Was it left out only because something around it stopped?
    cut: bool,
}

#[derive(Debug, Clone)]
struct Frame {
    plan: Arc<Plan>,
    failure: Option<StepPath>,
    undone: bool,
    finally: Option<Outcome>,
}

#[derive(Debug, Clone)]
struct Loop {
    items: Vec<StepPath>,
    tolerates: usize,
    most: usize,
    ramp: bool,
}

#[derive(Debug, Clone)]
struct Rollback {
    steps: BTreeSet<StepPath>,
    within: String,
    because: Why,
}

/// The account.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    /// By the path of the step that calls; the run itself by nothing.
    frames: BTreeMap<String, Frame>,
    pages: BTreeMap<StepPath, Page>,
    loops: BTreeMap<StepPath, Loop>,
    limits: Limits,
    begun: bool,
    cancelled: bool,
    time_up: bool,
    rollback: Option<Rollback>,
    undo_failed: bool,
    reopened: Option<(Outcome, Vec<StepPath>)>,
    reopened_is_over: bool,
    outcome: Option<Outcome>,
}

/// Which runbook a step stands in: the step that calls it.
fn around(path: &StepPath) -> &str {
    path.as_str().rsplit_once('/').map_or("", |(caller, _)| caller)
}

/// The loop that an item belongs to.
fn loop_of(path: &StepPath) -> Option<StepPath> {
    let last = path.as_str().rsplit('/').next()?;
    let key = last.find('[')?;
    StepPath::parse(&path.as_str()[..path.as_str().len() - last.len() + key]).ok()
}

/// The step that calls the runbook in which a step stands.
fn caller(path: &StepPath) -> Option<StepPath> {
    let around = around(path);
    (!around.is_empty()).then(|| StepPath::parse(around).expect("a part of a path is a path"))
}

fn is_inside(path: &StepPath, around: &str) -> bool {
    around.is_empty() || path.as_str().strip_prefix(around).is_some_and(|rest| rest.starts_with('/'))
}

impl Ledger {
    pub(crate) fn new(plan: Arc<Plan>) -> Self {
        let mut ledger = Self {
            frames: BTreeMap::new(),
            pages: BTreeMap::new(),
            loops: BTreeMap::new(),
            limits: Limits { io: 0, processes: 0 },
            begun: false,
            cancelled: false,
            time_up: false,
            rollback: None,
            undo_failed: false,
            reopened: None,
            reopened_is_over: false,
            outcome: None,
        };
        ledger.open(None, plan);
        ledger
    }

    fn open(&mut self, caller: Option<&StepPath>, plan: Arc<Plan>) {
        for place in 0..plan.len() {
            let path = match caller {
                Some(caller) => caller.inside(plan.id(place)),
                None => plan.id(place).into(),
            };
            self.pages.insert(path, Page::default());
        }
        let key = caller.map_or(String::new(), ToString::to_string);
        self.frames.insert(key, Frame { plan, failure: None, undone: false, finally: None });
    }

    /// What is known of every step: how it ended, and how often it was tried.
    pub(crate) fn lines(&self) -> BTreeMap<StepPath, (Option<StepResult>, u32)> {
        self.pages.iter().map(|(path, page)| (path.clone(), (page.result, page.tries))).collect()
    }

    fn page(&mut self, path: &StepPath) -> &mut Page {
        self.pages.get_mut(path).expect("looked up before")
    }

    fn frame_of(&self, path: &StepPath) -> &Frame {
        &self.frames[around(path)]
    }

    fn step(&self, path: &StepPath) -> &Step {
        let plan = &self.frame_of(path).plan;
        plan.step(plan.place(&path.id()).expect("paths name steps of their plan"))
    }

    fn facts(&self, path: &StepPath) -> &Facts {
        let plan = &self.frame_of(path).plan;
        plan.facts(plan.place(&path.id()).expect("paths name steps of their plan"))
    }

    fn beside(&self, path: &StepPath, id: &StepId) -> StepPath {
        match caller(path) {
            Some(caller) => caller.inside(id),
            None => id.into(),
        }
    }

    fn is_loop(&self, path: &StepPath) -> bool {
        loop_of(path).is_none() && self.step(path).for_each.is_some()
    }

    /// Is it a final step of its own runbook?
    fn is_final_here(&self, path: &StepPath) -> bool {
        let plan = &self.frame_of(path).plan;
        plan.place(&path.id()).is_some_and(|place| plan.is_final(place))
    }

    /// Is it a final step of the run, or inside one?
    fn is_final(&self, path: &StepPath) -> bool {
        caller(path).map_or_else(|| self.is_final_here(path), |caller| self.is_final(&caller))
    }

    /// Seen from a runbook around it, is it a final step or inside one?
    fn is_final_below(&self, path: &StepPath, frame: &str) -> bool {
        self.is_final_here(path)
            || around(path) != frame && caller(path).is_some_and(|caller| self.is_final_below(&caller, frame))
    }

    fn root(&self) -> &Frame {
        &self.frames[""]
    }

    /// The steps of one runbook, not their items.
    fn steps_of<'l>(&'l self, frame: &'l str) -> impl Iterator<Item = (&'l StepPath, &'l Page)> {
        self.pages.iter().filter(move |(path, _)| around(path) == frame && loop_of(path).is_none())
    }

    fn ordinary<'l>(&'l self, frame: &'l str) -> impl Iterator<Item = (&'l StepPath, &'l Page)> {
        self.steps_of(frame).filter(|(path, _)| !self.is_final_here(path))
    }

    fn finals<'l>(&'l self, frame: &'l str) -> impl Iterator<Item = (&'l StepPath, &'l Page)> {
        self.steps_of(frame).filter(|(path, _)| self.is_final_here(path))
    }

    fn rolls_back(&self, frame: &str) -> bool {
        self.frames[frame].plan.runbook().on_failure == OnFailure::Rollback
    }

    /// Why nothing new may begin where this step stands. A cancelled run is left out.
    fn stopped(&self, path: &StepPath) -> Option<String> {
        if self.reopened.is_some() {
            return Some("the run is being undone".to_owned());
        }
        let mut at = path.clone();
        loop {
            if self.pages[&at].time_up {
                return Some(format!("the time of `{at}` is up"));
            }
            if let Some(looped) = loop_of(&at)
                && self.pages[&looped].time_up
            {
                return Some(format!("the time of `{looped}` is up"));
            }
            if self.is_final_here(&at) {
                return None;
            }
            let frame = self.frame_of(&at);
            if let Some(failed) = &frame.failure
                && frame.plan.runbook().on_failure != OnFailure::Continue
            {
                return Some(format!("`{failed}` failed"));
            }
            match caller(&at) {
                Some(caller) => at = caller,
                None if self.undo_failed => return Some("an undo failed".to_owned()),
                None if self.time_up => return Some("the time of the run is up".to_owned()),
                None => return None,
            }
        }
    }

    /// Is a runbook kept from beginning anything by what is around it?
    fn is_stopped_from_outside(&self, frame: &str) -> bool {
        StepPath::parse(frame).is_ok_and(|caller| self.stopped(&caller).is_some())
    }

    fn is_frame_out_of_time(&self, frame: &str) -> bool {
        match StepPath::parse(frame) {
            Ok(caller) => self.pages[&caller].time_up,
            Err(_) => self.time_up,
        }
    }

    fn is_to_undo(&self, path: &StepPath) -> bool {
        let page = &self.pages[path];
        let acted = match page.result {
            Some(StepResult::Succeeded) => true,
            Some(StepResult::Failed) => page.saved || page.landed,
            _ => false,
        };
        acted
            && self.step(path).undo.is_some()
            && !self.is_loop(path)
            && !self.is_final_here(path)
            && !matches!(page.undo, Undoing::Done | Undoing::Failed)
    }

    fn to_undo_in(&self, frame: &str) -> BTreeSet<StepPath> {
        let counts = |path: &StepPath| !self.is_final_below(path, frame) && self.is_to_undo(path);
        self.pages.keys().filter(|path| is_inside(path, frame) && counts(path)).cloned().collect()
    }

    /// A step, whatever needs it, and whatever is inside these, as far as it is to be undone.
    fn to_undo_from(&self, path: &StepPath) -> BTreeSet<StepPath> {
        let frame = around(path);
        let mut ids = self.downstream(frame, &path.id());
        ids.insert(path.id());
        let within = |other: &StepPath| {
            let rest = if frame.is_empty() { other.as_str() } else { &other.as_str()[frame.len() + 1..] };
            let first = rest.split(['/', '[']).next().unwrap_or_default();
            ids.iter().any(|id| id.as_str() == first)
        };
        self.to_undo_in(frame).into_iter().filter(within).collect()
    }

    /// Everything that needs this step of a runbook, or needs what needs it.
    fn downstream(&self, frame: &str, id: &StepId) -> BTreeSet<StepId> {
        let runbook = self.frames[frame].plan.runbook();
        let mut found = BTreeSet::from([id.clone()]);
        loop {
            let before = found.len();
            for (other, step) in &runbook.steps {
                if step.needs.keys().any(|needed| found.contains(needed)) {
                    found.insert(other.clone());
                }
            }
            if found.len() == before {
                found.remove(id);
                return found;
            }
        }
    }

    /// Was `later` built on `earlier`? The first parts in which their paths differ stand in one runbook.
    fn is_built_on(&self, later: &StepPath, earlier: &StepPath) -> bool {
        let mut frame = String::new();
        for (one, other) in later.as_str().split('/').zip(earlier.as_str().split('/')) {
            if one == other {
                frame = if frame.is_empty() { one.to_owned() } else { format!("{frame}/{one}") };
                continue;
            }
            let id = |part: &str| StepId::new(part.split('[').next().unwrap_or_default()).expect("an id");
            return id(one) != id(other) && self.downstream(&frame, &id(other)).contains(&id(one));
        }
        false
    }

    fn is_in_force(&self, path: &StepPath) -> bool {
        let Some(measure) = &self.step(path).measure else { return false };
        let stands = |page: &Page| page.result == Some(StepResult::Succeeded) && page.undo != Undoing::Done;
        let closed = measure.closed_by.as_ref().is_some_and(|id| stands(&self.pages[&self.beside(path, id)]));
        stands(&self.pages[path]) && !self.pages[path].closed && !closed
    }

    fn undoes_itself(&self, path: &StepPath) -> bool {
        // What is done at the very end stays.
        let stays = self.is_final(path) || self.is_final_here(path);
        !stays && self.step(path).measure.as_ref().is_some_and(|measure| measure.on_expiry == OnExpiry::Undo)
    }

    /// May an undo be done again by whoever likes to?
    fn is_undo_repeatable(&self, path: &StepPath) -> bool {
        matches!(self.step(path).undo, Some(Undo::Auto))
            || matches!(self.facts(path).undo, Some(Replay::Safe | Replay::Keyed))
    }

    /// Takes an event down, or says which rule it breaks. Then the account is of no use any more.
    pub(crate) fn take(&mut self, event: &Event) -> Rule {
        if let Event::RunStarted { plan, limits, .. } = event {
            rule!(!self.begun, "the run begins twice");
            rule!(plan == self.root().plan.digest(), "another plan");
            self.begun = true;
            self.limits = *limits;
            return Ok(());
        }
        rule!(self.begun, "{event:?} before the beginning");
        if let Some(step) = event.step() {
            rule!(self.pages.contains_key(step), "there is no `{step}`");
        }
        let after_the_end = matches!(
            event,
            Event::RunResumed { .. }
                | Event::UndoRequested { .. }
                | Event::MeasureExtended { .. }
                | Event::MeasureClosed { .. }
        );
        rule!(self.outcome.is_none() || after_the_end, "{event:?} after the end");
        match event {
            Event::RunStarted { .. } => Ok(()),
            Event::RunResumed { .. } => self.resume(),
            Event::StepForced { step, .. } => self.force(step),
            Event::StepSkipped { step, because } => self.skip(step, because),
            Event::StepFailed { step, .. } => self.fail_at_once(step),
            Event::Decided { step, .. } => {
                rule!(matches!(self.step(step).does, Does::Decide(_)), "`{step}` decides nothing");
                self.begins(step)?;
                self.acts(step)?;
                self.end(step, StepResult::Succeeded)
            }
            Event::GateOpened { step, digest, .. } => {
                self.begins(step)?;
                rule!(loop_of(step).is_none(), "item `{step}` has a gate");
                rule!(self.step(step).approval.is_some(), "`{step}` has no gate");
                let page = self.page(step);
                rule!(page.tries == 0, "`{step}` was asked about after it acted");
                (page.approved, page.gate) = (false, Some((digest.clone(), BTreeSet::new())));
                Ok(())
            }
            Event::GateAnswered { step, digest, decision } => self.answer(step, digest, &decision.by, decision.answer),
            Event::ManualAsked { step, .. } => {
                rule!(matches!(self.step(step).does, Does::Manual(_)), "`{step}` is done by nobody");
                self.begins(step)?;
                self.acts(step)?;
                let page = self.page(step);
                (page.asked, page.begun) = (true, true);
                Ok(())
            }
            Event::ManualAnswered { step, result, .. } => {
                rule!(self.pages[step].asked, "nobody was asked about `{step}`");
                let result = match result {
                    ManualResult::Done { .. } => StepResult::Succeeded,
                    ManualResult::Failed { .. } => StepResult::Failed,
                    ManualResult::Skipped { .. } => StepResult::Skipped,
                };
                self.end(step, result)
            }
            Event::LoopBegan { step, items } => {
                rule!(self.is_loop(step), "`{step}` is no loop");
                self.begins(step)?;
                self.acts(step)?;
                let each = self.step(step).for_each.clone().expect("a loop");
                let paths: Vec<StepPath> = items.iter().map(|item| step.item(&item.key)).collect();
                let different: BTreeSet<&StepPath> = paths.iter().collect();
                rule!(different.len() == paths.len(), "two items of `{step}` have one name");
                self.pages.extend(paths.iter().map(|path| (path.clone(), Page::default())));
                let most = each.at_most.map_or(usize::MAX, |most| usize::try_from(most).expect("a small number"));
                let looped = Loop { items: paths, tolerates: each.fail_after.of(items.len()), most, ramp: each.ramp };
                self.loops.insert(step.clone(), looped);
                let page = self.page(step);
                (page.within, page.begun) = (true, true);
                Ok(())
            }
            Event::CallBegan { step, plan, inputs, .. } => {
                rule!(!self.is_loop(step), "`{step}` calls before its items are known");
                self.begins(step)?;
                self.acts(step)?;
                let ours = &self.frame_of(step).plan;
                let place = ours.place(&step.id()).expect("paths name steps of their plan");
                let given = inputs.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
                let Some(Ok(called)) = ours.called(place, &given) else { return Err("it calls nothing".to_owned()) };
                rule!(called.digest() == plan, "`{step}` calls another plan");
                let page = self.page(step);
                (page.within, page.begun) = (true, true);
                self.open(Some(step), Arc::new(called));
                Ok(())
            }
            Event::StepReturned { step, result } => self.come_back(step, result),
            Event::AttemptStarted { step, attempt, .. } => {
                rule!(matches!(self.step(step).does, Does::Action { .. }), "`{step}` runs no action");
                rule!(!self.is_loop(step), "`{step}` runs although it is a loop");
                self.begins(step)?;
                self.acts(step)?;
                let page = self.page(step);
                page.tries += 1;
                (page.running, page.begun, page.settles) = (true, true, false);
                rule!(page.tries == attempt.0, "`{step}` counts its tries wrongly");
                self.within_limits()
            }
            Event::Checkpoint { step, attempt, .. } => {
                let page = self.page(step);
                if page.undo == Undoing::Running {
                    rule!(page.undo_tries == attempt.0, "a late word of the undo of `{step}`");
                    return Ok(());
                }
                rule!(page.running && page.tries == attempt.0, "a late word of `{step}`");
                page.saved = true;
                Ok(())
            }
            Event::AttemptFinished { step, attempt, result, next, .. } => {
                rule!(self.pages[step].tries == attempt.0, "another try of `{step}` is under way");
                self.finish_attempt(step, result, *next)
            }
            Event::TimerFired { timer } => self.time_comes(timer),
            Event::DoubtAsked { step, undo, .. } => {
                let page = &self.pages[step];
                let in_doubt = if *undo { page.undo == Undoing::InDoubt } else { page.in_doubt };
                rule!(in_doubt, "`{step}` is not in doubt");
                Ok(())
            }
            Event::DoubtResolved { step, doubt, undo: true, .. } => {
                rule!(self.pages[step].undo == Undoing::InDoubt, "the undo of `{step}` is not in doubt");
                match doubt {
                    Doubt::Happened { .. } => self.undone(step),
                    Doubt::Again | Doubt::DidNotHappen => {
                        self.page(step).undo = Undoing::Pausing;
                        Ok(())
                    }
                }
            }
            Event::DoubtResolved { step, doubt, by, undo: false } => self.resolve(step, doubt, by),
            Event::CancelRequested { .. } => {
                self.cancelled = true;
                Ok(())
            }
            Event::MeasureExtended { step, .. } => {
                rule!(self.is_in_force(step), "no measure of `{step}` is in force");
                self.page(step).overdue = false;
                Ok(())
            }
            Event::MeasureClosed { step, .. } => {
                rule!(self.is_in_force(step), "no measure of `{step}` is in force");
                self.page(step).closed = true;
                Ok(())
            }
            Event::UndoRequested { only, .. } => self.reopen(only),
            Event::RollbackBegan { within, steps, because } => self.begin_rollback(within.as_ref(), steps, *because),
            Event::UndoStarted { step, attempt, .. } => self.begin_undo(step, attempt.0),
            Event::UndoFinished { step, result, next } => self.finish_undo(step, result, *next),
            Event::FinallyBegan { outcome, within } => self.begin_finally(within.as_ref(), *outcome),
            Event::RunFinished { outcome } => self.finish(*outcome),
        }
    }

    fn resume(&mut self) -> Rule {
        rule!(matches!(self.outcome, None | Some(Outcome::Cancelled)), "only a stopped run can be taken up again");
        if self.outcome.take().is_some() && self.reopened.is_none() {
            self.frames.get_mut("").expect("the run itself").finally = None;
            let finals: Vec<StepPath> = self.pages.keys().filter(|path| self.is_final(path)).cloned().collect();
            for path in &finals {
                if caller(path).is_none() && loop_of(path).is_none() {
                    *self.page(path) = Page::default();
                }
            }
        }
        self.cancelled = false;
        for page in self.pages.values_mut() {
            page.in_doubt |= std::mem::take(&mut page.running) | std::mem::take(&mut page.interrupted);
            if page.undo == Undoing::Running {
                page.undo = Undoing::InDoubt;
            }
        }
        if self.undo_failed {
            self.review_rollback();
        }
        Ok(())
    }

    fn reopen(&mut self, only: &[StepPath]) -> Rule {
        let Some(before) = self.outcome.take() else { return Err("the run is not over".to_owned()) };
        for step in only {
            rule!(self.pages.contains_key(step), "there is no `{step}`");
        }
        self.reopened = Some((before, only.to_vec()));
        (self.reopened_is_over, self.cancelled, self.rollback) = (false, false, None);
        // What could not be undone may be undone now: somebody asks for it.
        self.undo_failed = false;
        for page in self.pages.values_mut() {
            page.in_doubt |= std::mem::take(&mut page.interrupted);
            if page.undo == Undoing::Failed {
                page.undo = Undoing::Pausing;
            }
        }
        for step in only {
            rule!(self.is_to_undo(step), "there is nothing to undo of `{step}`");
        }
        Ok(())
    }

    fn force(&mut self, path: &StepPath) -> Rule {
        rule!(loop_of(path).is_none(), "an item is not forced");
        let page = self.page(path);
        rule!(page.result.is_none() && !page.begun && page.gate.is_none(), "`{path}` has begun already");
        page.forced = true;
        Ok(())
    }

    /// A step's turn has come: nothing that keeps it from beginning may stand in the way.
    fn begins(&self, path: &StepPath) -> Rule {
        let page = &self.pages[path];
        rule!(page.result.is_none(), "`{path}` ended and begins again");
        rule!(!page.running && !page.asked && !page.within, "`{path}` is under way and begins");
        rule!(!page.in_doubt && !page.interrupted, "`{path}` is in doubt and begins");
        rule!(!page.pausing, "`{path}` begins before its pause is over");
        rule!(page.gate.is_none(), "`{path}` begins while its gate is open");
        match loop_of(path) {
            Some(looped) => self.item_begins(path, &looped)?,
            None => {
                for (needed, need) in &self.step(path).needs {
                    let result = self.pages[&self.beside(path, needed)].result;
                    let met = result.is_some_and(|result| page.forced || need.accepts(result));
                    rule!(met, "`{path}` begins, but `{needed}` is {result:?}");
                }
            }
        }
        let frame = self.frame_of(path);
        rule!(
            frame.finally.is_some() == self.is_final_here(path) || self.reopened.is_some(),
            "`{path}` begins among the wrong ones: final steps have their own time"
        );
        if !self.is_final(path) {
            rule!(!self.cancelled, "`{path}` begins after the run was cancelled");
            rule!(
                self.root().finally.is_none() || self.reopened.is_some(),
                "`{path}` begins among the final steps of the run"
            );
        }
        if let Some(why) = self.stopped(path) {
            rule!(page.settles, "`{path}` begins although {why}");
        }
        Ok(())
    }

    fn item_begins(&self, path: &StepPath, of: &StepPath) -> Rule {
        let looped = &self.loops[of];
        rule!(self.pages[of].within, "item `{path}` begins, but not its loop");
        if self.pages[path].begun {
            return Ok(());
        }
        let count = |result: fn(&Page) -> bool| looped.items.iter().filter(|item| result(&self.pages[*item])).count();
        let active = count(|page| page.begun && page.result.is_none());
        rule!(active < looped.most, "`{path}` begins, and {active} of its loop are under way already");
        let failed = count(|page| matches!(page.result, Some(StepResult::Failed | StepResult::Rejected)));
        rule!(failed < looped.tolerates, "`{path}` begins after {failed} items failed");
        if looped.ramp {
            let index = looped.items.iter().position(|item| item == path).expect("an item of its loop");
            let (mut first, mut width) = (0, 1);
            while first + width <= index {
                first += width;
                width = (width * 2).min(looped.most);
            }
            let before = looped.items[..first].iter().filter(|item| self.pages[*item].result.is_none()).count();
            rule!(before == 0, "`{path}` begins before the wave before it is over");
        }
        Ok(())
    }

    /// A step is about to do what it is there for.
    fn acts(&self, path: &StepPath) -> Rule {
        let gated = loop_of(path).is_none() && self.step(path).approval.is_some();
        rule!(!gated || self.pages[path].approved, "`{path}` acts without the approvals it needs");
        Ok(())
    }

    fn load_in_use(&self, load: Load) -> usize {
        let busy = |(path, page): &(&StepPath, &Page)| {
            (page.running || page.undo == Undoing::Running) && self.facts(path).load == Some(load)
        };
        self.pages.iter().filter(busy).count()
    }

    fn limit(&self, load: Load) -> usize {
        match load {
            Load::Io => self.limits.io,
            Load::Process => self.limits.processes,
        }
    }

    fn within_limits(&self) -> Rule {
        for load in [Load::Io, Load::Process] {
            let (running, limit) = (self.load_in_use(load), self.limit(load));
            rule!(running <= limit, "{running} of {load:?} run at once, {limit} may");
        }
        Ok(())
    }

    fn answer(&mut self, path: &StepPath, digest: &Digest, by: &str, answer: Answer) -> Rule {
        let needed = self.step(path).approval.as_ref().map_or(1, |approval| approval.at_least);
        let bare = self.step(path).does == Does::Gate;
        let page = self.page(path);
        let Some((asked, approvers)) = page.gate.as_mut() else { return Err(format!("no gate at `{path}`")) };
        rule!(asked == digest, "the answer is about something else");
        rule!(approvers.insert(by.to_owned()), "{by} is counted twice");
        if answer == Answer::Reject {
            return self.end(path, StepResult::Rejected);
        }
        if approvers.len() >= usize::try_from(needed).expect("a small number") {
            (page.gate, page.approved) = (None, true);
            if bare {
                return self.end(path, StepResult::Succeeded);
            }
        }
        Ok(())
    }

    fn fail_at_once(&mut self, path: &StepPath) -> Rule {
        // A gate that opens again may find that it cannot be asked.
        self.page(path).gate = None;
        self.begins(path)?;
        self.end(path, StepResult::Failed)
    }

    fn skip(&mut self, path: &StepPath, because: &Cause) -> Rule {
        let page = &self.pages[path];
        rule!(page.result.is_none(), "`{path}` ended and is skipped");
        let under_way = page.running || page.in_doubt || page.interrupted || page.within;
        rule!(!under_way, "`{path}` is skipped while it is under way");
        match because {
            Cause::Condition { .. } => self.begins(path)?,
            Cause::Need { step, result } => {
                let Some(need) = self.step(path).needs.get(&step.id()) else {
                    return Err(format!("`{path}` does not need `{step}`"));
                };
                rule!(around(step) == around(path), "`{step}` stands elsewhere");
                rule!(self.pages[step].result == Some(*result), "`{path}` is skipped for the wrong reason");
                rule!(!need.accepts(*result), "`{path}` is skipped although `{step}` ended as it needs");
                rule!(!page.forced, "`{path}` is skipped although it was forced");
            }
            Cause::Halted { .. } | Cause::TimeUp { .. } | Cause::Stuck => {
                rule!(self.stopped(path).is_some(), "`{path}` is skipped although nothing stops it");
            }
            Cause::Person { .. } => {}
        }
        let is_cut = matches!(because, Cause::Halted { .. } | Cause::TimeUp { .. } | Cause::Stuck);
        self.page(path).cut = is_cut;
        let page = &self.pages[path];
        // Between two tries it had begun: it failed.
        let result = if page.tries > 0 { StepResult::Failed } else { StepResult::Skipped };
        self.end(path, result)
    }

    fn finish_attempt(&mut self, path: &StepPath, result: &AttemptResult, next: Next) -> Rule {
        let stopped = self.cancelled && self.root().finally.is_none();
        let facts = self.facts(path).clone();
        let reopened = self.reopened.is_some();
        let page = self.page(path);
        rule!(std::mem::take(&mut page.running), "no try of `{path}` is under way");
        if let AttemptResult::Failed { error } = result
            && error.uncertain
            && facts.effect == Effect::Write
            && matches!(facts.replay, Replay::Once | Replay::Probe)
        {
            rule!(next == Next::Doubt, "nobody knows whether `{path}` happened, and it goes on");
        }
        if matches!(result, AttemptResult::Succeeded { .. }) {
            page.landed = true;
        }
        match (result, next) {
            (_, Next::Again { .. }) if reopened => return self.end(path, StepResult::Failed),
            (_, Next::Again { .. }) => page.pausing = true,
            (_, Next::Doubt) => page.in_doubt = true,
            (AttemptResult::Succeeded { .. }, Next::End) => return self.end(path, StepResult::Succeeded),
            // Stopped with the run: nobody knows how far it came.
            (AttemptResult::Failed { error }, Next::End) if stopped && error.kind == ErrorKind::Cancelled => {
                page.interrupted = true;
            }
            (AttemptResult::Failed { .. }, Next::End) => return self.end(path, StepResult::Failed),
        }
        Ok(())
    }

    fn resolve(&mut self, path: &StepPath, doubt: &Doubt, by: &str) -> Rule {
        rule!(self.pages[path].in_doubt, "`{path}` is not in doubt");
        let harmless = matches!(self.facts(path).replay, Replay::Safe | Replay::Keyed);
        rule!(by != "nobody" || harmless, "nobody may say what became of `{path}`");
        let page = self.page(path);
        page.in_doubt = false;
        match doubt {
            Doubt::Happened { .. } => {
                page.landed = true;
                self.end(path, StepResult::Succeeded)
            }
            Doubt::Again => {
                // It may have happened: it is done even where nothing new begins, to be certain.
                page.settles = true;
                Ok(())
            }
            Doubt::DidNotHappen => self.end(path, StepResult::Failed),
        }
    }

    fn time_comes(&mut self, timer: &Timer) -> Rule {
        match timer {
            Timer::Gate { step } => {
                rule!(self.pages[step].gate.is_some(), "the gate of `{step}` is not open");
                self.end(step, StepResult::Rejected)
            }
            Timer::Again { step } => {
                let page = self.page(step);
                rule!(std::mem::take(&mut page.pausing), "`{step}` waits for nothing");
                rule!(page.result.is_none() && !page.running, "`{step}` waits for nothing");
                Ok(())
            }
            Timer::UndoAgain { step } => {
                rule!(self.pages[step].undo == Undoing::Pausing, "the undo of `{step}` waits for nothing");
                Ok(())
            }
            Timer::Deadline { step } => {
                let page = self.page(step);
                rule!(page.begun && page.result.is_none(), "`{step}` is not under way");
                page.time_up = true;
                let ends = !(page.running || page.settles || page.within || page.in_doubt || page.interrupted);
                if ends { self.end(step, StepResult::Failed) } else { Ok(()) }
            }
            Timer::Measure { step } => {
                rule!(self.undoes_itself(step), "the measure of `{step}` does nothing by itself");
                if self.is_in_force(step) {
                    self.page(step).overdue = true;
                }
                Ok(())
            }
            Timer::Run => {
                rule!(!self.time_up, "the time of the run is up twice");
                self.time_up = true;
                Ok(())
            }
        }
    }

    fn end(&mut self, path: &StepPath, result: StepResult) -> Rule {
        let page = self.page(path);
        rule!(page.result.is_none(), "`{path}` ends twice");
        page.result = Some(result);
        (page.gate, page.asked, page.within, page.pausing, page.settles) = (None, false, false, false, false);
        let is_failure = result == StepResult::Failed && !self.step(path).allow_failure;
        if is_failure && loop_of(path).is_none() && !self.is_final_here(path) {
            let frame = self.frames.get_mut(around(path)).expect("paths stand in a runbook");
            frame.failure.get_or_insert_with(|| path.clone());
        }
        Ok(())
    }

    fn come_back(&mut self, path: &StepPath, result: &Returned) -> Rule {
        rule!(self.pages[path].within, "nothing inside `{path}` was under way");
        let expected = if let Some(looped) = self.loops.get(path) {
            let pages = || looped.items.iter().map(|item| &self.pages[item]);
            for (item, page) in looped.items.iter().zip(pages()) {
                rule!(!page.begun || page.result.is_some(), "`{path}` is over before its item `{item}`");
            }
            let left = pages().filter(|page| page.result.is_none()).count();
            let failed =
                pages().filter(|page| matches!(page.result, Some(StepResult::Failed | StepResult::Rejected))).count();
            let stopped = self.stopped(path).is_some();
            let nothing_more = left == 0 || failed >= looped.tolerates || stopped;
            rule!(nothing_more, "`{path}` is over with {left} items to go");
            let fails = self.pages[path].time_up || failed >= looped.tolerates || left > 0;
            if fails { StepResult::Failed } else { StepResult::Succeeded }
        } else {
            let frame = path.as_str();
            let Some(outcome) = self.frames[frame].finally else {
                return Err(format!("`{path}` is over before its final steps began"));
            };
            for (step, page) in self.finals(frame) {
                rule!(page.result.is_some(), "`{path}` is over before its final step `{step}`");
            }
            rule!(!self.is_undoing_in(frame), "`{path}` is over while something in it is undone");
            match outcome {
                Outcome::Succeeded if self.has_a_final_failed(frame) => StepResult::Failed,
                Outcome::Succeeded => StepResult::Succeeded,
                Outcome::Rejected => StepResult::Rejected,
                _ => StepResult::Failed,
            }
        };
        let told = match result {
            Returned::Succeeded { .. } => StepResult::Succeeded,
            Returned::Failed { .. } => StepResult::Failed,
            Returned::Rejected { .. } => StepResult::Rejected,
        };
        rule!(told == expected, "{SAID}`{path}` {told:?}, and it {expected:?}");
        self.end(path, told)
    }

    fn has_a_final_failed(&self, frame: &str) -> bool {
        self.finals(frame).any(|(path, page)| page.result == Some(StepResult::Failed) && !self.step(path).allow_failure)
    }

    fn is_undoing_in(&self, frame: &str) -> bool {
        self.pages.iter().any(|(path, page)| page.undo == Undoing::Running && is_inside(path, frame))
    }

    fn begin_rollback(&mut self, within: Option<&StepPath>, steps: &[StepPath], because: Why) -> Rule {
        let frame = within.map_or("", StepPath::as_str);
        rule!(self.frames.contains_key(frame), "`{frame}` calls nothing");
        rule!(self.rollback.is_none(), "one rollback at a time");
        rule!(!self.undo_failed, "a rollback begins after an undo failed");
        rule!(!self.cancelled || within.is_some_and(|step| self.is_final(step)), "a stopped run is rolled back");
        let set: BTreeSet<StepPath> = steps.iter().cloned().collect();
        rule!(set.len() == steps.len(), "a step is undone twice");
        for (path, page) in &self.pages {
            let counts = self.reopened.is_some() || is_inside(path, frame);
            let open = page.in_doubt || page.settles || self.reopened.is_some() && page.running;
            rule!(!(open && counts), "a rollback begins, and `{path}` is in doubt");
        }
        match because {
            Why::Failure => {
                let failed = self.frames[frame].failure.is_some() || self.is_frame_out_of_time(frame);
                rule!(failed && self.rolls_back(frame), "`{frame}` is rolled back, but nothing asks for it");
                rule!(self.reopened.is_none(), "a failure rolls back what is over");
                for (path, page) in self.ordinary(frame) {
                    rule!(page.result.is_some(), "`{frame}` is rolled back before `{path}` has ended");
                }
                rule!(set == self.to_undo_in(frame), "a rollback of the wrong steps");
            }
            Why::Expiry => {
                let is_meant = |(path, page): (&StepPath, &Page)| {
                    page.overdue && around(path) == frame && self.to_undo_from(path) == set
                };
                rule!(self.pages.iter().any(is_meant), "no overdue measure is undone by that");
            }
            Why::Request => {
                let Some((_, only)) = &self.reopened else { return Err("nobody asked for an undo".to_owned()) };
                let mut expected = self.to_undo_in("");
                expected.retain(|path| only.is_empty() || only.contains(path));
                rule!(set == expected && within.is_none(), "a rollback of the wrong steps");
                for (path, page) in &self.pages {
                    let between = page.result.is_none() && (page.saved || page.landed) && !page.interrupted;
                    rule!(!between || self.is_final(path), "`{path}` did something and is not undone");
                }
            }
        }
        self.rollback = Some(Rollback { steps: set, within: frame.to_owned(), because });
        self.review_rollback();
        Ok(())
    }

    /// What is to be undone before a step, and is not.
    fn first(&self, path: &StepPath) -> Option<&StepPath> {
        let rollback = self.rollback.as_ref()?;
        rollback
            .steps
            .iter()
            .find(|other| *other != path && self.pages[*other].undo != Undoing::Done && self.is_built_on(other, path))
    }

    fn begin_undo(&mut self, path: &StepPath, attempt: u32) -> Rule {
        let planned = self.rollback.as_ref().is_some_and(|rollback| rollback.steps.contains(path));
        rule!(planned, "`{path}` is undone, but it is not to be");
        rule!(!self.undo_failed, "`{path}` is undone after an undo failed");
        rule!(!self.cancelled || self.is_final(path), "`{path}` is undone after the run was stopped");
        if let Some(other) = self.first(path) {
            return Err(format!("`{path}` is undone before `{other}`, which was built on it"));
        }
        let repeatable = self.is_undo_repeatable(path);
        let page = self.page(path);
        rule!(
            matches!(page.undo, Undoing::No | Undoing::Pausing) || page.undo == Undoing::InDoubt && repeatable,
            "`{path}` is undone while its undo is {:?}",
            page.undo
        );
        page.undo = Undoing::Running;
        page.undo_tries += 1;
        rule!(page.undo_tries == attempt, "`{path}` counts the tries of its undo wrongly");
        self.within_limits()
    }

    fn finish_undo(&mut self, path: &StepPath, result: &UndoResult, next: Next) -> Rule {
        rule!(self.pages[path].undo == Undoing::Running, "no undo of `{path}` is under way");
        let error = match result {
            UndoResult::Undone { .. } => return self.undone(path),
            UndoResult::Failed { error } => error,
        };
        if error.uncertain && !self.is_undo_repeatable(path) {
            rule!(next == Next::Doubt, "nobody knows whether `{path}` is undone, and it goes on");
        }
        match next {
            Next::Again { .. } if !self.undo_failed => self.page(path).undo = Undoing::Pausing,
            Next::Doubt => self.page(path).undo = Undoing::InDoubt,
            Next::End | Next::Again { .. } => {
                self.page(path).undo = Undoing::Failed;
                self.undo_failed = true;
            }
        }
        self.review_rollback();
        Ok(())
    }

    fn undone(&mut self, path: &StepPath) -> Rule {
        self.page(path).undo = Undoing::Done;
        self.review_rollback();
        Ok(())
    }

    fn review_rollback(&mut self) {
        let Some(rollback) = &self.rollback else { return };
        let running = rollback.steps.iter().any(|path| self.pages[path].undo == Undoing::Running);
        let left = rollback.steps.iter().any(|path| self.pages[path].undo != Undoing::Done);
        if running || left && !self.undo_failed {
            return;
        }
        let (within, because) = (rollback.within.clone(), rollback.because);
        self.rollback = None;
        match because {
            Why::Request => self.reopened_is_over = true,
            Why::Failure if !self.undo_failed => self.frames.get_mut(&within).expect("it is there").undone = true,
            Why::Failure | Why::Expiry => {}
        }
    }

    fn begin_finally(&mut self, within: Option<&StepPath>, outcome: Outcome) -> Rule {
        let frame = within.map_or("", StepPath::as_str);
        rule!(self.frames.contains_key(frame), "`{frame}` calls nothing");
        rule!(self.frames[frame].finally.is_none(), "the final steps begin twice");
        rule!(self.reopened.is_none(), "final steps begin while the run is being undone");
        let stopping = self.cancelled && !within.is_some_and(|step| self.is_final(step));
        rule!(!stopping || within.is_none(), "the final steps of `{frame}` begin in a run that stops");
        if let Some(step) = within {
            rule!(self.pages[step].within, "`{frame}` is over");
        }
        for (path, page) in self.ordinary(frame) {
            rule!(page.result.is_some() || stopping, "the final steps begin before `{path}` has ended");
        }
        for (path, page) in &self.pages {
            let busy = page.running || page.undo == Undoing::Running;
            rule!(!(busy && is_inside(path, frame)), "the final steps begin while `{path}` is under way");
        }
        if !stopping {
            let rolling = self.rollback.as_ref().is_some_and(|rollback| rollback.within == frame);
            rule!(!rolling, "the final steps begin in the middle of a rollback");
            let failed = self.frames[frame].failure.is_some() || self.is_frame_out_of_time(frame);
            if failed && self.rolls_back(frame) && !self.undo_failed {
                let left = self.to_undo_in(frame);
                rule!(left.is_empty(), "the final steps begin, and {left:?} is not undone");
            }
            let measure = self.steps_of(frame).find(|(path, _)| self.undoes_itself(path) && self.is_in_force(path));
            rule!(
                measure.is_none() || self.undo_failed,
                "the final steps begin, and a measure that undoes itself is in force: {measure:?}"
            );
        }
        let expected = self.expected(frame);
        rule!(outcome == expected, "{SAID}it would end {outcome}, and that should be {expected}");
        if stopping {
            // What was not undone stays as it is.
            self.rollback = None;
        }
        self.frames.get_mut(frame).expect("it is there").finally = Some(outcome);
        Ok(())
    }

    fn expected(&self, frame: &str) -> Outcome {
        let it = &self.frames[frame];
        let cut = self.is_stopped_from_outside(frame) && self.ordinary(frame).any(|(_, page)| page.cut);
        let failed = it.failure.is_some() || self.is_frame_out_of_time(frame) || cut;
        let rejected =
            |(path, page): (&StepPath, &Page)| page.result == Some(StepResult::Rejected) && !self.is_handled(path);
        if self.undo_failed {
            Outcome::Stuck
        } else if self.cancelled && frame.is_empty() {
            Outcome::Cancelled
        } else if it.undone {
            Outcome::RolledBack
        } else if failed {
            Outcome::Failed
        } else if self.ordinary(frame).any(rejected) {
            Outcome::Rejected
        } else {
            Outcome::Succeeded
        }
    }

    /// Did a step that is there for a no, and only for that, act on the no at this gate?
    fn is_handled(&self, rejected: &StepPath) -> bool {
        self.ordinary(around(rejected)).any(|(path, page)| {
            let need = self.step(path).needs.get(&rejected.id());
            let only_for_no =
                need.is_some_and(|need| need.accepts(StepResult::Rejected) && !need.accepts(StepResult::Succeeded));
            only_for_no && page.result == Some(StepResult::Succeeded)
        })
    }

    fn finish(&mut self, outcome: Outcome) -> Rule {
        for (path, page) in &self.pages {
            rule!(!page.running && page.undo != Undoing::Running, "the run ends while `{path}` is under way");
        }
        let expected = if let Some((before, only)) = &self.reopened {
            if self.cancelled {
                Outcome::Cancelled
            } else {
                rule!(self.reopened_is_over, "the run ends before it is undone");
                match only.is_empty() {
                    _ if self.undo_failed => Outcome::Stuck,
                    true => Outcome::RolledBack,
                    false => *before,
                }
            }
        } else {
            rule!(self.rollback.is_none(), "the run ends in the middle of a rollback");
            let Some(before) = self.root().finally else {
                return Err("the final steps begin before the run ends, even when there are none".to_owned());
            };
            for (path, page) in self.finals("") {
                rule!(page.result.is_some(), "the run ends before its final step `{path}` has");
            }
            if before == Outcome::Succeeded && self.has_a_final_failed("") { Outcome::Failed } else { before }
        };
        rule!(outcome == expected, "{SAID}it ends {outcome}, and that should be {expected}");
        if matches!(outcome, Outcome::RolledBack) {
            let left = self.to_undo_in("");
            rule!(left.is_empty(), "the run is rolled back, and {left:?} stands");
        }
        self.outcome = Some(outcome);
        Ok(())
    }

    /// Is there an undo that could be under way and is not?
    pub(crate) fn is_nothing_idle(&self) -> Rule {
        let Some(rollback) = &self.rollback else { return Ok(()) };
        if self.undo_failed || self.cancelled {
            return Ok(());
        }
        for path in &rollback.steps {
            let waits = self.pages[path].undo == Undoing::No && self.first(path).is_none();
            let full = self.facts(path).load.is_some_and(|load| self.load_in_use(load) >= self.limit(load));
            rule!(!waits || full, "the undo of `{path}` waits for nothing");
        }
        Ok(())
    }
}
