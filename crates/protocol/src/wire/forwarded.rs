//! The client's address behind trusted proxies, from `Forwarded` (RFC 7239) or `X-Forwarded-For`.
//!
//! A proxy appends to one of the two headers and passes the other one on as the client sent it. The operator
//! names the first; the second is never read.
//!
//! Any client can send this header, so it is read from the right: each proxy appends the address that it saw.
//! As long as an address belongs to a trusted proxy, the next one to its left is used; the first
//! untrusted one is the client. If an entry cannot be parsed, the last trusted hop counts as the client:
//! malformed text cannot forge an address and skips no check.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

/// Most entries that are read, from the right. A longer list counts as one with an unparsable entry.
pub const HOPS: usize = 32;

/// The header to which the trusted proxies append the address of their peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`, of nginx, HAProxy, Apache, Traefik and Caddy.
    #[default]
    XForwardedFor,
    /// `Forwarded` (RFC 7239).
    Forwarded,
}

impl ForwardedHeader {
    /// The header's name in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::XForwardedFor => "x-forwarded-for",
            Self::Forwarded => "forwarded",
        }
    }
}

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Peer {
    /// The socket has this address, or the PROXY protocol names it.
    Address(IpAddr),
    /// A program on this machine, by a Unix socket that the operator lets it open: it counts as a trusted
    /// proxy.
    UnixSocket,
    /// A client that its proxy, at this address unless it uses a Unix socket, does not name. It is not
    /// trusted.
    Unnamed(Option<IpAddr>),
}

