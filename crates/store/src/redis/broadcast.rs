//! A channel on which nodes tell each other that something has changed.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use model::hex;
use redis::{Cmd, PushInfo, PushKind, RedisError, Value};
use runtime::Spawner;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::Redis;
use super::connection::Link;

/// The longest time for connecting, all Sentinels and nodes together, and for one command.
const ANSWER: Duration = Duration::from_secs(3);
/// How often a node sends a message to itself, to find out whether messages arrive.
const TRIAL: Duration = Duration::from_secs(1);
/// A connection on which no message arrived for so long is replaced.
const SILENCE: Duration = Duration::from_secs(3);
/// The pause before another connection.
const PAUSE: Duration = Duration::from_millis(250);

/// Sends and receives messages without content: each says that something has changed, and a node that hears
/// it looks into the database. A lost message costs time only, because nodes look there by themselves, too.
pub struct Broadcast {
    redis: Redis,
    channel: String,
    /// The channel on which only this node sends.
    own: String,
    heard: Arc<Heard>,
}

/// What has arrived.
#[derive(Default)]
struct Heard {
    news: Notify,
    trial: Notify,
}

impl Broadcast {
    /// A broadcast on a channel whose name is made with `secret`, which the nodes of a realm share and other
    /// realms do not; `node` is this one's random number. `redis` makes the connection, and gets the receiver
    /// of its messages.
    ///
    /// # Errors
    /// Those of `redis`.
    pub fn new<E>(
        secret: &[u8],
        node: Uuid,
        redis: impl FnOnce(Receiver) -> Result<Redis, E>,
    ) -> Result<Self, E> {
        let digest = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), b"news");
        let name = hex::encode(digest.as_ref().get(..16).unwrap_or_default());
        let channel = format!("gatewright:news:{{{name}}}");
        let own = format!("gatewright:trial:{{{name}}}:{}", node.simple());
        let heard = Arc::new(Heard::default());
        let receiver = Receiver { news: channel.clone(), trial: own.clone(), heard: Arc::clone(&heard) };
        Ok(Self { redis: redis(receiver)?, channel, own, heard })
    }

    /// Until `stop`, sends a message whenever `changed` ends, and calls `look` for each message of any node.
    /// Messages that follow each other closely may be one.
    pub fn spawn<C: Future<Output = ()> + Send>(
        self,
        spawner: &Spawner,
        stop: CancellationToken,
        changed: impl Fn() -> C + Send + Sync + 'static,
        look: impl Fn() + Send + Sync + 'static,
    ) {
        spawner.spawn("broadcast by Redis", async move {
            stop.run_until_cancelled(self.run(changed, look)).await;
        });
    }

    async fn run<C: Future<Output = ()> + Send>(
        &self,
        changed: impl Fn() -> C + Send + Sync,
        look: impl Fn() + Send + Sync,
    ) {
        let mut was_away = false;
        loop {
            let why = match within(self.subscribed()).await {
                Ok(link) => {
                    // What was sent before the subscription is not heard.
                    look();
                    self.exchange(link, &mut was_away, &changed, &look).await
                }
                Err(why) => why,
            };

            if !std::mem::replace(&mut was_away, true) {
                tracing::warn!(
                    why,
                    "Redis does not tell the nodes of ended sessions; they look by themselves"
                );
            }
            sleep(PAUSE).await;
        }
    }

    /// Opens a connection that receives messages.
    async fn subscribed(&self) -> Result<Link, RedisError> {
        self.redis.reconnect().await?;
        let mut link = self.redis.connected().await?;
        link.subscribe(&[&self.channel, &self.own]).await?;
        Ok(link)
    }

    /// Sends and receives until the connection fails; returns why it does. The first message that arrives
    /// ends an absence.
    async fn exchange<C: Future<Output = ()> + Send>(
        &self,
        mut link: Link,
        was_away: &mut bool,
        changed: impl Fn() -> C + Send + Sync,
        look: impl Fn() + Send + Sync,
    ) -> String {
        let mut trials = interval(TRIAL);
        trials.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut heard_at = Instant::now();

        loop {
            let channel = tokio::select! {
                () = changed() => &self.channel,
                () = self.heard.news.notified() => {
                    look();
                    continue;
                }
                () = self.heard.trial.notified() => {
                    heard_at = Instant::now();
                    if std::mem::take(was_away) {
                        tracing::info!("Redis tells the nodes of ended sessions again");
                    }
                    continue;
                }
                _ = trials.tick() => {
                    if heard_at.elapsed() > SILENCE {
                        return format!("no message has arrived for {SILENCE:?}");
                    }
                    &self.own
                }
            };

            if let Err(why) = within(link.ask::<()>(&publish(channel))).await {
                return why;
            }
        }
    }
}

/// Receives the messages of a [`Broadcast`].
pub struct Receiver {
    news: String,
    trial: String,
    heard: Arc<Heard>,
}

impl Receiver {
    pub(super) fn receive(&self, push: &PushInfo) {
        // A connection that was closed shows by the next message to itself.
        let (PushKind::Message, Some(Value::BulkString(channel))) = (&push.kind, push.data.first()) else {
            return;
        };
        if *channel == self.news.as_bytes() {
            self.heard.news.notify_one();
        } else if *channel == self.trial.as_bytes() {
            self.heard.trial.notify_one();
        }
    }
}

fn publish(channel: &str) -> Cmd {
    let mut command = redis::cmd("PUBLISH");
    command.arg(channel).arg("");
    command
}

async fn within<T>(answer: impl Future<Output = Result<T, RedisError>>) -> Result<T, String> {
    match timeout(ANSWER, answer).await {
        Ok(answer) => answer.map_err(|why| why.to_string()),
        Err(_) => Err(format!("no answer within {ANSWER:?}")),
    }
}
