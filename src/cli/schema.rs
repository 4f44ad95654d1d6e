//! `runbook schema`: the JSON Schemas of runbooks and of what belongs to them, put where editors look for them.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use clap::{Args, ValueEnum};

use super::errors::CliError;
use super::exit::Exit;
use super::find;

/// How a file names its schema to a language server.
const MODELINE: &str = "# yaml-language-server: $schema=";

/// Arguments of `runbook schema`.
#[derive(Debug, Args)]
pub(super) struct Schema {
    /// What it describes.
    #[arg(long, value_enum, default_value_t = Of::Runbook)]
    of: Of,
    /// Runbooks, or folders with some, that name the schema's file in their first line; or that file itself, a `.json`.
    /// Without any: the runbooks in this folder and in `runbooks/`. The same for tests.
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Write it where the runbooks look for it, instead of printing it.
    #[arg(long)]
    write: bool,
    /// Only say whether what is there is what this version would write.
    #[arg(long, conflicts_with = "write")]
    check: bool,
    /// Also add the line that names it to runbooks that have none.
    #[arg(long, requires = "write")]
    modeline: bool,
}

/// What a schema describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Of {
    /// Runbooks.
    Runbook,
    /// Tests of runbooks.
    Test,
    /// What `runbook plan --format json` prints.
    Plan,
    /// What `runbook diff --format json` prints.
    Diff,
}

impl Of {
    fn schema(self) -> serde_json::Value {
        match self {
            Self::Runbook => crate::plan::schema(&crate::actions::builtin()),
            Self::Test => crate::testing::schema(),
            Self::Plan => crate::plan::preview_schema(),
            Self::Diff => crate::plan::policy::Answer::schema(),
        }
    }

    /// Where the schema is kept when no file says where, relative to the folder the command runs in.
    fn usual_place(self) -> &'static str {
        match self {
            Self::Runbook => "schemas/runbook.schema.json",
            Self::Test => "schemas/test.schema.json",
            Self::Plan => "schemas/plan.schema.json",
            Self::Diff => "schemas/diff.schema.json",
        }
    }

    /// What writes it.
    fn writing(self) -> &'static str {
        match self {
            Self::Runbook => "runbook schema --write",
            Self::Test => "runbook schema --of test --write",
            Self::Plan => "runbook schema --of plan --write",
            Self::Diff => "runbook schema --of diff --write",
        }
    }

    /// Is this a file that it describes, in which people write?
    fn describes(self, file: &Path) -> bool {
        match self {
            Self::Runbook => find::is_runbook(file),
            Self::Test => find::is_test(file),
            // Nobody writes those.
            Self::Plan | Self::Diff => false,
        }
    }
}

/// The files the schema belongs into, and the runbooks that do not say where.
#[derive(Debug, Default)]
struct Wanted {
    /// Each file, and the runbooks that name it.
    targets: BTreeMap<PathBuf, Vec<PathBuf>>,
    unnamed: Vec<PathBuf>,
}

