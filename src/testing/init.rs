//! Makes up a first test file for a runbook: answers of a healthy world, then whatever leads down another way.
//!
//! Everything in it has been played: what a case expects is what came of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::{Map, Value, json};

use super::document::{Answer, Hand, Script, UndoAnswer, Voice, What};
use super::driver::{Played, Surroundings, play};
use super::outputs::{Of, Outputs, declared};
use super::people::decision;
use crate::action::{ActionError, ErrorKind, Registry};
use crate::base::{StepId, StepPath};
use crate::engine::Approvers;
use crate::plan::{Plan, Unplanned, build, expressions};
use crate::report::built_in;
use crate::run::{self, Kept, ManualResult, StepState, UndoState};
use crate::runbook::{
    Approval, Does, Input, InputType, Loaded, OnTimeout, OutputType, Step, StepResult, Undo, call_key,
};

/// How many runs are played at most to find a way.
const MOST_TRIES: usize = 3_000;

/// The text of a first test file. The error says why none can be made up.
pub fn first_tests(
    loaded: &Loaded,
    registry: &Registry,
    approvers: &Approvers,
    folder: &Path,
) -> Result<String, String> {
    let inputs = inputs(&loaded.runbook.inputs)?;
    let plan = match build(loaded, registry, &inputs) {
        Ok(plan) => Arc::new(plan.in_folder(folder.to_owned())),
        Err(Unplanned::Runbook(_)) => return Err("the runbook has mistakes".to_owned()),
        Err(Unplanned::Inputs(problems)) => {
            return Err(problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "));
        }
    };
    let template = |name: &str| {
        std::fs::read_to_string(folder.join(name))
            .or_else(|error| built_in(name).map(str::to_owned).ok_or(error))
            .map_err(|error| error.to_string())
    };
    let mut maker = Maker {
        loaded,
        approvers,
        outputs: Outputs::new(loaded, registry),
        plan: &plan,
        around: Surroundings { registry, approvers, template: &template },
        played: 0,
        steps: Vec::new(),
    };
    maker.walk("", loaded, "");
    let base = maker.healthy(inputs);
    let base = maker.mended(base);
    let cases = maker.cases(&base);
    Ok(maker.write(&base, &cases))
}

/// A step of the runbook, or of one that it calls.
struct Known<'l> {
    path: StepPath,
    key: String,
    id: &'l StepId,
    step: &'l Step,
}

/// One way through the runbook.
struct Way {
    name: String,
    script: Script,
    played: Played,
}

struct Maker<'m> {
    loaded: &'m Loaded,
    approvers: &'m Approvers,
    outputs: Outputs<'m>,
    plan: &'m Arc<Plan>,
    around: Surroundings<'m>,
    played: usize,
    steps: Vec<Known<'m>>,
}

impl<'m> Maker<'m> {
    /// Every step, those of called runbooks too.
    fn walk(&mut self, key: &str, part: &'m Loaded, before: &str) {
        for (id, step) in part.runbook.steps.iter().chain(&part.runbook.finally) {
            let Ok(path) = StepPath::parse(&format!("{before}{id}")) else { continue };
            self.steps.push(Known { path, key: key.to_owned(), id, step });
            if let Does::Call(call) = &step.does {
                let called = call_key(key, &call.file);
                let root = self.loaded;
                if let Some(part) = root.called.get(&called).filter(|_| self.steps.len() < 1_000) {
                    self.walk(&called, part, &format!("{before}{id}/"));
                }
            }
        }
    }

