//! Exports all accounts, for a backup or another system.

use model::{Event, UserId};
use protocol::wire::password_hash::StoredHash;
use serde_json::{Map, Value, json};
use store::queries::transfer::{self, Exported};

use crate::{OpContext, Services};

/// The members of an exported account, in order.
pub const EXPORT_MEMBERS: [&str; 10] = [
    "id",
    "uuid",
    "email",
    "email_verified_at",
    "username",
    "role",
    "state",
    "profile",
    "created_at",
    "updated_at",
];
/// Additional members when password hashes are exported.
pub const EXPORT_HASH_MEMBERS: [&str; 2] = ["password_hash", "password_rules"];

/// Records that an export begins, before the first account is read.
pub fn begin_export(ctx: &OpContext<'_>, hashes: bool) {
    ctx.audit.note(Event::UsersExported { hashes });
}

/// At most `limit` accounts with ids above `after`, including tombstones.
///
/// # Errors
/// When the database did not answer.
pub async fn export_page(
    ctx: &mut OpContext<'_>,
    after: UserId,
    limit: i64,
) -> Result<Vec<Exported>, store::Error> {
    ctx.lease.read().await?.all(transfer::export(after, limit)).await
}

/// The members of an account, in the format of the import.
pub fn export_members(services: &Services, user: &Exported, hashes: bool) -> Map<String, Value> {
    let mut members = Map::new();
    let profile = serde_json::from_str::<Value>(&user.profile).unwrap_or_default();
    let values = [
        json!(user.id),
        json!(user.uuid),
        json!(user.email),
        json!(user.email_verified_at),
        json!(user.username),
        json!(user.role),
        json!(user.state.as_str()),
        profile,
        json!(user.created_at),
        json!(user.updated_at),
    ];

    members.extend(EXPORT_MEMBERS.iter().map(|name| (*name).to_owned()).zip(values));
    if hashes {
        let stored = user.hash.as_ref().map(|stored| services.peppers.open(user.uuid, stored));
        if let Some(Err(why)) = &stored {
            tracing::warn!(user = %user.uuid, %why, "a stored password hash cannot be used and is left out");
        }
        let stored = stored.and_then(Result::ok);
        let values = [
            json!(stored.as_ref().map(StoredHash::origin_text)),
            json!(stored.as_ref().map(|hash| hash.rules().as_str())),
        ];
        members.extend(EXPORT_HASH_MEMBERS.iter().map(|name| (*name).to_owned()).zip(values));
    }

    members
}
