//! What stands above the steps: inputs, secrets, locks, what follows a failure, what is given back.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Kind, Told, text, value};
use crate::base::HumanDuration;
use crate::runbook::{Input, InputType, Lock, OnFailure};

pub(super) fn compare(told: &mut Told<'_, '_>) {
    let (old, new) = (told.old, told.new);
    if old.side.is_none() || new.side.is_none() {
        return;
    }
    let (old, new) = (old.runbook.as_ref(), new.runbook.as_ref());
    if old.name != new.name {
        let message = format!("the runbook `{}` is called `{}`", old.name, new.name);
        told.top(Kind::RunbookRenamed, &["runbook"], message, (value(&old.name), value(&new.name)));
    }
    for (key, old, new) in [
        ("title", value(&old.title), value(&new.title)),
        ("summary", value(&old.summary), value(&new.summary)),
        ("severity", value(&old.severity), value(&new.severity)),
    ] {
        if old != new {
            told.top(Kind::WordingChanged, &[key], format!("the runbook's {key} is another"), (old, new));
        }
    }
    let systems = |systems: &[String]| systems.iter().cloned().collect::<BTreeSet<_>>();
    if systems(&old.outage_of) != systems(&new.outage_of) {
        let message = "other systems may be down while it runs";
        told.top(Kind::OutageChanged, &["outage_of"], message, (value(&old.outage_of), value(&new.outage_of)));
    }
    if old.timeout != new.timeout {
        let message = format!("the whole run may take {} instead of {}", limit(new.timeout), limit(old.timeout));
        told.top(Kind::TimingChanged, &["timeout"], message, (value(&old.timeout), value(&new.timeout)));
    }
    let rank = |on_failure| match on_failure {
        OnFailure::Rollback => 0,
        OnFailure::Hold => 1,
        OnFailure::Continue => 2,
    };
    if old.on_failure != new.on_failure {
        let weaker = rank(new.on_failure) > rank(old.on_failure);
        let kind = if weaker { Kind::OnFailureWeakened } else { Kind::OnFailureStrengthened };
        let word = |on_failure: OnFailure| json!(on_failure).as_str().unwrap_or_default().to_owned();
        let message = format!("a failure leads to `{}` instead of `{}`", word(new.on_failure), word(old.on_failure));
        told.top(kind, &["on_failure"], message, (value(&old.on_failure), value(&new.on_failure)));
    }
    inputs(told);
    secrets(told);
    locks(told);
    outputs(told);
}

/// A time limit in words.
pub(super) fn limit(limit: Option<HumanDuration>) -> String {
    limit.map_or_else(|| "any time".to_owned(), |limit| limit.to_string())
}

fn inputs(told: &mut Told<'_, '_>) {
    let (old, new) = (told.old.runbook.as_ref(), told.new.runbook.as_ref());
    for (name, input) in &new.inputs {
        match old.inputs.get(name) {
            Some(before) => {
                for Change { kind, key, message } in input_changes(before, input) {
                    let message = format!("input `{name}` {message}");
                    let values = (member(before, key), member(input, key));
                    told.top(kind, &["inputs", name, key], message, values);
                }
            }
            None => {
                let must = if input.required { ", which has to be given" } else { "" };
                let message = format!("the runbook takes the input `{name}`{must}");
                told.top(Kind::InputAdded, &["inputs", name], message, (None, value(input)));
            }
        }
    }
    for (name, input) in old.inputs.iter().filter(|(name, _)| !new.inputs.contains_key(*name)) {
        let message = format!("the runbook no longer takes the input `{name}`");
        told.top(Kind::InputRemoved, &["inputs", name], message, (value(input), None));
    }
}

/// What is different about an input.
pub(super) struct Change {
    pub(super) kind: Kind,
    /// The field that says so.
    pub(super) key: &'static str,
    /// What follows its name.
    pub(super) message: String,
}

/// What a field of an input says.
pub(super) fn member(input: &Input, key: &str) -> Option<Value> {
    value(input)?.get(key).cloned()
}