    /// A world in which everything goes well, as far as its schemas tell.
    fn healthy(&self, inputs: BTreeMap<String, Value>) -> Script {
        let mut script = Script {
            inputs,
            starts: "2026-01-01T12:00:00Z".parse().expect("it is a moment"),
            by: "user:tester".to_owned(),
            steps: BTreeMap::new(),
            undos: BTreeMap::new(),
            gates: BTreeMap::new(),
            stop: None,
        };
        for known in &self.steps {
            match &known.step.does {
                Does::Action { uses, .. } if uses != "report.render" => {
                    if let Some(outputs) = self.success(known) {
                        script.steps.insert(known.path.clone(), vec![success(outputs)]);
                    }
                }
                Does::Manual(manual) => {
                    let evidence = manual.evidence.iter().map(|(name, field)| (name.clone(), sample(name, field)));
                    let result = ManualResult::Done { evidence: evidence.collect() };
                    let hand = Hand { by: "user:tester".to_owned(), after: Duration::from_secs(300), result };
                    let what = What::ByHand(Some(hand));
                    let answer = Answer { what, takes: Duration::ZERO, times: 1, checkpoint: None };
                    script.steps.insert(known.path.clone(), vec![answer]);
                }
                _ => {}
            }
            if let Some(approval) = &known.step.approval {
                script.gates.insert(known.path.clone(), self.yes(approval));
            }
            if let Some(undo) = &known.step.undo {
                let look = match undo {
                    Undo::Action { verify: Some(verify), .. } => {
                        self.outputs.shape(&verify.uses).map(|shape| Ok(Value::Object(shape.healthy())))
                    }
                    _ => None,
                };
                let done = UndoAnswer { result: Ok(Vec::new()), in_doubt: None, look, takes: Duration::ZERO, times: 1 };
                script.undos.insert(known.path.clone(), vec![done]);
            }
        }
        script
    }

    /// What the action of a step gives when all is well.
    fn success(&self, known: &Known<'_>) -> Option<Map<String, Value>> {
        let Does::Action { uses, with } = &known.step.does else { return None };
        let mut outputs = self.outputs.shape(uses)?.healthy();
        match uses.as_str() {
            "shell" => {
                outputs = Map::new();
                for (name, value) in
                    [("exit_code", json!(0)), ("stdout", json!("")), ("stderr", json!("")), ("truncated", json!(false))]
                {
                    outputs.insert(name.to_owned(), value);
                }
                outputs.extend(declared(with).into_iter().map(|(name, kind)| {
                    let value = match kind {
                        OutputType::String => name.as_str().into(),
                        OutputType::Integer | OutputType::Number => 1.into(),
                        OutputType::Boolean => true.into(),
                        OutputType::Json => json!([]),
                    };
                    (name, value)
                }));
            }
            "http.get" | "http.request" => {
                let status = [200, 201, 202, 204]
                    .into_iter()
                    .find(|status| super::outputs::hopes_for(with, *status) != Some(false));
                outputs.insert("status".to_owned(), status.unwrap_or(200).into());
            }
            _ => {}
        }
        Some(outputs)
    }

    /// As many as must agree, of those who may.
    fn yes(&self, approval: &Approval) -> Vec<Voice> {
        let mut may = self.approvers.members(approval);
        may.retain(|who| who != "user:tester" || !approval.not_requester);
        if may.is_empty() {
            may = ["user:alice", "user:bob", "user:carol"].map(str::to_owned).to_vec();
        }
        let answers: IndexMap<String, Value> =
            approval.ask.iter().map(|(name, field)| (name.clone(), sample(name, field))).collect();
        let count = usize::try_from(approval.at_least).unwrap_or(1);
        may.iter()
            .take(count)
            .map(|who| Voice {
                decision: decision(who, run::Answer::Approve, answers.clone()),
                after: Duration::from_secs(120),
            })
            .collect()
    }

    fn play(&mut self, script: &Script) -> Played {
        self.played += 1;
        play(self.plan, script, &self.around)
    }

    /// The same with other answers wherever a step failed that could have gone well.
    fn mended(&mut self, mut script: Script) -> Script {
        for _ in 0..self.steps.len() {
            let played = self.play(&script);
            let Some(index) = self.first_failure(&played, &script) else { return script };
            let path = self.steps[index].path.clone();
            let mut better = None;
            for answer in self.others(index) {
                let mut other = script.clone();
                other.steps.insert(path.clone(), vec![answer]);
                let after = self.play(&other);
                if after.ended.is_ok() && succeeded(&after, &path) {
                    better = Some(other);
                    break;
                }
                if self.played > MOST_TRIES {
                    return script;
                }
            }
            match better {
                Some(other) => script = other,
                None => return script,
            }
        }
        script
    }

