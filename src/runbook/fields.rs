//! Every field of the language, once: the reader, the JSON Schema and the reference text are made from these tables.

use serde_json::{Value, json};

use super::node;
use crate::base::Source;

/// A field an author can write.
#[derive(Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// What it means; the first sentence stands alone in editors.
    pub doc: &'static str,
    /// Its JSON Schema, without what the rest of this says. References point into `$defs`.
    pub schema: fn() -> Value,
    /// What it is where it is left out, as an author would write it.
    pub default: Option<&'static str>,
    /// What an author might write, as YAML.
    pub examples: &'static [&'static str],
}

/// A field of which no more is to be said.
pub const fn field(name: &'static str, doc: &'static str, schema: fn() -> Value) -> Field {
    Field { name, doc, schema, default: None, examples: &[] }
}

impl Field {
    /// Says what it is where it is left out.
    #[must_use]
    pub const fn default(self, default: &'static str) -> Self {
        Self { default: Some(default), ..self }
    }

    /// Shows what an author might write.
    #[must_use]
    pub const fn examples(self, examples: &'static [&'static str]) -> Self {
        Self { examples, ..self }
    }

    /// Its whole JSON Schema: what it means, its default and its examples too.
    pub fn to_schema(&self) -> Value {
        let mut schema = (self.schema)();
        let mut doc = self.doc.to_owned();
        let mut examples = Vec::new();
        for example in self.examples {
            match written(example) {
                // Editors would insert a whole map where the author wants an empty one.
                Value::Object(_) => doc.push_str(&format!(" For example `{example}`.")),
                plain => examples.push(plain),
            }
        }
        describe(&mut schema, &doc);
        if let Some(object) = schema.as_object_mut() {
            if !examples.is_empty() {
                object.insert("examples".to_owned(), examples.into());
            }
            // Nothing at all is no default that anybody would want to have inserted.
            if let Some(default) = self.default.filter(|default| !["[]", "{}"].contains(default)) {
                object.insert("default".to_owned(), written(default));
            }
        }
        schema
    }
}

/// Says what a value means. Of alternatives editors show only what the one that fits says of itself, so all say the same.
pub fn describe(schema: &mut Value, doc: &str) {
    let Some(object) = schema.as_object_mut().filter(|object| object.get("type") != Some(&json!("null"))) else {
        return;
    };
    if doc.is_empty() {
        return;
    }
    object.insert("description".to_owned(), doc.into());
    for key in ["then", "else"] {
        if let Some(alternative) = object.get_mut(key) {
            describe(alternative, doc);
        }
    }
    let alternatives = object.get_mut("anyOf").and_then(Value::as_array_mut);
    alternatives.into_iter().flatten().for_each(|alternative| describe(alternative, doc));
}

/// What stands in a table, as the YAML it is.
fn written(text: &str) -> Value {
    node::parse(&Source::new("fields.rs", text)).expect("a test reads every default and example").to_json()
}

/// One of some words, each with what it means. Editors show both.
pub fn words<'w>(words: impl IntoIterator<Item = (&'w str, &'w str)>) -> Value {
    let (words, meanings): (Vec<_>, Vec<_>) = words.into_iter().unzip();
    json!({ "enum": words, "enumDescriptions": meanings })
}

/// A map, or something shorter that stands for one. Whoever writes a map is told what is wrong with the map; who has written
/// nothing yet is offered both.
fn map_or(definition: &str, other: Value) -> Value {
    let map = json!({ "$ref": format!("#/$defs/{definition}") });
    let either = json!({ "if": { "type": "null" }, "then": { "anyOf": [other, map] }, "else": other });
    json!({ "if": { "type": "object" }, "then": map, "else": either })
}

