//! Slack's incoming webhooks: one channel, which keeps what was said in it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ask::{Answer, Ask, Carried, refusal};
use super::observed::{Said, Why, WriteKind};
use super::scenario::StandIn;
use super::state::WorldState;
use crate::base::Timestamp;
use crate::base::clock::until;

/// A channel takes about a message a second, and a few more at once now and then:
/// <https://docs.slack.dev/apis/web-api/rate-limits>. How many is not told; here it is three in three seconds.
const A_WHILE: Duration = Duration::from_secs(3);
const IN_A_WHILE: usize = 3;
const MOST_BLOCKS: usize = 50;

/// The channel.
#[derive(Debug, Clone, Default)]
pub(super) struct State {
    /// What was said, oldest first.
    pub(super) said: Vec<Said>,
}

/// What a request changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Change {
    /// A message was posted; blocks alone are told as what they hold.
    Posted { text: String },
}

impl State {
    /// Applies a change.
    pub(super) fn change(&mut self, change: &Change, now: Timestamp) -> WriteKind {
        let Change::Posted { text } = change;
        self.said.push(Said { at: now, on: StandIn::Slack, what: text.clone() });
        WriteKind::MessagePosted
    }
}

/// Answers a request. The address is the key: whoever has it may post.
pub(super) fn answer(ask: &Ask, world: &WorldState) -> Answer {
    let no = |status, word| refusal(StandIn::Slack, status, word, word);
    let address = world.scenario.secrets.get("slack").and_then(|secret| reqwest::Url::parse(secret).ok());
    if ask.segments().first() != Some(&"services") || address.is_none_or(|address| address.path() != ask.path) {
        return no(404, "no_service");
    }
    let body = match &ask.body {
        Carried::Json(body @ Value::Object(_)) if ask.method == "POST" => body,
        Carried::Json(_) | Carried::Nothing | Carried::Unreadable => return no(400, "invalid_payload"),
    };
    let text = body.get("text").and_then(Value::as_str).unwrap_or_default();
    let blocks = body.get("blocks").cloned().unwrap_or_default();
    let many = blocks.as_array().map_or(0, Vec::len);
    if (!blocks.is_null() && !blocks.is_array()) || many > MOST_BLOCKS {
        return no(400, "invalid_blocks");
    }
    if text.trim().is_empty() && many == 0 {
        return no(400, "no_text");
    }
    if world.slack.said.iter().rev().take_while(|said| until(said.at, world.now) < A_WHILE).count() >= IN_A_WHILE {
        return no(429, "rate_limited").header("retry-after", "1").because(Why::Granted);
    }
    let text = if text.trim().is_empty() { blocks.to_string() } else { text.to_owned() };
    let ok = Answer { content_type: "text/plain", content: "ok".to_owned(), ..Answer::empty(200) };
    ok.changing([super::state::Change::Slack(Change::Posted { text })])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::scenario::tests::scenario;
    use crate::drill::state::Asked;
    use serde_json::json;
    use std::sync::Arc;

    const PATH: &str = "/services/T0/B0/xyz";

    fn world() -> WorldState {
        let mut scenario = scenario("world: { vercel: { project: shop } }\n");
        scenario.secrets.insert("slack".into(), format!("https://hooks.slack.com{PATH}"));
        WorldState::new(Arc::new(scenario))
    }

    fn post(path: &str, body: Value) -> Ask {
        Ask { method: "POST".into(), path: path.into(), body: Carried::Json(body), ..Ask::default() }
    }

    fn told(world: &WorldState, ask: &Ask) -> (u16, String) {
        let answer = answer(ask, world);
        (answer.status, answer.content)
    }

    #[test]
    fn refuses_what_slack_refuses_in_its_own_words() {
        let world = world();
        let text = || json!({ "text": "x" });
        let get = Ask { method: "GET".into(), ..post(PATH, text()) };
        let unreadable = Ask { body: Carried::Unreadable, ..post(PATH, text()) };
        for (ask, status, word) in [
            (post(PATH, text()), 200, "ok"),
            (post(PATH, json!({ "blocks": [{ "type": "divider" }] })), 200, "ok"),
            (post("/services/T0/B0/other", text()), 404, "no_service"),
            (post("/api/chat.postMessage", text()), 404, "no_service"),
            (get, 400, "invalid_payload"),
            (unreadable, 400, "invalid_payload"),
            (post(PATH, json!(["x"])), 400, "invalid_payload"),
            (post(PATH, json!({ "text": " " })), 400, "no_text"),
            (post(PATH, json!({ "text": "x", "blocks": vec![json!({}); 51] })), 400, "invalid_blocks"),
        ] {
            assert_eq!(told(&world, &ask), (status, word.to_owned()), "{ask:?}");
        }
    }

    #[test]
    fn a_channel_takes_a_message_a_second_or_a_few_at_once_and_keeps_them() {
        let mut world = world();
        let ask = post(PATH, json!({ "text": "first" }));
        for (millis, status) in [(0, 200), (100, 200), (200, 200), (300, 429), (2900, 429), (3000, 200), (4000, 200)] {
            let now = crate::base::clock::after(world.scenario.starts, Duration::from_millis(millis));
            world.advance(now);
            let answer = answer(&ask, &world);
            assert_eq!(answer.status, status, "{millis}");
            let (method, path) = (ask.method.clone(), ask.path.clone());
            let asked = Asked {
                on: StandIn::Slack,
                method,
                path,
                status: Some(status),
                why: answer.why,
                changes: answer.changes,
            };
            world.apply(now, &asked);
        }
        let said: Vec<&str> = world.slack.said.iter().map(|said| said.what.as_str()).collect();
        assert_eq!((said, world.writes[&WriteKind::MessagePosted]), (vec!["first"; 5], 5));
    }
}
