//! Signals that mean nothing to a server do not end it. SIGXFSZ, and the others, are tried elsewhere:
//! `full_disk`, `nodes`, `outputs`.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use testkit::process::{self, Server, Signal};

use crate::node::{Node, Setup, until};
use crate::tampering::Place;

#[tokio::test]
async fn signals_without_a_meaning_do_not_end_the_server_and_are_in_the_log() {
    // given
    let setup = Setup::sqlite();
    let mut node = setup.start();
    node.member("alice").await;

    // when each comes twice
    let signals = [
        ("XFSZ", "SIGXFSZ"),
        ("USR1", "SIGUSR1"),
        ("USR2", "SIGUSR2"),
        ("ALRM", "SIGALRM"),
        ("VTALRM", "SIGVTALRM"),
        ("PROF", "SIGPROF"),
        ("IO", "SIGIO"),
        ("16", "SIGSTKFLT"),
        ("34", "SIGRTMIN+0"),
        ("49", "SIGRTMIN+15"),
        ("64", "SIGRTMIN+30"),
    ];
    for (signal, name) in signals {
        send(&setup, &node, signal);
        node.server.wait_for_line(&format!("{name}\""));
        send(&setup, &node, signal);
    }
    // One that the kernel raises at a refused call looks alike, and is the only one without a line.
    send(&setup, &node, "SYS");

    // then the server answers, and stops as it should
    assert_eq!(node.log_in("alice").await.status, 200);
    assert!(node.server.terminate().success());
    let log = node.server.stderr();
    for (_, name) in signals {
        assert_eq!(log.matches(&format!("{name}\"")).count(), 1, "{name} is told once: {log}");
    }
    assert_signed(&setup);
}

/// Sends a signal by its name or number, as an operator does.
fn send(setup: &Setup, node: &Node, signal: &str) {
    let sent = setup.in_shell(&format!("kill -{signal} {}", node.server.pid()));
    assert!(sent.status.success(), "{}", sent.stderr);
}

fn assert_signed(setup: &Setup) {
    let verified = setup.command(&["audit", "verify"]);
    assert!(!verified.contains("not signed"), "{verified}");
}

#[test]
fn a_server_with_a_certificate_stops_as_soon_as_one_without() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(folder.path().join("cert.pem"), made.cert.pem()).unwrap();
    testkit::write_secret(&folder.path().join("key.pem"), made.signing_key.serialize_pem());
    let mut server = Server::builder(process::gatewright())
        .arg("serve")
        .folder(folder.path())
        .env("GATEWRIGHT_SERVER__LISTEN", "127.0.0.1:0")
        .env("GATEWRIGHT_SERVER__OPS_LISTEN", "")
        .env("GATEWRIGHT_SERVER__TLS_CERT_FILE", "cert.pem")
        .env("GATEWRIGHT_SERVER__TLS_KEY_FILE", "key.pem")
        .ready_on_line("is up")
        .start();

    assert!(server.terminate().success(), "{}", server.stderr());
    assert!(!server.stderr().contains("not finished"), "{}", server.stderr());
}

#[tokio::test]
async fn a_signal_that_is_sent_twice_at_once_stops_the_server_in_order() {
    let setup = Setup::sqlite();
    let mut node = setup.start();
    node.member("alice").await;

    let pid = node.server.pid();
    assert!(setup.in_shell(&format!("kill -TERM {pid} {pid}")).status.success());

    assert!(node.server.wait().success(), "{}", node.server.stderr());
    assert!(!node.server.stderr().contains("a second signal"), "{}", node.server.stderr());
    assert_signed(&setup);
}

#[tokio::test]
async fn a_power_failure_and_the_limit_of_processor_time_stop_the_server_in_order() {
    for signal in ["PWR", "XCPU"] {
        let setup = Setup::sqlite();
        let mut node = setup.start();
        node.member("alice").await;

        // when it comes again and again, as the kernel sends it
        send(&setup, &node, signal);
        let _ = setup.in_shell(&format!("kill -{signal} {}", node.server.pid()));

        // then it is no second signal
        assert!(node.server.wait().success(), "{}", node.server.stderr());
        assert!(!node.server.stderr().contains("a second signal"), "{}", node.server.stderr());
        assert_signed(&setup);
    }
}

