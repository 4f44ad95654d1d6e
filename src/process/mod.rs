//! Processes: started in a group of their own, watched, their output bounded and masked, stopped with all they started.

mod capture;
mod lines;
mod spool;
mod stop;
mod survivors;
mod tree;

pub use capture::Captured;
pub use lines::Listener;
pub use spool::Spool;
pub use survivors::{Survivor, survivors};

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use tree::{Started, Tree};

use crate::base::secret::SecretError;
use crate::base::{BoxFuture, SecretStore};

/// How long a step's processes are given between being asked to end and being killed.
pub const GRACE: Duration = Duration::from_secs(5);
/// How long the pipes are still read after the process itself has ended: a grandchild may hold them open for ever.
const DRAIN: Duration = Duration::from_millis(250);
/// How often orphans that have ended are collected while a process runs.
const COLLECTING: Duration = Duration::from_millis(500);

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
    /// Where to put the whole of a stream that is longer than that.
    pub spool: Option<Spool>,
    /// Who hears how it is going.
    pub listener: Option<Listener>,
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
    /// Runs a process to its end. When `cancel` fires, it and all it started are asked to end, then killed. What a
    /// process leaves running when it ends by itself is left alone.
    fn run(&self, spec: Spec, cancel: CancellationToken) -> BoxFuture<'_, Result<Finished, ProcessError>>;
}

/// The door to this machine's own processes.
#[derive(Debug)]
pub struct LocalProcesses {
    secrets: Arc<SecretStore>,
    /// Variables that hold secrets and so are not inherited.
    withheld: BTreeSet<String>,
    grace: Duration,
    /// What runs now, by the id of the process that was started.
    running: Arc<Mutex<BTreeMap<u32, Tree>>>,
}

impl LocalProcesses {
    /// A door that fills in and masks `secrets`, and lets no child inherit the variables they come from.
    pub fn new(secrets: Arc<SecretStore>) -> Self {
        tree::adopt_orphans();
        let withheld = secrets.variables().map(str::to_owned).collect();
        Self { secrets, withheld, grace: GRACE, running: Arc::default() }
    }

    /// Sets the time between asking and killing.
    #[must_use]
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// Kills everything that runs now, without asking. For a second Ctrl-C.
    pub fn kill_all(&self) {
        let trees: Vec<Tree> = self.running.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        stop::kill(&trees);
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
        let mark = tree::mark();
        command.env(tree::VARIABLE, &mark);
        // A group of its own, so that stopping it stops its children too. Never `pre_exec`: it costs the fast spawn.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let spawn = || tokio::process::Command::from(command).spawn();
        let (mut child, _started) = Started::start(spawn, tokio::process::Child::id).map_err(not_started)?;
        let tree = Tree::new(child.id().unwrap_or_default(), mark);
        let _listed = Listed::new(&self.running, &tree);

        let redactor = self.secrets.redactor();
        let mut stdout = capture::Capture::new("stdout", child.stdout.take(), redactor, spec.keep)
            .spooled(spec.spool.clone())
            .told(spec.listener.clone());
        let mut stderr = capture::Capture::new("stderr", child.stderr.take(), redactor, spec.keep)
            .spooled(spec.spool)
            .told(spec.listener);
        let status = {
            let mut ending = std::pin::pin!(self.ending(&mut child, &tree, &cancel));
            let mut reading = std::pin::pin!(async { tokio::join!(stdout.read(), stderr.read()) });
            let mut read_all = false;
            let status = loop {
                tokio::select! {
                    status = &mut ending => break status,
                    // Also while it is being stopped: its last words count, and a full pipe would hold it up.
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

    /// Waits for a process to end, by itself or because it is stopped.
    async fn ending(
        &self,
        child: &mut tokio::process::Child,
        tree: &Tree,
        cancel: &CancellationToken,
    ) -> std::io::Result<std::process::ExitStatus> {
        let mut collecting = tokio::time::interval_at(tokio::time::Instant::now() + COLLECTING, COLLECTING);
        loop {
            tokio::select! {
                biased;
                // First, so that a process which ends just then leaves nobody behind.
                () = cancel.cancelled() => return stop::stop(child, tree, self.grace).await,
                status = child.wait() => {
                    tree.collect_group();
                    return status;
                }
                _ = collecting.tick() => tree::collect_orphans(),
            }
        }
    }
}

impl Processes for LocalProcesses {
    fn run(&self, spec: Spec, cancel: CancellationToken) -> BoxFuture<'_, Result<Finished, ProcessError>> {
        Box::pin(self.run_to_end(spec, cancel))
    }
}

/// What descends from a process stands in the list for as long as this lives.
struct Listed {
    running: Arc<Mutex<BTreeMap<u32, Tree>>>,
    root: u32,
}

impl Listed {
    fn new(running: &Arc<Mutex<BTreeMap<u32, Tree>>>, tree: &Tree) -> Self {
        running.lock().unwrap_or_else(PoisonError::into_inner).insert(tree.root(), tree.clone());
        Self { running: Arc::clone(running), root: tree.root() }
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.root);
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
            spool: None,
            listener: None,
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
