//! What a session remembers of a client: keyed hashes of its network and of its user agent.
//!
//! Without the key, a hash neither shows an address or user agent nor can be computed for a guess.

use std::net::IpAddr;

use aws_lc_rs::hmac;

use super::forwarded::client_network;

/// Bytes of one part; a part of zeros is absent.
const PART: usize = 8;
/// Bytes of a mark.
pub const MARK_BYTES: usize = 2 * PART;

/// The mark of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClientMark {
    network: [u8; PART],
    agent: [u8; PART],
}

/// A key of marks.
#[derive(Clone)]
pub struct MarkKey(hmac::Key);

impl MarkKey {
    /// A key of 256 bits, one of [`crate::sealed::keyring::Keyring::derive`].
    pub fn new(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// The mark of a client at `address` with this `User-Agent`: an IPv6 address counts by /64, a mapped IPv4
    /// address as IPv4.
    pub fn mark(&self, address: Option<IpAddr>, user_agent: Option<&str>) -> ClientMark {
        let agent = user_agent.filter(|agent| !agent.trim().is_empty());
        let network = address.map(|address| self.part(b'n', client_network(address).to_string().as_bytes()));
        let agent = agent.map(|agent| self.part(b'a', agent.as_bytes()));
        ClientMark { network: network.unwrap_or_default(), agent: agent.unwrap_or_default() }
    }

    fn part(&self, kind: u8, text: &[u8]) -> [u8; PART] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(&[kind]);
        context.update(text);
        context.sign().as_ref().first_chunk().copied().unwrap_or_default()
    }
}

impl std::fmt::Debug for MarkKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MarkKey([secret])")
    }
}

impl ClientMark {
    /// The mark as it is stored.
    pub fn to_bytes(self) -> [u8; MARK_BYTES] {
        let mut bytes = [0; MARK_BYTES];
        bytes.iter_mut().zip(self.network.into_iter().chain(self.agent)).for_each(|(to, from)| *to = from);
        bytes
    }

    /// The mark with these bytes.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (network, agent) = bytes.split_first_chunk::<PART>()?;
        Some(Self { network: *network, agent: agent.try_into().ok()? })
    }

    /// The part of the network, if the address is known.
    pub fn network(&self) -> Option<[u8; PART]> {
        Some(self.network).filter(|network| *network != [0; PART])
    }

    /// Whether network and user agent are present: only then can the client be recognised.
    pub fn is_whole(&self) -> bool {
        self.network != [0; PART] && self.agent != [0; PART]
    }

    /// Whether both are of one client: equal and present in both parts.
    pub fn is_same(&self, other: &Self) -> bool {
        self.is_whole() && self == other
    }

    /// Whether the user agents are equal, or absent in both.
    pub fn has_agent_of(&self, other: &Self) -> bool {
        self.agent == other.agent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(address: &str, agent: Option<&str>) -> ClientMark {
        MarkKey::new(&[1; 32]).mark(Some(address.parse().unwrap()), agent)
    }

    #[test]
    fn a_client_is_the_same_by_network_and_present_user_agent() {
        let phone = mark("2001:db8::1", Some("app/1"));
        assert!(phone.is_same(&mark("2001:db8::ffff", Some("app/1"))), "the same /64");
        assert!(!phone.is_same(&mark("2001:db8:0:1::1", Some("app/1"))));
        assert!(!phone.is_same(&mark("2001:db8::1", Some("app/2"))));
        assert!(mark("192.0.2.1", Some("a")).is_same(&mark("::ffff:192.0.2.1", Some("a"))));
        assert!(!mark("192.0.2.1", Some("a")).is_same(&mark("192.0.2.2", Some("a"))));
        for absent in [None, Some(""), Some(" ")] {
            let bare = mark("192.0.2.1", absent);
            assert!(!bare.is_same(&bare), "an absent user agent is never the same");
            assert!(bare.has_agent_of(&mark("192.0.2.9", None)));
        }
        let other_key = MarkKey::new(&[2; 32]).mark(Some("192.0.2.1".parse().unwrap()), Some("a"));
        assert!(!other_key.is_same(&mark("192.0.2.1", Some("a"))));
    }

    #[test]
    fn a_stored_mark_is_read_back() {
        let phone = mark("192.0.2.1", Some("app/1"));
        assert_eq!(ClientMark::from_bytes(&phone.to_bytes()), Some(phone));
        assert_eq!(ClientMark::from_bytes(&[1; 3]), None);
        assert_eq!(ClientMark::from_bytes(&[1; 17]), None);
    }
}
