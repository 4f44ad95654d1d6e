//! Finds every mistake that can be found before anything runs.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use petgraph::graph::{DiGraph, NodeIndex};
use schemars::SchemaGenerator;
use serde_json::Value;

use super::{action_name, expressions, templates, undo_of};
use crate::action::{AnyAction, ErrorKind, Registry};
use crate::base::diagnostic::nearest;
use crate::base::{Diagnostic, StepId};
use crate::runbook::template::Reference;
use crate::runbook::{Does, Loaded, Step, Templated, Undo};

/// What can be read of a step by name.
const STEP_FACTS: [&str; 7] = ["outputs", "result", "error", "attempts", "started_at", "finished_at", "approval"];
/// What can be read of the run by name.
const RUN_FACTS: [&str; 7] = ["id", "name", "now", "started_at", "by", "drill", "outcome"];
/// What can be read of a failure by name.
const ERROR_FACTS: [&str; 6] = ["kind", "message", "status", "code", "trace", "retry_after_ms"];

/// Checks a runbook against the actions there are. Errors and warnings, in the order of the file.
pub fn check(loaded: &Loaded, registry: &Registry) -> Vec<Diagnostic> {
    let mut checker = Checker {
        loaded,
        registry,
        problems: loaded.problems.clone(),
        used_secrets: BTreeSet::new(),
        params: BTreeMap::new(),
        outputs: BTreeMap::new(),
    };
    checker.needs();
    checker.cycles();
    let runbook = &loaded.runbook;
    for (section, steps) in [("steps", &runbook.steps), ("finally", &runbook.finally)] {
        for (id, step) in steps {
            checker.step(section, id, step);
        }
    }
    checker.unused_secrets();
    let mut problems = checker.problems;
    problems.sort_by_key(|problem| problem.span.map_or(0, |span| span.start));
    problems
}

struct Checker<'l> {
    loaded: &'l Loaded,
    registry: &'l Registry,
    problems: Vec<Diagnostic>,
    used_secrets: BTreeSet<String>,
    /// Parameter schemas by action. Making one takes longer than all else that is checked of a step.
    params: BTreeMap<&'static str, Arc<Value>>,
    /// Names of outputs by action, for the same reason; `None` when they cannot be known beforehand.
    outputs: BTreeMap<&'static str, Option<BTreeSet<String>>>,
}

/// Where a text stands, which decides what it may name.
struct Place<'p> {
    section: &'p str,
    id: &'p StepId,
    path: &'p [String],
}

impl Place<'_> {
    fn full(&self) -> Vec<&str> {
        [self.section, self.id.as_str()].into_iter().chain(self.path.iter().map(String::as_str)).collect()
    }

    fn starts_with(&self, parts: &[&str]) -> bool {
        self.path.len() >= parts.len() && self.path.iter().zip(parts).all(|(one, other)| one == other)
    }
}

