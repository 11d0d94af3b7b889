//! Erases the caller's account after a check of the password; leaves a tombstone.

use model::event::Reason;
use model::{Event, Secret, UserKey, event, intent};
use store::Tx;
use store::queries::{audit_key, credential, known_network, user};

use super::{note_unchecked, note_unknown};
use crate::OpContext;
use crate::limits::Budget;
use crate::password::{Unchecked, check_password};
use crate::session::revoke_all;
use crate::token::Caller;

/// Why the account was not erased.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// The password is wrong, or the account or its password changed meanwhile.
    #[error("the password is wrong, or the account was changed")]
    Refused,
    /// The database does not have the user.
    #[error("the user does not exist")]
    Gone,
    /// A password was not checked or hashed.
    #[error(transparent)]
    Unchecked(Unchecked),
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Removes what an erased user leaves beside the tombstone and the sessions. Without the keys, the user's
/// details in the audit trail are unreadable; the trail itself stays intact.
pub(crate) async fn remove_traces(tx: &mut Tx, user: UserKey) -> Result<(), store::Error> {
    let calls =
        (credential::remove(user), known_network::remove_of_user(user), audit_key::remove_of_user(user.uuid));
    tx.batch(calls).await.map(|_| ())
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
    let checked =
        check_password(ctx, found, password, &caller.user.uuid.to_string(), Budget::Session(caller.session))
            .await;
    let login = match checked.map_err(|why| EraseError::Unchecked(note_unchecked(ctx, caller, why)))? {
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
            remove_traces(tx, id).await?;
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
