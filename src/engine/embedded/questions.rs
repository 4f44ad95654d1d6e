//! Puts to people and to probes what only they can answer, and takes their answers.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::super::attempt::Report;
use super::super::people::read_answers;
use super::super::{Notice, Question, Refusal, Reply};
use super::launch::no_such_action;
use super::{Asked, Embedded, Ending, EngineError, Subject, written};
use crate::action::Replay;
use crate::base::StepId;
use crate::run::{Answer, Directive, Event, ManualResult, Rendering, StepState, Timer};
use crate::runbook::Does;

impl Embedded {
    /// Puts standing directives to the world: questions to people, probes, the request to stop.
    pub(super) fn attend(&mut self, standing: &[Directive]) {
        // Questions that are no longer open are forgotten, so that a gate that opens again is asked again.
        let open: Vec<&StepId> = standing
            .iter()
            .filter_map(|directive| match directive {
                Directive::Ask(step) | Directive::Resolve(step) => Some(step),
                _ => None,
            })
            .collect();
        self.asked.retain(|step, _| open.contains(&step));
        for directive in standing {
            match directive {
                Directive::Ask(step) => self.ask(step),
                Directive::Resolve(step) => self.resolve(step),
                Directive::Stop(step) => {
                    if let Some(cancel) = self.cancels.get(step) {
                        cancel.cancel();
                    }
                }
                _ => {}
            }
        }
    }

    fn ask(&mut self, id: &StepId) {
        if self.asked.contains_key(id) {
            return;
        }
        let plan = self.plan();
        let step = written(&plan, id);
        let Some(record) = self.parts.state.record(id) else { return };
        let question = match (&record.state, &step.approval, &step.does) {
            (StepState::AtGate(gate), Some(approval), _) => {
                let prepared = Rendering::new(&self.parts.state, id, self.parts.doors.clock.now())
                    .and_then(|rendering| rendering.prepare().ok());
                let params = prepared.map(|prepared| prepared.params).unwrap_or_default();
                Question::Gate {
                    step: id.clone(),
                    approval: approval.clone(),
                    members: self.parts.approvers.members(approval),
                    prompt: gate.prompt.clone(),
                    does: self.describe(step, &params),
                    digest: gate.digest.clone(),
                    expires: gate.expires,
                }
            }
            (StepState::Asked, _, Does::Manual(manual)) => {
                let text = Rendering::new(&self.parts.state, id, self.parts.doors.clock.now())
                    .and_then(|rendering| rendering.manual_text().ok())
                    .unwrap_or_default();
                Question::Manual { step: id.clone(), text, evidence: manual.evidence.clone() }
            }
            _ => return,
        };
        self.put(question);
    }

    fn put(&mut self, question: Question) {
        let id = question.step().clone();
        self.asked.insert(id.clone(), Asked::Pending);
        let people = Arc::clone(&self.parts.people);
        let step = id.clone();
        self.spawn(Subject::Question(id), async move { Report::Replied { step, reply: people.ask(question).await } });
    }

    /// A try whose end nobody saw: probe it, or ask a person.
    fn resolve(&mut self, id: &StepId) {
        let plan = self.plan();
        let can_probe = plan.place(id).is_some_and(|place| plan.facts(place).replay == Replay::Probe);
        let step = written(&plan, id);
        let Does::Action { uses, .. } = &step.does else { return };
        let Some(record) = self.parts.state.record(id) else { return };
        let params = record.params.as_deref().cloned().unwrap_or_default();
        match self.probing.get(id) {
            None if can_probe => {
                self.probing.insert(id.clone(), Asked::Pending);
                let a_try = self.a_try(id, uses, params, CancellationToken::new(), false);
                let (step, name) = (id.clone(), uses.clone());
                self.spawn(Subject::Probe(id.clone()), async move {
                    let found = match a_try {
                        Some(a_try) => a_try.probe().await,
                        None => Err(no_such_action(&name)),
                    };
                    Report::Probed { step, found }
                });
            }
            Some(Asked::Pending) => {}
            _ => {
                if !self.asked.contains_key(id) {
                    let does = self.describe(step, &params);
                    self.put(Question::Doubt { step: id.clone(), does });
                }
            }
        }
    }

