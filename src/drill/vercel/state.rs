//! The project's state: its variables, its deployments and what the domain points at. Requests change it, time moves it on.

mod things;

pub(in crate::drill) use things::{Change, Deployment, EnvKind, EnvRow, Move, MoveKind, MoveStage, Stage, Target};

use std::collections::BTreeMap;
use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::Value;

use super::setting::{Serves, VercelSetting};
use crate::base::Timestamp;
use crate::base::clock::after;
use crate::drill::faults;
use crate::drill::observed::{LeftStanding, WriteKind};
use crate::drill::scenario::{Aliased, Ends, Scenario};

/// The project at one moment.
#[derive(Debug, Clone)]
pub(in crate::drill) struct State {
    scenario: Arc<Scenario>,
    pub(in crate::drill) rows: IndexMap<String, EnvRow>,
    rows_made: u32,
    /// Oldest first.
    pub(in crate::drill) deployments: Vec<Deployment>,
    /// Which deployment serves from when; the last one does now.
    pub(in crate::drill) served: Vec<(Timestamp, String)>,
    /// Set by a rollback: the deployment the project is pinned to.
    pub(in crate::drill) pinned: Option<String>,
    pub(in crate::drill) last_move: Option<Move>,
    pub(in crate::drill) edge_items: IndexMap<String, Value>,
    /// When each of the limits was last counted against.
    recent: Vec<Vec<Timestamp>>,
    at_the_start: AtTheStart,
}

