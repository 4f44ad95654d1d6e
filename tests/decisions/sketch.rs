//! Random runbooks: small numbers that become YAML, so that a failing case shrinks to a small runbook.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use runbook::base::Source;
use runbook::plan::Plan;

/// What one step is made of. All zeros is a plain script that needs nothing.
#[derive(Debug, Clone)]
pub(crate) struct Genes {
    kind: u8,
    needs: Vec<(u8, u8)>,
    allow_failure: u8,
    undo: u8,
    gate: u8,
    again: u8,
    measure: u8,
    condition: u8,
}

/// A runbook to be.
#[derive(Clone)]
pub(crate) struct Sketch {
    steps: Vec<Genes>,
    finals: Vec<Genes>,
    on_failure: u8,
    upside_down: bool,
}

/// A failing case is read as the runbook it is.
impl std::fmt::Debug for Sketch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.yaml())
    }
}

fn genes() -> impl Strategy<Value = Genes> {
    let small = 0..12_u8;
    let needs = vec((small.clone(), small.clone()), 0..3);
    (small.clone(), needs, small.clone(), small.clone(), small.clone(), small.clone(), small.clone(), small).prop_map(
        |(kind, needs, allow_failure, undo, gate, again, measure, condition)| Genes {
            kind,
            needs,
            allow_failure,
            undo,
            gate,
            again,
            measure,
            condition,
        },
    )
}

/// One to ten ordinary steps, up to two final ones.
pub(crate) fn sketches() -> impl Strategy<Value = Sketch> {
    (vec(genes(), 1..=10), vec(genes(), 0..=2), 0..3_u8, any::<bool>())
        .prop_map(|(steps, finals, on_failure, upside_down)| Sketch { steps, finals, on_failure, upside_down })
}

impl Sketch {
    /// The runbook as text.
    pub(crate) fn yaml(&self) -> String {
        let on_failure = ["hold", "rollback", "continue"][usize::from(self.on_failure)];
        let mut text = format!("runbook: drawn\non_failure: {on_failure}\nsteps:\n");
        text += &section(&self.steps, 's', self.upside_down);
        if !self.finals.is_empty() {
            text += "finally:\n";
            text += &section(&self.finals, 'f', self.upside_down);
        }
        text
    }
}

fn section(steps: &[Genes], prefix: char, upside_down: bool) -> String {
    let mut written: Vec<String> = (0..steps.len()).map(|index| step(steps, index, prefix)).collect();
    if upside_down {
        written.reverse();
    }
    written.concat()
}

/// Writes a step. It needs only steps with a lower number, wherever they stand in the file.
fn step(steps: &[Genes], index: usize, prefix: char) -> String {
    let genes = &steps[index];
    let mut text = format!("  {prefix}{index}:\n");
    let needs: BTreeMap<usize, u8> = match index {
        0 => BTreeMap::new(),
        _ => genes.needs.iter().map(|(target, result)| (usize::from(*target) % index, *result)).collect(),
    };
    if needs.values().all(|result| need(*result) == "succeeded") {
        let names: Vec<String> = needs.keys().map(|target| format!("{prefix}{target}")).collect();
        let _ = writeln!(text, "    needs: [{}]", names.join(", "));
    } else {
        let pairs: Vec<String> =
            needs.iter().map(|(target, result)| format!("{prefix}{target}: {}", need(*result))).collect();
        let _ = writeln!(text, "    needs: {{ {} }}", pairs.join(", "));
    }
    match (genes.condition, needs.keys().next()) {
        (1, _) => text += "    if: \"run.name == 'drawn'\"\n",
        (2, _) => text += "    if: \"run.name == 'another'\"\n",
        (3, Some(target)) => {
            let _ = writeln!(text, "    if: \"{prefix}{target}.result == 'succeeded'\"");
        }
        // Whether there are outputs is known only when the step has ended.
        (4, Some(target)) if gives_status(&steps[*target]) => {
            let _ = writeln!(text, "    if: \"{prefix}{target}.outputs.status == 200\"");
        }
        _ => {}
    }
    if genes.allow_failure % 4 == 1 {
        text += "    allow_failure: true\n";
    }
    let gate = match genes.gate {
        1 => Some("by: [\"user:ann\", \"user:ben\", \"user:cat\"], within: 90s"),
        2 => Some("by: [\"user:ann\", \"user:ben\", \"user:cat\"], at_least: 2"),
        3 => Some("at_least: 2, within: 2m, on_timeout: reject"),
        4 => Some("on_timeout: hold"),
        _ if genes.kind == 6 => Some("at_least: 1"),
        _ => None,
    };
    if let Some(gate) = gate {
        let _ = writeln!(text, "    approval: {{ prompt: \"Go on?\", {gate} }}");
    }
    text + &act(genes, index, prefix, steps.len())
}

