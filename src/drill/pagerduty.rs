//! PagerDuty's Events API: one integration, which keeps its alerts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::ask::{Answer, Ask, Carried};
use super::observed::{Said, WriteKind};
use super::scenario::StandIn;
use super::state::WorldState;
use crate::base::Timestamp;

const LONGEST_SUMMARY: usize = 1024;
const LONGEST_KEY: usize = 255;
const ROUTING_KEY: usize = 32;

/// How an alert stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stands {
    Triggered,
    Acknowledged,
    Resolved,
}

/// The integration.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    /// Its alerts by their key.
    pub(super) alerts: BTreeMap<String, Stands>,
    /// Every event that was taken, oldest first.
    pub(super) said: Vec<Said>,
}

/// What a request changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Change {
    /// An alert was opened, or told again.
    Triggered { key: String, summary: String },
    /// Somebody is at it.
    Acknowledged { key: String },
    /// It is over.
    Resolved { key: String },
    /// A change was noted.
    Noted { summary: String },
}

impl State {
    /// Applies a change.
    pub(super) fn change(&mut self, change: &Change, now: Timestamp) -> WriteKind {
        let (what, kind) = match change {
            Change::Triggered { key, summary } => {
                self.alerts.insert(key.clone(), Stands::Triggered);
                (format!("trigger {key}: {summary}"), WriteKind::AlertTriggered)
            }
            // PagerDuty takes an event about an alert that it does not know, or that is over, and does nothing with it.
            Change::Acknowledged { key } => {
                if let Some(stands) = self.alerts.get_mut(key).filter(|stands| **stands == Stands::Triggered) {
                    *stands = Stands::Acknowledged;
                }
                (format!("acknowledge {key}"), WriteKind::AlertAcknowledged)
            }
            Change::Resolved { key } => {
                if let Some(stands) = self.alerts.get_mut(key) {
                    *stands = Stands::Resolved;
                }
                (format!("resolve {key}"), WriteKind::AlertResolved)
            }
            Change::Noted { summary } => (format!("change: {summary}"), WriteKind::ChangeNoted),
        };
        self.said.push(Said { at: now, on: StandIn::Pagerduty, what });
        kind
    }

    /// How many alerts are not resolved.
    pub(super) fn open(&self) -> u32 {
        let open = self.alerts.values().filter(|stands| **stands != Stands::Resolved).count();
        u32::try_from(open).unwrap_or(u32::MAX)
    }
}

/// Answers a request. The key is in the body.
pub(super) fn answer(ask: &Ask, world: &WorldState) -> Answer {
    let is_change = match (ask.method.as_str(), ask.segments().as_slice()) {
        ("POST", ["v2", "enqueue"]) => false,
        ("POST", ["v2", "change", "enqueue"]) => true,
        _ => return Answer::json(404, &json!({ "status": "not found", "message": "Not found", "errors": [] })),
    };
    let Carried::Json(body @ Value::Object(_)) = &ask.body else {
        return invalid(&["JSON cannot be parsed".to_owned()]);
    };
    let known = world.scenario.secrets.get("pagerduty").map(String::as_str);
    let event = Event { body, faults: Vec::new() };
    match event.read(is_change, known, world) {
        Ok((change, key)) => {
            let message = if is_change { "Change event processed" } else { "Event processed" };
            let mut taken = json!({ "status": "success", "message": message });
            if let Some(key) = key {
                taken["dedup_key"] = key.into();
            }
            Answer::json(202, &taken).changing([super::state::Change::Pagerduty(change)])
        }
        Err(faults) => invalid(&faults),
    }
}

fn invalid(faults: &[String]) -> Answer {
    let body = json!({ "status": "invalid event", "message": "Event object is invalid", "errors": faults });
    Answer::json(400, &body)
}

/// An event on the vendor's desk.
struct Event<'b> {
    body: &'b Value,
    faults: Vec<String>,
}

