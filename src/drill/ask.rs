//! A request as a stand-in sees it, and what it gets back.

use std::time::Duration;

use serde_json::{Value, json};

use super::observed::Why;
use super::scenario::{Mode, StandIn};
use super::state::Change;

/// A request.
#[derive(Debug, Clone, Default)]
pub(super) struct Ask {
    /// `GET`, `POST` …
    pub(super) method: String,
    /// The path, without the query.
    pub(super) path: String,
    /// The query's names and values, decoded.
    pub(super) query: Vec<(String, String)>,
    /// The token after `Authorization: Bearer`.
    pub(super) bearer: Option<String>,
    /// The key that makes repeats of it one request.
    pub(super) idempotency_key: Option<String>,
    /// What it carries.
    pub(super) body: Carried,
}

/// What a request carries.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) enum Carried {
    /// Nothing.
    #[default]
    Nothing,
    /// A JSON document.
    Json(Value),
    /// Something else.
    Unreadable,
}

impl Ask {
    /// The path's segments.
    pub(super) fn segments(&self) -> Vec<&str> {
        self.path.split('/').filter(|segment| !segment.is_empty()).collect()
    }

    /// The first value of a query parameter.
    pub(super) fn query(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Does it read only?
    pub(super) fn reads(&self) -> bool {
        matches!(self.method.as_str(), "GET" | "HEAD")
    }
}

/// An answer, and what it changes in the world.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// The status.
    pub(super) status: u16,
    /// Headers besides the content's.
    pub(super) headers: Vec<(&'static str, String)>,
    /// The content's type.
    pub(super) content_type: &'static str,
    /// The content.
    pub(super) content: String,
    /// What it changes, in order.
    pub(super) changes: Vec<Change>,
    /// Why it is not what was asked for, where the request itself is not to blame.
    pub(super) why: Option<Why>,
}

impl Answer {
    /// Data.
    pub(super) fn json(status: u16, value: &Value) -> Self {
        Self {
            status,
            headers: Vec::new(),
            content_type: "application/json; charset=utf-8",
            content: value.to_string(),
            changes: Vec::new(),
            why: None,
        }
    }

    /// A web page.
    pub(super) fn page(status: u16, title: &str) -> Self {
        let content = format!("<!doctype html>\n<title>{title}</title>\n<h1>{title}</h1>\n");
        let content_type = "text/html; charset=utf-8";
        Self { status, headers: Vec::new(), content_type, content, changes: Vec::new(), why: None }
    }

    /// A status and nothing else.
    pub(super) fn empty(status: u16) -> Self {
        Self { content: String::new(), ..Self::page(status, "") }
    }

    /// Adds a header.
    #[must_use]
    pub(super) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The first half of it.
    #[must_use]
    pub(super) fn cut(mut self) -> Self {
        let half = (0..=self.content.len() / 2).rev().find(|end| self.content.is_char_boundary(*end)).unwrap_or(0);
        self.content.truncate(half);
        self
    }

    /// Says why it is not what was asked for, though nothing is wrong with the request.
    #[must_use]
    pub(super) fn because(mut self, why: Why) -> Self {
        self.why = Some(why);
        self
    }

    /// Says what it changes.
    #[must_use]
    pub(super) fn changing(mut self, changes: impl IntoIterator<Item: Into<Change>>) -> Self {
        self.changes.extend(changes.into_iter().map(Into::into));
        self
    }
}

/// What comes back over the connection.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    /// An answer.
    Answer(Answer),
    /// The connection closes without one.
    Closed,
    /// Nothing for a long time, then the connection closes.
    Hangs,
    /// The connection is reset.
    Reset,
    /// An answer, after a while.
    Late(Duration, Answer),
    /// An answer, a byte a second, and no end.
    Drips(Answer),
}

impl Reply {
    /// The answer in it, if there is one.
    pub(super) fn answer(&self) -> Option<&Answer> {
        match self {
            Self::Answer(answer) | Self::Late(_, answer) | Self::Drips(answer) => Some(answer),
            Self::Closed | Self::Reset | Self::Hangs => None,
        }
    }

