//! `check` of a thousand files of twenty steps, as `runbook check` does it: read, load, check, one after another.
//!
//! Beside it stands what the bytes alone cost: reading them, and parsing them as YAML of no particular meaning.

mod support;

use std::fmt::Write as _;
use std::path::Path;

use runbook::action::Registry;
use runbook::base::Diagnostic;
use support::{Folder, Rounds, Table, each, memory, ratio, shown, sized};

const STEPS: usize = 20;

fn main() {
    let files: usize = sized(1_000, 50);
    let folder = Folder::new("checking");
    let paths: Vec<_> = (0..files).map(|number| folder.path().join(format!("r{number}.yaml"))).collect();
    let mut bytes = 0;
    for (number, path) in paths.iter().enumerate() {
        let text = runbook_of(number);
        bytes += text.len();
        std::fs::write(path, text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    }
    let rounds = sized(10, 2);
    let read = |path: &Path| std::fs::read_to_string(path).expect("it was written a moment ago");
    let mut table = Table::new(&["what", "least", "median", "most", "a file"]);
    let mut row = |what: &str, rounds: &Rounds| {
        let [least, median, most] = rounds.cells();
        table.row([what.to_owned(), least, median, most, each(rounds.min(), files)]);
    };
    let reading = Rounds::of(rounds, || paths.iter().map(|path| read(path).len()).sum::<usize>());
    row("limit: read the bytes", &reading);
    let parsing = Rounds::of(rounds, || {
        let parse =
            |path| serde_yaml::from_str::<serde_json::Value>(&read(path)).expect("the bench's own YAML is sound");
        paths.iter().map(|path| parse(path).as_object().map_or(0, |top| top.len())).sum::<usize>()
    });
    row("limit: and parse as any YAML", &parsing);
    let loading = Rounds::of(rounds, || {
        paths.iter().map(|path| runbook::runbook::load_file(path).expect("it loads").problems.len()).sum::<usize>()
    });
    row("load", &loading);
    let registry = runbook::actions::builtin();
    let checking = Rounds::of(rounds, || paths.iter().map(|path| findings(path, &registry).len()).sum::<usize>());
    row("check", &checking);
    assert!(paths.iter().all(|path| findings(path, &registry).is_empty()), "the bench's own runbooks have no mistakes");
    table.print(&format!("{files} files of {STEPS} steps, {}", memory::mebibytes(u64::try_from(bytes).ok())));
    println!(
        "\n  {} in all, {:.2} times the generic parse; peak memory {}",
        shown(checking.min()),
        ratio(checking.min(), parsing.min()),
        memory::mebibytes(memory::own_peak()),
    );
}

fn findings(path: &Path, registry: &Registry) -> Vec<Diagnostic> {
    match runbook::runbook::load_file(path) {
        Ok(loaded) => runbook::plan::check(&loaded, registry),
        Err(problems) => problems,
    }
}

/// Twenty steps that look, decide, ask, write and wait, as a real file has them.
fn runbook_of(number: usize) -> String {
    let mut text = format!(
        "runbook: r{number}\ntitle: Something to check\ninputs:\n  host: {{ type: url, required: true }}\n  \
         bridge: {{ type: duration, default: 30m }}\nsecrets:\n  vercel: {{ env: VERCEL_TOKEN }}\nsteps:\n"
    );
    for block in 0..STEPS / 5 {
        let needs = block.checked_sub(1).map_or(String::new(), |before| format!("    needs: [verify_{before}]\n"));
        write!(
            text,
            "  look_{block}:\n{needs}    uses: http.get\n    with: {{ url: \"{{{{ inputs.host }}}}/health\", expect: {{ status: [200, 503] }} }}
    retry: {{ attempts: 3, delay: 2s, on: [timeout, network] }}
    allow_failure: true
  triage_{block}:
    needs: {{ look_{block}: finished }}
    uses: decide
    with:
      - if: \"look_{block}.result == 'succeeded' and look_{block}.outputs.status == 200\"
        then: {{ category: none }}
      - then: {{ category: outage }}
  open_{block}:
    needs: [triage_{block}]
    if: \"triage_{block}.outputs.category == 'outage'\"
    approval: {{ prompt: \"Open for {{{{ inputs.bridge }}}}?\", within: 15m }}
    uses: vercel.env.set
    with: {{ project: shop, values: {{ UNTIL: \"{{{{ run.now + inputs.bridge }}}}\" }} }}
    undo: auto
  tell_{block}:
    needs: [open_{block}]
    run: echo \"$CATEGORY\" >> told.txt
    env: {{ CATEGORY: \"{{{{ triage_{block}.outputs.category }}}}\" }}
  verify_{block}:
    needs: {{ open_{block}: [succeeded, skipped] }}
    uses: http.get
    with: {{ url: \"{{{{ inputs.host }}}}/health\" }}
    until: {{ if: \"outputs.ok\", every: 5s, within: 5m }}
"
        )
        .expect("writing to a string cannot fail");
    }
    text
}