/// A number or a boolean is taken as it is written.
fn text() -> Value {
    json!({ "type": ["string", "number", "boolean"] })
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
    text()
}
fn expression() -> Value {
    json!({
        "type": ["string", "boolean", "number"],
        "pattern": r"^([^{]|\{[^{])*\{?$",
        "errorMessage": "an expression, without braces: `triage.outputs.category == 'outage'`",
    })
}
fn names() -> Value {
    json!({ "type": "array", "items": { "type": "string" } })
}
fn anything() -> Value {
    json!({})
}
fn map() -> Value {
    json!({ "type": "object" })
}
fn input_map() -> Value {
    json!({ "type": "object", "additionalProperties": { "$ref": "#/$defs/Input" } })
}
fn step_map() -> Value {
    json!({ "type": "object", "minProperties": 1,
        "propertyNames": {
            "pattern": "^[A-Za-z_][A-Za-z0-9_]*$",
            "patternErrorMessage": "a step's id is letters, digits and `_`, no digit first: expressions name it directly",
        },
        "additionalProperties": { "$ref": "#/$defs/Step" } })
}
fn final_step_map() -> Value {
    let mut map = step_map();
    map["minProperties"] = json!(0);
    map
}
fn secret_map() -> Value {
    json!({ "type": "object", "additionalProperties": { "$ref": "#/$defs/Secret" } })
}
fn needs() -> Value {
    let result = words([
        ("succeeded", "It did what it should."),
        ("failed", "It did not, and no try is left."),
        ("skipped", "It was left out: its `if` did not hold, or its own needs could not be met."),
        ("rejected", "A person said no at its gate, or nobody said yes in time."),
        ("finished", "Any of these."),
    ]);
    let results = json!({ "if": { "type": "array" }, "then": { "type": "array", "items": result }, "else": result });
    json!({
        "type": ["array", "object"],
        "items": { "type": "string" },
        "additionalProperties": results,
        "errorMessage": "a list of steps that must have succeeded, or a map of steps and results: `[a]`, `{ a: finished }`",
    })
}
fn env_map() -> Value {
    json!({ "type": "object", "additionalProperties": template() })
}
fn output_map() -> Value {
    json!({ "type": "object", "additionalProperties": { "$ref": "#/$defs/Output" } })
}
fn argv() -> Value {
    json!({ "type": "array", "minItems": 1, "items": template() })
}
fn undo() -> Value {
    map_or(
        "Undo",
        words([
            ("auto", "As the action knows how to."),
            ("none", "What it does is meant to stay, also after a rollback."),
        ]),
    )
}
fn retry() -> Value {
    json!({ "$ref": "#/$defs/Retry" })
}
fn timeout() -> Value {
    map_or("Timeout", duration())
}
fn output_type() -> Value {
    words([
        ("string", "Text."),
        ("integer", "A whole number."),
        ("number", "A number."),
        ("boolean", "`true` or `false`."),
        ("json", "Any JSON: a list, a map …"),
    ])
}
fn lock_list() -> Value {
    json!({ "type": "array", "items": map_or("Lock", text()) })
}
fn passed_secrets() -> Value {
    json!({
        "type": ["array", "object"],
        "items": { "type": "string" },
        "additionalProperties": { "type": "string" },
        "errorMessage": "a list of names, or a map from its names to ours: `[vercel]`, `{ token: vercel }`",
    })
}
fn people() -> Value {
    json!({ "type": "array", "items": {
        "type": "string",
        "pattern": "^(user|group):.",
        "errorMessage": "names nobody: write `user:NAME` or `group:NAME`",
    } })
}
fn part_or_count() -> Value {
    json!({
        "type": ["integer", "string"],
        "minimum": 1,
        "pattern": "^([1-9][0-9]?|100)%$",
        "errorMessage": "a number from 1, or a part of the list such as `10%`",
    })
}

/// The top of a file.
pub const RUNBOOK: &[Field] = &[
    field("runbook", "The runbook's name: a-z, 0-9 and `-`, a letter first.", || {
        json!({ "type": "string", "pattern": "^[a-z][a-z0-9-]*$", "maxLength": 64,
                   "patternErrorMessage": "a runbook's name is a-z, 0-9 and `-`, a letter first" })
    })
    .examples(&["payments-down"]),
    field("title", "Its title, for people.", text),
    field("summary", "What it is for, in a sentence or two.", text),
    field(
        "severity",
        "How bad the incident is that it answers.",
        || json!({ "type": "string", "enum": ["critical", "high", "medium", "low"] }),
    ),
    field("outage_of", "Systems that may be assumed to be down while it runs.", names).default("[]"),
    field("inputs", "What it is given: `-i name=value` on the command line.", input_map)
        .default("{}")
        .examples(&["{ project: { type: string, required: true } }"]),
    field("secrets", "Secrets by name. They are fetched when first needed, and never logged or stored.", secret_map)
        .default("{}")
        .examples(&["{ vercel: { env: VERCEL_TOKEN } }"]),
    field(
        "locks",
        "What only one run at a time may hold, by name. Two runs that name the same lock do not run at once.",
        lock_list,
    )
    .default("[]")
    .examples(&["['vercel:{{ inputs.project }}:production']", "[{ name: queue, wait: 10m }]"]),
    field("timeout", "How long the whole run may take, from its beginning. Without it there is no limit.", duration)
        .examples(&["2h"]),
    field("steps", "The steps. The key is the step's id; the order is for reading only.", step_map),
    field("on_failure", "What follows the first failure.", || {
        words([
            ("rollback", "What was done is undone, in reverse order."),
            ("hold", "Nothing new begins, and everything stays as it is."),
            ("continue", "The run goes on with what does not need the failed step."),
        ])
    })
    .default("hold"),
    field("finally", "Steps that run however the run ended.", final_step_map).default("{}"),
    field(
        "outputs",
        "What it gives to a runbook that calls it, read there as `STEP.outputs.NAME`.",
        || json!({ "type": "object", "additionalProperties": { "$ref": "#/$defs/Given" } }),
    )
    .default("{}")
    .examples(&["{ deployment: { type: string, value: '{{ deploy.outputs.deployment }}' } }"]),
];

