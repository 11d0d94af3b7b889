//! Nodes that share their limits by Redis, which may go away at any time.

use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use serde_json::{Value, json};
use testkit::{Redis, RedisCluster, RedisSentinels};

use crate::node::{Node, PASSWORD, Setup, database, long_form, until};

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

/// What clients send: each kind has a limit of its own, and an address of its own.
#[derive(Clone, Copy, Debug)]
enum Load {
    Registrations,
    Logins,
    Refreshes,
    Reads,
}

impl Load {
    const ALL: [Self; 4] = [Self::Registrations, Self::Logins, Self::Refreshes, Self::Reads];

    /// The default limit, a minute.
    fn limit(self) -> usize {
        match self {
            Self::Registrations => 5,
            Self::Logins => 10,
            Self::Refreshes => 20,
            Self::Reads => 200,
        }
    }

    async fn send(self, node: &Node, address: &str, number: usize, token: &str) -> u16 {
        let (method, path, form, body) = match self {
            Self::Registrations => {
                let name = format!("load{number}");
                let email = format!("{name}@example.com");
                let body = json!({"email": email, "username": name, "password": PASSWORD});
                ("POST", "/api/v1/auth/register", false, body.to_string())
            }
            Self::Logins => {
                let name = format!("unknown{number}");
                let form = testkit::http::form(&[("username", &name), ("password", "not it at all")]);
                ("POST", "/api/v1/auth/token", true, form)
            }
            Self::Refreshes => {
                ("POST", "/api/v1/auth/refresh", false, json!({"refresh_token": token}).to_string())
            }
            Self::Reads => ("GET", "/openapi.json", false, String::new()),
        };
        let kind = if form { "application/x-www-form-urlencoded" } else { "application/json" };
        let headers = [("x-forwarded-for", address), ("content-type", kind)];
        let answer = node.client.request(method, &node.url(path), &headers, body).await;
        assert!(answer.status < 500, "{self:?}: {}", answer.text());
        answer.status
    }
}

/// Sends 50 times as much of each kind as the limits allow, to the nodes in turn and evenly for `span`;
/// returns how many of each kind were admitted.
async fn overload(nodes: &[Node], round: usize, span: Duration) -> Vec<usize> {
    let (_, token) = nodes[0].member(&format!("member{round}")).await;
    let loads = Load::ALL.into_iter().enumerate().map(async |(at, load)| {
        let address = format!("10.1.{round}.{at}");
        let pause = Duration::from_mins(1) / u32::try_from(load.limit() * 50).unwrap();
        let mut ticks = tokio::time::interval(pause);
        let end = tokio::time::Instant::now() + span;
        let mut sent = FuturesUnordered::new();
        let mut admitted = 0;
        let mut number = 0;
        while tokio::time::Instant::now() < end || !sent.is_empty() {
            tokio::select! {
                _ = ticks.tick(), if tokio::time::Instant::now() < end => {
                    let node = &nodes[number % nodes.len()];
                    sent.push(load.send(node, &address, round * 10_000 + number, &token));
                    number += 1;
                }
                Some(status) = sent.next() => admitted += usize::from(status != 429),
            }
        }
        admitted
    });
    join_all(loads).await
}

fn with_default_limits(redis: &str) -> (Vec<Node>, testkit::postgres::Database) {
    let database = database();
    let mut setup = Setup::postgres(database.url());
    setup.set("REDIS__URL", redis);
    setup.set("SERVER__TRUSTED_PROXIES", "127.0.0.0/8");
    setup.with_default_limits();
    (vec![setup.start(), setup.beside().start(), setup.beside().start()], database)
}

/// Sends 50 times the limits, and once more while `kill` takes a server of Redis away.
async fn fifty_times_the_limits(redis: &str, kill: impl FnOnce()) {
    // Shorter than a window, so that each limit admits its number once.
    let span = Duration::from_secs(long_form("LOAD", 3));
    let (nodes, _database) = with_default_limits(redis);
    all_share(&nodes, PATIENCE).await;

    // On a busy machine an answer of Redis may come too late, and then a node decides by itself.
    let is_exact = |admitted: &[usize]| {
        Load::ALL.iter().zip(admitted).all(|(load, admitted)| load.limit().abs_diff(*admitted) <= 1)
    };
    let mut rounds = Vec::new();
    while rounds.len() < 3 && !rounds.iter().any(|admitted: &Vec<usize>| is_exact(admitted)) {
        rounds.push(overload(&nodes, rounds.len(), span).await);
    }
    println!("admitted of {:?}: {rounds:?}", Load::ALL);
    assert!(rounds.iter().any(|admitted| is_exact(admitted)), "{rounds:?}");

    // While it is away, each node limits by itself.
    let killed = async {
        tokio::time::timeout(span / 2, std::future::pending::<()>()).await.unwrap_err();
        kill();
    };
    let (admitted, ()) = tokio::join!(overload(&nodes, 9, span), killed);
    println!("and with Redis killed in between: {admitted:?}");
    for (load, admitted) in Load::ALL.iter().zip(admitted) {
        assert!((load.limit()..=load.limit() * 4).contains(&admitted), "{load:?}: {admitted}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_times_the_limits_are_admitted_up_to_the_limits_and_none_fails_when_redis_dies() {
    let mut redis = Redis::start();
    let url = redis.url();
    fifty_times_the_limits(&url, || redis.kill()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_times_the_limits_are_admitted_up_to_the_limits_through_a_failover() {
    let mut sentinels = RedisSentinels::start();
    let url = sentinels.url();
    fifty_times_the_limits(&url, || sentinels.primary.kill()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_times_the_limits_are_admitted_up_to_the_limits_when_a_shard_dies() {
    let mut cluster = RedisCluster::start(3);
    let url = cluster.url();
    fifty_times_the_limits(&url, || cluster.nodes[1].kill()).await;
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
