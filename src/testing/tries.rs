//! What the world says: canned results of tries and undos, cut off where they take too long, and lost where they should be.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::document::{Answer, LostBy, UndoAnswer, What};
use super::driver::{Broken, Driver};
use crate::action::{ActionError, ErrorKind, Undone};
use crate::base::{Attempt, HumanDuration, StepPath};
use crate::report::{Summary, render};
use crate::run::{Decision, Event, Kept, ManualResult, Rendering};
use crate::runbook::{Does, Undo};

/// Something that the world is going to say.
#[derive(Debug)]
pub(super) enum Coming {
    /// A try ends.
    Attempt { step: StepPath, attempt: Attempt, result: Result<Value, ActionError>, checkpoint: Option<Value> },
    /// The program dies.
    Crash,
    /// An undo ends.
    Undone { step: StepPath, result: Result<Undone, ActionError> },
    /// Somebody answers at a gate.
    Voice { step: StepPath, decision: Decision },
    /// Somebody has done what they were asked to do, or not.
    Hand { step: StepPath, by: String, result: ManualResult },
    /// Somebody, or a probe, says what became of a step or of its undo.
    Truth { step: StepPath, doubt: crate::run::Doubt, by: String, undo: bool },
    /// The run is stopped.
    Stop,
}

/// What a case says of a step: under its own path, else under one in which items have no names, so that what is said of
/// `revoke` goes for `revoke[u_42]`, and what is said of `regions/go` for `regions[eu]/go`.
pub(super) fn said_of<'m, T>(said: &'m BTreeMap<StepPath, T>, path: &StepPath) -> Option<&'m T> {
    if let Some(found) = said.get(path) {
        return Some(found);
    }
    let parts: Vec<&str> = path.as_str().split('/').collect();
    let named = parts.iter().filter(|part| part.contains('[')).count();
    // The more of the items are named, the better it fits; of as many, the innermost.
    let fits = |candidate: &str| {
        let other: Vec<&str> = candidate.split('/').collect();
        let plain = |part: &str| part.split('[').next().map(str::to_owned);
        let same = other.len() == parts.len()
            && other.iter().zip(&parts).all(|(one, part)| one == part || Some((*one).to_owned()) == plain(part));
        same.then(|| other.iter().rev().map(|part| part.contains('[')).collect::<Vec<_>>())
    };
    if named == 0 {
        return None;
    }
    let score = |marks: &[bool]| (marks.iter().filter(|mark| **mark).count(), marks.to_vec());
    said.iter()
        .filter_map(|(candidate, found)| Some((score(&fits(candidate.as_str())?), found)))
        .max_by(|(one, _), (other, _)| one.cmp(other))
        .map(|(_, found)| found)
}

/// The answer after so many have been given: each comes as often as it says, the last one goes on.
pub(super) fn nth<T>(answers: &[T], given: u32, times: impl Fn(&T) -> u32) -> Option<&T> {
    let mut left = given;
    for answer in answers {
        if left < times(answer) {
            return Some(answer);
        }
        left -= times(answer);
    }
    answers.last()
}

