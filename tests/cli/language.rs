//! Loops, calls, locks, deadlines, undo and measures as files say them: what is wrong is told whole, what is right is shown.
//!
//! The runbooks stand in `tests/cli/language/`, beside what the program has to say about them.

use proptest::prelude::*;
use serde_json::Value;

use crate::support::{Place, copy, repository, said};

/// A place with the runbooks of this test in it.
fn place() -> Place {
    let place = Place::new();
    copy(&repository("tests/cli/language"), &place.folder());
    place
}

fn expected(name: &str) -> String {
    std::fs::read_to_string(repository("tests/cli/language").join(name)).unwrap()
}

#[test]
fn every_mistake_in_the_new_words_is_told_whole() {
    let place = place();
    for name in ["top", "limits", "loops", "undo", "calls"] {
        let said = place.run(&["check", &format!("{name}.yaml")]);
        assert_eq!(said.stdout, "", "{name}");
        assert_eq!(said.stderr, expected(&format!("{name}.txt")), "{name}\n{}", said.stderr);
        assert_eq!(said.code, Some(3), "{name}");
    }
    assert!(!place.state().exists(), "nothing is started");
}

#[test]
fn a_plan_shows_loops_calls_to_any_depth_locks_and_limits() {
    let place = place();
    let said = place.run(&["check", "right.yaml"]);
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), "1 runbook checked, no errors\n"));
    let shown = place.run(&["plan", "right.yaml", "-i", "project=shop"]).stdout;
    let digest = shown.lines().nth(1).unwrap();
    assert!(digest.starts_with("digest "), "{digest}");
    assert_eq!(shown.replacen(digest, "digest DIGEST", 1), expected("right.plan.txt"), "{shown}");
    let drawn = place.run(&["plan", "right.yaml", "-i", "project=shop", "--format", "mermaid"]).stdout;
    assert_eq!(drawn, expected("right.mmd"), "{drawn}");
}

#[test]
fn a_plan_as_data_nests_what_is_called() {
    let place = place();
    let said = place.run(&["plan", "right.yaml", "-i", "project=shop", "--format", "json"]);
    let plan: Value = serde_json::from_str(&said.stdout).unwrap();
    let step = |steps: &Value, id: &str| -> Value {
        steps.as_array().unwrap().iter().find(|step| step["id"] == id).unwrap().clone()
    };
    assert_eq!(plan["locks"][0]["name"], "vercel:shop:production");
    assert_eq!((&plan["locks"][1]["wait"], &plan["timeout"]), (&"10m".into(), &"2h".into()));
    let regions = step(&plan["steps"], "regions");
    assert_eq!(regions["for_each"]["items"], serde_json::json!(["eu", "us"]));
    assert_eq!(regions["calls"]["inputs"]["where"], "‹region›");
    assert_eq!(regions["calls"]["secrets"]["token"], "prod");
    let tidy = step(&regions["calls"]["steps"], "tidy");
    assert_eq!(step(&tidy["calls"]["steps"], "end")["does"][0]["argv"][2], "shop/‹inputs.where›");
    let revoke = step(&plan["steps"], "revoke");
    assert_eq!((&revoke["for_each"]["fail_after"], &revoke["for_each"]["at_most"]), (&"10%".into(), &8.into()));
    assert_eq!(step(&plan["steps"], "bypass")["measure"]["on_expiry"], "undo");
}

#[test]
fn a_file_that_is_called_and_named_is_told_of_once() {
    let place = place();
    place.write("caller.yaml", "runbook: caller\nsteps:\n  s: { call: parts/wrong.yaml }\n");
    for files in [&["check", "caller.yaml"][..], &["check", "caller.yaml", "parts/wrong.yaml"]] {
        let said = place.run(files);
        assert_eq!(said.stderr.matches("unknown key `tiemout`").count(), 1, "{}", said.stderr);
    }
    // Also when it cannot be read at all and is called again and again.
    place.write(
        "caller.yaml",
        "runbook: caller\nsteps:\n  s: { call: parts/broken.yaml }\n  t: { call: parts/broken.yaml }\n",
    );
    for command in ["check", "plan", "run"] {
        let said = place.run(&[command, "caller.yaml"]);
        assert_eq!(said.stderr.matches("this `[` is never closed").count(), 1, "{command}\n{}", said.stderr);
    }
}

