//! Letters from other processes: read, held against what is so now, and recorded by the one who leads the run.

use std::time::Duration;

use super::super::{Notice, Reply};
use super::{Embedded, EngineError};
use crate::base::StepPath;
use crate::run::{Event, Recorded};
use crate::runlog::Letter;

/// How often the inbox is looked into, by the world's clock: somebody waits for it at another terminal.
const EVERY: Duration = Duration::from_millis(200);

impl Embedded {
    /// Ends when it is time to look into the inbox and something is there.
    pub(super) fn letters_due(&self) -> impl Future<Output = ()> + use<> {
        let inbox = self.parts.inbox.clone();
        async move {
            let Some(inbox) = inbox else { return std::future::pending().await };
            loop {
                tokio::time::sleep(EVERY).await;
                if !inbox.letters().is_empty() {
                    return;
                }
            }
        }
    }

    /// Deals with every letter that is there.
    pub(super) fn read_letters(&mut self) -> Result<(), EngineError> {
        let letters = self.parts.inbox.as_ref().map(crate::runlog::Inbox::letters).unwrap_or_default();
        for (path, letter) in letters {
            self.read_letter(letter)?;
            self.answered.push(path);
        }
        Ok(())
    }

    fn read_letter(&mut self, letter: Letter) -> Result<(), EngineError> {
        match letter {
            Letter::Cancel { by } if self.parts.state.is_cancelled() => {
                let _ = by;
                Ok(())
            }
            Letter::Cancel { by } => self.record(Event::CancelRequested { by }),
            Letter::Gate { step, decision } => self.take_reply(step, Some(Reply::Gate(decision))),
            Letter::Manual { step, by, result } => self.take_reply(step, Some(Reply::Manual { by, result })),
            Letter::Doubt { step, by, doubt, undo } => self.take_reply(step, Some(Reply::Doubt { by, doubt, undo })),
            Letter::Extend { step, until, by, reason } => {
                self.try_record(&step.clone(), Event::MeasureExtended { step, until, by, reason })
            }
            Letter::Close { step, by, reason } => {
                self.try_record(&step.clone(), Event::MeasureClosed { step, by, reason })
            }
        }
    }

    /// Records what somebody wants, or says why it cannot be.
    pub(super) fn try_record(&mut self, step: &StepPath, event: Event) -> Result<(), EngineError> {
        let recorded = Recorded { at: self.parts.doors.clock.now(), event };
        match self.parts.state.apply(&recorded) {
            Ok(()) => self.batch.push(recorded),
            Err(refused) => {
                let _ = self.parts.notices.send(Notice::Refused { step: step.clone(), reason: refused.to_string() });
            }
        }
        Ok(())
    }
}
