//! A second account of a run, kept from its events alone, that objects when an event breaks a rule of the language.
//!
//! It shares no code with `run::state`: what a step's result is, who approved and what is to be undone is worked out
//! here a second time, slowly and from the rules.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use runbook::action::{ErrorKind, Load};
use runbook::base::{Digest, StepId};
use runbook::plan::Plan;
use runbook::run::{
    Answer, AttemptResult, Cause, Doubt, Event, Limits, ManualResult, Next, Outcome, Timer, UndoResult,
};
use runbook::runbook::{Does, OnFailure, Step, StepResult};

#[derive(Debug, Clone, Default)]
struct Page {
    result: Option<StepResult>,
    tries: u32,
    running: bool,
    in_doubt: bool,
    saved: bool,
    gate: Option<(Digest, BTreeSet<String>)>,
    approved: bool,
    asked: bool,
    undo_begun: bool,
    undone: Option<bool>,
}

/// What a step left behind, for a comparison with the state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) result: Option<StepResult>,
    pub(crate) tries: u32,
}

/// The account.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    plan: Arc<Plan>,
    pages: BTreeMap<StepId, Page>,
    limits: Limits,
    first_failure: Option<StepId>,
    cancelled: bool,
    undoing: Option<StepId>,
    finally: Option<Outcome>,
    outcome: Option<Outcome>,
}

impl Ledger {
    pub(crate) fn new(plan: Arc<Plan>) -> Self {
        let runbook = plan.runbook();
        let pages =
            runbook.steps.keys().chain(runbook.finally.keys()).map(|id| (id.clone(), Page::default())).collect();
        let limits = Limits { io: 0, processes: 0 };
        let (undoing, finally, outcome) = (None, None, None);
        Self { plan, pages, limits, first_failure: None, cancelled: false, undoing, finally, outcome }
    }

    /// What is known of every step.
    pub(crate) fn lines(&self) -> BTreeMap<StepId, Line> {
        let line = |page: &Page| Line { result: page.result, tries: page.tries };
        self.pages.iter().map(|(id, page)| (id.clone(), line(page))).collect()
    }

    fn page(&mut self, id: &StepId) -> &mut Page {
        self.pages.get_mut(id).expect("events name steps of the plan")
    }

    fn step(&self, id: &StepId) -> &Step {
        self.plan.runbook().step(id).expect("events name steps of the plan")
    }

    fn is_final(&self, id: &StepId) -> bool {
        self.plan.runbook().finally.contains_key(id)
    }

    fn ordinary(&self) -> impl Iterator<Item = (&StepId, &Page)> {
        self.plan.runbook().steps.keys().map(|id| (id, &self.pages[id]))
    }

    fn finals(&self) -> impl Iterator<Item = (&StepId, &Page)> {
        self.plan.runbook().finally.keys().map(|id| (id, &self.pages[id]))
    }

    fn rolls_back(&self) -> bool {
        self.plan.runbook().on_failure == OnFailure::Rollback
    }

    /// The failure that stops the run, if its runbook lets a failure do so.
    fn stopped_by(&self) -> Option<&StepId> {
        self.first_failure.as_ref().filter(|_| self.plan.runbook().on_failure != OnFailure::Continue)
    }

    fn undo_failed(&self) -> bool {
        self.pages.values().any(|page| page.undone == Some(false))
    }

    fn is_to_undo(&self, id: &StepId) -> bool {
        let page = &self.pages[id];
        let acted = match page.result {
            Some(StepResult::Succeeded) => true,
            Some(StepResult::Failed) => page.saved,
            _ => false,
        };
        acted && self.step(id).undo.is_some() && page.undone != Some(true)
    }

    /// Everything that needs this step, or needs what needs it.
    fn downstream(&self, id: &StepId) -> BTreeSet<StepId> {
        let mut found = BTreeSet::from([id.clone()]);
        loop {
            let before = found.len();
            for (other, _) in self.ordinary() {
                if self.step(other).needs.keys().any(|needed| found.contains(needed)) {
                    found.insert(other.clone());
                }
            }
            if found.len() == before {
                found.remove(id);
                return found;
            }
        }
    }

