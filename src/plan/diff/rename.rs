//! Tells renamed steps: the same body after the same steps. Only where it is certain.

use std::collections::{BTreeMap, BTreeSet};

use indexmap::IndexMap;

use crate::base::{Digest, StepId};
use crate::plan::steps_read;
use crate::runbook::template::Reference;
use crate::runbook::{Does, Expression, Given, Runbook, Step, Template, Templated, Undo};

/// The new name of each old one.
pub(super) type Names = BTreeMap<StepId, StepId>;

/// Which old steps are new ones under another name.
pub(super) fn renames(old: &Runbook, new: &Runbook) -> Names {
    let mut names = Names::new();
    for (old_steps, new_steps) in [(&old.steps, &new.steps), (&old.finally, &new.finally)] {
        let gone: Vec<(&StepId, &Step)> = old_steps.iter().filter(|(id, _)| new.step(id).is_none()).collect();
        let come: Vec<(&StepId, &Step)> = new_steps.iter().filter(|(id, _)| old.step(id).is_none()).collect();
        if !gone.is_empty() && !come.is_empty() {
            Matcher { gone: Waiting::of(&gone), come: Waiting::of(&come), old, new }.run(&mut names);
        }
    }
    names
}

struct Matcher<'r> {
    gone: Waiting<'r>,
    come: Waiting<'r>,
    old: &'r Runbook,
    new: &'r Runbook,
}

/// Steps of one side that nobody has found on the other yet.
struct Waiting<'r> {
    steps: BTreeMap<&'r StepId, &'r Step>,
    /// How many others of these each of them reads or needs.
    open: BTreeMap<&'r StepId, usize>,
    /// Who reads or needs each of them.
    readers: BTreeMap<&'r StepId, Vec<&'r StepId>>,
    place: BTreeMap<&'r StepId, usize>,
}

impl<'r> Waiting<'r> {
    fn of(steps: &[(&'r StepId, &'r Step)]) -> Self {
        let place = steps.iter().enumerate().map(|(place, (id, _))| (*id, place)).collect();
        let steps: BTreeMap<&StepId, &Step> = steps.iter().copied().collect();
        let mut open = BTreeMap::new();
        let mut readers: BTreeMap<&StepId, Vec<&StepId>> = BTreeMap::new();
        for (id, step) in &steps {
            let read: BTreeSet<StepId> = step.needs.keys().cloned().chain(steps_read(step)).collect();
            let waits: Vec<&StepId> = read
                .iter()
                .filter(|read| *read != *id)
                .filter_map(|read| Some(*steps.get_key_value(read)?.0))
                .collect();
            open.insert(*id, waits.len());
            for read in waits {
                readers.entry(read).or_default().push(id);
            }
        }
        Self { steps, open, readers, place }
    }

    /// Those that wait for none of the others.
    fn first(&self) -> Vec<&'r StepId> {
        self.open.iter().filter(|(_, open)| **open == 0).map(|(id, _)| *id).collect()
    }

    /// Whoever waits for nothing more now that this one is found.
    fn found(&mut self, id: &StepId, next: &mut Vec<&'r StepId>) {
        for reader in self.readers.get(id).into_iter().flatten() {
            if let Some(open) = self.open.get_mut(reader) {
                *open -= 1;
                if *open == 0 {
                    next.push(reader);
                }
            }
        }
    }
}

impl<'r> Matcher<'r> {
    /// Round by round: what is found in one makes the keys of those behind it comparable in the next.
    fn run(&mut self, names: &mut Names) {
        let mut tails = None;
        let mut ready = (self.gone.first(), self.come.first());
        while !ready.0.is_empty() && !ready.1.is_empty() {
            let mut groups: BTreeMap<String, (Vec<&StepId>, Vec<&StepId>)> = BTreeMap::new();
            for id in ready.0 {
                groups.entry(body(id, self.gone.steps[id], names)).or_default().0.push(id);
            }
            for id in ready.1 {
                groups.entry(body(id, self.come.steps[id], &Names::new())).or_default().1.push(id);
            }
            let mut found = Vec::new();
            for (gone, come) in groups.into_values() {
                match (gone.as_slice(), come.as_slice()) {
                    ([one], [other]) => found.push((*one, *other)),
                    ([], _) | (_, []) => {}
                    _ => {
                        // Several are alike so far: what comes after them tells them apart.
                        let (old, new) = tails.get_or_insert_with(|| (Tails::of(self.old), Tails::of(self.new)));
                        found.extend(self.alike(&gone, &come, old, new));
                    }
                }
            }
            ready = (Vec::new(), Vec::new());
            for (one, other) in found {
                names.insert(one.clone(), other.clone());
                self.gone.found(one, &mut ready.0);
                self.come.found(other, &mut ready.1);
            }
        }
    }

