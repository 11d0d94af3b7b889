//! The sinks of the audit trail in addition to the database, as configured.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use audit::Auditor;
use audit::ship::{JournalTail, ShipperSettings};
use audit::sinks::{JsonLines, Otlp, RemoteSink, Transport, Webhook, WebhookSecrets};
use http::{HeaderMap, HeaderName, HeaderValue};
use outbound::Endpoint;
use store::redis::RedisStream;
use tokio_rustls::rustls::crypto::aws_lc_rs;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};
use tokio_util::sync::CancellationToken;

use crate::app::audit_setup::{JournalOwner, audit_dir, node_name};
use crate::app::bootstrap::data_dir;
use crate::app::start_error::StartError;
use crate::config::{AuditConfig, Config, WebUrl};

/// Most records, and bytes of payloads, in one batch: a body stays below the limit of most receivers.
const BATCH: (usize, usize) = (500, 256 << 10);
/// Initial and maximum delay after a failure of a sink.
const PATIENCE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));
/// Where systems keep the certificates of authorities: Debian and Alpine, Fedora, SUSE, and the BSDs.
const ROOTS: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
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
) -> Result<Vec<(ShipperSettings, RemoteSink)>, StartError> {
    let mut shippers = Vec::new();
    let tls = Tls::new(config);
    for kind in [Kind::Stdout, Kind::Redis, Kind::Webhook, Kind::Otlp] {
        // Each journal has its own connection.
        let (Some(server), Some(commands)) = (carrier(kind, config, &tls)?, carrier(kind, config, &tls)?)
        else {
            continue;
        };
        let shipping = auditor.add_sink(kind.word());
        for (writes, carrier) in [(JournalOwner::Server, server), (JournalOwner::Command, commands)] {
            let folder = audit_dir(&config.data_dir, writes).join("sinks");
            data_dir(&folder)?;
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
fn carrier(kind: Kind, config: &Config, tls: &Tls) -> Result<Option<Transport>, StartError> {
    let audit = &config.audit;
    Ok(match kind {
        Kind::Stdout => audit.stdout.then(|| Transport::JsonLines(JsonLines::new(std::io::stdout()))),
        Kind::Redis => redis(config, tls)?.map(Transport::Stream),
        Kind::Webhook => webhook(audit, tls)?.map(Transport::Webhook),
        Kind::Otlp => match &audit.otlp_endpoint {
            Some(url) => {
                let url_of_logs = format!("{}/v1/logs", url.base());
                let endpoint = endpoint(OTLP_KEY, url, &url_of_logs, audit, tls)?;
                let headers =
                    audit.otlp_headers_file.as_deref().map_or_else(|| Ok(HeaderMap::new()), headers)?;
                Some(Transport::Otlp(Otlp::new(endpoint.with_headers(headers))))
            }
            None => None,
        },
    })
}

fn redis(config: &Config, tls: &Tls) -> Result<Option<RedisStream>, StartError> {
    let audit = &config.audit;
    let (Some(key), Some(url)) = (&audit.redis_stream, &config.redis.url) else { return Ok(None) };
    let url = url.expose().expose();
    let tls = if url.starts_with("rediss://") { Some(tls.get()?) } else { None };
    let keep = Some(u64::from(audit.redis_stream_length)).filter(|keep| *keep > 0);
    let stream = RedisStream::new(url, tls, key, keep, audit.sink_timeout);
    stream.map(Some).map_err(|why| StartError::Setting { key: "redis.url", why: why.to_string() })
}

fn webhook(audit: &AuditConfig, tls: &Tls) -> Result<Option<Webhook>, StartError> {
    const KEY: &str = "audit.webhook_secret_file";
    let (Some(url), Some(file)) = (&audit.webhook_url, &audit.webhook_secret_file) else { return Ok(None) };
    let failed = |why: String| StartError::Setting { key: KEY, why: format!("{}: {why}", file.display()) };
    let text = std::fs::read_to_string(file).map_err(|why| failed(format!("it cannot be read: {why}")))?;
    let secrets = WebhookSecrets::parse(&text).map_err(|why| failed(why.to_string()))?;
    Ok(Some(Webhook::new(endpoint(WEBHOOK_KEY, url, url.as_str(), audit, tls)?, secrets)))
}

/// Reads headers from a file. Errors never repeat a value.
fn headers(file: &Path) -> Result<HeaderMap, StartError> {
    let failed = |why: String| StartError::Setting {
        key: "audit.otlp_headers_file",
        why: format!("{}: {why}", file.display()),
    };
    let text = std::fs::read_to_string(file).map_err(|why| failed(format!("it cannot be read: {why}")))?;
    let mut headers = HeaderMap::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let header = line.split_once(':').and_then(|(name, value)| {
            Some((HeaderName::try_from(name.trim()).ok()?, HeaderValue::try_from(value.trim()).ok()?))
        });
        let (name, mut value) = header.ok_or_else(|| failed(format!("line {number} is not a header")))?;
        value.set_sensitive(true);
        headers.append(name, value);
    }
    Ok(headers)
}

fn endpoint(
    key: &'static str,
    url: &WebUrl,
    whole: &str,
    audit: &AuditConfig,
    tls: &Tls,
) -> Result<Endpoint, StartError> {
    let tls = if url.is_https() { Some(tls.get()?) } else { None };
    Endpoint::new(whole, tls, audit.sink_timeout).map_err(|why| StartError::Setting { key, why })
}

/// The TLS client configuration, created on first use.
struct Tls {
    ca_file: Option<PathBuf>,
    made: std::sync::OnceLock<Arc<ClientConfig>>,
}

impl Tls {
    fn new(config: &Config) -> Self {
        Self { ca_file: config.audit.sink_ca_file.clone(), made: std::sync::OnceLock::new() }
    }

    fn get(&self) -> Result<Arc<ClientConfig>, StartError> {
        if let Some(made) = self.made.get() {
            return Ok(Arc::clone(made));
        }
        let roots = match &self.ca_file {
            Some(file) => roots(file)?,
            None => match ROOTS.iter().map(Path::new).find(|path| path.exists()) {
                Some(file) => roots(file)?,
                None => {
                    return Err(refused(
                        "this machine has no list of authorities: set this to the file of one".to_owned(),
                    ));
                }
            },
        };
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|why| refused(why.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Arc::clone(self.made.get_or_init(|| Arc::new(config))))
    }
}

fn refused(why: String) -> StartError {
    StartError::Setting { key: CA_KEY, why }
}

/// Reads the authorities of a file. Certificates that cannot be parsed are skipped; at least one must be
/// valid.
fn roots(file: &Path) -> Result<RootCertStore, StartError> {
    let failed = |why: String| refused(format!("{}: {why}", file.display()));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(file).map_err(|why| failed(why.to_string()))? {
        let _ = roots.add(certificate.map_err(|why| failed(why.to_string()))?);
    }
    if roots.is_empty() { Err(failed("there is no valid certificate in it".to_owned())) } else { Ok(roots) }
}
