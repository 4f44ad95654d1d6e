//! The world's state: a pure machine. Requests change it, time moves it, and the same changes give the same state.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::clerk::{self, Flow, KeyChange, Keys, Population};
use super::observed::{Happening, LeftStanding, Refused, Why, Window, WriteKind};
use super::scenario::{Behaviour, Mode, PageState, Scenario, StandIn};
use super::svix::{self, Mail};
use super::{faults, pagerduty, slack, vercel};
use crate::base::Timestamp;
use crate::base::clock::after;

/// What a request changes. Record lines hold these; applying them again gives the same state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Change {
    /// Something about Clerk's users or their sessions.
    People(clerk::Change),
    /// Something was said in the Slack channel.
    Slack(slack::Change),
    /// Something about PagerDuty's alerts.
    Pagerduty(pagerduty::Change),
    /// Something about the webhooks that Svix carries.
    Svix(svix::Change),
    /// Something about the keys of Clerk's instance.
    Keys(KeyChange),
    /// Something of the project at Vercel. Its variants stand in records without a word of the vendor, so it comes last.
    #[serde(untagged)]
    Vercel(vercel::Change),
}

impl From<vercel::Change> for Change {
    fn from(change: vercel::Change) -> Self {
        Self::Vercel(change)
    }
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
    behaviours: BTreeMap<StandIn, Behaviour>,
    pub(super) page: Page,
    pub(super) vercel: vercel::State,
    pub(super) sign_in_broken: Vec<Window>,
    pub(super) writes: BTreeMap<WriteKind, u32>,
    pub(super) requests: BTreeMap<StandIn, u32>,
    pub(super) refused: Vec<Refused>,
    pub(super) happenings: Vec<Happening>,
    seen_by_faults: Vec<u32>,
    /// The keys of Clerk's instance.
    pub(super) keys: Keys,
    /// Clerk's users and their sessions.
    pub(super) people: Population,
    pub(super) slack: slack::State,
    pub(super) pagerduty: pagerduty::State,
    /// The webhooks that tell of these users.
    pub(super) mail: Mail,
}

/// Something that time brings.
enum Due {
    Moment(usize),
    Vercel(vercel::Due),
    People(Flow),
}

impl WorldState {
    /// The world before anything happened.
    pub(super) fn new(scenario: Arc<Scenario>) -> Self {
        let starts = scenario.starts;
        let people = Population::new(scenario.world.clerk.clone(), starts);
        let mail = Mail::new(scenario.world.svix.clone(), starts, &people.made());
        let mut world = Self {
            now: starts,
            next_moment: 0,
            behaviours: BTreeMap::new(),
            page: Page { state: PageState::Ok, incident: None, since: starts },
            vercel: vercel::State::new(&scenario),
            sign_in_broken: Vec::new(),
            writes: BTreeMap::new(),
            requests: BTreeMap::new(),
            refused: Vec::new(),
            happenings: Vec::new(),
            seen_by_faults: vec![0; scenario.faults.len()],
            people,
            mail,
            slack: slack::State::default(),
            pagerduty: pagerduty::State::default(),
            keys: Keys::new(&scenario.world.clerk, &scenario.secrets),
            scenario: Arc::clone(&scenario),
        };
        world.watch_sign_in();
        world.advance(starts);
        world
    }

    /// How a stand-in behaves now.
    pub(super) fn behaviour(&self, stand_in: StandIn) -> Behaviour {
        self.behaviours.get(&stand_in).copied().unwrap_or_default()
    }

    /// In which mode a stand-in is now.
    pub(super) fn mode(&self, stand_in: StandIn) -> Mode {
        self.behaviour(stand_in).mode
    }

    /// The mode that a stand-in seems to be in to somebody who needs it.
    pub(super) fn looks(&self, stand_in: StandIn) -> Mode {
        self.behaviour(stand_in).looks()
    }

    /// Does a stand-in refuse the next request because it refuses a share of them?
    pub(super) fn refuses_next(&self, stand_in: StandIn) -> bool {
        self.behaviour(stand_in).refuses(self.requests.get(&stand_in).copied().unwrap_or_default())
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
                Due::People(flow) => {
                    let open = self.looks(StandIn::Clerk) == Mode::Up && self.looks(StandIn::ClerkFrontend) == Mode::Up;
                    self.people.flow(flow, at, open);
                }
                Due::Vercel(due) => {
                    if let Some(told) = self.vercel.come(due, self.now) {
                        self.tell(told);
                        self.watch_sign_in();
                    }
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
        if asked.on == StandIn::Vercel && asked.why.is_none() {
            self.vercel.asked(&asked.method, &asked.path, self.now);
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
        let mut left = self.vercel.left_standing(self.now);
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
        if let Some((at, due)) = self.vercel.due() {
            offer(at, Due::Vercel(due));
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
        for (stand_in, behaviour) in moment.modes() {
            self.behaviours.insert(stand_in, behaviour);
            told.push(format!("{stand_in} is {behaviour}"));
        }
        if let Some(page) = &moment.status_page {
            if let Some(state) = page.state {
                self.page = Page { state, incident: page.incident.clone(), since: self.now };
                told.push(format!("the status page says {}", word(&state)));
            } else if page.incident.is_some() {
                self.page.incident.clone_from(&page.incident);
            }
        }
        if let Some(app) = moment.pushed {
            self.vercel.pushed(app, self.now);
            told.push("somebody pushes to the production branch".to_owned());
        }
        if let Some(done) = &moment.clerk_keys {
            told.extend(self.keys.by_hand(done, &scenario.secrets, self.now));
        }
        self.tell(moment.note.clone().unwrap_or_else(|| told.join(", ")));
        self.watch_sign_in();
    }

    /// Opens and closes the windows in which nobody can sign in.
    fn watch_sign_in(&mut self) {
        let broken = super::app::sign_in_broken(self.looks(StandIn::Clerk), self.looks(StandIn::ClerkFrontend))
            || self.vercel.serving().is_some_and(|serving| serving.app == vercel::Serves::Broken);
        let open = self.sign_in_broken.last_mut().filter(|window| window.until.is_none());
        match (open, broken) {
            (None, true) => self.sign_in_broken.push(Window { from: self.now, until: None }),
            (Some(window), false) => window.until = Some(self.now),
            (None, false) | (Some(_), true) => {}
        }
    }

    fn change(&mut self, change: &Change) {
        let kind = match change {
            Change::People(change) => {
                self.people.change(change, self.now);
                change.kind()
            }
            Change::Slack(change) => self.slack.change(change, self.now),
            Change::Pagerduty(change) => self.pagerduty.change(change, self.now),
            Change::Svix(change) => {
                self.mail.change(change, self.now, &self.people.made());
                change.kind()
            }
            Change::Keys(change) => {
                self.keys.change(change, self.now);
                WriteKind::KeyRotated
            }
            Change::Vercel(change) => self.vercel.change(change, self.now),
        };
        *self.writes.entry(kind).or_default() += 1;
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
        let id = world.vercel.next_deployment_id();
        let change = vercel::Change::Deployed { id: id.clone(), production: true, source: None, meta: BTreeMap::new() };
        write(world, when, Change::Vercel(change));
        id
    }

    fn advance(world: &mut WorldState, to: &str) {
        let to = at(world, to);
        world.advance(to);
    }

    const PROJECT: &str = "world: { vercel: { project: shop, queue_time: 2s, build_time: 40s, alias_time: 5s } }\n";

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
        assert_eq!(leap.vercel.served, steps.vercel.served);
    }
}
