//! A call fits the runbook that it calls: its inputs and its secrets.

use std::sync::Arc;

use serde_json::Value;

use super::Checker;
use super::names::Place;
use crate::base::diagnostic::nearest;
use crate::base::{Code, Elsewhere, StepId};
use crate::runbook::{Call, InputProblem, Templated, call_key};

impl Checker<'_> {
    pub(super) fn call(&mut self, section: &str, id: &StepId, call: &Call) {
        self.used_secrets.extend(call.secrets.values().cloned());
        self.our_secrets(section, id, call);
        let called = self.called;
        // One that could not be loaded is told already.
        let Some(called) = called.get(&call_key(self.key, &call.file)) else { return };
        let file = &call.file;
        let given: Vec<(&str, Given<'_>)> = match &call.with {
            Templated::Literal(Value::Object(map)) => {
                map.iter().map(|(name, value)| (name.as_str(), Given::Known(value))).collect()
            }
            Templated::Map(map) => map.iter().map(|(name, value)| (name.as_str(), Given::of(value))).collect(),
            _ => Vec::new(),
        };
        let with = [section, id.as_str(), "with"];
        for (name, value) in &given {
            let at = [&with[..], &[name]].concat();
            if !called.names("inputs").any(|known| known == *name) {
                let help = known_names(name, called.names("inputs"), "input");
                self.key_error(&at, Code::UnknownInput, format!("`{file}` has no input `{name}`")).help = Some(help);
                continue;
            }
            let Some(input) = called.runbook.inputs.get(*name) else { continue };
            let reason = match value {
                // Nothing is as if it were not given.
                Given::Known(Value::Null) => continue,
                Given::Known(value) => input.read(value).err(),
                Given::Many => input.read(&Value::Array(Vec::new())).err(),
                Given::Later => None,
            };
            if let Some(reason) = reason {
                let problem = InputProblem::Unfit { name: (*name).to_owned(), reason };
                let declared = called.key_span(&["inputs", name]);
                let message = format!("{problem} (`{file}`)");
                let problem = self.error(&at, Code::WrongInput, message);
                problem.elsewhere.push(Elsewhere {
                    source: Arc::clone(&called.source),
                    span: declared,
                    label: "declared here".to_owned(),
                });
                problem.help = Some(match &input.description {
                    Some(text) => format!("`{name}`: {text}"),
                    None => "give a value of the type that it declares, within its limits".to_owned(),
                });
            }
        }
        for (name, input) in called.runbook.inputs.iter().filter(|(_, input)| input.required && input.default.is_none())
        {
            if given.iter().any(|(known, value)| known == name && !matches!(value, Given::Known(Value::Null))) {
                continue;
            }
            let declared = called.key_span(&["inputs", name]);
            let at = [section, id.as_str(), "call"];
            let problem = self.error(&at, Code::MissingInput, format!("`{file}` needs the input `{name}`"));
            problem.elsewhere.push(Elsewhere {
                source: Arc::clone(&called.source),
                span: declared,
                label: "declared here, as required".to_owned(),
            });
            problem.help = Some(match &input.description {
                Some(text) => format!("give it by `with: {{ {name}: … }}`: {text}"),
                None => format!("give it by `with: {{ {name}: … }}`"),
            });
        }
        for theirs in call.secrets.keys().filter(|name| !called.names("secrets").any(|known| known == name.as_str())) {
            let help = known_names(theirs, called.names("secrets"), "secret");
            let at = self.secret_path(section, id, theirs);
            let at: Vec<&str> = at.iter().map(String::as_str).collect();
            let message = format!("`{file}` declares no secret `{theirs}`");
            // In a map its own name is the key, in a list it is all there is.
            let is_key = at.last() == Some(&theirs.as_str());
            let problem = if is_key {
                self.key_error(&at, Code::UnknownSecret, message)
            } else {
                self.error(&at, Code::UnknownSecret, message)
            };
            problem.help = Some(help);
        }
    }

    fn our_secrets(&mut self, section: &str, id: &StepId, call: &Call) {
        let loaded = self.loaded;
        for (theirs, ours) in &call.secrets {
            if loaded.names("secrets").any(|known| known == ours) {
                let place = Place { section, id, path: &[] };
                if let Some((message, help)) = self.too_early(&place, ours) {
                    let at = self.secret_path(section, id, theirs);
                    let at: Vec<&str> = at.iter().map(String::as_str).collect();
                    self.error(&at, Code::SecretTooEarly, message).help = Some(help);
                }
                continue;
            }
            let help = known_names(ours, loaded.names("secrets"), "secret");
            let at = self.secret_path(section, id, theirs);
            let at: Vec<&str> = at.iter().map(String::as_str).collect();
            self.error(&at, Code::UnknownSecret, format!("there is no secret `{ours}`")).help = Some(help);
        }
    }

    /// Where a secret is handed on: under its name in a map, at its place in a list.
    fn secret_path(&self, section: &str, id: &StepId, theirs: &str) -> Vec<String> {
        let base = [section, id.as_str(), "secrets"];
        let in_list = (0..).map(|index: usize| index.to_string()).find_map(|index| {
            let at = [&base[..], &[index.as_str()]].concat();
            match self.loaded.text(&at) {
                Some(text) if text == theirs => Some(Some(index)),
                Some(_) => None,
                None => Some(None),
            }
        });
        let last = in_list.flatten().unwrap_or_else(|| theirs.to_owned());
        base.iter().map(|part| (*part).to_owned()).chain([last]).collect()
    }
}

/// What is known of an input before the run.
enum Given<'g> {
    /// Its value.
    Known(&'g Value),
    /// Only the run can tell.
    Later,
    /// A list or a map, which no input may be.
    Many,
}

impl<'g> Given<'g> {
    fn of(value: &'g Templated) -> Self {
        match value {
            Templated::Literal(value) => Self::Known(value),
            Templated::Template(_) => Self::Later,
            Templated::List(_) | Templated::Map(_) => Self::Many,
        }
    }
}

fn known_names<'n>(name: &str, known: impl Iterator<Item = &'n str> + Clone, what: &str) -> String {
    match nearest(name, known.clone()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            let all = known.collect::<Vec<_>>().join(", ");
            if all.is_empty() { format!("it declares no {what}") } else { format!("there are: {all}") }
        }
    }
}
