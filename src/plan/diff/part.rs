//! One runbook of one side: its steps by name, what is known of it, and where everything stands.

use std::borrow::Cow;
use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde_json::Value;

use super::rename::{Names, renamed};
use super::{Side, Spot};
use crate::action::{Effect, Registry};
use crate::base::{Span, StepId};
use crate::plan::intent::Known;
use crate::plan::{Facts, facts_of};
use crate::runbook::node::{Content, Node};
use crate::runbook::{Does, Loaded, OnFailure, Runbook, Step, call_key};

/// A runbook of one side, or nothing where that side has none.
pub(super) struct Part<'s> {
    pub(super) side: Option<Side<'s>>,
    /// What it is known by in its plan, empty for the plan's own.
    pub(super) key: String,
    loaded: Option<&'s Loaded>,
    pub(super) runbook: Cow<'s, Runbook>,
    /// Its steps, the final ones behind the others, under the names that they have on the new side.
    pub(super) steps: Vec<Entry<'s>>,
    pub(super) places: BTreeMap<StepId, usize>,
    pub(super) known: Known,
    /// Where each line begins.
    lines: Vec<usize>,
}

/// A step and where it stands.
pub(super) struct Entry<'s> {
    /// Its name on the new side.
    pub(super) id: StepId,
    pub(super) is_final: bool,
    pub(super) facts: Facts,
    key: Span,
    node: Option<&'s Node>,
}

impl Entry<'_> {
    pub(super) fn writes(&self) -> bool {
        self.facts.effect == Effect::Write
    }
}

impl<'s> Part<'s> {
    /// The runbook of a key. `names` are what its steps are called on the other side.
    pub(super) fn of(side: Side<'s>, key: &str, registry: &Registry, names: &Names) -> Option<Self> {
        let loaded = if key.is_empty() { side.loaded } else { side.loaded.called.get(key)? };
        let runbook = match names.is_empty() {
            true => Cow::Borrowed(loaded.runbook.as_ref()),
            false => Cow::Owned(renamed(&loaded.runbook, names)),
        };
        let written = loaded.runbook.as_ref();
        let all = written.steps.iter().chain(&written.finally);
        let mut sections = Sections::of(loaded);
        let steps: Vec<Entry<'s>> = all
            .enumerate()
            .map(|(place, (id, step))| {
                let is_final = place >= written.steps.len();
                let (key_span, node) = sections.find(is_final, id.as_str());
                Entry {
                    id: names.get(id).unwrap_or(id).clone(),
                    is_final,
                    facts: facts_of(step, key, side.loaded, registry),
                    key: key_span,
                    node,
                }
            })
            .collect();
        let places = steps.iter().enumerate().map(|(place, entry)| (entry.id.clone(), place)).collect();
        let breaks = loaded.source.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let lines = std::iter::once(0).chain(breaks).collect();
        let known = Known::by_default(&runbook);
        Some(Self { side: Some(side), key: key.to_owned(), loaded: Some(loaded), runbook, steps, places, known, lines })
    }

    /// Nothing, beside a runbook of the other side.
    pub(super) fn nothing(beside: &Runbook) -> Self {
        let runbook = Runbook {
            name: beside.name.clone(),
            title: None,
            summary: None,
            severity: None,
            outage_of: Vec::new(),
            inputs: IndexMap::new(),
            secrets: BTreeMap::new(),
            locks: Vec::new(),
            timeout: None,
            steps: IndexMap::new(),
            on_failure: OnFailure::default(),
            finally: IndexMap::new(),
            outputs: IndexMap::new(),
        };
        let known = Known::by_default(&runbook);
        Self {
            side: None,
            key: String::new(),
            loaded: None,
            runbook: Cow::Owned(runbook),
            steps: Vec::new(),
            places: BTreeMap::new(),
            known,
            lines: Vec::new(),
        }
    }

    pub(super) fn step(&self, place: usize) -> &Step {
        let ordinary = self.runbook.steps.len();
        let found = match place.checked_sub(ordinary) {
            None => self.runbook.steps.get_index(place),
            Some(place) => self.runbook.finally.get_index(place),
        };
        found.expect("places come from this runbook").1
    }

    /// The place of a step of this name in the same section as `beside`.
    pub(super) fn counterpart(&self, beside: &Entry<'_>) -> Option<usize> {
        self.places.get(&beside.id).copied().filter(|place| self.steps[*place].is_final == beside.is_final)
    }

    /// What the runbook that a step calls is known by.
    pub(super) fn called(&self, place: usize) -> Option<String> {
        match &self.step(place).does {
            Does::Call(call) => Some(call_key(&self.key, &call.file)),
            _ => None,
        }
    }

    /// Where something of a step stands; the step itself, where that is not written.
    pub(super) fn spot(&self, place: usize, path: &[&str], value: Option<Value>) -> Option<Spot> {
        let entry = &self.steps[place];
        let span = match entry.node {
            Some(node) if !path.is_empty() => deepest(node, path).unwrap_or(entry.key),
            _ => entry.key,
        };
        self.at(span, value)
    }

    /// Where something at the top of the file stands; the first line, where that is not written.
    pub(super) fn top(&self, path: &[&str], value: Option<Value>) -> Option<Spot> {
        let span = self.loaded.and_then(|loaded| deepest(loaded.tree(), path)).unwrap_or_default();
        self.at(span, value)
    }

    fn at(&self, span: Span, value: Option<Value>) -> Option<Spot> {
        let loaded = self.loaded?;
        let line = self.lines.partition_point(|start| *start <= span.start).max(1);
        Some(Spot { file: loaded.source.name.clone(), line, value })
    }
}

/// The place of the key at the end of a path, or of the last one on the way that is there.
fn deepest(node: &Node, path: &[&str]) -> Option<Span> {
    let mut node = node;
    let mut found = None;
    for name in path {
        match &node.content {
            Content::Map(_) => {
                let Some((key, child)) = node.entry(name) else { break };
                found = Some(key.span);
                node = child;
            }
            Content::List(_) => {
                let Some(child) = node.child(name) else { break };
                found = Some(child.span);
                node = child;
            }
            _ => break,
        }
    }
    found
}

/// The entries of `steps` and `finally`, found by walking beside the steps in the order of the file.
struct Sections<'s> {
    steps: &'s [(crate::runbook::node::Key, Node)],
    finally: &'s [(crate::runbook::node::Key, Node)],
}

impl<'s> Sections<'s> {
    fn of(loaded: &'s Loaded) -> Self {
        let entries = |name: &str| match loaded.tree().entry(name) {
            Some((_, Node { content: Content::Map(entries), .. })) => entries.as_slice(),
            _ => &[],
        };
        Self { steps: entries("steps"), finally: entries("finally") }
    }

    fn find(&mut self, is_final: bool, id: &str) -> (Span, Option<&'s Node>) {
        let entries = if is_final { &mut self.finally } else { &mut self.steps };
        let Some(at) = entries.iter().position(|(key, _)| key.text == id) else { return (Span::default(), None) };
        let (key, node) = &entries[at];
        // The steps come in the order of the file, so whatever was passed is not asked for again.
        *entries = &entries[at + 1..];
        (key.span, Some(node))
    }
}
