//! `runbook test`: unit tests of runbooks, with canned results and a clock of their own.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use crate::actions;
use crate::base::{Code, Diagnostic, Severity};
use crate::engine::Approvers;
use crate::runbook::{Loaded, load_file};
use crate::testing::{self, Coverage, Draft, Kind, Suite, Verdict};

use super::errors::CliError;
use super::exit::Exit;
use super::{check, find};

/// Arguments of `runbook test`.
#[derive(Debug, Args)]
pub(super) struct Test {
    /// Test files, runbooks that have one beside them, or folders. None: this folder and `runbooks/`.
    #[arg(value_name = "FILE|FOLDER", add = clap_complete::engine::ArgValueCompleter::new(super::completions::runbooks))]
    paths: Vec<String>,
    /// Only cases whose name holds this text.
    #[arg(long, value_name = "TEXT", conflicts_with = "min_coverage")]
    filter: Option<String>,
    /// How to print the results.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    format: Output,
    /// Fail when less is covered: of everything (`90`), or of one kind (`branches=100`).
    #[arg(long, value_name = "[KIND=]PERCENT")]
    min_coverage: Vec<Least>,
    /// Write a first, passing test file for a runbook.
    #[arg(long, conflicts_with_all = ["filter", "min_coverage", "format"])]
    init: bool,
    /// With `--init`: replace the test file if it is there.
    #[arg(long, requires = "init")]
    force: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
    /// For what shows test results.
    Junit,
}

/// How much must be covered.
#[derive(Debug, Clone, Copy)]
struct Least {
    kind: Option<Kind>,
    percent: usize,
}

impl FromStr for Least {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, percent) = match text.split_once('=') {
            Some((kind, percent)) => {
                let known = Kind::ALL.into_iter().find(|known| known.as_str() == kind);
                let words = Kind::ALL.map(Kind::as_str).join(", ");
                (Some(known.ok_or_else(|| format!("`{kind}` cannot be covered; there are {words}"))?), percent)
            }
            None => (None, text),
        };
        let percent =
            percent.strip_suffix('%').unwrap_or(percent).trim().parse().ok().filter(|percent| *percent <= 100);
        let percent = percent.ok_or_else(|| "a percentage from 0 to 100 is expected".to_owned())?;
        Ok(Self { kind, percent })
    }
}

/// What is to be tested.
#[derive(Default)]
struct Wanted {
    /// Test files.
    tests: BTreeSet<PathBuf>,
    /// Folders in which every runbook should have one.
    folders: BTreeSet<PathBuf>,
}

