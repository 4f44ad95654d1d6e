//! `sql.execute`: changes something in a database, in one transaction.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Rows, SqlParams};
use crate::action::{Action, ActionContext, ActionError, Effect, Intent, Replay};
use crate::database::Access;

/// Runs one statement that writes, in a transaction of its own: all of it happens, or nothing.
#[derive(Debug)]
pub struct Execute;

/// What was changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SqlExecuteOutput {
    /// How many rows were inserted, updated or deleted.
    pub affected: u64,
    /// The columns of what it returns, in order; none without `RETURNING`.
    pub columns: Vec<String>,
    /// The rows of what it returns, each a map from column to value.
    pub rows: Rows,
    /// Does it return more than `max_rows`, or than 4 MiB, lets through? What was changed is changed all the same.
    pub truncated: bool,
}

impl Action for Execute {
    const NAME: &'static str = "sql.execute";
    const SUMMARY: &'static str = "Changes a PostgreSQL or SQLite database by one statement, in one transaction.";
    const EFFECT: Effect = Effect::Write;
    const REPLAY: Replay = Replay::Once;
    const SECRETS: &'static [&'static str] = &["database"];
    type Params = SqlParams;
    type Output = SqlExecuteOutput;

    async fn run(&self, cx: &ActionContext, params: SqlParams) -> Result<SqlExecuteOutput, ActionError> {
        let table = params.run(cx, Access::Write).await?;
        Ok(SqlExecuteOutput {
            affected: table.affected,
            columns: table.columns,
            rows: table.rows,
            truncated: table.truncated,
        })
    }

    fn describe(&self, params: &SqlParams) -> Vec<Intent> {
        params.describe("writes, in one transaction,")
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{Shop, params};
    use super::*;
    use crate::action::ErrorKind;
    use serde_json::json;

    #[tokio::test]
    async fn changes_are_counted_and_what_they_return_is_told() {
        let shop = Shop::new();
        let sql = "UPDATE users SET email = :email WHERE id <> 'user_3' RETURNING id";
        let output =
            Execute.run(&shop.cx(), params(json!({ "sql": sql, "params": { "email": "x" }, "max_rows": 1 }))).await;
        let output = output.unwrap();
        assert_eq!((output.affected, output.truncated, output.rows.len()), (2, true, 1));
        let output =
            Execute.run(&shop.cx(), params(json!({ "sql": "DELETE FROM users WHERE email = 'x'" }))).await.unwrap();
        assert_eq!((output.affected, output.columns.len(), shop.count()), (2, 0, 1));
    }

    #[tokio::test]
    async fn what_fails_half_way_changes_nothing() {
        let shop = Shop::new();
        let sql = "UPDATE users SET id = 'same'";
        let error = Execute.run(&shop.cx(), params(json!({ "sql": sql }))).await.unwrap_err();
        assert_eq!((error.kind, error.code.as_deref()), (ErrorKind::Rejected, Some("SQLITE_CONSTRAINT")));
        assert!(!error.uncertain);
        let held = shop.open();
        held.execute_batch("BEGIN IMMEDIATE").unwrap();
        let busy = params(json!({ "sql": "DELETE FROM users", "timeout": "60ms" }));
        let error = Execute.run(&shop.cx(), busy).await.unwrap_err();
        assert!(matches!(error.kind, ErrorKind::Server | ErrorKind::Timeout) && !error.uncertain, "{error}");
        drop(held);
        assert_eq!(shop.count(), 3);
        let missing = Shop::at("/nowhere/secret-path.db");
        let error = Execute.run(&missing.cx(), params(json!({ "sql": "DELETE FROM users" }))).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Network, "a wrong path must not become an empty database");
    }

    #[test]
    fn a_statement_that_may_have_happened_is_never_repeated_blindly() {
        assert_eq!((Execute::REPLAY, Execute::EFFECT), (Replay::Once, Effect::Write));
    }
}
