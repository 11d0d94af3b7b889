//! Fixtures of Gatewright's tests: throwaway servers, a proxy that breaks connections, and plain clients.
//!
//! Nothing here is part of the product. Everything that this crate starts is ended by its `Drop`, and by a
//! watchdog when the test process itself is killed. A failure in a fixture panics with the reason.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::missing_panics_doc,
    reason = "a test tool: a panic here fails the test with its reason"
)]
#![expect(
    clippy::disallowed_methods,
    reason = "starts real processes, which live by the machine's clock and environment"
)]

pub mod http;
mod pgbouncer;
pub mod ports;
pub mod postgres;
pub mod process;
mod process_tree;
pub mod proxy;
pub mod random;
pub mod raw;
pub mod redis;
mod redis_groups;
pub mod reverse_proxy;
mod scratch;
pub mod secrets;
mod supervise;
mod terminal;
mod transaction_pooler;
pub mod unprivileged;
mod wait;

pub use http::{Client, Response};
pub use pgbouncer::PgBouncer;
pub use ports::free_port;
pub use postgres::{Database, Postgres, SharedPostgres};
pub use process::Server;
pub use proxy::{Direction, Proxy};
pub use redis::{Redis, SharedRedis};
pub use redis_groups::{RedisCluster, RedisSentinels};
pub use scratch::Scratch;
pub use secrets::write_secret;
pub use terminal::Terminal;
pub use transaction_pooler::{PoolerSettings, TransactionPooler};
