//! What a command that changes accounts, clients or keys runs with: it uses the same database as the server.

use std::path::PathBuf;

use auth::{OpContext, Services};
use model::{Actor, Event, Origin};
use store::Lease;

use super::failure::Code;
use super::interrupt::Held;
use super::{Failure, Global};
use crate::app::audit_setup::{self, JournalOwner};
use crate::app::bootstrap::{Core, IfMissing, RuntimeDeps};
use crate::app::file_owner::act_as_owner;
use crate::app::lifecycle::{Deadlines, Lifecycle, Stage};
use crate::app::logging;
use crate::config::{Config, LogFilter, Source, environment};

/// The database and the services, for one command.
pub(super) struct CommandContext {
    core: Core,
    given: RuntimeDeps,
    data_dir: PathBuf,
    /// Keeps the tasks of connections alive.
    _lifecycle: Lifecycle,
    /// Until the events are written and signed, a signal does not end the process.
    _held: Held,
}

/// Loads the configuration of a command that uses the database. Its log shows warnings and errors, unless the
/// log level is set. From now on files are read and made as the user of the data.
pub(super) fn configure(global: &Global) -> Result<Config, Failure> {
    let mut loaded = global.load()?;
    if *loaded.source("telemetry.log_level") == Source::Default {
        loaded.config.telemetry.log_level = LogFilter::for_commands();
    }
    let config = loaded.config;
    logging::init(&config.telemetry, &RuntimeDeps::system().clock, &global.standard_error)
        .map_err(|why| Failure::failed(why.to_string()))?;
    act_as_owner(&config)?;
    Ok(config)
}

/// The process's user id, its name in the password database, and the user that called `sudo`.
fn actor() -> Actor {
    let uid = rustix::process::getuid();
    let named = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(uid.as_raw()));
    Actor::CommandLine {
        uid: uid.as_raw(),
        name: named.ok().flatten().map(|user| user.name),
        sudo_uid: environment()
            .into_iter()
            .find(|(name, _)| name == "SUDO_UID")
            .and_then(|(_, id)| id.parse().ok()),
    }
}

/// Dropping waits until the command's events are in the journal, and signed.
impl Drop for CommandContext {
    fn drop(&mut self) {
        audit_setup::drain(&self.core.auditor);
    }
}

impl CommandContext {
    /// Opens the database of `config`, with one connection and one hashing thread.
    pub(super) async fn open(
        global: &Global,
        mut config: Config,
        missing: IfMissing,
    ) -> Result<Self, Failure> {
        let held = global.interrupt.hold();
        config.database.pool_min = 0;
        config.database.pool_max = 1;
        config.passwords.hash_threads = Some(1);
        let lifecycle = Lifecycle::new(Deadlines::after(std::time::Duration::ZERO));
        let spawner = lifecycle.tasks().spawner(Stage::Working);
        let given = RuntimeDeps::system();
        let public_url = config.server.public_url();
        let core = Core::open(&config, &public_url, &given, Origin::command_line(actor()), missing, &spawner)
            .await?;
        let command = Self { core, given, data_dir: config.data_dir, _lifecycle: lifecycle, _held: held };
        // Opening waits for other commands.
        global.interrupt.check()?;
        Ok(command)
    }

    /// Checks, before anything is changed, that the audit trail can be written. Changes by a command are
    /// always audited, whatever `audit.required` says.
    pub(super) async fn ensure_auditable(&self) -> Result<(), Failure> {
        let room = audit_setup::can_write(&self.data_dir, JournalOwner::Command).await;
        room.map_err(|why| {
            Failure::failed(format!("nothing was done, because the audit trail cannot be written: {why}"))
                .code(Code::Audit)
        })
    }

    /// Records an event that changes nothing.
    pub(super) fn note(&self, event: Event) {
        self.core.audit.note(event);
    }

    /// A lease for an operation.
    pub(super) fn lease(&self) -> Lease {
        self.core.store.background.lease(self.core.audit.clone())
    }

    /// The context of an operation.
    pub(super) fn op_context<'a>(&'a self, lease: &'a mut Lease) -> OpContext<'a> {
        let services: &Services = &self.core.services;
        OpContext { services, lease, audit: &self.core.audit, now: self.given.clock.now() }
    }
}
