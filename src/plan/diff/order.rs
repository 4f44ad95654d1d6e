//! What comes before what: needs, the order of writes, which gates a write waits for, which steps can run at all.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::graph::{AT_ONCE, Graph, ones};
use super::part::Part;
use super::rename::Names;
use super::{Both, Kind, Side, Spot, Told};
use crate::action::Registry;
use crate::base::StepId;
use crate::runbook::template::json_value;
use crate::runbook::{Decide, Does, Expression, Need, Scope, StepResult, Templated};

/// How many steps a sentence names.
const NAMED: usize = 5;

pub(super) fn compare(told: &mut Told<'_, '_>) {
    let (old, new) = (told.old, told.new);
    if old.side.is_none() || new.side.is_none() {
        return;
    }
    let common: Vec<(usize, usize)> =
        new.steps.iter().enumerate().filter_map(|(place, entry)| Some((old.counterpart(entry)?, place))).collect();
    let same_steps = common.len() == old.steps.len() && common.len() == new.steps.len();
    let same = |what: fn(&Part<'_>, &Part<'_>, usize, usize) -> bool| {
        same_steps && common.iter().all(|(before, place)| what(old, new, *before, *place))
    };
    let same_needs = same(|old, new, before, place| old.step(before).needs == new.step(place).needs);
    let same_ways = same_needs
        && same(|old, new, before, place| {
            let (old, new) = (old.step(before), new.step(place));
            let decides = |does: &Does| matches!(does, Does::Decide(_));
            old.condition == new.condition && (!decides(&old.does) && !decides(&new.does) || old.does == new.does)
        });
    if same_ways {
        return;
    }
    let graphs = (Graph::of(old), Graph::of(new));
    if !same_needs {
        let mut explained = Explained::default();
        writes(told, &graphs, &common, &mut explained);
        covers(told, &graphs, &common, &mut explained);
        needs(told, &graphs, &common, &explained);
    }
    ways(told, &graphs, &common);
}

/// Needs whose change is told as something more telling: of which step, on which.
#[derive(Default)]
struct Explained(BTreeSet<(StepId, StepId)>);

fn at<'p>(told: &Told<'p, '_>, before: usize, place: usize) -> Both<'p> {
    Both { id: &told.new.steps[place].id, old: Some(before), new: Some(place) }
}

/// The names of some steps, the first few of them.
fn named(ids: &[&StepId]) -> String {
    let first: Vec<String> = ids.iter().take(NAMED).map(|id| format!("`{id}`")).collect();
    match ids.len().saturating_sub(NAMED) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// Writes that came after another write and no longer do, and the other way round.
fn writes(told: &mut Told<'_, '_>, graphs: &(Graph, Graph), common: &[(usize, usize)], explained: &mut Explained) {
    let (old, new) = (told.old, told.new);
    let writes: Vec<(usize, usize)> = common
        .iter()
        .copied()
        .filter(|(before, place)| old.steps[*before].writes() && new.steps[*place].writes())
        .collect();
    let sources: (Vec<usize>, Vec<usize>) = writes.iter().copied().unzip();
    let is_source = |count: usize, sources: &[usize]| {
        let mut is_source = vec![false; count];
        sources.iter().for_each(|source| is_source[*source] = true);
        is_source
    };
    let stops = (is_source(old.steps.len(), &sources.0), is_source(new.steps.len(), &sources.1));
    let mut lost: BTreeMap<(usize, usize), Vec<&StepId>> = BTreeMap::new();
    let mut gained: BTreeMap<(usize, usize), Vec<&StepId>> = BTreeMap::new();
    for ((some_old, some_new), ids) in
        sources.0.chunks(AT_ONCE).zip(sources.1.chunks(AT_ONCE)).zip(writes.chunks(AT_ONCE))
    {
        let any = |_: usize, _: &Need| true;
        let far = (graphs.0.reach(some_old, |_| false, any), graphs.1.reach(some_new, |_| false, any));
        let near = (
            graphs.0.reach(some_old, |place| stops.0[place], any),
            graphs.1.reach(some_new, |place| stops.1[place], any),
        );
        let id_of = |number: usize| &new.steps[ids[number].1].id;
        for (before, place) in &writes {
            let minus = |one: &[u64], other: &[u64]| {
                one.iter().zip(other).map(|(one, other)| one & !other).collect::<Vec<u64>>()
            };
            let gone = minus(near.0.of(*before), far.1.of(*place));
            let come = minus(near.1.of(*place), far.0.of(*before));
            for (bits, found) in [(gone, &mut lost), (come, &mut gained)] {
                if bits.iter().any(|word| *word != 0) {
                    found.entry((*before, *place)).or_default().extend(ones(bits).map(id_of));
                }
            }
        }
    }
    for (kind, found, words) in
        [(Kind::OrderLost, &lost, "no longer comes after"), (Kind::OrderGained, &gained, "comes after")]
    {
        for ((before, place), ids) in found {
            let at = at(told, *before, *place);
            explained.0.extend(ids.iter().map(|id| (at.id.clone(), (*id).clone())));
            let what = if ids.len() == 1 { "the write" } else { "the writes" };
            let message = format!("the write `{}` {words} {what} {}", at.id, named(ids));
            let ids = Some(json!(ids));
            let values = if kind == Kind::OrderLost { (ids, None) } else { (None, ids) };
            told.step(kind, at, &["needs"], message, values);
        }
    }
}

/// Does whoever needs this result wait for a yes that was asked for there or before?
///
/// All needs of a step must be met, so one chain of such links is enough for a gate to be waited for.
fn is_strict(is_bare_gate: bool, need: &Need) -> bool {
    need.0.iter().all(|result| match result {
        StepResult::Succeeded => true,
        // It has acted, so it was let through. A bare gate does nothing, and fails before anybody was asked.
        StepResult::Failed => !is_bare_gate,
        StepResult::Skipped | StepResult::Rejected => false,
    })
}

/// Which of the steps are nothing but a gate.
fn bare_gates(part: &Part<'_>) -> Vec<bool> {
    (0..part.steps.len()).map(|place| matches!(part.step(place).does, Does::Gate)).collect()
}

/// Which steps of one runbook wait for a gate before them, for policies.
pub(in crate::plan) struct Behind<'s> {
    part: Option<Part<'s>>,
    is_behind: Vec<bool>,
}

