//! The project's life, in the scenario's time.

use super::*;
use crate::base::HumanDuration;
use crate::drill::scenario::StandIn;
use crate::drill::scenario::tests::scenario;
use crate::drill::state::{Asked, Change as Changed, WorldState};

fn world(more: &str) -> WorldState {
    WorldState::new(Arc::new(scenario(more)))
}

fn at(world: &WorldState, since_start: &str) -> Timestamp {
    after(world.scenario.starts, since_start.parse::<HumanDuration>().unwrap().0)
}

fn write(world: &mut WorldState, when: &str, change: Change) {
    let asked = Asked {
        on: StandIn::Vercel,
        method: "POST".into(),
        path: "/".into(),
        status: Some(200),
        why: None,
        changes: vec![Changed::Vercel(change)],
    };
    let when = at(world, when);
    world.apply(when, &asked);
}

fn deploy(world: &mut WorldState, when: &str) -> String {
    let id = world.vercel.next_deployment_id();
    let change = Change::Deployed { id: id.clone(), production: true, source: None, meta: BTreeMap::new() };
    write(world, when, change);
    id
}

fn advance(world: &mut WorldState, to: &str) {
    let to = at(world, to);
    world.advance(to);
}

fn serving(world: &WorldState) -> &str {
    &world.vercel.serving().unwrap().id
}

const PROJECT: &str = "world: { vercel: { project: shop, queue_time: 2s, build_time: 40s, alias_time: 5s } }\n";

#[test]
fn a_deployment_waits_is_built_and_then_gets_the_domain() {
    let mut world = world(PROJECT);
    let id = deploy(&mut world, "10s");
    for (when, stage, serves) in [
        ("11s", Stage::Queued, false),
        ("12s", Stage::Building, false),
        ("51s", Stage::Building, false),
        ("52s", Stage::Ready, false),
        ("56s", Stage::Ready, false),
        ("57s", Stage::Ready, true),
    ] {
        advance(&mut world, when);
        assert_eq!(world.vercel.deployment(&id).unwrap().stage, stage, "{when}");
        assert_eq!(serving(&world) == id, serves, "{when}");
    }
}

#[test]
fn the_environment_is_frozen_when_a_deployment_is_made() {
    let mut world = world(PROJECT);
    let row = |value: &str| EnvRow {
        id: "env_drill0001".into(),
        key: "K".into(),
        value: value.into(),
        kind: EnvKind::Plain,
        target: vec![Target::Production],
        comment: None,
        branch: None,
        integration: None,
        created: Timestamp::UNIX_EPOCH,
        updated: Timestamp::UNIX_EPOCH,
    };
    write(&mut world, "1s", Change::EnvSet(row("old")));
    let id = deploy(&mut world, "2s");
    write(&mut world, "3s", Change::EnvSet(row("new")));
    advance(&mut world, "5m");
    assert_eq!(world.vercel.deployment(&id).unwrap().env["K"], "old");
    assert_eq!(world.left_standing(), [LeftStanding::VariableAdded("K".into())]);
    write(&mut world, "6m", Change::EnvRemoved { id: "env_drill0001".into() });
    assert_eq!(world.left_standing(), []);
}

#[test]
fn after_a_rollback_the_project_is_pinned_until_a_promote() {
    let mut world = world(PROJECT);
    let first = serving(&world).to_owned();
    let second = deploy(&mut world, "0s");
    advance(&mut world, "1m");
    write(&mut world, "1m", Change::Moved { kind: MoveKind::Rollback, to: first.clone() });
    advance(&mut world, "64s");
    assert_eq!(serving(&world), second, "a rollback takes its time");
    advance(&mut world, "65s");
    assert_eq!(serving(&world), first);
    assert_eq!(world.left_standing(), [LeftStanding::ProjectPinned(first.clone())]);
    let third = deploy(&mut world, "2m");
    advance(&mut world, "5m");
    assert_eq!(serving(&world), first, "new deployments wait for a promote");
    write(&mut world, "5m", Change::Moved { kind: MoveKind::Promote, to: third.clone() });
    advance(&mut world, "6m");
    assert_eq!(serving(&world), third);
    assert_eq!(world.left_standing(), []);
}

#[test]
fn a_slow_deployment_does_not_take_the_domain_from_a_newer_one() {
    let mut world = world(&format!("{PROJECT}faults: [{{ on: vercel, deployment: 1, takes: 5m }}]\n"));
    let slow = deploy(&mut world, "0s");
    let quick = deploy(&mut world, "1s");
    advance(&mut world, "10m");
    assert_eq!(world.vercel.deployment(&slow).unwrap().stage, Stage::Ready);
    assert_eq!(serving(&world), quick);
}

#[test]
fn the_deployment_that_a_fault_names_fails_and_the_next_does_not() {
    let mut world = world(&format!("{PROJECT}faults: [{{ on: vercel, deployment: 1, ends: ERROR }}]\n"));
    let first = deploy(&mut world, "0s");
    let second = deploy(&mut world, "1m");
    advance(&mut world, "5m");
    assert_eq!(world.vercel.deployment(&first).unwrap().stage, Stage::Error);
    assert_eq!(serving(&world), second);
}

