//! `check` as a tool: what it prints for other programs, what it mends, which files it takes, and `explain`.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::support::{Place, Said, said};

/// A file with mistakes that have one way out, and one that has none.
const SLIPS: &str = "\
runbook: slips
titel: Für alle Fälle
severity: High
inputs:
  host: { type: string, required: yes }
steps:
  look:
    uses: http.get
    with: { url: \"https://{{ inputs.host }}/\" }
    tiemout: 5 min          # was 10
    allow_failure: on
  again:
    needs: [look, look]
    if: \"{{ look.result == 'failed' }}\"
    uses: http.get
    with:
      url: {{ inputs.host }}/health   # why
    timeout: 90
";

const MENDED: &str = "\
runbook: slips
title: Für alle Fälle
severity: high
inputs:
  host: { type: string, required: true }
steps:
  look:
    uses: http.get
    with: { url: \"https://{{ inputs.host }}/\" }
    timeout: 5m          # was 10
    allow_failure: true
  again:
    needs: [look]
    if: \"look.result == 'failed'\"
    uses: http.get
    with:
      url: \"{{ inputs.host }}/health\"   # why
    timeout: 90
";

const SOUND: &str = "runbook: sound\nsteps:\n  look: { manual: { text: Look. } }\n";
/// One warning, no error.
const SPARE: &str = "runbook: spare\nsecrets: { key: { env: KEY } }\nsteps:\n  look: { manual: { text: Look. } }\n";

/// Runs a command with a file of the place as its standard input.
fn piped(place: &Place, file: &str, arguments: &[&str]) -> Said {
    let input = std::fs::File::open(place.path(file)).unwrap();
    said(place.command(arguments).stdin(Stdio::from(input)))
}

#[test]
fn what_is_certain_is_mended_and_the_rest_is_told() {
    let place = Place::new();
    let fixed = place.write("slips.yaml", SLIPS).run(&["check", "--fix", "slips.yaml"]);
    assert_eq!(place.read("slips.yaml"), MENDED);
    assert_eq!(
        fixed.stderr,
        "\
slips.yaml: 9 fixed: duplicate-key (line 13), invalid-duration (line 10), template (line 14), unknown-key (lines 2, 10), \
unknown-word (line 3), wrong-type (lines 5, 11), yaml (line 17)
error[invalid-duration]: `timeout`: `90` is not a duration; write for example `90s`, `15m` or `1h30m`
  --> slips.yaml:18:14
   |
18 |     timeout: 90
   |              ^^
   |
   = help: a number needs its unit: `90s`

error: 1 error; nothing was started
explain a finding: runbook explain invalid-duration
"
    );
    assert_eq!((fixed.code, fixed.stdout.as_str()), (Some(3), ""));
    let again = place.run(&["check", "--fix", "slips.yaml"]);
    assert!(!again.stderr.contains("fixed"), "{}", again.stderr);
    assert_eq!(place.read("slips.yaml"), MENDED);
}

#[test]
fn what_nobody_can_be_sure_of_is_left_as_it_is() {
    for line in [
        "    args: [x]",
        "    need: [look]",
        "    timeout: 1.5h",
        "    allow_failure: maybe",
        "    if: \"not {{ look.result }}\"",
        "    if: \"{{ a }} and {{ b }}\"",
        "    with: { url: {{ inputs.x }} }",
        "    uses: http.gte",
        "    titel: b\n    title: c",
    ] {
        let place = Place::new();
        let text = format!("runbook: a\nsteps:\n  s:\n{line}\n");
        let fixed = place.write("a.yaml", &text).run(&["check", "--fix", "a.yaml"]);
        assert_eq!(place.read("a.yaml"), text, "{}", fixed.stderr);
        assert_eq!(fixed.code, Some(3), "{line}");
        assert!(!fixed.stderr.contains("fixed"), "{}", fixed.stderr);
    }
}

#[test]
fn a_step_that_is_needed_twice_is_needed_once_however_the_list_is_written() {
    for (written, mended) in [
        ("[one, two, one]", "[one, two]"),
        ("[ one , one , two ]", "[ one , two ]"),
        ("\n      - one\n      - two\n      - one\n", "\n      - one\n      - two\n"),
    ] {
        let file = |needs: &str| {
            let step = "{ manual: { text: x } }";
            format!(
                "runbook: a\nsteps:\n  one: {step}\n  two: {step}\n  s:\n    needs: {needs}\n    manual: {{ text: x }}\n"
            )
        };
        let place = Place::new();
        let found = place.write("a.yaml", &file(written)).run(&["check", "a.yaml"]);
        assert!(found.stderr.contains("warning[duplicate-key]: step `s` needs `one` twice"), "{}", found.stderr);
        assert_eq!(found.code, Some(0), "it runs all the same");
        let fixed = place.run(&["check", "--fix", "a.yaml"]);
        assert_eq!((place.read("a.yaml"), fixed.code), (file(mended), Some(0)), "{}", fixed.stderr);
    }
    // What stands beside the second one is somebody's thought.
    let place = Place::new();
    let text = "runbook: a\nsteps:\n  one: { manual: { text: x } }\n  s:\n    needs:\n      - one   # first\n      - one\n    manual: { text: x }\n";
    place.write("a.yaml", text).run(&["check", "--fix", "a.yaml"]);
    assert_eq!(place.read("a.yaml"), text);
}

#[test]
fn a_mended_file_keeps_its_line_ends_its_mark_its_permissions_and_its_link() {
    let place = Place::new();
    let text = format!("\u{FEFF}{}", SLIPS.replace('\n', "\r\n"));
    place.write("there/slips.yaml", &text);
    std::fs::set_permissions(place.path("there/slips.yaml"), std::fs::Permissions::from_mode(0o640)).unwrap();
    std::os::unix::fs::symlink("there/slips.yaml", place.path("link.yaml")).unwrap();
    place.run(&["check", "--fix", "link.yaml"]);
    assert_eq!(place.read("there/slips.yaml"), format!("\u{FEFF}{}", MENDED.replace('\n', "\r\n")));
    let mode = std::fs::metadata(place.path("there/slips.yaml")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert!(std::fs::symlink_metadata(place.path("link.yaml")).unwrap().is_symlink());
    let left: Vec<_> = std::fs::read_dir(place.path("there")).unwrap().collect();
    assert_eq!(left.len(), 1, "nothing else is left beside it: {left:?}");
}

#[test]
fn a_file_that_is_read_only_is_not_mended_and_the_others_are() {
    let place = Place::new();
    let text = "runbook: a\ntitel: x\nsteps:\n  look: { manual: { text: Look. } }\n";
    place.write("one.yaml", text).write("two.yaml", text);
    std::fs::set_permissions(place.path("one.yaml"), std::fs::Permissions::from_mode(0o444)).unwrap();
    let fixed = place.run(&["check", "--fix", "one.yaml", "two.yaml"]);
    assert_eq!(place.read("one.yaml"), text);
    assert_eq!(place.read("two.yaml"), text.replace("titel", "title"));
    assert_eq!(
        fixed.stderr,
        "\
two.yaml: 1 fixed: unknown-key (line 2)
error[unknown-key]: unknown key `titel` in the runbook
 --> one.yaml:2:1
  |
2 | titel: x
  | ^^^^^
  |
  = help: did you mean `title`?

error: 1 error; nothing was started
explain a finding: runbook explain unknown-key
error: one.yaml cannot be mended: it is read-only
  help: nothing in it was changed; make it writable, and run this again
"
    );
    assert_eq!(fixed.code, Some(3));
}

#[test]
fn files_that_are_only_called_are_not_touched() {
    let place = Place::new();
    let called = "runbook: called\ntitel: x\nsteps:\n  look: { manual: { text: Look. } }\n";
    place.write("called.yaml", called);
    place.write("caller.yaml", "runbook: caller\ntitel: x\nsteps:\n  go: { call: called.yaml }\n");
    let fixed = place.run(&["check", "--fix", "caller.yaml"]);
    assert_eq!(place.read("called.yaml"), called);
    assert!(place.read("caller.yaml").contains("title: x"));
    assert!(fixed.stderr.contains("called.yaml:2:1"), "it is told of all the same: {}", fixed.stderr);
    place.run(&["check", "--fix", "caller.yaml", "called.yaml"]);
    assert!(place.read("called.yaml").contains("title: x"));
}

#[test]
fn standard_input_is_mended_on_standard_output() {
    let place = Place::new();
    place.write("slips.yaml", SLIPS).write("sound.yaml", SOUND);
    let fixed = piped(&place, "slips.yaml", &["check", "--fix", "-"]);
    assert_eq!(fixed.stdout, MENDED);
    assert_eq!(place.read("slips.yaml"), SLIPS);
    assert!(fixed.stderr.starts_with("-: 9 fixed: "), "{}", fixed.stderr);
    assert_eq!(fixed.code, Some(3));
    let fixed = piped(&place, "sound.yaml", &["check", "--fix", "-"]);
    assert_eq!((fixed.code, fixed.stdout.as_str()), (Some(0), SOUND));
    let refused = piped(&place, "sound.yaml", &["check", "--fix", "-", "--format", "json"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(2), ""));
}

#[test]
fn standard_input_can_be_the_text_of_a_file_that_an_editor_holds() {
    let place = Place::new();
    place.write("runbooks/approvers.yaml", "groups: { oncall: [alice] }\n");
    place.write("runbooks/called.yaml", SOUND);
    // What the file holds on disk is older than what the editor shows.
    place.write("runbooks/x.yaml", "runbook: x\nsteps: [\n");
    let text = "runbook: x\nsteps:\n  ask: { approval: { prompt: \"Go?\", by: [\"group:oncall\"] } }\n  go: { needs: [ask], call: called.yaml }\n  no: { call: x.yaml }\n";
    place.write("shown.yaml", text);
    let found = piped(&place, "shown.yaml", &["check", "-", "--stdin-path", "runbooks/x.yaml", "--format", "json"]);
    let findings: Vec<Value> = serde_json::from_str(&found.stdout).unwrap();
    let told: Vec<_> = findings.iter().map(|found| (&found["code"], &found["file"], &found["line"])).collect();
    assert_eq!(told, [(&json!("recursion"), &json!("runbooks/x.yaml"), &json!(5))]);
    let without = place.run(&["check", "runbooks/called.yaml", "--stdin-path", "x.yaml"]);
    assert_eq!(without.code, Some(2));
    assert!(without.stderr.contains("add `-` to the files"), "{}", without.stderr);
}

#[test]
fn a_folder_stands_for_the_runbooks_in_it() {
    let place = Place::new();
    let broken = "runbook: broken\nsteps: [\n";
    place.write("books/b.yaml", &SOUND.replace("manual", "manul")).write("books/a.yml", broken);
    place.write("books/deep/c.yaml", SOUND);
    place.write("books/approvers.yaml", "groups: {}\n").write("books/b.test.yaml", "runbook: b.yaml\ncases: [\n");
    place.write("books/drills/b.yaml", "scenario: b\nrunbook: [\n").write("books/notes.txt", "runbook: x\n");
    place.write("books/.git/d.yaml", broken).write("empty/x.txt", "");
    let found = place.run(&["check", "books", "--format", "json"]);
    let findings: Vec<Value> = serde_json::from_str(&found.stdout).unwrap();
    let mut files: Vec<&str> = findings.iter().map(|finding| finding["file"].as_str().unwrap()).collect();
    files.dedup();
    assert_eq!(files, ["books/a.yml", "books/b.yaml"]);
    assert_eq!(place.run(&["check", "books/deep"]).stderr, "1 runbook checked, no errors\n");
    // A file that is named is checked, whatever it looks like.
    assert!(place.run(&["check", "books/approvers.yaml"]).stderr.contains("the runbook has no name"));
    let empty = place.run(&["check", "empty", "nowhere", "books/deep/c.yaml", "books/b.yaml"]);
    for words in ["no runbook lies in `empty`", "there is no runbook `nowhere`", "unknown key `manul`"] {
        assert!(empty.stderr.contains(words), "{words}\n{}", empty.stderr);
    }
    assert_eq!(empty.code, Some(3));
    assert_eq!(place.run(&["check", "empty"]).code, Some(2));
}

#[test]
fn warnings_can_be_denied() {
    let place = Place::new();
    place.write("spare.yaml", SPARE).write("sound.yaml", SOUND);
    let warning = "\
warning[unused-secret]: secret `key` is never used
 --> spare.yaml:2:12
  |
2 | secrets: { key: { env: KEY } }
  |            ^^^
  |
  = help: take it away, so that nobody has to supply it

";
    let pointer = "explain a finding: runbook explain unused-secret\n";
    let allowed = place.run(&["check", "spare.yaml"]);
    assert_eq!(allowed.stderr, format!("{warning}1 runbook checked, no errors\n{pointer}"));
    assert_eq!(allowed.code, Some(0));
    let denied = place.run(&["check", "spare.yaml", "--deny", "warnings"]);
    assert_eq!(denied.stderr, format!("{warning}error: 1 warning, and warnings are denied\n{pointer}"));
    assert_eq!(denied.code, Some(3));
    for format in ["json", "sarif", "github"] {
        assert_eq!(place.run(&["check", "spare.yaml", "--format", format]).code, Some(0), "{format}");
        let denied = place.run(&["check", "spare.yaml", "--format", format, "--deny", "warnings"]);
        assert_eq!((denied.code, denied.stderr.as_str()), (Some(3), ""), "{format}");
    }
    let sound = place.run(&["check", "sound.yaml", "--deny", "warnings"]);
    assert_eq!((sound.code, sound.stderr.as_str()), (Some(0), "1 runbook checked, no errors\n"));
}

#[test]
fn findings_are_annotations_of_a_pull_request() {
    let place = Place::new();
    place.write("books/spare.yaml", &SPARE.replace("look: ", "look: # ü, :\n    "));
    place.write("books/twice.yaml", "runbook: twice\nsteps:\n  s: { manual: { text: x }, manul: x }\n");
    let whole = place.path("books/twice.yaml");
    let found = place.run(&["check", "--format", "github", "./books/spare.yaml", whole.to_str().unwrap()]);
    assert_eq!(
        found.stdout,
        "\
::warning file=books/spare.yaml,line=2,col=12,endLine=2,endColumn=15,title=unused-secret::secret `key` is never used%0Atake it away, so that nobody has to supply it
::error file=books/twice.yaml,line=3,col=29,endLine=3,endColumn=34,title=unknown-key::unknown key `manul` in step `s`%0Adid you mean `manual`?
"
    );
    assert_eq!((found.code, found.stderr.as_str()), (Some(3), ""));
}

#[test]
fn findings_are_a_sarif_log() {
    let place = Place::new();
    let text = "runbook: a\ntitle: \"ü\"\nsteps:\n  s: { title: \"üü\", allow_failure: yes, manual: { text: x } }\n  s: { manual: { text: x } }\n";
    place.write("a b.yaml", text);
    let found = place.run(&["check", "--format", "sarif", "a b.yaml"]);
    assert_eq!((found.code, found.stderr.as_str()), (Some(3), ""));
    let log: Value = serde_json::from_str(&found.stdout).unwrap();
    assert_eq!(log["version"], "2.1.0");
    assert!(log["$schema"].as_str().unwrap().ends_with("sarif-schema-2.1.0.json"));
    let run = &log["runs"][0];
    assert_eq!(run["columnKind"], "unicodeCodePoints");
    assert_eq!(run["tool"]["driver"]["name"], "runbook");
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    assert_eq!(rules.len(), runbook::base::Code::ALL.len());
    for rule in rules {
        for part in ["/id", "/shortDescription/text", "/fullDescription/text", "/help/text", "/help/markdown"] {
            let text = rule.pointer(part).and_then(Value::as_str);
            assert!(text.is_some_and(|text| !text.is_empty()), "{part} of {rule}");
        }
    }
    let place_of = |line: u64, column: u64, end_column: u64| {
        json!({
            "artifactLocation": { "uri": "a%20b.yaml" },
            "region": { "startLine": line, "startColumn": column, "endLine": line, "endColumn": end_column },
        })
    };
    let index = |id: &str| rules.iter().position(|rule| rule["id"] == id).unwrap();
    assert_eq!(
        run["results"],
        json!([
            {
                "ruleId": "wrong-type",
                "ruleIndex": index("wrong-type"),
                "level": "error",
                "message": { "text": "`allow_failure` must be `true` or `false`\nin YAML 1.2 `yes` is a text; write `true`" },
                "locations": [{ "physicalLocation": place_of(4, 36, 39) }],
                "fixes": [{
                    "description": { "text": "in YAML 1.2 `yes` is a text; write `true`" },
                    "artifactChanges": [{
                        "artifactLocation": { "uri": "a%20b.yaml" },
                        "replacements": [{
                            "deletedRegion": { "startLine": 4, "startColumn": 36, "endLine": 4, "endColumn": 39 },
                            "insertedContent": { "text": "true" },
                        }],
                    }],
                }],
            },
            {
                "ruleId": "duplicate-key",
                "ruleIndex": index("duplicate-key"),
                "level": "error",
                "message": { "text": "`s` is given twice in `steps`\nkeep one of the two" },
                "locations": [{ "physicalLocation": place_of(5, 3, 4) }],
                "relatedLocations": [{ "message": { "text": "first given here" }, "physicalLocation": place_of(4, 3, 4) }],
            },
        ])
    );
}

#[test]
fn a_finding_as_data_has_both_its_ends_and_its_fix() {
    let place = Place::new();
    place.write("a.yaml", "runbook: a\nseverity: Low\nsteps:\n  s: { manual: { text: x } }\n");
    let found = place.run(&["check", "--format", "json", "a.yaml"]);
    assert_eq!(
        serde_json::from_str::<Value>(&found.stdout).unwrap(),
        json!([{
            "code": "unknown-word",
            "severity": "error",
            "message": "`severity` must be one of `critical`, `high`, `medium`, `low`, not `Low`",
            "file": "a.yaml",
            "line": 2,
            "column": 11,
            "end_line": 2,
            "end_column": 14,
            "label": null,
            "related": [],
            "help": "did you mean `low`?",
            "fix": { "line": 2, "column": 11, "end_line": 2, "end_column": 14, "text": "low" },
        }])
    );
}

#[test]
fn a_finding_is_explained_by_its_name() {
    let place = Place::new();
    let explained = place.run(&["explain", "secret-source"]);
    assert_eq!(
        explained.stdout,
        "\
# secret-source

A secret comes from one place: an environment variable or a file. With none it cannot be had, and with two nobody knows
which one counts. One that comes to be during the run has a `step`, a `prompt`, or both: then the step's counts if it has
succeeded.

Wrong:

```yaml
runbook: source
secrets:
  clerk: { env: CLERK_SECRET_KEY, file: clerk.key }
steps:
  backend:
    uses: clerk.ping
```

Right:

```yaml
runbook: source
secrets:
  clerk: { env: CLERK_SECRET_KEY }
steps:
  backend:
    uses: clerk.ping
```
"
    );
    assert_eq!((explained.code, explained.stderr.as_str()), (Some(0), ""));
    assert_eq!(place.run(&["explain", "error[secret-source]:"]).stdout, explained.stdout);
    let styled = said(place.command(&["explain", "secret-source"]).env("CLICOLOR_FORCE", "1"));
    assert!(styled.stdout.starts_with("\u{1b}[1m# secret-source\u{1b}[0m\n"), "{}", styled.stdout);
}

#[test]
fn all_findings_are_listed_and_a_misspelt_one_is_refused_with_the_nearest() {
    let place = Place::new();
    let listed = place.run(&["explain"]);
    let names: Vec<&str> = listed.stdout.lines().filter_map(|line| line.split_whitespace().next()).collect();
    let codes: Vec<&str> = runbook::base::Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(names, codes);
    let refused = place.run(&["explain", "unknown-setp"]);
    assert_eq!(refused.stderr, "error: there is no finding `unknown-setp`\n  help: did you mean `unknown-step`?\n");
    assert_eq!(refused.code, Some(2));
    let refused = place.run(&["explain", "banana"]);
    assert_eq!(refused.stderr, "error: there is no finding `banana`\n  help: `runbook explain` lists them all\n");
}
