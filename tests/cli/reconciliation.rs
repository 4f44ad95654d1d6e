//! The shipped runbook for missed webhooks, from end to end, on a real database: SQLite always, PostgreSQL where there is one.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use runbook::base::clock::{SystemClock, before};
use runbook::base::{Clock, Timestamp};
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::{Place, said};

#[path = "../support/postgres.rs"]
mod postgres;

const ENDPOINT: &str = "https://shop.example.com/api/webhooks/clerk";

/// A time so many hours ago, to the second: Svix resends no more than fourteen days.
fn ago(hours: u64) -> String {
    let at = before(SystemClock.now(), Duration::from_secs(hours * 3600));
    Timestamp::from_second(at.as_second()).unwrap().to_string()
}

/// Takes a user into the customer's table, as a webhook that arrives does.
type Deliver = dyn Fn(&str) + Send;

/// Clerk, and Svix, which delivers what it is told to replay.
struct Vendors {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Vendors {
    /// Four users; `user_4` is in no message that Svix has.
    fn new(deliver: Box<Deliver>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let remembered = Arc::clone(&asked);
        std::thread::spawn(move || {
            let mut disabled = true;
            for mut stream in listener.incoming().map_while(Result::ok) {
                let (line, body) = request(&mut stream);
                remembered.lock().unwrap().push(format!("{line} {body}").trim().to_owned());
                let path = line.split_whitespace().nth(1).unwrap_or_default();
                let path = path.split('?').next().unwrap_or_default();
                let method = line.split_whitespace().next().unwrap_or_default();
                let endpoint = json!({ "id": "ep_1", "url": ENDPOINT, "disabled": disabled, "description": "" });
                let task = json!({ "id": "qtask_1", "status": "finished", "task": "endpoint.recover", "data": {} });
                let (status, answer) = match (method, path.rsplit('/').next().unwrap_or_default()) {
                    ("GET", "users") => (200, Value::from_iter((1..=4).map(user))),
                    ("GET", "endpoint") => (200, json!({ "data": [endpoint], "iterator": "ep_1", "done": true })),
                    ("GET", "ep_1") if path.contains("attempt") => {
                        let row = json!({ "id": "atmpt_1", "msgId": "msg_2", "status": 2, "timestamp": "2026-03-10T16:00:00Z" });
                        (200, json!({ "data": [row], "iterator": null, "done": true }))
                    }
                    ("GET", "ep_1") => (200, endpoint),
                    ("PATCH", "ep_1") => {
                        disabled = false;
                        (200, json!({ "id": "ep_1", "url": ENDPOINT, "disabled": false }))
                    }
                    ("GET", "stats") => {
                        (200, json!({ "success": 1, "pending": 0, "sending": 0, "fail": 1, "canceled": 0 }))
                    }
                    ("POST", "resend") => (202, json!({})),
                    ("POST", "recover") => {
                        deliver("user_2");
                        (202, task)
                    }
                    ("POST", "replay-missing") => {
                        deliver("user_3");
                        (202, task)
                    }
                    ("GET", "qtask_1") => (200, task),
                    _ => (404, json!({ "code": "not_found", "detail": "Entity not found" })),
                };
                let answer = answer.to_string();
                let head = "content-type: application/json\r\nconnection: close\r\ncontent-length";
                let _ = stream
                    .write_all(format!("HTTP/1.1 {status} So\r\n{head}: {}\r\n\r\n{answer}", answer.len()).as_bytes());
            }
        });
        Self { address, asked }
    }
}

fn user(number: u32) -> Value {
    json!({ "id": format!("user_{number}"), "banned": false, "locked": false, "created_at": 1_773_158_000_000_u64 + u64::from(number) })
}

/// The first line of a request, and its body.
fn request(stream: &mut impl Read) -> (String, String) {
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return (head.lines().next().unwrap_or_default().to_owned(), body.to_owned());
            }
        }
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return (String::new(), String::new()),
            Ok(read) => bytes.extend_from_slice(&piece[..read]),
        }
    }
}

