//! What is said about each kind of finding is true: the example of the mistake has it, the example of the way out is sound.

use std::sync::Arc;

use runbook::base::explanation::Example;
use runbook::base::{Code, Explanation, Source};
use runbook::drill::Scenario;

use crate::support::Place;

/// Everything that is found in an example, errors and warnings, by its code.
fn found(example: &Example) -> Vec<String> {
    if example.is_scenario() {
        let (name, text) = &example.files[0];
        let source: Arc<Source> = Source::new(name, text.as_str());
        let findings = Scenario::read(&source).err().unwrap_or_default();
        return findings.iter().map(|finding| finding.code.to_string()).collect();
    }
    let place = Place::new();
    for (name, text) in &example.files {
        place.write(name, text);
    }
    if example.files[0].0.ends_with(".test.yaml") {
        let said = place.run(&["test", "--format", "json", &example.files[0].0]);
        let told: serde_json::Value =
            serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{}{}", said.stdout, said.stderr));
        return codes(&told);
    }
    if example.files[0].0 == "policy.yaml" {
        let said = place.run(&["plan", "--policy", "policy.yaml", "--format", "mermaid", &example.files[1].0]);
        let mut codes: Vec<String> = ["denied", "ended-exception"].map(str::to_owned).into();
        codes.retain(|code| said.stderr.contains(&format!("[{code}]")));
        // What an exception that is over once let pass is denied as well.
        codes.retain(|code| code != "denied" || !said.stderr.contains("[ended-exception]"));
        return codes;
    }
    let said = place.run(&["check", "--format", "json", &example.files[0].0]);
    let findings: Vec<serde_json::Value> =
        serde_json::from_str(&said.stdout).unwrap_or_else(|_| panic!("{}{}", said.stdout, said.stderr));
    findings.iter().map(|finding| finding["code"].as_str().unwrap().to_owned()).collect()
}

/// Every `code` in what `runbook test` tells.
fn codes(told: &serde_json::Value) -> Vec<String> {
    match told {
        serde_json::Value::Object(map) => {
            let own = map.get("code").and_then(|code| code.as_str()).map(str::to_owned);
            own.into_iter().chain(map.values().flat_map(codes)).collect()
        }
        serde_json::Value::Array(items) => items.iter().flat_map(codes).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn every_mistake_that_is_shown_is_found_and_nothing_else() {
    let wrong: Vec<String> = Explanation::all()
        .filter_map(|section| {
            let mut codes = found(&section.wrong());
            codes.dedup();
            (codes != [section.name]).then(|| format!("{}: its `Wrong` has {codes:?}", section.name))
        })
        .collect();
    assert!(wrong.is_empty(), "docs/diagnostics.md:\n{}", wrong.join("\n"));
}

#[test]
fn every_way_out_that_is_shown_is_sound() {
    let wrong: Vec<String> = Explanation::all()
        .filter_map(|section| {
            let codes = found(&section.right());
            (!codes.is_empty()).then(|| format!("{}: its `Right` has {codes:?}", section.name))
        })
        .collect();
    assert!(wrong.is_empty(), "docs/diagnostics.md:\n{}", wrong.join("\n"));
}

#[test]
fn every_code_is_explained() {
    let missing: Vec<&str> =
        Code::ALL.iter().filter(|code| Explanation::of(**code).is_none()).map(|code| code.as_str()).collect();
    assert!(missing.is_empty(), "docs/diagnostics.md has no section `## {}`", missing.join("`, `## "));
}