impl Driver<'_> {
    /// Begins a try: what it will come to is known already.
    pub(super) fn launch_attempt(&mut self, path: &StepPath) -> Result<(), Broken> {
        let (Some(step), Some(record)) = (self.state.step(path), self.state.record(path)) else { return Ok(()) };
        let Does::Action { uses, .. } = &step.does else { return Ok(()) };
        let (uses, timeout, attempt) = (uses.clone(), step.timeout, Attempt(record.attempts));
        let params = record.params.as_ref().map(Kept::value).unwrap_or_default();
        if let Err(unfit) = self.check_params(&uses, &params) {
            self.attempt_comes(path, attempt, Duration::ZERO, Err(unfit), None);
            return Ok(());
        }
        let given = self.given.get(path).copied().unwrap_or(0);
        let script = self.script;
        let answer = said_of(&script.steps, path).and_then(|answers| nth(answers, given, |answer| answer.times));
        let Some(Answer { what, takes, checkpoint, .. }) = answer else {
            if uses == "report.render" {
                let result = self.write_report(&params);
                self.attempt_comes(path, attempt, Duration::ZERO, result, None);
                return Ok(());
            }
            return Err(Broken::NoAnswer(path.clone()));
        };
        *self.given.entry(path.clone()).or_default() += 1;
        let mut takes = *takes;
        let late = timeout.filter(|limit| takes > limit.0);
        match what {
            What::InDoubt(doubt) => self.doubts.insert(path.clone(), doubt.clone()),
            _ => self.doubts.remove(path),
        };
        let result = match (late, what) {
            (Some(limit), _) => {
                takes = limit.0;
                Err(too_long(limit))
            }
            (None, What::Succeeds(outputs)) => Ok(outputs.clone()),
            (None, What::Fails(error)) => Err(error.clone()),
            (None, What::InDoubt(doubt)) if doubt.because == LostBy::Crash => {
                self.comes_after(takes, Coming::Crash);
                return Ok(());
            }
            (None, What::InDoubt(_)) => Err(no_answer()),
            (None, What::ByHand(_)) => return Err(Broken::NoAnswer(path.clone())),
        };
        self.attempt_comes(path, attempt, takes, result, checkpoint.clone());
        Ok(())
    }

    fn attempt_comes(
        &mut self,
        path: &StepPath,
        attempt: Attempt,
        takes: Duration,
        result: Result<Value, ActionError>,
        checkpoint: Option<Value>,
    ) {
        self.comes_after(takes, Coming::Attempt { step: path.clone(), attempt, result, checkpoint });
    }

    /// Are these parameters such as the action takes? An action that is given others fails before it does anything.
    fn check_params(&self, uses: &str, params: &Value) -> Result<(), ActionError> {
        match self.around.registry.get(uses) {
            Some(action) => action
                .check_params(params)
                .map_err(|reason| ActionError::invalid_params(format!("the parameters do not fit `{uses}`: {reason}"))),
            None => Err(ActionError::new(ErrorKind::Internal, format!("this version has no action `{uses}`"))),
        }
    }

    /// Writes the report as `report.render` does, except that it stays in memory.
    fn write_report(&mut self, params: &Value) -> Result<Value, ActionError> {
        let word = |name: &str, usual: &str| params[name].as_str().unwrap_or(usual).to_owned();
        let template = word("template", crate::report::POST_INCIDENT);
        let refuse = |reason: String| ActionError::new(ErrorKind::Template, reason);
        let text = (self.around.template)(&template).map_err(refuse)?;
        let summary = Summary::of(self.state.plan(), &self.log).map_err(|error| refuse(error.to_string()))?;
        self.report = Some(render(&summary, &template, &text).map_err(|error| refuse(error.to_string()))?);
        Ok(json!({ "path": word("output", "report.md") }))
    }

    pub(super) fn launch_undo(&mut self, path: &StepPath) -> Result<(), Broken> {
        let (Some(step), Some(record)) = (self.state.step(path), self.state.record(path)) else { return Ok(()) };
        let (uses, params, timeout) = match (&step.undo, &step.does) {
            (Some(Undo::Action { uses, timeout, .. }), _) => (uses.clone(), &record.undo_params, *timeout),
            (_, Does::Action { uses, .. }) => (uses.clone(), &record.params, step.timeout),
            _ => return Ok(()),
        };
        let by_itself = !matches!(step.undo, Some(Undo::Action { .. }));
        let params = params.as_ref().map(Kept::value).unwrap_or_default();
        if let Err(unfit) = self.check_params(&uses, &params) {
            self.comes_after(Duration::ZERO, Coming::Undone { step: path.clone(), result: Err(unfit) });
            return Ok(());
        }
        let given = self.undone.get(path).copied().unwrap_or(0);
        let script = self.script;
        let answer = said_of(&script.undos, path).and_then(|answers| nth(answers, given, |answer| answer.times));
        let Some(UndoAnswer { result, in_doubt, takes, look, .. }) = answer else {
            return Err(Broken::NoUndo(path.clone()));
        };
        let (mut takes, look) = (*takes, look.clone());
        let late = timeout.filter(|limit| takes > limit.0);
        let summary = match self.around.registry.get(&uses).and_then(|action| action.contract().undo) {
            Some(words) if by_itself => words.to_owned(),
            _ => format!("ran `{uses}`"),
        };
        let result = match (late, in_doubt, result) {
            (Some(limit), ..) => {
                takes = limit.0;
                Err(too_long(limit))
            }
            (None, Some(_), _) => Err(no_answer()),
            (None, None, Ok(left)) => Ok(Undone { summary, left: left.clone() }),
            (None, None, Err(error)) => Err(error.clone()),
        };
        let result = match result {
            Ok(undone) => self.seen(path, look.as_ref())?.and_then(|seen| {
                let unseen = "it was done, but the look afterwards does not show it";
                if seen { Ok(undone) } else { Err(ActionError::new(ErrorKind::NotMet, unseen)) }
            }),
            failed => failed,
        };
        *self.undone.entry(path.clone()).or_default() += 1;
        self.comes_after(takes, Coming::Undone { step: path.clone(), result });
        Ok(())
    }

    /// What the look after an undo shows; true where nobody looks.
    pub(super) fn seen(
        &self,
        path: &StepPath,
        found: Option<&Result<Value, ActionError>>,
    ) -> Result<Result<bool, ActionError>, Broken> {
        let step = self.state.step(path);
        let Some(Undo::Action { verify: Some(verify), .. }) = step.and_then(|step| step.undo.as_ref()) else {
            return Ok(Ok(true));
        };
        let Some(rendering) = Rendering::new(&self.state, path, self.now) else { return Ok(Ok(true)) };
        let params = match rendering.verify_params() {
            Ok(params) => params.unwrap_or_default(),
            Err(error) => return Ok(Err(error.into())),
        };
        if let Err(unfit) = self.check_params(&verify.uses, &params) {
            return Ok(Err(unfit));
        }
        match found {
            None => Err(Broken::NoLook(path.clone())),
            Some(Err(error)) => Ok(Err(error.clone())),
            Some(Ok(outputs)) => Ok(rendering.verify_holds(outputs).map_err(ActionError::from)),
        }
    }

    /// What is under way in this step is told to stop: it ends at once.
    pub(super) fn stop(&mut self, path: &StepPath) {
        let is_of = |coming: &Coming| matches!(coming, Coming::Attempt { step, .. } if step == path);
        let Some(key) = self.coming.iter().find(|(_, coming)| is_of(coming)).map(|(key, _)| *key) else { return };
        if let Some(Coming::Attempt { step, attempt, .. }) = self.coming.remove(&key) {
            self.attempt_comes(&step, attempt, Duration::ZERO, Err(ActionError::cancelled()), None);
        }
    }

    /// Takes what the world says into account.
    pub(super) fn take(&mut self, coming: Coming) -> Result<(), Broken> {
        match coming {
            Coming::Attempt { step, attempt, result, checkpoint } => {
                if let Some(value) = checkpoint {
                    self.record(Event::Checkpoint { step: step.clone(), attempt, value })?;
                }
                self.finish_attempt(&step, attempt, result)
            }
            Coming::Crash => self.crash(),
            Coming::Undone { step, result } => self.finish_undo(&step, result),
            Coming::Voice { step, decision } => self.take_voice(&step, decision),
            Coming::Hand { step, by, result } => self.take_hand(&step, by, result),
            Coming::Truth { step, doubt, by, undo } => self.take_truth(step, doubt, by, undo),
            Coming::Stop => {
                let Some(stop) = &self.script.stop else { return Ok(()) };
                self.record(Event::CancelRequested { by: stop.by.clone(), reason: stop.reason.clone() })
            }
        }
    }
}

