//! Events as people and programs read them, their details opened where there is a key.

use std::collections::HashMap;

use audit::DetailKeyFile;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use journal::JournalId;
use model::{Clock, Origin, UserUuid, hex};
use protocol::sealed::detail::{DetailKey, DetailKeyId};
use protocol::sealed::keyring::Keyring;
use runtime::NoopRecorder;
use serde_json::{Map, Value, json};
use store::audit_db::Record;
use store::queries::audit_key;
use store::{BackgroundPool, Store};

use super::Failure;
use crate::app::audit_setup::{JournalOwner, audit_dir};
use crate::app::{master_key, settings_mapping};
use crate::config::Config;

/// Finds keys: those of this data directory, and those in the database.
pub(super) struct Details {
    keyring: Option<Keyring>,
    known: HashMap<DetailKeyId, Option<(UserUuid, DetailKey)>>,
    background: BackgroundPool,
}

impl Details {
    /// Reads the keys that this node has; without a master key every detail stays sealed.
    pub(super) async fn open(config: &Config, spawner: &runtime::Spawner) -> Result<Self, Failure> {
        let keyring = master_key::read(&config.master_key_file).ok();
        let mut known = HashMap::new();
        for writes in [JournalOwner::Server, JournalOwner::Command] {
            let path = audit_dir(&config.data_dir, writes).join("keys");
            if let Some(Ok(keys)) = keyring.as_ref().map(|keyring| DetailKeyFile::read(&path, keyring)) {
                known.extend(keys.into_iter().map(|(id, key)| (id, Some(key))));
            }
        }
        let mut settings = settings_mapping::store(config);
        (settings.pool_min, settings.pool_max) = (0, 1);
        let Store { background, .. } = store::open(&settings, spawner).await?;
        Ok(Self { keyring, known, background })
    }

    /// An event as one object: what its payload says, and where it stands.
    pub(super) async fn event(&mut self, record: &Record) -> Result<Map<String, Value>, Failure> {
        let mut event = match serde_json::from_slice(&record.payload) {
            Ok(Value::Object(event)) => event,
            _ => Map::from_iter([("kind".to_owned(), json!(record.kind))]),
        };
        event.entry("at").or_insert_with(|| json!(record.at));
        // What was set aside says what it was, not what kind of row stands for it.
        event.entry("kind").or_insert_with(|| json!(record.kind));
        event.insert("journal".to_owned(), json!(JournalId(record.journal).to_string()));
        event.insert("sequence".to_owned(), json!(record.sequence));
        if let Some(opened) = self.detail(event.get("detail")).await? {
            event.insert("detail".to_owned(), opened);
        }
        Ok(event)
    }

    async fn detail(&mut self, detail: Option<&Value>) -> Result<Option<Value>, Failure> {
        let text = |name: &str| detail?.get(name)?.as_str();
        let (Some(key), Some(sealed)) = (text("key"), text("sealed")) else { return Ok(None) };
        let Some(id) = hex::decode_array(key) else { return Ok(None) };
        let (Some((user, key)), Ok(sealed)) = (self.key(id).await?, STANDARD.decode(sealed)) else {
            return Ok(None);
        };
        let plain = key.open(*user, &sealed);
        Ok(plain.and_then(|plain| serde_json::from_slice(&plain).ok()))
    }

    async fn key(&mut self, id: DetailKeyId) -> Result<Option<&(UserUuid, DetailKey)>, Failure> {
        if !self.known.contains_key(&id) {
            let trail = runtime::AuditContext::new(
                std::sync::Arc::new(NoopRecorder),
                Clock::system(),
                Origin::default(),
            );
            let mut lease = self.background.lease(trail);
            let row = lease.read().await?.one(audit_key::find(&id)).await?;
            let unseal = |row: audit_key::AuditKey| {
                let sealed = String::from_utf8(row.sealed).ok()?;
                let line = format!("{:016x} {} {sealed}", u64::from_be_bytes(id), row.user);
                DetailKeyFile::unseal(&line, self.keyring.as_ref()?)
            };
            let key = row.and_then(unseal);
            self.known.insert(id, key);
        }
        Ok(self.known.get(&id).and_then(Option::as_ref))
    }
}