/// An input, and equally a question at a gate or the evidence of a manual step.
pub const INPUT: &[Field] = &[
    field("type", "What it may be.", || {
        words([
            ("string", "Text."),
            ("integer", "A whole number."),
            ("boolean", "`true` or `false`."),
            ("duration", "A length of time: `90s`, `15m`, `1h30m`."),
            ("url", "An address: `https://…`."),
            ("enum", "One of the words in `values`."),
        ])
    }),
    field("description", "What it means.", text),
    field("required", "Must it be given?", flag).default("false"),
    field("default", "What it is when it is not given. Never templated.", anything),
    field("min", "The least it may be: a number, a duration, or for a string its fewest characters.", anything)
        .examples(&["1", "5m"]),
    field("max", "The most it may be: a number, a duration, or for a string its most characters.", anything)
        .examples(&["100", "4h"]),
    field("pattern", "A regular expression that the whole text must match.", text).examples(&["'[a-z0-9-]+'"]),
    field(
        "values",
        "The words an `enum` may be.",
        || json!({ "type": "array", "minItems": 1, "items": { "type": ["string", "number", "boolean"] } }),
    )
    .examples(&["[production, preview]"]),
];

/// A secret.
pub const SECRET: &[Field] = &[
    field("env", "The environment variable it is read from.", text).examples(&["VERCEL_TOKEN"]),
    field(
        "file",
        "The file it is read from; one line break at its end is left out. A relative path starts from the runbook's folder.",
        text,
    )
    .examples(&["/run/secrets/vercel"]),
    field("optional", "May the run begin without it? The steps that take it then fail with the kind `secret`.", flag)
        .default("false"),
    field("step", "The step that gives it when it succeeds: it comes to be during the run.", text).examples(&["rotate"]),
    field(
        "prompt",
        "What a person is asked for it when it is first needed; what is typed is hidden. Beside `step`, for when the step has not succeeded.",
        text,
    )
    .examples(&["\"The new secret key, as the dashboard shows it once\""]),
];

/// A lock.
pub const LOCK: &[Field] = &[
    field(
        "name",
        "Its name, the same in every runbook that means the same thing. May hold `{{ inputs.NAME }}`.",
        template,
    )
    .examples(&["'vercel:{{ inputs.project }}:production'"]),
    field("wait", "How long to wait for the run that holds it. Without it, not at all.", duration).examples(&["10m"]),
];

/// Something that a runbook gives back.
pub const GIVEN: &[Field] = &[
    field("type", "What it may be.", output_type),
    field("value", "Its value, made of inputs and of what the steps gave. May hold `{{ … }}`.", anything)
        .examples(&["'{{ deploy.outputs.deployment }}'"]),
    field("description", "What it means.", text),
];

