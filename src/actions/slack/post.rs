//! `slack.post`: says something in the channel that a webhook belongs to.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::action::{Action, ActionContext, ActionError, Effect, Intent, Replay, refusal};
use crate::base::HumanDuration;
use crate::base::secret::{reference, shown};
use crate::http::{Limit, Request};

/// Longer texts are cut by Slack without a word: <https://docs.slack.dev/changelog/2018-truncating-really-long-messages>.
const LONGEST_TEXT: usize = 40_000;
/// More blocks than this are refused.
const MOST_BLOCKS: usize = 50;

/// Posts a message.
#[derive(Debug)]
pub struct Post;

/// What to say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SlackPostParams {
    /// The text, in Slack's own markup. With `blocks` it is what notifications show.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("examples" = ["Clerk is down; the bypass is open until {{ open.outputs.until }}."]))]
    pub text: Option<String>,
    /// Blocks of Slack's Block Kit, at most 50.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocks: Vec<Value>,
    /// The name of the secret that holds the webhook's whole address. Whoever has it can post.
    #[serde(default = "default_secret")]
    pub secret: String,
    /// How long the exchange may take.
    #[serde(default = "default_timeout")]
    pub timeout: HumanDuration,
}

/// What became of it. A webhook tells no message's id: what was said cannot be changed or taken back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SlackPostOutput {
    /// Did Slack take it?
    pub ok: bool,
    /// How long the exchange took, in milliseconds.
    pub elapsed_ms: u64,
}

fn default_secret() -> String {
    "slack".to_owned()
}

fn default_timeout() -> HumanDuration {
    HumanDuration(Duration::from_secs(10))
}

impl SlackPostParams {
    fn request(&self, address: &str) -> Request {
        let mut body = json!({});
        if let Some(text) = &self.text {
            body["text"] = text.as_str().into();
        }
        if !self.blocks.is_empty() {
            body["blocks"] = self.blocks.clone().into();
        }
        // "About one message per second" a channel: <https://docs.slack.dev/apis/web-api/rate-limits>.
        let limit = Limit::new(format!("slack by {}", shown(address)), 1, Duration::from_secs(1));
        Request::at_secret("POST", address).json(body).timeout(self.timeout.0).limited(limit)
    }

    fn check(&self) -> Result<(), ActionError> {
        let text = self.text.as_deref().unwrap_or_default();
        if text.trim().is_empty() && self.blocks.is_empty() {
            return Err(ActionError::invalid_params("a message needs `text` or `blocks`"));
        }
        if text.chars().count() > LONGEST_TEXT {
            return Err(ActionError::invalid_params(format!("`text` is longer than {LONGEST_TEXT} characters")));
        }
        if self.blocks.len() > MOST_BLOCKS {
            let many = self.blocks.len();
            return Err(ActionError::invalid_params(format!("{many} blocks; Slack takes at most {MOST_BLOCKS}")));
        }
        Ok(())
    }
}

