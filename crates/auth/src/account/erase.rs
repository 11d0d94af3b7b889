//! Erases the caller's account after a check of the password; leaves a tombstone.

use model::event::Reason;
use model::{Email, Event, Now, Secret, UserKey, event, intent};
use protocol::sealed::realm_key::RealmKey;
use store::Tx;
use store::queries::{audit_key, credential, erased_email, known_network, second_factor, user};

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

/// What an erased user leaves beside the tombstone and the sessions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traces {
    user: UserKey,
    /// The keyed digest of the email, by which an import does not create the account again.
    email: Option<[u8; 32]>,
    at: Now,
}

impl Traces {
    /// Those of a user with this email.
    ///
    /// # Errors
    /// When the realm was not opened before.
    pub(crate) fn of(ctx: &OpContext<'_>, user: UserKey, email: Option<&str>) -> Result<Self, store::Error> {
        Ok(Self::with_key(ctx.services.realm_key()?, user, email, ctx.now))
    }

    /// Those of a user with this email, erased at this time.
    pub(crate) fn with_key(key: &RealmKey, user: UserKey, email: Option<&str>, at: Now) -> Self {
        let email = email.and_then(|email| Email::parse(email).ok());
        Self { user, email: email.map(|email| key.erased_email_digest(email.key())), at }
    }

    /// Removes them. Without the keys, the user's details in the audit trail are unreadable; the trail itself
    /// stays intact.
    pub(crate) async fn remove(self, tx: &mut Tx) -> Result<(), store::Error> {
        let user = self.user;
        let calls = (
            credential::remove(user),
            second_factor::remove_of_user(user),
            known_network::remove_of_user(user),
            audit_key::remove_of_user(user.uuid),
            erased_email::record(self.email.as_ref(), self.at),
        );
        tx.batch(calls).await.map(|_| ())
    }
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
    let traces = Traces::of(ctx, id, login.user.email.as_deref())?;
    let (old, ending) = (login.hash.ok_or(EraseError::Refused)?, ctx.ending());
    let ended = ctx
        .lease
        .transact(intent::UserErased { user: uuid, stamp: now }, async move |tx| {
            // Checks again that the password version is unchanged, as every write after a hash does.
            tx.one(credential::replace(id, version, &old, now)).await?.ok_or(EraseError::Refused)?;
            tx.one(user::erase(id, now)).await?.ok_or(EraseError::Refused)?;
            traces.remove(tx).await?;
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
