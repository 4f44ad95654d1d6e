//! What `plan` foretells: effects, gates, branches, what is supposed, what is read live, how long it takes, and pictures.
//!
//! The runbooks stand in `tests/cli/plan/`, beside what the program has to say about them.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::{Place, Said, copy, repository, said, shipped};

/// A place with the runbooks of this test in it.
fn place() -> Place {
    let place = Place::new();
    copy(&repository("tests/cli/plan"), &place.folder());
    place
}

/// What is printed, without the digest, which changes with the file.
fn printed(place: &Place, format: &str) -> String {
    let said = place.run(&["plan", "small.yaml", "--format", format]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let plan = planned(place, &["small.yaml"]);
    said.stdout.replace(&plan["digest"].as_str().unwrap()[..12], "DIGEST")
}

fn planned(place: &Place, arguments: &[&str]) -> Value {
    let all: Vec<&str> = ["plan", "--format", "json"].into_iter().chain(arguments.iter().copied()).collect();
    let said = place.run(&all);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    serde_json::from_str(&said.stdout).unwrap()
}

/// `step: fate` for every step, called ones behind the one that calls.
fn fates(plan: &Value) -> Vec<String> {
    fn walk(steps: &Value, above: &str, found: &mut Vec<String>) {
        for step in steps.as_array().unwrap() {
            let path = format!("{above}{}", step["id"].as_str().unwrap());
            found.push(format!("{path}: {}", step["fate"].as_str().unwrap()));
            if step["calls"].is_object() {
                walk(&step["calls"]["steps"], &format!("{path}/"), found);
            }
        }
    }
    let mut found = Vec::new();
    walk(&plan["steps"], "", &mut found);
    found
}

fn step<'p>(plan: &'p Value, id: &str) -> &'p Value {
    plan["steps"].as_array().unwrap().iter().find(|step| step["id"] == id).unwrap()
}

#[test]
fn a_plan_is_shown_whole_in_every_form_for_people() {
    let place = place();
    for (format, name) in
        [("text", "small.txt"), ("markdown", "small.md"), ("dot", "small.dot"), ("mermaid", "small.mmd")]
    {
        let shown = printed(&place, format);
        let path = repository("tests/cli/plan").join(name);
        if std::env::var_os("RUNBOOK_BLESS").is_some() {
            std::fs::write(&path, &shown).unwrap();
        }
        assert_eq!(shown, std::fs::read_to_string(path).unwrap(), "{format}\n{shown}");
    }
    assert!(!place.state().exists(), "a plan leaves nothing behind");
}

#[test]
fn a_plan_as_data_fits_the_schema_that_is_published() {
    let schema: Value =
        serde_json::from_str(&std::fs::read_to_string(repository("schemas/plan.schema.json")).unwrap()).unwrap();
    let place = place();
    shipped(&place);
    let outage = [
        "runbooks/clerk-outage.yaml",
        "-i",
        "project=shop",
        "-i",
        "app_url=https://a.example",
        "-i",
        "frontend_host=c.example",
    ];
    let mut supposed = outage.to_vec();
    supposed.extend(["--set", "triage.outputs.category=none", "--set", "app.error.kind=timeout"]);
    for arguments in [&["small.yaml"][..], &outage, &supposed] {
        let plan = planned(&place, arguments);
        let mut problems = Vec::new();
        validate(&schema, &schema, &plan, "plan", &mut problems);
        assert_eq!(problems, Vec::<String>::new());
        // A wrong one is told, so the check above means something.
        let mut wrong = plan.clone();
        wrong["steps"][0]["fate"] = json!("perhaps");
        wrong["blast_radius"].as_object_mut().unwrap().remove("writes");
        wrong["without_limit"] = json!("none");
        validate(&schema, &schema, &wrong, "plan", &mut problems);
        assert_eq!(problems.len(), 3, "{problems:?}");
    }
    let said = place.run(&["schema", "--of", "plan"]);
    assert_eq!(said.stdout, std::fs::read_to_string(repository("schemas/plan.schema.json")).unwrap());
    assert_eq!(place.run(&["schema", "--of", "plan", "--write"]).code, Some(0));
    assert_eq!(place.read("schemas/plan.schema.json"), said.stdout);
    place.write("schemas/plan.schema.json", "{}\n");
    let stale = place.run(&["schema", "--of", "plan", "--check"]);
    assert!(stale.stderr.contains("run `runbook schema --of plan --write`"), "{}", stale.stderr);
}

