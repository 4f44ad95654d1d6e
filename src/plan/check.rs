//! Finds every mistake that can be found before anything runs.

mod calls;
mod constant;
mod gates;
mod kinds;
mod late;
mod leaks;
mod loops;
mod names;
mod outage;
mod params;
mod reach;
mod standing;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use indexmap::IndexMap;
use petgraph::graph::{DiGraph, NodeIndex};
use serde_json::Value;

use self::kinds::{Kind, Signature};
use self::names::Place;
use super::{action_name, expressions, templates, undo_of};
use crate::action::{AnyAction, Effect, ErrorKind, Registry};
use crate::base::diagnostic::nearest;
use crate::base::{Code, Diagnostic, Severity, StepId};
use crate::runbook::{Does, Loaded, OnExpiry, Retry, Step, Templated, Undo, Verify};

/// Checks a runbook, and every runbook that it calls, against the actions there are. Errors and warnings, file by file,
/// each in the order of the file.
pub fn check(loaded: &Loaded, registry: &Registry) -> Vec<Diagnostic> {
    let parts = std::iter::once(("", loaded)).chain(loaded.called.iter().map(|(key, part)| (key.as_str(), part)));
    parts.flat_map(|(key, part)| check_part(key, part, &loaded.called, registry)).collect()
}

/// Checks one runbook of a plan. `key` is what it is known by, empty for the plan's own.
fn check_part(key: &str, loaded: &Loaded, called: &BTreeMap<String, Loaded>, registry: &Registry) -> Vec<Diagnostic> {
    let mut checker = Checker {
        key,
        loaded,
        called,
        registry,
        problems: loaded.problems.clone(),
        used_secrets: BTreeSet::new(),
        used_inputs: BTreeSet::new(),
        conditions: BTreeMap::new(),
        never_run: BTreeSet::new(),
        needed: loaded
            .runbook
            .steps
            .values()
            .chain(loaded.runbook.finally.values())
            .flat_map(|step| step.needs.keys())
            .collect(),
        recovered: BTreeMap::new(),
        signatures: BTreeMap::new(),
    };
    checker.needs();
    checker.cycles();
    let runbook = &loaded.runbook;
    for (section, steps) in [("steps", &runbook.steps), ("finally", &runbook.finally)] {
        for (id, step) in steps {
            checker.step(section, id, step);
        }
    }
    checker.late_secrets();
    checker.locks();
    checker.given();
    checker.reach();
    checker.secrets_in_file();
    checker.unused();
    let mut problems = checker.problems;
    // A file that could not be read at all is told of by whoever calls it, after its own mistakes.
    problems.sort_by_key(|problem| {
        (!Arc::ptr_eq(&problem.source, &loaded.source), problem.span.map_or(0, |span| span.start))
    });
    problems
}

struct Checker<'l> {
    /// What the runbook is known by, empty for the plan's own.
    key: &'l str,
    loaded: &'l Loaded,
    /// Every runbook that is called anywhere in the plan.
    called: &'l BTreeMap<String, Loaded>,
    registry: &'l Registry,
    problems: Vec<Diagnostic>,
    used_secrets: BTreeSet<String>,
    used_inputs: BTreeSet<String>,
    /// Conditions of steps that are always the same.
    conditions: BTreeMap<StepId, bool>,
    /// Steps that can never run.
    never_run: BTreeSet<StepId>,
    /// Steps that others wait for.
    needed: BTreeSet<&'l StepId>,
    /// By system that may be down: steps that come after one that waits until it answers.
    recovered: BTreeMap<String, BTreeSet<StepId>>,
    /// What actions take and give. Finding out takes longer than all else that is checked of a step.
    signatures: BTreeMap<&'static str, Arc<Signature>>,
}

