//! Notifications for the service manager.

use std::os::unix::net::UnixDatagram;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use testkit::process::Signal;

use crate::node::Setup;

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