    /// Takes an event down. Panics when it breaks a rule.
    pub(crate) fn take(&mut self, event: &Event) {
        if !matches!(event, Event::RunResumed { .. }) {
            assert_eq!(self.outcome, None, "{event:?} after the end");
        }
        match event {
            Event::RunStarted { limits, .. } => self.limits = *limits,
            Event::RunResumed { .. } => self.resume(),
            Event::StepSkipped { step, because } => self.skip(step, because),
            Event::StepFailed { step, .. } => {
                self.begins(step);
                self.end(step, StepResult::Failed);
            }
            Event::Decided { step, .. } => {
                self.begins(step);
                self.acts(step);
                self.end(step, StepResult::Succeeded);
            }
            Event::GateOpened { step, digest, .. } => {
                self.begins(step);
                let page = self.page(step);
                assert_eq!(page.tries, 0, "`{step}` was asked about after it acted");
                page.gate = Some((digest.clone(), BTreeSet::new()));
            }
            Event::GateAnswered { step, digest, decision } => {
                let needed = self.step(step).approval.as_ref().expect("a gate has an approval").at_least;
                let bare = self.step(step).does == Does::Gate;
                let page = self.page(step);
                let (asked, approvers) = page.gate.as_mut().expect("the gate is open");
                assert_eq!(asked, digest, "the answer is about something else");
                if decision.answer == Answer::Reject {
                    self.end(step, StepResult::Rejected);
                } else {
                    assert!(approvers.insert(decision.by.clone()), "{} was counted twice", decision.by);
                    if approvers.len() >= usize::try_from(needed).expect("a small number") {
                        page.gate = None;
                        page.approved = true;
                        if bare {
                            self.end(step, StepResult::Succeeded);
                        }
                    }
                }
            }
            Event::ManualAsked { step, .. } => {
                self.begins(step);
                self.acts(step);
                self.page(step).asked = true;
            }
            Event::ManualAnswered { step, result, .. } => {
                assert!(self.page(step).asked, "nobody was asked about `{step}`");
                let result = match result {
                    ManualResult::Done { .. } => StepResult::Succeeded,
                    ManualResult::Failed { .. } => StepResult::Failed,
                    ManualResult::Skipped { .. } => StepResult::Skipped,
                };
                self.end(step, result);
            }
            Event::AttemptStarted { step, attempt, .. } => {
                self.begins(step);
                self.acts(step);
                let page = self.page(step);
                page.tries += 1;
                page.running = true;
                assert_eq!(page.tries, attempt.0);
                self.within_limits();
            }
            Event::Checkpoint { step, .. } => self.page(step).saved = true,
            Event::AttemptFinished { step, result, next, .. } => self.finish_attempt(step, result, *next),
            Event::TimerFired { timer: Timer::Gate { step } } => {
                assert!(self.page(step).gate.is_some(), "the gate of `{step}` is not open");
                self.end(step, StepResult::Rejected);
            }
            Event::TimerFired { timer: Timer::Again { step } } => {
                let page = self.page(step);
                assert!(page.result.is_none() && !page.running, "`{step}` waits for nothing");
            }
            Event::DoubtResolved { step, doubt, .. } => {
                assert!(self.page(step).in_doubt, "`{step}` is not in doubt");
                self.page(step).in_doubt = false;
                if matches!(doubt, Doubt::Happened { .. }) {
                    self.end(step, StepResult::Succeeded);
                }
            }
            Event::CancelRequested { .. } => self.cancelled = true,
            Event::UndoStarted { step, .. } => self.begin_undo(step),
            Event::UndoFinished { step, result } => {
                assert_eq!(self.undoing.take().as_ref(), Some(step), "another undo is under way");
                self.page(step).undone = Some(matches!(result, UndoResult::Undone { .. }));
            }
            Event::FinallyBegan { outcome } => self.begin_finally(*outcome),
            Event::RunFinished { outcome } => self.finish(*outcome),
        }
    }

