//! Errors of a configuration, all reported at once.

use std::fmt;

use super::settings::Setting;
use super::source::Source;
use super::value::{RawValue, Value};

/// One error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The name of the setting, or the unknown name that was written.
    pub key: String,
    /// Where it was written.
    pub source: Source,
    /// The value that was written, unless it may be a secret.
    pub given: Option<String>,
    /// The reason.
    pub problem: String,
    /// What the setting accepts.
    pub expected: Option<String>,
}

impl ConfigError {
    pub(crate) fn new(key: &str, source: Source, problem: impl Into<String>) -> Self {
        Self { key: key.to_owned(), source, given: None, problem: problem.into(), expected: None }
    }

    pub(crate) fn value(setting: &Setting, given: &RawValue, source: Source, problem: String) -> Self {
        let given = match given {
            _ if setting.secret => None,
            RawValue::Text(text) => Some(text.clone()),
            RawValue::List(items) => Some(items.toml()),
            RawValue::Table(_) | RawValue::Other(_) => None,
        };
        let expected = Some(setting.expected.to_owned());
        Self { key: setting.key.to_owned(), source, given, problem, expected }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key.escape_debug())?;
        }
        f.write_str(&self.problem)?;
        if let Some(given) = &self.given {
            write!(f, "; given `{}`", given.escape_debug())?;
        }
        if let Some(expected) = &self.expected {
            write!(f, "; expected {expected}")?;
        }
        write!(f, " ({})", self.source)
    }
}

/// All errors of a configuration; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    pub(crate) fn new(errors: Vec<ConfigError>) -> Self {
        Self(errors)
    }

    /// The errors.
    pub fn all(&self) -> &[ConfigError] {
        &self.0
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => writeln!(f, "the configuration has an error:")?,
            n => writeln!(f, "the configuration has {n} errors:")?,
        }
        self.0.iter().try_for_each(|error| writeln!(f, "  {error}"))
    }
}

impl std::error::Error for ConfigErrors {}
