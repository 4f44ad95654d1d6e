//! One table for all actions that speak to a vendor: what each makes of every status and every fault on the wire, whether
//! it then knows that nothing was done, and how many requests it sent to find out.
//!
//! The table is `vendor_faults.txt`, for people to read and to argue with. An action without a row fails here.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::testing::Bench;

/// What goes wrong with the one request that is struck.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Status(u16),
    /// 429, `Retry-After` in seconds.
    ThrottledFor,
    /// 429, `Retry-After` as a date.
    ThrottledUntil,
    /// 502 and a page.
    Edge,
    /// 503 in the shape of Clerk's maintenance.
    Maintenance,
    /// Nobody listens.
    Refused,
    /// The connection is closed before the request was read.
    ClosedBefore,
    /// The connection is closed after the request was read.
    ClosedAfter,
    /// No answer.
    Silence,
    /// 200 and half a document.
    Truncated,
    /// 200 and a page.
    Page,
    /// 302 to a page.
    Redirect,
}

const FAULTS: [(&str, Fault); 19] = [
    ("400", Fault::Status(400)),
    ("401", Fault::Status(401)),
    ("403", Fault::Status(403)),
    ("404", Fault::Status(404)),
    ("409", Fault::Status(409)),
    ("422", Fault::Status(422)),
    ("429 for", Fault::ThrottledFor),
    ("429 until", Fault::ThrottledUntil),
    ("500", Fault::Status(500)),
    ("502 page", Fault::Edge),
    ("503", Fault::Status(503)),
    ("503 maintenance", Fault::Maintenance),
    ("refused", Fault::Refused),
    ("closed before", Fault::ClosedBefore),
    ("closed after", Fault::ClosedAfter),
    ("silence", Fault::Silence),
    ("truncated", Fault::Truncated),
    ("page", Fault::Page),
    ("redirect", Fault::Redirect),
];

/// What came of an action: `rejected`, or `network?` when it cannot know whether it happened, and how many requests the
/// struck one became.
type Came = String;

/// An action, what it is given, and which of its requests is struck; the others are answered well.
struct Row {
    action: &'static str,
    params: Value,
    struck: &'static str,
}

/// Good answers of all vendors, by method and path.
fn good(request: &str) -> Value {
    let user = json!({ "id": "user_1", "banned": false, "locked": false, "created_at": 1, "password_enabled": true });
    let (method, path) = request.split_once(' ').unwrap();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let deployment = json!({
        "id": "dpl_2", "uid": "dpl_2", "name": "shop", "url": "shop-2.vercel.app", "target": "production", "readyState": "READY",
        "state": "READY", "aliasAssigned": 1, "aliasError": null, "created": 1, "createdAt": 1, "meta": {},
    });
    let serving = json!({
        "id": "dpl_1", "name": "shop", "url": "shop-1.vercel.app", "readyState": "READY", "aliasAssigned": 1, "target": "production",
    });
    match (method, segments.as_slice()) {
        ("GET", ["v1", "users"]) => json!([user]),
        ("GET", ["v1", "users", "count"]) => json!({ "object": "total_count", "total_count": 1 }),
        (_, ["v1", "users", ..]) => user,
        ("GET", ["v1", "sessions"]) => {
            json!([{ "id": "sess_1", "user_id": "user_1", "status": "active", "created_at": 1 }])
        }
        (_, ["v1", "sessions", ..]) => json!({ "id": "sess_1", "user_id": "user_1", "status": "revoked" }),
        ("GET", ["v1", "jwt_templates"]) => json!([]),
        ("GET", ["v1", "instance"]) => {
            json!({ "object": "instance", "id": "ins_1", "environment_type": "production", "allowed_origins": [], "workspace_id": null })
        }
        ("GET", ["v1", "platform", "applications", _]) => json!({
            "application_id": "app_1", "name": "Shop",
            "instances": [{ "instance_id": "ins_1", "environment_type": "production", "secret_key": "sk_live_old000000000" }],
        }),
        ("GET", ["v9", "projects", _]) => json!({
            "id": "prj_1", "name": "shop", "accountId": "user_1", "autoAssignCustomDomains": true,
            "targets": { "production": serving },
        }),
        ("GET", ["v10", "projects", _, "env"]) => json!({ "envs": [
            { "id": "env_1", "key": "A", "value": "x", "type": "plain", "target": ["production"], "decrypted": true },
        ] }),
        ("GET", ["v1", "projects", _, "env", _]) => {
            json!({ "id": "env_1", "key": "A", "value": "x", "type": "plain", "target": ["production"], "decrypted": true })
        }
        ("GET", ["v7", "deployments"]) => {
            json!({ "deployments": [deployment], "pagination": { "count": 1, "next": null } })
        }
        ("GET", ["v13", "deployments", "dpl_1"]) => serving,
        ("GET", ["v13", "deployments", _]) => deployment,
        ("GET", ["v1", "edge-config", _, "items"]) => json!([]),
        ("GET", ["api", "v1", "app", _, "endpoint", _]) => {
            json!({ "id": "ep_1", "url": "https://shop.example.com/hook", "disabled": true, "description": "", "metadata": {} })
        }
        _ => Value::Null,
    }
}

