//! The YAML language server from npm: installed once, started, spoken to over standard input and output.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Mutex, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// How long one server may take for all that it is asked.
const PATIENCE: Duration = Duration::from_secs(120);

/// A running server.
pub(crate) struct Server {
    child: Child,
    input: Option<ChildStdin>,
    messages: Receiver<Value>,
    reader: Option<JoinHandle<()>>,
    deadline: Instant,
    requests: u64,
    documents: u64,
}

/// Something the server marked.
#[derive(Debug, Clone)]
pub(crate) struct Mark {
    /// The words under it, and what is said of them: `timeot: Property timeot is not allowed.`
    pub(crate) text: String,
    /// As the server sent it.
    pub(crate) sent: Value,
}

impl Server {
    /// Starts it. `None` where it cannot be had, which is said; under CI that is a failure.
    pub(crate) fn start() -> Option<Self> {
        static INSTALLED: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        let folder = match INSTALLED.get_or_init(installed) {
            Ok(folder) => folder,
            Err(why) => {
                assert!(std::env::var_os("CI").is_none(), "the language server cannot be had: {why}");
                // Not `eprintln!`: what a test prints is shown only when it fails.
                let _ = writeln!(std::io::stderr(), "SKIPPED, the editor was not tested: {why}");
                return None;
            }
        };
        let mut child = Command::new("node")
            .arg(folder.join("node_modules/yaml-language-server/bin/yaml-language-server"))
            .arg("--stdio")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take(), child.stdout.take().unwrap());
        let (sender, messages) = channel();
        let reader = std::thread::spawn(move || {
            let mut output = BufReader::new(output);
            while let Some(message) = next_message(&mut output) {
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        let deadline = Instant::now() + PATIENCE;
        let mut server = Self { child, input, messages, reader: Some(reader), deadline, requests: 0, documents: 0 };
        server.greet();
        Some(server)
    }

    fn greet(&mut self) {
        let completion = json!({ "completionItem": { "snippetSupport": true, "documentationFormat": ["markdown"] } });
        let capabilities = json!({
            "textDocument": { "completion": completion, "hover": { "contentFormat": ["markdown"] }, "publishDiagnostics": {} },
            "workspace": { "configuration": true },
        });
        let root = address(Path::new(env!("CARGO_MANIFEST_DIR")));
        self.ask(
            "initialize",
            &json!({ "processId": std::process::id(), "rootUri": root, "capabilities": capabilities }),
        );
        self.tell("initialized", &json!({}));
        // It asks for its settings, and looks at documents only as they say.
        self.wait_for(|message| message["method"] == "workspace/configuration");
    }

    /// Opens a runbook as if it lay in `runbooks/`, and waits for what is marked in it.
    pub(crate) fn open(&mut self, text: &str) -> (String, Vec<Mark>) {
        self.documents += 1;
        let path = format!("{}/runbooks/shown-{}.yaml", env!("CARGO_MANIFEST_DIR"), self.documents);
        let document = address(Path::new(&path));
        let item = json!({ "uri": document, "languageId": "yaml", "version": 1, "text": text });
        self.tell("textDocument/didOpen", &json!({ "textDocument": item }));
        let published = self.wait_for(|message| {
            message["method"] == "textDocument/publishDiagnostics" && message["params"]["uri"] == document
        });
        let marks = published["params"]["diagnostics"].as_array().unwrap().iter();
        let marks = marks
            .map(|sent| {
                let words = words_at(text, &sent["range"]);
                Mark { text: format!("{words}: {}", sent["message"].as_str().unwrap()), sent: sent.clone() }
            })
            .collect();
        (document, marks)
    }

    /// What is offered where `‸` stands: label, and what it says.
    pub(crate) fn offered(&mut self, text: &str) -> BTreeMap<String, String> {
        let found = self.ask_at("textDocument/completion", text);
        let items = found.get("items").unwrap_or(&found).as_array().cloned().unwrap_or_default();
        let doc = |item: &Value| {
            let doc = &item["documentation"];
            doc["value"].as_str().or(doc.as_str()).unwrap_or_default().to_owned()
        };
        items.iter().map(|item| (item["label"].as_str().unwrap().to_owned(), doc(item))).collect()
    }

    /// What is shown where `‸` stands.
    pub(crate) fn hover(&mut self, text: &str) -> String {
        self.ask_at("textDocument/hover", text)["contents"]["value"].as_str().unwrap_or_default().to_owned()
    }

    fn ask_at(&mut self, method: &str, text: &str) -> Value {
        let (before, after) = text.split_once('‸').expect("the place is marked");
        let (document, _) = self.open(&format!("{before}{after}"));
        let line = before.matches('\n').count();
        let character = before.rsplit('\n').next().unwrap_or_default().encode_utf16().count();
        let place = json!({ "line": line, "character": character });
        self.ask(method, &json!({ "textDocument": { "uri": document }, "position": place }))
    }

    /// Sends a request and waits for its answer.
    pub(crate) fn ask(&mut self, method: &str, parameters: &Value) -> Value {
        self.requests += 1;
        let id = self.requests;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": parameters }));
        let answer = self.wait_for(|message| message["id"] == id && message.get("method").is_none());
        assert!(answer.get("error").is_none(), "{method}: {answer}");
        answer["result"].clone()
    }

    fn tell(&mut self, method: &str, parameters: &Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": parameters }));
    }

    /// Waits for a message, and answers what the server asks meanwhile.
    fn wait_for(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            let message = self.messages.recv_timeout(left).expect("the server answers in time");
            if let (Some(method), Some(id)) = (message["method"].as_str(), message.get("id")) {
                let result = if method == "workspace/configuration" { settings(&message) } else { Value::Null };
                let answer = json!({ "jsonrpc": "2.0", "id": id, "result": result });
                self.send(&answer);
            }
            if wanted(&message) {
                return message;
            }
        }
    }

    fn send(&mut self, message: &Value) {
        let body = message.to_string();
        let input = self.input.as_mut().expect("open until it is dropped");
        write!(input, "Content-Length: {}\r\n\r\n{body}", body.len()).and_then(|()| input.flush()).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// Only what the runbook's own first line names is looked up: no catalogue of schemas on the network.
fn settings(request: &Value) -> Value {
    let yaml = json!({ "validate": true, "hover": true, "completion": true, "schemaStore": { "enable": false } });
    let sections = request["params"]["items"].as_array().into_iter().flatten();
    sections.map(|item| if item["section"] == "yaml" { yaml.clone() } else { Value::Null }).collect()
}

fn next_message(output: &mut BufReader<ChildStdout>) -> Option<Value> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if output.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end().split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.parse().ok()?,
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    output.read_exact(&mut body).ok()?;
    serde_json::from_slice(&body).ok()
}

fn address(path: &Path) -> String {
    let escaped: String = path
        .to_string_lossy()
        .bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect();
    format!("file://{escaped}")
}

/// The words in a range; of one that goes on over several lines, those of the first.
fn words_at(text: &str, range: &Value) -> String {
    let number = |end: &str, part: &str| usize::try_from(range[end][part].as_u64().unwrap()).unwrap();
    let (first, last) = (number("start", "line"), number("end", "line"));
    let line: Vec<u16> = text.lines().nth(first).unwrap_or_default().encode_utf16().collect();
    let end = if first == last { number("end", "character").min(line.len()) } else { line.len() };
    String::from_utf16_lossy(&line[number("start", "character").min(end)..end])
}

/// The folder with the server in it. It is named after what the lock file pins, so it is made once for each.
fn installed() -> Result<PathBuf, String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/editor");
    let lock = std::fs::read(source.join("package-lock.json")).map_err(|error| error.to_string())?;
    let hash: String = Sha256::digest(&lock).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = target.join(format!("editor-{hash}"));
    run(Command::new("node").arg("--version"))?;
    if folder.exists() {
        return Ok(folder);
    }
    // Made elsewhere and moved: a folder of that name is whole, also when two do it at once.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock();
    let making = target.join(format!("editor-{hash}-{}", std::process::id()));
    std::fs::create_dir_all(&making).map_err(|error| error.to_string())?;
    for file in ["package.json", "package-lock.json"] {
        std::fs::copy(source.join(file), making.join(file)).map_err(|error| error.to_string())?;
    }
    let made =
        run(Command::new("npm").args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&making));
    if made.is_ok() && std::fs::rename(&making, &folder).is_ok() {
        return Ok(folder);
    }
    let _ = std::fs::remove_dir_all(&making);
    if folder.exists() { Ok(folder) } else { Err(made.err().unwrap_or_else(|| "it cannot be moved".to_owned())) }
}

fn run(command: &mut Command) -> Result<(), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let said = command.stdin(Stdio::null()).output().map_err(|error| format!("{name}: {error}"))?;
    if said.status.success() {
        return Ok(());
    }
    Err(format!("{name} ended with {}: {}", said.status, String::from_utf8_lossy(&said.stderr).trim()))
}
