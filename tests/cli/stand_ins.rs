//! `runbook stand-ins`: the stand-ins of a scenario by themselves, asked over the wire.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};

use serde_json::Value;

use crate::support::{Place, ended, shipped, signal};

const KEY: &str = "sk_test_drill_0000000000000000";

/// Starts them and waits until they say where they listen.
fn started(place: &Place, arguments: &[&str]) -> (Child, Value) {
    let mut command = place.command(&["stand-ins", "runbooks/drills/clerk-triage.wrong-key.yaml", "--format", "json"]);
    let mut child = command.args(arguments).stdin(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    (child, serde_json::from_str(&line).unwrap())
}

fn asked(ready: &Value, name: &str, request: &str) -> String {
    let one = ready["stand_ins"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap();
    let host = one["url"].as_str().unwrap().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(host).unwrap();
    let sent =
        format!("{request} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {KEY}\r\nconnection: close\r\n\r\n");
    stream.write_all(sent.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn they_play_until_a_signal_and_keep_nothing() {
    let place = Place::new();
    shipped(&place);
    let (child, ready) = started(&place, &[]);
    assert_eq!((&ready["scenario"], &ready["speed"]), (&"clerk-triage-wrong-key".into(), &60.0.into()));
    assert!(asked(&ready, "clerk", "GET /v1/jwks").starts_with("HTTP/1.1 401"));
    assert!(asked(&ready, "vercel", "GET /v2/user").starts_with("HTTP/1.1 403"), "another vendor's key");
    signal(&child, "TERM");
    let said = ended(child);
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
    assert!(!place.state().exists(), "no run was made");
}

#[test]
fn a_transcript_has_what_was_asked_and_answered_and_no_key() {
    let place = Place::new();
    shipped(&place);
    let (mut child, ready) = started(&place, &["--until-eof", "--transcript", "said.jsonl"]);
    assert!(asked(&ready, "clerk_frontend", "GET /v1/health?a=b%20c").starts_with("HTTP/1.1 200"));
    drop(child.stdin.take());
    assert_eq!(ended(child).code, Some(0));
    let text = place.read("said.jsonl");
    let exchange: runbook::drill::Exchange = serde_json::from_str(&text).unwrap();
    assert_eq!((exchange.on, exchange.request.path.as_str()), (runbook::drill::StandIn::ClerkFrontend, "/v1/health"));
    assert_eq!(exchange.request.query, [("a".to_owned(), "b c".to_owned())]);
    let answer = exchange.answer.unwrap();
    assert_eq!((answer.status, answer.body.contains("healthy")), (200, true));
    assert!(!text.contains(KEY) && exchange.request.headers.contains_key("host"));
}

#[test]
fn a_drill_writes_its_transcript_too_and_goes_on_writing_it_when_resumed() {
    let place = Place::new();
    shipped(&place);
    let said = place.run(&["drill", "clerk-triage", "-q", "--transcript", "said.jsonl"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let lines: Vec<runbook::drill::Exchange> =
        place.read("said.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let closed = lines.iter().find(|line| line.on == runbook::drill::StandIn::ClerkFrontend).unwrap();
    assert_eq!(closed.answer, None, "the frontend is down in this scenario");
    let world = place.log_path().unwrap().with_file_name("world.jsonl");
    let seen = std::fs::read_to_string(world).unwrap().lines().filter(|line| line.contains("\"asked\"")).count();
    assert_eq!(lines.len(), seen, "nothing is left out");
    let settings = std::fs::read_to_string(place.log_path().unwrap().with_file_name("drill.json")).unwrap();
    let settings: Value = serde_json::from_str(&settings).unwrap();
    assert_eq!(settings["transcript"], place.path("said.jsonl").to_str().unwrap());
}

#[test]
fn what_cannot_be_played_is_refused() {
    let place = Place::new();
    shipped(&place);
    for (arguments, words) in [
        (&["nothing"][..], "there is no scenario `nothing`"),
        (&["clerk-triage", "--port", "acme=1"], "there is no stand-in `acme`; there are: clerk, clerk_frontend"),
        (&["clerk-triage", "--port", "svix=1"], "`svix` does not play in"),
        (&["clerk-triage", "--port", "clerk=70000"], "`70000` is not a port"),
        (&["clerk-triage", "--speed", "0.5"], "a speed of 0.5 makes no sense"),
    ] {
        let said = place.run(&[&["stand-ins"], arguments].concat());
        assert_eq!(said.code, Some(2), "{}", said.stderr);
        assert!(said.stderr.contains(words), "{}", said.stderr);
    }
}
