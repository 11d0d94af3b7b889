//! The sinks of the audit trail in addition to the database, as configured.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use audit::Auditor;
use audit::ship::{JournalTail, ShipperSettings};
use audit::sinks::{JsonLines, Otlp, RemoteSink, Transport, Webhook, WebhookSecrets};
use http::{HeaderMap, HeaderName, HeaderValue};
use model::{Clock, Secret};
use outbound::{Endpoint, EndpointError};
use store::redis::RedisStream;
use tokio_util::sync::CancellationToken;

use crate::app::audit_setup::{JournalOwner, audit_dir, node_name};
use crate::app::bootstrap::data_dir;
use crate::app::start_error::StartError;
use crate::config::{AuditConfig, Config, secret_file};

/// Most records, and bytes of payloads, in one batch: a body stays below the limit of most receivers.
const BATCH: (usize, usize) = (500, 256 << 10);
/// Initial and maximum delay after a failure of a sink.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
const CA_KEY: &str = "audit.sink_ca_file";
const WEBHOOK_KEY: &str = "audit.webhook_url";
const OTLP_KEY: &str = "audit.otlp_endpoint";

/// A sink: its name in files and metrics, and the names of its jobs.
#[derive(Clone, Copy)]
enum Kind {
    Stdout,
    Redis,
    Webhook,
    Otlp,
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Redis => "redis",
            Self::Webhook => "webhook",
            Self::Otlp => "otlp",
        }
    }

    fn job(self, writes: JournalOwner) -> &'static str {
        match (self, writes) {
            (Self::Stdout, JournalOwner::Server) => "ship_audit_stdout",
            (Self::Stdout, JournalOwner::Command) => "ship_audit_stdout_commands",
            (Self::Redis, JournalOwner::Server) => "ship_audit_redis",
            (Self::Redis, JournalOwner::Command) => "ship_audit_redis_commands",
            (Self::Webhook, JournalOwner::Server) => "ship_audit_webhook",
            (Self::Webhook, JournalOwner::Command) => "ship_audit_webhook_commands",
            (Self::Otlp, JournalOwner::Server) => "ship_audit_otlp",
            (Self::Otlp, JournalOwner::Command) => "ship_audit_otlp_commands",
        }
    }
}

/// The shippers that copy the journals of the server and of the commands to every sink. Pending requests are
/// abandoned at `stop`.
///
/// # Errors
/// [`StartError::Setting`], [`StartError::DataDir`].
pub(crate) fn shippers(
    config: &Config,
    auditor: &Arc<Auditor>,
    stop: &CancellationToken,
    clock: &Clock,
) -> Result<Vec<(ShipperSettings, RemoteSink)>, StartError> {
    let mut shippers = Vec::new();
    let audit = &config.audit;
    let receivers =
        Receivers { timeout: audit.sink_timeout, ca_file: audit.sink_ca_file.clone(), clock: clock.clone() };
    for kind in [Kind::Stdout, Kind::Redis, Kind::Webhook, Kind::Otlp] {
        // Each journal has its own connection.
        let (Some(server), Some(commands)) =
            (carrier(kind, config, &receivers)?, carrier(kind, config, &receivers)?)
        else {
            continue;
        };
        let shipping = auditor.add_sink(kind.word());
        for (writes, carrier) in [(JournalOwner::Server, server), (JournalOwner::Command, commands)] {
            let folder = audit_dir(&config.data_dir, writes).join("sinks");
            data_dir(&folder)?.keep();
            let outside = RemoteSink::new(carrier, folder.join(kind.word()), stop.clone());
            let settings = ShipperSettings {
                name: kind.job(writes),
                shipping: shipping.part(),
                dead_letters: folder.join(format!("{}.dead-letter.jsonl", kind.word())),
                ..settings(config, writes, auditor)
            };
            shippers.push((settings, outside));
        }
    }

    Ok(shippers)
}

/// Reads the files of sinks, as [`shippers`] does.
///
/// # Errors
/// [`StartError::Setting`].
pub(crate) fn check(config: &Config) -> Result<(), StartError> {
    let audit = &config.audit;
    let (timeout, ca_file) = (audit.sink_timeout, audit.sink_ca_file.clone());
    let receivers = Receivers { timeout, ca_file, clock: Clock::system() };
    [Kind::Webhook, Kind::Otlp].into_iter().try_for_each(|kind| carrier(kind, config, &receivers).map(drop))
}

fn settings(config: &Config, writes: JournalOwner, auditor: &Arc<Auditor>) -> ShipperSettings {
    let journal = audit_dir(&config.data_dir, writes).join("journal");
    let ready: Arc<dyn Fn() -> u64 + Send + Sync> = match writes {
        // Ships only synced records: a power failure may remove the others, and their sequences are used
        // again.
        JournalOwner::Server => {
            let auditor = Arc::clone(auditor);
            Arc::new(move || auditor.state().synced)
        }
        JournalOwner::Command => {
            let end = JournalTail::of(&journal);
            Arc::new(move || end.sequence())
        }
    };

    ShipperSettings {
        journal,
        node: node_name(),
        batch: BATCH,
        patience: Some(PATIENCE),
        ready,
        // The database decides when segments are removed: a sink that is down for longer than
        // `audit.journal_keep` misses events.
        forget: None,
        ..ShipperSettings::from(&config.audit)
    }
}

