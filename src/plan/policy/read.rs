//! Reads a policy file, with the place of every word.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::civil::Date;

use super::{Exception, Policy, Spanned, Word};
use crate::base::diagnostic::nearest;
use crate::base::{Code, Diagnostic, HumanDuration, Source, Span};
use crate::runbook::node::{self, Content, Key, Node};

/// What may stand at the top.
const TOP: [&str; 5] = ["deny", "measure_at_most", "require_approvers", "hosts", "allow"];
/// What may stand in an exception.
const EXCEPTION: [&str; 5] = ["rule", "runbook", "step", "reason", "until"];

pub(super) fn policy(source: &Arc<Source>) -> Result<Policy, Vec<Diagnostic>> {
    let node = node::parse(source).map_err(|problem| vec![*problem])?;
    let mut reader = Reader { source, problems: Vec::new() };
    let policy = reader.policy(&node);
    // In the order of the file, as they are read.
    reader.problems.sort_by_key(|problem| problem.span.map_or(0, |span| span.start));
    if reader.problems.is_empty() { Ok(policy) } else { Err(reader.problems) }
}

struct Reader<'s> {
    source: &'s Arc<Source>,
    problems: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn say(&mut self, span: Span, code: Code, message: String, help: impl Into<Option<String>>) {
        let mut problem = Diagnostic::error(self.source, span, code, message);
        problem.help = help.into();
        self.problems.push(problem);
    }

    fn policy(&mut self, node: &Node) -> Policy {
        let mut policy = Policy {
            source: Arc::clone(self.source),
            deny: Vec::new(),
            measure_at_most: None,
            require_approvers: None,
            hosts: None,
            allow: Vec::new(),
        };
        for (key, node) in self.entries(node, "a policy", &TOP) {
            match key.text.as_str() {
                "deny" => {
                    policy.deny = self.items(node, "`deny`").iter().filter_map(|item| self.denied(item)).collect()
                }
                "measure_at_most" => {
                    policy.measure_at_most = self.duration(node).map(|value| Spanned { value, span: node.span });
                }
                "require_approvers" => {
                    policy.require_approvers = self.count(node).map(|value| Spanned { value, span: node.span });
                }
                "hosts" => {
                    let value = self.items(node, "`hosts`").iter().filter_map(|item| self.host(item)).collect();
                    policy.hosts = Some(Spanned { value, span: key.span });
                }
                _ => {
                    policy.allow = self.items(node, "`allow`").iter().filter_map(|item| self.exception(item)).collect()
                }
            }
        }
        policy
    }

    /// The entries of a map. Unknown keys and keys that are there twice are told.
    fn entries<'n>(&mut self, node: &'n Node, what: &str, known: &[&'static str]) -> Vec<(&'n Key, &'n Node)> {
        let Content::Map(entries) = &node.content else {
            self.say(node.span, Code::WrongType, format!("{what} must be a map, not {}", node.kind()), None);
            return Vec::new();
        };
        let mut seen: BTreeMap<&str, Span> = BTreeMap::new();
        let mut kept = Vec::new();
        for (key, node) in entries {
            if let Some(before) = seen.insert(&key.text, key.span) {
                let message = format!("`{}` is given twice in {what}", key.text);
                let problem = Diagnostic::error(self.source, key.span, Code::DuplicateKey, message);
                self.problems.push(problem.related(before, "first given here").help("keep one of the two"));
            } else if known.contains(&key.text.as_str()) {
                kept.push((key, node));
            } else {
                let help = or_all(nearest(&key.text, known.iter().copied()), "known keys", known);
                self.say(key.span, Code::UnknownKey, format!("unknown key `{}` in {what}", key.text), help);
            }
        }
        kept
    }

    fn items<'n>(&mut self, node: &'n Node, what: &str) -> &'n [Node] {
        match &node.content {
            Content::List(items) => items,
            _ => {
                let help = "write it in brackets: `[…]`".to_owned();
                self.say(node.span, Code::WrongType, format!("{what} must be a list, not {}", node.kind()), help);
                &[]
            }
        }
    }

    fn text<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        match &node.content {
            Content::Text(text) if !text.trim().is_empty() => Some(text),
            Content::Text(_) => {
                self.say(node.span, Code::MissingKey, format!("{what} is empty"), None);
                None
            }
            _ => {
                self.say(node.span, Code::WrongType, format!("{what} must be a text, not {}", node.kind()), None);
                None
            }
        }
    }

    /// A kind, a class or a rule.
    fn word(&mut self, node: &Node) -> Option<Spanned<Word>> {
        let text = self.text(node, "a rule")?;
        let found = Word::all().find(|word| word.as_str() == text);
        if found.is_none() {
            let near = nearest(text, Word::all().map(Word::as_str));
            let help = match near {
                Some(near) => format!("did you mean `{near}`?"),
                None => {
                    "`docs/diff.md` lists the kinds and classes of differences, `docs/policy.md` the rules for plans"
                        .to_owned()
                }
            };
            self.say(node.span, Code::UnknownWord, format!("there is no rule `{text}`"), help);
        }
        found.map(|value| Spanned { value, span: node.span })
    }

    /// A kind, a class or a rule that needs no number.
    fn denied(&mut self, node: &Node) -> Option<Spanned<Word>> {
        let word = self.word(node)?;
        let Word::Rule(rule) = word.value else { return Some(word) };
        if rule.is_limit() {
            let message = format!("`{word}` is a limit, with a key of its own", word = word.value);
            self.say(word.span, Code::MisplacedKey, message, format!("write `{}: …` beside `deny`", rule.as_str()));
            return None;
        }
        Some(word)
    }

    fn duration(&mut self, node: &Node) -> Option<HumanDuration> {
        let text = self.text(node, "`measure_at_most`")?;
        match text.parse() {
            Ok(duration) => Some(duration),
            Err(error) => {
                let error: crate::base::duration::DurationError = error;
                self.say(node.span, Code::InvalidDuration, format!("`measure_at_most`: {error}"), None);
                None
            }
        }
    }

    fn count(&mut self, node: &Node) -> Option<u32> {
        let count = match &node.content {
            Content::Number(number) => number.as_u64().and_then(|count| u32::try_from(count).ok()).filter(|n| *n > 0),
            _ => None,
        };
        if count.is_none() {
            let message = "`require_approvers` must be a whole number from 1".to_owned();
            self.say(node.span, Code::WrongType, message, None);
        }
        count
    }

    /// A host, or `*.` and the end of some.
    fn host(&mut self, node: &Node) -> Option<String> {
        let text = self.text(node, "a host")?;
        let rest = text.strip_prefix("*.").unwrap_or(text);
        if rest.contains(['/', '*', '?', '#', '@']) || rest.contains(char::is_whitespace) {
            let help = "write the host alone, such as `api.vercel.com`, `*.example.com` or `localhost:3000`".to_owned();
            self.say(node.span, Code::InvalidAddress, format!("`{text}` is no host"), help);
            return None;
        }
        Some(text.to_ascii_lowercase())
    }

    fn exception(&mut self, node: &Node) -> Option<Exception> {
        let entries = self.entries(node, "an exception", &EXCEPTION);
        let get = |name: &str| entries.iter().find(|(key, _)| key.text == name).map(|(_, node)| *node);
        for (name, example) in [("rule", "rule: script"), ("reason", "reason: why it may pass")] {
            if get(name).is_none() && matches!(node.content, Content::Map(_)) {
                let message = format!("an exception has no `{name}`");
                self.say(node.span, Code::MissingKey, message, format!("add `{example}`"));
            }
        }
        let rule = get("rule").and_then(|node| self.word(node));
        let reason = get("reason").and_then(|node| self.text(node, "`reason`").map(str::to_owned));
        let runbook = get("runbook").and_then(|node| self.text(node, "`runbook`").map(str::to_owned));
        let step = get("step").and_then(|node| self.text(node, "`step`").map(str::to_owned));
        let until = get("until").and_then(|node| self.date(node));
        reason?;
        Some(Exception { rule: rule?.value, runbook, step, until, span: node.span })
    }

    fn date(&mut self, node: &Node) -> Option<Date> {
        let text = self.text(node, "`until`")?;
        let date = text.parse::<Date>().ok().filter(|date| date.to_string() == text);
        if date.is_none() {
            let message = format!("`{text}` is no day");
            self.say(node.span, Code::WrongType, message, "write for example `until: 2026-12-31`".to_owned());
        }
        date
    }
}

fn or_all(near: Option<&str>, what: &str, all: &[&str]) -> String {
    match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("{what}: {}", all.join(", ")),
    }
}