#[test]
fn what_a_called_runbook_is_given_later_is_not_guessed() {
    let place = Place::new();
    place.write(
        "a.yaml",
        r#"runbook: a
steps:
  find: { argv: [hostname], effect: read }
  use: { needs: [find], call: b.yaml, with: { host: "{{ find.outputs.stdout }}", port: 80 } }
"#,
    );
    place.write(
        "b.yaml",
        r#"runbook: b
inputs: { host: { type: string, default: localhost }, port: { type: integer } }
steps:
  known: { argv: [echo, "{{ inputs.port }}"], if: "inputs.port == 80" }
  later: { argv: [echo, "{{ inputs.host | default('nowhere') }}"], if: "inputs.host is defined" }
  all: { argv: [echo, "{{ inputs | length }}"] }
"#,
    );
    let said = place.run(&["plan", "a.yaml", "--format", "json"]);
    let plan: Value = serde_json::from_str(&said.stdout).unwrap();
    let calls = &plan["steps"][1]["calls"];
    assert_eq!(calls["inputs"], serde_json::json!({ "host": "‹find.outputs.stdout›", "port": 80 }));
    let seen: Vec<(&str, &str)> = calls["steps"]
        .as_array()
        .unwrap()
        .iter()
        .map(|step| (step["verdict"].as_str().unwrap(), step["does"][0]["argv"][1].as_str().unwrap()))
        .collect();
    let guess = "‹inputs.host | default('nowhere')›";
    assert_eq!(seen, [("always", "80"), ("open", guess), ("always", "‹inputs | length›")]);
}

#[test]
fn what_comes_from_standard_input_calls_from_the_current_folder() {
    let place = place();
    let text = "runbook: piped\nsteps:\n  s: { call: parts/good.yaml, with: { where: eu } }\n";
    place.write("piped.txt", text);
    let from = |file: &str| std::fs::File::open(place.path(file)).unwrap();
    let answer = said(place.command(&["plan", "-"]).stdin(from("piped.txt")));
    assert!(answer.stdout.contains("calls      good (parts/good.yaml)"), "{}{}", answer.stdout, answer.stderr);
    place.write("piped.txt", &text.replace("good", "gone"));
    let answer = said(place.command(&["check", "-"]).stdin(from("piped.txt")));
    assert!(answer.stderr.contains("there is no file `parts/gone.yaml`"), "{}", answer.stderr);
}

#[test]
fn a_call_is_found_from_the_file_that_calls_wherever_the_program_is_started() {
    let place = place();
    for (folder, file) in [("parts", "../right.yaml"), ("..", "work/right.yaml")] {
        let answer = said(place.command(&["check", file]).current_dir(place.folder().join(folder)));
        assert_eq!((answer.code, answer.stderr.as_str()), (Some(0), "1 runbook checked, no errors\n"), "{folder}");
    }
}

#[test]
fn calls_in_a_round_are_found_behind_another_name_too() {
    let place = Place::new();
    place.write("a.yaml", "runbook: a\nsteps:\n  s: { call: b.yaml }\n");
    std::os::unix::fs::symlink(place.path("a.yaml"), place.path("b.yaml")).unwrap();
    let said = place.run(&["check", "a.yaml"]);
    assert!(said.stderr.contains("this runbook would call itself: a.yaml calls a.yaml"), "{}", said.stderr);
    // A folder that leads into itself has no end of names.
    let place = Place::new();
    place.write("a.yaml", "runbook: a\nsteps:\n  s: { call: in/b.yaml }\n");
    place.write("b.yaml", "runbook: b\nsteps:\n  s: { call: in/b.yaml }\n");
    std::os::unix::fs::symlink(".", place.path("in")).unwrap();
    let said = place.run(&["check", "a.yaml"]);
    assert!(said.stderr.contains("this runbook would call itself: in/b.yaml calls in/b.yaml"), "{}", said.stderr);
}

#[test]
fn calls_that_lie_too_deep_in_each_other_are_refused() {
    let place = Place::new();
    for number in 0..40 {
        let text = format!("runbook: r{number}\nsteps:\n  s: {{ call: r{}.yaml }}\n", number + 1);
        place.write(&format!("r{number}.yaml"), &text);
    }
    place.write("r40.yaml", "runbook: r40\nsteps:\n  s: { argv: [echo] }\n");
    let said = place.run(&["check", "r0.yaml"]);
    assert_eq!(
        said.stderr,
        "\
error[recursion]: calls lie deeper in each other than 32
 --> r32.yaml:3:14
  |
3 |   s: { call: r33.yaml }
  |              ^^^^^^^^

error: 1 error; nothing was started
explain a finding: runbook explain recursion
"
    );
    assert_eq!(place.run(&["check", "r8.yaml"]).code, Some(0));
    // Also when the deep end was found by a shorter way before.
    place.write("short.yaml", "runbook: short\nsteps:\n  far: { call: r20.yaml }\n  near: { call: r8.yaml }\n");
    let said = place.run(&["check", "short.yaml"]);
    assert!(said.stderr.contains("calls lie deeper in each other than 32"), "{}", said.stderr);
}

