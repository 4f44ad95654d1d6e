//! `runbook diff` and policies: what is told of two versions, and what ends with 9.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use runbook::base::Source;
use runbook::plan::diff::{Diff, Finding, Groups, Kind, Side, diff};
use runbook::runbook::{Loaded, load, load_file};
use serde_json::{Value, json};

use crate::support::{Place, Said, repository, shipped};

/// Two versions of a runbook, each with its files, and what is told of them.
struct Pair {
    name: String,
    files: Vec<(String, String)>,
    told: String,
}

const PAIRS: &str = "tests/cli/diff/pairs.txt";

/// The table: `=== NAME`, then `--- old/FILE` and `--- new/FILE`, then `--- told`.
fn pairs() -> Vec<Pair> {
    let text = std::fs::read_to_string(repository(PAIRS)).unwrap();
    let mut pairs: Vec<Pair> = Vec::new();
    for block in text.split("\n=== ").skip(1) {
        let (name, rest) = block.split_once('\n').unwrap();
        let mut pair = Pair { name: name.to_owned(), files: Vec::new(), told: String::new() };
        for part in format!("\n{rest}").split("\n--- ").skip(1) {
            let (file, text) = part.split_once('\n').unwrap_or((part, ""));
            let text = format!("{}\n", text.trim_end_matches('\n'));
            match file {
                "told" => pair.told = text,
                file => pair.files.push((file.to_owned(), text)),
            }
        }
        pairs.push(pair);
    }
    pairs
}

impl Pair {
    /// The two versions on disk.
    fn place(&self) -> Place {
        let place = Place::new();
        for (file, text) in &self.files {
            place.write(file, text);
        }
        place
    }

    fn compared(&self, one: &str, other: &str) -> Diff {
        let place = self.place();
        let sides = [one, other].map(|side| {
            let folder = place.path(side);
            let loaded = load_file(&folder.join("x.yaml"));
            (loaded.unwrap_or_else(|problems| panic!("{}: {}", self.name, problems[0].render(false))), groups(&folder))
        });
        let [old, new] = &sides;
        let side = |(loaded, groups): &'_ (Loaded, Groups)| -> (Loaded, Groups) { (loaded.clone(), groups.clone()) };
        let (old, new) = (side(old), side(new));
        diff(
            Some(Side { loaded: &old.0, groups: &old.1 }),
            Some(Side { loaded: &new.0, groups: &new.1 }),
            &runbook::actions::builtin(),
        )
    }
}

fn groups(folder: &Path) -> Groups {
    runbook::engine::Approvers::load(folder).unwrap().groups().clone()
}

/// `UPDATE_PAIRS=1` writes the table anew; look at what has changed before it is kept.
#[test]
fn every_pair_is_told_word_for_word() {
    let text = std::fs::read_to_string(repository(PAIRS)).unwrap();
    let mut written = text.split("\n=== ").next().unwrap().to_owned();
    let mut wrong = Vec::new();
    for pair in pairs() {
        let place = pair.place();
        let said = place.run(&["diff", "old/x.yaml", "new/x.yaml"]);
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{}", pair.name);
        written.push_str(&format!("\n=== {}\n", pair.name));
        for (file, text) in &pair.files {
            written.push_str(&format!("--- {file}\n{text}"));
        }
        written.push_str(&format!("--- told\n{}", said.stdout));
        if said.stdout != pair.told {
            wrong.push(format!("{}\n{}\ninstead of\n{}", pair.name, said.stdout, pair.told));
        }
    }
    if std::env::var_os("UPDATE_PAIRS").is_some() {
        std::fs::write(repository(PAIRS), written).unwrap();
        return;
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn kinds(found: &Diff, of: fn(&Finding) -> Kind) -> Vec<(Kind, Option<String>)> {
    let mut kinds: Vec<_> = found.findings.iter().map(|finding| (of(finding), finding.step.clone())).collect();
    kinds.sort();
    kinds
}

#[test]
fn read_backwards_every_finding_is_the_opposite_one() {
    let mut seen = BTreeSet::new();
    for pair in pairs() {
        let (forth, back) = (pair.compared("old", "new"), pair.compared("new", "old"));
        // A renamed step goes by its new name, which backwards is the other one.
        let nameless = |kinds: Vec<(Kind, Option<String>)>| kinds.into_iter().map(|(kind, _)| kind).collect::<Vec<_>>();
        let (one, other) = (kinds(&back, |f| f.kind), kinds(&forth, |f| f.kind.backwards()));
        if forth.findings.iter().any(|finding| finding.kind == Kind::StepRenamed) {
            assert_eq!(nameless(one), nameless(other), "{}", pair.name);
        } else {
            assert_eq!(one, other, "{}", pair.name);
        }
        seen.extend(forth.findings.iter().map(|finding| finding.kind));
        seen.extend(back.findings.iter().map(|finding| finding.kind));
    }
    let missing: Vec<&str> = Kind::ALL.iter().filter(|kind| !seen.contains(kind)).map(|kind| kind.as_str()).collect();
    assert!(missing.is_empty(), "no pair shows {}", missing.join(", "));
}

#[test]
fn every_kind_stands_in_its_table_with_its_class_and_meaning() {
    let page = std::fs::read_to_string(repository("docs/diff.md")).unwrap();
    let rows = Kind::ALL.iter().map(|kind| format!("| `{kind}` | {} | {} |\n", kind.class(), kind.meaning()));
    let table: String = rows.collect();
    assert!(page.contains(&table), "docs/diff.md should have this table:\n{table}");
    let page = std::fs::read_to_string(repository("docs/policy.md")).unwrap();
    for rule in runbook::plan::policy::Rule::ALL {
        let row = format!("| `{}` | {} |\n", rule.as_str(), rule.meaning());
        assert!(page.contains(&row), "docs/policy.md should have this row:\n{row}");
    }
}
