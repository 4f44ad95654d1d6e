//! What there is to say of a plan, in words: the same for text, Markdown and HTML.

use serde_json::Value;

use crate::action::Intent;
use crate::base::HumanDuration;
use crate::plan::{Fate, PlannedCall, PlannedGate, PlannedLock, PlannedLoop, PlannedStep, Preview, Verdict};
use crate::runbook::OnTimeout;

/// How many items are named.
const ITEMS_SHOWN: usize = 10;

/// One thing to say of a step: what it is about, and the lines.
pub(super) struct Fact {
    pub(super) label: &'static str,
    pub(super) lines: Vec<String>,
}

impl Fact {
    fn new(label: &'static str, line: impl Into<String>) -> Self {
        Self { label, lines: vec![line.into()] }
    }
}

/// `read` or `WRITE`.
pub(super) fn effect(step: &PlannedStep) -> &'static str {
    match step.facts.effect {
        crate::action::Effect::Read => "read",
        crate::action::Effect::Write => "WRITE",
    }
}

/// What becomes of a step, in a few words; nothing for one that simply runs.
pub(super) fn fate(step: &PlannedStep) -> Option<String> {
    let because = step.because.as_deref().unwrap_or_default();
    match step.fate {
        Fate::Runs => None,
        Fate::Open => Some(format!("open: {because}")),
        Fate::Skipped => Some(format!("skipped: {because}")),
        Fate::Supposed => Some("supposed".to_owned()),
        Fate::Read => Some("read live".to_owned()),
    }
}

/// Everything about a step but its name.
pub(super) fn facts(step: &PlannedStep) -> Vec<Fact> {
    let mut facts = Vec::new();
    if !step.needs.is_empty() {
        let needs: Vec<String> = step
            .needs
            .iter()
            .map(|(id, result)| if result == "succeeded" { id.to_string() } else { format!("{id} ({result})") })
            .collect();
        facts.push(Fact::new("after", needs.join(", ")));
    }
    if let Some(condition) = &step.condition {
        let known = match step.verdict {
            Verdict::Always => "  (always: it runs)",
            Verdict::Never => "  (never: it is skipped)",
            Verdict::Open => "  (only the run can tell: it runs, or is skipped with all that needs it)",
        };
        facts.push(Fact::new("if", format!("{condition}{known}")));
    }
    let told_already = step.condition.is_some() && step.verdict != Verdict::Always;
    match (&step.because, step.fate) {
        (Some(because), Fate::Skipped) if step.verdict != Verdict::Never => {
            facts.push(Fact::new("skipped", because.as_str()));
        }
        (Some(because), Fate::Open) if !told_already => {
            facts.push(Fact::new("whether", format!("only the run can tell: {because}")));
        }
        _ => {}
    }
    facts.extend(given(step));
    for arm in &step.arms {
        let condition =
            arm.condition.as_ref().map_or_else(|| "otherwise".to_owned(), |condition| format!("if {condition}"));
        let known = match (arm.chosen, arm.verdict) {
            (true, _) => " (CHOSEN)",
            (_, Verdict::Never) => " (never)",
            (_, Verdict::Always | Verdict::Open) => "",
        };
        facts.push(Fact::new("arm", format!("{condition}{known} -> {}", arm.then)));
    }
    facts.extend(step.gate.as_ref().map(|gate| Fact { label: "gate", lines: gate_lines(gate) }));
    facts.extend(step.for_each.as_ref().map(|each| Fact { label: "for each", lines: loop_lines(each) }));
    let each = step.for_each.as_ref().map(|each| each.each.as_slice()).unwrap_or_default();
    if each.is_empty() {
        facts.extend(step.does.iter().map(|intent| Fact { label: "does", lines: intent_lines(intent) }));
    }
    for item in each {
        let mut lines = vec![format!("for {}:", item.key)];
        lines.extend(item.does.iter().flat_map(intent_lines));
        facts.push(Fact { label: "does", lines });
    }
    facts.extend(step.limits.iter().map(|limit| Fact::new("limit", limit.as_str())));
    if let Some(time) = time(step) {
        facts.push(Fact::new("takes", time));
    }
    if step.allow_failure {
        facts.push(Fact::new("failure", "the run goes on without it"));
    }
    if let Some(measure) = &step.measure {
        let closed = measure.closed_by.as_ref().map_or_else(String::new, |step| format!(", closed by {step}"));
        let undone = if measure.on_expiry.is_some() { ", undone when that is over" } else { "" };
        facts.push(Fact::new("measure", format!("in force for at most {}{closed}{undone}", measure.expires)));
    }
    if step.writes() {
        let mut lines = vec![step.undo.as_deref().unwrap_or("none: what it does stays").to_owned()];
        lines.extend(step.undo_does.iter().flat_map(intent_lines));
        lines.extend(step.undo_limits.iter().cloned());
        facts.push(Fact { label: "undo", lines });
        facts.push(Fact::new("crash", step.after_crash.as_str()));
    } else if step.facts.replay != crate::action::Replay::Safe {
        facts.push(Fact::new("crash", step.after_crash.as_str()));
    }
    facts
}

