//! Where a command that changes something stands: beside the server, on the same database.

use std::path::PathBuf;

use auth::{OpContext, Services};
use model::{Actor, Origin};
use store::Lease;

use super::{Failure, Global};
use crate::app::audit_setup::{self, JournalOwner};
use crate::app::bootstrap::{Core, IfMissing, RuntimeDeps};
use crate::app::lifecycle::{Deadlines, Lifecycle, Stage};
use crate::app::{logging, settings_mapping};
use crate::config::{Config, LogFilter, Source, environment};

/// The database and the rooms, for one command.
pub(super) struct CommandContext {
    core: Core,
    given: RuntimeDeps,
    data_dir: PathBuf,
    /// Keeps the tasks of connections alive.
    _lifecycle: Lifecycle,
}

/// The configuration of a command; its log shows only what matters, and what happened.
pub(super) fn configure(global: &Global) -> Result<Config, Failure> {
    let mut loaded = global.load()?;
    if *loaded.source("telemetry.log_level") == Source::Default {
        loaded.config.telemetry.log_level = LogFilter::for_commands();
    }
    let config = loaded.config;
    logging::init(&config.telemetry, &RuntimeDeps::system().clock)
        .map_err(|why| Failure::failed(why.to_string()))?;
    Ok(config)
}

/// The user id of this process, its name in the password database, and the one for which `sudo` runs it.
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

/// A command ends when what it did is in the journal.
impl Drop for CommandContext {
    fn drop(&mut self) {
        if let Some(auditor) = &self.core.auditor {
            audit_setup::drain(auditor);
        }
    }
}

impl CommandContext {
    /// Opens the database of `config`; a command needs one connection and one hashing thread.
    pub(super) async fn open(mut config: Config, missing: IfMissing) -> Result<Self, Failure> {
        config.database.pool_min = 0;
        config.database.pool_max = 1;
        config.passwords.hash_threads = Some(1);
        let lifecycle = Lifecycle::new(Deadlines::after(std::time::Duration::ZERO));
        let spawner = lifecycle.tasks().spawner(Stage::Working);
        let given = RuntimeDeps::system();
        let public_url = settings_mapping::public_url(&config, config.server.listen);
        let core = Core::open(&config, &public_url, &given, Origin::command_line(actor()), missing, &spawner)
            .await?;
        Ok(Self { core, given, data_dir: config.data_dir, _lifecycle: lifecycle })
    }

    /// Makes sure, before anything is changed, that it can be said in the trail what will have been changed. What a
    /// command changes is always audited, whatever `audit.required` says.
    pub(super) async fn ensure_auditable(&self) -> Result<(), Failure> {
        let room = audit_setup::can_write(&self.data_dir, JournalOwner::Command).await;
        room.map_err(|why| {
            Failure::failed(format!("nothing was changed, since the audit trail cannot be written: {why}"))
        })
    }

    /// A lease for a visit.
    pub(super) fn lease(&self) -> Lease {
        self.core.store.background.lease(self.core.audit.clone())
    }

    /// A visit to the rooms.
    pub(super) fn op_context<'a>(&'a self, lease: &'a mut Lease) -> OpContext<'a> {
        let services: &Services = &self.core.services;
        OpContext { services, lease, audit: &self.core.audit, now: self.given.clock.now() }
    }
}
