//! Every name in a text means something, and may stand where it stands.

use std::collections::{BTreeSet, VecDeque};

use super::Checker;
use super::kinds::Kind;
use crate::base::diagnostic::nearest;
use crate::base::{Code, Severity, StepId};
use crate::runbook::template::Reference;
use crate::runbook::template::shape::{Shape, What};
use crate::runbook::{Does, ForEach, Step, Template, TemplateError, Undo};

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
pub(super) struct Refusal {
    message: String,
    help: Option<String>,
    /// Which part of the name is wrong, if it is one of them.
    part: Option<usize>,
    code: Code,
}

impl Refusal {
    /// All of the name is wrong here.
    fn whole(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: Some(help.into()), part: None, code: Code::UnknownName }
    }

    /// One part of the name is wrong.
    fn part(part: usize, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { message: message.into(), help: Some(help.into()), part: Some(part), code: Code::UnknownName }
    }

    /// A secret would be seen here.
    fn leak(message: impl Into<String>, help: impl Into<String>) -> Self {
        Self { code: Code::SecretLeak, ..Self::whole(message, help) }
    }
}

/// What gives the outputs that a text asks for.
#[derive(Clone, Copy)]
enum Gives {
    /// The whole step: of a loop, what it makes of its items.
    Step,
    /// One try: of a loop, one item.
    Try,
}

/// What a loop gives.
pub(super) const LOOP_OUTPUTS: [&str; 5] = ["items", "total", "succeeded", "failed", "skipped"];

