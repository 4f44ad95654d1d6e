//! Tests of runbooks: many cases of the shipped runbook, played and judged. The limit beside it is what applying the same
//! events costs, with nothing decided, expanded or judged.

mod support;

use std::path::Path;
use std::sync::Arc;

use runbook::engine::Approvers;
use runbook::run::RunState;
use runbook::runbook::load_file;
use runbook::testing::{Draft, Suite};
use support::{Rounds, Table, each, ratio, shown, sized};

fn main() {
    let count = sized(500, 50);
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("runbooks");
    let path = folder.join("clerk-outage.test.yaml");
    let open = || {
        let draft = Draft::read(&path).expect("the shipped tests are sound");
        let loaded = load_file(&draft.runbook).expect("the shipped runbook is sound");
        let approvers = Approvers::load(&folder).expect("the shipped approvers are sound");
        Suite::new(&draft, &loaded, runbook::actions::builtin(), approvers, &folder)
            .unwrap_or_else(|found| panic!("{}", found[0].render(false)))
    };
    let suite = open();
    // All of the file's cases, again and again.
    let play = |suite: &Suite| {
        let cases = suite.cases();
        let failed = (0..count).filter(|number| !suite.run(&cases[number % cases.len()]).passed()).count();
        assert_eq!(failed, 0, "the shipped tests pass");
    };
    let logs: Vec<_> =
        suite.cases().iter().map(|case| (suite.plan(&case.script.inputs), suite.run(case).played.log)).collect();
    let apply = || {
        for number in 0..count {
            let (plan, log) = &logs[number % logs.len()];
            let mut state = RunState::new(Arc::clone(plan));
            log.iter().for_each(|recorded| state.apply(recorded).expect("it was applied before"));
        }
    };
    let rounds = sized(7, 2);
    let mut table = Table::new(&["what", "least", "median", "most", "a case"]);
    let mut row = |what: &str, rounds: &Rounds| {
        let [least, median, most] = rounds.cells();
        table.row([what.to_owned(), least, median, most, each(rounds.min(), count)]);
    };
    let limit = Rounds::of(rounds, apply);
    row("limit: apply the same events", &limit);
    row("read and check the file, plan", &Rounds::of(rounds, open));
    let all = Rounds::of(rounds, || play(&open()));
    row("all of it", &all);
    let events: usize = logs.iter().map(|(_, log)| log.len()).sum::<usize>() / logs.len();
    table.print(&format!("{count} cases of clerk-outage, {events} events each"));
    println!("\n  {} in all, {:.1} times the limit", shown(all.min()), ratio(all.min(), limit.min()));
}
