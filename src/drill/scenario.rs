//! The scenario file: what is up, what breaks when, who answers the questions, and how it should end.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use indexmap::IndexMap;
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_yaml::{Error as YamlError, Spanned};

use super::clerk::ClerkSetting;
use super::observed::Observed;
use crate::base::diagnostic::nearest;
use crate::base::{Code, Diagnostic, Digest, HumanDuration, Secret, Source, Span, Timestamp};

/// How a run may end, in the words of `expect.outcome`.
const OUTCOMES: [&str; 8] =
    ["succeeded", "failed", "rolled_back", "stuck", "cancelled", "rejected", "waiting", "in_doubt"];

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

/// How the stand-ins are set up.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Setting {
    /// The status page.
    #[serde(default)]
    pub status_page: PageSetting,
    /// The project on Vercel.
    pub vercel: Option<VercelSetting>,
    /// The customer's app.
    pub app: Option<AppSetting>,
    /// The instance at Clerk.
    #[serde(default)]
    pub clerk: ClerkSetting,
}

/// Which family of status page is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Atlassian Statuspage.
    #[default]
    Statuspage,
    /// incident.io, with the Statuspage-like answers its pages give.
    IncidentIo,
    /// incident.io, with nothing but its widget's own answer.
    IncidentIoWidget,
}

/// The status page.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageSetting {
    /// Its family.
    #[serde(default)]
    pub family: Family,
}

/// The project on Vercel at the start: one deployment that serves, and its environment.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VercelSetting {
    /// The project's name; its id is `prj_drill_` and the name.
    pub project: String,
    /// The team it belongs to: id or slug. Requests must then say which team they mean.
    pub team: Option<String>,
    /// How long a deployment waits before it is built.
    #[serde(default = "default_queue_time")]
    pub queue_time: HumanDuration,
    /// How long a build takes.
    #[serde(default = "default_build_time")]
    pub build_time: HumanDuration,
    /// How long it takes to point the domain at a deployment.
    #[serde(default = "default_alias_time")]
    pub alias_time: HumanDuration,
    /// The production environment.
    #[serde(default)]
    pub environment: IndexMap<String, String>,
    /// Does a new production deployment get the domain by itself?
    #[serde(default = "yes")]
    pub auto_alias: bool,
}

fn default_queue_time() -> HumanDuration {
    HumanDuration(std::time::Duration::from_secs(2))
}

fn default_build_time() -> HumanDuration {
    HumanDuration(std::time::Duration::from_secs(40))
}

fn default_alias_time() -> HumanDuration {
    HumanDuration(std::time::Duration::from_secs(5))
}

fn yes() -> bool {
    true
}

/// The customer's app.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AppSetting {
    /// The project whose serving deployment it is.
    pub project: Spanned<String>,
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
    /// What to tell people about it.
    pub note: Option<String>,
}

impl Moment {
    /// The modes it sets.
    pub(super) fn modes(&self) -> impl Iterator<Item = (StandIn, Mode)> {
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

/// A single thing that goes wrong: an answer (`request`, `nth`, `answer`) or a deployment (`deployment`, `ends`, `takes`).
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

/// How a deployment ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Ends {
    /// Built.
    Ready,
    /// The build failed.
    Error,
    /// Held back by the vendor.
    Blocked,
    /// Cancelled by somebody else.
    Canceled,
}

/// What a person decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Yes.
    Approve,
    /// No.
    Reject,
    /// Nothing is said.
    Silence,
}

/// What a person answers at a gate.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Decision {
    /// Yes, no, or nothing.
    pub decision: Verdict,
    /// Who: `user:NAME`.
    pub by: String,
    /// How long after the question.
    #[serde(default)]
    pub after: HumanDuration,
    /// What they fill in.
    #[serde(default)]
    pub answers: BTreeMap<String, serde_json::Value>,
}

