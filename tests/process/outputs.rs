//! Outputs that are not read, and limits of the process: requests go on.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::time::Duration;

use testkit::process::Signal;

use crate::node::{Node, Setup, until};

const PATIENCE: Duration = Duration::from_mins(1);
/// More lines than a pipe and the server's own buffer hold.
const REQUESTS: usize = 8_000;

/// A pipe that stays open and is never read.
const UNREAD: &str = "mkfifo unread; exec 3<>unread";

impl Setup {
    fn with_operations(mut self) -> (Self, String) {
        let operations = format!("127.0.0.1:{}", testkit::free_port());
        self.set("SERVER__OPS_LISTEN", &operations);
        (self, format!("http://{operations}"))
    }
}

async fn dropped(node: &Node, operations: &str) -> u64 {
    let page = node.client.get(&format!("{operations}/metrics")).await.text();
    let line = page.lines().find_map(|line| line.strip_prefix("log_lines_dropped_total "));
    line.unwrap().parse().unwrap()
}

async fn answers_many_requests(node: &Node) {
    let id = [("x-request-id", "a-name-that-makes-the-line-of-this-request-in-the-log-long")];
    for number in 0..REQUESTS {
        let answer = node.client.request("GET", &node.url("/openapi.json"), &id, "").await;
        assert_eq!(answer.status, 200, "request {number}");
    }
}

#[tokio::test]
async fn a_log_that_is_not_read_stops_no_request_and_no_signal() {
    let (setup, operations) = Setup::sqlite().with_operations();
    let mut node = setup.start_after(UNREAD, ">unread 2>unread");

    answers_many_requests(&node).await;
    assert!(dropped(&node, &operations).await > 0);
    assert_eq!(node.readiness().await, 200);
    node.member("ann").await;

    // The loss is reported once the log is read again.
    let log = BufReader::new(File::open(setup.folder.path().join("unread")).unwrap());
    let report = log.lines().map(Result::unwrap).find(|line| line.contains("log lines were dropped"));
    let report: serde_json::Value = serde_json::from_str(&report.unwrap()).unwrap();
    assert!(report["lines"].as_u64().unwrap() > 0 && report["level"] == "WARN", "{report}");
    node.server.signal(Signal::TERM);
    assert!(node.server.wait().success());
}

#[tokio::test]
async fn a_log_that_is_not_read_delays_no_shutdown() {
    let setup = Setup::sqlite();
    let mut node = setup.start_after(UNREAD, ">unread 2>unread");
    answers_many_requests(&node).await;
    node.server.signal(Signal::TERM);
    assert!(node.server.wait().success());
}

#[tokio::test]
async fn a_full_disk_behind_the_log_stops_no_request_and_its_lines_are_counted() {
    let (setup, operations) = Setup::sqlite().with_operations();
    let mut node = setup.start_after("true", ">/dev/full 2>/dev/full");
    node.member("ann").await;
    until(PATIENCE, "lines are dropped", async || dropped(&node, &operations).await > 0).await;
    assert!(node.server.terminate().success());
}

#[tokio::test]
async fn closed_outputs_stop_no_request() {
    let mut node = Setup::sqlite().start_after("true", ">&- 2>&-");
    node.member("ann").await;
    assert!(node.server.terminate().success());
}

#[tokio::test]
async fn an_audit_output_that_is_not_read_stops_neither_requests_nor_the_shutdown() {
    let mut setup = Setup::sqlite();
    setup.set("AUDIT__STDOUT", "true");
    let mut node = setup.start_after(UNREAD, ">unread 2>/dev/null");
    let (access, mut refresh) = node.member("ann").await;
    for _ in 0..200 {
        refresh = crate::node::pair(&node.refresh(&refresh).await).1;
    }
    assert_eq!(node.me(&access).await.status, 200);
    assert!(node.server.terminate().success());
}

