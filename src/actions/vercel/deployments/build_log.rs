//! `vercel.build_log`: the last lines of a deployment's build.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::super::{Scope, Vercel, default_secret, moment};
use super::show::deployment_segment;
use crate::action::{Action, ActionContext, ActionError, Effect, Intent, Need, Replay};
use crate::base::redact::MASK;
use crate::base::secret;
use crate::http::Request;

/// How large an answer may be.
const LARGEST_ANSWER: usize = 2 * 1024 * 1024;
/// How long a line may be, in characters.
const LONGEST_LINE: usize = 500;
/// How keys begin that people print by mistake.
const KEYS: [&str; 10] =
    ["sk_live_", "sk_test_", "whsec_", "ak_", "rk_live_", "ghp_", "github_pat_", "xoxb-", "AKIA", "eyJ"];
/// What looks like a key must be this long to be one.
const SHORTEST_KEY: usize = 16;

/// Reads the last lines of a deployment's build log. Secrets of the run are masked, and what looks like a key.
#[derive(Debug)]
pub struct BuildLog;

/// Of which deployment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct VercelBuildLogParams {
    /// Its id (`dpl_…`) or its own address.
    pub deployment: String,
    /// How many lines, the last ones; 1 to 1000.
    #[serde(default = "default_lines")]
    pub lines: u16,
    /// The team's id (`team_…`) or slug, where the project belongs to a team.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub team: Option<String>,
    /// The name of the secret that holds a Vercel token.
    #[serde(default = "default_secret")]
    pub secret: String,
}

/// What it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct VercelBuildLogOutput {
    /// The lines, oldest first.
    pub lines: Vec<LogLine>,
    /// The same as one text.
    pub text: String,
    /// Those lines that went to the error output, as one text.
    pub errors: String,
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LogLine {
    /// When, RFC 3339.
    pub at: Option<String>,
    /// `stdout`, `stderr`, `command` …
    pub kind: String,
    /// The line, cut off after 500 characters.
    pub text: String,
}

fn default_lines() -> u16 {
    100
}

impl VercelBuildLogParams {
    fn scope(&self) -> Scope<'_> {
        Scope { project: "", team: self.team.as_deref() }
    }

    fn request(&self) -> Result<Request, ActionError> {
        if !(1..=1000).contains(&self.lines) {
            return Err(ActionError::invalid_params("`lines` is 1 to 1000"));
        }
        let segment = deployment_segment(&self.deployment)?;
        let mut request = self
            .scope()
            .request("GET", &format!("/v3/deployments/{segment}/events"))
            .query("direction", "backward")
            .query("limit", self.lines.to_string())
            .query("builds", "1");
        request.max_body = LARGEST_ANSWER;
        Ok(request)
    }
}

/// Masks what looks like a key, whosever it is.
fn mask_keys(line: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let mut masked = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(start) = rest.find(is_word) {
        let end = rest[start..].find(|c| !is_word(c)).map_or(rest.len(), |length| start + length);
        let word = &rest[start..end];
        masked.push_str(&rest[..start]);
        let is_key = word.len() >= SHORTEST_KEY && KEYS.iter().any(|key| word.starts_with(key));
        masked.push_str(if is_key { MASK } else { word });
        rest = &rest[end..];
    }
    masked.push_str(rest);
    masked
}

