//! One client that sends junk as fast as it can.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;

use crate::audit::{events, id};
use crate::node::{Node, Setup, long_form, until};

const PATIENCE: Duration = Duration::from_secs(30);
const LANES: usize = 8;
/// What junk may leave in log, journal and table together.
const MOST_BYTES: u64 = 1_000_000;

/// A refresh token, a client and bodies that do not exist.
async fn junk(node: &Node, number: u64) {
    let from = ("x-forwarded-for", "203.0.113.66");
    let kind = ("content-type", "application/json");
    let form = ("content-type", "application/x-www-form-urlencoded");
    let basic = ("authorization", "Basic bm9uZTpub25l");
    let bearer = ("authorization", "Bearer e30.e30.e30");
    let token = json!({"refresh_token": format!("gwr_{number:043}")}).to_string();
    let email = json!({"email": number, "username": "\u{1F4A5}".repeat(40)}).to_string();
    let login = testkit::http::form(&[("username", &format!("unknown{number}")), ("password", "no")]);
    for (method, path, headers, body) in [
        ("POST", "refresh", [from, kind], token.as_str()),
        ("POST", "register", [from, kind], email.as_str()),
        ("POST", "register", [from, kind], "{\"email\": \"\u{0}"),
        ("POST", "token", [from, form], login.as_str()),
        ("GET", "me", [from, bearer], ""),
        ("GET", "revocations", [from, basic], ""),
        ("DELETE", "none", [from, kind], "no"),
    ] {
        let answer = node.client.request(method, &node.v1(path), &headers, body.to_owned()).await;
        assert!((400..500).contains(&answer.status), "{path}: {}", answer.text());
    }
}

/// The length of the files below a folder, but not of SQLite's write-ahead log, which is written again and
/// again.
fn bytes(folder: &Path) -> u64 {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .map(|path| match path {
            path if path.is_dir() => bytes(&path),
            path if path.to_str().unwrap().ends_with("-wal") => 0,
            path => path.metadata().unwrap().len(),
        })
        .sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn junk_as_fast_as_possible_leaves_little_and_hides_nothing_about_a_user() {
    let mut setup = Setup::sqlite();
    setup.set("SERVER__TRUSTED_PROXIES", "127.0.0.1");
    setup.with_default_limits();
    let node = setup.start();
    let registered = node.register("alice").await;
    assert_eq!(registered.status, 201);
    let left = || bytes(&setup.folder.path().join("gatewright-data")) + node.server.stderr().len() as u64;
    let before = left();

    // While one client sends junk, the user mistypes the password.
    let (is_over, sent) = (AtomicBool::new(false), std::sync::atomic::AtomicU64::new(0));
    let lanes = (0..LANES).map(async |_| {
        while !is_over.load(Ordering::SeqCst) {
            junk(&node, sent.fetch_add(1, Ordering::SeqCst)).await;
        }
    });
    let own = async {
        let mut ids = Vec::new();
        let mut seconds = tokio::time::interval(Duration::from_secs(1));
        for _ in 0..long_form("JUNK", 3_u64) {
            seconds.tick().await;
            let form = testkit::http::form(&[("username", "alice"), ("password", "not it at all")]);
            let address = format!("198.51.100.{}", ids.len());
            let headers = [
                ("content-type", "application/x-www-form-urlencoded"),
                ("x-forwarded-for", address.as_str()),
            ];
            ids.push(id(&node.client.request("POST", &node.v1("token"), &headers, form).await));
        }
        is_over.store(true, Ordering::SeqCst);
        ids
    };
    let (_, ids) = tokio::join!(join_all(lanes), own);

    until(PATIENCE, "each event about the user is there", async || {
        let written: Vec<_> = events(&setup).iter().map(|event| event["request_id"].clone()).collect();
        ids.iter().all(|id| written.contains(&json!(id)))
    })
    .await;
    let (sent, left) = (7 * sent.load(Ordering::SeqCst), left() - before);
    println!("{sent} requests left {left} bytes");
    assert!(left < MOST_BYTES, "{sent} requests left {left} bytes");
}
