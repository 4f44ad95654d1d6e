//! What a step says by itself: what it does, when it is tried again, how it is undone, what it puts in force.

use std::collections::BTreeSet;

use serde_json::Value;

use super::acts::{self, Actions, Everywhere};
use super::top::{input_changes, limit, member};
use super::{Both, Kind, Told, gates, text, undone, value};
use crate::action::{Effect, Replay};
use crate::base::HumanDuration;
use crate::runbook::{
    Arm, Does, FailAfter, ForEach, GivingUp, Manual, Measure, OnExpiry, Retry, Scope, Step, Undo, Until, Verify,
};

pub(super) fn compare(told: &mut Told<'_, '_>, actions: &mut Actions<'_>) {
    let (old, new) = (told.old, told.new);
    let same_inputs = old.runbook.inputs == new.runbook.inputs;
    let mut in_old: Option<Everywhere> = None;
    let mut in_new: Option<Everywhere> = None;
    for (place, entry) in new.steps.iter().enumerate() {
        let before = old.counterpart(entry);
        let at = Both { id: &entry.id, old: before, new: Some(place) };
        match before {
            Some(before) => both(told, at, actions, (before, place), same_inputs),
            None => {
                come_or_gone(told, at, new.step(place));
                let in_old = in_old.get_or_insert_with(|| actions.everywhere(old));
                let acts = actions.of_step(new, new.step(place));
                acts::compare_alone(told, at, &acts, in_old);
            }
        }
    }
    for (place, entry) in old.steps.iter().enumerate().filter(|(_, entry)| new.counterpart(entry).is_none()) {
        let at = Both { id: &entry.id, old: Some(place), new: None };
        come_or_gone(told, at, old.step(place));
        let in_new = in_new.get_or_insert_with(|| actions.everywhere(new));
        let acts = actions.of_step(old, old.step(place));
        acts::compare_alone(told, at, &acts, in_new);
    }
}

/// A step that is on one side only.
fn come_or_gone(told: &mut Told<'_, '_>, at: Both<'_>, step: &Step) {
    let id = at.id;
    let has_come = at.new.is_some();
    let (part, place) = match (at.new, at.old) {
        (Some(place), _) => (told.new, place),
        (None, Some(place)) => (told.old, place),
        (None, None) => return,
    };
    let entry = &part.steps[place];
    let kind = |come: Kind| if has_come { come } else { come.backwards() };
    let values = |shown: Option<Value>| if has_come { (None, shown) } else { (shown, None) };
    let word = if has_come { "is new" } else { "is gone" };
    if entry.is_final {
        let message = format!("`{id}`, which runs however the run ended, {word}");
        told.step(kind(Kind::FinalStepAdded), at, &[], message, values(None));
    }
    let behind = |step: &Step| if step.approval.is_some() { ", behind a gate of its own" } else { "" };
    match &step.does {
        Does::Gate => {
            let message = format!("the gate `{id}` {word}");
            told.step(kind(Kind::GateAdded), at, &[], message, values(value(&step.approval)));
        }
        // What it calls is told of step by step.
        Does::Call(call) => {
            let message = format!("`{id}`, which calls `{}`, {word}", call.file);
            told.step(kind(Kind::StepAdded), at, &[], message, values(None));
        }
        _ if entry.writes() && step.undo.is_some() => {
            let message = format!("the write `{id}` {word}{}", behind(step));
            told.step(kind(Kind::WriteAdded), at, &[], message, values(super::does(&step.does)));
        }
        _ if entry.writes() => {
            let message = format!("the write `{id}`, which cannot be undone, {word}{}", behind(step));
            told.step(kind(Kind::WriteWithoutUndoAdded), at, &[], message, values(super::does(&step.does)));
        }
        _ if entry.is_final => {}
        _ => {
            let message = format!("`{id}`, which changes nothing, {word}");
            told.step(kind(Kind::StepAdded), at, &[], message, values(super::does(&step.does)));
        }
    }
}

