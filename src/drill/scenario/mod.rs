//! The scenario file: what is up, what breaks when, who answers the questions, and how it should end.

mod check;
mod expect;
mod explain;
mod fault;
mod setting;
mod timeline;

pub use expect::{Bypass, Decision, Expect, Leftovers, Verdict};
pub use fault::{Aliased, Ends, Fault, FaultAnswer};
pub use setting::{AppSetting, Family, PageSetting, Setting};
pub use timeline::{Behaviour, Mode, Moment, PageChange, PageState};

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::{Deserialize, Deserializer, Serialize};

use crate::base::{Code, Diagnostic, Digest, Secret, Source, Timestamp};

/// A rehearsal's script.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Its name.
    pub scenario: String,
    /// One sentence for people.
    pub title: String,
    /// The time in the scenario when the drill begins.
    #[serde(deserialize_with = "time")]
    pub starts: Timestamp,
    /// How many times faster than the world the drill's clock runs.
    #[serde(default = "default_speed")]
    pub speed: f64,
    /// The runbook's inputs in this rehearsal.
    #[serde(default)]
    pub inputs: IndexMap<String, serde_json::Value>,
    /// The runbook's secrets in this rehearsal; the stand-ins refuse every other value.
    #[serde(default)]
    pub secrets: IndexMap<String, String>,
    /// Which stand-in answers at which address.
    pub stand_ins: IndexMap<String, StandIn>,
    /// How the stand-ins are set up at the start.
    #[serde(default)]
    pub world: Setting,
    /// What happens to the world, in the scenario's time.
    #[serde(default)]
    pub timeline: Vec<Moment>,
    /// Single answers and deployments that go wrong.
    #[serde(default)]
    pub faults: Vec<Fault>,
    /// What people answer when no terminal is there to ask them, by step.
    #[serde(default)]
    pub decisions: BTreeMap<String, Decision>,
    /// How the rehearsal should end.
    #[serde(default)]
    pub expect: Expect,
    /// The digest of the file, so that a drill continues with the script it began with.
    #[serde(skip, default = "Digest::zero")]
    pub digest: Digest,
}

fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| {
        serde::de::Error::custom(format_args!("`{text}` is not a time; write for example `2026-02-19T16:11:00Z`"))
    })
}

fn default_speed() -> f64 {
    60.0
}

/// Who plays a vendor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StandIn {
    /// Clerk's Backend API.
    Clerk,
    /// Clerk's Frontend API, which browsers talk to.
    ClerkFrontend,
    /// A status page.
    StatusPage,
    /// Vercel's REST API.
    Vercel,
    /// The customer's app, with its health route and its emergency gate.
    App,
    /// Svix, which carries Clerk's webhooks.
    Svix,
    /// Slack's incoming webhooks.
    Slack,
    /// PagerDuty's Events API.
    Pagerduty,
}

impl StandIn {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Clerk,
        Self::ClerkFrontend,
        Self::StatusPage,
        Self::Vercel,
        Self::App,
        Self::Svix,
        Self::Slack,
        Self::Pagerduty,
    ];

    /// The name in a scenario file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Clerk => "clerk",
            Self::ClerkFrontend => "clerk_frontend",
            Self::StatusPage => "status_page",
            Self::Vercel => "vercel",
            Self::App => "app",
            Self::Svix => "svix",
            Self::Slack => "slack",
            Self::Pagerduty => "pagerduty",
        }
    }
}

