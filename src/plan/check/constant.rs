//! Comparisons that can never be true, and conditions that are always the same.

use super::Checker;
use super::kinds::Kind;
use super::names::Place;
use crate::base::diagnostic::nearest;
use crate::base::{Code, HumanDuration, Severity};
use crate::runbook::template::shape::{Comparison, Shape, What};
use crate::runbook::{Expression, Scope, Step, TemplateError};

/// What two sides of a comparison have to do with each other.
enum Never {
    /// The one is a word that the other never is.
    Word { left: String, word: String, words: Vec<String> },
    /// They are of different kinds.
    Kinds { left: (String, Kind), right: (String, Kind) },
}

impl Checker<'_> {
    /// Tells of every comparison in an expression that can never be true. Returns whether there was one.
    pub(super) fn comparisons(
        &mut self,
        place: &Place<'_>,
        step: &Step,
        full: &[&str],
        text: &str,
        shape: &Shape,
    ) -> bool {
        let mut compared: Vec<(Shape, Comparison, Shape)> = Vec::new();
        shape.visit(&mut |part| {
            if let What::Compare(left, rest) = &part.what
                && let [(how, right)] = rest.as_slice()
            {
                match (&right.what, how) {
                    (What::List(items), Comparison::In | Comparison::NotIn) => {
                        compared
                            .extend(items.iter().map(|item| (left.as_ref().clone(), Comparison::Equal, item.clone())));
                    }
                    (_, Comparison::In | Comparison::NotIn) => {}
                    _ => compared.push((left.as_ref().clone(), *how, right.clone())),
                }
            }
        });
        let mut found = false;
        for (left, how, right) in compared {
            let Some((never, at)) = self.never(place, step, text, &left, &right) else { continue };
            found = true;
            let (message, help) = words(&never, how);
            let error = TemplateError { range: Some(at), message, help };
            let mut problem = self.loaded.template_problem(full, &error);
            problem.code = Code::NeverEqual;
            problem.severity = Severity::Warning;
            self.problems.push(problem);
        }
        found
    }

    fn never(
        &mut self,
        place: &Place<'_>,
        step: &Step,
        text: &str,
        left: &Shape,
        right: &Shape,
    ) -> Option<(Never, std::ops::Range<usize>)> {
        let (one, other) = (self.kind(place, Some(step), left), self.kind(place, Some(step), right));
        if one.compares(&other) {
            return None;
        }
        let shown = |shape: &Shape| text.get(shape.range.clone()).unwrap_or_default().to_owned();
        // A word that is written out is what is wrong, on whichever side it stands.
        let (named, kind, literal) = if matches!(left.what, What::Literal(_)) {
            (right, other.clone(), left)
        } else {
            (left, one.clone(), right)
        };
        if let (Kind::Words(words), What::Literal(serde_json::Value::String(word))) = (&kind, &literal.what) {
            let never = Never::Word { left: shown(named), word: word.clone(), words: words.clone() };
            return Some((never, literal.range.clone()));
        }
        let never = Never::Kinds { left: (shown(left), one), right: (shown(right), other) };
        Some((never, literal.range.clone()))
    }

    /// Whether an expression is always true or always false, as far as that can be known.
    pub(super) fn truth(&mut self, place: &Place<'_>, step: &Step, text: &str, shape: &Shape) -> Option<bool> {
        match &shape.what {
            What::Literal(value) => Some(match value {
                serde_json::Value::Null => false,
                serde_json::Value::Bool(flag) => *flag,
                serde_json::Value::Number(number) => number.as_f64() != Some(0.0),
                serde_json::Value::String(text) => !text.is_empty(),
                serde_json::Value::Array(items) => !items.is_empty(),
                serde_json::Value::Object(map) => !map.is_empty(),
            }),
            What::Not(inner) => self.truth(place, step, text, inner).map(|is_true| !is_true),
            What::And(one, other) => match (self.truth(place, step, text, one), self.truth(place, step, text, other)) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            },
            What::Or(one, other) => match (self.truth(place, step, text, one), self.truth(place, step, text, other)) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            },
            What::Compare(left, rest) => {
                let is_known = Expression(text.get(shape.range.clone())?.to_owned());
                if is_known.references().is_ok_and(|names| names.is_empty()) {
                    return is_known.holds(&Scope::default()).ok();
                }
                let [(how, right)] = rest.as_slice() else { return None };
                match (how, &right.what) {
                    (Comparison::Equal, _) => self.never(place, step, text, left, right).map(|_| false),
                    (Comparison::Unequal, _) => self.never(place, step, text, left, right).map(|_| true),
                    (Comparison::In | Comparison::NotIn, What::List(items)) => {
                        let none = items.iter().all(|item| self.never(place, step, text, left, item).is_some());
                        none.then_some(*how == Comparison::NotIn)
                    }
                    _ => None,
                }
            }
            _ => None,
        }
    }

    /// A condition that is always the same is told, unless a comparison in it was told already. Returns what it always is.
    pub(super) fn condition(
        &mut self,
        place: &Place<'_>,
        step: &Step,
        text: &str,
        shape: &Shape,
        is_told: bool,
    ) -> Option<bool> {
        let truth = self.truth(place, step, text, shape)?;
        let id = place.id;
        let (message, help) = match (place.path.first().map(String::as_str), truth) {
            (Some("if"), true) => (format!("this always holds, so step `{id}` never skips"), "take the `if` away"),
            (Some("if"), false) => (
                format!("this never holds, so step `{id}` is always skipped"),
                "ask for something that can be so, or take the step away",
            ),
            (Some("until"), true) => (
                format!("this always holds, so step `{id}` waits for nothing"),
                "ask for what the step finds: `outputs.NAME`",
            ),
            (Some("until"), false) => (
                format!("this never holds, so step `{id}` waits in vain"),
                "ask for what the step finds: `outputs.NAME`",
            ),
            (Some("with"), true) => (
                "this always holds, so no arm after it is ever chosen".to_owned(),
                "make it the last arm, without an `if`",
            ),
            (Some("with"), false) => ("this never holds, so its arm is never chosen".to_owned(), "take the arm away"),
            (_, true) => ("this always holds, so it asks nothing".to_owned(), "ask for what was found: `outputs.NAME`"),
            (_, false) => ("this never holds".to_owned(), "ask for what was found: `outputs.NAME`"),
        };
        if !is_told {
            let whole = 0..text.trim_end().len();
            let error = TemplateError { range: Some(whole), message, help: Some(help.to_owned()) };
            let mut problem = self.loaded.template_problem(&place.full(), &error);
            problem.code = Code::ConstantCondition;
            problem.severity = Severity::Warning;
            self.problems.push(problem);
        }
        Some(truth)
    }
}

