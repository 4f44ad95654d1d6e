//! The project's environment variables.

use serde_json::{Value, json};

use super::setting::ListShape;
use super::state::{Change, EnvKind, EnvRow, Target};
use super::{Api, Outcome, bad, fields, millis, no, shape, text};
use crate::drill::ask::Answer;

/// The longest comment on a variable.
const LONGEST_COMMENT: usize = 500;
/// The keys of a variable in a request.
const ENV_KEYS: [&str; 7] = ["key", "value", "type", "target", "gitBranch", "comment", "customEnvironmentIds"];
impl Api<'_> {
    pub(super) fn env_list(&self, project: &str) -> Outcome {
        self.in_project(project)?;
        let rows: Vec<Value> = self.world.vercel.rows.values().map(sealed).collect();
        let count = rows.len();
        let body = match (self.setting.env_list, rows.as_slice()) {
            (ListShape::Single, [only]) => only.clone(),
            (ListShape::Pages, rows) => {
                json!({ "envs": rows, "pagination": { "count": count, "next": null, "prev": null } })
            }
            (ListShape::List | ListShape::Single, rows) => json!({ "envs": rows }),
        };
        Ok(Answer::json(200, &body))
    }

    pub(super) fn env_get(&self, project: &str, id: &str) -> Outcome {
        Ok(Answer::json(200, &opened(self.row(project, id)?)))
    }

    pub(super) fn env_set(&self, project: &str) -> Outcome {
        self.in_project(project)?;
        let upsert = match self.ask.query("upsert") {
            None | Some("false") => false,
            Some("true") => true,
            Some(_) => return Err(bad("`upsert` should be `true` or `false`.")),
        };
        let body = self.body()?;
        let (wanted, single) = match body {
            Value::Array(many) if many.is_empty() => return Err(bad("At least one variable is needed.")),
            Value::Array(many) => (many.iter().map(wanted_row).collect::<Result<Vec<_>, _>>()?, false),
            one => (vec![wanted_row(one)?], true),
        };
        let (mut set, mut failed): (Vec<EnvRow>, Vec<Value>) = (Vec::new(), Vec::new());
        let mut ahead = 0;
        for wanted in wanted {
            let overlapping = self
                .world
                .vercel
                .rows
                .values()
                .chain(&set)
                .find(|row| overlap(row, &wanted.key, &wanted.target, wanted.branch.as_deref()));
            if let Some(row) = overlapping.filter(|row| row.integration.is_some()) {
                failed.push(failure("FORBIDDEN", row, &wanted));
                continue;
            }
            let (id, created) = match overlapping {
                None => {
                    ahead += 1;
                    (self.world.vercel.next_row_id(ahead - 1), self.world.now)
                }
                Some(row) if upsert && same_targets(&row.target, &wanted.target) => (row.id.clone(), row.created),
                Some(row) => {
                    let code = if upsert { "ENV_CONFLICT" } else { "ENV_ALREADY_EXISTS" };
                    if single && !upsert {
                        return Err(no(403, code, format!("A variable `{}` exists already.", wanted.key)));
                    }
                    failed.push(failure(code, row, &wanted));
                    continue;
                }
            };
            set.retain(|row| row.id != id);
            set.push(EnvRow {
                id,
                key: wanted.key,
                value: wanted.value,
                kind: self.kept_as(wanted.kind, &wanted.target),
                target: wanted.target,
                comment: wanted.comment,
                branch: wanted.branch,
                integration: None,
                created,
                updated: self.world.now,
            });
        }
        let created = match set.as_slice() {
            [row] if single => sealed(row),
            rows => rows.iter().map(sealed).collect::<Vec<_>>().into(),
        };
        let answer = Answer::json(201, &json!({ "created": created, "failed": failed }));
        Ok(answer.changing(set.into_iter().map(Change::EnvSet)))
    }

    /// A row that may be changed by hand.
    fn own_row(&self, project: &str, id: &str) -> Result<&EnvRow, Answer> {
        let row = self.row(project, id)?;
        match row.integration {
            Some(_) => Err(no(403, "forbidden", format!("`{}` is managed by an integration.", row.key))),
            None => Ok(row),
        }
    }

    /// A team's policy goes before what was asked for.
    fn kept_as(&self, kind: EnvKind, target: &[Target]) -> EnvKind {
        let forced = self.setting.force_sensitive && !target.contains(&Target::Development);
        if forced { EnvKind::Sensitive } else { kind }
    }

    pub(super) fn env_edit(&self, project: &str, id: &str) -> Outcome {
        let row = self.own_row(project, id)?;
        let fields = fields(self.body()?, &ENV_KEYS)?;
        let mut edited = EnvRow { updated: self.world.now, ..row.clone() };
        if let Some(key) = fields.get("key") {
            edited.key = key_of(key)?;
        }
        if let Some(value) = fields.get("value") {
            edited.value = text(value, "value")?;
        }
        if let Some(kind) = fields.get("type") {
            edited.kind = kind_of(kind)?;
        }
        if let Some(target) = fields.get("target") {
            edited.target = target_of(target)?;
        }
        if let Some(comment) = fields.get("comment") {
            edited.comment = Some(comment_of(comment)?);
        }
        check_sensitive(edited.kind, &edited.target)?;
        edited.kind = self.kept_as(edited.kind, &edited.target);
        let others = self.world.vercel.rows.values().filter(|other| other.id != row.id);
        if others.into_iter().any(|other| overlap(other, &edited.key, &edited.target, edited.branch.as_deref())) {
            return Err(no(400, "ENV_CONFLICT", format!("Another variable `{}` has that target.", edited.key)));
        }
        Ok(Answer::json(200, &sealed(&edited)).changing([Change::EnvSet(edited)]))
    }

    pub(super) fn env_remove(&self, project: &str, id: &str) -> Outcome {
        let row = self.own_row(project, id)?;
        Ok(Answer::json(200, &sealed(row)).changing([Change::EnvRemoved { id: row.id.clone() }]))
    }

    pub(super) fn env_remove_many(&self, project: &str) -> Outcome {
        self.in_project(project)?;
        let fields = fields(self.body()?, &["ids"])?;
        let ids = fields.get("ids").and_then(Value::as_array).ok_or_else(|| bad("`ids` is needed."))?;
        if ids.is_empty() || ids.len() > 1000 {
            return Err(bad("`ids` holds 1 to 1000 ids."));
        }
        let ids = ids.iter().map(|id| text(id, "ids")).collect::<Result<std::collections::BTreeSet<_>, _>>()?;
        let found: Vec<String> = ids.into_iter().filter(|id| self.world.vercel.rows.contains_key(id)).collect();
        let answer = Answer::json(200, &json!({ "deleted": found.len(), "ids": found }));
        Ok(answer.changing(found.into_iter().map(|id| Change::EnvRemoved { id })))
    }
}

