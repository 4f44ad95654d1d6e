//! Every name in a text means something, and may stand where it stands.

use std::collections::{BTreeSet, VecDeque};

use serde_json::Value;

use super::{Checker, output_names};
use crate::base::diagnostic::nearest;
use crate::base::{Code, Diagnostic, StepId};
use crate::runbook::template::Reference;
use crate::runbook::{Does, ForEach, Step, Template, TemplateError, Templated, Undo, call_key};

/// What can be read of a step by name.
const STEP_FACTS: [&str; 8] =
    ["outputs", "result", "error", "attempts", "started_at", "finished_at", "approval", "met"];
/// What can be read of the run by name.
const RUN_FACTS: [&str; 7] = ["id", "name", "now", "started_at", "by", "drill", "outcome"];
/// What can be read of a failure by name.
const ERROR_FACTS: [&str; 6] = ["kind", "message", "status", "code", "trace", "retry_after_ms"];

/// Where a text stands, which decides what it may name.
pub(super) struct Place<'p> {
    pub(super) section: &'p str,
    pub(super) id: &'p StepId,
    pub(super) path: &'p [String],
}

/// Why a name may not stand where it stands, and a way out.
type Refusal = (String, Option<String>);

/// What gives the outputs that a text asks for.
#[derive(Clone, Copy)]
enum Gives {
    /// The whole step: of a loop, what it makes of its items.
    Step,
    /// One try: of a loop, one item.
    Try,
}

/// What a loop gives.
const LOOP_OUTPUTS: [&str; 5] = ["items", "total", "succeeded", "failed", "skipped"];

impl Place<'_> {
    fn full(&self) -> Vec<&str> {
        [self.section, self.id.as_str()].into_iter().chain(self.path.iter().map(String::as_str)).collect()
    }

    fn starts_with(&self, parts: &[&str]) -> bool {
        self.path.len() >= parts.len() && self.path.iter().zip(parts).all(|(one, other)| one == other)
    }

    /// Is one item of a loop known here?
    fn knows_item(&self) -> bool {
        let within = |part: &&str| self.starts_with(&[part]);
        ["with", "env", "argv", "undo"].iter().any(within) || self.starts_with(&["for_each", "key"])
    }

    /// Is this a word of a command, which everybody on the machine can read?
    fn is_argument(&self, step: &Step) -> bool {
        let undone_by_shell = matches!(&step.undo, Some(Undo::Action { uses, .. }) if uses == "shell");
        self.starts_with(&["argv"]) || (undone_by_shell && self.starts_with(&["undo", "with", "argv"]))
    }
}

impl<'l> Checker<'l> {
    /// Every name used in a text means something, and may be used there.
    pub(super) fn references(&mut self, place: &Place<'_>, step: &Step, references: &[Reference]) {
        for reference in references {
            if let Err(refusal) = self.reference(place, step, reference) {
                let full = self.written(place, step);
                let full: Vec<&str> = full.iter().map(String::as_str).collect();
                self.refuse(&full, reference, refusal);
            }
        }
    }

    fn refuse(&mut self, path: &[&str], reference: &Reference, (message, help): Refusal) {
        let error = TemplateError { range: Some(reference.range.clone()), message, help };
        let mut problem = self.loaded.template_problem(path, &error);
        problem.code = Code::UnknownName;
        self.problems.push(problem);
    }

    /// The path of a text as the file has it: an undo by `run` or `argv` has no `with` of its own.
    fn written(&self, place: &Place<'_>, step: &Step) -> Vec<String> {
        let mut full: Vec<String> = place.full().into_iter().map(str::to_owned).collect();
        let by_shell = matches!(&step.undo, Some(Undo::Action { uses, .. }) if uses == "shell");
        if by_shell && place.starts_with(&["undo", "with"]) && !self.loaded.has(&place.full()[..4]) {
            full.remove(3);
        }
        full
    }

    /// What a lock's name is made of is known before the run.
    pub(in crate::plan) fn locks(&mut self) {
        for index in 0.. {
            let index = index.to_string();
            let short = ["locks", index.as_str()];
            let long = ["locks", index.as_str(), "name"];
            if !self.loaded.has(&short) {
                return;
            }
            let path = if self.loaded.has(&long) { long.as_slice() } else { short.as_slice() };
            let Some(text) = self.loaded.text(path) else { continue };
            for reference in Template(text.to_owned()).references().unwrap_or_default() {
                let second = reference.path.get(1).map(String::as_str);
                let checked = match reference.root() {
                    "inputs" => self.named(second, "input", self.loaded.names("inputs")),
                    name => Err((
                        format!("`{name}` is not known yet when a lock is taken"),
                        Some("a lock is taken before anything runs: name it by `inputs` alone".to_owned()),
                    )),
                };
                if let Err(refusal) = checked {
                    self.refuse(path, &reference, refusal);
                }
            }
        }
    }

