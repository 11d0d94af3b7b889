//! Erases the caller's account after a check of the password; leaves a tombstone.

use model::event::Reason;
use model::{Event, Secret, event, intent};
use store::queries::{audit_key, credential, user};

use super::note_unknown;
use crate::OpContext;
use crate::password::check_password;
use crate::session::revoke_all;
use crate::token::Caller;
use hashing::Refusal;

/// Why the account was not erased.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// The password is wrong, or the account or its password changed meanwhile.
    #[error("the password is wrong, or the account was changed")]
    Refused,
    /// The database does not have the user.
    #[error("the user does not exist")]
    Gone,
    /// The password was not hashed.
    #[error(transparent)]
    Hash(Refusal),
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Erases the caller's account: deletes email, username, attributes and credentials, and ends all sessions.
/// The id is never used again.
///
/// # Errors
/// [`EraseError`]; nothing was changed then.
pub async fn erase(
    ctx: &mut OpContext<'_>,
    caller: &Caller,
    password: &Secret<String>,
) -> Result<(), EraseError> {
    let found = ctx.lease.read().await?.one(credential::of_user(caller.user)).await?;
    if found.is_none() {
        note_unknown(ctx, caller).await?;
        return Err(EraseError::Gone);
    }
    let checked = check_password(ctx, found, password, &caller.user.uuid.to_string()).await;
    let login = match checked.map_err(EraseError::Hash)? {
        Ok(login) => login,
        Err((_, reason)) => {
            ctx.audit.note(Event::PasswordRefused { user: caller.user.uuid, reason });
            return Err(EraseError::Refused);
        }
    };

    let id = login.user.key();
    let uuid = login.user.uuid;
    let version = login.version;
    let now = ctx.now;
    let (old, ending) = (login.hash.ok_or(EraseError::Refused)?, ctx.ending());
    let ended = ctx
        .lease
        .transact(intent::UserErased { user: uuid, stamp: now }, async move |tx| {
            // Checks again that the password version is unchanged, as every write after a hash does.
            tx.one(credential::replace(id, version, &old, now)).await?.ok_or(EraseError::Refused)?;
            tx.one(user::erase(id, now)).await?.ok_or(EraseError::Refused)?;
            // Makes the user's details in the audit trail unreadable; the trail itself stays intact.
            tx.batch((credential::remove(id), audit_key::remove_of_user(uuid))).await?;
            let ended = revoke_all(tx, id, None, ending).await?;
            let sessions = ended.len() as u64;
            Ok::<_, EraseError>((event::UserErased { user: uuid, sessions }, ended))
        })
        .await;

    let ended = match ended {
        Err(EraseError::Refused) => {
            ctx.audit.note(Event::PasswordRefused { user: caller.user.uuid, reason: Reason::Changed });
            return Err(EraseError::Refused);
        }
        ended => ended?,
    };

    ctx.services.user_cache.forget(id);
    ctx.services.revocations.add(&ended, &ctx.services.clock, ctx.now);
    Ok(())
}