/// A step that is on both sides.
fn both(
    told: &mut Told<'_, '_>,
    at: Both<'_>,
    actions: &mut Actions<'_>,
    (before, place): (usize, usize),
    same_inputs: bool,
) {
    let (old_part, new_part) = (told.old, told.new);
    let (old, new) = (old_part.step(before), new_part.step(place));
    let same = old == new;
    let (old_facts, new_facts) = (&old_part.steps[before].facts, &new_part.steps[place].facts);
    // A call writes because of what it calls, and that is told there.
    if old_facts.effect != new_facts.effect && !matches!((&old.does, &new.does), (Does::Call(_), Does::Call(_))) {
        let id = at.id;
        let values = (value(&old_facts.effect), value(&new_facts.effect));
        if new_facts.effect == Effect::Write {
            let stays = if new.undo.is_some() { "" } else { ", and cannot be undone" };
            told.step(Kind::EffectWidened, at, &[], format!("`{id}` changes something{stays}"), values);
        } else {
            told.step(Kind::EffectNarrowed, at, &[], format!("`{id}` only looks"), values);
        }
    } else if old_facts.replay != new_facts.replay && new_facts.effect == Effect::Write {
        let rank = |replay| match replay {
            Replay::Safe => 0,
            Replay::Keyed => 1,
            Replay::Probe => 2,
            Replay::Once => 3,
        };
        let weaker = rank(new_facts.replay) > rank(old_facts.replay);
        let kind = if weaker { Kind::ReplayWeakened } else { Kind::ReplayStrengthened };
        let message = format!(
            "a try of `{}` whose end nobody saw is {} safe to repeat",
            at.id,
            if weaker { "less" } else { "more" }
        );
        told.step(kind, at, &[], message, (value(&old_facts.replay), value(&new_facts.replay)));
    }
    gates::compare(told, at, old.approval.as_deref(), new.approval.as_deref());
    let same_acts = same || (old.does == new.does && old.undo == new.undo);
    if !(same_acts && same_inputs) {
        let acts = (actions.of_step(old_part, old), actions.of_step(new_part, new));
        if acts.0 != acts.1 {
            acts::compare(told, at, &acts.0, &acts.1);
        }
    }
    let lengths = (&old.measure, &new.measure);
    if !(same && same_inputs) || lengths.0 != lengths.1 {
        measure(told, at, old.measure.as_deref(), new.measure.as_deref());
    }
    if same {
        return;
    }
    does(told, at, old, new);
    if old.title != new.title {
        let message = format!("`{}` has another title", at.id);
        told.step(Kind::WordingChanged, at, &["title"], message, (value(&old.title), value(&new.title)));
    }
    let writes = old_facts.effect == Effect::Write || new_facts.effect == Effect::Write;
    condition(told, at, old, new, writes);
    if old.allow_failure != new.allow_failure {
        let (kind, goes) = match new.allow_failure {
            true => (Kind::AllowFailureAdded, "goes on"),
            false => (Kind::AllowFailureRemoved, "stops"),
        };
        let values = (value(&old.allow_failure), value(&new.allow_failure));
        told.step(kind, at, &["allow_failure"], format!("the run {goes} when `{}` fails", at.id), values);
    }
    for_each(told, at, old.for_each.as_deref(), new.for_each.as_deref());
    limits(told, at, old, new);
    let once = writes && [old_facts.replay, new_facts.replay].contains(&Replay::Once);
    retry(told, at, &["retry"], (old.retry.as_deref(), new.retry.as_deref()), once);
    until(told, at, old.until.as_deref(), new.until.as_deref());
    undo(told, at, old.undo.as_ref(), new.undo.as_ref());
}

