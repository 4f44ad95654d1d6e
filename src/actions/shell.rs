//! `shell`: runs a script or a command; what `run:` and `argv:` become.

use std::collections::BTreeMap;
use std::io::{ErrorKind as IoErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::action::{Action, ActionContext, ActionError, Effect, ErrorKind, Intent, Load, Replay};
use crate::base::secret::{disarm, disarm_json, has_reference};
use crate::process;

/// How many bytes of each output stream to keep.
const KEPT: usize = 64 * 1024;
/// The longest argument or variable that Linux starts a process with: `MAX_ARG_STRLEN`, execve(2).
const LONGEST_TEXT: usize = 128 * 1024;
/// How large the file of declared outputs may grow.
const LONGEST_OUTPUTS: u64 = 1024 * 1024;
/// How many of the last lines on standard error an error repeats.
const LAST_LINES: usize = 5;
/// What the shell itself gives to every process, and so no runbook may set.
const GIVEN: [&str; 6] =
    ["RUNBOOK_ATTEMPT", "RUNBOOK_IDEMPOTENCY_KEY", "RUNBOOK_OUTPUT", "RUNBOOK_PROCESS", "RUNBOOK_RUN", "RUNBOOK_STEP"];
/// Names under `.outputs` that every process has.
const TAKEN: [&str; 6] = ["exit_code", "stderr", "stderr_file", "stdout", "stdout_file", "truncated"];

/// Runs a script or a command.
#[derive(Debug)]
pub struct Shell;

/// A script or a command; exactly one of the two.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ShellParams {
    /// A script for `/bin/sh -eu -c`. Never templated: values reach it as environment variables.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<String>,
    /// A command and its arguments, run without a shell. No secrets: arguments are visible to everybody on the machine.
    #[serde(default, deserialize_with = "super::scalar::texts", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Vec<super::scalar::Scalar>>")]
    pub argv: Option<Vec<String>>,
    /// Environment variables to add; may hold secrets. Each is shorter than 128 KiB.
    #[serde(default, deserialize_with = "super::scalar::text_map", skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, super::scalar::Scalar>")]
    pub env: BTreeMap<String, String>,
    /// Values the process promises to write to the file named by `RUNBOOK_OUTPUT`, as `name=value` lines or
    /// `name<<END`, the value's lines, `END`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub outputs: BTreeMap<String, OutputType>,
}

/// The type of a declared output: a word, or the form a runbook has it in, `{ type: string }`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OutputType {
    /// The word alone.
    Word(OutputKind),
    /// As a runbook declares it.
    Declared {
        /// The word.
        #[serde(rename = "type")]
        kind: OutputKind,
    },
}

/// What a declared output's text is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OutputKind {
    /// The text as it is.
    String,
    /// An address: text with a scheme.
    Url,
    /// A length of time such as `15m`.
    Duration,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// A JSON list.
    List,
    /// Any JSON.
    Json,
}

/// What a process left behind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ShellOutput {
    /// The exit code; `null` when a signal ended it.
    pub exit_code: Option<i32>,
    /// Standard output, secrets masked; of more than 64 KiB the beginning and the end.
    pub stdout: String,
    /// Standard error, likewise.
    pub stderr: String,
    /// Was the middle of either stream left out?
    pub truncated: bool,
    /// The file with the whole of standard output, when the middle of it was left out: a path below the run's folder.
    #[serde(default)]
    pub stdout_file: Option<String>,
    /// The file with the whole of standard error, likewise.
    #[serde(default)]
    pub stderr_file: Option<String>,
    /// The declared outputs, each under its own name.
    #[serde(flatten)]
    pub values: BTreeMap<String, Value>,
}

impl ShellParams {
    fn command(&self) -> Result<Vec<String>, ActionError> {
        match (&self.script, &self.argv) {
            (Some(script), None) => Ok(["/bin/sh", "-eu", "-c", script].map(str::to_owned).to_vec()),
            (None, Some(argv)) if argv.first().is_some_and(|program| !program.is_empty()) => Ok(argv.clone()),
            (None, Some(_)) => Err(ActionError::invalid_params("`argv` names no program")),
            _ => Err(ActionError::invalid_params("exactly one of `script` and `argv` must be there")),
        }
    }

