//! Signals that mean nothing to a server do not end it. SIGXFSZ, and the others, are tried elsewhere:
//! `full_disk`, `nodes`, `outputs`.

use std::io::Write as _;
use std::time::Duration;

use testkit::process::{self, Server, Signal};

use crate::node::{Setup, until};
use crate::tampering::Place;

#[tokio::test]
async fn signals_without_a_meaning_do_not_end_the_server_and_are_in_the_log() {
    // given
    let setup = Setup::sqlite();
    let mut node = setup.start();
    node.member("alice").await;

    // when each comes twice
    let signals = [
        (Signal::XFSZ, "SIGXFSZ"),
        (Signal::USR1, "SIGUSR1"),
        (Signal::USR2, "SIGUSR2"),
        (Signal::ALARM, "SIGALRM"),
        (Signal::VTALARM, "SIGVTALRM"),
        (Signal::PROF, "SIGPROF"),
        (Signal::IO, "SIGIO"),
    ];
    for (signal, name) in signals {
        node.server.signal(signal);
        node.server.wait_for_line(name);
        node.server.signal(signal);
    }

    // then the server answers, and stops as it should
    assert_eq!(node.log_in("alice").await.status, 200);
    assert!(node.server.terminate().success());
    let log = node.server.stderr();
    for (_, name) in signals {
        assert_eq!(log.matches(name).count(), 1, "{name} is told once: {log}");
    }
}

#[tokio::test]
async fn a_signal_stops_an_import_between_two_batches_and_its_end_is_signed() {
    // given an import that waits for more rows after its first batch
    let setup = Setup::sqlite();
    let mut node = setup.start();
    node.member("alice").await;
    let pipe = setup.folder.path().join("rows.jsonl");
    assert!(Server::builder("mkfifo").arg(&pipe).run("").status.success());
    let mut import = Server::builder(process::gatewright())
        .args(["user", "import", "rows.jsonl"])
        .folder(setup.folder.path())
        .start();
    let mut rows = std::fs::File::options().write(true).open(&pipe).unwrap();
    for row in 0..500 {
        writeln!(rows, "{{\"email\": \"user{row}@example.org\"}}").unwrap();
    }
    let main = Place::Sqlite(setup.folder.path().join("gatewright-data/gatewright.db"));
    let is_written = async || main.run("SELECT count(*) FROM users") == [["501"]];
    until(Duration::from_secs(30), "the first batch is written", is_written).await;

    // when a signal comes, and then more rows
    import.signal(Signal::INT);
    import.wait_for_line("a signal came");
    writeln!(rows, "{{\"email\": \"later@example.org\"}}").unwrap();
    drop(rows);

    // then it says what was done, and the trail is vouched for whole
    assert_eq!(import.wait().code(), Some(130), "{}", import.stderr());
    assert!(import.stderr().contains("a signal stopped the import"), "{}", import.stderr());
    assert_eq!(main.run("SELECT count(*) FROM users"), [["501"]]);
    node.server.terminate();
    let verified = setup.command(&["audit", "verify"]);
    assert!(!verified.contains("not signed"), "{verified}");
}
