//! Real kills: the program is killed with SIGKILL at random moments of runs with real processes and requests, and taken up
//! again until the run is over. Then what the world saw is held against what the log claims.
//!
//! A person answers truthfully about every step in doubt: whoever looks finds out whether it happened. `KILLS=5000` kills
//! more often than the 200 times that a test run does; `KILLS_SEED` begins elsewhere.

#[path = "../cli/support.rs"]
#[expect(dead_code, reason = "the tests of the command line use all of it")]
mod support;
mod sweep;
mod world;

use std::collections::BTreeMap;

use support::{Place, ended};
use world::{Random, Server, World};

/// A run in which everything goes well, and one that is rolled back at its end.
const OUTCOMES: [(&str, i32); 2] = [("0", 0), ("3", 5)];
/// A run that never ends would be a defect of its own.
const MOST_RESUMPTIONS: usize = 60;

const RUNBOOK: &str = r#"runbook: killed
inputs:
  server: { type: url, required: true }
  end: { type: integer, required: true }
steps:
  look: { effect: read, run: 'echo look; sleep 0.01' }
  ask: { uses: http.get, with: { url: "{{ inputs.server }}/health" }, retry: { attempts: 5, delay: 10ms, jitter: false } }
  pay:
    needs: [look, ask]
    run: 'sleep 0.005; ./land did; sleep 0.005'
    undo: { run: './land undone; sleep 0.005' }
  post:
    needs: [look]
    uses: http.request
    with: { url: "{{ inputs.server }}/did/post", method: POST, json: { n: 1 } }
    undo: { uses: http.request, with: { url: "{{ inputs.server }}/undone/post", method: POST } }
  each:
    needs: [pay]
    for_each: { in: [a, b, c, d, e], as: name, at_most: 2, ramp: true }
    run: './land did; sleep 0.005'
    undo: { run: './land undone' }
  inner:
    needs: [post]
    call: inner.yaml
    with: { server: "{{ inputs.server }}" }
  end:
    needs: [each, inner]
    run: 'exit "$END"'
    env: { END: "{{ inputs.end }}" }
on_failure: rollback
finally:
  bye: { effect: read, run: 'sleep 0.005' }
"#;

const INNER: &str = r#"runbook: inner
inputs: { server: { type: url, required: true } }
steps:
  one: { run: './land did', undo: { run: './land undone; sleep 0.003' } }
  two: { needs: [one], uses: http.request, with: { url: "{{ inputs.server }}/did/two", method: POST }, undo: { uses: http.request, with: { url: "{{ inputs.server }}/undone/two", method: POST } } }
  three: { needs: [one], run: './land did', undo: { run: './land undone' } }
"#;

/// Writes down who did what. One short line is appended in one piece, so no two mix.
const LAND: &str = "#!/bin/sh\necho \"$1 $RUNBOOK_STEP\" >> world\n";

#[test]
fn whenever_it_is_killed_everything_is_done_once_and_undone_once() {
    let number = |name: &str, usual: u64| std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual);
    let (wanted, seed) = (number("KILLS", 200), number("KILLS_SEED", 1));
    let mut kills = 0;
    let mut round = seed;
    while kills < wanted {
        let (end, code) = OUTCOMES[usize::try_from(round % 2).unwrap()];
        kills += one_run(&mut Random::new(round), end, code, &format!("KILLS_SEED={round}"));
        round += 1;
    }
    println!("{kills} kills in {} runs", round - seed);
}

/// One run, killed again and again. Returns how often.
fn one_run(random: &mut Random, end: &str, code: i32, how: &str) -> u64 {
    let server = Server::start();
    let place = Place::new();
    place.write("killed.yaml", RUNBOOK).write("inner.yaml", INNER).write("land", LAND);
    world::make_executable(&place.path("land"));
    let address = server.address();
    let (server_input, end_input) = (format!("server={address}"), format!("end={end}"));
    let mut arguments = vec!["run", "killed.yaml", "-q", "-i", &server_input, "-i", &end_input];
    let mut answers: Vec<String> = Vec::new();
    let mut kills = 0;
    for turn in 0..MOST_RESUMPTIONS {
        let command: Vec<&str> = arguments.iter().copied().chain(answers.iter().map(String::as_str)).collect();
        let mut child = place.start(&command);
        // Now and then it is let come further, so that a run gets through in the end.
        let reach = if turn % 3 == 2 { 60 } else { 9 };
        let killed = world::kill_at_some_moment(&mut child, &place, reach, random);
        let said = ended(child);
        kills += u64::from(killed);
        world::wait_for_orphans(&place.folder());
        if place.log().is_empty() {
            // It died before its first line: nothing was done, and it is begun anew.
            continue;
        }
        let world = World::of(&place, &server);
        if let Some(outcome) = world::outcome(&place.log()) {
            // It may be killed after its last line and before its end.
            assert!(killed || said.code == Some(code), "{how}: it ended with {:?}: {}", said.code, said.stderr);
            assert_eq!(outcome, if end == "0" { "succeeded" } else { "rolled_back" }, "{how}");
            check(&place, &world, end == "0", how);
            return kills;
        }
        assert!(killed || said.code == Some(6), "{how}: it ended with {:?}: {}", said.code, said.stderr);
        arguments = vec!["resume", "last", "-q"];
        answers = world.truth_about(&place.log());
    }
    let events = place.events();
    let last = &events[events.len().saturating_sub(30)..];
    panic!("{how}: the run was taken up {MOST_RESUMPTIONS} times and did not end: … {last:?}");
}

/// What the world saw is what the log claims, and is what the runbook wants.
fn check(place: &Place, world: &World, went_well: bool, how: &str) {
    let log = place.log();
    let claims = |kind: &str, how: &str| -> BTreeMap<String, usize> {
        let mut found = BTreeMap::new();
        for line in &log {
            let event = &line["event"];
            if event["type"] == kind && event["result"]["how"] == how {
                *found.entry(event["step"].as_str().unwrap().to_owned()).or_default() += 1;
            }
        }
        found
    };
    let writes =
        ["pay", "post", "each[a]", "each[b]", "each[c]", "each[d]", "each[e]", "inner/one", "inner/two", "inner/three"];
    let once: BTreeMap<String, usize> = writes.iter().map(|step| ((*step).to_owned(), 1)).collect();
    assert_eq!(world.did, once, "{how}: done once, neither lost nor twice");
    let undone = if went_well { BTreeMap::new() } else { once.clone() };
    assert_eq!(world.undone, undone, "{how}: undone once, where it is to be");
    for (step, times) in claims("attempt_finished", "succeeded") {
        assert_eq!(times, 1, "{how}: the log says that `{step}` succeeded {times} times");
    }
    for (step, times) in claims("undo_finished", "undone") {
        assert_eq!((times, world.undone.get(&step)), (1, Some(&1)), "{how}: the log says that `{step}` was undone");
    }
    for step in &writes {
        let begun = log.iter().any(|line| line["event"]["type"] == "attempt_started" && line["event"]["step"] == *step);
        assert!(begun, "{how}: `{step}` happened without its intention in the log");
    }
    let verified = place.run(&["verify", "last"]);
    assert_eq!(verified.code, Some(0), "{how}: {}", verified.stderr);
    assert!(log.len() < 2_000, "{how}: the log grows without end");
}
