//! The world's state: a pure machine. Requests change it, time moves it, and the same changes give the same state.

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::clerk::{self, Flow, Population};
use super::faults;
use super::observed::{Happening, LeftStanding, Refused, Why, Window, WriteKind};
use super::scenario::{Ends, Mode, PageState, Scenario, StandIn};
use crate::base::Timestamp;
use crate::base::clock::after;

/// Where an environment variable applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Target {
    Production,
    Preview,
    Development,
}

/// How an environment variable is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum EnvKind {
    Encrypted,
    Plain,
    Sensitive,
}

/// An environment variable of the project.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct EnvRow {
    pub(super) id: String,
    pub(super) key: String,
    pub(super) value: String,
    pub(super) kind: EnvKind,
    pub(super) target: Vec<Target>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) comment: Option<String>,
    pub(super) created: Timestamp,
    pub(super) updated: Timestamp,
}

/// How far a deployment is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    Queued,
    Building,
    Ready,
    Error,
    Blocked,
    Canceled,
}

impl Stage {
    /// The vendor's word.
    pub(super) fn word(self) -> &'static str {
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
pub(super) struct Deployment {
    pub(super) id: String,
    pub(super) production: bool,
    pub(super) source: Option<String>,
    pub(super) meta: BTreeMap<String, String>,
    pub(super) created: Timestamp,
    pub(super) building_at: Timestamp,
    pub(super) built_at: Timestamp,
    pub(super) ends: Ends,
    pub(super) stage: Stage,
    /// When the domain is to be pointed at it, once that is decided.
    pub(super) alias_at: Option<Timestamp>,
    /// When the domain was first pointed at it.
    pub(super) served_from: Option<Timestamp>,
    /// The environment, frozen when it was created.
    pub(super) env: BTreeMap<String, String>,
}

/// Which way the domain is moved by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum MoveKind {
    Promote,
    Rollback,
}

/// A promote or a rollback.
#[derive(Debug, Clone)]
pub(super) struct Move {
    pub(super) kind: MoveKind,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) requested: Timestamp,
    pub(super) done_at: Timestamp,
    pub(super) done: bool,
}

/// What a request changes. Record lines hold these; applying them again gives the same state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Change {
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
    /// Something about Clerk's users or their sessions.
    People(clerk::Change),
}

/// A request that was dealt with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Asked {
    pub(super) on: StandIn,
    pub(super) method: String,
    pub(super) path: String,
    /// The status; absent when no answer came.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) status: Option<u16>,
    /// Why it was not answered as asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) why: Option<Why>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) changes: Vec<Change>,
}

/// What the status page shows.
#[derive(Debug, Clone)]
pub(super) struct Page {
    pub(super) state: PageState,
    pub(super) incident: Option<String>,
    pub(super) since: Timestamp,
}

/// The whole world at one moment.
#[derive(Debug, Clone)]
pub(super) struct WorldState {
    pub(super) scenario: Arc<Scenario>,
    pub(super) now: Timestamp,
    next_moment: usize,
    modes: BTreeMap<StandIn, Mode>,
    pub(super) page: Page,
    pub(super) rows: IndexMap<String, EnvRow>,
    rows_at_the_start: Vec<EnvRow>,
    rows_made: u32,
    /// Oldest first.
    pub(super) deployments: Vec<Deployment>,
    /// Which deployment serves from when; the last one does now.
    pub(super) served: Vec<(Timestamp, String)>,
    /// Set by a rollback: the deployment the project is pinned to.
    pub(super) pinned: Option<String>,
    pub(super) last_move: Option<Move>,
    pub(super) sign_in_broken: Vec<Window>,
    pub(super) writes: BTreeMap<WriteKind, u32>,
    pub(super) requests: BTreeMap<StandIn, u32>,
    pub(super) refused: Vec<Refused>,
    pub(super) happenings: Vec<Happening>,
    seen_by_faults: Vec<u32>,
    /// Clerk's users and their sessions.
    pub(super) people: Population,
}

/// Something that time brings.
enum Due {
    Moment(usize),
    Building(usize),
    Built(usize),
    Aliased(usize),
    Moved,
    People(Flow),
}