fn condition(told: &mut Told<'_, '_>, at: Both<'_>, old: &Step, new: &Step, writes: bool) {
    // A condition that always holds is none.
    let real = |step: &Step| {
        let condition = step.condition.as_ref()?;
        let always = condition.references().is_ok_and(|names| names.is_empty())
            && condition.holds(&Scope::default()).unwrap_or(false);
        (!always).then(|| text::expression(condition))
    };
    let (was, is) = (real(old), real(new));
    if was == is {
        return;
    }
    let id = at.id;
    let (kind, message) = match (&was, &is) {
        (None, Some(is)) if writes => (Kind::ConditionAdded, format!("`{id}` runs only if `{is}`")),
        (Some(_), None) if writes => (Kind::ConditionRemoved, format!("`{id}` runs without a condition")),
        (_, Some(is)) => (Kind::ConditionChanged, format!("`{id}` runs if `{is}`")),
        (_, None) => (Kind::ConditionChanged, format!("`{id}` runs without a condition")),
    };
    told.step(kind, at, &["if"], message, (value(&old.condition), value(&new.condition)));
}

/// What a step does by other means than an action, and whether it does it by other means.
fn does(told: &mut Told<'_, '_>, at: Both<'_>, old: &Step, new: &Step) {
    let id = at.id;
    match (&old.does, &new.does) {
        (Does::Action { .. }, Does::Action { .. }) | (Does::Gate, Does::Gate) => {}
        (Does::Call(old), Does::Call(new)) => {
            if old.file != new.file {
                let message = format!("`{id}` calls `{}` instead of `{}`", new.file, old.file);
                told.step(Kind::CallChanged, at, &["call"], message, (value(&old.file), value(&new.file)));
            }
            let (was, is) = (text::written(&old.with), text::written(&new.with));
            if was != is {
                let message = format!("`{id}` gives other inputs to what it calls");
                told.step(Kind::ParametersChanged, at, &["with"], message, (Some(was), Some(is)));
            }
            let names = |secrets: &std::collections::BTreeMap<String, String>| {
                secrets.values().cloned().collect::<BTreeSet<_>>()
            };
            if old.secrets != new.secrets && names(&old.secrets) == names(&new.secrets) {
                let message = format!("`{id}` gives its secrets under other names to what it calls");
                told.step(
                    Kind::ParametersChanged,
                    at,
                    &["secrets"],
                    message,
                    (value(&old.secrets), value(&new.secrets)),
                );
            }
        }
        (Does::Decide(old), Does::Decide(new)) => {
            let arm = |arm: &Arm| (arm.condition.as_ref().map(text::expression), text::written(&arm.then));
            let arms = |arms: &[Arm]| arms.iter().map(arm).collect::<Vec<_>>();
            if arms(&old.arms) != arms(&new.arms) {
                let message = format!("`{id}` decides otherwise");
                let values = (super::does(&Does::Decide(old.clone())), super::does(&Does::Decide(new.clone())));
                told.step(Kind::DecisionChanged, at, &["with"], message, values);
            }
        }
        (Does::Manual(old), Does::Manual(new)) => manual(told, at, old, new),
        (was, is) => {
            let message = format!("`{id}` {} instead of {}", means(is).0, means(was).1);
            told.step(Kind::ActionChanged, at, &[], message, (super::does(was), super::does(is)));
        }
    }
}

/// By which means a step does something: after its name, and after `instead of`.
fn means(does: &Does) -> (String, String) {
    match does {
        Does::Action { uses, .. } if uses == "shell" => ("runs a command".to_owned(), "running a command".to_owned()),
        Does::Action { uses, .. } => (format!("uses `{uses}`"), format!("using `{uses}`")),
        Does::Call(call) => (format!("calls `{}`", call.file), format!("calling `{}`", call.file)),
        Does::Decide(_) => ("decides".to_owned(), "deciding".to_owned()),
        Does::Manual(_) => ("is for a person to do".to_owned(), "asking a person to do it".to_owned()),
        Does::Gate => ("only asks for a yes".to_owned(), "only asking for a yes".to_owned()),
    }
}

