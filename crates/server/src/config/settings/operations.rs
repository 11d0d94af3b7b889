//! `[health]`, `[audit]`, `[cleanup]` and `[telemetry]`

use std::time::Duration;

use super::section;
use crate::config::url::WebUrl;
use crate::config::value::{Value, words};

section! {
    /// Health checks.
    pub struct HealthConfig in "health." {
        /// How long readiness waits for the database before it says no.
        timeout: Duration = Duration::from_millis(100), example: "100ms";
    }
}

const DAY: u64 = 24 * 60 * 60;

section! {
    /// The audit trail.
    pub struct AuditConfig in "audit." {
        /// Whether a request that cannot be audited is answered 503.
        required: bool = false, example: "true";
        /// How long audit events are kept in the database.
        retention: Duration = Duration::from_secs(400 * DAY), example: "400d";
        /// How long journal files are kept after their events have reached the database.
        journal_keep: Duration = Duration::from_secs(7 * DAY), example: "7d";
    }
}

section! {
    /// Removal of what has expired, was revoked or erased.
    pub struct CleanupConfig in "cleanup." {
        /// How often expired and revoked rows are removed, and the keys of erased users from the files of this node,
        /// besides at the start.
        interval: Duration = Duration::from_hours(1), example: "1h";
    }
}

words! {
    /// How log lines look.
    pub enum LogFormat, "`pretty`, `json` or `auto`" {
        /// `pretty` on a terminal, else `json`.
        Auto = "auto",
        /// For people.
        Pretty = "pretty",
        /// One JSON object a line.
        Json = "json",
    }
}

/// Which log lines are written: a level, or levels by module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(String);

impl LogFilter {
    /// The filter as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What a command shows unless it is told otherwise: trouble.
    pub(crate) fn for_commands() -> Self {
        Self("warn".to_owned())
    }
}

impl Default for LogFilter {
    fn default() -> Self {
        Self("info".to_owned())
    }
}

impl Value for LogFilter {
    const EXPECTED: &'static str =
        "`error`, `warn`, `info`, `debug`, `trace` or `off`, also by module as in `info,store=debug`";

    fn parse(text: &str) -> Result<Self, String> {
        const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
        for part in text.split(',').map(str::trim) {
            let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
            if !LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)) {
                return Err(format!("`{level}` is not a level"));
            }
        }
        tracing_subscriber::EnvFilter::try_new(text).map_err(|why| why.to_string())?;
        Ok(Self(text.to_owned()))
    }

    fn text(&self) -> String {
        self.0.clone()
    }
}

section! {
    /// Logs, metrics and traces.
    pub struct TelemetryConfig in "telemetry." {
        /// How log lines look; `auto` is `pretty` on a terminal, else `json`.
        log_format: LogFormat = LogFormat::Auto, example: "json";
        /// Which log lines are written.
        log_level: LogFilter = LogFilter::default(), example: "info,store=debug", reload;
        /// The URL of an OpenTelemetry collector (OTLP over HTTP); empty for none.
        otlp_endpoint: Option<WebUrl> = None, example: "http://collector.example.org:4318";
    }
}
