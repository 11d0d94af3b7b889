//! Reads the header by which a proxy names its client: version 2 of the PROXY protocol, §2.2 of
//! <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt as _};

use super::peer::Peer;

/// The first bytes of every header.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// The bytes before the addresses: signature, version and command, family and protocol, length.
const HEAD: usize = 16;
/// The most bytes of addresses and extensions (TLVs) after them. Addresses have at most 216.
pub(super) const MOST: usize = 4096;

/// The reason why a connection has no valid header.
#[derive(Debug, thiserror::Error)]
pub(super) enum HeaderError {
    /// Something else came.
    #[error("it does not begin with a header of the PROXY protocol, version 2")]
    Missing,
    /// The text of version 1.
    #[error(
        "it begins with a header of the PROXY protocol, version 1, and only version 2 is accepted (for \
         HAProxy `send-proxy-v2`)"
    )]
    VersionOne,
    /// A field has a value that the protocol does not define, or that does not fit its length.
    #[error("its header of the PROXY protocol is malformed: {0}")]
    Malformed(&'static str),
    /// The connection ended or failed.
    #[error("it ended before its header of the PROXY protocol: {0}")]
    Broken(#[from] io::Error),
}

/// What a header says about the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The proxy itself has opened it, to see whether the server lives (`LOCAL`).
    Proxy,
    /// A client with this address has opened it.
    Client(SocketAddr),
    /// A client without an address: it has opened a Unix socket of the proxy, or the proxy does not know.
    Unnamed,
}

impl Source {
    /// The peer of a connection that `proxy` has opened.
    pub(super) fn peer(self, proxy: Peer) -> Peer {
        match (self, proxy) {
            (Self::Proxy, proxy) => proxy,
            (Self::Client(address), _) => Peer::Address(address),
            (Self::Unnamed, Peer::Address(address)) => Peer::Unnamed(Some(address)),
            (Self::Unnamed, Peer::UnixSocket) => Peer::Unnamed(None),
            (Self::Unnamed, unnamed @ Peer::Unnamed(_)) => unnamed,
        }
    }
}

/// Reads the header at the beginning of a connection, and not a byte more.
///
/// # Errors
/// [`HeaderError`], as soon as what has come cannot be a header.
pub(super) async fn read(io: &mut (impl AsyncRead + Unpin)) -> Result<Source, HeaderError> {
    let mut head = [0; HEAD];
    let mut have = 0;
    while let Some(space) = head.get_mut(have..).filter(|space| !space.is_empty()) {
        match io.read(space).await? {
            0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            more => have += more,
        }
        begins(head.get(..have).unwrap_or_default())?;
    }

    let mut rest = vec![0; length(&head)?];
    io.read_exact(&mut rest).await?;
    parse(&head, &rest)
}

/// Whether `bytes` may be the beginning of a header.
fn begins(bytes: &[u8]) -> Result<(), HeaderError> {
    if bytes.iter().zip(SIGNATURE).all(|(is, should)| is == should) {
        return Ok(());
    }
    // One byte tells a header from everything else, but not version 1 from an HTTP request.
    let text = b"PROXY ";
    match bytes.iter().zip(text).all(|(is, should)| is == should) {
        true if bytes.len() < text.len() => Ok(()),
        true => Err(HeaderError::VersionOne),
        false => Err(HeaderError::Missing),
    }
}

/// The number of bytes after the first 16.
fn length(head: &[u8; HEAD]) -> Result<usize, HeaderError> {
    let [.., high, low] = *head;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > MOST { Err(HeaderError::Malformed("it is too long")) } else { Ok(length) }
}

/// Reads a whole header: the first 16 bytes, and the rest. Extensions are skipped.
fn parse(head: &[u8; HEAD], rest: &[u8]) -> Result<Source, HeaderError> {
    let [.., version_and_command, family_and_protocol, _, _] = *head;
    match version_and_command {
        // What a health check says of addresses does not count.
        0x20 => return Ok(Source::Proxy),
        0x21 => {}
        0x22..=0x2f => return Err(HeaderError::Malformed("its command is unknown")),
        _ => return Err(HeaderError::Malformed("its version is not 2")),
    }

    match family_and_protocol {
        0x00 => Ok(Source::Unnamed),
        0x11 => match rest.first_chunk::<12>() {
            Some(&[a, b, c, d, _, _, _, _, high, low, _, _]) => {
                Ok(client(Ipv4Addr::new(a, b, c, d).into(), [high, low]))
            }
            None => Err(HeaderError::Malformed("it is too short for IPv4")),
        },
        0x21 => match (rest.first_chunk::<16>(), rest.first_chunk::<36>()) {
            (Some(address), Some(&[.., high, low, _, _])) => {
                Ok(client(Ipv6Addr::from(*address).into(), [high, low]))
            }
            _ => Err(HeaderError::Malformed("it is too short for IPv6")),
        },
        0x31 if rest.len() >= 216 => Ok(Source::Unnamed),
        0x31 => Err(HeaderError::Malformed("it is too short for a Unix socket")),
        _ => Err(HeaderError::Malformed("its family and protocol are not those of a stream")),
    }
}

