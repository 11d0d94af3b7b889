//! Rules about values and combinations of values.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use protocol::wire::password_hash::{ARGON2_MAX_ITERATIONS, ARGON2_MAX_MEMORY, ARGON2_MAX_WORK, BCRYPT_COST};

use super::error::ConfigError;
use super::settings::{Audience, Config, SigningAlgorithm};
use super::source::Source;
use super::value::{ByteSize, RoleScopes, Value};

const DAY: Duration = Duration::from_hours(24);
const YEAR: Duration = Duration::from_hours(24 * 366);

/// Collects errors, each with the place where the setting was written.
struct Report<'a> {
    sources: &'a BTreeMap<&'static str, Source>,
    errors: &'a mut Vec<ConfigError>,
}

impl Report<'_> {
    fn error(&mut self, key: &'static str, problem: impl Into<String>) {
        // A value that could not be read is reported already, and its default is not the intended value.
        if !self.errors.iter().any(|error| error.key == key) {
            let source = self.sources.get(key).cloned().unwrap_or(Source::Default);
            self.errors.push(ConfigError::new(key, source, problem));
        }
    }

    fn within<T: PartialOrd + Value>(&mut self, key: &'static str, value: &T, least: &T, most: &T) {
        if value < least || value > most {
            let words = format!("{} is not from {} to {}", value.text(), least.text(), most.text());
            self.error(key, words);
        }
    }

    fn at_most<T: PartialOrd>(
        &mut self,
        small: (&'static str, &T),
        large: (&'static str, &T),
        show: impl Fn(&T) -> String,
    ) {
        if small.1 > large.1 {
            let (small_text, large_text) = (show(small.1), show(large.1));
            // Reports the setting that was written, not the one that has its default.
            let key = if self.sources.contains_key(small.0) { small.0 } else { large.0 };
            self.error(key, format!("{} ({small_text}) is more than {} ({large_text})", small.0, large.0));
        }
    }
}

/// Checks the configuration: errors go to `errors`, unusual values to `warnings`.
pub(crate) fn check(
    config: &Config,
    sources: &BTreeMap<&'static str, Source>,
    errors: &mut Vec<ConfigError>,
    warnings: &mut Vec<String>,
) {
    let mut report = Report { sources, errors };
    numbers(config, &mut report);
    durations(config, &mut report);
    together(config, &mut report);
    strange(config, sources, warnings);
}

fn numbers(config: &Config, report: &mut Report<'_>) {
    let (passwords, database) = (&config.passwords, &config.database);
    report.within("server.max_connections", &config.server.max_connections, &1, &1_000_000);
    report.within("database.pool_max", &database.pool_max, &1, &10_000);
    report.at_most(
        ("database.pool_min", &database.pool_min),
        ("database.pool_max", &database.pool_max),
        Value::text,
    );

    // A hash above these limits could be created but never verified.
    let (least, most) = (u32::from(*BCRYPT_COST.start()), u32::from(*BCRYPT_COST.end()));
    report.within("passwords.bcrypt_cost", &passwords.bcrypt_cost, &least, &most);
    let most = ByteSize(u64::from(ARGON2_MAX_MEMORY) << 10);
    report.within("passwords.argon2_memory", &passwords.argon2_memory, &ByteSize(8 << 10), &most);
    report.within("passwords.argon2_iterations", &passwords.argon2_iterations, &1, &ARGON2_MAX_ITERATIONS);
    let work = (passwords.argon2_memory.0 >> 10).saturating_mul(passwords.argon2_iterations.into());

    if work > ARGON2_MAX_WORK {
        let most = ByteSize(ARGON2_MAX_WORK << 10).text();
        report.error(
            "passwords.argon2_memory",
            format!("multiplied by passwords.argon2_iterations it is more than {most}"),
        );
    }

    report.within("passwords.min_length", &passwords.min_length, &1, &1024);
    if let Some(threads) = &passwords.hash_threads {
        report.within("passwords.hash_threads", threads, &1, &1024);
    }
}

fn durations(config: &Config, report: &mut Report<'_>) {
    let (millis, second) = (Duration::from_millis, Duration::from_secs(1));
    let (minute, hour) = (Duration::from_mins(1), Duration::from_hours(1));
    let (server, database, tokens) = (&config.server, &config.database, &config.tokens);
    for (key, value, least, most) in [
        ("server.request_timeout", server.request_timeout, millis(100), 10 * minute),
        ("server.shutdown_delay", server.shutdown_delay, Duration::ZERO, 10 * minute),
        ("database.acquire_timeout", database.acquire_timeout, millis(10), minute),
        ("database.statement_timeout", database.statement_timeout, millis(10), minute),
        ("health.timeout", config.health.timeout, millis(10), 30 * second),
        ("passwords.queue_deadline", config.passwords.queue_deadline, millis(100), minute),
        ("tokens.access_ttl", tokens.access_ttl, minute, DAY),
        ("tokens.refresh_ttl", tokens.refresh_ttl, minute, 2 * YEAR),
        ("tokens.session_ttl", tokens.session_ttl, minute, 2 * YEAR),
        ("tokens.refresh_grace", tokens.refresh_grace, Duration::ZERO, 5 * minute),
        ("tokens.revocation_max_stale", tokens.revocation_max_stale, second, DAY),
        ("tokens.key_rotation", tokens.key_rotation, 2 * DAY, 10 * YEAR),
        ("audit.retention", config.audit.retention, DAY, 100 * YEAR),
        ("audit.journal_keep", config.audit.journal_keep, hour, 10 * YEAR),
        ("audit.sink_timeout", config.audit.sink_timeout, millis(100), minute),
        ("cleanup.interval", config.cleanup.interval, minute, DAY),
    ] {
        report.within(key, &value, &least, &most);
    }

    let [access, refresh, session] = [
        ("tokens.access_ttl", &tokens.access_ttl),
        ("tokens.refresh_ttl", &tokens.refresh_ttl),
        ("tokens.session_ttl", &tokens.session_ttl),
    ];

    report.at_most(access, refresh, Value::text);
    report.at_most(refresh, session, Value::text);
}

fn together(config: &Config, report: &mut Report<'_>) {
    let (server, tokens) = (&config.server, &config.tokens);
    match (&server.tls_cert_file, &server.tls_key_file) {
        (Some(_), None) => report.error("server.tls_cert_file", "server.tls_key_file is required with it"),
        (None, Some(_)) => report.error("server.tls_key_file", "server.tls_cert_file is required with it"),
        _ => {}
    }

    if server.ops_listen == Some(server.listen) && server.listen.port() != 0 {
        report.error("server.ops_listen", "it is the same address as server.listen");
    }
    match (tokens.algorithm, &tokens.hs256_secret_file) {
        (SigningAlgorithm::Hs256, None) => {
            report.error("tokens.hs256_secret_file", "required when tokens.algorithm is HS256");
        }
        (SigningAlgorithm::Es256 | SigningAlgorithm::EdDsa | SigningAlgorithm::Rs256, Some(_)) => {
            report.error("tokens.hs256_secret_file", "allowed only when tokens.algorithm is HS256");
        }
        _ => {}
    }

    if let Audience::Named(name) = &tokens.audience
        && name.chars().any(char::is_control)
    {
        report.error("tokens.audience", "it has control characters");
    }

    sinks(config, report);
}

/// Settings that the sinks of the audit trail require.
fn sinks(config: &Config, report: &mut Report<'_>) {
    let audit = &config.audit;
    match (&audit.webhook_url, &audit.webhook_secret_file) {
        (Some(_), None) => report.error("audit.webhook_url", "audit.webhook_secret_file is required with it"),
        (None, Some(_)) => report.error("audit.webhook_secret_file", "allowed only with audit.webhook_url"),
        _ => {}
    }
    if audit.otlp_headers_file.is_some() && audit.otlp_endpoint.is_none() {
        report.error("audit.otlp_headers_file", "allowed only with audit.otlp_endpoint");
    }
    if audit.redis_stream.is_some() && config.redis.url.is_none() {
        report.error("audit.redis_stream", "redis.url is required with it");
    }
    // The environment may have `REDIS_URL` for another program; only Gatewright's own settings are an error.
    let is_foreign =
        matches!(report.sources.get("redis.url"), Some(Source::Environment(name)) if name == "REDIS_URL");
    if config.redis.url.is_some() && audit.redis_stream.is_none() && !is_foreign {
        report.error("redis.url", "allowed only with audit.redis_stream in this version");
    }
}

fn strange(config: &Config, sources: &BTreeMap<&'static str, Source>, warnings: &mut Vec<String>) {
    let mut warn = |text: fmt::Arguments<'_>| warnings.push(text.to_string());
    let (server, passwords) = (&config.server, &config.passwords);
    if passwords.min_length < 8 {
        warn(format_args!("passwords.min_length is below 8, the minimum of NIST SP 800-63B-4"));
    }
    if passwords.bcrypt_cost < 10 {
        warn(format_args!(
            "passwords.bcrypt_cost is below 10: a password can be guessed quickly from a stolen hash"
        ));
    }

    if server.public_url.as_ref().is_some_and(|url| !url.is_https()) && !server.listen.ip().is_loopback() {
        warn(format_args!("server.public_url is not https: passwords and tokens are sent unencrypted"));
    }
    if server.trusted_proxies.iter().any(|network| network.prefix_len() == 0) {
        warn(format_args!("server.trusted_proxies trusts every address: any client can forge its own"));
    }
    if server.ops_listen.is_some_and(|at| at.ip().is_unspecified()) {
        warn(format_args!("server.ops_listen listens on every interface: metrics are not authenticated"));
    }
    if config.redis.url.is_some() && config.audit.redis_stream.is_none() {
        let source = sources.get("redis.url").unwrap_or(&Source::Default);
        warn(format_args!("redis.url ({source}) has an effect only with audit.redis_stream in this version"));
    }

    for (key, url) in
        [("webhook_url", &config.audit.webhook_url), ("otlp_endpoint", &config.audit.otlp_endpoint)]
    {
        if url.as_ref().is_some_and(|url| !url.is_https() && !url.is_here()) {
            warn(format_args!("audit.{key} is not https: audit events are sent unencrypted"));
        }
    }

    let RoleScopes(scopes) = &config.accounts.scopes;
    for role in scopes.keys().filter(|role| !matches!(role.as_str(), "basic_user" | "admin")) {
        warn(format_args!(
            "accounts.scopes names the role `{role}`, which is neither `basic_user` nor `admin`"
        ));
    }
}
