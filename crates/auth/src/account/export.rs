//! Exports all accounts, for a backup or another system.

use model::{Event, UserId};
use protocol::wire::password_hash::StoredHash;
use serde_json::{Map, Value, json};
use store::queries::second_factor;
use store::queries::transfer::{self, Exported};

use crate::{OpContext, Services};

/// The members of an exported account, in order.
pub const EXPORT_MEMBERS: [&str; 11] = [
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
    "external_id",
];
/// Additional members when password hashes are exported.
pub const EXPORT_HASH_MEMBERS: [&str; 3] = ["password_hash", "password_rules", "second_factors"];

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
    let mut read = ctx.lease.read().await?;
    let mut page = read.all(transfer::export(after, limit)).await?;
    if let (Some(first), Some(last)) = (page.first().map(|user| user.id), page.last().map(|user| user.id)) {
        for factor in read.all(second_factor::page(first, last)).await? {
            let at = page.binary_search_by_key(&factor.user, |user| user.id);
            if let Some(user) = at.ok().and_then(|at| page.get_mut(at)) {
                user.second_factors.push(factor);
            }
        }
    }
    Ok(page)
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
        json!(user.external_id),
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
            second_factors(services, user),
        ];
        members.extend(EXPORT_HASH_MEMBERS.iter().map(|name| (*name).to_owned()).zip(values));
    }

    members
}

/// The second factors of an account, in an order that is the same in every instance; null if there are none.
fn second_factors(services: &Services, user: &Exported) -> Value {
    let open = |factor: &second_factor::SecondFactor| {
        let key = services.realm_key().ok()?;
        let opened = key.open_second_factor(factor.id, user.uuid, &factor.kind, &factor.sealed);
        if opened.is_none() {
            tracing::warn!(user = %user.uuid, "a second factor cannot be opened and is left out");
        }
        serde_json::from_str::<Value>(opened?.expose()).ok()
    };
    let mut factors: Vec<Value> = user.second_factors.iter().filter_map(open).collect();
    factors.sort_by_cached_key(Value::to_string);
    if factors.is_empty() { Value::Null } else { Value::Array(factors) }
}