    fn check(&self, argv: &[String]) -> Result<(), ActionError> {
        let refuse = |reason: String| Err(ActionError::invalid_params(reason));
        for (place, argument) in argv.iter().enumerate() {
            if has_reference(argument) {
                return refuse(format!(
                    "a secret would stand in argument {place}, where everybody on this machine can read it; pass it \
                     by `env`"
                ));
            }
            if argument.len() >= LONGEST_TEXT {
                return refuse(format!(
                    "argument {place} has {} bytes and the system takes fewer than 128 KiB; write it to a file",
                    argument.len()
                ));
            }
            if argument.contains('\0') {
                return refuse(format!("argument {place} holds a zero byte"));
            }
        }
        for (name, value) in &self.env {
            if name.is_empty() || name.contains(['=', '\0']) {
                return refuse(format!("`{name}` cannot name an environment variable"));
            }
            if GIVEN.contains(&name.as_str()) {
                return refuse(format!("`{name}` is given by runbook itself"));
            }
            if value.contains('\0') {
                return refuse(format!("variable `{name}` holds a zero byte"));
            }
            // The system counts `NAME=value` and the zero after it.
            if name.len() + value.len() + 2 > LONGEST_TEXT {
                return refuse(format!(
                    "variable `{name}` has {} bytes and the system takes fewer than 128 KiB; write it to a file",
                    value.len()
                ));
            }
        }
        match self.outputs.keys().find(|name| TAKEN.contains(&name.as_str())) {
            Some(name) => refuse(format!("`{name}` is an output of every process; choose another name")),
            None => Ok(()),
        }
    }
}

impl Action for Shell {
    const NAME: &'static str = "shell";
    const SUMMARY: &'static str = "Runs a script or a command on this machine.";
    const EFFECT: Effect = Effect::Write;
    const REPLAY: Replay = Replay::Once;
    const LOAD: Load = Load::Process;
    type Params = ShellParams;
    type Output = ShellOutput;

    async fn run(&self, cx: &ActionContext, params: ShellParams) -> Result<ShellOutput, ActionError> {
        let argv = params.command()?;
        params.check(&argv)?;
        // Most steps declare no outputs; they pay for no file.
        let file = if params.outputs.is_empty() { None } else { Some(OutputFile::create()?) };
        let target = cx.target();
        let mut env = params.env;
        env.insert("RUNBOOK_RUN".to_owned(), target.run.to_string());
        env.insert("RUNBOOK_STEP".to_owned(), target.step.to_string());
        env.insert("RUNBOOK_ATTEMPT".to_owned(), target.attempt.to_string());
        env.insert("RUNBOOK_IDEMPOTENCY_KEY".to_owned(), target.key.clone());
        if let Some(file) = &file {
            env.insert("RUNBOOK_OUTPUT".to_owned(), file.path.to_string_lossy().into_owned());
        }
        let program = argv.first().cloned().unwrap_or_default();
        let spec = process::Spec { argv, env, folder: cx.folder().to_owned(), keep: KEPT, spool: None, listener: None };
        let finished = cx.run_process(spec).await?;
        let mut output = ShellOutput {
            exit_code: finished.code,
            stdout: finished.stdout.text,
            stderr: finished.stderr.text,
            truncated: finished.stdout.truncated || finished.stderr.truncated,
            stdout_file: finished.stdout.file,
            stderr_file: finished.stderr.file,
            values: BTreeMap::new(),
        };
        if output.exit_code != Some(0) && cx.is_cancelled() {
            return Err(ActionError::cancelled().with_outputs(&output));
        }
        if output.exit_code != Some(0) {
            return Err(failure(&program, finished.signal, &output).with_outputs(&output));
        }
        if let Some(file) = file {
            output.values = file
                .read()
                .and_then(|text| read_outputs(&text, &params.outputs))
                .map_err(|reason| ActionError::new(ErrorKind::Failed, reason).with_outputs(&output))?;
        }
        Ok(output)
    }

    fn describe(&self, params: &ShellParams) -> Vec<Intent> {
        let argv = match (&params.script, &params.argv) {
            (Some(_), _) => ["/bin/sh", "-eu", "-c"].map(str::to_owned).to_vec(),
            (None, argv) => argv.clone().unwrap_or_default(),
        };
        vec![Intent::Process { argv, script: params.script.clone(), env: params.env.keys().cloned().collect() }]
    }
}

fn failure(program: &str, signal: Option<i32>, output: &ShellOutput) -> ActionError {
    let mut message = match (output.exit_code, signal) {
        (Some(code), _) => format!("`{program}` ended with code {code}"),
        (None, Some(signal)) => format!("`{program}` was ended by {}", signal_name(signal)),
        (None, None) => format!("`{program}` ended without a code"),
    };
    let lines: Vec<&str> = output.stderr.lines().filter(|line| !line.trim().is_empty()).collect();
    for (index, line) in lines.iter().skip(lines.len().saturating_sub(LAST_LINES)).enumerate() {
        message.push_str(if index == 0 { ": " } else { "\n" });
        message.extend(line.chars().take(500));
    }
    ActionError::new(ErrorKind::Failed, message)
}