/// How the rehearsal should end.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// The run's outcome.
    pub outcome: Option<Spanned<String>>,
    /// What may be left of the measures taken.
    pub left_standing: Option<Leftovers>,
    /// Whether the app's bypass was to be in force at some time.
    pub bypass: Option<Bypass>,
    /// How many of the sessions that were live at the start are to be so at the end.
    pub sessions_left: Option<u32>,
    /// How many requests the vendors may have refused because there were too many.
    pub throttled_at_most: Option<u32>,
}

/// What may be left standing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leftovers {
    /// Nothing.
    Nothing,
    /// Something has to be: the measure is still needed.
    Something,
}

/// Whether the bypass was to be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bypass {
    /// At some time it was to be in force.
    Opened,
    /// It was never to be in force.
    NeverOpened,
}

impl Expect {
    /// What the world shows otherwise than expected, one sentence each. The run's outcome is not the world's to judge.
    pub fn missed_by(&self, seen: &Observed) -> Vec<String> {
        let mut missed = Vec::new();
        match self.left_standing {
            Some(Leftovers::Nothing) => {
                missed.extend(seen.left_standing.iter().map(|left| format!("left standing: {left}")));
            }
            Some(Leftovers::Something) if seen.left_standing.is_empty() => {
                missed.push("nothing is left standing, and something should be".to_owned());
            }
            Some(Leftovers::Something) | None => {}
        }
        match self.bypass {
            Some(Bypass::Opened) if seen.bypass_in_force.is_empty() => {
                missed.push("the bypass was never in force, and should have been".to_owned());
            }
            Some(Bypass::NeverOpened) if !seen.bypass_in_force.is_empty() => {
                missed.push("the bypass was in force, and should never have been".to_owned());
            }
            Some(Bypass::Opened | Bypass::NeverOpened) | None => {}
        }
        let left = seen.sessions.left_of_the_start;
        if let Some(expected) = self.sessions_left.filter(|expected| *expected != left) {
            missed.push(format!("{left} sessions of the start are live, and {expected} should be"));
        }
        let throttled = seen.refused.iter().filter(|refused| refused.status == Some(429)).count();
        if self.throttled_at_most.is_some_and(|most| throttled > most as usize) {
            missed.push(format!("{throttled} requests were one too many for a vendor's limit"));
        }
        missed
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
        let mut scenario: Self =
            serde_yaml::from_str(&source.text).map_err(|error| vec![explain(source, error.without_snippet())])?;
        scenario.digest = Digest::of(source.text.as_bytes());
        let findings = Check { source, findings: Vec::new() }.all(&scenario);
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

/// What cannot be said with types alone.
struct Check<'s> {
    source: &'s Arc<Source>,
    findings: Vec<Diagnostic>,
}

impl Check<'_> {
    fn all(mut self, scenario: &Scenario) -> Vec<Diagnostic> {
        if !(scenario.speed.is_finite() && scenario.speed >= 1.0) {
            self.say(
                self.word("speed"),
                Code::InvalidSpeed,
                format!("a drill cannot run at speed {}", scenario.speed),
                "use 1 or more",
            );
        }
        if scenario.stand_ins.is_empty() {
            self.say(
                self.word("stand_ins"),
                Code::NoStandIn,
                "no stand-in answers anywhere",
                "name at least one address",
            );
        }
        for origin in scenario.stand_ins.keys() {
            let plain = reqwest::Url::parse(origin).ok().filter(|url| {
                matches!(url.scheme(), "http" | "https")
                    && url.host_str().is_some()
                    && url.path() == "/"
                    && url.query().is_none()
            });
            if plain.is_none() {
                let message = format!("`{origin}` is not the address of a host");
                self.say(
                    self.word(origin),
                    Code::InvalidAddress,
                    message,
                    "write scheme and host only, such as `https://api.clerk.com`",
                );
            }
        }
        for (stand_in, secret) in [(StandIn::Clerk, "clerk"), (StandIn::Vercel, "vercel")] {
            if scenario.plays(stand_in) && !scenario.secrets.contains_key(secret) {
                let message = format!("the stand-in `{stand_in}` needs the secret `{secret}` to know whom to refuse");
                self.say(
                    self.word("stand_ins"),
                    Code::MissingSecret,
                    message,
                    format!("add `{secret}: …` under `secrets`"),
                );
            }
        }
        self.setting(scenario);
        self.timeline(&scenario.timeline);
        for fault in &scenario.faults {
            self.fault(scenario, fault);
        }
        if let Some(outcome) = scenario.expect.outcome.as_ref()
            && !OUTCOMES.contains(&outcome.value.as_str())
        {
            let message = format!("no run ends as `{}`", outcome.value);
            self.say(span_of(outcome), Code::UnknownOutcome, message, known(&outcome.value, &OUTCOMES));
        }
        self.findings
    }

