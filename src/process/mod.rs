//! Processes: started in a group of their own, watched, their output bounded and masked, stopped as a group.

mod capture;
mod stop;

pub use capture::Captured;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::base::secret::SecretError;
use crate::base::{BoxFuture, SecretStore};

/// How long a group is given between being asked to end and being killed.
pub const GRACE: Duration = Duration::from_secs(5);
/// How long the pipes are still read after the process itself has ended: a grandchild may hold them open for ever.
const DRAIN: Duration = Duration::from_millis(250);

/// A process to run.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The command and its arguments. May hold no secret references: arguments are visible to everybody on the machine.
    pub argv: Vec<String>,
    /// Environment variables to add; may hold secret references.
    pub env: BTreeMap<String, String>,
    /// The folder to run in.
    pub folder: PathBuf,
    /// How many bytes of each stream to keep.
    pub keep: usize,
}

/// A process that has ended.
#[derive(Debug, Clone)]
pub struct Finished {
    /// Its exit code; `None` when a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// What it wrote to standard output.
    pub stdout: Captured,
    /// What it wrote to standard error.
    pub stderr: Captured,
}

impl Finished {
    /// Did it end with code 0?
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }
}

/// Why a process did not run to its end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProcessError {
    /// The system would not start it.
    #[error("`{program}` cannot be started: {reason}")]
    NotStarted {
        /// The first word of the command.
        program: String,
        /// What the system said.
        reason: String,
    },
    /// It started, and then could not be waited for.
    #[error("`{program}` was lost sight of: {reason}")]
    Lost {
        /// The first word of the command.
        program: String,
        /// What the system said.
        reason: String,
    },
    /// This door starts nothing: a drill must not run real commands unless its scenario says so.
    #[error("the drill starts no processes; its scenario says nothing of `{program}`")]
    Refused {
        /// The first word of the command.
        program: String,
    },
    /// A secret would have stood among the arguments.
    #[error("`{program}` would show a secret among its arguments, where everybody on this machine can read it")]
    SecretInArgv {
        /// The first word of the command.
        program: String,
    },
    /// A secret could not be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// The door through which processes are started.
pub trait Processes: Send + Sync {
    /// Runs a process to its end. When `cancel` fires, its whole group is asked to end, then killed.
    fn run(&self, spec: Spec, cancel: CancellationToken) -> BoxFuture<'_, Result<Finished, ProcessError>>;
}

/// The door to this machine's own processes.
#[derive(Debug)]
pub struct LocalProcesses {
    secrets: Arc<SecretStore>,
    /// Variables that hold secrets and so are not inherited.
    withheld: BTreeSet<String>,
    grace: Duration,
    /// The groups that run now.
    groups: Arc<Mutex<BTreeSet<u32>>>,
}

impl LocalProcesses {
    /// A door that fills in and masks `secrets`, and lets no child inherit the variables they come from.
    pub fn new(secrets: Arc<SecretStore>) -> Self {
        let withheld = secrets.variables().map(str::to_owned).collect();
        Self { secrets, withheld, grace: GRACE, groups: Arc::default() }
    }

    /// Sets the time between asking and killing.
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Kills every group that runs now, without asking. For a second Ctrl-C.
    pub fn kill_all(&self) {
        for group in self.groups.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            stop::kill_group(*group);
        }
    }

    async fn run_to_end(&self, spec: Spec, cancel: CancellationToken) -> Result<Finished, ProcessError> {
        let program = spec.argv.first().cloned().unwrap_or_default();
        let not_started =
            |error: std::io::Error| ProcessError::NotStarted { program: program.clone(), reason: error.to_string() };
        if spec.argv.iter().any(|word| crate::base::secret::has_reference(word)) {
            return Err(ProcessError::SecretInArgv { program: crate::base::secret::shown(&program) });
        }
        let mut command = std::process::Command::new(&program);
        command
            .args(spec.argv.iter().skip(1))
            .current_dir(&spec.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for variable in &self.withheld {
            command.env_remove(variable);
        }
        for (name, value) in &spec.env {
            command.env(name, self.secrets.reveal(value)?);
        }
        // A group of its own, so that stopping it stops its children too. Never `pre_exec`: it costs the fast spawn.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = tokio::process::Command::from(command).spawn().map_err(not_started)?;
        let group = child.id();
        let _listed = group.map(|group| Listed::new(&self.groups, group));

        let redactor = self.secrets.redactor();
        let mut stdout = capture::Capture::new(child.stdout.take(), redactor, spec.keep);
        let mut stderr = capture::Capture::new(child.stderr.take(), redactor, spec.keep);
        let status = {
            let mut reading = std::pin::pin!(async { tokio::join!(stdout.read(), stderr.read()) });
            let mut read_all = false;
            let status = loop {
                tokio::select! {
                    status = child.wait() => break status,
                    () = cancel.cancelled() => break stop::stop_group(&mut child, group, self.grace).await,
                    _ = &mut reading, if !read_all => read_all = true,
                }
            };
            if !read_all {
                let _ = tokio::time::timeout(DRAIN, &mut reading).await;
            }
            status
        }
        .map_err(|error| ProcessError::Lost { program: program.clone(), reason: error.to_string() })?;
        Ok(Finished {
            code: status.code(),
            signal: std::os::unix::process::ExitStatusExt::signal(&status),
            stdout: stdout.finish(),
            stderr: stderr.finish(),
        })
    }
}

