//! Scripts that decide about one key.

use redis::{ErrorKind, FromRedisValue, RedisError, ServerErrorKind};

use crate::redis::connection::Link;

/// A script and its hash.
pub(super) struct Script {
    text: &'static str,
    hash: String,
}

impl Script {
    pub(super) fn new(text: &'static str) -> Self {
        Self { text, hash: redis::Script::new(text).get_hash().to_owned() }
    }

    /// Runs the script. A server that does not know it gets its text.
    pub(super) async fn run<T: FromRedisValue>(
        &self,
        link: &mut Link,
        key: &str,
        numbers: &[u64],
        now: Option<u64>,
    ) -> Result<T, RedisError> {
        let command = |verb: &str, script: &str| {
            let mut command = redis::cmd(verb);
            command.arg(script).arg(1).arg(key).arg(numbers);
            command.arg(now.map(|now| now.to_string()).unwrap_or_default());
            command
        };
        // Not `SCRIPT LOAD`, which a Cluster sends to every node, also to those that are away.
        match link.ask(&command("EVALSHA", &self.hash)).await {
            Err(why) if why.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                link.ask(&command("EVAL", self.text)).await
            }
            answer => answer,
        }
    }
}
