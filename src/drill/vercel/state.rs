//! The project's state: its variables, its deployments and what the domain points at. Requests change it, time moves it on.

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::base::Timestamp;
use crate::base::clock::after;
use crate::drill::faults;
use crate::drill::observed::{LeftStanding, WriteKind};
use crate::drill::scenario::{Ends, Scenario};

/// Where an environment variable applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::drill) enum Target {
    Production,
    Preview,
    Development,
}

/// How an environment variable is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::drill) enum EnvKind {
    Encrypted,
    Plain,
    Sensitive,
}

/// An environment variable of the project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::drill) struct EnvRow {
    pub(in crate::drill) id: String,
    pub(in crate::drill) key: String,
    pub(in crate::drill) value: String,
    pub(in crate::drill) kind: EnvKind,
    pub(in crate::drill) target: Vec<Target>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(in crate::drill) comment: Option<String>,
    pub(in crate::drill) created: Timestamp,
    pub(in crate::drill) updated: Timestamp,
}

/// How far a deployment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::drill) enum Stage {
    Queued,
    Building,
    Ready,
    Error,
    Blocked,
    Canceled,
}

impl Stage {
    /// The vendor's word.
    pub(in crate::drill) fn word(self) -> &'static str {
        match self {
            Self::Queued => "QUEUED",
            Self::Building => "BUILDING",
            Self::Ready => "READY",
            Self::Error => "ERROR",
            Self::Blocked => "BLOCKED",
            Self::Canceled => "CANCELED",
        }
    }
}

/// A deployment.
#[derive(Debug, Clone)]
pub(in crate::drill) struct Deployment {
    pub(in crate::drill) id: String,
    pub(in crate::drill) production: bool,
    pub(in crate::drill) source: Option<String>,
    pub(in crate::drill) meta: BTreeMap<String, String>,
    pub(in crate::drill) created: Timestamp,
    pub(in crate::drill) building_at: Timestamp,
    pub(in crate::drill) built_at: Timestamp,
    pub(in crate::drill) ends: Ends,
    pub(in crate::drill) stage: Stage,
    /// When the domain is to be pointed at it, once that is decided.
    pub(in crate::drill) alias_at: Option<Timestamp>,
    /// When the domain was first pointed at it.
    pub(in crate::drill) served_from: Option<Timestamp>,
    /// The environment, frozen when it was created.
    pub(in crate::drill) env: BTreeMap<String, String>,
}

/// Which way the domain is moved by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::drill) enum MoveKind {
    Promote,
    Rollback,
}

/// A promote or a rollback.
#[derive(Debug, Clone)]
pub(in crate::drill) struct Move {
    pub(in crate::drill) kind: MoveKind,
    pub(in crate::drill) from: String,
    pub(in crate::drill) to: String,
    pub(in crate::drill) requested: Timestamp,
    pub(in crate::drill) done_at: Timestamp,
    pub(in crate::drill) done: bool,
}

/// What a request changes. Record lines hold these; applying them again gives the same state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::drill) enum Change {
    /// An environment variable is there, or is different.
    EnvSet(EnvRow),
    /// An environment variable is gone.
    EnvRemoved { id: String },
    /// A deployment was asked for.
    Deployed { id: String, production: bool, source: Option<String>, meta: BTreeMap<String, String> },
    /// A deployment was cancelled.
    Cancelled { id: String },
    /// The domain is to be moved.
    Moved { kind: MoveKind, to: String },
}

/// The project at one moment.
#[derive(Debug, Clone)]
pub(in crate::drill) struct State {
    scenario: Arc<Scenario>,
    pub(in crate::drill) rows: IndexMap<String, EnvRow>,
    rows_at_the_start: Vec<EnvRow>,
    rows_made: u32,
    /// Oldest first.
    pub(in crate::drill) deployments: Vec<Deployment>,
    /// Which deployment serves from when; the last one does now.
    pub(in crate::drill) served: Vec<(Timestamp, String)>,
    /// Set by a rollback: the deployment the project is pinned to.
    pub(in crate::drill) pinned: Option<String>,
    pub(in crate::drill) last_move: Option<Move>,
}

/// Something that time brings.
#[derive(Debug, Clone, Copy)]
pub(in crate::drill) enum Due {
    Building(usize),
    Built(usize),
    Aliased(usize),
    Moved,
}

