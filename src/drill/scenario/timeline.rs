//! What happens to the world and when: `timeline` in a scenario.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_yaml::Spanned;

use super::StandIn;
use crate::base::HumanDuration;
use crate::drill::clerk::KeysByHand;
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
    /// Answers with the first half of what it has to say.
    Truncated,
    /// Answers a byte a second, without end.
    Drip,
    /// Resets every connection once the request has arrived.
    Reset,
    /// Who is signed in stays so, because sessions are refreshed; everything else is refused with 429.
    SessionsOnly,
}

/// How a stand-in behaves from a moment on: `down`, or `{ mode: up, refused: 95%, slow: 8s }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Behaviour {
    /// What it does with the requests that it deals with.
    pub mode: Mode,
    /// The share of requests that it refuses with 429 instead, in percent; the same ones in every drill.
    pub refused: u8,
    /// How much later the others are answered.
    pub slow: HumanDuration,
}

impl Behaviour {
    /// Does it refuse this request, the one after so many others?
    pub(in crate::drill) fn refuses(self, asked_before: u32) -> bool {
        // The accepted ones are spread evenly: each time their share adds up to one more.
        let accepted = |asked: u64| asked * u64::from(100 - self.refused.min(100)) / 100;
        accepted(u64::from(asked_before) + 1) == accepted(u64::from(asked_before))
    }

    /// What it looks like to somebody who needs it: a vendor that refuses most is one that refuses.
    pub(in crate::drill) fn looks(self) -> Mode {
        if self.mode == Mode::Up && self.refused >= 50 { Mode::RateLimited } else { self.mode }
    }
}

impl fmt::Display for Behaviour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = serde_json::to_value(self.mode).ok();
        f.write_str(mode.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default())?;
        if self.refused > 0 {
            write!(f, ", refusing {}%", self.refused)?;
        }
        if !self.slow.0.is_zero() {
            write!(f, ", {} late", self.slow)?;
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Behaviour {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Long {
            #[serde(default)]
            mode: Mode,
            #[serde(default, deserialize_with = "percent")]
            refused: u8,
            #[serde(default)]
            slow: HumanDuration,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = Behaviour;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a mode such as `down`, or a map with `mode`, `refused` and `slow`")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Behaviour, E> {
                let mode = Mode::deserialize(serde::de::value::StrDeserializer::new(text))?;
                Ok(Behaviour { mode, ..Behaviour::default() })
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Behaviour, A::Error> {
                let Long { mode, refused, slow } = Long::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Behaviour { mode, refused, slow })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

fn percent<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    let text = String::deserialize(deserializer)?;
    let number = text.strip_suffix('%').and_then(|number| number.trim().parse().ok()).filter(|number| *number <= 100);
    number.ok_or_else(|| serde::de::Error::custom(format_args!("`{text}` is not a share; write for example `95%`")))
}

/// Something that happens to the world.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moment {
    /// When, since the start.
    pub at: Spanned<HumanDuration>,
    /// Clerk's Backend API from then on.
    pub clerk: Option<Behaviour>,
    /// Clerk's Frontend API from then on.
    pub clerk_frontend: Option<Behaviour>,
    /// Vercel's API from then on.
    pub vercel: Option<Behaviour>,
    /// The customer's app from then on.
    pub app: Option<Behaviour>,
    /// Svix from then on.
    pub svix: Option<Behaviour>,
    /// Slack from then on.
    pub slack: Option<Behaviour>,
    /// PagerDuty from then on.
    pub pagerduty: Option<Behaviour>,
    /// What somebody does with the keys of Clerk's instance in its dashboard.
    pub clerk_keys: Option<KeysByHand>,
    /// The status page from then on.
    pub status_page: Option<PageChange>,
    /// Somebody pushes to the production branch, and Vercel builds that: what the application is with it.
    pub pushed: Option<Serves>,
    /// What to tell people about it.
    pub note: Option<String>,
}

impl Moment {
    /// The modes it sets.
    pub(in crate::drill) fn modes(&self) -> impl Iterator<Item = (StandIn, Behaviour)> {
        [
            (StandIn::Clerk, self.clerk),
            (StandIn::ClerkFrontend, self.clerk_frontend),
            (StandIn::Vercel, self.vercel),
            (StandIn::App, self.app),
            (StandIn::Svix, self.svix),
            (StandIn::Slack, self.slack),
            (StandIn::Pagerduty, self.pagerduty),
            (
                StandIn::StatusPage,
                self.status_page
                    .as_ref()
                    .and_then(|page| page.mode.map(|mode| Behaviour { mode, ..Behaviour::default() })),
            ),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_of_requests_is_refused_and_always_the_same() {
        for (refused, expected) in [(0, 0), (1, 1), (50, 50), (95, 95), (99, 99), (100, 100)] {
            let behaviour = Behaviour { refused, ..Behaviour::default() };
            let told: Vec<bool> = (0..100).map(|asked| behaviour.refuses(asked)).collect();
            assert_eq!(told.iter().filter(|refused| **refused).count(), expected);
        }
        let mostly = Behaviour { refused: 95, ..Behaviour::default() };
        let accepted: Vec<u32> = (0..100).filter(|asked| !mostly.refuses(*asked)).collect();
        assert_eq!(accepted, [19, 39, 59, 79, 99]);
        assert_eq!((mostly.looks(), mostly.to_string().as_str()), (Mode::RateLimited, "up, refusing 95%"));
    }

    #[test]
    fn a_behaviour_is_a_word_or_a_map() {
        let read = |text: &str| serde_yaml::from_str::<Behaviour>(text);
        assert_eq!(read("down").unwrap(), Behaviour { mode: Mode::Down, ..Behaviour::default() });
        let slow = read("{ refused: 95%, slow: 8s }").unwrap();
        assert_eq!((slow.mode, slow.refused, slow.slow.0.as_secs()), (Mode::Up, 95, 8));
        for wrong in ["{ refused: 950% }", "{ refused: 95 }", "{ refuse: 9% }", "dwn", "{ slow: soon }"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