/// The words of JSON Schema that the published schema uses.
fn validate(root: &Value, schema: &Value, value: &Value, at: &str, problems: &mut Vec<String>) {
    if let Some(reference) = schema["$ref"].as_str() {
        let target = root.pointer(reference.trim_start_matches('#')).unwrap();
        return validate(root, target, value, at, problems);
    }
    let is_of = |kind: &str| match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "null" => value.is_null(),
        other => panic!("unknown type {other}"),
    };
    let fits = match &schema["type"] {
        Value::String(kind) => is_of(kind),
        Value::Array(kinds) => kinds.iter().any(|kind| is_of(kind.as_str().unwrap())),
        _ => true,
    };
    if !fits {
        problems.push(format!("{at}: {value} is no {}", schema["type"]));
        return;
    }
    if let Some(words) = schema["enum"].as_array()
        && !words.contains(value)
    {
        problems.push(format!("{at}: {value} is none of {words:?}"));
    }
    if let Some(constant) = schema.get("const")
        && constant != value
    {
        problems.push(format!("{at}: {value} is not {constant}"));
    }
    for several in ["anyOf", "oneOf"] {
        let Some(schemas) = schema[several].as_array() else { continue };
        let fits = schemas.iter().any(|schema| {
            let mut inner = Vec::new();
            validate(root, schema, value, at, &mut inner);
            inner.is_empty()
        });
        if !fits {
            problems.push(format!("{at}: {value} fits none of {several}"));
        }
    }
    for name in schema["required"].as_array().into_iter().flatten() {
        if value.is_object() && value.get(name.as_str().unwrap()).is_none() {
            problems.push(format!("{at}: {name} is missing"));
        }
    }
    for (name, inner) in value.as_object().into_iter().flatten() {
        let at = format!("{at}.{name}");
        match (schema["properties"].get(name), &schema["additionalProperties"]) {
            (Some(property), _) => validate(root, property, inner, &at, problems),
            (None, more @ Value::Object(_)) => validate(root, more, inner, &at, problems),
            // Everything that is printed is described.
            (None, Value::Null) if schema.get("properties").is_some() => problems.push(format!("{at}: not described")),
            (None, _) => {}
        }
    }
    for (index, inner) in value.as_array().into_iter().flatten().enumerate() {
        if schema["items"].is_object() {
            validate(root, &schema["items"], inner, &format!("{at}[{index}]"), problems);
        }
    }
}

#[test]
fn what_follows_from_a_supposed_result_is_shown() {
    let place = place();
    let after = |sets: &[&str]| {
        let mut arguments = vec!["small.yaml"];
        sets.iter().for_each(|set| arguments.extend(["--set", set]));
        let plan = planned(&place, &arguments);
        let told: BTreeMap<String, String> = fates(&plan)
            .iter()
            .map(|line| line.split_once(": ").map(|(step, fate)| (step.to_owned(), fate.to_owned())).unwrap())
            .collect();
        let order = ["look", "choose", "move", "sweep", "after", "after/agree", "after/tidy", "tell", "note"];
        order.map(|step| told[step].clone()).join(" ")
    };
    for (sets, expected) in [
        (&[][..], "runs runs open open runs runs runs open runs"),
        // A condition that is met, one that is not, and what hangs on them.
        (&["choose.outputs.what=move"], "runs supposed runs runs runs runs runs open runs"),
        (&["choose.outputs.what=nothing"], "runs supposed skipped skipped runs runs runs skipped runs"),
        // Through an arm: the chosen one, and one before it that is still open.
        (&["look.error.kind=unauthorized"], "supposed runs skipped skipped runs runs runs skipped runs"),
        (&["look.outputs.json.length=2000"], "supposed runs runs runs runs runs runs open runs"),
        (&["look.error.kind=timeout"], "supposed runs open open runs runs runs open runs"),
        (
            &["look.error.kind=timeout", "look.outputs.json.length=7"],
            "supposed runs skipped skipped runs runs runs skipped runs",
        ),
        // Results of the step at the gate.
        (&["move.result=rejected"], "runs runs supposed skipped skipped skipped skipped runs runs"),
        (&["move.result=succeeded"], "runs runs supposed runs runs runs runs skipped runs"),
        (&["move.result=skipped"], "runs runs supposed skipped runs runs runs skipped runs"),
        // A failure lets nothing new begin, but the final steps.
        (&["move.error.kind=server"], "runs runs supposed skipped skipped skipped skipped skipped runs"),
        // What is supposed within a called runbook stays within it, as long as it does not fail.
        (&["after/agree.result=rejected"], "runs runs open open runs supposed skipped open runs"),
        // Both at once, against each other: what is supposed stands.
        (
            &["choose.outputs.what=nothing", "move.result=succeeded"],
            "runs supposed supposed runs runs runs runs skipped runs",
        ),
    ] {
        assert_eq!(after(sets), expected, "{sets:?}");
    }
}