impl State {
    /// The project before anything happened.
    pub(in crate::drill) fn new(scenario: &Arc<Scenario>) -> Self {
        let starts = scenario.starts;
        let mut state = Self {
            rows: IndexMap::new(),
            rows_at_the_start: Vec::new(),
            rows_made: 0,
            deployments: Vec::new(),
            served: Vec::new(),
            pinned: None,
            last_move: None,
            scenario: Arc::clone(scenario),
        };
        let Some(vercel) = &scenario.world.vercel else { return state };
        for (key, value) in &vercel.environment {
            let row = EnvRow {
                id: state.next_row_id(0),
                key: key.clone(),
                value: value.clone(),
                kind: EnvKind::Encrypted,
                target: vec![Target::Production],
                comment: None,
                created: starts,
                updated: starts,
            };
            state.rows_made += 1;
            state.rows.insert(row.id.clone(), row);
        }
        state.rows_at_the_start = state.rows.values().cloned().collect();
        let id = state.next_deployment_id();
        state.deployments.push(Deployment {
            id: id.clone(),
            production: true,
            source: None,
            meta: BTreeMap::new(),
            created: starts,
            building_at: starts,
            built_at: starts,
            ends: Ends::Ready,
            stage: Stage::Ready,
            alias_at: None,
            served_from: Some(starts),
            env: state.frozen_env(Target::Production),
        });
        state.served.push((starts, id));
        state
    }

    /// The deployment that the domain points at.
    pub(in crate::drill) fn serving(&self) -> Option<&Deployment> {
        self.served.last().and_then(|(_, id)| self.deployment(id))
    }

    /// A deployment by its id.
    pub(in crate::drill) fn deployment(&self, id: &str) -> Option<&Deployment> {
        self.deployments.iter().find(|deployment| deployment.id == id)
    }

    /// The id of the next variable but `ahead`.
    pub(in crate::drill) fn next_row_id(&self, ahead: u32) -> String {
        format!("env_drill{:04}", self.rows_made + ahead + 1)
    }

    /// The id of the next deployment.
    pub(in crate::drill) fn next_deployment_id(&self) -> String {
        format!("dpl_drill{:04}", self.deployments.len() + 1)
    }

    /// Is a move of the domain under way?
    pub(in crate::drill) fn moving(&self) -> bool {
        self.last_move.as_ref().is_some_and(|moved| !moved.done)
    }

    /// What is there now that was not there at the start.
    pub(in crate::drill) fn left_standing(&self, now: Timestamp) -> Vec<LeftStanding> {
        let mut left = Vec::new();
        let name = |row: &EnvRow| row.key.clone();
        for row in self.rows.values() {
            let before = self.rows_at_the_start.iter().find(|old| old.key == row.key && old.target == row.target);
            match before {
                None => left.push(LeftStanding::VariableAdded(name(row))),
                Some(old) if old.value != row.value => left.push(LeftStanding::VariableChanged(name(row))),
                Some(_) => {}
            }
        }
        for old in &self.rows_at_the_start {
            if !self.rows.values().any(|row| row.key == old.key && row.target == old.target) {
                left.push(LeftStanding::VariableRemoved(name(old)));
            }
        }
        if let Some(serving) = self.serving()
            && crate::drill::app::policy(&serving.env, now).active
        {
            left.push(LeftStanding::BypassInForce(serving.id.clone()));
        }
        if let Some(pinned) = &self.pinned {
            left.push(LeftStanding::ProjectPinned(pinned.clone()));
        }
        left
    }

    /// What time brings next, and when.
    pub(in crate::drill) fn due(&self) -> Option<(Timestamp, Due)> {
        let mut first: Option<(Timestamp, Due)> = None;
        let mut offer = |at: Timestamp, due: Due| {
            if first.as_ref().is_none_or(|(earliest, _)| at < *earliest) {
                first = Some((at, due));
            }
        };
        for (index, deployment) in self.deployments.iter().enumerate() {
            match deployment.stage {
                Stage::Queued => offer(deployment.building_at, Due::Building(index)),
                Stage::Building => offer(deployment.built_at, Due::Built(index)),
                Stage::Ready => {
                    if let Some(at) = deployment.alias_at {
                        offer(at, Due::Aliased(index));
                    }
                }
                Stage::Error | Stage::Blocked | Stage::Canceled => {}
            }
        }
        if let Some(moved) = self.last_move.as_ref().filter(|moved| !moved.done) {
            offer(moved.done_at, Due::Moved);
        }
        first
    }

    /// What is due comes about. Returns what there is to tell.
    pub(in crate::drill) fn come(&mut self, due: Due, now: Timestamp) -> Option<String> {
        match due {
            Due::Building(index) => {
                self.deployments[index].stage = Stage::Building;
                None
            }
            Due::Built(index) => Some(self.built(index)),
            Due::Aliased(index) => self.aliased(index, now),
            Due::Moved => self.moved(now),
        }
    }