impl Schema {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let schema = self.of.schema();
        let text =
            format!("{}\n", serde_json::to_string_pretty(&schema).map_err(|error| CliError::Output(error.into()))?);
        if !self.write && !self.check {
            if let Some(file) = self.files.first() {
                return Err(CliError::Usage {
                    message: format!("`{}` is given, but not what to do with it", file.display()),
                    hint: Some("say `--write` or `--check`; without files the schema is printed".to_owned()),
                });
            }
            super::print(&text)?;
            return Ok(Exit::Succeeded);
        }
        let wanted = self.wanted()?;
        if self.check {
            for target in wanted.targets.keys() {
                let found = match std::fs::read_to_string(target) {
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
                    found => found.map_err(|error| CliError::file(target, error))?,
                };
                if found != text {
                    return Err(CliError::Stale { file: target.display().to_string(), command: self.of.writing() });
                }
            }
            return Ok(Exit::Succeeded);
        }
        for target in wanted.targets.keys() {
            refuse_foreign(target, &schema)?;
        }
        for target in wanted.targets.keys() {
            if let Some(folder) = target.parent() {
                std::fs::create_dir_all(folder).map_err(|error| CliError::file(folder, error))?;
            }
            std::fs::write(target, &text).map_err(|error| CliError::file(target, error))?;
            anstream::eprintln!("{} written", target.display());
        }
        let Some(target) = wanted.targets.keys().next() else { return Ok(Exit::Succeeded) };
        for runbook in &wanted.unnamed {
            let line = format!("{MODELINE}{}", way(runbook, target));
            if self.modeline {
                let text = std::fs::read_to_string(runbook).map_err(|error| CliError::file(runbook, error))?;
                let (mark, rest) = text.strip_prefix('\u{feff}').map_or(("", text.as_str()), |rest| ("\u{feff}", rest));
                let end = if rest.contains("\r\n") { "\r\n" } else { "\n" };
                find::replace(runbook, &format!("{mark}{line}{end}{rest}"))?;
                anstream::eprintln!("{} names it now", runbook.display());
            } else {
                anstream::eprintln!(
                    "{} does not name it; begin it with this line, or say --modeline:",
                    runbook.display()
                );
                anstream::eprintln!("  {line}");
            }
        }
        Ok(Exit::Succeeded)
    }

    fn wanted(&self) -> Result<Wanted, CliError> {
        let is_schema = |file: &&PathBuf| file.extension().is_some_and(|ending| ending == "json");
        let (schemas, runbooks): (Vec<&PathBuf>, Vec<&PathBuf>) = self.files.iter().partition(is_schema);
        let mut wanted = Wanted::default();
        let found = if !runbooks.is_empty() {
            find::yaml_files(runbooks.into_iter().map(PathBuf::as_path))?
        } else if schemas.is_empty() {
            find::yaml_beside([Path::new("."), Path::new("runbooks")])
        } else {
            Vec::new()
        };
        for file in found {
            if !self.of.describes(&file) {
                continue;
            }
            let text = std::fs::read_to_string(&file).map_err(|error| CliError::file(&file, error))?;
            match named_schema(&text) {
                None => wanted.unnamed.push(file),
                // What is on the network is somebody else's to write.
                Some(named) if named.contains("://") => {}
                Some(named) => {
                    let target = tidy(&file.parent().unwrap_or(Path::new("")).join(named));
                    if target.extension().is_none_or(|ending| ending != "json") {
                        return Err(CliError::usage(format!(
                            "`{}` names no `.json` file as its schema",
                            file.display()
                        )));
                    }
                    wanted.targets.entry(target).or_default().push(file);
                }
            }
        }
        for schema in schemas {
            wanted.targets.entry(schema.clone()).or_default();
        }
        if wanted.targets.is_empty() {
            wanted.targets.insert(PathBuf::from(self.of.usual_place()), Vec::new());
        }
        Ok(wanted)
    }
}

/// What a file names as its schema, in the comments it begins with.
fn named_schema(text: &str) -> Option<&str> {
    let comments =
        text.trim_start_matches('\u{feff}').lines().take_while(|line| line.starts_with('#') || line.trim().is_empty());
    comments.filter_map(|line| line.strip_prefix(MODELINE)).map(str::trim).next()
}

/// Does not write over what is no version of this schema: a slip in a first line must not cost a file.
fn refuse_foreign(target: &Path, schema: &serde_json::Value) -> Result<(), CliError> {
    let Ok(text) = std::fs::read_to_string(target) else { return Ok(()) };
    let there = serde_json::from_str::<serde_json::Value>(&text).unwrap_or_default();
    if text.trim().is_empty() || there.get("title").is_some_and(|title| Some(title) == schema.get("title")) {
        return Ok(());
    }
    Err(CliError::Usage {
        message: format!("`{}` is there, and is not this schema; nothing was written", target.display()),
        hint: Some("name another file in the first line, or move that one away".to_owned()),
    })
}

/// A path without `.` and without the `..` that can be taken back.
fn tidy(path: &Path) -> PathBuf {
    let mut tidied = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if matches!(tidied.components().next_back(), Some(Component::Normal(_))) => {
                tidied.pop();
            }
            _ => tidied.push(part),
        }
    }
    tidied
}

/// The way from a file to another, as the file writes it.
fn way(from: &Path, to: &Path) -> String {
    let from = tidy(&find::folder_of(&from.to_string_lossy()));
    let to = tidy(&std::path::absolute(to).unwrap_or_else(|_| to.to_owned()));
    let common = from.components().zip(to.components()).take_while(|(one, other)| one == other).count();
    let up = from.components().skip(common).map(|_| "..".to_owned());
    let down = to.components().skip(common).map(|part| part.as_os_str().to_string_lossy().into_owned());
    let way = up.chain(down).collect::<Vec<_>>().join("/");
    if way.starts_with("..") { way } else { format!("./{way}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_is_that_from_the_runbooks_folder() {
        assert_eq!(way(Path::new("runbooks/a.yaml"), Path::new("schemas/s.json")), "../schemas/s.json");
        assert_eq!(way(Path::new("a.yaml"), Path::new("./s.json")), "./s.json");
        assert_eq!(way(Path::new("ops/deep/../a.yaml"), Path::new("ops/s.json")), "./s.json");
    }

    #[test]
    fn the_schema_is_named_before_anything_else() {
        assert_eq!(
            named_schema("# hello\n\n# yaml-language-server: $schema=../s.json \nrunbook: a\n"),
            Some("../s.json")
        );
        assert_eq!(named_schema("runbook: a\n# yaml-language-server: $schema=../s.json\n"), None);
    }
}