    /// The first step that failed although nobody lets it.
    fn first_failure(&self, played: &Played, script: &Script) -> Option<usize> {
        let is_let_fail = |path: &StepPath| {
            script
                .steps
                .get(path)
                .is_some_and(|answers| answers.iter().any(|answer| matches!(answer.what, What::Fails(_))))
        };
        self.steps.iter().position(|known| {
            let failed = played.state.records().any(|(path, record)| {
                plain(path) == known.path.as_str() && record.result() == Some(StepResult::Failed)
            });
            failed && !is_let_fail(&known.path) && matches!(known.step.does, Does::Action { .. })
        })
    }

    /// Other answers that a step could get: each of the flags and words that the runbook looks at, in every combination of
    /// a few, and failures of the kinds that it names.
    fn others(&self, index: usize) -> Vec<Answer> {
        let known = &self.steps[index];
        let Does::Action { uses, .. } = &known.step.does else { return Vec::new() };
        let (Some(base), Some(shape)) = (self.success(known), self.outputs.shape(uses)) else { return Vec::new() };
        let reads = self.outputs.reads(Of { key: &known.key, id: known.id, step: known.step });
        let mut choices: Vec<(Vec<String>, Vec<Value>)> = Vec::new();
        let texts = self.literals(known);
        for path in reads.paths() {
            let name = path[0].as_str();
            // Whether something answered is for the kind of failure to say.
            if uses.starts_with("http.") && matches!(name, "reachable" | "ok") {
                continue;
            }
            let values: Vec<Value> = if path.len() > 1 || (shape.is_flag(name) || declared_flag(known.step, name)) {
                let mut values = vec![json!(true), json!(false)];
                if path.len() > 1 {
                    values.extend(texts.iter().map(|text| json!(text)));
                }
                values
            } else if name == "stdout" {
                texts.iter().map(|text| json!(text)).collect()
            } else if name == "status" && uses.starts_with("http.") {
                [200, 404, 500, 503]
                    .into_iter()
                    .filter(|status| super::outputs::hopes_for(with_of(known.step), *status) != Some(false))
                    .map(|status| json!(status))
                    .collect()
            } else {
                shape.words(name).into_iter().map(Value::from).collect()
            };
            if !values.is_empty() && choices.len() < 4 {
                choices.push((path.to_vec(), values));
            }
        }
        let mut all = vec![base];
        for (path, values) in &choices {
            let with = |outputs: &Map<String, Value>, value: &Value| {
                let mut outputs = Value::Object(outputs.clone());
                set(&mut outputs, path, value.clone());
                match outputs {
                    Value::Object(outputs) => outputs,
                    _ => Map::new(),
                }
            };
            all = all
                .iter()
                .flat_map(|outputs| values.iter().map(|value| with(outputs, value)).collect::<Vec<_>>())
                .collect();
        }
        let mut answers: Vec<Answer> = all.into_iter().map(success).collect();
        for kind in self.kinds(known) {
            let mut error = ActionError::new(kind, format!("it failed: {}", kind.as_str().replace('_', " ")));
            error.status = match kind {
                ErrorKind::Unauthorized => Some(401),
                ErrorKind::RateLimited => Some(429),
                ErrorKind::Server => Some(500),
                _ => None,
            };
            let what = What::Fails(self.with_outputs(known, error));
            answers.push(Answer { what, takes: Duration::ZERO, times: 1, checkpoint: None });
        }
        answers
    }

    fn with_outputs(&self, known: &Known<'_>, mut error: ActionError) -> ActionError {
        let source = crate::base::Source::new("", "");
        let mut reader = crate::runbook::read::Reader::new(&source);
        let of = Of { key: &known.key, id: known.id, step: known.step };
        error.outputs = self.outputs.of_failure(&mut reader, of, None, &error).map(Box::new);
        error
    }

    /// The texts that expressions of a step's runbook compare with.
    fn literals(&self, known: &Known<'_>) -> BTreeSet<String> {
        let runbook = match known.key.as_str() {
            "" => &self.loaded.runbook,
            key => &self.loaded.called[key].runbook,
        };
        let mut found = BTreeSet::new();
        for (_, step) in runbook.steps.iter().chain(&runbook.finally) {
            for (_, expression) in expressions(step) {
                found.extend(expression.0.split('\'').skip(1).step_by(2).map(str::to_owned));
            }
        }
        found
    }