/// What the state is compared with in the end.
#[derive(Debug, Clone, Default)]
struct AtTheStart {
    rows: Vec<EnvRow>,
    deployments: usize,
    serving: Option<String>,
    pinned: Option<String>,
    edge_items: IndexMap<String, Value>,
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
        let mut state = Self {
            rows: IndexMap::new(),
            rows_made: 0,
            deployments: Vec::new(),
            served: Vec::new(),
            pinned: None,
            last_move: None,
            edge_items: IndexMap::new(),
            recent: Vec::new(),
            at_the_start: AtTheStart::default(),
            scenario: Arc::clone(scenario),
        };
        let Some(vercel) = &scenario.world.vercel else { return state };
        state.first_rows(vercel);
        state.first_deployments(vercel);
        state.edge_items = vercel.edge_config.as_ref().map(|config| config.items.clone()).unwrap_or_default();
        state.recent = vec![Vec::new(); vercel.limits.len()];
        state.at_the_start = AtTheStart {
            rows: state.rows.values().cloned().collect(),
            deployments: state.deployments.len(),
            serving: state.serving().map(|serving| serving.id.clone()),
            pinned: state.pinned.clone(),
            edge_items: state.edge_items.clone(),
        };
        state
    }

    fn first_rows(&mut self, vercel: &VercelSetting) {
        let plain = vercel.environment.iter().map(|(key, value)| EnvRow {
            key: key.clone(),
            value: value.clone(),
            kind: EnvKind::Encrypted,
            target: vec![Target::Production],
            comment: None,
            branch: None,
            integration: None,
            id: String::new(),
            created: self.scenario.starts,
            updated: self.scenario.starts,
        });
        let others = vercel.variables.iter().map(|variable| EnvRow {
            key: variable.key.clone(),
            value: variable.value.clone(),
            kind: variable.kind,
            target: variable.target.clone(),
            comment: variable.comment.clone(),
            branch: variable.branch.clone(),
            integration: variable.integration.clone(),
            id: String::new(),
            created: self.scenario.starts,
            updated: self.scenario.starts,
        });
        for row in plain.chain(others).collect::<Vec<_>>() {
            let row = EnvRow { id: self.next_row_id(0), ..row };
            self.rows_made += 1;
            self.rows.insert(row.id.clone(), row);
        }
    }

    fn first_deployments(&mut self, vercel: &VercelSetting) {
        let serving = vercel.serving();
        for (index, past) in vercel.history.iter().enumerate() {
            let created = self.scenario.starts.saturating_sub(past.ago.0).unwrap_or(Timestamp::MIN);
            let id = self.next_deployment_id();
            let ready = past.ends == Ends::Ready;
            // What is newer than the one that the project is pinned to may have served before it was rolled back.
            let served = ready && serving.is_some_and(|(at, pinned)| pinned || index <= at);
            self.deployments.push(Deployment {
                id: id.clone(),
                production: true,
                source: None,
                meta: BTreeMap::new(),
                created,
                building_at: created,
                built_at: created,
                ends: past.ends,
                aliased: None,
                app: past.serves,
                rolling: false,
                log: past.log.clone(),
                stage: past.ends.into(),
                alias_at: None,
                served_from: served.then_some(created),
                env: self.frozen_env(Target::Production),
            });
            if served {
                self.served.push((created, id));
            }
        }
        if let Some((at, pinned)) = serving {
            let id = self.deployments[at].id.clone();
            if pinned {
                self.pinned = Some(id.clone());
                self.served.push((self.scenario.starts, id));
            }
        }
    }

    /// The deployment that the domain points at.
    pub(in crate::drill) fn serving(&self) -> Option<&Deployment> {
        self.served.last().and_then(|(_, id)| self.deployment(id))
    }

    /// The deployment that served before the one that does.
    pub(in crate::drill) fn served_before(&self) -> Option<&str> {
        let (_, serving) = self.served.last()?;
        self.served.iter().rev().map(|(_, id)| id.as_str()).find(|id| id != serving)
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
        self.last_move.as_ref().is_some_and(|moved| matches!(moved.stage, MoveStage::Waiting | MoveStage::Underway))
    }

    /// Is a rolling release under way?
    pub(in crate::drill) fn is_rolling(&self) -> bool {
        self.deployments.iter().any(|deployment| deployment.rolling)
    }

    /// Counts a request against the limits.
    pub(in crate::drill) fn asked(&mut self, method: &str, path: &str, now: Timestamp) {
        let Some(vercel) = &self.scenario.world.vercel else { return };
        for (limit, recent) in vercel.limits.iter().zip(&mut self.recent) {
            if faults::fits(&limit.request, method, path) {
                recent.retain(|at| after(*at, limit.within.0) > now);
                recent.push(now);
            }
        }
    }

    /// The limit that a request would break: how many requests it allows, and when the next may come.
    pub(in crate::drill) fn limited(&self, method: &str, path: &str, now: Timestamp) -> Option<(u32, Timestamp)> {
        let vercel = self.scenario.world.vercel.as_ref()?;
        vercel.limits.iter().zip(&self.recent).find_map(|(limit, recent)| {
            let mut counted = recent.iter().filter(|at| after(**at, limit.within.0) > now);
            let first = counted.clone().next().copied().unwrap_or(now);
            let full = counted.by_ref().count() >= usize::try_from(limit.requests).unwrap_or(usize::MAX);
            (full && faults::fits(&limit.request, method, path)).then(|| (limit.requests, after(first, limit.within.0)))
        })
    }

    /// What is there now that was not there at the start.
    pub(in crate::drill) fn left_standing(&self, now: Timestamp) -> Vec<LeftStanding> {
        let mut left = Vec::new();
        let name = |row: &EnvRow| row.key.clone();
        let start = &self.at_the_start;
        let same = |one: &EnvRow, other: &EnvRow| {
            one.key == other.key && one.target == other.target && one.branch == other.branch
        };
        for row in self.rows.values() {
            match start.rows.iter().find(|old| same(old, row)) {
                None => left.push(LeftStanding::VariableAdded(name(row))),
                Some(old) if old.value != row.value => left.push(LeftStanding::VariableChanged(name(row))),
                Some(_) => {}
            }
        }
        for old in &start.rows {
            if !self.rows.values().any(|row| same(row, old)) {
                left.push(LeftStanding::VariableRemoved(name(old)));
            }
        }
        if let Some(serving) = self.serving() {
            if crate::drill::app::policy(&serving.env, now).active {
                left.push(LeftStanding::BypassInForce(serving.id.clone()));
            }
            if serving.app == Serves::Broken && start.serving.as_ref() != Some(&serving.id) {
                left.push(LeftStanding::BrokenServes(serving.id.clone()));
            }
        }
        if let Some(rolling) = self.deployments.iter().find(|deployment| deployment.rolling) {
            left.push(LeftStanding::RollingRelease(rolling.id.clone()));
        }
        if let Some(pinned) = self.pinned.as_ref().filter(|pinned| start.pinned.as_ref() != Some(pinned)) {
            left.push(LeftStanding::ProjectPinned(pinned.clone()));
        }
        let keys =
            self.edge_items.keys().chain(start.edge_items.keys().filter(|key| !self.edge_items.contains_key(*key)));
        for key in keys {
            if self.edge_items.get(key) != start.edge_items.get(key) {
                left.push(LeftStanding::EdgeConfigChanged(key.clone()));
            }
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
        if let Some(moved) = self.last_move.as_ref().filter(|moved| moved.stage == MoveStage::Underway) {
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
        let takes_the_domain = self.takes_the_domain(index);
        let rolls = self.scenario.world.vercel.as_ref().is_some_and(|vercel| vercel.rolling_release);
        let alias_time = self.alias_time();
        let deployment = &mut self.deployments[index];
        deployment.stage = deployment.ends.into();
        if deployment.stage == Stage::Ready && takes_the_domain {
            if rolls {
                deployment.rolling = true;
            } else {
                deployment.alias_at = Some(after(deployment.built_at, alias_time));
            }
        }
        format!("deployment {} is {}", deployment.id, deployment.stage.word())
    }

    fn alias_time(&self) -> std::time::Duration {
        self.scenario.world.vercel.as_ref().map(|vercel| vercel.alias_time.0).unwrap_or_default()
    }

    /// A new deployment takes the domain unless the project is pinned, or something newer has it already.
    fn takes_the_domain(&self, index: usize) -> bool {
        let newest_served = self.deployments.iter().rposition(|deployment| deployment.served_from.is_some());
        self.deployments[index].production
            && self.deployments[index].aliased.is_none()
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
        let to = self.last_move.as_ref()?.to.clone();
        let never = self.deployment(&to).is_some_and(|deployment| deployment.aliased == Some(Aliased::Never));
        let moved = self.last_move.as_mut()?;
        if never {
            moved.stage = MoveStage::Failed;
            return Some(format!("the domain could not be pointed at deployment {to}"));
        }
        moved.stage = MoveStage::Succeeded;
        self.pinned = match moved.kind {
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
                let waits = *kind == MoveKind::Promote && self.is_rolling();
                if *kind == MoveKind::Rollback {
                    // Whoever rolls back ends what was being rolled out.
                    for deployment in &mut self.deployments {
                        deployment.rolling = false;
                    }
                }
                self.last_move = Some(Move {
                    kind: *kind,
                    from: self.serving().map(|serving| serving.id.clone()).unwrap_or_default(),
                    to: to.clone(),
                    requested: now,
                    done_at: after(now, self.alias_time()),
                    stage: if waits { MoveStage::Waiting } else { MoveStage::Underway },
                });
                match kind {
                    MoveKind::Promote => WriteKind::Promoted,
                    MoveKind::Rollback => WriteKind::RolledBack,
                }
            }
            Change::Completed { id } => {
                self.complete(id, now);
                WriteKind::RollingCompleted
            }
            Change::EdgeConfigSet { set, removed } => {
                self.edge_items.extend(set.clone());
                for key in removed {
                    self.edge_items.shift_remove(key);
                }
                WriteKind::EdgeConfigSet
            }
        }
    }

    fn complete(&mut self, id: &str, now: Timestamp) {
        let at = after(now, self.alias_time());
        for deployment in self.deployments.iter_mut().filter(|deployment| deployment.id == id) {
            deployment.rolling = false;
            deployment.alias_at = Some(at);
        }
        // What waited for the rolling release goes on after it.
        if let Some(moved) = self.last_move.as_mut().filter(|moved| moved.stage == MoveStage::Waiting) {
            moved.stage = MoveStage::Underway;
            moved.done_at = after(at, std::time::Duration::from_secs(1));
        }
    }

    /// Somebody pushes to the production branch.
    pub(in crate::drill) fn pushed(&mut self, app: Serves, now: Timestamp) {
        let id = self.next_deployment_id();
        self.deploy(&id, true, None, BTreeMap::new(), now);
        if let Some(made) = self.deployments.last_mut() {
            made.app = app;
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
        let number = u32::try_from(self.deployments.len() + 1 - self.at_the_start.deployments).unwrap_or(u32::MAX);
        let fate = faults::of_deployment(&self.scenario.faults, number);
        let building_at = after(now, vercel.queue_time.0);
        let built_at = after(building_at, fate.takes.unwrap_or(vercel.build_time).0);
        let built_from = source.as_deref().and_then(|source| self.deployment(source));
        let env = match built_from {
            Some(source) if vercel.redeploy_inherits_env => source.env.clone(),
            _ => self.frozen_env(if production { Target::Production } else { Target::Preview }),
        };
        // The same commit built again is as good or as bad as it was.
        let app = fate.serves.or(built_from.map(|source| source.app)).unwrap_or_default();
        self.deployments.push(Deployment {
            id: id.to_owned(),
            production,
            source,
            meta,
            created: now,
            building_at,
            built_at,
            ends: fate.ends,
            aliased: fate.aliased,
            app,
            rolling: false,
            log: Vec::new(),
            stage: Stage::Queued,
            alias_at: None,
            served_from: None,
            env,
        });
    }

    fn frozen_env(&self, target: Target) -> BTreeMap<String, String> {
        let applies = self.rows.values().filter(|row| row.target.contains(&target) && row.branch.is_none());
        applies.map(|row| (row.key.clone(), row.value.clone())).collect()
    }
}

impl From<Ends> for Stage {
    fn from(ends: Ends) -> Self {
        match ends {
            Ends::Ready => Self::Ready,
            Ends::Error => Self::Error,
            Ends::Blocked => Self::Blocked,
            Ends::Canceled => Self::Canceled,
        }
    }
}

#[cfg(test)]
mod tests;