fn row(action: &'static str, struck: &'static str, params: Value) -> Row {
    Row { action, params, struck }
}

/// A vendor over plain sockets: one connection for each request, so that what happens to each can be told apart.
struct Vendor {
    address: String,
    /// How often the struck request came, counting connections that were not read.
    struck: Arc<Mutex<usize>>,
    /// How many requests came before it.
    ahead: Arc<Mutex<Option<usize>>>,
}

impl Vendor {
    /// Answers well what is not struck. `ahead` is how many requests come before the struck one.
    async fn with(struck: &'static str, fault: Fault, ahead: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let count: Arc<Mutex<usize>> = Arc::default();
        let first: Arc<Mutex<Option<usize>>> = Arc::default();
        let (counted, found) = (Arc::clone(&count), Arc::clone(&first));
        if fault == Fault::Refused && ahead == 0 {
            return Self { address, struck: count, ahead: first };
        }
        tokio::spawn(async move {
            let mut served = 0;
            let mut held = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                if fault == Fault::ClosedBefore && served >= ahead {
                    *counted.lock().unwrap() += 1;
                    continue;
                }
                let Some(request) = read(&mut stream).await else { continue };
                served += 1;
                let is_struck = matches(struck, &request);
                let answer = if is_struck {
                    *counted.lock().unwrap() += 1;
                    found.lock().unwrap().get_or_insert(served - 1);
                    fault.answer()
                } else {
                    Some(whole(200, "", "application/json", &good(&request).to_string()))
                };
                match answer {
                    Some(answer) => {
                        let _sent = stream.write_all(answer.as_bytes()).await;
                        let _over = stream.shutdown().await;
                    }
                    None if fault == Fault::Silence => held.push(stream),
                    None => {}
                }
                if fault == Fault::Refused && served >= ahead {
                    return;
                }
            }
        });
        Self { address, struck: count, ahead: first }
    }
}

impl Fault {
    /// What is sent; nothing when the connection closes or is held.
    fn answer(self) -> Option<String> {
        let refusal =
            json!({ "errors": [{ "message": "no", "code": "no" }], "error": { "code": "no", "message": "no" } });
        let json = |status, headers: &str| Some(whole(status, headers, "application/json", &refusal.to_string()));
        match self {
            Self::Status(status) => json(status, ""),
            Self::ThrottledFor => json(429, "retry-after: 7\r\n"),
            Self::ThrottledUntil => json(429, "retry-after: Mon, 23 Nov 2026 03:01:00 GMT\r\n"),
            Self::Edge => Some(whole(502, "", "text/html", "<!doctype html><title>Bad gateway</title>")),
            Self::Maintenance => {
                let body = json!({ "shortMessage": "s", "longMessage": "l", "code": "maintenance_mode" });
                Some(whole(503, "", "application/json", &body.to_string()))
            }
            Self::Refused | Self::ClosedBefore | Self::ClosedAfter | Self::Silence => None,
            Self::Truncated => Some(whole(200, "", "application/json", "{\"id\": \"x")),
            Self::Page => Some(whole(200, "", "text/html", "<!doctype html><title>Sign in</title>")),
            Self::Redirect => Some(whole(302, "location: https://example.com/sign-in\r\n", "text/html", "")),
        }
    }
}

fn whole(status: u16, headers: &str, kind: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} x\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}"
    )
}

/// Reads a request to its end and gives `GET /path`.
async fn read(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        let mut some = [0; 4096];
        let count = stream.read(&mut some).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&some[..count]);
        let text = String::from_utf8_lossy(&bytes);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
        if body.len() >= length.unwrap_or(0) {
            let mut words = head.split([' ', '?']);
            return Some(format!("{} {}", words.next()?, words.next()?));
        }
    }
}

/// Is this the struck request? `*` stands for any one segment.
fn matches(struck: &str, request: &str) -> bool {
    let (known, asked): (Vec<&str>, Vec<&str>) = (struck.split('/').collect(), request.split('/').collect());
    known.len() == asked.len() && known.iter().zip(asked).all(|(known, asked)| *known == "*" || *known == asked)
}

