//! Sums up a run: a fold over its plan and its events.

mod figures;
mod follow_ups;
mod rows;
mod said;
mod times;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::summary::{
    CalledFile, Evidence, Extension, GateAnswer, GateRow, Incident, MeasureRow, Standing, Summary, SummaryError,
};
use super::words::{self, Kind, Line};
use crate::base::{HumanDuration, StepPath, Timestamp, clock};
use crate::plan::Plan;
use crate::run::{
    Answer, AttemptResult, Doubt, Event, IllegalEvent, ManualResult, Next, Recorded, Returned, RunState, StepState,
    Timer,
};
use crate::runbook::Step;

/// What is kept on the way, beside the state.
pub(super) struct Fold {
    state: RunState,
    timeline: Vec<Line>,
    gates: Vec<GateRow>,
    measures: Vec<MeasureRow>,
    /// Tries that failed and were made again, with the last reason.
    retried: BTreeMap<StepPath, (u32, String)>,
    category: Option<Named>,
    severity: Option<Named>,
    first_decision: Option<Timestamp>,
    ended: Option<Timestamp>,
    incident: Incident,
    /// How often a process died while steps were under way.
    lost: u32,
    version: String,
}

impl Fold {
    pub(super) fn new(plan: &Arc<Plan>) -> Self {
        Self {
            state: RunState::new(Arc::clone(plan)),
            timeline: Vec::new(),
            gates: Vec::new(),
            measures: Vec::new(),
            retried: BTreeMap::new(),
            category: None,
            severity: None,
            first_decision: None,
            ended: None,
            incident: Incident::default(),
            lost: 0,
            version: String::new(),
        }
    }

    pub(super) fn take(&mut self, recorded: &Recorded) -> Result<(), IllegalEvent> {
        // A run that was stopped in good order has no step running when it is taken up again.
        let lost = matches!(recorded.event, Event::RunResumed { .. })
            && self.state.records().any(|(_, record)| record.state == StepState::Running);
        let lines = words::apply(&mut self.state, recorded)?;
        for line in &lines {
            self.take_measure(line, &recorded.event);
        }
        // Items that did what they should are counted by their loop.
        let is_quiet = |line: &Line| {
            line.kind == Kind::Succeeded && line.step.as_ref().is_some_and(|step| self.state.is_item(step))
        };
        self.timeline.extend(lines.into_iter().filter(|line| !line.kind.is_passing() && !is_quiet(line)));
        let at = recorded.at;
        match &recorded.event {
            Event::RunStarted { version, .. } => {
                self.version.clone_from(version);
                for (name, value) in self.state.plan().inputs() {
                    said::take(&mut self.incident, name, value, said::INPUTS);
                }
            }
            Event::RunResumed { .. } => {
                self.ended = None;
                self.lost += u32::from(lost);
            }
            Event::Decided { outputs, .. } => {
                self.first_decision.get_or_insert(at);
                let depth = recorded.event.step().map_or(0, |step| step.as_str().matches('/').count());
                take_named(&mut self.category, outputs.get("category"), depth, at);
                take_named(&mut self.severity, outputs.get("severity"), depth, at);
            }
            Event::GateOpened { step, prompt, expires, .. } => {
                self.settle_gate(step, at, "withdrawn");
                self.gates.push(GateRow {
                    step: step.clone(),
                    prompt: prompt.clone(),
                    opened: at,
                    expires: *expires,
                    closed: None,
                    waited: HumanDuration::default(),
                    answer: None,
                    answers: Vec::new(),
                });
            }
            Event::GateAnswered { step, decision, .. } => {
                if let Some(gate) = self.open_gate(step) {
                    gate.answers.push(GateAnswer {
                        time: at,
                        by: decision.by.clone(),
                        answer: decision.answer,
                        via: decision.via.clone(),
                        asked: decision.answers.clone(),
                    });
                }
                let still_open = matches!(self.state.record(step).map(|r| &r.state), Some(StepState::AtGate(_)));
                for (name, value) in &decision.answers {
                    said::take(&mut self.incident, name, value, &decision.by);
                }
                match decision.answer {
                    Answer::Approve if still_open => {}
                    Answer::Approve => self.settle_gate(step, at, "approved"),
                    Answer::Reject => self.settle_gate(step, at, "rejected"),
                }
            }
            Event::TimerFired { timer: Timer::Gate { step } } => self.settle_gate(step, at, "lapsed"),
            Event::StepSkipped { step, .. } | Event::StepFailed { step, .. } => {
                self.settle_gate(step, at, "withdrawn");
            }
            Event::AttemptFinished {
                step, result: AttemptResult::Failed { error }, next: Next::Again { .. }, ..
            } if self.step(step).is_some_and(|step| step.until.is_none()) => {
                let known = self.retried.entry(step.clone()).or_default();
                *known = (known.0 + 1, error.message.clone());
            }
            Event::RunFinished { .. } => self.ended = Some(at),
            _ => {}
        }
        self.hear(&recorded.event);
        Ok(())
    }

