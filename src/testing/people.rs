//! What people say: at gates, of what they did by hand, and of what nobody saw end.

use std::collections::BTreeSet;
use std::time::Duration;

use indexmap::IndexMap;
use serde_json::Value;

use super::document::{Hand, Truth, What};
use super::driver::{Broken, Driver, Look, Refused};
use super::tries::{Coming, nth, said_of};
use crate::base::{Attempt, StepPath};
use crate::engine::read_answers;
use crate::run::{
    AttemptResult, Decision, Directive, Doubt, Event, ManualResult, Next, StepState, UndoState, after_attempt,
};
use crate::runbook::Does;

impl Driver<'_> {
    /// Puts standing directives to the world: questions to people, looks, the request to stop.
    pub(super) fn attend(&mut self, standing: &[Directive]) -> Result<(), Broken> {
        let open: BTreeSet<&StepPath> = standing.iter().filter_map(Directive::asks_about).collect();
        // Questions that are no longer open are taken back, and a gate that opens again is asked again.
        self.asked.retain(|step, _| open.contains(step));
        self.probed.retain(|step, _| open.contains(step));
        self.coming.retain(|_, coming| match coming {
            Coming::Voice { step, .. } | Coming::Hand { step, .. } | Coming::Truth { step, .. } => open.contains(step),
            _ => true,
        });
        for directive in standing {
            match directive {
                Directive::Ask(step) => self.ask(step)?,
                Directive::Resolve(step) => self.resolve(step)?,
                Directive::ResolveUndo(step) => self.resolve_undo(step)?,
                Directive::Stop(step) => self.stop(step),
                _ => {}
            }
        }
        Ok(())
    }

    fn ask(&mut self, path: &StepPath) -> Result<(), Broken> {
        if self.asked.contains_key(path) {
            return Ok(());
        }
        let script = self.script;
        match self.state.record(path).map(|record| &record.state) {
            Some(StepState::AtGate(gate)) => {
                let Some(voices) = said_of(&script.gates, path) else {
                    return Err(Broken::NoVoice { step: path.clone(), prompt: gate.prompt.clone() });
                };
                self.asked.insert(path.clone(), voices.len());
                for voice in voices {
                    let decision = voice.decision.clone();
                    self.comes_after(voice.after, Coming::Voice { step: path.clone(), decision });
                }
            }
            Some(StepState::Asked) => {
                let given = self.given.get(path).copied().unwrap_or(0);
                let answers = said_of(&script.steps, path).ok_or_else(|| Broken::NoHand(path.clone()))?;
                // Whoever was refused does not say the same again.
                let total: u32 = answers.iter().map(|answer| answer.times).fold(0, u32::saturating_add);
                let answer = nth(answers, given, |answer| answer.times).filter(|_| given < total);
                match answer.map(|answer| &answer.what) {
                    Some(What::ByHand(Some(Hand { by, after, result }))) => {
                        *self.given.entry(path.clone()).or_default() += 1;
                        self.asked.insert(path.clone(), 1);
                        let (by, result) = (by.clone(), result.clone());
                        self.comes_after(*after, Coming::Hand { step: path.clone(), by, result });
                    }
                    _ => {
                        self.asked.insert(path.clone(), 0);
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// May an answer to this question still come, or does its own time decide?
    pub(super) fn is_waited_for(&self, path: &StepPath) -> bool {
        let lapses = match self.state.record(path).map(|record| &record.state) {
            Some(StepState::AtGate(gate)) => gate.expires.is_some(),
            _ => false,
        };
        lapses || self.asked.get(path).is_some_and(|left| *left > 0)
    }

    pub(super) fn take_voice(&mut self, path: &StepPath, decision: Decision) -> Result<(), Broken> {
        if let Some(left) = self.asked.get_mut(path) {
            *left = left.saturating_sub(1);
        }
        let Some(StepState::AtGate(gate)) = self.state.record(path).map(|record| &record.state) else { return Ok(()) };
        let Some(approval) = self.state.step(path).and_then(|step| step.approval.as_ref()) else { return Ok(()) };
        let (by, digest) = (decision.by.clone(), gate.digest.clone());
        match self.around.approvers.take(approval, gate, decision, self.state.started_by(), self.now) {
            Ok(decision) => self.record(Event::GateAnswered { step: path.clone(), digest, decision }),
            Err(refusal) => {
                self.refuse(path, by, &refusal.to_string());
                Ok(())
            }
        }
    }

    pub(super) fn take_hand(&mut self, path: &StepPath, by: String, result: ManualResult) -> Result<(), Broken> {
        let Some(step) = self.state.step(path) else { return Ok(()) };
        let result = match (&step.does, result) {
            (Does::Manual(manual), ManualResult::Done { evidence }) => {
                read_answers(&manual.evidence, &evidence).map(|evidence| ManualResult::Done { evidence })
            }
            (_, result) => Ok(result),
        };
        // Whether or not it counts: the next one is asked for.
        self.asked.remove(path);
        match result {
            Ok(result) => self.record(Event::ManualAnswered { step: path.clone(), by, result }),
            Err(refusal) => {
                self.refuse(path, by, &refusal.to_string());
                Ok(())
            }
        }
    }

    fn refuse(&mut self, path: &StepPath, by: String, reason: &str) {
        self.refused.push(Refused { at: self.now, step: path.clone(), by, reason: reason.to_owned() });
    }

    /// A try whose end nobody saw: a probe looks, or a person is asked.
    fn resolve(&mut self, path: &StepPath) -> Result<(), Broken> {
        let Some(doubt) = self.doubts.get(path).cloned() else {
            return Err(Broken::NoTruth { step: path.clone(), undo: false });
        };
        if self.can_probe(path) {
            if self.probed.contains_key(path) {
                return Ok(());
            }
            let found = match doubt.truth {
                Truth::Happened => Some(Doubt::Happened { outputs: doubt.outputs }),
                Truth::DidNotHappen => Some(self.after_it_did_not_happen(path)),
                Truth::Again | Truth::NobodyKnows => None,
            };
            self.probed.insert(path.clone(), if found.is_some() { Look::UnderWay } else { Look::InVain });
            match found {
                Some(doubt) => self.truth_comes(path, doubt, "a probe".to_owned(), false),
                // The next look at what stands asks a person.
                None => self.record_asked(path)?,
            }
            return Ok(());
        }
        if self.asked.contains_key(path) {
            return Ok(());
        }
        let said = match doubt.truth {
            Truth::Happened => Some(Doubt::Happened { outputs: doubt.outputs }),
            Truth::DidNotHappen => Some(Doubt::DidNotHappen),
            Truth::Again => Some(Doubt::Again),
            Truth::NobodyKnows => None,
        };
        self.asked.insert(path.clone(), usize::from(said.is_some()));
        if let Some(said) = said {
            self.truth_comes(path, said, doubt.by, false);
        }
        Ok(())
    }

    fn record_asked(&mut self, path: &StepPath) -> Result<(), Broken> {
        let (Some(record), Some(step)) = (self.state.record(path), self.state.step(path)) else { return Ok(()) };
        if record.doubt_asked {
            return Ok(());
        }
        let does = crate::engine::describe_doubtful(self.around.registry, step, record, false);
        self.record(Event::DoubtAsked { step: path.clone(), does, undo: false })?;
        self.resolve(path)
    }

    /// An undo whose end nobody saw: somebody looks, or is asked.
    fn resolve_undo(&mut self, path: &StepPath) -> Result<(), Broken> {
        let given = self.undone.get(path).copied().unwrap_or(0).saturating_sub(1);
        let answers = said_of(&self.script.undos, path);
        let answer = answers.and_then(|answers| nth(answers, given, |answer| answer.times)).cloned();
        if self.can_verify(path) {
            if self.probed.contains_key(path) {
                return Ok(());
            }
            let look = answer.and_then(|answer| answer.look);
            let seen = self.seen(path, look.as_ref())?;
            self.probed.insert(path.clone(), if seen == Ok(true) { Look::UnderWay } else { Look::InVain });
            if seen == Ok(true) {
                let happened = Doubt::Happened { outputs: Value::Null };
                self.truth_comes(path, happened, "a look".to_owned(), true);
                return Ok(());
            }
            let (Some(record), Some(step)) = (self.state.record(path), self.state.step(path)) else { return Ok(()) };
            let does = crate::engine::describe_doubtful(self.around.registry, step, record, true);
            if !record.doubt_asked {
                self.record(Event::DoubtAsked { step: path.clone(), does, undo: true })?;
            }
            return self.resolve_undo(path);
        }
        if self.asked.contains_key(path) {
            return Ok(());
        }
        let Some((truth, by)) = answer.and_then(|answer| answer.in_doubt) else {
            return Err(Broken::NoTruth { step: path.clone(), undo: true });
        };
        let said = match truth {
            Truth::Happened => Some(Doubt::Happened { outputs: Value::Null }),
            Truth::DidNotHappen => Some(Doubt::DidNotHappen),
            Truth::Again => Some(Doubt::Again),
            Truth::NobodyKnows => None,
        };
        self.asked.insert(path.clone(), usize::from(said.is_some()));
        if let Some(said) = said {
            self.truth_comes(path, said, by, true);
        }
        Ok(())
    }

    fn truth_comes(&mut self, path: &StepPath, doubt: Doubt, by: String, undo: bool) {
        self.comes_after(Duration::ZERO, Coming::Truth { step: path.clone(), doubt, by, undo });
    }

    pub(super) fn take_truth(&mut self, step: StepPath, doubt: Doubt, by: String, undo: bool) -> Result<(), Broken> {
        self.asked.remove(&step);
        let Some(record) = self.state.record(&step) else { return Ok(()) };
        let is_open = if undo { record.undo == Some(UndoState::InDoubt) } else { record.state == StepState::InDoubt };
        if is_open { self.record(Event::DoubtResolved { step, doubt, by, undo }) } else { Ok(()) }
    }

    /// What was cut off by a crash is done now. What failed without a trace is tried again as any other failure is.
    fn after_it_did_not_happen(&self, step: &StepPath) -> Doubt {
        let Some(record) = self.state.record(step) else { return Doubt::DidNotHappen };
        let Some(mut error) = record.error.as_deref().filter(|error| error.uncertain).cloned() else {
            return if self.state.is_halted(step) { Doubt::DidNotHappen } else { Doubt::Again };
        };
        error.uncertain = false;
        let tried = self.tried(step, Attempt(record.attempts));
        match tried.map(|tried| after_attempt(&tried, AttemptResult::Failed { error }, None).1) {
            Some(Next::Again { .. }) if !self.state.is_halted(step) => Doubt::Again,
            _ => Doubt::DidNotHappen,
        }
    }
}

/// A decision as a case words it.
pub(super) fn decision(by: &str, answer: crate::run::Answer, answers: IndexMap<String, Value>) -> Decision {
    let by = if by.contains(':') { by.to_owned() } else { format!("user:{by}") };
    Decision { by, answer, answers, via: "test".to_owned() }
}