    /// The kinds of failure that a step may have and that its runbook speaks of.
    fn kinds(&self, known: &Known<'_>) -> Vec<ErrorKind> {
        if !known.step.allow_failure {
            return Vec::new();
        }
        let named = self.literals(known);
        let own = [ErrorKind::Template, ErrorKind::NotMet, ErrorKind::Cancelled];
        let is_named =
            |kind: &ErrorKind| named.contains(kind.as_str()) || matches!(kind, ErrorKind::Server | ErrorKind::Network);
        ErrorKind::ALL.into_iter().filter(|kind| !own.contains(kind) && is_named(kind)).collect()
    }

    /// A case for each way that can be found: the healthy world, each branch, each gate.
    fn cases(&mut self, base: &Script) -> Vec<Way> {
        let played = self.play(base);
        let mut ways = vec![Way { name: "all goes well".to_owned(), script: base.clone(), played }];
        self.branches(base, &mut ways);
        let mut gates: Vec<Way> = Vec::new();
        for known in &self.steps {
            let Some(approval) = &known.step.approval else { continue };
            let opened = |way: &&Way| {
                way.played
                    .state
                    .records()
                    .any(|(path, record)| plain(path) == known.path.as_str() && !record.decisions.is_empty())
            };
            let Some(way) = ways.iter().find(opened) else { continue };
            let mut no = way.script.clone();
            let voices = self.yes(approval);
            let by = voices.first().map_or("user:alice", |voice| voice.decision.by.as_str());
            let voice =
                Voice { decision: decision(by, run::Answer::Reject, IndexMap::new()), after: Duration::from_secs(120) };
            no.gates.insert(known.path.clone(), vec![voice]);
            let name = format!("a no at the gate of {}", known.path);
            gates.push(Way { name, played: play(self.plan, &no, &self.around), script: no });
            let mut silence = way.script.clone();
            silence.gates.insert(known.path.clone(), Vec::new());
            let lapses = approval.within.is_some() && approval.on_timeout == OnTimeout::Reject;
            let name = format!("nobody answers at the gate of {}{}", known.path, if lapses { " in time" } else { "" });
            gates.push(Way { name, played: play(self.plan, &silence, &self.around), script: silence });
        }
        ways.extend(gates);
        // What breaks off could not be played by the file either.
        ways.retain(|way| way.played.ended.is_ok());
        ways
    }

    /// A way to each arm of each decision and past each condition: one other answer at a time, then two.
    fn branches(&mut self, base: &Script, ways: &mut Vec<Way>) {
        let mut missing: BTreeSet<(StepPath, Branch)> = BTreeSet::new();
        for known in &self.steps {
            if let Does::Decide(decide) = &known.step.does {
                missing.extend((0..decide.arms.len()).map(|arm| (known.path.clone(), Branch::Arm(arm))));
            }
            if known.step.condition.is_some() {
                missing.extend([Branch::Holds, Branch::DoesNotHold].map(|branch| (known.path.clone(), branch)));
            }
        }
        for way in ways.iter() {
            let taken = taken(&way.played);
            missing.retain(|branch| !taken.contains(branch));
        }
        self.other_inputs(base, &mut missing, ways);
        // Only what comes before can change it.
        let before = self.before_branches();
        let others: Vec<(StepPath, Vec<Answer>)> = (0..self.steps.len())
            .filter(|index| before.contains(&self.steps[*index].path))
            .map(|index| (self.steps[index].path.clone(), self.others(index)))
            .collect();
        let singles = others.iter().flat_map(|(path, answers)| answers.iter().map(move |answer| vec![(path, answer)]));
        let pairs = others.iter().enumerate().flat_map(|(index, (path, answers))| {
            let after = &others[index + 1..];
            after.iter().flat_map(move |(other_path, other_answers)| {
                answers.iter().flat_map(move |answer| {
                    other_answers.iter().map(move |other| vec![(path, answer), (other_path, other)])
                })
            })
        });
        for combination in singles.chain(pairs) {
            if missing.is_empty() || self.played > MOST_TRIES {
                return;
            }
            let mut script = base.clone();
            script.steps.extend(combination.into_iter().map(|(path, answer)| (path.clone(), vec![answer.clone()])));
            let played = self.play(&script);
            let found = taken(&played).into_iter().find(|branch| missing.contains(branch));
            let Some((path, branch)) = found else { continue };
            let script = self.mended(script);
            let played = self.play(&script);
            let taken = taken(&played);
            if !taken.contains(&(path.clone(), branch)) || played.ended.is_err() {
                continue;
            }
            missing.retain(|branch| !taken.contains(branch));
            let outputs = played.state.record(&path).and_then(|record| record.outputs.as_ref()).map(Kept::value);
            let name = branch_name(&path, branch, outputs.as_ref());
            // Several arms may come to the same; then the arm tells the cases apart.
            let name = match branch {
                Branch::Arm(arm) if ways.iter().any(|way| way.name == name) => format!("{name}, by arm {}", arm + 1),
                _ => name,
            };
            ways.push(Way { name, script, played });
        }
    }
}

