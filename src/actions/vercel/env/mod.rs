//! Environment variables: the rows there are, what was there before us, and putting that back.

mod remove;
mod set;

pub use remove::{EnvRemove, VercelEnvRemoveOutput, VercelEnvRemoveParams};
pub use set::{EnvSet, EnvType, VercelEnvSetOutput, VercelEnvSetParams};

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Scope, Vercel, id_segment, is_passing, typed};
use crate::action::{ActionError, ErrorKind, Undone};
use crate::base::redact::MASK;
use crate::http::Request;

/// How many pages of rows to read before something must be wrong.
const MOST_PAGES: usize = 50;

/// The environment that a variable is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EnvTarget {
    /// What customers see.
    #[default]
    Production,
    /// Deployments of branches.
    Preview,
    /// `vercel dev`.
    Development,
}

impl EnvTarget {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Production => "production",
            Self::Preview => "preview",
            Self::Development => "development",
        }
    }
}

/// A row as Vercel lists it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) key: String,
    #[serde(default)]
    target: Targets,
    #[serde(default, rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    git_branch: Option<String>,
    #[serde(default)]
    configuration_id: Option<String>,
    #[serde(default)]
    comment: Option<String>,
    #[serde(default)]
    custom_environment_ids: Option<Vec<String>>,
}

/// Vercel writes one target as a text or a list.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Targets {
    Many(Vec<String>),
    One(String),
    None(()),
}

impl Default for Targets {
    fn default() -> Self {
        Self::None(())
    }
}

impl Row {
    pub(super) fn targets(&self) -> Vec<String> {
        match &self.target {
            Targets::Many(targets) => targets.clone(),
            Targets::One(target) => vec![target.clone()],
            Targets::None(()) => Vec::new(),
        }
    }

    /// Does it serve more than this one target?
    pub(super) fn is_shared(&self) -> bool {
        self.targets().len() > 1 || self.custom_environment_ids.as_ref().is_some_and(|ids| !ids.is_empty())
    }

    /// Is its value kept from everybody?
    pub(super) fn is_unreadable(&self) -> bool {
        matches!(self.kind.as_str(), "sensitive" | "secret" | "system")
    }

    /// Does an integration write it?
    pub(super) fn is_managed(&self) -> bool {
        self.configuration_id.is_some()
    }
}

/// What was there before the first try, for each name; `null` where nothing was.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Prior {
    pub(super) prior: BTreeMap<String, Option<PriorRow>>,
}

/// A row as it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PriorRow {
    pub(super) id: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    /// Every target it served, ours among them.
    pub(super) targets: Vec<String>,
    /// Did it serve others as well?
    pub(super) shared: bool,
    /// Its value; not there when Vercel would not show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) value: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) comment: Option<String>,
}

impl Prior {
    /// The checkpoint of an earlier try.
    pub(super) fn from_checkpoint(checkpoint: &Value) -> Result<Self, ActionError> {
        Self::deserialize(checkpoint).map_err(|error| {
            let reason = format!("the recorded state from before cannot be read: {error}");
            ActionError::new(ErrorKind::Internal, reason)
        })
    }

    pub(super) fn to_checkpoint(&self) -> Value {
        json!(self)
    }
}

/// The requests. Plans show them and runs send them.
impl Scope<'_> {
    pub(super) fn env_list(&self) -> Request {
        self.request("GET", &format!("/v10/projects/{}/env", self.project()))
    }

    fn env_get(&self, id: &str) -> Request {
        self.request("GET", &format!("/v1/projects/{}/env/{id}", self.project()))
    }

    pub(super) fn env_create(&self, rows: Value) -> Request {
        self.request("POST", &format!("/v10/projects/{}/env", self.project())).query("upsert", "true").json(rows)
    }

    pub(super) fn env_edit(&self, id: &str, change: Value) -> Request {
        self.request("PATCH", &format!("/v9/projects/{}/env/{id}", self.project())).json(change)
    }

    pub(super) fn env_delete(&self, id: &str) -> Request {
        self.request("DELETE", &format!("/v9/projects/{}/env/{id}", self.project()))
    }
}

/// A row to create.
pub(super) fn new_row(name: &str, value: &str, kind: &str, target: EnvTarget, comment: Option<&str>) -> Value {
    let mut row = json!({ "key": name, "value": value, "type": kind, "target": [target.as_str()] });
    if let (Some(comment), Some(fields)) = (comment, row.as_object_mut()) {
        fields.insert("comment".to_owned(), Value::from(comment));
    }
    row
}