impl Place<'_> {
    pub(super) fn full(&self) -> Vec<&str> {
        [self.section, self.id.as_str()].into_iter().chain(self.path.iter().map(String::as_str)).collect()
    }

    pub(super) fn starts_with(&self, parts: &[&str]) -> bool {
        self.path.len() >= parts.len() && self.path.iter().zip(parts).all(|(one, other)| one == other)
    }

    /// Is one item of a loop known here?
    fn knows_item(&self) -> bool {
        let within = |part: &&str| self.starts_with(&[part]);
        ["with", "env", "argv", "undo"].iter().any(within) || self.starts_with(&["for_each", "key"])
    }

    /// Is this a part of an address that is asked?
    fn is_address(&self, step: &Step) -> bool {
        let with = match self.path.iter().position(|part| part == "with") {
            Some(at) => &self.path[at..],
            None => return false,
        };
        let uses = match (&step.does, &step.undo) {
            (Does::Action { uses, .. }, _) if self.starts_with(&["with"]) => uses,
            (_, Some(Undo::Action { verify: Some(verify), .. })) if self.starts_with(&["undo", "verify"]) => {
                &verify.uses
            }
            (_, Some(Undo::Action { uses, .. })) if self.starts_with(&["undo"]) => uses,
            _ => return false,
        };
        let asks = uses.starts_with("http.") && with.get(1).is_some_and(|name| name == "url" || name == "query");
        asks || with.get(1).is_some_and(|name| name == "page" && uses == "status.check" || name == "host")
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

    fn refuse(&mut self, path: &[&str], reference: &Reference, refusal: Refusal) {
        let Refusal { message, help, part, code } = refusal;
        let range = part.and_then(|part| reference.parts.get(part)).unwrap_or(&reference.range).clone();
        let error = TemplateError { range: Some(range), message, help };
        let mut problem = self.loaded.template_problem(path, &error);
        problem.code = code;
        self.problems.push(problem);
    }

    /// The path of a text as the file has it: an undo by `run` or `argv` has no `with` of its own.
    pub(super) fn written(&self, place: &Place<'_>, step: &Step) -> Vec<String> {
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
                    "inputs" => self.input(second),
                    name => Err(Refusal::whole(
                        format!("`{name}` is not known yet when a lock is taken"),
                        "a lock is taken before anything runs: name it by `inputs` alone",
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
        let only = "an output is made of `inputs` and of what the steps gave: `STEP.outputs.NAME`";
        match reference.root() {
            "inputs" => self.input(second),
            "secrets" => Err(Refusal::leak("a secret is not given back", only)),
            name @ ("run" | "outputs") => Err(Refusal::whole(format!("`{name}` cannot stand here"), only)),
            name => {
                let Some((id, step)) = self.known_step(name)? else { return Ok(()) };
                if self.loaded.runbook.finally.contains_key(&id) {
                    let message = format!("step `{id}` stands in `finally`, whose steps give nothing back");
                    return Err(Refusal::part(0, message, "name a step of `steps`"));
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
            "inputs" => self.input(second),
            "run" => self.named(second, "fact about the run", RUN_FACTS),
            "secrets" => {
                self.named(second, "secret", self.loaded.names("secrets"))?;
                self.used_secrets.extend(second.map(str::to_owned));
                if let Some(where_to) = no_secret_here(place, step) {
                    return Err(Refusal::leak(leak_words(place, step), where_to));
                }
                if let Some((message, help)) = second.and_then(|name| self.too_early(place, name)) {
                    return Err(Refusal { code: Code::SecretTooEarly, ..Refusal::whole(message, help) });
                }
                if !reference.alone {
                    let help = "write `{{ secrets.NAME }}` alone between its braces, with text around it if need be";
                    return Err(Refusal::whole("a secret cannot be worked on", help));
                }
                Ok(())
            }
            "outputs" if place.starts_with(&["until"]) => self
                .output(place.id, step, &reference.path[1..], Gives::Try)
                .map_err(|refusal| Refusal { part: refusal.part.map(|part| part - 1), ..refusal }),
            "outputs" if place.starts_with(&["undo", "verify", "if"]) => self
                .seen(step, &reference.path[1..])
                .map_err(|refusal| Refusal { part: refusal.part.map(|part| part - 1), ..refusal }),
            "outputs" => Err(Refusal::part(
                0,
                "`outputs` alone means the step's own, and only `until` can ask for those",
                "name the step: `STEP.outputs.NAME`",
            )),
            name if name == ForEach::USUAL_NAME => Err(Refusal::part(
                0,
                format!("`{name}` is known only in a step with `for_each`, under the name that its `as` gives"),
                match &step.for_each {
                    Some(each) => format!("here it is called `{}`", each.name),
                    None => "give the step a list: `for_each: { in: [one, other] }`".to_owned(),
                },
            )),
            name => self.step_reference(place, name, reference),
        }
    }

    /// An input of this name; without a name, all of them.
    fn input(&mut self, name: Option<&str>) -> Result<(), Refusal> {
        match name {
            Some(name) => {
                self.used_inputs.insert(name.to_owned());
            }
            None => self.used_inputs.extend(self.loaded.runbook.inputs.keys().cloned()),
        }
        self.named(name, "input", self.loaded.names("inputs"))
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
        Err(Refusal::part(1, format!("there is no {what} `{name}`"), help))
    }

    fn step_reference(&mut self, place: &Place<'_>, name: &str, reference: &Reference) -> Result<(), Refusal> {
        let rest = &reference.path[1..];
        let Some((id, step)) = self.known_step(name)? else { return Ok(()) };
        let own_undo = *place.id == id && place.starts_with(&["undo"]);
        if !own_undo && !self.is_upstream(place, &id) {
            return Err(self.not_upstream(place, &id));
        }
        if rest.first().is_some_and(|fact| fact == "met") && step.until.is_none() {
            self.never_met(place, &id, reference);
        }
        self.fact(&id, step, rest, if own_undo { Gives::Try } else { Gives::Step })
    }

    /// The step of this name. Nothing when it is there but could not be read, which is told already.
    pub(super) fn known_step(&self, name: &str) -> Result<Option<(StepId, &'l Step)>, Refusal> {
        let loaded = self.loaded;
        let runbook = &loaded.runbook;
        let texts = "texts stand in quotes: `'…'`; inputs are `inputs.NAME`";
        let Ok(id) = StepId::new(name) else {
            return Err(Refusal::part(0, format!("there is no step `{name}`"), texts));
        };
        if let Some(step) = runbook.step(&id) {
            return Ok(Some((id, step)));
        }
        if loaded.names("steps").chain(loaded.names("finally")).any(|known| known == name) {
            return Ok(None);
        }
        if runbook.inputs.contains_key(name) {
            return Err(Refusal::part(
                0,
                format!("there is no step `{name}`"),
                format!("the input is `inputs.{name}`"),
            ));
        }
        let known = runbook.steps.keys().map(StepId::as_str).chain(["inputs", "secrets", "run"]);
        let help = nearest(name, known).map_or_else(|| texts.to_owned(), |near| format!("did you mean `{near}`?"));
        Err(Refusal::part(0, format!("there is no step `{name}`"), help))
    }

    /// Why a step cannot read another: nothing makes it wait.
    fn not_upstream(&self, place: &Place<'_>, wanted: &StepId) -> Refusal {
        let id = place.id;
        let runbook = &self.loaded.runbook;
        if id == wanted {
            let message = format!("step `{id}` cannot read itself before it has ended");
            return Refusal::part(0, message, "in `until`, its own outputs are `outputs.NAME`");
        }
        if runbook.finally.contains_key(wanted) && place.section == "steps" {
            let message = format!("step `{wanted}` stands in `finally`, which runs after step `{id}`");
            return Refusal::part(0, message, "move one of the two steps, or take the name away");
        }
        let message = format!("step `{id}` does not wait for `{wanted}`, so `{wanted}` may not have ended yet");
        let there = Place { section: place.section, id: wanted, path: &[] };
        if self.is_upstream(&there, id) {
            let help = format!("it is the other way round: `{wanted}` waits for `{id}`");
            return Refusal::part(0, message, help);
        }
        let help = match runbook.step(id).map(|step| step.needs.is_empty()) {
            Some(true) => {
                format!("write `needs: [{wanted}]`, or `needs: {{ {wanted}: finished }}` to read it however it ended")
            }
            _ => format!("add `{wanted}` to its `needs`"),
        };
        Refusal::part(0, message, help)
    }

    /// A fact about a step that has ended.
    fn fact(&mut self, id: &StepId, step: &Step, rest: &[String], gives: Gives) -> Result<(), Refusal> {
        match rest.first().map(String::as_str) {
            None => Ok(()),
            Some("outputs") => self.output(id, step, &rest[1..], gives),
            Some("error") => {
                let fact = rest.get(1).map(String::as_str);
                self.named(fact, "fact about a failure", ERROR_FACTS)
                    .map_err(|refusal| Refusal { part: Some(2), ..refusal })
            }
            Some("approval") => {
                let asked = step.approval.iter().flat_map(|approval| approval.ask.keys().map(String::as_str));
                let known: Vec<&str> = asked.chain(["by"]).collect();
                self.named(rest.get(1).map(String::as_str), "answer", known)
                    .map_err(|refusal| Refusal { part: Some(2), ..refusal })
            }
            Some(fact) => self.named(Some(fact), "fact about a step", STEP_FACTS),
        }
    }

    /// `STEP.met` of a step that waits for nothing is never anything but `none`.
    fn never_met(&mut self, place: &Place<'_>, id: &StepId, reference: &Reference) {
        let message = format!("step `{id}` has no `until`, so `{id}.met` is always `none`");
        let help = format!("ask for `{id}.result`, or give the step an `until`");
        let error = TemplateError { range: Some(reference.range.clone()), message, help: Some(help) };
        let mut problem = self.loaded.template_problem(&place.full(), &error);
        problem.code = Code::NeverMet;
        problem.severity = Severity::Warning;
        self.problems.push(problem);
    }

    /// Has `wanted` ended, one way or another, whenever the step at `place` begins?
    pub(super) fn is_upstream(&self, place: &Place<'_>, wanted: &StepId) -> bool {
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

    /// The step gives an output of this name, and in it what is asked for.
    fn output(&mut self, id: &StepId, step: &Step, rest: &[String], gives: Gives) -> Result<(), Refusal> {
        let of_loop = step.for_each.is_some() && matches!(gives, Gives::Step);
        let known = if of_loop { self.loop_outputs(step) } else { self.outputs_of(step) };
        is_output(&format!("step `{id}`"), &known, rest).map_err(|refusal| {
            let name = rest.first().map_or("", String::as_str);
            let of_item = of_loop && refusal.part == Some(2) && self.outputs_of(step).field(name).is_some();
            let in_items = || Some(format!("each item has its own: `{id}.outputs.items[0].outputs.{name}`"));
            Refusal { help: if of_item { in_items() } else { refusal.help }, ..refusal }
        })
    }

    /// The look that verifies an undo gives an output of this name.
    fn seen(&mut self, step: &Step, rest: &[String]) -> Result<(), Refusal> {
        let Some(Undo::Action { verify: Some(verify), .. }) = &step.undo else { return Ok(()) };
        let Some(signature) = self.signature(&verify.uses) else { return Ok(()) };
        is_output(&format!("`{}`", verify.uses), &signature.outputs, rest)
    }

    /// Names within what an expression works out, such as `page.outputs.components[0].nmae`.
    pub(super) fn within(&mut self, place: &Place<'_>, step: &Step, path: &[&str], shape: &Shape) {
        let mut problems = Vec::new();
        shape.visit(&mut |part| {
            if let What::Within(inner, Some(name)) = &part.what {
                problems.push((inner.clone(), name.clone(), part.range.clone()));
            }
        });
        for (inner, name, range) in problems {
            let kind = self.kind(place, Some(step), &inner);
            if kind.field(&name).is_some() || kind.field_names().is_empty() {
                continue;
            }
            let names = kind.field_names();
            let help = match nearest(&name, names.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("there are: {}", names.join(", ")),
            };
            let range = range.end.saturating_sub(name.len())..range.end;
            let message = format!("there is no field `{name}` in it");
            let mut problem =
                self.loaded.template_problem(path, &TemplateError { range: Some(range), message, help: Some(help) });
            problem.code = Code::UnknownName;
            self.problems.push(problem);
        }
    }
}

/// Is there something at the end of this path, as far as that is known?
fn is_output(what: &str, outputs: &Kind, path: &[String]) -> Result<(), Refusal> {
    let mut kind = outputs.clone();
    for (index, name) in path.iter().enumerate() {
        // A text or a number holds nothing that could be named; a list is asked by number.
        let is_plain = !matches!(kind, Kind::Map(_) | Kind::Unknown) && kind.field_names().is_empty();
        if index > 0 && is_plain && !matches!(kind, Kind::Null) {
            let before = &path[index - 1];
            let message = format!("output `{before}` of {what} is {}, which has no field `{name}`", kind.name());
            let help = match kind {
                Kind::List(_) => format!("name an entry: `{before}[0].{name}`, or go through it with `map`"),
                _ => format!("write `{before}` alone"),
            };
            return Err(Refusal::part(index + 2, message, help));
        }
        match kind.field(name) {
            Some(inner) => kind = inner,
            None => {
                let names = kind.field_names();
                let help = match nearest(name, names.iter().map(String::as_str)) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None if names.is_empty() => "it has none; take the name away".to_owned(),
                    None => format!("it has: {}", names.join(", ")),
                };
                let message = match index.checked_sub(1).and_then(|before| path.get(before)) {
                    None => format!("{what} has no output `{name}`"),
                    Some(before) => format!("output `{before}` of {what} has no field `{name}`"),
                };
                return Err(Refusal::part(index + 2, message, help));
            }
        }
    }
    Ok(())
}

/// Where a secret may stand instead. Nothing when it may stand here.
fn no_secret_here(place: &Place<'_>, step: &Step) -> Option<&'static str> {
    if place.is_argument(step) {
        return Some("arguments are visible to everybody on the machine; use `env:`");
    }
    if place.starts_with(&["with"]) && matches!(step.does, Does::Call(_)) {
        return Some("a called runbook is given secrets by name: `secrets: { its_name: our_name }` beside `with`");
    }
    if place.is_address(step) {
        return Some("addresses end up in logs, here and on the other side; put it into `headers` or the body");
    }
    if matches!(&step.does, Does::Action { uses, .. } if uses == "report.render") && place.starts_with(&["with"]) {
        return Some("a report is for people; take it away");
    }
    let filled_in = ["with", "env", "undo"].iter().any(|part| place.starts_with(&[part]));
    let is_expression = place.starts_with(&["undo", "verify", "if"]);
    (!filled_in || is_expression || matches!(step.does, Does::Decide(_))).then_some("use it in `with` or `env`")
}

/// Where the secret would be seen.
fn leak_words(place: &Place<'_>, step: &Step) -> &'static str {
    if place.is_argument(step) {
        "a secret cannot be a word of a command"
    } else if place.is_address(step) && place.path.iter().any(|part| part == "query") {
        "a secret cannot be a query parameter"
    } else if place.is_address(step) {
        "a secret cannot be a part of an address"
    } else if place.starts_with(&["manual"]) || place.starts_with(&["approval"]) {
        "a secret cannot be shown to people"
    } else {
        "a secret cannot stand here"
    }
}

/// Why an item has no name here.
fn no_item_here(place: &Place<'_>, each: &ForEach) -> Refusal {
    let name = &each.name;
    let here = place.path.first().map_or("", String::as_str);
    if place.starts_with(&["for_each"]) {
        let message = format!("`{name}` is an item of this list, so the list cannot be made of it");
        return Refusal::part(0, message, "name a list that is there before: `STEP.outputs.NAME` or `inputs.NAME`");
    }
    Refusal::part(
        0,
        format!("`{name}` is an item of the loop, and `{here}` is looked at once, before its first item"),
        "an item is known in `with`, `env`, `argv`, `undo` and `for_each.key`",
    )
}
