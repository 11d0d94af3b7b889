//! `[server]`

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::section;
use crate::config::url::{WebOrigin, WebUrl};

section! {
    /// Listeners, addresses and limits of connections.
    pub struct ServerConfig in "server." {
        /// The address of the public listener.
        listen: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 8080)), example: "0.0.0.0:8080";
        /// The address of the operations listener, which serves metrics and health checks; empty for none.
        ops_listen: Option<SocketAddr> = Some(SocketAddr::from(([127, 0, 0, 1], 9464))),
            example: "0.0.0.0:9464";
        /// The URL at which clients reach the public listener.
        public_url: Option<WebUrl> = None, shown: "derived from `server.listen`",
            example: "https://auth.example.org";
        /// Networks of proxies whose `Forwarded` and `X-Forwarded-For` headers are trusted.
        trusted_proxies: Vec<IpNet> = Vec::new(), example: "10.0.0.0/8";
        /// Web origins whose pages may call the API (CORS).
        cors_allowed_origins: Vec<WebOrigin> = Vec::new(), example: "https://app.example.org";
        /// How long a request may take before it is answered 503.
        request_timeout: Duration = Duration::from_secs(10), example: "10s";
        /// How long the readiness check fails before the listener closes, so that load balancers stop sending
        /// requests.
        shutdown_delay: Duration = Duration::from_secs(5),
            shown: "`5s`; `0s` with the embedded database", example: "15s";
        /// How many connections may be open at once; more wait in the system's accept queue.
        max_connections: u32 = 10_000, example: "10000";
        /// The file of the public listener's certificate chain (PEM); it is read again when it changes.
        tls_cert_file: Option<PathBuf> = None, example: "/etc/gatewright/tls.crt";
        /// The file of the private key (PEM) of `server.tls_cert_file`.
        tls_key_file: Option<PathBuf> = None, example: "/etc/gatewright/tls.key";
    }
}
