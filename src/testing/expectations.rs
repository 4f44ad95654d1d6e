//! Reads what must come of a case.

use std::time::Duration;

use serde_json::Value;

use super::document::{Effect, ErrorLike, Expect, Judged, OfStep, Spot};
use super::driver::Ended;
use super::fields::{ERROR_EXPECT, EXPECT, GATE_EXPECT, REPORT_EXPECT, REQUEST, STEP_EXPECT, TOOK};
use super::read::{Found, Reading};
use crate::action::ErrorKind;
use crate::base::diagnostic::nearest;
use crate::base::{Code, Span, StepPath};
use crate::runbook::StepResult;
use crate::runbook::node::{Content, Node};
use crate::runbook::read::Fields;

/// The events that a run log holds, by the names they have there.
const EVENTS: [&str; 27] = [
    "run_started",
    "run_resumed",
    "step_forced",
    "step_skipped",
    "step_failed",
    "decided",
    "gate_opened",
    "gate_answered",
    "manual_asked",
    "manual_answered",
    "loop_began",
    "call_began",
    "step_returned",
    "attempt_started",
    "checkpoint",
    "attempt_finished",
    "timer_fired",
    "doubt_asked",
    "doubt_resolved",
    "cancel_requested",
    "measure_extended",
    "measure_closed",
    "undo_requested",
    "rollback_began",
    "undo_started",
    "undo_finished",
    "finally_began",
];
/// The one that stands in no list above because it has no step and ends everything.
const LAST_EVENT: &str = "run_finished";

