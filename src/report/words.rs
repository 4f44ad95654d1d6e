//! Words for events: what a timeline says and what a console prints come from one place.

use serde::Serialize;
use serde_json::Value;

use crate::action::ErrorKind;
use crate::base::{HumanDuration, StepPath, Timestamp, clock};
use crate::run::{
    Answer, AttemptResult, Cause, Decision, Doubt, Event, IllegalEvent, InForce, ManualResult, Next, Outcome, Recorded,
    Returned, RunState, StepState, Timer, UndoResult,
};

/// What sort of thing a line of the timeline tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The run began.
    Started,
    /// A new process took the run over.
    Resumed,
    /// A `decide` step chose.
    Decided,
    /// People are asked.
    Asked,
    /// Somebody said yes, or did what was asked.
    Answered,
    /// A step, or a try of it, began. Not part of the timeline.
    Began,
    /// A step did what it should.
    Succeeded,
    /// A step did not.
    Failed,
    /// Somebody said no, or nobody said anything in time.
    Rejected,
    /// A step was skipped by its condition or by a person.
    Skipped,
    /// A step was skipped because of how another one ended. Not part of the timeline.
    LeftOut,
    /// A try failed and is made again.
    Retried,
    /// A try was stopped with the run.
    Interrupted,
    /// The undo of a step began. Not part of the timeline.
    Undoing,
    /// A step is undone.
    Undone,
    /// A step could not be undone.
    UndoFailed,
    /// An emergency measure came into force.
    InForce,
    /// An emergency measure may be in force for longer.
    Extended,
    /// An emergency measure has expired.
    Expired,
    /// An emergency measure is over.
    Closed,
    /// It was found out what became of a step.
    Resolved,
    /// Somebody stopped the run.
    Cancelled,
    /// The run is over.
    Ended,
}

impl Kind {
    /// Is it of interest only while it happens?
    pub(super) fn is_passing(self) -> bool {
        matches!(self, Self::Began | Self::LeftOut | Self::Undoing)
    }
}

/// One line: when, about which step, and what.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line {
    /// When.
    pub time: Timestamp,
    /// The step it is about, if it is about one.
    pub step: Option<StepPath>,
    /// What sort of thing.
    pub kind: Kind,
    /// What happened, in words that follow the step's name.
    pub text: String,
}

/// Applies an event and tells it: no line for what nobody wants to read, such as every look of an `until`.
pub(super) fn apply(state: &mut RunState, recorded: &Recorded) -> Result<Vec<Line>, IllegalEvent> {
    let measures_before = if may_move_measures(&recorded.event) { state.measures_in_force() } else { Vec::new() };
    state.apply(recorded)?;
    let mut lines: Vec<Line> = tell(state, recorded)
        .into_iter()
        .map(|(kind, text)| Line {
            time: recorded.at,
            step: recorded.event.step().cloned(),
            kind,
            text: one_line(&text),
        })
        .collect();
    if may_move_measures(&recorded.event) {
        lines.extend(moved_measures(state, recorded.at, &measures_before));
    }
    Ok(lines)
}

/// What a run's events tell, all lines of it: also those that only pass by.
pub fn lines_of(plan: &std::sync::Arc<crate::plan::Plan>, events: &[Recorded]) -> Vec<Line> {
    let mut state = RunState::new(std::sync::Arc::clone(plan));
    events.iter().map_while(|recorded| apply(&mut state, recorded).ok()).flatten().collect()
}

/// Events that can end or undo a step.
fn may_move_measures(event: &Event) -> bool {
    match event {
        Event::AttemptFinished { next, .. } => *next == Next::End,
        Event::Decided { .. }
        | Event::GateAnswered { .. }
        | Event::ManualAnswered { .. }
        | Event::DoubtResolved { .. }
        | Event::StepReturned { .. }
        | Event::MeasureClosed { .. }
        | Event::UndoFinished { .. } => true,
        _ => false,
    }
}

fn moved_measures(state: &RunState, at: Timestamp, before: &[InForce]) -> Vec<Line> {
    let after = state.measures_in_force();
    let line = |step: &StepPath, kind, text| Line { time: at, step: Some(step.clone()), kind, text };
    let opened = after.iter().filter(|measure| !before.iter().any(|known| known.step == measure.step)).map(|measure| {
        let until = state.measure_expiry(&measure.step).map(|at| format!(", to be over by {}", minute(at)));
        line(&measure.step, Kind::InForce, format!("its emergency measure is in force{}", until.unwrap_or_default()))
    });
    let closed = before.iter().filter(|measure| !after.iter().any(|known| known.step == measure.step)).map(|measure| {
        let length = between(measure.since, at);
        line(&measure.step, Kind::Closed, format!("its emergency measure is over, after {length}"))
    });
    opened.chain(closed).collect()
}