    /// Nothing is under way and whatever is open waits for people who cannot be asked here.
    pub(super) fn nobody_left(&self, standing: &[Directive]) -> Option<Ending> {
        if !self.tasks.is_empty() {
            return None;
        }
        let in_vain = |step: &StepId| self.asked.get(step) == Some(&Asked::InVain);
        let waits_for_time =
            standing.iter().any(|directive| matches!(directive, Directive::WakeAt(_, Timer::Again { .. })));
        if waits_for_time {
            return None;
        }
        let in_doubt: Vec<StepId> = standing
            .iter()
            .filter_map(|directive| match directive {
                Directive::Resolve(step) if in_vain(step) => Some(step.clone()),
                _ => None,
            })
            .collect();
        if !in_doubt.is_empty() {
            return Some(Ending::InDoubt(in_doubt));
        }
        let waiting: Vec<StepId> = standing
            .iter()
            .filter_map(|directive| match directive {
                Directive::Ask(step) if in_vain(step) => Some(step.clone()),
                _ => None,
            })
            .collect();
        (!waiting.is_empty()).then_some(Ending::Waiting(waiting))
    }

    pub(super) fn take_reply(&mut self, step: StepId, reply: Option<Reply>) -> Result<(), EngineError> {
        let Some(record) = self.parts.state.record(&step) else { return Ok(()) };
        let plan = self.plan();
        let written = written(&plan, &step);
        let refused = match (reply, &record.state) {
            (None, _) => {
                self.asked.insert(step, Asked::InVain);
                return Ok(());
            }
            (Some(Reply::Gate(mut decision)), StepState::AtGate(gate)) => {
                let approval = written.approval.as_ref().expect("a gate has an approval");
                let admitted = self
                    .parts
                    .approvers
                    .admit(approval, &decision, self.parts.state.started_by())
                    .and_then(|()| read_answers(&approval.ask, &decision.answers))
                    .map(|answers| decision.answers = answers)
                    // Whoever says no need not fill in the form.
                    .or_else(|refusal| match (&refusal, decision.answer) {
                        (Refusal::Answer { .. }, Answer::Reject) => Ok(()),
                        _ => Err(refusal),
                    });
                match admitted {
                    Ok(()) if gate.approvals.iter().any(|before| before.by == decision.by) => {
                        format!("`{}` has answered already", decision.by)
                    }
                    Ok(()) => {
                        let digest = gate.digest.clone();
                        // One of several approvers: the others are still to be asked.
                        self.asked.remove(&step);
                        return self.record(Event::GateAnswered { step, digest, decision });
                    }
                    Err(refusal) => refusal.to_string(),
                }
            }
            (Some(Reply::Manual { by, result }), StepState::Asked) => {
                let result = match (&written.does, result) {
                    (Does::Manual(manual), ManualResult::Done { evidence }) => {
                        read_answers(&manual.evidence, &evidence).map(|evidence| ManualResult::Done { evidence })
                    }
                    (_, result) => Ok(result),
                };
                match result {
                    Ok(result) => return self.record(Event::ManualAnswered { step, by, result }),
                    Err(refusal) => refusal.to_string(),
                }
            }
            (Some(Reply::Doubt { by, doubt }), StepState::InDoubt) => {
                return self.record(Event::DoubtResolved { step, doubt, by });
            }
            // The question was settled meanwhile: a late answer changes nothing.
            (Some(_), _) => return Ok(()),
        };
        self.asked.remove(&step);
        let _ = self.parts.notices.send(Notice::Refused { step, reason: refused });
        Ok(())
    }
}
