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
    /// A web page, as from a proxy that stands before the vendor.
    Page {
        /// Its status.
        status: u16,
    },
    /// It is done, and half of the answer arrives.
    Truncated,
    /// It is done, and the answer comes a byte a second, without end.
    Drip,
    /// The connection is reset; nothing was done.
    Reset,
    /// It is done and answered as it should be, but so much later.
    Slow(HumanDuration),
}

/// The answers that need no more than a word.
const WORDS: [(&str, FaultAnswer); 6] = [
    ("dropped", FaultAnswer::Dropped),
    ("lost", FaultAnswer::Lost),
    ("hang", FaultAnswer::Hang),
    ("truncated", FaultAnswer::Truncated),
    ("drip", FaultAnswer::Drip),
    ("reset", FaultAnswer::Reset),
];
const WORDS_ALONE: [&str; 6] = ["dropped", "lost", "hang", "truncated", "drip", "reset"];

impl<'de> Deserialize<'de> for FaultAnswer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Long {
            status: Option<u16>,
            retry_after: Option<HumanDuration>,
            #[serde(default)]
            html: bool,
            slow: Option<HumanDuration>,
        }
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = FaultAnswer;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a word such as `lost`, or a map: `status` with `retry_after` or `html`, or `slow`")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<FaultAnswer, E> {
                let known = WORDS.into_iter().find(|(word, _)| *word == text);
                known.map(|(_, answer)| answer).ok_or_else(|| E::unknown_variant(text, &WORDS_ALONE))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<FaultAnswer, A::Error> {
                match Long::deserialize(MapAccessDeserializer::new(map))? {
                    Long { status: Some(status), retry_after, html: false, slow: None } => {
                        Ok(FaultAnswer::Status { status, retry_after })
                    }
                    Long { status: Some(status), retry_after: None, html: true, slow: None } => {
                        Ok(FaultAnswer::Page { status })
                    }
                    Long { status: None, retry_after: None, html: false, slow: Some(late) } => {
                        Ok(FaultAnswer::Slow(late))
                    }
                    Long { .. } => Err(serde::de::Error::custom(
                        "an answer is `{ status, retry_after }`, `{ status, html: true }` or `{ slow }`",
                    )),
                }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_word_or_a_map_of_one_kind() {
        let read = |text: &str| serde_yaml::from_str::<FaultAnswer>(text);
        assert_eq!(WORDS.map(|(word, _)| word), WORDS_ALONE);
        for (word, answer) in WORDS {
            assert_eq!(read(word).unwrap(), answer);
        }
        assert_eq!(read("{ status: 502, html: true }").unwrap(), FaultAnswer::Page { status: 502 });
        assert_eq!(read("{ slow: 3s }").unwrap(), FaultAnswer::Slow("3s".parse().unwrap()));
        let throttled = FaultAnswer::Status { status: 429, retry_after: Some("20s".parse().unwrap()) };
        assert_eq!(read("{ status: 429, retry_after: 20s }").unwrap(), throttled);
        for wrong in ["{ status: 429, slow: 3s }", "{ html: true }", "{ retry_after: 3s }", "{}", "slow"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