/// Can this name a variable?
pub(super) fn check_names<'n>(names: impl IntoIterator<Item = &'n String>) -> Result<(), ActionError> {
    let mut none = true;
    for name in names {
        none = false;
        let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if !plain || name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(ActionError::invalid_params(format!("`{name}` cannot name an environment variable")));
        }
    }
    if none { Err(ActionError::invalid_params("no environment variable is named")) } else { Ok(()) }
}

impl Vercel<'_> {
    /// Every row of the project. Vercel answers in three shapes: a list with pages, a list, or one row.
    pub(super) async fn env_rows(&self) -> Result<Vec<Row>, ActionError> {
        let mut rows: Vec<Row> = Vec::new();
        let mut until: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let mut request = self.scope.env_list();
            let url = request.url.clone();
            if let Some(until) = &until {
                request = request.query("until", until);
            }
            let mut answer = self.call(request).await?;
            let Some(envs) = answer.get_mut("envs").map(Value::take) else {
                rows.push(typed(answer, &url)?);
                return Ok(rows);
            };
            let before = rows.len();
            for row in typed::<Vec<Row>>(envs, &url)? {
                if !rows.iter().any(|known| known.id == row.id) {
                    rows.push(row);
                }
            }
            let next = answer.pointer("/pagination/next").filter(|next| next.is_number() || next.is_string());
            let next = next.map(|next| next.as_str().map_or_else(|| next.to_string(), str::to_owned));
            // A page that brings nothing new would be asked for for ever.
            if next.is_none() || rows.len() == before {
                return Ok(rows);
            }
            until = next;
        }
        Err(ActionError::invalid_response("Vercel's list of environment variables does not end"))
    }

    /// The decrypted value of a row; `None` when Vercel keeps it.
    pub(super) async fn env_value(&self, row: &Row) -> Result<Option<String>, ActionError> {
        if row.is_unreadable() {
            return Ok(None);
        }
        let answer = self.call(self.scope.env_get(&id_segment(&row.id)?)).await?;
        let kept = answer.get("decrypted") == Some(&Value::Bool(false))
            || answer.get("type").and_then(Value::as_str) == Some("sensitive");
        Ok(answer.get("value").and_then(Value::as_str).filter(|_| !kept).map(str::to_owned))
    }

    /// Records what is there, for each of these names. Refuses what `accept` does not accept.
    pub(super) async fn env_prior(
        &self,
        rows: &[Row],
        names: &[&String],
        target: EnvTarget,
        accept: impl Fn(&Row, bool) -> Result<(), ActionError>,
    ) -> Result<Prior, ActionError> {
        let mut prior = Prior::default();
        for name in names {
            let Some(row) = find(rows, name, target)? else {
                prior.prior.insert((*name).clone(), None);
                continue;
            };
            let value = match self.env_value(row).await {
                Ok(value) => value,
                Err(error) if is_passing(&error) || error.kind == ErrorKind::Cancelled => return Err(error),
                // Not ours to read: whether that may be overwritten is for `accept` to say.
                Err(error) => {
                    accept(row, false).map_err(|refused| ActionError {
                        message: format!("{} ({error})", refused.message),
                        ..refused
                    })?;
                    None
                }
            };
            accept(row, value.is_some())?;
            let row = PriorRow {
                id: row.id.clone(),
                kind: row.kind.clone(),
                targets: row.targets(),
                shared: row.is_shared(),
                value: value.map(|value| self.cx.conceal(&value)),
                comment: row.comment.clone().filter(|comment| !comment.is_empty()),
            };
            prior.prior.insert((*name).clone(), Some(row));
        }
        Ok(prior)
    }

    /// Creates rows, and reads what Vercel did not create: it says so in a list beside a 201.
    pub(super) async fn env_create(&self, rows: Vec<Value>) -> Result<(), ActionError> {
        if rows.is_empty() {
            return Ok(());
        }
        let answer = self.call(self.scope.env_create(Value::Array(rows))).await?;
        let failed = answer.get("failed").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        if failed.is_empty() {
            return Ok(());
        }
        let told: Vec<String> = failed.iter().map(refused_row).collect();
        let mut error = ActionError::new(ErrorKind::Rejected, format!("Vercel refused {}", told.join("; ")));
        error.code = failed.first().and_then(|row| text_at(row, "code"));
        Err(error)
    }

    /// Takes our target off a row: deletes it, or leaves it to the other targets it serves.
    pub(super) async fn env_drop(&self, row: &Row, target: EnvTarget) -> Result<(), ActionError> {
        let id = id_segment(&row.id)?;
        let dropped = if row.is_shared() {
            let others: Vec<String> = row.targets().into_iter().filter(|other| other != target.as_str()).collect();
            self.call(self.scope.env_edit(&id, json!({ "target": others }))).await
        } else {
            self.call(self.scope.env_delete(&id)).await
        };
        dropped.map(drop).or_else(gone_is_fine)
    }

    /// Puts back what was there before.
    pub(super) async fn env_restore(&self, prior: &Prior, target: EnvTarget) -> Result<Undone, ActionError> {
        let rows = self.env_rows().await?;
        let mut done = Vec::new();
        let mut left = Vec::new();
        for (name, was) in &prior.prior {
            let now = find(&rows, name, target)?;
            let Some(was) = was else {
                match now {
                    Some(row) => {
                        self.env_drop(row, target).await?;
                        done.push(format!("removed {name}"));
                    }
                    None => done.push(format!("{name} was gone already")),
                }
                continue;
            };
            match self.env_restore_row(name, was, now, &rows, target).await? {
                Ok(()) => done.push(format!("restored {name}")),
                Err(reason) => left.push(reason),
            }
        }
        let summary = if done.is_empty() { "nothing could be put back".to_owned() } else { done.join(", ") };
        Ok(Undone { summary, left })
    }

    /// The inner error says what cannot be put back.
    async fn env_restore_row(
        &self,
        name: &str,
        was: &PriorRow,
        now: Option<&Row>,
        rows: &[Row],
        target: EnvTarget,
    ) -> Result<Result<(), String>, ActionError> {
        let still_there = rows.iter().any(|row| row.id == was.id);
        let id = id_segment(&was.id)?;
        if was.shared && still_there {
            // We never touched its value, only its targets. Our own row must go first: two may not serve one target.
            if let Some(own) = now.filter(|row| row.id != was.id) {
                self.env_drop(own, target).await?;
            }
            self.call(self.scope.env_edit(&id, json!({ "target": was.targets }))).await?;
            return Ok(Ok(()));
        }
        let Some(value) = &was.value else {
            return Ok(Err(format!("the former value of {name} could not be read and so is not put back")));
        };
        if value.contains(MASK) {
            return Ok(Err(format!("the former value of {name} was masked in the run log and so is not put back")));
        }
        match now {
            Some(row) => {
                self.call(self.scope.env_edit(&id_segment(&row.id)?, json!({ "value": value }))).await?;
            }
            None => {
                let kind = if was.kind.is_empty() { "encrypted" } else { was.kind.as_str() };
                self.env_create(vec![new_row(name, value, kind, target, was.comment.as_deref())]).await?;
            }
        }
        Ok(Ok(()))
    }
}

