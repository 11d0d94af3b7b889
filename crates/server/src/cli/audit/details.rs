//! Opens what reads the details of events: the keys of this data directory, and the database.

use std::collections::HashMap;
use std::io::ErrorKind;

use audit::DetailKeyFile;
use audit::details::DetailReader;

use super::super::looking::Looking;
use super::Failure;
use crate::app::audit_setup::{JournalOwner, audit_dir};
use crate::app::master_key;
use crate::app::start_error::StartError;
use crate::config::Config;

/// Opens no detail.
pub(super) fn sealed(trail: &Looking) -> DetailReader {
    DetailReader::new(None, HashMap::new(), trail.lease())
}

/// Reads the keys that this node has; the others are read from the database.
pub(super) fn open(config: &Config, trail: &Looking) -> Result<DetailReader, Failure> {
    let keyring = master_key::read(&config.master_key_file)?;
    let mut known = HashMap::new();
    for writes in [JournalOwner::Server, JournalOwner::Command] {
        let path = audit_dir(&config.data_dir, writes).join("keys");
        match DetailKeyFile::read(&path, &keyring) {
            Ok(keys) => known.extend(keys),
            Err(why) if why.kind() == ErrorKind::NotFound => {}
            Err(why) => return Err(StartError::Unreadable(path, why).into()),
        }
    }
    Ok(DetailReader::new(Some(keyring), known, trail.lease()))
}
