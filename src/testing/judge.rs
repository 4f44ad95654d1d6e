//! Holds what came of a case against what was expected.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::document::{Case, Effect, ErrorLike, Judged, OfStep, Spot};
use super::driver::{Ended, Played};
use crate::action::{Intent, Registry};
use crate::base::{HumanDuration, Span, StepPath, clock, secret};
use crate::engine::describe;
use crate::run::{Event, Kept, StepRecord, UndoState};
use crate::runbook::StepResult;

/// Something that is not as it should be.
#[derive(Debug)]
pub(super) struct Miss {
    /// Where it is expected.
    pub(super) span: Span,
    /// What is expected.
    pub(super) expected: String,
    /// What is so instead, in a few words.
    pub(super) found: String,
    /// What is so instead, at length.
    pub(super) instead: Option<String>,
}

/// Everything that is not as it should be.
pub(super) fn judge(case: &Case, played: &Played, registry: &Registry) -> Vec<Miss> {
    let Ok(ended) = &played.ended else { return Vec::new() };
    let mut judge = Judge { played, registry, misses: Vec::new() };
    for Spot { value, span } in &case.expect.0 {
        judge.hold(value, *span, *ended);
    }
    judge.misses
}

struct Judge<'j> {
    played: &'j Played,
    registry: &'j Registry,
    misses: Vec<Miss>,
}

