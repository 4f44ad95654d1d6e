//! The stand-ins of a scenario, started by the binary and asked by hand.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};

use runbook::drill::Exchange;
use serde_json::Value;

use crate::plays::{Place, read};

/// Running stand-ins.
pub(crate) struct StandIns {
    place: Place,
    child: Child,
    ready: Value,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Value,
}

impl StandIns {
    /// Starts those of a scenario's text. Its clock runs as fast as the world's.
    pub(crate) fn of(scenario: &str) -> Self {
        let place = Place::new();
        let (script, transcript) = (place.path("scenario.yaml"), place.path("said.jsonl"));
        std::fs::write(&script, scenario).unwrap();
        let mut command = place.command();
        command.arg("stand-ins").arg(script).args(["--format", "json", "--until-eof", "--speed", "1", "--transcript"]);
        let mut child = command.arg(transcript).stdin(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line).unwrap_or_else(|_| {
            let mut complaint = String::new();
            child.stderr.as_mut().unwrap().read_to_string(&mut complaint).unwrap();
            panic!("{complaint}")
        });
        Self { place, child, ready }
    }

    /// Asks one of them. `request` is `GET /v1/users?limit=2`; a body makes it a request with one.
    pub(crate) fn ask(&self, name: &str, key: &str, request: &str, body: &str) -> Said {
        let one = self.ready["stand_ins"].as_array().unwrap().iter().find(|one| one["name"] == name).unwrap();
        let host = one["url"].as_str().unwrap().strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(host).unwrap();
        let carried = match body {
            "" => String::new(),
            body => format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len()),
        };
        write!(
            stream,
            "{request} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\nconnection: close\r\n{carried}\r\n{body}"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body = serde_json::from_str(body).unwrap_or_else(|_| Value::from(body));
        Said { status, head: head.to_lowercase(), body }
    }

    /// Stops them and gives what was asked and answered.
    pub(crate) fn heard(mut self) -> Vec<Exchange> {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
        read(&self.place.path("said.jsonl"))
    }
}

impl Drop for StandIns {
    fn drop(&mut self) {
        // The end of its standard input stops it, too, so a failed test leaves nothing running.
        let _over = self.child.kill();
        let _ended = self.child.wait();
    }
}