impl Checker<'_> {
    fn error(&mut self, path: &[&str], code: Code, message: impl Into<String>) -> &mut Diagnostic {
        let span = self.loaded.span(path);
        self.problems.push(Diagnostic::error(&self.loaded.source, span, code, message));
        let last = self.problems.len() - 1;
        &mut self.problems[last]
    }

    fn key_error(&mut self, path: &[&str], code: Code, message: impl Into<String>) -> &mut Diagnostic {
        let span = self.loaded.key_span(path);
        self.problems.push(Diagnostic::error(&self.loaded.source, span, code, message));
        let last = self.problems.len() - 1;
        &mut self.problems[last]
    }

    /// Every needed step exists, in the same section.
    fn needs(&mut self) {
        let runbook = &self.loaded.runbook;
        for (section, steps, others) in
            [("steps", &runbook.steps, &runbook.finally), ("finally", &runbook.finally, &runbook.steps)]
        {
            for (id, step) in steps {
                for needed in step.needs.keys() {
                    // A step that could not be read is there all the same.
                    let is_there =
                        steps.contains_key(needed) || self.loaded.names(section).any(|n| n == needed.as_str());
                    if is_there && needed != id {
                        continue;
                    }
                    let span = self.needed_span(section, id, needed);
                    let (message, help) = if needed == id {
                        let help = "take it away; a step that waits for itself never begins";
                        (format!("step `{id}` needs itself"), Some(help.to_owned()))
                    } else if others.contains_key(needed) {
                        let message = format!("step `{id}` needs `{needed}`, which stands in the other section");
                        (message, Some("`finally` runs after all steps, so it needs none of them".to_owned()))
                    } else {
                        let near = nearest(needed.as_str(), steps.keys().map(StepId::as_str));
                        let message = format!("step `{id}` needs `{needed}`, which does not exist");
                        (
                            message,
                            Some(near.map_or_else(|| others_than(steps, id), |near| format!("did you mean `{near}`?"))),
                        )
                    };
                    let mut problem = Diagnostic::error(&self.loaded.source, span, Code::UnknownStep, message);
                    problem.help = help;
                    self.problems.push(problem);
                }
            }
        }
    }

    /// The word in `needs` that names a step, in the list or the map form.
    fn needed_span(&self, section: &str, id: &StepId, needed: &StepId) -> crate::base::Span {
        let base = [section, id.as_str(), "needs"];
        let list = self.loaded.span(&base);
        let text = self.loaded.source.text.get(list.start..list.end).unwrap_or_default();
        let word = text.match_indices(needed.as_str()).find(|(at, word)| {
            let around = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_');
            !around(at.checked_sub(1).and_then(|before| text.as_bytes().get(before)))
                && !around(text.as_bytes().get(at + word.len()))
        });
        match word {
            Some((at, word)) => crate::base::Span::new(list.start + at, list.start + at + word.len()),
            None => list,
        }
    }

    /// No step waits for itself. The whole way round is told.
    fn cycles(&mut self) {
        let runbook = &self.loaded.runbook;
        for (section, steps) in [("steps", &runbook.steps), ("finally", &runbook.finally)] {
            let mut graph = DiGraph::<(), ()>::with_capacity(steps.len(), steps.len());
            steps.iter().for_each(|_| {
                graph.add_node(());
            });
            for (index, step) in steps.values().enumerate() {
                for needed in step.needs.keys().filter_map(|needed| steps.get_index_of(needed)) {
                    graph.add_edge(NodeIndex::new(index), NodeIndex::new(needed), ());
                }
            }
            for component in petgraph::algo::tarjan_scc(&graph).into_iter().filter(|component| component.len() > 1) {
                let round = way_round(&graph, &component);
                let names: Vec<&str> =
                    round.iter().filter_map(|place| steps.get_index(*place)).map(|(id, _)| id.as_str()).collect();
                let (Some(first), Some(second)) = (names.first(), names.get(1)) else { continue };
                let (Ok(id), Ok(needed)) = (StepId::new(first), StepId::new(second)) else { continue };
                let span = self.needed_span(section, &id, &needed);
                let round = names.iter().chain([first]).map(|name| format!("`{name}`")).collect::<Vec<_>>();
                let message = format!("these steps wait for each other: {}", round.join(" needs "));
                self.problems.push(
                    Diagnostic::error(&self.loaded.source, span, Code::Cycle, message)
                        .help("take one of these needs away; no step of the round could ever begin"),
                );
            }
        }
    }

    fn step(&mut self, section: &str, id: &StepId, step: &Step) {
        match &step.does {
            Does::Action { uses, with } => self.action(section, id, step, uses, with, &["uses"], &["with"]),
            Does::Call(call) => self.call(section, id, call),
            Does::Decide(_) | Does::Manual(_) | Does::Gate => {}
        }
        self.undo(section, id, step);
        if let Some(retry) = &step.retry {
            self.retry(&[section, id.as_str(), "retry"], retry);
        }
        if let Some(each) = &step.for_each {
            self.for_each(section, id, each);
        }
        self.measure(section, id, step);
        self.gate(section, id, step);
        self.limits(section, id, step);
        self.repeated_write(section, id, step);
        self.injection(section, id, step);
        if section == "steps" {
            self.outage(id, step);
            self.left_standing(id, step);
        }
        for (path, template) in templates(step) {
            let place = Place { section, id, path: &path };
            if let Ok((references, shapes)) = template.parts() {
                self.references(&place, step, &references);
                let full = self.written(&place, step);
                let full: Vec<&str> = full.iter().map(String::as_str).collect();
                for shape in shapes {
                    self.within(&place, step, &full, &shape);
                    self.comparisons(&place, step, &full, &template.0, &shape);
                }
            }
        }
        for (path, expression) in expressions(step) {
            let place = Place { section, id, path: &path };
            if let Ok((references, shape)) = expression.parts() {
                self.references(&place, step, &references);
                let full = place.full();
                self.within(&place, step, &full, &shape);
                let is_told = self.comparisons(&place, step, &full, &expression.0, &shape);
                let is_condition = !place.starts_with(&["for_each"]);
                let truth =
                    is_condition.then(|| self.condition(&place, step, &expression.0, &shape, is_told)).flatten();
                if let (Some(truth), true) = (truth, place.starts_with(&["if"])) {
                    self.conditions.insert(id.clone(), truth);
                }
            }
        }
    }

    fn undo(&mut self, section: &str, id: &StepId, step: &Step) {
        match &step.undo {
            Some(Undo::Action { uses, with, retry, verify, .. }) => {
                self.action(section, id, step, uses, with, &["undo", "uses"], &["undo", "with"]);
                if let Some(retry) = retry {
                    self.retry(&[section, id.as_str(), "undo", "retry"], retry);
                }
                if let Some(verify) = verify {
                    self.verify(section, id, step, verify);
                }
            }
            Some(Undo::Auto) if undo_of(step, self.registry).is_none() => {
                let name = action_name(step).unwrap_or("this step").to_owned();
                if self.registry.get(&name).is_some() {
                    self.error(
                        &[section, id.as_str(), "undo"],
                        Code::NoUndo,
                        format!("`{name}` does not know how to undo itself"),
                    )
                    .help = Some("name the action that reverses it: `undo: { uses: …, with: { … } }`".to_owned());
                }
            }
            Some(Undo::Auto) | None => {}
        }
    }

    /// Whether an undo has worked is seen by looking, and a look changes nothing.
    fn verify(&mut self, section: &str, id: &StepId, step: &Step, verify: &Verify) {
        let Verify { uses, with, .. } = verify;
        self.action(section, id, step, uses, with, &["undo", "verify", "uses"], &["undo", "verify", "with"]);
        let writes = self.registry.get(uses).is_some_and(|action| action.contract().effect == Effect::Write);
        if writes {
            let message = format!("`{uses}` may change something, and `verify` only looks");
            self.error(&[section, id.as_str(), "undo", "verify", "uses"], Code::VerifyWrites, message).help =
                Some("name an action that reads, such as `http.get`".to_owned());
        }
    }

    fn retry(&mut self, path: &[&str], retry: &Retry) {
        let known = ErrorKind::ALL.map(ErrorKind::as_str);
        for (index, kind) in retry.on.iter().enumerate().filter(|(_, kind)| !known.contains(&kind.as_str())) {
            let help = match nearest(kind, known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("kinds: {}", known.join(", ")),
            };
            let index = index.to_string();
            let at = [path, &["on", index.as_str()]].concat();
            self.error(&at, Code::UnknownWord, format!("`{kind}` is no kind of failure")).help = Some(help);
        }
    }

    fn measure(&mut self, section: &str, id: &StepId, step: &Step) {
        let Some(measure) = &step.measure else { return };
        if let Some(closing) = &measure.closed_by
            && !self.loaded.names("steps").any(|name| name == closing.as_str())
        {
            let near = nearest(closing.as_str(), self.loaded.runbook.steps.keys().map(StepId::as_str));
            let help = near.map(|near| format!("did you mean `{near}`?"));
            self.error(
                &[section, id.as_str(), "measure", "closed_by"],
                Code::UnknownStep,
                format!("the measure of step `{id}` is closed by `{closing}`, which does not exist"),
            )
            .help = help;
        }
        // An `undo` that could not be read is there all the same.
        let has_undo = || step.undo.is_some() || self.loaded.has(&[section, id.as_str(), "undo"]);
        if measure.on_expiry == OnExpiry::Undo && !has_undo() {
            let message =
                format!("the measure of step `{id}` is to be undone when it expires, but the step has no `undo`");
            self.error(&[section, id.as_str(), "measure", "on_expiry"], Code::NoUndo, message).help =
                Some("give the step an `undo`, or write `on_expiry: hold`".to_owned());
        }
    }

    /// The action exists, its parameters have names it knows, and the secrets it takes are declared.
    #[expect(clippy::too_many_arguments, reason = "an action stands in a step, in its undo and in what verifies that")]
    fn action(
        &mut self,
        section: &str,
        id: &StepId,
        step: &Step,
        uses: &str,
        with: &Templated,
        at: &[&str],
        with_at: &[&str],
    ) {
        let full = |rest: &[&str]| -> Vec<String> {
            [section, id.as_str()].into_iter().chain(rest.iter().copied()).map(str::to_owned).collect()
        };
        let Some(action) = self.registry.get(uses).cloned() else {
            let near = nearest(uses, self.registry.names()).or_else(|| {
                let vendor = uses.split('.').next().unwrap_or_default();
                self.registry.names().find(|name| name.split('.').next() == Some(vendor))
            });
            let help = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => {
                    let mut families: Vec<&str> = self
                        .registry
                        .names()
                        .filter(|name| *name != "shell")
                        .filter_map(|name| name.split('.').next())
                        .collect();
                    families.dedup();
                    let families = families.join(", ");
                    format!(
                        "there are `decide` and the actions of {families}, which `runbook docs` lists; for everything else \
                         run a command with `argv`"
                    )
                }
            };
            let path = full(at);
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            self.error(&path, Code::UnknownAction, format!("there is no action `{uses}`")).help = Some(help);
            return;
        };
        // The parts of `run` and `argv` stand beside each other in the step; elsewhere `shell` is an action like any other.
        if uses != "shell" || with_at.len() > 1 {
            let path: Vec<String> = with_at.iter().map(|part| (*part).to_owned()).collect();
            self.params(&Place { section, id, path: &path }, step, uses, with, action.as_ref());
        }
        let named = match with {
            Templated::Literal(Value::Object(map)) => map.get("secret").and_then(Value::as_str).map(str::to_owned),
            Templated::Map(map) => {
                map.get("secret").and_then(Templated::as_literal).and_then(Value::as_str).map(str::to_owned)
            }
            _ => None,
        };
        let taken = match named {
            Some(name) => vec![name],
            None => action.contract().secrets.iter().map(|name| (*name).to_owned()).collect(),
        };
        for name in taken {
            if !self.loaded.names("secrets").any(|known| known == name) {
                let path = full(at);
                let path: Vec<&str> = path.iter().map(String::as_str).collect();
                let variable = if name == "clerk" {
                    "CLERK_SECRET_KEY".to_owned()
                } else {
                    format!("{}_TOKEN", name.to_uppercase())
                };
                self.error(
                    &path,
                    Code::MissingSecret,
                    format!("`{uses}` takes the secret `{name}`, which is not declared"),
                )
                .help = Some(format!("declare it: `secrets: {{ {name}: {{ env: {variable} }} }}`"));
            }
            let at_with: Vec<String> = with_at.iter().map(|part| (*part).to_owned()).collect();
            if let Some((message, help)) = self.too_early(&Place { section, id, path: &at_with }, &name) {
                let named = full(&[with_at, &["secret"]].concat());
                let path = if self.loaded.has(&named.iter().map(String::as_str).collect::<Vec<_>>()) {
                    named
                } else {
                    full(at)
                };
                let path: Vec<&str> = path.iter().map(String::as_str).collect();
                self.error(&path, Code::SecretTooEarly, message).help = Some(help);
            }
            self.used_secrets.insert(name);
        }
    }

    fn params(&mut self, place: &Place<'_>, step: &Step, uses: &str, with: &Templated, action: &dyn AnyAction) {
        let Some(signature) = self.signature(uses) else { return };
        let Kind::Map(fields) = &signature.params else { return };
        let given: Vec<String> = match with {
            Templated::Literal(Value::Object(map)) => map.keys().cloned().collect(),
            Templated::Map(map) => map.keys().cloned().collect(),
            _ => Vec::new(),
        };
        let at: Vec<&str> =
            [place.section, place.id.as_str()].into_iter().chain(place.path.iter().map(String::as_str)).collect();
        let mut complete = true;
        for key in given.iter().filter(|key| !fields.known.contains_key(*key)) {
            complete = false;
            let help = match nearest(key, fields.known.keys().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None if fields.known.is_empty() => "it takes no parameters".to_owned(),
                None => format!("parameters: {}", fields.known.keys().cloned().collect::<Vec<_>>().join(", ")),
            };
            let mut key_path = at.clone();
            key_path.push(key);
            self.key_error(&key_path, Code::UnknownParam, format!("`{uses}` has no parameter `{key}`")).help =
                Some(help);
        }
        for name in fields.required.iter().filter(|name| !given.contains(name)) {
            complete = false;
            let named = [&at[..at.len() - 1], &["uses"]].concat();
            let doc = fields.known.get(name).and_then(|(_, doc)| doc.as_ref());
            let doc = doc.map(|doc| format!("`{name}`: {}", doc.lines().next().unwrap_or(doc)));
            self.error(&named, Code::MissingParam, format!("`{uses}` needs the parameter `{name}`")).help = doc;
        }
        let unfit = uses != "shell" && self.fit(place, step, uses, with, &signature.params);
        if complete
            && !unfit
            && let Some(literal) = with.as_literal()
            && let Err(reason) = action.check_params(literal)
        {
            self.error(&at, Code::WrongParam, format!("the parameters do not fit `{uses}`: {reason}"));
        }
    }

    fn unused(&mut self) {
        if self.loaded.problems.iter().any(|problem| problem.severity == Severity::Error) {
            // What could not be read may be what uses it.
            return;
        }
        let is_misspelt = |problem: &Diagnostic| matches!(problem.code, Code::UnknownName | Code::UnknownSecret);
        if self.problems.iter().any(is_misspelt) {
            // So may a name that is written wrongly.
            return;
        }
        self.unused_inputs();
        for name in self.loaded.runbook.secrets.keys() {
            if !self.used_secrets.contains(name) {
                let span = self.loaded.key_span(&["secrets", name]);
                self.problems.push(
                    Diagnostic::warning(
                        &self.loaded.source,
                        span,
                        Code::UnusedSecret,
                        format!("secret `{name}` is never used"),
                    )
                    .help("take it away, so that nobody has to supply it"),
                );
            }
        }
    }
}

