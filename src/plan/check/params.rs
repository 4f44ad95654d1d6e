//! The parameters of an action are of the kinds that it takes, at any depth, templates included.

use serde_json::Value;

use super::Checker;
use super::kinds::{Fields, Kind, of_value};
use super::names::Place;
use crate::base::Code;
use crate::base::diagnostic::nearest;
use crate::runbook::{Step, Templated};

/// Something that does not fit.
struct Unfit {
    /// Where, below `with`.
    path: Vec<String>,
    /// Is it the name that does not fit, and not what stands under it?
    is_key: bool,
    code: Code,
    message: String,
    help: Option<String>,
}

/// What is given, before or after it was found to hold no template.
#[derive(Clone, Copy)]
enum Given<'g> {
    Value(&'g Value),
    Templated(&'g Templated),
}

impl<'g> Given<'g> {
    fn of(templated: &'g Templated) -> Self {
        templated.as_literal().map_or(Self::Templated(templated), Self::Value)
    }

    fn entries(self) -> Option<Vec<(&'g str, Self)>> {
        match self {
            Self::Value(Value::Object(map)) => {
                Some(map.iter().map(|(name, value)| (name.as_str(), Self::Value(value))).collect())
            }
            Self::Templated(Templated::Map(map)) => {
                Some(map.iter().map(|(name, value)| (name.as_str(), Self::of(value))).collect())
            }
            _ => None,
        }
    }

    fn items(self) -> Option<Vec<Self>> {
        match self {
            Self::Value(Value::Array(items)) => Some(items.iter().map(Self::Value).collect()),
            Self::Templated(Templated::List(items)) => Some(items.iter().map(Self::of).collect()),
            _ => None,
        }
    }
}

impl Checker<'_> {
    /// Holds what is given against what an action takes. Returns whether something does not fit.
    pub(super) fn fit(&mut self, place: &Place<'_>, step: &Step, uses: &str, with: &Templated, wanted: &Kind) -> bool {
        let mut found = Vec::new();
        self.fit_value(place, step, &mut Vec::new(), Given::of(with), wanted, uses, &mut found);
        let base: Vec<&str> =
            [place.section, place.id.as_str()].into_iter().chain(place.path.iter().map(String::as_str)).collect();
        for unfit in &found {
            let mut at = base.clone();
            at.extend(unfit.path.iter().map(String::as_str));
            let problem = if unfit.is_key {
                self.key_error(&at, unfit.code, unfit.message.as_str())
            } else {
                self.error(&at, unfit.code, unfit.message.as_str())
            };
            problem.help.clone_from(&unfit.help);
        }
        !found.is_empty()
    }

    #[expect(clippy::too_many_arguments, reason = "it calls itself, and all of these go with it")]
    fn fit_value(
        &mut self,
        place: &Place<'_>,
        step: &Step,
        path: &mut Vec<String>,
        given: Given<'_>,
        wanted: &Kind,
        uses: &str,
        found: &mut Vec<Unfit>,
    ) {
        let named = path.iter().rev().find(|part| part.parse::<usize>().is_err()).cloned().unwrap_or_default();
        let unfit = |path: &[String], shown: String| Unfit {
            path: path.to_vec(),
            is_key: false,
            code: Code::WrongParam,
            message: format!("`{named}` of `{uses}` wants {}, and {shown}", wanted.words()),
            help: None,
        };
        if let (Given::Templated(Templated::Template(template)), Kind::Untemplated(values)) = (given, wanted) {
            let mut problem = unfit(path, String::new());
            problem.code = Code::TemplatedQuery;
            problem.message = format!(
                "`{named}` of `{uses}` is never templated: whoever controls the value would control the statement"
            );
            problem.help = Some(bind_instead(&template.0, &named, values));
            found.push(problem);
            return;
        }
        if let Given::Templated(Templated::Template(template)) = given {
            let text = template.0.trim();
            let kind = match template.sole_shape() {
                Some(shape) => self.kind(place, Some(step), &shape),
                None => Kind::Text,
            };
            if !kind.fits(wanted) {
                let mut problem = unfit(path, format!("`{text}` is {}", kind.name()));
                problem.help = help_for(wanted, &kind, text);
                found.push(problem);
            }
            return;
        }
        match wanted {
            Kind::Unknown => {}
            Kind::Any(choices) => self.fit_choice(place, step, path, given, choices, uses, found, unfit),
            Kind::Map(fields) => match given.entries() {
                Some(entries) => self.fit_fields(place, step, path, &entries, fields, uses, found),
                None => found.push(unfit(path, shown(given))),
            },
            Kind::List(item) => match given.items() {
                Some(items) => {
                    for (index, given) in items.into_iter().enumerate() {
                        path.push(index.to_string());
                        self.fit_value(place, step, path, given, item, uses, found);
                        path.pop();
                    }
                }
                None => {
                    let mut problem = unfit(path, shown(given));
                    if let Given::Value(value @ (Value::String(_) | Value::Number(_))) = given {
                        problem.help = Some(format!("write `{named}: [{}]`", plain(value)));
                    }
                    found.push(problem);
                }
            },
            plain_kind => {
                let Given::Value(value) = given else {
                    found.push(unfit(path, shown(given)));
                    return;
                };
                if !admits(plain_kind, value) {
                    let is_word = matches!((plain_kind, value), (Kind::Words(_), Value::String(_)));
                    let said = if is_word { format!("`{}` is none of them", plain(value)) } else { shown(given) };
                    let mut problem = unfit(path, said);
                    problem.help = help_for_value(plain_kind, value, &named);
                    found.push(problem);
                }
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "it calls itself, and all of these go with it")]
    fn fit_choice(
        &mut self,
        place: &Place<'_>,
        step: &Step,
        path: &mut Vec<String>,
        given: Given<'_>,
        choices: &[Kind],
        uses: &str,
        found: &mut Vec<Unfit>,
        unfit: impl Fn(&[String], String) -> Unfit,
    ) {
        let mut nearest_miss: Option<Vec<Unfit>> = None;
        for choice in choices {
            let mut missed = Vec::new();
            self.fit_value(place, step, path, given, choice, uses, &mut missed);
            if missed.is_empty() {
                return;
            }
            // A list that has one wrong entry is told by that entry.
            let alike = matches!(choice, Kind::List(_)) && given.items().is_some()
                || matches!(choice, Kind::Map(_)) && given.entries().is_some();
            if alike {
                nearest_miss = Some(missed);
            }
        }
        match nearest_miss {
            Some(missed) => found.extend(missed),
            None => {
                let mut problem = unfit(path, shown(given));
                if let (Given::Value(value), Some(first)) =
                    (given, choices.iter().find(|choice| **choice != Kind::Null))
                {
                    let name = path.last().cloned().unwrap_or_default();
                    problem.help = help_for_value(first, value, &name);
                }
                found.push(problem);
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "it calls itself, and all of these go with it")]
    fn fit_fields(
        &mut self,
        place: &Place<'_>,
        step: &Step,
        path: &mut Vec<String>,
        entries: &[(&str, Given<'_>)],
        fields: &Fields,
        uses: &str,
        found: &mut Vec<Unfit>,
    ) {
        // The names at the top are told by the caller, who knows where the step names its action.
        let what = path.last().map(|name| format!("`{name}` of `{uses}`"));
        for (name, given) in entries {
            path.push((*name).to_owned());
            match fields.known.get(*name).map(|(kind, _)| kind).or(fields.others.as_ref()) {
                Some(kind) => self.fit_value(place, step, path, *given, kind, uses, found),
                None => {
                    if let Some(what) = &what {
                        let help = match nearest(name, fields.known.keys().map(String::as_str)) {
                            Some(near) => format!("did you mean `{near}`?"),
                            None => {
                                format!("there are: {}", fields.known.keys().cloned().collect::<Vec<_>>().join(", "))
                            }
                        };
                        found.push(Unfit {
                            path: path.clone(),
                            is_key: true,
                            code: Code::UnknownParam,
                            message: format!("{what} has no field `{name}`"),
                            help: Some(help),
                        });
                    }
                }
            }
            path.pop();
        }
        let Some(what) = what else { return };
        for name in fields.required.iter().filter(|name| !entries.iter().any(|(known, _)| known == name)) {
            found.push(Unfit {
                path: path.clone(),
                is_key: true,
                code: Code::MissingParam,
                message: format!("{what} needs the field `{name}`"),
                help: fields.known.get(name).and_then(|(_, doc)| doc.as_ref()).map(|doc| format!("`{name}`: {doc}")),
            });
        }
    }
}

fn admits(wanted: &Kind, value: &Value) -> bool {
    match (wanted, value) {
        (Kind::Text | Kind::Untemplated(_) | Kind::Url, Value::String(_))
        | (Kind::Boolean, Value::Bool(_))
        | (Kind::Null, Value::Null) => true,
        (Kind::Number, Value::Number(_)) => true,
        (Kind::Duration, Value::String(text)) => text.parse::<crate::base::HumanDuration>().is_ok(),
        (Kind::Moment, Value::String(text)) => text.parse::<crate::base::Timestamp>().is_ok(),
        (Kind::Words(words), Value::String(text)) => words.contains(text),
        (Kind::Integer(least, most), Value::Number(number)) => match number.as_i64() {
            Some(number) => least.is_none_or(|least| number >= least) && most.is_none_or(|most| number <= most),
            None => number.is_u64() && most.is_none(),
        },
        _ => false,
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// What is given, in words.
fn shown(given: Given<'_>) -> String {
    match given {
        Given::Value(Value::Null) => "nothing stands here".to_owned(),
        Given::Value(Value::Array(_)) | Given::Templated(Templated::List(_)) => "this is a list".to_owned(),
        Given::Value(Value::Object(_)) | Given::Templated(Templated::Map(_)) => "this is a map".to_owned(),
        Given::Value(value @ Value::String(_)) => format!("`{}` is a text", plain(value)),
        Given::Value(value) => format!("`{value}` is {}", of_value(value).name()),
        Given::Templated(_) => "this is something else".to_owned(),
    }
}

fn help_for_value(wanted: &Kind, value: &Value, name: &str) -> Option<String> {
    let text = plain(value);
    match (wanted, value) {
        (Kind::Words(words), Value::String(_)) => Some(match nearest(&text, words.iter().map(String::as_str)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("there are: {}", words.join(", ")),
        }),
        (Kind::Duration, Value::Number(_)) => Some(format!("a number needs its unit: `{text}s`")),
        (Kind::Duration, _) => Some(format!("write for example `{name}: 30s`")),
        (Kind::Integer(..) | Kind::Number, Value::String(text)) if text.parse::<f64>().is_ok() => {
            Some(format!("take the quotes away: `{text}`"))
        }
        (Kind::Integer(..) | Kind::Number, _) => Some("write a number".to_owned()),
        (Kind::Text | Kind::Url, Value::Number(_) | Value::Bool(_)) => {
            Some(format!("put it into quotes: `\"{text}\"`"))
        }
        (Kind::Text | Kind::Url, Value::Array(_)) => Some("write one text".to_owned()),
        (Kind::Boolean, Value::String(word)) => {
            let meant =
                if ["yes", "on", "true", "1"].contains(&word.to_lowercase().as_str()) { "true" } else { "false" };
            Some(format!("write `{meant}`"))
        }
        (Kind::Text | Kind::Url, Value::Null) => Some("write it, or take the key away".to_owned()),
        _ => Some(format!("write {}", wanted.words())),
    }
}

/// How a value gets to a text that takes no template.
fn bind_instead(text: &str, named: &str, values: &str) -> String {
    let inside =
        text.split_once("{{").and_then(|(_, rest)| rest.split_once("}}")).map_or("", |(inside, _)| inside.trim());
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let name = inside.rsplit('.').next().filter(|name| !name.is_empty() && name.chars().all(word)).unwrap_or("value");
    format!("write `{values}: {{ {name}: \"{{{{ {inside} }}}}\" }}` and use `:{name}` in `{named}`")
}

/// How a template comes to be of the kind that is wanted.
fn help_for(wanted: &Kind, given: &Kind, text: &str) -> Option<String> {
    let inside = text.trim_start_matches("{{").trim_end_matches("}}").trim();
    match (wanted, given) {
        (Kind::Text | Kind::Url, Kind::List(_) | Kind::Map(_)) => {
            Some(format!("write it as one text: `{{{{ {inside} | tojson }}}}`"))
        }
        (Kind::Text | Kind::Url, _) => Some(format!("write it as a text: `{{{{ {inside} | string }}}}`")),
        (Kind::Integer(..) | Kind::Number, Kind::Text | Kind::Words(_)) => {
            Some(format!("make a number of it: `{{{{ {inside} | int }}}}`"))
        }
        (Kind::Duration, Kind::Integer(..)) => {
            Some("declare the input as a `duration`, or write the time out: `30s`".to_owned())
        }
        (Kind::List(_), _) => Some(format!("write a list: `[\"{text}\"]`")),
        (Kind::Words(words), Kind::Words(_)) => Some(format!("there are: {}", words.join(", "))),
        _ => Some(format!("give it {}", wanted.words())),
    }
}
