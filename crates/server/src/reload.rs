//! SIGHUP: the configuration is read again; what cannot be applied while running is named.

use crate::config::{Config, LoadArgs, environment};
use crate::logging::Logging;

/// The settings that take effect at once.
const AT_ONCE: [&str; 1] = ["telemetry.log_level"];

/// The configuration in effect, and where it was read from.
#[derive(Debug)]
pub struct Reload {
    args: LoadArgs,
    config: Config,
    logging: Logging,
}

impl Reload {
    /// Nothing was changed yet.
    pub fn new(args: LoadArgs, config: Config, logging: Logging) -> Self {
        Self { args, config, logging }
    }

    /// Reads the configuration again and applies what can be; a bad one changes nothing.
    pub fn run(&mut self) {
        let loaded = match Config::load(&self.args, environment()) {
            Ok(loaded) => loaded,
            Err(errors) => {
                for error in errors.all() {
                    tracing::error!("the configuration stays as it is: {error}");
                }
                return;
            }
        };
        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let changes = Config::reloadable_changes(&self.config, &loaded.config);
        let (now, later): (Vec<_>, Vec<_>) =
            changes.applied.into_iter().chain(changes.need_restart).partition(|key| AT_ONCE.contains(key));
        if !now.is_empty() {
            if let Err(error) = self.logging.set(&loaded.config.telemetry.log_level) {
                tracing::error!("the log level stays as it is: {error}");
                return;
            }
            self.config.telemetry.log_level = loaded.config.telemetry.log_level;
        }
        tracing::info!(
            applied = now.join(", "),
            need_restart = later.join(", "),
            "the configuration was read again"
        );
    }
}