/// The steps that there are, for a need that names none of them.
fn others_than(steps: &IndexMap<StepId, Step>, id: &StepId) -> String {
    const MOST: usize = 12;
    let others: Vec<&str> = steps.keys().filter(|known| *known != id).map(StepId::as_str).collect();
    match others.len() {
        0 => "there is no other step".to_owned(),
        1..=MOST => format!("there are: {}", others.join(", ")),
        many => format!("there are: {} and {} more", others[..MOST].join(", "), many - MOST),
    }
}

/// One way round through a strongly connected set of steps, from its first step in the file.
fn way_round(graph: &DiGraph<(), ()>, component: &[NodeIndex]) -> Vec<usize> {
    let members: BTreeSet<usize> = component.iter().map(|node| node.index()).collect();
    let Some(start) = members.first().copied() else { return Vec::new() };
    // Breadth first from the start until an edge leads back to it: the shortest way round.
    let mut queue = VecDeque::from([vec![start]]);
    let mut seen = BTreeSet::from([start]);
    while let Some(way) = queue.pop_front() {
        let last = way.last().copied().unwrap_or(start);
        let mut next: Vec<usize> = graph.neighbors(NodeIndex::new(last)).map(NodeIndex::index).collect();
        next.sort_unstable();
        for place in next.into_iter().filter(|place| members.contains(place)) {
            if place == start {
                return way;
            }
            if seen.insert(place) {
                queue.push_back(way.iter().copied().chain([place]).collect());
            }
        }
    }
    members.into_iter().collect()
}
