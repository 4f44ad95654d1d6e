//! Sorts answers: what a status means, and what an error body says. The one place where that is decided.

use serde_json::Value;

use super::{ActionError, ErrorKind};
use crate::base::Timestamp;
use crate::http::Response;

/// How much of a vendor's own words to keep.
const LONGEST_TEXT: usize = 300;

/// Headers that hold a trace id, where the body holds none. Clerk's SDK falls back to Cloudflare's.
const TRACE_HEADERS: [&str; 3] = ["x-vercel-id", "x-request-id", "cf-ray"];

/// The JSON of a 2xx answer; `null` for an empty one.
pub(super) fn json(response: &Response, now: Timestamp) -> Result<Value, ActionError> {
    if !response.is_success() {
        return Err(refusal(response, now));
    }
    if response.body.is_empty() {
        return Ok(Value::Null);
    }
    response.json().ok_or_else(|| {
        let what = if is_html(response) { "an HTML page" } else { "something that is no whole JSON" };
        let mut error = ActionError::invalid_response(format!(
            "{} answered {} with {what} where JSON was promised",
            response.url, response.status
        ));
        error.status = Some(response.status);
        error.trace = trace(response, None);
        error
    })
}

/// The failure that an unwanted answer stands for: the class of its status, and the vendor's own words.
///
/// Understands the error bodies of Clerk (`errors[0]`, and the flat one of its maintenance mode) and Vercel (`error`,
/// `err`, or flat), and Svix (flat, and a list under `detail` where parameters do not fit), and takes what it can from any other.
pub fn refusal(response: &Response, now: Timestamp) -> ActionError {
    let body = response.json();
    let told = body.as_ref().map(innermost);
    let fields = body.as_ref().and_then(unfit_fields);
    let message = told.and_then(|told| {
        ["long_message", "longMessage", "message", "shortMessage", "detail", "title", "error"]
            .iter()
            .find_map(|key| told.get(key).and_then(Value::as_str))
    });
    let code = told
        .and_then(|told| text_or_number(told.get("code")?))
        .or_else(|| text_or_number(body.as_ref()?.pointer("/detail/0/type")?));
    let words = match (message, &body) {
        _ if fields.is_some() => fields,
        (Some(message), _) => Some(shortened(message)),
        (None, None) if is_html(response) => Some("an HTML page".to_owned()),
        (None, None) => response.text().lines().find(|line| !line.trim().is_empty()).map(shortened),
        (None, Some(_)) => None,
    };
    let mut sentence = format!("{} answered {}", response.url, response.status);
    if let Some(words) = words {
        sentence.push_str(&format!(": {words}"));
    }
    if let Some(code) = &code {
        sentence.push_str(&format!(" (code `{code}`)"));
    }
    let mut error = ActionError::new(ErrorKind::of_status(response.status), sentence);
    error.status = Some(response.status);
    error.code = code;
    error.trace = trace(response, body.as_ref());
    error.retry_after_ms = response.retry_after(now).map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
    error
}

/// Parameters that do not fit, as FastAPI and Svix list them: `detail: [{ loc, msg, type }]`.
fn unfit_fields(body: &Value) -> Option<String> {
    let details = body.get("detail")?.as_array()?;
    let told: Vec<String> = details
        .iter()
        .filter_map(|detail| {
            let place = detail.get("loc")?.as_array()?.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(".");
            Some(format!("`{place}`: {}", detail.get("msg")?.as_str()?))
        })
        .collect();
    (!told.is_empty()).then(|| shortened(&told.join("; ")))
}

/// The object in an error body that holds message and code.
fn innermost(body: &Value) -> &Value {
    body.pointer("/errors/0")
        .filter(|error| error.is_object())
        .or_else(|| body.get("error").filter(|error| error.is_object()))
        .or_else(|| body.get("err").filter(|error| error.is_object()))
        .unwrap_or(body)
}

fn trace(response: &Response, body: Option<&Value>) -> Option<String> {
    body.and_then(|body| body.get("clerk_trace_id"))
        .and_then(Value::as_str)
        .or_else(|| TRACE_HEADERS.iter().find_map(|name| response.header(name)))
        .map(shortened)
}

fn text_or_number(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(shortened(text)),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn is_html(response: &Response) -> bool {
    response.header("content-type").is_some_and(|kind| kind.starts_with("text/html"))
        || response.body.trim_ascii_start().first() == Some(&b'<')
}

fn shortened(text: &str) -> String {
    let text = text.trim();
    match text.char_indices().nth(LONGEST_TEXT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Response {
        Response {
            status,
            headers: headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
            body: body.as_bytes().to_vec(),
            elapsed: Duration::ZERO,
            url: "https://api.example.com/x".into(),
        }
    }

    fn told(status: u16, headers: &[(&str, &str)], body: &str) -> (ErrorKind, String) {
        let now = "2026-11-23T03:00:00Z".parse().unwrap();
        let error = json(&answer(status, headers, body), now).unwrap_err();
        let facts = format!("{} | {:?} {:?} {:?}", error.message, error.code, error.trace, error.retry_after_ms);
        (error.kind, facts.replace("https://api.example.com/x answered ", ""))
    }

    #[test]
    fn reads_the_error_bodies_of_every_vendor() {
        let clerk = r#"{"errors":[{"message":"a","long_message":"The key is wrong","code":"clerk_key_invalid"}],"clerk_trace_id":"t1"}"#;
        let maintenance = r#"{"shortMessage":"a","longMessage":"Back soon","code":"maintenance_mode"}"#;
        let pagerduty = r#"{"status":"invalid event","message":"Event object is invalid","errors":["no key"]}"#;
        let vercel = r#"{"error":{"code":"forbidden","message":"Not yours"}}"#;
        let cases = [
            (
                401,
                vec![],
                clerk,
                ErrorKind::Unauthorized,
                "401: The key is wrong (code `clerk_key_invalid`) | Some(\"clerk_key_invalid\") Some(\"t1\") None",
            ),
            (
                503,
                vec![("cf-ray", "8f")],
                maintenance,
                ErrorKind::Server,
                "503: Back soon (code `maintenance_mode`) | Some(\"maintenance_mode\") Some(\"8f\") None",
            ),
            (
                403,
                vec![],
                vercel,
                ErrorKind::Unauthorized,
                "403: Not yours (code `forbidden`) | Some(\"forbidden\") None None",
            ),
            (400, vec![], pagerduty, ErrorKind::Rejected, "400: Event object is invalid | None None None"),
            (429, vec![("retry-after", "7")], "", ErrorKind::RateLimited, "429 | None None Some(7000)"),
            (
                429,
                vec![("retry-after", "Mon, 23 Nov 2026 03:01:00 GMT")],
                "",
                ErrorKind::RateLimited,
                "429 | None None Some(60000)",
            ),
            (502, vec![], "<html>bad</html>", ErrorKind::Server, "502: an HTML page | None None None"),
            (500, vec![], "boom\nmore", ErrorKind::Server, "500: boom | None None None"),
            (404, vec![], "[]", ErrorKind::Rejected, "404 | None None None"),
            (302, vec![], "", ErrorKind::Rejected, "302 | None None None"),
            (
                200,
                vec![],
                "<html>",
                ErrorKind::InvalidResponse,
                "200 with an HTML page where JSON was promised | None None None",
            ),
            (
                200,
                vec![],
                "{\"a\":",
                ErrorKind::InvalidResponse,
                "200 with something that is no whole JSON where JSON was promised | None None None",
            ),
        ];
        for (status, headers, body, kind, facts) in cases {
            assert_eq!(told(status, &headers, body), (kind, facts.to_owned()));
        }
    }
}