/// A step.
pub const STEP: &[Field] = &[
    field("title", "What the step is called, for people.", text),
    field(
        "needs",
        "What must have ended before the step begins. A list asks for success; a map asks for a result: \
        `succeeded`, `failed`, `skipped`, `rejected`, `finished` (any), or a list of these. Without it the step begins at once.",
        needs,
    )
    .examples(&["[triage]", "{ triage: finished }", "{ deploy: [succeeded, skipped] }"]),
    field("if", "The step is skipped unless this expression holds.", expression)
        .examples(&["\"triage.outputs.category == 'clerk-outage'\""]),
    field("uses", "The action it runs, or `decide`.", || json!({ "$ref": "#/$defs/ActionName" })),
    field(
        "with",
        "The action's parameters; for `decide` its arms; for `call` the inputs of the called runbook.",
        || json!({ "type": ["object", "array", "null"] }),
    ),
    field("run", "A script for `/bin/sh -eu`. It is never templated: values arrive through `env`.", text),
    field("argv", "A command as a list of words. No shell reads it, so nothing in it needs quoting.", argv)
        .examples(&["[systemctl, restart, '{{ inputs.service }}']"]),
    field("env", "Environment variables for `run` and `argv`. May hold `{{ … }}`.", env_map)
        .default("{}")
        .examples(&["{ CATEGORY: '{{ triage.outputs.category }}' }"]),
    field("outputs", "What `run` or `argv` writes to the file `$RUNBOOK_OUTPUT`, by name and type.", output_map)
        .default("{}")
        .examples(&["{ ticket: { type: string } }"]),
    field("effect", "What `run` or `argv` does to the world.", || {
        words([
            ("read", "It only looks, so doing it again is harmless."),
            ("write", "It changes something: after a crash, a person must say whether it happened."),
        ])
    })
    .default("write"),
    field(
        "call",
        "Another runbook, by its file, relative to this one. It runs as a part of this run; `with` are its inputs, and its \
        `outputs` are the step's.",
        text,
    )
    .examples(&["clerk-triage.yaml"]),
    field(
        "secrets",
        "Secrets that a called runbook is given, by name: `{ its_name: our_name }`, or a list where the names are the same.",
        passed_secrets,
    )
    .default("{}")
    .examples(&["[vercel]", "{ token: vercel }"]),
    field("for_each", "The step is done once for each item of a list.", || json!({ "$ref": "#/$defs/ForEach" }))
        .examples(&["{ in: triage.outputs.users, as: user, key: user.id, at_most: 8 }"]),
    field(
        "manual",
        "Something a person does; the step records who, when, and the evidence.",
        || json!({ "$ref": "#/$defs/Manual" }),
    )
    .examples(&["{ text: Post the statement., evidence: { link: { type: url, required: true } } }"]),
    field(
        "approval",
        "Who must agree before the step acts, asked about exactly what it will do. Alone, it is a bare gate.",
        || json!({ "$ref": "#/$defs/Approval" }),
    )
    .examples(&["{ prompt: 'Restart the queue?', by: ['group:oncall'], within: 15m }"]),
    field("allow_failure", "The run goes on when the step fails; its result is `failed` all the same.", flag)
        .default("false"),
    field(
        "timeout",
        "How long one try may take; of a call, the called runbook. `{ attempt: 5m, step: 20m }` limits the whole step too. \
        Without it there is no limit; requests have one of their own.",
        timeout,
    )
    .examples(&["20m"]),
    field("retry", "When to try again; in a loop, each item. Without it, never.", retry)
        .examples(&["{ attempts: 3, delay: 5s, max_delay: 60s, on: [timeout, network, server, rate_limited] }"]),
    field("until", "What must become true; the step is repeated until it does.", || json!({ "$ref": "#/$defs/Until" }))
        .examples(&["{ if: outputs.status == 200, every: 5s, within: 5m }"]),
    field(
        "undo",
        "How it is reversed: `auto` when the action knows, or another action, a script or a command. `none`: what it does stays, \
        which is also so without this field.",
        undo,
    )
    .examples(&["auto", "{ argv: [./off.sh] }"]),
    field(
        "measure",
        "The step puts an emergency measure in force, until it is undone or closed.",
        || json!({ "$ref": "#/$defs/Measure" }),
    )
    .examples(&["{ expires: 60m, closed_by: bypass_closed }"]),
];

/// What a step can do. It does one of these, or is a bare gate: `approval` alone.
pub const ACTS: [&str; 5] = ["uses", "run", "argv", "call", "manual"];

/// What some fields of a step must stand beside to mean anything: one of these acts.
pub const COMPANY: &[(&[&str], &[&str])] = &[
    (&["env", "outputs", "effect"], &["run", "argv"]),
    (&["with"], &["uses", "call"]),
    (&["secrets"], &["call"]),
    (&["timeout", "for_each"], &["uses", "run", "argv", "call"]),
    (&["retry", "until", "undo", "measure"], &["uses", "run", "argv"]),
];

