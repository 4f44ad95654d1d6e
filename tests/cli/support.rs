//! Runs the binary in a place of its own.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A folder and a state folder of a test's own, gone when the test is over.
pub(crate) struct Place {
    root: PathBuf,
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Place {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("place-{}-{number}", std::process::id()));
        std::fs::create_dir_all(root.join("work")).unwrap();
        Self { root }
    }

    /// A place at a path of its own, where what is made there may name it.
    pub(crate) fn at(root: &Path) -> Self {
        std::fs::create_dir_all(root.join("work")).unwrap();
        Self { root: root.to_owned() }
    }

    /// The folder commands run in.
    pub(crate) fn folder(&self) -> PathBuf {
        self.root.join("work")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> &Self {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    /// Removes everything in a folder but these.
    pub(crate) fn keep(&self, folder: &str, names: &[&str]) {
        for entry in std::fs::read_dir(self.path(folder)).unwrap() {
            let path = entry.unwrap().path();
            if !names.contains(&path.file_name().unwrap().to_str().unwrap()) {
                let removed = if path.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
                removed.unwrap();
            }
        }
    }

    pub(crate) fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// A command of the binary in this place: no terminal, no colours, none of the caller's own settings.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runbook"));
        command
            .args(arguments)
            .current_dir(self.folder())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.root)
            .env("USER", "tester")
            .env("RUNBOOK_STATE", self.state())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        said(&mut self.command(arguments))
    }

    pub(crate) fn start(&self, arguments: &[&str]) -> Child {
        self.command(arguments).spawn().unwrap()
    }

    /// The run log of the newest run, one JSON value a line.
    pub(crate) fn log(&self) -> Vec<Value> {
        let Some(path) = self.log_path() else { return Vec::new() };
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str(line).ok());
        lines.map(|line| with_payloads(line, path.parent().unwrap())).collect()
    }

    pub(crate) fn log_path(&self) -> Option<PathBuf> {
        let mut runs: Vec<PathBuf> =
            std::fs::read_dir(self.state().join("runs")).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
        runs.sort();
        runs.pop().map(|run| run.join("log.jsonl")).filter(|log| log.exists())
    }

    /// The events of the newest run as `type step`.
    pub(crate) fn events(&self) -> Vec<String> {
        self.log()
            .iter()
            .map(|line| {
                let event = &line["event"];
                let kind = event["type"].as_str().unwrap_or_default();
                match event["step"].as_str() {
                    Some(step) => format!("{kind} {step}"),
                    None => kind.to_owned(),
                }
            })
            .collect()
    }
}

/// A line with what it keeps in files of its own put back.
fn with_payloads(mut line: Value, run: &Path) -> Value {
    let out: Vec<(String, String)> = line["out"]
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(pointer, file)| Some((pointer.clone(), file["hash"].as_str()?.to_owned())))
        .collect();
    for (pointer, hash) in out {
        let payload = std::fs::read_to_string(run.join("blobs").join(hash)).unwrap();
        *line["event"].pointer_mut(&pointer).unwrap() = serde_json::from_str(&payload).unwrap();
    }
    line
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

pub(crate) fn said(command: &mut Command) -> Said {
    let output = command.output().unwrap();
    Said {
        code: output.status.code(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Waits for something to become true, looking again and again; panics when it does not.
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(60), "it never happened: {what}");
        std::thread::yield_now();
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// Waits for a child to end by itself; kills it and panics when it does not.
pub(crate) fn ended(mut child: Child) -> Said {
    let began = Instant::now();
    loop {
        if child.try_wait().unwrap().is_some() {
            let output = child.wait_with_output().unwrap();
            return Said {
                code: output.status.code(),
                stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
                stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            };
        }
        if began.elapsed() > Duration::from_secs(60) {
            let _ = child.kill();
            panic!("the command did not end");
        }
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// Sends a signal to a process.
pub(crate) fn signal(child: &Child, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status().unwrap();
    assert!(sent.success());
}

/// A file of this repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A copy of the runbooks that ship with the program.
pub(crate) fn shipped(place: &Place) {
    copy(&repository("runbooks"), &place.path("runbooks"));
}

/// A copy of a folder and all that is in it.
pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// A script that waits for a file, and gives up when nobody writes it.
pub(crate) fn waits_for(file: &str) -> String {
    format!("n=0; until [ -e {file} ]; do n=$((n+1)); [ $n -lt 6000 ] || exit 1; sleep 0.01; done")
}

impl Place {
    /// The id of the newest run.
    pub(crate) fn newest(&self) -> String {
        let log = self.log_path().unwrap();
        log.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned()
    }

    /// How often an event (`type step`) stands in the log of the newest run.
    pub(crate) fn count(&self, event: &str) -> usize {
        self.events().iter().filter(|seen| *seen == event).count()
    }

    /// Waits until an event (`type step`) stands in the log of the newest run.
    pub(crate) fn sees(&self, event: &str) {
        until(event, || self.count(event) > 0);
    }

    /// Every byte of the newest run's log.
    pub(crate) fn log_bytes(&self) -> Vec<u8> {
        std::fs::read(self.log_path().unwrap()).unwrap()
    }
}
