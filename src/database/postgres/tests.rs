//! Against a real server, started for the test; skipped, loudly, where there is none.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::super::{Access, DatabaseError, Databases, Limits, Parameters, Query, RealDatabases, Refusal, Table};
use crate::base::SecretStore;

#[path = "../../../tests/support/postgres.rs"]
mod server;

use server::{PASSWORD, Server};

/// A door whose secret `database` is this URL.
fn door(url: &str) -> (RealDatabases, Arc<SecretStore>) {
    let given = BTreeMap::from([("database".to_owned(), url.to_owned())]);
    let secrets = Arc::new(SecretStore::new(BTreeMap::new(), Arc::default()).with_given(given));
    (RealDatabases::new(Arc::clone(&secrets)), secrets)
}

fn query(sql: &str, parameters: Value, access: Access) -> Query {
    let parameters = match parameters {
        Value::Array(values) => Parameters::Positional(values),
        other => Parameters::Named(other.as_object().unwrap().clone().into_iter().collect()),
    };
    Query {
        url: crate::base::secret::reference("database"),
        folder: PathBuf::from("/"),
        sql: sql.to_owned(),
        parameters,
        access,
        timeout: Duration::from_secs(20),
        limits: Limits { rows: 1200, bytes: 1_000_000 },
    }
}

async fn read(url: &str, sql: &str, parameters: Value) -> Result<Table, DatabaseError> {
    door(url).0.query(query(sql, parameters, Access::Read), CancellationToken::new()).await
}

async fn write(url: &str, sql: &str, parameters: Value) -> Result<Table, DatabaseError> {
    door(url).0.query(query(sql, parameters, Access::Write), CancellationToken::new()).await
}