/// An approval.
pub const APPROVAL: &[Field] = &[
    field("prompt", "The question. May hold `{{ … }}`.", template)
        .examples(&["'Restart {{ inputs.service }} in production?'"]),
    field("by", "Who may answer: `user:NAME` or `group:NAME`. Nobody named: whoever is at the terminal.", people)
        .examples(&["['group:oncall']", "['group:oncall', 'user:lead']"]),
    field("at_least", "How many must agree.", count).default("1"),
    field("not_requester", "Whoever started the run may not answer.", flag).default("false"),
    field("within", "How long the question stands. Without it, for ever.", duration).examples(&["15m"]),
    field("on_timeout", "What happens when nobody answers in time. Silence is never consent.", || {
        words([("reject", "It counts as a no."), ("hold", "The question stays open. `within` cannot stand beside it.")])
    })
    .default("reject"),
    field("ask", "What else is asked; answers are read as `STEP.approval.NAME`.", input_map)
        .default("{}")
        .examples(&["{ reason: { type: string, required: true } }"]),
];

/// A manual step.
pub const MANUAL: &[Field] = &[
    field("text", "What to do. May hold `{{ … }}`.", template)
        .examples(&["Post the prepared statement to the customers' channel."]),
    field("evidence", "What to hand in; answers are read as `STEP.outputs.NAME`.", input_map)
        .default("{}")
        .examples(&["{ link: { type: url, required: true } }"]),
];

/// `retry`.
pub const RETRY: &[Field] = &[
    field("attempts", "How many tries in all.", count).examples(&["3"]),
    field("delay", "How long to wait before the second try.", duration).default("1s"),
    field("backoff", "What each wait is multiplied by for the next.", || json!({ "type": "number", "minimum": 1 }))
        .default("2"),
    field("max_delay", "The longest wait.", duration).examples(&["60s"]),
    field("jitter", "The wait is varied at random between half and all of it.", flag).default("true"),
    field(
        "on",
        "Which kinds of failure are tried again. None named: those that may pass by themselves.",
        || json!({ "type": "array", "items": { "$ref": "#/$defs/ErrorKind" } }),
    )
    .examples(&["[timeout, network, server, rate_limited]"]),
];

/// `until`.
pub const UNTIL: &[Field] = &[
    field("if", "The condition; `outputs` are the step's own.", expression).examples(&["outputs.status == 200"]),
    field("every", "How long between two looks.", duration).examples(&["5s"]),
    field("within", "How long to go on looking, from the first look.", duration).examples(&["5m"]),
    field("on_timeout", "What it means when it has not become true by then.", || {
        words([
            ("fail", "The step fails, with the kind `not_met`."),
            ("succeed", "It counts as done all the same, and `STEP.met` is `false`."),
        ])
    })
    .default("fail"),
];

/// `measure`.
pub const MEASURE: &[Field] = &[
    field("expires", "How long it may be in force. May hold `{{ … }}`.", template)
        .examples(&["60m", "'{{ inputs.bypass_for }}'"]),
    field(
        "closed_by",
        "The step that ends it. Until that step has succeeded, or this one is undone, it is in force.",
        text,
    ),
    field("on_expiry", "What happens when it expires.", || {
        words([("hold", "It is told as overdue, and nothing else."), ("undo", "The step is undone.")])
    })
    .default("hold"),
];

/// One arm of `decide`.
pub const ARM: &[Field] = &[
    field("if", "When this arm is chosen; without one, always.", expression)
        .examples(&["\"backend_api.error.kind == 'unauthorized'\""]),
    field("then", "The outputs it gives. May hold `{{ … }}`.", map)
        .examples(&["{ category: clerk-outage, severity: critical }"]),
];

/// A declared output of a script.
pub const OUTPUT: &[Field] =
    &[field("type", "What it may be.", output_type), field("description", "What it means.", text)];

/// An undo by another action, a script or a command.
pub const UNDO: &[Field] = &[
    field("uses", "The action that reverses it.", || json!({ "$ref": "#/$defs/UndoActionName" })),
    field("with", "Its parameters.", || json!({ "type": ["object", "null"] })).default("{}"),
    field("run", "A script for `/bin/sh` that reverses it. It is never templated: values arrive through `env`.", text),
    field("argv", "A command that reverses it, as a list of words.", argv).examples(&["[systemctl, start, queue]"]),
    field("env", "Environment variables for `run` and `argv`. May hold `{{ … }}`.", env_map).default("{}"),
    field("timeout", "How long one try may take. Without it there is no limit.", duration).examples(&["5m"]),
    field("retry", "When to try again; without it, as the step itself is.", retry)
        .examples(&["{ attempts: 3, delay: 5s }"]),
    field("verify", "How it is seen that the step is reversed.", || json!({ "$ref": "#/$defs/Verify" }))
        .examples(&["{ uses: http.get, with: { url: 'https://app.example.com/health' }, if: outputs.status == 200 }"]),
];