fn tell(state: &RunState, recorded: &Recorded) -> Option<(Kind, String)> {
    let record = recorded.event.step().and_then(|step| state.record(step));
    let step = recorded.event.step().and_then(|step| state.step(step));
    let told = match &recorded.event {
        Event::RunStarted { run, runbook, by, drill, .. } => {
            let drill = drill.as_ref().map(|scenario| format!("DRILL, scenario `{scenario}`: ")).unwrap_or_default();
            (Kind::Started, format!("{drill}run {run} of `{runbook}` was started by {}", person(by)))
        }
        Event::RunResumed { by, .. } => {
            let doubted: Vec<_> = state.steps_in_doubt().map(|step| format!("`{step}`")).collect();
            let doubt = match doubted.as_slice() {
                [] => String::new(),
                steps => format!("; nobody saw what became of {}", steps.join(", ")),
            };
            let drill = state.drill().map(|scenario| format!("DRILL, scenario `{scenario}`: ")).unwrap_or_default();
            (Kind::Resumed, format!("{drill}the run was taken up again by {}{doubt}", person(by)))
        }
        Event::StepSkipped { because, .. } => {
            let began = record.is_some_and(|record| record.attempts > 0);
            let kind = match because {
                _ if began => Kind::Failed,
                Cause::Condition { .. } | Cause::Person { .. } => Kind::Skipped,
                Cause::Need { .. } | Cause::Halted { .. } | Cause::TimeUp { .. } | Cause::Stuck => Kind::LeftOut,
            };
            (kind, format!("{}: {because}", if began { "was given up" } else { "skipped" }))
        }
        Event::StepFailed { error, .. } => (Kind::Failed, format!("could not begin: {}", error.message)),
        Event::Decided { outputs, .. } => (Kind::Decided, format!("decided {}", pairs(outputs))),
        Event::GateOpened { prompt, expires, .. } => {
            let lapses = expires.map(|at| format!(" (lapses at {})", minute(at))).unwrap_or_default();
            (Kind::Asked, format!("waits for a yes: {prompt}{lapses}"))
        }
        Event::GateAnswered { decision, .. } => {
            let needed = step.and_then(|step| step.approval.as_ref()).map_or(1, |approval| approval.at_least);
            (answer_kind(decision), answer_words(decision, record.map_or(0, |record| record.decisions.len()), needed))
        }
        Event::ManualAsked { text, .. } => (Kind::Asked, format!("asks a person: {text}")),
        Event::ManualAnswered { by, result, .. } => match result {
            ManualResult::Done { evidence } => {
                (Kind::Answered, format!("was done by {}{}", person(by), in_brackets(evidence.iter())))
            }
            ManualResult::Failed { reason } => (Kind::Failed, format!("did not work, says {}: {reason}", person(by))),
            ManualResult::Skipped { reason } => (Kind::Skipped, format!("was left out by {}: {reason}", person(by))),
        },
        Event::AttemptStarted { attempt, .. } => {
            let waits = step.is_some_and(|step| step.until.is_some());
            match attempt.0 {
                1 => (Kind::Began, "began".to_owned()),
                _ if waits => return None,
                number => (Kind::Began, format!("began again, try {number}")),
            }
        }
        Event::Checkpoint { .. } => return None,
        Event::AttemptFinished { attempt, result, next, .. } => {
            let waits = step.is_some_and(|step| step.until.is_some());
            let took = record
                .and_then(|record| record.started_at)
                .map(|began| format!(" in {}", between(began, recorded.at)))
                .unwrap_or_default();
            match (result, next) {
                // One look of many: the last one tells.
                (_, Next::Again { .. }) if waits => return None,
                (AttemptResult::Succeeded { .. }, Next::Again { .. }) => return None,
                (AttemptResult::Failed { error }, Next::Again { at }) => {
                    let pause = between(recorded.at, *at);
                    (Kind::Retried, format!("failed at try {attempt}, tried again in {pause}: {}", error.message))
                }
                (AttemptResult::Succeeded { .. }, Next::Doubt) => return None,
                (AttemptResult::Failed { error }, Next::Doubt) => {
                    (Kind::Failed, format!("nobody knows whether it happened{took}: {}", error.message))
                }
                (AttemptResult::Succeeded { .. }, Next::End) => {
                    let tries = match attempt.0 {
                        1 => String::new(),
                        looks if waits => format!(", at look {looks}"),
                        tries => format!(", at try {tries}"),
                    };
                    (Kind::Succeeded, format!("succeeded{took}{tries}"))
                }
                (AttemptResult::Failed { error }, Next::End) if error.kind == ErrorKind::Cancelled => {
                    (Kind::Interrupted, format!("was stopped{}", took.replace(" in ", " after ")))
                }
                (AttemptResult::Failed { error }, Next::End) => {
                    let allowed = step.is_some_and(|step| step.allow_failure);
                    let allowed = if allowed { ", which the runbook allows" } else { "" };
                    let tries = if attempt.0 > 1 && !waits { format!(" after {attempt} tries") } else { String::new() };
                    (Kind::Failed, format!("failed{tries}{took}{allowed}: {}", error.message))
                }
            }
        }
        Event::TimerFired { timer: Timer::Gate { .. } } => {
            (Kind::Rejected, "nobody answered in time, which counts as a no".to_owned())
        }
        Event::TimerFired { timer: Timer::Again { .. } | Timer::UndoAgain { .. } } => return None,
        Event::TimerFired { timer: Timer::Deadline { .. } } => (Kind::Failed, "its time is up".to_owned()),
        Event::TimerFired { timer: Timer::Run } => (Kind::Failed, "the time of the run is up".to_owned()),
        Event::TimerFired { timer: Timer::Measure { .. } } => {
            (Kind::Expired, "its emergency measure has expired, and is undone".to_owned())
        }
        Event::StepForced { by, reason, .. } => {
            (Kind::Resolved, format!("is forced to run by {}: {reason}", person(by)))
        }
        Event::LoopBegan { items, .. } => (Kind::Began, format!("began, for {} items", items.len())),
        Event::CallBegan { plan, .. } => (Kind::Began, format!("began to run its runbook, plan {}", plan.short())),
        Event::StepReturned { result, .. } => {
            let took = record
                .and_then(|record| record.started_at)
                .map(|began| format!(" in {}", between(began, recorded.at)))
                .unwrap_or_default();
            match result {
                Returned::Succeeded { outputs } => {
                    let count = |name: &str| outputs.get(name).and_then(Value::as_u64).unwrap_or(0);
                    let items =
                        step.is_some_and(|step| step.for_each.is_some()) && !state.is_item(recorded.event.step()?);
                    let told = match (items, count("failed")) {
                        (false, _) => String::new(),
                        (true, 0) => format!(", all {} items", count("total")),
                        (true, failed) => format!(", {failed} of {} items failed", count("total")),
                    };
                    (Kind::Succeeded, format!("succeeded{took}{told}"))
                }
                Returned::Failed { error } => {
                    let allowed = step.is_some_and(|step| step.allow_failure);
                    let allowed = if allowed { ", which the runbook allows" } else { "" };
                    (Kind::Failed, format!("failed{took}{allowed}: {}", error.message))
                }
                Returned::Rejected { step } => (Kind::Rejected, format!("was rejected at `{step}`")),
            }
        }
        Event::DoubtAsked { undo, .. } => {
            let what = if *undo { "its undo" } else { "it" };
            (Kind::Asked, format!("nobody saw what became of {what}: a person must say"))
        }
        Event::MeasureExtended { until, by, reason, .. } => (
            Kind::Extended,
            format!("its emergency measure may be in force until {}, says {}: {reason}", minute(*until), person(by)),
        ),
        Event::MeasureClosed { by, reason, .. } => {
            (Kind::Answered, format!("its emergency measure was ended by {}: {reason}", person(by)))
        }
        Event::UndoRequested { by, reason, .. } => {
            let why = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            (Kind::Resumed, format!("{} wants the run undone{why}", person(by)))
        }
        Event::RollbackBegan { steps, .. } => match steps.len() {
            0 => (Kind::Undoing, "there is nothing to undo".to_owned()),
            1 => (Kind::Undoing, "one step is undone".to_owned()),
            many => (Kind::Undoing, format!("{many} steps are undone")),
        },
        Event::DoubtResolved { doubt, by, .. } => {
            let what = match doubt {
                Doubt::Happened { .. } => "turned out to have happened",
                Doubt::Again => "is done again",
                Doubt::DidNotHappen => "did not happen",
            };
            (Kind::Resolved, format!("{what} ({})", person(by)))
        }
        Event::CancelRequested { by, reason } => {
            let why = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            (Kind::Cancelled, format!("the run was stopped by {}{why}", person(by)))
        }
        Event::UndoStarted { .. } => (Kind::Undoing, "is being undone".to_owned()),
        Event::UndoFinished { result: UndoResult::Failed { error }, next: Next::Again { at }, .. } => {
            let pause = between(recorded.at, *at);
            (Kind::Retried, format!("could not be undone yet, tried again in {pause}: {}", error.message))
        }
        Event::UndoFinished { result: UndoResult::Failed { error }, next: Next::Doubt, .. } => {
            (Kind::Failed, format!("nobody knows whether it is undone: {}", error.message))
        }
        Event::UndoFinished { result, .. } => match result {
            UndoResult::Undone { undone } => {
                let left: String = undone.left.iter().map(|what| format!("; still there: {what}")).collect();
                (Kind::Undone, format!("was undone: {}{left}", undone.summary))
            }
            UndoResult::Failed { error } => (Kind::UndoFailed, format!("could not be undone: {}", error.message)),
        },
        Event::FinallyBegan { .. } => return None,
        Event::RunFinished { outcome } => (Kind::Ended, format!("the run ended: {outcome}")),
    };
    Some(told)
}