impl WorldState {
    /// The world before anything happened.
    pub(super) fn new(scenario: Arc<Scenario>) -> Self {
        let starts = scenario.starts;
        let mut world = Self {
            now: starts,
            next_moment: 0,
            modes: BTreeMap::new(),
            page: Page { state: PageState::Ok, incident: None, since: starts },
            rows: IndexMap::new(),
            rows_at_the_start: Vec::new(),
            rows_made: 0,
            deployments: Vec::new(),
            served: Vec::new(),
            pinned: None,
            last_move: None,
            sign_in_broken: Vec::new(),
            writes: BTreeMap::new(),
            requests: BTreeMap::new(),
            refused: Vec::new(),
            happenings: Vec::new(),
            seen_by_faults: vec![0; scenario.faults.len()],
            people: Population::new(scenario.world.clerk.clone(), starts),
            scenario: Arc::clone(&scenario),
        };
        if let Some(vercel) = &scenario.world.vercel {
            for (key, value) in &vercel.environment {
                let row = EnvRow {
                    id: world.next_row_id(0),
                    key: key.clone(),
                    value: value.clone(),
                    kind: EnvKind::Encrypted,
                    target: vec![Target::Production],
                    comment: None,
                    created: starts,
                    updated: starts,
                };
                world.rows_made += 1;
                world.rows.insert(row.id.clone(), row);
            }
            world.rows_at_the_start = world.rows.values().cloned().collect();
            let id = world.next_deployment_id();
            world.deployments.push(Deployment {
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
                env: world.frozen_env(Target::Production),
            });
            world.served.push((starts, id));
        }
        world.advance(starts);
        world
    }

    /// How a stand-in behaves now.
    pub(super) fn mode(&self, stand_in: StandIn) -> Mode {
        self.modes.get(&stand_in).copied().unwrap_or_default()
    }

    /// The deployment that the domain points at.
    pub(super) fn serving(&self) -> Option<&Deployment> {
        self.served.last().and_then(|(_, id)| self.deployment(id))
    }

    /// A deployment by its id.
    pub(super) fn deployment(&self, id: &str) -> Option<&Deployment> {
        self.deployments.iter().find(|deployment| deployment.id == id)
    }

    /// The id of the next variable but `ahead`.
    pub(super) fn next_row_id(&self, ahead: u32) -> String {
        format!("env_drill{:04}", self.rows_made + ahead + 1)
    }

    /// The id of the next deployment.
    pub(super) fn next_deployment_id(&self) -> String {
        format!("dpl_drill{:04}", self.deployments.len() + 1)
    }

    /// Is a move of the domain under way?
    pub(super) fn moving(&self) -> bool {
        self.last_move.as_ref().is_some_and(|moved| !moved.done)
    }

    /// How many requests each fault has seen.
    pub(super) fn seen_by_faults(&self) -> &[u32] {
        &self.seen_by_faults
    }

