//! SQL from blocking code, independent of the test's runtime.

use std::time::Duration;

use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};

const LIMIT: Duration = Duration::from_secs(30);

/// One row, as PostgreSQL prints it.
pub type Row = Vec<Option<String>>;

/// Runs `sql` (one statement or several) on the database at `url` and returns the rows of all of them as
/// text.
///
/// Uses its own connection, thread and runtime, so that it works in synchronous tests and in tests with
/// paused time.
pub fn rows(url: &str, sql: &str) -> Result<Vec<Row>, String> {
    blocking(async || ask(&connect(url).await?, sql).await)
}

/// Runs `sql` in transactions that are all open at once, and returns the rows of each: behind a pooler of
/// transactions, of one on each server connection.
pub fn rows_at_once(url: &str, sql: &str, transactions: usize) -> Result<Vec<Vec<Row>>, String> {
    blocking(async || {
        let (mut clients, mut all) = (Vec::new(), Vec::new());
        for _ in 0..transactions {
            let client = connect(url).await?;
            ask(&client, "BEGIN").await?;
            all.push(ask(&client, sql).await?);
            clients.push(client);
        }
        for client in clients {
            ask(&client, "COMMIT").await?;
        }
        Ok(all)
    })
}

/// Runs `query` on a thread and a runtime of its own.
fn blocking<T: Send>(query: impl AsyncFnOnce() -> Result<T, String> + Send) -> Result<T, String> {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let limited = async { tokio::time::timeout(LIMIT, query()).await };
        runtime.expect("a runtime starts").block_on(limited)
    };
    std::thread::scope(|scope| scope.spawn(run).join())
        .expect("the query does not panic")
        .unwrap_or_else(|_| Err(format!("no answer within {LIMIT:?}")))
}

async fn connect(url: &str) -> Result<Client, String> {
    let config: Config = url.parse().map_err(|error| format!("{url}: {error}"))?;
    let (client, connection) = config.connect(NoTls).await.map_err(|error| describe(&error))?;
    tokio::task::spawn(connection);
    Ok(client)
}

async fn ask(client: &Client, sql: &str) -> Result<Vec<Row>, String> {
    let messages = client.simple_query(sql).await.map_err(|error| describe(&error))?;
    let rows = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => {
            Some((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect())
        }
        _ => None,
    });
    Ok(rows.collect())
}

fn describe(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| error.to_string(), ToString::to_string)
}

/// `url` with `database` in place of the database it names.
pub(super) fn with_database(url: &str, database: &str) -> String {
    let (address, query) = url.split_once('?').map_or((url, None), |(address, query)| (address, Some(query)));
    let start = address.find("://").map_or(0, |at| at + 3);
    let server = match address.get(start..).and_then(|rest| rest.find('/')) {
        Some(slash) => address.get(..start + slash).unwrap_or(address),
        None => address,
    };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("{server}/{database}{query}")
}

/// `name` as an SQL identifier.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_of_a_url_is_replaced() {
        let cases = [
            ("postgres://u:p@h:1/old?sslmode=disable", "postgres://u:p@h:1/new?sslmode=disable"),
            ("postgres://h", "postgres://h/new"),
            ("postgresql://h/", "postgresql://h/new"),
        ];
        for (url, expected) in cases {
            assert_eq!(with_database(url, "new"), expected);
        }
    }

    #[test]
    fn a_quote_does_not_end_a_quoted_identifier() {
        assert_eq!(quoted("a\"; DROP"), "\"a\"\"; DROP\"");
    }
}