/// A variable as a request asks for it.
struct Wanted {
    key: String,
    value: String,
    kind: EnvKind,
    target: Vec<Target>,
    comment: Option<String>,
    branch: Option<String>,
}

fn wanted_row(body: &Value) -> Result<Wanted, Answer> {
    let fields = fields(body, &ENV_KEYS)?;
    let need = |name: &str| fields.get(name).ok_or_else(|| bad(format!("Missing required property `{name}`.")));
    let wanted = Wanted {
        key: key_of(need("key")?)?,
        value: text(need("value")?, "value")?,
        kind: kind_of(need("type")?)?,
        target: target_of(need("target")?)?,
        comment: fields.get("comment").map(comment_of).transpose()?,
        branch: fields.get("gitBranch").map(|branch| text(branch, "gitBranch")).transpose()?,
    };
    check_sensitive(wanted.kind, &wanted.target)?;
    Ok(wanted)
}

fn key_of(value: &Value) -> Result<String, Answer> {
    let key = text(value, "key")?;
    let fits = |(index, c): (usize, char)| c == '_' || c.is_ascii_alphabetic() || (index > 0 && c.is_ascii_digit());
    if key.is_empty() || !key.chars().enumerate().all(fits) {
        return Err(no(400, "KEY_INVALID_CHARACTERS", "The name holds a character that is not allowed."));
    }
    if key.starts_with("VERCEL_") {
        return Err(no(400, "RESERVED_ENV_VARIABLE", format!("`{key}` is reserved.")));
    }
    Ok(key)
}

fn kind_of(value: &Value) -> Result<EnvKind, Answer> {
    serde_json::from_value(value.clone()).map_err(|_| bad("`type` should be `encrypted`, `plain` or `sensitive`."))
}

fn target_of(value: &Value) -> Result<Vec<Target>, Answer> {
    let target: Vec<Target> = serde_json::from_value(value.clone())
        .map_err(|_| bad("`target` should be a list of `production`, `preview` and `development`."))?;
    if target.is_empty() { Err(bad("`target` should not be empty.")) } else { Ok(target) }
}

fn comment_of(value: &Value) -> Result<String, Answer> {
    let comment = text(value, "comment")?;
    if comment.chars().count() > LONGEST_COMMENT { Err(bad("`comment` is too long.")) } else { Ok(comment) }
}

fn check_sensitive(kind: EnvKind, target: &[Target]) -> Result<(), Answer> {
    if kind == EnvKind::Sensitive && target.contains(&Target::Development) {
        return Err(bad("A sensitive variable cannot have the target `development`."));
    }
    Ok(())
}

fn overlap(row: &EnvRow, key: &str, target: &[Target], branch: Option<&str>) -> bool {
    row.key == key && row.branch.as_deref() == branch && row.target.iter().any(|one| target.contains(one))
}

fn same_targets(one: &[Target], other: &[Target]) -> bool {
    one.iter().all(|target| other.contains(target)) && other.iter().all(|target| one.contains(target))
}

fn failure(code: &str, row: &EnvRow, wanted: &Wanted) -> Value {
    let message = format!("A variable `{}` exists already with another target.", wanted.key);
    json!({ "error": { "code": code, "message": message, "key": wanted.key, "envVarId": row.id, "target": row.target } })
}

/// A variable as lists show it: values that are kept encrypted stay closed.
fn sealed(row: &EnvRow) -> Value {
    let value = match row.kind {
        EnvKind::Plain => row.value.as_str(),
        EnvKind::Encrypted => "c2VhbGVk",
        EnvKind::Sensitive => "",
    };
    shown_row(row, value, row.kind == EnvKind::Plain)
}

/// A variable as asking for it alone shows it.
fn opened(row: &EnvRow) -> Value {
    match row.kind {
        EnvKind::Plain | EnvKind::Encrypted => shown_row(row, &row.value, true),
        EnvKind::Sensitive => shown_row(row, "", false),
    }
}

fn shown_row(row: &EnvRow, value: &str, decrypted: bool) -> Value {
    shape::variable(json!({
        "id": row.id,
        "key": row.key,
        "value": value,
        "decrypted": decrypted,
        "type": row.kind,
        "target": row.target,
        "comment": row.comment,
        "createdAt": millis(row.created),
        "updatedAt": millis(row.updated),
        "configurationId": row.integration,
        "gitBranch": row.branch,
    }))
}
