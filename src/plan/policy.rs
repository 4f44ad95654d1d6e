//! What a team does not let pass: differences by kind or class, and standing rules for every plan.

mod read;
mod standing;

pub use jiff::civil::Date;
pub use standing::Rule;

use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;

use super::diff::{Class, Diff, Finding, Groups, Kind, Spot};
use super::{Preview, diff};
use crate::action::Registry;
use crate::base::{Code, Diagnostic, HumanDuration, Source, Span};
use crate::runbook::Loaded;

/// A policy file.
#[derive(Debug, Clone)]
pub struct Policy {
    source: Arc<Source>,
    deny: Vec<Spanned<Word>>,
    measure_at_most: Option<Spanned<HumanDuration>>,
    require_approvers: Option<Spanned<u32>>,
    hosts: Option<Spanned<Vec<String>>>,
    allow: Vec<Exception>,
}

/// Something written, and where it stands.
#[derive(Debug, Clone)]
struct Spanned<T> {
    value: T,
    span: Span,
}

/// What `deny` and the `rule` of an exception may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Word {
    /// All differences of a class.
    Class(Class),
    /// All differences of a kind.
    Kind(Kind),
    /// A standing rule for plans.
    Rule(Rule),
}

impl Word {
    /// Every word there is.
    fn all() -> impl Iterator<Item = Self> {
        let classes = Class::ALL.into_iter().map(Self::Class);
        let kinds = Kind::ALL.iter().copied().map(Self::Kind);
        classes.chain(kinds).chain(Rule::ALL.iter().copied().map(Self::Rule))
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Class(class) => class.as_str(),
            Self::Kind(kind) => kind.as_str(),
            Self::Rule(rule) => rule.as_str(),
        }
    }

    fn names(self, finding: &Finding) -> bool {
        match self {
            Self::Class(class) => finding.class == class,
            Self::Kind(kind) => finding.kind == kind,
            Self::Rule(_) => false,
        }
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What is let pass all the same.
#[derive(Debug, Clone)]
struct Exception {
    rule: Word,
    runbook: Option<String>,
    step: Option<String>,
    /// The last day on which it counts.
    until: Option<Date>,
    /// Where it stands.
    span: Span,
}

impl Exception {
    fn covers(&self, runbook: &str, step: Option<&str>) -> bool {
        self.runbook.as_deref().is_none_or(|named| named == runbook)
            && self.step.as_deref().is_none_or(|named| step == Some(named))
    }

    fn has_ended(&self, today: Date) -> bool {
        self.until.is_some_and(|last| last < today)
    }
}

/// Something that a policy does not let pass.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Denial {
    /// What the policy names.
    pub rule: String,
    /// The policy file.
    pub file: String,
    /// Its line, from 1.
    pub line: usize,
    /// Its column, from 1.
    pub column: usize,
    /// The step that it is about; `null` for the runbook as a whole.
    pub step: Option<String>,
    /// What is denied, in a sentence.
    pub message: String,
    /// Where the runbook says so.
    pub at: Option<Spot>,
    #[serde(skip)]
    #[schemars(skip)]
    finding: Option<usize>,
    #[serde(skip)]
    #[schemars(skip)]
    runbook: String,
    #[serde(skip)]
    #[schemars(skip)]
    span: Span,
}

impl Denial {
    /// The finding of a diff that is denied, by its place among them.
    pub fn finding(&self) -> Option<usize> {
        self.finding
    }
}

/// What `runbook diff --format json` prints: the difference, and what a policy says of it.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Answer<'a> {
    /// The difference.
    #[serde(flatten)]
    pub diff: &'a Diff,
    /// What the policy denies; `null` where none was named.
    pub denied: Option<&'a [Denial]>,
}

impl Answer<'_> {
    /// The JSON Schema of it.
    pub fn schema() -> serde_json::Value {
        schemars::schema_for!(Answer<'static>).to_value()
    }
}

/// What a policy says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Verdict {
    /// What it denies.
    pub denials: Vec<Denial>,
    /// Exceptions that would have let something pass, and have ended.
    pub ended: Vec<Diagnostic>,
}

