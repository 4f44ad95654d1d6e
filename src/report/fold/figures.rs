//! What the steps counted, and what the run saw of the cause.
//!
//! No step and no action is known by name here. What counts is how an output is called: a whole number whose name says of
//! what it is one, or a list that a `decide` made.

use serde_json::Value;

use super::Fold;
use crate::action::Effect;
use crate::base::StepPath;
use crate::report::summary::{Figure, Standing, Users};
use crate::report::words;
use crate::run::StepRecord;
use crate::runbook::{Does, StepResult};

/// What people ask for a number of, after an incident. A name that has one of these words, in the singular or the plural,
/// counts them.
const COUNTED: [&str; 15] = [
    "user",
    "account",
    "customer",
    "session",
    "message",
    "event",
    "deliver",
    "row",
    "record",
    "item",
    "token",
    "endpoint",
    "deployment",
    "domain",
    "variable",
];
/// What was done to them, or became of them: such a word counts too.
const DONE: [&str; 14] = [
    "affected",
    "revoked",
    "banned",
    "unbanned",
    "locked",
    "unlocked",
    "recovered",
    "replayed",
    "resent",
    "missing",
    "restored",
    "gone",
    "excluded",
    "failed",
];
/// Names that count without saying what: the step says it.
const BARE: [&str; 3] = ["total", "count", "total_count"];
/// Words that make a number something else than a count.
const NO_COUNT: [&str; 10] =
    ["ms", "seconds", "minutes", "id", "version", "limit", "lifetime", "rate", "percent", "index"];
/// More would bury what matters.
const MOST: usize = 40;

fn words_of(name: &str) -> impl Iterator<Item = &str> {
    name.split(['_', '-']).filter(|word| !word.is_empty())
}

/// Does an output of this name count something?
fn counts(name: &str) -> bool {
    let says = |word| DONE.contains(&word) || COUNTED.iter().any(|noun| is_noun(word, noun));
    !words_of(name).any(|word| NO_COUNT.contains(&word)) && (BARE.contains(&name) || words_of(name).any(says))
}

/// Is it the noun, or the plural of it?
fn is_noun(word: &str, noun: &str) -> bool {
    matches!(word.strip_prefix(noun), Some("" | "s" | "y" | "ies"))
}

/// Does an output of this name count people?
fn counts_users(name: &str) -> bool {
    counts(name) && words_of(name).any(|word| is_noun(word, "user"))
}

impl Fold {
    /// The counts among the outputs of steps that have ended, of loops but not of their items.
    pub(super) fn figures(&self) -> Vec<Figure> {
        let mut found = Vec::new();
        for (path, record) in self.told() {
            let Some(Value::Object(outputs)) = record.outputs.as_ref().map(crate::run::Kept::value) else { continue };
            let changed = self.state.facts(path).is_some_and(|facts| facts.effect == Effect::Write);
            let decides = self.step(path).is_some_and(|step| matches!(step.does, Does::Decide(_)));
            for (name, value) in outputs.into_iter().filter(|(name, _)| counts(name)) {
                let length = value.as_array().filter(|_| decides).and_then(|list| u64::try_from(list.len()).ok());
                let Some(count) = value.as_u64().or(length) else { continue };
                // That nothing went wrong is no figure.
                if count > 0 || (changed && name != "failed") {
                    found.push(Figure { step: path.clone(), name, count, changed });
                }
            }
            if found.len() >= MOST {
                break;
            }
        }
        found.truncate(MOST);
        found
    }

    /// Where nobody said how many users it concerned: at least as many as a step did something about. Of a step that says
    /// both how many `users` it went through and to how many it did something, the latter counts.
    pub(super) fn users_at_least(figures: &[Figure]) -> Option<Users> {
        let of_users = || figures.iter().filter(|figure| figure.changed && counts_users(&figure.name));
        let says_more = |bare: &Figure| of_users().any(|other| other.step == bare.step && other.name != bare.name);
        let most = of_users()
            .filter(|figure| figure.count > 0 && (words_of(&figure.name).count() > 1 || !says_more(figure)))
            .max_by_key(|figure| figure.count)?;
        Some(Users { count: most.count, by: most.step.to_string(), at_least: true })
    }

    /// What the run saw of the cause: looks that failed, incidents that somebody's page names, what was decided, and the
    /// failure that stopped it.
    pub(super) fn clues(&self) -> Vec<Standing> {
        let mut found: Vec<Standing> = Vec::new();
        let mut add = |step: &StepPath, what: String| {
            if found.len() < MOST && !found.iter().any(|known| known.what == what) {
                found.push(Standing { step: step.clone(), what });
            }
        };
        for (path, record) in self.told() {
            let looks = self.state.facts(path).is_some_and(|facts| facts.effect == Effect::Read);
            let decides = self.step(path).is_some_and(|step| matches!(step.does, Does::Decide(_)));
            if let Some(error) = record.error.as_ref().filter(|_| record.result() == Some(StepResult::Failed)) {
                if looks || self.state.first_failure() == Some(path) {
                    add(path, format!("failed: {}", error.message));
                }
                continue;
            }
            let Some(outputs) = record.outputs.as_ref().filter(|_| looks || decides).map(crate::run::Kept::value)
            else {
                continue;
            };
            if decides && let Some(category) = outputs.get("category") {
                add(path, format!("decided that the category is {}", words::brief(category)));
            }
            for incident in outputs.get("incidents").and_then(Value::as_array).into_iter().flatten() {
                if let Some(name) = incident.get("name").and_then(Value::as_str) {
                    add(path, format!("found the incident “{name}”"));
                }
            }
        }
        found
    }

    /// Steps that have ended, in the order of the plan; final ones and items left out.
    fn told(&self) -> impl Iterator<Item = (&StepPath, &StepRecord)> {
        let told = |path: &StepPath| !self.state.is_item(path) && !self.state.is_final(path);
        self.state.records().filter(move |(path, record)| record.result().is_some() && told(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_is_counted() {
        for name in [
            "users",
            "users_done",
            "sessions_revoked",
            "row_count",
            "revoked",
            "total_count",
            "deliveries",
            "user_count",
            "already_gone",
            "missing",
            "still_missing",
        ] {
            assert!(counts(name), "{name}");
        }
        for name in [
            "status",
            "elapsed_ms",
            "keys",
            "exit_code",
            "session_lifetime",
            "user_id",
            "rate_limit",
            "lines",
            "userland",
            "message_id",
            "events_per_rate",
        ] {
            assert!(!counts(name), "{name}");
        }
        assert!(counts_users("users_without_session") && !counts_users("sessions"));
    }
}
