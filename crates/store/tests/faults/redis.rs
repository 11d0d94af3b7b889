//! Limits in a Redis that is killed, paused, emptied, full, read-only, failed over or missing a shard.

use std::time::{Duration, Instant};

use rate_limit::{Backoff, Key, Rule};
use store::redis::{Address, Away, Limits, Redis};
use testkit::{Redis as Server, RedisCluster, RedisSentinels};
use tokio_util::sync::CancellationToken;

use crate::fixtures::spawner;

const MINUTE: Duration = Duration::from_mins(1);
const FIVE: Rule = Rule { most: 5, window: MINUTE };
const LOGINS: Backoff =
    Backoff { free: 2, first: Duration::from_secs(30), most: Duration::from_secs(30), forget: MINUTE };

/// Limits at a URL, as soon as Redis decides.
async fn limits(url: &str) -> Limits {
    let limits = unconnected(url);
    until(Duration::from_secs(20), async || limits.is_up()).await;
    limits
}

fn unconnected(url: &str) -> Limits {
    of_realm(b"realm", url)
}

fn of_realm(secret: &[u8], url: &str) -> Limits {
    let redis = Redis::new(Address::parse(url).unwrap(), None).unwrap();
    Limits::new(redis, secret, &spawner(), CancellationToken::new())
}

/// Polls until `is_so`; fails after `limit`.
pub(crate) async fn until(limit: Duration, is_so: impl AsyncFn() -> bool) {
    let mut poll = tokio::time::interval(Duration::from_millis(10));
    let polled = tokio::time::timeout(limit, async {
        while !is_so().await {
            poll.tick().await;
        }
    });
    polled.await.unwrap_or_else(|_| panic!("not within {limit:?}"));
}

async fn admitted(limits: &Limits, key: u128) -> Result<bool, Away> {
    Ok(limits.acquire(&[(FIVE, Key(key))]).await?[0].admitted)
}

/// Asks about new keys until one call fails, then about a thousand more, which all fail without waiting.
async fn is_away_at_once(limits: &Limits) {
    let mut key = 1_000_000;
    until(Duration::from_secs(20), async || admitted(limits, 999).await.is_err()).await;
    let begun = Instant::now();
    for _ in 0..1_000 {
        key += 1;
        assert_eq!(admitted(limits, key).await, Err(Away));
    }
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(2), "a thousand calls took {took:?}");
    assert!(!limits.is_up());
}

/// The promise of the contract.
async fn is_back(limits: &Limits) {
    until(Duration::from_secs(2), async || limits.is_up()).await;
}

#[tokio::test]
async fn nodes_share_limits_and_several_rules_are_one_call() {
    // given two nodes
    let server = Server::start();
    let (one, other) = (limits(&server.url()).await, limits(&server.url()).await);

    // when both count requests of one key
    for node in [&one, &other, &one, &other, &one] {
        assert_eq!(admitted(node, 1).await, Ok(true));
    }

    // then both refuse the sixth, and another key of the same call is admitted
    for node in [&one, &other] {
        let told = node.acquire(&[(FIVE, Key(1)), (FIVE, Key(2))]).await.unwrap();
        assert!(!told[0].admitted && told[0].reset <= MINUTE && !told[0].reset.is_zero(), "{told:?}");
        assert!(told[1].admitted, "{told:?}");
    }

    // and failures of one node make the other one wait, until one of them succeeds or takes its attempt back
    assert_eq!(one.attempt(&LOGINS, Key(3)).await, Ok(Ok(())));
    assert_eq!(other.attempt(&LOGINS, Key(3)).await, Ok(Ok(())));
    assert!(one.attempt(&LOGINS, Key(3)).await.unwrap().is_err());
    other.refund(Key(3)).await.unwrap();
    assert_eq!(other.attempt(&LOGINS, Key(3)).await, Ok(Ok(())));
    assert!(other.attempt(&LOGINS, Key(3)).await.unwrap().is_err());
    other.succeeded(Key(3)).await.unwrap();
    assert_eq!(other.attempt(&LOGINS, Key(3)).await, Ok(Ok(())));
}

