//! Changes the caller's password after a check of the current one; ends every session and opens a new one.

use model::event::Reason;
use model::profile::FieldError;
use model::{Email, Event, Secret, Username, event, intent};
use store::queries::{credential, session, user};

use super::note_unknown;
use crate::OpContext;
use crate::limits::Budget;
use crate::password::{NotHashed, Policy, Unchecked, check_password, hash_new};
use crate::session::{ActiveSession, PendingSession, RequestClient, revoke_all};
use crate::token::{Caller, MintError, Tokens, mint};
use hashing::Priority;

/// Why the password was not changed.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// The current password is wrong, or the account or its password changed meanwhile.
    #[error("the current password is wrong, or the account was changed")]
    Refused,
    /// The database does not have the user.
    #[error("the user does not exist")]
    Gone,
    /// The new password is not acceptable.
    #[error(transparent)]
    Invalid(FieldError),
    /// A password was not checked or hashed.
    #[error(transparent)]
    Unchecked(Unchecked),
    /// No token could be signed.
    #[error(transparent)]
    Mint(MintError),
    /// The database did not answer.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl From<NotHashed> for PasswordError {
    fn from(error: NotHashed) -> Self {
        match error {
            NotHashed::Invalid(error) => Self::Invalid(error),
            NotHashed::Refused(refusal) => Self::Unchecked(refusal.into()),
        }
    }
}

/// Records that the caller's password was not checked.
pub(super) fn note_unchecked(ctx: &OpContext<'_>, caller: &Caller, why: Unchecked) -> Unchecked {
    if let Some(reason) = why.reason() {
        ctx.audit.note(Event::PasswordRefused { user: caller.user.uuid, reason });
    }
    why
}

/// Changes the caller's password, ends every session of the user, and opens a new one with the scope of the
/// caller. A client that does not get its tokens logs in.
///
/// # Errors
/// [`PasswordError`]; nothing was changed then, except with [`PasswordError::Mint`].
pub async fn change_password(
    ctx: &mut OpContext<'_>,
    caller: &Caller,
    current: &Secret<String>,
    new: &Secret<String>,
) -> Result<Tokens, PasswordError> {
    let found = ctx.lease.read().await?.one(credential::of_user(caller.user)).await?;
    if found.is_none() {
        note_unknown(ctx, caller).await?;
        return Err(PasswordError::Gone);
    }
    let email = found.as_ref().and_then(|login| Email::parse(login.user.email.as_deref()?).ok());
    let username = found.as_ref().and_then(|login| Username::parse(login.user.username.as_deref()?).ok());
    let policy = Policy(&ctx.services.settings.passwords);
    let bytes = policy
        .accept("new_password", new.expose(), email.as_ref(), username.as_ref())
        .map_err(PasswordError::Invalid)?;
    let account = caller.user.uuid.to_string();
    let checked = check_password(ctx, found, current, &account, Budget::Session(caller.session)).await;

    let login = match checked.map_err(|why| PasswordError::Unchecked(note_unchecked(ctx, caller, why)))? {
        Ok(login) => login,
        Err((_, reason)) => {
            ctx.audit.note(Event::PasswordRefused { user: caller.user.uuid, reason });
            return Err(PasswordError::Refused);
        }
    };

    let hash = hash_new(ctx, "new_password", Priority::Login, Some(account), bytes).await?;
    let hash = ctx.services.peppers.store(login.user.uuid, &hash);
    let id = login.user.key();
    let version = login.version;
    let now = ctx.now;
    let uuid = login.user.uuid;
    let ending = ctx.ending();
    let pending = PendingSession::new(ctx, &RequestClient::of(ctx), caller.claims.scope.clone());
    let row = pending.row.clone();
    let changed = ctx
        .lease
        .transact(intent::PasswordChanged { user: uuid, stamp: now }, async move |tx| {
            let (_, version) =
                tx.batch((user::lock(id), credential::replace(id, version, &hash, now))).await?;
            let version = version.first().copied().ok_or(PasswordError::Refused)?;
            let opened = tx.one(session::open(id, version, &row)).await?.ok_or(PasswordError::Refused)?;
            let ended = revoke_all(tx, id, Some(row.id), ending).await?;
            let sessions = ended.len() as u64;
            let event = event::PasswordChanged { user: uuid, sessions, changed_at: now };
            Ok::<_, PasswordError>((event, (opened, ended)))
        })
        .await;

    let (opened, ended) = match changed {
        Err(PasswordError::Refused) => {
            ctx.audit.note(Event::PasswordRefused { user: caller.user.uuid, reason: Reason::Changed });
            return Err(PasswordError::Refused);
        }
        changed => changed?,
    };

    ctx.services.revocations.add(&ended, &ctx.services.clock, ctx.now);
    let live = ActiveSession::opened(&pending, opened, &login.user, &ctx.services.settings);
    mint(ctx, &live, &pending.token).map_err(PasswordError::Mint)
}