#[test]
fn a_failure_that_is_supposed_stops_what_has_not_begun_as_in_a_run() {
    let place = place();
    let text = r#"runbook: stops
steps:
  before: { argv: [ls], effect: read }
  fails: { needs: [before], argv: [ls], effect: read }
  beside: { needs: [before], argv: [ls], effect: read }
  mends: { needs: { fails: failed }, argv: [ls], effect: read }
  calls: { call: part.yaml }
  no: { needs: { calls: rejected }, argv: [ls], effect: read }
finally:
  last: { argv: [ls], effect: read }
"#;
    place.write(
        "part.yaml",
        "runbook: part\nsteps:\n  ask: { approval: { prompt: \"Go?\" } }\n  work: { needs: [ask], argv: [ls] }\n",
    );
    let after = |text: &str, sets: &[&str]| {
        place.write("stops.yaml", text);
        let mut arguments = vec!["stops.yaml"];
        sets.iter().for_each(|set| arguments.extend(["--set", set]));
        let plan = planned(&place, &arguments);
        let order = ["before", "fails", "beside", "mends", "calls", "no", "last"];
        order.map(|id| step(&plan, id)["fate"].as_str().unwrap().to_owned()).join(" ")
    };
    // It is known beforehand that it may fail, and no more.
    assert_eq!(after(text, &[]), "runs runs runs open runs open runs");
    let failed = ["fails.result=failed"];
    assert_eq!(after(text, &failed), "runs supposed open skipped open open runs");
    // Where the run may go on, what waits for the failure runs.
    let allowed = text.replace("fails: { needs: [before],", "fails: { needs: [before], allow_failure: true,");
    assert_eq!(after(&allowed, &failed), "runs supposed runs runs runs open runs");
    let goes_on = format!("{text}on_failure: continue\n");
    assert_eq!(after(&goes_on, &failed), "runs supposed runs runs runs open runs");
    // A called runbook that fails is a step that fails.
    assert_eq!(after(text, &["calls/work.error.kind=timeout"]), "open open open open runs skipped runs");
}

#[test]
fn what_is_supposed_goes_into_conditions_arms_questions_and_loops_and_the_rest_stays_unknown() {
    let place = place();
    place.write(
        "loops.yaml",
        r#"runbook: loops
steps:
  find: { run: "./find", outputs: { users: { type: json }, count: { type: integer } }, effect: read }
  each:
    needs: [find]
    for_each: { in: find.outputs.users, as: user, key: user.id }
    argv: [./revoke, "{{ user.id }}", "{{ find.outputs.count }}", "{{ find.outputs.stdout }}"]
  many: { needs: [each], if: "each.outputs.failed > 1", manual: { text: "{{ each.outputs.failed }} of {{ each.outputs.total }}" } }
"#,
    );
    let users = r#"find.outputs.users=[{"id":"u1"},{"id":"u2"}]"#;
    let plan = planned(
        &place,
        &["loops.yaml", "--set", users, "--set", "find.outputs.count=2", "--set", "each.outputs.failed=2"],
    );
    let each = &step(&plan, "each")["for_each"];
    assert_eq!(each["items"], json!(["u1", "u2"]));
    assert_eq!(each["each"][1]["does"][0]["argv"], json!(["./revoke", "u2", "2", "‹find.outputs.stdout›"]));
    let many = step(&plan, "many");
    assert_eq!((&many["verdict"], &many["does"][0]["text"]), (&json!("always"), &json!("2 of ‹each.outputs.total›")));
    assert_eq!(
        step(&plan, "find")["given"],
        json!({ "facts": { "outputs": { "count": 2, "users": [{ "id": "u1" }, { "id": "u2" }] } } })
    );

    let plan = planned(&place, &["small.yaml", "--set", "look.outputs.json.length=2000"]);
    assert_eq!(step(&plan, "move")["gate"]["prompt"], "Move mail because it is long?");
    assert_eq!(step(&plan, "sweep")["for_each"]["each"][0]["does"][0]["argv"], json!(["./sweep", "a", "move"]));
    let chosen: Vec<&Value> =
        step(&plan, "choose")["arms"].as_array().unwrap().iter().map(|arm| &arm["chosen"]).collect();
    assert_eq!(chosen, [&json!(false), &json!(true), &json!(false)]);
    let plan =
        planned(&place, &["small.yaml", "--set", "choose.outputs.what=nothing", "--set", "move.result=succeeded"]);
    assert_eq!(step(&plan, "move")["given"]["against"], "its condition does not hold");
    assert_eq!(step(&plan, "move")["gate"]["prompt"], "Move mail because ‹choose.outputs.why›?");
    assert_eq!(plan["blast_radius"]["left_out"], 0);
    let plan = planned(&place, &["small.yaml", "--set", "move.result=skipped"]);
    assert_eq!((&plan["blast_radius"]["left_out"], &plan["blast_radius"]["writes"]), (&json!(1), &json!(3)));
    let plan = planned(&place, &["small.yaml", "--set", "choose.outputs.what=nothing"]);
    assert_eq!((&plan["blast_radius"]["left_out"], &plan["blast_radius"]["writes"]), (&json!(2), &json!(2)));
    assert_eq!(plan["rollback"]["undone"], json!([]));
}

