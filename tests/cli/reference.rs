//! `docs`: everything an author may write can be asked for, and what is said comes from what the reader knows.

use runbook::runbook::fields::{DEFINITIONS, Field, OUTPUT, RUNBOOK, STEP};
use serde_json::Value;

use crate::support::{Place, said};

/// What is asked for, as data.
fn topic(place: &Place, name: &str) -> Value {
    let asked = place.run(&["docs", name, "--format", "json"]);
    assert_eq!((asked.code, asked.stderr.as_str()), (Some(0), ""), "{name}");
    serde_json::from_str(&asked.stdout).unwrap()
}

/// Every field of every table, by its path, as `docs` lists them.
fn paths(place: &Place) -> Vec<String> {
    let listed = place.run(&["docs", "--format", "json"]);
    let topics: Vec<Value> = serde_json::from_str(&listed.stdout).unwrap();
    topics.iter().filter_map(|topic| topic["path"].as_str().map(str::to_owned)).collect()
}

#[test]
fn every_field_of_every_table_can_be_asked_for() {
    let place = Place::new();
    let paths = paths(&place);
    let is_there = |path: String| assert!(paths.contains(&path), "{path} cannot be asked for: {paths:?}");
    RUNBOOK.iter().for_each(|field| is_there(field.name.to_owned()));
    STEP.iter().for_each(|field| is_there(format!("steps.{}", field.name)));
    // Each table stands somewhere below, whole.
    let tables = DEFINITIONS.iter().map(|(name, fields, _)| (*name, *fields)).chain([("Output", OUTPUT)]);
    for (name, fields) in tables {
        let holds = |parent: &str, field: &Field| paths.contains(&format!("{parent}.{}", field.name));
        let stands = paths.iter().any(|parent| fields.iter().all(|field| holds(parent, field)));
        assert!(stands, "the fields of `{name}` cannot be asked for");
    }
    for path in &paths {
        let topic = topic(&place, path);
        assert_eq!(topic["path"], path.as_str());
    }
}

#[test]
fn what_is_said_of_a_field_is_what_its_table_says() {
    let place = Place::new();
    for (table, prefix) in [(RUNBOOK, ""), (STEP, "steps.")] {
        for field in table {
            let topic = topic(&place, &format!("{prefix}{}", field.name));
            let doc = field.doc.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(topic["meaning"].as_str().unwrap().starts_with(&doc), "{}: {topic}", field.name);
        }
    }
}

#[test]
fn every_action_can_be_asked_for_with_all_that_it_takes_and_gives() {
    let place = Place::new();
    for action in runbook::actions::builtin().iter() {
        let contract = action.contract();
        let topic = topic(&place, contract.name);
        assert_eq!((&topic["about"], topic["summary"].as_str()), (&Value::from("action"), Some(contract.summary)));
        assert_eq!(topic["secrets"].as_array().unwrap().len(), contract.secrets.len());
        for part in ["parameters", "outputs"] {
            for entry in topic[part].as_array().unwrap() {
                for fact in ["name", "type", "meaning"] {
                    assert_ne!(entry[fact], "", "{} of {entry} of {}", fact, contract.name);
                }
            }
        }
        // What a parameter must be called is what the check says it must be.
        let place = Place::new();
        place.write("a.yaml", &format!("runbook: a\nsteps:\n  s: {{ uses: {} }}\n", contract.name));
        let found = place.run(&["check", "a.yaml"]).stderr;
        let required = topic["parameters"].as_array().unwrap().iter().filter(|entry| entry["required"] == true);
        for name in required.map(|entry| entry["name"].as_str().unwrap()).filter(|name| !name.contains('.')) {
            assert!(found.contains(&format!("`{}` needs the parameter `{name}`", contract.name)), "{found}");
        }
    }
}

#[test]
fn a_map_is_shown_with_what_stands_in_it() {
    let place = Place::new();
    assert_eq!(
        place.run(&["docs", "steps.until"]).stdout,
        "\
steps.until: map

What must become true; the step is repeated until it does. For example `{ if: outputs.status ==
200, every: 5s, within: 5m }`.

  if: text; must be there
      The condition; `outputs` are the step's own.
      For example `outputs.status == 200`.
  every: duration; must be there
      How long between two looks.
      For example `5s`.
  within: duration; must be there
      How long to go on looking, from the first look.
      For example `5m`.
  on_timeout: one of `fail`, `succeed`; `fail` unless given
      What it means when it has not become true by then.
"
    );
}