impl Action for Post {
    const NAME: &'static str = "slack.post";
    const SUMMARY: &'static str = "Posts a message to a Slack channel by its incoming webhook.";
    const EFFECT: Effect = Effect::Write;
    const REPLAY: Replay = Replay::Once;
    const SECRETS: &'static [&'static str] = &["slack"];
    type Params = SlackPostParams;
    type Output = SlackPostOutput;

    async fn run(&self, cx: &ActionContext, params: SlackPostParams) -> Result<SlackPostOutput, ActionError> {
        params.check()?;
        let response = cx.send(params.request(&cx.secret(&params.secret)?)).await?;
        let said = response.text();
        let said = said.trim();
        if response.is_success() && said == "ok" {
            let elapsed_ms = u64::try_from(response.elapsed.as_millis()).unwrap_or(u64::MAX);
            return Ok(SlackPostOutput { ok: true, elapsed_ms });
        }
        if response.is_success() {
            let message = format!("{} answered {} and not `ok`", response.url, response.status);
            let mut error = ActionError::invalid_response(message).uncertain();
            error.status = Some(response.status);
            return Err(error);
        }
        let mut error = refusal(&response, cx.now());
        // Slack's errors are plain words, such as `channel_is_archived`.
        let is_word = !said.is_empty() && said.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        error.code = is_word.then(|| said.to_owned()).or(error.code);
        Err(error)
    }

    fn describe(&self, params: &SlackPostParams) -> Vec<Intent> {
        vec![Intent::from(&params.request(&reference(&params.secret)))]
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::{Answer, Bench, faults};
    use super::*;
    use crate::action::ErrorKind;

    fn params(params: Value) -> SlackPostParams {
        serde_json::from_value(params).unwrap()
    }

    #[tokio::test]
    async fn what_is_said_is_what_was_meant_and_the_address_stays_unknown() {
        let bench = Bench::with(|_| Answer::text(200, "ok")).await;
        let block = json!({ "type": "divider" });
        let with = json!({ "text": "Clerk is down", "blocks": [block] });
        let output = Post.run(&bench.cx(), params(with.clone())).await.unwrap();
        assert!(output.ok);
        let seen = bench.seen().remove(0);
        assert_eq!(seen.line(), "POST /services/T000/B000/abcdefghijkl");
        assert_eq!((&seen.body, seen.headers["content-type"].as_str()), (&with, "application/json"));
        let intents = Post.describe(&params(with.clone()));
        assert_eq!(intents, [Intent::request_with("POST", reference("slack"), with)]);
    }

    #[tokio::test]
    async fn slacks_words_are_codes_and_no_failure_shows_the_address() {
        for (status, word, kind) in [
            (400, "invalid_payload", ErrorKind::Rejected),
            (400, "no_text", ErrorKind::Rejected),
            (403, "action_prohibited", ErrorKind::Unauthorized),
            (404, "no_service", ErrorKind::Rejected),
            (410, "channel_is_archived", ErrorKind::Rejected),
            (500, "rollup_error", ErrorKind::Server),
        ] {
            let bench = Bench::with(move |_| Answer::text(status, word)).await;
            let error = Post.run(&bench.cx(), params(json!({ "text": "x" }))).await.unwrap_err();
            assert_eq!((error.kind, error.code.as_deref(), error.uncertain), (kind, Some(word), false));
            assert_eq!(error.message, format!("‹secret slack› answered {status}: {word}"));
        }
    }

    #[tokio::test]
    async fn every_fault_has_its_kind_and_one_request() {
        for (answer, kind) in faults() {
            let told = format!("{answer:?}");
            let bench = Bench::with(move |_| answer.clone()).await;
            let error = Post.run(&bench.cx(), params(json!({ "text": "x" }))).await.unwrap_err();
            assert_eq!((error.kind, bench.seen().len()), (kind, 1), "{told}");
            assert_eq!(error.uncertain, kind == ErrorKind::InvalidResponse, "{told}");
            assert!(!error.message.contains("T000") && !error.message.contains("hooks.slack"), "{}", error.message);
        }
        let bench = Bench::hanging_up().await;
        let error = Post.run(&bench.cx(), params(json!({ "text": "x" }))).await.unwrap_err();
        assert_eq!((error.kind, error.uncertain), (ErrorKind::Network, true));
        let bench = Bench::with(|_| Answer::Never).await;
        let error = Post.run(&bench.cx(), params(json!({ "text": "x", "timeout": "30ms" }))).await.unwrap_err();
        assert_eq!((error.kind, error.uncertain), (ErrorKind::Timeout, true));
    }

    #[tokio::test]
    async fn a_message_a_second_is_posted_and_no_more() {
        let bench = Bench::with(|_| Answer::text(200, "ok")).await;
        let cx = bench.cx();
        let began = cx.now();
        for _ in 0..3 {
            Post.run(&cx, params(json!({ "text": "x" }))).await.unwrap();
        }
        assert_eq!(cx.now().duration_since(began).as_secs(), 2);
    }

    #[tokio::test]
    async fn what_slack_would_refuse_or_cut_is_not_sent() {
        let bench = Bench::with(|_| Answer::text(200, "ok")).await;
        let blocks = vec![json!({}); 51];
        for wrong in
            [json!({}), json!({ "text": " " }), json!({ "text": "x".repeat(40_001) }), json!({ "blocks": blocks })]
        {
            assert_eq!(Post.run(&bench.cx(), params(wrong)).await.unwrap_err().kind, ErrorKind::InvalidParams);
        }
        let error = Post.run(&bench.cx(), params(json!({ "text": "x", "secret": "other" }))).await.unwrap_err();
        assert_eq!((error.kind, bench.seen().len()), (ErrorKind::Secret, 0));
    }
}
