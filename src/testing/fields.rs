//! Every field of a test file, once: the reader and the JSON Schema are made from these tables.

use serde_json::{Value, json};

use crate::runbook::fields::{Field, field};

fn text() -> Value {
    json!({ "type": "string" })
}
fn flag() -> Value {
    json!({ "type": "boolean" })
}
fn count() -> Value {
    json!({ "type": "integer", "minimum": 0 })
}
fn from_one() -> Value {
    json!({ "type": "integer", "minimum": 1 })
}
fn anything() -> Value {
    json!({})
}
fn map() -> Value {
    json!({ "type": "object" })
}
fn duration() -> Value {
    json!({ "$ref": "#/$defs/Duration" })
}
fn steps() -> Value {
    json!({ "type": "array", "items": { "type": "string" } })
}
fn texts() -> Value {
    json!({ "anyOf": [{ "type": "string" }, { "type": "array", "items": { "type": "string" } }] })
}
fn by_name(what: &str) -> Value {
    let one = json!({ "$ref": format!("#/$defs/{what}") });
    let some = json!({ "type": "array", "minItems": 1, "items": { "$ref": format!("#/$defs/{what}") } });
    json!({ "type": "object", "additionalProperties": { "anyOf": [one, some] } })
}
fn answers() -> Value {
    by_name("Answer")
}
fn undos() -> Value {
    by_name("UndoAnswer")
}
fn voices() -> Value {
    by_name("Voice")
}
fn kinds() -> Value {
    json!({ "type": "string" })
}
fn truths() -> Value {
    json!({ "enum": ["happened", "did_not_happen", "again", "nobody_knows"] })
}
fn effect() -> Value {
    json!({ "anyOf": [{ "type": "string" }, { "$ref": "#/$defs/Request" }] })
}

/// The file.
pub const FILE: &[Field] = &[
    field("test", "The runbook it tests, beside this file. Without it, `NAME.yaml` for `NAME.test.yaml`.", text),
    field("defaults", "What holds for every case that does not say otherwise.", || json!({ "$ref": "#/$defs/Script" })),
    field(
        "cases",
        "The cases. The key is a sentence: what happens, and what follows.",
        || json!({ "type": "object", "minProperties": 1, "additionalProperties": { "$ref": "#/$defs/Case" } }),
    ),
];

/// The fields of a script, and what may stand beside them.
macro_rules! script {
    ($($more:expr)?) => {
        &[
    field("inputs", "The runbook's inputs.", map),
    field("starts", "When the run begins: `2026-02-19T16:11:00Z`.", text),
    field("by", "Who starts the run.", || json!({ "type": "string", "default": "user:tester" })),
    field(
        "steps",
        "What each step gets from the world, by step: one answer, or a list of them, try by try. The last one goes on.",
        answers,
    ),
    field("undos", "How undoing each step goes, by step: `done`, or as an answer.", undos),
    field("gates", "Who answers at each gate, by step: one person, a list of them, or `nobody`.", voices),
    field("stop", "Somebody stops the run, as with Ctrl-C.", || json!({ "$ref": "#/$defs/Stop" })),
$($more,)?
        ]
    };
}

/// What the world and the people do.
pub const SCRIPT: &[Field] = script!();

/// A case: what the world and the people do, and what must come of it.
pub const CASE: &[Field] =
    script!(
        field("expect", "What must come of it. It must expect something.", || json!({ "$ref": "#/$defs/Expect" }),)
    );

/// What a step gets: exactly one of `outputs`, `fails`, `in_doubt`; for a manual step `evidence`, `fails` or `skips`.
pub const ANSWER: &[Field] = &[
    field(
        "outputs",
        "It succeeds and gives these. What the runbook reads must be given; the rest may be left out.",
        map,
    ),
    field("fails", "It fails with this kind. For a manual step: why it did not work.", kinds),
    field("status", "The HTTP status of the failure.", || json!({ "type": "integer", "minimum": 100, "maximum": 599 })),
    field("code", "The vendor's own code of the failure.", text),
    field("message", "What the failure says.", text),
    field("retry_after", "How long the other side asks to wait.", duration),
    field("in_doubt", "Nobody sees how it ends; and this is what is found out, or what a person says.", truths),
    field(
        "because",
        "Why nobody sees it: no answer comes, or the program dies and the run is resumed.",
        || json!({ "enum": ["lost_answer", "crash"], "default": "lost_answer" }),
    ),
    field("takes", "How long the try takes. Longer than the step's `timeout`: it is cut off.", duration),
    field("times", "This answer comes so many times.", from_one),
    field(
        "checkpoint",
        "What the action saves before it changes anything; then a failure has something to undo.",
        anything,
    ),
    field("evidence", "A person does it, and hands in this.", map),
    field("skips", "A person leaves it out, and why.", text),
    field("by", "Who does it, or says what became of it.", text),
    field("after", "How long after they were asked.", duration),
];

/// How undoing goes.
pub const UNDO_ANSWER: &[Field] = &[
    field("fails", "It fails with this kind.", kinds),
    field("status", "The HTTP status of the failure.", || json!({ "type": "integer", "minimum": 100, "maximum": 599 })),
    field("code", "The vendor's own code of the failure.", text),
    field("message", "What the failure says.", text),
    field("retry_after", "How long the other side asks to wait.", duration),
    field("in_doubt", "Nobody sees how it ends; and this is what a person says.", truths),
    field("leaves", "It is done, and this could not be put back.", texts),
    field("look", "What the look after it (`undo.verify`) finds.", || json!({ "$ref": "#/$defs/Look" })),
    field("takes", "How long the try takes.", duration),
    field("times", "This answer comes so many times.", from_one),
    field("by", "Who says what became of it.", text),
];

