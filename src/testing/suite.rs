//! The cases of one test file: loaded and planned once, played one after the other.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::cover::Coverage;
use super::document::Case;
use super::driver::{Broken, Played, Surroundings, play};
use super::judge::{Miss, judge};
use super::read::Draft;
use crate::action::Registry;
use crate::base::{Code, Diagnostic, HumanDuration, Source, clock};
use crate::engine::Approvers;
use crate::plan::{Plan, Unplanned, build};
use crate::report::{Line, built_in, lines_of};
use crate::runbook::Loaded;

/// Reads the text of a report's template in a folder.
type ReadTemplate = dyn Fn(&Path) -> std::io::Result<String>;

/// The cases of one test file.
pub struct Suite {
    /// The test file.
    pub source: Arc<Source>,
    /// The runbook's file.
    pub runbook: Arc<Source>,
    cases: Vec<Case>,
    plans: RefCell<Plans>,
    registry: Registry,
    approvers: Approvers,
    coverage: RefCell<Coverage>,
    templates: RefCell<BTreeMap<String, Result<String, String>>>,
}

/// The plan of a runbook with the inputs of each case, the runbook looked at once.
struct Plans {
    base: Arc<Plan>,
    by_inputs: BTreeMap<String, Arc<Plan>>,
}

/// What came of one case.
#[derive(Debug)]
pub struct Verdict {
    /// The case.
    pub name: String,
    /// What is not as it should be, each with its place in the test file.
    pub misses: Vec<Diagnostic>,
    /// What happened, a line for each thing worth telling.
    pub story: Vec<Line>,
    /// When the run began.
    pub began: crate::base::Timestamp,
    /// How long the run took by its own clock.
    pub took: HumanDuration,
    /// What happened, as a run log has it.
    pub played: Played,
}

impl Verdict {
    /// Is all as it should be?
    pub fn passed(&self) -> bool {
        self.misses.is_empty()
    }
}

impl Suite {
    /// Holds a test file against its runbook. An error holds everything that is wrong with it.
    pub fn new(
        draft: &Draft,
        loaded: &Loaded,
        registry: Registry,
        approvers: Approvers,
        folder: &Path,
    ) -> Result<Self, Vec<Diagnostic>> {
        let cases = draft.cases(loaded, &registry)?;
        let given = cases.first().map(|case| case.script.inputs.clone()).unwrap_or_default();
        let base = match build(loaded, &registry, &given) {
            Ok(plan) => Arc::new(plan.in_folder(folder.to_owned())),
            Err(Unplanned::Runbook(problems)) => return Err(problems),
            Err(Unplanned::Inputs(_)) => unreachable!("the inputs of every case have been looked at"),
        };
        let coverage = RefCell::new(Coverage::of(loaded));
        Ok(Self {
            source: Arc::clone(&draft.source),
            runbook: Arc::clone(&loaded.source),
            cases,
            plans: RefCell::new(Plans { base, by_inputs: BTreeMap::new() }),
            registry,
            approvers,
            coverage,
            templates: RefCell::default(),
        })
    }

    /// The cases.
    pub fn cases(&self) -> &[Case] {
        &self.cases
    }

    /// What the cases that were played have covered of the runbook.
    pub fn coverage(&self) -> Coverage {
        self.coverage.borrow().clone()
    }

    /// Plays a case and holds what came of it against what was expected.
    pub fn run(&self, case: &Case) -> Verdict {
        let plan = self.plan(&case.script.inputs);
        let template = |name: &str| self.template(plan.folder().as_path(), name);
        let around = Surroundings { registry: &self.registry, approvers: &self.approvers, template: &template };
        let played = play(&plan, &case.script, &around);
        self.coverage.borrow_mut().see(&played);
        let mut misses = Vec::new();
        if let Err(broken) = &played.ended {
            misses.push(self.broken(case, broken));
        }
        // What a case that broke off would have come to nobody knows.
        if played.ended.is_ok() {
            let judged = judge(case, &played, &self.registry);
            misses.extend(judged.into_iter().map(|Miss { span, expected, found, instead }| Diagnostic {
                help: instead,
                ..Diagnostic::error(&self.source, span, Code::UnmetExpectation, expected).label(found)
            }));
        }
        let began = case.script.starts;
        let ended = played.log.last().map_or(began, |recorded| recorded.at);
        // Only a failure needs its story, and making it costs as much as playing it.
        let story = if misses.is_empty() { Vec::new() } else { story(&plan, &played) };
        let took = HumanDuration(clock::until(began, ended));
        Verdict { name: case.name.value.clone(), misses, story, began, took, played }
    }