    fn setting(&mut self, scenario: &Scenario) {
        let needs_project = scenario.plays(StandIn::Vercel) || scenario.plays(StandIn::App);
        match (&scenario.world.vercel, &scenario.world.app) {
            (None, _) if needs_project => {
                let help = "add `vercel: { project: … }` under `world`";
                self.say(self.word("stand_ins"), Code::MissingProject, "no project is set up for the stand-ins", help);
            }
            (Some(vercel), Some(app)) if app.project.value != vercel.project => {
                let message = format!("the app belongs to the project `{}`, which does not exist", app.project.value);
                self.say(span_of(&app.project), Code::UnknownProject, message, format!("write `{}`", vercel.project));
            }
            (None | Some(_), None | Some(_)) => {}
        }
    }

    fn timeline(&mut self, timeline: &[Moment]) {
        for moment in timeline {
            let odd = moment.modes().find(|(on, mode)| {
                *mode == Mode::KeyRefused && !matches!(on, StandIn::Clerk | StandIn::Vercel | StandIn::Svix)
            });
            if let Some((on, _)) = odd {
                let message = format!("`{on}` asks for no key, so it cannot refuse one");
                self.say(span_of(&moment.at), Code::Keyless, message, "use `key_refused` with `clerk` or `vercel`");
            }
        }
        for pair in timeline.windows(2) {
            let [before, after] = pair else { continue };
            if after.at.value < before.at.value {
                let message = format!("`{}` comes after `{}` in the timeline", after.at.value, before.at.value);
                self.say(span_of(&after.at), Code::Unordered, message, "write the timeline in the order of time");
            }
        }
    }

    fn fault(&mut self, scenario: &Scenario, fault: &Fault) {
        let span = span_of(&fault.on);
        let on = fault.on.value;
        if !scenario.plays(on) {
            self.say(
                span,
                Code::UnknownStandIn,
                format!("no address is answered by `{on}`"),
                "name it under `stand_ins`",
            );
        }
        let about_an_answer = fault.request.is_some() && fault.answer.is_some();
        let about_a_deployment = fault.deployment.is_some() && (fault.ends.is_some() || fault.takes.is_some());
        let mixed = (fault.request.is_some() || fault.answer.is_some() || fault.nth.is_some() || fault.times.is_some())
            && (fault.deployment.is_some() || fault.ends.is_some() || fault.takes.is_some());
        if mixed || about_an_answer == about_a_deployment {
            let help = "write either `request` and `answer`, or `deployment` and `ends` or `takes`";
            self.say(span, Code::UnclearFault, "this fault is neither about an answer nor about a deployment", help);
        } else if about_a_deployment && on != StandIn::Vercel {
            self.say(span, Code::UnclearFault, format!("`{on}` has no deployments"), "write `on: vercel`");
        }
        if let Some(request) = &fault.request {
            let well_formed = request.split_once(' ').is_some_and(|(method, path)| {
                !method.is_empty() && method.bytes().all(|b| b.is_ascii_uppercase()) && path.starts_with('/')
            });
            if !well_formed {
                let help = "write method and path, such as `POST /v13/deployments`";
                self.say(self.word(request), Code::UnknownRequest, format!("`{request}` names no request"), help);
            }
        }
        if let Some(FaultAnswer::Status { status, .. }) = &fault.answer
            && !(200..=599).contains(status)
        {
            self.say(span, Code::InvalidStatus, format!("{status} is no HTTP status to answer with"), "use 200 to 599");
        }
        if fault.nth == Some(0) || fault.deployment == Some(0) {
            self.say(span, Code::Counting, "requests and deployments are counted from 1", "write 1 for the first");
        }
    }

