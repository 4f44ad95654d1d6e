//! Inputs: given values are read by their declared types and held against their limits.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde_json::Value;

use super::document::{Input, InputType};
use crate::base::HumanDuration;
use crate::base::diagnostic::nearest;

/// What a report reads of an incident by its name, wherever it was said (`docs/report.md`): an input of such a name is used,
/// though no step names it.
pub const OF_THE_INCIDENT: [&str; 5] = ["detected_by", "detected_at", "users_affected", "data_loss", "root_cause"];

/// What is wrong with an input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InputProblem {
    /// It must be given and is not.
    #[error("input `{name}` is required{}", hint(.description))]
    Missing {
        /// The input.
        name: String,
        /// What it means.
        description: Option<String>,
    },
    /// The runbook has no such input.
    #[error("there is no input `{name}`{}", suggestion(.near))]
    Unknown {
        /// What was given.
        name: String,
        /// The nearest input there is.
        near: Option<String>,
    },
    /// The value does not fit.
    #[error("input `{name}`: {reason}")]
    Unfit {
        /// The input.
        name: String,
        /// Why.
        reason: String,
    },
}

fn hint(description: &Option<String>) -> String {
    description.as_ref().map_or_else(String::new, |text| format!(" ({text})"))
}

fn suggestion(near: &Option<String>) -> String {
    near.as_ref().map_or_else(String::new, |name| format!("; did you mean `{name}`?"))
}

/// The values of all inputs: what was given, else the default. Every problem is reported at once.
pub fn resolve(
    declared: &IndexMap<String, Input>,
    given: &BTreeMap<String, Value>,
) -> Result<IndexMap<String, Value>, Vec<InputProblem>> {
    let mut problems = Vec::new();
    let mut values = IndexMap::new();
    for name in given.keys().filter(|name| !declared.contains_key(*name)) {
        let near = nearest(name, declared.keys().map(String::as_str)).map(str::to_owned);
        problems.push(InputProblem::Unknown { name: name.clone(), near });
    }
    for (name, input) in declared {
        // Nothing is as if it were not given: a called runbook may be handed an input that the caller does not have.
        match given.get(name).filter(|value| !value.is_null()).or(input.default.as_ref()) {
            Some(value) => match input.read(value) {
                Ok(value) => {
                    values.insert(name.clone(), value);
                }
                Err(reason) => problems.push(InputProblem::Unfit { name: name.clone(), reason }),
            },
            None if input.required => {
                problems.push(InputProblem::Missing { name: name.clone(), description: input.description.clone() })
            }
            None => {
                values.insert(name.clone(), Value::Null);
            }
        }
    }
    if problems.is_empty() { Ok(values) } else { Err(problems) }
}

impl Input {
    /// Reads a value, from JSON or from a text typed by a person, and holds it against the limits.
    pub fn read(&self, value: &Value) -> Result<Value, String> {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Null | Value::Array(_) | Value::Object(_) => return Err(format!("{} is expected", self.expected())),
            Value::Bool(_) | Value::Number(_) => value.to_string(),
        };
        let refuse = || Err(format!("{} is expected, not `{text}`", self.expected()));
        let read = match self.kind {
            InputType::String => Value::String(text.clone()),
            InputType::Integer => match text.parse::<i64>() {
                Ok(number) => number.into(),
                Err(_) => return refuse(),
            },
            InputType::Boolean => match text.as_str() {
                "true" => true.into(),
                "false" => false.into(),
                _ => return refuse(),
            },
            InputType::Duration => match text.parse::<HumanDuration>() {
                Ok(duration) => duration.to_string().into(),
                Err(error) => return Err(error.to_string()),
            },
            InputType::Url => {
                if !is_url(&text) {
                    return refuse();
                }
                text.clone().into()
            }
            InputType::Enum => {
                if !self.values.contains(&text) {
                    let near = nearest(&text, self.values.iter().map(String::as_str));
                    let near = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                    return Err(format!("one of {} is expected, not `{text}`{near}", self.values.join(", ")));
                }
                text.clone().into()
            }
        };
        self.check_limits(&read, &text)?;
        Ok(read)
    }

    fn expected(&self) -> &'static str {
        match self.kind {
            InputType::String => "a text",
            InputType::Integer => "a whole number",
            InputType::Boolean => "`true` or `false`",
            InputType::Duration => "a duration such as `90s` or `15m`",
            InputType::Url => "an address such as `https://example.com`",
            InputType::Enum => "one of its words",
        }
    }

    fn check_limits(&self, read: &Value, text: &str) -> Result<(), String> {
        let Some(size) = self.size(read) else { return self.check_pattern(text) };
        let unit = if self.kind == InputType::String { " characters" } else { "" };
        if let Some(min) = &self.min
            && self.limit(min).is_some_and(|least| size < least)
        {
            return Err(format!("at least {}{unit} is expected, not `{text}`", plain(min)));
        }
        if let Some(max) = &self.max
            && self.limit(max).is_some_and(|most| size > most)
        {
            return Err(format!("at most {}{unit} is expected, not `{text}`", plain(max)));
        }
        self.check_pattern(text)
    }

    /// What `min` and `max` are held against: the number, the milliseconds, the characters.
    fn size(&self, read: &Value) -> Option<i128> {
        match self.kind {
            InputType::Integer => read.as_i64().map(i128::from),
            InputType::Duration => read.as_str().and_then(millis),
            InputType::String => read.as_str().and_then(|text| i128::try_from(text.chars().count()).ok()),
            InputType::Boolean | InputType::Url | InputType::Enum => None,
        }
    }

    /// A limit in the unit of [`Self::size`].
    pub(super) fn limit(&self, limit: &Value) -> Option<i128> {
        match self.kind {
            InputType::Duration => limit.as_str().and_then(millis),
            _ => limit.as_i64().map(i128::from),
        }
    }

    fn check_pattern(&self, text: &str) -> Result<(), String> {
        let Some(pattern) = &self.pattern else { return Ok(()) };
        match regex_lite::Regex::new(&format!("^(?:{pattern})$")) {
            Ok(regex) if regex.is_match(text) => Ok(()),
            Ok(_) => Err(format!("`{text}` does not match `{pattern}`")),
            Err(error) => Err(format!("the pattern `{pattern}` cannot be read: {error}")),
        }
    }
}

