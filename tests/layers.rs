//! The floors of the house, checked: what `src/` names, against what each floor may name.
//!
//! Reads the sources rather than asking the compiler: it needs no nightly and no crate, it sees test code too, and it
//! takes milliseconds. `docs/architecture.md` explains the floors; a test below holds its table against this one.

use std::fmt::{self, Write as _};
use std::fs;
use std::path::{Path, PathBuf};

/// The floors, lowest first. A module names only lower ones. `main` stands on top of them all.
const FLOORS: [&[&str]; 9] = [
    &["base"],
    &["runbook", "process", "http", "database"],
    &["action"],
    &["plan"],
    &["run"],
    &["runlog"],
    &["engine", "actions", "report"],
    &["drill", "preflight", "serve", "testing"],
    &["cli"],
];

/// What a module must not name, whatever crate it comes from, and why.
const REFUSED: [(&str, &[&str], &str); 2] = [
    (
        "run",
        &[
            "std::fs",
            "std::thread",
            "tokio",
            "tokio_util",
            "Clock",
            "SystemTime",
            "Instant::now",
            "Timestamp::now",
            "HashMap",
            "HashSet",
            "rand",
            "f32",
            "f64",
        ],
        "a run is replayed and must decide the same again; let it arrive in an event",
    ),
    (
        "plan",
        &["HashMap", "HashSet", "std::fs", "tokio"],
        "the same runbook must give the same plan, byte for byte; let the caller read the files",
    ),
];

#[test]
fn every_module_names_only_lower_floors() {
    let objections: Vec<_> = sources().iter().flat_map(|(file, text)| looks_up(file, text)).collect();
    assert!(objections.is_empty(), "{}", told(&objections));
}

#[test]
fn run_and_plan_name_no_clock_disk_or_task() {
    let objections: Vec<_> = sources().iter().flat_map(|(file, text)| names_refused(file, text)).collect();
    assert!(objections.is_empty(), "{}", told(&objections));
}

#[test]
fn the_table_in_the_docs_is_this_one() {
    let page = read(&root().join("docs/architecture.md"));
    let drawn: Vec<(String, String)> = page
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
            let floor = cells.next().filter(|cell| cell.parse::<usize>().is_ok())?;
            Some((floor.to_owned(), cells.next()?.replace('`', "")))
        })
        .collect();
    let built: Vec<_> =
        FLOORS.iter().enumerate().rev().map(|(floor, names)| (floor.to_string(), names.join(", "))).collect();
    assert_eq!(drawn, built);
}

#[test]
fn looking_up_is_objected_to_however_it_is_written() {
    let text = r#"
        use crate::base::StepId;
        use crate::engine::Engine;
        use crate::{runbook, cli as c};
        pub(crate) use crate::{base::{Clock, self}, runlog::{self, store::Store}};
        fn f() { let x = crate::report::Summary::new("crate::drill::x", 'c'); }
        fn g<'a>(_: &'a str) -> super::super::serve::Page { super::draw() }
        mod tests { use super::super::Plan; use self::super::super::super::drill::Scenario; }
    "#;
    assert_eq!(
        told(&looks_up("src/plan/draw.rs", text)),
        "\
src/plan/draw.rs:3: `plan` (floor 3) names `engine` (floor 6); look down only
src/plan/draw.rs:4: `plan` (floor 3) names `cli` (floor 8); look down only
src/plan/draw.rs:5: `plan` (floor 3) names `runlog` (floor 5); look down only
src/plan/draw.rs:6: `plan` (floor 3) names `report` (floor 6); look down only
src/plan/draw.rs:7: `plan` (floor 3) names `serve` (floor 7); look down only
src/plan/draw.rs:8: `plan` (floor 3) names `drill` (floor 7); look down only
"
    );
}

#[test]
fn neighbours_do_not_know_each_other() {
    assert_eq!(
        told(&looks_up("src/http/mod.rs", "use crate::process::Spec;")),
        "src/http/mod.rs:1: `http` names its neighbour `process` on floor 1; let something above join them\n"
    );
    assert!(looks_up("src/http/mod.rs", "use crate::http::origins::Origins; use super::http;").is_empty());
    assert!(looks_up("src/base/secret.rs", "use super::redact::MASK; use crate::base::clock;").is_empty());
    assert!(looks_up("src/action.rs", "use crate::{http, process};").is_empty());
}