#[tokio::test]
async fn a_signal_ends_every_command_between_two_steps_and_its_end_is_signed() {
    // given more users than one page, and a reader of their export that waits
    let setup = Setup::sqlite();
    let mut node = setup.start();
    let rows: Vec<_> = (0..600).map(|row| format!("{{\"email\": \"user{row}@example.org\"}}")).collect();
    std::fs::write(setup.folder.path().join("users.jsonl"), rows.join("\n")).unwrap();
    setup.command(&["user", "import", "users.jsonl"]);
    let pipe = setup.folder.path().join("pipe");
    assert!(Server::builder("mkfifo").arg(&pipe).run("").status.success());

    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143), (Signal::HUP, 129)] {
        let mut export = Server::builder("sh")
            .args(["-c", "exec \"$0\" user export - > pipe"])
            .arg(process::gatewright())
            .folder(setup.folder.path())
            .start();
        let mut reader = std::fs::File::open(&pipe).unwrap();
        reader.read_exact(&mut [0; 1]).unwrap();

        // when the signal comes, and the reader goes on
        export.signal(signal);
        export.wait_for_line("a signal came");
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();

        // then it ends behind its page
        assert_eq!(export.wait().code(), Some(status), "{}", export.stderr());
        assert_eq!(rest.lines().count(), 500);
    }

    // and one that waits for its password changes nothing
    let mut set = Server::builder(process::gatewright())
        .args(["user", "set-password", "user1@example.org", "--password-file", "pipe"])
        .folder(setup.folder.path())
        .start();
    let _writer = std::fs::File::options().write(true).open(&pipe).unwrap();
    set.signal(Signal::TERM);
    assert_eq!(set.wait().code(), Some(143), "{}", set.stderr());

    // and the trail is vouched for whole
    node.server.terminate();
    assert_signed(&setup);
}

#[tokio::test]
async fn a_signal_that_is_ignored_by_what_starts_a_command_does_not_end_it() {
    // given an import that is started as `nohup` does
    let setup = Setup::sqlite();
    let mut node = setup.start();
    let pipe = setup.folder.path().join("rows.jsonl");
    assert!(Server::builder("mkfifo").arg(&pipe).run("").status.success());
    let mut import = Server::builder("sh")
        .args(["-c", "trap '' HUP; exec \"$0\" user import rows.jsonl"])
        .arg(process::gatewright())
        .folder(setup.folder.path())
        .start();
    let mut rows = std::fs::File::options().write(true).open(&pipe).unwrap();

    // when the terminal goes
    import.signal(Signal::HUP);
    writeln!(rows, "{{\"email\": \"later@example.org\"}}").unwrap();
    drop(rows);

    // then it goes on
    assert!(import.wait().success(), "{}", import.stderr());
    node.server.terminate();
    assert_signed(&setup);
}

#[tokio::test]
async fn a_signal_stops_an_import_between_two_batches_and_its_end_is_signed() {
    // given an import of many batches
    let setup = Setup::sqlite();
    let mut node = setup.start();
    node.member("alice").await;
    let all = 100_000;
    let rows: Vec<_> = (0..all).map(|row| format!("{{\"email\": \"user{row}@example.org\"}}")).collect();
    std::fs::write(setup.folder.path().join("rows.jsonl"), rows.join("\n")).unwrap();
    let mut import = Server::builder(process::gatewright())
        .args(["user", "import", "rows.jsonl"])
        .folder(setup.folder.path())
        .start();
    let main = Place::Sqlite(setup.folder.path().join("gatewright-data/gatewright.db"));
    let users = || main.run("SELECT count(*) FROM users")[0][0].parse::<usize>().unwrap();
    until(Duration::from_mins(1), "the first batch is written", async || users() > 1).await;

    // when a signal comes
    import.signal(Signal::INT);

    // then it says what was done, and the trail is vouched for whole
    assert_eq!(import.wait().code(), Some(130), "{}", import.stderr());
    assert!(import.stderr().contains("a signal ended the command"), "{}", import.stderr());
    assert!(users() < all, "{}", users());
    node.server.terminate();
    assert_signed(&setup);
}