fn act(genes: &Genes, index: usize, prefix: char, count: usize) -> String {
    let mut text = String::new();
    match genes.kind {
        1 => text += "    argv: [\"true\"]\n    effect: read\n",
        2 | 3 => text += "    uses: http.get\n    with: { url: \"http://127.0.0.1/\" }\n",
        4 => text += "    uses: http.request\n    with: { url: \"http://127.0.0.1/\" }\n",
        5 => return "    manual: { text: Look at it. }\n".to_owned(),
        6 => return text,
        7 => return "    uses: decide\n    with:\n      - { then: { found: 1 } }\n".to_owned(),
        8 => {
            let arm = "{ if: \"run.name == 'another'\", then: { found: 2 } }";
            return format!("    uses: decide\n    with:\n      - {arm}\n");
        }
        _ => text += "    run: \"true\"\n",
    }
    text += match genes.undo % 4 {
        1 | 2 => "    undo: { uses: shell, with: { script: \"true\" } }\n",
        3 => "    undo: { uses: http.get, with: { url: \"http://127.0.0.1/\" } }\n",
        _ => "",
    };
    if genes.again % 3 == 1 {
        text += "    retry: { attempts: 3, delay: 2s, backoff: 2, jitter: true }\n";
    }
    if gives_status(genes) && genes.again >= 6 {
        text += "    until: { if: \"outputs.status == 200\", every: 5s, within: 15s }\n";
    }
    match genes.measure {
        1 => text += "    measure: { expires: 60m }\n",
        2 if prefix == 's' => {
            let closing = (index + 1) % count;
            let _ = writeln!(text, "    measure: {{ expires: 60m, closed_by: s{closing} }}");
        }
        _ => {}
    }
    text
}

fn gives_status(genes: &Genes) -> bool {
    matches!(genes.kind, 2 | 3)
}

fn need(result: u8) -> &'static str {
    match result {
        1 => "failed",
        2 => "skipped",
        3 => "rejected",
        4 => "finished",
        5 => "[succeeded, skipped]",
        6 => "[failed, rejected]",
        7 => "[succeeded, failed]",
        _ => "succeeded",
    }
}

/// The plan of a runbook; whoever writes a test writes one without mistakes.
pub(crate) fn plan_of(yaml: &str) -> Arc<Plan> {
    let loaded = runbook::runbook::load(Source::new("drawn.yaml", yaml));
    let built = loaded.map(|loaded| runbook::plan::build(&loaded, &runbook::actions::builtin(), &BTreeMap::new()));
    match built {
        Ok(Ok(plan)) => Arc::new(plan),
        Ok(Err(problems)) => panic!("{problems:#?}\n{yaml}"),
        Err(problems) => panic!("{problems:#?}\n{yaml}"),
    }
}

#[test]
fn the_sketches_have_every_feature() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let mut missing: BTreeSet<&str> = [
        "on_failure: hold",
        "on_failure: rollback",
        "on_failure: continue",
        "finally:",
        "needs: [s0",
        "needs: {",
        "skipped",
        "rejected",
        "failed",
        "finished",
        "allow_failure",
        "undo",
        "at_least: 2",
        "on_timeout: hold",
        "manual",
        "decide",
        "effect: read",
        "http.request",
        "retry",
        "until",
        "closed_by",
        "if:",
    ]
    .into();
    for _ in 0..200 {
        let drawn = sketches().new_tree(&mut runner).expect("the strategy refuses nothing").current().yaml();
        missing.retain(|word| !drawn.contains(word));
    }
    assert!(missing.is_empty(), "never drawn: {missing:?}");
}
