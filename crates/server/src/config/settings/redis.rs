//! `[redis]`

use super::section;
use crate::config::url::RedisUrl;

section! {
    /// Redis or Valkey.
    pub struct RedisConfig in "redis." {
        /// The URL of Redis or Valkey; empty for none. `redis://user:password@host:port/database` is a
        /// server, `unix:///path` one at a socket, `redis+sentinel://host:port,host:port/service/database`
        /// the primary that Sentinels name, `redis+cluster://host:port,host:port` a Cluster with some of its
        /// nodes. `rediss` in place of `redis` means TLS. User and password are those of the data nodes;
        /// Sentinels get `?sentinel_username=…&sentinel_password=…`.
        url: Option<RedisUrl> = None, example: "redis://redis.example.org:6379";
    }
}
