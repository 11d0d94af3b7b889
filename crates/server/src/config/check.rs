//! Checks the values of a configuration: those of each section are beside it, those across sections are here.

use std::collections::BTreeMap;

use super::error::ConfigError;
use super::settings::{Config, outside};
use super::source::Source;
use super::value::Value;

/// Collects errors, each with the place where the setting was written, and warnings.
pub(crate) struct Report<'a> {
    sources: &'a BTreeMap<&'static str, Source>,
    errors: &'a mut Vec<ConfigError>,
    warnings: &'a mut Vec<String>,
}

impl Report<'_> {
    /// Reports that the setting `key` cannot be used.
    pub(crate) fn error(&mut self, key: &'static str, problem: impl Into<String>) {
        // A value that could not be read is reported already, and its default is not the intended value.
        if !self.errors.iter().any(|error| error.key == key) {
            let source = self.sources.get(key).cloned().unwrap_or(Source::Default);
            self.errors.push(ConfigError::new(key, source, problem));
        }
    }

    /// Reports a value that is allowed but unusual.
    pub(crate) fn warn(&mut self, text: impl Into<String>) {
        self.warnings.push(text.into());
    }

    /// Reports a value that is not from `least` to `most`.
    pub(crate) fn within<T: PartialOrd + Value>(
        &mut self,
        key: &'static str,
        value: &T,
        least: &T,
        most: &T,
    ) {
        if let Some(problem) = outside(value, least, most) {
            self.error(key, problem);
        }
    }

    /// Reports two settings of which the first one is larger.
    pub(crate) fn at_most<T: PartialOrd + Value>(
        &mut self,
        small: (&'static str, &T),
        large: (&'static str, &T),
    ) {
        if small.1 > large.1 {
            let (small_text, large_text) = (small.1.text(), large.1.text());
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
    let mut report = Report { sources, errors, warnings };
    for setting in Config::settings() {
        if let Some(problem) = config.out_of_range(setting.key) {
            report.error(setting.key, problem);
        }
    }

    config.server.check(&mut report);
    config.database.check(&mut report);
    config.accounts.check(&mut report);
    config.passwords.check(&mut report);
    config.registration.check(&mut report);
    config.tokens.check(&mut report);
    config.audit.check(&mut report);
    redis(config, &mut report);
}

fn redis(config: &Config, report: &mut Report<'_>) {
    if config.redis.url.as_ref().is_some_and(|url| url.address().is_exposed()) {
        report.warn("redis.url: password and data travel in clear text to another machine; use rediss://");
    }
    if config.redis.url.is_none() && config.audit.redis_stream.is_some() {
        report.error("audit.redis_stream", "redis.url is required with it");
    }
}