#[test]
fn calls_that_grow_beyond_any_measure_are_refused_at_the_call_that_is_too_much() {
    let place = Place::new();
    for number in 0..30 {
        let next = number + 1;
        let text =
            format!("runbook: r{number}\nsteps:\n  a: {{ call: r{next}.yaml }}\n  b: {{ call: r{next}.yaml }}\n");
        place.write(&format!("r{number}.yaml"), &text);
    }
    place.write("r30.yaml", "runbook: r30\nsteps:\n  s: { argv: [echo] }\n");
    let said = place.run(&["check", "r0.yaml"]);
    assert_eq!(
        said.stderr,
        "\
error[too-many-steps]: with this call a run would have more than 1000000 steps
 --> r11.yaml:4:14
  |
4 |   b: { call: r12.yaml }
  |              ^^^^^^^^

error: 1 error; nothing was started
explain a finding: runbook explain too-many-steps
"
    );
}

#[test]
fn the_digest_covers_every_runbook_that_is_called() {
    let place = place();
    let digest = || {
        let said = place.run(&["plan", "right.yaml", "-i", "project=shop", "--format", "json"]);
        let plan: Value = serde_json::from_str(&said.stdout).unwrap();
        plan["digest"].as_str().unwrap().to_owned()
    };
    let before = digest();
    let deepest = place.read("parts/deeper/tidy.yaml");
    place.write("parts/deeper/tidy.yaml", &format!("# a comment\n{deepest}"));
    assert_eq!(digest(), before);
    place.write("parts/deeper/tidy.yaml", &deepest.replace("[rm, -r", "[rm, -rf"));
    assert_ne!(digest(), before);
}

#[test]
fn an_input_that_is_handed_on_as_nothing_counts_as_not_given() {
    let place = Place::new();
    place.write("a.yaml", "runbook: a\ninputs: { team: { type: string } }\nsteps:\n  s: { call: b.yaml, with: { team: \"{{ inputs.team }}\", n: ~ } }\n");
    place.write(
        "b.yaml",
        "runbook: b\ninputs: { team: { type: string }, n: { type: integer, default: 3 } }\nsteps:\n  s: { if: \"inputs.team is none\", argv: [echo, \"n is {{ inputs.n }}\"] }\n",
    );
    let said = place.run(&["plan", "a.yaml"]);
    assert!(said.stdout.contains("(always: it runs)"), "{}{}", said.stdout, said.stderr);
    assert!(said.stdout.contains("echo 'n is 3'"), "{}", said.stdout);
}

#[test]
fn a_plan_stored_by_the_first_format_still_reads() {
    let stored = expected("plan.format-1.json");
    let plan = runbook::plan::Plan::from_json(&stored).unwrap();
    assert_eq!(plan.digest().as_str(), "fb52fda96b6c0ec401c43536e9139d0177aafde3c222ce7454654fed4e67477f");
    assert_eq!(runbook::plan::Plan::from_json(&plan.to_json()).unwrap().digest(), plan.digest());
    let changed = stored.replace("open.txt", "shut.txt");
    assert!(runbook::plan::Plan::from_json(&changed).unwrap_err().to_string().contains("does not match its digest"));
}

