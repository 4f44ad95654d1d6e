//! Reads what the world and the people say, and objects to what neither could.

use std::time::Duration;

use serde_json::Value;

use super::document::{Answer, Doubt, Filled, Hand, LostBy, Truth, UndoAnswer, Voice, What};
use super::fields::{ANSWER, LOOK, UNDO_ANSWER, VOICE};
use super::outputs::hopes_for;
use super::people::decision;
use super::read::{Found, Reading};
use crate::action::{ActionError, Effect, ErrorKind, Replay};
use crate::base::diagnostic::nearest;
use crate::base::secret::disarm_json;
use crate::base::{Code, Span};
use crate::run::ManualResult;
use crate::runbook::node::{Content, Node};
use crate::runbook::read::Fields;
use crate::runbook::{AskField, Does, Undo};

/// The word for whoever says nothing.
const NOBODY: &str = "nobody";

const TRUTHS: [(&str, Truth); 4] = [
    ("happened", Truth::Happened),
    ("did_not_happen", Truth::DidNotHappen),
    ("again", Truth::Again),
    ("nobody_knows", Truth::NobodyKnows),
];

/// One thing, or a list of them.
fn each(node: &Node) -> &[Node] {
    match &node.content {
        Content::List(items) => items,
        _ => std::slice::from_ref(node),
    }
}

fn is_word(node: &Node, word: &str) -> bool {
    matches!(&node.content, Content::Text(text) if text == word)
}

