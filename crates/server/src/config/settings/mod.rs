//! The settings, each defined once: type, default, range, documentation, an example, whether SIGHUP applies
//! it.
//!
//! Beside each section are its checks, and the conversion to the settings of the crate that it configures.
//! Where that crate has a default in its `Settings`, the section takes it from there.

mod accounts;
mod audit;
mod cleanup;
mod database;
mod error;
mod health;
mod legacy;
mod passwords;
mod rate_limits;
mod redis;
mod registration;
mod server;
mod telemetry;
mod tokens;

use std::path::PathBuf;

pub use accounts::AccountsConfig;
pub use audit::AuditConfig;
pub use cleanup::CleanupConfig;
pub use database::{DatabaseConfig, SchemaName};
pub use error::SettingError;
pub use health::HealthConfig;
pub use legacy::LegacyConfig;
pub use passwords::{Blocklist, PasswordAlgorithm, PasswordsConfig};
pub use rate_limits::RateLimitsConfig;
pub use redis::RedisConfig;
pub use registration::RegistrationConfig;
pub use server::{ProxyProtocol, ServerConfig, reachable};
pub use telemetry::{LogFilter, LogFormat, TelemetryConfig};
pub use tokens::{Audience, SigningAlgorithm, Subject, TokensConfig};

use serde_json::{Map, Value as Json};

use super::url::WebUrl;
use super::value::{RawValue, Value};

/// Prefix of the environment variables of settings.
pub(crate) const PREFIX: &str = "GATEWRIGHT_";

/// Describes one setting.
#[derive(Debug)]
pub struct Setting {
    /// Its full name, such as `server.listen`.
    pub key: &'static str,
    /// Its name within its section.
    pub name: &'static str,
    /// What it does, in a sentence or two.
    pub doc: &'static str,
    /// What it accepts.
    pub expected: &'static str,
    /// The default in words, where it depends on other settings.
    pub derived: Option<&'static str>,
    /// An example value.
    pub example: &'static str,
    /// Whether SIGHUP applies a change.
    pub reload: bool,
    /// Whether its text may contain a secret.
    pub secret: bool,
}

impl Setting {
    /// The environment variable that sets it.
    pub fn variable(&self) -> String {
        format!("{}{}", PREFIX, self.key.replace('.', "__").to_ascii_uppercase())
    }
}

/// Access to one section of settings by the names of its fields.
pub(crate) trait Section {
    /// Its settings, in the order of the struct.
    fn settings(&self) -> &'static [Setting];
    /// What the section is about.
    fn about(&self) -> &'static str;
    /// Sets the field `name`, or says why it cannot.
    fn set(&mut self, name: &str, given: &RawValue) -> Result<(), String>;
    /// The field `name` as text, secrets included.
    fn text(&self, name: &str) -> Option<String>;
    /// The field `name` for people.
    fn shown(&self, name: &str) -> Option<String>;
    /// The field `name` in TOML, secrets hidden.
    fn toml(&self, name: &str) -> Option<String>;
    /// The field `name` for programs, secrets hidden: its members `value` and, for a number with a unit,
    /// `seconds` or `bytes`.
    fn json(&self, name: &str) -> Option<Map<String, Json>>;
    /// Why the field `name` is not within its range; `None` when it is, or has no range.
    fn out_of_range(&self, name: &str) -> Option<String>;
}

/// The members of a value for programs.
pub(super) fn members(value: &impl Value) -> Map<String, Json> {
    let own = [("value".to_owned(), value.json())];
    own.into_iter().chain(value.measure().map(|(unit, number)| (unit.to_owned(), number))).collect()
}

/// Why a value is not within a range.
pub(super) fn outside<T: PartialOrd + Value>(value: &T, least: &T, most: &T) -> Option<String> {
    let is_outside = value < least || value > most;
    is_outside.then(|| format!("{} is not from {} to {}", value.text(), least.text(), most.text()))
}

