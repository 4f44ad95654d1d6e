//! PostgreSQL: one connection and one transaction for each statement, read-only unless something is to be written.

mod address;
mod cells;
#[cfg(test)]
mod tests;
mod tls;

pub(super) use address::Address;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, Error};
use tokio_postgres_rustls::MakeRustlsConnect;
use tokio_util::sync::CancellationToken;

use super::collect::Collector;
use super::{Access, DatabaseError, Query, Refusal, Statement, Table};
use cells::Given;

/// How many rows are fetched at once, so that a large result is never held whole.
const BATCH: i32 = 500;
/// How long to wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// How long the server may take to hear that a statement is cancelled.
const CANCEL: Duration = Duration::from_secs(2);

/// Runs a statement. When it is stopped, the server is told to stop it too.
pub(super) async fn query(
    address: &Address,
    statement: &Statement,
    query: &Query,
    cancel: CancellationToken,
) -> Result<Table, DatabaseError> {
    let limit = query.timeout;
    // A write can have happened only from here on: before, whatever broke took its transaction with it.
    let committing = AtomicBool::new(false);
    let deadline = tokio::time::Instant::now() + limit;
    let timeout = |uncertain| DatabaseError::Timeout { limit, uncertain };
    let connect = tokio::time::timeout_at(deadline, connect(&address.config, address.tls()?, limit));
    let (mut client, tls) = tokio::select! {
        biased;
        () = cancel.cancelled() => return Err(DatabaseError::Cancelled),
        connected = connect => connected.map_err(|_| timeout(false))??,
    };
    let stop = client.cancel_token();
    let work = run(&mut client, statement, query, &committing);
    let why = tokio::select! {
        biased;
        ended = work => return ended,
        () = cancel.cancelled() => DatabaseError::Cancelled,
        () = tokio::time::sleep_until(deadline) => timeout(committing.load(Ordering::Relaxed)),
    };
    // The server ends the statement by itself, too, once it notices that nobody listens; this only makes it sooner.
    let _told = tokio::time::timeout(CANCEL, stop.cancel_query(tls)).await;
    match why {
        DatabaseError::Cancelled if committing.load(Ordering::Relaxed) => {
            Err(DatabaseError::Unreachable { reason: "cancelled while it was committed".to_owned(), uncertain: true })
        }
        why => Err(why),
    }
}

/// A connection, and what its cancellation needs. The task that serves it ends with the client.
async fn connect(
    config: &Config,
    tls: MakeRustlsConnect,
    limit: Duration,
) -> Result<(Client, MakeRustlsConnect), DatabaseError> {
    let mut config = config.clone();
    config.connect_timeout(CONNECT.min(limit));
    config.application_name("runbook");
    let (client, connection) = config.connect(tls.clone()).await.map_err(|error| explain(&error, false))?;
    // What it ends with, the client is told as well.
    tokio::spawn(async move { connection.await.unwrap_or_default() });
    Ok((client, tls))
}

async fn run(
    client: &mut Client,
    statement: &Statement,
    query: &Query,
    committing: &AtomicBool,
) -> Result<Table, DatabaseError> {
    let (sql, values) = statement.bind(&query.parameters, '$')?;
    let values: Vec<Given> = values.into_iter().map(Given::of).collect();
    let plain = |error: Error| explain(&error, false);
    let transaction =
        client.build_transaction().read_only(query.access == Access::Read).start().await.map_err(plain)?;
    let milliseconds = query.timeout.as_millis().clamp(1, i32::MAX.unsigned_abs().into());
    transaction.batch_execute(&format!("SET LOCAL statement_timeout = {milliseconds}")).await.map_err(plain)?;
    // The extended protocol takes one statement only: PostgreSQL itself refuses a second.
    let prepared = transaction.prepare(&sql).await.map_err(plain)?;
    let columns = prepared.columns().iter().map(|column| column.name().to_owned()).collect();
    let mut collector = Collector::new(columns, query.limits)?;
    let portal = transaction.bind_raw(&prepared, values).await.map_err(plain)?;
    let mut affected = 0;
    loop {
        let mut rows = std::pin::pin!(transaction.query_portal_raw(&portal, BATCH).await.map_err(plain)?);
        let mut count = 0;
        while let Some(row) = rows.try_next().await.map_err(plain)? {
            count += 1;
            let cells = prepared.columns().iter().enumerate().map(|(at, column)| cells::json(&row, at, column));
            if !collector.is_full() {
                collector.take(cells.collect::<Result<_, _>>()?);
            }
        }
        affected += rows.rows_affected().unwrap_or_default();
        let all = count < BATCH;
        // What writes must run to its end; what reads may stop here.
        if all || (collector.is_full() && query.access == Access::Read) {
            break;
        }
    }
    match query.access {
        Access::Read => {
            // Nothing was changed, so a broken connection changes nothing about the answer.
            let _ended = transaction.rollback().await;
            Ok(collector.finish(0))
        }
        Access::Write => {
            committing.store(true, Ordering::Relaxed);
            transaction.commit().await.map_err(|error| explain(&error, true))?;
            Ok(collector.finish(affected))
        }
    }
}

/// The driver's error. Its own words may name the URL, so they are not used.
fn explain(error: &Error, committing: bool) -> DatabaseError {
    let Some(told) = error.as_db_error() else {
        let mut cause: &dyn std::error::Error = error;
        while let Some(deeper) = cause.source() {
            cause = deeper;
        }
        return DatabaseError::Unreachable { reason: cause.to_string(), uncertain: committing };
    };
    let code = told.code().code();
    let refusal = match code {
        _ if *told.code() == SqlState::INSUFFICIENT_PRIVILEGE => Refusal::Unauthorized,
        _ if *told.code() == SqlState::QUERY_CANCELED => Refusal::TooLong,
        // Serialisation, deadlocks, locks, resources, shutdown, the machine: another time it may work.
        code if ["08", "40", "53", "55", "57", "58", "XX"].iter().any(|class| code.starts_with(class)) => {
            Refusal::Unwell
        }
        code if code.starts_with("28") => Refusal::Unauthorized,
        _ => Refusal::Statement,
    };
    let mut message = told.message().to_owned();
    if let Some(hint) = told.hint() {
        message.push_str(&format!("; {hint}"));
    }
    DatabaseError::Refused { refusal, code: code.to_owned(), message }
}