    /// Names the content's type as Clerk does: its client takes data for text when anything follows.
    pub(super) fn name_plainly(&mut self) {
        if let Self::Answer(answer) | Self::Late(_, answer) | Self::Drips(answer) = self
            && answer.content_type.starts_with("application/json;")
        {
            answer.content_type = "application/json";
        }
    }

    /// The status that reaches the other side.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Answer(answer) | Self::Late(_, answer) | Self::Drips(answer) => Some(answer.status),
            Self::Closed | Self::Hangs | Self::Reset => None,
        }
    }

    /// The same, so much later.
    #[must_use]
    pub(super) fn late(self, by: Duration) -> Self {
        match self {
            Self::Answer(answer) if !by.is_zero() => Self::Late(by, answer),
            other => other,
        }
    }
}

/// How long a throttled caller is told to wait, in seconds of the scenario.
const THROTTLED_FOR: u32 = 10;

/// What a stand-in says in a mode in which it does not do its work; `None` when it does.
pub(super) fn out_of_order(on: StandIn, mode: Mode, ask: &Ask) -> Option<Reply> {
    let answer = match mode {
        Mode::Up => return None,
        // Whether the key is right is the stand-in's own question.
        Mode::KeyRefused => return None,
        // What it would say is decided first, then it is spoilt.
        Mode::Truncated | Mode::Drip => return None,
        Mode::SessionsOnly if refreshes_a_session(ask) => return None,
        Mode::Reset => return Some(Reply::Reset),
        Mode::Maintenance if ask.reads() || (on == StandIn::ClerkFrontend && refreshes_a_session(ask)) => return None,
        Mode::Down => return Some(Reply::Closed),
        Mode::Hang => return Some(Reply::Hangs),
        Mode::Maintenance => maintenance(on),
        Mode::ServerError => refusal(on, 500, "internal_server_error", "Something went wrong on our side."),
        Mode::RateLimited | Mode::SessionsOnly => throttled(on),
        // A status page behind a broken edge still says 200; an API's edge owns up.
        Mode::Html if on == StandIn::StatusPage => Answer::page(200, "Just a moment"),
        Mode::Html => Answer::page(502, "Bad gateway"),
    };
    Some(Reply::Answer(answer))
}

/// A 429 with a wait.
pub(super) fn throttled(on: StandIn) -> Answer {
    refusal(on, 429, "rate_limited", "Too many requests.").header("retry-after", THROTTLED_FOR.to_string())
}

/// Is this how a browser asks for the next token of a session?
fn refreshes_a_session(ask: &Ask) -> bool {
    ask.method == "POST" && matches!(ask.segments().as_slice(), ["v1", "client", "sessions", _, "tokens"])
}

fn maintenance(on: StandIn) -> Answer {
    let body = match on {
        StandIn::Clerk | StandIn::ClerkFrontend => json!({
            "shortMessage": "Under maintenance",
            "longMessage": "Changes are not taken until the maintenance is over.",
            "code": "maintenance_mode",
        }),
        StandIn::Vercel | StandIn::StatusPage | StandIn::App | StandIn::Svix | StandIn::Slack | StandIn::Pagerduty => {
            return refusal(on, 503, "service_unavailable", "Under maintenance.");
        }
    };
    Answer::json(503, &body)
}