impl<'s> Behind<'s> {
    pub(in crate::plan) fn of(side: Side<'s>, key: &str, registry: &Registry) -> Self {
        let part = Part::of(side, key, registry, &Names::new());
        let is_behind = part.as_ref().map(gates_before).unwrap_or_default();
        Self { part, is_behind }
    }

    /// Does a step wait for a gate before it?
    pub(in crate::plan) fn has(&self, id: &StepId) -> bool {
        let place = self.part.as_ref().and_then(|part| part.places.get(id));
        place.is_some_and(|place| self.is_behind[*place])
    }

    /// Where something of a step stands.
    pub(in crate::plan) fn spot(&self, id: &str, path: &[&str]) -> Option<Spot> {
        let part = self.part.as_ref()?;
        part.spot(*part.places.get(id)?, path, None)
    }
}

fn gates_before(part: &Part<'_>) -> Vec<bool> {
    let graph = Graph::of(part);
    let bare = bare_gates(part);
    let mut is_behind = vec![false; part.steps.len()];
    for place in graph.order() {
        is_behind[*place] = graph.needs(*place).iter().any(|(before, need)| {
            is_strict(bare[*before], need) && (is_behind[*before] || part.step(*before).approval.is_some())
        });
    }
    is_behind
}

/// Writes that waited for a gate that is still there and no longer do, and the other way round.
fn covers(told: &mut Told<'_, '_>, graphs: &(Graph, Graph), common: &[(usize, usize)], explained: &mut Explained) {
    let (old, new) = (told.old, told.new);
    let gates: Vec<(usize, usize)> = common
        .iter()
        .copied()
        .filter(|(before, place)| old.step(*before).approval.is_some() && new.step(*place).approval.is_some())
        .collect();
    let bare = (bare_gates(old), bare_gates(new));
    let mut lost: BTreeMap<(usize, usize), Vec<&StepId>> = BTreeMap::new();
    let mut gained: BTreeMap<(usize, usize), Vec<&StepId>> = BTreeMap::new();
    for some in gates.chunks(AT_ONCE) {
        let sources: (Vec<usize>, Vec<usize>) = some.iter().copied().unzip();
        let reached = (
            graphs.0.reach(&sources.0, |_| false, |before, need| is_strict(bare.0[before], need)),
            graphs.1.reach(&sources.1, |_| false, |before, need| is_strict(bare.1[before], need)),
        );
        for (before, place) in common {
            if !(old.steps[*before].writes() && new.steps[*place].writes()) {
                continue;
            }
            for number in 0..some.len().div_ceil(64) {
                let (was, is) = (reached.0.of(*before)[number], reached.1.of(*place)[number]);
                let ids = |bits: u64| ones([bits]).map(move |bit| &new.steps[some[number * 64 + bit].1].id);
                if was & !is != 0 {
                    lost.entry((*before, *place)).or_default().extend(ids(was & !is));
                }
                if is & !was != 0 {
                    gained.entry((*before, *place)).or_default().extend(ids(is & !was));
                }
            }
        }
    }
    for (kind, found, words) in
        [(Kind::WriteUncovered, &lost, "no longer waits for"), (Kind::WriteCovered, &gained, "waits for")]
    {
        for ((before, place), ids) in found {
            let at = at(told, *before, *place);
            explained.0.extend(ids.iter().map(|id| (at.id.clone(), (*id).clone())));
            let what = if ids.len() == 1 { "the yes at" } else { "the yeses at" };
            let message = format!("the write `{}` {words} {what} {}", at.id, named(ids));
            let ids = Some(json!(ids));
            let values = if kind == Kind::WriteUncovered { (ids, None) } else { (None, ids) };
            told.step(kind, at, &["needs"], message, values);
        }
    }
}