/// The transport of a sink; `None` where it is not configured.
fn carrier(kind: Kind, config: &Config, receivers: &Receivers) -> Result<Option<Transport>, StartError> {
    let audit = &config.audit;
    Ok(match kind {
        Kind::Stdout => audit.stdout.then(|| Transport::JsonLines(JsonLines::new(std::io::stdout()))),
        Kind::Redis => redis(config)?.map(Transport::Stream),
        Kind::Webhook => webhook(audit, receivers)?.map(Transport::Webhook),
        Kind::Otlp => match &audit.otlp_endpoint {
            Some(url) => {
                let url_of_logs = format!("{}/v1/logs", url.base());
                let endpoint = receivers.endpoint(OTLP_KEY, &url_of_logs)?;
                let headers =
                    audit.otlp_headers_file.as_deref().map_or_else(|| Ok(HeaderMap::new()), headers)?;
                Some(Transport::Otlp(Otlp::new(endpoint.with_headers(headers))))
            }
            None => None,
        },
    })
}

fn redis(config: &Config) -> Result<Option<RedisStream>, StartError> {
    let audit = &config.audit;
    let (Some(key), Some(url)) = (&audit.redis_stream, &config.redis.url) else { return Ok(None) };
    let redis = super::redis::connect(url, config)?;
    let keep = Some(u64::from(audit.redis_stream_length)).filter(|keep| *keep > 0);
    Ok(Some(RedisStream::new(redis, key, keep, audit.sink_timeout)))
}

fn webhook(audit: &AuditConfig, receivers: &Receivers) -> Result<Option<Webhook>, StartError> {
    const KEY: &str = "audit.webhook_secret_file";
    let (Some(url), Some(file)) = (&audit.webhook_url, &audit.webhook_secret_file) else { return Ok(None) };
    let failed = |why: String| StartError::Setting { key: KEY, why: format!("{}: {why}", file.display()) };
    let text = secret_text(file).map_err(failed)?;
    let secrets = WebhookSecrets::parse(text.expose()).map_err(|why| failed(why.to_string()))?;
    Ok(Some(Webhook::new(receivers.endpoint(WEBHOOK_KEY, url.as_str())?, secrets)))
}

/// Reads a file of secrets that is text. Errors never repeat a part of it.
fn secret_text(file: &Path) -> Result<Secret<String>, String> {
    let bytes = secret_file::read(file).map_err(|why| why.to_string())?;
    let text = std::str::from_utf8(bytes.expose()).map_err(|_| "it is not UTF-8".to_owned())?;
    Ok(Secret::new(text.to_owned()))
}

/// Reads headers from a file. Errors never repeat a value.
fn headers(file: &Path) -> Result<HeaderMap, StartError> {
    let failed = |why: String| StartError::Setting {
        key: "audit.otlp_headers_file",
        why: format!("{}: {why}", file.display()),
    };
    let text = secret_text(file).map_err(failed)?;
    let mut headers = HeaderMap::new();
    for (number, line) in (1..).zip(text.expose().lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let header = line.split_once(':').and_then(|(name, value)| {
            Some((HeaderName::try_from(name.trim()).ok()?, HeaderValue::try_from(value.trim()).ok()?))
        });
        let (name, mut value) = header.ok_or_else(|| failed(format!("line {number} is not a header")))?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

/// What the connections to all receivers have in common.
struct Receivers {
    timeout: Duration,
    /// The certificates of receivers with TLS; none for the system's.
    ca_file: Option<PathBuf>,
    clock: Clock,
}

impl Receivers {
    fn endpoint(&self, key: &'static str, url: &str) -> Result<Endpoint, StartError> {
        let authorities = if url.starts_with("https:") { self.authorities()? } else { None };
        let endpoint = Endpoint::new(url, authorities.as_deref(), self.timeout, self.clock.clone());
        endpoint.map_err(|why| match why {
            EndpointError::Url => StartError::Setting { key, why: why.to_string() },
            EndpointError::Authorities(why) => refused(why),
        })
    }

    /// The certificates of the file, in PEM; read only for a receiver with TLS.
    fn authorities(&self) -> Result<Option<Vec<u8>>, StartError> {
        let Some(file) = &self.ca_file else { return Ok(None) };
        let read = std::fs::read(file);
        let read = read.map_err(|why| refused(format!("{}: it cannot be read: {why}", file.display())))?;
        Ok(Some(read))
    }
}

fn refused(why: String) -> StartError {
    StartError::Setting { key: CA_KEY, why }
}