/// A refusal in the vendor's own shape.
pub(super) fn refusal(on: StandIn, status: u16, code: &str, message: &str) -> Answer {
    let body = match on {
        StandIn::Clerk | StandIn::ClerkFrontend => {
            let code = if status == 429 { "too_many_requests" } else { code };
            json!({
                "errors": [{ "message": message, "long_message": message, "code": code, "meta": {} }],
                "meta": {},
                "clerk_trace_id": "drill0000000000000000000000000000",
            })
        }
        StandIn::Vercel => json!({ "error": { "code": code, "message": message } }),
        StandIn::StatusPage => return Answer::page(status, message),
        StandIn::App => json!({ "error": message }),
        StandIn::Svix => json!({ "code": code, "detail": message }),
        // Its errors are words, not data.
        StandIn::Slack => {
            return Answer { content_type: "text/plain", content: code.to_owned(), ..Answer::empty(status) };
        }
        StandIn::Pagerduty => json!({ "status": code, "message": message, "errors": [message] }),
    };
    Answer::json(status, &body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mode_has_its_own_way_of_not_working() {
        let told = |on, mode, method: &str| {
            let ask = Ask { method: method.into(), path: "/".into(), ..Ask::default() };
            match out_of_order(on, mode, &ask) {
                None => "works".to_owned(),
                Some(Reply::Closed) => "closes".to_owned(),
                Some(Reply::Hangs) => "hangs".to_owned(),
                Some(Reply::Reset) => "resets".to_owned(),
                Some(Reply::Answer(answer) | Reply::Late(_, answer) | Reply::Drips(answer)) => {
                    let kind = answer.content_type.split(';').next().unwrap_or_default();
                    let wait = answer.headers.iter().find(|(name, _)| *name == "retry-after");
                    format!("{} {kind}{}", answer.status, wait.map_or(String::new(), |(_, wait)| format!(" {wait}")))
                }
            }
        };
        for (on, mode, method, expected) in [
            (StandIn::Clerk, Mode::Up, "GET", "works"),
            (StandIn::Clerk, Mode::KeyRefused, "GET", "works"),
            (StandIn::Clerk, Mode::Down, "GET", "closes"),
            (StandIn::Clerk, Mode::Hang, "GET", "hangs"),
            (StandIn::Clerk, Mode::ServerError, "GET", "500 application/json"),
            (StandIn::Clerk, Mode::RateLimited, "GET", "429 application/json 10"),
            (StandIn::Clerk, Mode::Html, "GET", "502 text/html"),
            (StandIn::StatusPage, Mode::Html, "GET", "200 text/html"),
            (StandIn::StatusPage, Mode::ServerError, "GET", "500 text/html"),
            (StandIn::ClerkFrontend, Mode::Maintenance, "GET", "works"),
            (StandIn::ClerkFrontend, Mode::Maintenance, "POST", "503 application/json"),
            (StandIn::Vercel, Mode::Maintenance, "PATCH", "503 application/json"),
            (StandIn::Clerk, Mode::Reset, "GET", "resets"),
            (StandIn::Clerk, Mode::Truncated, "GET", "works"),
            (StandIn::Clerk, Mode::Drip, "GET", "works"),
            (StandIn::ClerkFrontend, Mode::SessionsOnly, "POST", "429 application/json 10"),
        ] {
            assert_eq!(told(on, mode, method), expected, "{on} {mode:?} {method}");
        }
    }

    #[test]
    fn sessions_are_refreshed_while_nothing_else_is_done() {
        let refresh = Ask { method: "POST".into(), path: "/v1/client/sessions/sess_1/tokens".into(), ..Ask::default() };
        assert!(out_of_order(StandIn::ClerkFrontend, Mode::SessionsOnly, &refresh).is_none());
        assert!(out_of_order(StandIn::ClerkFrontend, Mode::Maintenance, &refresh).is_none());
        assert!(out_of_order(StandIn::ClerkFrontend, Mode::RateLimited, &refresh).is_some());
    }

    #[test]
    fn half_an_answer_is_cut_between_characters() {
        let mut answer = Answer::page(200, "");
        answer.content = "abäcd".into();
        assert_eq!(answer.cut().content, "ab");
    }

    #[test]
    fn maintenance_speaks_another_shape_than_other_refusals() {
        let code = |answer: &Answer, place: &str| {
            let body: Value = serde_json::from_str(&answer.content).unwrap_or_default();
            body.pointer(place).and_then(Value::as_str).map(str::to_owned)
        };
        assert_eq!(code(&maintenance(StandIn::Clerk), "/code").as_deref(), Some("maintenance_mode"));
        let refused = refusal(StandIn::Clerk, 404, "resource_not_found", "m");
        assert_eq!(code(&refused, "/errors/0/code").as_deref(), Some("resource_not_found"));
        let refused = refusal(StandIn::Vercel, 404, "not_found", "m");
        assert_eq!(code(&refused, "/error/code").as_deref(), Some("not_found"));
    }
}