/// What the look after an undo finds.
pub const LOOK: &[Field] = &[
    field("outputs", "It gives these.", map),
    field("fails", "It fails with this kind.", kinds),
    field("status", "The HTTP status of the failure.", || json!({ "type": "integer", "minimum": 100, "maximum": 599 })),
    field("message", "What the failure says.", text),
];

/// What a person says at a gate: one of `approve` and `reject`.
pub const VOICE: &[Field] = &[
    field("approve", "Who says yes: `user:NAME`.", text),
    field("reject", "Who says no: `user:NAME`.", text),
    field("after", "How long after the gate opened.", duration),
    field("answers", "What they fill in.", map),
];

/// Somebody stops the run.
pub const STOP: &[Field] = &[
    field("after", "How long after the run began.", duration),
    field("by", "Who.", text),
    field("reason", "Why.", text),
];

/// What must come of it. A list of steps is the whole list, in any order.
pub const EXPECT: &[Field] = &[
    field("outcome", "How the run ends, or what it waits for.", || json!({ "enum": super::driver::Ended::WORDS })),
    field("exit", "The exit code of `runbook run`.", count),
    field("succeeded", "Exactly these steps of the runbook succeeded.", steps),
    field("failed", "Exactly these steps of the runbook failed.", steps),
    field("skipped", "Exactly these steps of the runbook were skipped.", steps),
    field("rejected", "Exactly these steps of the runbook were rejected.", steps),
    field("undone", "Exactly these steps were undone.", steps),
    field("undo_order", "These were undone one after the other.", steps),
    field("order", "Each of these had ended before the next began.", steps),
    field("measures", "Exactly these emergency measures are in force at the end.", steps),
    field("left_standing", "Exactly these steps left something standing.", steps),
    field("waiting", "Exactly these steps wait for a person.", steps),
    field("in_doubt", "Exactly of these nobody knows whether they happened.", steps),
    field("events", "These stand in the run log in this order: `gate_opened open_bypass`.", steps),
    field(
        "took",
        "How long the run took, by its own clock.",
        || json!({ "anyOf": [{ "$ref": "#/$defs/Duration" }, { "$ref": "#/$defs/Took" }] }),
    ),
    field(
        "steps",
        "What is expected of single steps.",
        || json!({ "type": "object", "additionalProperties": { "$ref": "#/$defs/StepExpect" } }),
    ),
    field("report", "What stands in the report that the run wrote last.", || json!({ "$ref": "#/$defs/ReportExpect" })),
];

/// What is expected of a step.
pub const STEP_EXPECT: &[Field] = &[
    field("result", "How it ended.", || json!({ "enum": ["succeeded", "failed", "skipped", "rejected"] })),
    field("tries", "How many tries began.", count),
    field("outputs", "What it gave. What is not named here may be anything.", anything),
    field(
        "params",
        "What its action was given, secrets as `‹secret NAME›`. What is not named here may be anything.",
        map,
    ),
    field("request", "A request that it sends, exactly as `plan` shows it: `POST https://…`, or a map.", effect),
    field("argv", "The command that it runs, word for word.", steps),
    field("script", "The script that it runs.", text),
    field("env", "The names of the variables that its process is given.", steps),
    field(
        "error",
        "The kind of its failure, or a map.",
        || json!({ "anyOf": [{ "type": "string" }, { "$ref": "#/$defs/ErrorExpect" }] }),
    ),
    field("because", "Words in the reason why it was skipped.", text),
    field("met", "Did its `until` become true?", flag),
    field("gate", "What was asked at its gate.", || json!({ "$ref": "#/$defs/GateExpect" })),
    field("text", "What a person was asked to do.", text),
    field("undo_tries", "How many tries of its undo began.", count),
];

/// A request.
pub const REQUEST: &[Field] = &[
    field("method", "The method.", text),
    field("url", "The address.", text),
    field("body", "The whole body, secrets as `‹secret NAME›`.", anything),
];

/// A failure.
pub const ERROR_EXPECT: &[Field] = &[
    field("kind", "Its kind.", kinds),
    field("status", "Its HTTP status.", count),
    field("code", "The vendor's own code, or how a called runbook ended.", text),
    field("message", "Words in its message.", text),
];

/// What was asked at a gate.
pub const GATE_EXPECT: &[Field] = &[
    field("prompt", "The question.", text),
    field("digest", "The digest of what was asked about, or its beginning.", text),
    field("request", "A request that was shown.", effect),
    field("argv", "The command that was shown.", steps),
    field("script", "The script that was shown.", text),
    field("opened", "How often it opened.", count),
    field("lapses_after", "How long the question stood.", duration),
    field("answered_by", "Exactly these people's answers counted.", steps),
    field("refused", "Exactly these people's answers were refused.", steps),
];

/// What stands in the report.
pub const REPORT_EXPECT: &[Field] =
    &[field("contains", "These words stand in it.", texts), field("lacks", "These do not.", texts)];

/// How long the run took.
pub const TOOK: &[Field] =
    &[field("at_least", "At least so long.", duration), field("at_most", "At most so long.", duration)];

/// The tables that become `$defs` in the schema, by name, each with what must be there.
pub const DEFINITIONS: &[(&str, &[Field], &[&str])] = &[
    ("Script", SCRIPT, &[]),
    ("Case", CASE, &["expect"]),
    ("Stop", STOP, &["after"]),
    ("Look", LOOK, &[]),
    ("Expect", EXPECT, &[]),
    ("StepExpect", STEP_EXPECT, &[]),
    ("Request", REQUEST, &[]),
    ("ErrorExpect", ERROR_EXPECT, &[]),
    ("GateExpect", GATE_EXPECT, &[]),
    ("ReportExpect", REPORT_EXPECT, &[]),
    ("Took", TOOK, &[]),
];