impl Judge<'_> {
    fn miss(&mut self, span: Span, expected: impl Into<String>, found: impl Into<String>) {
        self.misses.push(Miss { span, expected: expected.into(), found: found.into(), instead: None });
    }

    fn hold(&mut self, judged: &Judged, span: Span, ended: Ended) {
        let state = &self.played.state;
        match judged {
            Judged::Outcome(wanted) if *wanted != ended => {
                self.miss(
                    span,
                    format!("the run was to end as `{}`", wanted.word()),
                    format!("it ended as `{}`", ended.word()),
                );
            }
            Judged::Exit(wanted) if *wanted != ended.exit() => {
                let found = format!("it is {}: the run ended as `{}`", ended.exit(), ended.word());
                self.miss(span, format!("the exit code was to be {wanted}"), found);
            }
            Judged::Outcome(_) | Judged::Exit(_) => {}
            Judged::Results(wanted, steps) => self.results(*wanted, steps, span),
            Judged::Undone(steps) => {
                let undone = state.records().filter(|(_, record)| matches!(record.undo, Some(UndoState::Undone(_))));
                let found = undone.map(|(path, _)| path.clone()).collect();
                self.whole("undone", steps, found, span);
            }
            Judged::Measures(steps) => {
                let found = state.measures_in_force().into_iter().map(|measure| measure.step).collect();
                self.whole("in force as a measure", steps, found, span);
            }
            Judged::LeftStanding(steps) => {
                let found = state.left_standing().into_iter().map(|left| left.step).collect();
                self.whole("left standing", steps, found, span);
            }
            Judged::Waiting(steps) => {
                let found = if ended == Ended::Waiting {
                    state.waiting_for_people().cloned().collect()
                } else {
                    BTreeSet::new()
                };
                self.whole("waiting for a person", steps, found, span);
            }
            Judged::InDoubt(steps) => {
                let undos = state.records().filter(|(_, record)| record.undo == Some(UndoState::InDoubt));
                let found = state.steps_in_doubt().cloned().chain(undos.map(|(path, _)| path.clone())).collect();
                self.whole("in doubt", steps, found, span);
            }
            Judged::Order(steps) => self.order(steps, act, "begin to act"),
            Judged::UndoOrder(steps) => self.order(steps, undo, "be undone"),
            Judged::Events(events) => self.events(events),
            Judged::Took(least, most) => self.took(*least, *most, span),
            Judged::Step(path, wanted) => self.of_step(path, wanted, span),
            Judged::ReportContains(words) | Judged::ReportLacks(words) => {
                let lacks = matches!(judged, Judged::ReportLacks(_));
                match &self.played.report {
                    None if lacks => {}
                    None => self.miss(span, format!("the report was to contain `{words}`"), "no report was written"),
                    Some(report) if report.contains(words) == lacks => {
                        let (expected, found) =
                            if lacks { ("not to contain", "it does") } else { ("to contain", "it does not") };
                        self.miss(span, format!("the report was {expected} `{words}`"), found);
                    }
                    Some(_) => {}
                }
            }
        }
    }

    fn results(&mut self, wanted: StepResult, steps: &[Spot<StepPath>], span: Span) {
        let words = told(wanted);
        for Spot { value: path, span } in steps {
            let record = self.played.state.record(path);
            if record.and_then(StepRecord::result) != Some(wanted) {
                self.miss(*span, format!("`{path}` was to have {words}"), how_it_is(record));
            }
        }
        let named = |path: &StepPath| steps.iter().any(|spot| spot.value == *path);
        let besides: Vec<String> = self
            .played
            .state
            .records()
            .filter(|(path, record)| is_own(path) && record.result() == Some(wanted) && !named(path))
            .map(|(path, _)| format!("`{path}`"))
            .collect();
        if !besides.is_empty() {
            let found = format!("{} too", besides.join(", "));
            self.miss(span, format!("only these steps were to have {words}"), found);
        }
    }

    fn whole(&mut self, what: &str, wanted: &[StepPath], found: BTreeSet<StepPath>, span: Span) {
        let wanted: BTreeSet<StepPath> = wanted.iter().cloned().collect();
        if wanted != found {
            let expected = match wanted.len() {
                0 => format!("nothing was to be {what}"),
                _ => format!("exactly these were to be {what}"),
            };
            let words = |steps: BTreeSet<&StepPath>| {
                steps.into_iter().map(|step| format!("`{step}`")).collect::<Vec<_>>().join(", ")
            };
            let missing = words(wanted.difference(&found).collect());
            let besides = words(found.difference(&wanted).collect());
            let told = match (missing.is_empty(), besides.is_empty()) {
                (false, false) => format!("{missing} is not; {besides} is"),
                (false, true) => format!("{missing} is not"),
                _ => format!("{besides} is"),
            };
            self.miss(span, expected, told);
        }
    }

    /// Each had ended before the next began.
    fn order(&mut self, steps: &[Spot<StepPath>], of: fn(&Event) -> Option<(&StepPath, Edge)>, what: &str) {
        let mut before: Option<(&StepPath, usize)> = None;
        for Spot { value: path, span } in steps {
            let edges = || {
                self.played.log.iter().enumerate().filter_map(|(index, recorded)| {
                    let (step, edge) = of(&recorded.event)?;
                    (step == path).then_some((index, edge))
                })
            };
            let began = edges().find(|(_, edge)| *edge != Edge::End).map(|(index, _)| index);
            let ended = edges().filter(|(_, edge)| *edge != Edge::Begin).map(|(index, _)| index).next_back();
            let Some(began) = began else {
                self.miss(*span, format!("`{path}` was to {what}"), how_it_is(self.played.state.record(path)));
                return;
            };
            if let Some((earlier, ended)) = before
                && ended >= began
            {
                let expected = format!("`{path}` was to {what} after `{earlier}` had ended");
                self.miss(*span, expected, "it began before that");
            }
            before = Some((path, ended.unwrap_or(usize::MAX)));
        }
    }

    fn events(&mut self, wanted: &[Spot<String>]) {
        let mut left = self.played.log.iter();
        let mut last = "the beginning".to_owned();
        for Spot { value, span } in wanted {
            if !left
                .by_ref()
                .any(|recorded| event_words(&recorded.event) == *value || kind_of(&recorded.event) == *value)
            {
                self.miss(*span, format!("`{value}` was to stand in the log, after {last}"), "it does not");
                return;
            }
            last = format!("`{value}`");
        }
    }

    fn took(&mut self, least: Duration, most: Duration, span: Span) {
        let log = &self.played.log;
        let (Some(first), Some(last)) = (log.first(), log.last()) else { return };
        let took = clock::until(first.at, last.at);
        if took < least || took > most {
            let told = |length| HumanDuration(length).to_string();
            let expected = match (least == most, most == Duration::MAX) {
                (true, _) => format!("the run was to take {}", told(least)),
                (_, true) => format!("the run was to take at least {}", told(least)),
                _ => format!("the run was to take from {} to {}", told(least), told(most)),
            };
            self.miss(span, expected, format!("it took {}", told(took)));
        }
    }

    fn of_step(&mut self, path: &StepPath, wanted: &OfStep, span: Span) {
        let Some(record) = self.played.state.record(path) else {
            let known: Vec<String> = self.known_below(path);
            let found = if known.is_empty() {
                "the run never came to know it".to_owned()
            } else {
                format!("the run knows {}", known.join(", "))
            };
            self.miss(span, format!("`{path}` was to be there"), found);
            return;
        };
        match wanted {
            OfStep::Result(result) => {
                if record.result() != Some(*result) {
                    self.miss(span, format!("`{path}` was to have {}", told(*result)), how_it_is(Some(record)));
                }
            }
            OfStep::Tries(count) => {
                if record.attempts != *count {
                    self.miss(
                        span,
                        format!("`{path}` was to be tried {}", times(*count)),
                        format!("it was tried {}", times(record.attempts)),
                    );
                }
            }
            OfStep::UndoTries(count) => {
                if record.undo_attempts != *count {
                    let found = format!("it was tried {}", times(record.undo_attempts));
                    self.miss(span, format!("the undo of `{path}` was to be tried {}", times(*count)), found);
                }
            }
            OfStep::Outputs(wanted) => self.part("outputs", path, wanted, record.outputs.as_ref(), span),
            OfStep::Params(wanted) => self.part("params", path, wanted, record.params.as_ref(), span),
            OfStep::Does(effect) => {
                let does = self.does(path, record);
                self.effect(&format!("`{path}` was to"), effect, &does, span);
            }
            OfStep::Error(like) => self.error(path, record, like, span),
            OfStep::Because(words) => {
                let cause = record.cause.as_ref().map(|cause| cause.to_string());
                if !cause.as_ref().is_some_and(|cause| cause.contains(words)) {
                    let found = cause.map_or_else(|| how_it_is(Some(record)), |cause| format!("because {cause}"));
                    self.miss(span, format!("`{path}` was to be skipped because of `{words}`"), found);
                }
            }
            OfStep::Met(wanted) => {
                if record.met != Some(*wanted) {
                    let expected = if *wanted { "was to become true" } else { "was not to become true" };
                    let found = match record.met {
                        Some(true) => "it did".to_owned(),
                        Some(false) => "it did not".to_owned(),
                        None => format!("it was never looked at: {}", how_it_is(Some(record))),
                    };
                    self.miss(span, format!("`until` of `{path}` {expected}"), found);
                }
            }
            OfStep::Text(wanted) => {
                let asked = self.last(path, |event| match event {
                    Event::ManualAsked { text, .. } => Some(text.clone()),
                    _ => None,
                });
                self.same(format!("a person was to be asked: {wanted}"), wanted, asked, span);
            }
            OfStep::Prompt(wanted) => {
                let prompt = self.last(path, |event| match event {
                    Event::GateOpened { prompt, .. } => Some(prompt.clone()),
                    _ => None,
                });
                self.same(format!("the gate of `{path}` was to ask: {wanted}"), wanted, prompt, span);
            }
            OfStep::Digest(wanted) => {
                let digest = self.last(path, |event| match event {
                    Event::GateOpened { digest, .. } => Some(digest.to_string()),
                    _ => None,
                });
                if !digest.as_ref().is_some_and(|digest| {
                    digest.starts_with(wanted) || digest.trim_start_matches("sha256:").starts_with(wanted)
                }) {
                    let found = digest
                        .map_or_else(|| "it never opened".to_owned(), |digest| format!("it asked about {digest}"));
                    self.miss(span, format!("the gate of `{path}` was to ask about {wanted}"), found);
                }
            }
            OfStep::Shown(effect) => {
                let does = self.last(path, |event| match event {
                    Event::GateOpened { does, .. } => Some(does.clone()),
                    _ => None,
                });
                match does {
                    Some(does) => {
                        self.effect(&format!("the gate of `{path}` was to show that it would"), effect, &does, span)
                    }
                    None => self.miss(span, format!("the gate of `{path}` was to open"), how_it_is(Some(record))),
                }
            }
            OfStep::Opened(wanted) => {
                let opened = self.count(path, |event| matches!(event, Event::GateOpened { .. }));
                if opened != *wanted {
                    let as_times = |count: usize| times(u32::try_from(count).unwrap_or(u32::MAX));
                    self.miss(
                        span,
                        format!("the gate of `{path}` was to open {}", as_times(*wanted)),
                        format!("it opened {}", as_times(opened)),
                    );
                }
            }
            OfStep::LapsesAfter(wanted) => {
                let stood = self.played.log.iter().rev().find_map(|recorded| match &recorded.event {
                    Event::GateOpened { step, expires, .. } if step == path => {
                        Some(expires.map(|expires| clock::until(recorded.at, expires)))
                    }
                    _ => None,
                });
                if stood != Some(Some(*wanted)) {
                    let found = match stood {
                        None => "it never opened".to_owned(),
                        Some(None) => "it stands for ever".to_owned(),
                        Some(Some(stood)) => format!("it stands for {}", HumanDuration(stood)),
                    };
                    self.miss(
                        span,
                        format!("the question at `{path}` was to stand for {}", HumanDuration(*wanted)),
                        found,
                    );
                }
            }
            OfStep::AnsweredBy(wanted) => {
                let counted = record.decisions.iter().map(|decision| decision.by.clone()).collect();
                self.people(&format!("the answers of exactly these were to count at `{path}`"), wanted, counted, span);
            }
            OfStep::Refused(wanted) => {
                let refused = self.played.refused.iter().filter(|refused| refused.step == *path);
                let refused = refused.map(|refused| refused.by.clone()).collect();
                self.people(
                    &format!("the answers of exactly these were to be refused at `{path}`"),
                    wanted,
                    refused,
                    span,
                );
            }
        }
    }

    fn people(&mut self, expected: &str, wanted: &[String], found: BTreeSet<String>, span: Span) {
        let wanted: BTreeSet<String> = wanted.iter().cloned().collect();
        if wanted != found {
            let found: Vec<String> = found.into_iter().map(|who| format!("`{who}`")).collect();
            let found = if found.is_empty() { "nobody's".to_owned() } else { format!("those of {}", found.join(", ")) };
            self.miss(span, expected, format!("it were {found}"));
        }
    }

    fn error(&mut self, path: &StepPath, record: &StepRecord, like: &ErrorLike, span: Span) {
        let Some(error) = &record.error else {
            self.miss(span, format!("`{path}` was to have failed"), how_it_is(Some(record)));
            return;
        };
        let fits = like.kind.is_none_or(|kind| kind == error.kind)
            && like.status.is_none_or(|status| Some(status) == error.status)
            && like.code.as_ref().is_none_or(|code| Some(code) == error.code.as_ref())
            && like.message.as_ref().is_none_or(|words| error.message.contains(words));
        if !fits {
            let mut found = format!("it failed with `{}`", error.kind);
            found.extend(error.status.map(|status| format!(", status {status}")));
            found.extend(error.code.as_ref().map(|code| format!(", code `{code}`")));
            found.push_str(&format!(": {}", error.message));
            self.miss(span, format!("`{path}` was to have failed otherwise"), found);
        }
    }

    fn part(&mut self, what: &str, path: &StepPath, wanted: &Value, kept: Option<&Kept>, span: Span) {
        let mut found = kept.map(Kept::value).unwrap_or_default();
        show_secrets(&mut found);
        if let Some((at, wanted, found)) = difference(wanted, &found, String::new()) {
            self.miss(span, format!("`{what}{at}` of `{path}` was to be {wanted}"), format!("it is {found}"));
        }
    }

    fn same(&mut self, expected: String, wanted: &str, found: Option<String>, span: Span) {
        if found.as_deref().map(str::trim_end) != Some(wanted.trim_end()) {
            let found = found.map_or_else(|| "nobody was asked".to_owned(), |found| format!("it was: {found}"));
            self.miss(span, expected, found);
        }
    }

    /// What a step did at its first try, as `plan` shows it.
    fn does(&self, path: &StepPath, record: &StepRecord) -> Vec<Intent> {
        match (self.played.state.step(path), &record.params) {
            (Some(step), Some(params)) => describe(self.registry, step, &params.value()),
            _ => Vec::new(),
        }
    }

    fn effect(&mut self, who: &str, effect: &Effect, does: &[Intent], span: Span) {
        if does.iter().any(|intent| effect.is(intent)) {
            return;
        }
        let did: Vec<String> = does.iter().map(words).collect();
        let (found, instead) = match did.as_slice() {
            [] => ("it did nothing", None),
            did => ("it is something else", Some(format!("it is\n{}", did.join("\n")))),
        };
        let (expected, found) = (format!("{who} {}", wanted_words(effect)), found.to_owned());
        self.misses.push(Miss { span, expected, found, instead });
    }

    fn last<T>(&self, path: &StepPath, of: impl Fn(&Event) -> Option<T>) -> Option<T> {
        let about = self.played.log.iter().rev().filter(|recorded| recorded.event.step() == Some(path));
        about.into_iter().find_map(|recorded| of(&recorded.event))
    }

    fn count(&self, path: &StepPath, is: impl Fn(&Event) -> bool) -> usize {
        let about = self.played.log.iter().filter(|recorded| recorded.event.step() == Some(path));
        about.filter(|recorded| is(&recorded.event)).count()
    }

    /// Items and called steps that the run knows and that somebody may have meant.
    fn known_below(&self, path: &StepPath) -> Vec<String> {
        let plain = path.as_str().split(['[', '/']).next().unwrap_or_default();
        let below =
            |known: &&StepPath| known.as_str().strip_prefix(plain).is_some_and(|rest| rest.starts_with(['[', '/']));
        let known = self.played.state.records().map(|(known, _)| known).filter(below);
        known.take(8).map(|known| format!("`{known}`")).collect()
    }
}

