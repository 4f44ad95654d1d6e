//! Random runbooks: small numbers that become YAML, so that a failing case shrinks to a small runbook.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;
use runbook::action::{Action, ActionContext, ActionError, Effect, Intent, Registry, Replay};
use runbook::base::Source;
use runbook::plan::Plan;
use runbook::runbook::Loaded;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
    each: u8,
    limit: u8,
}

/// A runbook to be, with those that it calls.
#[derive(Clone)]
pub(crate) struct Sketch {
    name: String,
    steps: Vec<Genes>,
    finals: Vec<Genes>,
    on_failure: u8,
    timeout: u8,
    upside_down: bool,
    called: Vec<Sketch>,
}

/// A failing case is read as the runbooks it is.
impl std::fmt::Debug for Sketch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text())
    }
}

fn genes() -> impl Strategy<Value = Genes> {
    let small = || 0..12_u8;
    let needs = vec((small(), small()), 0..3);
    let rest = (small(), small(), 0..24_u8, small(), small(), small(), small(), small());
    (0..24_u8, needs, rest).prop_map(
        |(kind, needs, (allow_failure, undo, gate, again, measure, condition, each, limit))| Genes {
            kind,
            needs,
            allow_failure,
            undo,
            gate,
            again,
            measure,
            condition,
            each,
            limit,
        },
    )
}

/// One to ten ordinary steps, up to two final ones; up to two called runbooks, which call up to one more.
pub(crate) fn sketches() -> impl Strategy<Value = Sketch> {
    let inner = level(4, 1, Just(Vec::new()).boxed());
    let middle = level(5, 1, vec(inner, 0..=1).boxed());
    level(10, 2, vec(middle, 0..=2).boxed()).prop_map(|mut sketch| {
        sketch.christen("drawn");
        sketch
    })
}

fn level(steps: usize, finals: usize, called: BoxedStrategy<Vec<Sketch>>) -> BoxedStrategy<Sketch> {
    let parts = (vec(genes(), 1..=steps), vec(genes(), 0..=finals), 0..3_u8, 0..8_u8, any::<bool>(), called);
    parts
        .prop_map(|(steps, finals, on_failure, timeout, upside_down, called)| Sketch {
            name: String::new(),
            steps,
            finals,
            on_failure,
            timeout,
            upside_down,
            called,
        })
        .boxed()
}

impl Sketch {
    fn christen(&mut self, name: &str) {
        self.name = name.to_owned();
        for (index, called) in self.called.iter_mut().enumerate() {
            called.christen(&format!("{name}-{index}"));
        }
    }

    /// How many steps there may be in a run of it, items included.
    pub(crate) fn size(&self) -> usize {
        let inside: usize = self.called.iter().map(Sketch::size).max().unwrap_or(0);
        let one = |genes: &Genes| {
            let times = if genes.is_loop() { 6 } else { 1 };
            if genes.calls(self) { 1 + times * (1 + inside) } else { 1 + times }
        };
        self.steps.iter().chain(&self.finals).map(one).sum()
    }

    /// The runbook as text.
    fn yaml(&self, is_called: bool) -> String {
        let on_failure = ["hold", "rollback", "continue"][usize::from(self.on_failure)];
        let mut text = format!("runbook: {}\non_failure: {on_failure}\n", self.name);
        if self.timeout == 7 && !is_called {
            text += "timeout: 3m\n";
        }
        if is_called {
            text += "inputs:\n  n: { type: integer, default: 1 }\noutputs:\n  n: { type: integer, value: \"{{ inputs.n }}\" }\n";
        }
        text += "steps:\n";
        text += &self.section(&self.steps, 's');
        if !self.finals.is_empty() {
            text += "finally:\n";
            text += &self.section(&self.finals, 'f');
        }
        text
    }

    fn section(&self, steps: &[Genes], prefix: char) -> String {
        let mut written: Vec<String> = (0..steps.len()).map(|index| self.step(steps, index, prefix)).collect();
        if self.upside_down {
            written.reverse();
        }
        written.concat()
    }

    /// Everything, each file under its name.
    fn text(&self) -> String {
        let files = self.files();
        let called: Vec<String> = files.iter().map(|(name, text)| format!("# {name}\n{text}")).collect();
        format!("{}{}", self.yaml(false), called.concat())
    }