    fn say(&mut self, span: Span, code: Code, message: impl Into<String>, help: impl Into<String>) {
        self.findings.push(Diagnostic::error(self.source, span, code, message).help(help));
    }

    /// Where a word stands in the file; its start when it is not found.
    fn word(&self, word: &str) -> Span {
        self.source.text.find(word).map_or_else(Span::default, |at| Span::new(at, at + word.len()))
    }
}

/// A YAML error as a diagnostic, with the nearest known name for a misspelt one.
fn explain(source: &Arc<Source>, error: &YamlError) -> Diagnostic {
    let at = error.location();
    let say = |code, message: String| match at {
        Some(at) => Diagnostic::error(source, span_at(source, at), code, message),
        None => Diagnostic::whole_file(source, code, message),
    };
    match error {
        YamlError::SerdeUnknownField { field, expected, .. } => {
            say(Code::UnknownKey, format!("unknown key `{field}`")).help(known(field, expected))
        }
        YamlError::SerdeUnknownVariant { variant, expected, .. } => {
            say(Code::UnknownWord, format!("`{variant}` means nothing here")).help(known(variant, expected))
        }
        YamlError::SerdeMissingField { field, .. } => say(Code::MissingKey, format!("the key `{field}` is missing"))
            .label("beside this one")
            .help(format!("add `{field}: …`")),
        YamlError::DuplicateMappingKey { key: Some(key), .. } => {
            say(Code::DuplicateKey, format!("`{key}` is there twice"))
        }
        other => {
            let text = other.to_string();
            let first = text.lines().next().unwrap_or_default();
            let sentence =
                first.split_once(": ").filter(|(place, _)| place.contains("line")).map_or(first, |(_, rest)| rest);
            let sentence = sentence.split(" at line ").next().unwrap_or(sentence);
            say(Code::InvalidScenario, sentence.trim_end_matches('.').to_owned())
        }
    }
}

fn known(wrong: &str, expected: &[&'static str]) -> String {
    match nearest(wrong, expected.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known here: {}", expected.join(", ")),
    }
}

fn span_of<T>(value: &Spanned<T>) -> Span {
    let span = value.referenced.span();
    let number = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let start = number(span.byte_offset().unwrap_or_else(|| span.offset()));
    Span::new(start, start.saturating_add(number(span.byte_len().unwrap_or_else(|| span.len()))))
}

/// The word at a place. The parser knows where it stopped, not always how long the word is.
fn span_at(source: &Source, at: serde_yaml::Location) -> Span {
    let line = usize::try_from(at.line()).unwrap_or(1).max(1) - 1;
    let column = usize::try_from(at.column()).unwrap_or(1).max(1) - 1;
    let line_start: usize = source.text.split_inclusive('\n').take(line).map(str::len).sum();
    let rest = source.text.get(line_start..).unwrap_or_default();
    let offset = rest.char_indices().nth(column).map_or(rest.len(), |(offset, _)| offset);
    let length = rest[offset..].find(|c: char| c.is_whitespace() || ",:{}[]".contains(c)).unwrap_or(0).max(1);
    Span::new(line_start + offset, line_start + offset + length)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A world with everything in it, for the other tests; `more` is appended to the file.
    pub(in super::super) fn scenario(more: &str) -> Scenario {
        let text = format!("{BASE}{more}");
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
