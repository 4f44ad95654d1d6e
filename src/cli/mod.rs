//! What people type: one small file per subcommand. stdout is data, everything else is stderr.

mod answer;
mod cancel;
mod check;
mod completions;
mod diff;
mod docs;
mod drill;
mod drive;
mod env;
mod errors;
mod exit;
mod explain;
mod export;
mod find;
mod flags;
mod fmt;
mod git;
mod known;
mod locks;
mod measures;
mod plan;
mod policy;
mod preflight;
mod prune;
mod quorum;
mod report;
mod resume;
mod run;
mod runs;
mod schema;
mod show;
mod stale;
mod stand_ins;
mod terminal;
mod test;
mod undo;
mod unified;
mod verify;
mod version;
mod watch;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use errors::CliError;
use exit::Exit;

/// Runbooks for incidents: checked like code, planned before they run, rehearsed, run, and recorded.
#[derive(Debug, Parser)]
#[command(name = "runbook", version, about, disable_help_subcommand = true, arg_required_else_help = true)]
#[command(after_help = "Begin with a rehearsal: runbook drill runbooks/clerk-outage.yaml")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Find every mistake in runbook files. Runs nothing.
    Check(check::Check),
    /// Say what a finding means, with an example of the mistake and one of the way out.
    Explain(explain::Explain),
    /// Say what a field of a runbook or an action means, and what it takes.
    Docs(docs::Docs),
    /// Lay runbooks and other YAML files out evenly. Values, comments and their order stay.
    Fmt(fmt::Fmt),
    /// Show what would happen, in which order, and what could be undone. Writes nothing, and asks the world only when told to.
    Plan(plan::Plan),
    /// Look beforehand for everything that a run would miss: secrets, tokens, tools, hosts, approvers. Writes nothing.
    Preflight(preflight::Preflight),
    /// Show what two versions of a runbook mean differently, and whether that makes it riskier. Runs nothing.
    Diff(diff::Diff),
    /// Run a runbook.
    Run(run::Run),
    /// Rehearse a runbook against stand-ins on this machine. No account is needed.
    Drill(drill::Drill),
    /// Start the stand-ins of a drill by themselves, for `curl` or a client, until Ctrl-C.
    StandIns(stand_ins::StandIns),
    /// Run the tests of runbooks: canned results, a clock of their own, and no account.
    Test(test::Test),
    /// List the runbooks that nobody has drilled with success or run lately, and fail when there are any.
    Stale(stale::Stale),
    /// Go on with a run that was stopped, killed, or waits for a person.
    Resume(resume::Resume),
    /// Follow a run that another process leads.
    Watch(watch::Watch),
    /// Say yes at a gate of a run.
    Approve(answer::Answer),
    /// Say no at a gate of a run.
    Reject(answer::Answer),
    /// Take back what a run that is over has done.
    Undo(undo::Undo),
    /// Stop a run from another terminal, or one that nobody leads any more.
    Cancel(cancel::Cancel),
    /// List the emergency measures in force over all runs, make one longer, or end it.
    Measures(measures::Measures),
    /// List the runs on this machine, the newest first; or remove old ones.
    Runs(runs::Runs),
    /// List the locks that runs hold, or break one open.
    Locks(locks::LocksCommand),
    /// Show what is known of a run.
    Show(show::Show),
    /// Write a run's report.
    Report(report::Report),
    /// Check that a run's record is what was written, and could have happened so. Needs no network.
    Verify(verify::Verify),
    /// Write a run as one file that can be checked, shown and reported elsewhere.
    Export(export::Export),
    /// Write the JSON Schema of runbook files, for editors.
    Schema(schema::Schema),
    /// Print the line that makes a shell complete commands, runbooks, runs and steps.
    Completions(completions::Completions),
}

/// Runs the program and says which code it ends with.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    clap_complete::CompleteEnv::with_factory(Cli::command).complete();
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Succeeded.into() };
        }
    };
    let result = match cli.command {
        Command::Check(command) => command.run(),
        Command::Explain(command) => command.run(),
        Command::Docs(command) => command.run(),
        Command::Fmt(command) => command.run(),
        Command::Plan(command) => command.run(),
        Command::Preflight(command) => command.run(),
        Command::Diff(command) => command.run(),
        Command::Run(command) => command.run(),
        Command::Drill(command) => command.run(),
        Command::StandIns(command) => command.run(),
        Command::Test(command) => command.run(),
        Command::Stale(command) => command.run(),
        Command::Resume(command) => command.run(),
        Command::Watch(command) => command.run(),
        Command::Approve(command) => command.run(crate::run::Answer::Approve),
        Command::Reject(command) => command.run(crate::run::Answer::Reject),
        Command::Measures(command) => command.run(),
        Command::Undo(command) => command.run(),
        Command::Cancel(command) => command.run(),
        Command::Runs(command) => command.run(),
        Command::Locks(command) => command.run(),
        Command::Show(command) => command.run(),
        Command::Report(command) => command.run(),
        Command::Verify(command) => command.run(),
        Command::Export(command) => command.run(),
        Command::Schema(command) => command.run(),
        Command::Completions(command) => command.run(),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(error) => error.tell().into(),
    }
}

/// Prints data to stdout. A reader that has gone away (`runbook runs | head -1`) is no failure.
fn print(text: &str) -> Result<(), CliError> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(CliError::Output(error)),
        _ => Ok(()),
    }
}

/// Prints JSON to stdout.
fn print_json(value: &impl serde::Serialize) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(value).map_err(|error| CliError::Output(error.into()))?;
    print(&format!("{text}\n"))
}
