//! `[redis]`

use super::section;
use crate::config::url::RedisUrl;

section! {
    /// Redis or Valkey.
    pub struct RedisConfig in "redis." {
        /// The URL of Redis or Valkey; empty for none.
        url: Option<RedisUrl> = None, example: "redis://redis.example.org:6379";
    }
}
