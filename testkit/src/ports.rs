//! Free ports on loopback.

use std::net::{Ipv4Addr, TcpListener};

use crate::random;

/// Below Linux's range of ephemeral ports, so that the port of a killed server is still free when it
/// restarts.
const RANGE: std::ops::Range<u64> = 12_000..32_000;
const ATTEMPTS: usize = 200;

/// A port on 127.0.0.1 without a listener at this moment.
///
/// Two callers rarely get the same one; a caller that fails to bind asks again.
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
