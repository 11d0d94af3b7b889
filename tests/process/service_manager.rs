//! Notifications for the service manager.

use std::os::unix::net::UnixDatagram;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use testkit::process::{self, Server, Signal};

use crate::node::Setup;

const UNIT: &str = include_str!("../../ops/systemd/gatewright.service");
/// The unit of systemd with the built binary in the place of the installed one.
fn unit() -> String {
    UNIT.replace("/usr/bin/gatewright", process::gatewright().to_str().unwrap())
}

/// What the unit sets a name to, each time that it does.
fn set_to<'a>(unit: &'a str, name: &str) -> Vec<&'a str> {
    unit.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix('=')).collect()
}

#[test]
fn the_unit_of_systemd_is_valid_and_leaves_the_server_few_rights() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gatewright.service");
    std::fs::write(&path, unit()).unwrap();
    let analyze = |arguments: &[&str]| Server::builder("systemd-analyze").args(arguments).arg(&path).run("");

    let verified = analyze(&["verify"]);
    assert!(verified.status.success() && verified.stderr.is_empty(), "{}", verified.stderr);

    // systemd counts from 0 to 10, in tenths; below 2 it says OK.
    let exposed = analyze(&["security", "--offline=yes", "--no-pager", "--threshold=20"]);
    assert!(exposed.status.success(), "{}{}", exposed.stdout, exposed.stderr);
}

#[test]
fn the_line_of_the_unit_starts_a_server_that_says_when_it_is_ready_and_stops_in_time() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("gatewright.toml"), "[server]\nlisten = [\"127.0.0.1:0\"]\nops_listen = \"\"\n")
        .unwrap();
    let unit = unit()
        .replace("/etc/gatewright/gatewright.toml", at("gatewright.toml").to_str().unwrap())
        .replace("/var/lib/gatewright", at("data").to_str().unwrap());
    let received = receive(UnixDatagram::bind(at("notify")).unwrap());
    assert_eq!(set_to(&unit, "Type"), ["notify"]);

    let line = set_to(&unit, "ExecStart")[0];
    let (program, arguments) = line.split_once(' ').unwrap();
    let mut started = Server::builder(program).args(arguments.split(' ')).folder(folder.path());
    for (name, value) in set_to(&unit, "Environment").iter().map(|set| set.split_once('=').unwrap()) {
        started = started.env(name, value);
    }
    let mut server = started.env("NOTIFY_SOCKET", at("notify")).start();
    assert_eq!(received.recv_timeout(PATIENCE).unwrap(), "READY=1\n");
    assert!(at("data/gatewright.db").exists() && server.terminate().success());

    // systemd waits for longer than the server takes: the delay, requests, then the other work.
    let stop: u64 = set_to(&unit, "TimeoutStopSec")[0].parse().unwrap();
    assert!(stop > 5 + 20 + 5, "{stop}");
}

const PATIENCE: Duration = Duration::from_mins(1);
const WATCHDOG: &str = "WATCHDOG=1\n";

/// Receives notifications on `socket`; a thread keeps its short queue empty.
fn receive(socket: UnixDatagram) -> Receiver<String> {
    let (sender, received) = mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 256];
        while let Ok(length) = socket.recv(&mut buffer) {
            if sender.send(String::from_utf8_lossy(&buffer[..length]).into_owned()).is_err() {
                return;
            }
        }
    });
    received
}

#[test]
fn a_service_manager_is_notified_of_the_start_a_reload_and_the_stop() {
    let mut setup = Setup::sqlite();
    let path = setup.folder.path().join("notify");
    let received = receive(UnixDatagram::bind(&path).unwrap());
    setup.env.push(("NOTIFY_SOCKET".to_owned(), path.display().to_string()));
    let mut node = setup.start();
    let next = || received.recv_timeout(PATIENCE).unwrap();

    assert_eq!(next(), "READY=1\n");
    node.server.signal(Signal::HUP);
    let reloading = next();
    let time = reloading.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap();
    assert!(time.trim_end().parse::<u64>().unwrap() > 0, "{reloading}");
    assert_eq!(next(), "READY=1\n");
    node.server.signal(Signal::TERM);
    assert_eq!(next(), "STOPPING=1\n");
    assert!(node.server.wait().success());
}

#[test]
fn a_watchdog_is_notified_again_and_again() {
    let mut setup = Setup::sqlite();
    let path = setup.folder.path().join("notify");
    let received = receive(UnixDatagram::bind(&path).unwrap());
    setup.env.push(("NOTIFY_SOCKET".to_owned(), path.display().to_string()));
    setup.env.push(("WATCHDOG_USEC".to_owned(), "100000".to_owned()));
    let mut node = setup.start();

    let mut signs = 0;
    while signs < 3 {
        signs += usize::from(received.recv_timeout(PATIENCE).unwrap() == WATCHDOG);
    }
    node.server.signal(Signal::TERM);
    assert!(node.server.wait().success());
}