#[test]
fn what_cannot_be_supposed_is_refused_with_a_way_out() {
    let place = place();
    let refused = |set: &str| {
        let said = place.run(&["plan", "small.yaml", "--set", set]);
        assert_eq!((said.code, said.stdout.as_str()), (Some(2), ""), "{set}");
        said.stderr
    };
    for (set, told) in [
        (
            "look",
            "error: `look` is not of the form STEP.WHAT=VALUE\n  help: write for example `triage.outputs.category=none` or `backend_api.error.kind=timeout`\n",
        ),
        ("lock.result=failed", "error: there is no step `lock`\n  help: did you mean `look`?\n"),
        ("after/agre.result=failed", "error: there is no step `after/agre`\n  help: did you mean `after/agree`?\n"),
        ("look/x.result=failed", "error: step `look` calls no runbook\n"),
        (
            "sweep[a].result=failed",
            "error: `sweep[a]` is one item of a loop; items are known only to the run\n  help: suppose what the loop gives: `step.outputs.failed=2`, or `step.outputs.items=[…]`\n",
        ),
        ("look.output.x=1", "error: step `look` has no fact `output`\n  help: did you mean `outputs`?\n"),
        ("look.outputs.staus=1", "error: step `look` has no output `staus`\n  help: did you mean `status`?\n"),
        ("look.outputs.status=many", "error: `look.outputs.status` cannot be `many`: it is no whole number\n"),
        ("look.outputs.status.code=1", "error: `look.outputs.status.code`: there is nothing called `code` in it\n"),
        (
            "look.error.kind=serve",
            "error: `look.error.kind` cannot be `serve`: there is no such word\n  help: did you mean `server`?\n",
        ),
        (
            "look.error.knd=server",
            "error: step `look` has no fact about a failure `knd`\n  help: did you mean `kind`?\n",
        ),
        (
            "look.result=skiped",
            "error: `look.result` cannot be `skiped`: there is no such word\n  help: did you mean `skipped`?\n",
        ),
        ("look.result.x=1", "error: `look.result` has nothing called `x` in it\n"),
        (
            "choose.outputs.what=mve",
            "error: `choose.outputs.what` cannot be `mve`: no arm gives that\n  help: did you mean `move`?\n",
        ),
        (
            "sweep.outputs.exit_code=1",
            "error: step `sweep` has no output `exit_code`\n  help: there are: failed, items, skipped, succeeded, total\n",
        ),
        ("move.approval.tickt=x", "error: step `move` has no answer `tickt`\n  help: did you mean `ticket`?\n"),
        ("look.approval.by=x", "error: step `look` has no gate\n"),
        (
            "look.met=true",
            "error: step `look` has no `until`, so `look.met` is always `none`\n  help: suppose `look.result=…` or one of its outputs\n",
        ),
        (
            "look.finished_at=noon",
            "error: `look.finished_at` cannot be `noon`: it is no time such as `2026-11-24T03:00:00Z`\n",
        ),
        ("after.outputs.x=1", "error: step `after` has no output `x`\n  help: it has none\n"),
    ] {
        assert_eq!(refused(set), told, "{set}");
    }
    let said = place.run(&["plan", "small.yaml", "--set", "look.result=succeeded", "--set", "look.error.kind=server"]);
    let told = "error: step `look` cannot have ended `succeeded` and have `error`\n  help: suppose one of the two\n";
    assert_eq!((said.code, said.stderr.as_str()), (Some(2), told));
}

#[test]
fn a_moment_that_is_supposed_adds_to_durations() {
    let place = place();
    place.write(
        "times.yaml",
        r#"runbook: times
inputs: { rest: { type: duration, default: 5m } }
steps:
  a: { argv: [ls], effect: read }
  b: { needs: [a], argv: [echo, "{{ a.finished_at + inputs.rest }}"], effect: read }
"#,
    );
    let plan = planned(&place, &["times.yaml", "--set", "a.finished_at=2026-11-24T03:00:00Z"]);
    assert_eq!(step(&plan, "b")["does"][0]["argv"][1], "2026-11-24T03:05:00Z");
}

