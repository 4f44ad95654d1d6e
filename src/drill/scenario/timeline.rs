//! What happens to the world and when: `timeline` in a scenario.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_yaml::Spanned;

use super::StandIn;
use crate::base::HumanDuration;
use crate::drill::vercel::Serves;

/// How a stand-in behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// As it should.
    #[default]
    Up,
    /// Closes every connection without an answer.
    Down,
    /// Takes the request and says nothing for a long time.
    Hang,
    /// Answers 500.
    ServerError,
    /// Answers 429 with `Retry-After`.
    RateLimited,
    /// Answers with a web page where data was asked for.
    Html,
    /// Reads work, writes are refused with 503.
    Maintenance,
    /// Refuses the right key as well, as after a rotation.
    KeyRefused,
}

/// Something that happens to the world.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moment {
    /// When, since the start.
    pub at: Spanned<HumanDuration>,
    /// Clerk's Backend API from then on.
    pub clerk: Option<Mode>,
    /// Clerk's Frontend API from then on.
    pub clerk_frontend: Option<Mode>,
    /// Vercel's API from then on.
    pub vercel: Option<Mode>,
    /// The customer's app from then on.
    pub app: Option<Mode>,
    /// Svix from then on.
    pub svix: Option<Mode>,
    /// Slack from then on.
    pub slack: Option<Mode>,
    /// PagerDuty from then on.
    pub pagerduty: Option<Mode>,
    /// The status page from then on.
    pub status_page: Option<PageChange>,
    /// Somebody pushes to the production branch, and Vercel builds that: what the application is with it.
    pub pushed: Option<Serves>,
    /// What to tell people about it.
    pub note: Option<String>,
}

impl Moment {
    /// The modes it sets.
    pub(in crate::drill) fn modes(&self) -> impl Iterator<Item = (StandIn, Mode)> {
        [
            (StandIn::Clerk, self.clerk),
            (StandIn::ClerkFrontend, self.clerk_frontend),
            (StandIn::Vercel, self.vercel),
            (StandIn::App, self.app),
            (StandIn::Svix, self.svix),
            (StandIn::Slack, self.slack),
            (StandIn::Pagerduty, self.pagerduty),
            (StandIn::StatusPage, self.status_page.as_ref().and_then(|page| page.mode)),
        ]
        .into_iter()
        .filter_map(|(stand_in, mode)| mode.map(|mode| (stand_in, mode)))
    }
}

/// What a status page says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PageState {
    /// All systems operational.
    #[default]
    Ok,
    /// Some components are degraded.
    Degraded,
    /// A major outage.
    Outage,
    /// Maintenance is under way.
    Maintenance,
}

/// A change of the status page: `ok`, or `{ state: degraded, incident: "…" }`, or `{ mode: html }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageChange {
    /// What it says from then on; `None` leaves it as it is.
    pub state: Option<PageState>,
    /// The name of the incident it shows.
    pub incident: Option<String>,
    /// How it behaves from then on.
    pub mode: Option<Mode>,
}

impl<'de> Deserialize<'de> for PageChange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Long {
            state: Option<PageState>,
            incident: Option<String>,
            mode: Option<Mode>,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = PageChange;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`ok`, `degraded`, `outage`, `maintenance` or a map with `state`, `incident` and `mode`")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<PageChange, E> {
                let state = PageState::deserialize(serde::de::value::StrDeserializer::new(text))?;
                Ok(PageChange { state: Some(state), incident: None, mode: None })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<PageChange, A::Error> {
                let Long { state, incident, mode } = Long::deserialize(MapAccessDeserializer::new(map))?;
                Ok(PageChange { state, incident, mode })
            }
        }
        deserializer.deserialize_any(Either)
    }
}
