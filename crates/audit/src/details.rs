//! Reads records back: each as one JSON object, with its detail opened where its key is known.

use std::collections::HashMap;

use journal::JournalId;
use model::{UserUuid, hex};
use protocol::sealed::detail::{DetailKey, DetailKeyId};
use protocol::sealed::keyring::Keyring;
use serde_json::{Map, Value, json};
use store::Lease;
use store::audit_db::Record;
use store::queries::audit_key;

use crate::detail_keys::DetailKeyFile;
use crate::record::row::{DETAIL, Members};

/// Opens details with the keys of this node, and with those in the database.
pub struct DetailReader {
    keyring: Option<Keyring>,
    /// Every key that was looked for; `None` where there is none, or it cannot be opened.
    known: HashMap<DetailKeyId, Option<(UserUuid, DetailKey)>>,
    lease: Lease,
}

impl DetailReader {
    /// Opens details with the keys in `known`; further ones are in the database, where `keyring` opens them.
    pub fn new(
        keyring: Option<Keyring>,
        known: HashMap<DetailKeyId, (UserUuid, DetailKey)>,
        lease: Lease,
    ) -> Self {
        let known = known.into_iter().map(|(id, key)| (id, Some(key))).collect();
        Self { keyring, known, lease }
    }

    /// An event as one object: what its payload says, and its place in the trail. A detail that no key opens
    /// stays sealed.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn event(&mut self, record: &Record) -> Result<Map<String, Value>, store::Error> {
        let members = Members::of(&record.payload);
        let opened = self.opened(&members).await?;

        let mut event = members
            .into_object()
            .unwrap_or_else(|| Map::from_iter([("kind".to_owned(), json!(record.kind))]));
        event.entry("at").or_insert_with(|| json!(record.at));
        // A dead letter says what the record was, not what kind of row stands for it.
        event.entry("kind").or_insert_with(|| json!(record.kind));
        event.insert("journal".to_owned(), json!(JournalId(record.journal).to_string()));
        event.insert("sequence".to_owned(), json!(record.sequence));
        if let Some(opened) = opened {
            event.insert(DETAIL.to_owned(), opened);
        }
        Ok(event)
    }

    async fn opened(&mut self, members: &Members) -> Result<Option<Value>, store::Error> {
        let Some((id, sealed)) = members.detail() else { return Ok(None) };
        let Some((user, key)) = self.key(id).await? else { return Ok(None) };
        let plain = key.open(*user, &sealed);
        Ok(plain.and_then(|plain| serde_json::from_slice(&plain).ok()))
    }

    async fn key(&mut self, id: DetailKeyId) -> Result<Option<&(UserUuid, DetailKey)>, store::Error> {
        if !self.known.contains_key(&id) {
            let row = self.lease.read().await?.one(audit_key::find(&id)).await;
            self.lease.park();
            let unseal = |row: audit_key::AuditKey| {
                let sealed = String::from_utf8(row.sealed).ok()?;
                let line = format!("{} {} {sealed}", hex::encode(&id), row.user);
                DetailKeyFile::unseal(&line, self.keyring.as_ref()?)
            };
            let key = row?.and_then(unseal);
            self.known.insert(id, key);
        }
        Ok(self.known.get(&id).and_then(Option::as_ref))
    }
}
