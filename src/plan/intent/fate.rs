//! What becomes of each step, as far as it follows from what is known: it runs, it is left out, or only the run can tell.
//!
//! The rules are those of a run: a step begins when what it needs has ended with a result it accepts, it is skipped when
//! that has become impossible or its condition does not hold, and the first failure lets nothing new begin.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

use super::Verdict;
use super::known::Known;
use super::nested::known_inside;
use crate::base::StepId;
use crate::plan::Plan;
use crate::plan::suppose::{Guess, Origin, Part, StepFacts, follows};
use crate::runbook::{Does, Need, OnFailure, Step, StepResult, Templated};

/// What becomes of a step, as far as it is known before the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// It runs, unless something before it goes wrong.
    Runs,
    /// Only the run can tell whether it does.
    Open,
    /// It is left out.
    Skipped,
    /// How it ends is supposed.
    Supposed,
    /// How it ends was read from the world just now.
    Read,
}

/// Results that a step may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Results(u8);

impl Results {
    const SUCCEEDED: Self = Self(1);
    const FAILED: Self = Self(2);
    const SKIPPED: Self = Self(4);
    const REJECTED: Self = Self(8);

    fn of(result: StepResult) -> Self {
        match result {
            StepResult::Succeeded => Self::SUCCEEDED,
            StepResult::Failed => Self::FAILED,
            StepResult::Skipped => Self::SKIPPED,
            StepResult::Rejected => Self::REJECTED,
        }
    }

    fn accepted(need: &Need) -> Self {
        need.0.iter().fold(Self::default(), |all, result| all.and(Self::of(*result)))
    }

    fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    fn is_within(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }
}

/// Which arm of a decision is chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    Arm(usize),
    NoArm,
    Open,
}

/// What is known of one step.
#[derive(Debug, Clone)]
pub(super) struct Outlook {
    pub(super) fate: Fate,
    /// Why it is left out, or why only the run can tell.
    pub(super) because: Option<String>,
    /// What would follow if it were not supposed otherwise.
    pub(super) against: Option<String>,
    /// What is known of its condition.
    pub(super) verdict: Verdict,
    /// What is known of the conditions of its arms.
    pub(super) arms: Vec<Verdict>,
    /// The arm that is chosen.
    pub(super) chosen: Option<usize>,
    /// What is taken as given of it.
    pub(super) given: Option<Value>,
    /// Does nothing happen without a yes at its own gate or at one before it?
    pub(super) behind_gate: bool,
    /// How it may end.
    possible: Results,
    /// How it ends when nothing goes wrong.
    expected: Results,
}

impl Outlook {
    /// Is it known that it fails?
    fn fails(&self) -> bool {
        self.possible == Results::FAILED
    }
}

/// What becomes of every step, by place. `known` learns what follows.
pub(super) fn outlooks(plan: &Plan, known: &mut Known) -> Vec<Outlook> {
    let before = known.clone();
    let found = pass(plan, known, &[]);
    let stops = stopping(plan, &found);
    if stops.is_empty() {
        return found;
    }
    *known = before;
    pass(plan, known, &stops)
}

/// Is it known that the runbook fails?
pub(super) fn fails(plan: &Plan, outlooks: &[Outlook]) -> bool {
    (0..plan.len()).any(|place| outlooks[place].fails() && !plan.step(place).allow_failure)
}

/// Steps whose failure is known and stops what has not begun, the first ones only.
fn stopping(plan: &Plan, outlooks: &[Outlook]) -> Vec<usize> {
    if plan.runbook().on_failure == OnFailure::Continue {
        return Vec::new();
    }
    let fails = |place: &usize| outlooks[*place].fails() && !plan.step(*place).allow_failure && !plan.is_final(*place);
    let all: Vec<usize> = (0..plan.len()).filter(fails).collect();
    let later: BTreeSet<usize> = all.iter().flat_map(|place| reached(*place, |from| plan.dependents(from))).collect();
    all.into_iter().filter(|place| !later.contains(place)).collect()
}

/// Every place that can be reached from one, without itself.
fn reached(from: usize, next: impl Fn(usize) -> Vec<usize>) -> BTreeSet<usize> {
    let mut seen = BTreeSet::new();
    let mut queue = next(from);
    while let Some(place) = queue.pop() {
        if seen.insert(place) {
            queue.extend(next(place));
        }
    }
    seen
}

