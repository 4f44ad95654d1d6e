//! `sql.query`: asks a database, which refuses to be written to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Rows, SqlParams};
use crate::action::{Action, ActionContext, ActionError, Effect, Intent, Replay};
use crate::database::Access;

/// Runs one statement that only reads: PostgreSQL in a read-only transaction, SQLite with the file opened for reading.
#[derive(Debug)]
pub struct Query;

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SqlQueryOutput {
    /// The columns' names, in order.
    pub columns: Vec<String>,
    /// The rows, each a map from column to value. Times are RFC 3339, exact decimals are texts, bytes are base64.
    pub rows: Rows,
    /// How many rows came back.
    pub row_count: usize,
    /// Is there more than `max_rows`, or than 4 MiB, lets through?
    pub truncated: bool,
}

impl Action for Query {
    const NAME: &'static str = "sql.query";
    const SUMMARY: &'static str = "Asks a PostgreSQL or SQLite database; the database refuses every write.";
    const EFFECT: Effect = Effect::Read;
    const REPLAY: Replay = Replay::Safe;
    const SECRETS: &'static [&'static str] = &["database"];
    type Params = SqlParams;
    type Output = SqlQueryOutput;

    async fn run(&self, cx: &ActionContext, params: SqlParams) -> Result<SqlQueryOutput, ActionError> {
        let table = params.run(cx, Access::Read).await?;
        let row_count = table.rows.len();
        Ok(SqlQueryOutput { columns: table.columns, rows: table.rows, row_count, truncated: table.truncated })
    }

    fn describe(&self, params: &SqlParams) -> Vec<Intent> {
        params.describe("asks, read-only,")
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::testing::Bench;
    use super::super::tests::{Shop, params};
    use super::*;
    use crate::action::ErrorKind;
    use serde_json::json;

    #[tokio::test]
    async fn rows_are_maps_and_values_are_bound() {
        let shop = Shop::new();
        let output = Query
            .run(
                &shop.cx(),
                params(json!({
                    "sql": "SELECT id, email FROM users WHERE created_at >= :since ORDER BY id",
                    "params": { "since": "2026-02-02" },
                })),
            )
            .await
            .unwrap();
        assert_eq!(output.columns, ["id", "email"]);
        assert_eq!(json!(output.rows), json!([{ "id": "user_2", "email": null }, { "id": "user_3", "email": "c@x" }]));
        assert_eq!((output.row_count, output.truncated), (2, false));
        let injected = json!({ "sql": "SELECT id FROM users WHERE id = $1", "params": ["x' OR '1'='1"] });
        assert_eq!(Query.run(&shop.cx(), params(injected)).await.unwrap().row_count, 0);
        let few = json!({ "sql": "SELECT id FROM users", "max_rows": 2 });
        let output = Query.run(&shop.cx(), params(few)).await.unwrap();
        assert_eq!((output.row_count, output.truncated), (2, true));
    }

    #[tokio::test]
    async fn the_database_refuses_a_write() {
        let shop = Shop::new();
        for sql in ["DELETE FROM users", "CREATE TABLE x (y)", "UPDATE users SET email = '' RETURNING id"] {
            let error = Query.run(&shop.cx(), params(json!({ "sql": sql }))).await.unwrap_err();
            assert_eq!((error.kind, error.code.as_deref()), (ErrorKind::Rejected, Some("SQLITE_READONLY")), "{sql}");
        }
        assert_eq!(shop.count(), 3);
    }

    #[tokio::test]
    async fn what_makes_no_sense_is_refused_before_a_connection_is_opened() {
        let bench = Bench::new();
        for with in [
            json!({ "sql": "SELECT 1; DELETE FROM users" }),
            json!({ "sql": " -- nothing" }),
            json!({ "sql": "SELECT :a" }),
            json!({ "sql": "SELECT 1", "params": { "a": 1 } }),
            json!({ "sql": "SELECT 1", "max_rows": 0 }),
        ] {
            // This secret is not there: asking for it would fail otherwise.
            let mut with = params(with);
            with.secret = "nowhere".to_owned();
            assert_eq!(Query.run(&bench.cx(), with).await.unwrap_err().kind, ErrorKind::InvalidParams);
        }
    }

    #[tokio::test]
    async fn every_failure_has_its_kind_and_none_names_the_path() {
        let missing = Shop::at("/nowhere/secret-path.db");
        let garbage = Shop::garbage();
        let shop = Shop::new();
        for (cx, sql, kind) in [
            (missing.cx(), "SELECT 1", ErrorKind::Network),
            (garbage.cx(), "SELECT 1 FROM sqlite_master", ErrorKind::Rejected),
            (shop.cx(), "SELECT nothing FROM users", ErrorKind::Rejected),
            (shop.cx(), "SELEC", ErrorKind::Rejected),
            (shop.cx(), "SELECT id, id FROM users", ErrorKind::InvalidParams),
        ] {
            let error = Query.run(&cx, params(json!({ "sql": sql }))).await.unwrap_err();
            assert_eq!(error.kind, kind, "{sql}: {error}");
            assert!(!error.message.contains("secret-path") && !error.uncertain, "{error}");
        }
        let other = params(json!({ "sql": "SELECT 1", "secret": "svix" }));
        let error = Query.run(&shop.cx(), other).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::InvalidParams);
        assert!(error.message.contains("postgres://") && !error.message.contains("testsk_"), "{error}");
    }

    #[tokio::test]
    async fn what_takes_too_long_is_interrupted() {
        const LONG: &str =
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) AS c FROM n";
        let shop = Shop::new();
        let error = Query.run(&shop.cx(), params(json!({ "sql": LONG, "timeout": "50ms" }))).await.unwrap_err();
        assert_eq!((error.kind, error.uncertain), (ErrorKind::Timeout, false));

        let cx = shop.cx();
        let running = Query.run(&cx, params(json!({ "sql": LONG })));
        let cancelled = async {
            tokio::task::yield_now().await;
            shop.bench.cancel.cancel();
        };
        let (result, ()) = tokio::join!(running, cancelled);
        assert_eq!(result.unwrap_err().kind, ErrorKind::Cancelled);
    }

    #[test]
    fn says_what_it_will_do() {
        let with = params(json!({ "sql": "SELECT id\n  FROM users\n  WHERE id = :id", "params": { "id": "user_1" } }));
        let told = "asks, read-only, in the database of the secret `database`: SELECT id FROM users WHERE id = :id, \
                    with {\"id\":\"user_1\"}";
        assert_eq!(Query.describe(&with), [Intent::note(told)]);
    }
}
