//! The realm: binds a database to one master key.

use model::{event, intent};
use protocol::sealed::keyring::{LineState, SealError};
use protocol::sealed::realm_key::RealmKey;
use store::queries::realm::{self, Realm};
use uuid::Uuid;

use crate::master_keys::{self, Needs};
use crate::{OpContext, Services};

/// Why an instance may not use this database.
#[derive(Debug, thiserror::Error)]
pub enum RealmError {
    /// It was sealed by a master key that the keyring does not have.
    #[error(
        "the database was sealed with the master key {wanted:?}, but the key file holds {}; \
         set master_key_file to the file that has it{}",
        .found.iter().map(|id| format!("{id:?}")).collect::<Vec<_>>().join(", "),
        .needs.as_ref().map(|needs| format!(" (it is needed: {needs})")).unwrap_or_default()
    )]
    WrongMasterKey {
        /// The key that the database names.
        wanted: String,
        /// The keys of the keyring.
        found: Vec<String>,
        /// What needs the key, as far as the database knows.
        needs: Option<Needs>,
    },
    /// The line of the key that sealed it is retired.
    #[error(
        "the database is still sealed with the master key {0:?}, whose line is `retired`; take that word \
         off, start the server, and run `gatewright keys reseal`"
    )]
    Retired(String),
    /// The realm's own key cannot be opened.
    #[error("the realm's own key cannot be opened: {0}")]
    Sealed(#[from] SealError),
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Opens the realm, creates it in an empty database, and checks that the keyring can open its secrets.
///
/// # Errors
/// [`RealmError::WrongMasterKey`] names both keys.
pub async fn open(ctx: &mut OpContext<'_>) -> Result<Realm, RealmError> {
    if let Some(found) = find(ctx).await? {
        let realm = check(ctx, found).await?;
        return use_key(ctx, realm).await;
    }
    let Services { keyring, rng, .. } = ctx.services;
    let new = Realm {
        uuid: Uuid::from_bytes(ctx.services.rng.bytes()),
        master_key_id: ctx.services.keyring.first_key_id().to_owned(),
        created_at: ctx.now,
        sealed_key: Some(RealmKey::generate(rng).seal(keyring, rng)),
    };

    let outcome: Result<(), RealmError> = ctx
        .lease
        .transact(intent::RealmOpened {}, async move |tx| {
            tx.commit_with((realm::insert(&new),)).await?;
            Ok((event::RealmOpened { realm: new.uuid }, ()))
        })
        .await;
    outcome?;
    // Another node may have created it first, with another key.
    let found = find(ctx).await?;
    match found {
        Some(found) => {
            let realm = check(ctx, found).await?;
            use_key(ctx, realm).await
        }
        None => Err(store::Error::Corrupt("no realm".into()).into()),
    }
}

/// Opens the realm's own key; creates it in a realm of before.
async fn use_key(ctx: &mut OpContext<'_>, realm: Realm) -> Result<Realm, RealmError> {
    let Services { keyring, rng, .. } = ctx.services;
    if let Some(sealed) = &realm.sealed_key {
        ctx.services.use_realm_key(RealmKey::open(keyring, sealed)?);
        return Ok(realm);
    }
    let (sealed, uuid) = (RealmKey::generate(rng).seal(keyring, rng), realm.uuid);
    let outcome: Result<(), RealmError> = ctx
        .lease
        .transact(intent::RealmOpened {}, async move |tx| {
            tx.commit_with((realm::set_key(sealed.clone()),)).await?;
            Ok((event::RealmOpened { realm: uuid }, ()))
        })
        .await;
    outcome?;
    // Another node may have come first.
    let found = find(ctx).await?.ok_or_else(|| store::Error::Corrupt("no realm".into()))?;
    let sealed = found.sealed_key.as_deref().ok_or(SealError::Malformed)?;
    ctx.services.use_realm_key(RealmKey::open(keyring, sealed)?);
    Ok(found)
}

/// Finds the realm; None in an empty database.
///
/// # Errors
/// When the database did not answer.
pub async fn find(ctx: &mut OpContext<'_>) -> Result<Option<Realm>, store::Error> {
    ctx.lease.read().await?.one(realm::find()).await
}

async fn check(ctx: &mut OpContext<'_>, realm: Realm) -> Result<Realm, RealmError> {
    let keyring = &ctx.services.keyring;
    match keyring.state_of(&realm.master_key_id) {
        Some(LineState::First | LineState::Opens) => return Ok(realm),
        Some(LineState::Retired) => return Err(RealmError::Retired(realm.master_key_id)),
        None => {}
    }
    let found = keyring.key_ids().map(str::to_owned).collect();
    let needs = master_keys::needs_of(ctx, &realm.master_key_id).await?.map(|line| line.needs);
    Err(RealmError::WrongMasterKey { wanted: realm.master_key_id, found, needs })
}
