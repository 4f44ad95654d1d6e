//! Svix, which carries Clerk's webhooks: endpoints, what arrived and what did not, and tasks that send it again.

mod mail;
mod setting;

pub(super) use mail::{Change, Mail};
pub use setting::SvixSetting;

use std::time::Duration;

use serde_json::{Value, json};

use super::ask::{Answer, Ask, Carried, refusal};
use super::observed::Why;
use super::scenario::{Mode, StandIn};
use super::state::{self, WorldState};
use crate::base::Timestamp;
use crate::base::clock::{before, until};
use mail::{Fared, Message, TaskKind, Try};

/// How many entries a page has unless asked for another number, and at most.
const USUAL_PAGE: usize = 50;
const LARGEST_PAGE: usize = 250;
/// How far back a recovery reaches. Source: `recover` in Svix's own server.
const RECOVERS: Duration = Duration::from_secs(14 * 86_400 + 300);

/// Answers a request.
pub(super) fn answer(ask: &Ask, world: &WorldState) -> Answer {
    let known = world.scenario.secrets.get("svix");
    let refused = world.mode(StandIn::Svix) == Mode::KeyRefused;
    if refused || ask.bearer.is_none() || ask.bearer.as_ref() != known {
        let answer = no(401, "authentication_failed", "Invalid token");
        // A key that was never given out opens nothing; a runbook may find that out.
        return if known.is_some_and(|key| key.starts_with("none")) { answer.because(Why::Granted) } else { answer };
    }
    let desk = Desk { ask, world, mail: &world.mail };
    desk.answer().unwrap_or_else(|refused| refused)
}

fn no(status: u16, code: &str, detail: &str) -> Answer {
    refusal(StandIn::Svix, status, code, detail)
}

fn missing() -> Answer {
    no(404, "not_found", "Entity not found")
}

/// A parameter that does not fit, in the shape that Svix has for these alone.
fn unfit(place: [&str; 2], message: &str) -> Answer {
    Answer::json(422, &json!({ "detail": [{ "loc": place, "msg": message, "type": "value_error" }] }))
}

type Answered = Result<Answer, Answer>;

/// One request, and what it is about.
struct Desk<'a> {
    ask: &'a Ask,
    world: &'a WorldState,
    mail: &'a Mail,
}