/// A stand-in that answers by path, remembers every request, and objects to whatever is not a plain look.
struct World {
    address: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl World {
    fn new(answer: impl Fn(&str) -> (u16, String) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let remembered = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { continue };
                let mut head = Vec::new();
                let mut byte = [0];
                while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
                    head.push(byte[0]);
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let mut words = head.split_whitespace();
                let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
                remembered.lock().unwrap().push(format!("{method} {path}"));
                let (status, body) = if method == "GET" { answer(path) } else { (405, "{}".to_owned()) };
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
            }
        });
        Self { address, seen }
    }

    fn seen(&self) -> Vec<String> {
        let mut seen = self.seen.lock().unwrap().clone();
        seen.sort();
        seen
    }
}

const LIVE: &str = r#"runbook: live
inputs: { at: { type: url, required: true } }
secrets: { key: { env: LIVE_KEY } }
steps:
  up: { uses: http.get, with: { url: "{{ inputs.at }}/up", headers: { authorization: "Bearer {{ secrets.key }}" } }, allow_failure: true }
  gone: { uses: http.get, with: { url: "{{ inputs.at }}/gone" }, allow_failure: true }
  next: { needs: [up], if: "up.outputs.json.level > 3", uses: http.get, with: { url: "{{ inputs.at }}/level/{{ up.outputs.json.level }}" } }
  other: { needs: [up], if: "up.outputs.json.level < 3", uses: http.get, with: { url: "{{ inputs.at }}/other" } }
  deep: { needs: [next], uses: http.get, with: { url: "{{ inputs.at }}/deep" } }
  script: { run: "touch script-ran", effect: read }
  behind_script: { needs: [script], uses: http.get, with: { url: "{{ inputs.at }}/behind-script" } }
  write: { needs: [next], uses: http.request, with: { method: POST, url: "{{ inputs.at }}/write" } }
  sneaky: { uses: http.request, with: { method: GET, url: "{{ inputs.at }}/sneaky" } }
  behind_write: { needs: [write], uses: http.get, with: { url: "{{ inputs.at }}/behind-write" } }
  gate: { approval: { prompt: "Go?" } }
  behind_gate: { needs: [gate], uses: http.get, with: { url: "{{ inputs.at }}/behind-gate" } }
  gated: { approval: { prompt: "Look?" }, uses: http.get, with: { url: "{{ inputs.at }}/gated" } }
  each: { for_each: { in: "[1, 2]" }, uses: http.get, with: { url: "{{ inputs.at }}/each/{{ item }}" } }
  patient: { uses: http.get, with: { url: "{{ inputs.at }}/patient" }, until: { if: outputs.ok, every: 1s, within: 5s } }
  file: { uses: report.render, with: {} }
  unknown: { needs: { script: finished }, uses: http.get, with: { url: "{{ inputs.at }}/{{ script.outputs.stdout }}" } }
  decide:
    needs: { up: finished, gone: finished }
    uses: decide
    with:
      - { if: "gone.error.status == 404 and up.outputs.status == 200", then: { state: half } }
      - { then: { state: whole } }
  then: { needs: [decide], if: "decide.outputs.state == 'half'", manual: { text: "It is {{ decide.outputs.state }}" } }
finally:
  last: { uses: http.get, with: { url: "{{ inputs.at }}/last" } }
"#;

fn live(place: &Place, world: &World, more: &[&str]) -> (Said, Value) {
    let at = format!("at={}", world.address);
    let mut arguments = vec!["plan", "live.yaml", "-i", &at, "--live-reads", "--format", "json"];
    arguments.extend(more);
    let said = said(place.command(&arguments).env("LIVE_KEY", "s3cret-value"));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let plan = serde_json::from_str(&said.stdout).unwrap();
    (said, plan)
}

