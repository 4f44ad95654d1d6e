//! SQLite: a file, opened read-only unless something is to be written; a thread of its own for each statement.

use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use rusqlite::types::{ToSql, ToSqlOutput, Value as Cell, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::collect::Collector;
use super::{Access, DatabaseError, Limits, Parameters, Query, Refusal, Statement, Table};

/// How long to wait for another connection that writes. It cannot be interrupted, so it is short.
const BUSY: Duration = Duration::from_secs(2);
/// How often a statement is interrupted until it has ended.
const AGAIN: Duration = Duration::from_millis(20);

/// Runs a statement. Returns after the thread that ran it has ended, whether it came to an end or was interrupted.
pub(super) async fn query(
    path: PathBuf,
    statement: Statement,
    query: Query,
    cancel: CancellationToken,
) -> Result<Table, DatabaseError> {
    let limit = query.timeout;
    let (say, interrupt) = tokio::sync::oneshot::channel();
    let mut work = tokio::task::spawn_blocking(move || {
        let mut connection = open(&path, &query)?;
        // Nobody listens any more when it was cancelled before it could be interrupted; it then ends by itself.
        let _told = say.send(connection.get_interrupt_handle());
        in_connection(&mut connection, &statement, &query.parameters, query.access, query.limits)
    });
    let why = tokio::select! {
        biased;
        ended = &mut work => return ended.unwrap_or_else(|broken| Err(fell(&broken))),
        () = cancel.cancelled() => DatabaseError::Cancelled,
        () = tokio::time::sleep(limit) => DatabaseError::Timeout { limit, uncertain: false },
    };
    // Interrupting reaches only a statement that runs, and this one may be about to begin: so it is done until it has ended.
    let Ok(handle) = interrupt.await else {
        let _never_began = work.await;
        return Err(why);
    };
    loop {
        handle.interrupt();
        tokio::select! {
            ended = &mut work => return match ended {
                // It came to its end in the same moment.
                Ok(Ok(table)) => Ok(table),
                Ok(Err(_)) | Err(_) => Err(why),
            },
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

fn fell(broken: &tokio::task::JoinError) -> DatabaseError {
    DatabaseError::Unreachable { reason: format!("its thread ended early: {broken}"), uncertain: true }
}

fn open(path: &std::path::Path, query: &Query) -> Result<Connection, DatabaseError> {
    let access = match query.access {
        Access::Read => OpenFlags::SQLITE_OPEN_READ_ONLY,
        // Not created: a wrong path must not look like an empty database.
        Access::Write => OpenFlags::SQLITE_OPEN_READ_WRITE,
    };
    let connection = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(explain)?;
    connection.busy_timeout(query.timeout.min(BUSY)).map_err(explain)?;
    Ok(connection)
}

/// Runs a statement in a connection that is open already. A write is one transaction.
pub fn in_connection(
    connection: &mut Connection,
    statement: &Statement,
    parameters: &Parameters,
    access: Access,
    limits: Limits,
) -> Result<Table, DatabaseError> {
    let (sql, values) = statement.bind(parameters, '?')?;
    let values: Vec<Given> = values.into_iter().map(|value| Given(cell(value))).collect();
    // Attached files and temporary tables are held to reading as well.
    connection.pragma_update(None, "query_only", access == Access::Read).map_err(explain)?;
    let behaviour = match access {
        Access::Read => TransactionBehavior::Deferred,
        Access::Write => TransactionBehavior::Immediate,
    };
    let transaction = connection.transaction_with_behavior(behaviour).map_err(explain)?;
    let before = transaction.total_changes();
    let table = {
        let mut prepared = transaction.prepare(&sql).map_err(explain)?;
        let columns = prepared.column_names().map(str::to_owned).collect();
        let mut collector = Collector::new(columns, limits)?;
        let width = collector.columns().len();
        let mut rows = prepared.query(rusqlite::params_from_iter(values)).map_err(explain)?;
        while let Some(row) = rows.next().map_err(explain)? {
            if width == 0 {
                continue;
            }
            let cells: Result<Vec<Value>, rusqlite::Error> = (0..width).map(|at| row.get_ref(at).map(json)).collect();
            // What writes must run to its end; what reads may stop here.
            if !collector.take(cells.map_err(explain)?) && access == Access::Read {
                break;
            }
        }
        drop(rows);
        collector.finish(transaction.total_changes() - before)
    };
    match access {
        Access::Read => transaction.rollback().map_err(explain)?,
        Access::Write => transaction.commit().map_err(explain)?,
    }
    Ok(table)
}

/// A value to bind.
struct Given(Cell);

impl ToSql for Given {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        self.0.to_sql()
    }
}

fn cell(value: &Value) -> Cell {
    match value {
        Value::Null => Cell::Null,
        Value::Bool(yes) => Cell::Integer(i64::from(*yes)),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Cell::Integer(whole),
            (None, Some(real)) => Cell::Real(real),
            (None, None) => Cell::Text(number.to_string()),
        },
        Value::String(text) => Cell::Text(text.clone()),
        Value::Array(_) | Value::Object(_) => Cell::Text(value.to_string()),
    }
}

fn json(value: ValueRef<'_>) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(whole) => whole.into(),
        ValueRef::Real(real) => {
            serde_json::Number::from_f64(real).map_or_else(|| real.to_string().into(), Value::Number)
        }
        ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned().into(),
        ValueRef::Blob(bytes) => base64::engine::general_purpose::STANDARD.encode(bytes).into(),
    }
}

/// SQLite's error, without the path: that is the secret.
fn explain(error: rusqlite::Error) -> DatabaseError {
    let (code, message) = match &error {
        rusqlite::Error::SqliteFailure(code, message) => (code.code, message.clone()),
        rusqlite::Error::SqlInputError { error, msg, .. } => (error.code, Some(msg.clone())),
        other => {
            return refused(Refusal::Statement, "SQLITE_MISUSE", other.to_string());
        }
    };
    let words = |otherwise: &str| message.clone().unwrap_or_else(|| otherwise.to_owned());
    match code {
        ErrorCode::CannotOpen => DatabaseError::Unreachable {
            reason: "the file does not exist or cannot be opened".to_owned(),
            uncertain: false,
        },
        ErrorCode::NotADatabase => refused(Refusal::Statement, "SQLITE_NOTADB", "the file is no database".to_owned()),
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => {
            refused(Refusal::Unwell, "SQLITE_BUSY", "another connection holds the database".to_owned())
        }
        ErrorCode::ReadOnly => refused(
            Refusal::Statement,
            "SQLITE_READONLY",
            "it was opened to be read, and the statement writes".to_owned(),
        ),
        ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied => {
            refused(Refusal::Unauthorized, "SQLITE_PERM", words("access was denied"))
        }
        ErrorCode::DatabaseCorrupt | ErrorCode::SystemIoFailure | ErrorCode::DiskFull => {
            refused(Refusal::Unwell, "SQLITE_IOERR", words("the file cannot be read or written"))
        }
        ErrorCode::OperationInterrupted => refused(Refusal::TooLong, "SQLITE_INTERRUPT", words("interrupted")),
        ErrorCode::ConstraintViolation => refused(Refusal::Statement, "SQLITE_CONSTRAINT", words("a constraint")),
        _ => refused(Refusal::Statement, "SQLITE_ERROR", words("the statement cannot be run")),
    }
}

fn refused(refusal: Refusal, code: &str, message: String) -> DatabaseError {
    DatabaseError::Refused { refusal, code: code.to_owned(), message }
}
