//! Gates: asked before the step acts, answered by whom they name, never by silence.

use crate::support::{Place, said, until};

const GATED: &str = r#"runbook: gated
steps:
  before: { argv: [sh, -c, "echo before >> world"] }
  act:
    needs: [before]
    approval: { prompt: "Act?", by: ["group:ops"], ask: { reason: { type: string, required: true } } }
    argv: [sh, -c, "echo act >> world"]
  beside: { argv: [sh, -c, "echo beside >> world"] }
  after: { needs: [act], run: 'echo "after $WHY" >> world', env: { WHY: "{{ act.approval.reason }}" } }
"#;

fn gated() -> Place {
    let place = Place::new();
    place.write("gated.yaml", GATED).write("approvers.yaml", "groups: { ops: [tester] }\n");
    place
}

#[test]
fn without_a_terminal_the_run_waits_and_says_what_to_type() {
    let place = gated();
    let said = place.run(&["run", "gated"]);
    assert_eq!(said.code, Some(4), "{}", said.stderr);
    assert!(said.stderr.contains("--approve act"), "{}", said.stderr);
    let mut world: Vec<String> = place.read("world").lines().map(str::to_owned).collect();
    world.sort();
    assert_eq!(world, ["before", "beside"], "what needs no approval is not held up");

    let said = place.run(&["resume", "last", "--approve", "act", "--answer", "act.reason=because"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(place.read("world").ends_with("act\nafter because\n"), "{}", place.read("world"));
}

#[test]
fn yes_to_prompts_is_no_yes_to_a_gate() {
    let place = gated();
    assert_eq!(place.run(&["run", "gated", "--yes"]).code, Some(4));
    assert!(!place.read("world").contains("act"));
}

#[test]
fn somebody_the_gate_does_not_name_cannot_open_it() {
    let place = gated();
    let mut command = place.command(&["run", "gated", "--approve", "act", "--answer", "act.reason=x"]);
    let said = said(command.env("USER", "mallory"));
    assert_eq!(said.code, Some(4), "{}", said.stderr);
    assert!(said.stderr.contains("`user:mallory` is not among those who may answer: group:ops"), "{}", said.stderr);
    assert!(!place.read("world").contains("act"));
}

#[test]
fn an_approval_without_what_else_is_asked_is_not_taken() {
    let place = gated();
    let said = place.run(&["run", "gated", "--approve", "act"]);
    assert_eq!(said.code, Some(4), "{}", said.stderr);
    assert!(said.stderr.contains("`reason`: an answer is required"), "{}", said.stderr);
}

#[test]
fn a_flag_that_names_no_gate_is_refused_before_anything_starts() {
    let place = gated();
    let said = place.run(&["run", "gated", "--approve", "acct"]);
    assert_eq!(said.code, Some(2));
    assert!(said.stderr.contains("did you mean `act`?"), "{}", said.stderr);
    let said = place.run(&["run", "gated", "--approve", "before"]);
    assert!(said.stderr.contains("step `before` has no gate to open"), "{}", said.stderr);
    assert!(!place.state().exists());
}

#[test]
fn a_gate_lapses_also_while_nobody_runs_it() {
    let place = Place::new();
    place.write("g.yaml", "runbook: g\nsteps:\n  act: { approval: { prompt: 'Act?', within: 1s }, argv: [sh, -c, 'echo act >> world'] }\n");
    assert_eq!(place.run(&["run", "g"]).code, Some(4));
    // Whoever comes back too late finds it closed.
    let mut code = None;
    until("the gate lapses", || {
        code = place.run(&["resume", "last"]).code;
        code != Some(4)
    });
    assert_eq!(code, Some(8));
    assert_eq!(place.read("world"), "");
}

#[test]
fn a_rejection_can_be_a_way_of_its_own() {
    let place = Place::new();
    place.write(
        "g.yaml",
        "runbook: g\nsteps:\n  ask: { approval: { prompt: '?', within: 1ms } }\n  no: { needs: { ask: rejected }, argv: [sh, -c, 'echo no >> world'] }\n  yes: { needs: [ask], argv: [sh, -c, 'echo yes >> world'] }\n",
    );
    until("the question lapses", || {
        matches!(place.run(&["run", "g"]).code, Some(0)) || place.run(&["resume", "last"]).code == Some(0)
    });
    assert_eq!(
        place.read("world").lines().collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>(),
        ["no"]
    );
}

#[test]
fn two_must_agree_and_one_person_counts_once() {
    let place = Place::new();
    place.write(
        "g.yaml",
        "runbook: g\nsteps:\n  act: { approval: { prompt: '?', at_least: 2 }, argv: [sh, -c, 'echo act >> world'] }\n",
    );
    assert_eq!(place.run(&["run", "g", "--approve", "act"]).code, Some(4));
    let again = place.run(&["resume", "last", "--approve", "act"]);
    assert_eq!(again.code, Some(4), "{}", again.stderr);
    assert!(again.stderr.contains("`user:tester` has answered already"), "{}", again.stderr);
    let second = said(place.command(&["resume", "last", "--approve", "act"]).env("USER", "second"));
    assert_eq!(second.code, Some(0), "{}", second.stderr);
    assert_eq!(place.read("world"), "act\n");
}

#[test]
fn whoever_started_it_cannot_open_a_gate_that_wants_somebody_else() {
    let place = Place::new();
    place.write(
        "g.yaml",
        "runbook: g\nsteps:\n  act: { approval: { prompt: '?', not_requester: true }, argv: ['true'] }\n",
    );
    let refused = place.run(&["run", "g", "--approve", "act"]);
    assert_eq!(refused.code, Some(4));
    assert!(refused.stderr.contains("started this run, and this gate wants somebody else"), "{}", refused.stderr);
    let other = said(place.command(&["resume", "last", "--approve", "act"]).env("USER", "other"));
    assert_eq!(other.code, Some(0), "{}", other.stderr);
}