#[test]
fn live_reads_ask_only_what_only_looks_and_decide_what_follows() {
    let world = World::new(|path| match path {
        "/up" => (200, r#"{"level": 5, "echo": "s3cret-value"}"#.to_owned()),
        "/gone" => (404, "{}".to_owned()),
        _ => (200, "{}".to_owned()),
    });
    let place = place();
    place.write("live.yaml", LIVE);
    let (said, plan) = live(&place, &world, &[]);
    assert_eq!(world.seen(), ["GET /deep", "GET /gone", "GET /level/5", "GET /up"]);
    assert!(!place.state().exists(), "no run is recorded");
    assert!(!place.path("script-ran").exists() && !place.path("report.md").exists());
    assert!(!said.stdout.contains("s3cret-value"), "{}", said.stdout);
    let read: Vec<String> = fates(&plan).into_iter().filter(|fate| fate.ends_with(": read")).collect();
    assert_eq!(read, ["up: read", "gone: read", "next: read", "deep: read"]);
    assert_eq!(step(&plan, "other")["fate"], "skipped");
    assert_eq!(step(&plan, "gone")["given"]["facts"]["error"]["kind"], "rejected");
    assert!(step(&plan, "gone")["given"]["read_at"].as_str().unwrap().ends_with('Z'));
    assert_eq!(step(&plan, "then")["does"][0]["text"], "It is half");
    // A write that is supposed to be done has still not been done: what comes after it would look too early.
    world.seen.lock().unwrap().clear();
    live(&place, &world, &["--set", "write.result=succeeded", "--set", "up.outputs.json.level=1"]);
    assert_eq!(world.seen(), ["GET /gone", "GET /other"]);
}

#[test]
fn a_look_without_its_secret_is_left_and_said_so() {
    let world = World::new(|_| (200, "{}".to_owned()));
    let place = place();
    place.write("live.yaml", LIVE);
    let at = format!("at={}", world.address);
    let said = place.run(&["plan", "live.yaml", "-i", &at, "--live-reads", "--format", "json"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(said.stderr.contains("`up` was not read: "), "{}", said.stderr);
    let plan: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(step(&plan, "up")["fate"], "runs");
    assert_eq!(world.seen(), ["GET /gone"]);
}

#[test]
fn a_look_that_takes_too_long_is_a_result_as_in_a_run() {
    // A door that never answers: the connection is taken and kept.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = format!("at=http://{}", listener.local_addr().unwrap());
    let place = place();
    place.write(
        "slow.yaml",
        r#"runbook: slow
inputs: { at: { type: url, required: true } }
steps:
  look: { uses: http.get, with: { url: "{{ inputs.at }}/" }, timeout: 200ms, allow_failure: true }
  late: { needs: { look: failed }, if: "look.error.kind == 'timeout'", manual: { text: "It hangs" } }
"#,
    );
    let plan = planned(&place, &["slow.yaml", "-i", &at, "--live-reads"]);
    assert_eq!(fates(&plan), ["look: read", "late: runs"]);
    drop(listener);
}

#[test]
fn past_runs_tell_how_long_it_takes_and_drills_do_not() {
    let place = place();
    place.write(
        "timed.yaml",
        "runbook: timed\nsteps:\n  a: { argv: [sleep, \"0.01\"], undo: { argv: [ls] } }\n  b: { needs: [a], run: \"test ! -e broken\", timeout: 10s }\n",
    );
    let before = planned(&place, &["timed.yaml"]);
    assert_eq!((&before["takes"], &step(&before, "a")["takes"]), (&Value::Null, &Value::Null));
    assert_eq!(
        (&step(&before, "b")["at_most"], &before["at_most"], &before["without_limit"]),
        (&json!("10s"), &json!("10s"), &json!(1))
    );
    for _ in 0..3 {
        assert_eq!(place.run(&["run", "timed.yaml", "-y"]).code, Some(0));
    }
    place.write("broken", "");
    assert_eq!(place.run(&["run", "timed.yaml", "-y"]).code, Some(1));
    let after = planned(&place, &["timed.yaml"]);
    // The run that failed tells nothing of the whole and of what failed in it, but of what succeeded in it.
    assert_eq!((&after["takes"]["runs"], &step(&after, "a")["takes"]["runs"]), (&json!(3), &json!(4)));
    assert_eq!(step(&after, "b")["takes"]["runs"], 3);
    let said = place.run(&["plan", "timed.yaml"]);
    assert!(said.stdout.contains(" in 4 past runs\n"), "{}", said.stdout);
    assert!(said.stdout.contains(" in 3 past runs that succeeded; at most 10s"), "{}", said.stdout);
    // A log that is damaged counts as far as it can be read; another runbook's runs do not count.
    let log = place.log_path().unwrap();
    std::fs::write(&log, "{ no log at all\n").unwrap();
    place.write("other.yaml", "runbook: other\nsteps:\n  a: { argv: [ls], effect: read }\n");
    assert_eq!(planned(&place, &["timed.yaml"])["takes"]["runs"], 3);
    assert_eq!(planned(&place, &["other.yaml"])["takes"], Value::Null);
    // A drill is no run.
    shipped(&place);
    assert_eq!(place.run(&["drill", "runbooks/clerk-triage.yaml"]).code, Some(0));
    let drilled = planned(
        &place,
        &["runbooks/clerk-triage.yaml", "-i", "app_url=https://a.example", "-i", "frontend_host=c.example"],
    );
    assert_eq!(drilled["takes"], Value::Null);
}

/// A picture's elements, as far as a parser of XML would take them.
struct Element {
    name: String,
    attributes: BTreeMap<String, String>,
    /// The names of the elements around it, the outermost first.
    within: Vec<usize>,
    text: String,
}

/// Reads XML and panics where it is not well formed.
fn parse(xml: &str) -> Vec<Element> {
    let mut elements: Vec<Element> = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    let mut rest = xml.strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n").expect("an XML declaration");
    assert!(xml.chars().all(|letter| letter == '\n' || !letter.is_control()));
    while let Some(at) = rest.find('<') {
        let text = &rest[..at];
        for piece in text.split('&').skip(1) {
            let entity = piece.split(';').next().unwrap();
            assert!(["amp", "lt", "gt", "quot", "#39"].contains(&entity), "{entity}");
        }
        if let Some(inner) = open.last() {
            elements[*inner].text.push_str(text);
        } else {
            assert_eq!(text.trim(), "");
        }
        let end = at + rest[at..].find('>').expect("a tag ends");
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(elements[open.pop().expect("something is open")].name, name);
            continue;
        }
        let closes = tag.ends_with('/');
        let tag = tag.trim_end_matches('/');
        let (name, mut attributes) = tag.split_once([' ', '\n']).unwrap_or((tag, ""));
        let mut found = BTreeMap::new();
        while let Some((key, more)) = attributes.trim_start().split_once("=\"") {
            let (value, more) = more.split_once('"').expect("a value ends");
            assert!(!value.contains('<') && found.insert(key.to_owned(), value.to_owned()).is_none(), "{key} twice");
            attributes = more;
        }
        assert_eq!(attributes.trim(), "", "{tag}");
        elements.push(Element { name: name.to_owned(), attributes: found, within: open.clone(), text: String::new() });
        if !closes {
            open.push(elements.len() - 1);
        }
    }
    assert!(open.is_empty() && rest.trim().is_empty());
    elements
}

/// The boxes of a picture by step: left, top, width, height.
fn boxes(elements: &[Element]) -> BTreeMap<String, [f64; 4]> {
    let mut found = BTreeMap::new();
    for element in elements {
        if element.attributes.get("class").is_none_or(|class| class != "box") {
            continue;
        }
        let Some(step) = element.within.iter().rev().find_map(|at| elements[*at].attributes.get("data-step")) else {
            continue;
        };
        let number = |name: &str| element.attributes[name].parse::<f64>().unwrap();
        let rect = if element.name == "rect" {
            [number("x"), number("y"), number("width"), number("height")]
        } else {
            // `M x y H right L tip middle L right bottom …`
            let numbers: Vec<f64> = element.attributes["d"]
                .split(|letter: char| !letter.is_ascii_digit() && letter != '.')
                .filter_map(|number| number.parse().ok())
                .collect();
            let (left, right, top, bottom) = (*numbers.last().unwrap_or(&0.0), numbers[3], numbers[1], numbers[6]);
            let _ = left;
            [numbers[8], top, right - numbers[8], bottom - top]
        };
        found.entry(step.clone()).or_insert(rect);
    }
    found
}

fn no_two_overlap(boxes: &BTreeMap<String, [f64; 4]>) {
    let all: Vec<(&String, &[f64; 4])> = boxes.iter().collect();
    for (index, (name, [x, y, w, h])) in all.iter().enumerate() {
        for (other, [a, b, c, d]) in &all[index + 1..] {
            let apart = x + w <= *a || a + c <= *x || y + h <= *b || b + d <= *y;
            assert!(apart, "{name} and {other}");
        }
    }
}

#[test]
fn a_picture_is_sound_and_holds_every_step_whatever_their_names() {
    let place = place();
    let hostile = r#"</text><script>alert(1)</script> & ]]> \" ' \u202e 𝔘𝔫𝔦 日本語日本語日本語日本語日本語日本語日本語日本語 WWWWWWWWWWWWWWWWWWWWWWWWWWWWWW"#;
    let mut text = format!("runbook: hostile\ntitle: \"{hostile}\"\nsteps:\n");
    for number in 0..50 {
        text.push_str(&format!("  s{number}:\n    title: \"{hostile}\"\n"));
        if number > 3 {
            text.push_str(&format!(
                "    needs: {{ s{}: finished, s{}: succeeded }}\n",
                number - 4,
                number - 1 - number % 3
            ));
        }
        text.push_str(&format!("    manual: {{ text: \"{hostile}\" }}\n"));
    }
    place.write("hostile.yaml", &text);
    for (file, count) in [("small.yaml", 9), ("hostile.yaml", 50)] {
        let drawn = place.run(&["plan", file, "--format", "svg"]);
        assert_eq!(drawn.code, Some(0), "{}", drawn.stderr);
        assert_eq!(place.run(&["plan", file, "--format", "svg"]).stdout, drawn.stdout, "the same picture each time");
        let elements = parse(&drawn.stdout);
        let svg = &elements[0];
        assert_eq!((svg.name.as_str(), svg.attributes["role"].as_str()), ("svg", "img"));
        assert!(elements[1].name == "title" && elements[2].name == "desc", "told to who cannot see it");
        assert!(elements.iter().all(|it| !["script", "foreignObject", "image", "a"].contains(&it.name.as_str())));
        assert!(drawn.stdout.contains("prefers-color-scheme: dark"));
        let boxes = boxes(&elements);
        assert_eq!(boxes.len(), count, "{:?}", boxes.keys());
        no_two_overlap(&boxes);
        let size: Vec<f64> = svg.attributes["viewBox"].split(' ').map(|number| number.parse().unwrap()).collect();
        for (step, [x, y, w, h]) in &boxes {
            assert!(*x >= 0.0 && *y >= 0.0 && x + w <= size[2] && y + h <= size[3], "{step}");
        }
    }
    let page = place.run(&["plan", "hostile.yaml", "--format", "html"]).stdout;
    assert!(!page.contains("<script") && page.contains("&lt;script&gt;") && page.contains("<svg "), "nothing runs");
    assert!(
        !page.contains("http://")
            || page.matches("http://").count() == page.matches("http://www.w3.org/2000/svg").count()
    );
    // The page's own style leaves the picture in it alone: bold words would be wider than their boxes.
    let page = place.run(&["plan", "small.yaml", "--format", "html"]).stdout;
    let (style, body) = page.split_once("</style>").unwrap();
    let (_, picture) = body.split_once("<svg ").unwrap();
    let (picture, _) = picture.split_once("</svg>").unwrap();
    let classes = picture.split("class=\"").skip(1).flat_map(|rest| rest.split('"').next().unwrap().split(' '));
    for class in classes.filter(|class| !class.is_empty()) {
        assert!(!style.contains(&format!(" .{class} ")), "`.{class}` of the page is a class of the picture, too");
    }
    let comment = place.run(&["plan", "hostile.yaml", "--format", "markdown"]).stdout;
    let outside: String = comment.split("```").step_by(2).collect();
    assert!(!outside.contains("<script"), "{outside}");
}

#[test]
fn a_picture_of_very_many_steps_is_a_list() {
    let place = place();
    let mut text = "runbook: many\nsteps:\n".to_owned();
    for number in 0..600 {
        text.push_str(&format!(
            "  s{number}: {{ {}argv: [ls] }}\n",
            if number == 0 { String::new() } else { format!("needs: [s{}], ", number / 7) }
        ));
    }
    place.write("many.yaml", &text.replace("needs: [s0], argv: [ls] }\n  s1:", "argv: [ls] }\n  s1:"));
    let drawn = place.run(&["plan", "many.yaml", "--format", "svg"]);
    assert_eq!(drawn.code, Some(0), "{}", drawn.stderr);
    let elements = parse(&drawn.stdout);
    let boxes = boxes(&elements);
    assert_eq!(boxes.len(), 600);
    no_two_overlap(&boxes);
    assert!(drawn.stdout.contains("600 steps are too many for a drawing with arrows"));
}

#[test]
fn the_picture_in_the_docs_is_what_the_program_draws() {
    let place = place();
    shipped(&place);
    let inputs =
        ["-i", "project=shop", "-i", "app_url=https://shop.example.com", "-i", "frontend_host=clerk.example.com"];
    let mut arguments = vec!["plan", "runbooks/clerk-outage.yaml", "--format", "svg"];
    arguments.extend(inputs);
    let drawn = place.run(&arguments).stdout;
    let path = repository("docs/clerk-outage.svg");
    if std::env::var_os("RUNBOOK_BLESS").is_some() {
        std::fs::write(&path, &drawn).unwrap();
    }
    assert!(drawn == std::fs::read_to_string(path).unwrap(), "docs/clerk-outage.svg is old; draw it again");
}
