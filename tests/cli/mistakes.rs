//! Every mistake an author can make, and the whole of what is said about it: message, place, caret, way out.
//!
//! `tests/cli/mistakes/` holds a runbook for each and, beside it, what `runbook check` prints. `MISTAKES=write cargo test
//! --test cli mistakes` writes those texts anew; read them before you commit them.

use std::collections::BTreeMap;

use crate::support::{Place, copy, repository};

/// The names of the mistakes, in order.
fn names() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(repository("tests/cli/mistakes"))
        .unwrap()
        .filter_map(|entry| Some(entry.unwrap().file_name().to_str()?.strip_suffix(".yaml")?.to_owned()))
        .filter(|name| !["approvers", "none"].contains(&name.as_str()))
        .collect();
    names.sort();
    names
}

fn expected(name: &str) -> String {
    std::fs::read_to_string(repository("tests/cli/mistakes").join(format!("{name}.txt"))).unwrap_or_default()
}

#[test]
fn every_mistake_is_told_whole() {
    let writes = std::env::var_os("MISTAKES").is_some_and(|value| value == "write");
    let on_ci = std::env::var_os("CI").is_some_and(|value| value == "true");
    assert!(!(writes && on_ci), "what is expected is written by people, not by CI");
    let place = Place::new();
    copy(&repository("tests/cli/mistakes"), &place.folder());
    let mut different = Vec::new();
    for name in names() {
        let said = place.run(&["check", &format!("{name}.yaml")]);
        assert_eq!(said.stdout, "", "{name}");
        let is_error = said.stderr.contains("error[");
        assert_eq!(said.code, Some(if is_error { 3 } else { 0 }), "{name}\n{}", said.stderr);
        if writes {
            std::fs::write(repository("tests/cli/mistakes").join(format!("{name}.txt")), &said.stderr).unwrap();
        } else if said.stderr != expected(&name) {
            different.push(format!("--- {name}: expected\n{}--- {name}: said\n{}", expected(&name), said.stderr));
        }
    }
    assert!(different.is_empty(), "{} differ\n{}", different.len(), different.join("\n"));
    assert!(!place.state().exists(), "nothing is started");
}

#[test]
fn there_are_many_of_them_and_each_has_its_own_first_line() {
    let mut first: BTreeMap<String, String> = BTreeMap::new();
    for name in names() {
        let text = expected(&name);
        let line = text.lines().next().unwrap_or_default().to_owned();
        assert!(line.starts_with("error[") || line.starts_with("warning["), "{name}: {line}");
        assert!(!line.ends_with('.'), "{name}: {line}");
        assert!(text.contains(&format!("{name}.yaml")) || text.contains("parts/"), "{name} names no file");
        assert!(text.contains("= help: "), "{name} shows no way out\n{text}");
        if let Some(other) = first.insert(line.clone(), name.clone()) {
            panic!("`{name}` and `{other}` both say: {line}");
        }
    }
    assert!(first.len() >= 60, "{}", first.len());
}

#[test]
fn what_only_looks_like_a_mistake_is_none() {
    let place = Place::new();
    copy(&repository("tests/cli/mistakes"), &place.folder());
    let said = place.run(&["check", "none.yaml"]);
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), "1 runbook checked, no errors\n"), "{}", said.stderr);
}

#[test]
fn what_ships_and_what_the_docs_show_has_no_warning_either() {
    let place = Place::new();
    crate::support::shipped(&place);
    for name in ["clerk-outage", "clerk-triage"] {
        let said = place.run(&["check", name]);
        assert_eq!((said.code, said.stderr.as_str()), (Some(0), "1 runbook checked, no errors\n"), "{name}");
    }
}

#[test]
fn every_text_of_what_is_said_has_its_mistake() {
    for entry in std::fs::read_dir(repository("tests/cli/mistakes")).unwrap() {
        let name = entry.unwrap().file_name().to_str().unwrap().to_owned();
        if let Some(name) = name.strip_suffix(".txt") {
            assert!(names().iter().any(|known| known == name), "{name}.txt belongs to no runbook");
        }
    }
}
