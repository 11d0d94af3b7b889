//! The error of a setting that cannot be used.

use std::fmt;
use std::io;
use std::path::Path;

/// A setting that cannot be used, or the file that it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingError {
    /// The name of the setting.
    pub key: &'static str,
    /// The reason.
    pub why: String,
}

impl SettingError {
    pub(crate) fn new(key: &'static str, why: impl Into<String>) -> Self {
        Self { key, why: why.into() }
    }

    /// An error of the file that the setting names.
    pub(crate) fn file(key: &'static str, path: &Path, why: impl fmt::Display) -> Self {
        Self::new(key, format!("{}: {why}", path.display()))
    }

    /// The file that the setting names cannot be read.
    pub(crate) fn unreadable(key: &'static str, path: &Path, why: &io::Error) -> Self {
        Self::new(key, format!("{} cannot be read: {why}", path.display()))
    }
}

impl fmt::Display for SettingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.why)
    }
}

impl std::error::Error for SettingError {}
