//! Opens what reads the details of events: the keys of this data directory, and the database.

use std::collections::HashMap;

use audit::DetailKeyFile;
use audit::details::DetailReader;

use super::Trail;
use crate::app::audit_setup::{JournalOwner, audit_dir};
use crate::app::master_key;
use crate::config::Config;

/// Reads the keys that this node has; the others are read from the database. Without a master key every
/// detail stays sealed.
pub(super) fn open(config: &Config, trail: &Trail) -> DetailReader {
    let keyring = master_key::read(&config.master_key_file).ok();
    let mut known = HashMap::new();
    for writes in [JournalOwner::Server, JournalOwner::Command] {
        let path = audit_dir(&config.data_dir, writes).join("keys");
        if let Some(Ok(keys)) = keyring.as_ref().map(|keyring| DetailKeyFile::read(&path, keyring)) {
            known.extend(keys);
        }
    }
    DetailReader::new(keyring, known, trail.lease())
}
