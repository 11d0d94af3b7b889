//! Free ports on loopback.

use std::net::{Ipv4Addr, TcpListener};

use crate::random;

/// Below the range from which Linux takes the ports of outgoing connections, so that a server which is killed finds
/// its own port still free when it starts again.
const RANGE: std::ops::Range<u64> = 12_000..32_000;
const ATTEMPTS: usize = 200;

/// A port on 127.0.0.1 that nobody listens on at this moment.
///
/// Two callers may be given the same one, though rarely; whoever then fails to bind asks again.
pub fn free_port() -> u16 {
    for _ in 0..ATTEMPTS {
        let offset = random::number() % (RANGE.end - RANGE.start);
        let Ok(port) = u16::try_from(RANGE.start + offset) else { continue };
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port on 127.0.0.1 between {} and {} in {ATTEMPTS} attempts", RANGE.start, RANGE.end);
}
