//! Sources of values, and their precedence.

use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::error::ConfigError;
use super::file;
use super::settings::{Config, PREFIX, Setting};
use super::value::RawValue;

/// The file that is read unless `--config` names another.
const FILE_NAME: &str = "gatewright.toml";
/// Environment names from before Gatewright, and the settings that they set.
const SEEDS: [(&str, &str); 4] = [
    ("DATABASE_URL", "database.url"),
    ("REDIS_URL", "redis.url"),
    ("DB_POOL_MIN_CONN", "database.pool_min"),
    ("DB_POOL_MAX_CONN", "database.pool_max"),
];

/// Settings and sections that are planned for a later version, and their subjects. This version refuses them,
/// so that an operator does not believe that they have an effect.
const PLANNED: [(&str, &str); 4] = [
    ("mail", "mail"),
    ("registration.require_verified_email", "verification of email addresses"),
    ("registration.reveal_taken", "verification of email addresses"),
    ("telemetry.otlp_endpoint", "metrics and traces over OTLP"),
];

/// Where a value was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The default.
    Default,
    /// A line of the file (0 for the file as a whole).
    File(PathBuf, usize),
    /// An environment variable.
    Environment(String),
    /// A flag.
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, 0) => write!(f, "{}", path.display()),
            Self::File(path, line) => write!(f, "{}:{line}", path.display()),
            Self::Environment(name) => write!(f, "environment variable {}", name.escape_debug()),
            Self::Flag(name) => write!(f, "flag {}", name.escape_debug()),
        }
    }
}

/// The configuration options of the command line.
#[derive(Clone, Debug, Default)]
pub struct LoadArgs {
    /// `--config`: a file that must exist.
    pub config: Option<PathBuf>,
    /// Directory of `gatewright.toml` when `config` is not given; empty for the working directory.
    pub directory: PathBuf,
    /// `--set key=value`, in the order given; a later one overrides an earlier one.
    pub set: Vec<(String, String)>,
}

/// The environment of the process: the only place that reads it. Variables that are not UTF-8 are left out,
/// but those of settings, which are refused as they are.
pub fn environment() -> Vec<(String, String)> {
    let utf8 = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        let name = name.into_string().ok()?;
        let is_setting = name.starts_with(PREFIX) || SEEDS.iter().any(|(seed, _)| *seed == name);
        let lossy = |value: std::ffi::OsString| is_setting.then(|| value.to_string_lossy().into_owned());
        let value = value.into_string().map_or_else(lossy, Some)?;
        Some((name, value))
    };
    std::env::vars_os().filter_map(utf8).collect()
}

/// The values of the settings, collected from one source after another; a later source overrides an earlier
/// one.
#[derive(Default)]
pub(crate) struct Layers {
    pub(crate) winners: BTreeMap<&'static str, (&'static Setting, RawValue, Source)>,
    pub(crate) errors: Vec<ConfigError>,
    pub(crate) warnings: Vec<String>,
}

impl Layers {
    fn put(&mut self, key: &str, given: RawValue, source: Source) {
        match Config::setting(key) {
            Some(setting) => {
                self.winners.insert(setting.key, (setting, given, source));
            }
            None => self.errors.push(ConfigError::new(
                key,
                source,
                unknown(key, |setting| setting.key.to_owned()),
            )),
        }
    }

    /// Adds the file; returns its path when there is one.
    pub(crate) fn add_file(&mut self, args: &LoadArgs) -> Option<PathBuf> {
        let path = args.config.clone().unwrap_or_else(|| args.directory.join(FILE_NAME));
        match std::fs::read_to_string(&path) {
            Ok(text) => self.add_toml(&path, &text),
            // A link that leads nowhere is there.
            Err(why)
                if why.kind() == ErrorKind::NotFound
                    && args.config.is_none()
                    && path.symlink_metadata().is_err_and(|why| why.kind() == ErrorKind::NotFound) =>
            {
                return None;
            }
            Err(why) => {
                let problem = format!("the file cannot be read: {why}");
                self.errors.push(ConfigError::new("", Source::File(path.clone(), 0), problem));
            }
        }
        Some(path)
    }

    fn add_toml(&mut self, path: &Path, text: &str) {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let (entries, broken) = file::entries(text, |key| Config::setting(key).is_some());
        for error in broken {
            let source = Source::File(path.to_owned(), error.line);
            self.errors.push(ConfigError::new("", source, format!("not TOML: {}", error.message)));
        }
        for entry in entries {
            self.put(&entry.key, entry.given, Source::File(path.to_owned(), entry.line));
        }
    }

