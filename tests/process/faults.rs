//! Faults: kills, hangs and shutdowns.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use testkit::postgres::Postgres;
use testkit::process::Signal;

use crate::node::{Node, Setup, database, long_form, pair, until};

const SECOND: Duration = Duration::from_secs(1);

/// The successes of one client: the names of registrations and the refresh tokens of logins.
#[derive(Default)]
struct Seen {
    names: Vec<String>,
    tokens: Vec<String>,
}

/// Registers and logs in until the server no longer answers.
async fn register_and_log_in(node: &Node, lane: String, answers: &AtomicUsize) -> Seen {
    let mut seen = Seen::default();
    for number in 0.. {
        let name = format!("{lane}-{number}");
        let Some(answer) = node.try_register(&name).await else { break };
        assert!(matches!(answer.status, 201 | 503), "{}", answer.text());
        if answer.status == 201 {
            seen.names.push(name.clone());
        }
        let Some(answer) = node.try_log_in(&name).await else { break };
        assert!(matches!(answer.status, 200 | 503), "{}", answer.text());
        if answer.status == 200 {
            seen.tokens.push(pair(&answer).1);
        }
        answers.fetch_add(1, Ordering::SeqCst);
    }
    seen
}

/// Kills the server during registrations and logins, `kills` times. Every answered change is kept.
async fn nothing_answered_is_lost(setup: &Setup, kills: usize) {
    for round in 0..kills {
        let mut node = setup.start();
        let answers = AtomicUsize::new(0);
        let lanes = (0..8).map(|lane| register_and_log_in(&node, format!("u{round}-{lane}"), &answers));
        let killer = async {
            let enough = 20 + round * 37 % 90;
            let begun = async || answers.load(Ordering::SeqCst) >= enough;
            until(60 * SECOND, "the clients have begun", begun).await;
            node.server.signal(Signal::KILL);
        };

        let (seen, ()) = tokio::join!(futures_util::future::join_all(lanes), killer);
        node.server.kill();
        let node = setup.start();

        for Seen { names, tokens } in seen {
            for name in &names {
                assert_eq!(node.register(name).await.status, 409, "{name} was answered 201 and is lost");
                assert_eq!(node.log_in(name).await.status, 200, "{name}");
            }
            for token in &tokens {
                assert_eq!(node.refresh(token).await.status, 200, "a session that was answered is lost");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_kill_9_loses_nothing_on_sqlite() {
    let setup = Setup::sqlite();
    nothing_answered_is_lost(&setup, long_form("KILLS", 4)).await;
    let path = setup.folder.path().join("gatewright-data/gatewright.db");
    let check = testkit::process::Server::builder("python3").arg("-c").arg(format!(
        "import sqlite3; print(sqlite3.connect({path:?}).execute('PRAGMA integrity_check').fetchone()[0])"
    ));
    assert_eq!(check.run("").stdout.trim(), "ok");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_kill_9_loses_nothing_on_postgres() {
    let database = database();
    nothing_answered_is_lost(&Setup::postgres(database.url()), long_form("KILLS", 4)).await;
    let orphans = "SELECT count(*) FROM gatewright.sessions s \
                   LEFT JOIN gatewright.users u ON u.id = s.user_id \
                   LEFT JOIN gatewright.credentials c ON c.user_id = u.id WHERE c.user_id IS NULL";
    assert_eq!(testkit::postgres::rows(database.url(), orphans).unwrap(), [[Some("0".to_owned())]]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_during_a_database_hang_known_users_are_served_and_others_get_503() {
    let postgres = Postgres::start();
    let mut setup = Setup::postgres(&postgres.url());
    setup.set("DATABASE__ACQUIRE_TIMEOUT", "500ms");
    setup.set("DATABASE__STATEMENT_TIMEOUT", "500ms");

    let node = setup.start();
    let (access, refresh) = node.member("seen").await;
    assert_eq!(node.me(&access).await.status, 200);
    let stranger = node.member("unseen").await.0;

    postgres.pause();
    // The limit is 100 ms; the rest allows for a busy machine.

    let begun = tokio::time::Instant::now();
    assert_eq!(node.readiness().await, 503);
    assert!(begun.elapsed() < 600 * Duration::from_millis(1), "{:?}", begun.elapsed());
    let unready = node.client.get(&node.url("/health/readiness")).await;
    assert_eq!(unready.header("content-type"), Some("application/problem+json"));
    assert_eq!(unready.json()["detail"], "the database does not answer");
    assert_eq!(node.client.get(&node.url("/health/liveness")).await.status, 200);

    for _ in 0..3 {
        let answer = node.refresh(&refresh).await;
        assert_eq!((answer.status, answer.header("retry-after")), (503, Some("1")), "{}", answer.text());
        assert_eq!(node.log_in("seen").await.status, 503);
        assert_eq!(node.register("nobody").await.status, 503);
        assert_eq!(node.me(&access).await.status, 200, "from memory");
        assert_eq!(node.me(&stranger).await.status, 503, "not seen before");
    }

    postgres.resume();
    // The limit is one second; the other allows for a busy machine.
    until(2 * SECOND, "everything works again", async || {
        node.readiness().await == 200 && node.log_in("seen").await.status == 200
    })
    .await;
    assert_eq!(node.refresh(&refresh).await.status, 200);
    assert_eq!(node.me(&stranger).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_requests_succeed_again_after_the_database_restarts() {
    let mut postgres = Postgres::builder().fsync(true).start();
    let node = Setup::postgres(&postgres.url()).start();

    let (access, mut refresh) = node.member("alice").await;
    for round in 0..4 {
        if round % 2 == 0 {
            postgres.kill()
        } else {
            postgres.stop_fast()
        }

        assert_eq!(node.readiness().await, 503);
        assert_eq!(node.refresh(&refresh).await.status, 503);
        assert_eq!(node.client.get(&node.url("/.well-known/jwks.json")).await.status, 200);
        postgres.restart();

        until(5 * SECOND, "ready again", async || node.readiness().await == 200).await;
        until(SECOND, "refresh works again", async || {
            let answer = node.refresh(&refresh).await;
            assert!(matches!(answer.status, 200 | 503), "{}", answer.text());
            if answer.status == 200 {
                refresh = pair(&answer).1;
            }
            answer.status == 200
        })
        .await;
        assert_eq!(node.me(&access).await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_logins_get_503_while_the_database_has_no_free_connections() {
    let postgres = Postgres::builder().setting("max_connections", "12").start();
    let mut setup = Setup::postgres(&postgres.url());
    setup.set("DATABASE__POOL_MIN", "1");
    setup.set("DATABASE__POOL_MAX", "50");
    let node = setup.start();
    node.member("alice").await;

    let answers = futures_util::future::join_all((0..60).map(|_| node.log_in("alice"))).await;
    assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 503)));
    assert!(answers.iter().any(|answer| answer.status == 200));

    until(2 * SECOND, "logins work again", async || node.log_in("alice").await.status == 200).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_a_term_signal_under_load_drops_nothing() {
    let setup = Setup::sqlite();
    let mut node = setup.start();
    node.member("alice").await;
    let stopping = Arc::new(AtomicBool::new(false));
    let lane = async || {
        let mut answered = 0_u32;
        while let Some(answer) = node.try_log_in("alice").await {
            assert!(matches!(answer.status, 200 | 503), "{}", answer.text());
            answered += 1;
        }
        // Only a server that was told to stop may refuse a connection.
        assert!(stopping.load(Ordering::SeqCst));
        answered
    };
    let stop = async {
        until(30 * SECOND, "some logins", async || node.log_in("alice").await.status == 200).await;
        stopping.store(true, Ordering::SeqCst);
        node.server.signal(Signal::TERM);
    };

    let (answered, ()) = tokio::join!(futures_util::future::join_all((0..16).map(|_| lane())), stop);
    assert!(answered.iter().sum::<u32>() > 0);
    assert!(node.server.wait().success(), "{}", node.server.stderr());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_a_reload_with_an_invalid_file_keeps_the_old_configuration() {
    let setup = Setup::sqlite();
    let file = setup.folder.path().join("gatewright.toml");
    std::fs::write(&file, "[telemetry]\nlog_level = \"info\"\n").unwrap();
    let node = setup.start();
    node.member("alice").await;

    std::fs::write(&file, "[telemetry]\nlog_levle = 7\n").unwrap();
    node.server.signal(Signal::HUP);
    until(5 * SECOND, "the bad file is named", async || {
        let log = format!("{}{}", node.server.stdout(), node.server.stderr());
        assert_eq!(node.log_in("alice").await.status, 200);
        log.contains("log_levle")
    })
    .await;
    assert_eq!(node.log_in("alice").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fault_the_server_answers_again_after_it_ran_out_of_file_descriptors() {
    let setup = Setup::sqlite();
    let node = setup.start();
    node.member("alice").await;
    let limited = testkit::process::Server::builder("prlimit")
        .arg(format!("--pid={}", node.server.pid()))
        .arg("--nofile=40:40")
        .run("");
    assert!(limited.status.success(), "{}", limited.stderr);
    let sockets: Vec<_> = (0..60).map(|_| std::net::TcpStream::connect(node.address)).collect();
    drop(sockets);
    until(10 * SECOND, "the accept loop has survived", async || {
        let asked = node.client.try_request("GET", &node.url("/health/liveness"), &[], "").await;
        asked.is_ok_and(|answer| answer.status == 200)
    })
    .await;
    assert_eq!(node.log_in("alice").await.status, 200);
}