    /// The story of a case that went as it should.
    pub fn story(&self, case: &Case, played: &Played) -> Vec<Line> {
        story(&self.plan(&case.script.inputs), played)
    }

    /// The plan that a case follows.
    pub fn plan(&self, inputs: &BTreeMap<String, Value>) -> Arc<Plan> {
        let mut plans = self.plans.borrow_mut();
        let key = serde_json::to_string(inputs).unwrap_or_default();
        if let Some(plan) = plans.by_inputs.get(&key) {
            return Arc::clone(plan);
        }
        let plan = plans.base.with_inputs(inputs).expect("the inputs of every case have been looked at");
        let plan = Arc::new(plan);
        plans.by_inputs.insert(key, Arc::clone(&plan));
        plan
    }

    fn template(&self, folder: &Path, name: &str) -> Result<String, String> {
        let read: &ReadTemplate = &|path| std::fs::read_to_string(path);
        let mut templates = self.templates.borrow_mut();
        let text = templates.entry(name.to_owned()).or_insert_with(|| {
            let path = folder.join(name);
            match (read(&path), built_in(name)) {
                (Ok(text), _) => Ok(text),
                (Err(error), Some(text)) if error.kind() == std::io::ErrorKind::NotFound => Ok(text.to_owned()),
                (Err(error), _) => Err(format!("{}: {error}", path.display())),
            }
        });
        text.clone()
    }

    fn broken(&self, case: &Case, broken: &Broken) -> Diagnostic {
        let help = match broken {
            Broken::NoAnswer(step) => Some(format!("say what it gets: `steps: {{ {step}: {{ outputs: … }} }}`")),
            Broken::NoVoice { step, .. } => {
                Some(format!("say who answers: `gates: {{ {step}: {{ approve: user:NAME }} }}`, or `nobody`"))
            }
            Broken::NoHand(step) => Some(format!(
                "say who does it: `steps: {{ {step}: {{ evidence: {{ … }}, by: user:NAME }} }}`, or `nobody`"
            )),
            Broken::NoUndo(step) => Some(format!("say how it goes: `undos: {{ {step}: done }}`")),
            Broken::NoLook(step) => {
                Some(format!("say what is found: `undos: {{ {step}: {{ look: {{ outputs: … }} }} }}`"))
            }
            Broken::NoTruth { step, undo: false } => {
                Some(format!("say what became of it: `steps: {{ {step}: {{ in_doubt: did_not_happen }} }}`"))
            }
            Broken::NoTruth { step, undo: true } => {
                Some(format!("say what became of it: `undos: {{ {step}: {{ in_doubt: did_not_happen }} }}`"))
            }
            Broken::Endless | Broken::Stalled | Broken::Illegal(_) => None,
        };
        let problem = Diagnostic::error(&self.source, case.name.span, Code::MissingResult, broken.to_string());
        match help {
            Some(help) => problem.help(help),
            None => problem,
        }
    }
}

/// What happened, in words.
fn story(plan: &Arc<Plan>, played: &Played) -> Vec<Line> {
    let mut lines = lines_of(plan, &played.log);
    for refused in &played.refused {
        let who = refused.by.strip_prefix("user:").unwrap_or(&refused.by);
        let line = Line {
            time: refused.at,
            step: Some(refused.step.clone()),
            kind: crate::report::Kind::Rejected,
            text: format!("what {who} said was not taken: {}", refused.reason),
        };
        let at = lines.iter().position(|line| line.time > refused.at).unwrap_or(lines.len());
        lines.insert(at, line);
    }
    lines
}
