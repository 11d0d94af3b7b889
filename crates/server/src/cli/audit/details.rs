//! Opens what reads the details of events: the keys of this data directory, and the database.

use std::collections::HashMap;
use std::sync::Arc;

use audit::DetailKeyFile;
use audit::details::DetailReader;
use model::{Clock, Origin};
use runtime::{AuditContext, NoopRecorder, Spawner};
use store::Store;

use super::Failure;
use crate::app::audit_setup::{JournalOwner, audit_dir};
use crate::app::master_key;
use crate::config::Config;

/// Reads the keys that this node has, and opens the database; without a master key every detail stays sealed.
pub(super) async fn open(config: &Config, spawner: &Spawner) -> Result<DetailReader, Failure> {
    let keyring = master_key::read(&config.master_key_file).ok();
    let mut known = HashMap::new();
    for writes in [JournalOwner::Server, JournalOwner::Command] {
        let path = audit_dir(&config.data_dir, writes).join("keys");
        if let Some(Ok(keys)) = keyring.as_ref().map(|keyring| DetailKeyFile::read(&path, keyring)) {
            known.extend(keys);
        }
    }

    let mut settings = store::Settings::from(&config.database);
    (settings.pool_min, settings.pool_max) = (0, 1);
    let Store { background, .. } = store::open(&settings, spawner).await?;
    let trail = AuditContext::new(Arc::new(NoopRecorder), Clock::system(), Origin::default());
    Ok(DetailReader::new(keyring, known, background, trail))
}