fn rows() -> Vec<Row> {
    let quick = |more: Value| {
        let mut params = json!({ "timeout": "1s" });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        params
    };
    let user = || quick(json!({ "user_id": "user_1" }));
    let svix = |more: Value| {
        let mut params = quick(json!({ "app": "app_1", "endpoint": "ep_1" }));
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        params
    };
    let shop = |more: Value| {
        let mut params = json!({ "project": "shop" });
        params.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        params
    };
    let since = json!({ "since": "2026-11-22T03:00:00Z" });
    vec![
        row("clerk.ping", "GET /v1/jwks", quick(json!({}))),
        row("clerk.instance", "GET /v1/instance", quick(json!({}))),
        row("clerk.jwt_templates", "GET /v1/jwt_templates", quick(json!({}))),
        row("clerk.svix_portal", "POST /v1/webhooks/svix_url", quick(json!({}))),
        row("clerk.users.count", "GET /v1/users/count", quick(json!({}))),
        row("clerk.users.list", "GET /v1/users", quick(json!({}))),
        row("clerk.users.ban", "GET /v1/users/*", user()),
        row("clerk.users.ban", "POST /v1/users/*/ban", user()),
        row("clerk.users.unban", "GET /v1/users/*", user()),
        row("clerk.users.lock", "POST /v1/users/*/lock", user()),
        row("clerk.users.unlock", "GET /v1/users/*", user()),
        row("clerk.sessions.count", "GET /v1/users/count", quick(json!({}))),
        row("clerk.sessions.count", "GET /v1/sessions", quick(json!({}))),
        row("clerk.sessions.revoke_user", "GET /v1/sessions", user()),
        row("clerk.sessions.revoke_user", "POST /v1/sessions/*/revoke", user()),
        row("clerk.sessions.revoke_all", "GET /v1/instance", quick(json!({}))),
        row("clerk.sessions.revoke_all", "GET /v1/users", quick(json!({}))),
        row("clerk.platform.application", "GET /v1/platform/applications/*", quick(json!({ "application": "app_1" }))),
        row(
            "clerk.platform.rotate_secret_key",
            "POST /v1/platform/applications/*/instances/*/rotate_secret_keys",
            quick(json!({ "application": "app_1", "grace_hours": 1, "reason": "test" })),
        ),
        row("svix.endpoints", "GET /api/v1/app/*/endpoint", quick(json!({ "app": "app_1" }))),
        row("svix.stats", "GET /api/v1/app/*/endpoint/*/stats", svix(json!({}))),
        row("svix.attempts", "GET /api/v1/app/*/attempt/endpoint/*", svix(json!({}))),
        row("svix.endpoint.enable", "GET /api/v1/app/*/endpoint/*", svix(json!({}))),
        row("svix.endpoint.enable", "PATCH /api/v1/app/*/endpoint/*", svix(json!({}))),
        row("svix.recover", "POST /api/v1/app/*/endpoint/*/recover", svix(since.clone())),
        row("svix.replay_missing", "POST /api/v1/app/*/endpoint/*/replay-missing", svix(since)),
        row("svix.resend", "POST /api/v1/app/*/msg/*/endpoint/*/resend", svix(json!({ "message": "msg_1" }))),
        row("vercel.env.list", "GET /v10/projects/*/env", shop(json!({}))),
        row("vercel.env.get", "GET /v10/projects/*/env", shop(json!({ "name": "A" }))),
        row("vercel.env.set", "GET /v10/projects/*/env", shop(json!({ "values": { "B": "1" } }))),
        row("vercel.env.set", "POST /v10/projects/*/env", shop(json!({ "values": { "B": "1" } }))),
        row("vercel.env.remove", "GET /v10/projects/*/env", shop(json!({ "names": ["A"] }))),
        row("vercel.env.remove", "DELETE /v9/projects/*/env/*", shop(json!({ "names": ["A"] }))),
        row("vercel.project", "GET /v9/projects/*", shop(json!({}))),
        row("vercel.deployments", "GET /v9/projects/*", shop(json!({}))),
        row("vercel.deployments", "GET /v7/deployments", shop(json!({}))),
        row("vercel.deployment", "GET /v13/deployments/*", json!({ "deployment": "dpl_2" })),
        row("vercel.build_log", "GET /v3/deployments/*/events", json!({ "deployment": "dpl_2" })),
        row("vercel.cancel", "PATCH /v12/deployments/*/cancel", json!({ "deployment": "dpl_2" })),
        row("vercel.redeploy", "GET /v9/projects/*", shop(json!({}))),
        row("vercel.redeploy", "POST /v13/deployments", shop(json!({}))),
        row(
            "vercel.promote",
            "POST /v10/projects/*/promote/*",
            shop(json!({ "deployment": "dpl_2", "deadline": "20s" })),
        ),
        row("vercel.rollback", "POST /v1/projects/*/rollback/*", shop(json!({ "to": "dpl_2", "deadline": "20s" }))),
        row(
            "vercel.edge_config.set",
            "PATCH /v1/edge-config/*/items",
            json!({ "edge_config": "ecfg_1", "items": { "a": 1 } }),
        ),
        row("slack.post", "POST /services/*/*/*", quick(json!({ "text": "hello" }))),
        row(
            "pagerduty.trigger",
            "POST /v2/enqueue",
            quick(json!({ "summary": "s", "source": "shop", "severity": "info" })),
        ),
        row("pagerduty.acknowledge", "POST /v2/enqueue", quick(json!({}))),
        row("pagerduty.resolve", "POST /v2/enqueue", quick(json!({}))),
        row("pagerduty.change", "POST /v2/change/enqueue", quick(json!({ "summary": "s" }))),
    ]
}