/// Defines a section: a struct of plain data, its defaults, and the table of its settings.
macro_rules! section {
    (
        $(#[doc = $about:literal])+
        pub struct $Name:ident in $prefix:literal {
            $(
                $(#[doc = $doc:literal])+
                $field:ident: $ty:ty = $default:expr
                    $(, within: $least:expr => $most:expr)?
                    $(, shown: $derived:literal)?, example: $example:literal $(, $reload:ident)?;
            )*
        }
        $(with { $( $(#[doc = $subdoc:literal])+ $sub:ident: $Sub:ty, )+ })?
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug)]
        pub struct $Name {
            $( $(#[doc = $doc])+ pub $field: $ty, )*
            $($( $(#[doc = $subdoc])+ pub $sub: $Sub, )+)?
        }

        impl Default for $Name {
            fn default() -> Self {
                Self { $($field: $default,)* $($($sub: <$Sub>::default(),)+)? }
            }
        }

        impl $crate::config::settings::Section for $Name {
            fn settings(&self) -> &'static [$crate::config::settings::Setting] {
                use $crate::config::value::Value;
                const SETTINGS: &[$crate::config::settings::Setting] = &[$(
                    $crate::config::settings::Setting {
                        key: concat!($prefix, stringify!($field)),
                        name: stringify!($field),
                        doc: concat!($($doc),+).trim_ascii(),
                        expected: <$ty as Value>::EXPECTED,
                        derived: $crate::config::settings::section!(@derived $($derived)?),
                        example: $example,
                        reload: $crate::config::settings::section!(@reload $($reload)?),
                        secret: <$ty as Value>::SECRET,
                    },
                )*];
                SETTINGS
            }

            fn about(&self) -> &'static str {
                concat!($($about),+).trim_ascii()
            }

            fn set(&mut self, name: &str, given: &$crate::config::value::RawValue) -> Result<(), String> {
                use $crate::config::value::Value;
                match name {
                    $(stringify!($field) => self.$field = <$ty as Value>::read(given)?,)*
                    _ => return Err("there is no such setting".to_owned()),
                }
                Ok(())
            }

            fn text(&self, name: &str) -> Option<String> {
                use $crate::config::value::Value;
                match name { $(stringify!($field) => Some(self.$field.text()),)* _ => None }
            }

            fn shown(&self, name: &str) -> Option<String> {
                use $crate::config::value::Value;
                match name { $(stringify!($field) => Some(self.$field.shown()),)* _ => None }
            }

            fn toml(&self, name: &str) -> Option<String> {
                use $crate::config::value::Value;
                match name { $(stringify!($field) => Some(self.$field.toml()),)* _ => None }
            }

            fn json(&self, name: &str) -> Option<serde_json::Map<String, serde_json::Value>> {
                match name {
                    $(stringify!($field) => Some($crate::config::settings::members(&self.$field)),)*
                    _ => None,
                }
            }

            fn out_of_range(&self, name: &str) -> Option<String> {
                match name {
                    $(stringify!($field) => $crate::config::settings::section!(
                        @range &self.$field $(, &$least, &$most)?
                    ),)*
                    _ => None,
                }
            }
        }

        $(
            impl $Name {
                /// The sections, in the order in which they are documented; the first one has no name.
                pub(crate) const SECTIONS: &[&str] = &["", $(stringify!($sub)),+];

                pub(crate) fn section(&self, name: &str) -> Option<&dyn $crate::config::settings::Section> {
                    match name { "" => Some(self), $(stringify!($sub) => Some(&self.$sub),)+ _ => None }
                }

                pub(crate) fn section_mut(
                    &mut self,
                    name: &str,
                ) -> Option<&mut dyn $crate::config::settings::Section> {
                    match name { "" => Some(self), $(stringify!($sub) => Some(&mut self.$sub),)+ _ => None }
                }
            }
        )?
    };
    (@derived) => { None };
    (@derived $derived:literal) => { Some($derived) };
    (@range $value:expr) => { None };
    (@range $value:expr, $least:expr, $most:expr) => {
        $crate::config::settings::outside($value, $least, $most)
    };
    (@reload) => { false };
    (@reload reload) => { true };
}
pub(crate) use section;

section! {
    /// Every setting.
    pub struct Config in "" {
        /// The directory of all data that Gatewright keeps on this machine: the embedded database, the audit
        /// journal, the generated master key.
        data_dir: PathBuf = PathBuf::from("./gatewright-data"), example: "/var/lib/gatewright";
        /// The master key file. Its first key seals secrets in the database; each of its keys can open them.
        master_key_file: PathBuf = PathBuf::from("./gatewright-data/master.key"),
            shown: "`master.key` in `data_dir`", example: "/etc/gatewright/master.key";
    }
    with {
        /// Listeners, addresses and limits of connections.
        server: ServerConfig,
        /// The database.
        database: DatabaseConfig,
        /// Redis or Valkey.
        redis: RedisConfig,
        /// Limits of requests.
        rate_limits: RateLimitsConfig,
        /// Health checks.
        health: HealthConfig,
        /// Accounts.
        accounts: AccountsConfig,
        /// Registration of users by themselves.
        registration: RegistrationConfig,
        /// Passwords and hashing.
        passwords: PasswordsConfig,
        /// Tokens and sessions.
        tokens: TokensConfig,
        /// The audit trail.
        audit: AuditConfig,
        /// Legacy routes.
        legacy: LegacyConfig,
        /// Removal of expired data.
        cleanup: CleanupConfig,
        /// Logs, metrics and traces.
        telemetry: TelemetryConfig,
    }
}

impl Config {
    /// Every setting, in the order of the documentation.
    pub fn settings() -> Vec<&'static Setting> {
        let config = Self::default();
        Self::SECTIONS.iter().filter_map(|name| config.section(name)).flat_map(Section::settings).collect()
    }

    /// The setting called `key`.
    pub fn setting(key: &str) -> Option<&'static Setting> {
        Self::settings().into_iter().find(|setting| setting.key == key)
    }

    pub(crate) fn set(&mut self, key: &str, given: &RawValue) -> Result<(), String> {
        let (section, name) = split(key);
        self.section_mut(section).ok_or_else(|| "there is no such section".to_owned())?.set(name, given)
    }

    pub(crate) fn text(&self, key: &str) -> Option<String> {
        let (section, name) = split(key);
        self.section(section)?.text(name)
    }

    /// The value of `key` for people: secrets are hidden. `None` when there is no such setting.
    pub fn shown(&self, key: &str) -> Option<String> {
        let (section, name) = split(key);
        self.section(section)?.shown(name)
    }

    pub(crate) fn toml(&self, key: &str) -> Option<String> {
        let (section, name) = split(key);
        self.section(section)?.toml(name)
    }

    /// The value of `key` for programs: secrets are hidden. `None` when there is no such setting.
    pub(crate) fn json(&self, key: &str) -> Option<Map<String, Json>> {
        let (section, name) = split(key);
        self.section(section)?.json(name)
    }

    pub(crate) fn out_of_range(&self, key: &str) -> Option<String> {
        let (section, name) = split(key);
        self.section(section)?.out_of_range(name)
    }

    /// The settings of `web`; `public_url` is the URL at which clients reach the server.
    pub fn web(&self, public_url: &str) -> web::Settings {
        let mut settings = web::Settings { public_url: public_url.to_owned(), ..web::Settings::default() };
        self.server.apply_to(&mut settings);
        self.health.apply_to(&mut settings);
        self.legacy.apply_to(&mut settings);
        self.audit.apply_to(&mut settings);
        settings
    }

    /// The settings of `auth`, including the files that they name; `public_url` is the issuer unless another
    /// one is set.
    ///
    /// # Errors
    /// [`SettingError`] when a file cannot be used.
    pub fn auth(&self, public_url: &str) -> Result<auth::Settings, SettingError> {
        let issuer = self.tokens.issuer.as_ref().map_or(public_url, WebUrl::as_str);
        let mut settings = auth::Settings::for_issuer(issuer);
        self.tokens.apply_to(&mut settings);
        self.accounts.apply_to(&mut settings)?;
        self.registration.apply_to(&mut settings);
        self.passwords.apply_to(&mut settings.passwords)?;
        settings.limits = self.rate_limits.settings();
        Ok(settings)
    }
}

fn split(key: &str) -> (&str, &str) {
    key.split_once('.').unwrap_or(("", key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_and_every_example_is_read_as_it_is_written() {
        for setting in Config::settings() {
            let mut config = Config::default();
            let text = config.text(setting.key).unwrap();
            config
                .set(setting.key, &RawValue::Text(text.clone()))
                .unwrap_or_else(|why| panic!("{}: {why}", setting.key));
            assert_eq!(config.text(setting.key).unwrap(), text, "{}", setting.key);
            config
                .set(setting.key, &RawValue::Text(setting.example.to_owned()))
                .unwrap_or_else(|why| panic!("example of {}: {why}", setting.key));
        }
    }

    #[test]
    fn every_setting_is_documented_in_whole_sentences() {
        for setting in Config::settings() {
            assert!(setting.doc.ends_with('.'), "{}: {}", setting.key, setting.doc);
            assert!(
                setting
                    .key
                    .bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._".contains(&b))
            );
        }
    }
}
