//! Nodes that share their limits by Redis, which may go away at any time.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use testkit::{Redis, RedisCluster, RedisSentinels};

use crate::node::{Node, Setup, database, until};

const PATIENCE: Duration = Duration::from_secs(20);
/// The promised time until limits are shared again.
const BACK_WITHIN: Duration = Duration::from_secs(2);
/// More than the promise, because the machine may be busy.
const ROOM: Duration = Duration::from_secs(8);
const MOST: usize = 40;

/// Three nodes on one database that share a limit of all requests.
fn nodes(redis: &str) -> (Vec<Node>, testkit::postgres::Database) {
    let database = database();
    let mut setup = Setup::postgres(database.url());
    setup.set("REDIS__URL", redis);
    setup.set("RATE_LIMITS__GLOBAL", &format!("{MOST}/minute"));
    setup.set("SERVER__TRUSTED_PROXIES", "127.0.0.0/8");
    setup.set("HEALTH__TIMEOUT", "5s");
    let nodes = vec![setup.start(), setup.beside().start(), setup.beside().start()];
    (nodes, database)
}

/// Sends requests of one client to all nodes at once; returns how many each admitted. None fails otherwise.
async fn burst(nodes: &[Node], address: &str, each: usize) -> Vec<usize> {
    let from = [("x-forwarded-for", address)];
    let on_node = async |node: &Node| {
        let url = node.url("/openapi.json");
        let asked = (0..each).map(|_| node.client.request("GET", &url, &from, ""));
        let statuses: Vec<_> = join_all(asked).await.iter().map(|answer| answer.status).collect();
        assert!(statuses.iter().all(|status| matches!(status, 200 | 429)), "{statuses:?}");
        statuses.iter().filter(|status| **status == 200).count()
    };
    join_all(nodes.iter().map(on_node)).await
}

/// Asserts that the nodes together admit as many requests of a client as the limit says. On a busy machine an
/// answer of Redis may come too late, and then a node decides by itself: of several clients, one suffices.
async fn assert_shared(nodes: &[Node], network: &str) {
    let mut admitted = Vec::<usize>::new();
    let is_exact = |admitted: &usize| admitted.abs_diff(MOST) <= 1;
    while admitted.len() < 10 && !admitted.iter().any(is_exact) {
        let client = format!("{network}.{}", admitted.len());
        admitted.push(burst(nodes, &client, MOST / 2).await.iter().sum());
    }
    assert!(admitted.iter().any(is_exact), "{admitted:?}");
}

async fn degraded(node: &Node) -> Value {
    let answer = node.client.get(&node.url("/health/readiness")).await;
    assert_eq!(answer.status, 200, "Redis only degrades");
    answer.json()["degraded"].clone()
}

async fn all_share(nodes: &[Node], patience: Duration) {
    until(patience, "limits are shared", async || {
        let shown = join_all(nodes.iter().map(degraded)).await;
        shown.iter().all(Value::is_null)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_share_a_limit_and_each_limits_by_itself_while_redis_is_away() {
    let mut redis = Redis::start();
    let (nodes, _database) = nodes(&redis.url());
    all_share(&nodes, PATIENCE).await;

    assert_shared(&nodes, "10.0.1").await;

    // Redis may forget everything.
    redis.command("FLUSHALL");
    assert_shared(&nodes, "10.0.2").await;

    // Redis is killed in the middle of a burst: no request fails.
    let (_, ()) = tokio::join!(burst(&nodes, "192.0.2.2", 200), async { redis.kill() });
    for node in &nodes {
        until(PATIENCE, "readiness names redis", async || {
            degraded(node).await == serde_json::json!(["redis"])
        })
        .await;
    }
    assert_eq!(burst(&nodes, "192.0.2.3", 60).await, [MOST; 3], "each node limits by itself");

    redis.restart();
    assert!(ROOM > BACK_WITHIN);
    all_share(&nodes, ROOM).await;
    assert_shared(&nodes, "10.0.3").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_share_a_limit_in_a_cluster() {
    let cluster = RedisCluster::start(3);
    let (nodes, _database) = nodes(&cluster.url());
    all_share(&nodes, PATIENCE).await;
    for network in ["10.0.1", "10.0.2", "10.0.3", "10.0.4"] {
        assert_shared(&nodes, network).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_share_a_limit_by_sentinels() {
    let sentinels = RedisSentinels::start();
    let (nodes, _database) = nodes(&sentinels.url());
    all_share(&nodes, PATIENCE).await;
    assert_shared(&nodes, "10.0.1").await;
}