    fn built(&mut self, index: usize) -> String {
        let alias_time = self.scenario.world.vercel.as_ref().map(|vercel| vercel.alias_time.0).unwrap_or_default();
        let takes_the_domain = self.takes_the_domain(index);
        let deployment = &mut self.deployments[index];
        deployment.stage = match deployment.ends {
            Ends::Ready => Stage::Ready,
            Ends::Error => Stage::Error,
            Ends::Blocked => Stage::Blocked,
            Ends::Canceled => Stage::Canceled,
        };
        if deployment.stage == Stage::Ready && takes_the_domain {
            deployment.alias_at = Some(after(deployment.built_at, alias_time));
        }
        format!("deployment {} is {}", deployment.id, deployment.stage.word())
    }

    /// A new deployment takes the domain unless the project is pinned, or something newer has it already.
    fn takes_the_domain(&self, index: usize) -> bool {
        let newest_served = self.deployments.iter().rposition(|deployment| deployment.served_from.is_some());
        self.deployments[index].production
            && self.scenario.world.vercel.as_ref().is_some_and(|vercel| vercel.auto_alias)
            && self.pinned.is_none()
            && newest_served.is_none_or(|newest| newest < index)
    }

    fn aliased(&mut self, index: usize, now: Timestamp) -> Option<String> {
        // Asked again: a rollback may have come between the build and the domain.
        let takes = self.takes_the_domain(index);
        self.deployments[index].alias_at = None;
        takes.then(|| self.serve(self.deployments[index].id.clone(), now))
    }

    fn moved(&mut self, now: Timestamp) -> Option<String> {
        let moved = self.last_move.as_mut()?;
        moved.done = true;
        let (kind, to) = (moved.kind, moved.to.clone());
        self.pinned = match kind {
            MoveKind::Promote => None,
            MoveKind::Rollback => Some(to.clone()),
        };
        Some(self.serve(to, now))
    }

    fn serve(&mut self, id: String, now: Timestamp) -> String {
        if let Some(deployment) = self.deployments.iter_mut().find(|deployment| deployment.id == id) {
            deployment.served_from.get_or_insert(now);
        }
        let told = format!("the domain points at deployment {id}");
        self.served.push((now, id));
        told
    }

    /// A request changes something. Returns what kind of write that was.
    pub(in crate::drill) fn change(&mut self, change: &Change, now: Timestamp) -> WriteKind {
        match change {
            Change::EnvSet(row) => {
                let known = self.rows.insert(row.id.clone(), row.clone()).is_some();
                if known {
                    WriteKind::EnvUpdated
                } else {
                    self.rows_made += 1;
                    WriteKind::EnvCreated
                }
            }
            Change::EnvRemoved { id } => {
                self.rows.shift_remove(id);
                WriteKind::EnvRemoved
            }
            Change::Deployed { id, production, source, meta } => {
                self.deploy(id, *production, source.clone(), meta.clone(), now);
                WriteKind::DeploymentCreated
            }
            Change::Cancelled { id } => {
                if let Some(deployment) = self.deployments.iter_mut().find(|deployment| deployment.id == *id) {
                    deployment.stage = Stage::Canceled;
                }
                WriteKind::DeploymentCancelled
            }
            Change::Moved { kind, to } => {
                let alias_time =
                    self.scenario.world.vercel.as_ref().map(|vercel| vercel.alias_time.0).unwrap_or_default();
                self.last_move = Some(Move {
                    kind: *kind,
                    from: self.serving().map(|serving| serving.id.clone()).unwrap_or_default(),
                    to: to.clone(),
                    requested: now,
                    done_at: after(now, alias_time),
                    done: false,
                });
                match kind {
                    MoveKind::Promote => WriteKind::Promoted,
                    MoveKind::Rollback => WriteKind::RolledBack,
                }
            }
        }
    }

    fn deploy(
        &mut self,
        id: &str,
        production: bool,
        source: Option<String>,
        meta: BTreeMap<String, String>,
        now: Timestamp,
    ) {
        let Some(vercel) = &self.scenario.world.vercel else { return };
        // The first of the deployments is the one that was there before the drill.
        let number = u32::try_from(self.deployments.len()).unwrap_or(u32::MAX);
        let (ends, takes) = faults::of_deployment(&self.scenario.faults, number);
        let building_at = after(now, vercel.queue_time.0);
        let built_at = after(building_at, takes.unwrap_or(vercel.build_time.0));
        let env = self.frozen_env(if production { Target::Production } else { Target::Preview });
        self.deployments.push(Deployment {
            id: id.to_owned(),
            production,
            source,
            meta,
            created: now,
            building_at,
            built_at,
            ends,
            stage: Stage::Queued,
            alias_at: None,
            served_from: None,
            env,
        });
    }

    fn frozen_env(&self, target: Target) -> BTreeMap<String, String> {
        let applies = self.rows.values().filter(|row| row.target.contains(&target));
        applies.map(|row| (row.key.clone(), row.value.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
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
}