#[test]
fn a_deployment_that_is_never_aliased_is_ready_and_serves_nobody() {
    for (aliased, promoted) in [("never", false), ("on_promote", true)] {
        let fault = format!("{PROJECT}faults: [{{ on: vercel, deployment: 1, aliased: {aliased} }}]\n");
        let mut world = world(&fault);
        let first = serving(&world).to_owned();
        let id = deploy(&mut world, "0s");
        advance(&mut world, "1h");
        assert_eq!(world.vercel.deployment(&id).unwrap().stage, Stage::Ready);
        assert_eq!(serving(&world), first);
        write(&mut world, "1h", Change::Moved { kind: MoveKind::Promote, to: id.clone() });
        advance(&mut world, "2h");
        assert_eq!(serving(&world) == id, promoted, "{aliased}");
        let ended = world.vercel.last_move.as_ref().unwrap().stage;
        assert_eq!(ended == MoveStage::Succeeded, promoted, "{aliased}");
    }
}

#[test]
fn a_rolling_release_reaches_a_share_until_it_is_completed() {
    let mut world = world(&PROJECT.replace("project: shop", "project: shop, rolling_release: true"));
    let first = serving(&world).to_owned();
    let id = deploy(&mut world, "0s");
    advance(&mut world, "1h");
    assert!(world.vercel.deployment(&id).unwrap().rolling);
    assert_eq!(world.left_standing(), [LeftStanding::RollingRelease(id.clone())]);
    write(&mut world, "1h", Change::Moved { kind: MoveKind::Promote, to: id.clone() });
    advance(&mut world, "2h");
    assert_eq!(serving(&world), first, "the promote waits for the rolling release");
    write(&mut world, "2h", Change::Completed { id: id.clone() });
    advance(&mut world, "3h");
    assert_eq!(serving(&world), id);
    assert!(!world.vercel.moving() && world.left_standing().is_empty());
}

#[test]
fn a_redeploy_is_as_good_as_its_source_and_a_push_as_good_as_it_says() {
    let history = "history: [{ ago: 2d }, { ago: 1h, serves: broken, log: [\"matcher changed\"] }]";
    let mut world = world(&format!(
        "{}timeline: [{{ at: 10m, pushed: works }}]\n",
        PROJECT.replace("project: shop", &format!("project: shop, {history}"))
    ));
    let broken = serving(&world).to_owned();
    assert_eq!((broken.as_str(), world.vercel.served_before()), ("dpl_drill0002", Some("dpl_drill0001")));
    let change = Change::Deployed {
        id: world.vercel.next_deployment_id(),
        production: true,
        source: Some(broken.clone()),
        meta: BTreeMap::new(),
    };
    write(&mut world, "1s", change);
    advance(&mut world, "5m");
    assert_eq!(world.vercel.serving().unwrap().app, Serves::Broken, "the same code is as broken as before");
    assert_eq!(world.left_standing(), [LeftStanding::BrokenServes("dpl_drill0003".into())]);
    assert_eq!(world.sign_in_broken.len(), 1);
    advance(&mut world, "20m");
    assert_eq!(world.vercel.serving().unwrap().app, Serves::Works);
    assert!(world.sign_in_broken[0].until.is_some(), "and with it people can sign in again");
}

#[test]
fn an_environment_that_is_inherited_does_not_see_what_was_set() {
    for (inherits, seen) in [(false, Some("grace")), (true, None)] {
        let mut world = world(&PROJECT.replace("shop,", &format!("shop, redeploy_inherits_env: {inherits},")));
        let row = EnvRow {
            id: "env_drill0001".into(),
            key: "MODE".into(),
            value: "grace".into(),
            kind: EnvKind::Plain,
            target: vec![Target::Production],
            comment: None,
            branch: None,
            integration: None,
            created: Timestamp::UNIX_EPOCH,
            updated: Timestamp::UNIX_EPOCH,
        };
        write(&mut world, "1s", Change::EnvSet(row));
        let source = Some(serving(&world).to_owned());
        let id = world.vercel.next_deployment_id();
        write(&mut world, "2s", Change::Deployed { id, production: true, source, meta: BTreeMap::new() });
        advance(&mut world, "2m");
        assert_eq!(world.vercel.serving().unwrap().env.get("MODE").map(String::as_str), seen);
    }
}

#[test]
fn a_project_may_be_pinned_from_the_start() {
    let history = "history: [{ ago: 2d, pinned: true }, { ago: 1h }]";
    let mut world = world(&PROJECT.replace("project: shop", &format!("project: shop, {history}")));
    assert_eq!((serving(&world), world.vercel.pinned.as_deref()), ("dpl_drill0001", Some("dpl_drill0001")));
    assert_eq!(world.left_standing(), [], "it was so before");
    let id = deploy(&mut world, "0s");
    advance(&mut world, "5m");
    assert_eq!(serving(&world), "dpl_drill0001");
    write(&mut world, "5m", Change::Moved { kind: MoveKind::Promote, to: id.clone() });
    advance(&mut world, "6m");
    assert_eq!((serving(&world), &world.vercel.pinned), (id.as_str(), &None));
}