/// `verify` of an undo.
pub const VERIFY: &[Field] = &[
    field("uses", "An action that only looks.", || json!({ "$ref": "#/$defs/LookingActionName" })),
    field("with", "Its parameters.", || json!({ "type": ["object", "null"] })).default("{}"),
    field("if", "What must hold; `outputs` are those of the look. Without it, the look must succeed.", expression)
        .examples(&["outputs.status == 200"]),
];

/// `for_each`.
pub const FOR_EACH: &[Field] = &[
    field("in", "The list: an expression, or written out. It is looked at once, when the step begins.", || {
        json!({ "type": ["string", "array"], "minItems": 1,
                   "errorMessage": "the list: an expression such as `step.outputs.users`, or written out: `[eu, us]`" })
    })
    .examples(&["triage.outputs.users", "[eu, us]"]),
    field("as", "What an item is called in `with`, `env`, `argv`, `key` and `undo`.", text).default("item"),
    field(
        "key",
        "What tells the items apart: an expression. Without it, the item itself where it is a text or a number.",
        expression,
    )
    .examples(&["user.id"]),
    field("at_most", "How many items at once. Without it, as many as the run lets steps run at once.", count)
        .examples(&["8"]),
    field("ramp", "Begin with one item, then two, then four, each time when all before have ended.", flag)
        .default("false"),
    field(
        "fail_after",
        "How many failed items make the step fail: a number, or a part such as `10%`. No further item begins then.",
        part_or_count,
    )
    .default("1")
    .examples(&["10%"]),
];

/// The map form of a step's `timeout`.
pub const TIMEOUT: &[Field] = &[
    field("attempt", "How long one try may take; in a loop, one try of one item.", duration).examples(&["5m"]),
    field("step", "How long the step may take with all its tries, pauses and items.", duration).examples(&["20m"]),
];

/// The tables that become `$defs` in the schema, by name, each with the fields that must be there.
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
    ("Output", OUTPUT, &["type"]),
    ("Undo", UNDO, &[]),
    ("Verify", VERIFY, &["uses"]),
    ("ForEach", FOR_EACH, &["in"]),
    ("Timeout", TIMEOUT, &[]),
];

#[cfg(test)]
mod tests {
    use super::super::read::Reader;
    use super::*;
    use crate::base::Code;

    #[test]
    fn every_field_says_what_it_means_and_every_example_can_be_read() {
        let tables = DEFINITIONS.iter().map(|(name, fields, _)| (*name, *fields));
        for (table, fields) in tables.chain([("Runbook", RUNBOOK), ("Step", STEP)]) {
            for field in fields {
                let schema = field.to_schema();
                assert!(schema.is_object() && field.doc.ends_with(['.', '?', '!']), "{table}.{}: {schema}", field.name);
                for example in field.examples.iter().chain(&field.default) {
                    assert!(!written(example).is_null(), "{table}.{}: {example}", field.name);
                }
            }
        }
    }

    #[test]
    fn what_belongs_together_is_what_the_reader_says() {
        let acts = [("uses", "http.get"), ("run", "x"), ("argv", "[x]"), ("call", "b.yaml"), ("manual", "{ text: x }")];
        for (fields, allowed) in COMPANY {
            for field in *fields {
                for (act, value) in acts {
                    let text = format!("s: {{ {act}: {value}, {field}: ~ }}");
                    let source = Source::new("t.yaml", text.as_str());
                    let mut reader = Reader::new(&source);
                    reader.steps(&node::parse(&source).unwrap(), "`steps`");
                    let is_refused = reader.problems.iter().any(|problem| problem.code == Code::MisplacedKey);
                    assert_eq!(is_refused, !allowed.contains(&act), "{text}: {:?}", reader.problems);
                }
            }
        }
    }

    #[test]
    fn required_fields_are_fields() {
        for (name, fields, required) in DEFINITIONS {
            for key in *required {
                assert!(fields.iter().any(|field| field.name == *key), "{name}.{key}");
            }
        }
    }
}