impl Policy {
    /// Reads a policy file. Every mistake is told at once.
    pub fn read(source: &Arc<Source>) -> Result<Self, Vec<Diagnostic>> {
        read::policy(source)
    }

    /// What it says of two versions of a runbook.
    pub fn judge_diff(&self, diff: &Diff, today: Date) -> Verdict {
        let mut judge = Judge::new(self, today);
        for (index, finding) in diff.findings.iter().enumerate() {
            let Some(word) = self.deny.iter().find(|word| word.value.names(finding)) else { continue };
            let at = finding.new.clone().or_else(|| finding.old.clone());
            let subject = Subject {
                runbook: &diff.runbook,
                step: finding.step.as_deref(),
                at: at.map(|spot| Spot { value: None, ..spot }),
            };
            let is_named = |exception: &Exception| exception.rule.names(finding);
            judge.deny(word.value.as_str(), word.span, subject, finding.message.clone(), is_named);
            if let Some(denial) = judge.verdict.denials.last_mut().filter(|denial| denial.finding.is_none()) {
                denial.finding = Some(index);
            }
        }
        judge.verdict
    }

    /// What it says of a plan. `groups` are the members by group.
    pub fn judge_plan(
        &self,
        loaded: &Loaded,
        preview: &Preview,
        groups: &Groups,
        registry: &Registry,
        today: Date,
    ) -> Verdict {
        let mut judge = Judge::new(self, today);
        standing::judge(&mut judge, diff::Side { loaded, groups }, preview, registry);
        judge.verdict
    }

    /// Denials as people read them, with the place in the policy file.
    pub fn explain(&self, denial: &Denial) -> Diagnostic {
        let message = match &denial.at {
            Some(spot) => format!("{} ({}:{})", denial.message, spot.file, spot.line),
            None => denial.message.clone(),
        };
        let step = denial.step.as_ref().map_or_else(String::new, |step| format!(", step: {step}"));
        let allow = format!("allow: [{{ rule: {}, runbook: {}{step}, reason: … }}]", denial.rule, denial.runbook);
        Diagnostic::error(&self.source, denial.span, Code::Denied, message)
            .label("denied here")
            .help(format!("change it back, or let it pass: `{allow}`"))
    }
}

/// What a rule is held against.
struct Subject<'s> {
    runbook: &'s str,
    step: Option<&'s str>,
    at: Option<Spot>,
}

/// Holds one thing after another against a policy.
struct Judge<'p> {
    policy: &'p Policy,
    today: Date,
    verdict: Verdict,
}

impl<'p> Judge<'p> {
    fn new(policy: &'p Policy, today: Date) -> Self {
        Self { policy, today, verdict: Verdict::default() }
    }

    /// Denies something, unless an exception lets it pass.
    fn deny(
        &mut self,
        rule: &str,
        span: Span,
        subject: Subject<'_>,
        message: String,
        is_named: impl Fn(&Exception) -> bool,
    ) {
        let Subject { runbook, step, at } = subject;
        let policy = self.policy;
        let fitting = policy.allow.iter().filter(|exception| is_named(exception) && exception.covers(runbook, step));
        for exception in fitting {
            if !exception.has_ended(self.today) {
                return;
            }
            let last = exception.until.map(|last| last.to_string()).unwrap_or_default();
            let message = format!("this exception counted until {last}, and no longer does");
            let ended = Diagnostic::warning(&policy.source, exception.span, Code::EndedException, message)
                .help("take it out, or think again and give it another day");
            if !self.verdict.ended.contains(&ended) {
                self.verdict.ended.push(ended);
            }
        }
        let (line, column) = policy.source.place(span.start);
        self.verdict.denials.push(Denial {
            rule: rule.to_owned(),
            file: policy.source.name.clone(),
            line,
            column,
            step: step.map(str::to_owned),
            message,
            at,
            finding: None,
            runbook: runbook.to_owned(),
            span,
        });
    }
}
