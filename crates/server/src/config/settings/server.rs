//! `[server]`

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use listener::Limits;
use protocol::wire::forwarded::{ForwardedHeader, TrustedProxies};

use super::section;
use crate::config::check::Report;
use crate::config::listen::ListenAddress;
use crate::config::url::{WebOrigin, WebUrl};
use crate::config::value::words;

words! {
    /// A header that names the client's address.
    pub enum ForwardedHeaderName, "`x-forwarded-for` or `forwarded`" {
        /// `X-Forwarded-For`.
        XForwardedFor = "x-forwarded-for",
        /// `Forwarded` (RFC 7239).
        Forwarded = "forwarded",
    }
}

words! {
    /// Whether proxies name the client in front of what they pass on.
    pub enum ProxyProtocol, "`off` or `v2`" {
        /// They do not.
        Off = "off",
        /// By version 2 of the PROXY protocol.
        V2 = "v2",
    }
}

/// This port of the loopback address.
fn tcp(port: u16) -> ListenAddress {
    ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], port)))
}

impl From<ForwardedHeaderName> for ForwardedHeader {
    fn from(name: ForwardedHeaderName) -> Self {
        match name {
            ForwardedHeaderName::XForwardedFor => Self::XForwardedFor,
            ForwardedHeaderName::Forwarded => Self::Forwarded,
        }
    }
}

section! {
    /// Listeners, addresses and limits of connections.
    pub struct ServerConfig in "server." {
        /// The addresses of the public listener. The peer of a Unix socket counts as a trusted proxy; its
        /// owner and its group may connect.
        listen: Vec<ListenAddress> = vec![tcp(8080)], example: "0.0.0.0:8080,unix:/run/gatewright/http.sock";
        /// The address of the operations listener, which serves metrics and health checks; empty for none.
        ops_listen: Option<ListenAddress> = Some(tcp(9464)), example: "0.0.0.0:9464";
        /// The URL at which clients reach the public listener.
        public_url: Option<WebUrl> = None, shown: "derived from the first IP address of `server.listen`",
            example: "https://auth.example.org";
        /// Networks of proxies that are trusted to name the client's address, in `server.forwarded_header` or
        /// by `server.proxy_protocol`. A proxy has no share of the connections; every other peer has an
        /// eighth.
        trusted_proxies: Vec<IpNet> = Vec::new(), example: "10.0.0.0/8";
        /// Whether each connection of a trusted proxy, or of a Unix socket, begins with a header of the PROXY
        /// protocol, version 2, which names the client. Without a valid one the connection is closed.
        proxy_protocol: ProxyProtocol = ProxyProtocol::Off, example: "v2";
        /// The header to which the trusted proxies append the address of their peer. The other header is
        /// ignored, because a proxy passes it on as the client sent it.
        forwarded_header: ForwardedHeaderName = ForwardedHeaderName::XForwardedFor, example: "forwarded";
        /// Whether the trusted proxies set `X-Request-Id`, or remove a client's. If so, it is the id of the
        /// request in logs and in the audit trail.
        trust_request_id: bool = web::Settings::default().trust_request_id, example: "true";
        /// Origins whose pages may call the API (CORS): of the web, of web views (`capacitor://localhost`)
        /// and of extensions; for development, `http://localhost:*` is that host with any port.
        cors_allowed_origins: Vec<WebOrigin> = Vec::new(), example: "https://app.example.org";
        /// Whether browsers are told to use https for all subdomains of the public URL's host too.
        hsts_include_subdomains: bool = web::Settings::default().hsts_include_subdomains, example: "false";
        /// How long a request may take before it is answered 503.
        request_timeout: Duration = web::Settings::default().request_timeout,
            within: Duration::from_millis(100) => Duration::from_mins(10), example: "10s";
        /// How long the readiness check fails before the listener closes, so that load balancers stop sending
        /// requests.
        shutdown_delay: Duration = Duration::from_secs(5),
            within: Duration::ZERO => Duration::from_mins(10),
            shown: "`5s`; `0s` with the embedded database", example: "15s";
        /// How many connections may be open at once. A client may have an eighth of them, an IPv6 network of
        /// 48 bits a quarter. For each one above that, or above the sum, an idle one is closed; while all are
        /// busy, a client at its share is refused, and others wait in the system's accept queue. Fewer where
        /// the process may not open as many files.
        max_connections: u32 = Limits::default().connections, within: 1 => 1_000_000, example: "10000";
        /// The file of the public listener's certificate chain (PEM); it is read again when it changes.
        tls_cert_file: Option<PathBuf> = None, example: "/etc/gatewright/tls.crt";
        /// The file of the private key (PEM) of `server.tls_cert_file`.
        tls_key_file: Option<PathBuf> = None, example: "/etc/gatewright/tls.key";
    }
}

