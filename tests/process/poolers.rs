//! Two servers behind a pooler of transactions that keeps prepared statements.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use testkit::postgres::rows_at_once;
use testkit::{PoolerSettings, Postgres, TransactionPooler};

use crate::node::{Node, Setup, pair, until};

const CONNECTIONS: usize = 2;

/// From registration to logout.
async fn live(node: &Node, name: &str) {
    let (access, refresh) = node.member(name).await;
    assert_eq!(node.me(&access).await.status, 200);
    let (access, newer) = pair(&node.refresh(&refresh).await);
    let out = node.client.post_json(&node.v1("logout"), &json!({"refresh_token": newer})).await;
    assert_eq!(out.status, 204);
    assert_eq!(node.refresh(&newer).await.status, 401);
    assert_eq!(node.me(&access).await.status, 401);
}

async fn live_all(nodes: &[Node; 2], turn: &str) {
    let names: Vec<_> = (0..8).map(|n| format!("{turn}{n}")).collect();
    join_all(names.iter().zip(nodes.iter().cycle()).map(|(name, node)| live(node, name))).await;
}

#[tokio::test]
async fn two_nodes_work_with_prepared_statements_through_a_pooler_that_keeps_them() {
    // Given a pooler that gives every transaction another one of two server connections.
    let mut server = Postgres::start();
    server.database("app");
    let settings = PoolerSettings { connections: CONNECTIONS, ..PoolerSettings::default() };
    let pooler = TransactionPooler::start(&server, "app", settings);
    let setup = Setup::postgres(pooler.url());
    let mut nodes = [setup.start(), setup.beside().start()];
    for node in &mut nodes {
        node.server.wait_for_line("the pooler in front of PostgreSQL keeps prepared statements");
    }

    // When many clients live at once, also after the server forgot every statement or started again.
    live_all(&nodes, "first").await;
    rows_at_once(pooler.url(), "DEALLOCATE ALL", CONNECTIONS).unwrap();
    live_all(&nodes, "second").await;
    server.restart();
    until(Duration::from_secs(20), "ready again", async || {
        nodes[0].readiness().await == 200 && nodes[1].readiness().await == 200
    })
    .await;
    live_all(&nodes, "third").await;

    // Then the statements are prepared on each server connection, and no setting stays there.
    let asks = "SELECT (SELECT count(*) > 0 FROM pg_prepared_statements WHERE name LIKE 'POOLER%'), \
                current_setting('transaction_isolation'), current_setting('default_transaction_read_only'), \
                current_setting('statement_timeout'), current_setting('lock_timeout'), \
                current_setting('idle_in_transaction_session_timeout'), current_setting('search_path')";
    let expected = ["t", "read committed", "off", "0", "0", "0", "\"$user\", public"];
    for seen in rows_at_once(pooler.url(), asks, CONNECTIONS).unwrap() {
        assert_eq!(seen, [expected.map(|value| Some(value.to_owned()))]);
    }
    let connections = "SELECT 1 FROM pg_stat_activity WHERE datname = 'app'";
    assert_eq!(server.sql(connections).len(), CONNECTIONS);
    for node in &mut nodes {
        assert!(node.server.terminate().success());
        let log = node.server.stderr();
        assert!(!log.contains("prepared statement:") && !log.contains("lost a prepared"), "{log}");
    }
}
