//! What README and docs say is true: runbooks in them pass `check`, commands in them run.

use std::path::PathBuf;

use crate::support::{Place, repository, shipped};

/// Every fenced block of a language, with the file and line it begins at.
fn blocks(language: &str) -> Vec<(String, String)> {
    let mut pages: Vec<PathBuf> = vec![repository("README.md"), repository("CONTRIBUTING.md")];
    pages.extend(std::fs::read_dir(repository("docs")).unwrap().map(|entry| entry.unwrap().path()));
    pages.retain(|page| page.extension().is_some_and(|ending| ending == "md"));
    pages.sort();
    let mut found = Vec::new();
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        let mut open: Option<(usize, String)> = None;
        for (number, line) in text.lines().enumerate() {
            match &mut open {
                None if line.trim() == format!("```{language}") => open = Some((number + 1, String::new())),
                Some((begun, block)) if line.trim() == "```" => {
                    let name = page.file_name().unwrap().to_string_lossy().into_owned();
                    found.push((format!("{name}:{begun}"), std::mem::take(block)));
                    open = None;
                }
                Some((_, block)) => {
                    block.push_str(line);
                    block.push('\n');
                }
                None => {}
            }
        }
    }
    found
}

#[test]
fn every_runbook_in_the_docs_passes_check() {
    let whole: Vec<(String, String)> = blocks("yaml")
        .into_iter()
        .filter(|(_, text)| text.lines().any(|line| line.starts_with("runbook:")))
        // Half of that page is mistakes on purpose; `explanations` checks both halves.
        .filter(|(at, _)| !at.starts_with("diagnostics.md"))
        .collect();
    assert!(whole.len() >= 3, "the docs show whole runbooks");
    // A runbook that others call begins with its name: `# region.yaml`.
    let named: Vec<(String, String)> = whole
        .iter()
        .filter_map(|(_, text)| Some((text.lines().next()?.strip_prefix("# ")?.to_owned(), text.clone())))
        .filter(|(name, _)| name.ends_with(".yaml") && !name.contains(' '))
        .collect();
    assert!(named.len() >= 2, "the docs show runbooks that call each other");
    for (at, text) in whole {
        let place = Place::new();
        place.write("approvers.yaml", "groups: { oncall: [tester] }\n");
        for (name, text) in &named {
            place.write(name, text);
        }
        let said = place.write("shown.yaml", &text).run(&["check", "shown.yaml"]);
        assert_eq!(said.code, Some(0), "{at}\n{}", said.stderr);
    }
}

/// `sh` blocks are run line by line in a folder with the shipped runbooks; `cargo` lines are run by CI itself.
#[test]
fn every_command_in_the_docs_runs() {
    let place = Place::new();
    shipped(&place);
    let binary = env!("CARGO_BIN_EXE_runbook");
    let mut count = 0;
    for (at, text) in blocks("sh") {
        for line in text.lines().map(str::trim) {
            let Some(arguments) = line.strip_prefix("runbook ") else { continue };
            let mut shell = std::process::Command::new("sh");
            shell
                .args(["-c", &format!("\"$0\" {arguments}"), binary])
                .current_dir(place.folder())
                .env("RUNBOOK_STATE", place.state())
                .env("USER", "tester")
                .stdin(std::process::Stdio::null());
            let said = crate::support::said(&mut shell);
            assert_eq!(said.code, Some(0), "{at}: {line}\n{}\n{}", said.stdout, said.stderr);
            count += 1;
        }
    }
    assert!(count >= 5, "the docs show commands");
}

#[test]
fn every_exit_code_and_action_is_documented() {
    let reference = std::fs::read_to_string(repository("docs/language.md")).unwrap();
    for name in runbook::actions::builtin().names().chain(["decide"]) {
        assert!(reference.contains(&format!("`{name}`")), "docs/language.md does not name `{name}`");
    }
    for kind in runbook::action::ErrorKind::ALL {
        assert!(reference.contains(&format!("`{kind}`")), "docs/language.md does not name `{kind}`");
    }
    let commands = std::fs::read_to_string(repository("docs/commands.md")).unwrap();
    for code in ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "70"] {
        assert!(commands.contains(&format!("| {code} |")), "docs/commands.md does not name exit code {code}");
    }
}

#[test]
fn every_event_stands_in_the_table_of_the_run_log_with_its_fields() {
    let code = std::fs::read_to_string(repository("src/run/event.rs")).unwrap();
    let body = code.split("pub enum Event {").nth(1).unwrap().split("\n}\n").next().unwrap();
    let mut events: Vec<(String, Vec<String>)> = Vec::new();
    let mut may_be_left_out = false;
    for line in body.lines() {
        let name = line.strip_prefix("    ").filter(|rest| rest.starts_with(|c: char| c.is_ascii_uppercase()));
        if let Some(name) = name {
            events.push((snake(name.trim_end_matches([' ', '{', ','])), Vec::new()));
        } else if line.trim_start().starts_with("#[serde") {
            may_be_left_out = line.contains("skip_serializing_if");
        } else if let Some((field, _)) = line.trim().split_once(": ").filter(|_| !line.trim().starts_with("///")) {
            let mark = if may_be_left_out { "?" } else { "" };
            events.last_mut().unwrap().1.push(format!("`{field}{mark}`"));
            may_be_left_out = false;
        }
    }
    let page = std::fs::read_to_string(repository("docs/run-log.md")).unwrap();
    let table = page.split("## The events").nth(1).unwrap().split("The parts of them:").next().unwrap();
    for (name, mut fields) in events {
        let row = table.lines().find(|line| line.starts_with(&format!("| `{name}` |")));
        let row = row.unwrap_or_else(|| panic!("docs/run-log.md says nothing of `{name}`"));
        let mut told: Vec<String> =
            row.split('|').nth(2).unwrap().split(", ").map(|field| field.trim().to_owned()).collect();
        fields.sort();
        told.sort();
        assert_eq!(told, fields, "the fields of `{name}`");
    }
}

/// `RunStarted` as it stands in a log: `run_started`.
fn snake(name: &str) -> String {
    let mut text = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !text.is_empty() {
            text.push('_');
        }
        text.push(c.to_ascii_lowercase());
    }
    text
}
