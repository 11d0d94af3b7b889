//! The throwaway Redis keeps its promises.

use testkit::{Redis, RedisCluster, RedisSentinels};

#[test]
fn a_server_pauses_dies_and_comes_back_on_its_port() {
    let mut redis = Redis::start();
    let url = redis.url();
    assert!(redis.answers());
    redis.pause();
    assert!(!redis.answers());
    redis.resume();
    assert!(redis.answers());
    redis.kill();
    assert!(!redis.answers());
    redis.restart();
    assert!(redis.answers());
    redis.restart();
    assert!(redis.answers());
    assert_eq!(redis.url(), url);
}

#[test]
fn a_shared_server_has_a_url() {
    assert!(Redis::shared().url().starts_with("redis://"));
}

#[test]
fn a_cluster_knows_where_every_slot_is_also_after_a_node_was_away() {
    let mut cluster = RedisCluster::start(3);
    assert!(cluster.url().starts_with("redis+cluster://"));
    let moved = cluster.nodes.iter().filter(|node| node.command("SET x 1").starts_with("-MOVED"));
    assert_eq!(moved.count(), 2);
    cluster.nodes[1].kill();
    assert!(!cluster.is_whole());
    cluster.nodes[1].restart();
}

#[test]
fn sentinels_know_the_primary_and_its_replica() {
    let group = RedisSentinels::start();
    assert!(group.url().ends_with("/main"));
    assert!(group.replica.command("SET x 1").starts_with("-READONLY"));
    assert_eq!(group.primary.command("SET x 1"), "+OK\r\n");
}