/// What is taken as given of a step.
fn given(step: &PlannedStep) -> Vec<Fact> {
    let Some(given) = &step.given else { return Vec::new() };
    let mut lines = Vec::new();
    lines.extend(given.read_at.as_ref().map(|at| format!("read at {at}")));
    if let Value::Object(facts) = &given.facts {
        // How it ended comes first, whatever its name.
        let (first, rest): (Vec<_>, Vec<_>) = facts.iter().partition(|(name, _)| *name == "result");
        lines.extend(first.into_iter().chain(rest).map(|(name, value)| format!("{name}: {}", plain(value))));
    }
    lines.extend(given.against.as_ref().map(|against| format!("AGAINST WHAT FOLLOWS: {against}")));
    vec![Fact { label: if given.read_at.is_some() { "read live" } else { "supposed" }, lines }]
}

/// A value as people write it.
pub(super) fn plain(value: &Value) -> String {
    match value {
        Value::Null => "(nothing)".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// How long a step takes: in past runs, else at most.
fn time(step: &PlannedStep) -> Option<String> {
    match (&step.takes, step.at_most) {
        (Some(takes), _) => Some(format!("{} in {}", range(takes), past_runs(takes.runs))),
        (None, Some(most)) => Some(format!("at most {most}")),
        (None, None) => None,
    }
}

fn range(takes: &crate::plan::Takes) -> String {
    if takes.fastest == takes.slowest {
        return takes.median.to_string();
    }
    format!("{} ({} to {})", takes.median, takes.fastest, takes.slowest)
}

fn past_runs(count: usize) -> String {
    if count == 1 { "1 past run".to_owned() } else { format!("{count} past runs") }
}

/// How long the whole takes.
pub(super) fn whole_time(preview: &Preview) -> Vec<String> {
    let mut lines = Vec::new();
    match &preview.takes {
        Some(takes) => lines.push(format!("{} in {} that succeeded", range(takes), past_runs(takes.runs))),
        None => lines.push("no past run to tell by".to_owned()),
    }
    let steps = |count: usize| {
        if count == 1 { "1 step that has none".to_owned() } else { format!("{count} steps that have none") }
    };
    lines.push(match preview.without_limit {
        0 => format!("at most {} by the limits of the file", preview.at_most),
        count if preview.at_most.0.is_zero() => format!(
            "no limit in the file for {}",
            if count == 1 { "its only step that takes time".to_owned() } else { format!("{count} steps") }
        ),
        count => format!("at most {} by the limits of the file, without {}", preview.at_most, steps(count)),
    });
    lines
}

/// Who is asked, how many must agree, and what silence means.
pub(super) fn gate_lines(gate: &PlannedGate) -> Vec<String> {
    let mut by = gate.by.join(", ");
    if by.is_empty() {
        by = "whoever is at the terminal".to_owned();
    }
    if gate.by.iter().any(|who| who.starts_with("group:")) {
        let people =
            if gate.people.is_empty() { "nobody is known to be in it".to_owned() } else { gate.people.join(", ") };
        by = format!("{by} ({people})");
    }
    let other = if gate.not_requester { ", not whoever started the run" } else { "" };
    let silence = match (gate.within, gate.on_timeout) {
        (Some(within), OnTimeout::Reject) => format!("within {within}; silence is a no"),
        _ => "until somebody answers".to_owned(),
    };
    let mut lines = vec![gate.prompt.clone(), format!("{} of {by}{other}, {silence}", gate.at_least)];
    if !gate.asks.is_empty() {
        lines.push(format!("asks for {}", gate.asks.join(", ")));
    }
    lines
}

fn loop_lines(each: &PlannedLoop) -> Vec<String> {
    let key = each.key.as_ref().map_or_else(String::new, |key| format!(", told apart by {key}"));
    let mut lines = vec![format!("{} in {}{key}", each.name, each.list)];
    if let Some(items) = &each.items {
        let more =
            if items.len() > ITEMS_SHOWN { format!(" and {} more", items.len() - ITEMS_SHOWN) } else { String::new() };
        let count = if items.len() == 1 { "1 item".to_owned() } else { format!("{} items", items.len()) };
        let listed = items.iter().take(ITEMS_SHOWN).cloned().collect::<Vec<_>>().join(", ");
        lines.push(format!("{count}: {listed}{more}"));
    }
    lines.extend(each.problem.as_ref().map(|problem| format!("CANNOT BEGIN: {problem}")));
    let at_once = each
        .at_most
        .map_or_else(|| "as many at once as the run allows".to_owned(), |most| format!("at most {most} at once"));
    let ramp = if each.ramp { ", beginning with 1, then 2, then 4" } else { "" };
    let failures = match &each.fail_after {
        Value::String(part) => format!("when {part} of them have failed"),
        count if *count == 1 => "at the first that fails".to_owned(),
        count => format!("when {count} of them have failed"),
    };
    lines.push(format!("{at_once}{ramp}; ends {failures}"));
    lines
}

/// The called runbook, without its steps.
pub(super) fn call_lines(call: &PlannedCall) -> Vec<String> {
    let title = call.title.as_ref().map_or_else(String::new, |title| format!(": {title}"));
    let mut lines = vec![format!("{}{title} ({})", call.runbook, call.file)];
    let width = call.inputs.keys().map(String::len).max().unwrap_or(0);
    lines.extend(call.inputs.iter().map(|(name, value)| format!("{name:width$}  {}", input_text(value))));
    lines.extend(call.problems.iter().map(|problem| format!("CANNOT BEGIN: {problem}")));
    lines.extend(call.secrets.iter().map(|(theirs, ours)| format!("is given the secret {ours} as {theirs}")));
    lines.extend(bounds(&call.locks, call.timeout));
    lines.push(format!("on failure: {}", call.on_failure.as_str().unwrap_or_default()));
    lines
}

/// The value of an input.
pub(super) fn input_text(value: &Value) -> String {
    match value {
        Value::Null => "(not given)".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// What a run holds alone, and how long it may take.
pub(super) fn bounds(locks: &[PlannedLock], timeout: Option<HumanDuration>) -> Vec<String> {
    let held = locks.iter().map(|lock| {
        let wait = lock.wait.map_or_else(|| "at once or not at all".to_owned(), |wait| format!("waits up to {wait}"));
        format!("holds {} alone; {wait}", lock.name)
    });
    held.chain(timeout.map(|timeout| format!("ends after {timeout}"))).collect()
}

/// An intent as lines for people.
pub(in crate::cli) fn intent_lines(intent: &Intent) -> Vec<String> {
    match intent {
        Intent::Request { method, url, body } => {
            let mut lines = vec![format!("{method} {url}")];
            lines.extend(body.as_ref().map(|body| format!("  {body}")));
            lines
        }
        Intent::Process { argv, script, env } => {
            let mut lines = match script {
                Some(script) => {
                    std::iter::once("/bin/sh".to_owned()).chain(script.lines().map(|l| format!("  | {l}"))).collect()
                }
                None => vec![argv.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")],
            };
            if !env.is_empty() {
                lines.push(format!("  with {}", env.join(", ")));
            }
            lines
        }
        Intent::Note { text } => text.lines().map(str::to_owned).collect(),
    }
}

fn quoted(word: &str) -> String {
    let plain = !word.is_empty() && word.chars().all(|c| c.is_alphanumeric() || "-_./:=@%+,‹›".contains(c));
    if plain { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

/// How much is written, and what holds it back.
pub(super) fn radius(preview: &Preview) -> String {
    let radius = &preview.blast_radius;
    if radius.writes == 0 && radius.left_out == 0 {
        return "nothing is written".to_owned();
    }
    let verb = if radius.writes == 1 { "step writes" } else { "steps write" };
    let mut text = format!("{} {verb}", radius.writes);
    if radius.undecided > 0 {
        text.push_str(&format!(", {} of them only the run can decide about", radius.undecided));
    }
    text.push_str(&format!("; {} behind a gate, {} can be undone", radius.behind_gate, radius.undoable));
    if radius.left_out > 0 {
        text.push_str(&format!("; {} left out", radius.left_out));
    }
    text
}

/// How many steps there are, and what follows a failure.
pub(super) fn counts(preview: &Preview) -> String {
    let steps = preview.all_steps();
    let gates = steps.iter().filter(|(_, step)| step.gate.is_some()).count();
    let gates = if gates == 1 { "1 gate".to_owned() } else { format!("{gates} gates") };
    let writes = steps.iter().filter(|(_, step)| step.writes()).count();
    let on_failure = preview.on_failure.as_str().unwrap_or_default();
    format!("{} steps, {writes} of them write, {gates}; on failure: {on_failure}", steps.len())
}
