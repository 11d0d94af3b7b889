//! Signals that mean nothing to a server do not end it. SIGXFSZ, and the others, are tried elsewhere:
//! `full_disk`, `nodes`, `outputs`.

use testkit::process::Signal;

use crate::node::Setup;

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