fn manual(told: &mut Told<'_, '_>, at: Both<'_>, old: &Manual, new: &Manual) {
    let id = at.id;
    if text::template(&old.text) != text::template(&new.text) {
        let message = format!("`{id}` tells a person to do something else");
        told.step(Kind::ManualChanged, at, &["manual", "text"], message, (value(&old.text), value(&new.text)));
    }
    for (name, field) in &new.evidence {
        let path = ["manual", "evidence", name.as_str()];
        match old.evidence.get(name) {
            None => {
                let message = format!("`{id}` asks for the evidence `{name}`");
                told.step(Kind::EvidenceAdded, at, &path, message, (None, value(field)));
            }
            Some(before) => {
                for change in input_changes(before, field) {
                    let kind = match change.kind {
                        Kind::InputWidened => Kind::EvidenceRemoved,
                        Kind::InputNarrowed => Kind::EvidenceAdded,
                        Kind::InputChanged if change.key == "required" && field.required => Kind::EvidenceAdded,
                        Kind::InputChanged if change.key == "required" => Kind::EvidenceRemoved,
                        _ => Kind::ManualChanged,
                    };
                    let message = format!("the evidence `{name}` of `{id}` {}", change.message);
                    let values = (member(before, change.key), member(field, change.key));
                    told.step(kind, at, &[path[0], path[1], path[2], change.key], message, values);
                }
            }
        }
    }
    for (name, field) in old.evidence.iter().filter(|(name, _)| !new.evidence.contains_key(*name)) {
        let message = format!("`{id}` no longer asks for the evidence `{name}`");
        told.step(Kind::EvidenceRemoved, at, &["manual", "evidence", name], message, (value(field), None));
    }
}

fn for_each(told: &mut Told<'_, '_>, at: Both<'_>, old: Option<&ForEach>, new: Option<&ForEach>) {
    let id = at.id;
    let (old, new) = match (old, new) {
        (None, None) => return,
        (None, Some(new)) => {
            let message = format!("`{id}` is done once for each item of `{}`", new.items);
            return told.step(Kind::LoopAdded, at, &["for_each"], message, (None, value(new)));
        }
        (Some(old), None) => {
            let message = format!("`{id}` is done once, and no longer for each item of a list");
            return told.step(Kind::LoopRemoved, at, &["for_each"], message, (value(old), None));
        }
        (Some(old), Some(new)) => (old, new),
    };
    let kind = |wider: bool| if wider { Kind::LoopWidened } else { Kind::LoopNarrowed };
    if old.at_most != new.at_most {
        let count =
            |count: Option<u32>| count.map_or_else(|| "as many as the run allows".to_owned(), |most| most.to_string());
        let wider = new.at_most.unwrap_or(u32::MAX) > old.at_most.unwrap_or(u32::MAX);
        let message = format!("`{id}` does {} items at once instead of {}", count(new.at_most), count(old.at_most));
        told.step(kind(wider), at, &["for_each", "at_most"], message, (value(&old.at_most), value(&new.at_most)));
    }
    if old.ramp != new.ramp {
        let message = if new.ramp {
            format!("`{id}` begins with one item")
        } else {
            format!("`{id}` no longer begins with one item")
        };
        told.step(kind(!new.ramp), at, &["for_each", "ramp"], message, (value(&old.ramp), value(&new.ramp)));
    }
    if old.fail_after != new.fail_after {
        let word = |after: FailAfter| match after {
            FailAfter::Items(count) => count.to_string(),
            FailAfter::Percent(part) => format!("{part}%"),
        };
        let message =
            format!("`{id}` fails after {} failed items instead of {}", word(new.fail_after), word(old.fail_after));
        let values = (Some(word(old.fail_after).into()), Some(word(new.fail_after).into()));
        let found = match (old.fail_after, new.fail_after) {
            (FailAfter::Items(old), FailAfter::Items(new)) | (FailAfter::Percent(old), FailAfter::Percent(new)) => {
                kind(new > old)
            }
            // How many that is depends on the list.
            _ => Kind::LoopChanged,
        };
        told.step(found, at, &["for_each", "fail_after"], message, values);
    }
    let keys = |each: &ForEach| (each.key.as_ref().map(text::expression), each.name.clone());
    let (was, is) = (items(old), items(new));
    match (was, is) {
        (Some(was), Some(is)) if was != is => {
            let more: Vec<&str> = is.difference(&was).map(String::as_str).collect();
            let fewer: Vec<&str> = was.difference(&is).map(String::as_str).collect();
            for (kind, items, words) in
                [(Kind::LoopWidened, more, "is also done for"), (Kind::LoopNarrowed, fewer, "is no longer done for")]
            {
                if !items.is_empty() {
                    let message = format!("`{id}` {words} {}", items.join(", "));
                    told.step(kind, at, &["for_each", "in"], message, (value(&old.items), value(&new.items)));
                }
            }
        }
        (Some(_), Some(_)) => {}
        _ if text::expression(&old.items) != text::expression(&new.items) => {
            let message = format!("`{id}` goes over another list");
            told.step(Kind::LoopChanged, at, &["for_each", "in"], message, (value(&old.items), value(&new.items)));
        }
        _ => {}
    }
    if keys(old) != keys(new) {
        let message = format!("`{id}` names its items or tells them apart otherwise");
        told.step(Kind::LoopChanged, at, &["for_each"], message, (value(old), value(new)));
    }
}