/// What is different about an input, or about something that is asked by the same rules.
pub(super) fn input_changes(old: &Input, new: &Input) -> Vec<Change> {
    let mut changes = Vec::new();
    let mut say = |kind, key, message: String| changes.push(Change { kind, key, message });
    if old.kind != new.kind {
        let message = format!("is of type {} instead of {}", plain(&json!(new.kind)), plain(&json!(old.kind)));
        say(Kind::InputChanged, "type", message);
    } else {
        for (key, old_limit, new_limit) in [("min", &old.min, &new.min), ("max", &old.max, &new.max)] {
            let (before, after) = (size(old.kind, old_limit), size(new.kind, new_limit));
            if before == after {
                continue;
            }
            let wider = match (before, after) {
                (_, None) => true,
                (None, _) => false,
                (Some(before), Some(after)) => (after > before) == (key == "max"),
            };
            let kind = if wider { Kind::InputWidened } else { Kind::InputNarrowed };
            let word = if key == "max" { "at most" } else { "at least" };
            let was = old_limit.as_ref().map_or_else(|| "anything".to_owned(), plain);
            let message = match new_limit {
                Some(limit) => format!("may be {word} {} instead of {was}", plain(limit)),
                None => format!("has no `{key}` any more; it was {was}"),
            };
            say(kind, key, message);
        }
        match (&old.pattern, &new.pattern) {
            (old, new) if old == new => {}
            (None, Some(_)) => say(Kind::InputNarrowed, "pattern", "must match a pattern".to_owned()),
            (Some(_), None) => say(Kind::InputWidened, "pattern", "need not match a pattern any more".to_owned()),
            _ => say(Kind::InputChanged, "pattern", "must match another pattern".to_owned()),
        }
        for (kind, values, others, words) in [
            (Kind::InputWidened, &new.values, &old.values, "may also be"),
            (Kind::InputNarrowed, &old.values, &new.values, "may no longer be"),
        ] {
            let more: Vec<String> =
                values.iter().filter(|value| !others.contains(value)).map(|value| format!("`{value}`")).collect();
            if !more.is_empty() {
                say(kind, "values", format!("{words} {}", more.join(", ")));
            }
        }
    }
    if old.required != new.required {
        let message = if new.required { "has to be given" } else { "need not be given any more" };
        say(Kind::InputChanged, "required", message.to_owned());
    }
    let default =
        |input: &Input| input.default.as_ref().map(|value| input.read(value).unwrap_or_else(|_| value.clone()));
    if default(old) != default(new) {
        let word = |default: &Option<Value>| {
            default.as_ref().map_or_else(|| "nothing".to_owned(), |v| format!("`{}`", plain(v)))
        };
        let message = format!("is {} instead of {} when it is not given", word(&new.default), word(&old.default));
        say(Kind::InputDefaultChanged, "default", message);
    }
    if old.description != new.description {
        say(Kind::WordingChanged, "description", "is described otherwise".to_owned());
    }
    changes
}

/// A limit as a number: milliseconds of a duration.
fn size(kind: InputType, limit: &Option<Value>) -> Option<i128> {
    let limit = limit.as_ref()?;
    match kind {
        InputType::Duration => limit
            .as_str()
            .and_then(|text| text.parse::<HumanDuration>().ok())
            .and_then(|duration| i128::try_from(duration.0.as_millis()).ok()),
        _ => limit.as_i64().map(i128::from),
    }
}

/// A value as people write it.
pub(super) fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn secrets(told: &mut Told<'_, '_>) {
    let (old, new) = (told.old.runbook.as_ref(), told.new.runbook.as_ref());
    for (name, source) in &new.secrets {
        // A secret that is new or gone is told where it is used.
        if let Some(before) = old.secrets.get(name).filter(|before| *before != source) {
            let message = format!("the secret `{name}` comes from elsewhere");
            told.top(Kind::SecretSourceChanged, &["secrets", name], message, (value(before), value(source)));
        }
    }
}

fn locks(told: &mut Told<'_, '_>) {
    let (old, new) = (told.old.runbook.as_ref(), told.new.runbook.as_ref());
    let same = |one: &Lock, other: &Lock| text::template(&one.name) == text::template(&other.name);
    for lock in &new.locks {
        match old.locks.iter().find(|before| same(before, lock)) {
            None => {
                let message = format!("only one run at a time may hold `{}`", lock.name);
                told.top(Kind::LockAdded, &["locks"], message, (None, value(lock)));
            }
            Some(before) if before.wait != lock.wait => {
                let wait =
                    |wait: Option<HumanDuration>| wait.map_or_else(|| "not at all".to_owned(), |wait| wait.to_string());
                let message = format!(
                    "it waits for the lock `{}`: {} instead of {}",
                    lock.name,
                    wait(lock.wait),
                    wait(before.wait)
                );
                told.top(Kind::TimingChanged, &["locks"], message, (value(before), value(lock)));
            }
            Some(_) => {}
        }
    }
    for lock in old.locks.iter().filter(|lock| !new.locks.iter().any(|other| same(other, lock))) {
        let message = format!("two runs may work at `{}` at once", lock.name);
        told.top(Kind::LockRemoved, &["locks"], message, (value(lock), None));
    }
}

fn outputs(told: &mut Told<'_, '_>) {
    let (old, new) = (told.old.runbook.as_ref(), told.new.runbook.as_ref());
    for (name, given) in &new.outputs {
        match old.outputs.get(name) {
            None => {
                let message = format!("callers are given `{name}`");
                told.top(Kind::OutputAdded, &["outputs", name], message, (None, value(&text::written(&given.value))));
            }
            Some(before) => {
                let (was, is) = (text::written(&before.value), text::written(&given.value));
                if before.kind != given.kind {
                    let message = format!(
                        "callers are given `{name}` as {} instead of {}",
                        given.kind.as_str(),
                        before.kind.as_str()
                    );
                    told.top(
                        Kind::OutputChanged,
                        &["outputs", name, "type"],
                        message,
                        (value(&before.kind), value(&given.kind)),
                    );
                }
                if was != is {
                    let message = format!("callers are given another `{name}`");
                    told.top(Kind::OutputChanged, &["outputs", name, "value"], message, (Some(was), Some(is)));
                }
            }
        }
    }
    for (name, given) in old.outputs.iter().filter(|(name, _)| !new.outputs.contains_key(*name)) {
        let message = format!("callers are no longer given `{name}`");
        told.top(Kind::OutputRemoved, &["outputs", name], message, (value(&text::written(&given.value)), None));
    }
}
