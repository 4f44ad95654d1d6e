//! Letters from other processes: read, held against what is so now, and recorded by the one who leads the run.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior};

use super::super::{Notice, Reply};
use super::questions::Taken;
use super::{Embedded, EngineError};
use crate::base::StepPath;
use crate::run::{Event, Recorded};
use crate::runlog::{Inbox, Letter, Received};

/// How often the inbox is looked into, by the world's clock: somebody waits for it at another terminal.
const EVERY: Duration = Duration::from_millis(200);

/// Ends when it is time to look into the inbox and something is there. `looks` outlives the call, so that a run in which
/// something happens all the time still comes to look.
pub(super) async fn letters_due(inbox: Option<&Inbox>, looks: &mut Option<Interval>) {
    let Some(inbox) = inbox else { return std::future::pending().await };
    let looks = looks.get_or_insert_with(|| {
        let mut every = tokio::time::interval(EVERY);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        every
    });
    loop {
        looks.tick().await;
        if !inbox.letters().is_empty() {
            return;
        }
    }
}

impl Embedded {
    /// Deals with every letter that is there, each once.
    pub(super) fn read_letters(&mut self) -> Result<(), EngineError> {
        let letters = self.parts.inbox.as_ref().map(Inbox::letters).unwrap_or_default();
        for Received { name, letter, .. } in letters {
            if !self.read.insert(name.clone()) {
                continue;
            }
            let refused = match letter {
                Ok(letter) => self.read_letter(letter)?,
                Err(reason) => Some(reason),
            };
            self.answered.push((name, refused));
        }
        Ok(())
    }

    /// Does what a letter wants, or says why it cannot be.
    fn read_letter(&mut self, letter: Letter) -> Result<Option<String>, EngineError> {
        match letter {
            Letter::Cancel { .. } if self.parts.state.is_cancelled() => Ok(None),
            Letter::Cancel { by, reason } => self.record(Event::CancelRequested { by, reason }).map(|()| None),
            Letter::Gate { step, digest, decision } => {
                self.take_letter(&step, Reply::Gate(decision), |now| *now == digest)
            }
            Letter::Manual { step, by, result } => self.take_letter(&step, Reply::Manual { by, result }, |_| true),
            Letter::Doubt { step, by, doubt, undo } => {
                self.take_letter(&step, Reply::Doubt { by, doubt, undo }, |_| true)
            }
            Letter::Extend { step, until, by, reason } => {
                Ok(self.try_record(Event::MeasureExtended { step, until, by, reason }))
            }
            Letter::Close { step, by, reason } => Ok(self.try_record(Event::MeasureClosed { step, by, reason })),
        }
    }

    /// Takes an answer that came by letter. `is_about` says whether it was given to what is asked now.
    fn take_letter(
        &mut self,
        step: &StepPath,
        reply: Reply,
        is_about: impl FnOnce(&crate::base::Digest) -> bool,
    ) -> Result<Option<String>, EngineError> {
        let Some(record) = self.parts.state.record(step) else {
            return Ok(Some(format!("the run has no step `{step}`")));
        };
        if let crate::run::StepState::AtGate(gate) = &record.state
            && !is_about(&gate.digest)
        {
            let now = gate.digest.short();
            return Ok(Some(format!("the gate asks about something else by now, with digest {now}")));
        }
        let reason = match self.take_answer(step, reply)? {
            Taken::Recorded => return Ok(None),
            Taken::Late => "nothing of the kind is asked about it now".to_owned(),
            Taken::Refused(reason) => reason,
        };
        let _ = self.parts.notices.send(Notice::Refused { step: step.clone(), reason: reason.clone() });
        Ok(Some(reason))
    }

    /// Records what somebody wants, or says why it cannot be.
    fn try_record(&mut self, event: Event) -> Option<String> {
        let recorded = Recorded { at: self.parts.doors.clock.now(), event };
        match self.parts.state.apply(&recorded) {
            Ok(()) => {
                self.batch.push(recorded);
                None
            }
            Err(refused) => Some(refused.why),
        }
    }

    /// Nobody reads the letters any more: the run is over.
    pub(super) fn refuse_letters(&self) {
        let Some(inbox) = &self.parts.inbox else { return };
        for Received { name, .. } in inbox.letters() {
            inbox.refuse(&name, "the run was over before it was read");
        }
    }
}