impl From<&ServerConfig> for Limits {
    fn from(config: &ServerConfig) -> Self {
        Self {
            connections: config.max_connections,
            header_bytes: model::bounds::HEADER_BYTES,
            ..Self::default()
        }
    }
}

impl ServerConfig {
    /// The first address of the public listener that is no Unix socket.
    pub fn first_tcp(&self) -> Option<SocketAddr> {
        self.listen.iter().find_map(ListenAddress::tcp)
    }

    /// The public URL before the public listener is bound.
    pub fn public_url(&self) -> String {
        self.public_url_at(self.first_tcp().unwrap_or(SocketAddr::from(([127, 0, 0, 1], 8080))))
    }

    /// The trusted proxies.
    pub fn proxies(&self) -> TrustedProxies {
        self.trusted_proxies.iter().copied().collect()
    }

    /// The public URL: the configured one, or one derived from the listening address.
    pub fn public_url_at(&self, listening: SocketAddr) -> String {
        if let Some(url) = &self.public_url {
            return url.base().to_owned();
        }
        let scheme = if self.tls_cert_file.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", reachable(listening))
    }

    pub(super) fn apply_to(&self, settings: &mut web::Settings) {
        settings.trusted_proxies = self.proxies();
        settings.forwarded_header = self.forwarded_header.into();
        settings.trust_request_id = self.trust_request_id;
        settings.cors_allowed_origins =
            self.cors_allowed_origins.iter().map(|at| at.as_str().to_owned()).collect();
        settings.hsts_include_subdomains = self.hsts_include_subdomains;
        settings.request_timeout = self.request_timeout;
        settings.max_requests = self.max_connections as usize;
    }

    pub(crate) fn check(&self, report: &mut Report<'_>) {
        match (&self.tls_cert_file, &self.tls_key_file) {
            (Some(_), None) => {
                report.error("server.tls_cert_file", "server.tls_key_file is required with it");
            }
            (None, Some(_)) => {
                report.error("server.tls_key_file", "server.tls_cert_file is required with it");
            }
            _ => {}
        }
        self.check_addresses(report);

        let is_remote = |at: &ListenAddress| at.tcp().is_some_and(|at| !at.ip().is_loopback());
        if self.listen.iter().any(is_remote) {
            self.check_public_url(report);
        }
        let has_proxies =
            !self.trusted_proxies.is_empty() || self.listen.iter().any(|at| at.unix().is_some());
        if self.proxy_protocol == ProxyProtocol::V2 && !has_proxies {
            report.error("server.proxy_protocol", "server.trusted_proxies is required with it");
        }
        if self.trust_request_id && self.trusted_proxies.is_empty() {
            report.error("server.trust_request_id", "server.trusted_proxies is required with it");
        }
        if self.trusted_proxies.iter().any(|network| network.prefix_len() == 0) {
            report.warn("server.trusted_proxies trusts every address: any client can forge its own");
        }
        if self.ops_listen.as_ref().and_then(ListenAddress::tcp).is_some_and(|at| at.ip().is_unspecified()) {
            report.warn("server.ops_listen listens on every interface: metrics are not authenticated");
        }
    }

    /// Reports a public URL that does not fit a listener which other machines reach.
    fn check_public_url(&self, report: &mut Report<'_>) {
        match &self.public_url {
            None => {
                let url = self.public_url();
                report.warn(format!(
                    "server.public_url is not set: tokens and links name {url}, which clients elsewhere may \
                     not reach"
                ));
                if self.tls_cert_file.is_none() {
                    report.warn("server.listen has no TLS: passwords and tokens are sent unencrypted");
                }
            }
            Some(url) => {
                if url.is_here() {
                    report.warn("server.public_url is of this machine, but server.listen is open to others");
                }
                if !url.is_https() {
                    report.warn("server.public_url is not https: passwords and tokens are sent unencrypted");
                }
            }
        }
    }

    fn check_addresses(&self, report: &mut Report<'_>) {
        if self.listen.is_empty() {
            report.error("server.listen", "at least one address is required");
        } else if self.first_tcp().is_none() && self.public_url.is_none() {
            report.error("server.public_url", "it is required when server.listen has no IP address");
        }
        let is_twice = |(at, address): (usize, &ListenAddress)| {
            self.listen.iter().take(at).any(|earlier| earlier.is_taken_by(address))
        };
        if self.listen.iter().enumerate().any(is_twice) {
            report.error("server.listen", "an address is listed twice");
        }
        let is_taken = |at: &ListenAddress| self.listen.iter().any(|address| address.is_taken_by(at));
        if self.ops_listen.as_ref().is_some_and(is_taken) {
            report.error("server.ops_listen", "it is the same address as server.listen");
        }
    }
}

/// An address that a program on this machine can connect to.
pub fn reachable(listening: SocketAddr) -> SocketAddr {
    let ip = match listening.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listening.port())
}
