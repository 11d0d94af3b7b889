//! By what a request is counted: a network, an account or a session.

use std::net::IpAddr;
use std::time::Duration;

use model::SessionId;
use protocol::wire::forwarded::client_network;
use rate_limit::Key;

/// By what a request is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Subject {
    /// The network of a client: an IPv4 address, or the /64 of an IPv6 address.
    Network(IpAddr),
    /// An account, by the keyed hash of what names it.
    Account(u128),
    /// A session.
    Session(SessionId),
}

/// Bits of an account or a session that choose the key which it shares when a node counts too many.
const SHARED_BITS: u32 = 12;

impl Subject {
    /// The key under which `limit` counts it: one for each subject, and for each `window`, since times of
    /// another one mean something else.
    pub(super) fn key(self, limit: u8, window: Duration) -> Key {
        let value = match self {
            Self::Network(address) => match client_network(address) {
                IpAddr::V4(address) => u128::from(address.to_bits()),
                IpAddr::V6(address) => 1 << 64 | address.to_bits() >> 64,
            },
            Self::Account(digest) => digest,
            Self::Session(id) => id.0.as_u128(),
        };
        Key(value ^ number(limit | 0x80, window))
    }

    /// The key that it shares with its neighbours when a node counts too many: the /16 of an IPv4 address,
    /// the /32 of an IPv6 address, a part of all accounts or sessions.
    pub(super) fn shared(self, limit: u8, window: Duration) -> Key {
        let value = match self {
            Self::Network(address) => match client_network(address) {
                IpAddr::V4(address) => u128::from(address.to_bits() >> 16),
                IpAddr::V6(address) => 1 << 64 | address.to_bits() >> 96,
            },
            // The first bits of a session are those of its time.
            Self::Account(bits) => bits & ((1 << SHARED_BITS) - 1),
            Self::Session(id) => id.0.as_u128() & ((1 << SHARED_BITS) - 1),
        };
        Key(value ^ number(limit | 0xC0, window))
    }
}

fn number(limit: u8, window: Duration) -> u128 {
    // A window has at most 32 bits of milliseconds.
    u128::from(limit) << 120 | u128::from(rate_limit::millis(window)) << 80
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_mins(1);

    fn network(text: &str) -> Subject {
        Subject::Network(text.parse().unwrap())
    }

    #[test]
    fn a_slash_64_is_one_network_and_a_mapped_address_is_ipv4() {
        assert_eq!(network("2001:db8::1").key(0, MINUTE), network("2001:db8::ffff:1").key(0, MINUTE));
        assert_ne!(network("2001:db8::1").key(0, MINUTE), network("2001:db8:0:1::1").key(0, MINUTE));
        assert_eq!(network("::ffff:192.0.2.1").key(0, MINUTE), network("192.0.2.1").key(0, MINUTE));
        assert_ne!(network("192.0.2.1").key(0, MINUTE), network("192.0.2.2").key(0, MINUTE));
    }

    #[test]
    fn limits_and_kinds_of_subjects_do_not_share_keys() {
        let zero = network("0.0.0.0");
        assert_ne!(zero.key(0, MINUTE), zero.key(1, MINUTE));
        assert_ne!(zero.key(0, MINUTE), zero.key(0, 2 * MINUTE));
        assert_ne!(zero.key(0, MINUTE), network("::1").key(0, MINUTE));
        assert_ne!(zero.key(0, MINUTE), zero.shared(0, MINUTE));
    }
}