#[test]
fn a_command_whose_error_output_is_not_read_ends() {
    let setup = Setup::sqlite();
    let script = "mkfifo unread; exec 3<>unread; head -c 65536 /dev/zero >unread; \
                  exec \"$0\" user show absent@example.com 2>unread";
    let finished = setup.in_shell(script);
    assert_eq!(finished.status.code(), Some(1));
}

#[tokio::test]
async fn connections_leave_files_for_the_database_and_the_operations_listener() {
    // The hard limit cannot be raised: a small process with more clients than files.
    let (setup, operations) = Setup::sqlite().with_operations();
    let mut node = setup.start_after("ulimit -n 128", "");
    let idle: Vec<_> = (0..128).map(|_| std::net::TcpStream::connect(node.address).unwrap()).collect();

    let alive = node.client.get(&format!("{operations}/health/liveness")).await;
    assert_eq!(alive.status, 200);
    drop(idle);
    node.member("ann").await;
    let text = node.server.stderr();
    assert!(text.contains("server.max_connections is limited to"), "{text}");
    assert!(!text.contains("Too many open files"), "{text}");
    assert!(node.server.terminate().success());
}

#[test]
fn a_soft_limit_of_open_files_is_raised() {
    let mut node = Setup::sqlite().start_after("ulimit -Sn 128", "");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", node.server.pid())).unwrap();
    let files: Vec<_> =
        limits.lines().find(|line| line.starts_with("Max open files")).unwrap().split_whitespace().collect();
    assert_eq!(files[3], files[4], "{files:?}");
    assert!(node.server.terminate().success());
}

#[test]
fn a_process_that_may_open_too_few_files_does_not_start() {
    let setup = Setup::sqlite();
    let finished = setup.in_shell("ulimit -n 48; exec \"$0\" serve");
    assert_eq!(finished.status.code(), Some(1));
    assert!(finished.stderr.contains("the process may open 48 files"), "{}", finished.stderr);
}

#[test]
fn a_burst_of_connections_fits_in_the_accept_queue() {
    let mut node = Setup::sqlite().start();
    let queue = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    let most: usize = queue.trim().parse().unwrap();

    // A paused process accepts nothing: the system alone completes the connections.
    node.server.pause();
    let burst: Vec<_> = (0..most.min(500))
        .map(|_| std::net::TcpStream::connect_timeout(&node.address, Duration::from_millis(900)).unwrap())
        .collect();
    node.server.resume();
    drop(burst);
    assert!(node.server.terminate().success());
}

#[test]
fn the_process_writes_no_core_dump() {
    let mut node = Setup::sqlite().start();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", node.server.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().skip(4).take(2).collect::<Vec<_>>(), ["0", "0"], "{core}");
    assert!(node.server.terminate().success());
}

#[test]
fn secrets_that_others_can_read_are_refused_by_their_setting() {
    for (settings, key) in [
        ("--set tokens.algorithm=HS256 --set tokens.hs256_secret_file=open", "tokens.hs256_secret_file"),
        (
            "--set audit.webhook_url=http://h/ --set audit.webhook_secret_file=open",
            "audit.webhook_secret_file",
        ),
        ("--set audit.otlp_endpoint=http://h --set audit.otlp_headers_file=open", "audit.otlp_headers_file"),
        ("--set server.tls_cert_file=open --set server.tls_key_file=open", "open cannot be read"),
        (
            "--set 'database.url=postgres://u@127.0.0.1:1/x?sslmode=require&sslcert=open&sslkey=open'",
            "database.url: sslkey: open",
        ),
        ("--set master_key_file=open", "the master key at open"),
    ] {
        let script = format!(
            "echo 0123456789abcdef0123456789abcdef >open; chmod 604 open; \
             exec \"$0\" serve --set server.listen=127.0.0.1:0 --set server.ops_listen= {settings}"
        );

        let finished = Setup::sqlite().in_shell(&script);
        assert!(!finished.status.success(), "{settings}");
        assert!(finished.stderr.contains(key), "{settings}: {}", finished.stderr);
        assert!(finished.stderr.contains("mode 0604"), "{settings}: {}", finished.stderr);
    }
}