    fn resume(&mut self) {
        assert!(matches!(self.outcome, None | Some(Outcome::Cancelled)), "only a cancelled run can be taken up again");
        if self.outcome.take().is_some() {
            self.finally = None;
            let finals: Vec<StepId> = self.plan.runbook().finally.keys().cloned().collect();
            for id in finals {
                *self.page(&id) = Page::default();
            }
        }
        self.cancelled = false;
        self.undoing = None;
        for page in self.pages.values_mut() {
            page.in_doubt |= std::mem::take(&mut page.running);
        }
    }

    /// A step's turn has come: nothing that keeps it from beginning may stand in the way.
    fn begins(&mut self, id: &StepId) {
        let page = &self.pages[id];
        assert_eq!(page.result, None, "`{id}` ended and begins again");
        assert!(!page.running && !page.in_doubt && !page.asked, "`{id}` is under way and begins");
        assert!(page.gate.is_none(), "`{id}` begins while its gate is open");
        assert_eq!(self.undoing, None, "`{id}` begins beside an undo");
        for (needed, need) in &self.step(id).needs {
            let result = self.pages[needed].result;
            assert!(result.is_some_and(|result| need.accepts(result)), "`{id}` begins, but `{needed}` is {result:?}");
        }
        if self.is_final(id) {
            assert!(self.finally.is_some(), "final step `{id}` begins before its time");
        } else {
            assert_eq!(self.finally, None, "`{id}` begins among the final steps");
            assert_eq!(self.stopped_by(), None, "`{id}` begins after the failure that stops the run");
            assert!(!self.cancelled, "`{id}` begins after the run was cancelled");
            assert!(self.pages.values().all(|page| !page.undo_begun), "`{id}` begins after an undo");
        }
    }

    /// A step is about to do what it is there for.
    fn acts(&mut self, id: &StepId) {
        let gated = self.step(id).approval.is_some();
        assert!(!gated || self.pages[id].approved, "`{id}` acts without the approvals it needs");
    }

    fn within_limits(&self) {
        for (load, limit) in [(Load::Io, self.limits.io), (Load::Process, self.limits.processes)] {
            let is_one = |(id, page): &(&StepId, &Page)| {
                let place = self.plan.place(id).expect("pages are steps of the plan");
                page.running && self.plan.facts(place).load == Some(load)
            };
            let running = self.pages.iter().filter(is_one).count();
            assert!(running <= limit, "{running} of {load:?} run at once, {limit} may");
        }
    }

    fn skip(&mut self, id: &StepId, because: &Cause) {
        match because {
            Cause::Condition { .. } => self.begins(id),
            Cause::Need { step, result } => {
                let need = self.step(id).needs.get(step).expect("the cause is a step that it needs");
                assert_eq!(self.pages[step].result, Some(*result), "`{id}` is skipped for the wrong reason");
                assert!(!need.accepts(*result), "`{id}` is skipped although `{step}` ended as it needs");
            }
            Cause::Halted { step } => {
                assert_eq!(self.stopped_by(), Some(step), "`{id}` is skipped although nothing stops the run");
                assert!(!self.is_final(id), "a failure stops the final step `{id}`");
            }
            Cause::Person { .. } => panic!("nobody said that `{id}` is to be skipped"),
        }
        let page = &self.pages[id];
        assert!(page.result.is_none() && !page.running && !page.in_doubt, "`{id}` is skipped while it is under way");
        // Between two tries it had begun: it failed.
        self.end(id, if page.tries > 0 { StepResult::Failed } else { StepResult::Skipped });
    }

    fn finish_attempt(&mut self, id: &StepId, result: &AttemptResult, next: Next) {
        let stopped = self.cancelled && self.finally.is_none();
        let page = self.page(id);
        assert!(std::mem::take(&mut page.running), "no try of `{id}` is under way");
        match (result, next) {
            (_, Next::Again { .. }) => {}
            (AttemptResult::Succeeded { .. }, Next::End) => self.end(id, StepResult::Succeeded),
            // Stopped with the run: nobody knows how far it came.
            (AttemptResult::Failed { error }, Next::End) if stopped && error.kind == ErrorKind::Cancelled => {
                page.in_doubt = true;
            }
            (AttemptResult::Failed { .. }, Next::End) => self.end(id, StepResult::Failed),
        }
    }

