//! `runbook approve` and `runbook reject`: answer at the gate of a run that another process leads, or nobody.

use clap::Args;
use indexmap::IndexMap;
use serde_json::Value;

use crate::base::clock::SystemClock;
use crate::base::{Clock, StepPath};
use crate::engine::Approvers;
use crate::run::{self, Decision, Gate, StepState};
use crate::runlog::Letter;

use super::drive::known_step;
use super::env;
use super::errors::CliError;
use super::exit::Exit;
use super::known::{KnownRun, Sent};
use super::plan::intent_lines;

/// Arguments of `runbook approve` and `runbook reject`.
#[derive(Debug, Args)]
pub(super) struct Answer {
    /// The run: its id, a part of it, or `last`.
    #[arg(value_name = "RUN", add = clap_complete::engine::ArgValueCompleter::new(super::completions::runs))]
    run: String,
    /// The step whose gate it is.
    #[arg(value_name = "STEP", add = clap_complete::engine::ArgValueCompleter::new(super::completions::gates))]
    step: String,
    /// Answer a question that the gate asks: `reason=…`.
    #[arg(long, value_name = "NAME=VALUE")]
    answer: Vec<String>,
    /// The digest of what you have been shown, or its beginning. Refused when the gate asks about anything else.
    #[arg(long, value_name = "DIGEST")]
    digest: Option<String>,
}

impl Answer {
    pub(super) fn run(self, answer: run::Answer) -> Result<Exit, CliError> {
        let known = KnownRun::find(&self.run)?;
        known.must_go_on()?;
        let step = known_step(&known.state, &self.step)?;
        let gate = open_gate(&known, &step)?;
        if let Some(digest) = self.digest.as_ref().filter(|digest| !is_beginning(&gate.digest.to_string(), digest)) {
            return Err(CliError::Usage {
                message: format!("the gate of `{step}` asks about {}, not about {digest}", gate.digest.short()),
                hint: Some(format!("nothing was changed; `runbook show {}` tells what it asks", known.folder.id)),
            });
        }
        let decision = Decision { by: env::user(), answer, answers: self.answers()?, via: "letter".to_owned() };
        show(&step, gate, &decision);
        judge(&known, &step, gate, decision.clone())?;
        let letter = Letter::Gate { step: step.clone(), digest: gate.digest.clone(), decision };
        let id = &known.folder.id;
        let sent = if known.is_led() {
            anstream::eprintln!("waiting until the process that leads run {id} takes note");
            known.send(&letter)?
        } else {
            known.leave(&letter)?;
            Sent::Left
        };
        Ok(match sent {
            Sent::Granted => {
                anstream::eprintln!("your answer is in the log; see how it goes with: runbook watch {id}");
                Exit::Succeeded
            }
            Sent::Left => {
                anstream::eprintln!("your answer was left with the run, which no process has taken up");
                anstream::eprintln!("go on with: runbook resume {id}");
                Exit::Waiting
            }
        })
    }

    fn answers(&self) -> Result<IndexMap<String, Value>, CliError> {
        let parsed = self.answer.iter().map(|text| {
            let (name, value) = text
                .split_once('=')
                .ok_or_else(|| CliError::usage(format!("`{text}` is not of the form NAME=VALUE")))?;
            Ok((name.to_owned(), Value::from(value)))
        });
        parsed.collect()
    }
}

fn is_beginning(digest: &str, typed: &str) -> bool {
    let bare = |text: &str| text.rsplit(':').next().unwrap_or_default().to_owned();
    !typed.is_empty() && bare(digest).starts_with(&bare(typed))
}

/// The open gate of a step.
fn open_gate<'s>(known: &'s KnownRun, step: &StepPath) -> Result<&'s Gate, CliError> {
    let state = &known.state;
    if state.step(step).is_none_or(|step| step.approval.is_none()) {
        return Err(CliError::usage(format!("step `{step}` has no gate to open")));
    }
    match state.record(step).map(|record| &record.state) {
        Some(StepState::AtGate(gate)) => Ok(gate),
        _ => {
            let open: Vec<String> = state
                .waiting_for_people()
                .filter(|step| state.is_at_gate(step))
                .map(|step| format!("`{step}`"))
                .collect();
            let hint = match open.as_slice() {
                [] => format!("no gate of this run is open; `runbook watch {}` shows when one opens", known.folder.id),
                open => format!("open are: {}", open.join(", ")),
            };
            Err(CliError::Usage { message: format!("the gate of `{step}` is not open now"), hint: Some(hint) })
        }
    }
}

/// What the answer is about.
fn show(step: &StepPath, gate: &Gate, decision: &Decision) {
    let says = match decision.answer {
        run::Answer::Approve => "yes",
        run::Answer::Reject => "no",
    };
    anstream::eprintln!("{} says {says} to `{step}`: {}", decision.by, gate.prompt);
    gate.does.iter().flat_map(intent_lines).for_each(|line| anstream::eprintln!("    {line}"));
    anstream::eprintln!("  digest {}", gate.digest.short());
}

/// The rules that the process that leads the run will go by; asked here too, so that whoever may not answer learns it at
/// once.
fn judge(known: &KnownRun, step: &StepPath, gate: &Gate, decision: Decision) -> Result<(), CliError> {
    let approvers = Approvers::load(&known.plan.folder())?;
    let approval = known.state.step(step).and_then(|step| step.approval.as_ref());
    let Some(approval) = approval else { return Ok(()) };
    // A drill has a time of its own: there, only the one who leads it knows what has lapsed.
    let now = if known.state.drill().is_some() { known.state.now() } else { SystemClock.now() };
    approvers
        .take(approval, gate, decision, known.state.started_by(), now)
        .map_err(|refusal| CliError::Refused { run: known.folder.id.to_string(), reason: refusal.to_string() })
        .map(drop)
}
