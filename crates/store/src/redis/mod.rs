//! Redis or Valkey. Nothing that it holds is the truth: every key may vanish at any time.

mod address;
mod broadcast;
mod connection;
mod limits;
mod stream;

pub use address::Address;
pub use broadcast::{Broadcast, Receiver};
pub use connection::Redis;
pub use limits::{Away, Limits};
pub use stream::{Entry, RedisStream};