/// The items of a list that is written out.
fn items(each: &ForEach) -> Option<BTreeSet<String>> {
    if !each.items.references().ok()?.is_empty() {
        return None;
    }
    let Value::Array(items) = each.items.value(&Scope::default()).ok()? else { return None };
    Some(items.iter().map(|item| format!("`{}`", super::top::plain(item))).collect())
}

fn limits(told: &mut Told<'_, '_>, at: Both<'_>, old: &Step, new: &Step) {
    for (what, old, new) in [("a try of", old.timeout, new.timeout), ("the whole of", old.deadline, new.deadline)] {
        if old != new {
            let message = format!("{what} `{}` may take {} instead of {}", at.id, limit(new), limit(old));
            told.step(Kind::TimingChanged, at, &["timeout"], message, (value(&old), value(&new)));
        }
    }
}

/// `once`: is it a write that is not safe to repeat?
fn retry(
    told: &mut Told<'_, '_>,
    at: Both<'_>,
    path: &[&str],
    (old, new): (Option<&Retry>, Option<&Retry>),
    once: bool,
) {
    if old == new {
        return;
    }
    let what = if path.len() > 1 { "the undo of " } else { "" };
    let values = (old.and_then(shown_retry), new.and_then(shown_retry));
    let tries = |retry: Option<&Retry>| retry.map_or(1, |retry| retry.attempts);
    let (was, is) = (tries(old), tries(new));
    if was != is {
        let kind = match (once, is > was) {
            (false, _) => Kind::TimingChanged,
            (true, true) => Kind::RetriesRaised,
            (true, false) => Kind::RetriesLowered,
        };
        let message = format!("{what}`{}` is tried up to {is} times instead of {was}", at.id);
        told.step(kind, at, path, message, values.clone());
    }
    let (Some(old), Some(new)) = (old, new) else { return };
    let kinds = |retry: &Retry| retry.on.iter().cloned().collect::<BTreeSet<_>>();
    let (was, is) = (kinds(old), kinds(new));
    if was != is {
        let both_named = !was.is_empty() && !is.is_empty();
        let kind = if once && both_named && is.is_superset(&was) {
            Kind::RetriesRaised
        } else if once && both_named && is.is_subset(&was) {
            Kind::RetriesLowered
        } else {
            Kind::TimingChanged
        };
        let message = format!("{what}`{}` is tried again after other kinds of failure", at.id);
        told.step(kind, at, &[path, &["on"]].concat(), message, (value(&old.on), value(&new.on)));
    }
    let pauses = |retry: &Retry| (retry.delay, retry.backoff, retry.max_delay, retry.jitter);
    if pauses(old) != pauses(new) {
        let message = format!("{what}`{}` waits otherwise between its tries", at.id);
        told.step(Kind::TimingChanged, at, path, message, values);
    }
}

