//! A stream to which entries are appended.

use std::time::Duration;

use tokio::time::timeout;

use super::Redis;
use crate::Error;

/// A stream of Redis or Valkey.
#[derive(Debug)]
pub struct RedisStream {
    redis: Redis,
    key: String,
    keep: Option<u64>,
    limit: Duration,
}

/// One entry: pairs of field name and value.
pub type Entry<'a> = Vec<(&'a str, &'a [u8])>;

impl RedisStream {
    /// The stream `key`, which keeps about `keep` entries; each use may take as long as `limit`.
    pub fn new(redis: Redis, key: &str, keep: Option<u64>, limit: Duration) -> Self {
        Self { redis, key: key.to_owned(), keep, limit }
    }

    /// Appends entries in order. After an error some of them may be stored.
    ///
    /// # Errors
    /// [`Error::Unavailable`], also when the server refuses a command.
    pub async fn add(&self, entries: &[Entry<'_>]) -> Result<(), Error> {
        let mut commands = redis::pipe();
        for entry in entries {
            let command = commands.cmd("XADD").arg(&self.key);
            if let Some(keep) = self.keep {
                command.arg("MAXLEN").arg("~").arg(keep);
            }
            command.arg("*");
            for (name, value) in entry {
                command.arg(*name).arg(*value);
            }
            command.ignore();
        }

        let added = timeout(self.limit, async {
            let mut link = self.redis.connected().await?;
            link.ask_all::<()>(&commands).await
        });
        let added = match added.await {
            Ok(added) => added.map_err(|why| why.to_string()),
            Err(_) => Err(format!("no answer within {:?}", self.limit)),
        };
        added.map_err(|why| {
            // A connection is used again only after success.
            self.redis.disconnect();
            Error::Unavailable(format!("Redis: {why}"))
        })
    }
}
