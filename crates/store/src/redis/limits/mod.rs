//! Limits that nodes share: the decisions of [`rate_limit::Limiter`], made by Redis.

mod circuit;
mod denials;
mod script;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::hmac;
use futures_util::future::{join_all, try_join_all};
use model::hex;
use rate_limit::{Backoff, Decision, Key, Rule};
use redis::{FromRedisValue, RedisError};
use runtime::Spawner;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use self::circuit::{Circuits, Part};
use self::denials::Denials;
use self::script::Script;
use super::Redis;

/// How long a decision may take.
const ANSWER: Duration = Duration::from_millis(50);
/// How often a Redis that is away is tried.
const PERIOD: Duration = Duration::from_millis(250);
/// How often a Redis that decides is tried.
const IDLE: Duration = Duration::from_secs(1);
/// The longest time for connecting, all Sentinels and nodes together.
const CONNECT: Duration = Duration::from_secs(3);
/// How long a connection to a Cluster has to find a key's new node by itself, before another one opens.
const SETTLE: Duration = Duration::from_secs(1);
/// How long the refusal of a back-off is remembered here: a success on another node ends it.
const RECENT: Duration = Duration::from_secs(1);
/// How long after an outage was logged further ones are only counted.
const QUIET: Duration = Duration::from_secs(10);
/// What the key that is written to try a part is decided by.
const TRIAL: Backoff =
    Backoff { free: u32::MAX, first: Duration::ZERO, most: Duration::ZERO, forget: Duration::from_secs(1) };

/// Redis did not decide: it is away, too slow, or refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Redis does not answer")]
pub struct Away;

/// Shared limits. Every call answers within 50 ms, and at once while Redis is away.
#[derive(Clone)]
pub struct Limits(Arc<Shared>);

struct Shared {
    redis: Redis,
    circuits: Circuits,
    denials: Denials,
    acquire: Script,
    attempt: Script,
    refund: Script,
    secret: hmac::Key,
    /// How long an answer may take.
    answer: Duration,
    outages: Outages,
}

/// How often Redis went away.
#[derive(Default)]
struct Outages {
    number: AtomicU64,
    /// When one was logged, and how many there had been: short ones that follow each other are logged
    /// together.
    logged: Mutex<Option<(Instant, u64)>>,
}

impl Outages {
    fn begin(&self, why: &str) {
        let number = self.number.fetch_add(1, Ordering::Relaxed) + 1;
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.is_none_or(|(at, _)| at.elapsed() > QUIET) {
            let failures = number - logged.map_or(0, |(_, number)| number);
            tracing::warn!(why, failures, "Redis does not decide about limits; each node limits by itself");
            *logged = Some((Instant::now(), number));
        }
    }

    fn end(&self) {
        let logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.is_some_and(|(_, number)| number == self.number.load(Ordering::Relaxed)) {
            tracing::info!("Redis decides about limits");
        }
    }
}

impl Limits {
    /// Limits in `redis`. Keys are hashed with `secret`, which the nodes of a realm share and other realms do
    /// not. A task connects, and again whenever Redis was away, until `stop`.
    pub fn new(redis: Redis, secret: &[u8], spawner: &Spawner, stop: CancellationToken) -> Self {
        Self::with_answer(ANSWER, redis, secret, spawner, stop)
    }

    fn with_answer(
        answer: Duration,
        redis: Redis,
        secret: &[u8],
        spawner: &Spawner,
        stop: CancellationToken,
    ) -> Self {
        let circuits = Circuits::new(redis.is_cluster());
        let shared = Arc::new(Shared {
            redis,
            circuits,
            denials: Denials::new(),
            acquire: Script::new(include_str!("acquire.lua")),
            attempt: Script::new(include_str!("attempt.lua")),
            refund: Script::new(include_str!("refund.lua")),
            secret: hmac::Key::new(hmac::HMAC_SHA256, secret),
            answer,
            outages: Outages::default(),
        });

        let task = Arc::clone(&shared);
        spawner.spawn("limits in Redis", async move {
            stop.run_until_cancelled(task.keep_connected()).await;
        });
        Self(shared)
    }

    /// How often Redis went away, for some of the keys or all.
    pub fn outages(&self) -> u64 {
        self.0.outages.number.load(Ordering::Relaxed)
    }

    /// Whether Redis decides about every key.
    pub fn is_up(&self) -> bool {
        self.0.redis.current().is_some() && self.0.circuits.off().is_empty()
    }

    /// Whether a key is known to be refused, without asking.
    pub fn refuses(&self, key: Key) -> bool {
        self.0.denials.left(key).is_some()
    }

    /// Counts a request by each rule and key, in one round trip for all. A refusal by one does not keep it
    /// from counting for the others.
    ///
    /// # Errors
    /// [`Away`]; some of the keys may have counted.
    pub async fn acquire(&self, calls: &[(Rule, Key)]) -> Result<Vec<Decision>, Away> {
        try_join_all(calls.iter().map(|(rule, key)| self.decide(rule, *key))).await
    }

    /// Counts an attempt as [`rate_limit::Limiter::attempt`] does; `Ok(Err(wait))` where it has to wait.
    ///
    /// # Errors
    /// [`Away`]; the attempt may have counted.
    pub async fn attempt(&self, backoff: &Backoff, key: Key) -> Result<Result<(), Duration>, Away> {
        if let Some(left) = self.0.denials.left(key) {
            return Ok(Err(left));
        }
        let attempt = self.0.attempt(backoff, &self.0.name(key), None).await?;
        if let Err(wait) = attempt {
            self.0.denials.remember(key, wait, RECENT);
        }
        Ok(attempt)
    }