/// As it is written: the factor in ones, not in thousandths.
fn shown_retry(retry: &Retry) -> Option<Value> {
    let mut shown = value(retry)?;
    let factor = retry.backoff.0;
    shown["backoff"] = match factor % 1000 {
        0 => (factor / 1000).into(),
        rest => format!("{}.{}", factor / 1000, format!("{rest:03}").trim_end_matches('0')).into(),
    };
    Some(shown)
}

fn until(told: &mut Told<'_, '_>, at: Both<'_>, old: Option<&Until>, new: Option<&Until>) {
    let id = at.id;
    match (old, new) {
        (None, None) => {}
        (None, Some(new)) => {
            let message = format!("`{id}` waits until `{}`", new.condition);
            told.step(Kind::UntilStrengthened, at, &["until"], message, (None, value(new)));
        }
        (Some(old), None) => {
            let message = format!("`{id}` no longer waits until `{}`", old.condition);
            told.step(Kind::UntilWeakened, at, &["until"], message, (value(old), None));
        }
        (Some(old), Some(new)) => {
            if text::expression(&old.condition) != text::expression(&new.condition) {
                let message = format!("`{id}` waits until `{}`", new.condition);
                let values = (value(&old.condition), value(&new.condition));
                told.step(Kind::UntilChanged, at, &["until", "if"], message, values);
            }
            if old.on_timeout != new.on_timeout {
                let (kind, counts) = match new.on_timeout {
                    GivingUp::Succeed => (Kind::UntilWeakened, "as done"),
                    GivingUp::Fail => (Kind::UntilStrengthened, "as failed"),
                };
                let message = format!("`{id}` counts {counts} when what it waits for does not come true");
                told.step(
                    kind,
                    at,
                    &["until", "on_timeout"],
                    message,
                    (value(&old.on_timeout), value(&new.on_timeout)),
                );
            }
            for (key, was, is) in [("every", old.every, new.every), ("within", old.within, new.within)] {
                if was != is {
                    let word = if key == "every" { "looks every" } else { "goes on looking for" };
                    let message = format!("`{id}` {word} {is} instead of {was}");
                    told.step(Kind::TimingChanged, at, &["until", key], message, (value(&was), value(&is)));
                }
            }
        }
    }
}

fn undo(told: &mut Told<'_, '_>, at: Both<'_>, old: Option<&Undo>, new: Option<&Undo>) {
    let id = at.id;
    match (old, new) {
        (None, None) | (Some(Undo::Auto), Some(Undo::Auto)) => {}
        (None, Some(new)) => {
            told.step(Kind::UndoAdded, at, &["undo"], format!("`{id}` can be undone"), (None, undone(new)))
        }
        (Some(old), None) => {
            told.step(
                Kind::UndoRemoved,
                at,
                &["undo"],
                format!("`{id}` cannot be undone any more"),
                (undone(old), None),
            );
        }
        (
            Some(Undo::Action { timeout: old_timeout, retry: old_retry, verify: old_verify, .. }),
            Some(Undo::Action { timeout: new_timeout, retry: new_retry, verify: new_verify, .. }),
        ) => {
            if old_timeout != new_timeout {
                let message =
                    format!("a try to undo `{id}` may take {} instead of {}", limit(*new_timeout), limit(*old_timeout));
                told.step(
                    Kind::TimingChanged,
                    at,
                    &["undo", "timeout"],
                    message,
                    (value(old_timeout), value(new_timeout)),
                );
            }
            retry(told, at, &["undo", "retry"], (old_retry.as_deref(), new_retry.as_deref()), false);
            verify(told, at, old_verify.as_deref(), new_verify.as_deref());
        }
        (Some(old), Some(new)) => {
            let message = match new {
                Undo::Auto => format!("`{id}` is undone by its action itself"),
                Undo::Action { uses, .. } => format!("`{id}` is undone by `{uses}` instead of its action itself"),
            };
            told.step(Kind::UndoChanged, at, &["undo"], message, (undone(old), undone(new)));
        }
    }
}