    /// When time next brings something.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.due().map(|(at, _)| at)
    }

    /// Lets time pass until `to`. Time never runs backwards.
    pub(super) fn advance(&mut self, to: Timestamp) {
        while let Some((at, due)) = self.due().filter(|(at, _)| *at <= to) {
            self.now = self.now.max(at);
            match due {
                Due::Moment(index) => self.moment(index),
                Due::Building(index) => self.deployments[index].stage = Stage::Building,
                Due::Built(index) => self.built(index),
                Due::Aliased(index) => self.aliased(index),
                Due::Moved => self.moved(),
                Due::People(flow) => {
                    let open = self.mode(StandIn::Clerk) == Mode::Up && self.mode(StandIn::ClerkFrontend) == Mode::Up;
                    self.people.flow(flow, at, open);
                }
            }
        }
        self.now = self.now.max(to);
    }

    /// Records a request and applies what it changes.
    pub(super) fn apply(&mut self, at: Timestamp, asked: &Asked) {
        self.advance(at);
        *self.requests.entry(asked.on).or_default() += 1;
        if asked.on == StandIn::Clerk && clerk::is_counted(&asked.path, asked.status) {
            self.people.count_request(self.now);
        }
        for (fault, seen) in self.scenario.faults.iter().zip(&mut self.seen_by_faults) {
            if faults::is_about(fault, asked.on, &asked.method, &asked.path) {
                *seen += 1;
            }
        }
        if let Some(why) = asked.why {
            self.refused.push(Refused {
                at: self.now,
                on: asked.on,
                method: asked.method.clone(),
                path: asked.path.clone(),
                status: asked.status,
                why,
            });
        }
        for change in &asked.changes {
            self.change(change);
        }
    }

    /// What is there now that was not there at the start.
    pub(super) fn left_standing(&self) -> Vec<LeftStanding> {
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
            && super::app::policy(&serving.env, self.now).active
        {
            left.push(LeftStanding::BypassInForce(serving.id.clone()));
        }
        if let Some(pinned) = &self.pinned {
            left.push(LeftStanding::ProjectPinned(pinned.clone()));
        }
        let (banned, unbanned) = self.people.bans_changed();
        let locked = self.people.locked(self.now);
        left.extend((banned > 0).then_some(LeftStanding::UsersBanned(banned)));
        left.extend((unbanned > 0).then_some(LeftStanding::UsersUnbanned(unbanned)));
        left.extend((locked > 0).then_some(LeftStanding::UsersLocked(locked)));
        left
    }

    fn due(&self) -> Option<(Timestamp, Due)> {
        let mut first: Option<(Timestamp, Due)> = None;
        let mut offer = |at: Timestamp, due: Due| {
            if first.as_ref().is_none_or(|(earliest, _)| at < *earliest) {
                first = Some((at, due));
            }
        };
        if let Some(moment) = self.scenario.timeline.get(self.next_moment) {
            offer(after(self.scenario.starts, moment.at.value.0), Due::Moment(self.next_moment));
        }
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
        if let Some((at, flow)) = self.people.next_due() {
            offer(at, Due::People(flow));
        }
        first
    }

    fn moment(&mut self, index: usize) {
        self.next_moment = index + 1;
        let scenario = Arc::clone(&self.scenario);
        let moment = &scenario.timeline[index];
        let mut told = Vec::new();
        for (stand_in, mode) in moment.modes() {
            self.modes.insert(stand_in, mode);
            told.push(format!("{stand_in} is {}", word(&mode)));
        }
        if let Some(page) = &moment.status_page {
            if let Some(state) = page.state {
                self.page = Page { state, incident: page.incident.clone(), since: self.now };
                told.push(format!("the status page says {}", word(&state)));
            } else if page.incident.is_some() {
                self.page.incident.clone_from(&page.incident);
            }
        }
        self.tell(moment.note.clone().unwrap_or_else(|| told.join(", ")));
        self.watch_sign_in();
    }

    /// Opens and closes the windows in which nobody can sign in.
    fn watch_sign_in(&mut self) {
        let broken = super::app::sign_in_broken(self.mode(StandIn::Clerk), self.mode(StandIn::ClerkFrontend));
        let open = self.sign_in_broken.last_mut().filter(|window| window.until.is_none());
        match (open, broken) {
            (None, true) => self.sign_in_broken.push(Window { from: self.now, until: None }),
            (Some(window), false) => window.until = Some(self.now),
            (None, false) | (Some(_), true) => {}
        }
    }

    fn built(&mut self, index: usize) {
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
        let told = format!("deployment {} is {}", deployment.id, deployment.stage.word());
        self.tell(told);
    }

    /// A new deployment takes the domain unless the project is pinned, or something newer has it already.
    fn takes_the_domain(&self, index: usize) -> bool {
        let newest_served = self.deployments.iter().rposition(|deployment| deployment.served_from.is_some());
        self.deployments[index].production
            && self.scenario.world.vercel.as_ref().is_some_and(|vercel| vercel.auto_alias)
            && self.pinned.is_none()
            && newest_served.is_none_or(|newest| newest < index)
    }

    fn aliased(&mut self, index: usize) {
        // Asked again: a rollback may have come between the build and the domain.
        let takes = self.takes_the_domain(index);
        self.deployments[index].alias_at = None;
        if takes {
            self.serve(self.deployments[index].id.clone());
        }
    }

    fn moved(&mut self) {
        let Some(moved) = self.last_move.as_mut() else { return };
        moved.done = true;
        let (kind, to) = (moved.kind, moved.to.clone());
        self.pinned = match kind {
            MoveKind::Promote => None,
            MoveKind::Rollback => Some(to.clone()),
        };
        self.serve(to);
    }

    fn serve(&mut self, id: String) {
        let now = self.now;
        if let Some(deployment) = self.deployments.iter_mut().find(|deployment| deployment.id == id) {
            deployment.served_from.get_or_insert(now);
        }
        self.tell(format!("the domain points at deployment {id}"));
        self.served.push((now, id));
    }

    fn change(&mut self, change: &Change) {
        let kind = match change {
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
                self.deploy(id, *production, source.clone(), meta.clone());
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
                    requested: self.now,
                    done_at: after(self.now, alias_time),
                    done: false,
                });
                match kind {
                    MoveKind::Promote => WriteKind::Promoted,
                    MoveKind::Rollback => WriteKind::RolledBack,
                }
            }
            Change::People(change) => {
                self.people.change(change, self.now);
                change.kind()
            }
        };
        *self.writes.entry(kind).or_default() += 1;
    }

    fn deploy(&mut self, id: &str, production: bool, source: Option<String>, meta: BTreeMap<String, String>) {
        let Some(vercel) = &self.scenario.world.vercel else { return };
        // The first of the deployments is the one that was there before the drill.
        let number = u32::try_from(self.deployments.len()).unwrap_or(u32::MAX);
        let (ends, takes) = faults::of_deployment(&self.scenario.faults, number);
        let building_at = after(self.now, vercel.queue_time.0);
        let built_at = after(building_at, takes.unwrap_or(vercel.build_time.0));
        let env = self.frozen_env(if production { Target::Production } else { Target::Preview });
        self.deployments.push(Deployment {
            id: id.to_owned(),
            production,
            source,
            meta,
            created: self.now,
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

    fn tell(&mut self, what: String) {
        self.happenings.push(Happening { at: self.now, what });
    }
}

/// A word as it stands in a scenario file.
fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::HumanDuration;
    use crate::drill::scenario::tests::scenario;

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
            changes: vec![change],
        };
        let when = at(world, when);
        world.apply(when, &asked);
    }

    fn deploy(world: &mut WorldState, when: &str) -> String {
        let id = world.next_deployment_id();
        let change = Change::Deployed { id: id.clone(), production: true, source: None, meta: BTreeMap::new() };
        write(world, when, change);
        id
    }

    fn advance(world: &mut WorldState, to: &str) {
        let to = at(world, to);
        world.advance(to);
    }

    fn serving(world: &WorldState) -> &str {
        &world.serving().unwrap().id
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
            assert_eq!(world.deployment(&id).unwrap().stage, stage, "{when}");
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
        assert_eq!(world.deployment(&id).unwrap().env["K"], "old");
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
        assert_eq!(world.deployment(&slow).unwrap().stage, Stage::Ready);
        assert_eq!(serving(&world), quick);
    }

    #[test]
    fn the_deployment_that_a_fault_names_fails_and_the_next_does_not() {
        let mut world = world(&format!("{PROJECT}faults: [{{ on: vercel, deployment: 1, ends: ERROR }}]\n"));
        let first = deploy(&mut world, "0s");
        let second = deploy(&mut world, "1m");
        advance(&mut world, "5m");
        assert_eq!(world.deployment(&first).unwrap().stage, Stage::Error);
        assert_eq!(serving(&world), second);
    }

    #[test]
    fn the_outage_is_known_from_the_modes() {
        let mut world = world(&format!(
            "{PROJECT}timeline:
  - {{ at: 0s, clerk: server_error }}
  - {{ at: 1m, clerk_frontend: down }}
  - {{ at: 2m, clerk: up }}
  - {{ at: 3m, clerk_frontend: up }}
"
        ));
        assert_eq!(world.mode(StandIn::Clerk), Mode::ServerError, "what is on at the start is on at once");
        advance(&mut world, "10m");
        let window = Window { from: at(&world, "0s"), until: Some(at(&world, "3m")) };
        assert_eq!(world.sign_in_broken, [window]);
        assert_eq!(world.happenings.len(), 4);
    }

    #[test]
    fn time_in_one_leap_or_in_small_steps_comes_to_the_same() {
        let build = || {
            let mut world = world(&format!("{PROJECT}timeline: [{{ at: 30s, clerk: down }}]\n"));
            deploy(&mut world, "0s");
            world
        };
        let (mut leap, mut steps) = (build(), build());
        advance(&mut leap, "2m");
        for second in 0..=120 {
            advance(&mut steps, &format!("{second}s"));
        }
        assert_eq!(leap.happenings, steps.happenings);
        assert_eq!(leap.served, steps.served);
    }
}
