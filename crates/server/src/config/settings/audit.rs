//! `[audit]`

use std::path::PathBuf;
use std::time::Duration;

use audit::ship::ShipperSettings;

use super::section;
use crate::config::check::Report;
use crate::config::url::WebUrl;

const DAY: Duration = Duration::from_hours(24);
const YEAR: Duration = Duration::from_hours(24 * 366);

section! {
    /// The audit trail.
    pub struct AuditConfig in "audit." {
        /// Whether every request but GET and HEAD is answered 503 while the audit trail cannot be written.
        required: bool = web::Settings::default().audit_required, example: "true";
        /// How long audit events are kept in the database.
        retention: Duration = ShipperSettings::default().retention, within: DAY => 100 * YEAR,
            example: "400d";
        /// How long journal files are kept after their events have reached the database.
        journal_keep: Duration = ShipperSettings::default().journal_keep,
            within: Duration::from_hours(1) => 10 * YEAR, example: "7d";
        /// Whether audit events are also written to standard output, one JSON object a line.
        stdout: bool = false, example: "true";
        /// The key of a stream in the Redis of `redis.url` to which audit events are also added; empty for
        /// none.
        redis_stream: Option<String> = None, example: "gatewright:audit";
        /// Approximate maximum number of entries in that stream; 0 for no limit.
        redis_stream_length: u32 = 1_000_000, example: "100000";
        /// The URL to which audit events are also posted, in batches of JSON Lines signed according to
        /// Standard Webhooks; empty for none.
        webhook_url: Option<WebUrl> = None, example: "https://audit.example.org/gatewright";
        /// The file of the webhook's secret: `whsec_` followed by 24 to 64 bytes in Base64. A second line is
        /// a second secret, for the time of a rotation.
        webhook_secret_file: Option<PathBuf> = None, example: "/etc/gatewright/webhook.secret";
        /// The URL of an OpenTelemetry collector that receives audit events as logs (OTLP/HTTP, JSON); empty
        /// for none.
        otlp_endpoint: Option<WebUrl> = None, example: "https://collector.example.org:4318";
        /// The file of HTTP headers for the collector, such as an API key: `name: value`, one a line; empty
        /// for none.
        otlp_headers_file: Option<PathBuf> = None, example: "/etc/gatewright/otlp.headers";
        /// How long Redis, the webhook or the collector may take for a batch.
        sink_timeout: Duration = Duration::from_secs(10),
            within: Duration::from_millis(100) => Duration::from_mins(1), example: "5s";
        /// The file of certificates (PEM) of the authorities that may issue the certificates of the webhook
        /// and the collector; empty for the authorities that this machine trusts.
        sink_ca_file: Option<PathBuf> = None, example: "/etc/gatewright/sinks-ca.pem";
    }
}

impl From<&AuditConfig> for ShipperSettings {
    fn from(config: &AuditConfig) -> Self {
        Self { retention: config.retention, journal_keep: config.journal_keep, ..Self::default() }
    }
}

impl AuditConfig {
    pub(super) fn apply_to(&self, settings: &mut web::Settings) {
        settings.audit_required = self.required;
    }

    pub(crate) fn check(&self, report: &mut Report<'_>) {
        match (&self.webhook_url, &self.webhook_secret_file) {
            (Some(_), None) => {
                report.error("audit.webhook_url", "audit.webhook_secret_file is required with it");
            }
            (None, Some(_)) => {
                report.error("audit.webhook_secret_file", "allowed only with audit.webhook_url");
            }
            _ => {}
        }
        if self.otlp_headers_file.is_some() && self.otlp_endpoint.is_none() {
            report.error("audit.otlp_headers_file", "allowed only with audit.otlp_endpoint");
        }

        for (key, url) in [("webhook_url", &self.webhook_url), ("otlp_endpoint", &self.otlp_endpoint)] {
            if url.as_ref().is_some_and(|url| !url.is_https() && !url.is_here()) {
                report.warn(format!("audit.{key} is not https: audit events are sent unencrypted"));
            }
        }
    }
}