    /// Adds the environment: names from before Gatewright first, so that its own names override them.
    pub(crate) fn add_environment(&mut self, env: impl IntoIterator<Item = (String, String)>) {
        let env = env.into_iter().collect::<BTreeMap<_, _>>();
        for name in env.iter().filter_map(|(name, value)| value.contains('\u{fffd}').then_some(name)) {
            if name.starts_with(PREFIX) || SEEDS.iter().any(|(seed, _)| seed == name) {
                let source = Source::Environment(name.clone());
                self.errors.push(ConfigError::new("", source, "the value is not UTF-8"));
            }
        }

        for (name, key) in SEEDS {
            // Compose files pass an unset variable as an empty one.
            let Some(value) = env.get(name).filter(|value| !value.is_empty()) else { continue };
            if let Some((_, _, source @ Source::File(..))) = self.winners.get(key) {
                self.warnings.push(format!("{name} in the environment overrides {key} ({source})"));
            }
            self.put(key, RawValue::Text(value.clone()), Source::Environment(name.to_owned()));
        }

        for (name, value) in env {
            let Some(rest) = name.strip_prefix(PREFIX) else { continue };
            let key = rest.replacen("__", ".", 1).to_ascii_lowercase();
            let source = Source::Environment(name.clone());
            if Config::setting(&key).is_some() {
                self.put(&key, RawValue::Text(value), source);
            } else if !is_service_link(rest) {
                self.errors.push(ConfigError::new("", source, unknown(&name, Setting::variable)));
            }
        }
    }

    /// Adds the flags.
    pub(crate) fn add_flags(&mut self, flags: &[(String, String)]) {
        for (key, value) in flags {
            self.put(key, RawValue::Text(value.clone()), Source::Flag(format!("--set {key}")));
        }
    }
}

/// Whether this is one of the variables that Kubernetes puts into every pod beside a service whose name
/// begins with `gatewright`, such as `GATEWRIGHT_SERVICE_HOST` and `GATEWRIGHT_PORT_8080_TCP_ADDR`.
fn is_service_link(rest: &str) -> bool {
    let rest = format!("_{rest}");
    let port = rest.split_once("_PORT").map(|(_, after)| after);
    let is_port = |after: &str| {
        let mut words = after.split('_').skip(1);
        let number = words.next().is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
        number && matches!(words.next(), Some("TCP" | "UDP" | "SCTP"))
    };
    rest.contains("_SERVICE_HOST")
        || rest.contains("_SERVICE_PORT")
        || port.is_some_and(|after| after.is_empty() || is_port(after))
}

/// The message for an unknown setting, with the nearest known name.
fn unknown(given: &str, name: impl Fn(&Setting) -> String) -> String {
    if let Some(about) = planned(given) {
        return format!("this version has no {about} yet, so the setting would have no effect; remove it");
    }
    let near = Config::settings().into_iter().map(|setting| {
        let name = name(setting);
        let distance = strsim::damerau_levenshtein(&name, given);
        let last = |key: &str| key.rsplit(['.', '_']).next().map(str::to_owned);
        (distance.saturating_sub(usize::from(last(&name) == last(given))), name)
    });
    match near.min() {
        Some((distance, name)) if distance <= (given.chars().count() / 3).max(2) => {
            format!("there is no such setting; did you mean `{name}`?")
        }
        _ => match same_name(given, &name) {
            Some(name) => format!("there is no such setting; did you mean `{name}`?"),
            None => "there is no such setting".to_owned(),
        },
    }
}

/// The subject of a planned setting, found by its key or its variable.
fn planned(given: &str) -> Option<&'static str> {
    let key = given.strip_prefix(PREFIX).unwrap_or(given).replacen("__", ".", 1).to_ascii_lowercase();
    let is_within =
        |name: &str| key.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    PLANNED.iter().find(|(name, _)| is_within(name)).map(|(_, about)| *about)
}

/// The setting of another section that has the given name.
fn same_name(given: &str, name: impl Fn(&Setting) -> String) -> Option<String> {
    let own = given.to_ascii_lowercase();
    let own = own.trim_start_matches("gatewright_");
    let own = own.rsplit_once('.').or_else(|| own.rsplit_once("__")).map_or(own, |(_, name)| name);
    Config::settings().into_iter().find(|setting| setting.name == own).map(name)
}