impl Maker<'_> {
    /// Every other word that an input takes, where it leads to a branch that nothing else has taken.
    fn other_inputs(&mut self, base: &Script, missing: &mut BTreeSet<(StepPath, Branch)>, ways: &mut Vec<Way>) {
        for (name, input) in &self.loaded.runbook.inputs {
            let words: Vec<Value> = match input.kind {
                InputType::Enum => input.values.iter().map(|word| json!(word)).collect(),
                InputType::Boolean => vec![json!(true), json!(false)],
                InputType::String | InputType::Integer | InputType::Duration | InputType::Url => Vec::new(),
            };
            for word in words {
                if missing.is_empty() || self.played > MOST_TRIES {
                    return;
                }
                let mut script = base.clone();
                script.inputs.insert(name.clone(), word.clone());
                let Ok(plan) = build(self.loaded, self.around.registry, &script.inputs) else { continue };
                let plan = Arc::new(plan.in_folder(self.plan.folder()));
                self.played += 1;
                let played = play(&plan, &script, &self.around);
                let taken = taken(&played);
                if played.ended.is_err() || missing.is_disjoint(&taken) {
                    continue;
                }
                missing.retain(|branch| !taken.contains(branch));
                let word = word.as_str().map_or_else(|| word.to_string(), str::to_owned);
                ways.push(Way { name: format!("with {name} {word}"), script, played });
            }
        }
    }
}

/// One of several ways on at a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Branch {
    Arm(usize),
    Holds,
    DoesNotHold,
}

impl Maker<'_> {
    /// The steps that come before a decision or a condition of the same runbook.
    fn before_branches(&self) -> BTreeSet<StepPath> {
        let beside = |path: &StepPath, id: &StepId| {
            let text = path.as_str();
            let before = text.rfind('/').map_or("", |slash| &text[..=slash]);
            StepPath::parse(&format!("{before}{id}")).ok()
        };
        let is_branching =
            |known: &&Known<'_>| matches!(known.step.does, Does::Decide(_)) || known.step.condition.is_some();
        let mut found = BTreeSet::new();
        let mut left: Vec<&Known<'_>> = self.steps.iter().filter(is_branching).collect();
        while let Some(known) = left.pop() {
            for needed in known.step.needs.keys().filter_map(|id| beside(&known.path, id)) {
                if found.insert(needed.clone()) {
                    left.extend(self.steps.iter().filter(|other| other.path == needed));
                }
            }
        }
        found
    }
}

/// What a case for a branch is called.
fn branch_name(path: &StepPath, branch: Branch, outputs: Option<&Value>) -> String {
    let first = outputs.and_then(Value::as_object).and_then(|map| map.iter().next());
    match (branch, first) {
        (Branch::Arm(_), Some((name, Value::String(value)))) => format!("{path} finds {name} {value}"),
        (Branch::Arm(arm), _) => format!("{path} chooses arm {}", arm + 1),
        (Branch::Holds, _) => format!("{path} runs"),
        (Branch::DoesNotHold, _) => format!("{path} is left out"),
    }
}

