//! What the cases of a runbook have covered of it: steps, branches, gates, undos.

use std::collections::BTreeSet;

use serde::Serialize;

use super::driver::Played;
use crate::action::ErrorKind;
use crate::base::{StepId, StepPath};
use crate::run::{Answer, Cause, Event, Next, RunState, StepState, Timer};
use crate::runbook::{Does, Loaded, OnTimeout, Step, StepResult};

/// What sort of thing can be covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A step acted.
    Steps,
    /// One of several ways was taken.
    Branches,
    /// A gate was answered, or not.
    Gates,
    /// A step was undone.
    Undos,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Steps, Self::Branches, Self::Gates, Self::Undos];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Steps => "steps",
            Self::Branches => "branches",
            Self::Gates => "gates",
            Self::Undos => "undos",
        }
    }
}

/// Something that can happen in a runbook.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Point {
    Acts(StepId),
    Holds(StepId),
    DoesNotHold(StepId),
    Arm(StepId, usize),
    /// A step begins after another one ended in one of these ways, of which its needs name more than one.
    After(StepId, StepId, Vec<StepResult>),
    Met(StepId),
    GivesUp(StepId),
    Approved(StepId),
    Rejected(StepId),
    Lapses(StepId),
    Undone(StepId),
}

/// Something that can happen in a runbook, where it stands, and whether it has happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// What sort of thing.
    pub kind: Kind,
    /// What, in words.
    pub what: String,
    /// The line it stands in.
    pub line: usize,
    /// Has it happened?
    pub covered: bool,
    #[serde(skip)]
    point: Point,
}

/// How much of something there is, and how much of it is covered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Total {
    /// How much is covered.
    pub covered: usize,
    /// Of how much.
    pub of: usize,
}

impl Total {
    /// In whole percent, rounded down: only all of it is a hundred. Nothing to cover is covered.
    pub fn percent(self) -> usize {
        (self.covered * 100).checked_div(self.of).unwrap_or(100)
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self { covered: self.covered + other.covered, of: self.of + other.of }
    }
}

/// What is covered of one runbook.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Coverage {
    /// The runbook's file.
    pub file: String,
    /// Everything that can happen in it.
    pub places: Vec<Place>,
}

impl Coverage {
    /// A runbook of which nothing is covered yet.
    pub fn of(loaded: &Loaded) -> Self {
        let mut places = Vec::new();
        let sections = [("steps", &loaded.runbook.steps), ("finally", &loaded.runbook.finally)];
        for (section, id, step) in
            sections.into_iter().flat_map(|(section, steps)| steps.iter().map(move |(id, step)| (section, id, step)))
        {
            for (kind, point, what, path) in points(id, step) {
                let full: Vec<&str> =
                    [section, id.as_str()].into_iter().chain(path.iter().map(String::as_str)).collect();
                let line = loaded.source.place(loaded.key_span(&full).start).0;
                places.push(Place { kind, what, line, covered: false, point });
            }
        }
        Self { file: loaded.source.name.clone(), places }
    }

    /// Takes note of what happened in a run.
    pub(super) fn see(&mut self, played: &Played) {
        let seen = seen(played);
        for place in &mut self.places {
            place.covered |= match &place.point {
                Point::After(step, other, results) => seen.iter().any(|point| match point {
                    Point::After(by, of, ended) => {
                        by == step && of == other && ended.iter().all(|it| results.contains(it))
                    }
                    _ => false,
                }),
                point => seen.contains(point),
            };
        }
    }

    /// Takes what other cases have covered of the same runbook as covered here.
    pub fn join(&mut self, other: &Self) {
        for (place, known) in self.places.iter_mut().zip(&other.places) {
            place.covered |= known.covered;
        }
    }

    /// How much of a kind is covered; of everything, when no kind is named.
    pub fn total(&self, kind: Option<Kind>) -> Total {
        let of = self.places.iter().filter(|place| kind.is_none_or(|kind| kind == place.kind));
        of.fold(Total::default(), |total, place| total.and(Total { covered: usize::from(place.covered), of: 1 }))
    }

    /// What is not covered, in the order of the file.
    pub fn uncovered(&self) -> Vec<&Place> {
        let mut places: Vec<&Place> = self.places.iter().filter(|place| !place.covered).collect();
        places.sort_by_key(|place| place.line);
        places
    }
}