#[test]
fn a_module_without_a_floor_is_told_to_get_one() {
    assert_eq!(
        told(&looks_up("src/utils.rs", "")),
        "src/utils.rs:1: `utils` has no floor; give it a floor in tests/layers.rs and docs/architecture.md\n"
    );
    assert_eq!(
        told(&looks_up("src/cli/mod.rs", "use crate::{self as all, utils};\nuse crate::*;\nuse crate as c;")),
        "\
src/cli/mod.rs:1: `cli` names the whole crate; name the module
src/cli/mod.rs:1: `utils` has no floor; give it a floor in tests/layers.rs and docs/architecture.md
src/cli/mod.rs:2: `cli` names the whole crate; name the module
src/cli/mod.rs:3: `cli` names the whole crate; name the module
"
    );
}

#[test]
fn main_reaches_the_house_by_its_name() {
    assert!(looks_up("src/main.rs", "fn main() { runbook::cli::run(runbook::base::clock()) }").is_empty());
    assert_eq!(looks_up("src/main.rs", "use runbook::{cli, utils};").len(), 1);
}

#[test]
fn comments_strings_and_visibility_are_no_paths() {
    let text = "//! See [`crate::cli`].\n/* use crate::cli; /* nested crate::cli */ crate::cli */\n\
                pub(crate) fn f() -> char { let _ = r##\"\"# crate::cli \"##; let _ = \"\\\" crate::cli\"; '\"' }\n\
                fn g() { let _ = b\"crate::cli\"; let _ = '\\''; let _ = br\"\\\"; } // crate::cli";
    assert!(looks_up("src/base/id.rs", text).is_empty());
    assert_eq!(looks_up("src/base/id.rs", &format!("{text}\nuse crate::cli;"))[0].line, 5);
}

#[test]
fn a_clock_in_run_is_refused_with_its_line() {
    let text = "use std::{collections::{BTreeMap, HashMap as Map}, fs};\n\
                // a HashMap here is only talk\n\
                fn wait(at: Timestamp) -> bool { jiff::Timestamp::now() < at }\n\
                fn half(n: f64) -> u64 { (n * 0.5) as u64 + 0xf32 + pair.0.1 }\n\
                const TENTH: Tenth = 0.1;\n\
                #[tokio::test]\n\
                async fn t() { std::time::Instant::now(); }";
    let lines: Vec<_> =
        names_refused("src/run/decide.rs", text).into_iter().map(|o| format!("{} {}", o.line, o.what)).collect();
    let why = REFUSED[0].2;
    let expected = ["1 HashMap", "1 std::fs", "3 Timestamp::now", "4 f64", "5 f64", "6 tokio", "7 Instant::now"];
    assert_eq!(
        lines,
        expected.map(|line| {
            let (line, name) = line.split_once(' ').expect("written so just above");
            format!("{line} `run` names `{name}`: {why}")
        })
    );
    assert_eq!(names_refused("src/plan/mod.rs", text).len(), 3);
    assert!(names_refused("src/engine/mod.rs", text).is_empty());
}

/// Something in a file that the house does not allow.
#[derive(PartialEq)]
struct Objection {
    file: String,
    line: usize,
    what: String,
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.what)
    }
}

fn told(objections: &[Objection]) -> String {
    objections.iter().fold(String::new(), |mut text, objection| {
        writeln!(text, "{objection}").expect("a String takes everything");
        text
    })
}

/// Holds one file against [`FLOORS`].
fn looks_up(file: &str, text: &str) -> Vec<Objection> {
    let object = |line, what| Objection { file: file.to_owned(), line, what };
    let no_floor =
        |name: &str| format!("`{name}` has no floor; give it a floor in tests/layers.rs and docs/architecture.md");
    let module = module_of(file);
    let own = match module.first() {
        // `lib.rs` only opens the rooms.
        None => return Vec::new(),
        Some(own) => own.as_str(),
    };
    let root = if own == "main" { "runbook" } else { "crate" };
    let Some(own_floor) = floor_of(own) else { return vec![object(1, no_floor(own))] };

    let mut objections = Vec::new();
    for path in paths(text) {
        let Some(target) = path.target(root, &module) else { continue };
        let what = match target.as_deref() {
            None | Some("*") => format!("`{own}` names the whole crate; name the module"),
            Some(name) if name == own => continue,
            Some(name) => match floor_of(name) {
                None => no_floor(name),
                Some(floor) if floor > own_floor => {
                    format!("`{own}` (floor {own_floor}) names `{name}` (floor {floor}); look down only")
                }
                Some(floor) if floor == own_floor => {
                    format!("`{own}` names its neighbour `{name}` on floor {floor}; let something above join them")
                }
                Some(_) => continue,
            },
        };
        objections.push(object(path.line, what));
    }
    objections.dedup();
    objections
}