    /// Steps that are alike, paired by what comes after them. Whole groups that stay alike are paired in their order.
    fn alike(
        &self,
        gone: &[&'r StepId],
        come: &[&'r StepId],
        old: &Tails,
        new: &Tails,
    ) -> Vec<(&'r StepId, &'r StepId)> {
        let mut groups: BTreeMap<&Digest, (Vec<&'r StepId>, Vec<&'r StepId>)> = BTreeMap::new();
        for id in gone {
            groups.entry(old.of_step(id)).or_default().0.push(id);
        }
        for id in come {
            groups.entry(new.of_step(id)).or_default().1.push(id);
        }
        let mut pairs = Vec::new();
        for (mut gone, mut come) in groups.into_values() {
            if gone.len() == come.len() {
                gone.sort_by_key(|id| self.gone.place[*id]);
                come.sort_by_key(|id| self.come.place[*id]);
                pairs.extend(gone.into_iter().zip(come));
            }
        }
        pairs
    }
}

/// What a step is, whatever it is called itself, with the names that are known to mean the same.
fn body(id: &StepId, step: &Step, names: &Names) -> String {
    let mut names = Changes { names, own: Some(id) };
    let mut step = names.step(step);
    step.needs.sort_keys();
    // What closes a measure comes later, and is compared once all names are known.
    if let Some(measure) = &mut step.measure {
        measure.closed_by = measure.closed_by.take().map(|_| own_name());
    }
    serde_json::to_string(&step).expect("a step is made of maps with text keys")
}

/// A name that no author would give.
fn own_name() -> StepId {
    StepId::new("_this_step_itself_").expect("it is a name")
}

/// Another such name.
fn one_name() -> StepId {
    StepId::new("_the_one_before_").expect("it is a name")
}

/// What comes after each step, whatever the steps are called.
struct Tails(BTreeMap<StepId, Digest>);

impl Tails {
    fn of(runbook: &Runbook) -> Self {
        let all: BTreeMap<&StepId, &Step> = runbook.steps.iter().chain(&runbook.finally).collect();
        // Who needs or reads each step.
        let mut behind: BTreeMap<&StepId, Vec<&StepId>> = BTreeMap::new();
        let mut before: BTreeMap<&StepId, Vec<&StepId>> = BTreeMap::new();
        for (id, step) in &all {
            let named: BTreeSet<StepId> = step.needs.keys().cloned().chain(steps_read(step)).collect();
            for (named, _) in named.iter().filter(|named| *named != *id).filter_map(|named| all.get_key_value(named)) {
                behind.entry(named).or_default().push(id);
                before.entry(id).or_default().push(named);
            }
        }
        // Without its needs, which may be thousands: they are looked at one by one.
        let bare = |id: &StepId| Step { needs: IndexMap::new(), ..all[id].clone() };
        let bare: BTreeMap<&StepId, Step> = all.keys().map(|id| (*id, bare(id))).collect();
        let mut left: BTreeMap<&StepId, usize> =
            all.keys().map(|id| (*id, behind.get(id).map_or(0, Vec::len))).collect();
        let mut ready: Vec<&StepId> = left.iter().filter(|(_, left)| **left == 0).map(|(id, _)| *id).collect();
        let mut digests: BTreeMap<StepId, Digest> = BTreeMap::new();
        while let Some(id) = ready.pop() {
            let mut followers: Vec<(Option<String>, Step, &Digest)> = Vec::new();
            for follower in behind.get(id).into_iter().flatten() {
                let need = all[*follower].needs.get(id).map(ToString::to_string);
                followers.push((need, Nameless { but: Some(id) }.step(&bare[*follower]), &digests[*follower]));
            }
            let mut followers: Vec<Digest> = followers.iter().map(Digest::of_serialized).collect();
            followers.sort();
            digests.insert(id.clone(), Digest::of_serialized(&(Nameless { but: None }.step(&bare[id]), followers)));
            for named in before.get(id).into_iter().flatten() {
                if let Some(left) = left.get_mut(named) {
                    *left -= 1;
                    if *left == 0 {
                        ready.push(named);
                    }
                }
            }
        }
        Self(digests)
    }

    fn of_step(&self, id: &StepId) -> &Digest {
        &self.0[id]
    }
}

/// A runbook in which the steps have their new names.
pub(super) fn renamed(runbook: &Runbook, names: &Names) -> Runbook {
    let mut changes = Changes { names, own: None };
    let mut copy = runbook.clone();
    for (copied, steps) in [(&mut copy.steps, &runbook.steps), (&mut copy.finally, &runbook.finally)] {
        *copied = steps.iter().map(|(id, step)| (changes.id(id), changes.step(step))).collect();
    }
    copy.outputs = runbook
        .outputs
        .iter()
        .map(|(name, given)| (name.clone(), Given { value: changes.templated(&given.value), ..given.clone() }))
        .collect();
    copy
}

/// Writes a step with other names for steps.
trait Rewrite {
    /// What to call a step.
    fn id(&mut self, id: &StepId) -> StepId;

    fn text(&mut self, text: &str, references: Vec<Reference>) -> String {
        let mut text = text.to_owned();
        let mut references = references;
        references.sort_by_key(|reference| std::cmp::Reverse(reference.range.start));
        for reference in references {
            let root = reference.root().to_owned();
            let at = reference.range.start;
            let Ok(id) = StepId::new(&root) else { continue };
            if text.get(at..).is_some_and(|rest| rest.starts_with(&root)) {
                text.replace_range(at..at + root.len(), self.id(&id).as_str());
            }
        }
        text
    }

    fn template(&mut self, template: &Template) -> Template {
        if template.is_plain() {
            return template.clone();
        }
        Template(self.text(&template.0, template.references().unwrap_or_default()))
    }

    fn expression(&mut self, expression: &Expression) -> Expression {
        Expression(self.text(&expression.0, expression.references().unwrap_or_default()))
    }

    fn templated(&mut self, value: &Templated) -> Templated {
        match value {
            Templated::Literal(value) => Templated::Literal(value.clone()),
            Templated::Template(template) => Templated::Template(self.template(template)),
            Templated::List(items) => Templated::List(items.iter().map(|item| self.templated(item)).collect()),
            Templated::Map(entries) => {
                Templated::Map(entries.iter().map(|(key, item)| (key.clone(), self.templated(item))).collect())
            }
        }
    }

    fn step(&mut self, step: &Step) -> Step {
        let mut step = step.clone();
        step.needs = step.needs.iter().map(|(id, need)| (self.id(id), need.clone())).collect();
        step.condition = step.condition.map(|condition| self.expression(&condition));
        match &mut step.does {
            Does::Action { with, .. } => *with = self.templated(with),
            Does::Call(call) => call.with = self.templated(&call.with),
            Does::Decide(decide) => {
                for arm in &mut decide.arms {
                    arm.condition = arm.condition.as_ref().map(|condition| self.expression(condition));
                    arm.then = self.templated(&arm.then);
                }
            }
            Does::Manual(manual) => manual.text = self.template(&manual.text),
            Does::Gate => {}
        }
        if let Some(approval) = &mut step.approval {
            approval.prompt = self.template(&approval.prompt);
        }
        if let Some(each) = &mut step.for_each {
            each.items = self.expression(&each.items);
            each.key = each.key.as_ref().map(|key| self.expression(key));
        }
        if let Some(until) = &mut step.until {
            until.condition = self.expression(&until.condition);
        }
        if let Some(Undo::Action { with, verify, .. }) = &mut step.undo {
            *with = self.templated(with);
            if let Some(verify) = verify {
                verify.with = self.templated(&verify.with);
                verify.condition = verify.condition.as_ref().map(|condition| self.expression(condition));
            }
        }
        if let Some(measure) = &mut step.measure {
            measure.expires = self.template(&measure.expires);
            measure.closed_by = measure.closed_by.as_ref().map(|id| self.id(id));
        }
        step
    }
}

struct Changes<'n> {
    names: &'n Names,
    own: Option<&'n StepId>,
}

impl Rewrite for Changes<'_> {
    fn id(&mut self, id: &StepId) -> StepId {
        if self.own == Some(id) {
            return own_name();
        }
        self.names.get(id).unwrap_or(id).clone()
    }
}