fn client(address: IpAddr, port: [u8; 2]) -> Source {
    Source::Client(SocketAddr::new(address.to_canonical(), u16::from_be_bytes(port)))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::*;

    /// A header with these two bytes after the signature.
    fn header(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE.as_slice(), &[command, family], &length, rest].concat()
    }

    fn read_now(mut bytes: &[u8]) -> (Result<Source, HeaderError>, usize) {
        let whole = bytes.len();
        let read = futures_util::FutureExt::now_or_never(read(&mut bytes)).unwrap();
        (read, whole - bytes.len())
    }

    fn ipv4(extensions: &[u8]) -> Vec<u8> {
        let addresses = [203, 0, 113, 7, 192, 0, 2, 1, 0x12, 0x67, 0x01, 0xbb];
        header(0x21, 0x11, &[&addresses, extensions].concat())
    }

    #[test]
    fn a_header_names_the_client_and_not_a_byte_after_it_is_read() {
        let mut ipv6 = [0; 36];
        ipv6[..16].copy_from_slice(&"2001:db8::7".parse::<Ipv6Addr>().unwrap().octets());
        ipv6[32..].copy_from_slice(&[0x12, 0x67, 0x01, 0xbb]);
        let mut mapped = ipv6;
        mapped[..16].copy_from_slice(&"::ffff:203.0.113.7".parse::<Ipv6Addr>().unwrap().octets());
        let client = |text: &str| Source::Client(text.parse().unwrap());

        for (bytes, source) in [
            (ipv4(&[]), client("203.0.113.7:4711")),
            (ipv4(&[0x04, 0, 1, 0]), client("203.0.113.7:4711")),
            (ipv4(&vec![0xff; MOST - 12]), client("203.0.113.7:4711")),
            (header(0x21, 0x21, &ipv6), client("[2001:db8::7]:4711")),
            (header(0x21, 0x21, &mapped), client("203.0.113.7:4711")),
            (header(0x21, 0x31, &[b'/'; 216]), Source::Unnamed),
            (header(0x21, 0x00, &[]), Source::Unnamed),
            (header(0x21, 0x00, &[1, 2, 3]), Source::Unnamed),
            (header(0x20, 0x00, &[]), Source::Proxy),
            (header(0x20, 0x11, &[6, 6, 6, 6, 0, 0, 0, 0, 0, 0, 0, 0]), Source::Proxy),
            (header(0x20, 0xff, &[]), Source::Proxy),
        ] {
            let (read, length) = read_now(&[bytes.as_slice(), b"GET / HTTP/1.1\r\n"].concat());
            assert_eq!(read.unwrap(), source);
            assert_eq!(length, bytes.len());
        }
    }

    #[test]
    fn malformed_headers_are_refused_as_soon_as_they_are_seen() {
        let long = [SIGNATURE.as_slice(), &[0x21, 0x11, 0xff, 0xff]].concat();
        for (bytes, said) in [
            (b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(), "does not begin"),
            (b"\r\n\r\n\0\r\nQUIX\n".to_vec(), "does not begin"),
            (b"\x16\x03\x01".to_vec(), "does not begin"),
            (b"PROXY TCP4 6.6.6.6 1.1.1.1 1 2\r\n".to_vec(), "send-proxy-v2"),
            (b"PROXY UNKNOWN\r\n".to_vec(), "send-proxy-v2"),
            (header(0x11, 0x11, &[0; 12]), "version is not 2"),
            (header(0x31, 0x11, &[0; 12]), "version is not 2"),
            (header(0x22, 0x11, &[0; 12]), "command is unknown"),
            (header(0x21, 0x11, &[0; 11]), "too short for IPv4"),
            (header(0x21, 0x21, &[0; 35]), "too short for IPv6"),
            (header(0x21, 0x31, &[0; 215]), "too short for a Unix socket"),
            (header(0x21, 0x12, &[0; 12]), "not those of a stream"),
            (header(0x21, 0x01, &[0; 12]), "not those of a stream"),
            (header(0x21, 0x41, &[0; 216]), "not those of a stream"),
            (long, "too long"),
            (ipv4(&[])[..20].to_vec(), "ended before"),
            (SIGNATURE[..5].to_vec(), "ended before"),
            (Vec::new(), "ended before"),
        ] {
            let refused = read_now(&bytes).0.unwrap_err().to_string();

            assert!(refused.contains(said), "{bytes:?}: {refused}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_panic_or_read_beyond_the_header(
            bytes in proptest::collection::vec(any::<u8>(), 0..300),
            command in 0x1f..0x23_u8, family in any::<u8>(),
        ) {
            let _ = read_now(&bytes);
            let whole = header(command, family, &bytes);
            let (read, length) = read_now(&whole);
            prop_assert!(length <= whole.len());
            if read.is_ok() {
                prop_assert_eq!(length, whole.len());
            }
        }

        #[test]
        fn every_address_is_read_as_it_was_written(address in any::<[u8; 4]>(), port in any::<u16>()) {
            let mut rest = [0; 12];
            rest[..4].copy_from_slice(&address);
            rest[8..10].copy_from_slice(&port.to_be_bytes());
            let read = read_now(&header(0x21, 0x11, &rest)).0.unwrap();
            prop_assert_eq!(read, Source::Client(SocketAddr::new(address.into(), port)));
        }
    }
}
