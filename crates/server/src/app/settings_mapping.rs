//! Maps the configuration to the settings of each crate.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

use auth::account::ProfileSchema;
use auth::password::{Blocklist, Breaches, PasswordSettings};
use hashing::Scheme;
use model::{Now, Secret};
use protocol::wire::algorithm::Algorithm;
use protocol::wire::forwarded::TrustedProxies;
use protocol::wire::scope::Scope;

use crate::app::cpu_quota::cpu_quota;
use crate::app::start_error::StartError;
use crate::config::{self, Audience, Config, DatabaseUrl, PasswordAlgorithm, SigningAlgorithm, Subject};

/// The public URL: the configured one, or one derived from the listening address.
pub fn public_url(config: &Config, listening: SocketAddr) -> String {
    if let Some(url) = &config.server.public_url {
        return url.base().to_owned();
    }
    let scheme = if config.server.tls_cert_file.is_some() { "https" } else { "http" };
    format!("{scheme}://{}", reachable(listening))
}

/// An address that a program on this machine can connect to.
pub fn reachable(listening: SocketAddr) -> SocketAddr {
    let ip = match listening.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listening.port())
}

/// The settings of the store.
pub fn store(config: &Config) -> store::Settings {
    let database = &config.database;
    let location = match &database.url {
        DatabaseUrl::Sqlite(path) => store::Location::Sqlite(path.clone()),
        DatabaseUrl::Postgres(url) => store::Location::Postgres {
            url: url.expose().expose().clone(),
            schema: database.schema.as_str().to_owned(),
            tls_ca_file: database.tls_ca_file.clone(),
        },
    };
    store::Settings {
        location,
        pool_min: database.pool_min as usize,
        pool_max: database.pool_max as usize,
        acquire_timeout: database.acquire_timeout,
        statement_timeout: database.statement_timeout,
        forbid_second_acquire: false,
        faults: None,
    }
}

/// The settings of `web`.
///
/// # Errors
/// [`StartError::Setting`].
pub fn web(config: &Config, public_url: &str) -> Result<web::Settings, StartError> {
    let server = &config.server;
    let networks: Vec<_> = server.trusted_proxies.iter().map(ToString::to_string).collect();
    let trusted_proxies = TrustedProxies::parse(networks.iter().map(String::as_str))
        .map_err(|why| StartError::Setting { key: "server.trusted_proxies", why: why.to_string() })?;
    Ok(web::Settings {
        public_url: public_url.to_owned(),
        trusted_proxies,
        cors_allowed_origins: server.cors_allowed_origins.iter().map(|at| at.as_str().to_owned()).collect(),
        request_timeout: server.request_timeout,
        health_timeout: config.health.timeout,
        legacy_enabled: config.legacy.enabled,
        legacy_sunset: config.legacy.sunset.map(beginning_of),
        max_requests: server.max_connections as usize,
        audit_required: config.audit.required,
    })
}

fn beginning_of(day: jiff::civil::Date) -> Now {
    let zoned = day.to_zoned_datetime(jiff::tz::TimeZone::UTC);
    Now::from_seconds(zoned.map_or(0, |zoned| zoned.timestamp().as_second()))
}

/// The settings of `auth`, including the files that they name.
///
/// # Errors
/// [`StartError::Setting`].
pub fn auth(config: &Config, public_url: &str) -> Result<auth::Settings, StartError> {
    let tokens = &config.tokens;
    let issuer = tokens.issuer.as_ref().map_or_else(|| public_url.to_owned(), |url| url.as_str().to_owned());
    let audience = match &tokens.audience {
        Audience::Issuer => Some(issuer.clone()),
        Audience::Omitted => None,
        Audience::Named(name) => Some(name.clone()),
    };

    let algorithm = match tokens.algorithm {
        SigningAlgorithm::Es256 => Algorithm::Es256,
        SigningAlgorithm::EdDsa => Algorithm::EdDsa,
        SigningAlgorithm::Rs256 => Algorithm::Rs256,
        SigningAlgorithm::Hs256 => Algorithm::Hs256,
    };

    Ok(auth::Settings {
        passwords: passwords(config, &issuer)?,
        issuer,
        audience,
        subject_is_uuid: tokens.subject == Subject::Uuid,
        algorithm,
        access_ttl: tokens.access_ttl,
        refresh_ttl: tokens.refresh_ttl,
        session_ttl: tokens.session_ttl,
        refresh_grace: tokens.refresh_grace,
        refresh_late_replay: tokens.refresh_late_replay,
        revocation_max_stale: tokens.revocation_max_stale,
        key_rotation: tokens.key_rotation,
        scopes: scopes(config)?,
        attributes: attributes(config)?,
    })
}