fn verify(told: &mut Told<'_, '_>, at: Both<'_>, old: Option<&Verify>, new: Option<&Verify>) {
    let id = at.id;
    let path = ["undo", "verify"];
    match (old, new) {
        (None, None) => {}
        (None, Some(new)) => {
            let message = format!("it is looked whether the undo of `{id}` has worked");
            told.step(Kind::UndoVerifyAdded, at, &path, message, (None, shown_verify(new)));
        }
        (Some(old), None) => {
            let message = format!("it is no longer looked whether the undo of `{id}` has worked");
            told.step(Kind::UndoVerifyRemoved, at, &path, message, (shown_verify(old), None));
        }
        (Some(old), Some(new)) => {
            let condition = |verify: &Verify| verify.condition.as_ref().map(text::expression);
            if old.uses != new.uses || condition(old) != condition(new) {
                let message = format!("the undo of `{id}` is verified by other means");
                told.step(Kind::UndoChanged, at, &path, message, (shown_verify(old), shown_verify(new)));
            }
        }
    }
}

fn shown_verify(verify: &Verify) -> Option<Value> {
    let mut shown = serde_json::json!({ "uses": verify.uses, "with": text::written(&verify.with) });
    if let Some(condition) = &verify.condition {
        shown["if"] = condition.0.as_str().into();
    }
    Some(shown)
}

fn measure(told: &mut Told<'_, '_>, at: Both<'_>, old: Option<&Measure>, new: Option<&Measure>) {
    let id = at.id;
    let (old, new) = match (old, new) {
        (None, None) => return,
        (None, Some(new)) => {
            let message = format!("what `{id}` puts in force is a measure, for at most {}", new.expires);
            return told.step(Kind::MeasureAdded, at, &["measure"], message, (None, value(new)));
        }
        (Some(old), None) => {
            let message = format!("what `{id}` puts in force is no measure any more, and never expires");
            return told.step(Kind::MeasureRemoved, at, &["measure"], message, (value(old), None));
        }
        (Some(old), Some(new)) => (old, new),
    };
    let (was, is) = (told.old.known.text(&old.expires), told.new.known.text(&new.expires));
    let length = |text: &str| text.parse::<HumanDuration>().ok();
    let path = ["measure", "expires"];
    let values = || (Some(Value::from(was.as_str())), Some(Value::from(is.as_str())));
    match (length(&was), length(&is)) {
        (Some(before), Some(after)) if before != after => {
            let kind = if after > before { Kind::MeasureLonger } else { Kind::MeasureShorter };
            let message = format!("the measure of `{id}` is in force for at most {is} instead of {was}");
            told.step(kind, at, &path, message, values());
        }
        _ if text::template(&old.expires) != text::template(&new.expires) => {
            let message = format!("the length of the measure of `{id}` is written otherwise");
            told.step(Kind::MeasureChanged, at, &path, message, (value(&old.expires), value(&new.expires)));
        }
        _ => {}
    }
    if old.closed_by != new.closed_by {
        let (kind, message) = match (&old.closed_by, &new.closed_by) {
            (Some(before), None) => {
                (Kind::MeasureWeakened, format!("the measure of `{id}` is no longer closed by `{before}`"))
            }
            (None, Some(after)) => (Kind::MeasureStrengthened, format!("the measure of `{id}` is closed by `{after}`")),
            (_, after) => {
                let after = after.as_ref().map(ToString::to_string).unwrap_or_default();
                (Kind::MeasureChanged, format!("the measure of `{id}` is closed by `{after}`"))
            }
        };
        told.step(kind, at, &["measure", "closed_by"], message, (value(&old.closed_by), value(&new.closed_by)));
    }
    if old.on_expiry != new.on_expiry {
        let (kind, becomes) = match new.on_expiry {
            OnExpiry::Hold => (Kind::MeasureWeakened, "is only told as overdue when it expires"),
            OnExpiry::Undo => (Kind::MeasureStrengthened, "is undone when it expires"),
        };
        let values = (value(&old.on_expiry), value(&new.on_expiry));
        told.step(kind, at, &["measure", "on_expiry"], format!("the measure of `{id}` {becomes}"), values);
    }
}
