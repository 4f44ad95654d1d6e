//! Drills held by the binary, and what came over the wire meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use runbook::action::AnyAction;
use runbook::drill::{Exchange, Scenario};
use serde_json::Value;

/// A folder for runs and transcripts, gone when the test is over.
pub(crate) struct Place {
    root: PathBuf,
}

/// How a game day went.
pub(crate) struct Board {
    /// What did not pass, one line each.
    pub(crate) failed: Vec<String>,
}

/// A runbook among the cases, and its scenario.
pub(crate) struct Case {
    runbook: PathBuf,
    scenario: PathBuf,
}

pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

impl Place {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("contracts-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&root).unwrap();
        Self { root }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runbook"));
        command
            .current_dir(repository(""))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", &self.root)
            .env("USER", "tester")
            .env("RUNBOOK_STATE", self.root.join("state"))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .stdout(Stdio::piped());
        command
    }

    /// Holds every drill of a folder of runbooks and gives what was asked and answered.
    pub(crate) fn held(&self, folder: &str) -> Vec<Exchange> {
        let transcript = self.root.join("said.jsonl");
        let mut command = self.command();
        command.args(["drill", "--all", folder, "--jobs", "12", "--format", "json", "--transcript"]).arg(&transcript);
        let output = command.output().unwrap();
        std::fs::write(self.root.join("board.json"), &output.stdout).unwrap();
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(matches!(output.status.code(), Some(0 | 1)), "{complaint}");
        read(&transcript)
    }

    /// How the drills went that were held last.
    pub(crate) fn board(&self) -> Board {
        let text = std::fs::read_to_string(self.root.join("board.json")).unwrap();
        let board: Value = serde_json::from_str(&text).unwrap();
        let rows = board["drills"].as_array().unwrap();
        assert!(!rows.is_empty(), "{text}");
        let failed = rows.iter().filter(|row| row["verdict"] != "passed");
        Board { failed: failed.map(|row| format!("{row:#}")).collect() }
    }

    /// The actions that ended with success in the runs of this place, each with the parameters that were written for it.
    pub(crate) fn used(&self) -> BTreeMap<String, BTreeSet<String>> {
        let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for run in std::fs::read_dir(self.root.join("state/runs")).unwrap() {
            let log = std::fs::read_to_string(run.unwrap().path().join("log.jsonl")).unwrap();
            let events: Vec<Value> = log
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok())
                .map(|mut line| line["event"].take())
                .collect();
            let Some(name) = events.iter().find_map(|event| event["runbook"].as_str()) else { continue };
            let steps = steps(&repository(&format!("tests/contracts/cases/{name}.yaml")));
            for event in events.iter().filter(|event| event["result"]["how"] == "succeeded") {
                let step = &steps[event["step"].as_str().unwrap_or_default().split('[').next().unwrap()];
                let Some(action) = step["uses"].as_str() else { continue };
                let given = step["with"].as_object().into_iter().flatten().map(|(name, _)| name.clone());
                used.entry(action.to_owned()).or_default().extend(given);
            }
        }
        used
    }

    /// What a preflight of a case asks the stand-ins of its scenario.
    pub(crate) fn questions(&self, case: &Case) -> Vec<Exchange> {
        let transcript = self.root.join("asked.jsonl");
        let scenario = Scenario::load(&case.scenario).unwrap();
        let mut stand_ins = self.command();
        stand_ins.arg("stand-ins").arg(&case.scenario).args(["--format", "json", "--until-eof", "--transcript"]);
        let mut stand_ins = stand_ins.arg(&transcript).stdin(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(stand_ins.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();

        let mut preflight = self.command();
        preflight.arg("preflight").arg(&case.runbook).args(["--format", "json"]);
        for (name, value) in &scenario.inputs {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            preflight.arg("-i").arg(format!("{name}={value}"));
        }
        for one in ready["stand_ins"].as_array().unwrap() {
            let text = |key: &str| one[key].as_str().unwrap().to_owned();
            preflight.arg("--endpoint").arg(format!("{}={}", text("address"), text("url")));
        }
        for (name, value) in &scenario.secrets {
            preflight.env(variable(name), value);
        }
        let said = preflight.output().unwrap();
        assert!(matches!(said.status.code(), Some(0 | 10)), "{}", String::from_utf8_lossy(&said.stderr));
        drop(stand_ins.stdin.take());
        assert!(stand_ins.wait().unwrap().success());
        read(&transcript)
    }
}

/// The variable that a case's secret is read from.
fn variable(secret: &str) -> String {
    format!("CASE_{}", secret.to_uppercase())
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

pub(crate) fn read(transcript: &Path) -> Vec<Exchange> {
    let text = std::fs::read_to_string(transcript).unwrap_or_default();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The steps of a runbook, as they are written.
fn steps(runbook: &Path) -> Value {
    let text = std::fs::read_to_string(runbook).unwrap();
    let mut whole: Value = serde_yaml::from_str(&text).unwrap();
    whole["steps"].take()
}

/// Every case.
pub(crate) fn cases() -> Vec<Case> {
    let folder = repository("tests/contracts/cases");
    let mut found: Vec<Case> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "yaml"))
        .map(|runbook| Case { scenario: folder.join("drills").join(runbook.file_name().unwrap()), runbook })
        .collect();
    found.sort_by(|a, b| a.runbook.cmp(&b.runbook));
    found
}

/// The names of an action's parameters.
pub(crate) fn parameters(action: &dyn AnyAction) -> Vec<String> {
    let mut generator = schemars::SchemaGenerator::default();
    let schema = action.params_schema(&mut generator);
    let key = schema.get("$ref").and_then(Value::as_str).unwrap().trim_start_matches("#/$defs/").to_owned();
    let fields = generator.definitions()[&key]["properties"].as_object().cloned().unwrap_or_default();
    fields.keys().cloned().collect()
}
