//! SQL: one statement in PostgreSQL or SQLite, its parameters bound.

mod execute;
mod query;

pub use execute::{Execute, SqlExecuteOutput};
pub use query::{Query, SqlQueryOutput};

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::action::{ActionContext, ActionError, Intent};
use crate::base::HumanDuration;
use crate::database::{self, Access, Limits, Statement};

/// A statement and what goes with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SqlParams {
    /// One statement. Values stand in it as `:name` or `$1`, never as templates.
    #[schemars(extend("x-untemplated" = "params", "examples" = ["SELECT id FROM users WHERE created_at >= :since"]))]
    pub sql: String,
    /// The values of its parameters: a map for `:name`, a list for `$1`. A list or a map as a value is sent as JSON, or as an
    /// array where PostgreSQL wants one.
    #[serde(default)]
    pub params: SqlValues,
    /// The name of the secret that holds the connection URL: `postgres://…`, or `sqlite:PATH`.
    #[serde(default = "default_secret")]
    pub secret: String,
    /// How many rows to bring back at most.
    #[serde(default = "default_max_rows")]
    #[schemars(range(min = 1, max = 100_000))]
    pub max_rows: u32,
    /// How long it may take, connecting included. The database is told to stop then.
    #[serde(default = "default_timeout")]
    pub timeout: HumanDuration,
}

/// Values of parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum SqlValues {
    /// For `:name`.
    Named(BTreeMap<String, Value>),
    /// For `$1`, `$2` …
    Positional(Vec<Value>),
}

impl Default for SqlValues {
    fn default() -> Self {
        Self::Named(BTreeMap::new())
    }
}

/// How large a result may be. It ends up in the run log.
const MAX_BYTES: usize = 4 * 1024 * 1024;

fn default_secret() -> String {
    "database".to_owned()
}

fn default_max_rows() -> u32 {
    10_000
}

fn default_timeout() -> HumanDuration {
    HumanDuration(Duration::from_secs(30))
}

impl SqlParams {
    fn parameters(&self) -> database::Parameters {
        match &self.params {
            SqlValues::Named(values) => database::Parameters::Named(values.clone()),
            SqlValues::Positional(values) => database::Parameters::Positional(values.clone()),
        }
    }

    /// What makes no sense, before a connection is opened.
    fn check(&self) -> Result<(), ActionError> {
        let statement = Statement::parse(&self.sql).map_err(database::DatabaseError::from)?;
        statement.bind(&self.parameters(), '$').map_err(database::DatabaseError::from)?;
        if self.max_rows == 0 {
            return Err(ActionError::invalid_params("`max_rows` is 0, so nothing could come back"));
        }
        Ok(())
    }

    async fn run(&self, cx: &ActionContext, access: Access) -> Result<database::Table, ActionError> {
        self.check()?;
        let rows = usize::try_from(self.max_rows).unwrap_or(usize::MAX);
        cx.query(database::Query {
            url: cx.secret(&self.secret)?,
            folder: cx.folder().to_owned(),
            sql: self.sql.clone(),
            parameters: self.parameters(),
            access,
            timeout: self.timeout.0,
            limits: Limits { rows, bytes: MAX_BYTES },
        })
        .await
    }

    fn describe(&self, how: &str) -> Vec<Intent> {
        let sql = self.sql.split_whitespace().collect::<Vec<_>>().join(" ");
        let values = match &self.params {
            SqlValues::Named(values) if values.is_empty() => String::new(),
            SqlValues::Positional(values) if values.is_empty() => String::new(),
            SqlValues::Named(values) => format!(", with {}", Value::from_iter(values.clone())),
            SqlValues::Positional(values) => format!(", with {}", Value::Array(values.clone())),
        };
        vec![Intent::note(format!("{how} in the database of the secret `{}`: {sql}{values}", self.secret))]
    }
}

/// Rows as they stand under `.outputs`.
type Rows = Vec<Map<String, Value>>;

#[cfg(test)]
mod tests {
    use super::super::testing::Bench;
    use super::*;
    use rusqlite::Connection;
    use std::path::{Path, PathBuf};

    pub(super) fn params(with: Value) -> SqlParams {
        serde_json::from_value(with).unwrap()
    }

    /// A small database in a file, and an action's surroundings whose secret leads to it.
    pub(super) struct Shop {
        pub(super) bench: Bench,
        path: PathBuf,
    }

    impl Shop {
        pub(super) fn new() -> Self {
            let shop = Self::in_folder();
            shop.open()
                .execute_batch(
                    "CREATE TABLE users (id TEXT PRIMARY KEY, email TEXT, created_at TEXT NOT NULL);
                     INSERT INTO users VALUES ('user_1', 'a@x', '2026-02-01'), ('user_2', NULL, '2026-02-02'),
                         ('user_3', 'c@x', '2026-02-03');",
                )
                .unwrap();
            shop
        }

        /// A file that is no database.
        pub(super) fn garbage() -> Self {
            let shop = Self::in_folder();
            std::fs::write(&shop.path, "this is no database, and long enough to be sure of it ".repeat(20)).unwrap();
            shop
        }

        pub(super) fn at(path: impl AsRef<Path>) -> Self {
            let path = path.as_ref().to_owned();
            Self { bench: Bench::new().with_secret("database", &format!("sqlite:{}", path.display())), path }
        }

        fn in_folder() -> Self {
            let folder = super::super::testing::fresh_folder();
            std::fs::create_dir_all(&folder).unwrap();
            Self::at(folder.join("shop.db"))
        }

        pub(super) fn cx(&self) -> ActionContext {
            self.bench.cx()
        }

        pub(super) fn open(&self) -> Connection {
            Connection::open(&self.path).unwrap()
        }

        pub(super) fn count(&self) -> u32 {
            self.open().query_row("SELECT count(*) FROM users", [], |row| row.get(0)).unwrap()
        }
    }

    impl Drop for Shop {
        fn drop(&mut self) {
            if let Some(folder) = self.path.parent().filter(|folder| folder.starts_with(std::env::temp_dir())) {
                let _gone = std::fs::remove_dir_all(folder);
            }
        }
    }
}
