//! Opens what reads the details of events: the keys of this data directory, and the database.

use std::collections::HashMap;

use audit::DetailKeyFile;
use audit::details::DetailReader;

use super::{Failure, Trail};
use crate::app::audit_setup::{JournalOwner, audit_dir};
use crate::app::master_key;
use crate::config::Config;

/// Opens no detail.
pub(super) fn sealed(trail: &Trail) -> DetailReader {
    DetailReader::new(None, HashMap::new(), trail.lease())
}

/// Reads the keys that this node has; the others are read from the database.
pub(super) fn open(config: &Config, trail: &Trail) -> Result<DetailReader, Failure> {
    let keyring = master_key::read(&config.master_key_file)?;
    let mut known = HashMap::new();
    for writes in [JournalOwner::Server, JournalOwner::Command] {
        let path = audit_dir(&config.data_dir, writes).join("keys");
        if let Ok(keys) = DetailKeyFile::read(&path, &keyring) {
            known.extend(keys);
        }
    }
    Ok(DetailReader::new(Some(keyring), known, trail.lease()))
}
