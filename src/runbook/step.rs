//! Reads the steps of a file: what each waits for, asks, repeats and undoes.

use std::collections::BTreeMap;

use indexmap::IndexMap;
use serde_json::Value;

use super::document::{
    Approval, Backoff, Does, FailAfter, ForEach, GivingUp, Measure, Need, OnExpiry, OnTimeout, Retry, Step, StepResult,
    Templated, Undo, Until, Verify,
};
use super::fields;
use super::mend;
use super::node::{Content, Node};
use super::read::{Fields, Reader};
use super::template::{Expression, has_braces};
use crate::base::diagnostic::nearest;
use crate::base::{Code, Diagnostic, HumanDuration, Severity, Span, StepId};

impl Reader<'_> {
    pub(super) fn steps(&mut self, node: &Node, what: &str) -> IndexMap<StepId, Step> {
        let entries = self.entries(node, what);
        let mut steps = IndexMap::with_capacity(entries.len());
        for (key, node) in entries {
            let id = StepId::new(&key.text).map_err(|error| {
                let mended: String =
                    key.text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
                let problem =
                    self.error(key.span, Code::InvalidName, format!("`{}` cannot be a step's id: {error}", key.text));
                if StepId::new(&mended).is_ok() && mended != key.text {
                    problem.help = Some(format!("write `{mended}`"));
                }
            });
            let step = self.step(node, &key.text);
            if let (Ok(id), Some(step)) = (id, step) {
                steps.insert(id, step);
            }
        }
        steps
    }

    fn step(&mut self, node: &Node, id: &str) -> Option<Step> {
        let what = format!("step `{id}`");
        let known = self.fields(node, &what, fields::STEP)?;
        let does = self.does(&known, &what);
        let (timeout, deadline) = known.get("timeout").map(|node| self.timeout(node, &what)).unwrap_or_default();
        let step = Step {
            title: self.optional_text(&known, "title"),
            needs: known.get("needs").map(|node| self.needs(node, &what)).unwrap_or_default(),
            condition: known.get("if").and_then(|node| self.expression(node, "`if`")),
            approval: known.get("approval").and_then(|node| self.approval(node, &what)).map(Box::new),
            allow_failure: self.optional_flag(&known, "allow_failure"),
            for_each: known.get("for_each").and_then(|node| self.for_each(node, &what)).map(Box::new),
            timeout,
            deadline,
            retry: known.get("retry").and_then(|node| self.retry(node, &what)).map(Box::new),
            until: known.get("until").and_then(|node| self.until(node, &what)).map(Box::new),
            undo: known.get("undo").and_then(|node| self.undo(node, &what)),
            measure: known.get("measure").and_then(|node| self.measure(node, &what)).map(Box::new),
            only_reads: known
                .get("effect")
                .and_then(|node| self.word(node, "`effect`", &[("read", true), ("write", false)]))
                .unwrap_or(false),
            does: does?,
        };
        self.check_company(&step, &known, &what);
        Some(step)
    }

    fn optional_flag(&mut self, fields: &Fields<'_>, name: &str) -> bool {
        fields.get(name).and_then(|node| self.boolean(node, &format!("`{name}`"))).unwrap_or(false)
    }

    fn needs(&mut self, node: &Node, what: &str) -> IndexMap<StepId, Need> {
        let mut needs = IndexMap::new();
        let results = [
            ("succeeded", Some(StepResult::Succeeded)),
            ("failed", Some(StepResult::Failed)),
            ("skipped", Some(StepResult::Skipped)),
            ("rejected", Some(StepResult::Rejected)),
            ("finished", None),
        ];
        match &node.content {
            Content::List(items) => {
                let mut seen: BTreeMap<StepId, Span> = BTreeMap::new();
                for (index, item) in items.iter().enumerate() {
                    let Some(id) = self.needed(item, what) else { continue };
                    if let Some(first) = seen.get(&id).copied() {
                        let before = index.checked_sub(1).map(|before| &items[before]);
                        let fix = before.and_then(|before| mend::without_item(self.source, before, item));
                        let message = format!("{what} needs `{id}` twice");
                        let problem = self.error(item.span, Code::DuplicateKey, message);
                        problem.severity = Severity::Warning;
                        problem.related.push((first, "first given here".to_owned()));
                        problem.help = Some("keep one of the two".to_owned());
                        problem.fix = fix;
                    }
                    seen.entry(id.clone()).or_insert(item.span);
                    needs.insert(id, Need::success());
                }
            }
            Content::Map(_) => {
                for (key, node) in self.entries(node, &format!("`needs` of {what}")) {
                    let Ok(id) = StepId::new(&key.text) else {
                        self.error(
                            key.span,
                            Code::UnknownStep,
                            format!("{what} needs `{}`, which does not exist", key.text),
                        );
                        continue;
                    };
                    let wanted: Vec<Option<StepResult>> = match &node.content {
                        Content::List(items) => {
                            items.iter().filter_map(|item| self.word(item, "a needed result", &results)).collect()
                        }
                        _ => self.word(node, "a needed result", &results).into_iter().collect(),
                    };
                    let need =
                        if wanted.contains(&None) { Need::any() } else { Need(wanted.into_iter().flatten().collect()) };
                    needs.insert(id, need);
                }
            }
            _ => {
                self.error(node.span, Code::WrongType, format!("`needs` of {what} must be a list or a map")).help =
                    Some("write `needs: [step]` or `needs: { step: finished }`".to_owned());
            }
        }
        needs
    }

    fn needed(&mut self, node: &Node, what: &str) -> Option<StepId> {
        let text = self.text(node, "a needed step")?;
        StepId::new(&text)
            .map_err(|_| {
                self.error(node.span, Code::UnknownStep, format!("{what} needs `{text}`, which does not exist"));
            })
            .ok()
    }

    fn approval(&mut self, node: &Node, what: &str) -> Option<Approval> {
        let known = self.fields(node, &format!("`approval` of {what}"), fields::APPROVAL)?;
        let Some(prompt) = known.get("prompt") else {
            self.error(known.span, Code::MissingKey, format!("`approval` of {what} has no `prompt`")).help =
                Some("ask the question: `prompt: \"…?\"`".to_owned());
            return None;
        };
        let prompt = self.template(prompt, "`prompt`")?;
        let by = known.get("by").map(|node| self.texts(node, "`by`")).unwrap_or_default();
        if let Some(node) = known.get("by") {
            for (index, who) in by.iter().enumerate() {
                let named = who
                    .split_once(':')
                    .is_some_and(|(kind, name)| ["user", "group"].contains(&kind) && !name.is_empty());
                if !named {
                    let span = node.at(&[&index.to_string()]).span;
                    self.error(span, Code::InvalidApprover, format!("`{who}` names nobody")).help =
                        Some("write `user:NAME` or `group:NAME`".to_owned());
                }
            }
        }
        let holds = known.get("on_timeout").is_some_and(|node| node.content == Content::Text("hold".to_owned()));
        if let Some(key) = known.key("within").filter(|_| holds) {
            self.error(key.span, Code::MisplacedKey, "`within` has no meaning beside `on_timeout: hold`").help =
                Some("a question that never lapses has no time; take one of the two away".to_owned());
        }
        Some(Approval {
            prompt,
            by,
            at_least: known.get("at_least").and_then(|node| self.count(node, "`at_least`")).unwrap_or(1),
            not_requester: self.optional_flag(&known, "not_requester"),
            within: known.get("within").and_then(|node| self.duration(node, "`within`")),
            on_timeout: known
                .get("on_timeout")
                .and_then(|node| {
                    if node.content == Content::Text("approve".to_owned()) {
                        self.error(node.span, Code::SilentConsent, "silence is never consent").help =
                            Some("write `on_timeout: reject` or `on_timeout: hold`".to_owned());
                        return None;
                    }
                    self.word(node, "`on_timeout`", &[("reject", OnTimeout::Reject), ("hold", OnTimeout::Hold)])
                })
                .unwrap_or_default(),
            ask: self.asked(&known, "ask", "question"),
        })
    }

    fn retry(&mut self, node: &Node, what: &str) -> Option<Retry> {
        let known = self.fields(node, &format!("`retry` of {what}"), fields::RETRY)?;
        let Some(attempts) = known.get("attempts") else {
            self.error(known.span, Code::MissingKey, format!("`retry` of {what} has no `attempts`")).help =
                Some("say how many tries in all: `attempts: 3`".to_owned());
            return None;
        };
        let attempts = self.count(attempts, "`attempts`")?;
        let backoff = match known.get("backoff") {
            None => Backoff(2000),
            Some(node) => match &node.content {
                Content::Number(number) => match thousandths(number) {
                    Some(factor @ 1000..) => Backoff(factor),
                    _ => {
                        self.error(node.span, Code::WrongType, "`backoff` must be a number from 1").help =
                            Some("`2` doubles each wait, `1` keeps it".to_owned());
                        return None;
                    }
                },
                _ => {
                    self.error(node.span, Code::WrongType, "`backoff` must be a number from 1").help =
                        Some("`2` doubles each wait, `1` keeps it".to_owned());
                    return None;
                }
            },
        };
        Some(Retry {
            attempts,
            delay: match known.get("delay") {
                Some(node) => self.duration(node, "`delay`")?,
                None => HumanDuration(std::time::Duration::from_secs(1)),
            },
            backoff,
            max_delay: known.get("max_delay").and_then(|node| self.duration(node, "`max_delay`")),
            jitter: known.get("jitter").and_then(|node| self.boolean(node, "`jitter`")).unwrap_or(true),
            on: known.get("on").map(|node| self.texts(node, "`on`")).unwrap_or_default(),
        })
    }

    fn until(&mut self, node: &Node, what: &str) -> Option<Until> {
        let known = self.fields(node, &format!("`until` of {what}"), fields::UNTIL)?;
        for name in ["if", "every", "within"] {
            if known.get(name).is_none() {
                self.error(known.span, Code::MissingKey, format!("`until` of {what} has no `{name}`")).help =
                    Some("write `until: { if: \"…\", every: 5s, within: 5m }`".to_owned());
            }
        }
        let every = self.duration(known.get("every")?, "`every`")?;
        if every.0.is_zero() {
            self.error(known.get("every")?.span, Code::InvalidDuration, "`every` of 0 would ask without a pause")
                .help = Some("write how long to wait between two looks: `every: 5s`".to_owned());
            return None;
        }
        Some(Until {
            condition: self.expression(known.get("if")?, "`if`")?,
            every,
            within: self.duration(known.get("within")?, "`within`")?,
            on_timeout: known
                .get("on_timeout")
                .and_then(|node| {
                    self.word(node, "`on_timeout`", &[("fail", GivingUp::Fail), ("succeed", GivingUp::Succeed)])
                })
                .unwrap_or_default(),
        })
    }

    /// `auto`, another action, or a script or command as in a step.
    fn undo(&mut self, node: &Node, what: &str) -> Option<Undo> {
        let what = &format!("`undo` of {what}");
        if let Content::Text(word) = &node.content {
            match word.as_str() {
                "auto" => return Some(Undo::Auto),
                // The same as to say nothing, but said.
                "none" => return None,
                _ => {}
            }
            let near = nearest(word, ["auto", "none"]).map(|near| format!("did you mean `{near}`?"));
            let message = format!("{what} must be `auto`, `none` or an action, not `{word}`");
            self.error(node.span, Code::UnknownWord, message).help = near;
            return None;
        }
        let known = self.fields(node, what, fields::UNDO)?;
        let kinds: Vec<&str> = ["uses", "run", "argv"].into_iter().filter(|kind| known.get(kind).is_some()).collect();
        let act = match kinds.as_slice() {
            [] => {
                self.error(known.span, Code::MissingKey, format!("{what} has no `uses`")).help =
                    Some("give it one of `uses`, `run`, `argv`, or write `undo: auto`".to_owned());
                None
            }
            ["uses"] => {
                if let Some(key) = known.key("env") {
                    let message = format!("`env` has no meaning in {what}: it belongs to `run` and `argv`");
                    self.error(key.span, Code::MisplacedKey, message).help =
                        Some("an action is given everything by `with`".to_owned());
                }
                let uses = known.get("uses").and_then(|node| self.text(node, "`uses`"));
                uses.zip(self.with(&known, what))
            }
            [_] => {
                if let Some(key) = known.key("with") {
                    let message = format!("`with` has no meaning in {what}: it belongs to `uses`");
                    self.error(key.span, Code::MisplacedKey, message).help =
                        Some("a script or a command is given its values by `env`".to_owned());
                }
                self.shell(&known, what).map(|with| ("shell".to_owned(), with))
            }
            [first, second, ..] => {
                self.two_acts(&known, first, second, what, "an undo does one thing").help =
                    Some("put both into one script, or take one away".to_owned());
                None
            }
        };
        let timeout = known.get("timeout").and_then(|node| self.duration(node, "`timeout`"));
        let retry = known.get("retry").and_then(|node| self.retry(node, what));
        let verify = known.get("verify").and_then(|node| self.verify(node, what));
        let (uses, with) = act?;
        if let (Templated::Map(map), Some(node)) = (&with, known.get("with"))
            && let Some(Templated::Template(script)) = map.get("script").filter(|_| uses == "shell")
        {
            let at = script.0.find("{{").unwrap_or(0);
            self.templated_script(node.at(&["script"]), &script.0, at);
        }
        Some(Undo::Action { uses, with, timeout, retry: retry.map(Box::new), verify: verify.map(Box::new) })
    }

    fn verify(&mut self, node: &Node, what: &str) -> Option<Verify> {
        let what = &format!("`verify` of {what}");
        let known = self.fields(node, what, fields::VERIFY)?;
        let condition = known.get("if").and_then(|node| self.expression(node, "`if`"));
        let with = self.with(&known, what);
        let Some(uses) = known.get("uses") else {
            self.error(known.span, Code::MissingKey, format!("{what} has no `uses`")).help =
                Some("name an action that looks: `verify: { uses: http.get, with: { … }, if: \"…\" }`".to_owned());
            return None;
        };
        Some(Verify { uses: self.text(uses, "`uses`")?, with: with?, condition })
    }

    /// A list, and how to go through it. What cannot be read of it has its default, so that the rest is read as meant.
    fn for_each(&mut self, node: &Node, what: &str) -> Option<ForEach> {
        let what = &format!("`for_each` of {what}");
        let known = self.fields(node, what, fields::FOR_EACH)?;
        let nothing = || Expression("[]".to_owned());
        let items = match known.get("in") {
            None => {
                self.error(known.span, Code::MissingKey, format!("{what} has no `in`")).help =
                    Some("name the list: `in: \"step.outputs.users\"`, or write it: `in: [eu, us]`".to_owned());
                nothing()
            }
            Some(Node { span, content: Content::List(items) }) if items.is_empty() => {
                self.error(*span, Code::EmptyList, format!("{what} goes through an empty list"));
                nothing()
            }
            Some(list @ Node { content: Content::List(_), .. }) => match literal(&list.to_json()) {
                Some(text) => Expression(text),
                None => {
                    self.error(list.span, Code::Template, "templates are not expanded in a list that is written out")
                        .help =
                        Some("write the list as one expression: `in: \"[inputs.one, inputs.other]\"`".to_owned());
                    nothing()
                }
            },
            Some(node) => self.expression(node, "`in`").unwrap_or_else(nothing),
        };
        Some(ForEach {
            items,
            name: known
                .get("as")
                .and_then(|node| self.item_name(node))
                .unwrap_or_else(|| ForEach::USUAL_NAME.to_owned()),
            key: known.get("key").and_then(|node| self.expression(node, "`key`")),
            at_most: known.get("at_most").and_then(|node| self.count(node, "`at_most`")),
            ramp: self.optional_flag(&known, "ramp"),
            fail_after: known.get("fail_after").and_then(|node| self.fail_after(node)).unwrap_or_default(),
        })
    }

    /// What the item is called: like a step, because texts name it in the same way.
    fn item_name(&mut self, node: &Node) -> Option<String> {
        let name = self.text(node, "`as`")?;
        if name != ForEach::USUAL_NAME
            && let Err(error) = StepId::new(&name)
        {
            self.error(node.span, Code::InvalidName, format!("an item cannot be called `{name}`: {error}"));
            return None;
        }
        Some(name)
    }

    fn fail_after(&mut self, node: &Node) -> Option<FailAfter> {
        let read = match &node.content {
            Content::Number(number) => number
                .as_u64()
                .and_then(|count| u32::try_from(count).ok())
                .filter(|count| *count >= 1)
                .map(FailAfter::Items),
            Content::Text(text) => text
                .strip_suffix('%')
                .filter(|number| number.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|number| number.parse::<u32>().ok())
                .filter(|percent| (1..=100).contains(percent))
                .map(FailAfter::Percent),
            _ => None,
        };
        if read.is_none() {
            let message = "`fail_after` must be a whole number from 1, or a part from `1%` to `100%`";
            self.error(node.span, Code::WrongType, message).help =
                Some("`1` ends the loop at its first failure".to_owned());
        }
        read
    }

    /// `timeout: 5m` is each try; the map form can limit the whole step too.
    fn timeout(&mut self, node: &Node, what: &str) -> (Option<HumanDuration>, Option<HumanDuration>) {
        let what = format!("`timeout` of {what}");
        if !matches!(node.content, Content::Map(_)) {
            return (self.duration(node, "`timeout`"), None);
        }
        let Some(known) = self.fields(node, &what, fields::TIMEOUT) else { return (None, None) };
        if known.get("attempt").is_none() && known.get("step").is_none() {
            self.error(known.span, Code::MissingKey, format!("{what} limits nothing")).help =
                Some("write `timeout: { attempt: 5m, step: 20m }`".to_owned());
        }
        let attempt = known.get("attempt").and_then(|node| self.duration(node, "`attempt`"));
        let step = known.get("step").and_then(|node| self.duration(node, "`step`"));
        if let (Some(attempt), Some(step), Some(node)) = (attempt, step, known.get("step"))
            && step < attempt
        {
            let message = format!("{what} ends the step after {step}, before its first try may end after {attempt}");
            self.problems.push(
                Diagnostic::warning(self.source, node.span, Code::DeadLimit, message)
                    .help("make `step` longer, or take `attempt` away"),
            );
        }
        (attempt, step)
    }

    fn measure(&mut self, node: &Node, what: &str) -> Option<Measure> {
        let known = self.fields(node, &format!("`measure` of {what}"), fields::MEASURE)?;
        let Some(expires) = known.get("expires") else {
            self.error(known.span, Code::MissingKey, format!("`measure` of {what} has no `expires`")).help =
                Some("an emergency measure has an end: `expires: 60m`".to_owned());
            return None;
        };
        let expires = self.template(expires, "`expires`")?;
        if expires.is_plain()
            && let Err(error) = expires.0.parse::<HumanDuration>()
        {
            self.error(known.get("expires")?.span, Code::InvalidDuration, format!("`expires`: {error}"));
        }
        Some(Measure {
            expires,
            closed_by: known.get("closed_by").and_then(|node| self.needed(node, what)),
            on_expiry: known.get("on_expiry").and_then(|node| self.on_expiry(node)).unwrap_or_default(),
        })
    }

    fn on_expiry(&mut self, node: &Node) -> Option<OnExpiry> {
        if node.content == Content::Text("page".to_owned()) {
            self.error(node.span, Code::UnknownWord, "nobody can be paged yet: notifications are not there").help =
                Some(
                    "write `on_expiry: hold`, and let cron run `runbook measures`, which fails when one is overdue"
                        .to_owned(),
                );
            return None;
        }
        self.word(node, "`on_expiry`", &[("hold", OnExpiry::Hold), ("undo", OnExpiry::Undo)])
    }

    /// Fields that make no sense beside what the step does.
    fn check_company(&mut self, step: &Step, known: &Fields<'_>, what: &str) {
        let shell = matches!(&step.does, Does::Action { uses, .. } if uses == "shell" && known.get("uses").is_none());
        let calls = matches!(step.does, Does::Call(_));
        let acts = calls || matches!(step.does, Does::Action { .. });
        let mut refuse = |names: &[&str], why: &str, help: &str| {
            for name in names {
                if let Some(key) = known.key(name) {
                    let problem =
                        self.error(key.span, Code::MisplacedKey, format!("`{name}` has no meaning in {what}: {why}"));
                    problem.help = Some(help.to_owned()).filter(|help| !help.is_empty());
                }
            }
        };
        if !shell {
            refuse(&["env"], "it belongs to `run` and `argv`", "an action is given everything by `with`");
            refuse(&["outputs"], "it belongs to `run` and `argv`", "an action says itself what it gives; take it away");
            refuse(
                &["effect"],
                "it belongs to `run` and `argv`",
                "an action says itself whether it writes; take it away",
            );
        }
        if !acts {
            let help = "put it on the step that acts, or take it away";
            refuse(&["timeout", "retry", "until", "undo", "measure", "for_each"], "the step runs no action", help);
        }
        if known.get("uses").is_none() && !calls {
            refuse(&["with"], "it belongs to `uses` and `call`", "a script or a command is given its values by `env`");
        }
        if !calls {
            refuse(&["secrets"], "it belongs to `call`", "an action's secrets are named in its `with` or `env`");
        }
        if calls {
            let inside = "write it into the called runbook, at the step that it is about";
            refuse(&["retry"], "a called runbook is not run twice", inside);
            refuse(&["until", "measure"], "it is about one act, and a called runbook has many", inside);
            refuse(
                &["undo"],
                "the steps of the called runbook bring their own",
                "take it away; give the steps of the called runbook an `undo`",
            );
        } else if step.for_each.is_some() && acts {
            refuse(
                &["until", "measure"],
                "a loop has many items",
                "write a runbook with this one step in it, and call that for each item: `call: FILE`",
            );
        }
    }
}

