//! Configuration: one TOML file, then the environment, then flags; every setting defined once, in the table of
//! settings, from which everything else is made.

mod check;
mod docs;
mod error;
mod file;
mod settings;
mod source;
mod url;
mod value;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

pub use docs::{default_toml, markdown};
pub use error::{ConfigError, ConfigErrors};
pub use settings::{
    AccountsConfig, Audience, AuditConfig, Blocklist, CleanupConfig, Config, DatabaseConfig, HealthConfig,
    LegacyConfig, LogFilter, LogFormat, PasswordAlgorithm, PasswordsConfig, RedisConfig, SchemaName,
    ServerConfig, Setting, SigningAlgorithm, Subject, TelemetryConfig, TokensConfig,
};
pub use source::{LoadArgs, Source, environment};
pub use url::{DatabaseUrl, PostgresUrl, RedisUrl, WebOrigin, WebUrl};
pub use value::{ByteSize, RoleScopes};

use self::source::Layers;
use self::value::RawValue;

/// A configuration, and where each of its values came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Where each value came from; what is not in here is a default.
    pub sources: BTreeMap<&'static str, Source>,
    /// What is allowed but probably not meant.
    pub warnings: Vec<String>,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
}

/// What differs between two configurations, by name of the setting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// What SIGHUP applies.
    pub applied: Vec<&'static str>,
    /// What takes a restart.
    pub need_restart: Vec<&'static str>,
}

impl Config {
    /// Reads the configuration: defaults, the file, the names that other programs use in the environment,
    /// `GATEWRIGHT_` in the environment, flags. Reports everything that is wrong at once.
    pub fn load(
        args: &LoadArgs,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Loaded, ConfigErrors> {
        let mut layers = Layers::default();
        let file = layers.add_file(args);
        layers.add_environment(env);
        layers.add_flags(&args.set);
        let Layers { winners, mut errors, mut warnings } = layers;

        let mut config = Self::default();
        let mut sources = BTreeMap::new();
        for (key, (setting, given, source)) in winners {
            if let Err(why) = config.set(key, &given) {
                errors.push(ConfigError::value(setting, &given, source.clone(), why));
            }
            sources.insert(key, source);
        }
        config.derive(&sources);
        check::check(&config, &sources, &mut errors, &mut warnings);
        if errors.is_empty() {
            Ok(Loaded { config, sources, warnings, file })
        } else {
            Err(ConfigErrors::new(errors))
        }
    }

    /// Fills in the defaults that depend on other settings.
    fn derive(&mut self, sources: &BTreeMap<&'static str, Source>) {
        let unset = |key| !sources.contains_key(key);
        if unset("master_key_file") {
            self.master_key_file = self.data_dir.join("master.key");
        }
        if unset("database.url") {
            self.database.url = DatabaseUrl::embedded(&self.data_dir);
        }
        if unset("server.shutdown_delay") && self.database.url.is_embedded() {
            self.server.shutdown_delay = Duration::ZERO;
        }
    }

    /// What differs between two configurations.
    pub fn reloadable_changes(old: &Self, new: &Self) -> Changes {
        let mut changes = Changes::default();
        for setting in Self::settings() {
            if old.text(setting.key) != new.text(setting.key) {
                let list = if setting.reload { &mut changes.applied } else { &mut changes.need_restart };
                list.push(setting.key);
            }
        }
        changes
    }

    /// This configuration with what SIGHUP reloads taken from `new`.
    #[must_use]
    pub fn reloaded(&self, new: &Self) -> Self {
        let mut next = self.clone();
        for setting in Self::settings().into_iter().filter(|setting| setting.reload) {
            if let Some(text) = new.text(setting.key) {
                // a value's own text is always read back: see the tests of `settings`
                let _ = next.set(setting.key, &RawValue::Text(text));
            }
        }
        next
    }
}

#[cfg(test)]
mod tests;
