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

/// `UPDATE_PAIRS=1` writes the schema anew.
#[test]
fn the_published_schema_is_that_of_the_answer() {
    let schema = format!("{}\n", serde_json::to_string_pretty(&runbook::plan::policy::Answer::schema()).unwrap());
    let path = repository("schemas/diff.schema.json");
    if std::env::var_os("UPDATE_PAIRS").is_some() {
        std::fs::write(&path, &schema).unwrap();
    }
    assert!(
        std::fs::read_to_string(path).unwrap() == schema,
        "schemas/diff.schema.json is not what this version writes"
    );
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

// --- properties ---

use proptest::prelude::*;

/// A step whose name is not fixed yet.
#[derive(Debug, Clone)]
struct Sketched {
    does: u8,
    needs: Vec<usize>,
    reads: bool,
}

/// A runbook of these steps, in this order in the file, each called by `name`.
fn written(steps: &[Sketched], order: &[usize], name: &dyn Fn(usize) -> String) -> Loaded {
    let mut text = String::from("runbook: sketch\nsteps:\n");
    for place in order {
        let Sketched { does, needs, reads } = &steps[*place];
        let listed = needs.iter().map(|need| name(*need)).collect::<Vec<_>>().join(", ");
        let first = needs.first().filter(|_| *reads).map(|need| name(*need));
        let read = first.map_or_else(String::new, |need| format!(" {{{{ {need}.result }}}}"));
        let body = match does {
            0 => format!("argv: [echo, \"one{read}\"], undo: auto").replace(", undo: auto", ""),
            1 => format!("argv: [echo, \"two{read}\"], undo: {{ argv: [no] }}"),
            2 => format!("argv: [df, \"x{read}\"], effect: read"),
            3 => format!("approval: {{ prompt: \"Go on{read}?\" }}"),
            _ => format!("uses: http.request, with: {{ url: \"https://a.example/x\", json: {{ a: \"{read}\" }} }}"),
        };
        text.push_str(&format!("  {}: {{ needs: [{listed}], {body} }}\n", name(*place)));
    }
    load(Source::new("sketch.yaml", text.clone())).unwrap_or_else(|p| panic!("{text}\n{}", p[0].render(false)))
}

fn compared(old: &Loaded, new: &Loaded) -> Diff {
    let groups = Groups::new();
    let side = |loaded| Some(Side { loaded, groups: &groups });
    diff(side(old), side(new), &runbook::actions::builtin())
}

fn sketches() -> impl Strategy<Value = Vec<Sketched>> {
    let step = (0..5_u8, proptest::collection::vec(any::<proptest::sample::Index>(), 0..3), any::<bool>());
    proptest::collection::vec(step, 1..14).prop_map(|steps| {
        let steps = steps.into_iter().enumerate();
        let one = |(place, (does, needs, reads)): (usize, (u8, Vec<proptest::sample::Index>, bool))| {
            let needs: BTreeSet<usize> = needs.iter().filter(|_| place > 0).map(|need| need.index(place)).collect();
            Sketched { does, needs: needs.into_iter().collect(), reads }
        };
        steps.map(one).collect()
    })
}

fn shuffled() -> impl Strategy<Value = (Vec<Sketched>, Vec<usize>)> {
    sketches().prop_flat_map(|steps| {
        let order: Vec<usize> = (0..steps.len()).collect();
        (Just(steps), Just(order).prop_shuffle())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_the_file_means_nothing((steps, order) in shuffled()) {
        let straight: Vec<usize> = (0..steps.len()).collect();
        let name = |place: usize| format!("s{place}");
        let found = compared(&written(&steps, &straight, &name), &written(&steps, &order, &name));
        prop_assert!(found.findings.is_empty(), "{:?}", found.findings);
    }

    #[test]
    fn other_names_for_all_steps_are_told_as_that_and_nothing_else((steps, order) in shuffled()) {
        let straight: Vec<usize> = (0..steps.len()).collect();
        let old = written(&steps, &straight, &|place| format!("s{place}"));
        let new = written(&steps, &order, &|place| format!("other_{}", 97 - place));
        let found = compared(&old, &new);
        let told: Vec<Kind> = found.findings.iter().map(|finding| finding.kind).collect();
        prop_assert_eq!(told, vec![Kind::StepRenamed; steps.len()], "{:?}", found.findings);
    }

    #[test]
    fn any_two_runbooks_are_told_backwards_as_the_opposite(one in sketches(), other in sketches()) {
        let name = |place: usize| format!("s{place}");
        let order = |steps: &[Sketched]| (0..steps.len()).collect::<Vec<_>>();
        let (one, other) = (written(&one, &order(&one), &name), written(&other, &order(&other), &name));
        let (forth, back) = (compared(&one, &other), compared(&other, &one));
        let nameless = |found: &Diff, of: fn(&Finding) -> Kind| {
            let mut kinds: Vec<Kind> = found.findings.iter().map(of).collect();
            kinds.sort();
            kinds
        };
        prop_assert_eq!(nameless(&back, |f| f.kind), nameless(&forth, |f| f.kind.backwards()));
    }
}

// --- sides, formats, codes ---

fn git(place: &Place, arguments: &[&str]) {
    let mut command = std::process::Command::new("git");
    let who = ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"];
    command
        .args(who)
        .args(arguments)
        .current_dir(place.folder())
        .env("HOME", place.state())
        .env("GIT_CONFIG_NOSYSTEM", "1");
    let said = crate::support::said(&mut command);
    assert_eq!(said.code, Some(0), "git {arguments:?}: {}", said.stderr);
}

/// The shipped runbooks in a repository of their own, with `main` as it ships.
fn repository_of_runbooks() -> Place {
    let place = Place::new();
    shipped(&place);
    git(&place, &["init", "--quiet"]);
    git(&place, &["add", "--all"]);
    git(&place, &["commit", "--quiet", "--message", "as shipped"]);
    place
}

const CALLS: &str = "runbook: caller\nsteps:\n  work: { call: part.yaml }\n";
const PART: &str = "runbook: part\nsteps:\n  ask: { approval: { prompt: Go?, by: [group:ops], at_least: 2 } }\n  act: { needs: [ask], argv: [act] }\n";

#[test]
fn a_revision_has_its_own_called_runbooks_and_approvers() {
    let place = Place::new();
    place
        .write("ops/x.yaml", CALLS)
        .write("ops/part.yaml", PART)
        .write("ops/approvers.yaml", "groups: { ops: [ann, bob] }\n");
    git(&place, &["init", "--quiet"]);
    git(&place, &["add", "--all"]);
    git(&place, &["commit", "--quiet", "--message", "one"]);
    place.write("ops/part.yaml", &PART.replace("at_least: 2", "at_least: 1"));
    place.write("ops/approvers.yaml", "groups: { ops: [ann, bob, eve] }\n");
    let said = place.run(&["diff", "git:main:ops/x.yaml", "ops/x.yaml"]);
    assert_eq!(
        said.stdout,
        "\
caller: 2 riskier

riskier gate-weakened: the gate of `ask` may also be opened by `user:eve` (through a group)
  in work/ask
  - git:main:ops/part.yaml:3  [\"group:ops\"]
  + ops/part.yaml:3  [\"group:ops\"]

riskier gate-weakened: the gate of `ask` opens after 1 yes instead of 2
  in work/ask
  - git:main:ops/part.yaml:3  2
  + ops/part.yaml:3  1
"
    );
    let said = place.run(&["diff", "git:HEAD:ops/x.yaml", "git:main:./ops/x.yaml", "--exit-code"]);
    assert_eq!((said.code, said.stdout.as_str()), (Some(0), "caller: no difference in meaning\n"));
}

#[test]
fn a_side_that_is_not_there_makes_everything_new_or_gone() {
    let place = repository_of_runbooks();
    place.write("new.yaml", "runbook: new\nsteps:\n  a: { argv: [one] }\n");
    let new = place.run(&["diff", "git:main:new.yaml", "new.yaml", "--exit-code"]);
    assert_eq!(new.code, Some(1));
    assert_eq!(
        new.stdout,
        "\
new (new): 1 riskier

riskier write-without-undo-added: the write `a`, which cannot be undone, is new
  + new.yaml:3  {\"argv\":[\"one\"]}
"
    );
    assert_eq!(new.stderr, "git:main:new.yaml is not there\n");
    let gone = place.run(&["diff", "new.yaml", "/dev/null"]);
    assert_eq!(gone.stdout.lines().next(), Some("new (gone): 1 safer"));
    assert_eq!(gone.code, Some(0));
    let none = place.run(&["diff", "/dev/null", "git:main:nowhere.yaml"]);
    assert_eq!(none.code, Some(2), "{}", none.stderr);
    assert!(none.stderr.contains("neither version is there"), "{}", none.stderr);
    assert_eq!(place.run(&["diff", "missing.yaml", "new.yaml"]).code, Some(3));
}

#[test]
fn what_is_no_revision_is_refused_before_git_sees_it() {
    let place = repository_of_runbooks();
    for (wanted, told) in [
        ("git:--upload-pack=x:y", "`--upload-pack=x` is no revision"),
        ("git:main", "`git:main` names no file of a revision"),
        ("git:mian:runbooks/clerk-outage.yaml", "git knows no revision `mian` here"),
        ("git:main:../outside.yaml", "`../outside.yaml` lies outside of the repository"),
        ("git:main:/etc/passwd", "`/etc/passwd` lies outside of the repository"),
    ] {
        let said = place.run(&["diff", wanted, "clerk-outage"]);
        assert_eq!(said.code, Some(2), "{wanted}: {}", said.stderr);
        assert!(said.stderr.contains(told), "{wanted}: {}", said.stderr);
    }
}

#[test]
fn a_side_with_mistakes_is_refused_with_all_of_them() {
    let place = Place::new();
    place
        .write("a.yaml", "runbook: a\nsteps:\n  x: { uses: http.gett }\n")
        .write("b.yaml", "runbook: b\nsteps:\n  x: { need: [y], argv: [a] }\n");
    let said = place.run(&["diff", "a.yaml", "b.yaml"]);
    assert_eq!(said.code, Some(3));
    assert_eq!(said.stdout, "");
    for words in ["a.yaml:3:14", "did you mean `http.get`?", "b.yaml:3:8", "did you mean `needs`?"] {
        assert!(said.stderr.contains(words), "{words}\n{}", said.stderr);
    }
}

#[test]
fn the_answer_for_programs_is_what_its_schema_says() {
    let place = Place::new();
    place.write("a.yaml", "runbook: a\nsteps:\n  x: { argv: [one], timeout: 1m }\n");
    place.write("b.yaml", "runbook: a\nsteps:\n  x: { argv: [one], timeout: 2m }\n");
    place.write("policy.yaml", "deny: [timing-changed]\n");
    let said = place.run(&["diff", "a.yaml", "b.yaml", "--format", "json", "--policy", "policy.yaml"]);
    assert_eq!(said.code, Some(9));
    assert_eq!(
        serde_json::from_str::<Value>(&said.stdout).unwrap(),
        json!({
            "runbook": "a", "old": "a.yaml", "new": "b.yaml",
            "findings": [{
                "kind": "timing-changed", "class": "neutral", "step": "x",
                "message": "a try of `x` may take 2m instead of 1m",
                "old": { "file": "a.yaml", "line": 3, "value": "1m" },
                "new": { "file": "b.yaml", "line": 3, "value": "2m" },
            }],
            "denied": [{
                "rule": "timing-changed", "file": "policy.yaml", "line": 1, "column": 8, "step": "x",
                "message": "a try of `x` may take 2m instead of 1m",
                "at": { "file": "b.yaml", "line": 3, "value": null },
            }],
        })
    );
    assert_eq!(
        said.stderr,
        "\
error[denied]: a try of `x` may take 2m instead of 1m (b.yaml:3)
 --> policy.yaml:1:8
  |
1 | deny: [timing-changed]
  |        ^^^^^^^^^^^^^^ denied here
  |
  = help: change it back, or let it pass: `allow: [{ rule: timing-changed, runbook: a, step: x, reason: … }]`

the policy denies 1 finding
"
    );
}

// --- policies ---

fn denied(place: &Place, policy: &str, arguments: &[&str]) -> Said {
    place.write("policy.yaml", policy);
    place.run(&[arguments, &["--policy", "policy.yaml"]].concat())
}

#[test]
fn an_exception_lets_one_thing_pass_until_its_last_day() {
    let place = Place::new();
    place.write(
        "a.yaml",
        "runbook: a\nsteps:\n  x: { argv: [one], undo: { argv: [no] } }\n  y: { argv: [two], undo: { argv: [no] } }\n",
    );
    place.write("b.yaml", "runbook: a\nsteps:\n  x: { argv: [one] }\n  y: { argv: [two] }\n");
    let diff = ["diff", "a.yaml", "b.yaml"];
    let allow =
        |more: &str| format!("deny: [riskier]\nallow:\n  - {{ rule: undo-removed, step: x, reason: agreed{more} }}\n");
    let count = |said: &Said| said.stderr.matches("error[denied]").count();
    assert_eq!(count(&denied(&place, "deny: [riskier]\n", &diff)), 2);
    assert_eq!(count(&denied(&place, &allow(""), &diff)), 1);
    assert_eq!(count(&denied(&place, &allow(", until: 2999-12-31"), &diff)), 1);
    assert_eq!(count(&denied(&place, &allow(", runbook: other"), &diff)), 2);
    let ended = denied(&place, &allow(", until: 2020-01-31"), &diff);
    assert_eq!((count(&ended), ended.code), (2, Some(9)));
    assert!(
        ended.stderr.contains("warning[ended-exception]: this exception counted until 2020-01-31, and no longer does"),
        "{}",
        ended.stderr
    );
    let all = "deny: [undo-removed]\nallow: [{ rule: riskier, reason: agreed }]\n";
    assert_eq!(denied(&place, all, &diff).code, Some(0));
    assert_eq!(denied(&place, "deny: [gate-weakened, script]\n", &diff).code, Some(0));
}

#[test]
fn a_policy_with_mistakes_is_refused_with_all_of_them() {
    let place = Place::new();
    place.write("a.yaml", "runbook: a\nsteps:\n  x: { argv: [one] }\n");
    let policy = "\
deny: [gate-weakend, hosts, riskier]
measure_at_most: soon
require_approver: 2
hosts: [\"https://a.example/x\"]
allow:
  - { rule: script, until: 2026-13-01 }
  - { rule: script, reason: x, steps: y }
deny: [neutral]
";
    let said = denied(&place, policy, &["diff", "a.yaml", "a.yaml"]);
    assert_eq!((said.code, said.stdout.as_str()), (Some(3), ""));
    let found: Vec<&str> =
        said.stderr.lines().filter(|line| line.starts_with("error") || line.contains("= help")).collect();
    assert_eq!(
        found,
        [
            "error[unknown-word]: there is no rule `gate-weakend`",
            "  = help: did you mean `gate-weakened`?",
            "error[misplaced-key]: `hosts` is a limit, with a key of its own",
            "  = help: write `hosts: …` beside `deny`",
            "error[invalid-duration]: `measure_at_most`: `soon` is not a duration; write for example `90s`, `15m` or `1h30m`",
            "error[unknown-key]: unknown key `require_approver` in a policy",
            "  = help: did you mean `require_approvers`?",
            "error[invalid-address]: `https://a.example/x` is no host",
            "  = help: write the host alone, such as `api.vercel.com`, `*.example.com` or `localhost:3000`",
            "error[missing-key]: an exception has no `reason`",
            "  = help: add `reason: why it may pass`",
            "error[wrong-type]: `2026-13-01` is no day",
            "  = help: write for example `until: 2026-12-31`",
            "error[unknown-key]: unknown key `steps` in an exception",
            "  = help: did you mean `step`?",
            "error[duplicate-key]: `deny` is given twice in a policy",
            "  = help: keep one of the two",
            "error: 9 errors; nothing was started",
        ]
    );
    assert_eq!(place.run(&["diff", "a.yaml", "a.yaml", "--policy", "none.yaml"]).code, Some(3));
}

#[test]
fn a_plan_is_held_against_every_standing_rule() {
    let place = Place::new();
    place.write("approvers.yaml", "groups: { ops: [ann] }\n");
    place.write("part.yaml", "runbook: part\nsteps:\n  deep: { argv: [deep], undo: { run: echo no } }\n");
    place.write(
        "x.yaml",
        r#"runbook: x
inputs:
  d: { type: duration, default: 1h, max: 8h }
  e: { type: duration, default: 1h }
  host: { type: string, default: a.example }
steps:
  ask: { approval: { prompt: Go?, by: [group:ops], at_least: 1, within: 5m, not_requester: true } }
  covered: { needs: [ask], argv: [one], undo: { argv: [no] }, measure: { expires: "{{ inputs.d }}", closed_by: tidy } }
  loose: { needs: { ask: finished }, run: echo, measure: { expires: "{{ inputs.e }}" } }
  own: { approval: { prompt: Go? }, uses: http.request, with: { url: "https://{{ inputs.host }}/x" }, measure: { expires: 30m, closed_by: tidy } }
  tidy: { needs: [covered], uses: http.get, with: { url: "https://sub.b.example:8443" } }
  called: { needs: [covered], call: part.yaml }
"#,
    );
    let told = |policy: &str| {
        let said = denied(&place, policy, &["plan", "x.yaml"]);
        let denials: Vec<String> =
            said.stderr.lines().filter_map(|line| line.strip_prefix("error[denied]: ").map(str::to_owned)).collect();
        assert_eq!(said.code, Some(if denials.is_empty() { 0 } else { 9 }), "{}", said.stderr);
        assert!(said.stdout.starts_with("Plan for x\n"), "the plan is printed all the same");
        denials
    };
    let mut by_rule: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let limits = [("measure_at_most", "4h"), ("require_approvers", "2"), ("hosts", "[\"*.b.example:8443\"]")];
    for rule in runbook::plan::policy::Rule::ALL.iter().map(|rule| rule.as_str()) {
        let policy = match limits.iter().find(|(name, _)| *name == rule) {
            Some((name, value)) => format!("{name}: {value}\n"),
            None => format!("deny: [{rule}]\n"),
        };
        let found = told(&policy);
        let all = format!("{policy}allow: [{{ rule: {rule}, reason: agreed }}]\n");
        assert_eq!(told(&all), Vec::<String>::new(), "{rule}");
        by_rule.insert(rule, found);
    }
    let expected = json!({
        "command": ["`covered` is a command (x.yaml:8)", "the undo of `covered` is a command (x.yaml:8)", "`called/deep` is a command (part.yaml:3)"],
        "gate-without-limit": ["the question at the gate of `own` never lapses (x.yaml:10)"],
        "gate-without-names": ["the gate of `own` may be opened by whoever is there (x.yaml:10)"],
        "hosts": ["`own` sends requests to `a.example`, which `hosts` does not list (x.yaml:10)"],
        "measure_at_most": [
            "the measure of `covered` may be in force for 8h, more than 4h (x.yaml:8)",
            "nothing limits how long the measure of `loose` is in force (x.yaml:9)",
        ],
        "measure-without-end": ["no step closes the measure of `loose`, and it is not undone when it expires (x.yaml:9)"],
        "require_approvers": [
            "the gate of `ask` opens after 1 yes, fewer than 2 (x.yaml:7)",
            "the gate of `own` opens after 1 yes, fewer than 2 (x.yaml:10)",
        ],
        "script": ["`loose` is a script (x.yaml:9)", "the undo of `called/deep` is a script (part.yaml:3)"],
        "self-approval": ["whoever started the run may open the gate of `own` (x.yaml:10)"],
        "write-without-gate": ["the write `loose` has no gate, and waits for none (x.yaml:9)"],
        "write-without-undo": ["the write `own` cannot be undone (x.yaml:10)", "the write `loose` cannot be undone (x.yaml:9)"],
    });
    let sorted = |mut list: Vec<String>| {
        list.sort();
        list
    };
    for (rule, found) in by_rule {
        let wanted: Vec<String> = serde_json::from_value(expected[rule].clone()).unwrap_or_default();
        assert_eq!(sorted(found), sorted(wanted), "{rule}");
    }
}
