//! The hashing threads of a server process: their memory, and other requests on busy processors.

use std::collections::BTreeSet;
use std::process::{Child, Command};

use futures_util::future::join_all;

use crate::node::{Node, Setup};

/// The default costs of the configuration.
const REAL: [(&str, &str); 3] = [
    ("PASSWORDS__ARGON2_MEMORY", "19MiB"),
    ("PASSWORDS__ARGON2_ITERATIONS", "2"),
    ("PASSWORDS__HASH_THREADS", "2"),
];
const LOGINS: usize = 500;
/// Two arenas, and room for 500 requests.
const ALLOWANCE_KIB: u64 = 2 * 19 * 1024 + 50 * 1024;

fn real(mut setup: Setup) -> Setup {
    for (name, value) in REAL {
        setup.set(name, value);
    }
    setup
}

/// One line of `/proc/PID/status`, in KiB.
fn memory(node: &Node, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", node.server.pid())).unwrap();
    let found = status.lines().find_map(|text| text.strip_prefix(line)).unwrap();
    found.trim_start_matches(':').trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn five_hundred_logins_use_two_arenas_and_health_answers() {
    let node = real(Setup::sqlite()).start();
    node.member("alice").await;
    let before = memory(&node, "VmRSS");

    let logins = join_all((0..LOGINS).map(|_| node.log_in("alice")));
    let health = async {
        let mut answers = Vec::new();
        for _ in 0..20 {
            answers.push(node.client.get(&node.url("/health/liveness")).await.status);
        }
        answers
    };

    let (logins, health) = tokio::join!(logins, health);
    assert_eq!(BTreeSet::from_iter(health), BTreeSet::from([200]));
    for answer in &logins {
        match answer.status {
            200 => {}
            503 => {
                let after: u64 = answer.header("retry-after").unwrap().parse().unwrap();
                assert!((1..=120).contains(&after), "{after}");
            }
            other => panic!("{other}: {}", answer.text()),
        }
    }

    assert!(logins.iter().any(|answer| answer.status == 200));
    let most = memory(&node, "VmHWM");
    assert!(most <= before + ALLOWANCE_KIB, "{before} KiB before, {most} KiB at most");
}

/// Busy loops that are killed when dropped.
struct Spinners(Vec<Child>);

impl Drop for Spinners {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill().and_then(|()| child.wait());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_logins_succeed_and_health_answers_beside_four_busy_loops() {
    // Starved threads would leave logins in the queue until its deadline of five seconds.
    let node = real(Setup::sqlite()).start();
    node.member("alice").await;
    let spin = || Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap();
    let spinners = Spinners((0..4).map(|_| spin()).collect());

    for _ in 0..3 {
        let logins = join_all((0..8).map(|_| node.log_in("alice")));
        let liveness = node.url("/health/liveness");
        let health = node.client.get(&liveness);
        let (logins, health) = tokio::join!(logins, health);
        assert_eq!(health.status, 200);
        for answer in logins {
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    }
    drop(spinners);
    assert_eq!(node.log_in("alice").await.status, 200);
}