/// Needs that are others. One that follows from the rest means nothing, whether it is written or not.
fn needs(told: &mut Told<'_, '_>, graphs: &(Graph, Graph), common: &[(usize, usize)], explained: &Explained) {
    let (old, new) = (told.old, told.new);
    let success = Need::success();
    let is_success = |_: usize, need: &Need| *need == success;
    let changed: Vec<(usize, usize)> =
        common.iter().copied().filter(|(before, place)| old.step(*before).needs != new.step(*place).needs).collect();
    // What some step needs on one side only, where that is on both sides.
    let mut asked: BTreeMap<&StepId, (usize, usize)> = BTreeMap::new();
    for (before, place) in &changed {
        let (was, is) = (&old.step(*before).needs, &new.step(*place).needs);
        for id in was.keys().chain(is.keys()).filter(|id| was.get(*id) != is.get(*id)) {
            if let (Some(before), Some(place)) = (old.places.get(id), new.places.get(id)) {
                asked.insert(id, (*before, *place));
            }
        }
    }
    let asked: Vec<(&StepId, (usize, usize))> = asked.into_iter().collect();
    let mut void: BTreeSet<(usize, &StepId)> = BTreeSet::new();
    for some in asked.chunks(AT_ONCE) {
        let sources: (Vec<usize>, Vec<usize>) = some.iter().map(|(_, places)| *places).unzip();
        let reached =
            (graphs.0.reach(&sources.0, |_| false, is_success), graphs.1.reach(&sources.1, |_| false, is_success));
        let numbers: BTreeMap<&StepId, usize> =
            some.iter().enumerate().map(|(number, (id, _))| (*id, number)).collect();
        for (before, place) in &changed {
            let (was, is) = (&old.step(*before).needs, &new.step(*place).needs);
            for (id, need) in was.iter().filter(|(id, need)| **need == success && !is.contains_key(*id)) {
                if numbers.get(id).is_some_and(|number| reached.1.has(*place, *number)) && *need == success {
                    void.insert((*place, id));
                }
            }
            for id in is.iter().filter(|(id, need)| **need == success && !was.contains_key(*id)).map(|(id, _)| id) {
                if numbers.get(id).is_some_and(|number| reached.0.has(*before, *number)) {
                    void.insert((*place, id));
                }
            }
        }
    }
    let is_gate_on_one_side = |id: &StepId| {
        let bare = |part: &Part<'_>| part.places.get(id).map(|place| matches!(part.step(*place).does, Does::Gate));
        matches!((bare(old), bare(new)), (Some(true), None) | (None, Some(true)))
    };
    for (before, place) in changed {
        let (was, is) = (&old.step(before).needs, &new.step(place).needs);
        let at = at(told, before, place);
        let (mut looser, mut tighter, mut other) = (Vec::new(), Vec::new(), Vec::new());
        let ids: BTreeSet<&StepId> = was.keys().chain(is.keys()).collect();
        for id in ids {
            let is_told = explained.0.contains(&(at.id.clone(), id.clone()));
            if is_told || void.contains(&(place, id)) || is_gate_on_one_side(id) {
                continue;
            }
            let accepts = |need: &Need| need.0.iter().copied().collect::<BTreeSet<_>>();
            match (was.get(id), is.get(id)) {
                (Some(was), Some(is)) if accepts(was) == accepts(is) => {}
                (Some(was), Some(is)) => {
                    let phrase = format!("goes on when `{id}` is {is} instead of {was}");
                    if accepts(is).is_superset(&accepts(was)) {
                        looser.push(phrase);
                    } else if accepts(is).is_subset(&accepts(was)) {
                        tighter.push(phrase);
                    } else {
                        other.push(phrase);
                    }
                }
                (Some(_), None) => looser.push(format!("no longer waits for `{id}`")),
                (None, Some(is)) if *is == success => tighter.push(format!("waits for `{id}`")),
                (None, Some(is)) => tighter.push(format!("waits for `{id}` to be {is}")),
                (None, None) => {}
            }
        }
        let writes = old.steps[before].writes() || new.steps[place].writes();
        let told_as: Vec<(Kind, Vec<String>)> = if writes {
            vec![(Kind::NeedsLoosened, looser), (Kind::NeedsTightened, tighter), (Kind::NeedsChanged, other)]
        } else {
            vec![(Kind::NeedsChanged, [looser, tighter, other].concat())]
        };
        for (kind, names) in told_as.into_iter().filter(|(_, names)| !names.is_empty()) {
            let first = names.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
            let more = if names.len() > NAMED { format!(" and {} more", names.len() - NAMED) } else { String::new() };
            let message = format!("`{}` {first}{more}", at.id);
            let shown = |needs: &indexmap::IndexMap<StepId, Need>| {
                let needs: BTreeMap<String, String> =
                    needs.iter().map(|(id, need)| (id.to_string(), need.to_string())).collect();
                (!needs.is_empty()).then(|| json!(needs))
            };
            told.step(kind, at, &["needs"], message, (shown(was), shown(is)));
        }
    }
}