/// Two fields of the same kind, and what each of them makes of its value.
type Named<From, To> = [(&'static str, fn(From) -> To); 2];

const RESULTS: [(&str, StepResult); 4] = [
    ("succeeded", StepResult::Succeeded),
    ("failed", StepResult::Failed),
    ("skipped", StepResult::Skipped),
    ("rejected", StepResult::Rejected),
];

impl Reading<'_> {
    /// What must come of a case.
    pub(super) fn expect(&mut self, node: &Node) -> Expect {
        let Some(fields) = self.reader.fields(node, "`expect`", EXPECT) else { return Expect::default() };
        let mut found = Vec::new();
        let mut add = |span: Span, judged: Judged| found.push(Spot { value: judged, span });
        if let Some(node) = fields.get("outcome") {
            let words: Vec<(&str, Ended)> = Ended::WORDS.into_iter().zip(Ended::ALL).collect();
            if let Content::Text(word) = &node.content
                && let Some((_, ended)) = words.iter().find(|(known, _)| known == word)
            {
                add(node.span, Judged::Outcome(*ended));
            } else {
                let text = self.reader.text(node, "`outcome`").unwrap_or_default();
                let near = nearest(&text, Ended::WORDS).map(|near| format!("did you mean `{near}`?"));
                self.reader.error(node.span, Code::UnknownOutcome, format!("no run ends as `{text}`")).help =
                    near.or_else(|| Some(format!("outcomes: {}", Ended::WORDS.join(", "))));
            }
        }
        if let Some(node) = fields.get("exit") {
            let codes: Vec<u8> = Ended::ALL.into_iter().map(Ended::exit).collect();
            let code = match &node.content {
                Content::Number(number) => number.as_u64().and_then(|number| u8::try_from(number).ok()),
                _ => None,
            };
            match code.filter(|code| codes.contains(code)) {
                Some(code) => add(node.span, Judged::Exit(code)),
                None => {
                    let told = codes.iter().map(u8::to_string).collect::<std::collections::BTreeSet<_>>();
                    let told = told.into_iter().collect::<Vec<_>>().join(", ");
                    self.reader.error(node.span, Code::WrongType, format!("a run ends with one of {told}"));
                }
            }
        }
        for (name, result) in RESULTS {
            if let Some(node) = fields.get(name) {
                let steps = self.steps(node, &format!("`{name}`"));
                add(node.span, Judged::Results(result, steps));
            }
        }
        let plain = |steps: Vec<Spot<StepPath>>| steps.into_iter().map(|spot| spot.value).collect::<Vec<_>>();
        type Make = fn(Vec<StepPath>) -> Judged;
        let whole: [(&str, Make); 5] = [
            ("undone", Judged::Undone),
            ("measures", Judged::Measures),
            ("left_standing", Judged::LeftStanding),
            ("waiting", Judged::Waiting),
            ("in_doubt", Judged::InDoubt),
        ];
        for (name, make) in whole {
            if let Some(node) = fields.get(name) {
                add(node.span, make(plain(self.steps(node, &format!("`{name}`")))));
            }
        }
        if let Some(node) = fields.get("order") {
            add(node.span, Judged::Order(self.steps(node, "`order`")));
        }
        if let Some(node) = fields.get("undo_order") {
            add(node.span, Judged::UndoOrder(self.steps(node, "`undo_order`")));
        }
        if let Some(node) = fields.get("events") {
            add(node.span, Judged::Events(self.events(node)));
        }
        if let Some(node) = fields.get("took")
            && let Some((least, most)) = self.took(node)
        {
            add(node.span, Judged::Took(least, most));
        }
        if let Some(node) = fields.get("report")
            && let Some(fields) = self.reader.fields(node, "`report`", REPORT_EXPECT)
        {
            let ways: Named<String, Judged> = [("contains", Judged::ReportContains), ("lacks", Judged::ReportLacks)];
            for (name, make) in ways {
                let Some(node) = fields.get(name) else { continue };
                let items = match &node.content {
                    Content::List(items) => items.as_slice(),
                    _ => std::slice::from_ref(node),
                };
                for item in items {
                    if let Some(text) = self.reader.text(item, &format!("`{name}`")) {
                        add(item.span, make(text));
                    }
                }
            }
        }
        if let Some(node) = fields.get("steps") {
            for (key, node) in self.reader.entries(node, "`steps`") {
                let Some((path, of)) = self.step(&key.text, key.span) else { continue };
                for spot in self.of_step(of, node) {
                    add(spot.span, Judged::Step(path.clone(), spot.value));
                }
            }
        }
        Expect(found)
    }

    fn steps(&mut self, node: &Node, what: &str) -> Vec<Spot<StepPath>> {
        let mut found = Vec::new();
        for item in self.reader.list(node, what) {
            let Some(text) = self.reader.text(item, what) else { continue };
            if let Some((path, _)) = self.step(&text, item.span) {
                found.push(Spot { value: path, span: item.span });
            }
        }
        found
    }

    fn events(&mut self, node: &Node) -> Vec<Spot<String>> {
        let mut found = Vec::new();
        for item in self.reader.list(node, "`events`") {
            let Some(text) = self.reader.text(item, "an event") else { continue };
            let (kind, step) = text.split_once(' ').map_or((text.as_str(), None), |(kind, step)| (kind, Some(step)));
            let known = || EVENTS.into_iter().chain([LAST_EVENT]);
            if !known().any(|event| event == kind) {
                let message = format!("no event is called `{kind}`");
                let near = nearest(kind, known()).map(|near| format!("did you mean `{near}`?"));
                self.reader.error(item.span, Code::UnknownWord, message).help =
                    near.or_else(|| Some("`docs/run-log.md` has them all; write `TYPE` or `TYPE STEP`".to_owned()));
                continue;
            }
            if step.is_none_or(|step| self.step(step, item.span).is_some()) {
                found.push(Spot { value: text, span: item.span });
            }
        }
        found
    }

    fn took(&mut self, node: &Node) -> Option<(Duration, Duration)> {
        if !matches!(node.content, Content::Map(_)) {
            let exactly = self.reader.duration(node, "`took`")?.0;
            return Some((exactly, exactly));
        }
        let fields = self.reader.fields(node, "`took`", TOOK)?;
        let least = self.time(fields.get("at_least"), "`at_least`");
        let most = fields.get("at_most").and_then(|node| self.reader.duration(node, "`at_most`"));
        Some((least, most.map_or(Duration::MAX, |most| most.0)))
    }

    fn of_step(&mut self, found: Found<'_>, node: &Node) -> Vec<Spot<OfStep>> {
        let id = found.id;
        let Some(fields) = self.reader.fields(node, &format!("what is expected of `{id}`"), STEP_EXPECT) else {
            return Vec::new();
        };
        let mut wanted = Vec::new();
        let mut add = |span: Span, value: OfStep| wanted.push(Spot { value, span });
        if let Some(node) = fields.get("result")
            && let Some(result) = self.reader.word(node, "`result`", &RESULTS)
        {
            add(node.span, OfStep::Result(result));
        }
        let counts: Named<u32, OfStep> = [("tries", OfStep::Tries), ("undo_tries", OfStep::UndoTries)];
        for (name, make) in counts {
            if let Some(node) = fields.get(name)
                && let Some(count) = self.number(node, name)
            {
                add(node.span, make(count));
            }
        }
        let values: Named<Value, OfStep> = [("outputs", OfStep::Outputs), ("params", OfStep::Params)];
        for (name, make) in values {
            if let Some(node) = fields.get(name) {
                add(node.span, make(node.to_json()));
            }
        }
        for (span, effect) in self.effects(&fields) {
            add(span, OfStep::Does(effect));
        }
        if let Some(node) = fields.get("error")
            && let Some(error) = self.error_like(node)
        {
            add(node.span, OfStep::Error(error));
        }
        let texts: Named<String, OfStep> = [("because", OfStep::Because), ("text", OfStep::Text)];
        for (name, make) in texts {
            if let Some(node) = fields.get(name)
                && let Some(text) = self.reader.text(node, &format!("`{name}`"))
            {
                add(node.span, make(text));
            }
        }
        if let Some(node) = fields.get("met")
            && let Some(met) = self.reader.boolean(node, "`met`")
        {
            if found.step.until.is_none() {
                let message = format!("`{id}` has no `until` that could be met");
                self.reader.error(node.span, Code::UnknownName, message);
            }
            add(node.span, OfStep::Met(met));
        }
        if let Some(node) = fields.get("gate") {
            wanted.extend(self.gate(found, node));
        }
        wanted
    }

    fn gate(&mut self, found: Found<'_>, node: &Node) -> Vec<Spot<OfStep>> {
        if found.step.approval.is_none() {
            self.reader.error(node.span, Code::UnknownName, format!("`{}` has no gate", found.id));
            return Vec::new();
        }
        let Some(fields) = self.reader.fields(node, "`gate`", GATE_EXPECT) else { return Vec::new() };
        let mut wanted = Vec::new();
        let mut add = |span: Span, value: OfStep| wanted.push(Spot { value, span });
        let texts: Named<String, OfStep> = [("prompt", OfStep::Prompt), ("digest", OfStep::Digest)];
        for (name, make) in texts {
            if let Some(node) = fields.get(name)
                && let Some(text) = self.reader.text(node, &format!("`{name}`"))
            {
                add(node.span, make(text));
            }
        }
        for (span, effect) in self.effects(&fields) {
            add(span, OfStep::Shown(effect));
        }
        if let Some(node) = fields.get("opened")
            && let Some(count) = self.number(node, "opened")
        {
            add(node.span, OfStep::Opened(usize::try_from(count).unwrap_or(usize::MAX)));
        }
        if let Some(node) = fields.get("lapses_after")
            && let Some(length) = self.reader.duration(node, "`lapses_after`")
        {
            add(node.span, OfStep::LapsesAfter(length.0));
        }
        let people: Named<Vec<String>, OfStep> = [("answered_by", OfStep::AnsweredBy), ("refused", OfStep::Refused)];
        for (name, make) in people {
            if let Some(node) = fields.get(name) {
                let what = format!("`{name}`");
                let items = self.reader.list(node, &what);
                let named = items.iter().filter_map(|item| self.person(item, &what)).collect();
                add(node.span, make(named));
            }
        }
        wanted
    }

    /// What must be done or shown: `request`, `argv`, `script` and `env` of some fields.
    fn effects(&mut self, fields: &Fields<'_>) -> Vec<(Span, Effect)> {
        let mut effects = Vec::new();
        if let Some(node) = fields.get("request")
            && let Some(effect) = self.request(node)
        {
            effects.push((node.span, effect));
        }
        let lists: Named<Vec<String>, Effect> = [("argv", Effect::Argv), ("env", Effect::Env)];
        for (name, make) in lists {
            if let Some(node) = fields.get(name) {
                effects.push((node.span, make(self.reader.texts(node, &format!("`{name}`")))));
            }
        }
        if let Some(node) = fields.get("script")
            && let Some(script) = self.reader.text(node, "`script`")
        {
            effects.push((node.span, Effect::Script(script)));
        }
        effects
    }

    fn request(&mut self, node: &Node) -> Option<Effect> {
        if let Content::Text(text) = &node.content {
            let Some((method, url)) = text.split_once(' ') else {
                let message = format!("`{text}` is no request");
                self.reader.error(node.span, Code::UnknownRequest, message).help =
                    Some("write method and address: `GET https://…`".to_owned());
                return None;
            };
            let (method, url) = (Some(method.to_owned()), Some(url.trim().to_owned()));
            return Some(Effect::Request { method, url, body: None });
        }
        let fields = self.reader.fields(node, "`request`", REQUEST)?;
        let method = fields.get("method").and_then(|node| self.reader.text(node, "`method`"));
        let url = fields.get("url").and_then(|node| self.reader.text(node, "`url`"));
        Some(Effect::Request { method, url, body: fields.get("body").map(Node::to_json) })
    }

    fn error_like(&mut self, node: &Node) -> Option<ErrorLike> {
        let kinds = ErrorKind::ALL.map(|kind| (kind.as_str(), kind));
        if !matches!(node.content, Content::Map(_)) {
            return Some(ErrorLike { kind: Some(self.reader.word(node, "`error`", &kinds)?), ..ErrorLike::default() });
        }
        let fields = self.reader.fields(node, "`error`", ERROR_EXPECT)?;
        let status = fields.get("status").and_then(|node| self.number(node, "status"));
        Some(ErrorLike {
            kind: fields.get("kind").and_then(|node| self.reader.word(node, "`kind`", &kinds)),
            status: status.and_then(|status| u16::try_from(status).ok()),
            code: fields.get("code").and_then(|node| self.reader.text(node, "`code`")),
            message: fields.get("message").and_then(|node| self.reader.text(node, "`message`")),
        })
    }

    fn number(&mut self, node: &Node, name: &str) -> Option<u32> {
        let number = match &node.content {
            Content::Number(number) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
            _ => None,
        };
        if number.is_none() {
            self.reader.error(node.span, Code::WrongType, format!("`{name}` must be a whole number from 0"));
        }
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_of_a_run_log_can_be_expected() {
        let code = include_str!("../run/event.rs");
        let body = code.split("pub enum Event {").nth(1).unwrap().split("\n}\n").next().unwrap();
        let mut names: Vec<String> = Vec::new();
        for line in body.lines().filter_map(|line| line.strip_prefix("    ")) {
            if line.starts_with(|c: char| c.is_ascii_uppercase()) {
                let mut name = String::new();
                for c in line.trim_end_matches([' ', '{', ',']).chars() {
                    if c.is_ascii_uppercase() && !name.is_empty() {
                        name.push('_');
                    }
                    name.push(c.to_ascii_lowercase());
                }
                names.push(name);
            }
        }
        let known: Vec<&str> = EVENTS.into_iter().chain([LAST_EVENT]).collect();
        assert_eq!(names, known);
    }
}