/// As an engine says it of a try that it cuts off: nobody saw how far it came.
fn too_long(limit: HumanDuration) -> ActionError {
    ActionError::new(ErrorKind::Timeout, format!("it took longer than {limit}")).uncertain()
}

fn no_answer() -> ActionError {
    ActionError::new(ErrorKind::Timeout, "no answer came").uncertain()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_more_of_the_items_goes_first() {
        let names = ["go", "regions/go", "regions[eu]/go", "regions[eu]/go[x]", "regions/go[x]"];
        let said: BTreeMap<StepPath, &str> = names.iter().map(|name| (StepPath::parse(name).unwrap(), *name)).collect();
        let of = |path: &str| said_of(&said, &StepPath::parse(path).unwrap()).copied();
        assert_eq!(of("go[7]"), Some("go"));
        assert_eq!(of("regions[us]/go"), Some("regions/go"));
        assert_eq!(of("regions[eu]/go[y]"), Some("regions[eu]/go"));
        assert_eq!(of("regions[eu]/go[x]"), Some("regions[eu]/go[x]"));
        assert_eq!(of("regions[us]/go[x]"), Some("regions/go[x]"));
        assert_eq!(of("other"), None);
        assert_eq!(of("regions[us]/other"), None);
    }

    #[test]
    fn the_last_answer_goes_on() {
        let answers = [("a", 1), ("b", 2), ("c", 1)];
        let of = |given| nth(&answers, given, |answer| answer.1).unwrap().0;
        assert_eq!([0, 1, 2, 3, 4, 99].map(of), ["a", "b", "b", "c", "c", "c"]);
    }
}