    /// What an event says of the incident itself: in outputs, by their names, and in what people handed in.
    fn hear(&mut self, event: &Event) {
        let (step, outputs) = match event {
            Event::ManualAnswered { by, result: ManualResult::Done { evidence }, .. } => {
                for (name, value) in evidence {
                    said::take(&mut self.incident, name, value, by);
                }
                return;
            }
            Event::Decided { step, outputs, .. }
            | Event::AttemptFinished { step, result: AttemptResult::Succeeded { outputs }, next: Next::End, .. }
            | Event::StepReturned { step, result: Returned::Succeeded { outputs } }
            | Event::DoubtResolved { step, doubt: Doubt::Happened { outputs }, .. } => (step, outputs),
            _ => return,
        };
        for (name, value) in outputs.as_object().into_iter().flatten() {
            said::take(&mut self.incident, name, value, step.as_str());
        }
    }

    fn step(&self, id: &StepPath) -> Option<&Step> {
        self.state.step(id)
    }

    fn open_gate(&mut self, step: &StepPath) -> Option<&mut GateRow> {
        self.gates.iter_mut().rev().find(|gate| gate.step == *step && gate.closed.is_none())
    }

    fn settle_gate(&mut self, step: &StepPath, at: Timestamp, answer: &'static str) {
        if let Some(gate) = self.open_gate(step) {
            gate.closed = Some(at);
            gate.answer = Some(answer);
        }
    }

    fn take_measure(&mut self, line: &Line, event: &Event) {
        let Some(step) = &line.step else { return };
        match line.kind {
            Kind::InForce => {
                self.measures.retain(|measure| measure.step != *step);
                self.measures.push(MeasureRow {
                    step: step.clone(),
                    since: self.state.record(step).and_then(|record| record.finished_at).unwrap_or(line.time),
                    expires: self.state.measure_expiry(step),
                    closed: None,
                    how: None,
                    approved_by: rows::approved_by(&self.state, step),
                    closed_by: None,
                    extended: Vec::new(),
                    lasted: HumanDuration::default(),
                    overdue: None,
                });
            }
            Kind::Extended => {
                let Event::MeasureExtended { until, by, reason, .. } = event else { return };
                if let Some(measure) = self.measures.iter_mut().find(|measure| measure.step == *step) {
                    measure.expires = self.state.measure_expiry(step);
                    let (by, reason) = (by.clone(), reason.clone());
                    measure.extended.push(Extension { time: line.time, until: *until, by, reason });
                }
            }
            Kind::Closed => {
                let (how, by) = match event {
                    Event::UndoFinished { .. } => ("undone", None),
                    Event::MeasureClosed { by, .. } => ("ended", Some(by.clone())),
                    other => ("closed", other.step().map(ToString::to_string)),
                };
                if let Some(measure) = self.measures.iter_mut().find(|measure| measure.step == *step) {
                    (measure.closed, measure.how, measure.closed_by) = (Some(line.time), Some(how), by);
                }
            }
            _ => {}
        }
    }