    /// Forgets the failures of `key`.
    ///
    /// # Errors
    /// [`Away`].
    pub async fn succeeded(&self, key: Key) -> Result<(), Away> {
        self.0.denials.forget(key);
        let name = self.0.name(key);
        let mut command = redis::cmd("DEL");
        command.arg(&name);
        self.0.ask(&name, async |link| link.ask(&command).await).await
    }

    /// Takes the last attempt of `key` back.
    ///
    /// # Errors
    /// [`Away`].
    pub async fn refund(&self, key: Key) -> Result<(), Away> {
        self.0.denials.forget(key);
        self.0.run(&self.0.refund, &self.0.name(key), &[], None).await
    }

    async fn decide(&self, rule: &Rule, key: Key) -> Result<Decision, Away> {
        if let Some(reset) = self.0.denials.left(key) {
            return Ok(Decision { admitted: false, remaining: 0, reset });
        }
        let decision = self.0.acquire(rule, &self.0.name(key), None).await?;
        if !decision.admitted {
            self.0.denials.remember(key, decision.reset, decision.reset);
        }
        Ok(decision)
    }
}

impl Shared {
    /// The name of a key in Redis: half of a keyed hash, since keys may be addresses of clients.
    fn name(&self, key: Key) -> String {
        let digest = hmac::sign(&self.secret, &key.0.to_be_bytes());
        let half = digest.as_ref().get(..16).unwrap_or_default();
        format!("{PREFIX}{}", hex::encode(half))
    }

    /// Decides about one request, at a time that only tests give.
    async fn acquire(&self, rule: &Rule, name: &str, now: Option<u64>) -> Result<Decision, Away> {
        let numbers = [u64::from(rule.most), rule.window_millis(), rule.interval()];
        let (admitted, remaining, reset) = self.run(&self.acquire, name, &numbers, now).await?;
        Ok(Decision { admitted, remaining, reset: Duration::from_millis(reset) })
    }

    async fn attempt(
        &self,
        backoff: &Backoff,
        name: &str,
        now: Option<u64>,
    ) -> Result<Result<(), Duration>, Away> {
        let wait: u64 = self.run(&self.attempt, name, &numbers(backoff), now).await?;
        Ok(if wait == 0 { Ok(()) } else { Err(Duration::from_millis(wait)) })
    }

    async fn run<T: FromRedisValue>(
        &self,
        script: &Script,
        name: &str,
        numbers: &[u64],
        now: Option<u64>,
    ) -> Result<T, Away> {
        self.ask(name, async |link| script.run(link, name, numbers, now).await).await
    }

    /// Calls `command` if Redis is there. If it fails or takes too long, Redis is away for the part of the
    /// key.
    async fn ask<T>(
        &self,
        name: &str,
        command: impl AsyncFnOnce(&mut super::connection::Link) -> Result<T, RedisError>,
    ) -> Result<T, Away> {
        let part = self.circuits.on(name).ok_or(Away)?;
        let mut link = self.redis.current().ok_or(Away)?;
        within(self.answer, command(&mut link)).await.map_err(|why| {
            if self.circuits.trip(part, name) {
                self.outages.begin(&why);
            }
            Away
        })
    }

    /// Connects, and tries the parts that are off until each is on again.
    async fn keep_connected(&self) {
        let mut period = interval(PERIOD);
        period.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut connected: Option<Instant> = None;
        let mut is_stale = false;
        let mut was_refused = false;
        let mut trial = 0_u8;
        loop {
            period.tick().await;
            if connected.is_none() || is_stale {
                if let Err(why) = within(CONNECT, self.redis.reconnect()).await {
                    if connected.is_none() && !was_refused {
                        self.outages.begin(&why);
                        was_refused = true;
                    }
                    continue;
                }
                connected = Some(Instant::now());
                is_stale = false;
            }

            let off = self.circuits.off();
            let tried = join_all(off.iter().map(|(part, key)| self.restore(*part, key))).await;
            if tried.iter().all(|is_on| *is_on) {
                self.outages.end();
                // Without requests, nothing else finds out that Redis went away.
                trial = trial.wrapping_add(1);
                if timeout(IDLE, self.circuits.tripped.notified()).await.is_err() {
                    let _ = self.attempt(&TRIAL, &format!("{PREFIX}trial:{trial}"), None).await;
                }
            } else {
                // A Cluster finds out by itself which node has become the primary of a key.
                let settled = connected.is_none_or(|since| since.elapsed() > SETTLE);
                is_stale = !self.redis.is_cluster() || settled;
            }
        }
    }

    /// Turns a part on if its Redis takes a write in time.
    async fn restore(&self, part: Part, key: &str) -> bool {
        let Some(mut link) = self.redis.current() else { return false };
        let name = format!("{PREFIX}trial:{{{key}}}");
        let numbers = numbers(&TRIAL);
        let tried = within(self.answer, self.attempt.run::<u64>(&mut link, &name, &numbers, None)).await;
        match tried {
            Ok(_) => {
                self.circuits.restore(part);
                true
            }
            Err(why) => {
                tracing::debug!(%why, "Redis was tried and does not decide about limits");
                false
            }
        }
    }
}

async fn within<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, String> {
    match timeout(limit, answer).await {
        Ok(answer) => answer.map_err(|why| why.to_string()),
        Err(_) => Err(format!("no answer within {limit:?}")),
    }
}

/// What the names of keys begin with.
const PREFIX: &str = "gatewright:limit:";

fn numbers(backoff: &Backoff) -> [u64; 4] {
    let [first, most, forget] = [backoff.first, backoff.most, backoff.forget].map(rate_limit::millis);
    [u64::from(backoff.free), first, most, forget]
}

impl fmt::Debug for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits").field("redis", &self.0.redis).finish_non_exhaustive()
    }
}