/// Where an event stands in what a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edge {
    Begin,
    End,
    Both,
}

fn act(event: &Event) -> Option<(&StepPath, Edge)> {
    Some(match event {
        Event::AttemptStarted { step, .. }
        | Event::ManualAsked { step, .. }
        | Event::LoopBegan { step, .. }
        | Event::CallBegan { step, .. }
        | Event::GateOpened { step, .. } => (step, Edge::Begin),
        Event::Decided { step, .. } | Event::StepFailed { step, .. } => (step, Edge::Both),
        Event::AttemptFinished { step, .. }
        | Event::ManualAnswered { step, .. }
        | Event::StepReturned { step, .. }
        | Event::GateAnswered { step, .. }
        | Event::DoubtResolved { step, undo: false, .. } => (step, Edge::End),
        _ => return None,
    })
}

fn undo(event: &Event) -> Option<(&StepPath, Edge)> {
    match event {
        Event::UndoStarted { step, .. } => Some((step, Edge::Begin)),
        Event::UndoFinished { step, .. } => Some((step, Edge::End)),
        _ => None,
    }
}

/// Is it a step of the runbook itself?
fn is_own(path: &StepPath) -> bool {
    !path.as_str().contains(['/', '['])
}

/// The name of an event in a log.
pub(super) fn kind_of(event: &Event) -> String {
    let json = serde_json::to_value(event).unwrap_or_default();
    json.get("type").and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// An event as a test names it: its name and its step.
fn event_words(event: &Event) -> String {
    match event.step() {
        Some(step) => format!("{} {step}", kind_of(event)),
        None => kind_of(event),
    }
}

fn told(result: StepResult) -> &'static str {
    match result {
        StepResult::Succeeded => "succeeded",
        StepResult::Failed => "failed",
        StepResult::Skipped => "been skipped",
        StepResult::Rejected => "been rejected",
    }
}

