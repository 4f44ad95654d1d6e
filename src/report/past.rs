//! What past runs of a runbook took: a bounded look at the newest logs, which minds no damage.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::{StepPath, Timestamp, clock};
use crate::plan::Past;
use crate::run::{AttemptResult, Event, ManualResult, Next, Outcome, Returned};
use crate::runlog::{RunFolder, Store, entries};

/// How many of the newest runs are looked at, of whatever runbook.
const LOOKED_AT: usize = 200;
/// How many runs of this runbook count.
const COUNTED: usize = 20;
/// How many lines are read in all.
const LINES: usize = 200_000;

/// What the newest runs of this runbook took. Drills do not count, nor does what failed. A log that cannot be read counts
/// as far as it can; a store that cannot be read has no past.
pub fn past(store: &Store, runbook: &str) -> Past {
    let mut past = Past::default();
    let mut lines = LINES;
    let mut counted = 0;
    for folder in store.list().unwrap_or_default().iter().take(LOOKED_AT) {
        if counted == COUNTED || lines == 0 {
            break;
        }
        counted += usize::from(look(folder, runbook, &mut past, &mut lines));
    }
    past
}

/// What is under way in a run that is read.
#[derive(Default)]
struct Reading {
    started: Option<Timestamp>,
    /// Since when each step works towards its success: tries that failed do not count.
    began: BTreeMap<StepPath, Timestamp>,
}

/// Was it a run of this runbook, and no drill?
fn look(folder: &RunFolder, runbook: &str, past: &mut Past, lines: &mut usize) -> bool {
    let Ok(entries) = entries(&folder.log()) else { return false };
    let mut reading = Reading::default();
    for entry in entries.map_while(Result::ok) {
        if *lines == 0 {
            break;
        }
        *lines -= 1;
        let at = entry.recorded.at;
        match &entry.recorded.event {
            Event::RunStarted { runbook: name, drill, .. } => {
                if name != runbook || drill.is_some() {
                    return false;
                }
                reading.started = Some(at);
            }
            // What lay still in between took no time of its own.
            Event::RunResumed { .. } => {
                reading.started = None;
                reading.began.clear();
            }
            Event::RunFinished { outcome: Outcome::Succeeded } => {
                past.whole.extend(reading.started.map(|began| clock::until(began, at)));
            }
            event => reading.step(event, at, past),
        }
    }
    true
}

impl Reading {
    fn step(&mut self, event: &Event, at: Timestamp, past: &mut Past) {
        match event {
            Event::AttemptStarted { step, .. }
            | Event::ManualAsked { step, .. }
            | Event::LoopBegan { step, .. }
            | Event::CallBegan { step, .. } => {
                self.began.entry(step.clone()).or_insert(at);
            }
            Event::AttemptFinished { step, result, next, .. } => match (result, next) {
                (AttemptResult::Succeeded { .. }, Next::End) => self.succeeded(step, at, past),
                // A look that found `until` not met yet is a part of the step's success.
                (AttemptResult::Succeeded { .. }, _) => {}
                (AttemptResult::Failed { .. }, _) => {
                    self.began.remove(step);
                }
            },
            Event::ManualAnswered { step, result: ManualResult::Done { .. }, .. } => self.succeeded(step, at, past),
            Event::StepReturned { step, result: Returned::Succeeded { .. } } => {
                self.succeeded(step, at, past);
            }
            _ => {}
        }
    }

    fn succeeded(&mut self, step: &StepPath, at: Timestamp, past: &mut Past) {
        let Some(began) = self.began.remove(step) else { return };
        // Items of a loop differ; the loop as a whole is told.
        if let Some(name) = without_keys(step) {
            past.steps.entry(name).or_default().push(length(began, at));
        }
    }
}

fn length(began: Timestamp, ended: Timestamp) -> Duration {
    clock::until(began, ended)
}

/// The path without the keys of items; `None` for an item itself.
fn without_keys(step: &StepPath) -> Option<String> {
    if step.as_str().ends_with(']') {
        return None;
    }
    let mut name = String::new();
    let mut rest = step.as_str();
    while let Some(open) = rest.find('[') {
        name.push_str(&rest[..open]);
        rest = rest[open..].split_once(']').map_or("", |(_, rest)| rest);
    }
    name.push_str(rest);
    Some(name)
}
