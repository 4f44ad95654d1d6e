//! Gates: who must agree, how many of them, for how long, and what they have to say.

use std::collections::BTreeSet;

use super::top::{input_changes, member};
use super::{Both, Groups, Kind, Told, text, value};
use crate::base::HumanDuration;
use crate::runbook::{Approval, OnTimeout};

/// Compares the gates of a step that is on both sides.
pub(super) fn compare(told: &mut Told<'_, '_>, at: Both<'_>, old: Option<&Approval>, new: Option<&Approval>) {
    let id = at.id;
    match (old, new) {
        (None, None) => {}
        (None, Some(new)) => {
            told.step(
                Kind::GateAdded,
                at,
                &["approval"],
                format!("`{id}` waits for a yes before it acts"),
                (None, value(new)),
            );
        }
        (Some(old), None) => {
            told.step(
                Kind::GateRemoved,
                at,
                &["approval"],
                format!("`{id}` acts without asking anybody"),
                (value(old), None),
            );
        }
        (Some(old), Some(new)) if old == new => people(told, at, old, new),
        (Some(old), Some(new)) => {
            people(told, at, old, new);
            rules(told, at, old, new);
            asked(told, at, old, new);
        }
    }
}

fn strength(is_weaker: bool) -> Kind {
    if is_weaker { Kind::GateWeakened } else { Kind::GateStrengthened }
}

fn rules(told: &mut Told<'_, '_>, at: Both<'_>, old: &Approval, new: &Approval) {
    let id = at.id;
    if old.at_least != new.at_least {
        let message = format!("the gate of `{id}` opens after {} instead of {}", yeses(new.at_least), old.at_least);
        let values = (value(&old.at_least), value(&new.at_least));
        told.step(strength(new.at_least < old.at_least), at, &["approval", "at_least"], message, values);
    }
    if old.not_requester != new.not_requester {
        let may = if new.not_requester { "may no longer" } else { "may" };
        let message = format!("whoever started the run {may} open the gate of `{id}`");
        let values = (value(&old.not_requester), value(&new.not_requester));
        told.step(strength(!new.not_requester), at, &["approval", "not_requester"], message, values);
    }
    if old.on_timeout != new.on_timeout {
        let stays = new.on_timeout == OnTimeout::Hold;
        let message = if stays {
            format!("the question at the gate of `{id}` never lapses")
        } else {
            format!("the question at the gate of `{id}` lapses, and counts as a no then")
        };
        let values = (value(&old.on_timeout), value(&new.on_timeout));
        told.step(strength(stays), at, &["approval", "on_timeout"], message, values);
    } else if old.within != new.within {
        let word = |within: Option<HumanDuration>| {
            within.map_or_else(|| "for ever".to_owned(), |within| format!("for {within}"))
        };
        let message =
            format!("the question at the gate of `{id}` stands {} instead of {}", word(new.within), word(old.within));
        let is_longer = match (old.within, new.within) {
            (_, None) => true,
            (None, _) => false,
            (Some(old), Some(new)) => new > old,
        };
        told.step(strength(is_longer), at, &["approval", "within"], message, (value(&old.within), value(&new.within)));
    }
    if text::template(&old.prompt) != text::template(&new.prompt) {
        let message = format!("the gate of `{id}` asks another question");
        told.step(Kind::GateChanged, at, &["approval", "prompt"], message, (value(&old.prompt), value(&new.prompt)));
    }
}

fn yeses(count: u32) -> String {
    if count == 1 { "1 yes".to_owned() } else { format!("{count} yeses") }
}

/// Everybody who may answer, groups taken apart; `None` stands for whoever is there.
fn members(approval: &Approval, groups: Option<&Groups>) -> Option<BTreeSet<String>> {
    if approval.by.is_empty() {
        return None;
    }
    let named = approval.by.iter().flat_map(|who| match who.strip_prefix("group:") {
        Some(group) => {
            let people = groups.and_then(|groups| groups.get(group)).into_iter().flatten();
            people.map(|member| format!("user:{}", member.trim_start_matches("user:"))).collect()
        }
        None => vec![who.clone()],
    });
    Some(named.collect())
}

fn people(told: &mut Told<'_, '_>, at: Both<'_>, old: &Approval, new: &Approval) {
    let id = at.id;
    let groups = (told.old.side.map(|side| side.groups), told.new.side.map(|side| side.groups));
    let (was, is) = (members(old, groups.0), members(new, groups.1));
    let path = ["approval", "by"];
    let values = || (value(&old.by), value(&new.by));
    match (was, is) {
        (None, None) => {}
        (Some(_), None) => {
            told.step(Kind::GateWeakened, at, &path, format!("anybody may open the gate of `{id}`"), values());
        }
        (None, Some(_)) => {
            let message = format!("only those whom it names may open the gate of `{id}`");
            told.step(Kind::GateStrengthened, at, &path, message, values());
        }
        (Some(was), Some(is)) if was == is => {
            let names = |approval: &Approval| approval.by.iter().cloned().collect::<BTreeSet<_>>();
            if names(old) != names(new) {
                let message = format!("the gate of `{id}` names the same people otherwise");
                told.step(Kind::GateChanged, at, &path, message, values());
            }
        }
        (Some(was), Some(is)) => {
            let named = |people: Vec<&String>, by: &Approval| {
                let through = |who: &&String| match by.by.contains(who) {
                    true => format!("`{who}`"),
                    false => format!("`{who}` (through a group)"),
                };
                people.iter().map(through).collect::<Vec<_>>().join(", ")
            };
            let (more, fewer): (Vec<_>, Vec<_>) = (is.difference(&was).collect(), was.difference(&is).collect());
            if !more.is_empty() {
                let message = format!("the gate of `{id}` may also be opened by {}", named(more, new));
                told.step(Kind::GateWeakened, at, &path, message, values());
            }
            if !fewer.is_empty() {
                let message = format!("the gate of `{id}` may no longer be opened by {}", named(fewer, old));
                told.step(Kind::GateStrengthened, at, &path, message, values());
            }
        }
    }
}

fn asked(told: &mut Told<'_, '_>, at: Both<'_>, old: &Approval, new: &Approval) {
    let id = at.id;
    for (name, field) in &new.ask {
        let path = ["approval", "ask", name.as_str()];
        match old.ask.get(name) {
            None => {
                let message = format!("the gate of `{id}` also asks for `{name}`");
                told.step(Kind::GateStrengthened, at, &path, message, (None, value(field)));
            }
            Some(before) => {
                for change in input_changes(before, field) {
                    let message = format!("`{name}`, asked at the gate of `{id}`, {}", change.message);
                    let kind = match change.kind {
                        Kind::InputWidened => Kind::GateWeakened,
                        Kind::InputNarrowed => Kind::GateStrengthened,
                        Kind::InputChanged if change.key == "required" => strength(!field.required),
                        _ => Kind::GateChanged,
                    };
                    let values = (member(before, change.key), member(field, change.key));
                    told.step(kind, at, &[path[0], path[1], path[2], change.key], message, values);
                }
            }
        }
    }
    for (name, field) in old.ask.iter().filter(|(name, _)| !new.ask.contains_key(*name)) {
        let message = format!("the gate of `{id}` no longer asks for `{name}`");
        told.step(Kind::GateWeakened, at, &["approval", "ask", name], message, (value(field), None));
    }
}
