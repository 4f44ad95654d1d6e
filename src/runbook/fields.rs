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
    json!({ "anyOf": [{ "const": "auto" }, { "$ref": "#/$defs/Undo" }] })
}
fn retry() -> Value {
    json!({ "$ref": "#/$defs/Retry" })
}
fn output_type() -> Value {
    json!({ "enum": ["string", "integer", "number", "boolean", "json"] })
}
fn lock_list() -> Value {
    json!({ "type": "array", "items": { "anyOf": [{ "type": "string" }, { "$ref": "#/$defs/Lock" }] } })
}
fn passed_secrets() -> Value {
    json!({ "anyOf": [names(), { "type": "object", "additionalProperties": { "type": "string" } }] })
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
    field(
        "locks",
        "What only one run at a time may hold, by name: `[\"vercel:{{ inputs.project }}:production\"]`. Two runs that name \
        the same lock do not run at once.",
        lock_list,
    ),
    field("timeout", "How long the whole run may take, from its beginning.", duration),
    field("steps", "The steps. The key is the step's id; the order is for reading only.", step_map),
    field(
        "on_failure",
        "What follows the first failure: undo, leave everything as it is, or go on with what does not need it.",
        || json!({ "enum": ["rollback", "hold", "continue"], "default": "hold" }),
    ),
    field("finally", "Steps that run however the run ended.", final_step_map),
    field(
        "outputs",
        "What it gives to a runbook that calls it, read there as `STEP.outputs.NAME`.",
        || json!({ "type": "object", "additionalProperties": { "$ref": "#/$defs/Given" } }),
    ),
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

/// A lock.
pub const LOCK: &[Field] = &[
    field("name", "Its name, the same in every runbook that means the same thing.", template),
    field("wait", "How long to wait for the run that holds it. Without it, not at all.", duration),
];

/// Something that a runbook gives back.
pub const GIVEN: &[Field] = &[
    field("type", "What it may be.", output_type),
    field("value", "Its value, made of inputs and of what the steps gave. May hold `{{ … }}`.", anything),
    field("description", "What it means.", text),
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
        "call",
        "Another runbook, by its file, relative to this one. It runs as a part of this run; `with` are its inputs, and its \
        `outputs` are the step's.",
        text,
    ),
    field(
        "secrets",
        "Secrets that a called runbook is given, by name: `{ its_name: our_name }`, or a list where the names are the same.",
        passed_secrets,
    ),
    field("for_each", "The step is done once for each item of a list.", || json!({ "$ref": "#/$defs/ForEach" })),
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
    field(
        "timeout",
        "How long one try may take; of a call, the called runbook. `{ attempt: 5m, step: 20m }` limits the whole step too.",
        || json!({ "anyOf": [{ "$ref": "#/$defs/Duration" }, { "$ref": "#/$defs/Timeout" }] }),
    ),
    field("retry", "When to try again; in a loop, each item.", retry),
    field("until", "What must become true; the step is repeated until it does.", || json!({ "$ref": "#/$defs/Until" })),
    field("undo", "How it is reversed: `auto` when the action knows, or another action, a script or a command.", undo),
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
    field(
        "on_timeout",
        "What it means when it has not become true by then. `STEP.met` says which it was.",
        || json!({ "enum": ["fail", "succeed"], "default": "fail" }),
    ),
];

/// `measure`.
pub const MEASURE: &[Field] = &[
    field("expires", "How long it may be in force.", template),
    field(
        "closed_by",
        "The step that ends it. Until that step has succeeded, or this one is undone, it is in force.",
        text,
    ),
    field(
        "on_expiry",
        "What happens when it expires: nothing but that it is told as overdue, or the step is undone.",
        || json!({ "enum": ["hold", "undo"], "default": "hold" }),
    ),
];

/// One arm of `decide`.
pub const ARM: &[Field] = &[
    field("if", "When this arm is chosen; without one, always.", expression),
    field("then", "The outputs it gives.", || json!({ "type": "object" })),
];

/// A declared output of a script.
pub const OUTPUT: &[Field] =
    &[field("type", "What it may be.", output_type), field("description", "What it means.", text)];

/// An undo by another action, a script or a command.
pub const UNDO: &[Field] = &[
    field("uses", "The action that reverses it.", || json!({ "$ref": "#/$defs/ActionName" })),
    field("with", "Its parameters.", || json!({ "type": "object" })),
    field("run", "A script for `/bin/sh` that reverses it. It is never templated: values arrive through `env`.", text),
    field("argv", "A command that reverses it, as a list of words.", argv),
    field("env", "Environment variables for `run` and `argv`.", env_map),
    field("timeout", "How long one try may take.", duration),
    field("retry", "When to try again; without it, as the step itself is.", retry),
    field("verify", "How it is seen that the step is reversed.", || json!({ "$ref": "#/$defs/Verify" })),
];

/// `verify` of an undo.
pub const VERIFY: &[Field] = &[
    field("uses", "An action that only looks.", || json!({ "$ref": "#/$defs/ActionName" })),
    field("with", "Its parameters.", || json!({ "type": "object" })),
    field("if", "What must hold; `outputs` are those of the look. Without it, the look must succeed.", expression),
];

/// `for_each`.
pub const FOR_EACH: &[Field] = &[
    field(
        "in",
        "The list: an expression, or written out. It is looked at once, when the step begins.",
        || json!({ "anyOf": [expression(), { "type": "array", "minItems": 1 }] }),
    ),
    field(
        "as",
        "What an item is called in `with`, `env`, `argv`, `key` and `undo`.",
        || json!({ "type": "string", "default": "item" }),
    ),
    field(
        "key",
        "What tells the items apart: an expression. Without it, the item itself where it is a text or a number.",
        expression,
    ),
    field("at_most", "How many items at once.", count),
    field("ramp", "Begin with one item, then two, then four, each time when all before have ended.", flag),
    field(
        "fail_after",
        "How many failed items make the step fail: a number, or a part such as `10%`. No further item begins then.",
        || json!({ "anyOf": [count(), { "type": "string", "pattern": "^([1-9][0-9]?|100)%$" }], "default": 1 }),
    ),
];

/// The map form of a step's `timeout`.
pub const TIMEOUT: &[Field] = &[
    field("attempt", "How long one try may take; in a loop, one try of one item.", duration),
    field("step", "How long the step may take with all its tries, pauses and items.", duration),
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
    ("Lock", LOCK, &["name"]),
    ("Given", GIVEN, &["type", "value"]),
    ("Undo", UNDO, &[]),
    ("Verify", VERIFY, &["uses"]),
    ("ForEach", FOR_EACH, &["in"]),
    ("Timeout", TIMEOUT, &[]),
];
