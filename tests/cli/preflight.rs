//! `preflight`: what a run would miss is told all at once; nothing is written, and nothing is sent but questions.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};

use crate::support::{Place, Said, said};

/// A vendor that answers as the test says, and remembers what it was asked. Whatever is no question it refuses.
struct Vendor {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Vendor {
    fn new(answer: impl Fn(&str) -> (u16, &'static str) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked: Arc<Mutex<Vec<String>>> = Arc::default();
        let remembered = Arc::clone(&asked);
        std::thread::spawn(move || {
            for mut stream in listener.incoming().map_while(Result::ok) {
                let head = head_of(&mut stream);
                let mut words = head.split_whitespace();
                let line = format!("{} {}", words.next().unwrap_or_default(), words.next().unwrap_or_default());
                let key = head.lines().find_map(|line| line.strip_prefix("authorization: Bearer ")).unwrap_or("no key");
                remembered.lock().unwrap().push(format!("{line} ({key})"));
                let (status, body) = match line.split_once(' ') {
                    Some(("GET" | "HEAD", path)) => answer(path),
                    _ => (405, "{}"),
                };
                let sent = if line.starts_with("HEAD") { "" } else { body };
                let head = "content-type: application/json\r\nretry-after: 7\r\nconnection: close\r\ncontent-length";
                let _ = stream
                    .write_all(format!("HTTP/1.1 {status} So\r\n{head}: {}\r\n\r\n{sent}", body.len()).as_bytes());
            }
        });
        Self { address, asked }
    }

    /// What it was asked, sorted: questions are put side by side.
    fn asked(&self) -> Vec<String> {
        let mut asked = self.asked.lock().unwrap().clone();
        asked.sort();
        asked
    }

    fn endpoint(&self, name: &str) -> String {
        format!("--endpoint={name}=http://{}", self.address)
    }
}

fn head_of(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => break,
            Ok(read) => head.extend_from_slice(&piece[..read]),
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}

/// Everything is as it should be.
fn good(path: &str) -> (u16, &'static str) {
    match path {
        "/v1/instance" => (200, r#"{"object":"instance","id":"ins_1","environment_type":"production"}"#),
        "/v2/user" => (200, r#"{"user":{"username":"ops-bot"}}"#),
        "/v9/projects/shop?slug=acme" => (200, r#"{"id":"prj_1","name":"shop"}"#),
        "/v10/projects/shop/env?slug=acme" => (200, r#"{"envs":[]}"#),
        _ => (200, "{}"),
    }
}

/// Uses a little of everything.
const RUNBOOK: &str = r#"runbook: outage
outage_of: [clerk]
inputs:
  project: { type: string, required: true }
  app: { type: url, required: true }
secrets:
  clerk: { env: CLERK_KEY }
  vercel: { file: token }
locks: ["deploy:{{ inputs.project }}"]
steps:
  ping: { uses: clerk.ping }
  again: { needs: [ping], uses: clerk.ping }
  look: { uses: http.get, with: { url: "{{ inputs.app }}/health" } }
  later: { needs: [look], uses: http.get, with: { url: "https://{{ look.outputs.body }}.example.com/" } }
  never: { if: "inputs.project == 'other'", uses: http.get, with: { url: "http://never.invalid/" } }
  set:
    needs: [ping]
    approval: { prompt: "Now?", by: ["group:oncall"], not_requester: true }
    uses: vercel.env.set
    with: { project: "{{ inputs.project }}", team: acme, values: { BYPASS: "1" } }
    undo: auto
  script:
    run: |
      echo "kubectl" | sed s/a/b/
      PAGER=cat git log
    undo: { argv: [./undo.sh] }
finally:
  report: { uses: report.render }
"#;

fn place(runbook: &str, approvers: &str) -> Place {
    let place = Place::new();
    place.write("outage.yaml", runbook).write("approvers.yaml", approvers);
    place.write("token", "tok_0123456789\n").write("undo.sh", "#!/bin/sh\n").write("bin/git", "#!/bin/sh\n");
    mode(&place, "token", 0o600);
    mode(&place, "undo.sh", 0o755);
    mode(&place, "bin/git", 0o755);
    place
}

fn mode(place: &Place, file: &str, mode: u32) {
    std::fs::set_permissions(place.path(file), std::fs::Permissions::from_mode(mode)).unwrap();
}

fn preflight(place: &Place, vendor: &Vendor, more: &[&str]) -> Said {
    let (clerk, vercel) = (vendor.endpoint("clerk"), vendor.endpoint("vercel"));
    let app = format!("-iapp=http://{}", vendor.address);
    let arguments = [&["preflight", "outage", "-iproject=shop", &app, &clerk, &vercel], more].concat();
    said(place.command(&arguments).env("CLERK_KEY", "sk_live_0123456789").env("PATH", place.path("bin")))
}

/// The output without what differs from place to place.
fn plain(place: &Place, vendor: &Vendor, text: &str) -> String {
    let folder = place.folder().display().to_string();
    text.replace(&folder, "WORK")
        .replace(&place.state().display().to_string(), "STATE")
        .replace(&vendor.address.to_string(), "HERE")
}

#[test]
fn nothing_is_missing() {
    let place = place(RUNBOOK, "groups: { oncall: [alice, bob] }\n");
    let vendor = Vendor::new(good);
    let said = preflight(&place, &vendor, &[]);
    assert_eq!(plain(&place, &vendor, &said.stdout), include_str!("preflight/ready.txt"), "{}", said.stderr);
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""));
    // One question for each vendor, secret and target, however many steps have it; no key for a mere host.
    assert_eq!(
        vendor.asked(),
        [
            "GET /v1/instance (sk_live_0123456789)",
            "GET /v10/projects/shop/env?slug=acme (tok_0123456789)",
            "GET /v2/user (tok_0123456789)",
            "GET /v9/projects/shop?slug=acme (tok_0123456789)",
            "HEAD / (no key)",
        ]
    );
    assert!(!place.state().exists(), "nothing is written");
}

#[test]
fn everything_that_is_missing_is_told_at_once() {
    let runbook = RUNBOOK
        .replace("env: CLERK_KEY", "env: NO_SUCH_KEY")
        .replace("report.render", "report.render, with: { template: nowhere.j2 }");
    let place = place(&runbook, "groups: { oncall: [] }\n");
    let vendor = Vendor::new(|_| (401, r#"{"error":{"code":"forbidden","message":"invalid token tok_0123456789"}}"#));
    mode(&place, "token", 0o644);
    mode(&place, "undo.sh", 0o644);
    std::fs::remove_file(place.path("bin/git")).unwrap();
    let said = preflight(&place, &vendor, &[]);
    assert_eq!(plain(&place, &vendor, &said.stdout), include_str!("preflight/missing.txt"), "{}", said.stderr);
    assert_eq!((said.code, said.stderr.as_str()), (Some(10), ""));
    assert!(vendor.asked().iter().all(|line| line.starts_with("GET ") || line.starts_with("HEAD / (no key)")));
    assert!(!place.state().exists(), "nothing is written");
}

/// The line about one thing, with what is said below it.
fn about(said: &Said, words: &str) -> String {
    let mut lines = said.stdout.lines().skip_while(|line| !line.contains(words));
    let first = lines.next().unwrap_or_else(|| panic!("nothing about {words}\n{}\n{}", said.stdout, said.stderr));
    let below = lines.take_while(|line| line.starts_with("           "));
    std::iter::once(first).chain(below).map(str::trim).collect::<Vec<_>>().join("\n")
}

#[test]
fn each_refusal_has_its_own_way_out() {
    let cases: [(&str, u16, &str, &str); 6] = [
        ("/v9/", 403, "the token sees", "whose scope is the team"),
        ("/v9/", 404, "the token sees", "there is no such project for this token"),
        ("/v10/", 403, "environment variables", "whose scope is the team"),
        ("/v1/instance", 401, "Clerk's Backend API", "`sk_live_…` or `sk_test_…`"),
        ("/v1/instance", 429, "Clerk's Backend API", "ask again in 7s"),
        ("/v1/instance", 503, "Clerk's Backend API", "ask again later"),
    ];
    for (path, status, line, help) in cases {
        let place = place(RUNBOOK, "groups: { oncall: [alice, bob] }\n");
        let vendor = Vendor::new(move |asked| if asked.starts_with(path) { (status, "{}") } else { good(asked) });
        let said = preflight(&place, &vendor, &[]);
        let told = about(&said, line);
        assert!(told.contains(help) && told.contains(&format!("answered {status}")), "{path} {status}\n{told}");
        let cannot_say = matches!(status, 429 | 503);
        assert_eq!(told.starts_with("unknown"), cannot_say, "{told}");
        assert_eq!(said.code, Some(if cannot_say { 0 } else { 10 }), "{path} {status}\n{}", said.stdout);
        let others = said.stdout.matches("MISSING").count();
        assert_eq!(others, usize::from(!cannot_say), "what is well is not blamed\n{}", said.stdout);
    }
}

#[test]
fn a_host_that_has_no_name_or_nobody_behind_it_is_missing() {
    let place = place(RUNBOOK, "groups: { oncall: [alice, bob] }\n");
    let vendor = Vendor::new(good);
    let said = preflight(&place, &vendor, &["-iapp=https://app.invalid"]);
    let told = about(&said, "https://app.invalid");
    assert!(told.starts_with("MISSING") && told.contains("its name cannot be resolved"), "{told}");
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let said = preflight(&place, &vendor, &[&format!("-iapp=http://{free}")]);
    let told = about(&said, &format!("http://{free}"));
    assert!(told.starts_with("MISSING") && told.contains("refused"), "{told}");
    assert_eq!(said.code, Some(10));
}

#[test]
fn a_gate_that_nobody_but_the_one_who_starts_it_could_open_is_missing() {
    let vendor = Vendor::new(good);
    for (approvers, told, code) in [
        (
            "groups: { oncall: [tester] }\n",
            "MISSING  gate of `set`: wants 1 besides whoever starts the run, and that is you",
            10,
        ),
        ("groups: { oncall: [tester, alice] }\n", "ok       gate of `set`: 1 of 1: alice", 0),
    ] {
        let place = place(RUNBOOK, approvers);
        let said = preflight(&place, &vendor, &[]);
        assert!(said.stdout.contains(told), "{}", said.stdout);
        assert_eq!(said.code, Some(code), "{}", said.stdout);
    }
    let place = place(&RUNBOOK.replace("not_requester: true", "at_least: 3"), "groups: { oncall: [tester, alice] }\n");
    let said = preflight(&place, &vendor, &[]);
    assert!(
        said.stdout.contains("MISSING  gate of `set`: wants 3 people and names 2: alice, tester"),
        "{}",
        said.stdout
    );
}

#[test]
fn a_lock_that_a_run_holds_is_a_warning_and_says_who() {
    let place = place(RUNBOOK, "groups: { oncall: [alice, bob] }\n");
    place.write(
        "holds.yaml",
        "runbook: holds\nlocks: ['deploy:shop']\nsteps:\n  wait: { approval: { prompt: '?', by: ['user:alice'] } }\n",
    );
    assert_eq!(place.run(&["run", "holds"]).code, Some(4));
    let before = snapshot(&place);
    let vendor = Vendor::new(good);
    let said = preflight(&place, &vendor, &[]);
    let told = about(&said, "lock `deploy:shop`");
    let run = place.newest();
    assert!(told.starts_with(&format!("warning  lock `deploy:shop`: held by run {run} of tester")), "{told}");
    assert!(told.contains(&format!("runbook resume {run}")), "{told}");
    assert_eq!(said.code, Some(0));
    assert_eq!(snapshot(&place), before, "nothing is written");
}

/// Every file of the state folder.
fn snapshot(place: &Place) -> Vec<String> {
    fn walk(folder: &std::path::Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else {
                found.push(format!("{} {}", path.display(), std::fs::read(&path).unwrap().len()));
            }
        }
    }
    let mut found = Vec::new();
    walk(&place.state(), &mut found);
    found.sort();
    found
}

#[test]
fn what_called_runbooks_and_the_items_of_a_known_list_need_is_looked_at_too() {
    let place = place(RUNBOOK, "groups: { oncall: [alice, bob] }\n");
    place.write(
        "outage.yaml",
        r#"runbook: outage
inputs:
  project: { type: string, required: true }
  app: { type: url, required: true }
secrets: { ours: { env: CLERK_KEY } }
steps:
  each: { for_each: { in: "['./a.sh', './b.sh']" }, argv: ["{{ item }}"] }
  part: { call: parts/part.yaml, with: { tool: "no-such-tool" }, secrets: { clerk: ours } }
"#,
    );
    place.write(
        "parts/part.yaml",
        r#"runbook: part
inputs: { tool: { type: string, required: true } }
secrets: { clerk: { env: UNUSED }, own: { file: key } }
steps:
  ping: { uses: clerk.ping }
  tool: { argv: ["{{ inputs.tool }}"], env: { KEY: "{{ secrets.own }}" } }
"#,
    );
    let vendor = Vendor::new(good);
    let said = preflight(&place, &vendor, &[]);
    for missing in [
        "MISSING  `./a.sh`: there is no file",
        "MISSING  `./b.sh`: there is no file",
        "MISSING  `no-such-tool`: there is no such program on PATH\n           needed by: `part/tool`",
        "MISSING  secret `parts/part.yaml#own` from the file",
        "ok       secret `ours` from the environment, `CLERK_KEY`",
        "ok       Clerk's Backend API takes the key: opens the production instance ins_1",
    ] {
        assert!(said.stdout.contains(missing), "{missing}\n{}\n{}", said.stdout, said.stderr);
    }
    assert_eq!(vendor.asked(), ["GET /v1/instance (sk_live_0123456789)"]);
}

#[test]
fn the_list_is_data_when_asked_for() {
    let place = place(RUNBOOK, "groups: { oncall: [tester] }\n");
    let vendor = Vendor::new(good);
    let said = preflight(&place, &vendor, &["--format", "json"]);
    let list: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!((&list["ready"], &list["missing"]), (&false.into(), &1.into()));
    let gate = list["items"].as_array().unwrap().iter().find(|item| item["area"] == "approvers").unwrap();
    assert_eq!((&gate["verdict"], &gate["steps"]), (&"missing".into(), &serde_json::json!(["set"])));
    assert!(!said.stdout.contains("0123456789"), "no key is shown");
    assert_eq!(said.code, Some(10));
}

#[test]
fn a_runbook_or_inputs_with_mistakes_are_refused_as_a_run_would() {
    let place = place(RUNBOOK, "groups: { oncall: [tester] }\n");
    assert_eq!(place.run(&["preflight", "outage"]).code, Some(3));
    assert_eq!(place.run(&["preflight", "nowhere"]).code, Some(3));
    assert_eq!(place.run(&["preflight", "outage", "-iproject"]).code, Some(2));
}
