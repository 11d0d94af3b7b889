//! Configuration: one TOML file, then the environment, then flags. Every setting is defined once, in the
//! table of settings, and everything else is derived from it.

mod check;
mod docs;
mod error;
mod file;
mod listen;
pub(crate) mod secret_file;
mod settings;
mod source;
mod url;
mod value;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

pub use docs::{default_toml, markdown};
pub use error::{ConfigError, ConfigErrors};
pub use listen::ListenAddress;
pub use settings::{
    AccountsConfig, Audience, AuditConfig, Blocklist, CleanupConfig, Config, DatabaseConfig, HealthConfig,
    LegacyConfig, LogFilter, LogFormat, PasswordAlgorithm, PasswordsConfig, ProxyProtocol, RateLimitsConfig,
    RedisConfig, RegistrationConfig, SchemaName, ServerConfig, Setting, SettingError, SigningAlgorithm,
    Subject, TelemetryConfig, TokensConfig, reachable,
};
pub use source::{LoadArgs, Source, environment};
pub use url::{DatabaseUrl, PostgresUrl, RedisUrl, WebOrigin, WebUrl};
pub use value::{ByteSize, RoleScopes};

use self::source::Layers;
use self::value::RawValue;

/// A configuration, and the source of each of its values.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The source of each value that is not a default.
    pub sources: BTreeMap<&'static str, Source>,
    /// Values that are allowed but unusual.
    pub warnings: Vec<String>,
    /// The file that was read, if any.
    pub file: Option<PathBuf>,
}

/// The differences between two configurations, by name of the setting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Settings that SIGHUP applies.
    pub applied: Vec<&'static str>,
    /// Settings that require a restart.
    pub need_restart: Vec<&'static str>,
}

impl Config {
    /// Loads the configuration: defaults, then the file, then environment names from before Gatewright, then
    /// `GATEWRIGHT_` names, then flags. Reports all errors at once.
    pub fn load(
        args: &LoadArgs,
        env: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Loaded, ConfigErrors> {
        let mut layers = Layers::default();
        let file = layers.add_file(args);
        let env: Vec<_> = env.into_iter().collect();
        layers.add_environment(env.iter().cloned());
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
        if let DatabaseUrl::Postgres(url) = &mut config.database.url {
            url.read_environment(&env);
        }
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

    /// The differences between two configurations.
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

    /// This configuration with the settings that SIGHUP reloads taken from `new`.
    #[must_use]
    pub fn reloaded(&self, new: &Self) -> Self {
        let mut next = self.clone();
        for setting in Self::settings().into_iter().filter(|setting| setting.reload) {
            if let Some(text) = new.text(setting.key) {
                // A value's own text can always be read back: see the tests of `settings`.
                let _ = next.set(setting.key, &RawValue::Text(text));
            }
        }
        next
    }
}

#[cfg(test)]
mod tests;
