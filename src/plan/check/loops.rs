//! The list of a loop, as far as it is known beforehand, and what tells its items apart.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Checker;
use crate::base::Code;
use crate::base::StepId;
use crate::runbook::template::json_value;
use crate::runbook::{ForEach, Scope};

impl Checker<'_> {
    pub(super) fn for_each(&mut self, section: &str, id: &StepId, each: &ForEach) {
        let at = |part: &'static str| [section, id.as_str(), "for_each", part];
        if StepId::new(&each.name).is_ok_and(|name| self.loaded.runbook.step(&name).is_some()) {
            let message = format!("an item cannot be called `{}`: that is the name of a step", each.name);
            self.error(&at("as"), Code::InvalidName, message).help =
                Some("choose a name that nothing else has".to_owned());
        }
        // A list that no value goes into is known now.
        if !each.items.references().is_ok_and(|names| names.is_empty()) {
            return;
        }
        let items = match each.items.value(&Scope::default()) {
            Ok(Value::Array(items)) => items,
            Ok(other) => {
                let message = format!("`for_each` of step `{id}` needs a list, and this is {}", kind(&other));
                self.error(&at("in"), Code::NotAList, message).help =
                    Some("write `[one, other]`, or an expression such as `step.outputs.users`".to_owned());
                return;
            }
            Err(error) => {
                let problem = self.loaded.template_problem(&at("in"), &error);
                self.problems.push(problem);
                return;
            }
        };
        self.keys(&at("in"), &at("key"), each, &items);
    }

    /// Every item has a key that is a text or a number, and no two have the same.
    fn keys(&mut self, list: &[&str], key: &[&str], each: &ForEach, items: &[Value]) {
        if each.key.as_ref().is_some_and(|key| {
            !key.references().is_ok_and(|names| names.iter().all(|reference| reference.root() == each.name))
        }) {
            return;
        }
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for (index, item) in items.iter().enumerate() {
            let place = index.to_string();
            let place = [list, &[place.as_str()]].concat();
            let found = match &each.key {
                None => item.clone(),
                Some(expression) => {
                    let mut scope = Scope::default();
                    scope.set(each.name.as_str(), json_value(item));
                    match expression.value(&scope) {
                        Ok(found) => found,
                        Err(error) => {
                            let mut problem = self.loaded.template_problem(key, &error);
                            problem.message = format!("item {} has no such key: {}", index + 1, problem.message);
                            self.problems.push(problem);
                            return;
                        }
                    }
                }
            };
            let text = match &found {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                other => {
                    let (at, message) = match &each.key {
                        None => {
                            (place.as_slice(), format!("nothing tells this item from others: it is {}", kind(other)))
                        }
                        Some(_) => (key, format!("a key is a text or a number, and this is {}", kind(other))),
                    };
                    let help = format!("say what tells the items apart: `key: \"{}.id\"`", each.name);
                    self.error(at, Code::ItemKey, message).help = Some(help);
                    return;
                }
            };
            if let Some(before) = seen.insert(text.clone(), index) {
                let message = format!("two items have the key `{text}`, and a run could not tell them apart");
                let first = self.loaded.span(&[list, &[before.to_string().as_str()]].concat());
                let span = self.loaded.span(&place);
                let problem = self.error(&place, Code::ItemKey, message);
                if first != span {
                    problem.related.push((first, "the first one".to_owned()));
                }
                problem.help = Some("take one of them away, or choose another `key`".to_owned());
            }
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map",
    }
}
