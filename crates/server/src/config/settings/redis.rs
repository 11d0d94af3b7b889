//! `[redis]`

use std::path::PathBuf;

use super::section;
use crate::config::url::RedisUrl;

section! {
    /// Redis or Valkey, by which nodes share their limits of requests. While it is away, each node limits by
    /// itself.
    pub struct RedisConfig in "redis." {
        /// The URL of Redis or Valkey; empty for none. `redis://user:password@host:port/database` is a
        /// server, `unix:///path` one at a socket, `redis+sentinel://host:port,host:port/service/database`
        /// the primary that Sentinels name, `redis+cluster://host:port,host:port` a Cluster with some of its
        /// nodes. `rediss` in place of `redis` means TLS. User and password are those of the data nodes;
        /// Sentinels get `?sentinel_username=…&sentinel_password=…`.
        url: Option<RedisUrl> = None, example: "redis://redis.example.org:6379";
        /// The file of certificates (PEM) of the authorities that may issue the certificate of a `rediss`
        /// server; empty for the authorities that this machine trusts.
        tls_ca_file: Option<PathBuf> = None, example: "/etc/gatewright/redis-ca.pem";
    }
}