impl Checker<'_> {
    fn error(&mut self, path: &[&str], code: &'static str, message: impl Into<String>) -> &mut Diagnostic {
        let span = self.loaded.span(path);
        self.problems.push(Diagnostic::error(&self.loaded.source, span, code, message));
        let last = self.problems.len() - 1;
        &mut self.problems[last]
    }

    fn key_error(&mut self, path: &[&str], code: &'static str, message: impl Into<String>) -> &mut Diagnostic {
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
                        (format!("step `{id}` needs itself"), None)
                    } else if others.contains_key(needed) {
                        let message = format!("step `{id}` needs `{needed}`, which stands in the other section");
                        (message, Some("`finally` runs after all steps, so it needs none of them".to_owned()))
                    } else {
                        let near = nearest(needed.as_str(), steps.keys().map(StepId::as_str));
                        let message = format!("step `{id}` needs `{needed}`, which does not exist");
                        (message, near.map(|near| format!("did you mean `{near}`?")))
                    };
                    let mut problem = Diagnostic::error(&self.loaded.source, span, "unknown-step", message);
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
                    Diagnostic::error(&self.loaded.source, span, "cycle", message)
                        .help("take one of these needs away; no step of the round could ever begin"),
                );
            }
        }
    }

    fn step(&mut self, section: &str, id: &StepId, step: &Step) {
        if let Does::Action { uses, with } = &step.does {
            self.action(section, id, uses, with, &["uses"], &["with"]);
        }
        match &step.undo {
            Some(Undo::Action { uses, with, .. }) => {
                self.action(section, id, uses, with, &["undo", "uses"], &["undo", "with"]);
            }
            Some(Undo::Auto) if undo_of(step, self.registry).is_none() => {
                let name = action_name(step).unwrap_or("this step").to_owned();
                if self.registry.get(&name).is_some() {
                    self.error(
                        &[section, id.as_str(), "undo"],
                        "no-undo",
                        format!("`{name}` does not know how to undo itself"),
                    )
                    .help = Some("name the action that reverses it: `undo: { uses: …, with: { … } }`".to_owned());
                }
            }
            Some(Undo::Auto) | None => {}
        }
        if let Some(retry) = &step.retry {
            for (index, kind) in retry.on.iter().enumerate() {
                let known = ErrorKind::ALL.map(ErrorKind::as_str);
                if !known.contains(&kind.as_str()) {
                    let near = nearest(kind, known);
                    let help = match near {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("kinds: {}", known.join(", ")),
                    };
                    self.error(
                        &[section, id.as_str(), "retry", "on", &index.to_string()],
                        "unknown-word",
                        format!("`{kind}` is no kind of failure"),
                    )
                    .help = Some(help);
                }
            }
        }
        if let Some(closing) = step.measure.as_ref().and_then(|measure| measure.closed_by.as_ref())
            && !self.loaded.names("steps").any(|name| name == closing.as_str())
        {
            let near = nearest(closing.as_str(), self.loaded.runbook.steps.keys().map(StepId::as_str));
            let help = near.map(|near| format!("did you mean `{near}`?"));
            self.error(
                &[section, id.as_str(), "measure", "closed_by"],
                "unknown-step",
                format!("the measure of step `{id}` is closed by `{closing}`, which does not exist"),
            )
            .help = help;
        }
        for (path, template) in templates(step) {
            if let Ok(references) = template.references() {
                self.references(&Place { section, id, path: &path }, step, &references);
            }
        }
        for (path, expression) in expressions(step) {
            if let Ok(references) = expression.references() {
                self.references(&Place { section, id, path: &path }, step, &references);
            }
        }
    }

    /// The action exists, its parameters have names it knows, and the secrets it takes are declared.
    fn action(&mut self, section: &str, id: &StepId, uses: &str, with: &Templated, at: &[&str], with_at: &[&str]) {
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
                None => format!("actions: {}", self.registry.names().collect::<Vec<_>>().join(", ")),
            };
            let path = full(at);
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            self.error(&path, "unknown-action", format!("there is no action `{uses}`")).help = Some(help);
            return;
        };
        // The parts of `run` and `argv` stand beside each other in the step; elsewhere `shell` is an action like any other.
        if uses != "shell" || with_at.len() > 1 {
            self.params(&full(with_at), uses, with, action.as_ref());
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
                let variable = format!("{}_TOKEN", name.to_uppercase());
                self.error(
                    &path,
                    "missing-secret",
                    format!("`{uses}` takes the secret `{name}`, which is not declared"),
                )
                .help = Some(format!("declare it: `secrets: {{ {name}: {{ env: {variable} }} }}`"));
            }
            self.used_secrets.insert(name);
        }
    }

    fn params(&mut self, path: &[String], uses: &str, with: &Templated, action: &dyn AnyAction) {
        let schema =
            Arc::clone(self.params.entry(action.contract().name).or_insert_with(|| Arc::new(resolved_params(action))));
        let known: Vec<String> = schema
            .get("properties")
            .and_then(Value::as_object)
            .map(|properties| properties.keys().cloned().collect())
            .unwrap_or_default();
        let given: Vec<String> = match with {
            Templated::Literal(Value::Object(map)) => map.keys().cloned().collect(),
            Templated::Map(map) => map.keys().cloned().collect(),
            _ => Vec::new(),
        };
        let at: Vec<&str> = path.iter().map(String::as_str).collect();
        let mut complete = true;
        for key in given.iter().filter(|key| !known.contains(key)) {
            complete = false;
            let help = match nearest(key, known.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None if known.is_empty() => "it takes no parameters".to_owned(),
                None => format!("parameters: {}", known.join(", ")),
            };
            let mut key_path = at.clone();
            key_path.push(key);
            self.key_error(&key_path, "unknown-param", format!("`{uses}` has no parameter `{key}`")).help = Some(help);
        }
        let required = schema.get("required").and_then(Value::as_array).cloned().unwrap_or_default();
        for name in required.iter().filter_map(Value::as_str).filter(|name| !given.iter().any(|key| key == name)) {
            complete = false;
            let step_path: Vec<&str> = at[..at.len() - 1].to_vec();
            let place = if given.is_empty() { [step_path.as_slice(), &["uses"]].concat() } else { at.clone() };
            let doc = schema
                .pointer(&format!("/properties/{name}/description"))
                .and_then(Value::as_str)
                .map(|doc| format!("`{name}`: {}", doc.lines().next().unwrap_or(doc)));
            self.error(&place, "missing-param", format!("`{uses}` needs the parameter `{name}`")).help = doc;
        }
        if !complete {
            return;
        }
        if let Some(literal) = with.as_literal()
            && let Err(reason) = action.check_params(literal)
        {
            self.error(&at, "wrong-param", format!("the parameters do not fit `{uses}`: {reason}"));
        }
    }

    /// Every name used in a text means something, and may be used there.
    fn references(&mut self, place: &Place<'_>, step: &Step, references: &[Reference]) {
        for reference in references {
            if let Err((message, help)) = self.reference(place, step, reference) {
                let error = crate::runbook::TemplateError { range: Some(reference.range.clone()), message, help };
                let full = place.full();
                let mut problem = self.loaded.template_problem(&full, &error);
                problem.code = "unknown-name";
                self.problems.push(problem);
            }
        }
    }

    fn reference(
        &mut self,
        place: &Place<'_>,
        step: &Step,
        reference: &Reference,
    ) -> Result<(), (String, Option<String>)> {
        let second = reference.path.get(1).map(String::as_str);
        match reference.root() {
            "inputs" => self.named(second, "input", self.loaded.names("inputs")),
            "run" => self.named(second, "fact about the run", RUN_FACTS),
            "secrets" => {
                self.named(second, "secret", self.loaded.names("secrets"))?;
                self.used_secrets.extend(second.map(str::to_owned));
                let allowed =
                    place.starts_with(&["with"]) || place.starts_with(&["env"]) || place.starts_with(&["undo"]);
                if !allowed || matches!(step.does, Does::Decide(_)) {
                    let where_to = if place.starts_with(&["argv"]) {
                        "arguments are visible to everybody on the machine; use `env:`"
                    } else {
                        "use it in `with` or `env`"
                    };
                    return Err(("a secret cannot stand here".to_owned(), Some(where_to.to_owned())));
                }
                if !reference.alone {
                    let help = "write `{{ secrets.NAME }}` alone between its braces, with text around it if need be";
                    return Err(("a secret cannot be worked on".to_owned(), Some(help.to_owned())));
                }
                Ok(())
            }
            "outputs" if place.starts_with(&["until"]) => self.output(place.id, step, &reference.path[1..]),
            "outputs" => Err((
                "`outputs` alone means the step's own, and only `until` can ask for those".to_owned(),
                Some("name the step: `STEP.outputs.NAME`".to_owned()),
            )),
            name => self.step_reference(place, name, &reference.path[1..]),
        }
    }

    fn named<'n>(
        &self,
        name: Option<&str>,
        what: &str,
        known: impl IntoIterator<Item = &'n str> + Clone,
    ) -> Result<(), (String, Option<String>)> {
        let Some(name) = name else { return Ok(()) };
        if known.clone().into_iter().any(|k| k == name) {
            return Ok(());
        }
        let help = match nearest(name, known.clone()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => {
                let all = known.into_iter().collect::<Vec<_>>().join(", ");
                if all.is_empty() { format!("the runbook declares no {what}") } else { format!("there are: {all}") }
            }
        };
        Err((format!("there is no {what} `{name}`"), Some(help)))
    }

    fn step_reference(
        &mut self,
        place: &Place<'_>,
        name: &str,
        rest: &[String],
    ) -> Result<(), (String, Option<String>)> {
        let loaded = self.loaded;
        let runbook = &loaded.runbook;
        let Ok(id) = StepId::new(name) else {
            return Err((format!("there is no step `{name}`"), None));
        };
        let Some(step) = runbook.step(&id) else {
            if self.loaded.names("steps").chain(self.loaded.names("finally")).any(|known| known == name) {
                return Ok(());
            }
            let known = runbook.steps.keys().map(StepId::as_str).chain(["inputs", "secrets", "run"]);
            let help = nearest(name, known).map(|near| format!("did you mean `{near}`?"));
            let help = help.or_else(|| Some("texts stand in quotes: `'…'`; inputs are `inputs.NAME`".to_owned()));
            return Err((format!("there is no step `{name}`"), help));
        };
        let own_undo = *place.id == id && place.starts_with(&["undo"]);
        if !own_undo && !self.is_upstream(place, &id) {
            return Err((
                format!("step `{}` does not wait for `{name}`, so `{name}` may not have ended yet", place.id),
                Some(format!("add `{name}` to its `needs`")),
            ));
        }
        match rest.first().map(String::as_str) {
            None => Ok(()),
            Some("outputs") => self.output(&id, step, &rest[1..]),
            Some("error") => self.named(rest.get(1).map(String::as_str), "fact about a failure", ERROR_FACTS),
            Some("approval") => {
                let asked = step.approval.iter().flat_map(|approval| approval.ask.keys().map(String::as_str));
                let known: Vec<&str> = asked.chain(["by"]).collect();
                self.named(rest.get(1).map(String::as_str), "answer", known)
            }
            Some(fact) => self.named(Some(fact), "fact about a step", STEP_FACTS),
        }
    }

    /// Has `wanted` ended, one way or another, whenever the step at `place` begins?
    fn is_upstream(&self, place: &Place<'_>, wanted: &StepId) -> bool {
        let runbook = &self.loaded.runbook;
        if place.section == "finally" && runbook.steps.contains_key(wanted) {
            return true;
        }
        let mut seen = BTreeSet::new();
        let mut queue = VecDeque::from([place.id]);
        while let Some(id) = queue.pop_front() {
            let Some(step) = runbook.step(id) else { continue };
            if step.needs.contains_key(wanted) {
                return true;
            }
            queue.extend(step.needs.keys().filter(|needed| seen.insert((*needed).clone())));
        }
        false
    }

    /// The step gives an output of this name.
    fn output(&mut self, id: &StepId, step: &Step, rest: &[String]) -> Result<(), (String, Option<String>)> {
        let Some(name) = rest.first() else { return Ok(()) };
        let Some(known) = self.outputs(step) else { return Ok(()) };
        if known.contains(name) {
            return Ok(());
        }
        let help = match nearest(name, known.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None if known.is_empty() => "it has none".to_owned(),
            None => format!("it has: {}", known.iter().cloned().collect::<Vec<_>>().join(", ")),
        };
        Err((format!("step `{id}` has no output `{name}`"), Some(help)))
    }

    /// The names of a step's outputs; `None` when they cannot be known beforehand.
    fn outputs(&mut self, step: &Step) -> Option<BTreeSet<String>> {
        match &step.does {
            Does::Action { uses, with } => {
                let action = self.registry.get(uses)?;
                let names = self.outputs.entry(action.contract().name).or_insert_with(|| output_names(action.as_ref()));
                let mut known = names.clone()?;
                if uses == "shell"
                    && let Templated::Map(map) = with
                    && let Some(Templated::Literal(Value::Object(declared))) = map.get("outputs")
                {
                    known.extend(declared.keys().cloned());
                }
                Some(known)
            }
            Does::Decide(decide) => Some(
                decide
                    .arms
                    .iter()
                    .flat_map(|arm| match &arm.then {
                        Templated::Literal(Value::Object(map)) => map.keys().cloned().collect::<Vec<_>>(),
                        Templated::Map(map) => map.keys().cloned().collect(),
                        _ => Vec::new(),
                    })
                    .collect(),
            ),
            Does::Manual(manual) => Some(manual.evidence.keys().cloned().chain(["by".to_owned()]).collect()),
            Does::Call(_) => None,
            Does::Gate => Some(BTreeSet::new()),
        }
    }

    fn unused_secrets(&mut self) {
        if !self.loaded.problems.is_empty() {
            // What could not be read may be what uses it.
            return;
        }
        for name in self.loaded.runbook.secrets.keys() {
            if !self.used_secrets.contains(name) {
                let span = self.loaded.key_span(&["secrets", name]);
                self.problems.push(
                    Diagnostic::warning(
                        &self.loaded.source,
                        span,
                        "unused-secret",
                        format!("secret `{name}` is never used"),
                    )
                    .help("take it away, so that nobody has to supply it"),
                );
            }
        }
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

/// An action's parameter schema with its top-level reference followed.
pub(super) fn resolved_params(action: &dyn AnyAction) -> Value {
    let mut generator = SchemaGenerator::default();
    let schema = action.params_schema(&mut generator);
    follow(schema.to_value(), &mut generator)
}

fn output_names(action: &dyn AnyAction) -> Option<BTreeSet<String>> {
    let mut generator = SchemaGenerator::default();
    let schema = action.output_schema(&mut generator);
    let schema = follow(schema.to_value(), &mut generator);
    let open = schema.get("additionalProperties").is_some_and(|more| *more != Value::Bool(false));
    let properties = schema.get("properties")?.as_object()?;
    // `shell` adds the outputs that its step declares; those are known too.
    let is_shell = action.contract().name == "shell";
    (!open || is_shell).then(|| properties.keys().cloned().collect())
}

fn follow(schema: Value, generator: &mut SchemaGenerator) -> Value {
    let Some(reference) = schema.get("$ref").and_then(Value::as_str) else { return schema };
    let name = reference.rsplit('/').next().unwrap_or_default();
    generator.definitions().get(name).cloned().unwrap_or(schema)
}
