//! Are the programs there that steps start, and can they be started?

use std::ffi::OsStr;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{Area, Item, Verdict, script, steps_of, system_of, uses_by};
use crate::plan::{Use, Uses, stands_before_the_run};

/// What `run:` is given to.
const SHELL: &str = "/bin/sh";
/// Where the system looks when no `PATH` is set.
const DEFAULT_PATH: &str = "/bin:/usr/bin";

/// A program as a step starts it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Program {
    /// How sure it is that the step needs it.
    need: Need,
    /// As written.
    name: String,
    /// Where a relative path starts from; only where it matters.
    folder: Option<PathBuf>,
    /// The step's own `PATH`, if it sets one.
    path: Option<String>,
}

/// How sure it is that a step needs a program.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    /// It is the first word of a command.
    Certain,
    /// A script seems to call it.
    Likely,
}

/// Why a program cannot be started.
#[derive(Debug, PartialEq, Eq)]
enum Obstacle {
    NotOnPath,
    NotThere(PathBuf),
    NotExecutable(PathBuf),
    NoInterpreter(PathBuf, String),
}

pub(super) fn items(uses: &Uses, systems: &[String]) -> Vec<Item> {
    uses_by(uses, programs)
        .into_iter()
        .map(|(program, by)| {
            let mut item = item(&program).of_steps(&steps_of(by));
            item.outage_of = system_of(&program.name, systems);
            item
        })
        .collect()
}

fn programs(used: &Use) -> Vec<Program> {
    if used.action != "shell" {
        return Vec::new();
    }
    let path = used.params.pointer("/env/PATH").and_then(Value::as_str).map(str::to_owned);
    let program = |need, name: &str| {
        let folder = name.contains('/').then(|| used.folder.clone()).filter(|_| !name.starts_with('/'));
        let path = path.clone().filter(|_| !name.contains('/'));
        Program { need, name: name.to_owned(), folder, path }
    };
    if let Some(text) = used.params.get("script").and_then(Value::as_str) {
        let called = script::well_known(text).into_iter().map(|tool| program(Need::Likely, tool));
        return std::iter::once(program(Need::Certain, SHELL)).chain(called).collect();
    }
    let first = used.params.pointer("/argv/0").and_then(Value::as_str);
    first.map(|name| program(Need::Certain, name)).into_iter().collect()
}

fn item(program: &Program) -> Item {
    let Program { need, name, folder, path } = program;
    let what = format!("`{name}`");
    if !stands_before_the_run(name) {
        return Item::new(Area::Tools, Verdict::Unknown, what).found("only the run can tell which program this is");
    }
    let from_here = std::env::var_os("PATH");
    let path = path.as_deref().map(OsStr::new).or(from_here.as_deref()).unwrap_or(OsStr::new(DEFAULT_PATH));
    let obstacle = match find(name, folder.as_deref(), path) {
        Ok(found) => return Item::new(Area::Tools, Verdict::Ok, what).found(found.display().to_string()),
        Err(obstacle) => obstacle,
    };
    let verdict = match need {
        Need::Certain => Verdict::Missing,
        Need::Likely => Verdict::Warning,
    };
    let (found, help) = match obstacle {
        Obstacle::NotOnPath if *need == Need::Likely => (
            "a script seems to call it, and there is no such program on PATH".to_owned(),
            "install it, or put its folder into PATH".to_owned(),
        ),
        Obstacle::NotOnPath => {
            ("there is no such program on PATH".to_owned(), "install it, or put its folder into PATH".to_owned())
        }
        Obstacle::NotThere(at) => (
            format!("there is no file {}", at.display()),
            "a relative path starts from the folder of the runbook".to_owned(),
        ),
        Obstacle::NotExecutable(at) => {
            (format!("{} cannot be executed", at.display()), format!("chmod +x {}", at.display()))
        }
        Obstacle::NoInterpreter(at, interpreter) => (
            format!("the first line of {} asks for `{interpreter}`, which is not there", at.display()),
            "install it, or correct that line".to_owned(),
        ),
    };
    Item::new(Area::Tools, verdict, what).found(found).help(help)
}

/// Where the system would find a program, the way it looks for one: by its path, or on `PATH`.
fn find(name: &str, folder: Option<&Path>, path: &OsStr) -> Result<PathBuf, Obstacle> {
    if name.contains('/') {
        let at = folder.map_or_else(|| PathBuf::from(name), |folder| folder.join(name));
        if !at.is_file() {
            return Err(Obstacle::NotThere(at));
        }
        if !is_executable(&at) {
            return Err(Obstacle::NotExecutable(at));
        }
        return match interpreter(&at) {
            Some(interpreter) if find(&interpreter, None, path).is_err() => {
                Err(Obstacle::NoInterpreter(at, interpreter))
            }
            _ => Ok(at),
        };
    }
    std::env::split_paths(path)
        .map(|folder| folder.join(name))
        .find(|at| at.is_file() && is_executable(at))
        .ok_or(Obstacle::NotOnPath)
}

fn is_executable(path: &Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::EXEC_OK).is_ok()
}

/// The program that a script's first line asks for: of `#!/usr/bin/env python3` it is `python3`.
fn interpreter(path: &Path) -> Option<String> {
    let mut begin = Vec::new();
    std::fs::File::open(path).ok()?.take(256).read_to_end(&mut begin).ok()?;
    let line = begin.strip_prefix(b"#!")?.split(|byte| *byte == b'\n').next()?;
    let mut words = std::str::from_utf8(line).ok()?.split_whitespace();
    let program = words.next()?;
    if program.ends_with("/env") {
        // `env -S name` and `env NAME=value name` are rare, and no word that begins so is a program.
        return words.find(|word| !word.starts_with('-') && !word.contains('=')).map(str::to_owned);
    }
    Some(program.to_owned())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_program_is_found_as_the_system_finds_it() {
        let folder = std::env::temp_dir().join(format!("runbook-tools-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let write = |name: &str, text: &str, mode: u32| {
            std::fs::write(folder.join(name), text).unwrap();
            std::fs::set_permissions(folder.join(name), std::fs::Permissions::from_mode(mode)).unwrap();
        };
        write("good", "#!/bin/sh\n", 0o755);
        write("plain", "#!/bin/sh\n", 0o644);
        write("odd", "#!/usr/bin/env -S no-such-thing-here -x\n", 0o755);
        let find = |name: &str| find(name, Some(&folder), folder.as_os_str());
        assert_eq!(find("good"), Ok(folder.join("good")));
        assert_eq!(find("./good"), Ok(folder.join("./good")));
        assert_eq!(find("nowhere"), Err(Obstacle::NotOnPath));
        assert_eq!(find("./nowhere"), Err(Obstacle::NotThere(folder.join("./nowhere"))));
        assert_eq!(find("./odd"), Err(Obstacle::NoInterpreter(folder.join("./odd"), "no-such-thing-here".into())));
        assert_eq!(find("./plain"), Err(Obstacle::NotExecutable(folder.join("./plain"))));
        assert_eq!(find("plain"), Err(Obstacle::NotOnPath));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
