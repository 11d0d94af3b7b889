//! The connection to Redis, and the limits that nodes share by it.

use auth::Services;
use store::redis::{Limits, Redis};

use super::lifecycle::{Stage, Tasks};
use super::start_error::StartError;
use crate::config::{Config, RedisUrl};

/// The name of the component in readiness.
pub(crate) const REDIS: &str = "redis";

/// Describes the Redis of `redis.url`; it is connected to at its first use.
pub(crate) fn connect(url: &RedisUrl, config: &Config) -> Result<Redis, StartError> {
    const KEY: &str = "redis.tls_ca_file";
    let file = config.redis.tls_ca_file.as_ref().filter(|_| url.address().is_secure());
    let authorities = file.map(|file| {
        std::fs::read(file)
            .map_err(|why| StartError::Setting { key: KEY, why: format!("{}: {why}", file.display()) })
    });
    Redis::new(url.address().clone(), authorities.transpose()?.as_deref())
        .map_err(|why| StartError::Setting { key: KEY, why: why.to_string() })
}

/// Shares the limits of the services with the other nodes, where there is a Redis.
pub(crate) fn share_limits(config: &Config, services: &Services, tasks: &Tasks) -> Result<(), StartError> {
    let Some(url) = &config.redis.url else { return Ok(()) };
    let redis = connect(url, config)?;
    let (spawner, stop) = (tasks.spawner(Stage::Working), tasks.stop().working.clone());
    services.limits.share(Limits::new(redis, &services.limit_names(), &spawner, stop));
    Ok(())
}
