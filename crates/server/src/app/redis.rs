//! The connection to Redis, and what nodes share by it.

use std::sync::Arc;

use auth::Services;
use store::redis::{Address, Broadcast, Limits, Redis};
use uuid::Uuid;

use super::lifecycle::{Stage, Tasks};
use super::start_error::StartError;
use crate::config::{Config, RedisUrl};

/// The name of the component in readiness.
pub(crate) const REDIS: &str = "redis";

/// Describes the Redis of `redis.url`; it is connected to at its first use.
pub(crate) fn connect(url: &RedisUrl, config: &Config) -> Result<Redis, StartError> {
    described(url, config, Redis::new)
}

/// Shares the limits of the services with the other nodes, and tells them of ended sessions, where there is a
/// Redis.
pub(crate) fn share(config: &Config, services: &Arc<Services>, tasks: &Tasks) -> Result<(), StartError> {
    let Some(url) = &config.redis.url else { return Ok(()) };
    let (spawner, stop) = (tasks.spawner(Stage::Working), tasks.stop().working.clone());
    let names = services.redis_names();
    let redis = connect(url, config)?;
    services.limits.share(Limits::new(redis, &names, &spawner, stop.clone()));

    let broadcast = Broadcast::new(&names, Uuid::from_bytes(services.rng.bytes()), |receiver| {
        described(url, config, |address, authorities| Redis::receiving(address, authorities, receiver))
    })?;
    let (changed, heard) = (Arc::clone(services), Arc::clone(services));
    let changed = move || {
        let services = Arc::clone(&changed);
        async move { services.revocations.added().await }
    };
    broadcast.spawn(&spawner, stop, changed, move || heard.revocations.note_news());
    Ok(())
}

fn described(
    url: &RedisUrl,
    config: &Config,
    describe: impl FnOnce(Address, Option<&[u8]>) -> Result<Redis, store::Error>,
) -> Result<Redis, StartError> {
    const KEY: &str = "redis.tls_ca_file";
    let file = config.redis.tls_ca_file.as_ref().filter(|_| url.address().is_secure());
    let authorities = file.map(|file| {
        std::fs::read(file)
            .map_err(|why| StartError::Setting { key: KEY, why: format!("{}: {why}", file.display()) })
    });
    describe(url.address().clone(), authorities.transpose()?.as_deref())
        .map_err(|why| StartError::Setting { key: KEY, why: why.to_string() })
}
