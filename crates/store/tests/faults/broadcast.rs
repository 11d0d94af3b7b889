//! Messages between nodes, by a Redis that is killed, paused, failed over or missing a shard.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use store::redis::{Address, Broadcast, Redis};
use testkit::{Redis as Server, RedisCluster, RedisSentinels};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::fixtures::spawner;
use crate::redis::until;

const PATIENCE: Duration = Duration::from_mins(1);
/// More than one message is expected: a node that subscribes looks once without any.
const MESSAGES: usize = 5;

#[derive(Clone, Default)]
struct Node {
    changed: Arc<Notify>,
    looked: Arc<AtomicUsize>,
}

impl Node {
    fn start(number: u128, realm: &[u8], url: &str) -> Self {
        let address = Address::parse(url).unwrap();
        let broadcast = Broadcast::new(realm, Uuid::from_u128(number), |receiver| {
            Redis::receiving(address, None, receiver)
        });
        let node = Self::default();
        let (changed, looked) = (Arc::clone(&node.changed), Arc::clone(&node.looked));
        let changed = move || {
            let changed = Arc::clone(&changed);
            async move { changed.notified().await }
        };
        let look = move || {
            looked.fetch_add(1, Ordering::SeqCst);
        };
        broadcast.unwrap().spawn(&spawner(), CancellationToken::new(), changed, look);
        node
    }

    fn looked(&self) -> usize {
        self.looked.load(Ordering::SeqCst)
    }
}

/// Two nodes that have subscribed.
async fn two(url: &str) -> [Node; 2] {
    let nodes = [Node::start(1, b"realm", url), Node::start(2, b"realm", url)];
    until(PATIENCE, async || nodes.iter().all(|node| node.looked() > 0)).await;
    nodes
}

/// Waits until each of several messages of the first node has made the second one look.
async fn is_told([one, other]: &[Node; 2]) {
    for _ in 0..MESSAGES {
        let before = other.looked();
        until(PATIENCE, async || {
            one.changed.notify_one();
            other.looked() > before
        })
        .await;
    }
}

#[tokio::test]
async fn a_message_reaches_the_nodes_of_the_realm() {
    let server = Server::start();
    let nodes = two(&server.url()).await;
    let stranger = Node::start(3, b"another realm", &server.url());
    until(PATIENCE, async || stranger.looked() > 0).await;
    is_told(&nodes).await;
    is_told(&[nodes[1].clone(), nodes[0].clone()]).await;
    assert_eq!(stranger.looked(), 1);
}

#[tokio::test]
async fn a_user_with_few_rights_is_enough() {
    let server = Server::start();
    let made = server.command("ACL SETUSER teller on >secret &gatewright:* +publish +subscribe");
    assert_eq!(made, "+OK\r\n");
    let url = format!("redis://teller:secret@127.0.0.1:{}", server.port());
    is_told(&two(&url).await).await;
}

#[tokio::test]
async fn messages_arrive_in_a_cluster_and_by_sentinels() {
    let cluster = RedisCluster::start(3);
    is_told(&two(&cluster.url()).await).await;
    let sentinels = RedisSentinels::start();
    is_told(&two(&sentinels.url()).await).await;
}

#[tokio::test]
async fn fault_messages_arrive_again_after_redis_was_killed_or_paused() {
    let mut server = Server::start();
    let nodes = two(&server.url()).await;
    server.kill();
    server.restart();
    is_told(&nodes).await;

    // Paused for longer than a connection may be silent: each node looks once more when it has another one.
    let before = nodes.each_ref().map(Node::looked);
    server.pause();
    let paused = tokio::time::Instant::now();
    until(PATIENCE, async || paused.elapsed() > Duration::from_secs(7)).await;
    server.resume();
    until(PATIENCE, async || nodes.iter().zip(before).all(|(node, before)| node.looked() > before)).await;
    is_told(&nodes).await;
}

#[tokio::test]
async fn fault_messages_arrive_again_after_a_failover_and_when_a_shard_is_back() {
    let mut sentinels = RedisSentinels::start();
    let nodes = two(&sentinels.url()).await;
    sentinels.primary.kill();
    is_told(&nodes).await;

    let mut cluster = RedisCluster::start(3);
    let nodes = two(&cluster.url()).await;
    for shard in 0..3 {
        cluster.nodes[shard].kill();
        cluster.nodes[shard].restart();
        until(PATIENCE, async || cluster.is_whole()).await;
        is_told(&nodes).await;
    }
}
