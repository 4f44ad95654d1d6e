//! A sweep over all users is killed in the middle of pages, and taken up again: everybody is signed out, and of each kill at
//! most one page is repeated.

use crate::support::{Place, ended, until};

const USERS: usize = 2_600;
const PAGE: usize = 500;

const RUNBOOK: &str = r#"runbook: swept
secrets: { clerk: { env: CLERK_SECRET_KEY } }
steps:
  all: { uses: clerk.sessions.revoke_all, with: { share: "95%" } }
"#;

const SCENARIO: &str = r"scenario: swept
title: A sweep is killed
starts: 2026-03-10T15:53:00Z
speed: 1000
secrets: { clerk: sk_live_drill_0000000000000000 }
stand_ins: { https://api.clerk.com: clerk }
world: { clerk: { users: 2600, sessions_per_user: 1.3, pending: 0.1, requests_per_ten_seconds: 0 } }
expect: { outcome: succeeded, sessions_left: 0, left_standing: nothing }
";

#[test]
fn a_killed_sweep_goes_on_with_the_page_it_was_at() {
    let place = Place::new();
    place.write("swept.yaml", RUNBOOK).write("drills/swept.yaml", SCENARIO);
    let mut child = place.start(&["drill", "swept.yaml", "-q"]);
    let mut kills = 0;
    // In the second page and in the fourth: so many users have been looked at, and a checkpoint is some way back.
    for looked_at in [PAGE + 200, 3 * PAGE + 350] {
        until("it is in the middle of a page", || looks(&place) >= looked_at || child.try_wait().unwrap().is_some());
        assert!(child.try_wait().unwrap().is_none(), "it was over before it could be killed");
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        child = place.start(&["resume", "last", "-q"]);
    }
    let said = ended(child);
    assert_eq!(said.code, Some(0), "{} {}", said.stdout, said.stderr);
    assert!(said.stdout.contains("passed"), "{}", said.stdout);

    let looks = looks(&place);
    assert!(looks >= USERS, "everybody was looked at: {looks}");
    assert!(looks <= USERS + kills * PAGE, "{looks} looks for {USERS} users and {kills} kills");
    let log = place.log();
    let succeeded = log.iter().find(|line| line["event"]["type"] == "attempt_finished").unwrap();
    let outputs = &succeeded["event"]["result"]["outputs"];
    assert_eq!(outputs["users"], USERS);
    assert_eq!(outputs["complete"], true);
    // What a killed try did is counted by the one that went on: each session once.
    let sessions = USERS * 13 / 10;
    assert_eq!(outputs["revoked"], sessions, "{outputs}");
    assert_eq!(revoked(&place), sessions);
    assert_eq!(place.run(&["verify", "last"]).code, Some(0));
}

/// What the world wrote down.
fn world(place: &Place) -> String {
    let Some(log) = place.log_path() else { return String::new() };
    std::fs::read_to_string(log.with_file_name("world.jsonl")).unwrap_or_default()
}

/// How often a user's sessions were listed.
fn looks(place: &Place) -> usize {
    world(place).matches(r#""path":"/v1/sessions""#).count()
}

/// How many sessions ended.
fn revoked(place: &Place) -> usize {
    world(place).matches(r#"{"people":{"revoked":"#).count()
}
