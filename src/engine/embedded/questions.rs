//! Puts to people and to probes what only they can answer, and takes their answers.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use super::super::attempt::Report;
use super::super::people::read_answers;
use super::super::{Notice, Question, Reply};
use super::launch::{For, no_such_action};
use super::{Asked, Embedded, Ending, EngineError, Subject};
use crate::action::{ActionError, Intent, Probed};
use crate::base::{Attempt, StepPath};
use crate::run::{
    AttemptResult, Directive, Doubt, Event, Kept, ManualResult, Next, Rendering, StepState, Timer, UndoState,
    after_attempt,
};
use crate::runbook::Does;

impl Embedded {
    /// Puts standing directives to the world: questions to people, probes, the request to stop.
    pub(super) fn attend(&mut self, standing: &[Directive]) {
        // Questions that are no longer open are taken back, so that they stand in nobody's way, and a gate that opens
        // again is asked again.
        let open: BTreeSet<&StepPath> = standing.iter().filter_map(Directive::asks_about).collect();
        for kept in [&mut self.asked, &mut self.probing] {
            kept.retain(|step, asked| {
                let stays = open.contains(step);
                if let Asked::Pending(handle) = asked
                    && !stays
                {
                    handle.abort();
                }
                stays
            });
        }
        // So is the search for a secret that nobody waits for any more.
        self.supplying.retain(|step, handle| {
            let stays = standing.iter().any(|it| matches!(it, Directive::Begin(begins) if begins == step));
            if !stays {
                handle.abort();
            }
            stays
        });
        for directive in standing {
            match directive {
                Directive::Ask(step) => self.ask(step),
                Directive::Resolve(step) => self.resolve(step, false),
                Directive::ResolveUndo(step) => self.resolve(step, true),
                Directive::Stop(step) => {
                    if let Some(cancel) = self.cancels.get(step) {
                        cancel.cancel();
                    }
                }
                _ => {}
            }
        }
    }

    /// Records that people are asked what became of a step.
    pub(super) fn ask_about_doubt(&mut self, path: &StepPath, undo: bool) -> Result<(), EngineError> {
        if self.parts.state.record(path).is_none_or(|record| record.doubt_asked) {
            return Ok(());
        }
        let does = self.doubtful(path, undo);
        self.record(Event::DoubtAsked { step: path.clone(), does, undo })
    }

    /// What a step, or its undo, was doing when it was lost sight of.
    fn doubtful(&self, path: &StepPath, undo: bool) -> Vec<Intent> {
        let Some(record) = self.parts.state.record(path) else { return Vec::new() };
        super::super::describe_doubtful(&self.parts.registry, self.written(path), record, undo)
    }