impl Event<'_> {
    fn text(&self, place: &str) -> Option<&str> {
        self.body.pointer(place).and_then(Value::as_str).filter(|text| !text.is_empty())
    }

    fn fault(&mut self, is_wrong: bool, sentence: &str) {
        if is_wrong {
            self.faults.push(sentence.to_owned());
        }
    }

    fn read(
        mut self,
        is_change: bool,
        known: Option<&str>,
        world: &WorldState,
    ) -> Result<(Change, Option<String>), Vec<String>> {
        let routing_key = self.text("/routing_key").unwrap_or_default().to_owned();
        self.fault(routing_key.len() != ROUTING_KEY, "'routing_key' is invalid (must be 32 characters long)");
        self.fault(routing_key.len() == ROUTING_KEY && Some(routing_key.as_str()) != known, "'routing_key' is unknown");
        let summary = self.text("/payload/summary").unwrap_or_default().to_owned();
        let key = self.text("/dedup_key").map(str::to_owned);
        self.fault(key.as_ref().is_some_and(|key| key.len() > LONGEST_KEY), "'dedup_key' is too long");
        let action = self.text("/event_action").unwrap_or_default().to_owned();
        if is_change || action == "trigger" {
            self.fault(summary.is_empty(), "'payload.summary' is missing or blank");
            self.fault(summary.chars().count() > LONGEST_SUMMARY, "'payload.summary' is too long");
        }
        if is_change {
            return if self.faults.is_empty() { Ok((Change::Noted { summary }, None)) } else { Err(self.faults) };
        }
        if action == "trigger" {
            self.fault(self.text("/payload/source").is_none(), "'payload.source' is missing or blank");
            let severity = self.text("/payload/severity").unwrap_or_default();
            let known = matches!(severity, "critical" | "error" | "warning" | "info");
            self.fault(!known, "'payload.severity' is invalid (must be one of critical, error, warning, info)");
        } else {
            self.fault(key.is_none(), "'dedup_key' is missing or blank");
        }
        let known = matches!(action.as_str(), "trigger" | "acknowledge" | "resolve");
        self.fault(!known, "'event_action' is invalid (must be one of trigger, acknowledge, resolve)");
        if !self.faults.is_empty() {
            return Err(self.faults);
        }
        // An alert without a key gets one.
        let key = key.unwrap_or_else(|| format!("drill{:04}", world.pagerduty.alerts.len() + 1));
        let change = match action.as_str() {
            "trigger" => Change::Triggered { key: key.clone(), summary },
            "acknowledge" => Change::Acknowledged { key: key.clone() },
            _ => Change::Resolved { key: key.clone() },
        };
        Ok((change, Some(key)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::scenario::tests::scenario;
    use crate::drill::state::Asked;
    use std::sync::Arc;

    const KEY: &str = "0123456789abcdef0123456789abcdef";

    fn world() -> WorldState {
        let mut scenario = scenario("world: { vercel: { project: shop } }\n");
        scenario.secrets.insert("pagerduty".into(), KEY.into());
        WorldState::new(Arc::new(scenario))
    }

    fn post(path: &str, body: Value) -> Ask {
        Ask { method: "POST".into(), path: path.into(), body: Carried::Json(body), ..Ask::default() }
    }

    fn trigger() -> Value {
        let payload = json!({ "summary": "Sign-in is down", "source": "shop", "severity": "critical" });
        json!({ "routing_key": KEY, "event_action": "trigger", "dedup_key": "k", "payload": payload })
    }

    fn with(place: &str, value: Value) -> Value {
        let mut event = trigger();
        *event.pointer_mut(place).unwrap() = value;
        event
    }

    #[test]
    fn refuses_what_pagerduty_refuses_and_says_all_that_is_wrong() {
        let world = world();
        let settle = |action: &str| json!({ "routing_key": KEY, "event_action": action });
        for (event, fault) in [
            (with("/routing_key", "short".into()), "must be 32 characters"),
            (with("/routing_key", "x".repeat(32).into()), "'routing_key' is unknown"),
            (with("/event_action", "page".into()), "'event_action' is invalid"),
            (with("/dedup_key", "x".repeat(256).into()), "'dedup_key' is too long"),
            (with("/payload", Value::Null), "'payload.summary' is missing"),
            (with("/payload/summary", "x".repeat(1025).into()), "'payload.summary' is too long"),
            (with("/payload/source", "".into()), "'payload.source' is missing"),
            (with("/payload/severity", "bad".into()), "'payload.severity' is invalid"),
            (settle("acknowledge"), "'dedup_key' is missing"),
            (settle("resolve"), "'dedup_key' is missing"),
        ] {
            let answer = answer(&post("/v2/enqueue", event.clone()), &world);
            assert!(answer.status == 400 && answer.content.contains(fault), "{event}: {}", answer.content);
            assert!(answer.changes.is_empty());
        }
        let nothing = answer(&post("/v2/change/enqueue", json!({ "routing_key": KEY })), &world);
        assert_eq!(nothing.status, 400);
        assert_eq!(answer(&post("/v1/enqueue", trigger()), &world).status, 404);
        let unreadable = Ask { body: Carried::Unreadable, ..post("/v2/enqueue", trigger()) };
        assert_eq!(answer(&unreadable, &world).status, 400);
    }

    #[test]
    fn one_key_is_one_alert_and_a_change_is_none() {
        let mut world = world();
        let settle = |action: &str, key: &str| json!({ "routing_key": KEY, "event_action": action, "dedup_key": key });
        let change = json!({ "routing_key": KEY, "payload": { "summary": "bypass is open" } });
        for (path, event, open) in [
            ("/v2/enqueue", trigger(), 1),
            ("/v2/enqueue", trigger(), 1),
            ("/v2/enqueue", settle("acknowledge", "k"), 1),
            ("/v2/change/enqueue", change, 1),
            ("/v2/enqueue", settle("resolve", "other"), 1),
            ("/v2/enqueue", settle("resolve", "k"), 0),
        ] {
            let answer = answer(&post(path, event), &world);
            assert_eq!(answer.status, 202, "{}", answer.content);
            let asked = Asked {
                on: StandIn::Pagerduty,
                method: "POST".into(),
                path: path.into(),
                status: Some(202),
                why: None,
                changes: answer.changes,
            };
            let now = world.now;
            world.apply(now, &asked);
            assert_eq!(world.pagerduty.open(), open, "{path}");
        }
        let said: Vec<&str> = world.pagerduty.said.iter().map(|said| said.what.as_str()).collect();
        assert_eq!(said[0], "trigger k: Sign-in is down");
        assert_eq!(said[2..], ["acknowledge k", "change: bypass is open", "resolve other", "resolve k"]);
    }
}