/// All steps are called the same, but for one.
struct Nameless<'n> {
    but: Option<&'n StepId>,
}

impl Rewrite for Nameless<'_> {
    fn id(&mut self, id: &StepId) -> StepId {
        if self.but == Some(id) { one_name() } else { own_name() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_changed_where_they_stand_and_nowhere_else() {
        let names = Names::from([(StepId::new("a").unwrap(), StepId::new("long_one").unwrap())]);
        let mut changes = Changes { names: &names, own: None };
        let expression = |changes: &mut Changes<'_>, text: &str| changes.expression(&Expression(text.to_owned())).0;
        for (before, after) in [
            ("a.outputs.a == 'a' and not a.met", "long_one.outputs.a == 'a' and not long_one.met"),
            ("(a).result in ['a']", "(long_one).result in ['a']"),
            ("a['outputs'].x | default(a.error.kind)", "long_one['outputs'].x | default(long_one.error.kind)"),
            ("b.outputs.a", "b.outputs.a"),
        ] {
            assert_eq!(expression(&mut changes, before), after);
        }
        let template = changes.template(&Template("a {{ a.outputs.x }} {{a.result}} {{ inputs.a }}".to_owned()));
        assert_eq!(template.0, "a {{ long_one.outputs.x }} {{long_one.result}} {{ inputs.a }}");
    }
}
