//! The door to databases: one statement, its parameters bound, within limits of time and size, through a real driver.
//!
//! What only reads is held to that by the database itself: SQLite opens the file read-only, PostgreSQL runs the statement in a
//! `READ ONLY` transaction. No error names the connection URL, which is a secret whole.

mod collect;
mod postgres;
mod sqlite;
mod statement;

pub use sqlite::in_connection;
pub use statement::{Statement, StatementError};

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use crate::base::secret::SecretError;
use crate::base::{BoxFuture, SecretStore};

/// One statement for a database.
#[derive(Debug, Clone)]
pub struct Query {
    /// The connection URL; a secret reference.
    pub url: String,
    /// The folder that a relative path in a `sqlite:` URL starts from.
    pub folder: PathBuf,
    /// The statement. Parameters stand in it as `:name` or `$1`.
    pub sql: String,
    /// What is bound to them.
    pub parameters: Parameters,
    /// May it change anything?
    pub access: Access,
    /// How long it may take, connecting included.
    pub timeout: Duration,
    /// How much it may bring back.
    pub limits: Limits,
}

/// May a statement change anything?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The database refuses every write.
    Read,
    /// One transaction, committed at its end.
    Write,
}

/// How much is brought back. What is more is left out, and said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// How many rows.
    pub rows: usize,
    /// How many bytes of JSON, about.
    pub bytes: usize,
}

/// What is bound to a statement's parameters. Values never become a part of its text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Parameters {
    /// For `$1`, `$2` …
    Positional(Vec<Value>),
    /// For `:name`.
    Named(BTreeMap<String, Value>),
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    /// The columns' names, in order; none for a statement without a result.
    pub columns: Vec<String>,
    /// The rows, as objects.
    pub rows: Vec<Map<String, Value>>,
    /// Is there more than the limits let through?
    pub truncated: bool,
    /// How many rows a write changed.
    pub affected: u64,
}

/// Why there is no result. None of these sentences holds the URL or a part of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DatabaseError {
    /// The statement or a parameter makes no sense; nothing was sent.
    #[error(transparent)]
    Statement(#[from] StatementError),
    /// The secret is no URL that can be used.
    #[error("the connection URL cannot be used: {0}")]
    Url(&'static str),
    /// No connection, or it broke.
    #[error("the database cannot be reached: {reason}")]
    Unreachable {
        /// The innermost cause.
        reason: String,
        /// May a write have been committed?
        uncertain: bool,
    },
    /// It took too long.
    #[error("the database took longer than {limit:?}")]
    Timeout {
        /// The limit that passed.
        limit: Duration,
        /// May a write have been committed?
        uncertain: bool,
    },
    /// The database answered with an error.
    #[error("the database refused: {message} (code `{code}`)")]
    Refused {
        /// What kind of refusal it is.
        refusal: Refusal,
        /// SQLSTATE, or SQLite's own name.
        code: String,
        /// Its words.
        message: String,
    },
    /// A column cannot be shown as JSON.
    #[error("column `{column}` is of the type `{kind}`, which has no JSON form here; select it as text")]
    Unreadable {
        /// The column.
        column: String,
        /// Its type.
        kind: String,
    },
    /// Two columns have one name.
    #[error("two columns are named `{0}`; give one of them another name with `as`")]
    SameName(String),
    /// A drill has no database.
    #[error("this drill has no database; add `database` under `world` in the scenario")]
    NoStandIn,
    /// The run was cancelled, and so was the statement.
    #[error("the statement was cancelled")]
    Cancelled,
    /// A secret could not be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
}

/// What kind of refusal it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The user, the password or a right is missing.
    Unauthorized,
    /// The database is not well, or busy: later it may work.
    Unwell,
    /// The statement took too long by the database's own clock.
    TooLong,
    /// The statement itself: it will be refused again.
    Statement,
}

/// Runs statements. A drill has another one.
pub trait Databases: Send + Sync {
    /// Runs one statement to its end, or stops it there when `cancel` says so.
    fn query<'a>(&'a self, query: Query, cancel: CancellationToken) -> BoxFuture<'a, Result<Table, DatabaseError>>;
}

/// The databases as they are.
#[derive(Debug)]
pub struct RealDatabases {
    secrets: Arc<SecretStore>,
}

impl RealDatabases {
    /// A door that fills in these secrets.
    pub fn new(secrets: Arc<SecretStore>) -> Self {
        Self { secrets }
    }
}

impl Databases for RealDatabases {
    fn query<'a>(&'a self, query: Query, cancel: CancellationToken) -> BoxFuture<'a, Result<Table, DatabaseError>> {
        Box::pin(async move {
            let mut table = self.run(query, cancel).await?;
            for value in table.rows.iter_mut().flat_map(Map::values_mut) {
                // What comes from outside brings no reference of its own.
                crate::base::secret::disarm_json(value);
            }
            Ok(table)
        })
    }
}

impl RealDatabases {
    async fn run(&self, mut query: Query, cancel: CancellationToken) -> Result<Table, DatabaseError> {
        let url = self.secrets.reveal(&query.url)?;
        let statement = Statement::parse(&query.sql)?;
        match &mut query.parameters {
            Parameters::Positional(values) => values.iter_mut().try_for_each(|value| self.reveal(value))?,
            Parameters::Named(values) => values.values_mut().try_for_each(|value| self.reveal(value))?,
        }
        if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() {
                return Err(DatabaseError::Url("it names no file; write `sqlite:PATH`"));
            }
            return sqlite::query(query.folder.join(path), statement, query, cancel).await;
        }
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let address = postgres::Address::parse(&url, &query.folder)?;
            if let Some(password) = address.password() {
                self.secrets.redactor().learn(&password);
            }
            return postgres::query(&address, &statement, &query, cancel).await;
        }
        Err(DatabaseError::Url("it is neither `postgres://…` nor `sqlite:PATH`"))
    }

    /// Puts values in the place of references to secrets, at any depth.
    fn reveal(&self, value: &mut Value) -> Result<(), SecretError> {
        match value {
            Value::String(text) => *text = self.secrets.reveal(text)?,
            Value::Array(items) => items.iter_mut().try_for_each(|item| self.reveal(item))?,
            Value::Object(map) => map.values_mut().try_for_each(|item| self.reveal(item))?,
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
        Ok(())
    }
}

/// No database at all: a drill whose scenario has none.
#[derive(Debug, Clone, Copy)]
pub struct NoDatabases;

impl Databases for NoDatabases {
    fn query<'a>(&'a self, _query: Query, _cancel: CancellationToken) -> BoxFuture<'a, Result<Table, DatabaseError>> {
        Box::pin(async { Err(DatabaseError::NoStandIn) })
    }
}