impl fmt::Display for StandIn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl Scenario {
    /// Reads and checks a scenario file.
    pub fn load(path: &Path) -> Result<Self, Vec<Diagnostic>> {
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::read(&Source::new(name, text)),
            Err(error) => {
                let message = format!("cannot read the scenario: {error}");
                Err(vec![Diagnostic::whole_file(&Source::new(name, ""), Code::Unreadable, message)])
            }
        }
    }

    /// Reads and checks a scenario's text.
    pub fn read(source: &Arc<Source>) -> Result<Self, Vec<Diagnostic>> {
        let mut scenario: Self = serde_yaml::from_str(&source.text)
            .map_err(|error| vec![explain::explain(source, error.without_snippet())])?;
        scenario.digest = Digest::of(source.text.as_bytes());
        let findings = check::findings(source, &scenario);
        if findings.is_empty() { Ok(scenario) } else { Err(findings) }
    }

    /// The secrets as the engine takes them.
    pub fn secret_values(&self) -> Vec<(String, Secret)> {
        self.secrets.iter().map(|(name, value)| (name.clone(), Secret::new(value.clone()))).collect()
    }

    /// Is this stand-in part of the scenario?
    pub(super) fn plays(&self, stand_in: StandIn) -> bool {
        self.stand_ins.values().any(|played| *played == stand_in)
    }

    /// The host of the first address that a stand-in answers at.
    pub(super) fn host_of(&self, stand_in: StandIn) -> Option<&str> {
        let (origin, _) = self.stand_ins.iter().find(|(_, played)| **played == stand_in)?;
        origin.split_once("://").map(|(_, host)| host.trim_end_matches('/'))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A world with everything in it, for the other tests; `more` is appended to the file.
    pub(in super::super) fn scenario(more: &str) -> Scenario {
        scenario_of(&format!("{BASE}{more}"))
    }

    /// A scenario of this text.
    pub(in super::super) fn scenario_of(text: &str) -> Scenario {
        Scenario::read(&Source::new("test.yaml", text)).unwrap_or_else(|findings| {
            panic!("{}", findings.iter().map(|finding| finding.render(false)).collect::<String>())
        })
    }

    const BASE: &str = r#"
scenario: test
title: A test
starts: 2026-02-19T16:00:00Z
inputs: { project: shop }
secrets: { clerk: sk_test_drill, vercel: drill_token }
stand_ins:
  https://api.clerk.com: clerk
  https://clerk.shop.example.com: clerk_frontend
  https://status.clerk.com: status_page
  https://api.vercel.com: vercel
  https://shop.example.com: app
"#;

    const PROJECT: &str = "world: { vercel: { project: shop } }\n";

    fn findings(text: &str) -> Vec<String> {
        match Scenario::read(&Source::new("s.yaml", text)) {
            Ok(_) => Vec::new(),
            Err(findings) => findings.iter().map(|finding| finding.render(false)).collect(),
        }
    }

    #[test]
    fn a_misspelt_key_is_shown_with_its_place_and_the_right_one() {
        let text = format!("{BASE}{PROJECT}timeline:\n  - {{ at: 1m, clrk: down }}\n");
        assert_eq!(
            findings(&text),
            ["\
error[unknown-key]: unknown key `clrk`
  --> s.yaml:15:15
   |
15 |   - { at: 1m, clrk: down }
   |               ^^^^
   |
   = help: did you mean `clerk`?"]
        );
    }

    #[test]
    fn a_misspelt_mode_is_refused_with_the_nearest() {
        let text = format!("{BASE}{PROJECT}timeline:\n  - {{ at: 1m, clerk: rate_limitd }}\n");
        let found = findings(&text);
        assert!(found[0].contains("`rate_limitd` means nothing here"), "{found:?}");
        assert!(found[0].contains("did you mean `rate_limited`?"), "{found:?}");
        let text = format!("{BASE}{PROJECT}timeline:\n  - {{ at: 1m, status_page: {{ stat: ok }} }}\n");
        assert!(findings(&text)[0].contains("did you mean `state`?"), "{:?}", findings(&text));
    }

    #[test]
    fn everything_that_makes_no_sense_is_said_at_once() {
        let text = format!(
            "{}{}",
            BASE.replace("vercel: drill_token", "other: x").replace("https://shop.example.com:", "shop.example.com/x:"),
            "speed: 0.5
world: { vercel: { project: shop }, app: { project: shap } }
timeline: [{ at: 2m, clerk: down }, { at: 1m, clerk: up }]
faults:
  - { on: vercel, request: deployments, answer: lost }
  - { on: clerk, deployment: 1, ends: ERROR }
  - { on: vercel, nth: 0, deployment: 1, ends: ERROR }
expect: { outcome: sucess }
"
        );
        let found = findings(&text);
        let codes: Vec<&str> = found
            .iter()
            .filter_map(|text| text.split_once(']').and_then(|(code, _)| code.strip_prefix("error[")))
            .collect();
        assert_eq!(
            codes,
            [
                "invalid-speed",
                "invalid-address",
                "missing-secret",
                "unknown-project",
                "unordered",
                "unknown-request",
                "unclear-fault",
                "unclear-fault",
                "counting",
                "unknown-outcome"
            ],
            "{found:#?}"
        );
    }

    #[test]
    fn what_cannot_be_read_is_shown_with_its_place_and_a_way_out() {
        for (from, to, message, place, help) in [
            ("starts: 2026-02-19T16:00:00Z", "starts: today", "`today` is not a time", (4, 9), None),
            ("title: A test\n", "", "the key `title` is missing", (6, 1), Some("add `title: …`")),
            ("title: A test", "title: A\ntitle: B", "`title` is there twice", (4, 1), None),
            ("inputs: {", "timeline: [{ at: 5min }]\ninputs: {", "`5min` is not a duration", (5, 18), None),
            ("inputs: {", "timeline: [{ at: 5m, status_page: oky }]\ninputs: {", "`oky`", (5, 22), Some("`ok`")),
            ("inputs: {", "faults: [{ on: vercel, answer: losst }]\ninputs: {", "`losst`", (5, 24), Some("`lost`")),
        ] {
            let found = Scenario::read(&Source::new("s.yaml", BASE.replace(from, to))).unwrap_err();
            assert_eq!(found.len(), 1, "{to}");
            assert!(found[0].message.contains(message), "{to}: {}", found[0].message);
            assert_eq!(found[0].place(), Some(place), "{to}");
            let helped = found[0].help.as_deref();
            assert!(help.is_none_or(|help| helped.is_some_and(|helped| helped.contains(help))), "{to}: {helped:?}");
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_a_finding() {
        let found = Scenario::load(Path::new("no/such.yaml")).unwrap_err();
        assert_eq!(found[0].code, Code::Unreadable);
    }

    #[test]
    fn the_scenarios_that_come_with_it_are_sound() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("runbooks/drills");
        let mut read = 0;
        for file in std::fs::read_dir(folder).unwrap() {
            let scenario = Scenario::load(&file.unwrap().path());
            assert!(scenario.is_ok(), "{}", scenario.unwrap_err()[0].render(false));
            read += 1;
        }
        assert!(read >= 3, "{read}");
    }
}