/// A value as an expression writes it. `None` when a text in it holds braces, which an expression may not.
fn literal(value: &Value) -> Option<String> {
    let text = match value {
        Value::Null => "none".to_owned(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(literal).collect::<Option<Vec<_>>>()?.join(", "))
        }
        Value::Object(map) => {
            let entry =
                |(key, value): (&String, &Value)| Some(format!("{}: {}", Value::from(key.as_str()), literal(value)?));
            // A blank inside the braces keeps two of them apart.
            format!("{{ {} }}", map.iter().map(entry).collect::<Option<Vec<_>>>()?.join(", "))
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) => value.to_string(),
    };
    (!has_braces(&text)).then_some(text)
}

/// A number in thousandths, read from its digits: `1.5` is 1500.
fn thousandths(number: &serde_json::Number) -> Option<u64> {
    let text = number.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let fraction: String = fraction.chars().chain("000".chars()).take(3).collect();
    let whole: u64 = whole.parse().ok()?;
    whole.checked_mul(1000)?.checked_add(fraction.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::runbook::Scope;

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1e6f64..1e6).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_list_that_is_written_out_means_itself(items in prop::collection::vec(any_value(), 0..5)) {
            let list = Value::from(items);
            if let Some(text) = literal(&list) {
                let expression = Expression(text);
                prop_assert_eq!(expression.references(), Ok(Vec::new()));
                prop_assert_eq!(expression.value(&Scope::default()).unwrap(), list);
            }
        }
    }

    #[test]
    fn only_braces_in_a_text_keep_a_list_from_being_written_out() {
        assert_eq!(literal(&json!([{ "a": { "b": 1 } }])).as_deref(), Some(r#"[{ "a": { "b": 1 } }]"#));
        assert_eq!(literal(&json!(["{{ x }}"])), None);
        assert_eq!(literal(&json!([{ "{% x": 1 }])), None);
    }
}