impl Peer {
    /// The address by which the peer is known: its own, else its proxy's, else the loopback address.
    pub fn address(self) -> IpAddr {
        match self {
            Self::Address(address) | Self::Unnamed(Some(address)) => address.to_canonical(),
            Self::UnixSocket | Self::Unnamed(None) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }
}

/// One entry of the header, as it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop<'a> {
    /// It names a trusted proxy, so the entry to its left is read, if there is one.
    Proxy(&'a [u8], IpAddr),
    /// It names the client.
    Client(&'a [u8], IpAddr),
    /// It cannot be parsed.
    Unreadable(&'a [u8]),
    /// There are more entries than are read.
    TooMany,
}

/// The networks of the proxies whose headers are trusted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl FromIterator<IpNet> for TrustedProxies {
    fn from_iter<T: IntoIterator<Item = IpNet>>(networks: T) -> Self {
        Self(networks.into_iter().collect())
    }
}

impl TrustedProxies {
    /// Whether `address` belongs to a trusted proxy.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Whether what `peer` says of its client is believed.
    pub fn trusts(&self, peer: Peer) -> bool {
        match peer {
            Peer::Address(address) => self.contains(address),
            Peer::UnixSocket => true,
            Peer::Unnamed(_) => false,
        }
    }

    /// The client's address. `values` are those of `header`, in the order in which they came. Without a
    /// trusted peer they are ignored.
    pub fn client(&self, peer: Peer, header: ForwardedHeader, values: &[&[u8]]) -> IpAddr {
        self.trace(peer, header, values, |_| {})
    }

    /// [`TrustedProxies::client`], which tells `each` the entries that it reads, from the right.
    pub fn trace<'a>(
        &self,
        peer: Peer,
        header: ForwardedHeader,
        values: &[&'a [u8]],
        mut each: impl FnMut(Hop<'a>),
    ) -> IpAddr {
        let mut client = peer.address();
        if !self.trusts(peer) {
            return client;
        }
        let read = match header {
            ForwardedHeader::XForwardedFor => address_of,
            ForwardedHeader::Forwarded => for_of,
        };

        let entries = values.iter().rev().flat_map(|value| value.rsplit(|byte| *byte == b','));
        for (at, entry) in entries.enumerate() {
            if at == HOPS {
                each(Hop::TooMany);
                return client;
            }
            let Some(address) = std::str::from_utf8(entry).ok().and_then(|entry| read(trim(entry))) else {
                each(Hop::Unreadable(entry));
                return client;
            };
            client = address;
            if !self.contains(address) {
                each(Hop::Client(entry, address));
                return client;
            }
            each(Hop::Proxy(entry, address));
        }
        client
    }
}

/// An IPv4 address, or the IPv6 network with this prefix length: its holder controls every address in it. A
/// mapped IPv4 address is IPv4.
pub fn network(address: IpAddr, v6_bits: u32) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let host = u128::BITS.saturating_sub(v6_bits);
            Ipv6Addr::from_bits(address.to_bits() >> host << host).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Bits of an IPv6 address that name the network of a client.
const V6_CLIENT_BITS: u32 = 64;

/// The network by which a client is recognised and counted: its IPv4 address, or its /64 of IPv6.
pub fn client_network(address: IpAddr) -> IpAddr {
    network(address, V6_CLIENT_BITS)
}

/// The `for` of one forwarded-element (RFC 7239 §4). Elements are split at commas and pairs at semicolons
/// before quotes are parsed, so every value must be complete, a token or a quoted string: a separator that an
/// untrusted `Host` put between the quotes of another pair leaves an incomplete value, which is refused.
fn for_of(element: &str) -> Option<IpAddr> {
    let mut found = None;
    for pair in element.split(';') {
        let (name, value) = trim(pair).split_once('=')?;
        let value = match value.strip_prefix('"') {
            Some(rest) => rest.strip_suffix('"').filter(|inner| !inner.contains(['"', '\\']))?,
            None if is_token(value) => value,
            None => return None,
        };
        if name.eq_ignore_ascii_case("for") && found.replace(value).is_some() {
            return None;
        }
    }
    address_of(found?)
}

/// RFC 9110 §5.6.2. Colons and brackets are excluded, so addresses that contain them must be quoted (RFC 7239
/// §6).
fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// An address, with or without a port; IPv6 bare or in brackets, without a zone.
fn address_of(text: &str) -> Option<IpAddr> {
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    let with_port = || match text.parse::<SocketAddr>().ok()? {
        SocketAddr::V6(address) if address.scope_id() != 0 => None,
        address => Some(address.ip()),
    };
    text.parse::<IpAddr>().ok().or_else(bracketed).or_else(with_port).map(|address| address.to_canonical())
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::ForwardedHeader::{Forwarded, XForwardedFor};
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn at(text: &str) -> Peer {
        Peer::Address(ip(text))
    }

    fn proxies() -> TrustedProxies {
        let networks = ["10.0.0.0/8", "192.0.2.1/32", "2001:db8:ffff::/48"];
        networks.into_iter().map(|network| network.parse::<IpNet>().unwrap()).collect()
    }

    fn x(values: &[&[u8]]) -> IpAddr {
        proxies().client(at("10.0.0.1"), XForwardedFor, values)
    }

    fn f(value: &str) -> IpAddr {
        proxies().client(at("10.0.0.1"), Forwarded, &[value.as_bytes()])
    }

    #[test]
    fn unparsable_forwarding_headers_yield_the_last_trusted_hop() {
        let long = "1.2.3.4,".repeat(2_000);
        let odd = [
            "",
            " ",
            ",",
            ",,,",
            "a",
            "unknown",
            "_hidden",
            "1.2.3",
            "1.2.3.4.5",
            "256.1.1.1",
            "1.2.3.04",
            "0x7f.1",
            "2130706433",
            "1.2.3.4 5.6.7.8",
            "1.2.3.4;",
            "1.2.3.4:",
            "1.2.3.4:99999",
            ":80",
            "[::1",
            "::1]",
            "[]",
            "[1.2.3.4]",
            "fe80::1%eth0",
            "[fe80::1%1]:80",
            "::1::",
            "\"1.2.3.4\"",
            "for=1.2.3.4",
            "localhost",
            "1.2.3.4\0",
            "１.2.3.4",
            "1.2.3.4/32",
            long.as_str(),
            "-1.2.3.4",
            "1.2.3.4\n",
        ];

        assert!(odd.len() >= 30);
        for value in odd {
            assert_eq!(x(&[value.as_bytes()]), ip("10.0.0.1"), "{value:.40}");
            let after_proxy = format!("9.9.9.9, {value}, 10.9.9.9");
            assert_eq!(x(&[after_proxy.as_bytes()]), ip("10.9.9.9"), "{value:.40}");
        }

        assert_eq!(x(&[b"\xff\xfe"]), ip("10.0.0.1"));
        assert_eq!(x(&[&[b'a'; 10_240]]), ip("10.0.0.1"));
    }

    #[test]
    fn only_trusted_hops_are_skipped() {
        assert_eq!(proxies().client(at("8.8.8.8"), Forwarded, &[b"for=1.2.3.4"]), ip("8.8.8.8"));
        assert_eq!(proxies().client(at("8.8.8.8"), XForwardedFor, &[b"1.2.3.4"]), ip("8.8.8.8"));
        let none = TrustedProxies::default();
        assert_eq!(none.client(at("10.0.0.1"), XForwardedFor, &[b"1.2.3.4"]), ip("10.0.0.1"));
        assert_eq!(x(&[b"1.1.1.1, 2.2.2.2"]), ip("2.2.2.2"));
        assert_eq!(x(&[b"1.1.1.1, 2.2.2.2, 10.1.1.1,192.0.2.1"]), ip("2.2.2.2"));
        assert_eq!(x(&[b"1.1.1.1", b"2.2.2.2", b"10.1.1.1"]), ip("2.2.2.2"));
        assert_eq!(x(&[b"10.2.2.2, 10.1.1.1"]), ip("10.2.2.2"));
        assert_eq!(x(&[b"2.2.2.2:4711"]), ip("2.2.2.2"));
        assert_eq!(x(&[b"[2001:db8::1]:80"]), ip("2001:db8::1"));
        assert_eq!(x(&[b"2001:DB8::1"]), ip("2001:db8::1"));
        assert_eq!(x(&[]), ip("10.0.0.1"));
    }

    #[test]
    fn a_unix_socket_is_a_proxy_and_a_client_that_is_not_named_is_none() {
        let client = |peer| proxies().client(peer, XForwardedFor, &[b"1.1.1.1, 2.2.2.2"]);
        assert_eq!(client(Peer::UnixSocket), ip("2.2.2.2"));
        assert_eq!(client(Peer::Unnamed(Some(ip("10.0.0.1")))), ip("10.0.0.1"));
        assert_eq!(client(Peer::Unnamed(None)), ip("127.0.0.1"));
        assert_eq!(proxies().client(Peer::UnixSocket, XForwardedFor, &[]), ip("127.0.0.1"));
    }

    #[test]
    fn each_entry_that_is_read_is_told() {
        let hops = |value: &'static str| {
            let mut hops = Vec::new();
            proxies().trace(at("10.0.0.1"), XForwardedFor, &[value.as_bytes()], |hop| hops.push(hop));
            hops
        };
        let proxy = Hop::Proxy(b" 10.9.9.9", ip("10.9.9.9"));
        assert_eq!(hops("1.1.1.1,2.2.2.2, 10.9.9.9"), [proxy, Hop::Client(b"2.2.2.2", ip("2.2.2.2"))]);
        assert_eq!(hops("1.1.1.1,x, 10.9.9.9"), [proxy, Hop::Unreadable(b"x")]);
        let long = "10.1.1.1,".repeat(HOPS + 1);
        assert_eq!(hops(long.trim_end_matches(',').to_owned().leak()).last(), Some(&Hop::TooMany));
    }

    #[test]
    fn mapped_addresses_are_ipv4() {
        assert_eq!(x(&[b"::ffff:2.2.2.2"]), ip("2.2.2.2"));
        assert_eq!(proxies().client(at("::ffff:10.0.0.1"), XForwardedFor, &[b"2.2.2.2"]), ip("2.2.2.2"));
        assert_eq!(proxies().client(at("::ffff:8.8.8.8"), XForwardedFor, &[b"2.2.2.2"]), ip("8.8.8.8"));
        assert_eq!(x(&[b"1.1.1.1, ::ffff:10.7.7.7"]), ip("1.1.1.1"));
    }

    #[test]
    fn elements_of_the_forwarded_header_are_parsed() {
        let cases = [
            ("for=2.2.2.2", "2.2.2.2"),
            ("FOR=2.2.2.2;proto=https;by=10.0.0.1", "2.2.2.2"),
            ("proto=https; for=\"2.2.2.2:80\"", "2.2.2.2"),
            ("for=\"[2001:db8::1]:4711\"", "2001:db8::1"),
            ("for=\"[2001:db8::1]\"", "2001:db8::1"),
            ("for=1.1.1.1, for=2.2.2.2;by=10.1.1.1, for=10.3.3.3", "2.2.2.2"),
            // values that cannot be parsed
            ("", "10.0.0.1"),
            ("2.2.2.2", "10.0.0.1"),
            ("for=", "10.0.0.1"),
            ("for=unknown", "10.0.0.1"),
            ("for=_x", "10.0.0.1"),
            ("for=\"_x:80\"", "10.0.0.1"),
            ("for=2.2.2.2;for=3.3.3.3", "10.0.0.1"),
            ("for=\"2.2.2.2", "10.0.0.1"),
            ("for=\"2.2\\.2.2\"", "10.0.0.1"),
            ("for=2.2.2.2:80", "10.0.0.1"),
            ("for=[2001:db8::1]", "10.0.0.1"),
            ("for=2001:db8::1", "10.0.0.1"),
            ("for = 2.2.2.2", "10.0.0.1"),
            ("proto=https", "10.0.0.1"),
            ("for=2.2.2.2;host=\"a,b\"", "10.0.0.1"),
            ("for=2.2.2.2;\"", "10.0.0.1"),
            ("for=\"a,for=6.6.6.6\"", "10.0.0.1"),
            ("for=2.2.2.2;host=\"a,for=6.6.6.6;b=\\\"\"", "10.0.0.1"),
            ("for=2.2.2.2;host=\"a,for=6.6.6.6;b=c\"", "10.0.0.1"),
            ("for=2.2.2.2;host=\"a,for=6.6.6.6,b=c\"", "10.0.0.1"),
            ("for=2.2.2.2;host=\"a;for=6.6.6.6\"", "10.0.0.1"),
        ];

        for (value, address) in cases {
            assert_eq!(f(value), ip(address), "{value}");
        }
    }

    #[test]
    fn an_ipv6_client_counts_by_its_64_network() {
        for (address, network) in [
            ("1.2.3.4", "1.2.3.4"),
            ("::ffff:1.2.3.4", "1.2.3.4"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("::1", "::"),
        ] {
            assert_eq!(super::network(ip(address), 64).to_string(), network);
        }
    }

    proptest! {
        #[test]
        fn finding_the_client_address_never_panics(
            bytes in proptest::collection::vec(any::<u8>(), 0..60), text in "[a-f0-9:.,;=\"\\[\\] for]{0,40}",
        ) {
            for value in [bytes.as_slice(), text.as_bytes()] {
                for header in [Forwarded, XForwardedFor] {
                    let _ = proxies().client(at("10.0.0.1"), header, &[value]);
                    prop_assert_eq!(proxies().client(at("8.8.8.8"), header, &[value]), ip("8.8.8.8"));
                }
            }
        }
    }
}
