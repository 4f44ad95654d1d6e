//! From the text of a runbook to a plan, and through a run in which nothing is done: no disk, no processes.
//!
//! Beside it stands what the text alone costs: cutting it into lines, and reading it as YAML of no particular meaning.

mod support;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use runbook::base::{Attempt, Clock as _, Source, StepPath, clock};
use runbook::plan::{self, Plan};
use runbook::run::{
    AttemptResult, Directive, Event, Limits, Next, Outcome, Recorded, Rendering, RunState, decide, returned, take_turn,
};
use runbook::runbook::load;
use serde_json::{Value, json};
use support::engine;
use support::runbooks::Shape;
use support::{Rounds, Table, each, memory, ratio, shown, sized};

/// Is what a step is given worked out on the way?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Texts {
    Left,
    Expanded,
}

/// What planning 10,000 steps may take, everything that is shown of them included.
const LIMIT: Duration = Duration::from_millis(100);

fn main() {
    let counts: &[usize] = sized(&[1_000, 10_000, 100_000], &[1_000]);
    // A filter as `cargo bench -- NAME` hands it on; cargo's own flags begin with a dash.
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    for shape in [Shape::Chain, Shape::FanOut, Shape::Layered, Shape::Loop] {
        for count in counts {
            let title = format!("{}, {count} steps", shape.name());
            if title.contains(&filter) {
                measure(&title, shape, *count);
            }
        }
    }
    println!("\npeak memory of all this: {}", memory::mebibytes(memory::own_peak()));
}

fn measure(title: &str, shape: Shape, count: usize) {
    let text = shape.runbook(count);
    let rounds = sized(
        match count {
            0..=1_000 => 20,
            1_001..=10_000 => 7,
            _ => 3,
        },
        2,
    );
    let source = Source::new("bench.yaml", text.as_str());
    let registry = runbook::actions::builtin();
    let given = BTreeMap::new();
    let loaded = load(Arc::clone(&source)).unwrap_or_else(|problems| panic!("{}", problems[0].render(false)));
    let plan =
        plan::build(&loaded, &registry, &given).unwrap_or_else(|_| panic!("the bench's own runbook has mistakes"));
    let plan = Arc::new(plan);

    let mut table = Table::new(&["what", "least", "median", "most", "a step"]);
    let mut row = |what: &str, rounds: &Rounds| {
        let [least, median, most] = rounds.cells();
        table.row([what.to_owned(), least, median, most, each(rounds.min(), count)]);
    };
    let lines = Rounds::of(rounds, || text.lines().map(|line| line.split(':').count()).sum::<usize>());
    row("limit: cut into lines", &lines);
    let generic = Rounds::of(rounds, || parse_generic(&text));
    row("limit: parse as any YAML", &generic);
    let loading = Rounds::of(rounds, || load(Arc::clone(&source)));
    row("load", &loading);
    let checking = Rounds::of(rounds, || plan::check(&loaded, &registry));
    row("check", &checking);
    let building = Rounds::of(rounds, || plan::build(&loaded, &registry, &given));
    row("plan, its check included", &building);
    row("waves", &Rounds::of(rounds, || plan.waves()));
    row("preview", &Rounds::of(rounds, || plan::preview(&plan, &registry)));
    let planning =
        Rounds::of(rounds, || plan::build(&loaded, &registry, &given).map(|plan| plan::preview(&plan, &registry)));
    row("plan and preview", &planning);
    row("store as JSON", &Rounds::of(rounds, || plan.to_json()));
    row("a run that does nothing", &Rounds::of(rounds, || go_through(&plan, Texts::Left)));
    row("the same, texts expanded", &Rounds::of(rounds, || go_through(&plan, Texts::Expanded)));
    table.print(title);
    if count == 10_000 {
        let kept = if planning.min() < LIMIT { "kept" } else { "MISSED" };
        println!("\n  limit for plan and preview of 10,000 steps: {}; {kept}", shown(LIMIT));
    }
    println!(
        "\n  {} of YAML; load and plan take {}, {:.2} times the generic parse",
        memory::mebibytes(u64::try_from(text.len()).ok()),
        shown(loading.min() + building.min()),
        ratio(loading.min() + building.min(), generic.min()),
    );
}

/// Reads YAML into a tree that means nothing, with the budget a large file needs.
fn parse_generic(text: &str) -> Value {
    let options = serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_events: 20_000_000,
            max_nodes: 10_000_000,
            max_total_scalar_bytes: 64 * 1024 * 1024,
        },
        with_snippet: false,
    };
    serde_yaml::from_str_with_options(text, options).expect("the bench's own YAML is sound")
}

/// Decides and applies from the first event to the last, as an engine would: one decision for each thing that happens.
fn go_through(plan: &Arc<Plan>, texts: Texts) -> RunState {
    let now = clock::SystemClock.now();
    let mut state = RunState::new(Arc::clone(plan));
    let apply = |state: &mut RunState, event: Event| {
        state.apply(&Recorded { at: now, event }).expect("every event was asked for");
    };
    apply(&mut state, engine::started(plan, Limits { io: 16, processes: 8 }));
    let outputs = json!({ "exit_code": 0, "stdout": "", "stderr": "", "truncated": false });
    let mut under_way: VecDeque<StepPath> = VecDeque::new();
    while state.outcome().is_none() {
        for directive in decide(&state) {
            match directive {
                Directive::Begin(step)
                    if state.step(&step).is_some_and(|step| step.for_each.is_some()) && !state.is_item(&step) =>
                {
                    let event = take_turn(&state, &step, now, |_, _| Vec::new());
                    apply(&mut state, event);
                }
                Directive::Begin(step) => {
                    let params = given_to(&state, &step, texts);
                    under_way.push_back(step.clone());
                    apply(&mut state, Event::AttemptStarted { step, attempt: Attempt(1), params });
                }
                Directive::BeginFinally(within, outcome) => apply(&mut state, Event::FinallyBegan { outcome, within }),
                Directive::Return(step) => {
                    let result = returned(&state, &step, now);
                    apply(&mut state, Event::StepReturned { step, result });
                }
                Directive::Finish(outcome) => apply(&mut state, Event::RunFinished { outcome }),
                other => panic!("nothing in this run should lead to {other:?}"),
            }
        }
        if let Some(step) = under_way.pop_front() {
            let result = AttemptResult::Succeeded { outputs: outputs.clone() };
            apply(&mut state, Event::AttemptFinished { step, attempt: Attempt(1), result, next: Next::End, met: None });
        }
    }
    assert_eq!(state.outcome(), Some(Outcome::Succeeded), "a run that does nothing cannot fail");
    state
}

fn given_to(state: &RunState, step: &StepPath, texts: Texts) -> Option<Value> {
    if texts == Texts::Left {
        return Some(json!({ "argv": ["/usr/bin/true"] }));
    }
    let rendering = Rendering::new(state, step, state.now()).expect("the step is of this plan");
    assert!(rendering.condition_holds().expect("conditions hold here"), "every step of the bench runs");
    Some(rendering.prepare().expect("every text of the bench expands").params)
}
