//! SIGHUP: reloads the configuration, and logs the settings that require a restart.

use std::sync::Arc;

use auth::Services;
use model::Event;
use runtime::AuditContext;

use crate::app::audit_setup::node_name;
use crate::app::logging::Logging;
use crate::config::{Config, LoadArgs, environment};

/// The configuration in effect, and its sources.
pub struct Reload {
    args: LoadArgs,
    config: Config,
    logging: Logging,
    audit: AuditContext,
    services: Arc<Services>,
}

impl Reload {
    /// Starts from `config`; changes are recorded in `audit`.
    pub fn new(
        args: LoadArgs,
        config: Config,
        logging: Logging,
        audit: &AuditContext,
        services: &Arc<Services>,
    ) -> Self {
        Self { args, config, logging, audit: audit.clone(), services: Arc::clone(services) }
    }

    /// Reloads the configuration and applies the settings that can change; an invalid one changes nothing.
    pub fn run(&mut self) {
        let loaded = match Config::load(&self.args, environment()) {
            Ok(loaded) => loaded,
            Err(errors) => {
                for error in errors.all() {
                    tracing::error!("the configuration stays as it is: {error}");
                }
                self.refused(errors.all().len() as u64);
                return;
            }
        };

        for warning in &loaded.warnings {
            tracing::warn!("{warning}");
        }
        let changes = Config::reloadable_changes(&self.config, &loaded.config);
        let next = self.config.reloaded(&loaded.config);

        // Applies exactly the settings that are marked `reload` in the table of settings.
        if let Err(error) = self.logging.set(&next.telemetry.log_level) {
            tracing::error!("the log level stays as it is: {error}");
            self.refused(1);
            return;
        }

        self.services.limits.set(next.rate_limits.settings());
        self.config = next;
        tracing::info!(
            applied = changes.applied.join(", "),
            need_restart = changes.need_restart.join(", "),
            "the configuration was read again"
        );

        self.audit.note(Event::ConfigurationReloaded {
            version: env!("CARGO_PKG_VERSION"),
            node: node_name(),
            applied: changes.applied,
            need_restart: changes.need_restart,
        });
    }

    fn refused(&self, mistakes: u64) {
        let (version, node) = (env!("CARGO_PKG_VERSION"), node_name());
        self.audit.note(Event::ConfigurationRefused { version, node, mistakes });
    }
}
