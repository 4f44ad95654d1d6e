//! The customer's database in a drill: SQLite in memory, whatever URL the secret holds, so SQL must keep to what both
//! databases understand. A user is in it as soon as the webhook that tells of the user has arrived.

use std::sync::Arc;

use indexmap::IndexMap;
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::clerk::user_id;
use super::state::WorldState;
use crate::base::BoxFuture;
use crate::database::{
    Access, DatabaseError, Databases, Limits, Parameters, Query, Refusal, Statement, Table, in_connection,
};

/// What is in the database.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatabaseSetting {
    /// The table of users.
    pub users: UsersTable,
    /// Further tables, by name: their rows, each a map from column to value.
    pub tables: IndexMap<String, Vec<IndexMap<String, serde_json::Value>>>,
}

/// The table that webhooks fill.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UsersTable {
    /// Its name.
    pub table: String,
    /// The column of Clerk's id.
    pub id: String,
    /// The column of the time when Clerk made the user, as a text in RFC 3339.
    pub created_at: String,
}

impl Default for UsersTable {
    fn default() -> Self {
        Self { table: "users".to_owned(), id: "clerk_id".to_owned(), created_at: "created_at".to_owned() }
    }
}

/// A statement that changed something. Record lines hold these; running them again gives the same rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Wrote {
    sql: String,
    parameters: Parameters,
}

/// The database itself.
#[derive(Debug)]
pub(super) struct Store {
    connection: Connection,
    insert: String,
    /// Which users' webhooks have been taken in.
    taken: Vec<bool>,
}

impl Store {
    /// A database with its tables and no user.
    pub(super) fn open(setting: &DatabaseSetting) -> rusqlite::Result<Self> {
        let connection = Connection::open_in_memory()?;
        let UsersTable { table, id, created_at } = &setting.users;
        let (table, id, created_at) = (quoted(table), quoted(id), quoted(created_at));
        connection
            .execute_batch(&format!("CREATE TABLE {table} ({id} TEXT PRIMARY KEY, {created_at} TEXT NOT NULL)"))?;
        for (name, rows) in &setting.tables {
            let mut columns: Vec<&String> = rows.iter().flat_map(IndexMap::keys).collect();
            columns.sort_unstable();
            columns.dedup();
            let names = columns.iter().map(|column| quoted(column)).collect::<Vec<_>>().join(", ");
            connection.execute_batch(&format!("CREATE TABLE {} ({names})", quoted(name)))?;
            for row in rows {
                let values = columns.iter().map(|column| row.get(*column).map(text));
                let marks = vec!["?"; columns.len()].join(", ");
                let insert = format!("INSERT INTO {} ({names}) VALUES ({marks})", quoted(name));
                connection.execute(&insert, rusqlite::params_from_iter(values))?;
            }
        }
        let insert = format!("INSERT OR IGNORE INTO {table} ({id}, {created_at}) VALUES (?, ?)");
        Ok(Self { connection, insert, taken: Vec::new() })
    }

    /// Takes in the users whose webhooks have arrived by now.
    pub(super) fn catch_up(&mut self, world: &WorldState) -> Result<(), DatabaseError> {
        let made = world.people.made();
        self.taken.resize(made.len(), false);
        let mut arrived: Vec<_> = (0..)
            .zip(&made)
            .filter(|(user, _)| !self.taken[*user as usize])
            .filter_map(|(user, at)| Some((world.mail.arrived(user, *at, world.now)?, user, at)))
            .collect();
        arrived.sort_unstable();
        let transaction = self.connection.unchecked_transaction().map_err(broken)?;
        transaction.pragma_update(None, "query_only", false).map_err(broken)?;
        for (_, user, at) in arrived {
            transaction.execute(&self.insert, [user_id(user), at.to_string()]).map_err(broken)?;
            self.taken[user as usize] = true;
        }
        transaction.commit().map_err(broken)
    }

    /// Runs a statement again that changed something. It failed or succeeded the first time, and does so again.
    pub(super) fn again(&mut self, wrote: &Wrote) {
        let limits = Limits { rows: 0, bytes: 0 };
        let _as_before = self.run(&wrote.sql, &wrote.parameters, Access::Write, limits);
    }