fn refused(error: &DatabaseError) -> (Refusal, &str) {
    match error {
        DatabaseError::Refused { refusal, code, .. } => (*refusal, code),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn values_come_and_go_as_they_are() {
    let Some(server) = Server::start("values_come_and_go_as_they_are") else { return };
    let url = server.url();
    let sql = "SELECT true AS yes, 7::int2 AS small, -7::int4 AS mid, 9007199254740993::int8 AS big, 0.1::float4 AS f4,
        1e300::float8 AS f8, 'NaN'::float8 AS nan, 12345.6700::numeric(12,4) AS exact, -0.00012::numeric AS tiny,
        120000000::numeric AS whole, 99999999999999999999::numeric AS huge, 'NaN'::numeric AS none,
        sum(n) AS total, 'text' AS t, 'x'::varchar AS v, '{\"a\":[1]}'::jsonb AS j,
        '00000000-0000-4000-8000-0123456789ab'::uuid AS id, '\\x00ff'::bytea AS bytes,
        '2026-03-10 15:53:00.25+01'::timestamptz AS at, '2026-03-10 15:53:00'::timestamp AS local,
        'infinity'::timestamptz AS never, '1999-12-31'::date AS day, '23:59:59.5'::time AS clock,
        ARRAY['a',NULL,'c\"d'] AS list, ARRAY[[1,2],[3,4]] AS grid, '{}'::int[] AS nothing, NULL::int AS empty
        FROM generate_series(1::bigint, 3) AS n";
    let table = read(&url, sql, json!({})).await.unwrap();
    assert_eq!(
        Value::Object(table.rows[0].clone()),
        json!({
            "yes": true, "small": 7, "mid": -7, "big": 9_007_199_254_740_993_i64, "f4": 0.1, "f8": 1e300, "nan": "NaN",
            "exact": "12345.6700", "tiny": "-0.00012", "whole": 120_000_000, "huge": "99999999999999999999",
            "none": "NaN", "total": 6, "t": "text", "v": "x", "j": { "a": [1] },
            "id": "00000000-0000-4000-8000-0123456789ab", "bytes": "AP8=", "at": "2026-03-10T14:53:00.25Z",
            "local": "2026-03-10T15:53:00", "never": "infinity", "day": "1999-12-31", "clock": "23:59:59.5",
            "list": ["a", null, "c\"d"], "grid": [[1, 2], [3, 4]], "nothing": [], "empty": null,
        })
    );
    assert_eq!(table.columns.len(), 27);

    // Text form: the statement says what each parameter is.
    let sql =
        "SELECT :id::text AS id, (:n::int + 1) AS n, :at::timestamptz AS at, :list::text[] AS list, :j::jsonb AS j,
        :yes::bool AS yes, :nothing::int AS nothing, 'b' = ANY(:list) AS has";
    let given = json!({ "id": "x'); DROP TABLE users; --", "n": 41, "at": "2026-03-10T15:53:00Z",
        "list": ["a", "b", "c,\"d\\"], "j": { "k": [null] }, "yes": false, "nothing": null });
    let table = read(&url, sql, given.clone()).await.unwrap();
    let mut expected = given;
    expected["n"] = json!(42);
    expected["has"] = json!(true);
    assert_eq!(Value::Object(table.rows[0].clone()), expected);

    let error = read(&url, "SELECT point(1, 2) AS p", json!({})).await.unwrap_err();
    assert_eq!(error, DatabaseError::Unreadable { column: "p".into(), kind: "point".into() });
    let error = read(&url, "SELECT 1 AS a, 2 AS a", json!({})).await.unwrap_err();
    assert_eq!(error, DatabaseError::SameName("a".into()));
}

#[tokio::test]
async fn what_only_reads_cannot_write_and_a_write_is_one_transaction() {
    let Some(server) = Server::start("what_only_reads_cannot_write_and_a_write_is_one_transaction") else { return };
    let url = server.url();
    server.run(
        "CREATE TABLE users (id text PRIMARY KEY); CREATE SEQUENCE numbers;
        CREATE FUNCTION sneak() RETURNS int LANGUAGE sql AS $$ INSERT INTO users VALUES ('sneaked') RETURNING 1 $$;",
    );
    for sql in [
        "INSERT INTO users VALUES ('a')",
        "WITH x AS (INSERT INTO users VALUES ('a') RETURNING id) SELECT * FROM x",
        "SELECT nextval('numbers')",
        "SELECT sneak()",
        "CREATE TABLE other (id int)",
        "DO $$ BEGIN INSERT INTO users VALUES ('a'); END $$",
    ] {
        let error = read(&url, sql, json!({})).await.unwrap_err();
        assert_eq!(refused(&error), (Refusal::Statement, "25006"), "{sql}: {error}");
    }
    let error =
        read(&url, "SELECT set_config('transaction_read_only', 'off', true) AS x", json!({})).await.unwrap_err();
    assert_eq!(refused(&error).1, "25001");
    // Whatever ends the transaction ends nothing but a transaction that only reads.
    let _whatever = read(&url, "COMMIT", json!({})).await;
    let error = read(&url, "SELECT 1; DELETE FROM users", json!({})).await.unwrap_err();
    assert_eq!(error.to_string(), "there are several statements; a step runs one");
    assert_eq!(server.run("SELECT count(*) FROM users"), "0");

    let table = write(&url, "INSERT INTO users SELECT 'u' || n FROM generate_series(1, 3) n", json!({})).await.unwrap();
    assert_eq!((table.affected, table.rows.len()), (3, 0));
    let table = write(&url, "DELETE FROM users WHERE id <> $1 RETURNING id", json!(["u1"])).await.unwrap();
    assert_eq!((table.affected, table.columns.as_slice(), table.rows.len()), (2, &["id".to_owned()][..], 2));
    let error = write(&url, "INSERT INTO users VALUES ('u9'), ('u1')", json!({})).await.unwrap_err();
    assert_eq!(refused(&error), (Refusal::Statement, "23505"));
    assert_eq!(server.run("SELECT id FROM users"), "u1");
}

#[tokio::test]
async fn limits_are_kept_and_a_statement_is_stopped_at_the_server() {
    let Some(server) = Server::start("limits_are_kept_and_a_statement_is_stopped_at_the_server") else { return };
    let url = server.url();
    for (rows, came, truncated) in
        [(500, 500, false), (1200, 1200, false), (1201, 1200, true), (50_000_000, 1200, true)]
    {
        let sql = format!("SELECT n FROM generate_series(1, {rows}) n");
        let table = read(&url, &sql, json!({})).await.unwrap();
        assert_eq!((table.rows.len(), table.truncated), (came, truncated), "{rows}");
    }
    let table = read(&url, "SELECT repeat('x', 400000) AS x FROM generate_series(1, 9)", json!({})).await.unwrap();
    assert_eq!((table.rows.len(), table.truncated), (2, true));

    // By its own time limit, which the server is given too.
    let mut slow = query("SELECT 1 AS one FROM pg_sleep(60)", json!({}), Access::Read);
    slow.timeout = Duration::from_millis(400);
    let error = door(&url).0.query(slow.clone(), CancellationToken::new()).await.unwrap_err();
    let by_whom = match error {
        DatabaseError::Timeout { uncertain: false, .. } => "ours",
        DatabaseError::Refused { refusal: Refusal::TooLong, .. } => "theirs",
        other => panic!("{other}"),
    };
    assert!(["ours", "theirs"].contains(&by_whom));

    // By a cancelled run: the server must not go on with it.
    slow.timeout = Duration::from_secs(60);
    slow.access = Access::Write;
    let cancel = CancellationToken::new();
    let (databases, _) = door(&url);
    let running = databases.query(slow, cancel.clone());
    let active = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND state = 'active' AND pid <> pg_backend_pid()";
    let watch = async {
        while read(&url, active, json!({})).await.unwrap().rows[0]["count"] != json!(1) {
            tokio::task::yield_now().await;
        }
        cancel.cancel();
    };
    let (result, ()) = tokio::join!(running, watch);
    assert_eq!(result.unwrap_err(), DatabaseError::Cancelled);
    while read(&url, active, json!({})).await.unwrap().rows[0]["count"] != json!(0) {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn keys_and_certificates_are_asked_for_and_no_error_names_the_url() {
    let Some(server) = Server::start("keys_and_certificates_are_asked_for_and_no_error_names_the_url") else { return };
    let one = "SELECT count(*) AS n FROM pg_stat_ssl WHERE pid = pg_backend_pid() AND ssl";
    let encrypted = async |query: &str| {
        read(&server.tcp_url(PASSWORD, query), one, json!({})).await.map(|table| table.rows[0]["n"] == json!(1))
    };
    assert_eq!(encrypted("?sslmode=disable").await, Ok(false));

    let (databases, secrets) = door(&server.tcp_url("wrong-password-here", ""));
    let error = databases.query(query(one, json!({}), Access::Read), CancellationToken::new()).await.unwrap_err();
    assert_eq!(refused(&error), (Refusal::Unauthorized, "28P01"));
    assert!(!error.to_string().contains("wrong-password-here"), "{error}");
    // The password alone is masked as well as the whole URL.
    let masked = secrets.redactor().mask("wrong-password-here").into_owned();
    assert!(!masked.contains("wrong"), "{masked}");

    server.run("CREATE ROLE reader LOGIN PASSWORD 'reader-password'; CREATE TABLE hidden (id int)");
    let url = server.tcp_url(PASSWORD, "").replace("runbook:", "reader:").replace(PASSWORD, "reader-password");
    let error = read(&url, "SELECT id FROM hidden", json!({})).await.unwrap_err();
    assert_eq!(refused(&error), (Refusal::Unauthorized, "42501"));
    for (sql, code) in [("SELEC", "42601"), ("SELECT x FROM nowhere", "42P01"), ("SELECT 1/0 AS x", "22012")] {
        assert_eq!(refused(&read(&url, sql, json!({})).await.unwrap_err()), (Refusal::Statement, code), "{sql}");
    }
    let url = "postgres://me:hunter2-secret@127.0.0.1:1/shop";
    let error = read(url, one, json!({})).await.unwrap_err();
    assert!(matches!(error, DatabaseError::Unreachable { uncertain: false, .. }), "{error}");
    assert!(!error.to_string().contains("hunter2"), "{error}");

    let Some(certificate) = server.certificate_path() else {
        use std::io::Write as _;
        let _told = writeln!(std::io::stderr(), "\nSKIPPED the part with TLS: `openssl` could make no certificate");
        return;
    };
    let copy = std::env::temp_dir().join(format!("runbook-pg-{}.crt", std::process::id()));
    std::fs::copy(certificate, &copy).unwrap();
    let root = format!("sslrootcert={}", copy.display());
    assert_eq!(encrypted("").await, Ok(true));
    assert_eq!(encrypted("?sslmode=require").await, Ok(true));
    assert_eq!(encrypted(&format!("?sslmode=verify-full&{root}")).await, Ok(true));
    // Nobody on this machine vouches for it.
    for query in ["?sslmode=verify-full", "?sslmode=verify-ca"] {
        assert!(matches!(encrypted(query).await, Err(DatabaseError::Unreachable { .. })), "{query}");
    }
    // The name is another one: only the chain is asked about.
    let elsewhere = server.tcp_url(PASSWORD, &format!("?{root}")).replace("localhost", "127.0.0.1");
    let with = async |mode: &str| read(&format!("{elsewhere}&sslmode={mode}"), one, json!({})).await;
    assert!(with("verify-ca").await.is_ok());
    assert!(matches!(with("verify-full").await, Err(DatabaseError::Unreachable { .. })));
    std::fs::remove_file(copy).unwrap();
}
