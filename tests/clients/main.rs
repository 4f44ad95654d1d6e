//! The vendors' own clients, as they come from npm, against the stand-ins: what they ask is played, and what they get is
//! what they were made for.
//!
//! The scripts beside this file do the asking. Their clients are installed once, below `target`, by the lockfile.

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use runbook::drill::Scenario;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// What the clients talk to. Each test has its own.
struct StandIns {
    child: Child,
    ready: Value,
    place: PathBuf,
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name)
}

impl StandIns {
    fn start(name: &str) -> Self {
        let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("client-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&place).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_runbook"))
            .arg("stand-ins")
            .arg(source("scenario.yaml"))
            .args(["--until-eof", "--format", "json"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        Self { child, ready: serde_json::from_str(&line).unwrap(), place }
    }

    fn url(&self, name: &str) -> &str {
        let all = self.ready["stand_ins"].as_array().unwrap();
        all.iter().find(|one| one["name"] == name).unwrap()["url"].as_str().unwrap()
    }
}

impl Drop for StandIns {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ended = self.child.wait();
        let _gone = std::fs::remove_dir_all(&self.place);
    }
}

/// Runs a script with the clients at hand; every step of it must be well.
fn plays(name: &str, steps: usize) {
    static INSTALLED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let folder = match INSTALLED.get_or_init(installed) {
        Ok(folder) => folder,
        Err(why) => {
            assert!(std::env::var_os("CI").is_none(), "the vendors' clients cannot be had: {why}");
            // Not `eprintln!`: what a test prints is shown only when it fails.
            let _ = writeln!(std::io::stderr(), "SKIPPED, the vendors' clients were not tried: {why}");
            return;
        }
    };
    // Beside the installed packages, so that the scripts find them.
    for script in [&format!("{name}.mjs"), "steps.mjs"] {
        std::fs::copy(source(script), folder.join(script)).unwrap();
    }
    let stand_ins = StandIns::start(name);
    let secrets = Scenario::load(&source("scenario.yaml")).unwrap().secrets;
    let said = Command::new("node")
        .arg(folder.join(format!("{name}.mjs")))
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", &stand_ins.place)
        .env("PLACE", &stand_ins.place)
        .env("CLERK_URL", stand_ins.url("clerk"))
        .env("CLERK_KEY", &secrets["clerk"])
        .env("VERCEL_URL", stand_ins.url("vercel"))
        .env("VERCEL_TOKEN_OF_TEST", &secrets["vercel"])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (told, wrong) = (String::from_utf8_lossy(&said.stdout), String::from_utf8_lossy(&said.stderr));
    assert!(said.status.success(), "{told}\n{wrong}");
    assert_eq!(told.lines().filter(|line| line.starts_with("ok ")).count(), steps, "{told}\n{wrong}");
}

#[test]
fn clerks_own_client_for_servers() {
    plays("clerk", 15);
}

#[test]
fn vercels_own_sdk() {
    plays("vercel-sdk", 15);
}

#[test]
fn vercels_own_command_line() {
    plays("vercel-cli", 8);
}

/// The folder with the clients in it, made at most once for each lockfile.
fn installed() -> Result<PathBuf, String> {
    let lock = std::fs::read(source("package-lock.json")).map_err(|error| error.to_string())?;
    let hash: String = Sha256::digest(&lock).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = target.join(format!("clients-{hash}"));
    run(Command::new("node").arg("--version"))?;
    if folder.exists() {
        return Ok(folder);
    }
    // Made elsewhere and moved: a folder of that name is whole, also when two do it at once.
    let making = target.join(format!("clients-{hash}-{}", std::process::id()));
    std::fs::create_dir_all(&making).map_err(|error| error.to_string())?;
    for file in ["package.json", "package-lock.json"] {
        std::fs::copy(source(file), making.join(file)).map_err(|error| error.to_string())?;
    }
    let words = ["ci", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund"];
    let made = run(Command::new("npm").args(words).current_dir(&making));
    if made.is_ok() && std::fs::rename(&making, &folder).is_ok() {
        return Ok(folder);
    }
    let _ = std::fs::remove_dir_all(&making);
    if folder.exists() { Ok(folder) } else { Err(made.err().unwrap_or_else(|| "it cannot be moved".to_owned())) }
}

fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let said = command.stdin(Stdio::null()).output().map_err(|error| format!("{name}: {error}"))?;
    if said.status.success() {
        return Ok(());
    }
    Err(format!("{name} ended with {}: {}", said.status, String::from_utf8_lossy(&said.stderr).trim()))
}