fn pass(plan: &Plan, known: &mut Known, stops: &[usize]) -> Vec<Outlook> {
    let needed = |place: usize| plan.step(place).needs.keys().filter_map(|id| plan.place(id)).collect();
    let behind: Vec<BTreeSet<usize>> = stops.iter().map(|stop| reached(*stop, |from| plan.dependents(from))).collect();
    let before: Vec<BTreeSet<usize>> = stops.iter().map(|stop| reached(*stop, needed)).collect();
    let mut found: Vec<Option<Outlook>> = vec![None; plan.len()];
    for place in plan.waves().into_iter().flatten() {
        let mut outlook = outlook(plan, place, known, &found);
        if !plan.is_final(place) && !stops.contains(&place) {
            if let Some(which) = behind.iter().position(|behind| behind.contains(&place)) {
                let because = format!("`{}` fails, and nothing new begins after that", plan.id(stops[which]));
                outlook.leave_out(because);
            } else if let Some(which) = before.iter().position(|before| !before.contains(&place))
                && outlook.fate == Fate::Runs
            {
                outlook.fate = Fate::Open;
                outlook.because =
                    Some(format!("`{}` fails: it is left out unless it has begun by then", plan.id(stops[which])));
                outlook.possible = outlook.possible.and(Results::SKIPPED);
                outlook.expected = outlook.expected.and(Results::SKIPPED);
            }
        }
        let (id, step) = (plan.id(place), plan.step(place));
        let guess = known.supposed.of(id.as_str()).cloned();
        if let Some(guess) = &guess {
            outlook.take(guess);
        }
        if let Some(facts) = learned(step, &outlook, guess.as_ref(), known) {
            known.learn(id, facts);
        }
        found[place] = Some(outlook);
    }
    found.into_iter().map(|outlook| outlook.expect("every step stands in a wave")).collect()
}

impl Outlook {
    fn leave_out(&mut self, because: String) {
        self.fate = Fate::Skipped;
        self.because = Some(because);
        self.possible = Results::SKIPPED;
        self.expected = Results::SKIPPED;
        self.chosen = None;
    }

    /// What is taken as given stands, whatever follows from the rest; what speaks against it is told.
    fn take(&mut self, guess: &Guess) {
        self.given = Some(guess.shown());
        let Some(result) = guess.result() else { return };
        if self.fate == Fate::Skipped && result != StepResult::Skipped {
            self.against = self.because.take();
        }
        self.because = None;
        self.fate = match guess.origin {
            Origin::Supposed => Fate::Supposed,
            Origin::Read(_) => Fate::Read,
        };
        self.possible = Results::of(result);
        self.expected = self.possible;
        self.chosen = None;
    }
}

/// What follows from what it needs, its condition and its arms.
fn outlook(plan: &Plan, place: usize, known: &Known, found: &[Option<Outlook>]) -> Outlook {
    let step = plan.step(place);
    let verdict = step.condition.as_ref().map_or(Verdict::Always, |condition| known.verdict(condition));
    let (mut impossible, mut open) = (None, None);
    let mut behind_gate = step.approval.is_some();
    for (id, need) in &step.needs {
        let Some((at, before)) = plan.place(id).and_then(|at| Some((at, found[at].as_ref()?))) else { continue };
        let accepted = Results::accepted(need);
        if !before.possible.meets(accepted) {
            impossible.get_or_insert_with(|| cannot(id, before, need));
        } else if !before.expected.is_within(accepted) {
            open.get_or_insert_with(|| match before.fate {
                Fate::Open if accepted.meets(Results::SUCCEEDED) => format!("`{id}` may be left out"),
                _ => format!("it needs `{id}` to end {need}"),
            });
        }
        behind_gate |= before.behind_gate && !accepted.meets(refusals(plan.step(at)));
    }
    if verdict == Verdict::Open {
        open.get_or_insert_with(|| "only the run can tell whether its condition holds".to_owned());
    }
    let (arms, choice) = arms(step, known);
    let mut outlook = Outlook {
        fate: Fate::Runs,
        because: None,
        against: None,
        verdict,
        arms,
        chosen: None,
        given: None,
        behind_gate,
        possible: possible(step, choice),
        expected: Results::SUCCEEDED,
    };
    if let Choice::Arm(index) = choice {
        outlook.chosen = Some(index);
    }
    if choice == Choice::NoArm || call_fails(plan, place, known) {
        outlook.possible = Results::FAILED;
        outlook.expected = Results::FAILED;
    }
    if let Some(because) = impossible {
        outlook.leave_out(because);
    } else if outlook.verdict == Verdict::Never {
        outlook.leave_out("its condition does not hold".to_owned());
    } else if let Some(because) = open {
        outlook.fate = Fate::Open;
        outlook.because = Some(because);
        outlook.possible = outlook.possible.and(Results::SKIPPED);
        outlook.expected = outlook.expected.and(Results::SKIPPED);
    }
    outlook
}

