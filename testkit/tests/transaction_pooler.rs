//! The pooler of transactions keeps prepared statements and no transaction.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test panics, and its runtime ends its tasks"
)]

use std::collections::BTreeSet;

use testkit::{PoolerSettings, Postgres, TransactionPooler};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

async fn connect(pooler: &TransactionPooler) -> Client {
    let (client, connection) = tokio_postgres::connect(pooler.url(), NoTls).await.unwrap();
    tokio::task::spawn(connection);
    client
}

fn pooler(server: &Postgres, connections: usize, statements: usize) -> TransactionPooler {
    let settings = PoolerSettings { connections, statements, round_robin: true };
    TransactionPooler::start(server, "postgres", settings)
}

#[tokio::test]
async fn a_prepared_statement_runs_on_every_server_connection() {
    let server = Postgres::start();
    // With room for one statement, each use of another one closes it.
    for statements in [200, 1] {
        let pooler = pooler(&server, 3, statements);
        let client = connect(&pooler).await;
        let process = client.prepare("SELECT pg_backend_pid()").await.unwrap();
        let sum = client.prepare("SELECT $1::INT + 1").await.unwrap();
        let mut processes = BTreeSet::new();
        for n in 0..6 {
            processes.insert(client.query_one(&process, &[]).await.unwrap().get::<_, i32>(0));
            assert_eq!(client.query_one(&sum, &[&n]).await.unwrap().get::<_, i32>(0), n + 1);
        }
        assert_eq!(processes.len(), 3);

        // Other clients share them, and their statements of the same name.
        let other = connect(&pooler).await;
        let again = other.prepare("SELECT pg_backend_pid()").await.unwrap();
        assert!(processes.contains(&other.query_one(&again, &[]).await.unwrap().get(0)));
        drop(sum);
        assert!(processes.contains(&client.query_one(&process, &[]).await.unwrap().get(0)));
    }
}

#[tokio::test]
async fn a_transaction_stays_on_its_server_connection_and_rolls_back_with_its_client() {
    let server = Postgres::start();
    server.sql("CREATE TABLE t (n INT)");
    let pooler = pooler(&server, 2, 200);
    let (mut client, other) = (connect(&pooler).await, connect(&pooler).await);
    let transaction = client.transaction().await.unwrap();
    let mut processes = BTreeSet::new();
    for n in 0..4 {
        transaction.execute("INSERT INTO t VALUES ($1)", &[&n]).await.unwrap();
        let process = transaction.query_one("SELECT pg_backend_pid()", &[]).await.unwrap();
        processes.insert(process.get::<_, i32>(0));
        assert_eq!(other.query("SELECT * FROM t", &[]).await.unwrap().len(), 0);
    }
    assert_eq!(processes.len(), 1);
    transaction.commit().await.unwrap();
    assert_eq!(other.query("SELECT * FROM t", &[]).await.unwrap().len(), 4);

    client.batch_execute("BEGIN; DELETE FROM t").await.unwrap();
    drop(client);
    // Both server connections are free again.
    for _ in 0..2 {
        other.batch_execute("BEGIN; LOCK TABLE t IN ACCESS EXCLUSIVE MODE; COMMIT").await.unwrap();
        assert_eq!(other.query("SELECT * FROM t", &[]).await.unwrap().len(), 4);
    }
}

#[tokio::test]
async fn an_error_ends_a_batch_and_not_the_connection() {
    let server = Postgres::start();
    let pooler = pooler(&server, 2, 200);
    let client = connect(&pooler).await;
    let ratio = client.prepare("SELECT 1 / $1::INT").await.unwrap();
    for _ in 0..3 {
        let error = client.prepare("SELECT FROM nowhere").await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::UNDEFINED_TABLE));
        let error = client.query_one(&ratio, &[&0]).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::DIVISION_BY_ZERO));
        assert_eq!(client.query_one(&ratio, &[&1]).await.unwrap().get::<_, i32>(0), 1);
    }

    // Without the statements of the server, the pooler prepares them again.
    for all in ["DEALLOCATE ALL", "DISCARD ALL"] {
        let other = connect(&pooler).await;
        for _ in 0..2 {
            other.batch_execute(all).await.unwrap();
        }
        for _ in 0..4 {
            assert_eq!(client.query_one(&ratio, &[&1]).await.unwrap().get::<_, i32>(0), 1);
        }
    }
}

#[tokio::test]
async fn a_cancel_request_reaches_the_server_connection_of_its_client() {
    let server = Postgres::start();
    let pooler = pooler(&server, 1, 200);
    let (holder, client) = (connect(&pooler).await, connect(&pooler).await);
    // Nothing runs: the request reaches nothing.
    holder.cancel_token().cancel_query(NoTls).await.unwrap();
    let (locker, connection) = tokio_postgres::connect(&server.url(), NoTls).await.unwrap();
    tokio::task::spawn(connection);
    locker.query("SELECT pg_advisory_lock(1)", &[]).await.unwrap();

    let token = client.cancel_token();
    let waiting =
        tokio::task::spawn(async move { client.query("SELECT pg_advisory_lock(1)", &[]).await.map(drop) });
    let blocked = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
    while locker.query(blocked, &[]).await.unwrap().is_empty() {}
    // The request of the other client does not reach it, its own does.
    holder.cancel_token().cancel_query(NoTls).await.unwrap();
    token.cancel_query(NoTls).await.unwrap();
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(error.code(), Some(&SqlState::QUERY_CANCELED));
    assert_eq!(holder.query_one("SELECT 1", &[]).await.unwrap().get::<_, i32>(0), 1);
}