fn answer_kind(decision: &Decision) -> Kind {
    match decision.answer {
        Answer::Approve => Kind::Answered,
        Answer::Reject => Kind::Rejected,
    }
}

fn answer_words(decision: &Decision, given: usize, needed: u32) -> String {
    let word = match decision.answer {
        Answer::Approve => "approved",
        Answer::Reject => "rejected",
    };
    let count = match decision.answer {
        Answer::Approve if needed > 1 => format!(", {given} of {needed}"),
        _ => String::new(),
    };
    format!("was {word} by {}{count}{}", person(&decision.by), in_brackets(decision.answers.iter()))
}

/// ` (reason: …, link: …)`, or nothing.
fn in_brackets<'v>(values: impl Iterator<Item = (&'v String, &'v Value)>) -> String {
    let told: Vec<String> = values.map(|(name, value)| format!("{name}: {}", brief(value))).collect();
    if told.is_empty() { String::new() } else { format!(" ({})", told.join(", ")) }
}

/// `category=clerk-outage severity=critical`.
fn pairs(outputs: &Value) -> String {
    match outputs {
        Value::Object(map) if !map.is_empty() => {
            map.iter().map(|(name, value)| format!("{name}={}", brief(value))).collect::<Vec<_>>().join(" ")
        }
        Value::Object(_) | Value::Null => "nothing".to_owned(),
        other => brief(other),
    }
}

