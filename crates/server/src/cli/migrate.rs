//! `gatewright migrate`

use clap::Args;
use serde_json::json;

use super::command_context::configure;
use super::{Failure, Global, Output};
use crate::app::bootstrap::{RuntimeDeps, data_dir};
use crate::app::lifecycle::{Deadlines, Lifecycle, Stage};

/// Migrates the database to the schema of this version
#[derive(Args, Debug)]
pub(super) struct Migrate {
    /// Only lists the migrations that would be applied
    #[arg(long, alias = "dry-run")]
    plan: bool,
}

impl Migrate {
    pub(super) async fn run(self, global: &Global, out: &mut Output) -> Result<(), Failure> {
        let config = configure(global)?;
        let settings = store::Settings::from(&config.database);
        let lifecycle = Lifecycle::new(Deadlines::after(std::time::Duration::ZERO));
        let spawner = lifecycle.tasks().spawner(Stage::Working);
        store::reach(&settings, &spawner, config.database.connect_wait).await?;
        let steps = if self.plan {
            store::pending(&settings, &spawner).await?
        } else {
            let embedded = config.database.url.is_embedded();
            let _folder = embedded.then(|| data_dir(&config.data_dir)).transpose()?;
            store::migrate(&settings, RuntimeDeps::system().clock.now(), &spawner).await?
        };
        let names: Vec<_> = steps.iter().map(|step| step.name).collect();
        out.value(&json!({ "plan": self.plan, "migrations": names }))?;
        match (names.is_empty(), self.plan) {
            (true, _) => out.line("the database is up to date")?,
            (false, true) => out.line(&format!("would apply: {}", names.join(", ")))?,
            (false, false) => out.line(&format!("applied: {}", names.join(", ")))?,
        }
        Ok(())
    }
}
