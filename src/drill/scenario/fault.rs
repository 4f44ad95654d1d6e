//! Single things that go wrong: `faults` in a scenario.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_yaml::Spanned;

use super::StandIn;
use crate::base::HumanDuration;
use crate::drill::vercel::Serves;

/// A single thing that goes wrong: an answer (`request`, `nth`, `answer`) or a deployment (`deployment`,
/// and `ends`, `takes`, `aliased` or `serves`).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// Which stand-in.
    pub on: Spanned<StandIn>,
    /// Which request: method and path, `*` for any one segment.
    pub request: Option<String>,
    /// Which of the matching requests, from 1.
    pub nth: Option<u32>,
    /// How many in a row.
    pub times: Option<u32>,
    /// What it gets instead.
    pub answer: Option<FaultAnswer>,
    /// Which of the deployments made during the drill, from 1.
    pub deployment: Option<u32>,
    /// How it ends.
    pub ends: Option<Ends>,
    /// How long its build takes.
    pub takes: Option<HumanDuration>,
    /// Does it get the domain?
    pub aliased: Option<Aliased>,
    /// What the application is when this deployment serves.
    pub serves: Option<Serves>,
}

/// What a request gets instead of its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FaultAnswer {
    /// The connection closes; nothing was done.
    Dropped,
    /// It is done, and then the connection closes: the answer is lost on the way.
    Lost,
    /// Nothing is said for a long time, and nothing was done.
    Hang,
    /// Another status.
    Status {
        /// The status.
        status: u16,
        /// The `Retry-After` header.
        retry_after: Option<HumanDuration>,
    },
}

impl<'de> Deserialize<'de> for FaultAnswer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Long {
            status: u16,
            retry_after: Option<HumanDuration>,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = FaultAnswer;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`dropped`, `lost`, `hang` or a map with `status` and `retry_after`")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<FaultAnswer, E> {
                match text {
                    "dropped" => Ok(FaultAnswer::Dropped),
                    "lost" => Ok(FaultAnswer::Lost),
                    "hang" => Ok(FaultAnswer::Hang),
                    other => Err(E::unknown_variant(other, &["dropped", "lost", "hang"])),
                }
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<FaultAnswer, A::Error> {
                let Long { status, retry_after } = Long::deserialize(MapAccessDeserializer::new(map))?;
                Ok(FaultAnswer::Status { status, retry_after })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// Does a deployment that is ready get the domain?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Aliased {
    /// Never: not by itself, and a promote of it fails.
    Never,
    /// Not by itself; a promote of it works.
    OnPromote,
}

/// How a deployment ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Ends {
    /// Built.
    #[default]
    Ready,
    /// The build failed.
    Error,
    /// Held back by the vendor.
    Blocked,
    /// Cancelled by somebody else.
    Canceled,
}