    fn end(&mut self, id: &StepId, result: StepResult) {
        let page = self.page(id);
        assert_eq!(page.result, None, "`{id}` ends twice");
        page.result = Some(result);
        (page.gate, page.asked) = (None, false);
        if result == StepResult::Failed && !self.is_final(id) && !self.step(id).allow_failure {
            self.first_failure.get_or_insert_with(|| id.clone());
        }
    }

    fn begin_undo(&mut self, id: &StepId) {
        assert!(self.rolls_back() && self.first_failure.is_some(), "`{id}` is undone, but nothing asks for it");
        assert!(!self.cancelled && self.finally.is_none(), "`{id}` is undone after the run was stopped");
        assert!(!self.undo_failed(), "`{id}` is undone after an undo failed");
        assert_eq!(self.undoing, None, "`{id}` is undone beside another undo");
        assert!(self.is_to_undo(id), "`{id}` is undone, but there is nothing to undo");
        for (other, page) in self.ordinary() {
            assert!(page.result.is_some(), "`{id}` is undone before `{other}` has ended");
        }
        for other in self.downstream(id) {
            assert!(!self.is_to_undo(&other), "`{id}` is undone before `{other}`, which builds on it");
        }
        self.page(id).undo_begun = true;
        self.undoing = Some(id.clone());
    }

    fn begin_finally(&mut self, outcome: Outcome) {
        assert_eq!(self.finally, None, "the final steps begin twice");
        assert_eq!(self.undoing, None, "the final steps begin beside an undo");
        for (id, page) in self.ordinary() {
            assert!(!page.running, "the final steps begin while `{id}` is under way");
            assert!(page.result.is_some() || self.cancelled, "the final steps begin before `{id}` has ended");
        }
        let expected = self.expected();
        if expected == Outcome::RolledBack {
            for (id, _) in self.ordinary() {
                assert!(!self.is_to_undo(id), "`{id}` was not undone");
            }
        }
        assert_eq!(outcome, expected, "how the run would end");
        self.finally = Some(outcome);
    }

    fn expected(&self) -> Outcome {
        let undone = self.pages.values().any(|page| page.undone == Some(true));
        let left = self.ordinary().any(|(id, _)| self.is_to_undo(id));
        if self.undo_failed() {
            Outcome::Stuck
        } else if self.cancelled {
            Outcome::Cancelled
        } else if self.first_failure.is_some() {
            if self.rolls_back() && (undone || left) { Outcome::RolledBack } else { Outcome::Failed }
        } else if self.ordinary().any(|(id, page)| page.result == Some(StepResult::Rejected) && !self.is_handled(id)) {
            Outcome::Rejected
        } else {
            Outcome::Succeeded
        }
    }

    /// Did a step that is there for a no, and only for that, act on the no at this gate?
    fn is_handled(&self, rejected: &StepId) -> bool {
        self.ordinary().any(|(id, page)| {
            let need = self.step(id).needs.get(rejected);
            let only_for_no =
                need.is_some_and(|need| need.accepts(StepResult::Rejected) && !need.accepts(StepResult::Succeeded));
            only_for_no && page.result == Some(StepResult::Succeeded)
        })
    }

    fn finish(&mut self, outcome: Outcome) {
        let before = self.finally.expect("the final steps begin before the run ends, even when there are none");
        let unwell =
            |(id, page): (&StepId, &Page)| page.result == Some(StepResult::Failed) && !self.step(id).allow_failure;
        let expected = match before {
            Outcome::Succeeded if self.finals().any(unwell) => Outcome::Failed,
            _ => before,
        };
        assert_eq!(outcome, expected, "how the run ends");
        for (id, page) in self.finals() {
            assert!(page.result.is_some(), "the run ends before its final step `{id}` has");
        }
        if outcome == Outcome::Succeeded {
            for (id, page) in &self.pages {
                let fine = page.result != Some(StepResult::Failed) || self.step(id).allow_failure;
                assert!(fine, "the run succeeded although `{id}` failed");
            }
        }
        self.outcome = Some(outcome);
    }
}
