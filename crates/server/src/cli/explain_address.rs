//! `gatewright config explain-address`

use std::io::{self, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use clap::Args;
use protocol::wire::forwarded::{ForwardedHeader, Hop, Peer, client_network};
use serde_json::{Value, json};

use super::{Failure, Global, Output};
use crate::config::{ProxyProtocol, ServerConfig};

/// The most bytes that are read.
const MOST: u64 = 1 << 20;

#[derive(Args, Debug)]
pub(super) struct ExplainAddress {
    /// The address from which the connection comes, or `unix` for a Unix socket. With
    /// `server.proxy_protocol`, the address that the proxy names
    #[arg(long, value_name = "ADDRESS")]
    peer: PeerArg,
}

/// A peer on the command line.
#[derive(Clone, Copy, Debug)]
struct PeerArg(Peer);

impl FromStr for PeerArg {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "unix" {
            return Ok(Self(Peer::UnixSocket));
        }
        let address = text.parse::<IpAddr>().or_else(|_| text.parse().map(|at: SocketAddr| at.ip()));
        address.map(|address| Self(Peer::Address(address))).map_err(|_| "not an IP address, and not `unix`")
    }
}

impl ExplainAddress {
    pub(super) fn run(&self, global: &Global, out: &mut Output) -> Result<(), Failure> {
        let config = global.load()?.config.server;
        let mut request = Vec::new();
        io::stdin().lock().take(MOST).read_to_end(&mut request)?;
        let header = ForwardedHeader::from(config.forwarded_header);
        let fields = fields(&request)?;
        let values: Vec<_> =
            fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case(header.name().as_bytes())).collect();
        let values: Vec<_> = values.into_iter().map(|(_, value)| *value).collect();
        let ignored = fields.iter().any(|(name, _)| name.eq_ignore_ascii_case(other(header).as_bytes()));

        let found = Found::of(&config, self.peer.0, header, &values);
        if out.is_json() {
            return Ok(out.value(&found.json())?);
        }
        for line in found.lines(&config, ignored) {
            out.line(&line)?;
        }
        Ok(())
    }
}

/// The header that is not read.
const fn other(header: ForwardedHeader) -> &'static str {
    match header {
        ForwardedHeader::XForwardedFor => ForwardedHeader::Forwarded.name(),
        ForwardedHeader::Forwarded => ForwardedHeader::XForwardedFor.name(),
    }
}

/// The name and the value of a header field.
type Field<'a> = (&'a [u8], &'a [u8]);

/// The header fields of a request as it was pasted: with or without its first line, carriage returns and
/// body, or with the `> ` of `curl -v`.
fn fields(request: &[u8]) -> Result<Vec<Field<'_>>, Failure> {
    let mut fields = Vec::new();
    for (at, line) in request.split(|byte| *byte == b'\n').enumerate() {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = line.strip_prefix(b"> ").unwrap_or(line);
        if line.is_empty() {
            break;
        }
        let colon = line.iter().position(|byte| *byte == b':').filter(|colon| *colon > 0);
        let field = colon.and_then(|colon| Some((line.get(..colon)?, line.get(colon + 1..)?)));
        match field.filter(|(name, _)| !name.contains(&b' ')) {
            Some((name, value)) => fields.push((name, value.trim_ascii())),
            None if at == 0 => {}
            None => return Err(Failure::usage(format!("line {} of the request is no header field", at + 1))),
        }
    }
    Ok(fields)
}

/// How the address of a client was found.
struct Found<'a> {
    peer: Peer,
    is_trusted: bool,
    header: ForwardedHeader,
    fields: usize,
    hops: Vec<Hop<'a>>,
    address: IpAddr,
}

impl<'a> Found<'a> {
    /// By the function that the server uses.
    fn of(config: &ServerConfig, peer: Peer, header: ForwardedHeader, values: &[&'a [u8]]) -> Self {
        let (proxies, mut hops) = (config.proxies(), Vec::new());
        let address = proxies.trace(peer, header, values, |hop| hops.push(hop));
        Self { peer, is_trusted: proxies.trusts(peer), header, fields: values.len(), hops, address }
    }

    /// The client's network, by which its requests are limited.
    fn network(&self) -> String {
        match client_network(self.address) {
            v4 @ IpAddr::V4(_) => v4.to_string(),
            IpAddr::V6(v6) => format!("{v6}/64"),
        }
    }

    fn lines(&self, config: &ServerConfig, ignored: bool) -> Vec<String> {
        let header = self.header.name();
        let mut lines = vec![match (self.peer, self.is_trusted) {
            (Peer::UnixSocket, _) => "peer: a Unix socket, which counts as a trusted proxy".to_owned(),
            (peer, true) => format!("peer: {}, a trusted proxy (server.trusted_proxies)", peer.address()),
            (peer, false) => format!("peer: {}, not in server.trusted_proxies", peer.address()),
        }];

        if config.proxy_protocol == ProxyProtocol::V2 {
            lines.push("server.proxy_protocol is v2: the peer is the one that the proxy names".to_owned());
        }
        lines.push(match (self.is_trusted, self.fields) {
            (false, _) => {
                format!("{header} (server.forwarded_header): ignored, because the peer is not trusted")
            }
            (true, 0) => format!("{header} (server.forwarded_header): not in the request"),
            (true, _) => format!("{header} (server.forwarded_header), from the right:"),
        });
        lines.extend(self.hops.iter().enumerate().map(|(at, hop)| format!("  {}. {}", at + 1, told(*hop))));
        if ignored && self.is_trusted {
            lines.push(format!(
                "{}: ignored, because server.forwarded_header names the other",
                other(self.header)
            ));
        }

        lines.push(format!("address of the client: {}", self.address));
        lines.push(format!("limited by the network: {}", self.network()));
        lines
    }

    fn json(&self) -> Value {
        let hops = self.hops.iter().map(|hop| {
            let (entry, address, verdict) = match hop {
                Hop::Proxy(entry, address) => (Some(text(entry)), Some(address), "proxy"),
                Hop::Client(entry, address) => (Some(text(entry)), Some(address), "client"),
                Hop::Unreadable(entry) => (Some(text(entry)), None, "unreadable"),
                Hop::TooMany => (None, None, "too_many"),
            };
            json!({ "entry": entry, "address": address, "verdict": verdict })
        });
        json!({
            "peer": match self.peer {
                Peer::UnixSocket => "unix".to_owned(),
                peer @ (Peer::Address(_) | Peer::Unnamed(_)) => peer.address().to_string(),
            },
            "peer_is_trusted": self.is_trusted,
            "header": self.header.name(),
            "fields": self.fields,
            "hops": hops.collect::<Vec<_>>(),
            "address": self.address,
            "network": self.network(),
        })
    }
}

fn told(hop: Hop<'_>) -> String {
    match hop {
        Hop::Proxy(entry, address) => {
            format!("`{}`: {address}, a trusted proxy; the next one counts", text(entry))
        }
        Hop::Client(entry, address) => {
            format!("`{}`: {address}, not a trusted proxy: the client", text(entry))
        }
        Hop::Unreadable(entry) => format!("`{}`: unreadable; the last trusted address counts", text(entry)),
        Hop::TooMany => "more entries than are read; the last trusted address counts".to_owned(),
    }
}

fn text(entry: &[u8]) -> String {
    String::from_utf8_lossy(entry.trim_ascii()).into_owned()
}