fn signal_name(signal: i32) -> String {
    // The numbers that Linux and macOS share; the others differ and are told as numbers.
    let name = match signal {
        1 => "SIGHUP",
        2 => "SIGINT",
        3 => "SIGQUIT",
        4 => "SIGILL",
        6 => "SIGABRT",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        14 => "SIGALRM",
        15 => "SIGTERM",
        other => return format!("signal {other}"),
    };
    format!("{name} (signal {signal})")
}

/// The file that `RUNBOOK_OUTPUT` names; gone when this is dropped.
struct OutputFile {
    path: PathBuf,
}

impl OutputFile {
    fn create() -> Result<Self, ActionError> {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let folder = std::env::temp_dir();
        loop {
            let count = COUNT.fetch_add(1, Ordering::Relaxed);
            let path = folder.join(format!("runbook-output-{}-{count}", std::process::id()));
            // `create_new` follows no link that somebody laid in a shared folder.
            match std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(_) => return Ok(Self { path }),
                Err(error) if error.kind() == IoErrorKind::AlreadyExists => {}
                Err(error) => {
                    let reason = format!("`{}` cannot be written: {error}", path.display());
                    return Err(ActionError::new(ErrorKind::Failed, reason));
                }
            }
        }
    }

    fn read(&self) -> Result<String, String> {
        let unreadable = |error: std::io::Error| format!("the file RUNBOOK_OUTPUT cannot be read: {error}");
        read_bounded(&self.path, LONGEST_OUTPUTS).map_err(unreadable)?.ok_or_else(|| {
            "the file RUNBOOK_OUTPUT holds more than 1 MiB; leave large results in files of their own".to_owned()
        })
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        // A script that removed the file itself did no harm.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn read_bounded(path: &Path, limit: u64) -> std::io::Result<Option<String>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).is_ok_and(|length| length > limit) {
        return Ok(None);
    }
    let mut text =
        String::from_utf8(bytes).map_err(|error| std::io::Error::new(IoErrorKind::InvalidData, error.utf8_error()))?;
    disarm(&mut text);
    Ok(Some(text))
}

/// Reads `name=value` lines and `name<<END … END` blocks; the last one of a name wins.
fn read_outputs(text: &str, declared: &BTreeMap<String, OutputType>) -> Result<BTreeMap<String, Value>, String> {
    let names = || declared.keys().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let mut values = BTreeMap::new();
    let mut lines = text.lines().enumerate();
    while let Some((index, line)) = lines.next() {
        let at = index + 1;
        if line.trim().is_empty() {
            continue;
        }
        let (name, value) = match (line.split_once('='), line.split_once("<<")) {
            (equals, Some((name, end))) if equals.is_none_or(|(before, _)| before.len() > name.len()) => {
                let (name, end) = (name.trim(), end.trim());
                if end.is_empty() {
                    return Err(format!("line {at} of RUNBOOK_OUTPUT: `{name}<<` names no end"));
                }
                let mut block = Vec::new();
                loop {
                    match lines.next() {
                        Some((_, line)) if line == end => break,
                        Some((_, line)) => block.push(line),
                        None => {
                            return Err(format!(
                                "line {at} of RUNBOOK_OUTPUT: the end `{end}` of `{name}` never comes"
                            ));
                        }
                    }
                }
                (name, block.join("\n"))
            }
            (Some((name, value)), _) => (name.trim(), value.to_owned()),
            (None, _) => return Err(format!("line {at} of RUNBOOK_OUTPUT is neither `name=value` nor `name<<END`")),
        };
        let Some(kind) = declared.get(name) else {
            return Err(format!("line {at} of RUNBOOK_OUTPUT: `{name}` is not declared; declared are {}", names()));
        };
        let value =
            kind.kind().parse(value).map_err(|reason| format!("line {at} of RUNBOOK_OUTPUT: `{name}` {reason}"))?;
        values.insert(name.to_owned(), value);
    }
    match declared.keys().find(|name| !values.contains_key(*name)) {
        Some(missing) => Err(format!("the process wrote no `{missing}` to RUNBOOK_OUTPUT, which the step declares")),
        None => Ok(values),
    }
}

impl OutputType {
    fn kind(self) -> OutputKind {
        match self {
            Self::Word(kind) | Self::Declared { kind } => kind,
        }
    }
}

