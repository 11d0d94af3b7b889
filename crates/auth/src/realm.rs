//! The realm: binds a database to one master key.

use model::{event, intent};
use store::queries::realm::{self, Realm};
use uuid::Uuid;

use crate::OpContext;

/// Why an instance may not use this database.
#[derive(Debug, thiserror::Error)]
pub enum RealmError {
    /// It was sealed by a master key that the keyring does not have.
    #[error(
        "the database was sealed with the master key {wanted:?}, but the key file holds {}; \
         set master_key_file to the file that has it",
        .found.iter().map(|id| format!("{id:?}")).collect::<Vec<_>>().join(", ")
    )]
    WrongMasterKey {
        /// The key that the database names.
        wanted: String,
        /// The keys of the keyring.
        found: Vec<String>,
    },
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
        return check(ctx, found);
    }
    let new = Realm {
        uuid: Uuid::from_bytes(ctx.services.rng.bytes()),
        master_key_id: ctx.services.keyring.first_key_id().to_owned(),
        created_at: ctx.now,
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
    found.map_or_else(|| Err(store::Error::Corrupt("no realm".into()).into()), |found| check(ctx, found))
}

async fn find(ctx: &mut OpContext<'_>) -> Result<Option<Realm>, store::Error> {
    ctx.lease.read().await?.one(realm::find()).await
}

fn check(ctx: &OpContext<'_>, realm: Realm) -> Result<Realm, RealmError> {
    let keyring = &ctx.services.keyring;
    if keyring.key_ids().any(|id| id == realm.master_key_id) {
        return Ok(realm);
    }
    let found = keyring.key_ids().map(str::to_owned).collect();
    Err(RealmError::WrongMasterKey { wanted: realm.master_key_id, found })
}