fn words(never: &Never, how: Comparison) -> (String, Option<String>) {
    match never {
        Never::Word { left, word, words } => {
            let help = match nearest(word, words.iter().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("it can be: {}", words.join(", ")),
            };
            (format!("`{left}` is never `{word}`"), Some(help))
        }
        Never::Kinds { left: (left, one), right: (right, other) } => {
            let what = if how == Comparison::Order { "they have no order" } else { "they are never equal" };
            let message = format!("`{left}` is {}, and `{right}` is {}: {what}", one.name(), other.name());
            (message, Some(help(one, other)))
        }
    }
}

/// How the two come to be of one kind.
fn help(one: &Kind, other: &Kind) -> String {
    let word = |kind: &Kind| match kind {
        Kind::Words(words) => words.first().cloned(),
        _ => None,
    };
    for (wanted, given) in [(one, word(other)), (other, word(one))] {
        match (wanted, given) {
            (Kind::Integer(..) | Kind::Number, Some(text)) if text.parse::<f64>().is_ok() => {
                return format!("write the number without quotes: `{text}`");
            }
            (Kind::Boolean, Some(text)) if ["true", "false"].contains(&text.as_str()) => {
                return format!("write it without quotes: `{text}`");
            }
            (Kind::Duration, Some(text)) if text.parse::<HumanDuration>().is_ok() => {
                return format!("write `duration('{text}')`");
            }
            _ => {}
        }
    }
    match (one, other) {
        (Kind::Duration, Kind::Integer(..)) | (Kind::Integer(..), Kind::Duration) => {
            "write the time as `duration('30s')`".to_owned()
        }
        (Kind::Moment, _) | (_, Kind::Moment) => "compare it with another moment, such as `run.now`".to_owned(),
        _ => "compare values of one kind; `| int` and `| string` make one of the other".to_owned(),
    }
}
