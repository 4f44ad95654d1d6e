//! The rows of a project's environment, as Vercel lists them, and the requests about them.

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::{Scope, Vercel, id_segment, typed};
use crate::action::{ActionError, ErrorKind};
use crate::http::Request;

/// How many pages of rows to read before something must be wrong.
const MOST_PAGES: usize = 50;

/// A row as Vercel lists it.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    pub(super) id: String,
    pub(super) key: String,
    #[serde(default)]
    target: Many,
    #[serde(default, rename = "type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) git_branch: Option<String>,
    #[serde(default)]
    pub(super) configuration_id: Option<String>,
    #[serde(default)]
    pub(super) comment: Option<String>,
    #[serde(default)]
    custom_environment_ids: Option<Vec<String>>,
    /// When it was last written, in milliseconds.
    #[serde(default)]
    pub(super) updated_at: Option<i64>,
}

/// Vercel writes one target as a text or a list.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
enum Many {
    List(Vec<String>),
    One(String),
    None(()),
}

impl Default for Many {
    fn default() -> Self {
        Self::None(())
    }
}

impl Row {
    pub(super) fn targets(&self) -> Vec<String> {
        match &self.target {
            Many::List(targets) => targets.clone(),
            Many::One(target) => vec![target.clone()],
            Many::None(()) => Vec::new(),
        }
    }

    /// Does it serve an environment that the team made itself?
    pub(super) fn is_custom(&self) -> bool {
        self.custom_environment_ids.as_ref().is_some_and(|ids| !ids.is_empty())
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

/// The requests. Plans show them and runs send them.
impl Scope<'_> {
    pub(in super::super) fn env_list(&self) -> Request {
        self.request("GET", &format!("/v10/projects/{}/env", self.project()))
    }

    pub(super) fn env_get(&self, id: &str) -> Request {
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

    /// Creates rows, and reads what Vercel did not create: it says so in a list beside a 201.
    pub(super) async fn env_create(&self, rows: Vec<Value>) -> Result<Vec<Row>, ActionError> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let answer = self.call(self.scope.env_create(Value::Array(rows))).await?;
        let failed = answer.get("failed").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        if failed.is_empty() {
            // One object for one row, a list for several.
            let created = answer.get("created").cloned().unwrap_or_default();
            let rows = if created.is_array() { created } else { json!([created]) };
            return Ok(serde_json::from_value(rows).unwrap_or_default());
        }
        let told: Vec<String> = failed.iter().map(refused_row).collect();
        let mut error = ActionError::new(ErrorKind::Rejected, format!("Vercel refused {}", told.join("; ")));
        error.code = failed.first().and_then(|row| text_at(row, "code"));
        Err(error)
    }
}

/// A row to create.
pub(super) fn new_row(
    name: &str,
    value: &str,
    kind: &str,
    targets: &[impl AsRef<str>],
    comment: Option<&str>,
) -> Value {
    let targets: Vec<&str> = targets.iter().map(AsRef::as_ref).collect();
    let mut row = json!({ "key": name, "value": value, "type": kind, "target": targets });
    if let (Some(comment), Some(fields)) = (comment, row.as_object_mut()) {
        fields.insert("comment".to_owned(), Value::from(comment));
    }
    row
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