fn how_it_is(record: Option<&StepRecord>) -> String {
    let Some(record) = record else { return "the run never came to know it".to_owned() };
    let why = match (&record.cause, &record.error) {
        (Some(cause), _) => format!(": {cause}"),
        (None, Some(error)) => format!(": {}", error.message),
        (None, None) => String::new(),
    };
    match record.result() {
        Some(StepResult::Succeeded) => "it succeeded".to_owned(),
        Some(StepResult::Failed) => format!("it failed{why}"),
        Some(StepResult::Skipped) => format!("it was skipped{why}"),
        Some(StepResult::Rejected) => "it was rejected".to_owned(),
        None => format!("it has not ended{why}"),
    }
}

fn times(count: u32) -> String {
    match count {
        0 => "never".to_owned(),
        1 => "once".to_owned(),
        2 => "twice".to_owned(),
        many => format!("{many} times"),
    }
}

fn words(intent: &Intent) -> String {
    match intent {
        Intent::Request { method, url, body: None } => format!("{method} {url}"),
        Intent::Request { method, url, body: Some(body) } => format!("{method} {url} with {body}"),
        Intent::Process { argv, script: None, env } => format!("{argv:?}{}", of_env(env)),
        Intent::Process { script: Some(script), env, .. } => format!("{script:?}{}", of_env(env)),
        Intent::Note { text } => text.clone(),
    }
}