#[tokio::test]
async fn a_redis_that_was_emptied_goes_on_without_an_error() {
    let server = Server::start();
    let limits = limits(&server.url()).await;
    for round in 0..3 {
        for key in 1..4 {
            assert_eq!(admitted(&limits, key).await, Ok(true), "{round}");
        }
        // Scripts go, too.
        for command in ["FLUSHALL", "SCRIPT FLUSH"] {
            assert_eq!(server.command(command), "+OK\r\n");
        }
    }

    // A key of another type, or with another content, is replaced.
    assert_eq!(admitted(&limits, 9).await, Ok(true));
    let keys = server.command("KEYS gatewright:limit:*");
    let name = keys.lines().last().unwrap();
    for command in [format!("LPUSH {name} x"), format!("SET {name} x")] {
        server.command("FLUSHALL");
        server.command(&command);
        assert_eq!(admitted(&limits, 9).await, Ok(true));
    }
}

#[tokio::test]
async fn realms_in_one_redis_do_not_share_limits_and_keys_are_not_readable() {
    let server = Server::start();
    let (one, other) = (limits(&server.url()).await, of_realm(b"other", &server.url()));
    until(Duration::from_secs(20), async || other.is_up()).await;
    for realm in [&one, &other] {
        for _ in 0..5 {
            assert_eq!(admitted(realm, 0xC000_0201).await, Ok(true));
        }
    }
    assert!(!server.command("KEYS *").contains("c0000201"));
}

#[tokio::test]
async fn every_key_expires() {
    let server = Server::start();
    let limits = limits(&server.url()).await;
    for key in 1..20 {
        let _ = admitted(&limits, key).await;
        let _ = limits.attempt(&LOGINS, Key(100 + key)).await;
        let _ = limits.attempt(&LOGINS, Key(100 + key)).await;
        let _ = limits.refund(Key(100 + key)).await;
    }
    let told = server.command("INFO keyspace");
    assert!(told.contains("db0:keys=38,expires=38"), "{told}");
}

#[tokio::test]
async fn a_user_with_few_rights_and_a_socket_are_enough() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("redis.sock");
    let server = Server::start_with(&["--unixsocket", socket.to_str().unwrap()]);
    let rights = "+eval +evalsha +get +set +del +pttl +time";
    let made = server.command(&format!("ACL SETUSER limited on >secret ~gatewright:* {rights}"));
    assert_eq!(made, "+OK\r\n");
    let tcp = format!("redis://limited:secret@127.0.0.1:{}", server.port());
    let unix = format!("unix://{}?user=limited&pass=secret", socket.display());
    for (key, url) in [(1, tcp), (2, unix)] {
        let limits = limits(&url).await;
        assert_eq!(admitted(&limits, key).await, Ok(true));
        assert_eq!(limits.attempt(&LOGINS, Key(10 + key)).await, Ok(Ok(())));
        assert_eq!(limits.refund(Key(10 + key)).await, Ok(()));
        assert_eq!(limits.succeeded(Key(10 + key)).await, Ok(()));
    }
}

#[tokio::test]
async fn without_a_redis_calls_fail_at_once_and_it_is_found_when_it_starts() {
    let mut server = Server::start();
    server.kill();
    let limits = unconnected(&server.url());
    is_away_at_once(&limits).await;
    server.restart();
    is_back(&limits).await;
    assert_eq!(admitted(&limits, 1).await, Ok(true));
}

#[tokio::test]
async fn fault_a_redis_that_is_killed_is_away_and_back_when_it_starts() {
    let mut server = Server::start();
    let limits = limits(&server.url()).await;
    for _ in 0..3 {
        server.kill();
        is_away_at_once(&limits).await;
        server.restart();
        is_back(&limits).await;
        assert_eq!(admitted(&limits, 1).await, Ok(true));
    }
}

#[tokio::test]
async fn fault_a_redis_that_is_paused_is_away_and_back_when_it_goes_on() {
    let server = Server::start();
    let limits = limits(&server.url()).await;
    for _ in 0..3 {
        server.pause();
        is_away_at_once(&limits).await;
        server.resume();
        is_back(&limits).await;
    }
}