    pub(super) fn finish(mut self, events: usize) -> Result<Summary, SummaryError> {
        let (Some(run), Some(by), Some(started)) =
            (self.state.run().cloned(), self.state.started_by().map(str::to_owned), self.state.started_at())
        else {
            return Err(SummaryError::NotBegun);
        };
        let as_of = self.state.now();
        for gate in &mut self.gates {
            gate.waited = span(gate.opened, gate.closed.unwrap_or(as_of));
        }
        for measure in &mut self.measures {
            let end = measure.closed.unwrap_or(as_of);
            measure.lasted = span(measure.since, end);
            measure.overdue = measure.expires.filter(|expires| *expires < end).map(|expires| span(expires, end));
        }
        let state = &self.state;
        let plan = state.plan();
        let runbook = plan.runbook();
        let standing: Vec<Standing> =
            state.left_standing().into_iter().map(|left| Standing { step: left.step, what: left.what }).collect();
        let figures = self.figures();
        let mut incident = self.incident.clone();
        incident.users_affected = incident.users_affected.or_else(|| Self::users_at_least(&figures));
        let written = runbook.severity.and_then(|level| serde_json::to_value(level).ok());
        Ok(Summary {
            run,
            runbook: runbook.name.to_string(),
            title: runbook.title.clone().unwrap_or_else(|| runbook.name.to_string()),
            drill: state.drill().map(str::to_owned),
            category: self.category.as_ref().map(|named| named.word.clone()),
            severity: self.severity.as_ref().map(|named| named.word.clone()).or(written.as_ref().map(words::brief)),
            by,
            started,
            ended: self.ended,
            as_of,
            duration: span(started, self.ended.unwrap_or(as_of)),
            outcome: state.outcome().or_else(|| state.outcome_before_finally()),
            first_failure: state.first_failure().cloned(),
            times: self.key_times(started),
            incident,
            figures,
            clues: self.clues(),
            steps: rows::nested(state.records().filter_map(|(path, record)| rows::row(state, path, record)).collect()),
            undone: state.records().filter_map(|(id, record)| rows::undone(id, record)).collect(),
            in_doubt: state.steps_in_doubt().cloned().collect(),
            waiting: self.waiting(),
            follow_ups: self.follow_ups(&standing),
            left_standing: standing,
            reports: rows::reports(state),
            inputs: plan.inputs().clone(),
            evidence: Evidence {
                file: plan.file().to_owned(),
                source: plan.source_digest().clone(),
                called: called_files(plan),
                plan: plan.digest().clone(),
                log_head: None,
                events,
                version: self.version,
            },
            timeline: self.timeline,
            gates: self.gates,
            measures: self.measures,
        })
    }

    fn waiting(&self) -> Vec<Standing> {
        let prompt = |id: &StepPath| match self.state.record(id).map(|record| &record.state) {
            Some(StepState::AtGate(gate)) => gate.prompt.clone(),
            _ => {
                let asked =
                    self.timeline.iter().rev().find(|line| line.step.as_ref() == Some(id) && line.kind == Kind::Asked);
                asked.map(|line| line.text.clone()).unwrap_or_default()
            }
        };
        self.state.waiting_for_people().map(|id| Standing { step: id.clone(), what: prompt(id) }).collect()
    }
}

fn span(from: Timestamp, to: Timestamp) -> HumanDuration {
    HumanDuration(clock::until(from, to))
}

/// A word that a `decide` gave.
struct Named {
    word: String,
    at: Timestamp,
    /// In how many calls the `decide` stands.
    depth: usize,
}

/// Takes a word, if there is one. What a runbook decides goes before what one that it calls decides.
fn take_named(known: &mut Option<Named>, word: Option<&serde_json::Value>, depth: usize, at: Timestamp) {
    let Some(word) = word.map(words::brief) else { return };
    match known {
        Some(known) if known.depth < depth => {}
        // Whoever comes to the same again has not named it.
        Some(known) if known.word == word => known.depth = depth,
        _ => *known = Some(Named { word, at, depth }),
    }
}

/// The files of the runbooks that a plan calls.
fn called_files(plan: &Plan) -> Vec<CalledFile> {
    let digest = |name: &str| plan.source_digest_of(name).cloned();
    let called = plan.runbooks().skip(1);
    let known = called.filter_map(|(file, runbook)| Some((file, digest(runbook.name.as_str())?)));
    known.map(|(file, source)| CalledFile { file: file.to_owned(), source }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_runbook_decides_goes_before_what_one_that_it_calls_decides() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let mut known = None;
        let told =
            [("a", 1, 10), ("b", 1, 20), ("b", 0, 30), ("c", 1, 40), ("d", 0, 50)].map(|(word, depth, second)| {
                take_named(&mut known, Some(&json!(word)), depth, at(second));
                known.as_ref().map(|named| (named.word.clone(), named.at.as_second())).unwrap()
            });
        assert_eq!(told.map(|(word, second)| format!("{word} {second}")), ["a 10", "b 20", "b 20", "b 20", "d 50"]);
        take_named(&mut known, None, 0, at(60));
        assert_eq!(known.unwrap().word, "d");
    }
}