fn of_env(env: &[String]) -> String {
    if env.is_empty() { String::new() } else { format!(" with {}", env.join(", ")) }
}

fn wanted_words(effect: &Effect) -> String {
    match effect {
        Effect::Request { method, url, body } => {
            let mut words = format!("send {}", method.as_deref().unwrap_or("a request"));
            words.extend(url.as_ref().map(|url| format!(" {url}")));
            words.extend(body.as_ref().map(|body| format!(" with {body}")));
            words
        }
        Effect::Argv(argv) => format!("run {argv:?}"),
        Effect::Script(script) => format!("run {script:?}"),
        Effect::Env(names) => format!("run something with exactly {}", names.join(", ")),
    }
}

/// Where two values differ: at what the first one names.
fn difference(wanted: &Value, found: &Value, at: String) -> Option<(String, Value, Value)> {
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => wanted.iter().find_map(|(name, wanted)| {
            difference(wanted, found.get(name).unwrap_or(&Value::Null), format!("{at}.{name}"))
        }),
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => one
            .iter()
            .zip(other)
            .enumerate()
            .find_map(|(index, (one, other))| difference(one, other, format!("{at}[{index}]"))),
        _ => (wanted != found).then(|| (at, wanted.clone(), found.clone())),
    }
}

/// Puts readable names in the place of references to secrets.
fn show_secrets(value: &mut Value) {
    match value {
        Value::String(text) => *text = secret::shown(text),
        Value::Array(items) => items.iter_mut().for_each(show_secrets),
        Value::Object(map) => map.values_mut().for_each(show_secrets),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_named_may_be_anything() {
        let found = json!({ "a": 1, "b": { "c": [1, { "d": "x", "e": 2 }] } });
        assert_eq!(difference(&json!({ "b": { "c": [1, { "d": "x" }] } }), &found, String::new()), None);
        let (at, wanted, is) = difference(&json!({ "b": { "c": [1, { "d": "y" }] } }), &found, String::new()).unwrap();
        assert_eq!((at.as_str(), wanted, is), (".b.c[1].d", json!("y"), json!("x")));
        // A list is the whole list, and a name that is missing is nothing.
        assert!(difference(&json!({ "b": { "c": [1] } }), &found, String::new()).is_some());
        assert_eq!(difference(&json!({ "z": null }), &found, String::new()), None);
    }
}
