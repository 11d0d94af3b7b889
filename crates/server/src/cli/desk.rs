//! Where a command that changes something stands: beside the server, on the same database.

use std::path::PathBuf;

use auth::{Rooms, Visit};
use store::Lease;

use super::{Failure, Global};
use crate::audit::{self, Writes};
use crate::config::{Config, LogFilter, Source};
use crate::foundation::{Foundation, Given, Missing};
use crate::lifecycle::{Deadlines, Lifecycle, Stage};
use crate::{logging, wiring};

/// The database and the rooms, for one command.
pub(super) struct Desk {
    foundation: Foundation,
    given: Given,
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
    logging::init(&config.telemetry, &Given::system().clock)
        .map_err(|why| Failure::failed(why.to_string()))?;
    Ok(config)
}

/// A command ends when what it did is in the journal.
impl Drop for Desk {
    fn drop(&mut self) {
        if let Some(auditor) = &self.foundation.auditor {
            audit::drain(auditor);
        }
    }
}

impl Desk {
    /// Opens the database of `config`; a command needs one connection and one hashing thread.
    pub(super) async fn open(mut config: Config, missing: Missing) -> Result<Self, Failure> {
        config.database.pool_min = 0;
        config.database.pool_max = 1;
        config.passwords.hash_threads = Some(1);
        let lifecycle = Lifecycle::new(Deadlines::after(std::time::Duration::ZERO));
        let spawner = lifecycle.tasks().spawner(Stage::Working);
        let given = Given::system();
        let public_url = wiring::public_url(&config, config.server.listen);
        let foundation = Foundation::open(&config, &public_url, &given, "cli", missing, &spawner).await?;
        Ok(Self { foundation, given, data_dir: config.data_dir, _lifecycle: lifecycle })
    }

    /// Makes sure, before anything is changed, that it can be said in the trail what will have been changed. What a
    /// command changes is always audited, whatever `audit.required` says.
    pub(super) async fn must_record(&self) -> Result<(), Failure> {
        let room = audit::has_room(&self.data_dir, Writes::Command).await;
        room.map_err(|why| {
            Failure::failed(format!("nothing was changed, since the audit trail cannot be written: {why}"))
        })
    }

    /// A lease for a visit.
    pub(super) fn lease(&self) -> Lease {
        self.foundation.store.back.lease(self.foundation.trail.clone())
    }

    /// A visit to the rooms.
    pub(super) fn visit<'a>(&'a self, lease: &'a mut Lease) -> Visit<'a> {
        let rooms: &Rooms = &self.foundation.rooms;
        Visit { rooms, lease, trail: &self.foundation.trail, now: self.given.clock.now() }
    }
}