#[test]
fn a_value_that_is_no_text_is_printed_in_words_and_variables() {
    let place = Place::new();
    place.write(
        "a.yaml",
        r#"runbook: a
inputs: { n: { type: integer, default: 3 }, on: { type: boolean, default: true }, gone: { type: string } }
steps:
  word: { argv: [sh, -c, 'echo "$0 $1" > word', "{{ inputs.n }}", "{{ [1, inputs.on] }}"] }
  variable: { run: 'echo "$N $ON" > variable', env: { N: "{{ inputs.n }}", ON: "{{ inputs.on }}" } }
  nothing: { argv: [echo, "{{ inputs.gone }}"], allow_failure: true }
"#,
    );
    let said = place.run(&["run", "a.yaml", "-y"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!((place.read("word").as_str(), place.read("variable").as_str()), ("3 [1,true]\n", "3 true\n"));
    assert!(said.stderr.contains("it has no value here; give it one with `| default('…', true)`"), "{}", said.stderr);
}

#[test]
fn a_plan_says_what_could_not_begin_with_these_inputs() {
    let place = Place::new();
    place.write(
        "a.yaml",
        r#"runbook: a
inputs: { names: { type: string, required: true }, count: { type: string } }
steps:
  each: { for_each: { in: "inputs.names | split(',')" }, argv: [echo, "{{ item }}"] }
  no_list: { for_each: { in: inputs.names }, argv: [echo] }
  maps: { for_each: { in: "[{ 'id': inputs.names }, { 'id': [1] }]", key: item.id }, argv: [echo] }
  call: { call: b.yaml, with: { count: "{{ inputs.count }}", name: "{{ inputs.count }}" } }
"#,
    );
    place.write(
        "b.yaml",
        "runbook: b\ninputs: { count: { type: integer }, name: { type: string, required: true } }\nsteps:\n  s: { argv: [echo] }\n",
    );
    let said = |inputs: &[&str]| -> Vec<String> {
        let said = place.run(&[&["plan", "a.yaml"], inputs].concat());
        assert_eq!(said.code, Some(0), "{}", said.stderr);
        let problems = said.stdout.lines().filter_map(|line| line.trim().strip_prefix("CANNOT BEGIN: "));
        problems.map(str::to_owned).collect()
    };
    assert_eq!(
        said(&["-i", "names=x,y,x", "-i", "count=many"]),
        [
            "two items have the key `x`",
            "`inputs.names` is no list",
            "item 2: its key is no text and no number",
            "input `count`: a whole number is expected, not `many`",
        ]
    );
    assert_eq!(
        said(&["-i", "names=x"]),
        ["`inputs.names` is no list", "item 2: its key is no text and no number", "input `name` is required"]
    );
}

/// What an author may do to a file by a slip of the hand.
#[derive(Debug, Clone)]
enum Slip {
    DropLine(prop::sample::Index),
    SwapLines(prop::sample::Index, prop::sample::Index),
    Cut(prop::sample::Index, usize),
    Insert(prop::sample::Index, &'static str),
}

fn slip() -> impl Strategy<Value = Slip> {
    const WORDS: [&str; 18] =
        ["{", "}", "[", "]", ":", "\"", "{{", "}}", " ", "\n", "~", "5", "item", "- ", "&a ", "*a", "ü", "|\n"];
    prop_oneof![
        any::<prop::sample::Index>().prop_map(Slip::DropLine),
        any::<(prop::sample::Index, prop::sample::Index)>().prop_map(|(one, other)| Slip::SwapLines(one, other)),
        (any::<prop::sample::Index>(), 1_usize..6).prop_map(|(at, length)| Slip::Cut(at, length)),
        (any::<prop::sample::Index>(), prop::sample::select(&WORDS[..])).prop_map(|(at, word)| Slip::Insert(at, word)),
    ]
}

fn slipped(text: &str, slip: &Slip) -> String {
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    let mut letters: Vec<char> = text.chars().collect();
    match slip {
        _ if letters.is_empty() => {}
        Slip::DropLine(at) => drop(lines.remove(at.index(lines.len()))),
        Slip::SwapLines(one, other) => {
            let (one, other) = (one.index(lines.len()), other.index(lines.len()));
            lines.swap(one, other);
        }
        Slip::Cut(at, length) => {
            let at = at.index(letters.len());
            letters.drain(at..(at + length).min(letters.len()));
            return letters.into_iter().collect();
        }
        Slip::Insert(at, word) => {
            let at = at.index(letters.len());
            letters.splice(at..at, word.chars());
            return letters.into_iter().collect();
        }
    }
    lines.concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_an_author_slips_on_is_told_with_its_place(
        name in prop::sample::select(&["right", "top", "limits", "loops", "undo", "calls", "parts/region"][..]),
        slips in prop::collection::vec(slip(), 1..6),
    ) {
        let text = slips.iter().fold(expected(&format!("{name}.yaml")), |text, slip| slipped(&text, slip));
        let file = repository("tests/cli/language").join(format!("{name}.yaml"));
        let source = runbook::base::Source::new(file.display().to_string(), text);
        let problems = match runbook::runbook::load_in(file.parent().unwrap(), source) {
            Ok(loaded) => runbook::plan::check(&loaded, &runbook::actions::builtin()),
            Err(problems) => problems,
        };
        for problem in problems {
            let length = problem.source.text.len();
            prop_assert!(problem.span.is_none_or(|span| span.start <= span.end && span.end <= length), "{:?}", problem);
            prop_assert!(problem.render(false).contains(&problem.message));
        }
    }
}