/// The branches that a run took.
fn taken(played: &Played) -> BTreeSet<(StepPath, Branch)> {
    let mut taken = BTreeSet::new();
    for recorded in &played.log {
        let Some(path) = recorded.event.step().and_then(|step| StepPath::parse(&plain(step)).ok()) else { continue };
        let branch = match &recorded.event {
            run::Event::Decided { arm: Some(arm), .. } => {
                taken.insert((path.clone(), Branch::Arm(*arm)));
                Branch::Holds
            }
            run::Event::StepSkipped { because: run::Cause::Condition { .. }, .. } => Branch::DoesNotHold,
            run::Event::GateOpened { .. }
            | run::Event::AttemptStarted { .. }
            | run::Event::ManualAsked { .. }
            | run::Event::LoopBegan { .. }
            | run::Event::CallBegan { .. } => Branch::Holds,
            _ => continue,
        };
        taken.insert((path, branch));
    }
    taken
}

/// A path without the names of items.
fn plain(path: &StepPath) -> String {
    let parts = path.as_str().split('/').map(|part| part.split('[').next().unwrap_or_default());
    parts.collect::<Vec<_>>().join("/")
}

/// Did it act, or was somebody asked to?
fn has_begun(record: &run::StepRecord) -> bool {
    record.attempts > 0 || record.started_at.is_some() || record.state == StepState::Asked
}

fn succeeded(played: &Played, path: &StepPath) -> bool {
    let all = || played.state.records().filter(|(known, _)| plain(known) == path.as_str());
    all().any(|(_, record)| record.result() == Some(StepResult::Succeeded))
        && !all().any(|(_, record)| record.result() == Some(StepResult::Failed))
}

fn success(outputs: Map<String, Value>) -> Answer {
    let what = What::Succeeds(Value::Object(outputs));
    Answer { what, takes: Duration::ZERO, times: 1, checkpoint: None }
}

fn with_of(step: &Step) -> &crate::runbook::Templated {
    match &step.does {
        Does::Action { with, .. } => with,
        _ => unreachable!("only steps with an action get answers"),
    }
}

fn declared_flag(step: &Step, name: &str) -> bool {
    matches!(&step.does, Does::Action { uses, with } if uses == "shell" && declared(with).get(name) == Some(&OutputType::Boolean))
}

/// Sets a value deep inside another one.
fn set(value: &mut Value, path: &[String], to: Value) {
    match path.split_first() {
        None => *value = to,
        Some((first, rest)) => {
            if !value.is_object() {
                *value = json!({});
            }
            if let Some(map) = value.as_object_mut() {
                set(map.entry(first.clone()).or_insert(Value::Null), rest, to);
            }
        }
    }
}

/// Values for the inputs that must be given.
fn inputs(declared: &IndexMap<String, Input>) -> Result<BTreeMap<String, Value>, String> {
    let mut values = BTreeMap::new();
    for (name, input) in declared.iter().filter(|(_, input)| input.required && input.default.is_none()) {
        let value = sample(name, input);
        input.read(&value).map_err(|reason| format!("input `{name}`: {reason}"))?;
        values.insert(name.clone(), value);
    }
    Ok(values)
}

/// A value that an input, a question or a piece of evidence takes; the likeliest one, if none does.
fn sample(name: &str, input: &Input) -> Value {
    if let Some(default) = &input.default {
        return default.clone();
    }
    let usual: Vec<Value> = match input.kind {
        InputType::String => {
            [name, "example", "example.com", "a", "A", "1", "abc-123", "2026-01-01", "prod"].map(Value::from).to_vec()
        }
        InputType::Integer => vec![json!(1), json!(10), json!(100)],
        InputType::Boolean => vec![json!(true)],
        InputType::Duration => ["10m", "1m", "1h", "10s", "1d"].map(Value::from).to_vec(),
        InputType::Url => vec![json!("https://example.com")],
        InputType::Enum => input.values.iter().map(|word| json!(word)).collect(),
    };
    let limits = input.min.iter().chain(&input.max).cloned();
    let long = (input.kind == InputType::String).then(|| json!(name.repeat(20)));
    let all: Vec<Value> = usual.into_iter().chain(limits).chain(long).collect();
    all.iter().find(|value| input.read(value).is_ok()).or_else(|| all.first()).cloned().unwrap_or_default()
}

