//! Starts with a wrong clock.

use std::time::Duration;

use serde_json::Value;

use crate::node::{Node, Setup, pair, until};

const PATIENCE: Duration = Duration::from_mins(1);

/// Starts a server whose clock differs from the machine's by `offset`, as `libfaketime` writes it. Monotonic
/// time is the machine's.
fn start_at(setup: &Setup, offset: &str) -> Node {
    let script = format!(
        "export FAKETIME_DONT_FAKE_MONOTONIC=1 FAKETIME='{offset}'; \
         LD_PRELOAD=$(echo /usr/lib/*/faketime/libfaketimeMT.so.1); export LD_PRELOAD"
    );
    setup.start_after(&script, "")
}

async fn metrics(operations: &str, node: &Node) -> String {
    node.client.get(&format!("{operations}/metrics")).await.text()
}

/// A start in another year, for as long as the jobs need to run once, between two starts at the right time.
async fn loses_nothing(offset: &str) {
    let mut setup = Setup::sqlite();
    let operations = format!("127.0.0.1:{}", testkit::free_port());
    setup.set("SERVER__OPS_LISTEN", &operations);
    let operations = format!("http://{operations}");
    let mut first = setup.start();
    let (_, refresh) = first.member("ann").await;
    assert!(first.server.terminate().success());

    let mut wrong = start_at(&setup, offset);
    until(PATIENCE, "the jobs have run with the wrong clock", async || {
        metrics(&operations, &wrong).await.contains("job_runs_total{job=\"cleanup\",outcome=\"done\"}")
    })
    .await;
    let ready: Value = wrong.client.get(&wrong.url("/health/readiness")).await.json();
    assert!(ready["degraded"].to_string().contains("clock"), "{ready}");
    assert!(wrong.server.stderr().contains("the clock is doubted"), "{}", wrong.server.stderr());
    assert!(wrong.server.terminate().success());

    // The session and the events are there, and the jobs run.
    let mut last = setup.start();
    let (access, _) = pair(&last.refresh(&refresh).await);
    assert_eq!(last.me(&access).await.status, 200);
    let events = setup.command(&["audit", "export"]);
    assert!(events.contains("user_registered") && events.contains("login_succeeded"), "{events}");
    for job in ["cleanup", "rotate_signing_keys"] {
        let done = format!("job_runs_total{{job=\"{job}\",outcome=\"done\"}}");
        until(PATIENCE, &done, async || metrics(&operations, &last).await.contains(&done)).await;
    }
    assert!(last.server.terminate().success());
}

#[tokio::test]
async fn a_start_with_a_clock_years_ahead_deletes_nothing_and_stops_no_job() {
    loses_nothing("+5000d").await;
}

#[tokio::test]
async fn a_start_with_a_clock_years_behind_deletes_nothing_and_stops_no_job() {
    loses_nothing("-400d").await;
}