    /// What the runbook gives back is made of its inputs and of its ordinary steps, all of which have ended by then.
    pub(in crate::plan) fn given(&mut self) {
        for (name, given) in &self.loaded.runbook.outputs {
            let mut texts: Vec<(Vec<String>, &Template)> = Vec::new();
            let mut base = vec!["outputs".to_owned(), name.clone(), "value".to_owned()];
            given.value.visit(&mut base, &mut |path, template| texts.push((path.to_vec(), template)));
            for (path, template) in texts {
                let path: Vec<&str> = path.iter().map(String::as_str).collect();
                for reference in template.references().unwrap_or_default() {
                    if let Err(refusal) = self.given_reference(&reference) {
                        self.refuse(&path, &reference, refusal);
                    }
                }
            }
        }
    }

    fn given_reference(&mut self, reference: &Reference) -> Result<(), Refusal> {
        let second = reference.path.get(1).map(String::as_str);
        let only = Some("an output is made of `inputs` and of what the steps gave: `STEP.outputs.NAME`".to_owned());
        match reference.root() {
            "inputs" => self.named(second, "input", self.loaded.names("inputs")),
            "secrets" => Err(("a secret is not given back".to_owned(), only)),
            name @ ("run" | "outputs") => Err((format!("`{name}` cannot stand here"), only)),
            name => {
                let Some((id, step)) = self.known_step(name)? else { return Ok(()) };
                if self.loaded.runbook.finally.contains_key(&id) {
                    let message = format!("step `{id}` stands in `finally`, whose steps give nothing back");
                    return Err((message, Some("name a step of `steps`".to_owned())));
                }
                self.fact(&id, step, &reference.path[1..], Gives::Step)
            }
        }
    }

    fn reference(&mut self, place: &Place<'_>, step: &Step, reference: &Reference) -> Result<(), Refusal> {
        let second = reference.path.get(1).map(String::as_str);
        if let Some(each) = step.for_each.as_ref().filter(|each| each.name == reference.root()) {
            return if place.knows_item() { Ok(()) } else { Err(no_item_here(place, each)) };
        }
        match reference.root() {
            "inputs" => self.named(second, "input", self.loaded.names("inputs")),
            "run" => self.named(second, "fact about the run", RUN_FACTS),
            "secrets" => {
                self.named(second, "secret", self.loaded.names("secrets"))?;
                self.used_secrets.extend(second.map(str::to_owned));
                if let Some(where_to) = no_secret_here(place, step) {
                    return Err(("a secret cannot stand here".to_owned(), Some(where_to.to_owned())));
                }
                if !reference.alone {
                    let help = "write `{{ secrets.NAME }}` alone between its braces, with text around it if need be";
                    return Err(("a secret cannot be worked on".to_owned(), Some(help.to_owned())));
                }
                Ok(())
            }
            "outputs" if place.starts_with(&["until"]) => self.output(place.id, step, &reference.path[1..], Gives::Try),
            "outputs" if place.starts_with(&["undo", "verify", "if"]) => self.seen(step, &reference.path[1..]),
            "outputs" => Err((
                "`outputs` alone means the step's own, and only `until` can ask for those".to_owned(),
                Some("name the step: `STEP.outputs.NAME`".to_owned()),
            )),
            name if name == ForEach::USUAL_NAME => Err((
                format!("`{name}` is known only in a step with `for_each`, under the name that its `as` gives"),
                None,
            )),
            name => self.step_reference(place, name, &reference.path[1..]),
        }
    }