/// A value in a line: texts without quotes, the rest as JSON.
pub(super) fn brief(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// How people call whoever the log calls `user:NAME`.
pub(super) fn person(by: &str) -> &str {
    by.strip_prefix("user:").unwrap_or(by)
}

/// The length of time between two moments, to the second.
pub(super) fn between(from: Timestamp, to: Timestamp) -> String {
    HumanDuration(clock::until(from, to)).rounded()
}

/// `16:11`.
pub(super) fn minute(at: Timestamp) -> String {
    at.strftime("%H:%M").to_string()
}

/// The text on one line, and nothing in it that a terminal would obey.
pub(super) fn one_line(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() || is_unseen(c) { ' ' } else { c }).collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Marks that turn the direction of a text, or hide in it.
fn is_unseen(c: char) -> bool {
    matches!(c, '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2060}'..='\u{2069}' | '\u{FEFF}')
}

/// Is a step at work: trying, or between two tries?
pub(super) fn is_at_work(state: &StepState) -> bool {
    matches!(state, StepState::Running | StepState::Pausing)
}

/// The word for how a run ended or would end, `under way` when neither is known.
pub(super) fn outcome_words(outcome: Option<Outcome>) -> &'static str {
    outcome.map_or("under way", Outcome::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_and_commands_no_terminal() {
        assert_eq!(one_line("a\r\n b\u{1b}[31m\u{202e}c\t d "), "a b [31m c d");
    }

    #[test]
    fn people_are_called_by_their_names() {
        assert_eq!(person("user:alice"), "alice");
        assert_eq!(person("a probe"), "a probe");
    }
}
