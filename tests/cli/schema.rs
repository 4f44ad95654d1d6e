//! `schema`: it is put where the runbooks look for it, and says all there is to say.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::Value;

use crate::support::{Place, repository};

const RUNBOOK: &str = "runbook: a\nsteps: { s: { run: 'true' } }\n";

fn modeline(way: &str) -> String {
    format!("# yaml-language-server: $schema={way}\n{RUNBOOK}")
}

#[test]
fn the_schema_is_written_where_the_runbooks_look_for_it() {
    let place = Place::new();
    place.write("runbooks/a.yaml", &modeline("../schemas/runbook.schema.json"));
    place.write("runbooks/approvers.yaml", "groups: {}\n");
    place.write("b.yml", &modeline("tools/editor/runbook.json"));
    let said = place.run(&["schema", "--write"]);
    assert_eq!(said.stderr, "schemas/runbook.schema.json written\ntools/editor/runbook.json written\n");
    assert_eq!((said.code, said.stdout.as_str()), (Some(0), ""));
    let printed = place.run(&["schema"]).stdout;
    assert_eq!(place.read("schemas/runbook.schema.json"), printed);
    assert_eq!(place.read("tools/editor/runbook.json"), printed);
    assert_eq!(place.run(&["schema", "--check"]).code, Some(0));

    place.write("tools/editor/runbook.json", "{}");
    let said = place.run(&["schema", "--check"]);
    assert_eq!(
        said.stderr,
        "error: tools/editor/runbook.json is not what this version writes\n  help: run `runbook schema --write` and \
         commit the result\n"
    );
    assert_eq!(said.code, Some(1));
}

#[test]
fn a_runbook_that_does_not_name_it_gets_the_line_to_add() {
    let place = Place::new();
    place.write("ops/incidents/a.yaml", RUNBOOK);
    let said = place.run(&["schema", "--write", "ops"]);
    assert_eq!(
        said.stderr,
        "schemas/runbook.schema.json written\nops/incidents/a.yaml does not name it; begin it with this line, or say \
         --modeline:\n  # yaml-language-server: $schema=../../schemas/runbook.schema.json\n"
    );
    assert_eq!(place.read("ops/incidents/a.yaml"), RUNBOOK);

    let file = place.path("ops/incidents/a.yaml");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).unwrap();
    let said = place.run(&["schema", "--write", "--modeline", "ops"]);
    assert_eq!(said.stderr, "schemas/runbook.schema.json written\nops/incidents/a.yaml names it now\n");
    assert_eq!(place.read("ops/incidents/a.yaml"), modeline("../../schemas/runbook.schema.json"));
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o640);
    let said = place.run(&["schema", "--write", "--modeline", "ops"]);
    assert_eq!(said.stderr, "schemas/runbook.schema.json written\n");
}

#[test]
fn what_is_no_schema_of_runbooks_is_not_written_over() {
    let place = Place::new();
    place.write("package.json", "{ \"name\": \"x\" }\n").write("a.yaml", &modeline("package.json"));
    let said = place.run(&["schema", "--write"]);
    assert_eq!(
        said.stderr,
        "error: `package.json` is there, and is not this schema; nothing was written\n  help: name another file in the first \
         line, or move that one away\n"
    );
    assert_eq!((said.code, place.read("package.json").as_str()), (Some(2), "{ \"name\": \"x\" }\n"));
}

#[test]
fn a_file_of_ones_own_choice_will_do_as_well() {
    let place = Place::new();
    place.write("a.yaml", &modeline("https://example.com/runbook.json"));
    assert_eq!(place.run(&["schema", "--write", "s.json"]).stderr, "s.json written\n");
    assert_eq!(place.run(&["schema", "--check", "s.json"]).code, Some(0));
    assert_eq!(place.run(&["schema", "--check", "t.json"]).code, Some(1));
    let said = place.run(&["schema", "a.yaml"]);
    assert_eq!(
        said.stderr,
        "error: `a.yaml` is given, but not what to do with it\n  help: say `--write` or `--check`; without files the schema \
         is printed\n"
    );
    assert_eq!(said.code, Some(2));
}

/// Every place below a schema that is a schema itself.
fn places<'s>(schema: &'s Value, path: &str, found: &mut Vec<(String, &'s Value)>) {
    found.push((path.to_owned(), schema));
    for key in ["properties", "$defs", "dependentSchemas"] {
        for (name, inner) in schema.get(key).and_then(Value::as_object).into_iter().flatten() {
            places(inner, &format!("{path}/{key}/{name}"), found);
        }
    }
    for key in ["items", "additionalProperties", "then", "else"] {
        if let Some(inner) = schema.get(key) {
            places(inner, &format!("{path}/{key}"), found);
        }
    }
    for key in ["allOf", "anyOf", "oneOf"] {
        for (index, inner) in schema.get(key).and_then(Value::as_array).into_iter().flatten().enumerate() {
            places(inner, &format!("{path}/{key}/{index}"), found);
        }
    }
}

#[test]
fn every_field_is_described_and_every_reference_leads_somewhere() {
    let text = std::fs::read_to_string(repository("schemas/runbook.schema.json")).unwrap();
    let whole: Value = serde_json::from_str(&text).unwrap();
    let mut found = Vec::new();
    places(&whole, "", &mut found);
    let mut count = 0;
    for (path, schema) in &found {
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            let name = reference.strip_prefix("#/$defs/").unwrap();
            assert!(whole["$defs"].get(name).is_some(), "{path}: {name}");
        }
        // What `with` must fit, and what may not be there, is described where the field is.
        if ["/then", "/else", "/dependentSchemas"].iter().any(|part| path.contains(part)) {
            continue;
        }
        for (name, field) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let text = field.get("description").and_then(Value::as_str).unwrap_or_default();
            assert!(!text.is_empty(), "{path}: `{name}` says nothing: {field}");
            count += 1;
        }
        if let (Some(words), Some(meanings)) = (schema.get("enum"), schema.get("enumDescriptions")) {
            assert_eq!(words.as_array().unwrap().len(), meanings.as_array().unwrap().len(), "{path}");
        }
    }
    assert!(count > 100, "{count} fields");
}