/// Runs the shipped runbook, with this database, up to the person who takes over `user_4` by hand.
fn reconcile(url: &str, deliver: Box<Deliver>, users: impl Fn() -> Vec<String>) {
    let place = Place::new();
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("runbooks/clerk-webhook-replay.yaml");
    // One user never comes to the database: a test has no three minutes for that.
    let text = std::fs::read_to_string(shipped).unwrap();
    let quick = text.replace("      every: 15s\n      within: 3m", "      every: 100ms\n      within: 300ms");
    assert_ne!(text, quick);
    place.write("clerk-webhook-replay.yaml", &quick).write("approvers.yaml", "groups: { oncall: [tester] }\n");
    let vendors = Vendors::new(deliver);
    let (clerk, svix) =
        (format!("clerk=http://{}", vendors.address), format!("https://api.eu.svix.com=http://{}", vendors.address));
    assert_eq!(users(), ["user_1"]);
    let (endpoint, since) = (format!("endpoint={ENDPOINT}"), ago(2));
    let input = format!("since={since}");
    let mut command = place.command(&[
        "run",
        "clerk-webhook-replay",
        "-i",
        &input,
        "-i",
        &endpoint,
        "-i",
        "svix_app=app_1",
        "--endpoint",
        &clerk,
        "--endpoint",
        &svix,
        "--approve",
        "go",
        "--answer",
        "go.cause=a test",
    ]);
    command
        .env("CLERK_SECRET_KEY", "sk_test_0123456789")
        .env("SVIX_TOKEN", "testsk_0123456789.eu")
        .env("DATABASE_URL", url);
    // It ends where a person is needed: to take over the one whom no replay brought.
    let told = said(&mut command);
    assert_eq!(told.code, Some(4), "{}", told.stderr);
    assert!(told.stderr.contains("user_4"), "{}", told.stderr);
    assert!(!told.stderr.contains("user_2 user_3"), "{}", told.stderr);
    assert_eq!(users(), ["user_1", "user_2", "user_3"]);
    let asked = vendors.asked.lock().unwrap().join("\n");
    for wanted in [
        r#"PATCH /api/v1/app/app_1/endpoint/ep_1 HTTP/1.1 {"disabled":false}"#.to_owned(),
        r#"POST /api/v1/app/app_1/msg/msg_2/endpoint/ep_1/resend HTTP/1.1"#.to_owned(),
        format!(r#"POST /api/v1/app/app_1/endpoint/ep_1/recover HTTP/1.1 {{"since":"{since}"}}"#),
        format!(r#"POST /api/v1/app/app_1/endpoint/ep_1/replay-missing HTTP/1.1 {{"since":"{since}"}}"#),
    ] {
        assert!(asked.contains(&wanted), "{wanted}\n{asked}");
    }
    // Nothing that was left behind knows the way into the database.
    let mut folders = vec![place.state()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.path().is_dir() {
                folders.push(entry.path());
                continue;
            }
            let text = String::from_utf8_lossy(&std::fs::read(entry.path()).unwrap()).into_owned();
            assert!(!text.contains(url) && !text.contains(postgres::PASSWORD), "{}", entry.path().display());
        }
    }
}

#[test]
fn missed_users_are_found_replayed_and_compared_again_in_sqlite() {
    let place = Place::new();
    let file = place.path("shop.db");
    let open = Connection::open(&file).unwrap();
    open.execute_batch(&format!(
        "CREATE TABLE users (clerk_id TEXT PRIMARY KEY, created_at TEXT NOT NULL);
         INSERT INTO users VALUES ('user_1', '{}'), ('long_ago', '2026-01-01T00:00:00Z');",
        ago(1)
    ))
    .unwrap();
    let (written, read) = (file.clone(), file.clone());
    let deliver = move |user: &str| {
        let insert = "INSERT INTO users VALUES (?, ?)";
        Connection::open(&written).unwrap().execute(insert, [user, &ago(1)]).unwrap();
    };
    let users = move || {
        let open = Connection::open(&read).unwrap();
        let mut statement = open.prepare("SELECT clerk_id FROM users WHERE clerk_id LIKE 'user%' ORDER BY 1").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    reconcile(&format!("sqlite:{}", file.display()), Box::new(deliver), users);
}

#[test]
fn missed_users_are_found_replayed_and_compared_again_in_postgresql() {
    let test = "missed_users_are_found_replayed_and_compared_again_in_postgresql";
    let Some(server) = postgres::Server::start(test) else { return };
    server.run(&format!(
        "CREATE TABLE users (clerk_id text PRIMARY KEY, created_at timestamptz NOT NULL);
         INSERT INTO users VALUES ('user_1', '{}'), ('long_ago', '2026-01-01T00:00:00Z');
         CREATE ROLE reader LOGIN PASSWORD '{}'; GRANT SELECT ON users TO reader;",
        ago(1),
        postgres::PASSWORD
    ));
    let server = Arc::new(server);
    // The vendors outlive the test, and must not keep the server running.
    let (written, read) = (Arc::downgrade(&server), Arc::clone(&server));
    let deliver = move |user: &str| {
        written.upgrade().unwrap().run(&format!("INSERT INTO users VALUES ('{user}', '{}')", ago(1)));
    };
    let users = move || {
        let found = read.run("SELECT clerk_id FROM users WHERE clerk_id LIKE 'user%' ORDER BY 1");
        found.lines().map(str::to_owned).collect()
    };
    // A role that may only read is enough, and nobody on the way needs to see what it reads.
    let ssl = server.certificate_path().map_or("", |_| "?sslmode=require");
    let url = server.tcp_url(postgres::PASSWORD, ssl).replace("runbook:", "reader:");
    reconcile(&url, Box::new(deliver), users);
}