/// The row that serves this name and target; rows for one branch only are other variables.
pub(super) fn find<'r>(rows: &'r [Row], name: &str, target: EnvTarget) -> Result<Option<&'r Row>, ActionError> {
    let mut fitting = rows.iter().filter(|row| {
        row.key == name && row.git_branch.is_none() && row.targets().iter().any(|served| served == target.as_str())
    });
    let first = fitting.next();
    match fitting.next() {
        None => Ok(first),
        Some(_) => Err(ActionError::new(
            ErrorKind::Rejected,
            format!("several rows of the project hold {name} for {}; remove all but one by hand", target.as_str()),
        )),
    }
}

/// Removing what is gone already is what was wanted.
pub(super) fn gone_is_fine(error: ActionError) -> Result<(), ActionError> {
    if error.status == Some(404) { Ok(()) } else { Err(error) }
}

fn text_at(row: &Value, key: &str) -> Option<String> {
    row.get("error").unwrap_or(row).get(key).and_then(Value::as_str).map(str::to_owned)
}

fn refused_row(row: &Value) -> String {
    let name = text_at(row, "key").or_else(|| text_at(row, "envVarKey")).unwrap_or_else(|| "a variable".to_owned());
    let message = text_at(row, "message").unwrap_or_else(|| "without a word".to_owned());
    match text_at(row, "code") {
        Some(code) => format!("{name}: {message} (code `{code}`)"),
        None => format!("{name}: {message}"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::{Arc, Mutex};

    use super::super::super::testing::{Answer, Bench, Seen};
    use super::*;

    /// A project's variables, kept the way Vercel keeps them: it refuses two rows for one name and target.
    #[derive(Clone, Default)]
    pub(in super::super) struct World {
        pub(in super::super) rows: Arc<Mutex<Vec<Value>>>,
        pub(in super::super) writes: Arc<Mutex<Vec<Answer>>>,
    }

    impl World {
        pub(in super::super) fn of(rows: Vec<Value>) -> Self {
            Self { rows: Arc::new(Mutex::new(rows)), writes: Arc::default() }
        }

        pub(in super::super) async fn bench(&self) -> Bench {
            let world = self.clone();
            Bench::with(move |seen| world.answer(seen)).await
        }

        /// `NAME=value target,target`, sorted.
        pub(in super::super) fn shown(&self) -> Vec<String> {
            let rows = self.rows.lock().unwrap();
            let mut shown: Vec<String> = rows
                .iter()
                .map(|row| {
                    let targets: Vec<&str> =
                        row["target"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
                    format!("{}={} {}", row["key"].as_str().unwrap(), row["value"].as_str().unwrap(), targets.join(","))
                })
                .collect();
            shown.sort();
            shown
        }

        fn answer(&self, seen: &Seen) -> Answer {
            let mut rows = self.rows.lock().unwrap();
            let id = seen.path.rsplit('/').next().unwrap().to_owned();
            let place = rows.iter().position(|row| row["id"] == id.as_str());
            let missing = Answer::json(404, &json!({ "error": { "code": "not_found", "message": "gone" } }));
            let hidden = |row: &Value| {
                let mut row = row.clone();
                row["value"] = json!("eyJ2IjoidjIifQ");
                row
            };
            if seen.method != "GET" && !self.writes.lock().unwrap().is_empty() {
                return self.writes.lock().unwrap().remove(0);
            }
            match (seen.method.as_str(), place) {
                ("GET", _) if seen.path == "/v10/projects/shop/env" => {
                    let envs: Vec<Value> = rows.iter().map(hidden).collect();
                    Answer::json(200, &json!({ "envs": envs, "pagination": { "next": null } }))
                }
                ("GET", Some(place)) => Answer::json(200, &rows[place]),
                ("DELETE", Some(place)) => Answer::json(200, &rows.remove(place)),
                ("PATCH", Some(place)) => {
                    let change = seen.body.as_object().unwrap().clone();
                    rows[place].as_object_mut().unwrap().extend(change);
                    Answer::json(200, &rows[place])
                }
                ("POST", _) if seen.query.contains("upsert=true") => {
                    let (mut created, mut failed) = (Vec::new(), Vec::new());
                    for new in seen.body.as_array().unwrap() {
                        let clash = rows.iter().any(|row| {
                            row["key"] == new["key"] && row["target"].as_array().unwrap().contains(&new["target"][0])
                        });
                        if clash {
                            failed.push(
                                json!({ "error": { "code": "ENV_CONFLICT", "message": "exists", "key": new["key"] } }),
                            );
                            continue;
                        }
                        let mut row = new.clone();
                        row["id"] = json!(format!("new_{}", rows.len()));
                        created.push(row.clone());
                        rows.push(row);
                    }
                    Answer::json(201, &json!({ "created": created, "failed": failed }))
                }
                _ => missing,
            }
        }
    }

    pub(in super::super) fn row(id: &str, key: &str, value: &str, targets: &[&str]) -> Value {
        json!({ "id": id, "key": key, "value": value, "type": "encrypted", "target": targets })
    }

    #[tokio::test]
    async fn all_three_shapes_of_the_list_are_read() {
        let one = row("a", "A", "1", &["production"]);
        for body in [json!({ "envs": [one], "pagination": { "next": null } }), json!({ "envs": [one] }), one.clone()] {
            let bench = Bench::with(move |_| Answer::json(200, &body)).await;
            let cx = bench.cx();
            let vercel = Vercel::new(&cx, Scope { project: "shop", team: None }, "vercel").unwrap();
            assert_eq!(vercel.env_rows().await.unwrap()[0].targets(), ["production"]);
        }
    }

    #[tokio::test]
    async fn a_list_is_read_to_its_end_and_never_for_ever() {
        let bench = Bench::with(|seen| {
            let page = if seen.query.contains("until=5") { "b" } else { "a" };
            let envs = [json!({ "id": page, "key": "A", "target": "preview" })];
            Answer::json(200, &json!({ "envs": envs, "pagination": { "next": 5 } }))
        });
        let bench = bench.await;
        let cx = bench.cx();
        let vercel = Vercel::new(&cx, Scope { project: "shop", team: None }, "vercel").unwrap();
        assert_eq!((vercel.env_rows().await.unwrap().len(), bench.seen().len()), (2, 3));
    }
}
