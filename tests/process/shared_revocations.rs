//! Sessions that end on one of several nodes, with a Redis that may go away at any time.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use testkit::Redis;
use tokio::time::Instant;

use crate::node::{Node, Setup, database, long_form, pair, until};

/// The promised time until a session that ended on one node is refused by the others.
const PROMISED: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(20);

fn three(redis: &str) -> (Vec<Node>, testkit::postgres::Database) {
    let database = database();
    let mut setup = Setup::postgres(database.url());
    setup.set("REDIS__URL", redis);
    (vec![setup.start(), setup.beside().start(), setup.beside().start()], database)
}

/// Logs `name` in on the first node and out again; returns how long the other nodes accepted the token.
async fn log_out(nodes: &[Node], name: &str) -> Duration {
    let (first, others) = nodes.split_first().unwrap();
    let (access, refresh) = pair(&first.log_in(name).await);
    for node in others {
        assert_eq!(node.me(&access).await.status, 200);
    }
    let out = first.client.post_json(&first.v1("logout"), &json!({"refresh_token": refresh})).await;
    assert_eq!(out.status, 204);
    let ended = Instant::now();
    join_all(others.iter().map(async |node| {
        until(PROMISED, "the token is refused", async || node.me(&access).await.status == 401).await
    }))
    .await;
    ended.elapsed()
}

/// Prints how long the other nodes accepted the tokens of `times` logouts.
async fn log_out_often(nodes: &[Node], name: &str, times: u64, redis: &str) {
    let mut took = Vec::new();
    for _ in 0..times {
        took.push(log_out(nodes, name).await.as_millis());
    }
    took.sort_unstable();
    println!("redis {redis}: refused by all nodes after {} ms (median), {took:?}", took[took.len() / 2]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_that_ends_on_one_node_is_refused_by_all_whatever_happens_to_redis() {
    let times = long_form("LOGOUTS", 5);
    let mut redis = Redis::start();
    let (nodes, _database) = three(&redis.url());
    nodes[0].member("alice").await;
    log_out_often(&nodes, "alice", times, "works").await;

    redis.kill();
    log_out_often(&nodes, "alice", times, "is away").await;

    redis.restart();
    let again = "Redis tells the nodes of ended sessions again";
    until(PATIENCE, "messages arrive again", async || {
        nodes.iter().all(|node| node.server.stderr().contains(again))
    })
    .await;
    log_out_often(&nodes, "alice", times, "is back").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_paused_refuses_what_ended_meanwhile() {
    let redis = Redis::start();
    let (nodes, _database) = three(&redis.url());
    let (access, refresh) = nodes[0].member("alice").await;
    let paused = &nodes[1];
    assert_eq!(paused.me(&access).await.status, 200);

    paused.server.pause();
    let out = nodes[0].client.post_json(&nodes[0].v1("logout"), &json!({"refresh_token": refresh})).await;
    assert_eq!(out.status, 204);
    let ended = Instant::now();
    let pause = Duration::from_secs(long_form("PAUSE", 2));
    until(PATIENCE, "the pause is over", async || ended.elapsed() > pause).await;
    paused.server.resume();
    assert_eq!(paused.me(&access).await.status, 401, "what it knew is older than a second");
}