    fn named<'n>(
        &self,
        name: Option<&str>,
        what: &str,
        known: impl IntoIterator<Item = &'n str> + Clone,
    ) -> Result<(), Refusal> {
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

    fn step_reference(&mut self, place: &Place<'_>, name: &str, rest: &[String]) -> Result<(), Refusal> {
        let Some((id, step)) = self.known_step(name)? else { return Ok(()) };
        let own_undo = *place.id == id && place.starts_with(&["undo"]);
        if !own_undo && !self.is_upstream(place, &id) {
            return Err((
                format!("step `{}` does not wait for `{name}`, so `{name}` may not have ended yet", place.id),
                Some(format!("add `{name}` to its `needs`")),
            ));
        }
        if rest.first().is_some_and(|fact| fact == "met") && step.until.is_none() {
            self.never_met(place, &id);
        }
        self.fact(&id, step, rest, if own_undo { Gives::Try } else { Gives::Step })
    }

    /// The step of this name. Nothing when it is there but could not be read, which is told already.
    fn known_step(&self, name: &str) -> Result<Option<(StepId, &'l Step)>, Refusal> {
        let loaded = self.loaded;
        let runbook = &loaded.runbook;
        let Ok(id) = StepId::new(name) else {
            return Err((format!("there is no step `{name}`"), None));
        };
        if let Some(step) = runbook.step(&id) {
            return Ok(Some((id, step)));
        }
        if loaded.names("steps").chain(loaded.names("finally")).any(|known| known == name) {
            return Ok(None);
        }
        let known = runbook.steps.keys().map(StepId::as_str).chain(["inputs", "secrets", "run"]);
        let help = nearest(name, known).map(|near| format!("did you mean `{near}`?"));
        let help = help.or_else(|| Some("texts stand in quotes: `'…'`; inputs are `inputs.NAME`".to_owned()));
        Err((format!("there is no step `{name}`"), help))
    }

    /// A fact about a step that has ended.
    fn fact(&mut self, id: &StepId, step: &Step, rest: &[String], gives: Gives) -> Result<(), Refusal> {
        match rest.first().map(String::as_str) {
            None => Ok(()),
            Some("outputs") => self.output(id, step, &rest[1..], gives),
            Some("error") => self.named(rest.get(1).map(String::as_str), "fact about a failure", ERROR_FACTS),
            Some("approval") => {
                let asked = step.approval.iter().flat_map(|approval| approval.ask.keys().map(String::as_str));
                let known: Vec<&str> = asked.chain(["by"]).collect();
                self.named(rest.get(1).map(String::as_str), "answer", known)
            }
            Some(fact) => self.named(Some(fact), "fact about a step", STEP_FACTS),
        }
    }

    /// `STEP.met` of a step that waits for nothing is never anything but `none`.
    fn never_met(&mut self, place: &Place<'_>, id: &StepId) {
        let path = place.full();
        let message = format!("step `{id}` has no `until`, so `{id}.met` is always `none`");
        let span = self.loaded.span(&path);
        let problem = Diagnostic::warning(&self.loaded.source, span, Code::NeverMet, message);
        self.problems.push(problem.help(format!("ask for `{id}.result`, or give the step an `until`")));
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
    fn output(&mut self, id: &StepId, step: &Step, rest: &[String], gives: Gives) -> Result<(), Refusal> {
        let known = match (&step.for_each, gives) {
            (Some(_), Gives::Step) => Some(LOOP_OUTPUTS.map(str::to_owned).into()),
            (Some(_), Gives::Try) | (None, _) => self.outputs(step),
        };
        let Some((name, known)) = rest.first().zip(known) else { return Ok(()) };
        let own = step.for_each.is_some() && matches!(gives, Gives::Step) && !known.contains(name);
        is_output(&format!("step `{id}`"), name, &known).map_err(|(message, help)| {
            let of_item = own && self.outputs(step).is_some_and(|outputs| outputs.contains(name));
            let in_items = || format!("each item has its own: `{id}.outputs.items[0].outputs.{name}`");
            (message, if of_item { Some(in_items()) } else { help })
        })
    }

    /// The look that verifies an undo gives an output of this name.
    fn seen(&mut self, step: &Step, rest: &[String]) -> Result<(), Refusal> {
        let Some(Undo::Action { verify: Some(verify), .. }) = &step.undo else { return Ok(()) };
        let Some(action) = self.registry.get(&verify.uses) else { return Ok(()) };
        let Some((name, known)) = rest.first().zip(output_names(action.as_ref())) else { return Ok(()) };
        is_output(&format!("`{}`", verify.uses), name, &known)
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
            Does::Call(call) => {
                let called = self.called.get(&call_key(self.key, &call.file))?;
                Some(called.names("outputs").map(str::to_owned).collect())
            }
            Does::Gate => Some(BTreeSet::new()),
        }
    }
}

fn is_output(what: &str, name: &str, known: &BTreeSet<String>) -> Result<(), Refusal> {
    if known.contains(name) {
        return Ok(());
    }
    let help = match nearest(name, known.iter().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None if known.is_empty() => "it has none".to_owned(),
        None => format!("it has: {}", known.iter().cloned().collect::<Vec<_>>().join(", ")),
    };
    Err((format!("{what} has no output `{name}`"), Some(help)))
}

/// Where a secret may stand instead. Nothing when it may stand here.
fn no_secret_here(place: &Place<'_>, step: &Step) -> Option<&'static str> {
    if place.is_argument(step) {
        return Some("arguments are visible to everybody on the machine; use `env:`");
    }
    if place.starts_with(&["with"]) && matches!(step.does, Does::Call(_)) {
        return Some("a called runbook is given secrets by name: `secrets: { its_name: our_name }` beside `with`");
    }
    let filled_in = ["with", "env", "undo"].iter().any(|part| place.starts_with(&[part]));
    let is_expression = place.starts_with(&["undo", "verify", "if"]);
    (!filled_in || is_expression || matches!(step.does, Does::Decide(_))).then_some("use it in `with` or `env`")
}

/// Why an item has no name here.
fn no_item_here(place: &Place<'_>, each: &ForEach) -> Refusal {
    let name = &each.name;
    let here = place.path.first().map_or("", String::as_str);
    if place.starts_with(&["for_each"]) {
        return (format!("`{name}` is an item of this list, so the list cannot be made of it"), None);
    }
    (
        format!("`{name}` is an item of the loop, and `{here}` is looked at once, before its first item"),
        Some("an item is known in `with`, `env`, `argv`, `undo` and `for_each.key`".to_owned()),
    )
}