impl Processes for LocalProcesses {
    fn run(&self, spec: Spec, cancel: CancellationToken) -> BoxFuture<'_, Result<Finished, ProcessError>> {
        Box::pin(self.run_to_end(spec, cancel))
    }
}

/// A group stands in the list for as long as this lives.
struct Listed {
    groups: Arc<Mutex<BTreeSet<u32>>>,
    group: u32,
}

impl Listed {
    fn new(groups: &Arc<Mutex<BTreeSet<u32>>>, group: u32) -> Self {
        groups.lock().unwrap_or_else(PoisonError::into_inner).insert(group);
        Self { groups: Arc::clone(groups), group }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.group);
    }
}

/// A door that starts nothing, for drills.
#[derive(Debug, Default)]
pub struct NoProcesses;

impl Processes for NoProcesses {
    fn run(&self, spec: Spec, _cancel: CancellationToken) -> BoxFuture<'_, Result<Finished, ProcessError>> {
        let program = spec.argv.first().cloned().unwrap_or_default();
        Box::pin(async move { Err(ProcessError::Refused { program }) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn door() -> LocalProcesses {
        let secrets = SecretStore::new(BTreeMap::new(), Arc::default())
            .with_given(BTreeMap::from([("token".to_owned(), "hunter22".to_owned())]));
        LocalProcesses::new(Arc::new(secrets)).with_grace(Duration::from_millis(200))
    }

    fn shell(script: &str) -> Spec {
        Spec {
            argv: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
            env: BTreeMap::from([("TOKEN".to_owned(), crate::base::secret::reference("token"))]),
            folder: std::env::temp_dir(),
            keep: 1024,
        }
    }

    #[tokio::test]
    async fn a_secret_reaches_the_process_and_not_its_output() {
        let finished =
            door().run(shell("printf '%s' \"$TOKEN\" | wc -c; echo $TOKEN >&2"), CancellationToken::new()).await;
        let finished = finished.unwrap();
        assert_eq!(finished.stdout.text.trim(), "8");
        assert_eq!(finished.stderr.text, "***\n");
    }

    #[tokio::test]
    async fn a_daemon_that_holds_the_pipe_does_not_hold_the_step() {
        let began = std::time::Instant::now();
        let finished = door().run(shell("echo done; sleep 60 &"), CancellationToken::new()).await.unwrap();
        assert_eq!(finished.stdout.text, "done\n");
        assert!(began.elapsed() < Duration::from_secs(30));
    }

    #[tokio::test]
    async fn a_group_that_ignores_the_request_is_killed() {
        let cancel = CancellationToken::new();
        let door = door();
        let run = door.run(shell("trap '' TERM; echo up; while :; do sleep 0.05; done"), cancel.clone());
        let stopper = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            cancel.cancel();
        };
        let (finished, ()) = tokio::join!(run, stopper);
        assert_eq!(finished.unwrap().signal, Some(9));
    }

    #[tokio::test]
    async fn a_flood_of_output_is_bounded_and_counted() {
        let finished =
            door().run(shell("head -c 3000000 /dev/zero | tr '\\0' x"), CancellationToken::new()).await.unwrap();
        assert_eq!(finished.stdout.bytes, 3_000_000);
        assert!(finished.stdout.text.len() < 2048 && finished.stdout.truncated);
    }

    #[tokio::test]
    async fn a_secret_never_stands_among_the_arguments() {
        let argv = vec!["echo".to_owned(), crate::base::secret::reference("token")];
        let error = door().run(Spec { argv, ..shell("") }, CancellationToken::new()).await.unwrap_err();
        assert_eq!(error, ProcessError::SecretInArgv { program: "echo".into() });
    }

    #[tokio::test]
    async fn what_cannot_start_says_why() {
        let spec = Spec { argv: vec!["/no/such/program".into()], ..shell("") };
        let error = door().run(spec, CancellationToken::new()).await.unwrap_err();
        assert_eq!(error.to_string(), "`/no/such/program` cannot be started: No such file or directory (os error 2)");
    }
}