impl Reading<'_> {
    /// What a step gets, try by try.
    pub(super) fn answers(&mut self, found: Found<'_>, node: &Node) -> Vec<Answer> {
        let id = found.id;
        let refused = match &found.step.does {
            Does::Action { .. } | Does::Manual(_) => None,
            Does::Decide(_) => Some((
                format!("`{id}` decides by itself"),
                "say what the steps give that it looks at; expect its choice under `expect.steps`".to_owned(),
            )),
            Does::Gate => {
                Some((format!("`{id}` is a gate and nothing else"), "say who answers under `gates`".to_owned()))
            }
            Does::Call(_) => Some((
                format!("`{id}` calls a runbook, and gets nothing itself"),
                format!("say what the steps in it get: `{id}/STEP: …`"),
            )),
        };
        if let Some((message, help)) = refused {
            self.reader.error(node.span, Code::ImpossibleResult, message).help = Some(help);
            return Vec::new();
        }
        each(node).iter().filter_map(|node| self.answer(found, node)).collect()
    }

    fn answer(&mut self, found: Found<'_>, node: &Node) -> Option<Answer> {
        let id = found.id;
        let by_hand = matches!(found.step.does, Does::Manual(_));
        if by_hand && is_word(node, NOBODY) {
            return Some(Answer { what: What::ByHand(None), takes: Duration::ZERO, times: 1, checkpoint: None });
        }
        let fields = self.reader.fields(node, &format!("what `{id}` gets"), ANSWER)?;
        let (acts, others): (&[&str], &[&str]) = if by_hand {
            (
                &["evidence", "fails", "skips"],
                &["outputs", "in_doubt", "status", "code", "message", "retry_after", "because", "takes", "checkpoint"],
            )
        } else {
            (&["outputs", "fails", "in_doubt"], &["evidence", "skips", "after"])
        };
        for name in others {
            // The outputs of a failure and of what happened stand beside it.
            if let Some(key) = fields.key(name) {
                let kind = if by_hand { "a person does" } else { "no person does" };
                let message = format!("`{name}` means nothing for `{id}`, which {kind}");
                self.reader.error(key.span, Code::ImpossibleResult, message);
            }
        }
        let told: Vec<&str> = acts.iter().copied().filter(|name| fields.get(name).is_some()).collect();
        let beside = |one: &str| told.iter().all(|name| *name == one || *name == "outputs");
        let is_one = match told.as_slice() {
            [_] => true,
            // `outputs` beside them is what was found all the same.
            [_, _] => !by_hand && (beside("fails") || beside("in_doubt")),
            _ => false,
        };
        if !is_one {
            let words = acts.iter().map(|act| format!("`{act}`")).collect::<Vec<_>>().join(", ");
            let message = format!("what `{id}` gets must be one of {words}");
            self.reader.error(node.span, Code::ImpossibleResult, message);
            return None;
        }
        let times = fields.get("times").and_then(|node| self.reader.count(node, "`times`")).unwrap_or(1);
        if by_hand {
            let hand = self.hand(found, &fields)?;
            return Some(Answer { what: What::ByHand(Some(hand)), takes: Duration::ZERO, times, checkpoint: None });
        }
        let takes = self.time(fields.get("takes"), "`takes`");
        let checkpoint = fields.get("checkpoint").map(clean);
        let what = self.what(found, &fields)?;
        Some(Answer { what, takes, times, checkpoint })
    }

    fn what(&mut self, found: Found<'_>, fields: &Fields<'_>) -> Option<What> {
        if let Some(node) = fields.get("in_doubt") {
            return self.doubt(found, fields, node).map(What::InDoubt);
        }
        for name in ["because", "by"] {
            if let Some(key) = fields.key(name) {
                let message = format!("`{name}` belongs to `in_doubt`, which is not here");
                self.reader.error(key.span, Code::MisplacedKey, message);
            }
        }
        let outputs = fields.get("outputs");
        if let Some(node) = fields.get("fails") {
            let mut error = self.failure(Some(found), fields, node)?;
            let of_failure = self.outputs.of_failure(&mut self.reader, found.of(), outputs, &error);
            error.outputs = of_failure.map(Box::new);
            return Some(What::Fails(error));
        }
        let mut outputs = self.outputs.given(&mut self.reader, found.of(), outputs?)?;
        disarm_json(&mut outputs);
        Some(What::Succeeds(outputs))
    }

    /// A failure of an action. Without a step, that of an undo or of a look.
    fn failure(&mut self, found: Option<Found<'_>>, fields: &Fields<'_>, node: &Node) -> Option<ActionError> {
        let kinds = ErrorKind::ALL.map(|kind| (kind.as_str(), kind));
        let kind = self.reader.word(node, "`fails`", &kinds)?;
        if let ErrorKind::Template | ErrorKind::NotMet | ErrorKind::Cancelled = kind {
            let message = format!("`{kind}` comes from the run itself, never from outside");
            self.reader.error(node.span, Code::ImpossibleResult, message).help = Some(
                match kind {
                    ErrorKind::NotMet => "let the step give outputs with which its `until` does not hold",
                    ErrorKind::Cancelled => "let somebody stop the run: `stop: { after: 5m }`",
                    _ => "let an earlier step give outputs with which the template fails",
                }
                .to_owned(),
            );
            return None;
        }
        let uses = found.and_then(|found| match &found.step.does {
            Does::Action { uses, with } => Some((uses.as_str(), with)),
            _ => None,
        });
        let status_node = fields.get("status");
        let status = match status_node {
            Some(node) => Some(self.status(node)?),
            None => match (uses, kind) {
                (Some(("shell", _)), _) => None,
                (_, ErrorKind::Unauthorized) => Some(401),
                (_, ErrorKind::RateLimited) => Some(429),
                (_, ErrorKind::Server) => Some(500),
                (_, ErrorKind::Rejected) => Some(400),
                _ => None,
            },
        };
        if let (Some(status), Some(at)) = (status, status_node) {
            let means = ErrorKind::of_status(status);
            if kind != means && kind != ErrorKind::InvalidResponse {
                let message = format!("an answer of {status} is `{means}`, not `{kind}`");
                self.reader.error(at.span, Code::ImpossibleResult, message).help =
                    Some(format!("write `fails: {means}`, or leave `status` out"));
            }
        }
        if let (Some((uses @ ("http.get" | "http.request"), with)), Some(status)) = (uses, status)
            && kind != ErrorKind::InvalidResponse
            && hopes_for(with, status) == Some(true)
        {
            let message = format!("this `{uses}` hopes for {status}, so it would have succeeded");
            self.reader.error(status_node.unwrap_or(node).span, Code::ImpossibleResult, message).help =
                Some(format!("write `outputs: {{ status: {status} }}`"));
        }
        let message = fields.get("message").and_then(|node| self.reader.text(node, "`message`"));
        let words = match (kind, status) {
            (_, Some(status)) => format!("the answer was {status}"),
            (ErrorKind::Timeout, _) => "no answer came in time".to_owned(),
            (ErrorKind::Network, _) => "there was no connection".to_owned(),
            _ => format!("it failed: {}", kind.as_str().replace('_', " ")),
        };
        let mut error = ActionError::new(kind, message.unwrap_or(words));
        error.status = status;
        error.code = fields.get("code").and_then(|node| self.reader.text(node, "`code`"));
        let retry_after = fields.get("retry_after").and_then(|node| self.reader.duration(node, "`retry_after`"));
        error.retry_after_ms = retry_after.and_then(|length| u64::try_from(length.0.as_millis()).ok());
        Some(error)
    }

    fn status(&mut self, node: &Node) -> Option<u16> {
        let number = match &node.content {
            Content::Number(number) => number.as_u64().and_then(|number| u16::try_from(number).ok()),
            _ => None,
        };
        let status = number.filter(|status| (100..=599).contains(status));
        if status.is_none() {
            self.reader.error(node.span, Code::InvalidStatus, "`status` must be an HTTP status from 100 to 599");
        }
        status
    }

    fn doubt(&mut self, found: Found<'_>, fields: &Fields<'_>, node: &Node) -> Option<Doubt> {
        let id = found.id;
        let truth = self.reader.word(node, "`in_doubt`", &TRUTHS)?;
        let reasons = [("lost_answer", LostBy::LostAnswer), ("crash", LostBy::Crash)];
        let because = match fields.get("because") {
            Some(node) => self.reader.word(node, "`because`", &reasons)?,
            None => LostBy::LostAnswer,
        };
        let (effect, replay) = self.facts(found);
        let is_repeated = matches!(replay, Replay::Safe | Replay::Keyed);
        if is_repeated && because == LostBy::LostAnswer {
            let why = if effect == Effect::Read { "only looks" } else { "may simply be repeated" };
            let message = format!("`{id}` {why}, so a lost answer leaves nothing in doubt: it is a failure");
            self.reader.error(node.span, Code::ImpossibleResult, message).help =
                Some("write `fails: timeout`; or, if the program is to die, `because: crash`".to_owned());
        } else if is_repeated && truth != Truth::Again {
            let message = format!("nobody is asked what became of `{id}`: doing it again is harmless");
            self.reader.error(node.span, Code::ImpossibleResult, message).help =
                Some("write `in_doubt: again`".to_owned());
        }
        let outputs = match (truth, fields.get("outputs")) {
            (Truth::Happened, Some(node)) => self.outputs.given(&mut self.reader, found.of(), node)?,
            (Truth::Happened, None) => Value::Null,
            (_, Some(node)) => {
                let message = format!("only what happened has outputs, and `{id}` did not");
                self.reader.error(node.span, Code::ImpossibleResult, message).help =
                    Some("leave `outputs` out".to_owned());
                return None;
            }
            (_, None) => Value::Null,
        };
        let by = fields.get("by").and_then(|node| self.person(node, "`by`"));
        Some(Doubt { truth, because, outputs, by: by.unwrap_or_else(|| "user:tester".to_owned()) })
    }

    fn facts(&self, found: Found<'_>) -> (Effect, Replay) {
        let contract = match &found.step.does {
            Does::Action { uses, .. } => self.registry.get(uses).map(|action| action.contract()),
            _ => None,
        };
        match contract {
            Some(_) if found.step.only_reads => (Effect::Read, Replay::Safe),
            Some(contract) => (contract.effect, contract.replay),
            None => (Effect::Read, Replay::Safe),
        }
    }

    fn hand(&mut self, found: Found<'_>, fields: &Fields<'_>) -> Option<Hand> {
        let Does::Manual(manual) = &found.step.does else { return None };
        let by = fields.get("by").and_then(|node| self.person(node, "`by`"));
        let by = by.unwrap_or_else(|| "user:tester".to_owned());
        let after = self.time(fields.get("after"), "`after`");
        let result = if let Some(node) = fields.get("evidence") {
            ManualResult::Done { evidence: self.filled(node, "`evidence`", &manual.evidence) }
        } else if let Some(node) = fields.get("fails") {
            ManualResult::Failed { reason: self.reader.text(node, "`fails`")? }
        } else {
            ManualResult::Skipped { reason: self.reader.text(fields.get("skips")?, "`skips`")? }
        };
        Some(Hand { by, after, result })
    }

    /// What a person fills in, each under a name that is asked for. Whether it fits is for the run to say.
    fn filled(&mut self, node: &Node, what: &str, asked: &indexmap::IndexMap<String, AskField>) -> Filled {
        let mut filled = Filled::new();
        for (key, value) in self.reader.entries(node, what) {
            if !asked.contains_key(&key.text) {
                let near = nearest(&key.text, asked.keys().map(String::as_str));
                let message = format!("nothing called `{}` is asked for", key.text);
                self.reader.error(key.span, Code::UnknownName, message).help =
                    near.map(|near| format!("did you mean `{near}`?"));
                continue;
            }
            filled.insert(key.text.clone(), clean(value));
        }
        filled
    }

    /// Who answers at a gate.
    pub(super) fn voices(&mut self, found: Found<'_>, node: &Node) -> Vec<Voice> {
        let Some(approval) = &found.step.approval else {
            let message = format!("`{}` has no gate", found.id);
            self.reader.error(node.span, Code::ImpossibleResult, message);
            return Vec::new();
        };
        if is_word(node, NOBODY) {
            return Vec::new();
        }
        let mut voices = Vec::new();
        for node in each(node) {
            let what = format!("an answer at the gate of `{}`", found.id);
            if let Content::Text(text) = &node.content {
                let message = format!("{what} must be `{NOBODY}`, or a map with `approve` or `reject`, not `{text}`");
                self.reader.error(node.span, Code::UnknownWord, message).help =
                    nearest(text, [NOBODY]).map(|near| format!("did you mean `{near}`?"));
                continue;
            }
            let Some(fields) = self.reader.fields(node, &what, VOICE) else { continue };
            let (answer, by) = match (fields.get("approve"), fields.get("reject")) {
                (Some(by), None) => (crate::run::Answer::Approve, by),
                (None, Some(by)) => (crate::run::Answer::Reject, by),
                _ => {
                    let message = format!("{what} is either `approve: user:NAME` or `reject: user:NAME`");
                    self.reader.error(node.span, Code::ImpossibleResult, message);
                    continue;
                }
            };
            let Some(by) = self.person(by, "whoever answers") else { continue };
            let answers = fields.get("answers");
            let answers = answers.map(|node| self.filled(node, "`answers`", &approval.ask)).unwrap_or_default();
            let after = self.time(fields.get("after"), "`after`");
            voices.push(Voice { decision: decision(&by, answer, answers), after });
        }
        voices
    }

    /// How undoing a step goes, try by try.
    pub(super) fn undo_answers(&mut self, found: Found<'_>, node: &Node) -> Vec<UndoAnswer> {
        let id = found.id;
        if found.step.undo.is_none() {
            let (message, help) = match &found.step.does {
                Does::Call(_) => (
                    format!("`{id}` is undone by undoing what it called"),
                    Some(format!("say how that goes: `{id}/STEP: done`")),
                ),
                _ => (format!("`{id}` has no undo"), None),
            };
            self.reader.error(node.span, Code::ImpossibleResult, message).help = help;
            return Vec::new();
        }
        each(node).iter().filter_map(|node| self.undo_answer(found, node)).collect()
    }

    fn undo_answer(&mut self, found: Found<'_>, node: &Node) -> Option<UndoAnswer> {
        let id = found.id;
        let done = UndoAnswer { result: Ok(Vec::new()), in_doubt: None, look: None, takes: Duration::ZERO, times: 1 };
        if is_word(node, "done") {
            return Some(done);
        }
        if let Content::Text(text) = &node.content {
            let message = format!("how undoing `{id}` goes must be `done` or a map, not `{text}`");
            self.reader.error(node.span, Code::UnknownWord, message);
            return None;
        }
        let fields = self.reader.fields(node, &format!("how undoing `{id}` goes"), UNDO_ANSWER)?;
        let acts: Vec<&str> =
            ["fails", "in_doubt", "leaves"].into_iter().filter(|name| fields.get(name).is_some()).collect();
        if acts.len() > 1 {
            let message = format!("how undoing `{id}` goes is one of `fails`, `in_doubt` and `leaves`");
            self.reader.error(node.span, Code::ImpossibleResult, message);
            return None;
        }
        let by = fields.get("by").and_then(|node| self.person(node, "`by`"));
        let in_doubt = match fields.get("in_doubt") {
            Some(node) => {
                let truth = self.reader.word(node, "`in_doubt`", &TRUTHS)?;
                self.undo_may_be_doubtful(found, node.span);
                Some((truth, by.unwrap_or_else(|| "user:tester".to_owned())))
            }
            None => None,
        };
        let result = match (fields.get("fails"), fields.get("leaves")) {
            (Some(node), _) => Err(self.failure(None, &fields, node)?),
            (None, Some(node)) => Ok(self.texts(node, "`leaves`")),
            (None, None) => Ok(Vec::new()),
        };
        let look = fields.get("look").and_then(|node| self.look(found, node));
        Some(UndoAnswer {
            result,
            in_doubt,
            look,
            takes: self.time(fields.get("takes"), "`takes`"),
            times: fields.get("times").and_then(|node| self.reader.count(node, "`times`")).unwrap_or(1),
        })
    }

    fn undo_may_be_doubtful(&mut self, found: Found<'_>, span: Span) {
        let replay = match &found.step.undo {
            Some(Undo::Action { uses, .. }) => self.registry.get(uses).map(|action| action.contract().replay),
            _ => Some(Replay::Safe),
        };
        if matches!(replay, Some(Replay::Safe | Replay::Keyed)) {
            let message = format!("the undo of `{}` may simply be repeated, so nothing is in doubt", found.id);
            self.reader.error(span, Code::ImpossibleResult, message).help = Some("write `fails: timeout`".to_owned());
        }
    }

    fn look(&mut self, found: Found<'_>, node: &Node) -> Option<Result<Value, ActionError>> {
        if !matches!(&found.step.undo, Some(Undo::Action { verify: Some(_), .. })) {
            let message = format!("nobody looks after the undo of `{}`: it has no `verify`", found.id);
            self.reader.error(node.span, Code::ImpossibleResult, message);
            return None;
        }
        let fields = self.reader.fields(node, "`look`", LOOK)?;
        match (fields.get("outputs"), fields.get("fails")) {
            (Some(node), None) => self.outputs.of_look(&mut self.reader, found.of(), node).map(Ok),
            (None, Some(node)) => self.failure(None, &fields, node).map(Err),
            _ => {
                let message = "what the look finds is either `outputs` or `fails`";
                self.reader.error(node.span, Code::ImpossibleResult, message);
                None
            }
        }
    }

    /// A text, or a list of them.
    pub(super) fn texts(&mut self, node: &Node, what: &str) -> Vec<String> {
        each(node).iter().filter_map(|node| self.reader.text(node, what)).collect()
    }
}

/// A value from a test file; no reference to a secret may hide in it.
fn clean(node: &Node) -> Value {
    let mut value = node.to_json();
    disarm_json(&mut value);
    value
}