impl Test {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        if self.init {
            return self.write_first();
        }
        let wanted = self.wanted()?;
        let (suites, untested) = match load(&wanted) {
            Err(CliError::Diagnostics(found)) if self.format == Output::Json => {
                let findings: Vec<_> = found.iter().map(Diagnostic::to_json).collect();
                super::print_json(&serde_json::json!({ "findings": findings }))?;
                return Ok(Exit::Invalid);
            }
            loaded => loaded?,
        };
        let mut results: Vec<(String, Vec<(Verdict, Duration)>)> = Vec::new();
        for suite in &suites {
            let is_wanted = |name: &str| self.filter.as_ref().is_none_or(|text| name.contains(text.as_str()));
            let cases = suite.cases().iter().filter(|case| is_wanted(&case.name.value));
            let verdicts: Vec<_> = cases
                .map(|case| {
                    let began = Instant::now();
                    (suite.run(case), began.elapsed())
                })
                .collect();
            if !verdicts.is_empty() {
                results.push((suite.source.name.clone(), verdicts));
            }
        }
        if let Some(text) = self.filter.as_ref().filter(|_| results.is_empty()) {
            return Err(CliError::usage(format!("no case has `{text}` in its name")));
        }
        let coverages: Vec<Coverage> = match &self.filter {
            // What some of the cases cover says nothing about the file.
            Some(_) => Vec::new(),
            None => joined(suites.iter().map(Suite::coverage).chain(untested)),
        };
        let told: Vec<testing::Told<'_>> =
            results.iter().map(|(file, verdicts)| (file.as_str(), verdicts.as_slice())).collect();
        match self.format {
            Output::Text => super::print(&testing::text(&told, &coverages))?,
            Output::Json => super::print_json(&testing::json(&told, &coverages))?,
            Output::Junit => super::print(&testing::junit(&told))?,
        }
        let all_passed = results.iter().flat_map(|(_, verdicts)| verdicts).all(|(verdict, _)| verdict.passed());
        let is_covered = self.is_covered(&coverages);
        Ok(if all_passed && is_covered { Exit::Succeeded } else { Exit::Failed })
    }

    /// Is as much covered as must be? Says what is not.
    fn is_covered(&self, coverages: &[Coverage]) -> bool {
        let mut enough = true;
        for Least { kind, percent } in &self.min_coverage {
            let total = testing::total(coverages, *kind);
            if total.percent() < *percent {
                let of = kind.map_or_else(String::new, |kind| format!(" of {}", kind.as_str()));
                let (has, covered, all) = (total.percent(), total.covered, total.of);
                anstream::eprintln!(
                    "error: the coverage{of} is {has} % ({covered} of {all}), and {percent} % is wanted"
                );
                enough = false;
            }
        }
        enough
    }

    fn wanted(&self) -> Result<Wanted, CliError> {
        let mut wanted = Wanted::default();
        if self.paths.is_empty() {
            let there = [".", "runbooks"].map(PathBuf::from).into_iter().filter(|folder| folder.is_dir());
            there.into_iter().try_for_each(|folder| wanted.add_folder(folder))?;
        }
        for path in &self.paths {
            let direct = PathBuf::from(path);
            if direct.is_dir() {
                wanted.add_folder(direct)?;
            } else if find::is_test(&direct) {
                wanted.tests.insert(direct);
            } else {
                wanted.tests.insert(beside(&find::path(path)?).ok_or_else(|| CliError::Usage {
                    message: format!("`{path}` has no test file beside it"),
                    hint: Some(format!("write a first one: runbook test --init {path}")),
                })?);
            }
        }
        if wanted.tests.is_empty() {
            return Err(CliError::Usage {
                message: "there are no test files here".to_owned(),
                hint: Some("write a first one: runbook test --init RUNBOOK".to_owned()),
            });
        }
        Ok(wanted)
    }

    /// Writes a first test file, which passes.
    fn write_first(&self) -> Result<Exit, CliError> {
        let [wanted] = self.paths.as_slice() else {
            return Err(CliError::usage("`--init` writes a test file for one runbook: name it"));
        };
        let runbook = find::path(wanted)?;
        let stem = runbook.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
        let path = runbook.with_file_name(format!("{stem}.test.yaml"));
        if path.exists() && !self.force {
            return Err(CliError::Usage {
                message: format!("{} is there already", path.display()),
                hint: Some("add cases to it; `--force` replaces it".to_owned()),
            });
        }
        let loaded = check::checked(wanted)?;
        let approvers = Approvers::load(&find::folder_of(&loaded.source.name))?;
        let folder = find::folder_of(&loaded.source.name);
        let text = testing::first_tests(&loaded, &actions::builtin(), &approvers, &folder).map_err(|reason| {
            CliError::Usage { message: format!("no test file can be made up: {reason}"), hint: None }
        })?;
        std::fs::write(&path, text).map_err(|error| CliError::file(&path, error))?;
        anstream::eprintln!("{} written; see how it goes with `runbook test {}`", path.display(), path.display());
        Ok(Exit::Succeeded)
    }
}

impl Wanted {
    fn add_folder(&mut self, folder: PathBuf) -> Result<(), CliError> {
        self.tests.extend(files(&folder)?.into_iter().filter(|path| find::is_test(path)));
        self.folders.insert(folder);
        Ok(())
    }
}

/// The files of a folder, those below `.` without it.
fn files(folder: &Path) -> Result<Vec<PathBuf>, CliError> {
    let unreadable = |error| CliError::file(folder, error);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        found.push(path.strip_prefix(".").map(Path::to_owned).unwrap_or(path));
    }
    found.sort();
    Ok(found)
}

/// The test file beside a runbook, if there is one.
fn beside(runbook: &Path) -> Option<PathBuf> {
    let stem = runbook.file_stem()?.to_str()?;
    let endings = ["test.yaml", "test.yml"].map(|ending| runbook.with_file_name(format!("{stem}.{ending}")));
    endings.into_iter().find(|path| path.is_file())
}