#[test]
fn a_field_is_found_by_the_end_of_its_path() {
    let place = Place::new();
    let shown = place.run(&["docs", "retry.backoff"]);
    assert_eq!(
        shown.stdout,
        "\
steps.retry.backoff: number from 1; `2` unless given

What each wait is multiplied by for the next.

Of the same name: `steps.undo.retry.backoff`
"
    );
    for (asked, found) in [
        ("fail_after", "steps.for_each.fail_after"),
        ("timeout", "timeout"),
        ("steps.timeout", "steps.timeout"),
        ("finally.retry.on", "steps.retry.on"),
        ("if", "steps.if"),
        ("evidence.type", "steps.manual.evidence.type"),
        ("decide", "decide"),
    ] {
        assert_eq!(topic(&place, asked)["path"], found, "{asked}");
    }
    // Half a word is no end of a path.
    assert_eq!(place.run(&["docs", "etry"]).code, Some(2));
}

#[test]
fn an_action_is_shown_whole() {
    let place = Place::new();
    assert_eq!(
        place.run(&["docs", "vercel.env.remove"]).stdout,
        "\
vercel.env.remove

Removes environment variables of a Vercel project.

  effect   write: it changes something
  replay   safe: a try whose end nobody saw is done again without asking
  undo     `auto`: restores the recorded values
  secrets  `vercel`

Parameters (`with`)

  project: text; must be there
      The project's name or id.
      For example `{{ inputs.project }}`.
  target: one of `production`, `preview`, `development` or list, each one of `production`,
      `preview`, `development` or `existing`; `production` unless given
      The environments to remove them from: one, a list, or `existing` for every row they have.
      Others keep them.
  names: list of texts; must be there
      The variables' names. One that is not there is no fault.
  team: text
      The team's id (`team_…`) or slug, where the project belongs to a team.
  secret: text; `vercel` unless given
      The name of the secret that holds a Vercel token.

Outputs (`STEP.outputs`)

  removed: list of texts
      Those that were there before this step.
  absent: list of texts
      Those that were not.
"
    );
}

#[test]
fn a_vendor_stands_for_all_its_actions() {
    let place = Place::new();
    let said = place.run(&["docs", "clerk"]).stdout;
    let contracts = runbook::actions::builtin();
    let theirs: Vec<_> = contracts
        .iter()
        .map(|action| action.contract())
        .filter(|contract| contract.name.starts_with("clerk."))
        .collect();
    let width = theirs.iter().map(|contract| contract.name.len()).max().unwrap();
    // What a list shows of an action is the first sentence.
    let first = |text: &str| text.split_inclusive(". ").next().unwrap_or(text).trim_end().to_owned();
    let lines = theirs.iter().map(|contract| format!("  {:width$}  {}\n", contract.name, first(contract.summary)));
    assert_eq!(said, format!("Actions\n{}", lines.collect::<String>()));
    assert!(theirs.len() > 10);
}

#[test]
fn what_is_not_there_is_refused_with_the_nearest() {
    let place = Place::new();
    for (asked, near) in [("steps.rety", "steps.retry"), ("retry.atempts", "retry.attempts"), ("shel", "shell")] {
        let refused = place.run(&["docs", asked]);
        let expected = format!(
            "error: there is no field or action `{asked}`\n  help: did you mean `{near}`? `runbook docs` lists them all\n"
        );
        assert_eq!((refused.code, refused.stderr, refused.stdout.as_str()), (Some(2), expected, ""));
    }
    let refused = place.run(&["docs", "banana"]);
    assert_eq!(refused.stderr, "error: there is no field or action `banana`\n  help: `runbook docs` lists them all\n");
}

#[test]
fn codes_and_topics_are_completed() {
    let place = Place::new();
    let complete = |words: &[&str]| {
        let mut command = place.command(&[&["--", "runbook"], words].concat());
        command.env("COMPLETE", "fish");
        said(&mut command).stdout
    };
    assert_eq!(complete(&["explain", "unknown-s"]), "unknown-secret\nunknown-stand-in\nunknown-step\n");
    assert_eq!(
        complete(&["docs", "vercel.env"]),
        "vercel.env.get\nvercel.env.list\nvercel.env.remove\nvercel.env.set\n"
    );
}
