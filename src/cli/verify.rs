//! `runbook verify`: is a record what was written, and could it have happened so?

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use crate::runlog::{ExportError, Finding, Record, Signed, Store, Verdict};

use super::env;
use super::errors::CliError;
use super::exit::Exit;
use super::flags::Format;

/// Arguments of `runbook verify`.
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The run: its id, a part of it, or `last`; or a file: an export, a log.
    #[arg(value_name = "RUN|FILE", add = clap_complete::engine::ArgValueCompleter::new(super::completions::runs))]
    run: String,
    /// The hash of the last line, as it was noted elsewhere; at least 12 digits of it.
    #[arg(long, value_name = "HASH")]
    head: Option<String>,
    /// Who may have signed an export: allowed signers, or public keys.
    #[arg(long, value_name = "FILE")]
    signed_by: Option<PathBuf>,
    /// How to print what was found.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Debug, Default, Serialize)]
struct Found {
    #[serde(flatten)]
    verdict: Option<Verdict>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signed_by: Option<String>,
    /// Key of the signature, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    /// How many lines came after the noted head.
    #[serde(skip_serializing_if = "Option::is_none")]
    since_head: Option<usize>,
}

impl Verify {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        if let Some(head) = &self.head {
            let fits = (12..=64).contains(&head.len()) && head.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
            if !fits {
                return Err(CliError::usage(format!("`{head}` is no hash: at least 12 of 64 hexadecimal digits")));
            }
        }
        let record = match Record::find(&Store::new(env::state_folder()), &self.run) {
            Ok(record) => record,
            Err(ExportError::Damaged { path, offset, reason }) => {
                return self.refuse(&Finding { file: path, line: None, byte: Some(offset), step: None, what: reason });
            }
            Err(error) => return Err(error.into()),
        };
        let verdict = record.verify()?;
        if let Some(finding) = &verdict.finding {
            return match self.format {
                Format::Json => super::print_json(&Found { verdict: Some(verdict), ..Found::default() }),
                Format::Text => super::print(&format!(
                    "{}  {} before that are whole\n  head:     {}\n",
                    line(finding),
                    entries(verdict.lines),
                    verdict.head
                )),
            }
            .map(|()| Exit::Failed);
        }
        let mut found = Found::default();
        if let Some(head) = &self.head {
            match verdict.line_with(head) {
                Some(line) => found.since_head = Some(verdict.lines - line),
                None => {
                    let what = format!("no line has the hash {head}: lines were cut off its end, or it is another log");
                    return self.refuse(&about(&record, what));
                }
            }
        }
        let signature = record.exported().and_then(|exported| Some((exported, exported.signature.as_ref()?)));
        if let Some((exported, signature)) = signature {
            let signed = match Signed::check(signature, &exported.signed) {
                Ok(signed) => signed,
                Err(error) => return self.refuse(&about(&record, format!("its signature does not count: {error}"))),
            };
            found.key = Some(signed.fingerprint().to_string());
            if let Some(path) = &self.signed_by {
                let allowed = std::fs::read_to_string(path).map_err(|error| CliError::file(path, error))?;
                match signed.by(&allowed) {
                    Ok(name) => found.signed_by = Some(name),
                    Err(error) => {
                        return self.refuse(&about(&record, format!("its signature does not count: {error}")));
                    }
                }
            }
        } else if self.signed_by.is_some() {
            return self.refuse(&about(&record, "it is not signed".to_owned()));
        }
        match self.format {
            Format::Json => super::print_json(&Found { verdict: Some(verdict), ..found })?,
            Format::Text => super::print(&self.whole(&record, &verdict, &found))?,
        }
        Ok(Exit::Succeeded)
    }

    /// Tells the one thing that is wrong.
    fn refuse(&self, finding: &Finding) -> Result<Exit, CliError> {
        match self.format {
            Format::Json => super::print_json(&serde_json::json!({ "whole": false, "finding": finding }))?,
            Format::Text => super::print(&line(finding))?,
        }
        Ok(Exit::Failed)
    }

    fn whole(&self, record: &Record, verdict: &Verdict, found: &Found) -> String {
        let run = match (&verdict.run, &verdict.runbook) {
            (Some(run), Some(runbook)) => format!("{run} of {runbook}"),
            _ => record.log_path().to_owned(),
        };
        let mut text = format!("{run} is whole: {}\n", entries(verdict.lines));
        let mut say = |name: &str, what: String| text.push_str(&format!("  {name:<9} {what}\n"));
        match (&verdict.plan, verdict.outcome) {
            (None, _) => say("plan:", "there is none beside it, so only the chain of its lines was checked".to_owned()),
            (Some(plan), outcome) => {
                say("ended:", outcome.map_or("not over".to_owned(), |outcome| outcome.to_string()));
                say("plan:", plan.to_string());
            }
        }
        if verdict.payloads > 0 {
            say("payloads:", format!("{} out of line, {} bytes", verdict.payloads, verdict.payload_bytes));
        }
        if verdict.torn > 0 {
            let what = format!("{} bytes of a last line that was never finished; `resume` drops them", verdict.torn);
            say("torn:", what);
        }
        match (&found.signed_by, &found.key) {
            (Some(name), Some(key)) => say("signed:", format!("by {name}, {key}")),
            (None, Some(key)) => say("signed:", format!("with {key}; `--signed-by FILE` says whether that counts")),
            _ => {}
        }
        match found.since_head {
            Some(0) => say("noted:", "the noted head is that of its last line".to_owned()),
            Some(count) => say("noted:", format!("the noted head is there; {} came after it", entries(count))),
            None => {}
        }
        say("head:", verdict.head.to_string());
        text
    }
}

fn about(record: &Record, what: String) -> Finding {
    Finding { file: record.log_path().to_owned(), line: None, byte: None, step: None, what }
}

fn line(finding: &Finding) -> String {
    let line = finding.line.map(|line| format!(":{line}")).unwrap_or_default();
    let place: Vec<String> = finding
        .byte
        .map(|byte| format!("byte {byte}"))
        .into_iter()
        .chain(finding.step.as_ref().map(|step| format!("step `{step}`")))
        .collect();
    let place = if place.is_empty() { String::new() } else { format!(" ({})", place.join(", ")) };
    format!("damaged: {}{line}{place}: {}\n", finding.file, finding.what)
}

fn entries(count: usize) -> String {
    if count == 1 { "1 entry".to_owned() } else { format!("{count} entries") }
}
