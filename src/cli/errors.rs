//! Errors of the command line: each with its way out and its exit code, in one place.

use crate::base::{Diagnostic, Severity};
use crate::engine::{ApproversError, EngineError};
use crate::http::OriginsError;
use crate::plan::{InputProblem, Unplanned};
use crate::runlog::{ExportError, LockError, LogError, StoreError};

use super::exit::Exit;

/// Why a command did not do what it should.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    /// The runbook or a scenario has mistakes; they have their own form.
    #[error("{}", count(.0))]
    Diagnostics(Vec<Diagnostic>),
    /// Nothing but warnings, where warnings are not allowed.
    #[error("{}", denied(*.0))]
    Denied(usize),
    /// A file cannot be mended.
    #[error("{path} cannot be mended: {source}")]
    Unmended { path: String, source: std::io::Error },
    /// The inputs do not fit.
    #[error("the inputs do not fit")]
    Inputs(Vec<InputProblem>),
    /// No such runbook.
    #[error("there is no runbook `{wanted}`; looked for {}", .looked.join(", "))]
    NoRunbook { wanted: String, looked: Vec<String> },
    /// An argument makes no sense.
    #[error("{message}")]
    Usage { message: String, hint: Option<String> },
    /// Secrets that are not there.
    #[error("secrets are missing")]
    Secrets(Vec<String>),
    /// A run cannot be found or kept.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A log cannot be used.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A lock cannot be had.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// An export cannot be made or used.
    #[error(transparent)]
    Export(ExportError),
    /// The engine could not go on.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// An endpoint makes no sense.
    #[error(transparent)]
    Endpoint(#[from] OriginsError),
    /// The approvers file cannot be used.
    #[error(transparent)]
    Approvers(#[from] ApproversError),
    /// A recorded event does not fit the stored plan.
    #[error("the log of run `{run}` does not fit its plan: {reason}")]
    Replay { run: String, reason: String },
    /// The run's log is empty.
    #[error("run `{run}` {}: nothing was done", if *.is_led { "has not begun yet" } else { "died before its first entry" })]
    NotBegun { run: String, is_led: bool },
    /// The run is over.
    #[error("run `{run}` is over: {outcome}")]
    Over { run: String, outcome: String },
    /// The run is not over, and nobody leads it.
    #[error("run `{run}` is not over, and no process leads it; nothing was changed")]
    Unfinished { run: String },
    /// Another process leads the run.
    #[error("run `{run}` is under way: another process leads it; nothing was changed")]
    Led { run: String },
    /// Whoever leads a run did not take what was left for it.
    #[error("it was refused: {reason}")]
    Refused { run: String, reason: String },
    /// A report could not be written.
    #[error("the report cannot be written: {0}")]
    Report(String),
    /// A drill could not be held.
    #[error("the drill cannot be held: {0}")]
    Drill(String),
    /// Generated files differ from what this version would write.
    #[error("{file} is not what this version writes")]
    Stale {
        /// The file.
        file: String,
        /// What writes it anew.
        command: &'static str,
    },
    /// Files are not laid out as `fmt` would.
    #[error("{count} {} not formatted", if *.count == 1 { "file is" } else { "files are" })]
    Unformatted { count: usize },
    /// A file cannot be read or written.
    #[error("{path}: {source}")]
    File { path: String, source: std::io::Error },
    /// stdout cannot be written.
    #[error("the output cannot be written: {0}")]
    Output(std::io::Error),
    /// The machine will not do as asked.
    #[error("{0}")]
    Machine(String),
}

/// How many findings are printed: nobody reads a thousand, and a terminal forgets the first ones.
pub(super) const MOST_SHOWN: usize = 100;

fn count(problems: &[Diagnostic]) -> String {
    let errors = problems.iter().filter(|problem| problem.severity == Severity::Error).count();
    match errors {
        1 => "1 error; nothing was started".to_owned(),
        many => format!("{many} errors; nothing was started"),
    }
}

fn denied(count: usize) -> String {
    match count {
        1 => "1 warning, and warnings are denied".to_owned(),
        many => format!("{many} warnings, and warnings are denied"),
    }
}

impl CliError {
    pub(super) fn usage(message: impl Into<String>) -> Self {
        Self::Usage { message: message.into(), hint: None }
    }

    /// Is it about a run without a first entry?
    pub(super) fn is_not_begun(&self) -> bool {
        matches!(self, Self::NotBegun { .. })
    }

    /// The run has no first entry.
    pub(super) fn not_begun(folder: &crate::runlog::RunFolder) -> Self {
        Self::NotBegun { run: folder.id.to_string(), is_led: crate::runlog::is_led(&folder.log()) }
    }

    pub(super) fn file(path: &std::path::Path, source: std::io::Error) -> Self {
        Self::File { path: path.display().to_string(), source }
    }

    /// What is wrong, in one line, for whoever tells of several things that went wrong.
    pub(super) fn in_words(&self) -> String {
        let (text, more) = match self {
            Self::Diagnostics(problems) => {
                let errors = || problems.iter().filter(|problem| problem.severity == Severity::Error);
                let first = errors().next().map(|problem| {
                    let line = problem.place().map(|(line, _)| format!(":{line}")).unwrap_or_default();
                    format!("{}{line}: {}", problem.source.name, problem.message)
                });
                (first.unwrap_or_else(|| self.to_string()), errors().count().saturating_sub(1))
            }
            Self::Inputs(problems) => (self.first_of(problems), problems.len().saturating_sub(1)),
            Self::Secrets(problems) => (self.first_of(problems), problems.len().saturating_sub(1)),
            _ => (self.to_string(), 0),
        };
        if more == 0 { text } else { format!("{text}, and {more} more") }
    }

    fn first_of(&self, problems: &[impl std::fmt::Display]) -> String {
        problems.first().map_or_else(|| self.to_string(), |problem| format!("{self}: {problem}"))
    }

    /// Says on stderr what is wrong and what to type next.
    pub(super) fn tell(&self) -> Exit {
        let styled = super::env::stderr_is_styled();
        if let Self::Diagnostics(problems) = self {
            for problem in problems.iter().take(MOST_SHOWN) {
                anstream::eprintln!("{}\n", problem.render(styled));
            }
            if let Some(more) = problems.len().checked_sub(MOST_SHOWN).filter(|more| *more > 0) {
                anstream::eprintln!(
                    "… and {more} more; mend these first, or see all with `runbook check --format json`\n"
                );
            }
        }
        anstream::eprintln!("{}error:{} {self}", bold_red(styled), reset(styled));
        match self {
            Self::Inputs(problems) => problems.iter().for_each(|problem| anstream::eprintln!("  {problem}")),
            Self::Secrets(problems) => problems.iter().for_each(|problem| anstream::eprintln!("  {problem}")),
            _ => {}
        }
        if let Some(hint) = self.hint() {
            anstream::eprintln!("  help: {hint}");
        }
        self.exit()
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Inputs(_) => {
                Some("give an input with `-i name=value`, or several with `--input-file FILE`".to_owned())
            }
            Self::Secrets(_) => Some("set them in the environment of this command, and run it again".to_owned()),
            Self::Usage { hint, .. } => hint.clone(),
            Self::Store(StoreError::NoRun { .. }) => Some("`runbook runs` lists the runs there are".to_owned()),
            Self::Store(StoreError::Ambiguous { .. }) => Some("give more of the id".to_owned()),
            Self::Store(StoreError::Io { .. }) => {
                Some("set RUNBOOK_STATE to a folder that can be written; nothing was started".to_owned())
            }
            Self::Engine(EngineError::Log(_)) => {
                Some("free some space, then go on with `runbook resume last`".to_owned())
            }
            Self::Log(LogError::Damaged { .. }) => Some(
                "the lines before it are whole; keep the file, and do not trust what it says from there on".to_owned(),
            ),
            Self::Export(ExportError::Damaged { .. }) => Some("have it sent again, or made again".to_owned()),
            Self::Export(ExportError::Newer { .. }) | Self::Log(LogError::Newer { .. }) => {
                Some("use the version of `runbook` that wrote it, or a later one; nothing was changed".to_owned())
            }
            Self::Log(LogError::Locked { .. }) => Some("wait for it, or stop it with Ctrl-C where it runs".to_owned()),
            Self::Lock(LockError::Held { holder, is_led: true }) => holder.run.as_ref().map(|run| {
                format!("wait for it, or `runbook watch {run}`; `locks: [{{ name: …, wait: 10m }}]` waits by itself")
            }),
            Self::Lock(LockError::Held { holder, is_led: false }) => holder.run.as_ref().map(|run| {
                let name = &holder.name;
                format!("go on with it: `runbook resume {run}`, or free it: `runbook locks break '{name}' --reason …`")
            }),
            Self::Lock(LockError::Fenced { .. }) => Some(
                "look what was done meanwhile, then `runbook resume RUN --take-locks`; nothing was changed".to_owned(),
            ),
            Self::Lock(LockError::Unknown(_)) => Some("`runbook locks` lists those that are held".to_owned()),
            Self::Over { run, .. } => Some(format!("`runbook show {run}` tells how it went")),
            Self::NotBegun { is_led: true, .. } => {
                Some("it may wait for a lock; `runbook locks` lists them. Stop it with Ctrl-C where it runs".to_owned())
            }
            Self::NotBegun { is_led: false, .. } => Some("start it anew".to_owned()),
            Self::Unfinished { run } => {
                Some(format!("go on with it: `runbook resume {run}`, or stop it where it is: `runbook cancel {run}`"))
            }
            Self::Led { run } => {
                Some(format!("see how it goes: `runbook watch {run}`, or stop it: `runbook cancel {run}`"))
            }
            Self::Refused { run, .. } => {
                Some(format!("nothing was changed; `runbook show {run}` tells where the run stands"))
            }
            Self::Unmended { .. } => Some("nothing in it was changed; make it writable, and run this again".to_owned()),
            Self::Stale { command, .. } => Some(format!("run `{command}` and commit the result")),
            Self::Unformatted { .. } => {
                Some("`runbook fmt` with the same files formats them; nothing was changed".to_owned())
            }
            _ => None,
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::Diagnostics(_)
            | Self::Denied(_)
            | Self::Inputs(_)
            | Self::Secrets(_)
            | Self::NoRunbook { .. }
            | Self::Approvers(_) => Exit::Invalid,
            Self::Usage { .. }
            | Self::Endpoint(_)
            | Self::Over { .. }
            | Self::Unfinished { .. }
            | Self::NotBegun { .. } => Exit::Usage,
            Self::Led { .. } => Exit::Locked,
            Self::Refused { .. } => Exit::Rejected,
            Self::Store(StoreError::NoRun { .. } | StoreError::Ambiguous { .. }) => Exit::Usage,
            Self::Log(LogError::Locked { .. }) | Self::Lock(LockError::Held { .. } | LockError::Fenced { .. }) => {
                Exit::Locked
            }
            Self::Lock(LockError::Unknown(_)) => Exit::Usage,
            Self::Store(StoreError::Io { .. }) => Exit::Preflight,
            Self::Stale { .. } | Self::Unformatted { .. } | Self::Report(_) | Self::Unmended { .. } => Exit::Failed,
            Self::Store(_)
            | Self::Log(_)
            | Self::Lock(LockError::Io { .. })
            | Self::Export(_)
            | Self::Engine(_)
            | Self::Replay { .. }
            | Self::Drill(_)
            | Self::File { .. }
            | Self::Output(_)
            | Self::Machine(_) => Exit::Internal,
        }
    }
}

fn bold_red(styled: bool) -> &'static str {
    if styled { "\u{1b}[1;31m" } else { "" }
}

fn reset(styled: bool) -> &'static str {
    if styled { "\u{1b}[0m" } else { "" }
}

impl From<ExportError> for CliError {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Log(error) => Self::Log(error),
            ExportError::Store(error) => Self::Store(error),
            other => Self::Export(other),
        }
    }
}

impl From<Unplanned> for CliError {
    fn from(unplanned: Unplanned) -> Self {
        match unplanned {
            Unplanned::Runbook(problems) => Self::Diagnostics(problems),
            Unplanned::Inputs(problems) => Self::Inputs(problems),
        }
    }
}