    pub(super) fn run(
        &mut self,
        sql: &str,
        parameters: &Parameters,
        access: Access,
        limits: Limits,
    ) -> Result<Table, DatabaseError> {
        let statement = Statement::parse(sql)?;
        in_connection(&mut self.connection, &statement, parameters, access, limits)
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn broken(error: rusqlite::Error) -> DatabaseError {
    let (code, message) = ("SQLITE_ERROR".to_owned(), format!("the drill's database cannot be filled: {error}"));
    DatabaseError::Refused { refusal: Refusal::Statement, code, message }
}

/// Whoever keeps the world lets a statement be run in it.
pub(super) trait Keeper: Send + Sync {
    /// Runs a statement at the present time; one that writes is noted before.
    fn run(&self, query: &Query, noted: Wrote) -> Result<Table, DatabaseError>;
}

/// The door to the drill's database.
pub(super) struct Door(pub(super) Arc<dyn Keeper>);

impl Databases for Door {
    fn query<'a>(&'a self, query: Query, cancel: CancellationToken) -> BoxFuture<'a, Result<Table, DatabaseError>> {
        Box::pin(async move {
            if cancel.is_cancelled() {
                return Err(DatabaseError::Cancelled);
            }
            let keeper = Arc::clone(&self.0);
            let work = tokio::task::spawn_blocking(move || {
                let noted = Wrote { sql: query.sql.clone(), parameters: query.parameters.clone() };
                keeper.run(&query, noted)
            });
            work.await.unwrap_or_else(|broken| {
                Err(DatabaseError::Unreachable { reason: broken.to_string(), uncertain: true })
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drill::World;
    use crate::drill::scenario::tests::scenario_of;
    use serde_json::{Value, json};
    use std::path::PathBuf;
    use std::time::Duration;

    const SCRIPT: &str = r#"
scenario: test
title: A test
starts: 2026-03-18T09:00:00Z
secrets: { svix: testsk_drill.us }
stand_ins: { https://api.us.svix.com: svix }
world:
  clerk: { users: 10, new_user_every: 1m }
  svix: { failing_for: 3m, works_from: 12h }
  database:
    users: { table: people, id: clerk }
    tables:
      settings: [{ name: theme, value: dark }, { name: "it's", "odd \"name": 7 }]
"#;

    async fn ask(world: &World, sql: &str, parameters: Value, access: Access) -> Result<Table, DatabaseError> {
        let parameters: Parameters = serde_json::from_value(parameters).unwrap();
        let query = Query {
            url: "whatever".to_owned(),
            folder: PathBuf::new(),
            sql: sql.to_owned(),
            parameters,
            access,
            timeout: Duration::from_secs(5),
            limits: Limits { rows: 100, bytes: 10_000 },
        };
        world.databases().query(query, CancellationToken::new()).await
    }

    async fn people(world: &World) -> Vec<String> {
        let table = ask(world, "SELECT clerk FROM people ORDER BY clerk", json!({}), Access::Read).await.unwrap();
        table.rows.iter().map(|row| row["clerk"].as_str().unwrap().to_owned()).collect()
    }

    fn file(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("runbook-drill-db-{}-{name}.jsonl", std::process::id()))
    }

    #[tokio::test]
    async fn who_was_told_of_is_there_and_what_was_written_outlives_a_kill() {
        let (record, killed) = (file("whole"), file("killed"));
        let script = scenario_of(SCRIPT);
        let world = World::start(&script, Some(1.0), &record).unwrap();
        // Ten users, one a minute; the last three were made while it failed.
        assert_eq!(people(&world).await, (1..=7).map(|user| format!("user_drill{user:07}")).collect::<Vec<_>>());
        let odd = ask(
            &world,
            r#"SELECT "odd ""name" AS odd FROM settings WHERE name = :n"#,
            json!({ "n": "it's" }),
            Access::Read,
        );
        assert_eq!(odd.await.unwrap().rows[0]["odd"], json!("7"));

        let insert = "INSERT INTO people (clerk, created_at) VALUES ($1, $2)";
        let by_hand = json!(["user_drill0000010", "2026-03-18T08:59:00Z"]);
        assert_eq!(ask(&world, insert, by_hand.clone(), Access::Write).await.unwrap().affected, 1);
        let twice = ask(&world, insert, by_hand, Access::Write).await.unwrap_err();
        assert!(twice.to_string().contains("SQLITE_CONSTRAINT"), "{twice}");
        let delete =
            ask(&world, "DELETE FROM people WHERE clerk = :id", json!({ "id": "user_drill0000001" }), Access::Write);
        assert_eq!(delete.await.unwrap().affected, 1);
        let before = people(&world).await;
        assert_eq!((before.len(), before.last().map(String::as_str)), (7, Some("user_drill0000010")));

        let refused = ask(&world, "DELETE FROM people", json!({}), Access::Read).await.unwrap_err();
        assert!(refused.to_string().contains("SQLITE_READONLY"), "{refused}");
        assert_eq!(people(&world).await, before);

        // What a kill leaves behind: all the lines so far.
        std::fs::copy(&record, &killed).unwrap();
        drop(world);
        let world = World::start(&script, Some(1.0), &killed).unwrap();
        assert_eq!(people(&world).await, before);
        drop(world);
        for file in [record, killed] {
            std::fs::remove_file(file).unwrap();
        }
    }

    #[tokio::test]
    async fn a_drill_without_a_database_says_so() {
        let record = file("none");
        let script = scenario_of(SCRIPT.split("  database:").next().unwrap());
        let world = World::start(&script, Some(1.0), &record).unwrap();
        assert_eq!(ask(&world, "SELECT 1", json!({}), Access::Read).await, Err(DatabaseError::NoStandIn));
        drop(world);
        std::fs::remove_file(record).unwrap();
    }
}
