//! Comparing two plans by their meaning: alike, with a few changes, and with something changed in every step.
//!
//! Beside it stands what the plans alone cost: building them, and comparing what is stored of them byte by byte.

mod support;

use std::collections::BTreeMap;

use runbook::base::Source;
use runbook::plan::diff::{Groups, Side, diff};
use runbook::plan::{self, Plan};
use runbook::runbook::{Loaded, load};
use support::runbooks::Shape;
use support::{Rounds, Table, each, shown, sized};

/// How the new version is made of the old one.
struct Case {
    name: &'static str,
    change: fn(&str) -> String,
}

const CASES: [Case; 5] = [
    Case { name: "nothing", change: str::to_owned },
    Case { name: "a hundred commands", change: |text| every(text, 100, "/usr/bin/true", "/usr/bin/false") },
    Case { name: "every command", change: |text| text.replace("/usr/bin/true", "/usr/bin/false") },
    Case { name: "every name", change: with_other_names },
    Case { name: "every need", change: without_needs },
];

fn main() {
    let counts: &[usize] = sized(&[1_000, 10_000], &[1_000]);
    // A filter as `cargo bench -- NAME` hands it on; cargo's own flags begin with a dash.
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    for shape in [Shape::Chain, Shape::FanOut, Shape::Layered] {
        for count in counts.iter().filter(|count| format!("{}, {count} steps", shape.name()).contains(&filter)) {
            measure(shape, *count);
        }
    }
}

fn measure(shape: Shape, count: usize) {
    let registry = runbook::actions::builtin();
    let groups = Groups::new();
    let text = shape.runbook(count);
    let old = loaded(&text);
    let compare = |old: &Loaded, new: &Loaded| {
        let side = |loaded| Some(Side { loaded, groups: &groups });
        diff(side(old), side(new), &registry)
    };
    let rounds = sized(7, 2);
    let mut table = Table::new(&["what differs", "findings", "least", "median", "most", "a step"]);
    let build = |loaded: &Loaded| -> Plan {
        plan::build(loaded, &registry, &BTreeMap::new())
            .unwrap_or_else(|_| panic!("the bench's own runbook has mistakes"))
    };
    let building = Rounds::of(rounds, || (build(&old), build(&old)));
    let stored = (build(&old).to_json(), build(&old).to_json());
    let storing = Rounds::of(rounds, || build(&old).to_json() == stored.0);
    let comparing = Rounds::of(rounds, || stored.0 == stored.1);
    for (what, taken) in [
        ("limit: the stored bytes of both", &comparing),
        ("limit: building and storing one", &storing),
        ("limit: building both, with their check", &building),
    ] {
        let [least, median, most] = taken.cells();
        table.row([what.to_owned(), String::new(), least, median, most, each(taken.min(), count)]);
    }
    let mut slowest = std::time::Duration::ZERO;
    for Case { name, change } in CASES {
        let new = loaded(&change(&text));
        let findings = compare(&old, &new).findings.len();
        let taken = Rounds::of(rounds, || compare(&old, &new));
        slowest = slowest.max(taken.min());
        let [least, median, most] = taken.cells();
        table.row([name.to_owned(), findings.to_string(), least, median, most, each(taken.min(), count)]);
    }
    table.print(&format!("{}, {count} steps", shape.name()));
    println!("\n  the slowest takes {}", shown(slowest));
}

fn loaded(text: &str) -> Loaded {
    load(Source::new("bench.yaml", text)).unwrap_or_else(|problems| panic!("{}", problems[0].render(false)))
}

/// Changes one line of so many that have the word.
fn every(text: &str, count: usize, from: &str, to: &str) -> String {
    let total = text.lines().filter(|line| line.contains(from)).count();
    let stride = (total / count).max(1);
    let mut seen = 0;
    let lines = text.lines().map(|line| {
        if !line.contains(from) {
            return line.to_owned();
        }
        seen += 1;
        if seen % stride == 0 { line.replace(from, to) } else { line.to_owned() }
    });
    lines.map(|line| format!("{line}\n")).collect()
}

/// Every step begins at once. Whatever reads another one is left as it is.
fn without_needs(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("needs:"));
    lines.map(|line| format!("{line}\n")).collect()
}

/// Every `s` before a number becomes a `t`: the names of steps, and nothing else.
fn with_other_names(text: &str) -> String {
    let mut changed = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let is_name = c == 's' && rest.peek().is_some_and(char::is_ascii_digit);
        changed.push(if is_name { 't' } else { c });
    }
    changed
}