    fn files(&self) -> Vec<(String, String)> {
        let inside = |called: &Sketch| {
            std::iter::once((format!("{}.yaml", called.name), called.yaml(true))).chain(called.files())
        };
        self.called.iter().flat_map(inside).collect()
    }

    pub(crate) fn plan(&self) -> Arc<Plan> {
        let files = self.files();
        let called: Vec<(&str, &str)> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        plan_calling(&self.yaml(false), &called)
    }

    /// Writes a step. It needs only steps with a lower number, wherever they stand in the file.
    fn step(&self, steps: &[Genes], index: usize, prefix: char) -> String {
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
            (1, _) => text += "    if: \"run.by == 'user:ann'\"\n",
            (2, _) => text += "    if: \"run.by == 'nobody'\"\n",
            (3, Some(target)) => {
                let _ = writeln!(text, "    if: \"{prefix}{target}.result == 'succeeded'\"");
            }
            // Whether there are outputs is known only when the step has ended.
            (4, Some(target)) if steps[*target].gives_status() => {
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
        if genes.is_loop() {
            let list = ["[a, b, c]", "[a, b, c, d, e, f]", "[a]", "\"[] if run.by == 'user:ann' else ['a']\""]
                [usize::from(genes.each) % 4];
            let most = ["", ", at_most: 1", ", at_most: 2", ", at_most: 3, ramp: true", ", ramp: true"]
                [usize::from(genes.limit) % 5];
            let fails = ["", ", fail_after: 2", ", fail_after: 50%"][usize::from(genes.condition) % 3];
            let _ = writeln!(text, "    for_each: {{ in: {list}{most}{fails} }}");
        }
        if genes.calls(self) {
            let called = &self.called[usize::from(genes.undo) % self.called.len()];
            let _ = writeln!(text, "    call: {}.yaml", called.name);
            match genes.measure {
                1 => text += "    with: { n: 2 }\n",
                // Whether that is a number is known only when the step has ended.
                2 => match needs.keys().next() {
                    Some(target) if steps[*target].gives_status() => {
                        let _ = writeln!(text, "    with: {{ n: \"{{{{ {prefix}{target}.outputs.status }}}}\" }}");
                    }
                    _ => {}
                },
                _ => {}
            }
            match genes.limit {
                9 => text += "    timeout: 2m\n",
                10 => text += "    timeout: { step: 3m }\n",
                _ => {}
            }
            return text;
        }
        text + &genes.act(index, prefix, steps.len())
    }
}

impl Genes {
    fn calls(&self, sketch: &Sketch) -> bool {
        matches!(self.kind, 9..=12) && !sketch.called.is_empty()
    }

    fn is_loop(&self) -> bool {
        matches!(self.kind, 11..=15)
    }

    fn gives_status(&self) -> bool {
        matches!(self.kind, 2 | 3)
    }

