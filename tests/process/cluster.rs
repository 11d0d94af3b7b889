//! Three nodes behind a balancer, under load.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use testkit::Redis;
use testkit::http::{Client, Response};
use testkit::postgres::Database;
use testkit::reverse_proxy::{Kind, ReverseProxy};

use crate::node::{Node, PASSWORD, Setup, database, long_form, until};

const PATIENCE: Duration = Duration::from_mins(1);
const CLIENTS: usize = 8;

struct Cluster {
    nodes: Vec<Node>,
    proxy: ReverseProxy,
    _redis: Redis,
    _database: Database,
}

fn cluster(kind: Kind) -> Cluster {
    let (redis, database) = (Redis::start(), database());
    let mut setup = Setup::postgres(database.url());
    setup.set("REDIS__URL", &redis.url());
    setup.set("SERVER__TRUSTED_PROXIES", "127.0.0.1");
    let nodes = vec![setup.start(), setup.beside().start(), setup.beside().start()];
    let addresses: Vec<String> = nodes.iter().map(|node| node.address.to_string()).collect();
    let upstreams: Vec<&str> = addresses.iter().map(String::as_str).collect();
    let proxy = ReverseProxy::start(kind, &upstreams);
    Cluster { nodes, proxy, _redis: redis, _database: database }
}

/// Sends a request again until it is answered by a node: not with an error of the server or the balancer.
async fn answered(
    client: &Client,
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> Response {
    let mut last = None;
    until(PATIENCE, "an answer", async || {
        let answer = client.try_request(method, url, headers, body.to_owned()).await;
        last = answer.ok().filter(|answer| answer.status < 500);
        last.is_some()
    })
    .await;
    last.unwrap()
}

/// One user: registers, logs in, refreshes until the end, and looks at the sessions.
async fn goes_on(url: &str, name: &str, rounds: impl Fn(u64) -> bool) {
    let client = Client::new();
    let v1 = |path: &str| format!("{url}/api/v1/auth/{path}");
    let json_type = [("content-type", "application/json")];
    let body = json!({"email": format!("{name}@example.com"), "username": name, "password": PASSWORD});
    let registered = answered(&client, "POST", &v1("register"), &json_type, &body.to_string()).await;
    assert!(matches!(registered.status, 201 | 409), "{}", registered.text());

    let form = testkit::http::form(&[("username", name), ("password", PASSWORD)]);
    let form_type = [("content-type", "application/x-www-form-urlencoded")];
    let login = answered(&client, "POST", &v1("token"), &form_type, &form).await;
    assert_eq!(login.status, 200, "{}", login.text());
    let mut tokens = login.json();

    let mut round = 0;
    while rounds(round) {
        round += 1;
        let refresh = json!({"refresh_token": tokens["refresh_token"]}).to_string();
        let refreshed = answered(&client, "POST", &v1("refresh"), &json_type, &refresh).await;
        assert_eq!(refreshed.status, 200, "{name} was signed out: {}", refreshed.text());
        tokens = refreshed.json();
        let bearer = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
        let change = json!({"timezone": if round % 2 == 0 { "Europe/Paris" } else { "Asia/Tokyo" }});
        let headers = [("authorization", bearer.as_str()), ("content-type", "application/json")];
        let changed = answered(&client, "PATCH", &v1("me"), &headers, &change.to_string()).await;
        assert_eq!(changed.status, 200, "{}", changed.text());
        let me = answered(&client, "GET", &v1("me"), &headers[..1], "").await;
        assert_eq!(me.json()["timezone"], change["timezone"], "an answered change is there");
    }
}

async fn a_killed_node_costs_clients_that_retry_nothing(kind: Kind) {
    let Cluster { mut nodes, proxy, _redis, _database } = cluster(kind);
    let url = format!("http://{}", proxy.address);
    let (is_killed, begun) = (AtomicBool::new(false), std::sync::atomic::AtomicU64::new(0));
    let after = long_form("ROUNDS", 20);
    let clients = (0..CLIENTS).map(async |number| {
        let rounds_after = std::cell::Cell::new(0);
        goes_on(&url, &format!("user{number}"), |_| {
            begun.fetch_add(1, Ordering::SeqCst);
            rounds_after.set(rounds_after.get() + u64::from(is_killed.load(Ordering::SeqCst)));
            rounds_after.get() <= after
        })
        .await;
    });
    let kill = async {
        until(PATIENCE, "clients work", async || begun.load(Ordering::SeqCst) > 40).await;
        nodes[1].server.kill();
        is_killed.store(true, Ordering::SeqCst);
    };
    tokio::join!(join_all(clients), kill);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_killed_behind_haproxy_costs_clients_that_retry_nothing() {
    a_killed_node_costs_clients_that_retry_nothing(Kind::HaProxy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_killed_behind_nginx_costs_clients_that_retry_nothing() {
    a_killed_node_costs_clients_that_retry_nothing(Kind::Nginx).await;
}