fn millis(text: &str) -> Option<i128> {
    text.parse::<HumanDuration>().ok().and_then(|duration| i128::try_from(duration.0.as_millis()).ok())
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn is_url(text: &str) -> bool {
    let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else { return false };
    let host = rest.split(['/', '?', '#']).next().unwrap_or_default();
    !host.is_empty() && !text.chars().any(|c| c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn input(kind: InputType) -> Input {
        Input {
            kind,
            description: None,
            required: false,
            default: None,
            min: None,
            max: None,
            pattern: None,
            values: Vec::new(),
        }
    }

    #[test]
    fn values_are_read_by_type() {
        let read = |kind, value: Value| input(kind).read(&value);
        assert_eq!(read(InputType::Integer, json!("42")), Ok(json!(42)));
        assert_eq!(read(InputType::Boolean, json!("true")), Ok(json!(true)));
        assert_eq!(read(InputType::Duration, json!("90m")), Ok(json!("1h30m")));
        assert_eq!(read(InputType::String, json!(5)), Ok(json!("5")));
        for (kind, value) in [
            (InputType::Integer, json!("4.2")),
            (InputType::Boolean, json!("yes")),
            (InputType::Duration, json!("soon")),
            (InputType::Url, json!("localhost:3000")),
            (InputType::Url, json!("https:// x")),
            (InputType::String, json!(["a"])),
        ] {
            assert!(read(kind, value.clone()).is_err(), "{kind:?} {value}");
        }
    }

    #[test]
    fn limits_hold() {
        let capped = Input { max: Some(json!("4h")), min: Some(json!("1m")), ..input(InputType::Duration) };
        assert_eq!(capped.read(&json!("5h")).unwrap_err(), "at most 4h is expected, not `5h`");
        assert_eq!(capped.read(&json!("59s")).unwrap_err(), "at least 1m is expected, not `59s`");
        let shaped = Input { pattern: Some("[a-z]+".into()), ..input(InputType::String) };
        assert!(shaped.read(&json!("abc")).is_ok());
        assert!(shaped.read(&json!("abc1")).is_err());
    }

    #[test]
    fn nothing_counts_as_not_given() {
        let declared = IndexMap::from([
            ("size".to_owned(), Input { default: Some(json!(3)), ..input(InputType::Integer) }),
            ("team".to_owned(), input(InputType::String)),
            ("project".to_owned(), Input { required: true, ..input(InputType::String) }),
        ]);
        let nothing = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), Value::Null)).collect();
        let mut given: BTreeMap<String, Value> = nothing(&["size", "team", "project"]);
        let problems = resolve(&declared, &given).unwrap_err();
        assert_eq!(problems, [InputProblem::Missing { name: "project".to_owned(), description: None }]);
        given.insert("project".to_owned(), json!("shop"));
        assert_eq!(
            Value::from_iter(resolve(&declared, &given).unwrap()),
            json!({ "size": 3, "team": null, "project": "shop" })
        );
    }

    #[test]
    fn every_problem_is_reported_at_once() {
        let declared = IndexMap::from([
            ("project".to_owned(), Input { required: true, ..input(InputType::String) }),
            ("size".to_owned(), input(InputType::Integer)),
        ]);
        let given = BTreeMap::from([("projet".to_owned(), json!("x")), ("size".to_owned(), json!("big"))]);
        let problems: Vec<_> = resolve(&declared, &given).unwrap_err().iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            [
                "there is no input `projet`; did you mean `project`?",
                "input `project` is required",
                "input `size`: a whole number is expected, not `big`",
            ]
        );
    }
}