    fn act(&self, index: usize, prefix: char, count: usize) -> String {
        let mut text = String::new();
        let mut knows_undo = false;
        match self.kind {
            1 => text += "    argv: [\"true\"]\n    effect: read\n",
            2 | 3 | 13 => text += "    uses: http.get\n    with: { url: \"http://127.0.0.1/\" }\n",
            4 | 14 => text += "    uses: http.request\n    with: { url: \"http://127.0.0.1/\" }\n",
            5 => return "    manual: { text: Look at it. }\n".to_owned(),
            6 => return text,
            7 => return "    uses: decide\n    with:\n      - { then: { found: 1 } }\n".to_owned(),
            8 => {
                let arm = "{ if: \"run.by == 'nobody'\", then: { found: 2 } }";
                return format!("    uses: decide\n    with:\n      - {arm}\n");
            }
            15..=18 => {
                text += "    uses: test.poke\n    with: {}\n";
                knows_undo = true;
            }
            _ => text += "    run: \"true\"\n",
        }
        let get = "uses: http.get, with: { url: \"http://127.0.0.1/\" }";
        let undo = match self.undo {
            1 | 2 => "{ uses: shell, with: { script: \"true\" } }".to_owned(),
            3 => format!("{{ {get} }}"),
            4 | 9 | 10 => {
                "{ uses: shell, with: { script: \"true\" }, retry: { attempts: 3, delay: 3s, jitter: false } }"
                    .to_owned()
            }
            5 => format!(
                "{{ uses: shell, with: {{ script: \"true\" }}, verify: {{ {get}, if: \"outputs.status == 200\" }} }}"
            ),
            6 => "{ run: \"true\", timeout: 5s }".to_owned(),
            7 | 8 if knows_undo => "auto".to_owned(),
            _ => String::new(),
        };
        if !undo.is_empty() {
            let _ = writeln!(text, "    undo: {undo}");
        }
        if !self.again.is_multiple_of(3) {
            text += "    retry: { attempts: 3, delay: 2s, backoff: 2, jitter: true }\n";
        }
        match self.limit {
            9 => text += "    timeout: 30s\n",
            10 | 11 => text += "    timeout: { attempt: 30s, step: 70s }\n",
            _ => {}
        }
        if self.is_loop() {
            return text;
        }
        if self.gives_status() && self.again >= 6 {
            let gives_up = if self.again.is_multiple_of(2) { "fail" } else { "succeed" };
            let _ = writeln!(
                text,
                "    until: {{ if: \"outputs.status == 200\", every: 5s, within: 15s, on_timeout: {gives_up} }}"
            );
        }
        match self.measure {
            1 => text += "    measure: { expires: 60m }\n",
            2 if prefix == 's' => {
                let closing = (index + 1) % count;
                let _ = writeln!(text, "    measure: {{ expires: 60m, closed_by: s{closing} }}");
            }
            3..=5 if prefix == 's' && !undo.is_empty() => {
                let expires = ["10s", "2m", "60m"][usize::from(self.measure) - 3];
                let _ = writeln!(text, "    measure: {{ expires: {expires}, on_expiry: undo }}");
            }
            _ => {}
        }
        text
    }
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

/// An action whose lost tries can be found out about, and that knows its own inverse.
struct Poke;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PokeParams {}

#[derive(Serialize, Deserialize, JsonSchema)]
struct PokeOutput {}

impl Action for Poke {
    const NAME: &'static str = "test.poke";
    const SUMMARY: &'static str = "Changes something that can be looked at.";
    const EFFECT: Effect = Effect::Write;
    const REPLAY: Replay = Replay::Probe;
    const UNDO: Option<&'static str> = Some("puts it back");
    type Params = PokeParams;
    type Output = PokeOutput;

    async fn run(&self, _cx: &ActionContext, _params: PokeParams) -> Result<PokeOutput, ActionError> {
        Ok(PokeOutput {})
    }

    fn describe(&self, _params: &PokeParams) -> Vec<Intent> {
        Vec::new()
    }
}

fn registry() -> Registry {
    runbook::actions::builtin().with(Poke)
}

/// The plan of a runbook; whoever writes a test writes one without mistakes.
pub(crate) fn plan_of(yaml: &str) -> Arc<Plan> {
    plan_calling(yaml, &[])
}

/// The plan of a runbook that calls these others, by file.
pub(crate) fn plan_calling(yaml: &str, called: &[(&str, &str)]) -> Arc<Plan> {
    let load = |name: &str, text: &str| -> Loaded {
        let loaded = runbook::runbook::load(Source::new(name, text)).unwrap_or_else(|e| panic!("{e:#?}\n{text}"));
        assert!(loaded.problems.is_empty(), "{:#?}\n{text}", loaded.problems);
        loaded
    };
    let mut loaded = load("drawn.yaml", yaml);
    loaded.called = called.iter().map(|(name, text)| ((*name).to_owned(), load(name, text))).collect();
    match runbook::plan::build(&loaded, &registry(), &BTreeMap::new()) {
        Ok(plan) => Arc::new(plan),
        Err(problems) => panic!("{problems:#?}\n{yaml}\n{called:#?}"),
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
        "undo: auto",
        "undo: {",
        "verify",
        "at_least: 2",
        "on_timeout: hold",
        "on_timeout: succeed",
        "on_expiry: undo",
        "manual",
        "decide",
        "effect: read",
        "http.request",
        "test.poke",
        "retry",
        "until",
        "closed_by",
        "if:",
        "for_each",
        "at_most: 1",
        "at_most: 3, ramp",
        "fail_after: 50%",
        "in: \"[]",
        "call: drawn-0.yaml",
        "call: drawn-1-0.yaml",
        "timeout: 3m",
        "timeout: { step: 3m }",
        "timeout: { attempt",
    ]
    .into();
    for _ in 0..200 {
        let drawn = sketches().new_tree(&mut runner).expect("the strategy refuses nothing").current().text();
        missing.retain(|word| !drawn.contains(word));
    }
    assert!(missing.is_empty(), "never drawn: {missing:?}");
}