/// Steps that could never run and can, and the other way round.
fn ways(told: &mut Told<'_, '_>, graphs: &(Graph, Graph), common: &[(usize, usize)]) {
    let can = (can_run(told.old, &graphs.0), can_run(told.new, &graphs.1));
    for (before, place) in common {
        let (was, is) = (can.0[*before], can.1[*place]);
        if was == is {
            continue;
        }
        let writes = told.old.steps[*before].writes() || told.new.steps[*place].writes();
        let kind = match (writes, is) {
            (true, true) => Kind::WriteReachable,
            (true, false) => Kind::WriteUnreachable,
            (false, true) => Kind::StepReachable,
            (false, false) => Kind::StepUnreachable,
        };
        let at = at(told, *before, *place);
        let what = if writes { "the write " } else { "" };
        let message = match is {
            true => format!("{what}`{}` could never run, and can", at.id),
            false => format!("{what}`{}` can never run", at.id),
        };
        told.step(kind, at, &["if"], message, (None, None));
    }
}

/// Which steps can run at all, whatever the inputs and whatever the world answers.
fn can_run(part: &Part<'_>, graph: &Graph) -> Vec<bool> {
    let mut can = vec![true; part.steps.len()];
    for place in graph.order() {
        let step = part.step(*place);
        let met = graph.needs(*place).iter().all(|(before, need)| can[*before] || need.accepts(StepResult::Skipped));
        can[*place] = met && step.condition.as_ref().is_none_or(|condition| may_hold(condition, part));
    }
    can
}

/// Can a condition hold? Where it asks for nothing, or only for what one `decide` gives, that is known.
fn may_hold(condition: &Expression, part: &Part<'_>) -> bool {
    let Ok(references) = condition.references() else { return true };
    let Some(first) = references.first() else { return condition.holds(&Scope::default()).unwrap_or(true) };
    let only_outputs = |reference: &crate::runbook::template::Reference| {
        reference.root() == first.root() && reference.path.get(1).is_some_and(|fact| fact == "outputs")
    };
    if !references.iter().all(only_outputs) {
        return true;
    }
    let Some(place) = part.places.get(first.root()) else { return true };
    let Does::Decide(decide) = &part.step(*place).does else { return true };
    let Some(given) = outcomes(decide) else { return true };
    given.iter().any(|outputs| {
        let mut scope = Scope::default();
        scope.set(first.root(), json_value(&json!({ "outputs": outputs })));
        condition.holds(&scope).unwrap_or(true)
    })
}

/// What the arms that can be chosen give; `None` where that is not written out.
fn outcomes(decide: &Decide) -> Option<Vec<&serde_json::Value>> {
    let mut given = Vec::new();
    for arm in &decide.arms {
        let constant = match &arm.condition {
            None => Some(true),
            Some(condition) if condition.references().is_ok_and(|names| names.is_empty()) => {
                condition.holds(&Scope::default()).ok()
            }
            Some(_) => None,
        };
        if constant == Some(false) {
            continue;
        }
        let Templated::Literal(outputs) = &arm.then else { return None };
        given.push(outputs);
        if constant == Some(true) {
            break;
        }
    }
    Some(given)
}