fn cut(text: &str) -> String {
    let text = text.trim_end();
    match text.char_indices().nth(LONGEST_LINE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// An event as a line. Vercel keeps the text in `payload`, or beside the type.
fn line(event: &Value, cx: &ActionContext) -> Option<LogLine> {
    let inner = event.get("payload").filter(|payload| payload.is_object()).unwrap_or(event);
    let text = inner.get("text").and_then(Value::as_str)?;
    let at = event.get("created").or_else(|| inner.get("date")).and_then(Value::as_i64).and_then(moment);
    let kind = event.get("type").and_then(Value::as_str).unwrap_or("stdout").to_owned();
    Some(LogLine { at, kind, text: cut(&mask_keys(&secret::shown(&cx.conceal(text)))) })
}

impl Action for BuildLog {
    const NAME: &'static str = "vercel.build_log";
    const SUMMARY: &'static str = "Reads the last lines of a Vercel deployment's build log.";
    const EFFECT: Effect = Effect::Read;
    const REPLAY: Replay = Replay::Safe;
    const SECRETS: &'static [&'static str] = &["vercel"];
    type Params = VercelBuildLogParams;
    type Output = VercelBuildLogOutput;

    async fn run(&self, cx: &ActionContext, params: VercelBuildLogParams) -> Result<VercelBuildLogOutput, ActionError> {
        let request = params.request()?;
        let url = request.url.clone();
        let vercel = Vercel::of_team(cx, params.scope(), &params.secret)?;
        let answer = vercel.call(request).await?;
        let Value::Array(events) = answer else {
            return Err(ActionError::invalid_response(format!("{url} answered without a list of events")));
        };
        // Backward: the last line comes first.
        let mut lines: Vec<LogLine> =
            events.iter().take(usize::from(params.lines)).filter_map(|event| line(event, cx)).collect();
        lines.reverse();
        if lines.is_empty() && !events.is_empty() && !events.iter().any(Value::is_object) {
            return Err(ActionError::invalid_response(format!("{url} answered events without a text")));
        }
        let joined = |meant: fn(&LogLine) -> bool| {
            lines.iter().filter(|line| meant(line)).map(|line| line.text.as_str()).collect::<Vec<_>>().join("\n")
        };
        let (text, errors) = (joined(|_| true), joined(|line| matches!(line.kind.as_str(), "stderr" | "fatal")));
        Ok(VercelBuildLogOutput { lines, text, errors })
    }

    fn describe(&self, params: &VercelBuildLogParams) -> Vec<Intent> {
        params.request().iter().map(Intent::from).collect()
    }

    fn needs(&self, params: &VercelBuildLogParams) -> Vec<Need> {
        vec![params.scope().token_is_taken(&params.secret)]
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::super::testing::{Answer, Bench, faults};
    use super::*;
    use crate::action::ErrorKind;
    use serde_json::json;

    fn params(more: Value) -> VercelBuildLogParams {
        let mut params = json!({ "deployment": "dpl_1", "team": "acme" });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(params).unwrap()
    }

    #[tokio::test]
    async fn the_last_lines_in_order_without_keys() {
        let long = "x".repeat(900);
        let events = json!([
            { "type": "stderr", "created": 1_700_000_000_000_i64, "payload": { "text": "Error: exited with 1\n" } },
            { "type": "stdout", "created": 1_699_999_999_000_i64, "text": "token vc_0123456789 and CLERK=sk_live_abcdefghijklmnop!" },
            { "type": "deployment-state", "created": 1, "payload": { "info": { "type": "build" } } },
            null,
            { "type": "command", "created": 1, "payload": { "text": long } },
        ]);
        let bench = Bench::with(move |_| Answer::json(200, &events)).await;
        let output = BuildLog.run(&bench.cx(), params(json!({ "lines": 50 }))).await.unwrap();
        let seen = bench.seen().remove(0);
        assert_eq!(seen.line(), "GET /v3/deployments/dpl_1/events");
        assert_eq!(seen.query, "slug=acme&direction=backward&limit=50&builds=1");
        assert_eq!(output.lines.len(), 3);
        assert_eq!(output.lines[0].text.chars().count(), LONGEST_LINE + 1);
        assert_eq!(output.lines[2].at.as_deref(), Some("2023-11-14T22:13:20Z"));
        assert_eq!(output.errors, "Error: exited with 1");
        assert!(output.text.contains(&format!("CLERK={MASK}!")), "{}", output.text);
        assert!(!output.text.contains("vc_0123456789"), "{}", output.text);
    }

    #[tokio::test]
    async fn a_log_that_is_too_large_is_refused() {
        let bench = Bench::with(|_| Answer::text(200, &" ".repeat(LARGEST_ANSWER + 1))).await;
        let error = BuildLog.run(&bench.cx(), params(json!({}))).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidResponse);
        for lines in [0, 1001] {
            let error = BuildLog.run(&Bench::new().cx(), params(json!({ "lines": lines }))).await.unwrap_err();
            assert_eq!(error.kind, ErrorKind::InvalidParams);
        }
    }

    #[tokio::test]
    async fn every_fault_has_its_kind() {
        for (answer, kind) in faults() {
            let told = format!("{answer:?}");
            let bench = Bench::with(move |_| answer.clone()).await;
            let error = BuildLog.run(&bench.cx(), params(json!({}))).await.unwrap_err();
            assert_eq!((error.kind, bench.seen().len()), (kind, 1), "{told}");
        }
        let bench = Bench::with(|_| Answer::json(200, &json!([]))).await;
        assert_eq!(BuildLog.run(&bench.cx(), params(json!({}))).await.unwrap().text, "", "no line is no failure");
    }

    #[test]
    fn words_that_are_no_keys_stay() {
        for line in ["ak_short", "npm install (eyJ)", "", "a eyJhbGci", "Größe: 3"] {
            assert_eq!(mask_keys(line), line);
        }
        assert_eq!(mask_keys("(whsec_0123456789abcdef)"), format!("({MASK})"));
    }
}
