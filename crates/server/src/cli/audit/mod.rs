//! `gatewright audit …`

mod details;
mod export;
mod tail;
mod time_arg;
mod verify;

use clap::{Args, Subcommand};
use model::{Now, UserUuid};
use runtime::Spawner;
use store::audit_db::{Audit, Filter};

use self::export::Export;
use self::tail::Tail;
use self::verify::Verify;
use super::command_context::configure;
use super::{Failure, Global, Output};
use crate::app::lifecycle::{Deadlines, Lifecycle, Stage};
use crate::app::start_error::StartError;
use crate::config::{Config, DatabaseUrl};

/// Records read from the database at once.
const PAGE: i64 = 500;

#[derive(Debug, Subcommand)]
pub(super) enum AuditCommand {
    /// Shows the last events
    ///
    /// Reads the database, which has the events of every node. A server ships its own events within about a
    /// second.
    Tail(Tail),
    /// Writes events to a file
    Export(Export),
    /// Recomputes the hash chain, and reports the first record that was changed, removed or reordered
    ///
    /// A chain that was rewritten from some record on, or truncated, is found only by comparison with a head
    /// that was kept elsewhere: pass the heads that a sink has kept with `--heads`, or single ones with
    /// `--head`. Signatures are verified with the keys of the master key file.
    Verify(Verify),
}

/// Selects events.
#[derive(Args, Debug)]
struct Which {
    /// Only events about the user with this public identifier
    #[arg(long, value_name = "UUID")]
    user: Option<uuid::Uuid>,
    /// Only events of this kind, such as `login_failed`
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// Only events from this time on: `2026-01-31` or `2026-01-31T12:00:00Z`
    #[arg(long, value_name = "TIME", value_parser = time_arg::parse)]
    from: Option<Now>,
    /// Only events before this time
    #[arg(long, value_name = "TIME", value_parser = time_arg::parse)]
    to: Option<Now>,
}

impl Which {
    fn filter(&self) -> Filter {
        let all = Filter::default();
        Filter {
            from: self.from.unwrap_or(all.from),
            to: self.to.unwrap_or(all.to),
            user: self.user.map(UserUuid),
            kind: self.kind.clone(),
        }
    }
}

impl AuditCommand {
    pub(super) async fn run(self, global: &Global, out: &mut Output) -> Result<(), Failure> {
        let config = configure(global)?;
        match self {
            Self::Tail(tail) => tail.run(&config, out).await,
            Self::Export(export) => export.run(&config, out).await,
            Self::Verify(verify) => verify.run(&config, out).await,
        }
    }
}

/// The audit trail in the database, and the tasks of its connection.
struct Trail {
    audit: Audit,
    lifecycle: Lifecycle,
}

impl Trail {
    async fn open(config: &Config) -> Result<Self, Failure> {
        if let DatabaseUrl::Sqlite(path) = &config.database.url
            && !path.exists()
        {
            return Err(StartError::NoDatabase(path.clone()).into());
        }
        let settings = store::Settings::from(&config.database);
        let lifecycle = Lifecycle::new(Deadlines::after(std::time::Duration::ZERO));
        let spawner = lifecycle.tasks().spawner(Stage::Working);
        if !store::pending(&settings, &spawner).await?.is_empty() {
            return Err(Failure::failed("the database is not up to date: run `gatewright migrate`"));
        }
        Ok(Self { audit: Audit::open(&settings, &spawner)?, lifecycle })
    }

    fn spawner(&self) -> Spawner {
        self.lifecycle.tasks().spawner(Stage::Working)
    }
}