/// Actions that take no answer for a failure, or whatever they are told to; their own files test what they make of each.
const JUDGES: [&str; 11] = [
    "clerk.frontend_health",
    "clerk.session_refresh",
    "http.get",
    "http.probe",
    "http.request",
    "report.render",
    "shell",
    "sql.execute",
    "sql.query",
    "status.check",
    "status.wait",
];

async fn came(row: &Row, fault: Fault, ahead: usize) -> (Came, Option<usize>) {
    let vendor = Vendor::with(row.struck, fault, ahead).await;
    let bench = Bench::at(&vendor.address);
    let action = super::builtin();
    let action = action.get(row.action).unwrap();
    let told = match action.run(&bench.cx(), row.params.clone()).await {
        Ok(_) => "fine".to_owned(),
        Err(error) => format!("{}{}", error.kind, if error.uncertain { "?" } else { "" }),
    };
    let (struck, ahead) = (*vendor.struck.lock().unwrap(), *vendor.ahead.lock().unwrap());
    (format!("{told} {struck}"), ahead)
}

/// A row of the table: what came, and of which faults.
async fn told(row: &Row) -> String {
    let (_, ahead) = came(row, Fault::Status(400), 0).await;
    let Some(ahead) = ahead else { return format!("{}: {}\n    it never came to that\n", row.action, row.struck) };
    let mut outcomes: BTreeMap<Came, Vec<&str>> = BTreeMap::new();
    for (name, fault) in FAULTS {
        let (found, _) = came(row, fault, ahead).await;
        outcomes.entry(found).or_default().push(name);
    }
    let mut text = format!("{}: {}\n", row.action, row.struck);
    for (came, faults) in outcomes {
        text.push_str(&format!("    {came}: {}\n", faults.join(", ")));
    }
    text
}

#[test]
fn every_action_makes_of_every_fault_what_the_table_says() {
    // Each thread does its rows one after the other: what is measured in one must not wait for the others.
    let rows = rows();
    let parts: Vec<String> = std::thread::scope(|scope| {
        let of_rows = |rows| {
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                let told: Vec<String> = <[Row]>::iter(rows).map(|row| runtime.block_on(told(row))).collect();
                told.join("\n")
            }
        };
        let threads: Vec<_> = rows.chunks(rows.len().div_ceil(8)).map(|rows| scope.spawn(of_rows(rows))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let found = parts.join("\n");
    let table = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/actions/vendor_faults.txt");
    let table = std::fs::read_to_string(table).unwrap_or_default();
    // What stands before the first row is for people.
    let known = table.split_once("\n\n").map_or("", |(_, rows)| rows);
    let all = found.split("\n\n").collect::<Vec<_>>();
    let wrong: Vec<&str> =
        all.into_iter().filter(|row| !known.split("\n\n").any(|known| known.trim() == row.trim())).collect();
    assert!(wrong.is_empty(), "these rows are otherwise in the table:\n\n{}", wrong.join("\n\n"));
}

#[test]
fn every_action_has_a_row() {
    let rows = rows();
    for name in super::builtin().names() {
        let has_row = rows.iter().any(|row| row.action == name);
        assert!(has_row != JUDGES.contains(&name), "`{name}` needs a row, or to be named as one that judges itself");
    }
}
