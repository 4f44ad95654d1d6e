//! Taking up a run with a long log: reading it, holding every line against its hash, and replaying every event.
//!
//! The limit beside it is reading the same bytes and hashing them, and nothing else.

mod support;

use std::path::Path;
use std::sync::Arc;

use runbook::base::{Attempt, Clock as _, Digest, Redactor, StepPath, Timestamp, clock};
use runbook::plan::Plan;
use runbook::run::{AttemptResult, Directive, Event, Limits, Next, Recorded, RunState, decide, returned, take_turn};
use runbook::runlog::{LogFile, RunLog as _, read};
use serde_json::json;
use support::runbooks::Shape;
use support::{Folder, Rounds, Table, engine, memory, shown, sized};

fn main() {
    let folder = Folder::new("resuming");
    let events = sized(100_000, 2_000);
    let mut table =
        Table::new(&["log", "size", "limit: read and hash", "read and check", "replay", "store and read plan"]);
    for shape in [Shape::Chain, Shape::Parallel, Shape::Loop] {
        table.row(measure(folder.path(), shape, events / 2));
    }
    table.print(&format!("a log of {events} events; the aim is 1 s for all of it"));
    println!("\n  peak memory of all this: {}", memory::mebibytes(memory::own_peak()));
}

fn measure(folder: &Path, shape: Shape, steps: usize) -> Vec<String> {
    let plan = engine::plan_of(shape.runbook(steps));
    let path = folder.join("log.jsonl");
    write(&plan, &path);
    let size = std::fs::metadata(&path).map(|metadata| metadata.len()).ok();
    let rounds = sized(5, 2);
    let hashing = Rounds::of(rounds, || Digest::of(&std::fs::read(&path).expect("the log is there")));
    let reading = Rounds::of(rounds, || read(&path).expect("the log is whole"));
    let entries = read(&path).expect("the log is whole");
    let replaying = Rounds::of(rounds, || {
        let mut state = RunState::new(Arc::clone(&plan));
        for entry in &entries {
            state.apply(&entry.recorded).expect("every event was asked for");
        }
        state
    });
    let stored = plan.to_json();
    let planning = Rounds::of(rounds, || Plan::from_json(&stored).expect("the plan is whole"));
    std::fs::remove_file(&path).expect("the log was just written");
    vec![
        format!("{}, {} events", shape.name(), entries.len()),
        memory::mebibytes(size),
        shown(hashing.min()),
        shown(reading.min()),
        shown(replaying.min()),
        shown(planning.min()),
    ]
}

/// Writes the log of a run in which every step succeeds at once.
fn write(plan: &Arc<Plan>, path: &Path) {
    let now = clock::SystemClock.now();
    let mut state = RunState::new(Arc::clone(plan));
    let mut log = LogFile::create(path, Arc::new(Redactor::default())).expect("the log is new");
    let mut batch = Vec::new();
    let outputs = json!({ "exit_code": 0, "stdout": "", "stderr": "", "truncated": false });
    let mut take = |state: &mut RunState, event: Event, at: Timestamp| {
        let recorded = Recorded { at, event };
        state.apply(&recorded).expect("every event was asked for");
        batch.push(recorded);
    };
    take(&mut state, engine::started(plan, Limits { io: 16, processes: 8 }), now);
    let mut under_way: Vec<StepPath> = Vec::new();
    while state.outcome().is_none() {
        for directive in decide(&state) {
            match directive {
                Directive::Begin(step) => {
                    let event = take_turn(&state, &step, now, |_, _| Vec::new());
                    if matches!(event, Event::AttemptStarted { .. }) {
                        under_way.push(step);
                    }
                    take(&mut state, event, now);
                }
                Directive::Return(step) => {
                    let result = returned(&state, &step, now);
                    take(&mut state, Event::StepReturned { step, result }, now);
                }
                Directive::BeginFinally(within, outcome) => {
                    take(&mut state, Event::FinallyBegan { outcome, within }, now);
                }
                Directive::Finish(outcome) => take(&mut state, Event::RunFinished { outcome }, now),
                other => panic!("nothing in this run should lead to {other:?}"),
            }
        }
        for step in under_way.drain(..) {
            let result = AttemptResult::Succeeded { outputs: outputs.clone() };
            take(
                &mut state,
                Event::AttemptFinished { step, attempt: Attempt::FIRST, result, next: Next::End, met: None },
                now,
            );
        }
    }
    for events in batch.chunks(1_000) {
        log.append(events).expect("there is room on the disk");
    }
}