/// Holds one file against [`REFUSED`].
fn names_refused(file: &str, text: &str) -> Vec<Objection> {
    let module = module_of(file);
    let Some((own, refused, why)) = REFUSED.iter().find(|(own, ..)| module.first().is_some_and(|m| m == own)) else {
        return Vec::new();
    };
    let mut objections = Vec::new();
    for path in paths(text) {
        for name in refused.iter().filter(|name| path.contains(name)) {
            let what = format!("`{own}` names `{name}`: {why}");
            objections.push(Objection { file: file.to_owned(), line: path.line, what });
        }
    }
    objections.dedup();
    objections
}

fn floor_of(module: &str) -> Option<usize> {
    if module == "main" {
        return Some(FLOORS.len());
    }
    FLOORS.iter().position(|names| names.contains(&module))
}

/// `src/run/decide.rs` is `run::decide`; `src/run/mod.rs` is `run`; `src/lib.rs` is the root.
fn module_of(file: &str) -> Vec<String> {
    let path = file.strip_prefix("src/").unwrap_or(file).trim_end_matches(".rs");
    let mut module: Vec<_> = path.split('/').map(str::to_owned).collect();
    if module.last().is_some_and(|last| last == "mod" || module == ["lib"]) {
        module.pop();
    }
    module
}

fn sources() -> Vec<(String, String)> {
    fn walk(folder: &Path, name: &str, found: &mut Vec<(String, String)>) {
        for entry in fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.expect("the folder was just opened").path();
            let name = format!("{name}/{}", path.file_name().unwrap_or_default().to_string_lossy());
            if path.is_dir() {
                walk(&path, &name, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push((name, read(&path)));
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join("src"), "src", &mut found);
    found.sort();
    assert!(found.iter().any(|(file, _)| file == "src/lib.rs"), "looked in the wrong place");
    found
}

/// The folder of this package. Asked when the test runs: two checkouts that share a target folder share this binary too,
/// and a place remembered by the compiler would be the other one's.
fn root() -> PathBuf {
    std::env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| PathBuf::from("."), PathBuf::from)
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A path as the source names it, groups spread out: `a::{b, c}` is two of them.
struct Named {
    line: usize,
    segments: Vec<String>,
    /// The modules opened inside the file around it, such as `mod tests { … }`.
    inside: Vec<String>,
}

impl Named {
    /// The top-level module it leads to; `Some(None)` for the root itself; `None` when it does not start from the root.
    fn target(&self, root: &str, module: &[String]) -> Option<Option<String>> {
        let first = self.segments.first()?;
        if first == root {
            // In `main.rs` the root's name alone may be a variable.
            return (root == "crate" || self.segments.len() > 1).then(|| self.segments.get(1).cloned());
        }
        let segments = &self.segments[usize::from(first == "self")..];
        let climbs = segments.iter().take_while(|segment| *segment == "super").count();
        // Out of the file's own top-level module, and not merely up inside it.
        if climbs == 0 || climbs < module.len() + self.inside.len() {
            return None;
        }
        Some(segments.get(climbs).cloned())
    }

    fn contains(&self, name: &str) -> bool {
        let wanted: Vec<_> = name.split("::").collect();
        self.segments.windows(wanted.len()).any(|window| window == wanted)
    }
}

/// Every path in a source text, in order. One-word names count as paths too.
fn paths(text: &str) -> Vec<Named> {
    let tokens = tokens(text);
    let mut reader = Reader { tokens: &tokens, at: 0, found: Vec::new(), depth: 0, open: Vec::new() };
    while reader.at < tokens.len() {
        reader.step();
    }
    reader.found
}

struct Reader<'t> {
    tokens: &'t [(usize, String)],
    at: usize,
    found: Vec<Named>,
    /// How many braces are open.
    depth: usize,
    /// The inner modules that are open, each with the depth at which it closes.
    open: Vec<(String, usize)>,
}

impl Reader<'_> {
    fn peek(&self, ahead: usize) -> &str {
        self.tokens.get(self.at + ahead).map_or("", |(_, token)| token)
    }

    fn step(&mut self) {
        if self.peek(0) == "mod" && is_word(self.peek(1)) && self.peek(2) == "{" {
            self.open.push((self.peek(1).to_owned(), self.depth));
            self.at += 2;
        } else if is_word(self.peek(0)) {
            self.path(Vec::new());
        } else {
            match self.peek(0) {
                "{" => self.depth += 1,
                "}" => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.open.last().is_some_and(|(_, depth)| *depth == self.depth) {
                        self.open.pop();
                    }
                }
                _ => {}
            }
            self.at += 1;
        }
    }

    /// Reads one path, or a group of them after `prefix`.
    fn path(&mut self, mut prefix: Vec<String>) {
        let line = self.tokens[self.at].0;
        loop {
            match self.peek(0) {
                "{" => {
                    self.at += 1;
                    while !matches!(self.peek(0), "}" | "") {
                        match self.peek(0) {
                            "," | "::" => self.at += 1,
                            // The new name of `x as y`.
                            "as" => self.at += 2,
                            _ => self.path(prefix.clone()),
                        }
                    }
                    self.at += 1;
                    return;
                }
                // `a::{self}` is `a`.
                "self" if !prefix.is_empty() => {}
                segment => prefix.push(segment.to_owned()),
            }
            self.at += 1;
            let goes_on = self.peek(0) == "::" && (is_word(self.peek(1)) || matches!(self.peek(1), "{" | "*"));
            if !goes_on {
                break;
            }
            self.at += 1;
        }
        // `pub(crate)` and `pub(super)` say who may look in, not where this looks.
        let visibility = matches!(prefix.as_slice(), [only] if only == "crate" || only == "super" || only == "self")
            && self.peek(0) == ")";
        if !visibility {
            let inside = self.open.iter().map(|(name, _)| name.clone()).collect();
            self.found.push(Named { line, segments: prefix, inside });
        }
    }
}