impl Desk<'_> {
    fn answer(&self) -> Answered {
        let segments = self.ask.segments();
        let rest = match segments.as_slice() {
            ["api", "v1", "background-task", task] if self.ask.method == "GET" => return self.task(task),
            ["api", "v1", "app", app, rest @ ..] if *app == self.mail.setting.app => rest,
            _ => return Err(missing()),
        };
        match (self.ask.method.as_str(), rest) {
            ("GET", ["endpoint"]) => self.endpoints(),
            ("GET", ["endpoint", id]) => {
                self.endpoint_number(id).map(|number| Answer::json(200, &self.endpoint(number)))
            }
            ("PATCH", ["endpoint", id]) => self.switch(id),
            ("GET", ["endpoint", id, "stats"]) => self.stats(id),
            ("POST", ["endpoint", id, "recover"]) => self.order(id, TaskKind::Recover),
            ("POST", ["endpoint", id, "replay-missing"]) => self.order(id, TaskKind::ReplayMissing),
            ("GET", ["attempt", "endpoint", id]) => self.attempts(id),
            ("POST", ["msg", message, "endpoint", id, "resend"]) => self.resend(message, id),
            _ => Err(missing()),
        }
    }

    /// The endpoint of Clerk's webhooks is number 1.
    fn endpoint_number(&self, id: &str) -> Result<u32, Answer> {
        let number = numbered(id, "ep").ok_or_else(missing)?;
        (1..=self.mail.setting.others + 1).contains(&number).then_some(number).ok_or_else(missing)
    }

    fn ours(&self, id: &str) -> Result<(), Answer> {
        if self.endpoint_number(id)? == 1 { Ok(()) } else { Err(missing()) }
    }

    fn endpoint(&self, number: u32) -> Value {
        let made = before(self.world.scenario.starts, Duration::from_secs(200 * 86_400));
        let (url, disabled, updated) = match number {
            1 => {
                let switched = self.mail.switched_at().unwrap_or(made);
                (self.mail.setting.url.clone(), self.mail.disabled(self.world.now), switched)
            }
            other => (format!("https://other{other}.example.com/webhooks"), false, made),
        };
        json!({
            "id": identified("ep", number), "url": url, "description": "", "metadata": {}, "disabled": disabled,
            "eventTypes": ["user.created"], "createdAt": made.to_string(), "updatedAt": updated.to_string(),
        })
    }

    fn endpoints(&self) -> Answered {
        let numbers: Vec<u32> = (1..=self.mail.setting.others + 1).collect();
        let ids: Vec<String> = numbers.iter().map(|number| identified("ep", *number)).collect();
        self.page(&ids, |at| self.endpoint(numbers[at]))
    }

    fn switch(&self, id: &str) -> Answered {
        let body = self.body()?;
        self.ours(id)?;
        let Some(disabled) = body.get("disabled").and_then(Value::as_bool) else {
            return Err(unfit(["body", "disabled"], "a boolean is expected"));
        };
        let mut endpoint = self.endpoint(1);
        endpoint["disabled"] = disabled.into();
        endpoint["updatedAt"] = self.world.now.to_string().into();
        let changes = (disabled != self.mail.disabled(self.world.now)).then_some(Change::Endpoint { disabled });
        Ok(Answer::json(200, &endpoint).changing(changes.map(state::Change::Svix)))
    }

    fn stats(&self, id: &str) -> Answered {
        let since =
            self.time_in_query("since")?.unwrap_or_else(|| before(self.world.now, Duration::from_secs(28 * 86_400)));
        let until = self.time_in_query("until")?.unwrap_or(self.world.now);
        let (mut success, mut pending, mut fail) = (0, 0, 0);
        if self.endpoint_number(id)? == 1 {
            for (message, sent) in self.messages().filter(|(_, sent)| (since..=until).contains(sent)) {
                match self.mail.fared(message, sent, self.world.now).0 {
                    Fared::Arrived => success += 1,
                    Fared::Pending => pending += 1,
                    Fared::Failed => fail += 1,
                    Fared::Missing => {}
                }
            }
        }
        let sending: u32 =
            self.mail.tasks.iter().map(|task| task.messages - self.mail.sent_by(task, self.world.now)).sum();
        let stats = json!({ "success": success, "pending": pending, "sending": sending, "fail": fail, "canceled": 0 });
        Ok(Answer::json(200, &stats))
    }

    fn order(&self, id: &str, kind: TaskKind) -> Answered {
        let body = self.body()?;
        self.ours(id)?;
        if let Some(known) = self.answered_before() {
            return known.map(|number| self.show_task(number, 202));
        }
        let time = |name: &str| match body.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => match text.parse::<Timestamp>() {
                Ok(at) => Ok(Some(at)),
                Err(_) => Err(unfit(["body", name], "input is not a datetime in RFC 3339")),
            },
            Some(_) => Err(unfit(["body", name], "a string is expected")),
        };
        let now = self.world.now;
        let since = time("since")?.ok_or_else(|| unfit(["body", "since"], "field required"))?;
        let to = time("until")?.unwrap_or(now);
        if since > to {
            return Err(unfit(["body", "since"], "`since` must be before `until`"));
        }
        if kind == TaskKind::Recover && until(since, to) > RECOVERS {
            return Err(unfit(["body", "since"], "cannot recover messages over more than 14 days"));
        }
        if self.mail.disabled(now) {
            return Err(no(400, "endpoint_disabled", "The endpoint is disabled"));
        }
        let change = Change::Ordered { kind, since, until: to, key: self.ask.idempotency_key.clone() };
        let mut after = self.mail.clone();
        after.change(&change, now, &self.world.people.made());
        let number = after.tasks.len() - 1;
        let shown = Desk { mail: &after, ..*self }.show_task(number, 202);
        Ok(shown.changing([state::Change::Svix(change)]))
    }

    /// What was answered to the same idempotency key.
    fn answered_before(&self) -> Option<Result<usize, Answer>> {
        let known = self.mail.keys.get(self.ask.idempotency_key.as_ref()?)?;
        Some(known.ok_or_else(|| no(409, "conflict", "The idempotency key was used for another request")))
    }

    fn show_task(&self, number: usize, status: u16) -> Answer {
        let Some(task) = self.mail.tasks.get(number) else { return missing() };
        let ended = self.world.now >= task.ends;
        let kind = match task.kind {
            TaskKind::Recover => "endpoint.recover",
            TaskKind::ReplayMissing => "endpoint.replay",
        };
        let mut shown = json!({
            "id": identified("qtask", u32::try_from(number + 1).unwrap_or(u32::MAX)),
            "status": if ended { "finished" } else { "running" },
            "task": kind,
            "updatedAt": self.world.now.min(task.ends).to_string(),
        });
        if status == 200 {
            shown["data"] = json!({ "messagesSent": self.mail.sent_by(task, self.world.now) });
        }
        Answer::json(status, &shown)
    }

    fn task(&self, id: &str) -> Answered {
        if !self.mail.setting.tasks_readable {
            // It is the key that may not: no fault of the request.
            return Err(no(403, "permission_denied", "Not allowed for this token").because(Why::Granted));
        }
        let number = numbered(id, "qtask").ok_or_else(missing)? as usize;
        Ok(self.show_task(number.checked_sub(1).ok_or_else(missing)?, 200))
    }

    fn attempts(&self, id: &str) -> Answered {
        let wanted = match self.ask.query("status") {
            None => None,
            Some(text) => match text.parse::<u8>() {
                Ok(number @ 0..=4) => Some(number),
                Ok(_) | Err(_) => return Err(unfit(["query", "status"], "not a status")),
            },
        };
        let since =
            self.time_in_query("after")?.unwrap_or_else(|| before(self.world.now, Duration::from_secs(90 * 86_400)));
        let to = self.time_in_query("before")?.unwrap_or(self.world.now);
        let mut found: Vec<(Message, u32, Try)> = Vec::new();
        if self.endpoint_number(id)? == 1 {
            for (message, sent) in self.messages() {
                let (tries, _) = self.mail.tries(message, sent, self.world.now);
                found.extend((0..).zip(tries).map(|(nth, tried)| (message, nth, tried)).filter(|(_, _, tried)| {
                    (since..=to).contains(&tried.at) && wanted.is_none_or(|wanted| status_of(tried) == wanted)
                }));
            }
        }
        // Newest first.
        found.sort_by_key(|(message, nth, tried)| std::cmp::Reverse((tried.at, *message, *nth)));
        let ids: Vec<String> =
            found.iter().map(|(message, nth, _)| identified("atmpt", message * 100 + nth + 1)).collect();
        self.page(&ids, |at| {
            let (message, _, tried) = &found[at];
            json!({
                "id": ids[at], "msgId": identified("msg", message + 1), "endpointId": identified("ep", 1),
                "url": self.mail.setting.url, "response": "", "responseDurationMs": 40,
                "responseStatusCode": if tried.arrived { 200 } else { 503 },
                "status": status_of(tried), "statusText": if tried.arrived { "success" } else { "fail" },
                "triggerType": u8::from(tried.by_hand), "timestamp": tried.at.to_string(),
            })
        })
    }

    fn resend(&self, message: &str, id: &str) -> Answered {
        self.ours(id)?;
        let number = numbered(message, "msg").and_then(|number| number.checked_sub(1)).ok_or_else(missing)?;
        if !self.messages().any(|(known, _)| known == number) {
            return Err(missing());
        }
        let answer = Answer::json(202, &json!({}));
        let key = self.ask.idempotency_key.clone();
        if key.as_ref().is_some_and(|key| self.mail.keys.contains_key(key)) {
            return Ok(answer);
        }
        if self.mail.disabled(self.world.now) {
            return Err(no(400, "endpoint_disabled", "The endpoint is disabled"));
        }
        Ok(answer.changing([state::Change::Svix(Change::Resent { message: number, key })]))
    }

    /// All messages that Svix has, oldest first, and when each was sent.
    fn messages(&self) -> impl Iterator<Item = (Message, Timestamp)> {
        (0..).zip(self.world.people.made()).filter(|(message, _)| self.mail.is_kept(*message))
    }

    fn body(&self) -> Result<&Value, Answer> {
        match &self.ask.body {
            Carried::Json(body @ Value::Object(_)) => Ok(body),
            Carried::Json(_) | Carried::Nothing | Carried::Unreadable => {
                Err(unfit(["body", "body"], "an object is expected"))
            }
        }
    }

    fn time_in_query(&self, name: &str) -> Result<Option<Timestamp>, Answer> {
        let Some(text) = self.ask.query(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| unfit(["query", name], "input is not a datetime in RFC 3339"))
    }

    /// One page of a list, from the entry after `iterator`.
    fn page(&self, ids: &[String], show: impl Fn(usize) -> Value) -> Answered {
        let limit = match self.ask.query("limit").map(str::parse::<usize>) {
            None => USUAL_PAGE,
            Some(Ok(limit @ 1..=LARGEST_PAGE)) => limit,
            Some(_) => return Err(unfit(["query", "limit"], "must be between 1 and 250")),
        };
        let from = match self.ask.query("iterator") {
            None => 0,
            Some(last) => match ids.iter().position(|id| id == last) {
                Some(at) => at + 1,
                None => return Err(unfit(["query", "iterator"], "no such iterator")),
            },
        };
        let to = ids.len().min(from + limit);
        let rows: Vec<Value> = (from..to).map(show).collect();
        let iterator = ids.get(from..to).and_then(<[String]>::last);
        Ok(Answer::json(
            200,
            &json!({ "data": rows, "iterator": iterator, "prevIterator": null, "done": to == ids.len() }),
        ))
    }
}

/// Svix's number for how a try ended.
fn status_of(tried: &Try) -> u8 {
    if tried.arrived { 0 } else { 2 }
}

/// Svix's ids have 27 letters and digits behind their kind.
fn identified(kind: &str, number: u32) -> String {
    format!("{kind}_drill{number:022}")
}

fn numbered(id: &str, kind: &str) -> Option<u32> {
    let number = id.strip_prefix(kind)?.strip_prefix("_drill").filter(|number| number.len() == 22)?;
    number.parse().ok()
}

#[cfg(test)]
mod tests;
