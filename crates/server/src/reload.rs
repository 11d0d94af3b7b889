//! SIGHUP: the configuration is read again; what cannot be applied while running is named.

use crate::config::{Config, LoadArgs, environment};
use crate::logging::Logging;

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
        let next = self.config.reloaded(&loaded.config);
        // What is marked `reload` in the table of settings is applied here, and nothing else.
        if let Err(error) = self.logging.set(&next.telemetry.log_level) {
            tracing::error!("the log level stays as it is: {error}");
            return;
        }
        self.config = next;
        tracing::info!(
            applied = changes.applied.join(", "),
            need_restart = changes.need_restart.join(", "),
            "the configuration was read again"
        );
    }
}