/// Everything that can happen at a step, with words for it and the path below the step where it stands.
fn points(id: &StepId, step: &Step) -> Vec<(Kind, Point, String, Vec<String>)> {
    let at = |parts: &[&str]| parts.iter().map(|part| (*part).to_owned()).collect::<Vec<_>>();
    let mut found = vec![(Kind::Steps, Point::Acts(id.clone()), format!("step `{id}` never ran"), at(&[]))];
    let mut branch = |point, what, path| found.push((Kind::Branches, point, what, path));
    if step.condition.is_some() {
        branch(Point::Holds(id.clone()), format!("`if` of `{id}` never held"), at(&["if"]));
        branch(Point::DoesNotHold(id.clone()), format!("`if` of `{id}` always held"), at(&["if"]));
    }
    for (needed, need) in &step.needs {
        let ways: Vec<Vec<StepResult>> = match need.0.len() {
            0 | 1 => Vec::new(),
            // Any will do: whether it went well or not is what can make a difference.
            all if all == StepResult::ALL.len() => {
                vec![vec![StepResult::Succeeded], vec![StepResult::Failed, StepResult::Skipped, StepResult::Rejected]]
            }
            _ => need.0.iter().map(|result| vec![*result]).collect(),
        };
        for way in ways {
            let words = match way.as_slice() {
                [one] => ended(*one),
                _ => "ended otherwise than well",
            };
            let what = format!("`{id}` never began after `{needed}` {words}");
            branch(Point::After(id.clone(), needed.clone(), way), what, at(&["needs", needed.as_str()]));
        }
    }
    if let Does::Decide(decide) = &step.does {
        for (index, arm) in decide.arms.iter().enumerate() {
            let what = match &arm.condition {
                Some(condition) => format!("`{id}` never chose `{condition}`"),
                None => format!("`{id}` never chose its last arm"),
            };
            branch(Point::Arm(id.clone(), index), what, at(&["with", &index.to_string(), "then"]));
        }
    }
    if step.until.is_some() {
        branch(Point::Met(id.clone()), format!("`until` of `{id}` never became true"), at(&["until"]));
        branch(Point::GivesUp(id.clone()), format!("`until` of `{id}` never gave up"), at(&["until"]));
    }
    if let Some(approval) = &step.approval {
        let mut gate = |point, what| found.push((Kind::Gates, point, what, at(&["approval"])));
        gate(Point::Approved(id.clone()), format!("the gate of `{id}` was never approved"));
        gate(Point::Rejected(id.clone()), format!("the gate of `{id}` was never answered with no"));
        if approval.within.is_some() && approval.on_timeout == OnTimeout::Reject {
            gate(Point::Lapses(id.clone()), format!("the gate of `{id}` never lapsed"));
        }
    }
    if step.undo.is_some() {
        found.push((Kind::Undos, Point::Undone(id.clone()), format!("`{id}` was never undone"), at(&["undo"])));
    }
    found
}

fn ended(result: StepResult) -> &'static str {
    match result {
        StepResult::Succeeded => "succeeded",
        StepResult::Failed => "failed",
        StepResult::Skipped => "was skipped",
        StepResult::Rejected => "was rejected",
    }
}

/// The step of the runbook itself that a path is about: of an item, its loop. Nothing for steps of called runbooks.
fn own(path: &StepPath) -> Option<StepId> {
    if path.as_str().contains('/') { None } else { Some(path.id()) }
}

/// Everything that happened in a run.
fn seen(played: &Played) -> BTreeSet<Point> {
    let mut seen = BTreeSet::new();
    let mut begun = BTreeSet::new();
    for recorded in &played.log {
        let event = &recorded.event;
        let Some(id) = event.step().and_then(own) else { continue };
        let is_turn = match event {
            Event::StepSkipped { because: Cause::Condition { .. }, .. } => {
                seen.insert(Point::DoesNotHold(id.clone()));
                true
            }
            Event::GateOpened { .. } => true,
            Event::AttemptStarted { .. }
            | Event::ManualAsked { .. }
            | Event::LoopBegan { .. }
            | Event::CallBegan { .. } => {
                seen.insert(Point::Acts(id.clone()));
                true
            }
            Event::Decided { arm, .. } => {
                seen.insert(Point::Acts(id.clone()));
                seen.extend(arm.map(|arm| Point::Arm(id.clone(), arm)));
                true
            }
            Event::AttemptFinished { met: Some(true), .. } => {
                seen.insert(Point::Met(id.clone()));
                false
            }
            Event::AttemptFinished { next: Next::End, .. } if gave_up(&played.state, &id) => {
                seen.insert(Point::GivesUp(id.clone()));
                false
            }
            Event::GateAnswered { decision, .. } => {
                if decision.answer == Answer::Reject {
                    seen.insert(Point::Rejected(id.clone()));
                } else if has_passed(&played.state, &id) {
                    seen.insert(Point::Approved(id.clone()));
                }
                false
            }
            Event::TimerFired { timer: Timer::Gate { .. } } => {
                seen.insert(Point::Lapses(id.clone()));
                false
            }
            Event::UndoStarted { .. } => {
                seen.insert(Point::Undone(id.clone()));
                false
            }
            _ => false,
        };
        if is_turn && begun.insert(id.clone()) {
            if !matches!(event, Event::StepSkipped { .. }) {
                seen.insert(Point::Holds(id.clone()));
            }
            let step = played.state.step(&StepPath::from(&id));
            for needed in step.into_iter().flat_map(|step| step.needs.keys()) {
                // What a step needs has ended when its turn comes, and how never changes.
                let result = played.state.record(&StepPath::from(needed)).and_then(|record| record.result());
                seen.extend(result.map(|result| Point::After(id.clone(), needed.clone(), vec![result])));
            }
        }
    }
    // A gate and nothing else acts by being passed.
    for (path, record) in played.state.records() {
        let is_gate = played.state.step(path).is_some_and(|step| matches!(step.does, Does::Gate));
        if let Some(id) = own(path).filter(|_| is_gate && record.result() == Some(StepResult::Succeeded)) {
            seen.insert(Point::Acts(id));
        }
    }
    seen
}

/// Did the `until` of a step run out of time?
fn gave_up(state: &RunState, id: &StepId) -> bool {
    let path = StepPath::from(id);
    let (Some(step), Some(record)) = (state.step(&path), state.record(&path)) else { return false };
    step.until.is_some()
        && match record.result() {
            Some(StepResult::Succeeded) => record.met == Some(false),
            Some(StepResult::Failed) => record.error.as_ref().is_some_and(|error| error.kind == ErrorKind::NotMet),
            _ => false,
        }
}

/// Have enough people said yes?
fn has_passed(state: &RunState, id: &StepId) -> bool {
    let path = StepPath::from(id);
    let needed = state.step(&path).and_then(|step| step.approval.as_ref()).map_or(1, |approval| approval.at_least);
    let Some(record) = state.record(&path) else { return false };
    let yes = record.decisions.iter().filter(|decision| decision.answer == Answer::Approve).count();
    !matches!(record.state, StepState::AtGate(_)) && yes >= usize::try_from(needed).unwrap_or(usize::MAX)
}
