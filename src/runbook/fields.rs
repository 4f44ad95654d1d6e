//! Every field of the language, once: the reader, the JSON Schema and the reference text are made from these tables.

use serde_json::{Value, json};

/// A field an author can write.
#[derive(Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it means; the first sentence stands alone in editors.
    pub doc: &'static str,
    /// Its JSON Schema. References point into `$defs`.
    pub schema: fn() -> Value,
}

const fn field(name: &'static str, doc: &'static str, schema: fn() -> Value) -> Field {
    Field { name, doc, schema }
}

fn text() -> Value {
    json!({ "type": "string" })
}
fn flag() -> Value {
    json!({ "type": "boolean" })
}
fn count() -> Value {
    json!({ "type": "integer", "minimum": 1 })
}
fn duration() -> Value {
    json!({ "$ref": "#/$defs/Duration" })
}
fn template() -> Value {
    json!({ "type": ["string", "number", "boolean"], "description": "May hold `{{ … }}`." })
}
fn expression() -> Value {
    json!({ "type": "string", "description": "An expression, without braces." })
}
fn names() -> Value {
    json!({ "type": "array", "items": { "type": "string" } })
}
fn anything() -> Value {
    json!({})
}
fn input_map() -> Value {
    json!({ "type": "object", "additionalProperties": { "$ref": "#/$defs/Input" } })
}
fn step_map() -> Value {
    json!({ "type": "object", "minProperties": 1, "propertyNames": { "pattern": "^[A-Za-z_][A-Za-z0-9_]*$" },
            "additionalProperties": { "$ref": "#/$defs/Step" } })
}
fn final_step_map() -> Value {
    json!({ "type": "object", "additionalProperties": { "$ref": "#/$defs/Step" } })
}
fn secret_map() -> Value {
    json!({ "type": "object", "additionalProperties": { "$ref": "#/$defs/Secret" } })
}
fn needs() -> Value {
    let result = json!({ "enum": ["succeeded", "failed", "skipped", "rejected", "finished"] });
    json!({ "anyOf": [
        { "type": "array", "items": { "type": "string" } },
        { "type": "object", "additionalProperties": { "anyOf": [result, { "type": "array", "items": result }] } }
    ] })
}
fn env_map() -> Value {
    json!({ "type": "object", "additionalProperties": template() })
}
fn output_map() -> Value {
    json!({ "type": "object", "additionalProperties": {
        "type": "object", "required": ["type"], "additionalProperties": false,
        "properties": { "type": { "enum": ["string", "integer", "number", "boolean", "json"] },
                        "description": { "type": "string" } } } })
}
fn argv() -> Value {
    json!({ "type": "array", "minItems": 1, "items": template() })
}
fn undo() -> Value {
    json!({ "anyOf": [
        { "const": "auto" },
        { "type": "object", "required": ["uses"], "additionalProperties": false,
          "properties": { "uses": { "$ref": "#/$defs/ActionName" }, "with": { "type": "object" } } }
    ] })
}

/// The top of a file.
pub const RUNBOOK: &[Field] = &[
    field(
        "runbook",
        "The runbook's name: a-z, 0-9 and `-`.",
        || json!({ "type": "string", "pattern": "^[a-z][a-z0-9-]*$" }),
    ),
    field("title", "Its title, for people.", text),
    field("summary", "What it is for, in a sentence or two.", text),
    field(
        "severity",
        "How bad the incident is that it answers.",
        || json!({ "enum": ["critical", "high", "medium", "low"] }),
    ),
    field("outage_of", "Systems that may be assumed to be down while it runs.", names),
    field("inputs", "What it is given: `-i name=value` on the command line.", input_map),
    field("secrets", "Secrets by name. They are fetched when first needed, and never logged or stored.", secret_map),
    field("steps", "The steps. The key is the step's id; the order is for reading only.", step_map),
    field(
        "on_failure",
        "What follows the first failure: undo, leave everything as it is, or go on with what does not need it.",
        || json!({ "enum": ["rollback", "hold", "continue"], "default": "hold" }),
    ),
    field("finally", "Steps that run however the run ended.", final_step_map),
];

/// An input, and equally a question at a gate or the evidence of a manual step.
pub const INPUT: &[Field] = &[
    field("type", "What it may be.", || json!({ "enum": ["string", "integer", "boolean", "duration", "url", "enum"] })),
    field("description", "What it means.", text),
    field("required", "Must it be given?", || json!({ "type": "boolean", "default": false })),
    field("default", "What it is when it is not given.", anything),
    field("min", "The least it may be: a number, a duration, or for a string its fewest characters.", anything),
    field("max", "The most it may be.", anything),
    field("pattern", "A regular expression that the whole text must match.", text),
    field("values", "The words an `enum` may be.", names),
];

/// A secret.
pub const SECRET: &[Field] = &[
    field("env", "The environment variable it is read from.", text),
    field("file", "The file it is read from; one line break at its end is left out.", text),
];

