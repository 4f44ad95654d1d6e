//! What is wrong with a scenario although every word of it can be read.

use std::sync::Arc;

use super::explain::{known, span_of};
use super::{Fault, FaultAnswer, Mode, Moment, Scenario, StandIn};
use crate::base::{Code, Diagnostic, Source, Span};

/// How a run may end, in the words of `expect.outcome`.
const OUTCOMES: [&str; 8] =
    ["succeeded", "failed", "rolled_back", "stuck", "cancelled", "rejected", "waiting", "in_doubt"];

/// Everything that makes no sense, in the order of the checks.
pub(super) fn findings(source: &Arc<Source>, scenario: &Scenario) -> Vec<Diagnostic> {
    Check { source, findings: Vec::new() }.all(scenario)
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
        for (stand_in, secret) in [
            (StandIn::Clerk, "clerk"),
            (StandIn::Vercel, "vercel"),
            (StandIn::Slack, "slack"),
            (StandIn::Pagerduty, "pagerduty"),
            (StandIn::Svix, "svix"),
        ] {
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
        self.keys(scenario);
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

    /// Keys are named as the scenario's secrets are.
    fn keys(&mut self, scenario: &Scenario) {
        let by_hand = scenario.timeline.iter().filter_map(|moment| moment.clerk_keys.as_ref());
        let named = by_hand.flat_map(|done| done.add.iter().chain(&done.delete));
        for name in named.chain(&scenario.world.clerk.other_keys) {
            if !scenario.secrets.contains_key(name) {
                let names: Vec<&str> = scenario.secrets.keys().map(String::as_str).collect();
                let message = format!("the scenario has no secret `{name}`");
                self.say(self.word(name), Code::UnknownSecret, message, known(name, &names));
            }
        }
    }

    fn timeline(&mut self, timeline: &[Moment]) {
        for moment in timeline {
            let odd = moment.modes().find(|(on, behaviour)| {
                behaviour.mode == Mode::KeyRefused && !matches!(on, StandIn::Clerk | StandIn::Vercel | StandIn::Svix)
            });
            if let Some((on, _)) = odd {
                let message = format!("`{on}` asks for no key, so it cannot refuse one");
                self.say(span_of(&moment.at), Code::Keyless, message, "use `key_refused` with `clerk` or `vercel`");
            }
            let odd = moment
                .modes()
                .find(|(on, behaviour)| behaviour.mode == Mode::SessionsOnly && *on != StandIn::ClerkFrontend);
            if let Some((on, _)) = odd {
                let message = format!("`{on}` refreshes no sessions");
                let help = "use `sessions_only` with `clerk_frontend`";
                self.say(span_of(&moment.at), Code::Keyless, message, help);
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
        let fate = fault.ends.is_some() || fault.takes.is_some() || fault.aliased.is_some() || fault.serves.is_some();
        let about_a_deployment = fault.deployment.is_some() && fate;
        let mixed = (fault.request.is_some() || fault.answer.is_some() || fault.nth.is_some() || fault.times.is_some())
            && (fault.deployment.is_some() || fate);
        if mixed || about_an_answer == about_a_deployment {
            let help =
                "write either `request` and `answer`, or `deployment` and `ends`, `takes`, `aliased` or `serves`";
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
        if let Some(FaultAnswer::Status { status, .. } | FaultAnswer::Page { status }) = &fault.answer
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