    fn ask(&mut self, id: &StepPath) {
        if self.asked.contains_key(id) {
            return;
        }
        let step = self.written(id);
        let Some(record) = self.parts.state.record(id) else { return };
        let question = match (&record.state, &step.approval, &step.does) {
            (StepState::AtGate(gate), Some(approval), _) => Question::Gate {
                step: id.clone(),
                approval: approval.as_ref().clone(),
                members: self.parts.approvers.members(approval),
                prompt: gate.prompt.clone(),
                does: gate.does.clone(),
                digest: gate.digest.clone(),
                expires: gate.expires,
            },
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
        let path = question.step().clone();
        let people = Arc::clone(&self.parts.people);
        let step = path.clone();
        let handle =
            self.spawn(Subject::Question, async move { Report::Replied { step, reply: people.ask(question).await } });
        self.asked.insert(path, Asked::Pending(handle));
    }

    /// Something whose end nobody saw: look, or ask a person.
    fn resolve(&mut self, path: &StepPath, undo: bool) {
        let can_look = if undo { self.can_verify(path) } else { self.can_probe(path) };
        if can_look {
            if self.probing.contains_key(path) {
                return;
            }
            let handle = if undo { self.launch_look(path) } else { self.launch_probe(path) };
            self.probing.insert(path.clone(), Asked::Pending(handle));
        } else if !self.asked.contains_key(path) {
            let does = self.doubtful(path, undo);
            self.put(Question::Doubt { step: path.clone(), does, undo });
        }
    }

    fn launch_probe(&mut self, path: &StepPath) -> AbortHandle {
        let uses = match &self.written(path).does {
            Does::Action { uses, .. } => uses.clone(),
            _ => String::new(),
        };
        let params = self.parts.state.record(path).and_then(|record| record.params.as_ref().map(Kept::value));
        let a_try = self.a_try(path, &uses, params.unwrap_or_default(), CancellationToken::new(), For::Act);
        let step = path.clone();
        self.spawn(Subject::Probe(path.clone()), async move {
            let found = match a_try {
                Some(a_try) => a_try.probe().await,
                None => Err(no_such_action(&uses)),
            };
            Report::Probed { step, found }
        })
    }

    /// What a probe found out.
    pub(super) fn take_probe(
        &mut self,
        step: StepPath,
        found: Result<Probed<Value>, ActionError>,
    ) -> Result<(), EngineError> {
        if !self.parts.state.record(&step).is_some_and(|record| record.state == StepState::InDoubt) {
            return Ok(());
        }
        let doubt = match found {
            Ok(Probed::Happened(mut outputs)) => {
                self.clean(&mut outputs);
                Doubt::Happened { outputs }
            }
            Ok(Probed::DidNotHappen) => self.after_it_did_not_happen(&step),
            Ok(Probed::Unknown) | Err(_) => {
                self.probing.insert(step, Asked::InVain);
                return Ok(());
            }
        };
        self.record(Event::DoubtResolved { step, doubt, by: "a probe".to_owned(), undo: false })
    }

    /// What was cut off by a crash is done now. What failed without a trace is tried again as any other failure is.
    fn after_it_did_not_happen(&self, step: &StepPath) -> Doubt {
        let Some(record) = self.parts.state.record(step) else { return Doubt::DidNotHappen };
        let Some(mut error) = record.error.as_deref().filter(|error| error.uncertain).cloned() else {
            return if self.parts.state.is_halted(step) { Doubt::DidNotHappen } else { Doubt::Again };
        };
        error.uncertain = false;
        let now = self.parts.doors.clock.now();
        let next = self
            .tried(step, Attempt(record.attempts), now)
            .map(|tried| after_attempt(&tried, AttemptResult::Failed { error }, None).1);
        match next {
            Some(Next::Again { .. }) if !self.parts.state.is_halted(step) => Doubt::Again,
            _ => Doubt::DidNotHappen,
        }
    }

    /// What a look after an undo found.
    pub(super) fn take_verification(
        &mut self,
        step: StepPath,
        holds: Result<bool, ActionError>,
    ) -> Result<(), EngineError> {
        if !self.parts.state.record(&step).is_some_and(|record| record.undo == Some(UndoState::InDoubt)) {
            return Ok(());
        }
        match holds {
            Ok(true) => {
                let (doubt, by) = (Doubt::Happened { outputs: Value::Null }, "a look".to_owned());
                self.record(Event::DoubtResolved { step, doubt, by, undo: true })
            }
            // It is not undone, but whether it was begun only a person can say.
            Ok(false) | Err(_) => {
                self.probing.insert(step, Asked::InVain);
                Ok(())
            }
        }
    }

    /// Nothing is under way and whatever is open waits for people who cannot be asked here.
    pub(super) fn nobody_left(&self, standing: &[Directive]) -> Option<Ending> {
        if !self.tasks.is_empty() {
            return None;
        }
        let in_vain = |step: &StepPath| matches!(self.asked.get(step), Some(Asked::InVain));
        // Time brings these about without anybody.
        let waits_for_time = standing.iter().any(|directive| {
            matches!(
                directive,
                Directive::WakeAt(_, Timer::Again { .. } | Timer::UndoAgain { .. } | Timer::Measure { .. })
            )
        });
        if waits_for_time {
            return None;
        }
        let in_doubt: Vec<StepPath> = standing
            .iter()
            .filter_map(|directive| match directive {
                Directive::Resolve(step) | Directive::ResolveUndo(step) if in_vain(step) => Some(step.clone()),
                _ => None,
            })
            .collect();
        if !in_doubt.is_empty() {
            return Some(Ending::InDoubt(in_doubt));
        }
        let waiting: Vec<StepPath> = standing
            .iter()
            .filter_map(|directive| match directive {
                Directive::Ask(step) if in_vain(step) => Some(step.clone()),
                _ => None,
            })
            .collect();
        (!waiting.is_empty()).then_some(Ending::Waiting(waiting))
    }

    /// Takes what somebody said who was asked here. An answer that is not taken is asked for again.
    pub(super) fn take_reply(&mut self, step: StepPath, reply: Option<Reply>) -> Result<(), EngineError> {
        let Some(reply) = reply else {
            self.asked.insert(step, Asked::InVain);
            return Ok(());
        };
        if let Taken::Refused(reason) = self.take_answer(&step, reply)? {
            self.take_back(&step);
            let _ = self.parts.notices.send(Notice::Refused { step, reason });
        }
        Ok(())
    }

    /// Records an answer, however it came here, if it is one that counts.
    pub(super) fn take_answer(&mut self, step: &StepPath, reply: Reply) -> Result<Taken, EngineError> {
        let Some(record) = self.parts.state.record(step) else { return Ok(Taken::Late) };
        let step = step.clone();
        let event = match (reply, &record.state) {
            (Reply::Gate(decision), StepState::AtGate(gate)) => {
                let written = self.written(&step).approval.as_ref().expect("a gate has an approval");
                let now = self.parts.doors.clock.now();
                match self.parts.approvers.take(written, gate, decision, self.parts.state.started_by(), now) {
                    Ok(decision) => Event::GateAnswered { step: step.clone(), digest: gate.digest.clone(), decision },
                    Err(refusal) => return Ok(Taken::Refused(refusal.to_string())),
                }
            }
            (Reply::Manual { by, result }, StepState::Asked) => {
                let result = match (&self.written(&step).does, result) {
                    (Does::Manual(manual), ManualResult::Done { evidence }) => {
                        read_answers(&manual.evidence, &evidence).map(|evidence| ManualResult::Done { evidence })
                    }
                    (_, result) => Ok(result),
                };
                match result {
                    Ok(result) => Event::ManualAnswered { step: step.clone(), by, result },
                    Err(refusal) => return Ok(Taken::Refused(refusal.to_string())),
                }
            }
            (Reply::Doubt { by, doubt, undo: false }, StepState::InDoubt) => {
                Event::DoubtResolved { step: step.clone(), doubt, by, undo: false }
            }
            (Reply::Doubt { by, doubt, undo: true }, _) if record.undo == Some(UndoState::InDoubt) => {
                Event::DoubtResolved { step: step.clone(), doubt, by, undo: true }
            }
            // The question was settled meanwhile: a late answer changes nothing.
            _ => return Ok(Taken::Late),
        };
        // Whoever else was asked need not answer any more. One of several approvers: the others are asked anew.
        self.take_back(&step);
        self.record(event)?;
        Ok(Taken::Recorded)
    }

    /// Forgets that people were asked, and asks nobody any more.
    fn take_back(&mut self, step: &StepPath) {
        if let Some(Asked::Pending(handle)) = self.asked.remove(step) {
            handle.abort();
        }
    }
}

/// What became of an answer.
pub(super) enum Taken {
    /// It counts.
    Recorded,
    /// Nobody asks any more.
    Late,
    /// It does not count, and why.
    Refused(String),
}