/// A step.
pub const STEP: &[Field] = &[
    field("title", "What the step is called, for people.", text),
    field(
        "needs",
        "What must have ended before the step begins. A list asks for success; a map asks for a result: \
        `succeeded`, `failed`, `skipped`, `rejected`, `finished` (any), or a list of these.",
        needs,
    ),
    field("if", "The step is skipped unless this expression holds.", expression),
    field("uses", "The action it runs, or `decide`.", || json!({ "$ref": "#/$defs/ActionName" })),
    field("with", "The action's parameters; for `decide` its arms.", anything),
    field("run", "A script for `/bin/sh`. It is never templated: values arrive through `env`.", text),
    field("argv", "A command as a list of words. No shell reads it, so nothing in it needs quoting.", argv),
    field("env", "Environment variables for `run` and `argv`.", env_map),
    field("outputs", "What `run` or `argv` writes to the file `$RUNBOOK_OUTPUT`, by name and type.", output_map),
    field(
        "effect",
        "`read` when the script only looks; otherwise it counts as a write.",
        || json!({ "enum": ["read", "write"] }),
    ),
    field(
        "manual",
        "Something a person does; the step records who, when, and the evidence.",
        || json!({ "$ref": "#/$defs/Manual" }),
    ),
    field(
        "approval",
        "Who must agree before the step acts, asked about exactly what it will do. Alone, it is a bare gate.",
        || json!({ "$ref": "#/$defs/Approval" }),
    ),
    field("allow_failure", "The run goes on when the step fails; its result is `failed` all the same.", flag),
    field("timeout", "How long one try may take.", duration),
    field("retry", "When to try again.", || json!({ "$ref": "#/$defs/Retry" })),
    field("until", "What must become true; the step is repeated until it does.", || json!({ "$ref": "#/$defs/Until" })),
    field("undo", "How it is reversed: `auto` when the action knows, or another action.", undo),
    field(
        "measure",
        "The step puts an emergency measure in force, until it is undone or closed.",
        || json!({ "$ref": "#/$defs/Measure" }),
    ),
];

/// An approval.
pub const APPROVAL: &[Field] = &[
    field("prompt", "The question.", template),
    field("by", "Who may answer: `user:NAME` or `group:NAME`. Nobody named: whoever is at the terminal.", names),
    field("at_least", "How many must agree.", || json!({ "type": "integer", "minimum": 1, "default": 1 })),
    field("not_requester", "Whoever started the run may not answer.", flag),
    field("within", "How long the question stands.", duration),
    field(
        "on_timeout",
        "What happens when nobody answers in time. Silence is never consent.",
        || json!({ "enum": ["reject", "hold"], "default": "reject" }),
    ),
    field("ask", "What else is asked; answers are read as `STEP.approval.NAME`.", input_map),
];

/// A manual step.
pub const MANUAL: &[Field] = &[
    field("text", "What to do.", template),
    field("evidence", "What to hand in; answers are read as `STEP.outputs.NAME`.", input_map),
];

/// `retry`.
pub const RETRY: &[Field] = &[
    field("attempts", "How many tries in all.", count),
    field(
        "delay",
        "How long to wait before the second try.",
        || json!({ "$ref": "#/$defs/Duration", "default": "1s" }),
    ),
    field(
        "backoff",
        "What each wait is multiplied by for the next.",
        || json!({ "type": "number", "minimum": 1, "default": 2 }),
    ),
    field("max_delay", "The longest wait.", duration),
    field(
        "jitter",
        "The wait is varied at random between half and all of it.",
        || json!({ "type": "boolean", "default": true }),
    ),
    field(
        "on",
        "Which kinds of failure are tried again. None named: those that may pass by themselves.",
        || json!({ "type": "array", "items": { "$ref": "#/$defs/ErrorKind" } }),
    ),
];

/// `until`.
pub const UNTIL: &[Field] = &[
    field("if", "The condition; `outputs` are the step's own.", expression),
    field("every", "How long between two looks.", duration),
    field("within", "How long to go on looking.", duration),
];

/// `measure`.
pub const MEASURE: &[Field] = &[
    field("expires", "How long it may be in force.", template),
    field(
        "closed_by",
        "The step that ends it. Until that step has succeeded, or this one is undone, it is in force.",
        text,
    ),
];

/// One arm of `decide`.
pub const ARM: &[Field] = &[
    field("if", "When this arm is chosen; without one, always.", expression),
    field("then", "The outputs it gives.", || json!({ "type": "object" })),
];

/// A declared output of a script.
pub const OUTPUT: &[Field] = &[
    field("type", "What it may be.", || json!({ "enum": ["string", "integer", "number", "boolean", "json"] })),
    field("description", "What it means.", text),
];

/// An undo by another action.
pub const UNDO: &[Field] = &[
    field("uses", "The action that reverses it.", || json!({ "$ref": "#/$defs/ActionName" })),
    field("with", "Its parameters.", || json!({ "type": "object" })),
];

/// The tables that become `$defs` in the schema, by name.
pub const DEFINITIONS: &[(&str, &[Field], &[&str])] = &[
    ("Input", INPUT, &["type"]),
    ("Secret", SECRET, &[]),
    ("Approval", APPROVAL, &["prompt"]),
    ("Manual", MANUAL, &["text"]),
    ("Retry", RETRY, &["attempts"]),
    ("Until", UNTIL, &["if", "every", "within"]),
    ("Measure", MEASURE, &["expires"]),
    ("Arm", ARM, &["then"]),
];
