//! `runbook test`: what it says, what it refuses, what it covers; that it plays a run as the engine does; and that the
//! tests of the shipped runbooks notice when somebody changes those.

use std::path::Path;

use serde_json::Value;

use runbook::engine::Approvers;
use runbook::runbook::load_file;
use runbook::testing::{Draft, Suite};

use crate::support::{Place, Said, repository, shipped};

const WORKER: &str = "\
runbook: worker
steps:
  look:
    uses: http.get
    with: { url: \"https://queues.example.com/\" }
    allow_failure: true
  restart:
    needs: { look: finished }
    if: \"look.outputs.json.stuck\"
    approval: { prompt: \"Restart it?\", by: [\"user:alice\"], within: 10m }
    argv: [./worker, restart]
    undo: { argv: [./worker, start, --old] }
";

/// A place with the runbook above and these cases.
fn worker(cases: &str) -> Place {
    let place = Place::new();
    place.write("worker.yaml", WORKER).write("worker.test.yaml", cases);
    place
}

#[test]
fn results_coverage_and_a_summary_are_told() {
    let place = worker(
        "\
cases:
  a stuck worker is restarted:
    steps: { look: { outputs: { json: { stuck: true } } }, restart: { outputs: {}, takes: 90s } }
    gates: { restart: { approve: alice, after: 1m } }
    expect: { outcome: succeeded, took: 2m30s }
  one that works is left alone:
    steps: { look: { outputs: { json: { stuck: false } } } }
    expect: { skipped: [restart] }
",
    );
    let said = place.run(&["test", "worker.test.yaml"]);
    assert_eq!(
        said.stdout,
        "\
worker.test.yaml
  ok    a stuck worker is restarted   2m30s
  ok    one that works is left alone  0s

coverage of worker.yaml: 60 % (steps 2/2, branches 3/4, gates 1/3, undos 0/1)
  worker.yaml:8: `restart` never began after `look` ended otherwise than well
  worker.yaml:10: the gate of `restart` was never answered with no
  worker.yaml:10: the gate of `restart` never lapsed
  worker.yaml:12: `restart` was never undone

2 cases, 2 passed
"
    );
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
    let too_little = place.run(&["test", "worker", "--min-coverage", "61", "--min-coverage", "steps=100"]);
    assert_eq!(too_little.code, Some(1));
    assert_eq!(too_little.stderr, "error: the coverage is 60 % (6 of 10), and 61 % is wanted\n");
    let enough = place.run(&["test", "worker.yaml", "--min-coverage", "60", "--min-coverage", "steps=100"]);
    assert_eq!((enough.code, enough.stderr.as_str()), (Some(0), ""));
}

#[test]
fn what_no_case_has_done_is_listed() {
    let place = worker(
        "\
cases:
  one that works is left alone:
    steps: { look: { outputs: { json: { stuck: false } } } }
    expect: { skipped: [restart] }
",
    );
    let said = place.run(&["test", "worker.test.yaml"]);
    let coverage: String = said.stdout.split_inclusive('\n').skip_while(|line| !line.starts_with("coverage")).collect();
    assert_eq!(
        coverage,
        "\
coverage of worker.yaml: 30 % (steps 1/2, branches 2/4, gates 0/3, undos 0/1)
  worker.yaml:7: step `restart` never ran
  worker.yaml:8: `restart` never began after `look` ended otherwise than well
  worker.yaml:9: `if` of `restart` never held
  worker.yaml:10: the gate of `restart` was never approved
  worker.yaml:10: the gate of `restart` was never answered with no
  worker.yaml:10: the gate of `restart` never lapsed
  worker.yaml:12: `restart` was never undone

1 case, 1 passed
"
    );
}

#[test]
fn a_failing_case_shows_the_place_what_is_so_instead_and_the_story() {
    let place = worker(
        "\
cases:
  silence is a yes:
    steps: { look: { fails: network } }
    expect: { outcome: succeeded }
  a stuck worker is restarted:
    steps: { look: { outputs: { json: { stuck: true } } } }
    gates: { restart: nobody }
    expect:
      outcome: succeeded
      steps: { restart: { argv: [./worker, stop], gate: { argv: [./worker, stop] } } }
",
    );
    let said = place.run(&["test", "worker.test.yaml", "--filter", "stuck"]);
    assert_eq!(
        said.stdout,
        "\
worker.test.yaml
  FAIL  a stuck worker is restarted  10m

FAIL worker.test.yaml: a stuck worker is restarted

error[unmet-expectation]: the run was to end as `succeeded`
 --> worker.test.yaml:9:16
  |
9 |       outcome: succeeded
  |                ^^^^^^^^^ it ended as `rejected`

error[unmet-expectation]: `restart` was to run [\"./worker\", \"stop\"]
  --> worker.test.yaml:10:34
   |
10 |       steps: { restart: { argv: [./worker, stop], gate: { argv: [./worker, stop] } } }
   |                                  ^^^^^^^^^^^^^^ it did nothing

error[unmet-expectation]: the gate of `restart` was to show that it would run [\"./worker\", \"stop\"]
  --> worker.test.yaml:10:66
   |
10 |       steps: { restart: { argv: [./worker, stop], gate: { argv: [./worker, stop] } } }
   |                                                                  ^^^^^^^^^^^^^^ it is something else
   |
   = help: it is
           [\"./worker\", \"restart\"]

what happened:
    0s           run 20260101-120000-22222 of `worker` was started by tester
    0s  look     began
    0s  look     succeeded in 0.0s
    0s  restart  waits for a yes: Restart it? (lapses at 12:10)
  +10m  restart  nobody answered in time, which counts as a no
  +10m           the run ended: rejected

1 case, 0 passed, 1 failed
"
    );
    assert_eq!((said.code, said.stderr.as_str()), (Some(1), ""));
}

#[test]
fn what_happens_and_is_not_spoken_of_fails_the_case() {
    let place = worker(
        "\
cases:
  nothing is said of the step:
    expect: { outcome: succeeded }
  nor of the gate:
    steps: { look: { outputs: { json: { stuck: true } } } }
    expect: { outcome: succeeded }
  nor of the restart:
    steps: { look: { outputs: { json: { stuck: true } } } }
    gates: { restart: { approve: alice } }
    expect: { outcome: succeeded }
  nor of what became of it:
    steps: { look: { outputs: { json: { stuck: true } } }, restart: { fails: failed } }
    gates: { restart: { approve: alice } }
    expect: { outcome: failed }
",
    );
    let said = place.run(&["test", "--format", "json", "worker.test.yaml"]);
    let told: Value = serde_json::from_str(&said.stdout).unwrap();
    let failures: Vec<&str> = told["files"][0]["cases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|case| case["failures"][0]["message"].as_str().unwrap_or("passed"))
        .collect();
    assert_eq!(
        failures,
        [
            "step `look` ran, and the case says nothing of it",
            "the gate of `restart` opened, and the case says nothing of it: Restart it?",
            "step `restart` ran, and the case says nothing of it",
            "passed",
        ]
    );
    assert_eq!((&told["total"]["cases"], &told["total"]["failed"]), (&Value::from(4), &Value::from(3)));
    assert_eq!(said.code, Some(1));
}

#[test]
fn every_mistake_of_a_test_file_is_told_at_once_with_its_place() {
    let place = worker(
        "\
deafults: {}
cases:
  wrong in many ways:
    inputs: { nme: x }
    starts: yesterday
    steps:
      lok: { outputs: {} }
      look: { outputs: { jsn: {}, status: many, ok: true } }
      restart: [{ fails: rate_limitd }, { fails: failed, outputs: { exit_code: 3 }, takes: 5 }, { outputs: {}, fails: failed }]
    gates: { look: nobody, restart: { approve: alice, answers: { why: x } } }
    undos: { look: done, restart: { in_doubt: hapened } }
    expect:
      outcome: suceeded
      exit: 3
      succeeded: [look, restat]
      events: [gate_opend restart]
      steps: { look: { met: true, resutl: failed }, restart: { request: https://x } }
  expects nothing: {}
",
    );
    let said = place.run(&["test", "worker.test.yaml"]);
    assert_eq!(said.code, Some(3));
    let told: Vec<&str> = said.stderr.lines().filter(|line| line.starts_with("error")).collect();
    assert_eq!(
        told,
        [
            "error[unknown-key]: unknown key `deafults` in the test file",
            "error[wrong-type]: `yesterday` is not a time",
            "error[unknown-step]: the runbook has no step `lok`",
            "error[impossible-result]: `http.get` gives no output `jsn`",
            "error[impossible-result]: output `status` of `look` must be a whole number or `null`, not a text",
            "error[unknown-word]: `fails` must be one of `unauthorized`, `rate_limited`, `server`, `timeout`, `network`, \
             `rejected`, `invalid_response`, `failed`, `not_met`, `invalid_params`, `template`, `secret`, `cancelled`, \
             `internal`, not `rate_limitd`",
            "error[invalid-duration]: `takes`: `5` is not a duration; write for example `90s`, `15m` or `1h30m`",
            "error[impossible-result]: `look` has no undo",
            "error[unknown-word]: `in_doubt` must be one of `happened`, `did_not_happen`, `again`, `nobody_knows`, not `hapened`",
            "error[impossible-result]: `look` has no gate",
            "error[unknown-name]: nothing called `why` is asked for",
            "error[unknown-input]: there is no input `nme`",
            "error[unknown-outcome]: no run ends as `suceeded`",
            "error[wrong-type]: a run ends with one of 0, 1, 4, 5, 6, 7, 8",
            "error[unknown-step]: the runbook has no step `restat`",
            "error[unknown-word]: no event is called `gate_opend`",
            "error[unknown-key]: unknown key `resutl` in what is expected of `look`",
            "error[unknown-name]: `look` has no `until` that could be met",
            "error[unknown-request]: `https://x` is no request",
            "error[no-expectation]: case `expects nothing` expects nothing, so it proves nothing",
            "error: 20 errors; nothing was started",
        ]
    );
    for help in
        ["did you mean `defaults`?", "did you mean `look`?", "did you mean `json`?", "did you mean `gate_opened`?"]
    {
        assert!(said.stderr.contains(help), "{help}\n{}", said.stderr);
    }
}

/// A run in which everything goes well, and a wrong expectation of each kind.
#[test]
fn every_expectation_fails_when_it_is_not_so() {
    let place = Place::new();
    place.write(
        "shop.yaml",
        r#"runbook: shop
inputs: { mode: { type: string, default: fast } }
steps:
  look: { uses: http.get, with: { url: "https://shop.example.com/" } }
  set:
    needs: [look]
    approval: { prompt: "Set it?", by: ["user:alice"], within: 10m }
    argv: [./set, "{{ inputs.mode }}"]
    env: { A: "1" }
    undo: { argv: [./unset] }
    measure: { expires: 1h }
  use: { needs: [set], argv: [./use] }
  never: { needs: [look], if: "look.outputs.json.bad", argv: [./never] }
finally:
  report: { uses: report.render }
"#,
    );
    let wrong = [
        "outcome: failed",
        "exit: 5",
        "succeeded: [look]",
        "failed: [look]",
        "skipped: []",
        "rejected: [set]",
        "undone: [set]",
        "order: [use, set]",
        "undo_order: [set]",
        "measures: []",
        "left_standing: [use]",
        "waiting: [set]",
        "in_doubt: [set]",
        "events: [run_finished, gate_opened set]",
        "took: 2m",
        "took: { at_least: 2m }",
        "took: { at_most: 10s }",
        "report: { contains: no such words }",
        "report: { lacks: shop }",
        "steps: { look: { result: failed } }",
        "steps: { look: { tries: 2 } }",
        "steps: { set: { undo_tries: 1 } }",
        "steps: { look: { outputs: { json: { bad: true } } } }",
        "steps: { set: { params: { argv: [./set, slow] } } }",
        "steps: { look: { request: GET https://other.example.com/ } }",
        "steps: { set: { argv: [./set, slow] } }",
        "steps: { set: { env: [B] } }",
        "steps: { look: { error: timeout } }",
        "steps: { never: { because: no such reason } }",
        "steps: { set: { gate: { prompt: Unset it? } } }",
        "steps: { set: { gate: { opened: 2 } } }",
        "steps: { set: { gate: { lapses_after: 5m } } }",
        "steps: { set: { gate: { answered_by: [bob] } } }",
        "steps: { set: { gate: { argv: [./set, slow] } } }",
        "steps: { set: { gate: { refused: [bob] } } }",
    ];
    let right = "outcome: succeeded, exit: 0, succeeded: [look, set, use, report], skipped: [never], order: [look, set, use], \
                 measures: [set], took: 1m, events: [gate_opened set, run_finished], \
                 steps: { set: { argv: [./set, fast], gate: { opened: 1, answered_by: [alice] } } }";
    let mut cases = String::from(
        "defaults:\n  steps: { look: { outputs: { json: { bad: false } } }, set: { outputs: {} }, use: { outputs: {} } }\n  \
         gates: { set: { approve: alice, after: 1m } }\ncases:\n",
    );
    for (index, expectation) in wrong.iter().chain([&right]).enumerate() {
        cases.push_str(&format!("  c{index}: {{ expect: {{ {expectation} }} }}\n"));
    }
    place.write("shop.test.yaml", &cases);
    let said = place.run(&["test", "shop"]);
    assert_eq!(said.code, Some(1), "{}", said.stderr);
    let failed: Vec<usize> = said
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("  FAIL  c")?.split_whitespace().next()?.parse().ok())
        .collect();
    let passed: Vec<&&str> =
        wrong.iter().enumerate().filter(|(at, _)| !failed.contains(at)).map(|(_, it)| it).collect();
    assert!(passed.is_empty(), "these hold of a run of which they are not so: {passed:#?}");
    assert!(!failed.contains(&wrong.len()), "what is so is found so\n{}", said.stdout);
}

#[test]
fn parameters_that_do_not_fit_fail_the_step_as_in_a_run() {
    let place = Place::new();
    place.write(
        "waits.yaml",
        "runbook: waits\nsteps:\n  look: { uses: http.get, with: { url: \"https://shop.example.com/\" } }\n  slow:\n    needs: [look]\n    uses: http.get\n    with: { url: \"https://shop.example.com/\", timeout: \"{{ look.outputs.json.limit }}\" }\n",
    );
    place.write(
        "waits.test.yaml",
        "cases:\n  a limit that is none:\n    steps: { look: { outputs: { json: { limit: soon } } } }\n    expect: { outcome: failed, steps: { slow: { error: invalid_params } } }\n",
    );
    let said = place.run(&["test", "waits"]);
    assert_eq!(said.code, Some(0), "{}\n{}", said.stdout, said.stderr);
}

#[test]
fn what_the_world_could_never_say_is_refused() {
    for (answer, refusal) in [
        ("look: { outputs: { status: 404 } }", "`look` would have failed with status 404"),
        ("look: { outputs: { reachable: false } }", "`look` would have failed: nothing answered"),
        ("look: { fails: server, status: 404 }", "an answer of 404 is `rejected`, not `server`"),
        ("look: { fails: not_met }", "`not_met` comes from the run itself, never from outside"),
        ("look: { in_doubt: happened }", "`look` only looks, so a lost answer leaves nothing in doubt"),
        ("look: { in_doubt: happened, because: crash }", "nobody is asked what became of `look`"),
        ("look: { evidence: {} }", "`evidence` means nothing for `look`, which no person does"),
        (
            "restart: { outputs: { exit_code: 1 } }",
            "`restart` would have failed: a process that succeeds ends with code 0",
        ),
        ("restart: { outputs: { lines: 3 } }", "`shell` gives no output `lines`"),
        (
            "restart: { fails: secret, outputs: { stdout: x } }",
            "`restart` gives no outputs when it fails with `secret`",
        ),
        ("restart: { times: 2 }", "what `restart` gets must be one of `outputs`, `fails`, `in_doubt`"),
    ] {
        let place = worker(&format!("cases: {{ one: {{ steps: {{ {answer} }}, expect: {{ outcome: failed }} }} }}\n"));
        let said = place.run(&["test", "worker.test.yaml"]);
        assert_eq!(said.code, Some(3), "{answer}\n{}", said.stdout);
        assert!(said.stderr.contains(refusal), "{answer}\n{}", said.stderr);
    }
}

#[test]
fn what_the_runbook_looks_at_must_be_given() {
    let place = Place::new();
    place.write(
        "page.yaml",
        "runbook: page\nsteps:\n  page: { uses: status.check, with: { page: \"https://status.example.com\" } }\n  act: { needs: [page], if: \"page.outputs.state == 'outage'\", argv: [./act] }\n",
    );
    place.write("page.test.yaml", "cases: { one: { steps: { page: { outputs: {} } }, expect: { skipped: [act] } } }\n");
    let said = place.run(&["test", "page"]);
    assert_eq!(said.code, Some(3));
    assert!(said.stderr.contains("the runbook looks at `state` of `page`, so it must be given"), "{}", said.stderr);
}

#[test]
fn junit_has_a_suite_for_each_file_and_a_failure_with_its_story() {
    let place = worker(
        "\
cases:
  \"<one> & \\\"two\\\"\":
    steps: { look: { fails: network } }
    expect: { outcome: succeeded, failed: [look] }
  wrong:
    steps: { look: { fails: network } }
    expect: { outcome: failed }
  broken:
    expect: { outcome: failed }
",
    );
    let said = place.run(&["test", "--format", "junit"]);
    assert_eq!(said.code, Some(1));
    // How long it took is the only thing that is not the same each time.
    let text: Vec<String> = said
        .stdout
        .lines()
        .map(|line| match line.split_once(" time=\"") {
            Some((before, after)) => format!("{before}{}", after.split_once('"').unwrap().1),
            None => line.to_owned(),
        })
        .collect();
    assert_eq!(
        text[..9],
        [
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>",
            "<testsuites name=\"runbook test\" tests=\"3\" failures=\"1\" errors=\"1\">",
            "  <testsuite name=\"worker.test.yaml\" tests=\"3\" failures=\"1\" errors=\"1\" skipped=\"0\">",
            "    <testcase name=\"&lt;one&gt; &amp; &quot;two&quot;\" classname=\"worker.test.yaml\" file=\"worker.test.yaml\"/>",
            "    <testcase name=\"wrong\" classname=\"worker.test.yaml\" file=\"worker.test.yaml\">",
            "      <failure message=\"the run was to end as `failed`; it ended as `succeeded`\" type=\"unmet-expectation\">error[unmet-expectation]: the run was to end as `failed`",
            " --&gt; worker.test.yaml:7:24",
            "  |",
            "7 |     expect: { outcome: failed }",
        ]
    );
    assert!(text.contains(&"      <error message=\"step `look` ran, and the case says nothing of it\" type=\"missing-result\">error[missing-result]: step `look` ran, and the case says nothing of it".to_owned()), "{text:#?}");
    assert_eq!(text[text.len() - 2..], ["  </testsuite>", "</testsuites>"]);
}

#[test]
fn a_first_test_file_passes_and_is_not_written_over() {
    let place = Place::new();
    shipped(&place);
    place.write("worker.yaml", WORKER);
    std::fs::remove_file(place.path("runbooks/clerk-triage.test.yaml")).unwrap();
    for name in ["worker", "clerk-triage"] {
        let said = place.run(&["test", "--init", name]);
        assert_eq!(said.code, Some(0), "{}", said.stderr);
        let said = place.run(&["test", name, "--min-coverage", "steps=100", "--min-coverage", "branches=75"]);
        assert_eq!(said.code, Some(0), "{}{}", said.stdout, said.stderr);
    }
    assert!(
        place.read("worker.test.yaml").contains("a no at the gate of restart"),
        "{}",
        place.read("worker.test.yaml")
    );
    place.write("worker.test.yaml", "# mine\n");
    let said = place.run(&["test", "--init", "worker"]);
    assert_eq!((said.code, place.read("worker.test.yaml").as_str()), (Some(2), "# mine\n"));
    let said = place.run(&["test", "--init", "worker", "--force"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(place.read("worker.test.yaml").contains("cases:"));
}

#[test]
fn a_test_file_is_no_runbook_and_a_runbook_without_tests_is_not_covered() {
    let place = worker("cases: { one: { steps: { look: { fails: network } }, expect: { outcome: succeeded } } }\n");
    let said = place.run(&["plan", "worker.test.yaml"]);
    assert_eq!(said.code, Some(2));
    assert_eq!(
        said.stderr,
        "error: `worker.test.yaml` holds the tests of a runbook, and is none\n  help: run them: runbook test worker.test.yaml\n"
    );
    place.write("other.yaml", "runbook: other\nsteps: { look: { manual: { text: Look. } } }\n");
    let said = place.run(&["test", "."]);
    assert_eq!(said.code, Some(0));
    assert!(said.stdout.contains("coverage of other.yaml: 0 % (steps 0/1"), "{}", said.stdout);
    let said = place.run(&["test", "other"]);
    assert_eq!(
        said.stderr,
        "error: `other` has no test file beside it\n  help: write a first one: runbook test --init other\n"
    );
    let said = place.run(&["test", "worker", "--filter", "none such"]);
    assert_eq!((said.code, said.stderr.as_str()), (Some(2), "error: no case has `none such` in its name\n"));
}

#[test]
fn a_folder_with_a_broken_test_file_runs_nothing_and_names_all_mistakes() {
    let place = worker("cases: { one: { expect: {} } }\n");
    place.write("lost.test.yaml", "cases: { one: { expect: { outcome: failed } } }\n");
    let said = place.run(&["test", "."]);
    assert_eq!((said.code, said.stdout.as_str()), (Some(3), ""));
    assert!(said.stderr.contains("there is no runbook `lost.yaml`"), "{}", said.stderr);
    assert!(said.stderr.contains("error[no-expectation]"), "{}", said.stderr);
}

#[test]
fn every_example_of_the_docs_passes() {
    let page = std::fs::read_to_string(repository("docs/testing.md")).unwrap();
    let place = Place::new();
    let mut ran = 0;
    for block in page.split("```yaml\n").skip(1).map(|rest| rest.split("\n```").next().unwrap()) {
        let name = block.lines().next().unwrap().strip_prefix("# ").expect("every block says which file it is");
        place.write(name, &format!("{block}\n"));
        if name.ends_with(".test.yaml") {
            let said = place.run(&["test", name]);
            assert_eq!(said.code, Some(0), "{}{}", said.stdout, said.stderr);
            ran += 1;
        }
    }
    assert!(ran >= 5, "{ran}");
}

#[test]
fn every_field_of_a_test_file_is_documented() {
    use runbook::testing::fields;
    let page = std::fs::read_to_string(repository("docs/testing.md")).unwrap();
    let tables = [fields::FILE, fields::CASE, fields::ANSWER, fields::UNDO_ANSWER, fields::VOICE, fields::EXPECT];
    let more = [fields::STEP_EXPECT, fields::GATE_EXPECT, fields::ERROR_EXPECT, fields::REQUEST, fields::REPORT_EXPECT];
    for field in tables.into_iter().chain(more).flatten() {
        assert!(page.contains(field.name), "docs/testing.md does not name `{}`", field.name);
    }
}

#[test]
fn the_shipped_runbooks_are_covered_whole() {
    let place = Place::new();
    shipped(&place);
    let said = place.run(&["test", "runbooks", "--min-coverage", "100"]);
    assert_eq!(said.code, Some(0), "{}{}", said.stdout, said.stderr);
    let kinds = ["steps=100", "branches=100", "gates=100", "undos=100"];
    let flags = kinds.iter().flat_map(|kind| ["--min-coverage", kind]);
    let all: Vec<&str> = ["test"].into_iter().chain(flags).collect();
    assert_eq!(place.run(&all).code, Some(0));
}

/// What somebody might do to `clerk-outage.yaml`, by accident or for a good reason that nobody heard of.
const MUTATIONS: [(&str, &str, &str); 24] = [
    (
        "the outage is not asked about our application",
        "not frontend_api.outputs.healthy and app.outputs.reachable",
        "not frontend_api.outputs.healthy",
    ),
    (
        "health is read the wrong way round",
        "if: \"not frontend_api.outputs.healthy and",
        "if: \"frontend_api.outputs.healthy and",
    ),
    (
        "maintenance counts as an outage",
        "then: { category: clerk-maintenance, severity: high }",
        "then: { category: clerk-outage, severity: high }",
    ),
    (
        "a refused key is looked at last",
        "if: \"backend_api.error.kind == 'unauthorized'\"",
        "if: \"backend_api.error.kind == 'secret'\"",
    ),
    ("a kind of failure is forgotten", "['server', 'rate_limited', 'timeout'", "['server', 'timeout'"),
    (
        "the bypass is opened whatever the category",
        "if: \"triage.outputs.category == 'clerk-outage'\"",
        "if: \"triage.outputs.category != 'none'\"",
    ),
    (
        "a question stands for four hours",
        "      by: [\"group:oncall\"]\n      within: 15m",
        "      by: [\"group:oncall\"]\n      within: 4h",
    ),
    ("anybody may say yes", "      by: [\"group:oncall\"]\n", ""),
    ("nobody is asked for the reason", "reason: { type: string, required: true,", "reason: { type: string,"),
    ("the question never lapses", "      within: 15m\n      on_timeout: reject", "      on_timeout: hold"),
    (
        "the time of the bypass is not its own",
        "\"{{ run.now + inputs.bypass_for }}\"",
        "\"{{ run.started_at + inputs.bypass_for }}\"",
    ),
    (
        "preview instead of production",
        "      target: production\n      values:",
        "      target: preview\n      values:",
    ),
    (
        "what was set is not taken back",
        "    undo: auto\n    measure: { expires: \"{{ inputs.bypass_for }}\", on_expiry: undo,",
        "    measure: { expires: \"{{ inputs.bypass_for }}\",",
    ),
    ("a failure leaves everything as it is", "on_failure: rollback", "on_failure: hold"),
    (
        "one try is enough",
        "on: [timeout, network, server, rate_limited, failed] }\n    undo: auto",
        "on: [failed] }\n    undo: auto",
    ),
    ("nobody waits for sign-in", "needs: [sign_in_back]", "needs: [bypass_works]"),
    (
        "calm is not waited for",
        "outputs.good == outputs.samples and not outputs.maintenance_mode",
        "outputs.good and not outputs.maintenance_mode",
    ),
    ("one good look is calm", "samples: \"{{ inputs.settle_looks }}\", every: 30s", "samples: 2, every: 30s"),
    (
        "sessions that live on are not asked about",
        "not frontend_api.outputs.healthy and sessions.outputs.works",
        "false",
    ),
    ("going back goes nowhere", "to: \"{{ deploy_bypass.outputs.previous }}\"", "to: previous"),
    (
        "a refused way back stops it",
        "    allow_failure: true                    # the slow way below closes it as well\n",
        "",
    ),
    ("an expired bypass stays", "on_expiry: undo, ", ""),
    ("nobody sees whether the project is rolled back", "if: \"not outputs.rolled_back\"", "if: \"true\""),
    (
        "one variable stays behind",
        "names: [CLERK_EMERGENCY_BYPASS_MODE, CLERK_EMERGENCY_BYPASS_SINCE, CLERK_EMERGENCY_BYPASS_UNTIL]",
        "names: [CLERK_EMERGENCY_BYPASS_MODE, CLERK_EMERGENCY_BYPASS_SINCE]",
    ),
];

#[test]
fn the_tests_of_the_shipped_runbook_notice_every_change_of_it() {
    let original = std::fs::read_to_string(repository("runbooks/clerk-outage.yaml")).unwrap();
    let place = Place::new();
    shipped(&place);
    let mut unnoticed = Vec::new();
    for (what, from, to) in MUTATIONS {
        assert!(original.contains(from), "{what}: the runbook has changed");
        place.write("runbooks/clerk-outage.yaml", &original.replacen(from, to, 1));
        let Said { code, stdout, stderr } = place.run(&["test", "clerk-outage"]);
        match code {
            Some(1) => assert!(stdout.contains("FAIL"), "{what}\n{stdout}"),
            // The tests speak of something that is not there any more.
            Some(3) => assert!(stderr.contains("clerk-outage.test.yaml"), "{what}\n{stderr}"),
            _ => unnoticed.push(what),
        }
    }
    assert!(unnoticed.is_empty(), "no test fails when {}", unnoticed.join("; or when "));
}

/// The events of a played case, as [`Place::events`] tells those of a real run; with what gates are bound to.
fn played(place: &Place, name: &str) -> (Vec<String>, Vec<Value>) {
    let path = place.path(&format!("{name}.test.yaml"));
    let draft = Draft::read(&path).unwrap();
    let loaded = load_file(&draft.runbook).unwrap();
    let folder = draft.runbook.parent().unwrap_or(Path::new("")).to_owned();
    let approvers = Approvers::load(&folder).unwrap();
    let suite = Suite::new(&draft, &loaded, runbook::actions::builtin(), approvers, &folder)
        .unwrap_or_else(|found| panic!("{}", found[0].render(false)));
    let verdict = suite.run(&suite.cases()[0]);
    assert!(verdict.passed(), "{}", verdict.misses[0].render(false));
    let events: Vec<Value> =
        verdict.played.log.iter().map(|recorded| serde_json::to_value(&recorded.event).unwrap()).collect();
    told(&events)
}

/// Type and step of events, and the parts of them that are not made of time.
fn told(events: &[Value]) -> (Vec<String>, Vec<Value>) {
    let words = |event: &Value| match event["step"].as_str() {
        Some(step) => format!("{} {step}", event["type"].as_str().unwrap()),
        None => event["type"].as_str().unwrap().to_owned(),
    };
    let parts =
        ["params", "digest", "prompt", "does", "arm", "items", "steps", "because", "outcome", "plan", "next", "timer"];
    let facts = |event: &Value| {
        let mut kept: serde_json::Map<String, Value> = event
            .as_object()
            .unwrap()
            .iter()
            .filter(|(name, _)| parts.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        // When it is tried again is a time; that it is, is none.
        if let Some(next) = kept.get_mut("next").and_then(Value::as_object_mut) {
            next.remove("at");
        }
        Value::Object(kept)
    };
    (events.iter().map(words).collect(), events.iter().map(facts).collect())
}

#[test]
fn a_case_is_played_as_the_engine_runs_it() {
    for (name, runbook, test, flags) in [
        (
            "rollback",
            "\
runbook: rollback
steps:
  a: { argv: [\"true\"], undo: { argv: [\"true\"] } }
  b:
    needs: [a]
    run: test \"$RUNBOOK_ATTEMPT\" -ge 2
    retry: { attempts: 3, delay: 1ms }
    undo: { run: \"true\", timeout: 1m }
  c: { needs: [b], argv: [\"false\"] }
  d: { needs: [c], argv: [\"true\"] }
on_failure: rollback
finally: { report: { uses: report.render } }
",
            "\
cases:
  one:
    steps: { a: { outputs: {} }, b: [{ fails: failed }, { outputs: {} }], c: { fails: failed } }
    undos: { a: done, b: done }
    expect: { outcome: rolled_back, undo_order: [b, a] }
",
            &[][..],
        ),
        (
            "loop",
            "\
runbook: loop
steps:
  list: { run: \"echo 'all=[\\\"x\\\",\\\"y\\\",\\\"z\\\"]' >> \\\"$RUNBOOK_OUTPUT\\\"\", outputs: { all: { type: json } }, effect: read }
  each:
    needs: [list]
    for_each: { in: list.outputs.all, at_most: 1, fail_after: 2 }
    run: test \"$ITEM\" != y
    env: { ITEM: \"{{ item }}\" }
  verdict:
    needs: { each: finished }
    uses: decide
    with: [{ if: \"each.outputs.failed == 1\", then: { n: \"{{ each.outputs.total }}\" } }, { then: {} }]
",
            "\
cases:
  one:
    steps: { list: { outputs: { all: [x, y, z] } }, each: { outputs: {} }, \"each[y]\": { fails: failed } }
    expect: { outcome: succeeded, steps: { verdict: { outputs: { n: 3 } } } }
",
            &[],
        ),
        (
            "call",
            "\
runbook: call
inputs: { where: { type: string, default: eu } }
steps:
  go:
    call: part.yaml
    with: { region: \"{{ inputs.where }}\" }
  after:
    needs: [go]
    approval: { prompt: \"Is {{ go.outputs.address }} right?\" }
    argv: [echo, \"{{ go.outputs.address }}\"]
  never: { needs: [after], if: \"after.outputs.stdout == 'x'\", argv: [\"true\"] }
",
            "\
cases:
  one:
    steps: { go/act: { outputs: {} }, after: { outputs: { stdout: \"eu.example\\n\" } } }
    gates: { after: { approve: tester } }
    expect: { outcome: succeeded, skipped: [never] }
",
            &["--approve", "after"],
        ),
    ] {
        let place = Place::new();
        place.write(&format!("{name}.yaml"), runbook).write(&format!("{name}.test.yaml"), test).write(
            "part.yaml",
            "runbook: part\ninputs: { region: { type: string, required: true } }\nlocks: [\"part:{{ inputs.region }}\"]\nsteps: { act: { argv: [echo, \"{{ inputs.region }}\"] } }\nfinally: { tidy: { uses: decide, with: [{ then: {} }] } }\noutputs: { address: { type: string, value: \"{{ inputs.region }}.example\" } }\n",
        );
        let arguments: Vec<&str> = ["run", name, "--yes", "-q"].into_iter().chain(flags.iter().copied()).collect();
        let said = place.run(&arguments);
        let events: Vec<Value> = place.log().into_iter().map(|line| line["event"].clone()).collect();
        assert!(!events.is_empty(), "{name}: {}", said.stderr);
        let (real, real_facts) = told(&events);
        let (played, played_facts) = played(&place, name);
        assert_eq!(played, real, "{name}");
        assert_eq!(played_facts, real_facts, "{name}");
    }
}
