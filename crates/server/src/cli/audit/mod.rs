//! `gatewright audit …`

mod details;
mod export;
mod tail;
mod time_arg;
mod verify;

use std::sync::Arc;

use audit::details::DetailReader;
use clap::{Args, Subcommand};
use model::{Clock, Event, Now, Origin, UserUuid};
use protocol::sealed::checkpoint::Succession;
use runtime::{AuditContext, NoopRecorder};
use store::audit_db::{Audit, Filter};
use store::{BackgroundPool, Lease, Store};

use self::export::Export;
use self::tail::Tail;
use self::verify::Verify;
use super::command_context::{CommandContext, configure};
use super::{Failure, Global, Output};
use crate::app::bootstrap::IfMissing;
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
    /// second. Decrypting the details is itself an event, `audit_read`.
    Tail(Tail),
    /// Writes events to a file; decrypting the details is itself an event, `audit_read`
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
    /// Leaves details encrypted, and records no event
    #[arg(long)]
    sealed: bool,
}

impl Which {
    /// Opens what reads the details, after the event that they are read: nothing is shown that is not
    /// recorded. With `--sealed`, or without a master key, details stay encrypted and there is no event.
    async fn open_details(
        &self,
        (global, config): (&Global, &Config),
        trail: &Trail,
        follow: bool,
    ) -> Result<DetailReader, Failure> {
        if self.sealed || !config.master_key_file.exists() {
            return Ok(details::sealed(trail));
        }
        // The commands' journal is closed again before anything is read: other commands wait for their turn.
        let command = CommandContext::open(global, config.clone(), IfMissing::Fail).await?;
        command.ensure_auditable().await?;
        let only = self.kind.clone();
        command.note(Event::AuditRead { user: self.user.map(UserUuid), only, follow });
        drop(command);
        details::open(config, trail)
    }

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
            Self::Tail(tail) => tail.run((global, &config), out).await,
            Self::Export(export) => export.run((global, &config), out).await,
            Self::Verify(verify) => verify.run(&config, out).await,
        }
    }
}

/// The audit trail in the database, and the tasks of its connection.
pub(super) struct Trail {
    pub(super) audit: Audit,
    background: BackgroundPool,
    /// Keeps the tasks of connections alive.
    _lifecycle: Lifecycle,
}

impl Trail {
    pub(super) async fn open(config: &Config) -> Result<Self, Failure> {
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
        let audit = Audit::open(&settings, &spawner)?;
        let one = store::Settings { pool_min: 0, pool_max: 1, ..settings };
        let Store { background, .. } = store::open(&one, &spawner).await?;
        Ok(Self { audit, background, _lifecycle: lifecycle })
    }

    /// The statements by which newer checkpoint keys vouch for older ones.
    async fn successions(&self) -> Result<Vec<Succession>, Failure> {
        let mut lease = self.lease();
        let lines = lease.read().await?.all(store::queries::master_key::all()).await?;
        Ok(lines.iter().filter_map(|line| Succession::parse(line.succession.as_deref()?)).collect())
    }

    /// A lease on the database, which only reads.
    fn lease(&self) -> Lease {
        self.background.lease(AuditContext::new(Arc::new(NoopRecorder), Clock::system(), Origin::default()))
    }
}