#[tokio::test]
async fn fault_a_redis_that_takes_no_writes_is_away_until_it_does() {
    let server = Server::start();
    let limits = limits(&server.url()).await;
    let nowhere = testkit::free_port();
    for (bad, good) in [
        ("CONFIG SET maxmemory 1".to_owned(), "CONFIG SET maxmemory 0"),
        (format!("REPLICAOF 127.0.0.1 {nowhere}"), "REPLICAOF NO ONE"),
        ("CONFIG SET min-replicas-to-write 1".to_owned(), "CONFIG SET min-replicas-to-write 0"),
        // Also commands of a new connection wait for the end of the pause.
        ("CLIENT PAUSE 1500 ALL".to_owned(), "CLIENT UNPAUSE"),
    ] {
        assert_eq!(server.command(&bad), "+OK\r\n");
        is_away_at_once(&limits).await;
        assert_eq!(server.command(good), "+OK\r\n");
        is_back(&limits).await;
        assert!(admitted(&limits, 1).await.is_ok(), "{bad}");
    }
}

#[tokio::test]
async fn fault_a_refusal_outlasts_a_redis_that_forgot_it_until_its_end() {
    // given a key that is refused
    let server = Server::start();
    let limits = limits(&server.url()).await;
    for expected in [true, true, true, true, true, false] {
        assert_eq!(admitted(&limits, 1).await, Ok(expected));
    }

    // when Redis forgets everything, or is away
    server.command("FLUSHALL");
    assert_eq!(admitted(&limits, 1).await, Ok(false));
    server.pause();

    // then the node remembers it without a trip
    let begun = Instant::now();
    for _ in 0..1_000 {
        assert_eq!(admitted(&limits, 1).await, Ok(false));
    }
    assert!(begun.elapsed() < Duration::from_secs(2));
    assert!(limits.is_up(), "nothing was asked");
    server.resume();
}

#[tokio::test]
async fn fault_after_a_failover_the_new_primary_decides() {
    // given a primary under Sentinels
    let mut group = RedisSentinels::start();
    let limits = limits(&group.url()).await;
    assert_eq!(admitted(&limits, 1).await, Ok(true));

    // when it is killed
    group.primary.kill();
    is_away_at_once(&limits).await;

    // then the promoted replica decides within two seconds of its promotion
    until(MINUTE, async || group.replica.command("ROLE").contains("master")).await;
    is_back(&limits).await;
    assert_eq!(admitted(&limits, 1).await, Ok(true));
}

#[tokio::test]
async fn fault_a_shard_that_is_away_leaves_the_keys_of_others() {
    // given a Cluster of three shards, and a key of each
    let mut cluster = RedisCluster::start(3);
    let limits = limits(&cluster.url()).await;
    let keys = u128::from(u8::MAX);
    for key in 0..keys {
        assert_eq!(admitted(&limits, key).await, Ok(true), "{key}");
    }
    let counts: Vec<usize> = cluster.nodes.iter().map(|node| number(&node.command("DBSIZE"))).collect();
    assert!(counts.iter().all(|count| *count > 50), "{counts:?}");

    // when one of them is killed
    cluster.nodes[1].kill();
    let before = counts[0] + counts[2];
    until(Duration::from_secs(20), async || {
        let mut decided = 0;
        for key in 0..keys {
            decided += usize::from(admitted(&limits, 1_000 + key).await.is_ok());
        }
        // then about two thirds of the keys are decided still
        decided > 120 && decided < 220
    })
    .await;
    assert!(!limits.is_up() && before > 100);

    // and all of them when it is back
    cluster.nodes[1].restart();
    until(MINUTE, async || cluster.is_whole()).await;
    is_back(&limits).await;
    for key in 0..keys {
        assert!(admitted(&limits, 2_000 + key).await.is_ok(), "{key}");
    }
}

/// The number of an answer such as `:7`.
fn number(answer: &str) -> usize {
    answer.trim().trim_start_matches(':').parse().unwrap()
}
