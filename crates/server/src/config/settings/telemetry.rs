//! `[telemetry]`

use super::section;
use crate::config::value::{Value, words};

words! {
    /// The format of log lines.
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

    /// The default of commands other than `serve`: warnings and errors.
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
        /// The format of log lines; `auto` is `pretty` on a terminal, else `json`.
        log_format: LogFormat = LogFormat::Auto, example: "json";
        /// Which log lines are written.
        log_level: LogFilter = LogFilter::default(), example: "info,store=debug", reload;
    }
}