/// Every test file with its runbook, and the coverage of runbooks that have none. An error holds every mistake in all
/// of them.
fn load(wanted: &Wanted) -> Result<(Vec<Suite>, Vec<Coverage>), CliError> {
    let mut suites = Vec::new();
    let mut problems: Vec<Diagnostic> = Vec::new();
    for path in &wanted.tests {
        match suite(path) {
            Ok(suite) => suites.push(suite),
            Err(CliError::Diagnostics(found)) => problems.extend(found),
            Err(other) => return Err(other),
        }
    }
    let tested: BTreeSet<PathBuf> =
        suites.iter().filter_map(|suite| Path::new(&suite.runbook.name).canonicalize().ok()).collect();
    let mut untested = Vec::new();
    for path in wanted.folders.iter().map(|folder| files(folder)).collect::<Result<Vec<_>, _>>()?.concat() {
        if find::is_runbook(&path) && path.canonicalize().is_ok_and(|path| !tested.contains(&path)) {
            match load_file(&path) {
                Ok(loaded) => untested.push(Coverage::of(&loaded)),
                Err(found) => problems.extend(found),
            }
        }
    }
    // A runbook that several files test is told of once.
    let mut told = BTreeSet::new();
    problems.retain(|problem| told.insert((problem.source.name.clone(), problem.span, problem.message.clone())));
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(CliError::Diagnostics(problems));
    }
    Ok((suites, untested))
}

fn suite(path: &Path) -> Result<Suite, CliError> {
    let draft = Draft::read(path).map_err(CliError::Diagnostics)?;
    let loaded = runbook_of(&draft)?;
    let folder = find::folder_of(&loaded.source.name);
    let approvers = Approvers::load(&folder)?;
    Suite::new(&draft, &loaded, actions::builtin(), approvers, &folder).map_err(CliError::Diagnostics)
}

/// The runbook that a test file is about, without a mistake.
fn runbook_of(draft: &Draft) -> Result<Loaded, CliError> {
    if !draft.runbook.is_file() {
        let message = format!("there is no runbook `{}`", draft.runbook.display());
        let problem = match draft.named_at {
            Some(span) => Diagnostic::error(&draft.source, span, Code::NoRunbook, message),
            None => Diagnostic::whole_file(&draft.source, Code::NoRunbook, message)
                .help("name the runbook that it tests: `test: NAME.yaml`"),
        };
        return Err(CliError::Diagnostics(vec![problem]));
    }
    let loaded = load_file(&draft.runbook).map_err(CliError::Diagnostics)?;
    let problems = check::findings(&loaded)?;
    if problems.iter().any(|problem| problem.severity == Severity::Error) {
        return Err(CliError::Diagnostics(problems));
    }
    Ok(loaded)
}

/// What is covered of each runbook by all the files that test it.
fn joined(coverages: impl IntoIterator<Item = Coverage>) -> Vec<Coverage> {
    let mut joined: Vec<Coverage> = Vec::new();
    for coverage in coverages {
        match joined.iter_mut().find(|known| known.file == coverage.file) {
            Some(known) => known.join(&coverage),
            None => joined.push(coverage),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Ended;
    use std::process::ExitCode;

    #[test]
    fn a_test_knows_the_exit_codes_of_a_run() {
        for ended in Ended::ALL {
            let exit = match ended {
                Ended::Over(outcome) => Exit::from(outcome),
                Ended::Waiting => Exit::Waiting,
                Ended::InDoubt => Exit::Stuck,
            };
            let code = format!("{:?}", ExitCode::from(ended.exit()));
            assert_eq!(code, format!("{:?}", ExitCode::from(exit)), "{}", ended.word());
        }
    }

    #[test]
    fn a_least_coverage_is_of_everything_or_of_a_kind() {
        assert_eq!("90".parse::<Least>().map(|least| (least.kind, least.percent)), Ok((None, 90)));
        assert_eq!(
            "gates=100%".parse::<Least>().map(|least| (least.kind, least.percent)),
            Ok((Some(Kind::Gates), 100))
        );
        assert!("101".parse::<Least>().is_err());
        assert!("lines=10".parse::<Least>().unwrap_err().contains("steps, branches, gates, undos"));
    }
}