impl Maker<'_> {
    /// The file.
    fn write(&self, base: &Script, ways: &[Way]) -> String {
        let mut out = String::from("# yaml-language-server: $schema=../schemas/test.schema.json\n");
        let file = Path::new(&self.loaded.source.name).file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let _ = writeln!(out, "test: {}", scalar(file));
        // Only steps that some case reaches are spoken of.
        let ran = |path: &StepPath| {
            ways.iter().any(|way| {
                way.played.state.records().any(|(known, record)| plain(known) == path.as_str() && has_begun(record))
            })
        };
        let undone = |path: &StepPath| {
            ways.iter().any(|way| {
                way.played.state.records().any(|(known, record)| plain(known) == path.as_str() && record.undo.is_some())
            })
        };
        let asked = |path: &StepPath| {
            ways.iter().any(|way| way.played.log.iter().any(|recorded| matches!(&recorded.event, run::Event::GateOpened { step, .. } if plain(step) == path.as_str())))
        };
        let mut defaults = String::new();
        if !base.inputs.is_empty() {
            defaults.push_str("  inputs:\n");
            for (name, value) in &base.inputs {
                let _ = writeln!(defaults, "    {name}: {}", flow(value));
            }
        }
        self.section(
            &mut defaults,
            "steps",
            "  ",
            base.steps.iter().filter(|(path, _)| ran(path)).map(|(path, answers)| (path, self.answer(path, answers))),
        );
        self.section(
            &mut defaults,
            "gates",
            "  ",
            base.gates.iter().filter(|(path, _)| asked(path)).map(|(path, voices)| (path, voices_text(voices))),
        );
        self.section(
            &mut defaults,
            "undos",
            "  ",
            base.undos.iter().filter(|(path, _)| undone(path)).map(|(path, answers)| (path, undo_text(answers))),
        );
        if !defaults.is_empty() {
            let _ = write!(out, "\ndefaults:\n{defaults}");
        }
        out.push_str("\ncases:\n");
        for (index, way) in ways.iter().enumerate() {
            let _ = writeln!(out, "{}  {}:", if index > 0 { "\n" } else { "" }, scalar(&way.name));
            let differs = |path: &StepPath, answers: &[Answer]| {
                base.steps.get(path).is_none_or(|known| self.answer(path, known) != self.answer(path, answers))
            };
            let ran_here = |path: &StepPath| {
                way.played.state.records().any(|(known, record)| plain(known) == path.as_str() && has_begun(record))
            };
            let inputs = way.script.inputs.iter().filter(|(name, value)| base.inputs.get(*name) != Some(value));
            let inputs: Vec<String> = inputs.map(|(name, value)| format!("{name}: {}", flow(value))).collect();
            if !inputs.is_empty() {
                let _ = writeln!(out, "    inputs: {{ {} }}", inputs.join(", "));
            }
            let steps = way.script.steps.iter().filter(|(path, answers)| ran_here(path) && differs(path, answers));
            self.section(&mut out, "steps", "    ", steps.map(|(path, answers)| (path, self.answer(path, answers))));
            let voices = way.script.gates.iter().filter(|(path, voices)| {
                base.gates.get(*path).is_none_or(|known| voices_text(known) != voices_text(voices))
            });
            self.section(&mut out, "gates", "    ", voices.map(|(path, voices)| (path, voices_text(voices))));
            self.expect(&mut out, way);
        }
        out
    }

    fn section<'p>(
        &self,
        out: &mut String,
        name: &str,
        indent: &str,
        entries: impl Iterator<Item = (&'p StepPath, String)>,
    ) {
        let mut entries: Vec<(usize, &StepPath, String)> = entries
            .map(|(path, text)| {
                (self.steps.iter().position(|known| known.path == *path).unwrap_or(usize::MAX), path, text)
            })
            .collect();
        if entries.is_empty() {
            return;
        }
        entries.sort();
        let _ = writeln!(out, "{indent}{name}:");
        for (_, path, text) in entries {
            let _ = writeln!(out, "{indent}  {path}: {text}");
        }
    }

    /// What a step gets, as the file says it: only what the runbook looks at.
    fn answer(&self, path: &StepPath, answers: &[Answer]) -> String {
        let known = self.steps.iter().find(|known| known.path == *path);
        let (Some(answer), Some(known)) = (answers.first(), known) else { return "{ outputs: {} }".to_owned() };
        match &answer.what {
            What::Succeeds(Value::Object(outputs)) => {
                let reads = self.outputs.reads(Of { key: &known.key, id: known.id, step: known.step });
                let mut shown = reads.among(outputs);
                if let Does::Action { uses, with } = &known.step.does
                    && uses == "shell"
                {
                    shown.extend(
                        declared(with).into_keys().filter_map(|name| Some((name.clone(), outputs.get(&name)?.clone()))),
                    );
                }
                format!("{{ outputs: {} }}", flow(&Value::Object(shown)))
            }
            What::Fails(error) => {
                let status = error.status.map(|status| format!(", status: {status}")).unwrap_or_default();
                format!("{{ fails: {}{status} }}", error.kind)
            }
            What::ByHand(Some(Hand { by, result: ManualResult::Done { evidence }, .. })) => {
                format!("{{ evidence: {}, by: {}, after: 5m }}", flow(&json!(evidence)), scalar(by))
            }
            _ => "nobody".to_owned(),
        }
    }

    fn expect(&self, out: &mut String, way: &Way) {
        let Ok(ended) = way.played.ended else { return };
        let _ = writeln!(out, "    expect:\n      outcome: {}\n      exit: {}", ended.word(), ended.exit());
        let state = &way.played.state;
        let own = |path: &StepPath| !path.as_str().contains(['/', '[']);
        for (name, result) in [
            ("succeeded", StepResult::Succeeded),
            ("failed", StepResult::Failed),
            ("skipped", StepResult::Skipped),
            ("rejected", StepResult::Rejected),
        ] {
            let steps: Vec<&str> = state
                .records()
                .filter(|(path, record)| own(path) && record.result() == Some(result))
                .map(|(path, _)| path.as_str())
                .collect();
            if !steps.is_empty() {
                let _ = writeln!(out, "      {name}: [{}]", steps.join(", "));
            }
        }
        let undone = state.records().filter(|(_, record)| matches!(record.undo, Some(UndoState::Undone(_))));
        let undone: Vec<String> = undone.map(|(path, _)| scalar(path.as_str())).collect();
        if !undone.is_empty() {
            let _ = writeln!(out, "      undone: [{}]", undone.join(", "));
        }
    }
}