/// How a step ends that is refused its yes, at its own gate or at one before it.
fn refusals(step: &Step) -> Results {
    let own = if step.approval.is_some() { Results::REJECTED } else { Results::default() };
    let before = if step.needs.is_empty() { Results::default() } else { Results::SKIPPED };
    own.and(before)
}

fn cannot(id: &StepId, before: &Outlook, need: &Need) -> String {
    let word = StepResult::ALL.into_iter().find(|result| before.possible == Results::of(*result));
    match word {
        Some(result) => format!("it needs `{id}` to end {need}, and that ends {result}"),
        None => format!("it needs `{id}` to end {need}, which it cannot"),
    }
}

/// How a step that has its turn may end.
fn possible(step: &Step, choice: Choice) -> Results {
    let acts = match &step.does {
        Does::Gate => Results::SUCCEEDED,
        Does::Manual(_) => Results::SUCCEEDED.and(Results::FAILED).and(Results::SKIPPED),
        Does::Decide(_) if matches!(choice, Choice::Arm(_)) => Results::SUCCEEDED,
        Does::Decide(_) | Does::Action { .. } => Results::SUCCEEDED.and(Results::FAILED),
        // A person may say no within it.
        Does::Call(_) => Results::SUCCEEDED.and(Results::FAILED).and(Results::REJECTED),
    };
    if step.approval.is_some() { acts.and(Results::REJECTED) } else { acts }
}

fn arms(step: &Step, known: &Known) -> (Vec<Verdict>, Choice) {
    let Does::Decide(decide) = &step.does else { return (Vec::new(), Choice::Open) };
    let of_arm =
        |condition: &Option<_>| condition.as_ref().map_or(Verdict::Always, |condition| known.verdict(condition));
    let verdicts: Vec<Verdict> = decide.arms.iter().map(|arm| of_arm(&arm.condition)).collect();
    let choice = match verdicts.iter().position(|verdict| *verdict != Verdict::Never) {
        None => Choice::NoArm,
        Some(index) if verdicts[index] == Verdict::Always => Choice::Arm(index),
        Some(_) => Choice::Open,
    };
    (verdicts, choice)
}

/// Is it known that a called runbook fails, from what is supposed of its steps?
fn call_fails(plan: &Plan, place: usize, known: &Known) -> bool {
    if known.supposed.inside(plan.id(place)).is_empty() || plan.step(place).for_each.is_some() {
        return false;
    }
    let Some((called, mut inside)) = known_inside(plan, place, known) else { return false };
    let found = outlooks(&called, &mut inside);
    fails(&called, &found)
}

/// What is known of a step once its outlook is: what is given, and what follows from that.
fn learned(step: &Step, outlook: &Outlook, guess: Option<&Guess>, known: &Known) -> Option<StepFacts> {
    let mut facts = guess.map(|guess| guess.facts.clone()).unwrap_or_default();
    let result = StepResult::ALL.into_iter().find(|result| outlook.possible == Results::of(*result));
    if outlook.fate == Fate::Runs
        && let Some(index) = outlook.chosen
        && let Does::Decide(decide) = &step.does
    {
        facts.insert("outputs".to_owned(), parts(&decide.arms[index].then, known));
    }
    if let Some(result) = result {
        follows(step, result, &mut facts);
    }
    (!facts.is_empty()).then_some(facts)
}

/// What an arm gives, as far as it is known.
fn parts(then: &Templated, known: &Known) -> Part {
    match then {
        Templated::Map(map) => {
            let fast = map.iter().filter(|(_, value)| known.stands_fast(value));
            Part::Parts(fast.map(|(name, value)| (name.clone(), Part::Whole(known.ahead(value)))).collect())
        }
        then if known.stands_fast(then) => Part::Whole(known.ahead(then)),
        _ => Part::Parts(StepFacts::new()),
    }
}