impl OutputKind {
    fn parse(self, text: String) -> Result<Value, String> {
        let wrong = |what: &str| format!("is no {what}: `{}`", text.chars().take(80).collect::<String>());
        let json = || -> Option<Value> {
            let mut value = serde_json::from_str(text.trim()).ok()?;
            // JSON can spell as an escape what was not in the text.
            disarm_json(&mut value);
            Some(value)
        };
        match self {
            Self::String => Ok(Value::String(text)),
            Self::Url => match text.trim().split_once("://") {
                Some((scheme, rest)) if !scheme.is_empty() && !rest.is_empty() => Ok(Value::from(text.trim())),
                _ => Err(wrong("address")),
            },
            Self::Duration => match text.trim().parse::<crate::base::HumanDuration>() {
                Ok(duration) => Ok(Value::from(duration.to_string())),
                Err(_) => Err(wrong("duration")),
            },
            Self::Integer => text.trim().parse::<i64>().map(Value::from).map_err(|_| wrong("integer")),
            Self::Number => json().filter(Value::is_number).ok_or_else(|| wrong("number")),
            Self::Boolean => text.trim().parse::<bool>().map(Value::from).map_err(|_| wrong("boolean")),
            Self::List => json().filter(Value::is_array).ok_or_else(|| wrong("JSON list")),
            Self::Json => json().ok_or_else(|| wrong("JSON")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Bench;
    use super::*;
    use serde_json::json;
    use std::time::Duration;

    async fn shell(params: Value) -> Result<Value, ActionError> {
        let bench = Bench::new();
        let params = serde_json::from_value(params).unwrap();
        Shell.run(&bench.cx(), params).await.map(|output| serde_json::to_value(output).unwrap())
    }

    #[tokio::test]
    async fn a_script_returns_what_it_declares_next_to_its_streams() {
        let script = r#"
            echo "to $WHO"
            echo "ticket=INC-1=2" >> "$RUNBOOK_OUTPUT"
            echo "count=3" >> "$RUNBOOK_OUTPUT"
            printf 'users<<EOF\n["a",\n"b"]\nEOF\n' >> "$RUNBOOK_OUTPUT"
        "#;
        let outputs = json!({ "ticket": { "type": "string" }, "count": "integer", "users": "list" });
        let output = shell(json!({ "script": script, "env": { "WHO": "you" }, "outputs": outputs })).await.unwrap();
        let expected = json!({
            "exit_code": 0, "stdout": "to you\n", "stderr": "", "truncated": false,
            "stdout_file": null, "stderr_file": null,
            "ticket": "INC-1=2", "count": 3, "users": ["a", "b"],
        });
        assert_eq!(output, expected);
        let typed: ShellOutput = serde_json::from_value(output).unwrap();
        assert_eq!(typed.values.len(), 3);
    }

    #[tokio::test]
    async fn a_process_knows_which_attempt_it_belongs_to() {
        let script =
            r#"echo "$RUNBOOK_RUN $RUNBOOK_STEP $RUNBOOK_ATTEMPT $RUNBOOK_IDEMPOTENCY_KEY ${RUNBOOK_OUTPUT-none}""#;
        let output = shell(json!({ "script": script })).await.unwrap();
        assert_eq!(output["stdout"], "20261123-030000-test the_step 1 20261123-030000-test/the_step none\n");
    }

    #[tokio::test]
    async fn whoever_watches_sees_the_last_line_and_no_secret() {
        let bench = Bench::new();
        std::fs::create_dir_all(bench.artifacts()).unwrap();
        let go = bench.artifacts().join("go");
        let script = r#"
            printf 'early\nhalf way, \033[1m%s\033[0m\nnot yet whole' "$KEY"
            while [ ! -e "$GO" ]; do sleep 0.02; done
            echo; echo the last words, told by the outputs
        "#;
        let env = json!({ "KEY": crate::base::secret::reference("clerk"), "GO": go });
        let params = serde_json::from_value(json!({ "script": script, "env": env })).unwrap();
        let cx = bench.cx();
        let mut run = std::pin::pin!(Shell.run(&cx, params));
        // It ends only once its line was seen.
        while bench.said().is_empty() {
            let _ = tokio::time::timeout(Duration::from_millis(5), &mut run).await.map(|ended| panic!("{ended:?}"));
        }
        std::fs::write(&go, "").unwrap();
        run.await.unwrap();
        assert_eq!(bench.said(), ["half way, ***"]);
    }

    #[tokio::test]
    async fn a_stopped_process_leaves_what_it_wrote() {
        let bench = Bench::new();
        std::fs::create_dir_all(bench.artifacts()).unwrap();
        let up = bench.artifacts().join("up");
        // More than a pipe holds: unread, it would never come to its last words.
        let script = "echo so far; touch \"$UP\"; trap 'yes | head -c 200000 >&2; echo last words; exit 1' TERM; \
                      while :; do sleep 0.02; done";
        let params = serde_json::from_value(json!({ "script": script, "env": { "UP": up } })).unwrap();
        let cx = bench.cx();
        let mut run = std::pin::pin!(Shell.run(&cx, params));
        while !up.exists() {
            let _ = tokio::time::timeout(Duration::from_millis(5), &mut run).await.map(|ended| panic!("{ended:?}"));
        }
        bench.cancel.cancel();
        let error = run.await.unwrap_err();
        let stdout = error.outputs.unwrap()["stdout"].clone();
        assert_eq!((error.kind, stdout), (ErrorKind::Cancelled, json!("so far\nlast words\n")));
    }

    #[tokio::test]
    async fn a_failure_tells_the_code_the_last_words_and_keeps_the_streams() {
        let error =
            shell(json!({ "script": "echo so far; echo first >&2; echo no luck >&2; exit 3" })).await.unwrap_err();
        assert_eq!(error.message, "`/bin/sh` ended with code 3: first\nno luck");
        assert_eq!((error.kind, &error.outputs.as_ref().unwrap()["stdout"]), (ErrorKind::Failed, &json!("so far\n")));
        let error = shell(json!({ "argv": ["/bin/sh", "-c", "kill -9 $$"] })).await.unwrap_err();
        assert_eq!(error.message, "`/bin/sh` was ended by SIGKILL (signal 9)");
    }

    #[tokio::test]
    async fn a_secret_reaches_a_script_by_its_environment_only() {
        let secret = crate::base::secret::reference("clerk");
        let output = shell(json!({ "script": "echo \"$KEY\"", "env": { "KEY": secret } })).await.unwrap();
        assert_eq!(output["stdout"], "***\n");
        let error = shell(json!({ "argv": ["echo", secret] })).await.unwrap_err();
        assert!(
            error.kind == ErrorKind::InvalidParams && error.message.starts_with("a secret would stand in argument 1")
        );
    }

    #[tokio::test]
    async fn what_the_system_would_not_take_is_refused_beforehand() {
        let long = "x".repeat(LONGEST_TEXT);
        for params in [
            json!({ "argv": ["echo", long] }),
            json!({ "argv": ["echo"], "env": { "A": long } }),
            json!({ "argv": ["echo"], "env": { "A=B": "" } }),
            json!({ "argv": ["echo"], "env": { "RUNBOOK_RUN": "" } }),
            json!({ "argv": ["ec\0ho"] }),
            json!({ "argv": [] }),
            json!({ "argv": ["echo"], "script": "echo" }),
            json!({ "argv": ["echo"], "outputs": { "stdout": "string" } }),
            json!({}),
        ] {
            assert_eq!(shell(params).await.unwrap_err().kind, ErrorKind::InvalidParams);
        }
        let fits = "x".repeat(LONGEST_TEXT - 4);
        assert!(shell(json!({ "argv": ["true"], "env": { "A": fits } })).await.is_ok());
    }

    #[test]
    fn a_wrong_line_is_named() {
        let declared = BTreeMap::from([("n".to_owned(), OutputType::Word(OutputKind::Integer))]);
        for (text, told) in [
            ("\nm=1", "line 2 of RUNBOOK_OUTPUT: `m` is not declared; declared are `n`"),
            ("n=many", "line 1 of RUNBOOK_OUTPUT: `n` is no integer: `many`"),
            ("n", "line 1 of RUNBOOK_OUTPUT is neither `name=value` nor `name<<END`"),
            ("n<<EOF\n1", "line 1 of RUNBOOK_OUTPUT: the end `EOF` of `n` never comes"),
            ("n<<", "line 1 of RUNBOOK_OUTPUT: `n<<` names no end"),
            ("", "the process wrote no `n` to RUNBOOK_OUTPUT, which the step declares"),
        ] {
            assert_eq!(read_outputs(text, &declared).unwrap_err(), told);
        }
        assert_eq!(read_outputs("n=1\nn=2\n", &declared).unwrap()["n"], 2);
    }

    #[test]
    fn json_cannot_spell_a_reference_to_a_secret() {
        let text = r#""\ufdd0clerk\ufdd1""#.to_owned();
        assert!(!has_reference(OutputKind::Json.parse(text).unwrap().as_str().unwrap()));
    }
}
