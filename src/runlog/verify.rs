//! Checks a record offline: chain, numbers, payloads, plan, and whether the events could have happened in this order.

use std::sync::Arc;

use serde::Serialize;

use super::entry;
use super::file::{LogError, Scan};
use super::record::Record;
use crate::base::Digest;
use crate::run::{Outcome, RunState};

/// What is first found to be wrong in a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file.
    pub file: String,
    /// The line of the log, from 1.
    pub line: Option<u64>,
    /// The byte it begins at.
    pub byte: Option<usize>,
    /// The step it seems to be about.
    pub step: Option<String>,
    /// What is wrong.
    pub what: String,
}

/// What a check found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Verdict {
    /// Is everything what was written?
    pub whole: bool,
    /// The run's id.
    pub run: Option<String>,
    /// The runbook's name.
    pub runbook: Option<String>,
    /// How many lines are whole.
    pub lines: usize,
    /// The hash of the last of them.
    pub head: Digest,
    /// How many bytes of an unfinished line follow.
    pub torn: usize,
    /// How many payloads out of line were read.
    pub payloads: usize,
    /// How many bytes they have.
    pub payload_bytes: u64,
    /// The digest of the stored plan, if there is one.
    pub plan: Option<Digest>,
    /// How the run ended, if it has.
    pub outcome: Option<Outcome>,
    /// What is wrong first.
    pub finding: Option<Finding>,
    #[serde(skip)]
    hashes: Vec<Digest>,
}

impl Verdict {
    /// The line that has this hash, or a hash that begins so.
    pub fn line_with(&self, hash: &str) -> Option<usize> {
        self.hashes.iter().position(|known| known.as_str().starts_with(hash)).map(|place| place + 1)
    }
}

impl Record {
    /// Checks everything that can be checked without asking anybody. An error means that nothing could be judged: the
    /// log was written by a newer version.
    pub fn verify(&self) -> Result<Verdict, LogError> {
        let mut scan = self.scan();
        let plan = self.plan.as_ref().map(|_| self.plan());
        let mut finding = match scan.damage.take() {
            Some(newer @ LogError::Newer { .. }) => return Err(newer),
            Some(damage) => Some(self.damage(damage)),
            None => None,
        };
        let lines = scan.entries.len();
        let head = scan.entries.last().map_or_else(Digest::zero, |entry| entry.hash.clone());
        let (mut run, mut runbook, mut digest, mut outcome) = (None, None, None, None);
        match plan {
            Some(Ok(plan)) => {
                runbook = Some(plan.runbook().name.to_string());
                digest = Some(plan.digest().clone());
                let (state, illegal) = self.replay(plan, &scan);
                run = state.run().map(ToString::to_string);
                outcome = state.outcome();
                finding = illegal.or(finding);
            }
            // What is wrong in the log has a line, so it comes first.
            Some(Err(error)) => {
                let path = format!("{}: ", self.plan_path);
                let what = error.to_string();
                let what = what.strip_prefix(&path).unwrap_or(&what).to_owned();
                let wrong = Finding { file: self.plan_path.clone(), line: None, byte: None, step: None, what };
                finding = Some(finding.unwrap_or(wrong));
            }
            None => {}
        }
        finding = finding.or_else(|| self.differs_from_manifest(&scan, &head, run.as_deref()));
        Ok(Verdict {
            whole: finding.is_none(),
            run,
            runbook,
            lines,
            head,
            torn: scan.torn,
            payloads: scan.payloads.len(),
            payload_bytes: scan.payloads.iter().map(|payload| payload.bytes).sum(),
            plan: digest,
            outcome,
            finding,
            hashes: scan.entries.into_iter().map(|entry| entry.hash).collect(),
        })
    }

    /// Lets the events happen again. Returns the first that could not have.
    fn replay(&self, plan: crate::plan::Plan, scan: &Scan) -> (RunState, Option<Finding>) {
        let mut state = RunState::new(Arc::new(plan));
        for entry in &scan.entries {
            if let Err(refused) = state.apply(&entry.recorded) {
                let step = entry.recorded.event.step().map(ToString::to_string);
                let what = format!("it does not fit the plan: {refused}");
                let line = usize::try_from(entry.seq).unwrap_or(usize::MAX);
                let before = self.log.split_inclusive(|byte| *byte == b'\n').take(line.saturating_sub(1));
                let byte = before.map(<[u8]>::len).sum();
                let finding =
                    Finding { file: self.log_path.clone(), line: Some(entry.seq), byte: Some(byte), step, what };
                return (state, Some(finding));
            }
        }
        (state, None)
    }

    fn damage(&self, damage: LogError) -> Finding {
        match damage {
            LogError::Damaged { path, line, offset, reason } => {
                let end =
                    self.log[offset..].iter().position(|byte| *byte == b'\n').map_or(self.log.len(), |n| offset + n);
                let step = entry::step_named(&self.log[offset..end]);
                Finding { file: path, line: Some(line), byte: Some(offset), step, what: reason }
            }
            other => {
                Finding { file: self.log_path.clone(), line: None, byte: None, step: None, what: other.to_string() }
            }
        }
    }

    /// What an export says of its log must be so.
    fn differs_from_manifest(&self, scan: &Scan, head: &Digest, run: Option<&str>) -> Option<Finding> {
        let manifest = &self.exported()?.manifest;
        let lines = u64::try_from(scan.entries.len()).unwrap_or(u64::MAX);
        let what = if scan.torn > 0 {
            format!("its last line is torn: {} bytes", scan.torn)
        } else if (manifest.lines, &manifest.head) != (lines, head) {
            format!(
                "it has {lines} lines and head {head}; the export's list says {} and {}",
                manifest.lines, manifest.head
            )
        } else if run.is_some_and(|run| run != manifest.run) {
            format!("it belongs to run {}; the export's list says {}", run.unwrap_or_default(), manifest.run)
        } else {
            return None;
        };
        Some(Finding { file: self.log_path.clone(), line: None, byte: None, step: None, what })
    }
}