fn is_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

/// Words, `::` and single marks, each with its line. Comments, strings and characters are left out; a number with a
/// fraction becomes the word `f64`, because that is what it is.
fn tokens(text: &str) -> Vec<(usize, String)> {
    let chars: Vec<char> = text.chars().collect();
    let get = |at: usize| chars.get(at).copied().unwrap_or('\0');
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut tokens: Vec<(usize, String)> = Vec::new();
    let (mut at, mut line) = (0, 1);
    while at < chars.len() {
        let start = at;
        let mut token = None;
        match get(at) {
            '/' if get(at + 1) == '/' => at = find(&chars, at, &['\n']),
            '/' if get(at + 1) == '*' => at = after_comment(&chars, at),
            '"' => at = after_string(&chars, at),
            '\'' if get(at + 1) == '\\' => at = find(&chars, at + 3, &['\'']) + 1,
            '\'' if get(at + 2) == '\'' => at += 3,
            // A lifetime: the word after it is no path.
            '\'' => at = (at + 1..).find(|&i| !in_word(get(i))).expect("the end of the text is no word"),
            ':' if get(at + 1) == ':' => {
                token = Some("::".to_owned());
                at += 2;
            }
            c if in_word(c) => {
                at = (at..).find(|&i| !in_word(get(i))).expect("the end of the text is no word");
                let word: String = chars[start..at].iter().collect();
                let marks = (at..).take_while(|&i| get(i) == '#').count();
                let raw = matches!(word.as_str(), "r" | "br" | "cr");
                if raw && get(at + marks) == '"' {
                    at = after_raw_string(&chars, at, marks);
                } else if raw && marks == 1 {
                    // `r#type`: the word follows.
                    at += 1;
                } else if c.is_ascii_digit() {
                    let after_dot = tokens.last().is_some_and(|(_, last)| last == ".");
                    let fraction = get(at) == '.' && get(at + 1).is_ascii_digit() && !after_dot;
                    let suffix = ["f32", "f64"].into_iter().find(|s| word.ends_with(s) && !word.starts_with("0x"));
                    if fraction {
                        at = (at + 1..).find(|&i| !in_word(get(i))).expect("the end of the text is no word");
                    }
                    token = Some(suffix.map_or(if fraction { "f64" } else { "0" }, |s| s).to_owned());
                } else {
                    token = Some(word);
                }
            }
            c if c.is_whitespace() => at += 1,
            c => {
                token = Some(c.to_string());
                at += 1;
            }
        }
        at = at.min(chars.len());
        if let Some(token) = token {
            tokens.push((line, token));
        }
        line += chars[start..at].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

fn find(chars: &[char], from: usize, wanted: &[char]) -> usize {
    (from..chars.len()).find(|&at| wanted.contains(&chars[at])).unwrap_or(chars.len())
}

fn after_comment(chars: &[char], from: usize) -> usize {
    let (mut at, mut depth) = (from, 0_usize);
    while at < chars.len() {
        match chars[at..].get(..2) {
            Some(['/', '*']) => (at, depth) = (at + 2, depth + 1),
            Some(['*', '/']) => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

fn after_string(chars: &[char], from: usize) -> usize {
    let mut at = from + 1;
    loop {
        at = find(chars, at, &['"', '\\']);
        match chars.get(at) {
            Some('\\') => at += 2,
            _ => return at + 1,
        }
    }
}

fn after_raw_string(chars: &[char], from: usize, marks: usize) -> usize {
    let mut at = from + marks + 1;
    loop {
        at = find(chars, at, &['"']) + 1;
        if at >= chars.len() || (0..marks).all(|i| chars.get(at + i) == Some(&'#')) {
            return at + marks;
        }
    }
}