fn voices_text(voices: &[Voice]) -> String {
    let one = |voice: &Voice| {
        let word = match voice.decision.answer {
            run::Answer::Approve => "approve",
            run::Answer::Reject => "reject",
        };
        let answers = match voice.decision.answers.is_empty() {
            true => String::new(),
            false => format!(", answers: {}", flow(&json!(voice.decision.answers))),
        };
        format!("{{ {word}: {}, after: 2m{answers} }}", scalar(&voice.decision.by))
    };
    match voices {
        [] => "nobody".to_owned(),
        [voice] => one(voice),
        several => format!("[{}]", several.iter().map(one).collect::<Vec<_>>().join(", ")),
    }
}

fn undo_text(answers: &[UndoAnswer]) -> String {
    match answers.first().and_then(|answer| answer.look.as_ref()) {
        Some(Ok(outputs)) => format!("{{ look: {{ outputs: {} }} }}", flow(outputs)),
        _ => "done".to_owned(),
    }
}

/// A value in YAML's flow style.
fn flow(value: &Value) -> String {
    match value {
        Value::Object(map) if map.is_empty() => "{}".to_owned(),
        Value::Object(map) => {
            let entries: Vec<String> =
                map.iter().map(|(name, value)| format!("{}: {}", scalar(name), flow(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::String(text) => scalar(text),
        other => other.to_string(),
    }
}

/// A text as YAML, with quotes where it would mean something else without.
fn scalar(text: &str) -> String {
    let is_safe = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ' | '/' | ':'))
        && !text.contains(": ")
        && !text.ends_with([' ', ':'])
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"].contains(&text.to_lowercase().as_str());
    if is_safe { text.to_owned() } else { Value::from(text).to_string() }
}