/// The share of a CPU quota that hashing may use: requests and the database need the rest.
const SHARE_OF_QUOTA: f64 = 0.8;

/// The CPUs of this machine, or the CPU quota if it is smaller.
fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn passwords(config: &Config, issuer: &str) -> Result<PasswordSettings, StartError> {
    let passwords = &config.passwords;
    let scheme = match passwords.algorithm {
        PasswordAlgorithm::Argon2id => Scheme::Argon2id {
            memory_kib: u32::try_from(passwords.argon2_memory.0 / 1024).unwrap_or(u32::MAX),
            iterations: passwords.argon2_iterations,
        },
        PasswordAlgorithm::Bcrypt => Scheme::Bcrypt { cost: passwords.bcrypt_cost },
    };
    let quota = cpu_quota();
    let threads = passwords.hash_threads.map_or_else(cores, |threads| threads as usize);
    let blocklist = match &passwords.blocklist {
        config::Blocklist::Common => Blocklist::Common,
        config::Blocklist::Off => Blocklist::Off,
        config::Blocklist::File(path) => Blocklist::from_lines(&read("passwords.blocklist", path)?),
    };
    let breaches = passwords.breach_filter.as_deref().map(|path| {
        Breaches::open(path).map_err(|why| StartError::Setting {
            key: "passwords.breach_filter",
            why: format!("{}: {why}", path.display()),
        })
    });
    let breaches = breaches.transpose()?;
    let host = issuer.split_once("://").map_or(issuer, |(_, rest)| rest);
    let host = host.split(['/', ':']).next().unwrap_or_default();
    let hashing = hashing::Settings {
        scheme,
        threads,
        processor_share: quota.map(|quota| quota * SHARE_OF_QUOTA),
        queue_deadline: passwords.queue_deadline,
    };

    Ok(PasswordSettings {
        hashing,
        min_length: passwords.min_length as usize,
        blocklist,
        breaches,
        pepper: passwords.pepper,
        service_names: ["gatewright", host].into_iter().map(str::to_owned).collect(),
    })
}

fn scopes(config: &Config) -> Result<BTreeMap<String, Scope>, StartError> {
    let scope = |(role, words): (&String, &Vec<String>)| {
        let scope = Scope::parse(&words.join(" ")).map_err(|_| StartError::Setting {
            key: "accounts.scopes",
            why: format!("the scopes of `{role}` are too many, or one is not a scope"),
        })?;
        Ok((role.clone(), scope))
    };
    config.accounts.scopes.0.iter().map(scope).collect()
}

fn attributes(config: &Config) -> Result<ProfileSchema, StartError> {
    const KEY: &str = "accounts.attributes_schema_file";
    let Some(path) = &config.accounts.attributes_schema_file else { return Ok(ProfileSchema::default()) };
    let text = read(KEY, path)?;
    let schema = serde_json::from_str(&text).map_err(|why| why.to_string());
    schema
        .and_then(|schema| ProfileSchema::new(&schema))
        .map_err(|why| StartError::Setting { key: KEY, why: format!("{}: {why}", path.display()) })
}

/// The secret of HS256, if that algorithm is configured.
///
/// # Errors
/// [`StartError::Setting`] when its file cannot be read.
pub fn shared_secret(config: &Config) -> Result<Option<Secret<Vec<u8>>>, StartError> {
    const KEY: &str = "tokens.hs256_secret_file";
    let path = config.tokens.hs256_secret_file.as_ref();
    let Some(path) = path.filter(|_| config.tokens.algorithm == SigningAlgorithm::Hs256) else {
        return Ok(None);
    };
    let bytes = std::fs::read(path).map_err(|why| unreadable(KEY, path, &why))?;
    let mut secret = Secret::new(bytes);
    // Removes the final newline that editors add; the applications that share the secret do so as well.
    if secret.expose().ends_with(b"\n") {
        let end = if secret.expose().ends_with(b"\r\n") { 2 } else { 1 };
        let kept = secret.expose().len().saturating_sub(end);
        secret = Secret::new(secret.expose().get(..kept).unwrap_or_default().to_vec());
    }
    Ok(Some(secret))
}

fn read(key: &'static str, path: &Path) -> Result<String, StartError> {
    std::fs::read_to_string(path).map_err(|why| unreadable(key, path, &why))
}

fn unreadable(key: &'static str, path: &Path, why: &std::io::Error) -> StartError {
    StartError::Setting { key, why: format!("{} cannot be read: {why}", path.display()) }
}
